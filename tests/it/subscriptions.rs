//! The partner API's subscriptions, and what a partner can retrieve.

use std::time::Duration;

use serde_json::{Value, json};
use usher::apps::Kind;
use usher::audit::Action;
use usher::caller::Actor;
use usher::keys::{Access, NewKey};
use usher::subscriptions;
use usher::users::Status;

use crate::harness::{Answer, But, Client, TestApp, a_key, jane, john};
use crate::idempotency::{CREATE, KEY, set_status};
use crate::imports_api::take_over;
use crate::receiver::Receiver;
use crate::webhooks::all_sent;

const UPDATE: &str = "/subscription/update";
const PAUSE: &str = "/subscription/pause";
const CANCEL: &str = "/subscription/cancel";
const RETRIEVE: &str = "/users/retrieve";

fn hers(more: Value) -> Value {
    let mut body = json!({"email": "jane@doe.com"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// How her subscription stands on the app's day, 2026-11-21 at first.
async fn stands(app: &TestApp, id: &str) -> (String, Value) {
    let user = app.user(id).await;
    let shown = subscriptions::show(&user, app.store().clock().now().day());
    (shown["status"].as_str().unwrap().to_owned(), shown)
}

fn days(app: &TestApp, count: u64) {
    app.advance(Duration::from_hours(24 * count));
}

async fn enrolled(app: &TestApp) -> (Client<'_>, String) {
    let acme = app.partner("acme").await;
    let id = acme.post(CREATE, jane()).await.ok().id().to_owned();
    (acme, id)
}

#[track_caller]
fn assert_said(answer: &Answer, body: &Value) {
    assert_eq!((answer.status, answer.text.clone()), (200, body.to_string()));
}

#[tokio::test]
async fn the_documented_samples_are_answered_to_the_letter() {
    let app = TestApp::new().await;
    let (acme, id) = enrolled(&app).await;
    let newest = acme.with("Fitmate-Version", "2023-10-04");
    let plan = json!({"paymentPlan": 6, "planStartDate": "2023-10-30", "subscriptionStatus": "active"});
    let updated = json!({"message": "update request received", "email": "jane@doe.com"});
    assert_said(&newest.post(UPDATE, hers(plan)).await, &updated);
    let (status, shown) = stands(&app, &id).await;
    assert_eq!((status.as_str(), &shown["paymentPlan"]), ("active", &json!(6)));
    // The page's payload has planStartDate, its call posts pauseUntil to the update (contract item 32).
    let paused = json!({"message": "pause request received", "email": "jane@doe.com"});
    assert_said(&newest.post(PAUSE, hers(json!({"planStartDate": "2027-10-30"}))).await, &paused);
    assert_eq!(stands(&app, &id).await.0, "paused", "and planStartDate is ignored");
    assert_said(&newest.post(UPDATE, hers(json!({"pauseUntil": "2023-12-30"}))).await, &updated);
    assert_eq!(stands(&app, &id).await.0, "active", "that pause was over before it began");
    let cancelled = json!({
        "message": "Subscription request cancelled successfull", "email": "jane@doe.com", "identifier": id
    });
    let cancel = hers(json!({"cancellationDate": "2023-12-30", "cancellationReason": "moved away"}));
    assert_said(&acme.with("Fitmate-Version", "2023-08-22").post(CANCEL, cancel).await, &cancelled);
    assert_eq!(stands(&app, &id).await.0, "cancelled");
}

#[tokio::test]
async fn a_pause_resumes_by_itself_and_a_cancellation_takes_effect_after_its_day() {
    let app = TestApp::new().await;
    let (acme, id) = enrolled(&app).await;
    assert_eq!(stands(&app, &id).await.0, "active");
    acme.post(PAUSE, hers(json!({"pauseUntil": "2026-11-24"}))).await.ok();
    acme.post(CANCEL, hers(json!({"cancellationDate": "2026-11-25"}))).await.ok();
    let mut seen = Vec::new();
    for _ in 0..6 {
        seen.push(stands(&app, &id).await.0);
        days(&app, 1);
    }
    // From the 21st on.
    assert_eq!(seen, ["paused", "paused", "paused", "active", "active", "cancelled"]);
}

#[tokio::test]
async fn a_plan_that_starts_later_is_scheduled_until_its_day() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let id = acme.post(CREATE, jane().but("planStartDate", json!("2026-11-23"))).await.ok().id().to_owned();
    assert_eq!(stands(&app, &id).await.0, "scheduled");
    days(&app, 2);
    assert_eq!(stands(&app, &id).await.0, "active");
    acme.post(UPDATE, hers(json!({"planStartDate": "2026-12-24"}))).await.ok();
    assert_eq!(stands(&app, &id).await.0, "scheduled");
}

#[tokio::test]
async fn what_cannot_be_now_is_409_with_the_reason_and_changes_nothing() {
    let app = TestApp::new().await;
    let (acme, id) = enrolled(&app).await;
    let version = || async { app.user(&id).await.version };
    let refuse = |path: &'static str, more: Value, code: &'static str| {
        let (acme, app, id) = (&acme, &app, &id);
        async move {
            let before = (app.user(id).await.version, stands(app, id).await.1);
            let answer = acme.post(path, hers(more)).await;
            assert_eq!((answer.status, answer.body["code"].as_str()), (409, Some(code)), "{}", answer.text);
            assert!(!answer.message().is_empty());
            assert_eq!((app.user(id).await.version, stands(app, id).await.1), before);
        }
    };
    acme.post(UPDATE, hers(json!({"planStartDate": "2027-01-01"}))).await.ok();
    refuse(PAUSE, json!({}), "subscription_not_begun").await;
    refuse(UPDATE, json!({"subscriptionStatus": "paused"}), "subscription_not_begun").await;
    refuse(UPDATE, json!({"subscriptionStatus": "active"}), "subscription_not_begun").await;
    // A cancellation that is to come can be moved and taken back.
    acme.post(UPDATE, hers(json!({"planStartDate": "2023-01-01"}))).await.ok();
    acme.post(CANCEL, hers(json!({"cancellationDate": "2026-12-01"}))).await.ok();
    acme.post(CANCEL, hers(json!({"cancellationDate": "2026-12-02"}))).await.ok();
    refuse(UPDATE, json!({"planStartDate": "2027-01-01"}), "starts_after_its_end").await;
    let both = json!({"subscriptionStatus": "paused", "planStartDate": "2027-01-01"});
    refuse(UPDATE, both, "subscription_not_begun").await;
    acme.post(UPDATE, hers(json!({"subscriptionStatus": "active"}))).await.ok();
    assert_eq!(stands(&app, &id).await.1["cancellationDate"], Value::Null);
    acme.post(UPDATE, hers(json!({"subscriptionStatus": "cancelled"}))).await.ok();
    assert_eq!(stands(&app, &id).await.0, "active", "today is the last day");
    days(&app, 1);
    assert_eq!(stands(&app, &id).await.0, "cancelled");
    for (path, more) in [
        (PAUSE, json!({})),
        (CANCEL, json!({"cancellationDate": "2027-01-01"})),
        (UPDATE, json!({"subscriptionStatus": "active"})),
        (UPDATE, json!({"paymentPlan": 12})),
        (UPDATE, json!({"pauseUntil": "2027-01-01"})),
    ] {
        refuse(path, more, "subscription_cancelled").await;
    }
    let before = version().await;
    acme.post(UPDATE, hers(json!({}))).await.ok();
    assert_eq!(version().await, before, "nothing was asked for");
    let anew = json!({"subscriptionStatus": "active", "planStartDate": "2026-12-01", "paymentPlan": 12});
    acme.post(UPDATE, hers(anew)).await.ok();
    let (status, shown) = stands(&app, &id).await;
    assert_eq!(
        (status.as_str(), &shown["paymentPlan"], &shown["cancellationDate"]),
        ("scheduled", &json!(12), &Value::Null)
    );
}

#[tokio::test]
async fn a_start_that_is_after_the_end_is_refused_to_who_sends_it_and_to_nobody_else() {
    let app = TestApp::new().await;
    let (acme, id) = enrolled(&app).await;
    acme.post(UPDATE, hers(json!({"planStartDate": "2027-01-01"}))).await.ok();
    acme.post(CANCEL, hers(json!({"cancellationDate": "2026-12-01"}))).await.ok();
    acme.post(UPDATE, hers(json!({}))).await.ok();
    acme.post(UPDATE, hers(json!({"paymentPlan": 6}))).await.ok();
    assert_eq!(stands(&app, &id).await.1["paymentPlan"], 6);
    let again = acme.post(UPDATE, hers(json!({"planStartDate": "2027-01-01"}))).await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("starts_after_its_end")));
}

