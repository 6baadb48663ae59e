//! Whose address is changed is told so at the one that they had proven, and whose is not for another person to change.

use std::time::Duration;

use serde_json::json;
use usher::apps::Kind as EnvironmentKind;
use usher::keys::Access;
use usher::links as enrolment;
use usher::mail::Mail;
use usher::outbox::{self, Job, Kind, Outcome, State};
use usher::roles::{self, Rights, RoleId};

use crate::harness::{OPERATOR, TestApp, jane, john};
use crate::idempotency::set_status;
use crate::imports_api::take_over;
use crate::links::{cookie, version_of};
use crate::signin::app_and_jane;

/// What addresses were told, newest first.
async fn told(app: &TestApp) -> Vec<(Job, Mail)> {
    let mails = app.mails().await.into_iter();
    mails.filter(|(job, _)| job.kind == Kind::AddressChangedMail).collect()
}

#[tokio::test]
async fn whose_address_is_changed_is_told_at_the_one_before_and_not_which_it_is_now() {
    for by in ["profile", "token", "PUT", "PATCH"] {
        let (app, id) = app_and_jane().await;
        let entered = app.anyone().send("POST", &app.newest_link().await, "").await;
        let (server, path) = (app.server().await, format!("/v1/users/{id}"));
        let change = json!({"user": {"email": "evil@roe.com", "given_name": "Evil"}});
        match by {
            "profile" => {
                let me = app.anyone().with("Cookie", cookie(&entered));
                let version = version_of(&me.get("/profile").await.ok());
                let typed = format!("version={version}&email=evil%40roe.com&given_name=Evil");
                assert_eq!(me.send("POST", "/profile", typed).await.status, 303);
            }
            "token" => _ = app.person(&id).await.put("/v1/users/me", change).await.ok(),
            method => _ = server.send(method, &path, change.to_string()).await.ok(),
        }
        assert_eq!(app.user(&id).await.email.address(), "evil@roe.com");
        let [(job, mail)] = &told(&app).await[..] else { panic!("{by}: one mail") };
        let subject = "Your e-mail address at Acme Coaching was changed";
        assert_eq!((mail.to.as_str(), job.state, mail.subject.as_str()), ("jane@doe.com", State::Captured, subject));
        assert!(
            mail.text.starts_with("Hello jane,") && mail.text.contains("tell Acme Coaching at once"),
            "{}",
            mail.text
        );
        for part in [&mail.subject, &mail.text, &mail.html] {
            assert!(
                !part.to_lowercase().contains("evil") && !part.contains("roe.com") && !part.contains(&id),
                "{part}"
            );
        }
        assert!(mail.links.is_empty() && !mail.html.contains("http"), "nothing in it leads anywhere: {}", mail.html);
    }
}

#[tokio::test]
async fn nobody_is_told_of_what_is_no_change_of_theirs() {
    let (app, id) = app_and_jane().await;
    let (acme, server, path) = (app.partner("acme").await, app.server().await, format!("/v1/users/{id}"));
    acme.post("/users/create", john()).await.ok();
    let email = |address: &str| json!({"user": {"email": address}});
    // Whoever mends what was mistyped need not tell a stranger.
    server.put(&path, email("jane@roe.com")).await.ok();
    assert_eq!(app.anyone().send("POST", &app.newest_link().await, "").await.status, 303);

    server.put(&path, email("JANE@roe.com")).await.ok();
    server.put(&path, json!({"user": {"nickname": "J"}})).await.ok();
    server.put(&format!("{path}?dry_run=true"), email("jane@poe.com")).await.ok();
    assert_eq!(server.put(&path, email("john@doe.com")).await.status, 400);
    // To a partner the address is the key, which no update changes (contract item 23).
    acme.post("/users/update", json!({"email": "jane@roe.com", "diabetes": 1})).await.ok();
    server.send("POST", "/v1/imports?format=csv", "email\njane@roe.com\nnew@roe.com\n").await.ok();
    take_over(&app).await;
    server.send("DELETE", &path, "").await.ok();
    server.send("POST", &format!("{path}/restore"), "").await.ok();
    assert!(app.user(&id).await.email_verified_at.is_some());
    set_status(&app, &id, usher::users::Status::Frozen).await;
    server.put(&path, email("jane@poe.com")).await.ok();
    assert_eq!(app.user(&id).await.email.address(), "jane@poe.com");
    assert_eq!(told(&app).await.len(), 0);
}

#[tokio::test]
async fn who_takes_one_address_after_the_other_has_only_the_one_told_that_they_had_proven() {
    let (app, id) = app_and_jane().await;
    app.anyone().send("POST", &app.newest_link().await, "").await;
    let me = app.person(&id).await;
    for address in ["one@victim.com", "two@victim.com", "one@victim.com", "jane@doe.com", "two@victim.com"] {
        app.advance(Duration::from_secs(1));
        me.put("/v1/users/me", json!({"user": {"email": address}})).await.ok();
    }
    let told: Vec<String> = told(&app).await.into_iter().map(|(_, mail)| mail.to).collect();
    assert_eq!(told, ["jane@doe.com"]);
}

