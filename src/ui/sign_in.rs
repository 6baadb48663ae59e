//! The pages by which a person signs in to an app: their address, then the link in the mail or the digits from it.
//!
//! What the app asked for stands in the address of the first page until it is sent; from then on the browser has a cookie.

use std::net::IpAddr;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::links::from_our_page;
use super::{Brand, Reader, cookies, enter, framed, message, page_in, page_to_app, session_cookie};
use crate::api::body::Form;
use crate::api::{Api, Peer, Trail};
use crate::apps::Environment;
use crate::audit::{self, Action};
use crate::codes::{self, Asked, Door, Parameters, scope_of};
use crate::error::{Error, Result};
use crate::links::State as Worth;
use crate::network;
use crate::secret::Secret;
use crate::sessions;
use crate::signin::{self, LIFETIME};
use crate::tokens::{self, Grant};
use crate::users::Email;
use crate::words::Words;

/// The cookie of the browser that has begun to sign in.
pub(super) const BEGUN: &str = "usher_sign_in";

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

/// Nothing to see: what it has to say is for the page around it.
#[derive(Template)]
#[template(path = "silent.html")]
struct SilentPage<'a> {
    message: Secret,
    origin: &'a str,
}

/// `GET /sign-in`, as the official clients send people here.
pub async fn show(
    State(api): State<Api>,
    reader: Reader,
    RawQuery(query): RawQuery,
    trail: Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    let (query, request) = (query.unwrap_or_default(), trail.id());
    let asked = match ask(&api, Door::Hosted, &query).await? {
        Ok(asked) => asked,
        Err(back) => return Ok(back),
    };
    let words = reader.words(None, asked.environment.language);
    let name = session_cookie(asked.environment.app, asked.environment.kind);
    let session = cookies::secret(&api, &headers, &name);
    let leaves = Form::parse(query.as_bytes())?.get("logout") == Some("true");
    let has_left = match session.clone().filter(|_| leaves) {
        Some(session) => api.store.write(move |tx| sessions::sign_out(tx, &session, Some(request))).await?,
        None => false,
    };
    let mut response = match &asked.silent {
        Some(_) if leaves => tell(&asked, &json!({"isAllowed": true, "token": null})),
        Some(_) => silent(&api, asked, session.clone(), request).await?,
        None => {
            let notice = match (leaves, has_left) {
                (false, _) => String::new(),
                (true, true) => words.signed_out_notice(),
                (true, false) => {
                    let address = format!("{}/profile", api.links.origin());
                    words.not_signed_out_notice(&address, &words.sign_out_everywhere())
                }
            };
            first_page(words, &asked.environment, &format!("/sign-in?{query}"), "", notice, String::new())
        }
    };
    if leaves && session.is_some() {
        response.headers_mut().insert(header::SET_COOKIE, cookies::gone(&api, &name));
    }
    Ok(response)
}

/// The silent refresh of the official browser client (contract C6): the app has this in a frame and is told tokens of the
/// browser's session. The browser sends the cookie along if app and Usher are of one site.
async fn silent(api: &Api, asked: Asked, cookie: Option<Secret>, request: Uuid) -> Result<Response> {
    let (wanted, nonce) = (asked.clone(), asked.request.nonce.clone());
    let issue = move |tx: &crate::db::Tx| {
        let session = codes::session_of(tx, &wanted, cookie.as_ref())?;
        // The client asks for less than it was given, and goes on with what it was given.
        let session = session.map(|mut session| {
            if session.scope.is_empty() {
                session.scope = scope_of("");
            }
            session
        });
        let Some(session) = session else { return Ok(None) };
        let tokens = tokens::issue(tx, &Grant { session: &session, nonce: nonce.as_deref(), standard: None })?;
        Ok(Some((session.user, tokens)))
    };
    let issued = api.store.read(issue).await?;
    if let Some((user, _)) = &issued {
        let (whose, app) = ((asked.environment.id, *user), asked.environment.app);
        api.store.write(move |tx| audit::note_grant(tx, Action::TokenIssued, whose, app, Some(request))).await?;
    }
    let token = issued.map(|(_, tokens)| {
        json!({
            "accessToken": tokens.access.expose(), "idToken": tokens.id.expose(), "expiresIn": tokens.expires_in,
            "tokenType": "Bearer", "redirectUri": codes::page(&asked.request.redirect_uri), "refreshToken": null,
        })
    });
    Ok(tell(&asked, &json!({ "token": token })))
}

