//! The SQL of apps and environments.

use super::{App, AppId, Color, DEFAULT_ISSUER, Environment, EnvironmentId, Kind, Settings, SignUp};
use crate::db::{Row, Tx, params};
use crate::error::{Error, Result};
use crate::words::Language;

const ENVIRONMENT: &str = "SELECT e.id, e.app_id, a.name, e.kind, a.region, e.issuer, e.redirect_url, e.sign_up, \
     a.color, a.logo, a.language \
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
    let sign_up = settings.sign_up.unwrap_or(SignUp::Closed);
    tx.add(
        "environments (id, app_id, kind, issuer, redirect_url, sign_up)",
        params![id, app, kind, issuer, redirect, sign_up],
    )
}

pub(super) fn update(tx: &Tx, id: AppId, settings: &Settings) -> Result<()> {
    tx.run(
        "UPDATE apps SET name = COALESCE($1, name), region = COALESCE($2, region) WHERE id = $3",
        params![settings.name.as_deref(), settings.region, id],
    )?;
    if let Some(color) = settings.color {
        tx.run("UPDATE apps SET color = $1 WHERE id = $2", params![color.map(|color| color.to_string()), id])?;
    }
    if let Some(language) = settings.language {
        tx.run("UPDATE apps SET language = $1 WHERE id = $2", params![language.map(Language::tag), id])?;
    }
    if let Some(logo) = &settings.logo {
        let (name, bytes) = (logo.as_ref().map(|logo| &logo.name), logo.as_ref().map(|logo| logo.bytes.as_slice()));
        tx.run("UPDATE apps SET logo = $1, logo_bytes = $2 WHERE id = $3", params![name, bytes, id])?;
    }
    Ok(())
}

/// The logo of that file name.
pub fn logo(tx: &Tx, name: &str) -> Result<Option<Vec<u8>>> {
    if name.contains('\0') {
        // No text in the database has it, and to ask for one is an error there.
        return Ok(None);
    }
    let row = tx.query_opt("SELECT logo_bytes FROM apps WHERE logo = $1", params![name])?;
    row.map(|row| row.get(0)).transpose()
}

pub(super) fn update_environment(tx: &Tx, id: EnvironmentId, settings: &Settings) -> Result<()> {
    tx.run(
        "UPDATE environments SET issuer = COALESCE($1, issuer), \
         redirect_url = NULLIF(COALESCE($2, redirect_url), ''), sign_up = COALESCE($3, sign_up) WHERE id = $4",
        params![settings.issuer.as_deref(), settings.redirect_url.as_deref(), settings.sign_up, id],
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

/// Every environment of every app, the oldest app first.
pub fn environments(tx: &Tx) -> Result<Vec<Environment>> {
    let sql = format!("{ENVIRONMENT} ORDER BY a.created_at, a.id, e.kind DESC");
    tx.query(&sql, params![])?.iter().map(read_environment).collect()
}

/// The environment with that id.
pub fn by_id(tx: &Tx, id: EnvironmentId) -> Result<Environment> {
    let row = tx.query_rare(&format!("{ENVIRONMENT} WHERE e.id = $1"), params![id])?;
    read_environment(&row.ok_or_else(|| Error::internal("a row names an environment that is not there"))?)
}

/// Has whoever else locks this environment wait until this transaction is over: of two who take turns, each sees what the one
/// before did.
pub(crate) fn lock(tx: &Tx, id: EnvironmentId) -> Result<()> {
    let sql = format!("SELECT id FROM environments WHERE id = $1{}", tx.for_update());
    tx.query_opt(&sql, params![id]).map(drop)
}

pub(super) fn environment_of(tx: &Tx, app: AppId, kind: Kind) -> Result<Option<Environment>> {
    let row = tx.query_opt(&format!("{ENVIRONMENT} WHERE e.app_id = $1 AND e.kind = $2"), params![app, kind])?;
    row.as_ref().map(read_environment).transpose()
}

/// The environment of the app to which people may be sent back at this address, to the letter.
pub fn environment_of_redirect(tx: &Tx, app: AppId, uri: &str) -> Result<Option<Environment>> {
    if uri.contains('\0') {
        return Ok(None);
    }
    let sql = "SELECT environment_id FROM redirect_uris WHERE app_id = $1 AND uri = $2";
    let row = tx.query_opt(sql, params![app, uri])?;
    row.map(|row| by_id(tx, row.get(0)?)).transpose()
}

/// The redirect URIs of an environment.
pub fn redirect_uris(tx: &Tx, environment: EnvironmentId) -> Result<Vec<String>> {
    let sql = "SELECT uri FROM redirect_uris WHERE environment_id = $1 ORDER BY created_at, uri";
    tx.query(sql, params![environment])?.iter().map(|row| row.get(0)).collect()
}

pub(super) fn insert_redirect_uri(tx: &Tx, environment: &Environment, uri: &str) -> Result<bool> {
    if environment_of_redirect(tx, environment.app, uri)?.is_some() {
        return Ok(false);
    }
    tx.insert(
        "redirect_uris (id, app_id, environment_id, uri, created_at)",
        params![crate::random::ordered_uuid(tx.now()), environment.app, environment.id, uri, tx.now()],
    )
}

pub(super) fn remove_redirect_uri(tx: &Tx, environment: EnvironmentId, uri: &str) -> Result<usize> {
    tx.execute("DELETE FROM redirect_uris WHERE environment_id = $1 AND uri = $2", params![environment, uri])
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
        sign_up: row.get(7)?,
        color: row.get::<Option<String>>(8)?.as_deref().and_then(Color::parse),
        logo: row.get(9)?,
        language: row.get::<Option<String>>(10)?.as_deref().and_then(Language::of_tag),
    })
}
