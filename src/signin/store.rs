//! The SQL of sign-ins.

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::{Asked, SignIn};
use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::db::{Row, Tx, Value, params};
use crate::error::{Error, Result};
use crate::field::restore;
use crate::random;
use crate::ticket::Ticket;
use crate::users::UserId;

/// For how long sign-ins are counted, and so kept.
const KEPT: Duration = Duration::from_hours(25);
const SIGN_IN: &str = "SELECT id, hash, environment_id, address, request, expires_at, user_id, closed_at, void_at \
     FROM sign_ins";

pub(super) fn insert(
    tx: &Tx,
    ticket: &Ticket,
    environment: EnvironmentId,
    address: &[u8],
    network: Option<Vec<u8>>,
    asked: &Asked,
    expires_at: Timestamp,
) -> Result<()> {
    let asked = serde_json::to_vec(asked).map_err(Error::internal)?;
    tx.add(
        "sign_ins (id, hash, environment_id, address, network, request, created_at, expires_at)",
        params![
            ticket.id(),
            ticket.hash(),
            environment,
            address,
            network,
            tx.vault().seal(ticket.id().as_bytes(), &asked),
            tx.now(),
            expires_at,
        ],
    )
}

pub(super) fn by_id(tx: &Tx, id: Uuid) -> Result<Option<SignIn>> {
    tx.query_opt(&format!("{SIGN_IN} WHERE id = $1"), params![id])?.map(|row| read(tx, &row)).transpose()
}

pub(super) fn waiting(tx: &Tx, limit: i64) -> Result<Vec<Uuid>> {
    let sql = "SELECT id FROM sign_ins WHERE decided_at IS NULL ORDER BY created_at, id LIMIT $1";
    tx.query(sql, params![limit])?.iter().map(|row| row.get(0)).collect()
}

/// Counts a sign-in as decided: no mail goes out.
pub fn set_aside(tx: &Tx, id: Uuid) -> Result<()> {
    take(tx, id).map(|_| ())
}

/// `true` for the one who decides it.
pub(super) fn take(tx: &Tx, id: Uuid) -> Result<bool> {
    let sql = "UPDATE sign_ins SET decided_at = $1 WHERE id = $2 AND decided_at IS NULL";
    Ok(tx.execute(sql, params![tx.now(), id])? == 1)
}

pub(super) fn sent(tx: &Tx, id: Uuid, user: UserId) -> Result<()> {
    tx.run("UPDATE sign_ins SET sent_at = $1, user_id = $2 WHERE id = $3", params![tx.now(), user, id])
}

/// `true` while there are tries left. Counted here, before anything is compared.
pub(super) fn count_try(tx: &Tx, id: Uuid, most: i64) -> Result<bool> {
    let sql = "UPDATE sign_ins SET tries = tries + 1 \
         WHERE id = $1 AND tries < $2 AND closed_at IS NULL AND expires_at > $3";
    Ok(tx.execute(sql, params![id, most, tx.now()])? == 1)
}

/// `true` for the one caller who used it up.
pub(super) fn use_up(tx: &Tx, id: Uuid) -> Result<bool> {
    let sql = "UPDATE sign_ins SET closed_at = $1 \
         WHERE id = $2 AND closed_at IS NULL AND void_at IS NULL AND expires_at > $1 AND sent_at IS NOT NULL";
    Ok(tx.execute(sql, params![tx.now(), id])? == 1)
}

/// Ends the sign-in of that id, and what its mail is worth, if the caller knows its hash.
pub(super) fn close(tx: &Tx, id: Uuid, hash: &[u8]) -> Result<()> {
    let sql = "UPDATE sign_ins SET closed_at = $1, void_at = COALESCE(void_at, $1) \
         WHERE id = $2 AND hash = $3 AND closed_at IS NULL";
    tx.run(sql, params![tx.now(), id, hash])
}

pub(super) fn void_by_address(tx: &Tx, address: &[u8]) -> Result<()> {
    // What was used was that, whatever has come after.
    let sql = "UPDATE sign_ins SET void_at = $1 \
         WHERE address = $2 AND sent_at IS NOT NULL AND void_at IS NULL AND closed_at IS NULL";
    tx.run(sql, params![tx.now(), address])
}

/// How many addresses are asked for at once: a statement takes no number of them.
const AT_ONCE: usize = 250;

