//! Sends the mail that the outbox holds.

use std::sync::Arc;

use super::transport::Smtp;
use crate::db::Store;
use crate::error::{Error, Result};
use crate::outbox::worker::{self, Work};
use crate::outbox::{Job, Kind, Outcome};

/// Sends mail by SMTP. One that hangs takes one place until its time is over; the others go on.
pub struct Sender<N> {
    smtp: Arc<Smtp>,
    /// Hears how each try went.
    noted: N,
}

impl<N> Sender<N> {
    /// Sends by `smtp`.
    pub fn new(smtp: Arc<Smtp>, noted: N) -> Sender<N> {
        Sender { smtp, noted }
    }
}

impl<N: Fn(&'static str) + Send + Sync> Work for Sender<N> {
    type Job = Job;
    const AT_ONCE: usize = 8;

    async fn take(&self, store: &Store, free: usize) -> Result<Vec<Job>> {
        worker::take(store, Kind::MAILS, free).await
    }

    async fn attempt(&self, store: &Store, job: Job) -> Result<()> {
        let read = job.clone();
        let outcome = match store.read(move |tx| super::render(tx, &read)).await {
            Ok(Some(mail)) => self.smtp.send(&mail, job.id).await,
            Err(e) if !matches!(e, Error::Integrity) => return Err(e),
            _ => {
                tracing::error!(mail = %job.id, "a mail cannot be made of its data");
                Outcome::GiveUp("the message cannot be read: its data is damaged".to_owned())
            }
        };
        // The other side's words may repeat the address, so they go to the database and not to the log.
        let word = outcome.word(&job);
        tracing::info!(mail = %job.id, attempt = job.attempts, outcome = word, "mail");
        (self.noted)(word);
        worker::settle(store, job, outcome).await
    }
}
