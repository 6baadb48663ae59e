//! The command line. Each command is a short function over the concepts; none has rules of its own.
//!
//! Exit codes: 0 done, 1 failed, 2 the command was not understood.

mod admin;
mod api;
mod apps;
mod audit;
mod audited;
mod backup;
mod billing;
mod copy;
mod doctor;
mod documents;
mod explain;
mod exports;
mod health;
mod imports;
mod keys;
mod mail_server;
mod mail_templates;
mod mails;
mod roles;
mod serve;
mod sessions;
mod signing_keys;
mod terminal;
mod tokens;
mod users;
mod webhooks;

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use comfy_table::{Table, presets};
use serde_json::Value;
use url::Url;

use self::audited::{Attempt, AuditedStore};
use crate::apps::{AppId, Kind};
use crate::clock::Clock;
use crate::config::{self, secret};
use crate::db::{IfMissing, Location, Store};
use crate::error::{Error, Result};
use crate::secret::Secret;

/// A self-hosted user service: partners enrol people, apps manage users, people manage their own profile.
#[derive(Parser)]
#[command(
    name = "usher",
    version,
    after_help = "Start here:\n  usher serve\n\nEvery option that shows an [env] name can also stand in usher.toml, by its long name."
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Clone)]
struct Common {
    /// Where the data is
    #[arg(long, global = true, value_name = "DIR", env = "USHER_DATA", default_value = "./data")]
    data: PathBuf,
    /// Another place for the database: sqlite:FILE, or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, global = true, value_name = "URL", env = "USHER_DATABASE", hide_env_values = true)]
    database: Option<Secret>,
    /// A file that holds the database's URL
    #[arg(long, global = true, value_name = "FILE", env = "USHER_DATABASE_FILE")]
    database_file: Option<PathBuf>,
    /// The data key's file [default: data.key in the data directory]
    #[arg(long, global = true, value_name = "FILE", env = "USHER_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// Read settings from this file [default: usher.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", env = "USHER_CONFIG")]
    config: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    #[arg(skip)]
    attempt: Attempt,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Serve),
    /// Administrators: who may use the dashboard
    #[command(subcommand)]
    Admin(admin::Admin),
    /// Apps: products that use Usher
    #[command(subcommand)]
    App(apps::App),
    /// API keys
    #[command(subcommand)]
    Key(keys::Key),
    /// Users
    #[command(subcommand)]
    User(users::User),
    /// Take people over from a file: a list, or the export of another service
    Import(imports::Imports),
    /// Write users to a file that `usher import` reads
    Export(exports::Export),
    /// Tell the whole story of one person: changes, mails, sign-ins, webhooks
    Explain(explain::Explain),
    /// Roles: what people may do to others of their tenant
    #[command(subcommand)]
    Role(roles::Role),
    /// Mail, and what the sandbox captured of it
    #[command(subcommand)]
    Mail(mails::Mail),
    /// Webhooks: other systems hear of changes
    #[command(subcommand)]
    Webhook(webhooks::Webhook),
    /// The audit trail: who did what to whom, and whether somebody changed it
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Billing: users as customers at Stripe
    #[command(subcommand)]
    Billing(billing::Billing),
    /// Access tokens
    #[command(subcommand)]
    Token(tokens::Token),
    /// Where users are signed in
    #[command(subcommand)]
    Session(sessions::Session),
    /// The keys that sign tokens
    #[command(subcommand)]
    SigningKey(signing_keys::SigningKeys),
    /// Copy the database to a new file, also beside a running server
    Backup(backup::Backup),
    /// Put a backup where there is no database yet
    Restore(backup::Restore),
    /// Copy everything into another, empty database: from a file to PostgreSQL, say
    Copy(copy::Copy),
    /// Check the installation
    #[command(after_help = "Example:\n  usher doctor")]
    Doctor,
    /// Bring the tables up to date, which `serve` also does
    #[command(after_help = "Example:\n  usher migrate")]
    Migrate,
    /// The dated versions of the partner API
    #[command(subcommand)]
    Api(api::Api),
    /// Write the OpenAPI documents
    Openapi(documents::Openapi),
    /// Ask the running server whether it is ready
    Health(health::Health),
    /// Print what a shell needs to complete commands
    Completions(terminal::Completions),
    /// Write pages for `man`
    Man(terminal::Man),
}

