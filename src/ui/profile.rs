//! The signed-in person's own page: what is held about them, what of it they may change, where they are signed in. Plain
//! forms, so that it needs no script and holds no token.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, json};

use super::links::from_our_page;
use super::{Brand, Reader, message, page_in, profile, session_cookies};
use crate::api::body::Form;
use crate::api::directory::users::fields;
use crate::api::{Api, Trail};
use crate::apps::{self, AppId, Environment, Kind};
use crate::audit;
use crate::caller::{Caller, Facts, Target};
use crate::db::Tx;
use crate::erasure::{self, Part};
use crate::error::{Error, FieldError, Result};
use crate::field::judge;
use crate::roles::Rights;
use crate::secret::Secret;
use crate::sessions::{self, Session};
use crate::users::{self, Change, IfMatch, User};
use crate::words::{Language, Words};

/// A field that people may change.
struct Input {
    /// As the directory API names it.
    name: &'static str,
    label: fn(&Words) -> String,
    kind: &'static str,
    autocomplete: &'static str,
}

const INPUTS: [Input; 7] = [
    Input { name: "given_name", label: Words::given_name, kind: "text", autocomplete: "given-name" },
    Input { name: "family_name", label: Words::family_name, kind: "text", autocomplete: "family-name" },
    Input { name: "nickname", label: Words::nickname, kind: "text", autocomplete: "nickname" },
    Input { name: "email", label: Words::email_label, kind: "email", autocomplete: "email" },
    Input { name: "phone_number", label: Words::phone_number, kind: "tel", autocomplete: "tel" },
    Input { name: "birthdate", label: Words::birthdate, kind: "date", autocomplete: "bday" },
    Input { name: LANGUAGE, label: Words::language_label, kind: "select", autocomplete: "language" },
];
const LANGUAGE: &str = "language";

/// A field on the page.
struct Shown {
    input: &'static Input,
    value: String,
    fault: String,
    /// What there is to choose from: value, words.
    choices: Vec<(String, &'static str)>,
}

#[derive(Template)]
#[template(path = "profile.html")]
struct ProfilePage<'a> {
    words: &'static Words,
    brand: Brand<'a>,
    /// Which app's session is meant, as the end of an address.
    query: String,
    fields: Vec<Shown>,
    /// The version that the page was made from.
    version: String,
    saved: bool,
    fault: String,
    /// When each session began, and whether it is this browser's.
    sessions: Vec<(String, bool)>,
}

/// How many sessions of one browser are looked at.
const MOST_SESSIONS: usize = 20;

/// Which app's session is meant; of a browser that has several, the newest that works.
#[derive(Deserialize)]
pub struct Which {
    client_id: Option<String>,
    environment: Option<String>,
}

impl Which {
    fn app(&self) -> Result<Option<(AppId, Kind)>> {
        let (app, kind) = match (&self.client_id, &self.environment) {
            (None, None) => return Ok(None),
            (app, kind) => (app.as_ref().and_then(|app| app.parse().ok()), kind.as_deref().and_then(Kind::named)),
        };
        let unknown = || Error::bad_request("unknown_app", "The address must name an app and its environment");
        app.zip(kind).map(Some).ok_or_else(unknown)
    }

    /// The cookies that are meant, newest session first, as many as are looked at.
    fn cookies(&self, api: &Api, headers: &HeaderMap) -> Result<Vec<(String, Secret)>> {
        let mut found = session_cookies(api, headers, self.app()?.as_slice());
        found.truncate(MOST_SESSIONS);
        Ok(found)
    }
}

/// Whoever is signed in.
struct Me {
    user: User,
    session: Session,
    environment: Environment,
}

impl Me {
    fn find(tx: &Tx, cookies: &[(String, Secret)]) -> Result<Option<Me>> {
        for (_, cookie) in cookies {
            let Some((user, session)) = sessions::of_browser(tx, cookie)? else { continue };
            let environment = apps::by_id(tx, user.environment)?;
            return Ok(Some(Me { user, session, environment }));
        }
        Ok(None)
    }

    /// A person on their own page reaches themselves and nobody else, whatever their role.
    fn caller(&self, trail: &Trail) -> Caller {
        let person = Caller::person(&self.environment, &self.user, Rights::NONE, Facts::ALL);
        Caller { session: Some(self.session.id), request: Some(trail.id()), ..person }
    }

