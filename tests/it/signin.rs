//! Signing in by e-mail: the pages, the mail, the code for the app, and what nobody learns from them.

use std::time::Duration;

use serde_json::{Value, json};
use usher::apps::{self, Kind};
use usher::audit::Action;
use usher::users::{self, Status, UserId};

use crate::harness::{Answer, But, Client, OPERATOR, TestApp, jane, john};

pub const CALLBACK: &str = "https://app.example.com/callback";

/// An app that people sign in to, and its one user.
pub async fn app_and_jane() -> (TestApp, String) {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    app.register(Kind::Sandbox, CALLBACK).await;
    app.advance(Duration::from_secs(1));
    (app, id)
}

impl TestApp {
    pub async fn register(&self, kind: Kind, uri: &'static str) {
        let id = self.client_id;
        let add = move |tx: &usher::db::Tx| {
            apps::add_redirect_uri(
                tx,
                usher::caller::Origin::of(usher::caller::Actor::Operator),
                &apps::environment(tx, id, kind)?,
                uri,
            )
        };
        self.store().write(add).await.unwrap();
    }

    /// Where the official clients send people.
    pub fn sign_in_path(&self) -> String {
        format!("/sign-in?client_id={}&redirect_uri={CALLBACK}&state=s1&type=signIn", self.client_id)
    }

    /// A browser that has named an address, with its cookie, and what it was answered.
    pub async fn begin(&self, email: &str) -> (Client<'_>, Answer) {
        self.begin_as(&self.anyone(), email).await
    }

    pub async fn begin_as<'a>(&'a self, browser: &Client<'a>, email: &str) -> (Client<'a>, Answer) {
        let form: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("email", email).finish();
        let answer = browser.send("POST", &self.sign_in_path(), form).await;
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        (browser.instead("Cookie", &cookie), answer)
    }

    /// The path of the link and the digits in the newest mail.
    pub async fn newest_mail(&self) -> (String, String) {
        let (_, mail) = self.mails().await.remove(0);
        let digits = mail.text.lines().find(|line| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit()));
        let link = mail.links[0].strip_prefix("https://users.example.com").unwrap().to_owned();
        (link, digits.unwrap_or_default().to_owned())
    }

    /// The code that an app's page gets when Jane has signed in.
    pub async fn code(&self) -> String {
        self.advance(Duration::from_secs(1));
        let (browser, _) = self.begin("jane@doe.com").await;
        let (link, _) = self.newest_mail().await;
        code_of(&browser.send("POST", &link, "").await)
    }

    /// What the official browser client sends for a code (contract C5).
    pub async fn exchange(&self, code: &str) -> Answer {
        self.anyone().post("/api/v1/tokens", self.exchange_body(code)).await
    }

    pub fn exchange_body(&self, code: &str) -> Value {
        json!({
            "language": "en", "service": "email", "grant_type": "authorization_code", "client_id": self.client_id,
            "redirect_uri": CALLBACK, "code": code, "state": "s1", "nonce": "n-1", "auth_time": "1795262400",
            "scope": "openid profile email phone offline_access",
        })
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        let body = self.exchange_body("").but("prompt", json!("none")).but("refresh_token", json!(token));
        self.anyone().post("/v1/tokens", body).await
    }

    /// What a person with this access token is told.
    pub async fn as_token(&self, token: &str) -> u16 {
        self.anyone().with("Authorization", &format!("Bearer {token}")).get("/v1/users/me").await.status
    }
}

pub fn code_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 303, "{}", answer.text);
    let target: url::Url = answer.header("location").parse().unwrap();
    target.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned()
}

pub fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.body[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", answer.text))
}

