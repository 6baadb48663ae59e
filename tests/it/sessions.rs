//! The sessions of one browser: one for each app, and what an app learns of them without a person being asked.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::json;
use usher::apps::{self, AppId, Kind, Settings};
use usher::audit::Action;
use usher::caller::Caller;
use usher::db::Tx;
use usher::keys::{self, NewKey};
use usher::secret::sha256;
use usher::sessions;
use usher::users;

use crate::harness::{Answer, But, Client, OPERATOR, TestApp, a_key, jane, second_keys};
use crate::signin::{CALLBACK, app_and_jane, code_of, text};
use crate::tokens::{claims, kid};

/// Where another app has its page.
pub const OTHER: &str = "https://other.example.com/callback";

/// The cookies that an answer sets, without what is said of them.
pub fn cookies(answer: &Answer) -> Vec<String> {
    let set = answer.headers.get_all("set-cookie").iter();
    set.map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
}

impl TestApp {
    /// Another app, of which Jane is a user too.
    pub async fn another_app(&self) -> AppId {
        let settings = Settings { name: Some("Other".into()), ..Settings::default() };
        let make = move |tx: &Tx| {
            let app = apps::create(tx, &settings, second_keys())?.id;
            let sandbox = apps::environment(tx, app, Kind::Sandbox)?;
            apps::add_redirect_uri(tx, usher::caller::Origin::of(usher::caller::Actor::Operator), &sandbox, OTHER)?;
            let new = NewKey { tenant: Some("other".into()), ..a_key() };
            Ok((app, keys::create(tx, usher::caller::Origin::of(usher::caller::Actor::Operator), &sandbox, &new)?.1))
        };
        let (app, key) = self.store().write(make).await.unwrap();
        let partner = self.anyone().with("Authorization", &format!("Bearer {}", key.expose()));
        partner.post("/users/create", jane()).await.ok();
        app
    }

    /// Signs Jane in by mail at that address; what the button's press is answered.
    pub async fn enter(&self, path: &str) -> Answer {
        self.advance(Duration::from_secs(1));
        let begun = self.anyone().send("POST", path, "email=jane%40doe.com").await;
        let browser = self.anyone().with("Cookie", &cookies(&begun)[0]);
        let (link, _) = self.newest_mail().await;
        browser.send("POST", &link, "").await
    }

    /// Jane with a token of these scopes.
    async fn with_scopes(&self, scopes: &str) -> Client<'_> {
        let verifier = "a-verifier-of-at-least-forty-three-characters-0123";
        let challenge = BASE64URL.encode(sha256(verifier.as_bytes()));
        let path = format!(
            "/authorize?client_id={}&redirect_uri={CALLBACK}&scope={scopes}&response_type=code&code_challenge={challenge}\
             &code_challenge_method=S256",
            self.client_id
        );
        let form = format!(
            "grant_type=authorization_code&client_id={}&redirect_uri={CALLBACK}&code={}&code_verifier={verifier}",
            self.client_id,
            code_of(&self.enter(&path).await)
        );
        let granted = self.anyone().send("POST", "/oauth/token", form).await.ok();
        self.anyone().with("Authorization", &format!("Bearer {}", text(&granted, "access_token")))
    }

    pub fn browser(&self, answers: &[&Answer]) -> Client<'_> {
        let all: Vec<String> = answers.iter().flat_map(|answer| cookies(answer)).collect();
        self.anyone().with("Cookie", &all.join("; "))
    }
}

