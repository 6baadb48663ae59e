//! Imports: people who were users elsewhere, taken over from a file, some rows in one transaction; resumable, undoable.
//!
//! Rows pass through the same fields and operations as requests do. A batch of rows, what became of each, and how far the
//! import is, are written together, so that a run that was cut off goes on where it stopped and no row is taken twice.
//! Knows no web framework. Who runs an import has the file: the command line, or a server to which it was sent.

mod batch;
pub mod cell;
mod column;
mod columns;
mod elements;
mod ends;
mod entry;
pub mod export;
mod files;
mod presets;
mod records;
mod results;
mod rows;
mod run;
mod store;
mod undo;

pub use columns::{Plan, mapping, unit, with_unit};
pub use ends::{CONTINUED, break_off_all, finish, purge, reason};
pub use entry::{Entry, fields};
pub use files::{FILE_KEPT, MOST_FILES, claim, discard, file, forget, start};
pub use presets::Preset;
pub use results::Results;
pub use rows::{Format, Row, Rows, Survey, survey};
pub use run::{Progress, Rehearsal, Work, go_on, serve, take_back};
pub use store::{count_broken, list, outcomes, waits};
pub use undo::{undo, undo_some};

use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::batch::{Batch, failed};
use crate::apps::{self, Environment, EnvironmentId};
use crate::audit::{self, Action};
use crate::caller::{Actor, Caller, Scope};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type, words};
use crate::error::{Error, Result};
use crate::links::Links;
use crate::roles::{Right, Rights};
use crate::tenants::{self, TenantId};
use crate::users::UserId;

id_type!(
    /// An import: the batch by which its users are known.
    ImportId
);

words! {
    /// How far an import is.
    pub enum State {
        /// The file waits, for a day at the most, until somebody says how it goes on.
        Draft = "draft",
        /// Rows are being taken over, or will be.
        Running = "running",
        /// All rows were read.
        Done = "done",
        /// Its users are being erased, or will be.
        Undoing = "undoing",
        /// Its users are erased, but those who have changed or signed in since.
        Undone = "undone",
        /// It does not go on: the file cannot be read to its end, nobody came to it in time, who began it may no longer, or a
        /// backup was restored.
        Broken = "broken",
    }
}

words! {
    /// What became of a row.
    pub enum Status {
        /// There is a user now.
        Imported = "imported",
        /// There was one before, by e-mail address, phone number or external id.
        Duplicate = "duplicate",
        /// It is wrong.
        Failed = "failed",
    }
}

/// How a file is read, and what is done beside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How the file is written: a [`Format`]'s word.
    pub format: String,
    /// The known export that it is: a [`Preset`]'s word.
    pub preset: Option<String>,
    /// What becomes of columns, as `column=field`.
    pub mappings: Vec<String>,
    /// What the tenant of all rows is called: made by the import, if it is new, and by no rehearsal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Whether each person is mailed their link.
    pub send_links: bool,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
    /// Whether the file waits, before and after a rehearsal, for somebody to say how it goes on.
    #[serde(default)]
    pub asks: bool,
    /// The columns that become nothing, once that is decided. Told, and read by nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

impl Settings {
    /// The rows of a file of this kind.
    ///
    /// # Errors
    /// The file is not of this kind.
    pub fn rows(&self, source: impl std::io::Read + Send + 'static) -> Result<Rows> {
        Rows::new(Format::named(&self.format).ok_or(Error::Integrity)?, source)
    }

    /// Reads a file to its end, and tells what it has. That takes its time.
    ///
    /// # Errors
    /// The file is not of this kind.
    pub fn survey(&self, file: &Bytes) -> Result<Survey> {
        if file.is_empty() {
            return Err(Error::bad_request("unreadable_file", "The file is empty; it must be a list of people"));
        }
        survey(self.rows(Cursor::new(file.clone()))?)
    }

    /// What becomes of the columns.
    ///
    /// # Errors
    /// Those of [`Plan::new`].
    pub fn plan(&self, columns: &[String]) -> Result<Plan> {
        Plan::new(columns, &self.mappings, self.preset()).map(|plan| self.for_all(plan))
    }

    /// The same, where somebody has yet to say which column is the e-mail address.
    ///
    /// # Errors
    /// Those of [`Plan::guess`].
    pub fn guess(&self, columns: &[String]) -> Result<Plan> {
        Plan::guess(columns, &self.mappings, self.preset()).map(|plan| self.for_all(plan))
    }

    /// What is said of all rows, no row says, whether the tenant is there already or not.
    fn for_all(&self, plan: Plan) -> Plan {
        if self.tenant.is_some() { plan.without("tenant") } else { plan }
    }

