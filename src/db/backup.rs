//! Copies of the embedded database: made beside a running server, verified, encrypted, and put back.
//!
//! Both ways write a draft beside the place where it is to be, verify that draft, and only then give it its name, so
//! that a file under the name that was asked for is whole. What is readable is written where it is to be readable, and
//! else beside the database alone. PostgreSQL has tools of its own for all this.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Location, Store, copy, make_private_directory, migrate, params, wrong_key};
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::vault::Vault;
use crate::vault::stream::{self, Refused};

/// How long recording the time of a backup waits for the server's writes.
const BUSY: Duration = Duration::from_secs(10);
/// How often progress is told, and how much is copied between two tellings.
const TICK: Duration = Duration::from_millis(250);
const CHUNK: u64 = 16 << 20;
/// Less free space than this is too little for a server that runs.
pub const LITTLE_SPACE: u64 = 64 << 20;

/// What is written to a backup's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The database, sealed under the data key.
    Encrypted,
    /// The database as any SQLite opens it.
    Plain,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// So many bytes are written, of about so many.
    Copying(u64, u64),
    /// So many bytes are encrypted, of so many.
    Encrypting(u64, u64),
    /// All is written and is now being verified.
    Verifying,
}

/// A verified copy.
#[derive(Debug)]
pub struct Copied {
    /// Its file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// How many users are in it.
    pub users: i64,
}

/// Copies the database to the new file `file`, beside whoever reads and writes it.
///
/// The second part of the answer is whether the time of this backup could be noted in the database.
///
/// # Errors
/// [`Error::Operator`] when `file` exists or cannot be written, the data key is not the database's, or the copy does
/// not pass the verification. Nothing is left behind then.
pub fn back_up(
    location: &Location,
    clock: &Clock,
    file: &Path,
    form: Form,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Copied, Result<()>)> {
    let database = embedded(location)?;
    if !database.exists() {
        return Err(Error::operator(format!(
            "there is no database {} to back up. --data names another directory.",
            database.display()
        )));
    }
    // What is answered before this moment is in the copy, so this is its time and not that of its end.
    let at = clock.now();
    let source = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let source = source.map_err(|e| unreadable(&database, &e))?;
    source.busy_timeout(BUSY).map_err(|e| unreadable(&database, &e))?;
    identify(&source, &database, location)?;
    let draft = Draft::new(file)?;
    let users = match form {
        Form::Plain => {
            if let Ok((path, _locked)) = draft.place_beside(&database) {
                remove_draft(&path);
            }
            write(source, &database, &draft, location, progress)?
        }
        Form::Encrypted => {
            let plain = draft.plain_beside(&database)?;
            has_room(&source, &database, &plain, &draft)?;
            let users = write(source, &database, &plain, location, progress)?;
            encrypt(&plain, &draft, location, progress)?;
            users
        }
    };
    let copied = draft.publish(users)?;
    Ok((copied, record(&database, at)))
}

/// Refuses where the copies would leave the server on whose disk they are written too little space.
fn has_room(source: &Connection, database: &Path, plain: &Draft, draft: &Draft) -> Result<()> {
    let cannot = |e| unwritten(&plain.target, &e);
    let (one, other) = (plain.file.metadata().map_err(cannot)?, draft.file.metadata().map_err(cannot)?);
    let copies = if one.dev() == other.dev() { 2 } else { 1 };
    let needed = size(source, database)?.saturating_mul(copies).saturating_add(LITTLE_SPACE);
    let free = free_space(database.parent().unwrap_or(Path::new("/"))).map_err(cannot)?;
    if free >= needed {
        return Ok(());
    }
    Err(Error::operator(format!(
        "there is no room beside {}: an encrypted backup begins with a readable copy there. That needs {} MiB, and {} MiB \
         are free. Make room, or write a --plain backup to another disk.",
        database.display(),
        needed.div_ceil(1 << 20),
        free >> 20
    )))
}

