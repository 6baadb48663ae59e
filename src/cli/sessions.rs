//! `usher session`

use clap::Subcommand;
use serde_json::json;

use super::users::the_one;
use super::{Common, Place, or_dash};
use crate::admins;
use crate::caller::{Actor, Origin};
use crate::db::{IfMissing, Store, Tx};
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
    /// End every session there is, administrators' too: everybody signs in again
    #[command(
        after_help = "`usher restore` does so by itself; after `pg_restore` it is for you to do.\n\nExample:\n  usher session revoke-all"
    )]
    RevokeAll,
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
                let revoke = move |tx: &Tx| {
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
            Session::RevokeAll => {
                let ended = end_all(&store).await?;
                common
                    .say(&json!({"sessionsEnded": ended}), &format!("Revoked: {ended}, and those of administrators."));
            }
        }
        Ok(())
    }
}

/// Ends every session there is, some at a time, and says how many of users.
pub(super) async fn end_all(store: &Store) -> Result<usize> {
    let (mut ended, mut last) = (0, None);
    while let Some((count, id)) = store.write(move |tx| sessions::end_some(tx, last)).await? {
        ended += count;
        last = Some(id);
    }
    let operator = Origin::of(Actor::Operator);
    let rest = move |tx: &Tx| {
        admins::sign_all_out(tx, operator)?;
        sessions::note_all_ended(tx, operator)
    };
    store.write(rest).await?;
    Ok(ended)
}
