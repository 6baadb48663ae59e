//! The SQL of limits.

use super::LONGEST;
use crate::clock::Timestamp;
use crate::db::{Purge, Tx, params};
use crate::error::Result;

pub(super) fn take(tx: &Tx, mark: &[u8], cut: Timestamp, most: i64) -> Result<bool> {
    let again = "UPDATE limits SET used = CASE WHEN since > $1 THEN used + 1 ELSE 1 END, \
         since = CASE WHEN since > $1 THEN since ELSE $2 END WHERE mark = $3 AND (since <= $1 OR used < $4)";
    if tx.execute(again, params![cut, tx.now(), mark, most])? == 1 {
        return Ok(true);
    }
    if tx.query_opt("SELECT 1 FROM limits WHERE mark = $1", params![mark])?.is_some() {
        return Ok(false);
    }
    // Of two who come first at once, the other runs again and counts on.
    tx.add("limits (mark, since, used)", params![mark, tx.now(), 1_i64]).map(|()| true)
}

pub(super) fn used(tx: &Tx, mark: &[u8], cut: Timestamp) -> Result<i64> {
    let row = tx.query_opt("SELECT used FROM limits WHERE mark = $1 AND since > $2", params![mark, cut])?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// What no longer limits, if it is older than [`LONGEST`].
pub const OLD: Purge = Purge { table: "limits", key: "mark", age: "since", condition: "1 = 1" };

/// Forgets what no longer limits, and says whether there may be more.
pub fn purge(tx: &Tx) -> Result<bool> {
    tx.purge(&OLD, tx.now() - LONGEST)
}
