//! What may be kept of the bodies of a request and of its answer: the names that the OpenAPI documents have, and of the values
//! none that says anything about a person. A word that a document lists is shown where [`PLAIN`] has its field; every other value
//! is replaced by its type, without its length. What no document names is counted and dropped.
//!
//! The answer to a refused request is ours alone, for no error repeats what was sent, and is kept as it is. Whoever may not see
//! health data is not told either which fields of it were there, or were wrong.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use axum::body::{Body, HttpBody, to_bytes};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{body, openapi};
use crate::audit::tells_of_health;

/// Fields whose words and yes or no belong to nobody. No fact of a person may be among them.
const PLAIN: [&str; 15] = [
    "action",
    "apiVersion",
    "deleted",
    "email_verified",
    "enabled",
    "events",
    "freezed",
    "kind",
    "message",
    "phone_number_verified",
    "rehearsed",
    "state",
    "status",
    "success",
    "type",
];
/// Holds what an app likes, under names of its own.
const FREE: &str = "metadata";
/// What older dates of the partner API call facts of health.
const OLDER: [&str; 2] = ["gender", "weight"];
/// Holds the health record.
const HEALTH: &str = "health";
/// What stands where something names facts of health, for those who may not see them.
const HIDDEN: &str = "<hidden>";
/// How many entries of a list are shown.
const ENTRIES: usize = 10;
/// How long a body is at the most, as it is kept.
const LONGEST: usize = 4096;

/// What is kept of two bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bodies {
    /// The body of the request, if it was a JSON object.
    pub sent: Option<Shown>,
    /// The body of the answer.
    pub answer: Option<Shown>,
}

/// A body as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// To owners.
    pub whole: String,
    /// To whoever may not see health data.
    pub discreet: String,
}

impl Shown {
    fn new(value: &Value) -> Shown {
        Shown { whole: print(value), discreet: print(&discreet(value)) }
    }

    /// As it is shown to an owner, or to others.
    pub fn to(&self, is_owner: bool) -> &str {
        if is_owner { &self.whole } else { &self.discreet }
    }
}

impl Bodies {
    /// Reads both. The answer is whole afterwards.
    pub(super) async fn of(sent: Option<Bytes>, response: &mut Response, is_error: bool) -> Bodies {
        let is_short = response.body().size_hint().exact().is_some_and(|size| size <= body::LIMIT as u64);
        let answer = if is_short {
            // It lies in memory as a whole, so reading it neither waits nor fails.
            let bytes = to_bytes(std::mem::take(response.body_mut()), body::LIMIT).await.unwrap_or_default();
            *response.body_mut() = Body::from(bytes.clone());
            serde_json::from_slice(&bytes).ok()
        } else {
            None
        };
        let sent = sent.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mask = |value: Value| if is_error { value } else { masked("", &value) };
        let sent = sent.map(|value| Shown::new(&masked("", &value)));
        Bodies { sent, answer: answer.map(|value| Shown::new(&mask(value))) }
    }
}

fn print(value: &Value) -> String {
    let mut text = format!("{value:#}");
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push_str("\n…");
    }
    text
}

/// The names of all documents, with the words that a value may be.
static KNOWN: LazyLock<HashMap<String, HashSet<String>>> = LazyLock::new(|| {
    let mut known = HashMap::new();
    for (_, document) in openapi::documents() {
        gather(&document, &mut known);
    }
    known
});

fn gather(part: &Value, known: &mut HashMap<String, HashSet<String>>) {
    if let Some(fields) = part.get("properties").and_then(Value::as_object) {
        for (name, schema) in fields {
            words(schema, known.entry(name.clone()).or_default());
        }
    }
    match part {
        Value::Object(parts) => parts.values().for_each(|part| gather(part, known)),
        Value::Array(parts) => parts.iter().for_each(|part| gather(part, known)),
        _ => {}
    }
}

/// The words of a schema, and of those that it is made of.
fn words(schema: &Value, into: &mut HashSet<String>) {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    into.extend(listed.chain(schema.get("const")).filter_map(Value::as_str).map(str::to_owned));
    if let Some(entries) = schema.get("items") {
        words(entries, into);
    }
    for one in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        words(one, into);
    }
}

/// What may be seen of the value of a field.
fn masked(name: &str, value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) if PLAIN.contains(&name) => value.clone(),
        Value::String(word) if PLAIN.contains(&name) && KNOWN.get(name).is_some_and(|words| words.contains(word)) => {
            value.clone()
        }
        Value::Bool(_) => json!("<boolean>"),
        Value::Number(_) => json!("<number>"),
        Value::String(_) => json!("<string>"),
        Value::Object(_) if name == FREE => json!("<object>"),
        Value::Object(fields) => object(fields),
        Value::Array(entries) => {
            let more = entries.len().saturating_sub(ENTRIES);
            let more = (more > 0).then(|| json!(format!("… {more} more")));
            entries.iter().take(ENTRIES).map(|entry| masked(name, entry)).chain(more).collect()
        }
    }
}

