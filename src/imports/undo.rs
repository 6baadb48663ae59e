//! Taking an import back: its users are erased, but those who have changed since, or have signed in.

use super::ends::break_off;
use super::{Import, ImportId, LEASE, State, Status, get, store};
use crate::apps;
use crate::audit::{self, Action};
use crate::caller::Caller;
use crate::db::Tx;
use crate::erasure;
use crate::error::{Error, Result};
use crate::roles::Right;
use crate::users::{self, User};

/// How many users are erased in one transaction.
const ERASED_AT_ONCE: usize = 50;

/// Begins to undo an import. With `by_server`, a server goes on; else whoever asks does, by [`undo_some`].
///
/// # Errors
/// There is none within reach, or the caller may not delete users.
pub fn undo(tx: &Tx, caller: &Caller, id: ImportId, by_server: bool) -> Result<Import> {
    caller.need(Right::DeleteUsers)?;
    get(tx, caller.scope, id)?;
    let mut import = store::to_change(tx, id)?;
    if !matches!(import.state, State::Undoing | State::Undone) {
        audit::record(tx, import.environment, caller.origin(), Action::ImportUndone, id.0)?;
        import.state = State::Undoing;
        import.finished_at = None;
        // Whoever undoes it erases its users, not who began it.
        import.actor = caller.actor;
        store::restart(tx, &import)?;
        store::forget_file(tx, id)?;
    }
    if import.state == State::Undoing {
        import.due_at = by_server.then_some(tx.now());
        store::save(tx, &import)?;
    }
    Ok(import)
}

/// Erases some more of an import's users, but those who have changed since, or have signed in.
///
/// # Errors
/// The database refuses.
pub fn undo_some(tx: &Tx, id: ImportId) -> Result<Import> {
    let mut import = store::to_change(tx, id)?;
    if import.state != State::Undoing {
        return Ok(import);
    }
    match import.need_its_actor(tx) {
        Err(Error::Operator(why)) => return break_off(tx, id, &why),
        may => may?,
    }
    let environment = apps::by_id(tx, import.environment)?;
    let origin = import.caller(&environment).origin();
    let Some(page) = store::page_after(tx, id, import.undone)? else {
        import.state = State::Undone;
        import.finished_at = Some(tx.now());
        import.due_at = None;
        store::save(tx, &import)?;
        return Ok(import);
    };
    let (mut erased, before) = (0, import.undone);
    for outcome in page.iter().filter(|outcome| outcome.row > before) {
        if erased == ERASED_AT_ONCE {
            break;
        }
        import.undone = outcome.row;
        if outcome.status != Status::Imported {
            continue;
        }
        // Locked before they are looked at: who signs in meanwhile has done so before, or finds nobody.
        match outcome.user.map(|user| users::lock(tx, user)).transpose() {
            Ok(Some(Some(user))) if is_untouched(tx, &user)? => {
                erasure::take_back(tx, origin, &user)?;
                import.removed += 1;
                erased += 1;
            }
            Ok(Some(Some(_))) => import.kept += 1,
            Ok(_) => {}
            // One damaged record must not keep the others.
            Err(Error::Integrity) => {
                tracing::error!(import = %id, user = outcome.user.map(tracing::field::display), "a user's record is damaged: it is not taken back");
                import.kept += 1;
            }
            Err(other) => return Err(other),
        }
    }
    import.due_at = import.due_at.map(|_| tx.now() + LEASE);
    store::save(tx, &import)?;
    Ok(import)
}

fn is_untouched(tx: &Tx, user: &User) -> Result<bool> {
    // Of who was verified elsewhere, the first sign-in changes nothing but the trail.
    Ok(user.version == 1 && !audit::has_acted(tx, user.id)?)
}
