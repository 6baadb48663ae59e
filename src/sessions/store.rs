//! The SQL of sessions.

use super::{LIFETIME, Session, SessionId};
use crate::caller::Scope;
use crate::clock::Timestamp;
use crate::db::{Row, Tx, params};
use crate::error::Result;
use crate::random;
use crate::secret::Secret;
use crate::ticket::Ticket;
use crate::users::{self, User, UserId};

const SESSION: &str =
    "SELECT id, user_id, created_at, refreshed_at, expires_at, ended_at, scope, generation FROM sessions";

pub(super) fn insert(tx: &Tx, ticket: &Ticket, user: UserId, expires_at: Timestamp) -> Result<()> {
    tx.add(
        "sessions (id, hash, user_id, created_at, expires_at)",
        params![ticket.id(), ticket.hash(), user, tx.now(), expires_at],
    )
}

pub(super) fn by_id(tx: &Tx, id: SessionId, for_update: &str) -> Result<Option<Session>> {
    tx.query_opt(&format!("{SESSION} WHERE id = $1{for_update}"), params![id])?.as_ref().map(read).transpose()
}

pub(super) fn by_ticket(tx: &Tx, presented: &Secret) -> Result<Option<Session>> {
    let Some(ticket) = Ticket::read(presented) else { return Ok(None) };
    let row = tx.query_opt("SELECT hash FROM sessions WHERE id = $1", params![ticket.id()])?;
    match row {
        Some(row) if ticket.fits(&row.get::<Vec<u8>>(0)?) => by_id(tx, SessionId(ticket.id()), ""),
        _ => Ok(None),
    }
}

pub(super) fn of_user(tx: &Tx, user: UserId) -> Result<Vec<Session>> {
    let sql = format!("{SESSION} WHERE user_id = $1 AND ended_at IS NULL ORDER BY id DESC");
    tx.query(&sql, params![user])?.iter().map(read).collect()
}

pub(super) fn hand_over(tx: &Tx, session: &Session) -> Result<()> {
    tx.change_one(
        "UPDATE sessions SET generation = $1, scope = $2, expires_at = $3 WHERE id = $4 AND generation = 0",
        params![session.generation, &session.scope, session.expires_at, session.id],
    )
}

/// Of several that refresh at once, one changes the row; the others run again and find it changed.
pub(super) fn refresh(tx: &Tx, session: &Session) -> Result<()> {
    tx.change_one(
        "UPDATE sessions SET generation = $1, refreshed_at = $2 WHERE id = $3 AND generation = $4 AND ended_at IS NULL",
        params![session.generation + 1, tx.now(), session.id, session.generation],
    )
}

pub(super) fn end(tx: &Tx, id: SessionId) -> Result<()> {
    tx.run("UPDATE sessions SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL", params![tx.now(), id])
}

/// Who signed in within a span of time, and when last, newest first: by the sessions that began then.
pub fn sign_ins(tx: &Tx, scope: Scope, from: Timestamp, to: Timestamp, limit: i64) -> Result<Vec<(User, Timestamp)>> {
    // A session's id begins with the time, so that its own index finds those of a span.
    let sql = |within: &str| {
        format!(
            "SELECT s.user_id, MAX(s.created_at) AS last FROM sessions s JOIN users u ON u.id = s.user_id \
             WHERE s.id >= $1 AND s.id < $2 AND u.deleted_at IS NULL AND {within} = $3 \
             GROUP BY s.user_id ORDER BY last DESC, s.user_id LIMIT $4"
        )
    };
    let (first, end) = (random::first_uuid(from), random::first_uuid(to));
    let rows = match scope.tenant {
        None => tx.query(&sql("u.environment_id"), params![first, end, scope.environment, limit]),
        Some(tenant) => tx.query(&sql("u.tenant_id"), params![first, end, tenant, limit]),
    };
    let mut found = Vec::new();
    for row in rows? {
        if let Some(user) = users::any_by_id(tx, row.get(0)?)? {
            found.push((user, row.get(1)?));
        }
    }
    Ok(found)
}

/// Ends every session of a user.
pub fn end_all(tx: &Tx, user: UserId) -> Result<()> {
    tx.run("UPDATE sessions SET ended_at = $1 WHERE user_id = $2 AND ended_at IS NULL", params![tx.now(), user])
}

/// Removes the sessions that have ended by their time.
pub fn purge(tx: &Tx) -> Result<()> {
    // Ids begin with the time, so no other index is needed.
    let before = random::first_uuid(tx.now() - LIFETIME);
    tx.run("DELETE FROM sessions WHERE id < $1", params![before])
}

fn read(row: &Row) -> Result<Session> {
    Ok(Session {
        id: row.get(0)?,
        user: row.get(1)?,
        created_at: row.get(2)?,
        refreshed_at: row.get(3)?,
        expires_at: row.get(4)?,
        ended_at: row.get(5)?,
        scope: row.get(6)?,
        generation: row.get(7)?,
    })
}
