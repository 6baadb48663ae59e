//! HTTP: a skin over the concepts. Knows requests, dialects and versions; must not know SQL or an engine.
//!
//! [`Server::call`] is the way of every request: [`edge`] is what surrounds a handler.

pub(crate) mod again;
pub mod auth;
pub mod bodies;
pub mod body;
pub mod directory;
mod edge;
pub mod metrics;
pub mod oauth;
pub mod openapi;
pub mod partner;
mod refusals;
pub mod requests;
pub mod routes;
pub mod service;
pub mod upload;
pub mod versions;
pub mod write;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::Body;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::{Router, http};
use bytes::Bytes;
use serde_json::{Value, json};
use tower::ServiceExt;
use url::Url;
use uuid::Uuid;

use crate::admins::{AdminId, Asks, Way};
use crate::apps::EnvironmentId;
use crate::audit::tally::Tally;
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::db::Store;
use crate::error::Error;
use crate::glance::Glances;
use crate::keys::{KeyCache, KeyId, KeyUse};
use crate::limits::Limit;
use crate::links::Links;
use crate::mail::transport::Smtp;
use crate::network::Network;
use crate::outbox::worker::Bell;
use crate::random;
use crate::users::names::Names;
use versions::ApiDate;

/// What handlers work with.
pub type Api = Arc<Services>;

/// The parts of a running Usher that requests reach.
pub struct Services {
    /// The records.
    pub store: Store,
    /// What links are made with.
    pub links: Links,
    /// Wakes the outbox's worker.
    pub outbox: Bell,
    /// Which keys were looked up a moment ago.
    pub known_keys: KeyCache,
    /// Which keys were used, until it is written down.
    pub key_use: KeyUse,
    /// Refused attempts: which of unknown callers may be noted, and those that were not until they are written down.
    pub refusals: Tally,
    /// Who has asked for a link to the dashboard, until it is decided.
    pub admin_asks: Asks,
    /// The numbers of the dashboard's first pages, for a minute.
    pub glances: Glances,
    /// What people are called, where an administrator searches.
    pub names: Names,
    /// Whether there is a mail server.
    pub sends_mail: bool,
    /// The mail server, for a test.
    pub smtp: Option<Arc<Smtp>>,
    /// The proxies whose word about a client's address counts.
    pub proxies: Vec<Network>,
    /// How many sign-ins a network may begin, if that is limited.
    pub sign_ins_per_network: Option<Limit>,
    /// The places for files that are sent.
    pub large_bodies: body::Places,
    /// The newest requests.
    pub requests: requests::Requests,
    /// The counters.
    pub metrics: metrics::Metrics,
    /// Whether the server was ready when that was last asked, so that a turn is logged once.
    pub was_ready: std::sync::atomic::AtomicBool,
    /// Whether the server is on its way out.
    pub closing: std::sync::atomic::AtomicBool,
}

impl Services {
    /// How a link to the dashboard comes to an administrator.
    pub fn admin_way(&self) -> Way {
        if self.sends_mail { Way::Mail } else { Way::Tell }
    }

    /// Has a link to the dashboard come to its administrator that was just made: by the operator, or by the mail beside it.
    pub fn pass_on(&self, link: Option<Url>) {
        match link {
            Some(link) => self.admin_asks.tell(link),
            None => self.outbox.wake(),
        }
    }
}

/// Who is at the other end of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// What is known of a request besides its answer: shared by the edge and the extractors.
#[derive(Clone)]
pub struct Trail(Arc<Steps>);

struct Steps {
    id: Uuid,
    date: OnceLock<ApiDate>,
    key: OnceLock<KeyId>,
    asker: OnceLock<Asker>,
    refused: OnceLock<&'static str>,
    body: Mutex<Option<Bytes>>,
}

/// Whose credential a request came with.
#[derive(Clone, Copy)]
enum Asker {
    /// It works.
    Caller(Caller),
    /// It worked once.
    Ended(Caller),
    /// It works, on the dashboard.
    Admin(AdminId),
}

impl Trail {
    /// The id begins with the time, so that what a request did is found by it without an index.
    fn new(now: Timestamp) -> Trail {
        let (date, key, asker, refused, body) = Default::default();
        Trail(Arc::new(Steps { id: random::ordered_uuid_v4(now), date, key, asker, refused, body }))
    }

