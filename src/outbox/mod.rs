//! The outbox: side effects to come, written in the transaction of the change that causes them.
//!
//! A job is queued, then done (`sent`) or given up (`failed`). Mail of a sandbox is `captured` and goes nowhere; mail whose link
//! led nowhere by the time it was to be sent is `withdrawn`.

mod store;

pub use store::{
    backlog, count_given_up, mails_of, newest, not_begun, of_user, of_user_to_change, states_since, troubled, waiting,
};
pub mod worker;

use std::time::Duration;

use serde_json::Value;

use crate::apps::{self, EnvironmentId, Kind as EnvironmentKind};
use crate::audit::INSTALLATION;
use crate::clock::Timestamp;
use crate::db::{Tx, id_type, words};
use crate::error::{Error, Result};
use crate::users::{User, UserId};

id_type!(
    /// A job of the outbox; a mail's `Message-ID` is made from it.
    JobId
);

/// How long finished jobs are kept: what a mail was, and that it was sent.
pub const KEPT: Duration = Duration::from_hours(90 * 24);
/// How many jobs one transaction queues again at the most, so that it holds nobody up.
const AT_ONCE: i64 = 1000;
/// How long a worker has for a job before another may take it: one that died is followed within a minute.
pub const LEASE: Duration = Duration::from_secs(55);
/// How long a try may take at the most: well within the lease, or it is never begun; see [`worker::Leased::ask`].
pub const LONGEST_TRY: Duration = Duration::from_secs(45);

words! {
    /// What is to be done.
    pub enum Kind {
        /// The mail with the magic link. Payload: see [`crate::mail::post`].
        EnrolmentMail = "enrolment",
        /// The mail by which a person signs in. Payload: see [`crate::mail::post`].
        SignInMail = "sign_in",
        /// The mail to the address that a person had before, that theirs was changed. Payload: see [`crate::mail::post`].
        AddressChangedMail = "address_changed",
        /// The mail by which an administrator signs in. Payload: `to`, `link`, `lifetime`.
        AdminSignInMail = "admin_sign_in",
        /// The mail that a webhook was disabled, to its contact. Payload: `to`, `app`, `environment`, `webhook`.
        WebhookGoneMail = "webhook_gone",
        /// Tell the billing provider of a change. Payload: `billing::Task`.
        BillingSync = "billing",
    }
}

impl Kind {
    /// Every kind of mail, in the order in which they get a worker's places: who wants to sign in does not wait behind a
    /// thousand who were enrolled. The word of one is also the folder of its templates.
    pub const MAILS: &'static [Kind] = &[
        Kind::AdminSignInMail,
        Kind::SignInMail,
        Kind::AddressChangedMail,
        Kind::WebhookGoneMail,
        Kind::EnrolmentMail,
    ];

    /// Whether a job waits until older ones of its kind and user are finished.
    fn is_in_order(self) -> bool {
        self == Kind::BillingSync
    }

    /// How long after the first failure a job is tried again, and how often it is tried in all.
    fn patience(self) -> (Duration, i64) {
        match self {
            // Three days. Stripe finds a customer whose making had no answer after a minute, and not before.
            Kind::BillingSync => (Duration::from_mins(2), 77),
            _ => (Duration::from_secs(10), 12),
        }
    }
}

words! {
    /// How far a job has come.
    #[derive(clap::ValueEnum)]
    pub enum State {
        /// Waiting for its first or next try.
        Queued = "queued",
        /// Done.
        Sent = "sent",
        /// Given up.
        Failed = "failed",
        /// Kept in the sandbox.
        Captured = "captured",
        /// Not sent: its link led nowhere by then.
        Withdrawn = "withdrawn",
    }
}

/// One job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Where; [`INSTALLATION`] if in no environment.
    pub environment: EnvironmentId,
    /// Whom it is about.
    pub user: UserId,
    /// What is to be done.
    pub kind: Kind,
    /// What it is done with. Personal; holds a link until it is done. `None` if it is damaged.
    pub payload: Option<Payload>,
    /// How far it has come.
    pub state: State,
    /// How often it was tried.
    pub attempts: i64,
    /// How often what was asked of the other side has to be asked as something new.
    pub round: i64,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it is tried next.
    pub due_at: Option<Timestamp>,
    /// The other side's words for the last failure; ours for why it was withdrawn.
    pub failure: Option<String>,
}

