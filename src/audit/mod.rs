//! The audit trail: who did what to whom, written in the transaction that did it, so that neither is there without the
//! other.

mod store;

pub use store::of_user;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type, words};
use crate::error::Result;
use crate::field::Wire;
use crate::users::{Health, IDENTITY, Person, Profile, User, UserId};
use crate::webhooks;

id_type!(
    /// An entry of the audit trail.
    EntryId
);

words! {
    /// What was done.
    pub enum Action {
        /// A user was made.
        UserCreated = "user.created",
        /// Facts about a user were changed.
        UserUpdated = "user.updated",
        /// A user was frozen.
        UserFrozen = "user.frozen",
        /// A user was deleted.
        UserDeleted = "user.deleted",
        /// A user was made active again.
        UserRestored = "user.restored",
        /// A link was followed, which signed the person in.
        LinkFollowed = "link.followed",
    }
}

words! {
    /// What kind of actor it was.
    pub enum ActorKind {
        /// An API key.
        Key = "key",
        /// A person, for themselves.
        Person = "person",
        /// The operator of the installation.
        Operator = "operator",
    }
}

/// One entry.
#[derive(Debug)]
pub struct Entry {
    /// What was done.
    pub action: Action,
    /// By whom.
    pub actor: Actor,
    /// Whom it is about.
    pub user: UserId,
    /// When.
    pub created_at: Timestamp,
    /// The request that did it, if one did.
    pub request: Option<Uuid>,
    /// What changed; see [`note`].
    pub changes: Changes,
}

/// What changed, as JSON: `{"fields": {"given_name": ["Jane", "Janet"]}, "health": ["currentWeight"]}`.
pub struct Changes(pub Value);

crate::secret::redacted!(Changes);

/// Notes what was done to a user: every fact that changed, before and after; of health, which ones. This is where a
/// change becomes known, so webhooks are announced from here too.
///
/// # Errors
/// The database refuses.
pub fn note(tx: &Tx, origin: Origin, action: Action, user: &User, before: &Person) -> Result<()> {
    store::insert(tx, origin, action, user, &changes(before, &user.person))?;
    webhooks::announce(tx, action, user, before)
}

fn changes(before: &Person, after: &Person) -> Changes {
    let changed = |wire: &Wire<Person>| {
        let values = [(wire.show)(before), (wire.show)(after)];
        (values[0] != values[1]).then_some((wire.name, values))
    };
    let fields: Map<String, Value> = Profile::FIELDS
        .iter()
        .chain(IDENTITY)
        .filter_map(changed)
        .map(|(name, values)| (name.to_owned(), json!(values)))
        .collect();
    let health: Vec<&str> = Health::FIELDS.iter().filter_map(changed).map(|(name, _)| name).collect();
    Changes(json!({ "fields": fields, "health": health }))
}
