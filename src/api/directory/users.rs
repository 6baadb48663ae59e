//! `/v1/users/*` of the directory API.

use axum::extract::{Path, Query, RawQuery, State};
use axum::http::header;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::query::Query as Filters;
use super::{done, items};
use crate::api::auth::{AppCaller, AppKey, Read, Write};
use crate::api::body::JsonObject;
use crate::api::write::Guard;
use crate::api::{Api, ascii, reply};
use crate::audit::{self, Changes, Entry};
use crate::caller::{Caller, Name, Scope, Target};
use crate::db::Tx;
use crate::erasure;
use crate::error::{Error, FieldError, Result};
use crate::field::{Context, FilledLine, Line, Wire, judge};
use crate::place::{self, Place};
use crate::roles::{self, Right, RoleId};
use crate::tenants::{self, TenantId};
use crate::users::{
    self, Change, Email, IDENTITY, IfMatch, List, METADATA, Person, Phone, Profile, Sort, Status, User, UserId,
};

/// `?test=`, `?tenant=` and `?metadata=`
#[derive(Deserialize)]
pub struct Besides {
    test: Option<String>,
    tenant: Option<String>,
    metadata: Option<String>,
}

/// A user by UUID or e-mail address, or the person who asks by `me`; with the app's metadata if that is asked for.
pub async fn get(
    State(api): State<Api>,
    app: AppCaller<Read>,
    Path(name): Path<String>,
    Query(besides): Query<Besides>,
) -> Result<Response> {
    let (name, caller): (Name, Caller) = (name.parse()?, app.caller);
    let (user, shown) = match besides.metadata.as_deref().map(truth) {
        None | Some(Some(false)) => {
            let user = api.store.read(move |tx| users::get(tx, &caller, &name)).await?;
            let shown = show(&caller, &user);
            (user, shown)
        }
        Some(Some(true)) => {
            caller.need(Right::Metadata)?;
            // It may be health data, so that somebody has read it stands in the trail.
            let read = move |tx: &Tx| {
                let user = users::get(tx, &caller, &name)?;
                audit::note_read(tx, caller.origin(), &user).map(|()| user)
            };
            let user = api.store.write(read).await?;
            let shown = show_whole(&caller, &user);
            (user, shown)
        }
        Some(None) => return Err(Error::bad_request("metadata", "metadata in the query must be true or false")),
    };
    let mut response = reply(&done("User found", &shown));
    response.headers_mut().insert(header::ETAG, ascii(&user.etag()));
    Ok(response)
}

/// A page of the users that the caller may see.
pub async fn list(State(api): State<Api>, app: AppCaller<Read>, RawQuery(query): RawQuery) -> Result<Response> {
    let caller = app.caller;
    let list = filters(query.as_deref(), &caller.context(api.store.clock().now()))?;
    let quick = list.is_quick();
    let page = move |tx: &Tx| users::list(tx, &caller, &list);
    let (users, next) = if quick { api.store.read(page).await } else { api.store.scan(page).await }?;
    let users = users.iter().map(|user| show(&caller, user)).collect();
    Ok(reply(&done("Users", &items("user", users, next))))
}

fn filters(query: Option<&str>, context: &Context) -> Result<List> {
    let mut query = Filters::new(query);
    let words = |all: &[&str]| format!("one of: {}", all.join(", "));
    let statuses: Vec<&str> = Status::ALL.iter().map(|status| status.as_str()).collect();
    let sorts: Vec<&str> = Sort::ALL.iter().map(|sort| sort.as_str()).collect();
    let list = List {
        tenant: query.take("tenant", "a UUID", |text| text.parse().ok()),
        status: query.take("status", words(&statuses), Status::named),
        created: query.range("created"),
        updated: query.range("updated"),
        email: query.field::<Email>("email", "an e-mail address", context),
        phone: query.field::<Phone>("phone", "a phone number; write its + as %2B", context),
        external_id: query
            .field::<FilledLine<255>>("external_id", "a line of at most 255 characters", context)
            .map(|line| Line::from(line).0),
        sort: query.take("sort", words(&sorts), Sort::named).unwrap_or_default(),
        limit: query.limit(),
        cursor: query.cursor(),
    };
    query.end(list)
}

