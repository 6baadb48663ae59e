//! The transaction that rules and SQL run on. Nothing here knows which engine is below, nor how a transaction begins and ends.

use std::cell::Cell;
use std::time::Duration;

use super::engine::Connection;
use super::pipeline::{self, Batch, Step};
use super::{Context, Row, Value, guard};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::vault::Vault;

/// How long a statement that works on whole tables may take, where the database is elsewhere.
const LONG: Duration = Duration::from_mins(30);

/// One transaction: SQL, the one time at which it happens, and the vault for what is sealed at rest.
pub struct Tx<'a> {
    pub(super) connection: &'a dyn Connection,
    pub(super) context: &'a Context,
    pub(super) now: Timestamp,
    /// What others remember is not so any more, once this is committed.
    pub(super) forgets: Cell<bool>,
}

impl Tx<'_> {
    /// From here on, a statement may take as long as whole tables need.
    pub fn take_time(&self) {
        self.connection.take_time(LONG);
    }

    /// The time of this transaction.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The vault for what is sealed at rest.
    pub fn vault(&self) -> &Vault {
        &self.context.vault
    }

    /// Adds a row: `into` names the table and its columns, as in `links (hash, user_id)`. `false` when a uniqueness rule
    /// forbids it.
    ///
    /// The engine may put it off, and then says `true`. Should a rule forbid it after all, the operation is run again.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn insert(&self, into: &'static str, values: &[Value]) -> Result<bool> {
        let step = || Step::Insert { into, values: owned(values) };
        if self.put_off(step) {
            return Ok(true);
        }
        Ok(self.connection.execute(&pipeline::insert(into, values.len(), 1), values)? == 1)
    }

    /// Adds a row that nothing forbids, unless another operation was faster.
    ///
    /// # Errors
    /// [`Error::Conflict`] then.
    pub fn add(&self, into: &'static str, values: &[Value]) -> Result<()> {
        if self.insert(into, values)? { Ok(()) } else { Err(Error::Conflict) }
    }

    /// Runs a statement of which it does not matter how many rows it changes. The engine may put it off.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn run(&self, sql: &str, params: &[Value]) -> Result<()> {
        self.change(sql, params, None)
    }

    /// Runs a statement that changes one row, for this operation has just seen it. The engine may put it off.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it changes none, for another operation was faster; [`Error::Unique`] when a uniqueness rule
    /// forbids the change.
    pub fn change_one(&self, sql: &str, params: &[Value]) -> Result<()> {
        self.change(sql, params, Some(1))
    }

    fn change(&self, sql: &str, params: &[Value], expected: Option<u64>) -> Result<()> {
        guard::check(sql)?;
        self.connection.rare().forget();
        if self.put_off(|| Step::Statement(Batch { sql: sql.to_owned(), params: owned(params), expected })) {
            return Ok(());
        }
        let changed = self.connection.execute(sql, params)?;
        if expected.is_some_and(|expected| expected != changed as u64) { Err(Error::Conflict) } else { Ok(()) }
    }

    fn put_off(&self, step: impl FnOnce() -> Step) -> bool {
        self.connection.pipeline().is_some_and(|pipeline| pipeline.keep(step))
    }

    /// Runs a statement now and returns how many rows it changed.
    ///
    /// # Errors
    /// [`Error::Unique`] when a uniqueness rule forbids it.
    pub fn execute(&self, sql: &str, params: &[Value]) -> Result<usize> {
        guard::check(sql)?;
        self.connection.rare().forget();
        self.connection.execute(sql, params)
    }

    /// The first row of a query about tables that hardly ever change. The operations of one group share the answer.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn query_rare(&self, sql: &str, params: &[Value]) -> Result<Option<Row>> {
        let rows = self.connection.rare().get(sql, params, || self.query(sql, params))?;
        Ok(rows.into_iter().next())
    }

    /// All rows of a query whose answer may be half a second old, whoever asked it: for what every operation must know and
    /// hardly ever changes.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn query_remembered(&self, sql: &'static str, params: &[Value]) -> Result<Vec<Row>> {
        self.context.memory.get(sql, owned(params), || self.query(sql, params))
    }

    /// This operation changes what others remember: once it is committed, they ask anew on this server.
    pub fn forget_remembered(&self) {
        self.forgets.set(true);
    }

    /// All rows of a query.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        guard::check(sql)?;
        self.connection.query(sql, params)
    }

    /// The first row of a query, if there is one.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn query_opt(&self, sql: &str, params: &[Value]) -> Result<Option<Row>> {
        Ok(self.query(sql, params)?.into_iter().next())
    }

    /// Takes what changed out of every entry of the audit trail about a user: the one change that the trail allows. In steps,
    /// for an engine ends a statement that takes long, and nobody knows how long a trail is.
    ///
    /// # Errors
    /// The engine refuses.
    pub fn erase_audit(&self, user: impl Into<Value<'static>>) -> Result<usize> {
        const STEP: i64 = 1000;
        const END: &str =
            "SELECT created_at FROM audit WHERE user_id = $1 AND created_at > $2 ORDER BY created_at LIMIT 1 OFFSET $3";
        let (user, mut from, mut erased) = (user.into(), i64::MIN, 0);
        loop {
            let end = self.query_opt(END, &[user.clone(), from.into(), STEP.into()])?;
            let to = end.map_or(Ok(i64::MAX), |row| row.get(0))?;
            erased += self.execute(guard::ERASE, &[user.clone(), from.into(), to.into()])?;
            if to == i64::MAX {
                return Ok(erased);
            }
            from = to;
        }
    }

    /// Asks whether the database takes writes.
    ///
    /// # Errors
    /// It takes none, or does not answer.
    pub fn may_write(&self) -> Result<()> {
        self.connection.may_write()
    }

    /// Whether what this transaction has seen stays so until it ends, for nobody else can write meanwhile.
    pub fn writes_alone(&self) -> bool {
        self.connection.writes_alone()
    }

    /// What follows a `SELECT` whose rows this transaction is going to change, so that no other does meanwhile.
    pub fn for_update(&self) -> &'static str {
        self.connection.for_update()
    }

    /// Runs statements without parameters.
    pub(super) fn batch(&self, sql: &str) -> Result<()> {
        if let Some(pipeline) = self.connection.pipeline() {
            pipeline.note_write();
        }
        self.connection.batch(sql)
    }
}

fn owned(values: &[Value]) -> Vec<Value<'static>> {
    values.iter().cloned().map(Value::into_owned).collect()
}
