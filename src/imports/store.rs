//! The SQL of imports.

use std::collections::HashSet;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::batch::Hash;
use super::{Import, ImportId, Outcome, Settings, State, Status};
use crate::admins::AdminId;
use crate::apps::EnvironmentId;
use crate::caller::{Actor, Scope};
use crate::clock::Timestamp;
use crate::db::{Row, Tx, Value, one_of, params};
use crate::error::{Error, Result};
use crate::field::restore;
use crate::keys::KeyId;
use crate::random;
use crate::users::{self, UserId};

const IMPORT: &str = "SELECT id, environment_id, tenant_id, actor, actor_id, settings, state, total, place, imported, duplicates, \
     failed, undone, removed, kept, created_at, finished_at, due_at FROM imports";

pub(super) fn insert(tx: &Tx, import: &Import, fingerprint: &[u8]) -> Result<()> {
    let (actor, actor_id) = actor(import);
    tx.add(
        "imports (id, environment_id, tenant_id, actor, actor_id, fingerprint, settings, state, total, created_at, due_at)",
        params![
            import.id,
            import.environment,
            import.tenant,
            actor,
            actor_id,
            fingerprint,
            settings(import)?,
            import.state,
            number(import.total),
            import.created_at,
            import.due_at,
        ],
    )
}

fn actor(import: &Import) -> (&'static str, Option<Uuid>) {
    match import.actor {
        Actor::Key(id) => ("key", Some(id.0)),
        Actor::Person(id) => ("person", Some(id.0)),
        Actor::Admin(id) => ("admin", Some(id.0)),
        Actor::Operator | Actor::Usher => ("operator", None),
    }
}

fn settings(import: &Import) -> Result<String> {
    serde_json::to_string(&import.settings).map_err(Error::internal)
}

pub(super) fn by_id(tx: &Tx, id: ImportId) -> Result<Option<Import>> {
    tx.query_opt(&format!("{IMPORT} WHERE id = $1"), params![id])?.as_ref().map(read).transpose()
}

pub(super) fn to_change(tx: &Tx, id: ImportId) -> Result<Import> {
    let found = tx.query_opt(&format!("{IMPORT} WHERE id = $1{}", tx.for_update()), params![id])?;
    read(&found.ok_or(Error::NotFound("Import not found"))?)
}

/// The import of the same file that a command has begun since then, and that was not finished.
pub(super) fn unfinished(
    tx: &Tx,
    environment: EnvironmentId,
    fingerprint: &[u8],
    since: Timestamp,
) -> Result<Option<Import>> {
    let sql = format!(
        "{IMPORT} WHERE environment_id = $1 AND fingerprint = $2 AND state = 'running' AND due_at IS NULL \
         AND created_at > $3"
    );
    tx.query_opt(&sql, params![environment, fingerprint, since])?.as_ref().map(read).transpose()
}

/// The newest imports within reach.
///
/// # Errors
/// The database does not answer.
pub fn list(tx: &Tx, scope: Scope, limit: i64) -> Result<Vec<Import>> {
    let order = "ORDER BY created_at DESC, id DESC";
    let rows = match scope.tenant {
        None => {
            tx.query(&format!("{IMPORT} WHERE environment_id = $1 {order} LIMIT $2"), params![scope.environment, limit])
        }
        Some(tenant) => tx.query(
            &format!("{IMPORT} WHERE environment_id = $1 AND tenant_id = $2 {order} LIMIT $3"),
            params![scope.environment, tenant, limit],
        ),
    };
    rows?.iter().map(read).collect()
}

pub(super) fn save(tx: &Tx, import: &Import) -> Result<()> {
    tx.change_one(
        "UPDATE imports SET state = $1, place = $2, imported = $3, duplicates = $4, failed = $5, undone = $6, removed = $7, \
         kept = $8, finished_at = $9, due_at = $10 WHERE id = $11",
        params![
            import.state,
            number(import.place),
            number(import.imported),
            number(import.duplicates),
            number(import.failed),
            number(import.undone),
            number(import.removed),
            number(import.kept),
            import.finished_at,
            import.due_at,
            import.id,
        ],
    )
}

/// Writes down who says how an import goes on, and how.
pub(super) fn restart(tx: &Tx, import: &Import) -> Result<()> {
    let (actor, actor_id) = actor(import);
    tx.change_one(
        "UPDATE imports SET tenant_id = $1, actor = $2, actor_id = $3, settings = $4, created_at = $5 WHERE id = $6",
        params![import.tenant, actor, actor_id, settings(import)?, import.created_at, import.id],
    )?;
    save(tx, import)
}

/// Keeps the file of an import for the servers.
pub(super) fn keep_file(tx: &Tx, id: ImportId, file: &[u8]) -> Result<()> {
    let sealed = tx.vault().seal(id.0.as_bytes(), file);
    tx.add("import_files (import_id, sealed)", params![id, sealed])
}