#[tokio::test]
async fn a_link_in_the_mail_leads_the_browser_that_asked_to_the_app_and_no_other() {
    let (app, _) = app_and_jane().await;
    let page = app.anyone().get(&app.sign_in_path()).await.ok();
    assert!(page.text.contains("Sign in to Acme Coaching"));
    assert!(page.header("content-security-policy").ends_with("; form-action 'self'"));
    let (browser, asked) = app.begin("JANE@doe.com").await;
    assert_eq!((asked.status, asked.header("location")), (303, "/sign-in/code"));
    assert!(asked.header("set-cookie").contains("; HttpOnly; SameSite=Lax; Max-Age=600; Secure"));
    assert!(browser.get("/sign-in/code").await.ok().text.contains("Check your mail"));
    let (link, _) = app.newest_mail().await;
    for last in ["/sign-in/code", &link] {
        let page = browser.get(last).await.ok();
        assert!(
            page.header("content-security-policy").ends_with("; frame-ancestors 'none'"),
            "{last} leads to the app"
        );
    }

    let other = app.anyone();
    for _ in 0..10 {
        assert!(other.get(&link).await.text.contains("only in the browser in which you asked"));
        assert!(browser.get(&link).await.ok().text.contains("Press the button"));
        browser.send("HEAD", &link, "").await.ok();
    }
    assert_eq!(other.send("POST", &link, "").await.status, 403);
    let (stranger, _) = app.begin("jane@doe.com").await;
    assert_eq!(stranger.send("POST", &link, "").await.status, 403, "another sign-in's browser is another browser");

    let entered = browser.send("POST", &link, "").await;
    let target: url::Url = entered.header("location").parse().unwrap();
    let query: Vec<(String, String)> = target.query_pairs().into_owned().collect();
    let names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["code", "service", "client_id", "state"]);
    assert_eq!((query[3].1.as_str(), target.path()), ("s1", "/callback"));
    assert_eq!(browser.send("POST", &link, "").await.status, 410, "once");
}

#[tokio::test]
async fn an_address_that_the_app_has_taken_back_gets_nobody_who_is_on_the_way_there_and_no_tokens() {
    for by in ["link", "digits"] {
        let (app, _) = app_and_jane().await;
        let code = app.code().await;
        app.advance(Duration::from_secs(1));
        let (browser, _) = app.begin("jane@doe.com").await;
        let (link, digits) = app.newest_mail().await;
        let client = app.client_id;
        let take_back = move |tx: &usher::db::Tx| {
            apps::remove_redirect_uri(tx, OPERATOR, &apps::environment(tx, client, Kind::Sandbox)?, CALLBACK)
        };
        app.store().write(take_back).await.unwrap();
        let sessions = app.count("sessions").await;
        let entered = match by {
            "link" => browser.send("POST", &link, "").await,
            _ => browser.send("POST", "/sign-in/code", format!("code={digits}")).await,
        };
        assert_eq!((entered.status, entered.header("location")), (410, ""), "{by}: {}", entered.text);
        assert_eq!(app.exchange(&code).await.status, 400);
        assert_eq!(app.count("sessions").await, sessions, "{by}");
        // It was not late, and the trail tells the two apart.
        match by {
            "link" => assert_eq!(app.audited(Action::SignedIn).await[0].result, "link_withdrawn"),
            _ => assert_eq!(app.refused(&[&entered]).await[0].1, "code_withdrawn"),
        }

        // What had not been used up works again with the address.
        app.register(Kind::Sandbox, CALLBACK).await;
        app.exchange(&code).await.ok();
    }
}

#[tokio::test]
async fn of_100_simultaneous_presses_one_signs_in_by_mail() {
    let (app, _) = app_and_jane().await;
    let (browser, _) = app.begin("jane@doe.com").await;
    let (link, _) = app.newest_mail().await;
    let presses = futures_util::future::join_all((0..100).map(|_| browser.send("POST", &link, ""))).await;
    assert_eq!(presses.iter().filter(|answer| answer.status == 303).count(), 1);
    assert_eq!(app.count("sessions").await, 1);
}

#[tokio::test]
async fn of_1000_simultaneous_guesses_five_are_looked_at_and_the_right_digits_come_too_late() {
    let (app, _) = app_and_jane().await;
    let (browser, _) = app.begin("jane@doe.com").await;
    let (link, digits) = app.newest_mail().await;
    let wrong = |n: usize| format!("code={:06}", (digits.parse::<usize>().unwrap() + 1 + n) % 1_000_000);
    let (here, other) = (browser.clone(), app.another_server().await);
    let there = browser.at(&other);
    let guess = async |n: usize| {
        let server = if n.is_multiple_of(2) { &here } else { &there };
        server.send("POST", "/sign-in/code", wrong(n)).await
    };
    let guesses = futures_util::future::join_all((0..1000).map(guess)).await;
    let looked_at = guesses.iter().filter(|answer| answer.text.contains("not the code")).count();
    assert_eq!(looked_at, 5);
    assert!(guesses.iter().all(|answer| answer.status == 400));
    let late = browser.send("POST", "/sign-in/code", format!("code={digits}")).await;
    assert!(late.text.contains("Too many wrong codes"));
    assert_eq!(
        browser.send("POST", &link, "").await.status,
        303,
        "who has the mailbox does not suffer from who guesses"
    );
}

