//! `usher import`

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use url::Url;

use super::audited::AuditedStore;
use super::{Common, for_people, or_dash};
use crate::apps::{self, AppId, Environment, Kind};
use crate::caller::{Caller, Scope};
use crate::config::{origin, span};
use crate::db::{IfMissing, Store, Tx};
use crate::error::{Error, Result};
use crate::imports::{self, Format, Import, ImportId, New, Outcome, Preset, Rehearsal, Settings, State, Status, Work};
use crate::links::Links;
use crate::tenants;

/// How many rows are taken over in one transaction: many, for the fewer there are the less is written twice; and not too
/// many, for a server beside waits meanwhile.
const AT_ONCE: usize = 1000;

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Run it with --dry-run first: it shows what becomes of which column, and what would become of each row. A run that was\n\
                  cut off goes on when the same command is run again. The result file has a line for each row.\n\n\
                  Examples:\n  usher import patients.csv --environment live --tenant 'Clinic North' --dry-run\n  \
                  usher import patients.csv --environment live --tenant 'Clinic North' --map 'Geb.=birthdate' --send-links\n  \
                  usher import auth0.jsonl --environment live --preset auth0\n  \
                  usher import undo 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a"
)]
pub struct Imports {
    #[command(subcommand)]
    command: Option<About>,
    #[command(flatten)]
    take: Option<Take>,
}

#[derive(Args)]
pub struct Take {
    /// The file: .csv, .jsonl or .json
    file: PathBuf,
    /// Sandbox or live
    #[arg(long)]
    environment: Kind,
    /// The app's client id [default: the only app]
    #[arg(long, value_name = "CLIENT_ID")]
    app: Option<AppId>,
    /// The tenant of all of them, by name or id; a new name makes a new one [default: what the column `tenant` says]
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Change nothing, and say what would become of each row
    #[arg(long)]
    dry_run: bool,
    /// Mail each person their link
    #[arg(long)]
    send_links: bool,
    /// What becomes of a column; COLUMN= for nothing. Can be given several times
    #[arg(long = "map", value_name = "COLUMN=FIELD")]
    mappings: Vec<String>,
    /// The file is an export of this [default: what its columns look like]
    #[arg(long)]
    preset: Option<Preset>,
    /// How the file is written [default: what its name says]
    #[arg(long)]
    format: Option<Format>,
    /// Where to write what became of each row [default: a new file beside the file]
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,
    /// Where people reach the server; their links are built from it
    #[arg(long, value_name = "URL", env = "USHER_PUBLIC_URL", value_parser = origin)]
    public_url: Option<Url>,
    /// How long their links work
    #[arg(long, value_name = "SPAN", env = "USHER_LINK_LIFETIME", default_value = "24h", value_parser = span)]
    link_lifetime: Duration,
}

#[derive(Subcommand)]
pub enum About {
    /// Erase the users of an import, but those who have changed or signed in since
    #[command(after_help = "Example:\n  usher import undo 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a")]
    Undo {
        /// The import's id: its batch
        batch: ImportId,
    },
    /// Remove a file that waits in the dashboard for somebody to say how it goes on
    #[command(after_help = "Example:\n  usher import discard 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a")]
    Discard {
        /// The import's id
        id: ImportId,
    },
    /// List the newest imports
    #[command(after_help = "Example:\n  usher import list")]
    List,
    /// List what columns can become
    #[command(after_help = "Example:\n  usher import fields")]
    Fields,
}

impl Imports {
    pub async fn run(self, common: &Common) -> Result<()> {
        match (self.command, self.take) {
            (Some(About::Undo { batch }), _) => undo(common, batch).await,
            (Some(About::Discard { id }), _) => discard(common, id).await,
            (Some(About::List), _) => list(common).await,
            (Some(About::Fields), _) => {
                let fields: Vec<&str> = imports::fields().chain(["metadata.KEY"]).collect();
                let shown: Vec<String> = fields.iter().map(|field| imports::with_unit(field)).collect();
                common.say(&json!(fields), &shown.join("\n"));
                Ok(())
            }
            (None, Some(take)) => take.run(common).await,
            (None, None) => Err(Error::operator("name a file; `usher import --help` shows examples.")),
        }
    }
}

