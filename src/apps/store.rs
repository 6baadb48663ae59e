//! The SQL of apps and environments.

use super::{App, AppId, DEFAULT_ISSUER, Environment, EnvironmentId, Kind, Settings};
use crate::db::{Row, Tx, params};
use crate::error::{Error, Result};

const ENVIRONMENT: &str = "SELECT e.id, e.app_id, a.name, e.kind, a.region, e.issuer, e.redirect_url \
     FROM environments e JOIN apps a ON a.id = e.app_id";

pub(super) fn insert(tx: &Tx, app: &App) -> Result<()> {
    tx.add("apps (id, name, region, created_at)", params![app.id, &app.name, app.region, tx.now()])
}

pub(super) fn insert_environment(
    tx: &Tx,
    id: EnvironmentId,
    app: AppId,
    kind: Kind,
    settings: &Settings,
) -> Result<()> {
    let issuer = settings.issuer.as_deref().unwrap_or(DEFAULT_ISSUER);
    let redirect = settings.redirect_url.as_deref().filter(|url| !url.is_empty());
    tx.add("environments (id, app_id, kind, issuer, redirect_url)", params![id, app, kind, issuer, redirect])
}

pub(super) fn update(tx: &Tx, id: AppId, settings: &Settings) -> Result<()> {
    tx.run(
        "UPDATE apps SET name = COALESCE($1, name), region = COALESCE($2, region) WHERE id = $3",
        params![settings.name.as_deref(), settings.region, id],
    )
}

pub(super) fn update_environment(tx: &Tx, id: EnvironmentId, settings: &Settings) -> Result<()> {
    tx.run(
        "UPDATE environments SET issuer = COALESCE($1, issuer), \
         redirect_url = NULLIF(COALESCE($2, redirect_url), '') WHERE id = $3",
        params![settings.issuer.as_deref(), settings.redirect_url.as_deref(), id],
    )
}

/// Notes that the first app is being made. Of several servers that begin together, one gets to do it; the others run
/// again and find it made.
pub fn claim_first(tx: &Tx) -> Result<()> {
    tx.add("meta (name, value)", params!["first_app", tx.now().to_string().into_bytes()])
}

/// Every app, oldest first.
pub fn list(tx: &Tx) -> Result<Vec<App>> {
    let rows = tx.query("SELECT id, name, region FROM apps ORDER BY created_at, id", params![])?;
    rows.iter().map(|row| Ok(App { id: row.get(0)?, name: row.get(1)?, region: row.get(2)? })).collect()
}

/// The environment with that id.
pub fn by_id(tx: &Tx, id: EnvironmentId) -> Result<Environment> {
    let row = tx.query_rare(&format!("{ENVIRONMENT} WHERE e.id = $1"), params![id])?;
    read_environment(&row.ok_or_else(|| Error::internal("a row names an environment that is not there"))?)
}

pub(super) fn environment_of(tx: &Tx, app: AppId, kind: Kind) -> Result<Option<Environment>> {
    let row = tx.query_opt(&format!("{ENVIRONMENT} WHERE e.app_id = $1 AND e.kind = $2"), params![app, kind])?;
    row.as_ref().map(read_environment).transpose()
}

fn read_environment(row: &Row) -> Result<Environment> {
    Ok(Environment {
        id: row.get(0)?,
        app: row.get(1)?,
        app_name: row.get(2)?,
        kind: row.get(3)?,
        region: row.get(4)?,
        issuer: row.get(5)?,
        redirect_url: row.get(6)?,
    })
}
