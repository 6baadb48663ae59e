//! Webhooks: who hears of what, in which order, how often it is tried, and what a message holds.

use std::time::Duration;

use serde_json::{Value, json};
use usher::apps::{self, Kind};
use usher::audit::Action;
use usher::caller::{Actor, Scope};
use usher::clock::Clock;
use usher::db::{IfMissing, Store};
use usher::outbox::worker;
use usher::users::{Health, Status, UserId};
use usher::webhooks::{self, Address, Attempt, Change, Delivery, Endpoint, EndpointId, EventId, New, State, Which};

use crate::harness::{OPERATOR, TestApp, jane, john};
use crate::idempotency::{CREATE, UPDATE, set_status};
use crate::receiver::{Message, Receiver, answer};

const SECOND: Duration = Duration::from_secs(1);

impl TestApp {
    /// Sends webhooks, to this machine too.
    pub fn send_webhooks(&self) {
        let api = self.app.api();
        let sender = usher::app::webhook_sender(api, vec!["127.0.0.0/8".parse().unwrap()]);
        tokio::spawn(worker::run(api.store.clone(), api.outbox.clone(), sender));
    }

    pub async fn webhook(&self, receiver: &Receiver) -> Endpoint {
        self.webhook_as(Kind::Sandbox, None, a_webhook(receiver)).await
    }

    async fn webhook_as(&self, kind: Kind, tenant: Option<&str>, new: New) -> Endpoint {
        let (app, tenant) = (self.client_id, tenant.map(str::to_owned));
        let make = move |tx: &usher::db::Tx| {
            let environment = apps::environment(tx, app, kind)?.id;
            let make = |name: &str| usher::tenants::named(tx, environment, OPERATOR, name);
            let tenant = tenant.as_deref().map(make).transpose()?;
            webhooks::create(tx, Scope { environment, tenant }, OPERATOR, &new)
        };
        self.store().write(make).await.unwrap()
    }

    async fn change_webhook(&self, id: EndpointId, change: Change) -> Endpoint {
        let change = move |tx: &usher::db::Tx| webhooks::change(tx, OPERATOR, id, change.clone());
        self.store().write(change).await.unwrap()
    }

    async fn endpoint(&self, id: EndpointId) -> Endpoint {
        self.store().read(move |tx| webhooks::by_id(tx, id)).await.unwrap().unwrap()
    }

    /// Oldest first.
    async fn deliveries(&self, id: EndpointId) -> Vec<Delivery> {
        let mut all = self.store().read(move |tx| webhooks::deliveries(tx, id, 1000)).await.unwrap();
        all.reverse();
        all
    }

    async fn attempts(&self, delivery: &Delivery) -> Vec<Attempt> {
        let id = delivery.id;
        self.store().read(move |tx| webhooks::attempts(tx, id)).await.unwrap()
    }

    async fn replay(&self, id: EndpointId, which: Which) -> usize {
        let replay =
            move |tx: &usher::db::Tx| webhooks::replay(tx, OPERATOR, &webhooks::by_id(tx, id)?.unwrap(), which);
        let replayed = self.store().write(replay).await.unwrap();
        self.app.api().outbox.wake();
        replayed.queued
    }

    /// Lets time pass and tells the workers.
    fn later(&self, span: Duration) {
        self.advance(span);
        self.app.api().outbox.wake();
    }

    /// The deliveries, once they are as wanted.
    pub async fn once(&self, id: EndpointId, wanted: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        for _ in 0..2000 {
            let all = self.deliveries(id).await;
            if wanted(&all) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("this did not come about: {:?}", self.deliveries(id).await);
    }
}

fn a_webhook(receiver: &Receiver) -> New {
    New {
        address: Address::new(&receiver.url()).unwrap(),
        name: "test".into(),
        events: Vec::new(),
        api_version: "2023-10-04".into(),
        contact: None,
    }
}

pub fn all_sent(all: &[Delivery]) -> bool {
    all.iter().all(|delivery| delivery.state == State::Sent)
}

fn states(all: &[Delivery]) -> Vec<&'static str> {
    all.iter().map(|delivery| delivery.state.as_str()).collect()
}

