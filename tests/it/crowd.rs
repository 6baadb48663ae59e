//! Many writes at once, some of which must be refused: all travel together, and yet each is answered for itself and
//! leaves what it should.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use usher::admins::{Ask, Role};
use usher::app::answer_admins;
use usher::apps::Kind;
use usher::db::Tx;
use usher::error::Error;
use usher::outbox::worker::{Leased, Work};
use usher::outbox::{State, newest_mails};
use usher::users::Email;
use usher::words::Language;

use crate::cluster::{on_postgres, shared};
use crate::harness::{Answer, But, TestApp, jane};
use crate::idempotency::{CREATE, KEY, UPDATE};

/// What a request should come to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Created,
    Updated,
    EmailTaken,
    PhoneTaken,
    Unknown,
}

fn person(name: &str, phone: usize) -> Value {
    jane().but("email", json!(format!("{name}@doe.com"))).but("phonenumber", json!(format!("202{phone:07}")))
}

#[tokio::test]
async fn of_256_writes_in_flight_each_is_answered_for_itself_and_a_refused_one_leaves_nothing() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    for i in 0..8 {
        acme.post(CREATE, person(&format!("old{i}"), i)).await.ok();
    }
    let (mut created, mut updated) = (BTreeSet::new(), 0);
    for round in 0..4 {
        // Whoever finds nobody is refused at once; that something is taken is known when the group is sent.
        let refusing = round >= 2;
        let requests: Vec<(Fate, &str, Value)> = (0..256)
            .map(|i| {
                let (name, phone) = (format!("r{round}n{i}"), 1000 + round * 1000 + i);
                match i % 20 {
                    7 if refusing && i % 3 == 0 => (Fate::EmailTaken, CREATE, person(&format!("OLD{}", i % 8), phone)),
                    7 if refusing && i % 3 == 1 => (Fate::PhoneTaken, CREATE, person(&name, i % 8)),
                    7 => (Fate::Unknown, UPDATE, json!({"email": format!("nobody{i}@doe.com"), "diabetes": 1})),
                    13 => (Fate::Unknown, UPDATE, json!({"email": format!("{name}@doe.com"), "diabetes": 1})),
                    3 => (
                        Fate::Updated,
                        UPDATE,
                        json!({"email": format!("old{}@doe.com", i % 8), "metadata": {"n": name}}),
                    ),
                    _ => (Fate::Created, CREATE, person(&name, phone)),
                }
            })
            .collect();
        let answers: Vec<Answer> = join_all(requests.iter().enumerate().map(|(i, (_, path, body))| {
            let client = if i % 2 == 1 { acme.with(KEY, &format!("r{round}n{i}")) } else { acme.clone() };
            async move { client.post(path, body.clone()).await }
        }))
        .await;
        for ((fate, _, body), answer) in requests.iter().zip(&answers) {
            let found = (answer.status, answer.message());
            let expected = match fate {
                Fate::Created => (200, "User created successfully"),
                Fate::Updated => (200, "User updated successfully"),
                Fate::EmailTaken => (409, "Email already exists"),
                Fate::PhoneTaken => (409, "Phone number already exists"),
                Fate::Unknown => (404, "User not found"),
            };
            assert_eq!(found, expected, "{body}");
            match fate {
                Fate::Created => {
                    assert_eq!(answer.body["email"], body["email"], "it is the answer to this request");
                    created.insert((answer.id().to_owned(), body["email"].as_str().unwrap().to_owned()));
                }
                Fate::Updated => {
                    assert_eq!(answer.body["data"]["metadata"], body["metadata"], "it is the answer to this request");
                    updated += 1;
                }
                _ => assert_eq!((answer.header("etag"), &answer.body["identifier"]), ("", &Value::Null)),
            }
        }
    }
    let users = i64::try_from(created.len()).unwrap() + 8;
    assert!(users > 800 && updated > 40, "{users} {updated}");
    for table in ["users", "links", "outbox"] {
        assert_eq!(app.count(table).await, users, "{table}");
    }
    assert_eq!(app.count("audit WHERE user_id IS NOT NULL AND result = 'done'").await, users + updated);
    for (id, email) in &created {
        assert_eq!(app.user(id).await.email.address(), email);
    }
    let whole = "SELECT COUNT(*) FROM users u WHERE \
         1 = (SELECT COUNT(*) FROM links l WHERE l.user_id = u.id) AND \
         1 = (SELECT COUNT(*) FROM outbox o WHERE o.user_id = u.id) AND \
         u.version = (SELECT COUNT(*) FROM audit a WHERE a.user_id = u.id)";
    let whole = app.store().read(move |tx| tx.query(whole, &[])).await.unwrap()[0].get::<i64>(0).unwrap();
    assert_eq!(whole, users, "every user has one link, one mail, and an entry for each version");
    let kept = "SELECT COUNT(*) FROM idempotency WHERE LENGTH(answer) = 0";
    let unanswered = app.store().read(move |tx| tx.query(kept, &[])).await.unwrap()[0].get::<i64>(0).unwrap();
    assert_eq!(unanswered, 0, "no key is taken without an answer");
}