#[tokio::test]
async fn a_cookie_as_another_host_of_the_domain_could_set_it_lets_nobody_in() {
    let (app, _) = app_and_jane().await;
    let path = app.sign_in_path();
    let is_taken = async |cookie: &str, link: &str| {
        let browser = app.anyone().with("Cookie", cookie);
        let profile = browser.get("/profile").await.ok();
        (browser.send("POST", link, "").await.status == 303, !profile.text.contains("signed out"))
    };
    let assert_ours_alone = async |answer: &Answer, link: &str, ours| {
        let cookie = cookies(answer).remove(0);
        let theirs = cookie.strip_prefix("__Host-").expect("a name that no other host may set");
        assert_eq!(is_taken(theirs, link).await, (false, false), "{theirs}");
        let beside_theirs = format!("{theirs}; name=Zoë; {cookie}; \u{2003}{theirs}");
        assert_eq!(is_taken(&beside_theirs, link).await, ours, "{cookie}");
    };
    let begun = app.anyone().send("POST", &path, "email=jane%40doe.com").await;
    let (link, _) = app.newest_mail().await;
    assert_ours_alone(&begun, &link, (true, false)).await;
    assert_ours_alone(&app.enter(&path).await, &link, (false, true)).await;
}

#[tokio::test]
async fn signing_out_of_one_app_ends_that_apps_session_and_no_other_of_the_browser() {
    let (app, _) = app_and_jane().await;
    let other = app.another_app().await;
    let at_one = app.sign_in_path();
    let at_other = format!("/sign-in?client_id={other}&redirect_uri={OTHER}&state=s1&type=signIn");
    let (entered, entered_other) = (app.enter(&at_one).await, app.enter(&at_other).await);
    let one = app.exchange(&code_of(&entered)).await.ok();
    let mut body = app.exchange_body(&code_of(&entered_other));
    body["client_id"] = json!(other);
    body["redirect_uri"] = json!(OTHER);
    let two = app.anyone().post("/v1/tokens", body).await.ok();
    let browser = app.browser(&[&entered, &entered_other]);
    let works = async || (app.as_token(text(&one, "accessToken")).await, app.as_token(text(&two, "accessToken")).await);
    assert_eq!(works().await, (200, 200));

    let left = browser.get(&format!("{at_one}&logout=true")).await.ok();
    let name = |answer: &Answer| cookies(answer)[0].split('=').next().unwrap().to_owned();
    assert_eq!(cookies(&left), [format!("{}=", name(&entered))]);
    assert_eq!(works().await, (401, 200));

    let (client, profile) = (app.client_id, format!("/profile?client_id={other}&environment=sandbox"));
    let page = browser.get(&profile).await.ok();
    assert!(page.text.contains("Your profile") && page.text.contains("<span>Other</span>"), "{}", page.text);
    assert!(browser.get("/profile").await.ok().text.contains("Your profile"), "the one that is left");
    let gone = format!("/profile?client_id={client}&environment=sandbox");
    assert!(browser.get(&gone).await.ok().text.contains("signed out"));
    assert_eq!(browser.get("/profile?client_id=x&environment=sandbox").await.status, 400);
    let out = format!("/sign-out?client_id={other}&environment=sandbox");
    assert!(page.text.contains(&out.replace('&', "&#38;")), "the page's button means this session");
    let left = browser.send("POST", &out, "").await;
    assert_eq!(
        (left.header("location"), cookies(&left)),
        (profile.as_str(), vec![format!("{}=", name(&entered_other))])
    );
    assert_eq!(works().await, (401, 401));
}

#[tokio::test]
async fn signing_out_of_no_app_in_particular_ends_every_session_of_the_browser() {
    let (app, _) = app_and_jane().await;
    let other = app.another_app().await;
    let at_other = format!("/sign-in?client_id={other}&redirect_uri={OTHER}");
    let entered = [app.enter(&app.sign_in_path()).await, app.enter(&at_other).await];
    let browser = app.browser(&[&entered[0], &entered[1]]);
    let left = browser.send("POST", "/sign-out", "").await;
    assert_eq!((left.header("location"), cookies(&left).len()), ("/profile", 2));
    assert!(browser.get("/profile").await.ok().text.contains("signed out"));
}

