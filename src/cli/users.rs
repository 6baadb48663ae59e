//! `usher user`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use jiff::civil::Date;
use serde_json::{Value, json};
use url::Url;

use super::audited::AuditedStore;
use super::imports::break_off;
use super::{Common, Place, for_people, here, or_dash};
use crate::apps::{self, Environment, Kind};
use crate::audit;
use crate::caller::{Actor, Caller, Origin, Target};
use crate::config::{origin, span};
use crate::db::{IfMissing, Store, Tx};
use crate::erasure::{self, Part, Receipt};
use crate::error::{Error, Result};
use crate::links::{self, Links};
use crate::roles;
use crate::subscriptions;
use crate::users::{self, Health, IfMatch, Status, UserId};

#[derive(Subcommand)]
pub enum User {
    /// Show what is stored about a user; of health data, only what is known
    #[command(
        after_help = "Examples:\n  usher user show jane@doe.com --environment sandbox\n  usher user show jane@doe.com --reveal 'she asked what we know'"
    )]
    Show {
        #[command(flatten)]
        named: Named,
        /// Show the health data too, and say why you look: that is written into the audit trail
        #[arg(long, value_name = "REASON", value_parser = reason)]
        reveal: Option<String>,
    },
    /// List the newest users
    #[command(after_help = "Example:\n  usher user list --environment live --limit 20")]
    List {
        #[command(flatten)]
        place: Place,
        /// How many at the most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Send a user a new link; those before it end
    #[command(after_help = "Example:\n  usher user send-link jane@doe.com --public-url https://users.example.com")]
    SendLink {
        #[command(flatten)]
        named: Named,
        /// Where people reach the server [default in the sandbox, where mail stays: http://127.0.0.1:8080]
        #[arg(long, value_name = "URL", env = "USHER_PUBLIC_URL", value_parser = origin)]
        public_url: Option<Url>,
        /// How long the link works
        #[arg(long, value_name = "SPAN", env = "USHER_LINK_LIFETIME", default_value = "24h", value_parser = span)]
        link_lifetime: Duration,
    },
    /// Keep a user from signing in; their tokens, sessions and links stop working
    #[command(after_help = "Example:\n  usher user freeze jane@doe.com")]
    Freeze(Named),
    /// Delete a user for every caller; the record stays and can be restored
    #[command(after_help = "Example:\n  usher user delete 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a")]
    Delete(Named),
    /// Undo freezing or deleting
    #[command(after_help = "Example:\n  usher user restore 4d5f3c1e-6f0b-4c8e-9f57-0a8f6d1c2b3a")]
    Restore(Named),
    /// Give a user a role, in place of the one they have
    #[command(after_help = "Example:\n  usher user role jane@doe.com administrator")]
    Role {
        #[command(flatten)]
        named: Named,
        /// The role's id or name; `usher role list` shows them
        role: String,
    },
    /// Write everything that is held about a person, as JSON
    #[command(after_help = "Example:\n  usher user export jane@doe.com > jane.json")]
    Export(Named),
    /// Erase a user for good: the record, and the person in everything kept beside it
    #[command(
        after_help = "Examples:\n  usher user erase jane@doe.com\n  usher user erase --again receipts.json   # after an older backup was restored"
    )]
    Erase {
        /// E-mail address or id
        #[arg(required_unless_present = "again")]
        user: Option<String>,
        #[command(flatten)]
        place: Place,
        /// Erase everyone whom a file of receipts names (`usher user erasures --json`), and break off every import: a restored
        /// database would take over again what was taken over since
        #[arg(long, value_name = "FILE", conflicts_with = "user")]
        again: Option<PathBuf>,
    },
    /// List the receipts of erasures; keep them with your backups
    #[command(after_help = "Example:\n  usher user erasures --json > receipts.json")]
    Erasures(Place),
}

#[derive(clap::Args)]
pub struct Named {
    /// E-mail address or id
    user: String,
    #[command(flatten)]
    place: Place,
}

fn reason(text: &str) -> std::result::Result<String, &'static str> {
    Some(text.trim().to_owned()).filter(|text| !text.is_empty()).ok_or("say why you look")
}

