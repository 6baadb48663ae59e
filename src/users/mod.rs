//! Users: the record that every dialect shares, and what may be done to it.
//!
//! Nothing here knows HTTP, a dialect's texts beyond the shared errors, or a dated version.

pub mod email;
pub mod health;
mod life;
mod list;
mod making;
pub mod names;
mod person;
pub mod phone;
pub mod profile;
pub mod search;
mod store;

pub use life::{RESTORABLE, delete, freeze, restore, set_status, unfreeze};
pub(crate) use list::oldest;
pub use list::{List, Range, Sort, list};
pub use making::{Standing, adopt, create, enrol, invite};
pub(crate) use making::{register, stranger};
pub use person::{Change, IDENTITY, METADATA, Person};
pub(crate) use store::{Unique, by_address_to_change, delete_row, deleted_before, hold, holders, lock, of_tenant};
pub use store::{any_by_id, deleted_among, made_by_day, newest, newest_created_at};

use std::cell::Cell;
use std::time::Duration;

use serde_json::Value;

use crate::apps::EnvironmentId;
use crate::audit::{self, Action, Changes};
use crate::caller::{Actor, Caller, Name, Origin, Target};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type, words};
use crate::error::{Error, Result};
use crate::limits::Limit;
use crate::links::{self, Links};
use crate::mail;
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
    /// the partner API finds users, can pass to another one. And the time: a database that was restored counts its versions
    /// once more.
    pub fn etag(&self) -> String {
        format!("\"{}.{}.{}\"", self.id, self.version, self.updated_at.0)
    }

    /// What has become of the user.
    pub fn status(&self) -> Status {
        Status::since(self.frozen_at, self.deleted_at)
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

impl Status {
    fn since(frozen_at: Option<Timestamp>, deleted_at: Option<Timestamp>) -> Status {
        match (deleted_at, frozen_at) {
            (Some(_), _) => Status::Deleted,
            (None, Some(_)) => Status::Frozen,
            (None, None) => Status::Active,
        }
    }
}

/// A user that the caller can see: themselves, or those whom they have a right to see.
///
/// # Errors
/// [`Error::UserNotFound`], and those of [`Caller::resolve`] and [`Caller::need_fact`].
pub fn get(tx: &Tx, caller: &Caller, name: &Name) -> Result<User> {
    let found = match name {
        Name::Target(target) => store::by_id(tx, caller.scope, caller.resolve(*target, Right::ReadUsers)?)?,
        Name::Address(email) => {
            caller.need_fact("email")?;
            store::by_email(tx, caller.scope, email)?.filter(|user| {
                // Who sees themselves only knows no more of an address than the mailbox is theirs.
                caller.rights.has(Right::ReadUsers) || (caller.is(user.id) && user.email.same_mailbox(email))
            })
        }
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
    let user = change_by_email(tx, caller, &email, if_match, |user| {
        before.set(user.version);
        Ok((change, Action::UserUpdated))
    })?;
    if user.version == before.get() {
        // The answer shows health data, whether anything has changed or not.
        audit::note_read(tx, caller.origin(), &user)?;
    }
    Ok(user)
}

/// Changes the user with that e-mail address, if the caller can see it, by what `decide` makes of it, and notes it as what
/// that says it is.
///
/// # Errors
/// As [`update_by_email`], and those of `decide`.
pub fn change_by_email(
    tx: &Tx,
    caller: &Caller,
    email: &Email,
    if_match: &IfMatch,
    decide: impl FnOnce(&User) -> Result<(Person, Action)>,
) -> Result<User> {
    let user = store::by_email_to_change(tx, caller.scope, email)?.ok_or(Error::UserNotFound)?;
    if_match.allow(&user)?;
    let (change, action) = decide(&user)?;
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
    let found = look_up(tx, caller.scope.environment, &id.to_string())?.ok_or(Error::UserNotFound)?;
    // An erasure comes before this and finds nobody, or after it and takes the reason along.
    let user = store::lock(tx, found.id)?.ok_or(Error::UserNotFound)?;
    let why = Changes::of_field("reason", Value::Null, reason);
    audit::note_changes(tx, caller.origin(), Action::HealthRead, &user, &why)?;
    Ok(user)
}

/// Changes a user by id.
///
/// A change of mailbox ends the links to the old one and, unless it is the person's own doing, their sessions. Who had
/// not followed their link yet is sent one to the new mailbox: they have no other way in. Who had proven the old one is told
/// there; one that nobody has proven may be a stranger's, whom changes could flood. Who has the mailbox is the person, so
/// that no other person moves somebody who has come in, or of whom there is health data, to another one.
///
/// # Errors
/// Those of [`to_change`]; 403 for such a move; 401 for one by a session that has ended; [`Error::EmailTaken`],
/// [`Error::PhoneTaken`], [`Error::ExternalIdTaken`].
pub fn update(
    tx: &Tx,
    caller: &Caller,
    target: Target,
    change: Change,
    if_match: &IfMatch,
    links: &Links,
) -> Result<User> {
    let before = to_change(tx, caller, target, Right::WriteUsers, if_match)?;
    update_from(tx, caller, &before, change, links)
}

/// The same, for a caller who is answered what they may see of the user then. Who may see metadata and changes nothing has read it.
///
/// # Errors
/// As [`update`].
pub fn patch(
    tx: &Tx,
    caller: &Caller,
    target: Target,
    change: Change,
    if_match: &IfMatch,
    links: &Links,
) -> Result<User> {
    let before = to_change(tx, caller, target, Right::WriteUsers, if_match)?;
    let user = update_from(tx, caller, &before, change, links)?;
    if user.version == before.version && caller.rights.has(Right::Metadata) {
        audit::note_read(tx, caller.origin(), &user)?;
    }
    Ok(user)
}

fn update_from(tx: &Tx, caller: &Caller, before: &User, change: Change, links: &Links) -> Result<User> {
    let id = before.id;
    let moves = change.set.email.as_ref().is_some_and(|email| !email.same_mailbox(&before.email));
    if moves && !caller.is(id) && !caller.is_the_app() && is_somebodys(tx, before)? {
        return Err(Error::Forbidden {
            code: "address_in_use",
            message: "Only this person and the app may change their address",
        });
    }
    // Whose mailbox it is may have proven it since the token was judged, and ended the session with that.
    if let Some(session) = caller.session.filter(|_| moves && caller.is(id)) {
        sessions::in_force(tx, session, id)?;
    }
    let user = apply(tx, caller, before.clone(), change, Action::UserUpdated)?;
    if !user.email.same_mailbox(&before.email) {
        links::supersede(tx, id)?;
        signin::void(tx, before)?;
        if !caller.is(id) {
            sessions::end_all(tx, id)?;
        }
        match before.email_verified_at {
            None if links::may_send(tx, id)? => links::send(tx, links, &user)?,
            Some(_) if before.admit().is_ok() => mail::post_address_changed(tx, before)?,
            _ => {}
        }
    }
    Ok(user)
}

/// Whether the record is somebody's: their address is proven, they have signed in before it was changed, or it has health data,
/// which whoever comes in by the address reads in the file of all that is held about them.
fn is_somebodys(tx: &Tx, user: &User) -> Result<bool> {
    let mut health = user.person.health.clone();
    health.metadata.take_if(|metadata| metadata.0.is_empty());
    Ok(user.email_verified_at.is_some() || health != Health::default() || audit::has_acted(tx, user.id)?)
}

/// How often a person may try to take an address or a number that they have not got: each time they learn whether somebody
/// has it. Where nobody has vouched for who is in charge, that is for all of a tenant together.
pub const ATTEMPTS: Limit = Limit { what: "identity", most: 20, span: Duration::from_hours(24) };
/// The same for others, by whom the app or the operator gave rights over them.
pub const ATTEMPTS_FOR_OTHERS: Limit = Limit { what: "identity of others", most: 1000, span: Duration::from_hours(24) };

/// Counts that a person wants an address or a number that `whose` record has not got; `None` is somebody to be made.
///
/// # Errors
/// [`Error::TooMany`].
pub fn count_attempt(tx: &Tx, caller: &Caller, whose: Option<Target>, wanted: &Person) -> Result<()> {
    let Actor::Person(me) = caller.actor else { return Ok(()) };
    // Who may not do it at all learns nothing by it, and is told so by the operation.
    let user = match whose.map(|target| caller.resolve(target, Right::WriteUsers)) {
        None if caller.rights.has(Right::InviteUsers) => None,
        Some(Ok(id)) => match store::by_id(tx, caller.scope, id)? {
            Some(user) => Some(user),
            None => return Ok(()),
        },
        None | Some(Err(_)) => return Ok(()),
    };
    let had = user.as_ref().map(|user| &user.person);
    let email = |person: &Person| person.email.as_ref().map(|email| email.key().to_owned());
    let phone = |person: &Person| person.phone.as_ref().map(|phone| phone.key().to_owned());
    let other = |of: &dyn Fn(&Person) -> Option<String>| of(wanted).is_some_and(|key| had.and_then(of) != Some(key));
    if !other(&email) && !other(&phone) {
        return Ok(());
    }
    let tenant = caller.scope.tenant.map_or(Ok(None), |id| tenants::any_by_id(tx, id))?;
    let enough = match tenant {
        Some(tenant) if tenant.founder.is_some() => ATTEMPTS.take(tx, tenant.id.0.as_bytes())?,
        _ if user.is_some_and(|user| user.id == me) => ATTEMPTS.take(tx, me.0.as_bytes())?,
        _ => ATTEMPTS_FOR_OTHERS.take(tx, me.0.as_bytes())?,
    };
    if enough {
        Ok(())
    } else {
        Err(Error::TooMany("You have tried too many addresses and numbers. Try again tomorrow."))
    }
}

/// Notes that the person has proven that the mailbox is theirs, by what `origin` tells of. The first time, whatever led in
/// before ends: whoever made the record, or had the address put into it, may hold it.
///
/// # Errors
/// The database refuses.
pub(crate) fn prove_mailbox(tx: &Tx, origin: Origin, user: User) -> Result<User> {
    if user.email_verified_at.is_some() {
        return Ok(user);
    }
    links::supersede(tx, user.id)?;
    signin::void(tx, &user)?;
    sessions::end_all(tx, user.id)?;
    let verified = Changes::of_field("email_verified", false, true);
    let user = User { email_verified_at: Some(tx.now()), ..user };
    save(tx, user, |tx, user| audit::note_changes(tx, origin, Action::UserUpdated, user, &verified))
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
