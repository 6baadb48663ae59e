//! `usher key`

use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::{Common, or_dash};
use crate::api::versions::ApiDate;
use crate::apps::{self, AppId, Kind};
use crate::caller::{Actor, Origin};
use crate::config::span;
use crate::db::IfMissing;
use crate::error::Result;
use crate::keys::{self, Access, KeyId, NewKey};

#[derive(Subcommand)]
pub enum Key {
    /// Make an API key; it is shown this once
    #[command(
        after_help = "Example:\n  usher key create --app CLIENT_ID --environment live --access write --tenant 'Clinic North' --expires 90d"
    )]
    Create {
        /// The app's client id
        #[arg(long, value_name = "CLIENT_ID")]
        app: AppId,
        /// Sandbox or live
        #[arg(long)]
        environment: Kind,
        /// What the key may do
        #[arg(long)]
        access: Access,
        /// Bind the key to this tenant, by name or id; a new name makes a new tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// The partner API date for requests that name none [default: the newest, at the first request]
        #[arg(long, value_name = "DATE", value_parser = date)]
        api_version: Option<String>,
        /// How long the key works, e.g. 90d or 24h [default: until revoked]
        #[arg(long, value_name = "SPAN", value_parser = span)]
        expires: Option<Duration>,
        /// What to call the key
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Change what a key is pinned to
    #[command(
        after_help = "`usher api diff` says what the change means for its holder.\n\nExample:\n  usher key update 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a --api-version 2023-10-04"
    )]
    Update {
        /// The key's id
        id: KeyId,
        /// The partner API date for requests that name none
        #[arg(long, value_name = "DATE", value_parser = date)]
        api_version: String,
    },
    /// List the keys, without the keys themselves
    #[command(after_help = "Example:\n  usher key list --json")]
    List,
    /// Make a key that takes another's place; the one before works on for a while
    #[command(after_help = "Example:\n  usher key rotate 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a --overlap 7d")]
    Rotate {
        /// The key's id
        id: KeyId,
        /// How long the one before works on
        #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = span)]
        overlap: Duration,
    },
    /// Make a key stop working, at once and for good
    #[command(after_help = "Example:\n  usher key revoke 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a")]
    Revoke {
        /// The key's id
        id: KeyId,
    },
}

pub(super) fn date(text: &str) -> std::result::Result<String, String> {
    ApiDate::named(text).map(|date| date.as_str().to_owned()).map_err(|e| e.to_string())
}

impl Key {
    pub async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        let operator = Origin::of(Actor::Operator);
        match self {
            Key::Create { app, environment, access, tenant, api_version, expires, name } => {
                let new = NewKey { name, access, tenant, api_version, expires_in: expires };
                let (key, secret) = store
                    .write(move |tx| keys::create(tx, operator, &apps::environment(tx, app, environment)?, &new))
                    .await?;
                let json = json!({
                    "id": key.id, "key": secret.expose(), "clientId": app, "environment": environment,
                    "access": access, "tenant": key.tenant, "apiVersion": key.api_version,
                });
                common.say(
                    &json,
                    &format!("{}\nThis is the only time it is shown. Its id is {}.", secret.expose(), key.id),
                );
            }
            Key::Rotate { id, overlap } => {
                let (key, secret) = store.write(move |tx| keys::rotate(tx, operator, id, overlap)).await?;
                common.say(
                    &json!({"id": key.id, "key": secret.expose(), "replaces": id}),
                    &format!("{}\nThis is the only time it is shown. Its id is {}.", secret.expose(), key.id),
                );
            }
            Key::List => {
                let keys = store.read(keys::list).await?;
                let now = store.clock().now();
                let json = keys.iter().map(|key| json!({
                    "id": key.id, "name": key.name, "clientId": key.caller.app, "environment": key.caller.kind,
                    "access": key.access, "tenant": key.tenant, "apiVersion": key.api_version, "state": key.state(now),
                    "createdAt": key.created_at, "expiresAt": key.ends_at(), "revokedAt": key.revoked_at,
                    "lastUsedAt": key.last_used_at,
                })).collect();
                let rows = keys
                    .iter()
                    .map(|key| {
                        vec![
                            key.id.to_string(),
                            key.name.clone(),
                            key.caller.kind.as_str().into(),
                            key.access.as_str().into(),
                            or_dash(key.tenant.as_ref()),
                            or_dash(key.api_version.as_ref()),
                            key.state(now).into(),
                            or_dash(key.last_used_at),
                        ]
                    })
                    .collect();
                let head = ["ID", "NAME", "ENVIRONMENT", "ACCESS", "TENANT", "API VERSION", "STATE", "LAST USED"];
                common.show(&json, &head, rows, "There are no keys. `usher key create` makes one.");
            }
            Key::Update { id, api_version } => {
                let json = json!({"id": id, "apiVersion": api_version});
                store.write(move |tx| keys::move_to(tx, operator, id, &api_version)).await?;
                common.say(&json, "Changed.");
            }
            Key::Revoke { id } => {
                store.write(move |tx| keys::revoke(tx, operator, id)).await?;
                common.say(&json!({"id": id, "state": "revoked"}), "Revoked.");
            }
        }
        Ok(())
    }
}
