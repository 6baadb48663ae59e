//! What a write may be sent with besides its body: `Idempotency-Key`, `If-Match`, and `dry_run` in the query.

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::auth::text;
use super::{Api, ascii, reply, reply_text};
use crate::audit::{self, Changes};
use crate::caller::Caller;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::idempotency::{self, Effect, Request};
use crate::roles::Right;
use crate::users::{self, IfMatch, User, UserId};

/// The message of every dry run.
pub const REHEARSED: &str = "Dry run: nothing was changed";

/// A write's headers and query.
pub struct Guard {
    key: Option<String>,
    route: String,
    query: String,
    dry_run: bool,
    /// Which versions of the user the caller means to change.
    pub if_match: IfMatch,
}

impl FromRequestParts<Api> for Guard {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self> {
        let path = parts.uri.path().trim_start_matches("/api");
        Ok(Guard {
            key: text(&parts.headers, "idempotency-key")?.map(str::to_owned),
            // PUT and POST of one path do the same there, and `/api/v1` is `/v1`.
            route: match parts.method {
                Method::PUT | Method::POST => path.to_owned(),
                ref other => format!("{path} {other}"),
            },
            query: parts.uri.query().unwrap_or_default().to_owned(),
            dry_run: rehearses(parts)?,
            if_match: text(&parts.headers, "if-match")?.map_or(IfMatch::Anything, IfMatch::parse),
        })
    }
}

/// Whether a request is a dry run.
///
/// # Errors
/// It says neither yes nor no.
pub(super) fn rehearses(parts: &Parts) -> Result<bool> {
    let query = parts.uri.query().unwrap_or_default();
    let wishes: Vec<_> = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "dry_run").collect();
    match wishes.as_slice() {
        [] => Ok(false),
        [(_, value)] if value == "true" || value == "false" => Ok(value == "true"),
        _ => Err(Error::bad_request("dry_run", "dry_run must be true or false, once")),
    }
}

/// What an operation did: what to answer, and what changed.
pub struct Done {
    answer: Value,
    what: What,
}

enum What {
    /// A user, whose changes stand in the audit trail, with their entity tag.
    User(UserId, String),
    /// Something else.
    Other(Changes),
}

impl From<(Value, User)> for Done {
    fn from((answer, user): (Value, User)) -> Done {
        Done { answer, what: What::User(user.id, user.etag()) }
    }
}

impl From<(Value, Changes)> for Done {
    fn from((answer, changes): (Value, Changes)) -> Done {
        Done { answer, what: What::Other(changes) }
    }
}

impl Done {
    fn effect(self) -> Effect {
        match self.what {
            What::User(user, etag) => Effect { body: self.answer, etag, user: Some(user) },
            What::Other(_) => Effect { body: self.answer, etag: String::new(), user: None },
        }
    }

    /// What changed, as it would stand in the audit trail.
    fn changes(&self, tx: &Tx, caller: &Caller) -> Result<Vec<Value>> {
        let user = match &self.what {
            What::User(user, _) => *user,
            What::Other(changes) => return Ok(vec![changes.0.clone()]),
        };
        let show = |entry: &audit::Entry| json!({"action": entry.action, "fields": entry.changes.0["fields"], "health": entry.changes.0["health"]});
        let entries = audit::of_request(tx, user, caller.request)?;
        Ok(entries.iter().filter(|entry| entry.action != audit::Action::HealthRead).map(show).collect())
    }
}

impl Guard {
    /// Tells, in a transaction, whether the request will get an earlier answer and do nothing.
    pub fn is_answered(&self) -> impl Fn(&Tx, &Caller) -> Result<bool> + Send + use<> {
        // A dry run has no earlier answer.
        let key = self.key.clone().filter(|_| !self.dry_run);
        let route = self.route.clone();
        move |tx, caller| key.as_ref().map_or(Ok(false), |key| idempotency::is_answered(tx, caller, &route, key))
    }

    /// Runs `operation` in one transaction with the record of its idempotency key, and replies: with its answer and the
    /// user's `ETag`, or with those of the first time. `date` is the API date that shapes the request, if any.
    ///
    /// A dry run answers what would have changed, and leaves nothing, not even the record; but who is told of somebody's health
    /// by it has read it, and that stands in the trail.
    ///
    /// # Errors
    /// Those of the operation; a malformed key, and one that was used for another request.
    pub async fn run<F, D>(
        self,
        api: &Api,
        caller: Caller,
        date: &str,
        body: Map<String, Value>,
        operation: F,
    ) -> Result<Response>
    where
        F: Fn(&Tx) -> Result<D> + Send + 'static,
        D: Into<Done>,
    {
        if self.dry_run {
            let tells_of_health = self.tells_of_health(&caller, &body);
            return self.rehearse(api, caller, tells_of_health, operation).await;
        }
        let body = Value::Object(body);
        let request = self.key.map(|key| Request::new(&key, self.route, &[date, &self.query], &body)).transpose()?;
        let effect = move |tx: &Tx| operation(tx).map(|done| done.into().effect());
        let once = move |tx: &Tx| {
            let answer = idempotency::once(tx, &caller, request.as_ref(), &effect)?;
            if answer.replayed {
                audit::note_replay(tx, &caller, answer.user)?;
            }
            Ok(answer)
        };
        let answer = api.store.write(once).await?;
        api.outbox.wake();
        let mut response = reply_text(answer.body);
        let headers = response.headers_mut();
        if !answer.etag.is_empty() {
            headers.insert(header::ETAG, ascii(&answer.etag));
        }
        if answer.replayed {
            headers.insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
        }
        Ok(response)
    }

    /// Whether the answer of a rehearsal tells of somebody's health: what is known, or whether it is as the body has it.
    fn tells_of_health(&self, caller: &Caller, body: &Map<String, Value>) -> bool {
        // `PUT` and `POST` ignore metadata, and whom they make has none yet.
        let has_metadata = body.get("user").is_some_and(|user| user.get("metadata").is_some());
        let compares_metadata = has_metadata && self.route.ends_with(" PATCH");
        !self.is_of_the_directory() || (compares_metadata && caller.rights.has(Right::Metadata))
    }

    fn is_of_the_directory(&self) -> bool {
        self.route.starts_with("/v1/")
    }

    async fn rehearse<F, D>(self, api: &Api, caller: Caller, tells_of_health: bool, operation: F) -> Result<Response>
    where
        F: Fn(&Tx) -> Result<D> + Send + 'static,
        D: Into<Done>,
    {
        let rehearsal = move |tx: &Tx| {
            let done: Done = operation(tx)?.into();
            let changes = done.changes(tx, &caller)?;
            Ok((changes, done.answer, done.what))
        };
        let (changes, mut answer, what) = api.store.rehearse(rehearsal).await?;
        if let (What::User(user, _), true) = (what, tells_of_health) {
            let note = move |tx: &Tx| match users::any_by_id(tx, user)? {
                Some(user) => audit::note_read(tx, caller.origin(), &user),
                // Whom the rehearsal made was never there.
                None => Ok(()),
            };
            api.store.write(note).await?;
        }
        // The directory's envelope has its place for it; the partner API's answers have not.
        let place = if self.is_of_the_directory() { "data" } else { "dryRun" };
        answer[place] = json!({"kind": "dryRun", "itemsLength": changes.len(), "items": changes});
        answer["message"] = REHEARSED.into();
        Ok(reply(&answer))
    }
}
