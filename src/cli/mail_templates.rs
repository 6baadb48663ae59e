//! `usher mail template`

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::audited::AuditedStore;
use super::{Common, or_dash};
use crate::apps::{self, AppId, Kind};
use crate::caller::{Actor, Origin};
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::wording::{self, Template, Wording};

#[derive(Subcommand)]
pub enum Templates {
    /// List the mails in every language, and of which an app has words of its own
    #[command(after_help = "Example:\n  usher mail template list --app CLIENT_ID")]
    List(App),
    /// Show what a mail says in a language
    #[command(after_help = "Example:\n  usher mail template show enrolment de --app CLIENT_ID")]
    Show(At),
    /// Have a mail say something else; the other texts stay, and an empty one is Usher's again
    #[command(
        after_help = "Example:\n  usher mail template set enrolment en --app CLIENT_ID mail_welcome='Your coach at {app} is ready. Come in:'"
    )]
    Set {
        #[command(flatten)]
        at: At,
        /// The texts, by the names that `show` lists
        #[arg(value_name = "NAME=TEXT", required = true, value_parser = pair)]
        texts: Vec<(String, String)>,
    },
    /// Have a mail say again what Usher says
    #[command(after_help = "Example:\n  usher mail template reset enrolment de --app CLIENT_ID")]
    Reset(At),
}

#[derive(clap::Args)]
pub struct App {
    /// The app's client id
    #[arg(long, value_name = "CLIENT_ID")]
    app: AppId,
}

#[derive(clap::Args)]
pub struct At {
    /// The mail: enrolment, sign_in, address_changed or webhook_gone
    mail: String,
    /// The language, like de
    language: String,
    #[command(flatten)]
    app: App,
}

fn pair(text: &str) -> std::result::Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("write it as NAME=TEXT")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

/// What an app says there.
fn of(app: AppId, template: Template) -> impl Fn(&Tx) -> Result<Wording> + Send + 'static {
    // Any of its environments, to tell an app that is not there.
    move |tx| wording::of(tx, apps::environment(tx, app, Kind::Live)?.app, template)
}

async fn write(store: &AuditedStore, app: AppId, template: Template, wording: Wording) -> Result<()> {
    store.write(move |tx| wording::set(tx, Origin::of(Actor::Operator), app, template, &wording)).await
}

impl Templates {
    pub async fn run(self, common: &Common, store: &AuditedStore) -> Result<()> {
        match self {
            Templates::List(App { app }) => {
                let list = move |tx: &Tx| wording::list(tx, apps::environment(tx, app, Kind::Live)?.app);
                let all = store.read(list).await?;
                let names = |at: Template| (at.kind.as_str(), at.language.tag());
                let json = all
                    .iter()
                    .map(|(at, own)| json!({"mail": names(*at).0, "language": names(*at).1, "changedAt": own}));
                let json: Vec<Value> = json.collect();
                let row = |(at, own): &(Template, _)| vec![names(*at).0.into(), names(*at).1.into(), or_dash(*own)];
                common.show(&json!(json), &["MAIL", "LANGUAGE", "OWN WORDS SINCE"], all.iter().map(row).collect(), "");
            }
            Templates::Show(At { mail, language, app: App { app } }) => {
                let template = Template::named(&mail, &language)?;
                let wording = store.read(of(app, template)).await?;
                let says = |name, shipped| wording.get(name).unwrap_or(shipped).to_owned();
                let texts: Vec<_> =
                    template.texts().iter().map(|text| (text.name, says(text.name, template.shipped(text)))).collect();
                let json: Map<String, Value> =
                    texts.iter().map(|(name, says)| ((*name).to_owned(), json!(says))).collect();
                let own: Vec<&str> = wording.texts().map(|(name, _)| name).collect();
                let row = |(name, says): &(&str, String)| {
                    vec![
                        (*name).to_owned(),
                        if own.contains(name) { "own" } else { "Usher's" }.to_owned(),
                        says.clone(),
                    ]
                };
                let rows = texts.iter().map(row).collect();
                common.show(&json!({"texts": json, "own": own}), &["NAME", "WHOSE", "SAYS"], rows, "");
            }
            Templates::Set { at: At { mail, language, app: App { app } }, texts } => {
                let template = Template::named(&mail, &language)?;
                if let Some((unknown, _)) =
                    texts.iter().find(|(name, _)| !template.texts().iter().any(|text| text.name == name))
                {
                    return Err(Error::operator(format!(
                        "this mail has no text {unknown}. `usher mail template show {mail} {language} --app {app}` lists those it has."
                    )));
                }
                let before = store.prepare(of(app, template)).await?;
                let given = |name: &str| texts.iter().rfind(|(given, _)| given == name).map(|(_, text)| text.as_str());
                let wording = template.read(|name| given(name).or_else(|| before.get(name))).sound()?;
                write(store, app, template, wording).await?;
                common.say(
                    &json!({"mail": mail, "language": language, "changed": true}),
                    "Changed. Mails say this from now on.",
                );
            }
            Templates::Reset(At { mail, language, app: App { app } }) => {
                write(store, app, Template::named(&mail, &language)?, Wording::default()).await?;
                common.say(
                    &json!({"mail": mail, "language": language, "reset": true}),
                    "Mails say what Usher says from now on.",
                );
            }
        }
        Ok(())
    }
}
