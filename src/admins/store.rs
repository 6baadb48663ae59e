//! The SQL of administrators.

use super::{Admin, AdminId, Purpose, Role, Row as TicketRow, SESSION_LIFETIME};
use crate::clock::Timestamp;
use crate::db::{Purge, Row, Tx, params};
use crate::error::Result;
use crate::random;
use crate::secret::Secret;
use crate::ticket::Ticket;
use crate::users::Email;
use crate::words::Language;

const ADMIN: &str = "SELECT id, email, role, created_at, signed_in_at, removed_at, language FROM admins";

/// Everybody who is an administrator, the first one first.
///
/// # Errors
/// The database does not answer.
pub fn list(tx: &Tx) -> Result<Vec<Admin>> {
    let sql = format!("{ADMIN} WHERE removed_at IS NULL ORDER BY created_at, id");
    tx.query(&sql, params![])?.iter().map(read).collect()
}

/// Has whoever else locks the administrators wait until this transaction is over. All of them, also who is none any more, for
/// the first is always among them: of two owners who remove each other, one is seen to be gone.
pub(super) fn lock(tx: &Tx) -> Result<()> {
    tx.query(&format!("SELECT id FROM admins ORDER BY id{}", tx.for_update()), params![]).map(drop)
}

/// The administrator of an id, also one who is none any more.
///
/// # Errors
/// The database does not answer.
pub fn by_id(tx: &Tx, id: AdminId) -> Result<Option<Admin>> {
    tx.query_opt(&format!("{ADMIN} WHERE id = $1"), params![id])?.as_ref().map(read).transpose()
}

pub(super) fn by_email(tx: &Tx, email: &Email) -> Result<Option<Admin>> {
    tx.query_opt(&format!("{ADMIN} WHERE email_key = $1"), params![email.key()])?.as_ref().map(read).transpose()
}

pub(super) fn insert(tx: &Tx, id: AdminId, email: &Email, role: Role) -> Result<()> {
    tx.add("admins (id, email, email_key, role, created_at)", params![id, email.address(), email.key(), role, tx.now()])
}

pub(super) fn take_back(tx: &Tx, id: AdminId, email: &Email, role: Role) -> Result<()> {
    let sql = "UPDATE admins SET email = $1, role = $2, created_at = $3, removed_at = NULL WHERE id = $4";
    tx.change_one(sql, params![email.address(), role, tx.now(), id])
}

pub(super) fn set_role(tx: &Tx, id: AdminId, role: Role) -> Result<()> {
    tx.change_one("UPDATE admins SET role = $1 WHERE id = $2 AND removed_at IS NULL", params![role, id])
}

pub(super) fn remove(tx: &Tx, id: AdminId) -> Result<()> {
    tx.change_one("UPDATE admins SET removed_at = $1 WHERE id = $2 AND removed_at IS NULL", params![tx.now(), id])
}

pub(super) fn note_sign_in(tx: &Tx, id: AdminId, language: Language) -> Result<()> {
    let sql = "UPDATE admins SET signed_in_at = $1, language = $2 WHERE id = $3";
    tx.run(sql, params![tx.now(), language.tag(), id])
}

pub(super) fn insert_ticket(
    tx: &Tx,
    ticket: &Ticket,
    purpose: Purpose,
    admin: Option<AdminId>,
    expires_at: Timestamp,
) -> Result<()> {
    tx.add(
        "admin_tickets (id, hash, purpose, admin_id, created_at, expires_at, seen_at)",
        params![ticket.id(), ticket.hash(), purpose, admin, tx.now(), expires_at, tx.now()],
    )
}

/// The row of a ticket that somebody presents.
pub(super) fn find(tx: &Tx, presented: &Secret, purpose: Purpose) -> Result<Option<TicketRow>> {
    let Some(ticket) = Ticket::read(presented) else { return Ok(None) };
    let sql =
        "SELECT id, hash, admin_id, expires_at, seen_at, ended_at FROM admin_tickets WHERE id = $1 AND purpose = $2";
    match tx.query_opt(sql, params![ticket.id(), purpose])? {
        Some(row) if ticket.fits(&row.get::<Vec<u8>>(1)?) => Ok(Some(TicketRow {
            id: row.get(0)?,
            admin: row.get(2)?,
            expires_at: row.get(3)?,
            seen_at: row.get(4)?,
            ended_at: row.get(5)?,
        })),
        _ => Ok(None),
    }
}

/// `true` for the one caller who used it up.
pub(super) fn use_up(tx: &Tx, presented: &Secret, purpose: Purpose) -> Result<bool> {
    let Some(ticket) = Ticket::read(presented) else { return Ok(false) };
    let sql = "UPDATE admin_tickets SET ended_at = $1 \
         WHERE id = $2 AND hash = $3 AND purpose = $4 AND ended_at IS NULL AND expires_at > $1";
    Ok(tx.execute(sql, params![tx.now(), ticket.id(), ticket.hash(), purpose])? == 1)
}

pub(super) fn end(tx: &Tx, id: uuid::Uuid) -> Result<()> {
    tx.run("UPDATE admin_tickets SET ended_at = $1 WHERE id = $2 AND ended_at IS NULL", params![tx.now(), id])
}

pub(super) fn end_all(tx: &Tx, admin: AdminId) -> Result<()> {
    tx.run("UPDATE admin_tickets SET ended_at = $1 WHERE admin_id = $2 AND ended_at IS NULL", params![tx.now(), admin])
}

pub(super) fn end_every_ticket(tx: &Tx) -> Result<()> {
    tx.run("UPDATE admin_tickets SET ended_at = $1 WHERE ended_at IS NULL", params![tx.now()])
}

pub(super) fn end_setups(tx: &Tx) -> Result<()> {
    let sql = "UPDATE admin_tickets SET ended_at = $1 WHERE purpose = $2 AND ended_at IS NULL";
    tx.run(sql, params![tx.now(), Purpose::Setup])
}

pub(super) fn note_use(tx: &Tx, id: uuid::Uuid) -> Result<()> {
    tx.run("UPDATE admin_tickets SET seen_at = $1 WHERE id = $2", params![tx.now(), id])
}

/// Removes the tickets that have ended by their time.
pub fn purge(tx: &Tx) -> Result<bool> {
    tx.purge(&Purge::by_id("admin_tickets"), random::first_uuid(tx.now() - SESSION_LIFETIME))
}

fn read(row: &Row) -> Result<Admin> {
    Ok(Admin {
        id: row.get(0)?,
        email: row.get(1)?,
        role: row.get(2)?,
        created_at: row.get(3)?,
        signed_in_at: row.get(4)?,
        removed_at: row.get(5)?,
        language: row.get::<Option<String>>(6)?.as_deref().and_then(Language::of_tag),
    })
}
