//! The store: where it is, how it is opened, `write` and `read`.
//!
//! Everything above this folder sees [`Store`], [`Tx`], [`Row`] and SQL text; it must not know which
//! engine is below. SQL is kept to what SQLite and PostgreSQL both accept, with `$1, $2 …` numbered
//! in the order of first appearance (that is how SQLite binds them).

mod back;
pub mod backup;
pub mod copy;
mod engine;
mod guard;
mod memory;
mod migrate;
mod pipeline;
mod postgres;
mod purge;
mod sqlite;
mod tx;
mod value;
mod writer;

use std::cell::Cell;
use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use purge::Purge;
pub use tx::Tx;
pub use value::{Column, Row, Value};
pub(crate) use value::{id_type, one_of, params, words};

use engine::{Connection, Engine, Found};
use memory::Memory;

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::vault::Vault;

/// How long a statement of [`Store::scan`] may take, where the database is elsewhere.
const SCAN: Duration = Duration::from_mins(1);

/// What [`Store::inspect`] calls the version of the tables.
pub const SCHEMA: &str = "schema version";

/// Where an installation keeps its data.
#[derive(Clone, Debug)]
pub struct Location {
    /// The directory of the embedded database and of the data key, unless either is named elsewhere.
    pub data: PathBuf,
    /// The database's file, if it is not `usher.db` in the directory.
    pub database: Option<PathBuf>,
    /// The URL of a PostgreSQL database, if that is used and no file.
    pub postgres: Option<Secret>,
    /// The data key's file, if it is not `data.key` in the directory.
    pub key_file: Option<PathBuf>,
}

impl Location {
    /// Everything in one directory.
    pub fn at(data: impl Into<PathBuf>) -> Location {
        Location { data: data.into(), database: None, postgres: None, key_file: None }
    }

    /// The same with its database elsewhere: in a file, or at a server.
    ///
    /// # Errors
    /// What such a URL looks like.
    pub fn with_database(self, url: Secret) -> std::result::Result<Location, &'static str> {
        let file = url.expose().strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
        match file {
            Some(file) if !file.is_empty() => Ok(Location { database: Some(PathBuf::from(file)), ..self }),
            None if ["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme)) => {
                Ok(Location { postgres: Some(url), ..self })
            }
            _ => Err("sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE, e.g. sqlite:/var/lib/usher/usher.db"),
        }
    }

    /// A database's URL as it may be shown: that of a file holds no password.
    pub fn without_password(url: &Secret) -> Option<&str> {
        url.expose().starts_with("sqlite:").then(|| url.expose())
    }

    /// The file that holds the database, if it is on this machine.
    pub fn file(&self) -> Option<PathBuf> {
        self.postgres.is_none().then(|| self.database())
    }

    /// The file of the embedded database.
    fn database(&self) -> PathBuf {
        self.database.clone().unwrap_or_else(|| self.data.join("usher.db"))
    }

    fn peek(&self) -> Result<Found> {
        if let Some(url) = &self.postgres {
            return std::thread::scope(|scope| {
                // Off this thread, which may not wait for another runtime.
                let peek = scope.spawn(|| postgres::peek(url.expose(), migrate::SEAL));
                peek.join().unwrap_or_else(|_| Err(Error::internal("looking at the database panicked")))
            });
        }
        sqlite::peek(&self.database(), migrate::SEAL)
    }

    fn is_absent(&self) -> bool {
        self.postgres.is_none() && !self.database().exists()
    }

    fn names_the_same(&self, other: &Location) -> bool {
        match (&self.postgres, &other.postgres) {
            (Some(one), Some(other)) => one.expose() == other.expose(),
            (None, None) => {
                let real = |file: PathBuf| file.canonicalize().unwrap_or(file);
                real(self.database()) == real(other.database())
            }
            _ => false,
        }
    }

    /// What to call the database in messages.
    fn name(&self) -> String {
        self.postgres
            .as_ref()
            .map_or_else(|| self.database().display().to_string(), |_| "the PostgreSQL database".to_owned())
    }

    /// The file of the data key.
    pub fn key_file(&self) -> PathBuf {
        self.key_file.clone().unwrap_or_else(|| self.data.join("data.key"))
    }
}

/// What to do when there is no data yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMissing {
    /// Make the directory, the data key and the tables.
    Create,
    /// Say that there is none.
    Refuse,
}

/// The installation's database with its clock and its data key. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Arc<Engine>,
    context: Arc<Context>,
}

