//! Backups under load, restores that must not be, and many first starts at once.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::harness::Folder;
use crate::site::{Server, Site};
use crate::wire::{Call, Line, Stop, email, person};

/// A backup beside a busy server, and its restore on an empty machine.
pub fn backup(case: &mut Case) {
    let site = Site::new();
    let server = site.serve();
    let (stop, next, done) = (AtomicBool::new(false), AtomicU64::new(1), Mutex::new(BTreeSet::new()));
    let shelf = Folder::new();
    let copy = shelf.0.join("copy");
    let write = || {
        let mut line = Line::to(&server.url).unwrap();
        while !stop.load(Ordering::SeqCst) {
            let id = next.fetch_add(1, Ordering::SeqCst);
            let answer = line.send(&Call::create(&site.sandbox, &person(id))).unwrap();
            assert_eq!(answer.status, 200, "a write beside the backup: {answer:?}");
            done.lock().unwrap().insert(id);
        }
    };
    let acknowledged_before = scope(|scope| {
        let _stop = Stop(&stop);
        let start = Instant::now();
        (0..16).for_each(|_| _ = scope.spawn(write));
        sleep(Duration::from_secs(case.pick(1, 20)));
        let before = done.lock().unwrap().clone();
        take(&site, &copy);
        let rate = done.lock().unwrap().len() as u64 * 1000 / u64::try_from(start.elapsed().as_millis()).unwrap();
        case.note("writes a second", usize::try_from(rate).unwrap());
        before
    });
    // What nothing has followed is in SQLite's log and nowhere else yet.
    let last = Call::create(&site.sandbox, &person(9_999_998)).send(&server.url).unwrap();
    assert_eq!(last.status, 200, "the last write: {last:?}");
    let quiet = shelf.0.join("quiet");
    take(&site, &quiet);
    server.kill();
    assert!(restore(&site, &quiet).persons().contains(&9_999_998), "acknowledged last before the backup and not in it");
    let restored = restore(&site, &copy);
    let there = restored.persons();
    assert!(acknowledged_before.is_subset(&there), "acknowledged before the backup and not in it");
    restored.assert_whole();
    restored.run(&["audit", "verify"]);
    let server = restored.serve();
    let answer = Call::create(&site.sandbox, &person(9_999_999)).send(&server.url).unwrap();
    assert_eq!(answer.status, 200, "the keys work: {answer:?}");
    assert!(!restored.run(&["mail", "show"])["links"].as_array().unwrap().is_empty(), "the data key opens it");
    case.note("acknowledged before", acknowledged_before.len());
    case.note("restored", there.len());
    // PostgreSQL's backups are its own: whether they are encrypted, and how long they take.
    if site.database.is_none() {
        assert!(holds(&restored.folder.0.join("usher.db"), "@doe.com"), "this is where an address would be seen");
        assert!(!holds(&copy, "doe.com") && !holds(&copy, "SQLite format"), "the backup is readable");
        many(case);
    }
}

/// The backup and the restore of an installation as large as they come.
fn many(case: &mut Case) {
    let number = case.pick(2_000, 1_000_000);
    let (site, shelf) = (Site::new(), Folder::new());
    let (list, copy) = (shelf.0.join("people.csv"), shelf.0.join("copy"));
    let mut lines = BufWriter::new(File::create(&list).unwrap());
    writeln!(lines, "email,phone_number,given_name,family_name,birthdate,sex,allergies").unwrap();
    for id in 1..=number {
        let (address, phone, day) = (email(id), 2_010_000_000 + id, id % 28 + 1);
        writeln!(lines, "{address},+1{phone},Given{id},Family{id},1980-02-{day:02},female,nuts").unwrap();
    }
    drop(lines);
    let imported = site.run(&["import", list.to_str().unwrap(), "--environment", "sandbox"]);
    assert_eq!(imported["imported"], number, "{imported}");
    let start = Instant::now();
    take(&site, &copy);
    let backed_up = start.elapsed();
    let restored = restore(&site, &copy);
    let all = start.elapsed();
    let ms = |took: Duration| usize::try_from(took.as_millis()).unwrap();
    case.note("users after that", usize::try_from(number).unwrap());
    case.note("ms to back them up", ms(backed_up));
    case.note("ms to restore them", ms(all.saturating_sub(backed_up)));
    assert!(all <= Duration::from_mins(5), "{number} were backed up and restored in {all:?}");
    assert_eq!(restored.count("users"), usize::try_from(number).unwrap());
    assert!(restored.persons().into_iter().eq(1..=number), "everybody is there, and nobody else");
    assert_eq!(restored.sql("PRAGMA integrity_check"), ["ok"]);
    restored.run(&["audit", "verify"]);
}

/// Whether a file has these bytes.
fn holds(file: &Path, text: &str) -> bool {
    let status = Command::new("grep").args(["-aqF", text]).arg(file).status().unwrap();
    assert!(matches!(status.code(), Some(0 | 1)), "grep looked: {status}");
    status.success()
}

fn take(site: &Site, copy: &Path) {
    match &site.database {
        None => _ = site.run(&["backup", copy.to_str().unwrap()]),
        Some(url) => tool("pg_dump", &["-Fc", "-f", copy.to_str().unwrap(), url]),
    }
}

