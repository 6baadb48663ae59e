//! The words of mails: every kind in every language, with a preview that follows while somebody types. Who may change them
//! are owners.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::Frame;
use super::access::{Owner, ReadOnly, Within};
use super::mails::{View, in_frame, kind_of};
use crate::admins::Role;
use crate::api::Api;
use crate::api::body::Form;
use crate::apps::Environment;
use crate::clock::Timestamp;
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::{FieldError, Result};
use crate::links;
use crate::mail::{self, Mail, Sample};
use crate::outbox::Kind;
use crate::signin;
use crate::ui::page;
use crate::wording::{self, Draft, Template, Text, Wording};
use crate::words::{Language, places};

#[derive(askama::Template)]
#[template(path = "admin/wordings.html")]
struct WordingsPage<'a> {
    frame: &'a Frame,
    kinds: Vec<&'static str>,
    languages: Vec<(&'static str, Vec<Cell>)>,
    now: Timestamp,
}

/// A template in the table.
struct Cell {
    path: String,
    called: &'static str,
    /// Since when the app has words of its own.
    own: Option<Timestamp>,
}

/// A text in the form.
struct Field {
    text: &'static Text,
    /// As it stands in the form.
    says: String,
    shipped: &'static str,
    is_wrong: bool,
}

impl Field {
    /// What is filled in.
    fn places(&self) -> String {
        places(self.text.name).iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(" ")
    }
}

#[derive(askama::Template)]
#[template(path = "admin/wording.html")]
struct WordingPage<'a> {
    frame: &'a Frame,
    template: Template,
    fields: Vec<Field>,
    faults: Vec<FieldError>,
    mail: Mail,
    view: View,
    is_own: bool,
    nameless: bool,
    /// What the preview is made from.
    query: String,
    said: &'static str,
}

impl WordingPage<'_> {
    fn called(&self) -> &'static str {
        kind_of(self.template.kind)
    }

    /// What no text has to say.
    fn besides(&self) -> &'static str {
        match self.template.kind {
            Kind::EnrolmentMail => "The link stands in the mail by itself.",
            Kind::SignInMail => "The link and the code stand in the mail by themselves.",
            _ => "",
        }
    }

    fn at(&self) -> String {
        format!("{}/{}", self.frame.base(), path(self.template))
    }

    fn command(&self, verb: &str, rest: &str) -> String {
        let app = self.frame.place.as_ref().map_or_else(String::new, |place| place.app.to_string());
        let (kind, language) = (self.template.kind.as_str(), self.template.language.tag());
        format!("usher mail template {verb} {kind} {language} --app {app}{rest}")
    }
}

/// Where a template's page is below the environment.
fn path(template: Template) -> String {
    format!("mails/templates/{}/{}", template.kind.as_str(), template.language.tag())
}

type At = Path<(String, String, String, String)>;

/// `GET /admin/{appId}/{environment}/mails/templates`
pub async fn list(State(api): State<Api>, here: Within<ReadOnly>) -> Result<Response> {
    let app = here.environment.app;
    let all = api.store.read(move |tx| wording::list(tx, app)).await?;
    let base = here.frame.base();
    let cell = |(template, own): &(Template, Option<Timestamp>)| Cell {
        path: format!("{base}/{}", path(*template)),
        called: kind_of(template.kind),
        own: *own,
    };
    let row = |language: &Language| {
        let of_language = all.iter().filter(|(template, _)| template.language == *language);
        (language.own_name(), of_language.map(cell).collect())
    };
    let languages = Language::ALL.iter().map(row).collect();
    let kinds = Template::KINDS.iter().map(|kind| kind_of(*kind)).collect();
    Ok(page(&WordingsPage { frame: &here.frame, kinds, languages, now: api.store.clock().now() }))
}

/// `GET /admin/{appId}/{environment}/mails/templates/{kind}/{language}`; with texts, as a draft of these.
pub async fn show(
    State(api): State<Api>,
    here: Within<ReadOnly>,
    Path((_, _, kind, language)): At,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (template, asked) = (Template::named(&kind, &language)?, Form::parse(query.unwrap_or_default().as_bytes())?);
    form(&api, &here.frame, &here.environment, template, &asked).await
}

