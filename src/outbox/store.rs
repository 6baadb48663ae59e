//! The SQL of the outbox.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Job, JobId, Kind, Payload, State};
use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::db::{Purge, Row, Tx, params};
use crate::error::Result;
use crate::field::restore;
use crate::random;
use crate::users::UserId;

const JOB: &str = "SELECT id, user_id, kind, payload, state, attempts, created_at, failure, round, due_at, \
     environment_id FROM outbox";

pub(super) fn insert(
    tx: &Tx,
    (environment, user): (EnvironmentId, UserId),
    kind: Kind,
    payload: &Value,
    due_at: Option<Timestamp>,
) -> Result<()> {
    let state = if due_at.is_some() { State::Queued } else { State::Captured };
    let id = JobId(random::sequential_uuid(tx.now()));
    let payload = tx.vault().seal(id.0.as_bytes(), payload.to_string().as_bytes());
    tx.add(
        "outbox (id, environment_id, user_id, kind, payload, state, attempts, created_at, due_at)",
        params![id, environment, user, kind, payload, state, 0, tx.now(), due_at],
    )
}

pub(super) fn due(tx: &Tx, kind: Kind, limit: i64) -> Result<Vec<Job>> {
    let turn = if kind.is_in_order() { FIRST } else { "" };
    let sql = format!(
        "{JOB} WHERE due_at <= $1 AND (leased_until IS NULL OR leased_until <= $1) AND kind = $2{turn} \
         ORDER BY due_at LIMIT $3"
    );
    tx.query(&sql, params![tx.now(), kind, limit])?.iter().map(|row| read(tx, row)).collect()
}

/// No older one of the same user is unfinished. It says the one kind that is done in order as its index does.
const FIRST: &str = " AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.user_id = outbox.user_id AND o.kind = 'billing' \
     AND o.due_at IS NOT NULL AND o.id < outbox.id)";

/// The jobs of the kind that is done in order, about a user, that nobody has begun and that are due, locked: nobody begins one
/// meanwhile.
pub fn not_begun(tx: &Tx, user: UserId) -> Result<Vec<Job>> {
    // When it is due is asked of what was found: a planner would take the index of all that is.
    let sql = format!(
        "{JOB} WHERE user_id = $1 AND kind = 'billing' AND due_at IS NOT NULL AND attempts = 0 ORDER BY id{}",
        tx.for_update()
    );
    let mut jobs: Vec<Job> = tx.query(&sql, params![user])?.iter().map(|row| read(tx, row)).collect::<Result<_>>()?;
    jobs.retain(|job| job.due_at <= Some(tx.now()));
    Ok(jobs)
}

/// `true` for the one worker who got it.
pub(super) fn lease(tx: &Tx, job: &Job, until: Timestamp) -> Result<bool> {
    let sql = format!("UPDATE outbox SET leased_until = $1, attempts = attempts + 1 WHERE id = $2 AND {MINE} $3");
    Ok(tx.execute(&sql, params![until, job.id, job.attempts])? == 1)
}

/// Only the worker whose try this was may say how it went.
const MINE: &str = "state = 'queued' AND attempts =";

const FINISH: &str =
    "UPDATE outbox SET state = $1, failure = $2, payload = $3, finished_at = $4, due_at = NULL, leased_until = NULL";

/// What a job was done with is wiped but for the address: a sent mail holds a working link.
fn wiped(tx: &Tx, job: &Job) -> Vec<u8> {
    let kept = json!({ "to": job.payload.as_ref().and_then(|payload| payload.text("to")) });
    tx.vault().seal(job.id.0.as_bytes(), kept.to_string().as_bytes())
}

/// A job is done, or not to be done.
pub(super) fn finish(tx: &Tx, job: &Job, state: State, why: Option<&str>) -> Result<()> {
    let sql = format!("{FINISH} WHERE id = $5 AND {MINE} $6");
    tx.run(&sql, params![state, why, wiped(tx, job), tx.now(), job.id, job.attempts])
}

/// A job that was given up is done; `false` if it was not given up.
pub(super) fn dismiss(tx: &Tx, job: &Job) -> Result<bool> {
    let sql = format!("{FINISH} WHERE id = $5 AND state = 'failed'");
    Ok(tx.execute(&sql, params![State::Sent, None::<&str>, wiped(tx, job), tx.now(), job.id])? == 1)
}

/// A job was given up; `false` if somebody else has done so. It keeps what it needs, for an operator may want it done again.
pub(super) fn give_up(tx: &Tx, job: &Job, failure: &str) -> Result<bool> {
    let sql = format!(
        "UPDATE outbox SET state = 'failed', failure = $1, finished_at = $2, due_at = NULL, leased_until = NULL \
         WHERE id = $3 AND {MINE} $4"
    );
    Ok(tx.execute(&sql, params![failure, tx.now(), job.id, job.attempts])? == 1)
}

