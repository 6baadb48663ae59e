//! The mail of an environment: what was sent, what waits, what was given up or withdrawn and why, and how captured mail looks.
//!
//! The text of live mail is never shown: its link is the person's. That of captured mail is, to who may change users, for
//! its link signs in.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::Frame;
use super::access::{ReadOnly, Support, Within};
use crate::admins::Role;
use crate::api::Api;
use crate::api::body::Form;
use crate::caller::Caller;
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::{Tx, words};
use crate::error::{Error, Result};
use crate::links;
use crate::mail::{self, Mail};
use crate::outbox::{self, Job, JobId, Kind, State as Stage};
use crate::random;
use crate::ui::page;
use crate::users;

/// How many mails a page lists.
const ROWS: i64 = 50;

words! {
    /// How a captured mail is shown.
    pub enum View {
        /// As HTML.
        Html = "html",
        /// As HTML, by a mail program in the dark theme.
        Dark = "dark",
        /// As HTML, on a phone.
        Phone = "phone",
        /// As plain text.
        Text = "text",
    }
}

impl View {
    pub(super) fn words(self) -> &'static str {
        match self {
            View::Html => "HTML",
            View::Dark => "Dark",
            View::Phone => "Phone",
            View::Text => "Plain text",
        }
    }
}

#[derive(Template)]
#[template(path = "admin/mails.html")]
struct MailsPage<'a> {
    frame: &'a Frame,
    mails: Vec<Job>,
    stage: Option<Stage>,
    /// Where the next page begins.
    next: Option<JobId>,
    /// Where this one begins, if it is a later one.
    before: Option<JobId>,
    now: Timestamp,
}

impl MailsPage<'_> {
    fn stage(&self) -> &'static str {
        self.stage.map_or("", Stage::as_str)
    }

    fn command(&self) -> String {
        let state = self.stage.map_or_else(String::new, |stage| format!(" --state {}", stage.as_str()));
        let before = self.before.map_or_else(String::new, |before| format!(" --before {before}"));
        format!("usher mail list{}{state}{before} --limit {ROWS}", self.frame.options())
    }

    /// Back to when mails were looked through, if there are more than a page looks through.
    fn looked_back_to(&self) -> Option<Timestamp> {
        let is_full = i64::try_from(self.mails.len()).is_ok_and(|count| count == ROWS);
        self.next.filter(|_| !is_full).map(|id| random::time_of(id.0))
    }
}

#[derive(Template)]
#[template(path = "admin/mail.html")]
struct MailPage<'a> {
    frame: &'a Frame,
    job: Job,
    mail: Option<Mail>,
    view: View,
    said: bool,
    now: Timestamp,
}

impl MailPage<'_> {
    fn at(&self) -> String {
        format!("{}/mails/{}", self.frame.base(), self.job.id)
    }

    fn tone(&self) -> &'static str {
        match self.job.state {
            Stage::Failed => "fault",
            Stage::Withdrawn => "",
            _ => "warn",
        }
    }

    fn may_be_retried(&self) -> bool {
        self.job.state == Stage::Failed && self.job.kind == Kind::EnrolmentMail && self.frame.may(Role::Support)
    }
}

fn to(job: &Job) -> &str {
    job.payload.as_ref().and_then(|payload| payload.text("to")).unwrap_or("Not known any more")
}

fn kind(job: &Job) -> &'static str {
    kind_of(job.kind)
}

/// What a kind of mail is called.
pub(super) fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::EnrolmentMail => "Welcome, with a link",
        Kind::SignInMail => "Sign-in, with a link and a code",
        Kind::AddressChangedMail => "The address was changed, to the one before",
        Kind::WebhookGoneMail => "A webhook was disabled, to its contact",
        other => other.as_str(),
    }
}

/// The badge's class is the state; its words say more where one word says too little.
fn state(job: &Job) -> &'static str {
    match (job.state, job.attempts) {
        (Stage::Queued, 1..) => "tried again soon",
        (Stage::Failed, _) => "given up",
        (state, _) => state.as_str(),
    }
}

fn id(text: &str) -> Result<JobId> {
    text.parse().map_err(|_| Error::NotFound("There is no such mail"))
}

/// `GET /admin/{appId}/{environment}/mails`
pub async fn list(State(api): State<Api>, here: Within<ReadOnly>, RawQuery(query): RawQuery) -> Result<Response> {
    let asked = Form::parse(query.unwrap_or_default().as_bytes())?;
    let stage = asked.get("state").and_then(Stage::named);
    let before: Option<JobId> = asked.get("before").and_then(|text| text.parse().ok());
    let (environment, now) = (here.environment.id, api.store.clock().now());
    let caller = here.caller;
    let find = move |tx: &Tx| {
        let (mails, next) = outbox::mails_of(tx, environment, stage, before, ROWS)?;
        Ok((veiled(tx, &caller, mails)?, next))
    };
    let (mails, next) = api.store.scan(find).await?;
    Ok(page(&MailsPage { frame: &here.frame, mails, stage, next, before, now }))
}

