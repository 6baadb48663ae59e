//! Several servers on one database, and a database that goes away.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use usher::apps::Kind;
use usher::clock::Clock;
use usher::db::{IfMissing, Location, Store, Tx};
use usher::outbox;
use usher::secret::Secret;
use usher::users::UserId;

use crate::cluster::{on_postgres, shared};
use crate::harness::{But, Folder, TestApp, jane, john};
use crate::program::{Program, call, usher};

#[test]
fn five_servers_that_start_at_once_on_nothing_make_one_app_and_all_serve_it() {
    let folder = Folder::new();
    folder.database();
    let errors = |server: usize| folder.0.join(format!("errors of {server}"));
    let mut servers: Vec<Child> = (0..5)
        .map(|n| {
            let mut command = usher(&folder);
            command.args(["serve", "--json", "--listen", "127.0.0.1:0"]);
            command.stdout(Stdio::piped()).stderr(fs::File::create(errors(n)).unwrap()).spawn().unwrap()
        })
        .collect();
    let banners: Vec<Value> = servers
        .iter_mut()
        .enumerate()
        .map(|(n, server)| {
            let mut line = String::new();
            BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let why = || fs::read_to_string(errors(n)).unwrap_or_default();
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("a server did not start: {line}{}", why()))
        })
        .collect();
    let first: Vec<&Value> = banners.iter().filter(|banner| banner["key"].is_string()).collect();
    assert_eq!(first.len(), 1, "one made the app: {banners:?}");
    let key = first[0]["key"].as_str().unwrap();
    let mut emails = BTreeSet::new();
    for (i, banner) in banners.iter().enumerate() {
        let email = format!("jane{i}@doe.com");
        let body = jane().but("email", json!(email)).but("phonenumber", json!(format!("202555010{i}")));
        let answer = call(banner["url"].as_str().unwrap(), key, "POST", "/users/create", &body);
        assert_eq!(answer.0, 200, "{answer:?}");
        emails.insert(email);
    }
    let list = usher(&folder).args(["user", "list", "--json"]).output().unwrap();
    let users: Value = serde_json::from_slice(&list.stdout).unwrap();
    let stored: BTreeSet<String> =
        users.as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap().to_owned()).collect();
    assert_eq!(stored, emails);
    for mut server in servers {
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

#[test]
fn of_simultaneous_creates_at_two_servers_one_succeeds_and_one_mail_is_written() {
    let one = Program::start(&[]);
    let (key, two) = (one.key.clone(), second_server(&one));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..64)
            .map(|i| {
                let (key, url) = (&key, if i % 2 == 0 { &one.url } else { &two.url });
                let spelling = ["jane@doe.com", "JANE@doe.com", " jane@doe.com", "Jane@Doe.Com"][i % 4];
                let body = jane().but("email", json!(spelling)).but("phonenumber", json!(format!("20255501{i:02}")));
                scope.spawn(move || call(url, key, "POST", "/users/create", &body).0)
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 63, "{statuses:?}");
    assert_eq!(one.json(&["mail", "list"]).as_array().unwrap().len(), 1);
}

pub struct Second {
    pub url: String,
    child: Child,
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another server on the same data.
pub fn second_server(one: &Program) -> Second {
    let mut command = usher(&one.folder);
    command.args(["serve", "--json", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let banner: Value = serde_json::from_str(&line).unwrap();
    Second { url: banner["url"].as_str().unwrap().to_owned(), child }
}

#[test]
fn a_database_that_goes_away_is_503_and_comes_back_by_itself() {
    if !on_postgres() {
        return;
    }
    let folder = Folder::new();
    let (line, through) = Line::to_database(&folder.database().unwrap());
    let server = Program::start_with(folder, &[("USHER_DATABASE", &through)], &[]);
    let enrol = |n: u32| {
        let body =
            jane().but("email", json!(format!("n{n}@doe.com"))).but("phonenumber", json!(format!("20255502{n:02}")));
        server.enrol(&body).0
    };
    let ready = || server.call("GET", "/readyz", &Value::Null).0;
    assert_eq!((enrol(0), ready()), (200, 200));

    line.cut();
    let start = Instant::now();
    assert_eq!((enrol(1), ready()), (503, 503));
    assert_eq!(server.call("GET", "/livez", &Value::Null).0, 200);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    line.mend();
    let start = Instant::now();
    while ready() != 200 || enrol(2) == 503 {
        assert!(start.elapsed() < Duration::from_secs(5), "it did not recover");
    }
    let stored = server.json(&["user", "list"]);
    let mut emails: Vec<&str> = stored.as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap()).collect();
    emails.sort_unstable();
    assert_eq!(emails, ["n0@doe.com", "n2@doe.com"], "what was refused was not done");
}

#[test]
fn where_the_first_machine_is_silent_the_second_one_is_used() {
    /// A machine that is cut off: what asks for a connection is never answered, for those that it would take have not been taken.
    const SILENT: &str = "
import socket, sys
listener = socket.socket()
listener.bind(('127.0.0.1', 0))
listener.listen(0)
waiting = [socket.socket() for _ in range(4)]
for one in waiting:
    one.setblocking(False)
    one.connect_ex(listener.getsockname())
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
";
    if !on_postgres() {
        return;
    }
    let mut silent = std::process::Command::new("python3");
    let mut silent = silent.args(["-c", SILENT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(silent.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let folder = Folder::new();
    let both = folder.database().unwrap().replace('@', &format!("@127.0.0.1:{},", port.trim()));
    let output =
        usher(&folder).env("USHER_DATABASE", format!("{both}?target_session_attrs=read-write")).arg("migrate").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(silent.stdin.take());
    silent.wait().unwrap();
}

#[tokio::test]
async fn connections_that_died_while_nobody_used_them_are_replaced_before_anybody_is_refused() {
    if !on_postgres() {
        return;
    }
    let folder = Folder::new();
    let (line, through) = Line::to_database(&folder.database().unwrap());
    let location = Location { postgres: Some(Secret::new(through)), ..Location::at(&folder.0) };
    let store = Store::open(&location, Clock::System, IfMissing::Create).await.unwrap();
    let look = |tx: &Tx| tx.query_opt("SELECT COUNT(*) FROM apps", &[])?.map_or(Ok(0), |row| row.get::<i64>(0));
    let slowly = move |tx: &Tx| {
        std::thread::sleep(Duration::from_millis(50));
        look(tx)
    };
    let all_at_once = || join_all((0..8).map(|_| async { (store.write(slowly).await, store.read(slowly).await) }));
    all_at_once().await;
    line.cut();
    line.mend();
    for (write, read) in all_at_once().await {
        assert_eq!((write.unwrap(), read.unwrap()), (0, 0));
    }
}

/// Ends everybody's connections to a database.
fn hang_up(name: &str) {
    let sql = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname =";
    shared().sql("postgres", &format!("{sql} '{name}'"));
}

#[tokio::test]
async fn a_database_that_takes_no_writes_is_not_ready_until_it_does() {
    if !on_postgres() {
        return;
    }
    let app = TestApp::new().await;
    let url = app.folder().database().unwrap();
    let name = url.rsplit('/').next().unwrap();
    for (setting, status) in
        [("SET default_transaction_read_only = on", 503), ("RESET default_transaction_read_only", 200)]
    {
        shared().sql("postgres", &format!("ALTER DATABASE {name} {setting}"));
        hang_up(name);
        assert_eq!(app.anyone().get("/readyz").await.status, status, "{setting}");
        let why = app.store().read(|tx| tx.may_write().map(|()| tx.now())).await.err();
        let why = why.as_ref().and_then(usher::error::Error::for_log);
        assert_eq!(why, (status == 503).then_some("it may only be read from"));
    }
}

#[tokio::test]
async fn a_database_that_lets_nobody_in_is_away_and_no_failure_of_ours() {
    if !on_postgres() {
        return;
    }
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let url = app.folder().database().unwrap();
    let name = url.rsplit('/').next().unwrap();
    shared().sql("postgres", &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
    hang_up(name);
    // Who tries to get in, and who comes after.
    for phone in ["2025550001", "2025550002"] {
        let refused = acme.post("/users/create", jane().but("phonenumber", json!(phone))).await;
        assert_eq!((refused.status, refused.header("retry-after")), (503, "1"), "{}", refused.text);
    }
    assert_eq!(app.anyone().get("/readyz").await.status, 503);
    shared().sql("postgres", &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    acme.post("/users/create", jane()).await.ok();
}

#[tokio::test]
async fn scans_that_take_long_keep_no_read_waiting_and_no_more_than_four_go_on_when_nobody_waits_for_them() {
    let app = TestApp::new().await;
    let (begun, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let scan = || {
        let (begun, end) = (Arc::clone(&begun), Arc::clone(&end));
        app.store().scan(move |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            while !end.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        })
    };
    for _ in 0..8 {
        assert!(tokio::time::timeout(Duration::from_millis(100), scan()).await.is_err(), "nothing ends it");
    }
    let begun = begun.load(Ordering::SeqCst);
    let read = app.store().read(|_| Ok(())).await;
    end.store(true, Ordering::SeqCst);
    assert_eq!(begun, 4);
    read.unwrap();
}

#[tokio::test]
async fn groups_that_want_the_same_rows_in_another_order_do_not_wait_until_the_server_finds_the_circle() {
    if !on_postgres() {
        return;
    }
    let app = TestApp::new().await;
    let partner = app.partner("acme").await;
    let mut users = Vec::<UserId>::new();
    for body in [jane(), john()] {
        users.push(partner.post("/users/create", body).await.ok().id().parse().unwrap());
    }
    let (go, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (first, mut all) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    for order in [[users[0], users[1]], [users[1], users[0]]] {
        let store = app.another_store().await;
        // As long as every writer of a store is held, what is asked for becomes one group.
        for writer in 1..=4 {
            let (store, go, now_held) = (store.clone(), Arc::clone(&go), Arc::clone(&held));
            let before = held.load(Ordering::SeqCst);
            let wait = move |_: &Tx| {
                now_held.fetch_add(1, Ordering::SeqCst);
                while !go.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            };
            // A busy machine may take its time to let a writer in.
            all.push(tokio::spawn(async move {
                while store.write(wait.clone()).await.is_err() {}
                Ok(())
            }));
            while held.load(Ordering::SeqCst) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(held.load(Ordering::SeqCst), before + 1, "writer {writer}");
        }
        for (place, user) in order.into_iter().enumerate() {
            let (store, first) = (store.clone(), Arc::clone(&first));
            let lock = move |tx: &Tx| {
                tx.query(&format!("SELECT id FROM users WHERE id = $1{}", tx.for_update()), &[user.into()])?;
                first.fetch_add(usize::from(place == 0), Ordering::SeqCst);
                // Each group has its first row before either asks for its second.
                let asked = Instant::now();
                while first.load(Ordering::SeqCst) < 2 && asked.elapsed() < Duration::from_secs(5) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(())
            };
            all.push(tokio::spawn(async move { store.write(lock).await }));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let start = Instant::now();
    go.store(true, Ordering::SeqCst);
    for done in join_all(all).await {
        done.unwrap().unwrap();
    }
    // PostgreSQL looks for circles after a second.
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_table_that_is_changed_beside_a_server_costs_a_connection_one_refusal_and_needs_no_restart() {
    if !on_postgres() {
        return;
    }
    let app = TestApp::new().await;
    let (partner, server) = (app.partner("acme").await, app.server().await);
    let path = format!("/v1/users/{}", partner.post("/users/create", jane()).await.ok().id());
    let read = async || server.get(&path).await.status;
    let change = async |n: u8| {
        let body = json!({"email": "jane@doe.com", "metadata": {"n": n}});
        partner.post("/users/update", body).await.status
    };
    assert_eq!((read().await, change(0).await), (200, 200));
    let other = app.another_store().await;
    other.write(|tx| tx.execute("ALTER TABLE users ALTER COLUMN external_id TYPE VARCHAR", &[])).await.unwrap();
    let mut told = Vec::new();
    while told.last() != Some(&(200, 200)) && told.len() < 20 {
        told.push((read().await, change(u8::try_from(told.len()).unwrap()).await));
    }
    let is_well = |status: u16| matches!(status, 200 | 503);
    assert!(told.last() == Some(&(200, 200)) && told.iter().all(|(a, b)| is_well(*a) && is_well(*b)), "{told:?}");
}

#[tokio::test]
async fn mails_in_the_hands_of_a_server_that_vanished_in_a_transaction_are_another_ones_within_a_minute() {
    if !on_postgres() {
        return;
    }
    let app = TestApp::new().await;
    app.partner_in(Kind::Live, None).await.post("/users/create", jane()).await.ok();
    let (vanishing, other) = (app.another_store().await, app.another_store().await);
    let lease = |tx: &Tx| outbox::lease(tx, outbox::Kind::MAILS, 8).map(|(jobs, _)| jobs);
    let (leased, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (has_leased, ends) = (Arc::clone(&leased), Arc::clone(&over));
    // A machine that loses its power does not say that its connections end.
    let vanish = move |tx: &Tx| {
        let jobs = lease(tx)?;
        has_leased.store(true, Ordering::SeqCst);
        while !ends.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(jobs.len())
    };
    let vanished = tokio::spawn(async move { vanishing.write(vanish).await });
    while !leased.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let start = Instant::now();
    assert_eq!(other.write(lease).await.unwrap_err().code(), "busy");
    let mut taken = 0;
    while taken == 0 && start.elapsed() < Duration::from_mins(1) {
        taken = other.write(lease).await.map_or(0, |jobs| jobs.len());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    over.store(true, Ordering::SeqCst);
    assert_eq!(taken, 1, "they are still in its hands");
    assert_eq!(vanished.await.unwrap().unwrap_err().status(), 503, "should it come back, nothing of it is kept");
}

/// A line to a server that can be cut and mended.
pub struct Line {
    port: u16,
    whole: Arc<Mutex<bool>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    /// To the server of a database's URL, with the URL that leads through the line.
    pub fn to_database(url: &str) -> (Line, String) {
        let mut through: url::Url = url.parse().unwrap();
        let line = Line::to(format!("127.0.0.1:{}", through.port().unwrap()));
        through.set_port(Some(line.port)).unwrap();
        (line, through.to_string())
    }

    fn to(server: String) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (whole, open) = (Arc::new(Mutex::new(true)), Arc::new(Mutex::new(Vec::<TcpStream>::new())));
        let line = Line { port, whole: Arc::clone(&whole), open: Arc::clone(&open) };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if !*whole.lock().unwrap() {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&server) else { continue };
                open.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    std::thread::spawn(move || {
                        let mut bytes = [0; 8192];
                        while let Ok(n @ 1..) = from.read(&mut bytes) {
                            if to.write_all(&bytes[..n]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        line
    }

    pub fn cut(&self) {
        *self.whole.lock().unwrap() = false;
        for socket in self.open.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        *self.whole.lock().unwrap() = true;
    }
}
