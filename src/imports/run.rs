//! The course of an import: rows are read and judged while those before them are written. Knows neither who waits for it
//! nor where the file is.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join;

use super::{Import, ImportId, Line, Outcome, Plan, Rows, State, Status, add, finish, look, marks, undo_some};
use crate::apps;
use crate::caller::Caller;
use crate::db::{Store, Tx};
use crate::error::Result;
use crate::field::Context;
use crate::links::Links;
use crate::secret::sha256;
use crate::users::Unique;

/// What an import is made of besides its row.
pub struct Work {
    /// What becomes of the columns.
    pub plan: Plan,
    /// The rows, from the first on.
    pub rows: Rows,
    /// By what each person is mailed their link; nobody is without.
    pub links: Option<Links>,
    /// How many rows are taken over in one transaction.
    pub at_once: usize,
}

/// Is told what became of rows, as soon as that is durable.
pub type Progress<'a> = &'a mut (dyn FnMut(&[Outcome]) -> Result<()> + Send);

impl Work {
    /// Reads the next rows: numbers and people.
    fn read(&mut self, number: &mut u64, context: &Context) -> Result<Vec<Line>> {
        let mut lines = Vec::with_capacity(self.at_once);
        while lines.len() < self.at_once {
            let Some(row) = self.rows.next().transpose()? else { break };
            *number += 1;
            let entry = row.map_err(str::to_owned).and_then(|row| self.plan.read(&row, context));
            lines.push((*number, entry));
        }
        Ok(lines)
    }
}

/// Takes over what is left of an import's rows.
///
/// # Errors
/// The file cannot be read, another run is at work on it, or the database refuses. What was taken over stays, and the same
/// again goes on from there.
pub async fn go_on(store: &Store, import: &Import, mut work: Work, progress: Progress<'_>) -> Result<Import> {
    let id = import.id;
    let environment = import.environment;
    let region = store.read(move |tx| Ok(apps::by_id(tx, environment)?.region)).await?;
    let context = Context { region, today: store.clock().now().day() };
    let mut number = 0;
    while number < import.place && work.rows.next().transpose()?.is_some() {
        number += 1;
    }
    let mut rows = Arc::new(work.read(&mut number, &context)?);
    while let Some((first, _)) = rows.first() {
        let (place, written, links) = (first - 1, Arc::clone(&rows), work.links.clone());
        let writing = store.write(move |tx| add(tx, id, place, &written, links.as_ref()));
        // The first is begun before the second is asked for, and goes on beside it.
        let (outcomes, next) = join(writing, async { work.read(&mut number, &context) }).await;
        progress(&outcomes?)?;
        rows = Arc::new(next?);
    }
    store.write(move |tx| finish(tx, id, State::Done)).await
}

/// Tells what an import would do, and changes nothing.
///
/// # Errors
/// The file cannot be read, or the database does not answer.
pub async fn rehearse(store: &Store, caller: Caller, mut work: Work, progress: Progress<'_>) -> Result<()> {
    let context = caller.context(store.clock().now());
    let (mut number, mut seen) = (0, HashSet::new());
    loop {
        let lines = Arc::new(work.read(&mut number, &context)?);
        if lines.is_empty() {
            return Ok(());
        }
        let looked = Arc::clone(&lines);
        let mut outcomes = store.scan(move |tx| look(tx, &caller, &looked)).await?;
        for (outcome, (_, entry)) in outcomes.iter_mut().zip(lines.iter()) {
            if let (Status::Imported, Ok(entry)) = (outcome.status, entry) {
                let mut all = marks(&entry.person).map(|(unique, value)| (unique, mark(unique, value)));
                if let Some((unique, _)) = all.find(|(_, mark)| seen.contains(mark)) {
                    *outcome = super::duplicate(outcome.row, unique, None);
                } else {
                    seen.extend(marks(&entry.person).map(|(unique, value)| mark(unique, value)));
                }
            }
        }
        progress(&outcomes)?;
    }
}

/// What is unique, in few bytes: there may be millions.
fn mark(unique: Unique, value: &str) -> [u8; 16] {
    let hash = sha256(format!("{unique:?} {value}").as_bytes());
    let mut mark = [0; 16];
    mark.copy_from_slice(&hash[..16]);
    mark
}

/// Erases the users of an import that is being undone, until there is nothing left to do.
///
/// # Errors
/// The database refuses. The same again goes on from there.
pub async fn take_back(store: &Store, id: ImportId, mut progress: impl FnMut(&Import)) -> Result<Import> {
    loop {
        let import = store.write(move |tx: &Tx| undo_some(tx, id)).await?;
        progress(&import);
        if import.state != State::Undoing {
            return Ok(import);
        }
    }
}