fn kinds(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.json()["type"].as_str().unwrap().to_owned()).collect()
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
async fn an_endpoint_that_is_down_is_tried_for_three_days_with_one_id_and_then_given_up_and_replayed() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let endpoint = app.webhook(&receiver).await;
    receiver.says(503);
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    let minutes = [0, 5, 30, 120, 300, 600, 840, 1200, 1440].map(|minutes| Duration::from_secs(minutes * 60));
    for (tried, pause) in (1_usize..).zip(minutes) {
        let pause = pause.max(5 * SECOND);
        let delivery = app.deliveries(endpoint.id).await.remove(0);
        while app.attempts(&delivery).await.len() < tried {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let all = app.deliveries(endpoint.id).await;
        let waits = all[0].due_at.unwrap().0 - app.store().clock().now().0;
        let millis = i64::try_from(pause.as_millis()).unwrap();
        let (least, most) = (millis * 89 / 100, millis * 111 / 100);
        assert!((least..=most).contains(&waits), "after try {tried}: {waits} ms, not {least} to {most}");
        assert_eq!(receiver.got().len(), tried);
        app.later(pause.mul_f64(1.11));
        receiver.soon(tried + 1).await;
    }
    let all = app.once(endpoint.id, |all| all[0].state == State::Failed).await;
    assert_eq!((all[0].attempts, all[0].failure.as_deref()), (10, Some("HTTP 503")));
    let hours = (app.store().clock().now().0 - all[0].created_at.0) / 3_600_000;
    assert!((72..96).contains(&hours), "{hours}");
    let log = app.attempts(&all[0]).await;
    assert_eq!(log.len(), 10);
    assert!(log.iter().all(|attempt| attempt.status == Some(503) && attempt.words == "as told"));
    let metrics = app.anyone().get("/metrics").await.ok().text;
    for count in [r#"{outcome="retry"} 9"#, r#"{outcome="failed"} 1"#] {
        assert!(metrics.contains(&format!("usher_webhooks_total{count}")), "a try is given up once: {metrics}");
    }

    // Mended.
    receiver.says(204);
    let event = EventId::parse(receiver.got()[0].header("webhook-id")).unwrap();
    assert_eq!(app.replay(endpoint.id, Which::Event(event)).await, 1);
    let messages = receiver.soon(11).await;
    let one = |name: &str, all: &[Message]| all.iter().all(|message| message.header(name) == all[0].header(name));
    assert!(one("webhook-id", &messages), "the id is the same for each try and for the replay");
    assert!(messages.iter().all(|message| message.body == messages[0].body));
    let mut stamps: Vec<_> = messages.iter().map(|message| message.header("webhook-timestamp")).collect();
    stamps.dedup();
    assert_eq!(stamps.len(), 10, "each try says when it was, and was signed then");
    app.once(endpoint.id, all_sent).await;
}

#[tokio::test]
async fn one_users_events_keep_their_order_and_others_go_on() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let endpoint = app.webhook(&receiver).await;
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let (jane, john) = (acme.post(CREATE, jane()).await.ok(), acme.post(CREATE, john()).await.ok());
    let (jane, john) = (jane.id().to_owned(), john.id().to_owned());
    app.once(endpoint.id, |all| all.len() == 2 && all_sent(all)).await;
    // Of Jane's, everything is refused.
    let refused = jane.clone();
    receiver.answers(move |message| answer(if message.body.contains(&refused) { 500 } else { 200 }, ""));
    let nickname = |name: &str| json!({"user": {"nickname": name}});
    for round in 0..5 {
        server.put(&format!("/v1/users/{jane}"), nickname(&format!("J{round}"))).await.ok();
        server.put(&format!("/v1/users/{john}"), nickname(&format!("H{round}"))).await.ok();
    }
    let about = |all: &[Delivery], id: &str| {
        let id: UserId = id.parse().unwrap();
        all.iter().filter(|delivery| delivery.user == Some(id)).cloned().collect::<Vec<_>>()
    };
    let all = app.once(endpoint.id, |all| all_sent(&about(all, &john)) && about(all, &jane)[1].failure.is_some()).await;
    let hers = about(&all, &jane);
    let tries: Vec<i64> = hers.iter().map(|delivery| delivery.attempts).collect();
    assert_eq!(tries, [1, 1, 0, 0, 0, 0], "what is younger waits for the one that failed");
    receiver.says(200);
    app.later(6 * SECOND);
    let all = app.once(endpoint.id, all_sent).await;
    let hers: Vec<String> = about(&all, &jane).iter().map(|delivery| delivery.event.webhook_id()).collect();
    let mut arrived: Vec<String> = Vec::new();
    for message in receiver.got().iter().filter(|message| message.body.contains(&jane)) {
        arrived.push(message.header("webhook-id").to_owned());
    }
    arrived.dedup();
    assert_eq!(arrived, hers, "in the order in which it happened");
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_says_so_and_misses_nothing_that_cannot_be_replayed() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let endpoint = app.webhook(&receiver).await;
    receiver.says(410);
    let acme = app.partner("acme").await;
    let start = app.store().clock().now();
    acme.post(CREATE, jane()).await.ok();
    app.once(endpoint.id, |all| all[0].state == State::Failed).await;
    let now = app.endpoint(endpoint.id).await;
    assert_eq!(now.disabled_because.as_deref(), Some("the endpoint answered 410 Gone"));
    assert!(now.disabled_at.is_some());
    app.advance(SECOND);
    acme.post(CREATE, john()).await.ok();
    assert_eq!(states(&app.deliveries(endpoint.id).await), ["failed", "skipped"]);
    let id = endpoint.id;
    let refused = app.store().write(move |tx| webhooks::test(tx, OPERATOR, &webhooks::by_id(tx, id)?.unwrap())).await;
    assert_eq!(refused.unwrap_err().code(), "webhook_disabled");

    receiver.says(200);
    app.change_webhook(endpoint.id, Change { enabled: Some(true), ..Change::default() }).await;
    app.advance(SECOND);
    let end = app.store().clock().now();
    assert_eq!(app.replay(endpoint.id, Which::Between(start, start)).await, 0, "the end is not part of it");
    assert_eq!(app.replay(endpoint.id, Which::Between(start, end)).await, 2);
    app.once(endpoint.id, all_sent).await;
    assert_eq!(receiver.soon(3).await.len(), 3);
}

