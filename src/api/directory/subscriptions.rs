//! `/v1/users/{userId}/subscription` of the directory API: how a user's subscription stands, for who has heard of it by a webhook.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::Response;
use serde_json::{Value, json};

use super::done;
use crate::api::auth::{AppKey, Read};
use crate::api::{Api, ascii, reply};
use crate::caller::{Caller, Name};
use crate::db::Tx;
use crate::error::Result;
use crate::subscriptions;
use crate::users;

/// The plan, the days and how it stands today. For keys only: tokens are told no more than that something about it changed.
pub async fn get(State(api): State<Api>, key: AppKey<Read>, Path(name): Path<String>) -> Result<Response> {
    let (name, caller): (Name, Caller) = (name.parse()?, key.caller);
    let found = move |tx: &Tx| {
        let user = users::get(tx, &caller, &name)?;
        let mut shown = json!({"kind": "subscription", "userId": user.id});
        if let (Some(shown), Value::Object(standing)) =
            (shown.as_object_mut(), subscriptions::standing(&user, tx.now().day()))
        {
            shown.extend(standing);
        }
        Ok((user.etag(), shown))
    };
    let (etag, shown) = api.store.read(found).await?;
    let mut response = reply(&done("Subscription", &shown));
    response.headers_mut().insert(header::ETAG, ascii(&etag));
    Ok(response)
}
