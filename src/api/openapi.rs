//! The OpenAPI 3.1 documents, made from the route table and the field types, so they cannot disagree with either.
//!
//! Our own and not a library: a document of an older date is the newest shapes taken back by the
//! version files, which attributes on handlers cannot express.

use axum::extract::Path;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::routes::{Route, routes};
use super::versions::{ApiDate, CHANGES};
use super::{Surface, directory as directory_api, reply};
use crate::error::{Error, Result};
use crate::idempotency::LONGEST;

const JSON: &str = "application/json";

/// Every document with its address: the partner API of each date, and the directory API.
pub fn documents() -> Vec<(String, Value)> {
    let partner = ApiDate::all().map(|date| (format!("partner/{}.json", date.as_str()), partner_document(date)));
    partner.chain([("directory.json".to_owned(), directory_document())]).collect()
}

/// `GET /openapi`
pub async fn list() -> Response {
    let addresses: Vec<String> = documents().into_iter().map(|(name, _)| format!("/openapi/{name}")).collect();
    reply(&json!({ "documents": addresses }))
}

/// `GET /openapi/partner/<date>.json`
pub async fn partner(Path(file): Path<String>) -> Result<Response> {
    let date = file.strip_suffix(".json").ok_or(Error::NoRoute)?;
    Ok(reply(&partner_document(ApiDate::named(date)?)))
}

/// `GET /openapi/directory.json`
pub async fn directory() -> Response {
    reply(&directory_document())
}

fn partner_document(date: ApiDate) -> Value {
    let shapes = date.shapes();
    let created = json!({
        "type": "object", "required": ["message", "email", "identifier"],
        "properties": {
            "message": {"const": "User created successfully"},
            "email": {"type": "string", "format": "email"},
            "identifier": {"type": "string", "format": "uuid", "description": "The id of the new user."}
        }
    });
    let updated = json!({
        "type": "object", "required": ["message", "identifier", "data"],
        "properties": {
            "message": {"const": "User updated successfully"},
            "identifier": {"type": "string", "format": "uuid"},
            "data": {"$ref": "#/components/schemas/UserData"}
        }
    });
    let operation = |route: &Route| {
        let (schema, answer, extra) = match route.operation {
            "createUser" => (
                "CreateUser",
                "CreatedUser",
                &[(409, "The e-mail address or the phone number belongs to another user.")][..],
            ),
            _ => ("UpdateUser", "UpdatedUser", &[(404, "No user with that e-mail address."), STALE][..]),
        };
        let mut responses = failures("Error", &PARTNER_FAILURES);
        for (status, text) in extra {
            responses.insert(status.to_string(), failure("Error", *status, text));
        }
        if route.operation == "updateUser" && ApiDate::all().next_back() == Some(date) {
            responses.insert("409".into(), failure("Error", 409, "The phone number belongs to another user."));
        }
        responses.insert("200".into(), written(success(answer, true)));
        responses.sort_keys();
        let mut parameters =
            vec![version_header("Fitmate-Version"), version_header("Usher-Version"), idempotency_key()];
        if route.operation == "updateUser" {
            parameters.push(if_match());
        }
        json!({
            "operationId": route.operation, "summary": route.summary,
            "parameters": parameters,
            "requestBody": {"required": true, "content": {JSON: {"schema": reference(schema)}}},
            "responses": responses
        })
    };
    let notes: Vec<String> = CHANGES.iter().rev().map(|change| format!("- {}: {}", change.date, change.note)).collect();
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
        "paths": paths(Surface::Partner, operation),
        "components": {
            "securitySchemes": {"partnerKey": {"type": "http", "scheme": "bearer", "description": "An API key with write access."}},
            "schemas": {
                "CreateUser": shapes.create.request_schema(),
                "CreatedUser": created,
                "UpdateUser": shapes.update.request_schema(),
                "UpdatedUser": updated,
                "UserData": shapes.update.answer_schema(),
                "Error": error_schema()
            }
        }
    })
}

