//! The engine under test. `tests/it` is compiled twice: as `it` it runs on SQLite, as `it_postgres` on a PostgreSQL
//! cluster of its own, which `tests/postgres` starts and which ends with this process.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// Whether this is the suite on PostgreSQL.
pub fn on_postgres() -> bool {
    env!("CARGO_CRATE_NAME") == "it_postgres"
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
    static MADE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if !on_postgres() {
        return None;
    }
    let name = name(folder);
    if MADE.lock().unwrap().insert(name.clone()) {
        let template = copy_of.map_or_else(|| "template0".to_owned(), self::name);
        sql(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
    }
    Some(format!("{}/{name}", url()))
}

/// Removes a folder's database, whoever is still connected.
pub fn forget(folder: &Path) {
    if on_postgres() {
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
    // The cluster lives until the pipe to it closes, which the end of this process does.
    static CLUSTER: OnceLock<(String, Child)> = OnceLock::new();
    let start = || {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres");
        let mut child = Command::new(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            crate::harness::skip("the suite on PostgreSQL", "there is no PostgreSQL server here");
            std::process::exit(0);
        }
        (line.trim().to_owned(), child)
    };
    &CLUSTER.get_or_init(start).0
}
