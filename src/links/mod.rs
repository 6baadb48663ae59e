//! Magic links: single-use secrets that lead a person in.
//!
//! Only a hash is stored. A newer link, an e-mail change, freezing and deletion supersede those before.

mod store;

use std::time::Duration;

use url::Url;
use uuid::Uuid;

use crate::apps::{self, Environment};
use crate::audit::{self, Action, Changes};
use crate::caller::{Actor, Caller, Origin, Target};
use crate::clock::Timestamp;
use crate::codes::{self, Request};
use crate::db::{Tx, words};
use crate::error::{Error, Result};
use crate::mail::{self, Letter};
use crate::outbox::{self, Job, Kind};
use crate::roles::Right;
use crate::secret::Secret;
use crate::sessions;
use crate::ticket::Ticket;
use crate::users::{self, IfMatch, User, UserId};
use crate::words::Language;

/// How many links one person is sent within an hour at the most.
pub const LINKS_PER_HOUR: i64 = 5;
const HOUR: Duration = Duration::from_hours(1);

/// What links are made with.
#[derive(Clone, Debug)]
pub struct Links {
    /// Where people reach this server. Links are built from nothing else, never from a request.
    pub public_url: Url,
    /// How long an enrolment link works.
    pub lifetime: Duration,
}

words! {
    /// What a secret is for.
    pub enum Purpose {
        /// The first link, or a renewed one, after a partner enrolled the person.
        Enrolment = "enrolment",
    }
}

/// What a link is worth now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It works, once.
    Open,
    /// It was used.
    Used,
    /// Its time is over.
    Expired,
    /// A newer link took its place, or the address it went to is no longer the user's.
    Superseded,
    /// The app has taken back where it leads, or that whom it is for may register.
    Withdrawn,
    /// It works in another browser only.
    Elsewhere,
    /// There never was such a link.
    Unknown,
}

impl State {
    /// A stable word for the audit trail.
    pub(crate) fn code(self) -> &'static str {
        match self {
            // Open a moment ago: somebody was faster.
            State::Open | State::Used => "link_used",
            State::Expired => "link_expired",
            State::Superseded => "link_superseded",
            State::Withdrawn => "link_withdrawn",
            State::Elsewhere => "link_elsewhere",
            State::Unknown => "link_unknown",
        }
    }
}

impl Links {
    /// Who issues the tokens of the standard door: this server, by its address, and the sandbox by one of its own, so that
    /// no verifier takes what was made there for live.
    pub fn issuer(&self, kind: apps::Kind) -> String {
        let public = self.origin();
        match kind {
            apps::Kind::Live => public.to_owned(),
            apps::Kind::Sandbox => format!("{public}/sandbox"),
        }
    }

    /// The public URL without a slash at its end.
    pub fn origin(&self) -> &str {
        self.public_url.as_str().trim_end_matches('/')
    }
}

/// How a person comes in.
pub struct Entry {
    /// Their browser's session.
    pub session: Secret,
    /// The app's page, with a one-time code in it; the hosted pages if there is none.
    pub app: Option<Url>,
    /// Where they are signed in to.
    pub environment: Environment,
}

/// Sends the user a new link. Those before stay as they are.
///
/// # Errors
/// The database refuses.
pub fn send(tx: &Tx, links: &Links, user: &User) -> Result<()> {
    let environment = apps::by_id(tx, user.environment)?;
    let secret = issue(tx, user.id, Purpose::Enrolment, links.lifetime)?;
    let link = at(&links.public_url, &["links", secret.expose()])?;
    let (kind, lifetime) = (Kind::EnrolmentMail, links.lifetime);
    mail::post(tx, user, &environment, &Letter { kind, link: Some(&link), code: None, lifetime, language: None })
}

/// Sends the person of a mail that was given up a new link, made as the first one was.
///
/// # Errors
/// The mail was not given up, or is damaged, or the person may not sign in.
pub fn send_again(tx: &Tx, origin: Origin, mail: &Job) -> Result<()> {
    let refuse = |message| Err(Error::NotNow { code: "not_sent_again", message });
    if mail.state != outbox::State::Failed {
        return refuse("only a failed mail can be sent again; `usher mail list` shows the states.");
    }
    match mail.kind {
        Kind::EnrolmentMail => {}
        Kind::AddressChangedMail => {
            return refuse("it told the address that a person had before, and there is no link in it to send anew.");
        }
        Kind::WebhookGoneMail => {
            return refuse(
                "it told a contact that a webhook was disabled; `usher webhook show` says how that stands now.",
            );
        }
        _ => return refuse("its link works for minutes only; the person asks for another by signing in again."),
    }
    let made_with = mail.payload.as_ref().and_then(|payload| {
        let public_url = Url::parse(payload.text("link")?).ok()?.join("/").ok()?;
        Some(Links { public_url, lifetime: Duration::from_secs(payload.0.get("lifetime_seconds")?.as_u64()?) })
    });
    let Some(links) = made_with else { return refuse("the mail cannot be read: its data is damaged.") };
    let user = users::any_by_id(tx, mail.user)?.ok_or(Error::UserNotFound)?;
    user.admit()?;
    supersede(tx, user.id)?;
    audit::record(tx, user.environment, origin, Action::LinkSent, mail.id.0)?;
    send(tx, &links, &user)
}

/// Sends a user a new link, at the wish of somebody who may invite people. Those before it end.
///
/// # Errors
/// There is no such user, they may not sign in, or were sent several in the last hour.
pub fn resend(tx: &Tx, links: &Links, caller: &Caller, id: UserId) -> Result<()> {
    let user = users::to_change(tx, caller, Target::Id(id), Right::InviteUsers, &IfMatch::Anything)?;
    user.admit()?;
    if !may_send(tx, user.id)? {
        return Err(Error::TooMany("Several links were sent to this person within the last hour"));
    }
    supersede(tx, user.id)?;
    audit::note_changes(tx, caller.origin(), Action::LinkSent, &user, &Changes::none())?;
    send(tx, links, &user)
}

