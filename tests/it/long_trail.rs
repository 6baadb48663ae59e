//! A trail that is very long, for the person or a partner has made it so: nothing in the writer reads all of it at once.

use std::time::Duration;

use serde_json::{Value, json};
use usher::audit::{self, Action, Changes};
use usher::db::Tx;
use usher::users::{Email, UserId};

use crate::erasure::export;
use crate::harness::{OPERATOR, TestApp};
use crate::signin::app_and_jane;

const SECOND: Duration = Duration::from_secs(1);

/// Adds so many entries about somebody, a quarter in each second. Each has changes.
async fn lengthen(app: &TestApp, id: &str, count: usize) {
    for _ in 0..4 {
        app.advance(SECOND);
        let user = app.user(id).await;
        let note = move |tx: &Tx| {
            let why = Changes::of_field("reason", Value::Null, "canary");
            (0..count / 4).try_for_each(|_| audit::note_changes(tx, OPERATOR, Action::HealthRead, &user, &why))
        };
        app.store().write(note).await.unwrap();
    }
    app.advance(SECOND);
}

#[tokio::test]
async fn a_dry_run_reads_nothing_of_the_trail_but_what_it_left_itself() {
    let (app, id) = app_and_jane().await;
    let server = app.server().await;
    let rename = json!({"user": {"nickname": "JJ"}}).to_string();
    server.send("PATCH", &format!("/v1/users/{id}"), rename).await.ok();
    app.advance(SECOND);
    // What opens in its own place only would be noticed.
    app.tamper(
        "UPDATE audit SET changes = (SELECT changes FROM audit WHERE action = 'user.created') \
         WHERE action = 'user.updated'",
    );
    let user: UserId = id.parse().unwrap();
    let whole = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await;
    assert!(whole.is_err(), "somebody who reads all of it notices");
    let rename = json!({"user": {"nickname": "Janie"}}).to_string();
    let path = format!("/v1/users/{id}?dry_run=true");
    let answer = server.send("PATCH", &path, rename).await.ok();
    assert_eq!(answer.body["data"]["items"][0]["fields"], json!({"nickname": ["JJ", "Janie"]}), "{}", answer.text);
    assert_eq!(answer.body["data"]["itemsLength"], 1);
}

#[tokio::test]
async fn an_address_of_before_is_found_behind_any_number_of_entries_and_one_that_does_not_open_hides_no_other() {
    let (app, id) = app_and_jane().await;
    let server = app.server().await;
    for (email, entries) in [("jane.two@doe.com", 2400), ("jane.three@doe.com", 0)] {
        app.advance(SECOND);
        server.put(&format!("/v1/users/{id}"), json!({"user": {"email": email}})).await.ok();
        lengthen(&app, &id, entries).await;
    }
    let user: UserId = id.parse().unwrap();
    let known = async || {
        let all = app.store().read(move |tx| audit::addresses(tx, user)).await.unwrap();
        all.iter().map(Email::address).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(known().await, ["jane.three@doe.com", "jane.two@doe.com", "jane@doe.com"]);
    app.tamper(
        "UPDATE audit SET changes = (SELECT changes FROM audit WHERE action = 'user.created') \
         WHERE action = 'user.updated' AND created_at = (SELECT MIN(created_at) FROM audit WHERE action = 'user.updated')",
    );
    assert_eq!(known().await, ["jane.three@doe.com", "jane.two@doe.com", "jane@doe.com"]);
}

#[tokio::test]
async fn an_erasure_empties_a_trail_of_any_length() {
    let (app, id) = app_and_jane().await;
    lengthen(&app, &id, 4400).await;
    let erased = app.server().await.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    assert_eq!(erased.body["data"]["counts"]["audit"], 4401, "and that she was made");
    assert_eq!(app.count("audit WHERE user_id IS NOT NULL AND changes IS NOT NULL").await, 1, "that she was erased");
}

#[tokio::test]
async fn what_is_held_is_given_in_parts_and_is_all_of_it() {
    let (app, id) = app_and_jane().await;
    let entered = app.anyone().send("POST", &app.newest_link().await, "").await;
    let browser = app.anyone().with("Cookie", crate::links::cookie(&entered));
    lengthen(&app, &id, 4400).await;
    let parts = browser.parts("/profile/data").await;
    assert!(parts.len() >= 6, "{} parts", parts.len());
    let file: Value = serde_json::from_str(&parts.concat()).unwrap();
    let actions: Vec<_> = file["events"].as_array().unwrap().iter().map(|event| &event["action"]).collect();
    assert_eq!((actions[0], actions.last().unwrap()), (&json!("user.created"), &&json!("user.health_read")));
    let user: UserId = id.parse().unwrap();
    let whole = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap();
    assert_eq!((actions.len(), whole.len() > 4400), (whole.len(), true));
    assert_eq!((&file["user"]["email"], &file), (&json!("jane@doe.com"), &export(&app, &id).await));
}
