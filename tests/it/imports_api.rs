//! Files of people that an app's server sends: `/v1/imports`.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use usher::admins::Role;
use usher::api::body::LARGE_AT_ONCE;
use usher::audit::Action;
use usher::imports;

use crate::harness::{Answer, Client, TestApp, jane, john};
use crate::imports::people;
use crate::imports_page::{self, form_with};
use crate::program::{Program, raw};

/// What a task does beside a server.
pub async fn take_over(app: &TestApp) {
    usher::app::import(app.app.api()).await.unwrap();
}

/// What is said of the import that this answer is about.
async fn again(client: &Client<'_>, begun: &Answer) -> Value {
    let id = begun.body["data"]["id"].as_str().unwrap();
    client.get(&format!("/v1/imports/{id}")).await.ok().body["data"].clone()
}

async fn post(client: &Client<'_>, query: &str, file: &str) -> Answer {
    client.send("POST", &format!("/v1/imports{query}"), file.to_owned()).await
}

#[tokio::test]
async fn an_apps_server_sends_a_file_and_asks_what_became_of_it() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let file =
        "email,given_name,email_verified,role\nann@doe.com,Ann,yes,administrator\ncanary,Bob,,\nANN@doe.com,Ann,,\n";
    let begun = post(&server, "", file).await.ok().body["data"].clone();
    assert_eq!((&begun["state"], &begun["total"], &begun["finishedAt"]), (&json!("running"), &json!(3), &Value::Null));
    let path = format!("/v1/imports/{}", begun["id"].as_str().unwrap());
    take_over(&app).await;
    let done = server.get(&path).await.ok().body["data"].clone();
    let counts = ["read", "imported", "duplicates", "failed"].map(|name| done[name].as_u64().unwrap());
    assert_eq!((&done["state"], counts), (&json!("done"), [3, 1, 1, 1]));
    let first = server.get(&format!("{path}/rows?limit=2")).await.ok().body["data"].clone();
    let statuses: Vec<_> = first["items"].as_array().unwrap().iter().map(|row| row["status"].clone()).collect();
    assert_eq!((statuses, &first["nextCursor"]), (vec![json!("imported"), json!("failed")], &json!("2")));
    let last = server.get(&format!("{path}/rows?limit=2&cursor=2")).await.ok().body["data"].clone();
    assert_eq!((&last["items"][0]["row"], &last["nextCursor"]), (&json!(3), &Value::Null));
    let ann = app.user(first["items"][0]["userId"].as_str().unwrap()).await;
    assert_eq!((ann.email_verified_at, ann.role), (None, None), "a key does not say what only the person can prove");
    assert!(app.mails().await.is_empty());
    assert_eq!(app.count("imports").await, 1);

    app.server().await.send("DELETE", &path, "").await.ok();
    take_over(&app).await;
    let mut by = Vec::new();
    for action in [Action::UserCreated, Action::ImportUndone, Action::UserErased] {
        by.push(app.audited(action).await[0].actor.unwrap());
    }
    assert!(by[1] == by[2] && by[0] != by[1], "who undoes an import erases its users: {by:?}");
    let undone = server.get(&path).await.ok().body["data"].clone();
    assert_eq!((&undone["state"], &undone["removed"]), (&json!("undone"), &json!(1)));
    assert_eq!(app.count("users").await, 0);
}

#[tokio::test]
async fn what_is_sent_waits_sealed_survives_a_server_and_is_gone_when_it_is_done() {
    let app = TestApp::new().await;
    let partner = app.server_of("acme").await;
    let file =
        "{\"email\":\"ann@doe.com\",\"given_name\":\"canary\"}\n{\"email\":\"bob@doe.com\",\"tenant\":\"other\"}\n";
    let with_key = partner.with("Idempotency-Key", "k");
    let begun = post(&with_key, "?send_links=true", file).await.ok();
    let again = post(&with_key, "?send_links=true", file).await.ok();
    assert_eq!((begun.text, again.header("idempotent-replayed")), (again.text.clone(), "true"));
    assert_eq!(post(&with_key, "?send_links=true", "email\nother@doe.com\n").await.status, 422);
    let row = app.store().read(|tx| tx.query_opt("SELECT sealed FROM import_files", &[])).await.unwrap().unwrap();
    let sealed: Vec<u8> = row.get(0).unwrap();
    assert!(!sealed.windows(6).any(|part| part == b"canary"));
    let another = app.another_store().await;
    assert!(another.read(imports::waits).await.unwrap());
    take_over(&app).await;
    assert_eq!(app.count("import_files").await, 0);
    let users = partner.get("/v1/users").await.ok();
    assert_eq!(users.body["data"]["itemsLength"], 2, "all are of the key's tenant, whatever the file says");
    assert_eq!(app.mails().await.len(), 2);
}

