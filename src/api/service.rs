//! What machines ask and tell: alive, ready, counters, and what Stripe says.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::auth::text;
use super::body::Raw;
use super::{Api, reply, say};
use crate::billing;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::db::backup::LastBackup;
use crate::error::{Error, Result};
use crate::outbox;

/// How long the database may take to be ready.
const READY: Duration = Duration::from_secs(2);

/// The process runs.
pub async fn live() -> Response {
    say(200, "alive")
}

/// The database answers and takes writes, and the server is not closing.
pub async fn ready(State(api): State<Api>) -> Response {
    if api.closing.load(Ordering::SeqCst) {
        return say(503, "closing");
    }
    let look = api.store.read(|tx: &Tx| {
        tx.may_write()?;
        crate::apps::list(tx).map(drop)
    });
    let looked =
        tokio::time::timeout(READY, look).await.unwrap_or_else(|_| Err(Error::Unavailable("it took too long".into())));
    let was_ready = api.was_ready.swap(looked.is_ok(), Ordering::SeqCst);
    match looked {
        Ok(()) => {
            if !was_ready {
                tracing::info!("requests can be answered again");
            }
            say(200, "ready")
        }
        Err(e) => {
            if was_ready {
                tracing::warn!(code = e.code(), what = e.for_log(), "requests cannot be answered");
            }
            say(503, "the database does not answer or takes no writes")
        }
    }
}

/// The counters. They hold routes and numbers, nothing about anyone.
pub async fn metrics(State(api): State<Api>) -> Response {
    let waits = tokio::time::timeout(READY, api.store.read(outbox::longest_wait));
    let backup = tokio::time::timeout(READY, api.store.last_backup());
    let (waits, backup) = tokio::join!(waits, backup);
    api.metrics.note_wait(waits.ok().and_then(Result::ok));
    let backup = backup.ok().and_then(Result::ok).unwrap_or(LastBackup::Elsewhere);
    api.metrics.note_backup(age(backup, api.store.clock().now()));
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], api.metrics.text()).into_response()
}

/// In seconds, if that is known.
fn age(backup: LastBackup, now: Timestamp) -> Option<f64> {
    match backup {
        LastBackup::Elsewhere => None,
        LastBackup::Never => Some(f64::INFINITY),
        LastBackup::At(at) => {
            Some(Duration::from_millis(u64::try_from(now.0 - at.0).unwrap_or_default()).as_secs_f64())
        }
    }
}

/// An event that Stripe has signed. It is genuine or it is refused; which account it is for does not show.
pub async fn stripe(
    State(api): State<Api>,
    Path(account): Path<String>,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response> {
    let refuse = || Error::bad_request("not_genuine", "This is not a message that Stripe has signed for this account");
    let id = account.parse().map_err(|_| refuse())?;
    let signature = text(&headers, "stripe-signature")?.unwrap_or_default().to_owned();
    let account = api.store.read(move |tx| billing::by_id(tx, id)).await?.ok_or_else(refuse)?;
    if !billing::signature::is_genuine(&account, &signature, &body, api.store.clock().now()) {
        return Err(refuse());
    }
    let forgot = api.store.write(move |tx| billing::signature::take(tx, &account, &body)).await?;
    Ok(reply(&json!({ "received": true, "customerForgotten": forgot })))
}
