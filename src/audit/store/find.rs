//! Entries by what is wanted of them, whomever they are about: for lists, exports and the operator.

use std::time::Duration;

use uuid::Uuid;

use super::{COLUMNS, read};
use crate::apps::EnvironmentId;
use crate::audit::{Action, ActorKind, DONE, Entry, EntryId, INSTALLATION};
use crate::clock::Timestamp;
use crate::db::{Tx, Value, params};
use crate::error::{Error, Result};
use crate::keys::KeyId;
use crate::random;
use crate::users::UserId;

/// How it ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused.
    Refused,
    /// It was refused with this error code.
    Code(String),
}

/// Which entries are wanted: those that meet every condition.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In one of these environments; anywhere if there is none.
    pub environments: Vec<EnvironmentId>,
    /// About this user.
    pub user: Option<UserId>,
    /// By this key.
    pub key: Option<KeyId>,
    /// By nobody known.
    pub unknown: bool,
    /// What was done.
    pub action: Option<Action>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// In which order entries are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The newest first.
    NewestFirst,
    /// The newest first, before this one.
    Before(EntryId),
    /// The oldest first, after this one.
    After(Option<EntryId>),
}

/// At most `limit` of the entries that are wanted.
///
/// # Errors
/// The database does not answer, or an entry does not open.
pub fn find(tx: &Tx, filter: &Filter, order: Order, limit: i64) -> Result<Vec<Entry>> {
    find_from(tx, filter, order, None, limit)
}

/// How many entries [`newest`] looks through, for no index has those of an environment, an action or a key.
const LOOKED_THROUGH: i64 = 10_000;

/// At most `limit` of the newest entries that are wanted, from before one on, among so many that looking is quick. Where to go
/// on, if there may be more.
///
/// # Errors
/// The database does not answer, or an entry does not open.
pub fn newest(tx: &Tx, filter: &Filter, before: Option<EntryId>, limit: i64) -> Result<(Vec<Entry>, Option<EntryId>)> {
    // Those of one user are found by an index.
    let from = if filter.user.is_some() {
        None
    } else {
        let until = filter.until.map(EntryId::first);
        let begin = [before, until].into_iter().flatten().map(|id| id.0).min();
        tx.rows_back("audit", begin.unwrap_or(Uuid::max()), LOOKED_THROUGH)?.map(EntryId)
    };
    let entries = find_from(tx, filter, before.map_or(Order::NewestFirst, Order::Before), from, limit)?;
    let last = entries.last().map(|entry| entry.id);
    if i64::try_from(entries.len()).is_ok_and(|count| count == limit) {
        return Ok((entries, last));
    }
    let is_within = |from: &EntryId| filter.since.is_none_or(|since| from.0 > EntryId::first(since).0);
    Ok((entries, from.filter(is_within)))
}

/// Between which ids entries are wanted, for ids begin with the time: one bound at each end. Of two, a planner may take the
/// wider to walk from, and compare every entry on the way with the other.
fn bounds(filter: &Filter, order: Order, from: Option<EntryId>) -> impl Iterator<Item = (&'static str, EntryId)> {
    let (after, before) = match order {
        Order::After(last) => (last, None),
        Order::Before(next) => (None, Some(next)),
        Order::NewestFirst => (None, None),
    };
    let from = [filter.since.map(EntryId::first), from].into_iter().flatten().map(|id| ("id >=", id));
    let until = [filter.until.map(EntryId::first), before].into_iter().flatten().map(|id| ("id <", id));
    // Of two at the same place, the one that leaves out more.
    let lowest = from.chain(after.map(|id| ("id >", id))).max_by_key(|(_, id)| id.0);
    lowest.into_iter().chain(until.min_by_key(|(_, id)| id.0))
}