/// `GET …/html`: the draft as a mail, for the frame of the page before.
pub async fn html(
    State(api): State<Api>,
    here: Within<ReadOnly>,
    Path((_, _, kind, language)): At,
    RawQuery(query): RawQuery,
) -> Result<Response> {
    let (template, asked) = (Template::named(&kind, &language)?, Form::parse(query.unwrap_or_default().as_bytes())?);
    let mail = sample(&api, &here.environment, template, template.read(|name| asked.get(name)).wording, &asked)?;
    Ok(in_frame(&mail.html, asked.get("view") == Some(View::Dark.as_str())))
}

/// `POST /admin/{appId}/{environment}/mails/templates/{kind}/{language}`
pub async fn save(
    State(api): State<Api>,
    here: Within<Owner>,
    Path((_, _, kind, language)): At,
    asked: Form,
) -> Result<Response> {
    let template = Template::named(&kind, &language)?;
    let Ok(wording) = template.read(|name| asked.get(name)).sound() else {
        let mut again = form(&api, &here.frame, &here.environment, template, &asked).await?;
        *again.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(again);
    };
    put(&api, &here, template, wording, "saved").await
}

/// `POST …/reset`: has the template be Usher's again.
pub async fn reset(State(api): State<Api>, here: Within<Owner>, Path((_, _, kind, language)): At) -> Result<Response> {
    put(&api, &here, Template::named(&kind, &language)?, Wording::default(), "reset").await
}

async fn put(api: &Api, here: &Within<Owner>, template: Template, wording: Wording, said: &str) -> Result<Response> {
    let (origin, app) = (here.caller.origin(), here.environment.app);
    api.store.write(move |tx| wording::set(tx, origin, app, template, &wording)).await?;
    Ok(here.frame.back(&format!("{}?said={said}", path(template))))
}

/// The form with what is asked for, or with what is kept if no text is.
async fn form(
    api: &Api,
    frame: &Frame,
    environment: &Environment,
    template: Template,
    asked: &Form,
) -> Result<Response> {
    let app = environment.app;
    let kept = api.store.read(move |tx: &Tx| wording::of(tx, app, template)).await?;
    let is_draft = template.texts().iter().any(|text| asked.sent(text.name).is_some());
    let Draft { wording, faults } = if is_draft {
        template.read(|name| asked.get(name))
    } else {
        Draft { wording: kept.clone(), faults: Vec::new() }
    };
    let field = |text: &'static Text| {
        let shipped = template.shipped(text);
        let says = if is_draft { asked.sent(text.name) } else { kept.get(text.name) };
        let is_wrong = faults.iter().any(|fault| fault.field == text.name);
        Field { text, says: says.unwrap_or(shipped).to_owned(), shipped, is_wrong }
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(wording.texts());
    if asked.get("nameless").is_some() {
        query.append_pair("nameless", "yes");
    }
    let view = asked.get("view").and_then(View::named).unwrap_or(View::Html);
    query.append_pair("view", view.as_str());
    let template = WordingPage {
        frame,
        template,
        fields: template.texts().iter().map(field).collect(),
        mail: sample(api, environment, template, wording, asked)?,
        faults,
        view,
        is_own: !kept.is_empty(),
        nameless: asked.get("nameless").is_some(),
        query: query.finish(),
        said: match asked.get("said") {
            Some("saved") => "Saved. Mails say this from now on.",
            Some("reset") => "Mails say what Usher says from now on.",
            _ => "",
        },
    };
    Ok(page(&template))
}

/// The mail as a person who does not exist would get it.
fn sample(api: &Api, environment: &Environment, template: Template, wording: Wording, asked: &Form) -> Result<Mail> {
    let link = links::at(&api.links.public_url, &["links", "example"])?;
    let name = asked.get("nameless").is_none().then_some("Alex");
    let lifetime = if template.kind == Kind::SignInMail { signin::LIFETIME } else { api.links.lifetime };
    mail::sample(environment, template, wording, &Sample { link: &link, name, lifetime })
}
