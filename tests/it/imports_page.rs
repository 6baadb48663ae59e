//! Imports in the dashboard: a file is sent, looked at, rehearsed, taken over and taken back, all by plain forms.

use std::time::Duration;

use usher::admins::Role;
use usher::apps::Kind;
use usher::audit::Action;
use usher::error::Error;
use usher::imports::{self, Outcome};
use usher::users::Status;

use crate::harness::{Answer, Client, TestApp, jane};
use crate::imports::{begin, people, work};
use crate::imports_api::take_over;
use crate::people_table::{lines, shell};
use crate::signin::CALLBACK;

fn base(app: &TestApp) -> String {
    format!("/admin/{}/sandbox/imports", app.client_id)
}

/// A form with a file, as a browser writes it.
pub fn form_with(file: &str) -> String {
    format!(
        "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"people\"\r\nContent-Type: text/plain\r\n\r\n{file}\r\n--XX--\r\n"
    )
}

/// Sends a file as a browser does, and gives the answer.
pub async fn send(app: &TestApp, owner: &Client<'_>, file: &str) -> Answer {
    owner.with("Content-Type", "multipart/form-data; boundary=XX").send("POST", &base(app), form_with(file)).await
}

/// The page of the import that is made of a file.
pub async fn draft(app: &TestApp, owner: &Client<'_>, file: &str) -> String {
    let sent = send(app, owner, file).await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    sent.header("location").to_owned()
}

async fn press(owner: &Client<'_>, path: &str, form: &str) {
    let pressed = owner.send("POST", path, form.to_owned()).await;
    assert_eq!(pressed.status, 303, "{}", pressed.text);
}

/// What a page says of a fact.
fn fact<'a>(page: &'a Answer, name: &str) -> &'a str {
    let rest = page.text.split_once(&format!("<dt>{name}</dt><dd>")).expect("the fact").1;
    rest.split('<').next().unwrap()
}

const LIST: &str = "E-Mail;First name;Surname;Number;Shoe size\n\
    ann@doe.com;Ann;Doe;17;38\n\
    ANN@doe.com;Ann;Doe;;\n\
    canary;Bob;Doe;;\n\
    jane@doe.com;Jane;Doe;;\n\
    dan@doe.com;Dan;Doe;18;\n";

#[tokio::test]
async fn an_owner_sends_a_list_sees_the_guesses_changes_them_rehearses_imports_and_takes_it_back() {
    let app = TestApp::new().await;
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    let mails = app.mails().await.len();
    let owner = app.admin(Role::Owner).await;
    assert!(owner.get(&base(&app)).await.ok().text.contains("Nothing was imported yet"));
    let path = draft(&app, &owner, LIST).await;

    let page = owner.get(&path).await.ok();
    for guess in ["E-Mail", "email (guessed)", "given_name (guessed)", "nothing (guessed)"] {
        assert!(page.text.contains(guess), "{guess}");
    }
    assert!(
        !page.text.contains("canary") && !page.text.contains("hx-trigger"),
        "no value of a row; nothing to wait for"
    );
    assert!(!page.text.contains("value=\"import\""), "it is rehearsed first");

    let form = "map.E-Mail=guess&map.Number=externalId&map.Shoe+size=metadata.Shoe+size&map.Surname=&tenant=Clinic+North&preset=&do=rehearse";
    press(&owner, &path, form).await;
    let running = owner.get(&path).await.ok();
    assert!(running.text.contains("is rehearsed") && running.text.contains("hx-trigger=\"every 1s\""));
    take_over(&app).await;
    let rehearsed = owner.get(&path).await.ok();
    let facts = ["Would be imported", "There already", "Failed", "Tenant"].map(|name| fact(&rehearsed, name));
    assert_eq!(facts, ["2", "2", "1", "Clinic North"]);
    assert!(
        rehearsed.text.contains("<option value=\"externalId\" selected>externalId</option>"),
        "what was said stays"
    );
    assert!(rehearsed.text.contains("--map=Number=externalId"));
    assert!(!rehearsed.text.contains("curl"), "the API cannot name a tenant that is not there");
    assert_eq!(app.count("users").await, 1, "nobody was made");
    assert_eq!(app.count("tenants").await, 1, "nor was the tenant that was named");
    assert!(
        rehearsed.text.contains("value=\"Clinic North\"") && rehearsed.text.contains("--tenant=&#39;Clinic North&#39;")
    );
    let refused = owner.send("POST", &path, "tenant=a%0Ab&do=rehearse".to_owned()).await;
    assert_eq!(refused.status, 400, "a name that cannot be is refused by the rehearsal too");

    press(&owner, &path, &form.replace("rehearse", "import")).await;
    take_over(&app).await;
    let done = owner.get(&path).await.ok();
    assert_eq!(["Imported", "There already", "Failed"].map(|name| fact(&done, name)), ["2", "2", "1"]);
    let result = owner.get(&format!("{path}/result")).await.ok();
    let lines: Vec<Vec<&str>> = result.text.lines().map(|line| line.split(',').collect()).collect();
    let statuses: Vec<_> = lines.iter().map(|line| line[1]).collect();
    assert_eq!(statuses, ["status", "imported", "duplicate", "failed", "duplicate", "imported"]);
    assert!(!result.text.contains("doe.com") && !result.text.contains("canary"));
    let ann = app.user(lines[1][2]).await;
    let number = ann.person.external_id.as_ref().map(|id| id.0.as_str());
    assert_eq!((number, ann.person.profile.family_name.is_none(), ann.status()), (Some("17"), true, Status::Active));
    assert!(ann.tenant.is_some() && ann.person.health.metadata.is_some());
    assert_eq!(app.count("tenants").await, 2, "the import itself makes the tenant");
    assert_eq!(app.mails().await.len(), mails, "nobody is mailed who was not to be");
    assert_eq!(app.count("import_files").await, 0);

    let refused = owner.send("POST", &format!("{path}/undo"), "words=yes").await;
    assert_eq!(refused.status, 400, "it has to be meant");
    press(&owner, &format!("{path}/undo"), "words=undo").await;
    take_over(&app).await;
    assert_eq!(fact(&owner.get(&path).await.ok(), "Erased again"), "2");
    assert_eq!(app.count("users").await, 1);
    for (action, times) in [(Action::ImportFileSent, 1), (Action::ImportBegun, 2), (Action::ImportUndone, 1)] {
        assert_eq!(app.audited(action).await.len(), times, "{action:?}");
    }
    assert!(owner.get(&base(&app)).await.ok().text.contains("taken back"));
}

