//! The OpenAPI document of the doors by which apps sign people in.

use serde_json::{Map, Value, json};

use crate::api::Surface;
use crate::api::openapi::{JSON, paths, reference};
use crate::api::routes::Route;

/// The document.
pub fn document() -> Value {
    let text = |about: &str| json!({"type": "string", "description": about});
    let object = |required: &[&str], properties: &[(&str, &str)]| {
        let properties: Map<String, Value> =
            properties.iter().map(|(name, about)| ((*name).to_owned(), text(about))).collect();
        json!({"type": "object", "required": required, "properties": properties})
    };
    let mut exchanged = object(
        &["accessToken", "idToken", "expiresIn", "tokenType", "redirectUri", "refreshToken"],
        &[
            ("accessToken", "JWT for the APIs."),
            ("idToken", "JWT that says who has signed in."),
            ("redirectUri", "The one of the request, without a slash at the end."),
            ("refreshToken", "For the next tokens; works once. null after prompt=none."),
        ],
    );
    exchanged["properties"]["expiresIn"] = json!({"type": "integer", "description": "Seconds."});
    exchanged["properties"]["refreshToken"]["type"] = json!(["string", "null"]);
    exchanged["properties"]["tokenType"] = json!({"const": "Bearer"});
    let mut granted = object(
        &["access_token", "token_type", "expires_in", "id_token", "scope"],
        &[
            ("access_token", "JWT for the APIs."),
            ("refresh_token", "For the next tokens; works once. Not there after prompt=none."),
            ("id_token", "JWT that says who has signed in."),
            ("scope", "What the app may know, words with spaces between."),
        ],
    );
    granted["properties"]["expires_in"] = json!({"type": "integer", "description": "Seconds."});
    granted["properties"]["token_type"] = json!({"const": "Bearer"});
    let code = ("code", "The code from the address of the app's page.");
    let verifier = ("code_verifier", "The secret behind the code_challenge (PKCE).");
    let client = ("client_id", "The UUID of the app.");
    let page = ("redirect_uri", "The address of the app's page.");
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Usher sign-in", "version": "v1",
            "description": "Tokens for apps that sign people in. An OpenID Connect client finds all it needs at /.well-known/openid-configuration.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"}
        },
        "servers": [{"url": "/"}],
        "security": [],
        "paths": paths(&[Surface::OAuth], operation),
        "components": {
            "securitySchemes": {"accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token."}},
            "schemas": {
                "Exchange": object(&["client_id"], &[
                    client, page, code, verifier,
                    ("refresh_token", "The newest refresh token: then the code does not matter."),
                    ("nonce", "Comes back in the ID token. 512 bytes at the most, as it stands there."),
                ]),
                "Exchanged": exchanged,
                "Grant": object(&["grant_type", "client_id"], &[
                    ("grant_type", "authorization_code or refresh_token."), client, page, code, verifier,
                    ("refresh_token", "The newest refresh token."),
                ]),
                "Granted": granted,
                "Revoke": object(&["token", "client_id"], &[("token", "The refresh token, or an access token."), client]),
                "Nothing": {"type": "object"},
                "Claims": {
                    "type": "object", "required": ["sub"],
                    "properties": {"sub": {"type": "string", "format": "uuid"}},
                    "description": "The claims of OpenID Connect Core 5.1 that the token's scopes open."
                },
                "Failure": object(&["error", "error_description"], &[
                    ("error", "A word of RFC 6749 5.2."), ("error_description", "A sentence.")
                ])
            }
        }
    })
}

fn operation(route: &Route) -> Value {
    let (kind, request, answer) = match route.operation {
        "exchange" => (JSON, Some("Exchange"), "Exchanged"),
        "token" => ("application/x-www-form-urlencoded", Some("Grant"), "Granted"),
        "revoke" => ("application/x-www-form-urlencoded", Some("Revoke"), "Nothing"),
        _ => (JSON, None, "Claims"),
    };
    let said =
        |text: &str, schema: &str| json!({"description": text, "content": {JSON: {"schema": reference(schema)}}});
    let mut operation = json!({
        "operationId": route.operation, "summary": route.summary,
        "responses": {
            "200": said("Done.", answer),
            "400": said("The request cannot be read, or what it brings does not work.", "Failure"),
            "403": said("The user is frozen.", "Failure"),
            "405": said("The address does not take this method; see the Allow header.", "Failure"),
            "408": said("The body did not arrive within 30 seconds.", "Failure"),
            "413": said("The body is larger than 64 KiB.", "Failure"),
            "500": said("Something went wrong on the server.", "Failure"),
            "503": said("The server is busy; see Retry-After.", "Failure"),
            "507": said("The server's disk is full; nothing was changed.", "Failure"),
        }
    });
    if let Some(schema) = request {
        operation["requestBody"] = json!({"required": true, "content": {kind: {"schema": reference(schema)}}});
    } else {
        operation["security"] = json!([{"accessToken": []}]);
        operation["responses"]["401"] = said("No working access token.", "Failure");
        if let Some(responses) = operation["responses"].as_object_mut() {
            responses.sort_keys();
        }
    }
    operation
}

/// `GET /openapi/sign-in.json`
pub async fn show() -> axum::response::Response {
    crate::api::reply(&document())
}
