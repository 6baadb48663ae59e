//! Access and ID tokens (JWT, RS256; contract C2).
//!
//! Signing and verifying go straight to aws-lc: typed claims and one pinned algorithm are shorter than a JWT library's
//! options, and its clock would not be ours.

pub mod signing;
mod store;

pub use signing::{PublicHalf, SigningKey};
pub(crate) use store::insert_signing_key;
pub use store::{current_public_key, list, public_keys};

use std::fmt::Write;
use std::time::Duration;

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD as BASE64URL, Engine};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::apps::{self, AppId, Environment, EnvironmentId};
use crate::audit::{self, Action};
use crate::caller::{Actor, Caller, Facts, Origin};
use crate::codes;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::links::Links;
use crate::random;
use crate::roles;
use crate::secret::Secret;
use crate::sessions::{self, Session, SessionId};
use crate::users::{self, IDENTITY, Profile, User, UserId};

/// How long a token works.
pub const ACCESS_LIFETIME: Duration = Duration::from_hours(1);
/// No access token of ours is longer.
const LONGEST: usize = 8192;
/// As much of a hint is read as fits into the header of a request: in an ID token is what a person says of themselves, and a letter
/// beyond ASCII is eight bytes there.
const LONGEST_HINT: usize = 32 * 1024;
/// No nonce is longer, as it stands in a token.
const LONGEST_NONCE: usize = 512;
/// What is said of one that is.
pub const NONCE_TOO_LONG: &str = "nonce has 512 bytes at the most, where a letter beyond ASCII is six";

/// The claims of an access token (contract C2, and the session as `sid`). An ID token has no `psc`, so it cannot pass for
/// one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    sid: Uuid,
}

/// Those of any token of ours that say whom it is about.
#[derive(Deserialize)]
struct HintClaims {
    sub: Uuid,
    aud: String,
    sid: Uuid,
    /// Access tokens have it. They are shown to others than the app, so they are no hint.
    psc: Option<IgnoredAny>,
}

/// What a token says that opens nothing (`id_token_hint`).
#[derive(Clone, Copy, Debug)]
pub struct Hint {
    /// Of which environment the person is.
    pub environment: EnvironmentId,
    /// Whom the app means.
    pub user: UserId,
    /// The session that the token belongs to.
    pub session: SessionId,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    crit: Option<Value>,
}

/// What tokens are made for.
pub struct Grant<'a> {
    /// The session they belong to.
    pub session: &'a Session,
    /// What the app sent to find again in the ID token.
    pub nonce: Option<&'a str>,
    /// By which address they are issued at the standard door; elsewhere the environment names its issuer.
    pub standard: Option<&'a Links>,
}

/// An access token with its ID token.
pub struct Tokens {
    /// For APIs.
    pub access: Secret,
    /// For the app: who has signed in.
    pub id: Secret,
    /// How long both work, in seconds.
    pub expires_in: u64,
}

/// Signs the tokens of a session.
///
/// # Errors
/// The user is frozen or deleted, or the session has ended.
pub fn issue(tx: &Tx, grant: &Grant) -> Result<Tokens> {
    let session = grant.session;
    let user = users::any_by_id(tx, session.user)?.ok_or(Error::UserNotFound)?;
    user.admit()?;
    let environment = apps::by_id(tx, user.environment)?;
    let key = store::signing_key(tx, user.environment)?;
    let nonce = grant.nonce.map_or_else(|| random::uuid().to_string(), str::to_owned);
    let claims = AccessClaims {
        iss: grant.standard.map_or(environment.issuer, |links| links.issuer(environment.kind)),
        sub: user.id.to_string(),
        aud: environment.app.to_string(),
        lng: user.person.profile.language.as_ref().map_or_else(|| "en".to_owned(), |language| language.0.clone()),
        jti: random::uuid().to_string(),
        nonce,
        auth_time: session.created_at.as_seconds(),
        exp: (tx.now() + ACCESS_LIFETIME).as_seconds(),
        scope: session.scope.split_whitespace().map(str::to_owned).collect(),
        psc: Vec::new(),
        sid: session.id.0,
    };
    let mut about = json!(claims);
    let identity = about.as_object_mut().ok_or_else(|| Error::internal("claims are an object"))?;
    identity.shift_remove("psc");
    identity.insert("iat".into(), tx.now().as_seconds().into());
    if grant.nonce.is_none() {
        identity.shift_remove("nonce");
    }
    identity.extend(about_user(&user, &claims.scope));
    let access = sign(&key, &claims)?;
    Ok(Tokens { access, id: sign(&key, &about)?, expires_in: ACCESS_LIFETIME.as_secs() })
}