#[tokio::test]
async fn a_rehearsal_says_what_the_import_does_also_where_a_new_tenant_is_for_rows_that_name_others() {
    let app = TestApp::new().await;
    app.register(Kind::Sandbox, CALLBACK).await;
    let (founder, _) = app.signed_up("founder@doe.com").await;
    let owner = app.admin(Role::Owner).await;
    // Whoever signs up calls theirs what they like; nobody is put into it by that name.
    for (n, (tenant, expected)) in [("Clinic New", "imported"), ("", "failed")].into_iter().enumerate() {
        let file = format!("E-Mail,Clinic\nann{n}@doe.com,{founder}\nbob{n}@doe.com,Clinic {n}\n");
        let path = draft(&app, &owner, &file).await;
        let mut results = Vec::new();
        for what in ["rehearse", "import"] {
            press(&owner, &path, &format!("tenant={}&do={what}", tenant.replace(' ', "+"))).await;
            take_over(&app).await;
            let result = owner.get(&format!("{path}/result")).await.ok().text;
            let rows = result.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
            results.push(rows.map(|row| [row[1], row[3]].map(str::to_owned)).collect::<Vec<_>>());
            if what == "rehearse" {
                let page = owner.get(&path).await.ok();
                assert_eq!(page.text.contains("tenant (guessed)"), tenant.is_empty(), "{}", page.text);
            }
        }
        assert_eq!(results[0], results[1], "{tenant:?}");
        assert_eq!((results[0][0][0].as_str(), results[0][1][0].as_str()), (expected, "imported"), "{tenant:?}");
    }
    let names = "SELECT COUNT(*) FROM tenants WHERE name IN ('Clinic 0', 'Clinic 1')";
    let made = app.store().read(|tx| tx.query_opt(names, &[])).await.unwrap().unwrap();
    assert_eq!(made.get::<i64>(0).unwrap(), 1, "a column that does not count makes no tenant");
}

#[tokio::test]
async fn links_are_mailed_to_everyone_who_is_imported_if_that_is_ticked() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let path = draft(&app, &owner, "{\"email\":\"ann@doe.com\"}\n{\"email\":\"bob@doe.com\"}\n").await;
    press(&owner, &path, "send_links=true&do=rehearse").await;
    take_over(&app).await;
    assert!(app.mails().await.is_empty(), "a rehearsal mails nobody");
    press(&owner, &path, "send_links=true&do=import").await;
    take_over(&app).await;
    assert_eq!(app.mails().await.len(), 2);
}

