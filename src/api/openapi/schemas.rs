//! The schemas of the directory API: what its operations take and answer, but for webhooks and imports, and the small ones that all
//! are made of.

use serde_json::{Map, Value, json};

use super::{changes, reference};
use crate::api::directory::users::{UNKNOWN, fields};
use crate::api::write::REHEARSED;
use crate::field::{Field, Wire};
use crate::subscriptions;
use crate::tenants::Facts;
use crate::users::METADATA;
use crate::users::health::PaymentPlan;

/// The bodies that operations take.
pub(super) fn bodies() -> Map<String, Value> {
    let of_a_user =
        |fields: Map<String, Value>, text: &str| json!({"type": "object", "properties": fields, "description": text});
    let test = json!({"type": "boolean", "description": "Whether the billing sync uses the provider's test mode."});
    let change = json!({
        "type": "object", "required": ["user"],
        "properties": {"user": of_a_user(writable(), "The fields to change. Others are ignored."), "test": &test}
    });
    let invite = json!({
        "type": "object", "required": ["email", "language"],
        "properties": {"email": writable()["email"], "language": writable()["language"], "test": &test}
    });
    let mut new = of_a_user(with_metadata(), "The facts about the user. Unknown fields are ignored.");
    new["required"] = json!(["email"]);
    let mut patched = with_metadata();
    for (_, schema) in patched.iter_mut().filter(|(name, _)| *name != "email") {
        *schema = or_null(schema.take());
    }
    let mut tenant = described(Facts::fields());
    let inner =
        json!({"type": "object", "properties": tenant, "description": "The same fields; if it is there, it counts."});
    tenant.insert("tenant".into(), inner);
    object([
        ("ChangeUser", change.clone()),
        ("ChangeOrInvite", json!({"anyOf": [change, invite]})),
        ("CreateUser", json!({"type": "object", "required": ["user"], "properties": {"user": new, "test": &test}})),
        (
            "PatchUser",
            json!({
                "type": "object", "required": ["user"],
                "properties": {"user": of_a_user(patched, "A JSON Merge Patch: null takes a value away."), "test": test}
            }),
        ),
        ("ChangeTenant", json!({"type": "object", "properties": tenant})),
        ("GiveRole", json!({"type": "object", "required": ["userRoleId"], "properties": {"userRoleId": uuid()}})),
    ])
}

/// What operations answer in `data`.
pub(super) fn answers() -> Map<String, Value> {
    object([
        ("Done", json!({"type": "null"})),
        ("User", reference("UserObject")),
        ("Sessions", sessions()),
        ("Subscription", subscription()),
        ("Users", list("user", reference("UserObject"))),
        ("Tenant", tenant(true)),
        ("Tenants", list("analyticsTenant", tenant(false))),
        (
            "SignIns",
            list(
                "analyticsSignIn",
                json!({
                    "type": "object", "required": ["id", "lastSignInAt", "daysSinceLastSignIn", "user"],
                    "properties": {"id": uuid(), "lastSignInAt": time(), "daysSinceLastSignIn": {"type": "integer"}, "user": reference("UserObject")}
                }),
            ),
        ),
        (
            "Roles",
            list(
                "userRole",
                json!({
                    "type": "object", "required": ["id", "name", "rights"],
                    "properties": {
                        "id": uuid(), "name": {"type": "string"},
                        "rights": {"type": "string", "description": "What the role lets do to others of the tenant: words with spaces between."}
                    }
                }),
            ),
        ),
        (
            "Events",
            list(
                "event",
                json!({
                    "type": "object", "required": ["id", "action", "actor", "createdAt", "requestId", "changes"],
                    "properties": {
                        "id": uuid(), "action": {"type": "string"}, "createdAt": time(), "requestId": or_null(uuid()),
                        "actor": {
                            "type": "object", "required": ["type", "id"],
                            "properties": {"type": {"enum": ["key", "person", "admin", "operator", "usher"]}, "id": or_null(uuid())}
                        },
                        "changes": {
                            "type": ["object", "null"],
                            "description": "`fields`: each that changed, before and after. `health`: which of the programme's facts changed."
                        }
                    }
                }),
            ),
        ),
        (
            "Erasure",
            json!({
                "type": "object", "required": ["kind", "id", "userId", "createdAt", "counts"],
                "properties": {
                    "kind": {"const": "erasure"}, "id": uuid(), "userId": uuid(), "createdAt": time(),
                    "counts": {"type": "object", "additionalProperties": {"type": "integer"}, "description": "How many rows of which table."}
                }
            }),
        ),
        (
            "PublicKey",
            json!({
                "type": "object", "required": ["kind", "publicKey"],
                "properties": {"kind": {"const": "publicKey"}, "publicKey": {"type": "string", "description": "PEM."}}
            }),
        ),
    ])
}

pub(super) fn object<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(super) fn envelope(data: Value) -> Value {
    json!({
        "type": "object", "required": ["success", "message", "error", "data"],
        "properties": {"success": {"const": true}, "message": {"type": "string"}, "error": {"type": "null"}, "data": data}
    })
}