#[tokio::test]
async fn a_rehearsal_tells_what_would_become_of_each_row_and_makes_nobody() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let file = people(150) + "USER1@doe.com\n";
    let begun = post(&server, "?rehearse=true", &file).await.ok().body["data"].clone();
    take_over(&app).await;
    let done = server.get(&format!("/v1/imports/{}", begun["id"].as_str().unwrap())).await.ok().body["data"].clone();
    assert_eq!(
        (&done["state"], &done["imported"], &done["duplicates"], &done["rehearsed"]),
        (&json!("done"), &json!(150), &json!(1), &json!(true))
    );
    assert_eq!(app.count("users").await, 0);
    let named = post(&server, "?rehearse=true", "email,tenant\nann@doe.com,New\n").await.ok();
    take_over(&app).await;
    assert_eq!(again(&server, &named).await["state"], "done");
    assert_eq!(app.count("tenants").await, 0, "nor a tenant that a row names");
}

#[tokio::test]
async fn what_is_ignored_of_a_keys_file_makes_no_row_fail_whatever_stands_in_it() {
    let app = TestApp::new().await;
    let house = app.server().await;
    for (query, file, ignored) in [
        (
            "",
            "email,emailVerified,tenant\nann@doe.com,2024-01-31T10:00:00.000Z,\nbob@doe.com,pending,\n",
            json!(["emailVerified"]),
        ),
        ("", "{\"email\":\"cem@doe.com\",\"role\":[\"patient\"]}\n{\"email\":\"dan@doe.com\"}\n", json!(["role"])),
        (
            "?rehearse=true",
            "{\"email\":\"eve@doe.com\",\"role\":[\"patient\"]}\n{\"email\":\"fay@doe.com\"}\n",
            json!(["role"]),
        ),
    ] {
        let begun = post(&house, query, file).await.ok();
        assert_eq!(begun.body["data"]["ignored"], ignored, "{file}");
        take_over(&app).await;
        let done = again(&house, &begun).await;
        assert_eq!((&done["imported"], &done["failed"]), (&json!(2), &json!(0)), "{file}");
    }
    let of_acme = app.server_of("acme").await;
    let begun = post(&of_acme, "", "{\"email\":\"gus@doe.com\",\"tenant\":[\"other\"]}\n").await.ok();
    assert_eq!(begun.body["data"]["ignored"], json!(["tenant"]));
    take_over(&app).await;
    assert_eq!(again(&of_acme, &begun).await["imported"], 1, "all are of the key's tenant");
}

/// What is said of the rows of an import: the user, and why.
async fn rows(client: &Client<'_>, begun: &Answer) -> Vec<(Value, Value)> {
    let id = begun.body["data"]["id"].as_str().unwrap();
    let page = client.get(&format!("/v1/imports/{id}/rows")).await.ok().body["data"].clone();
    page["items"].as_array().unwrap().iter().map(|row| (row["userId"].clone(), row["reason"].clone())).collect()
}

#[tokio::test]
async fn a_row_with_a_list_for_a_text_fails_by_the_fields_name() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let file = "{\"email\":\"ann@doe.com\",\"allergies\":[\"canary\",\"milk\"]}\n";
    let begun = post(&server, "", file).await.ok();
    take_over(&app).await;
    assert_eq!(rows(&server, &begun).await, [(Value::Null, json!("allergies must be a string"))]);
    assert_eq!(app.count("users").await, 0);
}

