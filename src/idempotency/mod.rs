//! Idempotency keys (IETF draft-ietf-httpapi-idempotency-key-header): a request that is sent again gets the answer of
//! the first time, and its effect happens once.
//!
//! The record, the fingerprint and the answer are written in the transaction of the effect, so there is no moment at
//! which one is there without the other. Failures are not kept: they had no effect, so the request may run again.

mod store;

pub use store::purge;

use std::time::Duration;

use serde_json::Value;

use crate::caller::{Actor, Caller};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::secret::sha256;
use crate::users::UserId;

/// How long an answer is kept.
pub const LIFETIME: Duration = Duration::from_hours(24);
/// The longest key, in characters.
pub const LONGEST: usize = 255;

/// A request that its caller may send again.
#[derive(Clone)]
pub struct Request {
    /// The caller's key for it.
    key: String,
    /// The path: one key may be used once on each.
    route: String,
    /// What the request asks for, whatever its white space and order of keys.
    fingerprint: Vec<u8>,
}

crate::secret::redacted!(Request);

/// What a request is answered with.
pub struct Answer {
    /// The body, byte for byte.
    pub body: String,
    /// The entity tag of the record as the request left it.
    pub etag: String,
    /// The user that it is about.
    pub user: Option<UserId>,
    /// Whether this is the answer of an earlier time.
    pub replayed: bool,
}

impl Request {
    /// A request with the header `Idempotency-Key: <header>`, quoted as the draft has it or bare as many send it.
    /// `route` is its path; `besides` is what shapes it besides the body, such as the API date and the query.
    ///
    /// # Errors
    /// The key is empty, too long or not plain ASCII.
    pub fn new(header: &str, route: String, besides: &[&str], body: &Value) -> Result<Request> {
        let key = key_of(header)?.to_owned();
        let mut canonical = format!("{route}\n{}\n", besides.join("\n")).into_bytes();
        write_canonical(body, &mut canonical);
        Ok(Request { key, route, fingerprint: sha256(&canonical).to_vec() })
    }
}

/// The key in the header's value.
fn key_of(header: &str) -> Result<&str> {
    let header = header.trim();
    let key = header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(header);
    let plain = key.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    if key.is_empty() || key.len() > LONGEST || !plain {
        let text =
            format!("Idempotency-Key must be 1 to {LONGEST} visible ASCII characters without quotes and backslashes");
        return Err(Error::bad_request("invalid_idempotency_key", text));
    }
    Ok(key)
}

/// What an operation leaves to be answered and kept.
pub struct Effect {
    /// The body.
    pub body: Value,
    /// The entity tag of the user that it was about; empty if it was about none.
    pub etag: String,
    /// The user that it was about.
    pub user: Option<UserId>,
}

/// Runs `operation` once for this request of this caller: its answer now, or
/// the answer of the first time.
///
/// Nobody judges that answer again, so it is only for who acts by the same leave: a person who has lost a right since, or has a
/// token of fewer scopes, would not get it now.
///
/// # Errors
/// Those of the operation, 422 if the key was used for another request or by another leave, and 409 if that is still
/// running after seconds of waiting for it.
pub fn once(
    tx: &Tx,
    caller: &Caller,
    request: Option<&Request>,
    operation: impl FnOnce(&Tx) -> Result<Effect>,
) -> Result<Answer> {
    let run = || {
        let Effect { body, etag, user } = operation(tx)?;
        Ok(Answer { body: body.to_string(), etag, user, replayed: false })
    };
    let Some(request) = request else { return run() };
    let owner = owner(caller, &request.route, &request.key);
    // Keyed, for a body can be guessed: what it holds is mostly known, and the rest of it short.
    let asked = [request.fingerprint.as_slice(), caller.leave().as_bytes()].concat();
    let asked = tx.vault().mark("idempotency", &asked);
    if let Some((fingerprint, answer)) = store::claim(tx, caller.scope.environment, &owner, &asked)? {
        return if fingerprint == asked { Ok(answer) } else { Err(Error::IdempotencyKeyReused) };
    }
    let answer = run()?;
    store::keep(tx, caller.scope.environment, &owner, &asked, &answer)?;
    Ok(answer)
}

