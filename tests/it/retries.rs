//! `Idempotency-Key` over servers and failures: at two servers at once, through a line that breaks, behind a lock, beside others
//! in one commit.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usher::apps::{self, Kind};
use usher::caller::Caller;
use usher::db::Tx;
use usher::error::Error;
use usher::idempotency::{self, Request};

use crate::cluster::{Connection, on_postgres, shared};
use crate::harness::{But, Folder, TestApp, jane};
use crate::idempotency::{CREATE, KEY};
use crate::idempotency_kill::{Reply, create};
use crate::load::{Stop, wait_for};
use crate::program::Program;
use crate::several::{Line, second_server};

fn person(name: &str, phone: usize) -> Value {
    jane().but("email", json!(format!("{name}@doe.com"))).but("phonenumber", json!(format!("202{phone:07}")))
}

/// Fails unless there are so many users, and one mail for each.
#[track_caller]
fn assert_users(server: &Program, expected: usize) {
    let all = |command: &[&str], name: &str| -> Vec<String> {
        let list = server.json(&[command, &["--limit", "10000"]].concat());
        let list = list.as_array().unwrap().iter();
        let mut all: Vec<String> = list.map(|row| row[name].as_str().unwrap().to_owned()).collect();
        all.sort();
        all
    };
    let users = all(&["user", "list"], "email");
    assert_eq!((users.len(), users), (expected, all(&["mail", "list"], "to")));
}

#[test]
fn one_key_at_two_servers_at_the_same_moment_runs_once_and_all_get_the_same_bytes() {
    let one = Program::start(&[]);
    let two = second_server(&one);
    for round in 0..50 {
        let body = person(&format!("n{round}"), round);
        let name = format!("round {round}").replace(' ', "-");
        let replies: Vec<Reply> = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..8)
                .map(|caller| {
                    let url = if caller % 2 == 0 { &one.url } else { &two.url };
                    let (key, name, body) = (&one.key, &name, &body);
                    scope.spawn(move || create(url, key, name, body).expect("an answer"))
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        let first = replies.iter().find(|(_, replayed, _)| !replayed).expect("one ran");
        assert_eq!((first.0, replies.iter().filter(|(_, replayed, _)| !replayed).count()), (200, 1), "{replies:?}");
        for (status, _, text) in &replies {
            assert_eq!((*status, text), (200, &first.2), "{replies:?}");
        }
    }
    assert_users(&one, 50);
}

#[test]
fn what_ended_in_503_because_the_database_was_away_can_be_sent_again_and_happens_once() {
    if !on_postgres() {
        return;
    }
    let folder = Folder::new();
    let database = folder.database().unwrap();
    let (line, through) = Line::to_database(&database);
    let server = Program::start_with(folder, &[("USHER_DATABASE", &through)], &[]);
    let mut sent: Vec<(String, Value, Reply)> = Vec::new();
    for round in 0..5 {
        let (stop, good, away) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let done = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..12)
                .map(|client| {
                    let (server, stop, good, away) = (&server, &stop, &good, &away);
                    scope.spawn(move || {
                        let mut done = Vec::new();
                        for i in 0.. {
                            let name = format!("r{round}c{client}n{i}");
                            let body = person(&name, round * 1_000_000 + client * 10_000 + i);
                            let reply = create(&server.url, &server.key, &name, &body).expect("an answer");
                            match reply.0 {
                                200 => good.fetch_add(1, Ordering::SeqCst),
                                503 => away.fetch_add(1, Ordering::SeqCst),
                                other => panic!("{name} got a {other}"),
                            };
                            done.push((name, body, reply));
                            if stop.load(Ordering::SeqCst) {
                                break;
                            }
                        }
                        done
                    })
                })
                .collect();
            let stopping = Stop(&stop);
            wait_for(|| good.load(Ordering::SeqCst) >= 20 + 7 * round);
            line.cut();
            wait_for(|| away.load(Ordering::SeqCst) > 0);
            drop(stopping);
            let done: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
            line.mend();
            done
        });
        sent.extend(done);
        wait_for(|| server.call("GET", "/readyz", &Value::Null).0 == 200);
    }
    let again = |(name, body, first): &(String, Value, Reply)| {
        let attempt = || create(&server.url, &server.key, name, body).expect("an answer");
        let (status, replayed, text) = std::iter::repeat_with(attempt).find(|reply| reply.0 != 503).unwrap();
        assert_eq!(status, 200, "{name}: {text}");
        match first {
            (200, _, first) => assert_eq!((replayed, &text), (true, first), "{name}"),
            _ => assert_eq!(attempt(), (200, true, text), "{name}"),
        }
    };
    std::thread::scope(|scope| {
        for part in sent.chunks(32) {
            scope.spawn(|| part.iter().for_each(again));
        }
    });
    assert_users(&server, sent.len());
    for table in ["links", "idempotency", "audit WHERE action = 'user.created'"] {
        let rows = shared().sql(database.rsplit('/').next().unwrap(), &format!("SELECT COUNT(*) FROM {table}"));
        assert_eq!(rows, sent.len().to_string(), "{table}");
    }
}