#[tokio::test]
async fn of_256_creates_in_flight_that_want_32_addresses_one_each_succeeds() {
    let app = TestApp::new().await;
    let (acme, other) = (app.partner("acme").await, app.partner("other").await);
    let bodies: Vec<Value> = (0..256).map(|i| person(&format!("n{}", i % 32), i / 32 * 100 + i % 32)).collect();
    let answers = join_all(bodies.iter().enumerate().map(|(i, body)| {
        let client = if i % 2 == 0 { &acme } else { &other };
        client.post(CREATE, body.clone())
    }))
    .await;
    for address in 0..32 {
        let statuses: Vec<u16> = answers.iter().skip(address).step_by(32).map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
    }
    for table in ["users", "links", "outbox", "audit WHERE action = 'user.created'"] {
        assert_eq!(app.count(table).await, 32, "{table}");
    }
}

#[tokio::test]
async fn creates_and_changes_that_meet_nobody_are_never_run_twice() {
    if !on_postgres() {
        return;
    }
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let database = app.path().file_name().unwrap().to_string_lossy().replace('-', "_");
    let rollbacks = || {
        // What a connection has counted is told a moment later, or when it is asked to.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let sql = format!("SELECT xact_rollback FROM pg_stat_database WHERE datname = '{database}'");
        shared().sql("postgres", &sql).parse::<u64>().unwrap()
    };
    acme.post(CREATE, person("first", 1)).await.ok();
    let before = rollbacks();
    for round in 1..=3 {
        let creates = (0..128).map(|i| {
            let (acme, phone) = (acme.clone(), round * 1000 + i);
            async move { acme.post(CREATE, person(&format!("r{round}n{i}"), phone)).await.ok() }
        });
        join_all(creates).await;
        let change = |i: usize| json!({"email": format!("r{round}n{i}@doe.com"), "metadata": {"round": round}});
        join_all((0..128).map(|i| acme.post(UPDATE, change(i)))).await.into_iter().for_each(|answer| _ = answer.ok());
    }
    assert_eq!(rollbacks() - before, 0, "groups that were rolled back and run again");
}

