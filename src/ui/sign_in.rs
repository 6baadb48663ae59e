//! The pages by which a person signs in to an app: their address, then the link in the mail or the digits from it.
//!
//! What the app asked for stands in the address of the first page until it is sent; from then on the browser has a cookie.

use std::net::IpAddr;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::links::from_our_page;
use super::{Brand, Reader, cookie, enter, gone, message, page_in, secure, session_cookie};
use crate::api::body::Form;
use crate::api::{Api, Peer, Trail, ascii};
use crate::apps::Environment;
use crate::codes::{self, Door, Parameters, Request};
use crate::error::{Error, Result};
use crate::links::State as Worth;
use crate::network;
use crate::secret::Secret;
use crate::sessions;
use crate::signin::{self, LIFETIME};
use crate::users::Email;
use crate::words::Words;

/// The cookie of the browser that has begun to sign in.
const BEGUN: &str = "usher_sign_in";

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage<'a> {
    words: &'static Words,
    brand: Brand<'a>,
    /// Where the form leads: here, with what the app asked for.
    action: &'a str,
    email: &'a str,
    notice: String,
    fault: String,
}

#[derive(Template)]
#[template(path = "sign-in-code.html")]
struct CodePage<'a> {
    words: &'static Words,
    brand: Brand<'a>,
    /// How long the code works.
    time: String,
    fault: String,
}

#[derive(Template)]
#[template(path = "sign-in-link.html")]
struct LinkPage<'a> {
    words: &'static Words,
    brand: Brand<'a>,
    link: &'a Secret,
}

/// `GET /sign-in`, as the official clients send people here.
pub async fn show(
    State(api): State<Api>,
    Reader(words): Reader,
    RawQuery(query): RawQuery,
    trail: Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    let query = query.unwrap_or_default();
    let asked = Form::parse(query.as_bytes())?;
    let Some((environment, _)) = ask(&api, Door::Hosted, &query).await?.ok() else { return Ok(dead_end()) };
    let leaves = asked.get("logout") == Some("true");
    let notice = if leaves { words.signed_out_notice() } else { String::new() };
    let action = format!("/sign-in?{query}");
    let mut response = first_page(words, &environment, &action, "", notice, String::new());
    let name = session_cookie(environment.app, environment.kind);
    if let Some(session) = cookie(&headers, &name).filter(|_| leaves) {
        api.store.write(move |tx| sessions::sign_out(tx, &session, Some(trail.id()))).await?;
        response.headers_mut().insert(header::SET_COOKIE, ascii(&gone(&name)));
    }
    Ok(response)
}

/// `GET /authorize` (OpenID Connect Core 3.1.2.1).
pub async fn authorize(State(api): State<Api>, Reader(words): Reader, RawQuery(query): RawQuery) -> Result<Response> {
    let query = query.unwrap_or_default();
    let hint = Form::parse(query.as_bytes())?.get("login_hint").unwrap_or_default().to_owned();
    match ask(&api, Door::Standard, &query).await? {
        Ok((environment, _)) => {
            let action = format!("/authorize?{query}");
            Ok(first_page(words, &environment, &action, &hint, String::new(), String::new()))
        }
        Err(back) => Ok(back),
    }
}

fn first_page(
    words: &'static Words,
    environment: &Environment,
    action: &str,
    email: &str,
    notice: String,
    fault: String,
) -> Response {
    page_in(words, &SignInPage { words, brand: Brand::from(environment), action, email, notice, fault }, None)
}

fn dead_end() -> Response {
    Error::bad_request("invalid_request", "The app has sent you here with a request that cannot be read")
        .into_response()
}

/// What the app asks for, or the way back to it with what is wrong with that.
async fn ask(api: &Api, door: Door, query: &str) -> Result<std::result::Result<(Environment, Request), Response>> {
    let text = query.to_owned();
    let asked = api.store.read(move |tx| codes::ask(tx, door, &Form::parse(text.as_bytes())?)).await?;
    let (environment, request, complaint) = asked;
    let Err(complaint) = complaint else { return Ok(Ok((environment, request))) };
    let issuer = api.links.issuer(environment.kind);
    let back = request.back(&[("error", complaint.error), ("error_description", complaint.text), ("iss", &issuer)])?;
    Ok(Err(Redirect::to(back.as_str()).into_response()))
}

/// `POST /sign-in`
pub async fn begin(
    State(api): State<Api>,
    reader: Reader,
    RawQuery(query): RawQuery,
    client: Client,
    headers: HeaderMap,
    form: Form,
) -> Result<Response> {
    begin_by(&api, reader, Door::Hosted, &query.unwrap_or_default(), client, &headers, &form).await
}

/// `POST /authorize`
pub async fn begin_standard(
    State(api): State<Api>,
    reader: Reader,
    RawQuery(query): RawQuery,
    client: Client,
    headers: HeaderMap,
    form: Form,
) -> Result<Response> {
    begin_by(&api, reader, Door::Standard, &query.unwrap_or_default(), client, &headers, &form).await
}

