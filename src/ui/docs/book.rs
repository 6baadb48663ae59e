//! The pages in their order: the files of `docs/`, and those made from the version files and the OpenAPI documents.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::changes;
use super::example::TryIt;
use super::markdown::{self, Part};
use super::pictures;
use super::reference;

/// A file of `docs/`: its name without `.md`, what it is called beside other pages, and its text.
type Written = (&'static str, &'static str, &'static str);

macro_rules! written {
    ($($file:literal $name:literal)*) => { &[$(($file, $name, include_str!(concat!("../../../docs/", $file, ".md")))),*] };
}

/// Every file of `docs/` in reading order, by chapter. A test insists that none is left out.
#[rustfmt::skip]
const CHAPTERS: &[(&str, &[Written])] = &[
    ("Start", written!(
        "README" "Overview"
        "quick-start" "Quick start"
        "concepts" "Concepts"
    )),
    ("How to", written!(
        "enrol" "Enrol from your backend"
        "sign-in" "Sign in from a web app"
        "webhooks" "Receive webhooks"
        "import" "Import a clinic's list"
        "upgrade-api-date" "Upgrade an API date"
        "postgresql" "Move to PostgreSQL"
        "production" "Run it for real"
    )),
    ("The APIs", written!(
        "API" "The rules of the APIs"
        "errors" "Errors"
    )),
    ("Operate", written!(
        "OPERATIONS" "Operations"
        "SECURITY" "Security"
        "RELIABILITY" "Reliability"
        "PERFORMANCE" "Performance"
    )),
    ("The project", written!(
        "ARCHITECTURE" "Architecture"
        "CONTRIBUTING" "Contributing"
    )),
];

/// A page before it is laid out.
pub struct Draft {
    /// Its address below `/docs/`.
    pub path: String,
    /// What it is called beside others.
    pub name: String,
    /// Its text.
    pub source: Cow<'static, str>,
    /// Of an operation, its method and path.
    pub operation: Option<(String, String)>,
    /// Of an operation, a form to try it.
    pub try_it: Option<TryIt>,
}

/// A page.
pub struct Page {
    /// Its address below `/docs/`; empty for the first.
    pub path: String,
    /// What it is called beside others.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What it says first, in a line.
    pub summary: String,
    /// Its text in Markdown.
    pub source: Cow<'static, str>,
    /// Its text in HTML.
    pub html: String,
    /// Its headings and words.
    pub parts: Vec<Part>,
    /// Of an operation, its method and path.
    pub operation: Option<(String, String)>,
    /// Of an operation, a form to try it.
    pub try_it: Option<TryIt>,
}

impl Page {
    fn new(draft: Draft) -> Page {
        let text = markdown::render(&draft.source, &link);
        let title = text.parts.first().map_or_else(String::new, |part| part.title.clone());
        let paragraph = draft.source.split("\n\n").find(|block| block.starts_with(|c: char| c.is_alphabetic()));
        let summary = paragraph.unwrap_or_default().replace('\n', " ");
        let Draft { path, name, source, operation, try_it } = draft;
        Page { path, name, title, summary, source, html: text.html, parts: text.parts, operation, try_it }
    }

    /// Where it is.
    pub fn address(&self) -> String {
        if self.path.is_empty() { "/docs".to_owned() } else { format!("/docs/{}", self.path) }
    }

    /// Where its text in Markdown is.
    pub fn markdown(&self) -> String {
        format!("/docs/{}.md", if self.path.is_empty() { "readme" } else { &self.path })
    }

    /// The headings that the page's own table of contents lists.
    pub fn contents(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| matches!(part.level, 2 | 3))
    }
}

/// Pages that belong together.
pub struct Chapter {
    /// What it is called.
    pub name: String,
    /// What stands above it in the contents, if it is not one more of the same.
    pub heading: Option<String>,
    /// Whether it is a part of the reference, whose pages are listed only beside each other.
    pub reference: bool,
    /// Its pages, by their place in the book.
    pages: std::ops::Range<usize>,
}

/// All pages.
pub struct Book {
    /// The chapters in their order.
    pub chapters: Vec<Chapter>,
    /// The pages in their order.
    pub pages: Vec<Page>,
}

/// The book.
pub static BOOK: LazyLock<Book> = LazyLock::new(Book::new);

impl Book {
    fn new() -> Book {
        let mut book = Book { chapters: Vec::new(), pages: Vec::new() };
        for (name, files) in CHAPTERS {
            let mut drafts: Vec<Draft> =
                files.iter().map(|(file, name, text)| draft(&slug(file), name, *text)).collect();
            match *name {
                "The APIs" => drafts.push(draft("api-changes", "Changes by API date", changes::page())),
                "The project" => {
                    drafts.push(draft("changelog", "Release notes", include_str!("../../../CHANGELOG.md")));
                }
                _ => {}
            }
            book.add(name, false, drafts);
        }
        for drafts in reference::parts() {
            let name = drafts[0].name.clone();
            book.add(&name, true, drafts);
        }
        book
    }

    fn add(&mut self, name: &str, reference: bool, drafts: Vec<Draft>) {
        let first = self.pages.len();
        let heading = match self.chapters.last() {
            Some(last) if reference && last.reference => None,
            _ if reference => Some("API reference".to_owned()),
            _ => Some(name.to_owned()),
        };
        self.pages.extend(drafts.into_iter().map(Page::new));
        self.chapters.push(Chapter { name: name.to_owned(), heading, reference, pages: first..self.pages.len() });
    }

    /// The pages of a chapter.
    pub fn of(&self, chapter: &Chapter) -> &[Page] {
        &self.pages[chapter.pages.clone()]
    }

    /// Whether the page with that path is one of the chapter.
    pub fn is_open(&self, chapter: &Chapter, path: &str) -> bool {
        self.of(chapter).iter().any(|page| page.path == path)
    }

    /// The place of the page with that address below `/docs/`, in any case: files of `docs/` have capitals.
    pub fn find(&self, path: &str) -> Option<usize> {
        let path = if path.eq_ignore_ascii_case("readme") { "" } else { path };
        self.pages.iter().position(|page| page.path.eq_ignore_ascii_case(path))
    }
}

fn draft(path: &str, name: &str, source: impl Into<Cow<'static, str>>) -> Draft {
    Draft { path: path.to_owned(), name: name.to_owned(), source: source.into(), operation: None, try_it: None }
}

fn slug(file: &str) -> String {
    if file == "README" { String::new() } else { file.to_lowercase() }
}

/// Where a link of a text leads here. Other files of the repository are not served, so links to them are none.
fn link(to: &str) -> Option<String> {
    if to.starts_with("https://") || to.starts_with('#') || to.starts_with('/') {
        return Some(to.to_owned());
    }
    let (path, anchor) = to.split_once('#').map_or((to, String::new()), |(path, anchor)| (path, format!("#{anchor}")));
    let path = path.trim_start_matches("../").trim_start_matches("docs/");
    if pictures::find(path).is_some() {
        return Some(format!("/docs/{path}"));
    }
    let (file, is_page) = path.strip_suffix(".md").map_or((path, false), |file| (file, true));
    match file {
        "CHANGELOG" => Some(format!("/docs/changelog{anchor}")),
        "openapi" | "openapi/" => Some("/openapi".to_owned()),
        _ if is_page => {
            let mut files = CHAPTERS.iter().flat_map(|(_, files)| files.iter());
            let (file, ..) = files.find(|(name, ..)| *name == file)?;
            let slug = slug(file);
            Some(if slug.is_empty() { format!("/docs{anchor}") } else { format!("/docs/{slug}{anchor}") })
        }
        _ => None,
    }
}
