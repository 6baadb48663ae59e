//! What Stripe tells us: signed with a secret that both sides know, by its header `Stripe-Signature`.

use aws_lc_rs::hmac;
use serde_json::Value;

use super::{Account, forget};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};

/// How old a message may be, in seconds: who has recorded one cannot send it later.
const TOLERANCE: i64 = 300;

/// Whether the account's secret has signed this body, lately.
pub fn is_genuine(account: &Account, header: &str, body: &[u8], now: Timestamp) -> bool {
    let Some(secret) = &account.settings.webhook_secret else { return false };
    let values = |name: &'static str| {
        header
            .split(',')
            .filter_map(move |part| part.trim().split_once('=').filter(|(n, _)| *n == name).map(|(_, v)| v))
    };
    let Some(time) = values("t").next() else { return false };
    if time.parse().is_ok_and(|t: i64| (now.as_seconds() - t).abs() > TOLERANCE) || time.parse::<i64>().is_err() {
        return false;
    }
    let signed = [time.as_bytes(), b".", body].concat();
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    values("v1").filter_map(unhex).any(|signature| hmac::verify(&key, &signed, &signature).is_ok())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    digits
        .filter(|digits| digits.len().is_multiple_of(2))
        .map(|digits| digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())
}

/// Does what an event asks for: a customer that was deleted at Stripe is forgotten. Says whether it did anything; events
/// of other kinds are none of ours.
///
/// # Errors
/// The body is no event.
pub fn take(tx: &Tx, account: &Account, body: &[u8]) -> Result<bool> {
    let event: Value = serde_json::from_slice(body)
        .map_err(|_| Error::bad_request("malformed_json", "The body is not an event of Stripe's"))?;
    match (event["type"].as_str(), event["data"]["object"]["id"].as_str()) {
        (Some("customer.deleted"), Some(customer)) => forget(tx, account, customer),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AccountId, Mode, STRIPE, Settings};
    use super::*;
    use crate::apps::EnvironmentId;
    use crate::secret::Secret;

    #[test]
    fn only_what_was_signed_lately_with_the_secret_is_genuine() {
        let secret = Secret::new("whsec_test");
        let settings = |secret| Settings::new(Mode::Test, &Secret::new("sk_test_1"), secret, STRIPE).unwrap();
        let account = |secret| Account {
            id: AccountId::random(),
            environment: EnvironmentId::random(),
            mode: Mode::Test,
            settings: settings(secret),
            created_at: Timestamp(0),
        };
        let (ours, deaf) = (account(Some(&secret)), account(None));
        let body = br#"{"id":"evt_1"}"#;
        // printf '1000.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_test
        let hex = "387e46d34ab34bb0f3624adcaa371a0332240720155daad95713dfea27253ccd";
        let header = format!("t=1000,v0=abc,v1=00,v1={hex}");
        let at = |seconds: i64| Timestamp(seconds * 1000);
        assert!(is_genuine(&ours, &header, body, at(1000)) && is_genuine(&ours, &header, body, at(1300)));
        assert!(!is_genuine(&ours, &header, body, at(1301)) && !is_genuine(&ours, &header, body, at(699)));
        assert!(!is_genuine(&deaf, &header, body, at(1000)) && !is_genuine(&ours, &header, b"{}", at(1000)));
        for wrong in ["", "t=1000", &format!("v1={hex}"), &format!("t=x,v1={hex}"), "t=1000,v1=zz", "t=1000,v1=é"] {
            assert!(!is_genuine(&ours, wrong, body, at(1000)), "{wrong}");
        }
    }
}
