//! The end of a user at Stripe: whoever was made a customer there is deleted, heard of or not.

use std::time::Duration;

use serde_json::json;
use usher::apps::Kind;
use usher::billing::{self, Mode, Told};
use usher::outbox::{self, Job, Outcome, State};
use usher::users::{Status, UserId};

use crate::billing::{all_done, erase};
use crate::harness::{OPERATOR, TestApp, jane};
use crate::idempotency::{CREATE, set_status};
use crate::stripe::{Answer, MAKE, SEARCH, Stripe, answer, found, refused};

#[tokio::test]
async fn who_is_erased_while_the_account_is_disconnected_is_seen_and_deleted_once_it_is_connected_again() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    let account = app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(all_done).await;
    app.store().write(move |tx| billing::disconnect(tx, account.id)).await.unwrap();
    app.erased(&id).await;
    let failed = app.billed(|jobs| jobs.len() == 1 && jobs[0].state == State::Failed).await.remove(0);
    assert_eq!(failed.failure.as_deref(), Some("no account is connected in test mode"));
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    assert_eq!(app.store().write(|tx| billing::retry(tx, OPERATOR, None, None)).await.unwrap(), 1);
    app.app.api().outbox.wake();
    app.billed(all_done).await;
    assert_eq!(stripe.got().await.last().unwrap().line, "DELETE /v1/customers/cus_1");
}

/// Deterministic where there are several writers: one holds its transaction open while the other erases.
#[tokio::test]
async fn a_customer_made_while_the_user_is_erased_is_deleted_too() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let job = app.store().write(|tx| outbox::lease(tx, &[outbox::Kind::BillingSync], 1)).await.unwrap().0.remove(0);
    let told = Told { outcome: Outcome::Done, made: Some("cus_9".to_owned()) };
    let note = app.store().write(move |tx| {
        billing::settle(tx, &job, &told)?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(())
    });
    let erase = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let id: UserId = id.parse().unwrap();
        app.store().write(move |tx| erase(tx, id)).await
    };
    let (noted, erased) = tokio::join!(note, erase);
    noted.and(erased).unwrap();
    assert_eq!(app.count("billing_customers").await, 0);
    app.bill();
    app.billed(all_done).await;
    assert_eq!(stripe.got().await.last().unwrap().line, "DELETE /v1/customers/cus_9");
}

#[tokio::test]
async fn a_customer_whose_making_had_no_answer_is_found_and_deleted_when_the_user_is_erased_before_the_next_try() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    stripe.says(MAKE, [Answer::Lost]).await;
    let (three, four) = (json!({"id": "cus_3"}), json!({"id": "cus_4"}));
    stripe.says(SEARCH, [answer(500, json!("")), answer(200, json!("?")), found(&[]), found(&[three, four])]).await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(|jobs| jobs[0].failure.is_some()).await;
    app.erased(&id).await;
    let jobs = app.billed(|jobs| jobs.len() == 2).await;
    let pauses: Vec<i64> = jobs.iter().map(|job| (job.due_at.unwrap().0 - job.created_at.0) / 60_000).collect();
    assert_eq!(pauses, [2, 120], "once Stripe's search knows, and once more for when it is late");
    for job in &jobs {
        let Some(outbox::Payload(data)) = &job.payload else { panic!("no data") };
        let names: Vec<&str> = data.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["environment", "mode", "customer", "is_new", "strays_since"]);
        assert!(data["customer"].is_null() && data["strays_since"].is_i64(), "nothing of the person: {data}");
    }
    let next = async |minutes: u64, wanted: &dyn Fn(&[Job]) -> bool| {
        app.later(Duration::from_mins(minutes));
        app.billed(wanted).await;
    };
    next(2, &|jobs| jobs[0].failure.as_deref().is_some_and(|why| why.starts_with("HTTP 500"))).await;
    next(5, &|jobs| jobs[0].failure.as_deref() == Some("the answer to a search cannot be read")).await;
    next(10, &|jobs| jobs[0].state == State::Sent).await;
    next(120, &|jobs| all_done(jobs)).await;
    let ended = ["DELETE /v1/customers/cus_3", "DELETE /v1/customers/cus_4"];
    assert_eq!(stripe.asked().await, [MAKE, SEARCH, SEARCH, SEARCH, SEARCH, ended[0], ended[1]]);
    assert!(stripe.got().await[1].line.contains(&id));
}

