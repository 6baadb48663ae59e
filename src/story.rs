//! The whole story of one person: what was done, mailed, told to webhooks, and every sign-in, in the order of time.
//!
//! Reads what the other concepts keep, and keeps nothing. Of health there is no more in it than in the audit trail: for owners,
//! which facts changed.

use serde::Serialize;
use uuid::Uuid;

use crate::admins::{self, Role};
use crate::audit::{self, Action, Entry};
use crate::caller::Actor;
use crate::clock::Timestamp;
use crate::db::{Tx, words};
use crate::error::Result;
use crate::outbox;
use crate::sessions;
use crate::users::User;
use crate::webhooks;

/// How much of each kind is told, the newest, unless somebody wants more.
pub const USUAL: i64 = 200;
/// For which part of the changes, the newest, what webhooks were told of them is looked up.
const TOLD: i64 = 4;

words! {
    /// What kind of thing happened.
    pub enum Kind {
        /// Something was done, or refused.
        Change = "change",
        /// A mail.
        Mail = "mail",
        /// A session began.
        Session = "session",
        /// A message to a webhook.
        Webhook = "webhook",
    }
}

/// One thing that happened.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What kind of thing.
    pub kind: Kind,
    /// What, in a word: `user.created`, `enrolment`.
    pub what: String,
    /// By whom, or to whom.
    pub who: String,
    /// How it ended: `done`, `sent`, or the code of an error.
    pub result: String,
    /// What else is to be said: the fields that changed, the other side's words.
    pub detail: String,
    /// The request that did it.
    pub request: Option<Uuid>,
}

/// What happened, the newest first.
pub struct Story {
    /// All that is told.
    pub events: Vec<Event>,
    /// There is more of some kind, which is older.
    pub is_cut: bool,
}

impl Story {
    /// At most so many of what was asked for with one more.
    fn cut<T>(&mut self, mut all: Vec<T>, most: i64) -> Vec<T> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.is_cut |= all.len() > most;
        all.truncate(most);
        all
    }
}

/// The story of a user, as somebody of that role is told it: at most so many events of each kind.
///
/// # Errors
/// The database does not answer.
pub fn of(tx: &Tx, user: &User, most: i64, reader: Role) -> Result<Story> {
    let mut story = Story { events: Vec::new(), is_cut: false };
    let entries = story.cut(entries(tx, user, most, reader)?, most);
    let mails = story.cut(outbox::of_user(tx, user.id, most + 1)?, most);
    let sessions = story.cut(sessions::newest_of_user(tx, user.id, most + 1)?, most);
    for entry in &entries {
        story.events.push(change(tx, entry)?);
    }
    story.events.extend(mails.iter().map(mail));
    story.events.extend(sessions.iter().map(|session| Event {
        at: session.created_at,
        kind: Kind::Session,
        what: "signed in".into(),
        who: "the person".into(),
        result: if session.works(tx.now()) { "open" } else { "ended" }.into(),
        detail: session.scope.clone(),
        request: None,
    }));
    let endpoints = webhooks::list(tx, Some(user.environment))?;
    // What is announced bears the time of its cause, by which the deliveries of an endpoint are found.
    let is_told = |entry: &&Entry| entry.is_done() && entry.action != Action::TokenRefreshed;
    let mut moments: Vec<Timestamp> = entries.iter().filter(is_told).map(|entry| entry.created_at).collect();
    moments.dedup();
    if !endpoints.is_empty() {
        moments = story.cut(moments, most / TOLD);
    }
    for endpoint in endpoints {
        for at in &moments {
            for delivery in webhooks::of_moment(tx, endpoint.id, *at)? {
                if delivery.user == Some(user.id) {
                    story.events.push(Event {
                        at: delivery.created_at,
                        kind: Kind::Webhook,
                        what: delivery.kind.as_str().into(),
                        who: endpoint.name.clone(),
                        result: delivery.state.as_str().into(),
                        detail: delivery.failure.unwrap_or_default(),
                        request: None,
                    });
                }
            }
        }
    }
    story.events.sort_by_key(|event| std::cmp::Reverse(event.at));
    Ok(story)
}

/// What was done to a user and refused about them, as somebody of that role is told it.
///
/// # Errors
/// The database does not answer.
pub fn changes(tx: &Tx, user: &User, reader: Role) -> Result<Story> {
    let mut story = Story { events: Vec::new(), is_cut: false };
    let entries = story.cut(entries(tx, user, USUAL, reader)?, USUAL);
    story.events = entries.iter().map(|entry| change(tx, entry)).collect::<Result<_>>()?;
    Ok(story)
}

/// One more than `most`, if there are.
fn entries(tx: &Tx, user: &User, most: i64, reader: Role) -> Result<Vec<Entry>> {
    let entries = audit::before(tx, user.id, None, most + 1)?.into_iter();
    Ok(entries.map(|entry| if reader < Role::Owner { entry.discreet() } else { entry }).collect())
}

fn change(tx: &Tx, entry: &Entry) -> Result<Event> {
    let reason = entry.changes.0["fields"]["reason"][1].as_str().filter(|_| entry.action == Action::HealthRead);
    let changed: Vec<&str> = entry.changes.fields().chain(entry.changes.health()).collect();
    Ok(Event {
        at: entry.created_at,
        kind: Kind::Change,
        what: entry.operation.clone().unwrap_or_else(|| entry.action.as_str().to_owned()),
        who: who(tx, entry)?,
        result: entry.result.clone(),
        detail: reason.map_or_else(|| changed.join(", "), str::to_owned),
        request: entry.request,
    })
}

/// Who it was, as people call them.
///
/// # Errors
/// The database does not answer.
pub fn who(tx: &Tx, entry: &Entry) -> Result<String> {
    Ok(match entry.actor {
        Some(Actor::Key(id)) => format!("key {id}"),
        Some(Actor::Person(id)) if entry.user == Some(id) => "the person".into(),
        Some(Actor::Person(id)) => format!("person {id}"),
        Some(Actor::Admin(id)) => admins::by_id(tx, id)?.map_or_else(|| format!("admin {id}"), |admin| admin.email),
        Some(Actor::Operator) => "the operator".into(),
        Some(Actor::Usher) => "Usher".into(),
        None => "unknown".into(),
    })
}

fn mail(job: &outbox::Job) -> Event {
    Event {
        at: job.created_at,
        kind: Kind::Mail,
        what: job.kind.as_str().into(),
        who: job.payload.as_ref().and_then(|payload| payload.text("to")).unwrap_or_default().to_owned(),
        result: job.state.as_str().into(),
        detail: job.failure.clone().unwrap_or_default(),
        request: None,
    }
}
