//! The OpenAPI 3.1 documents, made from the route table and the field types, so they cannot disagree with either.
//!
//! Our own and not a library: a document of an older date is the newest shapes taken back by the
//! version files, which attributes on handlers cannot express.

mod difference;
mod directory;
mod imports;
mod partner;
mod schemas;
mod webhooks;

pub use difference::{Difference, differences};

use axum::extract::Path;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::routes::{Route, routes};
use super::versions::ApiDate;
use super::{Surface, reply};
use crate::error::{Error, Result};
use crate::idempotency::LONGEST;

pub(super) const JSON: &str = "application/json";

/// Every document with its address: the partner API of each date, the directory API and the doors of sign-in.
pub fn documents() -> Vec<(String, Value)> {
    let partner = ApiDate::all().map(|date| (format!("partner/{}.json", date.as_str()), partner::document(date)));
    let others = [("directory.json", directory::document()), ("sign-in.json", super::oauth::document::document())];
    partner.chain(others.map(|(name, document)| (name.to_owned(), document))).collect()
}

/// `GET /openapi`
pub async fn list() -> Response {
    let addresses: Vec<String> = documents().into_iter().map(|(name, _)| format!("/openapi/{name}")).collect();
    reply(&json!({ "documents": addresses }))
}

/// `GET /openapi/partner/<date>.json`
pub async fn partner(Path(file): Path<String>) -> Result<Response> {
    let date = file.strip_suffix(".json").ok_or(Error::NoRoute)?;
    Ok(reply(&partner::document(ApiDate::named(date)?)))
}

/// `GET /openapi/directory.json`
pub async fn directory() -> Response {
    reply(&directory::document())
}

const STALE: (u16, &str) = (412, "The user is no longer as If-Match says; nothing was changed.");
const KEY_REUSED: (u16, &str) = (422, "The Idempotency-Key was already used for another request; nothing was changed.");

pub(super) fn paths(surfaces: &[Surface], operation: impl Fn(&Route) -> Value) -> Map<String, Value> {
    let mut paths = Map::new();
    for route in routes().iter().filter(|route| surfaces.contains(&route.surface)) {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation(route);
    }
    paths
}

fn failures(schema: &str, list: &[(u16, &str)]) -> Map<String, Value> {
    list.iter().map(|(status, text)| (status.to_string(), failure(schema, *status, text))).collect()
}

fn failure(schema: &str, status: u16, text: &str) -> Value {
    let mut headers = headers(schema == "Error");
    let mut also = |name: &str, schema: Value, text: &str| {
        headers.insert(name.to_owned(), json!({"schema": schema, "description": text}));
    };
    match status {
        405 => also("Allow", json!({"type": "string"}), "The methods that the address takes."),
        503 | 507 => also("Retry-After", json!({"type": "integer"}), "Seconds to wait."),
        _ => {}
    }
    json!({"description": text, "headers": headers, "content": {JSON: {"schema": reference(schema)}}})
}

/// What a write may meet besides: itself, sent before with the same `Idempotency-Key`. Others may have the same status.
fn refuse_twice(responses: &mut Map<String, Value>, schema: &str) {
    let (status, text) = (Error::StillRunning.status(), format!("{}.", Error::StillRunning));
    let others = responses.get(&status.to_string()).and_then(|others| others["description"].as_str());
    let text = others.map_or_else(|| text.clone(), |others| format!("{others} Or: {text}"));
    let mut answer = failure(schema, status, &text);
    answer["headers"]["Retry-After"] =
        json!({"schema": {"type": "integer"}, "description": "Seconds to wait; if that request is still running."});
    responses.insert(status.to_string(), answer);
}

fn success(schema: &str, dated: bool) -> Value {
    json!({"description": "Done.", "headers": headers(dated), "content": {JSON: {"schema": reference(schema)}}})
}

