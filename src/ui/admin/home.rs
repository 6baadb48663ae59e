//! The first page of an environment: how it does, and what needs attention.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Frame;
use super::access::{ReadOnly, Within};
use super::chart::bars;
use super::users::called;
use super::words::{ago, grouped};
use crate::admins::Role;
use crate::api::Api;
use crate::api::requests::Answers;
use crate::api::versions::ApiDate;
use crate::apps::Kind;
use crate::clock::Timestamp;
use crate::db::Tx;
use crate::error::Result;
use crate::glance::{self, Glance};
use crate::outbox::State as Mail;
use crate::ui::page;
use crate::users::{self, User};

/// Mail that waits for longer needs attention.
const LATE: i64 = 10 * 60_000;
/// How many of the newest users are shown.
const NEWEST: i64 = 8;

fn sum(days: &[(Timestamp, i64)]) -> String {
    grouped(days.iter().map(|(_, count)| count).sum())
}

/// How many were refused and failed, in words.
fn refused(answers: &Answers) -> String {
    let number = |count: u64| grouped(i64::try_from(count).unwrap_or(i64::MAX));
    format!("{} of {} refused, {} failed", number(answers.refused), number(answers.all), number(answers.failed))
}

#[derive(Template)]
#[template(path = "admin/home.html")]
struct HomePage<'a> {
    frame: &'a Frame,
    glance: Arc<Glance>,
    newest: Vec<User>,
    /// How this process has answered requests of the environment, and of callers whom nobody knows.
    answers: Answers,
    to_strangers: Answers,
    /// What needs attention: how bad, and a sentence.
    attention: Vec<(&'static str, String)>,
    now: Timestamp,
}

/// `GET /admin/{appId}/{environment}`
pub async fn show(State(api): State<Api>, here: Within<ReadOnly>) -> Result<Response> {
    let (environment, now) = (here.environment.clone(), api.store.clock().now());
    let glance = if let Some(glance) = api.glances.find(environment.id, now) {
        glance
    } else {
        let place = environment.clone();
        let read = move |tx: &Tx| glance::of(tx, &place, ApiDate::NEWEST.as_str());
        api.glances.note(environment.id, api.store.scan(read).await?)
    };
    let place = environment.id;
    let newest = api.store.read(move |tx| users::newest(tx, place, NEWEST)).await?;
    let stuck = environment.kind == Kind::Live && !api.sends_mail;
    let attention = attention(&glance, stuck, here.frame.may(Role::Owner), now);
    let (answers, to_strangers) = (api.requests.answers(Some(place), now), api.requests.answers(None, now));
    Ok(page(&HomePage { frame: &here.frame, glance, newest, answers, to_strangers, attention, now }))
}

fn attention(glance: &Glance, stuck: bool, sees_keys: bool, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let (waiting, oldest) = glance.waiting;
    if stuck && waiting == 0 {
        all.push(("fault", "No mail server is set up (--smtp-url): live mail will wait.".to_owned()));
    } else if stuck {
        all.push(("fault", format!("Mail waits ({}), for no mail server is set up (--smtp-url).", grouped(waiting))));
    } else if let Some(at) = oldest.filter(|at| at.0 + LATE < now.0) {
        all.push(("warn", format!("Mail waits ({}), the oldest since {}.", grouped(waiting), ago(&at, &now))));
    }
    if let Some((_, failed)) = glance.mails.iter().find(|(state, _)| *state == Mail::Failed) {
        all.push(("fault", format!("Mail was given up in the last 24 hours ({}).", grouped(*failed))));
    }
    for webhook in &glance.disabled_webhooks {
        let why = webhook.disabled_because.as_deref().unwrap_or_default();
        all.push(("fault", format!("The webhook “{}” is disabled: {why}.", webhook.name)));
    }
    for silent in &glance.silent_webhooks {
        let name = &silent.webhook.name;
        if silent.given_up > 0 {
            let count = grouped(silent.given_up);
            all.push((
                "fault",
                format!("Deliveries to the webhook “{name}” were given up in the last 24 hours ({count})."),
            ));
        }
        if let Some(at) = &silent.late_since {
            let since = ago(at, &now);
            all.push((
                "warn",
                format!("The webhook “{name}” does not answer: the oldest delivery waits since {since}."),
            ));
        }
    }
    if glance.failed_billing > 0 {
        all.push(("fault", format!("Changes for billing were given up ({}).", grouped(glance.failed_billing))));
    }
    if glance.broken_imports > 0 && sees_keys {
        let count = grouped(glance.broken_imports);
        all.push(("warn", format!("Imports were broken off in the last 7 days ({count}); each says why.")));
    }
    for key in glance.ending_keys.iter().filter(|_| sees_keys) {
        let at = key.ends_at().map_or_else(String::new, |at| ago(&at, &now));
        all.push(("warn", format!("The key “{}” ends {at}.", key.name)));
    }
    for (key, date, at) in glance.old_keys.iter().filter(|_| sees_keys) {
        let what = format!("The key “{}” has called the partner API as it was on {date}", key.name);
        all.push(("info", format!("{what}, the last time {}.", ago(at, &now))));
    }
    all
}

impl HomePage<'_> {
    fn waiting(&self) -> String {
        grouped(self.glance.waiting.0)
    }

    fn enrolments(&self) -> String {
        bars("enrolments-chart", "Enrolments", &self.glance.enrolments)
    }

    fn sign_ins(&self) -> String {
        bars("sign-ins-chart", "Sign-ins", &self.glance.sign_ins)
    }

    /// Which part of the environment's requests was refused or failed, in percent.
    #[expect(clippy::cast_precision_loss, reason = "one place after the point is shown")]
    fn error_rate(&self) -> String {
        let Answers { all, refused, failed } = self.answers;
        if all == 0 { "–".to_owned() } else { format!("{:.1} %", (refused + failed) as f64 * 100.0 / all as f64) }
    }

    fn mails(&self, state: &Mail) -> String {
        grouped(self.glance.mails.iter().find(|(one, _)| one == state).map_or(0, |(_, count)| *count))
    }
}
