//! Taking people over from files, and writing them to files.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use usher::admins::Role;
use usher::apps::{self, Kind};
use usher::caller::Caller;
use usher::error::Error;
use usher::imports::{self, Import, New, Outcome, Rows, Settings, State, Work};

use crate::cluster;
use crate::harness::{But, Folder, OPERATOR, TestApp, jane};
use crate::imports_api::take_over;
use crate::program::{Program, raw, usher};

fn write(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let file = folder.0.join(name);
    std::fs::write(&file, text).unwrap();
    file
}

/// Imports a file into the sandbox, and gives the summary and the lines of the result file.
fn import(server: &Program, file: &Path, more: &[&str]) -> (Value, Vec<Vec<String>>) {
    let arguments = ["import", file.to_str().unwrap(), "--environment", "sandbox"];
    let summary = server.json(&[&arguments[..], more].concat());
    let mut result = csv::Reader::from_path(summary["resultFile"].as_str().unwrap()).unwrap();
    assert_eq!(result.headers().unwrap(), vec!["row", "status", "id", "reason"]);
    let lines = result.records().map(|line| line.unwrap().iter().map(str::to_owned).collect()).collect();
    (summary, lines)
}

const LIST: &str = "E-Mail;First name;Surname;Phone;Date of birth;Shoe size\n\
    ann@doe.com;Ann;Doe;202-555-0101;1990-01-31;38\n\
    ANN@DOE.COM;Ann;Again;;;\n\
    canary;Bob;Doe;;;\n\
    bob@doe.com;Bob;Doe;(202) 555 0101;;\n\
    jane@doe.com;Jane;Doe;;;\n\
    cem@doe.com;Cem;Doe;;1990-02-31;\n\
    too;few\n\
    dan@doe.com;Dan;Doe;;;\n";

