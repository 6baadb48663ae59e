//! `PUT` and `POST /v1/users/:userId` and the public keys: the envelope, credentials, fields, the shared record.

use serde_json::{Value, json};
use usher::apps::Kind;
use usher::billing::Mode;
use usher::caller::Target;
use usher::keys::{Access, NewKey};
use usher::users::{self, Status};

use crate::harness::{But, TestApp, a_key, jane, john};

const DONE: &str = r#"{"success":true,"message":"User updated","error":null,"data":null}"#;

/// The seed's example body with strings and booleans in place of the type names.
fn seed_body() -> Value {
    json!({"user": {
        "id": "11111111-1111-4111-8111-111111111111", "language": "US", "salutation": "o", "salutationOther": "Mx",
        "acceptedNewsletter": true, "name": "Jane Doe", "given_name": "Jane", "family_name": "Doe", "middle_name": "M",
        "nickname": "JJ", "preferred_username": "jane", "profile": "https://example.com/jane", "picture": "https://example.com/jane.png",
        "website": "https://example.com", "email": "jane.new@doe.com", "gender": "female", "other_gender": "-",
        "birthdate": "1990-12-24", "zoneinfo": "Europe/Berlin", "locale": "en-US", "phone_number": "+49 30 123456",
        "freezed": true, "deleted": true, "tenantId": true
    }})
}

async fn app_with_jane() -> (TestApp, String) {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    (app, id)
}

#[tokio::test]
async fn the_seeds_body_changes_every_field_by_put_and_by_post_under_both_prefixes() {
    for (method, path) in
        [("PUT", "/v1/users/"), ("POST", "/v1/users/"), ("PUT", "/api/v1/users/"), ("POST", "//v1//users/")]
    {
        let (app, id) = app_with_jane().await;
        let before = app.user(&id).await;
        let answer = app.server().await.send(method, &format!("{path}{id}"), seed_body().to_string()).await.ok();
        assert_eq!(answer.text, DONE);
        let after = app.user(&id).await;
        let mut expected = seed_body()["user"].clone();
        for gone in ["id", "freezed", "deleted", "tenantId", "email", "phone_number"] {
            expected = expected.without(gone);
        }
        assert_eq!(json!(after.person.profile), expected);
        assert_eq!(
            (after.email.address(), after.person.phone.as_ref().unwrap().key()),
            ("jane.new@doe.com", "+4930123456")
        );
        assert_eq!((after.id, after.tenant, after.frozen_at, after.deleted_at), (before.id, before.tenant, None, None));
    }
}

#[tokio::test]
async fn both_dialects_share_one_record() {
    let (app, id) = app_with_jane().await;
    let server = app.server().await;
    let change =
        json!({"user": {"given_name": "Janet", "phone_number": "2025550199", "birthdate": "1991-01-01T00:00:00.000Z"}});
    server.put(&format!("/v1/users/{id}"), change).await.ok();
    let first = app.partner("acme").await.with("Fitmate-Version", "2023-08-01");
    let seen = first.post("/users/update", json!({"email": "jane@doe.com", "lastname": "Roe"})).await.ok().body["data"]
        .clone();
    assert_eq!(
        (&seen["firstname"], &seen["lastname"], &seen["phonenumber"], &seen["dateOfBirth"]),
        (&json!("Janet"), &json!("Roe"), &json!("2025550199"), &json!("1991-01-01"))
    );
    assert_eq!(json!(app.user(&id).await.person.profile)["family_name"], "Roe");
}

#[tokio::test]
async fn nothing_to_change_is_no_error() {
    let (app, id) = app_with_jane().await;
    let server = app.server().await;
    let before = app.user(&id).await;
    for body in [
        json!({"user": {}}),
        json!({"user": {"unknown": 1, "name?": 5, "password": "x"}}),
        json!({"user": {}, "test": true}),
    ] {
        assert_eq!(server.put(&format!("/v1/users/{id}"), body).await.ok().text, DONE);
    }
    for kind in ["text/plain;charset=UTF-8", "application/json", "application/x-www-form-urlencoded"] {
        server.with("Content-Type", kind).put(&format!("/v1/users/{id}"), json!({"user": {}})).await.ok();
    }
    let after = app.user(&id).await;
    assert_eq!((after.person, after.updated_at), (before.person, before.updated_at));
}

