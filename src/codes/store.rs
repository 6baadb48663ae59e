//! The SQL of codes.

use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::{Code, Request};
use crate::clock::Timestamp;
use crate::db::{Purge, Tx, params};
use crate::error::{Error, Result};
use crate::field::restore;
use crate::random;
use crate::sessions::SessionId;
use crate::ticket::Ticket;

pub(super) fn insert(
    tx: &Tx,
    ticket: &Ticket,
    session: SessionId,
    request: &Request,
    expires_at: Timestamp,
) -> Result<()> {
    let request = serde_json::to_vec(request).map_err(Error::internal)?;
    let sealed = BASE64_STANDARD.encode(tx.vault().seal(ticket.id().as_bytes(), &request));
    tx.add(
        "codes (id, hash, session_id, request, created_at, expires_at)",
        params![ticket.id(), ticket.hash(), session, sealed, tx.now(), expires_at],
    )
}

pub(super) fn find(tx: &Tx, ticket: Ticket) -> Result<Option<(Ticket, Code)>> {
    let sql =
        format!("SELECT hash, session_id, request, expires_at, used_at FROM codes WHERE id = $1{}", tx.for_update());
    let Some(row) = tx.query_opt(&sql, params![ticket.id()])? else { return Ok(None) };
    if !ticket.fits(&row.get::<Vec<u8>>(0)?) {
        return Ok(None);
    }
    let sealed = BASE64_STANDARD.decode(row.get::<String>(2)?).map_err(|_| Error::Integrity)?;
    let request = restore(&tx.vault().open(ticket.id().as_bytes(), &sealed)?)?;
    Ok(Some((ticket, Code { session: row.get(1)?, request, expires_at: row.get(3)?, used_at: row.get(4)? })))
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
