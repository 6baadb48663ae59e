//! What `usher doctor` finds beside a database.

use std::fs;

use serde_json::{Value, json};

use crate::backup::{database, done, errors, run};
use crate::harness::{Folder, jane};
use crate::program::{Program, usher};

pub fn finding(folder: &Folder, what: &str) -> (String, String) {
    let output = usher(folder).args(["doctor", "--json"]).output().unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = findings.as_array().unwrap().iter().find(|f| f["what"] == what).expect(what).clone();
    (found["state"].as_str().unwrap().to_owned(), found["value"].as_str().unwrap().to_owned())
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
