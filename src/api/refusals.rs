//! Refused attempts, on their way into the audit trail: one entry each, written before the answer is sent. Of callers without
//! a working credential only the first of a minute have one; the others are counted, for a chore to write down, and so
//! is every one that the database did not take.

use uuid::Uuid;

use super::{Api, Asker, Surface, Trail};
use crate::audit::tally::Kind;
use crate::audit::{self, Action, INSTALLATION, Refusal};
use crate::caller::{Actor, Origin};
use crate::error::Error;
use crate::ui;

/// The UUID that a path names, if it does: whatever else stands there may be personal.
pub(super) fn target(path: &str) -> Option<Uuid> {
    path.split('/').filter(|part| part.len() == 36).find_map(|part| part.parse().ok())
}

/// The code by which a request was refused, if it was. Failures of ours are not refusals; they are in the log.
pub(super) fn code(trail: &Trail, surface: Surface, method: &str, error: Option<&Error>) -> Option<&'static str> {
    // Operators and machines look, and nobody is kept from that; but what Stripe is to have said does something.
    let only_looks = surface == Surface::Service && method == "GET";
    let status = if surface == Surface::Admin { ui::admin::status } else { Error::status };
    let refuses = |error: &&Error| {
        let nothing_there = matches!(error, Error::NoRoute | Error::MethodNotAllowed);
        (400..500).contains(&status(error)) && !nothing_there && !only_looks
    };
    error.filter(refuses).map(Error::code).or(trail.0.refused.get().copied())
}

/// Notes that a request was refused.
pub(super) async fn note(api: &Api, trail: &Trail, operation: String, target: Option<Uuid>, code: &'static str) {
    let asker = trail.0.asker.get();
    let (environment, origin) = match asker {
        Some(Asker::Caller(caller) | Asker::Ended(caller)) => (caller.scope.environment, Some(caller.origin())),
        Some(Asker::Admin(id)) => (INSTALLATION, Some(Origin::of(Actor::Admin(*id)))),
        None => (INSTALLATION, None),
    };
    let known = matches!(asker, Some(Asker::Caller(_) | Asker::Admin(_)));
    let count = |operation| {
        let key = origin.map(|origin| (environment, origin.actor));
        api.refusals.add(Kind { key, operation: Some(operation), code }, 1);
    };
    if !known && !api.refusals.admit(&operation, code) {
        return count(operation);
    }
    let (request, date) = (Some(trail.id()), trail.0.date.get().map(|date| date.as_str()));
    let by = origin.map(|origin| Origin { request, date, ..origin });
    let refusal = Refusal {
        operation: Some(operation.clone()),
        target,
        request,
        date,
        ..Refusal::of(Action::RequestRefused, code)
    };
    if let Err(e) = api.store.write(move |tx| audit::refuse(tx, environment, by, &refusal)).await {
        if known {
            tracing::warn!(request_id = %trail.id(), code = e.code(), "a refused attempt could not be noted by itself");
        }
        count(operation);
    }
}
