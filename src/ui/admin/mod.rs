//! The dashboard, at `/admin`: pages for administrators of the installation. Like all pages a skin over the concepts, it
//! knows no SQL, and does everything by the operations that the APIs have.
//!
//! A page is a template below `templates/admin`, a function here or in a file beside, and a line in `api/routes.rs`. Its
//! place in the sidebar is a line in [`SECTIONS`].

pub mod access;
pub mod admins;
pub mod audit;
mod chart;
pub mod home;
pub(super) mod icons;
pub mod imports;
pub mod keys;
mod limits;
pub mod look;
pub mod mails;
pub mod requests;
pub mod search;
pub mod settings;
pub mod sign_in;
pub mod user;
pub mod users;
pub mod webhooks;
pub mod wording;
mod words;

use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::Value;

use self::access::{Admin, ReadOnly};
use super::page;
use super::theme::Theme;
use crate::admins::Role;
use crate::api::Api;
use crate::api::body::Form;
use crate::apps::{Environment, Kind};
use crate::codes::Parameters;
use crate::config::span;
use crate::error::{Error, Result};

/// The sections of the sidebar: path below the environment, words, icon, and the role that it needs.
#[rustfmt::skip]
const SECTIONS: &[(&str, &str, &str, Role)] = &[
    ("", "Home", "home", Role::ReadOnly),
    ("users", "Users", "users", Role::ReadOnly),
    ("imports", "Import", "import", Role::Owner),
    ("mails", "Mail", "mail", Role::ReadOnly),
    ("keys", "Keys", "key", Role::Owner),
    ("webhooks", "Webhooks", "webhook", Role::Owner),
    ("requests", "Requests", "request", Role::ReadOnly),
    ("audit", "Audit", "audit", Role::ReadOnly),
    ("settings", "Settings", "settings", Role::Owner),
    ("admins", "Administrators", "shield", Role::Owner),
];

/// What surrounds every page: who looks at it, and where.
pub struct Frame {
    /// The administrator.
    pub who: crate::admins::Admin,
    /// How it looks.
    pub theme: Theme,
    /// The path and query of the page.
    pub here: String,
    /// Whether the page answers a form, so that its address shows nothing.
    pub is_answer: bool,
    /// Every environment of every app.
    pub places: Vec<Environment>,
    /// The environment of the page.
    pub place: Option<Environment>,
}

/// A line of the sidebar.
struct Section {
    href: String,
    words: &'static str,
    icon: &'static str,
    current: bool,
}

impl Frame {
    /// Where the pages of the environment begin.
    pub fn base(&self) -> String {
        self.place.as_ref().or(self.places.first()).map_or_else(|| "/admin".to_owned(), base)
    }

    /// Where who changes the theme comes back to.
    fn again(&self) -> String {
        if self.is_answer { self.base() } else { self.here.clone() }
    }

    /// Whether the page is about the sandbox.
    pub fn is_sandbox(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.kind == Kind::Sandbox)
    }

    /// Whether the administrator may see or do what needs this role.
    pub fn may(&self, role: Role) -> bool {
        self.who.role >= role
    }

    /// What tells a command which environment is meant.
    fn options(&self) -> String {
        self.place
            .as_ref()
            .map_or_else(String::new, |at| format!(" --app {} --environment {}", at.app, at.kind.as_str()))
    }

    /// The line that asks the directory API for the same; the address and the key are in the reader's environment.
    fn curl(&self, method: &str, path: &str) -> String {
        let app = self.place.as_ref().map_or_else(String::new, |place| place.app.to_string());
        format!(
            "curl -X {method} \"$USHER_URL{path}\" -H \"X-API-KEY: $USHER_KEY\" -H 'X-API-KEY-TYPE: write' -H 'X-CLIENT-ID: {app}'"
        )
    }

    /// The same with a body.
    fn curl_with(&self, method: &str, path: &str, body: &Value) -> String {
        let body = quoted(&body.to_string());
        format!("{} -H 'Content-Type: application/json' -d {body}", self.curl(method, path))
    }

    /// Back to a page of the environment after something was done.
    fn back(&self, path: &str) -> Response {
        Redirect::to(&format!("{}/{path}", self.base())).into_response()
    }

    fn sections(&self) -> Vec<Section> {
        let base = self.base();
        let here = self.here.split('?').next().unwrap_or_default();
        let allowed = SECTIONS.iter().filter(|(.., role)| self.may(*role));
        let section = |(path, words, icon, _): &(&str, &'static str, &'static str, Role)| {
            let href = if path.is_empty() { base.clone() } else { format!("{base}/{path}") };
            let below = here.strip_prefix(&href).is_some_and(|rest| rest.starts_with('/'));
            let current = here == href || (below && !path.is_empty());
            Section { href, words, icon, current }
        };
        allowed.map(section).collect()
    }
}

