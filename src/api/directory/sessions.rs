//! `/v1/users/{userId}/sessions` of the directory API: who is signed in where, and an end to it.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::done;
use crate::api::auth::{AppCaller, Read, Write};
use crate::api::write::Guard;
use crate::api::{Api, reply};
use crate::audit::{Action, Changes};
use crate::caller::{Caller, Name, Target};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::roles::Right;
use crate::sessions::{self, Session};
use crate::users::{self, IfMatch};

/// The sessions that work, newest first.
pub async fn list(State(api): State<Api>, app: AppCaller<Read>, Path(target): Path<String>) -> Result<Response> {
    let (target, caller, own): (Target, Caller, _) = (target.parse()?, app.caller, app.caller.session);
    let found = move |tx: &Tx| sessions::of_user(tx, users::get(tx, &caller, &Name::Target(target))?.id);
    let found = api.store.read(found).await?;
    let items: Vec<Value> = found.iter().map(|session| show(session, own == Some(session.id))).collect();
    Ok(reply(&done("Sessions", &json!({"kind": "session", "itemsLength": items.len(), "items": items}))))
}

/// Ends all of them.
pub async fn revoke_all(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Path(target): Path<String>,
    guard: Guard,
) -> Result<Response> {
    let (target, caller): (Target, Caller) = (target.parse()?, app.caller);
    let revoke = move |tx: &Tx| {
        let user = users::to_change(tx, &caller, target, Right::DeleteUsers, &IfMatch::Anything)?;
        sessions::revoke_all(tx, &user, caller.origin())?;
        Ok((done("Sessions ended", &Value::Null), ended(Action::SessionsEnded)))
    };
    guard.run(&api, caller, "", Map::new(), revoke).await
}

/// Ends one.
pub async fn revoke(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Path((target, session)): Path<(String, String)>,
    guard: Guard,
) -> Result<Response> {
    let (target, caller): (Target, Caller) = (target.parse()?, app.caller);
    let id = session.parse().map_err(|_| Error::bad_request("malformed_id", "The session's id must be a UUID"))?;
    let revoke = move |tx: &Tx| {
        let user = users::to_change(tx, &caller, target, Right::DeleteUsers, &IfMatch::Anything)?;
        sessions::revoke(tx, user.id, id, caller.origin())?;
        Ok((done("Session ended", &Value::Null), ended(Action::SessionEnded)))
    };
    guard.run(&api, caller, "", Map::new(), revoke).await
}

/// What a rehearsal tells.
fn ended(action: Action) -> Changes {
    Changes(json!({"action": action, "fields": {}, "health": []}))
}

/// `current` is that of the token that asks.
fn show(session: &Session, current: bool) -> Value {
    json!({
        "kind": "session", "id": session.id, "createdAt": session.created_at, "refreshedAt": session.refreshed_at,
        "expiresAt": session.expires_at, "current": current,
    })
}
