//! Webhooks on their way: in which order they go, how often one is tried, and what becomes of it.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use usher::apps::{self, Kind};
use usher::audit::Action;
use usher::caller::{Actor, Scope};
use usher::outbound::{Client, Reach};
use usher::outbox::worker;
use usher::random;
use usher::users::UserId;
use usher::webhooks::sender::Sender;
use usher::webhooks::{
    self, Address, Attempt, Change, Delivery, Endpoint, EndpointId, EventId, New, Outcome, State, Which,
};

use crate::doctor::finding;
use crate::harness::{OPERATOR, TestApp, jane, john};
use crate::idempotency::CREATE;
use crate::receiver::{Message, Receiver, answer};

pub const SECOND: Duration = Duration::from_secs(1);

impl TestApp {
    /// Sends webhooks, to this machine too, until the outbox is closed.
    pub fn send_webhooks(&self) -> JoinHandle<()> {
        let api = self.app.api();
        let sender = usher::app::webhook_sender(api, vec!["127.0.0.0/8".parse().unwrap()]);
        tokio::spawn(worker::run(api.store.clone(), api.outbox.clone(), sender))
    }

    pub async fn webhook(&self, receiver: &Receiver) -> Endpoint {
        self.webhook_as(Kind::Sandbox, None, a_webhook(receiver)).await
    }

    pub async fn webhook_as(&self, kind: Kind, tenant: Option<&str>, new: New) -> Endpoint {
        let (app, tenant) = (self.client_id, tenant.map(str::to_owned));
        let make = move |tx: &usher::db::Tx| {
            let environment = apps::environment(tx, app, kind)?.id;
            let make = |name: &str| usher::tenants::named(tx, environment, OPERATOR, name);
            // Who most tests are about is there before, so that those hear of users alone.
            make("acme")?;
            let tenant = tenant.as_deref().map(make).transpose()?;
            webhooks::create(tx, Scope { environment, tenant }, OPERATOR, &new)
        };
        self.store().write(make).await.unwrap()
    }

    pub async fn change_webhook(&self, id: EndpointId, change: Change) -> Endpoint {
        let change = move |tx: &usher::db::Tx| webhooks::change(tx, OPERATOR, id, change.clone());
        self.store().write(change).await.unwrap()
    }

    pub async fn endpoint(&self, id: EndpointId) -> Endpoint {
        self.store().read(move |tx| webhooks::by_id(tx, id)).await.unwrap().unwrap()
    }

    /// Oldest first.
    pub async fn deliveries(&self, id: EndpointId) -> Vec<Delivery> {
        let mut all = self.store().read(move |tx| webhooks::deliveries(tx, id, 1000)).await.unwrap();
        all.reverse();
        all
    }

    async fn attempts(&self, delivery: &Delivery) -> Vec<Attempt> {
        let id = delivery.id;
        self.store().read(move |tx| webhooks::attempts(tx, id)).await.unwrap()
    }

    pub async fn replay(&self, id: EndpointId, which: Which) -> usize {
        let replay =
            move |tx: &usher::db::Tx| webhooks::replay(tx, OPERATOR, &webhooks::by_id(tx, id)?.unwrap(), which);
        let replayed = self.store().write(replay).await.unwrap();
        self.app.api().outbox.wake();
        replayed.queued
    }

