//! How an app's pages look: its logo, and a style sheet with its colour, for the pages' policy allows no style in them.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, Uri, header};
use axum::response::{IntoResponse, Response};

use super::reader::best;
use super::{cookies, sign_in};
use crate::api::Api;
use crate::api::body::Form;
use crate::apps::{self, AppId, Color, Environment, Kind, Logo};
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::links;
use crate::secret::Secret;
use crate::signin;
use crate::words::Language;

/// For which app a page speaks.
#[derive(Clone, Copy, Default)]
pub(super) struct Brand<'a> {
    /// The app's name; empty where no app is known.
    pub(super) name: &'a str,
    pub(super) sandbox: bool,
    color: Option<Color>,
    logo: Option<&'a str>,
}

impl<'a> From<&'a Environment> for Brand<'a> {
    fn from(environment: &'a Environment) -> Brand<'a> {
        Brand {
            name: &environment.app_name,
            sandbox: environment.kind == Kind::Sandbox,
            color: environment.color,
            logo: environment.logo.as_deref(),
        }
    }
}

impl Brand<'_> {
    /// Where the style sheet with the app's colour is.
    pub(super) fn sheet(&self) -> Option<String> {
        self.color.map(|color| format!("/brand/{}.css", color.to_string().trim_start_matches('#')))
    }

    /// Where the app's logo is.
    pub(super) fn picture(&self) -> Option<String> {
        self.logo.map(|name| format!("/brand/{name}"))
    }
}

/// What is at an address never changes.
const FOR_GOOD: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
/// Whoever opens a logo by itself opens a picture and nothing more.
const PICTURE: (HeaderName, &str) = (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");

/// `GET /brand/{file}`: a colour, `rrggbb.css`, or a logo by the name that its content gives it.
pub async fn get(State(api): State<Api>, Path(file): Path<String>) -> Result<Response> {
    if let Some(digits) = file.strip_suffix(".css") {
        let color = Color::parse(&format!("#{digits}")).ok_or(Error::NoRoute)?;
        return Ok(([(header::CONTENT_TYPE, "text/css; charset=utf-8"), FOR_GOOD], sheet(color)).into_response());
    }
    let kind = (header::CONTENT_TYPE, Logo::media_type(&file));
    let bytes = api.store.read(move |tx| apps::logo(tx, &file)).await?.ok_or(Error::NoRoute)?;
    Ok(([kind, PICTURE, FOR_GOOD], bytes).into_response())
}

/// Under the pointer, a button keeps its colour, for the text on it can be read on that one and perhaps on no other.
fn sheet(color: Color) -> String {
    format!(
        ".page {{ --brand: {color}; --on-brand: {}; }}\n\
         .page button:not(.plain):hover {{ filter: none; text-decoration: underline; }}\n",
        color.text()
    )
}

/// A request for a page, as far as it tells for whom that is.
pub struct Visit {
    uri: Uri,
    /// The sign-in that the browser has begun.
    begun: Option<Secret>,
}

/// For whom a page is that could not be made.
pub struct Place {
    /// The app.
    pub environment: Environment,
    /// The language of the person, or of the sign-in.
    language: Option<Language>,
}

impl Place {
    /// The language of the page, where this one is told.
    pub fn language(&self, told: Option<Language>) -> Language {
        best(self.language, told, self.environment.language)
    }
}

impl Visit {
    /// What a request tells.
    pub fn of(api: &Api, uri: &Uri, headers: &HeaderMap) -> Visit {
        Visit { uri: uri.clone(), begun: cookies::secret(api, headers, sign_in::BEGUN) }
    }

    /// For whom its page would have been, if that is known.
    pub async fn place(&self, api: &Api) -> Option<Place> {
        let link = |below: &str| self.uri.path().strip_prefix(below)?.split('/').next().map(Secret::new);
        let (enrolment, sign_in) = (link("/links/"), link("/sign-in/links/"));
        let begun = self.begun.clone().filter(|_| self.uri.path() == "/sign-in/code");
        let query = Form::parse(self.uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
        let app: Option<AppId> = query.get("client_id").and_then(|id| id.parse().ok());
        let kind = query.get("environment").and_then(Kind::named);
        let redirect = query.get("redirect_uri").map(str::to_owned);
        if enrolment.is_none() && sign_in.is_none() && begun.is_none() && app.is_none() {
            return None;
        }
        let find = move |tx: &Tx| -> Result<Option<Place>> {
            if let Some(link) = &enrolment {
                let page = links::look(tx, link)?;
                return Ok(page.map(|page| Place { environment: page.environment, language: page.language }));
            }
            let asked = match (&sign_in, &begun) {
                (Some(link), _) => signin::look(tx, link, None)?,
                (None, Some(begun)) => signin::of_browser(tx, begun)?,
                (None, None) => None,
            };
            if let Some(page) = asked {
                return Ok(Some(Place { environment: page.environment, language: Some(page.language) }));
            }
            let environment = match (app, &redirect, kind) {
                (Some(app), Some(uri), _) => apps::environment_of_redirect(tx, app, uri)?,
                (Some(app), None, Some(kind)) => Some(apps::environment(tx, app, kind)?),
                _ => None,
            };
            Ok(environment.map(|environment| Place { environment, language: None }))
        };
        api.store.read(find).await.ok().flatten()
    }
}