fn find_from(tx: &Tx, filter: &Filter, order: Order, from: Option<EntryId>, limit: i64) -> Result<Vec<Entry>> {
    let mut values: Vec<Value> = Vec::new();
    let mut conditions = Vec::new();
    let mut demand = |condition: &str, value: Value<'static>| {
        values.push(value);
        conditions.push(format!("{condition} ${}", values.len()));
    };
    if let Some(user) = filter.user {
        demand("user_id =", user.into());
    }
    if let Some(key) = filter.key {
        demand("actor = 'key' AND actor_id =", key.into());
    }
    if filter.unknown {
        demand("actor =", ActorKind::Unknown.into());
    }
    if let Some(action) = filter.action {
        demand("action =", action.into());
    }
    match &filter.outcome {
        Some(Outcome::Done) => demand("result =", DONE.into()),
        Some(Outcome::Refused) => demand("result <>", DONE.into()),
        Some(Outcome::Code(code)) => demand("result =", code.clone().into()),
        None => {}
    }
    for (condition, id) in bounds(filter, order, from) {
        demand(condition, id.into());
    }
    if !filter.environments.is_empty() {
        let places: Vec<String> =
            (1..=filter.environments.len()).map(|place| format!("${}", values.len() + place)).collect();
        values.extend(filter.environments.iter().map(|environment| Value::from(*environment)));
        conditions.push(format!("environment_id IN ({})", places.join(", ")));
    }
    if conditions.is_empty() {
        conditions.push("1 = 1".to_owned());
    }
    let direction = if matches!(order, Order::After(_)) { "ASC" } else { "DESC" };
    values.push(limit.into());
    let sql = format!(
        "SELECT {COLUMNS} FROM audit WHERE {} ORDER BY id {direction} LIMIT ${}",
        conditions.join(" AND "),
        values.len()
    );
    tx.query(&sql, &values)?.iter().map(|row| read(tx, row)).collect()
}

/// At most `limit` of the newest entries of no environment, but for those of callers whom nobody knows, however many there are.
///
/// # Errors
/// The database does not answer, or an entry does not open.
pub fn of_installation(tx: &Tx, limit: i64) -> Result<Vec<Entry>> {
    // In the words of the index `audit_of_no_user`, and by a time that the primary key does not have: a planner could walk that.
    let sql = format!(
        "SELECT {COLUMNS} FROM audit WHERE environment_id = $1 AND user_id IS NULL AND actor <> 'unknown' \
         ORDER BY created_at DESC, id DESC LIMIT $2"
    );
    tx.query(&sql, params![INSTALLATION, limit])?.iter().map(|row| read(tx, row)).collect()
}

/// An entry of an environment.
///
/// # Errors
/// It has no such entry.
pub fn entry(tx: &Tx, environment: EnvironmentId, id: EntryId) -> Result<Entry> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE id = $1 AND environment_id = $2");
    let row = tx.query_opt(&sql, params![id, environment])?.ok_or(Error::NotFound("There is no such entry"))?;
    read(tx, &row)
}

/// For how long after it began a request may leave entries.
const REQUEST: Duration = Duration::from_mins(2);

/// What one request left in an environment, or as an attempt of somebody unknown. Its id begins with its time, by which the
/// entries are found.
pub fn of_request_id(tx: &Tx, environment: EnvironmentId, request: Uuid) -> Result<Vec<Entry>> {
    let began = random::time_of(request);
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE id >= $1 AND id < $2 AND request_id = $3 ORDER BY id");
    let span = params![EntryId::first(began), EntryId::first(began + REQUEST), request];
    let found: Vec<Entry> = tx.query(&sql, span)?.iter().map(|row| read(tx, row)).collect::<Result<_>>()?;
    let is_of_nobody = |entry: &Entry| entry.environment == INSTALLATION && entry.actor.is_none();
    Ok(found.into_iter().filter(|entry| entry.environment == environment || is_of_nobody(entry)).collect())
}

/// The newest entry of this kind about something, written at that time.
///
/// # Errors
/// The database does not answer, or an entry does not open.
pub fn of_target(tx: &Tx, action: Action, target: Uuid, at: Timestamp) -> Result<Option<Entry>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit WHERE id >= $1 AND id < $2 AND action = $3 AND target = $4 ORDER BY id DESC LIMIT 1"
    );
    let span = params![EntryId::first(at), EntryId::first(at + Duration::from_millis(1)), action, target];
    tx.query_opt(&sql, span)?.as_ref().map(|row| read(tx, row)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_bounds_at_one_end_the_narrower_is_asked_for() {
        let (one, two) = (Timestamp(1_795_262_400_000), Timestamp(1_795_262_401_000));
        let (early, late) = (EntryId::first(one), EntryId::first(two));
        let span = |filter: &Filter, order, from| bounds(filter, order, from).collect::<Vec<_>>();
        let between = Filter { since: Some(one), until: Some(two), ..Filter::default() };
        assert_eq!(span(&between, Order::NewestFirst, None), [("id >=", early), ("id <", late)]);
        assert_eq!(span(&between, Order::Before(early), Some(late)), [("id >=", late), ("id <", early)]);
        assert_eq!(span(&between, Order::After(Some(early)), None), [("id >", early), ("id <", late)]);
        assert_eq!(span(&between, Order::After(Some(late)), None), [("id >", late), ("id <", late)]);
        let (since, all) = (Filter { since: Some(two), ..Filter::default() }, Filter::default());
        assert_eq!(span(&since, Order::After(Some(early)), Some(early)), [("id >=", late)]);
        assert_eq!(span(&all, Order::After(None), None), []);
    }
}
