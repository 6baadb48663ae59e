//! The newest requests of this process.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::access::{ReadOnly, Within};
use super::words::grouped;
use super::{Frame, words};
use crate::api::Api;
use crate::api::body::Form;
use crate::api::requests::{Request, WITH_BODIES};
use crate::apps::EnvironmentId;
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::error::{Error, Result};
use crate::ui::page;

/// How many requests are listed.
const ROWS: usize = 100;

#[derive(Template)]
#[template(path = "admin/requests.html")]
struct RequestsPage<'a> {
    frame: &'a Frame,
    form: Form,
    requests: Vec<Request>,
    /// How many this process remembers, and since when.
    held: (usize, Option<Timestamp>),
    now: Timestamp,
}

impl RequestsPage<'_> {
    fn get(&self, name: &str) -> &str {
        self.form.get(name).unwrap_or_default()
    }

    fn is_live(&self) -> bool {
        self.form.get("live").is_some()
    }

    /// The page with the same filters, as it is or followed live.
    fn at(&self, live: bool) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for name in ["status", "route", "key", "since", "until"] {
            if let Some(value) = self.form.get(name) {
                query.append_pair(name, value);
            }
        }
        if live {
            query.append_pair("live", "1");
        }
        format!("{}/requests?{}", self.frame.base(), query.finish())
    }

    fn holds(&self) -> String {
        let (count, since) = self.held;
        let since = since.map_or_else(String::new, |at| format!(", the oldest {}", words::ago(&at, &self.now)));
        format!("{}{since}", grouped(i64::try_from(count).unwrap_or(i64::MAX)))
    }
}

pub(super) fn badge(request: &Request) -> &'static str {
    match request.status {
        ..400 => "done",
        400..500 => "warn",
        500.. => "failed",
    }
}

pub(super) fn took(request: &Request) -> String {
    format!("{:.1} ms", request.took.as_secs_f64() * 1000.0)
}

/// Whether an environment may see a request: its own, and those of whom nothing is known.
pub(super) fn is_of(request: &Request, environment: EnvironmentId) -> bool {
    request.environment.is_none_or(|theirs| theirs == environment)
}

/// A time as a form sends it, without a zone, which is UTC here.
fn time(form: &Form, name: &str) -> Result<Option<Timestamp>> {
    let read = |text: &str| {
        let zoned = [format!("{text}Z"), format!("{text}:00Z"), text.to_owned()];
        zoned.iter().find_map(|text| Timestamp::parse(text))
    };
    form.get(name)
        .map(|text| read(text).ok_or_else(|| Error::bad_request("malformed_time", "A time is like 2026-11-21T10:00")))
        .transpose()
}

/// `GET /admin/{appId}/{environment}/requests`
pub async fn list(State(api): State<Api>, here: Within<ReadOnly>, RawQuery(query): RawQuery) -> Result<Response> {
    let form = Form::parse(query.unwrap_or_default().as_bytes())?;
    let (route, key, status) = (form.get("route"), form.get("key").map(str::trim), form.get("status"));
    let (since, until) = (time(&form, "since")?, time(&form, "until")?);
    let wanted = |request: &Request| {
        is_of(request, here.environment.id)
            && route.is_none_or(|part| request.route.contains(part))
            && key.is_none_or(|start| request.key.is_some_and(|key| key.to_string().starts_with(start)))
            && status.is_none_or(|start| request.status.to_string().starts_with(start))
            && since.is_none_or(|since| request.at >= since)
            && until.is_none_or(|until| request.at < until)
    };
    let (requests, held) = (api.requests.newest(ROWS, wanted), api.requests.held());
    Ok(page(&RequestsPage { frame: &here.frame, form, requests, held, now: api.store.clock().now() }))
}
