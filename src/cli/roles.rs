//! `usher role`

use clap::Subcommand;
use serde_json::json;

use super::Common;
use crate::apps::{self, AppId, Kind};
use crate::db::IfMissing;
use crate::error::Result;
use crate::roles::{self, Right, Rights, RoleId};

#[derive(Subcommand)]
pub enum Role {
    /// Make a role that carries rights over the other users of a tenant
    #[command(
        after_help = "Example:\n  usher role create --app CLIENT_ID --environment live --rights 'users:read users:invite' reception"
    )]
    Create {
        /// What to call it
        name: String,
        #[command(flatten)]
        place: Place,
        /// What it carries, words with spaces between; `usher role rights` lists them
        #[arg(long, value_parser = rights)]
        rights: Rights,
    },
    /// List the roles of an environment
    #[command(after_help = "Example:\n  usher role list --app CLIENT_ID --environment live")]
    List(Place),
    /// List the rights that a role can carry
    #[command(after_help = "Example:\n  usher role rights")]
    Rights,
    /// Remove a role; who has it may do nothing to others then
    #[command(after_help = "Example:\n  usher role delete 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a")]
    Delete {
        /// The role's id
        id: RoleId,
    },
}

#[derive(clap::Args)]
pub struct Place {
    /// The app's client id
    #[arg(long, value_name = "CLIENT_ID")]
    app: AppId,
    /// Sandbox or live
    #[arg(long)]
    environment: Kind,
}

fn rights(text: &str) -> std::result::Result<Rights, String> {
    let words: Vec<&str> = Right::ALL.iter().map(|right| right.as_str()).collect();
    Rights::named(text).ok_or_else(|| format!("a role carries some of: {}", words.join(", ")))
}

impl Role {
    pub async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        match self {
            Role::Create { name, place, rights } => {
                let make = move |tx: &crate::db::Tx| {
                    let environment = apps::environment(tx, place.app, place.environment)?;
                    roles::create(tx, environment.id, &name, rights)
                };
                let role = store.write(make).await?;
                common.say(&json!({"id": role.id, "name": role.name}), &format!("The role {} is there.", role.id));
            }
            Role::List(place) => {
                let list =
                    move |tx: &crate::db::Tx| roles::list(tx, apps::environment(tx, place.app, place.environment)?.id);
                let roles = store.read(list).await?;
                let json: Vec<_> = roles
                    .iter()
                    .map(|role| json!({"id": role.id, "name": role.name, "rights": role.rights.words()}))
                    .collect();
                let row = |role: &roles::Role| vec![role.id.to_string(), role.name.clone(), role.rights.words()];
                common.show(
                    &json!(json),
                    &["ID", "NAME", "RIGHTS"],
                    roles.iter().map(row).collect(),
                    "There are no roles.",
                );
            }
            Role::Rights => {
                let words: Vec<&str> = Right::ALL.iter().map(|right| right.as_str()).collect();
                common.say(&json!(words), &words.join("\n"));
            }
            Role::Delete { id } => {
                store.write(move |tx| roles::remove(tx, id)).await?;
                common.say(&json!({"id": id, "deleted": true}), "The role is gone.");
            }
        }
        Ok(())
    }
}
