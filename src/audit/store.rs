//! The SQL of the audit trail. Entries are added, and never changed but by [`super::erase`].

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::chain::{canonical, digest};
use super::{Action, ActorKind, Changes, DONE, Entry, EntryId};
use crate::admins::AdminId;
use crate::apps::EnvironmentId;
use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::db::{Row, Tx, Value, params};
use crate::error::{Error, Result};
use crate::field::restore;
use crate::keys::KeyId;
use crate::place::Place;
use crate::random;
use crate::secret::sha256;
use crate::users::UserId;

/// Every column. The proof covers the first [`COVERED`].
pub(super) const COLUMNS: &str = "id, environment_id, created_at, action, operation, actor, actor_id, user_id, target, \
     result, times, request_id, api_date, changes_hash, changes, proof";
pub(super) const COVERED: usize = 14;
const INTO: &str = "audit (id, environment_id, created_at, action, operation, actor, actor_id, user_id, target, \
     result, times, request_id, api_date, changes_hash, changes, proof)";

/// An entry to be.
pub(super) struct Draft<'a> {
    pub(super) environment: EnvironmentId,
    pub(super) action: Action,
    pub(super) operation: Option<&'a str>,
    pub(super) actor: Option<Actor>,
    pub(super) user: Option<UserId>,
    pub(super) target: Option<Uuid>,
    pub(super) result: &'a str,
    pub(super) times: i64,
    pub(super) request: Option<Uuid>,
    pub(super) date: Option<&'static str>,
    pub(super) changes: Option<&'a Changes>,
}

impl Draft<'_> {
    /// Something was done, by someone unknown.
    pub(super) fn of(environment: EnvironmentId, action: Action) -> Self {
        Draft {
            environment,
            action,
            operation: None,
            actor: None,
            user: None,
            target: None,
            result: DONE,
            times: 1,
            request: None,
            date: None,
            changes: None,
        }
    }

    pub(super) fn by(self, origin: Origin) -> Self {
        Draft { actor: Some(origin.actor), request: origin.request, date: origin.date, ..self }
    }
}

pub(super) fn insert(tx: &Tx, draft: &Draft) -> Result<()> {
    let id = EntryId::next(tx.now());
    let (actor, actor_id) = match draft.actor {
        Some(Actor::Key(id)) => (ActorKind::Key, Some(id.0)),
        Some(Actor::Person(id)) => (ActorKind::Person, Some(id.0)),
        Some(Actor::Admin(id)) => (ActorKind::Admin, Some(id.0)),
        Some(Actor::Operator) => (ActorKind::Operator, None),
        Some(Actor::Usher) => (ActorKind::Usher, None),
        None => (ActorKind::Unknown, None),
    };
    let changes = draft.changes.map(|changes| tx.vault().seal(id.0.as_bytes(), changes.0.to_string().as_bytes()));
    let covered: &[Value; COVERED] = params![
        id,
        draft.environment,
        tx.now(),
        draft.action,
        draft.operation,
        actor,
        actor_id,
        draft.user,
        draft.target,
        draft.result,
        draft.times,
        draft.request,
        draft.date,
        changes.as_deref().map(|sealed| sha256(sealed).to_vec()),
    ];
    let proof = tx.vault().prove(&digest(&canonical(covered)));
    let mut row = covered.to_vec();
    row.extend([changes.into(), proof.into()]);
    tx.add(INTO, &row)
}

/// Up to `limit` entries about a user, oldest first, from after a place on. Nobody reads all of a trail at once: the person can
/// make theirs as long as they like.
///
/// # Errors
/// The database does not answer, or an entry does not open.
pub fn after(tx: &Tx, user: UserId, place: Place, limit: i64) -> Result<Vec<Entry>> {
    rows_after(tx, COLUMNS, user, place, limit)?.iter().map(|row| read(tx, row)).collect()
}

fn rows_after(tx: &Tx, columns: &str, user: UserId, place: Place, limit: i64) -> Result<Vec<Row>> {
    let sql = format!(
        "SELECT {columns} FROM audit WHERE user_id = $1 AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4"
    );
    tx.query(&sql, params![user, place.at, place.id, limit])
}

/// What was noted of a user at one time, in the order of writing.
pub(super) fn of_moment(tx: &Tx, user: UserId, at: Timestamp) -> Result<Vec<Entry>> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE user_id = $1 AND created_at = $2 ORDER BY id");
    tx.query(&sql, params![user, at])?.iter().map(|row| read(tx, row)).collect()
}

/// What changed about the person, among up to `limit` entries from after a place on, and where to go on. Of these alone the
/// sealed value is opened; one that does not open is passed over.
pub(super) fn facts_after(tx: &Tx, user: UserId, place: Place, limit: i64) -> Result<(Vec<Changes>, Option<Place>)> {
    let rows = rows_after(tx, "id, created_at, action, changes", user, place, limit)?;
    let mut all = Vec::new();
    for row in &rows {
        if !matches!(row.get(2), Ok(Action::UserCreated | Action::UserUpdated)) {
            continue;
        }
        let Some(sealed) = row.get::<Option<Vec<u8>>>(3)? else { continue };
        all.extend(open(tx, row.get(0)?, &sealed).ok());
    }
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count == limit);
    let last = rows.last().filter(|_| is_full);
    let next = last.map(|row| Ok::<_, Error>(Place { at: row.get(1)?, id: row.get(0)? })).transpose()?;
    Ok((all, next))
}

fn open(tx: &Tx, id: EntryId, sealed: &[u8]) -> Result<Changes> {
    restore(&tx.vault().open(id.0.as_bytes(), sealed)?).map(Changes)
}

