//! Billing: users are customers at Stripe, kept in step with their names, addresses, numbers and languages.
//!
//! A change queues a job in its own transaction; a worker tells Stripe ([`stripe`]). Nothing of health leaves here.

mod account;
pub mod signature;
mod store;
pub mod stripe;

pub use account::{Account, AccountId, Mode, STRIPE, Settings, connect, disconnect};
pub use store::{accounts, any_account, by_id, customer, note_customer};

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::apps::{self, Environment, EnvironmentId};
use crate::audit::{self, Action, Changes};
use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::outbox::{self, Job, JobId, Outcome};
use crate::place::Place;
use crate::users::{self, Person, Phone, User, UserId};

/// Stripe takes no longer phone number.
const LONGEST_PHONE: usize = 20;

/// What Stripe knows of a user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity(Vec<(String, String)>);

crate::secret::redacted!(Identity);

impl Identity {
    /// The parameters of a customer. An empty one takes away what was there.
    fn of(person: &Person) -> Identity {
        let profile = &person.profile;
        let parts = [&profile.given_name, &profile.family_name].into_iter().flatten().map(|part| part.0.as_str());
        let name = profile.name.as_ref().map_or_else(|| parts.collect::<Vec<_>>().join(" "), |name| name.0.clone());
        // Stripe takes no more, and two parts of a name may be longer together.
        let name = name.chars().take(256).collect();
        let language = profile.language.as_ref().map(|language| language.0.clone()).unwrap_or_default();
        let mut parameters = vec![
            ("name".to_owned(), name),
            ("email".to_owned(), person.email.as_ref().map(|email| email.address().to_owned()).unwrap_or_default()),
            ("phone".to_owned(), person.phone.as_ref().map(phone_of).unwrap_or_default()),
            ("metadata[usher_language]".to_owned(), language.clone()),
        ];
        if is_locale(&language) {
            parameters.push(("preferred_locales[0]".to_owned(), language));
        }
        Identity(parameters)
    }

    /// The parameters, with Usher's ids.
    fn with_ids(mut self, user: &User, environment: &Environment) -> Identity {
        let ids = [
            ("user_id", user.id.to_string()),
            ("tenant_id", user.tenant.map(|id| id.to_string()).unwrap_or_default()),
            ("app_id", environment.app.to_string()),
            ("environment", environment.kind.as_str().to_owned()),
        ];
        self.0.extend(ids.map(|(name, value)| (format!("metadata[usher_{name}]"), value)));
        self
    }
}

/// A number as it was sent, unless Stripe would refuse that for its length: with it, it refuses all that is told of the person.
fn phone_of(phone: &Phone) -> String {
    let number = phone.number();
    (if number.len() <= LONGEST_PHONE { number } else { phone.key() }).to_owned()
}

