//! What a write may be sent with besides its body: `Idempotency-Key` and `If-Match`.

use axum::extract::FromRequestParts;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Map, Value};

use super::auth::text;
use super::{Api, ascii, reply_text};
use crate::audit;
use crate::audit::Changes;
use crate::caller::Caller;
use crate::db::Tx;
use crate::error::Result;
use crate::idempotency::{self, Request};
use crate::users::{IfMatch, User};

/// A write's headers.
pub struct Guard {
    key: Option<String>,
    route: String,
    query: String,
    /// Which versions of the user the caller means to change.
    pub if_match: IfMatch,
}

impl FromRequestParts<Api> for Guard {
    type Rejection = crate::error::Error;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self> {
        Ok(Guard {
            key: text(&parts.headers, "idempotency-key")?.map(str::to_owned),
            // PUT and POST of one path do the same there, and `/api/v1` is `/v1`.
            route: parts.uri.path().trim_start_matches("/api").to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            if_match: text(&parts.headers, "if-match")?.map_or(IfMatch::Anything, IfMatch::parse),
        })
    }
}

/// What an operation did: what to answer, and the tag of the user that it changed, if it was one.
pub struct Done {
    answer: Value,
    etag: String,
}

impl From<Value> for Done {
    fn from(answer: Value) -> Done {
        Done { answer, etag: String::new() }
    }
}

impl From<(Value, User)> for Done {
    fn from((answer, user): (Value, User)) -> Done {
        Done { answer, etag: user.etag() }
    }
}

impl From<(Value, Changes)> for Done {
    fn from((answer, _): (Value, Changes)) -> Done {
        Done { answer, etag: String::new() }
    }
}

impl Guard {
    /// Runs `operation` in one transaction with the record of its idempotency key, and replies: with its answer and the
    /// user's `ETag`, or with those of the first time. `date` is the API date that shapes the request, if any.
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
        let body = Value::Object(body);
        let request = self.key.map(|key| Request::new(&key, self.route, &[date, &self.query], &body)).transpose()?;
        let tagged = move |tx: &Tx| {
            operation(tx).map(|done| {
                let done: Done = done.into();
                (done.answer, done.etag)
            })
        };
        let once = move |tx: &Tx| {
            let answer = idempotency::once(tx, &caller, request.as_ref(), &tagged)?;
            if answer.replayed {
                audit::note_replay(tx, &caller)?;
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
}
