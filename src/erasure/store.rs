//! The SQL of erasing and exporting. A table that holds rows of a user has a line here; a test finds those without.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::Receipt;
use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::db::{Row, Tx, Value, params};
use crate::error::{Error, Result};
use crate::field::restore;
use crate::users::UserId;

/// A table with rows of a user in it.
pub struct Rows {
    /// Its name.
    pub table: &'static str,
    /// Which rows are the user's.
    pub whose: &'static str,
    /// What a person is shown of a row.
    pub shown: &'static [&'static str],
    /// The column that holds JSON about the person, and that of the id for which it is sealed.
    pub sealed: Option<(&'static str, &'static str)>,
    /// What an erasure leaves of them.
    pub end: End,
}

/// What an erasure leaves of rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Nothing.
    Removed,
    /// Them, without these columns.
    Kept(&'static [&'static str]),
}

const BY_ID: &str = "user_id = $1";

/// Every table with rows of a user, those first that refer to others. The audit trail keeps its rows, emptied by itself.
pub const ROWS: &[Rows] = &[
    Rows {
        table: "links",
        whose: BY_ID,
        shown: &["purpose", "created_at", "expires_at", "used_at", "superseded_at"],
        sealed: None,
        end: End::Removed,
    },
    Rows {
        table: "codes",
        whose: "session_id IN (SELECT id FROM sessions WHERE user_id = $1)",
        shown: &["created_at", "expires_at", "used_at"],
        sealed: None,
        end: End::Removed,
    },
    Rows {
        table: "sessions",
        whose: BY_ID,
        shown: &["created_at", "expires_at", "ended_at"],
        sealed: None,
        end: End::Removed,
    },
    Rows {
        table: "sign_ins",
        whose: BY_ID,
        shown: &["created_at", "expires_at", "sent_at", "closed_at"],
        sealed: Some(("request", "id")),
        end: End::Removed,
    },
    Rows {
        table: "outbox",
        whose: BY_ID,
        shown: &["kind", "state", "created_at", "finished_at", "failure"],
        sealed: Some(("payload", "id")),
        end: End::Removed,
    },
    Rows {
        table: "subscription_turns",
        whose: BY_ID,
        shown: &["action", "created_at", "due_at"],
        sealed: None,
        end: End::Removed,
    },
    Rows {
        table: "idempotency",
        whose: BY_ID,
        shown: &["created_at"],
        sealed: Some(("answer", "owner")),
        end: End::Removed,
    },
    // The words are the receiver's, who may have said anything.
    Rows {
        table: "delivery_attempts",
        whose: "delivery_id IN (SELECT id FROM deliveries WHERE user_id = $1)",
        shown: &["created_at", "status", "words"],
        sealed: None,
        end: End::Removed,
    },
    // Ids and names; the event that tells of the erasure is one of them.
    Rows {
        table: "deliveries",
        whose: BY_ID,
        shown: &["kind", "body", "state", "created_at", "finished_at", "failure"],
        sealed: None,
        end: End::Kept(&["failure"]),
    },
    // Who is to be deleted at Stripe; the row goes when that is done.
    Rows {
        table: "billing_customers",
        whose: BY_ID,
        shown: &["mode", "customer", "created_at"],
        sealed: None,
        end: End::Kept(&[]),
    },
];

/// What a sealed value may hold that is a way in, and nothing about the person.
const SECRETS: [&str; 3] = ["link", "code", "secret"];

pub(super) fn remove_rows(tx: &Tx, user: UserId) -> Result<BTreeMap<String, i64>> {
    let mut counts = BTreeMap::new();
    for Rows { table, whose, end, .. } in ROWS {
        match end {
            End::Removed => {
                let count = tx.execute(&format!("DELETE FROM {table} WHERE {whose}"), params![user])?;
                counts.insert((*table).to_owned(), i64::try_from(count).unwrap_or(i64::MAX));
            }
            End::Kept(columns) => {
                for column in *columns {
                    tx.execute(&format!("UPDATE {table} SET {column} = NULL WHERE {whose}"), params![user])?;
                }
            }
        }
    }
    Ok(counts)
}

pub(super) fn shown_rows(tx: &Tx, user: UserId) -> Result<Vec<(&'static str, Json)>> {
    ROWS.iter().map(|rows| Ok((rows.table, show(tx, rows, user)?))).collect()
}

fn show(tx: &Tx, rows: &Rows, user: UserId) -> Result<Json> {
    let columns = rows.shown.iter().copied().chain(rows.sealed.into_iter().flat_map(|(column, owner)| [owner, column]));
    let columns: Vec<&str> = columns.collect();
    let sql = format!("SELECT {} FROM {} WHERE {} ORDER BY created_at", columns.join(", "), rows.table, rows.whose);
    let show = |row: &Row| {
        let mut shown = Map::new();
        for (index, column) in rows.shown.iter().enumerate() {
            shown.insert((*column).to_owned(), plain(column, row.get(index)?));
        }
        if let Some((column, _)) = rows.sealed {
            let owner: Vec<u8> = row.get(rows.shown.len())?;
            let opened = tx.vault().open(&owner, &row.get::<Vec<u8>>(rows.shown.len() + 1)?)?;
            // An answer stands below its entity tag.
            let json = opened.iter().position(|byte| *byte == b'\n').map_or(&opened[..], |end| &opened[end + 1..]);
            let mut inner: Map<String, Json> = restore(json)?;
            inner.retain(|name, _| !SECRETS.contains(&name.as_str()));
            shown.insert(column.to_owned(), inner.into());
        }
        Ok(Json::Object(shown))
    };
    tx.query(&sql, params![user])?.iter().map(show).collect()
}

/// A value as people read it: what ends in `_at` is a time, a body JSON.
fn plain(column: &str, value: Value<'static>) -> Json {
    match value {
        Value::Integer(millis) if column.ends_with("_at") => Timestamp(millis).to_string().into(),
        Value::Integer(number) => number.into(),
        Value::Text(text) if column == "body" => serde_json::from_str(&text).unwrap_or_default(),
        Value::Text(text) => text.into_owned().into(),
        Value::Null | Value::Bytes(_) => Json::Null,
    }
}

pub(super) fn insert(tx: &Tx, receipt: &Receipt) -> Result<()> {
    let counts = serde_json::to_string(&receipt.counts).map_err(Error::internal)?;
    tx.add(
        "erasures (id, environment_id, user_id, created_at, counts)",
        params![receipt.id, receipt.environment, receipt.user_id, receipt.created_at, counts],
    )
}

/// Every receipt of an environment, oldest first.
pub fn receipts(tx: &Tx, environment: EnvironmentId) -> Result<Vec<Receipt>> {
    let sql = "SELECT id, user_id, created_at, counts FROM erasures WHERE environment_id = $1 ORDER BY id";
    let read = |row: &Row| {
        Ok(Receipt {
            id: row.get(0)?,
            environment,
            user_id: row.get(1)?,
            created_at: row.get(2)?,
            counts: restore(row.get::<String>(3)?.as_bytes())?,
        })
    };
    tx.query(sql, params![environment])?.iter().map(read).collect()
}
