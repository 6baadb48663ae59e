//! Does what the outbox holds: leases due jobs, sends them, notes how it went.
//!
//! Any number of workers may run, here and on other servers: a lease keeps two from one job, and ends by itself
//! when a worker dies. Knows no SQL; the app spawns it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;

use super::{Job, Kind, Outcome, lease, settle};
use crate::db::Store;
use crate::error::{Error, Result};
use crate::mail;
use crate::mail::transport::Smtp;

/// How often the outbox is looked at when nothing rings.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many mails are on their way at once.
const AT_ONCE: usize = 8;

/// Rings when there may be something to do, or when it is time to stop.
#[derive(Clone, Default)]
pub struct Bell(Arc<Rope>);

#[derive(Default)]
struct Rope {
    notify: Notify,
    closing: AtomicBool,
}

impl Bell {
    /// Something may have been queued.
    pub fn wake(&self) {
        self.0.notify.notify_one();
    }

    /// Nothing more is to be begun.
    pub fn close(&self) {
        self.0.closing.store(true, Ordering::SeqCst);
        self.wake();
    }
}

/// Sends live mail until the bell is closed, and then finishes what has begun: a mail that the other side took must
/// be noted, or it would be sent again. `noted` hears how each try went.
///
/// One that hangs takes one of [`AT_ONCE`] places until its time is over; the others go on.
pub async fn run(store: Store, bell: Bell, smtp: Smtp, noted: impl Fn(&'static str)) {
    let mut under_way = FuturesUnordered::new();
    while !(bell.0.closing.load(Ordering::SeqCst) && under_way.is_empty()) {
        let free = if bell.0.closing.load(Ordering::SeqCst) { 0 } else { AT_ONCE - under_way.len() };
        match take(&store, free).await {
            Ok(jobs) => under_way.extend(jobs.into_iter().map(|job| attempt(&store, &smtp, &noted, job))),
            Err(e) => complain(&e),
        }
        tokio::select! {
            Some(settled) = under_way.next() => if let Err(e) = settled { complain(&e) },
            () = bell.0.notify.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// Up to `free` due jobs, leased. Looks before it leases, so that an idle worker writes nothing.
async fn take(store: &Store, free: usize) -> Result<Vec<Job>> {
    if free == 0 || !store.read(|tx| super::any_due(tx, Kind::MAILS)).await? {
        return Ok(Vec::new());
    }
    store.write(move |tx| lease(tx, Kind::MAILS, i64::try_from(free).unwrap_or(1))).await
}

async fn attempt(store: &Store, smtp: &Smtp, noted: &impl Fn(&'static str), job: Job) -> Result<()> {
    let outcome = if let Ok(Some(mail)) = mail::render(&job) {
        smtp.send(&mail, job.id).await
    } else {
        tracing::error!(mail = %job.id, "a mail cannot be made of its data");
        Outcome::GiveUp("the message cannot be read: its data is damaged".to_owned())
    };
    let word = match outcome {
        Outcome::Done => "sent",
        Outcome::Retry(_) => "retry",
        Outcome::GiveUp(_) => "failed",
    };
    // The other side's words may repeat the address, so they go to the database and not to the log.
    tracing::info!(mail = %job.id, attempt = job.attempts, outcome = word, "mail");
    noted(word);
    store.write(move |tx| settle(tx, &job, &outcome)).await
}

fn complain(error: &Error) {
    tracing::error!(code = error.code(), what = error.for_log(), "the outbox cannot be worked on");
}
