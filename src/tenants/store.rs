//! The SQL of tenants.

use super::{Facts, Tenant, TenantId};
use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::db::{Row, Tx, params};
use crate::error::{Error, Result};
use crate::field::{Line, restore};
use crate::place::Place;

const TENANT: &str = "SELECT id, environment_id, name, profile, created_at, founder_id, self_named_at FROM tenants";

/// Which tenants are not deleted: an organisation's, whoever comes and goes, and one that somebody made by signing up while
/// anybody of it is there. In the order of the index of a tenant's users, so that no server takes another way to the first;
/// and not EXISTS, for which a server that expects many tenants reads all users beforehand.
const IS_THERE: &str = "(founder_id IS NULL OR (SELECT u.id FROM users u \
     WHERE u.tenant_id = tenants.id AND u.deleted_at IS NULL ORDER BY u.created_at LIMIT 1) IS NOT NULL)";

/// The tenant of that name, deleted or not: the name of one that can come back is taken.
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

/// The tenant of that id, unless deleted.
pub fn by_id(tx: &Tx, id: TenantId) -> Result<Option<Tenant>> {
    one(tx, &format!("{TENANT} WHERE id = $1 AND {IS_THERE}"), id)
}

/// The same, to be changed. Read once it is held: a statement that has waited for the end of the last of its people would still
/// see them.
pub(super) fn by_id_to_change(tx: &Tx, id: TenantId) -> Result<Option<Tenant>> {
    lock(tx, id)?;
    by_id(tx, id)
}

/// A tenant by id, deleted or not: for what names it, such as the record of somebody who was in it.
pub fn any_by_id(tx: &Tx, id: TenantId) -> Result<Option<Tenant>> {
    one(tx, &format!("{TENANT} WHERE id = $1"), id)
}

/// The same, which no other transaction changes or empties until this one ends.
pub(super) fn lock(tx: &Tx, id: TenantId) -> Result<Option<Tenant>> {
    one(tx, &format!("{TENANT} WHERE id = $1{}", tx.for_update()), id)
}

fn one(tx: &Tx, sql: &str, id: TenantId) -> Result<Option<Tenant>> {
    tx.query_opt(sql, params![id])?.as_ref().map(read).transpose()
}

/// The tenants of an environment that were made in a span of time and are not deleted, newest first, from after a place on.
pub fn made_between(
    tx: &Tx,
    environment: EnvironmentId,
    (from, to): (Timestamp, Timestamp),
    place: Option<Place>,
    limit: i64,
) -> Result<Vec<Tenant>> {
    let sql = format!(
        "{TENANT} WHERE environment_id = $1 AND created_at >= $2 AND created_at < $3 AND (created_at, id) < ($4, $5) \
         AND {IS_THERE} ORDER BY created_at DESC, id DESC LIMIT $6"
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

/// Leaves of a tenant its id, which keys and webhooks may name, and that it was somebody's: it stays deleted. It has a name that
/// says nothing.
pub(super) fn empty(tx: &Tx, id: TenantId, name: TenantId) -> Result<()> {
    let sql = "UPDATE tenants SET name = $1, profile = '{}', self_named_at = NULL WHERE id = $2";
    tx.run(sql, params![name.to_string(), id])
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
