//! The SQL of users. Health never leaves this file unsealed but inside a [`User`].

use std::collections::HashSet;
use std::fmt::Write as _;

use super::list::mark;
use super::names::{self, Named};
use super::{Email, List, Person, Phone, Sort, Status, User, UserId};
use crate::apps::EnvironmentId;
use crate::caller::Scope;
use crate::clock::Timestamp;
use crate::db::{Row, Tx, Value, one_of, params};
use crate::error::{Error, Result};
use crate::field::{Line, restore};
use crate::place::{self, Place};
use crate::tenants::TenantId;

const USER: &str = "SELECT u.id, u.environment_id, u.tenant_id, u.email, u.email_key, u.phone, u.phone_key, u.profile, u.health, \
     u.email_verified_at, u.created_at, u.updated_at, u.frozen_at, u.deleted_at, u.version, u.external_id, u.role_id \
     FROM users u";

/// `false` when the address or the number is taken.
pub(super) fn insert(tx: &Tx, user: &User) -> Result<bool> {
    let Sealed { profile, health } = seal(tx, user)?;
    let phone = user.person.phone.as_ref();
    let row = params![
        user.id,
        user.environment,
        user.tenant,
        user.email.address(),
        user.email.key(),
        phone.map(Phone::number),
        phone.map(Phone::key),
        external_id(user),
        profile,
        health,
        user.created_at,
        user.updated_at,
    ];
    if (user.email_verified_at, user.frozen_at, user.role) == (None, None, None) {
        return tx.insert(NEW, row);
    }
    // Who was a user elsewhere.
    let standing = params![user.email_verified_at, user.frozen_at, user.role];
    tx.insert(ADOPTED, &[&row[..], &standing[..]].concat())
}

const NEW: &str = "users (id, environment_id, tenant_id, email, email_key, phone, phone_key, external_id, profile, health, created_at, \
     updated_at)";
const ADOPTED: &str = "users (id, environment_id, tenant_id, email, email_key, phone, phone_key, external_id, profile, health, \
     created_at, updated_at, email_verified_at, frozen_at, role_id)";

/// What is unique in an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unique {
    Email,
    Phone,
    ExternalId,
}

/// Which of these values users of the environment have, deleted or not, and who.
pub(crate) fn holders(
    tx: &Tx,
    environment: EnvironmentId,
    unique: Unique,
    values: &[&str],
) -> Result<Vec<(String, UserId)>> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let column = match unique {
        Unique::Email => "email_key",
        Unique::Phone => "phone_key",
        Unique::ExternalId => "external_id",
    };
    let (places, all) = one_of(vec![environment.into()], values.iter().map(|text| Value::from(*text)).collect());
    // Value by value: asked for all at once, a server that has not counted its rows yet looks at everybody of the environment.
    let wanted: Vec<String> = places.split(", ").map(|place| format!("(CAST({place} AS TEXT))")).collect();
    let wanted = wanted.join(", ");
    let sql = format!(
        "SELECT wanted.column1, (SELECT id FROM users WHERE environment_id = $1 AND {column} = wanted.column1) \
         FROM (VALUES {wanted}) AS wanted"
    );
    let mut held = Vec::new();
    for row in tx.query(&sql, &all)? {
        if let Some(user) = row.get(1)? {
            held.push((row.get(0)?, user));
        }
    }
    Ok(held)
}

/// Which of these users are of the tenant, deleted or not.
pub(crate) fn of_tenant(tx: &Tx, tenant: TenantId, ids: &[UserId]) -> Result<HashSet<UserId>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let (places, all) = one_of(vec![tenant.into()], ids.iter().map(|id| Value::from(*id)).collect());
    let sql = format!("SELECT id FROM users WHERE tenant_id = $1 AND id IN ({places})");
    tx.query(&sql, &all)?.iter().map(|row| row.get(0)).collect()
}

