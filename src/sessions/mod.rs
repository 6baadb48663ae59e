//! Sessions: one sign-in of a person. Their browser's cookie at Usher, the app's refresh tokens and every access token
//! belong to one, and end with it.
//!
//! A refresh token works once and is answered with the next. It is made of the session's id and its number with the data
//! key, so nothing of it is stored but the number of the newest, and any older one is known for what it is.

mod store;

pub use store::{begun_by_day, end_all, newest_of_user, purge, sign_ins};

use std::time::Duration;

use uuid::Uuid;

use crate::apps::{self, AppId};
use crate::audit::{self, Action};
use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type};
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::ticket::Ticket;
use crate::users::{self, User, UserId};

id_type!(
    /// A session: the claim `sid` of its access tokens.
    SessionId
);

/// How long a person stays signed in on the hosted pages.
pub const BROWSER_LIFETIME: Duration = Duration::from_hours(12);
/// How long an app can refresh: then the person signs in again.
pub const LIFETIME: Duration = Duration::from_hours(30 * 24);
/// How long the refresh token before the newest is answered with the newest again: a client may race itself.
pub const GRACE: Duration = Duration::from_secs(10);

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who signed in.
    pub user: UserId,
    /// When: the claim `auth_time`.
    pub created_at: Timestamp,
    /// When its tokens were last refreshed.
    pub refreshed_at: Option<Timestamp>,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// What the app may know of the person, words with spaces between.
    pub scope: String,
    /// The number of the newest refresh token; 0 before the first.
    generation: i64,
}

impl Session {
    /// Whether it is in force.
    pub fn works(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.expires_at
    }

    fn refresh_token(&self, tx: &Tx) -> Ticket {
        refresh_token(tx, self.id, self.generation)
    }
}

/// Signs a person in; the secret is for their browser's cookie.
///
/// # Errors
/// The database refuses.
pub fn start(tx: &Tx, user: &User) -> Result<(SessionId, Secret)> {
    let ticket = Ticket::new(tx.now());
    store::insert(tx, &ticket, user, tx.now() + BROWSER_LIFETIME)?;
    Ok((SessionId(ticket.id()), ticket.text()))
}

/// The session of an id, whether it works or not.
///
/// # Errors
/// The database does not answer.
pub fn by_id(tx: &Tx, id: SessionId) -> Result<Option<Session>> {
    store::by_id(tx, id, "")
}

/// The session of an id that is in force, and this user's.
///
/// # Errors
/// [`Error::Unauthenticated`] if there is none.
pub fn in_force(tx: &Tx, id: SessionId, user: UserId) -> Result<Session> {
    let session = by_id(tx, id)?.filter(|session| session.user == user && session.works(tx.now()));
    session.ok_or(Error::Unauthenticated { code: "session_ended", message: "The session has ended" })
}

/// The user whose browser has this cookie, who may still act, and their session; `None` if it does not work on our pages.
///
/// # Errors
/// The user is frozen or deleted.
pub fn of_browser(tx: &Tx, cookie: &Secret) -> Result<Option<(User, Session)>> {
    let session = of_cookie(tx, cookie)?.filter(|session| tx.now() < session.created_at + BROWSER_LIFETIME);
    let Some(session) = session else { return Ok(None) };
    let user = users::any_by_id(tx, session.user)?.ok_or(Error::UserNotFound)?;
    user.admit()?;
    Ok(Some((user, session)))
}

/// The session of this cookie that is in force, whether it still lets anybody in on our pages or not.
///
/// # Errors
/// The database does not answer.
pub fn of_cookie(tx: &Tx, cookie: &Secret) -> Result<Option<Session>> {
    Ok(store::by_ticket(tx, cookie)?.filter(|session| session.works(tx.now())))
}

/// Ends the session of this cookie, also one that no longer lets anybody in, for its tokens may go on. `false` if there is none.
///
/// # Errors
/// The database refuses.
pub fn sign_out(tx: &Tx, cookie: &Secret, request: Option<Uuid>) -> Result<bool> {
    let Some(session) = store::by_ticket(tx, cookie)? else { return Ok(false) };
    end(tx, &session, Origin { request, ..Origin::of(Actor::Person(session.user)) }).map(|()| true)
}

/// Ends the session of this cookie, for somebody comes in by the same browser: another one, perhaps.
///
/// # Errors
/// The database refuses.
pub fn make_way(tx: &Tx, cookie: &Secret, request: Option<Uuid>) -> Result<()> {
    let Some(session) = store::by_ticket(tx, cookie)? else { return Ok(()) };
    end(tx, &session, Origin { request, ..Origin::of(Actor::Usher) })
}

/// The user's sessions that work, newest first.
///
/// # Errors
/// The database does not answer.
pub fn of_user(tx: &Tx, user: UserId) -> Result<Vec<Session>> {
    Ok(store::of_user(tx, user)?.into_iter().filter(|session| session.works(tx.now())).collect())
}

/// Ends one session of the user; what it gave out is refused from now on.
///
/// # Errors
/// [`Error::SessionNotFound`].
pub fn revoke(tx: &Tx, user: UserId, id: SessionId, origin: Origin) -> Result<()> {
    let session = by_id(tx, id)?.filter(|session| session.user == user).ok_or(Error::SessionNotFound)?;
    end(tx, &session, origin)
}

