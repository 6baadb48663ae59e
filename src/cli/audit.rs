//! `usher audit`

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::exports::new_file;
use super::users::environments;
use super::{Common, Place, or_dash, print, told};
use crate::apps::{AppId, Environment, EnvironmentId};
use crate::audit::chain::{self, Anchor, Progress};
use crate::audit::{self, Action, Entry, EntryId, Filter, Order, Outcome};
use crate::caller::{Actor, Origin};
use crate::clock::Timestamp;
use crate::db::{IfMissing, Store, Tx};
use crate::error::{Error, Result};
use crate::keys::KeyId;
use crate::users::UserId;

#[derive(Subcommand)]
pub enum Audit {
    /// Find out whether the trail is as it was written; exits with 1 if it is not
    #[command(
        after_help = "Without an anchor, an end that was cut off is not seen. Make one daily and keep it elsewhere.\n\nExample:\n  usher audit verify --anchor /elsewhere/anchor-2026-11-21.json"
    )]
    Verify {
        /// What `usher audit anchor` printed at an earlier time
        #[arg(long, value_name = "FILE")]
        anchor: Option<PathBuf>,
    },
    /// Print the hash of each chain, to be kept where whoever can write to the database cannot
    #[command(after_help = "Example:\n  usher audit anchor > /elsewhere/anchor-2026-11-21.json")]
    Anchor,
    /// List the newest entries
    #[command(after_help = "Example:\n  usher audit list --user 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a --result refused")]
    List {
        #[command(flatten)]
        wanted: Wanted,
        /// How many at the most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
        /// Older ones than this entry: where the next page begins
        #[arg(long, value_name = "ID")]
        before: Option<EntryId>,
    },
    /// Write entries as JSON, one a line, oldest first
    #[command(after_help = "Example:\n  usher audit export --since 2026-11-01 --out audit-2026-11.jsonl")]
    Export {
        #[command(flatten)]
        wanted: Wanted,
        /// The file to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Which entries are wanted.
#[derive(Args)]
pub struct Wanted {
    #[command(flatten)]
    place: Place,
    /// About this user
    #[arg(long, value_name = "ID")]
    user: Option<UserId>,
    /// By this key
    #[arg(long, value_name = "ID")]
    key: Option<KeyId>,
    /// By callers that nobody knows; attempts without a working credential are of no environment
    #[arg(long, conflicts_with = "key")]
    unknown: bool,
    /// What was done, e.g. user.updated
    #[arg(long, value_parser = action)]
    action: Option<Action>,
    /// done, refused, or the code of an error, e.g. email_taken
    #[arg(long)]
    result: Option<String>,
    /// From this time on: 2026-11-21, or 2026-11-21T20:30:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
}

fn action(text: &str) -> std::result::Result<Action, String> {
    let all = || Action::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(", ");
    Action::named(text).ok_or_else(|| format!("the actions are {}", all()))
}

fn time(text: &str) -> std::result::Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write a day like 2026-11-21 or a time like 2026-11-21T20:30:00Z".to_owned())
}

