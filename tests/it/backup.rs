//! Backups: taken beside a busy server, encrypted, put back, and refused when they are not whole. They are the embedded
//! engine's; PostgreSQL has its own.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{But, Folder, jane, john};
use crate::program::{Program, usher};

fn run(folder: &Folder, command: &str, file: &Path) -> Output {
    usher(folder).arg(command).arg(file).output().unwrap()
}

#[track_caller]
fn done(folder: &Folder, command: &str, file: &Path) -> Value {
    done_with(folder, &[command], file)
}

#[track_caller]
fn done_with(folder: &Folder, command: &[&str], file: &Path) -> Value {
    let output = usher(folder).args(command).arg("--json").arg(file).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", errors(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory that holds the data key of another and nothing else.
fn with_key_of(folder: &Folder) -> Folder {
    let empty = Folder::new();
    fs::copy(folder.0.join("data.key"), empty.0.join("data.key")).unwrap();
    empty
}

/// A server that has stopped, with two users, and its backup in a directory of its own.
fn backed_up() -> (Folder, Folder, PathBuf) {
    backed_up_as(&["backup"])
}

/// The same, for those who change what is in the backup.
fn plainly_backed_up() -> (Folder, Folder, PathBuf) {
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

fn listing(folder: &Folder) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(&folder.0)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

fn names(folder: &Folder) -> Vec<String> {
    listing(folder).into_iter().map(|(name, _)| name).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub fn finding(folder: &Folder, what: &str) -> (String, String) {
    let output = usher(folder).args(["doctor", "--json"]).output().unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = findings.as_array().unwrap().iter().find(|f| f["what"] == what).expect(what).clone();
    (found["state"].as_str().unwrap().to_owned(), found["value"].as_str().unwrap().to_owned())
}

fn database(folder: &Folder) -> rusqlite::Connection {
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
fn a_server_on_a_restored_directory_knows_the_users_and_the_keys() {
    crate::cluster::about_the_file!();
    let server = Program::start(&[]);
    let key = server.key.clone();
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let shelf = Folder::new();
    let file = shelf.0.join("copy.db");
    done(&server.folder, "backup", &file);
    assert_eq!(server.enrol(&john()).0, 200);
    let folder = with_key_of(&server.folder);
    let report = done(&folder, "restore", &file);
    assert_eq!((&report["users"], &report["file"]), (&json!(1), &json!(folder.0.join("usher.db"))));
    let restored = Program::start_in(folder, &[]);
    let update = |email: &str| restored.call_as(&key, "POST", "/users/update", &json!({"email": email})).0;
    assert_eq!((update("jane@doe.com"), update("john@doe.com")), (200, 404));
    let user = restored.json(&["user", "show", &id, "--reveal", "a restore"]);
    assert_eq!((&user["email"], &user["health"]["height"]), (&json!("jane@doe.com"), &json!("5ft 6in")));
}

#[test]
fn who_was_signed_in_when_a_backup_was_made_is_not_after_its_restore_unless_that_is_wanted() {
    crate::cluster::about_the_file!();
    let server = Program::start(&[]);
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let token = server.json(&["token", "create", "--user", &id])["accessToken"].as_str().unwrap().to_owned();
    let me = |server: &Program| server.call_as(&token, "GET", "/v1/users/me", &Value::Null).0;
    assert_eq!(me(&server), 200);
    let shelf = Folder::new();
    let file = shelf.0.join("copy.db");
    done(&server.folder, "backup", &file);
    // Since then her telephone was stolen.
    server.json(&["session", "revoke", "jane@doe.com", "--all"]);
    for (keeps, status, words) in [(false, 401, "Sessions ended: 1"), (true, 200, "usher session revoke-all")] {
        let folder = with_key_of(&server.folder);
        let mut command = usher(&folder);
        command.arg("restore").arg(&file).args(keeps.then_some("--keep-sessions"));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", errors(&output));
        assert!(said.contains(words) && said.contains("revoke again what was revoked since"), "{said}");
        assert_eq!(names(&folder), ["data.key", "usher.db"], "it needs no other file");
        let restored = Program::start_in(folder, &[]);
        assert_eq!(me(&restored), status);
        let noted = restored.json(&["audit", "list", "--action", "sessions.ended"]);
        assert_eq!(noted.as_array().unwrap().len(), if keeps { 0 } else { 3 }, "{noted}");
        assert_eq!(restored.json(&["session", "revoke-all"])["sessionsEnded"], json!(i32::from(keeps)));
        assert_eq!(restored.json(&["session", "list", "jane@doe.com"]), json!([]));
    }
}

#[test]
fn what_is_no_whole_backup_is_refused_with_the_reason_and_leaves_nothing() {
    crate::cluster::about_the_file!();
    let (folder, shelf, good) = plainly_backed_up();
    let make = |name: &str, content: &[u8]| {
        let path = shelf.0.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let bytes = fs::read(&good).unwrap();
    let newer = make("newer.db", &bytes);
    rusqlite::Connection::open(&newer)
        .unwrap()
        .execute_batch("INSERT INTO migrations (version, name, applied_at) VALUES (999, 'later', 0)")
        .unwrap();
    let notes = shelf.0.join("notes.db");
    rusqlite::Connection::open(&notes).unwrap().execute_batch("CREATE TABLE notes (text TEXT)").unwrap();
    let theirs = shelf.0.join("theirs.db");
    rusqlite::Connection::open(&theirs)
        .unwrap()
        .execute_batch("CREATE TABLE meta (name TEXT, value TEXT); INSERT INTO meta VALUES ('seal', 'x')")
        .unwrap();
    let with_wal = make("with_wal.db", &bytes);
    make("with_wal.db-wal", b"changes");
    let with_journal = make("with_journal.db", &bytes);
    make("with_journal.db-journal", b"changes");
    let other = Folder::new();
    assert!(usher(&other).args(["app", "create", "Other"]).status().unwrap().success());
    let (right, wrong) = (fs::read(folder.0.join("data.key")).unwrap(), fs::read(other.0.join("data.key")).unwrap());
    let none: Option<&[u8]> = None;
    for (file, key, words) in [
        (&notes, Some(&right[..]), "notes.db is not an Usher database"),
        (&theirs, Some(&right[..]), "theirs.db is not an Usher database"),
        (&make("text.db", &b"just a text ".repeat(500)), Some(&right[..]), "text.db is not an Usher database"),
        (&make("empty.db", b""), Some(&right[..]), "empty.db is not an Usher database"),
        (&make("short.db", &bytes[..bytes.len() - 4096]), Some(&right[..]), "short.db is damaged"),
        (&newer, Some(&right[..]), "a newer Usher made"),
        (&with_wal, Some(&right[..]), "with_wal.db-wal holds changes"),
        (&with_journal, Some(&right[..]), "with_journal.db-journal holds changes"),
        (&shelf.0, Some(&right[..]), "is not a file"),
        (&shelf.0.join("nowhere.db"), Some(&right[..]), "nowhere.db: No such file"),
        (&good, Some(&wrong[..]), "is not the data key of this database"),
        (&good, Some(&b"nonsense"[..]), "is not a data key"),
        (&good, none, "the data key"),
    ] {
        let empty = Folder::new();
        if let Some(key) = key {
            fs::write(empty.0.join("data.key"), key).unwrap();
        }
        let (before, shelf_before) = (listing(&empty), names(&shelf));
        let output = run(&empty, "restore", file);
        let text = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{file:?}: {text}");
        assert!(text.contains(words), "{file:?}: {text}");
        assert_eq!(listing(&empty), before, "{file:?}: something was left");
        assert_eq!(names(&shelf), shelf_before, "{file:?}: something was left beside the file");
    }
    // A data directory that is not there is not left either, whether the file is refused before it is copied or after.
    let damaged = make("damaged.db", &[&bytes[..bytes.len() - 4096], &[0xff; 4096]].concat());
    for (file, words) in [(&notes, "not an Usher database"), (&damaged, "is damaged")] {
        let key = folder.0.join("data.key");
        let new = other.0.join("new");
        let mut command = usher(&other);
        command.arg("restore").arg(file).arg("--key-file").arg(key).arg("--data").arg(&new);
        let text = errors(&command.output().unwrap());
        assert!(text.contains(words), "{text}");
        assert!(!new.exists(), "a directory was left");
    }
}

#[test]
fn a_backup_that_is_damaged_at_any_page_is_refused() {
    crate::cluster::about_the_file!();
    let (folder, shelf, good) = plainly_backed_up();
    let bytes = fs::read(&good).unwrap();
    let bad = shelf.0.join("bad.db");
    let empty = with_key_of(&folder);
    for page in 1..bytes.len() / 4096 {
        let mut bytes = bytes.clone();
        bytes[page * 4096..(page + 1) * 4096].fill(0xff);
        fs::write(&bad, &bytes).unwrap();
        let output = run(&empty, "restore", &bad);
        let text = errors(&output);
        assert_eq!((output.status.code(), text.contains("bad.db is damaged")), (Some(1), true), "page {page}: {text}");
        assert_eq!(names(&empty), ["data.key"], "page {page}");
    }
    done(&empty, "restore", &good);
}

#[test]
fn a_restore_replaces_no_database_and_says_what_to_do() {
    crate::cluster::about_the_file!();
    let (folder, _shelf, good) = backed_up();
    let before = listing(&folder);
    let text = errors(&run(&folder, "restore", &good));
    assert!(text.contains("usher.db exists") && text.contains("move the database"), "{text}");
    assert_eq!(listing(&folder), before);
    // What a lost database left behind would be played into the one that takes its place.
    let orphan = with_key_of(&folder);
    fs::write(orphan.0.join("usher.db-wal"), "changes of another database").unwrap();
    let text = errors(&run(&orphan, "restore", &good));
    assert!(text.contains("usher.db-wal exists"), "{text}");
    assert_eq!(names(&orphan), ["data.key", "usher.db-wal"]);
}

#[test]
fn an_empty_log_that_a_refused_command_left_keeps_nobody_from_restoring() {
    crate::cluster::about_the_file!();
    let (folder, shelf, good) = backed_up();
    let (key, right) = (folder.0.join("data.key"), shelf.0.join("data.key"));
    fs::rename(&key, &right).unwrap();
    let other = Folder::new();
    assert!(usher(&other).args(["app", "create", "Other"]).status().unwrap().success());
    fs::copy(other.0.join("data.key"), &key).unwrap();
    assert!(!usher(&folder).args(["app", "list"]).output().unwrap().status.success(), "it is another's key");
    assert_eq!(fs::metadata(folder.0.join("usher.db-wal")).unwrap().len(), 0, "this is what is left");
    fs::rename(&right, &key).unwrap();
    fs::remove_file(folder.0.join("usher.db")).unwrap();
    fs::write(folder.0.join("usher.db-journal"), "").unwrap();
    done(&folder, "restore", &good);
    assert_eq!(names(&folder), ["data.key", "usher.db"]);
    assert!(usher(&folder).args(["app", "list"]).output().unwrap().status.success());
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
fn who_is_in_a_backup_is_readable_in_a_plain_one_alone() {
    crate::cluster::about_the_file!();
    let (folder, shelf, sealed) = backed_up();
    let plain = shelf.0.join("plain.db");
    assert_eq!(done_with(&folder, &["backup", "--plain"], &plain)["encrypted"], false);
    let holds =
        |file: &Path, text: &str| fs::read(file).unwrap().windows(text.len()).any(|window| window == text.as_bytes());
    for text in ["jane@doe.com", "john@doe.com", "SQLite format 3", "CREATE TABLE"] {
        assert!(holds(&plain, text) && !holds(&sealed, text), "{text}");
    }
    assert!(holds(&sealed, "usher-backup-1:"), "the file says what it is");
    let report = done(&folder, "backup", &shelf.0.join("other.db"));
    assert_eq!((&report["encrypted"], &report["users"]), (&json!(true), &json!(2)));
    // Either comes back as the same people, from the file alone.
    for file in [&sealed, &plain] {
        let empty = with_key_of(&folder);
        assert_eq!(done(&empty, "restore", file)["users"], 2);
        let there = "SELECT COUNT(*) FROM users WHERE email IN ('jane@doe.com', 'john@doe.com')";
        assert_eq!(database(&empty).query_row(there, [], |row| row.get::<_, i64>(0)).unwrap(), 2);
    }
}

#[test]
fn an_encrypted_backup_with_another_key_cut_changed_or_rearranged_is_refused_and_leaves_nothing() {
    crate::cluster::about_the_file!();
    let (folder, shelf, good) = backed_up();
    let make = |name: &str, content: &[u8]| {
        let path = shelf.0.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let bytes = fs::read(&good).unwrap();
    // Where a chunk ends: after the header, each is 64 KiB and its tag.
    let border = |chunks: usize| 56 + chunks * (65_536 + 16);
    let flipped = |place: usize| [&bytes[..place], &[bytes[place] ^ 1], &bytes[place + 1..]].concat();
    let swapped =
        [&bytes[..border(0)], &bytes[border(1)..border(2)], &bytes[border(0)..border(1)], &bytes[border(2)..]];
    let other = Folder::new();
    assert!(usher(&other).args(["app", "create", "Other"]).status().unwrap().success());
    let damaged = "is damaged: a part of it is missing or was changed. Nothing was written; take another backup";
    for (file, key_of, words) in [
        (&good, &other, "is not the data key of"),
        (&good, &other, "--key-file"),
        (&make("header.db", &bytes[..40]), &folder, damaged),
        (&make("first.db", &bytes[..border(1)]), &folder, damaged),
        (&make("second.db", &bytes[..border(2)]), &folder, damaged),
        (&make("short.db", &bytes[..bytes.len() - 1]), &folder, damaged),
        (&make("long.db", &[&bytes[..], b"x"].concat()), &folder, damaged),
        (&make("swapped.db", &swapped.concat()), &folder, damaged),
        (&make("salt.db", &flipped(30)), &folder, damaged),
        (&make("middle.db", &flipped(border(1) + 500)), &folder, damaged),
        (&make("last.db", &flipped(bytes.len() - 1)), &folder, damaged),
        (&make("magic.db", &flipped(0)), &folder, "is not an Usher database"),
    ] {
        let empty = with_key_of(key_of);
        let before = listing(&empty);
        let output = run(&empty, "restore", file);
        let text = errors(&output);
        assert_eq!((output.status.code(), text.contains(words)), (Some(1), true), "{file:?}: {text}");
        assert_eq!(listing(&empty), before, "{file:?}: something was left");
    }
    // A journal is a database's: beside an encrypted file it means nothing.
    make("copy.db-wal", b"changes");
    done(&with_key_of(&folder), "restore", &good);
}

#[test]
fn what_is_readable_is_written_beside_the_database_alone_and_is_gone_afterwards() {
    crate::cluster::about_the_file!();
    let (folder, shelf, _) = backed_up();
    let there = names(&folder);
    assert!(!there.iter().any(|name| name.contains("plain")), "{there:?}");
    // One who was killed has left this; the next backup removes it, whatever its own name.
    for name in [".usher.db.plain", ".usher.db.plain-journal"] {
        fs::write(folder.0.join(name), "left by one that was killed").unwrap();
    }
    done(&folder, "backup", &shelf.0.join("again.db"));
    assert_eq!(names(&folder), there);
    // So does one that makes none itself.
    fs::write(folder.0.join(".usher.db.plain"), "left by one that was killed").unwrap();
    done_with(&folder, &["backup", "--plain"], &shelf.0.join("plain.db"));
    fs::remove_file(shelf.0.join("plain.db")).unwrap();
    assert_eq!(names(&folder), there);
    // Into the directory of the database, which is locked once.
    done(&folder, "backup", &folder.0.join("beside.db"));
    fs::remove_file(folder.0.join("beside.db")).unwrap();
    assert_eq!(names(&folder), there);
    assert_eq!(names(&shelf), ["again.db", "copy.db"]);
}

#[test]
fn a_readable_copy_that_a_killed_backup_or_restore_has_left_is_a_problem_and_one_of_a_backup_at_work_is_none() {
    crate::cluster::about_the_file!();
    let (folder, ..) = backed_up();
    let says = || String::from_utf8(usher(&folder).arg("doctor").output().unwrap().stdout).unwrap();
    for name in [".usher.db.plain", ".usher.db.draft", ".usher.db.draft-wal"] {
        let copy = folder.0.join(name);
        assert!(!says().contains(name));
        fs::write(&copy, "left by one that was killed").unwrap();
        let (state, value) = finding(&folder, "readable copy");
        assert_eq!((state.as_str(), value.contains(copy.to_str().unwrap())), ("PROBLEM", true), "{value}");
        let at_work = fs::File::open(&folder.0).unwrap();
        at_work.lock().unwrap();
        assert!(!says().contains(name));
        // And a backup that makes no such copy leaves that of another at work alone.
        let shelf = Folder::new();
        done_with(&folder, &["backup", "--plain"], &shelf.0.join("plain.db"));
        assert!(copy.exists());
        fs::remove_file(copy).unwrap();
    }
}

#[test]
fn doctor_names_what_a_killed_restore_has_left_where_there_is_no_database_yet() {
    crate::cluster::about_the_file!();
    let folder = Folder::new();
    fs::write(folder.0.join(".usher.db.draft"), "left by one that was killed").unwrap();
    let output = usher(&folder).arg("doctor").output().unwrap();
    assert!(String::from_utf8(output.stdout.clone()).unwrap().contains(".usher.db.draft"));
    assert!(!output.status.success() && errors(&output).contains("there is no Usher data"), "{}", errors(&output));
}

#[test]
fn where_no_readable_copy_can_be_written_beside_the_database_the_plain_form_is_named_and_nothing_is_left() {
    crate::cluster::about_the_file!();
    let (folder, shelf, _) = backed_up();
    let there = names(&shelf);
    let refused = |file: &str| {
        let output = run(&folder, "backup", &shelf.0.join(file));
        assert_eq!((output.status.code(), names(&shelf)), (Some(1), there.clone()), "{}", errors(&output));
        errors(&output)
    };
    // Nobody writes a file over a directory.
    let copy = folder.0.join(".usher.db.plain");
    fs::create_dir(&copy).unwrap();
    let text = refused("again.db");
    assert!(text.contains(".usher.db.plain cannot be written") && text.contains("--plain"), "{text}");
    fs::remove_dir(&copy).unwrap();
    // A database with more pages than the disk has room for: they are a hole, and its header does not say how many there are.
    let path = folder.0.join("usher.db");
    let disk = rustix::fs::statvfs(&folder.0).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[92] ^= 1;
    fs::write(&path, bytes).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len((disk.f_bavail * disk.f_frsize).next_multiple_of(1 << 16) + (1 << 30)).unwrap();
    let text = refused("again.db");
    assert!(text.contains("there is no room") && text.contains("MiB are free") && text.contains("--plain"), "{text}");
    assert!(!copy.exists());
}

#[test]
fn a_backup_with_a_wrong_or_missing_data_key_refuses_and_leaves_nothing() {
    crate::cluster::about_the_file!();
    let (folder, shelf, _) = backed_up();
    let other = Folder::new();
    assert!(usher(&other).args(["app", "create", "Other"]).status().unwrap().success());
    let before = listing(&shelf);
    fs::copy(other.0.join("data.key"), folder.0.join("data.key")).unwrap();
    let text = errors(&run(&folder, "backup", &shelf.0.join("again.db")));
    assert!(text.contains("is not the data key of this database"), "{text}");
    fs::remove_file(folder.0.join("data.key")).unwrap();
    let text = errors(&run(&folder, "backup", &shelf.0.join("again.db")));
    assert!(text.contains("the data key") && text.contains("is missing"), "{text}");
    assert_eq!(listing(&shelf), before);
    let text = errors(&run(&Folder::new(), "backup", &shelf.0.join("again.db")));
    assert!(text.contains("there is no database") && text.contains("--data"), "{text}");
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
fn doctor_tells_that_there_was_never_a_backup_and_then_how_old_the_last_one_is() {
    crate::cluster::about_the_file!();
    let server = Program::start(&[]);
    let last = || finding(&server.folder, "last verified backup");
    let (state, value) = last();
    assert!(state == "note" && value.starts_with("never; `usher backup FILE`"), "{state} {value}");
    let shelf = Folder::new();
    done(&server.folder, "backup", &shelf.0.join("copy.db"));
    let (state, value) = last();
    assert!(state == "ok" && value.ends_with("Z, 0 hours ago"), "{state} {value}");
    run(&server.folder, "backup", &shelf.0.join("copy.db"));
    let set = "UPDATE meta SET value = CAST(CAST((unixepoch() - 8 * 86400) * 1000 AS TEXT) AS BLOB) WHERE name = 'last_backup'";
    assert_eq!(database(&server.folder).execute(set, []).unwrap(), 1);
    let (state, value) = last();
    assert!(state == "note" && value.ends_with(", 8 days ago"), "{state} {value}");
    run(&server.folder, "backup", &shelf.0.join("copy.db"));
    assert_eq!(last(), (state, value), "a backup that was refused counts for nothing");
}

#[test]
fn doctor_tells_that_another_process_holds_the_database_and_looks_at_the_rest() {
    crate::cluster::about_the_file!();
    let (_, _, folder) = Program::start(&[]).stop();
    let holder = database(&folder);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let output = usher(&folder).args(["doctor", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let state =
        |what: &str| findings.as_array().unwrap().iter().find(|f| f["what"] == what).expect(what)["state"].clone();
    assert_eq!((state("writes"), state("integrity"), state("clock")), (json!("PROBLEM"), json!("ok"), json!("ok")));
    holder.execute_batch("ROLLBACK").unwrap();
    assert!(usher(&folder).arg("doctor").output().unwrap().status.success());
}

#[test]
fn doctor_looks_at_the_disk_and_at_the_clock() {
    crate::cluster::about_the_file!();
    let server = Program::start(&[]);
    assert_eq!(server.enrol(&jane()).0, 200);
    let at = |what: &str| finding(&server.folder, what);
    assert_eq!((at("clock").0.as_str(), at("engine").0.as_str()), ("ok", "ok"));
    assert!(at("free disk space").1.contains(" MiB for "), "{:?}", at("free disk space"));
    assert_eq!(at("file system").0, "ok");
    let later = "UPDATE users SET created_at = (unixepoch() + 86400) * 1000";
    assert_eq!(database(&server.folder).execute(later, []).unwrap(), 1);
    assert_eq!(at("clock").0, "note");
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

/// Puts `receipts.json` beside a backup: of everyone in it, those of these addresses first.
fn receipts_of_all(shelf: &Folder, backup: &Path, first: &str) -> PathBuf {
    let sql = "SELECT lower(hex(id)) FROM users ORDER BY email_key <> ?1, id";
    let copy = rusqlite::Connection::open(backup).unwrap();
    let mut all = copy.prepare(sql).unwrap();
    let ids = all.query_map([first], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    let receipts: Vec<Value> = ids.map(|id| json!({"userId": id.parse::<uuid::Uuid>().unwrap()})).collect();
    let file = shelf.0.join("receipts.json");
    fs::write(&file, json!(receipts).to_string()).unwrap();
    file
}

#[test]
fn nothing_has_the_databases_name_until_everyone_is_erased_again() {
    crate::cluster::about_the_file!();
    let (folder, shelf, backup) = plainly_backed_up();
    let receipts = receipts_of_all(&shelf, &backup, "jane@doe.com");
    // Nobody can be erased from it, as on a disk that is full.
    rusqlite::Connection::open(&backup)
        .unwrap()
        .execute_batch("CREATE TRIGGER full BEFORE DELETE ON users BEGIN SELECT RAISE(ABORT, 'no room'); END")
        .unwrap();
    let empty = with_key_of(&folder);
    let restore =
        |empty: &Folder| usher(empty).arg("restore").arg(&backup).arg("--erasures").arg(&receipts).output().unwrap();
    let output = restore(&empty);
    assert_eq!((output.status.code(), names(&empty)), (Some(1), vec!["data.key".to_owned()]), "{}", errors(&output));

    rusqlite::Connection::open(&backup).unwrap().execute_batch("DROP TRIGGER full").unwrap();
    // One who was killed has left this.
    fs::write(empty.0.join(".usher.db.draft-wal"), "of another").unwrap();
    let output = restore(&empty);
    assert!(output.status.success(), "{}", errors(&output));
    assert_eq!(names(&empty), ["data.key", "usher.db"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("0 users"), "as many as are left");
    assert_eq!(mode(&empty.0.join("usher.db")), 0o600);
}

#[test]
fn a_restore_erases_all_but_who_cannot_be_read_and_names_them() {
    crate::cluster::about_the_file!();
    let (folder, shelf, backup) = plainly_backed_up();
    let receipts = receipts_of_all(&shelf, &backup, "jane@doe.com");
    let spoil = "UPDATE users SET health = x'00' WHERE email_key = 'jane@doe.com'";
    assert_eq!(rusqlite::Connection::open(&backup).unwrap().execute(spoil, []).unwrap(), 1);
    let empty = with_key_of(&folder);
    let output = usher(&empty).arg("restore").arg(&backup).arg("--erasures").arg(&receipts).output().unwrap();
    let all: Value = serde_json::from_str(&fs::read_to_string(&receipts).unwrap()).unwrap();
    let id = |n: usize| all[n]["userId"].as_str().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(errors(&output).contains(id(0)) && !errors(&output).contains(id(1)), "{}", errors(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Erased again: 1."), "the one after goes");
    let again = usher(&empty).args(["user", "erase", "--again"]).arg(&receipts).output().unwrap();
    assert!(!again.status.success() && errors(&again).contains(id(0)));
}
