//! Accounts at Stripe: which environments are connected to which, and what they are reached with.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::store;
use crate::apps::{self, Environment, EnvironmentId};
use crate::audit::{self, Action, Changes};
use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type, words};
use crate::error::{Error, Result};
use crate::secret::Secret;

id_type!(
    /// A Stripe account that an environment is connected to.
    AccountId
);

words! {
    /// The two halves of a Stripe account.
    #[derive(Hash, serde::Deserialize, clap::ValueEnum)]
    pub enum Mode {
        /// For trying out.
        Test = "test",
        /// Where money moves.
        Live = "live",
    }
}

/// Where Stripe is.
pub const STRIPE: &str = "https://api.stripe.com";

/// A connected account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its id, which its webhook's address ends with.
    pub id: AccountId,
    /// The environment whose users are its customers.
    pub environment: EnvironmentId,
    /// Test or live.
    pub mode: Mode,
    /// What it is reached with.
    pub settings: Settings,
    /// Since when.
    pub created_at: Timestamp,
}

impl Account {
    /// As the audit trail compares it; of what is [`Account::HIDDEN`], it tells only that it changed.
    fn show(&self) -> Value {
        let Settings { key, webhook_secret, url } = &self.settings;
        json!({"mode": self.mode, "url": url, "key": key, "webhookSecret": webhook_secret})
    }

    /// What opens a door.
    const HIDDEN: [&str; 2] = ["key", "webhookSecret"];
}

/// What an account is reached with. Stored sealed.
#[derive(Clone, Serialize, Deserialize)]
pub struct Settings {
    pub(super) key: String,
    pub(super) webhook_secret: Option<String>,
    url: String,
}

crate::secret::redacted!(Settings);

impl Settings {
    /// Puts them together; `url` is Stripe's own address, but for tests.
    ///
    /// # Errors
    /// The key is of the other mode, or the address is none.
    pub fn new(mode: Mode, key: &Secret, webhook_secret: Option<&Secret>, url: &str) -> Result<Settings> {
        let other = if mode == Mode::Test { "_live_" } else { "_test_" };
        if !key.expose().starts_with(['s', 'r']) || key.expose().contains(other) {
            return Err(Error::operator(format!(
                "this is not a secret key of {0} mode; Stripe's look like sk_{0}_… or rk_{0}_….",
                mode.as_str()
            )));
        }
        let sound = Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
        if !sound {
            return Err(Error::operator("the address must be an https:// (or http://) one."));
        }
        Ok(Settings {
            key: key.expose().to_owned(),
            webhook_secret: webhook_secret.map(|secret| secret.expose().to_owned()),
            url: url.trim_end_matches('/').to_owned(),
        })
    }

    /// Whether both lead to one account for certain.
    fn open_the_same(&self, other: &Settings) -> bool {
        (&self.key, &self.url) == (&other.key, &other.url)
    }

    /// Where the account is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether Stripe can tell us of customers that were deleted there.
    pub fn hears(&self) -> bool {
        self.webhook_secret.is_some()
    }
}

/// Connects an environment, in place of the account before, if there was one. `is_same` is the operator's word that at Stripe
/// it is the account whose customers its users are.
///
/// # Errors
/// A sandbox, which never reaches live mode; or an account that may be another one than that which has the customers.
pub fn connect(tx: &Tx, environment: &Environment, mode: Mode, settings: &Settings, is_same: bool) -> Result<Account> {
    if environment.kind == apps::Kind::Sandbox && mode == Mode::Live {
        return Err(Error::operator("a sandbox is connected in test mode only."));
    }
    let before = store::of(tx, environment.id, mode)?;
    let is_same = is_same || before.as_ref().is_some_and(|before| before.settings.open_the_same(settings));
    if !is_same && store::any_customer(tx, environment.id, mode)? {
        return Err(Error::operator(
            "users of this environment are customers already, and this key or address may be of another Stripe account. \
             If it is the same account, say --same-account. If it is another one, or the customers are lost, say \
             --forget-customers: they stay where they are, and nobody deletes them there when a user is erased.",
        ));
    }
    let account = Account {
        id: before.as_ref().map_or_else(|| AccountId::ordered(tx.now()), |before| before.id),
        environment: environment.id,
        mode,
        settings: settings.clone(),
        created_at: before.as_ref().map_or(tx.now(), |before| before.created_at),
    };
    if before.is_some() {
        store::update(tx, &account)?;
    } else {
        store::insert(tx, &account)?;
    }
    let before = before.as_ref().map(Account::show).unwrap_or_default();
    note(tx, Action::BillingConnected, &account, &before, &account.show())?;
    Ok(account)
}

/// Notes in the audit trail what an account was, and what it is.
fn note(tx: &Tx, action: Action, account: &Account, before: &Value, after: &Value) -> Result<()> {
    let changes = Changes::between(before, after).hiding(Account::HIDDEN.into_iter());
    audit::record_changes(tx, account.environment, Origin::of(Actor::Operator), action, account.id.0, &changes)
}

/// Disconnects an account. What is queued for it is given up; customers stay as they are at Stripe.
///
/// # Errors
/// There is no such account.
pub fn disconnect(tx: &Tx, id: AccountId) -> Result<()> {
    let account = store::by_id(tx, id)?.ok_or_else(|| {
        Error::operator(format!("there is no account {id}. `usher billing list` shows those that exist."))
    })?;
    store::remove(tx, id)?;
    note(tx, Action::BillingDisconnected, &account, &account.show(), &Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_other_mode_is_refused() {
        let settings = |mode, key: &str| Settings::new(mode, &Secret::new(key), None, STRIPE).is_ok();
        assert!(settings(Mode::Test, "sk_test_1") && settings(Mode::Live, "rk_live_1"));
        assert!(
            !settings(Mode::Test, "sk_live_1") && !settings(Mode::Live, "sk_test_1") && !settings(Mode::Live, "pk")
        );
    }
}
