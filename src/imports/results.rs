//! What became of the rows of a file, as a file: CSV with a line for each, and no value of a row.

use std::io::Write;

use super::rows::MARK;
use super::{Outcome, cell};
use crate::error::{Error, Result};

/// Writes what became of rows.
pub struct Results<W: Write>(csv::Writer<W>);

impl<W: Write> Results<W> {
    /// Begins a file, with the mark by which spreadsheets know UTF-8.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(mut into: W) -> Result<Results<W>> {
        into.write_all(MARK).map_err(unwritable)?;
        let mut results = Results::after_head(into);
        results.0.write_record(["row", "status", "id", "reason"]).map_err(unwritable)?;
        Ok(results)
    }

    /// Goes on with a file that has its head already.
    pub fn after_head(into: W) -> Results<W> {
        Results(csv::Writer::from_writer(into))
    }

    /// Adds rows.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, outcomes: &[Outcome]) -> Result<()> {
        for outcome in outcomes {
            let (row, id) = (outcome.row.to_string(), outcome.user.map(|id| id.to_string()).unwrap_or_default());
            let reason = if outcome.reason.is_empty() { "".into() } else { cell::write(&outcome.reason) };
            self.0.write_record([row.as_str(), outcome.status.as_str(), &id, &reason]).map_err(unwritable)?;
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self) -> Result<()> {
        self.0.flush().map_err(unwritable)
    }
}

fn unwritable(e: impl std::fmt::Display) -> Error {
    Error::operator(format!("the result file cannot be written: {e}"))
}