/// About how much a copy of a database takes.
fn size(source: &Connection, name: &Path) -> Result<u64> {
    const SIZE: &str = "SELECT (page_count - freelist_count) * page_size \
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    let size: i64 = source.query_row(SIZE, [], |row| row.get(0)).map_err(|e| unreadable(name, &e))?;
    Ok(size.unsigned_abs())
}

/// How much may be written to the disk of a directory.
///
/// # Errors
/// There is no such directory.
pub fn free_space(directory: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The readable copy that a backup which was killed has left beside the database, if one has. None while one is at work.
pub fn left_behind(location: &Location) -> Option<PathBuf> {
    let database = embedded(location).ok()?;
    let path = plain_of(&database);
    let is_there = || path.symlink_metadata().is_ok();
    if !is_there() {
        return None;
    }
    let _locked = lock(database.parent()?, &path).ok()?;
    is_there().then_some(path)
}

/// Writes the database to the draft, verified, and counts its users.
fn write(
    source: Connection,
    database: &Path,
    draft: &Draft,
    location: &Location,
    progress: &mut dyn FnMut(Progress),
) -> Result<i64> {
    snapshot(source, database, draft, progress)?;
    progress(Progress::Verifying);
    verify(&draft.path, database, location)
}

/// Writes what one draft holds to another, encrypted, and reads that back.
fn encrypt(plain: &Draft, draft: &Draft, location: &Location, progress: &mut dyn FnMut(Progress)) -> Result<()> {
    let vault = Vault::load(&location.key_file())?;
    let cannot = |e| unwritten(&draft.target, &e);
    let source = File::open(&plain.path).map_err(cannot)?;
    let total = source.metadata().map_err(cannot)?.len();
    let told = &mut |done| progress(Progress::Encrypting(done, total));
    pour(stream::seal(&vault, source), &draft.file, told).map_err(cannot)?;
    progress(Progress::Verifying);
    let written = File::open(&draft.path).map_err(cannot)?;
    let read = match stream::open(&vault, written) {
        Ok(Some(mut opened)) => io::copy(&mut opened, &mut io::sink()),
        Ok(None) | Err(Refused::OtherKey(_)) => Ok(0),
        Err(Refused::Io(e)) => Err(e),
    };
    if read.map_err(cannot)? == total {
        Ok(())
    } else {
        Err(cannot(io::Error::other("it reads back otherwise than it was written")))
    }
}

/// Writes what `from` gives, and tells now and then how much that is.
fn pour(mut from: impl Read, mut to: &File, told: &mut dyn FnMut(u64)) -> io::Result<()> {
    let mut done = 0;
    loop {
        let more = io::copy(&mut from.by_ref().take(CHUNK), &mut to)?;
        if more == 0 {
            return Ok(());
        }
        done += more;
        told(done);
    }
}

/// What the database knows of the last backup that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastBackup {
    /// Nothing: tools of the engine's own make them.
    Elsewhere,
    /// There was none.
    Never,
    /// When it was begun.
    At(Timestamp),
}

/// A copy that is to be a database and has not its name yet, so that no server finds it. Gone when it is dropped.
pub struct Restored {
    draft: Draft,
    location: Location,
    /// The directory, if it was made for this.
    made: Option<PathBuf>,
}

