//! Signing in by e-mail: somebody names an address, and whoever reads its mail comes in, by the link in the browser that
//! asked, or by typing the six digits there.
//!
//! [`begin`] does the same for every address and knows nothing of users. [`decide`] runs beside the requests: it looks
//! whether somebody has the address and may be sent one more mail. So nobody learns from an answer, or from its time,
//! who has a record here.

mod store;

pub use store::{begun, purge, set_aside};

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::apps::{self, Environment, EnvironmentId, SignUp};
use crate::audit::{self, Action, Refusal};
use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::codes::{self, Request};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::limits::Limit;
use crate::links::{Entry, Links, State, at};
use crate::mail::{self, Letter};
use crate::network::Network;
use crate::outbox::Kind;
use crate::random;
use crate::secret::Secret;
use crate::ticket::Ticket;
use crate::users::{self, Email, User, UserId};
use crate::words::Language;

/// How long a mail's link and digits work.
pub const LIFETIME: Duration = Duration::from_mins(10);
/// How many wrong digits burn a sign-in's.
pub const TRIES: i64 = 5;
/// How many mails an address is sent within an hour, and within a day.
pub const PER_ADDRESS: [(Duration, i64); 2] = [(HOUR, 5), (Duration::from_hours(24), 20)];
/// How many sign-ins a network may begin within an hour, unless the operator says otherwise.
pub const PER_NETWORK: u32 = 100;
/// How many mails an environment sends its users within an hour.
pub const PER_ENVIRONMENT: Limit = Limit { what: "mails to sign in by", most: 10_000, span: HOUR };
/// How many it sends those who are no users yet. Counted apart, so that no flood of made-up addresses keeps users out.
pub const TO_STRANGERS: Limit = Limit { what: "mails to register by", most: 5_000, span: HOUR };
/// What these two hold back, so that `usher doctor` knows.
const HELD_BACK: Limit = Limit { what: "mails held back", most: i64::MAX, span: Duration::from_hours(24) };
const HOUR: Duration = Duration::from_hours(1);
/// How many sign-ins are decided in one transaction.
const AT_ONCE: i64 = 64;

/// The limit on the sign-ins that a network begins; none for 0. Users and others count together: a 429 that came at another
/// number of tries for the ones than for the others would tell them apart.
pub fn per_network(most: u32) -> Option<Limit> {
    (most > 0).then(|| Limit { what: "network", most: most.into(), span: HOUR })
}

/// What is known of the browser that asks.
pub struct Browser {
    /// The network that it comes from, if that is known.
    pub network: Option<Network>,
    /// The cookie of the sign-in that it has begun before.
    pub earlier: Option<Secret>,
}

/// A sign-in that somebody has begun.
pub(super) struct SignIn {
    pub(super) id: Uuid,
    pub(super) hash: Vec<u8>,
    pub(super) environment: EnvironmentId,
    pub(super) address: Vec<u8>,
    pub(super) asked: Asked,
    pub(super) expires_at: Timestamp,
    pub(super) user: Option<UserId>,
    pub(super) closed_at: Option<Timestamp>,
    pub(super) void_at: Option<Timestamp>,
}

/// What was asked for.
#[derive(Serialize, Deserialize)]
pub(super) struct Asked {
    email: String,
    request: Request,
    /// The language of the page on which it was asked.
    #[serde(default)]
    language: Language,
}

/// Begins a sign-in by an address, whoever has it. The secret is for the cookie of the browser that asked; an earlier
/// sign-in of the browser ends.
///
/// # Errors
/// [`Error::TooMany`] when the network has begun as many in the last hour as `per_network` lets it.
pub fn begin(
    tx: &Tx,
    environment: EnvironmentId,
    request: &Request,
    email: &Email,
    language: Language,
    browser: &Browser,
    per_network: Option<Limit>,
) -> Result<Secret> {
    let network = browser.network.map(Network::bytes);
    if let (Some(network), Some(limit)) = (&network, per_network)
        && !limit.take(tx, network)?
    {
        return Err(Error::TooMany("Too many people are signing in from your network. Try again in an hour."));
    }
    if let Some(earlier) = browser.earlier.as_ref().and_then(Ticket::read) {
        store::close(tx, earlier.id(), &earlier.hash())?;
    }
    let ticket = Ticket::new(tx.now());
    let asked = Asked { email: email.address().to_owned(), request: request.clone(), language };
    let address = fingerprint(tx, environment, email);
    let network = network.map(|network| tx.vault().mark("network", &network).to_vec());
    store::insert(tx, &ticket, environment, &address, network, &asked, tx.now() + LIFETIME)?;
    Ok(ticket.text())
}