/// Whether a language is written as locales are (RFC 5646, as far as Stripe takes them).
fn is_locale(language: &str) -> bool {
    let mut parts = language.split('-');
    parts.next().is_some_and(|first| matches!(first.len(), 2 | 3) && first.bytes().all(|b| b.is_ascii_alphabetic()))
        && parts.all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// What is to be done at Stripe. The data of a job: ids alone, for who the user is, is read when it is done.
#[derive(Serialize, Deserialize)]
struct Task {
    environment: uuid::Uuid,
    mode: Mode,
    /// The customer that is to be deleted; without one, the user's is kept in step.
    customer: Option<String>,
    /// Nobody can have made the user a customer before.
    #[serde(default)]
    is_new: bool,
    /// The user is gone: whoever carries their id there is to be deleted. When, in seconds, the first of them can have been made.
    #[serde(default)]
    strays_since: Option<i64>,
}

impl Task {
    /// To keep a user in step.
    fn keep(environment: EnvironmentId, mode: Mode) -> Task {
        Task { environment: environment.0, mode, customer: None, is_new: false, strays_since: None }
    }

    fn of(job: &Job) -> Option<Task> {
        job.payload.as_ref().and_then(|payload| serde_json::from_value(payload.0.clone()).ok())
    }
}

/// Queues what Stripe is to know of a change, in the change's transaction. `test` is what the change said about the mode.
///
/// # Errors
/// The database refuses.
pub fn announce(tx: &Tx, action: Action, user: &User, before: &Person, test: Option<bool>) -> Result<()> {
    let modes = store::connected(tx, user.environment)?;
    if modes.is_empty() || !matches!(action, Action::UserCreated | Action::UserUpdated | Action::UserRestored) {
        return Ok(());
    }
    let is_new = action == Action::UserCreated;
    let mode = mode_of(&apps::by_id(tx, user.environment)?, test);
    let is_news = match action {
        // Who was deleted when the account was connected was passed over then.
        Action::UserRestored => store::customer(tx, user.id, mode)?.is_none(),
        _ => is_new || Identity::of(&user.person) != Identity::of(before),
    };
    if !modes.contains(&mode) || !is_news {
        return Ok(());
    }
    // A job that nobody has begun will read this change too.
    let keeps = |job: &Job| Task::of(job).is_some_and(|task| task.mode == mode && task.customer.is_none());
    if !is_new && outbox::not_begun(tx, user.id)?.iter().any(keeps) {
        return Ok(());
    }
    let task = Task { is_new, ..Task::keep(user.environment, mode) };
    outbox::enqueue(tx, user, outbox::Kind::BillingSync, &json!(task))
}

/// A customer that a user may have at Stripe without our knowing.
pub struct Stray {
    mode: Mode,
    /// When the first try began.
    since: Timestamp,
}

/// The strays of a user who is about to be erased: a try whose answer was lost may have made one. Asked before their jobs
/// go, which are locked, so that none of them is tried anew.
///
/// # Errors
/// The database does not answer.
pub fn strays(tx: &Tx, user: &User) -> Result<Vec<Stray>> {
    let mut strays: Vec<Stray> = Vec::new();
    for job in outbox::of_user_to_change(tx, outbox::Kind::BillingSync, user.id)? {
        if !job.was_tried_in_vain() {
            continue;
        }
        // What is done has lost its data.
        let modes =
            Task::of(&job).map_or_else(|| store::connected(tx, user.environment), |task| Ok(vec![task.mode]))?;
        for mode in modes {
            if !strays.iter().any(|stray| stray.mode == mode) {
                strays.push(Stray { mode, since: job.created_at });
            }
        }
    }
    Ok(strays)
}

/// When Stripe is asked for strays: once its search knows of a try that was under way, and once more for when that is late;
/// it says to be a minute behind, and an hour on bad days.
const LOOKS: [Duration; 2] = [Duration::from_mins(2), Duration::from_hours(2)];

/// Queues the end of who a user was at Stripe, connected or not: what cannot be done is seen among the failures.
///
/// # Errors
/// The database refuses.
pub fn erase(tx: &Tx, environment: EnvironmentId, user: UserId, strays: &[Stray]) -> Result<()> {
    let queue = |task: &Task, due_at| {
        outbox::enqueue_about(tx, (environment, user), outbox::Kind::BillingSync, &json!(task), due_at)
    };
    for (mode, customer) in store::customers(tx, user)? {
        queue(&Task { customer: Some(customer), ..Task::keep(environment, mode) }, tx.now())?;
    }
    for pause in LOOKS {
        for Stray { mode, since } in strays {
            let task = Task { strays_since: Some(since.as_seconds()), ..Task::keep(environment, *mode) };
            queue(&task, tx.now() + pause)?;
        }
    }
    store::forget_user(tx, user)
}

/// What Stripe is to be asked for a job, as things are now.
enum Order {
    /// To delete a customer.
    Delete(Account, String),
    /// To delete whoever carries a user's id and was made since then.
    DeleteStrays(Account, UserId, i64),
    /// To keep a customer in step.
    Keep(Account, Subject),
}

/// Who is to be kept in step.
struct Subject {
    user: UserId,
    identity: Identity,
    /// Who the user is at Stripe, as far as is known.
    known: Option<String>,
    /// Whether nobody can have made the user a customer yet.
    is_first: bool,
}

/// The order, or how the job ends without one.
fn order(tx: &Tx, job: &Job) -> Result<std::result::Result<Order, Outcome>> {
    let Some(task) = Task::of(job) else {
        return Ok(Err(Outcome::GiveUp("the job cannot be read: its data is damaged".to_owned())));
    };
    let Some(account) = store::of(tx, EnvironmentId(task.environment), task.mode)? else {
        let why = format!("no account is connected in {} mode", task.mode.as_str());
        return Ok(Err(Outcome::GiveUp(why)));
    };
    if let Some(customer) = task.customer {
        return Ok(Ok(Order::Delete(account, customer)));
    }
    if let Some(since) = task.strays_since {
        return Ok(Ok(Order::DeleteStrays(account, job.user, since)));
    }
    // Who was erased meanwhile is nobody's customer.
    let Some(user) = users::any_by_id(tx, job.user)? else { return Ok(Err(Outcome::Done)) };
    let identity = Identity::of(&user.person).with_ids(&user, &apps::by_id(tx, user.environment)?);
    let known = store::customer(tx, user.id, task.mode)?;
    if known.is_none() && user.deleted_at.is_some() {
        // Nobody is told of who is gone. Once they are restored they become a customer.
        return Ok(Err(Outcome::Done));
    }
    let is_first = task.is_new && job.attempts == 1 && job.round == 0;
    Ok(Ok(Order::Keep(account, Subject { user: user.id, identity, known, is_first })))
}

/// What came of asking Stripe.
pub struct Told {
    /// How it went.
    pub outcome: Outcome,
    /// Who the user is there now, if that was not known, or they are somebody else than they were.
    pub made: Option<String>,
}

impl From<Outcome> for Told {
    fn from(outcome: Outcome) -> Told {
        Told { outcome, made: None }
    }
}

/// Notes what came of a job.
///
/// # Errors
/// The database refuses.
pub fn settle(tx: &Tx, job: &Job, told: &Told) -> Result<()> {
    if let Some(task) = Task::of(job).filter(|task| task.customer.is_none() && task.strays_since.is_none()) {
        let (environment, mode) = (EnvironmentId(task.environment), task.mode);
        // Locked, so that an erasure at the same moment sees the customer, or is seen here.
        let user = users::lock(tx, job.user)?;
        if let Some(made) = &told.made {
            store::note_customer(tx, environment, job.user, mode, made)?;
        }
        if user.is_none() {
            erase(tx, environment, job.user, &[])?;
        }
    }
    outbox::settle(tx, job, &told.outcome)
}

/// How many users become customers at the most in one second, of those who were there before: a quarter of what Stripe takes
/// in test mode, so that what happens meanwhile is told meanwhile.
pub const PACE: u64 = 6;
/// How many users are queued or forgotten in one transaction.
const AT_ONCE: i64 = 500;

/// Users who were there before their environment was connected, on their way to become customers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Existing {
    /// How many were queued so far.
    pub queued: u64,
    place: Option<Place>,
}

