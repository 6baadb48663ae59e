//! Backups that are put back: what is there then, whoever asked for it, and what is refused because it is none.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::backup::{backed_up, done, errors, listing, mode, names, plainly_backed_up, run, with_key_of};
use crate::harness::{Folder, jane, john};
use crate::program::{Program, usher};

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
