//! Billing: users are customers at Stripe, which here is [`crate::stripe`].

use std::time::Duration;

use serde_json::json;
use usher::apps::{self, Kind};
use usher::audit::Action;
use usher::billing::{self, Account, Mode, Settings};
use usher::caller::{Actor, Origin};
use usher::db::Tx;
use usher::erasure;
use usher::error::Result;
use usher::outbox::worker::{self, Work};
use usher::outbox::{self, Job, Outcome, State};
use usher::secret::Secret;
use usher::users::{self, UserId};

use crate::cluster::on_postgres;
use crate::harness::{But, OPERATOR, TestApp, jane, john};
use crate::idempotency::{CREATE, UPDATE};
use crate::stripe::{Answer, MAKE, SEARCH, Stripe, answer, customer, deleted, form, found, refused};

impl TestApp {
    pub async fn connect_billing(&self, kind: Kind, mode: Mode, url: &str) -> Account {
        self.try_to_connect_billing(kind, mode, url, false).await.unwrap()
    }

    pub async fn try_to_connect_billing(&self, kind: Kind, mode: Mode, url: &str, is_same: bool) -> Result<Account> {
        let (app, url) = (self.client_id, url.to_owned());
        let connect = move |tx: &Tx| {
            let key = Secret::new(format!("sk_{}_123456", mode.as_str()));
            let settings = Settings::new(mode, &key, Some(&Secret::new("whsec_stripe")), &url)?;
            billing::connect(tx, &apps::environment(tx, app, kind)?, mode, &settings, is_same)
        };
        self.store().write(connect).await
    }

    pub fn bill(&self) {
        self.bill_by(usher::app::billing_sender(self.app.api()));
    }

    pub fn bill_by(&self, sender: impl Work<Job = Job> + Send + Sync + 'static) {
        let api = self.app.api();
        tokio::spawn(worker::run(api.store.clone(), api.outbox.clone(), sender));
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

    /// The oldest job, once it has failed so often and waits for its next try.
    pub async fn waiting(&self, failed: i64) -> Job {
        let now = Some(self.store().clock().now());
        self.billed(|jobs| jobs[0].attempts == failed && jobs[0].due_at > now).await.remove(0)
    }

    pub async fn customer(&self, id: &str, mode: Mode) -> Option<String> {
        let id: UserId = id.parse().unwrap();
        self.store().read(move |tx| billing::customer(tx, id, mode)).await.unwrap()
    }

    pub async fn erased(&self, id: &str) {
        let id: UserId = id.parse().unwrap();
        self.store().write(move |tx| erase(tx, id)).await.unwrap();
        self.app.api().outbox.wake();
    }
}

pub fn erase(tx: &Tx, id: UserId) -> Result<()> {
    let user = users::any_by_id(tx, id)?.unwrap();
    erasure::erase(tx, Origin::of(Actor::Operator), &user).map(drop)
}

pub fn all_done(jobs: &[Job]) -> bool {
    !jobs.is_empty() && jobs.iter().all(|job| job.state == State::Sent)
}

#[tokio::test]
async fn a_user_is_made_a_customer_and_kept_in_step_when_their_identity_changes_and_deleted_when_they_are_erased() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
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
    assert_eq!(stripe.got().await.len(), 3, "where every try had its answer, nothing is looked for");
    let row = app.store().read(|tx| tx.query_opt("SELECT settings FROM billing_accounts", &[])).await.unwrap();
    let stored: Vec<u8> = row.unwrap().get(0).unwrap();
    assert!(!stored.windows(8).any(|window| window == b"sk_test_"), "keys are sealed");
}

#[tokio::test]
async fn a_lost_answer_does_not_make_a_second_customer_and_what_fails_is_tried_again_or_seen() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    let (overloaded, wrong_key) = (answer(429, json!({})), answer(401, json!({"error": {"type": "x"}})));
    stripe
        .says(MAKE, [Answer::Lost, overloaded, answer(500, json!("oops jane@doe.com")), wrong_key, customer(7)])
        .await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    for tried in 1..5 {
        app.waiting(tried).await;
        app.later(Duration::from_hours(1));
    }
    app.billed(all_done).await;
    let tries: Vec<_> = stripe.got().await.into_iter().filter(|one| one.line == MAKE).collect();
    let keys: Vec<&str> = tries.iter().map(|one| one.header("idempotency-key")).collect();
    assert_eq!(keys, [keys[0], keys[0], keys[0], keys[3], keys[3]], "one more answer that Stripe would repeat");
    assert_ne!(keys[0], keys[3]);
    let searches = stripe.asked().await.iter().filter(|line| *line == SEARCH).count();
    assert_eq!((tries.len(), searches), (5, 4), "it is looked for before it is made again");
    assert!(tries.iter().all(|one| one.body == tries[0].body), "one key, one meaning");
    assert_eq!(app.customer(&id, Mode::Test).await.as_deref(), Some("cus_7"));

    stripe.says(MAKE, [refused(400), customer(8)]).await;
    let john = app.partner("acme").await.post(CREATE, john()).await.ok().id().to_owned();
    let failed = app.billed(|jobs| jobs.iter().any(|job| job.state == State::Failed)).await.pop().unwrap();
    assert_eq!(
        failed.failure.as_deref(),
        Some("HTTP 400: type invalid_request_error, code email_invalid, param email")
    );
    assert_eq!(app.store().write(|tx| billing::retry(tx, OPERATOR, None, None)).await.unwrap(), 1);
    app.app.api().outbox.wake();
    app.billed(all_done).await;
    assert_eq!(app.customer(&john, Mode::Test).await.as_deref(), Some("cus_8"));
}

