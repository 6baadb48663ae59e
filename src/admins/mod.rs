//! Administrators: who may use the dashboard, and how they come in. They belong to the installation and to no app.
//!
//! The first one is made by a set-up address that the program prints; from then on everybody signs in by a link. Three
//! kinds of [`Ticket`] in one table: set-up addresses, links and sessions.

mod store;

pub use store::{by_id, list, purge};

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use crate::audit::{self, Action, Changes, INSTALLATION};
use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type, words};
use crate::error::{Error, Result};
use crate::limits::Limit;
use crate::links::{Links, at};
use crate::outbox::{self, Job};
use crate::secret::Secret;
use crate::ticket::Ticket;
use crate::users::{Email, UserId};
use crate::words::Language;

id_type!(
    /// An administrator.
    AdminId
);

/// How long a set-up address works.
pub const SETUP_LIFETIME: Duration = Duration::from_hours(1);
/// How long a link works.
pub const LINK_LIFETIME: Duration = Duration::from_mins(10);
/// How long a session lasts at the most.
pub const SESSION_LIFETIME: Duration = Duration::from_hours(12);
/// How long a session lasts that nobody uses.
pub const SESSION_IDLE: Duration = Duration::from_hours(1);
/// How old what is known of a session's last use may be.
const SEEN_EVERY: Duration = Duration::from_mins(1);
/// For how long a mail that was given up needs attention.
const UNREACHED: Duration = Duration::from_hours(7 * 24);
/// How many links whoever asks has an administrator sent.
pub const ASKED: Limit = Limit { what: "admin_links_asked", most: 5, span: Duration::from_hours(1) };
/// How many other administrators have one sent, whatever strangers ask for.
pub const SENT: Limit = Limit { what: "admin_links_sent", most: 5, span: Duration::from_hours(1) };

words! {
    /// What an administrator may do. Each may do what those before it may.
    #[derive(PartialOrd, Ord, clap::ValueEnum)]
    #[value(rename_all = "snake_case")]
    pub enum Role {
        /// See everything but health data and keys.
        ReadOnly = "read_only",
        /// Also change users.
        Support = "support",
        /// Everything.
        Owner = "owner",
    }
}

words! {
    /// What a ticket is for.
    pub enum Purpose {
        /// Making the first administrator.
        Setup = "setup",
        /// Signing in.
        Link = "link",
        /// Being signed in.
        Session = "session",
    }
}

/// An administrator.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Their id.
    pub id: AdminId,
    /// Their address, as it was typed.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// When they were made one.
    pub created_at: Timestamp,
    /// When they last signed in.
    pub signed_in_at: Option<Timestamp>,
    /// Since when they are none any more.
    pub removed_at: Option<Timestamp>,
    /// The language of the browser by which they last signed in.
    pub language: Option<Language>,
}

/// An administrator's browser that is signed in.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose it is.
    pub admin: Admin,
    id: Uuid,
    seen_at: Timestamp,
}

/// Makes an address by which the first administrator is made. One that was made before ends.
///
/// # Errors
/// There is an owner already.
pub fn set_up(tx: &Tx, links: &Links) -> Result<Url> {
    if has_owner(tx)? {
        return Err(Error::operator(
            "there is an owner already. `usher admin create` makes another administrator, `usher admin link` lets one in.",
        ));
    }
    store::end_setups(tx)?;
    let ticket = issue(tx, Purpose::Setup, None, SETUP_LIFETIME)?;
    at(&links.public_url, &["admin", "setup", ticket.expose()])
}

/// Whether a set-up address works.
///
/// # Errors
/// The database does not answer.
pub fn may_set_up(tx: &Tx, secret: &Secret) -> Result<bool> {
    Ok(store::find(tx, secret, Purpose::Setup)?.is_some_and(|row| row.works(tx.now())) && !has_owner(tx)?)
}

/// Makes the first administrator, an owner, by a set-up address, and a link for them, as [`invite`] does; `None` if that does
/// not work.
///
/// # Errors
/// The database refuses.
pub fn first(tx: &Tx, secret: &Secret, email: &Email, by: &By) -> Result<Option<(Admin, Option<Url>)>> {
    if !may_set_up(tx, secret)? || !store::use_up(tx, secret, Purpose::Setup)? {
        return Ok(None);
    }
    invite(tx, email, Role::Owner, by).map(Some)
}

