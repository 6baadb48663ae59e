//! `usher api`

use clap::Subcommand;
use serde_json::json;

use super::{Common, or_dash};
use crate::api::openapi::{self, Difference};
use crate::api::versions::{ApiDate, CHANGES};
use crate::audit;
use crate::db::{IfMissing, Tx};
use crate::error::{Error, Result};
use crate::keys;

#[derive(Subcommand)]
pub enum Api {
    /// What changes for partners between two dates of the API, and which keys still call the older one
    #[command(after_help = "Example:\n  usher api diff 2023-08-01 2023-10-04")]
    Diff {
        /// One date
        #[arg(value_parser = date)]
        from: ApiDate,
        /// The other
        #[arg(value_parser = date)]
        to: ApiDate,
        /// How many days of calls to look at
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
        let since = store.clock().now() - std::time::Duration::from_hours(24 * days);
        // Every partner request leaves an entry, so the trail tells who called which date.
        let look = move |tx: &Tx| Ok((keys::list(tx)?, audit::dates_called(tx, since)?));
        let (keys, calls) = store.scan(look).await?;
        let now = store.clock().now();
        let older = |date: &str| date < to.as_str();
        let mut behind = Vec::new();
        for key in keys.iter().filter(|key| key.works(now)) {
            let called: Vec<_> = calls.iter().filter(|call| call.key == key.id && older(&call.date)).collect();
            if key.api_version.as_deref().is_some_and(older) || !called.is_empty() {
                behind.push((key, called));
            }
        }
        let json = json!({
            "from": from.as_str(), "to": to.as_str(), "days": days,
            "notes": notes.iter().map(|change| json!({"date": change.date, "note": change.note})).collect::<Vec<_>>(),
            "differences": differences,
            "keys": behind.iter().map(|(key, called)| json!({
                "id": key.id, "name": key.name, "environment": key.caller.kind, "tenant": key.tenant,
                "apiVersion": key.api_version,
                "calls": called.iter().map(|call| json!({
                    "apiVersion": call.date, "requests": call.count, "lastAt": call.last_at,
                })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        });
        if common.json {
            common.say(&json, "");
            return Ok(());
        }
        let mut words: Vec<String> = notes.iter().map(|change| format!("{}  {}", change.date, change.note)).collect();
        words.push(String::new());
        words.extend(differences.iter().map(Difference::to_string));
        words.push(String::new());
        common.say(&json, &words.join("\n"));
        let mut rows = Vec::new();
        for (key, called) in &behind {
            let mut row = |called: String, requests: String, last: String| {
                rows.push(vec![
                    key.id.to_string(),
                    key.name.clone(),
                    key.caller.kind.as_str().into(),
                    or_dash(key.tenant.as_ref()),
                    or_dash(key.api_version.as_ref()),
                    called,
                    requests,
                    last,
                ]);
            };
            if called.is_empty() {
                row("-".into(), "0".into(), "-".into());
            }
            for call in called {
                row(call.date.clone(), call.count.to_string(), call.last_at.to_string());
            }
        }
        let head = ["KEY", "NAME", "ENVIRONMENT", "TENANT", "PINNED", "CALLED", "REQUESTS", "LAST"];
        let none = format!(
            "No key is pinned to an older date than {}, or has called one in the last {days} days.",
            to.as_str()
        );
        common.show(&json, &head, rows, &none);
        Ok(())
    }
}