/// Somebody who holds a table of a database for a while.
fn hold(table: &str, database: &str, seconds: u32) -> Child {
    let sql = format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE; SELECT pg_sleep({seconds}); COMMIT");
    let mut command = Command::new(shared().tools.join("psql"));
    let child = command.args(["-qAt", "-c", &sql, database]).stdout(Stdio::null()).spawn().unwrap();
    let held = format!("SELECT COUNT(*) FROM pg_locks WHERE relation = '{table}'::regclass AND mode = 'ExclusiveLock'");
    let beside = Connection::to(database);
    wait_for(|| beside.sql(&held) == "1");
    child
}

#[test]
fn a_request_whose_first_time_is_still_running_is_told_so_and_nothing_else_waits() {
    if !on_postgres() {
        return;
    }
    let server = Program::start(&[]);
    let first = create(&server.url, &server.key, "once", &jane()).unwrap();
    assert_eq!((first.0, first.1), (200, false));
    // The record is in the hands of a transaction that has not ended.
    let database = server.folder.database().unwrap();
    let sql = "BEGIN; DELETE FROM idempotency; SELECT pg_sleep(14); ROLLBACK";
    let mut command = Command::new(shared().tools.join("psql"));
    let mut holder = command.args(["-qAt", "-c", sql, &database]).stdout(Stdio::null()).spawn().unwrap();
    let held = "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE 'BEGIN; DELETE FROM idempotency%' AND wait_event = 'PgSleep'";
    let beside = shared().connect("postgres");
    wait_for(|| beside.sql(held) == "1");
    let began = Instant::now();
    let again = create(&server.url, &server.key, "once", &jane()).unwrap();
    assert_eq!(again.0, 409, "{}", again.2);
    assert_eq!(serde_json::from_str::<Value>(&again.2).unwrap()["code"], "idempotency_in_progress");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let (status, body) = server.enrol(&person("other", 1));
    assert_eq!(status, 200, "{body}");
    assert!(holder.try_wait().unwrap().is_none(), "it did not wait for the other to end");
    assert!(holder.wait().unwrap().success());
    let last = create(&server.url, &server.key, "once", &jane()).unwrap();
    assert_eq!(last, (200, true, first.2));
}

#[tokio::test]
async fn a_record_that_has_expired_and_that_another_server_renews_meanwhile_is_not_removed() {
    if !on_postgres() {
        return;
    }
    let app = TestApp::new().await;
    let acme = app.partner("acme").await.with(KEY, "k");
    let first = acme.post(CREATE, jane()).await.ok();
    app.advance(idempotency::LIFETIME);
    let database = app.folder().database().unwrap();
    let (other, beside) = (Connection::to(&database), Connection::to(&database));
    other.sql("BEGIN; SELECT owner FROM idempotency FOR UPDATE");
    let renew = move || {
        // This server has found that it has expired.
        let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
             AND query LIKE 'DELETE FROM idempotency%'";
        wait_for(|| beside.sql(waits) == "1");
        let lifetime = idempotency::LIFETIME.as_millis();
        other.sql(&format!("UPDATE idempotency SET created_at = created_at + {lifetime}; COMMIT"));
    };
    let (again, renewed) = tokio::join!(acme.post(CREATE, jane()), tokio::task::spawn_blocking(renew));
    renewed.unwrap();
    again.is_again(&first);
}

