//! Tells Stripe what the outbox holds for it.

use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Account, Identity, Order, Subject, Told, any_account, order, settle};
use crate::db::Store;
use crate::error::Result;
use crate::outbound::{Client, Reach, Reply};
use crate::outbox::worker::{self, Leased, Quiet, Unanswered, Work};
use crate::outbox::{Job, Kind, LONGEST_TRY, Outcome};
use crate::secret::sha256;
use crate::users::UserId;

/// The version of Stripe's API that this was written for.
const VERSION: &str = "2025-03-31.basil";
/// The longest answer that is read: a page of customers, each with whatever others have noted of it.
const MOST: usize = 4 * 1024 * 1024;
/// How many customers are on one page of a list.
const PAGE: usize = 100;
/// How many pages are looked through, where Stripe has no search.
const PAGES: usize = 50;
/// By how many seconds Stripe's clock may differ from ours.
const SLACK: i64 = 3600;

/// Keeps customers at Stripe in step.
pub struct Sender<N> {
    client: Client,
    /// Hears how each try went.
    noted: N,
    patience: Duration,
    quiet: Quiet,
}

impl<N> Sender<N> {
    /// Prepares sending. Where Stripe is was said by the operator, so it may be anywhere.
    pub fn new(noted: N) -> Sender<N> {
        Sender { client: Client::new(Reach::Anywhere), noted, patience: LONGEST_TRY, quiet: Quiet::default() }
    }

    /// The same with another time within which Stripe must have answered all that one try asks.
    #[must_use]
    pub fn within(self, patience: Duration) -> Sender<N> {
        Sender { patience, ..self }
    }

    async fn call(&self, account: &Account, request: Ask) -> Answer {
        let settings = &account.settings;
        let mut builder = Request::builder()
            .method(request.method)
            .uri(format!("{}/v1/customers{}", settings.url(), request.path))
            .header("authorization", format!("Bearer {}", settings.key))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("stripe-version", VERSION);
        if let Some(key) = request.key {
            builder = builder.header("idempotency-key", key);
        }
        let request = builder
            .body(Full::new(Bytes::from(request.form)))
            .map_err(|_| "the account's address or key cannot be used".to_owned())?;
        self.client.send(request, MOST, LONGEST_TRY).await
    }

    async fn delete(&self, account: &Account, customer: &str) -> Outcome {
        match self.call(account, Ask::of(Method::DELETE, format!("/{customer}"))).await {
            Ok(reply) if reply.status == 404 => {
                self.is_gone(account, customer, "delete them there (metadata usher_user_id) and dismiss this job").await
            }
            answer => judge(&answer),
        }
    }

    /// Done if a customer that is not there was deleted: Stripe goes on knowing that. Another account, and the other mode of
    /// the same one, never knew them; then there are two ways on, one of which is `instead`.
    async fn is_gone(&self, account: &Account, customer: &str, instead: &str) -> Outcome {
        let answer = self.call(account, Ask::of(Method::GET, format!("/{customer}"))).await;
        match (&answer, judge(&answer)) {
            (Ok(reply), _) if reply.status == 404 => Outcome::GiveUp(format!(
                "this account does not know the customer, not even as deleted: connect the one that does and retry, or {instead}"
            )),
            (Ok(reply), Outcome::Done) if !says_deleted(&reply.body) => {
                Outcome::retry("the customer is there, but cannot be deleted or changed")
            }
            (_, outcome) => outcome,
        }
    }

    /// Brings a customer up to date; `None` if it is not there.
    async fn update(&self, account: &Account, customer: &str, identity: &Identity) -> Option<Outcome> {
        // Without a key: done twice, it is the same, and under one key a later state would be refused.
        let ask = Ask { form: identity.form(), ..Ask::of(Method::POST, format!("/{customer}")) };
        match self.call(account, ask).await {
            Ok(reply) if reply.status == 404 => None,
            answer => Some(judge(&answer)),
        }
    }

