//! F1, E6, E7 and F4: every operation of every OpenAPI document, asked by everyone, as `policy.toml` has decided.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use usher::api::openapi;
use usher::apps::{self, Kind, Settings};
use usher::keys::{self, Access, NewKey};
use usher::tokens::SigningKey;

use crate::harness::{Answer, But, Client, TestApp, a_key, jane, john};

const CALLERS: [&str; 11] =
    ["none", "reader", "writer", "acme", "other", "live", "foreign", "jane", "member", "admin", "stranger"];
const NOBODY: &str = "7b0e2f4c-1111-4111-8111-111111111111";

/// An operation of a document.
struct Operation {
    surface: &'static str,
    name: String,
    method: String,
    path: String,
}

fn operations() -> Vec<Operation> {
    let mut found = Vec::new();
    for (document, content) in openapi::documents() {
        let surface = ["partner", "directory", "sign-in"].into_iter().find(|name| document.starts_with(name)).unwrap();
        for (path, methods) in content["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap().to_owned();
                found.push(Operation { surface, name, method: method.to_uppercase(), path: path.clone() });
            }
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|one| seen.insert((one.surface, one.name.clone())));
    found
}

fn policy() -> BTreeMap<(String, String), Vec<String>> {
    let table: toml::Table = include_str!("policy.toml").parse().unwrap();
    let mut rows = BTreeMap::new();
    for (surface, operations) in table {
        let operations = operations.as_table().unwrap();
        for (operation, row) in operations {
            let row: Vec<String> = row.as_array().into_iter().flatten().map(decision).collect();
            let complete =
                row.len() == CALLERS.len() || (row.is_empty() && operations[operation].as_str() == Some("public"));
            assert!(complete, "{surface}.{operation} has a decision for each caller, or is public");
            rows.insert((surface.clone(), operation.clone()), row);
        }
    }
    rows
}

fn decision(one: &toml::Value) -> String {
    one.as_str().map_or_else(|| one.as_integer().unwrap().to_string(), str::to_owned)
}

#[test]
fn every_operation_has_a_row_in_the_reviewed_table_and_every_row_an_operation() {
    let rows = policy();
    let documented: BTreeSet<(String, String)> =
        operations().into_iter().map(|one| (one.surface.to_owned(), one.name)).collect();
    for (surface, operation) in &documented {
        assert!(
            rows.contains_key(&(surface.clone(), operation.clone())),
            "{operation} has no row below [{surface}] in tests/it/policy.toml: decide there who may call it"
        );
    }
    for row in rows.keys() {
        assert!(documented.contains(row), "{row:?} in tests/it/policy.toml is no operation of any document");
    }
}

/// Jane of acme, and everyone who may ask about her.
struct World {
    app: TestApp,
    jane: String,
    member: String,
    tenant: String,
    webhook: String,
    headers: BTreeMap<&'static str, Vec<(&'static str, String)>>,
    persons: BTreeMap<&'static str, String>,
    partners: BTreeMap<&'static str, String>,
}

