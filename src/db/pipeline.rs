//! Statements whose results nobody waits for, kept to travel together.
//!
//! A round trip to a database server costs more than most statements do. What an operation only writes is kept here and
//! sent with the next statement that must be answered, or at the end of the group; rows for one table travel as one
//! `INSERT`. Knows no driver.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;

use super::value::Value;

/// How many rows one `INSERT` has at the most. Fewer rows travel in powers of two, so that few statements are prepared.
const ROWS: usize = 64;

/// A statement for later.
pub(super) enum Step {
    /// One row for `into`: a table and its columns, as in `links (hash, user_id)`.
    Insert {
        /// The table and the columns.
        into: &'static str,
        /// Their values.
        values: Vec<Value<'static>>,
    },
    /// Any other statement.
    Statement(Batch),
}

/// A statement as it is sent.
pub(super) struct Batch {
    pub(super) sql: String,
    pub(super) params: Vec<Value<'static>>,
    /// How many rows it must change; anything else means that this transaction met another.
    pub(super) expected: Option<u64>,
}

/// What waits to be sent on one connection.
#[derive(Default)]
pub(super) struct Pipeline {
    /// Whether statements may wait at all.
    open: Cell<bool>,
    /// Each with the number of its operation.
    steps: RefCell<Vec<(u32, Step)>>,
    /// Which operation runs, its first step, and whether any of it is on its way already.
    operation: Cell<u32>,
    own: Cell<usize>,
    own_sent: Cell<bool>,
    /// Whether a statement has failed, and the transaction with it.
    broken: Cell<bool>,
}

impl Pipeline {
    /// From now on statements may wait.
    pub(super) fn open(&self) {
        self.steps.borrow_mut().clear();
        self.open.set(true);
        self.broken.set(false);
        self.begin_operation();
    }

    /// From now on they may not; what still waits is forgotten.
    pub(super) fn close(&self) {
        self.open.set(false);
        self.steps.borrow_mut().clear();
    }

    /// Keeps a statement for later; `false` if it has to run now.
    pub(super) fn keep(&self, step: impl FnOnce() -> Step) -> bool {
        if self.open.get() {
            self.steps.borrow_mut().push((self.operation.get(), step()));
        }
        self.open.get()
    }

    /// Another operation begins.
    pub(super) fn begin_operation(&self) {
        self.operation.update(|number| number.wrapping_add(1));
        self.own.set(self.steps.borrow().len());
        self.own_sent.set(false);
    }

    /// Forgets what the operation that has just failed wrote; `false` if some of it is on its way.
    pub(super) fn undo_operation(&self) -> bool {
        self.steps.borrow_mut().truncate(self.own.get());
        !self.own_sent.get()
    }

    /// A statement has failed.
    pub(super) fn note_failure(&self) {
        self.broken.set(true);
    }

    /// Whether a statement has failed since the pipeline was opened.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// The operation writes past the pipeline.
    pub(super) fn note_write(&self) {
        self.own_sent.set(true);
    }

    /// What is to be sent now, in order.
    pub(super) fn take(&self) -> Vec<Batch> {
        let steps = std::mem::take(&mut *self.steps.borrow_mut());
        self.own_sent.set(self.own_sent.get() || steps.len() > self.own.get());
        self.own.set(0);
        batches(steps)
    }
}

/// Puts rows for one table together: a row moves forward to those before it, but never past a statement that names its
/// table, nor past another row of its own operation, to which it may refer.
fn batches(steps: Vec<(u32, Step)>) -> Vec<Batch> {
    enum Part {
        Rows { into: &'static str, rows: Vec<Vec<Value<'static>>>, newest: u32 },
        Other(Batch),
    }
    let mut parts: Vec<Part> = Vec::new();
    for (operation, step) in steps {
        let (into, values) = match step {
            Step::Insert { into, values } => (into, values),
            Step::Statement(batch) => {
                parts.push(Part::Other(batch));
                continue;
            }
        };
        let table = into.split(' ').next().unwrap_or(into);
        let mut home = None;
        for part in parts.iter_mut().rev() {
            match part {
                Part::Rows { into: same, .. } if *same == into => {
                    home = Some(part);
                    break;
                }
                Part::Rows { newest, .. } if *newest == operation => break,
                Part::Other(batch) if batch.sql.contains(table) => break,
                _ => {}
            }
        }
        match home {
            Some(Part::Rows { rows, newest, .. }) => {
                rows.push(values);
                *newest = operation;
            }
            _ => parts.push(Part::Rows { into, rows: vec![values], newest: operation }),
        }
    }
    let mut batches = Vec::new();
    for part in parts {
        match part {
            Part::Other(batch) => batches.push(batch),
            Part::Rows { into, rows, .. } => {
                let mut rows = rows.into_iter();
                while rows.len() > 0 {
                    let count = ROWS.min(1 << rows.len().ilog2());
                    let chunk: Vec<_> = rows.by_ref().take(count).collect();
                    let sql = insert(into, chunk[0].len(), count);
                    let params = chunk.into_iter().flatten().collect();
                    batches.push(Batch { sql, params, expected: Some(count as u64) });
                }
            }
        }
    }
    batches
}