#[tokio::test]
async fn the_digits_work_once_in_the_browser_that_asked() {
    let (app, _) = app_and_jane().await;
    let (browser, _) = app.begin("jane@doe.com").await;
    let (_, digits) = app.newest_mail().await;
    let typed = format!("code={}+{}", &digits[..3], &digits[3..]);
    assert_eq!(app.anyone().send("POST", "/sign-in/code", typed.clone()).await.status, 410);
    let (other, _) = app.begin("john@doe.com").await;
    assert_eq!(other.send("POST", "/sign-in/code", typed.clone()).await.status, 400);
    code_of(&browser.send("POST", "/sign-in/code", typed.clone()).await);
    assert_eq!(browser.send("POST", "/sign-in/code", typed).await.status, 410);
}

#[tokio::test]
async fn a_known_and_an_unknown_address_get_the_same_answer_and_only_one_of_them_a_mail() {
    let (app, _) = app_and_jane().await;
    let before = app.mails().await.len();
    let answers = [app.begin("jane@doe.com").await.1, app.begin("nobody@doe.com").await.1];
    let shape = |answer: &Answer| {
        let mut names: Vec<(String, usize)> =
            answer.headers.iter().map(|(name, value)| (name.to_string(), value.len())).collect();
        names.sort();
        (answer.status, names, answer.text.clone())
    };
    assert_eq!(shape(&answers[0]), shape(&answers[1]));
    assert_eq!(app.mails().await.len(), before + 1);
    for email in ["jane@doe.com", "nobody@doe.com"] {
        app.advance(Duration::from_secs(1));
        let (browser, _) = app.begin(email).await;
        app.mails().await;
        let page = browser.get("/sign-in/code").await.ok();
        let guess = browser.send("POST", "/sign-in/code", "code=x").await;
        assert!(page.text.contains("If this address can sign in") && guess.text.contains("not the code"), "{email}");
    }
}

#[tokio::test]
async fn people_are_sent_to_registered_addresses_and_nowhere_else() {
    let (app, _) = app_and_jane().await;
    let id = app.client_id;
    for evil in [
        "",
        "https://app.example.com/callback/",
        "https://app.example.com/callback?x=1",
        "https://app.example.com/Callback",
        "https://app.example.com/callback#",
        "https://app.example.com",
        "https://app.example.com/",
        "https://APP.example.com/callback",
        "http://app.example.com/callback",
        "https://app.example.com:443/callback",
        "https://app.example.com:8443/callback",
        "//app.example.com/callback",
        "//evil.example/callback",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "https://user@app.example.com/callback",
        "https://app.example.com@evil.example/callback",
        "https://app.example.com.evil.example/callback",
        "https://evil.example/https://app.example.com/callback",
        "https://app.example.com%2eevil.example/callback",
        "https://app.example.com%2f%2fevil.example",
        "https://app\u{ff0e}example.com/callback",
        "https://app.example.com/callback/../evil",
        "https://app.example.com/callback%00",
        "https://app.example.com/callback\0",
        "https://app.example.com/callback ",
        " https://app.example.com/callback",
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "https://127.0.0.1/callback",
        "https://[::1]/callback",
        "https://app.example.com/callback;x",
        "https://app.example.com/callback\r\nX: y",
        "*",
        "https://*.example.com/callback",
        "https://xn--pp-example/callback",
        "callback",
    ] {
        let evil: String = url::form_urlencoded::byte_serialize(evil.as_bytes()).collect();
        for path in [
            format!("/sign-in?client_id={id}&redirect_uri={evil}&state=s"),
            format!(
                "/authorize?response_type=code&client_id={id}&redirect_uri={evil}&state=s&code_challenge={}&code_challenge_method=S256",
                "A".repeat(43)
            ),
        ] {
            for answer in [app.anyone().get(&path).await, app.anyone().send("POST", &path, "email=jane@doe.com").await]
            {
                assert_eq!((answer.status, answer.header("location")), (400, ""), "{path}");
            }
        }
    }
    let other = format!("/sign-in?client_id={}&redirect_uri={CALLBACK}", uuid::Uuid::nil());
    assert_eq!(app.anyone().get(&other).await.status, 400, "another app's address is not this one's");
    let twice = format!("/sign-in?client_id={id}&redirect_uri={CALLBACK}&redirect_uri=https://evil.example");
    assert_eq!(app.anyone().get(&twice).await.status, 400);
    assert_eq!(app.count("sign_ins").await, 0);
}

