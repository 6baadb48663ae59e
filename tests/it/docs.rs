//! The documentation at `/docs`: every page is there, every link leads somewhere, every error code is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::harness::TestApp;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The values of an attribute.
pub fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    html.split(&begin).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

/// Every page that can be reached from the first one by following links, with its HTML.
async fn pages(app: &TestApp) -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut waiting = vec!["/docs".to_owned()];
    while let Some(address) = waiting.pop() {
        if pages.contains_key(&address) {
            continue;
        }
        let answer = app.anyone().get(&address).await;
        assert_eq!(answer.status, 200, "{address}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{address}");
        for to in values(&answer.text, "href") {
            let path = to.split('#').next().unwrap();
            let is_page = path == "/docs" || path.starts_with("/docs/");
            if is_page && path.strip_suffix(".md").is_none() && !pages.contains_key(path) {
                waiting.push(path.to_owned());
            }
        }
        pages.insert(address, answer.text);
    }
    pages
}

#[tokio::test]
async fn every_link_of_every_page_leads_to_something_that_is_there() {
    let app = TestApp::new().await;
    let pages = pages(&app).await;
    let mut elsewhere = BTreeSet::new();
    for (address, html) in &pages {
        for to in values(html, "href") {
            if to.starts_with("https://") {
                continue;
            }
            let (path, anchor) = to.split_once('#').unwrap_or((to, ""));
            let path = if path.is_empty() { address } else { path };
            match pages.get(path) {
                Some(there) if anchor.is_empty() || values(there, "id").contains(&anchor) => {}
                Some(_) => panic!("{address} links to {to}, and there is no such heading"),
                None => _ = elsewhere.insert(path.to_owned()),
            }
        }
    }
    for address in elsewhere {
        assert_eq!(app.anyone().get(&address).await.status, 200, "{address}");
    }
}

#[tokio::test]
async fn every_page_is_reached_and_is_there_as_markdown_and_in_the_lists() {
    let app = TestApp::new().await;
    let pages = pages(&app).await;
    let list = app.anyone().get("/llms.txt").await.ok().text;
    let listed: BTreeSet<String> = list
        .lines()
        .filter_map(|line| line.strip_prefix("- [")?.split("](https://users.example.com").nth(1)?.split(')').next())
        .map(|address| address.strip_suffix(".md").unwrap().replace("/docs/readme", "/docs"))
        .collect();
    assert_eq!(listed, pages.keys().cloned().collect::<BTreeSet<String>>(), "what is listed is what is reached");
    assert!(listed.len() > 60, "{}", listed.len());
    assert!(list.contains(
        "- [PUT /v1/users/{userId}](https://users.example.com/docs/reference/directory/updateUser.md): Change a user\n"
    ));
    let whole = app.anyone().get("/llms-full.txt").await.ok().text;
    for (address, html) in &pages {
        let markdown = values(html, "href").into_iter().find(|to| to.strip_suffix(".md").is_some()).unwrap();
        let answer = app.anyone().get(markdown).await.ok();
        assert_eq!(answer.header("content-type"), "text/markdown; charset=utf-8", "{address}");
        assert!(answer.text.starts_with("# ") && whole.contains(answer.text.trim_end()), "{address}");
    }
    for file in markdown_files() {
        let text = app.anyone().get(&format!("/docs/{}", file.file_name().unwrap().to_str().unwrap())).await.ok().text;
        assert_eq!(text, read(&file), "{} is a page", file.display());
    }
    assert_eq!(app.anyone().get("/docs/nothing").await.status, 404);
    assert_eq!(app.anyone().get("/docs/nothing.md").await.status, 404);
}

#[tokio::test]
async fn every_picture_is_served_small_in_both_themes_with_its_words_beside_and_shown_somewhere() {
    let app = TestApp::new().await;
    let texts: String = markdown_files().into_iter().chain([root().join("README.md")]).map(read).collect();
    let (mut files, mut words) = (BTreeSet::new(), BTreeSet::new());
    for file in std::fs::read_dir(root().join("docs/pictures")).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        // What the page said when it was made: `pictures.mjs` compares.
        if let Some(words_of) = name.strip_suffix(".txt") {
            words.insert(words_of.to_owned());
            continue;
        }
        let (headers, bytes) = app.anyone().bytes(&format!("/docs/pictures/{name}")).await;
        assert!(headers["content-type"] == "image/webp" && bytes == std::fs::read(&file).unwrap(), "{name}");
        assert!(bytes.len() < 200_000, "{name} is large");
        files.insert(name);
    }
    for name in &files {
        let light = name.replace("-dark.", "-light.");
        assert!(files.contains(&light) && files.contains(&light.replace("-light.", "-dark.")), "{name} has no sister");
        assert!(words.contains(light.strip_suffix("-light.webp").unwrap()), "{name} has no words: `just pictures`");
        assert!(texts.contains(&format!("pictures/{light}")), "{name} is shown nowhere");
    }
    assert_eq!(words.len() * 2, files.len(), "words of no picture");
    let shown: BTreeSet<String> = pages(&app).await.values().flat_map(|html| owned(values(html, "src"))).collect();
    assert!(shown.iter().any(|to| to.starts_with("/docs/pictures/")), "{shown:?}");
    for to in shown {
        app.anyone().bytes(&to).await;
    }
}

