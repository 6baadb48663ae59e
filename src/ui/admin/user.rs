//! One user: a page with tabs, and what can be done to them.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Value, json};

use super::Frame;
use super::access::{Owner, ReadOnly, Support, Within};
use super::users::called;
use crate::admins::Role;
use crate::api::Api;
use crate::api::body::Form;
use crate::api::directory;
use crate::caller::{Caller, Target};
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::{Tx, words};
use crate::erasure;
use crate::error::{Error, Result};
use crate::links;
use crate::outbox::{self, Job};
use crate::roles::Right;
use crate::sessions::{self, Session, SessionId};
use crate::story::{self, Story};
use crate::subscriptions;
use crate::tenants;
use crate::ui::page;
use crate::users::{self, Health, IDENTITY, IfMatch, Profile, Status, User, UserId};

/// How many mails and sessions are shown, the newest.
const ROWS: i64 = 100;

words! {
    /// The tabs of a user.
    pub enum Tab {
        /// Who they are.
        Profile = "profile",
        /// What the programme knows, masked.
        Health = "health",
        /// How the subscription stands.
        Subscription = "subscription",
        /// What was mailed.
        Mail = "mail",
        /// Where they are signed in.
        Sessions = "sessions",
        /// What was done to them.
        Events = "events",
        /// All of it in the order of time.
        Story = "story",
        /// As the directory API answers.
        Json = "json",
    }
}

impl Tab {
    fn words(&self) -> &'static str {
        match self {
            Tab::Profile => "Profile",
            Tab::Health => "Health",
            Tab::Subscription => "Subscription",
            Tab::Mail => "Mail",
            Tab::Sessions => "Sessions",
            Tab::Events => "Events",
            Tab::Story => "The whole story",
            Tab::Json => "JSON",
        }
    }
}

/// What a tab shows.
enum View {
    Facts(Vec<(String, String)>),
    /// The names of what is known.
    Masked(Vec<&'static str>),
    Health(Vec<(String, String)>),
    Mails(Vec<Job>),
    Sessions(Vec<Session>),
    Events(Story),
    Json(String),
}

#[derive(Template)]
#[template(path = "admin/user.html")]
struct UserPage<'a> {
    frame: &'a Frame,
    user: User,
    tab: Tab,
    view: View,
    said: &'static str,
    fault: &'a str,
    now: Timestamp,
}

