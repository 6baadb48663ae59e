//! What surrounds every handler: the request is given a name, its error is said in the dialect of its address, and it is
//! counted and logged, without anything personal.

use std::panic::AssertUnwindSafe;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::bodies::Bodies;
use super::{Api, Surface, TooLate, Trail, ascii, directory, metrics, oauth, partner, refusals, reply, requests};
use crate::apps::Environment;
use crate::clock::Stopwatch;
use crate::error::Error;
use crate::ui;
use crate::words::Language;

/// What surrounds every handler.
pub(super) async fn surround(
    State(api): State<Api>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let watch = Stopwatch::start();
    let mut surface = Surface::of(request.uri().path());
    let route = path.map_or_else(|| "(none)".to_owned(), |path| path.as_str().to_owned());
    let (method, target) = (metrics::known_method(request.method()), refusals::target(request.uri().path()));
    let trail = Trail::new(api.store.clock().now());
    let request_id = trail.0.id.to_string();
    request.extensions_mut().insert(trail.clone());
    let page = (surface == Surface::Pages).then(|| ui::brand::Visit::of(&api, request.uri(), request.headers()));
    let language = (surface == Surface::Pages).then(|| ui::language(request.uri(), request.headers())).flatten();

    let turned_away = request.extensions().get::<TooLate>().is_some() && surface != Surface::Service;
    let answer = async { if turned_away { Error::Busy.into_response() } else { next.run(request).await } };
    let answered = AssertUnwindSafe(answer).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|_| Error::internal("the handler panicked").into_response());
    let error = fault_of(&mut response);
    if error.is_some() {
        surface = response.extensions().get().copied().unwrap_or(surface);
    }
    if let Some(code) = refusals::code(&trail, surface, method, error.as_ref()) {
        refusals::note(&api, &trail, format!("{method} {route}"), target, code).await;
    }
    if let Some(error) = &error {
        // What is wrong with the database is not asked of the database.
        let place = match &page {
            Some(page) if error.status() < 500 => page.place(&api).await,
            _ => None,
        };
        let reader = match &place {
            Some(place) => (place.language(language), Some(&place.environment)),
            None => (language.unwrap_or_default(), None),
        };
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

/// `//v1/users` is `/v1/users`: clients whose base address ends in a slash send that (contract item 60).
pub(super) fn collapse_slashes(uri: &mut Uri) {
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
