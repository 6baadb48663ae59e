//! Sends what was announced: signs it, hands it over, notes the answer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;

use super::{EndpointId, Job, Outcome, due, lease, settle, sign};
use crate::clock::{Stopwatch, Timestamp};
use crate::db::Store;
use crate::error::{Error, Result};
use crate::outbound::Client;
use crate::outbox::worker::{Leased, Quiet, Unanswered, Work, printable};
use crate::random;

/// How long an endpoint may take to answer unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How much of an answer is kept.
const WORDS: usize = 256;
/// How many messages are on their way to one endpoint at once, and to one that failed the last time.
const PLACES: usize = 8;
const PLACES_AFTER_FAILURE: usize = 1;
/// How long an endpoint that cannot be read is left alone.
const DAMAGED: Duration = Duration::from_mins(1);

/// Takes an event back to what it was on a date, by the version files; `None` if there was no such event.
pub type Lower = fn(date: &str, event: Value) -> Option<Value>;

/// Sends webhooks.
pub struct Sender<N> {
    client: Client,
    lower: Lower,
    /// Hears how each try went.
    noted: N,
    patience: Duration,
    load: Mutex<HashMap<EndpointId, Load>>,
    quiet: Quiet,
}

/// What this server knows of an endpoint.
#[derive(Default)]
struct Load {
    under_way: usize,
    failed: bool,
    /// When its data was found damaged.
    damaged: Option<Stopwatch>,
}

impl Load {
    /// How many more may be on their way to it.
    fn places(&self) -> usize {
        if self.damaged.is_some_and(|since| since.elapsed() < DAMAGED) {
            return 0;
        }
        let most = if self.failed { PLACES_AFTER_FAILURE } else { PLACES };
        most.saturating_sub(self.under_way)
    }
}

impl<N> Sender<N> {
    /// Sends by `client`, in the shapes that `lower` gives.
    pub fn new(client: Client, lower: Lower, noted: N) -> Sender<N> {
        Sender { client, lower, noted, patience: TIMEOUT, load: Mutex::default(), quiet: Quiet::default() }
    }

    /// The same with another time within which an endpoint must have answered.
    #[must_use]
    pub fn within(self, patience: Duration) -> Sender<N> {
        Sender { patience, ..self }
    }

    fn load(&self) -> MutexGuard<'_, HashMap<EndpointId, Load>> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many places each of these endpoints gets, of `free` ones: an even share, and little for one that fails.
    fn share(&self, endpoints: &[EndpointId], free: usize) -> Vec<(EndpointId, i64)> {
        let load = self.load();
        let mut left = free;
        let mut places = Vec::new();
        for (i, id) in endpoints.iter().enumerate() {
            let fair = left.div_ceil(endpoints.len() - i);
            let count = load.get(id).map_or(PLACES, Load::places).min(fair);
            left -= count;
            if count > 0 {
                places.push((*id, i64::try_from(count).unwrap_or(1)));
            }
        }
        places
    }

    async fn hand_over(&self, job: &Leased<Job>, now: Timestamp) -> Result<Outcome> {
        let endpoint = &job.endpoint;
        if job.delivery.body.is_null() {
            return Err(Error::Integrity);
        }
        let Some(mut event) = (self.lower)(&endpoint.api_version, job.delivery.body.clone()) else {
            return Ok(Outcome::Unknown);
        };
        event["apiVersion"] = endpoint.api_version.as_str().into();
        let (id, body) = (job.delivery.event.webhook_id(), event.to_string());
        let signatures = sign::signatures(&endpoint.keys, now, &id, &body)?;
        let request = Request::post(endpoint.address.as_str())
            .header("content-type", "application/json")
            .header("user-agent", concat!("Usher/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", now.as_seconds())
            .header("webhook-signature", signatures)
            .body(Full::new(Bytes::from(body)))
            .map_err(Error::internal)?;
        Ok(match job.ask(self.patience, self.client.send(request, WORDS, self.patience)).await {
            Ok(Ok(reply)) => Outcome::Answered(reply.status, printable(&String::from_utf8_lossy(&reply.body))),
            Ok(Err(why)) => Outcome::Failed(why),
            Err(why @ Unanswered::NotAsked) => Outcome::NotAsked(why.words()),
            Err(why) => Outcome::Failed(why.words().to_owned()),
        })
    }
}

impl<N: Fn(&'static str) + Send + Sync> Work for Sender<N> {
    type Job = Job;
    const AT_ONCE: usize = 64;

    async fn take(&self, store: &Store, free: usize) -> Result<Vec<Job>> {
        if self.quiet.is_on() {
            return Ok(Vec::new());
        }
        let (mut endpoints, any) = store.read(due).await?;
        self.quiet.set(!any);
        if !endpoints.is_empty() {
            let turn = usize::from(random::bytes::<1>()[0]) % endpoints.len();
            endpoints.rotate_left(turn);
        }
        let places = self.share(&endpoints, free);
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let (jobs, damaged) = store.write(move |tx| lease(tx, &places)).await?;
        let mut load = self.load();
        for id in damaged {
            tracing::error!(webhook = %id, "a webhook cannot be read: its data is damaged");
            load.entry(id).or_default().damaged = Some(Stopwatch::start());
        }
        for job in &jobs {
            load.entry(job.endpoint.id).or_default().under_way += 1;
        }
        Ok(jobs)
    }

    async fn attempt(&self, store: &Store, job: Leased<Job>) -> Result<()> {
        let watch = Stopwatch::start();
        let outcome = self.hand_over(&job, store.clock().now()).await;
        let (took, failed) = (watch.elapsed(), outcome.as_ref().map_or(true, Outcome::is_failure));
        if let Some(load) = self.load().get_mut(&job.endpoint.id) {
            load.under_way -= 1;
            load.failed = failed;
        }
        // What cannot even be made is a failure like any other: it is logged, tried again and given up in its time.
        let outcome = outcome.unwrap_or_else(|e| {
            tracing::error!(delivery = %job.delivery.id, code = e.code(), "a webhook's message cannot be made");
            Outcome::Failed("the message cannot be made".into())
        });
        let delivery = &job.delivery;
        let word = outcome.word(delivery, store.clock().now());
        tracing::info!(delivery = %delivery.id, attempt = delivery.attempts, outcome = word, "webhook");
        (self.noted)(word);
        let id = random::sequential_uuid(store.clock().now());
        job.note(store, move |tx, job| settle(tx, job, &outcome, took, id)).await
    }
}
