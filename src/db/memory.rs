//! Answers that may be a moment old: what hardly ever changes is asked for twice a second, whatever the load.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::value::{Row, Value};
use crate::clock::Stopwatch;
use crate::error::Result;

/// How old an answer may be.
const FRESH: Duration = Duration::from_millis(500);
/// More answers than any installation has questions.
const MOST: usize = 10_000;

type Question = (&'static str, Vec<Value<'static>>);

/// What was asked a moment ago, by whichever transaction.
#[derive(Default)]
pub(super) struct Memory(Mutex<Known>);

#[derive(Default)]
struct Known {
    answers: HashMap<Question, (Stopwatch, Vec<Row>)>,
    /// How often all was forgotten.
    forgotten: u64,
}

impl Memory {
    /// The answer that is known, or else the one that `ask` gives.
    pub(super) fn get(
        &self,
        sql: &'static str,
        params: Vec<Value<'static>>,
        ask: impl FnOnce() -> Result<Vec<Row>>,
    ) -> Result<Vec<Row>> {
        let question = (sql, params);
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = {
            let known = known();
            if let Some((_, rows)) = known.answers.get(&question).filter(|(since, _)| since.elapsed() < FRESH) {
                return Ok(rows.clone());
            }
            known.forgotten
        };
        let since = Stopwatch::start();
        let rows = ask()?;
        let mut known = known();
        // Asked before a change was committed, and answered after.
        if known.forgotten != forgotten {
            return Ok(rows);
        }
        if known.answers.len() >= MOST {
            known.answers.clear();
        }
        known.answers.insert(question, (since, rows.clone()));
        Ok(rows)
    }

    /// Forgets all: this server has changed something.
    pub(super) fn forget(&self) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.answers.clear();
        known.forgotten += 1;
    }
}
