//! Callers that enrol people while something else happens.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{But, jane};
use crate::program::Program;

/// Who was enrolled.
pub struct Enrolled {
    /// The addresses that were acknowledged before it began.
    pub before: Vec<String>,
    /// How many were acknowledged while it went on, and in all.
    pub during: usize,
    pub total: usize,
}

/// Says stop when it is dropped: also when a test fails, whose callers would otherwise go on for ever.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Waits until something has happened.
#[track_caller]
pub fn wait_for(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "it did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs something beside four callers that enrol people, none of whom may be refused or held up.
pub fn beside(server: &Program, something: impl FnOnce()) -> Enrolled {
    let (acknowledged, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let count = || acknowledged.lock().unwrap().len();
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (acknowledged, stop) = (&acknowledged, &stop);
            scope.spawn(move || {
                for i in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let email = format!("c{client}n{i}@doe.com");
                    let body = jane()
                        .but("email", json!(email))
                        .but("phonenumber", json!(format!("202{client}{i:06}")))
                        .but("metadata", json!({"number": i}));
                    assert_eq!(server.enrol(&body).0, 200, "a write failed");
                    acknowledged.lock().unwrap().push(email);
                }
            });
        }
        let _stop = Stop(&stop);
        wait_for(|| count() >= 60);
        let before = acknowledged.lock().unwrap().clone();
        something();
        let during = count() - before.len();
        // Of a server that was held up, each caller would see the end of one write at the most.
        assert!(during > 8, "only {during} writes were acknowledged meanwhile");
        let total = before.len() + during + 20;
        wait_for(|| count() >= total);
        Enrolled { before, during, total }
    })
}