#[tokio::test]
async fn a_customer_that_was_deleted_at_stripe_is_made_anew_and_one_that_is_gone_is_erased() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(all_done).await;
    stripe.lacks("cus_1", deleted()).await;
    let change = json!({"user": {"name": "Janet Doe"}});
    app.server().await.put(&format!("/v1/users/{id}"), change).await.ok();
    app.billed(|jobs| jobs.len() == 2 && all_done(jobs)).await;
    let lines: Vec<String> = stripe.got().await.into_iter().map(|message| message.line).collect();
    let search = format!("{SEARCH}?query=metadata%5B%27usher_user_id%27%5D%3A%27{id}%27");
    assert_eq!(lines, [MAKE, "POST /v1/customers/cus_1", "GET /v1/customers/cus_1", search.as_str(), MAKE]);
    assert_eq!(app.customer(&id, Mode::Test).await.as_deref(), Some("cus_2"));
    stripe.lacks("cus_2", deleted()).await;
    app.erased(&id).await;
    app.billed(|jobs| jobs.len() == 1 && all_done(jobs)).await;
}

#[tokio::test]
async fn a_name_is_cut_to_what_stripe_takes() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    let long = jane().but("firstname", json!("é".repeat(200))).but("lastname", json!("b".repeat(200)));
    app.partner("acme").await.post(CREATE, long).await.ok();
    app.billed(all_done).await;
    assert_eq!(stripe.told("name").await, [format!("{} {}", "é".repeat(200), "b".repeat(55))]);
}

#[tokio::test]
async fn a_number_that_is_written_longer_than_stripe_takes_is_told_in_its_shortest_form() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    let (fits, long) = ("+1 (202) - 555 -0199", "+1 (202) - 555 - 0198");
    assert_eq!((fits.len(), long.len()), (20, 21));
    for (n, number) in [fits, long].into_iter().enumerate() {
        let body = jane().but("email", json!(format!("{n}@doe.com"))).but("phonenumber", json!(number));
        app.partner("acme").await.post(CREATE, body).await.ok();
        app.billed(|jobs| jobs.len() == n + 1 && all_done(jobs)).await;
    }
    assert_eq!(stripe.told("phone").await, [fits, "+12025550198"]);
}

#[tokio::test]
async fn one_users_changes_reach_stripe_one_after_the_other_and_those_that_wait_as_one() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    let server = app.server().await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let rename = async |name: &str| {
        server.put(&format!("/v1/users/{id}"), json!({"user": {"name": name}})).await.ok();
    };
    for name in ["a", "b", "c"] {
        rename(name).await;
    }
    app.bill();
    app.billed(|jobs| jobs.len() == 1 && all_done(jobs)).await;
    assert_eq!(stripe.told("name").await, ["c"]);

    stripe.says("POST /v1/customers/cus_1", [answer(500, json!({})), customer(1)]).await;
    rename("d").await;
    app.billed(|jobs| jobs.len() == 2 && jobs[1].failure.is_some()).await;
    // That one has begun, and may have told already who they were.
    for name in ["e", "f"] {
        rename(name).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let jobs = app.billed(|jobs| jobs.len() == 3).await;
    assert_eq!((jobs[2].attempts, stripe.told("name").await), (0, vec!["c".to_owned(), "d".to_owned()]));
    app.later(Duration::from_hours(1));
    app.billed(all_done).await;
    assert_eq!(stripe.told("name").await, ["c", "d", "f", "f"]);
    assert_eq!(stripe.asked().await.iter().filter(|line| *line == MAKE).count(), 1);
}