impl UserPage<'_> {
    fn called(&self) -> String {
        called(&self.user)
    }

    fn at(&self) -> String {
        format!("{}/users/{}", self.frame.base(), self.user.id)
    }

    /// The lines that do the same as the page's buttons.
    fn commands(&self) -> String {
        let (place, id) = (self.frame.options(), self.user.id);
        let line = |words: &str| format!("usher {words}{place}").replacen("ID", &id.to_string(), 1);
        let of_tab: &[&str] = match (self.tab, self.user.status()) {
            (Tab::Sessions, _) => &["session list ID", "session revoke ID --all"],
            (Tab::Mail | Tab::Events | Tab::Story, _) => &["explain ID"],
            (Tab::Health, _) if self.frame.may(Role::Owner) => &["user show ID", "user show ID --reveal 'REASON'"],
            (Tab::Profile, Status::Deleted) => &["user show ID", "user erase ID"],
            (Tab::Profile, _) => &["user show ID", "user delete ID", "user erase ID"],
            _ => &["user show ID"],
        };
        let of_all: &[&str] = match self.user.status() {
            Status::Active => &["user send-link ID --public-url \"$USHER_URL\"", "user freeze ID"],
            Status::Frozen | Status::Deleted => &["user restore ID"],
        };
        let of_one = self.open_sessions().map(|session| format!("session revoke ID {session}"));
        let lines = of_all.iter().chain(of_tab).map(|words| line(words)).chain(of_one.map(|words| line(&words)));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The sessions on the page that can be ended.
    fn open_sessions(&self) -> impl Iterator<Item = SessionId> {
        let sessions = match &self.view {
            View::Sessions(sessions) => sessions.as_slice(),
            _ => &[],
        };
        sessions.iter().filter(|session| session.works(self.now)).map(|session| session.id)
    }

    /// The requests that do the same, where the directory API has them.
    fn requests(&self) -> String {
        let app = self.frame.place.as_ref().map_or_else(String::new, |place| place.app.to_string());
        let access = format!("/v1/apps/{app}/users/ID/access-status");
        let (freeze, unfreeze) = (format!("{access}/0"), format!("{access}/1"));
        let of_tab: &[(&str, &str)] = match (self.tab, self.user.status()) {
            (Tab::Sessions, _) => &[("GET", "/v1/users/ID/sessions"), ("DELETE", "/v1/users/ID/sessions")],
            (Tab::Events, _) => &[("GET", "/v1/users/ID/events")],
            (Tab::Json, _) => &[("GET", "/v1/users/ID")],
            (Tab::Profile, Status::Deleted) => &[("POST", "/v1/users/ID/erase")],
            (Tab::Profile, _) => &[("DELETE", "/v1/users/ID"), ("POST", "/v1/users/ID/erase")],
            _ => &[],
        };
        let of_all = match self.user.status() {
            Status::Active => ("PUT", freeze.as_str()),
            Status::Frozen => ("PUT", unfreeze.as_str()),
            Status::Deleted => ("POST", "/v1/users/ID/restore"),
        };
        let id = self.user.id.to_string();
        let of_one = self.open_sessions().map(|session| ("DELETE", format!("/v1/users/ID/sessions/{session}")));
        let lines =
            std::iter::once(&of_all).chain(of_tab).map(|(method, path)| (*method, (*path).to_owned())).chain(of_one);
        lines.map(|(method, path)| self.frame.curl(method, &path.replace("ID", &id))).collect::<Vec<_>>().join("\n")
    }
}

/// What a page says that comes after an action.
fn said(query: Option<&str>) -> &'static str {
    match query.and_then(|query| query.strip_prefix("said=")) {
        Some("frozen") => "Frozen. They cannot sign in, and their links and sessions have ended.",
        Some("unfrozen") => "Unfrozen. They can sign in again.",
        Some("restored") => "Restored, as they were before.",
        Some("deleted") => "Deleted. They can be restored for 30 days, and are erased after that.",
        Some("link") => "A mail with a new link is on its way. Links before it have ended.",
        Some("ended") => "Signed out. What the session gave out is refused from now on.",
        _ => "",
    }
}

/// A user of the environment, deleted or not: those to whom that is no longer shown are not found.
pub(super) fn of(tx: &Tx, caller: &Caller, id: UserId) -> Result<User> {
    let user = users::look_up(tx, caller.scope.environment, &id.to_string())?;
    let shown = |user: &User| user.status() != Status::Deleted || sees_deleted(caller);
    user.filter(shown).ok_or(Error::UserNotFound)
}

/// Whether the deleted are shown to the caller.
pub(super) fn sees_deleted(caller: &Caller) -> bool {
    caller.rights.has(Right::DeleteUsers)
}