fn owned(values: Vec<&str>) -> Vec<String> {
    values.into_iter().map(str::to_owned).collect()
}

/// The files of `docs/`.
fn markdown_files() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "md")).collect()
}

/// Links that the pages of a code host have and `/docs` has not: other files of the repository.
#[test]
fn every_file_that_a_text_names_is_in_the_repository() {
    let mut links = 0;
    for file in markdown_files().into_iter().chain([root().join("README.md"), root().join("CHANGELOG.md")]) {
        for to in read(&file).split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let path = to.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") || path.starts_with('/') {
                continue;
            }
            links += 1;
            assert!(file.with_file_name(path).exists(), "{} links to {to}", file.display());
        }
    }
    assert!(links > 50, "{links}");
}

#[tokio::test]
async fn a_page_has_nothing_inline_and_says_so() {
    let app = TestApp::new().await;
    for (address, html) in pages(&app).await {
        for never in ["<style", " style=\"", " onclick=", "javascript:", "<script>"] {
            assert!(!html.contains(never), "{address} has {never}");
        }
        let sources = [values(&html, "src"), values(&html, "action")].concat();
        assert!(sources.iter().all(|to| to.starts_with('/')), "{address}: {sources:?}");
    }
    let answer = app.anyone().get("/docs").await.ok();
    assert!(answer.header("content-security-policy").contains("script-src 'self'"));
}

#[tokio::test]
async fn every_operation_shows_a_request_in_four_languages_and_leads_from_each_status_to_its_codes() {
    let app = TestApp::new().await;
    let pages = pages(&app).await;
    let codes = codes_of_statuses(&pages["/docs/errors"]);
    let mut operations = 0;
    for (address, html) in pages {
        if !address.starts_with("/docs/reference/") || address.matches('/').count() < 4 {
            continue;
        }
        operations += 1;
        let (_, example) = html.split_once("<h2 id=\"example\">").unwrap();
        let example = example.split("<h2 ").next().unwrap();
        let languages = values(example, "value");
        assert_eq!(languages, ["curl", "JavaScript", "Python", "Rust"], "{address}");
        assert_eq!(example.matches("<pre ").count(), languages.len(), "{address}");
        let (_, errors) = html.split_once("<h2 id=\"errors\">").unwrap();
        let rows = errors.split("</table>").next().unwrap();
        let rows: Vec<&str> = rows.split("<tr><td>").skip(1).collect();
        assert!(rows.len() > 3, "{address}: {rows:?}");
        for row in rows {
            let status = row.split('>').nth(1).unwrap().split('<').next().unwrap();
            assert!(row.starts_with(&format!("<a href=\"/docs/errors#status-{status}\">")), "{address}: {row}");
            assert!(codes.contains_key(status), "{address}: no code is explained for {status}");
        }
    }
    assert!(operations > 60, "{operations}");
    for (status, code) in [
        ("400", "invalid_fields"),
        ("403", "read_only_key"),
        ("409", "email_taken"),
        ("409", "idempotency_in_progress"),
    ] {
        assert!(codes[status].contains(code), "{status}: {:?}", codes[status]);
    }
    let of_a_change = app.anyone().get("/docs/reference/directory/updateTenant.md").await.ok().text;
    assert!(of_a_change.contains("-d '{\n  \"companyName\": \"Clinic North\"\n}'"), "{of_a_change}");
}

/// The codes to which each status of the page about errors leads; at each of them the status stands.
fn codes_of_statuses(html: &str) -> BTreeMap<String, BTreeSet<String>> {
    // The page's own contents come behind it.
    let (article, _) = html.split_once("</article>").unwrap();
    let below: BTreeMap<&str, &str> = article
        .split("<h3 id=\"")
        .skip(1)
        .map(|rest| rest.split("<h2 ").next().unwrap().split_once('"').unwrap())
        .collect();
    let mut codes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (anchor, text) in &below {
        let Some(status) = anchor.strip_prefix("status-") else { continue };
        let linked = values(text, "href").into_iter().filter_map(|to| to.strip_prefix('#'));
        for code in linked.filter(|to| to != anchor && below.contains_key(to)) {
            assert!(below[code].contains(&format!("<code>{status}</code>")), "{code} is not {status}");
            codes.entry(status.to_owned()).or_default().insert(code.to_owned());
        }
    }
    codes
}

