//! The users of an environment: a table that filters, sorts and searches, with its state in the address.

use askama::Template;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Redirect, Response};
use url::form_urlencoded;

use super::Frame;
use super::access::{ReadOnly, Support, Within};
use crate::admins::Role;
use crate::api::Api;
use crate::api::directory::query::Query;
use crate::apps::Environment;
use crate::audit::{self, Action, Entry};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::imports::export::{self, Writer};
use crate::place::MOST;
use crate::tenants::{self, Tenant};
use crate::ui::page;
use crate::users::search::{Found, search};
use crate::users::{self, List, Sort, Status, User};

/// How many users a page has.
const ROWS: i64 = 50;
/// How many tenants the filter offers, the newest.
const TENANTS: i64 = 200;

#[derive(Template)]
#[template(path = "admin/users.html")]
struct UsersPage<'a> {
    frame: &'a Frame,
    asked: Asked,
    users: Vec<User>,
    tenants: Vec<Tenant>,
    /// The address of the next page.
    next: Option<String>,
    /// How far back a search for a name has come, and whether that is so for names are not gathered yet.
    back_to: Option<Timestamp>,
    is_early: bool,
    command: String,
    request: String,
    /// Somebody was erased just now.
    erased: bool,
    now: Timestamp,
}

/// What the address asks for.
#[derive(Clone, Default)]
struct Asked {
    /// All of it but the cursor, as it stands there.
    pairs: Vec<(String, String)>,
    q: String,
    has_cursor: bool,
}

impl Asked {
    /// Reads a query. What is empty was not filled in.
    fn read(query: Option<&str>) -> Asked {
        let all = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned();
        let (cursors, pairs): (Vec<_>, Vec<_>) =
            all.filter(|(name, value)| !value.is_empty() && name != "said").partition(|(name, _)| name == "cursor");
        let q = pairs.iter().find(|(name, _)| name == "q").map(|(_, q)| q.trim().to_owned()).unwrap_or_default();
        Asked { pairs, q, has_cursor: !cursors.is_empty() }
    }

    /// What was asked for under a name.
    fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
    }

    /// The query with this in place of what it has under the name.
    fn with(&self, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.pairs.iter().filter(|(given, _)| given != name));
        if !value.is_empty() {
            query.append_pair(name, value);
        }
        format!("?{}", query.finish())
    }

    /// The query by which the directory API lists the same, as far as it has it. Nothing but plain words goes into a line that
    /// is copied to a shell.
    fn in_the_api(&self) -> String {
        let names = ["tenant", "status", "created_from", "created_to", "sort"];
        let is_plain = |value: &str| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-:.".contains(&byte));
        let asked = self.pairs.iter().filter(|(name, value)| names.contains(&name.as_str()) && is_plain(value));
        let query: Vec<String> = asked.map(|(name, value)| format!("{name}={value}")).collect();
        if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) }
    }

    /// Whether anything but the order is asked for.
    fn is_filtered(&self) -> bool {
        self.pairs.iter().any(|(name, _)| name != "sort")
    }

    /// The query that turns the order by a column around, or takes it up, the newest first.
    fn sorted_by(&self, column: &str) -> String {
        let newest = format!("-{column}");
        self.with("sort", if self.sort() == newest { column } else { &newest })
    }

    fn sort(&self) -> &str {
        match self.get("sort") {
            "" => Sort::default().as_str(),
            "-updated" if self.has_span() => "-created",
            "updated" if self.has_span() => "created",
            sort => sort,
        }
    }

    /// Whether users of a span of time are asked for. They are in the order in which they were made: no index has them in
    /// another.
    fn has_span(&self) -> bool {
        ["created_from", "created_to"].iter().any(|end| !self.get(end).is_empty())
    }

    /// Whether the table can be had in the order of a column.
    fn may_sort_by(&self, column: &str) -> bool {
        self.q.is_empty() && (column == "created" || !self.has_span())
    }

    /// For the head of a column, whether the table is in its order: the value of `aria-sort`.
    fn order(&self, column: &str) -> &'static str {
        match self.sort().strip_prefix('-') {
            Some(by) if by == column => "descending",
            None if self.sort() == column => "ascending",
            _ => "",
        }
    }
}