#[tokio::test]
async fn what_of_a_user_waits_is_found_by_an_index_and_not_among_all_that_is_due() {
    if on_postgres() {
        // It reads small tables whole, whatever indexes there are.
        return;
    }
    let plan = "EXPLAIN QUERY PLAN SELECT id FROM outbox WHERE user_id = x'00' AND kind = 'billing' \
                AND due_at IS NOT NULL AND attempts = 0 ORDER BY id";
    let rows = TestApp::new().await.store().read(|tx| tx.query(plan, &[])).await.unwrap();
    let steps: Vec<String> = rows.iter().map(|row| row.get(3).unwrap()).collect();
    assert_eq!(steps, ["SEARCH outbox USING INDEX outbox_in_order (user_id=?)"]);
}

#[tokio::test]
async fn the_mode_is_what_the_change_says_and_the_sandbox_never_reaches_live() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    for (kind, mode) in [(Kind::Sandbox, Mode::Test), (Kind::Live, Mode::Test), (Kind::Live, Mode::Live)] {
        app.connect_billing(kind, mode, &stripe.url()).await;
    }
    let client_id = app.client_id;
    let forbidden = move |tx: &Tx| {
        let settings = Settings::new(Mode::Live, &Secret::new("sk_live_1"), None, billing::STRIPE)?;
        billing::connect(tx, &apps::environment(tx, client_id, Kind::Sandbox)?, Mode::Live, &settings, false)
    };
    assert!(app.store().write(forbidden).await.is_err());
    app.bill();
    let sandbox = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(all_done).await;
    let body = json!({"user": {"name": "x"}, "test": false});
    app.server().await.put(&format!("/v1/users/{sandbox}"), body).await.ok();
    app.billed(|jobs| jobs.len() == 2 && all_done(jobs)).await;
    let live = app.partner_in(Kind::Live, None).await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(|jobs| jobs.len() == 3 && all_done(jobs)).await;
    let server = app.server_in(Kind::Live, usher::keys::Access::Write).await;
    server.put(&format!("/v1/users/{live}?test=true"), json!({"user": {"name": "y"}})).await.ok();
    app.billed(|jobs| jobs.len() == 4 && all_done(jobs)).await;
    let posts = stripe.got().await.into_iter().filter(|message| message.line.starts_with("POST"));
    let keys: Vec<String> = posts.map(|message| message.header("authorization").to_owned()).collect();
    let (test, real) = ("Bearer sk_test_123456", "Bearer sk_live_123456");
    assert_eq!(keys, [test, test, real, test]);
    assert!(app.customer(&live, Mode::Live).await.is_some() && app.customer(&live, Mode::Test).await.is_some());
    app.erased(&live).await;
    app.billed(|jobs| jobs.len() == 4 && all_done(jobs)).await;
    let ended = stripe.asked().await.iter().filter(|line| line.starts_with("DELETE")).count();
    assert_eq!(ended, 2, "in both modes");
}

#[tokio::test]
async fn a_job_that_is_tried_again_by_hand_tells_how_the_user_is_now_and_not_how_they_were() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    let server = app.server().await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(all_done).await;
    let rename = async |name: &str| {
        server.put(&format!("/v1/users/{id}"), json!({"user": {"name": name}})).await.ok();
    };
    stripe.says("POST /v1/customers/cus_1", [refused(400), customer(1)]).await;
    rename("older").await;
    let failed = app.billed(|jobs| jobs.len() == 2 && jobs[1].state == State::Failed).await.remove(1);
    rename("newer").await;
    app.billed(|jobs| jobs.len() == 3 && jobs[2].state == State::Sent).await;
    let again = move |tx: &Tx| billing::retry(tx, OPERATOR, None, Some(failed.id));
    assert_eq!(app.store().write(again).await.unwrap(), 1);
    app.app.api().outbox.wake();
    app.billed(all_done).await;
    assert_eq!(stripe.told("name").await, ["jane doe", "older", "newer", "newer"]);
    let entries = app.audited(Action::BillingRetried).await;
    assert_eq!((entries.len(), entries[0].target), (1, Some(failed.id.0)));
}

#[tokio::test]
async fn a_customer_whose_making_had_no_answer_is_found_by_the_id_it_carries() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    // There is a customer, in spite of the 500.
    stripe.says(MAKE, [answer(500, json!(""))]).await;
    stripe.says(SEARCH, [found(&[json!({"id": "cus_3"})])]).await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let job = app.billed(|jobs| jobs[0].failure.is_some()).await.remove(0);
    let pause = job.due_at.unwrap().0 - app.store().clock().now().0;
    assert!(pause >= 96_000, "{pause} ms: Stripe's search takes up to a minute to know of it");
    app.later(Duration::from_hours(1));
    app.billed(all_done).await;
    assert_eq!(app.customer(&id, Mode::Test).await.as_deref(), Some("cus_3"));
    assert_eq!(stripe.asked().await.iter().filter(|line| *line == MAKE).count(), 1);
}

