//! What webhooks tell: of which changes, to which endpoints, and in which words.

use std::time::Duration;

use serde_json::{Value, json};
use usher::apps::Kind;
use usher::audit::Action;
use usher::caller::Actor;
use usher::roles::{self, Rights, RoleId};
use usher::users::{Health, Status, UserId};
use usher::webhooks::{self, Address, New};

use crate::harness::{TestApp, jane, john};
use crate::idempotency::{CREATE, UPDATE, set_status};
use crate::receiver::{Message, Receiver};
use crate::webhooks::{a_webhook, kinds};

/// What was told, as the OpenAPI document has it, without whose it is.
fn told(messages: &[Message]) -> Vec<Value> {
    let documents = usher::api::openapi::documents();
    let (_, document) = documents.into_iter().find(|(name, _)| name == "directory.json").unwrap();
    let schema = &document["components"]["schemas"]["Message"]["properties"];
    let told = |message: &Message| {
        let mut told = message.json();
        assert!(schema["type"]["enum"].as_array().unwrap().contains(&told["type"]), "{told}");
        let data = told["data"].as_object_mut().unwrap();
        assert!(data.keys().all(|name| schema["data"]["properties"][name].is_object()), "{data:?}");
        assert!(data.shift_remove("appId").is_some() && data.shift_remove("environment") == Some(json!("sandbox")));
        json!([told["type"], told["data"]])
    };
    messages.iter().map(told).collect()
}

#[tokio::test]
async fn every_change_of_a_user_is_told_by_ids_and_names_and_never_by_a_value() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    app.webhook(&receiver).await;
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let id = acme.post(CREATE, jane()).await.ok().id().to_owned();
    let change = json!({"email": "jane@doe.com", "diabetes": 3, "doctorFullname": "Dr. Canary"});
    acme.post(UPDATE, change).await.ok();
    server.put(&format!("/v1/users/{id}"), json!({"user": {"nickname": "canary", "locale": "en"}})).await.ok();
    server.put(&format!("/v1/users/{id}"), json!({"user": {"nickname": "canary"}})).await.ok();
    for status in [Status::Frozen, Status::Active, Status::Deleted] {
        set_status(&app, &id, status).await;
    }
    app.app.api().outbox.wake();
    let messages = receiver.soon(6).await;
    assert_eq!(self::told(&messages).len(), 6);
    let told: Vec<Value> = messages.iter().map(Message::json).collect();
    let expected = ["user.created", "user.updated", "user.updated", "user.frozen", "user.restored", "user.deleted"];
    assert_eq!(kinds(&messages), expected, "nothing is told of a change that changes nothing");
    let tenant = app.user(&id).await.tenant;
    let all = ["given_name", "family_name", "birthdate", "email", "phone_number", "subscription", "health"];
    assert_eq!(
        told[0],
        json!({
            "type": "user.created", "timestamp": "2026-11-21T12:00:00.000Z",
            "data": {
                "appId": app.client_id, "environment": "sandbox", "userId": id, "tenantId": tenant, "fields": all,
            },
            "apiVersion": "2023-10-04",
        })
    );
    assert_eq!(told[1]["data"]["fields"], json!(["health"]), "which of them would tell of an illness");
    assert_eq!(told[2]["data"]["fields"], json!(["nickname", "locale"]));
    for message in &messages {
        // A signature is random text, in which any short word may stand.
        let raw = format!("{message:?}").replace(message.header("webhook-signature"), "");
        for field in Health::FIELDS {
            assert!(!raw.contains(field.name), "{} {raw}", field.name);
        }
        assert_eq!(crate::harness::reveals(&raw), None);
        assert!(!raw.contains("Canary") && message.header("content-type") == "application/json");
        assert_eq!(message.header("webhook-timestamp"), "1795262400");
        assert!(message.header("webhook-id").starts_with("evt_"));
    }
    let row = app.store().read(|tx| tx.query_opt("SELECT settings FROM endpoints", &[])).await.unwrap().unwrap();
    let stored: Vec<u8> = row.get(0).unwrap();
    for readable in ["127.0.0.1", "whsec_", "whsk_"] {
        assert!(!stored.windows(readable.len()).any(|window| window == readable.as_bytes()), "{readable} is sealed");
    }
}

