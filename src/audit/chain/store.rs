//! The SQL of the chain: seals are added and read, entries are read as they lie.

use std::collections::HashMap;
use std::ops::ControlFlow;

use uuid::Uuid;

use super::super::EntryId;
use super::super::store::COLUMNS;
use super::SealId;
use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::db::{Row, Tx, Value, params};
use crate::error::Result;

/// How many entries, and how many seals, are read at once.
const PAGE: usize = 5000;
const SEALS: i64 = 100;
/// How many are asked for by their ids at once.
const ASKED: usize = 250;
/// How long an entry is in a seal's list: its id and its digest.
pub(super) const LISTED: usize = 48;

/// A seal as it lies in the database.
pub(super) struct Seal {
    pub(super) id: SealId,
    pub(super) number: i64,
    pub(super) sealed_at: Timestamp,
    pub(super) last: EntryId,
    /// The oldest id of its list, as it stands there.
    pub(super) first: Option<Vec<u8>>,
    pub(super) list: Vec<u8>,
    pub(super) hash: Vec<u8>,
    pub(super) proof: Vec<u8>,
}

const SEAL: &str = "SELECT id, number, sealed_at, last_id, first_id, entries, hash, proof FROM audit_seals";

fn read(row: &Row) -> Result<Seal> {
    Ok(Seal {
        id: row.get(0)?,
        number: row.get(1)?,
        sealed_at: row.get(2)?,
        last: row.get(3)?,
        first: row.get(4)?,
        list: row.get(5)?,
        hash: row.get(6)?,
        proof: row.get(7)?,
    })
}

pub(super) fn insert(tx: &Tx, environment: EnvironmentId, seal: &Seal) -> Result<()> {
    let Seal { id, number, sealed_at, last, first, list, hash, proof } = seal;
    tx.add(
        "audit_seals (id, environment_id, number, sealed_at, last_id, first_id, entries, hash, proof)",
        params![*id, environment, *number, *sealed_at, *last, first.as_deref(), &list[..], &hash[..], &proof[..]],
    )
}

/// The newest seal of an environment.
pub(super) fn last(tx: &Tx, environment: EnvironmentId) -> Result<Option<Seal>> {
    let sql = format!("{SEAL} WHERE environment_id = $1 ORDER BY number DESC LIMIT 1");
    tx.query_opt(&sql, params![environment])?.as_ref().map(read).transpose()
}

/// The newest entry of the newest seal of all.
pub(super) fn newest_sealed(tx: &Tx) -> Result<Option<EntryId>> {
    let row = tx.query_opt("SELECT last_id FROM audit_seals ORDER BY id DESC LIMIT 1", params![])?;
    row.map(|row| row.get(0)).transpose()
}

/// The seals of an environment after that number, in order.
pub(super) fn seals_after(tx: &Tx, environment: EnvironmentId, number: i64) -> Result<Vec<Seal>> {
    let sql = format!("{SEAL} WHERE environment_id = $1 AND number > $2 ORDER BY number LIMIT $3");
    tx.query(&sql, params![environment, number, SEALS])?.iter().map(read).collect()
}

/// Every environment that has a chain.
pub(super) fn environments(tx: &Tx) -> Result<Vec<EnvironmentId>> {
    let rows = tx.query("SELECT DISTINCT environment_id FROM audit_seals ORDER BY environment_id", params![])?;
    rows.iter().map(|row| row.get(0)).collect()
}

/// Shows the entries from `floor` on, as they lie, some at a time in the order of their ids, each time with the ids that seals list
/// from there to where the next begin, in order; for as long as somebody looks.
pub(super) fn each(
    tx: &Tx,
    floor: EntryId,
    mut show: impl FnMut(&[Row], &[Uuid]) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE id >= $1 ORDER BY id LIMIT {PAGE}");
    let mut from = floor.0;
    loop {
        let page = tx.query(&sql, params![from])?;
        let to = match page.last() {
            Some(newest) if page.len() == PAGE => newest.get(0)?,
            _ => Uuid::max(),
        };
        if show(&page, &sealed(tx, from, to)?)?.is_break() || to.is_max() {
            return Ok(());
        }
        from = Uuid::from_u128(to.as_u128() + 1);
    }
}

/// The ids from `from` to `to` that seals list, in order. One that two of them list is there twice.
fn sealed(tx: &Tx, from: Uuid, to: Uuid) -> Result<Vec<Uuid>> {
    let sql = "SELECT entries FROM audit_seals WHERE last_id >= $1 AND (first_id <= $2 OR first_id IS NULL)";
    let mut ids = Vec::new();
    for row in tx.query(sql, params![from, &to.as_bytes()[..]])? {
        let list: Vec<u8> = row.get(0)?;
        let listed = list.chunks_exact(LISTED).filter_map(|entry| Uuid::from_slice(&entry[..16]).ok());
        ids.extend(listed.filter(|id| (from..=to).contains(id)));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// The entries with these ids.
pub(super) fn entries(tx: &Tx, ids: &[Uuid]) -> Result<HashMap<Uuid, Row>> {
    let mut found = HashMap::with_capacity(ids.len());
    for some in ids.chunks(ASKED) {
        let places: Vec<String> = (1..=some.len()).map(|place| format!("${place}")).collect();
        let sql = format!("SELECT {COLUMNS} FROM audit WHERE id IN ({})", places.join(", "));
        let values: Vec<Value> = some.iter().map(|id| Value::from(*id)).collect();
        for row in tx.query(&sql, &values)? {
            found.insert(row.get(0)?, row);
        }
    }
    Ok(found)
}

/// How many entries there are.
pub(super) fn count(tx: &Tx) -> Result<i64> {
    tx.query_opt("SELECT COUNT(*) FROM audit", params![])?.map_or(Ok(0), |row| row.get(0))
}
