//! Stopping, and a database that stops.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::case::Case;
use crate::cluster::Cluster;
use crate::harness::Folder;
use crate::site::{Server, Site};
use crate::wire::{Call, Line, Stop, Volley, email, person, volley};

/// Who asks later than this after the signal is told that the server is closing.
const TOLD: Duration = Duration::from_millis(100);

/// SIGTERM with requests, half headers and idle connections on the wire.
pub fn sigterm(case: &mut Case) {
    let site = Site::new();
    let mut server = site.serve();
    let requests: u64 = case.pick(100, 200);
    let creates = |server: &Server| {
        let url = server.url.clone();
        let calls: Vec<Call> = (0..requests).map(|id| Call::create(&site.sandbox, &person(id))).collect();
        Volley::ready(calls.into_iter().map(|call| (url.as_str(), call)))
    };
    let in_flight = creates(&server);
    let mut silent: Vec<Line> = (0..100).map(|_| Line::to(&server.url).unwrap()).collect();
    // Half a header costs the server its whole patience, on one engine as on the other.
    let half = if site.database.is_none() || case.pick(false, true) { 50 } else { 0 };
    silent.iter_mut().take(half).for_each(|line| line.write(b"POST /users/create HTTP/1.1\r\nHost: us").unwrap());
    for line in silent.iter_mut().skip(50) {
        assert_eq!(line.send(&Call::get("/livez")).unwrap().status, 200);
    }
    server.signal("TERM");
    let start = Instant::now();
    let closing = loop {
        let asked = start.elapsed();
        match server.status("/readyz") {
            503 => break start.elapsed(),
            // A connection that was made as the signal came may be closed as an idle one.
            status => {
                assert!(matches!(status, 200 | 0) && asked < TOLD, "/readyz said {status} {asked:?} after the signal");
            }
        }
    };
    // The short form runs beside other tests, which hold up the answer too.
    assert!(closing < TOLD * case.pick(2, 1), "/readyz told so {closing:?} after the signal");
    let late = Call::create(&site.sandbox, &person(requests)).send(&server.url).unwrap();
    assert_eq!((late.status, late.header("retry-after")), (503, Some("1")));
    sleep(Duration::from_secs(case.pick(1, 2)));
    let done = in_flight.release().into_iter().filter(|answer| answer.as_ref().is_ok_and(|a| a.status == 200)).count();
    assert_eq!(done as u64, requests, "requests that were under way were cut off");
    let (code, took) = server.ended_within(Duration::from_secs(10));
    assert_eq!(code, Some(0), "{}", server.log());
    case.note("finished", done);
    case.note("ms until /readyz told so", usize::try_from(closing.as_millis()).unwrap());
    case.note("ms to the end after them", usize::try_from(took.as_millis()).unwrap());

    let mut server = site.serve();
    assert_eq!(site.count("users") as u64, requests);
    let _held = Volley::ready((0..9).map(|id| (server.url.as_str(), Call::create(&site.sandbox, &person(900 + id)))));
    sleep(Duration::from_millis(50));
    server.signal("TERM");
    sleep(Duration::from_millis(200));
    server.signal("TERM");
    let (code, took) = server.ended_within(Duration::from_secs(1));
    assert!(code != Some(0) && took < Duration::from_millis(500), "the second SIGTERM: {code:?} after {took:?}");
}

/// The slowest of that many in a hundred.
fn slowest(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    times[times.len() * percent / 100]
}

