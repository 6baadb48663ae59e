//! Who is asking, and how far they can see. Every query for users starts from a [`Scope`].

use rlibphonenumber::Region;
use uuid::Uuid;

use crate::apps::{AppId, Environment, EnvironmentId, Kind};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::field::Context;
use crate::keys::KeyId;
use crate::tenants::TenantId;
use crate::users::{Email, UserId};

/// The users that a caller can see: one environment, or one tenant of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The environment. Nothing crosses it.
    pub environment: EnvironmentId,
    /// The tenant that the caller is bound to, if any.
    pub tenant: Option<TenantId>,
}

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// An API key, which acts for the app or for a tenant of it.
    Key(KeyId),
    /// A person, by an access token or a session of theirs.
    Person(UserId),
    /// The operator of the installation, from its command line.
    Operator,
}

/// Where a change comes from, for the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Who acts.
    pub actor: Actor,
    /// The request's id, if it is one.
    pub request: Option<Uuid>,
    /// The API date that the request goes by, if any.
    pub date: Option<&'static str>,
    /// What the request says about billing: the provider's test mode, or its live one.
    pub test: Option<bool>,
}

impl Origin {
    /// Someone acts, not by a request that has a caller.
    pub fn of(actor: Actor) -> Origin {
        Origin { actor, request: None, date: None, test: None }
    }
}

/// An authenticated caller.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The app.
    pub app: AppId,
    /// Sandbox or live.
    pub kind: Kind,
    /// What the caller can see.
    pub scope: Scope,
    /// Who it is.
    pub actor: Actor,
    /// The id of the request it calls by, once there is one.
    pub request: Option<Uuid>,
    /// The API date that the request goes by, if any.
    pub date: Option<&'static str>,
    /// What that says about billing: the provider's test mode, or its live one.
    pub test: Option<bool>,
    /// Where the app's phone numbers are when they do not say.
    pub region: Region,
}

impl Caller {
    /// A person of `environment`, who acts for themselves.
    pub fn person(environment: &Environment, user: UserId) -> Caller {
        Caller {
            app: environment.app,
            kind: environment.kind,
            scope: Scope { environment: environment.id, tenant: None },
            actor: Actor::Person(user),
            request: None,
            date: None,
            test: None,
            region: environment.region,
        }
    }

    /// What the caller does comes from here.
    pub fn origin(&self) -> Origin {
        Origin { actor: self.actor, request: self.request, date: self.date, test: self.test }
    }

    /// What the fields of the caller's request are judged by.
    pub fn context(&self, now: Timestamp) -> Context {
        Context { region: self.region, today: now.day() }
    }

    /// The id of the user that `target` names.
    ///
    /// # Errors
    /// `me` without a person, or another user than the person who asks (contract items 46 and 53).
    pub fn resolve(&self, target: Target) -> Result<UserId> {
        match (target, self.actor) {
            (Target::Id(id), Actor::Key(_) | Actor::Operator) => Ok(id),
            (Target::Me, Actor::Person(me)) => Ok(me),
            (Target::Id(id), Actor::Person(me)) if id == me => Ok(me),
            (Target::Id(_), Actor::Person(_)) => Err(not_yours()),
            (Target::Me, Actor::Key(_) | Actor::Operator) => Err(Error::bad_request(
                "me_needs_token",
                "`me` needs an access token; with an API key send the user's UUID",
            )),
        }
    }
}

/// What a person is told who names another user, whether or not there is one.
pub fn not_yours() -> Error {
    Error::Forbidden { code: "not_yours", message: "An access token is for its own user only" }
}

/// The user that a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The person who asks.
    Me,
    /// A user by id.
    Id(UserId),
}

impl std::str::FromStr for Target {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "me" => Ok(Target::Me),
            id if id.len() == 36 => id.parse().map(Target::Id).map_err(|_| malformed_id()),
            _ => Err(malformed_id()),
        }
    }
}

/// The user that a request to read is about.
#[derive(Clone, Debug)]
pub enum Name {
    /// By id, or the person who asks.
    Target(Target),
    /// By e-mail address.
    Address(Email),
}

impl std::str::FromStr for Name {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match Email::new(text) {
            Some(email) => Ok(Name::Address(email)),
            None => text.parse().map(Name::Target),
        }
    }
}

fn malformed_id() -> Error {
    Error::bad_request("malformed_id", "The user id in the path must be a UUID, or `me` with an access token")
}
