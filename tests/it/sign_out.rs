//! Signing out because an app says so (OpenID Connect RP-Initiated Logout 1.0): when nobody need be asked, and where people are
//! sent then.

use std::time::Duration;

use serde_json::json;
use usher::apps::{self, Kind};
use usher::audit::Action;
use usher::db::Tx;
use usher::tokens::signing::{self, SigningKey};

use crate::harness::{Answer, OPERATOR, TestApp, john};
use crate::sessions::{OTHER, cookies};
use crate::signin::{CALLBACK, app_and_jane, code_of, text};
use crate::tokens::kid;

impl TestApp {
    /// How many sessions there are.
    async fn signed_in(&self) -> i64 {
        self.count("sessions WHERE ended_at IS NULL").await
    }
}

/// Where an app sends people to sign out, with its page to come back to.
fn sign_out_path(more: &str) -> String {
    format!("/sign-out?post_logout_redirect_uri={CALLBACK}&state=bye{more}")
}

/// Where the page's only form leads.
#[track_caller]
fn action(page: &Answer) -> String {
    assert_eq!((page.status, page.header("location")), (200, ""), "{}", page.text);
    let action = page.text.split("action=\"").nth(1).expect("a form").split('"').next().unwrap();
    action.replace("&#38;", "&")
}

#[tokio::test]
async fn with_a_token_of_whoever_is_signed_in_their_session_ends_at_once_and_the_app_has_them_back() {
    let (app, _) = app_and_jane().await;
    let other = app.another_app().await;
    let entered = app.enter(&app.sign_in_path()).await;
    let elsewhere = app.enter(&format!("/sign-in?client_id={other}&redirect_uri={OTHER}&type=signIn")).await;
    let tokens = app.exchange(&code_of(&entered)).await.ok();
    let browser = app.browser(&[&entered, &elsewhere]);
    // The token has expired, the session has not.
    app.advance(Duration::from_hours(2));
    assert_eq!(app.signed_in().await, 2);

    let path = sign_out_path(&format!("&id_token_hint={}", text(&tokens, "idToken")));
    let left = browser.get(&path).await;
    let back = format!("{CALLBACK}?state=bye");
    assert_eq!((left.status, left.header("location")), (303, back.as_str()));
    let name = cookies(&entered)[0].split('=').next().unwrap().to_owned();
    assert_eq!(cookies(&left), [format!("{name}=")]);
    assert_eq!((app.signed_in().await, app.audited(Action::SessionEnded).await.len()), (1, 1));
    assert_eq!(app.refresh(text(&tokens, "refreshToken")).await.status, 400);
    let profile = format!("/profile?client_id={other}&environment=sandbox");
    assert!(browser.get(&profile).await.ok().text.contains("Your profile"), "the other app's session goes on");

    let again = browser.get(&path).await;
    assert_eq!((again.status, again.header("location")), (303, back.as_str()), "who has left already is not asked");
    let home = browser.get(&format!("/sign-out?id_token_hint={}", text(&tokens, "idToken"))).await;
    let profile = format!("/profile?client_id={}&environment=sandbox", app.client_id);
    assert_eq!((home.status, home.header("location")), (303, profile.as_str()), "without an address they stay here");
}

#[tokio::test]
async fn the_token_of_somebody_with_long_names_in_another_script_says_whom_the_app_means_too() {
    let (app, id) = app_and_jane().await;
    let names = ["name", "given_name", "family_name", "middle_name", "nickname", "preferred_username"];
    let long: serde_json::Map<_, _> = names.into_iter().map(|name| (name.to_owned(), json!("я".repeat(256)))).collect();
    app.server().await.put(&format!("/v1/users/{id}"), json!({ "user": long })).await.ok();
    let entered = app.enter(&app.sign_in_path()).await;
    let tokens = app.exchange(&code_of(&entered)).await.ok();
    let token = text(&tokens, "idToken");
    assert!(token.len() > 8192, "{}", token.len());
    let left = app.browser(&[&entered]).get(&sign_out_path(&format!("&id_token_hint={token}"))).await;
    assert_eq!((left.status, left.header("location")), (303, format!("{CALLBACK}?state=bye").as_str()));
    assert_eq!((app.signed_in().await, app.as_token(text(&tokens, "accessToken")).await), (0, 401));
}

