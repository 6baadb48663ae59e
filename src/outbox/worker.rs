//! Does what is queued: leases due jobs, tries them, notes how it went. One loop for each kind of [`Work`], so that what
//! hangs holds up its own kind only.
//!
//! Any number of workers may run, here and on other servers: a lease keeps two from one job, and ends by itself
//! when a worker dies. Knows no SQL and nothing of what is sent; the app spawns it.

use std::future::Future;
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;

use super::{GIVEN_UP, Job, Kind, LEASE, Outcome};
use crate::clock::Stopwatch;
use crate::db::{Store, Tx};
use crate::error::{Error, Result};

/// How often a queue is looked at when nothing rings.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long it may take to note how a try went, and how often that is tried while the database cannot.
const NOTED: Duration = Duration::from_secs(5);
const NOTE_AGAIN: Duration = Duration::from_millis(500);

/// One kind of work.
pub trait Work {
    /// What is done.
    type Job;
    /// How many are on their way at once.
    const AT_ONCE: usize;

    /// Up to `free` due jobs, leased for [`LEASE`]. Looks before it leases, so that an idle worker writes nothing.
    fn take(&self, store: &Store, free: usize) -> impl Future<Output = Result<Vec<Self::Job>>> + Send;

    /// Tries a job, asking the other side by [`Leased::ask`], and notes how that went.
    fn attempt(&self, store: &Store, job: Leased<Self::Job>) -> impl Future<Output = Result<()>> + Send;
}

/// A job whose lease is running out.
pub struct Leased<J> {
    job: J,
    /// Began before the lease did, however long the database took.
    since: Stopwatch,
}

impl<J> Leased<J> {
    /// Up to `free` due jobs of a kind of work.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn take<W: Work<Job = J>>(work: &W, store: &Store, free: usize) -> Result<Vec<Self>> {
        let since = Stopwatch::start();
        let jobs = work.take(store, free).await?;
        Ok(jobs.into_iter().map(|job| Leased { job, since }).collect())
    }

    /// Asks the other side, which takes `longest`. Not if the lease may end before the answer is noted, and no longer than it
    /// lasts: whoever has the job next would ask at the same time.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask<T>(
        &self,
        longest: Duration,
        asking: impl Future<Output = T>,
    ) -> std::result::Result<T, Unanswered> {
        let left = LEASE.saturating_sub(NOTED).saturating_sub(self.since.elapsed());
        if left < longest {
            return Err(Unanswered::NotAsked);
        }
        tokio::time::timeout(left, asking).await.map_err(|_| Unanswered::TooLate)
    }
}

impl<J: Send + Sync + 'static> Leased<J> {
    /// Notes how the try went, by an operation that may run twice. While the lease lasts, a database that is busy or away is asked
    /// again: what the other side took and nobody noted would be sent again.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn note<F>(self, store: &Store, note: F) -> Result<()>
    where
        F: Fn(&Tx, &J) -> Result<()> + Send + Sync + 'static,
    {
        let (job, since) = (self.job, self.since);
        let note = Arc::new(move |tx: &Tx| note(tx, &job));
        loop {
            let again = Arc::clone(&note);
            match store.write(move |tx| again(tx)).await {
                Err(e) if e.passes() && since.elapsed() + NOTE_AGAIN < LEASE => tokio::time::sleep(NOTE_AGAIN).await,
                noted => return noted,
            }
        }
    }
}

/// Another program's words without what could disturb a terminal or the database.
pub fn printable(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nobody was asked, for too little of the lease was left.
    NotAsked,
    /// It did not come in time.
    TooLate,
}

impl Unanswered {
    /// The same in words.
    pub fn words(self) -> &'static str {
        match self {
            Unanswered::NotAsked => "the database took too long",
            Unanswered::TooLate => "no answer in time",
        }
    }
}

impl From<Unanswered> for Outcome {
    fn from(why: Unanswered) -> Outcome {
        match why {
            Unanswered::NotAsked => Outcome::PutOff(why.words()),
            Unanswered::TooLate => Outcome::retry(why.words()),
        }
    }
}

impl<J> Deref for Leased<J> {
    type Target = J;
    fn deref(&self) -> &J {
        &self.job
    }
}

/// Rings when there may be something to do, or when it is time to stop. Every worker hears it.
#[derive(Clone)]
pub struct Bell(Arc<watch::Sender<bool>>);

impl Default for Bell {
    fn default() -> Self {
        Bell(Arc::new(watch::Sender::new(false)))
    }
}

impl Bell {
    /// Something may have been queued.
    pub fn wake(&self) {
        self.0.send_modify(|_| ());
    }

    /// Nothing more is to be begun.
    pub fn close(&self) {
        self.0.send_replace(true);
    }
}

/// That there was nothing of a kind at all a moment ago: a server that does not use it must not read for every write.
#[derive(Default)]
pub struct Quiet(Mutex<Option<Stopwatch>>);

impl Quiet {
    /// How long to believe it.
    const LASTS: Duration = Duration::from_millis(900);

    /// Whether it is believed now.
    pub fn is_on(&self) -> bool {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() < Self::LASTS)
    }

    /// Notes whether it is so.
    pub fn set(&self, quiet: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = quiet.then(Stopwatch::start);
    }
}

