//! The SQL of users. Health never leaves this file unsealed but inside a [`User`].

use super::{Email, Person, Phone, Status, User, UserId};
use crate::apps::EnvironmentId;
use crate::caller::Scope;
use crate::clock::Timestamp;
use crate::db::{Row, Tx, params};
use crate::error::{Error, Result};
use crate::field::restore;

const USER: &str = "SELECT u.id, u.environment_id, u.tenant_id, u.email, u.email_key, u.phone, u.phone_key, u.profile, u.health, \
     u.email_verified_at, u.created_at, u.updated_at, u.frozen_at, u.deleted_at, u.version \
     FROM users u";

/// `false` when the address or the number is taken.
pub(super) fn insert(tx: &Tx, user: &User) -> Result<bool> {
    let Sealed { profile, health } = seal(tx, user)?;
    let phone = user.person.phone.as_ref();
    tx.insert(
        "users (id, environment_id, tenant_id, email, email_key, phone, phone_key, profile, health, created_at, updated_at)",
        params![
            user.id,
            user.environment,
            user.tenant,
            user.email.address(),
            user.email.key(),
            phone.map(Phone::number),
            phone.map(Phone::key),
            profile,
            health,
            user.created_at,
            user.updated_at,
        ],
    )
}

pub(super) fn update(tx: &Tx, user: &User) -> Result<()> {
    let Sealed { profile, health } = seal(tx, user)?;
    let phone = user.person.phone.as_ref();
    // Somebody else may have changed the record since it was read here, or taken the address or the number.
    tx.change_one(
        "UPDATE users SET email = $1, email_key = $2, phone = $3, phone_key = $4, profile = $5, health = $6, \
         email_verified_at = $7, updated_at = $8, version = $9 WHERE id = $10 AND version = $11",
        params![
            user.email.address(),
            user.email.key(),
            phone.map(Phone::number),
            phone.map(Phone::key),
            profile,
            health,
            user.email_verified_at,
            user.updated_at,
            user.version,
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
    let user = one(tx, &format!("{USER} WHERE u.id = $1{}", tx.for_update()), params![id])?;
    Ok(user.filter(|user| visible(user, scope)))
}

/// A user that the scope can see, unless deleted, to be changed.
pub(crate) fn by_email_to_change(tx: &Tx, scope: Scope, email: &Email) -> Result<Option<User>> {
    let sql = format!("{USER} WHERE u.environment_id = $1 AND u.email_key = $2{}", tx.for_update());
    Ok(one(tx, &sql, params![scope.environment, email.key()])?.filter(|user| visible(user, scope)))
}

/// A user by address, deleted or not: for the operator.
pub(super) fn any_by_email(tx: &Tx, environment: EnvironmentId, email: &Email) -> Result<Option<User>> {
    one(tx, &format!("{USER} WHERE u.environment_id = $1 AND u.email_key = $2"), params![environment, email.key()])
}

/// A user by id alone, deleted or not: for what is already bound to one user, such as a link.
pub fn any_by_id(tx: &Tx, id: UserId) -> Result<Option<User>> {
    one(tx, &format!("{USER} WHERE u.id = $1"), params![id])
}

/// The newest users of an environment.
pub fn newest(tx: &Tx, environment: EnvironmentId, limit: i64) -> Result<Vec<User>> {
    let sql = format!("{USER} WHERE u.environment_id = $1 ORDER BY u.created_at DESC, u.id LIMIT $2");
    let rows = tx.query(&sql, params![environment, limit])?;
    rows.iter().map(|row| read(tx, row)).collect()
}

/// When the newest user was made, by the clock of then.
pub fn newest_created_at(tx: &Tx) -> Result<Option<Timestamp>> {
    // One look into the index for each environment, where a plain MAX would read every user.
    let sql = "SELECT (SELECT MAX(u.created_at) FROM users u WHERE u.environment_id = e.id) FROM environments e";
    let times: Vec<Option<Timestamp>> =
        tx.query(sql, params![])?.iter().map(|row| row.get(0)).collect::<Result<_>>()?;
    Ok(times.into_iter().flatten().max())
}

pub(super) fn mark_email_verified(tx: &Tx, id: UserId) -> Result<()> {
    tx.run(
        "UPDATE users SET email_verified_at = $1, version = version + 1 WHERE id = $2 AND email_verified_at IS NULL",
        params![tx.now(), id],
    )
}

pub(super) fn set_status(tx: &Tx, id: UserId, status: Status) -> Result<()> {
    let sql = match status {
        Status::Active => {
            "UPDATE users SET frozen_at = NULL, deleted_at = NULL, updated_at = $1, version = version + 1 WHERE id = $2"
        }
        Status::Frozen => {
            "UPDATE users SET frozen_at = COALESCE(frozen_at, $1), updated_at = $1, version = version + 1 WHERE id = $2"
        }
        Status::Deleted => {
            "UPDATE users SET deleted_at = COALESCE(deleted_at, $1), updated_at = $1, version = version + 1 WHERE id = $2"
        }
    };
    tx.run(sql, params![tx.now(), id])
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

fn visible(user: &User, scope: Scope) -> bool {
    user.environment == scope.environment
        && user.deleted_at.is_none()
        && scope.tenant.is_none_or(|tenant| user.tenant == Some(tenant))
}

/// Two writers on one engine cannot get here, the check before is in the same transaction; on several, an index decides.
fn taken(error: Error) -> Error {
    match error {
        Error::Unique(what) if what.contains("email_key") => Error::EmailTaken,
        Error::Unique(what) if what.contains("phone_key") => Error::PhoneTaken,
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

fn one(tx: &Tx, sql: &str, params: &[crate::db::Value]) -> Result<Option<User>> {
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
    })
}