/// Makes an administrator.
///
/// # Errors
/// There is one with that address.
pub fn create(tx: &Tx, origin: Origin, email: &Email, role: Role) -> Result<Admin> {
    let admin = match store::by_email(tx, email)? {
        Some(Admin { removed_at: None, .. }) => {
            return Err(Error::NotNow { code: "admin_exists", message: "There is an administrator with this address" });
        }
        Some(before) => {
            store::take_back(tx, before.id, email, role)?;
            before.id
        }
        None => {
            let id = AdminId::ordered(tx.now());
            store::insert(tx, id, email, role)?;
            id
        }
    };
    let changes = Changes::of_field("role", Value::Null, role);
    audit::record_changes(tx, INSTALLATION, origin, Action::AdminCreated, admin.0, &changes)?;
    get(tx, admin)
}

/// Gives an administrator another role.
///
/// # Errors
/// There is no such administrator, or they are the last owner.
pub fn set_role(tx: &Tx, origin: Origin, id: AdminId, role: Role) -> Result<()> {
    store::lock(tx)?;
    let admin = get(tx, id)?;
    if admin.role == role {
        return Ok(());
    }
    keep_an_owner(tx, &admin)?;
    store::set_role(tx, id, role)?;
    let changes = Changes::of_field("role", admin.role, role);
    audit::record_changes(tx, INSTALLATION, origin, Action::AdminRoleChanged, id.0, &changes)
}

/// Makes somebody an administrator no longer: they are signed out at once.
///
/// # Errors
/// There is no such administrator, or they are the last owner.
pub fn remove(tx: &Tx, origin: Origin, id: AdminId) -> Result<()> {
    store::lock(tx)?;
    let admin = get(tx, id)?;
    keep_an_owner(tx, &admin)?;
    store::remove(tx, id)?;
    store::end_all(tx, id)?;
    audit::record(tx, INSTALLATION, origin, Action::AdminRemoved, id.0)
}

/// The administrator of that id.
///
/// # Errors
/// There is none.
pub fn get(tx: &Tx, id: AdminId) -> Result<Admin> {
    let admin = store::by_id(tx, id)?.filter(|admin| admin.removed_at.is_none());
    admin.ok_or(Error::NotFound("Administrator not found"))
}

/// The administrator with that address.
///
/// # Errors
/// There is none.
pub fn by_email(tx: &Tx, email: &Email) -> Result<Admin> {
    let admin = store::by_email(tx, email)?.filter(|admin| admin.removed_at.is_none());
    admin.ok_or_else(|| {
        Error::operator("there is no administrator with this address. `usher admin list` shows those that exist.")
    })
}

fn has_owner(tx: &Tx) -> Result<bool> {
    Ok(list(tx)?.iter().any(|admin| admin.role == Role::Owner))
}

/// Whoever asks has locked the administrators.
fn keep_an_owner(tx: &Tx, leaving: &Admin) -> Result<()> {
    if leaving.role == Role::Owner && !list(tx)?.iter().any(|one| one.role == Role::Owner && one.id != leaving.id) {
        return Err(Error::NotNow { code: "last_owner", message: "This is the last owner; make another one first" });
    }
    Ok(())
}

/// What to do with the link that somebody is to sign in by.
#[derive(Clone, Copy)]
pub enum Way {
    /// Write a mail.
    Mail,
    /// Tell the caller, who knows how to pass it on.
    Tell,
}

/// Who makes a link for an administrator, and how it comes to them.
pub struct By<'a> {
    /// Who.
    pub origin: Origin,
    /// Where the link leads.
    pub links: &'a Links,
    /// How it comes to them.
    pub way: Way,
    /// The language of the mail, where nothing is known of theirs.
    pub language: Language,
}

