//! `/subscription/*` of the partner API.

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::api::auth::{PartnerKey, Write};
use crate::api::body::JsonObject;
use crate::api::versions::Shapes;
use crate::api::write::Guard;
use crate::caller::Caller;
use crate::db::Tx;
use crate::error::Result;
use crate::subscriptions::{self, Ask};
use crate::users::{IfMatch, User};

use super::shape::Shape;

/// Changes the plan, its start, or how the subscription stands.
pub async fn update(
    State(api): State<Api>,
    key: PartnerKey<Write>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let answer = |user: &User| json!({"message": "update request received", "email": user.email});
    run(api, key, guard, body, |shapes| &shapes.plan, subscriptions::update, answer).await
}

/// Lets the subscription rest.
pub async fn pause(
    State(api): State<Api>,
    key: PartnerKey<Write>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let answer = |user: &User| json!({"message": "pause request received", "email": user.email});
    run(api, key, guard, body, |shapes| &shapes.pause, subscriptions::pause, answer).await
}

/// Ends the subscription after a day. The message's typing error is the documented one (contract A5).
pub async fn cancel(
    State(api): State<Api>,
    key: PartnerKey<Write>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let answer = |user: &User| json!({"message": "Subscription request cancelled successfull", "email": user.email, "identifier": user.id});
    run(api, key, guard, body, |shapes| &shapes.cancel, subscriptions::cancel, answer).await
}

async fn run(
    api: Api,
    key: PartnerKey<Write>,
    guard: Guard,
    body: Map<String, Value>,
    shape: fn(&Shapes) -> &Shape<Ask>,
    operation: fn(&Tx, &Caller, &Ask, &IfMatch) -> Result<User>,
    answer: fn(&User) -> Value,
) -> Result<Response> {
    let ask = shape(key.shapes()).read(&body, &key.context)?;
    let (caller, if_match) = (key.caller, guard.if_match.clone());
    let operation = move |tx: &Tx| operation(tx, &caller, &ask, &if_match).map(|user| (answer(&user), user));
    guard.run(&api, caller, key.date(), body, operation).await
}