#[tokio::test]
async fn a_start_that_ends_a_pause_is_told_as_a_resumption_and_another_as_a_change() {
    let app = TestApp::new().await;
    let (acme, id) = enrolled(&app).await;
    acme.post(PAUSE, hers(json!({"pauseUntil": "2026-12-31"}))).await.ok();
    days(&app, 2);
    acme.post(UPDATE, hers(json!({"planStartDate": "2026-11-20"}))).await.ok();
    assert_eq!(stands(&app, &id).await.0, "paused", "it began before the pause, as it had");
    assert_eq!(app.audited(Action::SubscriptionResumed).await.len(), 0);
    acme.post(UPDATE, hers(json!({"planStartDate": "2026-11-23"}))).await.ok();
    assert_eq!(stands(&app, &id).await.0, "active");
    assert_eq!(app.audited(Action::SubscriptionResumed).await.len(), 1);
    acme.post(UPDATE, hers(json!({"planStartDate": "2026-11-22"}))).await.ok();
    assert_eq!(app.audited(Action::SubscriptionUpdated).await.len(), 2);
}

#[tokio::test]
async fn a_key_reads_how_a_subscription_stands_and_nothing_else_of_the_health_record() {
    let app = TestApp::new().await;
    let (acme, id) = enrolled(&app).await;
    let reader = app.server_in(Kind::Sandbox, Access::Read).await;
    let path = format!("/v1/users/{id}/subscription");
    let plan = json!({"paymentPlan": 12, "planStartDate": "2026-11-01", "pauseUntil": "2026-12-01"});
    acme.post(UPDATE, hers(plan)).await.ok();
    acme.post(CANCEL, hers(json!({"cancellationDate": "2027-01-31", "cancellationReason": "canary: my knee"})))
        .await
        .ok();
    let answer = reader.get(&path).await.ok();
    assert_eq!(
        answer.body,
        json!({
            "success": true, "message": "Subscription", "error": null,
            "data": {
                "kind": "subscription", "userId": id, "status": "paused", "paymentPlan": 12,
                "planStartDate": "2026-11-01", "pausedOn": "2026-11-21", "pauseUntil": "2026-12-01",
                "cancellationDate": "2027-01-31"
            }
        })
    );
    assert_eq!(answer.header("etag"), app.user(&id).await.etag());
    assert_eq!(reader.get("/v1/users/JANE@doe.com/subscription").await.ok().body, answer.body);
    days(&app, 10);
    assert_eq!(reader.get(&path).await.ok().body["data"]["status"], "active");
    let me = app.person(&id).await;
    for path in [path.as_str(), "/v1/users/me/subscription"] {
        assert_eq!(me.get(path).await.status, 401, "{path}");
    }
    assert_eq!(reader.get("/v1/users/me/subscription").await.status, 400);
    assert_eq!(app.server_of("other").await.get(&path).await.status, 404);
}