/// Works until the bell is closed, and then finishes what has begun: what the other side took must be noted, or it would
/// be sent again.
pub async fn run<W: Work>(store: Store, bell: Bell, work: W) {
    let mut rings = bell.0.subscribe();
    let mut under_way = FuturesUnordered::new();
    loop {
        let closing = *rings.borrow_and_update();
        if closing && under_way.is_empty() {
            return;
        }
        let free = if closing { 0 } else { W::AT_ONCE.saturating_sub(under_way.len()) };
        if free > 0 {
            let mut taking = pin!(survive(Leased::take(&work, &store, free)));
            // What is under way goes on while the database takes its time, or what came in time would count as too late.
            let taken = loop {
                tokio::select! {
                    taken = &mut taking => break taken,
                    Some(settled) = under_way.next() => complain_of(settled),
                }
            };
            match taken {
                Ok(jobs) => under_way.extend(jobs.into_iter().map(|job| survive(work.attempt(&store, job)))),
                Err(e) => complain(&e),
            }
        }
        tokio::select! {
            Some(settled) = under_way.next() => complain_of(settled),
            // The bell outlives its rings.
            _ = rings.changed() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// What panics does not take those with it that are under way beside it. The lease of a job ends by itself.
async fn survive<T>(step: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(step).catch_unwind().await.unwrap_or_else(|_| Err(Error::internal("a job panicked")))
}

/// Up to `free` due jobs of the outbox, leased. `noted` hears of those that are given up instead.
///
/// # Errors
/// The database refuses.
pub async fn take(
    store: &Store,
    kinds: &'static [Kind],
    free: usize,
    noted: &impl Fn(&'static str),
) -> Result<Vec<Job>> {
    if !store.read(move |tx| super::any_due(tx, kinds)).await? {
        return Ok(Vec::new());
    }
    let lease = move |tx: &Tx| super::lease(tx, kinds, i64::try_from(free).unwrap_or(1));
    let (jobs, given_up) = store.write(lease).await?;
    for job in given_up {
        let kind = job.kind.as_str();
        tracing::error!(job = %job.id, kind, "a job is given up: nobody said how its last try went");
        noted(GIVEN_UP);
    }
    Ok(jobs)
}

/// Notes how a try of a job of the outbox went.
///
/// # Errors
/// The database refuses.
pub async fn settle(store: &Store, job: Leased<Job>, outcome: Outcome) -> Result<()> {
    job.note(store, move |tx, job| super::settle(tx, job, &outcome)).await
}

fn complain_of(settled: Result<()>) {
    if let Err(e) = settled {
        complain(&e);
    }
}

fn complain(error: &Error) {
    tracing::error!(code = error.code(), what = error.for_log(), "a queue cannot be worked on");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::db::{IfMissing, Location};

    /// Three jobs at once, more than were asked for: the first panics, and the last ends the work.
    struct Three(Mutex<Vec<u8>>, Mutex<Vec<u8>>, Bell);

    impl Work for &Three {
        type Job = u8;
        const AT_ONCE: usize = 1;

        async fn take(&self, _: &Store, _: usize) -> Result<Vec<u8>> {
            Ok(std::mem::take(&mut *self.0.lock().unwrap()))
        }

        async fn attempt(&self, _: &Store, job: Leased<u8>) -> Result<()> {
            tokio::time::sleep(Duration::from_millis((*job).into())).await;
            assert!(*job > 1, "on purpose");
            self.1.lock().unwrap().push(*job);
            if *job == 3 {
                self.2.close();
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_ends_neither_the_others_nor_the_worker() {
        let folder = std::env::temp_dir().join(format!("usher-{}", crate::random::uuid()));
        let store = Store::open(&Location::at(&folder), Clock::System, IfMissing::Create).await.unwrap();
        let three = Three(Mutex::new(vec![1, 2, 3]), Mutex::default(), Bell::default());
        run(store, three.2.clone(), &three).await;
        assert_eq!(*three.1.lock().unwrap(), [2, 3]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// One job, which it takes a while to lease.
    struct Late;

    impl Work for Late {
        type Job = ();
        const AT_ONCE: usize = 1;

        async fn take(&self, _: &Store, _: usize) -> Result<Vec<()>> {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(vec![()])
        }

        async fn attempt(&self, _: &Store, _: Leased<()>) -> Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_it_took_to_lease_a_job_is_missing_to_its_try() {
        let folder = std::env::temp_dir().join(format!("usher-{}", crate::random::uuid()));
        let store = Store::open(&Location::at(&folder), Clock::System, IfMissing::Create).await.unwrap();
        let job = Leased::take(&Late, &store, 1).await.unwrap().remove(0);
        assert_eq!(job.ask(Duration::from_millis(49_900), async {}).await, Err(Unanswered::NotAsked));
        assert_eq!(job.ask(Duration::from_secs(30), async {}).await, Ok(()));
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// One job, and a second look that takes its time, comes to nothing and ends the work.
    struct Slow(Mutex<Vec<&'static str>>, Bell);

    impl Work for &Slow {
        type Job = ();
        const AT_ONCE: usize = 2;

        async fn take(&self, _: &Store, free: usize) -> Result<Vec<()>> {
            if free == 2 {
                self.1.wake();
                return Ok(vec![()]);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.0.lock().unwrap().push("looked");
            self.1.close();
            panic!("on purpose");
        }

        async fn attempt(&self, _: &Store, _: Leased<()>) -> Result<()> {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.0.lock().unwrap().push("done");
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_look_that_takes_its_time_or_panics_holds_up_nothing_that_is_under_way() {
        let folder = std::env::temp_dir().join(format!("usher-{}", crate::random::uuid()));
        let store = Store::open(&Location::at(&folder), Clock::System, IfMissing::Create).await.unwrap();
        let slow = Slow(Mutex::default(), Bell::default());
        run(store, slow.1.clone(), &slow).await;
        assert_eq!(*slow.0.lock().unwrap(), ["done", "looked"]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