/// Every command with its options, for documents and tests.
pub fn command() -> clap::Command {
    Cli::command()
}

/// How long what nobody waits for any more may take when a command has ended.
const LAST: Duration = Duration::from_secs(1);

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let given: Vec<OsString> = std::env::args_os().collect();
    let arguments: Vec<String> = given.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    let cli = match config::matches(Cli::command(), &given, &arguments) {
        Ok(Ok(matches)) => Cli::from_arg_matches(&matches).map(|Cli { common, command }| {
            let attempt = Attempt::of(&matches, &arguments);
            Cli { common: Common { attempt, ..common }, command }
        }),
        Ok(Err(e)) => Err(e),
        Err(e) => return failed(&e, arguments.iter().any(|a| a == "--json")),
    };
    let cli = match cli {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are no failure; clap knows which is which.
            let _ = e.print();
            return ExitCode::from(u8::try_from(e.exit_code()).unwrap_or(2));
        }
    };
    let json = cli.common.json;
    let serves = matches!(cli.command, Command::Serve(_));
    let mut builder = if serves {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let outcome = builder.enable_all().build().map_err(Error::internal).and_then(|runtime| {
        let outcome = runtime.block_on(run(cli));
        // What nobody waits for any more may wait for a database that hangs.
        runtime.shutdown_timeout(LAST);
        outcome
    });
    match outcome {
        Ok(_) if !serves && UNWRITTEN.load(Ordering::Relaxed) => {
            failed(&Error::operator("it is done, but the answer could not be written to its end."), json)
        }
        Ok(code) => code,
        Err(e) => failed(&e, json),
    }
}

