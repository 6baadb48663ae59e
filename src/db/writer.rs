//! Writers: each takes whatever has queued, runs it in one transaction, commits once, and only then answers anyone.
//!
//! Where a server is at the other end, the group first runs in a pipeline, as if nothing could go wrong; when something
//! does, it runs again step by step, each operation in a savepoint of its own. Knows no SQL but the words of
//! transactions, and no driver.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::engine::{Connection, PATIENCE};
use super::pipeline::Pipeline;
use crate::clock::Stopwatch;
use crate::error::{Error, Result};
use crate::random;

/// How many operations share a commit at the most.
const GROUP: usize = 256;
/// How many do when they run step by step and others may write meanwhile: who wants the same rows waits for all of them.
const STEPS: usize = 64;
/// How often an operation that met another in the database is run again, and how often one that waited for another for seconds.
const TRIES: usize = 8;
const WAITS: usize = 3;

/// A queued operation whose type a writer need not know.
pub(super) trait Job: Send {
    /// Runs the operation; `true` when its effect is to be kept.
    fn run(&mut self, connection: &dyn Connection) -> bool;
    /// Why the operation failed, if it did.
    fn failure(&self) -> Option<&Error>;
    /// Whether its caller has waited for too long.
    fn is_late(&self) -> bool;
    /// Answers the caller: with the operation's outcome, or with why the commit failed.
    fn answer(self: Box<Self>, commit: Result<()>);
}

