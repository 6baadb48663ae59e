//! The commands that the dashboard shows beside its buttons, collected from every page of an installation that has something
//! of everything, and run as who copies them runs them: in a shell, each on a copy of that installation. What a line changes
//! is compared with what its button changes on another copy; and a button leaves an entry in the audit trail.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use usher::admins::Role;
use usher::apps::Kind;
use usher::billing::Mode;

use crate::brand::PNG;
use crate::buttons::{Button, Effect, State, TYPED, buttons, plain};
use crate::cluster;
use crate::docs::values;
use crate::harness::{But, Client, Folder, TestApp, jane, john};
use crate::imports_api::take_over;
use crate::imports_page::draft;

/// An installation that has something of everything.
pub async fn world() -> TestApp {
    let app = TestApp::new().await;
    app.catch_up();
    let owner = app.admin(Role::Owner).await;
    app.admin(Role::Support).await;
    // The last owner stays one.
    let admins = format!("/admin/{}/sandbox/admins", app.client_id);
    owner.send("POST", &admins, "email=other@clinic.example&role=owner").await;
    app.connect_billing(Kind::Sandbox, Mode::Test, "http://127.0.0.1:9").await;
    app.connect_billing(Kind::Live, Mode::Live, "http://127.0.0.1:9").await;
    let acme = app.partner("acme").await;
    let jane_id = acme.post("/users/create", jane()).await.ok().id().to_owned();
    let frozen = acme.post("/users/create", john()).await.ok().id().to_owned();
    let deleted = jane().but("email", json!("dora@doe.com")).but("phonenumber", json!("2025550199"));
    let deleted = acme.post("/users/create", deleted).await.ok().id().to_owned();
    app.partner_in(Kind::Live, None).await.post("/users/create", jane()).await.ok();
    app.tamper("UPDATE outbox SET state = 'failed', due_at = NULL, failure = '550' WHERE state = 'queued'");

    let server = app.server().await;
    let webhook = server.post("/v1/webhooks", json!({"url": "https://crm.example.com/usher"})).await.ok();
    let webhook = webhook.body["data"]["id"].as_str().unwrap().to_owned();
    server.post(&format!("/v1/webhooks/{webhook}/test"), json!({})).await.ok();
    let app_id = app.client_id;
    server.put(&format!("/v1/apps/{app_id}/users/{frozen}/access-status/0"), json!({})).await.ok();
    server.send("DELETE", &format!("/v1/users/{deleted}"), "").await.ok();
    server.post("/v1/imports", json!([{"email": "carl@doe.com"}])).await.ok();
    take_over(&app).await;
    let draft = draft(&app, &owner, "E-Mail,Number\nemil@doe.com,17\n").await;
    // Rehearsed, so that it can be imported.
    owner.send("POST", &draft, "do=rehearse").await;
    take_over(&app).await;
    app.tamper("UPDATE deliveries SET state = 'sent', due_at = NULL");
    let other = server.post("/v1/webhooks", json!({"url": "https://other.example.com/usher"})).await.ok();
    let other = other.body["data"]["id"].as_str().unwrap().to_owned();
    server.put(&format!("/v1/webhooks/{other}"), json!({"enabled": false})).await.ok();
    app.register(Kind::Sandbox, crate::signin::CALLBACK).await;
    let words = format!("/admin/{app_id}/sandbox/mails/templates/enrolment/de");
    owner.send("POST", &words, "mail_welcome_subject=Hallo").await;
    app.token(&jane_id).await;
    app
}

