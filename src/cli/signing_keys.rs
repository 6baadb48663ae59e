//! `usher signing-key`

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::{Common, or_dash};
use crate::apps::{self, AppId, Kind};
use crate::caller::{Actor, Origin};
use crate::config::span;
use crate::db::IfMissing;
use crate::error::Result;
use crate::tokens::signing::{self, SigningKey};
use crate::tokens::{self};

#[derive(Subcommand)]
pub enum SigningKeys {
    /// List the keys of an environment
    #[command(after_help = "Example:\n  usher signing-key list CLIENT_ID --environment live")]
    List(Of),
    /// Have another key sign; the one before verifies until its last token has expired
    #[command(
        after_help = "Example:\n  usher signing-key rotate CLIENT_ID --environment live\n\nThe new key is in the key set at once and signs later, so that whoever keeps the set has it by then."
    )]
    Rotate {
        #[command(flatten)]
        of: Of,
        /// How long the new key is shown before it signs
        #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = span, conflicts_with = "now")]
        after: Duration,
        /// Sign with the new key at once
        #[arg(long)]
        now: bool,
    },
    /// Make a key worthless at once, with every token it signed; a new one takes its place
    #[command(after_help = "Example:\n  usher signing-key revoke KID")]
    Revoke {
        /// The key's id: the `kid` of its tokens
        // In base64, which can begin with a hyphen.
        #[arg(allow_hyphen_values = true)]
        id: String,
    },
}

#[derive(clap::Args)]
pub struct Of {
    /// The app's client id
    client_id: AppId,
    /// Sandbox or live
    #[arg(long)]
    environment: Kind,
}

impl SigningKeys {
    pub async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        match self {
            SigningKeys::List(Of { client_id, environment }) => {
                let list =
                    move |tx: &crate::db::Tx| tokens::list(tx, apps::environment(tx, client_id, environment)?.id);
                let found = store.read(list).await?;
                let row = |key: &signing::Listed| {
                    vec![
                        key.id.clone(),
                        key.created_at.to_string(),
                        key.active_at.to_string(),
                        or_dash(key.retires_at),
                        or_dash(key.revoked_at),
                    ]
                };
                let head = ["ID", "CREATED", "SIGNS FROM", "VERIFIES UNTIL", "REVOKED"];
                common.show(&json!(found), &head, found.iter().map(row).collect(), "");
            }
            SigningKeys::Rotate { of: Of { client_id, environment }, after, now } => {
                let key = SigningKey::generate()?;
                let (id, after) = (key.id().to_owned(), if now { Duration::ZERO } else { after });
                let rotate = move |tx: &crate::db::Tx| {
                    signing::rotate(
                        tx,
                        Origin::of(Actor::Operator),
                        apps::environment(tx, client_id, environment)?.id,
                        &key,
                        after,
                    )
                };
                store.write(rotate).await?;
                common.say(&json!({ "id": id }), &format!("The key {id} signs in {} s.", after.as_secs()));
            }
            SigningKeys::Revoke { id } => {
                let next = SigningKey::generate()?;
                let next_id = next.id().to_owned();
                store.write(move |tx| signing::revoke(tx, Origin::of(Actor::Operator), &id, &next)).await?;
                common.say(&json!({ "id": next_id }), &format!("Revoked. The key {next_id} signs now."));
            }
        }
        Ok(())
    }
}
