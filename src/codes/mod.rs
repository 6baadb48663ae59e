//! One-time codes: what an app's page receives when a person has signed in, and exchanges for tokens (RFC 6749 4.1).
//!
//! Knows what an app may ask for: where people are sent back to, and what must be proven with the code.

mod leaving;
mod store;

pub use leaving::{Leaving, leaving};
pub use store::purge;

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use crate::apps::{self, AppId, Environment};
use crate::audit::{self, Action};
use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::db::{Tx, words};
use crate::error::{Error, Result};
use crate::links::Links;
use crate::secret::{Secret, sha256};
use crate::sessions::{self, GRACE, Session, SessionId};
use crate::ticket::Ticket;
use crate::tokens;
use crate::users::{self, Email, UserId};

/// How long a code works: the app's page exchanges it at once.
pub const LIFETIME: Duration = Duration::from_mins(1);
/// No state is longer.
const LONGEST_STATE: usize = 2048;

words! {
    /// By which door an app comes.
    #[derive(Deserialize)]
    pub enum Door {
        /// `/sign-in` and `/v1/tokens`, as the official clients do.
        Hosted = "hosted",
        /// `/authorize` and `/oauth/token`, as OpenID Connect has it.
        Standard = "standard",
    }
}

/// What an app asks for when it sends a person here.
#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    /// By which door.
    pub door: Door,
    /// Where the person is sent back to.
    pub redirect_uri: String,
    /// Comes back as it was sent.
    pub state: Option<String>,
    /// Goes into the ID token as it was sent.
    pub nonce: Option<String>,
    /// What the app knows of the person, words with spaces between.
    pub scope: String,
    /// SHA-256 of a secret that has to come with the code (PKCE, RFC 7636), in base64url.
    pub challenge: Option<String>,
    /// The person was not asked, for their browser had a session: the code's tokens belong to that.
    #[serde(default)]
    pub silent: bool,
    /// Who has no record yet may register.
    #[serde(default)]
    pub sign_up: bool,
    /// The one user who is to sign in.
    #[serde(default)]
    pub sub: Option<UserId>,
}

/// What an app asks, and for which environment.
#[derive(Clone)]
pub struct Asked {
    /// Known by the redirect URI.
    pub environment: Environment,
    /// What for.
    pub request: Request,
    /// It wants an answer from the browser's session, and no page (`prompt=none`).
    pub silent: Option<Silent>,
}

/// What a session must be like to answer for the person.
#[derive(Clone)]
pub struct Silent {
    /// How many seconds ago the person may have signed in.
    max_age: Option<u64>,
    /// Whom the app takes them for, by address.
    hint: Option<String>,
    /// The same by a token that it was given.
    token: Option<Secret>,
}

/// What the app's own page is to be told instead of a code.
#[derive(Debug)]
pub struct Complaint {
    /// The word of RFC 6749 4.1.2.1.
    pub error: &'static str,
    /// A sentence.
    pub text: &'static str,
}

/// The parameters of a request, by name.
pub trait Parameters {
    /// The one of this name, unless it is empty.
    fn get(&self, name: &str) -> Option<&str>;
}

/// Reads what an app asks for, and which environment it is of. The complaint goes to the app's page, for there the person
/// may be sent.
///
/// # Errors
/// There is no such app, or it has not registered this redirect URI: then the person must not be sent anywhere.
pub fn ask(tx: &Tx, door: Door, from: &impl Parameters) -> Result<(Asked, std::result::Result<(), Complaint>)> {
    let refuse = |code, text: &str| Err(Error::bad_request(code, text));
    let Some(app) = from.get("client_id").and_then(|id| id.parse::<AppId>().ok()) else {
        return refuse("invalid_client", "client_id must be the UUID of an app");
    };
    let uri = from.get("redirect_uri").unwrap_or_default();
    let Some(environment) = apps::environment_of_redirect(tx, app, uri)? else {
        return refuse("unknown_redirect_uri", "This app has not registered this redirect_uri");
    };
    let text = |name| from.get(name).map(str::to_owned);
    let request = Request {
        door,
        redirect_uri: uri.to_owned(),
        state: text("state"),
        nonce: text("nonce"),
        scope: scope_of(from.get("scope").unwrap_or_default()),
        challenge: text("code_challenge"),
        silent: false,
        // As the official browser client has it, and OpenID Connect's words for the same.
        sign_up: from.get("type") == Some("signUp") || from.get("prompt") == Some("create"),
        sub: from.get("sub").and_then(|id| id.parse().ok()),
    };
    let complaint = complaint(door, from, &request);
    let silent = from.get("prompt").filter(|prompt| *prompt == "none").map(|_| Silent {
        max_age: from.get("max_age").and_then(|seconds| seconds.parse().ok()),
        hint: text("login_hint"),
        token: from.get("id_token_hint").map(Secret::new),
    });
    Ok((Asked { environment, request, silent }, complaint.map_or(Ok(()), Err)))
}

