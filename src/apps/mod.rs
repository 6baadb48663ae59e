//! Apps and their two environments. An app is a product that uses Usher; its id is the client id.

mod brand;
mod store;

pub use brand::{Color, Logo};
pub(crate) use store::lock;
pub use store::{by_id, claim_first, environment_of_redirect, environments, list, logo, redirect_uris};

use rlibphonenumber::{PHONE_NUMBER_UTIL, Region};
use serde_json::{Value, json};

use crate::audit::{self, Action, Changes};
use crate::caller::{Actor, Origin};
use crate::db::{Tx, id_type, words};
use crate::error::{Error, Result};
use crate::tokens::SigningKey;
use crate::words::Language;

id_type!(
    /// An app: `X-CLIENT-ID`, and the `aud` of its tokens.
    AppId
);
id_type!(
    /// Sandbox or live of one app.
    EnvironmentId
);

/// The issuer of tokens unless an environment names another (contract C1: the official browser client knows this
/// one and no other).
pub const DEFAULT_ISSUER: &str = "f0af4569-4d5d-4c20-af95-5a80c74e30a6";

words! {
    /// The two environments of an app.
    #[derive(clap::ValueEnum)]
    pub enum Kind {
        /// For trying out: mail is captured and never leaves.
        Sandbox = "sandbox",
        /// For real people.
        Live = "live",
    }
}

words! {
    /// Whether people may register themselves.
    #[derive(clap::ValueEnum)]
    pub enum SignUp {
        /// Who is no user yet can become one, in a tenant of their own.
        Open = "open",
        /// Somebody has to enrol them.
        Closed = "closed",
    }
}

/// An app as listed.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// The client id.
    #[serde(rename = "clientId")]
    pub id: AppId,
    /// The name people see in mails and on pages.
    pub name: String,
    /// Where its phone numbers are when they do not say, ISO 3166.
    #[serde(serialize_with = "region_code")]
    pub region: Region,
}

fn region_code<S: serde::Serializer>(region: &Region, s: S) -> std::result::Result<S::Ok, S::Error> {
    s.collect_str(region)
}

/// One environment with what its app says of it.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Its id.
    pub id: EnvironmentId,
    /// The app.
    pub app: AppId,
    /// The app's name.
    pub app_name: String,
    /// Sandbox or live.
    pub kind: Kind,
    /// Where phone numbers are when they do not say.
    pub region: Region,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where a person is sent after following a link; the hosted profile page if `None`.
    pub redirect_url: Option<String>,
    /// Whether people may register themselves.
    pub sign_up: SignUp,
    /// The colour of the app's buttons.
    pub color: Option<Color>,
    /// The file name of the app's logo.
    pub logo: Option<String>,
    /// In which language the app writes to people whose own is not known.
    pub language: Option<Language>,
}

impl Environment {
    /// As the audit trail tells of it.
    fn show(&self) -> Value {
        json!({
            "name": self.app_name, "region": self.region.to_string(), "issuer": self.issuer,
            "redirectUrl": self.redirect_url, "signUp": self.sign_up, "language": self.language,
            "color": self.color.map(|color| color.to_string()), "logo": self.logo,
        })
    }
}

/// What `app create` and `app update` may set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The name people see.
    pub name: Option<String>,
    /// ISO 3166 region.
    pub region: Option<Region>,
    /// Where a person is sent after following a link; an empty text takes it away.
    pub redirect_url: Option<String>,
    /// The `iss` of tokens.
    pub issuer: Option<String>,
    /// Whether people may register themselves; closed for a new app.
    pub sign_up: Option<SignUp>,
    /// The colour of buttons; `Some(None)` takes it away.
    pub color: Option<Option<Color>>,
    /// The logo; `Some(None)` takes it away.
    pub logo: Option<Option<Logo>>,
    /// The language for people whose own is not known; `Some(None)` is English.
    pub language: Option<Option<Language>>,
}

/// Makes an app with both environments. `signing_keys` are made outside the transaction, for that takes a while.
///
/// # Errors
/// The settings are not acceptable, or the database refuses.
pub fn create(tx: &Tx, settings: &Settings, signing_keys: &[SigningKey; 2]) -> Result<App> {
    settings.check()?;
    let app = App {
        id: AppId::random(),
        name: settings.name.clone().unwrap_or_else(|| "Default".into()),
        region: settings.region.unwrap_or(Region::US),
    };
    store::insert(tx, &app)?;
    store::update(tx, app.id, settings)?;
    for (kind, signing_key) in Kind::ALL.iter().copied().zip(signing_keys) {
        let environment = EnvironmentId::random();
        store::insert_environment(tx, environment, app.id, kind, settings)?;
        crate::tokens::insert_signing_key(tx, environment, signing_key, tx.now())?;
        let made = by_id(tx, environment)?;
        note(
            tx,
            Origin::of(Actor::Operator),
            Action::AppCreated,
            &made,
            &Changes::between(&Value::Null, &made.show()),
        )?;
    }
    Ok(app)
}

