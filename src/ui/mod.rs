//! The pages that people see in a browser: link, profile, errors. Server-rendered, one style sheet, one script.
//!
//! Pages know requests and concepts; like `api` they must not know SQL.

pub mod admin;
pub mod assets;
pub mod links;
pub mod profile;
pub mod sign_in;
pub mod theme;

use askama::Template;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::api::Api;
use crate::apps::{AppId, Kind};
use crate::error::Error;
use crate::links::Entry;
use crate::secret::Secret;

/// What a page may load and where its forms may lead.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// A page with nothing but words.
#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
    request_id: Option<&'a str>,
}

/// Answers with a page. `form_target` is an origin beyond ours to which a form's answer may redirect.
fn page(template: &impl Template, form_target: Option<&str>) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(e) => return Error::internal(e).into_response(),
    };
    let policy = form_target.map_or_else(|| POLICY.to_owned(), |origin| format!("{POLICY} {origin}"));
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, html).into_response()
}

/// What the cookies of sessions on the hosted pages begin with. There is one for each environment of an app, so that who
/// signs out of one app stays signed in to the others.
const SESSION: &str = "usher_session_";

fn session_cookie(app: AppId, kind: Kind) -> String {
    format!("{SESSION}{}_{app}", kind.as_str())
}

/// What takes that cookie away.
fn gone(name: &str) -> String {
    format!("{name}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0")
}

/// Lets a person in: their browser has a session from now on, and goes to the app or to their profile.
fn enter(api: &Api, entry: &Entry) -> Response {
    let (app, kind) = (entry.environment.app, entry.environment.kind);
    let (name, session, secure) = (session_cookie(app, kind), entry.session.expose(), secure(api));
    let cookie = format!("{name}={session}; Path=/; HttpOnly; SameSite=Lax{secure}");
    let to = entry.app.as_ref().map_or_else(|| profile(app, kind), ToString::to_string);
    ([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response()
}

/// Where a person's profile is for an app.
fn profile(app: AppId, kind: Kind) -> String {
    format!("/profile?client_id={app}&environment={}", kind.as_str())
}

/// What a cookie ends with: nobody sends it without TLS if there is TLS.
fn secure(api: &Api) -> &'static str {
    if api.links.public_url.scheme() == "https" { "; Secure" } else { "" }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, Secret)> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.map(|(name, value)| (name, Secret::new(value)))
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<Secret> {
    cookies(headers).find(|(given, _)| *given == name).map(|(_, value)| value)
}

/// An error as a page.
pub fn error_page(error: &Error, request_id: &str) -> Response {
    let (title, text) = match error {
        Error::NoRoute => ("Page not found", "There is nothing at this address.".to_owned()),
        Error::Internal(_) | Error::Integrity | Error::Unique(_) => {
            ("Something went wrong", "Please try again. If it happens again, tell us the code below.".to_owned())
        }
        other => ("That did not work", other.to_string()),
    };
    page(&Message { title, text: &text, request_id: Some(request_id) }, None)
}

/// `GET /`
pub async fn welcome() -> Response {
    let text = "Usher is running. The OpenAPI documents are at /openapi.";
    page(&Message { title: "Usher", text, request_id: None }, None)
}
