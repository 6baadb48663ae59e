//! Users: the record that every dialect shares, and what may be done to it.
//!
//! Nothing here knows HTTP, a dialect's texts beyond the shared errors, or a dated version.

pub mod email;
pub mod health;
mod life;
mod list;
pub mod names;
pub mod phone;
pub mod profile;
pub mod search;
mod store;

pub use life::{RESTORABLE, delete, freeze, restore, set_status, unfreeze};
pub(crate) use list::oldest;
pub use list::{List, Range, Sort, list};
pub(crate) use store::{Unique, by_address_to_change, delete_row, deleted_before, holders, lock};
pub use store::{any_by_id, made_by_day, newest, newest_created_at};

use serde_json::{Map, Value};
use uuid::Uuid;

use std::cell::Cell;
use std::time::Duration;

use crate::apps::{Environment, EnvironmentId};
use crate::audit::{self, Action, Changes};
use crate::caller::{Actor, Caller, Name, Origin, Scope, Target};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type, words};
use crate::error::{Error, Result};
use crate::field::{FilledLine, Line, Metadata, Wire, wire};
use crate::limits::Limit;
use crate::links::{self, Links};
use crate::random;
use crate::roles::{self, Right, RoleId};
use crate::sessions;
use crate::signin;
use crate::tenants::{self, TenantId};
pub use email::Email;
pub use health::Health;
pub use phone::Phone;
pub use profile::Profile;

id_type!(
    /// A user: `identifier` in the partner API, `sub` in tokens.
    UserId
);

/// The facts about a person: a whole record, or the part of it that a change sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Person {
    /// The e-mail address, unique in the environment.
    pub email: Option<Email>,
    /// The phone number, unique in the environment.
    pub phone: Option<Phone>,
    /// The app's own name for the person, unique in the environment.
    pub external_id: Option<Line<255>>,
    /// The OpenID claims.
    pub profile: Profile,
    /// The programme's fields and the partner's metadata.
    pub health: Health,
}

wire! {
    /// The facts with columns of their own, as the directory API names them.
    pub const IDENTITY: Person {
        /// The e-mail address, unique in the environment. A change resets `email_verified`.
        "email" email: Email,
        /// The phone number, unique in the environment: 7 to 15 digits, maybe with spaces, dashes, dots and
        /// parentheses, and a + before a country code. Without one it is in the app's region.
        "phone_number" phone: Phone,
        /// The app's own name for the user, unique in the environment. A key sets it; ignored from a person.
        "externalId" external_id: FilledLine<255>,
    }
}

wire! {
    /// What the app keeps about the person: health data as far as Usher knows, for it may be.
    pub const METADATA: Person {
        /// What the app keeps about the user: merged key by key, null removes a key. For those who may change it; ignored
        /// from others. At most 50 keys of 40 characters an object, texts of 500 characters, 5 levels below this one.
        "metadata" health.metadata: Metadata,
    }
}

impl Person {
    /// Takes over every fact that `change` has.
    pub fn merge(&mut self, change: Person) {
        self.email = change.email.or(self.email.take());
        self.phone = change.phone.or(self.phone.take());
        self.external_id = change.external_id.or(self.external_id.take());
        self.profile.merge(change.profile);
        self.health.merge(change.health);
    }
}

/// What is to become different about a person.
#[derive(Clone, Default)]
pub struct Change {
    /// Facts to take over.
    pub set: Person,
    /// Facts to forget.
    pub unset: Vec<&'static Wire<Person>>,
    /// Metadata to merge key by key; null removes a key.
    pub metadata: Option<Map<String, Value>>,
}

crate::secret::redacted!(Change);

impl From<Person> for Change {
    fn from(set: Person) -> Change {
        Change { set, ..Change::default() }
    }
}

impl Change {
    fn apply(self, person: &mut Person) -> Result<()> {
        person.merge(self.set);
        for wire in self.unset {
            (wire.clear)(person);
        }
        if let Some(patch) = self.metadata.filter(|patch| !patch.is_empty()) {
            let metadata = person.health.metadata.get_or_insert_default();
            metadata.merge(&patch).map_err(|fault| Error::Invalid(vec![fault.at("metadata")]))?;
        }
        Ok(())
    }
}

