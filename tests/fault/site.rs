//! An installation and the servers on it: real processes, started, watched and killed; and a look past them, at what
//! the database holds.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Connection, on_postgres};
use crate::harness::Folder;
use crate::program::{free_port, usher};
use crate::wire::Call;

/// What every user has a row in, written in the transaction that makes the user.
const BESIDE: &[&str] = &["outbox", "links", "audit"];

/// An installation with an app, and a key that writes to each of its environments.
pub struct Site {
    pub folder: Folder,
    /// A PostgreSQL URL; `None` for the file in `folder`.
    pub database: Option<String>,
    pub client_id: String,
    pub sandbox: String,
    pub live: String,
}

impl Site {
    /// A copy of one that is made once for each engine: all of them have the same keys.
    pub fn new() -> Site {
        static MADE: [OnceLock<Site>; 2] = [const { OnceLock::new() }; 2];
        MADE[usize::from(on_postgres())].get_or_init(Site::of_its_own).copy()
    }

    /// With keys that no other has.
    pub fn of_its_own() -> Site {
        let folder = Folder::new();
        let database = folder.database();
        Site::on(folder, database)
    }

    /// Where no server was started yet.
    pub fn nothing_yet() -> Site {
        let folder = Folder::new();
        let database = folder.database();
        Site::empty(folder, database)
    }

    fn empty(folder: Folder, database: Option<String>) -> Site {
        Site { folder, database, client_id: String::new(), sandbox: String::new(), live: String::new() }
    }

    pub fn on(folder: Folder, database: Option<String>) -> Site {
        let mut site = Site::empty(folder, database);
        let first = site.serve();
        let told = |name: &str| first.banner[name].as_str().unwrap().to_owned();
        (site.client_id, site.sandbox) = (told("clientId"), told("key"));
        site.live = site.key("live", &[]);
        first.stop();
        site
    }

    /// Another installation with the same data and keys, while nothing runs on this one.
    pub fn copy(&self) -> Site {
        let folder = Folder::copy_of(&self.folder);
        let database = folder.database();
        let (client_id, sandbox, live) = (self.client_id.clone(), self.sandbox.clone(), self.live.clone());
        Site { folder, database, client_id, sandbox, live }
    }

    /// A new key that writes.
    pub fn key(&self, environment: &str, extra: &[&str]) -> String {
        let command = ["key", "create", "--app", &self.client_id, "--environment", environment, "--access", "write"];
        self.run(&[&command, extra].concat())["key"].as_str().unwrap().to_owned()
    }

    pub fn command(&self) -> Command {
        let mut command = usher(&self.folder);
        command.envs(self.database.as_ref().map(|url| ("USHER_DATABASE", url)));
        command
    }

    /// The JSON that a command prints.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Value {
        let output = self.command().args(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    pub fn serve(&self) -> Server {
        self.serve_with(&[], &[])
    }

    /// Starts a server and waits until it is ready.
    #[track_caller]
    pub fn serve_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Server {
        let mut server = self.spawn(variables, arguments);
        server.await_ready();
        server
    }

    pub fn spawn(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let log = self.folder.0.join(format!("log-{}", COUNT.fetch_add(1, Ordering::SeqCst)));
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = self.command();
        command.args(["serve", "--json", "--log-format", "json", "--listen", &address]).args(arguments);
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let started = Instant::now();
        let child = command.spawn().unwrap();
        Server {
            url: format!("http://{address}"),
            banner: Value::Null,
            ready_after: Duration::ZERO,
            started,
            child,
            log,
        }
    }

    /// The first column of a query's rows.
    pub fn sql(&self, text: &str) -> Vec<String> {
        if let Some(url) = &self.database {
            let rows = Connection::to(url).try_sql(text).unwrap_or_else(|words| panic!("{text}: {words}"));
            return rows.lines().map(str::to_owned).collect();
        }
        let database = rusqlite::Connection::open(self.folder.0.join("usher.db")).unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        let mut statement = database.prepare(text).unwrap();
        let text = |row: &rusqlite::Row| {
            row.get::<_, rusqlite::types::Value>(0).map(|value| match value {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => panic!("{other:?}"),
            })
        };
        statement.query_map([], text).unwrap().map(Result::unwrap).collect()
    }

    /// Runs statements behind the program's back.
    #[track_caller]
    pub fn execute(&self, text: &str) {
        if self.database.is_some() {
            self.sql(text);
            return;
        }
        let database = rusqlite::Connection::open(self.folder.0.join("usher.db")).unwrap();
        database.execute_batch(&format!("PRAGMA foreign_keys = OFF; BEGIN; {text}; COMMIT")).unwrap();
    }

    /// How many rows a `FROM …` has.
    pub fn count(&self, from: &str) -> usize {
        self.sql(&format!("SELECT COUNT(*) FROM {from}"))[0].parse().unwrap()
    }

    /// The persons by number that have a row.
    pub fn persons(&self) -> BTreeSet<u64> {
        let emails = self.sql("SELECT email FROM users");
        let number = |email: &String| email.trim_start_matches('p').trim_end_matches("@doe.com").parse();
        let persons: BTreeSet<u64> = emails.iter().map(|email| number(email).unwrap()).collect();
        assert_eq!(persons.len(), emails.len(), "an address has two rows");
        persons
    }

    /// Fails if a transaction has left a part of itself, or the file is damaged.
    #[track_caller]
    pub fn assert_whole(&self) {
        for table in BESIDE {
            let alone = format!("users u WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE t.user_id = u.id)");
            assert_eq!(self.count(&alone), 0, "users without a row in {table}");
        }
        // `x''` and `''` are an empty value of either engine.
        assert_eq!(self.count("idempotency WHERE length(answer) = 0"), 0, "keys without an answer");
        if self.database.is_none() {
            assert_eq!(self.sql("PRAGMA integrity_check"), ["ok"]);
        }
    }
}

/// A server process. Killed when it is dropped.
pub struct Server {
    pub url: String,
    pub banner: Value,
    pub ready_after: Duration,
    started: Instant,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Waits for the banner and for `/readyz`.
    #[track_caller]
    pub fn await_ready(&mut self) {
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.banner = serde_json::from_str(&line).unwrap_or_else(|_| panic!("it did not start: {line}{}", self.log()));
        while self.status("/readyz") != 200 {
            assert!(self.started.elapsed() < Duration::from_secs(20), "it is not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.ready_after = self.started.elapsed();
    }

    /// The status of a page; 0 if nobody answers.
    pub fn status(&self, path: &str) -> u16 {
        Call::get(path).send(&self.url).map_or(0, |answer| answer.status)
    }

    /// The end of what it has logged.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    pub fn complained(&self) -> bool {
        fs::read_to_string(&self.log).unwrap().contains("\"level\":\"ERROR\"")
    }

    pub fn signal(&self, name: &str) {
        // It may have ended by itself.
        let _ = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
    }

    /// Ends the process as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the process as an operator would.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal("TERM");
        let (code, _) = self.ended_within(Duration::from_secs(12));
        assert_eq!(code, Some(0), "{}", self.log());
    }

    /// The exit code of a process that ends by itself, and how long that took.
    #[track_caller]
    pub fn ended_within(&mut self, most: Duration) -> (Option<i32>, Duration) {
        let start = Instant::now();
        let end = self.end_within(most).unwrap_or_else(|| panic!("it still runs after {most:?}: {}", self.log()));
        (end.code(), start.elapsed())
    }

    /// How it ended; `None` if it still runs.
    pub fn end_within(&mut self, most: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || start.elapsed() > most {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
