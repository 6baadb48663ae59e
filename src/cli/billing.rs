//! `usher billing`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::audited::AuditedStore;
use super::users::environments;
use super::{Common, Place, or_dash};
use crate::apps::{self, AppId};
use crate::billing::{self, Account, AccountId, Existing, Mode, Settings};
use crate::caller::{Actor, Origin};
use crate::config::secret;
use crate::db::{IfMissing, Tx};
use crate::error::{Error, Result};
use crate::outbox::{self, Job, JobId, Kind, State};

#[derive(Args)]
pub struct Connect {
    /// The app's client id
    #[arg(long, value_name = "CLIENT_ID")]
    app: AppId,
    /// Sandbox or live
    #[arg(long)]
    environment: apps::Kind,
    /// Which half of the Stripe account; a sandbox has the test half only
    #[arg(long)]
    mode: Mode,
    /// A file that holds the secret key, sk_… or rk_…
    #[arg(long, value_name = "FILE")]
    stripe_key_file: PathBuf,
    /// A file that holds the secret of Stripe's webhook to this server, whsec_…
    #[arg(long, value_name = "FILE")]
    webhook_secret_file: Option<PathBuf>,
    /// Where Stripe is
    #[arg(long, value_name = "URL", default_value = billing::STRIPE)]
    url: String,
    /// Make the users customers who are there already, six a second
    #[arg(long)]
    existing: bool,
    /// A new key of the Stripe account whose customers the users are
    #[arg(long)]
    same_account: bool,
    /// Forget whose customers the users are, for it is another account; those customers stay where they are
    #[arg(long, conflicts_with = "same_account")]
    forget_customers: bool,
}

#[derive(Subcommand)]
pub enum Billing {
    /// Make the users of an environment customers at Stripe: from their next change on, or all of them
    #[command(
        after_help = "Example:\n  usher billing connect --app CLIENT_ID --environment live --mode live --stripe-key-file /run/secrets/stripe-key --webhook-secret-file /run/secrets/stripe-webhook"
    )]
    Connect(Connect),
    /// Disconnect an account; customers stay as they are at Stripe, also those of people who are erased
    #[command(after_help = "Example:\n  usher billing disconnect 0199d3a2-…")]
    Disconnect {
        /// The account's id
        id: AccountId,
    },
    /// List the connected accounts, and how much waits or has failed
    #[command(after_help = "Example:\n  usher billing list")]
    List,
    /// List what failed: what is tried again, then what was given up
    #[command(after_help = "Example:\n  usher billing failures --limit 5")]
    Failures {
        /// How many at the most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Try again what was given up: one job, or all
    #[command(
        after_help = "Examples:\n  usher billing retry 0199d3a2-…\n  usher billing retry --all --app CLIENT_ID --environment live"
    )]
    Retry {
        /// The job's id
        #[arg(required_unless_present = "all")]
        id: Option<JobId>,
        /// Everything that was given up
        #[arg(long, conflicts_with = "id")]
        all: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Count a job as done that was given up, once you have seen to it at Stripe yourself
    #[command(after_help = "Example:\n  usher billing dismiss 0199d3a2-…")]
    Dismiss {
        /// The job's id
        id: JobId,
    },
}

impl Connect {
    async fn run(self, common: &Common, store: &AuditedStore) -> Result<()> {
        let Connect { app, environment, mode, .. } = self;
        let key = secret("stripe-key", None, Some(&self.stripe_key_file))?
            .ok_or_else(|| Error::operator("the secret key is missing."))?;
        let webhook = secret("webhook-secret", None, self.webhook_secret_file.as_deref())?;
        let settings = Settings::new(mode, &key, webhook.as_ref(), &self.url)?;
        let environment = store.prepare(move |tx| apps::environment(tx, app, environment)).await?;
        if self.forget_customers {
            let id = environment.id;
            while store.write(move |tx| billing::forget_customers(tx, id, mode)).await? > 0 {}
        }
        let connect = move |tx: &Tx| billing::connect(tx, &environment, mode, &settings, self.same_account);
        let account = store.write(connect).await?;
        let queued = if self.existing { Some(queue_existing(common, store, &account).await?) } else { None };
        let (failed, _) = store.scan(|tx| outbox::backlog(tx, Kind::BillingSync, State::Failed)).await?;
        connected(common, &account, queued, failed);
        Ok(())
    }
}

