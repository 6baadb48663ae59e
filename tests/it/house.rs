//! The rules of the house, read off the source: who may use whom, and who may call what.

use std::path::{Path, PathBuf};

use usher::api::routes::routes;

use crate::harness::TestApp;

fn sources(below: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(below).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => sources(&entry.path(), into),
            false if entry.path().extension().is_some_and(|e| e == "rs") => into.push(entry.path()),
            false => {}
        }
    }
}

/// A page that asks again by itself keeps no session of an administrator alive.
#[test]
fn what_asks_again_by_itself_says_so() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ui/templates/admin");
    let pages = std::fs::read_dir(folder).unwrap().map(|page| std::fs::read_to_string(page.unwrap().path()).unwrap());
    let text = pages.collect::<String>();
    let asking: Vec<&str> = text.lines().filter(|line| line.contains(r#"hx-trigger="every"#)).collect();
    assert!(asking.len() >= 2, "they were found");
    assert!(asking.iter().all(|line| line.contains(r#"hx-headers='{"Usher-By-Itself": "1"}'"#)), "{asking:?}");
}

/// The names of the source's files and what is in them, but for tests and for the files that may.
fn code(may: &dyn Fn(&str) -> bool) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 40, "the source was found");
    let content = |file: PathBuf| {
        let name = file.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
        let text = std::fs::read_to_string(&file).unwrap();
        (!may(&name)).then(|| (name, text.split("#[cfg(test)]").next().unwrap().to_owned()))
    };
    files.into_iter().filter_map(content).collect()
}

/// Lines of the source that name one of `words`, outside of comments, of tests and of the files that may.
fn naming(words: &[&str], may: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (name, code) in code(may) {
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}: {}", line.trim()));
            }
        }
    }
    found
}

const CONCEPTS: &[&str] = &[
    "admins",
    "apps",
    "audit",
    "tenants",
    "idempotency",
    "imports",
    "users",
    "keys",
    "links",
    "subscriptions",
    "tokens",
    "sessions",
    "codes",
    "signin",
    "ticket.rs",
    "network.rs",
    "mail/mod.rs",
    "outbox/mod.rs",
    "outbox/store.rs",
    "field/",
    "caller.rs",
    "billing/mod.rs",
    "billing/signature.rs",
    "billing/store.rs",
    "webhooks/mod.rs",
    "webhooks/endpoint.rs",
    "webhooks/sign.rs",
    "webhooks/store.rs",
    "roles",
    "erasure",
    "place.rs",
    "wording",
    "words",
    "story.rs",
    "glance.rs",
];

fn is_concept(name: &str) -> bool {
    CONCEPTS.iter().any(|concept| name.starts_with(concept))
}

#[test]
fn only_db_names_a_driver() {
    assert_eq!(naming(&["rusqlite", "tokio_postgres"], &|name| name.starts_with("db/")), Vec::<String>::new());
    assert_eq!(
        naming(&[".postgres", "postgres::", "sqlite::", "\"sqlite:", "\"postgres:"], &|name| name.starts_with("db/")),
        Vec::<String>::new()
    );
}

/// In comments and messages too, but for what an operator types and reads: help, and the titles of pages.
#[test]
fn nothing_above_db_speaks_of_an_engine() {
    let may = |name: &str| name.starts_with("db/") || ["cli/mod.rs", "cli/copy.rs", "ui/docs/book.rs"].contains(&name);
    for (name, code) in code(&may) {
        let spoken =
            code.lines().filter(|line| ["sqlite", "postgres"].iter().any(|it| line.to_lowercase().contains(it)));
        assert_eq!(spoken.collect::<Vec<_>>(), Vec::<&str>::new(), "{name}");
    }
}

#[test]
fn a_concept_names_no_framework_runtime_or_surface() {
    let words = ["axum", "tokio", "hyper", "crate::api", "crate::ui", "crate::cli", "crate::app::"];
    assert_eq!(naming(&words, &|name| !is_concept(name)), Vec::<String>::new());
}

