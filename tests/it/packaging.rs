//! What `packaging/` has: it speaks of metrics, options and files that there are.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::harness::TestApp;

fn file(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The words of a text that begin so.
fn words(text: &str, start: &str) -> BTreeSet<String> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    parts.filter(|word| word.starts_with(start)).map(str::to_owned).collect()
}

#[tokio::test]
async fn every_metric_of_the_dashboard_and_of_the_alerts_is_one_that_there_is() {
    let app = TestApp::new().await;
    let metrics = &app.app.api().metrics;
    metrics.note("GET", "/livez", 200, Duration::from_millis(1));
    for outcome in ["sent", "retry", "failed"] {
        metrics.note_mail(outcome);
        metrics.note_webhook(outcome);
        metrics.note_billing(outcome);
    }
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
        for outcome in content.split("outcome=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(text.contains(&format!("outcome=\"{outcome}\"")), "{name}: {outcome}");
        }
    }
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
