//! Webhooks: other systems hear of changes, by the Standard Webhooks specification.
//!
//! A change is announced in its own transaction, as one delivery for each endpoint that listens; a worker sends them
//! ([`sender`]). A message has ids and the names of what changed, never a value, and of health only that it changed.

mod endpoint;
pub mod sender;
pub mod sign;
mod store;
mod tries;

pub use endpoint::{Address, Change, Endpoint, New};
pub use store::{attempts, deliveries, due, given_up, list, of_moment, waiting};
pub use tries::{Job, MAILS, Outcome, lease, settle};

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::apps::{self, EnvironmentId};
use crate::audit::{self, Action, Changes};
use crate::caller::{Origin, Scope};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type, words};
use crate::error::{Error, Result};
use crate::roles::RoleId;
use crate::tenants::TenantId;
use crate::users::{User, UserId};
use sign::Keys;

id_type!(
    /// Where events go to.
    EndpointId
);
id_type!(
    /// One event; `webhook-id` is made from it, the same for every try and for a replay.
    EventId
);
id_type!(
    /// One event on its way to one endpoint.
    DeliveryId
);

words! {
    /// What happened. Those of the same word as an action of the audit trail are announced with it.
    pub enum Kind {
        /// A user was made.
        UserCreated = "user.created",
        /// Facts about a user were changed.
        UserUpdated = "user.updated",
        /// A user was frozen.
        UserFrozen = "user.frozen",
        /// A user was deleted, and can still be restored.
        UserDeleted = "user.deleted",
        /// A user was made active again.
        UserRestored = "user.restored",
        /// A user was erased for good.
        UserErased = "user.erased",
        /// A user was given a role, in place of the one they had; `member`, if that was taken away.
        RoleGiven = "user.role_given",
        /// The plan of a subscription was changed, or its start.
        SubscriptionUpdated = "subscription.updated",
        /// A subscription was paused.
        SubscriptionPaused = "subscription.paused",
        /// A subscription was resumed, by somebody or because its pause is over; or begun anew.
        SubscriptionResumed = "subscription.resumed",
        /// A subscription was cancelled; it ends after its last day.
        SubscriptionCancelled = "subscription.cancelled",
        /// A subscription has ended: its last day is over.
        SubscriptionEnded = "subscription.ended",
        /// A person followed their link.
        LinkFollowed = "link.followed",
        /// A tenant was made.
        TenantCreated = "tenant.created",
        /// Facts about a tenant were changed.
        TenantUpdated = "tenant.updated",
        /// A role was made.
        RoleCreated = "role.created",
        /// A role was removed: who had it is a member.
        RoleRemoved = "role.removed",
        /// Somebody asked for a test.
        Test = "webhook.test",
    }
}

words! {
    /// How far a delivery has come.
    pub enum State {
        /// Waiting for its first or next try, or for an older one of the same user.
        Queued = "queued",
        /// Taken by the endpoint.
        Sent = "sent",
        /// Given up.
        Failed = "failed",
        /// Not sent, for the endpoint was disabled or its API date has no such event.
        Skipped = "skipped",
    }
}

/// One event on its way to one endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Where it goes to.
    pub endpoint: EndpointId,
    /// What is told.
    pub event: EventId,
    /// What kind of event that is.
    pub kind: Kind,
    /// Whom it is about.
    pub user: Option<UserId>,
    /// The event in its newest shape. Ids and names.
    pub body: Value,
    /// How far it has come.
    pub state: State,
    /// How often it was tried.
    pub attempts: i64,
    /// When the event happened.
    pub created_at: Timestamp,
    /// When it is tried next.
    pub due_at: Option<Timestamp>,
    /// When it was last asked for again.
    pub replayed_at: Option<Timestamp>,
    /// Why the last try failed.
    pub failure: Option<String>,
}

/// One try.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// When.
    pub created_at: Timestamp,
    /// HTTP status, if there was an answer.
    pub status: Option<i64>,
    /// How long it took, in milliseconds.
    pub millis: i64,
    /// The first words of the answer, or why there was none.
    pub words: String,
}

