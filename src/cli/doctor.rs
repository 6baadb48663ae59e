//! `usher doctor`: what is well with the installation and what is not.

use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;

use serde_json::json;

use super::Common;
use crate::db::{IfMissing, Store};
use crate::error::Result;
use crate::outbox::{self, Kind, State};

/// One finding.
struct Finding {
    what: String,
    value: String,
    grade: Grade,
}

#[derive(Clone, Copy, PartialEq, Eq)]
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

/// Prints the findings; fails if one is a problem.
pub async fn run(common: &Common) -> Result<ExitCode> {
    let store = common.open(IfMissing::Refuse).await?;
    let mut findings: Vec<Finding> = store
        .inspect()
        .await?
        .into_iter()
        .map(|(what, value, good)| Finding {
            what: what.into(),
            value,
            grade: if good { Grade::Good } else { Grade::Bad },
        })
        .collect();
    findings.push(key_file_mode(common)?);
    findings.extend(outbox(&store).await?);
    let json: Vec<_> =
        findings.iter().map(|f| json!({"what": f.what, "value": f.value, "state": f.grade.word()})).collect();
    let rows = findings.iter().map(|f| vec![f.grade.word().to_owned(), f.what.clone(), f.value.clone()]).collect();
    common.show(&json!(json), &["", "WHAT", "FOUND"], rows, "");
    let bad = findings.iter().any(|f| f.grade == Grade::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn key_file_mode(common: &Common) -> Result<Finding> {
    let file = common.location()?.key_file();
    let mode = std::fs::metadata(&file).map(|m| m.permissions().mode() & 0o777).unwrap_or_default();
    let (grade, hint) =
        if mode & 0o077 == 0 { (Grade::Good, "") } else { (Grade::Bad, ": others can read it; chmod 600") };
    Ok(Finding { what: "data key file".into(), value: format!("{} mode {mode:o}{hint}", file.display()), grade })
}

async fn outbox(store: &Store) -> Result<[Finding; 3]> {
    let count = async |kind, state| store.read(move |tx| outbox::backlog(tx, kind, state)).await;
    let (queued, oldest) = count(Kind::EnrolmentMail, State::Queued).await?;
    let (failed, _) = count(Kind::EnrolmentMail, State::Failed).await?;
    let (billing, _) = count(Kind::BillingSync, State::Queued).await?;
    let since =
        oldest.map(|at| format!(", the oldest since {at}; does `usher serve` have --smtp-url?")).unwrap_or_default();
    let note_if = |some: bool| if some { Grade::Note } else { Grade::Good };
    Ok([
        Finding { what: "live mail waiting".into(), value: format!("{queued}{since}"), grade: note_if(queued > 0) },
        Finding { what: "live mail failed".into(), value: failed.to_string(), grade: note_if(failed > 0) },
        Finding {
            what: "billing provider".into(),
            value: format!("no billing provider is set; {billing} changes wait for one"),
            grade: Grade::Note,
        },
    ])
}
