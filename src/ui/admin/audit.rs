//! The audit trail of an environment: who did what, when, and whether the trail is as it was written.

use std::time::Duration;

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::access::{Owner, ReadOnly, Within};
use super::{Frame, quoted};
use crate::admins::{self, Role};
use crate::api::Api;
use crate::api::body::Form;
use crate::apps::EnvironmentId;
use crate::audit::chain::{self, Report};
use crate::audit::{self, Action, ActorKind, Changes, Entry, EntryId, Filter, Order, Outcome};
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::ui::page;

/// How many entries a page lists.
const ROWS: i64 = 50;
/// How many entries an export reads at once.
const BATCH: i64 = 1000;
/// How far back a page looks that is not told how far.
const RECENT: Duration = Duration::from_hours(30 * 24);
/// How long a page waits for the walk along the chain.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was asked for.
struct Asked {
    form: Form,
    filter: Filter,
    after: Option<EntryId>,
}

impl Asked {
    fn read(query: Option<String>, environment: EnvironmentId, now: Timestamp) -> Result<Asked> {
        let form = Form::parse(query.unwrap_or_default().as_bytes())?;
        let id = |name: &str| match form.get(name).map(|text| uuid::Uuid::try_parse(text.trim())) {
            Some(Err(_)) => Err(Error::bad_request("malformed_id", "An id is a UUID")),
            Some(Ok(id)) => Ok(Some(id)),
            None => Ok(None),
        };
        let time = |name: &str| match form.get(name).map(Timestamp::parse) {
            Some(None) => Err(Error::bad_request("malformed_time", "A day is written like 2026-11-21")),
            time => Ok(time.flatten()),
        };
        let outcome = form.get("result").map(|word| match word {
            "done" => Outcome::Done,
            "refused" => Outcome::Refused,
            code => Outcome::Code(code.to_owned()),
        });
        let user = id("user")?.map(crate::users::UserId);
        // Those of one user have an index.
        let recent = if user.is_none() { Some(now - RECENT) } else { None };
        let filter = Filter {
            environments: vec![environment],
            user,
            key: id("key")?.map(crate::keys::KeyId),
            action: form.get("action").and_then(Action::named),
            outcome,
            since: time("since")?.or(recent),
            until: time("until")?,
            ..Filter::default()
        };
        let after = id("after")?.map(EntryId);
        Ok(Asked { form, filter, after })
    }

    fn get(&self, name: &str) -> &str {
        self.form.get(name).unwrap_or_default()
    }

    /// The query of the same filters, from after this entry on.
    fn query(&self, after: Option<EntryId>) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for name in ["user", "key", "action", "result", "since", "until"] {
            if let Some(value) = self.form.get(name) {
                query.append_pair(name, value);
            }
        }
        if let Some(after) = after {
            query.append_pair("after", &after.to_string());
        }
        query.finish()
    }

    /// The same filters as options of a command.
    fn options(&self) -> String {
        let Filter { user, key, action, outcome, since, until, .. } = &self.filter;
        let outcome = outcome.as_ref().map(|outcome| match outcome {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Code(code) => code,
        });
        let options = [
            ("user", user.map(|id| id.to_string())),
            ("key", key.map(|id| id.to_string())),
            ("action", action.map(|action| action.as_str().to_owned())),
            ("result", outcome.map(quoted)),
            ("since", since.map(|at| at.to_string())),
            ("until", until.map(|at| at.to_string())),
        ];
        let given = options.into_iter().filter_map(|(name, value)| Some(format!(" --{name}={}", value?)));
        given.collect()
    }
}

#[derive(Template)]
#[template(path = "admin/audit.html")]
struct AuditPage<'a> {
    frame: &'a Frame,
    asked: Asked,
    entries: Vec<Entry>,
    next: Option<EntryId>,
    now: Timestamp,
}

impl AuditPage<'_> {
    /// Back to when entries were looked through, if there are more than a page looks through.
    fn looked_back_to(&self) -> Option<Timestamp> {
        let is_full = i64::try_from(self.entries.len()).is_ok_and(|count| count == ROWS);
        self.next.filter(|_| !is_full).map(EntryId::time)
    }

    /// Of which days the entries are that are listed and exported.
    fn days(&self) -> String {
        let [since, until] = ["since", "until"].map(|name| self.asked.get(name));
        let days = match since {
            "" if self.asked.filter.user.is_some() => "all days".to_owned(),
            "" => format!("the last {} days", RECENT.as_secs() / (24 * 60 * 60)),
            since => format!("the days from {since} on"),
        };
        if until.is_empty() { days } else { format!("{days}, before {until}") }
    }

    fn command(&self) -> String {
        let (options, place) = (self.asked.options(), self.frame.options());
        let before = self.asked.after.map_or_else(String::new, |after| format!(" --before={after}"));
        let mut lines = vec![format!("usher audit list{options}{place}{before} --limit={ROWS}")];
        if self.frame.may(Role::Owner) {
            lines.push(format!("usher audit export{options}{place} --out=audit.jsonl"));
            lines.push("usher audit verify".to_owned());
            lines.push(format!("usher audit list --unknown --limit={ROWS}"));
        }
        lines.join("\n")
    }
}