/// One person in one environment.
#[derive(Clone, Debug)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// Where it lives.
    pub environment: EnvironmentId,
    /// The tenant it belongs to.
    pub tenant: Option<TenantId>,
    /// What it may do to others of the tenant; `None` is a member.
    pub role: Option<RoleId>,
    /// The e-mail address.
    pub email: Email,
    /// Everything that is known; `person.email` is always there.
    pub person: Person,
    /// When the address was last proven to be the person's.
    pub email_verified_at: Option<Timestamp>,
    /// When the record was made.
    pub created_at: Timestamp,
    /// When the record last changed.
    pub updated_at: Timestamp,
    /// Since when the person may not sign in.
    pub frozen_at: Option<Timestamp>,
    /// Since when the record counts as deleted.
    pub deleted_at: Option<Timestamp>,
    /// Counts the changes, from one.
    pub version: i64,
}

/// Which versions of a user a caller means to change: the header `If-Match` (RFC 9110 13.1.1).
#[derive(Clone, Debug)]
pub enum IfMatch {
    /// Whatever is there.
    Anything,
    /// One of these entity tags.
    OneOf(Vec<String>),
}

impl IfMatch {
    /// Reads the header. A weak or malformed tag matches nothing.
    pub fn parse(header: &str) -> IfMatch {
        match header.trim() {
            "*" => IfMatch::Anything,
            list => IfMatch::OneOf(list.split(',').map(|tag| tag.trim().to_owned()).collect()),
        }
    }

    fn allow(&self, user: &User) -> Result<()> {
        match self {
            IfMatch::OneOf(tags) if !tags.contains(&user.etag()) => Err(Error::Stale),
            _ => Ok(()),
        }
    }
}

impl User {
    /// The entity tag of this version of the record (RFC 9110 8.8.3). It names the user too: an e-mail address, by which
    /// the partner API finds users, can pass to another one.
    pub fn etag(&self) -> String {
        format!("\"{}.{}\"", self.id, self.version)
    }

    /// What has become of the user.
    pub fn status(&self) -> Status {
        match (self.deleted_at, self.frozen_at) {
            (Some(_), _) => Status::Deleted,
            (None, Some(_)) => Status::Frozen,
            (None, None) => Status::Active,
        }
    }

    /// Whether the person may sign in and use tokens.
    ///
    /// # Errors
    /// The user is frozen (contract item 47) or deleted.
    pub fn admit(&self) -> Result<()> {
        if self.deleted_at.is_some() {
            return Err(Error::Unauthenticated { code: "user_deleted", message: "This user no longer exists" });
        }
        if self.frozen_at.is_some() {
            return Err(Error::Forbidden { code: "user_frozen", message: "This user is frozen and cannot sign in" });
        }
        Ok(())
    }
}

words! {
    /// What may become of a user.
    #[derive(clap::ValueEnum)]
    pub enum Status {
        /// May sign in.
        Active = "active",
        /// May not sign in; the record stays.
        Frozen = "frozen",
        /// Gone for every caller; the record stays.
        Deleted = "deleted",
    }
}

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
    let tenant = tenants::named(tx, environment.id, &id.to_string())?;
    let user = User { tenant: Some(tenant), ..stranger(tx, environment.id, id, email) };
    if !store::insert(tx, &user)? {
        return Err(Error::Conflict);
    }
    let origin = Origin { request, ..Origin::of(Actor::Person(id)) };
    audit::note(tx, origin, Action::UserCreated, &user, &Person::default())?;
    let given = Changes::of_field("userRoleId", RoleId::MEMBER, RoleId::ADMINISTRATOR);
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

/// A user that the caller can see: themselves, or those whom they have a right to see.
///
/// # Errors
/// [`Error::UserNotFound`], and those of [`Caller::resolve`].
pub fn get(tx: &Tx, caller: &Caller, name: &Name) -> Result<User> {
    let found = match name {
        Name::Target(target) => store::by_id(tx, caller.scope, caller.resolve(*target, Right::ReadUsers)?)?,
        Name::Address(email) => store::by_email(tx, caller.scope, email)?.filter(|user| {
            // Who sees themselves only knows no more of an address than the mailbox is theirs.
            caller.rights.has(Right::ReadUsers) || (caller.is(user.id) && user.email.same_mailbox(email))
        }),
    };
    found.ok_or_else(|| caller.not_seen())
}