/// Whether the user was sent fewer links in the last hour than they may be.
///
/// # Errors
/// The database does not answer.
pub fn may_send(tx: &Tx, user: UserId) -> Result<bool> {
    Ok(store::count_since(tx, user, tx.now() - HOUR)? < LINKS_PER_HOUR)
}

/// What the page of a link shows.
pub struct Page {
    /// What the link is worth.
    pub state: State,
    /// Where it leads.
    pub environment: Environment,
    /// The person's language, if their record says so.
    pub language: Option<Language>,
}

/// What a link is worth, and where it belongs; `None` if there never was such a link. Changes nothing.
///
/// # Errors
/// The database does not answer.
pub fn look(tx: &Tx, secret: &Secret) -> Result<Option<Page>> {
    let Some((_, link)) = find(tx, secret)? else { return Ok(None) };
    let user = users::any_by_id(tx, link.user)?.ok_or(Error::UserNotFound)?;
    let language = Language::of_person(&user.person.profile);
    Ok(Some(Page { state: link.state(tx.now()), environment: apps::by_id(tx, user.environment)?, language }))
}

/// What the link of a mail is worth. Changes nothing.
///
/// # Errors
/// The database does not answer.
pub fn worth(tx: &Tx, secret: &Secret) -> Result<State> {
    Ok(find(tx, secret)?.map_or(State::Unknown, |(_, link)| link.state(tx.now())))
}

/// Uses a link up and lets the person in: exactly one of any number of callers succeeds.
///
/// `request` is the id of the request that asks, for the audit trail. Following the link proves that the mailbox is the person's, so it verifies the e-mail address.
///
/// # Errors
/// `Ok(Err(state))` tells why the link does not work; a frozen or deleted user is refused.
pub fn follow(
    tx: &Tx,
    links: &Links,
    secret: &Secret,
    request: Option<Uuid>,
) -> Result<std::result::Result<Entry, State>> {
    let Some((ticket, link)) = find(tx, secret)? else { return Ok(Err(State::Unknown)) };
    let user = users::any_by_id(tx, link.user)?.ok_or(Error::UserNotFound)?;
    if !store::use_up(tx, &ticket)? {
        let state = link.state(tx.now());
        audit::refuse_stranger(tx, (user.environment, user.id), Action::LinkFollowed, request, state.code())?;
        return Ok(Err(state));
    }
    user.admit()?;
    let origin = Origin { request, ..Origin::of(Actor::Person(user.id)) };
    let user = users::prove_mailbox(tx, origin, user)?;
    audit::note(tx, origin, Action::LinkFollowed, &user, &user.person)?;
    let environment = apps::by_id(tx, user.environment)?;
    let (id, session) = sessions::start(tx, &user)?;
    let to_app = |url: &String| codes::issue(tx, &environment, id, &Request::unasked(url), links);
    let app = environment.redirect_url.as_ref().map(to_app).transpose()?;
    Ok(Ok(Entry { session, app, environment }))
}

/// Sends a new link to the address on record of whom an old link belonged to, for whoever has that.
///
/// # Errors
/// [`Error::TooMany`] when the person was sent several in the last hour.
pub fn renew(tx: &Tx, links: &Links, secret: &Secret, request: Option<Uuid>) -> Result<()> {
    let (_, link) = find(tx, secret)?.ok_or(Error::UserNotFound)?;
    // Held, so that of several who ask at once each counts the one before.
    let user = users::lock(tx, link.user)?.ok_or(Error::UserNotFound)?;
    user.admit()?;
    if !may_send(tx, user.id)? {
        return Err(Error::TooMany(
            "Several links were sent to you within the last hour. Use the newest mail, or try again later.",
        ));
    }
    supersede(tx, user.id)?;
    audit::note_by_stranger(tx, Action::LinkSent, &user, request)?;
    send(tx, links, &user)
}

/// Makes every open link and code of the user worthless.
///
/// # Errors
/// The database refuses.
pub fn supersede(tx: &Tx, user: UserId) -> Result<()> {
    store::supersede(tx, user)
}

/// The link that somebody presents.
fn find(tx: &Tx, presented: &Secret) -> Result<Option<(Ticket, Link)>> {
    let Some(ticket) = Ticket::read(presented) else { return Ok(None) };
    Ok(store::find(tx, &ticket, Purpose::Enrolment)?.map(|link| (ticket, link)))
}

fn issue(tx: &Tx, user: UserId, purpose: Purpose, lifetime: Duration) -> Result<Secret> {
    let ticket = Ticket::new(tx.now());
    store::insert(tx, &ticket, user, purpose, tx.now() + lifetime)?;
    Ok(ticket.text())
}

/// `base` with a path below it.
pub(crate) fn at(base: &Url, segments: &[&str]) -> Result<Url> {
    let mut url = base.clone();
    url.path_segments_mut()
        .map_err(|()| Error::internal("the public URL has no path"))?
        .pop_if_empty()
        .extend(segments);
    Ok(url)
}

/// A link's row.
pub(super) struct Link {
    pub(super) user: UserId,
    pub(super) expires_at: Timestamp,
    pub(super) used_at: Option<Timestamp>,
    pub(super) superseded_at: Option<Timestamp>,
}

impl Link {
    fn state(&self, now: Timestamp) -> State {
        match self {
            Link { used_at: Some(_), .. } => State::Used,
            Link { superseded_at: Some(_), .. } => State::Superseded,
            Link { expires_at, .. } if *expires_at <= now => State::Expired,
            _ => State::Open,
        }
    }
}