impl User {
    pub async fn run(self, common: &Common) -> Result<()> {
        let store = common.open(IfMissing::Refuse).await?;
        let (named, status) = match self {
            User::Show { named, reveal } => {
                let (is_revealed, find) = (reveal.is_some(), move |tx: &Tx| the_one(tx, &named.user, &named.place));
                let (user, environment) = match reveal {
                    None => store.read(find).await?,
                    Some(reason) => {
                        let reveal = move |tx: &Tx| {
                            let (user, environment) = find(tx)?;
                            users::reveal(tx, &Caller::operator(&environment), user.id, &reason)
                                .map(|user| (user, environment))
                        };
                        store.write(reveal).await?
                    }
                };
                let today = store.clock().now().day();
                let mut json = to_json(&user, &environment, today);
                if is_revealed {
                    json["subscription"] = subscriptions::show(&user, today);
                    json["health"] = json!(user.person.health);
                }
                common.say(&json, &to_text(&json));
                return Ok(());
            }
            User::List { place, limit } => {
                let users = store.read(move |tx| newest(tx, &place, limit)).await?;
                let today = store.clock().now().day();
                let json =
                    users.iter().map(|(user, environment)| to_json(user, environment, today)).collect::<Vec<_>>();
                let row = |(user, environment): &(users::User, Environment)| {
                    vec![
                        user.id.to_string(),
                        user.email.address().to_owned(),
                        environment.kind.as_str().to_owned(),
                        user.status().as_str().to_owned(),
                        or_dash(user.email_verified_at),
                        user.created_at.to_string(),
                    ]
                };
                let head = ["ID", "EMAIL", "ENVIRONMENT", "STATUS", "EMAIL VERIFIED", "CREATED"];
                common.show(&json!(json), &head, users.iter().map(row).collect(), "There are no users.");
                return Ok(());
            }
            User::SendLink { named, public_url, link_lifetime } => {
                let send = move |tx: &Tx| {
                    let (user, environment) = the_one(tx, &named.user, &named.place)?;
                    let url = public_url.clone();
                    let url = if environment.kind == Kind::Live { for_people(url, "a live mail")? } else { here(url)? };
                    let links = Links { public_url: url, lifetime: link_lifetime };
                    links::resend(tx, &links, &Caller::operator(&environment), user.id).map(|()| user.id)
                };
                let id = store.write(send).await?;
                common.say(&json!({"id": id, "sent": true}), "A mail with a new link is in the outbox.");
                return Ok(());
            }
            User::Role { named, role } => {
                let id = store.write(move |tx| give_role(tx, &named, &role)).await?;
                common.say(&json!({"id": id}), "The user has the role.");
                return Ok(());
            }
            User::Export(named) => {
                let find = move |tx: &Tx| {
                    let (user, _) = the_one(tx, &named.user, &named.place)?;
                    audit::note_read(tx, Origin::of(Actor::Operator), &user)?;
                    Ok(user)
                };
                let user = store.write(find).await?;
                let mut part = Some(Part::Held);
                while let Some(now) = part {
                    let whose = user.clone();
                    let (text, next) = store.scan(move |tx| erasure::export(tx, &whose, now)).await?;
                    part = match std::io::stdout().write_all(text.as_bytes()) {
                        // Whoever has closed the other end has read enough.
                        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => None,
                        Err(e) => {
                            return Err(Error::operator(format!("the export could not be written to its end: {e}.")));
                        }
                        Ok(()) => next,
                    };
                }
                return Ok(());
            }
            User::Erase { user, place, again } => return erase(common, &store, user, place, again).await,
            User::Erasures(place) => return erasures(common, &store, place).await,
            User::Freeze(named) => (named, Status::Frozen),
            User::Delete(named) => (named, Status::Deleted),
            User::Restore(named) => (named, Status::Active),
        };
        let (id, status) = store
            .write(move |tx| {
                let (user, _) = the_one(tx, &named.user, &named.place)?;
                Ok((user.id, users::set_status(tx, user.id, status)?))
            })
            .await?;
        common.say(&json!({"id": id, "status": status}), &format!("The user is {}.", status.as_str()));
        Ok(())
    }
}

fn give_role(tx: &Tx, named: &Named, role: &str) -> Result<UserId> {
    let (user, environment) = the_one(tx, &named.user, &named.place)?;
    let roles = roles::list(tx, environment.id)?;
    let role = roles.iter().find(|one| one.name == role || one.id.to_string() == role);
    let role =
        role.ok_or_else(|| Error::operator("there is no such role. `usher role list` shows those that exist."))?;
    let operator = Caller::operator(&environment);
    roles::assign(tx, &operator, Target::Id(user.id), role.id, &IfMatch::Anything)?;
    Ok(user.id)
}

async fn erase(
    common: &Common,
    store: &AuditedStore,
    user: Option<String>,
    place: Place,
    again: Option<PathBuf>,
) -> Result<()> {
    let operator = Origin::of(Actor::Operator);
    let (mut receipts, mut left) = (Vec::new(), Vec::new());
    if let Some(user) = user {
        let one = move |tx: &Tx| erasure::erase(tx, operator, &the_one(tx, &user, &place)?.0);
        receipts.push(store.write(one).await?);
    }
    if let Some(file) = again {
        let erased = erased_before(&file)?;
        if let (_, Some(words)) = break_off(store).await? {
            let _ = writeln!(std::io::stderr(), "usher: {words}");
        }
        let (again, unread) = erase_again(store, erased).await?;
        receipts.extend(again);
        left = unread;
    }
    let words =
        receipts.iter().map(|receipt| format!("{} was erased.", receipt.user_id)).collect::<Vec<_>>().join("\n");
    common.say(&json!(receipts), if words.is_empty() { "There was nobody to erase." } else { &words });
    all_are_erased(&left)
}