/// Makes a user. Nobody is sent anything.
pub async fn create(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Query(besides): Query<Besides>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let mut faults = Vec::new();
    let caller = Caller { test: test_of(&besides, &body, &mut faults)?, ..app.caller };
    caller.need(Right::InviteUsers)?;
    caller.need_fact("email")?;
    let context = caller.context(api.store.clock().now());
    let user = user_of(&body)?;
    let mut person = Person::default();
    for wire in settable(&caller, true) {
        wire.take(user, &context, &mut person, &mut faults);
    }
    if !user.contains_key("email") {
        faults.push(FieldError { field: "email".into(), code: "required", message: "email is required".into() });
    }
    let person = judge(person, faults)?;
    let tenant: Option<TenantId> = match besides.tenant.map(|id| id.parse()) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return Err(Error::bad_request("malformed_id", "tenant in the query must be a UUID")),
    };
    attempt(&api, &guard, caller, None, &person).await?;
    let create = move |tx: &Tx, caller: &Caller, _: &IfMatch| {
        let tenant = tenant.map(|id| tenants::get(tx, caller, id)).transpose()?.map(|tenant| tenant.id);
        let scope = Scope { tenant: tenant.or(caller.scope.tenant), ..caller.scope };
        users::create(tx, &Caller { scope, ..*caller }, person.clone())
    };
    on_user(&api, guard, caller, body, ("User created", show_whole), create).await
}

/// Changes a user.
pub async fn update(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Path(target): Path<String>,
    Query(besides): Query<Besides>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let (target, mut faults) = (target.parse()?, Vec::new());
    let caller = Caller { test: test_of(&besides, &body, &mut faults)?, ..app.caller };
    let change = read(&body, &caller, &caller.context(api.store.clock().now()), faults)?;
    let (links, change) = (api.links.clone(), Change::from(change));
    attempt(&api, &guard, caller, Some(target), &change.set).await?;
    let update = move |tx: &Tx, caller: &Caller, if_match: &IfMatch| {
        users::update(tx, caller, target, change.clone(), if_match, &links)
    };
    on_user(&api, guard, caller, body, ("User updated", nothing), update).await
}

/// `POST` on a user: with `user` in the body a change, as the seed's example has it; with `email` an invitation that the
/// user of the path gives (contract items 34 and 66).
pub async fn post(
    api: State<Api>,
    app: AppCaller<Write>,
    target: Path<String>,
    query: Query<Besides>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    if body.contains_key("user") || !body.contains_key("email") {
        return update(api, app, target, query, guard, JsonObject(body)).await;
    }
    let (inviter, mut person, mut faults) = (target.parse::<Target>()?, Person::default(), Vec::new());
    let caller = Caller { test: test_of(&query, &body, &mut faults)?, ..app.caller };
    caller.need_fact("email")?;
    let context = caller.context(api.store.clock().now());
    for wire in fields().filter(|wire| ["email", "language"].contains(&wire.name)) {
        if !body.contains_key(wire.name) {
            let message = format!("{} is required", wire.name);
            faults.push(FieldError { field: wire.name.into(), code: "required", message });
        }
        wire.take(&body, &context, &mut person, &mut faults);
    }
    let person = judge(person, faults)?;
    attempt(&api, &guard, caller, None, &person).await?;
    let links = api.links.clone();
    let invite =
        move |tx: &Tx, caller: &Caller, _: &IfMatch| users::invite(tx, caller, inviter, person.clone(), &links);
    on_user(&api, guard, caller, body, ("User invited", nothing), invite).await
}

/// Counts that a person wants another address or number, whatever comes of it.
async fn attempt(api: &Api, guard: &Guard, caller: Caller, whose: Option<Target>, wanted: &Person) -> Result<()> {
    let wanted = wanted.clone();
    count(api, guard, caller, move |tx, caller| users::count_attempt(tx, caller, whose, &wanted)).await
}

