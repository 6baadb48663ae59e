//! Removes what has had its time, a little in each transaction.

use super::{Tx, Value};
use crate::error::Result;

/// What is removed from a table when its time is over; see [`Tx::purge`].
pub struct Purge {
    /// The table.
    pub table: &'static str,
    /// Its primary key.
    pub key: &'static str,
    /// The column that tells the age of a row, with an index: the id, where that begins with the time.
    pub age: &'static str,
    /// Which rows of that age.
    pub condition: &'static str,
}

impl Purge {
    /// All rows of a table whose ids begin with the time.
    pub const fn by_id(table: &'static str) -> Purge {
        Purge { table, key: "id", age: "id", condition: "1 = 1" }
    }

    /// The statement: up to which age, and how many rows.
    pub fn statement(&self) -> String {
        let Purge { table, key, age, condition } = self;
        format!(
            "DELETE FROM {table} WHERE {key} IN \
             (SELECT {key} FROM {table} WHERE {age} <= $1 AND {condition} ORDER BY {age} LIMIT $2)"
        )
    }
}

/// How many rows one transaction removes.
const PURGED: i64 = 1000;

impl Tx<'_> {
    /// Removes some of the rows of a table whose column is not after a value, and that meet a condition; says whether there may
    /// be more. Never many at once, so that nobody waits long for the transaction.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn purge<'v>(&self, from: &Purge, up_to: impl Into<Value<'v>>) -> Result<bool> {
        Ok(self.execute(&from.statement(), &[up_to.into(), PURGED.into()])? > 0)
    }
}