/// The one environment that is meant.
pub(super) fn environment(tx: &Tx, app: Option<AppId>, kind: Kind) -> Result<Environment> {
    if let Some(app) = app {
        return apps::environment(tx, app, kind);
    }
    match apps::list(tx)?.as_slice() {
        [] => Err(Error::operator("there is no app yet. `usher app create NAME` makes one.")),
        [app] => apps::environment(tx, app.id, kind),
        _ => Err(Error::operator("there are several apps; say which with --app. `usher app list` shows them.")),
    }
}

impl Take {
    async fn run(self, common: &Common) -> Result<()> {
        let mut settings = self.settings()?;
        let found = imports::survey(settings.rows(self.open()?)?)?;
        let plan = settings.plan(&found.columns).map_err(|e| self.explain(&e, &found.columns))?;
        settings.ignored.clone_from(&plan.ignored);
        let store = common.open(IfMissing::Refuse).await?;
        let (app, kind) = (self.app, self.environment);
        let environment = store.prepare(move |tx| environment(tx, app, kind)).await?;
        let links = self.links()?;
        if !common.json {
            explain(&plan, found.rows);
        }
        let (path, file) = self.result_file()?;
        let mut results = Results { lines: imports::Results::new(BufWriter::new(file))?, counts: [0; 3] };
        let bar = bar(found.rows)?;
        let work = Work { plan, rows: settings.rows(self.open()?)?, links, at_once: AT_ONCE };
        let batch = if self.dry_run {
            let caller = Caller::operator(&environment);
            let name = self.tenant.clone();
            let wanted =
                move |tx: &Tx| name.as_ref().map_or(Ok(None), |name| tenants::wanted(tx, environment.id, name));
            let tenant = store.prepare(wanted).await?;
            let caller = Caller { scope: Scope { tenant, ..caller.scope }, ..caller };
            let mut rehearsal = Rehearsal::new(&store, caller, None, work);
            while let Some(outcomes) = rehearsal.next(&store).await? {
                bar.inc(outcomes.len() as u64);
                results.add(&outcomes)?;
            }
            None
        } else {
            Some(self.take_over(&store, environment, settings, found.rows, work, &bar, &mut results).await?)
        };
        bar.finish_and_clear();
        let [imported, duplicates, failed] = results.end()?;
        let id = batch.as_ref().map(|import| import.id);
        let json = json!({
            "total": found.rows, "imported": imported, "duplicates": duplicates, "failed": failed,
            "resultFile": path, "batch": id,
        });
        let done = match id {
            Some(id) => format!("`usher import undo {id}` takes them back."),
            None => "Nothing was changed; without --dry-run it will be.".to_owned(),
        };
        let words = format!(
            "{} rows: {imported} imported, {duplicates} there already, {failed} failed.\n\
             What became of each row stands in {}.\n{done}",
            found.rows,
            path.display()
        );
        common.say(&json, &words);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "all of what one run has")]
    async fn take_over(
        &self,
        store: &AuditedStore,
        environment: Environment,
        settings: Settings,
        total: u64,
        work: Work,
        bar: &ProgressBar,
        results: &mut Results,
    ) -> Result<Import> {
        let new = New { tenant: None, settings, total, digest: self.digest()?, source: None };
        let import = store.write(move |tx| imports::begin(tx, &Caller::operator(&environment), &new)).await?;
        let mut row = 0;
        while row < import.place {
            let (id, scope) = (import.id, Scope { environment: import.environment, tenant: None });
            let before = store.scan(move |tx| imports::outcomes(tx, scope, id, row, AT_ONCE)).await?;
            row = before.last().map_or(import.place, |outcome| outcome.row);
            results.add(&before)?;
        }
        bar.set_position(import.place);
        bar.reset_eta();
        let mut progress = |outcomes: &[Outcome]| {
            bar.inc(outcomes.len() as u64);
            results.add(outcomes)
        };
        imports::go_on(store, &import, work, &mut progress).await
    }

    fn settings(&self) -> Result<Settings> {
        let name = self.file.to_string_lossy();
        let format = self.format.or_else(|| Format::of_name(&name)).ok_or_else(|| {
            Error::operator("the file's name does not say how it is written; say --format csv, jsonl or json.")
        })?;
        Ok(Settings {
            format: format.as_str().to_owned(),
            preset: self.preset.map(|preset| preset.as_str().to_owned()),
            mappings: self.mappings.clone(),
            tenant: self.tenant.clone(),
            send_links: self.send_links,
            dry_run: self.dry_run,
            asks: false,
            ignored: Vec::new(),
        })
    }

    fn open(&self) -> Result<File> {
        let name = self.file.display();
        let unreadable = |e| Error::operator(format!("{name} cannot be read: {e}"));
        // Before it is opened: a pipe would be waited for.
        if !std::fs::metadata(&self.file).map_err(unreadable)?.is_file() {
            return Err(Error::operator(format!("{name} is read more than once, so it must be a file and no pipe.")));
        }
        File::open(&self.file).map_err(unreadable)
    }

    /// A new file beside the one that is imported, or the one that is named, for its owner only.
    fn result_file(&self) -> Result<(PathBuf, File)> {
        let unwritable = |path: &Path, e: std::io::Error| {
            Error::operator(format!("the result file {} cannot be written: {e}", path.display()))
        };
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let Some(path) = self.result.clone() else {
            let mut number = 0_u64;
            loop {
                number += 1;
                let mut name = self.file.file_stem().unwrap_or_default().to_owned();
                name.push(if number == 1 { ".result.csv".to_owned() } else { format!(".result-{number}.csv") });
                let path = self.file.with_file_name(name);
                match options.create_new(true).open(&path) {
                    Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                    opened => return opened.map_err(|e| unwritable(&path, e)).map(|file| (path, file)),
                }
            }
        };
        if path.canonicalize().is_ok_and(|path| self.file.canonicalize().is_ok_and(|source| source == path)) {
            return Err(Error::operator("--result names the file that is to be imported."));
        }
        let file = options.create(true).truncate(true).open(&path).map_err(|e| unwritable(&path, e))?;
        // The mode above is for a new file only.
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(|e| unwritable(&path, e))?;
        Ok((path, file))
    }

    fn digest(&self) -> Result<[u8; 32]> {
        let (mut file, mut context) = (self.open()?, digest::Context::new(&digest::SHA256));
        let mut some = vec![0; 1024 * 1024];
        loop {
            let read = file.read(&mut some).map_err(|e| Error::operator(format!("the file cannot be read: {e}")))?;
            if read == 0 {
                break;
            }
            context.update(&some[..read]);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Ok(digest)
    }

    fn links(&self) -> Result<Option<Links>> {
        if !self.send_links {
            return Ok(None);
        }
        let public_url = for_people(self.public_url.clone(), "--send-links")?;
        Ok(Some(Links { public_url, lifetime: self.link_lifetime }))
    }

    /// The error with the columns that there are, for it is the operator's file.
    fn explain(&self, error: &Error, columns: &[String]) -> Error {
        Error::operator(format!(
            "{error}. The columns of {} are: {}. `usher import fields` lists the fields.",
            self.file.display(),
            columns.join(", ")
        ))
    }
}

