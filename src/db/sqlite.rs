//! The embedded engine: one writer thread that commits in groups, and read-only connections for reads.
//!
//! Every operation runs in its own savepoint; one `COMMIT` with `synchronous=FULL` makes the whole
//! group durable, and only then is anyone answered. Nothing here knows what the SQL is about.

use std::borrow::Cow;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::types::ValueRef;
use rusqlite::{ErrorCode, OpenFlags, ToSql};
use tokio::sync::{Semaphore, oneshot};

use super::value::{Row, Value};
use crate::error::{Error, Result};

/// How many writes may wait; the next one is told [`Error::Busy`].
const QUEUE: usize = 4096;
/// How many operations share a commit at the most.
const GROUP: usize = 256;
/// How many reads run at once.
const READERS: usize = 4;
/// How long to wait for another process (a command line beside the server) to finish its write.
const BUSY_MS: u32 = 5000;

pub(super) struct Engine {
    path: PathBuf,
    /// `None` only while the engine is being dropped.
    queue: Option<SyncSender<Box<dyn Job>>>,
    writer: Option<JoinHandle<()>>,
    idle_readers: Mutex<Vec<Connection>>,
    reader_permits: Semaphore,
}

/// One connection, with the settings that durability rests on.
pub(super) struct Connection(rusqlite::Connection);

/// What is in a file that may be a database of ours.
pub(super) enum Found {
    /// No file, or one without tables.
    Nothing,
    /// Tables, and none that are ours.
    Foreign,
    /// The value that was asked for.
    Value(Vec<u8>),
}

/// Reads one value from a table `meta`, changing nothing.
pub(super) fn peek(path: &Path, sql: &str) -> Result<Found> {
    if !path.exists() {
        return Ok(Found::Nothing);
    }
    let connection = Connection::open(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|e| unusable(path, &e))?;
    let tables = connection
        .query("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name = 'meta' DESC", &[])
        .map_err(|e| unusable(path, &e))?;
    match tables.first() {
        None => Ok(Found::Nothing),
        Some(row) if row.get::<String>(0)? == "meta" => {
            match connection.query(sql, &[]).map(|rows| rows.into_iter().next()) {
                Ok(Some(row)) => Ok(row.get(0).map_or(Found::Foreign, Found::Value)),
                Ok(None) | Err(_) => Ok(Found::Foreign),
            }
        }
        Some(_) => Ok(Found::Foreign),
    }
}

fn unusable(path: &Path, why: &Error) -> Error {
    let why = why.for_log().map_or_else(|| why.to_string(), str::to_owned);
    Error::operator(format!("the database {} cannot be opened: {why}", path.display()))
}

impl Engine {
    pub(super) fn open(path: &Path) -> Result<Engine> {
        // SQLite gives its side files the mode of the database's.
        let private = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        private.map_err(|e| unusable(path, &Error::internal(e)))?;
        let writer = Connection::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| unusable(path, &e))?;
        let (queue, jobs) = sync_channel(QUEUE);
        let writer = std::thread::Builder::new()
            .name("usher-writer".into())
            .spawn(move || writer_loop(&writer, &jobs))
            .map_err(Error::internal)?;
        Ok(Engine {
            path: path.to_owned(),
            queue: Some(queue),
            writer: Some(writer),
            idle_readers: Mutex::default(),
            reader_permits: Semaphore::new(READERS),
        })
    }

    pub(super) async fn write<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Operation { body: operation, outcome: None, reply };
        let queue = self.queue.as_ref().ok_or_else(|| Error::internal("the engine is closing"))?;
        queue.try_send(Box::new(job)).map_err(|e| match e {
            TrySendError::Full(_) => Error::Busy,
            TrySendError::Disconnected(_) => Error::internal("the writer has stopped"),
        })?;
        answer.await.map_err(|_| Error::internal("the writer dropped an operation"))?
    }

    pub(super) async fn read<T, F>(self: &std::sync::Arc<Self>, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Connection) -> Result<T> + Send + 'static,
    {
        let _permit = self.reader_permits.acquire().await.map_err(Error::internal)?;
        let engine = std::sync::Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let idle = engine.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match idle {
                Some(connection) => connection,
                None => Connection::open(&engine.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            };
            connection.batch("BEGIN")?;
            let answer = operation(&connection);
            connection.batch("COMMIT")?;
            engine.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        })
        .await
        .map_err(Error::internal)?
    }
}

/// Ends the writer after what is queued, so that it closes the file in good order.
impl Drop for Engine {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// A queued operation whose type the writer need not know.
trait Job: Send {
    /// Runs the operation; `true` when its effect is to be kept.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Why the operation failed, if it did.
    fn failure(&self) -> Error;
    /// Answers the caller: with the operation's outcome, or with why the commit failed.
    fn answer(self: Box<Self>, commit: Result<()>);
}

struct Operation<T, F> {
    body: F,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: Fn(&Connection) -> Result<T> + Send> Job for Operation<T, F> {
    fn run(&mut self, connection: &Connection) -> bool {
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.body)(connection)))
            .unwrap_or_else(|_| Err(Error::internal("the operation panicked")));
        self.outcome.insert(outcome).is_ok()
    }

    fn failure(&self) -> Error {
        match &self.outcome {
            Some(Err(own)) => own.clone(),
            _ => Error::internal("the engine ended the transaction"),
        }
    }

    fn answer(self: Box<Self>, commit: Result<()>) {
        let outcome = match (self.outcome, commit) {
            (Some(Err(own)), _) => Err(own),
            (_, Err(commit)) => Err(commit),
            (Some(outcome), Ok(())) => outcome,
            (None, Ok(())) => Err(Error::internal("the operation was not run")),
        };
        // A caller that has gone away does not undo what is durable.
        let _ = self.reply.send(outcome);
    }
}

