//! I8: what is left of somebody who was erased, and what is held about somebody who was not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use usher::apps::{self, Kind};
use usher::audit::{Action, chain};
use usher::billing;
use usher::caller::{Actor, Caller};
use usher::db::{Row, Tx, Value};
use usher::erasure::{self, End, Part, ROWS};
use usher::field::Line;
use usher::tenants::{self, Facts};
use usher::users::{self, RESTORABLE, Status, UserId};
use usher::vault::Vault;
use uuid::Uuid;

use crate::cluster::on_postgres;
use crate::harness::{But, Folder, TestApp, jane, john};
use crate::idempotency::set_status;
use crate::program::{Program, usher};
use crate::receiver::{Receiver, answer};
use crate::signin::{CALLBACK, app_and_jane};
use crate::tables::{rows, tables};
use crate::webhooks::all_sent;

/// What is known of Jane and of nobody else, in any table.
const HERS: &[&str] = &["jane", "doe.com", "1234567890", "1990-12-23", "Janie", "canary"];

/// Jane with something of hers in every table that holds something of users.
async fn everywhere() -> (TestApp, String) {
    let app = TestApp::new().await;
    app.register(Kind::Sandbox, CALLBACK).await;
    let acme = app.partner("acme").await.with("Idempotency-Key", "a");
    let server = app.server().await.with("Idempotency-Key", "b");
    server.post("/v1/webhooks", json!({"url": "https://hooks.example.com/usher"})).await.ok();
    let id = acme.post("/users/create", jane()).await.ok().id().to_owned();
    let link = app.newest_link().await;
    assert_eq!(app.anyone().send("POST", &link, "").await.status, 303);
    app.code().await;
    let change = json!({"user": {"nickname": "Janie", "externalId": "canary", "metadata": {"canary": "canary"}}});
    server.send("PATCH", &format!("/v1/users/{id}"), change.to_string()).await.ok();
    server.put(&format!("/v1/users/{id}?test=true"), json!({"user": {"email": "jane.two@doe.com"}})).await.ok();
    let pause = json!({"email": "jane.two@doe.com", "pauseUntil": "2099-01-01"});
    acme.post("/subscription/pause", pause).await.ok();
    let user = app.user(&id).await;
    // By an address that she had before: a sign-in that leads nowhere, and names her.
    app.begin("jane@doe.com").await;
    app.mails().await;
    let note = move |tx: &Tx| billing::note_customer(tx, user.environment, user.id, billing::Mode::Test, "cus_1");
    app.store().write(note).await.unwrap();
    // A receiver may say anything.
    app.tamper(
        "UPDATE deliveries SET failure = 'no jane@doe.com here';
         INSERT INTO delivery_attempts (id, delivery_id, created_at, status, millis, words)
         SELECT id, id, created_at, 404, 1, 'no jane@doe.com here' FROM deliveries",
    );
    (app, id)
}

/// Everything that is held about somebody, put together of its parts.
pub async fn export(app: &TestApp, id: &str) -> serde_json::Value {
    let user = app.user(id).await;
    let (mut text, mut part) = (String::new(), Some(Part::Held));
    while let Some(now) = part {
        let user = user.clone();
        let (more, next) = app.store().scan(move |tx| erasure::export(tx, &user, now)).await.unwrap();
        text.push_str(&more);
        part = next;
    }
    serde_json::from_str(&text).unwrap()
}

/// Everything that is stored: for each table its columns and its rows.
type Stored = BTreeMap<String, (Vec<String>, Vec<Row>)>;

async fn stored(app: &TestApp) -> Stored {
    let mut stored = Stored::new();
    for (table, columns) in tables(app).await {
        let rows = rows(app, &table, &columns).await;
        stored.insert(table, (columns, rows));
    }
    stored
}

fn has(row: &Row, ids: &BTreeSet<Vec<u8>>) -> bool {
    row.values().iter().any(|value| matches!(value, Value::Bytes(bytes) if ids.contains(&bytes[..])))
}

