//! The signed-in person's own page. It shows what the directory API knows and changes it by `PUT /v1/users/me`.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use super::links::from_our_page;
use super::{Brand, Reader, SESSION, cookies, gone, message, page_in, profile, session_cookie};
use crate::api::directory::users::fields;
use crate::api::{Api, Trail, ascii};
use crate::apps::{self, AppId, Kind};
use crate::codes::scope_of;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::sessions;
use crate::ticket::Ticket;
use crate::tokens::{self, Grant};
use crate::words::{Language, Words};

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
struct ProfilePage<'a> {
    words: &'static Words,
    brand: Brand<'a>,
    client: AppId,
    kind: Kind,
    inputs: Vec<Input>,
    token: Secret,
}

/// Which app's session is meant; of a browser that has several, the newest that works, or to sign out, all.
#[derive(Deserialize)]
pub struct Which {
    client_id: Option<String>,
    environment: Option<String>,
}

/// How many sessions of one browser are looked at.
const MOST: usize = 20;

impl Which {
    fn app(&self) -> Result<Option<(AppId, Kind)>> {
        let (app, kind) = match (&self.client_id, &self.environment) {
            (None, None) => return Ok(None),
            (app, kind) => (app.as_ref().and_then(|app| app.parse().ok()), kind.as_deref().and_then(Kind::named)),
        };
        let unknown = || Error::bad_request("unknown_app", "The address must name an app and its environment");
        app.zip(kind).map(Some).ok_or_else(unknown)
    }

    /// The cookies that are meant, newest session first.
    fn cookies(&self, headers: &HeaderMap) -> Result<Vec<(String, Secret)>> {
        let name = self.app()?.map(|(app, kind)| session_cookie(app, kind));
        let meant = |given: &str| name.as_ref().map_or_else(|| given.starts_with(SESSION), |name| name == given);
        let mut found: Vec<(String, Secret)> =
            cookies(headers).filter(|(given, _)| meant(given)).map(|(name, value)| (name.to_owned(), value)).collect();
        found.sort_by_key(|(_, cookie)| std::cmp::Reverse(Ticket::read(cookie).map(|ticket| ticket.id())));
        found.truncate(MOST);
        Ok(found)
    }
}

/// `GET /profile`
pub async fn show(
    State(api): State<Api>,
    Reader(words): Reader,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response> {
    let cookies = which.cookies(&headers)?;
    let found = move |tx: &Tx| {
        for (_, cookie) in &cookies {
            let Some((user, mut session)) = sessions::of_browser(tx, cookie)? else { continue };
            let environment = apps::by_id(tx, user.environment)?;
            // Our own page, whatever the app may know.
            session.scope = scope_of("");
            let token = tokens::issue(tx, &Grant { session: &session, nonce: None, standard: None })?.access;
            return Ok(Some((user, environment, token)));
        }
        Ok(None)
    };
    let found = api.store.scan(found).await?;
    let Some((user, environment, token)) = found else { return Ok(signed_out(words)) };
    let words = Language::of_person(&user.person.profile).map_or(words, Words::of);
    let value_of = |name: &str| {
        let shown = fields().find(|wire| wire.name == name).and_then(|wire| (wire.show)(&user.person));
        shown.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let inputs = INPUTS
        .iter()
        .map(|(name, label, kind, autocomplete)| Input { name, label, kind, autocomplete, value: value_of(name) })
        .collect();
    let (brand, client, kind) = (Brand::from(&environment), environment.app, environment.kind);
    Ok(page_in(words, &ProfilePage { words, brand, client, kind, inputs, token }, None))
}

/// `POST /sign-out`
pub async fn sign_out(
    State(api): State<Api>,
    Query(which): Query<Which>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    from_our_page(&headers)?;
    let next = which.app()?.map_or("/profile".to_owned(), |(app, kind)| profile(app, kind));
    let mut response = Redirect::to(&next).into_response();
    for (name, session) in which.cookies(&headers)? {
        let request = trail.id();
        api.store.write(move |tx| sessions::sign_out(tx, &session, Some(request))).await?;
        response.headers_mut().append(header::SET_COOKIE, ascii(&gone(&name)));
    }
    Ok(response)
}

fn signed_out(words: &'static Words) -> Response {
    message(StatusCode::OK, words, words.signed_out_title(), words.signed_out())
}
