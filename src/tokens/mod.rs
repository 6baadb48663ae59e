//! Access tokens (JWT, RS256) and the sessions of the hosted pages.
//!
//! Signing keys belong to an environment; the private half is sealed in the database, so every server on it signs
//! alike. Signing and verifying go straight to aws-lc: typed claims and one pinned algorithm are shorter than a
//! JWT library's options, and its clock would not be ours.

mod store;

pub(crate) use store::insert_signing_key;
pub use store::{current_public_key, end_sessions, public_keys};

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKey};
use aws_lc_rs::signature::{self, KeyPair as _, UnparsedPublicKey};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64URL, Engine};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::apps::{self, Environment};
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::random;
use crate::secret::{Secret, sha256};
use crate::ticket::Ticket;
use crate::users::{self, User, UserId};

/// How long an access token works.
pub const ACCESS_LIFETIME: Duration = Duration::from_hours(1);
/// How long a person stays signed in on the hosted pages.
const SESSION_LIFETIME: Duration = Duration::from_hours(12);
/// No token of ours is longer.
const LONGEST: usize = 8192;

/// The pair that an environment signs with.
pub struct SigningKey {
    id: String,
    private: Vec<u8>,
    public: PublicHalf,
}

crate::secret::redacted!(SigningKey);

/// The public half: SubjectPublicKeyInfo, DER.
#[derive(Clone, Debug)]
pub struct PublicHalf(Vec<u8>);

impl SigningKey {
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
    fn pair(&self) -> Result<Arc<KeyPair>> {
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

    /// The key's name by RFC 7638.
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

/// The claims of an access token (contract C2). An ID token has no `psc`, so it cannot pass for one.
#[derive(Serialize, Deserialize)]
struct AccessClaims {
    iss: String,
    sub: String,
    aud: String,
    lng: String,
    jti: String,
    nonce: String,
    auth_time: i64,
    exp: i64,
    scope: Vec<String>,
    psc: Vec<Value>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    crit: Option<Value>,
}

/// An access token and how long it works, in seconds.
pub struct AccessToken {
    /// The JWT.
    pub token: Secret,
    /// Seconds.
    pub expires_in: u64,
}

/// Signs an access token for the user, who signed in at `signed_in_at` (the claim `auth_time`).
///
/// # Errors
/// The user is frozen or deleted, or the database does not answer.
pub fn issue(tx: &Tx, user: &User, signed_in_at: Timestamp) -> Result<AccessToken> {
    user.admit()?;
    let environment = apps::by_id(tx, user.environment)?;
    let key = store::newest_signing_key(tx, user.environment)?;
    let now = tx.now();
    let claims = AccessClaims {
        iss: environment.issuer,
        sub: user.id.to_string(),
        aud: environment.app.to_string(),
        lng: user.person.profile.language.as_ref().map_or_else(|| "en".to_owned(), |language| language.0.clone()),
        jti: random::uuid().to_string(),
        nonce: random::uuid().to_string(),
        auth_time: signed_in_at.as_seconds(),
        exp: (now + ACCESS_LIFETIME).as_seconds(),
        scope: ["openid", "profile", "email"].map(str::to_owned).to_vec(),
        psc: Vec::new(),
    };
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key.id});
    let signed = format!("{}.{}", segment(&header)?, segment(&claims)?);
    let pair = key.pair()?;
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&signature::RSA_PKCS1_SHA256, &aws_lc_rs::rand::SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| Error::internal("a token could not be signed"))?;
    let token = format!("{signed}.{}", BASE64URL.encode(signature));
    Ok(AccessToken { token: Secret::new(token), expires_in: ACCESS_LIFETIME.as_secs() })
}

/// The person behind an access token, who is still there and not frozen.
///
/// # Errors
/// [`Error::Unauthenticated`] for every token that is not ours, not in force, or not of this user any more;
/// [`Error::Forbidden`] for a frozen user.
pub fn verify(tx: &Tx, token: &Secret) -> Result<Caller> {
    let (environment, claims) = check(tx, token)?.ok_or_else(invalid)?;
    if claims.exp <= tx.now().as_seconds() {
        return Err(Error::Unauthenticated { code: "token_expired", message: "The access token has expired" });
    }
    let id: UserId = claims.sub.parse().map_err(|_| invalid())?;
    let user = users::any_by_id(tx, id)?.filter(|user| user.environment == environment.id).ok_or_else(invalid)?;
    user.admit()?;
    Ok(Caller::person(&environment, user.id))
}

