//! How far back so many rows reach: what keeps a list bounded that no index has.

use uuid::Uuid;

use super::{Tx, params};
use crate::error::Result;

impl Tx<'_> {
    /// The id of the row that is so many before another, in a table whose ids begin with the time; `None` if there are not as
    /// many.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn rows_back(&self, table: &'static str, before: Uuid, rows: i64) -> Result<Option<Uuid>> {
        let sql = format!("SELECT id FROM {table} WHERE id < $1 ORDER BY id DESC LIMIT 1 OFFSET $2");
        self.query_opt(&sql, params![before, rows - 1])?.map(|row| row.get(0)).transpose()
    }
}
