//! `usher export`

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Common;
use super::imports::environment;
use crate::apps::{AppId, Kind};
use crate::audit::{self, Action};
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::db::{IfMissing, Tx};
use crate::error::{Error, Result};
use crate::imports::Format;
use crate::imports::export::{self, Writer};
use crate::place::MOST;
use crate::tenants;
use crate::users::names::Names;
use crate::users::{List, Range, Sort, Status};

#[derive(Args)]
#[command(
    after_help = "`usher import` reads the file back to the same records. Cells that a spreadsheet would take for formulas begin with '\n\
                  and come back without it.\n\n\
                  Examples:\n  usher export --environment live --out people.jsonl\n  \
                  usher export --environment live --format csv --tenant 'Clinic North' --health --out north.csv"
)]
pub struct Export {
    /// Sandbox or live
    #[arg(long)]
    environment: Kind,
    /// The app's client id [default: the only app]
    #[arg(long, value_name = "CLIENT_ID")]
    app: Option<AppId>,
    /// How to write it: csv or jsonl [default: what the name of --out says, else jsonl]
    #[arg(long)]
    format: Option<Format>,
    /// With the health record and the metadata. That is noted in the audit trail of each person
    #[arg(long)]
    health: bool,
    /// Those of this tenant, by name or id
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Those of this status [default: all but the deleted]
    #[arg(long)]
    status: Option<Status>,
    /// Those made on this day or time, or later
    #[arg(long, value_name = "TIME", value_parser = time)]
    created_from: Option<Timestamp>,
    /// Those made before this day or time
    #[arg(long, value_name = "TIME", value_parser = time)]
    created_to: Option<Timestamp>,
    /// Those last changed on this day or time, or later
    #[arg(long, value_name = "TIME", value_parser = time)]
    updated_from: Option<Timestamp>,
    /// Those last changed before this day or time
    #[arg(long, value_name = "TIME", value_parser = time)]
    updated_to: Option<Timestamp>,
    /// Those whom the dashboard's search finds: by a part of a name, an address or its beginning, a number, an id
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    search: Option<String>,
    /// In which order: created (the oldest first) or -created [default: created]
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true, value_parser = order, conflicts_with = "search")]
    sort: Option<Sort>,
    /// Write here, for its owner only, and over nothing [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn time(text: &str) -> std::result::Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write a day like 2026-11-21, or a time as RFC 3339 has it".to_owned())
}

/// In any other order, whoever changes while the file is written could be left out.
fn order(text: &str) -> std::result::Result<Sort, String> {
    Sort::named(text).filter(|sort| sort.of_making() == *sort).ok_or_else(|| "write created or -created".to_owned())
}

impl Export {
    pub async fn run(self, common: &Common) -> Result<()> {
        let (format, store) = (self.format()?, common.open(IfMissing::Refuse).await?);
        let (app, kind, name, health) = (self.app, self.environment, self.tenant.clone(), self.health);
        let (wanted, text) = (self.list(), self.search.clone());
        let begin = move |tx: &Tx| {
            let environment = environment(tx, app, kind)?;
            let find = if wanted.status == Some(Status::Deleted) { tenants::find_any } else { tenants::find };
            let no_tenant = || Error::operator("there is no tenant of that name or id in the environment.");
            let tenant = match &name {
                None => None,
                Some(name) => Some(find(tx, environment.id, name)?.ok_or_else(no_tenant)?),
            };
            let (caller, list) = (Caller::operator(&environment), List { tenant, ..wanted.clone() });
            export::check(tx, &caller, (text.as_deref(), &Names::default()), &list)?;
            Ok((caller, list))
        };
        let (caller, mut list) = store.prepare(begin).await?;
        // What cannot be written is no export that somebody has taken.
        let mut writer = self.writer(format)?;
        let at = caller.scope.environment;
        store.write(move |tx| audit::record(tx, at, caller.origin(), Action::UsersExported, at.0)).await?;
        let mut count: u64 = 0;
        loop {
            let (wanted, text) = (list.clone(), self.search.clone());
            let page = move |tx: &Tx| {
                // Names are gathered by a server; a command reads those of everybody.
                export::page(tx, &caller, (text.as_deref(), &Names::default()), &wanted, health)
            };
            let (rows, next) = if health { store.write(page).await } else { store.scan(page).await }?;
            count += rows.len() as u64;
            rows.iter().try_for_each(|row| writer.add(row))?;
            match next {
                Some(_) => list.cursor = next,
                None => break,
            }
        }
        writer.end()?;
        if let Some(file) = &self.out {
            common.say(&json!({"users": count, "file": file}), &format!("{count} users are in {}.", file.display()));
        }
        Ok(())
    }

    /// Whom it wants, of whatever tenant.
    fn list(&self) -> List {
        List {
            status: self.status,
            created: Range { from: self.created_from, to: self.created_to },
            updated: Range { from: self.updated_from, to: self.updated_to },
            sort: self.sort.unwrap_or(Sort::Oldest),
            limit: MOST,
            ..List::default()
        }
    }

    fn format(&self) -> Result<Format> {
        let named = self.out.as_ref().and_then(|file| Format::of_name(&file.to_string_lossy()));
        match self.format.or(named) {
            Some(Format::Json) => Err(Error::operator("an export is csv or jsonl; say --format jsonl.")),
            format => Ok(format.unwrap_or(Format::Jsonl)),
        }
    }

    fn writer(&self, format: Format) -> Result<Writer<Box<dyn Write>>> {
        let into: Box<dyn Write> = match &self.out {
            None => Box::new(BufWriter::new(std::io::stdout())),
            Some(file) => Box::new(BufWriter::new(new_file(file)?)),
        };
        if format == Format::Csv { Writer::csv(into, self.health) } else { Ok(Writer::Jsonl(into)) }
    }
}

/// A new file for what was exported, for its owner only.
pub(super) fn new_file(file: &Path) -> Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(|e| {
        Error::operator(match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!("{} is there already; --out names another file.", file.display())
            }
            _ => format!("{} cannot be written: {e}", file.display()),
        })
    })
}
