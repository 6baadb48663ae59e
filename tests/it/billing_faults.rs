//! What becomes of a job when Stripe fails: tried again or given up, and never with a word that may be about the person.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::json;
use usher::apps::Kind;
use usher::billing::Mode;
use usher::billing::stripe::Sender;
use usher::db::Tx;
use usher::outbox::{self, Job, State};

use crate::billing::all_done;
use crate::harness::{But, TestApp, jane, john};
use crate::idempotency::CREATE;
use crate::stripe::{Answer, MAKE, SEARCH, Stripe, answer, customer, deleted, found, garbage, refused};

/// The first pause where Stripe asks for none: two minutes, give or take a fifth.
const OWN_PAUSE: RangeInclusive<Duration> = Duration::from_secs(96)..=Duration::from_secs(144);

fn pause(job: &Job) -> Duration {
    Duration::from_millis((job.due_at.unwrap().0 - job.created_at.0).try_into().unwrap())
}

#[tokio::test]
async fn a_fault_of_stripes_is_waited_for_and_a_refusal_is_given_up_and_neither_tells_of_the_person() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    let waited_for = [
        ("the connection broke", Answer::Lost),
        ("HTTP 429: type -, code -, param -", answer(429, json!({}))),
        ("HTTP 401: type invalid_request_error, code email_invalid, param email", refused(401)),
        ("HTTP 403: type -, code -, param -", garbage(403)),
        ("HTTP 409: type -, code -, param -", garbage(409)),
        ("HTTP 500: type -, code -, param -", garbage(500)),
        ("HTTP 503: type -, code -, param -", answer(503, json!({"error": {"type": "jane@doe.com", "code": 7}}))),
        ("the answer names no customer", garbage(200)),
        ("the answer names no customer", answer(200, json!({"id": "jane"}))),
        ("the answer names no customer", answer(200, json!(["cus_1"]))),
    ];
    let given_up = [
        ("HTTP 302: type -, code -, param -", garbage(302)),
        ("HTTP 400: type invalid_request_error, code email_invalid, param email", refused(400)),
        ("HTTP 402: type -, code -, param -", garbage(402)),
        ("HTTP 404: type -, code -, param -", garbage(404)),
    ];
    let acme = app.partner("acme").await;
    let mut count = 0;
    for (state, faults) in [(State::Queued, &waited_for[..]), (State::Failed, &given_up[..])] {
        for (why, fault) in faults {
            stripe.says(MAKE, [fault.clone()]).await;
            let (email, phone) = (format!("jane{count}@doe.com"), format!("20255501{count:02}"));
            acme.post(CREATE, jane().but("email", json!(email)).but("phonenumber", json!(phone))).await.ok();
            count += 1;
            let job = app.billed(|jobs| jobs.len() == count && jobs[count - 1].failure.is_some()).await.pop().unwrap();
            assert_eq!((job.failure.as_deref(), job.state), (Some(*why), state));
            assert!(state == State::Failed || OWN_PAUSE.contains(&pause(&job)), "{:?}", pause(&job));
        }
    }
    stripe.says(MAKE, [customer(1)]).await;
    app.later(Duration::from_hours(1));
    let jobs = app.billed(|jobs| jobs[..waited_for.len()].iter().all(|job| job.state == State::Sent)).await;
    assert_eq!(jobs.iter().filter(|job| job.state == State::Failed).count(), given_up.len());
}

#[tokio::test]
async fn a_pause_is_as_long_as_stripe_asks_for_and_never_longer_than_an_hour_for_that() {
    let exactly = |span| span..=span;
    for (status, asks, pauses) in [
        (429, "1800", exactly(Duration::from_mins(30))),
        (503, "1800", exactly(Duration::from_mins(30))),
        (429, "86400", exactly(Duration::from_hours(1))),
        (429, "18446744073709551615", exactly(Duration::from_hours(1))),
        (429, "60", OWN_PAUSE),
        (503, "soon", OWN_PAUSE),
        (429, "-1800", OWN_PAUSE),
    ] {
        let (app, stripe) = (TestApp::new().await, Stripe::start().await);
        app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
        app.bill();
        let busy = answer(status, json!({})).with(|answer| answer.insert_header("Retry-After", asks));
        stripe.says(MAKE, [busy, customer(1)]).await;
        app.partner("acme").await.post(CREATE, jane()).await.ok();
        let job = app.waiting(1).await;
        assert!(pauses.contains(&pause(&job)), "{status} {asks}: {:?}", pause(&job));
        app.later(Duration::from_hours(1));
        app.billed(all_done).await;
    }
}