    /// The known export that it is said to be.
    pub fn preset(&self) -> Option<Preset> {
        self.preset.as_deref().and_then(Preset::named)
    }
}

/// An import.
#[derive(Clone, Debug)]
pub struct Import {
    /// Its id.
    pub id: ImportId,
    /// Where its users live.
    pub environment: EnvironmentId,
    /// The tenant of all of them; if there is none, rows may say.
    pub tenant: Option<TenantId>,
    /// Who imports.
    pub actor: Actor,
    /// How the file is read.
    pub settings: Settings,
    /// How far it is.
    pub state: State,
    /// How many rows there are.
    pub total: u64,
    /// How many were read.
    pub place: u64,
    /// How many became users.
    pub imported: u64,
    /// How many were users before.
    pub duplicates: u64,
    /// How many are wrong.
    pub failed: u64,
    /// Up to which row it was undone.
    pub undone: u64,
    /// How many users were erased.
    pub removed: u64,
    /// How many have changed or signed in since, and stay.
    pub kept: u64,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was done, or undone.
    pub finished_at: Option<Timestamp>,
    /// When a server goes on with it, or removes it if nobody came.
    pub due_at: Option<Timestamp>,
}

/// A file that is to be imported.
#[derive(Clone)]
pub struct New {
    /// The tenant of all rows, if `settings` does not name it; if there is none, they may say.
    pub tenant: Option<TenantId>,
    /// How the file is read.
    pub settings: Settings,
    /// How many rows it has.
    pub total: u64,
    /// The SHA-256 of the file.
    pub digest: [u8; 32],
    /// The file, for a server to read; without it, who begins goes on.
    pub source: Option<Bytes>,
}

crate::secret::redacted!(New);

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its number, from one.
    pub row: u64,
    /// What became of it.
    pub status: Status,
    /// The user that it became, or that was there.
    pub user: Option<UserId>,
    /// Why it did not become one; no value of the row.
    pub reason: String,
}

/// A row that was read: its number, and the person or what is wrong.
pub type Line = (u64, std::result::Result<Entry, String>);

/// How long a server has for some rows before another may go on.
const LEASE: Duration = Duration::from_mins(1);

/// Begins an import, or finds the one of the same file, read the same way, that was not finished. If `settings.asks`, the file
/// waits for [`start`].
///
/// # Errors
/// The caller may not add people, too many files wait, or the database refuses.
pub fn begin(tx: &Tx, caller: &Caller, new: &New) -> Result<Import> {
    caller.need(Right::InviteUsers)?;
    let tenant = tenant_of_all(tx, caller, &new.settings)?.or(new.tenant);
    let settings = Settings { tenant: None, ignored: Vec::new(), ..new.settings.clone() };
    let settings = serde_json::to_string(&settings).map_err(Error::internal)?;
    let identity = format!("{}\n{tenant:?}\n{settings}\n", caller.scope.environment);
    let fingerprint = tx.vault().mark("import", &[identity.as_bytes(), &new.digest].concat());
    let unfinished = store::unfinished(tx, caller.scope.environment, &fingerprint, tx.now() - CONTINUED)?;
    if let Some(import) = unfinished.filter(|import| import.actor == caller.actor && new.source.is_none()) {
        return Ok(import);
    }
    let asks = new.settings.asks;
    let import = Import {
        id: ImportId::ordered(tx.now()),
        environment: caller.scope.environment,
        tenant,
        actor: caller.actor,
        settings: new.settings.clone(),
        state: if asks { State::Draft } else { State::Running },
        total: new.total,
        place: 0,
        imported: 0,
        duplicates: 0,
        failed: 0,
        undone: 0,
        removed: 0,
        kept: 0,
        created_at: tx.now(),
        finished_at: None,
        due_at: new.source.as_ref().map(|_| if asks { tx.now() + FILE_KEPT } else { tx.now() }),
    };
    store::insert(tx, &import, &fingerprint)?;
    if let Some(file) = &new.source {
        files::keep(tx, &import, file)?;
    }
    let action = if asks { Action::ImportFileSent } else { Action::ImportBegun };
    audit::record(tx, import.environment, caller.origin(), action, import.id.0)?;
    Ok(import)
}

/// The tenant of all rows, as far as the caller and the settings say. A rehearsal makes none.
fn tenant_of_all(tx: &Tx, caller: &Caller, settings: &Settings) -> Result<Option<TenantId>> {
    let Scope { environment, tenant } = caller.scope;
    match &settings.tenant {
        Some(name) if tenant.is_none() && settings.dry_run => tenants::wanted(tx, environment, name),
        Some(name) if tenant.is_none() => tenants::named(tx, environment, caller.origin(), name).map(Some),
        _ => Ok(tenant),
    }
}

