//! The page of a magic link. Opening it changes nothing: mail scanners and previews open links too, so only the
//! button, which posts, uses the link up.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::{Brand, Reader, enter, message, page_in, page_to_app};
use crate::api::{Api, Trail};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::links;
use crate::secret::Secret;
use crate::words::Words;

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage<'a> {
    words: &'static Words,
    brand: Brand<'a>,
    /// Why it does not work; empty if it does.
    fault: String,
    secret: Secret,
}

/// `GET /links/{link}`, and `HEAD`.
pub async fn show(State(api): State<Api>, reader: Reader, Path(secret): Path<Secret>) -> Result<Response> {
    let wanted = secret.clone();
    let Some(found) = api.store.read(move |tx| links::look(tx, &wanted)).await? else { return Ok(unknown(reader.0)) };
    let words = reader.words(found.language, found.environment.language);
    let links::Page { state, environment, .. } = found;
    let template = LinkPage { words, brand: Brand::from(&environment), fault: explain(state, words), secret };
    let mut response =
        if environment.redirect_url.is_some() { page_to_app(words, &template) } else { page_in(words, &template) };
    if state != links::State::Open {
        *response.status_mut() = StatusCode::GONE;
    }
    Ok(response)
}

/// `POST /links/{link}`: the button.
pub async fn follow(
    State(api): State<Api>,
    reader: Reader,
    Path(secret): Path<Secret>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    from_our_page(&headers)?;
    let wanted = secret.clone();
    let (made_with, request) = (api.links.clone(), trail.id());
    let follow = move |tx: &Tx| links::follow(tx, &made_with, &wanted, Some(request));
    match enter(&api, &headers, request, follow).await? {
        Ok(response) => Ok(response),
        Err(state) => {
            if state == links::State::Unknown {
                trail.note_refused("link_unknown");
            }
            show(State(api), reader, Path(secret)).await
        }
    }
}

/// `POST /links/{link}/renew`: a new link to the address on record.
pub async fn renew(
    State(api): State<Api>,
    reader: Reader,
    Path(secret): Path<Secret>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    from_our_page(&headers)?;
    let (made_with, wanted) = (api.links.clone(), secret.clone());
    api.store.write(move |tx| links::renew(tx, &made_with, &secret, Some(trail.id()))).await?;
    api.outbox.wake();
    let found = api.store.read(move |tx| links::look(tx, &wanted)).await?;
    let words = found.as_ref().map_or(reader.0, |found| reader.words(found.language, found.environment.language));
    let brand = found.as_ref().map(|found| Brand::from(&found.environment)).unwrap_or_default();
    Ok(message(StatusCode::OK, words, brand, words.code_title(), words.new_link_sent()))
}

/// A form of another site must not sign anyone in or out. `Sec-Fetch-Site` says so in every current browser, where there is TLS.
/// `Origin` cannot: our pages send no referrer and their forms therefore `Origin: null`, and so can those of any other site.
pub(super) fn from_our_page(headers: &HeaderMap) -> Result<()> {
    match headers.get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Error::Forbidden { code: "cross_site", message: "This form was sent from another site" }),
    }
}

fn unknown(words: &'static Words) -> Response {
    message(StatusCode::NOT_FOUND, words, Brand::default(), words.unknown_link_title(), words.unknown_link())
}

fn explain(state: links::State, words: &Words) -> String {
    match state {
        links::State::Used => words.link_used(),
        links::State::Expired => words.link_expired(),
        links::State::Superseded => words.link_superseded(),
        // What only a sign-in is, and what has a page of its own.
        links::State::Open | links::State::Withdrawn | links::State::Elsewhere | links::State::Unknown => String::new(),
    }
}
