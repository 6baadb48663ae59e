//! `/users/*` of the partner API.

use axum::extract::State;
use axum::http::header;
use axum::response::Response;
use serde_json::json;

use super::shape::retrieved;
use crate::api::auth::{PartnerKey, Read, Write};
use crate::api::body::JsonObject;
use crate::api::write::Guard;
use crate::api::{Api, ascii, reply};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::users;

/// Enrols a person: makes the user and mails them their link.
pub async fn create(
    State(api): State<Api>,
    key: PartnerKey<Write>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let person = key.shapes().create.read(&body, &key.context)?;
    let (caller, links) = (key.caller, api.links.clone());
    let operation = move |tx: &Tx| {
        let user = users::enrol(tx, &caller, person.clone(), &links)?;
        Ok((json!({"message": "User created successfully", "email": user.email, "identifier": user.id}), user))
    };
    guard.run(&api, caller, key.date(), body, operation).await
}

/// The person with that e-mail address. A read, though it is a POST: it takes a key that may only read, and is not kept
/// under an `Idempotency-Key`.
pub async fn retrieve(State(api): State<Api>, key: PartnerKey<Read>, JsonObject(body): JsonObject) -> Result<Response> {
    let asked = key.shapes().retrieve.read(&body, &key.context)?;
    let email = asked.email.ok_or_else(|| Error::internal("the shape requires the e-mail address"))?;
    let caller = key.caller;
    let user = api.store.write(move |tx| users::retrieve(tx, &caller, &email)).await?;
    let mut response = reply(&retrieved(&key.shapes().retrieved, &user.person));
    response.headers_mut().insert(header::ETAG, ascii(&user.etag()));
    Ok(response)
}

/// Changes the person with that e-mail address and answers the stored state.
pub async fn update(
    State(api): State<Api>,
    key: PartnerKey<Write>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let shape = &key.shapes().update;
    let change = shape.read(&body, &key.context)?;
    let (caller, if_match) = (key.caller, guard.if_match.clone());
    let operation = move |tx: &Tx| {
        let user = users::update_by_email(tx, &caller, change.clone(), &if_match)?;
        let data = shape.show(&user.person);
        Ok((json!({"message": "User updated successfully", "identifier": user.id, "data": data}), user))
    };
    guard.run(&api, caller, key.date(), body, operation).await
}