#[tokio::test]
async fn where_stripe_has_no_search_the_newest_customers_are_looked_through() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    stripe.says(MAKE, [Answer::Lost]).await;
    stripe.says(SEARCH, [refused(400)]).await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let begun = app.store().clock().now().as_seconds();
    app.billed(|jobs| jobs[0].failure.is_some()).await;
    let of = move |n: i64, user: &str| json!({"id": format!("cus_{n}"), "created": begun - n, "metadata": {"usher_user_id": user}});
    let others = move |from: i64| (from..from + 99).map(move |n| of(n, "somebody")).collect::<Vec<_>>();
    let page = |from: i64, last| found(&[others(from), vec![last]].concat());
    // Who was made long before the first try is nobody we look for.
    let pages = [page(1, of(100, &id)), page(101, of(9000, "somebody"))];
    stripe.says("GET /v1/customers", pages).await;
    app.erased(&id).await;
    app.later(Duration::from_mins(2));
    app.billed(|jobs| jobs.len() == 2 && jobs[0].state == State::Sent).await;
    assert_eq!(
        stripe.asked().await[1..],
        [
            SEARCH,
            "GET /v1/customers?limit=100",
            "GET /v1/customers?limit=100&starting_after=cus_100",
            "DELETE /v1/customers/cus_100",
        ]
    );
}

/// Deterministic where there are several writers: one holds the first try of the job open while the other erases.
#[tokio::test]
async fn a_try_that_begins_while_the_user_is_erased_is_followed_by_a_look_for_what_it_made() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let lease = app.store().write(|tx| {
        let (leased, _) = outbox::lease(tx, &[outbox::Kind::BillingSync], 1)?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(leased.len())
    });
    let erased = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let id: UserId = id.parse().unwrap();
        app.store().write(move |tx| erase(tx, id)).await
    };
    let (leased, erased) = tokio::join!(lease, erased);
    erased.unwrap();
    assert_eq!(leased.unwrap(), 1);
    let jobs = app.billed(|jobs| jobs.len() == 2).await;
    assert!(jobs.iter().all(|job| job.attempts == 0 && job.payload.as_ref().unwrap().0["strays_since"].is_i64()));
}

#[tokio::test]
async fn of_who_is_deleted_before_stripe_was_told_of_them_it_is_not_told_until_they_are_restored() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    set_status(&app, &id, Status::Deleted).await;
    app.bill();
    app.billed(all_done).await;
    assert_eq!((stripe.asked().await, app.customer(&id, Mode::Test).await), (Vec::new(), None));
    set_status(&app, &id, Status::Active).await;
    app.billed(|jobs| jobs.len() == 2 && all_done(jobs)).await;
    assert_eq!(app.customer(&id, Mode::Test).await.as_deref(), Some("cus_1"));
}

#[tokio::test]
async fn who_is_restored_becomes_a_customer_if_the_account_was_connected_while_they_were_deleted() {
    let (app, stripe) = (TestApp::new().await, Stripe::start().await);
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    set_status(&app, &id, Status::Deleted).await;
    app.connect_billing(Kind::Sandbox, Mode::Test, &stripe.url()).await;
    app.bill();
    set_status(&app, &id, Status::Active).await;
    app.billed(|jobs| jobs.len() == 1 && all_done(jobs)).await;
    for status in [Status::Frozen, Status::Active] {
        set_status(&app, &id, status).await;
    }
    assert_eq!(app.billed(all_done).await.len(), 1, "who is a customer already has not changed");
}
