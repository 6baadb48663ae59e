//! How an import ends: all of its rows were read, or it is broken off. Knows neither the rows nor who reads them.

use std::time::Duration;

use serde_json::Value;

use super::{Import, ImportId, State, store};
use crate::admins::{self, Role};
use crate::audit::{self, Action, Changes};
use crate::caller::{Actor, Origin};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::keys;

/// For how long a command goes on with an import that was cut off.
pub const CONTINUED: Duration = Duration::from_hours(7 * 24);
/// Under which name the trail has why an import was broken off.
const REASON: &str = "reason";
/// Why an import ends whose key, or administrator, may not go on.
const KEY_ENDED: &str = "the key that it was begun by does not work any more";
const ADMIN_ENDED: &str = "the administrator who began it is no owner any more";
/// What stands before that if it was being taken back.
const UNDOING: &str = "while it was taken back: ";
/// How many imports are broken off in one transaction.
const AT_ONCE: i64 = 100;

impl Import {
    /// Insists that who it is by may still act: a key that works, an administrator who may import.
    ///
    /// # Errors
    /// [`Error::Operator`] with why not: what they have begun ends then.
    pub(super) fn need_its_actor(&self, tx: &Tx) -> Result<()> {
        let (may, why) = match self.actor {
            Actor::Key(key) => {
                let key = keys::get(tx, self.environment, key)?;
                (key.works(tx.now()), KEY_ENDED)
            }
            Actor::Admin(admin) => {
                let admin = admins::by_id(tx, admin)?;
                let is_owner = admin.is_some_and(|admin| admin.removed_at.is_none() && admin.role == Role::Owner);
                (is_owner, ADMIN_ENDED)
            }
            Actor::Person(_) | Actor::Operator | Actor::Usher => (true, ""),
        };
        if may { Ok(()) } else { Err(Error::operator(why)) }
    }
}

/// Ends an import whose rows were all read. After a rehearsal, a file that asks waits again.
///
/// # Errors
/// The database refuses.
pub fn finish(tx: &Tx, id: ImportId) -> Result<Import> {
    let mut import = store::to_change(tx, id)?;
    if import.state == State::Running {
        let waits = import.settings.asks && import.settings.dry_run;
        import.state = if waits { State::Draft } else { State::Done };
        import.due_at = waits.then(|| import.kept_until());
        import.finished_at = Some(tx.now());
        store::save(tx, &import)?;
        if !waits {
            store::forget_file(tx, id)?;
        }
    }
    Ok(import)
}

/// Ends an import that does not go on, whatever it is at, and notes why. What was done stays.
pub(super) fn break_off(tx: &Tx, id: ImportId, why: &str) -> Result<Import> {
    let mut import = store::to_change(tx, id)?;
    if matches!(import.state, State::Draft | State::Running | State::Undoing) {
        let why = if import.state == State::Undoing { format!("{UNDOING}{why}") } else { why.to_owned() };
        import.state = State::Broken;
        import.due_at = None;
        import.finished_at = Some(tx.now());
        store::save(tx, &import)?;
        store::forget_file(tx, id)?;
        let (origin, changes) = (Origin::of(Actor::Usher), Changes::of_field(REASON, Value::Null, why));
        audit::record_changes(tx, import.environment, origin, Action::ImportBrokenOff, id.0, &changes)?;
    }
    Ok(import)
}

/// Why an import was broken off, and what is to be done about that; `None` if it was not.
///
/// # Errors
/// The database does not answer.
pub fn reason(tx: &Tx, import: &Import) -> Result<Option<String>> {
    let Some(at) = import.finished_at.filter(|_| import.state == State::Broken) else { return Ok(None) };
    let entry = audit::of_target(tx, Action::ImportBrokenOff, import.id.0, at)?;
    let why = entry.as_ref().and_then(|entry| entry.changes.0["fields"][REASON][1].as_str());
    if let Some(why) = why.and_then(|why| why.strip_prefix(UNDOING)) {
        return Ok(Some(format!(
            "Taking it back was broken off: {why}. Do not send the file again, which would bring back who was erased; take \
             the import back once more."
        )));
    }
    let with = match why {
        Some(KEY_ENDED) => "with a key that works",
        Some(ADMIN_ENDED) => "as an owner",
        _ => "mended if it is at fault",
    };
    let why = why.unwrap_or("the audit trail does not say why").trim_end_matches('.');
    Ok(Some(format!(
        "It was broken off: {why}. Send the file again, {with}: nobody is taken over twice. What was done before stays, \
         unless the import is undone."
    )))
}

/// Breaks off every file that waits or is read, everywhere, and says how many: a database that was restored knows neither who
/// of them was taken over and mailed since, nor who was erased.
///
/// # Errors
/// The database refuses.
pub fn break_off_all(tx: &Tx) -> Result<usize> {
    let all = store::all_under_way(tx)?;
    for id in &all {
        break_off(tx, *id, "a backup was restored")?;
    }
    Ok(all.len())
}

/// Breaks off some of what commands have left undone for too long, and says whether there may be more.
///
/// # Errors
/// The database refuses.
pub fn purge(tx: &Tx) -> Result<bool> {
    let left = store::cut_off(tx, tx.now() - CONTINUED, AT_ONCE)?;
    for id in &left {
        break_off(tx, *id, "no command went on with it for a week")?;
    }
    Ok(i64::try_from(left.len()).is_ok_and(|count| count == AT_ONCE))
}