#[tokio::test]
async fn live_it_is_sent_and_nothing_of_it_is_kept_but_to_whom() {
    for outcome in [Outcome::Done, Outcome::GiveUp("550".to_owned())] {
        let app = TestApp::new().await;
        let acme = app.partner_in(EnvironmentKind::Live, Some("acme")).await;
        let id = acme.post("/users/create", jane()).await.ok().id().to_owned();
        app.anyone().send("POST", &app.newest_link().await, "").await;
        let server = app.server_in(EnvironmentKind::Live, Access::Write).await;
        server.put(&format!("/v1/users/{id}"), json!({"user": {"email": "jane@roe.com"}})).await.ok();
        assert_eq!(told(&app).await[0].0.state, State::Queued);
        let (settled, is_done) = (outcome.clone(), matches!(outcome, Outcome::Done));
        let settle = move |tx: &usher::db::Tx| {
            let (leased, _) = outbox::lease(tx, Kind::MAILS, 8)?;
            let job = leased.into_iter().find(|job| job.kind == Kind::AddressChangedMail).expect("it is due");
            outbox::settle(tx, &job, &settled)
        };
        app.store().write(settle).await.unwrap();
        let newest = app.store().read(|tx| outbox::newest_mails(tx, 9)).await.unwrap();
        let job = newest.into_iter().find(|job| job.kind == Kind::AddressChangedMail).unwrap();
        assert_eq!(job.payload.as_ref().unwrap().text("to"), Some("jane@doe.com"));
        assert_eq!((job.state, told(&app).await.len()), if is_done { (State::Sent, 0) } else { (State::Failed, 1) });
        let again = app.store().write(move |tx| enrolment::send_again(tx, OPERATOR, &job)).await.unwrap_err();
        assert!(is_done || again.to_string().contains("there is no link in it"), "{again}");
    }
}

#[tokio::test]
async fn whose_record_has_health_data_is_moved_by_no_other_person_before_they_have_come_in_either() {
    let (app, id) = app_and_jane().await;
    let enrolled = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    let environment = app.user(&id).await.environment;
    let rights = Rights::named("users:read users:write").unwrap();
    let desk = app.store().write(move |tx| roles::create(tx, environment, "desk", rights)).await.unwrap().id;
    let server = app.server().await;
    let (path, mine) = (format!("/v1/users/{enrolled}"), json!({"user": {"email": "mine@doe.com"}}));
    let mails = app.mails().await.len();
    for role in [desk, RoleId::ADMINISTRATOR] {
        server.put(&format!("/v1/users/{id}/user-roles"), json!({"userRoleId": role})).await.ok();
        let attacker = app.person(&id).await;
        for (method, path) in [
            ("PUT", path.clone()),
            ("POST", path.clone()),
            ("PATCH", path.clone()),
            ("PUT", format!("{path}?dry_run=true")),
        ] {
            let refused = attacker.send(method, &path, mine.to_string()).await;
            let text = "Only this person and the app may change their address";
            assert_eq!((refused.status, refused.error()), (403, text), "{method} {path}");
        }
        attacker.put(&path, json!({"user": {"email": "JOHN@doe.com", "nickname": "J"}})).await.ok();
    }
    assert_eq!((app.user(&enrolled).await.email.address(), app.mails().await.len()), ("JOHN@doe.com", mails));

    // What the desk may mend is whom nothing of that kind is known of.
    let attacker = app.person(&id).await;
    attacker.post("/v1/users/me", json!({"email": "mray@doe.com", "language": "en"})).await.ok();
    let found = attacker.get("/v1/users?email=mray%40doe.com").await.ok();
    let mary = found.body["data"]["items"][0]["id"].as_str().unwrap().to_owned();
    for metadata in [json!({"a": 1}), json!({"a": null})] {
        let change = json!({"user": {"metadata": metadata}}).to_string();
        server.send("PATCH", &format!("/v1/users/{mary}"), change).await.ok();
    }
    attacker.put(&format!("/v1/users/{mary}"), json!({"user": {"email": "mary@doe.com"}})).await.ok();
    assert_eq!(app.user(&mary).await.email.address(), "mary@doe.com");

    app.advance(Duration::from_secs(1));
    server.put(&path, json!({"user": {"email": "john.two@doe.com"}})).await.ok();
    assert_eq!(app.mails().await[0].1.to, "john.two@doe.com", "the app sends them their link to where they are");
    let entered = app.anyone().send("POST", &app.newest_link().await, "").await;
    let cookie = entered.header("set-cookie").split(';').next().unwrap();
    let file = app.anyone().with("Cookie", cookie).send("POST", "/profile/data", "").await.ok();
    assert!(file.text.contains("no allergies"), "who comes in by the address is shown their health data");
}