/// Tells the page that has this one in a frame, and no other.
fn tell(asked: &Asked, what: &Value) -> Response {
    let Some(origin) = asked.request.origin() else { return dead_end() };
    let mut message = json!({"originator": "userdocks"});
    if let (Some(message), Some(what)) = (message.as_object_mut(), what.as_object()) {
        message.extend(what.clone());
    }
    framed(&SilentPage { message: Secret::new(message.to_string()), origin: &origin }, &origin)
}

/// `GET /authorize` (OpenID Connect Core 3.1.2.1).
pub async fn authorize(
    State(api): State<Api>,
    reader: Reader,
    RawQuery(query): RawQuery,
    trail: Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    let query = query.unwrap_or_default();
    let asked = match ask(&api, Door::Standard, &query).await? {
        Ok(asked) => asked,
        Err(back) => return Ok(back),
    };
    let words = reader.words(None, asked.environment.language);
    if asked.silent.is_some() {
        let name = session_cookie(asked.environment.app, asked.environment.kind);
        let session = cookies::secret(&api, &headers, &name);
        let links = api.links.clone();
        let request = Some(trail.id());
        let answer = move |tx: &crate::db::Tx| codes::answer(tx, &asked, session.as_ref(), &links, request);
        let back = api.store.write(answer).await?;
        return Ok(Redirect::to(back.as_str()).into_response());
    }
    let form = Form::parse(query.as_bytes())?;
    let hint = form.get("login_hint").unwrap_or_default();
    let action = format!("/authorize?{query}");
    Ok(first_page(words, &asked.environment, &action, hint, String::new(), String::new()))
}

fn first_page(
    words: &'static Words,
    environment: &Environment,
    action: &str,
    email: &str,
    notice: String,
    fault: String,
) -> Response {
    page_in(words, &SignInPage { words, brand: Brand::from(environment), action, email, notice, fault })
}

fn dead_end() -> Response {
    Error::bad_request("invalid_request", "The app has sent you here with a request that cannot be read")
        .into_response()
}

