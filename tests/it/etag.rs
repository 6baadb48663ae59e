//! `ETag` and `If-Match`: no change over a newer one.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use usher::users::Status;

use crate::harness::{Answer, john};
use crate::idempotency::{CREATE, KEY, UPDATE, app_with_jane, jane_with, metadata, set_status};

#[tokio::test]
async fn every_write_answers_the_users_tag_and_it_changes_with_every_change_and_with_nothing_else() {
    let (app, id) = app_with_jane().await;
    let (acme, server, person) = (app.partner("acme").await, app.server().await, app.person(&id).await);
    let path = format!("/v1/users/{id}");
    let created = app.partner("acme").await.post(CREATE, john()).await.etag();
    let mut seen = BTreeSet::from([created, app.user(&id).await.etag()]);
    let user = |change: Value| json!({ "user": change });
    let mut at = app.user(&id).await.etag();
    for (client, path, change, nothing) in [
        (&acme, UPDATE, jane_with(json!({"n": 1})), json!({"email": "JANE@doe.com"})),
        (&acme, UPDATE, jane_with(json!({})), jane_with(json!({"n": 1}))),
        (&server, path.as_str(), user(json!({"nickname": "JJ"})), user(json!({}))),
        (&server, &path, user(json!({"email": "JANE@doe.com"})), user(json!({"nickname": "JJ", "id": 1}))),
        (&person, "/v1/users/me", user(json!({"nickname": "J"})), user(json!({"unknown": true}))),
    ] {
        assert_eq!(client.post(path, nothing.clone()).await.etag(), at, "{nothing} changes nothing");
        let changed = client.post(path, change.clone()).await.etag();
        assert!(seen.insert(changed.clone()), "{change} is a change");
        assert_eq!(client.post(path, change).await.etag(), changed, "the second time it is none");
        at = changed;
    }
    assert_eq!(app.user(&id).await.etag(), at);
    let failed = acme.post(UPDATE, json!({"email": "jane@doe.com", "diabetes": 9})).await;
    assert_eq!((failed.status, failed.header("etag")), (400, ""));
}

#[tokio::test]
async fn following_a_link_and_every_change_of_status_change_the_tag() {
    let (app, id) = app_with_jane().await;
    let mut at = app.user(&id).await.etag();
    let link = app.newest_link().await;
    app.anyone().get(&link).await.ok();
    assert_eq!(app.user(&id).await.etag(), at, "looking at the link changes nothing");
    assert_eq!(app.anyone().send("POST", &link, "").await.status, 303);
    let mut changed = async |what: &str| {
        let before = std::mem::replace(&mut at, app.user(&id).await.etag());
        assert_ne!(at, before, "{what}");
    };
    changed("a link that was followed verifies the address").await;
    for status in [Status::Frozen, Status::Active, Status::Deleted, Status::Active] {
        set_status(&app, &id, status).await;
        changed(status.as_str()).await;
    }
    set_status(&app, &id, Status::Active).await;
    assert_eq!(app.user(&id).await.etag(), at, "who is active already does not change");
}

#[tokio::test]
async fn a_tag_from_before_a_restore_is_that_of_no_change_since() {
    let (app, _) = app_with_jane().await;
    let acme = app.partner("acme").await;
    let lost = acme.post(UPDATE, jane_with(json!({"n": 1}))).await.etag();
    app.store().write(|tx| tx.execute("UPDATE users SET version = version - 1", &[])).await.unwrap();
    app.advance(Duration::from_secs(1));
    acme.post(UPDATE, jane_with(json!({"n": 2}))).await.ok();
    assert_eq!(acme.with("If-Match", &lost).post(UPDATE, jane_with(json!({"n": 3}))).await.status, 412);
}

#[tokio::test]
async fn if_match_lets_the_current_tag_through_and_nothing_else() {
    let (app, id) = app_with_jane().await;
    let other = app.partner("acme").await.post(CREATE, john()).await.etag();
    let (acme, server, person) = (app.partner("acme").await, app.server().await, app.person(&id).await);
    let path = format!("/v1/users/{id}");
    let mut n = 0;
    let mut stale = app.user(&id).await.etag();
    for (client, path) in [(&acme, UPDATE), (&server, path.as_str()), (&person, "/v1/users/me")] {
        let mut body = || {
            n += 1;
            let nickname = json!(format!("J{n}"));
            if path == UPDATE { jane_with(json!({ "n": n })) } else { json!({"user": {"nickname": nickname}}) }
        };
        let current = client.post(path, body()).await.etag();
        for wrong in [
            stale.clone(),
            format!("W/{current}"),
            current.trim_matches('"').to_owned(),
            format!("{stale}, {other}, W/{current}"),
            other.clone(),
            String::new(),
            "\"\"".to_owned(),
            "**".to_owned(),
            "é".to_owned(),
        ] {
            let answer = client.with("If-Match", &wrong).post(path, body()).await;
            assert_eq!(answer.status, 412, "{path} {wrong:?}");
            let text = "The user has changed since you read it; read it again and decide anew";
            if path == UPDATE {
                assert_eq!((&answer.body["code"], answer.message()), (&json!("stale"), text));
            } else {
                let envelope = json!({"success": false, "error": text, "message": null, "data": null});
                assert_eq!(answer.body, envelope);
            }
            assert_eq!(app.user(&id).await.etag(), current, "{path} {wrong:?} changed something");
        }
        let twice = client.with("If-Match", &current).with("If-Match", &current).post(path, body()).await;
        assert_eq!(twice.status, 400);
        for right in ["CURRENT", "*", " * ", "\"x\", CURRENT", "CURRENT,\"x\"", "W/\"x\" ,\t CURRENT "] {
            let current = app.user(&id).await.etag();
            let answer = client.with("If-Match", &right.replace("CURRENT", &current)).post(path, body()).await;
            assert_ne!(answer.etag(), current, "{path} {right:?}");
        }
        stale = current;
    }
}