/// Queues the next users of an account's environment who are no customers yet, at [`PACE`]. `None` once there are no more.
///
/// # Errors
/// The database refuses.
pub fn queue_existing(tx: &Tx, account: &Account, so_far: Existing) -> Result<(Existing, bool)> {
    let (users, place) = users::oldest(tx, account.environment, so_far.place, AT_ONCE)?;
    let mut queued = so_far.queued;
    for user in users {
        if store::customer(tx, user.id, account.mode)?.is_some() {
            continue;
        }
        let task = Task::keep(account.environment, account.mode);
        let due_at = tx.now() + Duration::from_millis(queued * 1000 / PACE);
        let about = (account.environment, user.id);
        outbox::enqueue_about(tx, about, outbox::Kind::BillingSync, &json!(task), due_at)?;
        queued += 1;
    }
    if place.is_none() && queued > 0 {
        let origin = Origin::of(Actor::Operator);
        let changes = Changes::of_field("queued", Value::Null, queued);
        audit::record_changes(tx, account.environment, origin, Action::BillingExistingQueued, account.id.0, &changes)?;
    }
    Ok((Existing { queued, place }, place.is_some()))
}

/// Which half of the account a change is for: a sandbox has the test half only; else as the change says; else by the
/// app's name, as the directory API has it (contract C1).
fn mode_of(environment: &Environment, test: Option<bool>) -> Mode {
    let name = environment.app_name.trim().to_lowercase();
    let by_name = ["dev", "staging", "local"].iter().any(|end| name.ends_with(end));
    if environment.kind == apps::Kind::Sandbox || test.unwrap_or(by_name) { Mode::Test } else { Mode::Live }
}

