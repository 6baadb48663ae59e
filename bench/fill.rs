//! Fills a database with people as a create leaves them.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use usher::api::versions::ApiDate;
use usher::apps::Kind;
use usher::audit::chain;
use usher::clock::Clock;
use usher::db::{IfMissing, Location, Store, Tx};
use usher::keys;
use usher::links::Links;
use usher::secret::Secret;
use usher::users::{self, Person};

use crate::Result;

/// How many people a transaction enrols, and how many transactions are under way.
const BATCH: u64 = 500;
const AT_ONCE: usize = 16;
/// For the filling connection only.
const ROOMY: &[&str] = &["PRAGMA cache_size=-2000000"];

/// Ten digits that no other number has, in no order: as `load.lua` makes them.
fn phone(n: u64) -> u64 {
    2_000_000_000 + n * 999_983 % 8_000_000_000
}

/// Enrols people through the operation that the API calls, hundreds in a transaction.
pub async fn fill(data: PathBuf, database: Option<String>, people: u64, first: u64, body: &str) -> Result<()> {
    let location = Location { postgres: database.map(Secret::new), ..Location::at(data) };
    let store = Store::open(&location, Clock::System, IfMissing::Refuse).await?;
    if location.postgres.is_none() {
        // Filling is not what is measured.
        store.write(|tx| ROOMY.iter().try_for_each(|setting| tx.query_opt(setting, &[]).map(drop))).await?;
    }
    let key = store.read(keys::list).await?.into_iter().find(|key| key.caller.kind == Kind::Sandbox);
    let caller = key.ok_or("there is no sandbox key")?.caller;
    let links = Links { public_url: "http://127.0.0.1:8080".parse()?, lifetime: Duration::from_hours(24) };
    let context = caller.context(store.clock().now());
    let shape = &ApiDate::NEWEST.shapes().create;
    let person = |n: u64| -> Result<Person> {
        let body = body.replace("{n}", &n.to_string()).replace("{phone}", &phone(n).to_string());
        Ok(shape.read(&serde_json::from_str(&body)?, &context)?)
    };
    let mut under_way = FuturesUnordered::new();
    let mut numbers = (first..first + people).step_by(usize::try_from(BATCH)?);
    loop {
        while under_way.len() < AT_ONCE
            && let Some(from) = numbers.next()
        {
            let batch = (from..(from + BATCH).min(first + people)).map(person).collect::<Result<Vec<_>>>()?;
            let links = links.clone();
            let enrol = move |tx: &Tx| {
                batch.iter().try_for_each(|person| users::enrol(tx, &caller, person.clone(), &links).map(drop))
            };
            under_way.push(store.write(enrol));
        }
        match under_way.next().await {
            Some(done) => done?,
            // A server would be at it for minutes, beside what is measured.
            None => return Ok(chain::seal_all(&store).await?),
        }
    }
}