fn writer_loop(connection: &Connection, jobs: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP - 1));
        let commit = run_group(connection, &mut group);
        if commit.is_err() {
            // Whatever the failure left open must not leak into the next group.
            let _ = connection.batch("ROLLBACK");
        }
        for job in group {
            job.answer(commit.clone());
        }
    }
}

fn run_group(connection: &Connection, group: &mut [Box<dyn Job>]) -> Result<()> {
    connection.batch("BEGIN IMMEDIATE")?;
    for job in group {
        connection.batch("SAVEPOINT operation")?;
        if !job.run(connection) {
            // SQLite ends the whole transaction by itself on some failures: a full disk, an I/O error.
            if connection.0.is_autocommit() {
                return Err(job.failure());
            }
            connection.batch("ROLLBACK TO operation")?;
        }
        connection.batch("RELEASE operation")?;
    }
    connection.batch("COMMIT")
}

impl Connection {
    fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
        let opened =
            rusqlite::Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failure)?;
        opened.set_prepared_statement_cache_capacity(128);
        let connection = Connection(opened);
        connection.batch(&format!("PRAGMA busy_timeout={BUSY_MS}"))?;
        if !flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY) {
            connection.batch("PRAGMA journal_mode=WAL")?;
        }
        connection
            .batch("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;")?;
        Ok(connection)
    }

    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        // `execute_batch` would prepare these short words anew for every operation.
        if matches!(sql, "BEGIN" | "BEGIN IMMEDIATE" | "COMMIT") || sql.ends_with(" operation") {
            return self.execute(sql, &[]).map(|_| ());
        }
        self.0.execute_batch(sql).map_err(failure)
    }

    pub(super) fn execute(&self, sql: &str, params: &[Value]) -> Result<usize> {
        let mut statement = self.prepare(sql)?;
        statement.execute(rusqlite::params_from_iter(params)).map_err(failure)
    }

    pub(super) fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let mut statement = self.prepare(sql)?;
        let width = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(failure)?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(failure)? {
            let values = (0..width).map(|i| Ok(owned(row.get_ref(i).map_err(failure)?))).collect::<Result<_>>()?;
            out.push(Row(values));
        }
        Ok(out)
    }

    fn prepare(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>> {
        let statement = self.0.prepare_cached(sql).map_err(failure)?;
        debug_assert!(
            (1..=statement.parameter_count()).all(|i| statement.parameter_name(i) == Some(&format!("${i}"))),
            "parameters must be numbered in the order of their first appearance: {sql}"
        );
        Ok(statement)
    }

    /// Settings and health as `(what, value, good)`.
    pub(super) fn inspect(&self) -> Result<Vec<(&'static str, String, bool)>> {
        let one = |sql: &str| -> Result<String> {
            self.0.query_row(sql, [], |row| Ok(show(row.get_ref(0)?))).map_err(failure)
        };
        let journal = one("PRAGMA journal_mode")?;
        let synchronous = one("PRAGMA synchronous")?;
        let check = one("PRAGMA quick_check(1)")?;
        Ok(vec![
            ("engine", format!("SQLite {}", rusqlite::version()), true),
            ("journal mode", journal.clone(), journal == "wal"),
            ("synchronous", synchronous.clone(), synchronous == "2"),
            ("integrity", check.clone(), check == "ok"),
        ])
    }
}

fn show(value: ValueRef) -> String {
    match value {
        ValueRef::Integer(i) => i.to_string(),
        ValueRef::Text(t) => String::from_utf8_lossy(t).into_owned(),
        _ => String::new(),
    }
}

fn owned(value: ValueRef) -> Value<'static> {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(i) => Value::Integer(i),
        // Nothing in the schema is a floating-point number; it would be shown by the column's type error.
        ValueRef::Real(r) => Value::Text(Cow::Owned(r.to_string())),
        ValueRef::Text(t) => Value::Text(Cow::Owned(String::from_utf8_lossy(t).into_owned())),
        ValueRef::Blob(b) => Value::Bytes(Cow::Owned(b.to_vec())),
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(i) => ValueRef::Integer(*i),
            Value::Text(t) => ValueRef::Text(t.as_bytes()),
            Value::Bytes(b) => ValueRef::Blob(b),
        }))
    }
}

/// SQLite's messages name tables and columns, never values, so they may go to the log.
fn failure(e: rusqlite::Error) -> Error {
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
    if matches!(e.sqlite_error(), Some(e) if [SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_PRIMARYKEY].contains(&e.extended_code))
    {
        return Error::Unique(e.to_string());
    }
    match e.sqlite_error_code() {
        // No file handle is left for another reader.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::CannotOpen) => Error::Busy,
        Some(ErrorCode::DiskFull) => Error::StorageFull,
        _ => Error::internal(e),
    }
}
