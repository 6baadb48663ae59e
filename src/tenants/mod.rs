//! Tenants: groups of users inside an environment. A partner is a tenant with keys of its own.
//!
//! One that somebody made by signing up is theirs: deleted while everybody of it is, and there again with whoever is restored.

pub mod company;
mod store;

pub use store::{any_by_id, by_id, made_between, newest_organisations};

use std::time::Duration;

use rlibphonenumber::Region;
use serde_json::{Map, Value};

use crate::apps::EnvironmentId;
use crate::audit::{self, Action, Changes};
use crate::caller::{Actor, Caller, Origin, me_needs_token, not_yours};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type};
use crate::error::{Error, Result};
use crate::field::{Context, Field, FilledLine, Line, Wire, wire};
use crate::limits::Limit;
use crate::roles::Right;
use crate::users::{self, UserId};
pub use company::Company;

id_type!(
    /// A tenant of one environment.
    TenantId
);

/// The facts about a tenant: a whole record, or the part of it that a change sets.
#[derive(Clone, Default, PartialEq)]
pub struct Facts {
    /// What it is called, unique in the environment.
    pub name: Option<Line<256>>,
    /// What it says of itself besides.
    pub company: Company,
}

crate::secret::redacted!(Facts);

wire! {
    /// The fact with a column of its own.
    const IDENTITY: Facts {
        /// What the tenant is called, unique in the environment.
        "name" name: FilledLine<256>,
    }
}

impl Facts {
    /// Every field, in the documented order.
    pub fn fields() -> impl Iterator<Item = &'static Wire<Facts>> {
        IDENTITY.iter().chain(Company::FIELDS)
    }

    /// Every field with what is known, as the directory API names them.
    pub fn show(&self) -> Map<String, Value> {
        Facts::fields().map(|wire| (wire.name.to_owned(), (wire.show)(self).unwrap_or_default())).collect()
    }
}

/// A tenant.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Where it lives.
    pub environment: EnvironmentId,
    /// What is known about it; `facts.name` is always there.
    pub facts: Facts,
    /// Who made it by signing up: then it is about them, and goes with them.
    pub founder: Option<UserId>,
    /// Since when it has a name that it was given from within: by somebody who belongs to it, or by a key bound to it.
    pub self_named_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Tenant {
    /// What [`find`] finds it by: its name, or its id if that was given from within.
    pub fn handle(&self) -> String {
        let name = self.facts.name.as_ref().filter(|_| self.self_named_at.is_none());
        name.map_or_else(|| self.id.to_string(), |name| name.0.clone())
    }
}

/// The tenant that somebody names who may make tenants: as [`find`] has it, made if it is new.
///
/// # Errors
/// The name is empty, more than one line or, if it is new, not one that the API would take; and those of [`find`].
pub fn named(tx: &Tx, environment: EnvironmentId, origin: Origin, name: &str) -> Result<TenantId> {
    wanted(tx, environment, name)?.map_or_else(|| make(tx, environment, origin, name, None), Ok)
}

/// The tenant that [`named`] would give, if it would not have to make it.
///
/// # Errors
/// Those of [`named`].
pub fn wanted(tx: &Tx, environment: EnvironmentId, name: &str) -> Result<Option<TenantId>> {
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(Error::operator("a tenant's name must be one line with something in it."));
    }
    let found = find(tx, environment, name)?;
    // Only of a new one: what a tenant is called, it is found by.
    if found.is_none() {
        // A line is read the same in every region.
        let context = Context { region: Region::US, today: tx.now().day() };
        let line = FilledLine::<256>::parse(&name.into(), &context);
        line.map_err(|fault| Error::operator(format!("{}.", fault.at("a tenant's name").message)))?;
    }
    Ok(found)
}

/// Makes the tenant of somebody who signs up.
///
/// # Errors
/// The database refuses.
pub(crate) fn found(tx: &Tx, environment: EnvironmentId, origin: Origin, founder: UserId) -> Result<TenantId> {
    make(tx, environment, origin, &founder.to_string(), Some(founder))
}

fn make(tx: &Tx, environment: EnvironmentId, origin: Origin, name: &str, founder: Option<UserId>) -> Result<TenantId> {
    let facts = Facts { name: Some(Line(name.to_owned())), ..Facts::default() };
    let (self_named_at, created_at) = (founder.map(|_| tx.now()), tx.now());
    let tenant = Tenant { id: TenantId::random(), environment, facts, founder, self_named_at, created_at };
    store::insert(tx, &tenant)?;
    note(tx, origin, Action::TenantCreated, &tenant, &Changes::of_field("name", Value::Null, name))?;
    Ok(tenant.id)
}