/// Counts what a person tries, in a transaction of its own, for that of the change may be rolled back. Who sends a request again
/// that has its answer tries nothing.
pub(super) async fn count(
    api: &Api,
    guard: &Guard,
    caller: Caller,
    attempt: impl Fn(&Tx, &Caller) -> Result<()> + Send + 'static,
) -> Result<()> {
    if caller.is_the_app() {
        return Ok(());
    }
    let is_answered = guard.is_answered();
    let count = move |tx: &Tx| if is_answered(tx, &caller)? { Ok(()) } else { attempt(tx, &caller) };
    api.store.write(count).await
}

/// Changes a user by a JSON Merge Patch (RFC 7396) of the user object: null takes a value away.
pub async fn patch(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Path(target): Path<String>,
    Query(besides): Query<Besides>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let (target, mut faults) = (target.parse()?, Vec::new());
    let caller = Caller { test: test_of(&besides, &body, &mut faults)?, ..app.caller };
    let change = read_patch(&body, &caller, &caller.context(api.store.clock().now()), faults)?;
    attempt(&api, &guard, caller, Some(target), &change.set).await?;
    let links = api.links.clone();
    let patch = move |tx: &Tx, caller: &Caller, if_match: &IfMatch| {
        users::patch(tx, caller, target, change.clone(), if_match, &links)
    };
    on_user(&api, guard, caller, body, ("User updated", show_whole), patch).await
}

/// Which of the provider's modes a request means, by its query or its body.
fn test_of(besides: &Besides, body: &Map<String, Value>, faults: &mut Vec<FieldError>) -> Result<Option<bool>> {
    let mut refuse = |message: &str| {
        faults.push(FieldError { field: "test".into(), code: "type", message: message.into() });
        None
    };
    let from_query = besides
        .test
        .as_deref()
        .and_then(|text| truth(text).or_else(|| refuse("test in the query must be true or false")));
    let from_body = match body.get("test") {
        None => None,
        Some(Value::Bool(test)) => Some(*test),
        Some(_) => refuse("test must be true or false"),
    };
    if from_query.is_some() && from_body.is_some() && from_query != from_body {
        return Err(Error::bad_request("test_twice", "test says one thing in the query and another in the body"));
    }
    Ok(from_body.or(from_query))
}

/// Deletes a user, who can be restored for a while.
pub async fn delete(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Path(target): Path<String>,
    Query(besides): Query<Besides>,
    guard: Guard,
) -> Result<Response> {
    let (target, mut faults) = (target.parse()?, Vec::new());
    let test = test_of(&besides, &Map::new(), &mut faults)?;
    let caller = Caller { test: judge(test, faults)?, ..app.caller };
    let delete = move |tx: &Tx, caller: &Caller, if_match: &IfMatch| users::delete(tx, caller, target, if_match);
    on_user(&api, guard, caller, Map::new(), ("User deleted", nothing), delete).await
}

/// Brings a deleted user back.
pub async fn restore(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Path(id): Path<String>,
    guard: Guard,
) -> Result<Response> {
    let id = user_id(&id)?;
    let restore = move |tx: &Tx, caller: &Caller, if_match: &IfMatch| users::restore(tx, caller, id, if_match);
    on_user(&api, guard, app.caller, Map::new(), ("User restored", show), restore).await
}

/// Erases a user for good, and answers the receipt.
pub async fn erase(
    State(api): State<Api>,
    key: AppKey<Write>,
    Path(id): Path<String>,
    guard: Guard,
) -> Result<Response> {
    let (id, caller) = (user_id(&id)?, key.caller);
    let operation = move |tx: &Tx| {
        let receipt = erasure::erase_for(tx, &caller, id)?;
        let mut shown = json!(receipt);
        shown["kind"] = "erasure".into();
        let changes = Changes(json!({"action": "user.erased", "rows": receipt.counts}));
        Ok((done("User erased", &shown), changes))
    };
    guard.run(&api, caller, "", Map::new(), operation).await
}

