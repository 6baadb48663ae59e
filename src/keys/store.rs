//! The SQL of keys.

use super::{Access, Call, Key, KeyId, NewKey, Use};
use crate::apps::EnvironmentId;
use crate::caller::{Actor, Caller, Facts, Scope};
use crate::clock::Timestamp;
use crate::db::{Row, Tx, params};
use crate::error::Result;
use crate::random;
use crate::secret::Secret;

const KEY: &str = "SELECT k.id, k.name, k.access, k.api_version, t.name, e.app_id, e.kind, k.environment_id, k.tenant_id, \
     a.region, k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.retires_at \
     FROM keys k JOIN environments e ON e.id = k.environment_id JOIN apps a ON a.id = e.app_id \
     LEFT JOIN tenants t ON t.id = k.tenant_id";

pub(super) fn insert(tx: &Tx, id: KeyId, scope: Scope, new: &NewKey, key: &Secret) -> Result<()> {
    tx.add(
        "keys (id, environment_id, tenant_id, access, name, hash, api_version, created_at, expires_at)",
        params![
            id,
            scope.environment,
            scope.tenant,
            new.access,
            &new.name,
            key.hash(),
            new.api_version.as_deref(),
            tx.now(),
            new.expires_in.map(|span| tx.now() + span),
        ],
    )
}

pub(super) fn by_hash(tx: &Tx, hash: &[u8]) -> Result<Option<Key>> {
    let row = tx.query_opt(&format!("{KEY} WHERE k.hash = $1"), params![hash])?;
    row.as_ref().map(read).transpose()
}

pub(super) fn by_id(tx: &Tx, id: KeyId) -> Result<Option<Key>> {
    let row = tx.query_opt(&format!("{KEY} WHERE k.id = $1"), params![id])?;
    row.as_ref().map(read).transpose()
}

/// Every key, oldest first.
pub fn list(tx: &Tx) -> Result<Vec<Key>> {
    tx.query(&format!("{KEY} ORDER BY k.created_at, k.id"), params![])?.iter().map(read).collect()
}

/// The keys of an environment, newest first.
pub fn of_environment(tx: &Tx, environment: EnvironmentId) -> Result<Vec<Key>> {
    let sql = format!("{KEY} WHERE k.environment_id = $1 ORDER BY k.created_at DESC, k.id");
    tx.query(&sql, params![environment])?.iter().map(read).collect()
}

/// `false` if it is pinned already.
pub(super) fn pin(tx: &Tx, id: KeyId, date: &str) -> Result<bool> {
    let sql = "UPDATE keys SET api_version = $1 WHERE id = $2 AND api_version IS NULL";
    Ok(tx.execute(sql, params![date, id])? == 1)
}

pub(super) fn move_to(tx: &Tx, id: KeyId, date: &str) -> Result<()> {
    tx.run("UPDATE keys SET api_version = $1 WHERE id = $2", params![date, id])
}

pub(super) fn retire(tx: &Tx, id: KeyId, at: Timestamp) -> Result<()> {
    tx.run("UPDATE keys SET retires_at = $1 WHERE id = $2", params![at, id])
}

pub(super) fn revoke(tx: &Tx, id: KeyId) -> Result<()> {
    tx.run("UPDATE keys SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2", params![tx.now(), id])
}

/// Notes when keys were last used, and when for which API date. Every server does so in the same order: two that want the same
/// rows do not wait for each other.
pub fn note_use(tx: &Tx, used: &[(Use, Timestamp)]) -> Result<()> {
    let mut used: Vec<_> = used.iter().collect();
    used.sort_by_key(|(Use { key, date }, _)| (key.0, *date));
    for (Use { key, date }, at) in used {
        match date {
            None => tx.run("UPDATE keys SET last_used_at = $1 WHERE id = $2", params![*at, *key])?,
            Some(date) => {
                let sql = "INSERT INTO key_calls (id, key_id, api_date, called_at) VALUES ($1, $2, $3, $4) \
                     ON CONFLICT (key_id, api_date) DO UPDATE SET called_at = excluded.called_at";
                tx.run(sql, params![random::uuid(), *key, *date, *at])?;
            }
        }
    }
    Ok(())
}

/// Which keys have called dates before this one since then, the oldest date first.
pub fn calls_before(tx: &Tx, date: &str, since: Timestamp) -> Result<Vec<Call>> {
    let sql = "SELECT key_id, api_date, called_at FROM key_calls WHERE api_date < $1 AND called_at >= $2 \
         ORDER BY api_date, key_id";
    let read = |row: &Row| Ok(Call { key: row.get(0)?, date: row.get(1)?, last_at: row.get(2)? });
    tx.query(sql, params![date, since])?.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Key> {
    let (id, access): (KeyId, Access) = (row.get(0)?, row.get(2)?);
    Ok(Key {
        id,
        name: row.get(1)?,
        access,
        api_version: row.get(3)?,
        tenant: row.get(4)?,
        caller: Caller {
            app: row.get(5)?,
            kind: row.get(6)?,
            scope: Scope { environment: row.get(7)?, tenant: row.get(8)? },
            request: None,
            date: None,
            test: None,
            actor: Actor::Key(id),
            session: None,
            rights: access.rights(),
            facts: Facts::ALL,
            region: row.get(9)?,
        },
        created_at: row.get(10)?,
        expires_at: row.get(11)?,
        retires_at: row.get(14)?,
        revoked_at: row.get(12)?,
        last_used_at: row.get(13)?,
    })
}
