//! Tenants: groups of users inside an environment. A partner is a tenant with keys of its own.

mod store;

use crate::apps::EnvironmentId;
use crate::db::{Tx, id_type};
use crate::error::{Error, Result};

id_type!(
    /// A tenant of one environment.
    TenantId
);

/// The tenant of that name, made if it is new.
///
/// # Errors
/// The name is empty or more than one line.
pub fn named(tx: &Tx, environment: EnvironmentId, name: &str) -> Result<TenantId> {
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(Error::operator("a tenant's name must be one line with something in it."));
    }
    if let Some(id) = store::find(tx, environment, name)? {
        return Ok(id);
    }
    let id = TenantId::random();
    store::insert(tx, environment, id, name)?;
    Ok(id)
}
