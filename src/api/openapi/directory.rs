//! The document of the directory API: a line for each operation, a schema for each body and answer.

use serde_json::{Map, Value, json};

use super::{
    JSON, KEY_REUSED, STALE, dry_run, failure, failures, idempotency_key, if_match, path_parameter, paths, reference,
    success, tagged, written,
};
use super::{imports, webhooks};
use crate::api::Surface;
use crate::api::directory::users::{UNKNOWN, fields};
use crate::api::routes::Route;
use crate::field::Wire;
use crate::imports::{Format, Preset};
use crate::place::MOST;
use crate::tenants::Facts;
use crate::users::{METADATA, Sort, Status};

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
        operation("getUser",          KeyOrToken, &["metadata"],           "",           "User"),
        operation("updateUser",       KeyOrToken, &["test", "If-Match"],   "ChangeUser", "Done"),
        operation("updateUserByPost", KeyOrToken, &["test", "If-Match"],   "ChangeOrInvite", "Done"),
        operation("deleteUser",       KeyOrToken, &["test", "If-Match"],   "",           "Done"),
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
        operation("listRoles",        Key,        &[],                     "",           "Roles"),
        operation("setAccessStatus",  Key,        &["If-Match"],           "",           "Done"),
        operation("getTenant",        KeyOrToken, &[],                     "",           "Tenant"),
        operation("updateTenant",     KeyOrToken, &[],                     "ChangeTenant", "Done"),
        operation("listSignIns",      Key,        &["from", "to"],         "",           "SignIns"),
        operation("listTenants",      Key,        &["from", "to"],         "",           "Tenants"),
        operation("listUsers",        KeyOrToken, LIST,                    "",           "Users"),
        operation("createUser",       KeyOrToken, &["tenant"],             "CreateUser", "User"),
        operation("patchUser",        KeyOrToken, &["If-Match"],           "PatchUser",  "User"),
        operation("listEvents",       KeyOrToken, &["limit", "cursor"],    "",           "Events"),
        operation("restoreUser",      KeyOrToken, &["If-Match"],           "",           "User"),
        operation("eraseUser",        Key,        &[],                     "",           "Erasure"),
        operation("beginImport",      Key,        IMPORT,                  IMPORT_FILE,  "Import"),
        operation("listImports",      Key,        &[],                     "",           "Imports"),
        operation("getImport",        Key,        &[],                     "",           "Import"),
        operation("listImportRows",   Key,        &["limit", "cursor"],    "",           "ImportRows"),
        operation("undoImport",       Key,        &[],                     "",           "Import"),
        operation("giveRole",         KeyOrToken, &["If-Match"],           "GiveRole",   "Done"),
        operation("takeRole",         KeyOrToken, &["If-Match"],           "",           "Done"),
    ]
}

/// What a list of users takes.
const LIST: &[&str] = &[
    "tenant",
    "status",
    "created_from",
    "created_to",
    "updated_from",
    "updated_to",
    "email",
    "phone",
    "external_id",
    "sort",
    "limit",
    "cursor",
];

/// What an import takes, and the body that is a file.
const IMPORT: &[&str] = &["format", "preset", "map", "tenant", "send_links", "rehearse"];
const IMPORT_FILE: &str = "ImportFile";

/// The bodies that operations take.
fn bodies() -> Map<String, Value> {
    let of_a_user =
        |fields: Map<String, Value>, text: &str| json!({"type": "object", "properties": fields, "description": text});
    let test = json!({"type": "boolean", "description": "Whether the billing sync uses the provider's test mode."});
    let change = json!({
        "type": "object", "required": ["user"],
        "properties": {"user": of_a_user(writable(), "The fields to change. Others are ignored."), "test": test}
    });
    let invite = json!({
        "type": "object", "required": ["email", "language"],
        "properties": {"email": writable()["email"], "language": writable()["language"]}
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
        ("CreateUser", json!({"type": "object", "required": ["user"], "properties": {"user": new}})),
        (
            "PatchUser",
            json!({
                "type": "object", "required": ["user"],
                "properties": {"user": of_a_user(patched, "A JSON Merge Patch: null takes a value away.")}
            }),
        ),
        ("ChangeTenant", json!({"type": "object", "properties": tenant})),
        ("GiveRole", json!({"type": "object", "required": ["userRoleId"], "properties": {"userRoleId": uuid()}})),
    ])
}

