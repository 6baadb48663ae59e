//! Servers and power that go at any moment, and clients that hang up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use crate::case::Case;
use crate::disk::Disk;
use crate::harness::Folder;
use crate::ledger::{Book, Ledger};
use crate::site::Site;
use crate::wire::{Call, Line, person, volley};

const CLIENTS: usize = 32;

pub fn sigkills(case: &mut Case) {
    let cycles = case.pick(4, 200);
    crashes(case, cycles, &[], |_, _| ());
}

pub fn power_cuts(case: &mut Case) {
    let Some(disk) = Disk::new() else { return };
    let cycles = case.pick(6, 500);
    crashes(case, cycles, &disk.variables(), |case, site| {
        let lost = disk.lose_power(&site.folder.0, case);
        case.note("writes lost", lost);
    });
}

/// Each cycle, clients create persons until the server is killed in the midst; then all that is in doubt is sent again.
fn crashes(case: &mut Case, cycles: usize, variables: &[(&str, &str)], after_kill: impl Fn(&mut Case, &Site)) {
    let (site, shelf) = (Site::new(), Folder::new());
    let next = AtomicU64::new(1);
    let create = |id: u64| Call::create(&site.sandbox, &person(id)).once(&format!("person-{id}"));
    let work = |url: &str, client: usize| {
        let mut ledger = Ledger::of(&shelf.0, client);
        let Ok(mut line) = Line::to(url) else { return };
        loop {
            let id = next.fetch_add(1, Ordering::SeqCst);
            ledger.intend(id);
            let Ok(answer) = line.send(&create(id)) else { return };
            assert_eq!(answer.status, 200, "{answer:?}");
            ledger.acknowledge(id, &answer.identifier());
        }
    };
    let mut server = site.serve_with(variables, &[]);
    for _ in 0..cycles {
        let span = Duration::from_millis(case.dice(case.pick(50..400, 500..3000)));
        scope(|scope| {
            let url = &server.url;
            (0..CLIENTS).for_each(|client| _ = scope.spawn(move || work(url, client)));
            sleep(span);
            server.signal("KILL");
        });
        server.kill();
        after_kill(case, &site);
        server = site.serve_with(variables, &[]);
        assert!(server.ready_after <= Duration::from_secs(3), "ready after {:?}", server.ready_after);

        let (book, stored) = (Book::read(&shelf.0), site.persons());
        book.assert_agrees_with(&stored);
        let mut ledger = Ledger::of(&shelf.0, CLIENTS);
        for id in book.in_doubt() {
            let answer = create(id).send(&server.url).unwrap();
            assert_eq!((answer.status, answer.replayed()), (200, stored.contains(&id)), "person {id}: {answer:?}");
            ledger.acknowledge(id, &answer.identifier());
            case.note("in doubt", 1);
        }
        for (id, user) in book.acknowledged.iter().rev().take(CLIENTS) {
            let answer = create(*id).send(&server.url).unwrap();
            assert_eq!((answer.replayed(), answer.identifier()), (true, user.clone()), "person {id}");
        }
        case.note("kills", 1);
    }
    let book = Book::read(&shelf.0);
    assert_eq!(site.persons(), book.intended, "everybody, once each");
    case.note("persons", book.intended.len());
    site.assert_whole();
}

/// Clients that send a creation, or a part of one, and reset the connection within 20 ms.
pub fn hang_ups(case: &mut Case) {
    let site = Site::new();
    let server = site.serve();
    let create = |id: u64| Call::create(&site.sandbox, &person(id)).once(&format!("person-{id}"));
    let plans: Vec<(u64, u64, bool)> =
        (1..=case.pick(300, 2000)).map(|id| (id, case.dice(0..20_000), case.dice(0..4) == 0)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    scope(|scope| {
        for plans in plans.chunks(plans.len().div_ceil(8)) {
            let (url, create, handle) = (&server.url, &create, runtime.handle());
            scope.spawn(move || {
                let _context = handle.enter();
                for (id, micros, in_part) in plans {
                    let bytes = create(*id).bytes();
                    let end = if *in_part { bytes.len() - 1 } else { bytes.len() };
                    let mut line = Line::to(url).unwrap();
                    line.write(&bytes[..end]).unwrap();
                    sleep(Duration::from_micros(*micros));
                    let socket = line.into_socket();
                    socket.set_nonblocking(true).unwrap();
                    // A reset, as of a machine that is gone, where a plain close would say farewell.
                    tokio::net::TcpStream::from_std(socket).unwrap().set_zero_linger().unwrap();
                }
            });
        }
    });
    // What was under way runs to its end, whoever is gone.
    sleep(Duration::from_millis(500));
    let stored = site.persons();
    site.assert_whole();
    for (id, _, in_part) in &plans {
        assert!(!(*in_part && stored.contains(id)), "person {id} was made of half a request");
        let answer = create(*id).send(&server.url).unwrap();
        assert_eq!((answer.status, answer.replayed()), (200, stored.contains(id)), "person {id}: {answer:?}");
    }
    assert_eq!(site.persons().len(), plans.len());
    assert_eq!(site.count("outbox"), plans.len());
    site.assert_whole();
    // Nothing is held for those who are gone.
    let fresh = (0..64).map(|id| (server.url.as_str(), Call::create(&site.sandbox, &person(1_000_000 + id))));
    let start = std::time::Instant::now();
    assert!(volley(fresh).iter().all(|answer| answer.status == 200));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    case.note("hang-ups", plans.len());
    case.note("done nevertheless", stored.len());
}
