//! The SQL of idempotency records. Answers hold personal data and are sealed.

use super::{Answer, LIFETIME};
use crate::apps::EnvironmentId;
use crate::db::{Purge, Tx, params};
use crate::error::{Error, Result};

/// The fingerprint and the answer of the record, if there is one that still counts.
pub(super) fn find(tx: &Tx, owner: &[u8]) -> Result<Option<(Vec<u8>, Answer)>> {
    let sql = "SELECT fingerprint, answer, user_id FROM idempotency WHERE owner = $1 AND created_at > $2";
    let Some(row) = tx.query_opt(sql, params![owner, tx.now() - LIFETIME])? else { return Ok(None) };
    let answer = String::from_utf8(tx.vault().open(owner, &row.get::<Vec<u8>>(1)?)?).map_err(|_| Error::Integrity)?;
    let (etag, body) = answer.split_once('\n').ok_or(Error::Integrity)?;
    let (body, etag) = (body.to_owned(), etag.to_owned());
    Ok(Some((row.get(0)?, Answer { body, etag, user: row.get(2)?, replayed: true })))
}

/// Takes the key for this request, before its effect: the same request elsewhere waits here for this one to commit, for a few
/// seconds. `false` if it is taken.
pub(super) fn claim(tx: &Tx, environment: EnvironmentId, owner: &[u8], fingerprint: &[u8]) -> Result<bool> {
    tx.insert(
        "idempotency (owner, environment_id, fingerprint, answer, created_at)",
        params![owner, environment, fingerprint, Vec::<u8>::new(), tx.now()],
    )
    .map_err(|e| match e {
        Error::Locked => Error::StillRunning,
        other => other,
    })
}

/// Frees the key.
pub(super) fn forget(tx: &Tx, owner: &[u8]) -> Result<()> {
    tx.run("DELETE FROM idempotency WHERE owner = $1", params![owner])
}

pub(super) fn keep(tx: &Tx, owner: &[u8], answer: &Answer) -> Result<()> {
    let user = answer.user;
    let answer = tx.vault().seal(owner, format!("{}\n{}", answer.etag, answer.body).as_bytes());
    tx.run("UPDATE idempotency SET answer = $1, user_id = $2 WHERE owner = $3", params![answer, user, owner])
}

/// Forgets some of the answers older than [`LIFETIME`], and says whether there may be more.
pub fn purge(tx: &Tx) -> Result<bool> {
    const OLD: Purge = Purge { table: "idempotency", key: "owner", age: "created_at", condition: "1 = 1" };
    tx.purge(&OLD, tx.now() - LIFETIME)
}
