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
/// seconds. Gives the fingerprint and the answer of the record if it is taken.
pub(super) fn claim(
    tx: &Tx,
    environment: EnvironmentId,
    owner: &[u8],
    fingerprint: &[u8],
) -> Result<Option<(Vec<u8>, Answer)>> {
    // Nothing has to be taken then, nor taken back if the request is refused.
    if tx.writes_alone() {
        return find(tx, owner);
    }
    let take = || {
        tx.insert(
            "idempotency (owner, environment_id, fingerprint, answer, created_at)",
            params![owner, environment, fingerprint, Vec::<u8>::new(), tx.now()],
        )
        .map_err(|e| match e {
            Error::Locked => Error::StillRunning,
            other => other,
        })
    };
    while !take()? {
        if let Some(earlier) = find(tx, owner)? {
            return Ok(Some(earlier));
        }
        // It has expired and is still there, for the purge runs once in a while. Somebody else may have taken the key since.
        let expired = "DELETE FROM idempotency WHERE owner = $1 AND created_at <= $2";
        tx.run(expired, params![owner, tx.now() - LIFETIME])?;
    }
    Ok(None)
}

/// Writes the record with its answer, in place of what [`claim`] has taken or of one that has expired.
pub(super) fn keep(
    tx: &Tx,
    environment: EnvironmentId,
    owner: &[u8],
    fingerprint: &[u8],
    answer: &Answer,
) -> Result<()> {
    let user = answer.user;
    let answer = tx.vault().seal(owner, format!("{}\n{}", answer.etag, answer.body).as_bytes());
    tx.run(
        "INSERT INTO idempotency (owner, environment_id, fingerprint, answer, user_id, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (owner) DO UPDATE SET fingerprint = excluded.fingerprint, \
         answer = excluded.answer, user_id = excluded.user_id, created_at = excluded.created_at",
        params![owner, environment, fingerprint, answer, user, tx.now()],
    )
}

/// Forgets some of the answers older than [`LIFETIME`], and says whether there may be more.
pub fn purge(tx: &Tx) -> Result<bool> {
    const OLD: Purge = Purge { table: "idempotency", key: "owner", age: "created_at", condition: "1 = 1" };
    tx.purge(&OLD, tx.now() - LIFETIME)
}
