//! Imports: a file is sent, its columns are looked at, it is rehearsed, taken over, and taken back if need be. Each step is
//! a plain form, and the operation that the API and the command line have. For owners only.

use std::borrow::Borrow;

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use url::form_urlencoded::Serializer;

use super::access::{Owner, Within};
use super::{Frame, quoted, words};
use crate::api::Api;
use crate::api::body::{self, Form, Large, LongForm};
use crate::api::directory::imports::LIMIT;
use crate::api::upload::Upload;
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::field::Metadata;
use crate::imports::{self, Format, Import, ImportId, New, Plan, Preset, Results, Settings, State as At};
use crate::secret::sha256;
use crate::tenants::{self, TenantId};
use crate::ui::page;

type Place = Path<(String, String, String)>;

/// How many imports are listed.
const ROWS: i64 = 50;
/// How many rows of a result file are read at once.
const AT_ONCE: usize = 5000;
/// What a form sends for a column that becomes what its name lets guess.
const GUESS: &str = "guess";

#[derive(Template)]
#[template(path = "admin/imports.html")]
struct ImportsPage<'a> {
    frame: &'a Frame,
    imports: Vec<Import>,
    now: Timestamp,
}

#[derive(Template)]
#[template(path = "admin/import.html")]
struct ImportPage<'a> {
    frame: &'a Frame,
    import: &'a Import,
    /// The tenant of all rows, as it is found.
    tenant: Option<String>,
    /// What becomes of the columns, while the file waits.
    draft: Option<Draft>,
    /// Why it was broken off, and what is to be done.
    reason: Option<String>,
    said: &'static str,
    now: Timestamp,
}

impl ImportsPage<'_> {
    fn commands(&self) -> String {
        let settings = Settings { format: Format::Csv.as_str().to_owned(), ..Settings::default() };
        commands(self.frame, &settings, None, None)
    }
}

/// A file whose columns are looked at.
struct Draft {
    plan: Plan,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    /// What it becomes without being told.
    guess: String,
    /// What it was told to become.
    said: Option<String>,
}

impl Column {
    /// What it can become.
    fn fields(&self) -> Vec<String> {
        let key = Some(&self.name).filter(|name| name.chars().count() <= Metadata::KEY_LENGTH);
        imports::fields().map(str::to_owned).chain(key.map(|key| format!("metadata.{key}"))).collect()
    }

    fn is(&self, field: &str) -> bool {
        self.said.as_deref() == Some(field)
    }
}

impl Draft {
    fn new(settings: &Settings, names: &[String]) -> Result<Draft> {
        let plan = settings.guess(names)?;
        let untold = Settings { mappings: Vec::new(), ..settings.clone() }.guess(names)?;
        let mappings: Vec<_> = settings.mappings.iter().filter_map(|one| imports::mapping(one, names)).collect();
        let column = |name: &String| {
            let name = name.clone();
            let said = mappings.iter().find(|(source, _)| *source == name).map(|(_, field)| (*field).to_owned());
            let guess = if said.is_some() { &untold } else { &plan }.of(&name);
            let guess = guess.into_iter().map(imports::with_unit).collect::<Vec<_>>().join(", ");
            Column { guess: if guess.is_empty() { "nothing".to_owned() } else { guess }, name, said }
        };
        Ok(Draft { columns: names.iter().map(column).collect(), plan })
    }
}

/// How far it is.
struct Course {
    done: u64,
    total: u64,
    words: String,
}

impl ImportPage<'_> {
    fn path(&self) -> String {
        format!("{}/imports/{}", self.frame.base(), self.import.id)
    }

    fn was_rehearsed(&self) -> bool {
        self.import.settings.dry_run && self.import.finished_at.is_some()
    }

    /// Whether a server runs it, so that there will be news. Whether a command still does, nobody knows.
    fn is_served(&self) -> bool {
        self.import.due_at.is_some()
    }

    /// How far it is, if it is under way.
    fn course(&self) -> Option<Course> {
        let import = self.import;
        match import.state {
            At::Running => Some(Course {
                done: import.place,
                total: import.total,
                words: if self.is_served() {
                    pace(import.place, import.total, self.now.0 - import.created_at.0)
                } else {
                    String::new()
                },
            }),
            At::Undoing => {
                Some(Course { done: import.removed + import.kept, total: import.imported, words: String::new() })
            }
            _ => None,
        }
    }

    /// What a screen reader says of it: each tenth of the way, and how it ended.
    fn news(&self) -> String {
        let import = self.import;
        match self.course() {
            Some(course) => format!("{} %", (course.done * 10).checked_div(course.total).unwrap_or(0) * 10),
            None if import.finished_at.is_none() => String::new(),
            None => {
                let [imported, duplicates, failed] = [import.imported, import.duplicates, import.failed].map(count);
                let state = badge(import).1;
                format!("Import {state}. Imported: {imported}. There already: {duplicates}. Failed: {failed}.")
            }
        }
    }

    fn is_undone(&self) -> bool {
        let import = self.import;
        matches!(import.state, At::Undoing | At::Undone) || import.removed + import.kept > 0
    }

    fn is_running(&self) -> bool {
        self.import.state == At::Running
    }

    /// Whether there are users that it made, or may make.
    fn can_be_undone(&self) -> bool {
        let import = self.import;
        let has_made = import.imported > 0 && matches!(import.state, At::Done | At::Broken);
        !import.settings.dry_run && (has_made || self.is_running())
    }

    fn commands(&self) -> String {
        let import = self.import;
        if import.state == At::Draft {
            let lines = commands(self.frame, &import.settings, import.tenant, self.tenant.as_deref());
            return format!("{lines}\nusher import discard {}", import.id);
        }
        let id = import.id;
        let api = |more: &str| curl(&format!("/{id}{more}"), self.frame);
        format!("usher import list\n{}\n{}\nusher import undo {id}\n{} -X DELETE", api(""), api("/rows"), api(""))
    }
}

