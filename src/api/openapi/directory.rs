//! The document of the directory API: a line for each operation. What it takes and answers is in [`super::schemas`].

use serde_json::{Value, json};

use super::schemas::{answers, bodies, envelope, rehearsed, user, uuid, when, words};
use super::{
    JSON, KEY_REUSED, STALE, dry_run, failure, failures, idempotency_key, if_match, path_parameter, paths, reference,
    refuse_twice, success, tagged, written,
};
use super::{imports, webhooks};
use crate::api::Surface;
use crate::api::routes::Route;
use crate::imports::{Format, Preset};
use crate::place::MOST;
use crate::users::{Sort, Status};

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
        operation("getSubscription",  Key,        &[],                     "",               "Subscription"),
        operation("endSessions",      KeyOrToken, &[],                     "",               "Done"),
        operation("endSession",       KeyOrToken, &[],                     "",               "Done"),
        operation("listRoles",        Key,        &[],                     "",           "Roles"),
        operation("setAccessStatus",  Key,        &["If-Match"],           "",           "Done"),
        operation("getTenant",        KeyOrToken, &[],                     "",           "Tenant"),
        operation("updateTenant",     KeyOrToken, &[],                     "ChangeTenant", "Done"),
        operation("listSignIns",      Key,        ANALYTICS,               "",           "SignIns"),
        operation("listTenants",      Key,        ANALYTICS,               "",           "Tenants"),
        operation("listUsers",        KeyOrToken, LIST,                    "",           "Users"),
        operation("createUser",       KeyOrToken, &["tenant", "test"],     "CreateUser", "User"),
        operation("patchUser",        KeyOrToken, &["test", "If-Match"],   "PatchUser",  "User"),
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

/// What analytics take.
const ANALYTICS: &[&str] = &["from", "to", "limit", "cursor"];

/// What an import takes, and the body that is a file.
const IMPORT: &[&str] = &["format", "preset", "map", "tenant", "send_links", "rehearse"];
const IMPORT_FILE: &str = "ImportFile";

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
            json!({"type": "integer", "minimum": 1, "maximum": MOST}),
            "How many entries at the most: 50 if it is not sent, and of analytics 100.",
        ),
        "metadata" => query(
            json!({"type": "boolean"}),
            "Whether to show the app's metadata too. That stands in the audit trail, and needs the right `users:metadata`.",
        ),
        "phone" => query(json!({"type": "string"}), "The user with this phone number, in any spelling."),
        "sort" => query(
            words(Sort::ALL.iter().map(|sort| sort.as_str())),
            "The order; with `-` from its end: `-created`, the newest first, is usual.",
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
    schemas.insert("DryRun".into(), rehearsed());
    schemas.insert("Message".into(), webhooks::message());
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
        "webhooks": webhooks::events(),
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
    if ["ChangeUser", "ChangeOrInvite", "PatchUser", "CreateUser", "ChangeTenant"].contains(&operation.body) {
        responses.insert("429".into(), failure("Failure", ATTEMPTS.0, ATTEMPTS.1));
    }
    for (status, text) in if route.surface == Surface::Extended { &EXTENDED_FAILURES[..] } else { &[] } {
        responses.insert(status.to_string(), failure("Failure", *status, text));
    }
    if writes {
        refuse_twice(&mut responses, "Failure");
    }
    let of_a_user = operation.takes.contains(&"If-Match") || ["User", "Subscription"].contains(&operation.answer);
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

const ATTEMPTS: (u16, &str) = (
    429,
    "The person has tried too many addresses and numbers in a day, of their own or of others, or names of their tenant.",
);

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
