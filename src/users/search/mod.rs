//! Finding a person by whatever somebody has of them: an id, an address or the beginning of one, a phone number, the app's
//! own name, a part of a name.
//!
//! All but names are found by an index. For names, [`Names`] tells where to look; what it does not know yet is read from the
//! newest users backwards, some thousands at a time, and a place says how far that has come.

mod store;

use std::collections::HashSet;

use super::list::Outline;
use super::names::{self, Names};
use super::{Email, List, Phone, Status, User, UserId};
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::place::Place;
use crate::roles::Right;
use crate::secret::sha256;
use crate::users;

/// How many users are read for their names at the most.
const AT_ONCE: i64 = 5000;
/// How many are found at the most.
const MOST: usize = 50;
/// How many addresses that begin so are read for those who are wanted; they lie all over the table.
const ADDRESSES: i64 = 1000;
/// How many that share the beginning of an address.
const ALIKE: usize = 20;
/// How many in a file.
const ALIKE_IN_FILE: usize = 5000;

/// Who was found.
pub struct Found {
    /// The users, those that fit best first.
    pub users: Vec<User>,
    /// Names were read back to here, and there are more.
    pub back_to: Option<Timestamp>,
    /// Where to go on.
    pub next: Option<String>,
    /// The names of everybody are not gathered yet.
    pub is_early: bool,
    /// More addresses begin so than are shown.
    pub more_alike: bool,
}

/// Whom a search is to find, besides that they fit what is looked for.
struct Wanted<'a> {
    caller: &'a Caller,
    /// What filters; without it, everybody whom the caller may see.
    list: Option<&'a List>,
}

impl Wanted<'_> {
    fn has(&self, user: &Outline) -> bool {
        let scope = self.caller.scope;
        scope.tenant.is_none_or(|tenant| user.tenant == Some(tenant))
            && (user.status != Status::Deleted || self.caller.rights.has(Right::DeleteUsers))
            && self.list.is_none_or(|list| list.wants(user))
    }
}

/// Finds users of the caller's environment: among those whom a list wants, from its cursor on, or else among all whom the caller
/// may see.
///
/// # Errors
/// The caller has no right to see others, or the cursor is not of this search.
pub fn search(tx: &Tx, caller: &Caller, names: &Names, text: &str, list: Option<&List>) -> Result<Found> {
    find(tx, caller, names, text, list, ALIKE)
}

/// The same for a file, which has everybody: also of those whose address begins so.
///
/// # Errors
/// Those of [`search`]; more addresses begin so than can be read at once.
pub fn search_for_file(tx: &Tx, caller: &Caller, names: &Names, text: &str, list: &List) -> Result<Found> {
    let found = find(tx, caller, names, text, Some(list), ALIKE_IN_FILE)?;
    if found.more_alike {
        let why = "5000 addresses or more begin so, too many for a search that goes into a file: type more of the address, or take \
             the search out and choose by tenant, state or day";
        return Err(Error::bad_request("too_many_alike", why));
    }
    Ok(found)
}

fn find(tx: &Tx, caller: &Caller, names: &Names, text: &str, list: Option<&List>, most_alike: usize) -> Result<Found> {
    caller.need(Right::ReadUsers)?;
    if list.is_some_and(|list| list.status == Some(Status::Deleted)) {
        caller.need(Right::DeleteUsers)?;
    }
    let text = text.trim();
    let mut found = Found { users: Vec::new(), back_to: None, next: None, is_early: false, more_alike: false };
    // No text in the database has a NUL, and to ask for one is an error there.
    if text.is_empty() || text.contains('\0') {
        return Ok(found);
    }
    let wanted = Wanted { caller, list };
    let filter = list.map_or_else(String::new, |list| format!("{:?} {}", list.tenant, list.name(caller.scope)));
    let name = format!("search {:?} {filter} {:?}", caller.scope, sha256(text.as_bytes()));
    let cursor = list.and_then(|list| list.cursor.as_deref());
    let place = cursor.map(|cursor| Place::open(tx, &name, cursor)).transpose()?;

    let mut seen: HashSet<UserId> = HashSet::new();
    let mut first = exactly(tx, caller, text)?;
    first.retain(|user| wanted.has(&user.outline()) && seen.insert(user.id));
    let certain = !first.is_empty();
    let limits = (most_alike, ADDRESSES.max(i64::try_from(most_alike).unwrap_or(i64::MAX)));
    let beginning = Email::beginning(text);
    let (alike, more_alike) = store::with_address_like(tx, caller.scope.environment, &beginning, &wanted, limits)?;
    // Later pages have names alone, and nobody of the first page again.
    for id in alike.into_iter().filter(|id| seen.insert(*id)) {
        if place.is_none() {
            first.extend(users::any_by_id(tx, id)?);
        }
    }
    if place.is_none() {
        found.users = first;
        found.more_alike = more_alike;
    }
    let words = names::words(text);
    // Who has an address or an id in hand does not look for a name.
    if !certain && !text.contains('@') && !words.is_empty() {
        let (users, end, is_early) = by_name(tx, &wanted, names, &words, place.unwrap_or(Place::LAST))?;
        found.users.extend(users.into_iter().filter(|user| seen.insert(user.id)));
        found.is_early = is_early;
        found.back_to = end.map(|end| end.at);
        found.next = end.map(|end| end.seal(tx, &name));
    }
    Ok(found)
}

/// Who is wanted and whose name has all these words, from before a place on; where that ended, if there are more; and whether it
/// ended where names are not gathered yet.
fn by_name(
    tx: &Tx,
    wanted: &Wanted,
    names: &Names,
    words: &[String],
    place: Place,
) -> Result<(Vec<User>, Option<Place>, bool)> {
    let environment = wanted.caller.scope.environment;
    let look = names.look(environment, words, place);
    let limits = (MOST, AT_ONCE);
    let (mut found, last, read) = store::named(tx, environment, words, wanted, (look.gathered, place), limits)?;
    if last.is_some() {
        let is_early = found.len() < MOST;
        return Ok((found, last, is_early));
    }
    let mut left = AT_ONCE - read;
    for (after, before) in &look.spans {
        if left <= 0 {
            return Ok((found, Some(*before), false));
        }
        let limits = (MOST - found.len(), left);
        let (users, last, read) = store::named(tx, environment, words, wanted, (*after, *before), limits)?;
        found.extend(users);
        if last.is_some() {
            return Ok((found, last, false));
        }
        left -= read;
    }
    Ok((found, look.spans.last().map(|(after, _)| after.next()).filter(|_| look.more), false))
}

/// Whoever has exactly this: at most one each by id, address, number and the app's own name.
fn exactly(tx: &Tx, caller: &Caller, text: &str) -> Result<Vec<User>> {
    let environment = caller.scope.environment;
    let mut found: Vec<User> = users::look_up(tx, environment, text)?.into_iter().collect();
    if text.chars().filter(char::is_ascii_digit).count() >= 6
        && let Some(phone) = Phone::new(text, caller.region)
    {
        found.extend(users::store::any_by_phone(tx, environment, &phone)?);
    }
    if Email::new(text).is_none() {
        found.extend(users::store::any_by_external_id(tx, environment, text)?);
    }
    Ok(found)
}
