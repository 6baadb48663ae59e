//! The embedded engine: one connection that writes, with `synchronous=FULL`, and read-only ones beside it.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{ErrorCode, OpenFlags, ToSql};

use super::copy::Table;
use super::engine::{Connection as Common, Engine, Found, Parts, Rare};
use super::value::{Row, Value};
use crate::error::{Error, Result};

/// How often, and after what pause, to ask again for a lock that a command line beside the server may hold. SQLite's own
/// pauses grow to a tenth of a second.
const BUSY_TRIES: i32 = 10_000;
const BUSY_PAUSE: Duration = Duration::from_micros(500);

/// How large the write-ahead log grows before it is written back, in pages of 4 KiB. A larger one writes back fewer pages,
/// since many writes touch the same, and makes those who wait meanwhile wait longer (docs/PERFORMANCE.md has both).
const CHECKPOINT_PAGES: i64 = 500;
/// How much of the log's file is kept, in bytes, once it was written back: a backup beside load makes it grow, for what it reads must
/// stay.
const LOG_KEPT: u32 = 64 << 20;
/// How much is written to see whether anything may be.
const PROBE: usize = 16_384;
/// How much of the file the writer keeps in memory, in KiB.
const CACHE_KIB: u32 = 65_536;

/// One connection, with the settings that durability rests on.
pub(super) struct Connection {
    sqlite: rusqlite::Connection,
    rare: Rare,
    /// How often tables may have been changed, which SQLite does not count.
    altered: Cell<u64>,
}

/// Reads one value from a table `meta`, changing nothing.
pub(super) fn peek(path: &Path, sql: &str) -> Result<Found> {
    if !path.exists() {
        return Ok(Found::Nothing);
    }
    roll_back(path).map_err(|e| unusable(path, &failure(e)))?;
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

/// Lets SQLite roll back what a process that was killed has left half done, which a connection that only reads cannot.
fn roll_back(path: &Path) -> rusqlite::Result<()> {
    let look = |flags| {
        let mut connection = rusqlite::Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_handler(Some(ask_again))?;
        connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))
    };
    match look(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::ReadOnly) => look(OpenFlags::SQLITE_OPEN_READ_WRITE),
        looked => looked,
    }
}

fn unusable(path: &Path, why: &Error) -> Error {
    let why = why.for_log().map_or_else(|| why.to_string(), str::to_owned);
    Error::operator(format!("the database {} cannot be opened: {why}", path.display()))
}