#[tokio::test]
async fn without_a_token_of_whoever_is_signed_in_they_are_asked_and_only_our_own_page_can_answer() {
    let (app, _) = app_and_jane().await;
    let john = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    let johns = app.token(&john).await;
    for hint in ["", &johns, "made-up", &format!("{johns}x")] {
        // So that there may be a mail for each.
        app.advance(Duration::from_hours(1));
        let browser = app.browser(&[&app.enter(&app.sign_in_path()).await]);
        let before = app.signed_in().await;
        let more = format!("&client_id={}&id_token_hint={hint}", app.client_id);
        let page = browser.get(&sign_out_path(&more)).await;
        let answer = action(&page);
        assert!(page.text.contains("Sign out of Acme Coaching?"), "{}", page.text);
        assert!(hint.is_empty() || !page.text.contains(hint), "the page holds no token");
        assert!(page.header("content-security-policy").ends_with("; frame-ancestors 'none'"));
        let foreign = browser.with("Sec-Fetch-Site", "cross-site").send("POST", &answer, "").await;
        assert_eq!(action(&foreign), answer, "another site's form is no answer, so they are asked again");
        assert_eq!(app.signed_in().await, before, "nobody has answered yet");
        let left = browser.with("Sec-Fetch-Site", "same-origin").send("POST", &answer, "").await;
        assert_eq!((left.status, left.header("location")), (303, format!("{CALLBACK}?state=bye").as_str()));
        assert_eq!(app.signed_in().await, before - 1);
    }

    // Of which app is not said: then it is about all of this browser.
    let browser = app.browser(&[&app.enter(&app.sign_in_path()).await]);
    let page = browser.get("/sign-out").await;
    assert!(page.header("content-security-policy").ends_with("; form-action 'self'"), "the answer stays here");
    assert!(page.text.contains("<h1>Sign out of every app in this browser?</h1>"), "{}", page.text);
    let before = app.signed_in().await;
    assert_eq!(browser.send("POST", &action(&page), "").await.header("location"), "/profile");
    assert_eq!(app.signed_in().await, before - 1);
}

#[tokio::test]
async fn an_app_may_post_what_it_asks_and_the_person_then_says_so_themselves() {
    let (app, _) = app_and_jane().await;
    let entered = app.enter(&app.sign_in_path()).await;
    let tokens = app.exchange(&code_of(&entered)).await.ok();
    let token = text(&tokens, "idToken");
    let form = format!("id_token_hint={token}&post_logout_redirect_uri={CALLBACK}&state=bye");
    // A form of another site brings no cookie along.
    let foreign = app.anyone().with("Sec-Fetch-Site", "cross-site");
    let page = foreign.send("POST", "/sign-out", form).await;
    let answer = action(&page);
    assert!(!answer.contains(token) && !page.text.contains(token));
    let nothing = app.browser(&[&entered]).with("Sec-Fetch-Site", "cross-site").send("POST", "/sign-out", "").await;
    assert_eq!((action(&nothing).as_str(), app.signed_in().await), ("/sign-out?", 1), "no field is required");
    let left = app.browser(&[&entered]).with("Sec-Fetch-Site", "same-origin").send("POST", &answer, "").await;
    assert_eq!((left.header("location"), app.signed_in().await), (format!("{CALLBACK}?state=bye").as_str(), 0));
}

#[tokio::test]
async fn a_token_ends_its_own_session_and_no_other_where_no_cookie_comes_along() {
    let (app, _) = app_and_jane().await;
    let entered = app.enter(&app.sign_in_path()).await;
    let tokens = app.exchange(&code_of(&entered)).await.ok();
    let elsewhere = app.enter(&app.sign_in_path()).await;
    let elsewhere = app.exchange(&code_of(&elsewhere)).await.ok();
    assert_eq!(app.signed_in().await, 2);
    // Others than the app see the access token.
    let by_another =
        app.anyone().get(&sign_out_path(&format!("&id_token_hint={}", text(&tokens, "accessToken")))).await;
    assert_eq!((by_another.status, app.signed_in().await), (400, 2), "{}", by_another.text);
    let path = sign_out_path(&format!("&id_token_hint={}", text(&tokens, "idToken")));
    for _ in 0..2 {
        let left = app.anyone().get(&path).await;
        assert_eq!((left.status, left.header("location")), (303, format!("{CALLBACK}?state=bye").as_str()));
        assert_eq!((app.signed_in().await, app.audited(Action::SessionEnded).await.len()), (1, 1));
    }
    assert_eq!(app.refresh(text(&tokens, "refreshToken")).await.status, 400);
    assert_eq!(app.as_token(text(&elsewhere, "accessToken")).await, 200);
}

#[tokio::test]
async fn a_token_of_an_earlier_session_ends_that_one_and_the_browsers() {
    let (app, _) = app_and_jane().await;
    let entered = app.enter(&app.sign_in_path()).await;
    let tokens = app.exchange(&code_of(&entered)).await.ok();
    // The cookies were cleared meanwhile.
    let later = app.enter(&app.sign_in_path()).await;
    assert_eq!(app.signed_in().await, 2);
    let path = sign_out_path(&format!("&id_token_hint={}", text(&tokens, "idToken")));
    assert_eq!(app.browser(&[&later]).get(&path).await.status, 303);
    assert_eq!(app.signed_in().await, 0);
    assert_eq!(app.refresh(text(&tokens, "refreshToken")).await.status, 400);
}

