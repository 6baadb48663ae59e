//! `/v1/analytics/*` of the directory API: who signed in, and which tenants were made, between two days.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::query::Query;
use super::{done, items, tenants as shown, users};
use crate::api::auth::{AppKey, Read};
use crate::api::{Api, reply};
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::place::{self, MOST, Place};
use crate::sessions::{self, LIFETIME};
use crate::tenants::{self, Tenant};
use crate::users::User;

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

/// What is asked for.
struct Asked {
    /// From the first day's beginning to the last day's end.
    span: (Timestamp, Timestamp),
    limit: i64,
    cursor: Option<String>,
    /// What a cursor works for: these days and no others.
    list: String,
}

impl Asked {
    /// Reads a query. The official client sends no days (contract item 64): then it is the last thirty. Nor does it ask for
    /// pages, so one has as many entries as there may be.
    fn read(name: &str, query: Option<&str>, caller: &Caller, now: Timestamp) -> Result<Asked> {
        let mut query = Query::new(query);
        let mut day = |name: &str| {
            query.take(name, "a day, YYYY-MM-DD", |text| Timestamp::parse(text).filter(|_| text.len() == 10))
        };
        let (from, to) = (day("from"), day("to"));
        let (limit, cursor) = (query.limit_or(MOST), query.cursor());
        let span = (from.unwrap_or(now - DAY * 30), to.unwrap_or(now) + DAY);
        let list = format!("{name} {:?} {from:?} {to:?}", caller.scope);
        query.end(Asked { span, limit, cursor, list })
    }

    /// The page that `find` finds, with one entry more than it has, and the place of the next one.
    fn page<T>(
        &self,
        tx: &Tx,
        find: impl FnOnce(Option<Place>, i64) -> Result<Vec<T>>,
        place_of: impl Fn(&T) -> Place,
    ) -> Result<(Vec<T>, Option<String>)> {
        let from = self.cursor.as_ref().map(|cursor| Place::open(tx, &self.list, cursor)).transpose()?;
        let (found, next) = place::page(find(from, self.limit + 1)?, self.limit, place_of);
        Ok((found, next.map(|next| next.seal(tx, &self.list))))
    }
}

/// Who signed in, each person once, the last to do so first.
pub async fn sign_ins(State(api): State<Api>, key: AppKey<Read>, RawQuery(query): RawQuery) -> Result<Response> {
    let (caller, now) = (key.caller, api.store.clock().now());
    let asked = Asked::read("sign-ins", query.as_deref(), &caller, now)?;
    if asked.span.0 + DAY <= now - LIFETIME {
        return Err(Error::bad_request("forgotten_days", "Sign-ins are known of the last 30 days; let from be later"));
    }
    let find = move |tx: &Tx| {
        let find = |place, limit| sessions::sign_ins(tx, caller.scope, asked.span, place, limit);
        asked.page(tx, find, |(_, place)| *place)
    };
    let (found, next) = api.store.scan(find).await?;
    let show = |(user, place): &(User, Place)| {
        json!({
            "id": user.id,
            "lastSignInAt": place.at,
            "daysSinceLastSignIn": (now.0 - place.at.0) / 86_400_000,
            "user": users::show(&caller, user),
        })
    };
    Ok(reply(&done("Sign-ins", &items("analyticsSignIn", found.iter().map(show).collect(), next))))
}

/// Which tenants were made, the newest first.
pub async fn tenants(State(api): State<Api>, key: AppKey<Read>, RawQuery(query): RawQuery) -> Result<Response> {
    let (caller, now) = (key.caller, api.store.clock().now());
    let asked = Asked::read("tenants", query.as_deref(), &caller, now)?;
    let find = move |tx: &Tx| {
        let find = |place, limit| match caller.scope.tenant {
            None => tenants::made_between(tx, caller.scope.environment, asked.span, place, limit),
            Some(own) => {
                let (from, to) = asked.span;
                let is_asked_for = |one: &Tenant| from <= one.created_at && one.created_at < to && place.is_none();
                Ok(tenants::by_id(tx, own)?.into_iter().filter(is_asked_for).collect())
            }
        };
        asked.page(tx, find, |tenant| Place { at: tenant.created_at, id: tenant.id.0 })
    };
    let (found, next) = api.store.scan(find).await?;
    let tenants: Vec<Value> = found.iter().map(|tenant| shown::show(&caller, tenant)).collect();
    Ok(reply(&done("Tenants", &items("analyticsTenant", tenants, next))))
}
