//! The signed-in person's own page. It shows what the directory API knows and changes it by `PUT /v1/users/me`.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::links::from_our_page;
use super::{COOKIE, GONE, Message, cookie, page};
use crate::api::directory::users::fields;
use crate::api::{Api, Trail};
use crate::apps;
use crate::error::Result;
use crate::secret::Secret;
use crate::sessions;
use crate::tokens::{self, Grant};

/// The fields of the page: wire name, label, input type, autocomplete.
const INPUTS: &[(&str, &str, &str, &str)] = &[
    ("given_name", "First name", "text", "given-name"),
    ("family_name", "Last name", "text", "family-name"),
    ("email", "E-mail", "email", "email"),
    ("phone_number", "Phone", "tel", "tel"),
    ("birthdate", "Date of birth", "date", "bday"),
    ("nickname", "What should we call you?", "text", "nickname"),
    ("language", "Language", "text", "language"),
];

struct Input {
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    autocomplete: &'static str,
    value: String,
}

#[derive(Template)]
#[template(path = "profile.html")]
struct ProfilePage {
    app: String,
    sandbox: bool,
    inputs: Vec<Input>,
    token: Secret,
}

/// `GET /profile`
pub async fn show(State(api): State<Api>, headers: HeaderMap) -> Result<Response> {
    let session = session_of(&headers);
    let found = api
        .store
        .scan(move |tx| {
            let found = session.as_ref().map_or(Ok(None), |cookie| sessions::of_browser(tx, cookie))?;
            let Some((user, session)) = found else { return Ok(None) };
            let environment = apps::by_id(tx, user.environment)?;
            let token = tokens::issue(tx, &Grant { session: &session, nonce: None, issuer: None })?.access;
            Ok(Some((user, environment, token)))
        })
        .await?;
    let Some((user, environment, token)) = found else { return Ok(signed_out()) };
    let value_of = |name: &str| {
        let shown = fields().find(|wire| wire.name == name).and_then(|wire| (wire.show)(&user.person));
        shown.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let inputs = INPUTS
        .iter()
        .map(|(name, label, kind, autocomplete)| Input { name, label, kind, autocomplete, value: value_of(name) })
        .collect();
    let sandbox = environment.kind == apps::Kind::Sandbox;
    Ok(page(&ProfilePage { app: environment.app_name, sandbox, inputs, token }, None))
}

/// `POST /sign-out`
pub async fn sign_out(
    State(api): State<Api>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    from_our_page(&headers)?;
    if let Some(session) = session_of(&headers) {
        api.store.write(move |tx| sessions::sign_out(tx, &session, Some(trail.id()))).await?;
    }
    Ok(([(header::SET_COOKIE, GONE)], Redirect::to("/profile")).into_response())
}

fn signed_out() -> Response {
    let text = "You are signed out. To come back, open the link in the newest mail from us.";
    page(&Message { title: "Signed out", text, request_id: None }, None)
}

fn session_of(headers: &HeaderMap) -> Option<Secret> {
    cookie(headers, COOKIE)
}