#[tokio::test]
async fn what_was_rehearsed_in_another_way_is_rehearsed_again_and_imported_by_nobody() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let path = draft(&app, &owner, "email,Number\nann@doe.com,17\nbob@doe.com,18\n").await;
    press(&owner, &path, "map.Number=externalId&tenant=Clinic&do=rehearse").await;
    take_over(&app).await;
    let others = [
        "map.Number=externalId&tenant=Clinic&send_links=true&do=import",
        "map.Number=&tenant=Clinic&send_links=true&do=import",
        "map.Number=&tenant=Other&send_links=true&do=import",
    ];
    for other in others {
        let pressed = owner.send("POST", &path, other).await;
        let page = owner.get(pressed.header("location")).await.ok();
        assert!(page.text.contains("Nobody was imported: this is not what was rehearsed"), "{other}");
        take_over(&app).await;
        assert_eq!((app.count("users").await, app.mails().await.len()), (0, 0), "{other}");
    }
    press(&owner, &path, &others[1].replace("=import", "=rehearse")).await;
    take_over(&app).await;
    press(&owner, &path, others[1]).await;
    assert!(!owner.get(&path).await.ok().text.contains("Nobody was imported"));
    take_over(&app).await;
    assert_eq!((app.count("users").await, app.mails().await.len()), (2, 2), "as it was rehearsed last");
}

#[tokio::test]
async fn an_export_of_another_service_is_known_and_read_as_it_writes() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let export = r#"[{"user_id":"auth0|1","email":"j@doe.com","email_verified":true,"blocked":true}]"#;
    let path = draft(&app, &owner, export).await;
    let page = owner.get(&path).await.ok();
    assert!(page.text.contains("an export of auth0") && page.text.contains("status (guessed)"));
    press(&owner, &path, "do=import").await;
    take_over(&app).await;
    let result = owner.get(&format!("{path}/result")).await.ok();
    let user = app.user(result.text.lines().nth(1).unwrap().split(',').nth(2).unwrap()).await;
    assert_eq!((user.status(), user.email_verified_at.is_some()), (Status::Frozen, true));
}

#[tokio::test]
async fn a_bar_tells_how_far_it_is_how_fast_and_how_long_it_takes() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let path = draft(&app, &owner, &people(3000)).await;
    press(&owner, &path, "do=rehearse").await;
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    let looked = move |tx: &usher::db::Tx| {
        let outcome = |row| usher::imports::Outcome {
            row,
            status: usher::imports::Status::Imported,
            user: None,
            reason: String::new(),
        };
        usher::imports::keep_rehearsed(tx, id, 0, &(1..=1000).map(outcome).collect::<Vec<_>>())
    };
    app.store().write(looked).await.unwrap();
    app.advance(Duration::from_secs(10));
    let page = owner.get(&path).await.ok();
    assert!(page.text.contains("<progress max=\"3000\" value=\"1000\""), "{}", page.text);
    assert!(page.text.contains("100 rows a second, about 20 s left"), "{}", page.text);
    app.advance(Duration::from_mins(1));
    take_over(&app).await;
    let page = owner.get(&path).await.ok();
    assert_eq!(fact(&page, "Would be imported"), "3\u{202f}000", "what another server began counts once");
    assert!(!page.text.contains("<progress"));
}

#[tokio::test]
async fn an_import_of_the_command_line_that_was_cut_off_is_stopped_and_taken_back_on_its_page() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let file = people(3000);
    let begun = begin(&app, &file).await;
    let mut cut_off = |_: &[Outcome]| Err(Error::operator("cut off"));
    assert!(imports::go_on(app.store(), &begun, work(&file, 10), &mut cut_off).await.is_err());
    app.advance(Duration::from_secs(10));

    let path = format!("{}/{}", base(&app), begun.id);
    let page = owner.get(&path).await.ok();
    assert!(page.text.contains("begun by a command") && page.text.contains("<progress max=\"3000\" value=\"10\""));
    assert!(!page.text.contains("every 1s") && !page.text.contains("rows a second"), "nobody knows whether it goes on");
    assert!(page.text.contains("Stop it and take it back"));
    press(&owner, &format!("{path}/undo"), "words=undo").await;
    take_over(&app).await;
    assert_eq!(fact(&owner.get(&path).await.ok(), "Erased again"), "10");
    assert_eq!(app.count("users").await, 0);
    let late = imports::go_on(app.store(), &begun, work(&file, 10), &mut |_| Ok(())).await;
    assert_eq!(late.unwrap_err().code(), "import_elsewhere", "the command, if it still runs, ends");
}

