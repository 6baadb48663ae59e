//! Signing up: who may become a user by themselves, and as whom somebody comes in.

use std::time::Duration;

use serde_json::json;
use usher::apps::{self, Kind, Settings, SignUp};
use usher::audit::Action;

use crate::harness::{Answer, But, Client, OPERATOR, TestApp, john};
use crate::signin::{app_and_jane, code_of, text};

impl TestApp {
    pub async fn open_to_all(&self) {
        let (client, settings) = (self.client_id, Settings { sign_up: Some(SignUp::Open), ..Settings::default() });
        let open = move |tx: &usher::db::Tx| apps::update(tx, OPERATOR, client, Some(Kind::Sandbox), &settings);
        self.store().write(open).await.unwrap();
    }

    /// Somebody who has signed up by themselves: their id, and that of the tenant that is theirs.
    pub async fn signed_up(&self, email: &str) -> (String, String) {
        self.open_to_all().await;
        let (browser, _) = self.begin_at(&self.sign_in_path().replace("signIn", "signUp"), email).await;
        let (link, _) = self.newest_mail().await;
        let tokens = self.exchange(&code_of(&browser.send("POST", &link, "").await)).await.ok();
        let me = self.anyone().with("Authorization", &format!("Bearer {}", text(&tokens, "accessToken")));
        let shown = me.get("/v1/users/me").await.ok().body["data"].clone();
        let text = |name: &str| shown[name].as_str().unwrap().to_owned();
        (text("id"), text("tenantId"))
    }

    pub async fn begin_at(&self, path: &str, email: &str) -> (Client<'_>, Answer) {
        self.advance(Duration::from_secs(1));
        let answer = self.anyone().send("POST", path, format!("email={email}")).await;
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        (self.anyone().with("Cookie", &cookie), answer)
    }
}

#[tokio::test]
async fn whom_the_official_client_sends_as_unauthenticated_signs_in_and_nobody_registers() {
    let (app, _) = app_and_jane().await;
    app.open_to_all().await;
    let path = app.sign_in_path().replace("type=signIn", "type=unauthenticated&unauthenticated=true");
    assert!(path.ends_with("&unauthenticated=true"), "{path}");
    assert!(app.anyone().get(&path).await.ok().text.contains("Sign in to Acme Coaching"));
    let mails = app.mails().await.len();
    let (_, stranger) = app.begin_at(&path, "new@doe.com").await;
    assert_eq!((stranger.status, app.mails().await.len()), (303, mails));
    let entered = app.enter(&path).await;
    assert!(entered.header("location").contains("state=s1"));
    app.exchange(&code_of(&entered)).await.ok();
}

#[tokio::test]
async fn who_signs_up_becomes_a_user_with_a_tenant_of_their_own_where_that_is_open() {
    let (app, jane) = app_and_jane().await;
    let (sign_in, sign_up) = (app.sign_in_path(), app.sign_in_path().replace("signIn", "signUp"));
    let mails = app.mails().await.len();
    let (_, closed) = app.begin_at(&sign_up, "new@doe.com").await;
    assert_eq!((closed.status, app.mails().await.len()), (303, mails), "somebody has to enrol them");
    app.open_to_all().await;
    app.begin_at(&sign_in, "new@doe.com").await;
    assert_eq!(app.mails().await.len(), mails, "who only signs in is no user yet");

    let (browser, _) = app.begin_at(&sign_up, "New@doe.com").await;
    assert_eq!(app.count("users").await, 1, "nobody is a user who has not proven the mailbox");
    let (_, digits) = app.newest_mail().await;
    let wrong = browser.send("POST", "/sign-in/code", "code=x").await;
    assert_eq!(wrong.status, 400);
    let code = code_of(&browser.send("POST", "/sign-in/code", format!("code={digits}")).await);
    let tokens = app.exchange(&code).await.ok();
    let me = app.anyone().with("Authorization", &format!("Bearer {}", text(&tokens, "accessToken")));
    let shown = me.get("/v1/users/me").await.ok().body["data"].clone();
    assert_eq!((&shown["email"], &shown["email_verified"]), (&json!("New@doe.com"), &json!(true)));
    let tenant = me.get("/v1/tenants/me").await.ok().body["data"].clone();
    assert_eq!((&tenant["id"], tenant["users"].as_array().unwrap().len()), (&shown["tenantId"], 1));
    let made = app.audited(Action::TenantCreated).await.remove(0);
    let by = made.by().1.unwrap().to_string();
    assert_eq!((&json!(made.target), &json!(by)), (&tenant["id"], &shown["id"]), "who signed up made it");
    me.put("/v1/tenants/me", json!({"tenant": {"name": "Mine"}})).await.ok();
    assert_eq!(app.count("users").await, 2);

    let (browser, _) = app.begin_at(&sign_up, "jane@doe.com").await;
    let (link, _) = app.newest_mail().await;
    let tokens = app.exchange(&code_of(&browser.send("POST", &link, "").await)).await.ok();
    assert_eq!(crate::tokens::claims(text(&tokens, "idToken"))["sub"], json!(jane), "who is a user signs in");

    let (browser, _) = app.begin_at(&sign_up, "john@doe.com").await;
    let (link, _) = app.newest_mail().await;
    let enrolled = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    let tokens = app.exchange(&code_of(&browser.send("POST", &link, "").await)).await.ok();
    assert_eq!(crate::tokens::claims(text(&tokens, "idToken"))["sub"], json!(enrolled), "enrolled meanwhile");
}

