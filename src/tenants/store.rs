//! The SQL of tenants.

use super::{Facts, Tenant, TenantId};
use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::db::{Row, Tx, params};
use crate::error::{Error, Result};
use crate::field::{Line, restore};
use crate::place::Place;

const TENANT: &str = "SELECT id, environment_id, name, profile, created_at, founder_id, self_named_at FROM tenants";

pub(super) fn by_name(tx: &Tx, environment: EnvironmentId, name: &str) -> Result<Option<Tenant>> {
    let sql = format!("{TENANT} WHERE environment_id = $1 AND name = $2");
    tx.query_opt(&sql, params![environment, name])?.as_ref().map(read).transpose()
}

pub(super) fn insert(tx: &Tx, tenant: &Tenant) -> Result<()> {
    tx.add(
        "tenants (id, environment_id, name, founder_id, self_named_at, created_at)",
        params![tenant.id, tenant.environment, name(tenant), tenant.founder, tenant.self_named_at, tenant.created_at],
    )
}

fn name(tenant: &Tenant) -> Option<&str> {
    tenant.facts.name.as_ref().map(|name| name.0.as_str())
}

/// The tenant of that id.
pub fn by_id(tx: &Tx, id: TenantId) -> Result<Option<Tenant>> {
    locked(tx, id, "")
}

pub(super) fn locked(tx: &Tx, id: TenantId, for_update: &str) -> Result<Option<Tenant>> {
    tx.query_opt(&format!("{TENANT} WHERE id = $1{for_update}"), params![id])?.as_ref().map(read).transpose()
}

/// The tenants of an environment that were made in a span of time, newest first, from after a place on.
pub fn made_between(
    tx: &Tx,
    environment: EnvironmentId,
    (from, to): (Timestamp, Timestamp),
    place: Option<Place>,
    limit: i64,
) -> Result<Vec<Tenant>> {
    let sql = format!(
        "{TENANT} WHERE environment_id = $1 AND created_at >= $2 AND created_at < $3 AND (created_at, id) < ($4, $5) \
         ORDER BY created_at DESC, id DESC LIMIT $6"
    );
    let place = place.unwrap_or(Place::LAST);
    tx.query(&sql, params![environment, from, to, place.at, place.id, limit])?.iter().map(read).collect()
}

/// The newest tenants of an environment that are not of somebody who has registered themselves.
pub fn newest_organisations(tx: &Tx, environment: EnvironmentId, limit: i64) -> Result<Vec<Tenant>> {
    let sql =
        format!("{TENANT} WHERE environment_id = $1 AND founder_id IS NULL ORDER BY created_at DESC, id DESC LIMIT $2");
    tx.query(&sql, params![environment, limit])?.iter().map(read).collect()
}

pub(super) fn update(tx: &Tx, tenant: &Tenant) -> Result<()> {
    let profile = serde_json::to_string(&tenant.facts.company).map_err(Error::internal)?;
    let sql = "UPDATE tenants SET name = $1, profile = $2, self_named_at = $3 WHERE id = $4";
    tx.change_one(sql, params![name(tenant), profile, tenant.self_named_at, tenant.id]).map_err(|error| match error {
        // Two were given the name at once.
        Error::Unique(_) => super::name_taken(),
        other => other,
    })
}

/// Whether anybody is in it, deleted or not.
pub(super) fn has_users(tx: &Tx, id: TenantId) -> Result<bool> {
    Ok(tx.query_opt("SELECT 1 FROM users WHERE tenant_id = $1 LIMIT 1", params![id])?.is_some())
}

/// Leaves of a tenant its id, which keys and webhooks may name.
pub(super) fn empty(tx: &Tx, id: TenantId) -> Result<()> {
    let sql = "UPDATE tenants SET name = $1, profile = '{}', founder_id = NULL, self_named_at = NULL WHERE id = $2";
    tx.run(sql, params![id.to_string(), id])
}

fn read(row: &Row) -> Result<Tenant> {
    let name: String = row.get(2)?;
    let company = restore(row.get::<String>(3)?.as_bytes())?;
    Ok(Tenant {
        id: row.get(0)?,
        environment: row.get(1)?,
        facts: Facts { name: Some(Line(name)), company },
        founder: row.get(5)?,
        self_named_at: row.get(6)?,
        created_at: row.get(4)?,
    })
}