#[tokio::test]
async fn wrong_fields_are_400_all_at_once_and_unknown_people_404() {
    let app = TestApp::new().await;
    let (acme, _) = enrolled(&app).await;
    for (path, body, fields) in [
        (
            UPDATE,
            json!({"paymentPlan": "6", "planStartDate": "soon", "subscriptionStatus": "over", "pauseUntil": 7}),
            vec!["email", "paymentPlan", "planStartDate", "subscriptionStatus", "pauseUntil"],
        ),
        (UPDATE, hers(json!({"paymentPlan": 3})), vec!["paymentPlan"]),
        (PAUSE, hers(json!({"pauseUntil": "2023-02-30"})), vec!["pauseUntil"]),
        (CANCEL, hers(json!({})), vec!["cancellationDate"]),
        (
            CANCEL,
            hers(json!({"cancellationDate": "12/30/2023", "cancellationReason": 5})),
            vec!["cancellationDate", "cancellationReason"],
        ),
        (UPDATE, hers(json!({"subscriptionStatus": "active", "pauseUntil": "2027-01-01"})), vec!["pauseUntil"]),
        (UPDATE, hers(json!({"subscriptionStatus": "cancelled", "pauseUntil": "2027-01-01"})), vec!["pauseUntil"]),
        (RETRIEVE, json!({}), vec!["email"]),
    ] {
        let answer = acme.post(path, body.clone()).await;
        assert_eq!((answer.status, answer.fields()), (400, fields), "{path} {body}");
    }
    let stranger = app.partner("other").await;
    let email = json!({"email": "jane@doe.com", "cancellationDate": "2026-12-01"});
    let nobody = json!({"email": "nobody@doe.com", "cancellationDate": "2026-12-01"});
    for path in [UPDATE, PAUSE, CANCEL, RETRIEVE] {
        let (theirs, none) = (stranger.post(path, email.clone()).await, acme.post(path, nobody.clone()).await);
        assert_eq!((theirs.status, theirs.message()), (404, "User not found"), "{path}");
        assert_eq!((none.status, none.message()), (404, "User not found"), "{path}");
        for method in ["GET", "PUT"] {
            let other = acme.send(method, path, "").await;
            assert_eq!((other.status, other.header("allow")), (405, "POST"), "{method} {path}");
        }
        assert_eq!(app.anyone().post(path, email.clone()).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn each_turn_is_in_the_audit_trail_by_its_name_happens_once_under_a_key_and_minds_if_match() {
    let app = TestApp::new().await;
    let (acme, id) = enrolled(&app).await;
    let (key, reason) = (acme.with(KEY, "k"), "canary: my knee");
    let steps = [
        (UPDATE, json!({"paymentPlan": 12}), Action::SubscriptionUpdated),
        (PAUSE, json!({}), Action::SubscriptionPaused),
        (UPDATE, json!({"subscriptionStatus": "active"}), Action::SubscriptionResumed),
        (
            CANCEL,
            json!({"cancellationDate": "2026-12-01", "cancellationReason": reason}),
            Action::SubscriptionCancelled,
        ),
    ];
    let mut expected = vec![Action::UserCreated];
    for (number, (path, more, action)) in steps.into_iter().enumerate() {
        let key = key.instead(KEY, &format!("k{number}"));
        let first = key.post(path, hers(more.clone())).await.ok();
        let again = key.post(path, hers(more.clone())).await.ok();
        assert_eq!((again.header("idempotent-replayed"), &again.text), ("true", &first.text));
        assert_eq!(first.header("etag"), app.user(&id).await.etag());
        let stale = acme.with("If-Match", "\"0\"").post(path, hers(more)).await;
        assert_eq!(stale.status, 412);
        expected.extend([action, Action::RequestReplayed]);
    }
    let user = app.user(&id).await.id;
    let entries = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.action).collect::<Vec<_>>(), expected);
    let text: String = entries[1..].iter().map(|entry| entry.changes.0.to_string()).collect();
    assert!(text.contains("paymentPlan") && text.contains("subscriptionDates") && !text.contains("canary"), "{text}");
    assert_eq!(stands(&app, &id).await.1["cancellationReason"], reason, "it is kept, sealed");
}

#[tokio::test]
async fn retrieve_answers_the_documented_fields_to_a_key_that_reads_and_notes_it() {
    let app = TestApp::new().await;
    let (acme, id) = enrolled(&app).await;
    let tenant = Some("acme".to_owned());
    let (_, reader) = app.new_key(Kind::Sandbox, NewKey { access: Access::Read, tenant, ..a_key() }).await;
    let reader = app.anyone().with("Authorization", &format!("Bearer {reader}"));
    let answer = reader.post(RETRIEVE, json!({"email": "JANE@doe.com"})).await;
    let documented = json!({
        "email": "jane@doe.com", "firstname": "jane", "lastname": "doe", "phonenumber": "1234567890",
        "dateOfBirth": "1990-12-23", "gender": "female", "height": "5ft 6in", "weight": 130, "pregnant": false,
        "bodyProfile": [], "goals": [], "metadata": {"key": "value"},
    });
    assert_said(&answer, &documented);
    assert_eq!(answer.header("etag"), app.user(&id).await.etag());
    let user = app.user(&id).await.id;
    let last = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap().pop().unwrap();
    assert_eq!(
        (last.action, last.request.unwrap().to_string().as_str()),
        (Action::HealthRead, answer.header("request-id"))
    );
    for path in [UPDATE, PAUSE] {
        assert_eq!(reader.post(path, hers(json!({}))).await.status, 403, "{path}");
    }
    // The same on every date, and never more.
    for date in ["2023-08-01", "2023-08-22", "2023-10-04"] {
        assert_said(&acme.with("Fitmate-Version", date).post(RETRIEVE, hers(json!({}))).await, &documented);
    }
}

/// What was told of since the enrolment, by the audit trail.
async fn told(app: &TestApp) -> Vec<(&'static str, Option<Actor>)> {
    usher::app::tell_turns(app.app.api()).await;
    let mut told = Vec::new();
    for action in [Action::SubscriptionPaused, Action::SubscriptionResumed, Action::SubscriptionEnded] {
        told.extend(app.audited(action).await.into_iter().map(|entry| (action.as_str(), entry.actor)));
    }
    told.retain(|(_, actor)| *actor == Some(Actor::Usher));
    told
}

#[tokio::test]
async fn a_pause_that_is_over_and_an_end_that_has_come_are_told_when_they_come_and_once() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let endpoint = app.webhook(&receiver).await.id;
    let (acme, id) = enrolled(&app).await;
    acme.post(PAUSE, hers(json!({"pauseUntil": "2026-11-24"}))).await.ok();
    acme.post(CANCEL, hers(json!({"cancellationDate": "2026-11-25"}))).await.ok();
    // Before the time moves on, or their leases would have ended.
    app.once(endpoint, |all| all.len() == 3 && all_sent(all)).await;
    days(&app, 2);
    assert_eq!(told(&app).await, []);
    days(&app, 1);
    let usher = Some(Actor::Usher);
    assert_eq!(told(&app).await, [("subscription.resumed", usher)]);
    assert_eq!(told(&app).await.len(), 1, "once");
    app.once(endpoint, |all| all.len() == 4 && all_sent(all)).await;
    days(&app, 1);
    assert_eq!(told(&app).await.len(), 1, "the last day is not over");
    days(&app, 1);
    assert_eq!(told(&app).await, [("subscription.resumed", usher), ("subscription.ended", usher)]);
    assert_eq!(app.count("subscription_turns").await, 0);
    let messages = receiver.soon(5).await;
    let last = messages.last().unwrap().json();
    assert_eq!((&last["type"], &last["data"]["userId"]), (&json!("subscription.ended"), &json!(id)));
}