fn complaint(door: Door, from: &impl Parameters, request: &Request) -> Option<Complaint> {
    let say = |error, text| Some(Complaint { error, text });
    if from.get("sub").is_some() && request.sub.is_none() {
        return say("invalid_request", "sub must be the UUID of a user");
    }
    let method = from.get("code_challenge_method");
    if request.state.as_ref().is_some_and(|state| state.len() > LONGEST_STATE) {
        return say("invalid_request", "state has 2048 bytes at the most");
    }
    if request.nonce.as_ref().is_some_and(|nonce| !tokens::fits_nonce(nonce)) {
        return say("invalid_request", tokens::NONCE_TOO_LONG);
    }
    match (&request.challenge, method) {
        (Some(challenge), Some("S256")) if challenge.len() == 43 => {}
        (Some(_), _) => return say("invalid_request", "code_challenge must be of the method S256"),
        (None, _) if door == Door::Standard => return say("invalid_request", "code_challenge is required (PKCE)"),
        (None, _) => {}
    }
    if door == Door::Standard {
        // OpenID Connect Core 6 and 7.2.1: who does not know these says so.
        let unknown = [
            ("request", "request_not_supported"),
            ("request_uri", "request_uri_not_supported"),
            ("registration", "registration_not_supported"),
        ];
        if let Some((_, error)) = unknown.into_iter().find(|(name, _)| from.get(name).is_some()) {
            return say(error, "This server does not take request, request_uri or registration");
        }
        if from.get("response_type") != Some("code") {
            return say("unsupported_response_type", "response_type must be code");
        }
        if from.get("prompt").is_some_and(|prompt| prompt != "none" && prompt.split(' ').any(|word| word == "none")) {
            return say("invalid_request", "prompt=none stands alone");
        }
        if from.get("max_age").is_some_and(|age| age.parse::<u64>().is_err()) {
            return say("invalid_request", "max_age must be a number of seconds");
        }
    }
    None
}

/// What there is to be known of a person, by the scopes of OpenID Connect Core 5.4.
pub const SCOPES: [&str; 5] = ["openid", "profile", "email", "phone", "offline_access"];

/// Those of the asked scopes that there are; all of them if none was named.
pub fn scope_of(asked: &str) -> String {
    let known: Vec<&str> = asked.split(' ').filter(|word| SCOPES.contains(word)).collect();
    if known.is_empty() { SCOPES.join(" ") } else { known.join(" ") }
}

impl Request {
    /// What an app is given of itself when a person comes by the link of an enrolment mail: nobody has asked.
    pub fn unasked(redirect_uri: &str) -> Request {
        Request {
            door: Door::Hosted,
            redirect_uri: redirect_uri.to_owned(),
            state: None,
            nonce: None,
            scope: scope_of(""),
            challenge: None,
            silent: false,
            sign_up: false,
            sub: None,
        }
    }

    /// The app's page, with what it is to be told.
    ///
    /// # Errors
    /// The registered address is none.
    pub fn back(&self, pairs: &[(&str, &str)]) -> Result<Url> {
        let mut url = Url::parse(&self.redirect_uri).map_err(Error::internal)?;
        url.query_pairs_mut().extend_pairs(pairs).extend_pairs(self.state.as_ref().map(|state| ("state", state)));
        Ok(url)
    }

    /// The origin of the app's page.
    pub fn origin(&self) -> Option<String> {
        Url::parse(&self.redirect_uri).ok().map(|url| url.origin().ascii_serialization())
    }
}

/// Makes a code for the session, and gives the app's page with it.
///
/// # Errors
/// The database refuses.
pub fn issue(tx: &Tx, environment: &Environment, session: SessionId, request: &Request, links: &Links) -> Result<Url> {
    let ticket = Ticket::new(tx.now());
    store::insert(tx, &ticket, session, request, tx.now() + LIFETIME)?;
    let (code, client) = (ticket.text(), environment.app.to_string());
    match request.door {
        // What the official browser client reads from the callback (contract C5, C6).
        Door::Hosted => request.back(&[("code", code.expose()), ("service", "email"), ("client_id", &client)]),
        Door::Standard => request.back(&[("code", code.expose()), ("iss", &links.issuer(environment.kind))]),
    }
}

/// The session of this cookie, if it may answer for the person without asking them.
///
/// # Errors
/// The database does not answer.
pub fn session_of(tx: &Tx, asked: &Asked, cookie: Option<&Secret>) -> Result<Option<Session>> {
    let Some(silent) = &asked.silent else { return Ok(None) };
    let found = cookie.map_or(Ok(None), |cookie| sessions::of_browser(tx, cookie))?;
    let Some((user, session)) = found.filter(|(user, _)| user.environment == asked.environment.id) else {
        return Ok(None);
    };
    let by_token = match &silent.token {
        None => true,
        // One that says nothing to us means nobody.
        Some(token) => tokens::meant(tx, token)?.is_some_and(|meant| meant.user == user.id),
    };
    let hinted = silent.hint.as_deref().and_then(Email::new);
    let is_meant = by_token
        && asked.request.sub.is_none_or(|sub| sub == user.id)
        && hinted.is_none_or(|hint| hint.key() == user.email.key())
        && silent.max_age.is_none_or(|age| tx.now() < session.created_at + Duration::from_secs(age));
    Ok(is_meant.then_some(session))
}

