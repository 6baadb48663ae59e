//! The SQL of links.

use super::{Link, Purpose};
use crate::clock::Timestamp;
use crate::db::{Tx, params};
use crate::error::Result;
use crate::ticket::Ticket;
use crate::users::UserId;

pub(super) fn insert(tx: &Tx, ticket: &Ticket, user: UserId, purpose: Purpose, expires_at: Timestamp) -> Result<()> {
    tx.add(
        "links (id, hash, user_id, purpose, created_at, expires_at)",
        params![ticket.id(), ticket.hash(), user, purpose, tx.now(), expires_at],
    )
}

pub(super) fn find(tx: &Tx, ticket: &Ticket, purpose: Purpose) -> Result<Option<Link>> {
    let row = tx.query_opt(
        "SELECT hash, user_id, expires_at, used_at, superseded_at FROM links WHERE id = $1 AND purpose = $2",
        params![ticket.id(), purpose],
    )?;
    let Some(row) = row else { return Ok(None) };
    let link = Link { user: row.get(1)?, expires_at: row.get(2)?, used_at: row.get(3)?, superseded_at: row.get(4)? };
    Ok(ticket.fits(&row.get::<Vec<u8>>(0)?).then_some(link))
}

/// `true` for the one caller who used it up.
pub(super) fn use_up(tx: &Tx, ticket: &Ticket) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE links SET used_at = $1 WHERE id = $2 AND used_at IS NULL AND superseded_at IS NULL AND expires_at > $1",
        params![tx.now(), ticket.id()],
    )?;
    Ok(changed == 1)
}

pub(super) fn supersede(tx: &Tx, user: UserId) -> Result<()> {
    tx.run(
        "UPDATE links SET superseded_at = $1 WHERE user_id = $2 AND used_at IS NULL AND superseded_at IS NULL",
        params![tx.now(), user],
    )
}

pub(super) fn count_since(tx: &Tx, user: UserId, since: Timestamp) -> Result<i64> {
    let row = tx.query_opt(
        "SELECT COUNT(*) FROM links WHERE user_id = $1 AND created_at > $2 AND purpose = 'enrolment'",
        params![user, since],
    )?;
    row.map_or(Ok(0), |row| row.get(0))
}