/// What is noted of a founder's tenant is theirs too: it goes with them.
fn note(tx: &Tx, origin: Origin, action: Action, tenant: &Tenant, changes: &Changes) -> Result<()> {
    let whose = audit::Whose { environment: tenant.environment, user: tenant.founder };
    audit::record_changes_of(tx, whose, origin, action, tenant.id.0, changes)
}

/// Takes out what a founder's tenant says, once nobody is in it any more, and says who that was. While others are, it is
/// theirs; and an organisation's stays as it is.
///
/// # Errors
/// The database refuses.
pub(crate) fn forget(tx: &Tx, id: TenantId) -> Result<Option<UserId>> {
    // Looked at first: of an organisation's tenant, whose users come and go, nobody is kept waiting.
    if any_by_id(tx, id)?.is_none_or(|tenant| tenant.founder.is_none()) {
        return Ok(None);
    }
    let held = store::lock(tx, id)?.filter(|tenant| tenant.founder.is_some());
    let Some(tenant) = held else { return Ok(None) };
    if store::has_users(tx, id)? {
        return Ok(None);
    }
    // Nobody keeps what is about others by having called theirs by this id.
    let is_free = store::by_name(tx, tenant.environment, &id.to_string())?.is_none_or(|other| other.id == id);
    store::empty(tx, id, if is_free { id } else { TenantId::random() })?;
    Ok(tenant.founder)
}

/// The tenant of that id or name, if there is one. Who belongs to a tenant may call it what they like, also by a name that an
/// organisation is going to have: one that was named from within is found by its id alone.
///
/// # Errors
/// The name is one that a tenant was given from within, or the tenant is deleted.
pub fn find(tx: &Tx, environment: EnvironmentId, name: &str) -> Result<Option<TenantId>> {
    let Some((tenant, is_by_id)) = look_up(tx, environment, name)? else { return Ok(None) };
    let id = tenant.id;
    if by_id(tx, id)?.is_some() {
        return meant(&tenant, is_by_id).map(Some);
    }
    Err(Error::operator(if store::has_users(tx, id)? {
        format!(
            "the tenant {id} is deleted, for everybody is who was in it. `GET /v1/users?tenant={id}&status=deleted` and \
             `usher export --tenant={id} --status=deleted` list them: restore one of them, or erase them all, which \
             makes the name free; or choose another tenant."
        )
    } else {
        format!("the tenant {id} is deleted, and everybody who was in it is erased. Choose another tenant.")
    }))
}

/// The same, deleted or not.
///
/// # Errors
/// The name is one that a tenant was given from within.
pub fn find_any(tx: &Tx, environment: EnvironmentId, name: &str) -> Result<Option<TenantId>> {
    look_up(tx, environment, name)?.map(|(tenant, is_by_id)| meant(&tenant, is_by_id)).transpose()
}

fn meant(tenant: &Tenant, is_by_id: bool) -> Result<TenantId> {
    let id = tenant.id;
    if tenant.self_named_at.is_some() && !is_by_id {
        return Err(Error::operator(format!(
            "the tenant {id} has given itself this name, so it is found by its id alone. If you mean that tenant, use \
             the id; otherwise choose another name, or give that tenant another one (`PUT /v1/tenants/{id}` with a key \
             of the app)."
        )));
    }
    Ok(id)
}

/// The tenant of that id or else of that name, deleted or not, and whether it is by its id.
fn look_up(tx: &Tx, environment: EnvironmentId, name: &str) -> Result<Option<(Tenant, bool)>> {
    let of_id = name.parse().map_or(Ok(None), |id| any_by_id(tx, id))?;
    if let Some(tenant) = of_id.filter(|tenant| tenant.environment == environment) {
        return Ok(Some((tenant, true)));
    }
    Ok(store::by_name(tx, environment, name)?.map(|tenant| (tenant, false)))
}

/// The tenant that the caller names: one by id, or a person's own (`None`).
///
/// # Errors
/// There is none within the caller's reach, or a key says `me`.
pub fn resolve(tx: &Tx, caller: &Caller, id: Option<TenantId>) -> Result<Tenant> {
    get(tx, caller, named_by(caller, id)?)
}

fn named_by(caller: &Caller, id: Option<TenantId>) -> Result<TenantId> {
    match (id, caller.actor, caller.scope.tenant) {
        (Some(id), ..) => Ok(id),
        (None, Actor::Person(_), Some(own)) => Ok(own),
        (None, Actor::Person(_), None) => Err(Error::NotFound("You belong to no tenant")),
        (None, ..) => Err(me_needs_token()),
    }
}