/// The facts that OpenID Connect has no claims for.
const OURS: [&str; 6] =
    ["language", "salutation", "salutationOther", "acceptedNewsletter", "other_gender", "externalId"];

/// The claims of OpenID Connect Core 5.4 that the scopes open.
pub fn about_user(user: &User, scopes: &[String]) -> Map<String, Value> {
    let facts = Facts::of(scopes);
    let mut claims = Map::new();
    for wire in
        Profile::FIELDS.iter().chain(IDENTITY).filter(|wire| !OURS.contains(&wire.name) && facts.open(wire.name))
    {
        if let Some(value) = (wire.show)(&user.person).filter(|value| !value.is_null()) {
            claims.insert(wire.name.to_owned(), value);
        }
    }
    if facts.open("email") {
        claims.insert("email_verified".into(), user.email_verified_at.is_some().into());
    }
    if claims.contains_key("phone_number") {
        claims.insert("phone_number_verified".into(), false.into());
    }
    if facts.open("updated_at") {
        claims.insert("updated_at".into(), user.updated_at.as_seconds().into());
    }
    claims
}

fn sign(key: &SigningKey, claims: &impl Serialize) -> Result<Secret> {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": key.id()});
    let signed = format!("{}.{}", segment(&header)?, segment(claims)?);
    let pair = key.pair()?;
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&signature::RSA_PKCS1_SHA256, &aws_lc_rs::rand::SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| Error::internal("a token could not be signed"))?;
    Ok(Secret::new(format!("{signed}.{}", BASE64URL.encode(signature))))
}

/// Who has sent an access token.
#[derive(Clone)]
pub struct Bearer {
    /// The person.
    pub caller: Caller,
    /// What it opens.
    pub scope: Vec<String>,
}

/// The person behind an access token, who is still there and not frozen, and whose session goes on.
///
/// # Errors
/// [`Error::Unauthenticated`] for every token that is not ours, not in force, or not of this user any more;
/// [`Error::Forbidden`] for a frozen user.
pub fn verify(tx: &Tx, token: &Secret, links: &Links) -> Result<Bearer> {
    let (environment, claims) = check(tx, token, links)?.ok_or_else(invalid)?;
    if claims.exp <= tx.now().as_seconds() {
        return Err(Error::Unauthenticated { code: "token_expired", message: "The access token has expired" });
    }
    let id: UserId = claims.sub.parse().map_err(|_| invalid())?;
    let user = users::any_by_id(tx, id)?.filter(|user| user.environment == environment.id).ok_or_else(invalid)?;
    user.admit()?;
    let session = sessions::in_force(tx, SessionId(claims.sid), user.id)?.id;
    let caller = Caller::person(&environment, &user, roles::rights_of(tx, &user)?, Facts::of(&claims.scope));
    let caller = Caller { session: Some(session), ..caller };
    Ok(Bearer { caller, scope: claims.scope })
}

/// The session that a token of the app belongs to: a refresh token, whether it still works or not, or an access token that does.
///
/// # Errors
/// [`Error::BadRequest`] for a token of another app.
pub fn session_of(tx: &Tx, client: AppId, presented: &Secret, links: &Links) -> Result<Option<Session>> {
    let found = match sessions::of_refresh_token(tx, presented)? {
        None => of_access_token(tx, presented, links)?,
        found => found,
    };
    let Some(session) = found else { return Ok(None) };
    let user = users::any_by_id(tx, session.user)?.ok_or(Error::UserNotFound)?;
    if apps::by_id(tx, user.environment)?.app != client {
        return Err(Error::bad_request("invalid_grant", "The token was not given to this app"));
    }
    Ok(Some(session))
}

