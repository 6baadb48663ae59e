//! Where an installation of a test has its data, and who gets at it past the program.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use usher::db::Location;
use usher::secret::Secret;

use crate::cluster::{self, Connection};

/// A directory of this process that is gone when it is dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let path = place().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn location(&self) -> Location {
        Location { postgres: self.database().map(Secret::new), ..Location::at(&self.0) }
    }

    /// The URL of this folder's database on the cluster, made when it is first asked for; `None` on SQLite.
    pub fn database(&self) -> Option<String> {
        cluster::database(&self.0, None)
    }

    /// Somebody who has got at its database, past every rule.
    pub fn intruder(&self) -> Intruder {
        if let Some(url) = self.database() {
            return Intruder::Connection(Connection::to(&url));
        }
        let file = rusqlite::Connection::open(self.0.join("usher.db")).unwrap();
        file.busy_timeout(Duration::from_secs(10)).unwrap();
        Intruder::File(file)
    }

    /// A folder with the data of another.
    pub fn copy_of(other: &Folder) -> Folder {
        let folder = Folder::new();
        for file in std::fs::read_dir(&other.0).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), folder.0.join(file.file_name())).unwrap();
        }
        cluster::database(&folder.0, Some(&other.0));
        folder
    }
}

const PREFIX: &str = "usher-test-";

/// Where folders are: where TMPDIR says; else in memory, if there is room, for every write waits for the disk. `tests/fault` is
/// about disks.
fn place() -> &'static Path {
    static PLACE: OnceLock<(PathBuf, Child)> = OnceLock::new();
    let choose = || {
        let memory = Path::new("/dev/shm");
        let has_room = rustix::fs::statvfs(memory).is_ok_and(|it| it.f_bavail * it.f_frsize > 4_000_000_000);
        let in_memory = has_room && std::env::var_os("TMPDIR").is_none() && env!("CARGO_CRATE_NAME") != "fault";
        let place = if in_memory { memory.to_owned() } else { std::env::temp_dir() };
        // What is held until this process ends is dropped by nobody: this removes it when the pipe closes.
        let sweep = Command::new("sh")
            .args(["-c", "cat >/dev/null; rm -rf \"$0\"-*"])
            .arg(place.join(format!("{PREFIX}{}", std::process::id())))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        (place, sweep.unwrap())
    };
    &PLACE.get_or_init(choose).0
}

impl Drop for Folder {
    fn drop(&mut self) {
        cluster::forget(&self.0);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Somebody who has got at a database, for as long as they have it open.
pub enum Intruder {
    File(rusqlite::Connection),
    Connection(Connection),
}

impl Intruder {
    /// Runs statements.
    #[track_caller]
    pub fn runs(&self, sql: &str) {
        match self {
            Intruder::File(file) => file.execute_batch(sql).unwrap(),
            Intruder::Connection(connection) => _ = connection.sql(sql),
        }
    }

    /// The number that a query asks for.
    #[track_caller]
    pub fn counts(&self, sql: &str) -> i64 {
        match self {
            Intruder::File(file) => file.query_row(sql, [], |row| row.get(0)).unwrap(),
            Intruder::Connection(connection) => connection.sql(sql).parse().unwrap(),
        }
    }
}