#[tokio::test]
async fn the_standard_doors_of_sandbox_and_live_are_two_issuers_with_keys_of_their_own() {
    let (app, id) = app_and_jane().await;
    app.register(Kind::Live, "https://app.example.com/live").await;
    let document =
        async |path: &str| app.anyone().get(&format!("{path}/.well-known/openid-configuration")).await.ok().body;
    let (live, sandbox) = (document("").await, document("/sandbox").await);
    assert_eq!(live["issuer"], "https://users.example.com");
    assert_eq!(sandbox["issuer"], "https://users.example.com/sandbox");
    assert_eq!(live["token_endpoint"], sandbox["token_endpoint"]);
    assert_eq!(live["request_uri_parameter_supported"], false, "what is not said of it is true");
    let kids = async |document: &serde_json::Value| {
        let uri = document["jwks_uri"].as_str().unwrap().strip_prefix("https://users.example.com").unwrap().to_owned();
        let keys = app.anyone().get(&uri).await.ok().body["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (live_kids, sandbox_kids) = (kids(&live).await, kids(&sandbox).await);
    assert!(
        !live_kids.is_empty() && !sandbox_kids.is_empty() && live_kids.iter().all(|kid| !sandbox_kids.contains(kid))
    );

    let kid = kid(&app.token(&id).await);
    assert!(sandbox_kids.contains(&kid), "a verifier of live tokens does not know the key of a sandbox token");
    // What is said to the app's page names the issuer too (RFC 9207), so a client of live takes no sandbox code.
    for (uri, issuer) in [(CALLBACK, &sandbox["issuer"]), ("https://app.example.com/live", &live["issuer"])] {
        let path = format!("/authorize?client_id={}&redirect_uri={uri}&response_type=code", app.client_id);
        let back: url::Url = app.anyone().get(&path).await.header("location").parse().unwrap();
        let named = back.query_pairs().find(|(name, _)| name == "iss").unwrap().1.into_owned();
        assert_eq!(json!(named), *issuer);
    }
}

#[tokio::test]
async fn with_prompt_none_an_app_gets_a_code_of_the_browsers_session_or_hears_that_there_is_none() {
    let (app, id) = app_and_jane().await;
    let entered = app.enter(&app.sign_in_path()).await;
    let first = app.exchange(&code_of(&entered)).await.ok();
    let browser = app.browser(&[&entered]);
    let verifier = "a-verifier-of-at-least-forty-three-characters-0123";
    let challenge = BASE64URL.encode(sha256(verifier.as_bytes()));
    let base = format!(
        "/authorize?client_id={}&redirect_uri={CALLBACK}&state=s2&nonce=n2&scope=openid+email+offline_access&response_type=code\
         &code_challenge={challenge}&code_challenge_method=S256",
        app.client_id
    );
    let silent = format!("{base}&prompt=none");
    app.advance(Duration::from_mins(5));
    let said = |answer: &Answer| {
        let to: url::Url = answer.header("location").parse().unwrap();
        to.query_pairs().find(|(name, _)| name == "error").map(|(_, error)| error.into_owned())
    };
    let needs = Some("login_required".to_owned());
    assert_eq!(said(&app.anyone().get(&silent).await), needs);
    assert_eq!(said(&browser.get(&format!("{silent}&max_age=300")).await), needs);
    assert_eq!(said(&browser.get(&format!("{silent}&login_hint=john%40doe.com")).await), needs);
    let john = app.partner("acme").await.post("/users/create", crate::harness::john()).await.ok().id().to_owned();
    for hint in [app.token(&john).await.as_str(), "made-up", &format!("{}x", text(&first, "idToken"))] {
        assert_eq!(said(&browser.get(&format!("{silent}&id_token_hint={hint}")).await), needs, "{hint}");
    }
    let hers = browser.get(&format!("{silent}&id_token_hint={}", text(&first, "idToken"))).await;
    assert_eq!(said(&hers), None);
    let wrong = Some("invalid_request".to_owned());
    assert_eq!(said(&browser.get(&format!("{base}&prompt=none+login")).await), wrong);
    assert_eq!(said(&browser.get(&format!("{base}&max_age=soon")).await), wrong);
    assert!(
        browser.get(&base).await.ok().text.contains("Sign in to Acme Coaching"),
        "who does not say none gets the page"
    );
    app.register(Kind::Live, "https://app.example.com/live").await;
    let live = silent.replace(CALLBACK, "https://app.example.com/live");
    assert_eq!(said(&browser.get(&live).await), needs, "a session of the sandbox is none of live");

    let back = browser.get(&format!("{silent}&max_age=301&login_hint=JANE%40doe.com")).await;
    let form = format!(
        "grant_type=authorization_code&client_id={}&redirect_uri={CALLBACK}&code={}&code_verifier={verifier}",
        app.client_id,
        code_of(&back)
    );
    let granted = app.anyone().send("POST", "/oauth/token", form.clone()).await.ok();
    assert_eq!((&granted.body["scope"], granted.body.get("refresh_token")), (&json!("openid email"), None));
    let (before, now) = (claims(text(&first, "idToken")), claims(text(&granted, "id_token")));
    assert_eq!((&now["sub"], &now["nonce"], &now["sid"]), (&json!(id), &json!("n2"), &before["sid"]));
    assert_eq!(now["auth_time"], before["auth_time"], "nobody has signed in again");
    assert_eq!(app.anyone().send("POST", "/oauth/token", form).await.status, 400, "once");
    let codes = app.audited(Action::CodeIssued).await;
    // The other one is of the hint.
    assert_eq!((codes.len() - 1, codes[0].request.unwrap().to_string().as_str()), (1, back.header("request-id")));
    let issued = app.audited(Action::TokenIssued).await;
    assert_eq!((issued.len(), issued[0].request.unwrap().to_string().as_str()), (2, granted.header("request-id")));
    let again = code_of(&browser.get(&silent).await);
    let official = app.exchange_body(&again).but("code_verifier", json!(verifier));
    let official = app.anyone().post("/v1/tokens", official).await.ok();
    assert_eq!(official.body.get("refreshToken"), Some(&json!(null)), "there is one for each session");
    assert_eq!(app.as_token(text(&official, "accessToken")).await, 200);
    app.refresh(text(&first, "refreshToken")).await.ok();

    browser.get(&format!("{}&logout=true", app.sign_in_path())).await.ok();
    assert_eq!(app.as_token(text(&granted, "access_token")).await, 401, "it was of the session that has ended");
    assert_eq!(said(&browser.get(&silent).await), needs);
}

#[tokio::test]
async fn the_official_clients_silent_refresh_is_told_to_its_own_page_and_no_other() {
    let (app, id) = app_and_jane().await;
    let entered = app.enter(&app.sign_in_path()).await;
    app.exchange(&code_of(&entered)).await.ok();
    let browser = app.browser(&[&entered]);
    let silent = format!(
        "/sign-in?grant_type=refreshToken&state=s&nonce=n3&auth_time=1&redirect_uri={CALLBACK}&client_id={}\
         &scope=openid%20offline_access&prompt=none",
        app.client_id
    );
    let message = |answer: &Answer| {
        let page = answer.text.replace("&#34;", "\"").replace("&quot;", "\"");
        let (_, rest) = page.split_once("data-message=\"").unwrap();
        let (message, rest) = rest.split_once("\" data-origin=\"").unwrap();
        assert!(rest.starts_with("https://app.example.com\""), "{rest}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("frame-ancestors https://app.example.com;"), "{policy}");
        serde_json::from_str::<serde_json::Value>(message).unwrap()
    };
    let answer = browser.get(&silent).await.ok();
    let issued = app.audited(Action::TokenIssued).await.remove(0);
    assert_eq!(issued.request.unwrap().to_string(), answer.header("request-id"));
    let told = message(&answer);
    assert_eq!((&told["originator"], &told["token"]["redirectUri"]), (&json!("userdocks"), &json!(CALLBACK)));
    let identity = claims(told["token"]["idToken"].as_str().unwrap());
    assert_eq!((&identity["nonce"], &identity["sub"]), (&json!("n3"), &json!(id)));
    let access = told["token"]["accessToken"].as_str().unwrap();
    assert_eq!(app.as_token(access).await, 200);
    assert_eq!(message(&app.anyone().get(&silent).await.ok())["token"], json!(null));
    let elsewhere = silent.replace("callback", "other");
    assert_eq!(browser.get(&elsewhere).await.status, 400);

    let leave = format!("/sign-in?redirect_uri={CALLBACK}&client_id={}&prompt=none&logout=true", app.client_id);
    assert_eq!(message(&browser.get(&leave).await.ok())["isAllowed"], true);
    assert_eq!(app.as_token(access).await, 401);
}

#[tokio::test]
async fn a_token_opens_the_facts_that_its_scopes_name_and_changes_nothing_without_the_profile() {
    let (app, id) = app_and_jane().await;
    let facts = async |me: &Client<'_>| {
        let shown = me.get("/v1/users/me").await.ok().body["data"].clone();
        assert_eq!(shown["id"], json!(id));
        ["given_name", "email", "email_verified", "phone_number"].map(|name| !shown[name].is_null())
    };
    let bare = app.with_scopes("openid").await;
    assert_eq!(facts(&bare).await, [false; 4]);
    for (method, path, body) in [
        ("PUT", "/v1/users/me", json!({"user": {"nickname": "J"}})),
        ("PATCH", "/v1/users/me", json!({"user": {"nickname": "J"}})),
        ("DELETE", "/v1/users/me", json!({})),
        ("DELETE", "/v1/users/me/sessions", json!({})),
    ] {
        let answer = bare.send(method, path, body.to_string()).await;
        assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text);
    }
    app.server().await.put(&format!("/v1/users/{id}"), json!({"user": {"nickname": "Janie"}})).await.ok();
    let (client, user) = (app.client_id, app.user(&id).await.id);
    let look = move |tx: &Tx| {
        let operator = Caller::operator(&apps::environment(tx, client, Kind::Sandbox)?);
        users::reveal(tx, &operator, user, "Janie called").map(drop)
    };
    app.store().write(look).await.unwrap();
    assert!(app.server().await.get(&format!("/v1/users/{id}/events")).await.ok().text.contains("Janie called"));
    let events = bare.get("/v1/users/me/events").await.ok();
    assert!(!events.text.contains("Janie") && !events.text.contains("jane@doe.com"), "{}", events.text);
    assert!(events.text.contains("\"health\":[") && !events.text.contains("\"health\":[\""), "{}", events.text);
    let tenant = json!({"tenant": {"billingAddress": {"line1": "Am Hof 1"}, "companyName": "Jane Doe"}});
    app.server().await.put(&format!("/v1/tenants/{}", app.user(&id).await.tenant.unwrap()), tenant).await.ok();
    let of_tenant = async |me: &Client<'_>| {
        let shown = me.get("/v1/tenants/me").await.ok().body["data"].clone();
        assert!(shown["id"].is_string() && shown["users"][0]["id"] == json!(id), "{shown}");
        ["name", "companyName", "billingAddress"].map(|name| !shown[name].is_null())
    };
    assert_eq!(of_tenant(&bare).await, [false; 3]);

    let named = app.with_scopes("openid+profile").await;
    assert_eq!(facts(&named).await, [true, false, false, false]);
    assert_eq!(of_tenant(&named).await, [true; 3]);
    let events = named.get("/v1/users/me/events").await.ok();
    assert!(events.text.contains("\"health\":[\""), "{}", events.text);
    let body = json!({"user": {"nickname": "J", "email": "new@doe.com", "phone_number": "2025550199"}});
    named.put("/v1/users/me", body).await.ok();
    let user = app.user(&id).await;
    assert_eq!(user.email.address(), "jane@doe.com", "what the token does not open, it does not change");
    assert_eq!(facts(&app.with_scopes("openid+profile+email+phone").await).await, [true; 4]);
}

