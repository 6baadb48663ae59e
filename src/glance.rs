//! How an environment does, at a glance: the numbers of the dashboard's first page.
//!
//! Every one is read from a range of an index that ends now. They are remembered for a hundred times as long as reading them
//! took, a minute at the most: a page that many people leave open costs a busy database next to nothing, and a small
//! installation is shown what is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::apps::{Environment, EnvironmentId};
use crate::clock::{Stopwatch, Timestamp};
use crate::db::Tx;
use crate::error::Result;
use crate::imports;
use crate::keys::{self, Call, Key};
use crate::outbox::{self, Kind, State};
use crate::sessions;
use crate::users;
use crate::webhooks::{self, Endpoint};

/// How many days the charts show.
pub const DAYS: i64 = 30;
const DAY: i64 = 86_400_000;
/// How long numbers are remembered at the most, and for how many times what it took to read them.
const FRESH: Duration = Duration::from_mins(1);
const WORTH: u32 = 100;
/// For how long what was given up needs attention.
const LATELY: Duration = Duration::from_hours(24);
/// For how long an import that was broken off does.
const BROKEN_FOR: Duration = Duration::from_hours(7 * 24);
/// Keys that end within this time need attention.
const SOON: Duration = Duration::from_hours(7 * 24);

/// The numbers of one environment.
pub struct Glance {
    /// Until when they are remembered.
    fresh_until: Timestamp,
    /// Users made, by day, the last one today.
    pub enrolments: Vec<(Timestamp, i64)>,
    /// Sessions begun, by day.
    pub sign_ins: Vec<(Timestamp, i64)>,
    /// Mails of the last 24 hours, by state.
    pub mails: Vec<(State, i64)>,
    /// Mails that wait, and since when the oldest does.
    pub waiting: (i64, Option<Timestamp>),
    /// Keys that have called older dates of the partner API than the newest: which, and when they last did.
    pub old_keys: Vec<(Key, String, Timestamp)>,
    /// Keys that end soon.
    pub ending_keys: Vec<Key>,
    /// Webhooks to which nothing is sent any more: their addresses are gone, or somebody said so.
    pub disabled_webhooks: Vec<Endpoint>,
    /// The other webhooks that do not answer.
    pub silent_webhooks: Vec<Silent>,
    /// How many changes for billing were given up.
    pub failed_billing: i64,
    /// How many imports were broken off in [`BROKEN_FOR`].
    pub broken_imports: i64,
}

/// A webhook that does not answer as it should.
pub struct Silent {
    /// Which one.
    pub webhook: Endpoint,
    /// How many deliveries were given up in the last 24 hours.
    pub given_up: i64,
    /// Since when the oldest delivery waits, if that is long.
    pub late_since: Option<Timestamp>,
}

/// A webhook that is late, or has made deliveries given up.
fn silent(tx: &Tx, webhook: Endpoint) -> Result<Option<Silent>> {
    let now = tx.now();
    let given_up = webhooks::given_up(tx, webhook.id, now - LATELY)?;
    let late_since = webhooks::waiting(tx, webhook.id)?.1.filter(|since| now - webhooks::LATE > *since);
    Ok((given_up > 0 || late_since.is_some()).then_some(Silent { webhook, given_up, late_since }))
}

/// Reads the numbers of an environment.
///
/// # Errors
/// The database does not answer.
pub fn of(tx: &Tx, environment: &Environment, newest_date: &str) -> Result<Glance> {
    let (now, watch) = (tx.now(), Stopwatch::start());
    let today = now.0.div_euclid(DAY);
    let first = Timestamp((today - DAYS + 1) * DAY);
    let every_day = |counted: Vec<(i64, i64)>| -> Vec<(Timestamp, i64)> {
        let counted: HashMap<i64, i64> = counted.into_iter().collect();
        (today - DAYS + 1..=today)
            .map(|day| day * DAY)
            .map(|begin| (Timestamp(begin), counted.get(&begin).copied().unwrap_or_default()))
            .collect()
    };
    let keys = keys::list(tx)?;
    let keys = keys.into_iter().filter(|key| key.caller.scope.environment == environment.id && key.works(now));
    let keys: Vec<Key> = keys.collect();
    let old_calls = keys::calls_before(tx, newest_date, first)?.into_iter();
    let old = |call: Call| {
        let key = keys.iter().find(|key| key.id == call.key)?;
        Some((key.clone(), call.date, call.last_at))
    };
    let ends = |key: &Key| key.ends_at().is_some_and(|at| at < now + SOON);
    let mut waiting = (0, None);
    for kind in Kind::MAILS {
        let (count, oldest) = outbox::waiting(tx, environment.id, *kind)?;
        waiting = (waiting.0 + count, [waiting.1, oldest].into_iter().flatten().min());
    }
    let endpoints = webhooks::list(tx, Some(environment.id))?.into_iter();
    let (disabled_webhooks, endpoints): (Vec<_>, Vec<_>) = endpoints.partition(|one| one.disabled_at.is_some());
    let silent = endpoints.into_iter().filter_map(|webhook| silent(tx, webhook).transpose());
    let mut glance = Glance {
        fresh_until: now,
        enrolments: every_day(users::made_by_day(tx, environment.id, first)?),
        sign_ins: every_day(sessions::begun_by_day(tx, environment.id, first)?),
        mails: outbox::states_since(tx, environment.id, now - LATELY)?,
        waiting,
        old_keys: old_calls.filter_map(old).collect(),
        ending_keys: keys.iter().filter(|key| ends(key)).cloned().collect(),
        disabled_webhooks,
        silent_webhooks: silent.collect::<Result<_>>()?,
        failed_billing: outbox::count_given_up(tx, environment.id, Kind::BillingSync)?,
        broken_imports: imports::count_broken(tx, environment.id, now - BROKEN_FOR)?,
    };
    glance.fresh_until = now + (watch.elapsed() * WORTH).min(FRESH);
    Ok(glance)
}

/// The numbers that were read a moment ago.
#[derive(Default)]
pub struct Glances(Mutex<HashMap<EnvironmentId, Arc<Glance>>>);

impl Glances {
    /// Those of an environment, if they are fresh.
    pub fn find(&self, environment: EnvironmentId, now: Timestamp) -> Option<Arc<Glance>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&environment).filter(|glance| now < glance.fresh_until).cloned()
    }

    /// Remembers some.
    pub fn note(&self, environment: EnvironmentId, glance: Glance) -> Arc<Glance> {
        let glance = Arc::new(glance);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(environment, Arc::clone(&glance));
        glance
    }
}