/// Changes an app, and its environment `kind` or both. What is the app's is noted in both.
///
/// # Errors
/// There is no such app, or the settings are not acceptable.
pub fn update(tx: &Tx, origin: Origin, id: AppId, kind: Option<Kind>, settings: &Settings) -> Result<()> {
    settings.check()?;
    let before = Kind::ALL.iter().map(|kind| environment(tx, id, *kind)).collect::<Result<Vec<_>>>()?;
    store::update(tx, id, settings)?;
    for before in before {
        if kind.is_none_or(|only| only == before.kind) {
            store::update_environment(tx, before.id, settings)?;
        }
        let after = environment(tx, id, before.kind)?;
        let (before, now) = (before.show(), after.show());
        if before != now {
            note(tx, origin, Action::AppUpdated, &after, &Changes::between(&before, &now))?;
        }
    }
    Ok(())
}

/// Reads a region that has phone numbers, ISO 3166.
///
/// # Errors
/// It has none; the text is the rule.
pub fn region(text: &str) -> std::result::Result<Region, String> {
    let region = text.parse().ok().filter(|region| PHONE_NUMBER_UTIL.get_country_code_for_region(*region).is_some());
    region.ok_or_else(|| "this is not a region that has phone numbers; write two letters like US or DE".to_owned())
}

/// One environment of an app.
///
/// # Errors
/// There is no such app.
pub fn environment(tx: &Tx, app: AppId, kind: Kind) -> Result<Environment> {
    store::environment_of(tx, app, kind)?.ok_or_else(|| {
        Error::operator(format!("there is no app with the client id {app}. `usher app list` shows those that exist."))
    })
}

/// Lets people be sent back to `uri` after signing in to this environment: this text, character by character.
///
/// # Errors
/// It is no address, or the app has it already.
pub fn add_redirect_uri(tx: &Tx, origin: Origin, environment: &Environment, uri: &str) -> Result<()> {
    check_address(uri)?;
    if store::insert_redirect_uri(tx, environment, uri)? {
        return note(tx, origin, Action::AppUpdated, environment, &Changes::of_field("redirectUri", Value::Null, uri));
    }
    Err(Error::operator("the app has this redirect URI already, maybe in its other environment."))
}

/// Takes a redirect URI away.
///
/// # Errors
/// The environment does not have it.
pub fn remove_redirect_uri(tx: &Tx, origin: Origin, environment: &Environment, uri: &str) -> Result<()> {
    match store::remove_redirect_uri(tx, environment.id, uri)? {
        0 => Err(Error::operator("the environment has no such redirect URI. `usher app redirect list` shows them.")),
        _ => note(tx, origin, Action::AppUpdated, environment, &Changes::of_field("redirectUri", uri, Value::Null)),
    }
}

/// Whether people may be sent there with a code of this environment: the address is registered, or the one that links of mails
/// lead on to.
///
/// # Errors
/// The database does not answer.
pub fn leads_back(tx: &Tx, environment: &Environment, uri: &str) -> Result<bool> {
    let registered = environment_of_redirect(tx, environment.app, uri)?;
    Ok(registered.is_some_and(|place| place.id == environment.id) || environment.redirect_url.as_deref() == Some(uri))
}

fn note(tx: &Tx, origin: Origin, action: Action, environment: &Environment, changes: &Changes) -> Result<()> {
    audit::record_changes(tx, environment.id, origin, action, environment.app.0, changes)
}

fn check_address(text: &str) -> Result<()> {
    match url::Url::parse(text) {
        Ok(url)
            if matches!(url.scheme(), "https" | "http")
                && url.fragment().is_none()
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none() =>
        {
            Ok(())
        }
        _ => Err(Error::operator("a redirect URL must be an absolute https:// (or http://) address without `#`.")),
    }
}

impl Settings {
    fn check(&self) -> Result<()> {
        if self.name.as_ref().is_some_and(|name| name.trim().is_empty() || name.chars().any(char::is_control)) {
            return Err(Error::operator(
                "an app's name must be one line with something in it, as in `usher app create Acme`.",
            ));
        }
        if self.issuer.as_ref().is_some_and(|issuer| issuer.trim().is_empty() || issuer.chars().any(char::is_control)) {
            return Err(Error::operator("an issuer must be one line with something in it."));
        }
        match self.redirect_url.as_deref() {
            None | Some("") => Ok(()),
            Some(text) => check_address(text),
        }
    }
}
