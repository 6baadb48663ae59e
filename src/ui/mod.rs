//! The pages that people see in a browser: link, profile, errors, in the language of whoever reads them; the dashboard and the
//! documentation. Server-rendered.
//!
//! Pages know requests and concepts; like `api` they must not know SQL.

pub mod admin;
pub mod assets;
pub mod brand;
mod cookies;
pub mod docs;
pub mod links;
pub mod profile;
mod reader;
pub mod sign_in;
pub mod sign_out;
pub mod theme;

use brand::Brand;
pub use reader::{Reader, language};

use askama::Template;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use uuid::Uuid;

use crate::api::Api;
use crate::apps::{AppId, Environment, Kind};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::links::{Entry, State as Worth};
use crate::secret::Secret;
use crate::sessions;
use crate::ticket::Ticket;
use crate::words::{Language, Words};

/// What a page may load.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     frame-src 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Where its forms may lead.
const FORMS: &str = "; form-action 'self'";

/// A page with nothing but words.
#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    words: &'static Words,
    brand: Brand<'a>,
    title: String,
    text: String,
    /// What the app's developer wants to know, in English.
    detail: Option<String>,
    request_id: Option<&'a str>,
}

/// A page with a title and a text.
fn message(status: StatusCode, words: &'static Words, brand: Brand, title: String, text: String) -> Response {
    let template = Message { words, brand, title, text, detail: None, request_id: None };
    let mut response = page_in(words, &template);
    *response.status_mut() = status;
    response
}

/// Answers with a page.
fn page(template: &impl Template) -> Response {
    under(&[POLICY, FORMS].concat(), template)
}

/// Answers with a page that an app's page has in a frame.
fn framed(template: &impl Template, around: &str) -> Response {
    let policy = POLICY.replace("frame-ancestors 'none'", &format!("frame-ancestors {around}"));
    under(&(policy + FORMS), template)
}

fn under(policy: &str, template: &impl Template) -> Response {
    let html = match template.render() {
        Ok(html) => html,
        Err(e) => return Error::internal(e).into_response(),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, html).into_response()
}

/// Answers with a page in a language.
fn page_in(words: &Words, template: &impl Template) -> Response {
    spoken(words, page(template))
}

/// The same for a page whose form is answered by the way to an app. Chromium applies `form-action` to every hop that follows,
/// and where an app's page redirects to is not for us to know, so the directive is left out.
fn page_to_app(words: &Words, template: &impl Template) -> Response {
    spoken(words, under(POLICY, template))
}

fn spoken(words: &Words, mut response: Response) -> Response {
    let tag = header::HeaderValue::from_static(words.language().tag());
    response.headers_mut().insert(header::CONTENT_LANGUAGE, tag);
    response
}

/// What the cookies of sessions on the hosted pages begin with. There is one for each environment of an app, so that who
/// signs out of one app stays signed in to the others.
const SESSION: &str = "usher_session_";

fn session_cookie(app: AppId, kind: Kind) -> String {
    format!("{SESSION}{}_{app}", kind.as_str())
}

/// Lets a person in by `come_in`: their browser has a session from now on, and goes to the app or to their profile. The session
/// that it had there before ends, for its cookie is all that could end it from here.
async fn enter(
    api: &Api,
    headers: &HeaderMap,
    request: Uuid,
    come_in: impl Fn(&Tx) -> Result<std::result::Result<Entry, Worth>> + Send + 'static,
) -> Result<std::result::Result<Response, Worth>> {
    let before: Vec<(String, Secret)> = cookies::secrets(api, headers)
        .filter(|(name, _)| name.starts_with(SESSION))
        .map(|(name, session)| (name.to_owned(), session))
        .collect();
    let entered = move |tx: &Tx| {
        let entered = come_in(tx)?;
        if let Ok(Entry { environment, .. }) = &entered {
            let name = session_cookie(environment.app, environment.kind);
            for (_, session) in before.iter().filter(|(given, _)| *given == name) {
                sessions::make_way(tx, session, Some(request))?;
            }
        }
        Ok(entered)
    };
    Ok(api.store.write(entered).await?.map(|entry| welcome_in(api, &entry)))
}

fn welcome_in(api: &Api, entry: &Entry) -> Response {
    let (app, kind) = (entry.environment.app, entry.environment.kind);
    // As long as there may be tokens of the session: it lets in for a shorter time, but signs out for as long.
    let age = Some(sessions::LIFETIME);
    let cookie = cookies::keep(api, &session_cookie(app, kind), entry.session.expose(), age);
    let to = entry.app.as_ref().map_or_else(|| profile(app, kind), ToString::to_string);
    ([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response()
}

/// Where a person's profile is for an app.
fn profile(app: AppId, kind: Kind) -> String {
    format!("/profile?client_id={app}&environment={}", kind.as_str())
}

/// The cookies of the browser's sessions at these environments, or at all if none is named, the newest session first.
fn session_cookies(api: &Api, headers: &HeaderMap, places: &[(AppId, Kind)]) -> Vec<(String, Secret)> {
    let names: Vec<String> = places.iter().map(|(app, kind)| session_cookie(*app, *kind)).collect();
    let meant = |given: &str| {
        if names.is_empty() { given.starts_with(SESSION) } else { names.iter().any(|name| name == given) }
    };
    let sent = cookies::secrets(api, headers).filter(|(given, _)| meant(given));
    let mut found: Vec<(String, Secret)> = sent.map(|(name, value)| (name.to_owned(), value)).collect();
    found.sort_by_key(|(_, cookie)| std::cmp::Reverse(Ticket::read(cookie).map(|ticket| ticket.id())));
    found
}

/// An error as a page.
pub fn error_page(error: &Error, language: Language, place: Option<&Environment>, request_id: &str) -> Response {
    let words = Words::of(language);
    let title = match error {
        Error::NoRoute => words.not_found_title(),
        error if error.status() == 500 => words.broken_title(),
        _ => words.error_title(),
    };
    let (brand, text, request_id) =
        (place.map(Brand::from).unwrap_or_default(), explain(error, words), Some(request_id));
    // What is wrong with its request is for the developer of the app.
    let detail = matches!(error, Error::BadRequest { .. }).then(|| format!("{}: {error}", error.code()));
    page_in(words, &Message { words, brand, title, text, detail, request_id })
}

/// What an error means to the person in front of the page.
fn explain(error: &Error, words: &Words) -> String {
    match error.code() {
        "no_route" | "method_not_allowed" => words.not_found(),
        "busy" | "unavailable" | "storage_full" | "disk_failed" => words.busy(),
        "too_many" => words.too_many(),
        "user_frozen" => words.frozen(),
        "user_deleted" | "user_not_found" => words.deleted(),
        "cross_site" => words.cross_site(),
        "stale" => words.stale(),
        "invalid_client" | "invalid_request" | "unknown_redirect_uri" => words.wrong_request(),
        _ if error.status() < 500 => words.unreadable(),
        _ => words.broken(),
    }
}

/// `GET /`
pub async fn welcome(Reader(words, _): Reader) -> Response {
    message(StatusCode::OK, words, Brand::default(), "Usher".into(), words.running())
}
