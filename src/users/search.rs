//! Finding a person by whatever somebody has of them: an id, an address or the beginning of one, a phone number, the app's
//! own name, a part of a name.
//!
//! All but names are found by an index. For names, [`Names`] tells where to look; what it does not know yet is read from the
//! newest users backwards, some thousands at a time, and a place says how far that has come.

use super::names::{self, Names};
use super::{Email, Phone, Status, User, store};
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::Result;
use crate::place::Place;
use crate::roles::Right;
use crate::secret::sha256;
use crate::users;

/// How many users are read for their names at the most.
const AT_ONCE: i64 = 5000;
/// How many are found at the most.
const MOST: usize = 50;
/// How many that share the beginning of an address.
const ALIKE: i64 = 20;

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
}

/// Finds users of the caller's environment, the deleted among them if the caller may see those.
///
/// # Errors
/// The caller has no right to see others, or the cursor is not of this search.
pub fn search(tx: &Tx, caller: &Caller, names: &Names, text: &str, cursor: Option<&str>) -> Result<Found> {
    caller.need(Right::ReadUsers)?;
    let text = text.trim();
    let mut found = Found { users: Vec::new(), back_to: None, next: None, is_early: false };
    if text.is_empty() {
        return Ok(found);
    }
    let name = format!("search {:?} {:?}", caller.scope, sha256(text.as_bytes()));
    let place = cursor.map(|cursor| Place::open(tx, &name, cursor)).transpose()?;
    let mut certain = false;
    if place.is_none() {
        let exact = exactly(tx, caller, text)?;
        certain = !exact.is_empty();
        found.users.extend(exact);
        let beginning = text.to_lowercase();
        found.users.extend(store::with_address_like(tx, caller.scope.environment, &beginning, ALIKE)?);
    }
    let words = names::words(text);
    // Who has an address or an id in hand does not look for a name.
    if !certain && !text.contains('@') && !words.is_empty() {
        let (users, last, is_early) = by_name(tx, caller, names, &words, place.unwrap_or(Place::LAST))?;
        found.users.extend(users);
        found.is_early = is_early;
        found.back_to = last.map(|last| last.at);
        found.next = last.map(|last| last.seal(tx, &name));
    }
    let may_see_deleted = caller.rights.has(Right::DeleteUsers);
    let mut seen = std::collections::HashSet::new();
    found.users.retain(|user| {
        store::within(user, caller.scope)
            && (may_see_deleted || user.status() != Status::Deleted)
            && seen.insert(user.id)
    });
    Ok(found)
}

/// Whose name has all these words, from before a place on; where that ended, if there are more; and whether it ended where
/// names are not gathered yet.
fn by_name(
    tx: &Tx,
    caller: &Caller,
    names: &Names,
    words: &[String],
    place: Place,
) -> Result<(Vec<User>, Option<Place>, bool)> {
    let environment = caller.scope.environment;
    let look = names.look(environment, words, place);
    let (mut found, last, read) = store::named(tx, environment, words, (look.gathered, place), AT_ONCE, MOST)?;
    if last.is_some() {
        let is_early = found.len() < MOST;
        return Ok((found, last, is_early));
    }
    let mut left = AT_ONCE - read;
    for (after, before) in &look.spans {
        if left <= 0 {
            return Ok((found, Some(*before), false));
        }
        let (users, last, read) = store::named(tx, environment, words, (*after, *before), left, MOST - found.len())?;
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
        found.extend(store::any_by_phone(tx, environment, &phone)?);
    }
    if Email::new(text).is_none() {
        found.extend(store::any_by_external_id(tx, environment, text)?);
    }
    Ok(found)
}