/// Says what becomes of the columns.
fn explain(plan: &imports::Plan, rows: u64) {
    let mut lines: Vec<String> =
        plan.columns().map(|(column, field)| format!("  {column} -> {}", imports::with_unit(field))).collect();
    lines.extend(plan.ignored.iter().map(|column| format!("  {column} -> nothing")));
    let like = plan.preset.map(|preset| format!(", like an export of {}", preset.as_str())).unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "{rows} rows{like}:\n{}", lines.join("\n"));
}

/// Shown at a terminal only.
fn bar(rows: u64) -> Result<ProgressBar> {
    let bar = ProgressBar::new(rows);
    let look = "{wide_bar} {human_pos}/{human_len} rows  {per_sec}  {eta} left";
    bar.set_style(ProgressStyle::with_template(look).map_err(Error::internal)?);
    Ok(bar)
}

/// The file with a line for each row.
struct Results {
    lines: imports::Results<BufWriter<File>>,
    counts: [u64; 3],
}

impl Results {
    fn add(&mut self, outcomes: &[Outcome]) -> Result<()> {
        for outcome in outcomes {
            self.counts[match outcome.status {
                Status::Imported => 0,
                Status::Duplicate => 1,
                Status::Failed => 2,
            }] += 1;
        }
        self.lines.add(outcomes)
    }

