//! HTTP: a skin over the concepts. Knows requests, dialects and versions; must not know SQL or an engine.
//!
//! [`Server::call`] is the way of every request: give it a name, find its handler, render its error in the dialect
//! of its address, count it and log it without anything personal.

pub mod auth;
pub mod bodies;
pub mod body;
pub mod directory;
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
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Router, http};
use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use url::Url;
use uuid::Uuid;

use crate::admins::{AdminId, Asks, Way};
use crate::apps::{Environment, EnvironmentId};
use crate::audit::tally::Tally;
use crate::caller::Caller;
use crate::clock::{Stopwatch, Timestamp};
use crate::db::Store;
use crate::error::Error;
use crate::glance::Glances;
use crate::keys::{KeyCache, KeyId, KeyUse};
use crate::links::Links;
use crate::mail::transport::Smtp;
use crate::network::Network;
use crate::outbox::worker::Bell;
use crate::users::names::Names;
use crate::words::Language;
use crate::{random, ui};
use bodies::Bodies;
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
    /// Refused attempts of unknown callers, until they are written down.
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
    /// The places for files that are sent.
    pub large_bodies: body::Places,
    /// The newest requests.
    pub requests: requests::Requests,
    /// The counters.
    pub metrics: metrics::Metrics,
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
        let (date, key, asker, body) = Default::default();
        Trail(Arc::new(Steps { id: random::ordered_uuid_v4(now), date, key, asker, body }))
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
            .layer(middleware::from_fn_with_state(Arc::clone(&api), edge))
            .with_state(api);
        Server { router }
    }

    /// Answers one request.
    pub async fn call(&self, mut request: http::Request<Body>) -> Response {
        collapse_slashes(request.uri_mut());
        self.router.clone().oneshot(request).await.into_response()
    }
}

/// What surrounds every handler.
async fn edge(State(api): State<Api>, path: Option<MatchedPath>, mut request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let mut surface = Surface::of(request.uri().path());
    let route = path.map_or_else(|| "(none)".to_owned(), |path| path.as_str().to_owned());
    let (method, target) = (metrics::known_method(request.method()), refusals::target(request.uri().path()));
    let trail = Trail::new(api.store.clock().now());
    let request_id = trail.0.id.to_string();
    request.extensions_mut().insert(trail.clone());
    let page = (surface == Surface::Pages).then(|| request.uri().clone());
    let language = (surface == Surface::Pages).then(|| ui::language(request.uri(), request.headers())).flatten();

    let turned_away = request.extensions().get::<TooLate>().is_some() && surface != Surface::Service;
    let answer = async { if turned_away { Error::Busy.into_response() } else { next.run(request).await } };
    let answered = AssertUnwindSafe(answer).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| Error::internal("the handler panicked").into_response());
    let error = fault_of(&mut response);
    if let Some(error) = &error {
        surface = response.extensions().get().copied().unwrap_or(surface);
        refusals::note(&api, &trail, surface, format!("{method} {route}"), target, error).await;
        // What is wrong with the database is not asked of the database.
        let place = match &page {
            Some(page) if error.status() < 500 => ui::brand::place(&api, page).await,
            _ => None,
        };
        let reader = (language.unwrap_or_default(), place.as_ref());
        response = render(error, surface, reader, &request_id, &response);
    }

    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("request-id"), ascii(&request_id));
    if let Some(date) = trail.0.date.get() {
        headers.insert(HeaderName::from_static("usher-version"), ascii(date.as_str()));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));

    let (status, took) = (response.status().as_u16(), watch.elapsed());
    api.metrics.note(method, &route, status, took);
    let key = trail.0.key.get().copied();
    let code = error.as_ref().map(Error::code);
    let request = requests::Request {
        id: trail.id(),
        at: api.store.clock().now(),
        method,
        route: route.clone(),
        status,
        code,
        key,
        environment: trail.environment(),
        date: trail.0.date.get().map(|date| date.as_str()),
        took,
    };
    // The dashboard would push out what is looked for in it, and so would whoever asks all day whether the server lives.
    if !matches!(surface, Surface::Admin | Surface::Service)
        && !["/assets", "/brand"].iter().any(|loaded| request.route.starts_with(loaded))
    {
        let (id, sent) = (request.id, trail.take_body());
        if api.requests.note(request) && surface.is_documented() {
            api.requests.keep(id, Bodies::of(sent, &mut response, error.is_some()).await);
        }
    }
    let key = key.map(|key| key.to_string());
    tracing::info!(
        method,
        route,
        status,
        request_id,
        key,
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        code,
        "request"
    );
    if let Some(what) = error.as_ref().and_then(Error::for_log) {
        tracing::error!(request_id, what, "internal error");
    }
    response
}

/// The error that an answer stands for: ours, or one that the framework made by itself.
fn fault_of(response: &mut Response) -> Option<Error> {
    if let Some(error) = response.extensions_mut().remove::<Error>() {
        return Some(error);
    }
    let ours =
        response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| !kind.as_bytes().starts_with(b"text/plain"));
    match response.status() {
        StatusCode::BAD_REQUEST if !ours => {
            Some(Error::bad_request("malformed_request", "The address could not be read"))
        }
        StatusCode::INTERNAL_SERVER_ERROR => Some(Error::internal("the framework failed")),
        _ => None,
    }
}

fn render(
    error: &Error,
    surface: Surface,
    (language, place): (Language, Option<&Environment>),
    request_id: &str,
    from: &Response,
) -> Response {
    let (status, mut response) = match surface {
        Surface::Partner => (partner::status(error), reply(&partner::render(error, request_id))),
        Surface::Directory => (directory::status(error), reply(&directory::render(error))),
        Surface::Extended => (error.status(), reply(&directory::render(error))),
        Surface::OAuth => (oauth::status(error), reply(&oauth::render(error))),
        Surface::Pages => (error.status(), ui::error_page(error, language, place, request_id)),
        Surface::Admin => (ui::admin::status(error), ui::admin::error_page(error, request_id)),
        Surface::Service => (error.status(), reply(&partner::render(error, request_id))),
    };
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for name in
        [header::ALLOW, header::VARY, header::ACCESS_CONTROL_ALLOW_ORIGIN, header::ACCESS_CONTROL_EXPOSE_HEADERS]
    {
        if let Some(value) = from.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    let wait = match error {
        Error::Busy
        | Error::Locked
        | Error::StillRunning
        | Error::Conflict
        | Error::Unavailable(_)
        | Error::DiskFailed(_)
        | Error::StorageFull => Some("1"),
        Error::TooMany(_) => Some("3600"),
        _ => None,
    };
    if let Some(seconds) = wait {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    if surface == Surface::OAuth && matches!(error, Error::Unauthenticated { .. }) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(oauth::CHALLENGE));
    }
    if matches!(error, Error::BodyTimeout | Error::TooLarge(_)) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

pub(crate) fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// `//v1/users` is `/v1/users`: clients whose base address ends in a slash send that (contract item 60).
fn collapse_slashes(uri: &mut Uri) {
    if !uri.path().contains("//") {
        return;
    }
    let mut path = String::with_capacity(uri.path().len());
    for c in uri.path().chars() {
        if c != '/' || !path.ends_with('/') {
            path.push(c);
        }
    }
    if let Some(query) = uri.query() {
        path = format!("{path}?{query}");
    }
    if let Ok(collapsed) = path.parse() {
        *uri = collapsed;
    }
}

/// A small JSON answer of the service surface.
pub(crate) fn say(status: u16, what: &str) -> Response {
    let mut response = reply(&json!({ "status": what }));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response
}