/// Starts the engine on the file at `path`.
pub(super) fn start(path: &Path) -> Result<Engine> {
    // SQLite gives its side files the mode of the database's.
    let private = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    private.map_err(|e| unusable(path, &Error::internal(e)))?;
    let writer = Connection::open(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|e| unusable(path, &e))?;
    let path = path.to_owned();
    let open_reader =
        move || -> Result<Box<dyn Common>> { Ok(Box::new(Connection::open(&path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)) };
    Engine::start(Parts { writers: vec![Box::new(writer)], open_reader: Box::new(open_reader), reads_are_quick: true })
}

/// The tables that `migrations` make, in the order in which they are made.
pub(super) fn tables_of(migrations: impl Iterator<Item = &'static str>) -> Result<Vec<Table>> {
    let scratch = Connection::of(rusqlite::Connection::open_in_memory().map_err(failure)?);
    for sql in migrations {
        scratch.batch(sql)?;
    }
    let names = scratch.query("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid", &[])?;
    let table = |row: &Row| {
        let name: String = row.get(0)?;
        let columns =
            scratch.query("SELECT name, pk FROM pragma_table_info($1) ORDER BY cid", &[name.as_str().into()])?;
        // Rows are told apart by one column.
        let is_key = |column: &Row| column.get::<i64>(1).is_ok_and(|pk| pk > 0);
        let key =
            columns.iter().position(is_key).filter(|_| columns.iter().filter(|column| is_key(column)).count() == 1);
        let columns = columns.iter().map(|column| column.get(0)).collect::<Result<_>>()?;
        Ok(Table { key: key.ok_or_else(|| Error::internal(format!("{name} has no key")))?, name, columns })
    };
    names.iter().map(table).collect()
}

fn ask_again(tries: i32) -> bool {
    std::thread::sleep(BUSY_PAUSE);
    tries < BUSY_TRIES
}

impl Connection {
    fn of(sqlite: rusqlite::Connection) -> Connection {
        Connection { sqlite, rare: Rare::default(), altered: Cell::default() }
    }

    fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
        let mut opened =
            rusqlite::Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(failure)?;
        opened.set_prepared_statement_cache_capacity(128);
        opened.busy_handler(Some(ask_again)).map_err(failure)?;
        let connection = Connection::of(opened);
        connection.set_up(!flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
        Ok(connection)
    }

    /// Where SQLite cannot do what it is told, it leaves things as they were and does not say so: whoever writes looks.
    fn set_up(&self, writes: bool) -> Result<()> {
        if writes {
            self.begin_log()?;
            // SQLite's own checkpoint tells nobody when it fails; see `keep_up`.
            self.batch(&format!(
                "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit={LOG_KEPT}; PRAGMA cache_size=-{CACHE_KIB}"
            ))?;
        }
        self.batch("PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;")?;
        if writes && let Some((what, found, _)) = self.pragmas()?.into_iter().find(|(_, _, is_good)| !is_good) {
            return Err(Error::internal(format!("its {what} is {found} and cannot be changed")));
        }
        Ok(())
    }

    /// What durability rests on, as it is, in the form of [`Common::durability`].
    fn pragmas(&self) -> Result<Vec<(&'static str, String, bool)>> {
        let must_be = |what, pragma: &str, good: &str| -> Result<_> {
            let found = self.one(&format!("PRAGMA {pragma}"))?;
            let is_good = found == good;
            Ok((what, found, is_good))
        };
        Ok(vec![
            must_be("journal mode", "journal_mode", "wal")?,
            must_be("synchronous (2 is FULL)", "synchronous", "2")?,
            must_be("foreign keys", "foreign_keys", "1")?,
            must_be("memory-mapped bytes", "mmap_size", "0")?,
        ])
    }

    /// Of several first starts at once, one can turn the log on, and SQLite refuses the others without asking the busy handler.
    fn begin_log(&self) -> Result<()> {
        let mut tries = 0;
        loop {
            match self.batch("PRAGMA journal_mode=WAL") {
                Err(Error::Busy) if ask_again(tries) => tries += 1,
                done => return done,
            }
        }
    }

    fn one(&self, sql: &str) -> Result<String> {
        self.sqlite.query_row(sql, [], |row| Ok(show(row.get_ref(0)?))).map_err(failure)
    }

    fn prepare(&self, sql: &str) -> Result<rusqlite::CachedStatement<'_>> {
        let statement = self.sqlite.prepare_cached(sql).map_err(|e| self.failed(e))?;
        debug_assert!(
            (1..=statement.parameter_count()).all(|i| statement.parameter_name(i) == Some(&format!("${i}"))),
            "parameters must be numbered in the order of their first appearance: {sql}"
        );
        Ok(statement)
    }

    /// What a failure means. SQLite tells a full disk from one that fails, but not a quota that is used up, so the disk is asked.
    fn failed(&self, e: rusqlite::Error) -> Error {
        let is_write = e.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_IOERR_WRITE);
        match self.sqlite.path() {
            Some(path) if is_write && quota_is_used_up(path) => Error::StorageFull,
            _ => failure(e),
        }
    }
}

/// Whether there may be no other file beside this one.
fn quota_is_used_up(path: &str) -> bool {
    let probe = format!("{path}-probe");
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe);
    let written = file.and_then(|mut file| file.write_all(&[0; PROBE]));
    let _ = std::fs::remove_file(&probe);
    written.is_err_and(|e| e.kind() == ErrorKind::QuotaExceeded)
}

impl Common for Connection {
    fn begin_write(&self) -> Result<()> {
        self.batch("BEGIN IMMEDIATE")
    }

    fn begin_read(&self) -> Result<()> {
        self.batch("BEGIN")
    }

