//! The engine under test. `tests/it` is compiled twice: as `it` it runs on SQLite, as `it_postgres` on a PostgreSQL
//! cluster of its own, which `tests/postgres` starts and which ends with this process. `tests/fault` runs a case on one
//! and then on the other.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};

thread_local! {
    static ON_POSTGRES: Cell<bool> = Cell::new(env!("CARGO_CRATE_NAME") == "it_postgres");
}

/// The folders that have a database.
static MADE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Whether this thread's tests run on PostgreSQL.
pub fn on_postgres() -> bool {
    ON_POSTGRES.get()
}

/// Chooses the engine for what this thread does from now on.
#[allow(dead_code, reason = "tests/fault uses it")]
pub fn choose(postgres: bool) {
    ON_POSTGRES.set(postgres);
}

/// Ends a test that is about the embedded file, on the other engine.
macro_rules! about_the_file {
    () => {
        if $crate::cluster::on_postgres() {
            return;
        }
    };
}
pub(crate) use about_the_file;

/// The URL of the database that belongs to a folder, made when it is first asked for, empty or as a copy of another
/// folder's; `None` on SQLite.
pub fn database(folder: &Path, copy_of: Option<&Path>) -> Option<String> {
    let name = name(folder);
    if !on_postgres() && !MADE.lock().unwrap().contains(&name) {
        return None;
    }
    if MADE.lock().unwrap().insert(name.clone()) {
        let template = copy_of.map_or_else(|| "template0".to_owned(), self::name);
        sql(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
    }
    Some(format!("{}/{name}", url()))
}

/// Removes a folder's database, whoever is still connected.
pub fn forget(folder: &Path) {
    if MADE.lock().unwrap().remove(&name(folder)) {
        sql(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name(folder)));
    }
}

fn name(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().replace('-', "_")
}

fn sql(text: &str) {
    let output = Command::new("psql").args(["-qAt", "-c", text, &format!("{}/postgres", url())]).output().unwrap();
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
}

fn url() -> &'static str {
    shared().map_or_else(|| std::process::exit(0), |cluster| &cluster.url)
}

/// The cluster that all tests of this process share; `None`, said loudly, if there is no PostgreSQL here.
pub fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    SHARED.get_or_init(Cluster::start).as_ref()
}

/// A PostgreSQL server. It lives until the pipe to it closes, which the end of this process does.
pub struct Cluster {
    pub url: String,
    child: Mutex<Child>,
    said: Mutex<BufReader<ChildStdout>>,
}

impl Cluster {
    pub fn start() -> Option<Cluster> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres");
        let mut child = Command::new(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        if line.is_empty() {
            let _ = child.wait();
            crate::harness::skip("the suite on PostgreSQL", "there is no PostgreSQL server here");
            return None;
        }
        Some(Cluster { url: line.trim().to_owned(), child: Mutex::new(child), said: Mutex::new(said) })
    }

    /// `stop`, `start`, `freeze` or `thaw`; returns when it is done.
    #[allow(dead_code, reason = "tests/fault uses it")]
    pub fn order(&self, word: &str) {
        writeln!(self.child.lock().unwrap().stdin.as_mut().unwrap(), "{word}").unwrap();
        let mut line = String::new();
        self.said.lock().unwrap().read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word, "the cluster did not");
    }
}

/// Closes the pipe and waits, so that nothing is left behind.
impl Drop for Cluster {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        drop(child.stdin.take());
        let _ = child.wait();
    }
}