async fn run(Cli { common, command }: Cli) -> Result<ExitCode> {
    match command {
        Command::Serve(serve) => serve.run(&common).await?,
        Command::Admin(admin) => admin.run(&common).await?,
        Command::App(app) => app.run(&common).await?,
        Command::Key(key) => key.run(&common).await?,
        Command::User(user) => user.run(&common).await?,
        Command::Import(import) => import.run(&common).await?,
        Command::Export(export) => export.run(&common).await?,
        Command::Explain(explain) => explain.run(&common).await?,
        Command::Role(role) => role.run(&common).await?,
        Command::Mail(mail) => mail.run(&common).await?,
        Command::Webhook(webhook) => webhook.run(&common).await?,
        Command::Audit(audit) => return audit.run(&common).await,
        Command::Billing(billing) => billing.run(&common).await?,
        Command::Token(token) => token.run(&common).await?,
        Command::Session(session) => session.run(&common).await?,
        Command::SigningKey(keys) => keys.run(&common).await?,
        Command::Backup(backup) => backup.run(&common)?,
        Command::Restore(restore) => restore.run(&common).await?,
        Command::Copy(copy) => copy.run(&common).await?,
        Command::Doctor => return doctor::run(&common).await,
        Command::Migrate => {
            common.open(IfMissing::Create).await?.mend_order().await?;
            common.say(&serde_json::json!({"migrated": true}), "The tables are up to date.");
        }
        Command::Api(api) => api.run(&common).await?,
        Command::Openapi(openapi) => openapi.run(&common)?,
        Command::Health(health) => health.run(&common)?,
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(&common)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(error: &Error, json: bool) -> ExitCode {
    let text = told(error);
    let text = if json {
        serde_json::json!({"error": text}).to_string()
    } else {
        format!("{} {text}", terminal::red("usher:"))
    };
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}

/// All that an error says, of those that are ours too.
fn told(error: &Error) -> String {
    error.for_log().map_or_else(|| error.to_string(), str::to_owned)
}

impl Common {
    fn location(&self) -> Result<Location> {
        self.at("--database", secret("database", self.database.clone(), self.database_file.as_deref())?)
    }

    /// The data with its database at the URL that this option has.
    fn at(&self, option: &str, url: Option<Secret>) -> Result<Location> {
        let mut location = Location::at(&self.data);
        location.key_file.clone_from(&self.key_file);
        match url {
            Some(url) => location.with_database(url).map_err(|why| Error::operator(format!("{option} takes {why}."))),
            None => Ok(location),
        }
    }

    /// The store, for a command: it notes what that is refused.
    async fn open(&self, missing: IfMissing) -> Result<AuditedStore> {
        Ok(AuditedStore::new(self.store(missing).await?, self.attempt.clone()))
    }

    async fn store(&self, missing: IfMissing) -> Result<Store> {
        Store::open(&self.location()?, Clock::System, missing).await
    }

    /// Prints JSON if that was asked for, else the words.
    fn say(&self, json: &Value, words: &str) {
        if self.json { print(&format!("{json:#}")) } else { print(words) }
    }

    /// Prints JSON if that was asked for, else a table.
    fn show(&self, json: &Value, head: &[&str], rows: Vec<Vec<String>>, none: &str) {
        if self.json {
            return print(&format!("{json:#}"));
        }
        if rows.is_empty() {
            return print(none);
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(head.to_vec()).add_rows(rows.clone());
        print(&terminal::fit(&table.trim_fmt(), head, &rows));
    }
}

/// Whether something that was to be printed could not be written.
static UNWRITTEN: AtomicBool = AtomicBool::new(false);

/// Prints a line; a reader that has gone away (`usher … | head`) is no failure.
fn print(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err_and(|e| e.kind() != ErrorKind::BrokenPipe) {
        UNWRITTEN.store(true, Ordering::Relaxed);
    }
}

/// How this program was called, with its data, for lines to copy.
fn program(common: &Common) -> String {
    let mut words = vec![std::env::args().next().unwrap_or_else(|| "usher".into())];
    if common.data.as_os_str() != "./data" {
        words.extend(["--data".to_owned(), common.data.display().to_string()]);
    }
    let files = common.database.iter().filter_map(Location::without_password);
    words.extend(files.flat_map(|url| ["--database".to_owned(), url.to_owned()]));
    let named =
        [("--database-file", &common.database_file), ("--key-file", &common.key_file), ("--config", &common.config)];
    for (option, file) in named.into_iter().filter_map(|(option, file)| Some((option, file.as_ref()?))) {
        words.extend([option.to_owned(), file.display().to_string()]);
    }
    let plain = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=".contains(c));
    let quote = |word: &String| if plain(word) { word.clone() } else { format!("'{}'", word.replace('\'', r"'\''")) };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Which environment a command is about.
#[derive(Args, Clone)]
struct Place {
    /// The app's client id
    #[arg(long, value_name = "CLIENT_ID")]
    app: Option<AppId>,
    /// Sandbox or live
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Option<Kind>,
}

impl Place {
    /// Whether no environment was named.
    fn is_anywhere(&self) -> bool {
        self.app.is_none() && self.environment.is_none()
    }
}

/// The address of the server, where `what` leaves this machine with links that people follow.
fn for_people(public_url: Option<Url>, what: &str) -> Result<Url> {
    public_url.ok_or_else(|| {
        Error::operator(format!(
            "{what} needs --public-url (or USHER_PUBLIC_URL): the address of the server for people."
        ))
    })
}

/// The same, where a link is for who sits here.
fn here(public_url: Option<Url>) -> Result<Url> {
    public_url.map_or_else(|| Url::parse("http://127.0.0.1:8080").map_err(Error::internal), Ok)
}

fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}
