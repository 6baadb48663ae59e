//! What an app asks for when it sends a person here to sign out (OpenID Connect RP-Initiated Logout 1.0).

use url::Url;
use uuid::Uuid;

use super::{LONGEST_STATE, Parameters};
use crate::apps::{self, AppId, Environment, Kind};
use crate::caller::{Actor, Origin};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::sessions;
use crate::tokens::{self, Hint};

/// What an app asks.
pub struct Leaving {
    /// Of which environments of one app the person is to sign out; none where nobody says, which is of every app.
    pub environments: Vec<Environment>,
    /// Where the person is sent then: one of the environment's redirect URIs.
    pub redirect_uri: Option<String>,
    /// Comes back as it was sent.
    pub state: Option<String>,
    /// Whom the app takes the person for, by a token that it was given.
    hint: Option<Hint>,
}

/// Reads what an app asks. A token that says nothing to us is as none.
///
/// # Errors
/// There is no such app, it was not given this token, or it has not registered this address: then the person must neither be signed
/// out nor sent anywhere.
pub fn leaving(tx: &Tx, from: &impl Parameters) -> Result<Leaving> {
    let wrong = |code, text: &str| Error::bad_request(code, text);
    let hint = from.get("id_token_hint").map_or(Ok(None), |token| tokens::meant(tx, &Secret::new(token)))?;
    let client = from.get("client_id").map(str::parse::<AppId>).transpose();
    let client = client.map_err(|_| wrong("invalid_client", "client_id must be the UUID of an app"))?;
    let (uri, kind) = (from.get("post_logout_redirect_uri"), from.get("environment").and_then(Kind::named));
    let registered = |app: AppId, uri: &str| -> Result<Environment> {
        let text = "This app has not registered this post_logout_redirect_uri among its redirect URIs";
        apps::environment_of_redirect(tx, app, uri)?.ok_or_else(|| wrong("unknown_redirect_uri", text))
    };
    let environments = match (hint, client, uri) {
        (Some(hint), ..) => {
            let place = apps::by_id(tx, hint.environment)?;
            if client.is_some_and(|client| client != place.app) {
                return Err(wrong("invalid_request", "id_token_hint was not given to this client_id"));
            }
            if let Some(uri) = uri
                && registered(place.app, uri)?.id != place.id
            {
                let text = "This post_logout_redirect_uri is of the app's other environment";
                return Err(wrong("unknown_redirect_uri", text));
            }
            vec![place]
        }
        (None, Some(app), Some(uri)) => vec![registered(app, uri)?],
        (None, Some(app), None) => {
            let mut places = apps::environments(tx)?;
            places.retain(|place| place.app == app && kind.is_none_or(|kind| place.kind == kind));
            if places.is_empty() {
                return Err(wrong("invalid_client", "There is no such app"));
            }
            places
        }
        (None, None, Some(_)) => {
            let text = if from.get("id_token_hint").is_some() {
                "This id_token_hint is none of ours, or its key was revoked: beside post_logout_redirect_uri, send client_id"
            } else {
                "Beside post_logout_redirect_uri, send id_token_hint or client_id"
            };
            return Err(wrong("invalid_request", text));
        }
        (None, None, None) => Vec::new(),
    };
    let state = from.get("state");
    if state.is_some_and(|state| state.len() > LONGEST_STATE) {
        return Err(wrong("invalid_request", "state has 2048 bytes at the most"));
    }
    let (redirect_uri, state) = (uri.map(str::to_owned), state.map(str::to_owned));
    Ok(Leaving { environments, redirect_uri, state, hint })
}

impl Leaving {
    /// The environment whose app the person sees: of two, the live one.
    pub fn place(&self) -> Option<&Environment> {
        self.environments.iter().find(|place| place.kind == Kind::Live).or(self.environments.first())
    }

    /// Whether nobody need be asked, for the app has a token of the person whose session this cookie is of, or there is none.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn is_certain(&self, tx: &Tx, cookie: Option<&Secret>) -> Result<bool> {
        let Some(hint) = self.hint else { return Ok(false) };
        let session = cookie.map_or(Ok(None), |cookie| sessions::of_cookie(tx, cookie))?;
        Ok(session.is_none_or(|session| session.user == hint.user))
    }

    /// Ends the sessions of these cookies, and the one that the app's token belongs to: browsers keep cookies back from frames, people
    /// clear them, and then sign in anew.
    ///
    /// # Errors
    /// The database refuses.
    pub fn sign_out<'a>(&self, tx: &Tx, cookies: impl Iterator<Item = &'a Secret>, request: Uuid) -> Result<()> {
        for cookie in cookies {
            sessions::sign_out(tx, cookie, Some(request))?;
        }
        let Some(hint) = self.hint else { return Ok(()) };
        // Who signed the token says of which app the user is.
        let session = sessions::by_id(tx, hint.session)?;
        let Some(session) = session.filter(|one| one.user == hint.user && one.works(tx.now())) else { return Ok(()) };
        sessions::end(tx, &session, Origin { request: Some(request), ..Origin::of(Actor::Person(hint.user)) })
    }

    /// The app's page, if the person is to be sent there.
    ///
    /// # Errors
    /// The registered address is none.
    pub fn back(&self) -> Result<Option<Url>> {
        let Some(uri) = &self.redirect_uri else { return Ok(None) };
        let mut url = Url::parse(uri).map_err(Error::internal)?;
        if let Some(state) = &self.state {
            url.query_pairs_mut().append_pair("state", state);
        }
        Ok(Some(url))
    }
}