#[tokio::test]
async fn a_token_of_a_key_that_signs_no_more_still_signs_out_and_one_of_a_revoked_key_says_nothing() {
    let (app, _) = app_and_jane().await;
    let entered = app.enter(&app.sign_in_path()).await;
    let tokens = app.exchange(&code_of(&entered)).await.ok();
    let (client, next) = (app.client_id, SigningKey::generate().unwrap());
    let rotate = move |tx: &Tx| {
        signing::rotate(tx, OPERATOR, apps::environment(tx, client, Kind::Sandbox)?.id, &next, Duration::ZERO)
    };
    app.store().write(rotate).await.unwrap();
    // The key before verifies no access token any more, the session goes on.
    app.advance(Duration::from_hours(24));
    let token = text(&tokens, "idToken");
    let (browser, path) = (app.browser(&[&entered]), sign_out_path(&format!("&id_token_hint={token}")));
    let left = browser.get(&path).await;
    assert_eq!((left.status, left.header("location")), (303, format!("{CALLBACK}?state=bye").as_str()));
    assert_eq!(app.signed_in().await, 0);

    let (old, emergency) = (kid(token), SigningKey::generate().unwrap());
    app.store().write(move |tx| signing::revoke(tx, OPERATOR, &old, &emergency)).await.unwrap();
    let refused = browser.get(&path).await;
    assert_eq!((refused.status, refused.header("location")), (400, ""));
    assert!(refused.text.contains("send client_id"), "{}", refused.text);
}

#[tokio::test]
async fn with_a_client_id_alone_they_are_asked_and_leave_both_environments_of_that_app() {
    let (app, _) = app_and_jane().await;
    let (client, other) = (app.client_id, app.another_app().await);
    let entered = app.enter(&app.sign_in_path()).await;
    let made_up = [client, other].map(|app| format!("__Host-usher_session_live_{app}=x")).join("; ");
    let browser = app.anyone().with("Cookie", &format!("{}; {made_up}", cookies(&entered)[0]));
    let page = browser.get(&format!("/sign-out?client_id={client}")).await;
    assert!(page.text.contains("Sign out of Acme Coaching?"), "{}", page.text);
    let left = browser.send("POST", &action(&page), "").await;
    let gone = ["sandbox", "live"].map(|kind| format!("__Host-usher_session_{kind}_{client}="));
    assert_eq!((cookies(&left), app.signed_in().await), (gone.to_vec(), 0));
    let profile = format!("/profile?client_id={client}&environment=live");
    assert_eq!((left.status, left.header("location")), (303, profile.as_str()));
}

#[tokio::test]
async fn what_an_app_may_not_ask_is_said_on_a_page_and_signs_nobody_out_and_leads_nowhere() {
    const LIVE: &str = "https://app.example.com/live";
    let (app, _) = app_and_jane().await;
    let other = app.another_app().await;
    app.register(Kind::Live, LIVE).await;
    let entered = app.enter(&app.sign_in_path()).await;
    let tokens = app.exchange(&code_of(&entered)).await.ok();
    let (client, token) = (app.client_id, text(&tokens, "idToken"));
    let browser = app.browser(&[&entered]);
    let to = |uri: &str| format!("id_token_hint={token}&post_logout_redirect_uri={uri}");
    for (query, error) in [
        (to("https://evil.example.com/"), "unknown_redirect_uri"),
        (to(&format!("{CALLBACK}/")), "unknown_redirect_uri"),
        (to(&format!("{CALLBACK}%00")), "unknown_redirect_uri"),
        (to(OTHER), "unknown_redirect_uri"),
        (to(LIVE), "unknown_redirect_uri"),
        (format!("post_logout_redirect_uri={CALLBACK}"), "invalid_request"),
        (format!("id_token_hint=made-up&post_logout_redirect_uri={CALLBACK}"), "invalid_request"),
        (format!("client_id={client}&environment=live&post_logout_redirect_uri={OTHER}"), "unknown_redirect_uri"),
        (format!("client_id={other}&{}", to(CALLBACK)), "invalid_request"),
        (format!("{}&state={}", to(CALLBACK), "x".repeat(2049)), "invalid_request"),
        ("client_id=x".to_owned(), "invalid_client"),
        (format!("client_id={}", usher::random::uuid()), "invalid_client"),
    ] {
        let path = format!("/sign-out?{query}");
        for answer in [browser.get(&path).await, browser.send("POST", &path, "").await] {
            assert_eq!((answer.status, answer.header("location")), (400, ""), "{query}");
            assert!(answer.text.contains(&format!("{error}: ")), "{query}: {}", answer.text);
        }
        assert_eq!(app.signed_in().await, 1, "{query}");
    }
}

#[tokio::test]
async fn both_discovery_documents_say_where_people_sign_out() {
    let (app, _) = app_and_jane().await;
    for path in ["", "/sandbox"] {
        let found = app.anyone().get(&format!("{path}/.well-known/openid-configuration")).await.ok();
        // Without a query, for many clients append theirs as it is.
        assert_eq!(found.body["end_session_endpoint"], json!("https://users.example.com/sign-out"));
    }
}