#[tokio::test]
async fn who_is_given_a_role_and_whose_is_taken_is_told_with_the_roles_id_on_every_date() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let tenant = app.user(&id).await.tenant;
    app.webhook_as(Kind::Sandbox, Some("acme"), New { api_version: "2023-08-01".into(), ..a_webhook(&receiver) }).await;
    app.webhook_as(Kind::Sandbox, Some("north"), a_webhook(&receiver)).await;
    let (server, path) = (app.server().await, format!("/v1/users/{id}/user-roles"));
    let administrator = json!({"userRoleId": RoleId::ADMINISTRATOR});
    server.put(&format!("{path}?dry_run=true"), administrator.clone()).await.ok();
    server.put(&path, administrator.clone()).await.ok();
    server.put(&path, administrator).await.ok();
    server.send("DELETE", &path, "").await.ok();
    app.send_webhooks();
    let given = |role: RoleId| json!(["user.role_given", {"userId": id, "tenantId": tenant, "roleId": role, "fields": ["role"]}]);
    let messages = receiver.soon(2).await;
    assert_eq!(told(&messages), [given(RoleId::ADMINISTRATOR), given(RoleId::MEMBER)]);
    assert!(messages.iter().all(|message| message.json()["apiVersion"] == "2023-08-01"));
}

#[tokio::test]
async fn a_role_that_is_made_or_removed_is_told_to_the_environments_endpoints_alone() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let environment = app.webhook(&receiver).await.environment;
    app.webhook_as(
        Kind::Sandbox,
        Some("acme"),
        New { events: vec![webhooks::Kind::RoleRemoved], ..a_webhook(&receiver) },
    )
    .await;
    app.webhook_as(Kind::Live, None, a_webhook(&receiver)).await;
    let make = move |tx: &usher::db::Tx| roles::create(tx, environment, "desk", Rights::READ);
    let role = app.store().write(make).await.unwrap().id;
    app.store().write(move |tx| roles::remove(tx, role)).await.unwrap();
    app.send_webhooks();
    let about = |kind: &str| json!([kind, {"roleId": role, "fields": ["name", "rights"]}]);
    let mut told = told(&receiver.soon(2).await);
    told.sort_by_key(Value::to_string);
    assert_eq!(told, [about("role.created"), about("role.removed")]);
}

#[tokio::test]
async fn a_tenant_that_is_made_or_changed_is_told_without_a_value_and_to_no_other_tenant() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.webhook_as(Kind::Sandbox, Some("acme"), a_webhook(&receiver)).await;
    app.webhook_as(Kind::Sandbox, Some("north"), a_webhook(&receiver)).await;
    let all = New { address: Address::new(&format!("{}/all", receiver.url())).unwrap(), ..a_webhook(&receiver) };
    app.webhook_as(Kind::Sandbox, None, all).await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let acme = app.user(&id).await.tenant.unwrap();
    app.partner("south").await;
    let (server, path) = (app.server().await, format!("/v1/tenants/{acme}"));
    let change = json!({"tenant": {"name": "Canary Clinics", "companyVATId": "DE-CANARY"}});
    server.put(&format!("{path}?dry_run=true"), change.clone()).await.ok();
    for _ in 0..2 {
        server.put(&path, change.clone()).await.ok();
    }
    app.send_webhooks();
    let messages = receiver.soon(5).await;
    assert!(!format!("{messages:?}").to_lowercase().contains("canary"), "names and ids, and no value");
    let of = |all: bool| {
        let of: Vec<Message> = messages.iter().filter(|one| one.line.ends_with("/all") == all).cloned().collect();
        let mut told: Vec<Value> = told(&of).into_iter().filter(|one| one[0] != "user.created").collect();
        told.sort_by_key(Value::to_string);
        told
    };
    let updated = json!(["tenant.updated", {"tenantId": acme, "fields": ["name", "companyVATId"]}]);
    assert_eq!(
        of(false),
        std::slice::from_ref(&updated),
        "north hears nothing of acme, and nobody's endpoint hears of south"
    );
    let told = of(true);
    assert_eq!((told.len(), &told[0][0], &told[0][1]["fields"]), (2, &json!("tenant.created"), &json!(["name"])));
    assert!(told[0][1]["tenantId"] != json!(acme) && told[1] == updated, "{told:?}");
}

