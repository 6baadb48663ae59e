//! The SQL of the search: candidates are read without their health record, and only those who are wanted as a whole.

use super::Wanted;
use crate::apps::EnvironmentId;
use crate::db::{Row, Tx, params};
use crate::error::Result;
use crate::field::restore;
use crate::place::Place;
use crate::users::list::Outline;
use crate::users::{Status, User, UserId, any_by_id, names};

const OUTLINE: &str = "u.id, u.tenant_id, u.created_at, u.updated_at, u.frozen_at, u.deleted_at";
/// How many addresses are read at first: they are enough unless most are filtered out.
const FEW: i64 = 64;

fn outline(row: &Row) -> Result<Outline> {
    let (frozen_at, deleted_at) = (row.get(4)?, row.get(5)?);
    Ok(Outline {
        tenant: row.get(1)?,
        created_at: row.get(2)?,
        updated_at: row.get(3)?,
        status: Status::since(frozen_at, deleted_at),
    })
}

/// Who is wanted among those whose address begins so, in the order of addresses: at most `most`, of the first `at_once`. And
/// whether there may be more.
pub(super) fn with_address_like(
    tx: &Tx,
    environment: EnvironmentId,
    beginning: &str,
    wanted: &Wanted,
    (most, at_once): (usize, i64),
) -> Result<(Vec<UserId>, bool)> {
    // Texts compare by their bytes on every engine, so those with one beginning stand together.
    let sql = format!(
        "SELECT {OUTLINE}, u.email_key FROM users u WHERE u.environment_id = $1 AND u.email_key >= $2 \
         ORDER BY u.email_key LIMIT $3"
    );
    let look = |limit: i64| -> Result<(Vec<UserId>, bool)> {
        let rows = tx.query(&sql, params![environment, beginning, limit])?;
        let mut ids = Vec::new();
        for row in &rows {
            if !row.get::<String>(6)?.starts_with(beginning) {
                return Ok((ids, true));
            }
            if wanted.has(&outline(row)?) {
                ids.push(row.get(0)?);
            }
        }
        Ok((ids, i64::try_from(rows.len()).is_ok_and(|count| count < limit)))
    };
    let (mut ids, mut is_all) = look(FEW)?;
    if ids.len() <= most && !is_all {
        (ids, is_all) = look(at_once)?;
    }
    let more = ids.len() > most || !is_all;
    ids.truncate(most);
    Ok((ids, more))
}

/// Who is wanted among those whose name has all these words, newest first: of the newest `at_once` between two places, and at
/// most `most`. The place where that ended, if there are more; and how many were read.
pub(super) fn named(
    tx: &Tx,
    environment: EnvironmentId,
    words: &[String],
    wanted: &Wanted,
    (after, before): (Place, Place),
    (most, at_once): (usize, i64),
) -> Result<(Vec<User>, Option<Place>, i64)> {
    let sql = format!(
        "SELECT {OUTLINE}, u.profile FROM users u \
         WHERE u.environment_id = $1 AND (u.created_at, u.id) < ($2, $3) AND (u.created_at, u.id) > ($4, $5) \
         ORDER BY u.created_at DESC, u.id DESC LIMIT $6"
    );
    let rows = tx.query(&sql, params![environment, before.at, before.id, after.at, after.id, at_once])?;
    let read = i64::try_from(rows.len()).unwrap_or(at_once);
    let (mut found, mut last) = (Vec::new(), None);
    for row in &rows {
        let outline = outline(row)?;
        if wanted.has(&outline) {
            let profile: String = row.get(6)?;
            let text = profile.to_lowercase();
            // Most are no candidates, which is seen without reading the JSON.
            if words.iter().all(|word| text.contains(word.as_str()))
                && names::fits(&names::called(&restore(profile.as_bytes())?), words)
            {
                found.extend(any_by_id(tx, row.get(0)?)?);
            }
        }
        last = Some(Place { at: outline.created_at, id: row.get(0)? });
        if found.len() == most {
            return Ok((found, last, read));
        }
    }
    Ok((found, last.filter(|_| read == at_once), read))
}