pub(super) fn file(tx: &Tx, id: ImportId) -> Result<Option<Vec<u8>>> {
    let row = tx.query_opt("SELECT sealed FROM import_files WHERE import_id = $1", params![id])?;
    row.map(|row| tx.vault().open(id.0.as_bytes(), &row.get::<Vec<u8>>(0)?)).transpose()
}

/// Removes the file, and with it what was noted of those who were erased meanwhile.
pub(super) fn forget_file(tx: &Tx, id: ImportId) -> Result<()> {
    tx.run("DELETE FROM import_files WHERE import_id = $1", params![id])?;
    tx.run("DELETE FROM import_erased WHERE import_id = $1", params![id])
}

pub(super) fn forget_pages(tx: &Tx, id: ImportId) -> Result<()> {
    tx.run("DELETE FROM import_pages WHERE import_id = $1", params![id])
}

/// Removes an import that came to nothing.
pub(super) fn remove(tx: &Tx, id: ImportId) -> Result<()> {
    forget_file(tx, id)?;
    forget_pages(tx, id)?;
    tx.run("DELETE FROM imports WHERE id = $1", params![id])
}

/// How many files of an environment wait for a server, or are read by one.
pub(super) fn files(tx: &Tx, environment: EnvironmentId) -> Result<u64> {
    let sql = "SELECT COUNT(*) FROM imports WHERE environment_id = $1 AND due_at IS NOT NULL AND state IN ('draft', 'running')";
    tx.query_opt(sql, params![environment])?.map_or(Ok(0), |row| count(row.get(0)?))
}

/// The imports of an environment that may have rows to come, locked: a server or a command has the file.
pub(super) fn under_way(tx: &Tx, environment: EnvironmentId) -> Result<Vec<ImportId>> {
    let sql = format!(
        "SELECT id FROM imports WHERE environment_id = $1 AND state IN ('draft', 'running') ORDER BY id{}",
        tx.for_update()
    );
    tx.query(&sql, params![environment])?.iter().map(|row| row.get(0)).collect()
}

/// The same of all environments.
pub(super) fn all_under_way(tx: &Tx) -> Result<Vec<ImportId>> {
    let sql = "SELECT id FROM imports WHERE state IN ('draft', 'running') ORDER BY id";
    tx.query(sql, params![])?.iter().map(|row| row.get(0)).collect()
}

/// What commands have begun by then and not finished, the oldest first.
pub(super) fn cut_off(tx: &Tx, by: Timestamp, limit: i64) -> Result<Vec<ImportId>> {
    let sql =
        "SELECT id FROM imports WHERE state = 'running' AND due_at IS NULL AND created_at <= $1 ORDER BY id LIMIT $2";
    tx.query(sql, params![by, limit])?.iter().map(|row| row.get(0)).collect()
}

/// Notes something that was unique about somebody who is erased, unless it is noted already.
pub(super) fn note_erased(tx: &Tx, id: ImportId, hash: &Hash) -> Result<()> {
    tx.insert("import_erased (id, import_id, hash)", params![random::uuid(), id, &hash[..]]).map(|_| ())
}

/// Whether anybody was erased while an import had rows to come.
pub(super) fn has_erased(tx: &Tx, id: ImportId) -> Result<bool> {
    Ok(tx.query_opt("SELECT 1 FROM import_erased WHERE import_id = $1 LIMIT 1", params![id])?.is_some())
}

/// Which of these were noted of those who were.
pub(super) fn erased(tx: &Tx, id: ImportId, hashes: &[Hash]) -> Result<HashSet<Hash>> {
    if hashes.is_empty() {
        return Ok(HashSet::new());
    }
    let (places, all) = one_of(vec![id.into()], hashes.iter().map(|hash| Value::from(&hash[..])).collect());
    let sql = format!("SELECT hash FROM import_erased WHERE import_id = $1 AND hash IN ({places})");
    let found = tx.query(&sql, &all)?;
    found.iter().map(|row| row.get::<Vec<u8>>(0)?.try_into().map_err(|_| Error::Integrity)).collect()
}

/// How many imports of an environment were broken off since then.
pub fn count_broken(tx: &Tx, environment: EnvironmentId, since: Timestamp) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM imports WHERE environment_id = $1 AND state = $2 AND finished_at > $3";
    tx.query_opt(sql, params![environment, State::Broken, since])?.map_or(Ok(0), |row| row.get(0))
}

/// Whether an import waits for a server.
///
/// # Errors
/// The database does not answer.
pub fn waits(tx: &Tx) -> Result<bool> {
    Ok(tx.query_opt("SELECT 1 FROM imports WHERE due_at <= $1 LIMIT 1", params![tx.now()])?.is_some())
}

/// The import that has waited for a server the longest, locked.
pub(super) fn due(tx: &Tx) -> Result<Option<Import>> {
    let sql = format!("{IMPORT} WHERE due_at <= $1 ORDER BY due_at LIMIT 1{}", tx.for_update());
    tx.query_opt(&sql, params![tx.now()])?.as_ref().map(read).transpose()
}

