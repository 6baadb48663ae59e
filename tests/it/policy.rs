//! F1: every operation of every OpenAPI document, asked by everyone, as `policy.toml` has decided; and every id that a
//! request can name, in every place, when it is somebody else's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use usher::users::Status;
use uuid::Uuid;

use crate::harness::{Answer, Client};
use crate::world::{Ask, CALLERS, NOBODY, OWNERS, Operation, Things, World, operations, variants};

pub fn policy() -> BTreeMap<(String, String), Vec<String>> {
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

/// What is the same however often it is asked.
fn essence(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut body = answer.body.clone();
    if let Some(body) = body.as_object_mut() {
        body.shift_remove("requestId");
    }
    let headers = answer.headers.iter().filter(|(name, _)| *name != "request-id");
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    (answer.status, headers, body.to_string())
}

#[tokio::test]
async fn every_operation_answers_every_caller_as_the_table_says() {
    let rows = policy();
    let world = World::new().await;
    let jane = world.things["acme"].clone();
    let mut refused = Refused::default();
    world.app.app.api().refusals.take();
    for operation in operations() {
        let row = &rows[&(operation.surface.to_owned(), operation.name.clone())];
        let mut ask = Ask::of(&operation, &jane);
        if operation.writes() {
            // What would be gone afterwards is rehearsed.
            ask.query.push(("dry_run".into(), "true".into()));
        }
        let restores = operation.name == "restoreUser";
        for (caller, decision) in CALLERS.iter().zip(row) {
            let what = format!("{} {} as {caller}", operation.surface, operation.name);
            let client = world.client(operation.surface, caller).await;
            if restores {
                world.set_status(&jane["userId"], Status::Deleted).await;
            }
            let answer = client.send(&operation.method, &ask.address(), ask.body.to_string()).await;
            assert_eq!(answer.status, decision.parse().unwrap_or(200), "{what}: {}", answer.text);
            refused.note(&world, &operation, &answer);
            if decision == "own" {
                assert_within_reach(&world, caller, &operation.name, &answer);
            }
            if restores {
                world.set_status(&jane["userId"], Status::Active).await;
            }
        }
    }
    refused.assert_audited(&world).await;
}

/// Of other tenants and environments there is nothing in it.
#[track_caller]
fn assert_within_reach(world: &World, caller: &str, operation: &str, answer: &Answer) {
    let of_acme = ["reader", "writer", "acme", "admin", "jane", "member"].contains(&caller);
    if operation == "listUsers" {
        assert_eq!(answer.text.contains(&world.persons["jane"]), of_acme, "{caller}: {}", answer.text);
    }
    if !["reader", "writer", "other", "stranger"].contains(&caller) {
        assert!(!answer.text.contains("stranger@"), "{caller} {operation}: {}", answer.text);
    }
    if operation == "getTenant" && caller == "member" {
        let text = &answer.text;
        assert!(text.contains(&world.persons["member"]) && !text.contains("admin@"), "{text}");
    }
}

/// Which of an owner's things this parameter names, if it names any. Whatever is new has to be decided here.
fn names(operation: &Operation, place: &str, name: &str) -> Option<String> {
    const NOTHING: [&str; 21] = [
        "accessStatus",
        "metadata",
        "test",
        "dry_run",
        "status",
        "created_from",
        "created_to",
        "updated_from",
        "updated_to",
        "sort",
        "limit",
        "format",
        "preset",
        "map",
        "send_links",
        "rehearse",
        "from",
        "to",
        "Fitmate-Version",
        "Usher-Version",
        // Has a test of its own below.
        "Idempotency-Key",
    ];
    match (place, name) {
        // An invitation changes nobody who could have been changed meanwhile.
        ("header", "If-Match") if operation.name == "invite" => None,
        // The number of a row.
        ("query", "cursor") if operation.name == "listImportRows" => None,
        ("path", "userId" | "tenantId" | "importId" | "webhookId" | "sessionId" | "deliveryId" | "appId")
        | ("query", "tenant" | "email" | "phone" | "external_id")
        | ("header", "If-Match" | "X-CLIENT-ID")
        | ("body", "userRoleId" | "eventId") => Some(name.to_owned()),
        ("query", "cursor") => Some(format!("cursor of {}", operation.name)),
        // Who is made, changed or invited has an address, which is free or taken in the whole environment.
        ("body", "email") => {
            (operation.surface == "partner" && operation.name != "createUser").then(|| name.to_owned())
        }
        ("body", "companyVATId") => None,
        ("body", name) if !name.to_lowercase().ends_with("id") => None,
        (_, name) if NOTHING.contains(&name) => None,
        _ => panic!("{name} in the {place} of {}: decide in tests/it/policy.rs what it names", operation.name),
    }
}

/// The owner whose things the caller may name where they are not in question.
fn home(caller: &str) -> &'static str {
    match caller {
        "other" | "stranger" => "other",
        "live" => "live",
        "foreign" => "foreign",
        _ => "acme",
    }
}