/// What operations answer in `data`.
fn answers() -> Map<String, Value> {
    object([
        ("Done", json!({"type": "null"})),
        ("User", reference("UserObject")),
        ("Sessions", sessions()),
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

/// A parameter by its name.
///
/// # Panics
/// There is none of that name here, which every test of the documents finds.
fn parameter(name: &str) -> Value {
    let query = |schema: Value, text: &str| json!({"name": name, "in": "query", "schema": schema, "description": text});
    match name {
        "If-Match" => if_match(),
        "format" => query(
            words(Format::ALL.iter().map(|f| f.as_str())),
            "How the file is written. What `Content-Type` says, if it is not sent.",
        ),
        "importId" => path_parameter(name, "The id of the import."),
        "map" => query(
            json!({"type": "array", "items": {"type": "string"}}),
            "What becomes of a column, as `column=field`; without a field, nothing. Can be sent several times.",
        ),
        "preset" => query(
            words(Preset::ALL.iter().map(|p| p.as_str())),
            "The export that the file is. What its columns look like, if it is not sent.",
        ),
        "rehearse" => query(json!({"type": "boolean"}), "Make no users, and tell what would become of each row."),
        "send_links" => {
            query(json!({"type": "boolean"}), "Mail each person their link. Nobody is mailed if it is not sent.")
        }
        "webhookId" => path_parameter(name, "The id of the webhook."),
        "deliveryId" => path_parameter(name, "The id of the delivery."),
        "accessStatus" => path_parameter(name, "0 freezes: the user cannot sign in. 1 unfreezes."),
        "appId" => path_parameter(name, "The UUID of the app."),
        "created_from" | "updated_from" => query(when(), "From this day or time on."),
        "created_to" | "updated_to" => query(when(), "Before this day or time."),
        "cursor" => query(json!({"type": "string"}), "The `nextCursor` of the page before, with the same filters."),
        "email" => query(json!({"type": "string"}), "The user with this e-mail address, in any spelling."),
        "external_id" => query(json!({"type": "string"}), "The user that the app calls so."),
        "from" => {
            query(json!({"type": "string", "format": "date"}), "The first day. Thirty days ago if it is not sent.")
        }
        "limit" => query(
            json!({"type": "integer", "minimum": 1, "maximum": MOST, "default": 50}),
            "How many entries at the most.",
        ),
        "metadata" => query(
            json!({"type": "boolean"}),
            "Whether to show the app's metadata too. That stands in the audit trail, and needs the right `users:metadata`.",
        ),
        "phone" => query(json!({"type": "string"}), "The user with this phone number, in any spelling."),
        "sort" => query(
            words(Sort::ALL.iter().map(|sort| sort.as_str())),
            "The order; `-` is the newest first, which is usual.",
        ),
        "status" => query(
            words(Status::ALL.iter().map(|status| status.as_str())),
            "Users of this status. All but the deleted if it is not sent.",
        ),
        "tenant" => query(uuid(), "The UUID of a tenant."),
        "tenantId" => path_parameter(name, "The tenant's UUID, or `me` with an access token."),
        "test" => query(json!({"type": "boolean"}), "Whether the billing sync uses the provider's test mode."),
        "sessionId" => path_parameter(name, "The UUID of the session."),
        "to" => query(json!({"type": "string", "format": "date"}), "The last day. Today if it is not sent."),
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
    schemas.extend(
        answers()
            .into_iter()
            .chain(webhooks::answers())
            .chain(imports::answers())
            .map(|(name, data)| (name, envelope(data))),
    );
    schemas.insert("UserObject".into(), user());
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
    for (status, text) in if operation.body == IMPORT_FILE { &FILE_FAILURES[..] } else { &[] } {
        responses.insert(status.to_string(), failure("Failure", *status, text));
    }
    if ["ChangeUser", "ChangeOrInvite", "PatchUser"].contains(&operation.body) {
        responses.insert("429".into(), failure("Failure", ATTEMPTS.0, ATTEMPTS.1));
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
        parameters.extend([dry_run("data"), idempotency_key()]);
    }
    let mut described = json!({"operationId": route.operation, "summary": route.summary});
    if operation.who == Who::Key {
        described["security"] = json!([{"apiKey": [], "apiKeyType": [], "clientId": []}]);
    }
    if operation.body == IMPORT_FILE {
        described["requestBody"] = json!({"required": true, "content": imports::file()});
    } else if !operation.body.is_empty() {
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

const ATTEMPTS: (u16, &str) = (429, "The person has tried twenty addresses and numbers of their own in a day.");

const BODY_FAILURES: [(u16, &str); 2] =
    [(408, "The body did not arrive within 30 seconds."), (413, "The body is larger than 64 KiB.")];

const FILE_FAILURES: [(u16, &str); 3] = [
    (408, "The file did not arrive within 30 seconds."),
    (413, "The file is larger than 16 MiB."),
    (429, "Twenty files of the environment wait already."),
];

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
                "type": "object", "required": ["kind", "id", "createdAt", "refreshedAt", "expiresAt"],
                "properties": {
                    "kind": {"const": "session"}, "id": {"type": "string", "format": "uuid"}, "createdAt": time,
                    "refreshedAt": {"anyOf": [time, {"type": "null"}]}, "expiresAt": time
                }
            }}
        }
    })
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

fn when() -> Value {
    json!({"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]})
}

fn words(words: impl Iterator<Item = &'static str>) -> Value {
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
fn user() -> Value {
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