/// Her id and those of all rows that refer to it, or to one of those, and so on.
fn hers(stored: &Stored, id: &str) -> BTreeSet<Vec<u8>> {
    let mut ids = BTreeSet::from([Uuid::parse_str(id).unwrap().as_bytes().to_vec()]);
    loop {
        let before = ids.len();
        for (columns, rows) in stored.values() {
            let Some(id) = columns.iter().position(|column| column == "id") else { continue };
            let found: Vec<_> = rows.iter().filter(|row| has(row, &ids)).map(|row| row.values()[id].clone()).collect();
            ids.extend(found.into_iter().filter_map(|id| match id {
                Value::Bytes(bytes) => Some(bytes.to_vec()),
                _ => None,
            }));
        }
        if ids.len() == before {
            return ids;
        }
    }
}

/// What is written in a row, sealed or not: a value is sealed for one of the others.
fn readable(vault: &Vault, row: &Row) -> String {
    let mut text = String::new();
    let bytes = |value: &Value| match value {
        Value::Bytes(bytes) => bytes.to_vec(),
        Value::Text(text) => text.as_bytes().to_vec(),
        _ => Vec::new(),
    };
    for value in row.values().iter().map(bytes) {
        text.push_str(&String::from_utf8_lossy(&value));
        for owner in row.values().iter().map(bytes) {
            if let Ok(opened) = vault.open(&owner, &value) {
                text.push_str(&String::from_utf8_lossy(&opened));
            }
        }
        text.push('\n');
    }
    text
}

/// The tables with a row in which one of these texts can be read.
async fn tables_with(app: &TestApp, stored: &Stored, texts: &'static [&str]) -> BTreeSet<String> {
    let rows: Vec<(String, Row)> =
        stored.iter().flat_map(|(table, (_, rows))| rows.iter().map(|row| (table.clone(), row.clone()))).collect();
    let find = move |tx: &Tx| {
        let with = rows.iter().filter(|(_, row)| {
            let text = readable(tx.vault(), row);
            texts.iter().any(|one| text.contains(one))
        });
        Ok(with.map(|(table, _)| table.clone()).collect())
    };
    app.store().scan(find).await.unwrap()
}

#[tokio::test]
async fn erasing_takes_the_person_out_of_every_table_and_leaves_a_receipt_and_the_trail() {
    let (app, id) = everywhere().await;
    let bob = john().but("email", json!("bob@roe.com")).but("firstname", json!("Bob")).but("lastname", json!("Roe"));
    let bob = bob.but("dateOfBirth", json!("1980-01-01"));
    let other = app.partner("acme").await.post("/users/create", bob).await.ok().id().to_owned();
    let user: UserId = id.parse().unwrap();
    let entries = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap().len();

    // She is wherever the tables have a place for somebody.
    let before = stored(&app).await;
    let ids = hers(&before, &id);
    let reached: BTreeSet<&str> = before
        .iter()
        .filter(|(_, (_, rows))| rows.iter().any(|row| has(row, &ids)))
        .map(|(table, _)| table.as_str())
        .collect();
    for (table, (columns, _)) in before.iter().filter(|(table, _)| *table != "erasures") {
        assert!(
            !columns.iter().any(|column| column == "user_id") || reached.contains(table.as_str()),
            "everywhere() in tests/it/erasure.rs has to put something of hers into {table}"
        );
    }
    let known: BTreeSet<&str> = ROWS.iter().map(|rows| rows.table).chain(["users", "audit"]).collect();
    assert_eq!(reached, known, "ROWS in src/erasure/store.rs and the tables that lead to a user");
    let with_her = tables_with(&app, &before, HERS).await;
    for table in ["users", "audit", "outbox", "idempotency", "sign_ins", "delivery_attempts", "deliveries"] {
        assert!(with_her.contains(table), "{table}: {with_her:?}");
    }

    let server = app.server().await;
    let answer = server.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    let receipt = answer.body["data"].clone();
    for (table, least) in [("users", 1), ("audit", 4), ("codes", 1), ("idempotency", 2), ("delivery_attempts", 3)] {
        assert!(receipt["counts"][table].as_i64().unwrap() >= least, "{table}: {receipt}");
    }
    let after = stored(&app).await;
    assert_eq!(tables_with(&app, &after, HERS).await, BTreeSet::new(), "something of hers can still be read");
    let kept = ROWS.iter().filter(|rows| rows.end != End::Removed).map(|rows| rows.table);
    // A sign-in that was begun goes on as one by an address that nobody has: its own id is left, and nothing of hers.
    let kept: BTreeSet<&str> = kept.chain(["audit", "erasures", "sign_ins"]).collect();
    assert_eq!(app.count("sign_ins WHERE user_id IS NOT NULL OR decided_at IS NULL OR void_at IS NULL").await, 0);
    for (table, (_, rows)) in &after {
        // Who is to be deleted at Stripe, which names her by her id there and here.
        let is_her_end = |row: &Row| table == "outbox" && row.values().contains(&Value::from("billing"));
        let leads_to_her = rows.iter().any(|row| has(row, &ids) && !is_her_end(row));
        assert!(!leads_to_her || kept.contains(table.as_str()), "{table} still has rows of hers");
    }
    for text in ["jane", "doe.com", "canary"] {
        assert!(!receipt.to_string().contains(text));
    }
    // The trail still tells what was done and when, and not what it was about.
    let trail = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap();
    assert_eq!(trail.len(), entries + 1);
    assert!(trail[..entries].iter().all(|entry| entry.changes.0 == json!({})));
    assert_eq!((trail[entries].action.as_str(), &trail[entries].changes.0["fields"]), ("user.erased", &json!({})));

    assert_eq!(server.get(&format!("/v1/users/{id}")).await.status, 400);
    assert_eq!(server.send("POST", &format!("/v1/users/{id}/erase"), "").await.status, 404);
    assert_eq!(server.send("POST", &format!("/v1/users/{id}/restore"), "").await.status, 404);
    assert_eq!(app.user(&other).await.email.address(), "bob@roe.com", "nobody else is touched");
    // Address and number are free, and whoever has them next is another user.
    let again = app.partner("acme").await.post("/users/create", jane()).await.ok();
    assert_ne!(again.id(), id);
}