#[tokio::test]
async fn what_waits_for_an_endpoint_that_is_disabled_by_hand_is_skipped() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let endpoint = app.webhook(&receiver).await;
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    app.change_webhook(endpoint.id, Change { enabled: Some(false), ..Change::default() }).await;
    assert_eq!(states(&app.deliveries(endpoint.id).await), ["skipped"]);
    app.send_webhooks();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(receiver.bytes(), 0);
}

#[tokio::test]
async fn an_outage_of_days_does_not_make_what_waited_behind_it_wait_as_long_again() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let endpoint = app.webhook(&receiver).await;
    receiver.says(500);
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let id = acme.post(CREATE, jane()).await.ok().id().to_owned();
    for name in ["a", "b", "c"] {
        server.put(&format!("/v1/users/{id}"), json!({"user": {"nickname": name}})).await.ok();
    }
    app.once(endpoint.id, |all| all[0].failure.is_some()).await;
    app.later(Duration::from_hours(77));
    let all = app.once(endpoint.id, |all| all.iter().all(|delivery| delivery.state == State::Failed)).await;
    let tries: Vec<i64> = all.iter().map(|delivery| delivery.attempts).collect();
    assert_eq!(tries, [2, 1, 1, 1]);
}

#[tokio::test]
async fn a_secret_that_was_replaced_signs_beside_the_new_one_until_the_overlap_ends() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let endpoint = app.webhook(&receiver).await;
    let rotate = move |tx: &usher::db::Tx| webhooks::rotate(tx, OPERATOR, endpoint.id, Duration::from_hours(24));
    let rotated = app.store().write(rotate).await.unwrap();
    assert_ne!(rotated.keys[0].secret(), endpoint.keys[0].secret());
    assert_eq!(rotated.keys[1].secret(), endpoint.keys[0].secret());
    let acme = app.partner("acme").await;
    acme.post(CREATE, jane()).await.ok();
    receiver.soon(1).await;
    app.advance(Duration::from_hours(24));
    acme.post(CREATE, john()).await.ok();
    let versions = |message: &Message| {
        let header = message.header("webhook-signature").to_owned();
        header.split(' ').map(|one| one.split(',').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let messages = receiver.soon(2).await;
    assert_eq!(versions(&messages[0]), ["v1", "v1a", "v1", "v1a"]);
    assert_eq!(versions(&messages[1]), ["v1", "v1a"]);
    let again = app.store().write(rotate).await.unwrap();
    assert_eq!(again.keys.len(), 2, "what signs no more is forgotten");
}

#[tokio::test]
async fn an_endpoint_hears_only_what_it_listens_to_of_its_environment_and_tenant_on_its_date() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let at = |path: &str| New {
        address: Address::new(&format!("{}/{path}", receiver.url())).unwrap(),
        ..a_webhook(&receiver)
    };
    app.webhook_as(Kind::Sandbox, None, at("all")).await;
    app.webhook_as(Kind::Sandbox, Some("acme"), at("acme")).await;
    app.webhook_as(Kind::Sandbox, None, New { events: vec![webhooks::Kind::UserUpdated], ..at("updates") }).await;
    app.webhook_as(Kind::Sandbox, None, New { api_version: "2023-08-01".into(), ..at("old") }).await;
    app.webhook_as(Kind::Live, None, at("live")).await;
    let (acme, other) = (app.partner("acme").await, app.partner("other").await);
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
async fn what_is_older_than_thirty_days_is_forgotten_unless_it_still_waits() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let endpoint = app.webhook(&receiver).await;
    let acme = app.partner("acme").await;
    acme.post(CREATE, jane()).await.ok();
    app.send_webhooks();
    app.once(endpoint.id, all_sent).await;
    receiver.says(500);
    app.advance(SECOND);
    acme.post(CREATE, john()).await.ok();
    app.once(endpoint.id, |all| all[1].failure.is_some()).await;
    app.advance(Duration::from_hours(29 * 24));
    usher::app::purge(app.store()).await;
    assert_eq!(app.count("deliveries").await, 2);
    assert!(app.count("delivery_attempts").await >= 2, "and maybe another try of what was due meanwhile");
    receiver.answers(|_| answer(500, ""));
    app.advance(Duration::from_hours(2 * 24));
    usher::app::purge(app.store()).await;
    assert_eq!(app.count("delivery_attempts").await, 0);
    assert!(app.count("deliveries").await <= 1, "the one that waits, unless its last try was over meanwhile");
    let id = endpoint.id;
    app.store().write(move |tx| webhooks::remove(tx, OPERATOR, &webhooks::by_id(tx, id)?.unwrap())).await.unwrap();
    assert_eq!((app.count("deliveries").await, app.count("endpoints").await), (0, 0));
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
async fn what_is_replayed_late_is_tried_for_three_days_again() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let endpoint = app.webhook(&receiver).await;
    receiver.says(410);
    let start = app.store().clock().now();
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    app.once(endpoint.id, |all| all[0].state == State::Failed).await;
    app.later(Duration::from_hours(100));
    receiver.says(500);
    app.change_webhook(endpoint.id, Change { enabled: Some(true), ..Change::default() }).await;
    assert_eq!(app.replay(endpoint.id, Which::Between(start, app.store().clock().now())).await, 1);
    let all = app.once(endpoint.id, |all| all[0].attempts == 1 && all[0].failure.as_deref() == Some("HTTP 500")).await;
    assert_eq!(states(&all), ["queued"], "an old event is not given up at the first failure");
    app.later(Duration::from_hours(77));
    app.once(endpoint.id, |all| all[0].state == State::Failed && all[0].attempts == 2).await;
}