/// What does a try as if the database had taken the time by which `patience` is longer than its lease allows, or had not.
fn sender(patience: u64) -> Sender<impl Fn(&'static str) + Send + Sync> {
    Sender::new(|_: &'static str| ()).within(Duration::from_secs(patience))
}

#[tokio::test]
async fn a_try_whose_lease_may_end_before_it_does_is_put_off_be_it_the_first_or_the_last() {
    for tried in [0, 76] {
        let (app, stripe) = (TestApp::new().await, Stripe::start().await);
        app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
        app.partner("acme").await.post(CREATE, jane()).await.ok();
        app.tamper(&format!("UPDATE outbox SET attempts = {tried} WHERE kind = 'billing'"));
        assert_eq!(app.attempt(&sender(51)).await, 1);
        let job = app.waiting(tried).await;
        assert_eq!((job.failure.as_deref(), job.state), (Some("the database took too long"), State::Queued));
        assert!(stripe.got().await.is_empty());
        app.advance(Duration::from_hours(2));
        assert_eq!(app.attempt(&sender(45)).await, 1);
        app.billed(all_done).await;
    }
}

#[tokio::test]
async fn a_job_for_which_nobody_is_asked_needs_no_time_to_ask() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    let damage =
        |tx: &Tx| tx.execute("UPDATE outbox SET payload = $1 WHERE kind = 'billing'", &[vec![0_u8; 64].into()]);
    app.store().write(damage).await.unwrap();
    assert_eq!(app.attempt(&sender(51)).await, 1);
    let job = app.billed(|jobs| jobs[0].state == State::Failed).await.remove(0);
    assert_eq!(job.failure.as_deref(), Some("the job cannot be read: its data is damaged"));
}

