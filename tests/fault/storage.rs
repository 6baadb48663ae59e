//! A disk that is full, and one that fails.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::case::Case;
use crate::disk::Disk;
use crate::site::Site;
use crate::wire::{Answer, Call, Line, Stop, email, person};

/// What came of the creation of a person.
struct Outcome {
    id: u64,
    sent: Instant,
    answered: Instant,
    /// 0 if there was no answer.
    status: u16,
    answer: Option<Answer>,
}

/// Creates persons from four connections, each `pause` after its last, until told to stop.
fn create(site: &Site, url: &str, pause: Duration, stop: &AtomicBool, next: &AtomicU64) -> Vec<Outcome> {
    let outcomes = Mutex::new(Vec::new());
    let work = || {
        let mut line = None;
        while !stop.load(Ordering::SeqCst) {
            let (id, sent) = (next.fetch_add(1, Ordering::SeqCst), Instant::now());
            let call = Call::create(&site.sandbox, &person(id));
            let answer = line.take().map_or_else(|| Line::to(url), Ok).and_then(|mut kept: Line| {
                let answer = kept.send(&call)?;
                line = Some(kept);
                Ok(answer)
            });
            let status = answer.as_ref().map_or(0, |answer| answer.status);
            outcomes.lock().unwrap().push(Outcome { id, sent, answered: Instant::now(), status, answer: answer.ok() });
            sleep(if status == 0 { Duration::from_millis(20) } else { pause });
        }
    };
    scope(|scope| (0..4).for_each(|_| _ = scope.spawn(work)));
    outcomes.into_inner().unwrap()
}

fn acknowledged(outcomes: &[Outcome]) -> BTreeSet<u64> {
    outcomes.iter().filter(|outcome| outcome.status == 200).map(|outcome| outcome.id).collect()
}

/// 200 writes a second onto a disk that fills up, or of which a quota is used up, and is then given space again.
pub fn full(case: &mut Case) {
    for kind in ["limit", "quota"] {
        fill(case, kind);
    }
}

fn fill(case: &mut Case, kind: &str) {
    let Some(disk) = Disk::new() else { return };
    let site = Site::new();
    let server = site.serve_with(&disk.variables(), &[]);
    let (stop, next) = (AtomicBool::new(false), AtomicU64::new(1));
    let first = next.fetch_add(1, Ordering::SeqCst);
    assert_eq!(Call::create(&site.sandbox, &person(first)).send(&server.url).unwrap().status, 200);
    let full_for = Duration::from_secs(case.pick(2, 10));
    disk.order(&format!("{kind} {}", case.pick(600 << 10, 64 << 20)));
    let mended = Mutex::new(None);
    let (mut shown, mut withheld) = (0, 0);
    let outcomes = scope(|scope| {
        let writers = scope.spawn(|| {
            let pause = case.pick(Duration::from_millis(5), Duration::ZERO);
            create(&site, &server.url, pause, &stop, &next)
        });
        let told = Stop(&stop);
        let refused = || Call::create(&site.sandbox, &person(next.fetch_add(1, Ordering::SeqCst)));
        let start = Instant::now();
        while refused().send(&server.url).unwrap().status == 200 {
            assert!(start.elapsed() < Duration::from_mins(10), "the disk did not fill up");
            sleep(Duration::from_millis(20));
        }
        let full_since = Instant::now();
        while full_since.elapsed() < full_for {
            for path in [format!("/v1/apps/{}/public-keys", site.client_id), format!("/v1/users/{}", email(first))] {
                let read = Call::get(&path).with("X-API-KEY", &site.sandbox).with("X-API-KEY-TYPE", "write");
                let read = read.with("X-CLIENT-ID", &site.client_id).send(&server.url).unwrap();
                assert_eq!(read.status, 200, "a read of {path} while the disk is full: {read:?}");
            }
            // An entry in the trail may fit where a creation does not; without one, health data is shown to nobody.
            let reveal = Call::new("POST", "/users/retrieve", &json!({"email": email(first)})).by(&site.sandbox);
            let answer = reveal.send(&server.url).unwrap();
            if answer.status == 200 {
                shown += 1;
            } else {
                withheld += 1;
                assert_eq!(answer.status, 507, "health data while the disk is full: {answer:?}");
                let tells = [email(first).as_str(), "diabetes"].iter().any(|text| answer.body.contains(text));
                assert!(answer.body.contains("storage_full") && !tells, "{answer:?}");
            }
            sleep(Duration::from_millis(50));
        }
        // There may be no other file for a moment more: a quota that is raised between a write that it refused and the look for it
        // ends the server, as any failed write does.
        disk.order(&format!("{kind} {}", i64::MAX - 1));
        *mended.lock().unwrap() = Some(Instant::now());
        sleep(Duration::from_secs(1));
        disk.order("");
        sleep(Duration::from_secs(1));
        drop(told);
        writers.join().unwrap()
    });
    let mended = mended.into_inner().unwrap().unwrap();
    for outcome in &outcomes {
        let clear = match &outcome.answer {
            Some(answer) if answer.status == 507 => answer.body.contains("storage_full"),
            Some(answer) => matches!(answer.status, 200 | 503),
            None => false,
        };
        assert!(clear, "{} {:?}", outcome.status, outcome.answer);
    }
    let late = |outcome: &&Outcome| outcome.sent > mended + Duration::from_secs(1);
    assert!(outcomes.iter().filter(late).count() > 20, "the server is back at work");
    assert!(outcomes.iter().filter(late).all(|outcome| outcome.status == 200), "it recovers without a restart");
    let refused = outcomes.iter().filter(|outcome| outcome.status == 507).count();
    assert!(refused > 0, "the writers met the full disk");
    server.kill();
    let _server = site.serve();
    let stored = site.persons();
    let done = acknowledged(&outcomes);
    assert!(done.is_subset(&stored), "acknowledged and gone: {:?}", done.difference(&stored));
    site.assert_whole();
    assert!(withheld > 0, "who asked for health data met the full disk");
    assert!(shown <= site.count("audit WHERE action = 'user.health_read'"), "health data was shown without an entry");
    case.note("acknowledged", done.len());
    case.note("refused with 507", refused);
    case.note("reveals refused with 507", withheld);
}

