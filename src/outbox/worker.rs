//! Does what the outbox holds: leases due jobs, sends them, notes how it went.
//!
//! Any number of workers may run, here and on other servers: a lease keeps two from one job, and ends by itself
//! when a worker dies. Knows no SQL; the app spawns it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::{Kind, Outcome, lease, settle};
use crate::db::Store;
use crate::error::Result;
use crate::mail;
use crate::mail::transport::Smtp;

/// How often the outbox is looked at when nothing rings.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many mails are on their way at once.
const AT_ONCE: i64 = 8;

/// Rings when there may be something to do.
#[derive(Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// Something may have been queued.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// Sends live mail until the task is dropped. `noted` hears how each try went.
pub async fn run(store: Store, bell: Bell, smtp: Smtp, noted: impl Fn(&'static str)) {
    loop {
        match round(&store, &smtp, &noted).await {
            Ok(true) => {}
            Ok(false) => {
                let _ = tokio::time::timeout(INTERVAL, bell.0.notified()).await;
            }
            Err(e) => {
                tracing::error!(code = e.code(), what = e.for_log(), "the outbox could not be read");
                tokio::time::sleep(INTERVAL).await;
            }
        }
    }
}

/// One batch; `false` when there was nothing to do.
async fn round(store: &Store, smtp: &Smtp, noted: &impl Fn(&'static str)) -> Result<bool> {
    if !store.read(|tx| super::any_due(tx, Kind::MAILS)).await? {
        return Ok(false);
    }
    let jobs = store.write(|tx| lease(tx, Kind::MAILS, AT_ONCE)).await?;
    let busy = !jobs.is_empty();
    let tries = jobs.into_iter().map(|job| async move {
        let outcome = match mail::render(&job)? {
            Some(mail) => smtp.send(&mail, job.id).await,
            None => Outcome::GiveUp("the message is gone".to_owned()),
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
    });
    for settled in futures_util::future::join_all(tries).await {
        settled?;
    }
    Ok(busy)
}