/// Whether a thing of the owner is within the caller's reach, so that it says nothing how it is answered.
fn sees(caller: &str, owner: &str, thing: &str) -> bool {
    let sandbox = ["acme", "other"].contains(&owner);
    match (caller, thing) {
        ("none", _) => false,
        (_, "If-Match") => caller != "member" && home(caller) == owner,
        (_, "appId" | "X-CLIENT-ID") => (caller == "foreign") == (owner == "foreign"),
        ("foreign" | "live", _) => caller == owner,
        ("reader" | "writer", _) | (_, "userRoleId") => sandbox,
        ("member", _) => thing == "tenantId" && owner == "acme",
        _ => home(caller) == owner,
    }
}

/// A thing that nobody has.
fn unknown(thing: &str) -> String {
    match thing {
        "email" => "nobody@doe.com".into(),
        "phone" => "2025559999".into(),
        "external_id" => "nobody".into(),
        "If-Match" => format!("\"{NOBODY}.1\""),
        thing if thing.starts_with("cursor") => "AAAA".into(),
        _ => NOBODY.into(),
    }
}

/// An operation, asked with a thing in one place.
async fn ask_with(
    client: &Client<'_>,
    operation: &Operation,
    home: &Things,
    place: &str,
    name: &str,
    thing: &str,
) -> Answer {
    let mut things = home.clone();
    if place == "path" {
        thing.clone_into(things.get_mut(name).unwrap());
    }
    let (mut ask, mut client) = (Ask::of(operation, &things), client.clone());
    match place {
        "query" => ask.query.push((name.to_owned(), thing.to_owned())),
        "header" => client = client.instead(name, thing),
        "body" => {
            let body = ask.body.as_object_mut().unwrap();
            body.shift_remove("since");
            body.insert(name.to_owned(), thing.into());
        }
        _ => {}
    }
    client.send(&operation.method, &ask.address(), ask.body.to_string()).await
}

/// Refused requests: which, and at what operation.
#[derive(Default)]
struct Refused(Vec<(Uuid, String)>);

impl Refused {
    /// To be called after each request, so that the next is the first of its minute.
    fn note(&mut self, world: &World, operation: &Operation, answer: &Answer) {
        let counted = world.app.app.api().refusals.take();
        assert!(counted.is_empty(), "{counted:?}");
        if (400..500).contains(&answer.status) {
            let route = format!("{} {}", operation.method, operation.path);
            self.0.push((answer.header("request-id").parse().unwrap(), route));
        }
    }

    /// Each has its entry, and one only, whether or not it came with a credential.
    async fn assert_audited(self, world: &World) {
        let sql = "SELECT request_id, operation FROM audit WHERE action = 'request.refused' AND times = 1 ORDER BY id";
        let rows = world.app.store().scan(move |tx| tx.query(sql, &[])).await.unwrap();
        let mut entries: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
        for row in &rows {
            entries.entry(row.get(0).unwrap()).or_default().push(row.get(1).unwrap());
        }
        for (id, route) in &self.0 {
            assert_eq!(entries.get(id), Some(&vec![route.clone()]), "{id}");
        }
        assert!(self.0.len() > 100, "{}", self.0.len());
    }
}

