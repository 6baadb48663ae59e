//! The users of an environment: a table that filters, sorts and searches, with its state in the address.

use std::collections::HashMap;

use askama::Template;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use super::access::{ReadOnly, Support, Within};
use super::{Frame, quoted};
use crate::admins::Role;
use crate::api::Api;
use crate::api::directory::query::Query;
use crate::audit::{self, Action};
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::imports::export::{self, Writer};
use crate::place::MOST;
use crate::tenants::{self, Tenant, TenantId};
use crate::ui::page;
use crate::users::search::{Found, search};
use crate::users::{self, List, Sort, Status, User};

/// How many users a page has.
const ROWS: i64 = 50;
/// How many tenants the filter offers, the newest that are not of one person. Every other is a link in the row of who is in it.
const TENANTS: i64 = 200;

#[derive(Template)]
#[template(path = "admin/users.html")]
struct UsersPage<'a> {
    frame: &'a Frame,
    asked: Asked,
    found: Found,
    /// What the filter offers.
    tenants: Vec<Tenant>,
    /// Those of the users in the table.
    theirs: HashMap<TenantId, Tenant>,
    /// The address of the next page.
    next: Option<String>,
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
    /// What filters and sorts, as it was understood.
    list: List,
}

impl Asked {
    /// Reads a query. What is empty was not filled in.
    fn read(query: Option<&str>) -> Asked {
        let all = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned();
        let (cursors, pairs): (Vec<_>, Vec<_>) =
            all.filter(|(name, value)| !value.is_empty() && name != "said").partition(|(name, _)| name == "cursor");
        let q = pairs.iter().find(|(name, _)| name == "q").map(|(_, q)| q.trim().to_owned()).unwrap_or_default();
        Asked { pairs, q, has_cursor: !cursors.is_empty(), list: List::default() }
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

    /// The query by which the directory API lists the same; it has no search.
    fn in_the_api(&self) -> Option<String> {
        let names = ["tenant", "status", "created_from", "created_to", "sort"];
        let mut query = form_urlencoded::Serializer::for_suffix("?".to_owned(), 1);
        query.extend_pairs(self.pairs.iter().filter(|(name, _)| names.contains(&name.as_str())));
        let query = query.finish().trim_end_matches('?').to_owned();
        self.q.is_empty().then_some(query)
    }

    /// Whether anything but the order is asked for.
    fn is_filtered(&self) -> bool {
        self.pairs.iter().any(|(name, _)| name != "sort")
    }

    /// The query that turns the order by a column around, or takes it up: the newest first, addresses from their beginning.
    fn sorted_by(&self, column: &str) -> String {
        let (up, down) = (column.to_owned(), format!("-{column}"));
        let (first, second) = if column == "email" { (up, down) } else { (down, up) };
        self.with("sort", if self.sort() == first { &second } else { &first })
    }

    fn sort(&self) -> &'static str {
        self.list.sort.as_str()
    }

    /// Whether the table can be had in the order of a column.
    fn may_sort_by(&self, column: &str) -> bool {
        let sorted = Sort::named(column).map(|sort| List { sort, ..self.list.clone() });
        self.q.is_empty() && sorted.is_some_and(|list| list.is_quick())
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
    let mut asked = Asked::read(query.as_deref());
    let filled = form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes()).into_owned();
    let filled: Vec<(String, String)> = filled.filter(|(_, value)| !value.is_empty()).collect();
    let filled = form_urlencoded::Serializer::new(String::new()).extend_pairs(filled).finish();
    let mut filters = Query::new(Some(&filled));
    filters.take("q", "a text", |_| Some(()));
    let erased = filters.take("said", "a word", |word| Some(word == "erased")) == Some(true);
    let list = filters_of(filters, ROWS)?;
    asked.list = list.clone();
    let (caller, q) = (here.caller, asked.q.clone());
    let names = searching(&api, &here);
    let read = move |tx: &Tx| {
        let mut tenants = tenants::newest_organisations(tx, caller.scope.environment, TENANTS)?;
        let whose = list.whose(tx, &caller)?;
        tenants.extend(whose.filter(|whose| tenants.iter().all(|tenant| tenant.id != whose.id)));
        let found = if q.is_empty() {
            let (users, next) = users::list(tx, &caller, &list)?;
            Found { users, next, back_to: None, is_early: false, more_alike: false }
        } else {
            search(tx, &caller, &names.names, &q, Some(&list))?
        };
        let mut theirs = HashMap::new();
        for id in found.users.iter().filter_map(|user| user.tenant) {
            if !theirs.contains_key(&id)
                && let Some(tenant) = tenants::by_id(tx, id)?
            {
                theirs.insert(id, tenant);
            }
        }
        Ok((tenants, theirs, found))
    };
    let (tenants, theirs, found) = api.store.scan(read).await?;
    let command = command(&here.frame, &asked, &tenants);
    let request = asked.in_the_api().map(|query| here.frame.curl("GET", &format!("/v1/users{query}")));
    let next = found.next.as_ref().map(|cursor| asked.with("cursor", cursor));
    let now = api.store.clock().now();
    Ok(page(&UsersPage {
        frame: &here.frame,
        asked,
        found,
        tenants,
        theirs,
        next,
        command,
        request: request.unwrap_or_default(),
        erased,
        now,
    }))
}

