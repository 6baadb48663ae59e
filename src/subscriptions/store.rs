//! The SQL of subscriptions: when they turn by themselves. What they are is in their users' records.

use crate::audit::Action;
use crate::clock::Timestamp;
use crate::db::{Tx, params};
use crate::error::Result;
use crate::users::UserId;

pub(super) fn add_turn(tx: &Tx, user: UserId, action: Action, due_at: Timestamp) -> Result<()> {
    tx.add("subscription_turns (user_id, action, created_at, due_at)", params![user, action, tx.now(), due_at])
}

pub(super) fn forget_turn(tx: &Tx, user: UserId) -> Result<()> {
    tx.run("DELETE FROM subscription_turns WHERE user_id = $1", params![user])
}

pub(super) fn due_turns(tx: &Tx, limit: i64) -> Result<Vec<(UserId, Action, Timestamp)>> {
    let sql = "SELECT user_id, action, due_at FROM subscription_turns WHERE due_at <= $1 ORDER BY due_at LIMIT $2";
    let rows = tx.query(sql, params![tx.now(), limit])?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// What is due of one user.
pub(super) fn due_turn(tx: &Tx, user: UserId) -> Result<Option<Action>> {
    let sql = "SELECT action FROM subscription_turns WHERE user_id = $1 AND due_at <= $2";
    tx.query_opt(sql, params![user, tx.now()])?.map(|row| row.get(0)).transpose()
}

pub(super) fn put_off(tx: &Tx, user: UserId, due_at: Timestamp) -> Result<()> {
    tx.run("UPDATE subscription_turns SET due_at = $1 WHERE user_id = $2", params![due_at, user])
}

/// Has a turn that was put off looked at again: whether its day has come is seen then.
pub(super) fn make_due(tx: &Tx, user: UserId) -> Result<()> {
    put_off(tx, user, tx.now())
}

/// `true` for the one who gets it.
pub(super) fn take_turn(tx: &Tx, user: UserId, due_at: Timestamp) -> Result<bool> {
    let sql = "DELETE FROM subscription_turns WHERE user_id = $1 AND due_at = $2";
    Ok(tx.execute(sql, params![user, due_at])? == 1)
}
