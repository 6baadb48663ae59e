//! What differs between two dates: their documents and what webhooks are told, compared piece by piece.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{JSON, partner, webhooks};
use crate::api::versions::ApiDate;

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where: an operation, a schema or an event, and the way within it.
    pub place: String,
    /// `added`, `removed`, `now required`, or what it is and was.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:42} {}", self.place, self.what)
    }
}

/// What is different on the date `to`, seen from the date `from`.
pub fn differences(from: ApiDate, to: ApiDate) -> Vec<Difference> {
    let mut all = Vec::new();
    compare("", &whole(from), &whole(to), &mut all);
    all
}

/// All there is on a date, each operation and event by its name.
fn whole(date: ApiDate) -> Value {
    let mut document = partner::document(date);
    let mut whole = Map::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            whole.insert(format!("{} {path}", method.to_uppercase()), tree(operation));
        }
    }
    if let Some(rest) = document.as_object_mut() {
        // What the date is called, and the notes of all dates.
        rest.shift_remove("info");
        rest.shift_remove("paths");
        whole.extend(rest.iter().map(|(name, value)| (name.clone(), tree(value))));
    }
    whole.extend(webhooks::told(date).iter().map(|(kind, event)| (format!("webhook {kind}"), tree(event))));
    Value::Object(whole)
}

/// The same with every list as a map, by the names of what is in it, and with each field of an object saying by itself whether it
/// is required.
fn tree(value: &Value) -> Value {
    match value {
        Value::Array(list) => Value::Object(list.iter().enumerate().map(element).collect()),
        Value::Object(map) => {
            let mut map = map.clone();
            if map.get("properties").is_some_and(Value::is_object) {
                mark_required(&mut map);
            }
            Value::Object(map.iter().map(|(name, value)| (name.clone(), tree(value))).collect())
        }
        _ => value.clone(),
    }
}

fn mark_required(schema: &mut Map<String, Value>) {
    let [required, all] = ["required", "allOf"].map(|name| schema.shift_remove(name));
    let list = |value: Option<Value>| value.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    for name in list(required).iter().filter_map(Value::as_str) {
        schema["properties"][name]["required"] = true.into();
    }
    for rule in list(all) {
        let [one, other] = [0_usize, 1].map(|place| rule["anyOf"][place]["required"][0].as_str());
        if let (Some(one), Some(other)) = (one, other) {
            schema["properties"][one]["required"] = other.into();
            schema["properties"][other]["required"] = one.into();
        } else if let Some(rest) = schema.entry("allOf").or_insert_with(|| json!([])).as_array_mut() {
            rest.push(rule);
        }
    }
}

fn element((place, value): (usize, &Value)) -> (String, Value) {
    match (value, &value["name"]) {
        (_, Value::String(name)) => (name.clone(), tree(value)),
        (Value::String(text), _) => (text.clone(), json!(true)),
        (Value::Number(number), _) => (number.to_string(), json!(true)),
        _ => (place.to_string(), tree(value)),
    }
}

/// What a place is within, where that says nothing to who reads it.
const AROUND: [&str; 8] =
    ["components", "schemas", "properties", "content", JSON, "schema", "required", "securitySchemes"];

fn compare(place: &str, before: &Value, after: &Value, into: &mut Vec<Difference>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return };
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    for name in new.keys().chain(gone) {
        let (was, is) = (&before[name], &after[name]);
        let place = match place {
            _ if AROUND.contains(&name.as_str()) => place.to_owned(),
            "" => name.clone(),
            _ => format!("{place} {name}"),
        };
        if was.is_object() && is.is_object() {
            compare(&place, was, is, into);
        } else if was != is {
            into.push(Difference { place, what: told(name, was, is) });
        }
    }
}

fn told(name: &str, was: &Value, is: &Value) -> String {
    match (name, was, is) {
        ("required", _, is) if !is.is_object() => {
            need(is).map_or_else(|| "no longer required".to_owned(), |need| format!("now {need}"))
        }
        (_, _, Value::Null) => "removed".to_owned(),
        (_, Value::Null, Value::Object(_)) => {
            need(&is["required"]).map_or_else(|| "added".to_owned(), |need| format!("added, {need}"))
        }
        (_, Value::Null, Value::Bool(true)) => "added".to_owned(),
        (_, Value::Null, is) => format!("added: {is}"),
        (_, was, is) => format!("{is}, was {was}"),
    }
}

fn need(required: &Value) -> Option<String> {
    match required {
        Value::Bool(true) => Some("required".to_owned()),
        Value::String(other) => Some(format!("required unless {other} is sent")),
        _ => None,
    }
}
