//! What is written of what was done, in the transaction that does it.

use uuid::Uuid;

use super::store::{self, Draft};
use super::{Action, Changes, INSTALLATION};
use crate::apps::{AppId, EnvironmentId};
use crate::billing;
use crate::caller::{Actor, Caller, Origin};
use crate::db::Tx;
use crate::error::Result;
use crate::subscriptions;
use crate::users::{Person, User, UserId};
use crate::webhooks;

/// Notes what was done to a user: every fact that changed, before and after; of health, which ones. This is where a
/// change becomes known, so billing and, as from every entry with changes, webhooks are told from here too.
///
/// # Errors
/// The database refuses.
pub fn note(tx: &Tx, origin: Origin, action: Action, user: &User, before: &Person) -> Result<()> {
    note_changes(tx, origin, action, user, &Changes::of_person(before, &user.person))?;
    subscriptions::watch(tx, action, user, before)?;
    billing::announce(tx, action, user, before, origin.test)
}

/// Notes what was done to a user where that is not about facts of their person.
///
/// # Errors
/// The database refuses.
pub fn note_changes(tx: &Tx, origin: Origin, action: Action, user: &User, changes: &Changes) -> Result<()> {
    let draft = Draft { user: Some(user.id), changes: Some(changes), ..Draft::of(user.environment, action) };
    store::insert(tx, &draft.by(origin))?;
    webhooks::announce(tx, action, user, changes)
}

/// Notes that health data of a user is answered to someone.
///
/// # Errors
/// The database refuses.
pub fn note_read(tx: &Tx, origin: Origin, user: &User) -> Result<()> {
    let draft = Draft { user: Some(user.id), ..Draft::of(user.environment, Action::HealthRead) };
    store::insert(tx, &draft.by(origin))
}

/// Notes what an app was given of a user, who acts by it.
///
/// # Errors
/// The database refuses.
pub fn note_grant(
    tx: &Tx,
    action: Action,
    (environment, user): (EnvironmentId, UserId),
    app: AppId,
    request: Option<Uuid>,
) -> Result<()> {
    let origin = Origin { request, ..Origin::of(Actor::Person(user)) };
    let draft = Draft { user: Some(user), target: Some(app.0), ..Draft::of(environment, action) };
    store::insert(tx, &draft.by(origin))
}

/// Notes what was done to a user, and to no fact about them, by somebody unknown.
///
/// # Errors
/// The database refuses.
pub fn note_by_stranger(tx: &Tx, action: Action, user: &User, request: Option<Uuid>) -> Result<()> {
    store::insert(tx, &Draft { user: Some(user.id), request, ..Draft::of(user.environment, action) })
}

/// Notes what was done to something else than a user, or to no fact about one.
///
/// # Errors
/// The database refuses.
pub fn record(tx: &Tx, environment: EnvironmentId, origin: Origin, action: Action, target: Uuid) -> Result<()> {
    store::insert(tx, &Draft { target: Some(target), ..Draft::of(environment, action) }.by(origin))
}

/// Of what environment something is, and of which user, if it is theirs and goes with them.
pub struct Whose {
    /// The environment.
    pub environment: EnvironmentId,
    /// The user.
    pub user: Option<UserId>,
}

/// Notes what became different about something else than a user. Nobody erases these entries: what may be about a person,
/// or open a door, has no place in `changes`.
///
/// # Errors
/// The database refuses.
pub fn record_changes(
    tx: &Tx,
    environment: EnvironmentId,
    origin: Origin,
    action: Action,
    target: Uuid,
    changes: &Changes,
) -> Result<()> {
    record_changes_of(tx, Whose { environment, user: None }, origin, action, target, changes)
}

/// The same of something that may be a user's: erasing them empties the entry.
///
/// # Errors
/// The database refuses.
pub fn record_changes_of(
    tx: &Tx,
    whose: Whose,
    origin: Origin,
    action: Action,
    target: Uuid,
    changes: &Changes,
) -> Result<()> {
    let draft = Draft { user: whose.user, target: Some(target), ..Draft::of(whose.environment, action) };
    store::insert(tx, &Draft { changes: Some(changes), ..draft }.by(origin))?;
    webhooks::announce_other(tx, action, whose.environment, target, changes)
}

/// Notes that a request came again and is given its first answer, in which there may be health data of whom it is about.
///
/// # Errors
/// The database refuses.
pub fn note_replay(tx: &Tx, caller: &Caller, user: Option<UserId>) -> Result<()> {
    let draft = Draft { user, ..Draft::of(caller.scope.environment, Action::RequestReplayed) };
    store::insert(tx, &draft.by(caller.origin()))
}

/// Notes that the trail of the whole installation was verified, and how much was found; `None`, if nobody waited for the end.
///
/// # Errors
/// The database refuses.
pub fn record_verified(tx: &Tx, origin: Origin, findings: Option<usize>) -> Result<()> {
    let changes = Changes::of_field("findings", None::<usize>, findings);
    record_changes(tx, INSTALLATION, origin, Action::AuditVerified, INSTALLATION.0, &changes)
}

/// Takes what changed about a user out of the trail, notes that this was done, and says in how many entries. That there
/// were changes, when, and by whom, stays, and so does the chain.
///
/// # Errors
/// The database refuses.
pub fn erase(tx: &Tx, origin: Origin, user: &User) -> Result<usize> {
    let entries = empty(tx, user.id)?;
    note(tx, origin, Action::UserErased, user, &user.person)?;
    Ok(entries)
}

/// Takes what changed out of the entries of somebody who is erased, and says out of how many.
///
/// # Errors
/// The database refuses.
pub(crate) fn empty(tx: &Tx, user: UserId) -> Result<usize> {
    tx.erase_audit(user)
}
