//! Clients that are not ours: axios, fetch and OpenAPI tools under Node, and Chromium. `tests/setup` installs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::skip;
use crate::program::Program;

#[test]
fn the_documented_examples_work_verbatim_under_axios_and_fetch() {
    node("contract/examples.mjs");
}

#[test]
fn real_clients_are_understood_and_understand_the_errors() {
    node("contract/callers.mjs");
}

#[test]
fn tokens_pass_the_official_clients_checks() {
    node("contract/tokens.mjs");
}

#[test]
fn an_openid_connect_client_that_is_not_ours_signs_a_person_in() {
    node("contract/openid.mjs");
}

#[test]
fn an_app_on_another_origin_signs_a_person_in_with_the_official_clients_calls() {
    node("browser/signin.mjs");
}

#[test]
fn the_official_browser_client_signs_in_refreshes_silently_too_and_signs_out() {
    node("browser/official.mjs");
}

#[test]
fn the_openapi_documents_are_valid_for_a_validator_that_is_not_ours() {
    node("contract/documents.mjs");
}

#[test]
fn a_person_follows_their_link_in_a_browser_and_changes_their_profile() {
    node("browser/profile.mjs");
}

#[test]
fn the_documentation_is_read_searched_and_tried_in_a_browser() {
    node("browser/docs.mjs");
}

#[test]
fn a_link_ends_at_the_apps_own_page_in_a_browser() {
    node("browser/redirect.mjs");
}

#[test]
fn an_administrator_works_on_the_dashboard_in_a_browser() {
    node("browser/dashboard.mjs");
}

#[test]
fn an_owner_sets_how_an_app_looks_and_what_its_mails_say_in_a_browser() {
    node("browser/brand.mjs");
}

/// Runs a script below `tests/` against a server of its own; fails as it fails.
#[track_caller]
fn node(script: &str) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let script = tests.join(script);
    let Some(node) = find("node") else { return skip(&name(&script), "there is no Node.js") };
    if !script.with_file_name("node_modules").is_dir() {
        return skip(&name(&script), "its Node packages are not installed (tests/setup installs them)");
    }
    let chromium = find("chromium");
    if script.starts_with(tests.join("browser")) && chromium.is_none() {
        return skip(&name(&script), "there is no Chromium (tests/setup installs it)");
    }
    let program = Program::start(&[]);
    let mut command = Command::new(node);
    command
        .arg(&script)
        .env("SERVER_URL", &program.url)
        .env("API_KEY", &program.key)
        .env("CLIENT_ID", &program.client_id)
        .env("PROGRAM", env!("CARGO_BIN_EXE_usher"))
        .env("DATA", &program.folder.0)
        .envs(program.folder.database().map(|url| ("DATABASE", url)))
        .envs(chromium.map(|path| ("CHROMIUM", path)))
        // A machine's proxy does not lead to this machine.
        .env("NO_PROXY", "*");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

fn name(script: &Path) -> String {
    script.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A program on the path.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
