//! `usher session`

use clap::Subcommand;
use serde_json::json;

use super::users::the_one;
use super::{Common, Place, or_dash};
use crate::caller::{Actor, Origin};
use crate::db::IfMissing;
use crate::error::Result;
use crate::sessions::{self, SessionId};

#[derive(Subcommand)]
pub enum Session {
    /// List where a user is signed in
    #[command(after_help = "Example:\n  usher session list jane@doe.com")]
    List {
        /// E-mail address or id
        user: String,
        #[command(flatten)]
        place: Place,
    },
    /// End one session of a user, or all; what it gave out is refused from then on
    #[command(
        after_help = "Examples:\n  usher session revoke jane@doe.com ID\n  usher session revoke jane@doe.com --all"
    )]
    Revoke {
        /// E-mail address or id
        user: String,
        /// The session's id
        #[arg(required_unless_present = "all")]
        session: Option<SessionId>,
        /// All of the user's
        #[arg(long, conflicts_with = "session")]
        all: bool,
        #[command(flatten)]
        place: Place,
    },
}

impl Session {
    pub async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        match self {
            Session::List { user, place } => {
                let found = store.read(move |tx| sessions::of_user(tx, the_one(tx, &user, &place)?.0.id)).await?;
                let json: Vec<_> = found
                    .iter()
                    .map(|session| {
                        json!({
                            "id": session.id, "createdAt": session.created_at, "refreshedAt": session.refreshed_at,
                            "expiresAt": session.expires_at,
                        })
                    })
                    .collect();
                let row = |session: &sessions::Session| {
                    vec![
                        session.id.to_string(),
                        session.created_at.to_string(),
                        or_dash(session.refreshed_at),
                        session.expires_at.to_string(),
                    ]
                };
                let rows = found.iter().map(row).collect();
                common.show(
                    &json!(json),
                    &["ID", "SIGNED IN", "REFRESHED", "ENDS"],
                    rows,
                    "The user is not signed in.",
                );
            }
            Session::Revoke { user, session, place, .. } => {
                let revoke = move |tx: &crate::db::Tx| {
                    let (user, _) = the_one(tx, &user, &place)?;
                    let origin = Origin::of(Actor::Operator);
                    match session {
                        Some(id) => sessions::revoke(tx, user.id, id, origin),
                        None => sessions::revoke_all(tx, &user, origin),
                    }
                };
                store.write(revoke).await?;
                common.say(&json!({"revoked": true}), "Revoked.");
            }
        }
        Ok(())
    }
}