#[tokio::test]
async fn an_import_that_a_server_runs_is_stopped_and_taken_back() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let path = draft(&app, &owner, &people(300)).await;
    press(&owner, &path, "do=import").await;
    let page = owner.get(&path).await.ok();
    assert!(page.text.contains("every 1s") && page.text.contains("Stop it and take it back"));
    press(&owner, &format!("{path}/undo"), "words=undo").await;
    take_over(&app).await;
    assert!(owner.get(&path).await.ok().text.contains("taken back"));
    assert_eq!(app.count("users").await, 0);
}

#[tokio::test]
async fn a_file_that_waits_is_removed_by_hand_or_after_a_day_and_what_is_none_is_refused() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let path = draft(&app, &owner, "Contact\nann@doe.com\n").await;
    assert!(owner.get(&path).await.ok().text.contains("No column becomes the e-mail address yet"));
    assert_eq!(owner.send("POST", &path, "do=rehearse").await.status, 400);
    assert_eq!(owner.send("POST", &path, "map.Contact=e-mail&do=rehearse").await.status, 400);
    press(&owner, &format!("{path}/discard"), "").await;
    assert_eq!((owner.get(&path).await.status, app.count("imports").await), (404, 0));

    let path = draft(&app, &owner, "email\nann@doe.com\n").await;
    press(&owner, &path, "do=rehearse").await;
    take_over(&app).await;
    app.advance(Duration::from_hours(24));
    take_over(&app).await;
    let owner = app.admin(Role::Owner).await;
    assert_eq!(owner.get(&path).await.status, 404);
    for table in ["imports", "import_files", "import_pages"] {
        assert_eq!(app.count(table).await, 0, "{table}");
    }

    for (file, words) in [("", "Choose a file"), ("[", "not valid JSON"), ("email,email\n", "the same name")] {
        let answer = send(&app, &owner, file).await;
        assert!(answer.status == 400 && answer.text.contains(words), "{file}: {}", answer.text);
    }
    let large = format!("email\n{}\n", "x".repeat(17 * 1024 * 1024));
    let refused = send(&app, &owner, &large).await;
    assert_eq!(refused.status, 413);
    assert!(refused.text.contains("larger than 16 MiB") && refused.text.contains("usher import"), "{}", refused.text);
    let path = draft(&app, &owner, "email\nann@doe.com\n").await;
    press(&owner, &path, "do=import").await;
    let again = owner.send("POST", &path, "do=import").await;
    assert_eq!(again.status, 409, "it has begun");
    let live = path.replace("/sandbox/", "/live/");
    assert_eq!(owner.get(&live).await.status, 404, "an import is of one environment");
}

#[tokio::test]
async fn the_lines_of_an_import_do_what_its_page_does_whatever_its_columns_are_called() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let list = "E-Mail;It's $(id) & \"so\" (=n);Name\nann@doe.com;17;Ann Doe\n";
    app.partner("O'Neil & Sons").await;
    let path = draft(&app, &owner, list).await;
    let form = "map.It%27s+%24%28id%29+%26+%22so%22+%28%3Dn%29=externalId&map.Name=&tenant=O%27Neil+%26+Sons&preset=&do=rehearse";
    press(&owner, &path, form).await;
    take_over(&app).await;
    let page = owner.get(&path).await.ok();
    assert!(page.text.contains("<option value=\"externalId\" selected>externalId</option>"), "what was said stays");
    std::fs::write(app.path().join("people.csv"), list).unwrap();
    let shown = lines(&page);
    let [rehearse, import, discard] = shown.as_slice() else { panic!("{shown:?}") };
    shell(&app, rehearse);
    assert_eq!(app.count("users").await, 0, "{rehearse}");

    let requests = page.text.split("curl &#34;$USHER_URL").skip(1).map(|rest| rest.split("&#34;").next().unwrap());
    let requests: Vec<String> = requests.map(|path| path.replace("&#38;", "&")).collect();
    assert_eq!(requests.len(), 2);
    let begun = app.server().await.send("POST", &requests[0], list).await.ok();
    assert_eq!(begun.body["data"]["rehearsed"], true, "{requests:?}");
    take_over(&app).await;
    assert_eq!(app.count("users").await, 0, "{}", requests[0]);

    shell(&app, import);
    assert_eq!(app.count("users").await, 1, "{import}");
    let found = owner.get(&format!("/admin/{}/sandbox/search?q=17", app.client_id)).await;
    let ann = app.user(found.header("location").rsplit('/').next().unwrap()).await;
    assert_eq!((ann.email.address(), ann.person.profile.name.is_none()), ("ann@doe.com", true));
    let tenant = app.store().read(move |tx| usher::tenants::by_id(tx, ann.tenant.unwrap())).await.unwrap().unwrap();
    assert_eq!(tenant.facts.name.unwrap().0, "O'Neil & Sons");
    shell(&app, discard);
    assert_eq!(owner.get(&path).await.status, 404, "{discard}");
}

