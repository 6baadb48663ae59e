//! What survives, and what refuses to start: SIGKILL, the data key, a newer schema, another process.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usher::clock::Clock;
use usher::db::{IfMissing, Store, Tx};

use crate::before_the_first::AS_THEN;
use crate::cluster::{Connection, on_postgres, shared};
use crate::harness::{But, Folder, jane};
use crate::program::{Program, call, usher};

/// An address that is no machine's: a server that ought not to get so far ends there.
const NOWHERE: &str = "192.0.2.1:1";

#[test]
fn whoever_asks_is_answered_also_when_the_log_cannot_be_written() {
    let folder = Folder::new();
    folder.database();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut serve = usher(&folder);
    serve.args(["serve", "--json", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(full);
    let mut server = serve.spawn().unwrap();
    let mut banner = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut banner).unwrap();
    let banner: Value = serde_json::from_str(&banner).unwrap();
    let (url, key) = (banner["url"].as_str().unwrap(), banner["key"].as_str().unwrap());
    let answers = [200, 409].map(|_| call(url, key, "POST", "/users/create", &jane()).0);
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(answers, [200, 409]);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut folder = Folder::new();
    let mut key = String::new();
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let mut server = Program::start_in(folder, &[]);
        if round == 0 {
            key.clone_from(&server.key);
        }
        server.key.clone_from(&key);
        let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
        let done: Vec<String> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..8)
                .map(|client| {
                    let (server, stop, written) = (&server, &stop, &written);
                    scope.spawn(move || {
                        let mut done = Vec::new();
                        for i in 0.. {
                            let email = format!("r{round}c{client}n{i}@doe.com");
                            let body = jane()
                                .but("email", json!(email))
                                .but("phonenumber", json!(format!("202{round}{client}{i:05}")));
                            if stop.load(Ordering::SeqCst) {
                                break;
                            }
                            if server.enrol(&body).0 == 200 {
                                done.push(email);
                                written.fetch_add(1, Ordering::SeqCst);
                            }
                        }
                        done
                    })
                })
                .collect();
            let began = Instant::now();
            while written.load(Ordering::SeqCst) < 50 {
                assert!(began.elapsed() < Duration::from_secs(30), "round {round} wrote {written:?}");
                std::thread::sleep(Duration::from_millis(1));
            }
            server.signal("KILL");
            stop.store(true, Ordering::SeqCst);
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        acknowledged.extend(done);
        folder = server.kill();
    }
    let server = Program::start_in(folder, &[]);
    let all = |command: &[&str], name: &str| -> Vec<String> {
        let list = server.json(&[command, &["--limit", "10000"]].concat());
        list.as_array().unwrap().iter().map(|row| row[name].as_str().unwrap().to_owned()).collect()
    };
    let (mut users, mut mails) = (all(&["user", "list"], "email"), all(&["mail", "list"], "to"));
    for email in &acknowledged {
        assert!(users.contains(email), "{email} was acknowledged and is gone");
    }
    users.sort();
    mails.sort();
    assert_eq!(users, mails, "every user has exactly one mail");
    let mut once = users.clone();
    once.dedup();
    assert_eq!(users.len(), once.len());
}

