//! Roles: what a person may do to the others of their tenant. Keys have rights too, by their access.
//!
//! Every environment has two roles without a row: who is a member may do nothing to others, an administrator everything.
//! A role reaches no further than the tenant of whoever has it.

mod store;

pub use store::all;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::apps::EnvironmentId;
use crate::audit::{self, Action, Changes};
use crate::caller::{Actor, Caller, Origin, Target};
use crate::db::{Tx, id_type, words};
use crate::error::{Error, Result};
use crate::users::{self, IfMatch, User};

id_type!(
    /// A role of one environment, or one of the two that every environment has.
    RoleId
);

words! {
    /// One thing that may be done to others of the tenant.
    pub enum Right {
        /// See them.
        ReadUsers = "users:read",
        /// Change their profiles.
        WriteUsers = "users:write",
        /// Add people.
        InviteUsers = "users:invite",
        /// Freeze, delete and restore them.
        DeleteUsers = "users:delete",
        /// See and change the metadata that the app keeps of them.
        Metadata = "users:metadata",
        /// Change the tenant, and who has which role in it.
        ManageTenant = "tenant:manage",
    }
}

/// A set of [`Right`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// None at all.
    pub const NONE: Rights = Rights(0);
    /// To see others, and nothing else.
    pub const READ: Rights = Rights(1 << Right::ReadUsers as u8);
    /// Every one.
    pub const ALL: Rights = Rights((1 << Right::ALL.len()) - 1);

    /// Whether `right` is one of them.
    pub fn has(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }

    /// Whether every one of `others` is one of these.
    pub fn cover(self, others: Rights) -> bool {
        self.0 & others.0 == others.0
    }

    /// Their words, with spaces between.
    pub fn words(self) -> String {
        let words: Vec<&str> =
            Right::ALL.iter().filter(|right| self.has(**right)).map(|right| right.as_str()).collect();
        words.join(" ")
    }

    /// Reads what [`Rights::words`] writes; `None` if a word is none of ours.
    pub fn named(words: &str) -> Option<Rights> {
        words.split_whitespace().try_fold(Rights::NONE, |rights, word| {
            Right::named(word).map(|right| Rights(rights.0 | (1 << right as u8)))
        })
    }
}

/// A role.
#[derive(Clone, Debug)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// What it is called.
    pub name: String,
    /// What it carries.
    pub rights: Rights,
}

impl Role {
    /// As the audit trail tells of it.
    fn show(&self) -> Value {
        json!({"name": self.name, "rights": self.rights.words()})
    }
}

impl RoleId {
    /// Who has no other role. Such a user's row names none.
    pub const MEMBER: RoleId = RoleId(Uuid::from_u128(0x6d65_6d62_6572_4000_8000_0000_0000_0001));
    /// Who may do everything in their tenant.
    pub const ADMINISTRATOR: RoleId = RoleId(Uuid::from_u128(0x6164_6d69_6e00_4000_8000_0000_0000_0002));
}

/// The roles that every environment has.
fn built_in() -> [Role; 2] {
    [
        Role { id: RoleId::MEMBER, name: "member".into(), rights: Rights::NONE },
        Role { id: RoleId::ADMINISTRATOR, name: "administrator".into(), rights: Rights::ALL },
    ]
}

/// Every role of an environment: the two built-in ones, then its own.
///
/// # Errors
/// The database does not answer.
pub fn list(tx: &Tx, environment: EnvironmentId) -> Result<Vec<Role>> {
    Ok(built_in().into_iter().chain(all(tx, environment)?).collect())
}

/// What a user's role carries: nothing without a tenant, for a role reaches no further.
///
/// # Errors
/// The database does not answer.
pub fn rights_of(tx: &Tx, user: &User) -> Result<Rights> {
    match (user.role, user.tenant) {
        (None, _) | (_, None) => Ok(Rights::NONE),
        (Some(RoleId::ADMINISTRATOR), _) => Ok(Rights::ALL),
        (Some(id), _) => Ok(store::find(tx, user.environment, id)?.map_or(Rights::NONE, |role| role.rights)),
    }
}