impl Audit {
    pub async fn run(self, common: &Common) -> Result<ExitCode> {
        let store = common.open(IfMissing::Refuse).await?;
        match self {
            Audit::Verify { anchor } => return verify(common, &store, anchor).await,
            Audit::Anchor => print(&format!("{:#}", json!(chain::anchor(&store).await?))),
            Audit::List { wanted, limit, before } => {
                let (filter, places) = store.read(wanted.find()).await?;
                let order = before.map_or(Order::NewestFirst, Order::Before);
                let entries = store.scan(move |tx| audit::find(tx, &filter, order, limit)).await?;
                let json: Vec<Value> =
                    entries.iter().map(|entry| entry.export(places.get(&entry.environment))).collect();
                let head = ["TIME", "ENVIRONMENT", "ACTION", "BY", "ABOUT", "RESULT", "REQUEST"];
                let rows = entries.iter().map(|entry| to_row(entry, &places)).collect();
                common.show(&json!(json), &head, rows, "There are no such entries.");
            }
            Audit::Export { wanted, out } => {
                let (filter, places) = store.prepare(wanted.find()).await?;
                // What cannot be written is no export that somebody has taken.
                let into: Box<dyn Write> = match &out {
                    Some(file) => Box::new(BufWriter::new(new_file(file)?)),
                    None => Box::new(std::io::stdout().lock()),
                };
                note_export(&store, &filter, &places).await?;
                let count = export(&store, filter, &places, into).await?;
                if let Some(out) = out {
                    common.say(
                        &json!({"entries": count, "file": out}),
                        &format!("Wrote {count} entries to {}.", out.display()),
                    );
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Wanted {
    /// What that means in this database.
    fn find(self) -> impl Fn(&Tx) -> Result<(Filter, HashMap<EnvironmentId, Environment>)> + Send + 'static {
        move |tx| {
            let all = environments(tx, &Place { app: None, environment: None })?;
            let narrowed = !self.place.is_anywhere();
            let wanted = if narrowed { environments(tx, &self.place)? } else { Vec::new() };
            if narrowed && wanted.is_empty() {
                return Err(Error::operator("there is no such environment. `usher app list` shows the apps."));
            }
            let filter = Filter {
                environments: wanted.iter().map(|environment| environment.id).collect(),
                user: self.user,
                key: self.key,
                unknown: self.unknown,
                action: self.action,
                outcome: self.result.as_deref().map(|result| match result {
                    "done" => Outcome::Done,
                    "refused" => Outcome::Refused,
                    code => Outcome::Code(code.to_owned()),
                }),
                since: self.since,
                until: self.until,
            };
            Ok((filter, all.into_iter().map(|environment| (environment.id, environment)).collect()))
        }
    }
}

async fn verify(common: &Common, store: &Store, anchor: Option<PathBuf>) -> Result<ExitCode> {
    let anchor = anchor.map(|file| read_anchor(&file)).transpose()?;
    let anchored = anchor.is_some();
    let bar = ProgressBar::new(0);
    let look = "verifying {wide_bar} {human_pos}/{human_len} entries  {per_sec}  {eta} left";
    bar.set_style(ProgressStyle::with_template(look).map_err(Error::internal)?);
    let shown = bar.clone();
    let report = chain::verify(store, anchor, move |Progress { done, total }| {
        shown.set_length(total);
        shown.set_position(done);
    });
    let report = report.await;
    bar.finish_and_clear();
    let report = report?;
    let entries: usize = report.chains.iter().map(|chain| chain.entries).sum();
    let mut words: Vec<String> = report
        .findings
        .iter()
        .map(|finding| {
            let place = [
                finding.entry.map(|id| format!("entry {id}")),
                finding.seal.map(|number| format!("seal {number}")),
                finding.environment.map(|id| format!("environment {id}")),
            ];
            format!(
                "PROBLEM  {:12}  {}",
                finding.fault.as_str(),
                place.into_iter().flatten().collect::<Vec<_>>().join(", ")
            )
        })
        .collect();
    words.push(match report.findings.len() {
        0 => format!("{entries} entries in {} chains are as they were written.", report.chains.len()),
        n => format!("{n} of what was found is not as it was written; {entries} entries were looked at."),
    });
    if !anchored && report.findings.is_empty() {
        words.push("Whether the end was cut off, only an anchor tells: --anchor FILE.".to_owned());
    }
    common.say(
        &json!({
            "sound": report.findings.is_empty(), "anchored": anchored, "entries": entries, "chains": report.chains,
            "waiting": report.waiting, "findings": report.findings,
        }),
        &words.join("\n"),
    );
    let found = report.findings.len();
    let note = move |tx: &Tx| audit::record_verified(tx, Origin::of(Actor::Operator), Some(found));
    // What was found is worth knowing of a database, too, that takes no more entries.
    if let Err(error) = store.write(note).await {
        let _ = writeln!(std::io::stderr(), "usher: the trail does not say that it was verified: {}", told(&error));
    }
    Ok(if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_anchor(file: &PathBuf) -> Result<Anchor> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Error::operator(format!("the anchor {} cannot be read: {e}", file.display())))?;
    serde_json::from_str(&text)
        .map_err(|_| Error::operator(format!("{} is not what `usher audit anchor` prints.", file.display())))
}

/// Notes that the trails are taken out, in each of them.
async fn note_export(store: &Store, filter: &Filter, places: &HashMap<EnvironmentId, Environment>) -> Result<()> {
    let is_wanted =
        |environment: &&Environment| filter.environments.is_empty() || filter.environments.contains(&environment.id);
    let wanted: Vec<(EnvironmentId, AppId)> =
        places.values().filter(is_wanted).map(|environment| (environment.id, environment.app)).collect();
    let note = move |tx: &Tx| {
        let operator = Origin::of(Actor::Operator);
        wanted.iter().try_for_each(|(id, app)| audit::record(tx, *id, operator, Action::AuditExported, app.0))
    };
    store.write(note).await
}

/// How many entries are read at once.
const PAGE: i64 = 1000;

async fn export(
    store: &Store,
    filter: Filter,
    places: &HashMap<EnvironmentId, Environment>,
    mut into: Box<dyn Write>,
) -> Result<u64> {
    let fail = |e: std::io::Error| Error::operator(format!("the entries cannot be written: {e}"));
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{human_pos} entries  {per_sec}").map_err(Error::internal)?);
    let (mut last, mut count) = (None, 0);
    loop {
        let wanted = filter.clone();
        let page = store.scan(move |tx| audit::find(tx, &wanted, Order::After(last), PAGE)).await?;
        for entry in &page {
            match writeln!(into, "{}", entry.export(places.get(&entry.environment))) {
                // A reader that has gone away (`usher … | head`) is no failure.
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(count),
                written => written.map_err(fail)?,
            }
            count += 1;
        }
        bar.set_position(count);
        match page.last() {
            Some(entry) => last = Some(entry.id),
            None => break,
        }
    }
    into.flush().map_err(fail)?;
    bar.finish_and_clear();
    Ok(count)
}

fn to_row(entry: &Entry, places: &HashMap<EnvironmentId, Environment>) -> Vec<String> {
    let (actor, id) = entry.by();
    let actor = actor.as_str();
    let times = if entry.times == 1 { String::new() } else { format!(" ({} times)", entry.times) };
    vec![
        entry.created_at.to_string(),
        or_dash(places.get(&entry.environment).map(|place| place.kind.as_str())),
        entry.operation.clone().unwrap_or_else(|| entry.action.as_str().to_owned()),
        id.map_or_else(|| actor.to_owned(), |id| format!("{actor} {id}")),
        or_dash(entry.user.map(|id| id.0).or(entry.target)),
        format!("{}{times}", entry.result),
        or_dash(entry.request),
    ]
}