#[tokio::test]
async fn a_tag_of_one_api_is_good_in_the_other() {
    let (app, id) = app_with_jane().await;
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let path = format!("/v1/users/{id}");
    let first = acme.post(UPDATE, jane_with(json!({"n": 1}))).await.etag();
    let second = server.with("If-Match", &first).put(&path, json!({"user": {"nickname": "JJ"}})).await.etag();
    assert_eq!(acme.with("If-Match", &first).post(UPDATE, jane_with(json!({"n": 2}))).await.status, 412);
    acme.with("If-Match", &second).post(UPDATE, jane_with(json!({"n": 2}))).await.ok();
}

#[tokio::test]
async fn a_tag_does_not_pass_to_who_takes_over_the_address() {
    let (app, id) = app_with_jane().await;
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let other = acme.post(CREATE, john()).await.ok().id().to_owned();
    let tag = acme.post(UPDATE, jane_with(json!({"n": 1}))).await.etag();
    for (id, email) in [(&id, "moved@doe.com"), (&other, "jane@doe.com")] {
        server.put(&format!("/v1/users/{id}"), json!({"user": {"email": email}})).await.ok();
    }
    // The other user has now changed as often as Jane had.
    assert_eq!(acme.with("If-Match", &tag).post(UPDATE, jane_with(json!({"n": 2}))).await.status, 412);
}

#[tokio::test]
async fn a_conditional_change_sent_again_with_its_key_gets_its_answer_and_not_412() {
    let (app, id) = app_with_jane().await;
    let tag = app.user(&id).await.etag();
    let once = app.partner("acme").await.with(KEY, "k").with("If-Match", &tag);
    let first = once.post(UPDATE, jane_with(json!({"n": 1}))).await.ok();
    assert_ne!(first.etag(), tag);
    once.post(UPDATE, jane_with(json!({"n": 1}))).await.is_again(&first);
    assert_eq!(once.instead(KEY, "other").post(UPDATE, jane_with(json!({"n": 1}))).await.status, 412);
}

#[tokio::test]
async fn of_simultaneous_writers_with_one_tag_one_wins() {
    let (app, id) = app_with_jane().await;
    let writer = app.partner("acme").await.with("If-Match", &app.user(&id).await.etag());
    let answers = join_all((0..16).map(|n| {
        let writer = writer.clone();
        async move { (n, writer.post(UPDATE, jane_with(json!({ "n": n }))).await) }
    }))
    .await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| answer.status == 200);
    assert_eq!((won.len(), lost.iter().filter(|(_, answer)| answer.status == 412).count()), (1, 15));
    assert_eq!((metadata(&app, &id).await, app.user(&id).await.etag()), (json!({"n": won[0].0}), won[0].1.etag()));
}

#[tokio::test]
async fn of_200_simultaneous_metadata_the_last_is_stored_whole() {
    let (app, id) = app_with_jane().await;
    let acme = app.partner("acme").await;
    let sent = |n: u32| json!({"writer": n, format!("only{n}"): {"n": [n, n]}});
    let answers = join_all((0..200).map(|n| {
        let (acme, sent) = (acme.clone(), sent(n));
        async move { acme.post(UPDATE, jane_with(sent)).await.ok() }
    }))
    .await;
    for (n, answer) in (0..).zip(&answers) {
        assert_eq!(answer.body["data"]["metadata"], sent(n), "everyone is answered their own");
    }
    let tags: BTreeSet<String> = answers.iter().map(Answer::etag).collect();
    assert_eq!(tags.len(), 200, "every state has a tag of its own");
    let last = app.user(&id).await.etag();
    let last = answers.iter().find(|answer| answer.etag() == last).expect("the stored state is one that was answered");
    assert_eq!(metadata(&app, &id).await, last.body["data"]["metadata"]);
}

#[tokio::test]
async fn of_200_simultaneous_changes_of_different_fields_none_is_lost() {
    let (app, id) = app_with_jane().await;
    let server = app.server().await;
    let path = format!("/v1/users/{id}");
    let fields =
        ["name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture"];
    let mut done = join_all((0..200).map(|n| {
        let (server, path, field) = (server.clone(), path.clone(), fields[n % 8]);
        async move {
            let value = format!("{field} {n}");
            let etag = server.put(&path, json!({"user": {field: value}})).await.etag();
            let version = etag.split('.').nth(1).unwrap().parse::<u32>().unwrap();
            (version, field, value)
        }
    }))
    .await;
    done.sort();
    assert!(done.windows(2).all(|pair| pair[0].0 < pair[1].0), "one after the other");
    let profile = json!(app.user(&id).await.person.profile);
    for field in fields {
        let (_, _, last) = done.iter().rfind(|(_, of, _)| *of == field).unwrap();
        assert_eq!(profile[field], *last, "{field} is as the last who changed it left it");
    }
}
