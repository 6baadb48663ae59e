//! The documentation at `/docs`, made from `docs/` and the OpenAPI documents. Every page is also plain Markdown.
//!
//! Knows texts and requests; must not know the store.

mod book;
mod changes;
mod example;
mod highlight;
mod markdown;
mod pictures;
mod reference;
mod request;
mod search;

use std::fmt::Write;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::page;
use super::theme::Theme;
use crate::api::Api;
use crate::error::{Error, Result};
use book::{BOOK, Book, Page};
use search::Hit;

#[derive(Template)]
#[template(path = "docs/page.html")]
struct PageView<'a> {
    book: &'static Book,
    here: &'a str,
    theme: Theme,
    page: &'a Page,
    previous: Option<&'a Page>,
    next: Option<&'a Page>,
}

#[derive(Template)]
#[template(path = "docs/search.html")]
struct SearchView<'a> {
    book: &'static Book,
    here: &'a str,
    theme: Theme,
    query: &'a str,
    hits: Vec<Hit<'a>>,
}

/// `GET /docs`
pub async fn home(headers: HeaderMap) -> Result<Response> {
    show(Path(String::new()), headers).await
}

/// `GET /docs/{page}`, and with `.md` its text; or a picture of one
pub async fn show(Path(path): Path<String>, headers: HeaderMap) -> Result<Response> {
    if let Some(bytes) = pictures::find(&path) {
        return Ok(([(header::CONTENT_TYPE, "image/webp"), (header::CACHE_CONTROL, "no-cache")], bytes).into_response());
    }
    let book = &*BOOK;
    if let Some(path) = path.strip_suffix(".md") {
        let at = book.find(path).ok_or(Error::NoRoute)?;
        return Ok(text("text/markdown; charset=utf-8", book.pages[at].source.to_string()));
    }
    let at = book.find(&path).ok_or(Error::NoRoute)?;
    let (this, previous, next) = (&book.pages[at], at.checked_sub(1).map(|at| &book.pages[at]), book.pages.get(at + 1));
    let theme = Theme::of(&headers);
    let mut response = page(&PageView { book, here: &this.path, theme, page: this, previous, next });
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// What is looked for.
#[derive(Deserialize)]
pub struct Wanted {
    #[serde(default)]
    q: String,
}

/// `GET /docs/search`
pub async fn find(Query(wanted): Query<Wanted>, headers: HeaderMap) -> Response {
    let book = &*BOOK;
    let query: String = wanted.q.chars().take(100).collect();
    let (theme, hits) = (Theme::of(&headers), search::search(book, &query));
    page(&SearchView { book, here: "search", theme, query: &query, hits })
}

/// `GET /llms.txt`: the pages with a line about each, for programs that read (llmstxt.org)
pub async fn llms(State(api): State<Api>) -> Response {
    let base = api.links.public_url.as_str().trim_end_matches('/');
    let mut list = format!(
        "# Usher\n\n> A self-hosted user service: partners enrol people over a dated API, apps manage them over a directory API, people sign in by link.\n\nEverything in one file: {base}/llms-full.txt\n"
    );
    for chapter in &BOOK.chapters {
        let _ = writeln!(list, "\n## {}\n", chapter.name);
        for page in BOOK.of(chapter) {
            let (name, about) = match &page.operation {
                Some((method, path)) => (format!("{method} {path}"), &page.title),
                None => (page.title.clone(), &page.summary),
            };
            let _ = writeln!(list, "- [{name}]({base}{}): {about}", page.markdown());
        }
    }
    text("text/plain; charset=utf-8", list)
}

/// `GET /llms-full.txt`: all pages, one after the other
pub async fn llms_full() -> Response {
    let all: Vec<&str> = BOOK.pages.iter().map(|page| page.source.trim_end()).collect();
    text("text/plain; charset=utf-8", all.join("\n\n---\n\n") + "\n")
}

fn text(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}
