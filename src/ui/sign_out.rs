//! Where people sign out: by the button of our own pages, or because an app has sent them (OpenID Connect RP-Initiated Logout 1.0).
//!
//! Our own forms say in their address what is meant and have no body; the form of an app has one.

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use url::form_urlencoded::Serializer;

use super::links::from_our_page;
use super::{Brand, Reader, cookies, page_in, page_to_app, profile, session_cookies};
use crate::api::body::{Form, Raw};
use crate::api::{Api, Trail};
use crate::codes::{self, Leaving};
use crate::db::Tx;
use crate::error::Result;
use crate::secret::Secret;
use crate::words::Words;

#[derive(Template)]
#[template(path = "sign-out.html")]
struct SignOutPage<'a> {
    words: &'static Words,
    brand: Brand<'a>,
    title: String,
    /// Where the form leads: here, with what the app asked for, but no token.
    action: String,
}

/// `GET /sign-out`: signs out if the app has a token of whoever is signed in, and asks them else.
pub async fn ask(
    State(api): State<Api>,
    reader: Reader,
    Extension(trail): Extension<Trail>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let form = Form::parse(query.unwrap_or_default().as_bytes())?;
    let here = api.clone();
    let look = move |tx: &Tx| {
        let leaving = codes::leaving(tx, &form)?;
        let cookies = cookies_of(&here, &leaving, &headers);
        let is_certain = leaving.is_certain(tx, cookies.first().map(|(_, cookie)| cookie))?;
        Ok((leaving, cookies, is_certain))
    };
    match api.store.read(look).await? {
        (leaving, cookies, true) => sign_out(&api, &trail, leaving, cookies).await,
        (leaving, ..) => Ok(question(&reader, &leaving)),
    }
}

/// `POST /sign-out`: the button of our own pages; or what an app asks, which it may post too, with or without fields. Browsers send
/// no cookies along with that, so whoever is signed in is asked.
pub async fn leave(
    State(api): State<Api>,
    reader: Reader,
    Extension(trail): Extension<Trail>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<Response> {
    let query = query.unwrap_or_default();
    let is_our_button = body.is_empty() && from_our_page(&headers).is_ok();
    let form = Form::parse(&[query.as_bytes(), &body].join(&b'&'))?;
    let leaving = api.store.read(move |tx| codes::leaving(tx, &form)).await?;
    if is_our_button {
        let cookies = cookies_of(&api, &leaving, &headers);
        return sign_out(&api, &trail, leaving, cookies).await;
    }
    Ok(question(&reader, &leaving))
}

/// The cookies of the sessions that are to end.
fn cookies_of(api: &Api, leaving: &Leaving, headers: &HeaderMap) -> Vec<(String, Secret)> {
    let places: Vec<_> = leaving.environments.iter().map(|place| (place.app, place.kind)).collect();
    session_cookies(api, headers, &places)
}

async fn sign_out(api: &Api, trail: &Trail, leaving: Leaving, cookies: Vec<(String, Secret)>) -> Result<Response> {
    let to = match (leaving.back()?, leaving.place()) {
        (Some(page), _) => page.into(),
        (None, Some(place)) => profile(place.app, place.kind),
        (None, None) => "/profile".to_owned(),
    };
    let mut response = Redirect::to(&to).into_response();
    for (name, _) in &cookies {
        response.headers_mut().append(header::SET_COOKIE, cookies::gone(api, name));
    }
    let request = trail.id();
    api.store.write(move |tx| leaving.sign_out(tx, cookies.iter().map(|(_, cookie)| cookie), request)).await?;
    Ok(response)
}

fn question(reader: &Reader, leaving: &Leaving) -> Response {
    let place = leaving.place();
    let words = reader.words(None, place.and_then(|place| place.language));
    let mut query = Serializer::new(String::new());
    if let Some(place) = place {
        query.append_pair("client_id", &place.app.to_string());
    }
    if let [place] = leaving.environments.as_slice() {
        query.append_pair("environment", place.kind.as_str());
    }
    for (name, value) in [("post_logout_redirect_uri", &leaving.redirect_uri), ("state", &leaving.state)] {
        query.extend_pairs(value.iter().map(|value| (name, value)));
    }
    let page = SignOutPage {
        words,
        brand: place.map(Brand::from).unwrap_or_default(),
        title: place.map_or_else(|| words.sign_out_of_all_title(), |place| words.sign_out_title(&place.app_name)),
        action: format!("/sign-out?{}", query.finish()),
    };
    if leaving.redirect_uri.is_some() { page_to_app(words, &page) } else { page_in(words, &page) }
}