/// Every page of the dashboard that can be reached by links, with its HTML.
pub async fn pages(app: &TestApp, owner: &Client<'_>) -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let mut waiting = vec![];
    for kind in ["sandbox", "live"] {
        waiting.push(format!("/admin/{}/{kind}", app.client_id));
    }
    while let Some(address) = waiting.pop() {
        if pages.contains_key(&address) {
            continue;
        }
        let answer = owner.get(&address).await;
        let is_page = answer.status == 200 && answer.header("content-type").starts_with("text/html");
        let links = values(&answer.text, "href").into_iter().map(|to| to.split(['?', '#']).next().unwrap().to_owned());
        waiting.extend(links.filter(|to| is_page && to.starts_with("/admin/")));
        pages.insert(address, if is_page { answer.text } else { String::new() });
    }
    let verify = format!("/admin/{}/sandbox/audit/verify", app.client_id);
    pages.insert(verify.clone(), owner.send("POST", &verify, "").await.ok().text);
    pages.retain(|_, html| !html.is_empty());
    pages
}

/// The lines of a page's commands.
fn commands(html: &str) -> Vec<String> {
    let blocks = html.split("<details class=\"command\">").skip(1).flat_map(|rest| {
        let details = rest.split("</details>").next().unwrap();
        details.split("<code>").skip(1).map(|code| code.split("</code>").next().unwrap())
    });
    let text: Vec<String> = blocks.map(plain).collect();
    let lines = text.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("usher "));
    // A server does not end.
    lines.filter(|line| !line.starts_with("usher serve")).map(str::to_owned).collect()
}

/// A mail server that takes every mail, and where it is.
fn mail_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}?tls=none", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut socket in listener.incoming().map_while(Result::ok) {
            let _ = socket.write_all(b"220 here\r\n");
            let (mut reader, mut line, mut is_text) =
                (BufReader::new(socket.try_clone().unwrap()), String::new(), false);
            while reader.read_line(&mut line).is_ok_and(|length| length > 0) {
                is_text = match line.trim_end() {
                    "." => false,
                    "DATA" => true,
                    _ => is_text,
                };
                let said: &[u8] = match line.trim_end() {
                    "DATA" => b"354 go on\r\n",
                    "QUIT" => b"221 bye\r\n",
                    _ if is_text => b"",
                    _ => b"250 well\r\n",
                };
                let _ = socket.write_all(said);
                line.clear();
            }
        }
    });
    url
}

/// How much of what a line changes is what its button changes.
#[derive(Clone, Copy, PartialEq)]
enum Same {
    /// All of it.
    All,
    /// Nothing is compared; why stands beside. The button is pressed all the same.
    No,
}
use Same::{All, No};

/// Every kind of button, the beginning of the line that does the same, and how far it does.
#[rustfmt::skip]
const BUTTONS: &[(&str, &str, Same)] = &[
    ("admins", "usher admin create", All),
    ("admins/*/remove", "usher admin remove", All),
    ("admins/*/role", "usher admin role", All),
    ("admins/*/send-link", "usher admin link", All),
    ("audit/export", "usher audit export", All),
    ("audit/verify", "usher audit verify", All),
    // The line takes over by itself what the button sends to the server, and begins with the file.
    ("imports", "usher import people.csv", No),
    ("imports/* rehearse", "usher import people.csv", No),
    ("imports/* import", "usher import people.csv", No),
    ("imports/*/discard", "usher import discard", All),
    ("imports/*/undo", "usher import undo", All),
    ("keys", "usher key create", All),
    ("keys/*/move", "usher key update", All),
    ("keys/*/revoke", "usher key revoke", All),
    ("keys/*/rotate", "usher key rotate", All),
    ("mails/*/retry", "usher mail retry", All),
    // The line sets one text, and the form holds all.
    ("mails/templates/*", "usher mail template set", No),
    ("mails/templates/*/reset", "usher mail template reset", All),
    ("settings/app", "usher app update", All),
    ("settings/billing/retry", "usher billing retry --all", All),
    ("settings/look", "usher app update", All),
    ("settings/redirect-uris", "usher app redirect add", All),
    ("settings/redirect-uris/remove uri", "usher app redirect remove", All),
    ("settings/signing-keys", "usher signing-key rotate", All),
    ("settings/signing-keys/revoke", "usher signing-key revoke", All),
    ("users/*/delete", "usher user delete", All),
    ("users/*/end-session session", "usher session revoke", All),
    ("users/*/end-sessions", "usher session revoke", All),
    ("users/*/erase", "usher user erase", All),
    ("users/*/freeze", "usher user freeze", All),
    ("users/*/restore", "usher user restore", All),
    ("users/*/reveal", "usher user show", All),
    ("users/*/send-link", "usher user send-link", All),
    ("users/*/unfreeze", "usher user restore", All),
    ("webhooks", "usher webhook create", All),
    ("webhooks/*/disable", "usher webhook disable", All),
    ("webhooks/*/enable", "usher webhook enable", All),
    ("webhooks/*/remove", "usher webhook remove", All),
    ("webhooks/*/replay", "usher webhook replay", All),
    ("webhooks/*/replay event", "usher webhook replay", All),
    ("webhooks/*/rotate", "usher webhook rotate", All),
    ("webhooks/*/test", "usher webhook test", All),
];

