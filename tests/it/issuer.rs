//! Who issues tokens is a setting: of the environment at the official clients' door, the public URL at the standard one. What
//! either is, stands in all that is issued there, and nothing is taken that another has issued.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use usher::app::App;
use usher::apps::{self, DEFAULT_ISSUER, Kind, Settings};
use usher::links::Links;
use usher::secret::sha256;

use crate::harness::{Answer, Folder, OPERATOR, TestApp, jane};
use crate::program::Program;
use crate::signin::{CALLBACK, app_and_jane, code_of, text};
use crate::tokens::{claims, kid};

const OTHER: &str = "https://id.acme.example";

impl TestApp {
    async fn set_issuer(&self, issuer: &str) {
        let (app, settings) = (self.client_id, Settings { issuer: Some(issuer.to_owned()), ..Settings::default() });
        self.store().write(move |tx| apps::update(tx, OPERATOR, app, Some(Kind::Sandbox), &settings)).await.unwrap();
    }
}

#[tokio::test]
async fn the_environments_issuer_is_in_both_tokens_and_those_of_another_are_refused() {
    let (app, _) = app_and_jane().await;
    let of = async |issuer: &str| {
        app.set_issuer(issuer).await;
        let exchanged = app.exchange(&app.code().await).await.ok();
        let refreshed = app.refresh(text(&exchanged, "refreshToken")).await.ok();
        for answer in [&exchanged, &refreshed] {
            for token in ["accessToken", "idToken"] {
                assert_eq!(claims(text(answer, token))["iss"], issuer, "{token}");
            }
        }
        text(&refreshed, "accessToken").to_owned()
    };
    let usual = of(DEFAULT_ISSUER).await;
    let other = of(OTHER).await;
    assert_eq!(kid(&usual), kid(&other), "nothing else tells them apart");
    assert_eq!((app.as_token(&usual).await, app.as_token(&other).await), (401, 200));
    app.set_issuer(DEFAULT_ISSUER).await;
    assert_eq!((app.as_token(&usual).await, app.as_token(&other).await), (200, 401));
}

/// What an app is granted whose person signs in at the standard door of that server, and who its page is told has done so.
async fn granted(app: &TestApp, server: &App) -> (Answer, String) {
    let verifier = "a-verifier-of-at-least-forty-three-characters-0123";
    let challenge = BASE64URL.encode(sha256(verifier.as_bytes()));
    let (client, anyone) = (app.client_id, app.anyone().at(server));
    let path = format!(
        "/authorize?client_id={client}&redirect_uri={CALLBACK}&state=s&nonce=n&scope=openid&response_type=code\
         &code_challenge={challenge}&code_challenge_method=S256"
    );
    app.advance(Duration::from_secs(1));
    let begun = anyone.send("POST", &path, "email=jane@doe.com").await;
    let browser = anyone.with("Cookie", begun.header("set-cookie").split(';').next().unwrap());
    let (link, _) = app.newest_mail().await;
    let entered = browser.send("POST", &link, "").await;
    let code = code_of(&entered);
    let back: url::Url = entered.header("location").parse().unwrap();
    let issuer = back.query_pairs().find(|(name, _)| name == "iss").unwrap().1.into_owned();
    let form = format!(
        "grant_type=authorization_code&client_id={client}&redirect_uri={CALLBACK}&code={code}&code_verifier={verifier}"
    );
    (anyone.send("POST", "/oauth/token", form).await.ok(), issuer)
}

#[tokio::test]
async fn the_public_url_is_the_issuer_that_discovery_tells_that_is_in_both_tokens_and_that_is_taken() {
    let (app, _) = app_and_jane().await;
    let links = Links { public_url: OTHER.parse().unwrap(), lifetime: app.app.api().links.lifetime };
    let moved = App::new(app.another_store().await, links, None);
    let mut tokens = Vec::new();
    for (server, url) in [(&app.app, "https://users.example.com"), (&moved, OTHER)] {
        let anyone = app.anyone().at(server);
        let live = anyone.get("/.well-known/openid-configuration").await.ok().body;
        assert_eq!(live["issuer"], url);
        let sandbox = anyone.get("/sandbox/.well-known/openid-configuration").await.ok().body;
        let issuer = format!("{url}/sandbox");
        assert_eq!(
            (&sandbox["issuer"], &sandbox["token_endpoint"]),
            (&json!(issuer), &json!(format!("{url}/oauth/token")))
        );
        let (answer, told) = granted(&app, server).await;
        assert_eq!(told, issuer);
        for token in ["access_token", "id_token"] {
            assert_eq!(claims(text(&answer, token))["iss"], json!(issuer), "{token}");
        }
        let refresh = text(&answer, "refresh_token");
        let form = format!("grant_type=refresh_token&client_id={}&refresh_token={refresh}", app.client_id);
        let next = anyone.send("POST", "/oauth/token", form).await.ok();
        assert_eq!(claims(text(&next, "id_token"))["iss"], json!(issuer));
        tokens.push(text(&next, "access_token").to_owned());
    }
    for (number, server) in [&app.app, &moved].into_iter().enumerate() {
        for (issued_by, token) in tokens.iter().enumerate() {
            let person = app.anyone().at(server).with("Authorization", &format!("Bearer {token}"));
            let expected = if number == issued_by { 200 } else { 401 };
            assert_eq!(person.get("/userinfo").await.status, expected, "of {issued_by} at {number}");
        }
    }
}

#[test]
fn the_operator_sets_them_by_an_option_and_a_variable_and_the_server_keeps_to_it() {
    let server = Program::start_with(Folder::new(), &[("USHER_PUBLIC_URL", OTHER)], &[]);
    let described = server.call("GET", "/.well-known/openid-configuration", &Value::Null).1;
    assert_eq!(described["issuer"], OTHER);
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let token = || server.json(&["token", "create", "--user", &id])["accessToken"].as_str().unwrap().to_owned();
    let me = |token: &str| server.call_as(token, "GET", "/v1/users/me", &Value::Null).0;
    let usual = token();
    assert_eq!((&claims(&usual)["iss"], me(&usual)), (&json!(DEFAULT_ISSUER), 200));
    let place = ["--environment", "sandbox", "--issuer", "https://issuer.acme.example"];
    server.json(&[&["app", "update", &server.client_id], &place[..]].concat());
    let other = token();
    assert_eq!((&claims(&other)["iss"], me(&other), me(&usual)), (&json!("https://issuer.acme.example"), 200, 401));
}
