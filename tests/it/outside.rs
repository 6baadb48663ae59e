//! Clients that are not ours: axios, fetch and OpenAPI tools under Node, and Chromium. `tests/setup` installs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use usher::api::Surface;
use usher::api::routes::routes;
use usher::apps::{self, AppId};
use usher::clock::Timestamp;
use usher::db::Tx;
use usher::error::Result;
use usher::mail;
use usher::outbox::{self, Job, JobId, Payload, State};
use usher::users::UserId;
use usher::words::Language;
use uuid::Uuid;

use crate::cluster::on_postgres;
use crate::harness::{Folder, TestApp, skip};
use crate::program::{Program, free_port};

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
    // They come from no database.
    if !on_postgres() {
        node("contract/documents.mjs");
    }
}

#[test]
fn a_person_follows_their_link_in_a_browser_and_changes_their_profile() {
    node("browser/profile.mjs");
}

#[test]
fn the_documentation_is_read_searched_and_tried_in_a_browser() {
    // Its pages come from no database.
    if !on_postgres() {
        let pages = paths(|surface| surface == Surface::Pages);
        run("browser/docs.mjs", &[], &[("ROUTES", &pages)]);
    }
}

#[test]
fn a_link_ends_at_the_apps_own_page_in_a_browser() {
    node("browser/redirect.mjs");
}

#[test]
fn the_story_of_the_readme_from_an_empty_directory_to_a_webhook_takes_less_than_a_minute() {
    let Some(mut command) = command("browser/first-minute.mjs") else { return };
    let folder = Folder::new();
    command.current_dir(&folder.0).env("USHER_DATABASE", folder.database().unwrap_or_default());
    let output = succeed(command);
    assert!(output.contains(" s in all"), "{output}");
}

#[tokio::test]
async fn every_mail_is_for_everybody_in_a_browser() {
    // Which database its words come from makes no difference to how it looks.
    if on_postgres() {
        return;
    }
    let (app, folder) = (TestApp::new().await, Folder::new());
    let id = app.client_id;
    for (name, html) in app.store().read(move |tx| every_mail(tx, id)).await.unwrap() {
        std::fs::write(folder.0.join(format!("{name}.html")), html).unwrap();
    }
    run("browser/mails.mjs", &[], &[("MAILS", folder.0.to_str().unwrap())]);
}

/// Every kind of mail in every language, by name.
fn every_mail(tx: &Tx, app: AppId) -> Result<Vec<(String, String)>> {
    let environment = apps::environment(tx, app, apps::Kind::Sandbox)?.id;
    let render = |kind: outbox::Kind, language: Language| {
        let payload = json!({
            "to": "jane@doe.com", "name": "Jane", "app": "Acme Coaching", "language": language, "code": "271828",
            "link": format!("https://users.example.com/links/{}", "A1b2".repeat(16)), "lifetime_seconds": 86_400,
            "environment": "sandbox", "webhook": "0199d3a4-7c1e-4f5a-9b21-3f0a6b1c2d3e",
        });
        let job = Job {
            id: JobId(Uuid::nil()),
            environment,
            user: UserId(Uuid::nil()),
            kind,
            payload: Some(Payload(payload)),
            state: State::Captured,
            attempts: 0,
            round: 0,
            created_at: Timestamp(0),
            due_at: None,
            failure: None,
        };
        let mail = mail::render(tx, &job)?.expect("a mail");
        Ok((format!("{}-{}", kind.as_str(), language.tag()), mail.html))
    };
    let kinds = outbox::Kind::MAILS.iter();
    kinds.flat_map(|kind| Language::ALL.iter().map(|language| render(*kind, *language))).collect()
}

/// `just pictures` names the folder; else what the pages say is compared with what those in it showed.
#[test]
fn the_pictures_of_the_documentation_are_made_in_a_browser_and_show_what_the_pages_say() {
    // Which database is behind them makes no difference.
    if !on_postgres() {
        node("browser/pictures.mjs");
    }
}

