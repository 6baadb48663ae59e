//! What stands in the audit trail of things other than users: what they were and are. And of attempts to sign in that were
//! refused: each of them.

use std::time::Duration;

use serde_json::{Value, json};
use usher::apps::{self, Kind};
use usher::audit::{Action, Entry};
use usher::billing::{self, Mode};
use usher::caller::{Actor, Origin};
use usher::db::Tx;
use usher::tokens::{self, SigningKey, signing};
use usher::users::UserId;

use crate::harness::{Answer, TestApp};
use crate::signin::{app_and_jane, text};

impl TestApp {
    /// What changed by the newest entry of that action, and that there are so many of them.
    async fn changed(&self, action: Action, times: usize) -> Value {
        let entries = self.audited(action).await;
        assert_eq!(entries.len(), times, "{action:?}");
        entries[0].changes.0["fields"].clone()
    }

    /// At what these were refused, and why, by the one entry that each has.
    pub async fn refused(&self, answers: &[&Answer]) -> Vec<(String, String)> {
        let entries = self.audited(Action::RequestRefused).await;
        let of = |answer: &&Answer| {
            let id = answer.header("request-id");
            let mut own = entries.iter().filter(|entry| entry.request.is_some_and(|request| request.to_string() == id));
            let (Some(entry), None) = (own.next(), own.next()) else { panic!("one entry of {}", answer.text) };
            assert_eq!((entry.actor, entry.user, entry.times), (None, None, 1));
            (entry.operation.clone().unwrap(), entry.result.clone())
        };
        let found = answers.iter().map(of).collect();
        assert!(self.app.api().refusals.take().is_empty(), "none is counted besides");
        found
    }
}

#[tokio::test]
async fn a_webhooks_entries_tell_what_it_was_and_is_and_neither_its_secret_nor_its_contact() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let body = json!({"url": "https://one.example.com/in?token=canary-1", "name": "one", "contact": "canary@doe.com"});
    let made = server.post("/v1/webhooks", body).await.ok().body["data"].clone();
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let noted = app.changed(Action::WebhookCreated, 1).await;
    let expected = json!([[null, "one"], [null, "one.example.com"], "changed", "changed", [null, made["publicKeys"]]]);
    assert_eq!(json!(["name", "host", "url", "contact", "publicKeys"].map(|name| &noted[name])), expected);

    let other = json!({"url": "https://one.example.com/in?token=canary-2", "name": "two", "enabled": false});
    server.put(&path, other).await.ok();
    let noted = app.changed(Action::WebhookUpdated, 1).await;
    let now = app.store().clock().now();
    let expected = json!({
        "url": "changed", "name": ["one", "two"], "disabledAt": [null, now], "disabledBecause": [null, "by hand"]
    });
    assert_eq!(noted, expected);
    server.put(&path, json!({"enabled": true, "contact": null})).await.ok();
    let noted = app.changed(Action::WebhookUpdated, 2).await;
    let expected = json!({"contact": "changed", "disabledAt": [now, null], "disabledBecause": ["by hand", null]});
    assert_eq!(noted, expected);

    let rotated = server.post(&format!("{path}/rotate"), json!({})).await.ok().body["data"]["publicKeys"].clone();
    let noted = app.changed(Action::WebhookRotated, 1).await;
    assert_eq!(noted, json!({"publicKeys": [made["publicKeys"], rotated]}));
    server.send("DELETE", &path, "").await.ok();
    let noted = app.changed(Action::WebhookRemoved, 1).await;
    assert_eq!((&noted["name"], &noted["url"]), (&json!(["two", null]), &json!("changed")));
}

#[tokio::test]
async fn a_billing_accounts_entries_tell_what_it_was_and_is_and_none_of_its_keys() {
    let app = TestApp::new().await;
    let account = app.connect_billing(Kind::Sandbox, Mode::Test, "https://one.example.com").await;
    let noted = app.changed(Action::BillingConnected, 1).await;
    let expected = json!({
        "mode": [null, "test"], "url": [null, "https://one.example.com"], "key": "changed", "webhookSecret": "changed"
    });
    assert_eq!(noted, expected);
    app.connect_billing(Kind::Sandbox, Mode::Test, "https://two.example.com").await;
    let noted = app.changed(Action::BillingConnected, 2).await;
    assert_eq!(noted, json!({"url": ["https://one.example.com", "https://two.example.com"]}));
    app.store().write(move |tx| billing::disconnect(tx, account.id)).await.unwrap();
    let noted = app.changed(Action::BillingDisconnected, 1).await;
    assert_eq!((&noted["url"], &noted["key"]), (&json!(["https://two.example.com", null]), &json!("changed")));
}

