//! `usher explain`

use std::io::Write as _;

use serde_json::json;

use super::users::the_one;
use super::{Common, Place};
use crate::admins::Role;
use crate::db::{IfMissing, Tx};
use crate::error::Result;
use crate::story::{self, Event, Story};

/// How much of each kind can be told at the most.
const MOST: i64 = 100_000;

#[derive(clap::Args)]
#[command(after_help = "Example:\n  usher explain jane@doe.com --environment live")]
pub struct Explain {
    /// E-mail address or id
    user: String,
    /// How much of each kind is told, the newest
    #[arg(long, default_value_t = story::USUAL, value_parser = clap::value_parser!(i64).range(1..=MOST))]
    limit: i64,
    #[command(flatten)]
    place: Place,
}

impl Explain {
    pub async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        let tell = move |tx: &Tx| story::of(tx, &the_one(tx, &self.user, &self.place)?.0, self.limit, Role::Owner);
        let Story { events, is_cut } = store.scan(tell).await?;
        let row = |event: &Event| {
            vec![
                event.at.to_string(),
                event.kind.as_str().to_owned(),
                event.what.clone(),
                event.who.clone(),
                event.result.clone(),
                event.detail.clone(),
            ]
        };
        let head = ["TIME", "KIND", "WHAT", "WHO", "RESULT", "DETAIL"];
        common.show(&json!(events), &head, events.iter().map(row).collect(), "Nothing happened to them yet.");
        if is_cut {
            let hint = match self.limit.saturating_mul(10).min(MOST) {
                more if more > self.limit => format!("There is more, which is older: --limit {more} tells it."),
                _ => "There is more, which is older.".to_owned(),
            };
            // Beside what is told, which a program may read.
            let _ = writeln!(std::io::stderr(), "{hint}");
        }
        Ok(())
    }
}