#[tokio::test]
async fn who_is_on_the_way_to_register_does_not_once_that_is_closed() {
    let (app, _) = app_and_jane().await;
    app.open_to_all().await;
    let (browser, _) = app.begin_at(&app.sign_in_path().replace("signIn", "signUp"), "new@doe.com").await;
    let (link, _) = app.newest_mail().await;
    let (client, settings) = (app.client_id, Settings { sign_up: Some(SignUp::Closed), ..Settings::default() });
    let close = move |tx: &usher::db::Tx| apps::update(tx, OPERATOR, client, Some(Kind::Sandbox), &settings);
    app.store().write(close).await.unwrap();
    let before = (app.count("users").await, app.count("tenants").await, app.count("sessions").await);
    let pressed = browser.send("POST", &link, "").await;
    assert_eq!((pressed.status, pressed.header("location")), (410, ""), "{}", pressed.text);
    assert_eq!(app.audited(Action::SignedIn).await[0].result, "link_withdrawn");
    assert_eq!((app.count("users").await, app.count("tenants").await, app.count("sessions").await), before);
}

#[tokio::test]
async fn who_signs_up_does_not_come_in_as_somebody_whose_address_only_folds_to_the_same_key() {
    let (app, _) = app_and_jane().await;
    app.open_to_all().await;
    let sign_up = app.sign_in_path().replace("signIn", "signUp");
    let (browser, _) = app.begin_at(&sign_up, "stra%C3%9Fe@doe.com").await;
    let (link, _) = app.newest_mail().await;
    let other = john().but("email", json!("strasse@doe.com"));
    let enrolled = app.partner("acme").await.post("/users/create", other).await.ok().id().to_owned();
    let sessions = app.count("sessions").await;
    let pressed = browser.send("POST", &link, "").await;
    assert_eq!((pressed.status, app.count("sessions").await), (410, sessions), "{}", pressed.text);
    assert_eq!((app.user(&enrolled).await.email_verified_at, app.count("users").await), (None, 2));
}

#[tokio::test]
async fn of_who_wanted_to_sign_up_and_did_not_nothing_is_left_after_a_day() {
    let (app, _) = app_and_jane().await;
    app.open_to_all().await;
    let before = app.mails().await.len();
    app.begin_at(&app.sign_in_path().replace("signIn", "signUp"), "new@doe.com").await;
    assert_eq!(app.mails().await.len(), before + 1);
    app.advance(Duration::from_hours(26));
    usher::app::purge(app.store()).await;
    assert_eq!((app.mails().await.len(), app.count("sign_ins").await), (before, 0));
}

#[tokio::test]
async fn the_mail_to_who_did_not_sign_up_goes_in_one_step_with_what_leads_to_it() {
    let (app, _) = app_and_jane().await;
    app.open_to_all().await;
    let sign_up = app.sign_in_path().replace("signIn", "signUp");
    let before = app.mails().await.len();
    for email in ["old@doe.com", "new@doe.com"] {
        app.begin_at(&sign_up, email).await;
        assert!(app.mails().await.iter().any(|(_, mail)| mail.to == email));
        app.advance(Duration::from_secs(10));
    }
    app.advance(Duration::from_hours(25).checked_sub(Duration::from_secs(15)).unwrap());
    assert!(app.store().write(usher::signin::purge).await.unwrap());
    let mails = app.mails().await;
    assert_eq!((mails[0].1.to.as_str(), mails.len(), app.count("sign_ins").await), ("new@doe.com", before + 1, 1));
    assert!(!app.store().write(usher::signin::purge).await.unwrap(), "nothing else is as old");
}

#[tokio::test]
async fn with_sub_nobody_but_that_user_signs_in() {
    let (app, jane) = app_and_jane().await;
    let other = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    let mails = app.mails().await.len();
    let path = app.sign_in_path();
    let (_, refused) = app.begin_at(&format!("{path}&sub={other}"), "jane@doe.com").await;
    let (_, unknown) = app.begin_at(&format!("{path}&sub={other}"), "nobody@doe.com").await;
    assert_eq!((refused.status, unknown.status, app.mails().await.len()), (303, 303, mails));
    app.begin_at(&format!("{path}&sub={jane}"), "jane@doe.com").await;
    assert_eq!(app.mails().await.len(), mails + 1);
    let malformed = app.anyone().get(&format!("{path}&sub=jane")).await;
    assert_eq!(malformed.status, 400);
}