/// Makes a role.
///
/// # Errors
/// The name is taken or not one line.
pub fn create(tx: &Tx, environment: EnvironmentId, name: &str, rights: Rights) -> Result<Role> {
    if name.trim().is_empty() || name.chars().any(char::is_control) || name.chars().count() > 256 {
        return Err(Error::operator("a role's name must be one line of at most 256 characters with something in it."));
    }
    let role = Role { id: RoleId::random(), name: name.trim().to_owned(), rights };
    let taken = list(tx, environment)?.iter().any(|other| other.name == role.name);
    if taken || !store::insert(tx, environment, &role)? {
        return Err(Error::operator("a role of that name exists. `usher role list` shows them."));
    }
    note(tx, environment, Action::RoleCreated, role.id, &Changes::between(&Value::Null, &role.show()))?;
    Ok(role)
}

/// Removes a role. Who has it is a member then.
///
/// # Errors
/// There is no such role, or it is built in.
pub fn remove(tx: &Tx, id: RoleId) -> Result<()> {
    let Some((environment, role)) = store::any_to_remove(tx, id)? else {
        return Err(Error::operator(format!(
            "there is no role {id} of your own making. `usher role list` shows those that exist."
        )));
    };
    store::remove(tx, id)?;
    note(tx, environment, Action::RoleRemoved, id, &Changes::between(&role.show(), &Value::Null))
}

fn note(tx: &Tx, environment: EnvironmentId, action: Action, id: RoleId, changes: &Changes) -> Result<()> {
    audit::record_changes(tx, environment, Origin::of(Actor::Operator), action, id.0, changes)
}

/// Gives a user a role, in place of the one they have.
///
/// # Errors
/// There is no such user or role, or the role or the user's present one carries rights that the caller has not.
pub fn assign(tx: &Tx, caller: &Caller, target: Target, role: RoleId, if_match: &IfMatch) -> Result<User> {
    caller.need(Right::ManageTenant)?;
    let before = users::to_change(tx, caller, target, Right::ManageTenant, if_match)?;
    let roles = list(tx, before.environment)?;
    let role = roles.iter().find(|one| one.id == role).ok_or(Error::NotFound("Role not found"))?;
    if !caller.rights.cover(role.rights) {
        return Err(more_rights());
    }
    let named = |id: Option<RoleId>| {
        let id = id.unwrap_or(RoleId::MEMBER);
        roles.iter().find(|one| one.id == id).map(|one| one.name.clone())
    };
    let mut user = before.clone();
    user.role = (role.id != RoleId::MEMBER).then_some(role.id);
    if user.role == before.role {
        return Ok(user);
    }
    let changes = Changes::of_field("role", named(before.role), named(user.role));
    users::save(tx, user, |tx, user| audit::note_changes(tx, caller.origin(), Action::RoleGiven, user, &changes))
}

/// Whether the caller may do something to this user: nobody reaches over those who may do more than they.
///
/// # Errors
/// The user's role carries rights that the caller has not.
pub fn allow(tx: &Tx, caller: &Caller, user: &User) -> Result<()> {
    if caller.is(user.id) || caller.rights.cover(rights_of(tx, user)?) { Ok(()) } else { Err(more_rights()) }
}

fn more_rights() -> Error {
    Error::Forbidden { code: "more_rights", message: "This would reach over rights that you do not have" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_as_they_are_written() {
        for set in [Rights::NONE, Rights::READ, Rights::ALL] {
            assert_eq!(Rights::named(&set.words()), Some(set));
        }
        assert_eq!(Rights::named("users:read everything"), None);
        assert!(
            Rights::ALL.cover(Rights::READ) && !Rights::READ.cover(Rights::ALL) && Rights::NONE.cover(Rights::NONE)
        );
        assert!(Rights::READ.has(Right::ReadUsers) && !Rights::READ.has(Right::WriteUsers));
    }
}