/// An address as it is counted by: a keyed hash, for most addresses may be of people who have no record here.
fn fingerprint(tx: &Tx, environment: EnvironmentId, email: &Email) -> Vec<u8> {
    tx.vault().mark("address", format!("{environment}\n{}", email.key()).as_bytes()).to_vec()
}

/// Some of the sign-ins that wait to be decided, oldest first.
///
/// # Errors
/// The database does not answer.
pub fn waiting(tx: &Tx) -> Result<Vec<Uuid>> {
    store::waiting(tx, AT_ONCE)
}

/// Decides for these sign-ins whether a mail goes out, and writes it. Says of which environments one was held back for there
/// were enough, each time that one was.
///
/// # Errors
/// The database refuses, or one of them or its user cannot be read.
pub fn decide(tx: &Tx, links: &Links, waiting: &[Uuid]) -> Result<Vec<EnvironmentId>> {
    let mut held_back = Vec::new();
    for id in waiting {
        // Another server may be at it too.
        if !store::take(tx, *id)? {
            continue;
        }
        let Some(sign_in) = store::by_id(tx, *id)? else { continue };
        let environment = apps::by_id(tx, sign_in.environment)?;
        let Some((user, limit)) = welcome(tx, &environment, &sign_in)? else { continue };
        if !limit.take(tx, environment.id.0.as_bytes())? {
            HELD_BACK.take(tx, environment.id.0.as_bytes())?;
            held_back.push(environment.id);
            continue;
        }
        store::sent(tx, sign_in.id, user.id)?;
        let link = at(&links.public_url, &["sign-in", "links", link_of(tx, sign_in.id).text().expose()])?;
        let (code, language) = (Some(digits_of(tx, sign_in.id)), Some(sign_in.asked.language));
        let letter = Letter { kind: Kind::SignInMail, link: Some(&link), code, lifetime: LIFETIME, language };
        mail::post(tx, &user, &environment, &letter)?;
    }
    Ok(held_back)
}

/// How many mails to sign in by an environment has held back since the first of the last day, for it had sent enough within an
/// hour.
///
/// # Errors
/// The database does not answer.
pub fn held_back(tx: &Tx, environment: EnvironmentId) -> Result<i64> {
    HELD_BACK.used(tx, environment.0.as_bytes())
}

