//! The SQL of signing keys.

use super::signing::{Listed, OVERLAP, PublicHalf, SigningKey};
use crate::apps::{AppId, EnvironmentId, Kind};
use crate::clock::Timestamp;
use crate::db::{Tx, params};
use crate::error::{Error, Result};

/// A key verifies unless it was revoked or another took its place a while ago.
const VERIFIES: &str = "s.revoked_at IS NULL AND (s.retires_at IS NULL OR s.retires_at > $1)";
/// A key signs from its time on until the next one does: what it signs last expires while it verifies. So a key that was
/// superseded while it waited never signs.
const SIGNS: &str = "s.revoked_at IS NULL AND s.active_at <= $1 AND (s.retires_at IS NULL OR s.retires_at > $2)";
const NEWEST: &str = "ORDER BY s.active_at DESC, s.created_at DESC, s.id LIMIT 1";

pub(crate) fn insert_signing_key(
    tx: &Tx,
    environment: EnvironmentId,
    key: &SigningKey,
    active_at: Timestamp,
) -> Result<()> {
    let sealed = tx.vault().seal(key.id.as_bytes(), &key.private);
    tx.add(
        "signing_keys (id, environment_id, private_key, public_key, created_at, active_at)",
        params![&key.id, environment, sealed, key.public.0.as_slice(), tx.now(), active_at],
    )
}

/// The key that an environment signs with now.
pub(super) fn signing_key(tx: &Tx, environment: EnvironmentId) -> Result<SigningKey> {
    let sql = format!(
        "SELECT s.id, s.private_key, s.public_key FROM signing_keys s \
         WHERE {SIGNS} AND s.environment_id = $3 {NEWEST}"
    );
    let row = tx.query_opt(&sql, params![tx.now(), tx.now() + OVERLAP, environment])?.ok_or_else(none)?;
    let id: String = row.get(0)?;
    let private = tx.vault().open(id.as_bytes(), &row.get::<Vec<u8>>(1)?)?;
    Ok(SigningKey { private, public: PublicHalf(row.get(2)?), id })
}

fn none() -> Error {
    Error::internal("an environment has no signing key")
}

/// The public half of a key, with the environment that it signs for.
pub(super) type Verifier = (EnvironmentId, PublicHalf);

/// The key of that name, while it verifies.
pub(super) fn verifying_key(tx: &Tx, id: &str) -> Result<Option<Verifier>> {
    let sql = format!("SELECT s.environment_id, s.public_key FROM signing_keys s WHERE {VERIFIES} AND s.id = $2");
    let row = tx.query_opt(&sql, params![tx.now(), id])?;
    row.map(|row| Ok((row.get(0)?, PublicHalf(row.get(1)?)))).transpose()
}

/// The key of that name unless it was revoked: that another took its place does not make untrue what it has signed.
pub(super) fn unrevoked_key(tx: &Tx, id: &str) -> Result<Option<Verifier>> {
    let sql = "SELECT environment_id, public_key FROM signing_keys WHERE revoked_at IS NULL AND id = $1";
    let row = tx.query_opt(sql, params![id])?;
    row.map(|row| Ok((row.get(0)?, PublicHalf(row.get(1)?)))).transpose()
}

/// The public keys that verify, with their names, newest first: of every app, or of one.
pub fn public_keys(tx: &Tx, app: Option<AppId>, kind: Kind) -> Result<Vec<(String, PublicHalf)>> {
    let all = format!(
        "SELECT s.id, s.public_key FROM signing_keys s JOIN environments e ON e.id = s.environment_id \
         WHERE {VERIFIES} AND e.kind = $2"
    );
    let order = "ORDER BY s.created_at DESC, s.id";
    let now = tx.now();
    let rows = match app {
        None => tx.query(&format!("{all} {order}"), params![now, kind]),
        Some(app) => tx.query(&format!("{all} AND e.app_id = $3 {order}"), params![now, kind, app]),
    };
    rows?.iter().map(|row| Ok((row.get(0)?, PublicHalf(row.get(1)?)))).collect()
}

/// The public key that an environment signs with now.
pub fn current_public_key(tx: &Tx, environment: EnvironmentId) -> Result<PublicHalf> {
    let sql = format!("SELECT s.public_key FROM signing_keys s WHERE {SIGNS} AND s.environment_id = $3 {NEWEST}");
    tx.query_opt(&sql, params![tx.now(), tx.now() + OVERLAP, environment])?.ok_or_else(none)?.get(0).map(PublicHalf)
}

/// Every key of an environment, newest first.
pub fn list(tx: &Tx, environment: EnvironmentId) -> Result<Vec<Listed>> {
    let sql = "SELECT id, environment_id, created_at, active_at, retires_at, revoked_at FROM signing_keys \
         WHERE environment_id = $1 ORDER BY created_at DESC, id";
    let read = |row: &crate::db::Row| {
        Ok(Listed {
            id: row.get(0)?,
            environment: row.get(1)?,
            created_at: row.get(2)?,
            active_at: row.get(3)?,
            retires_at: row.get(4)?,
            revoked_at: row.get(5)?,
        })
    };
    tx.query(sql, params![environment])?.iter().map(read).collect()
}

/// Sets an end to every key of an environment that has none.
pub(super) fn retire_all(tx: &Tx, environment: EnvironmentId, at: Timestamp) -> Result<()> {
    let sql = "UPDATE signing_keys SET retires_at = $1 WHERE environment_id = $2 AND retires_at IS NULL";
    tx.run(sql, params![at, environment])
}

/// The environment that a key signs for.
pub(super) fn environment_of(tx: &Tx, id: &str) -> Result<Option<EnvironmentId>> {
    let row = tx.query_opt("SELECT environment_id FROM signing_keys WHERE id = $1", params![id])?;
    row.map(|row| row.get(0)).transpose()
}

/// Notes that a key is revoked.
pub(super) fn revoke(tx: &Tx, id: &str) -> Result<()> {
    tx.run("UPDATE signing_keys SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2", params![tx.now(), id])
}