#[tokio::test]
async fn an_answer_that_is_too_slow_is_a_lost_one() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill_by(Sender::new(|_: &'static str| ()).within(Duration::from_millis(300)));
    let slow = customer(1).late(Duration::from_mins(1));
    stripe.says(MAKE, [slow, customer(1)]).await;
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    let job = app.billed(|jobs| jobs[0].failure.is_some()).await.remove(0);
    assert_eq!((job.failure.as_deref(), job.state), (Some("no answer in time"), State::Queued));
    app.later(Duration::from_hours(1));
    app.billed(all_done).await;
    let got = stripe.got().await;
    assert_eq!(stripe.asked().await, [MAKE, SEARCH, MAKE]);
    assert_eq!(got[0].header("idempotency-key"), got[2].header("idempotency-key"), "it may have made one");
}

#[tokio::test]
async fn answers_that_take_too_long_together_are_lost_too() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill_by(Sender::new(|_: &'static str| ()).within(Duration::from_millis(600)));
    let slow = |answer: Answer| answer.late(Duration::from_millis(400));
    stripe.says(SEARCH, [slow(found(&[])), found(&[])]).await;
    stripe.says(MAKE, [Answer::Lost, slow(customer(1)), customer(1)]).await;
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    app.waiting(1).await;
    app.later(Duration::from_hours(1));
    assert_eq!(app.waiting(2).await.failure.as_deref(), Some("no answer in time"));
    app.later(Duration::from_hours(1));
    app.billed(all_done).await;
}

#[tokio::test]
async fn a_long_list_that_comes_slowly_is_a_failure_that_is_seen() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill_by(Sender::new(|_: &'static str| ()).within(Duration::from_millis(600)));
    stripe.says(MAKE, [Answer::Lost]).await;
    stripe.says(SEARCH, [refused(400)]).await;
    let now = app.store().clock().now().as_seconds();
    let page: Vec<_> = (0..100).map(|n| json!({"id": format!("cus_{n}"), "created": now})).collect();
    stripe.says("GET /v1/customers", [found(&page).late(Duration::from_millis(100))]).await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.waiting(1).await;
    app.erased(&id).await;
    app.later(Duration::from_mins(2));
    let job = app.waiting(1).await;
    assert_eq!((job.failure.as_deref(), job.state), (Some("no answer in time"), State::Queued));
}

#[tokio::test]
async fn a_job_whose_tries_never_end_is_given_up_too() {
    let app = TestApp::new().await;
    app.connect_billing(Kind::Sandbox, Mode::Test, "http://127.0.0.1:9").await;
    app.partner("acme").await.post(CREATE, jane()).await.ok();
    let lease = || app.store().write(|tx| outbox::lease(tx, &[outbox::Kind::BillingSync], 8));
    for tried in 1..=77 {
        assert_eq!(lease().await.unwrap().0[0].attempts, tried);
        assert!(lease().await.unwrap().0.is_empty(), "it is under way");
        app.advance(Duration::from_mins(1));
    }
    assert_eq!(app.attempt(&usher::app::billing_sender(app.app.api())).await, 0);
    app.assert_counted("usher_billing_total", &[("retry", 0), ("failed", 1)]).await;
    let job = app.store().read(|tx| outbox::troubled(tx, outbox::Kind::BillingSync, 9)).await.unwrap().remove(0);
    assert_eq!((job.state, job.failure.as_deref()), (State::Failed, Some("the last try did not end")));
}

#[tokio::test]
async fn who_waits_for_a_slow_answer_holds_up_nobody_else() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    let slow = customer(1).late(Duration::from_mins(1));
    stripe.says(MAKE, [slow, customer(2)]).await;
    let acme = app.partner("acme").await;
    acme.post(CREATE, jane()).await.ok();
    stripe.soon(1).await;
    let john = acme.post(CREATE, john()).await.ok().id().to_owned();
    let jobs = app.billed(|jobs| jobs.len() == 2 && jobs[1].state == State::Sent).await;
    assert_eq!(jobs[0].state, State::Queued);
    assert_eq!(app.customer(&john, Mode::Test).await.as_deref(), Some("cus_2"));
}

#[tokio::test]
async fn where_there_is_no_search_a_customer_is_made_again_under_the_same_key() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    stripe.says(MAKE, [Answer::Lost, customer(5)]).await;
    stripe.says(SEARCH, [refused(404)]).await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(|jobs| jobs[0].failure.is_some()).await;
    app.later(Duration::from_hours(1));
    app.billed(all_done).await;
    let got = stripe.got().await;
    assert_eq!(stripe.asked().await, [MAKE, SEARCH, MAKE]);
    assert_eq!(got[0].header("idempotency-key"), got[2].header("idempotency-key"));
    assert_eq!(app.customer(&id, Mode::Test).await.as_deref(), Some("cus_5"));
}

#[tokio::test]
async fn a_deletion_is_done_only_once_stripe_says_that_the_customer_was_deleted() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(all_done).await;
    stripe.lacks("cus_1", Answer::Lost).await;
    // Not there, it says, and then: no answer, busy, failing, there after all, nonsense, and that it was deleted.
    let answers = [Answer::Lost, answer(429, json!({})), garbage(500), customer(1), garbage(200), deleted()];
    stripe.says("GET /v1/customers/cus_1", answers).await;
    app.erased(&id).await;
    let there = "the customer is there, but cannot be deleted or changed";
    let reasons = ["the connection broke", "HTTP 429", "HTTP 500", there, there];
    for (failed, why) in (1..).zip(reasons) {
        let job = app.waiting(failed).await;
        assert!(job.failure.as_ref().is_some_and(|words| words.starts_with(why)), "{why}: {:?}", job.failure);
        app.later(Duration::from_hours(1));
    }
    app.billed(all_done).await;
}