/// Who is to be sent a mail, if anybody is, and what limits that: a user, or who may become one. Sign-ins of one user are decided
/// one after the other.
fn welcome(tx: &Tx, environment: &Environment, sign_in: &SignIn) -> Result<Option<(User, Limit)>> {
    let Some(email) = Email::new(&sign_in.asked.email) else { return Ok(None) };
    let Asked { request, .. } = &sign_in.asked;
    let found = match users::by_address_to_change(tx, environment.id, &email)? {
        Some(user) if user.admit().is_ok() && request.sub.is_none_or(|sub| sub == user.id) => (user, PER_ENVIRONMENT),
        None if request.sign_up && request.sub.is_none() && environment.sign_up == SignUp::Open => {
            let id = UserId(random::ordered_uuid_v4(tx.now()));
            (users::stranger(tx, environment.id, id, email), TO_STRANGERS)
        }
        _ => return Ok(None),
    };
    if sign_in.state(tx.now()) != State::Open {
        return Ok(None);
    }
    for (span, most) in PER_ADDRESS {
        if store::sent_to(tx, &sign_in.address, tx.now() - span)? >= most {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

/// The link of a sign-in. Nothing of it is kept: it is made of the id with the data key.
fn link_of(tx: &Tx, id: Uuid) -> Ticket {
    Ticket::of(id, tx.vault().mark("sign-in link", id.as_bytes()))
}

/// The six digits of a sign-in, likewise.
fn digits_of(tx: &Tx, id: Uuid) -> String {
    let mark = tx.vault().mark("sign-in digits", id.as_bytes());
    // A number of 64 bits, so that no digit is more likely than another by more than 2^-44.
    let number = mark.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    format!("{:06}", number % 1_000_000)
}

/// What the page of a sign-in shows.
pub struct Page {
    /// Where it leads.
    pub environment: Environment,
    /// The language of the page on which it was asked.
    pub language: Language,
    /// Whether it can still lead there.
    pub state: State,
}

/// The sign-in that this browser has begun.
///
/// # Errors
/// The database does not answer.
pub fn of_browser(tx: &Tx, cookie: &Secret) -> Result<Option<Page>> {
    find(tx, cookie)?.map(|sign_in| page(tx, sign_in)).transpose()
}

fn page(tx: &Tx, sign_in: SignIn) -> Result<Page> {
    let state = sign_in.state(tx.now());
    Ok(Page { environment: apps::by_id(tx, sign_in.environment)?, language: sign_in.asked.language, state })
}

/// The sign-in of a link, and what that is worth in this browser. Changes nothing.
///
/// # Errors
/// The database does not answer.
pub fn look(tx: &Tx, link: &Secret, cookie: Option<&Secret>) -> Result<Option<Page>> {
    let Some((sign_in, is_here)) = of_link(tx, link, cookie)? else { return Ok(None) };
    let state = if is_here { sign_in.worth(tx.now()) } else { sign_in.worth_elsewhere(tx.now()) };
    Ok(Some(Page { state, ..page(tx, sign_in)? }))
}

/// What the link and the digits of a mail are worth in the browser that asked. Changes nothing.
///
/// # Errors
/// The database does not answer, or the sign-in cannot be read.
pub fn worth(tx: &Tx, link: &Secret) -> Result<State> {
    Ok(of_link(tx, link, None)?.map_or(State::Unknown, |(sign_in, _)| sign_in.worth(tx.now())))
}

/// The sign-in that a link belongs to, and whether the browser with this cookie has begun it.
fn of_link(tx: &Tx, link: &Secret, cookie: Option<&Secret>) -> Result<Option<(SignIn, bool)>> {
    let Some(ticket) = Ticket::read(link) else { return Ok(None) };
    if !ticket.equals(&link_of(tx, ticket.id())) {
        return Ok(None);
    }
    let begun = cookie.map_or(Ok(None), |cookie| find(tx, cookie))?;
    let is_here = begun.is_some_and(|begun| begun.id == ticket.id());
    Ok(store::by_id(tx, ticket.id())?.map(|sign_in| (sign_in, is_here)))
}

/// Signs the person in by the link in the mail: in the browser that asked, once. `Ok(Err(state))` tells why it does not work,
/// and stands in the trail of whom the mail was for.
///
/// # Errors
/// The user is frozen or deleted.
pub fn follow(
    tx: &Tx,
    links: &Links,
    link: &Secret,
    cookie: Option<&Secret>,
    request: Option<Uuid>,
) -> Result<std::result::Result<Entry, State>> {
    let (entered, sign_in) = match of_link(tx, link, cookie)? {
        None => return Ok(Err(State::Unknown)),
        Some((sign_in, true)) => (enter(tx, links, &sign_in, request)?, sign_in),
        Some((sign_in, false)) => (Err(sign_in.worth_elsewhere(tx.now())), sign_in),
    };
    if let (Err(state), Some(user)) = (&entered, sign_in.user) {
        audit::refuse_stranger(tx, (sign_in.environment, user), Action::SignedIn, request, state.code())?;
    }
    Ok(entered)
}

/// Signs the person in by the digits in the mail, typed in the browser that asked. Every try is counted before it is looked
/// at, and after [`TRIES`] none is. `Ok(Err(state))` tells why it does not work; `State::Open` that the digits are wrong.
///
/// # Errors
/// The user is frozen or deleted.
pub fn type_digits(
    tx: &Tx,
    links: &Links,
    digits: &str,
    cookie: Option<&Secret>,
    request: Option<Uuid>,
) -> Result<std::result::Result<Entry, State>> {
    let Some(sign_in) = cookie.map_or(Ok(None), |cookie| find(tx, cookie))? else { return Ok(Err(State::Unknown)) };
    if !store::count_try(tx, sign_in.id, TRIES)? {
        let state = sign_in.state(tx.now());
        // The link in the mail works on: who has the mailbox does not suffer from who guesses.
        return Ok(Err(if state == State::Open { State::Superseded } else { state }));
    }
    let typed: String = digits.chars().filter_map(digit).collect();
    let right =
        aws_lc_rs::constant_time::verify_slices_are_equal(typed.as_bytes(), digits_of(tx, sign_in.id).as_bytes());
    // Without a mail there is nobody who could know the digits. What is noted takes as long for every address.
    if right.is_err() || sign_in.user().is_none() {
        let refusal = Refusal { user: sign_in.user(), request, ..Refusal::of(Action::SignedIn, "wrong_code") };
        audit::refuse(tx, sign_in.environment, None, &refusal)?;
        return Ok(Err(State::Open));
    }
    enter(tx, links, &sign_in, request)
}

/// A digit as keyboards write it: in Latin, Arabic and Persian, and in full width.
fn digit(typed: char) -> Option<char> {
    let from = |zero: char| char::from_digit(u32::from(typed).checked_sub(u32::from(zero))?, 10);
    ['0', '\u{660}', '\u{6f0}', '\u{ff10}'].into_iter().find_map(from)
}

fn enter(tx: &Tx, links: &Links, sign_in: &SignIn, request: Option<Uuid>) -> Result<std::result::Result<Entry, State>> {
    let Some(user) = sign_in.user() else { return Ok(Err(State::Superseded)) };
    if !store::use_up(tx, sign_in.id)? {
        return Ok(Err(sign_in.state(tx.now())));
    }
    let environment = apps::by_id(tx, sign_in.environment)?;
    // What the app asked for is judged again, for it may have changed its mind since.
    if !apps::leads_back(tx, &environment, &sign_in.asked.request.redirect_uri)? {
        return Ok(Err(State::Withdrawn));
    }
    let Some(email) = Email::new(&sign_in.asked.email) else { return Ok(Err(State::Superseded)) };
    let user = match users::any_by_id(tx, user)? {
        Some(user) => user,
        // Somebody may have enrolled them meanwhile, or somebody else whose address only folds to the same key.
        None => match users::by_address_to_change(tx, environment.id, &email)? {
            Some(user) if user.email.same_mailbox(&email) => user,
            Some(_) => return Ok(Err(State::Superseded)),
            None if environment.sign_up != SignUp::Open => return Ok(Err(State::Withdrawn)),
            None => users::register(tx, &environment, user, email.clone(), request)?,
        },
    };
    user.admit()?;
    if email.key() != user.email.key() {
        return Ok(Err(State::Superseded));
    }
    let origin = Origin { request, ..Origin::of(Actor::Person(user.id)) };
    let user = users::prove_mailbox(tx, origin, user)?;
    audit::note(tx, origin, Action::SignedIn, &user, &user.person)?;
    let (id, session) = crate::sessions::start(tx, &user)?;
    let app = codes::issue(tx, &environment, id, &sign_in.asked.request, links)?;
    Ok(Ok(Entry { session, app: Some(app), environment }))
}

/// Takes the address out of every sign-in by it, or by one that was the user's before, and the user, and says out of how
/// many. What is left is as a sign-in by an address that nobody has, so that no browser learns what has happened.
///
/// # Errors
/// The database refuses.
pub fn forget(tx: &Tx, user: &User) -> Result<usize> {
    let mut addresses = vec![fingerprint(tx, user.environment, &user.email)];
    for email in audit::addresses(tx, user.id)? {
        // Of one that somebody else has by now, they may be who asked.
        if users::look_up(tx, user.environment, email.address())?.is_none() {
            addresses.push(fingerprint(tx, user.environment, &email));
        }
    }
    let of_user = store::of_user(tx, user.id, addresses)?;
    for id in &of_user {
        // What cannot be read cannot be kept without the address either.
        store::remove_mail_to_a_stranger(tx, *id)?;
        let found = match store::by_id(tx, *id) {
            Err(Error::Integrity) => None,
            found => found?,
        };
        let asked = found.map(|sign_in| Asked { email: String::new(), ..sign_in.asked });
        store::empty(tx, *id, asked.as_ref())?;
    }
    Ok(of_user.len())
}

/// Makes the mails of every sign-in by the user's address worthless. Their pages stay as they are.
///
/// # Errors
/// The database refuses.
pub fn void(tx: &Tx, user: &User) -> Result<()> {
    store::void_by_address(tx, &fingerprint(tx, user.environment, &user.email))
}

fn find(tx: &Tx, cookie: &Secret) -> Result<Option<SignIn>> {
    let Some(ticket) = Ticket::read(cookie) else { return Ok(None) };
    Ok(store::by_id(tx, ticket.id())?.filter(|sign_in| ticket.fits(&sign_in.hash)))
}

impl SignIn {
    /// Whom its mail leads in.
    fn user(&self) -> Option<UserId> {
        self.user.filter(|_| self.void_at.is_none())
    }

    /// What its link is worth. Who has that has had the mail, and may know more than the page of the digits tells.
    fn worth(&self, now: Timestamp) -> State {
        if self.user().is_none() { State::Superseded } else { self.state(now) }
    }

    /// The same in a browser that has not begun it.
    fn worth_elsewhere(&self, now: Timestamp) -> State {
        match self.worth(now) {
            State::Open => State::Elsewhere,
            state => state,
        }
    }

    fn state(&self, now: Timestamp) -> State {
        match self.closed_at {
            Some(_) => State::Used,
            None if self.expires_at <= now => State::Expired,
            None => State::Open,
        }
    }
}
