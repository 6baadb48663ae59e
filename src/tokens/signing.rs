//! Signing keys: each environment has an RSA pair, whose private half is sealed in the database, so that every server on
//! it signs alike.
//!
//! A new pair is shown to whoever verifies before it signs, and the one before verifies until its last token has expired.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKey};
use aws_lc_rs::signature::KeyPair as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64URL, Engine};
use serde_json::{Value, json};

use super::{ACCESS_LIFETIME, store};
use crate::apps::{self, EnvironmentId};
use crate::audit::{self, Action, Changes};
use crate::caller::Origin;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::secret::sha256;

/// The pair that an environment signs with.
pub struct SigningKey {
    pub(super) id: String,
    pub(super) private: Vec<u8>,
    pub(super) public: PublicHalf,
}

crate::secret::redacted!(SigningKey);

/// The public half: SubjectPublicKeyInfo, DER.
#[derive(Clone, Debug)]
pub struct PublicHalf(pub(super) Vec<u8>);

impl SigningKey {
    /// Its name: the `kid` of the tokens it signs.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Makes a new pair of 2048 bits. Takes a while (tens to hundreds of milliseconds), so do it outside transactions.
    ///
    /// # Errors
    /// The cryptographic library refuses.
    pub fn generate() -> Result<SigningKey> {
        let fail = |_| Error::internal("an RSA key could not be made");
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(fail)?;
        let private = AsDer::<Pkcs8V1Der>::as_der(&pair).map_err(fail)?.as_ref().to_vec();
        let public = AsDer::<PublicKeyX509Der>::as_der(pair.public_key()).map_err(fail)?.as_ref().to_vec();
        let public = PublicHalf(public);
        Ok(SigningKey { id: public.thumbprint()?, private, public })
    }
}

impl SigningKey {
    /// The pair, ready to sign. Reading one takes longer than signing with it, so those in use are kept.
    pub(super) fn pair(&self) -> Result<Arc<KeyPair>> {
        static READ: Mutex<BTreeMap<String, Arc<KeyPair>>> = Mutex::new(BTreeMap::new());
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = read.get(&self.id) {
            return Ok(Arc::clone(pair));
        }
        let pair = Arc::new(KeyPair::from_pkcs8(&self.private).map_err(|_| Error::Integrity)?);
        read.insert(self.id.clone(), Arc::clone(&pair));
        Ok(pair)
    }
}

impl PublicHalf {
    /// PEM, as the directory API gives it.
    pub fn pem(&self) -> String {
        let body = BASE64_STANDARD.encode(&self.0);
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        for line in body.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem + "-----END PUBLIC KEY-----\n"
    }

    /// JSON Web Key (RFC 7517) under the name `id`.
    ///
    /// # Errors
    /// The stored key is damaged.
    pub fn jwk(&self, id: &str) -> Result<Value> {
        let (n, e) = self.numbers()?;
        Ok(json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": n, "e": e}))
    }

    /// The key's name by RFC 7638; see [`is_name`].
    fn thumbprint(&self) -> Result<String> {
        let (n, e) = self.numbers()?;
        Ok(BASE64URL.encode(sha256(format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#).as_bytes())))
    }

    fn numbers(&self) -> Result<(String, String)> {
        let key = PublicKey::from_der(&self.0).map_err(|_| Error::Integrity)?;
        let text = |number: &[u8]| BASE64URL.encode(number);
        Ok((
            text(key.modulus().big_endian_without_leading_zero()),
            text(key.exponent().big_endian_without_leading_zero()),
        ))
    }
}

/// Whether a text can be the name of a key at all: the base64 of a hash.
pub(super) fn is_name(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// How long a key goes on verifying after the next one signs: as long as a token works, and some for clocks.
pub(super) const OVERLAP: Duration = ACCESS_LIFETIME.saturating_add(Duration::from_mins(5));

/// A signing key as listed.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// Its name: the `kid` of the tokens it signs.
    pub id: String,
    /// The environment it signs for.
    pub environment: EnvironmentId,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it signs.
    pub active_at: Timestamp,
    /// When it stops verifying, once another has taken its place.
    pub retires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Adds a key, which signs `after` a while. The one before signs until then, and verifies until its last token has expired.
///
/// # Errors
/// The database refuses.
pub fn rotate(tx: &Tx, origin: Origin, environment: EnvironmentId, key: &SigningKey, after: Duration) -> Result<()> {
    apps::lock(tx, environment)?;
    let active_at = tx.now() + after;
    let all = store::list(tx, environment)?;
    let before =
        all.iter().find(|listed| listed.retires_at.is_none()).map(|listed| shown(&listed.id, listed.active_at));
    store::retire_all(tx, environment, active_at + OVERLAP)?;
    let changes = Changes::between(&before.unwrap_or_default(), &shown(&key.id, active_at));
    audit::record_changes(tx, environment, origin, Action::SigningKeyRotated, environment.0, &changes)?;
    store::insert_signing_key(tx, environment, key, active_at)
}

/// A key as the audit trail tells of it.
fn shown(id: &str, active_at: Timestamp) -> Value {
    json!({"id": id, "activeAt": active_at})
}

/// Makes a key worthless at once, with every token that it signed. `next` takes its place at once.
///
/// # Errors
/// There is no such key.
pub fn revoke(tx: &Tx, origin: Origin, id: &str, next: &SigningKey) -> Result<()> {
    let environment = store::environment_of(tx, id)?.ok_or_else(|| {
        Error::operator(format!("there is no signing key {id}. `usher signing-key list` shows those that exist."))
    })?;
    apps::lock(tx, environment)?;
    store::revoke(tx, id)?;
    let changes = Changes::between(&json!({ "id": id }), &json!({"revokedAt": tx.now()}));
    audit::record_changes(tx, environment, origin, Action::SigningKeyRevoked, environment.0, &changes)?;
    rotate(tx, origin, environment, next, Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_name_a_pem_and_a_jwk() {
        let key = SigningKey::generate().unwrap();
        assert_eq!(key.id.len(), 43);
        assert!(key.public.pem().starts_with("-----BEGIN PUBLIC KEY-----\nMIIB"));
        assert_eq!(key.public.jwk(&key.id).unwrap()["e"], "AQAB");
    }
}
