//! The SQL of sessions.

use super::{LIFETIME, Session, SessionId};
use crate::clock::Timestamp;
use crate::db::{Row, Tx, params};
use crate::error::Result;
use crate::random;
use crate::secret::Secret;
use crate::ticket::Ticket;
use crate::users::UserId;

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