/// `GET /admin/{appId}/{environment}/users/{userId}`
pub async fn show(
    State(api): State<Api>,
    here: Within<ReadOnly>,
    Path((_, _, id)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    show_tab(&api, &here, &id, Tab::Profile, said(query.as_deref())).await
}

/// `GET /admin/{appId}/{environment}/users/{userId}/{tab}`
pub async fn tab(
    State(api): State<Api>,
    here: Within<ReadOnly>,
    Path((_, _, id, tab)): Path<(String, String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    show_tab(&api, &here, &id, Tab::named(&tab).ok_or(Error::NoRoute)?, said(query.as_deref())).await
}

async fn show_tab(api: &Api, here: &Within<ReadOnly>, id: &str, tab: Tab, said: &'static str) -> Result<Response> {
    let (caller, role, id) = (here.caller, here.frame.who.role, read_id(id)?);
    let look = move |tx: &Tx| {
        let user = of(tx, &caller, id)?;
        let view = view(tx, (&caller, role), &user, tab)?;
        Ok((user, view))
    };
    let (user, view) = api.store.scan(look).await?;
    let now = api.store.clock().now();
    Ok(page(&UserPage { frame: &here.frame, user, tab, view, said, fault: "", now }))
}

fn view(tx: &Tx, (caller, role): (&Caller, Role), user: &User, tab: Tab) -> Result<View> {
    Ok(match tab {
        Tab::Profile => View::Facts(profile(tx, user)?),
        Tab::Health => View::Masked(
            Health::FIELDS.iter().filter(|wire| (wire.show)(&user.person).is_some()).map(|wire| wire.name).collect(),
        ),
        Tab::Subscription => {
            let mut facts = facts(&subscriptions::standing(user, tx.now().day()));
            if subscriptions::has_reason(user) {
                facts.push(("cancellationReason".to_owned(), "is with the health record".to_owned()));
            }
            View::Facts(facts)
        }
        Tab::Mail => View::Mails(outbox::of_user(tx, user.id, ROWS)?),
        Tab::Sessions => View::Sessions(sessions::newest_of_user(tx, user.id, ROWS)?),
        Tab::Events => View::Events(story::changes(tx, user, role)?),
        Tab::Story => View::Events(story::of(tx, user, story::USUAL, role)?),
        Tab::Json => View::Json(format!("{:#}", directory::users::show(caller, user))),
    })
}

fn profile(tx: &Tx, user: &User) -> Result<Vec<(String, String)>> {
    let tenant = user.tenant.map(|id| tenants::any_by_id(tx, id)).transpose()?.flatten();
    let mut shown = json!({"id": user.id});
    for wire in IDENTITY.iter().chain(Profile::FIELDS) {
        shown[wire.name] = (wire.show)(&user.person).unwrap_or_default();
    }
    shown["tenant"] = json!(tenant.and_then(|tenant| tenant.facts.name).map(|name| name.0));
    shown["email verified"] = json!(user.email_verified_at);
    shown["created"] = json!(user.created_at);
    shown["changed"] = json!(user.updated_at);
    shown["frozen"] = json!(user.frozen_at);
    shown["deleted"] = json!(user.deleted_at);
    shown["version"] = json!(user.version);
    Ok(facts(&shown))
}

/// What is known, a line each.
fn facts(shown: &Value) -> Vec<(String, String)> {
    let known = shown.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    known.map(|(name, value)| (name.replace('_', " "), text(value))).collect()
}

/// `POST …/users/{userId}/reveal`: shows what the programme knows, to whom it belongs to say why they look.
pub async fn reveal(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, id)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response> {
    let (caller, role, id) = (here.caller, here.frame.who.role, read_id(&id)?);
    let reason = form.get("reason").unwrap_or_default().trim().to_owned();
    let (user, view, fault) = if reason.is_empty() {
        let look = move |tx: &Tx| {
            let user = of(tx, &caller, id)?;
            Ok((view(tx, (&caller, role), &user, Tab::Health)?, user))
        };
        let (view, user) = api.store.read(look).await?;
        (user, view, "Say why: it is written into the audit trail.")
    } else {
        let user = api.store.write(move |tx| users::reveal(tx, &caller, id, &reason)).await?;
        let mut shown = json!({});
        for wire in Health::FIELDS {
            shown[wire.name] = (wire.show)(&user.person).unwrap_or_default();
        }
        (user, View::Health(facts(&shown)), "")
    };
    let now = api.store.clock().now();
    Ok(page(&UserPage { frame: &here.frame, user, tab: Tab::Health, view, said: "", fault, now }))
}

/// Does something to a user and shows them again.
async fn act<N>(
    api: &Api,
    here: &Within<N>,
    id: &str,
    then: &str,
    operation: impl Fn(&Tx, &Caller, UserId) -> Result<()> + Send + 'static,
) -> Result<Response> {
    let (caller, id) = (here.caller, read_id(id)?);
    api.store.write(move |tx| operation(tx, &caller, id)).await?;
    api.outbox.wake();
    Ok(Redirect::to(&format!("{}/users/{id}{then}", here.frame.base())).into_response())
}

/// What an action is called, and the operation that it is.
macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident => $then:literal, |$tx:ident, $caller:ident, $id:ident| $operation:expr;)+) => {$(
        $(#[$doc])*
        pub async fn $name(
            State(api): State<Api>,
            here: Within<Support>,
            Path((_, _, id)): Path<(String, String, String)>,
        ) -> Result<Response> {
            act(&api, &here, &id, $then, |$tx, $caller, $id| $operation.map(|_| ())).await
        }
    )+};
}