#[test]
fn every_row_of_a_list_has_its_outcome_and_nobody_is_mailed() {
    let server = Program::start(&[]);
    let there = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let file = write(&server.folder, "people.csv", LIST);
    let counts =
        |summary: &Value| ["total", "imported", "duplicates", "failed"].map(|name| summary[name].as_u64().unwrap());
    let (rehearsed, would) = import(&server, &file, &["--dry-run", "--tenant", "Clinic North"]);
    assert_eq!((counts(&rehearsed), &rehearsed["batch"]), ([8, 2, 3, 3], &Value::Null));
    assert_eq!(server.json(&["user", "list"]).as_array().unwrap().len(), 1, "a dry run changes nothing");
    let new_tenants = || server.json(&["audit", "list", "--action", "tenant.created"]).as_array().unwrap().len();
    let before = new_tenants();
    assert_eq!(import(&server, &file, &["--dry-run", "--tenant", "New"]).0["imported"], 2);
    assert_eq!(new_tenants(), before, "nor does it make the tenant that it names");

    let (summary, lines) = import(&server, &file, &["--tenant", "Clinic North"]);
    assert_eq!(counts(&summary), [8, 2, 3, 3]);
    let statuses =
        |lines: &[Vec<String>]| lines.iter().map(|line| (line[0].clone(), line[1].clone())).collect::<Vec<_>>();
    let words = ["imported", "duplicate", "failed", "duplicate", "duplicate", "failed", "failed", "imported"];
    let expected: Vec<_> = (1..).zip(words).map(|(row, word): (u32, _)| (row.to_string(), word.to_owned())).collect();
    assert_eq!((statuses(&lines), statuses(&would)), (expected.clone(), expected));
    assert_eq!(lines[1][2], lines[0][2], "whom it is a duplicate of");
    assert_eq!((lines[4][2].as_str(), lines[4][3].as_str()), (there.as_str(), "email: a user has it"));
    assert_eq!(
        (lines[2][3].as_str(), lines[3][3].as_str()),
        ("email: Invalid email address", "phone_number: a user has it")
    );
    assert_eq!(lines[5][3], "birthdate must be a real day written YYYY-MM-DD");

    let result = std::fs::read_to_string(summary["resultFile"].as_str().unwrap()).unwrap();
    assert_eq!(
        ["doe", "canary", "Bob", "0101"].iter().find(|value| result.contains(**value)),
        None,
        "no value of a row"
    );
    let mode = std::fs::metadata(summary["resultFile"].as_str().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(server.json(&["mail", "list"]).as_array().unwrap().len(), 1, "Jane's");

    let ann = server.json(&["user", "show", "ann@doe.com"]);
    assert_eq!((&ann["id"], &ann["profile"]["birthdate"]), (&json!(lines[0][2]), &json!("1990-01-31")));
    assert!(ann["tenantId"].is_string());
    let told = server.json(&["user", "export", "ann@doe.com"]);
    assert_eq!(
        (&told["events"][0]["action"], &told["events"][0]["requestId"], &told["events"][0]["actor"]["type"]),
        (&json!("user.created"), &summary["batch"], &json!("operator"))
    );
    let (again, _) = import(&server, &file, &["--tenant", "Clinic North"]);
    assert_eq!(counts(&again), [8, 0, 5, 3]);
}

#[test]
fn an_import_is_undone_by_its_batch_but_for_who_has_changed_since() {
    let server = Program::start(&[]);
    let people = "email,email_verified\nann@doe.com,\nbob@doe.com,\ncem@doe.com,yes\n";
    let file = write(&server.folder, "people.csv", people);
    let (summary, _) = import(&server, &file, &["--send-links", "--public-url", &server.url]);
    let batch = summary["batch"].as_str().unwrap();
    assert_eq!(server.call("POST", "/users/update", &json!({"email": "bob@doe.com", "diabetes": 1})).0, 200);
    let mails = server.json(&["mail", "list"]);
    let of_cem = mails.as_array().unwrap().iter().find(|mail| mail["to"] == "cem@doe.com").unwrap();
    let mail = server.json(&["mail", "show", of_cem["id"].as_str().unwrap()]);
    let link = mail["links"][0].as_str().unwrap().strip_prefix(&server.url).unwrap();
    let follow = format!("POST {link} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(raw(&server.url, follow.as_bytes()).0.contains(" 303 "));
    let undone = server.json(&["import", "undo", batch]);
    assert_eq!((&undone["removed"], &undone["kept"]), (&json!(1), &json!(2)), "Bob was changed, Cem is signed in");
    let left = server.json(&["user", "list"]);
    assert_eq!(left.as_array().unwrap().len(), 2);
    assert_eq!(server.json(&["import", "undo", batch]), undone, "again, there is nothing left to do");
    let listed = &server.json(&["import", "list"])[0];
    assert_eq!((&listed["batch"], &listed["state"]), (&json!(batch), &json!("undone")));
    let (again, _) = import(&server, &file, &[]);
    assert_eq!((&again["imported"], &again["duplicates"]), (&json!(1), &json!(2)), "Ann can be imported again");
    assert_ne!(again["batch"], summary["batch"]);
}

#[test]
fn a_pipe_is_not_taken_for_an_empty_file() {
    let server = Program::start(&[]);
    let mut command = usher(&server.folder);
    command.args(["import", "/dev/stdin", "--format", "csv", "--environment", "sandbox", "--result"]);
    command.arg(server.folder.0.join("result.csv")).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut import = command.spawn().unwrap();
    // It may be gone before it has read anything.
    let _ = std::io::Write::write_all(&mut import.stdin.take().unwrap(), b"email\nann@doe.com\n");
    let refused = import.wait_with_output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("no pipe"), "{said}");
}

#[test]
fn links_are_mailed_only_when_that_is_asked_for_and_to_nobody_who_is_frozen() {
    let server = Program::start(&[]);
    let people = "{\"email\":\"ann@doe.com\",\"status\":\"frozen\"}\n{\"email\":\"bob@doe.com\"}\n";
    let file = write(&server.folder, "people.jsonl", people);
    let url = server.url.clone();
    import(&server, &file, &["--send-links", "--public-url", &url]);
    let mails = server.json(&["mail", "list"]);
    assert_eq!((mails.as_array().unwrap().len(), &mails[0]["to"]), (1, &json!("bob@doe.com")));
    assert_eq!(server.json(&["user", "show", "ann@doe.com"])["status"], "frozen");
    let refused = server.run(&["import", file.to_str().unwrap(), "--environment", "sandbox", "--send-links"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--public-url"));
}

#[test]
fn the_unit_of_a_field_stands_beside_it() {
    let server = Program::start(&[]);
    let listed = String::from_utf8(server.run(&["import", "fields"]).stdout).unwrap();
    for line in
        ["currentWeight, in pounds", "desiredWeight, in pounds", "height, in feet and inches (5ft 6in)", "allergies"]
    {
        assert!(listed.lines().any(|listed| listed == line), "{line}: {listed}");
    }
    let file = write(&server.folder, "people.csv", "email,Weight (lb),weight,height\nann@doe.com,130,59,\n");
    let output = server.run(&["import", file.to_str().unwrap(), "--environment", "sandbox", "--dry-run"]);
    let said = String::from_utf8(output.stderr).unwrap();
    for line in ["Weight (lb) -> currentWeight, in pounds", "weight -> nothing", "height -> height, in feet and inches"]
    {
        assert!(said.contains(line), "{line}: {said}");
    }
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/import.md")).unwrap();
    assert!(guide.contains("pounds") && guide.contains("5ft 6in"));
}

#[test]
fn a_link_that_would_lead_nowhere_is_mailed_to_nobody() {
    let server = Program::start(&[]);
    let file = write(&server.folder, "people.csv", "email\nann@doe.com\n");
    for environment in ["sandbox", "live"] {
        server.json(&["import", file.to_str().unwrap(), "--environment", environment]);
    }
    let says = |arguments: &[&str]| {
        let output = server.run(arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for arguments in [
        &["user", "send-link", "ann@doe.com", "--environment", "live"][..],
        &["admin", "create", "bob@clinic.example", "--role", "owner", "--mail"],
    ] {
        let (code, said) = says(arguments);
        assert!(
            code == Some(1) && said.contains("--public-url") && said.contains("for people"),
            "{arguments:?}: {said}"
        );
    }
    assert_eq!(server.json(&["mail", "list"]), json!([]));
    assert_eq!(server.json(&["admin", "list"]), json!([]), "nor is anybody made an administrator");
    let sent = server.json(&["user", "send-link", "ann@doe.com", "--environment", "sandbox"]);
    assert_eq!(sent["sent"], true, "where mail stays");
    let link = server.json(&["admin", "create", "bob@clinic.example", "--role", "owner"])["link"].clone();
    assert!(link.as_str().unwrap().starts_with("http://127.0.0.1:8080/"), "what is printed is for who is here");
    let (code, said) = says(&["admin", "link", "bob@clinic.example", "--mail"]);
    assert!(code == Some(1) && said.contains("--public-url"), "{said}");
    let live = ["user", "send-link", "ann@doe.com", "--environment", "live", "--public-url", &server.url];
    assert_eq!(server.json(&live)["sent"], true);
    assert_eq!(
        server.json(&["admin", "link", "bob@clinic.example", "--mail", "--public-url", &server.url])["link"],
        Value::Null
    );
}

#[test]
fn what_cannot_be_imported_is_refused_with_what_to_do() {
    let server = Program::start(&[]);
    let file = write(&server.folder, "people.csv", "Name,Contact\nAnn,ann@doe.com\n");
    let file = file.to_str().unwrap();
    for (arguments, words) in [
        (vec![file], "COLUMN=email. The columns of"),
        (vec![file, "--map", "Contact=mail"], "names a field that there is not"),
        (vec![file, "--map", "Contract=email"], "names a column that the file does not have"),
        (vec!["people.parquet"], "--format"),
        (vec!["nowhere.csv"], "cannot be read"),
        (vec![file, "--map", "Contact=email", "--result", file], "that is to be imported"),
    ] {
        let output = server.run(&[&["import"], &arguments[..], &["--environment", "sandbox"]].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(words), "{arguments:?}: {said}");
    }
    let output = server.run(&["import", "undo", "11111111-1111-4111-8111-111111111111"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("`usher import list`"));
    let (summary, _) = import(&server, Path::new(file), &["--map", "Contact=email"]);
    assert_eq!(summary["imported"], 1);
}

/// Someone of whom everything is known that an export has, with texts that a spreadsheet would run.
fn everything() -> Value {
    let mut all = json!({
        "status": "frozen", "tenant": "=Clinic", "role": "administrator", "email_verified": true,
        "email": "+ann@doe.com", "phone_number": "+1 202-555-0101", "externalId": "-42",
        "language": "en", "salutation": "@f", "salutationOther": "", "acceptedNewsletter": false, "name": "'",
        "given_name": "=HYPERLINK(\"https://x.example\")", "family_name": "O'Doe", "middle_name": "'=1", "nickname": "''",
        "preferred_username": "＝ann", "profile": "a,b;c", "picture": "\"quoted\"", "website": " x ", "gender": "-",
        "other_gender": "'t", "birthdate": "1990-12-23", "zoneinfo": "Europe/Berlin", "locale": "en-US"
    });
    let health = json!({
        "sex": "female", "height": "5ft 6in", "pregnant": false, "diabetes": 1, "glp1drugs": true, "paymentPlan": 6,
        "planStartDate": "2026-01-10",
        "subscriptionDates": {"paused_on": "2026-02-01", "paused_until": "2026-03-01", "last_day": "2026-12-31", "reason": "=moves"},
        "medicalClearance": "full", "medicalClearanceDescription": "one\r\ntwo\n\"three\"", "currentWeight": 130.5,
        "desiredWeight": 110, "allergies": "\t=nuts", "nutritionPreferences": "\n-", "religiousDietaryRestrictions": "",
        "doctorFullname": "@Dr. Mike Smith", "metadata": {"=a": {"b": [1, "x", null, true]}, "1": "=1"}
    });
    all.map().extend(health.as_object().unwrap().clone());
    all
}

fn export(server: &Program, name: &str, more: &[&str]) -> PathBuf {
    let file = server.folder.0.join(name);
    let arguments = ["export", "--environment", "sandbox", "--out", file.to_str().unwrap()];
    server.json(&[&arguments[..], more].concat());
    file
}

fn lines(file: &Path) -> Vec<Value> {
    std::fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What an import can know of a user: not their id here, and when they came.
fn facts(rows: Vec<Value>) -> Vec<Value> {
    rows.into_iter().map(|row| row.without("id").without("created_at").without("updated_at")).collect()
}

#[test]
fn what_is_exported_imports_back_to_the_same_records_as_csv_and_as_json_lines() {
    let columns: Vec<_> = imports::export::columns(true).into_iter().skip(3).collect();
    let (mut known, mut missing): (Vec<_>, Vec<_>) = (columns.clone(), columns);
    missing.retain(|column| everything().get(column).is_none());
    known.retain(|column| imports::fields().any(|field| field == *column));
    assert_eq!((missing.len(), known.len()), (0, everything().as_object().unwrap().len()), "{missing:?}");

    let bob = json!({"status": "active", "email_verified": false, "email": "bob@doe.com"});
    let (first, second, third) = (Program::start(&[]), Program::first_start(&[]), Program::first_start(&[]));
    let people = write(&first.folder, "people.jsonl", &format!("{}\n{bob}\n", everything()));
    assert_eq!(import(&first, &people, &[]).0["imported"], 2);

    let csv = export(&first, "out.csv", &["--health"]);
    assert_eq!(std::fs::metadata(&csv).unwrap().permissions().mode() & 0o777, 0o600);
    for record in csv::Reader::from_path(&csv).unwrap().records() {
        let record = record.unwrap();
        let runs = |cell: &&str| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝']);
        assert_eq!(record.iter().find(runs), None);
    }
    assert_eq!(import(&second, &csv, &[]).0["imported"], 2);
    let jsonl = export(&second, "out.jsonl", &["--health"]);
    assert_eq!(import(&third, &jsonl, &[]).0["imported"], 2);
    let last = facts(lines(&export(&third, "last.jsonl", &["--health"])));
    let mut expected = vec![everything(), bob];
    expected.sort_by_key(|row| row["email"].to_string());
    let mut last = last;
    last.sort_by_key(|row| row["email"].to_string());
    assert_eq!(last, expected);

    let read = first.json(&["user", "export", "bob@doe.com"]);
    let actions: Vec<_> = read["events"].as_array().unwrap().iter().map(|event| event["action"].clone()).collect();
    assert_eq!(
        actions,
        ["user.created", "user.health_read", "user.health_read"],
        "that health data was exported is noted"
    );
}

#[tokio::test]
async fn a_number_of_one_region_is_the_same_number_where_the_file_is_imported_in_another() {
    let (german, american) = (TestApp::new().await, TestApp::new().await);
    let id = german.client_id;
    let region = apps::Settings { region: Some("DE".parse().unwrap()), ..apps::Settings::default() };
    german.store().write(move |tx| apps::update(tx, OPERATOR, id, None, &region)).await.unwrap();
    let acme = german.partner("acme").await;
    let numbers =
        [("ann@doe.com", "030 123456"), ("bob@doe.com", "+49 30 123457"), ("cem@doe.com", "+1 (202) 555-0101")];
    for (email, number) in numbers {
        let body = jane().but("email", json!(email)).but("phonenumber", json!(number));
        acme.post("/users/create", body).await.ok();
    }
    let people = async |app: &TestApp, format: &str| {
        let path = format!("/admin/{}/sandbox/users/export?format={format}", app.client_id);
        app.admin(Role::Support).await.get(&path).await.ok().text
    };
    let known = async |app: &TestApp| -> Vec<(String, String)> {
        let sql = "SELECT email, phone_key FROM users ORDER BY email";
        let rows = app.store().read(move |tx| tx.query(sql, &[])).await.unwrap();
        rows.iter().map(|row| (row.get(0).unwrap(), row.get(1).unwrap())).collect()
    };
    let file = people(&german, "csv").await;
    american.server_of("acme").await.send("POST", "/v1/imports", file).await.ok();
    take_over(&american).await;
    assert_eq!(known(&american).await, known(&german).await);
    let rows = people(&american, "jsonl").await;
    let row = |row: &str| serde_json::from_str::<Value>(row).unwrap();
    let mut shown: Vec<Value> = rows.lines().map(|line| row(line)["phone_number"].clone()).collect();
    shown.sort_by_key(Value::to_string);
    assert_eq!(shown, ["+1 (202) 555-0101", "+49 30 123457", "+4930123456"]);
}

#[test]
fn an_export_has_health_data_only_when_asked_and_whom_the_filters_name() {
    let server = Program::start(&[]);
    let people = write(&server.folder, "people.jsonl", &format!("{}\n{{\"email\":\"bob@doe.com\"}}\n", everything()));
    import(&server, &people, &[]);
    let frozen = lines(&export(&server, "frozen.jsonl", &["--status", "frozen"]));
    assert_eq!((frozen.len(), &frozen[0]["phone_number"]), (1, &json!("+1 202-555-0101")));
    assert!(frozen[0].get("allergies").is_none() && frozen[0].get("metadata").is_none());
    assert_eq!(lines(&export(&server, "tenant.jsonl", &["--tenant", "=Clinic"])).len(), 1);
    assert_eq!(lines(&export(&server, "none.jsonl", &["--created-to", "2020-01-01"])).len(), 0);
    let read = server.json(&["user", "export", "bob@doe.com"]);
    assert_eq!(read["events"][0]["action"], "user.created");
    let once_more = server.run(&["export", "--environment", "sandbox", "--out", "none.jsonl"]);
    assert!(String::from_utf8_lossy(&once_more.stderr).contains("is there already"), "nothing is written over");
}

#[test]
fn a_file_for_a_spreadsheet_says_that_it_is_utf_8() {
    let server = Program::start(&[]);
    let people = write(&server.folder, "people.csv", "email,family_name\nann@doe.com,Müller\n");
    let (summary, _) = import(&server, &people, &[]);
    let csv = export(&server, "out.csv", &[]);
    for file in [csv.to_str().unwrap(), summary["resultFile"].as_str().unwrap()] {
        let bytes = std::fs::read(file).unwrap();
        assert!(bytes.starts_with(b"\xEF\xBB\xBF"), "{file}: {:?}", &bytes[..8]);
    }
    assert!(std::fs::read_to_string(&csv).unwrap().contains("Müller"));
    assert!(std::fs::read_to_string(export(&server, "out.jsonl", &[])).unwrap().starts_with('{'));
}

#[test]
fn an_export_that_cannot_be_written_leaves_no_file_and_no_entry_in_the_trail() {
    let server = Program::start(&[]);
    let there = write(&server.folder, "there.csv", "mine");
    let file = server.folder.0.join("people.json");
    let refused = |out: &Path, words: &str| {
        let output = server.run(&["export", "--environment", "sandbox", "--out", out.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(words), "{said}");
    };
    refused(&file, "csv or jsonl");
    assert!(!file.exists());
    refused(&there, "is there already");
    refused(Path::new("/nowhere/people.csv"), "cannot be written");
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "mine");
    assert_eq!(server.json(&["audit", "list", "--action", "users.exported"]), json!([]));
    export(&server, "people.json", &["--format", "jsonl"]);
    assert_eq!(server.json(&["audit", "list", "--action", "users.exported"]).as_array().unwrap().len(), 1);
}

#[test]
fn what_became_of_rows_is_written_over_nothing() {
    let server = Program::start(&[]);
    let file = write(&server.folder, "people.csv", "email\nann@doe.com\n");
    let mine = write(&server.folder, "people.result.csv", "mine");
    let (first, lines) = import(&server, &file, &[]);
    assert_eq!(lines[0][1], "imported");
    let (second, lines) = import(&server, &file, &[]);
    assert_eq!(lines[0][1], "duplicate");
    assert_ne!(first["resultFile"], second["resultFile"]);
    assert_eq!(std::fs::read_to_string(mine).unwrap(), "mine");
    let kept = std::fs::read_to_string(first["resultFile"].as_str().unwrap()).unwrap();
    assert!(kept.contains("imported"), "{kept}");
    let mode = std::fs::metadata(second["resultFile"].as_str().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A list of so many people.
pub fn people(count: usize) -> String {
    let lines: Vec<String> = (0..count).map(|n| format!("user{n}@doe.com\n")).collect();
    format!("email\n{}", lines.concat())
}

fn settings() -> Settings {
    Settings { format: "csv".into(), ..Settings::default() }
}

pub fn work(file: &str, at_once: usize) -> Work {
    let rows = || Rows::new(imports::Format::Csv, std::io::Cursor::new(file.to_owned())).unwrap();
    let plan = settings().plan(&imports::survey(rows()).unwrap().columns).unwrap();
    Work { plan, rows: rows(), links: None, at_once }
}

pub async fn begin(app: &TestApp, file: &str) -> Import {
    let (client, digest) = (app.client_id, usher::secret::sha256(file.as_bytes()));
    let total = file.lines().count() as u64 - 1;
    let begun = app.store().write(move |tx| {
        let caller = Caller::operator(&apps::environment(tx, client, Kind::Sandbox)?);
        imports::begin(tx, &caller, &New { tenant: None, settings: settings(), total, digest, source: None })
    });
    begun.await.unwrap()
}

#[tokio::test]
async fn an_import_that_was_cut_off_goes_on_where_it_stopped_and_takes_nobody_twice() {
    let app = TestApp::new().await;
    let file = people(100);
    let import = begin(&app, &file).await;
    let mut left = 3;
    let mut until_cut = |_: &[Outcome]| {
        left -= 1;
        if left == 0 { Err(Error::operator("cut off")) } else { Ok(()) }
    };
    assert!(imports::go_on(app.store(), &import, work(&file, 10), &mut until_cut).await.is_err());
    let again = begin(&app, &file).await;
    assert_eq!((again.id, again.place, again.imported, again.state), (import.id, 30, 30, State::Running));
    let elsewhere = imports::go_on(app.store(), &import, work(&file, 10), &mut |_| Ok(())).await;
    assert_eq!(elsewhere.unwrap_err().code(), "import_elsewhere", "what is behind cannot go on beside what is ahead");
    let done = imports::go_on(app.store(), &again, work(&file, 10), &mut |_| Ok(())).await.unwrap();
    assert_eq!((done.state, done.imported, done.duplicates, done.failed), (State::Done, 100, 0, 0));
    assert_eq!(app.count("users").await, 100);
    let scope = usher::caller::Scope { environment: done.environment, tenant: None };
    let all = app.store().read(move |tx| imports::outcomes(tx, scope, done.id, 0, 1000)).await.unwrap();
    assert_eq!(all.iter().map(|outcome| outcome.row).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
    assert_ne!(begin(&app, &file).await.id, import.id, "what is done is not gone on with");
}

/// Six thousand rows, of which every hundredth is about somebody of before, and the one after it about nobody.
fn long_list() -> String {
    let row = |n: usize| match n % 100 {
        98 => format!("USER{}@doe.com,Again\n", n / 20 * 10),
        99 => "nobody,None\n".to_owned(),
        _ => format!("user{n}@doe.com,User {n}\n"),
    };
    format!("E-mail,First name\n{}", (0..6000).map(row).collect::<String>())
}

/// The counts of an import, what it says of each row, and whom it makes. An id is told as the first row that has it.
fn taken_over(server: &Program, file: &Path) -> (Value, Vec<Vec<String>>, Vec<String>) {
    let (summary, mut rows) = import(server, file, &["--tenant", "Clinic North"]);
    let mut first = HashMap::new();
    for row in &mut rows {
        let (number, id) = (row[0].clone(), row[2].clone());
        row[2].clone_from(first.entry(id).or_insert(number));
    }
    let users = lines(&export(server, "users.jsonl", &[]));
    let row_of = |user: &Value| json!(first[user["id"].as_str().unwrap()]);
    let named: Vec<_> = users.iter().map(row_of).collect();
    let mut people: Vec<_> =
        facts(users).into_iter().zip(named).map(|(facts, row)| facts.but("id", row).to_string()).collect();
    people.sort_unstable();
    (summary.without("resultFile").without("batch"), rows, people)
}

#[test]
fn an_import_whose_process_was_killed_ends_by_the_same_command_as_if_nothing_had_been() {
    let list = long_list();
    let undisturbed = Program::start(&[]);
    let expected = taken_over(&undisturbed, &write(&undisturbed.folder, "people.csv", &list));
    assert_eq!(expected.0, json!({"total": 6000, "imported": 5880, "duplicates": 60, "failed": 60}));

    let (_, _, folder) = Program::start(&[]).stop();
    let file = write(&folder, "people.csv", &list);
    let mut run = usher(&folder)
        .args(["import", file.to_str().unwrap(), "--environment", "sandbox", "--tenant", "Clinic North"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let intruder = folder.intruder();
    let users = || intruder.counts("SELECT COUNT(*) FROM users");
    while users() == 0 && run.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    run.kill().unwrap();
    assert_eq!(run.wait().unwrap().signal(), Some(9), "it had ended");
    // The server there does what it was sent, and only then sees that nobody is left.
    let sessions = "SELECT COUNT(*) FROM pg_stat_activity \
                    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
    while cluster::on_postgres() && intruder.counts(sessions) > 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let there = users();
    drop(intruder);
    assert!(0 < there && there < 5880, "midway: {there}");

    let server = Program::start_in(folder, &[]);
    let cut_off = server.json(&["import", "list"]);
    assert_eq!((&cut_off[0]["state"], &cut_off[0]["imported"]), (&json!("running"), &json!(there)));
    let (counts, rows, people) = taken_over(&server, &file);
    assert_eq!(counts, expected.0);
    assert!(rows == expected.1, "what is said of a row is another");
    assert!(people == expected.2, "the people are others");
    let all = server.json(&["import", "list"]);
    assert_eq!((all.as_array().unwrap().len(), &all[0]["state"]), (1, &json!("done")));
    assert_eq!(all[0]["batch"], cut_off[0]["batch"]);
}