#[tokio::test]
async fn every_session_there_is_ends_page_by_page() {
    let (app, id) = app_and_jane().await;
    let (oldest, user) = (app.token(&id).await, app.user(&id).await);
    let sign_in = move |tx: &Tx| (0..600).try_for_each(|_| sessions::start(tx, &user).map(drop));
    app.store().write(sign_in).await.unwrap();
    let newest = app.token(&id).await;
    let (mut pages, mut ended, mut last) = (0, 0, None);
    while let Some((count, id)) = app.store().write(move |tx| sessions::end_some(tx, last)).await.unwrap() {
        (pages, ended, last) = (pages + 1, ended + count, Some(id));
    }
    assert_eq!((pages, ended), (2, 602));
    assert_eq!((app.as_token(&oldest).await, app.as_token(&newest).await), (401, 401));
    let again = app.store().write(|tx| sessions::end_some(tx, None)).await.unwrap();
    assert_eq!(again.unwrap().0, 0, "what is over stays as it is");
    app.store().write(|tx| sessions::note_all_ended(tx, OPERATOR)).await.unwrap();
    assert_eq!(app.audited(Action::SessionsEnded).await.len(), 2, "in the sandbox and live");
}

#[tokio::test]
async fn a_token_of_either_kind_is_revoked_for_the_app_that_has_it_and_no_other() {
    for kind in ["refreshToken", "accessToken"] {
        let (app, id) = app_and_jane().await;
        let other = app.another_app().await;
        let tokens = app.exchange(&app.code().await).await.ok();
        let elsewhere = app.exchange(&app.code().await).await.ok();
        let token = text(&tokens, kind);
        let revoke =
            async |client: &str| app.anyone().send("POST", "/oauth/revoke", format!("token={token}{client}")).await;
        let missing = revoke("").await;
        assert_eq!((missing.status, &missing.body["error"]), (400, &json!("invalid_client")), "{kind}");
        let foreign = revoke(&format!("&client_id={other}")).await;
        assert_eq!((foreign.status, &foreign.body["error"]), (400, &json!("invalid_grant")), "{kind}");
        assert_eq!(app.as_token(text(&tokens, "accessToken")).await, 200, "{kind}");
        for _ in 0..2 {
            revoke(&format!("&client_id={}", app.client_id)).await.ok();
            assert_eq!(app.as_token(text(&tokens, "accessToken")).await, 401, "{kind}");
            assert_eq!(app.refresh(text(&tokens, "refreshToken")).await.status, 400, "{kind}");
            let ended = app.audited(Action::SessionEnded).await;
            assert_eq!((ended.len(), ended[0].user.map(|user| user.to_string())), (1, Some(id.clone())), "{kind}");
        }
        assert_eq!(app.as_token(text(&elsewhere, "accessToken")).await, 200, "{kind}: another session goes on");
    }
}