#[test]
fn a_missing_or_wrong_data_key_refuses_to_start_and_writes_nothing() {
    let (_, _, folder) = Program::start(&[]).stop();
    let key_file = folder.0.join("data.key");
    let right = fs::read(&key_file).unwrap();
    let other = Folder::new();
    assert!(usher(&other).args(["app", "create", "Other"]).status().unwrap().success());
    let wrong = fs::read(other.0.join("data.key")).unwrap();
    for (content, words) in [
        (None, "the data key"),
        (Some(wrong), "is not the data key of this database"),
        (Some(b"nonsense".to_vec()), "is not a data key"),
    ] {
        match &content {
            None => fs::remove_file(&key_file).unwrap(),
            Some(bytes) => fs::write(&key_file, bytes).unwrap(),
        }
        let before = contents(&folder);
        for command in [
            vec!["serve", "--listen", "127.0.0.1:0"],
            vec!["app", "create", "X"],
            vec!["user", "list"],
            vec!["migrate"],
        ] {
            let output = usher(&folder).args(&command).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{command:?}");
            assert!(
                text.contains(words) && text.contains("--key-file") || text.contains("is not a data key"),
                "{text}"
            );
        }
        assert_eq!(before, contents(&folder), "something was written");
    }
    fs::write(&key_file, &right).unwrap();
    let elsewhere = other.0.join("elsewhere.key");
    fs::rename(&key_file, &elsewhere).unwrap();
    let given = usher(&folder).args(["app", "list", "--key-file", elsewhere.to_str().unwrap()]).output().unwrap();
    assert!(given.status.success(), "the key can be given by file");
}

#[test]
fn an_empty_data_key_is_not_replaced_and_a_first_start_leaves_nothing_but_data() {
    crate::cluster::about_the_file!();
    let folder = Folder::new();
    fs::write(folder.0.join("data.key"), "").unwrap();
    for command in [vec!["serve", "--listen", NOWHERE], vec!["app", "create", "X"]] {
        let output = usher(&folder).args(&command).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        assert!(text.contains("is not a data key"), "{text}");
        assert_eq!(contents(&folder), [("data.key".to_owned(), Vec::new())]);
    }
    let server = Program::first_start(&[]);
    let mut names: Vec<String> = fs::read_dir(&server.folder.0)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| !["usher.db-wal", "usher.db-shm"].contains(&name.as_str()))
        .collect();
    names.sort();
    assert_eq!(names, ["data.key", "usher.db"]);
}