#[test]
fn what_ended_in_503_because_the_database_was_too_slow_is_not_done_later_by_itself() {
    if !on_postgres() {
        return;
    }
    let server = Program::start(&[]);
    let database = server.folder.database().unwrap();
    // An operation waits for a statement for 15 seconds.
    let mut holder = hold("outbox", &database, 17);
    let (status, _, text) = create(&server.url, &server.key, "slow", &jane()).unwrap();
    assert_eq!(status, 503, "{text}");
    assert!(holder.wait().unwrap().success());
    // Each of the writers does something now, also the one that gave up.
    for i in 0..40 {
        let (status, body) = server.enrol(&person(&format!("n{i}"), i));
        assert_eq!(status, 200, "{body}");
    }
    assert_users(&server, 40);
    let (status, replayed, _) = create(&server.url, &server.key, "slow", &jane()).unwrap();
    assert_eq!((status, replayed), (200, false));
    assert_users(&server, 41);
}

/// Has every writer wait until it is told to go: who comes next is in one group.
async fn hold_writers(app: &TestApp, go: &Arc<AtomicBool>) {
    // So many that one does not begin.
    loop {
        let ((tell, told), go, store) = (mpsc::channel(), Arc::clone(go), app.store().clone());
        let wait = move |_: &Tx| {
            let _ = tell.send(());
            while !go.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        };
        tokio::spawn(async move { store.write(wait).await });
        let begun = tokio::task::spawn_blocking(move || told.recv_timeout(Duration::from_millis(500)));
        if begun.await.unwrap().is_err() {
            break;
        }
    }
}

#[tokio::test]
async fn who_is_refused_under_a_key_takes_nobody_along_who_shares_the_commit() {
    let app = TestApp::new().await;
    let client = app.client_id;
    let environment = app.store().read(move |tx| apps::environment(tx, client, Kind::Sandbox)).await.unwrap();
    let (caller, request) = (Caller::operator(&environment), Request::new("k", "/x".into(), &[], &json!({})).unwrap());
    let (runs, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let release = Stop(&go);
    hold_writers(&app, &go).await;
    let write = |name: &'static str| {
        let runs = Arc::clone(&runs);
        app.store().write(move |tx: &Tx| {
            runs.fetch_add(1, Ordering::SeqCst);
            tx.add("meta (name, value)", &[name.into(), vec![1_u8].into()])
        })
    };
    let refused = {
        let runs = Arc::clone(&runs);
        app.store().write(move |tx: &Tx| {
            idempotency::once(tx, &caller, Some(&request), |tx| {
                runs.fetch_add(1, Ordering::SeqCst);
                // What was put off is sent with this.
                tx.query("SELECT 1", &[])?;
                Err(Error::UserNotFound)
            })
        })
    };
    let (before, refused, after, ()) = tokio::join!(write("before"), refused, write("after"), async { drop(release) });
    assert!(before.is_ok() && matches!(refused, Err(Error::UserNotFound)) && after.is_ok());
    // Where others may write, the record is taken before, and is taken back by running the group again.
    assert_eq!(runs.load(Ordering::SeqCst), if on_postgres() { 5 } else { 3 });
    let left = (app.count("meta WHERE name IN ('before', 'after')").await, app.count("idempotency").await);
    assert_eq!(left, (2, 0));
}

#[tokio::test]
async fn what_a_refused_operation_has_seen_of_its_own_change_nobody_sees_who_shares_the_commit() {
    let app = TestApp::new().await;
    let go = Arc::new(AtomicBool::new(false));
    let release = Stop(&go);
    hold_writers(&app, &go).await;
    let name = |tx: &Tx| tx.query_rare("SELECT name FROM apps", &[])?.expect("an app").get::<String>(0);
    let before = app.store().write(name);
    let refused = app.store().write(move |tx: &Tx| {
        tx.run("UPDATE apps SET name = 'Other'", &[])?;
        assert_eq!(name(tx)?, "Other");
        Err::<(), _>(Error::UserNotFound)
    });
    let after = app.store().write(name);
    let (before, refused, after, ()) = tokio::join!(before, refused, after, async { drop(release) });
    assert!(matches!(refused, Err(Error::UserNotFound)), "{refused:?}");
    assert_eq!((before.unwrap(), after.unwrap()), ("Acme Coaching".to_owned(), "Acme Coaching".to_owned()));
}
