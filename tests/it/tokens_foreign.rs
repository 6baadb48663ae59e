//! Case E1: a token brings nothing along that it is verified by: not the key, not where the key is, and no name but that of
//! one of ours.

use std::io::Write;
use std::process::{Command, Stdio};

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};

use crate::harness::{But, skip};
use crate::receiver::{Receiver, answer};
use crate::signin::app_and_jane;
use crate::tokens::{claims, kid};
use crate::tokens_forged::{signed, signed_by};

/// A pair that somebody else has made, and its public half as the headers of tokens can bring it along.
struct Foreign {
    pair: KeyPair,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl Foreign {
    fn new() -> Foreign {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let (modulus, exponent) = {
            let public = pair.public_key();
            let (n, e) = (public.modulus(), public.exponent());
            (n.big_endian_without_leading_zero().to_vec(), e.big_endian_without_leading_zero().to_vec())
        };
        Foreign { pair, modulus, exponent }
    }

    fn jwk(&self, kid: &str) -> Value {
        let (n, e) = (BASE64URL.encode(&self.modulus), BASE64URL.encode(&self.exponent));
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e})
    }

    /// Signed by itself, in the form of `x5c`.
    fn certificate(&self) -> Option<String> {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        let key = AsDer::<Pkcs8V1Der>::as_der(&self.pair).unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64_STANDARD.encode(key.as_ref())
        );
        let ask = ["req", "-x509", "-new", "-key", "/dev/stdin", "-subj", "/CN=usher", "-days", "2", "-outform", "DER"];
        let child = Command::new("openssl").args(ask).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let Ok(mut child) = child else {
            skip("a certificate in a token's header", "there is no openssl here");
            return None;
        };
        child.stdin.take().unwrap().write_all(pem.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "openssl makes no certificate");
        Some(BASE64_STANDARD.encode(output.stdout))
    }

    /// Whether a token is what it says, to whoever believes its header.
    fn has_signed(&self, token: &str) -> bool {
        let (input, signature) = token.rsplit_once('.').unwrap();
        let public = RsaPublicKeyComponents { n: &self.modulus, e: &self.exponent };
        public.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &BASE64URL.decode(signature).unwrap()).is_ok()
    }
}

#[tokio::test]
async fn case_e1_a_token_of_a_foreign_key_is_401_wherever_its_header_says_that_the_key_is() {
    let (app, id) = app_and_jane().await;
    let good = app.token(&id).await;
    let (claims, ours) = (claims(&good).to_string(), kid(&good));
    let foreign = Foreign::new();
    let canary = Receiver::start();
    let key_set = json!({"keys": [foreign.jwk(&ours), foreign.jwk("theirs")]}).to_string();
    canary.answers(move |_| answer(200, &key_set));
    let certificate = foreign.certificate();
    let mut refused = 0;
    for name in [ours.as_str(), "theirs"] {
        let plain = json!({"alg": "RS256", "typ": "JWT", "kid": name});
        let mut headers = vec![
            plain.clone(),
            plain.clone().but("jwk", foreign.jwk(name)),
            plain.clone().but("jku", json!(canary.url())),
            plain.clone().but("x5u", json!(canary.url())),
            plain.clone().but("jwk", foreign.jwk(name)).but("jku", json!(canary.url())),
            plain.clone().but("jwk", foreign.jwk(name)).without("kid"),
        ];
        if let Some(certificate) = &certificate {
            headers.push(plain.clone().but("x5c", json!([certificate])));
            headers.push(plain.but("x5c", json!([certificate])).but("jwk", foreign.jwk(name)));
        }
        for header in headers {
            let token = signed_by(&foreign.pair, &header, &claims);
            assert!(foreign.has_signed(&token), "the test can sign");
            assert_eq!(app.as_token(&token).await, 401, "{header}");
            refused += 1;
        }
    }
    assert!(refused >= 12);
    assert_eq!(canary.bytes(), 0, "nobody was asked for the key");
    assert_eq!(app.as_token(&good).await, 200);
}

#[tokio::test]
async fn case_e1_a_key_id_is_a_name_and_leads_to_no_file_address_or_statement() {
    let (app, id) = app_and_jane().await;
    let good = app.token(&id).await;
    let (claims, ours) = (claims(&good).to_string(), kid(&good));
    let (foreign, canary) = (Foreign::new(), Receiver::start());
    // What a file without content is as the secret of an HMAC.
    let nothing = hmac::Key::new(hmac::HMAC_SHA256, b"");
    for name in [
        "../../../../../../../../dev/null",
        "/dev/null",
        "file:///dev/null",
        "..%2f..%2f..%2f..%2fdev%2fnull",
        &format!("{ours}/../../../../dev/null"),
        &format!("../keys/{ours}"),
        &canary.url(),
        "' OR '1'='1",
        "x' UNION SELECT environment_id, public_key FROM signing_keys --",
        "$(id)",
        "",
        "\0",
        &format!("{ours}\0"),
        &format!(" {ours}"),
        &ours.to_lowercase(),
        &"A".repeat(4000),
    ] {
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": name});
        let symmetric = header.clone().but("alg", json!("HS256"));
        let input = format!("{}.{}", BASE64URL.encode(symmetric.to_string()), BASE64URL.encode(&claims));
        let symmetric = format!("{input}.{}", BASE64URL.encode(hmac::sign(&nothing, input.as_bytes())));
        for (token, by) in [
            (signed_by(&foreign.pair, &header, &claims), "a foreign key"),
            (signed(&app, &header, &claims).await, "a key of ours of another name"),
            (symmetric, "an empty secret"),
        ] {
            assert_eq!(app.as_token(&token).await, 401, "{name:?} signed by {by}");
        }
    }
    assert_eq!(canary.bytes(), 0);
    assert_eq!(app.as_token(&good).await, 200);
}