#[test]
fn every_hosted_page_is_for_everybody_in_a_browser() {
    let pages = paths(|surface| surface == Surface::Pages);
    run("browser/hosted.mjs", &[], &[("ROUTES", &pages)]);
}

#[test]
fn an_administrator_does_everything_that_can_be_done_on_the_dashboard_in_a_browser() {
    let port = free_port().to_string();
    let smtp = format!("smtp://127.0.0.1:{port}?tls=none");
    let settings = ["--webhook-network", "127.0.0.0/8", "--smtp-url", &smtp, "--public-url", "{url}"];
    let pages = paths(|surface| matches!(surface, Surface::Admin | Surface::Pages));
    let Some(command) = command("browser/dashboard.mjs") else { return };
    let program = Program::first_start(&settings);
    against(&program, command, &[("ROUTES", &pages), ("SMTP_PORT", &port), ("SETUP", &program.setup)]);
}

/// The routes of a surface, a line each.
fn paths(of: fn(Surface) -> bool) -> String {
    let routes = routes().into_iter().filter(|route| of(route.surface));
    routes.map(|route| format!("{} {}", route.method, route.path)).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_owner_sets_how_an_app_looks_and_what_its_mails_say_in_a_browser() {
    node("browser/brand.mjs");
}

#[test]
fn an_import_is_followed_in_a_browser_and_needs_no_script() {
    node("browser/imports.mjs");
}

#[test]
fn everything_on_the_dashboard_and_in_the_documentation_is_come_to_by_the_keyboard_in_a_browser() {
    // Which database is behind it makes no difference.
    if !on_postgres() {
        run("browser/keyboard.mjs", &["--webhook-network", "127.0.0.0/8"], &[]);
    }
}

#[test]
fn pages_that_change_by_themselves_keep_the_focus_and_are_heard_once_in_a_browser() {
    // Which database is behind them makes no difference; that an import is followed on each, imports.mjs shows.
    if !on_postgres() {
        node("browser/live.mjs");
    }
}

/// Runs a script below `tests/` against a server of its own; fails as it fails.
#[track_caller]
fn node(script: &str) {
    run(script, &[], &[]);
}

/// The same with a server that has these settings, and variables for the script.
#[track_caller]
fn run(script: &str, settings: &[&str], variables: &[(&str, &str)]) {
    let Some(command) = command(script) else { return };
    against(&Program::start(settings), command, variables);
}

/// Runs it with what it must know of a server.
#[track_caller]
fn against(program: &Program, mut command: Command, variables: &[(&str, &str)]) {
    command
        .env("SERVER_URL", &program.url)
        .env("API_KEY", &program.key)
        .env("CLIENT_ID", &program.client_id)
        .env("DATA", &program.folder.0)
        .envs(program.folder.database().map(|url| ("DATABASE", url)))
        .envs(variables.iter().copied());
    succeed(command);
}

/// The script with what it is run by; `None` if the machine lacks something.
fn command(script: &str) -> Option<Command> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let script = tests.join(script);
    let lacks = |what: &str| {
        skip(&name(&script), what);
        None
    };
    let Some(node) = find("node") else { return lacks("there is no Node.js") };
    if !script.with_file_name("node_modules").is_dir() {
        return lacks("its Node packages are not installed (tests/setup installs them)");
    }
    let chromium = find("chromium");
    if script.starts_with(tests.join("browser")) && chromium.is_none() {
        return lacks("there is no Chromium (tests/setup installs it)");
    }
    let mut command = Command::new(node);
    command
        .arg(&script)
        .env("PROGRAM", env!("CARGO_BIN_EXE_usher"))
        .envs(chromium.map(|path| ("CHROMIUM", path)))
        // A machine's proxy does not lead to this machine.
        .env("NO_PROXY", "*");
    Some(command)
}

#[track_caller]
fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn name(script: &Path) -> String {
    script.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A program on the path.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