/// Every sign-in that names a user or one of their addresses.
pub(super) fn of_user(tx: &Tx, user: UserId, addresses: Vec<Vec<u8>>) -> Result<Vec<Uuid>> {
    let mut rows = tx.query("SELECT id FROM sign_ins WHERE user_id = $1", params![user])?;
    for some in addresses.chunks(AT_ONCE) {
        let places: Vec<String> = (1..=some.len()).map(|place| format!("${place}")).collect();
        let sql = format!("SELECT id FROM sign_ins WHERE address IN ({})", places.join(", "));
        rows.extend(tx.query(&sql, &some.iter().cloned().map(Value::from).collect::<Vec<_>>())?);
    }
    let ids: BTreeSet<Uuid> = rows.iter().map(|row| row.get(0)).collect::<Result<_>>()?;
    Ok(ids.into_iter().collect())
}

/// Leaves of a sign-in that there was one; what was asked, if it is known, without the address. It is decided, for nobody is
/// to be sent anything.
pub(super) fn empty(tx: &Tx, id: Uuid, asked: Option<&Asked>) -> Result<()> {
    let Some(asked) = asked else { return tx.run("DELETE FROM sign_ins WHERE id = $1", params![id]) };
    let asked = serde_json::to_vec(asked).map_err(Error::internal)?;
    let sealed = tx.vault().seal(id.as_bytes(), &asked);
    tx.run(
        "UPDATE sign_ins SET request = $1, address = $2, user_id = NULL, void_at = $3, \
         decided_at = COALESCE(decided_at, $3) WHERE id = $4",
        params![sealed, Vec::<u8>::new(), tx.now(), id],
    )
}

/// How many sign-ins were begun since then, and how many of them from a network that is known.
pub fn begun(tx: &Tx, since: Timestamp) -> Result<(i64, i64)> {
    let sql = "SELECT COUNT(*), COUNT(network) FROM sign_ins WHERE id >= $1";
    let row = tx.query_opt(sql, params![random::first_uuid(since)])?;
    row.map_or(Ok((0, 0)), |row| Ok((row.get(0)?, row.get(1)?)))
}

pub(super) fn sent_to(tx: &Tx, address: &[u8], since: Timestamp) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM sign_ins WHERE address = $1 AND sent_at > $2 AND sent_at IS NOT NULL";
    tx.query_opt(sql, params![address, since])?.map_or(Ok(0), |row| row.get(0))
}

/// The mails of sign-ins `s` to those who wanted to register and did not.
const MAILS_TO_STRANGERS: &str = "outbox WHERE user_id IN (SELECT s.user_id FROM sign_ins s WHERE s.user_id IS NOT NULL \
     AND NOT EXISTS (SELECT 1 FROM users u WHERE u.id = s.user_id) AND s.id";

/// Removes the mail of a sign-in to somebody who wanted to register and did not by this one.
pub(super) fn remove_mail_to_a_stranger(tx: &Tx, id: Uuid) -> Result<()> {
    tx.run(&format!("DELETE FROM {MAILS_TO_STRANGERS} = $1)"), params![id])
}

/// How many sign-ins one transaction removes.
const PURGED: i64 = 1000;

/// Removes some of what is no longer counted, and says whether there may be more. With it go the mails to those who wanted to
/// register and did not: only the sign-in leads to them.
pub fn purge(tx: &Tx) -> Result<bool> {
    let cut = random::first_uuid(tx.now() - KEPT);
    let oldest = tx.query("SELECT id FROM sign_ins WHERE id <= $1 ORDER BY id LIMIT $2", params![cut, PURGED])?;
    let Some(last) = oldest.last() else { return Ok(false) };
    let last: Uuid = last.get(0)?;
    tx.run(&format!("DELETE FROM {MAILS_TO_STRANGERS} <= $1)"), params![last])?;
    tx.run("DELETE FROM sign_ins WHERE id <= $1", params![last])?;
    Ok(true)
}

fn read(tx: &Tx, row: &Row) -> Result<SignIn> {
    let id: Uuid = row.get(0)?;
    let asked = tx.vault().open(id.as_bytes(), &row.get::<Vec<u8>>(4)?)?;
    Ok(SignIn {
        id,
        hash: row.get(1)?,
        environment: row.get(2)?,
        address: row.get(3)?,
        asked: restore(&asked)?,
        expires_at: row.get(5)?,
        user: row.get(6)?,
        closed_at: row.get(7)?,
        void_at: row.get(8)?,
    })
}
