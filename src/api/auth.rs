//! Who is calling. A handler's signature names one of these extractors, and that is its whole access rule.
//!
//! What a caller may do comes from the stored key or the token, never from the header that claims it.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::{Api, Asker, Trail, again, write};
use crate::api::versions::{ApiDate, Shapes};
use crate::apps::AppId;
use crate::caller::Caller;
use crate::clock::Stopwatch;
use crate::error::{Error, Result};
use crate::field::Context;
use crate::keys::{self, Access, Key, Use};
use crate::secret::Secret;
use crate::tokens::{self, Bearer};

/// The route changes nothing: any key will do.
pub struct Read;

/// The route changes something: the key must have been made for writing.
pub struct Write;

/// The access that a route needs.
pub trait Needs: 'static {
    /// What the key must be able to do.
    const ACCESS: Access;
}

impl Needs for Read {
    const ACCESS: Access = Access::Read;
}

impl Needs for Write {
    const ACCESS: Access = Access::Write;
}

/// A partner: `Authorization: Bearer <key>`, and the API date that applies to this request.
pub struct PartnerKey<N> {
    /// Who it is.
    pub caller: Caller,
    /// What the fields of the request are judged by.
    pub context: Context,
    date: ApiDate,
    need: PhantomData<N>,
}

impl<N> PartnerKey<N> {
    /// The date that applies.
    pub fn date(&self) -> &'static str {
        self.date.as_str()
    }

    /// The shapes of the bodies on the date that applies.
    pub fn shapes(&self) -> &'static Shapes {
        self.date.shapes()
    }
}

impl<N: Needs> FromRequestParts<Api> for PartnerKey<N> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self> {
        let refuse = |message| Error::Unauthenticated { code: "invalid_request_error", message };
        let presented = bearer(&parts.headers, &["authorization"])?;
        let found = match &presented {
            Some(presented) => working_key(api, presented, parts).await?.map_err(Some),
            None => Err(None),
        };
        let pinned = match &found {
            Ok(key) => key.api_version.as_deref(),
            Err(Some(Dead::Ended(key))) => key.api_version.as_deref(),
            Err(_) => None,
        };
        let date = api_date(&parts.headers, pinned);
        // What is refused goes by a date too, and is noted with it.
        if let (Ok(date), Some(trail)) = (&date, parts.extensions.get::<Trail>()) {
            trail.note_date(*date);
        }
        let key = found.map_err(|dead| match dead {
            None => refuse("Invalid request: send your API key in the header `Authorization: Bearer <API key>`"),
            Some(Dead::Unknown) => refuse("Invalid request: this is not a valid API key"),
            Some(Dead::Ended(_)) => Error::Unauthenticated {
                code: "authentication_error",
                message: "Authentication error: this API key was revoked or has expired",
            },
        })?;
        if let Ok(date) = date {
            // Whatever becomes of the request: its sender counts on that date.
            api.key_use.note(Use { key: key.id, date: Some(date.as_str()) }, api.store.clock().now());
        }
        allow(&key, N::ACCESS)?;
        let date = date?;
        let caller = Caller { date: Some(date.as_str()), ..by_this_request::<Self>(key.caller, parts, api)? };
        // A dry run changes nothing, not even that.
        if let Some(presented) = presented.filter(|_| key.api_version.is_none())
            && !write::rehearses(parts).unwrap_or_default()
        {
            pin(api, &presented, key.clone(), caller).await;
        }
        Ok(PartnerKey { caller, context: key.caller.context(api.store.clock().now()), date, need: PhantomData })
    }
}

/// An app's server with a key of the access that the route needs: `X-API-KEY`, `X-API-KEY-TYPE`, `X-CLIENT-ID`.
pub struct AppKey<N> {
    /// Who it is.
    pub caller: Caller,
    need: PhantomData<N>,
}

impl<N: Needs> FromRequestParts<Api> for AppKey<N> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self> {
        let key = triple(parts, api).await?.ok_or_else(no_credentials)?;
        allow(&key, N::ACCESS)?;
        Ok(AppKey { caller: by_this_request::<Self>(key.caller, parts, api)?, need: PhantomData })
    }
}

/// An app's server with a key of the access that the route needs, or a person with an access token.
///
/// If there is a key, only the key is judged (contract item 48).
pub struct AppCaller<N> {
    /// Who it is.
    pub caller: Caller,
    need: PhantomData<N>,
}

impl<N: Needs> FromRequestParts<Api> for AppCaller<N> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self> {
        if let Some(key) = triple(parts, api).await? {
            allow(&key, N::ACCESS)?;
            let caller = by_this_request::<Self>(key.caller, parts, api)?;
            return Ok(AppCaller { caller, need: PhantomData });
        }
        // The official client sends tokens in `Authentication` (contract item 43).
        let token = bearer(&parts.headers, &["authorization", "authentication"])?.ok_or_else(no_credentials)?;
        let Bearer { caller, .. } = verified(api, token).await?;
        if N::ACCESS == Access::Write {
            caller.need_profile()?;
        }
        let caller = by_this_request::<Self>(caller, parts, api)?;
        Ok(AppCaller { caller, need: PhantomData })
    }
}

/// A person with an access token, and what the token is worth.
pub struct Person(pub Bearer);

impl FromRequestParts<Api> for Person {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self> {
        let token = bearer(&parts.headers, &["authorization", "authentication"])?.ok_or_else(no_credentials)?;
        let bearer = verified(api, token).await?;
        Ok(Person(Bearer { caller: by_this_request::<Self>(bearer.caller, parts, api)?, ..bearer }))
    }
}