#[tokio::test]
async fn what_is_no_token_that_opens_anything_ends_no_session() {
    let (app, _) = app_and_jane().await;
    let tokens = app.exchange(&app.code().await).await.ok();
    let access = text(&tokens, "accessToken");
    let revoke = async |token: &str| {
        let form = format!("token={token}&client_id={}", app.client_id);
        app.anyone().send("POST", "/oauth/revoke", form).await.ok();
    };
    // An ID token is for `/sign-out`.
    for token in [text(&tokens, "idToken"), &format!("{access}x"), "made-up"] {
        revoke(token).await;
        assert_eq!(app.as_token(access).await, 200, "{token}");
    }
    app.advance(Duration::from_hours(1));
    revoke(access).await;
    app.refresh(text(&tokens, "refreshToken")).await.ok();
}

#[tokio::test]
async fn a_code_and_what_was_asked_with_it_are_sealed_and_go_when_the_person_is_erased() {
    let (app, id) = app_and_jane().await;
    let path = format!("{}&nonce=canary-nonce", app.sign_in_path().replace("s1", "canary-state"));
    let code = code_of(&app.enter(&path).await);
    let rows = app.store().read(|tx| tx.query("SELECT request FROM codes", &[])).await.unwrap();
    let sealed: String = rows[0].get(0).unwrap();
    let opened = base64::prelude::BASE64_STANDARD.decode(&sealed).unwrap();
    assert!(!String::from_utf8_lossy(&opened).contains("canary"));
    let body = app.exchange_body(&code);
    app.anyone().post("/v1/tokens", body).await.ok();
    let receipt = app.server().await.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    assert_eq!((&receipt.body["data"]["counts"]["codes"], app.count("codes").await), (&json!(1), 0));
}

