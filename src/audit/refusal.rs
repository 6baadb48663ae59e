//! What is written of attempts that were refused.

use uuid::Uuid;

use super::Action;
use super::store::of_user;
use super::store::{self, Draft};
use crate::apps::EnvironmentId;
use crate::caller::Origin;
use crate::db::Tx;
use crate::error::Result;
use crate::users::UserId;

/// An attempt that was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// What was asked for, [`Action::RequestRefused`] if no word says it better.
    pub action: Action,
    /// The method and the route of the request, or the name of the command: never a path or what else was given, which may hold
    /// an address or a secret.
    pub operation: Option<String>,
    /// The user it is certainly about.
    pub user: Option<UserId>,
    /// The UUID in the path, or the first that the command was given.
    pub target: Option<Uuid>,
    /// The request, if no origin tells.
    pub request: Option<Uuid>,
    /// The API date, if no origin tells.
    pub date: Option<&'static str>,
    /// The code of the error.
    pub code: &'static str,
    /// For how many attempts it stands.
    pub times: i64,
}

impl Refusal {
    /// One attempt, refused with that error code.
    pub fn of(action: Action, code: &'static str) -> Refusal {
        Refusal { action, operation: None, user: None, target: None, request: None, date: None, code, times: 1 }
    }
}

/// Notes a refused attempt, of someone unknown unless there is an origin. Where the attempt's own transaction is rolled
/// back, this needs another.
///
/// # Errors
/// The database refuses.
pub fn refuse(tx: &Tx, environment: EnvironmentId, origin: Option<Origin>, refusal: &Refusal) -> Result<()> {
    let draft = Draft {
        operation: refusal.operation.as_deref(),
        user: refusal.user,
        target: refusal.target,
        request: refusal.request,
        date: refusal.date,
        result: refusal.code,
        times: refusal.times,
        ..Draft::of(environment, refusal.action)
    };
    match origin {
        Some(origin) => store::insert(tx, &draft.by(origin)),
        None => store::insert(tx, &draft),
    }
}

/// How many refused attempts an hour are noted of one person, for whom anyone may try who once had a link of theirs.
const REFUSALS_PER_HOUR: i64 = 1000;

/// Notes that somebody unknown was refused what they tried as, or for, a person; of very many, the first.
///
/// # Errors
/// The database refuses.
pub fn refuse_stranger(
    tx: &Tx,
    (environment, user): (EnvironmentId, UserId),
    action: Action,
    request: Option<Uuid>,
    code: &'static str,
) -> Result<()> {
    if of_user::count_refused(tx, user, tx.now() - std::time::Duration::from_hours(1))? >= REFUSALS_PER_HOUR {
        return Ok(());
    }
    let draft = Draft { user: Some(user), result: code, request, ..Draft::of(environment, action) };
    store::insert(tx, &draft)
}
