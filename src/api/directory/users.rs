//! `/v1/users/*` of the directory API.

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::done;
use crate::api::Api;
use crate::api::auth::{AppCaller, Read, Write};
use crate::api::body::JsonObject;
use crate::api::write::Guard;
use crate::api::{ascii, reply};
use crate::caller::{Caller, Name, Target};
use crate::db::Tx;
use crate::error::{Error, FieldError, Result};
use crate::field::{Context, Wire, judge};
use crate::users::{self, IDENTITY, Person, Profile, Status, User};

/// `?test=`
#[derive(Deserialize)]
pub struct Test {
    test: Option<String>,
}

/// A user by UUID or e-mail address, or the person who asks by `me`.
pub async fn get(State(api): State<Api>, app: AppCaller<Read>, Path(name): Path<String>) -> Result<Response> {
    let (name, caller): (Name, Caller) = (name.parse()?, app.caller);
    let user = api.store.read(move |tx| users::get(tx, &caller, &name)).await?;
    let mut response = reply(&done("User found", &show(&caller, &user)));
    response.headers_mut().insert(header::ETAG, ascii(&user.etag()));
    Ok(response)
}

/// Changes a user. `PUT`, and `POST` with a `user` in the body, as the seed's example does (contract item 34).
pub async fn update(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Path(target): Path<String>,
    Query(query): Query<Test>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let (target, caller): (Target, Caller) = (target.parse()?, app.caller);
    let (change, test) = read(&body, query.test.as_deref(), &caller.context(api.store.clock().now()))?;
    let caller = Caller { test, ..caller };
    let (links, if_match) = (api.links.clone(), guard.if_match.clone());
    let operation = move |tx: &Tx| {
        let user = users::update(tx, &caller, target, change.clone(), &if_match, &links)?;
        Ok((done("User updated", &Value::Null), user))
    };
    guard.run(&api, caller, "", body, operation).await
}

/// The fields that `user` may set, in their documented order. Others are ignored: `id`, `tenantId`, `freezed` and
/// `deleted` among them, whoever sends them.
pub fn fields() -> impl Iterator<Item = &'static Wire<Person>> {
    Profile::FIELDS.iter().chain(IDENTITY)
}

/// What the documented user object has besides and Usher does not know: always null.
pub const UNKNOWN: [&str; 3] = ["acceptedNewsletterDate", "lastAskedNewsletterSignUp", "mailchimpMemberId"];

/// The user object (contract A8). Every documented key is there, as null where nothing is known; nothing of health is.
fn show(caller: &Caller, user: &User) -> Value {
    let mut shown = json!({"kind": "user", "id": user.id, "appId": caller.app});
    for wire in fields() {
        shown[wire.name] = (wire.show)(&user.person).unwrap_or_default();
    }
    for name in UNKNOWN {
        shown[name] = Value::Null;
    }
    shown["email_verified"] = user.email_verified_at.is_some().into();
    shown["phone_number_verified"] = false.into();
    shown["freezed"] = (user.status() == Status::Frozen).into();
    shown["deleted"] = (user.status() == Status::Deleted).into();
    shown["tenantId"] = json!(user.tenant);
    shown
}

fn read(body: &Map<String, Value>, query_test: Option<&str>, context: &Context) -> Result<(Person, Option<bool>)> {
    let mut faults = Vec::new();
    let mut refuse = |field: &str, code, message: &str| {
        faults.push(FieldError { field: field.into(), code, message: message.into() });
        None
    };
    let from_query = match query_test {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => refuse("test", "type", "test in the query must be true or false"),
    };
    let from_body = match body.get("test") {
        None => None,
        Some(Value::Bool(test)) => Some(*test),
        Some(_) => refuse("test", "type", "test must be true or false"),
    };
    if from_query.is_some() && from_body.is_some() && from_query != from_body {
        return Err(Error::bad_request("test_twice", "test says one thing in the query and another in the body"));
    }
    let Some(user) = body.get("user") else {
        return Err(Error::bad_request(
            "user_required",
            "The body must have a `user` object with the fields to change",
        ));
    };
    let Some(user) = user.as_object() else {
        return Err(Error::bad_request("user_not_object", "`user` must be an object"));
    };
    let mut person = Person::default();
    for wire in fields() {
        wire.take(user, context, &mut person, &mut faults);
    }
    judge((person, from_body.or(from_query)), faults)
}
