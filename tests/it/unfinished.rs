//! `usher copy` that is cut off and goes on, and `usher copy` beside a server that writes.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usher::db::{Store, Value as Cell};
use usher::secret::sha256;

use crate::cluster::{self, Connection};
use crate::copy::{assert_same, copied, copy, database, errors, file, open, usher_on};
use crate::harness::{But, Folder, jane};
use crate::load::beside;
use crate::program::{Program, usher};

const WORDS: &str =
    "this database is an unfinished copy. Run the same `usher copy` again; it goes on where it stopped.";

/// An installation in a file, with so many users.
fn source(users: usize) -> (Folder, String, String) {
    let folder = Folder::new();
    let from = file(&folder, "usher.db");
    let server = Program::start_with(folder, &[("USHER_DATABASE", &from)], &[]);
    for i in 0..users {
        assert_eq!(server.enrol(&nth(i)).0, 200);
    }
    let key = server.key.clone();
    (server.stop().2, from, key)
}

fn nth(i: usize) -> Value {
    jane().but("email", json!(format!("n{i}@doe.com"))).but("phonenumber", json!(format!("2025{i:06}")))
}

async fn execute(store: &Store, sql: &'static str, values: Vec<Cell<'static>>) -> usize {
    store.write(move |tx| tx.execute(sql, &values)).await.unwrap()
}

async fn count(store: &Store, sql: &'static str) -> i64 {
    store.read(move |tx| tx.query(sql, &[])).await.unwrap()[0].get(0).unwrap()
}

/// What a copy of `from` that was cut off has in its target.
async fn mark_of(folder: &Folder, from: &str) -> Vec<u8> {
    let seal = "SELECT value FROM meta WHERE name = 'seal'";
    let rows = open(folder, from).await.read(move |tx| tx.query(seal, &[])).await.unwrap();
    sha256(&rows[0].get::<Vec<u8>>(0).unwrap()).to_vec()
}

async fn mark(store: &Store, mark: Vec<u8>) {
    execute(store, "INSERT INTO meta (name, value) VALUES ('copy', $1)", vec![mark.into()]).await;
}

/// Adds rows of two kilobytes, so that a copy takes a while.
async fn ballast(store: &Store, rows: usize) {
    let environment = store.read(|tx| tx.query("SELECT id FROM environments", &[])).await.unwrap();
    let environment: Vec<u8> = environment[0].get(0).unwrap();
    for start in (0..rows).step_by(500) {
        let values: Vec<Cell<'static>> = (start..rows.min(start + 500))
            .flat_map(|i| {
                let owner = sha256(&i.to_be_bytes()).to_vec();
                let answer: Vec<u8> = owner.iter().copied().cycle().take(2000).collect();
                [owner.into(), environment.clone().into(), vec![0_u8].into(), answer.into(), 0_i64.into()]
            })
            .collect();
        let row = |i: usize| format!("({})", (1..=5).map(|c| format!("${}", i * 5 + c)).collect::<Vec<_>>().join(", "));
        let places: Vec<String> = (0..values.len() / 5).map(row).collect();
        let columns = "owner, environment_id, fingerprint, answer, created_at";
        let sql = format!("INSERT INTO idempotency ({columns}) VALUES {}", places.join(", "));
        store.write(move |tx| tx.execute(&sql, &values)).await.unwrap();
    }
}

/// Fails unless every command that there is refuses the database.
fn assert_refused(folder: &Folder, url: &str, port: &str) {
    let new = file(folder, "new.db");
    let embedded = url.starts_with("sqlite:").then(|| vec!["backup", "new-backup.db"]);
    for command in embedded.into_iter().chain([
        vec!["serve", "--listen", port],
        vec!["app", "list"],
        vec!["app", "create", "Other"],
        vec!["key", "list"],
        vec!["user", "list"],
        vec!["user", "show", "n1@doe.com"],
        vec!["user", "freeze", "n1@doe.com"],
        vec!["mail", "list"],
        vec!["token", "create", "--user", "11111111-1111-4111-8111-111111111111"],
        vec!["doctor"],
        vec!["migrate"],
        vec!["copy", "--to", &new],
    ]) {
        let output = usher_on(folder, url).args(&command).output().unwrap();
        assert_eq!((output.status.code(), errors(&output)), (Some(1), format!("usher: {WORDS}\n")), "{command:?}");
    }
    assert!(!folder.0.join("new.db").exists());
}

#[tokio::test]
async fn a_copy_that_was_cut_off_is_refused_by_every_command_until_it_has_gone_on() {
    let (folder, from, key) = source(12);
    let (to, back) = (database(&folder, "there.db"), file(&folder, "back.db"));
    let rows = copied(&folder, &from, &to)["rows"].as_u64().unwrap();
    let store = open(&folder, &to).await;
    mark(&store, mark_of(&folder, &from).await).await;
    let mut gone = 0;
    for sql in ["DELETE FROM links", "DELETE FROM outbox", "UPDATE users SET profile = '{}' WHERE email < 'n2'"] {
        gone += execute(&store, sql, vec![]).await as u64;
    }
    drop(store);
    assert_refused(&folder, &to, "192.0.2.1:1");

    let again = copied(&folder, &from, &to);
    assert_eq!(again, json!({"rows": rows, "written": gone, "users": 12, "verified": true}));
    assert!(gone > 24 && gone < rows);
    copied(&folder, &to, &back);
    assert_same(&from, &back);
    let server = Program::start_with(folder, &[("USHER_DATABASE", &to)], &[]);
    assert_eq!(server.call_as(&key, "POST", "/users/update", &json!({"email": "n1@doe.com"})).0, 200);
}