#[tokio::test]
async fn the_links_origin_is_the_public_url_whatever_the_request_says() {
    let (app, _) = app_and_jane().await;
    for lie in crate::public_url::LIES {
        let who = lie.headers.iter().fold(app.anyone(), |who, (name, value)| who.with(name, value));
        app.advance(Duration::from_hours(2));
        app.begin_as(&who, "jane@doe.com").await;
        let (_, mail) = app.mails().await.remove(0);
        assert!(mail.links[0].starts_with("https://users.example.com/sign-in/links/"), "{:?}", lie.headers);
        assert!(!mail.html.contains("evil") && !mail.text.contains("evil"), "{:?}", lie.headers);
    }
}

#[tokio::test]
async fn case_d8_who_held_a_record_before_its_mailbox_was_proven_holds_nothing_once_it_is() {
    for door in ["sign-in", "enrolment"] {
        let (app, id) = app_and_jane().await;
        // The attacker signs in by an address of their own, keeps whatever leads in, and then takes the victim's.
        let mine = app.exchange(&app.code().await).await.ok();
        let (access, refresh) = (text(&mine, "accessToken").to_owned(), text(&mine, "refreshToken").to_owned());
        app.advance(Duration::from_secs(1));
        let (browser, _) = app.begin("jane@doe.com").await;
        let (link, _) = app.newest_mail().await;
        let entered = browser.send("POST", &link, "").await;
        let session = entered.header("set-cookie").split(';').next().unwrap().to_owned();
        let (profile, unspent) = (app.anyone().with("Cookie", &session), code_of(&entered));
        app.advance(Duration::from_secs(1));
        let (waiting, _) = app.begin("jane@doe.com").await;
        let (unpressed, digits) = app.newest_mail().await;
        let me = app.anyone().with("Authorization", &format!("Bearer {access}"));
        me.put("/v1/users/me", json!({"user": {"email": "victim@doe.com"}})).await.ok();
        assert_eq!(app.as_token(&access).await, 200);
        assert!(profile.get("/profile").await.ok().text.contains("victim@doe.com"));
        assert!(app.user(&id).await.email_verified_at.is_none());

        // The attacker has a mail sent to the victim, from a browser of their own, and waits there.
        app.advance(Duration::from_secs(1));
        let (bait, _) = app.begin("victim@doe.com").await;
        let (bait_link, _) = app.newest_mail().await;
        app.advance(Duration::from_secs(1));
        let theirs = if door == "sign-in" {
            let (victim, _) = app.begin("victim@doe.com").await;
            let (link, _) = app.newest_mail().await;
            let code = code_of(&victim.send("POST", &link, "").await);
            text(&app.exchange(&code).await.ok(), "accessToken").to_owned()
        } else {
            let user: UserId = id.parse().unwrap();
            let links = app.app.api().links.clone();
            let send = move |tx: &usher::db::Tx| usher::links::send(tx, &links, &users::any_by_id(tx, user)?.unwrap());
            app.store().write(send).await.unwrap();
            let pressed = app.anyone().send("POST", &app.newest_link().await, "").await;
            assert_eq!(pressed.status, 303);
            app.token(&id).await
        };

        assert_eq!(app.as_token(&access).await, 401, "{door}: the access token");
        assert_eq!(app.refresh(&refresh).await.status, 400, "{door}: the refresh token");
        assert!(profile.get("/profile").await.text.contains("signed out"), "{door}: the browser's session");
        assert_eq!(app.exchange(&unspent).await.status, 400, "{door}: the code that was not exchanged");
        assert_eq!(waiting.send("POST", &unpressed, "").await.status, 410, "{door}: the link to the address before");
        let typed = waiting.send("POST", "/sign-in/code", format!("code={digits}")).await;
        assert_eq!(typed.status, 400, "{door}: and its digits");
        assert_eq!(bait.send("POST", &bait_link, "").await.status, 410, "{door}: the link that the attacker asked for");
        assert_eq!(app.as_token(&theirs).await, 200, "{door}: the victim is in");
        assert!(app.user(&id).await.email_verified_at.is_some());
    }
}

