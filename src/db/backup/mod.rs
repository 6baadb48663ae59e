//! Copies of the embedded database: made beside a running server, verified, encrypted, and put back.
//!
//! Both ways write a draft beside the place where it is to be, verify that draft, and only then give it its name, so
//! that a file under the name that was asked for is whole. What is readable is written where it is to be readable, and
//! else beside the database alone. PostgreSQL has tools of its own for all this.

mod check;
mod draft;
mod restore;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use self::check::{damaged, identify, unreadable, verify};
use self::draft::{Draft, absolute, draft_of, files_of, lock, plain_of, remove_draft, unwritten};
pub use self::restore::{Restored, restore};
use super::{Location, Store, params};
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

/// The readable files that a backup or a restore which was killed has left beside the database. None while one is at work.
pub fn left_behind(location: &Location) -> Vec<PathBuf> {
    let look = || {
        let database = embedded(location).ok()?;
        let drafts = [plain_of(&database), draft_of(&database)];
        let found = || drafts.iter().flat_map(|draft| files_of(draft)).filter(|file| file.symlink_metadata().is_ok());
        found().next()?;
        let _locked = lock(database.parent()?, &database).ok()?;
        Some(found().collect())
    };
    look().unwrap_or_default()
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
