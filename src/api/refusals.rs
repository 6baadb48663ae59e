//! Refused attempts, on their way into the audit trail: one entry each for a caller who is known, written before the answer
//! is sent; for everybody else a count, which a chore writes down once a minute.

use uuid::Uuid;

use super::{Api, Asker, Surface, Trail};
use crate::audit::tally::Kind;
use crate::audit::{self, Action, INSTALLATION, Refusal};
use crate::caller::{Actor, Origin};
use crate::error::Error;

/// The UUID that a path names, if it does: whatever else stands there may be personal.
pub(super) fn target(path: &str) -> Option<Uuid> {
    path.split('/').filter(|part| part.len() == 36).find_map(|part| part.parse().ok())
}

/// Notes that a request was refused. Failures of ours are not refusals; they are in the log.
pub(super) async fn note(
    api: &Api,
    trail: &Trail,
    surface: Surface,
    operation: String,
    target: Option<Uuid>,
    error: &Error,
) {
    let nothing_there = matches!(error, Error::NoRoute | Error::MethodNotAllowed);
    // Operators and machines look, and nobody is kept from that; but what Stripe is to have said does something.
    let only_looks = surface == Surface::Service && operation.starts_with("GET ");
    if !(400..500).contains(&error.status()) || nothing_there || only_looks {
        return;
    }
    let code = error.code();
    let date = trail.0.date.get().map(|date| date.as_str());
    let (environment, origin) = match trail.0.asker.get() {
        Some(Asker::Caller(caller)) => (caller.scope.environment, caller.origin()),
        Some(Asker::Admin(id)) => (INSTALLATION, Origin::of(Actor::Admin(*id))),
        Some(Asker::Ended(caller)) => {
            let key = Some((caller.scope.environment, caller.actor));
            return api.refusals.add(Kind { key, operation: Some(operation), code }, 1);
        }
        None => return api.refusals.add(Kind { key: None, operation: Some(operation), code }, 1),
    };
    let origin = Origin { request: Some(trail.id()), date, ..origin };
    let refusal = Refusal { operation: Some(operation), target, ..Refusal::of(Action::RequestRefused, code) };
    let noted = api.store.write(move |tx| audit::refuse(tx, environment, Some(origin), &refusal)).await;
    if let Err(e) = noted {
        tracing::warn!(request_id = %trail.id(), code = e.code(), "a refused attempt could not be noted");
    }
}
