//! Refused attempts of callers that nobody knows, or whose key has ended: the first of each minute have an entry of their
//! own, like those of known callers; the others are counted, and written down once a minute as one entry for each kind, so
//! that whoever floods the server does not fill its disk.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Action, INSTALLATION, Refusal, refuse};
use crate::apps::EnvironmentId;
use crate::caller::{Actor, Origin};
use crate::db::Tx;
use crate::error::Result;

/// How many attempts at one operation with one error have an entry of their own between two writings: one flood leaves room
/// for what else is tried.
pub const OF_A_KIND: usize = 10;
/// How many have one in all; and how many kinds are told apart of those that are counted. What comes after goes without its
/// route, but never without the key that has ended: there are no more of these than were made.
pub const MOST: usize = 100;

/// Attempts that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Whose they were, and in which environment, if that is known: a key's that has ended, mostly.
    pub key: Option<(EnvironmentId, Actor)>,
    /// The method and the route.
    pub operation: Option<String>,
    /// The code of the error.
    pub code: &'static str,
}

/// The attempts since counts were last written down.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    /// How many have an entry of their own. Not by key: else, once there are enough of keys that never were, the time of an
    /// answer would tell a key that has ended.
    noted: HashMap<(String, &'static str), usize>,
    counts: HashMap<Kind, i64>,
}

impl Tally {
    /// Whether one more attempt at this operation, refused with this error, may have an entry of its own; if so, it has taken
    /// its place. One that may not, or whose entry cannot be written, is to be counted.
    pub fn admit(&self, operation: &str, code: &'static str) -> bool {
        let mut minute = self.minute();
        if minute.noted.values().sum::<usize>() >= MOST {
            return false;
        }
        let alike = minute.noted.entry((operation.to_owned(), code)).or_default();
        if *alike >= OF_A_KIND {
            return false;
        }
        *alike += 1;
        true
    }

    /// Counts attempts.
    pub fn add(&self, kind: Kind, times: i64) {
        let mut minute = self.minute();
        let counts = &mut minute.counts;
        let known = counts.len() < MOST || counts.contains_key(&kind);
        let kind = if known { kind } else { Kind { operation: None, ..kind } };
        *counts.entry(kind).or_default() += times;
    }

    /// Takes what was counted since the last time; the next attempts may have entries of their own again.
    pub fn take(&self) -> Vec<(Kind, i64)> {
        std::mem::take(&mut *self.minute()).counts.into_iter().collect()
    }

    fn minute(&self) -> MutexGuard<'_, Minute> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes counts into the trail.
///
/// # Errors
/// The database refuses.
pub fn write(tx: &Tx, counts: &[(Kind, i64)]) -> Result<()> {
    for (kind, times) in counts {
        let (environment, origin) = match kind.key {
            Some((environment, actor)) => (environment, Some(Origin::of(actor))),
            None => (INSTALLATION, None),
        };
        let refusal = Refusal {
            operation: kind.operation.clone(),
            times: *times,
            ..Refusal::of(Action::RequestRefused, kind.code)
        };
        refuse(tx, environment, origin, &refusal)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::keys::KeyId;

    #[test]
    fn of_many_kinds_no_more_are_noted_or_told_apart_than_that_and_none_is_lost() {
        let tally = Tally::default();
        let mut noted = 0;
        for _ in 0..OF_A_KIND {
            for route in 0..2 * MOST {
                let operation = format!("GET /{route}");
                if tally.admit(&operation, "no_credentials") {
                    noted += 1;
                } else {
                    tally.add(Kind { key: None, operation: Some(operation), code: "no_credentials" }, 1);
                }
            }
        }
        assert_eq!(noted, MOST);
        let counts = tally.take();
        assert_eq!(counts.len(), MOST + 1, "and one of the others together");
        assert_eq!(
            counts.iter().map(|(_, times)| usize::try_from(*times).unwrap()).sum::<usize>(),
            2 * MOST * OF_A_KIND - MOST
        );
        assert!(tally.take().is_empty() && tally.admit("GET /0", "no_credentials"));
    }

    #[test]
    fn among_any_number_of_kinds_the_attempts_of_an_ended_key_stay_its_own() {
        let tally = Tally::default();
        let ended = Some((INSTALLATION, Actor::Key(KeyId(Uuid::nil()))));
        for key in [None, ended] {
            for route in 0..2 * MOST {
                tally.add(Kind { key, operation: Some(format!("GET /{route}")), code: "key_revoked" }, 1);
            }
        }
        let of_key = tally.take().into_iter().filter(|(kind, _)| kind.key == ended).collect::<Vec<_>>();
        let all = i64::try_from(2 * MOST).unwrap();
        assert_eq!(of_key, [(Kind { key: ended, operation: None, code: "key_revoked" }, all)]);
    }
}
