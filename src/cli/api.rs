//! `usher api`

use clap::Subcommand;
use serde_json::json;

use super::{Common, or_dash};
use crate::api::openapi::{self, Difference};
use crate::api::versions::{ApiDate, CHANGES, Version};
use crate::apps::{self, Kind};
use crate::clock::Timestamp;
use crate::db::{IfMissing, Tx};
use crate::error::{Error, Result};
use crate::keys::{self, Call, Key};
use crate::tenants;
use crate::webhooks::{self, Endpoint};

#[derive(Subcommand)]
pub enum Api {
    /// What changes between two dates of the partner API, and which keys and webhooks still have the older one
    #[command(
        after_help = "Examples:\n  usher api diff 2023-08-01 2023-10-04\n  usher api diff 2023-08-22 2023-10-04 --days 90 --json"
    )]
    Diff {
        /// One date
        #[arg(value_parser = date)]
        from: ApiDate,
        /// The other
        #[arg(value_parser = date)]
        to: ApiDate,
        /// Within how many days a call counts
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: u64,
    },
}

fn date(text: &str) -> std::result::Result<ApiDate, String> {
    ApiDate::named(text).map_err(|e| e.to_string())
}

impl Api {
    pub async fn run(self, common: &Common) -> Result<()> {
        let Api::Diff { from, to, days } = self;
        if from.as_str() >= to.as_str() {
            return Err(Error::operator("name the older date first, and another one second."));
        }
        let notes: Vec<_> =
            CHANGES.iter().rev().filter(|change| change.date > from.as_str() && change.date <= to.as_str()).collect();
        let differences = openapi::differences(from, to);
        let store = common.open(IfMissing::Refuse).await?;
        let now = store.clock().now();
        let since = now - std::time::Duration::from_hours(24 * days);
        let (keys, calls, webhooks) = store.scan(move |tx| behind(tx, to, since)).await?;
        let older = |date: &str| date < to.as_str();
        let mut callers = Vec::new();
        for key in keys.iter().filter(|key| key.works(now)) {
            let called: Vec<_> = calls.iter().filter(|call| call.key == key.id).collect();
            if key.api_version.as_deref().is_some_and(older) || !called.is_empty() {
                callers.push((key, called));
            }
        }
        let json = json!({
            "from": from.as_str(), "to": to.as_str(), "days": days,
            "notes": notes.iter().map(|change| json!({
                "date": change.date, "note": change.note, "affects": change.affects,
            })).collect::<Vec<_>>(),
            "differences": differences,
            "keys": callers.iter().map(|(key, called)| json!({
                "id": key.id, "name": key.name, "environment": key.caller.kind, "tenant": key.tenant,
                "apiVersion": key.api_version,
                "calls": called.iter().map(|call| json!({"apiVersion": call.date, "lastAt": call.last_at})).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "webhooks": webhooks.iter().map(|(webhook, environment, tenant)| json!({
                "id": webhook.id, "environment": environment, "tenant": tenant, "apiVersion": webhook.api_version,
            })).collect::<Vec<_>>(),
        });
        if common.json {
            common.say(&json, "");
            return Ok(());
        }
        let say =
            |change: &&Version| format!("{}  {}\n            Affected: {}\n", change.date, change.note, change.affects);
        let mut words: Vec<String> = notes.iter().map(say).collect();
        words.extend(differences.iter().map(Difference::to_string));
        words.push(String::new());
        common.say(&json, &words.join("\n"));
        let mut rows = Vec::new();
        for (key, called) in &callers {
            let mut row = |called: String, last: String| {
                rows.push(vec![
                    key.id.to_string(),
                    key.name.clone(),
                    key.caller.kind.as_str().into(),
                    or_dash(key.tenant.as_ref()),
                    or_dash(key.api_version.as_ref()),
                    called,
                    last,
                ]);
            };
            if called.is_empty() {
                row("-".into(), "-".into());
            }
            for call in called {
                row(call.date.clone(), call.last_at.to_string());
            }
        }
        let head = ["KEY", "NAME", "ENVIRONMENT", "TENANT", "PINNED", "CALLED", "LAST"];
        let none = format!(
            "No key is pinned to an older date than {}, or has called one in the last {days} days.",
            to.as_str()
        );
        common.show(&json, &head, rows, &none);
        let row = |(webhook, environment, tenant): &Listener| {
            let (id, environment) = (webhook.id.to_string(), environment.as_str().to_owned());
            vec![id, environment, or_dash(tenant.as_ref()), webhook.api_version.clone()]
        };
        let none = format!("No webhook is pinned to an older date than {}.", to.as_str());
        common.say(&json, "");
        common.show(&json, &["WEBHOOK", "ENVIRONMENT", "TENANT", "PINNED"], webhooks.iter().map(row).collect(), &none);
        Ok(())
    }
}

/// A webhook, of which environment, and the name of its tenant.
type Listener = (Endpoint, Kind, Option<String>);

/// Every key, what was called of dates before this one, and the webhooks that are pinned to one.
fn behind(tx: &Tx, date: ApiDate, since: Timestamp) -> Result<(Vec<Key>, Vec<Call>, Vec<Listener>)> {
    let older = webhooks::list(tx, None)?.into_iter().filter(|webhook| webhook.api_version.as_str() < date.as_str());
    let listener = |webhook: Endpoint| {
        let kind = apps::by_id(tx, webhook.environment)?.kind;
        let tenant = webhook.tenant.map_or(Ok(None), |id| tenants::any_by_id(tx, id))?;
        Ok((webhook, kind, tenant.map(|tenant| tenant.handle())))
    };
    let listeners = older.map(listener).collect::<Result<_>>()?;
    Ok((keys::list(tx)?, keys::calls_before(tx, date.as_str(), since)?, listeners))
}
