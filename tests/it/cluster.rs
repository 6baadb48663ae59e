//! The engine under test. `tests/it` is compiled twice: as `it` it runs on SQLite, as `it_postgres` on a PostgreSQL
//! cluster of its own, which `tests/postgres` starts and which ends with this process.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
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
    shared().sql("postgres", text);
}

fn url() -> &'static str {
    &shared().url
}

/// The cluster that the tests share.
pub fn shared() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        Cluster::start(&[]).unwrap_or_else(|| {
            crate::harness::skip("the suite on PostgreSQL", "there is no PostgreSQL server here");
            std::process::exit(0);
        })
    })
}

/// A PostgreSQL cluster.
pub struct Cluster {
    /// Its address, for the name of a database to follow.
    pub url: String,
    /// Where `psql`, `pg_dump` and the like are.
    pub tools: PathBuf,
    /// Its files.
    pub folder: PathBuf,
    /// The cluster lives until the pipe to it closes, which the end of this process does.
    _script: Child,
}

impl Cluster {
    /// Starts one; `None` where there is no PostgreSQL.
    pub fn start(options: &[&str]) -> Option<Cluster> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres");
        let mut child =
            Command::new(script).args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let lines: Vec<String> = lines.take(3).collect();
        let [url, tools, folder] = &lines[..] else {
            let _ = child.wait();
            return None;
        };
        Some(Cluster { url: url.clone(), tools: tools.into(), folder: folder.into(), _script: child })
    }

    /// What `psql` prints for a statement.
    pub fn sql(&self, database: &str, text: &str) -> String {
        self.run("psql", &["-qAt", "-c", text, &format!("{}/{database}", self.url)])
    }

    /// What `psql` prints, if it succeeds.
    pub fn try_sql(&self, database: &str, text: &str) -> Option<String> {
        let at = format!("{}/{database}", self.url);
        let output = Command::new(self.tools.join("psql")).args(["-qAt", "-c", text, &at]).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    /// What a tool prints, which must succeed.
    pub fn run(&self, tool: &str, arguments: &[&str]) -> String {
        let output = Command::new(self.tools.join(tool)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}
