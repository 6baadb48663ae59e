//! What every engine has in common: writers that commit in groups, and a pool of readers.
//!
//! A writer takes whatever has queued, runs each operation in a savepoint of its own inside one transaction, commits
//! once, and only then answers anyone. Knows no SQL but the words of transactions, and no driver.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, oneshot, watch};

use super::pipeline::Pipeline;
use super::value::{Row, Value};
use crate::error::{Error, Result};

/// How many writes may wait; the next one is told [`Error::Busy`].
const QUEUE: usize = 4096;
/// How many operations share a commit at the most.
const GROUP: usize = 256;
/// How many do when they are run again step by step: where several servers want the same rows, each waits for the others'.
const STEPS: usize = 64;
/// How many reads run at once.
const READERS: usize = 4;
/// How long an operation waits for a connection to read by.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often an engine looks after its files.
const UPKEEP: Duration = Duration::from_millis(100);
/// How often an operation that met another in the database is run again.
const TRIES: usize = 8;

/// A connection to a database.
pub(super) trait Connection: Send {
    /// Begins a transaction that writes.
    fn begin_write(&self) -> Result<()>;
    /// Begins a transaction that reads one snapshot.
    fn begin_read(&self) -> Result<()>;
    /// Ends a transaction that has read. Nobody waits for how that goes.
    fn end_read(&self) -> Result<()>;
    /// Where statements wait that need no answer of their own; `None` if waiting would gain nothing here.
    fn pipeline(&self) -> Option<&Pipeline> {
        None
    }
    /// Sends what waits.
    fn flush(&self) -> Result<()> {
        Ok(())
    }
    /// What was read of rarely changed tables in this transaction.
    fn rare(&self) -> &Rare;
    /// What follows a `SELECT` whose rows are to be changed by this transaction and by no other meanwhile.
    fn for_update(&self) -> &'static str;
    /// Makes the connection usable, if it is not. Does not try for long, nor often, while the server is away.
    fn ready(&mut self) -> Result<()>;
    /// The transaction at hand may take its time.
    fn take_time(&self) {}
    /// Leaves a server that did not answer in time, so that nothing of what it was asked stays open there.
    fn give_up_if_lost(&mut self) {}
    /// Whether the engine has ended the transaction by itself.
    fn ended(&self) -> bool;
    /// Runs a statement and returns how many rows it changed.
    fn execute(&self, sql: &str, params: &[Value]) -> Result<usize>;
    /// All rows of a query.
    fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>>;
    /// Runs statements without parameters.
    fn batch(&self, sql: &str) -> Result<()>;
    /// Settings and health as `(what, value, good)`.
    fn inspect(&self) -> Result<Vec<(&'static str, String, bool)>>;
}

/// The answers of queries about tables that hardly ever change, for the operations of one transaction to share.
#[derive(Default)]
pub(super) struct Rare(RefCell<Vec<Answer>>);

struct Answer {
    sql: String,
    params: Vec<Value<'static>>,
    rows: Vec<Row>,
}

impl Rare {
    /// The answer that is known, or else the one that `ask` gives.
    pub(super) fn get(&self, sql: &str, params: &[Value], ask: impl FnOnce() -> Result<Vec<Row>>) -> Result<Vec<Row>> {
        if let Some(known) = self.0.borrow().iter().find(|known| known.sql == sql && known.params == params) {
            return Ok(known.rows.clone());
        }
        let rows = ask()?;
        let params = params.iter().cloned().map(Value::into_owned).collect();
        self.0.borrow_mut().push(Answer { sql: sql.to_owned(), params, rows: rows.clone() });
        Ok(rows)
    }