/// A user that the caller may change, by whoever's leave [`roles::allow`] knows.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::Stale`], and those of [`Caller::resolve`] and [`roles::allow`].
pub fn to_change(tx: &Tx, caller: &Caller, target: Target, right: Right, if_match: &IfMatch) -> Result<User> {
    let id = caller.resolve(target, right)?;
    let user = store::by_id_to_change(tx, caller.scope, id)?.ok_or_else(|| caller.not_seen())?;
    roles::allow(tx, caller, &user)?;
    if_match.allow(&user)?;
    Ok(user)
}

/// Changes the user with that e-mail address, if the caller can see it. `change.email` is only the key.
///
/// # Errors
/// [`Error::UserNotFound`], [`Error::Stale`], [`Error::PhoneTaken`].
pub fn update_by_email(tx: &Tx, caller: &Caller, change: Person, if_match: &IfMatch) -> Result<User> {
    let email = change.email.clone().ok_or_else(|| Error::internal("an update needs the e-mail address"))?;
    let change = Person { email: None, ..change };
    let before = Cell::new(0);
    let user = change_by_email(tx, caller, &email, if_match, Action::UserUpdated, |user| {
        before.set(user.version);
        Ok(change)
    })?;
    if user.version == before.get() {
        // The answer shows health data, whether anything has changed or not.
        audit::note_read(tx, caller.origin(), &user)?;
    }
    Ok(user)
}

/// Changes the user with that e-mail address, if the caller can see it, by what `decide` makes of it. What was done is
/// noted as `action`.
///
/// # Errors
/// As [`update_by_email`], and those of `decide`.
pub fn change_by_email(
    tx: &Tx,
    caller: &Caller,
    email: &Email,
    if_match: &IfMatch,
    action: Action,
    decide: impl FnOnce(&User) -> Result<Person>,
) -> Result<User> {
    let user = store::by_email_to_change(tx, caller.scope, email)?.ok_or(Error::UserNotFound)?;
    if_match.allow(&user)?;
    let change = decide(&user)?;
    apply(tx, caller, user, change.into(), action)
}

/// Everything about the user with that e-mail address, health data included.
///
/// # Errors
/// [`Error::UserNotFound`].
pub fn retrieve(tx: &Tx, caller: &Caller, email: &Email) -> Result<User> {
    let user = store::by_email(tx, caller.scope, email)?.ok_or(Error::UserNotFound)?;
    audit::note_read(tx, caller.origin(), &user)?;
    Ok(user)
}

/// A user with their health data, deleted or not, for somebody who says why they look: that stands in the audit trail.
///
/// # Errors
/// There is no such user in the caller's environment.
pub fn reveal(tx: &Tx, caller: &Caller, id: UserId, reason: &str) -> Result<User> {
    let user = look_up(tx, caller.scope.environment, &id.to_string())?.ok_or(Error::UserNotFound)?;
    let why = audit::Changes::of_field("reason", Value::Null, reason);
    audit::note_changes(tx, caller.origin(), Action::HealthRead, &user, &why)?;
    Ok(user)
}

/// Changes a user by id.
///
/// A change of mailbox ends the links to the old one and, unless it is the person's own doing, their sessions. Who had
/// not followed their link yet is sent one to the new mailbox: they have no other way in.
///
/// # Errors
/// Those of [`to_change`]; [`Error::EmailTaken`], [`Error::PhoneTaken`], [`Error::ExternalIdTaken`].
pub fn update(
    tx: &Tx,
    caller: &Caller,
    target: Target,
    change: Change,
    if_match: &IfMatch,
    links: &Links,
) -> Result<User> {
    let before = to_change(tx, caller, target, Right::WriteUsers, if_match)?;
    let id = before.id;
    let user = apply(tx, caller, before.clone(), change, Action::UserUpdated)?;
    if !user.email.same_mailbox(&before.email) {
        links::supersede(tx, id)?;
        signin::void(tx, &before)?;
        if !caller.is(id) {
            sessions::end_all(tx, id)?;
        }
        if before.email_verified_at.is_none() && links::may_send(tx, id)? {
            links::send(tx, links, &user)?;
        }
    }
    Ok(user)
}

