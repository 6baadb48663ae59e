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

    // Of links that were never made there is nobody to note it of: they are counted.
    app.app.api().refusals.take();
    let made_up = format!("/sign-in/links/{}", "A".repeat(64));
    for _ in 0..3 {
        assert_eq!(press(&browser, &made_up).await.status, 403);
    }
    let [(kind, 3)] = &app.app.api().refusals.take()[..] else { panic!("three of one kind") };
    assert_eq!((kind.operation.as_deref(), kind.code), (Some("POST /sign-in/links/{link}"), "link_unknown"));
    assert_eq!(app.audited(Action::SignedIn).await.len(), 6);
}

#[tokio::test]
async fn every_code_that_is_refused_is_counted_beside_the_wrong_ones_whose_entries_name_the_request() {
    let (app, id) = app_and_jane().await;
    let (browser, _) = app.begin("jane@doe.com").await;
    let (_, digits) = app.newest_mail().await;
    let kinds = || {
        let mut counts = app.app.api().refusals.take();
        counts.retain(|(kind, _)| kind.operation.as_deref() == Some("POST /sign-in/code"));
        counts.into_iter().map(|(kind, times)| (kind.code, times)).collect::<Vec<_>>()
    };
    for n in 1..=5 {
        let wrong = browser.send("POST", "/sign-in/code", "code=x").await;
        assert_eq!((wrong.status, refused(&app, &id, &wrong, n).await.as_str()), (400, "wrong_code"));
    }
    assert_eq!(kinds(), []);
    for _ in 0..4 {
        browser.send("POST", "/sign-in/code", format!("code={digits}")).await;
    }
    assert_eq!(kinds(), [("code_burnt", 4)]);
    app.anyone().send("POST", "/sign-in/code", format!("code={digits}")).await;
    assert_eq!(kinds(), [("code_unknown", 1)]);
    app.advance(Duration::from_mins(10));
    browser.send("POST", "/sign-in/code", format!("code={digits}")).await;
    assert_eq!(kinds(), [("code_expired", 1)]);
    let (browser, _) = app.begin("jane@doe.com").await;
    let (_, digits) = app.newest_mail().await;
    for status in [303, 410] {
        let typed = browser.send("POST", "/sign-in/code", format!("code={digits}")).await;
        assert_eq!(typed.status, status);
    }
    assert_eq!(kinds(), [("code_used", 1)]);
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

    // What is refused is counted, and what that ends stands there.
    app.app.api().refusals.take();
    app.advance(Duration::from_secs(11));
    assert_eq!(app.refresh(one).await.status, 400);
    assert_eq!(app.exchange("nonsense").await.status, 400);
    let made_up = form("grant_type=refresh_token&refresh_token=nonsense".to_owned());
    assert_eq!(app.anyone().send("POST", "/oauth/token", made_up).await.status, 400);
    let mut refused = app.app.api().refusals.take();
    refused.sort_by(|one, other| one.0.operation.cmp(&other.0.operation));
    let refused: Vec<_> =
        refused.iter().map(|(kind, times)| (kind.operation.as_deref().unwrap(), kind.code, *times)).collect();
    let code = "invalid_grant";
    assert_eq!(
        refused,
        [("POST /api/v1/tokens", code, 1), ("POST /oauth/token", code, 1), ("POST /v1/tokens", code, 1)]
    );
    assert_eq!(app.audited(Action::SessionEnded).await.len(), 1);
    noted(Action::TokenRefreshed, &[&second, &raced, &third]).await;
}