/// Answers an app that asks without a page: with a code for the session of this cookie, or that the person has to sign in.
///
/// # Errors
/// The database refuses.
pub fn answer(tx: &Tx, asked: &Asked, cookie: Option<&Secret>, links: &Links, request_id: Option<Uuid>) -> Result<Url> {
    let Some(session) = session_of(tx, asked, cookie)? else {
        let said = Complaint { error: "login_required", text: "The person has to sign in" };
        return said.back(asked, links);
    };
    let whose = (asked.environment.id, session.user);
    audit::note_grant(tx, Action::CodeIssued, whose, asked.environment.app, request_id)?;
    // No refresh token comes of it (OpenID Connect Core 11): the session has one already, and answers again.
    let request = Request { silent: true, scope: without_offline(&asked.request.scope), ..asked.request.clone() };
    issue(tx, &asked.environment, session.id, &request, links)
}

fn without_offline(scope: &str) -> String {
    scope.split(' ').filter(|word| *word != "offline_access").collect::<Vec<_>>().join(" ")
}

impl Complaint {
    /// The app's page, with what is wrong.
    ///
    /// # Errors
    /// The registered address is none.
    pub fn back(&self, asked: &Asked, links: &Links) -> Result<Url> {
        let issuer = links.issuer(asked.environment.kind);
        asked.request.back(&[("error", self.error), ("error_description", self.text), ("iss", &issuer)])
    }
}

/// What an app sends to have a code exchanged.
#[derive(Clone)]
pub struct Exchange {
    /// By which door.
    pub door: Door,
    /// The app.
    pub client: AppId,
    /// The code.
    pub code: Secret,
    /// Where the person was sent back to.
    pub redirect_uri: Option<String>,
    /// The secret behind the challenge.
    pub verifier: Option<String>,
}

/// A code's row.
pub(super) struct Code {
    pub(super) session: SessionId,
    pub(super) request: Request,
    pub(super) expires_at: Timestamp,
    pub(super) used_at: Option<Timestamp>,
}

/// Exchanges a code for its session and that session's first refresh token, unless the person was not asked. `None` if it
/// does not work. A code that comes a second time,
/// unless at once, ends the session: somebody else may have it.
///
/// # Errors
/// The database refuses.
pub fn exchange(
    tx: &Tx,
    ask: &Exchange,
    request_id: Option<Uuid>,
) -> Result<Option<(Session, Option<Secret>, Request)>> {
    let Some((ticket, code)) = Ticket::read(&ask.code).map_or(Ok(None), |ticket| store::find(tx, ticket))? else {
        return Ok(None);
    };
    let request = code.request;
    let Some(mut session) = sessions::by_id(tx, code.session)? else { return Ok(None) };
    let user = users::any_by_id(tx, session.user)?.ok_or(Error::UserNotFound)?;
    let environment = apps::by_id(tx, user.environment)?;
    if environment.app != ask.client || !ask.fits(&request) || user.admit().is_err() {
        return Ok(None);
    }
    if let Some(used_at) = code.used_at {
        if tx.now() >= used_at + GRACE {
            sessions::end(tx, &session, Origin { request: request_id, ..Origin::of(Actor::Usher) })?;
        }
        return Ok(None);
    }
    // The app may have taken the address back since.
    let works = tx.now() < code.expires_at && apps::leads_back(tx, &environment, &request.redirect_uri)?;
    if !works || !store::use_up(tx, &ticket)? {
        return Ok(None);
    }
    let granted = if request.silent {
        session.scope.clone_from(&request.scope);
        session.works(tx.now()).then_some((session, None))
    } else {
        sessions::hand_over(tx, session.id, &request.scope)?.map(|(session, token)| (session, Some(token)))
    };
    let Some((session, token)) = granted else { return Ok(None) };
    audit::note_grant(tx, Action::TokenIssued, (user.environment, user.id), ask.client, request_id)?;
    Ok(Some((session, token, request)))
}

impl Exchange {
    fn fits(&self, request: &Request) -> bool {
        let uri = self.redirect_uri.as_deref();
        let same_place = match self.door {
            Door::Standard => uri == Some(request.redirect_uri.as_str()),
            // The official browser client names its page without the query and without one slash at the end.
            Door::Hosted => uri.is_some_and(|uri| page(uri) == page(&request.redirect_uri)),
        };
        let proven = match (&request.challenge, &self.verifier) {
            (Some(challenge), Some(verifier)) => {
                let made = BASE64_URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
                verify_slices_are_equal(made.as_bytes(), challenge.as_bytes()).is_ok()
            }
            (None, None) => true,
            _ => false,
        };
        same_place && proven
    }
}

/// An address without its query and one slash at its end.
pub fn page(uri: &str) -> &str {
    let path = uri.split('?').next().unwrap_or(uri);
    path.strip_suffix('/').unwrap_or(path)
}