/// The n-th write, the n-th fsync, or the n-th of the log's being written back, fails.
pub fn failing(case: &mut Case) {
    let template = Site::new();
    let all: Vec<u64> = (1..=200).collect();
    let some = [1, 2, case.dice(3..20), case.dice(20..200)].to_vec();
    for kind in ["write", "fsync"] {
        for n in case.pick(&some, &all) {
            fail(case, &template, kind, *n);
        }
    }
    for n in 1..=case.pick(1, 5) {
        fail(case, &template, "checkpoint", n);
    }
}

fn fail(case: &mut Case, template: &Site, kind: &str, n: u64) {
    let Some(disk) = Disk::new() else { return };
    let what = format!("{kind} {n}");
    let site = template.copy();
    let mut server = site.serve_with(&disk.variables(), &[]);
    let (stop, next) = (AtomicBool::new(false), AtomicU64::new(1));
    disk.order(&what);
    let (failed, outcomes, end) = scope(|scope| {
        let url = server.url.clone();
        let (site, stop, next) = (&site, &stop, &next);
        let writers = scope.spawn(move || create(site, &url, Duration::ZERO, stop, next));
        let told = Stop(stop);
        let carried_out = disk.has_failed(Duration::from_secs(20));
        let failed = Instant::now();
        // The writers go on meanwhile: nothing that they send may be acknowledged any more.
        let end = server.end_within(Duration::from_millis(1500));
        drop(told);
        let outcomes = writers.join().unwrap();
        assert!(carried_out, "{what}: there was no such call; {} were acknowledged", acknowledged(&outcomes).len());
        (failed, outcomes, end)
    });
    let refused = outcomes.iter().filter(|outcome| outcome.status != 200).map(|outcome| outcome.answered).min();
    let from = refused.unwrap_or(failed).max(failed);
    let later: Vec<u64> = outcomes.iter().filter(|o| o.status == 200 && o.sent > from).map(|o| o.id).collect();
    assert!(later.is_empty(), "{what}: {} writes were acknowledged after it: {later:?}", later.len());
    assert!(
        end.and_then(|end| end.code()).is_some_and(|code| code != 0),
        "{what}: it goes on, or ended with {end:?}: {}",
        server.log()
    );
    assert!(server.complained(), "{what}: {}", server.log());
    let _server = site.serve();
    let (done, stored) = (acknowledged(&outcomes), site.persons());
    assert!(done.is_subset(&stored), "{what}: acknowledged and gone: {:?}", done.difference(&stored));
    site.assert_whole();
    case.note("failures", 1);
    case.note("acknowledged before", done.len());
}