#[tokio::test]
async fn every_wrong_value_is_400_in_the_envelope_and_changes_nothing() {
    let (app, id) = app_with_jane().await;
    app.partner("acme").await.post("/users/create", john()).await.ok();
    let server = app.server().await;
    let before = app.user(&id).await.person;
    let texts = [
        "language",
        "salutation",
        "salutationOther",
        "name",
        "given_name",
        "family_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "other_gender",
        "zoneinfo",
        "locale",
    ];
    let mut wrong = Vec::new();
    for field in texts {
        let limit = if field == "language" { 35 } else { 256 };
        server.put(&format!("/v1/users/{id}"), json!({"user": {field: "x".repeat(limit)}})).await.ok();
        for value in
            [json!(1), json!(null), json!(true), json!([]), json!({}), json!("x".repeat(limit + 1)), json!("a\u{0}b")]
        {
            wrong.push(json!({"user": {field: value}}));
        }
    }
    let reset: serde_json::Map<String, Value> = texts.iter().map(|field| ((*field).to_owned(), json!(""))).collect();
    server.put(&format!("/v1/users/{id}"), json!({"user": reset})).await.ok();
    for (field, values) in [
        ("acceptedNewsletter", vec![json!("true"), json!(1), json!(null)]),
        ("email", vec![json!("jane"), json!(1), json!(null), json!("a@b"), json!(["a@b.co"])]),
        ("phone_number", vec![json!("12"), json!(1_234_567_890), json!(null), json!("abc")]),
        (
            "birthdate",
            vec![
                json!("2022-31-12"),
                json!("1990-13-01"),
                json!(1),
                json!(null),
                json!("2027-01-01"),
                json!("1990-12-23Tx"),
            ],
        ),
    ] {
        wrong.extend(values.into_iter().map(|value| json!({"user": {field: value}})));
    }
    wrong.extend([
        json!({}),
        json!({"user": "x"}),
        json!({"user": []}),
        json!({"user": null}),
        json!([]),
        json!({"user": {}, "test": "true"}),
        json!({"user": {"given_name": "x"}, "test": null}),
        json!({"email": "a@b.co", "language": "en"}),
    ]);
    let at = app.user(&id).await.person;
    for body in wrong {
        let answer = server.put(&format!("/v1/users/{id}"), body.clone()).await;
        assert_eq!(answer.status, 400, "{body}");
        let names: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["success", "error", "message", "data"]);
        assert_eq!(
            (&answer.body["success"], answer.error().is_empty(), &answer.body["message"], &answer.body["data"]),
            (&json!(false), false, &Value::Null, &Value::Null)
        );
    }
    assert_eq!(app.user(&id).await.person, at);
    assert_eq!(before.email, at.email);
    for (body, error) in [
        (json!({"user": {"email": "JOHN@doe.com"}}), "Email already exists"),
        (json!({"user": {"phone_number": "+1 202 555 0123"}}), "Phone number already exists"),
    ] {
        let answer = server.put(&format!("/v1/users/{id}"), body).await;
        assert_eq!((answer.status, answer.error()), (400, error));
    }
}

#[tokio::test]
async fn test_is_taken_from_query_or_body_and_becomes_a_job() {
    let app = TestApp::new().await;
    for mode in [Mode::Test, Mode::Live] {
        app.connect_billing(Kind::Live, mode, "http://127.0.0.1:9").await;
    }
    let id = app.partner_in(Kind::Live, None).await.post("/users/create", jane()).await.ok().id().to_owned();
    let server = app.server_in(Kind::Live, Access::Write).await;
    let path = format!("/v1/users/{id}");
    let jobs = || async {
        app.store().read(|tx| usher::outbox::newest(tx, usher::outbox::Kind::BillingSync, 9)).await.unwrap()
    };
    // Of those that nobody has begun, one is enough.
    let begin = || app.tamper("UPDATE outbox SET attempts = 1 WHERE kind = 'billing'");
    server.put(&path, json!({"user": {}})).await.ok();
    assert_eq!(jobs().await.len(), 1, "she is new");
    app.advance(std::time::Duration::from_secs(1));
    server.put(&format!("{path}?test=true"), json!({"user": {"name": "a"}})).await.ok();
    app.advance(std::time::Duration::from_secs(1));
    begin();
    server.put(&path, json!({"user": {"name": "b"}, "test": false})).await.ok();
    let told: Vec<_> = jobs().await.iter().map(|job| job.payload.as_ref().unwrap().0.get("mode").cloned()).collect();
    assert_eq!(told, [Some(json!("live")), Some(json!("test")), Some(json!("live"))]);
    for query in ["?test=1", "?test=", "?test=TRUE", "?test"] {
        assert_eq!(server.put(&format!("{path}{query}"), json!({"user": {}})).await.status, 400, "{query}");
    }
    assert_eq!(server.put(&format!("{path}?test=true"), json!({"user": {}, "test": false})).await.status, 400);
    assert_eq!(server.put(&format!("{path}?test=true"), json!({"user": {"name": 1}})).await.status, 400);
    assert_eq!(jobs().await.len(), 3, "a refused change leaves no job");
}

