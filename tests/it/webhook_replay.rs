//! What webhooks are sent again: which of it, in which order, for how long, and where to.

use std::time::Duration;

use usher::random;
use usher::webhooks::{self, Address, Change, EventId, Outcome, State, Which};

use crate::harness::{OPERATOR, TestApp, jane, john};
use crate::idempotency::CREATE;
use crate::receiver::Receiver;
use crate::webhooks::{SECOND, all_sent, states};

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
    let (jobs, _) = app.store().write(move |tx| webhooks::lease(tx, &places)).await.unwrap();
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
async fn a_410_from_an_address_that_was_replaced_meanwhile_disables_nothing_and_the_new_one_is_told() {
    let (app, old, new) = (TestApp::new().await, Receiver::start(), Receiver::start());
    let endpoint = app.webhook(&old).await;
    let acme = app.partner("acme").await;
    for person in [jane(), john()] {
        acme.post(CREATE, person).await.ok();
    }
    let places = vec![(endpoint.id, 1)];
    let (mut jobs, _) = app.store().write(move |tx| webhooks::lease(tx, &places)).await.unwrap();
    let job = jobs.remove(0);
    let change = Change { address: Some(Address::new(&new.url()).unwrap()), ..Change::default() };
    app.change_webhook(endpoint.id, change).await;
    let gone = Outcome::Answered(410, "gone".to_owned());
    app.store().write(move |tx| webhooks::settle(tx, &job, &gone, SECOND, random::uuid())).await.unwrap();
    assert_eq!(app.endpoint(endpoint.id).await.disabled_because, None);
    assert_eq!(states(&app.deliveries(endpoint.id).await), ["queued", "queued"]);
    app.send_webhooks();
    app.once(endpoint.id, all_sent).await;
    assert_eq!((old.got().len(), new.got().len()), (0, 2));
}
