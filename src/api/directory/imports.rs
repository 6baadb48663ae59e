//! `/v1/imports` of the directory API: files of people, taken over by a job.

use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Map, Value, json};

use super::query::Query;
use super::{done, items};
use crate::api::auth::{AppKey, Write};
use crate::api::body::{Large, Raw};
use crate::api::write::Guard;
use crate::api::{Api, reply};
use crate::audit::Changes;
use crate::caller::Caller;
use crate::db::Tx;
use crate::error::Result;
use crate::imports::{self, Format, Import, ImportId, New, Outcome, Preset, Settings};
use crate::secret::sha256;
use crate::tenants::{self, TenantId};

/// The largest file. Larger ones are for the command line, or for several requests.
pub const LIMIT: usize = 16 * 1024 * 1024;
/// How many imports are shown at the most.
const SHOWN: i64 = 50;

/// Begins an import of the file in the body, and answers the job to ask about.
pub async fn begin(
    State(api): State<Api>,
    app: AppKey<Write>,
    RawQuery(query): RawQuery,
    guard: Guard,
    headers: HeaderMap,
    Large(Raw(file), _place): Large<Raw<LIMIT>>,
) -> Result<Response> {
    let caller = app.caller;
    let (mut settings, tenant) = read(query.as_deref(), &headers, &file)?;
    let (looked, how) = (file.clone(), settings.clone());
    let to_one_tenant = tenant.is_some() || caller.scope.tenant.is_some();
    // Where a thread may take its time.
    let survey = move |_: &Tx| {
        let survey = how.survey(&looked)?;
        how.plan(&survey.columns).map(|plan| (survey.rows, plan.of_key(to_one_tenant)))
    };
    let (total, plan) = api.store.scan(survey).await?;
    settings.ignored = plan.ignored;
    let digest = sha256(&file);
    let identity = Map::from_iter([("sha256".to_owned(), BASE64_STANDARD.encode(digest).into())]);
    let operation = move |tx: &Tx| {
        let tenant = tenant.map(|id| tenants::get(tx, &caller, id)).transpose()?.map(|tenant| tenant.id);
        let new = New { tenant, settings: settings.clone(), total, digest, source: Some(file.clone()) };
        let import = imports::begin(tx, &caller, &new)?;
        let mut shown = show(tx, &import)?;
        shown["preset"] = json!(plan.preset);
        Ok((done("Import begun", &shown), Changes(json!({"import": {"rows": total}}))))
    };
    guard.run(&api, caller, "", identity, operation).await
}

/// The newest imports.
pub async fn list(State(api): State<Api>, app: AppKey<Write>) -> Result<Response> {
    let scope = app.caller.scope;
    let newest = move |tx: &Tx| imports::list(tx, scope, SHOWN)?.iter().map(|import| show(tx, import)).collect();
    Ok(reply(&done("Imports", &items("import", api.store.read(newest).await?, None))))
}

/// How far an import is.
pub async fn get(State(api): State<Api>, app: AppKey<Write>, Path(id): Path<String>) -> Result<Response> {
    let (id, scope) = (imports::parse_id(&id)?, app.caller.scope);
    let found = api.store.read(move |tx| show(tx, &imports::get(tx, scope, id)?)).await?;
    Ok(reply(&done("Import found", &found)))
}

/// What became of the rows of an import, page by page.
pub async fn rows(
    State(api): State<Api>,
    app: AppKey<Write>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (id, scope) = (imports::parse_id(&id)?, app.caller.scope);
    let mut query = Query::new(query.as_deref());
    let limit = usize::try_from(query.limit()).unwrap_or(1);
    let after = query.take("cursor", "a nextCursor", |text| text.parse().ok()).unwrap_or(0);
    let limit = query.end(limit)?;
    let page = move |tx: &Tx| {
        imports::get(tx, scope, id)?;
        imports::outcomes(tx, scope, id, after, limit + 1)
    };
    let mut found = api.store.scan(page).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|outcome| outcome.row.to_string());
    Ok(reply(&done("Rows", &items("importRow", found.iter().map(show_row).collect(), next))))
}

/// Undoes an import: its users are erased, but those who have changed or signed in since.
pub async fn undo(
    State(api): State<Api>,
    app: AppKey<Write>,
    Path(id): Path<String>,
    guard: Guard,
) -> Result<Response> {
    let (id, caller): (ImportId, Caller) = (imports::parse_id(&id)?, app.caller);
    let operation = move |tx: &Tx| {
        let import = imports::undo(tx, &caller, id, true)?;
        Ok((
            done("The import is being undone", &show(tx, &import)?),
            Changes(json!({"import": {"users": import.imported}})),
        ))
    };
    guard.run(&api, caller, "", Map::new(), operation).await
}

/// How the file is read, and the tenant of its rows.
fn read(query: Option<&str>, headers: &HeaderMap, file: &[u8]) -> Result<(Settings, Option<TenantId>)> {
    let mut query = Query::new(query);
    let truth = |text: &str| text.parse().ok();
    let settings = Settings {
        mappings: query.all("map"),
        format: query
            .take("format", "csv, jsonl or json", Format::named)
            .unwrap_or_else(|| format_of(headers, file))
            .as_str()
            .to_owned(),
        preset: query.take("preset", "a known export", Preset::named).map(|preset| preset.as_str().to_owned()),
        send_links: query.take("send_links", "true or false", truth).unwrap_or_default(),
        dry_run: query.take("rehearse", "true or false", truth).unwrap_or_default(),
        ..Settings::default()
    };
    let tenant = query.take("tenant", "a UUID", |text| text.parse().ok());
    // Has been read, as with every write.
    query.all("dry_run");
    query.end((settings, tenant))
}

/// What the header says, or what the file begins with.
fn format_of(headers: &HeaderMap, file: &[u8]) -> Format {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim() {
        "text/csv" | "text/tab-separated-values" => Format::Csv,
        "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => Format::Jsonl,
        _ => Format::of(file),
    }
}

fn show(tx: &Tx, import: &Import) -> Result<Value> {
    Ok(json!({
        "kind": "import", "id": import.id, "state": import.state, "tenantId": import.tenant, "total": import.total,
        "read": import.place, "imported": import.imported, "duplicates": import.duplicates, "failed": import.failed,
        "removed": import.removed, "kept": import.kept, "rehearsed": import.settings.dry_run,
        "createdAt": import.created_at, "finishedAt": import.finished_at, "ignored": import.settings.ignored,
        "reason": imports::reason(tx, import)?,
    }))
}

fn show_row(outcome: &Outcome) -> Value {
    let reason = Some(outcome.reason.as_str()).filter(|reason| !reason.is_empty());
    json!({
        "kind": "importRow", "row": outcome.row, "status": outcome.status, "userId": outcome.user, "reason": reason,
    })
}