/// Copies `file` to where there is no database yet, and verifies the copy.
///
/// # Errors
/// [`Error::Operator`] when there is a database already, or `file` is not a whole Usher database, encrypted or not, that
/// the data key opens and this program knows. Nothing is left behind then.
pub fn restore(location: &Location, file: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Restored> {
    let database = embedded(location)?;
    // A journal that is left of another database would be played into this one. One that is empty holds nothing: a command that
    // is refused leaves such a log beside the database.
    for there in ["", "-wal", "-journal"].map(|end| beside(&database, end)) {
        if there.symlink_metadata().is_ok_and(|found| there == database || found.len() > 0) {
            return Err(Error::operator(format!(
                "{} exists, and `usher restore` replaces nothing. Stop the server, move the database with its -wal and \
                 -shm files elsewhere, leave the data key, and run this again; or name another directory with --data.",
                there.display()
            )));
        }
    }
    let source = Source::open(file, location)?;
    // Now, for nobody can have a database open that is not there; somebody may have made one when this is done.
    for end in ["-wal", "-journal", "-shm"] {
        let _ = fs::remove_file(beside(&database, end));
    }
    let directory = database.parent().unwrap_or(Path::new("/"));
    let made = (!directory.exists()).then(|| directory.to_owned());
    make_private_directory(directory)?;
    let draft = match Draft::new(&database) {
        Ok(draft) => draft,
        Err(e) => {
            remove_made(made.as_deref());
            return Err(e);
        }
    };
    let there = Location { database: Some(draft.path.clone()), ..location.clone() };
    let restored = Restored { draft, location: there, made };
    fill(&restored.draft, file, source, location, progress)?;
    Ok(restored)
}

/// A file that is to be restored, as it is read.
struct Source {
    reader: Box<dyn Read>,
    bytes: u64,
    form: Form,
}

impl Source {
    /// Looks what `file` is, and refuses what is seen at once to be no backup.
    fn open(file: &Path, location: &Location) -> Result<Source> {
        let cannot = |e: io::Error| Error::operator(format!("{}: {e}", file.display()));
        let bytes = is_a_file(file)?;
        let (key_file, opened) = (location.key_file(), File::open(file).map_err(cannot)?);
        let vault = Vault::load(&key_file)?;
        match stream::open(&vault, opened) {
            Ok(Some(stream)) => Ok(Source { reader: Box::new(stream), bytes, form: Form::Encrypted }),
            Ok(None) => {
                is_all_there(file)?;
                identify(&open_unchanging(file, file)?, file, location)?;
                let reader = Box::new(File::open(file).map_err(cannot)?);
                Ok(Source { reader, bytes, form: Form::Plain })
            }
            Err(Refused::OtherKey(its)) => Err(Error::operator(format!(
                "{} (key {}) is not the data key of {}, which was encrypted with the key {its}. Nothing was written. Put \
                 the right key in its place, or name it with --key-file: without it nobody can read this backup.",
                key_file.display(),
                vault.key_id(),
                file.display()
            ))),
            Err(Refused::Io(e)) => Err(uncopied_file(file, &e)),
        }
    }
}

fn uncopied_file(file: &Path, e: &io::Error) -> Error {
    match e.kind() {
        ErrorKind::InvalidData => damaged(file, &e.to_string()),
        _ => Error::operator(format!("{} cannot be copied: {e}", file.display())),
    }
}

impl Restored {
    /// Where it is until it has its name, for what is to be done to it before that.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Gives it its name. Nobody may have it open.
    ///
    /// # Errors
    /// [`Error::Operator`] when there is a database by now, or the disk refuses. Nothing is left behind then.
    pub fn publish(mut self) -> Result<Copied> {
        let path = self.draft.path.clone();
        if fs::metadata(beside(&path, "-wal")).is_ok_and(|log| log.len() > 0) {
            return Err(Error::internal("the restored database is still open"));
        }
        let users = count_users(&open_unchanging(&path, &path)?, &path)?;
        let copied = self.draft.publish(users)?;
        self.made = None;
        Ok(copied)
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        remove_draft(&self.draft.path);
        remove_made(self.made.as_deref());
    }
}

fn remove_made(directory: Option<&Path>) {
    let _ = directory.map(fs::remove_dir);
}

/// Copies `file` to the draft, readable, and verifies what was written.
fn fill(
    draft: &Draft,
    file: &Path,
    Source { reader, bytes, form }: Source,
    location: &Location,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let told = &mut |done| progress(Progress::Copying(done, bytes));
    pour(reader, &draft.file, told).map_err(|e| uncopied_file(file, &e))?;
    progress(Progress::Verifying);
    verify(&draft.path, file, location)?;
    match form {
        Form::Encrypted => Ok(()),
        // Someone may have begun to write to it meanwhile.
        Form::Plain => is_all_there(file),
    }
}

impl Store {
    /// What is known of the last backup that was verified.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn last_backup(&self) -> Result<LastBackup> {
        self.read(|tx| {
            if !tx.connection.is_backed_up_here() {
                return Ok(LastBackup::Elsewhere);
            }
            let row = tx.query_opt("SELECT value FROM meta WHERE name = 'last_backup'", params![])?;
            let Some(row) = row else { return Ok(LastBackup::Never) };
            let at = String::from_utf8(row.get(0)?).ok().and_then(|text| text.parse().ok()).map(Timestamp);
            Ok(at.map_or(LastBackup::Never, LastBackup::At))
        })
        .await
    }
}