#[tokio::test]
async fn a_key_of_a_tenant_is_told_who_is_there_of_its_own_and_not_of_others() {
    let app = TestApp::new().await;
    let enrolled = [("acme", jane()), ("other", john())];
    let mut ids = Vec::new();
    for (tenant, person) in enrolled {
        ids.push(json!(app.partner(tenant).await.post("/users/create", person).await.ok().id()));
    }
    let (acme, house) = (app.server_of("acme").await, app.server().await);
    let file = "email\njane@doe.com\njohn@doe.com\nann@doe.com\nann@doe.com\n";
    let why = json!("email: a user has it");
    let mut ann = Value::Null;
    let tenant = post(&acme, "?rehearse=true", file).await.ok().body["data"]["tenantId"].clone();
    let tenant = tenant.as_str().unwrap();
    // The rehearsal, its own import, and one that the app's own server made for the tenant.
    for (client, query) in [(&acme, ""), (&acme, "?rehearse=true"), (&house, &format!("?tenant={tenant}"))] {
        app.advance(Duration::from_secs(1));
        let begun = post(client, query, file).await.ok();
        take_over(&app).await;
        let seen = rows(&acme, &begun).await;
        assert_eq!(seen[0], (ids[0].clone(), why.clone()), "{query}");
        assert_eq!(seen[1], (Value::Null, why.clone()), "{query}");
        assert!(seen[2].0.is_string() && (ann.is_null() || seen[2].0 == ann), "{query}: {seen:?}");
        assert_eq!(seen[3].0, seen[2].0, "{query}");
        ann = seen[2].0.clone();
        let all = rows(&house, &begun).await;
        assert_eq!((&all[0].0, &all[1].0), (&ids[0], &ids[1]), "who sees all of the environment is told of all");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_imported_is_refused_at_once_and_without_its_words() {
    let app = TestApp::new().await;
    let server = app.server().await;
    for (query, file, words) in [
        ("", "", "empty"),
        ("", "name\ncanary\n", "No column becomes the e-mail address"),
        ("?map=canary=email", "mail\na@b.co\n", "names a column"),
        ("?map=mail=canary", "mail\na@b.co\n", "names a field"),
        ("?format=json", "{", "not valid JSON"),
        ("?format=xml", "email\n", "format must be"),
        ("?canary=1", "email\n", "query"),
        ("?tenant=11111111-1111-4111-8111-111111111111", "email\na@b.co\n", "Tenant not found"),
    ] {
        let answer = post(&server, query, file).await;
        assert!([400, 404].contains(&answer.status) && answer.error().contains(words), "{query}: {}", answer.text);
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    let large = format!("email\n{}\n", "x".repeat(17 * 1024 * 1024));
    assert_eq!(post(&server, "", &large).await.status, 413);
    assert_eq!(app.count("imports").await, 0);
}

#[tokio::test]
async fn a_file_with_more_than_a_thousand_columns_is_refused_whatever_its_format_and_door() {
    let app = TestApp::new().await;
    let (server, owner) = (app.server().await, app.admin(Role::Owner).await);
    let names: Vec<String> = (0..1000).map(|n| format!("c{n}")).collect();
    let object = |names: &[String]| format!("{{\"email\":1,\"{}\":1}}", names.join("\":1,\""));
    let files = |names: &[String]| {
        let csv = format!("email,{}\n", names.join(","));
        [csv, object(names) + "\n", format!("[{}]", object(names)), format!("{{\"users\":[{}]}}", object(names))]
    };
    for file in files(&names) {
        let answer = post(&server, "", &file).await;
        assert_eq!((answer.status, answer.error()), (400, "The file has more than 1000 columns"), "{file:.20}");
        let answer = imports_page::send(&app, &owner, &file).await;
        assert!(answer.status == 400 && answer.text.contains("more than 1000 columns"), "{file:.20}");
    }
    assert_eq!(app.count("imports").await, 0);
    for file in files(&names[1..]) {
        post(&server, "", &file).await.ok();
    }
}

#[tokio::test]
async fn a_realm_of_keycloak_is_read_past_what_is_not_its_users_and_a_row_that_is_wrong_fails_alone() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let long = "x".repeat(1024 * 1024);
    let user = |id: &str, email: &str| json!({"id": id, "username": id, "enabled": true, "emailVerified": true, "firstName": "A", "email": email});
    let (ann, bob) = (user("a", "ann@doe.com"), user("b", "bob@doe.com"));
    let file = format!(
        r#"{{"realm":"x","clients":[{{"users":[{{}}]}}],"users":[{ann},{{"email":"{long}"}},{{"id":1,"id":2}},7,{bob}],"groups":[]}}"#
    );
    let begun = post(&server, "", &file).await.ok();
    let data = &begun.body["data"];
    assert_eq!((&data["total"], &data["preset"]), (&json!(5), &json!("keycloak")));
    take_over(&app).await;
    let done = again(&server, &begun).await;
    assert_eq!(["imported", "failed"].map(|name| done[name].as_u64().unwrap()), [2, 3]);
    let reasons: Vec<Value> = rows(&server, &begun).await.into_iter().map(|(_, why)| why).collect();
    let words = ["the row is longer than 1 MiB", "the row has a key twice", "the row is not a JSON object"];
    assert_eq!(reasons, [Value::Null, json!(words[0]), json!(words[1]), json!(words[2]), Value::Null]);
    for broken in [r#"[{"email":"ann@doe.com"},{"email":canary}]"#, r#"[{"email":"ann@doe.com"},{"#] {
        let refused = post(&server, "?format=json", broken).await;
        assert_eq!((refused.status, refused.error()), (400, "The file is not valid JSON"));
    }
}

#[tokio::test]
async fn a_file_that_is_only_like_an_export_loses_no_column_without_a_word() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let file = "user_id,email,email_verified,birthdate,allergies,shoes\n1,ann@doe.com,true,1990-01-31,nuts,38\n";
    let begun = post(&server, "", file).await.ok();
    let told = ["preset", "ignored"].map(|name| begun.body["data"][name].clone());
    assert_eq!(told, [json!("auth0"), json!(["shoes", "email_verified"])], "a key says nobody's address is proven");
    assert_eq!(again(&server, &begun).await["ignored"], told[1], "and says so as long as it runs");
    take_over(&app).await;
    assert_eq!(again(&server, &begun).await["ignored"], told[1], "and when the file is gone");
    let page = format!("/admin/{}/sandbox/imports/{}", app.client_id, begun.body["data"]["id"].as_str().unwrap());
    let page = app.admin(Role::Owner).await.get(&page).await.ok().text;
    assert!(page.contains("<dt>Columns left out</dt><dd>shoes, email_verified</dd>"), "{page}");
    let ann = app.user(rows(&server, &begun).await[0].0.as_str().unwrap()).await.person;
    assert!(ann.profile.birthdate.is_some() && ann.health.allergies.is_some() && ann.external_id.is_some());
    app.advance(Duration::from_secs(1));
    let named = post(&server, "?preset=auth0&rehearse=true", file).await.ok();
    assert_eq!(named.body["data"]["ignored"], json!(["birthdate", "allergies", "shoes", "email_verified"]));
    let plain = post(&server, "?rehearse=true", "email\nann@doe.com\n").await.ok();
    let told = ["preset", "ignored"].map(|name| plain.body["data"][name].clone());
    assert_eq!(told, [Value::Null, json!([])]);
    let file = "email,clinic\nbob@doe.com,south\n";
    let of_acme = post(&app.server_of("acme").await, "?rehearse=true", file).await.ok();
    let acme = of_acme.body["data"]["tenantId"].as_str().unwrap();
    let for_acme = post(&server, &format!("?rehearse=true&tenant={acme}"), file).await.ok();
    for to_one in [&of_acme, &for_acme] {
        assert_eq!(to_one.body["data"]["ignored"], json!(["clinic"]));
    }
}

#[tokio::test]
async fn whoever_is_erased_while_a_file_waits_does_not_come_back_by_it() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let file = "email,phone\nann@doe.com,\nJane@DOE.com,\njj@doe.com,+1 123 456 7890\n";
    let rehearsed = post(&server, "?rehearse=true", file).await.ok();
    app.advance(Duration::from_secs(1));
    let waiting = post(&server, "", file).await.ok();
    server.post(&format!("/v1/users/{id}/erase"), json!({})).await.ok();
    app.advance(Duration::from_secs(1));
    let later = post(&server, "", "email\njane@doe.com\n").await.ok();
    take_over(&app).await;
    let counts = |import: Value| ["imported", "duplicates", "failed"].map(|name| import[name].as_u64().unwrap());
    assert_eq!(counts(again(&server, &rehearsed).await), [1, 0, 2], "a rehearsal says so too");
    let done = again(&server, &waiting).await;
    let rows = server.get(&format!("/v1/imports/{}/rows", done["id"].as_str().unwrap())).await.ok();
    assert!(rows.body["data"]["items"][1]["reason"].as_str().unwrap().contains("erased"), "{}", rows.text);
    assert_eq!(counts(done), [1, 0, 2]);
    assert_eq!(counts(again(&server, &later).await), [1, 0, 0], "who is sent again is meant to come");
    assert_eq!(app.count("import_erased").await, 0, "nothing of her stays");
}

