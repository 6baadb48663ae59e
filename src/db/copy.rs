//! Copies everything from one database to another, whatever their engines: how an installation moves from a file to
//! PostgreSQL, and on.
//!
//! Rows are read from one snapshot, written, and read back from the other side for comparison, so a copy that has ended
//! well is verified row by row. A copy that was cut off is run again: what is there and equal is not written again.
//! Until it has ended well, the new database is marked, and nothing else opens it.

use std::fmt::Write as _;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::pipeline::insert_all;
use super::value::{Row, Value};
use super::{IfMissing, Location, Store, Tx, migrate, params, sqlite};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::secret::sha256;

/// How many rows are read, written and compared at once, and of how many bytes they are to be at the most: where they are
/// large, fewer.
const ROWS: usize = 512;
const BYTES: usize = 4 << 20;
/// Belongs to each database by itself, and is not copied.
const OWN: [&str; 2] = ["meta", "migrations"];

/// How far a copy is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The table at hand.
    pub table: &'static str,
    /// Verified rows of all tables.
    pub done: u64,
    /// All rows of all tables.
    pub total: u64,
}

/// What a copy did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copied {
    /// Rows that are equal on both sides now: all of them.
    pub rows: u64,
    /// Rows that this run wrote; the others were there from an earlier one.
    pub written: u64,
    /// Users among the rows.
    pub users: u64,
}

/// A table as the migrations make it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    /// Which of the columns is the primary key.
    pub(super) key: usize,
}

/// Copies the database `from` into `to`, which must be empty or hold an earlier part of this copy.
///
/// # Errors
/// [`Error::Operator`] when `from` is no Usher database of this program's version, `to` holds something else, or a row
/// does not come back as it was written.
pub async fn copy(
    from: &Location,
    to: &Location,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Copied> {
    if from.names_the_same(to) {
        return Err(Error::operator("--from and --to name the same database."));
    }
    let source = Store::open_as_it_is(from, Clock::System).await?;
    let version = source.read(migrate::version).await?;
    if version != migrate::NEWEST {
        return Err(Error::operator(format!(
            "--from is not of this program's version: its schema is {version}, this program's is {}. Bring it there by \
             `usher migrate`, which an older program that uses it will not understand.",
            migrate::NEWEST
        )));
    }
    let target = Store::open_even_unfinished(to, Clock::System, IfMissing::Create).await?;
    let tables: &'static [Table] = Vec::leak(sqlite::tables_of(migrate::all())?);
    let origin = source.read(|tx| Ok(sha256(&migrate::seal(tx)?).to_vec())).await?;
    target.write(move |tx| begin(tx, &origin, tables)).await?;
    let (writer, handle, progress) = (target.clone(), Handle::current(), Arc::new(progress));
    // One read transaction for all of it, so that the copy is of one moment, whoever writes meanwhile.
    let copied = source.scan(move |snapshot| {
        let mut course = Course {
            tables,
            target: &writer,
            handle: &handle,
            progress: &*progress,
            copied: Copied::default(),
            total: 0,
        };
        course.run(snapshot)
    });
    let copied = copied.await?;
    target.write(end).await?;
    Ok(copied)
}

/// Finds the mark of a copy that has not ended.
pub(super) const MARK: &str = "SELECT value FROM meta WHERE name = 'copy'";

/// Refuses a database that an unfinished copy has left.
pub(super) fn refuse_unfinished(tx: &Tx) -> Result<()> {
    if tx.query_opt(MARK, params![])?.is_some() { Err(unfinished()) } else { Ok(()) }
}

pub(super) fn unfinished() -> Error {
    Error::operator(
        "this database is an unfinished copy. Run the same `usher copy` again; it goes on where it stopped.",
    )
}

fn begin(tx: &Tx, origin: &[u8], tables: &[Table]) -> Result<()> {
    if let Some(row) = tx.query_opt(MARK, params![])? {
        return if row.get::<Vec<u8>>(0)? == origin {
            Ok(())
        } else {
            Err(Error::operator("--to holds an unfinished copy of another database. Name an empty one."))
        };
    }
    for table in tables.iter().filter(|table| !OWN.contains(&table.name.as_str())) {
        if tx.query_opt(&format!("SELECT 1 FROM {} LIMIT 1", table.name), params![])?.is_some() {
            return Err(Error::operator(
                "--to holds data already, and `usher copy` replaces none. Name an empty database.",
            ));
        }
    }
    tx.add("meta (name, value)", params!["copy", origin])
}

fn end(tx: &Tx) -> Result<()> {
    tx.run("DELETE FROM meta WHERE name = 'copy'", params![])
}

struct Course<'a> {
    tables: &'static [Table],
    target: &'a Store,
    handle: &'a Handle,
    progress: &'a dyn Fn(Progress),
    copied: Copied,
    total: u64,
}