impl EventId {
    /// The `webhook-id`.
    pub fn webhook_id(self) -> String {
        format!("evt_{}", self.0)
    }

    /// The id in a `webhook-id`, or by itself.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<EventId> {
        let id = text.strip_prefix("evt_").unwrap_or(text).parse();
        id.map_err(|_| Error::bad_request("malformed_id", "An event's id looks like evt_ and a UUID"))
    }
}

/// An endpoint whose oldest delivery waits for longer is worth knowing.
pub const LATE: Duration = Duration::from_hours(1);
/// How long deliveries and the log of their tries are kept.
pub const KEPT: Duration = Duration::from_hours(30 * 24);
/// How long replaced keys sign beside the new ones unless said otherwise.
pub const OVERLAP: Duration = Duration::from_hours(24);
/// How many deliveries one transaction changes at the most, so that it holds nobody up.
const AT_ONCE: i64 = 1000;
/// How many events one replay sends again at the most.
const REPLAYED: i64 = 10_000;
/// How many pairs of keys sign an endpoint's messages at the most: receivers take no header of any length.
const MOST_KEYS: usize = 5;
/// How many endpoints an environment may have, and each tenant of it besides.
pub const MOST_ENDPOINTS: usize = 50;

/// Tells the endpoints of a user's environment of a change, in the change's transaction.
///
/// # Errors
/// The database refuses.
pub fn announce(tx: &Tx, action: Action, user: &User, changes: &Changes) -> Result<()> {
    let about = About { environment: user.environment, tenant: user.tenant, user: Some((user.id, user.version)) };
    tell(tx, action, &about, |data| {
        data["userId"] = json!(user.id);
        data["tenantId"] = json!(user.tenant);
        if action == Action::RoleGiven {
            data["roleId"] = json!(user.role.unwrap_or(RoleId::MEMBER));
        }
        data["fields"] = changes.words().collect();
    })
}

/// Tells them of a change of something else, by its id: a tenant or a role.
///
/// # Errors
/// The database refuses.
pub fn announce_other(tx: &Tx, action: Action, environment: EnvironmentId, id: Uuid, changes: &Changes) -> Result<()> {
    let is_tenant = matches!(action, Action::TenantCreated | Action::TenantUpdated);
    let about = About { environment, tenant: is_tenant.then_some(TenantId(id)), user: None };
    tell(tx, action, &about, |data| {
        data[if is_tenant { "tenantId" } else { "roleId" }] = json!(id);
        data["fields"] = changes.words().collect();
    })
}

/// Who may hear of an event, and in which order.
struct About {
    environment: EnvironmentId,
    tenant: Option<TenantId>,
    /// With their version: the events of one user keep their order.
    user: Option<(UserId, i64)>,
}

fn tell(tx: &Tx, action: Action, about: &About, fill: impl FnOnce(&mut Value)) -> Result<()> {
    let Some(kind) = Kind::named(action.as_str()) else { return Ok(()) };
    let endpoints = store::listening(tx, about.environment)?;
    if endpoints.is_empty() {
        return Ok(());
    }
    let body = body(tx, kind, about.environment, fill)?;
    let event = EventId::ordered(tx.now());
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.hears(kind, about.tenant)) {
        let state = if endpoint.disabled { State::Skipped } else { State::Queued };
        store::insert(tx, endpoint.id, event, kind, about.user, &body, state)?;
    }
    Ok(())
}

/// The message in its newest shape.
fn body(tx: &Tx, kind: Kind, environment: EnvironmentId, fill: impl FnOnce(&mut Value)) -> Result<Value> {
    let environment = apps::by_id(tx, environment)?;
    let mut data = json!({ "appId": environment.app, "environment": environment.kind });
    fill(&mut data);
    Ok(json!({ "type": kind, "timestamp": tx.now(), "data": data }))
}

