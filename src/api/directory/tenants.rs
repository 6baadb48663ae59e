//! `/v1/tenants/*` of the directory API.

use axum::extract::{Path, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{done, users};
use crate::api::auth::{AppCaller, Read, Write};
use crate::api::body::JsonObject;
use crate::api::write::Guard;
use crate::api::{Api, reply};
use crate::caller::{Actor, Caller, Name, Target};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::field::judge;
use crate::place::MOST;
use crate::roles::Right;
use crate::tenants::{self, Facts, Tenant, TenantId};
use crate::users::{List, User};

/// A tenant by UUID, or by `me` that of the person who asks, with the users that the caller may see.
pub async fn get(State(api): State<Api>, app: AppCaller<Read>, Path(id): Path<String>) -> Result<Response> {
    let (id, caller) = (named(&id)?, app.caller);
    let found = move |tx: &Tx| {
        let tenant = tenants::resolve(tx, &caller, id)?;
        let users = seen(tx, &caller, &tenant)?;
        Ok((tenant, users))
    };
    let (tenant, users) = api.store.read(found).await?;
    let mut shown = show(&caller, &tenant);
    shown["users"] = users.iter().map(|user| users::show(&caller, user)).collect();
    Ok(reply(&done("Tenant found", &shown)))
}

/// The newest users of a tenant, as many as a page of a list has; a person without the right to see others sees themselves.
fn seen(tx: &Tx, caller: &Caller, tenant: &Tenant) -> Result<Vec<User>> {
    if caller.rights.has(Right::ReadUsers) {
        let list = List { tenant: Some(tenant.id), limit: MOST, ..List::default() };
        return Ok(crate::users::list(tx, caller, &list)?.0);
    }
    match caller.actor {
        Actor::Person(_) => crate::users::get(tx, caller, &Name::Target(Target::Me)).map(|me| vec![me]),
        _ => Ok(Vec::new()),
    }
}

/// Changes a tenant: its fields below `tenant`, as the example has it, or the body itself, as the table has it
/// (contract item 61).
pub async fn update(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Path(id): Path<String>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let (id, caller) = (named(&id)?, app.caller);
    let change = read(&body, &caller, &api)?;
    let name = change.name.clone();
    let attempt = move |tx: &Tx, caller: &Caller| tenants::count_attempt(tx, caller, id, name.as_ref());
    users::count(&api, &guard, caller, attempt).await?;
    let operation = move |tx: &Tx| {
        let changes = tenants::update(tx, &caller, id, change.clone())?;
        Ok((done("Tenant updated", &Value::Null), changes))
    };
    guard.run(&api, caller, "", body, operation).await
}

fn read(body: &Map<String, Value>, caller: &Caller, api: &Api) -> Result<Facts> {
    let fields = match body.get("tenant") {
        None => body,
        Some(Value::Object(inner)) => inner,
        Some(_) => return Err(Error::bad_request("tenant_not_object", "`tenant` must be an object")),
    };
    let context = caller.context(api.store.clock().now());
    let (mut change, mut faults) = (Facts::default(), Vec::new());
    for wire in Facts::fields() {
        wire.take(fields, &context, &mut change, &mut faults);
    }
    judge(change, faults)
}

/// `None` is `me`.
fn named(id: &str) -> Result<Option<TenantId>> {
    match id {
        "me" => Ok(None),
        id if id.len() == 36 => id.parse().map(Some).map_err(|_| malformed()),
        _ => Err(malformed()),
    }
}

fn malformed() -> Error {
    Error::bad_request("malformed_id", "The id in the path must be a UUID, or `me` with an access token")
}

/// The tenant object (contract A9), as far as Usher knows tenants: nothing of payments. What the caller's token does not open is
/// null: it may be somebody's home.
pub(super) fn show(caller: &Caller, tenant: &Tenant) -> Value {
    let mut shown = json!({"kind": "tenant", "id": tenant.id});
    for (name, value) in tenant.facts.show() {
        shown[name.as_str()] = if caller.facts.open(&name) { value } else { Value::Null };
    }
    shown["createdAt"] = json!(tenant.created_at);
    shown
}
