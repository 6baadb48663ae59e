//! The dated versions of the partner API.
//!
//! The code knows the newest shape only. Each file here is one date: a note for the changelog, and how the shapes
//! looked before that date. Shapes of an older date come from the newest by going back through the files in between.

mod v2023_08_22;
mod v2023_10_04;

use std::sync::LazyLock;

use serde_json::Value;

use crate::api::partner::shape::{self, Shape};
use crate::error::{Error, Result};
use crate::subscriptions::Ask;

/// What happened to the API on one date.
pub struct Version {
    /// The date from which it holds.
    pub date: &'static str,
    /// What changed, for those who call the date before.
    pub note: &'static str,
    /// Who has to do something before they move to it, and what.
    pub affects: &'static str,
    /// Takes the shapes back to what they were before this date.
    before: fn(&mut Shapes),
    /// Takes an event that webhooks tell of back in the same way; `false` if there was no such event.
    event: fn(&mut Value) -> bool,
}

/// Every change, newest first.
pub const CHANGES: &[Version] = &[v2023_10_04::VERSION, v2023_08_22::VERSION];
/// The first date, which changed nothing.
const FIRST: &str = "2023-08-01";

/// The shapes of the partner API's bodies on one date.
#[derive(Clone)]
pub struct Shapes {
    /// `POST /users/create`: the request.
    pub create: Shape,
    /// `POST /users/update`: the request, and `data` of the answer.
    pub update: Shape,
    /// `POST /users/retrieve`: the request.
    pub retrieve: Shape,
    /// `POST /users/retrieve`: the answer.
    pub retrieved: Shape,
    /// `POST /subscription/update`.
    pub plan: Shape<Ask>,
    /// `POST /subscription/pause`.
    pub pause: Shape<Ask>,
    /// `POST /subscription/cancel`.
    pub cancel: Shape<Ask>,
}

/// One date of the partner API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiDate(usize);

impl ApiDate {
    /// The date of a caller that names none and has none pinned.
    pub const NEWEST: ApiDate = ApiDate(0);

    /// Every date, newest first.
    pub fn all() -> impl DoubleEndedIterator<Item = ApiDate> {
        (0..=CHANGES.len()).map(ApiDate)
    }

    /// The date written so.
    ///
    /// # Errors
    /// It is none of ours; the text lists those that are.
    pub fn named(text: &str) -> Result<ApiDate> {
        ApiDate::all().find(|date| date.as_str() == text).ok_or_else(|| {
            let dates: Vec<&str> = ApiDate::all().rev().map(ApiDate::as_str).collect();
            Error::bad_request("unknown_version", format!("Unknown API version; the versions are {}", dates.join(", ")))
        })
    }

    /// `YYYY-MM-DD`.
    pub fn as_str(self) -> &'static str {
        CHANGES.get(self.0).map_or(FIRST, |change| change.date)
    }

    /// The shapes on this date.
    pub fn shapes(self) -> &'static Shapes {
        static SHAPES: LazyLock<Vec<Shapes>> = LazyLock::new(|| {
            let mut shapes = vec![shape::newest()];
            for change in CHANGES {
                let mut older = shapes[shapes.len() - 1].clone();
                (change.before)(&mut older);
                shapes.push(older);
            }
            shapes
        });
        &SHAPES[self.0]
    }
}

/// An event as it is told on a date: taken back through every change since. `None` if there was no such event.
pub fn lower(date: &str, mut event: Value) -> Option<Value> {
    // A date that was dropped since counts as the newest.
    let date = ApiDate::named(date).unwrap_or(ApiDate::NEWEST);
    CHANGES[..date.0].iter().all(|change| (change.event)(&mut event)).then_some(event)
}
