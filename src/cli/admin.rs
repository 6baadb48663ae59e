//! `usher admin`

use clap::Subcommand;
use serde_json::json;
use url::Url;

use super::{Common, for_people, here, or_dash};
use crate::admins::{self, Admin as Person, By, Role, Way};
use crate::caller::{Actor, Origin};
use crate::config::origin;
use crate::db::{IfMissing, Tx};
use crate::error::{Error, Result};
use crate::links::Links;
use crate::users::Email;

#[derive(Subcommand)]
pub enum Admin {
    /// List who may use the dashboard
    #[command(after_help = "Example:\n  usher admin list")]
    List,
    /// Let somebody use the dashboard, and print or mail a link by which they sign in, once and within ten minutes
    #[command(
        after_help = "Example:\n  usher admin create ann@clinic.example --role support --mail --public-url https://users.example.com"
    )]
    Create {
        /// Their e-mail address
        email: String,
        /// What they may do
        #[arg(long)]
        role: Role,
        #[command(flatten)]
        how: How,
    },
    /// Give an administrator another role
    #[command(after_help = "Example:\n  usher admin role ann@clinic.example read_only")]
    Role {
        /// Their e-mail address
        email: String,
        /// What they may do
        role: Role,
    },
    /// Make somebody an administrator no longer; they are signed out at once
    #[command(after_help = "Example:\n  usher admin remove ann@clinic.example")]
    Remove {
        /// Their e-mail address
        email: String,
    },
    /// Print or mail a link by which an administrator signs in, once and within ten minutes
    #[command(after_help = "Example:\n  usher admin link ann@clinic.example")]
    Link {
        /// Their e-mail address
        email: String,
        #[command(flatten)]
        how: How,
    },
    /// Print an address at which the first administrator is made, within an hour
    #[command(after_help = "Example:\n  usher admin setup")]
    Setup(Server),
}

#[derive(clap::Args)]
pub struct Server {
    /// Where people reach the server [default: http://127.0.0.1:8080, for what is printed here]
    #[arg(long, value_name = "URL", env = "USHER_PUBLIC_URL", value_parser = origin)]
    public_url: Option<Url>,
}

impl Server {
    fn links(self, way: Way) -> Result<Links> {
        let public_url = match way {
            Way::Mail => for_people(self.public_url, "--mail")?,
            Way::Tell => here(self.public_url)?,
        };
        Ok(Links { public_url, lifetime: admins::LINK_LIFETIME })
    }
}

/// How somebody comes by their link.
#[derive(clap::Args)]
pub struct How {
    /// Mail it, by the server's mail server, and print nothing
    #[arg(long)]
    mail: bool,
    #[command(flatten)]
    server: Server,
}

impl How {
    fn way(&self) -> Way {
        if self.mail { Way::Mail } else { Way::Tell }
    }
}

fn address(text: &str) -> Result<Email> {
    Email::new(text).ok_or_else(|| Error::operator("this is not an e-mail address."))
}

impl Admin {
    pub async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        let operator = Origin::of(Actor::Operator);
        match self {
            Admin::List => {
                let found = store.read(admins::list).await?;
                let json: Vec<_> = found.iter().map(to_json).collect();
                let row = |admin: &Person| {
                    vec![
                        admin.email.clone(),
                        admin.role.as_str().to_owned(),
                        admin.created_at.to_string(),
                        or_dash(admin.signed_in_at),
                    ]
                };
                let rows = found.iter().map(row).collect();
                let none = "There are no administrators. `usher admin setup` prints an address that makes the first.";
                common.show(&json!(json), &["EMAIL", "ROLE", "CREATED", "SIGNED IN"], rows, none);
            }
            Admin::Create { email, role, how } => {
                let (email, way) = (address(&email)?, how.way());
                let links = how.server.links(way)?;
                let invite = move |tx: &Tx| admins::invite(tx, &email, role, &By::operator(&links, way));
                let (admin, link) = store.write(invite).await?;
                let mut json = to_json(&admin);
                json["link"] = json!(link.as_ref().map(Url::as_str));
                common.say(&json, &format!("Created. {}", said(link.as_ref())));
            }
            Admin::Role { email, role } => {
                let email = address(&email)?;
                let change = move |tx: &Tx| {
                    let admin = admins::by_email(tx, &email)?;
                    admins::set_role(tx, operator, admin.id, role)?;
                    admins::get(tx, admin.id)
                };
                common.say(&to_json(&store.write(change).await?), "Changed.");
            }
            Admin::Remove { email } => {
                let email = address(&email)?;
                let remove = move |tx: &Tx| {
                    let admin = admins::by_email(tx, &email)?;
                    admins::remove(tx, operator, admin.id).map(|()| admin.id)
                };
                common.say(&json!({"id": store.write(remove).await?, "removed": true}), "Removed.");
            }
            Admin::Link { email, how } => {
                let (email, way) = (address(&email)?, how.way());
                let links = how.server.links(way)?;
                let link = store.write(move |tx| admins::link_for(tx, &links, &email, &way)).await?;
                let link = link.as_ref().map(Url::as_str);
                common.say(&json!({"link": link}), link.unwrap_or(MAILED));
            }
            Admin::Setup(server) => {
                let links = server.links(Way::Tell)?;
                let address = store.write(move |tx| admins::set_up(tx, &links)).await?;
                common.say(&json!({"setup": address.as_str()}), address.as_str());
            }
        }
        Ok(())
    }
}

const MAILED: &str = "A mail with a link is in the outbox. It works once, for ten minutes.";

/// How they come in.
fn said(link: Option<&Url>) -> String {
    match link {
        None => MAILED.to_owned(),
        Some(link) => format!("They sign in by this link, once and within ten minutes, or at /admin:\n\n  {link}"),
    }
}

fn to_json(admin: &Person) -> serde_json::Value {
    json!({
        "id": admin.id, "email": admin.email, "role": admin.role,
        "createdAt": admin.created_at, "signedInAt": admin.signed_in_at, "language": admin.language,
    })
}