fn may_hold_sql(name: &str) -> bool {
    name.ends_with("store.rs") || name.contains("/store/") || name.starts_with("db/")
}

#[test]
fn sql_stands_in_stores_and_nowhere_else() {
    let words = [
        "\"SELECT ",
        "\"INSERT ",
        "\"UPDATE ",
        "\"DELETE ",
        "tx.query",
        "tx.execute",
        "tx.insert",
        "tx.add",
        "tx.run",
        "tx.change_one",
    ];
    assert_eq!(naming(&words, &may_hold_sql), Vec::<String>::new());
}

/// What one of SQLite, PostgreSQL, CockroachDB and YugabyteDB does not have, or does in its own way. `SKIP LOCKED` is among it,
/// though all but SQLite have it by now: YugabyteDB had it for some isolation levels only (yugabyte/yugabyte-db#9929).
const OF_ONE_ENGINE: &[&str] = &[
    "TRIGGER",
    "FUNCTION",
    "PROCEDURE",
    "SERIAL",
    "AUTOINCREMENT",
    "JSONB",
    "TIMESTAMP",
    "INTERVAL",
    "ARRAY",
    "ANY",
    "LISTEN",
    "NOTIFY",
    "PRAGMA",
    "EXTENSION",
    "LATERAL",
    "SKIP",
    "NOWAIT",
    "LOCK",
    "MERGE",
    "REPLACE",
    "GLOB",
    "ILIKE",
    "TRUNCATE",
    "VACUUM",
    "COLLATE",
    "MATERIALIZED",
    "DEFERRABLE",
    "DEFERRED",
    "CTID",
    "ROWID",
];

fn of_one_engine(sql: &str) -> Vec<&str> {
    let words = sql.split(|c: char| !c.is_alphanumeric() && c != '_');
    let own = |word: &&str| OF_ONE_ENGINE.contains(word) || ["pg_", "sqlite_"].iter().any(|own| word.starts_with(own));
    // CockroachDB does not guess the types of a table of parameters.
    // The last two: CockroachDB does not guess the types of a table of parameters, and divides integers into a decimal number.
    let signs = ["::", "(VALUES (", " / "].into_iter().flat_map(|sign| sql.matches(sign));
    words.filter(own).chain(signs).collect()
}

/// The texts between quotation marks.
fn texts(code: &str) -> Vec<String> {
    let (mut texts, mut rest) = (Vec::new(), code.replace("'\"'", "").replace("\\\"", ""));
    while let Some((_, after)) = rest.split_once('"') {
        let Some((text, after)) = after.split_once('"') else { break };
        texts.push(text.to_owned());
        rest = after.to_owned();
    }
    texts
}

#[test]
fn every_statement_is_in_words_that_every_engine_knows() {
    let engines = ["db/postgres.rs", "db/sqlite.rs", "db/backup/mod.rs", "db/backup/check.rs", "db/backup/restore.rs"];
    let (mut statements, mut found) = (0, Vec::new());
    for (name, code) in code(&|name| !may_hold_sql(name) || engines.contains(&name)) {
        let is_code = |line: &&str| !["//", "#["].iter().any(|other| line.trim_start().starts_with(other));
        let code: String = code.lines().filter(is_code).collect();
        for text in texts(&code) {
            statements +=
                usize::from(["SELECT ", "INSERT ", "UPDATE ", "DELETE "].iter().any(|word| text.starts_with(word)));
            found.extend(of_one_engine(&text).into_iter().map(|word| format!("{name}: {word} in {text}")));
        }
    }
    assert!(statements > 150, "the statements were found: {statements}");
    assert_eq!(found, Vec::<String>::new());
    for (sql, word) in [
        ("SELECT id FROM outbox FOR UPDATE SKIP LOCKED", "SKIP"),
        ("SELECT id::text FROM users", "::"),
        ("SELECT pg_advisory_lock($1)", "pg_advisory_lock"),
        ("INSERT OR REPLACE INTO meta (name) VALUES ($1)", "REPLACE"),
        ("SELECT column1 FROM (VALUES ($1), ($2)) AS wanted", "(VALUES ("),
        ("SELECT created_at / 1000 FROM users", " / "),
    ] {
        assert_eq!(of_one_engine(sql), [word]);
    }
}

