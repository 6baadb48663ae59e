//! How often something may be done within a span of time, counted in the database, so that several servers count together.
//!
//! Knows neither what is counted nor for whom: they are told apart by keyed hashes.

mod store;

pub use store::{OLD, purge};

use std::time::Duration;

use crate::db::Tx;
use crate::error::Result;

/// How often within which span. The span begins with the first time.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// What is limited.
    pub what: &'static str,
    /// How often.
    pub most: i64,
    /// Within which span; [`LONGEST`] at the most.
    pub span: Duration,
}

/// No span is longer: what is older is forgotten.
pub const LONGEST: Duration = Duration::from_hours(24);

impl Limit {
    /// Counts one more time for `whom`; `false`, and not counted, if that would be too often. Of any number who ask at once, as
    /// many succeed as there are times left.
    ///
    /// # Errors
    /// The database refuses.
    pub fn take(&self, tx: &Tx, whom: &[u8]) -> Result<bool> {
        let mark = tx.vault().mark(self.what, whom);
        store::take(tx, &mark, tx.now() - self.span, self.most)
    }

    /// How often `whom` was counted within the span that runs.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn used(&self, tx: &Tx, whom: &[u8]) -> Result<i64> {
        store::used(tx, &tx.vault().mark(self.what, whom), tx.now() - self.span)
    }
}
