//! Brings the tables up to date. `migrations/` is append-only: a released file never changes.

use super::{Tx, params};
use crate::error::{Error, Result};

/// Every migration in order; its version is its place, counted from one.
const MIGRATIONS: &[(&str, &str)] = &[
    ("0001_first", include_str!("../../migrations/0001_first.sql")),
    ("0002_idempotency", include_str!("../../migrations/0002_idempotency.sql")),
    ("0003_audit", include_str!("../../migrations/0003_audit.sql")),
    ("0004_sign_in", include_str!("../../migrations/0004_sign_in.sql")),
    ("0005_directory", include_str!("../../migrations/0005_directory.sql")),
    ("0006_webhooks", include_str!("../../migrations/0006_webhooks.sql")),
    ("0007_audit_chain", include_str!("../../migrations/0007_audit_chain.sql")),
    ("0008_billing", include_str!("../../migrations/0008_billing.sql")),
    ("0009_hooks", include_str!("../../migrations/0009_hooks.sql")),
    ("0010_whose", include_str!("../../migrations/0010_whose.sql")),
    ("0011_admins", include_str!("../../migrations/0011_admins.sql")),
    ("0012_imports", include_str!("../../migrations/0012_imports.sql")),
    ("0013_sign_in_again", include_str!("../../migrations/0013_sign_in_again.sql")),
    ("0014_brand", include_str!("../../migrations/0014_brand.sql")),
    ("0015_import_files", include_str!("../../migrations/0015_import_files.sql")),
    ("0016_founders", include_str!("../../migrations/0016_founders.sql")),
    ("0017_older_calls", include_str!("../../migrations/0017_older_calls.sql")),
    ("0018_admin_language", include_str!("../../migrations/0018_admin_language.sql")),
    ("0019_seal_spans", include_str!("../../migrations/0019_seal_spans.sql")),
    ("0020_sign_in_addresses", include_str!("../../migrations/0020_sign_in_addresses.sql")),
    ("0021_self_named", include_str!("../../migrations/0021_self_named.sql")),
    ("0022_limits_age", include_str!("../../migrations/0022_limits_age.sql")),
    ("0023_replaced_keys", include_str!("../../migrations/0023_replaced_keys.sql")),
];

/// The version that this program needs.
#[expect(clippy::cast_possible_wrap, reason = "a handful")]
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// Reads the value by which a data key is known to be the right one.
pub(super) const SEAL: &str = "SELECT value FROM meta WHERE name = 'seal'";
pub(super) const SEAL_OWNER: &[u8] = b"usher.meta.seal";

/// Applies what is missing, and seals a new database with the data key, all in the caller's transaction.
pub(super) fn run(tx: &Tx) -> Result<()> {
    tx.connection.take_time();
    tx.batch(
        "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BYTEA NOT NULL);
         CREATE TABLE IF NOT EXISTS migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL);",
    )?;
    let done = version(tx)?;
    if done > NEWEST {
        return Err(Error::operator(format!(
            "a newer Usher made this database (its schema is {done}, this program knows {NEWEST}). Start the newer program."
        )));
    }
    let applied = tx.query("SELECT name FROM migrations ORDER BY version", &[])?;
    for (row, (name, _)) in applied.iter().zip(MIGRATIONS) {
        if row.get::<String>(0)? != *name {
            return Err(Error::operator(format!(
                "another build of Usher made this database: it has the migration {} where this program has {name}.",
                row.get::<String>(0)?
            )));
        }
    }
    for (version, (name, sql)) in (1_i64..).zip(MIGRATIONS) {
        if version > done {
            tx.batch(sql)?;
            tx.execute(
                "INSERT INTO migrations (version, name, applied_at) VALUES ($1, $2, $3)",
                params![version, *name, tx.now()],
            )?;
        }
    }
    tx.connection.compare_bytes()?;
    if tx.query_opt(SEAL, params![])?.is_none() {
        let seal = tx.vault().seal(SEAL_OWNER, b"usher");
        tx.execute("INSERT INTO meta (name, value) VALUES ('seal', $1)", params![seal])?;
    }
    Ok(())
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
    let row = tx.query_opt("SELECT COALESCE(MAX(version), 0) FROM migrations", params![])?;
    row.map_or(Ok(0), |row| row.get(0))
}
