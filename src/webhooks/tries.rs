//! The tries of a delivery: which are due, how they went, when the next one is, and what an endpoint's answer means for it.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::{AT_ONCE, Delivery, Endpoint, EndpointId, State, disable, note, store};
use crate::apps;
use crate::audit::Action;
use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::limits::Limit;
use crate::outbox::{self, LEASE};
use crate::random;
use crate::users::{self, UserId};

/// The pauses between tries, as the specification suggests: three days and a few hours in all.
const PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];
/// How long an event, or its replay, may wait before a failed try is its last: what waited behind an outage does not wait as
/// long again.
pub(super) const TOO_OLD: Duration = Duration::from_hours(76);

/// How many mails of an environment an address is sent as a contact: a key says whose it is, and can have a webhook be gone again
/// and again.
pub const MAILS: Limit = Limit { what: "mails to a contact", most: 5, span: Duration::from_hours(24) };

/// A delivery that is leased, with where it goes to.
#[derive(Clone, Debug)]
pub struct Job {
    /// What is sent.
    pub delivery: Delivery,
    /// Where to.
    pub endpoint: Endpoint,
}

/// Takes due deliveries for [`LEASE`], up to so many for each endpoint. Of one user and endpoint, only the oldest. Also gives the
/// endpoints whose data is damaged: they must not stop the others.
///
/// # Errors
/// The database refuses.
pub fn lease(tx: &Tx, places: &[(EndpointId, i64)]) -> Result<(Vec<Job>, Vec<EndpointId>)> {
    let (mut jobs, mut damaged) = (Vec::new(), Vec::new());
    for (id, limit) in places {
        let endpoint = match store::lock(tx, *id) {
            Err(Error::Integrity) => {
                damaged.push(*id);
                continue;
            }
            endpoint => endpoint?,
        };
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.disabled_at.is_none()) else { continue };
        store::hold_back(tx, *id, AT_ONCE)?;
        for mut delivery in store::due_at(tx, *id, *limit)? {
            if store::lease(tx, &delivery, tx.now() + LEASE)? {
                delivery.attempts += 1;
                jobs.push(Job { delivery, endpoint: endpoint.clone() });
            }
        }
    }
    Ok((jobs, damaged))
}

/// How a try went.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The endpoint answered with this status, and these words.
    Answered(u16, String),
    /// There was no answer.
    Failed(String),
    /// The endpoint was not asked; why. So this is not the last try, however old the event is.
    NotAsked(&'static str),
    /// The endpoint's API date has no such event.
    Unknown,
}

impl Outcome {
    /// What it means for the delivery in one word, for logs and counters.
    pub fn word(&self, delivery: &Delivery, now: Timestamp) -> &'static str {
        match self {
            Outcome::Answered(200..=299, _) => "sent",
            Outcome::Unknown => "skipped",
            Outcome::Answered(410, _) => "gone",
            _ if self.pause_after(delivery, now).is_some() => "retry",
            _ => "failed",
        }
    }

    /// The pause after a failed try; `None` after the last.
    fn pause_after(&self, delivery: &Delivery, now: Timestamp) -> Option<Duration> {
        let tried = usize::try_from(delivery.attempts).unwrap_or(usize::MAX);
        let pause = PAUSES.get(tried.saturating_sub(1)).copied();
        if matches!(self, Outcome::NotAsked(_)) {
            return pause.or(PAUSES.last().copied());
        }
        let since = delivery.replayed_at.unwrap_or(delivery.created_at);
        pause.filter(|_| since + TOO_OLD > now)
    }

    /// Whether the endpoint did not take what was sent.
    pub fn is_failure(&self) -> bool {
        matches!(self, Outcome::Failed(_) | Outcome::NotAsked(_))
            || matches!(self, Outcome::Answered(status, _) if !matches!(status, 200..=299 | 410))
    }
}

/// Notes how a try went, unless another worker has taken the delivery over since. `id` is the try's, by which it is logged once
/// however often it is noted.
///
/// # Errors
/// The database refuses.
pub fn settle(tx: &Tx, job: &Job, outcome: &Outcome, took: Duration, id: Uuid) -> Result<()> {
    let delivery = &job.delivery;
    // Before the endpoint, for who changes a user has them before they tell endpoints.
    let told_of_nobody = match delivery.user {
        Some(user) => !users::hold(tx, user)?,
        None => false,
    };
    // Whoever leases meanwhile would hold back what this lets go.
    let Some(endpoint) = store::lock(tx, delivery.endpoint)? else { return Ok(()) };
    let (status, words) = match outcome {
        Outcome::Answered(status, words) => (Some(*status), words.as_str()),
        Outcome::Failed(words) => (None, words.as_str()),
        Outcome::NotAsked(why) => (None, *why),
        Outcome::Unknown => return store::finish(tx, delivery, State::Skipped, Some("not in the endpoint's API date")),
    };
    // A receiver may have said anything, also of somebody who was erased since, or is by what it was told.
    let kept = if told_of_nobody { "" } else { words };
    store::note_attempt(tx, id, delivery.id, status, took, kept)?;
    let failure = status.map_or_else(|| words.to_owned(), |status| format!("HTTP {status}"));
    match outcome {
        Outcome::Answered(200..=299, _) => store::finish(tx, delivery, State::Sent, None),
        // An address that was replaced meanwhile says nothing of the one that took its place.
        Outcome::Answered(410, _) if endpoint.address != job.endpoint.address => {
            store::retry(tx, delivery, tx.now(), &failure)
        }
        Outcome::Answered(410, _) => {
            store::finish(tx, delivery, State::Failed, Some(&failure))?;
            if endpoint.disabled_at.is_some() {
                return Ok(());
            }
            let before = endpoint.show();
            tell_contact(tx, &endpoint)?;
            let endpoint = disable(tx, endpoint, "the endpoint answered 410 Gone")?;
            note(tx, Origin::of(Actor::Usher), Action::WebhookGone, &endpoint, [&before, &endpoint.show()])
        }
        _ => match outcome.pause_after(delivery, tx.now()) {
            Some(pause) => store::retry(tx, delivery, tx.now() + vary(pause), &failure),
            None => store::finish(tx, delivery, State::Failed, Some(&failure)),
        },
    }
}

/// Writes the mail that an endpoint is gone, unless its contact was sent enough. It names what Usher knows and nothing that
/// somebody chose but the app's name.
fn tell_contact(tx: &Tx, endpoint: &Endpoint) -> Result<()> {
    let Some(contact) = &endpoint.contact else { return Ok(()) };
    if !MAILS.take(tx, format!("{}\n{}", endpoint.environment, contact.key()).as_bytes())? {
        return Ok(());
    }
    let environment = apps::by_id(tx, endpoint.environment)?;
    let mail = json!({
        "to": contact.address(), "app": environment.app_name, "environment": environment.kind, "webhook": endpoint.id,
    });
    // A job names what it is about, which need not be a user.
    let about = (endpoint.environment, UserId(endpoint.id.0));
    outbox::enqueue_about(tx, about, outbox::Kind::WebhookGoneMail, &mail, tx.now())
}

/// Give or take a tenth, so that failures do not return in step.
fn vary(pause: Duration) -> Duration {
    let [dice] = random::bytes::<1>();
    pause.mul_f64(0.9 + 0.2 * f64::from(dice) / 255.0)
}