/// `GET /admin/{appId}/{environment}/users`
pub async fn list(State(api): State<Api>, here: Within<ReadOnly>, RawQuery(query): RawQuery) -> Result<Response> {
    let asked = Asked::read(query.as_deref());
    let filled = form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes()).into_owned();
    let filled: Vec<(String, String)> = filled.filter(|(_, value)| !value.is_empty()).collect();
    let filled = form_urlencoded::Serializer::new(String::new()).extend_pairs(filled).finish();
    let mut filters = Query::new(Some(&filled));
    filters.take("q", "a text", |_| Some(()));
    let erased = filters.take("said", "a word", |word| Some(word == "erased")) == Some(true);
    let list = filters_of(filters, ROWS)?;
    let (caller, q) = (here.caller, asked.q.clone());
    let names = searching(&api, &here);
    let read = move |tx: &Tx| {
        let tenants = tenants::newest(tx, caller.scope.environment, TENANTS)?;
        let found = if q.is_empty() {
            let (users, next) = users::list(tx, &caller, &list)?;
            Found { users, next, back_to: None, is_early: false }
        } else {
            let mut found = search(tx, &caller, &names.names, &q, list.cursor.as_deref())?;
            found.users.retain(|user| list.wants(user));
            found
        };
        Ok((tenants, found))
    };
    let (tenants, found) = api.store.scan(read).await?;
    let place = &here.environment;
    let command = command(place, &asked);
    let request = here.frame.curl("GET", &format!("/v1/users{}", asked.in_the_api()));
    let next = found.next.map(|cursor| asked.with("cursor", &cursor));
    let Found { users, back_to, is_early, .. } = found;
    let now = api.store.clock().now();
    Ok(page(
        &UsersPage {
            frame: &here.frame,
            asked,
            users,
            tenants,
            next,
            back_to,
            is_early,
            command,
            request,
            erased,
            now,
        },
        None,
    ))
}

/// Has names gathered, for somebody looks at the users of an environment.
fn searching(api: &Api, here: &Within<ReadOnly>) -> Api {
    api.names.want(here.environment.id, api.store.clock().now());
    Api::clone(api)
}

/// The line that writes what the table shows to a file.
fn command(place: &Environment, asked: &Asked) -> String {
    let mut line =
        format!("usher export --app {} --environment {} --format csv --out users.csv", place.app, place.kind.as_str());
    for (name, option) in [("status", "--status"), ("created_from", "--created-from"), ("created_to", "--created-to")] {
        // Whoever copies the line to a shell runs it, so nothing but plain words goes into it.
        let value = asked.get(name);
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-:.".contains(&byte)) {
            line.extend([" ", option, " ", value]);
        }
    }
    line
}

fn filters_of(mut filters: Query, limit: i64) -> Result<List> {
    let list = List {
        tenant: filters.take("tenant", "a UUID", |text| text.parse().ok()),
        status: filters.take("status", "a status", Status::named),
        created: filters.range("created"),
        sort: filters.take("sort", "an order", Sort::named).unwrap_or_default(),
        cursor: filters.cursor(),
        limit,
        ..List::default()
    };
    let list = filters.end(list)?;
    let sort = match list.sort {
        _ if list.is_quick() => list.sort,
        Sort::FirstChanged | Sort::Oldest => Sort::Oldest,
        Sort::LastChanged | Sort::Newest => Sort::Newest,
    };
    Ok(List { sort, ..list })
}

impl UsersPage<'_> {
    fn tenant_of(&self, user: &User) -> &str {
        let tenant = self.tenants.iter().find(|tenant| Some(tenant.id) == user.tenant);
        tenant.and_then(|tenant| tenant.facts.name.as_ref()).map_or("–", |name| name.0.as_str())
    }

    fn sees_deleted(&self) -> bool {
        self.frame.may(Role::Support)
    }
}

