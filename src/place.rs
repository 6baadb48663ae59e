//! Places in lists: where the next page begins. A caller gets one sealed, so it can be neither made nor read elsewhere.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};

/// How many entries a page has at the most.
pub const MOST: i64 = 100;

/// After which entry of a list the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The time of that entry, or what stands for it in a list of another order.
    pub at: Timestamp,
    /// Its id, for there are several at one time.
    pub id: Uuid,
}

impl Place {
    /// Before every entry.
    pub const FIRST: Place = Place { at: Timestamp(i64::MIN), id: Uuid::nil() };
    /// After every entry.
    pub const LAST: Place = Place { at: Timestamp(i64::MAX), id: Uuid::max() };

    /// The place right after this one.
    #[must_use]
    pub fn next(self) -> Place {
        Place { id: Uuid::from_u128(self.id.as_u128().saturating_add(1)), ..self }
    }

    /// The place as a text that works for this `list` alone: the same scope, filters and order.
    pub fn seal(self, tx: &Tx, list: &str) -> String {
        let plain = [&self.at.0.to_be_bytes()[..], self.id.as_bytes()].concat();
        BASE64_URL_SAFE_NO_PAD.encode(tx.vault().seal(owner(list).as_bytes(), &plain))
    }

    /// Reads what [`Place::seal`] made for the same list.
    ///
    /// # Errors
    /// It was not made here, not for this list, or was changed.
    pub fn open(tx: &Tx, list: &str, text: &str) -> Result<Place> {
        let plain = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        let plain = plain.and_then(|sealed| tx.vault().open(owner(list).as_bytes(), &sealed).ok());
        let place = plain.as_deref().and_then(|plain| {
            let (at, id) = plain.split_at_checked(8)?;
            Some(Place { at: Timestamp(i64::from_be_bytes(at.try_into().ok()?)), id: Uuid::from_slice(id).ok()? })
        });
        place.ok_or_else(unknown)
    }
}

/// The refusal of a cursor that leads nowhere.
pub(crate) fn unknown() -> Error {
    Error::bad_request(
        "invalid_cursor",
        "cursor must be the nextCursor of the same list, with the same filters; where somebody has moved since, begin again without it",
    )
}

/// What sealed values are bound to is a row's id elsewhere; this cannot be one.
fn owner(list: &str) -> String {
    format!("usher.place\n{list}")
}

/// Cuts a list that was asked for with one entry more than `limit` to a page, and says where the next one begins.
pub fn page<T>(mut entries: Vec<T>, limit: i64, place: impl Fn(&T) -> Place) -> (Vec<T>, Option<Place>) {
    let limit = usize::try_from(limit).unwrap_or(0);
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(place);
    (entries, next)
}