/// Whether a user has ever done something themselves, such as sign in.
pub fn has_acted(tx: &Tx, user: UserId) -> Result<bool> {
    let sql = "SELECT 1 FROM audit WHERE user_id = $1 AND actor_id = $1 AND actor = $2 AND result = $3 LIMIT 1";
    Ok(tx.query_opt(sql, params![user, ActorKind::Person, DONE])?.is_some())
}

/// Up to `limit` entries about a user, newest first, from before this place on.
pub fn before(tx: &Tx, user: UserId, place: Option<Place>, limit: i64) -> Result<Vec<Entry>> {
    let all = format!("SELECT {COLUMNS} FROM audit WHERE user_id = $1");
    let order = "ORDER BY created_at DESC, id DESC";
    let rows = match place {
        None => tx.query(&format!("{all} {order} LIMIT $2"), params![user, limit]),
        Some(Place { at, id }) => {
            let sql = format!("{all} AND (created_at, id) < ($2, $3) {order} LIMIT $4");
            tx.query(&sql, params![user, at, id, limit])
        }
    };
    rows?.iter().map(|row| read(tx, row)).collect()
}

/// For how long after it began a request may leave entries.
const REQUEST: Duration = Duration::from_mins(2);

/// What one request left in an environment. Its id begins with its time, by which the entries are found.
pub fn of_request_id(tx: &Tx, environment: EnvironmentId, request: Uuid) -> Result<Vec<Entry>> {
    let began = random::time_of(request);
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE id >= $1 AND id < $2 AND request_id = $3 ORDER BY id");
    let span = params![EntryId::first(began), EntryId::first(began + REQUEST), request];
    let found: Vec<Entry> = tx.query(&sql, span)?.iter().map(|row| read(tx, row)).collect::<Result<_>>()?;
    Ok(found.into_iter().filter(|entry| entry.environment == environment).collect())
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

pub(super) fn count_refused(tx: &Tx, user: UserId, since: Timestamp) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM audit WHERE user_id = $1 AND created_at > $2 AND result <> 'done'";
    tx.query_opt(sql, params![user, since])?.map_or(Ok(0), |row| row.get(0))
}

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
const LOOKED_THROUGH: i64 = 2000;

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
    if let Some(action) = filter.action {
        demand("action =", action.into());
    }
    match &filter.outcome {
        Some(Outcome::Done) => demand("result =", DONE.into()),
        Some(Outcome::Refused) => demand("result <>", DONE.into()),
        Some(Outcome::Code(code)) => demand("result =", code.clone().into()),
        None => {}
    }
    // Ids begin with the time.
    if let Some(since) = filter.since {
        demand("id >=", EntryId::first(since).into());
    }
    if let Some(until) = filter.until {
        demand("id <", EntryId::first(until).into());
    }
    if let Some(from) = from {
        demand("id >=", from.into());
    }
    if let Order::After(Some(last)) = order {
        demand("id >", last.into());
    }
    if let Order::Before(next) = order {
        demand("id <", next.into());
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

/// An entry of an environment.
///
/// # Errors
/// It has no such entry.
pub fn entry(tx: &Tx, environment: EnvironmentId, id: EntryId) -> Result<Entry> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE id = $1 AND environment_id = $2");
    let row = tx.query_opt(&sql, params![id, environment])?.ok_or(Error::NotFound("There is no such entry"))?;
    read(tx, &row)
}

/// The requests of one key by one API date.
#[derive(Clone, Debug)]
pub struct Call {
    /// The key.
    pub key: KeyId,
    /// The date.
    pub date: String,
    /// How many requests left an entry.
    pub count: i64,
    /// When the last one did.
    pub last_at: Timestamp,
}

/// Which keys have called which API dates since then.
///
/// # Errors
/// The database does not answer.
pub fn dates_called(tx: &Tx, since: Timestamp) -> Result<Vec<Call>> {
    let sql = "SELECT actor_id, api_date, COUNT(*), MAX(created_at) FROM audit \
         WHERE id >= $1 AND actor = 'key' AND api_date IS NOT NULL GROUP BY actor_id, api_date ORDER BY actor_id, api_date";
    let read = |row: &Row| Ok(Call { key: row.get(0)?, date: row.get(1)?, count: row.get(2)?, last_at: row.get(3)? });
    tx.query(sql, params![EntryId::first(since)])?.iter().map(read).collect()
}

fn read(tx: &Tx, row: &Row) -> Result<Entry> {
    let id: EntryId = row.get(0)?;
    let actor = match (row.get(5)?, row.get(6)?) {
        (ActorKind::Key, Some(id)) => Some(Actor::Key(KeyId(id))),
        (ActorKind::Person, Some(id)) => Some(Actor::Person(UserId(id))),
        (ActorKind::Admin, Some(id)) => Some(Actor::Admin(AdminId(id))),
        (ActorKind::Operator, None) => Some(Actor::Operator),
        (ActorKind::Usher, None) => Some(Actor::Usher),
        (ActorKind::Unknown, None) => None,
        _ => return Err(Error::Integrity),
    };
    let changes = match row.get::<Option<Vec<u8>>>(14)? {
        Some(sealed) => open(tx, id, &sealed)?,
        None => Changes(json!({})),
    };
    Ok(Entry {
        id,
        environment: row.get(1)?,
        created_at: row.get(2)?,
        action: row.get(3)?,
        operation: row.get(4)?,
        actor,
        user: row.get(7)?,
        target: row.get(8)?,
        result: row.get(9)?,
        times: row.get(10)?,
        request: row.get(11)?,
        date: row.get(12)?,
        changes,
    })
}
