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

/// How many entries, and how many seals, are looked at together.
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
    /// The oldest one, if whoever sealed them said so.
    pub(super) first: Option<EntryId>,
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
        params![*id, environment, *number, *sealed_at, *last, *first, &list[..], &hash[..], &proof[..]],
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

/// The newest entry, if it is the last of a seal.
pub(super) fn newest_if_sealed(tx: &Tx) -> Result<Option<EntryId>> {
    let Some(row) = tx.query_opt("SELECT id FROM audit ORDER BY id DESC LIMIT 1", params![])? else { return Ok(None) };
    let newest: EntryId = row.get(0)?;
    let sealed = tx.query_opt("SELECT 1 FROM audit_seals WHERE last_id = $1 LIMIT 1", params![newest])?;
    Ok(sealed.map(|_| newest))
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

/// Entries that no seal lists.
pub(super) struct Unsealed {
    /// How many were looked at to find these.
    pub(super) looked_at: usize,
    /// As they lie, in the order of their ids.
    pub(super) entries: Vec<Row>,
    /// Ids of about the same time that two seals list.
    pub(super) twice: Vec<Uuid>,
}

/// Shows what is not sealed from `floor` on, some at a time, for as long as somebody looks. Reads each seal once, and only the
/// ids of what is sealed.
pub(super) fn unsealed(
    tx: &Tx,
    floor: EntryId,
    mut show: impl FnMut(Unsealed) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut from = floor.0;
    let mut ahead = Ahead::default();
    loop {
        let rows = tx.query(&format!("SELECT id FROM audit WHERE id >= $1 ORDER BY id LIMIT {PAGE}"), params![from])?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect::<Result<_>>()?;
        let to = if ids.len() == PAGE { ids[PAGE - 1] } else { Uuid::max() };
        let sealed = ahead.up_to(tx, from, to)?;
        let is_loose = |id: &Uuid| sealed.binary_search(id).is_err();
        let twice = sealed.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        let entries = match (ids.iter().find(|id| is_loose(id)), ids.iter().rfind(|id| is_loose(id))) {
            (Some(oldest), Some(newest)) => between(tx, *oldest, *newest, is_loose)?,
            _ => Vec::new(),
        };
        if show(Unsealed { looked_at: ids.len(), entries, twice })?.is_break() || to.is_max() {
            return Ok(());
        }
        from = Uuid::from_u128(to.as_u128() + 1);
    }
}

fn between(tx: &Tx, oldest: Uuid, newest: Uuid, is_wanted: impl Fn(&Uuid) -> bool) -> Result<Vec<Row>> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE id >= $1 AND id <= $2 ORDER BY id");
    let mut rows = tx.query(&sql, params![oldest, newest])?;
    rows.retain(|row| row.get(0).is_ok_and(|id| is_wanted(&id)));
    Ok(rows)
}

/// What seals list, read in step with the entries.
#[derive(Default)]
struct Ahead {
    /// Listed with something that was asked for, and newer.
    ids: Vec<Uuid>,
    is_begun: bool,
}

impl Ahead {
    /// The ids from `from` to `to` that seals list, in order; one that two of them list is there twice. Each time asks from
    /// where the time before has ended.
    fn up_to(&mut self, tx: &Tx, from: Uuid, to: Uuid) -> Result<Vec<Uuid>> {
        if self.is_begun {
            let sql = "SELECT entries FROM audit_seals WHERE first_id >= $1 AND first_id <= $2";
            self.take(&tx.query(sql, params![from, to])?, from)?;
        } else {
            let sql = "SELECT entries FROM audit_seals WHERE last_id >= $1 AND first_id <= $2";
            self.take(&tx.query(sql, params![from, to])?, from)?;
            self.take_unknown(tx, from)?;
            self.is_begun = true;
        }
        self.ids.sort_unstable();
        let newer = self.ids.split_off(self.ids.partition_point(|id| *id <= to));
        Ok(std::mem::replace(&mut self.ids, newer))
    }

    /// The same of all seals of which is not known where they begin: of those, the ids are held.
    fn take_unknown(&mut self, tx: &Tx, from: Uuid) -> Result<()> {
        let sql = format!(
            "SELECT entries, id FROM audit_seals WHERE last_id >= $1 AND first_id IS NULL AND id > $2 ORDER BY id LIMIT {SEALS}"
        );
        let mut after = Uuid::nil();
        loop {
            let seals = tx.query(&sql, params![from, after])?;
            let Some(last) = seals.last() else { return Ok(()) };
            after = last.get(1)?;
            self.take(&seals, from)?;
        }
    }

    fn take(&mut self, seals: &[Row], from: Uuid) -> Result<()> {
        for seal in seals {
            let list: Vec<u8> = seal.get(0)?;
            let listed = list.chunks_exact(LISTED).filter_map(|entry| Uuid::from_slice(&entry[..16]).ok());
            self.ids.extend(listed.filter(|id| *id >= from));
        }
        Ok(())
    }
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
    tx.take_time();
    tx.query_opt("SELECT COUNT(*) FROM audit", params![])?.map_or(Ok(0), |row| row.get(0))
}
