//! `usher copy`: everything arrives, what is refused is refused with the reason, and nothing personal is said.

use std::fs;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use usher::clock::Clock;
use usher::db::{IfMissing, Location, Store};
use usher::secret::Secret;

use crate::cluster::on_postgres;
use crate::harness::{Folder, TestApp, jane, john, reveals};
use crate::idempotency_kill::create;
use crate::program::{Program, call, raw, usher};
use crate::receiver::Receiver;

/// The tables in which [`Source`] has nothing.
const EMPTY: [&str; 7] =
    ["erasures", "import_erased", "import_files", "import_pages", "imports", "roles", "subscription_turns"];

/// The file of a name in a folder, as a database.
pub fn file(folder: &Folder, name: &str) -> String {
    format!("sqlite:{}", folder.0.join(name).display())
}

/// The database that belongs to a folder, with a password on PostgreSQL, or the file of a name.
pub fn database(folder: &Folder, name: &str) -> String {
    folder.database().map_or_else(|| file(folder, name), |url| url.replace("usher@", "usher:hunter2@"))
}

/// The program on the database of a URL, with the data key of `folder`.
pub fn usher_on(folder: &Folder, url: &str) -> Command {
    let mut command = usher(folder);
    command.env("USHER_DATABASE", url);
    command
}

/// The store on the database of a URL, with the data key of `folder`.
pub async fn open(folder: &Folder, url: &str) -> Store {
    let at = Location::at(&folder.0);
    let location = match url.strip_prefix("sqlite:") {
        Some(file) => Location { database: Some(file.into()), ..at },
        None => Location { postgres: Some(Secret::new(url)), ..at },
    };
    Store::open(&location, Clock::System, IfMissing::Refuse).await.unwrap()
}

