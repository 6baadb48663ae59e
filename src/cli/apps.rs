//! `usher app`

use clap::Subcommand;
use rlibphonenumber::Region;
use serde_json::json;

use super::Common;
use crate::apps::{self, AppId, Color, Kind, Logo, Settings, SignUp};
use crate::caller::{Actor, Origin};
use crate::db::IfMissing;
use crate::error::{Error, Result};
use crate::tokens::SigningKey;
use crate::words::Language;

#[derive(Subcommand)]
pub enum App {
    /// Make an app with its sandbox and live environments
    #[command(after_help = "Example:\n  usher app create 'Acme Coaching' --region US")]
    Create {
        /// The name that people see in mails and on pages
        name: String,
        #[command(flatten)]
        options: Options,
    },
    /// Change an app
    #[command(
        after_help = "Examples:\n  usher app update CLIENT_ID --environment live --redirect-url https://app.example.com/callback\n  \
                      usher app update CLIENT_ID --color '#0b5cad' --logo logo.png"
    )]
    Update {
        /// The client id
        client_id: AppId,
        /// A new name
        #[arg(long)]
        name: Option<String>,
        /// Change this environment's redirect URL, issuer and sign-up only
        #[arg(long)]
        environment: Option<Kind>,
        #[command(flatten)]
        options: Options,
    },
    /// Where people may be sent back to after signing in
    #[command(subcommand)]
    Redirect(Redirect),
    /// List the apps
    #[command(after_help = "Example:\n  usher app list --json")]
    List,
}

#[derive(Subcommand)]
pub enum Redirect {
    /// Let people be sent back to this address: this text, character by character
    #[command(
        after_help = "Example:\n  usher app redirect add CLIENT_ID https://app.example.com/callback --environment live"
    )]
    Add(At),
    /// Take an address away
    #[command(
        after_help = "Example:\n  usher app redirect remove CLIENT_ID https://app.example.com/callback --environment live"
    )]
    Remove(At),
    /// List the addresses
    #[command(after_help = "Example:\n  usher app redirect list CLIENT_ID --environment live")]
    List {
        /// The client id
        client_id: AppId,
        /// Sandbox or live
        #[arg(long)]
        environment: Kind,
    },
}

#[derive(clap::Args)]
pub struct At {
    /// The client id
    client_id: AppId,
    /// The address
    uri: String,
    /// Sandbox or live
    #[arg(long)]
    environment: Kind,
}

impl Redirect {
    async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        match self {
            Redirect::Add(At { client_id, uri, environment }) => {
                let shown = uri.clone();
                let add = move |tx: &crate::db::Tx| {
                    apps::add_redirect_uri(
                        tx,
                        Origin::of(Actor::Operator),
                        &apps::environment(tx, client_id, environment)?,
                        &uri,
                    )
                };
                store.write(add).await?;
                common.say(&json!({"redirectUri": shown}), "Added.");
            }
            Redirect::Remove(At { client_id, uri, environment }) => {
                let remove = move |tx: &crate::db::Tx| {
                    apps::remove_redirect_uri(
                        tx,
                        Origin::of(Actor::Operator),
                        &apps::environment(tx, client_id, environment)?,
                        &uri,
                    )
                };
                store.write(remove).await?;
                common.say(&json!({"removed": true}), "Removed.");
            }
            Redirect::List { client_id, environment } => {
                let list = move |tx: &crate::db::Tx| {
                    apps::redirect_uris(tx, apps::environment(tx, client_id, environment)?.id)
                };
                let uris = store.read(list).await?;
                let rows = uris.iter().map(|uri| vec![uri.clone()]).collect();
                common.show(&json!(uris), &["REDIRECT URI"], rows, "There are none.");
            }
        }
        Ok(())
    }
}

#[derive(clap::Args)]
pub struct Options {
    /// Where phone numbers without a country code are, ISO 3166 [default for a new app: US]
    #[arg(long, value_name = "XX", value_parser = apps::region)]
    region: Option<Region>,
    /// Where a person is sent after following a link; '' for the hosted profile page
    #[arg(long, value_name = "URL")]
    redirect_url: Option<String>,
    /// The `iss` of tokens
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,
    /// Whether people may register themselves, by `type=signUp` [default for a new app: closed]
    #[arg(long)]
    sign_up: Option<SignUp>,
    /// The colour of buttons on pages and in mails, '#rrggbb'; '' for Usher's own
    #[arg(long, value_name = "COLOR", visible_alias = "colour")]
    color: Option<String>,
    /// The logo on pages and in mails, a PNG or JPEG file of 48 KiB at the most; '' for none
    #[arg(long, value_name = "FILE")]
    logo: Option<String>,
    /// In which language people are written to whose own is not known, like de; '' for English
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
}

impl Options {
    fn named(self, name: Option<String>) -> Result<Settings> {
        let Options { region, redirect_url, issuer, sign_up, color, logo, language } = self;
        let color = color.as_deref().map(Color::wanted).transpose()?;
        let logo = logo.as_deref().map(|file| read(file).and_then(Logo::wanted)).transpose()?;
        let language = language.as_deref().map(Language::wanted).transpose()?;
        Ok(Settings { name, region, redirect_url, issuer, sign_up, color, logo, language })
    }
}

/// What is in a file; nothing, if it has no name.
fn read(file: &str) -> Result<Vec<u8>> {
    if file.is_empty() {
        return Ok(Vec::new());
    }
    std::fs::read(file).map_err(|e| Error::operator(format!("{file} cannot be read: {e}.")))
}

impl App {
    pub async fn run(self, common: &Common) -> Result<()> {
        match self {
            App::Create { name, options } => {
                let store = common.open(IfMissing::Create).await?;
                let settings = options.named(Some(name))?;
                let keys = [SigningKey::generate()?, SigningKey::generate()?];
                let app = store.write(move |tx| apps::create(tx, &settings, &keys)).await?;
                common.say(&json!(app), &format!("Made the app {} with the client id {}.", app.name, app.id));
            }
            App::Update { client_id, name, environment, options } => {
                let store = common.open(IfMissing::Refuse).await?;
                let settings = options.named(name)?;
                let operator = Origin::of(Actor::Operator);
                store.write(move |tx| apps::update(tx, operator, client_id, environment, &settings)).await?;
                common.say(&json!({"clientId": client_id}), "Changed.");
            }
            App::Redirect(redirect) => redirect.run(common).await?,
            App::List => {
                let store = common.open(IfMissing::Refuse).await?;
                let apps = store.read(apps::list).await?;
                let rows =
                    apps.iter().map(|app| vec![app.id.to_string(), app.name.clone(), app.region.to_string()]).collect();
                common.show(
                    &json!(apps),
                    &["CLIENT ID", "NAME", "REGION"],
                    rows,
                    "There are no apps. `usher app create NAME` makes one.",
                );
            }
        }
        Ok(())
    }
}
