//! The SQL of webhooks.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::endpoint::Listener;
use super::sign::Keys;
use super::tries::TOO_OLD;
use super::{Address, Attempt, Delivery, DeliveryId, Endpoint, EndpointId, EventId, Is, Kind, State};
use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::db::{Purge, Row, Tx, params};
use crate::error::{Error, Result};
use crate::field::restore;
use crate::random;
use crate::users::{Email, UserId};

const ENDPOINT: &str = "SELECT id, environment_id, tenant_id, name, settings, events, api_version, created_at, disabled_at, \
     disabled_because FROM endpoints";
const DELIVERY: &str = "SELECT id, endpoint_id, event_id, kind, user_id, body, state, attempts, created_at, due_at, failure, \
     replayed_at FROM deliveries";

/// What is sealed of an endpoint.
#[derive(Serialize, Deserialize)]
struct Settings {
    address: String,
    keys: Vec<Keys>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contact: Option<String>,
}

pub(super) fn save(tx: &Tx, endpoint: &Endpoint) -> Result<()> {
    tx.forget_remembered();
    tx.add(
        "endpoints (id, environment_id, tenant_id, name, settings, events, api_version, created_at)",
        params![
            endpoint.id,
            endpoint.environment,
            endpoint.tenant,
            &endpoint.name,
            seal(tx, endpoint)?,
            words(&endpoint.events),
            &endpoint.api_version,
            endpoint.created_at,
        ],
    )
}

pub(super) fn update(tx: &Tx, endpoint: &Endpoint) -> Result<()> {
    tx.forget_remembered();
    tx.run(
        "UPDATE endpoints SET name = $1, settings = $2, events = $3, api_version = $4, disabled_at = $5, \
         disabled_because = $6 WHERE id = $7",
        params![
            &endpoint.name,
            seal(tx, endpoint)?,
            words(&endpoint.events),
            &endpoint.api_version,
            endpoint.disabled_at,
            endpoint.disabled_because.as_deref(),
            endpoint.id,
        ],
    )
}

pub(super) fn remove(tx: &Tx, id: EndpointId) -> Result<()> {
    tx.forget_remembered();
    tx.run("DELETE FROM endpoints WHERE id = $1", params![id])
}

/// Removes the oldest deliveries to an endpoint, with the log of their tries, and says how many.
pub(super) fn remove_deliveries(tx: &Tx, endpoint: EndpointId, limit: i64) -> Result<usize> {
    const OLDEST: &str = "(SELECT id FROM deliveries WHERE endpoint_id = $1 ORDER BY created_at, id LIMIT $2)";
    let both = params![endpoint, limit];
    tx.execute(&format!("DELETE FROM delivery_attempts WHERE delivery_id IN {OLDEST}"), both)?;
    tx.execute(&format!("DELETE FROM deliveries WHERE id IN {OLDEST}"), both)
}

/// Every endpoint that something was sent to and is not forgotten, one look into an index for each.
pub(super) fn with_deliveries(tx: &Tx) -> Result<Vec<(EndpointId, Is)>> {
    let sql = "SELECT endpoint_id FROM deliveries WHERE endpoint_id > $1 ORDER BY endpoint_id LIMIT 1";
    let mut found = Vec::new();
    let mut last = EndpointId(Uuid::nil());
    while let Some(row) = tx.query_opt(sql, params![last])? {
        last = row.get(0)?;
        let row = tx.query_opt("SELECT disabled_at FROM endpoints WHERE id = $1", params![last])?;
        let is = match row.map(|row| row.get::<Option<Timestamp>>(0)).transpose()? {
            None => Is::Removed,
            Some(Some(_)) => Is::Disabled,
            Some(None) => Is::Enabled,
        };
        found.push((last, is));
    }
    Ok(found)
}

pub(super) fn by_id(tx: &Tx, id: EndpointId) -> Result<Option<Endpoint>> {
    let row = tx.query_opt(&format!("{ENDPOINT} WHERE id = $1"), params![id])?;
    row.map(|row| read_endpoint(tx, &row)).transpose()
}

/// The endpoint, which no other transaction changes, leases from or settles for until this one ends.
pub(super) fn lock(tx: &Tx, id: EndpointId) -> Result<Option<Endpoint>> {
    let row = tx.query_opt(&format!("{ENDPOINT} WHERE id = $1{}", tx.for_update()), params![id])?;
    row.map(|row| read_endpoint(tx, &row)).transpose()
}

/// The endpoints of one environment or of all, oldest first.
pub fn list(tx: &Tx, environment: Option<EnvironmentId>) -> Result<Vec<Endpoint>> {
    let rows = match environment {
        Some(id) => tx.query(&format!("{ENDPOINT} WHERE environment_id = $1 ORDER BY created_at, id"), params![id])?,
        None => tx.query(&format!("{ENDPOINT} ORDER BY created_at, id"), params![])?,
    };
    rows.iter().map(|row| read_endpoint(tx, row)).collect()
}

