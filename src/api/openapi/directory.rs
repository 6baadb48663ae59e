//! The document of the directory API: a line for each operation, a schema for each body and answer.

use serde_json::{Map, Value, json};

use super::webhooks;
use super::{
    JSON, KEY_REUSED, STALE, failure, failures, idempotency_key, if_match, path_parameter, paths, reference, success,
    tagged, written,
};
use crate::api::Surface;
use crate::api::directory::users::{UNKNOWN, fields};
use crate::api::routes::Route;

/// Who may call an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    /// A key of the app.
    Key,
    /// A key of the app, or a person with an access token.
    KeyOrToken,
}

/// What the document says of an operation besides its route. What a path names and every write takes goes without saying.
struct Operation {
    name: &'static str,
    who: Who,
    /// What it takes in the query, and `If-Match`.
    takes: &'static [&'static str],
    /// The schema of its body; none if empty.
    body: &'static str,
    /// The schema of what it answers in `data`.
    answer: &'static str,
}

/// Every operation of the directory API.
#[rustfmt::skip]
fn operations() -> Vec<Operation> {
    use Who::{Key, KeyOrToken};
    let operation = |name, who, takes, body, answer| Operation { name, who, takes, body, answer };
    vec![
        operation("getUser",          KeyOrToken, &[],                     "",           "User"),
        operation("updateUser",       KeyOrToken, &["test", "If-Match"],   "ChangeUser", "Done"),
        operation("updateUserByPost", KeyOrToken, &["test", "If-Match"],   "ChangeUser", "Done"),
        operation("getPublicKey",     Key,        &[],                     "",           "PublicKey"),
        operation("listWebhooks",     Key,        &[],                     "",               "Webhooks"),
        operation("createWebhook",    Key,        &[],                     "NewWebhook",     "CreatedWebhook"),
        operation("getWebhook",       Key,        &[],                     "",               "Webhook"),
        operation("updateWebhook",    Key,        &[],                     "ChangeWebhook",  "Webhook"),
        operation("removeWebhook",    Key,        &[],                     "",               "Done"),
        operation("rotateWebhook",    Key,        &[],                     "RotateWebhook",  "CreatedWebhook"),
        operation("testWebhook",      Key,        &[],                     "",               "Event"),
        operation("replayWebhook",    Key,        &[],                     "ReplayWebhook",  "Replay"),
        operation("listDeliveries",   Key,        &[],                     "",               "Deliveries"),
        operation("listAttempts",     Key,        &[],                     "",               "Attempts"),
        operation("getOwnPublicKey",  Key,        &[],                     "",               "PublicKey"),
        operation("listSessions",     KeyOrToken, &[],                     "",               "Sessions"),
        operation("endSessions",      KeyOrToken, &[],                     "",               "Done"),
        operation("endSession",       KeyOrToken, &[],                     "",               "Done"),
    ]
}

/// The bodies that operations take.
fn bodies() -> Map<String, Value> {
    let fields: Map<String, Value> = writable();
    let change = json!({
        "type": "object", "required": ["user"],
        "properties": {
            "user": {"type": "object", "properties": fields, "description": "The fields to change. Others are ignored."},
            "test": {"type": "boolean", "description": "Whether the billing sync uses the provider's test mode."}
        }
    });
    object([("ChangeUser", change)])
}

/// What operations answer in `data`.
fn answers() -> Map<String, Value> {
    object([
        ("Done", json!({"type": "null"})),
        ("User", user()),
        ("Sessions", sessions()),
        (
            "PublicKey",
            json!({
                "type": "object", "required": ["kind", "publicKey"],
                "properties": {"kind": {"const": "publicKey"}, "publicKey": {"type": "string", "description": "PEM."}}
            }),
        ),
    ])
}

/// A parameter by its name.
///
/// # Panics
/// There is none of that name here, which every test of the documents finds.
fn parameter(name: &str) -> Value {
    let query = |schema: Value, text: &str| json!({"name": name, "in": "query", "schema": schema, "description": text});
    match name {
        "If-Match" => if_match(),
        "webhookId" => path_parameter(name, "The id of the webhook."),
        "deliveryId" => path_parameter(name, "The id of the delivery."),
        "appId" => path_parameter(name, "The UUID of the app."),
        "test" => query(json!({"type": "boolean"}), "Whether the billing sync uses the provider's test mode."),
        "sessionId" => path_parameter(name, "The UUID of the session."),
        "userId" => {
            path_parameter(name, "The user's UUID, or `me` with an access token; to read, also the e-mail address.")
        }
        other => panic!("the parameter {other} is not described"),
    }
}

/// The OpenAPI document.
pub(super) fn document() -> Value {
    let operations = operations();
    let header = |name: &str, text: &str| json!({"type": "apiKey", "in": "header", "name": name, "description": text});
    let mut schemas = bodies();
    schemas.extend(webhooks::bodies());
    schemas.extend(answers().into_iter().chain(webhooks::answers()).map(|(name, data)| (name, envelope(data))));
    schemas.insert(
        "Failure".into(),
        json!({
            "type": "object", "required": ["success", "error", "message", "data"],
            "properties": {
                "success": {"const": false}, "error": {"type": "string"},
                "message": {"type": "null"}, "data": {"type": "null"}
            }
        }),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Usher directory API", "version": "v1",
            "description": "Manage the users of an app, from its server with a key or as the person with an access token. Also served below /api.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"}
        },
        "servers": [{"url": "/"}, {"url": "/api"}],
        "security": [{"apiKey": [], "apiKeyType": [], "clientId": []}, {"accessToken": []}],
        "paths": paths(&[Surface::Directory, Surface::Extended], |route| describe(route, &operations)),
        "components": {
            "securitySchemes": {
                "apiKey": header("X-API-KEY", "An API key. Never use it on a client."),
                "apiKeyType": header("X-API-KEY-TYPE", "`read` or `write`: the access of the key."),
                "clientId": header("X-CLIENT-ID", "The UUID of the app."),
                "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "An access token of the person. The header Authentication is read too."}
            },
            "schemas": schemas
        }
    })
}