fn of_access_token(tx: &Tx, presented: &Secret, links: &Links) -> Result<Option<Session>> {
    match verify(tx, presented, links) {
        Ok(bearer) => bearer.caller.session.map_or(Ok(None), |id| sessions::by_id(tx, id)),
        // What opens nothing has nothing to end.
        Err(Error::Unauthenticated { .. } | Error::Forbidden { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads whom an app means by the token (`id_token_hint`); one that has expired does too, also by a key that signs no more, for it
/// opens nothing. `None` if no key of ours has signed it, or one that was revoked.
///
/// # Errors
/// The database does not answer.
pub fn meant(tx: &Tx, token: &Secret) -> Result<Option<Hint>> {
    let Some((environment, claims)) = opened::<HintClaims>(tx, token, LONGEST_HINT, store::unrevoked_key)? else {
        return Ok(None);
    };
    let ours = claims.psc.is_none() && claims.aud == apps::by_id(tx, environment)?.app.to_string();
    Ok(ours.then_some(Hint { environment, user: UserId(claims.sub), session: SessionId(claims.sid) }))
}

/// Signature, algorithm, issuer and audience; `None` if anything is off.
fn check(tx: &Tx, token: &Secret, links: &Links) -> Result<Option<(Environment, AccessClaims)>> {
    let Some((environment, claims)) = opened::<AccessClaims>(tx, token, LONGEST, store::verifying_key)? else {
        return Ok(None);
    };
    let environment = apps::by_id(tx, environment)?;
    let issuers = [&environment.issuer, &links.issuer(environment.kind)];
    let ours = issuers.contains(&&claims.iss) && claims.aud == environment.app.to_string();
    Ok(ours.then_some((environment, claims)))
}

/// What a key of ours has signed, and of which environment that is; `None` if signature or algorithm is off, or it is longer than
/// `longest`. The key is found by its name.
fn opened<C: serde::de::DeserializeOwned>(
    tx: &Tx,
    token: &Secret,
    longest: usize,
    key: fn(&Tx, &str) -> Result<Option<store::Verifier>>,
) -> Result<Option<(EnvironmentId, C)>> {
    let token = token.expose();
    let mut parts = token.split('.');
    let (Some(header64), Some(claims64), Some(signature64), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Ok(None);
    };
    let Some(header) = read::<Header>(header64).filter(|_| token.len() <= longest) else { return Ok(None) };
    if header.alg != "RS256" || header.typ != "JWT" || header.crit.is_some() || !signing::is_name(&header.kid) {
        return Ok(None);
    }
    let Some((environment, public)) = key(tx, &header.kid)? else { return Ok(None) };
    let Ok(signature) = BASE64URL.decode(signature64) else { return Ok(None) };
    let signed = &token.as_bytes()[..header64.len() + 1 + claims64.len()];
    let key = UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, &public.0);
    let Some(claims) = key.verify(signed, &signature).ok().and_then(|()| read::<C>(claims64)) else {
        return Ok(None);
    };
    Ok(Some((environment, claims)))
}

fn invalid() -> Error {
    Error::Unauthenticated { code: "invalid_token", message: "The access token is not valid" }
}

/// Whether a token can carry this nonce and still be one that we accept.
pub fn fits_nonce(nonce: &str) -> bool {
    escaped(&Value::from(nonce).to_string()).is_ok_and(|json| json.len() - 2 <= LONGEST_NONCE)
}

/// A JSON value as a JWT segment whose base64 never has `-` or `_` (contract C5: the official browser client decodes
/// segments with `atob`): everything beyond ASCII, and `>`, `?`, `~` and DEL, is written as `\u` escapes.
fn segment<T: Serialize>(value: &T) -> Result<String> {
    escaped(&serde_json::to_string(value).map_err(Error::internal)?).map(|ascii| BASE64URL.encode(ascii))
}

fn escaped(json: &str) -> Result<String> {
    let mut ascii = String::with_capacity(json.len());
    for unit in json.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte < 0x7f && !b">?~".contains(&byte) => ascii.push(char::from(byte)),
            _ => write!(ascii, "\\u{unit:04x}").map_err(Error::internal)?,
        }
    }
    Ok(ascii)
}

fn read<T: serde::de::DeserializeOwned>(segment: &str) -> Option<T> {
    serde_json::from_slice(&BASE64URL.decode(segment).ok()?).ok()
}

/// An access token for a user by a session of its own, for trying things out.
///
/// # Errors
/// The user is frozen or deleted.
pub fn issue_by_itself(tx: &Tx, user: &User) -> Result<Tokens> {
    audit::note(tx, Origin::of(Actor::Operator), Action::TokenIssued, user, &user.person)?;
    let (id, _) = sessions::start(tx, user)?;
    let scope = codes::scope_of("");
    let handed_over = sessions::hand_over(tx, id, &scope)?;
    let (session, _) = handed_over.ok_or_else(|| Error::internal("a session just made does not work"))?;
    issue(tx, &Grant { session: &session, nonce: None, standard: None })
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
}
