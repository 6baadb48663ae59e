//! Backups as they are made, also beside a busy server. They are the embedded engine's; PostgreSQL has its own.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::doctor::finding;
use crate::harness::{But, Folder, jane, john};
use crate::program::{Program, usher};

pub fn run(folder: &Folder, command: &str, file: &Path) -> Output {
    usher(folder).arg(command).arg(file).output().unwrap()
}

#[track_caller]
pub fn done(folder: &Folder, command: &str, file: &Path) -> Value {
    done_with(folder, &[command], file)
}

#[track_caller]
pub fn done_with(folder: &Folder, command: &[&str], file: &Path) -> Value {
    let output = usher(folder).args(command).arg("--json").arg(file).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", errors(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory that holds the data key of another and nothing else.
pub fn with_key_of(folder: &Folder) -> Folder {
    let empty = Folder::new();
    fs::copy(folder.0.join("data.key"), empty.0.join("data.key")).unwrap();
    empty
}

/// A server that has stopped, with two users, and its backup in a directory of its own.
pub fn backed_up() -> (Folder, Folder, PathBuf) {
    backed_up_as(&["backup"])
}

/// The same, for those who change what is in the backup.
pub fn plainly_backed_up() -> (Folder, Folder, PathBuf) {
    backed_up_as(&["backup", "--plain"])
}

fn backed_up_as(command: &[&str]) -> (Folder, Folder, PathBuf) {
    let server = Program::start(&[]);
    for person in [jane(), john()] {
        assert_eq!(server.enrol(&person).0, 200);
    }
    let folder = server.stop().2;
    let shelf = Folder::new();
    let file = shelf.0.join("copy.db");
    done_with(&folder, command, &file);
    (folder, shelf, file)
}

pub fn listing(folder: &Folder) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(&folder.0)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

pub fn names(folder: &Folder) -> Vec<String> {
    listing(folder).into_iter().map(|(name, _)| name).collect()
}

pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub fn database(folder: &Folder) -> rusqlite::Connection {
    rusqlite::Connection::open(folder.0.join("usher.db")).unwrap()
}

#[test]
fn a_backup_under_load_has_every_user_that_was_acknowledged_before_it_and_the_writes_go_on() {
    crate::cluster::about_the_file!();
    let server = Program::start(&[]);
    // Ballast, so that the backup takes a while.
    database(&server.folder)
        .execute_batch(
            "INSERT INTO idempotency (owner, environment_id, fingerprint, answer, created_at)
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
             SELECT randomblob(32), (SELECT id FROM environments LIMIT 1), x'00', randomblob(8000),
                    unixepoch() * 1000 FROM n",
        )
        .unwrap();
    let acknowledged = Mutex::new(Vec::new());
    let stop = AtomicBool::new(false);
    let count = || acknowledged.lock().unwrap().len();
    let shelf = Folder::new();
    let file = shelf.0.join("copy.db");
    let (before, during, report) = std::thread::scope(|scope| {
        for client in 0..4 {
            let (server, acknowledged, stop) = (&server, &acknowledged, &stop);
            scope.spawn(move || {
                for i in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let email = format!("c{client}n{i}@doe.com");
                    let phone = format!("202{client}{i:06}");
                    let body = jane().but("email", json!(email)).but("phonenumber", json!(phone));
                    assert_eq!(server.enrol(&body).0, 200, "a write failed beside the backup");
                    acknowledged.lock().unwrap().push(email);
                }
            });
        }
        while count() < 40 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let before = acknowledged.lock().unwrap().clone();
        let mut command = usher(&server.folder);
        command.args(["backup", "--json"]).arg(&file).stdout(Stdio::piped());
        let mut backup = command.spawn().unwrap();
        let mut seen = Vec::new();
        while backup.try_wait().unwrap().is_none() {
            if let Ok(copy) = fs::metadata(server.folder.0.join(".usher.db.plain")) {
                seen.push((copy.len(), count()));
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        stop.store(true, Ordering::SeqCst);
        let output = backup.wait_with_output().unwrap();
        assert!(output.status.success());
        let whole = seen.iter().map(|(size, _)| *size).max().unwrap();
        let copying: Vec<usize> = seen.into_iter().filter(|(size, _)| (1..whole).contains(size)).map(|s| s.1).collect();
        let during = copying.last().unwrap_or(&0) - copying.first().unwrap_or(&0);
        (before, during, serde_json::from_slice::<Value>(&output.stdout).unwrap())
    });
    // Of a server that was held up, each client would see the end of one write at the most.
    assert!(during > 8, "only {during} writes were acknowledged while the copy grew");
    assert_eq!((&report["file"], &report["verified"]), (&json!(file), &json!(true)));
    assert_eq!(report["bytes"], json!(fs::metadata(&file).unwrap().len()));

    let folder = with_key_of(&server.folder);
    done(&folder, "restore", &file);
    let check: String = database(&folder).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let all = |command: &[&str], name: &str| -> Vec<String> {
        let output = usher(&folder).args(command).args(["--limit", "10000", "--json"]).output().unwrap();
        let list: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut all: Vec<_> =
            list.as_array().unwrap().iter().map(|row| row[name].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    };
    let (users, mails) = (all(&["user", "list"], "email"), all(&["mail", "list"], "to"));
    let there: HashSet<&String> = users.iter().collect();
    let missing: Vec<_> = before.iter().filter(|email| !there.contains(email)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "acknowledged before the backup and not in it");
    assert_eq!(users, mails, "the copy is of one moment: every user has their mail");
    assert_eq!(report["users"], json!(users.len()));
    assert!(users.len() < count(), "the copy has what was written after it: it is no copy");
}

#[test]
fn a_backup_overwrites_nothing() {
    crate::cluster::about_the_file!();
    let (folder, shelf, good) = backed_up();
    let before = listing(&shelf);
    for file in [good.clone(), folder.0.join("usher.db"), shelf.0.clone()] {
        let output = run(&folder, "backup", &file);
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains("exists, and nothing is overwritten"), "{}", errors(&output));
    }
    let nowhere = run(&folder, "backup", &shelf.0.join("no/such/directory.db"));
    assert!(errors(&nowhere).contains("cannot be written"), "{}", errors(&nowhere));
    assert_eq!(listing(&shelf), before);
}

#[test]
fn of_several_backups_to_one_file_one_is_made_and_a_draft_that_was_left_does_no_harm() {
    crate::cluster::about_the_file!();
    let (folder, shelf, _) = backed_up();
    let file = shelf.0.join("contested.db");
    fs::write(shelf.0.join(".contested.db.draft"), "left by one that was killed").unwrap();
    let made: usize = std::thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|_| scope.spawn(|| run(&folder, "backup", &file))).collect();
        let outcomes = all.into_iter().map(|one| one.join().unwrap());
        outcomes
            .inspect(|output| {
                let text = errors(output);
                let is_clear = text.contains("exists, and") || text.contains("another `usher backup`");
                assert!(output.status.success() || is_clear, "{text}");
            })
            .filter(|output| output.status.success())
            .count()
    });
    assert_eq!(made, 1);
    assert_eq!(names(&shelf), ["contested.db", "copy.db"]);
    done(&with_key_of(&folder), "restore", &file);
}

