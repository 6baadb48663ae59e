//! Tokens for a code or a refresh token: as the official clients ask (contract C5), and as RFC 6749 has it.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value, json};

use crate::api::body::{Form, JsonObject};
use crate::api::{Api, Trail, reply};
use crate::apps::AppId;
use crate::caller::{Actor, Origin};
use crate::codes::{self, Door, Exchange, Parameters, page};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::sessions::{self, Session};
use crate::tokens::{self, Grant, Tokens};

impl Parameters for Map<String, Value> {
    fn get(&self, name: &str) -> Option<&str> {
        Map::get(self, name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }
}

/// `POST /v1/tokens`. Whether it is about a code or a refresh token is decided by whether there is one of the latter: the
/// official client says `authorization_code` for both.
pub async fn official(
    State(api): State<Api>,
    Extension(trail): Extension<Trail>,
    JsonObject(body): JsonObject,
) -> Result<Response> {
    let ask = Ask::read(Door::Hosted, &body, None)?;
    let redirect_uri = Parameters::get(&body, "redirect_uri").map(page).unwrap_or_default().to_owned();
    let nonce = Parameters::get(&body, "nonce").map(str::to_owned);
    if nonce.as_deref().is_some_and(|nonce| !tokens::fits_nonce(nonce)) {
        return Err(Error::bad_request("invalid_request", tokens::NONCE_TOO_LONG));
    }
    let (session, refresh, asked) = grant(&api, ask, &trail).await?;
    let tokens = issue(&api, session, nonce.or(asked), Door::Hosted).await?;
    Ok(reply(&json!({
        "accessToken": tokens.access.expose(),
        "idToken": tokens.id.expose(),
        "expiresIn": tokens.expires_in,
        "tokenType": "Bearer",
        "redirectUri": redirect_uri,
        "refreshToken": refresh.as_ref().map(Secret::expose),
    })))
}

/// `POST /oauth/token` (RFC 6749 4.1.3 and 6).
pub async fn standard(State(api): State<Api>, Extension(trail): Extension<Trail>, form: Form) -> Result<Response> {
    let ask = Ask::read(Door::Standard, &form, Some(form.get("grant_type").unwrap_or_default()))?;
    let (session, refresh, nonce) = grant(&api, ask, &trail).await?;
    let scope = session.scope.clone();
    let tokens = issue(&api, session, nonce, Door::Standard).await?;
    let mut granted = json!({
        "access_token": tokens.access.expose(),
        "token_type": "Bearer",
        "expires_in": tokens.expires_in,
        "id_token": tokens.id.expose(),
        "scope": scope,
    });
    if let Some(refresh) = refresh {
        granted["refresh_token"] = refresh.expose().into();
    }
    Ok(reply(&granted))
}

/// `POST /oauth/revoke` (RFC 7009): ends the session of a refresh or access token, for the app that it was given to. What is no
/// token of ours is not there any more.
pub async fn revoke(State(api): State<Api>, Extension(trail): Extension<Trail>, form: Form) -> Result<Response> {
    let token = form.get("token").ok_or_else(|| Error::bad_request("invalid_request", "token is required"))?;
    let (token, client, links, request) = (Secret::new(token), client(&form)?, api.links.clone(), trail.id());
    // To judge a token takes time, of which there is more beside the writers.
    if let Some(found) = api.store.read(move |tx| tokens::session_of(tx, client, &token, &links)).await? {
        let end = move |tx: &Tx| match sessions::by_id(tx, found.id)? {
            Some(session) => sessions::end(
                tx,
                &session,
                Origin { request: Some(request), ..Origin::of(Actor::Person(session.user)) },
            ),
            None => Ok(()),
        };
        api.store.write(end).await?;
    }
    Ok(reply(&json!({})))
}

fn client(from: &impl Parameters) -> Result<AppId> {
    let client = from.get("client_id").and_then(|id| id.parse().ok());
    client.ok_or_else(|| Error::bad_request("invalid_client", "client_id must be the UUID of an app"))
}

/// What an app has to exchange.
enum Ask {
    Code(Exchange),
    Refresh(AppId, Secret),
}

impl Ask {
    fn read(door: Door, from: &impl Parameters, grant_type: Option<&str>) -> Result<Ask> {
        let refuse = |code, text: &str| Err(Error::bad_request(code, text));
        let client = client(from)?;
        let secret = |name| from.get(name).map(Secret::new);
        let (code, refresh) = match grant_type {
            None => (secret("code"), secret("refresh_token")),
            Some("authorization_code") => (secret("code"), None),
            Some("refresh_token") => (None, secret("refresh_token")),
            Some(_) => {
                return refuse("unsupported_grant_type", "grant_type must be authorization_code or refresh_token");
            }
        };
        match (refresh, code) {
            (Some(token), _) => Ok(Ask::Refresh(client, token)),
            (None, Some(code)) => {
                let text = |name| from.get(name).map(str::to_owned);
                let (redirect_uri, verifier) = (text("redirect_uri"), text("code_verifier"));
                Ok(Ask::Code(Exchange { door, client, code, redirect_uri, verifier }))
            }
            (None, None) => refuse("invalid_request", "code or refresh_token is required"),
        }
    }
}

/// The session, its next refresh token if it has one, and the nonce that came with the request for the code.
async fn grant(api: &Api, ask: Ask, trail: &Trail) -> Result<(Session, Option<Secret>, Option<String>)> {
    let request = Some(trail.id());
    let granted = match ask {
        Ask::Code(exchange) => {
            let exchanged = api.store.write(move |tx| codes::exchange(tx, &exchange, request)).await?;
            exchanged.map(|(session, token, request)| (session, token, request.nonce))
        }
        Ask::Refresh(client, token) => {
            let refreshed = api.store.write(move |tx| sessions::refresh(tx, client, &token, request)).await?;
            refreshed.map(|(session, token)| (session, Some(token), None))
        }
    };
    granted.ok_or_else(|| {
        Error::bad_request(
            "invalid_grant",
            "The code or refresh token does not work, or no longer, or not for this app",
        )
    })
}

async fn issue(api: &Api, session: Session, nonce: Option<String>, door: Door) -> Result<Tokens> {
    let links = api.links.clone();
    let issue = move |tx: &Tx| {
        let standard = (door == Door::Standard).then_some(&links);
        tokens::issue(tx, &Grant { session: &session, nonce: nonce.as_deref(), standard })
    };
    api.store.read(issue).await
}
