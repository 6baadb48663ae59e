//! What differs between two dates: their documents and what webhooks are told, compared piece by piece.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{JSON, partner, webhooks};
use crate::api::versions::ApiDate;

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Where: an operation, its body or its answer, or an event, and the way within it.
    pub place: String,
    /// `added`, `removed`, `now required`, `now always there`, or what it is and was.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:60} {}", self.place, self.what)
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
    name_schemas(&mut document);
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

/// Calls every schema what it is to who calls: the body or the answer of an operation, or the part of one. Those that several have
/// keep their names.
fn name_schemas(document: &mut Value) {
    let mut uses = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let place = format!("{} {path}", method.to_uppercase());
            note_uses(&operation["requestBody"], &format!("{place} body"), &mut uses);
            note_uses(&operation["responses"]["200"], &format!("{place} answer"), &mut uses);
        }
    }
    let Some(schemas) = document["components"]["schemas"].as_object_mut() else { return };
    for (schema, value) in &*schemas {
        let Some(Some(place)) = uses.get(schema.as_str()).cloned() else { continue };
        for (name, part) in value["properties"].as_object().into_iter().flatten() {
            note_uses(part, &format!("{place} {name}"), &mut uses);
        }
    }
    let named = |(name, value): (String, Value)| (uses.get(&name).cloned().flatten().unwrap_or(name), value);
    *schemas = std::mem::take(schemas).into_iter().map(named).collect();
}

/// Notes of every schema that a value refers to that it has its place here; of one that has another too, that it has none.
fn note_uses(value: &Value, place: &str, uses: &mut BTreeMap<String, Option<String>>) {
    match value {
        Value::Object(map) => {
            if let Some(schema) = map.get("$ref").and_then(Value::as_str).and_then(|to| to.rsplit('/').next()) {
                let known = uses.entry(schema.to_owned()).or_insert_with(|| Some(place.to_owned()));
                if known.as_deref() != Some(place) {
                    *known = None;
                }
            }
            map.values().for_each(|inner| note_uses(inner, place, uses));
        }
        Value::Array(list) => list.iter().for_each(|inner| note_uses(inner, place, uses)),
        _ => {}
    }
}

/// Where a field says by itself whether it is required: not where an object lists which of its own fields are.
const NEED: &str = "x-required";

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
        schema["properties"][name][NEED] = true.into();
    }
    for rule in list(all) {
        let [one, other] = [0_usize, 1].map(|place| rule["anyOf"][place]["required"][0].as_str());
        if let (Some(one), Some(other)) = (one, other) {
            schema["properties"][one][NEED] = other.into();
            schema["properties"][other][NEED] = one.into();
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
const AROUND: [&str; 9] =
    ["components", "schemas", "properties", "content", JSON, "schema", "required", NEED, "securitySchemes"];

fn compare(place: &str, before: &Value, after: &Value, into: &mut Vec<Difference>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else { return };
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    for name in new.keys().chain(gone) {
        let (was, is) = (&before[name], &after[name]);
        let place = match place {
            _ if AROUND.contains(&name.as_str()) => place.to_owned(),
            // Not a field of that name.
            _ if name == "description" && !was.is_object() && !is.is_object() => place.to_owned(),
            "" => name.clone(),
            _ => format!("{place} {name}"),
        };
        if was.is_object() && is.is_object() {
            compare(&place, was, is, into);
        } else if was != is {
            let what = told(&place, name, was, is);
            into.push(Difference { place, what });
        }
    }
}

fn told(place: &str, name: &str, was: &Value, is: &Value) -> String {
    let need = |needed: &Value| need(place, needed);
    match (name, was, is) {
        ("required" | NEED, was, is) if !is.is_object() => need(is).map_or_else(
            || format!("no longer {}", need(was).unwrap_or_else(|| "required".to_owned())),
            |need| format!("now {need}"),
        ),
        ("description", was, is) if !was.is_object() && !is.is_object() => said(was, is),
        (_, _, Value::Null) => "removed".to_owned(),
        (_, Value::Null, Value::Object(_)) => {
            let need = need(&is[NEED]).or_else(|| need(&is["required"]));
            need.map_or_else(|| "added".to_owned(), |need| format!("added, {need}"))
        }
        (_, Value::Null, Value::Bool(true)) => "added".to_owned(),
        (_, Value::Null, is) => format!("added: {is}"),
        (_, was, is) => format!("{is}, was {was}"),
    }
}

/// What a description says no longer, and what it says now: one of a status says every case in which that is answered.
fn said(was: &Value, is: &Value) -> String {
    let [was, is] = [was, is].map(|text| text.as_str().unwrap_or_default().split(" Or: ").collect::<Vec<_>>());
    let only = |these: &[&str], others: &[&str], word: &str| {
        let these = these.iter().filter(|text| !text.is_empty() && !others.contains(text));
        these.map(|text| format!("{word}: \"{text}\"")).collect::<Vec<_>>()
    };
    [only(&was, &is, "no longer"), only(&is, &was, "now")].concat().join(", ")
}

/// What is demanded of who sends it; of what they are sent, that it is there.
fn need(place: &str, required: &Value) -> Option<String> {
    let is_sent = matches!(place.split(' ').nth(2), Some("body" | "requestBody" | "parameters"));
    match required {
        Value::Bool(true) if is_sent => Some("required".to_owned()),
        Value::Bool(true) => Some("always there".to_owned()),
        Value::String(other) => Some(format!("required unless {other} is sent")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(place: &str, before: &Value, after: &Value) -> Vec<(String, String)> {
        let mut found = Vec::new();
        compare(place, &tree(before), &tree(after), &mut found);
        found.into_iter().map(|one| (one.place, one.what)).collect()
    }

    #[test]
    fn an_object_within_keeps_what_it_requires_itself_and_is_required_beside_that() {
        let address = |required: &[&str]| {
            let city = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": required});
            json!({"type": "object", "properties": {"address": city}, "required": ["address"]})
        };
        let (before, after) = (address(&[]), address(&["city"]));
        for (side, now, no_longer) in
            [("body", "now required", "no longer required"), ("answer", "now always there", "no longer always there")]
        {
            let (place, city) =
                (format!("POST /users/create {side}"), format!("POST /users/create {side} address city"));
            assert_eq!(found(&place, &before, &after), [(city.clone(), now.to_owned())]);
            assert_eq!(found(&place, &after, &before), [(city, no_longer.to_owned())]);
        }
    }

    #[test]
    fn of_a_description_is_told_what_it_says_no_longer_and_what_it_says_now() {
        let of = |text: &str| json!({ "409": {"description": text} });
        let told = found("POST /users/update responses", &of("One. Or: Two."), &of("Two. Or: Three."));
        let expected = ("POST /users/update responses 409", "no longer: \"One.\", now: \"Three.\"");
        assert_eq!(told, [(expected.0.to_owned(), expected.1.to_owned())]);
        let field = |kind: &str| json!({"properties": {"description": {"type": kind}}});
        let places = found("x", &field("string"), &field("number"));
        assert_eq!(places[0].0, "x description type", "a field of that name is named");
    }
}
