//! What `packaging/` has: it speaks of metrics, options and files that there are, and the tools that it is for understand it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use usher::apps::Kind;
use usher::db::backup::{self, Form};

use crate::cluster::on_postgres;
use crate::harness::{Folder, TestApp, jane, skip};
use crate::outside::find;
use crate::program::{Program, usher};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn file(name: &str) -> String {
    let path = root().join("packaging").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A tool of the machine's, or the one that `tests/setup` has put there.
fn tool(name: &str, installed: &str) -> Option<PathBuf> {
    let found = find(name).or_else(|| Some(root().join(installed)).filter(|path| path.is_file()));
    if found.is_none() {
        skip(name, "tests/setup installs it");
    }
    found
}

#[track_caller]
fn approves(tool: &Path, arguments: &[&str]) {
    let output = Command::new(tool).args(arguments).current_dir(root()).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{} {arguments:?}: {said}", tool.display());
}

/// The words of a text that begin so.
fn words(text: &str, start: &str) -> BTreeSet<String> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    parts.filter(|word| word.starts_with(start)).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_of_the_dashboard_and_of_the_alerts_is_one_that_there_is() {
    let app = TestApp::new().await;
    app.anyone().get("/livez").await.ok();
    let text = app.anyone().get("/metrics").await.ok().text;
    let there = words(&text, "usher_");
    let dashboard: Value = serde_json::from_str(&file("grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<_> = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()).collect();
    assert!(
        panels.len() > 5 && queries.iter().all(|query| !words(query["expr"].as_str().unwrap(), "usher_").is_empty())
    );
    for (name, content) in [("grafana.json", file("grafana.json")), ("alerts.yaml", file("alerts.yaml"))] {
        let named = words(&content, "usher_");
        assert!(named.len() >= 5, "{name}: {named:?}");
        assert_eq!(
            named.difference(&there).collect::<Vec<_>>(),
            Vec::<&String>::new(),
            "{name} names what /metrics has not"
        );
        // `metric{outcome=~"one|other"}`
        for (before, rest) in content.match_indices("{outcome=").map(|(at, _)| content.split_at(at)) {
            let metric = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            for outcome in rest.split('"').nth(1).unwrap().split('|') {
                assert!(text.contains(&format!("{metric}{{outcome=\"{outcome}\"}} 0")), "{name}: {metric} {outcome}");
            }
        }
    }
}

#[tokio::test]
async fn how_long_mail_waits_is_counted_also_where_nothing_tries_to_send_it() {
    let app = TestApp::new().await;
    let waits = async || {
        let text = app.anyone().get("/metrics").await.ok().text;
        let line = text.lines().find_map(|line| line.strip_prefix("usher_mail_wait_seconds ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{text}")).parse::<f64>().unwrap()
    };
    assert!(waits().await.abs() < 0.1, "nothing waits");
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    app.advance(Duration::from_mins(1));
    assert!(waits().await.abs() < 0.1, "what a sandbox captures does not wait");
    app.partner_in(Kind::Live, Some("acme")).await.post("/users/create", jane()).await.ok();
    app.advance(Duration::from_hours(1));
    assert!((waits().await - 3600.0).abs() < 60.0, "{}", waits().await);
    let now = app.store().clock().now().0;
    app.tamper(&format!("UPDATE outbox SET attempts = 7, due_at = {} WHERE due_at IS NOT NULL", now + 1_000_000));
    assert!(waits().await > 3000.0, "between two tries it waits too");
    app.tamper("UPDATE outbox SET attempts = 0 WHERE due_at IS NOT NULL");
    assert!(waits().await.abs() < 0.1, "what is not due yet has not waited");
}

#[tokio::test]
async fn how_old_the_last_backup_is_is_told_where_it_is_known() {
    let app = TestApp::new().await;
    let age = async || {
        let text = app.anyone().get("/metrics").await.ok().text;
        let line = text.lines().find_map(|line| line.strip_prefix("usher_backup_age_seconds ")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{text}")).parse::<f64>().unwrap()
    };
    if on_postgres() {
        assert!(age().await.is_nan(), "that server's own tools make them");
        return;
    }
    assert!(age().await.is_infinite(), "there was none");
    let shelf = Folder::new();
    let back_up = |name: &str| {
        let file = shelf.0.join(name);
        backup::back_up(&app.folder().location(), app.store().clock(), &file, Form::Encrypted, &mut |_| {})
    };
    back_up("one.db").unwrap().1.unwrap();
    assert!(age().await.abs() < 0.1, "{}", age().await);
    app.advance(Duration::from_hours(1));
    assert!((age().await - 3600.0).abs() < 0.1, "{}", age().await);
    assert!(back_up("one.db").is_err());
    assert!(age().await > 3599.0, "a backup that was refused counts for nothing");
    back_up("two.db").unwrap().1.unwrap();
    assert!(age().await.abs() < 0.1, "{}", age().await);
}

#[test]
fn every_setting_that_the_files_name_is_one_that_there_is() {
    fn variables(command: &clap::Command, into: &mut BTreeSet<String>) {
        let own = command.get_arguments().filter_map(|argument| argument.get_env());
        into.extend(own.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|inner| variables(inner, into));
    }
    let mut there = BTreeSet::new();
    variables(&usher::cli::command(), &mut there);
    for name in ["Dockerfile", "compose.yaml", "usher.service"] {
        let named = words(&file(name), "USHER_");
        assert!(named.len() >= 2, "{name}: {named:?}");
        assert_eq!(named.difference(&there).collect::<Vec<_>>(), Vec::<&String>::new(), "{name}");
    }
}

#[test]
fn every_command_that_an_alert_names_is_one_that_there_is() {
    let alerts = file("alerts.yaml");
    let named: Vec<&str> = alerts.split('`').filter(|text| text.starts_with("usher ")).collect();
    assert!(named.len() >= 4, "{named:?}");
    for line in named {
        match usher::cli::command().try_get_matches_from(line.split(' ')) {
            // It is named without the id that it takes.
            Err(e) if e.kind() != clap::error::ErrorKind::MissingRequiredArgument => panic!("{line}: {e}"),
            _ => {}
        }
    }
}

/// Those that `OPERATIONS.md` has in the column "not tried".
#[test]
fn what_was_not_run_where_it_was_written_says_so() {
    let table = std::fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let says = |name: &str| file(name).matches("Not run where it was written").count() == 1;
    for (row, name) in [
        ("alert rules", "alerts.yaml"),
        ("Grafana dashboard", "grafana.json"),
        ("systemd unit", "usher.service"),
        ("Dockerfile", "Dockerfile"),
        ("compose file", "compose.yaml"),
    ] {
        let row = table.lines().find(|line| line.starts_with(&format!("| {row} |"))).expect("a row");
        let untried = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        assert_eq!(says(name), !untried.is_empty(), "{name}: {untried}");
    }
}

#[test]
fn each_alert_is_raised_by_what_it_is_for_and_by_nothing_else() {
    let Some(promtool) = tool("promtool", "tests/prometheus/promtool") else { return };
    approves(&promtool, &["check", "rules", "packaging/alerts.yaml"]);
    approves(&promtool, &["test", "rules", "tests/prometheus/alerts.yaml"]);
    let tests = std::fs::read_to_string(root().join("tests/prometheus/alerts.yaml")).unwrap();
    for alert in file("alerts.yaml").split("alert: ").skip(1).map(|rest| rest.split('\n').next().unwrap()) {
        assert_eq!(tests.matches(&format!("alertname: {alert}")).count(), 2, "{alert} is tested silent and raised");
    }
}

/// What the service manager would do is done by hand: the folders, the settings, and that a secret is handed over.
#[test]
fn a_server_starts_as_the_unit_and_its_comment_say() {
    let unit = file("usher.service");
    let (manager, folder) = (Folder::new(), Folder::new());
    let here = |text: &str| {
        let root = manager.0.display();
        ["/etc/usher", "/var/lib/usher", "/run/credentials"]
            .iter()
            .fold(text.to_owned(), |text, path| text.replace(path, &format!("{root}{path}")))
    };
    std::fs::create_dir_all(here("/var/lib/usher")).unwrap();
    std::fs::create_dir_all(here("/run/credentials/usher.service")).unwrap();
    let said: Vec<&str> = unit.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    for command in said.iter().filter(|line| line.contains("/etc/usher/usher.toml")) {
        let output = Command::new("/bin/sh").args(["-ec", &here(command)]).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let settings = unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    let settings: Vec<(&str, String)> = settings.map(|(name, value)| (name, here(value))).collect();
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (_, _, folder) = Program::start_with(folder, &settings, &[]).stop();

    // A secret of root's, as the service manager hands it over.
    let entry = said.iter().find(|line| line.starts_with("smtp-url-file = ")).expect("an entry for a secret");
    let handed = entry.split('"').nth(1).unwrap().strip_prefix("/run/credentials/usher.service/").unwrap();
    assert!(unit.lines().any(|line| line == format!("#LoadCredential={handed}:/etc/usher/{handed}")));
    let entries: Vec<String> = said.iter().filter(|line| line.contains(" = ")).map(|line| here(line)).collect();
    std::fs::write(here("/etc/usher/usher.toml"), entries.join("\n")).unwrap();
    let output = usher(&folder).args(["serve", "--listen", "127.0.0.1:0"]).envs(settings.clone()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains(handed), "it is read: without it there is no start");
    std::fs::write(here(&format!("/run/credentials/usher.service/{handed}")), "smtp://127.0.0.1:1").unwrap();
    let _ = Program::start_with(folder, &settings, &[]).stop();
}

/// As recording rules, for those Prometheus reads without a Grafana.
#[test]
fn every_query_of_the_dashboard_is_one_that_prometheus_reads() {
    let Some(promtool) = tool("promtool", "tests/prometheus/promtool") else { return };
    let dashboard: Value = serde_json::from_str(&file("grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let queries = panels.flat_map(|panel| panel["targets"].as_array().unwrap()).map(|target| &target["expr"]);
    let rule = |(at, query): (usize, &Value)| {
        let query = query.as_str().unwrap().replace("$__rate_interval", "5m").replace("$instance", ".*");
        format!("      - {{record: \"query:{at}\", expr: {}}}\n", Value::from(query))
    };
    let rules: Vec<String> = queries.enumerate().map(rule).collect();
    let rules = format!("groups:\n  - name: dashboard\n    rules:\n{}", rules.concat());
    let folder = Folder::new();
    let path = folder.0.join("rules.yaml");
    std::fs::write(&path, rules).unwrap();
    approves(&promtool, &["check", "rules", path.to_str().unwrap()]);
}

#[test]
fn systemd_understands_the_unit_and_finds_little_that_it_could_do() {
    let Some(analyze) = tool("systemd-analyze", "") else { return };
    let folder = Folder::new();
    let path = folder.0.join("usher.service");
    // What is installed is not here.
    let unit = file("usher.service").replace("/usr/local/bin/usher", env!("CARGO_BIN_EXE_usher"));
    let unit = unit.replace("#LoadCredential=", "LoadCredential=");
    std::fs::write(&path, unit).unwrap();
    let path = path.to_str().unwrap();
    approves(&analyze, &["--man=no", "verify", path]);
    approves(&analyze, &["security", "--offline=true", "--threshold=15", path]);
}

#[test]
fn the_dockerfile_passes_a_linter_that_is_not_ours() {
    let Some(hadolint) = tool("hadolint", "tests/peers/.venv/bin/hadolint") else { return };
    approves(&hadolint, &["packaging/Dockerfile"]);
}

#[test]
fn every_image_has_a_version() {
    let [docker, compose] = ["Dockerfile", "compose.yaml"].map(file);
    let from = docker.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next());
    let images: Vec<&str> =
        from.chain(compose.lines().filter_map(|line| line.trim().strip_prefix("image: "))).collect();
    assert!(
        images.len() == 4 && images.iter().all(|image| image.rsplit('/').next().unwrap().contains(':')),
        "{images:?}"
    );
}

#[test]
fn a_server_starts_with_the_settings_of_the_compose_file() {
    let compose = file("compose.yaml");
    let lines = compose.lines().filter_map(|line| line.trim().split_once(": "));
    let settings: Vec<(&str, &str)> = lines.filter(|(name, _)| name.starts_with("USHER_")).collect();
    assert!(settings.len() >= 4, "{settings:?}");
    // Its database is not here; that address is understood, and found to lead nowhere.
    let (here, there): (Vec<_>, Vec<_>) = settings.into_iter().partition(|(name, _)| *name != "USHER_DATABASE");
    let server = Program::start_with(Folder::new(), &here, &[]);
    assert!(server.setup.starts_with("http://localhost:8080/admin/setup/"), "{}", server.setup);
    let output = usher(&Folder::new()).args(["app", "list"]).envs(there).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("does not answer"), "{said}");
}