#[tokio::test]
async fn the_unit_of_a_field_stands_beside_it_where_it_is_chosen() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let path = draft(&app, &owner, "email,weight_lb,weight\nann@doe.com,130,59\n").await;
    let page = owner.get(&path).await.ok().text;
    assert!(page.contains("currentWeight, in pounds (guessed)") && page.contains("nothing (guessed)"));
    assert!(page.contains("<option value=\"height\">height, in feet and inches (5ft 6in)</option>"), "{page}");
    press(&owner, &path, "map.weight=desiredWeight&preset=&do=rehearse").await;
    take_over(&app).await;
    let page = owner.get(&path).await.ok().text;
    assert!(page.contains("<option value=\"desiredWeight\" selected>desiredWeight, in pounds</option>"));
}

/// What a browser sends for the select of a column: the name with its line breaks as CRLF, and what the chosen option says.
fn chosen(page: &str, column: &str, shown: &str) -> String {
    let plain = |text: &str| text.replace("&#34;", "\"").replace("&#39;", "'").replace("&#38;", "&");
    let select = page.split("<tr><th scope=\"row\"").find(|row| row.contains(column)).expect("the column's row");
    let name = plain(select.split("<select name=\"").nth(1).unwrap().split('"').next().unwrap());
    let option = select.split("<option").find(|option| option.contains(shown)).expect("the option");
    let (attributes, text) = option.split_once('>').unwrap();
    let text = text.split('<').next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let value = attributes.split_once("value=\"").map(|(_, rest)| rest.split('"').next().unwrap());
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair(&name.replace('\n', "\r\n"), &value.map_or(text, plain));
    form.finish()
}

#[tokio::test]
async fn a_column_whose_name_a_spreadsheet_broke_into_lines_becomes_what_is_chosen_in_a_browser() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let file = "email,\"Number of\nthe  card\",\"Shoe\n size\"\nann@doe.com,17,38\n";
    let path = draft(&app, &owner, file).await;
    let page = owner.get(&path).await.ok().text;
    let form = format!(
        "{}&{}&preset=&do=rehearse",
        chosen(&page, "Number of", "externalId"),
        chosen(&page, "Shoe", "metadata.Shoe")
    );
    press(&owner, &path, &form).await;
    take_over(&app).await;
    let rehearsed = owner.get(&path).await.ok();
    assert_eq!(fact(&rehearsed, "Would be imported"), "1", "{form}");
    assert!(rehearsed.text.contains("<option value=\"metadata.Shoe size\" selected>"), "what was said stays");
    press(&owner, &path, &form.replace("rehearse", "import")).await;
    take_over(&app).await;
    let result = owner.get(&format!("{path}/result")).await.ok().text;
    let ann = app.user(result.lines().nth(1).unwrap().split(',').nth(2).unwrap()).await;
    let metadata = serde_json::to_value(ann.person.health.metadata.as_ref()).unwrap();
    assert_eq!(
        (ann.person.external_id.as_ref().map(|id| id.0.as_str()), metadata),
        (Some("17"), serde_json::json!({"Shoe size": "38"}))
    );
}

#[tokio::test]
async fn a_file_with_very_many_columns_of_long_names_is_imported_too() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let names: Vec<String> = (0..999).map(|n| format!("{n:04}{}", "ع".repeat(60))).collect();
    let file = format!("email,short,{}\nann@doe.com,1,{}\n", &names[1..].join(","), ",".repeat(997));
    let path = draft(&app, &owner, &file).await;
    let page = owner.get(&path).await.ok().text;
    assert!(page.contains("metadata.short<"), "what may be a key is offered as one");
    assert!(!page.contains("metadata.0001"), "and what is too long for one is not");
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for name in &names[1..] {
        form.append_pair(&format!("map.{name}"), "guess");
    }
    press(&owner, &path, &format!("{}&map.email=email&preset=&do=rehearse", form.finish())).await;
    take_over(&app).await;
    assert_eq!(fact(&owner.get(&path).await.ok(), "Would be imported"), "1");
}
