//! Transactions that PostgreSQL ends for another's sake: one of a circle that waits for itself (40P01), or one whose rows
//! another has changed since it saw them (40001). They are run again, and nobody notices.
//!
//! Each is ended twice: a group that fails in a pipeline is run again whatever the reason, and only the second time tells
//! whether the reason was understood.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use usher::db::Tx;
use usher::error::{Error, Result};

use crate::cluster::{Connection, on_postgres, shared};
use crate::harness::{But, TestApp, jane};
use crate::idempotency::{CREATE, UPDATE};

/// How often the transaction under test is ended.
const TIMES: usize = 2;
const TOUCH: &str = "UPDATE users SET version = version + 1 WHERE email = $1";

/// An app with two users, on a database with a setting for every session that is yet to begin.
async fn app_with(setting: &str) -> (TestApp, String) {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    for (name, phone) in [("one", "2025550001"), ("two", "2025550002")] {
        let body = jane().but("email", json!(format!("{name}@doe.com"))).but("phonenumber", json!(phone));
        acme.post(CREATE, body).await.ok();
    }
    let url = app.folder().database().unwrap();
    shared().sql("postgres", &format!("ALTER DATABASE {} SET {setting}", url.rsplit('/').next().unwrap()));
    (app, url)
}

/// Somebody who holds something and then wants what the transaction under test holds, which wants what they hold.
struct Circle {
    ready: Receiver<()>,
    go_on: Sender<()>,
    beside: Connection,
}

impl Circle {
    /// `first` takes what they hold, `second` asks for what they want.
    fn of(url: &str, first: &'static str, second: &'static str) -> Circle {
        let other = Connection::to(url);
        // PostgreSQL ends the one that looks for the circle, which is not to be this one.
        other.sql("SET deadlock_timeout = '1min'");
        let ((tell, ready), (go_on, told)) = (channel(), channel());
        std::thread::spawn(move || {
            for _ in 0..TIMES {
                other.sql("BEGIN");
                other.sql(first);
                let _ = tell.send(());
                // Whoever is under test may have failed otherwise.
                if told.recv().is_err() {
                    return;
                }
                other.sql(second);
                other.sql("ROLLBACK");
            }
            let _ = tell.send(());
        });
        Circle { ready, go_on, beside: Connection::to(url) }
    }

    /// Waits until they hold what they hold, and wait for nothing; after the last time, until they hold nothing.
    fn begin(&self) {
        self.ready.recv_timeout(Duration::from_secs(10)).expect("the other is ready");
    }

    /// Returns when they wait for what they want.
    fn close(&self) {
        let waiting =
            "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        self.go_on.send(()).unwrap();
        let start = Instant::now();
        while self.beside.sql(waiting) != "1" {
            assert!(start.elapsed() < Duration::from_secs(10), "the other does not wait");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// How often something ran, and how often it was told that it met another.
#[derive(Clone, Default)]
struct Runs(Arc<(AtomicUsize, AtomicUsize)>);

impl Runs {
    /// Counts a run; says whether it is one of those that are ended.
    fn begin(&self) -> bool {
        self.0.0.fetch_add(1, Ordering::SeqCst) < TIMES
    }

    fn end<T>(&self, outcome: Result<T>) -> Result<T> {
        self.0.1.fetch_add(usize::from(matches!(outcome, Err(Error::Conflict))), Ordering::SeqCst);
        outcome
    }

    #[track_caller]
    fn assert_ended_and_run_again(&self) {
        let (begun, ended) = &*self.0;
        assert_eq!((begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)), (TIMES + 1, TIMES));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_ended_to_break_a_deadlock_is_run_again() {
    if !on_postgres() {
        return;
    }
    // Before it gives up waiting for a lock.
    let (app, url) = app_with("deadlock_timeout = '1ms'").await;
    let circle = Circle::of(
        &url,
        "UPDATE users SET version = version WHERE email = 'two@doe.com'",
        "UPDATE users SET version = version WHERE email = 'one@doe.com'",
    );
    let (runs, store) = (Runs::default(), app.another_store().await);
    let cross = {
        let runs = runs.clone();
        move |tx: &Tx| {
            let is_ended = runs.begin();
            circle.begin();
            tx.execute(TOUCH, &["one@doe.com".into()])?;
            if is_ended {
                circle.close();
            }
            runs.end(tx.execute(TOUCH, &["two@doe.com".into()]))
        }
    };
    assert_eq!(store.write(cross).await.unwrap(), 1);
    runs.assert_ended_and_run_again();
    assert_eq!(versions(&url), "2|2", "each was touched once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_ended_to_break_a_deadlock_is_run_again() {
    if !on_postgres() {
        return;
    }
    let (app, url) = app_with("deadlock_timeout = '1ms'").await;
    let circle =
        Circle::of(&url, "LOCK TABLE links IN ACCESS EXCLUSIVE MODE", "LOCK TABLE codes IN ACCESS EXCLUSIVE MODE");
    let (runs, store) = (Runs::default(), app.another_store().await);
    let cross = {
        let runs = runs.clone();
        move |tx: &Tx| {
            let is_ended = runs.begin();
            circle.begin();
            tx.query("SELECT COUNT(*) FROM codes", &[])?;
            if is_ended {
                circle.close();
            }
            runs.end(tx.query("SELECT COUNT(*) FROM links", &[]))
        }
    };
    assert_eq!(store.read(cross).await.unwrap()[0].get::<i64>(0).unwrap(), 2);
    runs.assert_ended_and_run_again();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_row_was_changed_since_it_was_seen_is_run_again() {
    if !on_postgres() {
        return;
    }
    let (app, url) = app_with("default_transaction_isolation = 'repeatable read'").await;
    let (runs, store, beside) = (Runs::default(), app.another_store().await, Connection::to(&url));
    let late = {
        let runs = runs.clone();
        move |tx: &Tx| {
            let is_ended = runs.begin();
            tx.query("SELECT version FROM users WHERE email = $1", &["one@doe.com".into()])?;
            if is_ended {
                beside.sql("UPDATE users SET version = version WHERE email = 'one@doe.com'");
            }
            runs.end(tx.execute(TOUCH, &["one@doe.com".into()]))
        }
    };
    assert_eq!(store.write(late).await.unwrap(), 1);
    runs.assert_ended_and_run_again();
    assert_eq!(versions(&url), "1|2", "one was touched once");
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_changes_of_one_user_all_succeed_where_every_transaction_is_serialisable() {
    /// A change is run again for each other that was faster, which eight times are enough for.
    const AT_ONCE: usize = 6;
    const ROUNDS: usize = 20;
    if !on_postgres() {
        return;
    }
    let (app, url) = app_with("default_transaction_isolation = 'serializable'").await;
    let (other, acme) = (app.another_server().await, app.partner("acme").await);
    let acme = acme.at(&other);
    for round in 0..ROUNDS {
        let change = |i: usize| json!({"email": "one@doe.com", "metadata": {"round": round, "change": i}});
        let answers = join_all((0..AT_ONCE).map(|i| acme.post(UPDATE, change(i)))).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200; AT_ONCE], "round {round}");
    }
    assert_eq!(versions(&url), format!("1|{}", 1 + ROUNDS * AT_ONCE), "none was lost");
}

/// The lowest and the highest version of a user.
fn versions(url: &str) -> String {
    Connection::to(url).sql("SELECT MIN(version), MAX(version) FROM users")
}