    /// The request's id.
    pub fn id(&self) -> Uuid {
        self.0.id
    }

    fn note_date(&self, date: ApiDate) {
        let _ = self.0.date.set(date);
    }

    fn note_key(&self, key: KeyId) {
        let _ = self.0.key.set(key);
    }

    fn note_asker(&self, asker: Asker) {
        let _ = self.0.asker.set(asker);
    }

    fn note_body(&self, body: Bytes) {
        *self.0.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    /// The body of the request, which is kept until it is answered and no longer.
    fn take_body(&self) -> Option<Bytes> {
        self.0.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The environment of whoever asks, if they have proved who they are.
    fn environment(&self) -> Option<EnvironmentId> {
        match self.0.asker.get()? {
            Asker::Caller(caller) | Asker::Ended(caller) => Some(caller.scope.environment),
            Asker::Admin(_) => None,
        }
    }

    /// What was sent is refused by a page of its own, where no error tells of it.
    pub(crate) fn note_refused(&self, code: &'static str) {
        let _ = self.0.refused.set(code);
    }

    /// An administrator asks.
    pub(crate) fn note_admin(&self, admin: AdminId) {
        self.note_asker(Asker::Admin(admin));
    }
}

/// Marks a request that came when the server was already on its way out.
#[derive(Clone)]
pub struct TooLate;

/// Who a part of the address space speaks to, and so how its errors look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// Partners: `/users/*`.
    Partner,
    /// Apps' servers and people with tokens: `/v1/*`, also under `/api`.
    Directory,
    /// What that has beyond the documented one, in the same envelope: here 404 and 409 are what they are.
    Extended,
    /// Apps that sign people in: tokens and what is known of the person (RFC 6749, OpenID Connect).
    OAuth,
    /// People in a browser.
    Pages,
    /// Administrators in a browser: the dashboard.
    Admin,
    /// Operators and machines: health, keys, documents.
    Service,
}

impl Surface {
    /// Whether apps and partners send and get JSON there, as the documents have it.
    fn is_documented(self) -> bool {
        matches!(self, Surface::Partner | Surface::Directory | Surface::Extended)
    }

    fn of(path: &str) -> Surface {
        let below =
            |prefix: &&str| path.strip_prefix(*prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let starts = |prefixes: &[&str]| prefixes.iter().any(below);
        if starts(&["/oauth", "/userinfo", "/v1/tokens", "/api/v1/tokens"]) {
            Surface::OAuth
        } else if starts(&["/v1", "/api/v1"]) {
            Surface::Directory
        } else if starts(&["/users", "/subscription"]) {
            Surface::Partner
        } else if starts(&["/admin"]) {
            Surface::Admin
        } else if starts(&[
            "/links",
            "/sign-in",
            "/authorize",
            "/profile",
            "/sign-out",
            "/brand",
            "/assets",
            "/theme",
            "/docs",
        ]) || path == "/"
        {
            Surface::Pages
        } else {
            Surface::Service
        }
    }
}

/// An answer with a JSON body. One write with its length: the official Node client needs it (contract C4).
pub fn reply(body: &Value) -> Response {
    reply_text(body.to_string())
}

/// An answer with a body that is JSON already.
fn reply_text(json: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], json).into_response()
}

/// An error travels as itself, so that the edge can say it in the right dialect.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The HTTP side of Usher.
#[derive(Clone)]
pub struct Server {
    router: Router,
}

impl Server {
    /// All routes over `api`.
    pub fn new(api: Api) -> Server {
        let router = routes::router()
            .fallback(|| async { Error::NoRoute })
            .method_not_allowed_fallback(routes::method_not_allowed)
            .layer(middleware::from_fn_with_state(Arc::clone(&api), edge::surround))
            .with_state(api);
        Server { router }
    }

    /// Answers one request.
    pub async fn call(&self, mut request: http::Request<Body>) -> Response {
        edge::collapse_slashes(request.uri_mut());
        self.router.clone().oneshot(request).await.into_response()
    }
}

pub(crate) fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// A small JSON answer of the service surface.
pub(crate) fn say(status: u16, what: &str) -> Response {
    let mut response = reply(&json!({ "status": what }));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response
}
