//! `usher serve`

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tracing_subscriber::prelude::*;
use url::Url;

use super::mail_server::MailServer;
use super::{Common, print, program};
use crate::admins;
use crate::app::{self, App};
use crate::apps::{self, Kind, Settings};
use crate::caller::{Actor, Origin};
use crate::config::{origin, span, wants_colour};
use crate::db::{IfMissing, Store};
use crate::error::{Error, Result};
use crate::keys::{self, Access, NewKey};
use crate::links::Links;
use crate::network::Network;
use crate::secret::Secret;
use crate::signin;
use crate::tokens::SigningKey;

#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  usher serve\n  usher serve --data /var/lib/usher --public-url https://users.example.com --smtp-url-file /run/secrets/smtp-url"
)]
pub struct Serve {
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS", env = "USHER_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where people reach this server; links in mails are built from it [default: http://ADDRESS]
    #[arg(long, value_name = "URL", env = "USHER_PUBLIC_URL", value_parser = origin)]
    public_url: Option<Url>,
    #[command(flatten)]
    mail: MailServer,
    /// How long a link in an enrolment mail works
    #[arg(long, value_name = "SPAN", env = "USHER_LINK_LIFETIME", default_value = "24h", value_parser = span)]
    link_lifetime: Duration,
    /// Let webhooks go to this network too, e.g. 127.0.0.0/8 to try them out on one machine; can be given several times
    /// [default: to the Internet only]
    #[arg(long = "webhook-network", value_name = "NETWORK", env = "USHER_WEBHOOK_NETWORK", value_delimiter = ',')]
    webhook_networks: Vec<Network>,
    /// The proxies before this server, as networks with commas between: their X-Forwarded-For is believed
    #[arg(long, value_name = "NETWORKS", env = "USHER_TRUSTED_PROXY", value_delimiter = ',')]
    trusted_proxy: Vec<Network>,
    /// How many sign-ins a network (/24 of IPv4, /64 of IPv6) may begin within an hour; 0 for any number
    #[arg(long, value_name = "NUMBER", env = "USHER_SIGN_INS_PER_NETWORK", default_value_t = signin::PER_NETWORK)]
    sign_ins_per_network: u32,
    /// How to write the log: text or json [default: text at a terminal, else json]
    #[arg(long, value_name = "FORMAT", env = "USHER_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// The least important lines of the log to keep: error, warn or info
    #[arg(long, value_name = "LEVEL", env = "USHER_LOG_LEVEL", default_value = "info")]
    log_level: LogLevel,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum LogLevel {
    Error,
    Warn,
    Info,
}

impl Serve {
    pub async fn run(self, common: &Common) -> Result<()> {
        start_log(self.log_format, self.log_level);
        let nowhere = Url::parse("http://localhost").map_err(Error::internal)?;
        let smtp = self.mail.open(self.public_url.as_ref().unwrap_or(&nowhere))?;
        if smtp.is_some() && self.public_url.is_none() {
            return Err(Error::operator(
                "--smtp-url sends mail to real people, so say with --public-url where their links lead \
                 (e.g. https://users.example.com).",
            ));
        }
        let store = common.store(IfMissing::Create).await?;
        let listener = app::listen(self.listen).await?;
        let address = listener.local_addr().map_err(Error::internal)?;
        let public_url = if let Some(url) = self.public_url {
            url
        } else {
            // Nobody can open http://0.0.0.0.
            let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            Url::parse(&format!("http://{host}:{}", address.port())).map_err(Error::internal)?
        };

        let stop = app::asked_to_stop()?;
        let base = public_url.as_str().trim_end_matches('/').to_owned();
        let links = Links { public_url, lifetime: self.link_lifetime };
        match first_start(&store, &links).await? {
            Some(first) => print(&first.welcome(&base, common)),
            None if common.json => print(&json!({"url": base}).to_string()),
            None => print(&format!("Usher is running at {base}")),
        }
        for (what, value, _) in store.durability().await?.into_iter().filter(|(_, _, is_good)| !is_good) {
            tracing::error!(
                what,
                value,
                "what is acknowledged may be lost: the database is not set as Usher needs it; see `usher doctor`"
            );
        }
        if smtp.is_none() {
            tracing::warn!("no --smtp-url: live mail waits in the outbox; sandbox mail is captured as always");
        }
        App::behind(self.trusted_proxy, signin::per_network(self.sign_ins_per_network), store, links, smtp)
            .with_webhook_networks(self.webhook_networks)
            .telling(print)
            .serve(listener, stop)
            .await
    }
}

/// What the first start made.
struct FirstStart {
    client_id: String,
    key: Secret,
    /// Where the first administrator is made.
    setup: Url,
}

/// Makes an app called Default with a sandbox key and a set-up address, if there is no app at all.
async fn first_start(store: &Store, links: &Links) -> Result<Option<FirstStart>> {
    if !store.read(apps::list).await?.is_empty() {
        return Ok(None);
    }
    let signing_keys = [SigningKey::generate()?, SigningKey::generate()?];
    let links = links.clone();
    store
        .write(move |tx| {
            if !apps::list(tx)?.is_empty() {
                return Ok(None);
            }
            apps::claim_first(tx)?;
            let settings = Settings { name: Some("Default".into()), ..Settings::default() };
            let app = apps::create(tx, &settings, &signing_keys)?;
            let new = NewKey {
                name: "first".into(),
                access: Access::Write,
                tenant: None,
                api_version: None,
                expires_in: None,
            };
            let (_, key) =
                keys::create(tx, Origin::of(Actor::Operator), &apps::environment(tx, app.id, Kind::Sandbox)?, &new)?;
            Ok(Some(FirstStart { client_id: app.id.to_string(), key, setup: admins::set_up(tx, &links)? }))
        })
        .await
}

impl FirstStart {
    fn welcome(&self, base: &str, common: &Common) -> String {
        let FirstStart { client_id, key, setup } = self;
        let key = key.expose();
        if common.json {
            return json!({"url": base, "clientId": client_id, "key": key, "setup": setup.as_str()}).to_string();
        }
        let usher = program(common);
        format!(
            "Usher is running at {base}\n\n\
             This is the first start, so there is an app called Default now. For another terminal, where it is, its client id, and a \
             sandbox key, which is shown this once (`{usher} key create` makes more):\n\n\
             export USHER_URL={base}\n\
             export USHER_CLIENT_ID={client_id}\n\
             export USHER_KEY={key}\n\n\
             Enrol a person there:\n\n\
             curl -s {base}/users/create -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{EXAMPLE}'\n\n\
             and see the mail with their link, which the sandbox keeps:\n\n\
             {usher} mail show\n\n\
             Set up the dashboard, within an hour:\n\n\
             {setup}\n"
        )
    }
}

/// A person much like the seed's.
const EXAMPLE: &str = r#"{"email":"jane@doe.com","firstname":"Jane","lastname":"Doe","phonenumber":"1234567890","dateOfBirth":"1990-12-23","sex":"female","height":"5ft 6in","diabetes":0,"glp1drugs":false,"paymentPlan":1,"planStartDate":"2026-12-01","medicalClearance":"full","currentWeight":130}"#;

fn start_log(format: Option<LogFormat>, level: LogLevel) {
    let at_terminal = if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    let level = match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
    };
    // Libraries' own lines may quote what they were given, so only Usher's pass.
    let ours = tracing_subscriber::filter::filter_fn(|metadata| metadata.target().starts_with("usher"));
    // Of a line that cannot be written it would complain where it cannot be written either, and panic.
    let builder = tracing_subscriber::fmt().log_internal_errors(false).with_writer(std::io::stderr);
    let builder = builder.with_max_level(level).with_target(false);
    match format.unwrap_or(at_terminal) {
        LogFormat::Text => {
            builder.with_ansi(std::io::stderr().is_terminal() && wants_colour()).finish().with(ours).init();
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().with(ours).init(),
    }
}
