//! Billing: users are customers at Stripe, which here is a server that answers and fails as told.

use std::time::Duration;

use serde_json::json;
use url::form_urlencoded;
use usher::apps::{self, Kind};
use usher::audit::{self, Action};
use usher::billing::{self, Account, Mode, Settings};
use usher::caller::{Actor, Origin};
use usher::db::Tx;
use usher::erasure;
use usher::outbox::{self, Job, Outcome, State, worker};
use usher::secret::Secret;
use usher::users::{self, UserId};

use crate::harness::{But, OPERATOR, TestApp, jane, john};
use crate::idempotency::{CREATE, UPDATE};
use crate::receiver::{Message, Receiver, answer};

impl TestApp {
    pub async fn connect_billing(&self, kind: Kind, mode: Mode, url: &str) -> Account {
        let (app, url) = (self.client_id, url.to_owned());
        let connect = move |tx: &Tx| {
            let key = Secret::new(format!("sk_{}_123456", mode.as_str()));
            let settings = Settings::new(mode, &key, Some(&Secret::new("whsec_stripe")), &url)?;
            billing::connect(tx, &apps::environment(tx, app, kind)?, mode, &settings)
        };
        self.store().write(connect).await.unwrap()
    }

    pub fn bill(&self) {
        let api = self.app.api();
        tokio::spawn(worker::run(api.store.clone(), api.outbox.clone(), usher::app::billing_sender(api)));
    }

