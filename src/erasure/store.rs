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
    /// Its name. Its rows name the user in `user_id`.
    pub table: &'static str,
    /// What a person is shown of a row.
    pub shown: &'static [&'static str],
    /// The column that holds JSON about the person, sealed for the row's id.
    pub sealed: Option<&'static str>,
}

/// Every table with rows of a user, those first that others refer to last. The audit trail keeps its rows, emptied.
pub const ROWS: &[Rows] = &[
    Rows { table: "links", shown: &["purpose", "created_at", "expires_at", "used_at", "superseded_at"], sealed: None },
    Rows { table: "sessions", shown: &["created_at", "expires_at", "ended_at"], sealed: None },
    Rows { table: "sign_ins", shown: &["created_at", "expires_at", "sent_at", "closed_at"], sealed: Some("request") },
    Rows { table: "outbox", shown: &["kind", "state", "created_at", "finished_at"], sealed: Some("payload") },
    Rows { table: "idempotency", shown: &["created_at"], sealed: None },
];

/// Tables whose rows name a user by id and keep nothing else about the person: the audit trail, emptied; messages to
/// webhooks, which say that something changed and not what; who to delete at Stripe, until that is done; and the receipts.
pub const KEPT: &[&str] = &["audit", "deliveries", "billing_customers", "erasures"];

/// What a sealed value may hold that is a way in, and nothing about the person.
const SECRETS: [&str; 3] = ["link", "code", "secret"];

pub(super) fn remove_rows(tx: &Tx, user: UserId) -> Result<BTreeMap<String, i64>> {
    let remove = |rows: &Rows| {
        let count = tx.execute(&format!("DELETE FROM {} WHERE user_id = $1", rows.table), params![user])?;
        Ok((rows.table.to_owned(), i64::try_from(count).unwrap_or(i64::MAX)))
    };
    ROWS.iter().map(remove).collect()
}

pub(super) fn shown_rows(tx: &Tx, user: UserId) -> Result<Vec<(&'static str, Json)>> {
    ROWS.iter().map(|rows| Ok((rows.table, show(tx, rows, user)?))).collect()
}

fn show(tx: &Tx, rows: &Rows, user: UserId) -> Result<Json> {
    let columns = rows.shown.iter().copied().chain(rows.sealed.into_iter().flat_map(|column| ["id", column]));
    let columns: Vec<&str> = columns.collect();
    let sql = format!("SELECT {} FROM {} WHERE user_id = $1 ORDER BY created_at", columns.join(", "), rows.table);
    let show = |row: &Row| {
        let mut shown = Map::new();
        for (index, column) in rows.shown.iter().enumerate() {
            shown.insert((*column).to_owned(), plain(column, row.get(index)?));
        }
        if let Some(column) = rows.sealed {
            let id: uuid::Uuid = row.get(rows.shown.len())?;
            let opened = tx.vault().open(id.as_bytes(), &row.get::<Vec<u8>>(rows.shown.len() + 1)?)?;
            let mut inner: Map<String, Json> = restore(&opened)?;
            inner.retain(|name, _| !SECRETS.contains(&name.as_str()));
            shown.insert(column.to_owned(), inner.into());
        }
        Ok(Json::Object(shown))
    };
    tx.query(&sql, params![user])?.iter().map(show).collect()
}

/// A value as people read it: what ends in `_at` is a time.
fn plain(column: &str, value: Value<'static>) -> Json {
    match value {
        Value::Integer(millis) if column.ends_with("_at") => Timestamp(millis).to_string().into(),
        Value::Integer(number) => number.into(),
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
