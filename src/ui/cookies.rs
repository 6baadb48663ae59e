//! The cookies of the pages. A secret is this host's alone: behind TLS its name says so to the browser, which then takes it from no
//! other host of the domain, and gives it to none (RFC 6265bis, 4.1.3.2). Whoever asks here names it without that.
//!
//! What a cookie is for, it must not know.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

use crate::api::{Api, ascii};
use crate::secret::Secret;

/// What the name of a secret begins with behind TLS, and what its cookie ends with.
fn bounds(api: &Api) -> (&'static str, &'static str) {
    if api.links.public_url.scheme() == "https" { ("__Host-", "; Secure") } else { ("", "") }
}

/// What the browser sent, by whole names. Another host of the domain can have it send bytes of any kind beside what is ours.
fn sent(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).filter(|pair| pair.is_ascii());
    pairs.filter_map(|pair| std::str::from_utf8(pair).ok()?.trim_matches([' ', '\t']).split_once('='))
}

/// A cookie that is no secret and that any host of the domain may set.
pub(super) fn open<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    sent(headers).find(|(given, _)| *given == name).map(|(_, value)| value)
}

/// The secrets that the browser sent, with their names.
pub(super) fn secrets<'a>(api: &Api, headers: &'a HeaderMap) -> impl Iterator<Item = (&'a str, Secret)> {
    let (prefix, _) = bounds(api);
    sent(headers).filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?, Secret::new(value))))
}

/// The secret of that name.
pub(super) fn secret(api: &Api, headers: &HeaderMap, name: &str) -> Option<Secret> {
    secrets(api, headers).find(|(given, _)| *given == name).map(|(_, value)| value)
}

/// The value of `Set-Cookie` that has a browser keep a secret, for as long as it runs if no age is named. Lax and not strict: who
/// follows a link from a mail is signed in.
pub(super) fn keep(api: &Api, name: &str, value: &str, age: Option<Duration>) -> HeaderValue {
    let (prefix, secure) = bounds(api);
    let age = age.map(|age| format!("; Max-Age={}", age.as_secs())).unwrap_or_default();
    ascii(&format!("{prefix}{name}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}"))
}

/// The value of `Set-Cookie` that takes a secret away.
pub(super) fn gone(api: &Api, name: &str) -> HeaderValue {
    keep(api, name, "", Some(Duration::ZERO))
}