#[tokio::test]
async fn what_has_come_is_told_before_a_change_that_comes_before_the_chore() {
    let app = TestApp::new().await;
    let (acme, id) = enrolled(&app).await;
    acme.post(PAUSE, hers(json!({"pauseUntil": "2026-11-24"}))).await.ok();
    days(&app, 3);
    let end = hers(json!({"cancellationDate": "2026-11-25"}));
    acme.post(&format!("{CANCEL}?dry_run=true"), end.clone()).await.ok();
    let contradicts = json!({"planStartDate": "2026-12-01", "subscriptionStatus": "paused"});
    assert_eq!(acme.post(UPDATE, hers(contradicts)).await.status, 409);
    assert_eq!(app.audited(Action::SubscriptionResumed).await.len(), 0, "what changes nothing tells nobody");
    acme.post(CANCEL, end).await.ok();
    days(&app, 2);
    let anew = json!({"subscriptionStatus": "active", "planStartDate": "2026-11-26"});
    acme.post(UPDATE, hers(anew)).await.ok();
    let by_itself = Some(Actor::Usher);
    assert_eq!(told(&app).await, [("subscription.resumed", by_itself), ("subscription.ended", by_itself)]);
    let user = app.user(&id).await.id;
    let entries = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap();
    let mut trail: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    trail.retain(|action| action.starts_with("subscription."));
    let happened = ["paused", "resumed", "cancelled", "ended", "resumed"].map(|what| format!("subscription.{what}"));
    assert_eq!(trail, happened);
}