#[tokio::test]
async fn what_is_replayed_goes_before_what_happened_later() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let endpoint = app.webhook(&receiver).await;
    let acme = app.partner("acme").await;
    let start = app.store().clock().now();
    let jane = acme.post(CREATE, jane()).await.ok().id().to_owned();
    app.tamper("UPDATE deliveries SET state = 'failed', due_at = NULL");
    app.advance(SECOND);
    acme.post(CREATE, john()).await.ok();
    app.advance(SECOND);
    assert_eq!(app.replay(endpoint.id, Which::Between(start, app.store().clock().now())).await, 1);
    let places = vec![(endpoint.id, 1)];
    let jobs = app.store().write(move |tx| webhooks::lease(tx, &places)).await.unwrap();
    assert_eq!(jobs[0].delivery.user.unwrap().to_string(), jane);
}

#[tokio::test]
async fn one_event_is_found_by_its_id_and_a_range_that_is_too_long_says_where_it_goes_on() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let endpoint = app.webhook(&receiver).await;
    // Ten thousand and two events of which nobody waits any more, one a millisecond.
    let (id, start) = (endpoint.id, app.store().clock().now());
    let fill = move |tx: &usher::db::Tx| {
        for number in 0..10_002_i64 {
            let at = usher::clock::Timestamp(start.0 + number);
            tx.add(
                "deliveries (id, endpoint_id, event_id, kind, place, body, state, attempts, created_at)",
                &[
                    usher::webhooks::EventId::ordered(at).into(),
                    id.into(),
                    EventId::ordered(at).into(),
                    "user.updated".into(),
                    0_i64.into(),
                    "{}".into(),
                    "sent".into(),
                    1_i64.into(),
                    at.into(),
                ],
            )?;
        }
        Ok(())
    };
    app.store().write(fill).await.unwrap();
    app.advance(Duration::from_mins(1));
    let to = app.store().clock().now();
    let replay =
        |which| move |tx: &usher::db::Tx| webhooks::replay(tx, OPERATOR, &webhooks::by_id(tx, id)?.unwrap(), which);
    let first = app.store().write(replay(Which::Between(start, to))).await.unwrap();
    let next = usher::clock::Timestamp(start.0 + 10_000);
    assert_eq!((first.queued, first.next), (10_000, Some(next)));
    let rest = app.store().write(replay(Which::Between(next, to))).await.unwrap();
    assert_eq!((rest.queued, rest.next), (2, None));
    let newest = app.store().read(move |tx| webhooks::deliveries(tx, id, 1)).await.unwrap().remove(0);
    let again = app.store().write(replay(Which::Event(newest.event))).await;
    assert_eq!(again.unwrap_err().code(), "no_such_event", "it waits");
    // Disabled, and removed: whatever of it one transaction leaves, the chore takes.
    app.change_webhook(id, Change { enabled: Some(false), ..Change::default() }).await;
    let waits = async || app.store().read(move |tx| webhooks::waiting(tx, id)).await.unwrap().0;
    assert_eq!(waits().await, 9_002, "a thousand at a time");
    usher::app::purge(app.store()).await;
    assert_eq!((waits().await, app.count("deliveries").await), (0, 10_002));
    app.store().write(move |tx| webhooks::remove(tx, OPERATOR, &webhooks::by_id(tx, id)?.unwrap())).await.unwrap();
    assert_eq!(app.count("deliveries").await, 9_002);
    usher::app::purge(app.store()).await;
    assert_eq!(app.count("deliveries").await, 0);
}