/// Signature, algorithm, issuer and audience; `None` if anything is off.
fn check(tx: &Tx, token: &Secret) -> Result<Option<(Environment, AccessClaims)>> {
    let token = token.expose();
    let mut parts = token.split('.');
    let (Some(header64), Some(claims64), Some(signature64), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Ok(None);
    };
    let Some(header) = read::<Header>(header64).filter(|_| token.len() <= LONGEST) else { return Ok(None) };
    if header.alg != "RS256" || header.typ != "JWT" || header.crit.is_some() {
        return Ok(None);
    }
    let Some((environment, public)) = store::public_key(tx, &header.kid)? else { return Ok(None) };
    let Ok(signature) = BASE64URL.decode(signature64) else { return Ok(None) };
    let signed = &token.as_bytes()[..header64.len() + 1 + claims64.len()];
    let key = UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, &public.0);
    let Some(claims) = key.verify(signed, &signature).ok().and_then(|()| read::<AccessClaims>(claims64)) else {
        return Ok(None);
    };
    let environment = apps::by_id(tx, environment)?;
    let ours = claims.iss == environment.issuer && claims.aud == environment.app.to_string();
    Ok(ours.then_some((environment, claims)))
}

fn invalid() -> Error {
    Error::Unauthenticated { code: "invalid_token", message: "The access token is not valid" }
}

/// A JSON value as a JWT segment whose base64 never has `-` or `_` (contract C5: the official browser client decodes
/// segments with `atob`): everything beyond ASCII, and `>`, `?`, `~` and DEL, is written as `\u` escapes.
fn segment<T: Serialize>(value: &T) -> Result<String> {
    let json = serde_json::to_string(value).map_err(Error::internal)?;
    let mut ascii = String::with_capacity(json.len());
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte < 0x7f && !b">?~".contains(&byte) => ascii.push(char::from(byte)),
            _ => write!(ascii, "\\u{unit:04x}").map_err(Error::internal)?,
        }
    }
    Ok(BASE64URL.encode(ascii))
}

fn read<T: serde::de::DeserializeOwned>(segment: &str) -> Option<T> {
    serde_json::from_slice(&BASE64URL.decode(segment).ok()?).ok()
}

/// Signs the person in on the hosted pages; the secret goes into their cookie.
///
/// # Errors
/// The database refuses.
pub fn start_session(tx: &Tx, user: UserId) -> Result<Secret> {
    let ticket = Ticket::new(tx.now());
    store::insert_session(tx, &ticket, user, tx.now() + SESSION_LIFETIME)?;
    Ok(ticket.text())
}

/// Ends the session with this secret, if there is one.
///
/// # Errors
/// The database refuses.
pub fn end_session(tx: &Tx, secret: &Secret) -> Result<()> {
    match Ticket::read(secret) {
        Some(ticket) if store::session_user(tx, &ticket)?.is_some() => store::end_session(tx, &ticket),
        _ => Ok(()),
    }
}

/// The user signed in with this session, who may still act, and since when; `None` if there is no such session.
///
/// # Errors
/// The user is frozen or deleted.
pub fn session_user(tx: &Tx, secret: &Secret) -> Result<Option<(User, Timestamp)>> {
    let found = Ticket::read(secret).map_or(Ok(None), |ticket| store::session_user(tx, &ticket))?;
    let Some((id, since)) = found else { return Ok(None) };
    let user = users::any_by_id(tx, id)?.ok_or(Error::UserNotFound)?;
    user.admit()?;
    Ok(Some((user, since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_decodes_with_plain_base64_whatever_is_in_it() {
        let everything: String = (0x20..0x3000_u32).filter_map(char::from_u32).chain("😀\u{7f}".chars()).collect();
        for start in 0..3 {
            let value = json!({ "x".repeat(start + 1): everything });
            let segment = segment(&value).unwrap();
            assert!(!segment.contains(['-', '_']));
            assert_eq!(read::<Value>(&segment), Some(value));
        }
    }

    #[test]
    fn a_key_has_a_name_a_pem_and_a_jwk() {
        let key = SigningKey::generate().unwrap();
        assert_eq!(key.id.len(), 43);
        assert!(key.public.pem().starts_with("-----BEGIN PUBLIC KEY-----\nMIIB"));
        assert_eq!(key.public.jwk(&key.id).unwrap()["e"], "AQAB");
    }
}