/// `GET /admin/{appId}/{environment}/users/export`: the users that the filters let through, as a file, page by page as it is
/// read. That it was taken is noted. Health data is not in it.
pub async fn export(State(api): State<Api>, here: Within<Support>, RawQuery(query): RawQuery) -> Result<Response> {
    let asked = Asked::read(query.as_deref());
    let mut filters = Query::new(Some(asked.with("q", "").trim_start_matches('?')));
    let format =
        filters.take("format", "csv or jsonl", |word| ["csv", "jsonl"].iter().find(|one| **one == word).copied());
    let format = format.unwrap_or("csv");
    let list = filters_of(filters, MOST)?;
    let caller = here.caller;
    let taken = move |tx: &Tx| {
        let environment = caller.scope.environment;
        audit::record(tx, environment, caller.origin(), Action::UsersExported, environment.0)
    };
    api.store.write(taken).await?;
    let begin = (api, Some(list), true);
    let file = futures_util::stream::try_unfold(begin, move |(api, list, is_first)| async move {
        let Some(mut list) = list else { return Ok::<_, Error>(None) };
        let wanted = list.clone();
        let (rows, next) = api.store.scan(move |tx| export::page(tx, &caller, &wanted, false)).await?;
        let mut chunk = Vec::new();
        let mut writer = match format {
            "csv" if is_first => Writer::csv(&mut chunk, false)?,
            "csv" => Writer::csv_rows(&mut chunk, false),
            _ => Writer::Jsonl(&mut chunk),
        };
        rows.iter().try_for_each(|row| writer.add(row))?;
        writer.end()?;
        list.cursor = next;
        let list = Some(list).filter(|list| list.cursor.is_some());
        Ok(Some((chunk, (api, list, false))))
    });
    let name = format!("attachment; filename=\"users-{}.{format}\"", here.environment.kind.as_str());
    let kind = if format == "csv" { "text/csv; charset=utf-8" } else { "application/jsonl; charset=utf-8" };
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name.as_str())];
    Ok((headers, Body::from_stream(file)).into_response())
}

/// What a user is called on pages: their name, or else their address.
pub(super) fn called(user: &User) -> String {
    let profile = &user.person.profile;
    let names = [&profile.given_name, &profile.family_name].into_iter().flatten();
    let full = names.map(|line| line.0.as_str()).collect::<Vec<_>>().join(" ");
    match (full.trim(), &profile.name) {
        ("", Some(name)) => name.0.clone(),
        ("", None) => user.email.address().to_owned(),
        (full, _) => full.to_owned(),
    }
}

#[derive(Template)]
#[template(path = "admin/request.html")]
struct RequestPage<'a> {
    frame: &'a Frame,
    id: uuid::Uuid,
    entries: Vec<(Entry, String)>,
    now: Timestamp,
}

/// `GET /admin/{appId}/{environment}/search`: one box for everything. Straight to whom it means, if that is one.
pub async fn find(State(api): State<Api>, here: Within<ReadOnly>, RawQuery(query): RawQuery) -> Result<Response> {
    let q = Asked::read(query.as_deref()).q;
    let (caller, text) = (here.caller, q.clone());
    let names = searching(&api, &here);
    let look = move |tx: &Tx| {
        let found = search(tx, &caller, &names.names, &text, None)?;
        let request: Option<uuid::Uuid> = text.parse().ok().filter(|_| found.users.is_empty());
        let Some(id) = request else { return Ok((found, Vec::new())) };
        let mut entries = Vec::new();
        for entry in audit::of_request_id(tx, caller.scope.environment, id)? {
            let who = crate::story::who(tx, &entry)?;
            entries.push((entry, who));
        }
        Ok((found, entries))
    };
    let (found, entries) = api.store.scan(look).await?;
    let base = here.frame.base();
    if let (Ok(id), false) = (q.parse(), entries.is_empty()) {
        return Ok(page(&RequestPage { frame: &here.frame, id, entries, now: api.store.clock().now() }, None));
    }
    let to = match &found.users[..] {
        [one] if found.next.is_none() => format!("{base}/users/{}", one.id),
        _ => format!("{base}/users{}", Asked::default().with("q", &q)),
    };
    Ok(Redirect::to(&to).into_response())
}
