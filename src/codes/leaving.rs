//! What an app asks for when it sends a person here to sign out (OpenID Connect RP-Initiated Logout 1.0).

use url::Url;

use super::{LONGEST_STATE, Parameters};
use crate::apps::{self, AppId, Environment, Kind};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::secret::Secret;
use crate::sessions;
use crate::tokens;
use crate::users::UserId;

/// What an app asks.
pub struct Leaving {
    /// Of which environment the person is to sign out; `None` where the app does not say, which is of all.
    pub environment: Option<Environment>,
    /// Where the person is sent then: one of the environment's redirect URIs.
    pub redirect_uri: Option<String>,
    /// Comes back as it was sent.
    pub state: Option<String>,
    /// Whom the app takes the person for, by a token that it was given.
    meant: Option<UserId>,
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
    let environment = match (hint, client, uri, kind) {
        (Some((environment, _)), ..) => Some(apps::by_id(tx, environment)?),
        (None, Some(app), Some(uri), _) => apps::environment_of_redirect(tx, app, uri)?,
        (None, Some(app), None, Some(kind)) => {
            let place = apps::environments(tx)?.into_iter().find(|place| place.app == app && place.kind == kind);
            Some(place.ok_or_else(|| wrong("invalid_client", "There is no such app"))?)
        }
        (None, Some(_), None, None) => {
            return Err(wrong("invalid_request", "Beside client_id, send id_token_hint or environment"));
        }
        (None, None, ..) => None,
    };
    if let (Some(client), Some(place)) = (client, &environment)
        && place.app != client
    {
        return Err(wrong("invalid_request", "id_token_hint was not given to this client_id"));
    }
    if let Some(uri) = uri {
        let place = environment.as_ref().map_or(Ok(None), |place| apps::environment_of_redirect(tx, place.app, uri))?;
        let is_registered = place.zip(environment.as_ref()).is_some_and(|(one, other)| one.id == other.id);
        if !is_registered {
            let text = "This app has not registered this post_logout_redirect_uri among its redirect URIs";
            return Err(wrong("unknown_redirect_uri", text));
        }
    }
    let state = from.get("state");
    if state.is_some_and(|state| state.len() > LONGEST_STATE) {
        return Err(wrong("invalid_request", "state has 2048 bytes at the most"));
    }
    let (redirect_uri, state) = (uri.map(str::to_owned), state.map(str::to_owned));
    Ok(Leaving { environment, redirect_uri, state, meant: hint.map(|(_, user)| user) })
}

impl Leaving {
    /// Whether nobody need be asked, for the app has a token of the person whose session this cookie is of, or there is none.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn is_certain(&self, tx: &Tx, cookie: Option<&Secret>) -> Result<bool> {
        let Some(meant) = self.meant else { return Ok(false) };
        let session = cookie.map_or(Ok(None), |cookie| sessions::of_cookie(tx, cookie))?;
        Ok(session.is_none_or(|session| session.user == meant))
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
