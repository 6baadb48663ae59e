//! The end of a user: everything about the person goes from every table, and a receipt stays that names nobody but an id.
//! And its opposite: everything that is held about a person, for them to have.

mod store;

pub use store::{End, ROWS, receipts};

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::apps::{self, EnvironmentId};
use crate::audit;
use crate::billing;
use crate::caller::{Actor, Caller, Origin};
use crate::clock::Timestamp;
use crate::db::{Tx, id_type};
use crate::error::{Error, Result};
use crate::imports;
use crate::place::Place;
use crate::roles;
use crate::signin;
use crate::tenants;
use crate::users::{self, RESTORABLE, User, UserId};

id_type!(
    /// A receipt of an erasure.
    ErasureId
);

/// That a user was erased.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Its id.
    pub id: ErasureId,
    /// Where the user lived.
    #[serde(skip)]
    pub environment: EnvironmentId,
    /// Whose id it was.
    pub user_id: UserId,
    /// When.
    pub created_at: Timestamp,
    /// How many rows of which table.
    pub counts: BTreeMap<String, i64>,
}

/// How many users one run of the chore erases at the most, so that it holds nobody up.
const AT_ONCE: i64 = 100;
/// How many are looked at one by one when some together could not be erased.
const MOST: i64 = 10_000;

/// Erases a user for the app, whether deleted before or not.
///
/// # Errors
/// No such user within the caller's reach.
pub fn erase_for(tx: &Tx, caller: &Caller, id: UserId) -> Result<Receipt> {
    let user = users::any_by_id(tx, id)?.filter(|user| {
        user.environment == caller.scope.environment
            && caller.scope.tenant.is_none_or(|tenant| user.tenant == Some(tenant))
    });
    erase(tx, caller.origin(), &user.ok_or(Error::UserNotFound)?)
}

/// Erases a user whom a receipt names and who is there again, for an older backup was restored.
///
/// # Errors
/// As [`erase`].
pub fn again(tx: &Tx, id: UserId) -> Result<Option<Receipt>> {
    let user = users::any_by_id(tx, id)?;
    user.map(|user| erase(tx, Origin::of(Actor::Operator), &user)).transpose()
}

/// Erases a user.
///
/// # Errors
/// The database refuses, or another operation changed the user meanwhile.
pub fn erase(tx: &Tx, origin: Origin, user: &User) -> Result<Receipt> {
    imports::forget(tx, user)?;
    take_back(tx, origin, user)
}

/// Erases a user whom an import made, as it is taken back: they may come again by a file that waits.
///
/// # Errors
/// As [`erase`].
pub fn take_back(tx: &Tx, origin: Origin, user: &User) -> Result<Receipt> {
    // Before all else about the user, so that whoever is about to note something of the user comes before this, or after.
    users::lock(tx, user.id)?.ok_or(Error::Conflict)?;
    let strays = billing::strays(tx, user)?;
    let sign_ins = signin::forget(tx, user)?;
    let mut counts = store::remove_rows(tx, user.id)?;
    counts.insert("sign_ins".into(), i64::try_from(sign_ins).unwrap_or(i64::MAX));
    users::delete_row(tx, user)?;
    counts.insert("users".into(), 1);
    if let Some(founder) = user.tenant.map_or(Ok(None), |tenant| tenants::forget(tx, tenant))? {
        counts.insert("tenants".into(), 1);
        if founder != user.id {
            // They went first, and what was noted of the tenant since then is theirs too.
            audit::empty(tx, founder)?;
        }
    }
    counts.insert("audit".into(), i64::try_from(audit::erase(tx, origin, user)?).unwrap_or(i64::MAX));
    billing::erase(tx, user.environment, user.id, &strays)?;
    let receipt = Receipt {
        id: ErasureId::ordered(tx.now()),
        environment: user.environment,
        user_id: user.id,
        created_at: tx.now(),
        counts,
    };
    store::insert(tx, &receipt)?;
    Ok(receipt)
}

