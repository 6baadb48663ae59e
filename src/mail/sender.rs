//! Sends the mail that the outbox holds, unless its link leads nowhere by then: the address was corrected, say, while the mail
//! server was away.

use std::sync::Arc;
use std::time::Duration;

use super::transport::Smtp;
use crate::admins;
use crate::clock::Stopwatch;
use crate::db::{Store, Tx};
use crate::error::{Error, Result};
use crate::links::{self, State};
use crate::outbox::worker::{self, Work};
use crate::outbox::{Job, Kind, LEASE, Outcome};
use crate::secret::Secret;
use crate::signin;

/// How long it may take to note how a try went.
const NOTED: Duration = Duration::from_secs(5);

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

/// A mail to send.
pub struct Leased {
    job: Job,
    /// Began before the lease did.
    since: Stopwatch,
}

impl<N: Fn(&'static str) + Send + Sync> Work for Sender<N> {
    type Job = Leased;
    const AT_ONCE: usize = 8;

    async fn take(&self, store: &Store, free: usize) -> Result<Vec<Leased>> {
        let since = Stopwatch::start();
        let jobs = worker::take(store, Kind::MAILS, free).await?;
        Ok(jobs.into_iter().map(|job| Leased { job, since }).collect())
    }

    async fn attempt(&self, store: &Store, Leased { job, since }: Leased) -> Result<()> {
        let read = job.clone();
        let made = move |tx: &Tx| match why_not(tx, &read)? {
            Some(why) => Ok(Err(why)),
            None => super::render(tx, &read).map(Ok),
        };
        let outcome = match store.read(made).await {
            // Whoever has it next would send it at the same time.
            Ok(Ok(Some(_))) if since.elapsed() + self.smtp.timeout() + NOTED > LEASE => {
                Outcome::Retry("the database took too long".to_owned())
            }
            Ok(Ok(Some(mail))) => self.smtp.send(&mail, job.id).await,
            Ok(Err(why)) => Outcome::Withdraw(why),
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

/// Why a mail is not to be sent any more, if it is not.
fn why_not(tx: &Tx, job: &Job) -> Result<Option<&'static str>> {
    let link = job.payload.as_ref().and_then(|payload| payload.text("link")?.rsplit('/').next());
    let Some(link) = link.map(Secret::new) else { return Ok(None) };
    let worth = match job.kind {
        Kind::EnrolmentMail => links::worth(tx, &link)?,
        Kind::SignInMail => signin::worth(tx, &link)?,
        Kind::AdminSignInMail if admins::look(tx, &link)? => State::Open,
        Kind::AdminSignInMail => State::Expired,
        _ => return Ok(None),
    };
    Ok(match worth {
        State::Open => None,
        // By its page the person has another one sent.
        State::Expired if job.kind == Kind::EnrolmentMail => None,
        State::Expired => Some("not sent: its link had ended by then"),
        State::Used => Some("not sent: its link had been used by then"),
        State::Superseded => Some(
            "not sent: its link had ended by then; there is a newer one or another address, or the person may not sign in",
        ),
        State::Elsewhere | State::Unknown => Some("not sent: its link was gone by then"),
    })
}
