//! `usher token`

use clap::Subcommand;
use serde_json::json;

use super::Common;
use crate::db::IfMissing;
use crate::error::{Error, Result};
use crate::tokens;
use crate::users::{self, UserId};

#[derive(Subcommand)]
pub enum Token {
    /// Print an access token of a user, for trying things out
    #[command(after_help = "Example:\n  usher token create --user 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a")]
    Create {
        /// The user's id
        #[arg(long, value_name = "ID")]
        user: UserId,
    },
}

impl Token {
    pub async fn run(self, common: &Common) -> Result<()> {
        let Token::Create { user: id } = self;
        let store = common.open(IfMissing::Refuse).await?;
        let access = store
            .write(move |tx| {
                let user = users::any_by_id(tx, id)?;
                let missing = || Error::operator("there is no such user. `usher user list` shows the newest.");
                tokens::issue_by_itself(tx, &user.ok_or_else(missing)?)
            })
            .await?;
        let json = json!({"accessToken": access.access.expose(), "expiresIn": access.expires_in, "userId": id});
        common.say(&json, access.access.expose());
        Ok(())
    }
}
