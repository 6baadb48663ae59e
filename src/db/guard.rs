//! The audit trail is only added to: what else would change it is refused here, whoever asks. There are two doors: the
//! erasure of a person empties what changed about them, and a copy of the database writes past this guard.
//!
//! Against those who have the database itself, rights and the chain help; see `docs/SECURITY.md`.

use crate::error::{Error, Result};

/// Takes what changed out of the entries about a user of a time.
pub(super) const ERASE: &str = "UPDATE audit SET changes = NULL WHERE user_id = $1 AND created_at > $2 AND created_at <= $3 \
     AND changes IS NOT NULL";

/// Refuses a statement that may change or remove what is in the trail.
pub(super) fn check(sql: &str) -> Result<()> {
    if sql.starts_with("SELECT ") || !names_it(sql) || sql == ERASE {
        return Ok(());
    }
    let words: Vec<String> = sql
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let mut first = words.iter().map(String::as_str);
    let adds = (first.next(), first.next()) == (Some("insert"), Some("into"));
    let elsewhere = !words.iter().any(|word| word == "audit" || word == "audit_seals");
    let replaces = words.iter().any(|word| ["update", "replace", "delete"].contains(&word.as_str()));
    if elsewhere || (adds && !replaces) {
        return Ok(());
    }
    Err(Error::internal("the audit trail is only added to"))
}

fn names_it(sql: &str) -> bool {
    sql.as_bytes().windows(5).any(|word| word.eq_ignore_ascii_case(b"audit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_can_be_read_added_to_and_erased_from_in_one_way_and_nothing_else() {
        for sql in [
            ERASE,
            "SELECT id FROM audit WHERE user_id = $1 FOR UPDATE",
            "INSERT INTO audit (id) VALUES ($1) ON CONFLICT DO NOTHING",
            "INSERT INTO audit_seals (id) VALUES ($1)",
            "UPDATE users SET version = 2 WHERE id = $1",
            "DELETE FROM auditors",
        ] {
            assert!(check(sql).is_ok(), "{sql}");
        }
        for sql in [
            "UPDATE audit SET action = $1",
            "update Audit set action = 'x'",
            "UPDATE\n\"audit\" SET action = $1",
            "UPDATE main.audit SET action = $1",
            "UPDATE audit SET changes = NULL WHERE user_id = $1",
            "UPDATE audit_seals SET hash = $1",
            "DELETE FROM audit",
            "DELETE FROM audit_seals WHERE number > 5",
            "WITH gone AS (DELETE FROM audit RETURNING id) SELECT * FROM gone",
            "INSERT INTO audit (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET action = excluded.action",
            "INSERT OR REPLACE INTO audit (id) VALUES ($1)",
            "REPLACE INTO audit (id) VALUES ($1)",
            "DROP TABLE audit",
            "ALTER TABLE audit RENAME TO other",
            "TRUNCATE audit",
            "MERGE INTO audit USING users ON true WHEN MATCHED THEN DELETE",
        ] {
            assert!(check(sql).is_err(), "{sql}");
        }
    }
}