    /// Lets time pass and tells the workers.
    pub fn later(&self, span: Duration) {
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

pub fn a_webhook(receiver: &Receiver) -> New {
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

pub fn states(all: &[Delivery]) -> Vec<&'static str> {
    all.iter().map(|delivery| delivery.state.as_str()).collect()
}

pub fn kinds(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.json()["type"].as_str().unwrap().to_owned()).collect()
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
async fn a_contact_is_mailed_five_times_a_day_and_what_is_gone_is_disabled_all_the_same() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let new = New { contact: usher::users::Email::new("owner@roe.com"), ..a_webhook(&receiver) };
    let id = app.webhook_as(Kind::Sandbox, None, new).await.id;
    receiver.says(410);
    for round in 1..=8 {
        if round == 8 {
            app.later(Duration::from_hours(24));
        }
        app.change_webhook(id, Change { enabled: Some(true), ..Change::default() }).await;
        let test = move |tx: &usher::db::Tx| webhooks::test(tx, OPERATOR, &webhooks::by_id(tx, id)?.unwrap()).map(drop);
        app.store().write(test).await.unwrap();
        app.app.api().outbox.wake();
        app.once(id, |all| all.len() == round && all.iter().all(|one| one.state == State::Failed)).await;
        assert!(app.endpoint(id).await.disabled_at.is_some(), "round {round}");
        let mails = app.mails().await;
        let told = mails.iter().filter(|(job, _)| job.kind == usher::outbox::Kind::WebhookGoneMail).count();
        assert_eq!(told, [0, 1, 2, 3, 4, 5, 5, 5, 6][round], "after round {round}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_gone_and_has_no_contact_is_seen_on_the_dashboards_home_and_by_doctor() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let endpoint = app.webhook(&receiver).await;
    let home = async || {
        let owner = app.admin(usher::admins::Role::ReadOnly).await;
        owner.get(&format!("/admin/{}/sandbox", app.client_id)).await.ok().text
    };
    let says = "The webhook “test” is disabled: the endpoint answered 410 Gone.";
    assert!(!home().await.contains(says));
    assert_eq!(finding(&app.folder, "webhooks").0, "ok");
    receiver.says(410);
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    app.once(endpoint.id, |all| all[0].state == State::Failed).await;
    app.advance(Duration::from_mins(1));
    assert!(home().await.contains(says), "{}", home().await);
    let (state, value) = finding(&app.folder, "webhooks");
    assert!(state == "note" && value.contains("1, of which 1 disabled"), "{state} {value}");
    assert!(app.mails().await.iter().all(|(job, _)| job.kind != usher::outbox::Kind::WebhookGoneMail));
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
async fn however_often_a_secret_is_replaced_the_newest_five_sign() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let id = app.webhook(&receiver).await.id;
    let mut secrets = Vec::new();
    for _ in 0..12 {
        let rotate = move |tx: &usher::db::Tx| webhooks::rotate(tx, OPERATOR, id, Duration::from_hours(30 * 24));
        let rotated = app.store().write(rotate).await.unwrap();
        secrets.insert(0, rotated.keys[0].secret().expose().to_owned());
    }
    let endpoint = app.store().read(move |tx| webhooks::by_id(tx, id)).await.unwrap().unwrap();
    let kept: Vec<String> = endpoint.keys.iter().map(|keys| keys.secret().expose().to_owned()).collect();
    assert_eq!(kept, secrets[..5]);
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    let message = receiver.soon(1).await.remove(0);
    assert_eq!(message.header("webhook-signature").split(' ').count(), 10);
}

#[tokio::test]
async fn what_is_older_than_thirty_days_is_forgotten_unless_it_still_waits() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let endpoint = app.webhook(&receiver).await;
    let acme = app.partner("acme").await;
    acme.post(CREATE, jane()).await.ok();
    let sender = app.send_webhooks();
    app.once(endpoint.id, all_sent).await;
    receiver.says(500);
    app.advance(SECOND);
    acme.post(CREATE, john()).await.ok();
    app.once(endpoint.id, |all| all[1].failure.is_some()).await;
    // Nobody tries what is due then.
    app.app.api().outbox.close();
    sender.await.unwrap();
    app.advance(Duration::from_hours(29 * 24));
    usher::app::purge(app.store()).await;
    assert_eq!((app.count("deliveries").await, app.count("delivery_attempts").await), (2, 2));
    app.advance(Duration::from_hours(2 * 24));
    usher::app::purge(app.store()).await;
    assert_eq!((app.count("deliveries").await, app.count("delivery_attempts").await), (1, 0), "the one that waits");
    let id = endpoint.id;
    app.store().write(move |tx| webhooks::remove(tx, OPERATOR, &webhooks::by_id(tx, id)?.unwrap())).await.unwrap();
    assert_eq!((app.count("deliveries").await, app.count("endpoints").await), (0, 0));
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
    let (jobs, _) = app.store().write(move |tx| webhooks::lease(tx, &places)).await.unwrap();
    let users: Vec<String> = jobs.iter().map(|job| job.delivery.user.unwrap().to_string()).collect();
    assert_eq!(users, [jane, john]);
}

#[tokio::test]
async fn a_try_whose_lease_may_end_before_it_does_is_put_off() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let endpoint = app.webhook(&receiver).await.id;
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    // As if the database had taken the six seconds by which the first is longer.
    for (patience, tried) in [(51, 1), (45, 2)] {
        let client = Client::new(Reach::Anywhere);
        let sender =
            Sender::new(client, |_, event| Some(event), |_: &'static str| ()).within(Duration::from_secs(patience));
        assert_eq!(app.attempt(&sender).await, 1);
        let delivery = app.deliveries(endpoint).await.remove(0);
        let is_late = delivery.failure.as_deref() == Some("the database took too long");
        assert_eq!((delivery.attempts, is_late, receiver.got().len()), (tried, tried == 1, usize::from(tried == 2)));
        app.advance(Duration::from_mins(1));
    }
}

#[tokio::test]
async fn a_try_that_is_noted_twice_since_the_first_answer_was_lost_is_logged_once() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let endpoint = app.webhook(&receiver).await.id;
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    for tried in 1..=2 {
        let places = vec![(endpoint, 1)];
        let (mut jobs, _) = app.store().write(move |tx| webhooks::lease(tx, &places)).await.unwrap();
        let (job, id) = (jobs.remove(0), random::sequential_uuid(app.store().clock().now()));
        for _ in 0..2 {
            let (job, refused) = (job.clone(), Outcome::Answered(500, "no".to_owned()));
            app.store().write(move |tx| webhooks::settle(tx, &job, &refused, SECOND, id)).await.unwrap();
        }
        let delivery = app.deliveries(endpoint).await.remove(0);
        assert_eq!((delivery.state, delivery.attempts), (State::Queued, tried));
        let logged = app.attempts(&delivery).await.len();
        assert_eq!(i64::try_from(logged).unwrap(), tried);
        app.advance(Duration::from_hours(1));
    }
}

#[tokio::test]
async fn a_last_try_that_is_put_off_is_made_when_the_database_is_well_again() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let endpoint = app.webhook(&receiver).await.id;
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    app.tamper("UPDATE deliveries SET attempts = 9");
    for (patience, state) in [(51, State::Queued), (51, State::Queued), (51, State::Queued), (45, State::Sent)] {
        let client = Client::new(Reach::Anywhere);
        let sender =
            Sender::new(client, |_, event| Some(event), |_: &'static str| ()).within(Duration::from_secs(patience));
        assert_eq!(app.attempt(&sender).await, 1);
        assert_eq!(app.deliveries(endpoint).await[0].state, state);
        // After twice that, a try that fails is the last.
        app.advance(Duration::from_hours(40));
    }
    assert_eq!(receiver.got().len(), 1);
}

#[tokio::test]
async fn a_webhook_or_a_delivery_whose_data_is_damaged_does_not_stop_the_others() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let (broken, sound) = (app.webhook(&receiver).await.id, app.webhook(&receiver).await.id);
    let acme = app.partner("acme").await;
    let jane = acme.post(CREATE, jane()).await.ok().id().to_owned();
    app.tamper("UPDATE deliveries SET body = '{'");
    acme.post(CREATE, john()).await.ok();
    let damage = move |tx: &usher::db::Tx| {
        tx.execute("UPDATE endpoints SET settings = $1 WHERE id = $2", &[vec![0_u8; 64].into(), broken.into()])
    };
    assert_eq!(app.store().write(damage).await.unwrap(), 1);
    app.send_webhooks();
    let all = app.once(sound, |all| all[0].failure.is_some() && all[1].state == State::Sent).await;
    assert_eq!(
        (all[0].user.unwrap().to_string(), all[0].failure.as_deref()),
        (jane, Some("the message cannot be made"))
    );
    let waiting = app.deliveries(broken).await;
    assert_eq!(waiting.iter().map(|delivery| delivery.attempts).collect::<Vec<_>>(), [0, 0], "nothing is lost");
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