/// The database is stopped, and later frozen, under 200 requests a second.
pub fn database_away(case: &mut Case) {
    let Some(cluster) = Cluster::start(&[]) else { return };
    let site = Site::on(Folder::new(), Some(format!("{}/postgres", cluster.url)));
    let mut server = site.serve();
    let away = Duration::from_secs(case.pick(3, 30));
    // Within how long 99 of 100 are told so, and all, for the machine itself may hold up some.
    let mut faults = vec![("stop", "start", [5200, 6200].map(Duration::from_millis))];
    if case.pick(false, true) {
        // The server waits for an answer before it takes a silent database for gone.
        faults.push(("freeze", "thaw", [16_200; 2].map(Duration::from_millis)));
    }
    let next = AtomicU64::new(1);
    let done = Mutex::new(Vec::new());
    for (begin, end, [most, all]) in faults {
        let (stop, waits) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        scope(|scope| {
            // 200 a second, whatever becomes of them.
            scope.spawn(|| {
                let start = Instant::now();
                for n in 1_u32.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    scope.spawn(|| {
                        let (id, sent) = (next.fetch_add(1, Ordering::SeqCst), Instant::now());
                        let answer = Call::create(&site.sandbox, &person(id)).send(&server.url).unwrap();
                        let took = sent.elapsed();
                        assert!(took < all, "{took:?}");
                        waits.lock().unwrap().push(took);
                        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
                        assert!(answer.status == 200 || answer.header("retry-after").is_some(), "{answer:?}");
                        done.lock().unwrap().push((id, answer.status));
                    });
                    sleep((start + n * Duration::from_millis(5)).saturating_duration_since(Instant::now()));
                }
            });
            let _stop = Stop(&stop);
            sleep(Duration::from_millis(500));
            cluster.order(begin);
            let gone = Instant::now();
            let mut alive = Vec::new();
            while gone.elapsed() < away {
                let start = Instant::now();
                assert_eq!(server.status("/livez"), 200);
                alive.push(start.elapsed());
                assert_eq!(server.status("/readyz"), 503);
                sleep(Duration::from_millis(100));
            }
            // All but what the machine itself holds up: the short form runs beside other tests.
            let slow = slowest(alive, case.pick(90, 99));
            assert!(slow < Duration::from_millis(50), "/livez took {slow:?}");
            cluster.order(end);
            let back = Instant::now();
            let create = || Call::create(&site.sandbox, &person(next.fetch_add(1, Ordering::SeqCst)));
            while server.status("/readyz") != 200 || create().send(&server.url).unwrap().status != 200 {
                assert!(back.elapsed() < Duration::from_secs(5), "it has not recovered");
            }
            assert!(back.elapsed() < Duration::from_secs(5), "it recovered after {:?}", back.elapsed());
            case.note("ms to recover", usize::try_from(back.elapsed().as_millis()).unwrap());
            sleep(Duration::from_millis(500));
        });
        let slow = slowest(waits.into_inner().unwrap(), 99);
        assert!(slow < most, "one in a hundred was answered after {slow:?}");
    }
    // One operation hangs, behind a lock of somebody else; 500 others do not.
    let (id, known) = (next.fetch_add(1, Ordering::SeqCst), "pg_sleep(15)");
    assert_eq!(Call::create(&site.sandbox, &person(id)).send(&server.url).unwrap().status, 200);
    let lock = format!("BEGIN; UPDATE users SET version = version WHERE email = '{}'; SELECT {known}", email(id));
    scope(|scope| {
        let holder = scope.spawn(|| cluster.connect("postgres").try_sql(&lock));
        let beside = cluster.connect("postgres");
        let held = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        while beside.sql(held) != "1" {
            sleep(Duration::from_millis(10));
        }
        let start = Instant::now();
        let update = Call::new("POST", "/users/update", &json!({"email": email(id), "diabetes": 1})).by(&site.sandbox);
        let url = &server.url;
        let hung = scope.spawn(move || (update.send(url).unwrap(), start.elapsed()));
        sleep(Duration::from_millis(50));
        let calls = (0..500).map(|id| (server.url.as_str(), Call::create(&site.sandbox, &person(1_000_000 + id))));
        let statuses: Vec<u16> = volley(calls).iter().map(|answer| answer.status).collect();
        assert!(statuses.iter().all(|status| *status == 200), "500 at once: {statuses:?}");
        assert!(start.elapsed() < Duration::from_secs(6), "500 others took {:?}", start.elapsed());
        let (answer, took) = hung.join().unwrap();
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{answer:?}");
        // It waits for the lock four times, two seconds each.
        assert!(took < Duration::from_secs(9), "the one that hung took {took:?}");
        case.note("ms until the one that hung was told so", usize::try_from(took.as_millis()).unwrap());
        beside.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
        drop(holder.join().unwrap());
    });
    let (done, stored) = (done.into_inner().unwrap(), site.persons());
    let lost: Vec<_> = done.iter().filter(|(id, status)| *status == 200 && !stored.contains(id)).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
    let refused = done.iter().filter(|(_, status)| *status == 503).count();
    assert!(refused > 50, "the requests met the fault");
    site.assert_whole();
    // Who is asked to stop does so, whatever the database does.
    cluster.order("freeze");
    server.signal("TERM");
    let (_, took) = server.ended_within(Duration::from_secs(25));
    cluster.order("thaw");
    case.note("ms to stop beside a frozen database", usize::try_from(took.as_millis()).unwrap());
    case.note("acknowledged", done.len() - refused);
    case.note("refused with 503", refused);
}
