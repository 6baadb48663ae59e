//! The commands that the dashboard shows beside its buttons, collected from every page of an installation that has something
//! of everything, and run as who copies them runs them: in a shell, each on a copy of that installation.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use serde_json::json;
use usher::admins::Role;
use usher::apps::{self, Kind};
use usher::db::Tx;
use usher::tokens;

use crate::brand::PNG;
use crate::cluster;
use crate::docs::values;
use crate::harness::{But, Client, Folder, TestApp, jane, john};
use crate::imports_api::take_over;
use crate::imports_page::draft;

/// An installation that has something of everything.
async fn world() -> TestApp {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    app.admin(Role::Support).await;
    // The last owner stays one.
    let admins = format!("/admin/{}/sandbox/admins", app.client_id);
    owner.send("POST", &admins, "email=other@clinic.example&role=owner").await;
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
    draft(&app, &owner, "E-Mail,Number\nemil@doe.com,17\n").await;
    app.token(&jane_id).await;
    app
}

/// Every page of the dashboard that can be reached by links, with its HTML.
async fn pages(app: &TestApp, owner: &Client<'_>) -> BTreeMap<String, String> {
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

fn plain(html: &str) -> String {
    let named = [("&#38;", "&"), ("&#34;", "\""), ("&#39;", "'"), ("&#60;", "<"), ("&#62;", ">")];
    named.iter().fold(html.to_owned(), |text, (entity, character)| text.replace(entity, character))
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

#[tokio::test]
async fn every_command_that_the_dashboard_shows_is_one_that_works() {
    cluster::about_the_file!();
    let app = world().await;
    let owner = app.admin(Role::Owner).await;
    let pages = pages(&app, &owner).await;
    let mut lines = BTreeMap::new();
    for (address, html) in &pages {
        let main = html.split("<main ").nth(1).expect("a page").split("</main>").next().unwrap();
        let shown = commands(main);
        assert!(!shown.is_empty() || !main.contains("method=\"post\""), "{address} has a button and no command");
        lines.extend(shown.into_iter().map(|line| (line, address.clone())));
    }
    assert!(pages.len() > 30 && lines.len() > 40, "{} pages, {} lines", pages.len(), lines.len());
    let words: BTreeSet<&str> = lines.keys().filter_map(|line| line.split(' ').nth(1)).collect();
    let areas = [
        "admin",
        "app",
        "audit",
        "explain",
        "export",
        "import",
        "key",
        "mail",
        "session",
        "signing-key",
        "user",
        "webhook",
    ];
    assert!(areas.iter().all(|area| words.contains(area)), "{words:?}");

    let app_id = app.client_id;
    let key = move |tx: &Tx| Ok(tokens::list(tx, apps::environment(tx, app_id, Kind::Sandbox)?.id)?.remove(0).id);
    let key = app.store().read(key).await.unwrap();
    let smtp = mail_server();
    let folder = app.into_folder();
    let (lines, faults) = (Mutex::new(lines.into_iter().collect::<Vec<_>>()), Mutex::new(Vec::new()));
    let worker = || {
        loop {
            let Some((line, address)) = lines.lock().unwrap().pop() else { return };
            if let Err(fault) = run(&folder, &line.replace("KID", &key), &smtp) {
                faults.lock().unwrap().push(format!("{address}: {line}\n{fault}"));
            }
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|_| _ = scope.spawn(worker)));
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// Runs a line on a copy of the installation, with the files and the address that it names as a reader's own.
fn run(folder: &Folder, line: &str, smtp: &str) -> Result<(), String> {
    let copy = Folder::copy_of(folder);
    let program = Path::new(env!("CARGO_BIN_EXE_usher")).parent().unwrap();
    let shell = |line: &str| {
        let line = line.replace("ADDRESS", "https://hooks.example.com/usher").replace("/run/secrets/", "");
        let mut shell = Command::new("timeout");
        shell.args(["20", "bash", "-c", &line]).env_clear().current_dir(&copy.0).env("USHER_DATA", &copy.0);
        shell.env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()));
        let output = shell.env("USHER_URL", "https://users.example.com").output().map_err(|e| e.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(()) } else { Err(text(&output.stdout) + &text(&output.stderr)) }
    };
    let people = "E-Mail,Number\nemil@doe.com,17\n";
    for (name, content) in [("people.csv", people.as_bytes()), ("smtp-url", smtp.as_bytes()), ("logo.png", PNG)] {
        std::fs::write(copy.0.join(name), content).map_err(|e| e.to_string())?;
    }
    if line.contains("anchor.json") {
        shell("usher audit anchor > anchor.json")?;
    }
    shell(line)
}
