//! `/v1/webhooks/*`: the webhooks of the key's environment, or of the tenant that it is bound to.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::done;
use crate::api::auth::{AppKey, Write};
use crate::api::body::JsonObject;
use crate::api::versions::ApiDate;
use crate::api::write::Guard;
use crate::api::{Api, reply};
use crate::audit::Changes;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, FieldError, Result};
use crate::field::judge;
use crate::users::Email;
use crate::webhooks::{
    self, Address, Attempt, Change, Delivery, DeliveryId, Endpoint, EndpointId, EventId, Kind, New, OVERLAP, Replayed,
    Which,
};

/// How many deliveries are shown at the most.
const SHOWN: i64 = 100;
/// The longest overlap of old keys with new ones, in seconds: thirty days.
const LONGEST_OVERLAP: u64 = 30 * 86_400;

/// The webhooks that the key sees.
pub async fn list(State(api): State<Api>, app: AppKey<Write>) -> Result<Response> {
    let scope = app.caller.scope;
    let all = api.store.read(move |tx| webhooks::of_scope(tx, scope)).await?;
    let items = all.iter().map(show).collect::<Result<Vec<_>>>()?;
    Ok(reply(&done("Webhooks found", &json!({"kind": "webhooks", "itemsLength": items.len(), "items": items}))))
}

/// Makes a webhook. Its secret is in this answer and in no other.
pub async fn create(
    State(api): State<Api>,
    app: AppKey<Write>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let (caller, change) = (app.caller, read(&body, true)?);
    let operation = move |tx: &Tx| {
        let change = change.clone();
        let new = New {
            address: change.address.ok_or(Error::NoWebhook)?,
            name: change.name.unwrap_or_default(),
            events: change.events.unwrap_or_default(),
            api_version: change.api_version.unwrap_or_else(|| ApiDate::NEWEST.as_str().to_owned()),
            contact: change.contact.flatten(),
        };
        let endpoint = webhooks::create(tx, caller.scope, caller.origin(), &new)?;
        Ok((done("Webhook created", &with_secret(&endpoint)?), changes(None, Some(&endpoint))?))
    };
    guard.run(&api, caller, "", body, operation).await
}

/// One webhook.
pub async fn get(State(api): State<Api>, app: AppKey<Write>, Path(id): Path<String>) -> Result<Response> {
    let (id, scope) = (named(&id)?, app.caller.scope);
    let endpoint = api.store.read(move |tx| webhooks::get(tx, scope, id)).await?;
    Ok(reply(&done("Webhook found", &show(&endpoint)?)))
}

/// Changes a webhook: what is sent of it.
pub async fn update(
    State(api): State<Api>,
    app: AppKey<Write>,
    Path(id): Path<String>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let (id, caller, change) = (named(&id)?, app.caller, read(&body, false)?);
    let operation = move |tx: &Tx| {
        let before = webhooks::get(tx, caller.scope, id)?;
        let endpoint = webhooks::change(tx, caller.origin(), id, change.clone())?;
        Ok((done("Webhook updated", &show(&endpoint)?), changes(Some(&before), Some(&endpoint))?))
    };
    guard.run(&api, caller, "", body, operation).await
}

/// Removes a webhook with all that was sent to it.
pub async fn remove(
    State(api): State<Api>,
    app: AppKey<Write>,
    Path(id): Path<String>,
    guard: Guard,
) -> Result<Response> {
    let (id, caller) = (named(&id)?, app.caller);
    let operation = move |tx: &Tx| {
        let endpoint = webhooks::get(tx, caller.scope, id)?;
        webhooks::remove(tx, caller.origin(), &endpoint)?;
        Ok((done("Webhook removed", &Value::Null), changes(Some(&endpoint), None)?))
    };
    guard.run(&api, caller, "", Map::new(), operation).await
}

/// Gives a webhook new keys; the old ones sign beside them for a while.
pub async fn rotate(
    State(api): State<Api>,
    app: AppKey<Write>,
    Path(id): Path<String>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let (id, caller) = (named(&id)?, app.caller);
    let overlap = match body.get("overlapSeconds").map(Value::as_u64) {
        None => OVERLAP,
        Some(Some(seconds @ 0..=LONGEST_OVERLAP)) => Duration::from_secs(seconds),
        Some(_) => return refuse("overlapSeconds", "range", "must be a whole number of seconds, 30 days at the most"),
    };
    let operation = move |tx: &Tx| {
        webhooks::get(tx, caller.scope, id)?;
        let endpoint = webhooks::rotate(tx, caller.origin(), id, overlap)?;
        Ok((done("Webhook rotated", &with_secret(&endpoint)?), changes(None, None)?))
    };
    guard.run(&api, caller, "", body, operation).await
}

