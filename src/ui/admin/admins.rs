//! The administrators of the installation: invited, given another role, sent a link, removed. For owners only.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};

use super::access::{Owner, Within};
use super::{Frame, quoted};
use crate::admins::{self, Admin, AdminId, By, Role};
use crate::api::Api;
use crate::api::body::Form;
use crate::audit::{self, Entry};
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::outbox::Job;
use crate::story;
use crate::ui::{Reader, page};
use crate::users::Email;

type Place = Path<(String, String, String)>;

/// How many entries of the audit trail are shown, the newest.
const ROWS: i64 = 20;

#[derive(Template)]
#[template(path = "admin/admins.html")]
struct AdminsPage<'a> {
    frame: &'a Frame,
    admins: Vec<Admin>,
    /// What was done, and by whom.
    trail: Vec<(Entry, String)>,
    /// Whom no mail has reached lately, and the one that was given up.
    unreached: Vec<(Admin, Job)>,
    /// How the commands of this page have the link come to somebody.
    by: &'static str,
    said: &'static str,
    now: Timestamp,
}

#[derive(Template)]
#[template(path = "admin/admin.html")]
struct AdminPage<'a> {
    frame: &'a Frame,
    admin: Admin,
    /// As above.
    by: &'static str,
    said: &'static str,
    now: Timestamp,
}

impl AdminPage<'_> {
    fn at(&self) -> String {
        format!("{}/admins/{}", self.frame.base(), self.admin.id)
    }
}

/// What a page says that comes after an action.
fn said(query: Option<&str>, sends_mail: bool) -> &'static str {
    match (query.and_then(|query| query.strip_prefix("said=")), sends_mail) {
        (Some("invited"), true) => "Invited. A mail with a link is on its way; it works once, for ten minutes.",
        (Some("link"), true) => "A mail with a link is on its way. It works once, for ten minutes.",
        (Some("invited" | "link"), false) => {
            "The link stands in the terminal in which Usher runs, for no mail server is set up. It works once, for ten minutes."
        }
        (Some("changed"), _) => "Changed. The new role holds from now on.",
        (Some("removed"), _) => "Removed, and signed out everywhere.",
        _ => "",
    }
}

/// What a link's command says so that it does what the button does.
fn by(sends_mail: bool) -> &'static str {
    if sends_mail { " --mail --public-url \"$USHER_URL\"" } else { " --public-url \"$USHER_URL\"" }
}

fn id(text: &str) -> Result<AdminId> {
    text.parse().map_err(|_| Error::NotFound("There is no such administrator"))
}

fn role(form: &Form) -> Result<Role> {
    let role = form.get("role").and_then(Role::named);
    role.ok_or_else(|| Error::bad_request("no_role", "Choose what they may do"))
}

/// `GET /admin/{appId}/{environment}/admins`
pub async fn list(State(api): State<Api>, here: Within<Owner>, RawQuery(query): RawQuery) -> Result<Response> {
    let read = |tx: &Tx| {
        let entries = audit::of_installation(tx, ROWS)?.into_iter();
        let trail = entries.map(|entry| story::who(tx, &entry).map(|who| (entry, who)));
        Ok((admins::list(tx)?, trail.collect::<Result<Vec<_>>>()?, admins::unreached(tx)?))
    };
    let (admins, trail, unreached) = api.store.scan(read).await?;
    let said = said(query.as_deref(), api.sends_mail);
    let (by, now) = (by(api.sends_mail), api.store.clock().now());
    Ok(page(&AdminsPage { frame: &here.frame, admins, trail, unreached, by, said, now }))
}

/// `POST /admin/{appId}/{environment}/admins`: they are sent a link at once.
pub async fn invite(State(api): State<Api>, here: Within<Owner>, reader: Reader, form: Form) -> Result<Response> {
    let email = form.get("email").and_then(Email::new);
    let email = email.ok_or_else(|| Error::bad_request("malformed_email", "This is not an e-mail address"))?;
    let (origin, role) = (here.caller.origin(), role(&form)?);
    let (links, way, language) = (api.links.clone(), api.admin_way(), reader.0.language());
    let invite = move |tx: &Tx| admins::invite(tx, &email, role, &By { origin, links: &links, way, language });
    let (_, link) = api.store.write(invite).await?;
    api.pass_on(link);
    Ok(here.frame.back("admins?said=invited"))
}

/// `GET /admin/{appId}/{environment}/admins/{adminId}`
pub async fn show(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Place,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let id = id(&text)?;
    let admin = api.store.read(move |tx| admins::get(tx, id)).await?;
    let said = said(query.as_deref(), api.sends_mail);
    let (by, now) = (by(api.sends_mail), api.store.clock().now());
    Ok(page(&AdminPage { frame: &here.frame, admin, by, said, now }))
}

/// `POST /admin/{appId}/{environment}/admins/{adminId}/role`
pub async fn set_role(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Place,
    form: Form,
) -> Result<Response> {
    let (id, role, origin) = (id(&text)?, role(&form)?, here.caller.origin());
    api.store.write(move |tx| admins::set_role(tx, origin, id, role)).await?;
    if id == here.frame.who.id {
        // Who is no owner any more does not see this page.
        return Ok(Redirect::to(&here.frame.base()).into_response());
    }
    Ok(here.frame.back(&format!("admins/{id}?said=changed")))
}

/// `POST /admin/{appId}/{environment}/admins/{adminId}/send-link`
pub async fn send_link(
    State(api): State<Api>,
    here: Within<Owner>,
    reader: Reader,
    Path((_, _, text)): Place,
) -> Result<Response> {
    let (id, origin) = (id(&text)?, here.caller.origin());
    let (links, way, language) = (api.links.clone(), api.admin_way(), reader.0.language());
    let send = move |tx: &Tx| admins::send_link(tx, id, &By { origin, links: &links, way, language });
    let link = api.store.write(send).await?;
    api.pass_on(link);
    Ok(here.frame.back(&format!("admins/{id}?said=link")))
}

/// `POST /admin/{appId}/{environment}/admins/{adminId}/remove`
pub async fn remove(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, text)): Place,
    form: Form,
) -> Result<Response> {
    super::typed(&form, "remove")?;
    let (id, origin) = (id(&text)?, here.caller.origin());
    api.store.write(move |tx| admins::remove(tx, origin, id)).await?;
    Ok(here.frame.back("admins?said=removed"))
}
