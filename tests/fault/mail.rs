//! The outbox and its workers, which may die.

use std::collections::{BTreeMap, BTreeSet};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::harness::But;
use crate::sink::Sink;
use crate::site::{Server, Site};
use crate::wire::{Call, Line, email, person};

/// How many mails a worker has under way at the most: that many may be sent twice when it dies.
const AT_ONCE: usize = 8;
/// A job of a worker that died is begun by another within this.
const TAKEN_OVER: Duration = Duration::from_mins(1);

fn worker(site: &Site, sink: &Sink) -> Server {
    site.serve_with(&[], &["--smtp-url", &sink.url, "--public-url", "https://users.example.com"])
}

/// Creates persons from several connections; every tenth has a phone number that is taken, and is refused.
fn enrol(site: &Site, front: &Server, persons: u64) -> BTreeSet<String> {
    let taken = person(0);
    assert_eq!(Call::create(&site.live, &taken).send(&front.url).unwrap().status, 200);
    let enrol = |lane: u64| {
        let mut line = Line::to(&front.url).unwrap();
        for id in (lane..=persons).step_by(8) {
            let body =
                if id % 10 == 0 { person(id).but("phonenumber", taken["phonenumber"].clone()) } else { person(id) };
            let answer = line.send(&Call::create(&site.live, &body)).unwrap();
            assert_eq!(answer.status, if id % 10 == 0 { 409 } else { 200 }, "{answer:?}");
        }
    };
    scope(|scope| (1..=8).for_each(|lane| _ = scope.spawn(move || enrol(lane))));
    (0..=persons).filter(|id| *id == 0 || id % 10 != 0).map(email).collect()
}

fn await_empty(site: &Site, most: Duration) {
    let start = Instant::now();
    while site.count("outbox WHERE state = 'queued'") > 0 {
        assert!(start.elapsed() < most, "mails still wait after {most:?}");
        sleep(Duration::from_millis(50));
    }
}

/// A minute passes for the leases that a dead worker has left.
fn let_leases_end(site: &Site) {
    site.sql("UPDATE outbox SET leased_until = leased_until - 60000 WHERE leased_until IS NOT NULL RETURNING 1");
}

/// A worker is killed again and again while persons are enrolled.
pub fn dying_worker(case: &mut Case) {
    let (site, sink) = (Site::new(), Sink::open());
    sink.think(Duration::from_millis(10));
    let front = site.serve();
    let (persons, kills) = (case.pick(200, 1000), case.pick(8, 50));
    let enrolled = scope(|scope| {
        let enrolling = scope.spawn(|| enrol(&site, &front, persons));
        for _ in 0..kills {
            let worker = worker(&site, &sink);
            sleep(Duration::from_millis(case.dice(20..150)));
            worker.kill();
            let_leases_end(&site);
        }
        enrolling.join().unwrap()
    });
    let last = worker(&site, &sink);
    await_empty(&site, Duration::from_mins(1));
    last.stop();

    let mails = sink.mails();
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (to, id) in &mails {
        ids.entry(to).or_default().insert(id);
    }
    let reached: BTreeSet<String> = ids.keys().map(|to| (*to).to_owned()).collect();
    assert_eq!(reached, enrolled, "everybody who was enrolled, and nobody else, has a mail");
    let renamed: Vec<_> = ids.iter().filter(|(_, ids)| ids.len() > 1).collect();
    assert!(renamed.is_empty(), "a second try is another message: {renamed:?}");
    let distinct: BTreeSet<_> = ids.values().flatten().collect();
    assert_eq!(distinct.len(), enrolled.len(), "two persons share a Message-ID");
    let twice = mails.len() - enrolled.len();
    assert!(twice <= kills * AT_ONCE, "{twice} mails were sent again after {kills} kills");
    for (what, number) in [("enrolled", enrolled.len()), ("kills", kills), ("sent again", twice)] {
        case.note(what, number);
    }
}

/// Four workers at one outbox, and then one that dies with mails in its hands.
pub fn workers(case: &mut Case) {
    let (site, sink) = (Site::new(), Sink::open());
    let front = site.serve();
    let enrolled = enrol(&site, &front, case.pick(300, 11_000));
    sink.think(Duration::from_millis(5));
    let workers: Vec<Server> = (0..4).map(|_| worker(&site, &sink)).collect();
    let start = Instant::now();
    while site.count("outbox WHERE state = 'queued'") > 0 {
        assert_eq!(site.count("outbox WHERE attempts > 1"), 0, "a mail was leased twice");
        assert!(start.elapsed() < Duration::from_secs(case.pick(30, 300)), "the workers are too slow");
        sleep(Duration::from_millis(100));
    }
    assert_eq!(site.count("outbox WHERE attempts <> 1"), 0, "a mail was leased twice");
    assert_eq!(sink.mails().len(), enrolled.len(), "every mail once");
    workers.into_iter().for_each(Server::stop);
    case.note("mails", enrolled.len());

    sink.think(Duration::from_secs(20));
    let dying = worker(&site, &sink);
    let leased = Instant::now();
    for id in 20_000..20_008 {
        assert_eq!(Call::create(&site.live, &person(id)).send(&front.url).unwrap().status, 200);
    }
    while sink.mails().len() < enrolled.len() + AT_ONCE {
        assert!(leased.elapsed() < Duration::from_secs(10), "nobody began");
        sleep(Duration::from_millis(10));
    }
    dying.kill();
    sink.think(Duration::ZERO);
    let heir = worker(&site, &sink);
    sleep(Duration::from_millis(1500));
    assert_eq!(site.count("outbox WHERE state = 'queued' AND attempts = 1"), AT_ONCE, "a lease that lives was taken");
    if case.pick(true, false) {
        let_leases_end(&site);
        await_empty(&site, Duration::from_secs(3));
    } else {
        await_empty(&site, TAKEN_OVER.saturating_sub(leased.elapsed()));
        case.note("seconds until the last was taken over", usize::try_from(leased.elapsed().as_secs()).unwrap());
    }
    heir.stop();
    let sent = sink.mails();
    let again: BTreeSet<_> = sent[enrolled.len()..].iter().collect();
    assert_eq!((sent.len() - enrolled.len(), again.len()), (2 * AT_ONCE, AT_ONCE), "each again, as the same message");
}
