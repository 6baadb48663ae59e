//! How administrators come in and leave: the set-up address, the link, and the way out.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::access::{Admin, COOKIE, ReadOnly};
use super::{Card, card};
use crate::admins::{self, Ask, By};
use crate::api::body::Form;
use crate::api::{Api, Trail};
use crate::caller::{Actor, Origin};
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::Result;
use crate::secret::Secret;
use crate::ui::links::from_our_page;
use crate::ui::{Reader, cookies};
use crate::users::Email;

/// The form that asks for an address, or the button of a link.
#[derive(Template)]
#[template(path = "admin/sign-in.html")]
pub(super) struct SignInPage<'a> {
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    /// Where the form leads.
    pub(super) action: &'a str,
    /// The field's words; without a field there is a button alone.
    pub(super) field: Option<&'a str>,
    pub(super) button: &'a str,
    pub(super) fault: &'a str,
}

/// The page of whoever is not signed in.
pub(super) const SIGN_IN: SignInPage = SignInPage {
    title: "Sign in to the dashboard",
    text: "We send you a link that works once, for ten minutes.",
    action: "/admin/sign-in",
    field: Some("E-mail"),
    button: "Send me a link",
    fault: "",
};

const NO_ADDRESS: &str = "This is not an e-mail address.";

/// `GET /admin/sign-in`
pub async fn show() -> Response {
    card(&SIGN_IN, StatusCode::OK)
}

/// `POST /admin/sign-in`: the same answer for everybody.
pub async fn ask(State(api): State<Api>, reader: Reader, headers: HeaderMap, form: Form) -> Result<Response> {
    from_our_page(&headers)?;
    let Some(email) = form.get("email").and_then(Email::new) else {
        return Ok(card(&SignInPage { fault: NO_ADDRESS, ..SIGN_IN }, StatusCode::BAD_REQUEST));
    };
    api.admin_asks.add(Ask { email, language: reader.0.language() });
    Ok(on_its_way(&api))
}

fn on_its_way(api: &Api) -> Response {
    let text = if api.sends_mail {
        "If this is an administrator's address, a mail with a link is on its way. The link works once, for ten minutes."
    } else {
        "If this is an administrator's address, a link stands in the terminal in which Usher runs, for no mail server is set up \
         yet. It works once, for ten minutes. `usher admin link ADDRESS` prints one too."
    };
    card(&Card { title: "Check your mail", text, request_id: None, back: false }, StatusCode::OK)
}

/// `GET /admin/setup/{link}`
pub async fn show_setup(State(api): State<Api>, Path(link): Path<Secret>) -> Result<Response> {
    let secret = link.clone();
    let works = api.store.read(move |tx| admins::may_set_up(tx, &secret)).await?;
    Ok(if works { setup_page(&link, "") } else { setup_is_over() })
}

/// `POST /admin/setup/{link}`: makes the first administrator, who then signs in as everybody does.
pub async fn set_up(
    State(api): State<Api>,
    reader: Reader,
    Path(link): Path<Secret>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response> {
    from_our_page(&headers)?;
    let Some(email) = form.get("email").and_then(Email::new) else {
        return Ok(setup_page(&link, NO_ADDRESS));
    };
    let (links, way, language) = (api.links.clone(), api.admin_way(), reader.0.language());
    let origin = Origin { request: Some(trail.id()), ..Origin::of(Actor::Operator) };
    let first = move |tx: &Tx| admins::first(tx, &link, &email, &By { origin, links: &links, way, language });
    let Some((_, link)) = api.store.write(first).await? else {
        trail.note_refused("link_over");
        return Ok(setup_is_over());
    };
    api.pass_on(link);
    Ok(on_its_way(&api))
}

fn setup_page(link: &Secret, fault: &str) -> Response {
    let page = SignInPage {
        title: "Welcome to Usher",
        text: "You will be the first administrator, and its owner. Which address do you sign in with?",
        action: &format!("/admin/setup/{}", link.expose()),
        button: "Set up the dashboard",
        fault,
        ..SIGN_IN
    };
    card(&page, if fault.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST })
}

fn setup_is_over() -> Response {
    let text = "This set-up address was used, is older than an hour, or a newer one took its place. \
         `usher admin setup` prints a new one, as long as there is no owner.";
    card(&Card { title: "Nothing to set up here", text, request_id: None, back: true }, StatusCode::GONE)
}

/// `GET /admin/links/{link}`. Changes nothing: mail scanners open links too.
pub async fn show_link(State(api): State<Api>, Path(link): Path<Secret>) -> Result<Response> {
    let secret = link.clone();
    if !api.store.read(move |tx| admins::look(tx, &secret)).await? {
        return Ok(link_is_over());
    }
    let page = SignInPage {
        text: "Press the button to sign in. The link works once.",
        action: &format!("/admin/links/{}", link.expose()),
        field: None,
        button: "Sign in",
        ..SIGN_IN
    };
    Ok(card(&page, StatusCode::OK))
}

/// `POST /admin/links/{link}`: the button.
pub async fn follow(
    State(api): State<Api>,
    reader: Reader,
    Path(link): Path<Secret>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    from_our_page(&headers)?;
    let (language, request) = (reader.0.language(), Some(trail.id()));
    let enter = move |tx: &Tx| admins::enter(tx, &link, language, request);
    let Some(session) = api.store.write(enter).await? else {
        trail.note_refused("link_over");
        return Ok(link_is_over());
    };
    let cookie = cookies::keep(&api, COOKIE, session.expose(), None);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/admin")).into_response())
}

fn link_is_over() -> Response {
    let text = "This link was used, or is older than ten minutes. Ask for a new one.";
    card(&Card { title: "This link does not work", text, request_id: None, back: true }, StatusCode::GONE)
}

/// `POST /admin/sign-out`
pub async fn sign_out(State(api): State<Api>, admin: Admin<ReadOnly>) -> Result<Response> {
    let (session, origin) = (admin.session, admin.origin);
    api.store.write(move |tx| admins::sign_out(tx, &session, origin)).await?;
    let gone = cookies::gone(&api, COOKIE);
    Ok(([(header::SET_COOKIE, gone)], Redirect::to("/admin/sign-in")).into_response())
}
