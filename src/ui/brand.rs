//! How an app's pages look: its logo, and a style sheet with its colour, for the pages' policy allows no style in them.

use axum::extract::{Path, State};
use axum::http::{HeaderName, Uri, header};
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::body::Form;
use crate::apps::{self, AppId, Color, Environment, Kind, Logo};
use crate::codes::Parameters;
use crate::db::Tx;
use crate::error::{Error, Result};
use crate::links;
use crate::secret::Secret;

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

/// The app of a page that could not be made, as far as its address tells.
pub async fn place(api: &Api, uri: &Uri) -> Option<Environment> {
    let link = uri.path().strip_prefix("/links/").and_then(|rest| rest.split('/').next()).map(Secret::new);
    let query = Form::parse(uri.query().unwrap_or_default().as_bytes()).unwrap_or_default();
    let app: Option<AppId> = query.get("client_id").and_then(|id| id.parse().ok());
    let kind = query.get("environment").and_then(Kind::named);
    let redirect = query.get("redirect_uri").map(str::to_owned);
    if link.is_none() && app.is_none() {
        return None;
    }
    let find = move |tx: &Tx| match (&link, app, &redirect, kind) {
        (Some(link), ..) => Ok(links::look(tx, link)?.map(|page| page.environment)),
        (None, Some(app), Some(uri), _) => apps::environment_of_redirect(tx, app, uri),
        (None, Some(app), None, Some(kind)) => apps::environment(tx, app, kind).map(Some),
        _ => Ok(None),
    };
    api.store.read(find).await.ok().flatten()
}