#[test]
fn tables_are_made_in_words_that_every_engine_knows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        let sql = std::fs::read_to_string(&file).unwrap().to_uppercase();
        let statements = sql.lines().map(|line| line.split("--").next().unwrap()).collect::<Vec<_>>().join(" ");
        let all = of_one_engine(&statements);
        assert!(all.is_empty(), "{}: {all:?}", file.display());
        let has = |words: &[&str]| words.iter().any(|word| statements.split_whitespace().any(|it| it == *word));
        let tables_and_rows = has(&["CREATE", "ALTER", "DROP"]) && has(&["INSERT", "UPDATE", "DELETE"]);
        assert!(!tables_and_rows, "{}: what changes tables and what changes rows are two migrations", file.display());
    }
}

#[test]
fn http_and_pages_do_not_know_the_app_and_only_the_app_spawns() {
    assert_eq!(
        naming(&["crate::app::", "crate::cli"], &|name| !name.starts_with("api/") && !name.starts_with("ui/")),
        Vec::<String>::new()
    );
    assert_eq!(naming(&["tokio::spawn"], &|name| ["app.rs", "db/postgres.rs"].contains(&name)), Vec::<String>::new());
}

#[tokio::test]
async fn the_public_routes_are_these_and_no_others() {
    let app = TestApp::new().await;
    let mut public = Vec::new();
    for route in routes() {
        let path = route
            .path
            .replace("{userId}", "me")
            .replace("{sessionId}", "x")
            .replace("{appId}", "x")
            .replace("{tenantId}", "me")
            .replace("{accessStatus}", "0")
            .replace("{link}", "x")
            .replace("{*page}", "errors")
            .replace("{file}", "usher.css")
            .replace("{date}", "2023-10-04.json");
        let status = app.anyone().send(route.method, &path, "{}").await.status;
        if !matches!(status, 401 | 403) {
            public.push(format!("{} {}", route.method, route.path));
        }
    }
    assert_eq!(
        public,
        [
            "POST /v1/tokens",
            "POST /oauth/token",
            "POST /oauth/revoke",
            "GET /sign-in",
            "POST /sign-in",
            "GET /authorize",
            "POST /authorize",
            "GET /sign-in/code",
            "POST /sign-in/code",
            "GET /",
            "GET /links/{link}",
            "POST /links/{link}",
            "POST /links/{link}/renew",
            "GET /profile",
            "POST /profile",
            "POST /profile/data",
            "POST /profile/sign-out-everywhere",
            "GET /sign-out",
            "POST /sign-out",
            "GET /docs",
            "GET /docs/search",
            "GET /docs/{*page}",
            "GET /llms.txt",
            "GET /llms-full.txt",
            "GET /brand/{file}",
            "GET /assets/{file}",
            "POST /theme",
            "GET /admin/sign-in",
            "POST /admin/sign-in",
            "GET /admin/setup/{link}",
            "POST /admin/setup/{link}",
            "GET /admin/links/{link}",
            "POST /admin/links/{link}",
            "GET /.well-known/openid-configuration",
            "GET /.well-known/jwks.json",
            "GET /sandbox/.well-known/openid-configuration",
            "GET /sandbox/.well-known/jwks.json",
            "POST /webhooks/stripe/{account}",
            "GET /favicon.ico",
            "GET /openapi",
            "GET /openapi/partner/{date}",
            "GET /openapi/directory.json",
            "GET /openapi/sign-in.json",
            "GET /livez",
            "GET /readyz",
            "GET /metrics",
        ]
    );
}