impl<'a> By<'a> {
    /// The operator, in whose terminal a link is told.
    pub fn operator(links: &'a Links, way: Way) -> By<'a> {
        By { origin: Origin::of(Actor::Operator), links, way, language: Language::default() }
    }
}

/// Makes a link for whoever has asked by this address: nothing for who is no administrator, or for whom several were asked for
/// in the last hour. The link is returned if it is to be told.
///
/// # Errors
/// The database refuses.
pub fn answer(tx: &Tx, links: &Links, ask: &Ask, way: &Way) -> Result<Option<Url>> {
    let found = store::by_email(tx, &ask.email)?;
    let Some(admin) = found.filter(|admin| admin.removed_at.is_none()) else { return Ok(None) };
    if !ASKED.take(tx, admin.id.0.as_bytes())? {
        return Ok(None);
    }
    hand_over(tx, links, &admin, *way, ask.language)
}

fn hand_over(tx: &Tx, links: &Links, admin: &Admin, way: Way, language: Language) -> Result<Option<Url>> {
    let secret = issue(tx, Purpose::Link, Some(admin.id), LINK_LIFETIME)?;
    let link = at(&links.public_url, &["admin", "links", secret.expose()])?;
    match way {
        Way::Tell => Ok(Some(link)),
        Way::Mail => {
            let lifetime = LINK_LIFETIME.as_secs();
            let mail = json!({
                "to": admin.email, "app": "Usher", "language": language, "link": link.as_str(), "lifetime_seconds": lifetime,
            });
            // A job names whom it is about, who need not be a user.
            let about = UserId(admin.id.0);
            outbox::enqueue_about(tx, (INSTALLATION, about), outbox::Kind::AdminSignInMail, &mail, tx.now())?;
            Ok(None)
        }
    }
}

/// The administrators whose newest mail was given up in the last week, and that mail: a newer one lets it rest.
///
/// # Errors
/// The database does not answer.
pub fn unreached(tx: &Tx) -> Result<Vec<(Admin, Job)>> {
    let mut unreached = Vec::new();
    for admin in list(tx)? {
        let newest = outbox::of_user(tx, UserId(admin.id.0), 1)?.pop();
        let lately = |mail: &Job| mail.state == outbox::State::Failed && mail.created_at > tx.now() - UNREACHED;
        unreached.extend(newest.filter(lately).map(|mail| (admin, mail)));
    }
    Ok(unreached)
}

/// Makes an administrator, and a link for them, which is returned if it is to be told.
///
/// # Errors
/// There is one with that address, or those of [`send_link`].
pub fn invite(tx: &Tx, email: &Email, role: Role, by: &By) -> Result<(Admin, Option<Url>)> {
    let admin = create(tx, by.origin, email, role)?;
    let link = make_link(tx, &admin, by)?;
    Ok((admin, link))
}

/// Makes a link for an administrator, who has not asked for it; it is returned if it is to be told.
///
/// # Errors
/// There is no such administrator. [`Error::TooMany`] when other administrators have had several sent in the last hour.
pub fn send_link(tx: &Tx, id: AdminId, by: &By) -> Result<Option<Url>> {
    let admin = get(tx, id)?;
    audit::record(tx, INSTALLATION, by.origin, Action::AdminLinkMade, admin.id.0)?;
    make_link(tx, &admin, by)
}

/// Makes a link for the administrator with that address at the operator's word; it is returned if it is to be told.
///
/// # Errors
/// There is none with that address.
pub fn link_for(tx: &Tx, links: &Links, email: &Email, way: &Way) -> Result<Option<Url>> {
    send_link(tx, by_email(tx, email)?.id, &By::operator(links, *way))
}

fn make_link(tx: &Tx, admin: &Admin, by: &By) -> Result<Option<Url>> {
    // The operator needs nobody's leave.
    if by.origin.actor != Actor::Operator && !SENT.take(tx, admin.id.0.as_bytes())? {
        return Err(Error::TooMany("Five links were sent to this administrator within an hour. Try again later."));
    }
    hand_over(tx, by.links, admin, by.way, admin.language.unwrap_or(by.language))
}

/// Whether a link works. Changes nothing.
///
/// # Errors
/// The database does not answer.
pub fn look(tx: &Tx, secret: &Secret) -> Result<bool> {
    Ok(store::find(tx, secret, Purpose::Link)?.is_some_and(|row| row.works(tx.now())))
}

/// Signs an administrator in by a link, once, in a browser of that language. The secret is for the browser's cookie; `None`
/// if the link does not work.
///
/// # Errors
/// The database refuses.
pub fn enter(tx: &Tx, secret: &Secret, language: Language, request: Option<Uuid>) -> Result<Option<Secret>> {
    let found = store::find(tx, secret, Purpose::Link)?;
    let Some(id) = found.filter(|row| row.works(tx.now())).and_then(|row| row.admin) else { return Ok(None) };
    let admin = get(tx, id)?;
    if !store::use_up(tx, secret, Purpose::Link)? {
        return Ok(None);
    }
    store::note_sign_in(tx, admin.id, language)?;
    let origin = Origin { request, ..Origin::of(Actor::Admin(admin.id)) };
    audit::record(tx, INSTALLATION, origin, Action::AdminSignedIn, admin.id.0)?;
    issue(tx, Purpose::Session, Some(admin.id), SESSION_LIFETIME).map(Some)
}

/// The session of a browser with this cookie, if it lasts.
///
/// # Errors
/// The database does not answer.
pub fn of_browser(tx: &Tx, cookie: &Secret) -> Result<Option<Session>> {
    let lasts = |row: &Row| row.works(tx.now()) && tx.now() < row.seen_at + SESSION_IDLE;
    let Some(row) = store::find(tx, cookie, Purpose::Session)?.filter(lasts) else { return Ok(None) };
    let admin = row.admin.map_or(Ok(None), |id| store::by_id(tx, id))?;
    let admin = admin.filter(|admin| admin.removed_at.is_none());
    Ok(admin.map(|admin| Session { admin, id: row.id, seen_at: row.seen_at }))
}

impl Session {
    /// Whether its use is to be noted: not at every request, for that would be a write each.
    pub fn is_to_be_noted(&self, now: Timestamp) -> bool {
        self.seen_at + SEEN_EVERY <= now
    }
}

/// Notes that a session is used.
///
/// # Errors
/// The database refuses.
pub fn note_use(tx: &Tx, session: &Session) -> Result<()> {
    store::note_use(tx, session.id)
}

/// Ends a session.
///
/// # Errors
/// The database refuses.
pub fn sign_out(tx: &Tx, session: &Session, origin: Origin) -> Result<()> {
    store::end(tx, session.id)?;
    audit::record(tx, INSTALLATION, origin, Action::AdminSignedOut, session.admin.id.0)
}

/// Ends every session, link and set-up address, whoever's.
///
/// # Errors
/// The database refuses.
pub fn sign_all_out(tx: &Tx, origin: Origin) -> Result<()> {
    store::end_every_ticket(tx)?;
    audit::record(tx, INSTALLATION, origin, Action::SessionsEnded, INSTALLATION.0)
}

fn issue(tx: &Tx, purpose: Purpose, admin: Option<AdminId>, lifetime: Duration) -> Result<Secret> {
    let ticket = Ticket::new(tx.now());
    store::insert_ticket(tx, &ticket, purpose, admin, tx.now() + lifetime)?;
    Ok(ticket.text())
}

/// A ticket's row.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) admin: Option<AdminId>,
    pub(super) expires_at: Timestamp,
    pub(super) seen_at: Timestamp,
    pub(super) ended_at: Option<Timestamp>,
}

impl Row {
    fn works(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.expires_at
    }
}

/// Who has asked for a link, until it is decided beside the requests whether there is one: so that no answer, and not its
/// time either, tells who is an administrator. And the links that were made meanwhile and are to be told.
#[derive(Default)]
pub struct Asks {
    asks: Mutex<Vec<Ask>>,
    made: Mutex<Vec<Url>>,
}

/// A wish for a link, of whoever says that they are this.
#[derive(Clone, Debug)]
pub struct Ask {
    /// For whom.
    pub email: Email,
    /// The language of the browser that asks.
    pub language: Language,
}

impl Asks {
    /// More than people ask for in a quarter of a second.
    const MOST: usize = 64;

    /// Somebody has asked. Whoever asks beside very many others has to do it again.
    pub fn add(&self, ask: Ask) {
        let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        if asks.len() < Self::MOST {
            asks.push(ask);
        }
    }

    /// Takes what was asked since the last time.
    pub fn take(&self) -> Vec<Ask> {
        std::mem::take(&mut *self.asks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A link was made, and is to be told.
    pub fn tell(&self, link: Url) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(link);
    }

    /// Takes the links that are to be told.
    pub fn take_made(&self) -> Vec<Url> {
        std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