#[tokio::test]
async fn a_foreign_id_is_answered_as_one_that_nobody_has_wherever_it_stands_and_the_attempt_is_noted() {
    let world = World::new().await;
    let rows = policy();
    let mut refused = Refused::default();
    world.app.app.api().refusals.take();
    let mut asked = BTreeSet::new();
    for operation in variants() {
        let row = rows.get(&(operation.surface.to_owned(), operation.name.clone()));
        if row.is_some_and(Vec::is_empty) {
            continue;
        }
        let named =
            operation.takes.iter().filter_map(|(place, name)| Some((place, name, names(&operation, place, name)?)));
        let named: Vec<_> = named.collect();
        for caller in CALLERS {
            let client = world.client(operation.surface, caller).await;
            let mut home = world.things[home(caller)].clone();
            if caller == "member" {
                home.insert("userId", world.persons["member"].clone());
            }
            for (place, name, thing) in &named {
                let of_nobody = ask_with(&client, &operation, &home, place, name, &unknown(thing)).await;
                refused.note(&world, &operation, &of_nobody);
                for owner in OWNERS.into_iter().filter(|owner| !sees(caller, owner, thing)) {
                    let answer =
                        ask_with(&client, &operation, &home, place, name, &world.things[owner][thing.as_str()]).await;
                    refused.note(&world, &operation, &answer);
                    let what = format!(
                        "{} {} as {caller}: {name} of {owner} in the {place}",
                        operation.surface, operation.name
                    );
                    assert_eq!(essence(&answer), essence(&of_nobody), "{what}");
                    // A filter that nobody meets is an empty list.
                    let is_filter = operation.name == "listUsers" && **place == "query";
                    let found_nothing = is_filter && answer.body["data"]["items"] == Value::Array(Vec::new());
                    assert!(answer.status >= 400 || found_nothing, "{what}: {}", answer.text);
                    asked.insert((operation.surface, operation.name.clone(), (*name).clone()));
                }
            }
        }
    }
    assert!(asked.len() > 70, "{}", asked.len());
    refused.assert_audited(&world).await;
}

#[tokio::test]
async fn an_idempotency_key_of_another_caller_is_a_new_one() {
    let world = World::new().await;
    let gone_afterwards = ["deleteUser", "eraseUser", "removeWebhook", "endSession", "endSessions", "setAccessStatus"];
    let (last, first): (Vec<_>, Vec<_>) =
        variants().into_iter().filter(Operation::writes).partition(|one| gone_afterwards.contains(&one.name.as_str()));
    let mut replayed = 0;
    for (n, operation) in first.iter().chain(&last).enumerate() {
        let things = world.somebody(n, operation).await;
        if operation.name == "restoreUser" {
            world.set_status(&things["userId"], Status::Deleted).await;
        }
        let key = format!("key-{n}");
        let acme = world.client(operation.surface, "acme").await.with("Idempotency-Key", &key);
        let first = world.ask(&acme, operation, &things).await.ok();
        let again = world.ask(&acme, operation, &things).await;
        replayed += usize::from(again.header("idempotent-replayed") == "true" && again.text == first.text);
        for caller in ["none", "reader", "other", "live", "foreign", "member", "stranger", "writer"] {
            let what = format!("{} {} as {caller}", operation.surface, operation.name);
            let client = world.client(operation.surface, caller).await;
            let answer = world.ask(&client.with("Idempotency-Key", &key), operation, &things).await;
            assert_eq!(answer.header("idempotent-replayed"), "", "{what}");
            if answer.status != 200 {
                let fresh = world.ask(&client.with("Idempotency-Key", "fresh"), operation, &things).await;
                assert_eq!(essence(&answer), essence(&fresh), "{what}");
            }
        }
    }
    assert_eq!(replayed, first.len() + last.len());
}
