//! The engine under test. `tests/it` is compiled twice: as `it` it runs on SQLite, as `it_postgres` on a PostgreSQL
//! cluster of its own, which `tests/postgres` starts and which ends with this process. With `USHER_TEST_POSTGRES=1`, `it`
//! does so too: one build less, while a test is being written. `tests/fault` runs a case on one and then on the other.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

use tokio_postgres::{NoTls, SimpleQueryMessage};

thread_local! {
    static ON_POSTGRES: Cell<bool> =
        Cell::new(env!("CARGO_CRATE_NAME") == "it_postgres" || std::env::var_os("USHER_TEST_POSTGRES").is_some());
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
    shared().sql("postgres", text);
}

fn url() -> &'static str {
    &shared().url
}

/// The cluster that all tests of this process share.
pub fn shared() -> &'static Cluster {
    try_shared().unwrap_or_else(|| std::process::exit(0))
}

/// The same; `None`, said loudly, where there is no PostgreSQL.
pub fn try_shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
    let start = || {
        let cluster = Cluster::start(&[]);
        if cluster.is_none() {
            crate::harness::skip("what needs PostgreSQL", "there is no PostgreSQL server here");
        }
        cluster
    };
    SHARED.get_or_init(start).as_ref()
}

/// A PostgreSQL cluster. It lives until the pipe to it closes, which the end of this process does.
#[allow(dead_code, reason = "tests/it and tests/fault use different parts")]
pub struct Cluster {
    /// Its address, for the name of a database to follow.
    pub url: String,
    /// Where `psql`, `pg_dump` and the like are.
    pub tools: PathBuf,
    /// Its files.
    pub folder: PathBuf,
    child: Mutex<Child>,
    said: Mutex<BufReader<ChildStdout>>,
}

#[allow(dead_code, reason = "tests/it and tests/fault use different parts")]
impl Cluster {
    /// Starts one; `None` where there is no PostgreSQL.
    pub fn start(options: &[&str]) -> Option<Cluster> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres");
        let mut child =
            Command::new(script).args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let lines: Vec<String> = said.by_ref().lines().map_while(Result::ok).take(3).collect();
        let [url, tools, folder] = &lines[..] else {
            let _ = child.wait();
            return None;
        };
        let (url, tools, folder) = (url.clone(), tools.into(), folder.into());
        Some(Cluster { url, tools, folder, child: Mutex::new(child), said: Mutex::new(said) })
    }

    /// `stop`, `start`, `freeze` or `thaw`; returns when it is done.
    pub fn order(&self, word: &str) {
        writeln!(self.child.lock().unwrap().stdin.as_mut().unwrap(), "{word}").unwrap();
        let mut line = String::new();
        self.said.lock().unwrap().read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word, "the cluster did not");
    }

    /// A connection to one of its databases.
    pub fn connect(&self, database: &str) -> Connection {
        Connection::to(&format!("{}/{database}", self.url))
    }

    /// What a statement gives, which must succeed.
    #[track_caller]
    pub fn sql(&self, database: &str, text: &str) -> String {
        self.connect(database).sql(text)
    }

    /// What a tool prints, which must succeed.
    pub fn run(&self, tool: &str, arguments: &[&str]) -> String {
        let output = Command::new(self.tools.join(tool)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// A connection of a test's own, which needs no runtime: statements go to a thread that has one.
pub struct Connection(Sender<Ask>);

/// A statement, and where its answer goes.
type Ask = (String, Sender<Result<String, String>>);

#[allow(dead_code, reason = "tests/it and tests/fault use different parts")]
impl Connection {
    pub fn to(url: &str) -> Connection {
        let (asks, asked) = channel::<Ask>();
        let url = url.to_owned();
        let serve = async move {
            let client = match tokio_postgres::connect(&url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    Ok(client)
                }
                Err(error) => Err(words(&error)),
            };
            for (text, answer) in asked {
                let done = match &client {
                    Ok(client) => client.simple_query(&text).await.map(|all| rows(&all)).map_err(|error| words(&error)),
                    Err(why) => Err(why.clone()),
                };
                let _ = answer.send(done);
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        std::thread::spawn(move || runtime.block_on(serve));
        Connection(asks)
    }

    /// What statements give, a line for a row, as `psql -qAt` prints them; or what the server says against them. Several are
    /// one transaction.
    pub fn try_sql(&self, text: &str) -> Result<String, String> {
        let (answer, answered) = channel();
        self.0.send((text.to_owned(), answer)).unwrap();
        answered.recv().unwrap()
    }

    /// The same, which must succeed.
    #[track_caller]
    pub fn sql(&self, text: &str) -> String {
        match self.try_sql(text) {
            Ok(rows) => rows.trim().to_owned(),
            Err(words) => panic!("{text}: {words}"),
        }
    }
}

fn rows(messages: &[SimpleQueryMessage]) -> String {
    let mut lines = String::new();
    for message in messages {
        if let SimpleQueryMessage::Row(row) = message {
            let cells: Vec<&str> = (0..row.len()).map(|column| row.get(column).unwrap_or_default()).collect();
            lines += &cells.join("|");
            lines.push('\n');
        }
    }
    lines
}

fn words(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// Closes the pipe and waits, so that nothing is left behind.
impl Drop for Cluster {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        drop(child.stdin.take());
        let _ = child.wait();
    }
}