/// One operation.
///
/// # Panics
/// The table has no line for it, which every test of the documents finds.
fn describe(route: &Route, operations: &[Operation]) -> Value {
    let operation = operations.iter().find(|operation| operation.name == route.operation);
    let operation = operation.unwrap_or_else(|| panic!("the operation {} is not described", route.operation));
    let writes = route.method != "GET";
    let mut responses = failures("Failure", &FAILURES);
    for (status, text) in if writes { &WRITE_FAILURES[..] } else { &[] } {
        responses.insert(status.to_string(), failure("Failure", *status, text));
    }
    if operation.takes.contains(&"If-Match") {
        responses.insert("412".into(), failure("Failure", STALE.0, STALE.1));
    }
    for (status, text) in if operation.body.is_empty() { &[] } else { &BODY_FAILURES[..] } {
        responses.insert(status.to_string(), failure("Failure", *status, text));
    }
    for (status, text) in if route.surface == Surface::Extended { &EXTENDED_FAILURES[..] } else { &[] } {
        responses.insert(status.to_string(), failure("Failure", *status, text));
    }
    let of_a_user = operation.takes.contains(&"If-Match") || operation.answer == "User";
    let done = success(operation.answer, false);
    let done = if of_a_user { tagged(done) } else { done };
    responses.insert("200".into(), if writes { written(done) } else { done });
    responses.sort_keys();

    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path.chain(operation.takes.iter().copied()).map(parameter).collect();
    if writes {
        parameters.push(idempotency_key());
    }
    let mut described = json!({"operationId": route.operation, "summary": route.summary});
    if operation.who == Who::Key {
        described["security"] = json!([{"apiKey": [], "apiKeyType": [], "clientId": []}]);
    }
    if !operation.body.is_empty() {
        described["requestBody"] = json!({"required": true, "content": {JSON: {"schema": reference(operation.body)}}});
    }
    described["parameters"] = parameters.into();
    described["responses"] = responses.into();
    described
}

const FAILURES: [(u16, &str); 6] = [
    (400, "The request is wrong, or there is no such user, tenant or role."),
    (401, "No valid credential."),
    (403, "The credential is valid and may not do this."),
    (405, "The address does not take this method; see the Allow header."),
    (500, "Something went wrong on the server."),
    (503, "The server is busy; see Retry-After."),
];

const WRITE_FAILURES: [(u16, &str); 3] = [
    (400, "The request is wrong, there is no such user, tenant or role, or what must be unique belongs to another."),
    KEY_REUSED,
    (507, "The server's disk is full; nothing was changed."),
];

const BODY_FAILURES: [(u16, &str); 2] =
    [(408, "The body did not arrive within 30 seconds."), (413, "The body is larger than 64 KiB.")];

const EXTENDED_FAILURES: [(u16, &str); 3] = [
    (400, "The request is wrong."),
    (404, "There is no such user, tenant or role."),
    (409, "What must be unique belongs to another, or the state forbids it."),
];

pub(super) fn object<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn envelope(data: Value) -> Value {
    json!({
        "type": "object", "required": ["success", "message", "error", "data"],
        "properties": {"success": {"const": true}, "message": {"type": "string"}, "error": {"type": "null"}, "data": data}
    })
}

/// The fields of a user that a request may set.
fn writable() -> Map<String, Value> {
    let described = |wire: &crate::field::Wire<_>| {
        let mut schema = (wire.schema)();
        schema["description"] = wire.about.trim().into();
        (wire.name.to_owned(), schema)
    };
    fields().map(described).collect()
}

/// Where a user is signed in.
fn sessions() -> Value {
    let time = json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object", "required": ["kind", "itemsLength", "items"],
        "properties": {
            "kind": {"const": "session"}, "itemsLength": {"type": "integer"},
            "items": {"type": "array", "items": {
                "type": "object", "required": ["kind", "id", "createdAt", "refreshedAt", "expiresAt"],
                "properties": {
                    "kind": {"const": "session"}, "id": {"type": "string", "format": "uuid"}, "createdAt": time,
                    "refreshedAt": {"anyOf": [time, {"type": "null"}]}, "expiresAt": time
                }
            }}
        }
    })
}

/// The user object: every key is there, as null where nothing is known.
fn user() -> Value {
    let mut properties = writable();
    for schema in properties.values_mut() {
        *schema = json!({"anyOf": [schema.take(), {"type": "null"}]});
    }
    for name in UNKNOWN {
        properties.insert(name.into(), json!({"type": "null", "description": "Always null: Usher does not know it."}));
    }
    for name in ["email_verified", "phone_number_verified", "freezed", "deleted"] {
        properties.insert(name.into(), json!({"type": "boolean"}));
    }
    let id = json!({"type": "string", "format": "uuid"});
    properties.insert("kind".into(), json!({"const": "user"}));
    properties.insert("id".into(), id.clone());
    properties.insert("appId".into(), id.clone());
    properties.insert("tenantId".into(), json!({"anyOf": [id, {"type": "null"}]}));
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "required": required, "properties": properties})
}