#[tokio::test]
async fn who_takes_a_token_of_somebody_for_a_try_stands_in_the_trail() {
    let (app, id) = app_and_jane().await;
    let user: usher::users::UserId = id.parse().unwrap();
    let issue = move |tx: &Tx| usher::tokens::issue_by_itself(tx, &usher::users::any_by_id(tx, user)?.unwrap());
    app.store().write(issue).await.unwrap();
    let trail = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap();
    let entry = trail.iter().find(|entry| entry.action.as_str() == "token.issued").expect("an entry");
    assert_eq!(entry.actor, Some(usher::caller::Actor::Operator));
}

#[tokio::test]
async fn what_has_expired_is_removed_some_at_a_time_until_nothing_is_left() {
    let (app, _) = app_and_jane().await;
    for _ in 0..3 {
        app.code().await;
    }
    let many = "INSERT INTO limits (mark, since, used) SELECT id, 0, 1 FROM some";
    let ids: Vec<String> = (0..2500).map(|n| format!("({n})")).collect();
    let hex = if crate::cluster::on_postgres() { "decode(lpad(n::text, 8, '0'), 'hex')" } else { "CAST(n AS BLOB)" };
    let many = many
        .replace("id", hex)
        .replace("some", &format!("(SELECT column1 AS n FROM (VALUES {}) AS v) AS w", ids.join(",")));
    app.tamper(&many);
    app.advance(Duration::from_hours(24 * 31));
    usher::app::purge(app.store()).await;
    for table in ["limits", "codes", "sessions", "sign_ins"] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn nobody_finds_or_sorts_people_by_what_their_token_does_not_open() {
    let (app, jane) = app_and_jane().await;
    let john = app.partner("acme").await.post("/users/create", crate::harness::john()).await.ok().id().to_owned();
    app.server().await.put(&format!("/v1/users/{john}"), json!({"user": {"externalId": "crm-7"}})).await.ok();
    app.partner("acme").await.post("/users/update", json!({"email": "john@doe.com", "diabetes": 2})).await.ok();
    crate::life::administrator(&app, &jane).await;
    let asked = [
        ("/v1/users?email=john%40doe.com", "email"),
        ("/v1/users/john@doe.com", "email"),
        ("/v1/users/nobody@doe.com", "email"),
        ("/v1/users?sort=email", "email"),
        ("/v1/users?sort=-email", "email"),
        ("/v1/users?phone=%2B12025550123", "phone"),
        ("/v1/users?external_id=crm-7", "profile"),
    ];
    for scope in ["email", "phone", "profile"] {
        let me = app.with_scopes(&format!("openid+{scope}")).await;
        me.get("/v1/users?sort=-updated&status=active").await.ok();
        for (path, opened_by) in asked {
            let answer = me.get(path).await;
            let is_refused = answer.status == 403 && answer.text.contains("do not open");
            assert_eq!(is_refused, scope != opened_by, "{path} with {scope}: {}", answer.text);
        }
        let events = me.get(&format!("/v1/users/{john}/events")).await.ok();
        let tells = events.text.contains("\"health\":[\"health\"]");
        assert_eq!((tells, events.text.contains("diabetes")), (scope == "profile", false), "{}", events.text);
    }
    for (scopes, opens) in [("openid+profile", false), ("openid+profile+email", true)] {
        let me = app.with_scopes(scopes).await;
        let person = |name: &str| json!({"email": format!("{name}@doe.com"), "language": "en"});
        let made = me.post("/v1/users", json!({"user": person("made")})).await;
        let invited = me.post("/v1/users/me", person("invited")).await;
        for answer in [made, invited] {
            let is_refused = answer.status == 403 && answer.text.contains("do not open");
            assert_eq!((is_refused, answer.status < 300), (!opens, opens), "{scopes}: {}", answer.text);
        }
    }
}