/// What the app asks for, or the way back to it with what is wrong with that; the official clients know none, so there the
/// page says it.
async fn ask(api: &Api, door: Door, query: &str) -> Result<std::result::Result<Asked, Response>> {
    let text = query.to_owned();
    let asked = api.store.read(move |tx| codes::ask(tx, door, &Form::parse(text.as_bytes())?)).await?;
    match asked {
        (asked, Ok(())) => Ok(Ok(asked)),
        (_, Err(complaint)) if door == Door::Hosted => Err(Error::bad_request(complaint.error, complaint.text)),
        (asked, Err(complaint)) => Ok(Err(Redirect::to(complaint.back(&asked, &api.links)?.as_str()).into_response())),
    }
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
    reader: Reader,
    door: Door,
    query: &str,
    Client(network): Client,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Response> {
    from_our_page(headers)?;
    let Asked { environment, request, .. } = match ask(api, door, query).await? {
        Ok(asked) => asked,
        Err(back) => return Ok(back),
    };
    let words = reader.words(None, environment.language);
    let typed = form.get("email").unwrap_or_default();
    let Some(email) = Email::new(typed) else {
        let action = if door == Door::Hosted { format!("/sign-in?{query}") } else { format!("/authorize?{query}") };
        let mut again = first_page(words, &environment, &action, typed, String::new(), words.email_fault());
        *again.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(again);
    };
    let (language, per_network) = (words.language(), api.sign_ins_per_network);
    let browser = signin::Browser { network, earlier: cookies::secret(api, headers, BEGUN) };
    let begin =
        move |tx: &crate::db::Tx| signin::begin(tx, environment.id, &request, &email, language, &browser, per_network);
    let secret = api.store.write(begin).await?;
    let cookie = cookies::keep(api, BEGUN, secret.expose(), Some(LIFETIME));
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in/code")).into_response())
}

/// `GET /sign-in/code`: where the digits of the mail go.
pub async fn show_code(State(api): State<Api>, reader: Reader, headers: HeaderMap) -> Result<Response> {
    code_page(&api, reader, &headers, |_| String::new()).await
}

async fn code_page(
    api: &Api,
    Reader(words, _): Reader,
    headers: &HeaderMap,
    fault: impl Fn(&Words) -> String,
) -> Result<Response> {
    let begun = cookies::secret(api, headers, BEGUN);
    let found =
        api.store.read(move |tx| begun.as_ref().map_or(Ok(None), |begun| signin::of_browser(tx, begun))).await?;
    let found = match found {
        Some(found) if found.state == Worth::Open => found,
        found => {
            let state = found.as_ref().map_or(Worth::Unknown, |found| found.state);
            return Ok(over(words, found.as_ref(), state));
        }
    };
    let (words, brand) = (Words::of(found.language), Brand::from(&found.environment));
    let (time, fault) = (words.span(LIFETIME), fault(words));
    let wrong = !fault.is_empty();
    let mut response = page_to_app(words, &CodePage { words, brand, time, fault });
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
    let (links, begun, request) = (api.links.clone(), cookies::secret(&api, &headers, BEGUN), trail.id());
    let digits = Secret::new(form.get("code").unwrap_or_default());
    let typed =
        move |tx: &crate::db::Tx| signin::type_digits(tx, &links, digits.expose(), begun.as_ref(), Some(request));
    let code = match enter(&api, &headers, request, typed).await? {
        Ok(response) => return Ok(response),
        // Stands in the trail of whom it was for.
        Err(Worth::Open) => return code_page(&api, reader, &headers, Words::code_wrong).await,
        Err(Worth::Superseded) => "code_burnt",
        Err(Worth::Used) => "code_used",
        Err(Worth::Expired) => "code_expired",
        Err(Worth::Withdrawn) => "code_withdrawn",
        Err(Worth::Elsewhere | Worth::Unknown) => "code_unknown",
    };
    trail.note_refused(code);
    // Of a sign-in that is over, the page says so by itself.
    code_page(&api, reader, &headers, Words::code_burnt).await
}

/// `GET /sign-in/links/{link}`, and `HEAD`. Changes nothing.
pub async fn show_link(
    State(api): State<Api>,
    Reader(words, _): Reader,
    Path(link): Path<Secret>,
    headers: HeaderMap,
) -> Result<Response> {
    let (wanted, begun) = (link.clone(), cookies::secret(&api, &headers, BEGUN));
    let found = api.store.read(move |tx| signin::look(tx, &wanted, begun.as_ref())).await?;
    match found {
        Some(found) if found.state == Worth::Open => {
            let (words, brand) = (Words::of(found.language), Brand::from(&found.environment));
            Ok(page_to_app(words, &LinkPage { words, brand, link: &link }))
        }
        found => {
            let state = found.as_ref().map_or(Worth::Elsewhere, |found| found.state);
            Ok(over(words, found.as_ref(), state))
        }
    }
}

/// `POST /sign-in/links/{link}`: the button.
pub async fn follow(
    State(api): State<Api>,
    Reader(words, _): Reader,
    Path(link): Path<Secret>,
    Extension(trail): Extension<Trail>,
    headers: HeaderMap,
) -> Result<Response> {
    from_our_page(&headers)?;
    let (links, begun, request) = (api.links.clone(), cookies::secret(&api, &headers, BEGUN), trail.id());
    let wanted = link.clone();
    let follow = move |tx: &crate::db::Tx| signin::follow(tx, &links, &wanted, begun.as_ref(), Some(request));
    let state = match enter(&api, &headers, request, follow).await? {
        Ok(response) => return Ok(response),
        Err(Worth::Unknown) => {
            trail.note_refused("link_unknown");
            Worth::Elsewhere
        }
        Err(state) => state,
    };
    let found = api.store.read(move |tx| signin::look(tx, &link, None)).await?;
    Ok(over(words, found.as_ref(), state))
}

/// Why a sign-in leads nowhere here: for the app and in the language that it was begun in, else in that of the browser.
fn over(words: &'static Words, begun: Option<&signin::Page>, state: Worth) -> Response {
    let words = begun.map_or(words, |begun| Words::of(begun.language));
    let brand = begun.map(|begun| Brand::from(&begun.environment)).unwrap_or_default();
    let (status, title, text) = match state {
        Worth::Elsewhere => (StatusCode::FORBIDDEN, words.elsewhere_title(), words.elsewhere()),
        Worth::Superseded => {
            (StatusCode::GONE, words.over_title(), format!("{} {}", words.link_superseded(), words.over()))
        }
        _ => (StatusCode::GONE, words.over_title(), words.over()),
    };
    message(status, words, brand, title, text)
}

/// The network that a request comes from, as far as that is known.
pub struct Client(Option<network::Network>);

impl axum::extract::FromRequestParts<Api> for Client {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, api: &Api) -> Result<Self> {
        let peer: Option<IpAddr> = parts.extensions.get::<Peer>().map(|peer| peer.0);
        // Several headers are one list (RFC 9110 5.3). What a proxy adds stands behind what the client made up, whatever bytes
        // that is of.
        let values = parts.headers.get_all("x-forwarded-for").iter();
        let forwarded_for = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(",");
        Ok(Client(peer.and_then(|peer| network::of_client(peer, Some(&forwarded_for), &api.proxies))))
    }
}