#[tokio::test]
async fn who_was_deleted_for_thirty_days_is_erased_and_nobody_before() {
    let (app, id) = everywhere().await;
    let other = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    set_status(&app, &id, Status::Deleted).await;
    app.advance(RESTORABLE.checked_sub(Duration::from_secs(1)).unwrap());
    set_status(&app, &other, Status::Deleted).await;
    let run = async || app.store().write(erasure::erase_expired).await.unwrap();
    assert_eq!(run().await, 0);
    app.advance(Duration::from_secs(1));
    assert_eq!((run().await, run().await), (1, 0));
    assert_eq!(app.user(&other).await.status(), Status::Deleted);
    let environment = app.user(&other).await.environment;
    let receipts = app.store().read(move |tx| erasure::receipts(tx, environment)).await.unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt.user_id.to_string()).collect::<Vec<_>>(), [id]);
    assert_eq!(app.audited(Action::UserErased).await[0].actor, Some(Actor::Usher), "nobody asked for it");
}

#[tokio::test]
async fn who_is_restored_after_they_were_counted_among_the_due_is_not_erased() {
    let (app, jane) = app_and_jane().await;
    set_status(&app, &jane, Status::Deleted).await;
    app.advance(RESTORABLE);
    let due = app.store().read(erasure::due).await.unwrap();
    assert_eq!(due.iter().map(ToString::to_string).collect::<Vec<_>>(), std::slice::from_ref(&jane));
    set_status(&app, &jane, Status::Active).await;
    let id = due[0];
    app.store().write(move |tx| erasure::erase_by_time(tx, id)).await.unwrap();
    assert_eq!(app.user(&jane).await.status(), Status::Active);
    set_status(&app, &jane, Status::Deleted).await;
    app.advance(RESTORABLE);
    for _ in 0..2 {
        app.store().write(move |tx| erasure::erase_by_time(tx, id)).await.unwrap();
    }
    assert_eq!(app.audited(Action::UserErased).await.len(), 1, "who is gone is no failure");
}

/// What Nora says of herself, and nobody else of anything.
const HER_TENANTS: &[&str] = &["canary", "nora@roe.com"];

