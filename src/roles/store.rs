//! The SQL of roles.

use super::{Rights, Role, RoleId};
use crate::apps::EnvironmentId;
use crate::db::{Row, Tx, params};
use crate::error::{Error, Result};

const ROLE: &str = "SELECT id, name, rights FROM roles WHERE environment_id = $1";

pub(super) fn insert(tx: &Tx, environment: EnvironmentId, role: &Role) -> Result<bool> {
    tx.insert(
        "roles (id, environment_id, name, rights, created_at)",
        params![role.id, environment, &role.name, role.rights.words(), tx.now()],
    )
}

pub(super) fn find(tx: &Tx, environment: EnvironmentId, id: RoleId) -> Result<Option<Role>> {
    tx.query_rare(&format!("{ROLE} AND id = $2"), params![environment, id])?.as_ref().map(read).transpose()
}

/// The roles that an environment has of its own, oldest first.
pub fn all(tx: &Tx, environment: EnvironmentId) -> Result<Vec<Role>> {
    tx.query(&format!("{ROLE} ORDER BY created_at, id"), params![environment])?.iter().map(read).collect()
}

/// A role of any environment, and where it is.
pub(super) fn any_to_remove(tx: &Tx, id: RoleId) -> Result<Option<(EnvironmentId, Role)>> {
    let sql = format!("SELECT id, name, rights, environment_id FROM roles WHERE id = $1{}", tx.for_update());
    tx.query_opt(&sql, params![id])?.map(|row| Ok((row.get(3)?, read(&row)?))).transpose()
}

pub(super) fn remove(tx: &Tx, id: RoleId) -> Result<()> {
    tx.change_one("DELETE FROM roles WHERE id = $1", params![id])
}

fn read(row: &Row) -> Result<Role> {
    let rights: String = row.get(2)?;
    Ok(Role { id: row.get(0)?, name: row.get(1)?, rights: Rights::named(&rights).ok_or(Error::Integrity)? })
}