async fn begin_by(
    api: &Api,
    Reader(words): Reader,
    door: Door,
    query: &str,
    Client(network): Client,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Response> {
    from_our_page(headers)?;
    let (environment, request) = match ask(api, door, query).await? {
        Ok(asked) => asked,
        Err(back) => return Ok(back),
    };
    let typed = form.get("email").unwrap_or_default();
    let Some(email) = Email::new(typed) else {
        let action = if door == Door::Hosted { format!("/sign-in?{query}") } else { format!("/authorize?{query}") };
        let mut again = first_page(words, &environment, &action, typed, String::new(), words.email_fault());
        *again.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(again);
    };
    let (language, earlier) = (words.language(), cookie(headers, BEGUN));
    let begin = move |tx: &crate::db::Tx| {
        signin::begin(tx, environment.id, &request, &email, language, network, earlier.as_ref())
    };
    let secret = api.store.write(begin).await?;
    let cookie = format!(
        "{BEGUN}={}; Path=/sign-in; HttpOnly; SameSite=Lax; Max-Age={}{}",
        secret.expose(),
        LIFETIME.as_secs(),
        secure(api)
    );
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in/code")).into_response())
}

/// `GET /sign-in/code`: where the digits of the mail go.
pub async fn show_code(State(api): State<Api>, reader: Reader, headers: HeaderMap) -> Result<Response> {
    code_page(&api, reader, &headers, |_| String::new()).await
}

async fn code_page(
    api: &Api,
    Reader(words): Reader,
    headers: &HeaderMap,
    fault: impl Fn(&Words) -> String,
) -> Result<Response> {
    let begun = cookie(headers, BEGUN);
    let found =
        api.store.read(move |tx| begun.as_ref().map_or(Ok(None), |begun| signin::of_browser(tx, begun))).await?;
    let Some(found) = found.filter(|found| found.state == Worth::Open) else { return Ok(over(words)) };
    let words = Words::of(found.language);
    let (brand, time, fault) = (Brand::from(&found.environment), words.span(LIFETIME), fault(words));
    let wrong = !fault.is_empty();
    // Chromium applies `form-action` to where the answer of a form redirects to.
    let mut response = page_in(words, &CodePage { words, brand, time, fault }, found.request.origin().as_deref());
    if wrong {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}

/// `POST /sign-in/code`
pub async fn type_code(
    State(api): State<Api>,
    reader: Reader,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response> {
    from_our_page(&headers)?;
    let (links, begun) = (api.links.clone(), cookie(&headers, BEGUN));
    let digits = Secret::new(form.get("code").unwrap_or_default());
    let entered =
        move |tx: &crate::db::Tx| signin::type_digits(tx, &links, digits.expose(), begun.as_ref(), Some(trail.id()));
    match api.store.write(entered).await? {
        Ok(entry) => Ok(enter(&api, &entry)),
        Err(Worth::Open) => code_page(&api, reader, &headers, Words::code_wrong).await,
        Err(Worth::Superseded) => code_page(&api, reader, &headers, Words::code_burnt).await,
        Err(_) => Ok(over(reader.0)),
    }
}

/// `GET /sign-in/links/{link}`, and `HEAD`. Changes nothing.
pub async fn show_link(
    State(api): State<Api>,
    Reader(words): Reader,
    Path(link): Path<Secret>,
    headers: HeaderMap,
) -> Result<Response> {
    let (wanted, begun) = (link.clone(), cookie(&headers, BEGUN));
    let found = api.store.read(move |tx| signin::look(tx, &wanted, begun.as_ref())).await?;
    match found {
        Some(found) if found.state == Worth::Open => {
            let (words, brand) = (Words::of(found.language), Brand::from(&found.environment));
            Ok(page_in(words, &LinkPage { words, brand, link: &link }, found.request.origin().as_deref()))
        }
        Some(_) => Ok(over(words)),
        None => Ok(elsewhere(words)),
    }
}

/// `POST /sign-in/links/{link}`: the button.
pub async fn follow(
    State(api): State<Api>,
    Reader(words): Reader,
    Path(link): Path<Secret>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    from_our_page(&headers)?;
    let (links, begun) = (api.links.clone(), cookie(&headers, BEGUN));
    let follow = move |tx: &crate::db::Tx| signin::follow(tx, &links, &link, begun.as_ref(), Some(trail.id()));
    match api.store.write(follow).await? {
        Ok(entry) => Ok(enter(&api, &entry)),
        Err(Worth::Unknown) => Ok(elsewhere(words)),
        Err(_) => Ok(over(words)),
    }
}

fn over(words: &'static Words) -> Response {
    message(StatusCode::GONE, words, words.over_title(), words.over())
}

fn elsewhere(words: &'static Words) -> Response {
    message(StatusCode::FORBIDDEN, words, words.elsewhere_title(), words.elsewhere())
}

/// The network that a request comes from, as far as that is known.
pub struct Client(Option<network::Network>);

impl axum::extract::FromRequestParts<Api> for Client {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, api: &Api) -> Result<Self> {
        let peer: Option<IpAddr> = parts.extensions.get::<Peer>().map(|peer| peer.0);
        // Several headers are one list (RFC 9110 5.3).
        let values = parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let forwarded_for = values.collect::<Vec<_>>().join(",");
        Ok(Client(peer.and_then(|peer| network::of_client(peer, Some(&forwarded_for), &api.proxies))))
    }
}