/// Nora, who has signed up by herself and said what her tenant is; it has a key and a webhook.
async fn nora(app: &TestApp) -> (String, String) {
    app.open_to_all().await;
    // She asks twice, and comes in by the second mail.
    app.begin_at(&app.sign_in_path().replace("signIn", "signUp"), "nora@roe.com").await;
    let (id, tenant) = app.signed_up("nora@roe.com").await;
    let me = app.person(&id).await;
    let address = json!({"name": "canary name", "line1": "canary street", "city": "canary city"});
    let facts = json!({"tenant": {"name": "canary one", "companyName": "canary", "billingAddress": address}});
    me.with("Idempotency-Key", "tenant").put("/v1/tenants/me", facts).await.ok();
    let own = app.server_of(&tenant).await;
    own.post("/v1/webhooks", json!({"url": "https://hooks.example.com/own"})).await.ok();
    own.put(&format!("/v1/tenants/{tenant}"), json!({"tenant": {"name": "canary two"}})).await.ok();
    me.put("/v1/tenants/me", json!({"tenant": {"description": "canary"}})).await.ok();
    (id, tenant)
}

#[tokio::test]
async fn who_signed_up_by_themselves_takes_along_what_their_tenant_says_and_an_organisation_keeps_it() {
    let (app, jane) = app_and_jane().await;
    let (id, tenant) = nora(&app).await;
    let held = export(&app, &id).await;
    assert_eq!((&held["tenant"]["name"], &held["tenant"]["companyName"]), (&json!("canary two"), &json!("canary")));
    assert_eq!(held["tenant"]["billingAddress"]["line1"], "canary street");
    let events = held["events"].as_array().unwrap();
    let told = |event: &&serde_json::Value| event["changes"]["fields"]["name"] == json!(["canary one", "canary two"]);
    assert_eq!(events.iter().filter(told).count(), 1, "{held:#}");
    let before = tables_with(&app, &stored(&app).await, HER_TENANTS).await;
    assert!(["users", "tenants", "audit"].iter().all(|table| before.contains(*table)), "{before:?}");

    let server = app.server().await;
    let erased = server.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    assert_eq!(erased.body["data"]["counts"]["tenants"], 1);
    assert_eq!(tables_with(&app, &stored(&app).await, HER_TENANTS).await, BTreeSet::new());
    let left = left_of(&app, &tenant).await;
    let said = left.facts.show().into_iter().filter(|(_, value)| !value.is_null()).collect::<Vec<_>>();
    assert_eq!(said, [("name".to_owned(), json!(tenant))]);
    // It stays as deleted as it was before, and is no organisation's.
    let path = format!("/v1/tenants/{tenant}");
    let (read, changed) = (server.get(&path).await, server.put(&path, json!({"tenant": {"name": "x"}})).await);
    assert_eq!([read.error(), changed.error()], ["Tenant not found"; 2]);
    let told = server.get("/v1/analytics/tenants").await.ok().body["data"]["items"].clone();
    assert_eq!(told.as_array().unwrap().iter().map(|one| &one["name"]).collect::<Vec<_>>(), ["acme"]);
    let environment = left.environment;
    let offered = app.store().read(move |tx| tenants::newest_organisations(tx, environment, 9)).await.unwrap();
    assert_eq!(offered.iter().map(tenants::Tenant::handle).collect::<Vec<_>>(), ["acme"]);
    let report = chain::verify(app.store(), None, |_| ()).await.unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    assert!(erased.body["data"]["counts"]["audit"].as_i64().unwrap() >= 4, "{}", erased.text);

    let theirs = app.user(&jane).await.tenant.unwrap();
    server.send("POST", &format!("/v1/users/{jane}/erase"), "").await.ok();
    let acme = server.get(&format!("/v1/tenants/{theirs}")).await.ok();
    assert_eq!((&acme.body["data"]["name"], &acme.body["data"]["users"]), (&json!("acme"), &json!([])));
}

/// What is stored of a tenant, deleted or not.
async fn left_of(app: &TestApp, tenant: &str) -> tenants::Tenant {
    let id: tenants::TenantId = tenant.parse().unwrap();
    app.store().read(move |tx| tenants::any_by_id(tx, id)).await.unwrap().unwrap()
}

