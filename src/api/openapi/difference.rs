//! What differs between the documents of two dates, field by field.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::partner;
use crate::api::versions::ApiDate;

/// One field that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The body or answer.
    pub schema: String,
    /// The field.
    pub field: String,
    /// `added`, `added, required`, `removed`, `now required`, `no longer required`, `other values`.
    pub what: &'static str,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:16} {:28} {}", self.schema, self.field, self.what)
    }
}

/// What is different on the date `to`, seen from the date `from`.
pub fn differences(from: ApiDate, to: ApiDate) -> Vec<Difference> {
    let (before, after) = (partner::document(from), partner::document(to));
    let schemas = |document: &Value| document["components"]["schemas"].as_object().cloned().unwrap_or_default();
    let (before, after) = (schemas(&before), schemas(&after));
    let mut all = Vec::new();
    for (schema, then) in &after {
        compare(schema, before.get(schema).unwrap_or(&Value::Null), then, &mut all);
    }
    all
}

fn compare(schema: &str, before: &Value, after: &Value, into: &mut Vec<Difference>) {
    let (old, new) = (fields(before), fields(after));
    let mut note = |field: &str, what| {
        into.push(Difference { schema: schema.to_owned(), field: field.to_owned(), what });
    };
    for (field, rule) in &new {
        let required = is_required(after, field);
        match old.get(field) {
            None if required => note(field, "added, required"),
            None => note(field, "added"),
            Some(_) if required && !is_required(before, field) => note(field, "now required"),
            Some(_) if !required && is_required(before, field) => note(field, "no longer required"),
            Some(then) if without_words(then) != without_words(rule) => note(field, "other values"),
            Some(_) => {}
        }
    }
    for field in old.keys().filter(|field| !new.contains_key(*field)) {
        note(field, "removed");
    }
}

fn fields(schema: &Value) -> Map<String, Value> {
    schema["properties"].as_object().cloned().unwrap_or_default()
}

/// Also a field that only another one can stand in for.
fn is_required(schema: &Value, field: &str) -> bool {
    let names = |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|name| name == field));
    let first = |either: &Value| names(&either["anyOf"][0]["required"]);
    names(&schema["required"]) || schema["allOf"].as_array().is_some_and(|all| all.iter().any(first))
}

fn without_words(rule: &Value) -> Value {
    let mut rule = rule.clone();
    if let Some(map) = rule.as_object_mut() {
        map.shift_remove("description");
        map.shift_remove("deprecated");
    }
    rule
}