impl World {
    async fn new() -> World {
        let app = TestApp::new().await;
        let key = async |kind, access, tenant: Option<&str>| {
            app.new_key(kind, NewKey { access, tenant: tenant.map(str::to_owned), ..a_key() }).await.1
        };
        let reader = key(Kind::Sandbox, Access::Read, None).await;
        let writer = key(Kind::Sandbox, Access::Write, None).await;
        let acme = key(Kind::Sandbox, Access::Write, Some("acme")).await;
        let other = key(Kind::Sandbox, Access::Write, Some("other")).await;
        let live = key(Kind::Live, Access::Write, None).await;
        let made = app
            .store()
            .write(|tx| {
                let signing = [SigningKey::generate()?, SigningKey::generate()?];
                let second =
                    apps::create(tx, &Settings { name: Some("Second".into()), ..Settings::default() }, &signing)?;
                let environment = apps::environment(tx, second.id, Kind::Sandbox)?;
                Ok((second.id, keys::create(tx, &environment, &a_key())?.1.expose().to_owned()))
            })
            .await;
        let (second, foreign) = made.unwrap();
        let enrol = async |key: &str, email: &str, phone: &str| {
            let body = jane().but("email", json!(email)).but("phonenumber", json!(phone));
            let bearer = app.anyone().with("Authorization", &format!("Bearer {key}"));
            bearer.post("/users/create", body).await.ok().id().to_owned()
        };
        let jane = enrol(&acme, "jane@doe.com", "1234567890").await;
        let member = enrol(&acme, "member@doe.com", "2025550101").await;
        let admin = enrol(&acme, "admin@doe.com", "2025550102").await;
        let stranger = enrol(&other, "stranger@doe.com", "2025550103").await;
        let administrator = usher::roles::RoleId::ADMINISTRATOR;
        let triple = |key: &str, access: &str| {
            vec![
                ("X-API-KEY", key.to_owned()),
                ("X-API-KEY-TYPE", access.to_owned()),
                ("X-CLIENT-ID", app.client_id.to_string()),
            ]
        };
        let server = with(app.anyone(), &triple(&writer, "write"));
        for id in [&admin, &stranger] {
            server.put(&format!("/v1/users/{id}/user-roles"), json!({"userRoleId": administrator})).await.ok();
        }
        let tenant = app.user(&jane).await.tenant.unwrap().to_string();
        let headers = BTreeMap::from([
            ("none", Vec::new()),
            ("reader", triple(&reader, "read")),
            ("writer", triple(&writer, "write")),
            ("acme", triple(&acme, "write")),
            ("other", triple(&other, "write")),
            ("live", triple(&live, "write")),
            // The key of one app beside the id of another.
            ("foreign", triple(&foreign, "write")),
        ]);
        assert_ne!(second, app.client_id);
        let persons = BTreeMap::from([
            ("jane", jane.clone()),
            ("member", member.clone()),
            ("admin", admin),
            ("stranger", stranger),
        ]);
        let partners = BTreeMap::from([
            ("reader", reader),
            ("writer", writer),
            ("acme", acme),
            ("other", other),
            ("live", live),
            ("foreign", foreign),
        ]);
        let acme = with(app.anyone(), &headers["acme"]);
        let webhook = acme.post("/v1/webhooks", json!({"url": "https://hooks.example.com/usher"})).await.ok();
        let webhook = webhook.body["data"]["id"].as_str().unwrap().to_owned();
        World { app, jane, member, tenant, webhook, headers, persons, partners }
    }

    /// A caller, with a token of their own if they are a person.
    async fn client(&self, surface: &str, caller: &str) -> Client<'_> {
        match (self.partners.get(caller), self.persons.get(caller)) {
            (Some(key), _) if surface == "partner" => self.app.anyone().with("Authorization", &format!("Bearer {key}")),
            (_, Some(person)) => self.app.person(person).await,
            _ => with(self.app.anyone(), &self.headers[caller]),
        }
    }

    /// The request of an operation about a user and a tenant.
    async fn ask(&self, client: &Client<'_>, operation: &Operation, user: &str, tenant: &str) -> Answer {
        let path = operation
            .path
            .replace("{userId}", user)
            .replace("{tenantId}", tenant)
            .replace("{appId}", &self.app.client_id.to_string())
            .replace("{webhookId}", if user == NOBODY { NOBODY } else { &self.webhook })
            .replace("{deliveryId}", NOBODY)
            .replace("{sessionId}", NOBODY)
            .replace("{accessStatus}", "1");
        client.send(&operation.method, &path, body(operation).to_string()).await
    }
}

fn with<'a>(client: Client<'a>, headers: &[(&str, String)]) -> Client<'a> {
    headers.iter().fold(client, |client, (name, value)| client.with(name, value))
}

/// A body that the operation takes, with everything in it that must not count.
fn body(operation: &Operation) -> Value {
    let mut body = match (operation.surface, operation.name.as_str()) {
        ("partner", "createUser") => john(),
        ("partner", "cancelSubscription") => json!({"email": "jane@doe.com", "cancellationDate": "2027-01-01"}),
        ("partner", _) => json!({"email": "jane@doe.com"}),
        (_, "createUser") => json!({"user": {"email": "john@doe.com"}}),
        (_, "updateTenant") => json!({"tenant": {}}),
        (_, "createWebhook") => json!({"url": "https://hooks.example.com/other"}),
        (_, "replayWebhook") => json!({"since": "2026-01-01T00:00:00Z"}),
        (_, "giveRole") => json!({"userRoleId": usher::roles::RoleId::MEMBER}),
        _ => json!({"user": {}}),
    };
    for (name, value) in privileged() {
        if name != "email" && body.get(&name).is_none() {
            body.map().insert(name.clone(), value.clone());
        }
        for inner in ["user", "tenant"] {
            if let Some(inner) = body.get_mut(inner).and_then(Value::as_object_mut) {
                inner.entry(name.clone()).or_insert(value.clone());
            }
        }
    }
    body
}

