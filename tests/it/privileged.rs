//! F4, E6, E7, J1: what no body may set, what a credential is worth, and that every write stands in the trail; for every
//! operation that the OpenAPI documents have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use usher::audit::{self, Action, Entry, Filter, Order};
use usher::users::Status;

use crate::harness::{Answer, TestApp, a_key, jane};
use crate::policy::policy;
use crate::tables::{assert_only_read, assert_only_refused, everything};
use crate::world::{Ask, CALLERS, NOBODY, Operation, Things, World, operations, variants};

/// Every write with each of those who may do it to a user of acme: themselves, an administrator, the tenant's key and the
/// app's.
fn writes() -> Vec<(Operation, &'static str)> {
    let rows = policy();
    let mut all = Vec::new();
    for operation in variants().into_iter().filter(Operation::writes) {
        for caller in ["jane", "admin", "acme", "writer"] {
            let may = match rows.get(&(operation.surface.to_owned(), operation.name.clone())) {
                Some(row) => row[CALLERS.iter().position(|one| *one == caller).unwrap()].parse::<u16>().is_err(),
                None => caller != "jane",
            };
            if may {
                all.push((operation.clone(), caller));
            }
        }
    }
    assert!(all.len() > 60, "{}", all.len());
    all
}

/// What a write is about, made so that it can be done.
async fn prepare(world: &World, n: usize, operation: &Operation) -> Things {
    let things = world.somebody(n, operation).await;
    let id = &things["userId"];
    match operation.name.as_str() {
        "restoreUser" => world.set_status(id, Status::Deleted).await,
        "takeRole" => {
            let role = json!({"userRoleId": things["userRoleId"]});
            world.client("directory", "acme").await.put(&format!("/v1/users/{id}/user-roles"), role).await.ok();
        }
        _ => {}
    }
    things
}

async fn perform(world: &World, operation: &Operation, caller: &str, things: &Things, query: &str) -> Answer {
    let client = match caller {
        "jane" => world.app.person(&things["userId"]).await,
        caller => world.client(operation.surface, caller).await,
    };
    let ask = Ask::of(operation, things);
    client.send(&operation.method, &format!("{}{query}", ask.path), ask.body.to_string()).await.ok()
}

/// What makes a row powerful, or says whose it is.
async fn powers(app: &TestApp) -> BTreeMap<String, Vec<(&'static str, String)>> {
    const POWERS: [(&str, &[&str]); 5] = [
        (
            "users",
            &[
                "id",
                "environment_id",
                "tenant_id",
                "role_id",
                "email_verified_at",
                "created_at",
                "frozen_at",
                "deleted_at",
            ],
        ),
        ("tenants", &["id", "environment_id", "created_at"]),
        ("endpoints", &["id", "environment_id", "tenant_id", "created_at", "disabled_at"]),
        (
            "keys",
            &["id", "environment_id", "tenant_id", "access", "name", "hash", "expires_at", "retires_at", "revoked_at"],
        ),
        ("roles", &["id", "environment_id", "name", "rights"]),
    ];
    let mut all = BTreeMap::new();
    for (table, columns) in POWERS {
        let names = columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for row in crate::tables::rows(app, table, &names).await {
            let values = row.values().iter().zip(columns).map(|(value, column)| (*column, format!("{value:?}")));
            let values: Vec<_> = values.collect();
            all.insert(format!("{table} {}", values[0].1), values);
        }
    }
    all
}