#[tokio::test]
async fn every_write_of_identity_heeds_test_in_query_and_body() {
    let app = TestApp::new().await;
    for mode in [Mode::Test, Mode::Live] {
        app.connect_billing(Kind::Live, mode, "http://127.0.0.1:9").await;
    }
    let server = app.server_in(Kind::Live, Access::Write).await;
    let address = std::cell::Cell::new(0);
    let somebody = || {
        address.set(address.get() + 1);
        format!("bob{}@doe.com", address.get())
    };
    let modes = || async {
        let jobs =
            app.store().read(|tx| usher::outbox::newest(tx, usher::outbox::Kind::BillingSync, 99)).await.unwrap();
        let mut modes: Vec<_> =
            jobs.iter().map(|job| (job.id.0, job.payload.as_ref().unwrap().0["mode"].clone())).collect();
        modes.sort_by_key(|(id, _)| *id);
        modes.into_iter().map(|(_, mode)| mode).collect::<Vec<_>>()
    };
    // Of those that nobody has begun, one is enough.
    let begin = || app.tamper("UPDATE outbox SET attempts = 1 WHERE kind = 'billing'");
    let made = server.post("/v1/users", json!({"user": {"email": somebody()}})).await.ok();
    let path = format!("/v1/users/{}", made.body["data"]["id"].as_str().unwrap());
    let mut expected = vec![json!("live")];
    let writes = || {
        let invitation = json!({"email": somebody(), "language": "en"});
        [
            ("POST", "/v1/users".to_owned(), json!({"user": {"email": somebody()}})),
            ("POST", path.clone(), invitation),
            ("POST", path.clone(), json!({"user": {"email": somebody()}})),
            ("PUT", path.clone(), json!({"user": {"email": somebody()}})),
            ("PATCH", path.clone(), json!({"user": {"email": somebody()}})),
        ]
    };
    for test in ["true", "false"] {
        for (method, path, body) in writes() {
            begin();
            server.send(method, &format!("{path}?test={test}"), body.to_string()).await.ok();
            expected.push(json!(if test == "true" { "test" } else { "live" }));
        }
    }
    for (method, path, body) in writes() {
        begin();
        server.send(method, &path, body.but("test", json!(true)).to_string()).await.ok();
        expected.push(json!("test"));
    }
    assert_eq!(modes().await, expected);
    for (method, path, body) in writes() {
        let refused = async |query: &str, body: Value| {
            let answer = server.send(method, &format!("{path}{query}"), body.to_string()).await;
            assert_eq!(answer.status, 400, "{method} {path}{query} {body}");
        };
        for query in ["?test=maybe", "?test=1", "?test="] {
            refused(query, body.clone()).await;
        }
        refused("", body.clone().but("test", json!("true"))).await;
        refused("?test=true", body.but("test", json!(false))).await;
    }
    assert_eq!(server.send("DELETE", &format!("{path}?test=maybe"), "").await.status, 400);
    assert_eq!(modes().await, expected, "a refused write tells nobody");
}

