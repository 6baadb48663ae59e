//! How somebody becomes a user: made by an app, enrolled by a partner, invited by another, registered by themselves, or
//! taken over from elsewhere.

use uuid::Uuid;

use super::{Email, Person, User, UserId, get, refuse_taken, save, store};
use crate::apps::{Environment, EnvironmentId};
use crate::audit::{self, Action, Changes};
use crate::caller::{Actor, Caller, Name, Origin, Scope, Target};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::links::{self, Links};
use crate::random;
use crate::roles::{Right, RoleId};
use crate::tenants;

/// Makes a user. `person.email` must be there.
///
/// # Errors
/// [`Error::EmailTaken`], then [`Error::PhoneTaken`], then [`Error::ExternalIdTaken`]: in this order, whatever the
/// indexes would say first.
pub fn create(tx: &Tx, caller: &Caller, person: Person) -> Result<User> {
    adopt(tx, caller, person, Standing::default())
}

/// How a person stood where they come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Their address was proven to be theirs.
    pub verified: bool,
    /// They may not sign in.
    pub frozen: bool,
    /// What they may do to others of their tenant.
    pub role: Option<RoleId>,
}

/// Makes a user of somebody who was one elsewhere.
///
/// # Errors
/// As [`create`].
pub fn adopt(tx: &Tx, caller: &Caller, person: Person, standing: Standing) -> Result<User> {
    let email = person.email.clone().ok_or_else(|| Error::internal("a user needs an e-mail address"))?;
    let user = User {
        // The directory API's official client takes version 4 only (contract item 56).
        id: UserId(random::ordered_uuid_v4(tx.now())),
        environment: caller.scope.environment,
        tenant: caller.scope.tenant,
        role: standing.role,
        email,
        person,
        email_verified_at: standing.verified.then_some(tx.now()),
        created_at: tx.now(),
        updated_at: tx.now(),
        frozen_at: standing.frozen.then_some(tx.now()),
        deleted_at: None,
        version: 1,
    };
    if !store::insert(tx, &user)? {
        refuse_taken(tx, &user)?;
        return Err(Error::Conflict);
    }
    audit::note(tx, caller.origin(), Action::UserCreated, &user, &Person::default())?;
    Ok(user)
}

/// Somebody who has no record yet, as they would be, under the id that they will have.
pub(crate) fn stranger(tx: &Tx, environment: EnvironmentId, id: UserId, email: Email) -> User {
    User {
        id,
        environment,
        tenant: None,
        role: None,
        person: Person { email: Some(email.clone()), ..Person::default() },
        email,
        email_verified_at: None,
        created_at: tx.now(),
        updated_at: tx.now(),
        frozen_at: None,
        deleted_at: None,
        version: 1,
    }
}

/// Makes a user of somebody who registers themselves and has proven their mailbox, and a tenant that is theirs.
///
/// # Errors
/// As [`create`].
pub(crate) fn register(
    tx: &Tx,
    environment: &Environment,
    id: UserId,
    email: Email,
    request: Option<Uuid>,
) -> Result<User> {
    let origin = Origin { request, ..Origin::of(Actor::Person(id)) };
    let tenant = tenants::found(tx, environment.id, origin, id)?;
    let user = User { tenant: Some(tenant), ..stranger(tx, environment.id, id, email) };
    if !store::insert(tx, &user)? {
        return Err(Error::Conflict);
    }
    audit::note(tx, origin, Action::UserCreated, &user, &Person::default())?;
    let given = Changes::of_field("role", "member", "administrator");
    let user = User { role: Some(RoleId::ADMINISTRATOR), ..user };
    save(tx, user, |tx, user| audit::note_changes(tx, origin, Action::RoleGiven, user, &given))
}

/// Makes a user and the mail with their link, or neither. Who is not said to be pregnant is not (the create page).
///
/// # Errors
/// As [`create`].
pub fn enrol(tx: &Tx, caller: &Caller, mut person: Person, links: &Links) -> Result<User> {
    person.health.pregnant.get_or_insert(false);
    let user = create(tx, caller, person)?;
    links::send(tx, links, &user)?;
    Ok(user)
}

/// Makes a user in the tenant of the one who invites, and the mail with their link.
///
/// # Errors
/// As [`create`], and no such inviter within the caller's reach.
pub fn invite(tx: &Tx, caller: &Caller, inviter: Target, person: Person, links: &Links) -> Result<User> {
    caller.need(Right::InviteUsers)?;
    let inviter = get(tx, caller, &Name::Target(inviter))?;
    let scope = Scope { tenant: inviter.tenant, ..caller.scope };
    let user = create(tx, &Caller { scope, ..*caller }, person)?;
    links::send(tx, links, &user)?;
    Ok(user)
}