/// Erases those of them who are there, and says who could not be, for their record cannot be read.
pub(super) async fn erase_again(store: &Store, erased: Vec<UserId>) -> Result<(Vec<Receipt>, Vec<UserId>)> {
    let (mut receipts, mut left) = (Vec::new(), Vec::new());
    for id in erased {
        match store.write(move |tx| erasure::again(tx, id)).await {
            Err(Error::Integrity) => left.push(id),
            receipt => receipts.extend(receipt?),
        }
    }
    Ok((receipts, left))
}

/// An error, if there are some whose records cannot be read.
pub(super) fn all_are_erased(left: &[UserId]) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = left.iter().map(UserId::to_string).collect();
    Err(Error::operator(format!(
        "these could not be erased again, for their records cannot be read; the others are: {}. `usher serve` would have them.",
        names.join(", ")
    )))
}

/// The ids in a file of receipts.
pub(super) fn erased_before(file: &Path) -> Result<Vec<UserId>> {
    let unreadable = |why: &str| Error::operator(format!("{} is not a list of receipts: {why}.", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| unreadable(&e.to_string()))?;
    let list: Vec<Value> = serde_json::from_str(&text).map_err(|_| unreadable("it is no JSON list"))?;
    let id = |receipt: &Value| receipt["userId"].as_str().and_then(|id| id.parse().ok());
    list.iter().map(|receipt| id(receipt).ok_or_else(|| unreadable("an entry has no userId"))).collect()
}

async fn erasures(common: &Common, store: &Store, place: Place) -> Result<()> {
    let list = move |tx: &Tx| {
        let all = environments(tx, &place)?.into_iter().map(|environment| erasure::receipts(tx, environment.id));
        Ok(all.collect::<Result<Vec<_>>>()?.concat())
    };
    let receipts = store.scan(list).await?;
    let row =
        |receipt: &Receipt| vec![receipt.user_id.to_string(), receipt.created_at.to_string(), receipt.id.to_string()];
    let head = ["USER", "ERASED", "RECEIPT"];
    common.show(&json!(receipts), &head, receipts.iter().map(row).collect(), "Nobody was erased.");
    Ok(())
}

pub(super) fn environments(tx: &Tx, place: &Place) -> Result<Vec<Environment>> {
    let mut all = Vec::new();
    for app in apps::list(tx)?.iter().filter(|app| place.app.is_none_or(|only| only == app.id)) {
        for kind in Kind::ALL.iter().copied().filter(|kind| place.environment.is_none_or(|only| only == *kind)) {
            all.push(apps::environment(tx, app.id, kind)?);
        }
    }
    Ok(all)
}

pub(super) fn the_one(tx: &Tx, name: &str, place: &Place) -> Result<(users::User, Environment)> {
    let mut found = Vec::new();
    for environment in environments(tx, place)? {
        if let Some(user) = users::look_up(tx, environment.id, name)? {
            found.push((user, environment));
        }
    }
    match found.len() {
        0 => Err(Error::operator("there is no such user. `usher user list` shows the newest.")),
        1 => Ok(found.remove(0)),
        _ => Err(Error::operator("that address is in several environments; say which with --environment and --app.")),
    }
}

fn newest(tx: &Tx, place: &Place, limit: i64) -> Result<Vec<(users::User, Environment)>> {
    let mut all = Vec::new();
    for environment in environments(tx, place)? {
        let users = users::newest(tx, environment.id, limit)?;
        all.extend(users.into_iter().map(|user| (user, environment.clone())));
    }
    all.sort_by_key(|(user, _)| std::cmp::Reverse(user.created_at));
    all.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(all)
}

/// What is stored about a user. What the programme knows is named and not told.
fn to_json(user: &users::User, environment: &Environment, today: Date) -> Value {
    let known = Health::FIELDS.iter().filter(|wire| (wire.show)(&user.person).is_some()).map(|wire| wire.name);
    json!({
        "id": user.id,
        "clientId": environment.app,
        "environment": environment.kind,
        "tenantId": user.tenant,
        "status": user.status(),
        "email": user.email,
        "emailVerified": user.email_verified_at.is_some(),
        "phone": user.person.phone,
        "externalId": user.person.external_id,
        "userRoleId": user.role,
        "profile": user.person.profile,
        "subscription": subscriptions::standing(user, today),
        "healthKnown": known.collect::<Vec<_>>(),
        "createdAt": user.created_at,
        "updatedAt": user.updated_at,
        "frozenAt": user.frozen_at,
        "deletedAt": user.deleted_at,
    })
}

/// One line a fact; facts of a part are indented.
fn to_text(json: &Value) -> String {
    let mut lines = Vec::new();
    for (name, value) in json.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        match value.as_object() {
            Some(part) => {
                lines.push(format!("{name}:"));
                lines.extend(part.iter().map(|(name, value)| format!("  {name}: {}", plain(value))));
            }
            None => lines.push(format!("{name}: {}", plain(value))),
        }
    }
    lines.join("\n")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