/// How fast it goes, and how long that takes.
fn pace(done: u64, total: u64, millis: i64) -> String {
    let Some(rate) = (done * 1000).checked_div(u64::try_from(millis).unwrap_or(0)).filter(|rate| *rate > 0) else {
        return String::new();
    };
    let left = match total.saturating_sub(done) / rate {
        0..10 => "a few seconds".to_owned(),
        seconds @ 10..100 => format!("about {seconds} s"),
        seconds => format!("about {} min", seconds.div_ceil(60)),
    };
    format!("{} rows a second, {left} left", count(rate))
}

fn count(number: impl Borrow<u64>) -> String {
    words::grouped(i64::try_from(*number.borrow()).unwrap_or(i64::MAX))
}

fn badge(import: &Import) -> (&'static str, &'static str) {
    match import.state {
        At::Draft => ("info", "waits for you"),
        At::Running if import.due_at.is_none() => ("queued", "begun by a command"),
        At::Running if import.settings.dry_run => ("queued", "is rehearsed"),
        At::Running => ("queued", "is taken over"),
        At::Done if import.settings.dry_run => ("done", "rehearsed"),
        At::Done => ("done", "done"),
        At::Undoing => ("queued", "is taken back"),
        At::Undone => ("warn", "taken back"),
        At::Broken => ("failed", "broken off"),
    }
}

/// The lines that rehearse such a file and that take it over, by the command line and by the API.
fn commands(frame: &Frame, settings: &Settings, id: Option<TenantId>, tenant: Option<&str>) -> String {
    let file = format!("people.{}", settings.format);
    let mut line = format!("usher import {file}{}", frame.options());
    let mut query = Serializer::new(String::new());
    query.append_pair("format", &settings.format);
    if let Some(preset) = &settings.preset {
        line.extend([" --preset ", preset]);
        query.append_pair("preset", preset);
    }
    for mapping in &settings.mappings {
        line.extend([" --map=", &quoted(mapping)]);
        query.append_pair("map", mapping);
    }
    if let Some(name) = tenant {
        line.extend([" --tenant=", &quoted(name)]);
    }
    if let Some(id) = id {
        query.append_pair("tenant", &id.to_string());
    }
    if settings.send_links {
        line.push_str(" --send-links --public-url \"$USHER_URL\"");
        query.append_pair("send_links", "true");
    }
    let query = query.finish();
    let request = |more: &str| format!("{} --data-binary @{file}", curl(&format!("?{query}{more}"), frame));
    let mut lines = vec![format!("{line} --dry-run"), line.clone()];
    // The API names a tenant by its id, and has no way to make one here.
    if tenant.is_none() || id.is_some() {
        lines.extend([request("&rehearse=true"), request("")]);
    }
    lines.join("\n")
}

/// A request about imports, as an app's server sends it.
fn curl(rest: &str, frame: &Frame) -> String {
    let app = frame.place.as_ref().map(|place| place.app.to_string()).unwrap_or_default();
    format!(
        "curl \"$USHER_URL/v1/imports{rest}\" -H \"X-API-KEY: $USHER_KEY\" -H 'X-API-KEY-TYPE: write' -H 'X-CLIENT-ID: {app}'"
    )
}

fn id(text: &str) -> Result<ImportId> {
    text.parse().map_err(|_| Error::NotFound("There is no such import"))
}

/// `GET /admin/{appId}/{environment}/imports`
pub async fn list(State(api): State<Api>, here: Within<Owner>) -> Result<Response> {
    let scope = here.caller.scope;
    let imports = api.store.read(move |tx| imports::list(tx, scope, ROWS)).await?;
    Ok(page(&ImportsPage { frame: &here.frame, imports, now: api.store.clock().now() }))
}

/// `POST /admin/{appId}/{environment}/imports`: keeps the file, sealed, until the page after says what becomes of it.
pub async fn send(
    State(api): State<Api>,
    here: Within<Owner>,
    Large(form, _place): Large<Upload<{ LIMIT + body::LIMIT }>>,
) -> Result<Response> {
    let caller = here.caller;
    let file =
        form.file("file").ok_or_else(|| Error::bad_request("no_file", "Choose a file with somebody in it"))?.clone();
    if file.len() > LIMIT {
        return Err(Error::TooLarge(LIMIT));
    }
    let settings = Settings { format: Format::of(&file).as_str().to_owned(), asks: true, ..Settings::default() };
    let (looked, how) = (file.clone(), settings.clone());
    // Where a thread may take its time.
    let total = api.store.scan(move |_| how.survey(&looked)).await?.rows;
    let new = New { tenant: None, settings, total, digest: sha256(&file), source: Some(file) };
    let import = api.store.write(move |tx| imports::begin(tx, &caller, &new)).await?;
    Ok(here.frame.back(&format!("imports/{}", import.id)))
}