#[tokio::test]
async fn the_first_sign_in_tells_that_the_address_is_verified_before_all_else_and_the_second_does_not() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.register(Kind::Sandbox, crate::signin::CALLBACK).await;
    let endpoint = app.webhook(&receiver).await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let link = app.newest_link().await;
    assert_eq!(app.anyone().send("POST", &link, "").await.status, 303);
    app.exchange(&app.code().await).await.ok();
    app.send_webhooks();
    let messages = receiver.soon(3).await;
    app.once(endpoint.id, |all| all.len() == 3 && crate::webhooks::all_sent(all)).await;
    assert_eq!(kinds(&messages), ["user.created", "user.updated", "link.followed"]);
    assert_eq!(messages[1].json()["data"]["fields"], json!(["email_verified"]));
    let (acme, user) = (app.partner("acme").await, app.user(&id).await);
    assert!(user.email_verified_at.is_some() && user.version == 2);

    // In the trail it is the person's own doing; and who comes by a mail that they asked for proves the same.
    let entry = app.audited(Action::UserUpdated).await.remove(0);
    assert_eq!(entry.changes.0["fields"], json!({"email_verified": [false, true]}));
    assert!(entry.actor == Some(Actor::Person(user.id)) && entry.request.is_some());
    let other: UserId = acme.post(CREATE, john()).await.ok().id().parse().unwrap();
    app.advance(Duration::from_secs(1));
    let (browser, _) = app.begin("john@doe.com").await;
    let (link, _) = app.newest_mail().await;
    assert_eq!(browser.send("POST", &link, "").await.status, 303);
    let all = app.once(endpoint.id, |all| all.len() == 5).await;
    let last = all.last().unwrap();
    assert_eq!((last.user, &last.body["data"]["fields"]), (Some(other), &json!(["email_verified"])));
}

#[tokio::test]
async fn an_endpoint_hears_only_what_it_listens_to_of_its_environment_and_tenant_on_its_date() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let at = |path: &str| New {
        address: Address::new(&format!("{}/{path}", receiver.url())).unwrap(),
        ..a_webhook(&receiver)
    };
    let (acme, other) = (app.partner("acme").await, app.partner("other").await);
    app.webhook_as(Kind::Sandbox, None, at("all")).await;
    app.webhook_as(Kind::Sandbox, Some("acme"), at("acme")).await;
    app.webhook_as(Kind::Sandbox, None, New { events: vec![webhooks::Kind::UserUpdated], ..at("updates") }).await;
    app.webhook_as(Kind::Sandbox, None, New { api_version: "2023-08-01".into(), ..at("old") }).await;
    app.webhook_as(Kind::Live, None, at("live")).await;
    acme.post(CREATE, jane()).await.ok();
    other.post(CREATE, john()).await.ok();
    acme.post(UPDATE, json!({"email": "jane@doe.com", "diabetes": 3})).await.ok();
    app.send_webhooks();
    let messages = receiver.soon(3 + 2 + 1 + 3).await;
    let of = |path: &str| {
        let line = format!("POST /in/{path}");
        messages.iter().filter(|message| message.line == line).cloned().collect::<Vec<_>>()
    };
    assert_eq!((of("all").len(), of("acme").len(), of("updates").len(), of("live").len()), (3, 2, 1, 0));
    assert_eq!(kinds(&of("updates")), ["user.updated"]);
    for message in of("old") {
        let told = message.json();
        assert_eq!(told["apiVersion"], "2023-08-01");
        assert!(!told["data"]["fields"].as_array().unwrap().contains(&json!("subscription")), "{told}");
    }
}

/// Needs a change of the plan alone, which no documented call makes.
#[test]
fn an_event_of_something_that_a_date_does_not_know_is_not_told_on_it() {
    use usher::api::versions::lower;
    let event = |kind: &str, fields: Value| json!({"type": kind, "data": {"fields": fields}});
    let updated = |fields| event("user.updated", fields);
    assert_eq!(lower("2023-08-01", updated(json!(["subscription"]))), None);
    assert_eq!(lower("2023-08-01", event("subscription.paused", json!([]))), None);
    assert_eq!(lower("2023-08-01", updated(json!(["email", "subscription"]))), Some(updated(json!(["email"]))));
    assert_eq!(lower("2023-08-01", event("user.frozen", json!([]))), Some(event("user.frozen", json!([]))));
    for date in ["2023-08-22", "2023-10-04"] {
        assert_eq!(lower(date, updated(json!(["subscription"]))), Some(updated(json!(["subscription"]))));
    }
}