#[tokio::test]
async fn a_person_changes_their_own_profile_and_no_other() {
    let (app, id) = app_with_jane().await;
    let other = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    let me = app.person(&id).await;
    me.put("/v1/users/me", json!({"user": {"nickname": "JJ"}})).await.ok();
    me.put(&format!("/v1/users/{id}"), json!({"user": {"name": "Jane"}})).await.ok();
    let token = app.token(&id).await;
    let alias = app.anyone().with("Authentication", &format!("Bearer {token}"));
    alias.post("/v1/users/me", json!({"user": {"locale": "en-US"}})).await.ok();
    let profile = json!(app.user(&id).await.person.profile);
    assert_eq!(
        (&profile["nickname"], &profile["name"], &profile["locale"]),
        (&json!("JJ"), &json!("Jane"), &json!("en-US"))
    );
    for target in [other.as_str(), "22222222-2222-4222-8222-222222222222"] {
        assert_eq!(me.put(&format!("/v1/users/{target}"), json!({"user": {}})).await.status, 403);
    }
    let escalation = json!({"user": {"id": other, "tenantId": "x", "freezed": false, "deleted": false, "role": "owner", "email_verified": true}});
    let before = app.user(&id).await;
    me.put("/v1/users/me", escalation).await.ok();
    let after = app.user(&id).await;
    assert_eq!(
        (before.person, before.tenant, before.email_verified_at),
        (after.person, after.tenant, after.email_verified_at)
    );
}

#[tokio::test]
async fn paths_and_users_that_do_not_exist_are_400_for_a_key() {
    let (app, id) = app_with_jane().await;
    let server = app.server().await;
    for (path, error) in [
        ("abc", "The user id in the path must be a UUID, or `me` with an access token"),
        ("james", "The user id in the path must be a UUID, or `me` with an access token"),
        ("jane@doe.com", "The user id in the path must be a UUID, or `me` with an access token"),
        (
            "11111111-1111-4111-8111-11111111111g",
            "The user id in the path must be a UUID, or `me` with an access token",
        ),
        ("11111111-1111-4111-8111-111111111111", "User not found"),
        ("me", "`me` needs an access token; with an API key send the UUID"),
    ] {
        let answer = server.put(&format!("/v1/users/{path}"), json!({"user": {}})).await;
        assert_eq!((answer.status, answer.error()), (400, error), "{path}");
    }
    // A user of another environment or tenant looks like none at all.
    let live = app.server_in(Kind::Live, Access::Write).await;
    assert_eq!(live.put(&format!("/v1/users/{id}"), json!({"user": {}})).await.error(), "User not found");
    let (_, key) = app.new_key(Kind::Sandbox, NewKey { tenant: Some("other".into()), ..a_key() }).await;
    let other = server.instead("X-API-KEY", &key);
    assert_eq!(other.put(&format!("/v1/users/{id}"), json!({"user": {}})).await.error(), "User not found");
}