/// What happened to a user, newest first.
pub async fn events(
    State(api): State<Api>,
    app: AppCaller<Read>,
    Path(target): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (target, caller): (Target, Caller) = (target.parse()?, app.caller);
    let mut query = Filters::new(query.as_deref());
    let (limit, cursor) = (query.limit(), query.cursor());
    let cursor = query.end(cursor)?;
    let page = move |tx: &Tx| {
        let user = users::get(tx, &caller, &Name::Target(target))?;
        let list = format!("events {}", user.id);
        let from = cursor.as_ref().map(|cursor| Place::open(tx, &list, cursor)).transpose()?;
        let place_of = |entry: &Entry| Place { at: entry.created_at, id: entry.id.0 };
        let (entries, next) = place::page(audit::before(tx, user.id, from, limit + 1)?, limit, place_of);
        Ok((entries, next.map(|next| next.seal(tx, &list))))
    };
    let (entries, next) = api.store.read(page).await?;
    let show = |entry: Entry| {
        let entry = if caller.is_the_app() { entry } else { entry.discreet() };
        let mut shown = entry.show();
        if let Some(fields) = shown["changes"]["fields"].as_object_mut() {
            fields.retain(|name, _| caller.facts.open(name));
        }
        if let Some(health) = shown["changes"].get_mut("health").and_then(Value::as_array_mut) {
            health.retain(|_| caller.facts.open("health"));
        }
        shown
    };
    Ok(reply(&done("Events", &items("event", entries.into_iter().map(show).collect(), next))))
}

/// Gives a user a role: `{"userRoleId": …}`.
pub async fn give_role(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Path(target): Path<String>,
    guard: Guard,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let role = body.get("userRoleId").and_then(Value::as_str).and_then(|id| id.parse().ok());
    let role = role.ok_or_else(|| Error::bad_request("role_required", "userRoleId must be the UUID of a role"))?;
    assign(api, app.caller, &target, role, guard, body).await
}

/// Takes a user's role away.
pub async fn take_role(
    State(api): State<Api>,
    app: AppCaller<Write>,
    Path(target): Path<String>,
    guard: Guard,
) -> Result<Response> {
    assign(api, app.caller, &target, RoleId::MEMBER, guard, Map::new()).await
}

async fn assign(
    api: Api,
    caller: Caller,
    target: &str,
    role: RoleId,
    guard: Guard,
    body: Map<String, Value>,
) -> Result<Response> {
    let target: Target = target.parse()?;
    let assign = move |tx: &Tx, caller: &Caller, if_match: &IfMatch| roles::assign(tx, caller, target, role, if_match);
    on_user(&api, guard, caller, body, ("Role given", nothing), assign).await
}

/// Does something to a user, and answers with a message and what `show` makes of them.
pub(super) async fn on_user(
    api: &Api,
    guard: Guard,
    caller: Caller,
    body: Map<String, Value>,
    (message, show): (&'static str, Show),
    operation: impl Fn(&Tx, &Caller, &IfMatch) -> Result<User> + Send + 'static,
) -> Result<Response> {
    let if_match = guard.if_match.clone();
    let answer = move |tx: &Tx| {
        let user = operation(tx, &caller, &if_match)?;
        Ok((done(message, &show(&caller, &user)), user))
    };
    guard.run(api, caller, "", body, answer).await
}

/// What an answer tells of a user.
type Show = fn(&Caller, &User) -> Value;

/// Most writes tell nothing.
pub(super) fn nothing(_: &Caller, _: &User) -> Value {
    Value::Null
}

/// The fields that `user` may set, in their documented order. Others are ignored: `id`, `tenantId`, `freezed` and
/// `deleted` among them, whoever sends them.
pub fn fields() -> impl Iterator<Item = &'static Wire<Person>> {
    Profile::FIELDS.iter().chain(IDENTITY)
}