/// A text as one word of a shell, which runs nothing of it.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./_-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A role in words.
fn role(role: &Role) -> &'static str {
    match role {
        Role::Owner => "Owner",
        Role::Support => "Support",
        Role::ReadOnly => "Read only",
    }
}

fn base(place: &Environment) -> String {
    format!("/admin/{}/{}", place.app, place.kind.as_str())
}

/// `GET /admin`: the first app's live environment if anybody is there, its sandbox otherwise.
pub async fn enter(State(api): State<Api>, admin: Admin<ReadOnly>) -> Result<Response> {
    let places = admin.frame.places;
    let none = Error::NotFound("There is no app yet; `usher app create` makes one");
    let sandbox = places.first().ok_or(none)?;
    let live = places.iter().find(|place| place.app == sandbox.app && place.kind == Kind::Live);
    if let Some(live) = live {
        let id = live.id;
        if !api.store.read(move |tx| crate::users::newest(tx, id, 1)).await?.is_empty() {
            return Ok(Redirect::to(&base(live)).into_response());
        }
    }
    Ok(Redirect::to(&base(sandbox)).into_response())
}

/// Insists on the words that are to be typed before what cannot be undone.
fn typed(form: &Form, words: &str) -> Result<()> {
    match form.get("words").map(str::trim) {
        Some(typed) if typed == words => Ok(()),
        _ => Err(Error::bad_request("not_confirmed", format!("Type “{words}” to confirm"))),
    }
}

/// A span of time in a form, like `24h`.
fn span_of(text: &str) -> Result<Duration> {
    span(text).map_err(|rule| Error::bad_request("malformed_span", rule))
}

/// A page with nothing but words.
#[derive(Template)]
#[template(path = "admin/message.html")]
pub(super) struct Card<'a> {
    title: &'a str,
    text: &'a str,
    request_id: Option<&'a str>,
    /// Whether there is a way back to the dashboard.
    back: bool,
}

fn card(template: &impl Template, status: StatusCode) -> Response {
    let mut response = page(template);
    *response.status_mut() = status;
    response
}

/// The status of an error: what an administrator asked wrongly is theirs to mend, as the operator's is in a terminal.
pub fn status(error: &Error) -> u16 {
    if matches!(error, Error::Operator(_)) { 400 } else { error.status() }
}

/// An error as a page. Who is not signed in is shown where to.
pub fn error_page(error: &Error, request_id: &str) -> Response {
    let (title, text) = match error {
        Error::Unauthenticated { .. } => return card(&sign_in::SIGN_IN, StatusCode::UNAUTHORIZED),
        Error::NoRoute | Error::NotFound(_) | Error::UserNotFound => ("Not found", error.to_string()),
        Error::Forbidden { .. } => ("Not allowed", error.to_string()),
        Error::Internal(_) | Error::Integrity | Error::Unique(_) => {
            ("Something went wrong", "Please try again. The log has a line with the code below.".to_owned())
        }
        other => ("That did not work", other.to_string()),
    };
    page(&Card { title, text: &text, request_id: Some(request_id), back: true })
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_runs_nothing_of_what_is_quoted() {
        assert_eq!(quoted("ann@clinic.example"), "ann@clinic.example");
        assert_eq!(quoted("o'neil@clinic.example"), r"'o'\''neil@clinic.example'");
        assert_eq!(quoted("$(id)@x.example"), "'$(id)@x.example'");
        assert_eq!(quoted(""), "''");
    }
}