/// Sends a webhook a test.
pub async fn test(
    State(api): State<Api>,
    app: AppKey<Write>,
    Path(id): Path<String>,
    guard: Guard,
) -> Result<Response> {
    let (id, caller) = (named(&id)?, app.caller);
    let operation = move |tx: &Tx| {
        let endpoint = webhooks::get(tx, caller.scope, id)?;
        let event = webhooks::test(tx, caller.origin(), &endpoint)?.webhook_id();
        Ok((done("Test queued", &json!({"kind": "event", "id": event})), changes(None, None)?))
    };
    guard.run(&api, caller, "", Map::new(), operation).await
}

/// Sends a webhook one event again, or all of a time range.
pub async fn replay(
    State(api): State<Api>,
    app: AppKey<Write>,
    Path(id): Path<String>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let (id, caller, which) = (named(&id)?, app.caller, which(&body, api.store.clock().now())?);
    let operation = move |tx: &Tx| {
        let endpoint = webhooks::get(tx, caller.scope, id)?;
        let Replayed { queued, next } = webhooks::replay(tx, caller.origin(), &endpoint, which)?;
        let answer = json!({"kind": "replay", "queued": queued, "next": next});
        Ok((done("Replay queued", &answer), changes(None, None)?))
    };
    guard.run(&api, caller, "", body, operation).await
}

/// The newest deliveries to a webhook.
pub async fn deliveries(State(api): State<Api>, app: AppKey<Write>, Path(id): Path<String>) -> Result<Response> {
    let (id, scope) = (named(&id)?, app.caller.scope);
    let read = move |tx: &Tx| {
        webhooks::get(tx, scope, id)?;
        webhooks::deliveries(tx, id, SHOWN)
    };
    let items: Vec<Value> = api.store.read(read).await?.iter().map(show_delivery).collect();
    Ok(reply(&done("Deliveries found", &json!({"kind": "deliveries", "itemsLength": items.len(), "items": items}))))
}

/// Every logged try of a delivery.
pub async fn attempts(
    State(api): State<Api>,
    app: AppKey<Write>,
    Path((id, delivery)): Path<(String, String)>,
) -> Result<Response> {
    let (id, scope) = (named(&id)?, app.caller.scope);
    let delivery: DeliveryId = delivery.parse().map_err(|_| malformed())?;
    let read = move |tx: &Tx| {
        let endpoint = webhooks::get(tx, scope, id)?;
        webhooks::attempts_at(tx, &endpoint, delivery)
    };
    let items: Vec<Value> = api.store.read(read).await?.iter().map(show_attempt).collect();
    Ok(reply(&done("Attempts found", &json!({"kind": "attempts", "itemsLength": items.len(), "items": items}))))
}

fn named(id: &str) -> Result<EndpointId> {
    id.parse().map_err(|_| malformed())
}

fn malformed() -> Error {
    Error::bad_request("malformed_id", "The id in the path must be a UUID")
}

fn refuse<T>(field: &str, code: &'static str, rule: &str) -> Result<T> {
    Err(Error::Invalid(vec![FieldError { field: field.to_owned(), code, message: format!("{field} {rule}") }]))
}