#[tokio::test]
async fn who_is_taken_back_with_one_file_comes_by_the_one_that_waits() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let wrong = post(&server, "", "email,given_name\nann@doe.com,Doe\n").await.ok();
    take_over(&app).await;
    server.send("DELETE", &format!("/v1/imports/{}", wrong.body["data"]["id"].as_str().unwrap()), "").await.ok();
    app.advance(Duration::from_secs(1));
    let right = post(&server, "", "email,given_name\nann@doe.com,Ann\n").await.ok();
    take_over(&app).await;
    assert_eq!(again(&server, &wrong).await["removed"], json!(1));
    assert_eq!(again(&server, &right).await["imported"], json!(1));
}

#[tokio::test]
async fn a_file_that_no_server_comes_to_is_gone_after_a_day() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let begun = post(&server, "", "email\nann@doe.com\n").await.ok();
    app.advance(Duration::from_hours(24));
    take_over(&app).await;
    let over = again(&server, &begun).await;
    assert_eq!((&over["state"], &over["imported"]), (&json!("broken"), &json!(0)));
    let reason = over["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("It was broken off: the file was kept for a day, and no longer. Send the file again"),
        "{reason}"
    );
    let listed = server.get("/v1/imports").await.ok().body["data"]["items"][0].clone();
    assert_eq!((&listed["id"], &listed["reason"]), (&over["id"], &over["reason"]));
    assert_eq!((app.count("import_files").await, app.count("users").await), (0, 0));
}