    fn end(self) -> Result<[u64; 3]> {
        self.lines.end()?;
        Ok(self.counts)
    }
}

async fn undo(common: &Common, id: ImportId) -> Result<()> {
    let store = common.open(IfMissing::Refuse).await?;
    let import = store.write(move |tx| imports::undo(tx, &within_reach(tx, id)?, id, false)).await?;
    let bar = bar(import.imported)?;
    let import = imports::take_back(&store, id, |import| bar.set_position(import.removed + import.kept)).await?;
    bar.finish_and_clear();
    let json = json!({"batch": id, "removed": import.removed, "kept": import.kept});
    let words = format!(
        "{} users were erased; {} stay, for they have changed or signed in since.",
        import.removed, import.kept
    );
    common.say(&json, &words);
    Ok(())
}

/// Breaks off every import of a database that was restored: how many, and what is to be done.
pub(super) async fn break_off(store: &Store) -> Result<(usize, Option<String>)> {
    let count = store.write(imports::break_off_all).await?;
    let words =
        format!("Imports broken off: {count}. Their files have to be sent again; `usher import list` shows them.");
    Ok((count, Some(words).filter(|_| count > 0)))
}

async fn discard(common: &Common, id: ImportId) -> Result<()> {
    let store = common.open(IfMissing::Refuse).await?;
    store.write(move |tx| imports::discard(tx, &within_reach(tx, id)?, id)).await?;
    common.say(&json!({"id": id, "removed": true}), "The file was removed, and nobody was imported.");
    Ok(())
}

/// The operator where the import is.
fn within_reach(tx: &Tx, id: ImportId) -> Result<Caller> {
    let callers = all_environments(tx)?.into_iter().map(|environment| Caller::operator(&environment));
    let found = callers.into_iter().find(|caller| imports::get(tx, caller.scope, id).is_ok());
    found
        .ok_or_else(|| Error::operator(format!("there is no import {id}. `usher import list` shows those that exist.")))
}

fn all_environments(tx: &Tx) -> Result<Vec<Environment>> {
    super::users::environments(tx, &super::Place { app: None, environment: None })
}

async fn list(common: &Common) -> Result<()> {
    let store = common.open(IfMissing::Refuse).await?;
    let newest = |tx: &Tx| {
        let mut all = Vec::new();
        for environment in all_environments(tx)? {
            let found = imports::list(tx, Caller::operator(&environment).scope, 50)?;
            all.extend(found.into_iter().map(|import| (environment.kind, import)));
        }
        all.sort_by_key(|(_, import)| std::cmp::Reverse(import.created_at));
        Ok(all)
    };
    let found = store.read(newest).await?;
    let json: Vec<Value> = found.iter().map(|(kind, import)| show(*kind, import)).collect();
    let row = |(kind, import): &(Kind, Import)| {
        vec![
            import.id.to_string(),
            kind.as_str().to_owned(),
            state(import),
            import.total.to_string(),
            import.imported.to_string(),
            import.duplicates.to_string(),
            import.failed.to_string(),
            import.created_at.to_string(),
            or_dash(import.finished_at),
        ]
    };
    let head = ["BATCH", "ENVIRONMENT", "STATE", "ROWS", "IMPORTED", "DUPLICATES", "FAILED", "BEGUN", "FINISHED"];
    common.show(&json!(json), &head, found.iter().map(row).collect(), "Nothing was imported.");
    Ok(())
}

fn state(import: &Import) -> String {
    match import.state {
        State::Running if import.due_at.is_none() => format!("cut off at {}", import.place),
        state => state.as_str().to_owned(),
    }
}

fn show(kind: Kind, import: &Import) -> Value {
    json!({
        "batch": import.id, "environment": kind, "tenantId": import.tenant, "state": import.state, "total": import.total,
        "imported": import.imported, "duplicates": import.duplicates, "failed": import.failed,
        "removed": import.removed, "kept": import.kept, "createdAt": import.created_at, "finishedAt": import.finished_at,
    })
}