/// An import of the caller's environment; of its tenant, if it is bound to one.
///
/// # Errors
/// There is none within reach.
pub fn get(tx: &Tx, scope: Scope, id: ImportId) -> Result<Import> {
    let import = store::by_id(tx, id)?.filter(|import| {
        import.environment == scope.environment && scope.tenant.is_none_or(|tenant| import.tenant == Some(tenant))
    });
    import.ok_or(Error::NotFound("Import not found"))
}

impl Import {
    /// Who its users are made by, and taken back by: whoever began it, or undoes it, with the import's id where a request's
    /// would be.
    pub fn caller(&self, environment: &Environment) -> Caller {
        Caller {
            scope: Scope { environment: self.environment, tenant: self.tenant },
            actor: self.actor,
            rights: Rights::ALL,
            request: Some(self.id.0),
            ..Caller::operator(environment)
        }
    }
}

/// Takes over the rows from `import.place` on, and says what became of each. `links` mails each person theirs.
///
/// # Errors
/// Another run is at work on the import, who began it may no longer, or the database refuses.
pub fn add(tx: &Tx, id: ImportId, place: u64, rows: &[Line], links: Option<&Links>) -> Result<Vec<Outcome>> {
    let import = at(tx, id, place)?;
    let environment = apps::by_id(tx, import.environment)?;
    let mut batch = Batch::new(tx, import.caller(&environment), Some(id), rows)?;
    let mut outcomes = Vec::with_capacity(rows.len());
    for (row, entry) in rows {
        outcomes.push(match entry {
            Ok(entry) => batch.take(tx, *row, entry, links)?,
            Err(why) => failed(*row, why.clone()),
        });
    }
    note(tx, import, &outcomes)?;
    Ok(outcomes)
}

/// What [`add`] would say of the rows, as far as the database and these rows tell. Changes nothing. `import` is the one that
/// they are of, if that is kept.
///
/// # Errors
/// The database does not answer.
pub fn look(tx: &Tx, caller: &Caller, import: Option<ImportId>, lines: &[Line]) -> Result<Vec<Outcome>> {
    let mut batch = Batch::new(tx, *caller, import, lines)?;
    lines
        .iter()
        .map(|(row, entry)| match entry {
            Ok(entry) => batch.look(tx, *row, entry),
            Err(why) => Ok(failed(*row, why.clone())),
        })
        .collect()
}

/// Keeps what a rehearsal says of the rows from `place` on. The first forgets what one said that was cut off.
///
/// # Errors
/// Another run is at work on the import, who began it may no longer, or the database refuses.
pub fn keep_rehearsed(tx: &Tx, id: ImportId, place: u64, outcomes: &[Outcome]) -> Result<()> {
    if place == 0 {
        let mut import = store::to_change(tx, id)?;
        import.rewind(tx)?;
        store::save(tx, &import)?;
    }
    note(tx, at(tx, id, place)?, outcomes)
}

/// The import, if its next row is the one after `place` and it may go on.
fn at(tx: &Tx, id: ImportId, place: u64) -> Result<Import> {
    let import = store::to_change(tx, id)?;
    if import.state != State::Running || import.place != place {
        return Err(Error::NotNow { code: "import_elsewhere", message: "Another run is at work on this import" });
    }
    import.need_its_actor(tx)?;
    Ok(import)
}

fn note(tx: &Tx, mut import: Import, outcomes: &[Outcome]) -> Result<()> {
    for outcome in outcomes {
        import.count(outcome.status);
    }
    import.place += outcomes.len() as u64;
    import.due_at = import.due_at.map(|_| tx.now() + LEASE);
    store::keep(tx, import.id, outcomes)?;
    store::save(tx, &import)
}

impl Import {
    /// Back to the first row, with nothing said of any.
    fn rewind(&mut self, tx: &Tx) -> Result<()> {
        (self.place, self.imported, self.duplicates, self.failed) = (0, 0, 0, 0);
        store::forget_pages(tx, self.id)
    }

    fn count(&mut self, status: Status) {
        match status {
            Status::Imported => self.imported += 1,
            Status::Duplicate => self.duplicates += 1,
            Status::Failed => self.failed += 1,
        }
    }
}

/// The id in an import's address.
///
/// # Errors
/// It is none.
pub fn parse_id(text: &str) -> Result<ImportId> {
    let id: std::result::Result<Uuid, _> = text.parse();
    id.map(ImportId).map_err(|_| Error::bad_request("malformed_id", "The import's id must be a UUID"))
}
