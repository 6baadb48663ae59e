//! An endpoint: where events of one environment, or of one tenant of it, go to.

use serde_json::{Value, json};
use url::Url;

use super::sign::Keys;
use super::{EndpointId, Kind};
use crate::apps::EnvironmentId;
use crate::caller::Scope;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::tenants::TenantId;
use crate::users::Email;

/// The longest address.
const LONGEST: usize = 2048;

/// The address of an endpoint. May hold a secret of the receiver's.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

crate::secret::redacted!(Address);

impl Address {
    /// Reads an address. Where it leads is judged when it is dialled.
    ///
    /// # Errors
    /// What must be changed about it.
    pub fn new(text: &str) -> std::result::Result<Address, &'static str> {
        const RULE: &str = "must be an http:// or https:// address of at most 2048 characters, percent-encoded, \
             without user, password and #";
        let url = Url::parse(text).map_err(|_| RULE)?;
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        // More is a host to the parser than can be dialled, braces for example.
        let can_be_a_host = |host: &str| host.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_:[]".contains(&c));
        let sound = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(can_be_a_host)
            && plain
            && text.len().max(url.as_str().len()) <= LONGEST;
        if sound { Ok(Address(url)) } else { Err(RULE) }
    }

    /// An address as the database holds it, which a rule of today does not keep from being read, changed and removed.
    pub(super) fn stored(text: &str) -> Result<Address> {
        Url::parse(text).map(Address).map_err(|_| Error::Integrity)
    }

    /// The host, which is no secret.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What a new endpoint is to be.
#[derive(Clone, Debug)]
pub struct New {
    /// Where events go to.
    pub address: Address,
    /// What it is called.
    pub name: String,
    /// What it listens to; everything if empty.
    pub events: Vec<Kind>,
    /// The API date whose shapes it gets.
    pub api_version: String,
    /// Who gets a mail when it is disabled because it is gone.
    pub contact: Option<Email>,
}

/// What about an endpoint is to be changed.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Where events go to.
    pub address: Option<Address>,
    /// What it is called.
    pub name: Option<String>,
    /// What it listens to; everything if empty.
    pub events: Option<Vec<Kind>>,
    /// The API date whose shapes it gets.
    pub api_version: Option<String>,
    /// Whether it gets anything.
    pub enabled: Option<bool>,
    /// Who gets a mail when it is disabled because it is gone; nobody, if it is `Some(None)`.
    pub contact: Option<Option<Email>>,
}

/// Where events go to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose events it gets.
    pub environment: EnvironmentId,
    /// Only those of this tenant's users.
    pub tenant: Option<TenantId>,
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// What its messages are signed with, the newest first.
    pub keys: Vec<Keys>,
    /// What it listens to; everything if empty.
    pub events: Vec<Kind>,
    /// The API date whose shapes it gets.
    pub api_version: String,
    /// Who gets a mail when it is disabled because it is gone.
    pub contact: Option<Email>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when nothing is sent to it.
    pub disabled_at: Option<Timestamp>,
    /// Why.
    pub disabled_because: Option<String>,
}

impl Endpoint {
    pub(super) fn new(scope: Scope, new: &New, now: Timestamp) -> Endpoint {
        let New { address, name, events, api_version, contact } = new.clone();
        Endpoint {
            id: EndpointId::ordered(now),
            environment: scope.environment,
            tenant: scope.tenant,
            name,
            address,
            keys: vec![Keys::generate()],
            events,
            api_version,
            contact,
            created_at: now,
            disabled_at: None,
            disabled_because: None,
        }
    }

    /// As the audit trail compares it; of what is [`Endpoint::HIDDEN`], it tells only that it changed.
    pub(super) fn show(&self) -> Value {
        let keys: Vec<String> = self.keys.iter().filter_map(|keys| keys.public_key().ok()).collect();
        json!({
            "name": self.name, "host": self.address.host(), "url": self.address.as_str(), "events": self.events,
            "apiVersion": self.api_version, "tenantId": self.tenant, "publicKeys": keys,
            "contact": self.contact.as_ref().map(Email::address), "disabledAt": self.disabled_at,
            "disabledBecause": self.disabled_because,
        })
    }

    /// An address may hold a secret of the receiver's; a contact is a person.
    pub(super) const HIDDEN: [&str; 2] = ["url", "contact"];

    pub(super) fn is_in(&self, scope: Scope) -> bool {
        self.environment == scope.environment && scope.tenant.is_none_or(|tenant| self.tenant == Some(tenant))
    }

    pub(super) fn apply(&mut self, change: Change) {
        self.address = change.address.unwrap_or_else(|| self.address.clone());
        self.name = change.name.unwrap_or_else(|| std::mem::take(&mut self.name));
        self.events = change.events.unwrap_or_else(|| std::mem::take(&mut self.events));
        self.api_version = change.api_version.unwrap_or_else(|| std::mem::take(&mut self.api_version));
        self.contact = change.contact.unwrap_or_else(|| self.contact.take());
        if change.enabled == Some(true) {
            (self.disabled_at, self.disabled_because) = (None, None);
        }
    }

    pub(super) fn must_be_enabled(&self) -> Result<()> {
        match self.disabled_at {
            None => Ok(()),
            Some(_) => Err(Error::bad_request("webhook_disabled", "This webhook is disabled; enable it first")),
        }
    }
}

/// What announcing needs to know of an endpoint.
pub(super) struct Listener {
    pub(super) id: EndpointId,
    pub(super) tenant: Option<TenantId>,
    pub(super) events: Vec<Kind>,
    pub(super) disabled: bool,
}

impl Listener {
    pub(super) fn hears(&self, kind: Kind, tenant: Option<TenantId>) -> bool {
        (self.events.is_empty() || self.events.contains(&kind)) && (self.tenant.is_none() || self.tenant == tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_http_with_a_host_and_nothing_that_hides_where_it_leads() {
        for good in
            ["https://hooks.example.com/in?token=x", "http://127.1:9000/", "https://[::1]/x", "https://bücher.example"]
        {
            assert!(Address::new(good).is_ok(), "{good}");
        }
        let long = format!("https://a.example/{}", "x".repeat(2048));
        let long_as_stored = format!("https://a.example/{}", "é".repeat(1000));
        for bad in [
            "",
            "hooks.example.com",
            "file:///etc/passwd",
            "ftp://a.b/",
            "gopher://a.b:70/",
            "https://u@a.b/",
            "https://u:p@a.b/",
            "https://@a.b:x/",
            "https://a.b/#x",
            "javascript:alert(1)",
            "https://{tenant}.example.com/",
            "https://a`b.example/",
            &long,
            &long_as_stored,
        ] {
            assert!(Address::new(bad).is_err(), "{bad}");
        }
    }
}
