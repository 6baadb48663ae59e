//! The store: `write` and `read`, and the transaction that rules and SQL run on.
//!
//! Everything above this folder sees [`Store`], [`Tx`], [`Row`] and SQL text; it must not know which
//! engine is below. SQL is kept to what SQLite and PostgreSQL both accept, with `$1, $2 …` numbered
//! in the order of first appearance (that is how SQLite binds them).

mod migrate;
mod sqlite;
mod value;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use value::{Column, Row, Value};
pub(crate) use value::{id_type, params, words};

use sqlite::Found;

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::vault::Vault;

/// Where an installation keeps its data.
#[derive(Clone, Debug)]
pub struct Location {
    /// The directory of the embedded database and of the data key, unless either is named elsewhere.
    pub data: PathBuf,
    /// The database's file, if it is not `usher.db` in the directory.
    pub database: Option<PathBuf>,
    /// The data key's file, if it is not `data.key` in the directory.
    pub key_file: Option<PathBuf>,
}

impl Location {
    /// The file of the embedded database.
    pub fn database(&self) -> PathBuf {
        self.database.clone().unwrap_or_else(|| self.data.join("usher.db"))
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
    engine: Arc<sqlite::Engine>,
    context: Arc<Context>,
}

/// What every transaction carries besides its connection.
struct Context {
    clock: Clock,
    vault: Vault,
}

/// One transaction: SQL, the one time at which it happens, and the vault for what is sealed at rest.
pub struct Tx<'a> {
    connection: &'a sqlite::Connection,
    context: &'a Context,
    now: Timestamp,
}

impl Store {
    /// Opens the data at `location`, after checking that the data key fits it, and brings its tables up to date.
    ///
    /// # Errors
    /// [`Error::Operator`] when there is no data and `missing` refuses, the key is missing or wrong (nothing is
    /// written then), or a newer Usher made the tables.
    pub async fn open(location: &Location, clock: Clock, missing: IfMissing) -> Result<Store> {
        let database = location.database();
        if missing == IfMissing::Refuse && !database.exists() {
            return Err(Error::operator(format!(
                "there is no Usher data in {0}. `usher serve --data {0}` makes it; --data names another directory.",
                location.data.display()
            )));
        }
        let found = sqlite::peek(&database, migrate::SEAL)?;
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
            Found::Nothing | Found::Foreign => {
                let name = database.display();
                return Err(Error::operator(format!("{name} is not an Usher database. Nothing was written.")));
            }
        };
        let store =
            Store { engine: Arc::new(sqlite::Engine::open(&database)?), context: Arc::new(Context { clock, vault }) };
        if matches!(found, Found::Nothing) || store.read(migrate::version).await? != migrate::NEWEST {
            store.write(migrate::run).await?;
        }
        Ok(store)
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
        self.engine.write(self.in_transaction(operation)).await
    }

    /// Runs `operation` on a consistent snapshot.
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

    fn in_transaction<T, F>(&self, operation: F) -> impl Fn(&sqlite::Connection) -> Result<T> + Send + 'static
    where
        T: Send + 'static,
        F: Fn(&Tx) -> Result<T> + Send + 'static,
    {
        let context = Arc::clone(&self.context);
        move |connection| operation(&Tx { connection, context: &context, now: context.clock.now() })
    }

    /// The clock that transactions and everything beside them go by.
    pub fn clock(&self) -> &Clock {
        &self.context.clock
    }

    /// The engine's settings and health as `(what, value, good)`, for `usher doctor`.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn inspect(&self) -> Result<Vec<(&'static str, String, bool)>> {
        let mut findings = self.engine.read(sqlite::Connection::inspect).await?;
        let version = self.read(migrate::version).await?;
        findings.push(("schema version", version.to_string(), version == migrate::NEWEST));
        findings.push(("data key", self.context.vault.key_id(), true));
        Ok(findings)
    }
}

impl Tx<'_> {
    /// The time of this transaction.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The vault for what is sealed at rest.
    pub fn vault(&self) -> &Vault {
        &self.context.vault
    }

    /// Runs a statement and returns how many rows it changed.
    ///
    /// # Errors
    /// [`Error::Unique`] when a uniqueness rule forbids it.
    pub fn execute(&self, sql: &str, params: &[Value]) -> Result<usize> {
        self.connection.execute(sql, params)
    }

    /// All rows of a query.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        self.connection.query(sql, params)
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn query_opt(&self, sql: &str, params: &[Value]) -> Result<Option<Row>> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    fn batch(&self, sql: &str) -> Result<()> {
        self.connection.batch(sql)
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