/// What of them this caller may set: what their token opens, and what the app calls a person, no person says. With the app's
/// metadata, if wanted.
fn settable(caller: &Caller, with_metadata: bool) -> impl Iterator<Item = &'static Wire<Person>> {
    let of_the_app = caller.is_the_app();
    let metadata = with_metadata && caller.rights.has(Right::Metadata);
    let facts = caller.facts;
    let fields = fields().filter(move |wire| facts.open(wire.name) && (of_the_app || wire.name != "externalId"));
    fields.chain(METADATA.iter().filter(move |_| metadata))
}

/// What the documented user object has besides and Usher does not know: always null.
pub const UNKNOWN: [&str; 3] = ["acceptedNewsletterDate", "lastAskedNewsletterSignUp", "mailchimpMemberId"];

/// The user object (contract A8). Every documented key is there, as null where nothing is known, or the caller's token does
/// not open it; nothing of health is.
pub fn show(caller: &Caller, user: &User) -> Value {
    let mut shown = json!({"kind": "user", "id": user.id, "appId": caller.app});
    for wire in fields() {
        let fact = (wire.show)(&user.person).filter(|_| caller.facts.open(wire.name));
        shown[wire.name] = fact.unwrap_or_default();
    }
    for name in UNKNOWN {
        shown[name] = Value::Null;
    }
    let verified = caller.facts.open("email_verified").then_some(user.email_verified_at.is_some());
    shown["email_verified"] = json!(verified);
    shown["phone_number_verified"] = false.into();
    shown["freezed"] = user.frozen_at.is_some().into();
    shown["deleted"] = (user.status() == Status::Deleted).into();
    shown["tenantId"] = json!(user.tenant);
    shown["userRoleId"] = json!(user.role.unwrap_or(RoleId::MEMBER));
    shown["createdAt"] = json!(user.created_at);
    shown["updatedAt"] = json!(user.updated_at);
    shown
}

/// With the app's metadata, for those who may change it.
fn show_whole(caller: &Caller, user: &User) -> Value {
    let mut shown = show(caller, user);
    if caller.rights.has(Right::Metadata) {
        shown["metadata"] = user.person.health.metadata.as_ref().map_or_else(|| json!({}), |metadata| json!(metadata));
    }
    shown
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A user that a path names by UUID and nothing else.
fn user_id(text: &str) -> Result<UserId> {
    match text.parse()? {
        Target::Id(id) => Ok(id),
        Target::Me => Err(Error::bad_request("malformed_id", "The id in the path must be a UUID")),
    }
}

fn user_of(body: &Map<String, Value>) -> Result<&Map<String, Value>> {
    let Some(user) = body.get("user") else {
        return Err(Error::bad_request("user_required", "The body must have a `user` object with the fields to set"));
    };
    user.as_object().ok_or_else(|| Error::bad_request("user_not_object", "`user` must be an object"))
}

fn read_patch(
    body: &Map<String, Value>,
    caller: &Caller,
    context: &Context,
    mut faults: Vec<FieldError>,
) -> Result<Change> {
    let (user, mut change) = (user_of(body)?, Change::default());
    for wire in settable(caller, true) {
        match user.get(wire.name) {
            Some(Value::Null) if wire.name == "email" => {
                let message = "email cannot be taken away".to_owned();
                faults.push(FieldError { field: "email".into(), code: "required", message });
            }
            Some(Value::Null) => change.unset.push(wire),
            Some(Value::Object(patch)) if wire.name == "metadata" => change.metadata = Some(patch.clone()),
            _ => wire.take(user, context, &mut change.set, &mut faults),
        }
    }
    judge(change, faults)
}

fn read(body: &Map<String, Value>, caller: &Caller, context: &Context, mut faults: Vec<FieldError>) -> Result<Person> {
    let (user, mut person) = (user_of(body)?, Person::default());
    for wire in settable(caller, false) {
        wire.take(user, context, &mut person, &mut faults);
    }
    judge(person, faults)
}