    /// Deletes whoever carries a user's id.
    async fn delete_strays(&self, account: &Account, user: UserId, since: i64) -> Outcome {
        let found = match self.search(account, user).await {
            Err(Outcome::GiveUp(_)) => self.look_through(account, user, since).await,
            found => found,
        };
        let found = match found {
            Ok(found) => found,
            Err(outcome) => return outcome,
        };
        for customer in found {
            match self.delete(account, &customer).await {
                Outcome::Done => {}
                outcome => return outcome,
            }
        }
        Outcome::Done
    }

    /// The customers that carry a user's id, as far as Stripe's search knows by now. Given up where there is no search: some
    /// countries have none.
    async fn search(&self, account: &Account, user: UserId) -> Looked<Vec<String>> {
        let query = format!("metadata['usher_user_id']:'{user}'");
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", &query).finish();
        let page = self.page(account, format!("/search?{query}")).await?;
        Ok(page.iter().filter_map(customer_id).collect())
    }

    /// The same without a search: those among all customers that were made since then.
    async fn look_through(&self, account: &Account, user: UserId, since: i64) -> Looked<Vec<String>> {
        let (user, mut found, mut after) = (user.to_string(), Vec::new(), String::new());
        for _ in 0..PAGES {
            // The newest come first.
            let page = self.page(account, format!("?limit={PAGE}{after}")).await?;
            found.extend(page.iter().filter(|one| one["metadata"]["usher_user_id"] == user).filter_map(customer_id));
            let last = page.get(PAGE - 1).filter(|last| last["created"].as_i64().is_some_and(|at| at >= since - SLACK));
            match last.and_then(customer_id) {
                Some(last) => after = format!("&starting_after={last}"),
                None => return Ok(found),
            }
        }
        Err(Outcome::GiveUp("there is no search, and there are too many newer customers to look through".to_owned()))
    }

    async fn page(&self, account: &Account, path: String) -> Looked<Vec<Value>> {
        let answer = self.call(account, Ask::of(Method::GET, path)).await;
        match judge(&answer) {
            Outcome::Done => {}
            outcome => return Err(outcome),
        }
        let page: Option<Value> = answer.ok().and_then(|reply| serde_json::from_slice(&reply.body).ok());
        let customers = page.and_then(|page| page["data"].as_array().cloned());
        customers.ok_or_else(|| Outcome::retry("the answer to a search cannot be read"))
    }

    async fn tell(&self, job: &Job, order: Order) -> Told {
        match order {
            Order::Delete(account, customer) => self.delete(&account, &customer).await.into(),
            Order::DeleteStrays(account, user, since) => self.delete_strays(&account, user, since).await.into(),
            Order::Keep(account, subject) => self.keep(&account, job, &subject).await,
        }
    }

    /// Brings the customer up to date whom the user is known to be, or else the one that is found, or else makes one.
    async fn keep(&self, account: &Account, job: &Job, subject: &Subject) -> Told {
        if let Some(known) = &subject.known {
            if let Some(outcome) = self.update(account, known, &subject.identity).await {
                return outcome.into();
            }
            match self.is_gone(account, known, "connect this one with --forget-customers and retry").await {
                Outcome::Done => {}
                outcome => return outcome.into(),
            }
        }
        let found = if subject.is_first { Ok(Vec::new()) } else { self.search(account, subject.user).await };
        let found = match found {
            Ok(found) => found,
            Err(Outcome::GiveUp(_)) => Vec::new(),
            Err(later) => return later.into(),
        };
        // One that was deleted is still found for a while.
        let found = found.into_iter().find(|id| subject.known.as_ref() != Some(id));
        if let Some(found) = &found
            && let Some(outcome) = self.update(account, found, &subject.identity).await
        {
            return Told { outcome, made: Some(found.clone()) };
        }
        let form = subject.identity.form();
        let key = key(job, &[subject.known.as_deref(), found.as_deref(), Some(&form)]);
        let ask = Ask { form, key: Some(key), ..Ask::of(Method::POST, String::new()) };
        let answer = self.call(account, ask).await;
        let made = answer.as_ref().ok().and_then(|reply| customer_id(&serde_json::from_slice(&reply.body).ok()?));
        match judge(&answer) {
            Outcome::Done if made.is_none() => Outcome::retry("the answer names no customer").into(),
            outcome @ Outcome::Done => Told { outcome, made },
            outcome => outcome.into(),
        }
    }
}