/// What no body may set: taken where an example has it, and ignored (F4).
fn privileged() -> Vec<(String, Value)> {
    let id = "22222222-2222-4222-8222-222222222222";
    let pairs = json!({
        "id": id, "userId": id, "tenantId": id, "appId": id, "environmentId": id, "deleted": true, "freezed": true,
        "email_verified": true, "emailVerified": true, "role": "administrator", "roleId": id, "rights": "users:read",
        "createdAt": "2001-01-01", "updatedAt": "2001-01-01", "permissions": ["*"], "version": 99, "__proto__": {"admin": true},
        "password": "x", "frozen_at": 1, "deleted_at": 1
    });
    pairs.as_object().unwrap().clone().into_iter().collect()
}

/// What is the same however often it is asked.
fn essence(answer: &Answer) -> (u16, String) {
    let mut body = answer.body.clone();
    if let Some(body) = body.as_object_mut() {
        body.shift_remove("requestId");
    }
    (answer.status, body.to_string())
}

#[tokio::test]
async fn every_operation_answers_every_caller_as_the_table_says() {
    let rows = policy();
    let world = World::new().await;
    for operation in operations() {
        let row = &rows[&(operation.surface.to_owned(), operation.name.clone())];
        for (caller, decision) in CALLERS.iter().zip(row) {
            let what = format!("{} {} as {caller}", operation.surface, operation.name);
            let client = world.client(operation.surface, caller).await.with("Idempotency-Key", &format!("k-{caller}"));
            if operation.name == "restoreUser" {
                let id = world.jane.parse().unwrap();
                let delete =
                    move |tx: &usher::db::Tx<'_>| usher::users::set_status(tx, id, usher::users::Status::Deleted);
                world.app.store().write(delete).await.unwrap();
            }
            // What would be gone afterwards is rehearsed.
            let mut rehearsed = Operation { path: operation.path.clone(), ..copy(&operation) };
            if ["deleteUser", "eraseUser", "createUser", "removeWebhook", "endSessions"]
                .contains(&operation.name.as_str())
                || operation.name.ends_with("Subscription")
            {
                rehearsed.path.push_str("?dry_run=true");
            }
            let answer = world.ask(&client, &rehearsed, &world.jane, &world.tenant).await;
            let expected = decision.parse().unwrap_or(200);
            assert_eq!(answer.status, expected, "{what}: {}", answer.text);
            if decision == "own" {
                assert_within_reach(&world, caller, &operation.name, &answer);
            }
            let names_somebody = ["{userId}", "{tenantId}", "{webhookId}"].iter().any(|id| operation.path.contains(id));
            let is_hers = ["writer", "acme", "jane", "admin"].contains(caller);
            if expected != 200 && names_somebody && !is_hers {
                let of_nobody = world.ask(&client, &rehearsed, NOBODY, NOBODY).await;
                assert_eq!(essence(&answer), essence(&of_nobody), "{what}: an id that is foreign and one that is none");
            }
            if operation.name == "restoreUser" {
                let id = world.jane.parse().unwrap();
                let back = move |tx: &usher::db::Tx<'_>| usher::users::set_status(tx, id, usher::users::Status::Active);
                world.app.store().write(back).await.unwrap();
            }
        }
    }
}

fn copy(operation: &Operation) -> Operation {
    Operation {
        surface: operation.surface,
        name: operation.name.clone(),
        method: operation.method.clone(),
        path: operation.path.clone(),
    }
}

/// Of other tenants and environments there is nothing in it.
#[track_caller]
fn assert_within_reach(world: &World, caller: &str, operation: &str, answer: &Answer) {
    let of_acme = ["reader", "writer", "acme", "admin", "jane", "member"].contains(&caller);
    if operation == "listUsers" {
        assert_eq!(answer.text.contains(&world.jane), of_acme, "{caller}: {}", answer.text);
    }
    if !["reader", "writer", "other", "stranger"].contains(&caller) {
        assert!(!answer.text.contains("stranger@"), "{caller} {operation}: {}", answer.text);
    }
    if operation == "getTenant" && caller == "member" {
        assert!(answer.text.contains(&world.member) && !answer.text.contains("admin@"), "{}", answer.text);
    }
}