/// The file of the embedded database.
fn embedded(location: &Location) -> Result<PathBuf> {
    if location.postgres.is_some() {
        return Err(Error::operator(
            "`usher backup` and `usher restore` are for the embedded database. Use pg_dump and pg_restore for PostgreSQL.",
        ));
    }
    absolute(&location.database())
}

/// Writes what the database holds at this moment to the draft.
///
/// `VACUUM INTO` copies inside one read transaction. In WAL mode that holds up no writer and no writer disturbs it, so
/// it ends after one pass however much is written meanwhile. The step-by-step backup of SQLite begins anew whenever
/// another process writes between two steps: beside a busy server it would never end. And unlike a copy of pages, this
/// leaves out what was deleted, and makes one file that needs no other.
fn snapshot(source: Connection, name: &Path, draft: &Draft, progress: &mut dyn FnMut(Progress)) -> Result<()> {
    let path = draft.path.to_str().ok_or_else(|| Error::operator("the name of a backup must be UTF-8"))?;
    let total = size(&source, name)?;
    let (done, outcome) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || done.send(source.execute("VACUUM INTO ?1", [path])));
        loop {
            match outcome.recv_timeout(TICK) {
                Ok(outcome) => return outcome.map(|_| ()).map_err(|e| uncopied(name, draft, &e)),
                Err(RecvTimeoutError::Timeout) => {
                    let bytes = draft.file.metadata().map(|m| m.len()).unwrap_or_default();
                    progress(Progress::Copying(bytes.min(total), total));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Error::internal("the copying panicked")),
            }
        }
    })
}

fn uncopied(name: &Path, draft: &Draft, e: &rusqlite::Error) -> Error {
    match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => damaged(name, &e.to_string()),
        Some(ErrorCode::DiskFull) => Error::operator(format!(
            "there is no room for {}. Make room, or {} another disk.",
            draft.target.display(),
            if draft.path == draft.target { "write a --plain backup to" } else { "name a file on" }
        )),
        _ => Error::operator(format!("{} cannot be copied to {}: {e}", name.display(), draft.target.display())),
    }
}

/// Notes the time of a backup in the database that it was made of.
fn record(database: &Path, at: Timestamp) -> Result<()> {
    let write = || -> rusqlite::Result<usize> {
        let live = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        live.busy_timeout(BUSY)?;
        live.execute(
            "INSERT INTO meta (name, value) VALUES ('last_backup', ?1) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [at.0.to_string().into_bytes()],
        )
    };
    write().map(|_| ()).map_err(Error::internal)
}