/// Erases who has been deleted for longer than they could be restored, some at a time, and says how many.
///
/// # Errors
/// The database refuses.
pub fn erase_expired(tx: &Tx) -> Result<usize> {
    let due = users::deleted_before(tx, tx.now() - RESTORABLE, AT_ONCE)?;
    for id in &due {
        erase_by_time(tx, *id)?;
    }
    Ok(due.len())
}

/// Who has been deleted for longer than they could be restored.
///
/// # Errors
/// The database does not answer.
pub fn due(tx: &Tx) -> Result<Vec<UserId>> {
    users::deleted_before(tx, tx.now() - RESTORABLE, MOST)
}

/// Erases one of them, unless somebody has restored them since, or another server has erased them.
///
/// # Errors
/// The database refuses, or the record cannot be read.
pub fn erase_by_time(tx: &Tx, id: UserId) -> Result<()> {
    let is_due = |user: &User| user.deleted_at.is_some_and(|at| at + RESTORABLE <= tx.now());
    let user = users::any_by_id(tx, id)?.filter(is_due);
    user.map_or(Ok(()), |user| erase(tx, Origin::of(Actor::Usher), &user).map(drop))
}

/// A part of everything that is held about a person. Who asks for one after the other keeps nobody waiting, however much it is.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    /// All but what was noted about them.
    Held,
    /// What was noted about them, from after this place on.
    Noted(Place),
}

/// How many entries a part has at the most.
const NOTED: i64 = 1000;

/// One part of everything that is held about a person, and which one is next. Together they are the text of a JSON object.
///
/// # Errors
/// The database does not answer, or something does not open.
pub fn export(tx: &Tx, user: &User, part: Part) -> Result<(String, Option<Part>)> {
    let place = match part {
        Part::Held => {
            let held = format!("{:#}", held(tx, user)?);
            let open = held.strip_suffix("\n}").ok_or_else(|| Error::internal("what is held is an object"))?;
            return Ok((format!("{open},\n  \"events\": ["), Some(Part::Noted(Place::FIRST))));
        }
        Part::Noted(place) => place,
    };
    let mut text = String::new();
    let mut last = None;
    for entry in audit::after(tx, user.id, place, NOTED)? {
        let is_first = place == Place::FIRST && last.is_none();
        text.push_str(if is_first { "\n    " } else { ",\n    " });
        text.push_str(&entry.show().to_string());
        last = Some(Part::Noted(Place { at: entry.created_at, id: entry.id.0 }));
    }
    if last.is_none() {
        text.push_str("\n  ]\n}\n");
    }
    Ok((text, last))
}

fn held(tx: &Tx, user: &User) -> Result<Value> {
    let environment = apps::by_id(tx, user.environment)?;
    let tenant = user.tenant.map(|id| tenants::any_by_id(tx, id)).transpose()?.flatten();
    let role = roles::list(tx, user.environment)?.into_iter().find(|role| Some(role.id) == user.role);
    let mut held = json!({
        "user": {
            "id": user.id,
            "app": environment.app_name,
            "environment": environment.kind,
            "tenant": tenant.as_ref().and_then(|tenant| tenant.facts.name.as_ref()),
            "role": role.map(|role| role.name),
            "status": user.status(),
            "email": user.email,
            "emailVerifiedAt": user.email_verified_at,
            "phone": user.person.phone,
            "externalId": user.person.external_id,
            "profile": user.person.profile,
            "health": user.person.health,
            "createdAt": user.created_at,
            "updatedAt": user.updated_at,
            "frozenAt": user.frozen_at,
            "deletedAt": user.deleted_at,
        },
    });
    if let Some(own) = tenant.filter(|tenant| tenant.founder == Some(user.id)) {
        held["tenant"] = own.facts.show().into();
    }
    for (table, rows) in store::shown_rows(tx, user.id)? {
        held[table] = rows;
    }
    Ok(held)
}