pub(super) fn update(tx: &Tx, user: &User) -> Result<()> {
    let Sealed { profile, health } = seal(tx, user)?;
    let phone = user.person.phone.as_ref();
    // Somebody else may have changed the record since it was read here, or taken what must be unique.
    tx.change_one(
        "UPDATE users SET email = $1, email_key = $2, phone = $3, phone_key = $4, external_id = $5, profile = $6, health = $7, \
         email_verified_at = $8, updated_at = $9, version = $10, role_id = $11, frozen_at = $12, deleted_at = $13 \
         WHERE id = $14 AND version = $15",
        params![
            user.email.address(),
            user.email.key(),
            phone.map(Phone::number),
            phone.map(Phone::key),
            external_id(user),
            profile,
            health,
            user.email_verified_at,
            user.updated_at,
            user.version,
            user.role,
            user.frozen_at,
            user.deleted_at,
            user.id,
            user.version - 1,
        ],
    )
    .map_err(taken)
}

/// A user that the scope can see, unless deleted.
pub(super) fn by_id(tx: &Tx, scope: Scope, id: UserId) -> Result<Option<User>> {
    Ok(any_by_id(tx, id)?.filter(|user| visible(user, scope)))
}

/// A user that the scope can see, unless deleted.
pub(super) fn by_email(tx: &Tx, scope: Scope, email: &Email) -> Result<Option<User>> {
    Ok(any_by_email(tx, scope.environment, email)?.filter(|user| visible(user, scope)))
}

/// A user that the scope can see, unless deleted, to be changed.
pub(super) fn by_id_to_change(tx: &Tx, scope: Scope, id: UserId) -> Result<Option<User>> {
    Ok(lock(tx, id)?.filter(|user| visible(user, scope)))
}

/// A user of the scope to be changed, deleted or not.
pub(super) fn deleted_to_change(tx: &Tx, scope: Scope, id: UserId) -> Result<Option<User>> {
    Ok(lock(tx, id)?.filter(|user| within(user, scope)))
}

/// A user that the scope can see, unless deleted, to be changed.
pub(super) fn by_email_to_change(tx: &Tx, scope: Scope, email: &Email) -> Result<Option<User>> {
    Ok(by_address_to_change(tx, scope.environment, email)?.filter(|user| visible(user, scope)))
}

/// A user by address, deleted or not, to be changed: for who has proven that the mailbox is theirs.
pub(crate) fn by_address_to_change(tx: &Tx, environment: EnvironmentId, email: &Email) -> Result<Option<User>> {
    let sql = format!("{USER} WHERE u.environment_id = $1 AND u.email_key = $2{}", tx.for_update());
    one(tx, &sql, params![environment, email.key()])
}

/// A user by address, deleted or not: for the operator.
pub(super) fn any_by_email(tx: &Tx, environment: EnvironmentId, email: &Email) -> Result<Option<User>> {
    one(tx, &format!("{USER} WHERE u.environment_id = $1 AND u.email_key = $2"), params![environment, email.key()])
}

/// A user by id alone, deleted or not: for what is already bound to one user, such as a link.
pub fn any_by_id(tx: &Tx, id: UserId) -> Result<Option<User>> {
    one(tx, &format!("{USER} WHERE u.id = $1"), params![id])
}

/// The same, which no other transaction changes or erases until this one ends.
pub(crate) fn lock(tx: &Tx, id: UserId) -> Result<Option<User>> {
    one(tx, &format!("{USER} WHERE u.id = $1{}", tx.for_update()), params![id])
}

/// Whether there is a user of that id, deleted or not; no other transaction changes or erases them until this one ends.
pub(crate) fn hold(tx: &Tx, id: UserId) -> Result<bool> {
    let sql = format!("SELECT id FROM users WHERE id = $1{}", tx.for_update());
    Ok(tx.query_opt(&sql, params![id])?.is_some())
}

/// The newest users of an environment.
pub fn newest(tx: &Tx, environment: EnvironmentId, limit: i64) -> Result<Vec<User>> {
    let sql = format!("{USER} WHERE u.environment_id = $1 ORDER BY u.created_at DESC, u.id LIMIT $2");
    let rows = tx.query(&sql, params![environment, limit])?;
    rows.iter().map(|row| read(tx, row)).collect()
}

