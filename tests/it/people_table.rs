//! The table of people on the dashboard: a search with filters, what is taken out as a file, and the lines that do the same
//! in a shell.

use std::process::{Command, Output};

use http_body_util::BodyExt;
use serde_json::{Value, json};
use usher::admins::Role;
use usher::caller::{Actor, Origin};
use usher::tenants;

use crate::harness::{Answer, But, Client, TestApp, jane};
use crate::imports::people;
use crate::imports_api::take_over;
use crate::program::usher;

fn at(app: &TestApp, path: &str) -> String {
    format!("/admin/{}/sandbox/{path}", app.client_id)
}

async fn enrol(partner: &Client<'_>, number: usize, email: &str, name: &str) -> String {
    let body = jane().but("email", json!(email)).but("firstname", json!(name));
    let body = body.but("phonenumber", json!(format!("202555{number:04}")));
    partner.post("/users/create", body).await.ok().id().to_owned()
}

async fn press(admin: &Client<'_>, path: &str, form: &str) {
    assert_eq!(admin.send("POST", path, form.to_owned()).await.status, 303, "{path}");
}

/// The addresses on a page of the table, in its order.
fn listed(page: &Answer) -> Vec<String> {
    page.text.split(r#"<span class="sub">"#).skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

/// The lines that a page shows as commands.
pub fn lines(page: &Answer) -> Vec<String> {
    let code = page.text.split("<code>").skip(1).filter_map(|rest| rest.split("</code>").next());
    let text = code.collect::<Vec<_>>().join("\n");
    let text = text.replace("&#60;", "<").replace("&#62;", ">").replace("&#34;", "\"").replace("&#39;", "'");
    text.replace("&#38;", "&").lines().filter(|line| line.starts_with("usher ")).map(str::to_owned).collect()
}

/// Runs a line in a shell where `usher` is the program on this app's data.
pub fn shell(app: &TestApp, line: &str) -> Output {
    let usher = usher(app.folder());
    let settings = usher.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().envs(settings).env("PROGRAM", usher.get_program()).current_dir(app.path());
    let output = shell.args(["-c", &format!("usher() {{ \"$PROGRAM\" \"$@\"; }}\n{line}")]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The addresses in a file of JSON lines.
fn addresses(file: &str) -> Vec<String> {
    let rows = file.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut all: Vec<String> = rows.map(|row| row["email"].as_str().unwrap().to_owned()).collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_search_with_a_filter_finds_whoever_fits_both_behind_any_number_who_do_not() {
    let app = TestApp::new().await;
    let (acme, other) = (app.partner("acme").await, app.partner("other").await);
    let oldest = enrol(&acme, 0, "pz@doe.com", "Mary").await;
    for number in 1..70 {
        enrol(&other, number, &format!("p{number}@doe.com"), "Mary").await;
    }
    let deleted = enrol(&acme, 99, "p-gone@doe.com", "Mary").await;
    let admin = app.admin(Role::Support).await;
    press(&admin, &at(&app, &format!("users/{oldest}/freeze")), "").await;
    press(&admin, &at(&app, &format!("users/{deleted}/delete")), "confirm=p-gone%40doe.com").await;
    let tenant = app.user(&oldest).await.tenant.unwrap();
    let list = async |query: &str| listed(&admin.get(&at(&app, &format!("users?{query}"))).await.ok());
    for q in ["p", "mary"] {
        assert_eq!(list(&format!("q={q}&status=frozen")).await, ["pz@doe.com"], "{q}");
        assert_eq!(list(&format!("q={q}&tenant={tenant}")).await, ["pz@doe.com"], "{q}: the deleted are not in it");
        assert_eq!(list(&format!("q={q}&status=deleted")).await, ["p-gone@doe.com"], "{q}");
        assert!(list(&format!("q={q}&created_from=2030-01-01")).await.is_empty(), "{q}");
    }
    let begin = admin.get(&at(&app, "users?q=p")).await.ok();
    assert!(begin.text.contains("More addresses begin so than are shown") && listed(&begin).len() == 20);
    let page = admin.get(&at(&app, "users?q=mary")).await.ok();
    assert!(listed(&page).len() == 50 && !listed(&page).contains(&"p-gone@doe.com".to_owned()));

    // The box at the top finds the deleted too, for they are what is looked for there.
    for q in ["p-gone%40doe.com", "p-gone", &deleted] {
        let found = admin.get(&at(&app, &format!("search?q={q}"))).await;
        assert_eq!(found.header("location"), at(&app, &format!("users/{deleted}")), "{q}");
    }
    let reader = app.admin(Role::ReadOnly).await;
    assert_eq!(reader.get(&at(&app, "users?q=p&status=deleted")).await.status, 403);
}

#[tokio::test]
async fn the_file_and_the_line_have_whom_the_table_shows() {
    let app = TestApp::new().await;
    let (acme, other) = (app.partner("O'Neil & $(id)").await, app.partner("other").await);
    for number in 0..60 {
        let from = if number % 2 == 0 { &acme } else { &other };
        enrol(from, number, &format!("p{number:02}@doe.com"), if number < 56 { "Mary Ann" } else { "Zoë" }).await;
    }
    let admin = app.admin(Role::Support).await;
    let first = app.store().read(move |tx| usher::users::newest(tx, environment(tx)?, 60)).await.unwrap();
    let tenant = first.iter().find(|user| user.email.address() == "p00@doe.com").unwrap().tenant.unwrap();
    for (query, count) in [
        (String::new(), 60),
        ("sort=updated".to_owned(), 60),
        (format!("tenant={tenant}"), 30),
        ("q=mary+ann".to_owned(), 56),
        (format!("q=mary+ann&tenant={tenant}&status=active&created_from=2026-11-01"), 28),
        ("q=p0".to_owned(), 10),
        ("q=zo%C3%AB".to_owned(), 4),
        ("q=%27%3B+rm+-rf+%2F+%27".to_owned(), 0),
        ("q=--health".to_owned(), 0),
    ] {
        let mut seen = Vec::new();
        let mut page = admin.get(&at(&app, &format!("users?{query}"))).await.ok();
        loop {
            seen.extend(listed(&page));
            let Some(next) = ["Next page", "Read further back"].iter().find(|words| page.text.contains(*words)) else {
                break;
            };
            let href = page.text.split(next).next().unwrap().rsplit("href=\"").next().unwrap();
            page = admin.get(&href.split('"').next().unwrap().replace("&#38;", "&")).await.ok();
        }
        seen.sort();
        assert_eq!(seen.len(), count, "{query}");
        let file = admin.get(&at(&app, &format!("users/export?format=jsonl&{query}"))).await.ok();
        assert_eq!(addresses(&file.text), seen, "{query}");
        let shown = lines(&admin.get(&at(&app, &format!("users?{query}"))).await.ok());
        let [line] = shown.as_slice() else { panic!("{query}: {shown:?}") };
        shell(&app, &line.replace("--format csv --out users.csv", "--format jsonl > users.jsonl"));
        assert_eq!(addresses(&std::fs::read_to_string(app.path().join("users.jsonl")).unwrap()), seen, "{line}");
    }
}

/// A language's order, which the cluster of the tests has, passes over points and puts `anna@` before `ann@`.
#[tokio::test]
async fn whoever_has_an_address_that_begins_so_is_found_in_whatever_order_the_database_keeps_texts() {
    let app = TestApp::new().await;
    let partner = app.partner("acme").await;
    for (number, email) in
        ["ann@doe.com", "anna@doe.com", "j.doe@doe.com", "jdoe@eve.com", "j_doe@doe.com"].iter().enumerate()
    {
        enrol(&partner, number, email, "Mary").await;
    }
    let admin = app.admin(Role::Owner).await;
    let list = async |query: &str| listed(&admin.get(&at(&app, &format!("users?{query}"))).await.ok());
    for (beginning, found) in [
        ("ann@", &["ann@doe.com"] as &[_]),
        ("ann", &["ann@doe.com", "anna@doe.com"]),
        ("jdoe@", &["jdoe@eve.com"]),
        ("j.", &["j.doe@doe.com"]),
    ] {
        assert_eq!(list(&format!("q={beginning}")).await, found, "{beginning}");
    }
    assert_eq!(
        list("sort=email").await,
        ["ann@doe.com", "anna@doe.com", "j.doe@doe.com", "j_doe@doe.com", "jdoe@eve.com"]
    );
}

#[tokio::test]
async fn an_address_is_found_by_its_beginning_however_its_letters_are_written() {
    let app = TestApp::new().await;
    let partner = app.partner("acme").await;
    for (number, email) in ["Straße@doe.com", "jürgen@bücher.example.com", "mary@doe.com"].iter().enumerate() {
        enrol(&partner, number, email, "Mary").await;
    }
    let admin = app.admin(Role::Owner).await;
    for (beginning, found) in [
        ("straß", &["Straße@doe.com"] as &[_]),
        ("STRASS", &["Straße@doe.com"]),
        ("ｓｔｒａß", &["Straße@doe.com"]),
        ("JÜR", &["jürgen@bücher.example.com"]),
        ("ju\u{308}r", &["jürgen@bücher.example.com"]),
        ("jürgen＠", &["jürgen@bücher.example.com"]),
        ("Jürgen@Bücher", &["jürgen@bücher.example.com"]),
        ("jürgen@bücher.ex", &["jürgen@bücher.example.com"]),
        ("jürgen@xn--bch", &["jürgen@bücher.example.com"]),
        // Of a label beyond ASCII, a part is another label.
        ("jürgen@büch", &[]),
    ] {
        let query: String = url::form_urlencoded::byte_serialize(beginning.as_bytes()).collect();
        let page = admin.get(&at(&app, &format!("users?q={query}"))).await.ok();
        assert_eq!(listed(&page), found, "{beginning}");
    }
}

#[tokio::test]
async fn a_file_has_everybody_whose_address_begins_so_or_is_refused_before_it_begins() {
    let app = TestApp::new().await;
    let partner = app.partner("acme").await;
    for number in 0..30 {
        enrol(&partner, number, &format!("north-{number:02}@doe.com"), "Mary").await;
    }
    let admin = app.admin(Role::Support).await;
    let page = admin.get(&at(&app, "users?q=north-")).await.ok();
    assert_eq!(listed(&page).len(), 20);
    let [line] = &lines(&page)[..] else { panic!("one line") };
    let line = line.replace("--format csv --out users.csv", "--format jsonl --out users.jsonl");
    shell(&app, &line);
    let of_the_line = addresses(&std::fs::read_to_string(app.path().join("users.jsonl")).unwrap());
    let file = addresses(&admin.get(&at(&app, "users/export?format=jsonl&q=north-")).await.ok().text);
    let expected: Vec<String> = (0..30).map(|number| format!("north-{number:02}@doe.com")).collect();
    assert_eq!((of_the_line, file), (expected.clone(), expected));

    let server = app.server().await;
    server.send("POST", "/v1/imports", people(5001)).await.ok();
    take_over(&app).await;
    assert_eq!(app.count("users").await, 5031);
    let refused = admin.get(&at(&app, "users/export?format=csv&q=user")).await;
    assert!(refused.status == 400 && refused.text.contains("5000 addresses or more begin so"), "{}", refused.text);
    let refused = usher(app.folder())
        .args(["export", "--environment", "sandbox", "--search", "user", "--out", "more.csv"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("5000 addresses or more begin so"), "{said}");
    assert!(!app.path().join("more.csv").exists());
    let file = admin.get(&at(&app, "users/export?format=jsonl&q=user1")).await.ok();
    assert_eq!(addresses(&file.text).len(), 1111);
}

#[tokio::test]
async fn a_file_has_everybody_also_who_changes_while_it_is_written() {
    let app = TestApp::new().await;
    let (server, admin) = (app.server().await, app.admin(Role::Support).await);
    server.send("POST", "/v1/imports", people(250)).await.ok();
    take_over(&app).await;
    let all = app.store().read(|tx| usher::users::newest(tx, environment(tx)?, 250)).await.unwrap();
    let mut expected: Vec<String> = all.iter().map(|user| user.email.address().to_owned()).collect();
    expected.sort();
    for (number, sort) in ["-updated", "updated", "email", "-email", "created", "-created"].into_iter().enumerate() {
        let path = at(&app, &format!("users/export?format=jsonl&sort={sort}"));
        let mut body = admin.begin("GET", &path, "").await.into_body();
        let mut file = body.frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
        let first = addresses(std::str::from_utf8(&file).unwrap());
        assert!(first.len() < 250, "the rest is read when it is asked for");
        // Who is at the end of the order that was asked for moves to where the file has been already.
        app.advance(std::time::Duration::from_secs(1));
        let late = all.iter().rfind(|user| !first.contains(&user.email.address().to_owned())).unwrap();
        let change = json!({"user": {"nickname": format!("n{number}")}});
        server.put(&format!("/v1/users/{}", late.id), change).await.ok();
        file.extend(body.collect().await.unwrap().to_bytes());
        assert_eq!(addresses(std::str::from_utf8(&file).unwrap()), expected, "{sort}");
    }
    for order in ["updated", "-updated", "email", "-email"] {
        let refused =
            usher(app.folder()).args(["export", "--environment", "sandbox", "--sort", order]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && said.contains("write created or -created"), "{said}");
    }
}

fn environment(tx: &usher::db::Tx) -> usher::error::Result<usher::apps::EnvironmentId> {
    let sandbox = |one: &usher::apps::Environment| one.kind == usher::apps::Kind::Sandbox;
    Ok(usher::apps::environments(tx)?.into_iter().find(sandbox).expect("the sandbox").id)
}

#[tokio::test]
async fn the_lines_about_mail_and_about_one_session_do_what_the_pages_do() {
    let app = TestApp::new().await;
    let id = enrol(&app.partner("acme").await, 0, "mary@doe.com", "Mary").await;
    app.partner_in(usher::apps::Kind::Live, Some("acme")).await.post("/users/create", jane()).await.ok();
    let support = app.admin(Role::Support).await;
    for (query, to) in [("", &["mary@doe.com"][..]), ("?state=captured", &["mary@doe.com"]), ("?state=sent", &[])] {
        let shown = lines(&support.get(&at(&app, &format!("mails{query}"))).await.ok());
        let mails: Value = serde_json::from_slice(&shell(&app, &format!("{} --json", shown[0])).stdout).unwrap();
        let found: Vec<&str> = mails.as_array().unwrap().iter().map(|mail| mail["to"].as_str().unwrap()).collect();
        assert_eq!(found, to, "{query}");
    }
    let (one, other) = (app.person(&id).await, app.person(&id).await);
    let shown = lines(&support.get(&at(&app, &format!("users/{id}/sessions"))).await.ok());
    let one_each: Vec<&String> =
        shown.iter().filter(|line| line.contains("session revoke") && !line.contains("--all")).collect();
    assert_eq!(one_each.len(), 2, "{shown:?}");
    shell(&app, one_each[0]);
    let open = [one.get("/v1/users/me").await.status, other.get("/v1/users/me").await.status];
    assert!(open == [200, 401] || open == [401, 200], "{open:?}");
}

#[tokio::test]
async fn everybodys_tenant_is_shown_and_the_filter_offers_clinics_however_many_have_signed_up_since() {
    let app = TestApp::new().await;
    enrol(&app.partner("Clinic North").await, 1, "ann@doe.com", "Ann").await;
    app.advance(std::time::Duration::from_secs(1));
    let many = |tx: &usher::db::Tx| {
        let (environment, operator) = (environment(tx)?, Origin::of(Actor::Operator));
        (0..220).try_for_each(|n| tenants::named(tx, environment, operator, &format!("signed up {n}")).map(drop))
    };
    app.store().write(many).await.unwrap();
    let admin = app.admin(Role::ReadOnly).await;
    let page = admin.get(&at(&app, "users")).await.ok().text;
    let row = page.split("ann@doe.com").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(row.contains("Clinic North"), "whoever came before 200 others has a tenant too: {row}");

    // As if each of them were of somebody who has registered themselves.
    app.tamper("UPDATE tenants SET founder_id = id, self_named_at = created_at WHERE name LIKE 'signed up %'");
    let page = admin.get(&at(&app, "users")).await.ok().text;
    let filter = page.split("name=\"tenant\"").nth(1).unwrap().split("</select>").next().unwrap();
    assert!(filter.contains("Clinic North") && !filter.contains("signed up"), "{filter}");
    let of_one = page.split("?tenant=").nth(1).expect("the tenant in a row leads to those who are in it");
    let listed = listed(&admin.get(&at(&app, &format!("users?tenant={}", &of_one[..36]))).await.ok());
    assert_eq!(listed, ["ann@doe.com"]);
}
