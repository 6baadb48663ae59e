//! The SQL of sessions.

use std::collections::HashSet;

use uuid::Uuid;

use super::{LIFETIME, Session, SessionId};
use crate::apps::EnvironmentId;
use crate::caller::Scope;
use crate::clock::Timestamp;
use crate::db::{Purge, Row, Tx, params};
use crate::error::Result;
use crate::place::Place;
use crate::random;
use crate::secret::Secret;
use crate::ticket::Ticket;
use crate::users::{self, User, UserId};

const SESSION: &str =
    "SELECT id, user_id, created_at, refreshed_at, expires_at, ended_at, scope, generation FROM sessions";

pub(super) fn insert(tx: &Tx, ticket: &Ticket, user: &User, expires_at: Timestamp) -> Result<()> {
    tx.add(
        "sessions (id, hash, user_id, environment_id, created_at, expires_at)",
        params![ticket.id(), ticket.hash(), user.id, user.environment, tx.now(), expires_at],
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

/// How many sessions one look takes.
const PAGE: i64 = 500;

/// Who signed in within a span of time, and when last, newest first, from after a place on: by the sessions that began then,
/// of which those older than [`LIFETIME`] are gone.
pub fn sign_ins(
    tx: &Tx,
    scope: Scope,
    (from, to): (Timestamp, Timestamp),
    place: Option<Place>,
    limit: i64,
) -> Result<Vec<(User, Place)>> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    // Ids begin with the time.
    let (first, last) = (random::first_uuid(from), random::first_uuid(to));
    let begin = place.map_or(last, |place| place.id.min(last));
    let mut end = begin;
    let sql = "SELECT s.user_id, s.created_at, s.id FROM sessions s JOIN users u ON u.id = s.user_id \
         WHERE s.environment_id = $1 AND s.id >= $2 AND s.id < $3 AND u.deleted_at IS NULL";
    let order = "ORDER BY s.id DESC";
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    loop {
        let rows = match scope.tenant {
            None => tx.query(&format!("{sql} {order} LIMIT $4"), params![scope.environment, first, end, PAGE]),
            Some(tenant) => tx.query(
                &format!("{sql} AND u.tenant_id = $4 {order} LIMIT $5"),
                params![scope.environment, first, end, tenant, PAGE],
            ),
        }?;
        for row in &rows {
            let id: UserId = row.get(0)?;
            end = row.get(2)?;
            if found.len() < limit
                && seen.insert(id)
                && !has_begun(tx, id, begin, last)?
                && let Some(user) = users::any_by_id(tx, id)?
            {
                found.push((user, Place { at: row.get(1)?, id: end }));
            }
        }
        if found.len() >= limit || rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
            return Ok(found);
        }
    }
}

/// Whether a user has begun a session between two ids: then the pages before have them.
fn has_begun(tx: &Tx, user: UserId, from: Uuid, to: Uuid) -> Result<bool> {
    if from == to {
        return Ok(false);
    }
    let sql = "SELECT 1 FROM sessions WHERE user_id = $1 AND id >= $2 AND id < $3 LIMIT 1";
    Ok(tx.query_opt(sql, params![user, from, to])?.is_some())
}

/// How many sessions of an environment's users have begun since then, by the millisecond in which the day began.
pub fn begun_by_day(tx: &Tx, environment: EnvironmentId, since: Timestamp) -> Result<Vec<(i64, i64)>> {
    let sql = "SELECT s.created_at - s.created_at % 86400000, COUNT(*) FROM sessions s JOIN users u ON u.id = s.user_id \
         WHERE s.id >= $1 AND u.environment_id = $2 GROUP BY s.created_at - s.created_at % 86400000";
    let rows = tx.query(sql, params![random::first_uuid(since), environment])?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The newest sessions of a user, whether they work or not.
pub fn newest_of_user(tx: &Tx, user: UserId, limit: i64) -> Result<Vec<Session>> {
    let sql = format!("{SESSION} WHERE user_id = $1 ORDER BY id DESC LIMIT $2");
    tx.query(&sql, params![user, limit])?.iter().map(read).collect()
}

/// Ends those that work of the next sessions after an id, and says how many these were and the id of the last.
pub(super) fn end_next(tx: &Tx, after: SessionId) -> Result<Option<(usize, SessionId)>> {
    let rows = tx.query("SELECT id FROM sessions WHERE id > $1 ORDER BY id LIMIT $2", params![after, PAGE])?;
    let Some(last): Option<SessionId> = rows.last().map(|row| row.get(0)).transpose()? else { return Ok(None) };
    let sql = "UPDATE sessions SET ended_at = $1 WHERE id > $2 AND id <= $3 AND ended_at IS NULL AND expires_at > $1";
    Ok(Some((tx.execute(sql, params![tx.now(), after, last])?, last)))
}

/// Ends every session of a user.
pub fn end_all(tx: &Tx, user: UserId) -> Result<()> {
    tx.run("UPDATE sessions SET ended_at = $1 WHERE user_id = $2 AND ended_at IS NULL", params![tx.now(), user])
}

/// Removes the sessions that have ended by their time.
pub fn purge(tx: &Tx) -> Result<bool> {
    tx.purge(&Purge::by_id("sessions"), random::first_uuid(tx.now() - LIFETIME))
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
