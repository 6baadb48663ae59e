//! `/v1/apps/*` of the directory API, and the keys by which anyone can verify a token.

use std::str::FromStr;

use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::users::{nothing, on_user};
use super::{done, items};
use crate::api::auth::{AppKey, Read, Write};
use crate::api::write::Guard;
use crate::api::{Api, reply};
use crate::apps::{AppId, Kind};
use crate::caller::{Caller, Target};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::roles::{self, Role};
use crate::tokens;
use crate::users::{self, IfMatch, User};

/// The public key of the caller's environment, PEM (contract A9).
pub async fn public_key(State(api): State<Api>, key: AppKey<Read>, Path(app): Path<String>) -> Result<Response> {
    of_this_app(key.caller, &app)?;
    own_public_key(State(api), key).await
}

/// The same, of the app in `X-CLIENT-ID`, where the official Node client looks for it (contract C4).
pub async fn own_public_key(State(api): State<Api>, app: AppKey<Read>) -> Result<Response> {
    let caller = app.caller;
    let key = api.store.read(move |tx| tokens::current_public_key(tx, caller.scope.environment)).await?;
    Ok(reply(&done("Public key", &json!({"kind": "publicKey", "publicKey": key.pem()}))))
}

/// The roles that a user can have.
pub async fn user_roles(State(api): State<Api>, key: AppKey<Read>, Path(app): Path<String>) -> Result<Response> {
    let caller = of_this_app(key.caller, &app)?;
    let roles = api.store.read(move |tx| roles::list(tx, caller.scope.environment)).await?;
    let show = |role: &Role| json!({"id": role.id, "name": role.name, "rights": role.rights.words()});
    Ok(reply(&done("Roles", &items("userRole", roles.iter().map(show).collect(), None))))
}

type Change = fn(&Tx, &Caller, Target, &IfMatch) -> Result<User>;

/// Freezes (`0`) or unfreezes (`1`) a user.
pub async fn access_status(
    State(api): State<Api>,
    key: AppKey<Write>,
    Path((app, user, status)): Path<(String, String, String)>,
    guard: Guard,
) -> Result<Response> {
    let caller = of_this_app(key.caller, &app)?;
    let target = Target::from_str(&user)?;
    let (change, message): (Change, _) = match status.as_str() {
        "0" => (users::freeze, "User freezed"),
        "1" => (users::unfreeze, "User unfreezed"),
        _ => return Err(Error::bad_request("access_status", "The access status must be 0 or 1")),
    };
    let change = move |tx: &Tx, caller: &Caller, if_match: &IfMatch| change(tx, caller, target, if_match);
    on_user(&api, guard, caller, Map::new(), (message, nothing), change).await
}

fn of_this_app(caller: Caller, app: &str) -> Result<Caller> {
    if app.parse() != Ok(caller.app) {
        return Err(Error::Forbidden { code: "not_your_app", message: "This API key belongs to another app" });
    }
    Ok(caller)
}

/// Which keys to show.
#[derive(Deserialize)]
pub struct Which {
    client_id: Option<String>,
    environment: Option<String>,
}

/// The public keys as a JSON Web Key Set (RFC 7517), of all apps or of one: the live ones, unless the sandbox's are asked
/// for. Never both: who verifies live tokens must not hold a key that signs others.
pub async fn jwks(State(api): State<Api>, Query(which): Query<Which>) -> Result<Response> {
    let kind = which.environment.as_deref().map_or(Some(Kind::Live), Kind::named);
    let kind = kind.ok_or_else(|| unknown_set("environment must be sandbox or live"))?;
    key_set(&api, which.client_id.as_deref(), kind).await
}

/// The same of the sandbox, where its discovery document has it.
pub async fn sandbox_jwks(State(api): State<Api>, Query(which): Query<Which>) -> Result<Response> {
    key_set(&api, which.client_id.as_deref(), Kind::Sandbox).await
}

fn unknown_set(what: &str) -> Error {
    Error::bad_request("unknown_key_set", what)
}

async fn key_set(api: &Api, app: Option<&str>, kind: Kind) -> Result<Response> {
    let app: Option<AppId> =
        app.map(str::parse).transpose().map_err(|_| unknown_set("client_id must be the UUID of an app"))?;
    let keys = api.store.read(move |tx| tokens::public_keys(tx, app, kind)).await?;
    let keys: Vec<Value> = keys.iter().map(|(id, key)| key.jwk(id)).collect::<Result<_>>()?;
    Ok(reply(&json!({ "keys": keys })))
}
