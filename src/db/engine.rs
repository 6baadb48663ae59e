//! What every engine has in common: a queue with writers behind it, and a pool of readers. Knows no SQL and no driver.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::pipeline::Pipeline;
use super::value::{Row, Value};
use super::writer::{Job, Operation, Shared, write_forever};
use crate::clock::Stopwatch;
use crate::error::{Error, Result};

/// How many writes may wait, and how many reads; the next one is told [`Error::Busy`]. Fewer than the callers that are let in,
/// so that they are told so and do not wait for long.
const QUEUE: usize = 1024;
/// How many reads run at once, and how many scans beside them.
const READERS: usize = 4;
/// The same of scans, which must not keep reads waiting.
const SCANS: usize = 4;
/// How often a read that met another transaction in the database is run: it holds nothing that the other could wait for again.
const TRIES: usize = 4;
/// How long an operation waits for its turn, be it to read or to write. Whoever has waited longer is told [`Error::Busy`].
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

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
    /// Each statement of the transaction at hand may take that long.
    fn take_time(&self, _: Duration) {}
    /// The transaction at hand waits for the locks of others: it holds none that they could wait for meanwhile.
    fn be_patient(&self) -> Result<()> {
        Ok(())
    }
    /// The transaction at hand, which reads, may have nothing to ask for a long while.
    fn stay_idle(&self) -> Result<()> {
        Ok(())
    }
    /// Leaves a server that did not answer in time, so that nothing of what it was asked stays open there.
    fn give_up_if_lost(&mut self) {}
    /// What is to be done between two groups, while nobody is answered.
    fn keep_up(&self) -> Result<()> {
        Ok(())
    }
    /// Refuses where nothing but reads is taken.
    fn may_write(&self) -> Result<()> {
        Ok(())
    }
    /// Whether nobody else can write while a transaction of this connection does.
    fn writes_alone(&self) -> bool {
        false
    }
    /// Whether [`super::backup`] makes the backups; otherwise tools of the engine's own do, and nothing is known of them.
    fn is_backed_up_here(&self) -> bool {
        false
    }
    /// A number that grows with every row and every table that this connection changes, if the engine counts them.
    fn written(&self) -> Option<u64> {
        None
    }
    /// Has the texts of these tables compared by their bytes, as every operation expects, where the engine would not.
    fn compare_bytes(&self, _: &[&str]) -> Result<()> {
        Ok(())
    }
    /// Whether the engine has ended the transaction by itself.
    fn ended(&self) -> bool;
    /// Runs a statement and returns how many rows it changed.
    fn execute(&self, sql: &str, params: &[Value]) -> Result<usize>;
    /// All rows of a query.
    fn query(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>>;
    /// Runs statements without parameters.
    fn batch(&self, sql: &str) -> Result<()>;
    /// The version and the settings that durability rests on, as `(what, value, good)`.
    fn durability(&self) -> Result<Vec<(&'static str, String, bool)>>;
    /// What else may be wrong, in the same form. May take its time.
    fn health(&self) -> Result<Vec<(&'static str, String, bool)>>;
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
}

/// A read that waits for a thread, with its caller at the other end.
type Look = Box<dyn FnOnce(&Engine) + Send>;

/// Reads that wait, where that means waiting for a server. A thread that has done one takes the next by itself: to hand each
/// to a thread of its own would cost more than most reads do.
#[derive(Default)]
struct Looks {
    waiting: VecDeque<Look>,
    /// How many threads there are that take them.
    threads: usize,
}

/// A database that can be written to and read from.
pub(super) struct Engine {
    /// `None` only while the engine is being dropped.
    queue: Option<SyncSender<Box<dyn Job>>>,
    writers: Vec<JoinHandle<()>>,
    open_reader: Open,
    reads_are_quick: bool,
    looks: Mutex<Looks>,
    idle_readers: Mutex<Vec<Box<dyn Connection>>>,
    reader_permits: Arc<Semaphore>,
    scan_permits: Arc<Semaphore>,
    /// Places for those who wait for a permit.
    reader_queue: Semaphore,
    /// Why no more is written, once a disk has failed.
    failed: watch::Receiver<Option<Error>>,
}

impl Engine {
    pub(super) fn start(parts: Parts) -> Result<Engine> {
        let (queue, jobs) = sync_channel(QUEUE);
        let (fail, failed) = watch::channel(None);
        let shared = Arc::new(Shared { jobs: Mutex::new(jobs), fail });
        let start = |(number, connection): (usize, Box<dyn Connection>)| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("usher-writer-{number}"));
            thread.spawn(move || write_forever(connection, &shared)).map_err(Error::internal)
        };
        Ok(Engine {
            queue: Some(queue),
            writers: parts.writers.into_iter().enumerate().map(start).collect::<Result<_>>()?,
            open_reader: parts.open_reader,
            reads_are_quick: parts.reads_are_quick,
            looks: Mutex::default(),
            idle_readers: Mutex::default(),
            reader_permits: Arc::new(Semaphore::new(READERS)),
            scan_permits: Arc::new(Semaphore::new(SCANS)),
            reader_queue: Semaphore::new(QUEUE),
            failed,
        })
    }

    pub(super) async fn write<T, F>(&self, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&dyn Connection) -> Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Operation::new(operation, reply);
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
        if self.reads_are_quick {
            let _permit = self.permit(&self.reader_permits).await?;
            return self.read_now(&operation);
        }
        let (reply, answer) = oneshot::channel();
        let since = Stopwatch::start();
        self.look(Box::new(move |engine| {
            let look = || if since.elapsed() < PATIENCE { engine.read_now(&operation) } else { Err(Error::Busy) };
            // Whoever has gone away need not be answered.
            if !reply.is_closed() {
                let _ = reply.send(look());
            }
        }))?;
        answer.await.map_err(|_| Error::internal("the reader has stopped"))?
    }

    /// Has a read done by the threads that are at it, or by one more.
    fn look(self: &Arc<Self>, look: Look) -> Result<()> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.waiting.len() >= QUEUE {
            return Err(Error::Busy);
        }
        looks.waiting.push_back(look);
        if looks.threads < READERS {
            looks.threads += 1;
            let engine = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                while let Some(look) = engine.next_look() {
                    look(&engine);
                }
            });
        }
        Ok(())
    }

    /// What the thread that asks does next; it ends if there is nothing.
    fn next_look(&self) -> Option<Look> {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let next = looks.waiting.pop_front();
        looks.threads -= usize::from(next.is_none());
        next
    }

    async fn permit(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(of).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = self.reader_queue.try_acquire().map_err(|_| Error::Busy)?;
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(of).acquire_owned()).await;
        permit.map_err(|_| Error::Busy)?.map_err(Error::internal)
    }

    /// Reads as long as it takes, on a thread that may block.
    pub(super) async fn scan<T, F>(self: &Arc<Self>, operation: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&dyn Connection) -> Result<T> + Send + 'static,
    {
        let permit = self.permit(&self.scan_permits).await?;
        let engine = Arc::clone(self);
        let scanning = tokio::task::spawn_blocking(move || {
            // It goes on when whoever asked has gone away, and so does its claim.
            let _permit = permit;
            engine.read_now(&operation)
        });
        scanning.await.map_err(Error::internal)?
    }

    /// Reads on this thread; again, if the engine has ended that for another transaction's sake.
    fn read_now<T>(&self, operation: &dyn Fn(&dyn Connection) -> Result<T>) -> Result<T> {
        for _ in 1..TRIES {
            match self.try_to_read(operation) {
                Err(Error::Conflict) => {}
                done => return done,
            }
        }
        self.try_to_read(operation)
    }

    fn try_to_read<T>(&self, operation: &dyn Fn(&dyn Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = idle.map_or_else(|| (self.open_reader)(), Ok)?;
        connection.ready()?;
        connection.rare().forget();
        connection.begin_read()?;
        // One that panics leaves its connection to be closed.
        let answer = catch_unwind(AssertUnwindSafe(|| operation(connection.as_ref())))
            .map_err(|_| Error::internal("the operation panicked"))?;
        let ended = connection.end_read();
        connection.give_up_if_lost();
        // Why the operation failed says more than that its transaction could not be ended after that.
        if let Err(e) = ended {
            return answer.and(Err(e));
        }
        self.idle_readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        answer
    }
}

/// Ends the writers after what is queued, so that they close the database in good order: last of all, for SQLite writes its
/// log back when the last connection is closed, and one that only reads cannot.
impl Drop for Engine {
    fn drop(&mut self) {
        self.idle_readers.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        self.queue = None;
        for writer in self.writers.drain(..) {
            let _ = writer.join();
        }
    }
}