#[tokio::test]
async fn an_import_whose_server_died_goes_on_at_another_when_its_lease_is_over() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let begun = post(&server, "", &people(250)).await.ok();
    let links = app.app.api().links.clone();
    let (import, file) = app.store().write(imports::claim).await.unwrap().unwrap();
    assert!(!app.another_store().await.read(imports::waits).await.unwrap(), "it is this server's");
    let (id, plan) = (import.id, import.settings.plan(&["email".to_owned()]).unwrap());
    let mut rows = import.settings.rows(std::io::Cursor::new(file)).unwrap();
    let context = usher::field::Context { region: rlibphonenumber::Region::US, today: "2026-11-22".parse().unwrap() };
    let some: Vec<_> =
        (1..=100).map(|row| (row, plan.read(&rows.next().unwrap().unwrap().unwrap(), &context))).collect();
    app.store().write(move |tx| imports::add(tx, id, 0, &some, None)).await.unwrap();
    let read = again(&server, &begun).await["read"].clone();
    assert_eq!(read, json!(100), "and then it died");

    let other = app.another_store().await;
    app.advance(Duration::from_secs(61));
    let (import, file) = other.write(imports::claim).await.unwrap().unwrap();
    imports::serve(&other, import, file, &links).await.unwrap();
    let done = again(&server, &begun).await;
    assert_eq!((&done["state"], &done["imported"], &done["duplicates"]), (&json!("done"), &json!(250), &json!(0)));
    assert_eq!(app.count("users").await, 250);
}

