//! Backups that only the data key reads, and the readable copies that are there while one is made.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::backup::{backed_up, database, done, done_with, errors, listing, names, run, with_key_of};
use crate::doctor::finding;
use crate::harness::Folder;
use crate::program::usher;

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
