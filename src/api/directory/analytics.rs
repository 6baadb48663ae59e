//! `/v1/analytics/*` of the directory API: who signed in, and which tenants were made, between two days.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::query::Query;
use super::{done, items, tenants as shown, users};
use crate::api::auth::{AppKey, Read};
use crate::api::{Api, reply};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::place::MOST;
use crate::sessions::{self, LIFETIME};
use crate::tenants;

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

/// From the first day's beginning to the last day's end. The official client sends neither (contract item 64): then it
/// is the last thirty days.
fn days(query: Option<&str>, now: Timestamp) -> Result<(Timestamp, Timestamp)> {
    let mut query = Query::new(query);
    let mut day =
        |name: &str| query.take(name, "a day, YYYY-MM-DD", |text| Timestamp::parse(text).filter(|_| text.len() == 10));
    let (from, to) = (day("from"), day("to"));
    query.end((from.unwrap_or(now - DAY * 30), to.unwrap_or(now) + DAY))
}

/// The newest sign-ins, one for each person.
pub async fn sign_ins(State(api): State<Api>, key: AppKey<Read>, RawQuery(query): RawQuery) -> Result<Response> {
    let (caller, now) = (key.caller, api.store.clock().now());
    let (from, to) = days(query.as_deref(), now)?;
    if from + DAY <= now - LIFETIME {
        return Err(Error::bad_request("forgotten_days", "Sign-ins are known of the last 30 days; let from be later"));
    }
    let found = api.store.scan(move |tx| sessions::sign_ins(tx, caller.scope, from, to, MOST)).await?;
    let show = |(user, at): &(crate::users::User, Timestamp)| {
        json!({
            "id": user.id,
            "lastSignInAt": at,
            "daysSinceLastSignIn": (now.0 - at.0) / 86_400_000,
            "user": users::show(&caller, user),
        })
    };
    Ok(reply(&done("Sign-ins", &items("analyticsSignIn", found.iter().map(show).collect(), None))))
}

/// The newest tenants.
pub async fn tenants(State(api): State<Api>, key: AppKey<Read>, RawQuery(query): RawQuery) -> Result<Response> {
    let (caller, now) = (key.caller, api.store.clock().now());
    let (from, to) = days(query.as_deref(), now)?;
    let found = move |tx: &Tx| match caller.scope.tenant {
        None => tenants::made_between(tx, caller.scope.environment, from, to, MOST),
        Some(own) => Ok(tenants::by_id(tx, own)?
            .into_iter()
            .filter(|one| from <= one.created_at && one.created_at < to)
            .collect()),
    };
    let tenants: Vec<Value> = api.store.scan(found).await?.iter().map(shown::show).collect();
    Ok(reply(&done("Tenants", &items("analyticsTenant", tenants, None))))
}