/// Ends every session of the user.
///
/// # Errors
/// The database refuses.
pub fn revoke_all(tx: &Tx, user: &User, origin: Origin) -> Result<()> {
    audit::note(tx, origin, Action::SessionsEnded, user, &user.person)?;
    end_all(tx, user.id)
}

/// Ends a session. One that has ended stays as it is.
///
/// # Errors
/// The database refuses.
pub fn end(tx: &Tx, session: &Session, origin: Origin) -> Result<()> {
    if session.ended_at.is_some() {
        return Ok(());
    }
    store::end(tx, session.id)?;
    let user = match users::any_by_id(tx, session.user) {
        // It has ended, which nobody can be told of; a damaged record keeps nobody in, and no other out.
        Err(Error::Integrity) => return Ok(()),
        found => found?.ok_or(Error::UserNotFound)?,
    };
    audit::note(tx, origin, Action::SessionEnded, &user, &user.person)
}

/// Ends some of the sessions of all users, after the one that an earlier call has come to; says how many, and to which it
/// came. `None` if there are no more.
///
/// # Errors
/// The database refuses.
pub fn end_some(tx: &Tx, after: Option<SessionId>) -> Result<Option<(usize, SessionId)>> {
    store::end_next(tx, after.unwrap_or(SessionId(Uuid::nil())))
}

/// Notes that the sessions of all users were ended.
///
/// # Errors
/// The database refuses.
pub fn note_all_ended(tx: &Tx, origin: Origin) -> Result<()> {
    let each = |place: apps::Environment| audit::record(tx, place.id, origin, Action::SessionsEnded, place.id.0);
    apps::environments(tx)?.into_iter().try_for_each(each)
}

/// Gives the app its first refresh token of a session that has just begun. `None` if it has ended since, or has one.
///
/// # Errors
/// The database refuses.
pub fn hand_over(tx: &Tx, id: SessionId, scope: &str) -> Result<Option<(Session, Secret)>> {
    let session = store::by_id(tx, id, tx.for_update())?.filter(|s| s.works(tx.now()) && s.generation == 0);
    let Some(session) = session else { return Ok(None) };
    let expires_at = session.created_at + LIFETIME;
    let session = Session { generation: 1, scope: scope.to_owned(), expires_at, ..session };
    store::hand_over(tx, &session)?;
    let token = session.refresh_token(tx).text();
    Ok(Some((session, token)))
}

/// Exchanges a refresh token of the app for the next. `None` if it does not work; one that was used before, unless just now, ends
/// the session: somebody else may have it.
///
/// # Errors
/// The database refuses.
pub fn refresh(tx: &Tx, client: AppId, presented: &Secret, request: Option<Uuid>) -> Result<Option<(Session, Secret)>> {
    let Some((id, generation)) = read_refresh_token(tx, presented) else { return Ok(None) };
    let session = store::by_id(tx, id, tx.for_update())?.filter(|session| session.works(tx.now()));
    let Some(session) = session else { return Ok(None) };
    let user = users::any_by_id(tx, session.user)?.ok_or(Error::UserNotFound)?;
    if apps::by_id(tx, user.environment)?.app != client {
        return Ok(None);
    }
    let just_now = session.refreshed_at.is_some_and(|at| tx.now() < at + GRACE);
    let session = match session.generation - generation {
        0 => {
            store::refresh(tx, &session)?;
            Session { generation: generation + 1, refreshed_at: Some(tx.now()), ..session }
        }
        1 if just_now => session,
        _ => {
            end(tx, &session, Origin { request, ..Origin::of(Actor::Usher) })?;
            return Ok(None);
        }
    };
    audit::note_grant(tx, Action::TokenRefreshed, (user.environment, user.id), client, request)?;
    let token = session.refresh_token(tx).text();
    Ok(Some((session, token)))
}

/// The session that a refresh token was given for, whether the token still works or not.
///
/// # Errors
/// The database does not answer.
pub fn of_refresh_token(tx: &Tx, presented: &Secret) -> Result<Option<Session>> {
    read_refresh_token(tx, presented).map_or(Ok(None), |(id, _)| by_id(tx, id))
}

/// How much of a refresh token's random part is its mark; the rest is its number.
const MARK: usize = 28;

fn refresh_token(tx: &Tx, id: SessionId, generation: i64) -> Ticket {
    let number = u32::try_from(generation).unwrap_or(u32::MAX).to_be_bytes();
    let mut random = tx.vault().mark("refresh token", &[id.0.as_bytes(), number.as_slice()].concat());
    random[MARK..].copy_from_slice(&number);
    Ticket::of(id.0, random)
}

fn read_refresh_token(tx: &Tx, presented: &Secret) -> Option<(SessionId, i64)> {
    let ticket = Ticket::read(presented)?;
    let number = ticket.random()[MARK..].try_into().ok().map(u32::from_be_bytes)?;
    let (id, generation) = (SessionId(ticket.id()), i64::from(number));
    (generation > 0 && ticket.equals(&refresh_token(tx, id, generation))).then_some((id, generation))
}