pub(super) fn retry(tx: &Tx, job: &Job, due_at: Timestamp, failure: &str, round: i64) -> Result<()> {
    let sql = format!(
        "UPDATE outbox SET due_at = $1, failure = $2, round = $3, leased_until = NULL WHERE id = $4 AND {MINE} $5"
    );
    tx.run(&sql, params![due_at, failure, round, job.id, job.attempts])
}

/// As if the try had not begun. Once, however often it is noted: the job is due later then, and its count may by now be that of a
/// try that another worker has begun.
pub(super) fn put_off(tx: &Tx, job: &Job, due_at: Timestamp, why: &str) -> Result<()> {
    let sql = format!(
        "UPDATE outbox SET due_at = $1, failure = $2, attempts = attempts - 1, leased_until = NULL WHERE id = $3 AND {MINE} $4 \
         AND due_at = $5"
    );
    tx.run(&sql, params![due_at, why, job.id, job.attempts, job.due_at])
}

/// What was given up of a kind in an environment, oldest first.
pub(super) fn given_up_in(
    tx: &Tx,
    kind: Kind,
    environment: EnvironmentId,
    limit: i64,
) -> Result<Vec<(JobId, EnvironmentId)>> {
    let sql = "SELECT id, environment_id FROM outbox WHERE state = 'failed' AND kind = $1 AND environment_id = $2 \
         ORDER BY created_at LIMIT $3";
    tx.query(sql, params![kind, environment, limit])?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// What was given up of a kind, oldest first; or that one job, if it was.
pub(super) fn given_up(tx: &Tx, kind: Kind, id: Option<JobId>, limit: i64) -> Result<Vec<(JobId, EnvironmentId)>> {
    const GIVEN_UP: &str = "SELECT id, environment_id FROM outbox WHERE state = 'failed' AND kind = $1";
    let rows = match id {
        Some(id) => tx.query(&format!("{GIVEN_UP} AND id = $2"), params![kind, id])?,
        None => tx.query(&format!("{GIVEN_UP} ORDER BY created_at LIMIT $2"), params![kind, limit])?,
    };
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

pub(super) fn queue_again(tx: &Tx, id: JobId) -> Result<()> {
    tx.run(
        "UPDATE outbox SET state = 'queued', attempts = 0, round = round + 1, due_at = $1, finished_at = NULL \
         WHERE id = $2 AND state = 'failed'",
        params![tx.now(), id],
    )
}

pub(super) fn by_id(tx: &Tx, id: JobId) -> Result<Option<Job>> {
    tx.query_opt(&format!("{JOB} WHERE id = $1"), params![id])?.map(|row| read(tx, &row)).transpose()
}

/// The jobs of a kind that are tried again, the next first, and then those that were given up, the newest first.
pub fn troubled(tx: &Tx, kind: Kind, limit: i64) -> Result<Vec<Job>> {
    let tried_again = "kind = $1 AND due_at IS NOT NULL AND failure IS NOT NULL ORDER BY due_at";
    let given_up = "kind = $1 AND state = 'failed' ORDER BY created_at DESC";
    let mut jobs = Vec::new();
    for which in [tried_again, given_up] {
        let left = limit - i64::try_from(jobs.len()).unwrap_or(limit);
        for row in tx.query(&format!("{JOB} WHERE {which} LIMIT $2"), params![kind, left])? {
            jobs.push(read(tx, &row)?);
        }
    }
    Ok(jobs)
}

pub(super) fn by_id_in(tx: &Tx, environment: EnvironmentId, id: JobId) -> Result<Option<Job>> {
    let sql = format!("{JOB} WHERE id = $1 AND environment_id = $2");
    tx.query_opt(&sql, params![id, environment])?.map(|row| read(tx, &row)).transpose()
}

/// How many jobs [`mails_of`] looks through, for no index has those of an environment.
const LOOKED_THROUGH: i64 = 10_000;

/// The newest mails of an environment, newest first: in one state or in any, from before a job on, among so many that looking
/// is quick. Where to go on, if there may be more.
///
/// # Errors
/// The database does not answer.
pub fn mails_of(
    tx: &Tx,
    environment: EnvironmentId,
    state: Option<State>,
    before: Option<JobId>,
    limit: i64,
) -> Result<(Vec<Job>, Option<JobId>)> {
    let before = before.map_or(Uuid::max(), |id| id.0);
    // What was given up has an index.
    let from = match state {
        Some(State::Failed) => None,
        _ => tx.rows_back("outbox", before, LOOKED_THROUGH)?,
    };
    let kinds: Vec<String> = Kind::MAILS.iter().map(|kind| format!("'{}'", kind.as_str())).collect();
    let state = state.map_or_else(String::new, |state| format!(" AND state = '{}'", state.as_str()));
    let sql = format!(
        "{JOB} WHERE id < $1 AND id >= $2 AND environment_id = $3 AND kind IN ({}){state} ORDER BY id DESC LIMIT $4",
        kinds.join(", ")
    );
    let rows = tx.query(&sql, params![before, from.unwrap_or_default(), environment, limit]);
    let jobs: Vec<Job> = rows?.iter().map(|row| read(tx, row)).collect::<Result<_>>()?;
    let is_full = i64::try_from(jobs.len()).is_ok_and(|count| count == limit);
    let next = if is_full { jobs.last().map(|job| job.id) } else { from.map(JobId) };
    Ok((jobs, next))
}

/// The newest jobs of a kind, newest first.
pub fn newest(tx: &Tx, kind: Kind, limit: i64) -> Result<Vec<Job>> {
    let sql = format!("{JOB} WHERE kind = $1 ORDER BY created_at DESC, id LIMIT $2");
    tx.query(&sql, params![kind, limit])?.iter().map(|row| read(tx, row)).collect()
}

/// The newest jobs about a user that are mails, newest first.
pub fn of_user(tx: &Tx, user: UserId, limit: i64) -> Result<Vec<Job>> {
    let sql = format!("{JOB} WHERE user_id = $1 AND kind <> $2 ORDER BY created_at DESC, id LIMIT $3");
    tx.query(&sql, params![user, Kind::BillingSync, limit])?.iter().map(|row| read(tx, row)).collect()
}

/// How many mails of an environment that were written since then are in which state.
pub fn states_since(tx: &Tx, environment: EnvironmentId, since: Timestamp) -> Result<Vec<(State, i64)>> {
    let sql = "SELECT state, COUNT(*) FROM outbox WHERE created_at >= $1 AND environment_id = $2 AND kind <> $3 GROUP BY state";
    let rows = tx.query(sql, params![since, environment, Kind::BillingSync])?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The jobs of a kind about a user, oldest first, locked: nobody takes one meanwhile.
pub fn of_user_to_change(tx: &Tx, kind: Kind, user: UserId) -> Result<Vec<Job>> {
    let sql = format!("{JOB} WHERE user_id = $1 AND kind = $2 ORDER BY id{}", tx.for_update());
    tx.query(&sql, params![user, kind])?.iter().map(|row| read(tx, row)).collect()
}

/// How many jobs of a kind and an environment wait, and since when the oldest does.
pub fn waiting(tx: &Tx, environment: EnvironmentId, kind: Kind) -> Result<(i64, Option<Timestamp>)> {
    let sql =
        "SELECT COUNT(*), MIN(created_at) FROM outbox WHERE kind = $1 AND due_at IS NOT NULL AND environment_id = $2";
    let row = tx.query_opt(sql, params![kind, environment])?;
    row.map_or(Ok((0, None)), |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Since when the oldest job of a kind waits, of those that are due or were tried.
pub(super) fn oldest(tx: &Tx, kind: Kind) -> Result<Option<Timestamp>> {
    let sql = "SELECT created_at FROM outbox WHERE kind = $1 AND due_at IS NOT NULL AND (due_at <= $2 OR attempts > 0) \
         ORDER BY created_at LIMIT 1";
    tx.query_opt(sql, params![kind, tx.now()])?.map(|row| row.get(0)).transpose()
}

/// How many jobs of a kind and an environment were given up.
pub fn count_given_up(tx: &Tx, environment: EnvironmentId, kind: Kind) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM outbox WHERE kind = $1 AND state = 'failed' AND environment_id = $2";
    tx.query_opt(sql, params![kind, environment])?.map_or(Ok(0), |row| row.get(0))
}

/// How many jobs of a kind are in a state, and since when the oldest waits.
pub fn backlog(tx: &Tx, kind: Kind, state: State) -> Result<(i64, Option<Timestamp>)> {
    // As the indexes say it that have only these.
    let condition = match state {
        State::Queued => "due_at IS NOT NULL".to_owned(),
        other => format!("state = '{}'", other.as_str()),
    };
    let sql = format!("SELECT COUNT(*), MIN(created_at) FROM outbox WHERE kind = $1 AND {condition}");
    let row = tx.query_opt(&sql, params![kind])?;
    row.map_or(Ok((0, None)), |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Removes some finished jobs that are older than that, and says whether there may be more. What billing gave up is kept: it
/// may be a customer who is yet to be deleted.
pub(super) fn purge(tx: &Tx, before: Timestamp) -> Result<bool> {
    const FINISHED: Purge =
        Purge { condition: "due_at IS NULL AND NOT (kind = 'billing' AND state = 'failed')", ..Purge::by_id("outbox") };
    tx.purge(&FINISHED, random::first_uuid(before))
}

fn read(tx: &Tx, row: &Row) -> Result<Job> {
    let id: JobId = row.get(0)?;
    let payload = tx.vault().open(id.0.as_bytes(), &row.get::<Vec<u8>>(3)?);
    Ok(Job {
        id,
        user: row.get(1)?,
        kind: row.get(2)?,
        // One damaged job must not stop the others.
        payload: payload.and_then(|json| restore(&json)).ok().map(Payload),
        state: row.get(4)?,
        attempts: row.get(5)?,
        created_at: row.get(6)?,
        failure: row.get(7)?,
        round: row.get(8)?,
        due_at: row.get(9)?,
        environment: row.get(10)?,
    })
}
