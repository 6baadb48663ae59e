//! The SQL of billing.

use super::{Account, AccountId, Mode, Settings};
use crate::apps::EnvironmentId;
use crate::db::{Row, Tx, id_type, params};
use crate::error::{Error, Result};
use crate::field::restore;
use crate::users::UserId;

id_type!(
    /// A row of `billing_customers`.
    RowId
);

const ACCOUNT: &str = "SELECT id, environment_id, mode, settings, created_at FROM billing_accounts";

pub(super) fn insert(tx: &Tx, account: &Account) -> Result<()> {
    tx.forget_remembered();
    tx.add(
        "billing_accounts (id, environment_id, mode, settings, created_at)",
        params![account.id, account.environment, account.mode, seal(tx, account)?, account.created_at],
    )
}

pub(super) fn update(tx: &Tx, account: &Account) -> Result<()> {
    tx.run("UPDATE billing_accounts SET settings = $1 WHERE id = $2", params![seal(tx, account)?, account.id])
}

pub(super) fn remove(tx: &Tx, id: AccountId) -> Result<()> {
    tx.forget_remembered();
    tx.run("DELETE FROM billing_accounts WHERE id = $1", params![id])
}

/// Which modes an environment is connected in. Asked at every change, so the answer may be a moment old.
pub(super) fn connected(tx: &Tx, environment: EnvironmentId) -> Result<Vec<Mode>> {
    let sql = "SELECT mode FROM billing_accounts WHERE environment_id = $1";
    tx.query_remembered(sql, params![environment])?.iter().map(|row| row.get(0)).collect()
}

/// The account of an environment in a mode.
pub(super) fn of(tx: &Tx, environment: EnvironmentId, mode: Mode) -> Result<Option<Account>> {
    let sql = format!("{ACCOUNT} WHERE environment_id = $1 AND mode = $2");
    tx.query_opt(&sql, params![environment, mode])?.map(|row| read(tx, &row)).transpose()
}

/// The account of that id.
///
/// # Errors
/// The database does not answer.
pub fn by_id(tx: &Tx, id: AccountId) -> Result<Option<Account>> {
    tx.query_opt(&format!("{ACCOUNT} WHERE id = $1"), params![id])?.map(|row| read(tx, &row)).transpose()
}

/// Every account, oldest first.
///
/// # Errors
/// The database does not answer.
pub fn accounts(tx: &Tx) -> Result<Vec<Account>> {
    tx.query(&format!("{ACCOUNT} ORDER BY created_at, id"), params![])?.iter().map(|row| read(tx, row)).collect()
}

/// Whether any environment is connected.
///
/// # Errors
/// The database does not answer.
pub fn any_account(tx: &Tx) -> Result<bool> {
    Ok(tx.query_opt("SELECT 1 FROM billing_accounts LIMIT 1", params![])?.is_some())
}

/// Who a user is at Stripe.
///
/// # Errors
/// The database does not answer.
pub fn customer(tx: &Tx, user: UserId, mode: Mode) -> Result<Option<String>> {
    let sql = "SELECT customer FROM billing_customers WHERE user_id = $1 AND mode = $2";
    tx.query_opt(sql, params![user, mode])?.map(|row| row.get(0)).transpose()
}

pub(super) fn customers(tx: &Tx, user: UserId) -> Result<Vec<(Mode, String)>> {
    let sql = "SELECT mode, customer FROM billing_customers WHERE user_id = $1";
    tx.query(sql, params![user])?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Notes who a user is at Stripe, in place of whom they were.
///
/// # Errors
/// The database refuses.
pub fn note_customer(tx: &Tx, environment: EnvironmentId, user: UserId, mode: Mode, customer: &str) -> Result<()> {
    tx.run("DELETE FROM billing_customers WHERE user_id = $1 AND mode = $2", params![user, mode])?;
    tx.add(
        "billing_customers (id, environment_id, user_id, mode, customer, created_at)",
        params![RowId::ordered(tx.now()), environment, user, mode, customer, tx.now()],
    )
}

/// Whose customer that is.
pub(super) fn user_of(tx: &Tx, environment: EnvironmentId, mode: Mode, customer: &str) -> Result<Option<UserId>> {
    let sql = "SELECT user_id FROM billing_customers WHERE customer = $1 AND environment_id = $2 AND mode = $3";
    tx.query_opt(sql, params![customer, environment, mode])?.map(|row| row.get(0)).transpose()
}

/// Forgets a customer that is gone at Stripe.
pub(super) fn forget_customer(tx: &Tx, user: UserId, mode: Mode, customer: &str) -> Result<()> {
    tx.run(
        "DELETE FROM billing_customers WHERE user_id = $1 AND mode = $2 AND customer = $3",
        params![user, mode, customer],
    )
}

/// Whether any user of an environment is a customer.
pub(super) fn any_customer(tx: &Tx, environment: EnvironmentId, mode: Mode) -> Result<bool> {
    let sql = "SELECT 1 FROM billing_customers WHERE environment_id = $1 AND mode = $2 LIMIT 1";
    Ok(tx.query_opt(sql, params![environment, mode])?.is_some())
}

/// Some of the customers of an environment, with whose they are.
pub(super) fn some_customers(
    tx: &Tx,
    environment: EnvironmentId,
    mode: Mode,
    limit: i64,
) -> Result<Vec<(UserId, String)>> {
    let sql =
        "SELECT user_id, customer FROM billing_customers WHERE environment_id = $1 AND mode = $2 ORDER BY id LIMIT $3";
    tx.query(sql, params![environment, mode, limit])?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

pub(super) fn forget_user(tx: &Tx, user: UserId) -> Result<()> {
    tx.run("DELETE FROM billing_customers WHERE user_id = $1", params![user])
}

fn seal(tx: &Tx, account: &Account) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(&account.settings).map_err(Error::internal)?;
    Ok(tx.vault().seal(account.id.0.as_bytes(), &json))
}

fn read(tx: &Tx, row: &Row) -> Result<Account> {
    let id: AccountId = row.get(0)?;
    let settings: Settings = restore(&tx.vault().open(id.0.as_bytes(), &row.get::<Vec<u8>>(3)?)?)?;
    Ok(Account { id, environment: row.get(1)?, mode: row.get(2)?, settings, created_at: row.get(4)? })
}