#[tokio::test]
async fn a_pause_and_an_end_that_came_while_no_server_ran_are_told_as_the_end_before_it_begins_anew() {
    let app = TestApp::new().await;
    let (acme, _) = enrolled(&app).await;
    acme.post(PAUSE, hers(json!({"pauseUntil": "2026-11-24"}))).await.ok();
    acme.post(CANCEL, hers(json!({"cancellationDate": "2026-11-25"}))).await.ok();
    days(&app, 10);
    let anew = json!({"subscriptionStatus": "active", "planStartDate": "2026-12-01"});
    acme.post(UPDATE, hers(anew)).await.ok();
    assert_eq!(told(&app).await, [("subscription.ended", Some(Actor::Usher))]);
    assert_eq!(app.count("subscription_turns").await, 0);
}

#[tokio::test]
async fn an_end_of_before_somebody_was_imported_is_not_told_and_one_that_is_to_come_is() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let row =
        |email: &str, last_day: &str| json!({"email": email, "subscriptionDates": {"last_day": last_day}}).to_string();
    let rows = [row("ann@doe.com", "2026-06-30"), row("bob@doe.com", "2026-11-20"), row("cem@doe.com", "2026-11-21")];
    let begun = server.send("POST", "/v1/imports", rows.join("\n")).await.ok();
    take_over(&app).await;
    let done = server.get(&format!("/v1/imports/{}", begun.body["data"]["id"].as_str().unwrap())).await.ok();
    assert_eq!(done.body["data"]["imported"], 3, "{}", done.text);
    assert_eq!((told(&app).await, app.count("subscription_turns").await), (vec![], 1));
    days(&app, 1);
    assert_eq!(told(&app).await, [("subscription.ended", Some(Actor::Usher))]);
}

