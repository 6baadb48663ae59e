//! What apps call to sign people in: tokens, and what is known of the person. Errors as RFC 6749 5.2 has them.

pub mod document;
pub mod tokens;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::auth::Person;
use super::{Api, reply};
use crate::apps::Kind;
use crate::caller::Target;
use crate::codes::SCOPES;
use crate::error::{Error, Result};
use crate::roles::Right;
use crate::{tokens as jwt, users};

/// What is asked of whoever sends no working token (RFC 6750 3).
pub const CHALLENGE: &str = "Bearer error=\"invalid_token\"";

/// The status of an error in this dialect.
pub fn status(error: &Error) -> u16 {
    match error {
        Error::UserNotFound | Error::SessionNotFound => 400,
        other => other.status(),
    }
}

/// An error's body in this dialect.
pub fn render(error: &Error) -> Value {
    let code = match error {
        Error::BadRequest { code: code @ ("invalid_grant" | "invalid_client" | "unsupported_grant_type"), .. } => code,
        Error::Unauthenticated { .. } => "invalid_token",
        Error::Forbidden { .. } => "access_denied",
        error if status(error) >= 503 => "temporarily_unavailable",
        error if status(error) >= 500 => "server_error",
        _ => "invalid_request",
    };
    json!({"error": code, "error_description": error.to_string()})
}

/// `GET` and `POST /userinfo`: what the token's scopes open (OpenID Connect Core 5.3).
pub async fn userinfo(State(api): State<Api>, Person(bearer): Person) -> Result<Response> {
    let id = bearer.caller.resolve(Target::Me, Right::ReadUsers)?;
    let user = api.store.read(move |tx| users::any_by_id(tx, id)).await?.ok_or(Error::UserNotFound)?;
    let mut claims = json!({ "sub": user.id });
    if let Some(claims) = claims.as_object_mut() {
        claims.extend(jwt::about_user(&user, &bearer.scope));
    }
    Ok(reply(&claims))
}

/// `GET /.well-known/openid-configuration` (OpenID Connect Discovery 1.0): of the live environments.
pub async fn configuration(State(api): State<Api>) -> Response {
    describe(&api, Kind::Live)
}

/// `GET /sandbox/.well-known/openid-configuration`: the issuer and the keys are the sandbox's own.
pub async fn sandbox_configuration(State(api): State<Api>) -> Response {
    describe(&api, Kind::Sandbox)
}

fn describe(api: &Api, kind: Kind) -> Response {
    // The doors are the same: the environment is known by the redirect URI, and by what is exchanged.
    let (issuer, origin) = (api.links.issuer(kind), api.links.origin());
    reply(&json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{origin}/authorize"),
        "token_endpoint": format!("{origin}/oauth/token"),
        "revocation_endpoint": format!("{origin}/oauth/revoke"),
        "userinfo_endpoint": format!("{origin}/userinfo"),
        "end_session_endpoint": format!("{origin}/sign-out"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "scopes_supported": SCOPES,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        // What is not said of it is true (OpenID Connect Discovery 1.0, 3).
        "request_uri_parameter_supported": false,
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "sid", "name", "given_name", "family_name",
            "middle_name", "nickname", "preferred_username", "profile", "picture", "website", "email", "email_verified",
            "gender", "birthdate", "zoneinfo", "locale", "phone_number", "phone_number_verified", "updated_at"],
    }))
}
