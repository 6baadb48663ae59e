//! Request bodies: JSON read strictly, whatever the `Content-Type` says (contract item 44).
//!
//! What is refused, and how, is the business of [`crate::field::json`]. Small bodies cost little and are read as they come; for
//! large ones there are so many places, and nobody reads one without having one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Api, Trail, again};
use crate::codes::Parameters;
use crate::error::{Error, Result};
use crate::field::json;

/// The largest body.
pub const LIMIT: usize = 64 * 1024;
/// How long a body may take to arrive.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// How many large bodies are taken in at once, of all callers together.
pub const LARGE_AT_ONCE: usize = 4;

/// A body that is a JSON object.
pub struct JsonObject(pub Map<String, Value>);

impl<S: Sync> FromRequest<S> for JsonObject {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let trail = request.extensions().get::<Trail>().cloned();
        let bytes = read(request, LIMIT).await?;
        if let Some(trail) = trail {
            trail.note_body(bytes.clone());
        }
        match json::parse(&bytes)? {
            Value::Object(map) => Ok(JsonObject(map)),
            _ => Err(Error::bad_request("not_an_object", "The body must be a JSON object")),
        }
    }
}

/// Parameters of a form or a query. One that stands twice is refused: two readers may take different ones.
#[derive(Default)]
pub struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`.
    ///
    /// # Errors
    /// A parameter stands twice.
    pub fn parse(text: &[u8]) -> Result<Form> {
        let mut form = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            if form.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(Error::bad_request("parameter_twice", "A parameter stands twice"));
            }
        }
        Ok(Form(form))
    }

    /// The parameter of this name as it was sent, which may be empty.
    pub fn sent(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Form {
    /// The parameters whose names begin so, without that beginning.
    pub fn below<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(name, value)| Some((name.strip_prefix(start)?, value.as_str())))
    }
}

impl Parameters for Form {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }
}

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        Form::parse(&read(request, LIMIT).await?)
    }
}

/// A form with a field for each of very many columns.
pub struct LongForm(pub Form);

impl LongForm {
    /// A head line has 1 MiB at the most, which a browser may write three times as long.
    const LIMIT: usize = 4 * 1024 * 1024;
}

impl<S: Sync> FromRequest<S> for LongForm {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        Form::parse(&read(request, LongForm::LIMIT).await?).map(LongForm)
    }
}

/// A whole body as it came, of that size at the most.
pub struct Raw<const MOST: usize = LIMIT>(pub Bytes);

impl<const MOST: usize, S: Sync> FromRequest<S> for Raw<MOST> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        read(request, MOST).await.map(Raw)
    }
}

/// The places for large bodies.
pub struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Places(Arc::new(Semaphore::new(LARGE_AT_ONCE)))
    }
}

/// A body of up to many megabytes, with the place that it holds until what is done with it is done: callers at once would take
/// all the memory that there is. Who finds no place is told so, and nothing of what they send is kept.
pub struct Large<T>(pub T, pub OwnedSemaphorePermit);

impl<T: FromRequest<Api, Rejection = Error>> FromRequest<Api> for Large<T> {
    type Rejection = Error;

    async fn from_request(request: Request, api: &Api) -> Result<Self> {
        let Ok(place) = Arc::clone(&api.large_bodies.0).try_acquire_owned() else {
            if !asks_first(&request) {
                drop_rest(&mut request.into_body()).await;
            }
            return Err(Error::Busy);
        };
        Ok(Large(T::from_request(request, api).await?, place))
    }
}

/// Whether the caller waits to be told to send.
fn asks_first(request: &Request) -> bool {
    request.headers().contains_key(header::EXPECT)
}

/// Takes what is still sent and keeps nothing of it: who sends while the connection is closed loses the answer.
async fn drop_rest(body: &mut Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(TIMEOUT, rest).await;
}

/// The whole body of a request whose caller is still who they were when it began.
pub(super) async fn read(request: Request, limit: usize) -> Result<Bytes> {
    let asks_first = asks_first(&request);
    let (mut parts, mut body) = request.into_parts();
    if asks_first && body.size_hint().lower() > limit as u64 {
        return Err(Error::TooLarge(limit));
    }
    let collected = tokio::time::timeout(TIMEOUT, Limited::new(&mut body, limit).collect());
    match collected.await {
        Err(_) => Err(Error::BodyTimeout),
        Ok(Ok(body)) => again::judge(&mut parts).await.map(|()| body.to_bytes()),
        Ok(Err(e)) if e.downcast_ref::<LengthLimitError>().is_some() => {
            drop_rest(&mut body).await;
            Err(Error::TooLarge(limit))
        }
        Ok(Err(_)) => Err(Error::bad_request("body_cut_off", "The body did not arrive whole")),
    }
}