/// What every transaction carries besides its connection.
struct Context {
    clock: Clock,
    vault: Vault,
    memory: Memory,
}

impl Store {
    /// Opens the data at `location`, after checking that the data key fits it, and brings its tables up to date.
    ///
    /// # Errors
    /// [`Error::Operator`] when there is no data and `missing` refuses, the key is missing or wrong (nothing is
    /// written then), or a newer Usher made the tables.
    pub async fn open(location: &Location, clock: Clock, missing: IfMissing) -> Result<Store> {
        let store = Store::open_even_unfinished(location, clock, missing).await?;
        store.read(copy::refuse_unfinished).await?;
        Ok(store)
    }

    /// As [`Store::open`], and leaves the tables as they are. If they are not this program's version, nothing but
    /// [`Store::inspect`] is of use.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_as_it_is(location: &Location, clock: Clock) -> Result<Store> {
        let (store, _) = Store::connect(location, clock, IfMissing::Refuse)?;
        store.read(copy::refuse_unfinished).await?;
        Ok(store)
    }

    /// As [`Store::open`], and also what an unfinished copy has left.
    async fn open_even_unfinished(location: &Location, clock: Clock, missing: IfMissing) -> Result<Store> {
        let (store, found) = Store::connect(location, clock, missing)?;
        store.migrate(&found).await?;
        store.read(migrate::check_seal).await.map_err(|e| match e {
            // Another server, with another key, was first on an empty database.
            Error::Integrity => wrong_key(&location.key_file(), &store.context.vault),
            other => other,
        })?;
        Ok(store)
    }

    fn connect(location: &Location, clock: Clock, missing: IfMissing) -> Result<(Store, Found)> {
        let found = location.peek()?;
        let vault = match &found {
            Found::Value(seal) => {
                let vault = Vault::load(&location.key_file())?;
                vault.open(migrate::SEAL_OWNER, seal).map_err(|_| wrong_key(&location.key_file(), &vault))?;
                vault
            }
            Found::Nothing if missing == IfMissing::Create => {
                make_private_directory(&location.data)?;
                let file = location.key_file();
                if file.exists() { Vault::load(&file)? } else { Vault::generate(&file)? }
            }
            Found::Nothing if location.is_absent() => {
                return Err(Error::operator(match &location.database {
                    Some(file) => format!("there is no database {}.", file.display()),
                    None => format!(
                        "there is no Usher data in {0}. `usher serve --data {0}` makes it; --data names another directory.",
                        location.data.display()
                    ),
                }));
            }
            Found::Nothing | Found::Foreign => {
                let name = location.name();
                return Err(Error::operator(format!("{name} is not an Usher database. Nothing was written.")));
            }
        };
        let engine = match &location.postgres {
            Some(url) => postgres::start(url.expose())?,
            None => sqlite::start(&location.database())?,
        };
        let context = Context { clock, vault, memory: Memory::default() };
        Ok((Store { engine: Arc::new(engine), context: Arc::new(context) }, found))
    }

    /// Brings the tables up to date. Of several servers that try at once, one succeeds and the others see that.
    async fn migrate(&self, found: &Found) -> Result<()> {
        let mut is_new = matches!(found, Found::Nothing);
        let mut tries = 0;
        loop {
            match self.read(migrate::version).await {
                _ if is_new => {}
                Ok(migrate::NEWEST) => return Ok(()),
                // What kept this server from making the tables says more than that they are not there.
                Err(e) if tries == 0 => return Err(e),
                _ => {}
            }
            is_new = false;
            match self.write(migrate::step).await {
                Ok(true) => return Ok(()),
                Ok(false) => tries = 0,
                Err(e @ Error::Operator(_)) => return Err(e),
                Err(e) if tries == 7 => return Err(e),
                Err(_) => {
                    tries += 1;
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
        }
    }

    /// Has texts compared as every operation expects, where a backup was restored into a database that compares them otherwise. A
    /// start leaves that as it is: it works on whole tables, and other servers may be at work.
    ///
    /// # Errors
    /// The database refuses, as where its tables are somebody else's.
    pub async fn mend_order(&self) -> Result<()> {
        self.write(migrate::compare_bytes).await
    }

    /// Runs `operation` in one transaction and answers when it is durable; rolls back when it fails.
    ///
    /// The operation may run again after a conflict inside the engine, so it must do nothing but work on `tx`.
    ///
    /// # Errors
    /// What the operation returns, or [`Error::Busy`], [`Error::StorageFull`] and [`Error::Internal`] of the engine.
    pub async fn write<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx) -> Result<T> + Send + 'static,
    {
        let operation = move |tx: &Tx| Ok((operation(tx)?, tx.forgets.get()));
        let (done, forgets) = self.engine.write(self.in_transaction(operation)).await?;
        if forgets {
            self.context.memory.forget();
        }
        Ok(done)
    }

    /// Runs `operation` as [`Store::write`] would, answers what it returns, and leaves everything as it was.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub async fn rehearse<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx) -> Result<T> + Send + 'static,
    {
        let outcome = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&outcome);
        let rehearsal = move |tx: &Tx| {
            let done = operation(tx)?;
            // What was put off would never be sent, and what it breaks would not be seen.
            tx.query("SELECT 1", &[])?;
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            Err::<(), Error>(Error::Rehearsed)
        };
        match self.write(rehearsal).await {
            Err(Error::Rehearsed) => {
                let done = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
                done.ok_or_else(|| Error::internal("a rehearsal left nothing"))
            }
            Err(e) => Err(e),
            Ok(()) => Err(Error::internal("a rehearsal was kept")),
        }
    }

    /// Runs `operation` on a consistent snapshot, and perhaps again after a conflict inside the engine, as [`Store::write`] does. For
    /// a look at a few rows, found by an index; anything longer is for [`Store::scan`].
    ///
    /// # Errors
    /// What the operation returns, or [`Error::Internal`] of the engine.
    pub async fn read<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx) -> Result<T> + Send + 'static,
    {
        self.engine.read(self.in_transaction(operation)).await
    }

    /// Runs `operation`, which may take its time, on a consistent snapshot, and perhaps again as in [`Store::read`].
    ///
    /// # Errors
    /// What the operation returns, or [`Error::Internal`] of the engine.
    pub async fn scan<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Tx) -> Result<T> + Send + 'static,
    {
        let operation = move |tx: &Tx| {
            tx.connection.take_time(SCAN);
            operation(tx)
        };
        self.engine.scan(self.in_transaction(operation)).await
    }

    fn in_transaction<T, F>(&self, operation: F) -> impl Fn(&dyn Connection) -> Result<T> + Send + 'static
    where
        T: Send + 'static,
        F: Fn(&Tx) -> Result<T> + Send + 'static,
    {
        let context = Arc::clone(&self.context);
        move |connection| {
            let now = context.clock.now();
            operation(&Tx { connection, context: &context, now, forgets: Cell::new(false) })
        }
    }

    /// Waits until a disk fails under a write: what it holds is not known from then on, and no write is answered with success
    /// any more. Says why.
    pub async fn failure(&self) -> Error {
        self.engine.failure().await
    }

    /// The clock that transactions and everything beside them go by.
    pub fn clock(&self) -> &Clock {
        &self.context.clock
    }

    /// What durability rests on, as `(what, value, good)`, in the words of a connection that writes: others may be set otherwise.
    /// Quick.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn durability(&self) -> Result<Vec<(&'static str, String, bool)>> {
        self.engine.write(|connection| connection.durability()).await
    }

    /// The engine's settings and health as `(what, value, good)`, for `usher doctor`.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn inspect(&self) -> Result<Vec<(&'static str, String, bool)>> {
        let mut findings = match self.durability().await {
            // Whoever has it, at a disk that hangs perhaps, does not keep this from looking at the rest.
            Err(Error::Busy) => {
                vec![("writes", "the database does not take any: another process holds it".to_owned(), false)]
            }
            settings => settings?,
        };
        findings.extend(self.engine.scan(|connection| connection.health()).await?);
        let version = self.read(migrate::version).await?;
        let remedy = match version.cmp(&migrate::NEWEST) {
            Ordering::Less => {
                format!(", this program's is {}; `usher migrate` or a start brings it there", migrate::NEWEST)
            }
            Ordering::Equal => String::new(),
            Ordering::Greater => format!(", of a newer Usher; this program's is {}", migrate::NEWEST),
        };
        findings.push((SCHEMA, format!("{version}{remedy}"), remedy.is_empty()));
        findings.push(("data key", self.context.vault.key_id(), true));
        Ok(findings)
    }
}

fn wrong_key(file: &Path, vault: &Vault) -> Error {
    Error::operator(format!(
        "{} (key {}) is not the data key of this database. Nothing was written. \
         Put the right file back from your backup, or name it with --key-file.",
        file.display(),
        vault.key_id()
    ))
}

fn make_private_directory(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Error::operator(format!("the data directory {} cannot be made: {e}", path.display())))
}
