//! A file that gets its name once it is whole, and until then lies beside where it is to be, under a lock of that directory.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Copied;
use crate::error::{Error, Result};

/// A file that is not yet what it is to be; gone when it is dropped.
pub(super) struct Draft {
    pub(super) path: PathBuf,
    pub(super) target: PathBuf,
    pub(super) file: File,
    /// Locked as long as the draft is there.
    directory: File,
}

impl Draft {
    pub(super) fn new(target: &Path) -> Result<Draft> {
        let target = absolute(target)?;
        let cannot = |e| unwritten(&target, &e);
        let (Some(directory), Some(_)) = (target.parent(), target.file_name()) else {
            return Err(cannot(ErrorKind::InvalidFilename.into()));
        };
        let lock = lock(directory, &target)?;
        if target.symlink_metadata().is_ok() {
            return Err(cannot(ErrorKind::AlreadyExists.into()));
        }
        let path = draft_of(&target);
        let file = begin(&path).map_err(cannot)?;
        Ok(Draft { path, target, file, directory: lock })
    }

    /// A draft beside `database` of what this one is to hold encrypted. It is never published, and has one name, so that
    /// the next backup removes it if this one is killed, wherever that one goes.
    pub(super) fn plain_beside(&self, database: &Path) -> Result<Draft> {
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
    pub(super) fn place_beside(&self, database: &Path) -> Result<(PathBuf, File)> {
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
    pub(super) fn publish(&self, users: i64) -> Result<Copied> {
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
pub(super) fn plain_of(database: &Path) -> PathBuf {
    hidden(database, ".plain")
}

/// Where a file is until it gets its name.
pub(super) fn draft_of(target: &Path) -> PathBuf {
    hidden(target, ".draft")
}

/// Keeps every other backup and restore from writing to `directory`, for `target`, until what it gives is dropped.
pub(super) fn lock(directory: &Path, target: &Path) -> Result<File> {
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

fn hidden(file: &Path, end: &str) -> PathBuf {
    let name: OsString = [".".as_ref(), file.file_name().unwrap_or_default(), end.as_ref()].into_iter().collect();
    file.with_file_name(name)
}

/// A new file at `path`, instead of what one who was killed has left.
fn begin(path: &Path) -> io::Result<File> {
    remove_draft(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// None of it may be there.
pub(super) fn remove_draft(path: &Path) {
    for file in files_of(path) {
        let _ = fs::remove_file(file);
    }
}

/// A draft, and what SQLite keeps beside it.
pub(super) fn files_of(draft: &Path) -> [PathBuf; 4] {
    ["", "-journal", "-wal", "-shm"].map(|end| beside(draft, end))
}

pub(super) fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(end);
    name.into()
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::operator(format!("{}: {e}", path.display())))
}

pub(super) fn unwritten(target: &Path, e: &io::Error) -> Error {
    let target = target.display();
    Error::operator(match e.kind() {
        ErrorKind::AlreadyExists => format!("{target} exists, and nothing is overwritten. Name another file."),
        _ => format!("{target} cannot be written: {e}"),
    })
}
