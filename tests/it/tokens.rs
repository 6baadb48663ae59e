//! Tokens: what apps get for a code, how they refresh, and when it ends.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use usher::apps::{self, Kind, Settings};
use usher::audit::Action;
use usher::caller::Actor;
use usher::secret::sha256;
use usher::users::{self, Status, UserId};

use crate::harness::{Answer, But, OPERATOR};
use crate::signin::{CALLBACK, app_and_jane, code_of, text};

/// The `kid` of a token.
pub fn kid(token: &str) -> String {
    let header = BASE64URL.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

/// The claims of a token.
pub fn claims(token: &str) -> Value {
    serde_json::from_slice(&BASE64URL.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_code_is_exchanged_once_for_a_flat_answer_with_the_nonce_in_the_id_token() {
    let (app, id) = app_and_jane().await;
    let code = app.code().await;
    let answer = app.exchange(&code).await.ok();
    let names: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["accessToken", "idToken", "expiresIn", "tokenType", "redirectUri", "refreshToken"]);
    assert_eq!((&answer.body["expiresIn"], text(&answer, "redirectUri")), (&json!(3600), CALLBACK));
    let identity = claims(text(&answer, "idToken"));
    assert_eq!(
        (&identity["nonce"], &identity["sub"], &identity["aud"]),
        (&json!("n-1"), &json!(id), &json!(app.client_id))
    );
    assert_eq!(
        (&identity["email"], &identity["email_verified"], &identity["given_name"]),
        (&json!("jane@doe.com"), &json!(true), &json!("jane"))
    );
    assert_eq!(identity["iss"], apps::DEFAULT_ISSUER);
    for health in ["sex", "diabetes", "allergies", "metadata", "psc"] {
        assert!(identity.get(health).is_none(), "{health}");
    }
    assert_eq!(app.as_token(text(&answer, "accessToken")).await, 200);
    assert_eq!(app.as_token(text(&answer, "idToken")).await, 401, "an ID token opens nothing");

    let again = app.exchange(&code).await;
    assert_eq!((again.status, &again.body["error"]), (400, &json!("invalid_grant")));
    assert_eq!(app.as_token(text(&answer, "accessToken")).await, 200, "a page that is loaded twice asks twice");
    app.advance(Duration::from_secs(10));
    app.exchange(&code).await;
    assert_eq!(app.as_token(text(&answer, "accessToken")).await, 401, "somebody else may have the code");
    assert_eq!(app.audited(Action::SessionEnded).await[0].actor, Some(Actor::Usher));
}

#[tokio::test]
async fn a_code_is_for_its_app_its_page_and_a_minute() {
    let (app, _) = app_and_jane().await;
    let code = app.code().await;
    for (name, value) in [
        ("client_id", json!(uuid::Uuid::nil())),
        ("redirect_uri", json!("https://evil.example/callback")),
        ("redirect_uri", json!("")),
        ("code_verifier", json!("nobody asked for one")),
        ("code", json!(format!("{}A", &code[..63]))),
        ("code", json!("nonsense")),
    ] {
        let answer = app.anyone().post("/v1/tokens", app.exchange_body(&code).but(name, value)).await;
        assert_eq!((answer.status, &answer.body["error"]), (400, &json!("invalid_grant")), "{name}");
    }
    app.exchange(&code).await.ok();
    let late = app.code().await;
    app.advance(Duration::from_mins(1));
    assert_eq!(app.exchange(&late).await.status, 400);
    let slash = app.code().await;
    let body = app.exchange_body(&slash).but("redirect_uri", json!(format!("{CALLBACK}/")));
    assert_eq!(text(&app.anyone().post("/v1/tokens", body).await.ok(), "redirectUri"), CALLBACK);
}

#[tokio::test]
async fn the_code_of_an_enrolment_link_is_exchanged_too() {
    let (app, id) = app_and_jane().await;
    let client = app.client_id;
    let settings = Settings { redirect_url: Some(format!("{CALLBACK}?from=mail")), ..Settings::default() };
    app.store().write(move |tx| apps::update(tx, OPERATOR, client, Some(Kind::Sandbox), &settings)).await.unwrap();
    let code = code_of(&app.anyone().send("POST", &app.newest_link().await, "").await);
    let answer = app.exchange(&code).await.ok();
    assert_eq!(claims(text(&answer, "accessToken"))["sub"], id);
}

#[tokio::test]
async fn a_refresh_token_works_once_and_an_old_one_ends_the_session() {
    let (app, _) = app_and_jane().await;
    let first = app.exchange(&app.code().await).await.ok();
    let one = text(&first, "refreshToken").to_owned();
    app.advance(Duration::from_mins(50));
    let second = app.refresh(&one).await.ok();
    let two = text(&second, "refreshToken").to_owned();
    assert_ne!(one, two);
    assert_eq!(text(&app.refresh(&one).await.ok(), "refreshToken"), two, "a client that races itself gets the same");
    let third = app.refresh(&two).await.ok();
    let three = text(&third, "refreshToken").to_owned();
    let access = text(&third, "accessToken").to_owned();
    assert_eq!(app.as_token(&access).await, 200);
    app.advance(Duration::from_secs(11));
    assert_eq!(app.refresh(&one).await.status, 400);
    assert_eq!(app.refresh(&three).await.status, 400, "the family is revoked");
    assert_eq!(app.as_token(&access).await, 401);
    let ended = app.audited(Action::SessionEnded).await;
    assert_eq!((ended.len(), ended[0].actor), (1, Some(Actor::Usher)), "nobody knows who came with the old one");
}

#[tokio::test]
async fn of_50_simultaneous_refreshes_one_wins_and_all_hear_of_it() {
    let (app, _) = app_and_jane().await;
    let first = app.exchange(&app.code().await).await.ok();
    let token = text(&first, "refreshToken");
    let other = app.another_server().await;
    let body = app.exchange_body("").but("refresh_token", json!(token));
    let refresh = async |n: usize| {
        let client = if n.is_multiple_of(2) { app.anyone() } else { app.anyone().at(&other) };
        client.post("/v1/tokens", body.clone()).await.ok()
    };
    let answers = futures_util::future::join_all((0..50).map(refresh)).await;
    let next: std::collections::BTreeSet<&str> = answers.iter().map(|answer| text(answer, "refreshToken")).collect();
    assert_eq!(next.len(), 1);
    let generation = app.store().read(|tx| tx.query("SELECT generation FROM sessions", &[])).await.unwrap();
    assert_eq!(generation[0].get::<i64>(0).unwrap(), 2);
    app.refresh(next.first().unwrap()).await.ok();
}

#[tokio::test]
async fn made_up_refresh_tokens_do_not_work_and_end_nobodys_session() {
    let (app, _) = app_and_jane().await;
    let first = app.exchange(&app.code().await).await.ok();
    let token = text(&first, "refreshToken");
    let bytes = BASE64URL.decode(token).unwrap();
    for changed in [16, 30, 43, 47] {
        let mut forged = bytes.clone();
        forged[changed] ^= 1;
        assert_eq!(app.refresh(&BASE64URL.encode(forged)).await.status, 400);
    }
    let other = app.exchange_body("").but("refresh_token", json!(token)).but("client_id", json!(uuid::Uuid::nil()));
    assert_eq!(app.anyone().post("/v1/tokens", other).await.status, 400, "another app's");
    app.advance(Duration::from_hours(30 * 24 - 1));
    let last = app.refresh(token).await.ok();
    app.advance(Duration::from_hours(1));
    assert_eq!(app.refresh(text(&last, "refreshToken")).await.status, 400, "after 30 days the person signs in again");
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_or_all_by_the_person_and_by_the_app() {
    let (app, id) = app_and_jane().await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(text(&app.exchange(&app.code().await).await.ok(), "accessToken").to_owned());
    }
    let me = app.anyone().with("Authorization", &format!("Bearer {}", tokens[0]));
    let list = me.get("/v1/users/me/sessions").await.ok();
    assert_eq!((&list.body["data"]["kind"], &list.body["data"]["itemsLength"]), (&json!("session"), &json!(3)));
    let current = |list: &Answer| {
        let items = list.body["data"]["items"].as_array().unwrap().clone();
        items.into_iter().filter(|one| one["current"] == true).map(|one| one["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(current(&list), [claims(&tokens[0])["sid"].clone()]);
    assert_eq!(current(&app.server().await.get(&format!("/v1/users/{id}/sessions")).await.ok()), Vec::<Value>::new());
    let second = claims(&tokens[1])["sid"].as_str().unwrap().to_owned();
    me.send("DELETE", &format!("/v1/users/me/sessions/{second}"), "").await.ok();
    assert_eq!((app.as_token(&tokens[1]).await, app.as_token(&tokens[2]).await), (401, 200));
    let unknown = me.send("DELETE", &format!("/v1/users/me/sessions/{}", uuid::Uuid::nil()), "").await;
    assert_eq!(unknown.status, 404);
    let server = app.server().await;
    assert_eq!(server.get(&format!("/v1/users/{id}/sessions")).await.ok().body["data"]["itemsLength"], 2);
    server.send("DELETE", &format!("/v1/users/{id}/sessions"), "").await.ok();
    for token in &tokens {
        assert_eq!(app.as_token(token).await, 401);
    }
}

#[tokio::test]
async fn nobody_sees_or_ends_the_sessions_of_another() {
    let (app, id) = app_and_jane().await;
    let token = text(&app.exchange(&app.code().await).await.ok(), "accessToken").to_owned();
    let sid = claims(&token)["sid"].as_str().unwrap().to_owned();
    let john = app.partner("acme").await.post("/users/create", crate::harness::john()).await.ok().id().to_owned();
    let person = app.person(&john).await;
    assert_eq!(person.get(&format!("/v1/users/{id}/sessions")).await.status, 403);
    assert_eq!(person.send("DELETE", &format!("/v1/users/{id}/sessions"), "").await.status, 403);
    assert_eq!(person.send("DELETE", &format!("/v1/users/me/sessions/{sid}"), "").await.status, 404);
    let live = app.server_in(Kind::Live, usher::keys::Access::Write).await;
    assert_eq!(live.send("DELETE", &format!("/v1/users/{id}/sessions/{sid}"), "").await.status, 404);
    assert_eq!(app.as_token(&token).await, 200);
}

#[tokio::test]
async fn freezing_and_deleting_end_tokens_at_their_next_use() {
    for status in [Status::Frozen, Status::Deleted] {
        let (app, id) = app_and_jane().await;
        let answer = app.exchange(&app.code().await).await.ok();
        let user: UserId = id.parse().unwrap();
        app.store().write(move |tx| users::set_status(tx, user, status)).await.unwrap();
        assert!(matches!(app.as_token(text(&answer, "accessToken")).await, 401 | 403));
        assert_ne!(app.refresh(text(&answer, "refreshToken")).await.status, 200);
        app.store().write(move |tx| users::set_status(tx, user, Status::Active)).await.unwrap();
        assert_eq!(app.as_token(text(&answer, "accessToken")).await, 401, "what was ended does not come back");
    }
}

#[tokio::test]
async fn the_standard_door_wants_pkce_and_says_what_is_wrong_where_rfc_6749_has_it() {
    let (app, id) = app_and_jane().await;
    let client = app.client_id;
    let verifier = "a-verifier-of-at-least-forty-three-characters-0123";
    let challenge = BASE64URL.encode(sha256(verifier.as_bytes()));
    let base = format!("/authorize?client_id={client}&redirect_uri={CALLBACK}&state=s2&nonce=n2&scope=openid+email");
    let whole = format!("{base}&response_type=code&code_challenge={challenge}&code_challenge_method=S256");
    for (path, error) in [
        (format!("{base}&response_type=code"), "invalid_request"),
        (format!("{whole}&request=e30"), "request_not_supported"),
        (format!("{whole}&request_uri=https%3A%2F%2Fapp.example.com%2Frequest"), "request_uri_not_supported"),
        (format!("{whole}&registration=%7B%7D"), "registration_not_supported"),
        (whole.replace("S256", "plain"), "invalid_request"),
        (whole.replace("response_type=code&", "response_type=token&"), "unsupported_response_type"),
        (format!("{whole}&prompt=none"), "login_required"),
    ] {
        let answer = app.anyone().get(&path).await;
        let to = answer.header("location");
        assert!(to.starts_with(CALLBACK) && to.contains(&format!("error={error}")) && to.contains("state=s2"), "{to}");
    }
    assert!(app.anyone().get(&whole).await.ok().text.contains("Sign in to Acme Coaching"));
    let begun = app.anyone().send("POST", &whole, "email=jane@doe.com").await;
    let browser = app.anyone().with("Cookie", begun.header("set-cookie").split(';').next().unwrap());
    let (link, _) = app.newest_mail().await;
    let entered = browser.send("POST", &link, "").await;
    let back: url::Url = entered.header("location").parse().unwrap();
    let issuer = back.query_pairs().find(|(name, _)| name == "iss").unwrap().1.into_owned();
    assert_eq!(issuer, "https://users.example.com/sandbox");
    let code = code_of(&entered);
    let token = async |form: String| app.anyone().send("POST", "/oauth/token", form).await;
    let form = format!("grant_type=authorization_code&client_id={client}&redirect_uri={CALLBACK}&code={code}");
    for wrong in [
        form.clone(),
        format!("{form}&code_verifier=wrong"),
        format!("{}&code_verifier={verifier}", form.replace("callback", "other")),
    ] {
        assert_eq!(token(wrong).await.body["error"], "invalid_grant");
    }
    assert_eq!(token(format!("grant_type=password&client_id={client}")).await.body["error"], "unsupported_grant_type");
    assert_eq!(token("grant_type=authorization_code&code=x".into()).await.body["error"], "invalid_client");
    assert_eq!(token(format!("{form}&code_verifier={verifier}&code=x")).await.body["error"], "invalid_request");
    let granted = token(format!("{form}&code_verifier={verifier}")).await.ok();
    assert_eq!((granted.header("cache-control"), &granted.body["scope"]), ("no-store", &json!("openid email")));
    let identity = claims(text(&granted, "id_token"));
    assert_eq!(
        (&identity["iss"], &identity["nonce"], &identity["email"]),
        (&json!(issuer), &json!("n2"), &json!("jane@doe.com"))
    );
    assert!(identity.get("given_name").is_none(), "the scope does not open it");
    let access = text(&granted, "access_token");
    let me = app.anyone().with("Authorization", &format!("Bearer {access}"));
    assert_eq!(
        me.get("/userinfo").await.ok().body,
        json!({"sub": id, "email": "jane@doe.com", "email_verified": true})
    );
    let refused = app.anyone().with("Authorization", "Bearer x.y.z").get("/userinfo").await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Bearer error=\"invalid_token\""));
    let refresh = text(&granted, "refresh_token");
    let next = token(format!("grant_type=refresh_token&client_id={client}&refresh_token={refresh}")).await.ok();
    assert_eq!(claims(text(&next, "id_token"))["iss"], json!(issuer));
    let gone = format!("token={}&client_id={client}", text(&next, "refresh_token"));
    app.anyone().send("POST", "/oauth/revoke", gone).await.ok();
    assert_eq!(app.as_token(access).await, 401);
    app.anyone().send("POST", "/oauth/revoke", format!("token=nonsense&client_id={client}")).await.ok();
}

#[tokio::test]
async fn the_public_key_is_where_the_official_node_client_looks() {
    let (app, _) = app_and_jane().await;
    let server = app.server_in(Kind::Sandbox, usher::keys::Access::Read).await.with("Accept", "application/json;utf-8");
    let one = server.get(&format!("/v1/apps/{}/public-keys", app.client_id)).await.ok();
    for path in ["/v1/public-key", "/api/v1/public-key"] {
        assert_eq!(server.get(path).await.ok().body, one.body);
    }
}

#[tokio::test]
async fn at_the_official_clients_door_the_nonce_is_that_of_the_exchange_or_else_of_the_page() {
    let (app, _) = app_and_jane().await;
    let page = format!("{}&nonce=of-the-page", app.sign_in_path());
    for (of_the_exchange, expected) in [(None, "of-the-page"), (Some("n-1"), "n-1")] {
        let mut body = app.exchange_body(&code_of(&app.enter(&page).await)).without("nonce");
        if let Some(nonce) = of_the_exchange {
            body = body.but("nonce", json!(nonce));
        }
        let tokens = app.anyone().post("/v1/tokens", body).await.ok();
        for token in ["idToken", "accessToken"] {
            assert_eq!(claims(text(&tokens, token))["nonce"], expected);
        }
    }
}

#[tokio::test]
async fn a_nonce_of_which_no_token_could_be_made_is_refused_at_every_door_before_the_code_is_used() {
    let (app, _) = app_and_jane().await;
    // As it stands in a token, `é` has six bytes and a quotation mark two.
    let (longest, tokens) = ([&"é".repeat(80), &"\"".repeat(16)[..]].concat(), "/v1/tokens");
    let code = app.code().await;
    for nonce in [format!("{longest}x"), "x".repeat(513), "x".repeat(9000)] {
        let answer = app.anyone().post(tokens, app.exchange_body(&code).but("nonce", json!(nonce))).await;
        assert_eq!((answer.status, text(&answer, "error")), (400, "invalid_request"));
        assert!(text(&answer, "error_description").starts_with("nonce has 512 bytes"), "{}", answer.text);
        let nonce: String = url::form_urlencoded::byte_serialize(nonce.as_bytes()).collect();
        let challenge = "code_challenge_method=S256&code_challenge=".to_owned() + &"a".repeat(43);
        let hosted = app.sign_in_path();
        let standard = hosted.replace("/sign-in", "/authorize") + "&response_type=code&" + &challenge;
        for door in [&hosted, &standard] {
            app.anyone().get(door).await.ok();
        }
        for answer in [
            app.anyone().get(&format!("{hosted}&nonce={nonce}")).await,
            app.anyone().send("POST", &format!("{hosted}&nonce={nonce}"), "email=jane%40doe.com").await,
        ] {
            assert_eq!(answer.status, 400);
            assert!(answer.text.contains("invalid_request: nonce has 512 bytes at the most"), "{}", answer.text);
        }
        let answer = app.anyone().get(&format!("{standard}&nonce={nonce}")).await;
        let to = answer.header("location");
        assert!(to.starts_with(CALLBACK) && to.contains("error=invalid_request"), "{to}");
        assert!(to.contains("nonce+has+512+bytes"), "{to}");
    }
    let body = app.exchange_body(&code).but("nonce", json!(longest));
    let answer = app.anyone().post(tokens, body).await.ok();
    assert_eq!(claims(text(&answer, "idToken"))["nonce"], json!(longest));
    assert_eq!(app.as_token(text(&answer, "accessToken")).await, 200);
}
