//! Some rows on their way into one environment, in one transaction: who is there already, whose row may go in, and in it goes.

use std::collections::{HashMap, HashSet};

use super::{Entry, ImportId, Line, Outcome, Status, store};
use crate::apps::EnvironmentId;
use crate::caller::{Actor, Caller, Scope};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::links::{self, Links};
use crate::roles;
use crate::tenants::{self, TenantId};
use crate::users::{self, Person, Standing, Unique, UserId};

pub(super) fn failed(row: u64, reason: String) -> Outcome {
    Outcome { row, status: Status::Failed, user: None, reason }
}

/// What is unique about a person, as it is compared.
pub(super) fn marks(person: &Person) -> impl Iterator<Item = (Unique, &str)> {
    let email = person.email.as_ref().map(|email| (Unique::Email, email.key()));
    let phone = person.phone.as_ref().map(|phone| (Unique::Phone, phone.key()));
    let external_id = person.external_id.as_ref().map(|id| (Unique::ExternalId, id.0.as_str()));
    email.into_iter().chain(phone).chain(external_id)
}

/// A keyed hash: what stays of what was unique about an erased person while a file waits.
pub(super) type Hash = [u8; 32];

pub(super) fn hashes(tx: &Tx, environment: EnvironmentId, person: &Person) -> impl Iterator<Item = Hash> {
    marks(person).map(move |(unique, value)| hash(tx, environment, unique, value))
}

pub(super) fn hash(tx: &Tx, environment: EnvironmentId, unique: Unique, value: &str) -> Hash {
    let text = format!("{environment} {unique:?} {value}");
    tx.vault().mark("import.erased", text.as_bytes())
}

/// Some rows on their way into one environment.
pub(super) struct Batch {
    caller: Caller,
    /// Which of these people were erased while the file waited.
    erased: HashSet<Hash>,
    /// Who has what must be unique; without an id, an earlier of these rows.
    taken: HashMap<(Unique, String), Option<UserId>>,
    tenants: HashMap<String, Option<TenantId>>,
    roles: Vec<roles::Role>,
}

impl Batch {
    pub(super) fn new(tx: &Tx, caller: Caller, import: Option<ImportId>, lines: &[Line]) -> Result<Batch> {
        let people = || lines.iter().filter_map(|(_, entry)| entry.as_ref().ok()).map(|entry| &entry.person);
        let mut taken = HashMap::new();
        for unique in [Unique::Email, Unique::Phone, Unique::ExternalId] {
            let wanted: HashSet<&str> =
                people().flat_map(marks).filter(|(kind, _)| *kind == unique).map(|(_, value)| value).collect();
            let wanted: Vec<&str> = wanted.into_iter().collect();
            let held = users::holders(tx, caller.scope.environment, unique, &wanted)?;
            taken.extend(held.into_iter().map(|(value, user)| ((unique, value), Some(user))));
        }
        // After who is there: who is erased in between is found by one or the other.
        let erased = match import {
            Some(id) if store::has_erased(tx, id)? => {
                let wanted = people().flat_map(|person| hashes(tx, caller.scope.environment, person));
                store::erased(tx, id, &wanted.collect::<Vec<_>>())?
            }
            _ => HashSet::new(),
        };
        let any_role = lines.iter().any(|(_, entry)| entry.as_ref().is_ok_and(|entry| entry.role.is_some()));
        let roles = if any_role { roles::list(tx, caller.scope.environment)? } else { Vec::new() };
        Ok(Batch { caller, erased, taken, tenants: HashMap::new(), roles })
    }

    /// Why the row stays out for whom it is about, if it does: somebody who is there already, or who was erased.
    fn stays_out(&self, tx: &Tx, row: u64, person: &Person) -> Option<Outcome> {
        let taken = |(unique, value): (Unique, &str)| Some((unique, *self.taken.get(&(unique, value.to_owned()))?));
        if let Some((unique, user)) = marks(person).find_map(taken) {
            return Some(duplicate(row, unique, user));
        }
        let was_erased = !self.erased.is_empty()
            && hashes(tx, self.caller.scope.environment, person).any(|hash| self.erased.contains(&hash));
        was_erased.then(|| failed(row, "the person was erased since the file was sent".to_owned()))
    }