#[tokio::test]
async fn a_signing_keys_entries_tell_which_one_took_the_place_of_which() {
    let app = TestApp::new().await;
    let client = app.client_id;
    let (next, last) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let (second, third) = (next.id().to_owned(), last.id().to_owned());
    let operator = Origin::of(Actor::Operator);
    let (wait, start) = (Duration::from_mins(10), app.store().clock().now());
    let rotate = move |tx: &Tx| {
        let id = apps::environment(tx, client, Kind::Sandbox)?.id;
        let first = tokens::list(tx, id)?.remove(0);
        signing::rotate(tx, operator, id, &next, wait).map(|()| first)
    };
    let first = app.store().write(rotate).await.unwrap();
    let noted = app.changed(Action::SigningKeyRotated, 1).await;
    assert_eq!(noted, json!({"id": [first.id, second], "activeAt": [first.active_at, start + wait]}));

    app.advance(Duration::from_hours(1));
    let (gone, now) = (second.clone(), app.store().clock().now());
    app.store().write(move |tx| signing::revoke(tx, operator, &gone, &last)).await.unwrap();
    let noted = app.changed(Action::SigningKeyRevoked, 1).await;
    assert_eq!(noted, json!({"id": [second, null], "revokedAt": [null, now]}));
    let noted = app.changed(Action::SigningKeyRotated, 2).await;
    assert_eq!(noted, json!({"id": [second, third], "activeAt": [start + wait, now]}));
}

/// The newest refused sign-in, which must be that answer's.
async fn refused(app: &TestApp, id: &str, answer: &Answer, times: usize) -> String {
    let user: UserId = id.parse().unwrap();
    let mut entries: Vec<Entry> = app.audited(Action::SignedIn).await;
    entries.retain(|entry| !entry.is_done());
    assert_eq!(entries.len(), times, "{}", answer.text);
    let newest = entries.remove(0);
    assert_eq!((newest.user, newest.actor), (Some(user), None));
    assert_eq!(newest.request.unwrap().to_string(), answer.header("request-id"));
    newest.result
}

#[tokio::test]
async fn every_link_to_sign_in_that_is_refused_stands_in_the_trail_of_whom_it_was_for() {
    let (app, id) = app_and_jane().await;
    let press = async |browser: &crate::harness::Client<'_>, link: &str| browser.send("POST", link, "").await;
    let (browser, _) = app.begin("jane@doe.com").await;
    let (link, _) = app.newest_mail().await;
    browser.get(&link).await.ok();
    app.anyone().get(&link).await;
    assert!(app.audited(Action::SignedIn).await.is_empty(), "looking is no attempt");

    let elsewhere = press(&app.anyone(), &link).await;
    assert_eq!((elsewhere.status, refused(&app, &id, &elsewhere, 1).await.as_str()), (403, "link_elsewhere"));
    let (stranger, _) = app.begin("nobody@doe.com").await;
    let elsewhere = press(&stranger, &link).await;
    assert_eq!((elsewhere.status, refused(&app, &id, &elsewhere, 2).await.as_str()), (403, "link_elsewhere"));
    assert_eq!(press(&browser, &link).await.status, 303);
    let again = press(&browser, &link).await;
    assert_eq!((again.status, refused(&app, &id, &again, 3).await.as_str()), (410, "link_used"));

    app.advance(Duration::from_secs(1));
    let (browser, _) = app.begin("jane@doe.com").await;
    let (link, _) = app.newest_mail().await;
    app.advance(Duration::from_mins(10));
    let late = press(&browser, &link).await;
    assert_eq!((late.status, refused(&app, &id, &late, 4).await.as_str()), (410, "link_expired"));

    let (browser, _) = app.begin("jane@doe.com").await;
    let (link, _) = app.newest_mail().await;
    let moved = json!({"user": {"email": "jane@roe.com"}});
    app.server().await.put(&format!("/v1/users/{id}"), moved).await.ok();
    let void = press(&browser, &link).await;
    assert_eq!((void.status, refused(&app, &id, &void, 5).await.as_str()), (410, "link_superseded"));

    // Of links that were never made there is nobody to note it of.
    let made_up = format!("/sign-in/links/{}", "A".repeat(64));
    let unknown = [press(&browser, &made_up).await, press(&app.anyone(), &made_up).await];
    for answer in &unknown {
        let expected = ("POST /sign-in/links/{link}".to_owned(), "link_unknown".to_owned());
        assert_eq!((answer.status, app.refused(&[answer]).await), (403, vec![expected]));
    }
    assert_eq!(app.audited(Action::SignedIn).await.len(), 6);
}