/// What a body says of a webhook. A new one needs `url`.
fn read(body: &Map<String, Value>, is_new: bool) -> Result<Change> {
    let (mut change, mut faults) = (Change::default(), Vec::new());
    let mut fault = |field: &str, code, rule: &str| {
        faults.push(FieldError { field: field.to_owned(), code, message: format!("{field} {rule}") });
    };
    match body.get("url").map(|url| url.as_str().map(Address::new)) {
        None if is_new => fault("url", "required", "is required"),
        None => {}
        Some(None) => fault("url", "type", "must be a string"),
        Some(Some(Err(rule))) => fault("url", "format", rule),
        Some(Some(Ok(address))) => change.address = Some(address),
    }
    match body.get("name").map(Value::as_str) {
        None => {}
        Some(Some(name)) if name.chars().count() <= 256 && !name.chars().any(char::is_control) => {
            change.name = Some(name.to_owned());
        }
        Some(_) => fault("name", "format", "must be one line of at most 256 characters"),
    }
    if let Some(events) = body.get("events") {
        let kinds = events.as_array().map(|all| all.iter().map(|one| one.as_str().and_then(Kind::named)).collect());
        match kinds {
            Some(Some(kinds)) => change.events = Some(kinds),
            _ => fault("events", "enum", "must be a list of kinds of events; the empty one means all"),
        }
    }
    match body.get("apiVersion").map(|date| date.as_str().map(ApiDate::named)) {
        None => {}
        Some(Some(Ok(date))) => change.api_version = Some(date.as_str().to_owned()),
        Some(_) => fault("apiVersion", "enum", "must be a date of the API"),
    }
    match body.get("contact") {
        None => {}
        Some(Value::Null) => change.contact = Some(None),
        Some(contact) => match contact.as_str().and_then(Email::new) {
            None => fault("contact", "format", "must be an e-mail address, or null"),
            contact => change.contact = Some(contact),
        },
    }
    match body.get("enabled").map(Value::as_bool) {
        None => {}
        Some(Some(enabled)) => change.enabled = Some(enabled),
        Some(None) => fault("enabled", "type", "must be true or false"),
    }
    judge(change, faults)
}

fn which(body: &Map<String, Value>, now: Timestamp) -> Result<Which> {
    let time = |name: &str| match body.get(name) {
        None => Ok(None),
        Some(time) => match time.as_str().and_then(Timestamp::parse) {
            None => refuse(name, "format", "must be a time like 2026-11-20T08:00:00Z"),
            time => Ok(time),
        },
    };
    match (body.get("eventId").map(Value::as_str), time("since")?) {
        (Some(Some(id)), None) => Ok(Which::Event(EventId::parse(id)?)),
        (None, Some(since)) => Ok(Which::Between(since, time("until")?.unwrap_or(now))),
        _ => Err(Error::bad_request("what_to_replay", "Send either eventId, or since and maybe until")),
    }
}

/// What of a webhook was changed, without its secrets.
fn changes(before: Option<&Endpoint>, after: Option<&Endpoint>) -> Result<Changes> {
    let (before, after) = (before.map(show).transpose()?, after.map(show).transpose()?);
    let fields = if before == after { json!({}) } else { json!({"webhook": [before, after]}) };
    Ok(Changes(json!({ "fields": fields, "health": [] })))
}

fn show(endpoint: &Endpoint) -> Result<Value> {
    let keys = endpoint.keys.iter().map(webhooks::sign::Keys::public_key).collect::<Result<Vec<_>>>()?;
    Ok(json!({
        "kind": "webhook", "id": endpoint.id, "name": endpoint.name, "url": endpoint.address.as_str(),
        "events": endpoint.events, "apiVersion": endpoint.api_version, "tenantId": endpoint.tenant,
        "publicKeys": keys, "createdAt": endpoint.created_at, "enabled": endpoint.disabled_at.is_none(),
        "disabledAt": endpoint.disabled_at, "disabledBecause": endpoint.disabled_because,
        "contact": endpoint.contact.as_ref().map(Email::address),
    }))
}

fn with_secret(endpoint: &Endpoint) -> Result<Value> {
    let mut shown = show(endpoint)?;
    shown["secret"] = json!(endpoint.keys.first().ok_or(Error::Integrity)?.secret().expose());
    Ok(shown)
}

fn show_delivery(delivery: &Delivery) -> Value {
    json!({
        "kind": "delivery", "id": delivery.id, "eventId": delivery.event.webhook_id(), "type": delivery.kind,
        "userId": delivery.user, "state": delivery.state, "attempts": delivery.attempts,
        "createdAt": delivery.created_at, "dueAt": delivery.due_at, "failure": delivery.failure,
    })
}

fn show_attempt(attempt: &Attempt) -> Value {
    json!({
        "kind": "attempt", "createdAt": attempt.created_at, "status": attempt.status, "millis": attempt.millis,
        "words": attempt.words,
    })
}