pub(super) struct Operation<T, F> {
    body: F,
    since: Stopwatch,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Operation<T, F> {
    /// An operation whose caller waits at the other end of `reply`.
    pub(super) fn new(body: F, reply: oneshot::Sender<Result<T>>) -> Self {
        Operation { body, since: Stopwatch::start(), outcome: None, reply }
    }
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

    fn is_late(&self) -> bool {
        self.since.elapsed() > PATIENCE
    }

    fn answer(self: Box<Self>, commit: Result<()>) {
        let outcome = match (self.outcome, commit) {
            // Whatever the operation saw or did is not there.
            (_, Err(commit)) => Err(commit),
            (Some(Err(Error::Conflict)), Ok(())) => Err(Error::Busy),
            (Some(outcome), Ok(())) => outcome,
            (None, Ok(())) => Err(Error::internal("the operation was not run")),
        };
        // A caller that has gone away does not undo what is durable.
        let _ = self.reply.send(outcome);
    }
}

/// What the threads of an engine share.
pub(super) struct Shared {
    /// What is to be written.
    pub(super) jobs: Mutex<Receiver<Box<dyn Job>>>,
    /// Why no more is written, once a disk has failed.
    pub(super) fail: watch::Sender<Option<Error>>,
}

impl Shared {
    /// Once a disk has failed, what the files hold is not known any more, so nothing that follows could be promised.
    fn refuse_failed(&self) -> Result<()> {
        self.fail.borrow().clone().map_or(Ok(()), Err)
    }
}

/// The life of a writer, until the queue is closed.
pub(super) fn write_forever(mut connection: Box<dyn Connection>, shared: &Shared) {
    loop {
        let mut group = {
            let jobs = shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(first) = jobs.recv() else { return };
            std::iter::once(first).chain(jobs.try_iter().take(GROUP - 1)).collect::<Vec<_>>()
        };
        refuse_late(&mut group);
        if !group.is_empty()
            && let Some(commit) = together(&mut *connection, &mut group)
        {
            answer(&mut *connection, group, &commit, shared);
            continue;
        }
        while !group.is_empty() {
            let most = if connection.writes_alone() { group.len() } else { group.len().min(STEPS) };
            let commit = step_by_step(&mut *connection, &mut group[..most], shared);
            let ran = group.drain(..*commit.as_ref().unwrap_or(&most)).collect();
            answer(&mut *connection, ran, &commit.map(drop), shared);
            refuse_late(&mut group);
        }
        let Err(error) = connection.keep_up() else { continue };
        if matches!(error, Error::DiskFailed(_)) {
            shared.fail.send_replace(Some(error));
        } else {
            // It is tried again after the next group; while it fails, the log grows.
            tracing::warn!(code = error.code(), what = error.for_log(), "the log could not be written back");
        }
    }
}

/// Answers those who have waited for too long. Their operations are not run.
fn refuse_late(group: &mut Vec<Box<dyn Job>>) {
    for job in group.extract_if(.., |job| job.is_late()) {
        job.answer(Err(Error::Busy));
    }
}

/// Whether the operation failed for another transaction's sake.
fn has_met_another(job: &dyn Job) -> bool {
    matches!(job.failure(), Some(Error::Conflict | Error::Locked | Error::StillRunning))
}

/// Answers the group's callers, once an operation that met another is done too.
fn answer(connection: &mut dyn Connection, group: Vec<Box<dyn Job>>, commit: &Result<()>, shared: &Shared) {
    let of_a_job = group.iter().find_map(|job| job.failure().filter(|e| matches!(e, Error::DiskFailed(_))));
    let failure = commit.as_ref().err().filter(|e| matches!(e, Error::DiskFailed(_))).or(of_a_job).cloned();
    if failure.is_some() {
        shared.fail.send_replace(failure);
    }
    let (again, done): (Vec<_>, Vec<_>) =
        group.into_iter().partition(|job| matches!(commit, Err(Error::Conflict)) || has_met_another(&**job));
    for job in done {
        job.answer(commit.clone().and_then(|()| shared.refuse_failed()));
    }
    for mut job in again {
        if job.is_late() {
            // Nothing of it is there: it met another, or its commit did. Why, is its own answer, if it has one.
            job.answer(commit.clone().map_err(|_| Error::Busy));
            continue;
        }
        let commit = alone(connection, &mut job);
        connection.give_up_if_lost();
        job.answer(commit.and_then(|()| shared.refuse_failed()));
    }
    // Whoever of the group comes next has another connection, and waits for nothing that this one holds.
    connection.give_up_if_lost();
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

/// Runs the group, or the first of it; says how many.
fn step_by_step(connection: &mut dyn Connection, group: &mut [Box<dyn Job>], shared: &Shared) -> Result<usize> {
    shared.refuse_failed()?;
    connection.ready()?;
    if connection.written().is_some() {
        match in_one_transaction(connection, group, Undo::Group) {
            Err(Error::Conflict) => {}
            done => return done,
        }
    }
    in_one_transaction(connection, group, Undo::Operation)
}

/// What is taken back when an operation fails after it has written.
#[derive(Clone, Copy, PartialEq)]
enum Undo {
    /// All of the group, which has to run again: a savepoint for each operation would cost more, for few fail so late.
    Group,
    /// The operation alone, by a savepoint.
    Operation,
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

/// Runs the group, up to the first operation that meets another transaction: what is done is committed then, so that the other
/// need not wait for the rest. Says how many ran. When it fails, nothing of it is left, neither done nor open.
fn in_one_transaction(connection: &dyn Connection, group: &mut [Box<dyn Job>], undo: Undo) -> Result<usize> {
    let run = || {
        let mut ran = 0;
        connection.rare().forget();
        connection.begin_write()?;
        if group.len() == 1 {
            connection.be_patient()?;
        }
        for job in group {
            let before = connection.written();
            if undo == Undo::Operation {
                connection.batch("SAVEPOINT operation")?;
            }
            if !job.run(connection) {
                // SQLite does so on some failures: a full disk, an I/O error. PostgreSQL when it goes away.
                if connection.ended() {
                    return Err(job.failure().cloned().unwrap_or(Error::Busy));
                }
                match undo {
                    Undo::Operation => {
                        connection.rare().forget();
                        connection.batch("ROLLBACK TO SAVEPOINT operation")?;
                    }
                    Undo::Group if connection.written() == before => {}
                    Undo::Group => return Err(Error::Conflict),
                }
            }
            if undo == Undo::Operation {
                connection.batch("RELEASE SAVEPOINT operation")?;
            }
            ran += 1;
            if undo == Undo::Operation && has_met_another(&**job) {
                break;
            }
        }
        connection.batch("COMMIT").map(|()| ran)
    };
    let done = run();
    if done.is_err() && !connection.ended() {
        let _ = connection.batch("ROLLBACK");
    }
    done
}

/// Runs one operation until it meets no other. It holds nothing that others of its group did, so that nobody waits in a circle.
fn alone(connection: &dyn Connection, job: &mut Box<dyn Job>) -> Result<()> {
    let (mut done, mut waits) = (Err::<usize, _>(Error::Busy), 0);
    for tries in 0..TRIES {
        // Whoever it met is given time to end, and not the same to both.
        let [dice] = random::bytes::<1>();
        std::thread::sleep(Duration::from_micros(u64::from(dice) * 20 * tries as u64));
        done = in_one_transaction(connection, std::slice::from_mut(job), Undo::Operation);
        match (&done, job.failure()) {
            (Err(Error::Conflict), _) | (_, Some(Error::Conflict)) => {}
            (_, Some(Error::Locked | Error::StillRunning)) if waits + 1 < WAITS => waits += 1,
            _ => break,
        }
    }
    match done {
        Err(Error::Conflict) => Err(Error::Busy),
        done => done.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::clock::Clock;
    use crate::db::engine::Rare;
    use crate::db::{IfMissing, Location, Row, Store, Tx, Value};

    /// A database that writes down what it is told.
    #[derive(Default)]
    struct Fake {
        lost: Cell<bool>,
        rare: Rare,
        alone: bool,
        told: Arc<Mutex<Vec<&'static str>>>,
    }

    impl Fake {
        fn note(&self, what: &'static str) {
            self.told.lock().unwrap().push(what);
        }
    }

    impl Connection for Fake {
        fn begin_write(&self) -> Result<()> {
            Ok(())
        }
        fn begin_read(&self) -> Result<()> {
            Ok(())
        }
        fn end_read(&self) -> Result<()> {
            Ok(())
        }
        fn rare(&self) -> &Rare {
            &self.rare
        }
        fn for_update(&self) -> &'static str {
            ""
        }
        fn ready(&mut self) -> Result<()> {
            self.note("ready");
            Ok(())
        }
        fn give_up_if_lost(&mut self) {
            if self.lost.replace(false) {
                self.note("given up");
            }
        }
        fn writes_alone(&self) -> bool {
            self.alone
        }
        fn ended(&self) -> bool {
            self.lost.get()
        }
        /// No answer comes to this.
        fn execute(&self, _: &str, _: &[Value]) -> Result<usize> {
            self.lost.set(true);
            Err(Error::Unavailable("no answer".to_owned()))
        }
        fn query(&self, _: &str, _: &[Value]) -> Result<Vec<Row>> {
            Ok(Vec::new())
        }
        fn batch(&self, sql: &str) -> Result<()> {
            if self.lost.get() {
                return Err(Error::Busy);
            }
            if sql == "COMMIT" {
                self.note("COMMIT");
            }
            Ok(())
        }
        fn durability(&self) -> Result<Vec<(&'static str, String, bool)>> {
            Ok(Vec::new())
        }
        fn health(&self) -> Result<Vec<(&'static str, String, bool)>> {
            Ok(Vec::new())
        }
    }

    /// What a database is told when so many operations have queued, the first of which does something else than the others; and
    /// how many of them succeed.
    fn told(fake: Fake, operations: usize, first: fn(&dyn Connection) -> Result<usize>) -> (Vec<&'static str>, usize) {
        let (queue, jobs) = sync_channel::<Box<dyn Job>>(GROUP);
        let shared = Shared { jobs: Mutex::new(jobs), fail: watch::Sender::new(None) };
        let mut answers = Vec::new();
        for number in 0..operations {
            let (reply, answer) = oneshot::channel::<Result<usize>>();
            let body = move |connection: &dyn Connection| if number == 0 { first(connection) } else { Ok(0) };
            assert!(queue.send(Box::new(Operation::new(body, reply))).is_ok());
            answers.push(answer);
        }
        drop(queue);
        let told = Arc::clone(&fake.told);
        write_forever(Box::new(fake), &shared);
        let done = answers.into_iter().filter_map(|mut answer| answer.try_recv().unwrap().ok()).count();
        (told.lock().unwrap().clone(), done)
    }

    #[test]
    fn a_connection_without_an_answer_is_given_up_before_the_next_of_the_group_run() {
        let (told, done) = told(Fake::default(), STEPS + 6, |connection| connection.execute("", &[]));
        assert_eq!((told, done), (vec!["ready", "given up", "ready", "COMMIT"], 6));
    }

    #[test]
    fn a_whole_group_shares_a_commit_where_nobody_else_can_write() {
        for (alone, commits) in [(true, 1), (false, GROUP.div_ceil(STEPS))] {
            let (told, done) = told(Fake { alone, ..Fake::default() }, GROUP, |_| Ok(0));
            assert_eq!(done, GROUP);
            assert_eq!(told.into_iter().filter(|what| *what == "COMMIT").count(), commits);
        }
    }

    #[tokio::test]
    async fn a_table_that_a_failed_operation_has_made_is_not_there() {
        let folder = std::env::temp_dir().join(format!("usher-{}", crate::random::uuid()));
        let store = Store::open(&Location::at(&folder), Clock::System, IfMissing::Create).await.unwrap();
        let half_way = |tx: &Tx| {
            tx.batch("CREATE TABLE half (id BIGINT PRIMARY KEY)")?;
            Err::<(), _>(Error::internal("half-way"))
        };
        assert!(store.write(half_way).await.is_err());
        let left = store.read(|tx| tx.query("SELECT id FROM half", &[])).await;
        assert!(left.is_err_and(|e| e.for_log().is_some_and(|why| why.contains("no such table"))));
        drop(store);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