#[tokio::test]
async fn what_a_receiver_says_of_somebody_who_is_erased_is_not_kept() {
    let (app, id) = app_and_jane().await;
    let receiver = Receiver::start();
    receiver.answers(|_| answer(200, r#"{"deleted": "jane@doe.com"}"#));
    app.send_webhooks();
    let endpoint = app.webhook(&receiver).await;
    let server = app.server().await;
    server.put(&format!("/v1/users/{id}"), json!({"user": {"nickname": "JJ"}})).await.ok();
    app.once(endpoint.id, all_sent).await;
    let told = tables_with(&app, &stored(&app).await, &["jane@doe.com"]).await;
    assert!(told.contains("delivery_attempts"), "while she is there, the log says what was answered: {told:?}");
    server.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    app.once(endpoint.id, |all| all.len() == 2 && all_sent(all)).await;
    assert_eq!(app.count("delivery_attempts").await, 1, "that it was told and how it was answered stays");
    assert_eq!(tables_with(&app, &stored(&app).await, &["jane@doe.com"]).await, BTreeSet::new());
}

#[tokio::test]
async fn a_tenant_that_others_share_stays_as_it_is_until_the_last_of_them_is_erased() {
    let app = TestApp::new().await;
    app.register(Kind::Sandbox, CALLBACK).await;
    let (id, tenant) = nora(&app).await;
    let server = app.server().await;
    let other = server.post(&format!("/v1/users/{id}"), json!({"email": "bob@doe.com", "language": "en"})).await;
    other.ok();
    let found = server.get("/v1/users/bob@doe.com").await.ok().body["data"].clone();
    assert_eq!(found["tenantId"], json!(tenant));
    let bob = found["id"].as_str().unwrap().to_owned();
    let name = async || left_of(&app, &tenant).await.facts.show()["name"].clone();
    server.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    server.put(&format!("/v1/tenants/{tenant}"), json!({"tenant": {"name": "canary three"}})).await.ok();
    set_status(&app, &bob, Status::Deleted).await;
    assert_eq!(name().await, "canary three");
    server.send("POST", &format!("/v1/users/{bob}/erase"), "").await.ok();
    assert_eq!(name().await, json!(tenant));
    assert_eq!(tables_with(&app, &stored(&app).await, HER_TENANTS).await, BTreeSet::new());
    assert!(chain::verify(app.store(), None, |_| ()).await.unwrap().findings.is_empty());
}

#[tokio::test]
async fn who_called_their_tenant_by_the_id_of_another_does_not_keep_what_that_says() {
    let (app, _) = app_and_jane().await;
    let (id, tenant) = nora(&app).await;
    // As could be done before that was refused.
    app.tamper(&format!("UPDATE tenants SET name = '{tenant}' WHERE name = 'acme'"));
    app.server().await.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    assert_eq!(tables_with(&app, &stored(&app).await, HER_TENANTS).await, BTreeSet::new());
    let left = left_of(&app, &tenant).await.facts.show()["name"].as_str().unwrap().to_owned();
    assert!(left != tenant && left.parse::<tenants::TenantId>().is_ok(), "{left}");
}

#[tokio::test]
async fn whoever_of_two_is_restored_while_the_other_is_erased_finds_their_tenant_as_it_was() {
    for restored_first in [false, true] {
        let app = TestApp::new().await;
        app.register(Kind::Sandbox, CALLBACK).await;
        let (id, tenant) = nora(&app).await;
        let server = app.server().await;
        server.post(&format!("/v1/users/{id}"), json!({"email": "bob@doe.com", "language": "en"})).await.ok();
        let bob = server.get("/v1/users/bob@doe.com").await.ok().body["data"]["id"].as_str().unwrap().to_owned();
        for who in [&id, &bob] {
            set_status(&app, who, Status::Deleted).await;
        }
        let path = format!("/v1/tenants/{tenant}");
        assert_eq!(server.get(&path).await.error(), "Tenant not found");
        let (nora, bob): (UserId, UserId) = (id.parse().unwrap(), bob.parse().unwrap());
        let restore = move |tx: &Tx| users::set_status(tx, bob, Status::Active).map(drop);
        let erase = move |tx: &Tx| erasure::again(tx, nora).map(drop);
        let (one, other) = if restored_first { app.meet(restore, erase).await } else { app.meet(erase, restore).await };
        one.and(other).unwrap();
        assert_eq!(server.get(&path).await.ok().body["data"]["name"], "canary two");
    }
}

#[tokio::test]
async fn who_changes_a_tenant_while_the_last_of_its_people_is_erased_finds_none() {
    let app = TestApp::new().await;
    app.register(Kind::Sandbox, CALLBACK).await;
    let (id, tenant) = nora(&app).await;
    let (user, tenant): (UserId, tenants::TenantId) = (id.parse().unwrap(), tenant.parse().unwrap());
    let client = app.client_id;
    let change = move |tx: &Tx| {
        let caller = Caller::operator(&apps::environment(tx, client, Kind::Sandbox)?);
        let name = Some(Line("canary three".to_owned()));
        tenants::update(tx, &caller, Some(tenant), Facts { name, ..Facts::default() }).map(drop)
    };
    let (erased, changed) = app.meet(move |tx| erasure::again(tx, user).map(drop), change).await;
    erased.unwrap();
    assert_eq!(changed.unwrap_err().to_string(), "Tenant not found");
    assert_eq!(tables_with(&app, &stored(&app).await, HER_TENANTS).await, BTreeSet::new());
}

#[tokio::test]
async fn an_earlier_address_that_somebody_else_has_by_now_is_theirs() {
    let (app, jane) = app_and_jane().await;
    let server = app.server().await;
    let other = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    for (id, email) in [(&jane, "jane.two@doe.com"), (&other, "jane@doe.com")] {
        server.put(&format!("/v1/users/{id}"), json!({"user": {"email": email}})).await.ok();
    }
    app.advance(Duration::from_secs(1));
    let (browser, _) = app.begin("jane@doe.com").await;
    server.send("POST", &format!("/v1/users/{jane}/erase"), "").await.ok();
    let (link, _) = app.newest_mail().await;
    assert_eq!(browser.send("POST", &link, "").await.status, 303);
}

#[tokio::test]
async fn an_answer_kept_for_a_repeated_request_goes_too_so_the_request_is_a_new_one() {
    let (app, id) = everywhere().await;
    let server = app.server().await.with("Idempotency-Key", "c");
    let path = format!("/v1/users/{id}");
    let body = json!({"user": {"nickname": "J"}}).to_string();
    server.send("PATCH", &path, body.clone()).await.ok();
    assert_eq!(server.send("PATCH", &path, body.clone()).await.ok().header("idempotent-replayed"), "true");
    app.server().await.send("POST", &format!("{path}/erase"), "").await.ok();
    assert_eq!(server.send("PATCH", &path, body).await.status, 404);
}

#[tokio::test]
async fn an_export_has_everything_that_is_held_and_no_way_in() {
    let (app, id) = everywhere().await;
    let held = export(&app, &id).await;
    let text = held.to_string();
    for fact in HERS.iter().chain(&["5ft 6in", "no pork", "Dr. Mike Smith", "jane.two@doe.com", "acme", "user.updated"])
    {
        assert!(text.contains(fact), "{fact} is missing: {held:#}");
    }
    for rows in ROWS {
        let some = held[rows.table].as_array().is_some_and(|all| !all.is_empty());
        assert!(some, "{} is missing", rows.table);
    }
    assert_eq!(held["events"].as_array().unwrap().len(), 7);
    assert_eq!(
        (&held["billing_customers"][0]["customer"], &held["delivery_attempts"][0]["words"]),
        (&json!("cus_1"), &json!("no jane@doe.com here"))
    );
    assert_eq!(held["deliveries"][0]["body"]["type"], "user.created");
    let answers = held["idempotency"].as_array().unwrap();
    assert!(answers.iter().any(|kept| kept["answer"]["email"] == "jane@doe.com"), "{answers:?}");
    let links: Vec<String> = app.mails().await.into_iter().flat_map(|(_, mail)| mail.links).collect();
    assert!(!links.is_empty());
    for link in links {
        assert!(!text.contains(&link[link.len() - 20..]), "a link that works is not for an export");
    }
}

#[test]
fn a_restored_backup_forgets_again_whom_the_receipts_name() {
    crate::cluster::about_the_file!();
    let program = Program::start(&[]);
    let id = program.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let other = program.enrol(&john()).1["identifier"].as_str().unwrap().to_owned();
    let (shelf, restored) = (Folder::new(), Folder::new());
    let (backup, receipts) = (shelf.0.join("usher.db"), shelf.0.join("receipts.json"));
    program.json(&["backup", backup.to_str().unwrap()]);
    program.json(&["user", "erase", &id]);
    std::fs::write(&receipts, program.json(&["user", "erasures"]).to_string()).unwrap();
    std::fs::copy(program.folder.0.join("data.key"), restored.0.join("data.key")).unwrap();
    let run = |words: &[&str]| {
        let output = usher(&restored).args(words).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let restore = ["restore", backup.to_str().unwrap()];
    assert!(!run(&[&restore[..], &["--erasures", "/nowhere.json"]].concat()).0);
    assert!(!restored.0.join("usher.db").exists(), "receipts that cannot be read are found out first");
    let (done, said) = run(&restore);
    assert!(done && said.contains("usher user erase --again"), "{said}");
    assert!(run(&["user", "show", &id]).0);
    std::fs::remove_file(restored.0.join("usher.db")).unwrap();
    // Who only looked leaves an empty log.
    let _ = std::fs::remove_file(restored.0.join("usher.db-wal"));
    let (done, said) = run(&[&restore[..], &["--erasures", receipts.to_str().unwrap()]].concat());
    assert!(done && said.contains("Erased again: 1."), "{said}");
    assert!(!run(&["user", "show", &id]).0 && run(&["user", "show", &other]).0);
    assert!(run(&["audit", "verify"]).0, "the trail says so");
}

#[test]
fn the_operator_exports_erases_and_repeats_erasures_from_the_command_line() {
    let program = Program::start(&[]);
    let enrol = || program.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let id = enrol();
    assert_eq!(program.json(&["user", "export", &id])["user"]["email"], "jane@doe.com");
    for command in [&["user", "export", &id][..], &["user", "erasures", "--json"], &["audit", "anchor"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let cut_off = usher(&program.folder).args(command).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&cut_off.stderr);
        assert!(!cut_off.status.success() && said.contains("to its end"), "{command:?}: {said}");
    }
    assert_eq!(program.json(&["user", "erase", "jane@doe.com"])[0]["userId"], json!(id));
    let receipts = program.json(&["user", "erasures"]);
    assert_eq!((receipts.as_array().unwrap().len(), &receipts[0]["userId"]), (1, &json!(id)));
    assert!(!receipts.to_string().contains("doe.com"));
    let file = program.folder.0.join("receipts.json");
    std::fs::write(&file, receipts.to_string()).unwrap();
    assert_eq!(program.json(&["user", "erase", "--again", file.to_str().unwrap()]), json!([]), "they are gone already");
    assert_ne!(enrol(), id);
    assert!(!program.run(&["user", "erase", "nobody@doe.com"]).status.success());
    assert!(!program.run(&["user", "erase"]).status.success());
}

#[test]
fn the_operator_makes_roles_and_gives_them_from_the_command_line() {
    let program = Program::start(&[]);
    let id = program.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let place = ["--app", program.client_id.as_str(), "--environment", "sandbox"];
    let run = |words: &[&str]| program.json(&[words, &place].concat());
    let role = run(&["role", "create", "desk", "--rights", "users:read users:invite"])["id"].clone();
    let roles = run(&["role", "list"]);
    assert_eq!((roles.as_array().unwrap().len(), &roles[2]["rights"]), (3, &json!("users:read users:invite")));
    assert_eq!(program.json(&["role", "rights"]).as_array().unwrap().len(), 6);
    program.json(&["user", "role", &id, "desk"]);
    assert_eq!(program.json(&["user", "show", &id])["userRoleId"], role);
    program.json(&["role", "delete", role.as_str().unwrap()]);
    for wrong in [
        &["role", "delete", role.as_str().unwrap()][..],
        &["user", "role", &id, "desk"],
        &["role", "create", "x", "--rights", "everything"],
    ] {
        assert!(!program.run(wrong).status.success(), "{wrong:?}");
    }
}

#[tokio::test]
async fn the_sign_ins_of_a_user_and_of_an_address_are_found_by_an_index() {
    if on_postgres() {
        // It reads small tables whole, whatever indexes there are.
        return;
    }
    let app = TestApp::new().await;
    for condition in ["user_id = x'00'", "address IN (x'00', x'01')"] {
        let plan = format!("EXPLAIN QUERY PLAN SELECT id FROM sign_ins WHERE {condition}");
        let rows = app.store().read(move |tx| tx.query(&plan, &[])).await.unwrap();
        let steps: Vec<String> = rows.iter().map(|row| row.get(3).unwrap()).collect();
        assert!(steps.iter().all(|step| step.starts_with("SEARCH sign_ins USING")), "{steps:?}");
    }
}
