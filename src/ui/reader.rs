//! In which language the person at the browser reads.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};

use crate::words::{Language, Words};

/// The words for whoever asks, English where nobody tells a language; and the language that is told.
pub struct Reader(pub &'static Words, pub Option<Language>);

impl Reader {
    /// The words for who is known to read a language, or is at a page of an app that writes one to those of whom none is known.
    pub fn words(&self, person: Option<Language>, app: Option<Language>) -> &'static Words {
        Words::of(best(person, self.1, app))
    }
}

/// The language of a page: its person's, else the one that is told, else that of its app.
pub(super) fn best(person: Option<Language>, told: Option<Language>, app: Option<Language>) -> Language {
    person.or(told).or(app).unwrap_or_default()
}

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let told = language(&parts.uri, &parts.headers);
        Ok(Reader(Words::of(told.unwrap_or_default()), told))
    }
}

/// What the app asks for in `ui_locales` (OpenID Connect Core 3.1.2.1), else what the browser does.
pub fn language(uri: &Uri, headers: &HeaderMap) -> Option<Language> {
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let named = query.filter(|(name, _)| name == "ui_locales").find_map(|(_, tags)| Language::of_list(&tags));
    named.or_else(|| headers.get(header::ACCEPT_LANGUAGE).and_then(|value| Language::of_browser(value.to_str().ok()?)))
}