/// The idempotency key of making a customer. Stripe gives the first answer of a key again, a 500 too, and refuses another
/// request under it: so it names the job, how many such answers there were, and all that the request depends on.
fn key(job: &Job, parts: &[Option<&str>]) -> String {
    let digest = BASE64_URL_SAFE_NO_PAD.encode(sha256(json!(parts).to_string().as_bytes()));
    format!("{}-{}-{digest}", job.id, job.round)
}

type Answer = std::result::Result<Reply, String>;
/// What was looked for, or how the job ends instead.
type Looked<T> = std::result::Result<T, Outcome>;

/// A request about customers.
struct Ask {
    method: Method,
    path: String,
    form: String,
    /// What it does, it does once for each key.
    key: Option<String>,
}

impl Ask {
    fn of(method: Method, path: String) -> Ask {
        Ask { method, path, form: String::new(), key: None }
    }
}

impl Identity {
    fn form(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

fn says_deleted(customer: &[u8]) -> bool {
    serde_json::from_slice(customer).is_ok_and(|customer: Value| customer["deleted"] == true)
}

fn customer_id(customer: &Value) -> Option<String> {
    customer["id"].as_str().filter(|id| id.starts_with("cus_")).map(str::to_owned)
}

/// How a try went. Stripe's own sentence may repeat what it was sent, so only its words for programs are kept.
fn judge(answer: &Answer) -> Outcome {
    let reply = match answer {
        Ok(reply) => reply,
        Err(why) => return Outcome::retry(why),
    };
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let word = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_[]".contains(c);
        body["error"][name]
            .as_str()
            .filter(|word| word.len() <= 64 && word.chars().all(plain))
            .unwrap_or("-")
            .to_owned()
    };
    let words =
        || format!("HTTP {}: type {}, code {}, param {}", reply.status, word("type"), word("code"), word("param"));
    let later = |anew| Outcome::Retry { words: words(), anew, after: reply.retry_after };
    match reply.status {
        200..=299 => Outcome::Done,
        // A wrong key is the operator's to mend, so it is tried again as an outage is.
        401 | 403 | 409 | 425 | 429 => later(false),
        500.. => later(true),
        _ => Outcome::GiveUp(words()),
    }
}

impl<N: Fn(&'static str) + Send + Sync> Work for Sender<N> {
    type Job = Job;
    const AT_ONCE: usize = 8;

    async fn take(&self, store: &Store, free: usize) -> Result<Vec<Job>> {
        if self.quiet.is_on() {
            return Ok(Vec::new());
        }
        self.quiet.set(!store.read(any_account).await?);
        worker::take(store, &[Kind::BillingSync], free, &self.noted).await
    }

    async fn attempt(&self, store: &Store, job: Leased<Job>) -> Result<()> {
        let read = Job::clone(&job);
        let ordered = match store.read(move |tx| order(tx, &read)).await {
            Err(e) if e.passes() => Err(Unanswered::NotAsked.into()),
            ordered => ordered?,
        };
        let told = match ordered {
            Err(outcome) => outcome.into(),
            Ok(order) => {
                // One time for all requests of a try.
                let asking = tokio::time::timeout(self.patience, self.tell(&job, order));
                let told = job.ask(self.patience, asking).await;
                let told = told.and_then(|told| told.map_err(|_| Unanswered::TooLate));
                told.unwrap_or_else(|why| Outcome::from(why).into())
            }
        };
        let word = told.outcome.word(&job);
        tracing::info!(job = %job.id, attempt = job.attempts, outcome = word, "billing");
        (self.noted)(word);
        job.note(store, move |tx, job| settle(tx, job, &told)).await
    }
}