/// Has names gathered, for somebody looks at the users of an environment.
pub(super) fn searching(api: &Api, here: &Within<ReadOnly>) -> Api {
    api.names.want(here.environment.id, api.store.clock().now());
    Api::clone(api)
}

/// The line that writes what the table shows to a file.
fn command(frame: &Frame, asked: &Asked, tenants: &[Tenant]) -> String {
    let mut line = format!("usher export{}", frame.options());
    let mut add = |option: &str, value: &str| line.extend([" --", option, "=", &quoted(value)]);
    if asked.q.is_empty() {
        add("sort", asked.list.sort.of_making().as_str());
    } else {
        add("search", &asked.q);
    }
    let tenant = tenants.iter().find(|tenant| tenant.id.to_string() == asked.get("tenant"));
    if let Some(tenant) = tenant {
        add("tenant", &tenant.handle());
    }
    for (name, option) in [("status", "status"), ("created_from", "created-from"), ("created_to", "created-to")] {
        if !asked.get(name).is_empty() {
            add(option, asked.get(name));
        }
    }
    line + " --format csv --out users.csv"
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
    // The order that is asked for, if an index has it with these filters.
    Ok(List { sort: if list.is_quick() { list.sort } else { list.sort.of_making() }, ..list })
}

impl UsersPage<'_> {
    /// The tenant of a user: its id, and its name.
    fn tenant_of(&self, user: &User) -> Option<(&TenantId, &str)> {
        let (id, tenant) = self.theirs.get_key_value(&user.tenant?)?;
        Some((id, tenant.facts.name.as_ref()?.0.as_str()))
    }

    /// What a screen reader says of a search.
    fn news(&self) -> String {
        match (self.found.users.len(), self.next.is_some()) {
            (0, false) => "Nobody was found".to_owned(),
            (0, true) => "Nobody so far".to_owned(),
            (1, false) => "One user".to_owned(),
            (count, false) => format!("{count} users"),
            (count, true) => format!("{count} users, and there are more"),
        }
    }

    fn sees_deleted(&self) -> bool {
        self.frame.may(Role::Support)
    }
}

/// `GET /admin/{appId}/{environment}/users/export`: the users that the filters let through, as a file, page by page as it is
/// read, in the order of making: in the table's, whoever changes meanwhile could be left out. That it was taken is noted. Health
/// data is not in it.
pub async fn export(State(api): State<Api>, here: Within<Support>, RawQuery(query): RawQuery) -> Result<Response> {
    let asked = Asked::read(query.as_deref());
    let mut filters = Query::new(Some(asked.with("q", "").trim_start_matches('?')));
    let search = Some(asked.q).filter(|q| !q.is_empty());
    let format =
        filters.take("format", "csv or jsonl", |word| ["csv", "jsonl"].iter().find(|one| **one == word).copied());
    let format = format.unwrap_or("csv");
    let list = filters_of(filters, MOST)?;
    let list = List { sort: list.sort.of_making(), ..list };
    let caller = here.caller;
    let (wanted, text, names) = (list.clone(), search.clone(), Api::clone(&api));
    api.store.scan(move |tx| export::check(tx, &caller, (text.as_deref(), &names.names), &wanted)).await?;
    let taken = move |tx: &Tx| {
        let environment = caller.scope.environment;
        audit::record(tx, environment, caller.origin(), Action::UsersExported, environment.0)
    };
    api.store.write(taken).await?;
    let begin = (api, search, Some(list), true);
    let file = futures_util::stream::try_unfold(begin, move |(api, search, list, is_first)| async move {
        let Some(mut list) = list else { return Ok::<_, Error>(None) };
        let (wanted, text, names) = (list.clone(), search.clone(), Api::clone(&api));
        let page = move |tx: &Tx| export::page(tx, &caller, (text.as_deref(), &names.names), &wanted, false);
        let (rows, next) = api.store.scan(page).await?;
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
        Ok(Some((chunk, (api, search, list, false))))
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
