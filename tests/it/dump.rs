//! The backup of an installation on PostgreSQL: `pg_dump -Fc` beside a busy server, and `pg_restore`.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::cluster::{Connection, on_postgres, shared};
use crate::doctor::finding;
use crate::harness::{But, Folder, jane};
use crate::load::beside;
use crate::program::{Program, usher};

#[test]
fn a_dump_beside_a_server_that_writes_has_what_was_acknowledged_before_it_and_can_be_served() {
    if !on_postgres() {
        return;
    }
    let server = Program::start(&[]);
    let key = server.key.clone();
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let shelf = Folder::new();
    let dump = shelf.0.join("usher.dump").display().to_string();
    let enrolled = beside(&server, || {
        shared().run("pg_dump", &["-Fc", "-f", &dump, &server.folder.database().unwrap()]);
    });

    let restored = Folder::new();
    let to = restored.database().unwrap();
    // Without the data key, which is kept apart, the dump is worthless and nothing is written.
    shared().run("pg_restore", &["--exit-on-error", "-d", &to, &dump]);
    let without = usher(&restored).args(["user", "list"]).output().unwrap();
    let text = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(!without.status.success() && text.contains("data key") && text.contains("is missing"), "{text}");
    fs::copy(server.folder.0.join("data.key"), restored.0.join("data.key")).unwrap();
    let doctor = usher(&restored).arg("doctor").output().unwrap();
    assert!(doctor.status.success(), "{}", String::from_utf8_lossy(&doctor.stdout));

    let second = Program::start_in(restored, &[]);
    assert!(second.key.is_empty(), "it is no first start");
    let all = |command: &[&str], name: &str| -> BTreeSet<String> {
        let list = second.json(&[command, &["--limit", "10000"]].concat());
        list.as_array().unwrap().iter().map(|row| row[name].as_str().unwrap().to_owned()).collect()
    };
    let users = all(&["user", "list"], "email");
    let missing: Vec<_> = enrolled.before.iter().filter(|email| !users.contains(*email)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "acknowledged before the dump and not in it");
    assert_eq!(users, all(&["mail", "list"], "to"), "the dump is of one moment: every user has their mail");
    assert!(users.len() < enrolled.total, "the dump has what was written after it: it is none");
    let user = second.json(&["user", "show", &id, "--reveal", "a dump"]);
    assert_eq!((&user["email"], &user["health"]["height"]), (&json!("jane@doe.com"), &json!("5ft 6in")));
    let update = |email: &str| {
        let body = json!({"email": email, "diabetes": 1});
        second.call_as(&key, "POST", "/users/update", &body)
    };
    assert_eq!((update("c0n0@doe.com").0, update("jim@doe.com").0), (200, 404));
    let stored: Value = second.json(&["user", "show", "c0n0@doe.com", "--reveal", "a dump"]);
    assert_eq!((&stored["health"]["metadata"]["number"], &stored["health"]["diabetes"]), (&json!(0), &json!(1)));
    let later = jane().but("email", json!("later@doe.com")).but("phonenumber", json!("2025550188"));
    assert_eq!(second.call_as(&key, "POST", "/users/create", &later).0, 200);
}

/// Where texts compare by their bytes anyway, no column says so, nor does the dump.
#[test]
fn texts_that_compare_by_a_language_since_a_restore_are_a_problem_that_migrate_mends() {
    if !on_postgres() {
        return;
    }
    let (plain, restored) = (Folder::new(), Folder::new());
    let name = format!("{}_c", plain.0.file_name().unwrap().to_string_lossy().replace('-', "_"));
    shared().sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0 LOCALE_PROVIDER libc LOCALE 'C'"));
    let url = format!("{}/{name}", shared().url);
    let people = plain.0.join("people.csv");
    let emails = ["ann@doe.com", "anna@doe.com", "j.doe@doe.com", "j_doe@doe.com", "jdoe@eve.com"];
    fs::write(&people, format!("email\n{}\n", emails.join("\n"))).unwrap();
    let of_plain = |arguments: &[&str]| {
        let output = usher(&plain).env("USHER_DATABASE", &url).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    of_plain(&["migrate"]);
    of_plain(&["app", "create", "Acme"]);
    of_plain(&["import", people.to_str().unwrap(), "--environment", "sandbox"]);
    assert!(of_plain(&["doctor", "--json"]).contains("by their bytes"));

    let dump = plain.0.join("usher.dump").display().to_string();
    shared().run("pg_dump", &["-Fc", "-f", &dump, &url]);
    let to = restored.database().unwrap();
    shared().run("pg_restore", &["--exit-on-error", "-d", &to, &dump]);
    fs::copy(plain.0.join("data.key"), restored.0.join("data.key")).unwrap();
    let looks = Connection::to(&to);
    let ordered = || looks.sql("SELECT string_agg(email_key, ' ' ORDER BY email_key) FROM users");
    assert_ne!(ordered(), emails.join(" "), "the database has a language");
    let (state, value) = finding(&restored, "comparison of texts");
    assert!(state == "PROBLEM" && value.contains("`usher migrate`"), "{state} {value}");

    let mended = usher(&restored).arg("migrate").output().unwrap();
    assert!(mended.status.success(), "{}", String::from_utf8_lossy(&mended.stderr));
    assert_eq!(finding(&restored, "comparison of texts"), ("ok".to_owned(), "by their bytes".to_owned()));
    assert_eq!(ordered(), emails.join(" "));
    shared().sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)"));
}
