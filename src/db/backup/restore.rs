//! A backup put back where there is no database yet.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::check::{count_users, damaged, identify, is_a_file, is_all_there, open_unchanging, verify};
use super::draft::{Draft, beside, remove_draft};
use super::{Copied, Form, Progress, embedded, pour};
use crate::db::{Location, make_private_directory};
use crate::error::{Error, Result};
use crate::vault::Vault;
use crate::vault::stream::{self, Refused};

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