#[tokio::test]
async fn what_is_taken_back_or_put_off_is_not_told_and_neither_is_what_became_of_the_deleted() {
    let app = TestApp::new().await;
    let (acme, id) = enrolled(&app).await;
    acme.post(CANCEL, hers(json!({"cancellationDate": "2026-11-22"}))).await.ok();
    acme.post(UPDATE, hers(json!({"subscriptionStatus": "active"}))).await.ok();
    acme.post(PAUSE, hers(json!({"pauseUntil": "2026-11-23"}))).await.ok();
    acme.post(PAUSE, hers(json!({"pauseUntil": "2026-11-26"}))).await.ok();
    days(&app, 4);
    assert_eq!(told(&app).await, []);
    set_status(&app, &id, Status::Deleted).await;
    days(&app, 4);
    assert_eq!(told(&app).await, []);
}

#[tokio::test]
async fn what_came_while_somebody_was_deleted_is_told_once_they_are_restored_by_whichever_door() {
    let usher = Some(Actor::Usher);
    let (resumed, ended) = (("subscription.resumed", usher), ("subscription.ended", usher));
    for by_the_operator in [true, false] {
        let app = TestApp::new().await;
        let (acme, id) = enrolled(&app).await;
        let restore = async || {
            if by_the_operator {
                set_status(&app, &id, Status::Active).await;
            } else {
                app.server().await.send("POST", &format!("/v1/users/{id}/restore"), "").await.ok();
            }
        };
        acme.post(PAUSE, hers(json!({"pauseUntil": "2026-11-24"}))).await.ok();
        acme.post(CANCEL, hers(json!({"cancellationDate": "2026-11-26"}))).await.ok();
        set_status(&app, &id, Status::Deleted).await;
        days(&app, 1);
        assert_eq!(told(&app).await, []);
        restore().await;
        assert_eq!(told(&app).await, [], "the 22nd is too early, and the turn still to come");
        set_status(&app, &id, Status::Deleted).await;
        days(&app, 3);
        assert_eq!(told(&app).await, [], "nobody is told of the deleted");
        restore().await;
        assert_eq!(told(&app).await, [resumed]);
        set_status(&app, &id, Status::Deleted).await;
        days(&app, 20);
        assert_eq!(told(&app).await, [resumed]);
        restore().await;
        assert_eq!(told(&app).await, [resumed, ended]);
        set_status(&app, &id, Status::Deleted).await;
        restore().await;
        days(&app, 1);
        assert_eq!((told(&app).await, app.count("subscription_turns").await), (vec![resumed, ended], 0), "once");
    }
}