#[tokio::test]
async fn a_copy_goes_on_in_words_and_only_from_the_database_that_it_began_with() {
    let (folder, from, _) = source(3);
    let other = file(&folder, "other.db");
    assert!(usher_on(&folder, &other).args(["app", "create", "Other"]).output().unwrap().status.success());
    let to = database(&folder, "there.db");
    let rows = copied(&folder, &from, &to)["rows"].as_u64().unwrap();
    let store = open(&folder, &to).await;
    mark(&store, mark_of(&folder, &from).await).await;
    execute(&store, "DELETE FROM links", vec![]).await;
    let users = count(&store, "SELECT COUNT(*) FROM users").await;

    let refused = copy(&folder, &other, &to);
    let text = r#"{"error":"--to holds an unfinished copy of another database. Name an empty one."}"#;
    assert_eq!((refused.status.code(), errors(&refused).trim()), (Some(1), text));
    assert_eq!((count(&store, "SELECT COUNT(*) FROM users").await, users), (3, 3));
    assert_eq!(count(&store, "SELECT COUNT(*) FROM links").await, 0, "nothing was written");

    let output = usher(&folder).args(["copy", "--from", &from, "--to", &to]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = format!("Copied {rows} rows, {} of them by an earlier run, 3 users among them; ", rows - 3);
    assert!(said.starts_with(&begin), "{said}");

    // What the source has lost since the cut must not stay in the copy.
    mark(&store, mark_of(&folder, &from).await).await;
    let source = open(&folder, &from).await;
    execute(&source, "DELETE FROM links", vec![]).await;
    let refused = errors(&copy(&folder, &from, &to));
    let words = "--from has changed since an earlier run: links has rows in --to that are gone or changed hands. Empty the \
                 database of --to and copy again.";
    assert!(refused.contains(words), "{refused}");
    let refused = usher_on(&folder, &to).args(["user", "list"]).output().unwrap();
    assert!(errors(&refused).contains(WORDS), "{}", errors(&refused));
}

#[tokio::test]
async fn a_copy_that_was_killed_in_the_midst_goes_on_where_it_stopped() {
    let (folder, from, _) = source(5);
    ballast(&open(&folder, &from).await, 8000).await;
    let (to, back) = (database(&folder, "there.db"), file(&folder, "back.db"));
    let there = cluster::on_postgres().then(|| Connection::to(&to));
    let arrived = || {
        let sql = "SELECT COUNT(*) FROM idempotency";
        if let Some(there) = &there {
            return there.try_sql(sql).ok().and_then(|text| text.trim().parse::<u64>().ok());
        }
        let there = rusqlite::Connection::open_with_flags(
            folder.0.join("there.db"),
            rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY,
        );
        there.ok()?.query_row(sql, [], |row| row.get::<_, i64>(0)).ok().map(i64::cast_unsigned)
    };
    let mut command = usher(&folder);
    let mut child = command.args(["copy", "--from", &from, "--to", &to]).stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while arrived().unwrap_or(0) < 500 {
        assert!(start.elapsed() < Duration::from_secs(30) && child.try_wait().unwrap().is_none(), "it never got there");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    let before = arrived().unwrap();
    assert!((500..8000).contains(&before), "the kill came in the midst: {before}");
    assert_refused(&folder, &to, "192.0.2.1:1");

    let again = copied(&folder, &from, &to);
    let (rows, written) = (again["rows"].as_u64().unwrap(), again["written"].as_u64().unwrap());
    assert!(rows > 8000 && written < rows - 500 && written >= 8000 - before, "{again}, {before} before");
    copied(&folder, &to, &back);
    assert_same(&from, &back);
}

#[tokio::test]
async fn a_copy_beside_a_server_that_writes_is_of_one_moment_and_holds_up_nobody() {
    let server = Program::start(&[]);
    let from = database(&server.folder, "usher.db");
    let to = file(&server.folder, "copy.db");
    ballast(&open(&server.folder, &from).await, 8000).await;
    let enrolled = beside(&server, || {
        copied(&server.folder, &from, &to);
    });
    let copy = open(&server.folder, &to).await;
    let users = count(&copy, "SELECT COUNT(*) FROM users").await;
    let later = i64::try_from(enrolled.before.len() + enrolled.during).unwrap();
    assert!(users < later, "{users} of {later}: it has what came after it began");
    for (what, sql) in [
        ("link", "SELECT COUNT(*) FROM links l JOIN users u ON u.id = l.user_id"),
        ("mail", "SELECT COUNT(*) FROM outbox o JOIN users u ON u.id = o.user_id"),
        ("entry", "SELECT COUNT(*) FROM audit a JOIN users u ON u.id = a.user_id"),
        ("link", "SELECT COUNT(*) FROM links"),
        ("mail", "SELECT COUNT(*) FROM outbox"),
        ("entry", "SELECT COUNT(*) FROM audit WHERE user_id IS NOT NULL"),
    ] {
        assert_eq!(count(&copy, sql).await, users, "every user has one {what}, and every {what} its user");
    }
    let broken = copy.read(|tx| tx.query("SELECT * FROM pragma_foreign_key_check", &[])).await.unwrap();
    assert_eq!(broken.len(), 0, "a row refers to one that is missing");
    let emails = copy.read(|tx| tx.query("SELECT email FROM users", &[])).await.unwrap();
    let emails: BTreeSet<String> = emails.iter().map(|row| row.get(0).unwrap()).collect();
    let missing: Vec<_> = enrolled.before.iter().filter(|email| !emails.contains(*email)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "acknowledged before the copy and not in it");
}