async fn verified(api: &Api, token: Secret) -> Result<Bearer> {
    let links = api.links.clone();
    api.store.read(move |tx| tokens::verify(tx, &token, &links)).await
}

fn by_this_request<E>(caller: Caller, parts: &mut Parts, api: &Api) -> Result<Caller>
where
    E: FromRequestParts<Api, Rejection = Error> + 'static,
{
    again::note::<E>(parts, api, caller.leave())?;
    let trail = parts.extensions.get::<Trail>();
    let caller = Caller { request: trail.map(Trail::id), ..caller };
    if let Some(trail) = trail {
        trail.note_asker(Asker::Caller(caller));
    }
    Ok(caller)
}

async fn triple(parts: &Parts, api: &Api) -> Result<Option<Key>> {
    let refuse = |message| Error::Unauthenticated { code: "invalid_key", message };
    let headers = &parts.headers;
    let Some(presented) = text(headers, "x-api-key")? else { return Ok(None) };
    let claimed = text(headers, "x-api-key-type")?.and_then(Access::named);
    let claimed = claimed.ok_or_else(|| refuse("X-API-KEY-TYPE must be `read` or `write`"))?;
    let client: Option<AppId> = text(headers, "x-client-id")?.and_then(|id| id.parse().ok());
    let client = client.ok_or_else(|| refuse("X-CLIENT-ID must be the UUID of the app"))?;
    let key = working_key(api, &Secret::new(presented), parts)
        .await?
        .map_err(|_| refuse("X-API-KEY is not a valid API key, or was revoked, or has expired"))?;
    if key.caller.app != client {
        return Err(refuse("X-API-KEY does not belong to the app in X-CLIENT-ID"));
    }
    if key.access != claimed {
        return Err(refuse("X-API-KEY-TYPE is not the type of this key"));
    }
    Ok(Some(key))
}

enum Dead {
    Unknown,
    Ended(Box<Key>),
}

/// The row of a key that works now. A text that cannot be a key does not reach the database.
async fn working_key(api: &Api, presented: &Secret, parts: &Parts) -> Result<std::result::Result<Key, Dead>> {
    if !keys::is_well_formed(presented.expose()) {
        return Ok(Err(Dead::Unknown));
    }
    let key = if let Some(key) = api.known_keys.find(presented) {
        key
    } else {
        let (since, wanted) = (Stopwatch::start(), presented.clone());
        let Some(key) = api.store.read(move |tx| keys::find(tx, &wanted)).await? else {
            return Ok(Err(Dead::Unknown));
        };
        api.known_keys.note(presented, since, &key);
        key
    };
    let now = api.store.clock().now();
    let works = key.works(now);
    if let Some(trail) = parts.extensions.get::<Trail>() {
        if works {
            trail.note_key(key.id);
        }
        trail.note_asker(if works { Asker::Caller(key.caller) } else { Asker::Ended(key.caller) });
    }
    if !works {
        return Ok(Err(Dead::Ended(Box::new(key))));
    }
    api.key_use.note(Use { key: key.id, date: None }, now);
    Ok(Ok(key))
}

fn allow(key: &Key, needed: Access) -> Result<()> {
    if key.access < needed {
        return Err(Error::Forbidden { code: "read_only_key", message: "This API key may only read" });
    }
    Ok(())
}

/// Fixes the date of a key at its first request to the dated API, so that a newer one changes nothing for its holder. Should
/// that fail, the next request does it.
async fn pin(api: &Api, presented: &Secret, key: Key, caller: Caller) {
    let (id, date, since) = (key.id, ApiDate::NEWEST.as_str(), Stopwatch::start());
    match api.store.write(move |tx| keys::pin(tx, &caller, id, date)).await {
        Ok(true) => {
            api.known_keys.note(presented, since, &Key { api_version: Some(date.to_owned()), ..key });
        }
        Ok(false) => {}
        Err(e) => tracing::warn!(key = %id, code = e.code(), "the API date of a key could not be fixed"),
    }
}

fn api_date(headers: &HeaderMap, pinned: Option<&str>) -> Result<ApiDate> {
    let (theirs, ours) = (text(headers, "fitmate-version")?, text(headers, "usher-version")?);
    match (theirs.or(ours), pinned) {
        _ if theirs.is_some() && ours.is_some() && theirs != ours => Err(Error::bad_request(
            "two_versions",
            "Fitmate-Version and Usher-Version name different API versions; send one",
        )),
        (Some(named), _) | (None, Some(named)) => ApiDate::named(named),
        (None, None) => Ok(ApiDate::NEWEST),
    }
}

/// The credential in the first of these headers that is there.
fn bearer(headers: &HeaderMap, names: &[&'static str]) -> Result<Option<Secret>> {
    for name in names {
        if let Some(value) = text(headers, name)? {
            let (scheme, credential) = value.split_once(' ').unwrap_or((value, ""));
            let credential = credential.trim();
            if !scheme.eq_ignore_ascii_case("bearer") || credential.is_empty() {
                return Ok(Some(Secret::new("")));
            }
            return Ok(Some(Secret::new(credential)));
        }
    }
    Ok(None)
}

/// A header's text; empty for one that is not ASCII, which no header of ours is. Two of the same name are refused: two
/// readers may take different ones.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.to_str().unwrap_or_default().trim())),
        (Some(_), Some(_)) => Err(Error::bad_request("header_twice", format!("The header {name} stands twice"))),
    }
}

fn no_credentials() -> Error {
    Error::Unauthenticated {
        code: "no_credentials",
        message: "Send X-API-KEY, X-API-KEY-TYPE and X-CLIENT-ID, or `Authorization: Bearer <access token>`",
    }
}