#[tokio::test]
async fn a_pause_until_a_day_that_has_come_is_told_as_what_it_does() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    app.send_webhooks();
    let endpoint = app.webhook(&receiver).await.id;
    let (acme, id) = enrolled(&app).await;
    let steps = [
        (PAUSE, json!({"pauseUntil": "2026-11-21"}), None),
        (UPDATE, json!({"pauseUntil": "2023-12-30"}), None),
        (UPDATE, json!({"pauseUntil": "2023-12-30", "paymentPlan": 12}), Some("subscription.updated")),
        (PAUSE, json!({"pauseUntil": "2026-12-24"}), Some("subscription.paused")),
        (PAUSE, json!({"pauseUntil": "2023-12-30"}), Some("subscription.resumed")),
    ];
    let mut expected = vec!["user.created"];
    for (path, more, action) in steps {
        acme.post(path, hers(more)).await.ok();
        expected.extend(action);
    }
    assert_eq!(stands(&app, &id).await.0, "active");
    let user = app.user(&id).await.id;
    let entries = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), expected);
    app.once(endpoint, |all| all.len() == expected.len() && all_sent(all)).await;
    let messages = receiver.soon(expected.len()).await;
    let kinds: Vec<_> = messages.iter().map(|message| message.json()["type"].clone()).collect();
    assert_eq!(kinds, expected);
    days(&app, 40);
    assert_eq!(told(&app).await, [], "it runs already");
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_nobody_else_from_being_told_of() {
    let app = TestApp::new().await;
    let (acme, _) = enrolled(&app).await;
    acme.post("/users/create", john()).await.ok();
    acme.post(PAUSE, hers(json!({"pauseUntil": "2026-11-24"}))).await.ok();
    acme.post(PAUSE, json!({"email": "john@doe.com", "pauseUntil": "2026-11-25"})).await.ok();
    let swap = "UPDATE users SET health = (SELECT health FROM users WHERE email = 'john@doe.com') WHERE email = 'jane@doe.com'";
    assert_eq!(app.store().write(move |tx| tx.execute(swap, &[])).await.unwrap(), 1);
    days(&app, 5);
    assert_eq!(told(&app).await, [("subscription.resumed", Some(Actor::Usher))]);
    assert_eq!(app.count("subscription_turns").await, 1, "hers is looked at again");
}

#[tokio::test]
async fn of_two_servers_one_tells() {
    let app = TestApp::new().await;
    let (acme, _) = enrolled(&app).await;
    acme.post(CANCEL, hers(json!({"cancellationDate": "2026-11-20"}))).await.ok();
    let other = app.another_store().await;
    let (one, two) = tokio::join!(app.store().write(subscriptions::tell_turns), other.write(subscriptions::tell_turns));
    one.and(two).unwrap();
    assert_eq!(told(&app).await, [("subscription.ended", Some(Actor::Usher))], "it was over when it was cancelled");
}