impl Billing {
    pub async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        match self {
            Billing::Connect(connect) => connect.run(common, &store).await?,
            Billing::Disconnect { id } => {
                store.write(move |tx| billing::disconnect(tx, id)).await?;
                common.say(&json!({"id": id, "connected": false}), "Disconnected.");
            }
            Billing::Dismiss { id } => {
                store.write(move |tx| billing::dismiss(tx, id)).await?;
                common.say(&json!({"id": id, "dismissed": true}), "Dismissed.");
            }
            Billing::List => {
                let read = |tx: &Tx| {
                    let accounts = billing::accounts(tx)?.into_iter();
                    let accounts: Vec<(Account, _)> = accounts
                        .map(|account| Ok((account.clone(), apps::by_id(tx, account.environment)?)))
                        .collect::<Result<_>>()?;
                    let count = |state| outbox::backlog(tx, Kind::BillingSync, state);
                    Ok((accounts, count(State::Queued)?, count(State::Failed)?))
                };
                let (accounts, (waiting, since), (failed, _)) = store.scan(read).await?;
                let json: Vec<Value> = accounts.iter().map(|(account, environment)| json!({
                    "id": account.id, "clientId": environment.app, "environment": environment.kind, "mode": account.mode,
                    "url": account.settings.url(), "hearsOfDeletions": account.settings.hears(),
                    "createdAt": account.created_at,
                })).collect();
                let rows = accounts
                    .iter()
                    .map(|(account, environment)| {
                        vec![
                            account.id.to_string(),
                            environment.app_name.clone(),
                            environment.kind.as_str().to_owned(),
                            account.mode.as_str().to_owned(),
                            account.settings.url().to_owned(),
                        ]
                    })
                    .collect();
                let json = json!({"accounts": json, "waiting": waiting, "waitingSince": since, "failed": failed});
                let head = ["ID", "APP", "ENVIRONMENT", "MODE", "ADDRESS"];
                common.show(&json, &head, rows, "No account is connected. `usher billing connect` connects one.");
                if !common.json {
                    super::print(&format!("\n{waiting} waiting (since {}), {failed} failed.", or_dash(since)));
                }
            }
            Billing::Failures { limit } => {
                let jobs = store.scan(move |tx| outbox::troubled(tx, Kind::BillingSync, limit)).await?;
                let json: Vec<Value> = jobs
                    .iter()
                    .map(|job| {
                        json!({
                            "id": job.id, "userId": job.user, "createdAt": job.created_at, "attempts": job.attempts,
                            "dueAt": job.due_at, "failure": job.failure,
                        })
                    })
                    .collect();
                let row = |job: &Job| {
                    vec![
                        job.id.to_string(),
                        job.user.to_string(),
                        job.created_at.to_string(),
                        job.attempts.to_string(),
                        job.due_at.map_or_else(|| "given up".to_owned(), |at| at.to_string()),
                        or_dash(job.failure.as_ref()),
                    ]
                };
                let rows = jobs.iter().map(row).collect();
                let head = ["ID", "USER", "CREATED", "TRIES", "NEXT TRY", "LAST FAILURE"];
                common.show(&json!(json), &head, rows, "Nothing failed.");
            }
            Billing::Retry { id, all: _, place } => {
                let count = retry(&store, id, place).await?;
                common.say(&json!({"queued": count}), &format!("{count} queued again."));
            }
        }
        Ok(())
    }
}

/// Queues again what was given up, some at a time so that nobody else waits for all of them, and says how much that was.
async fn retry(store: &AuditedStore, id: Option<JobId>, place: Place) -> Result<usize> {
    if id.is_some() && !place.is_anywhere() {
        return Err(Error::operator(
            "a job is one of one environment: leave out --app and --environment, or name no job.",
        ));
    }
    let wanted = if place.is_anywhere() {
        vec![None]
    } else {
        let found = store.prepare(move |tx| environments(tx, &place)).await?;
        found.into_iter().map(|environment| Some(environment.id)).collect()
    };
    let mut count = 0;
    for environment in wanted {
        let retry = move |tx: &Tx| billing::retry(tx, Origin::of(Actor::Operator), environment, id);
        loop {
            let queued = store.write(retry).await?;
            count += queued;
            if queued == 0 || id.is_some() {
                break;
            }
        }
    }
    Ok(count)
}

/// Queues everybody who is there already, some at a time, and says how many they are.
async fn queue_existing(common: &Common, store: &AuditedStore, account: &Account) -> Result<u64> {
    let bar = if common.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    let mut so_far = Existing::default();
    loop {
        let account = account.clone();
        let (now, more) = store.write(move |tx| billing::queue_existing(tx, &account, so_far)).await?;
        so_far = now;
        bar.set_message(format!("{} users queued", so_far.queued));
        bar.tick();
        if !more {
            bar.finish_and_clear();
            return Ok(so_far.queued);
        }
    }
}

fn connected(common: &Common, account: &Account, queued: Option<u64>, failed: i64) {
    let path = format!("/webhooks/stripe/{}", account.id);
    let json = json!({"id": account.id, "webhookPath": path, "queued": queued, "failed": failed});
    let mut words =
        vec![format!("Connected as {}. Let Stripe send customer.deleted to {path} of this server.", account.id)];
    words.extend(queued.map(|queued| {
        let minutes = queued.div_ceil(billing::PACE * 60);
        format!("{queued} users become customers within about {minutes} minutes.")
    }));
    words.extend(
        (failed > 0)
            .then(|| format!("{failed} jobs were given up before; `usher billing retry --all` tries them again.")),
    );
    common.say(&json, &words.join("\n"));
}