/// Checks that this is a database of ours, of the data key at hand, that this program knows. Quick.
fn identify(connection: &Connection, name: &Path, location: &Location) -> Result<()> {
    let seal: Vec<u8> = connection.query_row(migrate::SEAL, [], |row| row.get(0)).map_err(|e| unreadable(name, &e))?;
    let vault = Vault::load(&location.key_file())?;
    vault.open(migrate::SEAL_OWNER, &seal).map_err(|_| wrong_key(&location.key_file(), &vault))?;
    let version: i64 =
        connection.query_row(migrate::VERSION, [], |row| row.get(0)).map_err(|e| unreadable(name, &e))?;
    if version > migrate::NEWEST {
        return Err(Error::operator(format!(
            "a newer Usher made {} (its schema is {version}, this program knows {}). Use the newer program.",
            name.display(),
            migrate::NEWEST
        )));
    }
    let mut unfinished = connection.prepare(copy::MARK).map_err(|e| unreadable(name, &e))?;
    if unfinished.exists([]).map_err(|e| unreadable(name, &e))? { Err(copy::unfinished()) } else { Ok(()) }
}

/// Checks all of the copy at `path`, which messages call `name`, and counts its users.
fn verify(path: &Path, name: &Path, location: &Location) -> Result<i64> {
    let connection = open_unchanging(path, name)?;
    identify(&connection, name, location)?;
    let check: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(|e| unreadable(name, &e))?;
    if check != "ok" {
        return Err(damaged(name, &check));
    }
    count_users(&connection, name)
}

fn count_users(connection: &Connection, name: &Path) -> Result<i64> {
    connection.query_row("SELECT COUNT(*) FROM users", [], |row| row.get(0)).map_err(|e| unreadable(name, &e))
}

/// Opens a file that nobody writes to, so that SQLite makes no files beside it and it may be on a read-only disk.
fn open_unchanging(path: &Path, name: &Path) -> Result<Connection> {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');
    let path = absolute(path)?;
    let url = format!("file:{}?immutable=1", percent_encode(path.as_os_str().as_bytes(), ESCAPED));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(url, flags).map_err(|e| unreadable(name, &e))
}

/// Refuses what is no file, and gives its size.
fn is_a_file(file: &Path) -> Result<u64> {
    let metadata = fs::metadata(file).map_err(|e| Error::operator(format!("{}: {e}", file.display())))?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(Error::operator(format!("{} is not a file.", file.display())))
    }
}

/// Refuses what is only a part of a database.
fn is_all_there(file: &Path) -> Result<()> {
    for journal in ["-wal", "-journal"].map(|end| beside(file, end)) {
        if fs::metadata(&journal).is_ok_and(|m| m.len() > 0) {
            return Err(Error::operator(format!(
                "{} holds changes that are not yet in {}: this is no backup but the database of a server that runs or \
                 was killed. Restore a file that `usher backup` made; where the database lies, it can make one.",
                journal.display(),
                file.display()
            )));
        }
    }
    Ok(())
}

fn unreadable(name: &Path, e: &rusqlite::Error) -> Error {
    match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => damaged(name, &e.to_string()),
        // No such table, no such row, a value of another type.
        None | Some(ErrorCode::NotADatabase | ErrorCode::Unknown) => {
            Error::operator(format!("{} is not an Usher database. Nothing was written.", name.display()))
        }
        Some(_) => Error::operator(format!("{} cannot be read: {e}", name.display())),
    }
}

fn damaged(name: &Path, why: &str) -> Error {
    let why = why.lines().next_back().unwrap_or_default();
    Error::operator(format!("{} is damaged: {why}. Nothing was written; take another backup.", name.display()))
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(end);
    name.into()
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::operator(format!("{}: {e}", path.display())))
}

/// A file that is not yet what it is to be; gone when it is dropped.
struct Draft {
    path: PathBuf,
    target: PathBuf,
    file: File,
    /// Locked as long as the draft is there.
    directory: File,
}