/// Who listens in an environment. Asked at every change, so the answer may be a moment old.
pub(super) fn listening(tx: &Tx, environment: EnvironmentId) -> Result<Vec<Listener>> {
    let sql = "SELECT id, tenant_id, events, disabled_at FROM endpoints WHERE environment_id = $1";
    let read = |row: &Row| {
        Ok(Listener {
            id: row.get(0)?,
            tenant: row.get(1)?,
            events: kinds(&row.get::<String>(2)?),
            disabled: row.get::<Option<Timestamp>>(3)?.is_some(),
        })
    };
    tx.query_remembered(sql, params![environment])?.iter().map(read).collect()
}

/// Puts an event on its way. `about` is the user with their version.
pub(super) fn insert(
    tx: &Tx,
    endpoint: EndpointId,
    event: EventId,
    kind: Kind,
    about: Option<(UserId, i64)>,
    body: &Value,
    state: State,
) -> Result<()> {
    tx.add(
        "deliveries (id, endpoint_id, event_id, kind, user_id, place, body, state, attempts, created_at, due_at)",
        params![
            DeliveryId(random::sequential_uuid(tx.now())),
            endpoint,
            event,
            kind,
            about.map(|(user, _)| user),
            about.map_or(0, |(_, version)| version),
            body.to_string(),
            state,
            0,
            tx.now(),
            (state == State::Queued).then(|| tx.now()),
        ],
    )
}

/// The endpoints with something due, and whether there is any endpoint at all.
///
/// # Errors
/// The database does not answer.
pub fn due(tx: &Tx) -> Result<(Vec<EndpointId>, bool)> {
    let sql = "SELECT e.id, e.disabled_at, \
         (SELECT MIN(d.due_at) FROM deliveries d WHERE d.endpoint_id = e.id AND d.due_at IS NOT NULL) FROM endpoints e";
    let rows = tx.query(sql, params![])?;
    let mut due = Vec::new();
    for row in &rows {
        let (disabled, first): (Option<Timestamp>, Option<Timestamp>) = (row.get(1)?, row.get(2)?);
        if disabled.is_none() && first.is_some_and(|first| first <= tx.now()) {
            due.push(row.get(0)?);
        }
    }
    Ok((due, !rows.is_empty()))
}

/// Whether an older one of the same user and endpoint is not finished yet.
const BLOCKED: &str = "EXISTS (SELECT 1 FROM deliveries o WHERE o.user_id = deliveries.user_id \
     AND o.endpoint_id = deliveries.endpoint_id AND o.due_at IS NOT NULL \
     AND (o.place < deliveries.place OR (o.place = deliveries.place AND o.id < deliveries.id)))";
/// When to look again at one that was held back, should what it waits for vanish.
const LOOK_AGAIN: Duration = Duration::from_mins(10);

/// Puts off what must wait for an older one, so that nobody looks at it again until [`finish`] lets it go. Looks at the first
/// `limit` that are due and no further, however many wait.
pub(super) fn hold_back(tx: &Tx, endpoint: EndpointId, limit: i64) -> Result<()> {
    let sql = format!(
        "UPDATE deliveries SET due_at = $1 WHERE id IN (SELECT d.id FROM deliveries d WHERE d.endpoint_id = $2 \
         AND d.due_at <= $3 ORDER BY d.due_at, d.id LIMIT $4) AND {BLOCKED}"
    );
    tx.execute(&sql, params![tx.now() + LOOK_AGAIN, endpoint, tx.now(), limit]).map(drop)
}

/// The first that are due, of those that have not to wait for an older one. Fewer than `limit` may be given while there are
/// more: what is behind many that wait is come to once those are put off.
pub(super) fn due_at(tx: &Tx, endpoint: EndpointId, limit: i64) -> Result<Vec<Delivery>> {
    let sql = format!(
        "{DELIVERY} WHERE id IN (SELECT d.id FROM deliveries d WHERE d.endpoint_id = $1 AND d.due_at <= $2 \
         ORDER BY d.due_at, d.id LIMIT $3) AND NOT {BLOCKED} ORDER BY due_at, id"
    );
    tx.query(&sql, params![endpoint, tx.now(), limit])?.iter().map(read).collect()
}

/// `true` for the one worker who got it. What it leases is due again when the lease ends.
pub(super) fn lease(tx: &Tx, delivery: &Delivery, until: Timestamp) -> Result<bool> {
    let sql = format!("UPDATE deliveries SET due_at = $1, attempts = attempts + 1 WHERE id = $2 AND {MINE} $3");
    Ok(tx.execute(&sql, params![until, delivery.id, delivery.attempts])? == 1)
}