fn object(fields: &Map<String, Value>) -> Value {
    let (known, unknown): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| KNOWN.contains_key(*name));
    let mut shown: Map<String, Value> =
        known.into_iter().map(|(name, value)| (name.clone(), masked(name, value))).collect();
    if !unknown.is_empty() {
        shown.insert("…".to_owned(), json!(format!("{} of other names", unknown.len())));
    }
    Value::Object(shown)
}

/// The same without a name of what tells of health, in fields or in what we say of them.
fn discreet(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let (health, others): (Vec<_>, Vec<_>) =
                fields.iter().partition(|(name, _)| *name == HEALTH || is_health(name));
            let hidden = health.first().map(|_| (HEALTH.to_owned(), json!(HIDDEN)));
            others.into_iter().map(|(name, value)| (name.clone(), discreet(value))).chain(hidden).collect()
        }
        Value::Array(entries) => entries.iter().map(discreet).collect(),
        Value::String(text) if text.split(|c: char| !c.is_alphanumeric()).any(is_health) => json!(HIDDEN),
        other => other.clone(),
    }
}

fn is_health(name: &str) -> bool {
    tells_of_health(name) || OLDER.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::{Health, IDENTITY, Profile};

    #[test]
    fn names_that_are_documented_stay_and_values_become_their_types() {
        let sent = json!({
            "email": "jane@doe.com", "pregnant": true, "diabetes": 2, "firstname": ["Jane"], "allergies": null,
            "metadata": {"status": "imported"}, "jane@doe.com": 1, "x": 2
        });
        let shown = json!({
            "email": "<string>", "pregnant": "<boolean>", "diabetes": "<number>", "firstname": ["<string>"],
            "allergies": null, "metadata": "<object>", "…": "2 of other names"
        });
        assert_eq!(masked("", &sent), shown);
        assert_eq!(masked("", &json!([["jane"], "jane"])), json!([["<string>"], "<string>"]));
    }

    #[test]
    fn documented_words_of_plain_fields_are_shown_and_others_are_not() {
        let sent = json!({"kind": "user", "success": true, "events": ["user.created", "jane"], "message": "Hi Jane"});
        let shown =
            json!({"kind": "user", "success": true, "events": ["user.created", "<string>"], "message": "<string>"});
        assert_eq!(masked("", &sent), shown);
        assert_eq!(
            masked("", &json!({"kind": "jane", "sex": "female"})),
            json!({"kind": "<string>", "sex": "<string>"})
        );
    }

    #[test]
    fn nothing_plain_is_a_fact_of_a_person_and_all_of_it_is_documented() {
        let facts = || IDENTITY.iter().chain(Profile::FIELDS).chain(Health::FIELDS).map(|wire| wire.name);
        for name in PLAIN {
            assert!(KNOWN.contains_key(name), "{name}");
            assert!(facts().all(|fact| fact != name), "{name}");
        }
        assert!(facts().filter(|fact| KNOWN.contains_key(*fact)).count() > 20, "facts go by these names");
    }

    #[test]
    fn who_may_not_see_health_is_told_that_there_was_some_and_not_what() {
        let sent = json!({
            "email": "<string>", "paymentPlan": "<number>", "pregnant": "<boolean>", "weight": "<number>",
            "items": [{"health": {"sex": "<string>"}}], "metadata": "<object>"
        });
        let shown = json!({
            "email": "<string>", "paymentPlan": "<number>", "health": "<hidden>", "items": [{"health": "<hidden>"}]
        });
        assert_eq!(discreet(&sent), shown);
        let said =
            json!({"errors": [{"field": "diabetes", "message": "diabetes must be a number"}, {"field": "email"}]});
        let told = json!({"errors": [{"field": "<hidden>", "message": "<hidden>"}, {"field": "email"}]});
        assert_eq!(discreet(&said), told);
    }

    #[test]
    fn long_bodies_and_lists_are_cut() {
        let long: Vec<Value> = vec![json!({"email": "é"}); 15];
        let Value::Array(shown) = masked("", &long.into()) else { panic!("a list") };
        assert_eq!((shown.len(), &shown[10]), (11, &json!("… 5 more")));
        let text = print(&json!("é".repeat(LONGEST)));
        assert!(text.len() < LONGEST + 8 && text.ends_with('…'));
    }
}