/// A job's data.
#[derive(Clone)]
pub struct Payload(pub Value);

impl Payload {
    /// A text in it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

crate::secret::redacted!(Payload);

impl Job {
    /// Whether the other side may have done what it did not say it did: a try of it ended without its word, or is under way.
    pub fn was_tried_in_vain(&self) -> bool {
        self.round > 0 || self.attempts > i64::from(self.state == State::Sent)
    }

    /// Whether the newest try, under way or not, is the last one.
    fn is_last_try(&self) -> bool {
        self.attempts >= self.kind.patience().1
    }
}

/// Writes a job with the change that causes it.
///
/// # Errors
/// The database refuses.
pub fn enqueue(tx: &Tx, user: &User, kind: Kind, payload: &Value) -> Result<()> {
    enqueue_about(tx, (user.environment, user.id), kind, payload, tx.now())
}

/// Writes a job about somebody who may be gone by now, or about something else than a user, for that time.
///
/// # Errors
/// The database refuses.
pub fn enqueue_about(
    tx: &Tx,
    (environment, user): (EnvironmentId, UserId),
    kind: Kind,
    payload: &Value,
    due_at: Timestamp,
) -> Result<()> {
    let is_mail = Kind::MAILS.contains(&kind) && environment != INSTALLATION;
    let captured = is_mail && apps::by_id(tx, environment)?.kind == EnvironmentKind::Sandbox;
    store::insert(tx, (environment, user), kind, payload, (!captured).then_some(due_at))
}

/// Takes up to `limit` due jobs of these kinds in all for [`LEASE`], those of the first kind first; nobody else gets them
/// meanwhile. Also gives those that are given up: their last try ended without anybody saying how.
///
/// # Errors
/// The database refuses.
pub fn lease(tx: &Tx, kinds: &[Kind], limit: i64) -> Result<(Vec<Job>, Vec<Job>)> {
    let (mut jobs, mut given_up, mut left) = (Vec::new(), Vec::new(), limit);
    for kind in kinds {
        if left <= 0 {
            break;
        }
        for job in store::due(tx, *kind, left)? {
            if job.is_last_try() {
                if store::give_up(tx, &job, job.failure.as_deref().unwrap_or("the last try did not end"))? {
                    given_up.push(job);
                }
            } else if store::lease(tx, &job, tx.now() + LEASE)? {
                jobs.push(Job { attempts: job.attempts + 1, ..job });
                left -= 1;
            }
        }
    }
    Ok((jobs, given_up))
}

/// Whether a job of these kinds is due. Asked before leasing, so that an idle worker writes nothing.
///
/// # Errors
/// The database does not answer.
pub fn any_due(tx: &Tx, kinds: &[Kind]) -> Result<bool> {
    for kind in kinds {
        if !store::due(tx, *kind, 1)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How a try went.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Done.
    Done,
    /// Not now.
    Retry {
        /// The other side's words.
        words: String,
        /// Whether it would repeat this answer to the same request.
        anew: bool,
        /// How long it asks for, if it does. An hour is waited for at the most.
        after: Option<Duration>,
    },
    /// Not now, and the other side was not asked; why. It does not count as a try.
    PutOff(&'static str),
    /// Never; the other side's words.
    GiveUp(String),
    /// Nobody wants it any more; why.
    Withdraw(&'static str),
}

/// What has come to nothing, in one word, for logs and counters.
const GIVEN_UP: &str = "failed";

impl Outcome {
    /// Not now; the other side's words.
    pub fn retry(words: impl Into<String>) -> Outcome {
        Outcome::Retry { words: words.into(), anew: false, after: None }
    }

    /// What it means for the job in one word, for logs and counters.
    pub fn word(&self, job: &Job) -> &'static str {
        match self {
            Outcome::Done => "sent",
            Outcome::Withdraw(_) => "withdrawn",
            Outcome::PutOff(_) => "retry",
            Outcome::Retry { .. } if !job.is_last_try() => "retry",
            _ => GIVEN_UP,
        }
    }
}

/// Notes how a try went, unless another worker has taken the job over since.
///
/// # Errors
/// The database refuses.
pub fn settle(tx: &Tx, job: &Job, outcome: &Outcome) -> Result<()> {
    match outcome {
        Outcome::Done => store::finish(tx, job, State::Sent, None),
        Outcome::Withdraw(why) => store::finish(tx, job, State::Withdrawn, Some(why)),
        Outcome::GiveUp(words) => store::give_up(tx, job, words).map(drop),
        Outcome::PutOff(why) => store::put_off(tx, job, tx.now() + pause(job.kind.patience().0, job.attempts), why),
        Outcome::Retry { words, .. } if job.is_last_try() => store::give_up(tx, job, words).map(drop),
        Outcome::Retry { words, anew, after } => {
            let asked = after.unwrap_or_default().min(LONGEST_PAUSE);
            let pause = pause(job.kind.patience().0, job.attempts).max(asked);
            store::retry(tx, job, tx.now() + pause, words, job.round + i64::from(*anew))
        }
    }
}

/// Queues a job of a kind again that was given up, or some of them, everywhere or in an environment, the oldest first; gives
/// what was queued. There may be more.
///
/// # Errors
/// The database refuses.
pub fn queue_again(
    tx: &Tx,
    kind: Kind,
    environment: Option<EnvironmentId>,
    id: Option<JobId>,
) -> Result<Vec<(JobId, EnvironmentId)>> {
    let given_up = match environment {
        Some(environment) => store::given_up_in(tx, kind, environment, AT_ONCE)?,
        None => store::given_up(tx, kind, id, AT_ONCE)?,
    };
    for (id, _) in &given_up {
        store::queue_again(tx, *id)?;
    }
    Ok(given_up)
}

/// Counts a job of a kind as done that was given up: somebody has seen to it. Gives its environment, if there is such a job.
///
/// # Errors
/// The database refuses.
pub fn dismiss(tx: &Tx, kind: Kind, id: JobId) -> Result<Option<EnvironmentId>> {
    let Some(job) = store::by_id(tx, id)?.filter(|job| job.kind == kind) else { return Ok(None) };
    Ok(store::dismiss(tx, &job)?.then_some(job.environment))
}

/// Removes some of the finished jobs that are older than [`KEPT`], and says whether there may be more.
///
/// # Errors
/// The database refuses.
pub fn purge(tx: &Tx) -> Result<bool> {
    store::purge(tx, tx.now() - KEPT)
}

/// The newest mails of all kinds, newest first.
///
/// # Errors
/// The database does not answer.
pub fn newest_mails(tx: &Tx, limit: i64) -> Result<Vec<Job>> {
    let mut mails = Vec::new();
    for kind in Kind::MAILS {
        mails.extend(newest(tx, *kind, limit)?);
    }
    mails.sort_by_key(|job| std::cmp::Reverse((job.created_at, job.id.0)));
    mails.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(mails)
}

/// For how long the oldest mail has waited that is due or was tried, anywhere.
///
/// # Errors
/// The database does not answer.
pub fn longest_wait(tx: &Tx) -> Result<Duration> {
    let mut longest = Duration::ZERO;
    for kind in Kind::MAILS {
        if let Some(since) = store::oldest(tx, *kind)? {
            let millis = u64::try_from(tx.now().0 - since.0).unwrap_or_default();
            longest = longest.max(Duration::from_millis(millis));
        }
    }
    Ok(longest)
}

/// The job with that id.
///
/// # Errors
/// There is none.
pub fn get(tx: &Tx, id: JobId) -> Result<Job> {
    store::by_id(tx, id)?
        .ok_or_else(|| Error::operator(format!("there is no mail {id}. `usher mail list` shows those that exist.")))
}

/// A mail of an environment.
///
/// # Errors
/// It has no such mail.
pub fn mail_of(tx: &Tx, environment: EnvironmentId, id: JobId) -> Result<Job> {
    let job = store::by_id_in(tx, environment, id)?.filter(|job| Kind::MAILS.contains(&job.kind));
    job.ok_or(Error::NotFound("There is no such mail"))
}

/// The longest pause between tries, but for what is added so that failures do not return in step.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// The pause after that many tries: the first one, doubled each time up to the longest, give or take a fifth so that failures do
/// not return in step.
fn pause(first: Duration, attempts: i64) -> Duration {
    let doublings = u32::try_from(attempts - 1).unwrap_or(0).min(9);
    let base = first.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    let [dice] = crate::random::bytes::<1>();
    base.mul_f64(0.8 + 0.4 * f64::from(dice) / 255.0)
}