/// Only the worker whose try this was may say how it went.
const MINE: &str = "state = 'queued' AND attempts =";

/// Ends a delivery and lets the next one of the same user and endpoint go.
pub(super) fn finish(tx: &Tx, delivery: &Delivery, state: State, failure: Option<&str>) -> Result<()> {
    let sql = format!(
        "UPDATE deliveries SET state = $1, failure = $2, finished_at = $3, due_at = NULL WHERE id = $4 AND {MINE} $5"
    );
    tx.run(&sql, params![state, failure, tx.now(), delivery.id, delivery.attempts])?;
    let Some(user) = delivery.user else { return Ok(()) };
    tx.run(
        "UPDATE deliveries SET due_at = $1 WHERE id = (SELECT n.id FROM deliveries n WHERE n.user_id = $2 \
         AND n.endpoint_id = $3 AND n.due_at IS NOT NULL ORDER BY n.place, n.id LIMIT 1) AND due_at > $1 AND attempts = 0",
        params![tx.now(), user, delivery.endpoint],
    )
}

pub(super) fn retry(tx: &Tx, delivery: &Delivery, due_at: Timestamp, failure: &str) -> Result<()> {
    let sql = format!("UPDATE deliveries SET due_at = $1, failure = $2 WHERE id = $3 AND {MINE} $4");
    tx.run(&sql, params![due_at, failure, delivery.id, delivery.attempts])
}

/// Skips what waits for an endpoint, the next due first, and says how many.
pub(super) fn skip_queued(tx: &Tx, endpoint: EndpointId, limit: i64) -> Result<usize> {
    tx.execute(
        "UPDATE deliveries SET state = 'skipped', due_at = NULL, finished_at = $1 WHERE id IN (SELECT d.id FROM deliveries d \
         WHERE d.endpoint_id = $2 AND d.due_at IS NOT NULL ORDER BY d.due_at, d.id LIMIT $3)",
        params![tx.now(), endpoint, limit],
    )
}

/// Due since the event happened: so what is sent again is sent in the order in which it happened.
const AGAIN: &str = "UPDATE deliveries SET state = 'queued', due_at = created_at, replayed_at = $1, attempts = 0, \
     finished_at = NULL WHERE endpoint_id = $2 AND due_at IS NULL";

/// An event's id begins with its time, by which the deliveries of an endpoint are found.
pub(super) fn queue_event_again(tx: &Tx, endpoint: EndpointId, event: EventId) -> Result<usize> {
    let at = random::time_of(event.0);
    tx.execute(&format!("{AGAIN} AND created_at = $3 AND event_id = $4"), params![tx.now(), endpoint, at, event])
}

pub(super) fn queue_again(tx: &Tx, endpoint: EndpointId, (from, to): (Timestamp, Timestamp)) -> Result<usize> {
    tx.execute(&format!("{AGAIN} AND created_at >= $3 AND created_at < $4"), params![tx.now(), endpoint, from, to])
}

/// When the next one happened after the first `skip` finished ones of a time range.
pub(super) fn finished_after(
    tx: &Tx,
    endpoint: EndpointId,
    (from, to): (Timestamp, Timestamp),
    skip: i64,
) -> Result<Option<Timestamp>> {
    let sql = "SELECT created_at FROM deliveries WHERE endpoint_id = $1 AND created_at >= $2 AND created_at < $3 \
         AND due_at IS NULL ORDER BY created_at LIMIT 1 OFFSET $4";
    let next = tx.query_opt(sql, params![endpoint, from, to, skip])?.map(|row| row.get(0)).transpose()?;
    // So many in one millisecond are not cut.
    Ok(next.filter(|next| *next > from))
}

/// Adds a try to the log, once: `id` is the try's.
pub(super) fn note_attempt(
    tx: &Tx,
    id: Uuid,
    delivery: DeliveryId,
    status: Option<u16>,
    took: Duration,
    words: &str,
) -> Result<()> {
    let noted = tx.insert(
        "delivery_attempts (id, delivery_id, created_at, status, millis, words)",
        params![
            id,
            delivery,
            tx.now(),
            status.map(i64::from),
            i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
            words,
        ],
    );
    noted.map(drop)
}

/// What an endpoint was to be told of what happened at one time.
///
/// # Errors
/// The database does not answer.
pub fn of_moment(tx: &Tx, endpoint: EndpointId, at: Timestamp) -> Result<Vec<Delivery>> {
    let sql = format!("{DELIVERY} WHERE endpoint_id = $1 AND created_at = $2 ORDER BY id");
    tx.query(&sql, params![endpoint, at])?.iter().map(read).collect()
}