/// How many users of an environment were made since then, by the millisecond in which the day began.
pub fn made_by_day(tx: &Tx, environment: EnvironmentId, since: Timestamp) -> Result<Vec<(i64, i64)>> {
    let sql = "SELECT created_at - created_at % 86400000, COUNT(*) FROM users \
         WHERE environment_id = $1 AND created_at >= $2 GROUP BY created_at - created_at % 86400000";
    tx.query(sql, params![environment, since])?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// When the newest user was made, by the clock of then.
pub fn newest_created_at(tx: &Tx) -> Result<Option<Timestamp>> {
    // One look into the index for each environment, where a plain MAX would read every user.
    let sql = "SELECT (SELECT MAX(u.created_at) FROM users u WHERE u.environment_id = e.id) FROM environments e";
    let times: Vec<Option<Timestamp>> =
        tx.query(sql, params![])?.iter().map(|row| row.get(0)).collect::<Result<_>>()?;
    Ok(times.into_iter().flatten().max())
}

/// A user by number, deleted or not.
pub(super) fn any_by_phone(tx: &Tx, environment: EnvironmentId, phone: &Phone) -> Result<Option<User>> {
    one(tx, &format!("{USER} WHERE u.environment_id = $1 AND u.phone_key = $2"), params![environment, phone.key()])
}

/// A user by the app's own name, deleted or not.
pub(super) fn any_by_external_id(tx: &Tx, environment: EnvironmentId, id: &str) -> Result<Option<User>> {
    one(tx, &format!("{USER} WHERE u.environment_id = $1 AND u.external_id = $2"), params![environment, id])
}

/// What users are called, by the time they were made: from after a place on, up to a time.
pub(super) fn names_made(
    tx: &Tx,
    environment: EnvironmentId,
    after: Place,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Named>> {
    let sql = "SELECT u.id, u.created_at, u.updated_at, u.profile FROM users u \
         WHERE u.environment_id = $1 AND (u.created_at, u.id) > ($2, $3) AND u.created_at <= $4 \
         ORDER BY u.created_at, u.id LIMIT $5";
    tx.query(sql, params![environment, after.at, after.id, until, limit])?.iter().map(read_name).collect()
}

/// The same by the time of their last change.
pub(super) fn names_changed(
    tx: &Tx,
    environment: EnvironmentId,
    after: Place,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Named>> {
    let sql = "SELECT u.id, u.created_at, u.updated_at, u.profile FROM users u \
         WHERE u.environment_id = $1 AND (u.updated_at, u.id) > ($2, $3) AND u.updated_at <= $4 \
         ORDER BY u.updated_at, u.id LIMIT $5";
    tx.query(sql, params![environment, after.at, after.id, until, limit])?.iter().map(read_name).collect()
}

fn read_name(row: &Row) -> Result<Named> {
    Ok(Named {
        place: Place { at: row.get(1)?, id: row.get(0)? },
        changed_at: row.get(2)?,
        name: names::called(&restore(row.get::<String>(3)?.as_bytes())?),
    })
}

pub(super) fn email_is_taken(tx: &Tx, user: &User) -> Result<bool> {
    let sql = "SELECT 1 FROM users WHERE environment_id = $1 AND email_key = $2 AND id <> $3";
    Ok(tx.query_opt(sql, params![user.environment, user.email.key(), user.id])?.is_some())
}

pub(super) fn phone_is_taken(tx: &Tx, user: &User) -> Result<bool> {
    let Some(phone) = &user.person.phone else { return Ok(false) };
    let sql = "SELECT 1 FROM users WHERE environment_id = $1 AND phone_key = $2 AND id <> $3";
    Ok(tx.query_opt(sql, params![user.environment, phone.key(), user.id])?.is_some())
}

pub(super) fn external_id_is_taken(tx: &Tx, user: &User) -> Result<bool> {
    let Some(external_id) = external_id(user) else { return Ok(false) };
    let sql = "SELECT 1 FROM users WHERE environment_id = $1 AND external_id = $2 AND id <> $3";
    Ok(tx.query_opt(sql, params![user.environment, external_id, user.id])?.is_some())
}

/// The users of `scope` that a list wants, in its order, from after `place` on.
pub(super) fn page(tx: &Tx, scope: Scope, list: &List, place: Option<Place>, limit: i64) -> Result<Vec<User>> {
    let mut sql = USER.to_owned();
    let mut values: Vec<Value> = Vec::new();
    let mut and = |condition: &str, of: Vec<Value<'static>>| {
        sql.push_str(if values.is_empty() { " WHERE " } else { " AND " });
        let mut parts = condition.split('?');
        sql.push_str(parts.next().unwrap_or_default());
        for (part, value) in parts.zip(of) {
            values.push(value);
            let _ = write!(sql, "${}{part}", values.len());
        }
    };
    let exact = [
        ("u.email_key", list.email.as_ref().map(|email| email.key().to_owned())),
        ("u.phone_key", list.phone.as_ref().map(|phone| phone.key().to_owned())),
        ("u.external_id", list.external_id.clone()),
    ];
    // One scope and no more, unless something exact is looked for: the index to take is plain then, also to a planner
    // without statistics. A tenant belongs to one environment, and its caller has seen to that it is theirs.
    let by_index = exact.iter().any(|(_, value)| value.is_some());
    if by_index || scope.tenant.is_none() {
        and("u.environment_id = ?", vec![scope.environment.into()]);
    }
    if let Some(tenant) = scope.tenant {
        and("u.tenant_id = ?", vec![tenant.into()]);
    }
    for (column, value) in exact {
        if let Some(value) = value {
            and(&format!("{column} = ?"), vec![value.into()]);
        }
    }
    let (column, further, order) = match list.sort {
        Sort::Newest => ("u.created_at", "<", "DESC"),
        Sort::Oldest => ("u.created_at", ">", "ASC"),
        Sort::LastChanged => ("u.updated_at", "<", "DESC"),
        Sort::FirstChanged => ("u.updated_at", ">", "ASC"),
        Sort::Address => ("u.email_key", ">", "ASC"),
        Sort::LastAddress => ("u.email_key", "<", "DESC"),
    };
    for (time, range) in [("u.created_at", list.created), ("u.updated_at", list.updated)] {
        // The place where a page begins leaves out more than the end where the list does, and a planner may walk from either.
        let is_passed = |end: &str| place.is_some() && time == column && end == order;
        if let Some(from) = range.from.filter(|_| !is_passed("ASC")) {
            and(&format!("{time} >= ?"), vec![from.into()]);
        }
        if let Some(to) = range.to.filter(|_| !is_passed("DESC")) {
            and(&format!("{time} < ?"), vec![to.into()]);
        }
    }
    and(
        match list.status {
            None => "u.deleted_at IS NULL",
            Some(Status::Active) => "u.deleted_at IS NULL AND u.frozen_at IS NULL",
            Some(Status::Frozen) => "u.deleted_at IS NULL AND u.frozen_at IS NOT NULL",
            Some(Status::Deleted) => "u.deleted_at IS NOT NULL",
        },
        Vec::new(),
    );
    if let Some(place) = place {
        let at = if list.is_by_address() { address_at(tx, place)?.into() } else { place.at.into() };
        and(&format!("({column}, u.id) {further} (?, ?)"), vec![at, place.id.into()]);
    }
    values.push(limit.into());
    let sql = format!("{sql} ORDER BY {column} {order}, u.id {order} LIMIT ${}", values.len());
    let users: Vec<User> = tx.query(&sql, &values)?.iter().map(|row| read(tx, row)).collect::<Result<_>>()?;
    Ok(users.into_iter().filter(|user| within(user, scope)).collect())
}

/// The address of the user at a place: no cursor holds one. Who was erased meanwhile has none, and from another one everybody
/// between the two would be passed over or listed twice: then the list is to be begun anew.
fn address_at(tx: &Tx, place: Place) -> Result<String> {
    let row = tx.query_opt("SELECT email_key FROM users WHERE id = $1", params![place.id])?;
    let address: String = row.ok_or_else(place::unknown)?.get(0)?;
    if mark(&address) == place.at { Ok(address) } else { Err(place::unknown()) }
}

/// Those of some users who are deleted.
///
/// # Errors
/// The database does not answer.
pub fn deleted_among(tx: &Tx, ids: &[UserId]) -> Result<HashSet<UserId>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let (places, wanted) = one_of(Vec::new(), ids.iter().map(|id| (*id).into()).collect());
    let sql = format!("SELECT id FROM users WHERE deleted_at IS NOT NULL AND id IN ({places})");
    tx.query(&sql, &wanted)?.iter().map(|row| row.get(0)).collect()
}

/// Who has been deleted for so long.
pub(crate) fn deleted_before(tx: &Tx, before: Timestamp, limit: i64) -> Result<Vec<UserId>> {
    let sql = "SELECT id FROM users WHERE deleted_at <= $1 ORDER BY deleted_at LIMIT $2";
    tx.query(sql, params![before, limit])?.iter().map(|row| row.get(0)).collect()
}

/// Removes the row of a user that this transaction has read.
pub(crate) fn delete_row(tx: &Tx, user: &User) -> Result<()> {
    tx.change_one("DELETE FROM users WHERE id = $1 AND version = $2", params![user.id, user.version])
}

fn external_id(user: &User) -> Option<&str> {
    user.person.external_id.as_ref().map(|id| id.0.as_str())
}

fn visible(user: &User, scope: Scope) -> bool {
    user.deleted_at.is_none() && within(user, scope)
}

pub(super) fn within(user: &User, scope: Scope) -> bool {
    user.environment == scope.environment && scope.tenant.is_none_or(|tenant| user.tenant == Some(tenant))
}

/// Two writers on one engine cannot get here, the check before is in the same transaction; on several, an index decides.
fn taken(error: Error) -> Error {
    match error {
        Error::Unique(what) if what.contains("email_key") => Error::EmailTaken,
        Error::Unique(what) if what.contains("phone_key") => Error::PhoneTaken,
        Error::Unique(what) if what.contains("external_id") => Error::ExternalIdTaken,
        other => other,
    }
}

struct Sealed {
    profile: String,
    health: Vec<u8>,
}

fn seal(tx: &Tx, user: &User) -> Result<Sealed> {
    let profile = serde_json::to_string(&user.person.profile).map_err(Error::internal)?;
    let health = serde_json::to_vec(&user.person.health).map_err(Error::internal)?;
    Ok(Sealed { profile, health: tx.vault().seal(user.id.0.as_bytes(), &health) })
}

fn one(tx: &Tx, sql: &str, params: &[Value]) -> Result<Option<User>> {
    tx.query_opt(sql, params)?.map(|row| read(tx, &row)).transpose()
}

fn read(tx: &Tx, row: &Row) -> Result<User> {
    let id: UserId = row.get(0)?;
    let email = Email::stored(row.get(3)?, row.get(4)?);
    let phone = match (row.get::<Option<String>>(5)?, row.get::<Option<String>>(6)?) {
        (Some(number), Some(key)) => Some(Phone::stored(number, key)),
        _ => None,
    };
    let health = tx.vault().open(id.0.as_bytes(), &row.get::<Vec<u8>>(8)?)?;
    Ok(User {
        id,
        environment: row.get(1)?,
        tenant: row.get(2)?,
        person: Person {
            email: Some(email.clone()),
            phone,
            external_id: row.get::<Option<String>>(15)?.map(Line),
            profile: restore(row.get::<String>(7)?.as_bytes())?,
            health: restore(&health)?,
        },
        email,
        email_verified_at: row.get(9)?,
        created_at: row.get(10)?,
        updated_at: row.get(11)?,
        frozen_at: row.get(12)?,
        deleted_at: row.get(13)?,
        version: row.get(14)?,
        role: row.get(16)?,
    })
}