/// What became of rows that follow each other: the ids of those that became users, one after the other, and the others.
#[derive(Serialize, Deserialize)]
struct Page {
    ids: String,
    others: Vec<(u64, String, Option<Uuid>, String)>,
}

pub(super) fn keep(tx: &Tx, id: ImportId, outcomes: &[Outcome]) -> Result<()> {
    let (Some(first), Some(last)) = (outcomes.first(), outcomes.last()) else { return Ok(()) };
    let imported = |outcome: &&Outcome| outcome.status == Status::Imported;
    let ids: Vec<u8> =
        outcomes.iter().filter(imported).filter_map(|o| o.user).flat_map(|id| id.0.into_bytes()).collect();
    let other = |o: &Outcome| (o.row, o.status.as_str().to_owned(), o.user.map(|id| id.0), o.reason.clone());
    let others = outcomes.iter().filter(|outcome| !imported(outcome)).map(other).collect();
    let page = serde_json::to_string(&Page { ids: BASE64_STANDARD.encode(ids), others }).map_err(Error::internal)?;
    tx.add(
        "import_pages (id, import_id, first_row, last_row, outcomes)",
        params![random::ordered_uuid(tx.now()), id, number(first.row), number(last.row), page],
    )
}

/// What became of the rows after `row`, as far as they were kept together.
pub(super) fn page_after(tx: &Tx, id: ImportId, row: u64) -> Result<Option<Vec<Outcome>>> {
    let sql = "SELECT first_row, last_row, outcomes FROM import_pages WHERE import_id = $1 AND last_row > $2 ORDER BY last_row LIMIT 1";
    tx.query_opt(sql, params![id, number(row)])?.as_ref().map(open).transpose()
}

/// What became of at most `limit` rows after `row`, for whoever has this scope: of those who were there already, they are
/// told who it is only if that is somebody of theirs.
///
/// # Errors
/// The database does not answer.
pub fn outcomes(tx: &Tx, scope: Scope, id: ImportId, mut row: u64, limit: usize) -> Result<Vec<Outcome>> {
    let mut all = Vec::new();
    while all.len() < limit {
        let Some(page) = page_after(tx, id, row)? else { break };
        all.extend(page.into_iter().filter(|outcome| outcome.row > row));
        row = all.last().map_or(row, |outcome| outcome.row);
    }
    all.truncate(limit);
    if let Some(tenant) = scope.tenant {
        let there = |outcome: &Outcome| outcome.user.filter(|_| outcome.status == Status::Duplicate);
        let ours = users::of_tenant(tx, tenant, &all.iter().filter_map(there).collect::<Vec<_>>())?;
        all.iter_mut()
            .filter(|outcome| there(outcome).is_some_and(|user| !ours.contains(&user)))
            .for_each(|outcome| outcome.user = None);
    }
    Ok(all)
}

fn open(row: &Row) -> Result<Vec<Outcome>> {
    let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
    let page: Page = restore(row.get::<String>(2)?.as_bytes())?;
    let ids = BASE64_STANDARD.decode(page.ids).map_err(|_| Error::Integrity)?;
    let (mut ids, mut others) = (ids.chunks_exact(16), page.others.into_iter().peekable());
    let outcome = |row: u64| {
        if let Some((_, status, user, reason)) = others.next_if(|other| other.0 == row) {
            let status = Status::named(&status).ok_or(Error::Integrity)?;
            return Ok(Outcome { row, status, user: user.map(UserId), reason });
        }
        let user = ids.next().map(|id| Uuid::from_slice(id).map_err(|_| Error::Integrity)).transpose()?;
        Ok(Outcome { row, status: Status::Imported, user: user.map(UserId), reason: String::new() })
    };
    (count(first)?..=count(last)?).map(outcome).collect()
}

fn number(count: u64) -> Value<'static> {
    i64::try_from(count).unwrap_or(i64::MAX).into()
}

fn count(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::Integrity)
}

fn read(row: &Row) -> Result<Import> {
    let actor = match (row.get::<String>(3)?.as_str(), row.get::<Option<Uuid>>(4)?) {
        ("key", Some(id)) => Actor::Key(KeyId(id)),
        ("person", Some(id)) => Actor::Person(UserId(id)),
        ("admin", Some(id)) => Actor::Admin(AdminId(id)),
        ("operator", None) => Actor::Operator,
        _ => return Err(Error::Integrity),
    };
    let settings: Settings = restore(row.get::<String>(5)?.as_bytes())?;
    let counted = |index| row.get::<i64>(index).and_then(count);
    Ok(Import {
        id: row.get(0)?,
        environment: row.get(1)?,
        tenant: row.get(2)?,
        actor,
        settings,
        state: row.get::<State>(6)?,
        total: counted(7)?,
        place: counted(8)?,
        imported: counted(9)?,
        duplicates: counted(10)?,
        failed: counted(11)?,
        undone: counted(12)?,
        removed: counted(13)?,
        kept: counted(14)?,
        created_at: row.get(15)?,
        finished_at: row.get(16)?,
        due_at: row.get(17)?,
    })
}