#[tokio::test]
async fn the_search_finds_titles_headings_and_words_and_shows_what_was_typed_as_text() {
    let app = TestApp::new().await;
    let first = async |query: &str| {
        let html = app.anyone().get(&format!("/docs/search?q={query}")).await.ok().text;
        html.split("<ol class=\"hits\">").nth(1).map(|hits| values(hits, "href")[0].to_owned())
    };
    assert_eq!(first("email_taken").await.as_deref(), Some("/docs/errors#email_taken"));
    assert_eq!(first("quick+start").await.as_deref(), Some("/docs/quick-start"));
    assert_eq!(first("restore+deleted+user").await.as_deref(), Some("/docs/reference/directory/restoreUser"));
    assert_eq!(first("xyzzy").await, None);
    let html = app.anyone().get("/docs/search?q=%3Cscript%3Ealert(1)%3C/script%3E").await.ok().text;
    assert!(!html.contains("<script>alert"), "{html}");
    assert!(app.anyone().get("/docs/search").await.ok().text.contains("Type one or more words"));
}

#[test]
fn every_error_code_of_the_source_is_explained_and_no_other() {
    let explained: BTreeSet<String> = explained().into_iter().map(|entry| entry.code).collect();
    let said = error_codes();
    assert!(said.len() > 60, "{}", said.len());
    assert_eq!(said, explained);
}

#[test]
fn every_error_says_its_status_and_what_to_do() {
    for entry in explained() {
        assert!(!entry.statuses().is_empty(), "{} names no status", entry.code);
        assert!(entry.text.contains("**Do:** "), "{} does not say what to do", entry.code);
    }
}

#[test]
fn every_code_is_listed_at_each_of_its_statuses_and_nowhere_else() {
    let mut lists: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    let mut part = BTreeMap::new();
    for entry in explained() {
        for status in entry.statuses() {
            let list = lists.entry(status).or_default();
            let link = format!("[`{0}`](#{0})", entry.code);
            if part.insert(status, entry.part.clone()).as_ref() == Some(&entry.part) {
                list.push(format!(", {link}"));
            } else {
                let anchor = entry.part.to_lowercase().replace(' ', "-");
                list.push(format!(" - [{}](#{anchor}): {link}", entry.part));
            }
        }
    }
    let lists = lists
        .iter()
        .map(|(status, list)| format!(" ### Status {status}{}", list.concat()))
        .collect::<Vec<_>>()
        .concat();
    let text = read("docs/errors.md");
    let (_, told) = text.split_once("\n## By status\n").unwrap();
    let told: Vec<&str> = told.split_whitespace().collect();
    assert_eq!(told.join(" "), lists.trim_start());
}

/// A code that the page about errors explains.
struct Explained {
    /// The heading above it.
    part: String,
    code: String,
    text: String,
}

impl Explained {
    /// Those that its first sentence names.
    fn statuses(&self) -> Vec<u16> {
        let sentence = self.text.split('.').next().unwrap();
        let numbers = sentence.split('`').filter_map(|word| word.parse::<u16>().ok());
        numbers.filter(|status| (400..600).contains(status)).collect()
    }
}

fn explained() -> Vec<Explained> {
    let text = read("docs/errors.md");
    let (parts, _) = text.split_once("\n## By status\n").unwrap();
    let entries = parts.split("\n## ").skip(1).flat_map(|part| {
        let (heading, entries) = part.split_once('\n').unwrap();
        entries.split("\n### ").skip(1).map(move |entry| {
            let (code, text) = entry.split_once('\n').unwrap();
            Explained { part: heading.to_owned(), code: code.to_owned(), text: text.to_owned() }
        })
    });
    entries.collect()
}

/// The codes that the source makes errors with.
fn error_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                codes.extend(named_in(code));
                if entry.path().ends_with("src/error.rs") {
                    let table = code.split("pub fn code(&self)").nth(1).unwrap().split("\n    }").next().unwrap();
                    codes.extend(table.split("=> \"").skip(1).map(first_text));
                }
            }
        }
    }
    codes
}

/// Those of one file: `bad_request("code", …)`, or a helper of that form, and `{ code: "code", message … }`.
fn named_in(source: &str) -> Vec<String> {
    let mut codes = Vec::new();
    for call in ["bad_request(", "refuse(", "refused("] {
        for rest in source.split(call).skip(1) {
            let Some(text) = rest.trim_start().strip_prefix('"') else { continue };
            let (code, after) = text.split_once('"').unwrap();
            // Of a field error the code is the second argument, one word in small letters.
            let next = after.trim_start_matches(',').trim_start();
            let is_sentence = next.strip_prefix('"').is_none_or(|text| first_text(text).contains(' '));
            if after.starts_with(',') && is_sentence && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                codes.push(code.to_owned());
            }
        }
    }
    for rest in source.split("code: \"").skip(1) {
        let (code, after) = rest.split_once('"').unwrap();
        let is_of_a_field = ["required", "type", "format", "range", "enum", "too_long"].contains(&code);
        if after.trim_start_matches(',').trim_start().starts_with("message") && !is_of_a_field {
            codes.push(code.to_owned());
        }
    }
    codes
}

fn first_text(rest: &str) -> String {
    rest.split('"').next().unwrap().to_owned()
}
