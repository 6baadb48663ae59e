//! The settings of an app's environment. For owners only.

use std::time::Duration;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::Frame;
use super::access::{Owner, Within};
use crate::api::Api;
use crate::api::body::Form;
use crate::apps;
use crate::billing::{self, Account};
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::Result;
use crate::outbox;
use crate::tokens;
use crate::tokens::signing::{self, Listed, SigningKey};
use crate::ui::page;

/// How long a new signing key is shown before it signs, so that whoever keeps the key set has it by then.
const SHOWN_BEFORE: Duration = Duration::from_mins(10);

#[derive(Template)]
#[template(path = "admin/settings.html")]
struct SettingsPage<'a> {
    frame: &'a Frame,
    environment: &'a apps::Environment,
    redirect_uris: Vec<String>,
    signing_keys: Vec<Listed>,
    accounts: Vec<Account>,
    /// How many changes wait for the billing provider, and how many were given up.
    billing: (i64, i64),
    sends_mail: bool,
    public_url: &'a str,
    said: &'static str,
    now: Timestamp,
}

impl SettingsPage<'_> {
    fn place(&self) -> String {
        format!("{} --environment {}", self.environment.app, self.environment.kind.as_str())
    }

    fn state(&self, key: &Listed) -> &'static str {
        match key.retires_at {
            _ if key.revoked_at.is_some() => "revoked",
            _ if self.now < key.active_at => "signs soon",
            Some(at) if at <= self.now => "retired",
            Some(_) => "verifies",
            None => "signs",
        }
    }
}

/// `GET /admin/{appId}/{environment}/settings`
pub async fn show(State(api): State<Api>, here: Within<Owner>, RawQuery(query): RawQuery) -> Result<Response> {
    let id = here.environment.id;
    let read = move |tx: &Tx| {
        let accounts = billing::accounts(tx)?.into_iter().filter(|account| account.environment == id).collect();
        let count = |state| outbox::backlog(tx, outbox::Kind::BillingSync, state).map(|(count, _)| count);
        let billing = (count(outbox::State::Queued)?, count(outbox::State::Failed)?);
        Ok((apps::redirect_uris(tx, id)?, tokens::list(tx, id)?, accounts, billing))
    };
    let (redirect_uris, signing_keys, accounts, billing) = api.store.scan(read).await?;
    let said = match query.as_deref().and_then(|query| query.strip_prefix("said=")) {
        Some("added") => "Added. People can be sent back there from now on.",
        Some("removed") => "Removed. Nobody is sent back there any more.",
        Some("looks") => "Saved. Pages and mails look like this from now on.",
        Some("rotated") => "The new key is in the key set, and signs in ten minutes.",
        _ => "",
    };
    let settings = SettingsPage {
        frame: &here.frame,
        environment: &here.environment,
        redirect_uris,
        signing_keys,
        accounts,
        billing,
        sends_mail: api.sends_mail,
        public_url: api.links.public_url.as_str(),
        said,
        now: api.store.clock().now(),
    };
    Ok(page(&settings, None))
}

/// `POST /admin/{appId}/{environment}/settings/redirect-uris`
pub async fn add_redirect_uri(State(api): State<Api>, here: Within<Owner>, form: Form) -> Result<Response> {
    let (origin, environment) = (here.caller.origin(), here.environment.clone());
    let uri = form.get("uri").unwrap_or_default().to_owned();
    api.store.write(move |tx| apps::add_redirect_uri(tx, origin, &environment, &uri)).await?;
    Ok(here.frame.back("settings?said=added"))
}

/// `POST /admin/{appId}/{environment}/settings/redirect-uris/remove`
pub async fn remove_redirect_uri(State(api): State<Api>, here: Within<Owner>, form: Form) -> Result<Response> {
    let (origin, environment) = (here.caller.origin(), here.environment.clone());
    let uri = form.get("uri").unwrap_or_default().to_owned();
    api.store.write(move |tx| apps::remove_redirect_uri(tx, origin, &environment, &uri)).await?;
    Ok(here.frame.back("settings?said=removed"))
}

/// `POST /admin/{appId}/{environment}/settings/signing-keys`
pub async fn rotate_signing_key(State(api): State<Api>, here: Within<Owner>, form: Form) -> Result<Response> {
    super::typed(&form, "rotate")?;
    let (origin, environment) = (here.caller.origin(), here.environment.id);
    let key = SigningKey::generate()?;
    api.store.write(move |tx| signing::rotate(tx, origin, environment, &key, SHOWN_BEFORE)).await?;
    Ok(here.frame.back("settings?said=rotated"))
}