/// Runs `usher copy`, which may say nothing about anyone, and no password.
pub fn copy(folder: &Folder, from: &str, to: &str) -> Output {
    let output = usher(folder).args(["copy", "--json", "--from", from, "--to", to]).output().unwrap();
    for text in [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()) {
        assert_eq!(text.lines().find_map(reveals), None, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    output
}

/// What a copy that went well tells.
#[track_caller]
pub fn copied(folder: &Folder, from: &str, to: &str) -> Value {
    let output = copy(folder, from, to);
    assert_eq!((output.status.code(), errors(&output).as_str()), (Some(0), ""));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every row of every table that is copied: of all but those that each database has to itself.
pub fn rows(url: &str) -> Vec<(String, Vec<Vec<Cell>>)> {
    let connection = rusqlite::Connection::open(url.strip_prefix("sqlite:").unwrap()).unwrap();
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT IN ('meta', 'migrations') \
               AND name NOT GLOB 'sqlite_*' ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    let tables: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let rows = |table: String| {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
        let width = statement.column_count();
        let row = |row: &rusqlite::Row| (0..width).map(|column| row.get(column)).collect();
        let rows = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
        (table, rows)
    };
    tables.into_iter().map(rows).collect()
}

/// Fails unless both files hold the same rows.
#[track_caller]
pub fn assert_same(one: &str, other: &str) {
    let (one, other) = (rows(one), rows(other));
    assert_eq!(one.len(), other.len(), "as many tables");
    for ((table, one), (same, other)) in one.iter().zip(&other) {
        assert_eq!((table, one.len()), (same, other.len()));
        for (one, other) in one.iter().zip(other) {
            assert_eq!(one, other, "{table}");
        }
    }
}

/// An installation in a file, with something in every table but [`EMPTY`].
struct Source {
    folder: Folder,
    url: String,
    key: String,
    jane: String,
    /// What John's creation was answered.
    answer: String,
    cookie: String,
}

impl Source {
    /// A copy of one that is made once.
    fn new() -> Source {
        static MADE: OnceLock<Source> = OnceLock::new();
        let made = MADE.get_or_init(Source::make);
        let folder = Folder::copy_of(&made.folder);
        let [key, jane, answer, cookie] = [&made.key, &made.jane, &made.answer, &made.cookie].map(Clone::clone);
        Source { url: file(&folder, "usher.db"), folder, key, jane, answer, cookie }
    }

    fn make() -> Source {
        let folder = Folder::new();
        let url = file(&folder, "usher.db");
        let server = Program::start_with(folder, &[("USHER_DATABASE", &url)], &[]);
        let run = |arguments: &[&str]| {
            let output = usher_on(&server.folder, &url).args(arguments).arg("--json").output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {}", errors(&output));
            serde_json::from_slice::<Value>(&output.stdout).unwrap()
        };
        let jane = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
        let mail = run(&["mail", "show"]);
        let link = mail["links"][0].as_str().unwrap().strip_prefix(&server.url).unwrap().to_owned();
        let press = format!("POST {link} HTTP/1.1\r\nHost: u\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        let (head, _) = raw(&server.url, press.as_bytes());
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a session");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let change = json!({"user": {"nickname": "Jäne 🌱"}, "test": true});
        let token = run(&["token", "create", "--user", &jane]);
        let me = server.call_as(token["accessToken"].as_str().unwrap(), "PUT", "/v1/users/me", &change);
        assert_eq!(me.0, 200, "{me:?}");
        let (status, _, answer) = create(&server.url, &server.key, "once", &john()).unwrap();
        assert_eq!(status, 200);
        run(&["user", "freeze", "john@doe.com"]);
        run(&["admin", "create", "ann@clinic.example", "--role", "owner"]);
        let place = ["--app", &server.client_id, "--environment", "sandbox"];
        let stripe = Receiver::start();
        stripe.answers(|_| crate::receiver::answer(200, r#"{"id":"cus_1","data":[]}"#));
        std::fs::write(server.folder.0.join("stripe-key"), "sk_test_1").unwrap();
        let at = format!("http://127.0.0.1:{}", stripe.port);
        let connect = ["billing", "connect", "--mode", "test", "--stripe-key-file", "stripe-key", "--url", &at];
        run(&[&connect[..], &place[..]].concat());
        std::thread::sleep(std::time::Duration::from_millis(700));
        let name = json!({"user": {"name": "Jäne", "phone_number": "2025550111"}});
        assert_eq!(server.call_as(token["accessToken"].as_str().unwrap(), "PUT", "/v1/users/me", &name).0, 200);
        stripe.wait_for(1);
        while run(&["billing", "list"])["waiting"] != 0 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let webhook = run(&[&["webhook", "create", "http://127.0.0.1:9/"], &place[..]].concat());
        let webhook = webhook["id"].as_str().unwrap();
        run(&["webhook", "test", webhook]);
        while run(&["webhook", "show", webhook])["deliveries"][0]["failure"].is_null() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let logo = server.folder.0.join("logo.png");
        std::fs::write(&logo, crate::brand::PNG).unwrap();
        run(&["app", "update", &server.client_id, "--color", "#102030", "--logo", &logo.display().to_string()]);
        run(&["mail", "template", "set", "enrolment", "de", "--app", &server.client_id, "sign_in_button=Los"]);
        let callback = "https://app.example.com/callback";
        run(&["app", "redirect", "add", &server.client_id, callback, "--environment", "sandbox"]);
        let post = |path: &str, cookie: &str, form: &str| {
            let length = form.len();
            let request = format!(
                "POST {path} HTTP/1.1\r\nHost: u\r\nConnection: close\r\nCookie: {cookie}\r\nContent-Length: {length}\r\n\r\n{form}"
            );
            raw(&server.url, request.as_bytes()).0
        };
        let path = format!("/sign-in?client_id={}&redirect_uri={callback}", server.client_id);
        let begun = post(&path, "", "email=jane@doe.com");
        let begun = begun.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a sign-in");
        while run(&["mail", "show"])["kind"] != "sign_in" {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let text = run(&["mail", "show"])["text"].as_str().unwrap().to_owned();
        let digits = text.lines().find(|line| line.len() == 6 && line.parse::<u32>().is_ok()).unwrap();
        let entered = post("/sign-in/code", begun.split(';').next().unwrap(), &format!("code={digits}"));
        assert!(entered.starts_with("HTTP/1.1 303"), "{entered}");
        let place = ["--app", &server.client_id, "--environment", "live", "--access", "write"];
        let live = run(&[&["key", "create", "--tenant", "Clinic North"], &place[..]].concat());
        assert_eq!(server.call_as(live["key"].as_str().unwrap(), "POST", "/users/create", &john()).0, 200);
        let key = server.key.clone();
        Source { folder: server.stop().2, url, key, jane, answer, cookie }
    }
}

#[test]
fn everything_arrives_in_another_database_works_there_and_comes_back() {
    let source = Source::new();
    let (folder, from) = (&source.folder, &source.url);
    let (there, back) = (database(folder, "there.db"), file(folder, "back.db"));
    let all = rows(from);
    let empty: Vec<&str> = all.iter().filter(|(_, rows)| rows.is_empty()).map(|(table, _)| table.as_str()).collect();
    assert_eq!(empty, EMPTY, "something is in every other table");
    let count: usize = all.iter().map(|(_, rows)| rows.len()).sum();

    assert_eq!(copied(folder, from, &there), json!({"rows": count, "written": count, "users": 3, "verified": true}));
    assert_eq!(copied(folder, &there, &back), json!({"rows": count, "written": count, "users": 3, "verified": true}));
    assert_same(from, &back);

    let doctor = usher_on(folder, &there).arg("doctor").output().unwrap();
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));
    let show = |url: &str| {
        let words = ["user", "show", &source.jane, "--reveal", "a copy", "--json"];
        usher_on(folder, url).args(words).output().unwrap().stdout
    };
    assert_eq!(show(&there), show(from));
    assert_eq!(serde_json::from_slice::<Value>(&show(&there)).unwrap()["health"]["height"], "5ft 6in");

    let Source { folder, key, answer, cookie, .. } = source;
    let server = Program::start_with(folder, &[("USHER_DATABASE", &there)], &[]);
    assert!(server.key.is_empty(), "it is no first start");
    let change = json!({"email": "jane@doe.com", "diabetes": 1});
    assert_eq!(call(&server.url, &key, "POST", "/users/update", &change).0, 200);
    assert_eq!(create(&server.url, &key, "once", &john()), Some((200, true, answer)));
    let profile = format!("GET /profile HTTP/1.1\r\nHost: u\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n");
    let (head, page) = raw(&server.url, profile.as_bytes());
    assert!(head.starts_with("HTTP/1.1 200") && page.contains(r#"value="Jäne 🌱""#), "{head}");
}

#[tokio::test]
async fn a_database_of_another_version_is_not_copied_and_stays_as_it_is() {
    let server = Program::start(&[]);
    let (_, _, folder) = server.stop();
    let from = folder.database().unwrap_or_else(|| file(&folder, "usher.db"));
    let store = Store::open(&folder.location(), Clock::System, IfMissing::Refuse).await.unwrap();
    store.write(|tx| tx.execute("DELETE FROM migrations", &[])).await.unwrap();
    drop(store);
    let output = usher(&folder).args(["copy", "--from", &from, "--to", &file(&folder, "to.db")]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--from is not of this program's version"), "{said}");
    assert!(!folder.0.join("to.db").exists());
    let doctor = usher(&folder).arg("doctor").output().unwrap();
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("`usher migrate` or a start brings it there"));
}

#[test]
fn a_copy_is_refused_with_the_reason_and_leaves_everything_as_it_was() {
    let source = Source::new();
    let (folder, from) = (&source.folder, source.url.as_str());
    let app = |folder: &Folder, url: &str| {
        assert!(usher_on(folder, url).args(["app", "create", "Other"]).output().unwrap().status.success());
    };
    // Of the same data key and of another.
    let (ours, other) = (file(folder, "ours.db"), Folder::new());
    let theirs = file(&other, "usher.db");
    app(folder, &ours);
    app(&other, &theirs);
    let notes = file(folder, "notes.db");
    rusqlite::Connection::open(folder.0.join("notes.db")).unwrap().execute_batch("CREATE TABLE notes (a)").unwrap();
    let before = fs::read_dir(&folder.0).unwrap().count();
    let contents = || [rows(from), rows(&ours), rows(&theirs)];
    let was = contents();
    let new = file(folder, "new.db");
    for (from, to, words) in [
        (
            from,
            ours.as_str(),
            "usher: --to holds data already, and `usher copy` replaces none. Name an empty database.",
        ),
        (from, &theirs, "data.key (key "),
        (from, &theirs, ") is not the data key of this database. Nothing was written."),
        (&theirs, &new, ") is not the data key of this database. Nothing was written."),
        (from, &notes, "notes.db is not an Usher database. Nothing was written."),
        (&notes, &new, "notes.db is not an Usher database. Nothing was written."),
        (&file(folder, "nowhere.db"), &new, "nowhere.db."),
        ("mysql://u:hunter2@x/y", &new, "usher: --from takes sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE"),
        (from, "mysql://u:hunter2@x/y", "usher: --to takes sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE"),
        (from, "postgres://u:hunter2@127.0.0.1:1/x", "usher: the database server does not answer: "),
        ("postgres://u:hunter2@127.0.0.1:1/x", &new, "usher: the database server does not answer: "),
    ] {
        let output = usher(folder).args(["copy", "--from", from, "--to", to]).output().unwrap();
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{from} {to}: {text}");
        assert!(text.contains(words) && !text.contains("hunter2"), "{from} {to}: {text}");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), before, "{from} {to}: something was made");
    }
    assert!(contents() == was, "something was written");
    let output = usher(folder).args(["copy", "--from", from]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("--to <URL>"), "{}", errors(&output));
}

#[test]
fn a_database_is_not_copied_to_itself_however_it_is_spelt() {
    let source = Source::new();
    let folder = &source.folder;
    fs::create_dir(folder.0.join("sub")).unwrap();
    std::os::unix::fs::symlink("usher.db", folder.0.join("alias.db")).unwrap();
    let was = rows(&source.url);
    let relative =
        ["sqlite:usher.db", "sqlite:./usher.db", "sqlite:sub/../usher.db", "sqlite://usher.db", "sqlite:alias.db"];
    for to in relative.iter().copied().chain([source.url.as_str()]) {
        for (from, to) in [(source.url.as_str(), to), (to, &source.url)] {
            let text = errors(&usher(folder).args(["copy", "--from", from, "--to", to]).output().unwrap());
            assert_eq!(text, "usher: --from and --to name the same database.\n", "{from} {to}");
        }
    }
    if on_postgres() {
        let here = database(folder, "");
        copied(folder, &source.url, &here);
        let long = here.replace("postgres://", "postgresql://");
        for to in [here.clone(), format!("{here}?sslmode=disable"), long] {
            let output = copy(folder, &here, &to);
            let text = errors(&output);
            assert!(text.contains("name the same database") || text.contains("holds data already"), "{text}");
        }
    }
    assert!(rows(&source.url) == was, "something was written");
}

#[tokio::test]
async fn a_copy_goes_on_however_long_its_snapshot_had_nothing_to_do() {
    if !on_postgres() {
        return;
    }
    let app = TestApp::new().await;
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    let there = Folder::new();
    let to = Location { database: Some(there.0.join("there.db")), ..Location::at(app.path()) };
    // Longer than a transaction may be idle in which something is changed.
    let waited = AtomicBool::new(false);
    let wait = move |_| {
        if !waited.swap(true, Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(31));
        }
    };
    let copied = usher::db::copy::copy(&app.folder().location(), &to, wait).await.unwrap();
    assert_eq!((copied.users, copied.rows == copied.written), (1, true));
}

#[test]
fn the_source_is_the_database_of_the_settings_unless_another_is_named() {
    let source = Source::new();
    let to = database(&source.folder, "there.db");
    let output = usher_on(&source.folder, &source.url).arg("copy").env("USHER_COPY_TO", &to).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains(", 3 users among them; each was read back and is equal.\nStart `usher serve`"), "{text}");
    assert!(!text.contains("by an earlier run") && errors(&output).is_empty(), "{text}{}", errors(&output));
    let help = usher(&source.folder).args(["copy", "--help"]).env("USHER_COPY_TO", &to).output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.contains("Example:\n  usher copy --from") && !help.contains("hunter2"), "{help}");
}

#[test]
fn progress_is_shown_at_a_terminal_and_nowhere_else() {
    if Command::new("script").arg("--version").output().is_err() {
        return crate::harness::skip("the progress of a copy", "there is no `script`");
    }
    let source = Source::new();
    let to = database(&source.folder, "there.db");
    let line = format!("{} copy --from {} --to {to}", env!("CARGO_BIN_EXE_usher"), source.url);
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(&source.folder.0).stdin(std::process::Stdio::null());
    command.env_clear().env("USHER_DATA", &source.folder.0).env("TERM", "xterm").env("SHELL", "/bin/sh");
    let shown = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
    assert!(shown.contains(" rows  ") && shown.contains("left"), "{shown:?}");
    assert!(shown.contains("Copied ") && !shown.contains("hunter2"), "{shown:?}");
    assert_eq!(shown.lines().find_map(reveals), None, "{shown:?}");
}
