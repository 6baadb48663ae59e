//! Tokens that Usher did not give: made up, of another key, of another claim, of another header.

use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Value, json};
use usher::apps::{self, Kind};
use usher::db::Tx;

use crate::harness::{But, TestApp};
use crate::signin::app_and_jane;
use crate::tokens::claims;

/// A token signed with the environment's own key, with any header and claims.
pub async fn signed(app: &TestApp, header: &Value, claims: &str) -> String {
    let kid = header["kid"].as_str().unwrap_or_default().to_owned();
    let open = move |tx: &Tx| {
        let rows = tx.query("SELECT id, private_key FROM signing_keys", &[])?;
        let row = rows.iter().find(|row| row.get::<String>(0).is_ok_and(|id| id == kid)).unwrap_or(&rows[0]);
        tx.vault().open(row.get::<String>(0)?.as_bytes(), &row.get::<Vec<u8>>(1)?)
    };
    signed_by(&KeyPair::from_pkcs8(&app.store().read(open).await.unwrap()).unwrap(), header, claims)
}

/// A token signed with any pair.
pub fn signed_by(pair: &KeyPair, header: &Value, claims: &str) -> String {
    let input = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = aws_lc_rs::rand::SystemRandom::new();
    pair.sign(&signature::RSA_PKCS1_SHA256, &random, input.as_bytes(), &mut signature).unwrap();
    format!("{input}.{}", BASE64URL.encode(signature))
}

#[tokio::test]
async fn forty_made_up_tokens_are_401() {
    let (app, id) = app_and_jane().await;
    let good = app.token(&id).await;
    let parts: Vec<&str> = good.split('.').collect();
    let header: Value = serde_json::from_slice(&BASE64URL.decode(parts[0]).unwrap()).unwrap();
    let kid = header["kid"].as_str().unwrap();
    let with =
        |header: Value, signature: &str| format!("{}.{}.{signature}", BASE64URL.encode(header.to_string()), parts[1]);
    let mut forged =
        vec![String::new(), ".".into(), "..".into(), "a.b.c".into(), format!("{good}."), format!(".{good}")];
    for alg in ["none", "nOnE", "NONE", "", "HS256", "HS512", "RS512", "PS256", "ES256", "EdDSA"] {
        let header = json!({"alg": alg, "typ": "JWT", "kid": kid});
        forged.extend([with(header.clone(), ""), with(header, parts[2])]);
    }
    // HS256 with the public key as the secret.
    let pem = app.server().await.get(&format!("/v1/apps/{}/public-keys", app.client_id)).await.ok();
    let key = aws_lc_rs::hmac::Key::new(
        aws_lc_rs::hmac::HMAC_SHA256,
        pem.body["data"]["publicKey"].as_str().unwrap().as_bytes(),
    );
    let input =
        format!("{}.{}", BASE64URL.encode(json!({"alg": "HS256", "typ": "JWT", "kid": kid}).to_string()), parts[1]);
    forged.push(format!("{input}.{}", BASE64URL.encode(aws_lc_rs::hmac::sign(&key, input.as_bytes()))));
    let ours = header.clone();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("typ", json!("at+jwt")),
        ("typ", json!("jwt")),
        ("kid", json!("../../dev/null")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!(7)),
        ("kid", json!(null)),
        ("jwk", json!({"kty": "RSA"})),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/x.pem")),
    ] {
        forged.push(with(ours.clone().but(name, value), parts[2]));
    }
    forged.extend([
        with(ours.clone().without("typ"), parts[2]),
        with(ours.clone().without("kid"), parts[2]),
        with(ours, ""),
    ]);
    forged.extend(["A".repeat(64 * 1024), format!("{good}{}", "A".repeat(64 * 1024))]);
    assert!(forged.len() >= 40);
    for token in forged {
        assert_eq!(app.as_token(&token).await, 401, "{}", &token[..token.len().min(80)]);
    }
    for value in
        ["Bearer", "Bearer ", "bearer", &format!("Basic {good}"), &good, "Bearer \u{7f}", &format!("Bearer  x {good}")]
    {
        let answer = app.anyone().with("Authorization", value.trim_end_matches('\u{7f}')).get("/v1/users/me").await;
        assert_eq!(answer.status, 401, "{value}");
    }
    assert_eq!(app.as_token(&good).await, 200);
}