    fn end_read(&self) -> Result<()> {
        self.batch("COMMIT")
    }

    fn rare(&self) -> &Rare {
        &self.rare
    }

    fn for_update(&self) -> &'static str {
        // Whoever writes has the whole database.
        ""
    }

    fn ready(&mut self) -> Result<()> {
        Ok(())
    }

    /// Writes the log back into the file once it is large enough. Done by a thread of its own, this was seen to be slower,
    /// with longer waits: both then wait for one disk.
    fn keep_up(&self) -> Result<()> {
        let in_log = self.query("PRAGMA wal_checkpoint(NOOP)", &[])?.first().map_or(Ok(0), |row| row.get::<i64>(1))?;
        if in_log >= CHECKPOINT_PAGES {
            self.query("PRAGMA wal_checkpoint(PASSIVE)", &[])?;
        }
        Ok(())
    }

    fn writes_alone(&self) -> bool {
        true
    }

    fn is_backed_up_here(&self) -> bool {
        true
    }

    fn written(&self) -> Option<u64> {
        Some(self.sqlite.total_changes() + self.altered.get())
    }

    fn ended(&self) -> bool {
        self.sqlite.is_autocommit()
    }

    fn batch(&self, sql: &str) -> Result<()> {
        // `execute_batch` would prepare these short words anew for every operation.
        if matches!(sql, "BEGIN" | "BEGIN IMMEDIATE" | "COMMIT") || sql.ends_with("SAVEPOINT operation") {
            return self.execute(sql, &[]).map(|_| ());
        }
        self.altered.update(|times| times + 1);
        self.sqlite.execute_batch(sql).map_err(|e| self.failed(e))
    }

    fn execute(&self, sql: &str, params: &[Value]) -> Result<usize> {
        let mut statement = self.prepare(sql)?;
        statement.execute(rusqlite::params_from_iter(params)).map_err(|e| self.failed(e))
    }

    fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let mut statement = self.prepare(sql)?;
        let width = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(params)).map_err(|e| self.failed(e))?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(|e| self.failed(e))? {
            let values = (0..width).map(|i| Ok(owned(row.get_ref(i).map_err(failure)?))).collect::<Result<_>>()?;
            out.push(Row(values));
        }
        Ok(out)
    }

    fn durability(&self) -> Result<Vec<(&'static str, String, bool)>> {
        // Before 3.51.3, two checkpoints at once could damage the file (sqlite.org/wal.html, the WAL-reset bug).
        let engine = ("engine", format!("SQLite {}", rusqlite::version()), rusqlite::version_number() > 3_051_002);
        Ok(std::iter::once(engine).chain(self.pragmas()?).collect())
    }

    fn health(&self) -> Result<Vec<(&'static str, String, bool)>> {
        let check = self.one("PRAGMA quick_check(1)")?;
        let integrity = ("integrity", check.clone(), check == "ok");
        let directory = self.sqlite.path().and_then(|path| Path::new(path).parent());
        Ok(std::iter::once(integrity).chain(directory.and_then(file_system)).collect())
    }
}

/// The write-ahead log needs memory that all its users share, which no network gives.
#[cfg(target_os = "linux")]
fn file_system(directory: &Path) -> Option<(&'static str, String, bool)> {
    // The field's type is another on each machine; the numbers have 32 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "see above")]
    let kind = rustix::fs::statfs(directory).ok()?.f_type as u32;
    let network = network(kind).map(|name| format!("{name}: the database must be on a local disk"));
    let is_local = network.is_none();
    Some(("file system", network.unwrap_or_else(|| "none that is known to be a network's".to_owned()), is_local))
}

/// Elsewhere the system tells this in other ways.
#[cfg(not(target_os = "linux"))]
fn file_system(_: &Path) -> Option<(&'static str, String, bool)> {
    None
}