/// The answer of a write that was only rehearsed.
pub(super) fn rehearsed() -> Value {
    let counts =
        |text: &str| json!({"type": "object", "additionalProperties": {"type": "integer"}, "description": text});
    let more = object([
        ("rows", counts("Of an erasure: how many rows of which table would go.")),
        ("import", counts("Of an import: how many `rows` would be read, or `users` taken back.")),
    ]);
    let mut answer = envelope(changes(&[], more));
    answer["properties"]["message"] = json!({ "const": REHEARSED });
    answer
}

/// Fields with their rules and meanings.
fn described<T: 'static>(fields: impl Iterator<Item = &'static Wire<T>>) -> Map<String, Value> {
    let described = |wire: &Wire<T>| {
        let mut schema = (wire.schema)();
        schema["description"] = wire.about.trim().into();
        (wire.name.to_owned(), schema)
    };
    fields.map(described).collect()
}

/// Where a user is signed in.
fn sessions() -> Value {
    let time = json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object", "required": ["kind", "itemsLength", "items"],
        "properties": {
            "kind": {"const": "session"}, "itemsLength": {"type": "integer"},
            "items": {"type": "array", "items": {
                "type": "object", "required": ["kind", "id", "createdAt", "refreshedAt", "expiresAt", "current"],
                "properties": {
                    "kind": {"const": "session"}, "id": {"type": "string", "format": "uuid"}, "createdAt": time,
                    "refreshedAt": {"anyOf": [time, {"type": "null"}]}, "expiresAt": time,
                    "current": {"type": "boolean", "description": "Whether it is that of the access token that asks."}
                }
            }}
        }
    })
}

/// How a user's subscription stands.
fn subscription() -> Value {
    let day = |text: &str| json!({"type": "string", "format": "date", "description": text});
    let states = subscriptions::State::ALL.iter().map(|state| state.as_str());
    let properties = object([
        ("kind", json!({"const": "subscription"})),
        ("userId", uuid()),
        ("status", words(states)),
        ("paymentPlan", or_null(PaymentPlan::schema())),
        ("planStartDate", day("The first day; of who was enrolled without one, the day of that.")),
        ("pausedOn", or_null(day("The first day of the last pause, which may be over."))),
        ("pauseUntil", or_null(day("The day on which it runs again; null until somebody says so."))),
        ("cancellationDate", or_null(day("The last day of service."))),
    ]);
    json!({"type": "object", "required": properties.keys().collect::<Vec<_>>(), "properties": properties})
}

/// The fields of a user that a request may set.
fn writable() -> Map<String, Value> {
    described(fields())
}

fn with_metadata() -> Map<String, Value> {
    described(fields().chain(METADATA))
}

pub(super) fn or_null(schema: Value) -> Value {
    json!({"anyOf": [schema, {"type": "null"}]})
}

pub(super) fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

pub(super) fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

pub(super) fn when() -> Value {
    json!({"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]})
}

pub(super) fn words(words: impl Iterator<Item = &'static str>) -> Value {
    json!({"type": "string", "enum": words.collect::<Vec<_>>()})
}

/// A page of a list.
pub(super) fn list(kind: &str, item: Value) -> Value {
    json!({
        "type": "object", "required": ["kind", "itemsLength", "items", "nextCursor"],
        "properties": {
            "kind": {"const": kind}, "itemsLength": {"type": "integer"}, "items": {"type": "array", "items": item},
            "nextCursor": or_null(json!({"type": "string", "description": "Where the next page begins; null after the last one."}))
        }
    })
}

/// The user object: every key but `metadata` is there, as null where nothing is known.
pub(super) fn user() -> Value {
    let mut properties = writable();
    for schema in properties.values_mut() {
        *schema = or_null(schema.take());
    }
    for name in UNKNOWN {
        properties.insert(name.into(), json!({"type": "null", "description": "Always null: Usher does not know it."}));
    }
    for name in ["email_verified", "phone_number_verified", "freezed", "deleted"] {
        properties.insert(name.into(), json!({"type": "boolean"}));
    }
    for name in ["id", "appId", "userRoleId"] {
        properties.insert(name.into(), uuid());
    }
    for name in ["createdAt", "updatedAt"] {
        properties.insert(name.into(), time());
    }
    properties.insert("kind".into(), json!({"const": "user"}));
    properties.insert("tenantId".into(), or_null(uuid()));
    let required: Vec<String> = properties.keys().cloned().collect();
    properties.extend(described(METADATA.iter()));
    json!({"type": "object", "required": required, "properties": properties})
}

/// The tenant object: every key is there, as null where nothing is known.
fn tenant(with_users: bool) -> Value {
    let mut properties = described(Facts::fields());
    for schema in properties.values_mut() {
        *schema = or_null(schema.take());
    }
    properties.insert("kind".into(), json!({"const": "tenant"}));
    properties.insert("id".into(), uuid());
    properties.insert("createdAt".into(), time());
    if with_users {
        let text = "The newest users, 100 at the most; a person without the right to see others sees themselves.";
        properties
            .insert("users".into(), json!({"type": "array", "items": reference("UserObject"), "description": text}));
    }
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": required, "properties": properties})
}