#[tokio::test]
async fn a_wrong_key_is_tried_again_for_three_days_and_seen_meanwhile() {
    let app = TestApp::new().await;
    app.connect_billing(Kind::Sandbox, Mode::Test, "http://127.0.0.1:9").await;
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    let troubled = async || app.store().read(|tx| outbox::troubled(tx, outbox::Kind::BillingSync, 9)).await.unwrap();
    assert!(troubled().await.is_empty());
    let start = app.store().clock().now();
    let mut hours = 0;
    for _ in 0..100 {
        let lease = |tx: &Tx| outbox::lease(tx, &[outbox::Kind::BillingSync], 8);
        let (leased, _) = app.store().write(lease).await.unwrap();
        let Some(job) = leased.into_iter().next() else { break };
        let refused = Outcome::retry("HTTP 401");
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
async fn a_try_that_is_put_off_twice_since_the_first_answer_was_lost_takes_none_from_who_tries_next() {
    let app = TestApp::new().await;
    app.connect_billing(Kind::Sandbox, Mode::Test, "http://127.0.0.1:9").await;
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    let lease = async || {
        let lease = |tx: &Tx| outbox::lease(tx, &[outbox::Kind::BillingSync], 8);
        app.store().write(lease).await.unwrap().0
    };
    let settle = async |job: &Job, outcome: Outcome| {
        let job = job.clone();
        app.store().write(move |tx| outbox::settle(tx, &job, &outcome)).await.unwrap();
    };
    let first = lease().await.remove(0);
    settle(&first, Outcome::PutOff("busy")).await;
    app.advance(Duration::from_hours(1));
    let next = lease().await.remove(0);
    assert_eq!((first.attempts, next.attempts), (1, 1));
    settle(&first, Outcome::PutOff("busy")).await;
    assert!(lease().await.is_empty(), "another has it");
    settle(&next, Outcome::GiveUp("no".to_owned())).await;
    let job = app.billed(|_| true).await.remove(0);
    assert_eq!((job.state, job.attempts, job.failure.as_deref()), (State::Failed, 1, Some("no")));
}

#[tokio::test]
async fn users_who_were_there_before_the_account_become_customers_at_a_pace() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    let acme = app.partner("acme").await;
    acme.post(CREATE, jane()).await.ok();
    app.advance(Duration::from_secs(1));
    acme.post(CREATE, john()).await.ok();
    let ann = jane().but("email", "ann@roe.com".into()).but("phonenumber", "2025550177".into());
    let gone = app.partner("other").await.post(CREATE, ann).await;
    let gone: UserId = gone.ok().id().parse().unwrap();
    app.store().write(move |tx| users::set_status(tx, gone, users::Status::Deleted)).await.unwrap();
    let account = app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    let queue = move |tx: &Tx| billing::queue_existing(tx, &account, billing::Existing::default());
    let (existing, more) = app.store().write(queue.clone()).await.unwrap();
    assert_eq!((existing.queued, more), (2, false));
    app.bill();
    let jobs = app.billed(|jobs| jobs.iter().filter(|job| job.state == State::Sent).count() == 1).await;
    let waits = jobs[1].due_at.unwrap().0 - app.store().clock().now().0;
    assert_eq!(waits, 1000 / i64::try_from(billing::PACE).unwrap());
    app.later(Duration::from_secs(1));
    app.billed(all_done).await;
    assert_eq!(stripe.told("email").await, ["jane@doe.com", "john@doe.com"]);
    assert_eq!(app.store().write(queue).await.unwrap().0.queued, 0, "they are customers now");
    assert_eq!(app.audited(Action::BillingExistingQueued).await.len(), 1);
}

#[tokio::test]
async fn what_claims_to_come_from_stripe_must_be_signed() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    let account = app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
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
    let noted = app.audited(Action::RequestRefused).await;
    let noted = noted.iter().rev().map(|entry| (entry.operation.as_deref(), &*entry.result, entry.request));
    // In the order in which they were sent. Who only looks is not among them.
    let sent = [&answers[0], &answers[3], &answers[1], &answers[2]].map(|answer| {
        (Some("POST /webhooks/stripe/{account}"), "not_genuine", answer.header("request-id").parse::<uuid::Uuid>().ok())
    });
    assert_eq!(noted.collect::<Vec<_>>(), sent);
    assert!(app.customer(&id, Mode::Test).await.is_some());
    let genuine = json!({"type": "customer.deleted", "data": {"object": {"id": "cus_1"}}}).to_string();
    let take = move |tx: &Tx| billing::signature::take(tx, &account, genuine.as_bytes());
    assert!(app.store().write(take.clone()).await.unwrap());
    assert!(!app.store().write(take).await.unwrap(), "it is forgotten");
    let entries = app.audited(Action::CustomerForgotten).await;
    assert_eq!((entries.len(), entries[0].actor), (1, Some(Actor::Usher)));
    assert_eq!(entries[0].target.unwrap().to_string(), id);
}
