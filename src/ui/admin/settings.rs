//! The settings of an app's environment. For owners only.

use std::time::Duration;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::access::{Owner, Within};
use super::{Frame, limits, quoted};
use crate::api::Api;
use crate::api::body::Form;
use crate::apps::{self, Settings, SignUp};
use crate::billing::{self, Account};
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::mail;
use crate::outbox;
use crate::tokens;
use crate::tokens::signing::{self, Listed, SigningKey};
use crate::ui::page;
use crate::words::Language;

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
    /// What the mail server said to a test, or why there was none.
    tested: Option<std::result::Result<String, String>>,
    sends_mail: bool,
    limits: [limits::Group; 3],
    public_url: &'a str,
    said: &'static str,
    now: Timestamp,
}

impl SettingsPage<'_> {
    fn place(&self) -> String {
        format!("{} --environment {}", self.environment.app, self.environment.kind.as_str())
    }

    /// The line that saves what the form holds.
    fn save(&self) -> String {
        let at = self.environment;
        let (redirect, issuer) = (at.redirect_url.as_deref().unwrap_or_default(), at.issuer.as_str());
        format!(
            "usher app update {} --region {} --redirect-url={} --sign-up {} --issuer={}",
            self.place(),
            at.region,
            quoted(redirect),
            at.sign_up.as_str(),
            quoted(issuer)
        )
    }

    /// The line that saves how the app looks, as the form holds it, and those for its logo.
    fn look(&self) -> String {
        let at = self.environment;
        let update = format!("usher app update {}", at.app);
        let color = at.color.as_ref().map(ToString::to_string).unwrap_or_default();
        let language = at.language.map(Language::tag).unwrap_or_default();
        let mut lines = vec![
            format!(
                "{update} --name={} --color={} --language={}",
                quoted(&at.app_name),
                quoted(&color),
                quoted(language)
            ),
            format!("{update} --logo FILE"),
        ];
        lines.extend(at.logo.as_ref().map(|_| format!("{update} --logo ''")));
        lines.join("\n")
    }

    fn redirects(&self) -> String {
        let at = self.environment;
        let line = |verb: &str, uri: &str| {
            format!("usher app redirect {verb} {} {uri} --environment {}", at.app, at.kind.as_str())
        };
        let removed = self.redirect_uris.iter().map(|uri| line("remove", &quoted(uri)));
        std::iter::once(line("add", "URI")).chain(removed).collect::<Vec<_>>().join("\n")
    }

    fn signing(&self) -> String {
        let works = self.signing_keys.iter().filter(|key| key.revoked_at.is_none());
        let revoke = works.map(|key| format!("usher signing-key revoke {}", quoted(&key.id)));
        let rotate = format!("usher signing-key rotate {} --after 10m", self.place());
        std::iter::once(rotate).chain(revoke).collect::<Vec<_>>().join("\n")
    }

    fn test(&self) -> String {
        let (to, url) = (quoted(&self.frame.who.email), quoted(self.public_url));
        format!("usher mail test {to} --public-url {url} --smtp-url-file /run/secrets/smtp-url")
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
    let said = match query.as_deref().and_then(|query| query.strip_prefix("said=")) {
        Some("saved") => "Saved.",
        Some("added") => "Added. People can be sent back there from now on.",
        Some("removed") => "Removed. Nobody is sent back there any more.",
        Some("looks") => "Saved. Pages and mails look like this from now on.",
        Some("rotated") => "The new key is in the key set, and signs in ten minutes.",
        Some("revoked") => "Revoked, with every token that it signed. A new key signs from now on.",
        Some("retried") => "Queued again. What still fails is given up again.",
        _ => "",
    };
    settings(&api, &here, said, None).await
}

async fn settings(
    api: &Api,
    here: &Within<Owner>,
    said: &'static str,
    tested: Option<std::result::Result<String, String>>,
) -> Result<Response> {
    let id = here.environment.id;
    let read = move |tx: &Tx| {
        let accounts = billing::accounts(tx)?.into_iter().filter(|account| account.environment == id).collect();
        let count = |state| outbox::backlog(tx, outbox::Kind::BillingSync, state).map(|(count, _)| count);
        let billing = (count(outbox::State::Queued)?, count(outbox::State::Failed)?);
        Ok((apps::redirect_uris(tx, id)?, tokens::list(tx, id)?, accounts, billing))
    };
    let (redirect_uris, signing_keys, accounts, billing) = api.store.scan(read).await?;
    let settings = SettingsPage {
        frame: &here.frame,
        environment: &here.environment,
        redirect_uris,
        signing_keys,
        accounts,
        billing,
        tested,
        sends_mail: api.sends_mail,
        limits: limits::all(&api.links, api.sign_ins_per_network),
        public_url: api.links.public_url.as_str(),
        said,
        now: api.store.clock().now(),
    };
    Ok(page(&settings))
}

/// `POST /admin/{appId}/{environment}/settings/app`
pub async fn save(State(api): State<Api>, here: Within<Owner>, form: Form) -> Result<Response> {
    let text = |name: &str| form.sent(name).map(|text| text.trim().to_owned());
    let region = form.get("region").map(|text| apps::region(text.trim())).transpose();
    let settings = Settings {
        region: region.map_err(|rule| Error::bad_request("unknown_region", rule))?,
        redirect_url: text("redirect_url"),
        issuer: text("issuer"),
        sign_up: form.get("sign_up").and_then(SignUp::named),
        ..Settings::default()
    };
    let (origin, place) = (here.caller.origin(), here.environment.clone());
    api.store.write(move |tx| apps::update(tx, origin, place.app, Some(place.kind), &settings)).await?;
    Ok(here.frame.back("settings?said=saved"))
}

/// `POST /admin/{appId}/{environment}/settings/test-mail`: to the administrator themselves. The answer has the server's words.
pub async fn test_mail(State(api): State<Api>, here: Within<Owner>) -> Result<Response> {
    let smtp = api.smtp.clone().ok_or(Error::NotNow { code: "no_mail_server", message: "No mail server is set up" })?;
    let (origin, environment) = (here.caller.origin(), here.environment.id);
    api.store.write(move |tx| mail::note_test(tx, environment, origin)).await?;
    let tested = smtp.test(&here.frame.who.email).await;
    settings(&api, &here, "", Some(tested)).await
}

/// `POST /admin/{appId}/{environment}/settings/billing/retry`: what was given up in this environment.
pub async fn retry_billing(State(api): State<Api>, here: Within<Owner>) -> Result<Response> {
    let (origin, environment) = (here.caller.origin(), here.environment.id);
    // Some at a time, so that nobody else waits for all of them.
    while api.store.write(move |tx| billing::retry(tx, origin, Some(environment), None)).await? > 0 {}
    api.outbox.wake();
    Ok(here.frame.back("settings?said=retried"))
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

/// `POST /admin/{appId}/{environment}/settings/signing-keys/revoke`
pub async fn revoke_signing_key(State(api): State<Api>, here: Within<Owner>, form: Form) -> Result<Response> {
    super::typed(&form, "revoke")?;
    let (origin, environment) = (here.caller.origin(), here.environment.id);
    let id = form.get("key").unwrap_or_default().to_owned();
    let next = SigningKey::generate()?;
    let revoke = move |tx: &Tx| {
        if !tokens::list(tx, environment)?.iter().any(|key| key.id == id) {
            return Err(Error::NotFound("There is no such signing key"));
        }
        signing::revoke(tx, origin, &id, &next)
    };
    api.store.write(revoke).await?;
    Ok(here.frame.back("settings?said=revoked"))
}