    /// The jobs, oldest first, once they are as wanted.
    pub async fn billed(&self, wanted: impl Fn(&[Job]) -> bool) -> Vec<Job> {
        for _ in 0..2000 {
            let mut jobs = self.store().read(|tx| outbox::newest(tx, outbox::Kind::BillingSync, 100)).await.unwrap();
            jobs.sort_by_key(|job| job.id.0);
            if wanted(&jobs) {
                return jobs;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("this did not come about");
    }

    async fn customer(&self, id: &str, mode: Mode) -> Option<String> {
        let id: UserId = id.parse().unwrap();
        self.store().read(move |tx| billing::customer(tx, id, mode)).await.unwrap()
    }

    pub async fn erased(&self, id: &str) {
        let id: UserId = id.parse().unwrap();
        self.store().write(move |tx| erase(tx, id)).await.unwrap();
        self.app.api().outbox.wake();
    }
}

pub fn erase(tx: &Tx, id: UserId) -> usher::error::Result<()> {
    let user = users::any_by_id(tx, id)?.unwrap();
    erasure::erase(tx, Origin::of(Actor::Operator), &user).map(drop)
}

pub fn all_done(jobs: &[Job]) -> bool {
    !jobs.is_empty() && jobs.iter().all(|job| job.state == State::Sent)
}

/// The parameters of a form, sorted.
fn form(message: &Message) -> Vec<(String, String)> {
    let mut form: Vec<(String, String)> = form_urlencoded::parse(message.body.as_bytes()).into_owned().collect();
    form.sort();
    form
}

/// Answers as Stripe does; every new customer gets the next id.
pub fn stripe() -> Receiver {
    let receiver = Receiver::start();
    let mut count = 0;
    receiver.answers(move |message| {
        if message.line.starts_with("GET") {
            return answer(200, NONE);
        }
        count += usize::from(message.line == "POST /v1/customers");
        answer(200, &json!({"id": format!("cus_{count}"), "object": "customer"}).to_string())
    });
    receiver
}

pub fn address(receiver: &Receiver) -> String {
    format!("http://127.0.0.1:{}", receiver.port)
}

/// An empty page of customers.
pub const NONE: &str = r#"{"object":"search_result","data":[]}"#;
pub const REFUSED: &str = r#"{"error":{"type":"invalid_request_error","code":"email_invalid","param":"email","message":"Invalid email address: jane@doe.com"}}"#;

#[tokio::test]
async fn a_user_is_made_a_customer_and_kept_in_step_when_their_identity_changes_and_deleted_when_they_are_erased() {
    let (app, stripe) = (TestApp::new().await, stripe());
    app.connect_billing(Kind::Sandbox, Mode::Test, &address(&stripe)).await;
    app.bill();
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let id = acme.post(CREATE, jane()).await.ok().id().to_owned();
    let tenant = app.user(&id).await.tenant.unwrap().to_string();
    let made = &stripe.soon(1).await[0];
    let expected = [
        ("email", "jane@doe.com"),
        ("metadata[usher_app_id]", &app.client_id.to_string()),
        ("metadata[usher_environment]", "sandbox"),
        ("metadata[usher_language]", ""),
        ("metadata[usher_tenant_id]", &tenant),
        ("metadata[usher_user_id]", &id),
        ("name", "jane doe"),
        ("phone", "1234567890"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((made.line.as_str(), form(made)), ("POST /v1/customers", expected.to_vec()), "and nothing of health");
    assert_eq!(made.header("authorization"), "Bearer sk_test_123456");
    assert_eq!(made.header("stripe-version"), "2025-03-31.basil");
    let jobs = app.billed(all_done).await;
    assert!(made.header("idempotency-key").starts_with(&format!("{}-0-", jobs[0].id)));
    assert_eq!(app.customer(&id, Mode::Test).await.as_deref(), Some("cus_1"));

    acme.post(UPDATE, json!({"email": "jane@doe.com", "diabetes": 3})).await.ok();
    server.put(&format!("/v1/users/{id}"), json!({"user": {"nickname": "J"}})).await.ok();
    server.put(&format!("/v1/users/{id}"), json!({"user": {"language": "de", "given_name": "Janet"}})).await.ok();
    let changed = &stripe.soon(2).await[1];
    assert_eq!(changed.line, "POST /v1/customers/cus_1");
    assert!(form(changed).contains(&("name".into(), "Janet doe".into())));
    assert!(form(changed).contains(&("preferred_locales[0]".into(), "de".into())));
    assert_eq!(changed.header("idempotency-key"), "", "done twice, it is the same");
    let mut jobs = app.billed(|jobs| jobs.len() == 2 && all_done(jobs)).await;

    app.erased(&id).await;
    assert_eq!(stripe.soon(3).await[2].line, "DELETE /v1/customers/cus_1");
    jobs.extend(app.billed(|jobs| jobs.len() == 1 && all_done(jobs)).await);
    assert_eq!(app.customer(&id, Mode::Test).await, None);
    let kept: Vec<String> = jobs.iter().map(|job| job.payload.as_ref().unwrap().0.to_string()).collect();
    assert_eq!(kept, vec![r#"{"to":null}"#; 3], "what was told is wiped once it is done");
    assert_eq!(stripe.got().len(), 3, "where every try had its answer, nothing is looked for");
    let row = app.store().read(|tx| tx.query_opt("SELECT settings FROM billing_accounts", &[])).await.unwrap();
    let stored: Vec<u8> = row.unwrap().get(0).unwrap();
    assert!(!stored.windows(8).any(|window| window == b"sk_test_"), "keys are sealed");
}

#[tokio::test]
async fn a_lost_answer_does_not_make_a_second_customer_and_what_fails_is_tried_again_or_seen() {
    let (app, stripe) = (TestApp::new().await, stripe());
    app.connect_billing(Kind::Sandbox, Mode::Test, &address(&stripe)).await;
    app.bill();
    // The answer is lost; the server is overloaded; our key is wrong; and then it works.
    let mut times = 0;
    stripe.answers(move |message| {
        if message.line.starts_with("GET") {
            return answer(200, NONE);
        }
        times += 1;
        match times {
            1 => String::new(),
            2 => answer(429, "{}"),
            3 => answer(500, "oops jane@doe.com"),
            4 => answer(401, r#"{"error":{"type":"invalid_request_error"}}"#),
            _ => answer(200, r#"{"id":"cus_7"}"#),
        }
    });
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    for tried in 1..5 {
        let jobs = app.billed(|jobs| jobs[0].attempts == tried && jobs[0].failure.is_some()).await;
        assert!(!jobs[0].failure.as_ref().unwrap().contains("jane"), "{jobs:?}");
        // The failure of the try before is there while the next one is under way.
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.advance(Duration::from_hours(1));
        app.app.api().outbox.wake();
    }
    app.billed(all_done).await;
    let tries: Vec<Message> = stripe.got().into_iter().filter(|one| one.line == "POST /v1/customers").collect();
    let keys: Vec<&str> = tries.iter().map(|one| one.header("idempotency-key")).collect();
    assert_eq!(keys, [keys[0], keys[0], keys[0], keys[3], keys[3]], "one more answer that Stripe would repeat");
    assert_ne!(keys[0], keys[3]);
    let searches = stripe.got().iter().filter(|one| one.line.starts_with("GET /v1/customers/search?query=")).count();
    assert_eq!((tries.len(), searches), (5, 4), "it is looked for before it is made again");
    assert!(tries.iter().all(|one| one.body == tries[0].body), "one key, one meaning");
    assert_eq!(app.customer(&id, Mode::Test).await.as_deref(), Some("cus_7"));

    stripe.answers(|_| answer(400, REFUSED));
    let john = app.partner("acme").await.post(CREATE, john()).await.ok().id().to_owned();
    let failed = app.billed(|jobs| jobs.iter().any(|job| job.state == State::Failed)).await.pop().unwrap();
    assert_eq!(
        failed.failure.as_deref(),
        Some("HTTP 400: type invalid_request_error, code email_invalid, param email")
    );
    stripe.answers(|message| answer(200, if message.line.starts_with("GET") { NONE } else { r#"{"id":"cus_8"}"# }));
    assert_eq!(app.store().write(|tx| billing::retry(tx, OPERATOR, None, None)).await.unwrap(), 1);
    app.app.api().outbox.wake();
    app.billed(all_done).await;
    assert_eq!(app.customer(&john, Mode::Test).await.as_deref(), Some("cus_8"));
}

#[tokio::test]
async fn a_customer_that_was_deleted_at_stripe_is_made_anew_and_one_that_is_gone_is_erased() {
    let (app, stripe) = (TestApp::new().await, stripe());
    app.connect_billing(Kind::Sandbox, Mode::Test, &address(&stripe)).await;
    app.bill();
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(all_done).await;
    let gone = |message: &Message| message.line.contains("/cus_1");
    stripe.answers(move |message| match message.line.starts_with("GET") {
        _ if gone(message) => answer(404, REFUSED),
        true => answer(200, NONE),
        false => answer(200, r#"{"id":"cus_2"}"#),
    });
    let change = json!({"user": {"name": "Janet Doe"}});
    app.server().await.put(&format!("/v1/users/{id}"), change).await.ok();
    app.billed(|jobs| jobs.len() == 2 && all_done(jobs)).await;
    let lines: Vec<String> = stripe.got().iter().map(|message| message.line.clone()).collect();
    let search = format!("GET /v1/customers/search?query=metadata%5B%27usher_user_id%27%5D%3A%27{id}%27");
    assert_eq!(lines, ["POST /v1/customers", "POST /v1/customers/cus_1", search.as_str(), "POST /v1/customers"]);
    assert_eq!(app.customer(&id, Mode::Test).await.as_deref(), Some("cus_2"));
    stripe.answers(|_| answer(404, REFUSED));
    app.erased(&id).await;
    app.billed(|jobs| jobs.len() == 1 && all_done(jobs)).await;
}

#[tokio::test]
async fn one_users_changes_reach_stripe_one_by_one_and_tell_how_it_is_now() {
    let (app, stripe) = (TestApp::new().await, stripe());
    app.connect_billing(Kind::Sandbox, Mode::Test, &address(&stripe)).await;
    let server = app.server().await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    for name in ["a", "b", "c", "d", "e", "f"] {
        server.put(&format!("/v1/users/{id}"), json!({"user": {"name": name}})).await.ok();
    }
    app.bill();
    app.billed(|jobs| jobs.len() == 7 && all_done(jobs)).await;
    assert_eq!(told(&stripe, "name"), ["f"; 7]);
    assert_eq!(stripe.got().iter().filter(|message| message.line == "POST /v1/customers").count(), 1);
}

#[tokio::test]
async fn the_mode_is_what_the_change_says_and_the_sandbox_never_reaches_live() {
    let (app, stripe) = (TestApp::new().await, stripe());
    for (kind, mode) in [(Kind::Sandbox, Mode::Test), (Kind::Live, Mode::Test), (Kind::Live, Mode::Live)] {
        app.connect_billing(kind, mode, &address(&stripe)).await;
    }
    let client_id = app.client_id;
    let forbidden = move |tx: &Tx| {
        let settings = Settings::new(Mode::Live, &Secret::new("sk_live_1"), None, billing::STRIPE)?;
        billing::connect(tx, &apps::environment(tx, client_id, Kind::Sandbox)?, Mode::Live, &settings)
    };
    assert!(app.store().write(forbidden).await.is_err());
    app.bill();
    let sandbox = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let body = json!({"user": {"name": "x"}, "test": false});
    app.server().await.put(&format!("/v1/users/{sandbox}"), body).await.ok();
    app.billed(|jobs| jobs.len() == 2 && all_done(jobs)).await;
    let live = app.partner_in(Kind::Live, None).await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(|jobs| jobs.len() == 3 && all_done(jobs)).await;
    let server = app.server_in(Kind::Live, usher::keys::Access::Write).await;
    server.put(&format!("/v1/users/{live}?test=true"), json!({"user": {"name": "y"}})).await.ok();
    app.billed(|jobs| jobs.len() == 4 && all_done(jobs)).await;
    let posts = stripe.got().into_iter().filter(|message| message.line.starts_with("POST"));
    let keys: Vec<String> = posts.map(|message| message.header("authorization").to_owned()).collect();
    let (test, real) = ("Bearer sk_test_123456", "Bearer sk_live_123456");
    assert_eq!(keys, [test, test, real, test]);
    assert!(app.customer(&live, Mode::Live).await.is_some() && app.customer(&live, Mode::Test).await.is_some());
    app.erased(&live).await;
    app.billed(|jobs| jobs.len() == 4 && all_done(jobs)).await;
    let ended = stripe.got().iter().filter(|message| message.line.starts_with("DELETE")).count();
    assert_eq!(ended, 2, "in both modes");
}

/// What Stripe was told of a parameter, in order.
fn told(stripe: &Receiver, parameter: &str) -> Vec<String> {
    let posts = stripe.got().into_iter().filter(|message| message.line.starts_with("POST"));
    posts
        .filter_map(|message| form(&message).into_iter().find(|(name, _)| name == parameter))
        .map(|(_, it)| it)
        .collect()
}

#[tokio::test]
async fn a_job_that_is_tried_again_by_hand_tells_how_the_user_is_now_and_not_how_they_were() {
    let (app, stripe) = (TestApp::new().await, stripe());
    app.connect_billing(Kind::Sandbox, Mode::Test, &address(&stripe)).await;
    app.bill();
    let server = app.server().await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(all_done).await;
    let rename = async |name: &str| {
        server.put(&format!("/v1/users/{id}"), json!({"user": {"name": name}})).await.ok();
    };
    stripe.answers(|_| answer(400, REFUSED));
    rename("older").await;
    let failed = app.billed(|jobs| jobs.len() == 2 && jobs[1].state == State::Failed).await.remove(1);
    stripe.answers(|_| answer(200, r#"{"id":"cus_1"}"#));
    rename("newer").await;
    app.billed(|jobs| jobs.len() == 3 && jobs[2].state == State::Sent).await;
    let again = move |tx: &Tx| billing::retry(tx, OPERATOR, None, Some(failed.id));
    assert_eq!(app.store().write(again).await.unwrap(), 1);
    app.app.api().outbox.wake();
    app.billed(all_done).await;
    assert_eq!(told(&stripe, "name"), ["jane doe", "older", "newer", "newer"]);
    let entries = app.audited(Action::BillingRetried).await;
    assert_eq!((entries.len(), entries[0].target), (1, Some(failed.id.0)));
}

#[tokio::test]
async fn a_customer_whose_making_had_no_answer_is_found_by_the_id_it_carries() {
    let (app, stripe) = (TestApp::new().await, stripe());
    app.connect_billing(Kind::Sandbox, Mode::Test, &address(&stripe)).await;
    app.bill();
    // The first answer is a 500, though there is a customer.
    stripe.answers(|message| match message.line.split(['?']).next().unwrap() {
        "POST /v1/customers" => answer(500, ""),
        "GET /v1/customers/search" => answer(200, r#"{"data":[{"id":"cus_3"}]}"#),
        _ => answer(200, r#"{"id":"cus_3"}"#),
    });
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let job = app.billed(|jobs| jobs[0].failure.is_some()).await.remove(0);
    let pause = job.due_at.unwrap().0 - app.store().clock().now().0;
    assert!(pause >= 96_000, "{pause} ms: Stripe's search takes up to a minute to know of it");
    app.advance(Duration::from_hours(1));
    app.app.api().outbox.wake();
    app.billed(all_done).await;
    assert_eq!(app.customer(&id, Mode::Test).await.as_deref(), Some("cus_3"));
    assert_eq!(stripe.got().iter().filter(|message| message.line == "POST /v1/customers").count(), 1);
}

#[tokio::test]
async fn a_wrong_key_is_tried_again_for_three_days_and_seen_meanwhile() {
    let (app, stripe) = (TestApp::new().await, stripe());
    app.connect_billing(Kind::Sandbox, Mode::Test, &address(&stripe)).await;
    stripe.answers(|_| answer(401, "{}"));
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    let troubled = async || app.store().read(|tx| outbox::troubled(tx, outbox::Kind::BillingSync, 9)).await.unwrap();
    assert!(troubled().await.is_empty());
    let start = app.store().clock().now();
    let mut hours = 0;
    for _ in 0..100 {
        let leased = app.store().write(|tx| outbox::lease(tx, &[outbox::Kind::BillingSync], 8)).await.unwrap();
        let Some(job) = leased.into_iter().next() else { break };
        let refused = Outcome::Retry("HTTP 401".to_owned());
        app.store().write(move |tx| outbox::settle(tx, &job, &refused)).await.unwrap();
        let seen = troubled().await.remove(0);
        assert_eq!(seen.failure.as_deref(), Some("HTTP 401"));
        hours = (app.store().clock().now().0 - start.0) / 3_600_000;
        let Some(due_at) = seen.due_at else { break };
        app.advance(Duration::from_millis(u64::try_from(due_at.0 - app.store().clock().now().0).unwrap()));
    }
    assert_eq!(troubled().await[0].state, State::Failed);
    assert!((60..84).contains(&hours), "{hours}");
}

#[tokio::test]
async fn users_who_were_there_before_the_account_become_customers_at_a_pace() {
    let (app, stripe) = (TestApp::new().await, stripe());
    let acme = app.partner("acme").await;
    acme.post(CREATE, jane()).await.ok();
    app.advance(Duration::from_secs(1));
    acme.post(CREATE, john()).await.ok();
    let ann = jane().but("email", "ann@roe.com".into()).but("phonenumber", "2025550177".into());
    let gone = app.partner("other").await.post(CREATE, ann).await;
    let gone: UserId = gone.ok().id().parse().unwrap();
    app.store().write(move |tx| users::set_status(tx, gone, users::Status::Deleted)).await.unwrap();
    let account = app.connect_billing(Kind::Sandbox, Mode::Test, &address(&stripe)).await;
    let queue = move |tx: &Tx| billing::queue_existing(tx, &account, billing::Existing::default());
    let (existing, more) = app.store().write(queue.clone()).await.unwrap();
    assert_eq!((existing.queued, more), (2, false));
    app.bill();
    let jobs = app.billed(|jobs| jobs.iter().filter(|job| job.state == State::Sent).count() == 1).await;
    let waits = jobs[1].due_at.unwrap().0 - app.store().clock().now().0;
    assert_eq!(waits, 1000 / i64::try_from(billing::PACE).unwrap());
    app.advance(Duration::from_secs(1));
    app.app.api().outbox.wake();
    app.billed(all_done).await;
    assert_eq!(told(&stripe, "email"), ["jane@doe.com", "john@doe.com"]);
    assert_eq!(app.store().write(queue).await.unwrap().0.queued, 0, "they are customers now");
    assert_eq!(app.audited(Action::BillingExistingQueued).await.len(), 1);
}

#[tokio::test]
async fn what_claims_to_come_from_stripe_must_be_signed() {
    let (app, stripe) = (TestApp::new().await, stripe());
    let account = app.connect_billing(Kind::Sandbox, Mode::Test, &address(&stripe)).await;
    app.bill();
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(all_done).await;
    let body = json!({"type": "customer.deleted", "data": {"object": {"id": "cus_1"}}});
    let path = format!("/webhooks/stripe/{}", account.id);
    let now = app.store().clock().now().as_seconds();
    let unsigned = app.anyone().post(&path, body.clone()).await;
    let forged = app.anyone().with("Stripe-Signature", &format!("t={now},v1={}", "00".repeat(32)));
    let unknown = format!("/webhooks/stripe/{}", UserId::random());
    let nonsense = app.anyone().post("/webhooks/stripe/nonsense", body.clone()).await;
    let answers = [unsigned, forged.post(&path, body.clone()).await, forged.post(&unknown, body).await, nonsense];
    for answer in &answers {
        assert_eq!((answer.status, answer.body["code"].as_str()), (400, Some("not_genuine")), "{}", answer.text);
    }
    app.anyone().get("/openapi/partner/1999-01-01").await;
    let operation = Some("POST /webhooks/stripe/{account}".to_owned());
    let refused = audit::tally::Kind { key: None, operation, code: "not_genuine" };
    assert_eq!(app.app.api().refusals.take(), [(refused, 4)], "on their way into the trail; who only looks is not");
    assert!(app.customer(&id, Mode::Test).await.is_some());
    let genuine = json!({"type": "customer.deleted", "data": {"object": {"id": "cus_1"}}}).to_string();
    let take = move |tx: &Tx| billing::signature::take(tx, &account, genuine.as_bytes());
    assert!(app.store().write(take.clone()).await.unwrap());
    assert!(!app.store().write(take).await.unwrap(), "it is forgotten");
    let entries = app.audited(Action::CustomerForgotten).await;
    assert_eq!((entries.len(), entries[0].actor), (1, Some(Actor::Usher)));
    assert_eq!(entries[0].target.unwrap().to_string(), id);
}