/// The newest deliveries to an endpoint, newest first.
///
/// # Errors
/// The database does not answer.
pub fn deliveries(tx: &Tx, endpoint: EndpointId, limit: i64) -> Result<Vec<Delivery>> {
    let sql = format!("{DELIVERY} WHERE endpoint_id = $1 ORDER BY created_at DESC, place DESC, id DESC LIMIT $2");
    tx.query(&sql, params![endpoint, limit])?.iter().map(read).collect()
}

pub(super) fn delivery(tx: &Tx, id: DeliveryId) -> Result<Option<Delivery>> {
    tx.query_opt(&format!("{DELIVERY} WHERE id = $1"), params![id])?.as_ref().map(read).transpose()
}

/// Every try of a delivery that is still logged, oldest first.
///
/// # Errors
/// The database does not answer.
pub fn attempts(tx: &Tx, delivery: DeliveryId) -> Result<Vec<Attempt>> {
    let sql = "SELECT delivery_id, created_at, status, millis, words FROM delivery_attempts WHERE delivery_id = $1 \
         ORDER BY created_at, id";
    let read = |row: &Row| {
        Ok(Attempt {
            delivery: row.get(0)?,
            created_at: row.get(1)?,
            status: row.get(2)?,
            millis: row.get(3)?,
            words: row.get(4)?,
        })
    };
    tx.query(sql, params![delivery])?.iter().map(read).collect()
}

/// How many deliveries to an endpoint wait, and since when the oldest does.
///
/// # Errors
/// The database does not answer.
pub fn waiting(tx: &Tx, endpoint: EndpointId) -> Result<(i64, Option<Timestamp>)> {
    let sql = "SELECT COUNT(*), MIN(created_at) FROM deliveries WHERE endpoint_id = $1 AND due_at IS NOT NULL";
    let row = tx.query_opt(sql, params![endpoint])?.ok_or_else(|| Error::internal("no count"))?;
    Ok((row.get(0)?, row.get(1)?))
}

/// How many deliveries to an endpoint were given up since then, but of those of old events that were asked for again.
///
/// # Errors
/// The database does not answer.
pub fn given_up(tx: &Tx, endpoint: EndpointId, since: Timestamp) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM deliveries WHERE endpoint_id = $1 AND created_at >= $2 AND state = $3 AND finished_at >= $4";
    let row = tx.query_opt(sql, params![endpoint, since - TOO_OLD, State::Failed, since])?;
    row.ok_or_else(|| Error::internal("no count"))?.get(0)
}

/// Removes some of what is older than that and finished, and of the log of tries; says whether there may be more.
pub(super) fn purge(tx: &Tx, before: Timestamp) -> Result<bool> {
    const FINISHED: Purge = Purge { condition: "due_at IS NULL", ..Purge::by_id("deliveries") };
    let before = random::first_uuid(before);
    let more_tries = tx.purge(&Purge::by_id("delivery_attempts"), before)?;
    Ok(tx.purge(&FINISHED, before)? || more_tries)
}

fn seal(tx: &Tx, endpoint: &Endpoint) -> Result<Vec<u8>> {
    let settings = Settings {
        address: endpoint.address.as_str().to_owned(),
        keys: endpoint.keys.clone(),
        contact: endpoint.contact.as_ref().map(|contact| contact.address().to_owned()),
    };
    let json = serde_json::to_vec(&settings).map_err(Error::internal)?;
    Ok(tx.vault().seal(endpoint.id.0.as_bytes(), &json))
}

fn words(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(" ")
}

fn kinds(words: &str) -> Vec<Kind> {
    words.split_whitespace().filter_map(Kind::named).collect()
}

fn read_endpoint(tx: &Tx, row: &Row) -> Result<Endpoint> {
    let id: EndpointId = row.get(0)?;
    let settings: Settings = restore(&tx.vault().open(id.0.as_bytes(), &row.get::<Vec<u8>>(4)?)?)?;
    Ok(Endpoint {
        id,
        environment: row.get(1)?,
        tenant: row.get(2)?,
        name: row.get(3)?,
        address: Address::stored(&settings.address)?,
        keys: settings.keys,
        contact: settings.contact.as_deref().and_then(Email::new),
        events: kinds(&row.get::<String>(5)?),
        api_version: row.get(6)?,
        created_at: row.get(7)?,
        disabled_at: row.get(8)?,
        disabled_because: row.get(9)?,
    })
}

fn read(row: &Row) -> Result<Delivery> {
    Ok(Delivery {
        id: row.get(0)?,
        endpoint: row.get(1)?,
        event: row.get(2)?,
        kind: row.get(3)?,
        user: row.get(4)?,
        // One damaged delivery must not stop the others.
        body: restore(row.get::<String>(5)?.as_bytes()).unwrap_or_default(),
        state: row.get(6)?,
        attempts: row.get(7)?,
        created_at: row.get(8)?,
        due_at: row.get(9)?,
        failure: row.get(10)?,
        replayed_at: row.get(11)?,
    })
}