/// Makes an endpoint. Its keys are seen in what this gives, and the secret nowhere else.
///
/// # Errors
/// There are enough already.
pub fn create(tx: &Tx, scope: Scope, origin: Origin, new: &New) -> Result<Endpoint> {
    let of_the_same = store::list(tx, Some(scope.environment))?;
    if of_the_same.iter().filter(|endpoint| endpoint.tenant == scope.tenant).count() >= MOST_ENDPOINTS {
        let message = "An environment can have 50 webhooks at the most, and so can each tenant";
        return Err(Error::bad_request("too_many_webhooks", message));
    }
    let endpoint = Endpoint::new(scope, new, tx.now());
    store::save(tx, &endpoint)?;
    note(tx, origin, Action::WebhookCreated, &endpoint, [&Value::Null, &endpoint.show()])?;
    Ok(endpoint)
}

/// Notes in the audit trail what was done to an endpoint: what it was, and what it is.
fn note(tx: &Tx, origin: Origin, action: Action, endpoint: &Endpoint, [before, after]: [&Value; 2]) -> Result<()> {
    let changes = Changes::between(before, after).hiding(Endpoint::HIDDEN.into_iter());
    audit::record_changes(tx, endpoint.environment, origin, action, endpoint.id.0, &changes)
}

/// The endpoints that the scope can see, oldest first.
///
/// # Errors
/// The database does not answer.
pub fn of_scope(tx: &Tx, scope: Scope) -> Result<Vec<Endpoint>> {
    let mut all = store::list(tx, Some(scope.environment))?;
    all.retain(|endpoint| endpoint.is_in(scope));
    Ok(all)
}

/// Every logged try of a delivery to that endpoint.
///
/// # Errors
/// [`Error::NoWebhook`]: the endpoint has no such delivery.
pub fn attempts_at(tx: &Tx, endpoint: &Endpoint, delivery: DeliveryId) -> Result<Vec<Attempt>> {
    match store::delivery(tx, delivery)? {
        Some(delivery) if delivery.endpoint == endpoint.id => store::attempts(tx, delivery.id),
        _ => Err(Error::NoWebhook),
    }
}

/// An endpoint that the scope can see.
///
/// # Errors
/// [`Error::NoWebhook`].
pub fn get(tx: &Tx, scope: Scope, id: EndpointId) -> Result<Endpoint> {
    by_id(tx, id)?.filter(|endpoint| endpoint.is_in(scope)).ok_or(Error::NoWebhook)
}

/// Any endpoint, for the operator.
///
/// # Errors
/// The database does not answer.
pub fn by_id(tx: &Tx, id: EndpointId) -> Result<Option<Endpoint>> {
    store::by_id(tx, id)
}

/// Changes an endpoint. One that is enabled again gets what is queued; what it missed can be replayed.
///
/// # Errors
/// [`Error::NoWebhook`].
pub fn change(tx: &Tx, origin: Origin, id: EndpointId, change: Change) -> Result<Endpoint> {
    let mut endpoint = store::lock(tx, id)?.ok_or(Error::NoWebhook)?;
    let (before, disable) = (endpoint.show(), change.enabled == Some(false) && endpoint.disabled_at.is_none());
    endpoint.apply(change);
    if disable {
        endpoint = self::disable(tx, endpoint, "by hand")?;
    } else {
        store::update(tx, &endpoint)?;
    }
    note(tx, origin, Action::WebhookUpdated, &endpoint, [&before, &endpoint.show()])?;
    Ok(endpoint)
}

/// Stops sending to an endpoint. What waits for it is skipped, by [`tidy`] if that is much.
///
/// # Errors
/// The database refuses.
fn disable(tx: &Tx, mut endpoint: Endpoint, because: &str) -> Result<Endpoint> {
    endpoint.disabled_at = Some(tx.now());
    endpoint.disabled_because = Some(because.to_owned());
    store::update(tx, &endpoint)?;
    store::skip_queued(tx, endpoint.id, AT_ONCE)?;
    Ok(endpoint)
}

