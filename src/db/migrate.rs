//! Brings the tables up to date. `migrations/` is append-only: a released file never changes.

use super::{Tx, params, sqlite};
use crate::error::{Error, Result};

/// Every migration in order; its version is its place, counted from one.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_tables", include_str!("../../migrations/0001_tables.sql")),
    ("0002_key_calls", include_str!("../../migrations/0002_key_calls.sql")),
    ("0003_key_calls_so_far", include_str!("../../migrations/0003_key_calls_so_far.sql")),
    ("0004_audit_of_no_user", include_str!("../../migrations/0004_audit_of_no_user.sql")),
    ("0005_newest_tenants", include_str!("../../migrations/0005_newest_tenants.sql")),
    ("0006_outbox_in_order", include_str!("../../migrations/0006_outbox_in_order.sql")),
];

/// The version of the tables; those of builds before the first release have none.
pub(super) const VERSION: &str = "SELECT COALESCE(MAX(version), 0) FROM migrations \
     WHERE NOT EXISTS (SELECT 1 FROM migrations WHERE name = '0001_first')";

/// The last of the migrations that builds before the first release had, one after the other, and what takes them over.
const BEFORE_THE_FIRST: &str = "0023_replaced_keys";
const SINCE_THEN: &str = include_str!("since_then.sql");

/// The version that this program needs.
#[expect(clippy::cast_possible_wrap, reason = "a handful")]
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Reads the value by which a data key is known to be the right one.
pub(super) const SEAL: &str = "SELECT value FROM meta WHERE name = 'seal'";
pub(super) const SEAL_OWNER: &[u8] = b"usher.meta.seal";

/// Applies the first migration that is missing, in the caller's transaction, and returns whether none is missing now. With the first
/// one it seals a new database with the data key. Each has a transaction of its own, for there are databases (CockroachDB) that
/// let none use the columns that it has added.
pub(super) fn step(tx: &Tx) -> Result<bool> {
    tx.take_time();
    tx.batch(
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BYTEA NOT NULL);
         CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL);",
    )?;
    let applied = "SELECT name FROM migrations ORDER BY version";
    let mut applied = tx.query(applied, &[])?.iter().map(|row| row.get(0)).collect::<Result<Vec<String>>>()?;
    if applied.last().is_some_and(|name| name == BEFORE_THE_FIRST) {
        tx.execute("DELETE FROM migrations", &[])?;
        tx.batch(SINCE_THEN)?;
        note(tx, 0)?;
        return Ok(false);
    }
    let done = version(tx)?;
    if done > NEWEST {
        return Err(Error::operator(format!(
            "a newer Usher made this database (its schema is {done}, this program knows {NEWEST}). Start the newer program."
        )));
    }
    if let Some((other, (name, _))) = applied.iter().zip(MIGRATIONS).find(|(other, (name, _))| other != name) {
        return Err(Error::operator(format!(
            "another build of Usher made this database: it has the migration {other} where this program has {name}."
        )));
    }
    if let Some((_, sql)) = MIGRATIONS.get(applied.len()) {
        tx.batch(sql)?;
        applied.push(note(tx, applied.len())?);
    }
    // With the first: without it, a database that waits for the next one would be taken for somebody else's.
    if tx.query_opt(SEAL, params![])?.is_none() {
        let seal = tx.vault().seal(SEAL_OWNER, b"usher");
        tx.execute("INSERT INTO meta (name, value) VALUES ('seal', $1)", params![seal])?;
    }
    if applied.len() < MIGRATIONS.len() {
        return Ok(false);
    }
    compare_bytes(tx)?;
    Ok(true)
}

/// Has all texts compared by their bytes, as every operation expects.
pub(super) fn compare_bytes(tx: &Tx) -> Result<()> {
    tx.take_time();
    let tables = tables()?;
    tx.connection.compare_bytes(&tables.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The names of all tables.
pub(super) fn tables() -> Result<Vec<String>> {
    let made = sqlite::tables_of(all())?.into_iter().map(|table| table.name);
    Ok(made.chain(["meta", "migrations"].map(str::to_owned)).collect())
}

/// Notes that the migration at this place was applied, and returns its name.
#[expect(clippy::cast_possible_wrap, reason = "a handful")]
fn note(tx: &Tx, place: usize) -> Result<String> {
    let (name, _) = MIGRATIONS[place];
    let sql = "INSERT INTO migrations (version, name, applied_at) VALUES ($1, $2, $3)";
    tx.execute(sql, params![place as i64 + 1, name, tx.now()])?;
    Ok(name.to_owned())
}

/// What makes a new database, in order.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    MIGRATIONS.iter().map(|(_, sql)| *sql)
}

/// The value that only this database has.
pub(super) fn seal(tx: &Tx) -> Result<Vec<u8>> {
    tx.query_opt(SEAL, params![])?.ok_or(Error::Integrity)?.get(0)
}

/// Whether the data key is the one that sealed this database.
pub(super) fn check_seal(tx: &Tx) -> Result<()> {
    tx.vault().open(SEAL_OWNER, &seal(tx)?).map(|_| ())
}

/// The version of the tables.
pub(super) fn version(tx: &Tx) -> Result<i64> {
    let row = tx.query_opt(VERSION, params![])?;
    row.map_or(Ok(0), |row| row.get(0))
}
