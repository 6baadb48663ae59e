//! One box for everything: a person by whatever is known of them, or a request by its id.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use super::Frame;
use super::access::{ReadOnly, Within};
use super::requests::{badge, is_of, took};
use super::users::searching;
use crate::admins::Role;
use crate::api::Api;
use crate::api::bodies::Bodies;
use crate::api::body::Form;
use crate::api::requests::Request;
use crate::audit::{self, Entry};
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::Result;
use crate::story;
use crate::ui::page;
use crate::users::search::search;
use crate::users::{Status, User};

#[derive(Template)]
#[template(path = "admin/request.html")]
struct RequestPage<'a> {
    frame: &'a Frame,
    id: Uuid,
    /// As this process answered it, if it remembers.
    request: Option<Request>,
    bodies: Option<Bodies>,
    /// What it did, and who.
    entries: Vec<(Entry, String)>,
    now: Timestamp,
}

/// `GET /admin/{appId}/{environment}/search`: straight to whom it means, if that is one.
pub async fn find(State(api): State<Api>, here: Within<ReadOnly>, RawQuery(query): RawQuery) -> Result<Response> {
    let q = Form::parse(query.unwrap_or_default().as_bytes())?.get("q").unwrap_or_default().trim().to_owned();
    let (caller, text) = (here.caller, q.clone());
    let names = searching(&api, &here);
    let look = move |tx: &Tx| {
        let found = search(tx, &caller, &names.names, &text, None)?;
        let request: Option<Uuid> = text.parse().ok().filter(|_| found.users.is_empty());
        let Some(id) = request else { return Ok((found, Vec::new())) };
        let entries = audit::of_request_id(tx, caller.scope.environment, id)?.into_iter();
        let whose = entries.map(|entry| story::who(tx, &entry).map(|who| (entry, who)));
        Ok((found, whose.collect::<Result<_>>()?))
    };
    let (found, entries) = api.store.scan(look).await?;
    if let Some(id) = q.parse().ok().filter(|_| found.users.is_empty()) {
        let is_it = |request: &Request| request.id == id && is_of(request, here.environment.id);
        let request = api.requests.newest(1, is_it).pop();
        if request.is_some() || !entries.is_empty() {
            let bodies = request.as_ref().and_then(|request| api.requests.bodies_of(request.id));
            let now = api.store.clock().now();
            return Ok(page(&RequestPage { frame: &here.frame, id, request, bodies, entries, now }));
        }
    }
    let base = here.frame.base();
    let to = match &found.users[..] {
        [one] if found.next.is_none() => format!("{base}/users/{}", one.id),
        many => format!("{base}/users?{}", in_the_table(&q, many)),
    };
    Ok(Redirect::to(&to).into_response())
}

/// The query that shows these users in the table, which leaves the deleted out unless it is asked for them.
fn in_the_table(q: &str, users: &[User]) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("q", q);
    if !users.is_empty() && users.iter().all(|user| user.status() == Status::Deleted) {
        query.append_pair("status", Status::Deleted.as_str());
    }
    query.finish()
}