    fn words(&self, reader: &Reader) -> &'static Words {
        reader.words(Language::of_person(&self.user.person.profile), self.environment.language)
    }

    fn home(&self) -> String {
        profile(self.environment.app, self.environment.kind)
    }

    /// A fact as the page has it.
    fn value(&self, name: &str) -> String {
        let shown = fields().find(|wire| wire.name == name).and_then(|wire| (wire.show)(&self.user.person));
        shown.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// `GET /profile`
pub async fn show(
    State(api): State<Api>,
    reader: Reader,
    Query(which): Query<Which>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    let saved = query.is_some_and(|query| query.ends_with("&saved"));
    answer(&api, reader, &which, &headers, saved, None).await
}

/// The page, with what was typed and what is wrong with that if something is.
async fn answer(
    api: &Api,
    reader: Reader,
    which: &Which,
    headers: &HeaderMap,
    saved: bool,
    refused: Option<(&Form, Error)>,
) -> Result<Response> {
    let cookies = which.cookies(api, headers)?;
    let found = move |tx: &Tx| {
        let Some(me) = Me::find(tx, &cookies)? else { return Ok(None) };
        let sessions = sessions::of_user(tx, me.user.id)?;
        Ok(Some((me, sessions)))
    };
    let Some((me, open)) = api.store.read(found).await? else { return signed_out(api, &reader, which).await };
    let words = me.words(&reader);
    let (form, error) = refused.unzip();
    // Whoever is told that something else has changed the record sees it as it is now.
    let form = form.filter(|_| !matches!(error, Some(Error::Stale)));
    let faults = error.as_ref().map_or_else(Vec::new, |error| faults(error, words));
    let general = match &error {
        None => String::new(),
        Some(Error::Stale) => words.stale(),
        Some(_) => words.check_marked(),
    };
    let shown = |input: &'static Input| {
        let value = form.and_then(|form| form.sent(input.name)).map_or_else(|| me.value(input.name), str::to_owned);
        let fault = faults.iter().find(|(name, _)| name == input.name).map(|(_, text)| text.clone());
        let choices = if input.name == LANGUAGE { languages(&me, &value) } else { Vec::new() };
        Shown { input, value, fault: fault.unwrap_or_default(), choices }
    };
    let template = ProfilePage {
        words,
        brand: Brand::from(&me.environment),
        query: me.home().split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default(),
        fields: INPUTS.iter().map(shown).collect(),
        // What was typed was typed over that version, so that no later change is overwritten unseen.
        version: form.and_then(|form| form.sent("version")).map_or_else(|| me.user.etag(), str::to_owned),
        saved,
        fault: general,
        sessions: open.iter().map(|one| (words.time(one.created_at), one.id == me.session.id)).collect(),
    };
    let mut response = page_in(words, &template);
    if let Some(error) = error {
        *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or_default();
    }
    Ok(response)
}