#[test]
fn a_backup_and_what_is_restored_are_readable_by_their_owner_only_and_need_no_other_file() {
    crate::cluster::about_the_file!();
    let (folder, shelf, good) = backed_up();
    assert_eq!(names(&shelf), ["copy.db"]);
    assert_eq!(mode(&good), 0o600);
    // Backups are carried about: whatever the mode of the file that comes back, the database's is private.
    fs::set_permissions(&good, fs::Permissions::from_mode(0o644)).unwrap();
    let empty = with_key_of(&folder);
    done(&empty, "restore", &good);
    assert_eq!(mode(&empty.0.join("usher.db")), 0o600);
    assert_eq!(names(&empty), ["data.key", "usher.db"]);
    let new = shelf.0.join("new directory?");
    let key = folder.0.join("data.key");
    let output = usher(&folder).arg("restore").arg(&good).arg("--data").arg(&new).arg("--key-file").arg(&key).output();
    assert!(output.as_ref().unwrap().status.success(), "{}", errors(&output.unwrap()));
    assert_eq!((mode(&new), mode(&new.join("usher.db"))), (0o700, 0o600));
    let plain = shelf.0.join("plain.db");
    done_with(&folder, &["backup", "--plain"], &plain);
    assert_eq!(names(&shelf), ["copy.db", "new directory?", "plain.db"]);
    assert_eq!(mode(&plain), 0o600);
    assert_eq!(fs::read(&plain).unwrap()[18..20], [1, 1], "the file wants no write-ahead log beside it");
}

#[test]
fn a_backup_of_a_damaged_database_fails_and_leaves_nothing() {
    crate::cluster::about_the_file!();
    let (folder, shelf, _) = backed_up();
    // An index that misses a row: every page is well, and only a full check finds it.
    let live = database(&folder);
    live.execute_batch(
        "PRAGMA writable_schema = ON;
         CREATE TABLE hidden AS SELECT sql FROM sqlite_schema WHERE name = 'users_newest';
         UPDATE sqlite_schema SET sql = sql || ' WHERE created_at < 0' WHERE name = 'users_newest';",
    )
    .unwrap();
    drop(live);
    let live = database(&folder);
    live.execute_batch(
        "REINDEX users_newest; PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = (SELECT sql FROM hidden) WHERE name = 'users_newest';",
    )
    .unwrap();
    drop(live);
    let before = listing(&shelf);
    let output = run(&folder, "backup", &shelf.0.join("again.db"));
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains("usher.db is damaged"), "{}", errors(&output));
    assert_eq!(listing(&shelf), before);
    assert!(!names(&folder).iter().any(|name| name.contains("plain")), "the readable copy was left");
    assert_eq!(finding(&folder, "integrity").0, "PROBLEM");
}

#[test]
fn for_postgresql_the_commands_name_the_tools_that_do_it() {
    let folder = Folder::new();
    for command in ["backup", "restore"] {
        let elsewhere = ["--database", "postgres://nobody@127.0.0.1:1/nothing"];
        let output = usher(&folder).args([command, "copy.db"]).args(elsewhere).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains("pg_dump"), "{}", errors(&output));
        assert_eq!(names(&folder), Vec::<String>::new());
    }
}