#[tokio::test]
async fn what_a_key_may_do_comes_from_its_row_and_never_from_a_header() {
    let (app, id) = app_with_jane().await;
    let path = format!("/v1/users/{id}");
    let (server, reader) = (app.server().await, app.server_in(Kind::Sandbox, Access::Read).await);
    let write = app.key(Kind::Sandbox, Access::Write).await;
    let (revoked, revoked_key) = app.new_key(Kind::Sandbox, a_key()).await;
    app.store()
        .write(move |tx| usher::keys::revoke(tx, usher::caller::Origin::of(usher::caller::Actor::Operator), revoked.id))
        .await
        .unwrap();
    let token = app.token(&id).await;
    for (client, status) in [
        (app.anyone(), 401),
        (app.anyone().with("X-API-KEY", &write), 401),
        (app.anyone().with("X-API-KEY", &write).with("X-API-KEY-TYPE", "write"), 401),
        (server.instead("X-API-KEY-TYPE", "admin"), 401),
        (server.instead("X-API-KEY-TYPE", "read"), 401),
        (server.instead("X-CLIENT-ID", "22222222-2222-4222-8222-222222222222"), 401),
        (server.instead("X-CLIENT-ID", "abc"), 401),
        (server.instead("X-API-KEY", "abc"), 401),
        (server.instead("X-API-KEY", "é"), 401),
        (server.instead("X-API-KEY", &revoked_key), 401),
        (reader.clone(), 403),
        (reader.instead("X-API-KEY-TYPE", "write"), 401),
        // With a key there is no falling back to the token.
        (server.instead("X-API-KEY", "abc").with("Authorization", &format!("Bearer {token}")), 401),
        (reader.with("Authorization", &format!("Bearer {token}")), 403),
        (server.with("Authorization", "Bearer nonsense"), 200),
        (
            app.anyone()
                .with("x-api-key", &write)
                .with("X-Api-Key-Type", "write")
                .with("x-client-id", &app.client_id.to_string()),
            200,
        ),
    ] {
        let answer = client.put(&path, json!({"user": {}})).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_token_that_is_not_ours_or_not_in_force_is_401() {
    let (app, id) = app_with_jane().await;
    let good = app.token(&id).await;
    let parts: Vec<&str> = good.split('.').collect();
    let b64 = |json: Value| {
        use base64::Engine;
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
    };
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    let decoded: Value = {
        use base64::Engine;
        serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
    };
    let kid = decoded["kid"].clone();
    let with_header = |json: Value| format!("{}.{claims}.{signature}", b64(json));
    for token in [
        String::new(),
        "x".into(),
        "a.b".into(),
        "a.b.c".into(),
        "a.b.c.d".into(),
        format!("{header}.{claims}."),
        format!("{header}.{claims}"),
        format!("{good}x"),
        good[..good.len() - 8].to_owned(),
        format!("{header}.{claims}.{}", "A".repeat(342)),
        with_header(json!({"alg": "none", "typ": "JWT", "kid": kid})),
        with_header(json!({"alg": "HS256", "typ": "JWT", "kid": kid})),
        with_header(json!({"alg": "RS256", "typ": "JWT", "kid": "../x"})),
        with_header(json!({"alg": "RS256", "typ": "JWT", "kid": kid, "crit": ["x"]})),
        with_header(json!({"alg": "RS256", "typ": "at+jwt", "kid": kid})),
        with_header(json!({"alg": "RS256"})),
        format!("{header}.{}.{signature}", b64(json!({"sub": id}))),
        "é".repeat(20),
        "x".repeat(9000),
    ] {
        let answer = app
            .anyone()
            .with("Authorization", &format!("Bearer {token}"))
            .put("/v1/users/me", json!({"user": {}}))
            .await;
        assert_eq!(answer.status, 401, "{token}: {}", answer.text);
    }
    app.advance(usher::tokens::ACCESS_LIFETIME.checked_sub(std::time::Duration::from_secs(1)).unwrap());
    let me = app.anyone().with("Authorization", &format!("Bearer {good}"));
    me.put("/v1/users/me", json!({"user": {}})).await.ok();
    app.advance(std::time::Duration::from_secs(1));
    let expired = me.put("/v1/users/me", json!({"user": {}})).await;
    assert_eq!((expired.status, expired.error()), (401, "The access token has expired"));
}

#[tokio::test]
async fn a_frozen_or_deleted_users_token_is_refused_at_once() {
    let (app, id) = app_with_jane().await;
    let user: users::UserId = id.parse().unwrap();
    for (status, expected) in [(Status::Frozen, 403), (Status::Deleted, 401)] {
        let me = app.person(&id).await;
        app.store().write(move |tx| users::set_status(tx, user, status)).await.unwrap();
        assert_eq!(me.put("/v1/users/me", json!({"user": {}})).await.status, expected);
        app.store().write(move |tx| users::set_status(tx, user, Status::Active)).await.unwrap();
        let back = app.person(&id).await;
        assert_eq!(back.put("/v1/users/me", json!({"user": {}})).await.status, 200);
    }
    app.store().write(move |tx| users::set_status(tx, user, Status::Deleted)).await.unwrap();
    assert_eq!(app.server().await.put(&format!("/v1/users/{id}"), json!({"user": {}})).await.error(), "User not found");
    assert_eq!(app.partner("acme").await.post("/users/update", json!({"email": "jane@doe.com"})).await.status, 404);
    // The address stays taken while the record is there.
    assert_eq!(app.partner("acme").await.post("/users/create", jane()).await.status, 409);
    assert_eq!("me".parse::<Target>().unwrap(), Target::Me);
}

#[tokio::test]
async fn tokens_carry_the_documented_claims_and_the_published_keys_verify_them() {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
    let (app, id) = app_with_jane().await;
    let token = app.token(&id).await;
    let parts: Vec<&str> = token.split('.').collect();
    let json = |part: &str| serde_json::from_slice::<Value>(&B64.decode(part).unwrap()).unwrap();
    let (header, claims) = (json(parts[0]), json(parts[1]));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("RS256"), &json!("JWT")));
    let names: Vec<&String> = claims.as_object().unwrap().keys().collect();
    assert_eq!(names, ["iss", "sub", "aud", "lng", "jti", "nonce", "auth_time", "exp", "scope", "psc", "sid"]);
    assert_eq!(claims["iss"], "f0af4569-4d5d-4c20-af95-5a80c74e30a6");
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!(id), &json!(app.client_id.to_string())));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["auth_time"].as_i64().unwrap(), 3600);

    let live = app.anyone().get(&format!("/.well-known/jwks.json?client_id={}", app.client_id)).await.ok();
    assert_eq!(live.body["keys"].as_array().unwrap().len(), 1);
    assert_ne!(live.body["keys"][0]["kid"], header["kid"], "what is not asked for is not there");
    let sandbox = app.anyone().get("/.well-known/jwks.json?environment=sandbox").await.ok();
    let keys = sandbox.body["keys"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["kid"]), (1, &header["kid"]));
    let number = |name: &str| B64.decode(keys[0][name].as_str().unwrap()).unwrap();
    let signed = format!("{}.{}", parts[0], parts[1]);
    let key = RsaPublicKeyComponents { n: number("n"), e: number("e") };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &B64.decode(parts[2]).unwrap()).unwrap();
    for query in ["?client_id=x", "?environment=x"] {
        assert_eq!(app.anyone().get(&format!("/.well-known/jwks.json{query}")).await.status, 400);
    }
}