/// The languages to choose from. What the record says stays as it is written unless another one is chosen.
fn languages(me: &Me, value: &str) -> Vec<(String, &'static str)> {
    let theirs = Language::of_person(&me.user.person.profile).filter(|_| !me.value(LANGUAGE).is_empty());
    let written =
        |language: Language| if Some(language) == theirs { me.value(LANGUAGE) } else { language.tag().into() };
    let mut choices: Vec<(String, &'static str)> =
        Language::ALL.iter().map(|language| (written(*language), language.own_name())).collect();
    if choices.iter().all(|(choice, _)| choice != value) {
        choices.insert(0, (value.to_owned(), "–"));
    }
    choices
}

/// What is wrong, by field, in words for people.
fn faults(error: &Error, words: &Words) -> Vec<(String, String)> {
    let say = |fault: &FieldError| match (fault.code, fault.field.as_str()) {
        ("required", _) => words.required_fault(),
        ("too_long", _) => words.long_fault(),
        (_, "email") => words.email_fault(),
        (_, "phone_number") => words.phone_fault(),
        (_, "birthdate") => words.birthdate_fault(),
        _ => words.other_fault(),
    };
    match error {
        Error::EmailTaken => vec![("email".into(), words.email_taken())],
        Error::PhoneTaken => vec![("phone_number".into(), words.phone_taken())],
        error => error.fields().iter().map(|fault| (fault.field.clone(), say(fault))).collect(),
    }
}

/// `POST /profile`
pub async fn save(
    State(api): State<Api>,
    reader: Reader,
    Extension(trail): Extension<Trail>,
    Query(which): Query<Which>,
    headers: HeaderMap,
    form: Form,
) -> Result<Response> {
    from_our_page(&headers)?;
    let (links, form) = (api.links.clone(), Arc::new(form));
    let (cookies, typed) = (which.cookies(&api, &headers)?, Arc::clone(&form));
    let wanted = Arc::new(move |tx: &Tx| {
        let Some(me) = Me::find(tx, &cookies)? else { return Ok(None) };
        let caller = me.caller(&trail);
        let change = read(&typed, &me, &caller, tx)?;
        Ok::<_, Error>(Some((me, caller, change)))
    });
    let (tried, version) = (Arc::clone(&wanted), IfMatch::parse(form.sent("version").unwrap_or_default()));
    // In a transaction of its own, for that of the change may be rolled back.
    let count = move |tx: &Tx| {
        tried(tx)?
            .map_or(Ok(()), |(_, caller, change)| users::count_attempt(tx, &caller, Some(Target::Me), &change.set))
    };
    let save = move |tx: &Tx| {
        let Some((me, caller, change)) = wanted(tx)? else { return Ok(None) };
        users::update(tx, &caller, Target::Me, change, &version, &links)?;
        Ok(Some(me.home()))
    };
    let saved = match api.store.write(count).await {
        Ok(()) => api.store.write(save).await,
        Err(error) => Err(error),
    };
    match saved {
        Ok(Some(home)) => {
            api.outbox.wake();
            Ok(Redirect::to(&format!("{home}&saved")).into_response())
        }
        // The session may have ended since it was found.
        Ok(None) | Err(Error::Unauthenticated { .. }) => signed_out(&api, &reader, &which).await,
        Err(error @ (Error::Invalid(_) | Error::EmailTaken | Error::PhoneTaken | Error::Stale)) => {
            answer(&api, reader, &which, &headers, false, Some((&form, error))).await
        }
        Err(error) => Err(error),
    }
}

/// What of the form differs from what the page showed. A field that is emptied is forgotten.
fn read(form: &Form, me: &Me, caller: &Caller, tx: &Tx) -> Result<Change> {
    let (mut change, mut faults) = (Change::default(), Vec::new());
    for wire in fields().filter(|wire| INPUTS.iter().any(|input| input.name == wire.name)) {
        let Some(typed) = form.sent(wire.name).map(str::trim).filter(|typed| *typed != me.value(wire.name).trim())
        else {
            continue;
        };
        if !typed.is_empty() {
            let body = Map::from_iter([(wire.name.to_owned(), json!(typed))]);
            wire.take(&body, &caller.context(tx.now()), &mut change.set, &mut faults);
        } else if wire.name == "email" {
            let message = "email is required".to_owned();
            faults.push(FieldError { field: wire.name.to_owned(), code: "required", message });
        } else {
            change.unset.push(wire);
        }
    }
    judge(change, faults)
}

/// `POST /profile/sign-out-everywhere`
pub async fn sign_out_everywhere(
    State(api): State<Api>,
    Extension(trail): Extension<Trail>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response> {
    from_our_page(&headers)?;
    let cookies = which.cookies(&api, &headers)?;
    let end = move |tx: &Tx| {
        let Some(me) = Me::find(tx, &cookies)? else { return Ok("/profile".to_owned()) };
        sessions::revoke_all(tx, &me.user, me.caller(&trail).origin())?;
        Ok(me.home())
    };
    Ok(Redirect::to(&api.store.write(end).await?).into_response())
}

/// `POST /profile/data`: everything that is held about the person, as a file, part by part as it is read. That they have read it
/// is noted.
pub async fn data(
    State(api): State<Api>,
    reader: Reader,
    Extension(trail): Extension<Trail>,
    Query(which): Query<Which>,
    headers: HeaderMap,
) -> Result<Response> {
    from_our_page(&headers)?;
    let cookies = which.cookies(&api, &headers)?;
    let note = move |tx: &Tx| {
        let Some(me) = Me::find(tx, &cookies)? else { return Ok(None) };
        audit::note_read(tx, me.caller(&trail).origin(), &me.user)?;
        Ok(Some(me.user))
    };
    let Some(user) = api.store.write(note).await? else { return signed_out(&api, &reader, &which).await };
    let user = Arc::new(user);
    // What fails before the file begins is answered as a failure.
    let (held, next) = part_of(&api, &user, Part::Held).await?;
    let rest = stream::try_unfold((api, user, next), |(api, user, part)| async move {
        let Some(part) = part else { return Ok::<_, Error>(None) };
        let (text, next) = part_of(&api, &user, part).await?;
        Ok(Some((text, (api, user, next))))
    });
    let file = stream::iter([Ok(held)]).chain(rest);
    let headers = [
        (header::CONTENT_TYPE, "application/json; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"my-data.json\""),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::from_stream(file)).into_response())
}

async fn part_of(api: &Api, user: &Arc<User>, part: Part) -> Result<(String, Option<Part>)> {
    let user = Arc::clone(user);
    api.store.scan(move |tx| erasure::export(tx, &user, part)).await
}

/// Nobody is signed in, or no longer: to the app that the address names, if it names one.
async fn signed_out(api: &Api, reader: &Reader, which: &Which) -> Result<Response> {
    let app = which.app()?;
    let find = move |tx: &Tx| app.map(|(app, kind)| apps::environment(tx, app, kind)).transpose();
    let environment = api.store.read(find).await.ok().flatten();
    let words = reader.words(None, environment.as_ref().and_then(|environment| environment.language));
    let brand = environment.as_ref().map(Brand::from).unwrap_or_default();
    Ok(message(StatusCode::OK, words, brand, words.signed_out_title(), words.signed_out()))
}
