//! What the trail holds of one user.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use uuid::Uuid;

use super::{COLUMNS, open, read};
use crate::audit::{Action, ActorKind, Changes, DONE, Entry};
use crate::clock::Timestamp;
use crate::db::{Row, Tx, params};
use crate::error::{Error, Result};
use crate::place::Place;
use crate::users::{Email, UserId};

/// Up to `limit` entries about a user, oldest first, from after a place on. Nobody reads all of a trail at once: the person can
/// make theirs as long as they like.
///
/// # Errors
/// The database does not answer, or an entry does not open.
pub fn after(tx: &Tx, user: UserId, place: Place, limit: i64) -> Result<Vec<Entry>> {
    rows_after(tx, COLUMNS, user, place, limit)?.iter().map(|row| read(tx, row)).collect()
}

fn rows_after(tx: &Tx, columns: &str, user: UserId, place: Place, limit: i64) -> Result<Vec<Row>> {
    let sql = format!(
        "SELECT {columns} FROM audit WHERE user_id = $1 AND (created_at, id) > ($2, $3) ORDER BY created_at, id LIMIT $4"
    );
    tx.query(&sql, params![user, place.at, place.id, limit])
}

/// What was noted of a user at one time, in the order of writing.
fn of_moment(tx: &Tx, user: UserId, at: Timestamp) -> Result<Vec<Entry>> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE user_id = $1 AND created_at = $2 ORDER BY id");
    tx.query(&sql, params![user, at])?.iter().map(|row| read(tx, row)).collect()
}

/// What changed about the person, among up to `limit` entries from after a place on, and where to go on. Of these alone the
/// sealed value is opened; one that does not open is passed over.
fn facts_after(tx: &Tx, user: UserId, place: Place, limit: i64) -> Result<(Vec<Changes>, Option<Place>)> {
    let rows = rows_after(tx, "id, created_at, action, changes", user, place, limit)?;
    let mut all = Vec::new();
    for row in &rows {
        if !matches!(row.get(2), Ok(Action::UserCreated | Action::UserUpdated)) {
            continue;
        }
        let Some(sealed) = row.get::<Option<Vec<u8>>>(3)? else { continue };
        all.extend(open(tx, row.get(0)?, &sealed).ok());
    }
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count == limit);
    let last = rows.last().filter(|_| is_full);
    let next = last.map(|row| Ok::<_, Error>(Place { at: row.get(1)?, id: row.get(0)? })).transpose()?;
    Ok((all, next))
}

/// Whether a user has ever done something themselves, such as sign in.
pub fn has_acted(tx: &Tx, user: UserId) -> Result<bool> {
    let sql = "SELECT 1 FROM audit WHERE user_id = $1 AND actor_id = $1 AND actor = $2 AND result = $3 LIMIT 1";
    Ok(tx.query_opt(sql, params![user, ActorKind::Person, DONE])?.is_some())
}

/// Up to `limit` entries about a user, newest first, from before this place on.
pub fn before(tx: &Tx, user: UserId, place: Option<Place>, limit: i64) -> Result<Vec<Entry>> {
    let all = format!("SELECT {COLUMNS} FROM audit WHERE user_id = $1");
    let order = "ORDER BY created_at DESC, id DESC";
    let rows = match place {
        None => tx.query(&format!("{all} {order} LIMIT $2"), params![user, limit]),
        Some(Place { at, id }) => {
            let sql = format!("{all} AND (created_at, id) < ($2, $3) {order} LIMIT $4");
            tx.query(&sql, params![user, at, id, limit])
        }
    };
    rows?.iter().map(|row| read(tx, row)).collect()
}

/// What one request has done to a user within this transaction.
///
/// # Errors
/// The database does not answer.
pub fn of_request(tx: &Tx, user: UserId, request: Option<Uuid>) -> Result<Vec<Entry>> {
    let now = of_moment(tx, user, tx.now())?;
    Ok(now.into_iter().filter(|entry| entry.request == request).collect())
}

/// How many entries of a trail are read at once.
const PAGE: i64 = 1000;

/// Every e-mail address that a user has or had, as far as the trail knows: one that somebody has changed keeps nobody from
/// being erased.
///
/// # Errors
/// The database does not answer.
pub fn addresses(tx: &Tx, user: UserId) -> Result<Vec<Email>> {
    let (mut all, mut from) = (BTreeMap::new(), Some(Place::FIRST));
    while let Some(place) = from {
        let (changes, next) = facts_after(tx, user, place, PAGE)?;
        let values = changes.iter().filter_map(|changes| changes.0["fields"]["email"].as_array()).flatten();
        let emails = values.filter_map(Json::as_str).filter_map(Email::new);
        all.extend(emails.map(|email| (email.key().to_owned(), email)));
        from = next;
    }
    Ok(all.into_values().collect())
}

pub(in crate::audit) fn count_refused(tx: &Tx, user: UserId, since: Timestamp) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM audit WHERE user_id = $1 AND created_at > $2 AND result <> 'done'";
    tx.query_opt(sql, params![user, since])?.map_or(Ok(0), |row| row.get(0))
}
