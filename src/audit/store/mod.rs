//! An entry as a row: how it is added and read. It is never changed but by [`super::erase`].

pub(super) mod find;
pub(super) mod of_user;

use serde_json::json;
use uuid::Uuid;

use super::chain::{canonical, digest};
use super::{Action, ActorKind, Changes, DONE, Entry, EntryId};
use crate::admins::AdminId;
use crate::apps::EnvironmentId;
use crate::caller::{Actor, Origin};
use crate::db::{Row, Tx, Value, params};
use crate::error::{Error, Result};
use crate::field::restore;
use crate::keys::KeyId;
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
    let (actor, actor_id) = ActorKind::of(draft.actor);
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

pub(super) fn read(tx: &Tx, row: &Row) -> Result<Entry> {
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

pub(super) fn open(tx: &Tx, id: EntryId, sealed: &[u8]) -> Result<Changes> {
    restore(&tx.vault().open(id.0.as_bytes(), sealed)?).map(Changes)
}