/// With the data key, which is kept apart.
fn restore(site: &Site, copy: &Path) -> Site {
    let folder = Folder::new();
    fs::copy(site.folder.0.join("data.key"), folder.0.join("data.key")).unwrap();
    let (client_id, sandbox, live) = (site.client_id.clone(), site.sandbox.clone(), site.live.clone());
    let restored = Site { database: folder.database(), folder, client_id, sandbox, live };
    match &restored.database {
        None => _ = restored.run(&["restore", copy.to_str().unwrap()]),
        Some(url) => tool("pg_restore", &["--exit-on-error", "-d", url, copy.to_str().unwrap()]),
    }
    restored
}

#[track_caller]
fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(name).args(arguments).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Files that must not become the database.
pub fn refused_restores(case: &mut Case) {
    let site = Site::new();
    let shelf = Folder::new();
    let place = |name: &str| shelf.0.join(name);
    site.run(&["backup", place("good").to_str().unwrap()]);
    site.run(&["backup", "--plain", place("plain").to_str().unwrap()]);
    for name in ["wal", "newer"] {
        fs::copy(place("plain"), place(name)).unwrap();
    }
    fs::write(place("wal-wal"), "changes of another database").unwrap();
    let newer = "INSERT INTO migrations (version, name, applied_at) VALUES (999, 'later', 0)";
    rusqlite::Connection::open(place("newer")).unwrap().execute_batch(newer).unwrap();
    let bytes = fs::read(place("good")).unwrap();
    // Where a chunk ends: after the header, each is 64 KiB and its tag.
    let border = |chunks: usize| 56 + chunks * (65_536 + 16);
    let chunks = (bytes.len() - border(0) - 1) / (65_536 + 16);
    assert!(chunks >= 2, "there is something to cut and to swap: {}", bytes.len());
    let mut dice =
        |range: std::ops::Range<usize>| usize::try_from(case.dice(range.start as u64..range.end as u64)).unwrap();
    let (kept, byte, bit) = (1 + dice(0..chunks), dice(border(0)..bytes.len()), dice(0..8));
    let swapped = dice(0..chunks - 1);
    let plain = fs::read(place("plain")).unwrap();
    let page = dice(1..plain.len() / 4096) * 4096;
    fs::write(place("cut"), &bytes[..border(kept)]).unwrap();
    fs::write(place("cut-anywhere"), &bytes[..byte]).unwrap();
    fs::write(place("flipped"), [&bytes[..byte], &[bytes[byte] ^ (1 << bit)], &bytes[byte + 1..]].concat()).unwrap();
    let [start, middle, end] = [swapped, swapped + 1, swapped + 2].map(border);
    let parts = [&bytes[..start], &bytes[middle..end], &bytes[start..middle], &bytes[end..]];
    fs::write(place("swapped"), parts.concat()).unwrap();
    fs::write(place("plain-cut"), &plain[..plain.len() - 4096]).unwrap();
    fs::write(place("plain-flipped"), [&plain[..page], &[0xff; 4096], &plain[page + 4096..]].concat()).unwrap();
    let (own, other) = (site.folder.0.join("data.key"), Site::of_its_own());
    let other = other.folder.0.join("data.key");
    let damaged = "is damaged: a part of it is missing or was changed. Nothing was written";
    for (file, key, reason) in [
        ("wal", &own, "holds changes"),
        ("newer", &own, "a newer Usher made"),
        ("plain-cut", &own, "is damaged"),
        ("plain-flipped", &own, "is damaged"),
        ("plain", &other, "is not the data key of this database"),
        ("cut", &own, damaged),
        ("cut-anywhere", &own, damaged),
        ("flipped", &own, damaged),
        ("swapped", &own, damaged),
        ("good", &other, "which was encrypted with the key"),
    ] {
        let empty = Folder::new();
        fs::copy(key, empty.0.join("data.key")).unwrap();
        let output = crate::program::usher(&empty).arg("restore").arg(place(file)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), text.contains(reason)), (Some(1), true), "{file}: {text}");
        assert_eq!(fs::read_dir(&empty.0).unwrap().count(), 1, "{file}: something was left");
        case.note("refused", 1);
    }
    for good in ["good", "plain"] {
        restore(&site, &place(good)).assert_whole();
    }
}

/// Five servers start at once on nothing; and first starts that are killed on the way.
pub fn first_starts(case: &mut Case) {
    let whole = |site: &Site| {
        let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count();
        assert_eq!((site.count("migrations"), site.count("apps")), (files, 1), "migrations, apps");
        assert_eq!((site.count("environments"), site.count("signing_keys")), (2, 2), "environments, signing keys");
    };
    let soon = Duration::from_secs(case.pick(30, 10));
    for _ in 0..case.pick(2, 20) {
        let site = Site::nothing_yet();
        let start = Instant::now();
        let mut servers: Vec<Server> = (0..5).map(|_| site.spawn(&[], &[])).collect();
        servers.iter_mut().for_each(Server::await_ready);
        assert!(start.elapsed() < soon, "all ready after {:?}", start.elapsed());
        let keys: Vec<&str> = servers.iter().filter_map(|server| server.banner["key"].as_str()).collect();
        assert_eq!(keys.len(), 1, "one made the app");
        for (id, server) in (1..).zip(&servers) {
            assert_eq!(Call::create(keys[0], &person(id)).send(&server.url).unwrap().status, 200);
        }
        whole(&site);
        case.note("servers", servers.len());
    }
    for _ in 0..case.pick(4, 50) {
        let site = Site::nothing_yet();
        let servers = [site.spawn(&[], &[]), site.spawn(&[], &[])];
        sleep(Duration::from_micros(case.dice(0..250_000)));
        servers.into_iter().for_each(Server::kill);
        let server = site.serve();
        assert!(server.ready_after < soon);
        whole(&site);
        case.note("kills", 1);
    }
}