/// The tenant of that id, if it is within the caller's reach.
///
/// # Errors
/// It is not, or there is none: the same to the caller.
pub fn get(tx: &Tx, caller: &Caller, id: TenantId) -> Result<Tenant> {
    reach(tx, caller, id, by_id)
}

/// The same, deleted or not: for who asks for those who were in it.
///
/// # Errors
/// As [`get`].
pub fn get_any(tx: &Tx, caller: &Caller, id: TenantId) -> Result<Tenant> {
    reach(tx, caller, id, any_by_id)
}

fn reach(tx: &Tx, caller: &Caller, id: TenantId, read: fn(&Tx, TenantId) -> Result<Option<Tenant>>) -> Result<Tenant> {
    let not_seen = || if caller.is_the_app() { Error::NotFound("Tenant not found") } else { not_yours() };
    let reached = match (caller.actor, caller.scope.tenant) {
        (Actor::Person(_), own) => own == Some(id),
        (_, bound) => bound.is_none_or(|bound| bound == id),
    };
    let found = if reached { read(tx, id)? } else { None };
    found.filter(|tenant| tenant.environment == caller.scope.environment).ok_or_else(not_seen)
}

/// How often those of a tenant may try to give it another name: each time they learn whether another tenant has it.
pub const ATTEMPTS: Limit = Limit { what: "tenant name", most: 20, span: Duration::from_hours(24) };

/// Counts that a person wants a name that their tenant has not got.
///
/// # Errors
/// [`Error::TooMany`].
pub fn count_attempt(tx: &Tx, caller: &Caller, id: Option<TenantId>, wanted: Option<&Line<256>>) -> Result<()> {
    let (Actor::Person(_), Some(own), Some(wanted)) = (caller.actor, caller.scope.tenant, wanted) else {
        return Ok(());
    };
    // Who may not do it at all learns nothing by it, and is told so by the operation.
    if !caller.rights.has(Right::ManageTenant) || id.is_some_and(|id| id != own) {
        return Ok(());
    }
    let has_it = any_by_id(tx, own)?.is_some_and(|tenant| tenant.facts.name.as_ref() == Some(wanted));
    if has_it || ATTEMPTS.take(tx, own.0.as_bytes())? {
        Ok(())
    } else {
        Err(Error::TooMany("Too many names were tried for your tenant. Try again tomorrow."))
    }
}

/// Changes a tenant, and says what is different. A name is from within if whoever gives it is bound to the tenant; the same name
/// said again, as by who sends back what they have read, changes nothing about that.
///
/// # Errors
/// No such tenant within reach, no right to change it, or the name, or a tenant's id that it is, belongs to another.
pub fn update(tx: &Tx, caller: &Caller, id: Option<TenantId>, change: Facts) -> Result<Changes> {
    caller.need(Right::ManageTenant)?;
    let before = reach(tx, caller, named_by(caller, id)?, store::by_id_to_change)?;
    // Who was erased a moment ago writes nothing about themselves any more.
    if let Actor::Person(me) = caller.actor {
        users::any_by_id(tx, me)?.ok_or_else(not_yours)?.admit()?;
    }
    let mut after = before.clone();
    after.facts.name = change.name.or(after.facts.name);
    after.facts.company.merge(change.company);
    if after.facts == before.facts {
        return Ok(Changes::between(&Value::Null, &Value::Null));
    }
    if let Some(name) = after.facts.name.as_ref().filter(|name| before.facts.name.as_ref() != Some(*name)) {
        if finds_another(tx, &before, &name.0)? {
            return Err(name_taken());
        }
        after.self_named_at = caller.scope.tenant.map(|_| tx.now());
    }
    store::update(tx, &after)?;
    let changes = Changes::between(&before.facts.show().into(), &after.facts.show().into());
    let noted = changes.hiding(Company::FIELDS.iter().map(|wire| wire.name));
    note(tx, caller.origin(), Action::TenantUpdated, &after, &noted)?;
    Ok(changes)
}

/// Whether another tenant of the environment is found by that: it has that name, or that id.
fn finds_another(tx: &Tx, tenant: &Tenant, name: &str) -> Result<bool> {
    let found = look_up(tx, tenant.environment, name)?;
    Ok(found.is_some_and(|(other, _)| other.id != tenant.id))
}

fn name_taken() -> Error {
    Error::NotNow { code: "tenant_name_taken", message: "A tenant of that name exists" }
}
