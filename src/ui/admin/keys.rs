//! Keys: made, shown once, replaced, moved to another API date and revoked. For owners only.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;

use super::access::{Owner, Within};
use super::{Frame, span_of};
use crate::api::Api;
use crate::api::body::Form;
use crate::api::versions::ApiDate;
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::keys::{self, Access, Key, KeyId, NewKey};
use crate::secret::Secret;
use crate::ui::page;

type Place = Path<(String, String, String)>;

#[derive(Template)]
#[template(path = "admin/keys.html")]
struct KeysPage<'a> {
    frame: &'a Frame,
    keys: Vec<Key>,
    now: Timestamp,
}

impl KeysPage<'_> {
    fn command(&self) -> String {
        format!("usher key create --access write --name NAME --expires 90d{}", self.frame.options())
    }
}

#[derive(Template)]
#[template(path = "admin/key.html")]
struct KeyPage<'a> {
    frame: &'a Frame,
    key: Key,
    said: &'static str,
    now: Timestamp,
}

#[derive(Template)]
#[template(path = "admin/key-made.html")]
struct MadePage<'a> {
    frame: &'a Frame,
    key: &'a Key,
    secret: &'a Secret,
    /// What it takes the place of, which works until then.
    replaces: Option<&'a Key>,
}

/// What it is called, in a list.
fn called(key: &Key) -> &str {
    if key.name.is_empty() { "Without a name" } else { &key.name }
}

fn id(text: &str) -> Result<KeyId> {
    text.parse().map_err(|_| Error::NotFound("There is no such key"))
}

/// `GET /admin/{appId}/{environment}/keys`
pub async fn list(State(api): State<Api>, here: Within<Owner>) -> Result<Response> {
    let environment = here.environment.id;
    let keys = api.store.read(move |tx| keys::of_environment(tx, environment)).await?;
    Ok(page(&KeysPage { frame: &here.frame, keys, now: api.store.clock().now() }))
}

/// `POST /admin/{appId}/{environment}/keys`: the answer holds the key, and nothing else ever does.
pub async fn create(State(api): State<Api>, here: Within<Owner>, form: Form) -> Result<Response> {
    let text = |name: &str| form.get(name).map(str::to_owned);
    let access = form.get("access").and_then(Access::named);
    let new = NewKey {
        name: text("name").unwrap_or_default(),
        access: access.ok_or_else(|| Error::bad_request("no_access", "Choose what the key may do"))?,
        tenant: text("tenant"),
        api_version: form.get("api_version").map(ApiDate::named).transpose()?.map(|date| date.as_str().to_owned()),
        expires_in: form.get("expires").map(span_of).transpose()?,
    };
    let (origin, environment) = (here.caller.origin(), here.environment.clone());
    let (key, secret) = api.store.write(move |tx| keys::create(tx, origin, &environment, &new)).await?;
    Ok(page(&MadePage { frame: &here.frame, key: &key, secret: &secret, replaces: None }))
}

/// `GET /admin/{appId}/{environment}/keys/{keyId}`
pub async fn show(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Place,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (id, environment) = (id(&text)?, here.environment.id);
    let key = api.store.read(move |tx| keys::get(tx, environment, id)).await?;
    let said = match query.as_deref() {
        Some("said=moved") => "Moved. Requests that name no date have the new one from now on.",
        Some("said=revoked") => "Revoked. It stops working within a second.",
        _ => "",
    };
    Ok(page(&KeyPage { frame: &here.frame, key, said, now: api.store.clock().now() }))
}

/// `POST /admin/{appId}/{environment}/keys/{keyId}/rotate`: the answer holds the new key, and nothing else ever does.
pub async fn rotate(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Place,
    form: Form,
) -> Result<Response> {
    let (id, environment, origin) = (id(&text)?, here.environment.id, here.caller.origin());
    let overlap = span_of(form.get("overlap").unwrap_or("24h"))?;
    let rotate = move |tx: &Tx| {
        keys::get(tx, environment, id)?;
        let (key, secret) = keys::rotate(tx, origin, id, overlap)?;
        Ok((key, secret, keys::get(tx, environment, id)?))
    };
    let (key, secret, before) = api.store.write(rotate).await?;
    Ok(page(&MadePage { frame: &here.frame, key: &key, secret: &secret, replaces: Some(&before) }))
}

/// `POST /admin/{appId}/{environment}/keys/{keyId}/move`
pub async fn move_to(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Place,
    form: Form,
) -> Result<Response> {
    let (id, environment, origin) = (id(&text)?, here.environment.id, here.caller.origin());
    let date = ApiDate::named(form.get("api_version").unwrap_or_default())?.as_str();
    let operation = move |tx: &Tx| {
        keys::get(tx, environment, id)?;
        keys::move_to(tx, origin, id, date)
    };
    api.store.write(operation).await?;
    Ok(here.frame.back(&format!("keys/{id}?said=moved")))
}

/// `POST /admin/{appId}/{environment}/keys/{keyId}/revoke`
pub async fn revoke(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Place,
    form: Form,
) -> Result<Response> {
    super::typed(&form, "revoke")?;
    let (id, environment, origin) = (id(&text)?, here.environment.id, here.caller.origin());
    let operation = move |tx: &Tx| {
        keys::get(tx, environment, id)?;
        keys::revoke(tx, origin, id)
    };
    api.store.write(operation).await?;
    Ok(here.frame.back(&format!("keys/{id}?said=revoked")))
}