/// Buttons whose form, as it stands, may say what is so already: then nothing is done, and the trail has nothing to tell.
const AS_IT_STANDS: &[&str] = &["admins/*/role", "keys/*/move", "settings/app", "settings/look"];

#[tokio::test]
async fn every_button_has_a_command_that_works_and_changes_the_same_and_the_trail_tells_of_it() {
    cluster::about_the_file!();
    let app = world().await;
    let owner = app.admin(Role::Owner).await;
    let pages = pages(&app, &owner).await;
    let known = pages.values().map(String::as_str).collect::<String>();
    // A button of each kind, and the line that does the same.
    let (mut lines, mut pressed) = (BTreeMap::new(), BTreeMap::<&str, (Button, String)>::new());
    for (address, html) in &pages {
        let main = html.split("<main ").nth(1).expect("a page").split("</main>").next().unwrap();
        let shown = commands(main);
        for mut button in buttons(main) {
            let mut kind = button.kind();
            if let Some(words) = kind.strip_prefix("mails/templates/") {
                kind =
                    if words.ends_with("/reset") { "mails/templates/*/reset" } else { "mails/templates/*" }.to_owned();
            }
            let row = BUTTONS.iter().find(|(known, ..)| *known == kind);
            let (kind, begin, _) =
                row.unwrap_or_else(|| panic!("{address} has {kind:?}, and no line is known for that"));
            let held = |line: &&String| button.hidden.iter().all(|(_, value)| line.contains(value.as_str()));
            // Of several lines that begin so, the one that says most of what the form holds.
            let says = |line: &&String| {
                button.fields.iter().filter(|(_, value)| !value.is_empty() && line.contains(value.as_str())).count()
            };
            let line = shown.iter().rev().filter(|line| line.starts_with(begin)).filter(held).max_by_key(says);
            let line = line.unwrap_or_else(|| panic!("{address} has {kind:?} and no {begin:?} in {shown:#?}"));
            if *kind == "mails/templates/*" {
                button.fields[0].1.push('!');
            }
            pressed.entry(*kind).or_insert_with(|| (button, line.clone()));
        }
        lines.extend(shown.into_iter().map(|line| (line, address.clone())));
    }
    assert!(pages.len() > 30 && lines.len() > 40, "{} pages, {} lines", pages.len(), lines.len());
    let unseen: Vec<_> = BUTTONS.iter().filter(|(kind, ..)| !pressed.contains_key(kind)).collect();
    assert!(unseen.is_empty(), "no page has {:?}", unseen.iter().map(|(kind, ..)| kind).collect::<Vec<_>>());

    let smtp = mail_server();
    let folder = app.into_folder();
    let before = State::of(&folder).await;
    let (waiting, faults) = (Mutex::new(lines.into_iter().collect::<Vec<_>>()), Mutex::new(Vec::new()));
    let effects = Mutex::new(BTreeMap::new());
    let worker = || {
        loop {
            let Some((line, address)) = waiting.lock().unwrap().pop() else { return };
            match run(&folder, &line, &smtp, &before, &known) {
                Ok(effect) => _ = effects.lock().unwrap().insert(line, effect),
                Err(fault) => faults.lock().unwrap().push(format!("{address}: {line}\n{fault}")),
            }
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|_| _ = scope.spawn(worker)));
    let (effects, mut faults) = (effects.into_inner().unwrap(), faults.into_inner().unwrap());
    for (kind, _, same) in BUTTONS {
        let (button, line) = &pressed[kind];
        // A line that failed has said so.
        let by_line = effects.get(line).filter(|_| *same == All);
        match button.press(&folder, &known).await {
            Ok(by_button) if by_line.is_some_and(|by_line| by_button != *by_line) => {
                faults.push(format!("{kind}: {line}\nbutton {by_button:#?}\nline {by_line:#?}"));
            }
            Ok(by_button) if by_button.entries.is_empty() && !AS_IT_STANDS.contains(kind) => {
                faults.push(format!("{kind}: the trail does not tell of it"));
            }
            Ok(_) => {}
            Err(fault) => faults.push(format!("{kind}: {fault}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// Runs a line on a copy of the installation, with the files and the address that it names as a reader's own, and says what it
/// changed.
fn run(folder: &Folder, line: &str, smtp: &str, before: &State, known: &str) -> Result<Effect, String> {
    let copy = Folder::copy_of(folder);
    let typed = |name: &str| TYPED.iter().find(|(field, _)| *field == name).unwrap().1;
    let typed = [("ADDRESS", typed("url")), ("EMAIL", typed("email")), ("URI", typed("uri")), ("FILE", "logo.png")];
    let shell = |line: &str| {
        let line = line.replace("/run/secrets/", "");
        let words = line.split(' ').map(|word| typed.iter().find(|(name, _)| *name == word).map_or(word, |(_, to)| to));
        in_a_shell(&copy, &words.collect::<Vec<_>>().join(" "))
    };
    let people = "E-Mail,Number\nemil@doe.com,17\n";
    for (name, content) in [("people.csv", people.as_bytes()), ("smtp-url", smtp.as_bytes()), ("logo.png", PNG)] {
        std::fs::write(copy.0.join(name), content).map_err(|e| e.to_string())?;
    }
    if line.contains("anchor.json") {
        shell("usher audit anchor > anchor.json")?;
    }
    shell(line)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    Ok(runtime.block_on(State::of(&copy)).since(before, known))
}

/// What a line prints that runs where the installation is.
fn in_a_shell(folder: &Folder, line: &str) -> Result<String, String> {
    let program = Path::new(env!("CARGO_BIN_EXE_usher")).parent().unwrap();
    let mut shell = Command::new("timeout");
    shell.args(["20", "bash", "-c", line]).env_clear().current_dir(&folder.0).env("USHER_DATA", &folder.0);
    shell.env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()));
    let output = shell.env("USHER_URL", "https://users.example.com").output().map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
}

#[tokio::test]
async fn the_lines_of_the_audit_trail_list_and_export_what_its_page_shows() {
    cluster::about_the_file!();
    let app = TestApp::new().await;
    let old = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    app.advance(Duration::from_hours(40 * 24));
    app.partner_in(Kind::Live, None).await.post("/users/create", jane()).await.ok();
    let acme = app.partner("acme").await;
    for number in 10..70 {
        let somebody = jane().but("email", json!(format!("p{number}@doe.com")));
        acme.post("/users/create", somebody.but("phonenumber", json!(format!("20255510{number}")))).await.ok();
    }
    acme.post("/users/create", john()).await;
    let owner = app.admin(Role::Owner).await;
    let at = format!("/admin/{}/sandbox/audit", app.client_id);
    let first = owner.get(&at).await.ok().text;
    let next = values(&first, "href").into_iter().find(|to| to.contains("&#38;after=") || to.contains("?after="));
    let next = plain(next.expect("a second page")).split_once('?').unwrap().1.to_owned();
    let mut rows = Vec::new();
    for query in [
        "",
        "action=user.created",
        "result=refused",
        "result=email_taken",
        "action=user.created&since=2026-11-01",
        "action=user.created&since=2026-11-01&until=2026-12-01",
        "action=nonsense",
        &format!("user={old}"),
        &next,
    ] {
        let page = owner.get(&format!("{at}?{query}")).await.ok().text;
        let shown = values(&page, "href").into_iter().filter_map(|to| to.strip_prefix(&format!("{at}/"))).collect();
        let shown: Vec<String> = Vec::into_iter(shown).map(str::to_owned).collect();
        let lines = commands(&page);
        let listed = in_a_shell(app.folder(), &format!("{} --json", lines[0])).unwrap();
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let ids: Vec<_> = listed.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, shown, "{query}: {}", lines[0]);
        rows.push(shown.len());
        let exported = owner.send("POST", &format!("{at}/export?{query}"), "").await.ok().text;
        let written = in_a_shell(app.folder(), &lines[1].replace(" --out=audit.jsonl", "")).unwrap();
        let ids = |text: &str| {
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            // That an export was noted is in the next one.
            let lines = lines.filter(|entry| entry["action"] != "audit.exported");
            lines.map(|entry| entry["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        assert_eq!(ids(&written), ids(&exported), "{query}: {}", lines[1]);
    }
    assert_eq!(rows[..3], [50, 50, 1], "a page at the most, of the last 30 days");
    assert!(rows[4..].iter().all(|count| *count > 0), "{rows:?}");

    // Attempts of somebody unknown are in no environment, and so on none of these pages.
    let attempt = app.anyone().get("/v1/users/me").await;
    let line = commands(&first).pop().unwrap();
    let listed = in_a_shell(app.folder(), &format!("{line} --json")).unwrap();
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    let found: Vec<_> = listed.iter().map(|entry| (entry["actor"].as_str(), entry["requestId"].as_str())).collect();
    assert_eq!(found, [(Some("unknown"), Some(attempt.header("request-id")))], "{line}");
}

#[tokio::test]
async fn the_line_of_the_mails_lists_what_their_page_shows() {
    cluster::about_the_file!();
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    for number in 10..70 {
        let somebody = jane().but("email", json!(format!("p{number}@doe.com")));
        acme.post("/users/create", somebody.but("phonenumber", json!(format!("20255510{number}")))).await.ok();
    }
    app.partner_in(Kind::Live, None).await.post("/users/create", jane()).await.ok();
    let owner = app.admin(Role::Owner).await;
    let at = format!("/admin/{}/sandbox/mails", app.client_id);
    let first = owner.get(&at).await.ok().text;
    let next = values(&first, "href").into_iter().find(|to| to.contains("before=")).expect("a second page");
    let next = next.split_once('?').unwrap().1.replace("&amp;", "&");
    for (query, count) in [("", 50), ("state=captured", 50), ("state=queued", 0), (&next, 10)] {
        let page = owner.get(&format!("{at}?{query}")).await.ok().text;
        let links =
            values(&page, "href").into_iter().filter_map(|to| to.strip_prefix(&format!("{at}/")).map(str::to_owned));
        let shown: Vec<String> = links.filter(|id| id.parse::<uuid::Uuid>().is_ok()).collect();
        let line = &commands(&page)[0];
        let listed: Vec<Value> =
            serde_json::from_str(&in_a_shell(app.folder(), &format!("{line} --json")).unwrap()).unwrap();
        let ids: Vec<_> = listed.iter().map(|mail| mail["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!((&ids, ids.len()), (&shown, count), "{query}: {line}");
    }
}
