//! Tells Stripe what the outbox holds for it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::Value;
use url::form_urlencoded;

use super::{Account, Identity, Task, any_account, customer, erase, forget_customer, note_customer, store};
use crate::apps::EnvironmentId;
use crate::db::Store;
use crate::error::{Error, Result};
use crate::outbound::{Client, Reach, Reply};
use crate::outbox::worker::{self, Quiet, Work};
use crate::outbox::{self, Job, Kind, Outcome};
use crate::users;

/// The version of Stripe's API that this was written for.
const VERSION: &str = "2025-03-31.basil";
/// How long Stripe may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const MOST: usize = 64 * 1024;

/// Keeps customers at Stripe in step.
pub struct Sender<N> {
    client: Client,
    /// Hears how each try went.
    noted: N,
    quiet: Quiet,
}

/// What came of a task: how it went, and who the customer is now, if that has changed.
struct Came {
    outcome: Outcome,
    customer: Option<String>,
}

impl<N> Sender<N> {
    /// Prepares sending. Where Stripe is was said by the operator, so it may be anywhere.
    pub fn new(noted: N) -> Sender<N> {
        Sender { client: Client::new(Reach::Anywhere), noted, quiet: Quiet::default() }
    }

    /// Sends one request; what it does, it does once for each `key`.
    async fn call(
        &self,
        account: &Account,
        method: Method,
        path: &str,
        key: &str,
        identity: Option<&Identity>,
    ) -> std::result::Result<Reply, String> {
        let settings = &account.settings;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", settings.url))
            .header("authorization", format!("Bearer {}", settings.key))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("stripe-version", VERSION)
            .header("idempotency-key", key)
            .body(Full::new(Bytes::from(form(identity))))
            .map_err(|_| "the account's address or key cannot be used".to_owned())?;
        self.client.send(request, MOST, TIMEOUT).await
    }

    async fn delete(&self, account: &Account, customer: &str, key: &str) -> Outcome {
        match self.call(account, Method::DELETE, &format!("/v1/customers/{customer}"), key, None).await {
            // Gone already.
            Ok(reply) if reply.status == 404 => Outcome::Done,
            answer => judge(&answer),
        }
    }

    /// Makes the customer, or brings one up to date that is known. One that was deleted at Stripe is made anew.
    async fn sync(&self, account: &Account, known: Option<&str>, key: &str, identity: &Identity) -> Came {
        if let Some(known) = known {
            let path = format!("/v1/customers/{known}");
            match self.call(account, Method::POST, &path, key, Some(identity)).await {
                Ok(reply) if reply.status == 404 => {}
                answer => return Came { outcome: judge(&answer), customer: None },
            }
        }
        // One key is good for one address.
        let key = if known.is_some() { format!("{key}-anew") } else { key.to_owned() };
        let answer = self.call(account, Method::POST, "/v1/customers", &key, Some(identity)).await;
        match (judge(&answer), answer.ok().and_then(|reply| id_in(&reply))) {
            (Outcome::Done, None) => {
                Came { outcome: Outcome::Retry("the answer names no customer".to_owned()), customer: None }
            }
            (outcome @ Outcome::Done, customer) => Came { outcome, customer },
            (outcome, _) => Came { outcome, customer: None },
        }
    }
}

fn form(identity: Option<&Identity>) -> String {
    let parameters = identity.map(|identity| identity.0.as_slice()).unwrap_or_default();
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

fn id_in(reply: &Reply) -> Option<String> {
    let body: Value = serde_json::from_slice(&reply.body).ok()?;
    body["id"].as_str().filter(|id| id.starts_with("cus_")).map(str::to_owned)
}

/// How a try went. Stripe's own sentence may repeat what it was sent, so only its words for programs are kept.
fn judge(answer: &std::result::Result<Reply, String>) -> Outcome {
    let reply = match answer {
        Ok(reply) => reply,
        Err(why) => return Outcome::Retry(why.clone()),
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
    match reply.status {
        200..=299 => Outcome::Done,
        // A wrong key is the operator's to mend, so it is tried again as an outage is.
        401 | 403 | 409 | 425 | 429 | 500.. => Outcome::Retry(words()),
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
        worker::take(store, &[Kind::BillingSync], free).await
    }

    async fn attempt(&self, store: &Store, job: Job) -> Result<()> {
        let task = job.payload.as_ref().and_then(|payload| serde_json::from_value::<Task>(payload.0.clone()).ok());
        let Some(task) = task else {
            let damaged = Outcome::GiveUp("the job cannot be read: its data is damaged".to_owned());
            return worker::settle(store, job, damaged).await;
        };
        let (environment, mode, user) = (EnvironmentId(task.environment), task.mode, job.user);
        let known = store.read(move |tx| Ok((store::of(tx, environment, mode)?, customer(tx, user, mode)?))).await;
        let (account, known) = known?;
        let key = job.id.to_string();
        let came = match (account.as_ref(), &task.identity, &task.customer) {
            (None, _, _) => Came {
                outcome: Outcome::GiveUp(format!("no account is connected in {} mode", mode.as_str())),
                customer: None,
            },
            (Some(account), Some(identity), _) => self.sync(account, known.as_deref(), &key, identity).await,
            (Some(account), None, Some(customer)) => {
                Came { outcome: self.delete(account, customer, &key).await, customer: None }
            }
            (Some(_), None, None) => return Err(Error::internal("a billing job without a customer")),
        };
        let word = came.outcome.word();
        tracing::info!(job = %job.id, attempt = job.attempts, outcome = word, "billing");
        (self.noted)(word);
        let gone = known.filter(|known| came.customer.as_ref().is_some_and(|new| new != known));
        store
            .write(move |tx| {
                if let (Some(account), Some(gone)) = (&account, &gone) {
                    forget_customer(tx, account, gone)?;
                }
                if let Some(customer) = &came.customer {
                    note_customer(tx, environment, user, mode, customer)?;
                }
                if users::any_by_id(tx, user)?.is_none() {
                    // Erased while Stripe was asked.
                    erase(tx, environment, user)?;
                }
                outbox::settle(tx, &job, &came.outcome)
            })
            .await
    }
}
