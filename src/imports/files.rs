//! Files that wait for a server: sent by an app's server, or by an administrator who says later how they are read. They are
//! sealed, and gone when they are taken over, or a day after they came.

use std::time::Duration;

use bytes::Bytes;

use super::batch::{Hash, hash, hashes};
use super::ends::break_off;
use super::{Import, ImportId, LEASE, Settings, State, get, store, tenant_of_all};
use crate::audit::{self, Action};
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::random;
use crate::roles::Right;
use crate::users::{Unique, User};

/// For how long a file waits at the most.
pub const FILE_KEPT: Duration = Duration::from_hours(24);
/// How many files of an environment may wait.
pub const MOST_FILES: usize = 20;

impl Import {
    /// Until when its file is kept: a day from when it came, whatever is done with it meanwhile.
    pub(super) fn kept_until(&self) -> Timestamp {
        random::time_of(self.id.0) + FILE_KEPT
    }
}

/// Keeps the file of a new import.
pub(super) fn keep(tx: &Tx, import: &Import, file: &[u8]) -> Result<()> {
    if store::files(tx, import.environment)? > MOST_FILES as u64 {
        return Err(Error::TooMany("Twenty files wait to be imported; send this one when some are done"));
    }
    store::keep_file(tx, import.id, file)
}

/// The file of an import that waits.
///
/// # Errors
/// It is not there any more.
pub fn file(tx: &Tx, import: &Import) -> Result<Bytes> {
    store::file(tx, import.id)?.map(Bytes::from).ok_or(Error::NotFound("The file is not there any more"))
}

/// A file that waits for somebody to say how it goes on, in reach of a caller who may.
fn draft(tx: &Tx, caller: &Caller, id: ImportId) -> Result<Import> {
    caller.need(Right::InviteUsers)?;
    get(tx, caller.scope, id)?;
    let import = store::to_change(tx, id)?;
    if import.state != State::Draft {
        return Err(Error::NotNow { code: "import_begun", message: "The import has begun already" });
    }
    Ok(import)
}

/// Says how a file that waits is read, and has a server begin. A rehearsal changes nothing, so it makes no tenant either. What
/// was rehearsed and is now to be read in another way is rehearsed again: nobody is made or mailed in a way that nobody saw.
///
/// # Errors
/// There is none within reach, or it has begun; the caller may not add people.
pub fn start(tx: &Tx, caller: &Caller, id: ImportId, settings: &Settings) -> Result<Import> {
    let mut import = draft(tx, caller, id)?;
    let mut settings = Settings { asks: true, ..settings.clone() };
    let was_rehearsed = import.finished_at.is_some();
    settings.dry_run |= was_rehearsed && import.settings != Settings { dry_run: true, ..settings.clone() };
    import.rewind(tx)?;
    import = Import {
        tenant: tenant_of_all(tx, caller, &settings)?,
        actor: caller.actor,
        settings,
        state: State::Running,
        created_at: tx.now(),
        finished_at: None,
        due_at: Some(tx.now()),
        ..import
    };
    store::restart(tx, &import)?;
    audit::record(tx, import.environment, caller.origin(), Action::ImportBegun, id.0)?;
    Ok(import)
}

/// Removes a file that waits, and all that a rehearsal said of it.
///
/// # Errors
/// There is none within reach, or it has begun; the caller may not add people.
pub fn discard(tx: &Tx, caller: &Caller, id: ImportId) -> Result<()> {
    let import = draft(tx, caller, id)?;
    audit::record(tx, import.environment, caller.origin(), Action::ImportFileDiscarded, id.0)?;
    store::remove(tx, id)
}

/// An import that waits for a server, with its file, for this server alone until its lease ends. `None` does not say that
/// none waits: what nobody came to for a day is ended here.
///
/// # Errors
/// The database does not answer.
pub fn claim(tx: &Tx) -> Result<Option<(Import, Bytes)>> {
    let Some(mut import) = store::due(tx)? else { return Ok(None) };
    let is_over = import.kept_until() <= tx.now();
    let file = match import.state {
        State::Draft => {
            store::remove(tx, import.id)?;
            return Ok(None);
        }
        State::Running if !is_over => match store::file(tx, import.id) {
            Err(Error::Integrity) => None,
            found => found?,
        },
        State::Running => None,
        _ => Some(Vec::new()),
    };
    let Some(file) = file else {
        let why = if is_over { "the file was kept for a day, and no longer" } else { "the file does not open" };
        return break_off(tx, import.id, why).map(|_| None);
    };
    import.due_at = Some(tx.now() + LEASE);
    store::save(tx, &import)?;
    Ok(Some((import, file.into())))
}

/// Keeps somebody who is erased from coming back by a file that waits or is read, by a server or a command: rows with an
/// address that they have or had fail. To be called before the user is locked, as rows are taken over in that order.
///
/// # Errors
/// The database refuses.
pub fn forget(tx: &Tx, user: &User) -> Result<()> {
    let imports = store::under_way(tx, user.environment)?;
    if imports.is_empty() {
        return Ok(());
    }
    let mut erased: Vec<Hash> = hashes(tx, user.environment, &user.person).collect();
    let before = audit::addresses(tx, user.id)?;
    erased.extend(before.iter().map(|email| hash(tx, user.environment, Unique::Email, email.key())));
    erased.sort_unstable();
    erased.dedup();
    for (import, hash) in imports.iter().flat_map(|import| erased.iter().map(move |hash| (*import, hash))) {
        store::note_erased(tx, import, hash)?;
    }
    Ok(())
}