#[tokio::test]
async fn every_code_that_is_refused_stands_in_the_trail_and_the_wrong_ones_in_that_of_whom_they_were_for() {
    let (app, id) = app_and_jane().await;
    let (browser, _) = app.begin("jane@doe.com").await;
    let (_, digits) = app.newest_mail().await;
    for n in 1..=5 {
        let wrong = browser.send("POST", "/sign-in/code", "code=x").await;
        assert_eq!((wrong.status, refused(&app, &id, &wrong, n).await.as_str()), (400, "wrong_code"));
    }
    let is_of_codes = |entry: &Entry| entry.operation.as_deref() == Some("POST /sign-in/code");
    assert!(!app.audited(Action::RequestRefused).await.iter().any(is_of_codes));
    let right = async |browser: &crate::harness::Client<'_>, digits: &str| {
        browser.send("POST", "/sign-in/code", format!("code={digits}")).await
    };
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(right(&browser, &digits).await);
    }
    answers.push(right(&app.anyone(), &digits).await);
    app.advance(Duration::from_mins(10));
    answers.push(right(&browser, &digits).await);
    let (browser, _) = app.begin("jane@doe.com").await;
    let (_, digits) = app.newest_mail().await;
    assert_eq!(right(&browser, &digits).await.status, 303);
    answers.push(right(&browser, &digits).await);
    let told = app.refused(&answers.iter().collect::<Vec<_>>()).await;
    let codes = ["code_burnt", "code_burnt", "code_burnt", "code_burnt", "code_unknown", "code_expired", "code_used"];
    assert_eq!(told, codes.map(|code| ("POST /sign-in/code".to_owned(), code.to_owned())));
    assert_eq!(answers.last().unwrap().status, 410);
}

#[tokio::test]
async fn every_exchange_and_every_refresh_of_tokens_stands_in_the_trail_of_the_person_with_the_app() {
    let (app, id) = app_and_jane().await;
    let user: UserId = id.parse().unwrap();
    let noted = async |action: Action, answers: &[&Answer]| {
        let entries = app.audited(action).await;
        let requests: Vec<String> = entries.iter().rev().map(|entry| entry.request.unwrap().to_string()).collect();
        let expected: Vec<&str> = answers.iter().map(|answer| answer.header("request-id")).collect();
        assert_eq!(requests, expected, "{action:?}");
        for entry in entries {
            assert!(entry.is_done());
            assert_eq!((entry.user, entry.actor), (Some(user), Some(Actor::Person(user))));
            assert_eq!(entry.target, Some(app.client_id.0));
        }
    };
    let first = app.exchange(&app.code().await).await.ok();
    noted(Action::TokenIssued, &[&first]).await;
    let one = text(&first, "refreshToken");
    app.advance(Duration::from_secs(1));
    let second = app.refresh(one).await.ok();
    app.advance(Duration::from_secs(1));
    let raced = app.refresh(one).await.ok();
    noted(Action::TokenRefreshed, &[&second, &raced]).await;

    // By the other door.
    app.advance(Duration::from_secs(1));
    let form = |rest: String| format!("client_id={}&{rest}", app.client_id);
    let refresh = form(format!("grant_type=refresh_token&refresh_token={}", text(&second, "refreshToken")));
    let third = app.anyone().send("POST", "/oauth/token", refresh).await.ok();
    noted(Action::TokenRefreshed, &[&second, &raced, &third]).await;

    // What is refused stands there too, and what that ends.
    app.advance(Duration::from_secs(11));
    let reused = app.refresh(one).await;
    let unknown = app.exchange("nonsense").await;
    let made_up = form("grant_type=refresh_token&refresh_token=nonsense".to_owned());
    let made_up = app.anyone().send("POST", "/oauth/token", made_up).await;
    let answers = [&reused, &unknown, &made_up];
    assert_eq!(answers.map(|answer| answer.status), [400; 3]);
    let mut noted_down = app.refused(&answers).await;
    noted_down.sort();
    let doors = ["POST /api/v1/tokens", "POST /oauth/token", "POST /v1/tokens"];
    assert_eq!(noted_down, doors.map(|door| (door.to_owned(), "invalid_grant".to_owned())));
    assert_eq!(app.audited(Action::SessionEnded).await.len(), 1);
    noted(Action::TokenRefreshed, &[&second, &raced, &third]).await;
}