#[tokio::test]
async fn many_that_must_wait_for_one_user_do_not_hide_the_others() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let endpoint = app.webhook(&receiver).await;
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let jane = acme.post(CREATE, jane()).await.ok().id().to_owned();
    for round in 0..30 {
        server.put(&format!("/v1/users/{jane}"), json!({"user": {"nickname": format!("J{round}")}})).await.ok();
    }
    app.advance(SECOND);
    let john = acme.post(CREATE, john()).await.ok().id().to_owned();
    let places = vec![(endpoint.id, 8)];
    let jobs = app.store().write(move |tx| webhooks::lease(tx, &places)).await.unwrap();
    let users: Vec<String> = jobs.iter().map(|job| job.delivery.user.unwrap().to_string()).collect();
    assert_eq!(users, [jane, john]);
}

#[tokio::test]
async fn case_c9_an_endpoint_that_is_gone_is_disabled_noted_and_its_owner_told() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let owner = usher::users::Email::new("owner@roe.com");
    let new = New { contact: owner, name: "http://evil.example".into(), ..a_webhook(&receiver) };
    let endpoint = app.webhook_as(Kind::Sandbox, None, new).await;
    receiver.says(410);
    let acme = app.partner("acme").await;
    for body in [jane(), john()] {
        acme.post(CREATE, body).await.ok();
    }
    app.once(endpoint.id, |all| all.iter().any(|one| one.state == State::Failed)).await;
    let entries = app.audited(Action::WebhookGone).await;
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].actor, entries[0].target), (Some(Actor::Usher), Some(endpoint.id.0)));
    let mails = app.mails().await;
    let told: Vec<_> = mails.iter().filter(|(job, _)| job.kind == usher::outbox::Kind::WebhookGoneMail).collect();
    assert_eq!(told.len(), 1, "once");
    let mail = &told[0].1;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("owner@roe.com", "A webhook of Acme Coaching was disabled"));
    for part in [&mail.text, &mail.html] {
        assert!(
            part.contains(&endpoint.id.to_string()) && part.contains("410 Gone") && !part.contains("evil"),
            "{part}"
        );
    }
    assert_eq!(app.endpoint(endpoint.id).await.contact.unwrap().address(), "owner@roe.com", "and it is kept");

    let german = usher::apps::Settings { language: Some(Some(usher::words::Language::German)), ..Default::default() };
    app.set(german).await;
    let mails = app.mails().await;
    let (job, mail) = mails.iter().find(|(job, _)| job.kind == usher::outbox::Kind::WebhookGoneMail).unwrap();
    assert_eq!(mail.subject, "Ein Webhook von Acme Coaching wurde abgeschaltet");
    assert!(mail.text.contains("410 Gone") && mail.text.contains("Kontakt dieses Webhooks"), "{}", mail.text);
    let failed = usher::outbox::Job { state: usher::outbox::State::Failed, ..job.clone() };
    let operator = usher::caller::Origin::of(Actor::Operator);
    let again = app.store().write(move |tx| usher::links::send_again(tx, operator, &failed)).await;
    assert!(again.unwrap_err().to_string().contains("`usher webhook show`"), "it has no link");
}
