//! `/users/*` of the partner API.

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use crate::api::auth::{PartnerKey, Write};
use crate::api::body::JsonObject;
use crate::api::{Api, reply};
use crate::error::Result;
use crate::users;

/// Enrols a person: makes the user and mails them their link.
pub async fn create(State(api): State<Api>, key: PartnerKey<Write>, JsonObject(body): JsonObject) -> Result<Response> {
    let person = key.shapes().create.read(&body, &key.context)?;
    let links = api.links.clone();
    let user = api.store.write(move |tx| users::enrol(tx, &key.caller, person.clone(), &links)).await?;
    api.outbox.wake();
    Ok(reply(&json!({"message": "User created successfully", "email": user.email, "identifier": user.id})))
}

/// Changes the person with that e-mail address and answers the stored state.
pub async fn update(State(api): State<Api>, key: PartnerKey<Write>, JsonObject(body): JsonObject) -> Result<Response> {
    let shape = &key.shapes().update;
    let change = shape.read(&body, &key.context)?;
    let user = api.store.write(move |tx| users::update_by_email(tx, &key.caller, change.clone())).await?;
    let data = shape.show(&user.person);
    Ok(reply(&json!({"message": "User updated successfully", "identifier": user.id, "data": data})))
}