/// An `INSERT` of `rows` rows with `columns` columns each, which leaves out what a uniqueness rule forbids.
pub(super) fn insert(into: &str, columns: usize, rows: usize) -> String {
    insert_all(into, columns, rows) + " ON CONFLICT DO NOTHING"
}

/// The same, for whoever adds what is to be done about a uniqueness rule.
pub(super) fn insert_all(into: &str, columns: usize, rows: usize) -> String {
    let mut sql = format!("INSERT INTO {into} VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 1..=columns {
            let comma = if column == 1 { "" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(sql, "{comma}${}", row * columns + column);
        }
        sql.push(')');
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(into: &'static str, value: i64) -> Step {
        Step::Insert { into, values: vec![Value::Integer(value)] }
    }

    fn statement(sql: &str) -> Step {
        Step::Statement(Batch { sql: sql.into(), params: vec![], expected: None })
    }

    fn sent(operations: Vec<Vec<Step>>) -> Vec<String> {
        let pipeline = Pipeline::default();
        pipeline.open();
        for steps in operations {
            pipeline.begin_operation();
            for step in steps {
                assert!(pipeline.keep(|| step));
            }
        }
        let show = |batch: Batch| format!("{} {:?}", batch.sql.replace(" ON CONFLICT DO NOTHING", ""), batch.params);
        pipeline.take().into_iter().map(show).collect()
    }

    #[test]
    fn rows_for_one_table_travel_together_in_powers_of_two() {
        let operations = (0..3).map(|i| vec![row("users (id)", i), row("links (id)", 10 + i)]).collect();
        assert_eq!(
            sent(operations),
            [
                "INSERT INTO users (id) VALUES ($1), ($2) [Integer(0), Integer(1)]",
                "INSERT INTO users (id) VALUES ($1) [Integer(2)]",
                "INSERT INTO links (id) VALUES ($1), ($2) [Integer(10), Integer(11)]",
                "INSERT INTO links (id) VALUES ($1) [Integer(12)]",
            ]
        );
        let sizes = |rows: i64| sent(vec![(0..rows).map(|i| row("users (id)", i)).collect()]).len();
        assert_eq!((sizes(64), sizes(128), sizes(127), sizes(0)), (1, 2, 7, 0));
    }

    #[test]
    fn no_row_moves_past_another_of_its_own_operation() {
        // The first user is on the way already, as after a question in the middle of an operation.
        let first = vec![row("links (id)", 10)];
        let others = (1..3).map(|i| vec![row("users (id)", i), row("links (id)", 10 + i)]);
        assert_eq!(
            sent(std::iter::once(first).chain(others).collect()),
            [
                "INSERT INTO links (id) VALUES ($1) [Integer(10)]",
                "INSERT INTO users (id) VALUES ($1), ($2) [Integer(1), Integer(2)]",
                "INSERT INTO links (id) VALUES ($1), ($2) [Integer(11), Integer(12)]",
            ]
        );
    }

    #[test]
    fn no_row_moves_past_a_statement_that_names_its_table() {
        let steps = vec![
            row("links (id)", 1),
            statement("UPDATE links SET superseded_at = 1"),
            row("links (id)", 2),
            statement("UPDATE users SET version = 2"),
            row("links (id)", 3),
        ];
        assert_eq!(
            sent(steps.into_iter().map(|step| vec![step]).collect()),
            [
                "INSERT INTO links (id) VALUES ($1) [Integer(1)]",
                "UPDATE links SET superseded_at = 1 []",
                "INSERT INTO links (id) VALUES ($1), ($2) [Integer(2), Integer(3)]",
                "UPDATE users SET version = 2 []",
            ]
        );
    }

    #[test]
    fn a_failed_operation_takes_its_own_statements_back_unless_they_are_on_their_way() {
        let pipeline = Pipeline::default();
        pipeline.open();
        let keep = |value| assert!(pipeline.keep(|| row("users (id)", value)));
        keep(1);
        pipeline.begin_operation();
        keep(2);
        assert!(pipeline.undo_operation());
        assert_eq!(pipeline.take()[0].params, [Value::Integer(1)]);
        pipeline.begin_operation();
        keep(3);
        pipeline.take();
        assert!(!pipeline.undo_operation(), "it was sent");
        pipeline.begin_operation();
        keep(4);
        pipeline.begin_operation();
        pipeline.take();
        assert!(pipeline.undo_operation(), "only another's was sent");
        pipeline.begin_operation();
        pipeline.note_write();
        assert!(!pipeline.undo_operation(), "it wrote at once");
    }

    #[test]
    fn a_closed_pipeline_keeps_nothing() {
        let pipeline = Pipeline::default();
        assert!(!pipeline.keep(|| row("users (id)", 1)));
        pipeline.open();
        assert!(pipeline.keep(|| row("users (id)", 1)));
        pipeline.close();
        assert!(!pipeline.keep(|| row("users (id)", 1)));
        assert!(pipeline.take().is_empty());
    }
}