#[tokio::test]
async fn a_token_of_our_own_key_with_any_claim_off_is_401() {
    let (app, id) = app_and_jane().await;
    let good = app.token(&id).await;
    let header: Value = serde_json::from_slice(&BASE64URL.decode(good.split('.').next().unwrap()).unwrap()).unwrap();
    let ours = claims(&good);
    assert_eq!(app.as_token(&signed(&app, &header, &ours.to_string()).await).await, 200, "the test can sign");
    let now = ours["exp"].as_i64().unwrap() - 3600;
    let mut off: Vec<String> = Vec::new();
    for exp in [
        json!("9999999999"),
        json!(9.5),
        json!(null),
        json!(true),
        json!(now),
        json!(now - 1),
        json!(-1),
        json!([now + 60]),
    ] {
        off.push(ours.clone().but("exp", exp).to_string());
    }
    off.push(ours.to_string().replace(&format!("\"exp\":{}", ours["exp"]), "\"exp\":1e308"));
    off.push(ours.to_string().replace(&format!("\"exp\":{}", ours["exp"]), "\"exp\":99999999999999999999999"));
    for nbf in [json!("0"), json!(1.5), json!(now + 600), json!(null)] {
        off.push(ours.clone().but("nbf", nbf).to_string());
    }
    for (name, value) in [
        ("aud", json!([app.client_id])),
        ("aud", json!(uuid::Uuid::nil())),
        ("iss", json!("https://evil.example")),
        ("iss", json!(["x"])),
        ("sub", json!(uuid::Uuid::nil())),
        ("sub", json!("me")),
        ("sid", json!(uuid::Uuid::nil())),
        ("sid", json!(null)),
        ("psc", json!(null)),
        ("scope", json!("openid")),
    ] {
        off.push(ours.clone().but(name, value).to_string());
    }
    for name in ["exp", "aud", "iss", "sub", "sid", "psc"] {
        off.push(ours.clone().without(name).to_string());
    }
    off.push("[]".into());
    off.push("not json".into());
    for claims in off {
        assert_eq!(app.as_token(&signed(&app, &header, &claims).await).await, 401, "{claims}");
    }
}

#[tokio::test]
async fn case_e1_a_token_of_our_own_key_with_another_header_is_401() {
    let (app, id) = app_and_jane().await;
    let good = app.token(&id).await;
    let header: Value = serde_json::from_slice(&BASE64URL.decode(good.split('.').next().unwrap()).unwrap()).unwrap();
    let ours = claims(&good).to_string();
    let client = app.client_id;
    let live = move |tx: &Tx| Ok(usher::tokens::list(tx, apps::environment(tx, client, Kind::Live)?.id)?.remove(0).id);
    let live = app.store().read(live).await.unwrap();
    for (name, value) in [
        ("alg", json!("none")),
        ("alg", json!("nOnE")),
        ("alg", json!("")),
        ("alg", json!("HS256")),
        ("alg", json!("RS512")),
        ("alg", json!("PS256")),
        ("alg", json!(["RS256"])),
        ("alg", json!(null)),
        ("typ", json!("at+jwt")),
        ("typ", json!("jwt")),
        ("typ", json!(null)),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("kid", json!(null)),
        ("kid", json!(7)),
        // Signed by it, too: the key of the other environment.
        ("kid", json!(live)),
    ] {
        let token = signed(&app, &header.clone().but(name, value), &ours).await;
        assert_eq!(app.as_token(&token).await, 401, "{}", token.split('.').next().unwrap());
    }
    for name in ["alg", "typ", "kid"] {
        assert_eq!(
            app.as_token(&signed(&app, &header.clone().without(name), &ours).await).await,
            401,
            "without {name}"
        );
    }
    // What a header brings along to verify by is not looked at.
    for (name, value) in [("jwk", json!({"kty": "RSA"})), ("jku", json!("https://evil.example/jwks.json"))] {
        assert_eq!(app.as_token(&signed(&app, &header.clone().but(name, value), &ours).await).await, 200, "{name}");
    }
}
