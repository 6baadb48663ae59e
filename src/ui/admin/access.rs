//! Who may see a page of the dashboard. A handler's signature names one of these extractors, and that is its whole access
//! rule: `Admin<Owner>` for the installation, `Within<Support>` for one environment of an app.
//!
//! They also see to what no handler may forget: forms of other sites are refused, and a session's use is noted.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::Method;
use axum::http::request::Parts;

use super::Frame;
use crate::admins::{self, Role, Session};
use crate::api::{Api, Trail, again};
use crate::apps::{self, AppId, Environment, Kind};
use crate::caller::{Actor, Caller, Origin};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::ui::cookies;
use crate::ui::links::from_our_page;
use crate::ui::theme::Theme;

/// The page shows nothing but what every administrator may see.
pub struct ReadOnly;

/// The page changes users.
pub struct Support;

/// The page has to do with health data, keys or the installation.
pub struct Owner;

/// The role that a page needs.
pub trait Needs: 'static {
    /// The least of the roles that will do.
    const ROLE: Role;
}

impl Needs for ReadOnly {
    const ROLE: Role = Role::ReadOnly;
}

impl Needs for Support {
    const ROLE: Role = Role::Support;
}

impl Needs for Owner {
    const ROLE: Role = Role::Owner;
}

/// An administrator of at least that role.
pub struct Admin<N> {
    /// Their session.
    pub session: Session,
    /// What they do comes from here.
    pub origin: Origin,
    /// What surrounds the page.
    pub frame: Frame,
    need: PhantomData<N>,
}

/// An administrator of at least that role, at a page below `/admin/{appId}/{environment}`.
pub struct Within<N> {
    /// The environment of the page.
    pub environment: Environment,
    /// What they do there, they do as this caller.
    pub caller: Caller,
    /// What surrounds the page.
    pub frame: Frame,
    need: PhantomData<N>,
}

/// The cookie of a session.
pub(super) const COOKIE: &str = "usher_admin";

/// What a page sends along when it asks again by itself: a screen that nobody looks at keeps no session alive.
const BY_ITSELF: &str = "usher-by-itself";

fn signed_out() -> Error {
    Error::Unauthenticated { code: "admin_signed_out", message: "Sign in to go on" }
}

impl<N: Needs> FromRequestParts<Api> for Admin<N> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self> {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            from_our_page(&parts.headers)?;
        }
        let presented = cookies::secret(api, &parts.headers, COOKIE).ok_or_else(signed_out)?;
        let look = move |tx: &Tx| Ok((admins::of_browser(tx, &presented)?, apps::environments(tx)?));
        let (session, places) = api.store.read(look).await?;
        let session = session.ok_or_else(signed_out)?;
        again::note::<Self>(parts, api, session.admin.role.as_str().to_owned())?;
        let trail = parts.extensions.get::<Trail>();
        if let Some(trail) = trail {
            trail.note_admin(session.admin.id);
        }
        if session.admin.role < N::ROLE {
            return Err(Error::Forbidden { code: "no_right", message: "Your role does not allow this" });
        }
        let is_used = !parts.headers.contains_key(BY_ITSELF);
        if is_used && session.is_to_be_noted(api.store.clock().now()) {
            let used = session.clone();
            api.store.write(move |tx| admins::note_use(tx, &used)).await?;
        }
        let origin = Origin { request: trail.map(Trail::id), ..Origin::of(Actor::Admin(session.admin.id)) };
        let here = parts.uri.path_and_query().map_or("/admin", |here| here.as_str()).to_owned();
        let theme = Theme::of(&parts.headers);
        let is_answer = parts.method == Method::POST;
        let frame = Frame { who: session.admin.clone(), theme, here, is_answer, places, place: None };
        Ok(Admin { session, origin, frame, need: PhantomData })
    }
}

impl<N: Needs> FromRequestParts<Api> for Within<N> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self> {
        let Admin { origin, mut frame, .. } = Admin::<N>::from_request_parts(parts, api).await?;
        let named = RawPathParams::from_request_parts(parts, api).await.map_err(Error::internal)?;
        let text = |name: &str| named.iter().find(|(given, _)| *given == name).map(|(_, value)| value.to_owned());
        let app: Option<AppId> = text("appId").and_then(|id| id.parse().ok());
        let kind = text("environment").and_then(|word| Kind::named(&word));
        let place = frame.places.iter().find(|place| Some(place.app) == app && Some(place.kind) == kind).cloned();
        let environment = place.ok_or(Error::NotFound("There is no such app"))?;
        let caller = Caller { request: origin.request, ..Caller::admin(&environment, &frame.who) };
        frame.place = Some(environment.clone());
        Ok(Within { environment, caller, frame, need: PhantomData })
    }
}