/// Removes an endpoint with all that was ever sent to it; [`tidy`] removes what is left of very much.
///
/// # Errors
/// The database refuses.
pub fn remove(tx: &Tx, origin: Origin, endpoint: &Endpoint) -> Result<()> {
    note(tx, origin, Action::WebhookRemoved, endpoint, [&endpoint.show(), &Value::Null])?;
    store::remove(tx, endpoint.id)?;
    store::remove_deliveries(tx, endpoint.id, AT_ONCE).map(drop)
}

/// Does some of what there is to tidy up: skips what waits for endpoints that are disabled, removes what was sent to those
/// that are removed, and what is older than [`KEPT`] and finished. Says whether there may be more.
///
/// # Errors
/// The database refuses.
pub fn tidy(tx: &Tx) -> Result<bool> {
    let mut changed = 0;
    for (endpoint, is) in store::with_deliveries(tx)? {
        changed += match is {
            Is::Removed => store::remove_deliveries(tx, endpoint, AT_ONCE)?,
            Is::Disabled => store::skip_queued(tx, endpoint, AT_ONCE)?,
            Is::Enabled => 0,
        };
        if changed > 0 {
            return Ok(true);
        }
    }
    store::purge(tx, tx.now() - KEPT)
}

/// What has become of an endpoint that something was sent to.
enum Is {
    Enabled,
    Disabled,
    Removed,
}

/// Gives an endpoint new keys. Those before sign beside them for `overlap`, the newest few of them.
///
/// # Errors
/// [`Error::NoWebhook`].
pub fn rotate(tx: &Tx, origin: Origin, id: EndpointId, overlap: Duration) -> Result<Endpoint> {
    let mut endpoint = store::lock(tx, id)?.ok_or(Error::NoWebhook)?;
    let before = endpoint.show();
    let older = std::mem::take(&mut endpoint.keys).into_iter().map(|keys| keys.ending(tx.now() + overlap));
    endpoint.keys = [Keys::generate()].into_iter().chain(older).filter(|keys| keys.sign_at(tx.now())).collect();
    endpoint.keys.truncate(MOST_KEYS);
    store::update(tx, &endpoint)?;
    note(tx, origin, Action::WebhookRotated, &endpoint, [&before, &endpoint.show()])?;
    Ok(endpoint)
}

/// Sends an endpoint a test, whatever kinds of events it listens to.
///
/// # Errors
/// The endpoint is disabled.
pub fn test(tx: &Tx, origin: Origin, endpoint: &Endpoint) -> Result<EventId> {
    endpoint.must_be_enabled()?;
    audit::record(tx, endpoint.environment, origin, Action::WebhookTested, endpoint.id.0)?;
    let event = EventId::ordered(tx.now());
    let body = body(tx, Kind::Test, endpoint.environment, |_| ())?;
    store::insert(tx, endpoint.id, event, Kind::Test, None, &body, State::Queued)?;
    Ok(event)
}

/// What is to be sent again.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// One event.
    Event(EventId),
    /// What happened from the first time on and before the second one.
    Between(Timestamp, Timestamp),
}

/// What is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// How many events.
    pub queued: usize,
    /// From when on there are more, if a time range has too many for once.
    pub next: Option<Timestamp>,
}

/// Sends an endpoint again what it was sent, or not sent, before: with the same `webhook-id`, oldest first. What still
/// waits is left as it is.
///
/// # Errors
/// The endpoint is disabled, or no such event is known.
pub fn replay(tx: &Tx, origin: Origin, endpoint: &Endpoint, which: Which) -> Result<Replayed> {
    endpoint.must_be_enabled()?;
    audit::record(tx, endpoint.environment, origin, Action::WebhookReplayed, endpoint.id.0)?;
    match which {
        Which::Event(event) => match store::queue_event_again(tx, endpoint.id, event)? {
            0 => Err(Error::bad_request("no_such_event", "No such event waits to be sent again to this webhook")),
            queued => Ok(Replayed { queued, next: None }),
        },
        Which::Between(from, to) => {
            let next = store::finished_after(tx, endpoint.id, (from, to), REPLAYED)?;
            let queued = store::queue_again(tx, endpoint.id, (from, next.unwrap_or(to)))?;
            Ok(Replayed { queued, next })
        }
    }
}
