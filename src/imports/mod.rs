//! Imports: people who were users elsewhere, taken over from a file, some rows in one transaction; resumable, undoable.
//!
//! Rows pass through the same fields and operations as requests do. A batch of rows, what became of each, and how far the
//! import is, are written together, so that a run that was cut off goes on where it stopped and no row is taken twice.
//! Knows no web framework; who runs an import, and where the file is, is the business of the command line and of `app`.

pub mod cell;
mod columns;
pub mod export;
mod presets;
mod rows;
mod run;
mod store;

pub use columns::{Entry, Plan, fields};
pub use presets::Preset;
pub use rows::{Format, Row, Rows, Survey, survey};
pub use run::{Progress, Work, go_on, rehearse, take_back};
pub use store::{list, outcomes};

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::apps::{self, Environment, EnvironmentId};
use crate::audit::{self, Action};
use crate::caller::{Actor, Caller, Scope};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type, words};
use crate::erasure;
use crate::error::{Error, Result};
use crate::links::{self, Links};
use crate::roles::{self, Right, Rights};
use crate::sessions;
use crate::tenants::{self, TenantId};
use crate::users::{self, Person, Standing, Unique, User, UserId};

id_type!(
    /// An import: the batch by which its users are known.
    ImportId
);

words! {
    /// How far an import is.
    pub enum State {
        /// Rows are being taken over, or will be.
        Running = "running",
        /// All rows were read.
        Done = "done",
        /// Its users are being erased, or will be.
        Undoing = "undoing",
        /// Its users are erased, but those who have changed since.
        Undone = "undone",
        /// The file cannot be read to its end.
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
    /// Whether each person is mailed their link.
    pub send_links: bool,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
}

impl Settings {
    /// The rows of a file of this kind.
    ///
    /// # Errors
    /// The file is not of this kind.
    pub fn rows(&self, source: impl std::io::Read + Send + 'static) -> Result<Rows> {
        Rows::new(Format::named(&self.format).ok_or(Error::Integrity)?, source)
    }

    /// What becomes of the columns.
    ///
    /// # Errors
    /// Those of [`Plan::new`].
    pub fn plan(&self, columns: &[String]) -> Result<Plan> {
        Plan::new(columns, &self.mappings, self.preset.as_deref().and_then(Preset::named))
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
    /// How many have changed since, and stay.
    pub kept: u64,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was done, or undone.
    pub finished_at: Option<Timestamp>,
    /// When a server goes on with it.
    pub due_at: Option<Timestamp>,
}

/// A file that is to be imported.
#[derive(Clone)]
pub struct New {
    /// The tenant of all rows; if there is none, they may say.
    pub tenant: Option<TenantId>,
    /// How the file is read.
    pub settings: Settings,
    /// How many rows it has.
    pub total: u64,
    /// The SHA-256 of the file.
    pub digest: [u8; 32],
    /// The file, for a server to read; without it, who begins goes on.
    pub source: Option<Vec<u8>>,
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
/// How many users are erased in one transaction.
const ERASED_AT_ONCE: usize = 50;

/// Begins an import, or finds the one of the same file, read the same way, that was not finished.
///
/// # Errors
/// The caller may not add people, or the database refuses.
pub fn begin(tx: &Tx, caller: &Caller, new: &New) -> Result<Import> {
    caller.need(Right::InviteUsers)?;
    let tenant = caller.scope.tenant.or(new.tenant);
    let settings = serde_json::to_string(&new.settings).map_err(Error::internal)?;
    let identity = format!("{}\n{tenant:?}\n{settings}\n", caller.scope.environment);
    let fingerprint = tx.vault().mark("import", &[identity.as_bytes(), &new.digest].concat());
    let unfinished = store::unfinished(tx, caller.scope.environment, &fingerprint)?;
    if let Some(import) = unfinished.filter(|import| import.actor == caller.actor && new.source.is_none()) {
        return Ok(import);
    }
    let import = Import {
        id: ImportId::ordered(tx.now()),
        environment: caller.scope.environment,
        tenant,
        actor: caller.actor,
        settings: new.settings.clone(),
        state: State::Running,
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
        due_at: new.source.as_ref().map(|_| tx.now()),
    };
    store::insert(tx, &import, &fingerprint, new.source.as_deref())?;
    audit::record(tx, import.environment, caller.origin(), Action::ImportBegun, import.id.0)?;
    Ok(import)
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
    /// Who its users are made by: whoever began it, with the import's id where a request's would be.
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
/// Another run is at work on the import, or the database refuses.
pub fn add(tx: &Tx, id: ImportId, place: u64, rows: &[Line], links: Option<&Links>) -> Result<Vec<Outcome>> {
    let mut import = store::to_change(tx, id)?;
    if import.state != State::Running || import.place != place {
        return Err(Error::NotNow { code: "import_elsewhere", message: "Another run is at work on this import" });
    }
    let environment = apps::by_id(tx, import.environment)?;
    let mut batch = Batch::new(tx, import.caller(&environment), rows)?;
    let mut outcomes = Vec::with_capacity(rows.len());
    for (row, entry) in rows {
        let outcome = match entry {
            Ok(entry) => batch.take(tx, *row, entry, links)?,
            Err(why) => failed(*row, why.clone()),
        };
        import.count(outcome.status);
        outcomes.push(outcome);
    }
    import.place += rows.len() as u64;
    import.due_at = import.due_at.map(|_| tx.now() + LEASE);
    store::keep(tx, id, &outcomes)?;
    store::save(tx, &import)?;
    Ok(outcomes)
}

/// What [`add`] would say of the rows, as far as the database and these rows tell. Changes nothing.
///
/// # Errors
/// The database does not answer.
pub fn look(tx: &Tx, caller: &Caller, lines: &[Line]) -> Result<Vec<Outcome>> {
    let mut batch = Batch::new(tx, *caller, lines)?;
    lines
        .iter()
        .map(|(row, entry)| match entry {
            Ok(entry) => batch.look(tx, *row, entry),
            Err(why) => Ok(failed(*row, why.clone())),
        })
        .collect()
}

/// Ends an import whose rows were all read.
///
/// # Errors
/// The database refuses.
pub fn finish(tx: &Tx, id: ImportId, state: State) -> Result<Import> {
    let mut import = store::to_change(tx, id)?;
    if import.state == State::Running {
        import.state = state;
        import.finished_at = Some(tx.now());
        import.due_at = None;
        store::save(tx, &import)?;
        store::forget_source(tx, id)?;
    }
    Ok(import)
}

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
        store::forget_source(tx, id)?;
    }
    if import.state == State::Undoing {
        import.due_at = by_server.then_some(tx.now());
        store::save(tx, &import)?;
    }
    Ok(import)
}

/// Erases some more of an import's users, but those who have changed since or are signed in.
///
/// # Errors
/// The database refuses.
pub fn undo_some(tx: &Tx, id: ImportId) -> Result<Import> {
    let mut import = store::to_change(tx, id)?;
    if import.state != State::Undoing {
        return Ok(import);
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
        match outcome.user.map(|user| users::any_by_id(tx, user)).transpose()?.flatten() {
            None => {}
            Some(user) if is_untouched(tx, &user)? => {
                erasure::erase(tx, origin, &user)?;
                import.removed += 1;
                erased += 1;
            }
            Some(_) => import.kept += 1,
        }
    }
    import.due_at = import.due_at.map(|_| tx.now() + LEASE);
    store::save(tx, &import)?;
    Ok(import)
}

fn is_untouched(tx: &Tx, user: &User) -> Result<bool> {
    Ok(user.version == 1 && sessions::of_user(tx, user.id)?.is_empty())
}

impl Import {
    fn count(&mut self, status: Status) {
        match status {
            Status::Imported => self.imported += 1,
            Status::Duplicate => self.duplicates += 1,
            Status::Failed => self.failed += 1,
        }
    }
}

fn failed(row: u64, reason: String) -> Outcome {
    Outcome { row, status: Status::Failed, user: None, reason }
}

/// What is unique about a person, as it is compared.
fn marks(person: &Person) -> impl Iterator<Item = (Unique, &str)> {
    let email = person.email.as_ref().map(|email| (Unique::Email, email.key()));
    let phone = person.phone.as_ref().map(|phone| (Unique::Phone, phone.key()));
    let external_id = person.external_id.as_ref().map(|id| (Unique::ExternalId, id.0.as_str()));
    email.into_iter().chain(phone).chain(external_id)
}

/// Some rows on their way into one environment.
struct Batch {
    caller: Caller,
    /// Who has what must be unique; without an id, an earlier of these rows.
    taken: HashMap<(Unique, String), Option<UserId>>,
    tenants: HashMap<String, Option<TenantId>>,
    roles: Vec<roles::Role>,
}

impl Batch {
    fn new(tx: &Tx, caller: Caller, lines: &[Line]) -> Result<Batch> {
        let people = || lines.iter().filter_map(|(_, entry)| entry.as_ref().ok()).map(|entry| &entry.person);
        let mut taken = HashMap::new();
        for unique in [Unique::Email, Unique::Phone, Unique::ExternalId] {
            let wanted: HashSet<&str> =
                people().flat_map(marks).filter(|(kind, _)| *kind == unique).map(|(_, value)| value).collect();
            let wanted: Vec<&str> = wanted.into_iter().collect();
            let held = users::holders(tx, caller.scope.environment, unique, &wanted)?;
            taken.extend(held.into_iter().map(|(value, user)| ((unique, value), Some(user))));
        }
        let any_role = lines.iter().any(|(_, entry)| entry.as_ref().is_ok_and(|entry| entry.role.is_some()));
        let roles = if any_role { roles::list(tx, caller.scope.environment)? } else { Vec::new() };
        Ok(Batch { caller, taken, tenants: HashMap::new(), roles })
    }

    /// Who the row is a duplicate of, if it is one.
    fn duplicate(&self, row: u64, person: &Person) -> Option<Outcome> {
        let found =
            marks(person).find_map(|(unique, value)| Some((unique, self.taken.get(&(unique, value.to_owned()))?)));
        found.map(|(unique, user)| duplicate(row, unique, *user))
    }

    fn look(&mut self, tx: &Tx, row: u64, entry: &Entry) -> Result<Outcome> {
        if let Some(duplicate) = self.duplicate(row, &entry.person) {
            return Ok(duplicate);
        }
        if let Some(why) = self.standing(entry).err().or(self.tenant(tx, entry, false)?.err()) {
            return Ok(failed(row, why.to_owned()));
        }
        self.note(&entry.person, None);
        Ok(Outcome { row, status: Status::Imported, user: None, reason: String::new() })
    }

    fn take(&mut self, tx: &Tx, row: u64, entry: &Entry, links: Option<&Links>) -> Result<Outcome> {
        if let Some(duplicate) = self.duplicate(row, &entry.person) {
            return Ok(duplicate);
        }
        let standing = match self.standing(entry) {
            Ok(standing) => standing,
            Err(why) => return Ok(failed(row, why.to_owned())),
        };
        let tenant = match self.tenant(tx, entry, true)? {
            Ok(tenant) => tenant,
            Err(why) => return Ok(failed(row, why.to_owned())),
        };
        let caller = Caller { scope: Scope { tenant, ..self.caller.scope }, ..self.caller };
        let user = match users::adopt(tx, &caller, entry.person.clone(), standing) {
            Ok(user) => user,
            // Somebody else was faster.
            Err(Error::EmailTaken) => return Ok(duplicate(row, Unique::Email, None)),
            Err(Error::PhoneTaken) => return Ok(duplicate(row, Unique::Phone, None)),
            Err(Error::ExternalIdTaken) => return Ok(duplicate(row, Unique::ExternalId, None)),
            Err(e) => return Err(e),
        };
        if let Some(links) = links.filter(|_| !standing.frozen) {
            links::send(tx, links, &user)?;
        }
        self.note(&entry.person, Some(user.id));
        Ok(Outcome { row, status: Status::Imported, user: Some(user.id), reason: String::new() })
    }

    fn note(&mut self, person: &Person, user: Option<UserId>) {
        self.taken.extend(marks(person).map(|(unique, value)| ((unique, value.to_owned()), user)));
    }

    fn standing(&self, entry: &Entry) -> std::result::Result<Standing, &'static str> {
        let role = match &entry.role {
            None => None,
            Some(name) => {
                let role =
                    self.roles.iter().find(|role| role.name == *name).ok_or("role: there is none of that name")?;
                Some(role.id).filter(|id| *id != roles::RoleId::MEMBER)
            }
        };
        Ok(Standing { verified: entry.verified, frozen: entry.frozen, role })
    }

    /// The tenant of a row: the one of the import, or the one that it names, which the operator and administrators make by naming it.
    fn tenant(
        &mut self,
        tx: &Tx,
        entry: &Entry,
        make: bool,
    ) -> Result<std::result::Result<Option<TenantId>, &'static str>> {
        let (bound, environment) = (self.caller.scope.tenant, self.caller.scope.environment);
        let Some(name) = entry.tenant.as_deref().filter(|_| bound.is_none()) else { return Ok(Ok(bound)) };
        let may_make = matches!(self.caller.actor, Actor::Operator | Actor::Admin(_));
        let id = match self.tenants.get(name) {
            Some(id) => *id,
            None if may_make && make => Some(tenants::named(tx, environment, name)?),
            None => tenants::find(tx, environment, name)?,
        };
        self.tenants.insert(name.to_owned(), id);
        Ok(if id.is_none() && !may_make { Err("tenant: there is none of that name") } else { Ok(id) })
    }
}

fn duplicate(row: u64, unique: Unique, user: Option<UserId>) -> Outcome {
    let what = match unique {
        Unique::Email => "email",
        Unique::Phone => "phone_number",
        Unique::ExternalId => "externalId",
    };
    let who = if user.is_some() { "a user" } else { "an earlier row, or a user" };
    Outcome { row, status: Status::Duplicate, user, reason: format!("{what}: {who} has it") }
}

/// The id in an import's address.
///
/// # Errors
/// It is none.
pub fn parse_id(text: &str) -> Result<ImportId> {
    let id: std::result::Result<Uuid, _> = text.parse();
    id.map(ImportId).map_err(|_| Error::bad_request("malformed_id", "The import's id must be a UUID"))
}