/// The network file system of this number (statfs(2)).
#[cfg(target_os = "linux")]
fn network(kind: u32) -> Option<&'static str> {
    match kind {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        _ => None,
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
    use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE, SQLITE_IOERR_SHMSIZE};
    match e.sqlite_error().map(|e| e.extended_code) {
        Some(SQLITE_CONSTRAINT_UNIQUE | SQLITE_CONSTRAINT_PRIMARYKEY) => return Error::Unique(e.to_string()),
        // The index of the log could not grow. It is memory of the running processes, and holds nothing that a start needs.
        Some(SQLITE_IOERR_SHMSIZE) => return Error::StorageFull,
        _ => {}
    }
    match e.sqlite_error_code() {
        // No file handle is left for another reader.
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::CannotOpen) => Error::Busy,
        Some(ErrorCode::DiskFull) => Error::StorageFull,
        Some(ErrorCode::SystemIoFailure) => Error::DiskFailed(e.to_string()),
        _ => Error::internal(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_whose_index_cannot_grow_is_a_full_disk_and_any_other_failed_write_a_failed_disk() {
        use rusqlite::ffi;
        let told = |code| failure(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(told(code), Error::StorageFull), "{code}");
        }
        for code in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_READ] {
            assert!(matches!(told(code), Error::DiskFailed(_)), "{code}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_network_file_system_is_told_from_a_local_one() {
        for (kind, name) in [(0x6969, Some("NFS")), (0xff53_4d42, Some("SMB")), (0xef53, None), (0x0102_1994, None)] {
            assert_eq!(network(kind), name);
        }
    }

    #[test]
    fn nobody_writes_where_sqlite_silently_keeps_another_journal() {
        let folder = std::env::temp_dir().join(format!("usher-{}", crate::random::uuid()));
        std::fs::create_dir(&folder).unwrap();
        // Without locks it has no log.
        let url = format!("file:{}?nolock=1", folder.join("usher.db").display());
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::of(rusqlite::Connection::open_with_flags(url, flags).unwrap());
        let refused = connection.set_up(true).unwrap_err();
        assert_eq!(refused.for_log(), Some("its journal mode is delete and cannot be changed"));
        assert!(connection.set_up(false).is_ok(), "who reads need not");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_setting_that_durability_rests_on_is_told_when_it_is_another() {
        let folder = std::env::temp_dir().join(format!("usher-{}", crate::random::uuid()));
        std::fs::create_dir(&folder).unwrap();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let writer = Connection::open(&folder.join("usher.db"), flags).unwrap();
        let wrong =
            || writer.durability().unwrap().into_iter().filter(|row| !row.2).map(|row| row.0).collect::<Vec<_>>();
        assert!(wrong().is_empty());
        for (pragma, what) in [
            ("synchronous=NORMAL", "synchronous (2 is FULL)"),
            ("foreign_keys=OFF", "foreign keys"),
            ("mmap_size=1048576", "memory-mapped bytes"),
            ("journal_mode=DELETE", "journal mode"),
        ] {
            writer.batch(&format!("PRAGMA {pragma}")).unwrap();
            assert_eq!(wrong(), [what]);
            writer.set_up(true).unwrap();
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_half_done_is_rolled_back_before_anything_is_read() {
        let folder = std::env::temp_dir().join(format!("usher-{}", crate::random::uuid()));
        std::fs::create_dir(&folder).unwrap();
        let (at_work, left) = (folder.join("at_work.db"), folder.join("left.db"));
        let writer = rusqlite::Connection::open(&at_work).unwrap();
        writer
            .execute_batch(
                "CREATE TABLE meta (name TEXT PRIMARY KEY, value BYTEA NOT NULL);
                 INSERT INTO meta VALUES ('seal', x'01');
                 PRAGMA cache_size=1;
                 BEGIN;
                 UPDATE meta SET value = x'02';",
            )
            .unwrap();
        for name in 0..100 {
            writer.execute("INSERT INTO meta VALUES ($1, zeroblob(4000))", [name]).unwrap();
        }
        let journal = |file: &Path| file.with_extension("db-journal");
        std::fs::copy(&at_work, &left).unwrap();
        std::fs::copy(journal(&at_work), journal(&left)).unwrap();
        let found = peek(&left, "SELECT value FROM meta WHERE name = 'seal'").unwrap();
        assert!(matches!(found, Found::Value(seal) if seal == [1]));
        assert!(!journal(&left).exists());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
