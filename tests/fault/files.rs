//! Backups under load, restores that must not be, and many first starts at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::harness::Folder;
use crate::site::{Server, Site};
use crate::wire::{Call, Line, Stop, person};

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
    for name in ["wal", "newer", "cut", "flipped"] {
        fs::copy(place("good"), place(name)).unwrap();
    }
    fs::write(place("wal-wal"), "changes of another database").unwrap();
    let newer = "INSERT INTO migrations (version, name, applied_at) VALUES (999, 'later', 0)";
    rusqlite::Connection::open(place("newer")).unwrap().execute_batch(newer).unwrap();
    let bytes = fs::read(place("good")).unwrap();
    fs::write(place("cut"), &bytes[..bytes.len() - 4096]).unwrap();
    let page = usize::try_from(case.dice(1..bytes.len() as u64 / 4096)).unwrap() * 4096;
    fs::write(place("flipped"), [&bytes[..page], &[0xff; 4096], &bytes[page + 4096..]].concat()).unwrap();
    let (own, other) = (site.folder.0.join("data.key"), Site::of_its_own());
    let other = other.folder.0.join("data.key");
    for (file, key, reason) in [
        ("wal", &own, "holds changes"),
        ("newer", &own, "a newer Usher made"),
        ("cut", &own, "is damaged"),
        ("flipped", &own, "is damaged"),
        ("good", &other, "is not the data key of this database"),
    ] {
        let empty = Folder::new();
        fs::copy(key, empty.0.join("data.key")).unwrap();
        let output = crate::program::usher(&empty).arg("restore").arg(place(file)).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), text.contains(reason)), (Some(1), true), "{file}: {text}");
        assert_eq!(fs::read_dir(&empty.0).unwrap().count(), 1, "{file}: something was left");
        case.note("refused", 1);
    }
    restore(&site, &place("good")).assert_whole();
}

/// Five servers start at once on nothing; and first starts that are killed on the way.
pub fn first_starts(case: &mut Case) {
    let whole = |site: &Site| {
        let files = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations")).unwrap().count();
        assert_eq!((site.count("migrations"), site.count("apps")), (files, 1), "migrations, apps");
        assert_eq!((site.count("environments"), site.count("signing_keys")), (2, 2), "environments, signing keys");
    };
    for _ in 0..case.pick(2, 20) {
        let site = Site::nothing_yet();
        let start = Instant::now();
        let mut servers: Vec<Server> = (0..5).map(|_| site.spawn(&[], &[])).collect();
        servers.iter_mut().for_each(Server::await_ready);
        assert!(start.elapsed() < Duration::from_secs(10), "all ready after {:?}", start.elapsed());
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
        assert!(server.ready_after < Duration::from_secs(10));
        whole(&site);
        case.note("kills", 1);
    }
}
