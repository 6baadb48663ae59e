//! Whether a file is an Usher database: whole, of the data key at hand, and of a schema that this program knows.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::draft::{absolute, beside};
use crate::db::{Location, copy, migrate, wrong_key};
use crate::error::{Error, Result};
use crate::vault::Vault;

/// Checks that this is a database of ours, of the data key at hand, that this program knows. Quick.
pub(super) fn identify(connection: &Connection, name: &Path, location: &Location) -> Result<()> {
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
pub(super) fn verify(path: &Path, name: &Path, location: &Location) -> Result<i64> {
    let connection = open_unchanging(path, name)?;
    identify(&connection, name, location)?;
    let check: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(|e| unreadable(name, &e))?;
    if check != "ok" {
        return Err(damaged(name, &check));
    }
    count_users(&connection, name)
}

pub(super) fn count_users(connection: &Connection, name: &Path) -> Result<i64> {
    connection.query_row("SELECT COUNT(*) FROM users", [], |row| row.get(0)).map_err(|e| unreadable(name, &e))
}

/// Opens a file that nobody writes to, so that SQLite makes no files beside it and it may be on a read-only disk.
pub(super) fn open_unchanging(path: &Path, name: &Path) -> Result<Connection> {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');
    let path = absolute(path)?;
    let url = format!("file:{}?immutable=1", percent_encode(path.as_os_str().as_bytes(), ESCAPED));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(url, flags).map_err(|e| unreadable(name, &e))
}

/// Refuses what is no file, and gives its size.
pub(super) fn is_a_file(file: &Path) -> Result<u64> {
    let metadata = fs::metadata(file).map_err(|e| Error::operator(format!("{}: {e}", file.display())))?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(Error::operator(format!("{} is not a file.", file.display())))
    }
}

/// Refuses what is only a part of a database.
pub(super) fn is_all_there(file: &Path) -> Result<()> {
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

pub(super) fn unreadable(name: &Path, e: &rusqlite::Error) -> Error {
    match e.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt) => damaged(name, &e.to_string()),
        // No such table, no such row, a value of another type.
        None | Some(ErrorCode::NotADatabase | ErrorCode::Unknown) => {
            Error::operator(format!("{} is not an Usher database. Nothing was written.", name.display()))
        }
        Some(_) => Error::operator(format!("{} cannot be read: {e}", name.display())),
    }
}

pub(super) fn damaged(name: &Path, why: &str) -> Error {
    let why = why.lines().next_back().unwrap_or_default();
    Error::operator(format!("{} is damaged: {why}. Nothing was written; take another backup.", name.display()))
}