/// `GET /admin/{appId}/{environment}/mails/{mailId}`
pub async fn show(
    State(api): State<Api>,
    here: Within<ReadOnly>,
    Path((_, _, text)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let asked = Form::parse(query.unwrap_or_default().as_bytes())?;
    let (id, environment, caller) = (id(&text)?, here.environment.id, here.caller);
    let may_read = here.frame.may(Role::Support);
    let find = move |tx: &Tx| {
        let job = veiled(tx, &caller, vec![outbox::mail_of(tx, environment, id)?])?.remove(0);
        let mail = if may_read { content(tx, &job)? } else { None };
        Ok((job, mail))
    };
    let (job, mail) = api.store.read(find).await?;
    let view = asked.get("view").and_then(View::named).unwrap_or(View::Html);
    let (said, now) = (asked.get("said").is_some(), api.store.clock().now());
    Ok(page(&MailPage { frame: &here.frame, job, mail, view, said, now }))
}

/// The mails without what tells of people who are deleted, for whom those are no longer shown to.
fn veiled(tx: &Tx, caller: &Caller, mut mails: Vec<Job>) -> Result<Vec<Job>> {
    if super::user::sees_deleted(caller) {
        return Ok(mails);
    }
    let people: Vec<_> = mails.iter().map(|mail| mail.user).collect();
    let deleted = users::deleted_among(tx, &people)?;
    for mail in mails.iter_mut().filter(|mail| deleted.contains(&mail.user)) {
        (mail.payload, mail.failure) = (None, None);
    }
    Ok(mails)
}

/// What a captured mail says.
fn content(tx: &Tx, job: &Job) -> Result<Option<Mail>> {
    if job.state == Stage::Captured { mail::render(tx, job) } else { Ok(None) }
}

/// What the HTML of a mail may do in its frame: look as it looks.
const IN_FRAME: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'self'; sandbox";

/// `GET /admin/{appId}/{environment}/mails/{mailId}/html`: for the frame of the page before.
pub async fn html(
    State(api): State<Api>,
    here: Within<Support>,
    Path((_, _, text)): Path<(String, String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (id, environment) = (id(&text)?, here.environment.id);
    let mail = api
        .store
        .read(move |tx| content(tx, &outbox::mail_of(tx, environment, id)?))
        .await?
        .ok_or(Error::NotFound("The text of this mail is not kept"))?;
    Ok(in_frame(&mail.html, query.as_deref() == Some("view=dark")))
}

/// Answers with a mail, for the frame of a page.
pub(super) fn in_frame(html: &str, dark: bool) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, IN_FRAME),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, in_theme(html, dark)).into_response()
}

/// The mail as a program shows it that is in that theme, whatever theme this browser is in.
fn in_theme(html: &str, dark: bool) -> String {
    let (chosen, scheme) = if dark { ("all", "dark") } else { ("not all", "light") };
    let html = html.replace("(prefers-color-scheme: dark)", chosen).replace("(prefers-color-scheme:dark)", chosen);
    html.replacen("<head>", &format!("<head><style>:root {{ color-scheme: {scheme}; }}</style>"), 1)
}

/// `POST /admin/{appId}/{environment}/mails/{mailId}/retry`
pub async fn retry(
    State(api): State<Api>,
    here: Within<Support>,
    Path((_, _, text)): Path<(String, String, String)>,
) -> Result<Response> {
    let (id, environment, origin) = (id(&text)?, here.environment.id, here.caller.origin());
    let again = move |tx: &Tx| links::send_again(tx, origin, &outbox::mail_of(tx, environment, id)?);
    api.store.write(again).await?;
    api.outbox.wake();
    Ok(here.frame.back(&format!("mails/{id}?said=retried")))
}

#[cfg(test)]
mod tests {
    use super::in_theme;

    #[test]
    fn a_preview_has_its_own_theme_and_not_the_browsers() {
        let mail = "<head></head><style>@media (prefers-color-scheme: dark) { body { color: #fff } }</style>";
        assert!(in_theme(mail, true).contains("color-scheme: dark") && in_theme(mail, true).contains("@media all {"));
        assert!(
            in_theme(mail, false).contains("color-scheme: light") && in_theme(mail, false).contains("@media not all")
        );
    }
}