#[tokio::test]
async fn files_that_wait_are_few_and_each_is_noted() {
    let app = TestApp::new().await;
    let server = app.server().await;
    for n in 0..20 {
        post(&server, "", &format!("email\nuser{n}@doe.com\n")).await.ok();
    }
    assert_eq!(post(&server, "", "email\nlast@doe.com\n").await.status, 429);
    assert_eq!(app.audited(Action::ImportBegun).await.len(), 20);
    take_over(&app).await;
    app.advance(Duration::from_secs(1));
    post(&server, "", "email\nlast@doe.com\n").await.ok();
    let list = server.get("/v1/imports").await.ok().body["data"].clone();
    assert_eq!((&list["itemsLength"], &list["items"][0]["state"]), (&json!(21), &json!("running")));
}

#[tokio::test]
async fn so_many_files_are_taken_in_at_once_and_who_comes_then_is_told_to_come_again_at_either_door() {
    let app = TestApp::new().await;
    let (server, owner) = (app.server().await, app.admin(Role::Owner).await);
    let dashboard = format!("/admin/{}/sandbox/imports", app.client_id);
    let owner = owner.with("Content-Type", "multipart/form-data; boundary=XX");
    let file = |n: usize| format!("email\nuser{n}@doe.com\n");
    let (read, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    // Sends when it may, and notes that somebody began to read it.
    let slow = |text: String| {
        let (read, go_on) = (Arc::clone(&read), Arc::clone(&go_on));
        Body::from_stream(futures_util::stream::once(async move {
            read.add_permits(1);
            let _ = go_on.acquire().await;
            Ok::<_, std::io::Error>(text)
        }))
    };
    let begin = |n| match n {
        0 => owner.send("POST", &dashboard, slow(form_with(&file(n)))),
        n => server.send("POST", "/v1/imports", slow(file(n))),
    };
    let first = join_all((0..LARGE_AT_ONCE).map(begin));
    let others = async {
        let all = u32::try_from(LARGE_AT_ONCE).unwrap();
        drop(read.acquire_many(all).await.unwrap());
        let asks_first = server.with("Expect", "100-continue");
        let refused = [
            server.send("POST", "/v1/imports", file(10)).await,
            owner.send("POST", &dashboard, form_with(&file(11))).await,
            asks_first.send("POST", "/v1/imports", slow(file(12))).await,
        ];
        assert_eq!(read.available_permits(), LARGE_AT_ONCE, "who asks first is not asked for the file");
        assert_eq!(app.count("imports").await, 0);
        go_on.add_permits(LARGE_AT_ONCE);
        refused
    };
    let (first, refused) = join(first, others).await;
    for answer in refused {
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{}", answer.text);
    }
    assert!(first.iter().all(|answer| matches!(answer.status, 200 | 303)));
    server.send("POST", "/v1/imports", file(20)).await.ok();
    assert_eq!(owner.send("POST", &dashboard, form_with(&file(21))).await.status, 303);
    assert_eq!(server.send("POST", "/v1/imports", "name\ncanary\n").await.status, 400);
    assert_eq!(app.count("imports").await, i64::try_from(LARGE_AT_ONCE).unwrap() + 2);
}

#[test]
fn who_hangs_up_while_a_file_is_sent_gives_the_place_back() {
    let server = Program::start(&[]);
    // No column becomes the address: it is read, and refused.
    let file = "name\ncanary\n";
    let request = |length: usize| {
        format!(
            "POST /v1/imports HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nX-API-KEY: {}\r\nX-API-KEY-TYPE: write\r\n\
             X-CLIENT-ID: {}\r\nContent-Length: {length}\r\n\r\n{file}",
            server.key, server.client_id
        )
    };
    let answer = || {
        let (head, _) = raw(&server.url, request(file.len()).as_bytes());
        head.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let half = || {
        let mut socket = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
        socket.write_all(request(1000).as_bytes()).unwrap();
        socket
    };
    let soon = |wanted: &str, first: &mut dyn FnMut()| {
        (0..50).any(|_| {
            first();
            std::thread::sleep(Duration::from_millis(50));
            answer() == wanted
        })
    };
    // One more each time: whoever comes while a question has the last place is refused, and only learns it late.
    let mut sending: Vec<TcpStream> = Vec::new();
    assert!(soon("503", &mut || sending.push(half())), "nobody was told to come again");
    drop(sending);
    assert!(soon("400", &mut || ()), "the places came back");
}
