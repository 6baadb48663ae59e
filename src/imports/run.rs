//! The course of an import: rows are read and judged while those before them are written. Knows neither who waits for it
//! nor where the file is.

use std::collections::HashSet;
use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join;

use super::batch::{duplicate, marks};
use super::ends::break_off;
use super::{Import, ImportId, Line, Outcome, Plan, Rows, State, Status, add, finish, keep_rehearsed, look, undo_some};
use crate::apps;
use crate::caller::{Actor, Caller};
use crate::db::{Store, Tx};
use crate::error::{Error, Result};
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

/// How many rows a server takes over in one transaction: few, for others wait meanwhile.
const BESIDE_REQUESTS: usize = 100;
/// How many rows of a rehearsal, which nobody waits for.
const REHEARSED: usize = 1000;

/// Does all that is left of an import whose file a server has.
///
/// # Errors
/// The database refuses; then it is tried again.
pub async fn serve(store: &Store, import: Import, file: Bytes, links: &Links) -> Result<()> {
    let id = import.id;
    if import.state == State::Undoing {
        return take_back(store, id, |_| {}).await.map(|_| ());
    }
    match take_over(store, &import, file, links).await {
        Err(why @ (Error::BadRequest { .. } | Error::Operator(_))) => {
            store.write(move |tx| break_off(tx, id, &why.to_string())).await.map(|_| ())
        }
        // It is being undone, or another server was faster.
        Err(Error::NotNow { .. } | Error::NotFound(_)) => Ok(()),
        done => done,
    }
}

async fn take_over(store: &Store, import: &Import, file: Bytes, links: &Links) -> Result<()> {
    let (id, at, settings) = (import.id, import.environment, import.settings.clone());
    let (read, how) = (file.clone(), settings.clone());
    // Where a thread may take its time.
    let plan = store.scan(move |_| how.plan(&how.survey(&read)?.columns)).await?;
    let plan = if matches!(import.actor, Actor::Key(_)) { plan.of_key(import.tenant.is_some()) } else { plan };
    let links = settings.send_links.then(|| links.clone());
    let at_once = if settings.dry_run { REHEARSED } else { BESIDE_REQUESTS };
    let work = Work { plan, rows: settings.rows(Cursor::new(file))?, links, at_once };
    if !settings.dry_run {
        return go_on(store, import, work, &mut |_| Ok(())).await.map(|_| ());
    }
    let caller = import.caller(&store.read(move |tx| apps::by_id(tx, at)).await?);
    let mut rehearsal = Rehearsal::new(store, caller, Some(id), work);
    let mut place = 0;
    while let Some(outcomes) = rehearsal.next(store).await? {
        let rows = outcomes.len() as u64;
        store.write(move |tx| keep_rehearsed(tx, id, place, &outcomes)).await?;
        place += rows;
    }
    store.write(move |tx| finish(tx, id)).await.map(|_| ())
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
    store.write(move |tx| finish(tx, id)).await
}

/// The course of a rehearsal: tells what an import would do, some rows after the other, and changes nothing.
pub struct Rehearsal {
    caller: Caller,
    import: Option<ImportId>,
    work: Work,
    context: Context,
    number: u64,
    seen: HashSet<[u8; 16]>,
}

impl Rehearsal {
    /// Begins with the first row, as `caller`. `import` is the one that is rehearsed, if it is kept.
    pub fn new(store: &Store, caller: Caller, import: Option<ImportId>, work: Work) -> Rehearsal {
        let context = caller.context(store.clock().now());
        Rehearsal { caller, import, work, context, number: 0, seen: HashSet::new() }
    }

    /// What would become of the next rows; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or the database does not answer.
    pub async fn next(&mut self, store: &Store) -> Result<Option<Vec<Outcome>>> {
        let lines = Arc::new(self.work.read(&mut self.number, &self.context)?);
        if lines.is_empty() {
            return Ok(None);
        }
        let (caller, import, looked) = (self.caller, self.import, Arc::clone(&lines));
        let mut outcomes = store.scan(move |tx| look(tx, &caller, import, &looked)).await?;
        for (outcome, (_, entry)) in outcomes.iter_mut().zip(lines.iter()) {
            if let (Status::Imported, Ok(entry)) = (outcome.status, entry) {
                let mut all = marks(&entry.person).map(|(unique, value)| (unique, mark(unique, value)));
                if let Some((unique, _)) = all.find(|(_, mark)| self.seen.contains(mark)) {
                    *outcome = duplicate(outcome.row, unique, None);
                } else {
                    self.seen.extend(marks(&entry.person).map(|(unique, value)| mark(unique, value)));
                }
            }
        }
        Ok(Some(outcomes))
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
