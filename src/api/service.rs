//! What operators' machines ask: alive, ready, counters.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::{Api, say};
use crate::db::Tx;

/// The process runs.
pub async fn live() -> Response {
    say(200, "alive")
}

/// The database answers and the server is not closing.
pub async fn ready(State(api): State<Api>) -> Response {
    if api.closing.load(Ordering::SeqCst) {
        return say(503, "closing");
    }
    match api.store.read(|tx: &Tx| crate::apps::list(tx).map(|_| ())).await {
        Ok(()) => say(200, "ready"),
        Err(_) => say(503, "the database does not answer"),
    }
}

/// The counters. They hold routes and numbers, nothing about anyone.
pub async fn metrics(State(api): State<Api>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], api.metrics.text()).into_response()
}
