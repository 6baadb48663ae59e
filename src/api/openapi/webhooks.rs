//! The schemas of `/v1/webhooks`.

use serde_json::{Map, Value, json};

use super::schemas::object;
use super::{JSON, reference};
use crate::api::versions::{self, ApiDate};
use crate::apps;
use crate::users::{IDENTITY, Profile};
use crate::webhooks::{Kind, State};

/// The bodies that operations take.
pub(super) fn bodies() -> Map<String, Value> {
    let settings = settings();
    object([
        ("NewWebhook", json!({"type": "object", "required": ["url"], "properties": settings})),
        ("ChangeWebhook", json!({"type": "object", "properties": settings})),
        (
            "RotateWebhook",
            json!({"type": "object", "properties": {"overlapSeconds": {
                "type": "integer", "minimum": 0, "maximum": 2_592_000,
                "description": "How long the old keys sign beside the new ones: a day if it is not said."
            }}}),
        ),
        (
            "ReplayWebhook",
            json!({"type": "object", "description": "Either `eventId`, or `since` and maybe `until`.", "properties": {
                "eventId": {"type": "string", "description": "One event: its `webhook-id`."},
                "since": time("From when on."), "until": time("Before when; now if it is not said.")
            }}),
        ),
    ])
}

/// What the address of a webhook is sent.
pub(super) fn events() -> Value {
    let header = |name: &str, text: &str| json!({"name": name, "in": "header", "required": true, "schema": {"type": "string"}, "description": text});
    json!({"event": {"post": {
        "operationId": "receiveEvent", "summary": "Something has happened", "security": [],
        "parameters": [
            header("webhook-id", "The same for every try and for a replay."),
            header("webhook-timestamp", "When this try was, in seconds since 1970."),
            header("webhook-signature", "`v1` and `v1a` of the Standard Webhooks specification, with spaces between."),
        ],
        "requestBody": {"required": true, "content": {JSON: {"schema": reference("Message")}}},
        "responses": {
            "2XX": {"description": "It was taken. Anything else is tried again, for three days."},
            "410": {"description": "Nobody is here any more: the webhook is disabled."}
        }
    }}})
}

/// The kinds of events that there are on a date, and what each may say then.
pub(super) fn told(date: ApiDate) -> Map<String, Value> {
    let told = |kind: Kind| {
        let mut event = message()["properties"].take();
        event["type"] = json!(kind);
        event["data"] = event["data"]["properties"].take();
        // What a change of a user names is the most that any event does.
        let facts = Profile::FIELDS.iter().chain(IDENTITY).map(|wire| wire.name).chain(["health", "subscription"]);
        let fields: Vec<&str> = if kind == Kind::UserUpdated { facts.collect() } else { Vec::new() };
        event["data"]["fields"] = json!(fields);
        Some((kind.as_str().to_owned(), versions::lower(date.as_str(), event)?))
    };
    Kind::ALL.iter().copied().filter_map(told).collect()
}

/// The body of that: ids and the names of what changed.
pub(super) fn message() -> Value {
    let id = |text: &str| json!({"type": "string", "format": "uuid", "description": text});
    json!({
        "type": "object", "required": ["type", "timestamp", "data", "apiVersion"],
        "properties": {
            "type": kind(), "timestamp": time("When it happened."),
            "apiVersion": {"type": "string", "format": "date", "description": "The API date whose shape this has."},
            "data": {
                "type": "object", "required": ["appId", "environment"],
                "properties": {
                    "appId": uuid(), "environment": {"enum": apps::Kind::ALL}, "userId": id("The user it is about."),
                    "tenantId": nullable(&id("The tenant it is about, or that of the user.")),
                    "roleId": id("The role it is about, or that the user has now."),
                    "fields": {
                        "type": "array", "items": {"type": "string"},
                        "description": "The names of what changed; `health` for all of the health record, `subscription` for the plan."
                    }
                }
            }
        }
    })
}

/// What operations answer in `data`.
pub(super) fn answers() -> Map<String, Value> {
    let webhook = || {
        let mut properties = json!({
            "kind": {"const": "webhook"}, "id": uuid(), "tenantId": nullable(&uuid()),
            "publicKeys": {"type": "array", "items": {"type": "string"}, "description": "`whpk_…`, the newest first: what verifies `v1a`."},
            "createdAt": time("When it was made."), "disabledAt": nullable(&time("Since when nothing is sent.")),
            "disabledBecause": nullable(&json!({"type": "string"}))
        });
        for (name, schema) in settings() {
            properties[name] = schema;
        }
        properties
    };
    let mut created = webhook();
    created["secret"] =
        json!({"type": "string", "description": "`whsec_…`: what verifies `v1`. In this answer and in no other."});
    let delivery = json!({
        "kind": {"const": "delivery"}, "id": uuid(), "eventId": {"type": "string"}, "type": kind(),
        "userId": nullable(&uuid()), "state": {"enum": State::ALL}, "attempts": {"type": "integer"},
        "createdAt": time("When it happened."), "dueAt": nullable(&time("When it is tried next.")),
        "failure": nullable(&json!({"type": "string"}))
    });
    let attempt = json!({
        "kind": {"const": "attempt"}, "createdAt": time("When."), "status": nullable(&json!({"type": "integer"})),
        "millis": {"type": "integer"}, "words": {"type": "string", "description": "The first words of the answer, or why there was none."}
    });
    object([
        ("Webhook", whole(&webhook())),
        ("Webhooks", list("webhooks", &whole(&webhook()))),
        ("CreatedWebhook", whole(&created)),
        ("Event", whole(&json!({"kind": {"const": "event"}, "id": {"type": "string"}}))),
        (
            "Replay",
            whole(&json!({
                "kind": {"const": "replay"}, "queued": {"type": "integer"},
                "next": nullable(&time("From when on there are more: `since` of the next request. 10 000 are sent again at once."))
            })),
        ),
        ("Deliveries", list("deliveries", &whole(&delivery))),
        ("Attempts", list("attempts", &whole(&attempt))),
    ])
}

fn settings() -> Map<String, Value> {
    let dates: Vec<&str> = ApiDate::all().map(ApiDate::as_str).collect();
    object([
        (
            "url",
            json!({"type": "string", "maxLength": 2048, "description": "Where messages are posted to: http or https, on the Internet."}),
        ),
        ("name", json!({"type": "string", "maxLength": 256})),
        (
            "events",
            json!({"type": "array", "items": kind(), "description": "What is told; everything if it is empty."}),
        ),
        ("apiVersion", json!({"enum": dates, "description": "The API date whose shapes the messages have."})),
        ("enabled", json!({"type": "boolean"})),
        (
            "contact",
            nullable(
                &json!({"type": "string", "format": "email", "description": "Who gets a mail when the webhook is disabled because its address answered 410."}),
            ),
        ),
    ])
}

fn kind() -> Value {
    json!({ "enum": Kind::ALL })
}

fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

fn time(text: &str) -> Value {
    json!({"type": "string", "format": "date-time", "description": text})
}

fn nullable(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

/// An object that has all of its properties.
fn whole(properties: &Value) -> Value {
    let required: Vec<&String> = properties.as_object().map(|all| all.keys().collect()).unwrap_or_default();
    json!({"type": "object", "required": required, "properties": properties})
}

fn list(kind: &str, item: &Value) -> Value {
    whole(
        &json!({"kind": {"const": kind}, "itemsLength": {"type": "integer"}, "items": {"type": "array", "items": item}}),
    )
}