#[tokio::test]
async fn the_public_key_is_given_to_the_apps_own_keys() {
    let (app, _) = app_with_jane().await;
    let path = format!("/v1/apps/{}/public-keys", app.client_id);
    let reader = app.server_in(Kind::Sandbox, Access::Read).await;
    let answer = reader.get(&path).await.ok();
    assert_eq!((&answer.body["data"]["kind"], &answer.body["success"]), (&json!("publicKey"), &json!(true)));
    assert!(answer.body["data"]["publicKey"].as_str().unwrap().starts_with("-----BEGIN PUBLIC KEY-----\n"));
    let live = app.server_in(Kind::Live, Access::Read).await.get(&path).await.ok();
    assert_ne!(live.body["data"], answer.body["data"], "each environment signs with its own key");
    assert_eq!(app.server().await.get(&path).await.ok().body, answer.body);
    assert_eq!(app.anyone().get(&path).await.status, 401);
    assert_eq!(reader.get("/v1/apps/22222222-2222-4222-8222-222222222222/public-keys").await.status, 403);
}

#[tokio::test]
async fn what_is_out_of_scope_is_404_in_the_envelope_and_says_so() {
    let (app, id) = app_with_jane().await;
    let server = app.server().await;
    let tenant = app.user(&id).await.tenant.unwrap();
    for (method, path) in [
        ("POST", format!("/v1/users/{id}/referral-invites")),
        ("PUT", format!("/v1/users/{id}/promotion-codes/A%20B/c?d")),
        ("GET", format!("/v1/apps/{}/promotions?test=true", app.client_id)),
        ("POST", format!("/v1/tenants/{tenant}/checkout-sessions")),
        ("GET", format!("/api/v1/tenants/{tenant}/stripe-invoices?test=true")),
        ("POST", format!("/v1/tenants/{tenant}/stripe-invoices")),
        ("PUT", "/v1/tenants/me/stripe-subscriptions".into()),
        ("DELETE", format!("/v1/tenants/{tenant}/stripe-subscriptions")),
        ("DELETE", format!("/v1/tenants/{tenant}/stripe-payment-methods")),
        ("GET", "/v1/analytics/one-time-payments".into()),
        ("GET", "/v1/analytics/subscriptions".into()),
    ] {
        let answer = server.send(method, &path, "{}").await;
        assert_eq!(answer.status, 404, "{path}");
        let names: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["success", "error", "message", "data"]);
        assert!(answer.error().contains("out of its scope"), "{path}: {}", answer.error());
    }
}
