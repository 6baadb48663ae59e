//! The life of a user: active, frozen, deleted, and back. [`crate::erasure`] is its end.

use std::time::Duration;

use super::{IfMatch, Status, User, UserId, save, store, to_change};
use crate::audit::{self, Action};
use crate::caller::{Actor, Caller, Origin, Target};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::links;
use crate::roles::{self, Right};
use crate::sessions;
use crate::signin;

/// How long a deleted user can be restored. After that they are erased.
pub const RESTORABLE: Duration = Duration::from_hours(30 * 24);

/// Keeps a person from signing in; their links and sessions end.
///
/// # Errors
/// Those of [`to_change`].
pub fn freeze(tx: &Tx, caller: &Caller, target: Target, if_match: &IfMatch) -> Result<User> {
    caller.need(Right::DeleteUsers)?;
    let user = to_change(tx, caller, target, Right::DeleteUsers, if_match)?;
    make(tx, caller.origin(), user, Status::Frozen)
}

/// Lets a frozen person sign in again.
///
/// # Errors
/// Those of [`to_change`].
pub fn unfreeze(tx: &Tx, caller: &Caller, target: Target, if_match: &IfMatch) -> Result<User> {
    caller.need(Right::DeleteUsers)?;
    let user = to_change(tx, caller, target, Right::DeleteUsers, if_match)?;
    make(tx, caller.origin(), user, Status::Active)
}

/// Deletes a user for every caller; their links and sessions end. People may delete themselves.
///
/// # Errors
/// Those of [`to_change`].
pub fn delete(tx: &Tx, caller: &Caller, target: Target, if_match: &IfMatch) -> Result<User> {
    let user = to_change(tx, caller, target, Right::DeleteUsers, if_match)?;
    make(tx, caller.origin(), user, Status::Deleted)
}

/// Brings a deleted user back as they were: active, or frozen.
///
/// # Errors
/// There is no such user, they are not deleted, or were for longer than [`RESTORABLE`].
pub fn restore(tx: &Tx, caller: &Caller, id: UserId, if_match: &IfMatch) -> Result<User> {
    caller.need(Right::DeleteUsers)?;
    let mut user = store::deleted_to_change(tx, caller.scope, id)?.ok_or_else(|| caller.not_seen())?;
    roles::allow(tx, caller, &user)?;
    if_match.allow(&user)?;
    match user.deleted_at {
        None => return Err(Error::NotNow { code: "not_deleted", message: "This user is not deleted" }),
        Some(at) if at + RESTORABLE <= tx.now() => return Err(caller.not_seen()),
        Some(_) => user.deleted_at = None,
    }
    save(tx, user, |tx, user| audit::note(tx, caller.origin(), Action::UserRestored, user, &user.person))
}

/// Freezes, deletes or restores a user, for the operator; says what they are then. Who was deleted is as they were before: active,
/// or frozen.
///
/// # Errors
/// [`Error::UserNotFound`].
pub fn set_status(tx: &Tx, id: UserId, status: Status) -> Result<Status> {
    let user = store::any_by_id(tx, id)?.ok_or(Error::UserNotFound)?;
    make(tx, Origin::of(Actor::Operator), user, status).map(|user| user.status())
}

fn make(tx: &Tx, origin: Origin, mut user: User, status: Status) -> Result<User> {
    let id = user.id;
    if user.status() != status {
        let action = match status {
            Status::Active => {
                if user.deleted_at.take().is_none() {
                    user.frozen_at = None;
                }
                Action::UserRestored
            }
            Status::Frozen => {
                user.frozen_at = user.frozen_at.or(Some(tx.now()));
                Action::UserFrozen
            }
            Status::Deleted => {
                user.deleted_at = Some(tx.now());
                Action::UserDeleted
            }
        };
        user = save(tx, user, |tx, user| audit::note(tx, origin, action, user, &user.person))?;
    }
    if status != Status::Active {
        links::supersede(tx, id)?;
        signin::void(tx, &user)?;
        sessions::end_all(tx, id)?;
    }
    Ok(user)
}