#[tokio::test]
async fn no_body_changes_what_is_not_the_callers_to_change() {
    let world = World::new().await;
    for (n, (operation, caller)) in writes().into_iter().enumerate() {
        let things = prepare(&world, n, &operation).await;
        let before = powers(&world.app).await;
        perform(&world, &operation, caller, &things, "").await;
        let after = powers(&world.app).await;
        let mut changed = BTreeSet::new();
        for (row, values) in &before {
            let table = row.split(' ').next().unwrap();
            match after.get(row) {
                None => _ = changed.insert(format!("-{table}")),
                Some(now) => changed.extend(
                    values.iter().zip(now).filter(|(was, is)| was != is).map(|(was, _)| format!("{table}.{}", was.0)),
                ),
            }
        }
        for (row, values) in after.iter().filter(|(row, _)| !before.contains_key(*row)) {
            changed.insert(format!("+{}", row.split(' ').next().unwrap()));
            let values: BTreeMap<_, _> = values.iter().cloned().collect();
            let bound = caller != "writer" || operation.name == "invite";
            assert_eq!(values["tenant_id"] != "Null", bound, "{} {caller}", operation.name);
            for none in ["role_id", "email_verified_at", "frozen_at", "deleted_at", "disabled_at"] {
                assert!(values.get(none).is_none_or(|value| value == "Null"), "{none} {row} {values:?}");
            }
            assert_eq!(values["created_at"], format!("Integer({})", world.app.store().clock().now().0));
        }
        let meant: &[&str] = match operation.name.as_str() {
            "createUser" | "invite" => &["+users"],
            "eraseUser" => &["-users"],
            "deleteUser" | "restoreUser" => &["users.deleted_at"],
            "setAccessStatus" => &["users.frozen_at"],
            "giveRole" | "takeRole" => &["users.role_id"],
            "createWebhook" => &["+endpoints"],
            "removeWebhook" => &["-endpoints"],
            _ => &[],
        };
        assert_eq!(changed, meant.iter().map(|one| (*one).to_owned()).collect(), "{} as {caller}", operation.name);
    }
}

async fn entries_of(app: &TestApp, answer: &Answer) -> Vec<Entry> {
    let find = |tx: &usher::db::Tx| audit::find(tx, &Filter::default(), Order::NewestFirst, 20);
    let mut entries = app.store().read(find).await.unwrap();
    entries.retain(|entry| entry.request.is_some_and(|id| id.to_string() == answer.header("request-id")));
    entries
}

#[tokio::test]
async fn every_write_and_every_look_at_health_data_stands_in_the_trail() {
    let world = World::new().await;
    for (n, (operation, caller)) in writes().into_iter().enumerate() {
        let things = prepare(&world, n, &operation).await;
        let answer = perform(&world, &operation, caller, &things, "").await;
        let what = format!("{} {} as {caller}", operation.surface, operation.name);
        let entries = entries_of(&world.app, &answer).await;
        let entry = entries.first().unwrap_or_else(|| panic!("{what} left no entry"));
        assert!(entry.is_done() && entry.action != Action::RequestRefused, "{what}: {entry:?}");
        let shown = entry.show();
        let (kind, id) = (&shown["actor"]["type"], shown["actor"]["id"].as_str().unwrap());
        match caller {
            "jane" => assert_eq!((kind, id), (&json!("person"), things["userId"].as_str()), "{what}"),
            "admin" => assert_eq!((kind, id), (&json!("person"), world.persons["admin"].as_str()), "{what}"),
            _ => assert_eq!(kind, &json!("key"), "{what}"),
        }
        let about = entry.user.map(|id| id.to_string()).or(entry.target.map(|id| id.to_string())).expect("a target");
        if operation.path.contains("{userId}") && operation.name != "invite" {
            assert_eq!(about, things["userId"], "{what}");
        }
        let partner = operation.surface == "partner";
        assert_eq!(entry.date.as_deref(), partner.then_some("2023-10-04"), "{what}");
    }
    let things = world.somebody(999, &operations()[0]).await;
    let reader = world.client("directory", "writer").await;
    let partner = world.client("partner", "reader").await;
    for answer in [
        partner.post("/users/retrieve", json!({"email": things["email"]})).await.ok(),
        reader.get(&format!("/v1/users/{}?metadata=true", things["userId"])).await.ok(),
    ] {
        let entry = entries_of(&world.app, &answer).await.remove(0);
        assert_eq!((entry.action, entry.user.unwrap().to_string()), (Action::HealthRead, things["userId"].clone()));
    }
    // Two things that one request does are two entries: a key's first request fixes its date.
    let (_, secret) = world.app.new_key(usher::apps::Kind::Live, a_key()).await;
    let first = world.app.anyone().with("Authorization", &format!("Bearer {secret}"));
    let answer = first.post("/users/create", jane()).await.ok();
    let actions: Vec<_> = entries_of(&world.app, &answer).await.iter().map(|entry| entry.action).collect();
    assert_eq!(actions, [Action::UserCreated, Action::KeyUpdated]);
}

