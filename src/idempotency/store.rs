//! The SQL of idempotency records. Answers hold personal data and are sealed.

use super::LIFETIME;
use crate::apps::EnvironmentId;
use crate::db::{Tx, params};
use crate::error::{Error, Result};

/// The fingerprint and the answer of the record, if there is one that still counts.
pub(super) fn find(tx: &Tx, owner: &[u8]) -> Result<Option<(Vec<u8>, String)>> {
    let sql = "SELECT fingerprint, answer FROM idempotency WHERE owner = $1 AND created_at > $2";
    let Some(row) = tx.query_opt(sql, params![owner, tx.now() - LIFETIME])? else { return Ok(None) };
    let answer = tx.vault().open(owner, &row.get::<Vec<u8>>(1)?)?;
    Ok(Some((row.get(0)?, String::from_utf8(answer).map_err(|_| Error::Integrity)?)))
}

pub(super) fn insert(
    tx: &Tx,
    environment: EnvironmentId,
    owner: &[u8],
    fingerprint: &[u8],
    answer: &str,
) -> Result<()> {
    // One that has expired may still be there, for the purge runs once in a while.
    tx.execute("DELETE FROM idempotency WHERE owner = $1", params![owner])?;
    tx.execute(
        "INSERT INTO idempotency (owner, environment_id, fingerprint, answer, created_at) VALUES ($1, $2, $3, $4, $5)",
        params![owner, environment, fingerprint, tx.vault().seal(owner, answer.as_bytes()), tx.now()],
    )?;
    Ok(())
}

/// Forgets answers older than [`LIFETIME`], and says how many.
pub fn purge(tx: &Tx) -> Result<usize> {
    tx.execute("DELETE FROM idempotency WHERE created_at <= $1", params![tx.now() - LIFETIME])
}
