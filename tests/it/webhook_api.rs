//! Webhooks as an app's server manages them, and when a server knows of them.

use serde_json::{Value, json};
use usher::apps::{self, Kind};
use usher::caller::Scope;
use usher::clock::Clock;
use usher::db::{IfMissing, Store};
use usher::webhooks::{self, EndpointId};

use crate::harness::{OPERATOR, TestApp, jane, john};
use crate::idempotency::CREATE;
use crate::receiver::Receiver;
use crate::webhooks::{SECOND, a_webhook, all_sent};

#[tokio::test]
async fn a_webhook_made_on_another_server_is_known_within_a_second_and_without_any_nothing_is_written() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let acme = app.partner("acme").await;
    acme.post(CREATE, jane()).await.ok();
    assert_eq!(app.count("deliveries").await, 0);
    let location = usher::db::Location {
        postgres: crate::cluster::database(app.path(), None).map(usher::secret::Secret::new),
        ..usher::db::Location::at(app.path())
    };
    let other = Store::open(&location, Clock::System, IfMissing::Refuse).await.unwrap();
    let (client_id, new) = (app.client_id, a_webhook(&receiver));
    let make = move |tx: &usher::db::Tx| {
        let environment = apps::environment(tx, client_id, Kind::Sandbox)?.id;
        webhooks::create(tx, Scope { environment, tenant: None }, OPERATOR, &new)
    };
    other.write(make).await.unwrap();
    tokio::time::sleep(SECOND).await;
    acme.post(CREATE, john()).await.ok();
    assert_eq!(app.count("deliveries").await, 1);
}

#[tokio::test]
async fn the_app_has_fifty_webhooks_and_so_has_each_tenant_whatever_the_others_make() {
    let app = TestApp::new().await;
    let make = async |who: &crate::harness::Client<'_>| {
        who.post("/v1/webhooks", json!({"url": "https://hooks.example.com/usher"})).await
    };
    let (acme, other, whole) = (app.server_of("acme").await, app.server_of("other").await, app.server().await);
    for _ in 0..50 {
        make(&acme).await.ok();
    }
    let refused = make(&acme).await;
    assert!(refused.status == 400 && refused.error().contains("50 webhooks"), "{}", refused.text);
    make(&other).await.ok();
    for _ in 0..50 {
        make(&whole).await.ok();
    }
    assert_eq!(make(&whole).await.status, 400);
    make(&other).await.ok();
}