/// How often a person may try to take another address or number: each time they learn whether somebody has it.
const ATTEMPTS: Limit = Limit { what: "identity", most: 20, span: Duration::from_hours(24) };

/// Counts that a person wants an address or a number that they have not got. Who may change others is trusted with what they
/// learn by it, as keys are.
///
/// # Errors
/// [`Error::TooMany`].
pub fn count_attempt(tx: &Tx, caller: &Caller, target: Target, change: &Change) -> Result<()> {
    let Actor::Person(me) = caller.actor else { return Ok(()) };
    if !matches!(target, Target::Me) && target != Target::Id(me) {
        return Ok(());
    }
    let Some(user) = store::any_by_id(tx, me)? else { return Ok(()) };
    let other_email = change.set.email.as_ref().is_some_and(|email| email.key() != user.email.key());
    let phone = user.person.phone.as_ref().map(Phone::key);
    let other_phone = change.set.phone.as_ref().is_some_and(|other| Some(other.key()) != phone);
    if (other_email || other_phone) && !ATTEMPTS.take(tx, me.0.as_bytes())? {
        return Err(Error::TooMany("You have changed your address or number very often. Try again tomorrow."));
    }
    Ok(())
}

/// Notes that the person has proven that the mailbox is theirs. The first time, whatever led in before ends: whoever made
/// the record, or had the address put into it, may hold it.
///
/// # Errors
/// The database refuses.
pub(crate) fn prove_mailbox(tx: &Tx, user: &User) -> Result<()> {
    if user.email_verified_at.is_some() {
        return Ok(());
    }
    links::supersede(tx, user.id)?;
    signin::void(tx, user)?;
    sessions::end_all(tx, user.id)?;
    store::mark_email_verified(tx, user.id)
}

/// The user that an address or an id names in one environment, deleted or not, for the operator.
///
/// # Errors
/// The database does not answer.
pub fn look_up(tx: &Tx, environment: EnvironmentId, name: &str) -> Result<Option<User>> {
    match (name.parse(), Email::new(name)) {
        (Ok(id), _) => Ok(store::any_by_id(tx, id)?.filter(|user| user.environment == environment)),
        (_, Some(email)) => store::any_by_email(tx, environment, &email),
        _ => Ok(None),
    }
}

fn apply(tx: &Tx, caller: &Caller, before: User, change: Change, action: Action) -> Result<User> {
    let mut user = before.clone();
    change.apply(&mut user.person)?;
    if user.person == before.person {
        return Ok(user);
    }
    if let Some(email) = user.person.email.clone() {
        user.email = email;
    }
    let unique = |person: &Person| (person.email.clone(), person.phone.clone(), person.external_id.clone());
    if unique(&user.person) != unique(&before.person) {
        refuse_taken(tx, &user)?;
    }
    if !user.email.same_mailbox(&before.email) {
        user.email_verified_at = None;
    }
    save(tx, user, |tx, user| audit::note(tx, caller.origin(), action, user, &before.person))
}

/// Stores a user that was just read and changed, and notes what was done.
///
/// # Errors
/// The database refuses, or another operation changed the user meanwhile.
pub(crate) fn save(tx: &Tx, mut user: User, note: impl FnOnce(&Tx, &User) -> Result<()>) -> Result<User> {
    user.updated_at = tx.now();
    user.version += 1;
    store::update(tx, &user)?;
    note(tx, &user)?;
    Ok(user)
}

fn refuse_taken(tx: &Tx, user: &User) -> Result<()> {
    if store::email_is_taken(tx, user)? {
        return Err(Error::EmailTaken);
    }
    if store::phone_is_taken(tx, user)? {
        return Err(Error::PhoneTaken);
    }
    if store::external_id_is_taken(tx, user)? {
        return Err(Error::ExternalIdTaken);
    }
    Ok(())
}
