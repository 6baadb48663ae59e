//! Signatures of the Standard Webhooks specification: HMAC-SHA256 (`v1`) and Ed25519 (`v1a`), over `id.timestamp.body`.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::random;
use crate::secret::Secret;

/// What one endpoint's messages are signed with: a secret that both sides know, and a private key of ours.
#[derive(Clone, Serialize, Deserialize)]
pub struct Keys {
    /// `whsec_` and 32 bytes in base64.
    secret: String,
    /// `whsk_` and the seed in base64.
    key: String,
    /// Until when they sign beside newer ones, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

crate::secret::redacted!(Keys);

const SECRET: &str = "whsec_";
const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";

impl Keys {
    /// New ones.
    pub fn generate() -> Keys {
        let text = |prefix: &str| format!("{prefix}{}", BASE64_STANDARD.encode(random::bytes::<32>()));
        Keys { secret: text(SECRET), key: text(PRIVATE), until: None }
    }

    /// The secret that the receiver verifies `v1` with.
    pub fn secret(&self) -> Secret {
        Secret::new(&self.secret)
    }

    /// The public key that the receiver verifies `v1a` with: `whpk_` and 32 bytes in base64.
    ///
    /// # Errors
    /// The stored key is damaged.
    pub fn public_key(&self) -> Result<String> {
        Ok(format!("{PUBLIC}{}", BASE64_STANDARD.encode(self.pair()?.public_key())))
    }

    /// The same, to sign until then and no longer.
    #[must_use]
    pub fn ending(mut self, at: Timestamp) -> Keys {
        self.until = Some(self.until.map_or(at.0, |until| until.min(at.0)));
        self
    }

    /// Whether they still sign.
    pub fn sign_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now.0 < until)
    }

    fn pair(&self) -> Result<Ed25519KeyPair> {
        Ed25519KeyPair::from_seed_unchecked(&decode(&self.key, PRIVATE)?).map_err(|_| Error::Integrity)
    }

    fn sign(&self, text: &[u8]) -> Result<String> {
        let shared = hmac::Key::new(hmac::HMAC_SHA256, &decode(&self.secret, SECRET)?);
        let (v1, v1a) = (hmac::sign(&shared, text), self.pair()?.sign(text));
        Ok(format!("v1,{} v1a,{}", BASE64_STANDARD.encode(v1), BASE64_STANDARD.encode(v1a)))
    }
}

fn decode(text: &str, prefix: &str) -> Result<Vec<u8>> {
    let encoded = text.strip_prefix(prefix).ok_or(Error::Integrity)?;
    BASE64_STANDARD.decode(encoded).map_err(|_| Error::Integrity)
}

/// The header `webhook-signature`: by every pair of keys that signs at `now`, the newest first.
///
/// # Errors
/// A stored key is damaged.
pub fn signatures(keys: &[Keys], now: Timestamp, id: &str, body: &str) -> Result<String> {
    let text = format!("{id}.{}.{body}", now.as_seconds());
    let signing = keys.iter().filter(|keys| keys.sign_at(now));
    let all: Vec<String> = signing.map(|keys| keys.sign(text.as_bytes())).collect::<Result<_>>()?;
    Ok(all.join(" "))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    /// The vector that the reference libraries test themselves with.
    #[test]
    fn the_vector_of_the_specification_is_signed_as_there() {
        let keys = Keys { secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(), ..Keys::generate() };
        let body = r#"{"test": 2432232314}"#;
        let signed = signatures(&[keys], Timestamp(1_614_265_330_999), "msg_p5jXN8AQM9LWM0D4loKWxJek", body).unwrap();
        assert!(signed.starts_with("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,"), "{signed}");
    }

    #[test]
    fn the_public_key_verifies_what_was_signed_and_nothing_else() {
        let keys = Keys::generate();
        let signed = signatures(std::slice::from_ref(&keys), Timestamp(1000), "evt_1", "{}").unwrap();
        let signature = BASE64_STANDARD.decode(signed.split("v1a,").nth(1).unwrap()).unwrap();
        let public = BASE64_STANDARD.decode(keys.public_key().unwrap().strip_prefix("whpk_").unwrap()).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, public);
        assert!(public.verify(b"evt_1.1.{}", &signature).is_ok());
        assert!(public.verify(b"evt_1.2.{}", &signature).is_err());
    }

    #[test]
    fn keys_that_were_replaced_sign_beside_the_new_ones_until_their_time_is_over() {
        let (new, old) = (Keys::generate(), Keys::generate().ending(Timestamp(5000)));
        let keys = [new, old.ending(Timestamp(9000))];
        let count = |now| signatures(&keys, Timestamp(now), "a", "b").unwrap().split(' ').count();
        assert_eq!((count(4999), count(5000)), (4, 2), "a later end does not make it longer");
    }
}
