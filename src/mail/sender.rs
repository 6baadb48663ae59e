//! Sends the mail that the outbox holds, unless its link leads nowhere by then: the address was corrected, say, while the mail
//! server was away.

use std::sync::Arc;

use super::transport::Smtp;
use crate::admins;
use crate::db::{Store, Tx};
use crate::error::{Error, Result};
use crate::links::{self, State};
use crate::outbox::worker::{self, Leased, Unanswered, Work};
use crate::outbox::{Job, Kind, Outcome};
use crate::secret::Secret;
use crate::signin;

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
        worker::take(store, Kind::MAILS, free, &self.noted).await
    }

    async fn attempt(&self, store: &Store, job: Leased<Job>) -> Result<()> {
        let read = Job::clone(&job);
        let made = move |tx: &Tx| match why_not(tx, &read)? {
            Some(why) => Ok(Err(why)),
            None => super::render(tx, &read).map(Ok),
        };
        let outcome = match store.read(made).await {
            Ok(Ok(Some(mail))) => {
                let sent = job.ask(self.smtp.timeout(), self.smtp.send(&mail, job.id)).await;
                sent.unwrap_or_else(Outcome::from)
            }
            Ok(Err(why)) => Outcome::Withdraw(why),
            Err(e) if e.passes() => Unanswered::NotAsked.into(),
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
        State::Withdrawn | State::Elsewhere | State::Unknown => Some("not sent: its link was gone by then"),
    })
}