    /// Forgets all: a transaction begins, or something was changed.
    pub(super) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}

/// What is where a database of ours may be.
pub(super) enum Found {
    /// Nothing yet.
    Nothing,
    /// Tables, and none that are ours.
    Foreign,
    /// The value that was asked for.
    Value(Vec<u8>),
}

/// Opens one more connection for reading.
type Open = Box<dyn Fn() -> Result<Box<dyn Connection>> + Send + Sync>;

/// What an engine is made of.
pub(super) struct Parts {
    /// Each gets a thread.
    pub(super) writers: Vec<Box<dyn Connection>>,
    pub(super) open_reader: Open,
    /// Whether a look at a few rows takes no longer than waking a thread.
    pub(super) reads_are_quick: bool,
    /// What is to be done beside writing, every [`UPKEEP`].
    pub(super) upkeep: Option<Box<dyn FnMut() -> Result<()> + Send>>,
}

/// A database that can be written to and read from.
pub(super) struct Engine {
    /// `None` only while the engine is being dropped.
    queue: Option<SyncSender<Box<dyn Job>>>,
    writers: Vec<JoinHandle<()>>,
    /// Ends when its channel closes.
    upkeep: Option<(SyncSender<()>, JoinHandle<()>)>,
    open_reader: Open,
    reads_are_quick: bool,
    idle_readers: Mutex<Vec<Box<dyn Connection>>>,
    reader_permits: Semaphore,
    /// Why no more is written, once a disk has failed.
    failed: watch::Receiver<Option<Error>>,
}

impl Engine {
    pub(super) fn start(parts: Parts) -> Result<Engine> {
        let (queue, jobs) = sync_channel(QUEUE);
        let (fail, failed) = watch::channel(None);
        let shared = Arc::new((Mutex::new(jobs), fail));
        let upkeep = parts.upkeep.map(|work| upkeep(work, Arc::clone(&shared))).transpose()?;
        let start = |(number, connection): (usize, Box<dyn Connection>)| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("usher-writer-{number}"));
            thread.spawn(move || writer_loop(connection, &shared.0, &shared.1)).map_err(Error::internal)
        };
        Ok(Engine {
            queue: Some(queue),
            writers: parts.writers.into_iter().enumerate().map(start).collect::<Result<_>>()?,
            upkeep,
            open_reader: parts.open_reader,
            reads_are_quick: parts.reads_are_quick,
            idle_readers: Mutex::default(),
            reader_permits: Semaphore::new(READERS),
            failed,
        })
    }

    pub(super) async fn write<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&dyn Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Operation { body: operation, outcome: None, reply };
        let queue = self.queue.as_ref().ok_or_else(|| Error::internal("the engine is closing"))?;
        queue.try_send(Box::new(job)).map_err(|e| match e {
            TrySendError::Full(_) => Error::Busy,
            TrySendError::Disconnected(_) => self.stopped(),
        })?;
        answer.await.map_err(|_| self.stopped())?
    }

    fn stopped(&self) -> Error {
        self.failed.borrow().clone().unwrap_or_else(|| Error::internal("the writer has stopped"))
    }

    /// Waits until a disk fails under a write, and says why.
    pub(super) async fn failure(&self) -> Error {
        let mut failed = self.failed.clone();
        loop {
            if let Some(error) = failed.borrow_and_update().clone() {
                return error;
            }
            if failed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Looks at a few rows. Where that means no waiting for a server, it happens on the caller's thread: to wake another one
    /// would take longer than the look.
    pub(super) async fn read<T, F>(self: &Arc<Self>, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&dyn Connection) -> Result<T> + Send + 'static,
    {
        if !self.reads_are_quick {
            return self.scan(operation).await;
        }
        let _permit = self.permit().await?;
        self.read_now(&operation)
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>> {
        let permit = tokio::time::timeout(PATIENCE, self.reader_permits.acquire()).await;
        permit.map_err(|_| Error::Busy)?.map_err(Error::internal)
    }

    /// Reads as long as it takes, on a thread that may block.
    pub(super) async fn scan<T, F>(self: &Arc<Self>, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&dyn Connection) -> Result<T> + Send + 'static,
    {
        let _permit = self.permit().await?;
        let engine = Arc::clone(self);
        let scanning = tokio::task::spawn_blocking(move || engine.read_now(&operation));
        scanning.await.map_err(Error::internal)?
    }

    fn read_now<T>(&self, operation: &dyn Fn(&dyn Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = idle.map_or_else(|| (self.open_reader)(), Ok)?;
        connection.ready()?;
        connection.rare().forget();
        connection.begin_read()?;
        let answer = operation(connection.as_ref());
        let ended = connection.end_read();
        connection.give_up_if_lost();
        ended?;
        self.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        answer
    }
}

/// Ends the writers after what is queued, so that they close the database in good order: last of all, for SQLite writes its
/// log back when the last connection is closed, and one that only reads cannot.
impl Drop for Engine {
    fn drop(&mut self) {
        self.idle_readers.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        if let Some((channel, thread)) = self.upkeep.take() {
            drop(channel);
            let _ = thread.join();
        }
        self.queue = None;
        for writer in self.writers.drain(..) {
            let _ = writer.join();
        }
    }
}

/// A queued operation whose type a writer need not know.
trait Job: Send {
    /// Runs the operation; `true` when its effect is to be kept.
    fn run(&mut self, connection: &dyn Connection) -> bool;
    /// Why the operation failed, if it did.
    fn failure(&self) -> Option<&Error>;
    /// Answers the caller: with the operation's outcome, or with why the commit failed.
    fn answer(self: Box<Self>, commit: Result<()>);
}

struct Operation<T, F> {
    body: F,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, F: Fn(&dyn Connection) -> Result<T> + Send> Job for Operation<T, F> {
    fn run(&mut self, connection: &dyn Connection) -> bool {
        let outcome = catch_unwind(AssertUnwindSafe(|| (self.body)(connection)))
            .unwrap_or_else(|_| Err(Error::internal("the operation panicked")));
        self.outcome.insert(outcome).is_ok()
    }

    fn failure(&self) -> Option<&Error> {
        self.outcome.as_ref().and_then(|outcome| outcome.as_ref().err())
    }

    fn answer(self: Box<Self>, commit: Result<()>) {
        let outcome = match (self.outcome, commit) {
            (Some(Err(Error::Conflict)), _) => Err(Error::Busy),
            (Some(Err(own)), _) => Err(own),
            (_, Err(commit)) => Err(commit),
            (Some(outcome), Ok(())) => outcome,
            (None, Ok(())) => Err(Error::internal("the operation was not run")),
        };
        // A caller that has gone away does not undo what is durable.
        let _ = self.reply.send(outcome);
    }
}

/// What the threads of an engine share: the queue, and the word that a disk has failed.
type Shared = (Mutex<Receiver<Box<dyn Job>>>, watch::Sender<Option<Error>>);

fn upkeep(
    mut work: Box<dyn FnMut() -> Result<()> + Send>,
    shared: Arc<Shared>,
) -> Result<(SyncSender<()>, JoinHandle<()>)> {
    let (channel, end) = sync_channel(0);
    let keep_up = move || {
        while end.recv_timeout(UPKEEP) == Err(RecvTimeoutError::Timeout) {
            if let Err(error @ Error::DiskFailed(_)) = work() {
                shared.1.send_replace(Some(error));
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("usher-upkeep".into()).spawn(keep_up).map_err(Error::internal)?;
    Ok((channel, thread))
}

fn writer_loop(
    mut connection: Box<dyn Connection>,
    jobs: &Mutex<Receiver<Box<dyn Job>>>,
    fail: &watch::Sender<Option<Error>>,
) {
    loop {
        let mut group = {
            let jobs = jobs.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(first) = jobs.recv() else { return };
            std::iter::once(first).chain(jobs.try_iter().take(GROUP - 1)).collect::<Vec<_>>()
        };
        if let Some(commit) = together(&mut *connection, &mut group) {
            answer(&*connection, group, &commit, fail);
            continue;
        }
        while !group.is_empty() {
            let mut some = group.drain(..group.len().min(STEPS)).collect::<Vec<_>>();
            let commit = step_by_step(&mut *connection, &mut some, fail);
            answer(&*connection, some, &commit, fail);
        }
        connection.give_up_if_lost();
    }
}

/// Answers the group's callers, once an operation that met another is done too.
fn answer(
    connection: &dyn Connection,
    group: Vec<Box<dyn Job>>,
    commit: &Result<()>,
    fail: &watch::Sender<Option<Error>>,
) {
    let of_a_job = group.iter().find_map(|job| job.failure().filter(|e| matches!(e, Error::DiskFailed(_))));
    let failure = commit.as_ref().err().filter(|e| matches!(e, Error::DiskFailed(_))).or(of_a_job).cloned();
    if failure.is_some() {
        fail.send_replace(failure);
    }
    for mut job in group {
        let met_another = matches!(commit, Err(Error::Conflict)) || matches!(job.failure(), Some(Error::Conflict));
        let commit = if met_another { alone(connection, &mut job) } else { commit.clone() };
        job.answer(commit.and_then(|()| refuse_failed(fail)));
    }
}

/// Once a disk has failed, what the files hold is not known any more, so nothing that follows could be promised.
fn refuse_failed(fail: &watch::Sender<Option<Error>>) -> Result<()> {
    fail.borrow().clone().map_or(Ok(()), Err)
}

/// Runs the group in a pipeline, where that gains something. `None` if it does not, or met an obstacle and left nothing.
fn together(connection: &mut dyn Connection, group: &mut [Box<dyn Job>]) -> Option<Result<()>> {
    connection.pipeline()?;
    if let Err(e) = connection.ready() {
        return Some(Err(e));
    }
    let pipeline = connection.pipeline()?;
    pipeline.open();
    let done = in_a_pipeline(connection, pipeline, group);
    pipeline.close();
    if done.is_ok() || connection.ended() {
        connection.give_up_if_lost();
        return Some(done);
    }
    match connection.batch("ROLLBACK") {
        Ok(()) if !matches!(done, Err(Error::Unavailable(_) | Error::StorageFull | Error::Busy)) => None,
        rolled_back => Some(rolled_back.and(done)),
    }
}

fn step_by_step(
    connection: &mut dyn Connection,
    group: &mut [Box<dyn Job>],
    fail: &watch::Sender<Option<Error>>,
) -> Result<()> {
    refuse_failed(fail)?;
    connection.ready()?;
    in_one_transaction(connection, group)
}

/// Runs the group as if nothing went wrong: what operations write is on its way, or still waits, when they are told that it
/// is done. The first thing that does go wrong fails the whole group, which can be run again.
fn in_a_pipeline(connection: &dyn Connection, pipeline: &Pipeline, group: &mut [Box<dyn Job>]) -> Result<()> {
    connection.rare().forget();
    connection.begin_write()?;
    for job in group {
        pipeline.begin_operation();
        let kept = job.run(connection);
        let met_another = matches!(job.failure(), Some(Error::Conflict));
        if pipeline.is_broken() || met_another || (!kept && !pipeline.undo_operation()) {
            return Err(job.failure().cloned().unwrap_or(Error::Conflict));
        }
    }
    connection.flush()?;
    connection.batch("COMMIT")
}

/// Runs the group; when it fails, nothing of it is left, neither done nor open.
fn in_one_transaction(connection: &dyn Connection, group: &mut [Box<dyn Job>]) -> Result<()> {
    let run = || {
        connection.rare().forget();
        connection.begin_write()?;
        for job in group {
            connection.batch("SAVEPOINT operation")?;
            if !job.run(connection) {
                // SQLite does so on some failures: a full disk, an I/O error. PostgreSQL when it goes away.
                if connection.ended() {
                    return Err(job.failure().cloned().unwrap_or(Error::Busy));
                }
                connection.batch("ROLLBACK TO SAVEPOINT operation")?;
            }
            connection.batch("RELEASE SAVEPOINT operation")?;
        }
        connection.batch("COMMIT")
    };
    let done = run();
    if done.is_err() && !connection.ended() {
        let _ = connection.batch("ROLLBACK");
    }
    done
}

/// Runs one operation until it meets no other.
fn alone(connection: &dyn Connection, job: &mut Box<dyn Job>) -> Result<()> {
    let mut done = Err(Error::Busy);
    for _ in 0..TRIES {
        done = in_one_transaction(connection, std::slice::from_mut(job));
        if !matches!(done, Err(Error::Conflict)) && !matches!(job.failure(), Some(Error::Conflict)) {
            break;
        }
    }
    match done {
        Err(Error::Conflict) => Err(Error::Busy),
        done => done,
    }
}