#[tokio::test]
async fn case_d8_who_is_in_charge_of_a_tenant_does_not_become_whom_they_invited_once_those_have_come_in() {
    let (app, _) = app_and_jane().await;
    let (id, _) = app.signed_up("attacker@doe.com").await;
    let attacker = app.person(&id).await;
    attacker.post("/v1/users/me", json!({"email": "vcitim@doe.com", "language": "en"})).await.ok();
    let found = attacker.get("/v1/users?email=vcitim%40doe.com").await.ok();
    let victim = found.body["data"]["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/users/{victim}");
    // What is nobody's yet can be mended.
    attacker.put(&path, json!({"user": {"email": "victim@doe.com"}})).await.ok();
    assert_eq!(app.anyone().send("POST", &app.newest_link().await, "").await.status, 303);

    let mine = json!({"user": {"email": "mine@doe.com"}});
    let refused = async |when: &str| {
        for method in ["PUT", "POST", "PATCH"] {
            let answer = attacker.send(method, &path, mine.to_string()).await;
            let text = "Only this person and the app may change their address";
            assert_eq!((answer.status, answer.error()), (403, text), "{when}: {method}");
        }
    };
    refused("proven").await;
    attacker.put(&path, json!({"user": {"email": "VICTIM@doe.com", "nickname": "V"}})).await.ok();
    let themselves = app.person(&victim).await;
    themselves.put("/v1/users/me", json!({"user": {"email": "victim.two@doe.com"}})).await.ok();
    assert!(app.user(&victim).await.email_verified_at.is_none());
    refused("moved by themselves, and not yet proven").await;
    assert_eq!(app.user(&victim).await.email.address(), "victim.two@doe.com");
    app.server().await.put(&path, json!({"user": {"email": "victim@doe.com"}})).await.ok();
    refused("moved by the app").await;
}

#[tokio::test]
async fn a_sign_in_of_one_environment_is_nothing_in_the_other() {
    let (app, _) = app_and_jane().await;
    app.partner_in(Kind::Live, None).await.post("/users/create", john()).await.ok();
    app.advance(Duration::from_secs(1));
    let before = app.mails().await.len();
    app.begin("john@doe.com").await;
    assert_eq!(app.mails().await.len(), before, "John is a user of the live environment only");
}