actions! {
    /// `POST …/users/{userId}/freeze`
    freeze => "?said=frozen", |tx, caller, id| users::freeze(tx, caller, Target::Id(id), &IfMatch::Anything);
    /// `POST …/users/{userId}/unfreeze`
    unfreeze => "?said=unfrozen", |tx, caller, id| users::unfreeze(tx, caller, Target::Id(id), &IfMatch::Anything);
    /// `POST …/users/{userId}/restore`
    restore => "?said=restored", |tx, caller, id| users::restore(tx, caller, id, &IfMatch::Anything);
    /// `POST …/users/{userId}/end-sessions`
    end_sessions => "/sessions?said=ended", |tx, caller, id| {
        users::to_change(tx, caller, Target::Id(id), Right::DeleteUsers, &IfMatch::Anything)
            .and_then(|user| sessions::revoke_all(tx, &user, caller.origin()))
    };
}

/// `POST …/users/{userId}/send-link`
pub async fn send_link(
    State(api): State<Api>,
    here: Within<Support>,
    Path((_, _, id)): Path<(String, String, String)>,
) -> Result<Response> {
    let made_with = api.links.clone();
    act(&api, &here, &id, "?said=link", move |tx, caller, id| links::resend(tx, &made_with, caller, id)).await
}

/// `POST …/users/{userId}/end-session`: one of them.
pub async fn end_session(
    State(api): State<Api>,
    here: Within<Support>,
    Path((_, _, id)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response> {
    let session: Option<SessionId> = form.get("session").and_then(|id| id.parse().ok());
    let session = session.ok_or(Error::SessionNotFound)?;
    let end = move |tx: &Tx, caller: &Caller, id| {
        of(tx, caller, id).and_then(|user| sessions::revoke(tx, user.id, session, caller.origin()))
    };
    act(&api, &here, &id, "/sessions?said=ended", end).await
}

/// `POST …/users/{userId}/delete`, confirmed by typing their address.
pub async fn delete(
    State(api): State<Api>,
    here: Within<Support>,
    Path((_, _, id)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response> {
    let typed = form.get("confirm").unwrap_or_default().to_owned();
    let delete = move |tx: &Tx, caller: &Caller, id| {
        confirmed(&of(tx, caller, id)?, &typed)?;
        users::delete(tx, caller, Target::Id(id), &IfMatch::Anything).map(|_| ())
    };
    act(&api, &here, &id, "?said=deleted", delete).await
}

/// `POST …/users/{userId}/erase`, confirmed by typing their address.
pub async fn erase(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, id)): Path<(String, String, String)>,
    form: Form,
) -> Result<Response> {
    let typed = form.get("confirm").unwrap_or_default().to_owned();
    let (caller, id) = (here.caller, read_id(&id)?);
    let erase = move |tx: &Tx| {
        confirmed(&of(tx, &caller, id)?, &typed)?;
        erasure::erase_for(tx, &caller, id).map(|_| ())
    };
    api.store.write(erase).await?;
    api.outbox.wake();
    Ok(Redirect::to(&format!("{}/users?said=erased", here.frame.base())).into_response())
}

fn confirmed(user: &User, typed: &str) -> Result<()> {
    if typed.trim() == user.email.address() {
        return Ok(());
    }
    Err(Error::bad_request("not_confirmed", "Nothing was done: the address that was typed is not this user's"))
}

fn read_id(text: &str) -> Result<UserId> {
    text.parse().map_err(|_| Error::UserNotFound)
}