#[tokio::test]
async fn an_apps_server_manages_its_webhooks_with_a_write_key_and_sees_no_others() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let server = app.server().await;
    let body = json!({"url": receiver.url(), "name": "crm", "events": ["user.created", "webhook.test"]});
    let made = server.with("Idempotency-Key", "w1").post("/v1/webhooks", body.clone()).await.ok().body["data"].clone();
    let again = server.with("Idempotency-Key", "w1").post("/v1/webhooks", body).await.ok().body["data"].clone();
    assert_eq!((&made, app.count("endpoints").await), (&again, 1));
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_") && made["apiVersion"] == "2023-10-04");
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    for shown in [
        server.get(&path).await.ok().body["data"].clone(),
        server.get("/v1/webhooks").await.ok().body["data"]["items"][0].clone(),
    ] {
        assert_eq!((&shown["url"], &shown["secret"]), (&made["url"], &Value::Null), "the secret is shown once");
    }
    let event = server.post(&format!("{path}/test"), json!({})).await.ok().body["data"]["id"].clone();
    assert_eq!(receiver.soon(1).await[0].header("webhook-id"), event.as_str().unwrap());
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    receiver.soon(2).await;
    let id: EndpointId = made["id"].as_str().unwrap().parse().unwrap();
    app.once(id, all_sent).await;
    let deliveries = server.get(&format!("{path}/deliveries")).await.ok().body["data"]["items"].clone();
    assert_eq!((deliveries.as_array().unwrap().len(), &deliveries[0]["state"]), (2, &json!("sent")));
    let tries = format!("{path}/deliveries/{}", deliveries[0]["id"].as_str().unwrap());
    let tries = server.get(&tries).await.ok().body["data"]["items"].clone();
    assert_eq!((&tries[0]["status"], &tries[0]["words"]), (&json!(200), &json!("thank you")));
    let replay = server.post(&format!("{path}/replay"), json!({ "eventId": event })).await.ok();
    assert_eq!(replay.body["data"]["queued"], 1);
    app.advance(SECOND);
    let since = json!({"since": "2026-11-21T00:00:00Z"});
    receiver.soon(3).await;
    app.once(id, all_sent).await;
    assert_eq!(server.post(&format!("{path}/replay"), since).await.ok().body["data"]["queued"], 2);
    let rotated = server.post(&format!("{path}/rotate"), json!({"overlapSeconds": 60})).await.ok().body["data"].clone();
    assert_ne!(rotated["secret"], made["secret"]);
    assert_eq!(rotated["publicKeys"].as_array().unwrap().len(), 2);
    let named = server.put(&path, json!({"contact": "owner@roe.com"})).await.ok().body["data"].clone();
    let cleared = server.put(&path, json!({"contact": null})).await.ok().body["data"].clone();
    assert_eq!((&named["contact"], &cleared["contact"]), (&json!("owner@roe.com"), &Value::Null));
    let changed = server.put(&path, json!({"enabled": false, "events": []})).await.ok().body["data"].clone();
    assert_eq!((&changed["enabled"], &changed["events"], &changed["name"]), (&json!(false), &json!([]), &json!("crm")));
    assert_eq!(server.post(&format!("{path}/test"), json!({})).await.status, 400);

    // Who may not, and who does not see it.
    let read = app.server_in(Kind::Sandbox, usher::keys::Access::Read).await;
    let id = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    let live = app.server_in(Kind::Live, usher::keys::Access::Write).await;
    let (_, key) = app
        .new_key(Kind::Sandbox, usher::keys::NewKey { tenant: Some("acme".into()), ..crate::harness::a_key() })
        .await;
    let tenant = server.instead("X-API-KEY", &key);
    for (caller, status) in
        [(&read, 403), (&app.person(&id).await, 401), (&app.anyone(), 401), (&live, 404), (&tenant, 404)]
    {
        for path in [path.clone(), format!("{path}/deliveries")] {
            assert_eq!(caller.get(&path).await.status, status, "{path}");
        }
        assert_eq!(caller.put(&path, json!({"name": "x"})).await.status, status);
        assert_eq!(caller.send("DELETE", &path, "").await.status, status);
    }
    assert_eq!(tenant.get("/v1/webhooks").await.ok().body["data"]["itemsLength"], 0);
    let theirs = tenant.post("/v1/webhooks", json!({"url": receiver.url()})).await.ok().body["data"].clone();
    assert!(theirs["tenantId"].is_string(), "what a tenant's key makes is the tenant's");
    for (wrong, field) in [
        (json!({}), "url"),
        (json!({"url": "file:///etc/passwd"}), "url"),
        (json!({"url": "http://a.b/", "events": ["user.eaten"]}), "events"),
        (json!({"url": "http://a.b/", "apiVersion": "2020-01-01"}), "apiVersion"),
        (json!({"url": "http://a.b/", "name": "a\nb"}), "name"),
        (json!({"url": "http://a.b/", "enabled": 1}), "enabled"),
        (json!({"url": "http://a.b/", "contact": "a@b@c"}), "contact"),
    ] {
        let answer = server.post("/v1/webhooks", wrong).await;
        assert!(answer.status == 400 && answer.error().starts_with(field), "{}", answer.text);
    }
    assert_eq!(server.get("/v1/webhooks/x").await.status, 400);
    server.send("DELETE", &path, "").await.ok();
    assert_eq!(server.get(&path).await.status, 404);
}

#[tokio::test]
async fn an_address_is_measured_as_it_is_stored_and_a_longer_one_of_before_is_listed_changed_and_removed() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let server = app.server().await;
    let refused = server.post("/v1/webhooks", json!({"url": format!("https://a.example/{}", "é".repeat(1000))})).await;
    assert!(refused.status == 400 && refused.error().starts_with("url"), "{}", refused.text);
    let id = app.webhook(&receiver).await.id;
    let stored = format!("https://a.example/{}", "%C3%A9".repeat(1000));
    let address = stored.clone();
    let lengthen = move |tx: &usher::db::Tx| {
        let row = tx.query_opt("SELECT settings FROM endpoints WHERE id = $1", &[id.into()])?.expect("the webhook");
        let settings = tx.vault().open(id.0.as_bytes(), &row.get::<Vec<u8>>(0)?)?;
        let mut settings: Value = serde_json::from_slice(&settings).expect("settings");
        settings["address"] = json!(address);
        let settings = tx.vault().seal(id.0.as_bytes(), settings.to_string().as_bytes());
        tx.execute("UPDATE endpoints SET settings = $1 WHERE id = $2", &[settings.into(), id.into()])
    };
    assert_eq!(app.store().write(lengthen).await.unwrap(), 1);
    let listed = server.get("/v1/webhooks").await.ok().body["data"]["items"][0]["url"].clone();
    assert_eq!(listed, stored);
    let path = format!("/v1/webhooks/{id}");
    server.put(&path, json!({"name": "old"})).await.ok();
    server.put(&path, json!({"url": receiver.url()})).await.ok();
    server.send("DELETE", &path, "").await.ok();
    assert_eq!(app.count("endpoints").await, 0);
}