/// What the documents of a surface say that a change has in the answer of a rehearsal, and where that stands.
fn in_documents((surface, place): (&'static str, &str)) -> (&'static str, Vec<String>) {
    let documents = usher::api::openapi::documents();
    let (_, document) = documents.iter().find(|(name, _)| name.starts_with(surface)).unwrap();
    let changes = &document["components"]["schemas"]["DryRun"]["properties"][place]["properties"]["items"]["items"];
    (surface, changes["properties"].as_object().unwrap().keys().cloned().collect())
}

#[tokio::test]
async fn every_write_can_be_rehearsed_and_leaves_everything_as_it_was() {
    let world = World::new().await;
    let known: BTreeMap<&str, Vec<String>> = [("partner", "dryRun"), ("directory", "data")].map(in_documents).into();
    for (n, (operation, caller)) in writes().into_iter().enumerate() {
        if caller == "admin" {
            continue;
        }
        let things = prepare(&world, n, &operation).await;
        let client = match caller {
            "jane" => world.app.person(&things["userId"]).await,
            caller => world.client(operation.surface, caller).await,
        };
        let before = everything(&world.app).await;
        let ask = Ask::of(&operation, &things);
        let with_key = client.with("Idempotency-Key", "rehearsal");
        let path = format!("{}?dry_run=true", ask.path);
        let answer = with_key.send(&operation.method, &path, ask.body.to_string()).await.ok();
        let what = format!("{} {} as {caller}", operation.surface, operation.name);
        let told = &answer.body[if operation.surface == "partner" { "dryRun" } else { "data" }];
        assert_eq!((&told["kind"], answer.message()), (&json!("dryRun"), "Dry run: nothing was changed"), "{what}");
        assert!(told["items"].as_array().is_some_and(|items| !items.is_empty()), "{what}: {told}");
        let is_described =
            |item: &Value| item.as_object().unwrap().keys().all(|key| known[operation.surface].contains(key));
        assert!(told["items"].as_array().unwrap().iter().all(is_described), "{what}: the document has no {told}");
        // Every answer of the partner API tells of the person's health, but for whom it would make.
        let looks = usize::from(operation.surface == "partner" && operation.name != "createUser");
        assert_only_read(&before, &everything(&world.app).await, looks, &what);
    }
}

#[tokio::test]
async fn without_a_credential_nothing_is_written_whatever_the_body_says() {
    let world = World::new().await;
    let before = everything(&world.app).await;
    let rows = policy();
    let things = &world.things["acme"];
    let asks =
        |one: &Operation| rows.get(&(one.surface.to_owned(), one.name.clone())).is_none_or(|row| !row.is_empty());
    for operation in variants().into_iter().filter(asks) {
        let client = world.app.anyone().with("Idempotency-Key", "k");
        for wrong in [client.clone(), client.with("X-API-KEY", "wrong"), client.with("Authorization", "Bearer a.b.c")] {
            let answer = world.ask(&wrong, &operation, things).await;
            let expected = if operation.surface == "partner" { 403 } else { 401 };
            assert_eq!(answer.status, expected, "{}: {}", operation.name, answer.text);
        }
    }
    assert_only_refused(&before, &everything(&world.app).await, "without a credential");
}

#[tokio::test]
async fn a_key_is_what_its_row_says_and_two_credentials_are_never_added_up() {
    let world = World::new().await;
    let path = format!("/v1/users/{}", world.persons["jane"]);
    let reader = world.client("directory", "reader").await;
    let app = &world.app;
    let token = format!("Bearer {}", app.token(&world.persons["member"]).await);
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
                .with("Authentication", &format!("Bearer {}", app.token(&world.persons["jane"]).await)),
            403,
        ),
    ] {
        let answer = client.send("PUT", &path, r#"{"user":{}}"#).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    // Nor does a read key write by any other operation, whatever it calls itself.
    for operation in operations().into_iter().filter(Operation::writes) {
        let before = everything(app).await;
        let reader = world.client(operation.surface, "reader").await;
        for (client, status) in [(reader.clone(), 403), (reader.instead("X-API-KEY-TYPE", "write"), 401)] {
            let status = if operation.surface == "partner" { 403 } else { status };
            let answer = world.ask(&client, &operation, &world.things["acme"]).await;
            assert_eq!(answer.status, status, "{}: {}", operation.name, answer.text);
        }
        assert_only_refused(&before, &everything(app).await, &operation.name);
    }
}
