//! The SQL of tenants.

use super::TenantId;
use crate::apps::EnvironmentId;
use crate::db::{Tx, params};
use crate::error::Result;

pub(super) fn find(tx: &Tx, environment: EnvironmentId, name: &str) -> Result<Option<TenantId>> {
    let row =
        tx.query_opt("SELECT id FROM tenants WHERE environment_id = $1 AND name = $2", params![environment, name])?;
    row.map(|row| row.get(0)).transpose()
}

pub(super) fn insert(tx: &Tx, environment: EnvironmentId, id: TenantId, name: &str) -> Result<()> {
    tx.add("tenants (id, environment_id, name, created_at)", params![id, environment, name, tx.now()])
}
