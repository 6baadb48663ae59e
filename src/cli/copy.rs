//! `usher copy`

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::Common;
use crate::db::copy::{self, Copied, Progress};
use crate::error::{Error, Result};
use crate::secret::Secret;

#[derive(Args)]
#[command(
    after_help = "The server of --from should be stopped: what it writes from now on is not copied. A copy that was cut off goes\n\
                  on when the same command is run again. Both databases use the data key of --data, or --key-file.\n\n\
                  Example:\n  usher copy --from sqlite:./data/usher.db --to postgres://usher@localhost/usher"
)]
pub struct Copy {
    /// The database to read [default: the one of --data and --database]
    #[arg(long, value_name = "URL", env = "USHER_COPY_FROM", hide_env_values = true)]
    from: Option<Secret>,
    /// The empty database to fill: sqlite:FILE, or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL", env = "USHER_COPY_TO", hide_env_values = true)]
    to: Secret,
}

impl Copy {
    pub async fn run(self, common: &Common) -> Result<()> {
        let from = match self.from {
            Some(url) => common.at("--from", Some(url))?,
            None => common.location()?,
        };
        let to = common.at("--to", Some(self.to))?;
        // Shown at a terminal only, and there with the rate and the time that is left.
        let bar = ProgressBar::new(0);
        let look = "{msg:14} {wide_bar} {human_pos}/{human_len} rows  {per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(look).map_err(Error::internal)?);
        let shown = bar.clone();
        let show = move |Progress { table, done, total }| {
            shown.set_length(total);
            shown.set_message(table);
            shown.set_position(done);
        };
        let outcome = copy::copy(&from, &to, show).await;
        bar.finish_and_clear();
        let Copied { rows, written, users } = outcome?;
        let json = json!({"rows": rows, "written": written, "users": users, "verified": true});
        let before = match rows - written {
            0 => String::new(),
            before => format!(", {before} of them by an earlier run"),
        };
        common.say(
            &json,
            &format!(
                "Copied {rows} rows{before}, {users} users among them; each was read back and is equal.\n\
                 Start `usher serve` with the new database now, and keep the old one until you trust it."
            ),
        );
        Ok(())
    }
}
