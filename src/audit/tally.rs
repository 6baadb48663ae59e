//! Refused attempts of callers that nobody knows, or whose key has ended: counted, and written down once a minute as one
//! entry for each kind, so that whoever floods the server does not fill its disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::{Action, INSTALLATION, Refusal, refuse};
use crate::apps::EnvironmentId;
use crate::caller::{Actor, Origin};
use crate::db::Tx;
use crate::error::Result;

/// How many kinds are told apart between two writings; what comes after goes without its route.
const MOST: usize = 1000;

/// Attempts that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The key that has ended, and its environment, if it was one.
    pub key: Option<(EnvironmentId, Actor)>,
    /// The method and the route.
    pub operation: Option<String>,
    /// The code of the error.
    pub code: &'static str,
}

/// The counts since they were last written down.
#[derive(Debug, Default)]
pub struct Tally(Mutex<HashMap<Kind, i64>>);

impl Tally {
    /// Counts attempts.
    pub fn add(&self, kind: Kind, times: i64) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counts.len() < MOST || counts.contains_key(&kind);
        let kind = if known { kind } else { Kind { key: None, operation: None, code: kind.code } };
        *counts.entry(kind).or_default() += times;
    }

    /// Counts one attempt of somebody unknown, where no error tells of it.
    pub fn add_stranger(&self, operation: &str, code: &'static str) {
        self.add(Kind { key: None, operation: Some(operation.to_owned()), code }, 1);
    }

    /// Takes what was counted since the last time.
    pub fn take(&self) -> Vec<(Kind, i64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain().collect()
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
