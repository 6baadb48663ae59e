//! The SQL of signing keys and sessions.

use super::{PublicHalf, SigningKey};
use crate::apps::{AppId, EnvironmentId, Kind};
use crate::clock::Timestamp;
use crate::db::{Tx, params};
use crate::error::{Error, Result};
use crate::ticket::Ticket;
use crate::users::UserId;

pub(crate) fn insert_signing_key(tx: &Tx, environment: EnvironmentId, key: &SigningKey) -> Result<()> {
    let sealed = tx.vault().seal(key.id.as_bytes(), &key.private);
    tx.add(
        "signing_keys (id, environment_id, private_key, public_key, created_at)",
        params![&key.id, environment, sealed, key.public.0.as_slice(), tx.now()],
    )
}

pub(super) fn newest_signing_key(tx: &Tx, environment: EnvironmentId) -> Result<SigningKey> {
    let row = tx.query_opt(
        "SELECT id, private_key, public_key FROM signing_keys WHERE environment_id = $1 ORDER BY created_at DESC, id LIMIT 1",
        params![environment],
    )?;
    let row = row.ok_or_else(|| Error::internal("an environment has no signing key"))?;
    let id: String = row.get(0)?;
    let private = tx.vault().open(id.as_bytes(), &row.get::<Vec<u8>>(1)?)?;
    Ok(SigningKey { private, public: PublicHalf(row.get(2)?), id })
}

pub(super) fn public_key(tx: &Tx, id: &str) -> Result<Option<(EnvironmentId, PublicHalf)>> {
    let row = tx.query_opt("SELECT environment_id, public_key FROM signing_keys WHERE id = $1", params![id])?;
    row.map(|row| Ok((row.get(0)?, PublicHalf(row.get(1)?)))).transpose()
}

/// The public keys with their names, newest first: of every app, or of one; of both environments, or of one.
pub fn public_keys(tx: &Tx, app: Option<AppId>, kind: Option<Kind>) -> Result<Vec<(String, PublicHalf)>> {
    let all = "SELECT s.id, s.public_key FROM signing_keys s JOIN environments e ON e.id = s.environment_id";
    let order = "ORDER BY s.created_at DESC, s.id";
    let rows = match (app, kind) {
        (None, None) => tx.query(&format!("{all} {order}"), params![]),
        (Some(app), None) => tx.query(&format!("{all} WHERE e.app_id = $1 {order}"), params![app]),
        (None, Some(kind)) => tx.query(&format!("{all} WHERE e.kind = $1 {order}"), params![kind]),
        (Some(app), Some(kind)) => {
            tx.query(&format!("{all} WHERE e.app_id = $1 AND e.kind = $2 {order}"), params![app, kind])
        }
    };
    rows?.iter().map(|row| Ok((row.get(0)?, PublicHalf(row.get(1)?)))).collect()
}

/// The public key that an environment signs with now.
pub fn current_public_key(tx: &Tx, environment: EnvironmentId) -> Result<PublicHalf> {
    let sql = "SELECT public_key FROM signing_keys WHERE environment_id = $1 ORDER BY created_at DESC, id LIMIT 1";
    let row = tx.query_opt(sql, params![environment])?;
    row.ok_or_else(|| Error::internal("an environment has no signing key"))?.get(0).map(PublicHalf)
}

pub(super) fn insert_session(tx: &Tx, ticket: &Ticket, user: UserId, expires_at: Timestamp) -> Result<()> {
    tx.add(
        "sessions (id, hash, user_id, created_at, expires_at)",
        params![ticket.id(), ticket.hash(), user, tx.now(), expires_at],
    )
}

pub(super) fn session_user(tx: &Tx, ticket: &Ticket) -> Result<Option<(UserId, Timestamp)>> {
    let row = tx.query_opt(
        "SELECT hash, user_id, created_at FROM sessions WHERE id = $1 AND ended_at IS NULL AND expires_at > $2",
        params![ticket.id(), tx.now()],
    )?;
    let Some(row) = row.filter(|row| row.get::<Vec<u8>>(0).is_ok_and(|hash| ticket.fits(&hash))) else {
        return Ok(None);
    };
    Ok(Some((row.get(1)?, row.get(2)?)))
}

pub(super) fn end_session(tx: &Tx, ticket: &Ticket) -> Result<()> {
    tx.run("UPDATE sessions SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL", params![tx.now(), ticket.id()])
}

/// Ends every session of a user.
pub fn end_sessions(tx: &Tx, user: UserId) -> Result<()> {
    tx.run("UPDATE sessions SET ended_at = $1 WHERE user_id = $2 AND ended_at IS NULL", params![tx.now(), user])
}