#[tokio::test]
async fn the_official_clients_logout_ends_the_browsers_session_and_what_the_app_holds() {
    let (app, _) = app_and_jane().await;
    let (browser, _) = app.begin("jane@doe.com").await;
    let (link, _) = app.newest_mail().await;
    let entered = browser.send("POST", &link, "").await;
    let session = entered.header("set-cookie").split(';').next().unwrap().to_owned();
    let tokens = app.exchange(&code_of(&entered)).await.ok();
    let access = text(&tokens, "accessToken");
    assert_eq!(app.as_token(access).await, 200);
    let left = browser.instead("Cookie", &session).get(&format!("{}&logout=true", app.sign_in_path())).await.ok();
    assert!(left.text.contains("You are signed out.") && left.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(app.as_token(access).await, 401);
    assert_eq!(app.refresh(text(&tokens, "refreshToken")).await.status, 400);
}

#[tokio::test]
async fn a_logout_ends_the_session_for_as_long_as_there_may_be_tokens_of_it_and_says_so_only_if_it_did() {
    let (app, _) = app_and_jane().await;
    let (browser, _) = app.begin("jane@doe.com").await;
    let (link, _) = app.newest_mail().await;
    let entered = browser.send("POST", &link, "").await;
    assert!(entered.header("set-cookie").contains("; Max-Age=2592000"), "{}", entered.header("set-cookie"));
    let here = browser.instead("Cookie", entered.header("set-cookie").split(';').next().unwrap());
    let tokens = app.exchange(&code_of(&entered)).await.ok();
    app.advance(Duration::from_hours(29 * 24));
    let tokens = app.refresh(text(&tokens, "refreshToken")).await.ok();
    assert!(here.get("/profile").await.ok().text.contains("signed out"), "it lets nobody in any more");

    let leave = format!("{}&logout=true", app.sign_in_path());
    let stranger = app.anyone().get(&leave).await.ok();
    assert!(!stranger.text.contains("You are signed out."), "{}", stranger.text);
    assert!(stranger.text.contains("signed out in this browser") && stranger.text.contains("Sign out everywhere"));
    assert!(stranger.text.contains("https://users.example.com/profile") && stranger.header("set-cookie").is_empty());
    assert_eq!(app.as_token(text(&tokens, "accessToken")).await, 200);

    let left = here.get(&leave).await.ok();
    assert!(left.text.contains("You are signed out.") && left.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(app.as_token(text(&tokens, "accessToken")).await, 401);
    assert_eq!(app.refresh(text(&tokens, "refreshToken")).await.status, 400);
}

#[tokio::test]
async fn who_comes_in_again_in_a_browser_leaves_no_session_behind_that_only_its_cookie_could_end() {
    for door in ["link", "digits", "enrolment"] {
        let (app, id) = app_and_jane().await;
        let elsewhere = app.exchange(&app.code().await).await.ok();
        app.advance(Duration::from_secs(1));
        let (browser, _) = app.begin("jane@doe.com").await;
        let (link, _) = app.newest_mail().await;
        let entered = browser.send("POST", &link, "").await;
        let session = entered.header("set-cookie").split(';').next().unwrap().to_owned();
        let before = app.exchange(&code_of(&entered)).await.ok();
        app.advance(Duration::from_secs(1));
        let again = if door == "enrolment" {
            let (user, links): (UserId, _) = (id.parse().unwrap(), app.app.api().links.clone());
            let send = move |tx: &usher::db::Tx| usher::links::send(tx, &links, &users::any_by_id(tx, user)?.unwrap());
            app.store().write(send).await.unwrap();
            app.anyone().with("Cookie", &session).send("POST", &app.newest_link().await, "").await
        } else {
            let (_, asked) = app.begin("jane@doe.com").await;
            let begun = asked.header("set-cookie").split(';').next().unwrap();
            let browser = app.anyone().with("Cookie", &format!("{session}; {begun}"));
            let (link, digits) = app.newest_mail().await;
            let (path, form) =
                if door == "link" { (link, String::new()) } else { ("/sign-in/code".into(), format!("code={digits}")) };
            browser.send("POST", &path, form).await
        };
        assert_eq!(again.status, 303, "{door}");
        assert_eq!(app.as_token(text(&before, "accessToken")).await, 401, "{door}");
        assert_eq!(app.refresh(text(&before, "refreshToken")).await.status, 400, "{door}");
        assert_eq!(app.as_token(text(&elsewhere, "accessToken")).await, 200, "{door}: another browser's goes on");
        assert_eq!(app.count("sessions WHERE ended_at IS NULL").await, 2, "{door}");
        assert_eq!(app.audited(usher::audit::Action::SessionEnded).await.len(), 1, "{door}");
    }
}

#[tokio::test]
async fn a_begun_sign_in_looks_the_same_whatever_becomes_of_who_has_the_address() {
    for what in ["nothing", "activated", "frozen", "deleted", "erased", "moved"] {
        let (app, id) = app_and_jane().await;
        let enrolled = app.newest_link().await;
        let (browser, _) = app.begin("jane@doe.com").await;
        let (nobodys, _) = app.begin("nobody@doe.com").await;
        let (link, digits) = app.newest_mail().await;
        let user: UserId = id.parse().unwrap();
        let server = app.server().await;
        match what {
            "activated" => assert_eq!(app.anyone().send("POST", &enrolled, "").await.status, 303),
            "frozen" => _ = app.store().write(move |tx| users::set_status(tx, user, Status::Frozen)).await.unwrap(),
            "deleted" => _ = app.store().write(move |tx| users::set_status(tx, user, Status::Deleted)).await.unwrap(),
            "erased" => _ = server.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok(),
            "moved" => _ = server.put(&format!("/v1/users/{id}"), json!({"user": {"email": "j@roe.com"}})).await.ok(),
            _ => {}
        }
        let look = async |browser: &Client<'_>| {
            let page = browser.get("/sign-in/code").await;
            let wrong =
                browser.send("POST", "/sign-in/code", format!("code={}", if digits == "1" { 2 } else { 1 })).await;
            let again = browser.get("/sign-in/code").await;
            [page, wrong, again].map(|answer| (answer.status, answer.text))
        };
        assert_eq!(look(&browser).await, look(&nobodys).await, "{what}");
        let right = browser.send("POST", "/sign-in/code", format!("code={digits}")).await;
        if what == "nothing" {
            assert_eq!(right.status, 303);
            continue;
        }
        let guess = nobodys.send("POST", "/sign-in/code", format!("code={digits}")).await;
        assert_eq!((right.status, &right.text), (guess.status, &guess.text), "{what}");
        for answer in [browser.get(&link).await, browser.send("POST", &link, "").await] {
            assert_eq!(answer.status, 410, "{what}: who has the mail may know");
        }
    }
}

#[tokio::test]
async fn wrong_digits_stand_in_the_trail_of_whom_they_were_for() {
    let (app, id) = app_and_jane().await;
    let (browser, _) = app.begin("jane@doe.com").await;
    app.newest_mail().await;
    for _ in 0..7 {
        browser.send("POST", "/sign-in/code", "code=x").await;
    }
    let (nobodys, _) = app.begin("nobody@doe.com").await;
    app.mails().await;
    nobodys.send("POST", "/sign-in/code", "code=x").await;
    let user: UserId = id.parse().unwrap();
    let trail = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap();
    assert_eq!(trail.iter().filter(|entry| entry.result == "wrong_code").count(), 5);
    assert_eq!(app.count("audit WHERE result = 'wrong_code'").await, 6);
}

#[tokio::test]
async fn proving_a_mailbox_is_a_change_of_the_record() {
    let (app, id) = app_and_jane().await;
    let before = app.user(&id).await;
    assert_eq!(app.anyone().send("POST", &app.newest_link().await, "").await.status, 303);
    let after = app.user(&id).await;
    assert!(after.updated_at > before.updated_at && after.version > before.version);
}

#[tokio::test]
async fn a_sign_in_that_cannot_be_read_keeps_nobody_elses_mail() {
    let (app, _) = app_and_jane().await;
    app.begin("john@doe.com").await;
    app.tamper("UPDATE sign_ins SET request = hash");
    app.advance(Duration::from_secs(1));
    app.begin("jane@doe.com").await;
    let (link, _) = app.newest_mail().await;
    assert!(link.starts_with("/sign-in/links/"), "{link}");
    assert_eq!(app.count("sign_ins WHERE decided_at IS NULL").await, 0);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_nobody_elses_erasure_or_mail() {
    let (app, id) = app_and_jane().await;
    let other = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    app.advance(Duration::from_secs(1));
    app.begin("jane@doe.com").await;
    app.begin("john@doe.com").await;
    let nothing = if crate::cluster::on_postgres() { "'\\x00'::bytea" } else { "x'00'" };
    app.tamper(&format!("UPDATE users SET health = {nothing} WHERE email = 'jane@doe.com'"));
    let before = app.store().read(|tx| usher::outbox::newest_mails(tx, 1000)).await.unwrap().len();
    usher::app::decide(app.app.api()).await.unwrap();
    assert_eq!(app.store().read(|tx| usher::outbox::newest_mails(tx, 1000)).await.unwrap().len(), before + 1);

    app.tamper("UPDATE users SET deleted_at = 1");
    usher::app::erase_expired(app.app.api()).await;
    assert_eq!(app.count("users").await, 1, "John is gone");
    let left = app.store().read(|tx| tx.query("SELECT id FROM users", &[])).await.unwrap();
    assert_eq!(left[0].get::<uuid::Uuid>(0).unwrap().to_string(), id);
    assert_ne!(other, id);
}