/// Waits on this thread, for a while.
fn wait(until: impl Fn() -> bool) {
    for _ in 0..1000 {
        if until() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes under way.
type Writes = Vec<JoinHandle<Result<(), Error>>>;

/// Has every writer at something.
fn hold(app: &TestApp, held: impl Fn() + Clone + Send + 'static) -> Writes {
    let begun = Arc::new(AtomicUsize::new(0));
    let writers = if on_postgres() { 4 } else { 1 };
    let mut busy = Vec::new();
    for writer in 1..=writers {
        let (store, starts, held) = (app.store().clone(), Arc::clone(&begun), held.clone());
        busy.push(tokio::spawn(async move {
            let operation = move |_: &Tx| {
                starts.fetch_add(1, Ordering::SeqCst);
                held();
                Ok(())
            };
            store.write(operation).await
        }));
        wait(|| begun.load(Ordering::SeqCst) == writer);
    }
    busy
}

/// Has every writer wait until it is told to go, and more wait for one than may.
fn fill(app: &TestApp, go: &Arc<AtomicBool>) -> (Writes, Writes) {
    let goes = Arc::clone(go);
    let busy = hold(app, move || wait(|| goes.load(Ordering::SeqCst)));
    let waiting = (0..3000).map(|_| {
        let store = app.store().clone();
        tokio::spawn(async move { store.write(|_| Ok(())).await })
    });
    let waiting: Vec<_> = waiting.collect();
    wait(|| waiting.iter().any(JoinHandle::is_finished));
    (busy, waiting)
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_beyond_what_can_be_done_soon_are_refused_and_reads_go_on() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    acme.post(CREATE, jane()).await.ok();
    let go = Arc::new(AtomicBool::new(false));
    let (busy, waiting) = fill(&app, &go);
    let refused = acme.post(CREATE, person("late", 9)).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{}", refused.text);
    assert_eq!(app.anyone().get("/readyz").await.status, 200, "what only reads is done");
    go.store(true, Ordering::SeqCst);
    let outcomes: Vec<_> = join_all(waiting).await.into_iter().map(|outcome| outcome.unwrap()).collect();
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(()) | Err(Error::Busy))), "{outcomes:?}");
    assert!((1000..2000).contains(&done), "{done} were let in");
    assert!(join_all(busy).await.into_iter().all(|outcome| outcome.unwrap().is_ok()));
    acme.post(CREATE, person("late", 9)).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_has_waited_for_more_than_five_seconds_is_told_so_and_never_done() {
    let app = TestApp::new().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let write = || {
        let runs = Arc::clone(&runs);
        app.store().write(move |_: &Tx| {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    };
    let busy = hold(&app, || std::thread::sleep(Duration::from_secs(6)));
    let later = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        write().await
    };
    let (early, later) = tokio::join!(write(), later);
    assert!(matches!(early, Err(Error::Busy)), "{early:?}");
    assert!(later.is_ok(), "{later:?}");
    assert!(join_all(busy).await.into_iter().all(|held| held.unwrap().is_ok()));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_try_of_a_mail_went_is_noted_as_soon_as_the_queue_has_room() {
    let app = TestApp::new().await;
    app.partner_in(Kind::Live, None).await.post(CREATE, jane()).await.ok();
    let sender = app.mail_to_nobody(Duration::from_secs(5));
    let job = Leased::take(&sender, app.store(), 1).await.unwrap().remove(0);
    let go = Arc::new(AtomicBool::new(false));
    let (busy, waiting) = fill(&app, &go);
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        go.store(true, Ordering::SeqCst);
    };
    let (noted, ()) = tokio::join!(sender.attempt(app.store(), job), later);
    noted.unwrap();
    join_all(busy.into_iter().chain(waiting)).await;
    let job = app.store().read(|tx| newest_mails(tx, 1)).await.unwrap().remove(0);
    assert_eq!((job.state, job.attempts, job.failure.is_some()), (State::Queued, 1, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_who_ask_for_a_link_beside_a_full_queue_are_given_it_when_there_is_room() {
    let app = TestApp::new().await;
    app.admin_at("ann@clinic.example", Role::Owner).await;
    let (api, told) = (app.app.api(), AtomicUsize::new(0));
    for _ in 0..2 {
        let email = Email::new("ann@clinic.example").unwrap();
        api.admin_asks.add(Ask { email, language: Language::default() });
    }
    let tell = |_: &str| _ = told.fetch_add(1, Ordering::SeqCst);
    let go = Arc::new(AtomicBool::new(false));
    let (busy, waiting) = fill(&app, &go);
    assert!(matches!(answer_admins(api, tell).await, Err(Error::Busy)));
    go.store(true, Ordering::SeqCst);
    join_all(busy.into_iter().chain(waiting)).await;
    assert_eq!(told.load(Ordering::SeqCst), 0);
    answer_admins(api, tell).await.unwrap();
    assert_eq!(told.load(Ordering::SeqCst), 2, "neither the one that was refused nor the one behind it is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_read_in_time_is_put_off_and_its_try_does_not_count() {
    let app = TestApp::new().await;
    app.partner_in(Kind::Live, None).await.post(CREATE, jane()).await.ok();
    let sender = app.mail_to_nobody(Duration::from_secs(5));
    let job = Leased::take(&sender, app.store(), 1).await.unwrap().remove(0);
    // Every place to read at is taken, for longer than anybody waits for one.
    let begun = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (store, starts, runtime) = (app.store().clone(), Arc::clone(&begun), Handle::current());
            let hold = move |_: &Tx| {
                starts.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5500));
                Ok(())
            };
            tokio::task::spawn_blocking(move || runtime.block_on(store.read(hold)))
        })
        .collect();
    wait(|| begun.load(Ordering::SeqCst) == 4);
    sender.attempt(app.store(), job).await.unwrap();
    assert!(join_all(readers).await.into_iter().all(|held| held.unwrap().is_ok()));
    let job = app.store().read(|tx| newest_mails(tx, 1)).await.unwrap().remove(0);
    assert_eq!(
        (job.state, job.attempts, job.failure.as_deref()),
        (State::Queued, 0, Some("the database took too long"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_whose_words_the_database_does_not_know_takes_nothing_of_its_group_with_it() {
    let app = TestApp::new().await;
    let store = app.store();
    let add = |name: String| {
        store.write(move |tx| tx.add("meta (name, value)", &[name.as_str().into(), b"x".as_slice().into()]))
    };
    // What comes before it in a group is on its way when it asks its second question.
    let ask = || {
        store.write(|tx| {
            tx.query("SELECT name FROM meta LIMIT 1", &[])?;
            tx.query("SELECT nothing FROM nowhere", &[]).map(|_| ())
        })
    };
    let mut names = BTreeSet::new();
    for round in 0..50 {
        let [one, other] = [0, 1].map(|place| format!("written {round} {place}"));
        let (first, second, asked) = tokio::join!(add(one.clone()), add(other.clone()), ask());
        assert!(first.is_ok() && second.is_ok() && asked.is_err(), "{first:?} {second:?} {asked:?}");
        names.extend([one, other]);
    }
    let there = store.read(|tx| tx.query("SELECT name FROM meta WHERE name LIKE 'written %'", &[])).await.unwrap();
    assert_eq!(there.iter().map(|row| row.get::<String>(0).unwrap()).collect::<BTreeSet<_>>(), names);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operations_that_wait_for_each_other_both_end_well() {
    if !on_postgres() {
        return;
    }
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    acme.post(CREATE, person("one", 1)).await.ok();
    acme.post(CREATE, person("two", 2)).await.ok();
    let (begun, runs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let pairs = [["one@doe.com", "two@doe.com"], ["two@doe.com", "one@doe.com"]];
    let operations = pairs.map(|[first, second]| {
        let (store, begun, runs) = (app.store().clone(), Arc::clone(&begun), Arc::clone(&runs));
        let others = begun.load(Ordering::SeqCst);
        let task = tokio::spawn({
            let begun = Arc::clone(&begun);
            async move {
                let cross = move |tx: &Tx| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    let touch = "UPDATE users SET version = version + 1 WHERE email = $1";
                    tx.execute(touch, &[first.into()])?;
                    begun.fetch_add(1, Ordering::SeqCst);
                    wait(|| begun.load(Ordering::SeqCst) >= 2);
                    tx.execute(touch, &[second.into()])
                };
                store.write(cross).await
            }
        });
        // Each on a writer of its own.
        wait(|| begun.load(Ordering::SeqCst) > others);
        task
    });
    for operation in operations {
        assert_eq!(operation.await.unwrap().unwrap(), 1);
    }
    assert!(runs.load(Ordering::SeqCst) > 2, "they did not meet");
    let versions = "SELECT MIN(version), MAX(version) FROM users";
    let row = app.store().read(move |tx| tx.query_opt(versions, &[])).await.unwrap().unwrap();
    assert_eq!((row.get::<i64>(0).unwrap(), row.get::<i64>(1).unwrap()), (3, 3));
}