    pub(super) fn look(&mut self, tx: &Tx, row: u64, entry: &Entry) -> Result<Outcome> {
        if let Some(outcome) = self.stays_out(tx, row, &entry.person) {
            return Ok(outcome);
        }
        let standing = self.standing(entry).err().map(str::to_owned);
        if let Some(why) = standing.or(self.tenant(tx, entry, false)?.err()) {
            return Ok(failed(row, why));
        }
        self.note(&entry.person, None);
        Ok(Outcome { row, status: Status::Imported, user: None, reason: String::new() })
    }

    pub(super) fn take(&mut self, tx: &Tx, row: u64, entry: &Entry, links: Option<&Links>) -> Result<Outcome> {
        if let Some(outcome) = self.stays_out(tx, row, &entry.person) {
            return Ok(outcome);
        }
        let standing = match self.standing(entry) {
            Ok(standing) => standing,
            Err(why) => return Ok(failed(row, why.to_owned())),
        };
        let tenant = match self.tenant(tx, entry, true)? {
            Ok(tenant) => tenant,
            Err(why) => return Ok(failed(row, why)),
        };
        let caller = Caller { scope: Scope { tenant, ..self.caller.scope }, ..self.caller };
        let user = match users::adopt(tx, &caller, entry.person.clone(), standing) {
            Ok(user) => user,
            // Somebody else was faster.
            Err(Error::EmailTaken) => return Ok(duplicate(row, Unique::Email, None)),
            Err(Error::PhoneTaken) => return Ok(duplicate(row, Unique::Phone, None)),
            Err(Error::ExternalIdTaken) => return Ok(duplicate(row, Unique::ExternalId, None)),
            Err(e) => return Err(e),
        };
        if let Some(links) = links.filter(|_| !standing.frozen) {
            links::send(tx, links, &user)?;
        }
        self.note(&entry.person, Some(user.id));
        Ok(Outcome { row, status: Status::Imported, user: Some(user.id), reason: String::new() })
    }

    fn note(&mut self, person: &Person, user: Option<UserId>) {
        self.taken.extend(marks(person).map(|(unique, value)| ((unique, value.to_owned()), user)));
    }

    fn is_of_the_house(&self) -> bool {
        matches!(self.caller.actor, Actor::Operator | Actor::Admin(_))
    }

    /// How a person stood elsewhere. Only the operator and administrators say whose address is proven, and who has which role.
    fn standing(&self, entry: &Entry) -> std::result::Result<Standing, &'static str> {
        if !self.is_of_the_house() {
            return Ok(Standing { frozen: entry.frozen, ..Standing::default() });
        }
        let role = match &entry.role {
            None => None,
            Some(name) => {
                let role =
                    self.roles.iter().find(|role| role.name == *name).ok_or("role: there is none of that name")?;
                Some(role.id).filter(|id| *id != roles::RoleId::MEMBER)
            }
        };
        Ok(Standing { verified: entry.verified, frozen: entry.frozen, role })
    }

    /// The tenant of a row: the one of the import, or the one that it names, which the operator and administrators make by naming it.
    fn tenant(&mut self, tx: &Tx, entry: &Entry, make: bool) -> Result<std::result::Result<Option<TenantId>, String>> {
        let (bound, environment) = (self.caller.scope.tenant, self.caller.scope.environment);
        let Some(name) = entry.tenant.as_deref().filter(|_| bound.is_none()) else { return Ok(Ok(bound)) };
        let may_make = self.is_of_the_house();
        let found = match self.tenants.get(name) {
            Some(id) => Ok(*id),
            None if may_make && make => tenants::named(tx, environment, self.caller.origin(), name).map(Some),
            None => tenants::find(tx, environment, name),
        };
        let id = match found {
            // What is wrong with the name is wrong with the row.
            Err(Error::Operator(why)) => return Ok(Err(format!("tenant: {why}"))),
            found => found?,
        };
        self.tenants.insert(name.to_owned(), id);
        Ok(if id.is_none() && !may_make { Err("tenant: there is none of that name".to_owned()) } else { Ok(id) })
    }
}

pub(super) fn duplicate(row: u64, unique: Unique, user: Option<UserId>) -> Outcome {
    let what = match unique {
        Unique::Email => "email",
        Unique::Phone => "phone_number",
        Unique::ExternalId => "externalId",
    };
    let who = if user.is_some() { "a user" } else { "an earlier row, or a user" };
    Outcome { row, status: Status::Duplicate, user, reason: format!("{what}: {who} has it") }
}