#[test]
fn a_database_that_is_not_ours_is_left_alone() {
    crate::cluster::about_the_file!();
    let folder = Folder::new();
    let theirs = rusqlite::Connection::open(folder.0.join("theirs.db")).unwrap();
    theirs.execute_batch("CREATE TABLE meta (name TEXT, value TEXT); INSERT INTO meta VALUES ('seal', 'x');").unwrap();
    let notes = rusqlite::Connection::open(folder.0.join("notes.db")).unwrap();
    notes.execute_batch("CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('buy milk');").unwrap();
    drop((theirs, notes));
    fs::write(folder.0.join("text.db"), "This is no database at all, just a text of some length.".repeat(20)).unwrap();
    fs::write(folder.0.join("empty.db"), "").unwrap();
    let before = contents(&folder);
    let (reads, writes) = (
        [vec!["user", "list"], vec!["mail", "list"], vec!["doctor"]],
        [vec!["serve", "--listen", NOWHERE], vec!["app", "create", "X"], vec!["migrate"]],
    );
    for (file, commands, words) in [
        ("notes.db", [&reads[..], &writes].concat(), "not an Usher database"),
        ("theirs.db", [&reads[..], &writes].concat(), ""),
        ("text.db", [&reads[..], &writes].concat(), ""),
        ("empty.db", reads.to_vec(), "not an Usher database"),
    ] {
        for command in commands {
            let output =
                usher(&folder).args(&command).args(["--database", &format!("sqlite:{file}")]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{command:?} {file}: {text}");
            assert!(text.contains(words) && text.contains(file), "{command:?} {file}: {text}");
            assert_eq!(contents(&folder), before, "{command:?} {file}: something was written");
        }
    }
}

/// Every file with its bytes; SQLite's side files may come and go while they are empty.
fn contents(folder: &Folder) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(&folder.0)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .filter(|(name, bytes)| !(name.ends_with("-shm") || name.ends_with("-wal") && bytes.is_empty()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused() {
    let folder = Folder::new();
    let open = async || Store::open(&folder.location(), Clock::System, IfMissing::Create).await;
    let store = open().await.unwrap();
    let newer = "INSERT INTO migrations (version, name, applied_at) VALUES (999, 'later', 0)";
    store.write(move |tx| tx.execute(newer, &[])).await.unwrap();
    drop(store);
    let refused = open().await.err().expect("a newer schema is refused").to_string();
    assert!(refused.contains("a newer Usher made this database"), "{refused}");
}

#[test]
fn what_other_programs_have_in_the_same_schema_is_left_as_it_is() {
    if !on_postgres() {
        return;
    }
    let folder = Folder::new();
    let database = folder.database().unwrap().rsplit('/').next().unwrap().to_owned();
    let theirs = "CREATE TABLE orders (customer TEXT); CREATE VIEW customers AS SELECT customer FROM orders";
    shared().sql(&database, theirs);
    let made = usher(&folder).arg("migrate").output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let orders_of = |table: &str| {
        let sql = "SELECT DISTINCT COALESCE(collation_name, 'that of the database') FROM information_schema.columns";
        shared().sql(&database, &format!("{sql} WHERE table_name = '{table}' AND data_type = 'text'"))
    };
    assert_eq!((orders_of("orders").as_str(), orders_of("users").as_str()), ("that of the database", "C"));
}

#[test]
fn a_database_with_migrations_of_another_program_is_refused_and_nothing_is_made_in_it() {
    if !on_postgres() {
        return;
    }
    let folder = Folder::new();
    let database = folder.database().unwrap();
    let beside = Connection::to(&database);
    beside.sql(
        "CREATE TABLE migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL);
         INSERT INTO migrations (version, name, applied_at) VALUES (1, 'orders', 0)",
    );
    for _ in 0..2 {
        let output = usher(&folder).arg("migrate").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("it has the migration orders"), "{said}");
    }
    assert_eq!(beside.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"), "migrations");
}

#[test]
fn why_the_tables_could_not_be_made_is_said() {
    if !on_postgres() {
        return;
    }
    let folder = Folder::new();
    let url = folder.database().unwrap();
    let database = url.rsplit('/').next().unwrap();
    shared().sql(database, &format!("CREATE ROLE guest_{database} LOGIN"));
    let as_guest = url.replace("usher@", &format!("guest_{database}@"));
    let output = usher(&folder).env("USHER_DATABASE", as_guest).arg("migrate").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("permission denied for schema public"), "{said}");
}

#[tokio::test]
async fn a_database_of_a_build_before_the_first_release_is_taken_over() {
    let server = Program::start(&[]);
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let (_, _, folder) = server.stop();
    let store = Store::open(&folder.location(), Clock::System, IfMissing::Refuse).await.unwrap();
    let as_then = |tx: &Tx| {
        for sql in AS_THEN {
            tx.execute(sql, &[])?;
        }
        Ok(())
    };
    store.write(as_then).await.unwrap();
    drop(store);
    let doctor = usher(&folder).args(["doctor"]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&doctor.stdout).contains("`usher migrate` or a start brings it there"),
        "{doctor:?}"
    );
    let shown = usher(&folder).args(["user", "show", &id]).output().unwrap();
    assert!(shown.status.success(), "{shown:?}");
    let store = Store::open(&folder.location(), Clock::System, IfMissing::Refuse).await.unwrap();
    let names = store.read(|tx| tx.query("SELECT name FROM migrations", &[])).await.unwrap();
    let names: Vec<String> = names.iter().map(|row| row.get(0).unwrap()).collect();
    assert_eq!(names.first().map(String::as_str), Some("0001_tables"), "{names:?}");
    let count = async |what: &str| {
        let sql = format!("SELECT COUNT(*) FROM {what}");
        store.read(move |tx| tx.query(&sql, &[])).await.unwrap()[0].get::<i64>(0).unwrap()
    };
    assert_eq!(count("imports WHERE state = 'broken' AND due_at IS NULL").await, 1, "nobody comes back by it");
    assert_eq!((count("imports").await, count("import_files").await, count("import_erased").await), (1, 0, 0));
    assert_eq!(count("key_calls WHERE api_date = '2023-08-22' AND called_at = 1").await, count("keys").await);
    let still_read = "SELECT older_version, older_version_at FROM keys";
    assert!(store.read(|tx| tx.query(still_read, &[])).await.is_ok(), "servers of the version before ask for them");
    for index in ["tenants_organisations", "tenants_newest", "outbox_in_order", "outbox_waits", "audit_of_no_user"] {
        store.write(move |tx| tx.execute(&format!("DROP INDEX {index}"), &[])).await.expect("the index is there");
    }
    assert!(store.read(|tx| tx.query("SELECT erased FROM imports", &[])).await.is_err(), "the column is gone");
    assert!(store.write(|tx| tx.execute("DROP INDEX sign_ins_sent", &[])).await.is_err(), "nobody reads it");
}

#[tokio::test]
async fn doctor_tells_of_an_older_schema_and_does_not_change_it() {
    let server = Program::start(&[]);
    let (_, _, folder) = server.stop();
    let store = Store::open(&folder.location(), Clock::System, IfMissing::Refuse).await.unwrap();
    let older = "DELETE FROM migrations WHERE version = (SELECT MAX(version) FROM migrations)";
    store.write(move |tx| tx.execute(older, &[])).await.unwrap();
    drop(store);
    let output = usher(&folder).args(["doctor"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let line = text.lines().find(|line| line.contains("schema version")).unwrap();
    assert!(line.contains("PROBLEM") && line.contains("`usher migrate`"), "{text}");
    assert!(text.contains("data key file"), "the rest is told: {text}");
    let again = usher(&folder).args(["doctor"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&again.stdout).lines().find(|l| l.contains("schema version")), Some(line));
}

#[tokio::test]
async fn an_operation_that_fails_or_panics_leaves_nothing_and_harms_no_other() {
    let folder = Folder::new();
    let store = Store::open(&folder.location(), Clock::System, IfMissing::Create).await.unwrap();
    let insert = |name: String, then: fn() -> usher::error::Result<()>| {
        let store = store.clone();
        async move {
            store
                .write(move |tx| {
                    tx.execute(&format!("INSERT INTO meta (name, value) VALUES ('{name}', 'x')"), &[])?;
                    then()
                })
                .await
        }
    };
    let mut all: Vec<std::pin::Pin<Box<dyn Future<Output = usher::error::Result<()>>>>> = Vec::new();
    for i in 0..60 {
        let then: fn() -> usher::error::Result<()> = match i % 3 {
            0 => || Ok(()),
            1 => || Err(usher::error::Error::UserNotFound),
            _ => || panic!("on purpose"),
        };
        all.push(Box::pin(insert(format!("row{i}"), then)));
    }
    let outcomes = futures_util::future::join_all(all).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 20);
    let rows = store.read(|tx| tx.query("SELECT name FROM meta WHERE name LIKE 'row%'", &[])).await.unwrap();
    assert_eq!(rows.len(), 20);
    let read = store.read(|_| -> usher::error::Result<()> { panic!("on purpose") }).await;
    assert!(read.is_err_and(|e| e.code() == "internal"), "a read that panics is an error too");
}

#[test]
fn commands_write_beside_a_busy_server() {
    let server = Program::start(&[]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut created = 0;
            for i in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let body = jane()
                    .but("email", json!(format!("n{i}@doe.com")))
                    .but("phonenumber", json!(format!("20255{i:05}")));
                assert_eq!(server.enrol(&body).0, 200);
                created += 1;
            }
            created
        });
        for i in 0..10 {
            server.json(&[
                "key",
                "create",
                "--app",
                &server.client_id,
                "--environment",
                "sandbox",
                "--access",
                "read",
                "--tenant",
                &format!("t{i}"),
            ]);
        }
        stop.store(true, Ordering::SeqCst);
        assert!(load.join().unwrap() > 0);
    });
    assert_eq!(server.json(&["key", "list"]).as_array().unwrap().len(), 11);
}
