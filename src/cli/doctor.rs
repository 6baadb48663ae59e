//! `usher doctor`: what is well with the installation and what is not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::Common;
use crate::apps;
use crate::billing;
use crate::clock::{Clock, Timestamp};
use crate::db::backup::{self, LITTLE_SPACE, LastBackup};
use crate::db::{SCHEMA, Store, Tx};
use crate::error::Result;
use crate::outbox::{self, Kind, State};
use crate::signin;
use crate::users;
use crate::webhooks;

const MIB: u64 = 1 << 20;
/// Free space below this is worth knowing; below [`LITTLE_SPACE`] it is a problem.
const SOME_SPACE: u64 = 1024 * MIB;
/// A backup that is older than this is worth knowing.
const OLD_DAYS: i64 = 7;
const DAY: Duration = Duration::from_hours(24);

/// One finding.
#[derive(Debug)]
struct Finding {
    what: String,
    value: String,
    grade: Grade,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grade {
    Good,
    Note,
    Bad,
}

impl Grade {
    fn word(self) -> &'static str {
        match self {
            Grade::Good => "ok",
            Grade::Note => "note",
            Grade::Bad => "PROBLEM",
        }
    }
}

/// Prints the findings; fails if one is a problem. Changes nothing: what it looks at may be an older program's, at work.
pub async fn run(common: &Common) -> Result<ExitCode> {
    let location = common.location()?;
    let left: Vec<_> = backup::left_behind(&location).iter().map(|file| readable_copy(file)).collect();
    let store = match Store::open_as_it_is(&location, Clock::System).await {
        // A restore that was killed has left no database.
        Err(e) if !left.is_empty() => {
            show(common, &left);
            return Err(e);
        }
        opened => opened?,
    };
    let inspected = store.inspect().await?;
    let is_ours = inspected.iter().all(|(what, _, good)| *what != SCHEMA || *good);
    let grade = |good| if good { Grade::Good } else { Grade::Bad };
    let mut findings: Vec<Finding> = inspected
        .into_iter()
        .map(|(what, value, good)| Finding { what: what.into(), value, grade: grade(good) })
        .collect();
    findings.push(key_file_mode(common)?);
    let now = store.clock().now();
    let file = location.file();
    let directory = file
        .as_deref()
        .map(|file| file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    findings.push(directory.map_or_else(|| not_seen("free disk space", "it is a server's"), free_space));
    findings.push(last_backup(store.last_backup().await?, now));
    findings.extend(left);
    // In tables of another version there is nothing more that can be read.
    if is_ours {
        findings.push(clock(store.read(users::newest_created_at).await?, now));
        findings.extend(outbox(&store).await?);
        findings.push(webhooks(&store).await?);
        findings.push(networks(store.read(move |tx| signin::begun(tx, now - DAY)).await?));
        findings.push(held_back(store.read(held_back_of_all).await?));
    }
    show(common, &findings);
    let bad = findings.iter().any(|f| f.grade == Grade::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn show(common: &Common, findings: &[Finding]) {
    let json: Vec<_> =
        findings.iter().map(|f| json!({"what": f.what, "value": f.value, "state": f.grade.word()})).collect();
    let rows = findings.iter().map(|f| vec![f.grade.word().to_owned(), f.what.clone(), f.value.clone()]).collect();
    common.show(&json!(json), &["", "WHAT", "FOUND"], rows, "");
}

fn key_file_mode(common: &Common) -> Result<Finding> {
    let file = common.location()?.key_file();
    let mode = std::fs::metadata(&file).map(|m| m.permissions().mode() & 0o777).unwrap_or_default();
    let (grade, hint) =
        if mode & 0o077 == 0 { (Grade::Good, "") } else { (Grade::Bad, ": others can read it; chmod 600") };
    Ok(Finding { what: "data key file".into(), value: format!("{} mode {mode:o}{hint}", file.display()), grade })
}

/// What another machine does with its disks and backups.
fn not_seen(what: &str, why: &str) -> Finding {
    let value = format!("not seen from here: {why}; see docs/OPERATIONS.md");
    Finding { what: what.into(), value, grade: Grade::Note }
}

fn free_space(directory: &Path) -> Finding {
    let what = "free disk space".into();
    let name = directory.display();
    match backup::free_space(directory) {
        Ok(free) => Finding { what, value: format!("{} MiB for {name}", free / MIB), grade: grade_space(free) },
        Err(e) => Finding { what, value: format!("{name}: {e}"), grade: Grade::Bad },
    }
}

fn grade_space(free: u64) -> Grade {
    match free {
        ..LITTLE_SPACE => Grade::Bad,
        LITTLE_SPACE..SOME_SPACE => Grade::Note,
        _ => Grade::Good,
    }
}

/// Behind a proxy that nobody has named, sign-ins seem to come from nowhere, and the limit for each network does not count.
fn networks((begun, from_known): (i64, i64)) -> Finding {
    let unknown = begun - from_known;
    let (value, grade) = match unknown {
        0 => (format!("all of {begun} in a day came from a network that is known"), Grade::Good),
        _ => (
            format!(
                "{unknown} of {begun} in a day came from a private address and count for no network; is there a proxy? Name it with --trusted-proxy"
            ),
            Grade::Note,
        ),
    };
    Finding { what: "sign-ins".into(), value, grade }
}

/// How many mails to sign in by the environments have held back.
fn held_back_of_all(tx: &Tx) -> Result<i64> {
    apps::environments(tx)?.into_iter().map(|environment| signin::held_back(tx, environment.id)).sum()
}

fn held_back(mails: i64) -> Finding {
    let (value, grade) = match mails {
        0 => ("none in a day".to_owned(), Grade::Good),
        _ => (
            format!(
                "{mails} in a day, for an environment sends {} to users and {} to who registers within an hour; is somebody flooding it?",
                signin::PER_ENVIRONMENT.most,
                signin::TO_STRANGERS.most
            ),
            Grade::Note,
        ),
    };
    Finding { what: "mails to sign in by held back".into(), value, grade }
}

fn last_backup(last: LastBackup, now: Timestamp) -> Finding {
    let what = "last verified backup";
    let (value, grade) = match last {
        LastBackup::Elsewhere => return not_seen(what, "the database server's own tools make them"),
        LastBackup::Never => ("never; `usher backup FILE` makes one".to_owned(), Grade::Note),
        LastBackup::At(at) => {
            let hours = (now.0 - at.0).max(0) / 3_600_000;
            let age = if hours < 48 { format!("{hours} hours ago") } else { format!("{} days ago", hours / 24) };
            let grade = if hours > OLD_DAYS * 24 { Grade::Note } else { Grade::Good };
            (format!("{at}, {age}"), grade)
        }
    };
    Finding { what: what.into(), value, grade }
}

fn readable_copy(file: &Path) -> Finding {
    let value = format!(
        "{} was left by a backup or a restore that was killed, and names, addresses and profiles are readable in it; remove it",
        file.display()
    );
    Finding { what: "readable copy".into(), value, grade: Grade::Bad }
}

fn clock(newest: Option<Timestamp>, now: Timestamp) -> Finding {
    let (value, grade) = match newest {
        Some(newest) if newest > now => {
            (format!("{now}, but a user was made at {newest}: was the clock ahead, or is it behind?"), Grade::Note)
        }
        _ => (now.to_string(), Grade::Good),
    };
    Finding { what: "clock".into(), value, grade }
}

async fn outbox(store: &Store) -> Result<[Finding; 3]> {
    let count = async |kind, state| store.read(move |tx| outbox::backlog(tx, kind, state)).await;
    let (mut queued, mut oldest, mut failed) = (0, None, 0);
    for kind in Kind::MAILS {
        let (number, since) = count(*kind, State::Queued).await?;
        queued += number;
        oldest = oldest.into_iter().chain(since).min();
        failed += count(*kind, State::Failed).await?.0;
    }
    let (billing, _) = count(Kind::BillingSync, State::Queued).await?;
    let (failed_billing, _) = count(Kind::BillingSync, State::Failed).await?;
    let accounts = store.read(billing::accounts).await?.len();
    let since =
        oldest.map(|at| format!(", the oldest since {at}; does `usher serve` have --smtp-url?")).unwrap_or_default();
    let note_if = |some: bool| if some { Grade::Note } else { Grade::Good };
    Ok([
        Finding { what: "live mail waiting".into(), value: format!("{queued}{since}"), grade: note_if(queued > 0) },
        Finding { what: "live mail failed".into(), value: failed.to_string(), grade: note_if(failed > 0) },
        Finding {
            what: "billing provider".into(),
            value: match (accounts, failed_billing) {
                (0, 0) => "none is connected".to_owned(),
                _ => format!(
                    "{accounts} accounts connected, {billing} changes wait, {failed_billing} failed; see `usher billing failures`"
                ),
            },
            grade: note_if(failed_billing > 0),
        },
    ])
}

async fn webhooks(store: &Store) -> Result<Finding> {
    let all = store.scan(|tx| {
        let endpoints = webhooks::list(tx, None)?.into_iter();
        endpoints.map(|endpoint| Ok((webhooks::waiting(tx, endpoint.id)?, endpoint))).collect::<Result<Vec<_>>>()
    });
    let all = all.await?;
    let disabled = all.iter().filter(|(_, endpoint)| endpoint.disabled_at.is_some()).count();
    let now = store.clock().now();
    let late = |since: Option<Timestamp>| since.is_some_and(|since| now - webhooks::LATE > since);
    let behind = all.iter().filter(|((_, since), _)| late(*since)).count();
    let value =
        format!("{}, of which {disabled} disabled and {behind} an hour behind; see `usher webhook list`", all.len());
    Ok(Finding { what: "webhooks".into(), value, grade: if disabled + behind > 0 { Grade::Note } else { Grade::Good } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_space_is_a_problem_and_not_much_is_worth_knowing() {
        for (mib, grade) in
            [(0, Grade::Bad), (63, Grade::Bad), (64, Grade::Note), (1023, Grade::Note), (1024, Grade::Good)]
        {
            assert_eq!(grade_space(mib * MIB), grade, "{mib} MiB");
        }
        let nowhere = free_space(Path::new("/nowhere/at/all"));
        assert_eq!(nowhere.grade, Grade::Bad, "{nowhere:?}");
    }

    #[test]
    fn a_backup_is_worth_a_note_after_seven_days() {
        let day = 86_400_000;
        for (days, grade) in [(0, Grade::Good), (7, Grade::Good), (8, Grade::Note)] {
            assert_eq!(
                last_backup(LastBackup::At(Timestamp(day)), Timestamp(day + days * day)).grade,
                grade,
                "{days} days"
            );
        }
        assert_eq!(last_backup(LastBackup::Never, Timestamp(day)).grade, Grade::Note);
    }
}
