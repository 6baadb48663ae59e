//! Whoever sends a request slowly is judged again when all of it is here: a body may take half a minute, and a credential
//! that ends is to be refused within a second.
//!
//! The extractor of a credential notes itself here, and [`super::body`] asks, so that no handler can forget it.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::Api;
use crate::clock::Stopwatch;
use crate::error::{Error, Result};

/// How long it counts how a caller was judged.
const FRESH: Duration = Duration::from_millis(250);

/// How the caller of a request was judged.
#[derive(Clone)]
struct Judged {
    since: Stopwatch,
    /// By what leave they act.
    leave: String,
    by: for<'a> fn(&'a mut Parts, &'a Api) -> BoxFuture<'a, Result<()>>,
    api: Api,
}

/// Notes that the extractor `E` has judged a request's caller, and by what leave they act.
///
/// # Errors
/// They were judged before, and acted by another leave.
pub(crate) fn note<E>(parts: &mut Parts, api: &Api, leave: String) -> Result<()>
where
    E: FromRequestParts<Api, Rejection = Error> + 'static,
{
    match parts.extensions.get::<Judged>() {
        Some(before) if before.leave == leave => Ok(()),
        Some(_) => Err(Error::Forbidden {
            code: "no_right",
            message: "What you may do was changed while you sent this; send it again",
        }),
        None => {
            let judged = Judged { since: Stopwatch::start(), leave, by: extract::<E>, api: api.clone() };
            parts.extensions.insert(judged);
            Ok(())
        }
    }
}

/// Judges the caller of a request again, if there is one and that was done a while ago.
///
/// # Errors
/// Those of the extractor, and of [`note`].
pub(super) async fn judge(parts: &mut Parts) -> Result<()> {
    match parts.extensions.get::<Judged>().cloned() {
        Some(judged) if judged.since.elapsed() >= FRESH => (judged.by)(parts, &judged.api).await,
        _ => Ok(()),
    }
}

fn extract<'a, E>(parts: &'a mut Parts, api: &'a Api) -> BoxFuture<'a, Result<()>>
where
    E: FromRequestParts<Api, Rejection = Error> + 'static,
{
    E::from_request_parts(parts, api).map(|judged| judged.map(drop)).boxed()
}
