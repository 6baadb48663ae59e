//! The SQL of the audit trail. Entries are added, and never changed.

use super::{Action, ActorKind, Changes, Entry, EntryId};
use crate::caller::{Actor, Origin};
use crate::db::{Row, Tx, params};
use crate::error::{Error, Result};
use crate::field::restore;
use crate::keys::KeyId;
use crate::users::{User, UserId};

pub(super) fn insert(tx: &Tx, origin: Origin, action: Action, user: &User, changes: &Changes) -> Result<()> {
    let id = EntryId::ordered(tx.now());
    let (actor, actor_id) = match origin.actor {
        Actor::Key(id) => (ActorKind::Key, Some(id.0)),
        Actor::Person(id) => (ActorKind::Person, Some(id.0)),
        Actor::Operator => (ActorKind::Operator, None),
    };
    tx.add(
        "audit (id, environment_id, created_at, action, actor, actor_id, user_id, request_id, changes)",
        params![
            id,
            user.environment,
            tx.now(),
            action,
            actor,
            actor_id,
            user.id,
            origin.request,
            tx.vault().seal(id.0.as_bytes(), changes.0.to_string().as_bytes()),
        ],
    )
}

/// Every entry about a user, oldest first.
pub fn of_user(tx: &Tx, user: UserId) -> Result<Vec<Entry>> {
    let sql = "SELECT id, created_at, action, actor, actor_id, user_id, request_id, changes FROM audit \
         WHERE user_id = $1 ORDER BY created_at, id";
    tx.query(sql, params![user])?.iter().map(|row| read(tx, row)).collect()
}

fn read(tx: &Tx, row: &Row) -> Result<Entry> {
    let id: EntryId = row.get(0)?;
    let actor = match (row.get(3)?, row.get(4)?) {
        (ActorKind::Key, Some(id)) => Actor::Key(KeyId(id)),
        (ActorKind::Person, Some(id)) => Actor::Person(UserId(id)),
        (ActorKind::Operator, None) => Actor::Operator,
        _ => return Err(Error::Integrity),
    };
    Ok(Entry {
        created_at: row.get(1)?,
        action: row.get(2)?,
        actor,
        user: row.get(5)?,
        request: row.get(6)?,
        changes: Changes(restore(&tx.vault().open(id.0.as_bytes(), &row.get::<Vec<u8>>(7)?)?)?),
    })
}
