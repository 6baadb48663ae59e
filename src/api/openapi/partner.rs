//! The document of the partner API on one date: a line for each operation, a schema for each body and answer.

use serde_json::{Map, Value, json};

use super::{
    JSON, KEY_REUSED, STALE, changes, dry_run, error_schema, failure, failures, idempotency_key, if_match, paths,
    reference, refuse_twice, success, tagged, version_header, written,
};
use crate::api::Surface;
use crate::api::partner::shape::retrieved_schema;
use crate::api::routes::Route;
use crate::api::versions::{ApiDate, CHANGES};
use crate::api::write::REHEARSED;

const FAILURES: [(u16, &str); 8] = [
    (400, "The body or the version is wrong; every wrong field is listed."),
    (403, "No valid key, a revoked or expired one, or one that may only read."),
    (405, "The address takes POST only; see the Allow header."),
    (408, "The body did not arrive within 30 seconds."),
    (413, "The body is larger than 64 KiB."),
    (500, "Something went wrong on the server."),
    (503, "The server is busy; see Retry-After."),
    (507, "The server's disk is full; nothing was changed."),
];

const NOBODY: (u16, &str) = (404, "No user with that e-mail address.");
const TAKEN: (u16, &str) = (409, "The e-mail address or the phone number belongs to another user.");
const PHONE_TAKEN: (u16, &str) = (409, "The phone number belongs to another user.");
const NOT_NOW: (u16, &str) = (409, "The subscription cannot stand so now; the message says why. Nothing was changed.");

/// What an operation does to the user.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Makes,
    Changes,
    Reads,
}

/// The name, the schemas of the body and of the answer, what else may be answered, and the effect.
type Line = (&'static str, &'static str, &'static str, &'static [(u16, &'static str)], Effect);

#[rustfmt::skip]
fn operations(date: ApiDate) -> [Line; 6] {
    let first = ApiDate::all().next_back() == Some(date);
    [
        ("createUser",         "CreateUser",         "CreatedUser",           &[TAKEN],           Effect::Makes),
        ("updateUser",         "UpdateUser",         "UpdatedUser",           if first { &[NOBODY, PHONE_TAKEN] } else { &[NOBODY] }, Effect::Changes),
        ("retrieveUser",       "RetrieveUser",       "RetrievedUser",         &[NOBODY],          Effect::Reads),
        ("updateSubscription", "UpdateSubscription", "UpdatedSubscription",   &[NOBODY, NOT_NOW], Effect::Changes),
        ("pauseSubscription",  "PauseSubscription",  "PausedSubscription",    &[NOBODY, NOT_NOW], Effect::Changes),
        ("cancelSubscription", "CancelSubscription", "CancelledSubscription", &[NOBODY, NOT_NOW], Effect::Changes),
    ]
}

pub(super) fn document(date: ApiDate) -> Value {
    let shapes = date.shapes();
    let operations = operations(date);
    let operation = |route: &Route| {
        let found = operations.iter().find(|(name, ..)| *name == route.operation);
        let (_, body, answer, extra, effect) = found.unwrap_or_else(|| panic!("{} has no line here", route.operation));
        let mut responses = failures("Error", &FAILURES);
        for (status, text) in *extra {
            responses.insert(status.to_string(), failure("Error", *status, text));
        }
        let mut parameters = vec![version_header("Fitmate-Version"), version_header("Usher-Version")];
        let mut refuse =
            |(status, text): (u16, &str)| responses.insert(status.to_string(), failure("Error", status, text));
        if *effect != Effect::Reads {
            parameters.extend([dry_run("dryRun"), idempotency_key()]);
            refuse(KEY_REUSED);
        }
        if *effect == Effect::Changes {
            parameters.push(if_match());
            refuse(STALE);
        }
        let mut done = tagged(success(answer, true));
        if *effect != Effect::Reads {
            refuse_twice(&mut responses, "Error");
            done = written(done);
        }
        responses.insert("200".into(), done);
        responses.sort_keys();
        json!({
            "operationId": route.operation, "summary": route.summary,
            "parameters": parameters,
            "requestBody": {"required": true, "content": {JSON: {"schema": reference(body)}}},
            "responses": responses
        })
    };
    let notes: Vec<String> = CHANGES.iter().rev().map(|change| format!("- {}: {}", change.date, change.note)).collect();
    let email = json!({"type": "string", "format": "email"});
    let id = |text: &str| json!({"type": "string", "format": "uuid", "description": text});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Usher partner API", "version": date.as_str(),
            "description": format!(
                "Enrol people into a programme and keep their records. The key decides between sandbox and live.\n\nChanges by date:\n\n{}",
                notes.join("\n")
            ),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"}
        },
        "servers": [{"url": "/"}],
        "security": [{"partnerKey": []}],
        "paths": paths(&[Surface::Partner], operation),
        "components": {
            "securitySchemes": {"partnerKey": {
                "type": "http", "scheme": "bearer",
                "description": "An API key with write access; to retrieve, one that may read is enough."
            }},
            "schemas": {
                "CreateUser": shapes.create.request_schema(),
                "CreatedUser": said("User created successfully", &[("email", email.clone()), ("identifier", id("The id of the new user."))]),
                "UpdateUser": shapes.update.request_schema(),
                "UpdatedUser": said("User updated successfully", &[("identifier", json!({"type": "string", "format": "uuid"})), ("data", reference("UserData"))]),
                "UserData": shapes.update.answer_schema(),
                "RetrieveUser": shapes.retrieve.request_schema(),
                "RetrievedUser": retrieved_schema(&shapes.retrieved),
                "UpdateSubscription": shapes.plan.request_schema(),
                "UpdatedSubscription": said("update request received", &[("email", email.clone())]),
                "PauseSubscription": shapes.pause.request_schema(),
                "PausedSubscription": said("pause request received", &[("email", email.clone())]),
                "CancelSubscription": shapes.cancel.request_schema(),
                "CancelledSubscription": said("Subscription request cancelled successfull", &[("email", email), ("identifier", id("The id of the user."))]),
                "DryRun": rehearsed(),
                "Error": error_schema()
            }
        }
    })
}

/// An answer with a fixed message and these besides.
fn said(message: &str, besides: &[(&str, Value)]) -> Value {
    let mut properties = Map::from_iter([("message".to_owned(), json!({ "const": message }))]);
    properties.extend(besides.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())));
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": required, "properties": properties})
}

/// The answer of a write that was only rehearsed: what it would have been, with another message and what would have changed.
fn rehearsed() -> Value {
    said(REHEARSED, &[("dryRun", changes(&["action", "fields", "health"], Map::new()))])
}
