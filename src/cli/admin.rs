//! `usher admin`

use clap::Subcommand;
use serde_json::json;
use url::Url;

use super::{Common, or_dash};
use crate::admins::{self, Admin as Person, Role};
use crate::caller::{Actor, Origin};
use crate::db::{IfMissing, Tx};
use crate::error::{Error, Result};
use crate::links::Links;
use crate::users::Email;

#[derive(Subcommand)]
pub enum Admin {
    /// List who may use the dashboard
    #[command(after_help = "Example:\n  usher admin list")]
    List,
    /// Let somebody use the dashboard
    #[command(after_help = "Example:\n  usher admin create ann@clinic.example --role support")]
    Create {
        /// Their e-mail address
        email: String,
        /// What they may do
        #[arg(long)]
        role: Role,
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
    /// Print a link by which an administrator signs in, once and within ten minutes
    #[command(after_help = "Example:\n  usher admin link ann@clinic.example")]
    Link {
        /// Their e-mail address
        email: String,
        #[command(flatten)]
        server: Server,
    },
    /// Print an address at which the first administrator is made, within an hour
    #[command(after_help = "Example:\n  usher admin setup")]
    Setup(Server),
}

#[derive(clap::Args)]
pub struct Server {
    /// Where people reach the server
    #[arg(long, value_name = "URL", env = "USHER_PUBLIC_URL", default_value = "http://127.0.0.1:8080")]
    public_url: Url,
}

impl Server {
    fn links(self) -> Links {
        Links { public_url: self.public_url, lifetime: admins::LINK_LIFETIME }
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
            Admin::Create { email, role } => {
                let email = address(&email)?;
                let admin = store.write(move |tx| admins::create(tx, operator, &email, role)).await?;
                common.say(&to_json(&admin), "Created. They sign in at /admin, by a link in a mail.");
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
            Admin::Link { email, server } => {
                let (email, links) = (address(&email)?, server.links());
                let link = store.write(move |tx| admins::link_for(tx, &links, &email)).await?;
                common.say(&json!({"link": link.as_str()}), link.as_str());
            }
            Admin::Setup(server) => {
                let links = server.links();
                let address = store.write(move |tx| admins::set_up(tx, &links)).await?;
                common.say(&json!({"setup": address.as_str()}), address.as_str());
            }
        }
        Ok(())
    }
}

fn to_json(admin: &Person) -> serde_json::Value {
    json!({
        "id": admin.id, "email": admin.email, "role": admin.role,
        "createdAt": admin.created_at, "signedInAt": admin.signed_in_at, "language": admin.language,
    })
}