fn directory_document() -> Value {
    let fields: Map<String, Value> = directory_api::users::fields()
        .map(|wire| {
            let mut schema = (wire.schema)();
            schema["description"] = wire.about.trim().into();
            (wire.name.to_owned(), schema)
        })
        .collect();
    let user = user_schema(&fields);
    let body = json!({
        "type": "object", "required": ["user"],
        "properties": {
            "user": {"type": "object", "properties": fields, "description": "The fields to change. Others are ignored."},
            "test": {"type": "boolean", "description": "Whether the billing sync uses the provider's test mode."}
        }
    });
    let operation = |route: &Route| {
        let mut responses = failures("Failure", &DIRECTORY_FAILURES);
        if route.method == "GET" {
            // No body: nothing of it to be wrong.
            for status in ["408", "412", "413", "422", "507"] {
                responses.shift_remove(status);
            }
        }
        let mut parameters = vec![];
        let mut operation = json!({"operationId": route.operation, "summary": route.summary});
        if route.operation == "getPublicKey" {
            responses.shift_remove("400");
            responses.insert("200".into(), success("PublicKey", false));
            parameters.push(path_parameter("appId", "The UUID of the app."));
            operation["security"] = json!([{"apiKey": [], "apiKeyType": [], "clientId": []}]);
        } else if route.operation == "getUser" {
            responses.insert("200".into(), tagged(success("User", false)));
            responses.insert("400".into(), failure("Failure", 400, "There is no such user, or the path names none."));
            parameters
                .push(path_parameter("userId", "The user's UUID or e-mail address, or `me` with an access token."));
        } else {
            responses.insert("200".into(), written(success("Done", false)));
            parameters.push(path_parameter("userId", "The UUID of the user, or `me` with an access token."));
            parameters.push(json!({
                "name": "test", "in": "query", "schema": {"type": "boolean"},
                "description": "Whether the billing sync uses the provider's test mode."
            }));
            parameters.extend([idempotency_key(), if_match()]);
            operation["requestBody"] =
                json!({"required": true, "content": {JSON: {"schema": reference("ChangeUser")}}});
        }
        responses.sort_keys();
        operation["parameters"] = parameters.into();
        operation["responses"] = responses.into();
        operation
    };
    let envelope = |data: Value| {
        json!({
            "type": "object", "required": ["success", "message", "error", "data"],
            "properties": {"success": {"const": true}, "message": {"type": "string"}, "error": {"type": "null"}, "data": data}
        })
    };
    let header = |name: &str, text: &str| json!({"type": "apiKey", "in": "header", "name": name, "description": text});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Usher directory API", "version": "v1",
            "description": "Manage the users of an app, from its server with a key or as the person with an access token. Also served below /api.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"}
        },
        "servers": [{"url": "/"}, {"url": "/api"}],
        "security": [{"apiKey": [], "apiKeyType": [], "clientId": []}, {"accessToken": []}],
        "paths": paths(Surface::Directory, operation),
        "components": {
            "securitySchemes": {
                "apiKey": header("X-API-KEY", "An API key. Never use it on a client."),
                "apiKeyType": header("X-API-KEY-TYPE", "`read` or `write`: the access of the key."),
                "clientId": header("X-CLIENT-ID", "The UUID of the app."),
                "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "An access token of the person. The header Authentication is read too."}
            },
            "schemas": {
                "ChangeUser": body,
                "User": envelope(user),
                "Done": envelope(json!({"type": "null"})),
                "PublicKey": envelope(json!({
                    "type": "object", "required": ["kind", "publicKey"],
                    "properties": {"kind": {"const": "publicKey"}, "publicKey": {"type": "string", "description": "PEM."}}
                })),
                "Failure": {
                    "type": "object", "required": ["success", "error", "message", "data"],
                    "properties": {
                        "success": {"const": false}, "error": {"type": "string"},
                        "message": {"type": "null"}, "data": {"type": "null"}
                    }
                }
            }
        }
    })
}

const STALE: (u16, &str) = (412, "The user is no longer as If-Match says; nothing was changed.");
const KEY_REUSED: (u16, &str) = (422, "The Idempotency-Key was already used for another request; nothing was changed.");

const PARTNER_FAILURES: [(u16, &str); 9] = [
    (400, "The body or the version is wrong; every wrong field is listed."),
    (403, "No valid key, a revoked or expired one, or one that may only read."),
    (408, "The body did not arrive within 30 seconds."),
    (413, "The body is larger than 64 KiB."),
    (405, "The address takes POST only; see the Allow header."),
    KEY_REUSED,
    (500, "Something went wrong on the server."),
    (503, "The server is busy; see Retry-After."),
    (507, "The server's disk is full; nothing was changed."),
];

const DIRECTORY_FAILURES: [(u16, &str); 11] = [
    (400, "The body is wrong, there is no such user, or the e-mail address or phone number belongs to another."),
    (401, "No valid credential."),
    (403, "The credential is valid and may not do this."),
    (405, "The address does not take this method; see the Allow header."),
    (408, "The body did not arrive within 30 seconds."),
    STALE,
    (413, "The body is larger than 64 KiB."),
    KEY_REUSED,
    (500, "Something went wrong on the server."),
    (503, "The server is busy; see Retry-After."),
    (507, "The server's disk is full; nothing was changed."),
];

fn paths(surface: Surface, operation: impl Fn(&Route) -> Value) -> Map<String, Value> {
    let mut paths = Map::new();
    for route in routes().iter().filter(|route| route.surface == surface) {
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

fn success(schema: &str, dated: bool) -> Value {
    json!({"description": "Done.", "headers": headers(dated), "content": {JSON: {"schema": reference(schema)}}})
}

/// The user object: every key is there, as null where nothing is known.
fn user_schema(fields: &Map<String, Value>) -> Value {
    let mut properties = fields.clone();
    for schema in properties.values_mut() {
        *schema = json!({"anyOf": [schema.take(), {"type": "null"}]});
    }
    for name in directory_api::users::UNKNOWN {
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

/// An answer that tells which version of a user it is about.
fn tagged(mut answer: Value) -> Value {
    answer["headers"]["ETag"] = json!({
        "schema": {"type": "string"},
        "description": "The user as they are after this request. Send it as If-Match to change them only if nobody else has."
    });
    answer
}

/// The answer of a write of a user.
fn written(answer: Value) -> Value {
    let mut answer = tagged(answer);
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

fn reference(schema: &str) -> Value {
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
