//! The sessions of one browser: one for each app, and what an app learns of them without a person being asked.

use std::time::Duration;

use serde_json::json;
use usher::apps::{self, AppId, Kind, Settings};
use usher::db::Tx;
use usher::keys::{self, NewKey};
use usher::tokens::SigningKey;

use crate::harness::{Answer, Client, TestApp, a_key, jane};
use crate::signin::{CALLBACK, app_and_jane, code_of, text};
use crate::tokens::kid;

/// Where another app has its page.
const OTHER: &str = "https://other.example.com/callback";

/// The cookies that an answer sets, without what is said of them.
fn cookies(answer: &Answer) -> Vec<String> {
    let set = answer.headers.get_all("set-cookie").iter();
    set.map(|value| value.to_str().unwrap().split(';').next().unwrap().to_owned()).collect()
}

impl TestApp {
    /// Another app, of which Jane is a user too.
    async fn another_app(&self) -> AppId {
        let pairs = [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()];
        let settings = Settings { name: Some("Other".into()), ..Settings::default() };
        let make = move |tx: &Tx| {
            let app = apps::create(tx, &settings, &pairs)?.id;
            let sandbox = apps::environment(tx, app, Kind::Sandbox)?;
            apps::add_redirect_uri(tx, &sandbox, OTHER)?;
            let new = NewKey { tenant: Some("other".into()), ..a_key() };
            Ok((app, keys::create(tx, &sandbox, &new)?.1))
        };
        let (app, key) = self.store().write(make).await.unwrap();
        let partner = self.anyone().with("Authorization", &format!("Bearer {}", key.expose()));
        partner.post("/users/create", jane()).await.ok();
        app
    }

    /// Signs Jane in by mail at that address; what the button's press is answered.
    async fn enter(&self, path: &str) -> Answer {
        self.advance(Duration::from_secs(1));
        let begun = self.anyone().send("POST", path, "email=jane%40doe.com").await;
        let browser = self.anyone().with("Cookie", &cookies(&begun)[0]);
        let (link, _) = self.newest_mail().await;
        browser.send("POST", &link, "").await
    }

    fn browser(&self, answers: &[&Answer]) -> Client<'_> {
        let all: Vec<String> = answers.iter().flat_map(|answer| cookies(answer)).collect();
        self.anyone().with("Cookie", &all.join("; "))
    }
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
    assert!(page.text.contains("Your profile") && page.text.contains("<p class=\"brand\">Other</p>"), "{}", page.text);
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
