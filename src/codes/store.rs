//! The SQL of codes.

use std::time::Duration;

use super::Code;
use crate::clock::Timestamp;
use crate::db::{Purge, Tx, params};
use crate::error::Result;
use crate::random;
use crate::sessions::SessionId;
use crate::ticket::Ticket;

pub(super) fn insert(tx: &Tx, ticket: &Ticket, session: SessionId, request: &str, expires_at: Timestamp) -> Result<()> {
    tx.add(
        "codes (id, hash, session_id, request, created_at, expires_at)",
        params![ticket.id(), ticket.hash(), session, request, tx.now(), expires_at],
    )
}

pub(super) fn find(tx: &Tx, ticket: Ticket) -> Result<Option<(Ticket, Code)>> {
    let sql =
        format!("SELECT hash, session_id, request, expires_at, used_at FROM codes WHERE id = $1{}", tx.for_update());
    let Some(row) = tx.query_opt(&sql, params![ticket.id()])? else { return Ok(None) };
    let code = Code { session: row.get(1)?, request: row.get(2)?, expires_at: row.get(3)?, used_at: row.get(4)? };
    Ok(ticket.fits(&row.get::<Vec<u8>>(0)?).then_some((ticket, code)))
}

/// `true` for the one caller who used it up.
pub(super) fn use_up(tx: &Tx, ticket: &Ticket) -> Result<bool> {
    let sql = "UPDATE codes SET used_at = $1 WHERE id = $2 AND used_at IS NULL";
    Ok(tx.execute(sql, params![tx.now(), ticket.id()])? == 1)
}

/// Removes codes of the day before and earlier.
pub fn purge(tx: &Tx) -> Result<bool> {
    tx.purge(&Purge::by_id("codes"), random::first_uuid(tx.now() - Duration::from_hours(24)))
}
