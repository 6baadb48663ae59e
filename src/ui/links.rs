//! The page of a magic link. Opening it changes nothing: mail scanners and previews open links too, so only the
//! button, which posts, uses the link up.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::{Message, enter, page};
use crate::api::{Api, Trail};
use crate::apps;
use crate::audit::tally::Kind;
use crate::error::{Error, Result};
use crate::links;
use crate::secret::Secret;

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage {
    app: String,
    sandbox: bool,
    works: bool,
    /// Why it does not work, in plain words.
    text: &'static str,
    secret: Secret,
}

/// `GET /links/{link}`, and `HEAD`.
pub async fn show(State(api): State<Api>, Path(secret): Path<Secret>) -> Result<Response> {
    let wanted = secret.clone();
    let (state, environment) = api.store.read(move |tx| links::look(tx, &wanted)).await?;
    let Some(environment) = environment else { return Ok(unknown()) };
    // Chromium applies `form-action` to where the answer of a form redirects to.
    let origin = environment.redirect_url.as_deref().and_then(|url| url::Url::parse(url).ok());
    let origin = origin.map(|url| url.origin().ascii_serialization());
    let works = state == links::State::Open;
    let sandbox = environment.kind == apps::Kind::Sandbox;
    let template = LinkPage { app: environment.app_name, sandbox, works, text: explain(state), secret };
    let mut response = page(&template, origin.as_deref());
    if !works {
        *response.status_mut() = StatusCode::GONE;
    }
    Ok(response)
}

/// `POST /links/{link}`: the button.
pub async fn follow(
    State(api): State<Api>,
    Path(secret): Path<Secret>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    from_our_page(&headers)?;
    let wanted = secret.clone();
    let made_with = api.links.clone();
    let entry = api.store.write(move |tx| links::follow(tx, &made_with, &wanted, Some(trail.id()))).await?;
    match entry {
        Ok(entry) => Ok(enter(&api, &entry)),
        Err(state) => {
            if state == links::State::Unknown {
                api.refusals
                    .add(Kind { key: None, operation: Some("POST /links/{link}".into()), code: "link_unknown" }, 1);
            }
            show(State(api), Path(secret)).await
        }
    }
}

/// `POST /links/{link}/renew`: a new link to the address on record.
pub async fn renew(State(api): State<Api>, Path(secret): Path<Secret>, headers: HeaderMap) -> Result<Response> {
    from_our_page(&headers)?;
    let made_with = api.links.clone();
    api.store.write(move |tx| links::renew(tx, &made_with, &secret)).await?;
    api.outbox.wake();
    let text = "We have sent you a new link. Please open the newest mail from us.";
    Ok(page(&Message { title: "Check your mail", text, request_id: None }, None))
}

/// A form of another site must not sign anyone in or out. `Sec-Fetch-Site` says so in every current browser; `Origin`
/// cannot, for our pages send no referrer and their forms therefore `Origin: null`.
pub(super) fn from_our_page(headers: &HeaderMap) -> Result<()> {
    match headers.get("sec-fetch-site").map(axum::http::HeaderValue::as_bytes) {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err(Error::Forbidden { code: "cross_site", message: "This form was sent from another site" }),
    }
}

fn unknown() -> Response {
    let text = "This link is not one of ours. Please check that you copied all of it, or use the newest mail from us.";
    let mut response = page(&Message { title: "Unknown link", text, request_id: None }, None);
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn explain(state: links::State) -> &'static str {
    match state {
        links::State::Used => "This link was already used. Each link works once.",
        links::State::Expired => "This link has expired.",
        links::State::Superseded => {
            "This link no longer works: a newer one was sent, or the e-mail address was changed."
        }
        links::State::Open | links::State::Unknown => "",
    }
}