impl Course<'_> {
    fn run(&mut self, snapshot: &Tx) -> Result<Copied> {
        // It waits while the other side is written to.
        snapshot.connection.stay_idle()?;
        snapshot.take_time();
        let tables = || self.tables.iter().filter(|table| !OWN.contains(&table.name.as_str()));
        let counts = tables().map(|table| count(snapshot, table)).collect::<Result<Vec<_>>>()?;
        self.total = counts.iter().sum();
        for (table, count) in tables().zip(counts) {
            self.table(snapshot, table)?;
            if table.name == "users" {
                self.copied.users = count;
            }
            let there = self.handle.block_on(self.target.scan(move |tx| self::count(tx, table)))?;
            if there != count {
                return Err(since_changed(table));
            }
        }
        Ok(self.copied)
    }

    fn table(&mut self, snapshot: &Tx, table: &'static Table) -> Result<()> {
        let mut last: Option<Value<'static>> = None;
        let mut at_once = 1;
        loop {
            let rows = next(snapshot, table, last.as_ref(), at_once)?;
            let bytes: usize = rows.iter().flat_map(|row| &row.0).map(Value::size).sum();
            at_once = if bytes > BYTES { (at_once / 2).max(1) } else { (at_once * 2).min(ROWS) };
            let Some(end) = rows.last() else { return Ok(()) };
            last = Some(end.0[table.key].clone());
            let rows = Arc::new(rows);
            let missing = self.missing(table, &rows)?;
            if !missing.is_empty() {
                self.copied.written += missing.len() as u64;
                // Past the guard of the audit trail, which is copied like everything else.
                let write = move |tx: &Tx| {
                    tx.take_time();
                    tx.connection.execute(&upsert(table, missing.len()), &values(&missing)).map(|_| ())
                };
                self.handle.block_on(self.target.write(write)).map_err(|e| match e {
                    Error::Unique(_) => since_changed(table),
                    other => other,
                })?;
                if !self.missing(table, &rows)?.is_empty() {
                    return Err(Error::operator(format!(
                        "a row of {} did not come back as it was written.",
                        table.name
                    )));
                }
            }
            self.copied.rows += rows.len() as u64;
            (self.progress)(Progress { table: &table.name, done: self.copied.rows, total: self.total });
        }
    }

    /// Those of `rows` that the target does not have, or not so.
    fn missing(&self, table: &'static Table, rows: &Arc<Vec<Row>>) -> Result<Vec<Row>> {
        let rows = Arc::clone(rows);
        self.handle.block_on(self.target.read(move |tx| {
            let places: Vec<String> = (1..=rows.len()).map(|i| format!("${i}")).collect();
            let key = &table.columns[table.key];
            let sql = format!("{} WHERE {key} IN ({})", select(table), places.join(", "));
            let keys: Vec<Value> = rows.iter().map(|row| row.0[table.key].clone()).collect();
            let there = tx.query(&sql, &keys)?;
            let there: std::collections::HashMap<_, _> = there.iter().map(|row| (&row.0[table.key], row)).collect();
            Ok(rows
                .iter()
                .filter(|row| there.get(&row.0[table.key]).is_none_or(|there| there.0 != row.0))
                .cloned()
                .collect())
        }))
    }
}

fn since_changed(table: &Table) -> Error {
    Error::operator(format!(
        "--from has changed since an earlier run: {} has rows in --to that are gone or changed hands. Empty the database of \
         --to and copy again.",
        table.name
    ))
}

fn count(tx: &Tx, table: &Table) -> Result<u64> {
    tx.take_time();
    let row = tx.query_opt(&format!("SELECT COUNT(*) FROM {}", table.name), params![])?;
    let count: i64 = row.ok_or_else(|| Error::internal("no count"))?.get(0)?;
    u64::try_from(count).map_err(Error::internal)
}

/// The rows after `last` in the order of the key, `limit` at the most.
fn next(tx: &Tx, table: &Table, last: Option<&Value>, limit: usize) -> Result<Vec<Row>> {
    let key = &table.columns[table.key];
    match last {
        None => tx.query(&format!("{} ORDER BY {key} LIMIT {limit}", select(table)), params![]),
        Some(last) => {
            let sql = format!("{} WHERE {key} > $1 ORDER BY {key} LIMIT {limit}", select(table));
            tx.query(&sql, std::slice::from_ref(last))
        }
    }
}

fn select(table: &Table) -> String {
    format!("SELECT {} FROM {}", table.columns.join(", "), table.name)
}

fn upsert(table: &Table, rows: usize) -> String {
    let into = format!("{} ({})", table.name, table.columns.join(", "));
    let mut sql = insert_all(&into, table.columns.len(), rows);
    let set: Vec<String> = table.columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
    // Writing to a String does not fail.
    let _ = write!(sql, " ON CONFLICT ({}) DO UPDATE SET {}", table.columns[table.key], set.join(", "));
    sql
}

fn values(rows: &[Row]) -> Vec<Value<'static>> {
    rows.iter().flat_map(|row| row.0.iter().cloned()).collect()
}