#[tokio::test]
async fn without_a_credential_nothing_is_written_whatever_the_body_says() {
    let world = World::new().await;
    let tables = ["users", "audit", "outbox", "links", "idempotency", "sessions", "roles", "tenants", "erasures"];
    let count = async || {
        let mut counts = Vec::new();
        for table in tables {
            counts.push(world.app.count(table).await);
        }
        counts
    };
    let (before, row) = (count().await, json!(world.app.user(&world.jane).await.person.profile));
    let rows = policy();
    let asks = |one: &Operation| !rows[&(one.surface.to_owned(), one.name.clone())].is_empty();
    for operation in operations().into_iter().filter(asks) {
        let client = world.app.anyone().with("Idempotency-Key", "k");
        for wrong in [client.clone(), client.with("X-API-KEY", "wrong"), client.with("Authorization", "Bearer a.b.c")] {
            let answer = world.ask(&wrong, &operation, &world.jane, &world.tenant).await;
            let expected = if operation.surface == "partner" { 403 } else { 401 };
            assert_eq!(answer.status, expected, "{}: {}", operation.name, answer.text);
        }
    }
    assert_eq!((before, row), (count().await, json!(world.app.user(&world.jane).await.person.profile)));
}

#[tokio::test]
async fn no_body_changes_what_is_not_the_callers_to_change() {
    let world = World::new().await;
    let columns = "SELECT id, environment_id, tenant_id, role_id, email_verified_at, created_at, frozen_at, deleted_at, version, email, \
                   profile FROM users WHERE email = 'jane@doe.com'";
    let row = async || {
        let row = world.app.store().read(move |tx| tx.query_opt(columns, &[])).await.unwrap().unwrap();
        format!("{row:?}")
    };
    let before = row().await;
    for operation in
        operations().iter().filter(|one| ["updateUser", "updateUserByPost", "patchUser"].contains(&one.name.as_str()))
    {
        for caller in ["jane", "admin", "acme", "writer"] {
            let client = world.client(operation.surface, caller).await;
            world.ask(&client, operation, &world.jane, &world.tenant).await;
            assert_eq!(row().await, before, "{} {} as {caller}", operation.surface, operation.name);
        }
    }
    let acme = world.client("directory", "acme").await;
    let made = acme.post(
        "/v1/users",
        json!({"user": privileged().into_iter().chain([("email".into(), json!("new@doe.com"))]).collect::<serde_json::Map<_, _>>()}),
    );
    let made = made.await.ok().body["data"].clone();
    assert_eq!(
        (&made["tenantId"], &made["freezed"], &made["deleted"], &made["email_verified"], &made["userRoleId"]),
        (&json!(world.tenant), &json!(false), &json!(false), &json!(false), &json!(usher::roles::RoleId::MEMBER))
    );
    assert_ne!(made["id"], json!("22222222-2222-4222-8222-222222222222"));
    assert_ne!(made["createdAt"], json!("2001-01-01"));
}

#[tokio::test]
async fn a_key_is_what_its_row_says_and_two_credentials_are_never_added_up() {
    let world = World::new().await;
    let path = format!("/v1/users/{}", world.jane);
    let reader = world.client("directory", "reader").await;
    let app = &world.app;
    let token = format!("Bearer {}", app.token(&world.member).await);
    for (client, status) in [
        (reader.instead("X-API-KEY-TYPE", "write"), 401),
        (reader.clone(), 403),
        (reader.with("Authorization", &token), 403),
        (world.client("directory", "writer").await.instead("X-CLIENT-ID", NOBODY), 401),
        (world.client("directory", "foreign").await, 401),
        (world.client("directory", "writer").await.with("Authorization", &token), 200),
        (world.client("directory", "writer").await.instead("X-API-KEY", "wrong").with("Authorization", &token), 401),
        // Two tokens that disagree: Authorization counts, as everywhere.
        (
            world
                .client("directory", "member")
                .await
                .with("Authentication", &format!("Bearer {}", app.token(&world.jane).await)),
            403,
        ),
    ] {
        let answer = client.send("PUT", &path, r#"{"user":{}}"#).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}
