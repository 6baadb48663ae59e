//! In which language the person at the browser reads.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};

use crate::words::{Language, Words};

/// The words for whoever asks.
pub struct Reader(pub &'static Words);

impl<S: Sync> FromRequestParts<S> for Reader {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Reader(Words::of(language(&parts.uri, &parts.headers).unwrap_or_default())))
    }
}

/// What the app asks for in `ui_locales` (OpenID Connect Core 3.1.2.1), else what the browser does.
pub fn language(uri: &Uri, headers: &HeaderMap) -> Option<Language> {
    let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let named = query.filter(|(name, _)| name == "ui_locales").find_map(|(_, tags)| Language::of_list(&tags));
    named.or_else(|| headers.get(header::ACCEPT_LANGUAGE).and_then(|value| Language::of_browser(value.to_str().ok()?)))
}
