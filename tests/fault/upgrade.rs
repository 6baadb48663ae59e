//! Schemas of before, and none, brought up to date by servers that are killed on the way: each step is the last of one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::iter::once;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::before_the_first::AS_THEN;
use crate::case::Case;
use crate::disk::Disk;
use crate::site::{Server, Site};
use crate::wire::{Call, person};

/// What takes a database of before the first release over.
const SINCE_THEN: &str = include_str!("../../src/db/since_then.sql");

/// The tables and indexes of an installation are those of before or those of now, whenever its server is killed, and the next
/// server goes on from there. A step is a write to the file, or a message to the database server.
pub fn killed(case: &mut Case) {
    if Disk::new().is_none() {
        return;
    }
    let (now, newest) = (taken_over(Site::nothing_yet()), migrations().len());
    let some = [0, usize::try_from(case.dice(0..newest as u64)).unwrap()];
    let released = case.pick(some.into_iter().collect(), (0..newest).collect::<BTreeSet<_>>());
    // `None` is a build before the first release, whose tables the first migration stands for.
    for from in released.into_iter().map(Some).chain([None]) {
        let site = match from {
            Some(0) => Site::nothing_yet(),
            Some(version) => old(version),
            None => before_the_first(),
        };
        // The text of a table that is altered is another than that of one that is made.
        let now = from.map_or_else(|| taken_over(before_the_first()), |_| now.clone());
        // As each migration leaves it, for each is a transaction, and so is the take-over.
        let later: Vec<_> = if let Some(version) = from {
            (version + 1..newest).map(|next| schema(&old(next))).collect()
        } else {
            let site = before_the_first();
            let migrations = migrations().into_iter().skip(1).map(|(_, sql)| sql);
            let after = |sql: String| {
                site.execute(&sql);
                schema(&site)
            };
            once(SINCE_THEN.to_owned()).chain(migrations).map(after).collect()
        };
        let between: Vec<_> = once(schema(&site)).chain(later).chain([now.clone()]).collect();
        assert_ne!(between[0], now);
        let (mut step, mut kills) = (1, 0);
        loop {
            let disk = Disk::new().unwrap();
            disk.order(&format!("die {step}"));
            let Some(log) = ended(site.spawn(&disk.variables()[..2], &[])) else { break };
            assert!(
                disk.has_failed(Duration::from_secs(1)),
                "it ended by itself, from schema {from:?} and step {step} on: {log}"
            );
            let left = schema(&site);
            assert!(between.contains(&left), "half a schema after step {step} from schema {from:?}: {left:#?}");
            kills += 1;
            // Most writes of all make the tables in a file.
            let is_long = site.database.is_none() && from.is_some();
            step += case.dice(case.pick(if is_long { 1..50 } else { 1..8 }, 1..2));
        }
        assert!(kills > 0, "it was never killed");
        case.note("kills", kills);
        case.note("schemas", 1);
        assert_eq!((schema(&site), site.count("migrations"), site.count("apps")), (now.clone(), newest, 1));
        let server = site.serve();
        match from {
            Some(0) => {}
            Some(_) => {
                assert_eq!(site.count("users WHERE email = 'old@doe.com'"), 1, "from schema {from:?}");
                assert_eq!(site.count("sessions WHERE environment_id IS NOT NULL"), 1, "from schema {from:?}");
            }
            None => {
                let imports = (site.count("imports WHERE state = 'broken'"), site.count("import_files"));
                assert_eq!(imports, (site.count("keys"), 0), "nobody comes back by them");
            }
        }
        if from != Some(0) {
            let key = site.key("sandbox", &[]);
            let answer = Call::create(&key, &person(1)).send(&server.url).unwrap();
            assert_eq!(answer.status, 200, "it works: {answer:?}");
        }
        server.stop();
    }
}

/// The log of a server that ends; `None` of one that becomes ready, which is killed then.
fn ended(mut server: Server) -> Option<String> {
    let start = Instant::now();
    while server.status("/readyz") != 200 {
        if server.end_within(Duration::ZERO).is_some() {
            return Some(server.log());
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it is not ready: {}", server.log());
        std::thread::sleep(Duration::from_millis(2));
    }
    server.kill();
    None
}

/// Name and text of each migration, in order.
fn migrations() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |file: &std::path::PathBuf| {
        (file.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(file).unwrap())
    };
    files.iter().map(read).collect()
}

/// An installation as a program left it that knew the first migrations only, with somebody who is signed in.
fn old(version: usize) -> Site {
    // The data key and its seal are those of any installation.
    let mut site = Site::nothing_yet();
    site.serve().stop();
    let tables = match &site.database {
        None => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        Some(_) => "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    };
    let cascade = if site.database.is_some() { " CASCADE" } else { "" };
    let mut text = String::from("DELETE FROM migrations;\n");
    for table in site.sql(tables).iter().filter(|table| !["meta", "migrations"].contains(&table.as_str())) {
        let _ = writeln!(text, "DROP TABLE {table}{cascade};");
    }
    for (number, (name, sql)) in (1..).zip(&migrations()[..version]) {
        let _ =
            writeln!(text, "{sql}\nINSERT INTO migrations (version, name, applied_at) VALUES ({number}, '{name}', 1);");
    }
    let id = |number: u128| match &site.database {
        None => format!("x'{number:032x}'"),
        Some(_) => format!("'{}'", Uuid::from_u128(number)),
    };
    let bytes = if site.database.is_some() { "'\\x00'" } else { "x'00'" };
    let (app, environment, user) = (id(1), id(2), id(4));
    let _ = write!(
        text,
        "INSERT INTO apps (id, name, region, created_at) VALUES ({app}, 'Old', 'US', 1);
         INSERT INTO environments (id, app_id, kind, issuer) VALUES ({environment}, {app}, 'sandbox', 'old');
         INSERT INTO environments (id, app_id, kind, issuer) VALUES ({}, {app}, 'live', 'old');
         INSERT INTO users (id, environment_id, email, email_key, profile, health, created_at, updated_at)
             VALUES ({user}, {environment}, 'old@doe.com', 'old@doe.com', '{{}}', {bytes}, 1, 1);
         INSERT INTO sessions (id, hash, user_id, environment_id, created_at, expires_at)
             VALUES ({}, {bytes}, {user}, {environment}, 1, 1);",
        id(3),
        id(5)
    );
    site.execute(&text);
    site.client_id = Uuid::from_u128(1).to_string();
    site
}

/// An installation as a build before the first release left it.
fn before_the_first() -> Site {
    let site = Site::new();
    site.execute(&AS_THEN.join(";\n"));
    site
}

/// What there is once a server has had all the time it needs.
fn taken_over(site: Site) -> Vec<String> {
    site.serve().stop();
    schema(&site)
}

/// What there is of tables, columns and indexes.
fn schema(site: &Site) -> Vec<String> {
    if site.database.is_some() {
        return site.sql(
            "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || COALESCE(column_default, '') \
             FROM information_schema.columns WHERE table_schema = 'public' \
             UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        );
    }
    // Of a copy: to look into the file itself would tidy up what the kill has left of its log.
    site.copy().sql("SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_master ORDER BY 1")
}