/// An answer that tells which version of a user it is about.
fn tagged(mut answer: Value) -> Value {
    answer["headers"]["ETag"] = json!({
        "schema": {"type": "string"},
        "description": "The user as they are after this request. Send it as If-Match to change them only if nobody else has."
    });
    answer
}

/// The answer of a write, or of its dry run.
fn written(mut answer: Value) -> Value {
    let done = answer["content"][JSON]["schema"].take();
    answer["content"][JSON]["schema"] = json!({"anyOf": [done, reference("DryRun")]});
    answer["headers"]["Idempotent-Replayed"] = json!({
        "schema": {"const": "true"},
        "description": "This is the answer of an earlier request with the same Idempotency-Key; nothing was done again."
    });
    answer
}

/// The headers of every answer; of one with a dated shape the date, once it is settled.
fn headers(dated: bool) -> Map<String, Value> {
    let mut headers = Map::new();
    headers.insert("Request-Id".into(), json!({
        "schema": {"type": "string", "format": "uuid"}, "description": "Names this request; quote it when you ask for help."
    }));
    if dated {
        headers.insert(
            "Usher-Version".into(),
            json!({
                "schema": {"type": "string", "format": "date"},
                "description": "The API date that was applied; absent if the request failed before it was settled."
            }),
        );
    }
    headers
}

pub(super) fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn path_parameter(name: &str, text: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}, "description": text})
}

fn version_header(name: &str) -> Value {
    let dates: Vec<&str> = ApiDate::all().map(ApiDate::as_str).collect();
    json!({
        "name": name, "in": "header", "schema": {"type": "string", "enum": dates},
        "description": "The API date for this request. Without it: the date pinned on the key, else the newest."
    })
}

fn idempotency_key() -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 257},
        "description": format!(
            "Names this request, so that sending it again has no further effect: 1 to {LONGEST} visible ASCII characters \
             without quotes and backslashes, within double quotes or bare. For 24 hours, the same request with the same \
             key gets the answer of the first one."
        )
    })
}

/// `place` is where the answer tells what would have changed.
fn dry_run(place: &str) -> Value {
    json!({
        "name": "dry_run", "in": "query", "schema": {"type": "boolean"},
        "description": format!(
            "Change nothing, and answer in `{place}` what would have changed: `kind` is `dryRun`, `items` are the changes. \
             If that tells of an existing person's health, the audit trail notes it as a look."
        )
    })
}

/// What a dry run answers: what would have changed. A change has what is `required`, and may have `more`.
fn changes(required: &[&str], more: Map<String, Value>) -> Value {
    let mut change = json!({
        "type": "object", "required": required,
        "properties": {
            "action": {"type": "string"}, "fields": {"type": "object", "description": "Each that would change, before and after."},
            "health": {"type": "array", "items": {"type": "string"}, "description": "Which of the programme's facts would change."}
        }
    });
    for (name, schema) in more {
        change["properties"][name] = schema;
    }
    json!({
        "type": "object", "required": ["kind", "itemsLength", "items"],
        "properties": {"kind": {"const": "dryRun"}, "itemsLength": {"type": "integer"}, "items": {"type": "array", "items": change}}
    })
}

fn if_match() -> Value {
    json!({
        "name": "If-Match", "in": "header", "schema": {"type": "string"},
        "description": "Change the user only if one of these ETags, separated by commas, is still theirs. `*` is any."
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object", "required": ["message", "code", "errors", "requestId"],
        "properties": {
            "message": {"type": "string", "description": "A sentence for people."},
            "code": {"type": "string", "description": "A stable word for programs."},
            "errors": {
                "type": "array", "description": "Every wrong field; empty if that is not what is wrong.",
                "items": {
                    "type": "object", "required": ["field", "code", "message"],
                    "properties": {
                        "field": {"type": "string"},
                        "code": {"enum": ["required", "type", "format", "range", "enum", "too_long"]},
                        "message": {"type": "string"}
                    }
                }
            },
            "requestId": {"type": "string", "format": "uuid"}
        }
    })
}
