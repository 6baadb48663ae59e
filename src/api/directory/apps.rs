//! `/v1/apps/*` of the directory API, and the keys by which anyone can verify a token.

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::done;
use crate::api::auth::{AppKey, Read};
use crate::api::{Api, reply};
use crate::apps::{AppId, Kind};
use crate::error::{Error, Result};
use crate::tokens;

/// The public key of the caller's environment, PEM (contract A9).
pub async fn public_key(State(api): State<Api>, key: AppKey<Read>, Path(app): Path<String>) -> Result<Response> {
    if app.parse() != Ok(key.caller.app) {
        return Err(Error::Forbidden { code: "not_your_app", message: "This API key belongs to another app" });
    }
    own_public_key(State(api), key).await
}

/// The same, of the app in `X-CLIENT-ID`, where the official Node client looks for it (contract C4).
pub async fn own_public_key(State(api): State<Api>, app: AppKey<Read>) -> Result<Response> {
    let caller = app.caller;
    let key = api.store.read(move |tx| tokens::current_public_key(tx, caller.scope.environment)).await?;
    Ok(reply(&done("Public key", &json!({"kind": "publicKey", "publicKey": key.pem()}))))
}

/// Which keys to show.
#[derive(Deserialize)]
pub struct Which {
    client_id: Option<String>,
    environment: Option<String>,
}

/// The public keys as a JSON Web Key Set (RFC 7517), of all apps or of one.
pub async fn jwks(State(api): State<Api>, Query(which): Query<Which>) -> Result<Response> {
    let unknown = |what| Error::bad_request("unknown_key_set", what);
    let app: Option<AppId> = which
        .client_id
        .map(|id| id.parse())
        .transpose()
        .map_err(|_| unknown("client_id must be the UUID of an app"))?;
    let kind = which
        .environment
        .map(|name| Kind::named(&name).ok_or_else(|| unknown("environment must be sandbox or live")))
        .transpose()?;
    let keys = api.store.read(move |tx| tokens::public_keys(tx, app, kind)).await?;
    let keys: Vec<Value> = keys.iter().map(|(id, key)| key.jwk(id)).collect::<Result<_>>()?;
    Ok(reply(&json!({ "keys": keys })))
}
