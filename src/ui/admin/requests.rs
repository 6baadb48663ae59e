//! The newest requests of this process.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::Frame;
use super::access::{ReadOnly, Within};
use crate::api::Api;
use crate::api::body::Form;
use crate::api::requests::Request;
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::error::Result;
use crate::ui::page;

/// How many requests are listed.
const ROWS: usize = 100;

#[derive(Template)]
#[template(path = "admin/requests.html")]
struct RequestsPage<'a> {
    frame: &'a Frame,
    form: Form,
    requests: Vec<Request>,
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
        for name in ["status", "route", "key"] {
            if let Some(value) = self.form.get(name) {
                query.append_pair(name, value);
            }
        }
        if live {
            query.append_pair("live", "1");
        }
        format!("{}/requests?{}", self.frame.base(), query.finish())
    }
}

fn badge(request: &Request) -> &'static str {
    match request.status {
        ..400 => "done",
        400..500 => "warn",
        500.. => "failed",
    }
}

fn took(request: &Request) -> String {
    format!("{:.1} ms", request.took.as_secs_f64() * 1000.0)
}

/// `GET /admin/{appId}/{environment}/requests`: those of this environment, and those of whom nothing is known.
pub async fn list(State(api): State<Api>, here: Within<ReadOnly>, RawQuery(query): RawQuery) -> Result<Response> {
    let form = Form::parse(query.unwrap_or_default().as_bytes())?;
    let (route, key, status) = (form.get("route"), form.get("key").map(str::trim), form.get("status"));
    let wanted = |request: &Request| {
        request.environment.is_none_or(|environment| environment == here.environment.id)
            && route.is_none_or(|part| request.route.contains(part))
            && key.is_none_or(|start| request.key.is_some_and(|key| key.to_string().starts_with(start)))
            && status.is_none_or(|start| request.status.to_string().starts_with(start))
    };
    let requests = api.requests.newest(ROWS, wanted);
    Ok(page(&RequestsPage { frame: &here.frame, form, requests, now: api.store.clock().now() }, None))
}
