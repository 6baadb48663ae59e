//! Lists of users: filters, order, and pages that begin where the one before ended.

use super::{Email, Phone, Status, User, store};
use crate::apps::EnvironmentId;
use crate::caller::{Caller, Scope};
use crate::clock::Timestamp;
use crate::db::{Tx, words};
use crate::error::Result;
use crate::place::{self, Place};
use crate::roles::Right;
use crate::secret::sha256;
use crate::tenants::{self, Tenant, TenantId};

/// A span of time: from its start on, and before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// From here on.
    pub from: Option<Timestamp>,
    /// Before this.
    pub to: Option<Timestamp>,
}

impl Range {
    fn has(self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.to.is_none_or(|to| at < to)
    }
}

/// As much of a user as lists are filtered by.
pub(super) struct Outline {
    pub(super) tenant: Option<TenantId>,
    pub(super) status: Status,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

impl User {
    pub(super) fn outline(&self) -> Outline {
        Outline { tenant: self.tenant, status: self.status(), created_at: self.created_at, updated_at: self.updated_at }
    }
}

words! {
    /// The order of a list.
    #[derive(Default)]
    pub enum Sort {
        /// The newest first.
        #[default]
        Newest = "-created",
        /// The oldest first.
        Oldest = "created",
        /// The last changed first.
        LastChanged = "-updated",
        /// The one first that has not changed for longest.
        FirstChanged = "updated",
        /// By address, from its beginning.
        Address = "email",
        /// By address, from the end.
        LastAddress = "-email",
    }
}

impl Sort {
    /// The order of making, in the same direction: the one in which nobody moves while a list is read.
    #[must_use]
    pub fn of_making(self) -> Sort {
        match self {
            Sort::FirstChanged | Sort::Oldest | Sort::Address => Sort::Oldest,
            Sort::LastChanged | Sort::Newest | Sort::LastAddress => Sort::Newest,
        }
    }
}

/// Which users to list.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Those of this tenant.
    pub tenant: Option<TenantId>,
    /// Those of this status; without it, all but the deleted.
    pub status: Option<Status>,
    /// Those made in this span.
    pub created: Range,
    /// Those last changed in this span.
    pub updated: Range,
    /// The one with this address.
    pub email: Option<Email>,
    /// The one with this number.
    pub phone: Option<Phone>,
    /// The one that the app calls so.
    pub external_id: Option<String>,
    /// The order.
    pub sort: Sort,
    /// Where the page begins: what the page before gave.
    pub cursor: Option<String>,
    /// How many at the most.
    pub limit: i64,
}

/// A page of the users that the caller has a right to see, and the cursor of the next one.
///
/// # Errors
/// The caller has no right to see others, or is not shown what they are filtered or sorted by; there is no such tenant, or the
/// cursor is not of this list.
pub fn list(tx: &Tx, caller: &Caller, list: &List) -> Result<(Vec<User>, Option<String>)> {
    caller.need(Right::ReadUsers)?;
    list.facts().try_for_each(|name| caller.need_fact(name))?;
    if list.status == Some(Status::Deleted) {
        caller.need(Right::DeleteUsers)?;
    }
    let tenant = list.whose(tx, caller)?.map(|tenant| tenant.id);
    let scope = Scope { tenant: tenant.or(caller.scope.tenant), ..caller.scope };
    let name = list.name(scope);
    let place = list.cursor.as_ref().map(|cursor| Place::open(tx, &name, cursor)).transpose()?;
    let found = store::page(tx, scope, list, place, list.limit + 1)?;
    let (users, next) = place::page(found, list.limit, |user| Place { at: list.at(user), id: user.id.0 });
    Ok((users, next.map(|next| next.seal(tx, &name))))
}

/// The users of an environment who are not deleted, those made first first, from after `place` on; and where the next begin.
pub(crate) fn oldest(
    tx: &Tx,
    environment: EnvironmentId,
    place: Option<Place>,
    limit: i64,
) -> Result<(Vec<User>, Option<Place>)> {
    let list = List { sort: Sort::Oldest, ..List::default() };
    let found = store::page(tx, Scope { environment, tenant: None }, &list, place, limit + 1)?;
    Ok(place::page(found, limit, |user| Place { at: user.created_at, id: user.id.0 }))
}

/// What the place of a list by address has instead of a time: by it is seen whether the address is still the one that it was.
pub(super) fn mark(address_key: &str) -> Timestamp {
    Timestamp(sha256(address_key.as_bytes()).first_chunk().map_or(0, |first| i64::from_be_bytes(*first)))
}

impl List {
    /// The tenant whose users are wanted, if it is one tenant's. Who looks for the deleted also names one that is deleted with them.
    ///
    /// # Errors
    /// There is no such tenant within the caller's reach.
    pub fn whose(&self, tx: &Tx, caller: &Caller) -> Result<Option<Tenant>> {
        let get = if self.status == Some(Status::Deleted) { tenants::get_any } else { tenants::get };
        self.tenant.map(|id| get(tx, caller, id)).transpose()
    }

    /// The facts that the filters and the order tell.
    fn facts(&self) -> impl Iterator<Item = &'static str> {
        let tells = [
            ("email", self.email.is_some() || self.is_by_address()),
            ("phone_number", self.phone.is_some()),
            ("externalId", self.external_id.is_some()),
        ];
        tells.into_iter().filter(|(_, tells)| *tells).map(|(name, _)| name)
    }

    /// What its places have of a user besides their id.
    fn at(&self, user: &User) -> Timestamp {
        match self.sort {
            Sort::Newest | Sort::Oldest => user.created_at,
            Sort::LastChanged | Sort::FirstChanged => user.updated_at,
            Sort::Address | Sort::LastAddress => mark(user.email.key()),
        }
    }

    fn is_by_change(&self) -> bool {
        matches!(self.sort, Sort::LastChanged | Sort::FirstChanged)
    }

    pub(super) fn is_by_address(&self) -> bool {
        matches!(self.sort, Sort::Address | Sort::LastAddress)
    }

    /// Whether an index has the list in its order. A span of the other time has to be sorted, or sought through; the index of
    /// addresses has the environment alone.
    pub fn is_quick(&self) -> bool {
        if self.is_by_address() {
            let is_common = self.status.is_none_or(|status| status == Status::Active);
            return is_common && self.tenant.is_none() && [self.created, self.updated] == [Range::default(); 2];
        }
        let other = if self.is_by_change() { self.created } else { self.updated };
        other == Range::default()
    }

    /// Whether the list's tenant, status and times let a user through whom something else has found.
    pub(super) fn wants(&self, user: &Outline) -> bool {
        self.tenant.is_none_or(|tenant| user.tenant == Some(tenant))
            && self.status.map_or(user.status != Status::Deleted, |status| user.status == status)
            && self.created.has(user.created_at)
            && self.updated.has(user.updated_at)
    }

    /// Everything that makes this list another one than others, with nothing personal in it.
    pub(super) fn name(&self, scope: Scope) -> String {
        let personal = format!(
            "{:?}\n{:?}\n{:?}",
            self.email.as_ref().map(Email::key),
            self.phone.as_ref().map(Phone::key),
            self.external_id
        );
        let personal = sha256(personal.as_bytes());
        format!("users {scope:?} {:?} {:?} {:?} {:?} {personal:?}", self.status, self.created, self.updated, self.sort)
    }
}