impl Draft {
    fn new(target: &Path) -> Result<Draft> {
        let target = absolute(target)?;
        let cannot = |e| unwritten(&target, &e);
        let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(cannot(ErrorKind::InvalidFilename.into()));
        };
        let lock = lock(directory, &target)?;
        if target.symlink_metadata().is_ok() {
            return Err(cannot(ErrorKind::AlreadyExists.into()));
        }
        let path = directory.join(hidden(name, ".draft"));
        let file = begin(&path).map_err(cannot)?;
        Ok(Draft { path, target, file, directory: lock })
    }

    /// A draft beside `database` of what this one is to hold encrypted. It is never published, and has one name, so that
    /// the next backup removes it if this one is killed, wherever that one goes.
    fn plain_beside(&self, database: &Path) -> Result<Draft> {
        let (path, directory) = self.place_beside(database)?;
        let file = begin(&path).map_err(|e| {
            Error::operator(format!(
                "{} cannot be written: {e}. An encrypted backup begins with a readable copy there; a --plain one does not.",
                path.display()
            ))
        })?;
        Ok(Draft { target: path.clone(), path, file, directory })
    }

    /// Where that draft is, and the lock of its directory.
    fn place_beside(&self, database: &Path) -> Result<(PathBuf, File)> {
        let path = plain_of(database);
        let cannot = |e| unwritten(&path, &e);
        let directory = database.parent().unwrap_or(Path::new("/"));
        // Who holds a directory's lock is refused it a second time.
        let directory = if is_same(&self.directory, directory).map_err(cannot)? {
            self.directory.try_clone().map_err(cannot)?
        } else {
            lock(directory, &path)?
        };
        Ok((path, directory))
    }

    /// Gives the draft its name, durably.
    fn publish(&self, users: i64) -> Result<Copied> {
        let place = || -> io::Result<u64> {
            self.file.sync_all()?;
            match fs::hard_link(&self.path, &self.target) {
                // A file system without links, such as that of a memory stick.
                Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                    if self.target.symlink_metadata().is_ok() {
                        return Err(ErrorKind::AlreadyExists.into());
                    }
                    fs::rename(&self.path, &self.target)?;
                }
                linked => linked?,
            }
            remove_draft(&self.path);
            if let Err(e) = self.directory.sync_all() {
                let _ = fs::remove_file(&self.target);
                return Err(e);
            }
            Ok(self.file.metadata()?.len())
        };
        let bytes = place().map_err(|e| unwritten(&self.target, &e))?;
        Ok(Copied { file: self.target.clone(), bytes, users })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        remove_draft(&self.path);
    }
}

/// Where a readable copy of a database is until it is encrypted.
fn plain_of(database: &Path) -> PathBuf {
    database.with_file_name(hidden(database.file_name().unwrap_or_default(), ".plain"))
}

/// Keeps every other backup and restore from writing to `directory`, for `target`, until what it gives is dropped.
fn lock(directory: &Path, target: &Path) -> Result<File> {
    let lock = File::open(directory).map_err(|e| unwritten(target, &e))?;
    // The lock ends with its holder, so a draft that is found under it was left by one that was killed. A file
    // system that has no such locks does without: the last step replaces nothing in any case.
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        return Err(Error::operator(format!(
            "another `usher backup` or `usher restore` is writing to {}. Try again when it is done.",
            directory.display()
        )));
    }
    Ok(lock)
}

fn is_same(open: &File, directory: &Path) -> io::Result<bool> {
    let (one, other) = (open.metadata()?, fs::metadata(directory)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

fn hidden(name: &OsStr, end: &str) -> OsString {
    [".".as_ref(), name, end.as_ref()].into_iter().collect()
}

/// A new file at `path`, instead of what one who was killed has left.
fn begin(path: &Path) -> io::Result<File> {
    remove_draft(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// With what SQLite keeps beside it. None of it may be there.
fn remove_draft(path: &Path) {
    for end in ["", "-journal", "-wal", "-shm"] {
        let _ = fs::remove_file(beside(path, end));
    }
}

fn unwritten(target: &Path, e: &io::Error) -> Error {
    let target = target.display();
    Error::operator(match e.kind() {
        ErrorKind::AlreadyExists => format!("{target} exists, and nothing is overwritten. Name another file."),
        _ => format!("{target} cannot be written: {e}"),
    })
}
