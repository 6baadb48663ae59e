//! Who is asking, and how far they can see. Every query for users starts from a [`Scope`].

use rlibphonenumber::Region;
use uuid::Uuid;

use crate::admins::{self, AdminId};
use crate::apps::{AppId, Environment, EnvironmentId, Kind};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::field::Context;
use crate::keys::KeyId;
use crate::roles::{Right, Rights};
use crate::sessions::SessionId;
use crate::tenants::TenantId;
use crate::users::{Email, User, UserId};

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
    /// An administrator, by the dashboard.
    Admin(AdminId),
    /// The operator of the installation, from its command line.
    Operator,
    /// Usher itself, because a day has come, another system said something, or a token was used that must not be.
    Usher,
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
    pub const fn of(actor: Actor) -> Origin {
        Origin { actor, request: None, date: None, test: None }
    }
}

/// Which facts about people a caller is shown, and may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    profile: bool,
    email: bool,
    phone: bool,
}

impl Facts {
    /// All that there are.
    pub const ALL: Facts = Facts { profile: true, email: true, phone: true };

    /// Those that the scopes of a token open (OpenID Connect Core 5.4).
    pub fn of(scopes: &[String]) -> Facts {
        let has = |scope: &str| scopes.iter().any(|s| s == scope);
        Facts { profile: has("profile"), email: has("email"), phone: has("phone") }
    }

    /// Whether the fact of this name is one of them.
    pub fn open(self, name: &str) -> bool {
        match name {
            "email" | "email_verified" => self.email,
            "phone_number" | "phone_number_verified" => self.phone,
            _ => self.profile,
        }
    }

    /// The scopes that open them, with spaces between.
    fn words(self) -> String {
        let all = [(self.profile, "profile"), (self.email, "email"), (self.phone, "phone")];
        all.into_iter().filter(|(open, _)| *open).map(|(_, scope)| scope).collect::<Vec<_>>().join(" ")
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
    /// The session of a person, by their token or on their own page.
    pub session: Option<SessionId>,
    /// What it may do to others than itself.
    pub rights: Rights,
    /// What it is shown of anybody, and may set.
    pub facts: Facts,
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
    /// A person of `environment`, whose role carries `rights` over the others of their tenant, by a token that opens `facts`.
    pub fn person(environment: &Environment, user: &User, rights: Rights, facts: Facts) -> Caller {
        Caller {
            app: environment.app,
            kind: environment.kind,
            scope: Scope { environment: environment.id, tenant: user.tenant },
            actor: Actor::Person(user.id),
            session: None,
            // Without a tenant the scope is the whole environment, which no role reaches.
            rights: if user.tenant.is_some() { rights } else { Rights::NONE },
            facts,
            request: None,
            date: None,
            test: None,
            region: environment.region,
        }
    }

    /// The operator, in one environment.
    pub fn operator(environment: &Environment) -> Caller {
        Caller::over(environment, Actor::Operator, Rights::ALL)
    }

    /// An administrator, in one environment.
    pub fn admin(environment: &Environment, admin: &admins::Admin) -> Caller {
        let rights = if admin.role == admins::Role::ReadOnly { Rights::READ } else { Rights::ALL };
        Caller::over(environment, Actor::Admin(admin.id), rights)
    }

    fn over(environment: &Environment, actor: Actor, rights: Rights) -> Caller {
        Caller {
            app: environment.app,
            kind: environment.kind,
            scope: Scope { environment: environment.id, tenant: None },
            actor,
            session: None,
            rights,
            facts: Facts::ALL,
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

    /// By what leave a person acts, which may be another from one request to the next: their tenant, the rights of their role,
    /// and the facts that their token opens. Empty for others: what a key may do never changes.
    pub fn leave(&self) -> String {
        if self.is_the_app() {
            return String::new();
        }
        let tenant = self.scope.tenant.map(|id| id.to_string()).unwrap_or_default();
        [tenant, self.rights.words(), self.facts.words()].join("\n")
    }

    /// What the fields of the caller's request are judged by.
    pub fn context(&self, now: Timestamp) -> Context {
        Context { region: self.region, today: now.day() }
    }

    /// Whether the caller is this user.
    pub fn is(&self, user: UserId) -> bool {
        self.actor == Actor::Person(user)
    }

    /// Whether it is the app, or the operator, and not a person.
    pub fn is_the_app(&self) -> bool {
        !matches!(self.actor, Actor::Person(_))
    }

    /// Insists that the caller may change anything at all: a token that knows no more than who somebody is may not.
    ///
    /// # Errors
    /// The token's scopes do not open the profile.
    pub fn need_profile(&self) -> Result<()> {
        let message = "This access token only says who somebody is; a change needs one with the scope profile";
        if self.facts.profile { Ok(()) } else { Err(Error::Forbidden { code: "insufficient_scope", message }) }
    }

    /// Insists that the caller is shown the fact of this name: who finds or sorts people by it learns it, and who makes
    /// somebody says it.
    ///
    /// # Errors
    /// The token's scopes do not open it.
    pub fn need_fact(&self, name: &str) -> Result<()> {
        let message = "The scopes of this access token do not open a fact that this request needs";
        if self.facts.open(name) { Ok(()) } else { Err(Error::Forbidden { code: "insufficient_scope", message }) }
    }

    /// Insists on a right.
    ///
    /// # Errors
    /// The caller has not got it.
    pub fn need(&self, right: Right) -> Result<()> {
        match self.actor {
            _ if self.rights.has(right) => Ok(()),
            Actor::Person(_) | Actor::Admin(_) => {
                Err(Error::Forbidden { code: "no_right", message: "Your role does not carry this right" })
            }
            _ => Err(Error::Forbidden { code: "read_only_key", message: "This API key may only read" }),
        }
    }

    /// The id of the user that `target` names, if it is the caller or the caller has `right` over others.
    ///
    /// # Errors
    /// `me` without a person, or another user than the person who asks (contract items 46 and 53).
    pub fn resolve(&self, target: Target, right: Right) -> Result<UserId> {
        match (target, self.actor) {
            (Target::Me, Actor::Person(me)) => Ok(me),
            (Target::Id(id), Actor::Person(me)) if id == me => Ok(me),
            (Target::Id(_), Actor::Person(_)) if !self.rights.has(right) => Err(not_yours()),
            (Target::Id(id), _) => self.need(right).map(|()| id),
            (Target::Me, _) => Err(me_needs_token()),
        }
    }

    /// What the caller is told of a user that they do not see: the same whether or not there is one.
    pub fn not_seen(&self) -> Error {
        if self.is_the_app() { Error::UserNotFound } else { not_yours() }
    }
}

/// What a person is told who names another user, whether or not there is one.
pub fn not_yours() -> Error {
    Error::Forbidden { code: "not_yours", message: "This is not within the reach of your access token" }
}

/// What a key is told that says `me`.
pub fn me_needs_token() -> Error {
    Error::bad_request("me_needs_token", "`me` needs an access token; with an API key send the UUID")
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