/// Whether [`once`] will run nothing: this caller's key, as in the header, has its answer on that route.
///
/// # Errors
/// It is no key.
pub fn is_answered(tx: &Tx, caller: &Caller, route: &str, header: &str) -> Result<bool> {
    Ok(store::find(tx, &owner(caller, route, key_of(header)?))?.is_some())
}

/// Under which a record is found: the environment, who sent the key, where to, and the key. A hash, because the parts
/// are of any length and nobody needs to read them.
fn owner(caller: &Caller, route: &str, key: &str) -> Vec<u8> {
    let actor = match caller.actor {
        Actor::Key(id) => id.0,
        Actor::Person(id) => id.0,
        Actor::Admin(id) => id.0,
        Actor::Operator | Actor::Usher => uuid::Uuid::nil(),
    };
    let environment = caller.scope.environment.0;
    sha256(format!("{environment}\n{actor}\n{route}\n{key}").as_bytes()).to_vec()
}

/// JSON with sorted keys and no white space.
fn write_canonical(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| key.as_str());
            into.push(b'{');
            for (key, value) in entries {
                into.extend(Value::from(key.as_str()).to_string().bytes());
                into.push(b':');
                write_canonical(value, into);
                into.push(b',');
            }
            into.push(b'}');
        }
        Value::Array(list) => {
            into.push(b'[');
            for value in list {
                write_canonical(value, into);
                into.push(b',');
            }
            into.push(b']');
        }
        plain => into.extend(plain.to_string().bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(header: &str, body: &Value) -> Result<Request> {
        Request::new(header, "/users/create".into(), &["2023-10-04", ""], body)
    }

    #[test]
    fn order_and_white_space_do_not_make_another_request_and_everything_else_does() {
        let print = |text: &str| request("k", &serde_json::from_str(text).unwrap()).unwrap().fingerprint;
        let first = print(r#"{"a":1,"b":{"c":[1,2],"d":"x"}}"#);
        assert_eq!(first, print(r#" { "b" : { "d":"x", "c" : [1, 2] } , "a" : 1 } "#));
        for other in [
            r#"{"a":2,"b":{"c":[1,2],"d":"x"}}"#,
            r#"{"a":1,"b":{"c":[2,1],"d":"x"}}"#,
            r#"{"a":"1","b":{"c":[1,2],"d":"x"}}"#,
            r#"{"a":1,"b":{"c":[1,2]},"d":"x"}"#,
            r#"{"a":1,"b":{"c":[[1,2]],"d":"x"}}"#,
            "{}",
        ] {
            assert_ne!(first, print(other), "{other}");
        }
        for besides in [["2023-08-01", ""], ["2023-10-04", "test=true"]] {
            let other = Request::new("k", "/users/create".into(), &besides, &json!({})).unwrap();
            assert_ne!(print("{}"), other.fingerprint, "{besides:?}");
        }
    }

    #[test]
    fn a_key_is_quoted_or_bare_and_of_a_sensible_length() {
        let key = |header: &str| request(header, &json!({})).map(|request| request.key);
        assert_eq!(key("\"8e03978e-40d5\"").unwrap(), "8e03978e-40d5");
        assert_eq!(key(" 8e03978e-40d5 ").unwrap(), "8e03978e-40d5");
        assert_eq!(key(&"x".repeat(255)).unwrap().len(), 255);
        for wrong in ["", " ", "\"\"", "\"", "a b", "a\"b", "a\\b", "é", &"x".repeat(256)] {
            assert_eq!(key(wrong).unwrap_err().code(), "invalid_idempotency_key", "{wrong}");
        }
    }
}