/// Queues a job again that was given up, or some of them, everywhere or in an environment; says how many. There are more
/// unless it is none.
///
/// # Errors
/// The database refuses.
pub fn retry(tx: &Tx, origin: Origin, environment: Option<EnvironmentId>, id: Option<JobId>) -> Result<usize> {
    let queued = outbox::queue_again(tx, outbox::Kind::BillingSync, environment, id)?;
    let environments: BTreeSet<_> = queued.iter().map(|(_, environment)| environment.0).collect();
    for environment in environments {
        let target = id.map_or(environment, |id| id.0);
        audit::record(tx, EnvironmentId(environment), origin, Action::BillingRetried, target)?;
    }
    Ok(queued.len())
}

/// Counts a job as done that was given up: the operator has seen to it at Stripe.
///
/// # Errors
/// No such job was given up.
pub fn dismiss(tx: &Tx, id: JobId) -> Result<()> {
    let environment = outbox::dismiss(tx, outbox::Kind::BillingSync, id)?.ok_or_else(|| {
        Error::operator(format!("no job {id} was given up. `usher billing failures` shows those that were."))
    })?;
    audit::record(tx, environment, Origin::of(Actor::Operator), Action::BillingDismissed, id.0)
}

/// Forgets a customer that Stripe says is deleted; the user's next change makes a new one. Says whether there was one.
///
/// # Errors
/// The database refuses.
pub fn forget(tx: &Tx, account: &Account, customer: &str) -> Result<bool> {
    let Some(user) = store::user_of(tx, account.environment, account.mode, customer)? else { return Ok(false) };
    store::forget_customer(tx, user, account.mode, customer)?;
    audit::record(tx, account.environment, Origin::of(Actor::Usher), Action::CustomerForgotten, user.0)?;
    Ok(true)
}

/// Forgets some of the customers of an environment, who stay where they are: another account takes the place of theirs. Says
/// how many; there are more unless it is none.
///
/// # Errors
/// The database refuses.
pub fn forget_customers(tx: &Tx, environment: EnvironmentId, mode: Mode) -> Result<usize> {
    let customers = store::some_customers(tx, environment, mode, AT_ONCE)?;
    for (user, customer) in &customers {
        store::forget_customer(tx, *user, mode, customer)?;
        audit::record(tx, environment, Origin::of(Actor::Operator), Action::CustomerForgotten, user.0)?;
    }
    Ok(customers.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_a_locale_if_it_is_written_like_one() {
        for good in ["en", "US", "pt-BR", "zh-Hant-TW", "ast"] {
            assert!(is_locale(good), "{good}");
        }
        for bad in ["", "english", "e", "en_US", "en-", "en US", "é"] {
            assert!(!is_locale(bad), "{bad}");
        }
    }
}