#[derive(Template)]
#[template(path = "admin/entry.html")]
struct EntryPage<'a> {
    frame: &'a Frame,
    entry: Entry,
    /// Who did it, if it was an administrator.
    admin: Option<String>,
    /// Name, before and after.
    fields: Vec<(String, String, String)>,
    health: Vec<String>,
    now: Timestamp,
}

#[derive(Template)]
#[template(path = "admin/verified.html")]
struct VerifiedPage<'a> {
    frame: &'a Frame,
    /// `None`: it takes longer than a page should.
    report: Option<Report>,
}

fn by(entry: &Entry) -> String {
    match entry.by() {
        (ActorKind::Unknown, _) => "nobody known".to_owned(),
        (kind, None) => kind.as_str().to_owned(),
        (kind, Some(id)) => format!("{} {}", kind.as_str(), &id.to_string()[..8]),
    }
}

fn what(entry: &Entry) -> &str {
    entry.operation.as_deref().unwrap_or(entry.action.as_str())
}

fn badge(entry: &Entry) -> &'static str {
    if entry.is_done() { "done" } else { "refused" }
}

/// `GET /admin/{appId}/{environment}/audit`
pub async fn list(State(api): State<Api>, here: Within<ReadOnly>, RawQuery(query): RawQuery) -> Result<Response> {
    let now = api.store.clock().now();
    let asked = Asked::read(query, here.environment.id, now)?;
    let (filter, after) = (asked.filter.clone(), asked.after);
    let (entries, next) = api.store.scan(move |tx| audit::newest(tx, &filter, after, ROWS)).await?;
    Ok(page(&AuditPage { frame: &here.frame, asked, entries, next, now }))
}

/// `GET /admin/{appId}/{environment}/audit/{entryId}`
pub async fn show(
    State(api): State<Api>,
    here: Within<ReadOnly>,
    Path((_, _, text)): Path<(String, String, String)>,
) -> Result<Response> {
    let id = text.parse().map_err(|_| Error::NotFound("There is no such entry"))?;
    let (environment, caller, is_owner) = (here.environment.id, here.caller, here.frame.may(Role::Owner));
    let read = move |tx: &Tx| {
        let mut entry = audit::entry(tx, environment, id)?;
        // What became different about somebody who is deleted is for those to whom the deleted are shown.
        if entry.user.is_some_and(|user| super::user::of(tx, &caller, user).is_err()) {
            entry.changes = Changes::none();
        }
        if !is_owner {
            entry = entry.discreet();
        }
        let admin = match entry.by() {
            (ActorKind::Admin, Some(id)) => admins::by_id(tx, admins::AdminId(id))?.map(|admin| admin.email),
            _ => None,
        };
        Ok((entry, admin))
    };
    let (entry, admin) = api.store.read(read).await?;
    let said = |value: &serde_json::Value| match value {
        serde_json::Value::Null => "–".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let changed = entry.changes.0["fields"].as_object().into_iter().flatten();
    let fields = changed.map(|(name, values)| match values.as_array().map(Vec::as_slice) {
        Some([before, after]) => (name.clone(), said(before), said(after)),
        _ => (name.clone(), String::new(), said(values)),
    });
    let fields = fields.collect();
    let health = entry.changes.0["health"].as_array().into_iter().flatten().map(said).collect();
    Ok(page(&EntryPage { frame: &here.frame, entry, admin, fields, health, now: api.store.clock().now() }))
}

/// `POST /admin/{appId}/{environment}/audit/verify`: seals what is left, walks along every chain, and notes what
/// came of it.
pub async fn verify(State(api): State<Api>, here: Within<Owner>) -> Result<Response> {
    let walk = chain::verify(&api.store, None, |_| ());
    let report = tokio::time::timeout(PATIENCE, walk).await.ok().transpose()?;
    let (origin, findings) = (here.caller.origin(), report.as_ref().map(|report| report.findings.len()));
    api.store.write(move |tx| audit::record_verified(tx, origin, findings)).await?;
    Ok(page(&VerifiedPage { frame: &here.frame, report }))
}

/// `POST /admin/{appId}/{environment}/audit/export`: what the filters of the address leave, as JSON lines, oldest first.
pub async fn export(State(api): State<Api>, here: Within<Owner>, RawQuery(query): RawQuery) -> Result<Response> {
    let asked = Asked::read(query, here.environment.id, api.store.clock().now())?;
    let (place, origin) = (here.environment, here.caller.origin());
    let environment = place.clone();
    let note = move |tx: &Tx| audit::record(tx, environment.id, origin, Action::AuditExported, environment.app.0);
    api.store.write(note).await?;
    let lines = stream::try_unfold((None, false), move |(last, is_over): (Option<EntryId>, bool)| {
        let (api, filter, place) = (api.clone(), asked.filter.clone(), place.clone());
        async move {
            if is_over {
                return Ok::<_, Error>(None);
            }
            let entries = api.store.scan(move |tx| audit::find(tx, &filter, Order::After(last), BATCH)).await?;
            let mut text = String::new();
            for entry in &entries {
                text.push_str(&entry.export(Some(&place)).to_string());
                text.push('\n');
            }
            Ok(Some((Bytes::from(text), (entries.last().map(|entry| entry.id), entries.is_empty()))))
        }
    });
    let lines = futures_util::TryStreamExt::map_err(lines, |e| std::io::Error::other(e.to_string()));
    let headers = [
        (header::CONTENT_TYPE, "application/jsonl; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"audit.jsonl\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}