/// `GET /admin/{appId}/{environment}/imports/{importId}`
pub async fn show(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Place,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (id, scope) = (id(&text)?, here.caller.scope);
    let look = move |tx: &Tx| {
        let import = imports::get(tx, scope, id)?;
        let tenant = import.tenant.map(|id| tenants::any_by_id(tx, id)).transpose()?.flatten();
        let draft = if import.state == At::Draft {
            let survey = import.settings.survey(&imports::file(tx, &import)?)?;
            Some(Draft::new(&import.settings, &survey.columns)?)
        } else {
            None
        };
        let tenant = tenant.map(|tenant| tenant.handle()).or_else(|| import.settings.tenant.clone());
        let reason = imports::reason(tx, &import)?;
        Ok((import, tenant, draft, reason))
    };
    let (import, tenant, draft, reason) = api.store.scan(look).await?;
    let (frame, now) = (&here.frame, api.store.clock().now());
    let said = match query.as_deref() {
        Some("said=again") => "Nobody was imported: this is not what was rehearsed, so it is rehearsed again first.",
        _ => "",
    };
    Ok(page(&ImportPage { frame, import: &import, tenant, draft, reason, said, now }))
}

/// `POST /admin/{appId}/{environment}/imports/{importId}`: rehearses, or takes over.
pub async fn start(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Place,
    LongForm(form): LongForm,
) -> Result<Response> {
    let (id, caller) = (id(&text)?, here.caller);
    let told = form.below("map.").filter(|(_, field)| *field != GUESS);
    let mappings: Vec<String> = told.map(|(column, field)| format!("{column}={field}")).collect();
    let preset = form.get("preset").and_then(Preset::named).map(|preset| preset.as_str().to_owned());
    let (send_links, dry_run) = (form.get("send_links").is_some(), form.get("do") != Some("import"));
    let tenant = form.get("tenant").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let look = move |tx: &Tx| {
        let import = imports::get(tx, caller.scope, id)?;
        let mut settings = Settings {
            preset: preset.clone(),
            mappings: mappings.clone(),
            tenant: tenant.clone(),
            send_links,
            dry_run,
            ..import.settings.clone()
        };
        if import.state == At::Draft {
            settings.ignored = settings.plan(&settings.survey(&imports::file(tx, &import)?)?.columns)?.ignored;
        }
        Ok(settings)
    };
    let settings = api.store.scan(look).await?;
    let started = api.store.write(move |tx| imports::start(tx, &caller, id, &settings)).await?;
    let said = if started.settings.dry_run == dry_run { "" } else { "?said=again" };
    Ok(here.frame.back(&format!("imports/{id}{said}")))
}

/// `GET /admin/{appId}/{environment}/imports/{importId}/result`: what became of each row, as CSV.
pub async fn result(State(api): State<Api>, here: Within<Owner>, Path((_, _, text)): Place) -> Result<Response> {
    let (id, scope) = (id(&text)?, here.caller.scope);
    api.store.read(move |tx| imports::get(tx, scope, id)).await?;
    let file = futures_util::stream::try_unfold((api, Some(0)), move |(api, row)| async move {
        let Some(row) = row else { return Ok::<_, Error>(None) };
        let outcomes = api.store.scan(move |tx| imports::outcomes(tx, scope, id, row, AT_ONCE)).await?;
        let mut chunk = Vec::new();
        let mut results = if row == 0 { Results::new(&mut chunk)? } else { Results::after_head(&mut chunk) };
        results.add(&outcomes)?;
        results.end()?;
        Ok(Some((chunk, (api, outcomes.last().map(|outcome| outcome.row)))))
    });
    let name = format!("attachment; filename=\"import-{id}.csv\"");
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, name.as_str())];
    Ok((headers, Body::from_stream(file)).into_response())
}

/// `POST /admin/{appId}/{environment}/imports/{importId}/discard`
pub async fn discard(State(api): State<Api>, here: Within<Owner>, Path((_, _, text)): Place) -> Result<Response> {
    let (id, caller) = (id(&text)?, here.caller);
    api.store.write(move |tx| imports::discard(tx, &caller, id)).await?;
    Ok(here.frame.back("imports"))
}

/// `POST /admin/{appId}/{environment}/imports/{importId}/undo`
pub async fn undo(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Place,
    form: Form,
) -> Result<Response> {
    super::typed(&form, "undo")?;
    let (id, caller) = (id(&text)?, here.caller);
    api.store.write(move |tx| imports::undo(tx, &caller, id, true)).await?;
    Ok(here.frame.back(&format!("imports/{id}")))
}
