//! Dated versions of the partner API: which one applies, and what each of them takes and answers.

use serde_json::{Value, json};
use usher::apps::Kind;
use usher::keys::NewKey;

use crate::harness::{But, TestApp, a_key, jane};
use crate::program::Program;

#[tokio::test]
async fn the_date_comes_from_the_header_then_the_key_then_is_the_newest() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let (_, pinned) = app.new_key(Kind::Sandbox, NewKey { api_version: Some("2023-08-01".into()), ..a_key() }).await;
    let pinned = app.anyone().with("Authorization", &format!("Bearer {pinned}"));
    for (client, applied) in [
        (acme.clone(), "2023-10-04"),
        (acme.with("Fitmate-Version", "2023-08-22"), "2023-08-22"),
        (acme.with("Usher-Version", "2023-08-01"), "2023-08-01"),
        (acme.with("fitmate-version", "2023-08-01").with("USHER-VERSION", "2023-08-01"), "2023-08-01"),
        (pinned.clone(), "2023-08-01"),
        (pinned.with("Fitmate-Version", "2023-10-04"), "2023-10-04"),
    ] {
        let answer = client.post("/users/update", json!({"email": "nobody@doe.com"})).await;
        assert_eq!((answer.status, answer.header("usher-version")), (404, applied));
    }
}

#[tokio::test]
async fn a_date_that_is_none_of_ours_is_400_with_the_list() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    for date in ["2023-10-05", "2022-01-01", "yesterday", "", "2023-10-4", "next"] {
        let answer = acme.with("Fitmate-Version", date).post("/users/create", jane()).await;
        assert_eq!(
            (answer.status, answer.message()),
            (400, "Unknown API version; the versions are 2023-08-01, 2023-08-22, 2023-10-04"),
            "{date}"
        );
    }
    let two = acme
        .with("Fitmate-Version", "2023-10-04")
        .with("Usher-Version", "2023-08-22")
        .post("/users/create", jane())
        .await;
    assert_eq!((two.status, &two.body["code"]), (400, &json!("two_versions")));
    assert_eq!(app.count("users").await, 0);
}

fn first_create() -> Value {
    json!({
        "email": "jane@doe.com", "firstname": "jane", "lastname": "doe", "phonenumber": "1234567890",
        "dateOfBirth": "1990-12-23", "gender": "female", "height": "5ft 6in", "weight": 130, "pregnant": false,
        "metadata": {"foodRestricition": "vegan"}
    })
}

#[tokio::test]
async fn the_first_version_takes_gender_and_weight_and_ignores_what_came_later() {
    let app = TestApp::new().await;
    let first = app.partner("acme").await.with("Fitmate-Version", "2023-08-01");
    let later = first_create()
        .but("diabetes", json!("nonsense"))
        .but("currentWeight", json!("abc"))
        .but("paymentPlan", json!(3));
    let id = first.post("/users/create", later).await.ok().id().to_owned();
    let health = json!(app.user(&id).await.person.health);
    assert_eq!(
        health,
        json!({"sex": "female", "height": "5ft 6in", "pregnant": false, "currentWeight": 130, "metadata": {"foodRestricition": "vegan"}})
    );
    for field in ["gender", "weight", "pregnant"] {
        let answer = first.post("/users/create", first_create().without(field)).await;
        assert_eq!((answer.status, answer.fields()), (400, vec![field]));
    }
}

#[tokio::test]
async fn the_first_version_updates_and_shows_its_ten_fields() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    acme.post("/users/create", jane().but("sex", json!("intersex"))).await.ok();
    let first = acme.with("Fitmate-Version", "2023-08-01");
    let answer = first
        .post("/users/update", json!({"email": "jane@doe.com", "firstname": "Janet", "weight": "131.5"}))
        .await
        .ok();
    assert_eq!(
        answer.body["data"].to_string(),
        r#"{"email":"jane@doe.com","firstname":"Janet","lastname":"doe","phonenumber":"1234567890","dateOfBirth":"1990-12-23","gender":null,"height":"5ft 6in","weight":131.5,"pregnant":false,"metadata":{"key":"value"}}"#
    );
    // What the version does not list is ignored.
    first.post("/users/update", json!({"email": "jane@doe.com", "diabetes": 3})).await.ok();
    assert_eq!(acme.post("/users/update", json!({"email": "jane@doe.com"})).await.ok().body["data"]["diabetes"], 0);
}

#[tokio::test]
async fn the_first_version_refuses_a_phone_number_that_another_has() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    acme.post("/users/create", jane()).await.ok();
    acme.post("/users/create", crate::harness::john()).await.ok();
    let first = acme.with("Fitmate-Version", "2023-08-01");
    let answer = first.post("/users/update", json!({"email": "john@doe.com", "phonenumber": "+11234567890"})).await;
    assert_eq!((answer.status, answer.message()), (409, "Phone number already exists"));
    let wrong = first.post("/users/update", json!({"email": "john@doe.com", "phonenumber": "1"})).await;
    assert_eq!((wrong.status, wrong.message()), (400, "Invalid phone number"));
}

#[tokio::test]
async fn the_middle_version_requires_what_both_neighbours_do() {
    let app = TestApp::new().await;
    let middle = app.partner("acme").await.with("Fitmate-Version", "2023-08-22");
    let least = json!({
        "email": "jane@doe.com", "firstname": "jane", "lastname": "doe", "phonenumber": "1234567890",
        "dateOfBirth": "1990-12-23", "sex": "female", "height": "5ft 6in", "weight": 130
    });
    for field in ["email", "firstname", "lastname", "phonenumber", "dateOfBirth", "sex", "height"] {
        let answer = middle.post("/users/create", least.clone().without(field)).await;
        assert_eq!((answer.status, answer.fields()), (400, vec![field]));
    }
    let weightless = middle.post("/users/create", least.clone().without("weight")).await;
    assert_eq!((weightless.status, weightless.fields()), (400, vec!["currentWeight"]));
    let checked = middle
        .post("/users/create", least.clone().but("diabetes", json!(4)).but("medicalClearance", json!("none")))
        .await;
    assert_eq!((checked.status, checked.fields()), (400, vec!["diabetes", "medicalClearance"]));
    let id = middle.post("/users/create", least.but("currentWeight", json!(125))).await.ok().id().to_owned();
    assert_eq!(json!(app.user(&id).await.person.health.current_weight), 125);
}

#[tokio::test]
async fn the_newest_version_ignores_weight() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let alone = acme.post("/users/create", jane().without("currentWeight").but("weight", json!(130))).await;
    assert_eq!((alone.status, alone.fields()), (400, vec!["currentWeight"]));
    let id = acme.post("/users/create", jane().but("weight", json!("nonsense"))).await.ok().id().to_owned();
    assert_eq!(json!(app.user(&id).await.person.health.current_weight), 130);
}

#[tokio::test]
async fn a_key_is_pinned_to_the_newest_date_by_its_first_request_and_moved_by_the_operator_only() {
    let app = TestApp::new().await;
    let (key, secret) = app.new_key(Kind::Sandbox, a_key()).await;
    let client = app.anyone().with("Authorization", &format!("Bearer {secret}"));
    let pinned = || async {
        let keys = app.store().read(usher::keys::list).await.unwrap();
        keys.into_iter().find(|one| one.id == key.id).unwrap().api_version
    };
    assert_eq!(pinned().await, None);
    let refused = client.with("Fitmate-Version", "yesterday").post("/users/update", json!({})).await;
    assert_eq!((refused.status, pinned().await), (400, None), "a request of no date is none");
    let applied = client.with("Fitmate-Version", "2023-08-01").post("/users/update", json!({})).await;
    assert_eq!(applied.header("usher-version"), "2023-08-01", "the header is for one request");
    assert_eq!(pinned().await.as_deref(), Some("2023-10-04"));
    let written = app.count("audit WHERE action = 'key.updated'").await;
    for _ in 0..3 {
        assert_eq!(client.post("/users/update", json!({})).await.header("usher-version"), "2023-10-04");
    }
    assert_eq!((written, app.count("audit WHERE action = 'key.updated'").await), (1, 1), "it was written once");
    let id = key.id;
    app.store()
        .write(move |tx| {
            usher::keys::move_to(tx, usher::caller::Origin::of(usher::caller::Actor::Operator), id, "2023-08-22")
        })
        .await
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(600));
    assert_eq!(client.post("/users/update", json!({})).await.header("usher-version"), "2023-08-22");
    assert_eq!(pinned().await.as_deref(), Some("2023-08-22"));
}

/// What `usher api diff` finds between two dates, a line for each difference.
fn differences(server: &Program, from: &str, to: &str) -> Vec<String> {
    let found = server.json(&["api", "diff", from, to]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = found["differences"].as_array().unwrap().iter();
    all.map(|one| format!("{}: {}", text(&one["place"]), text(&one["what"]))).collect()
}

#[test]
fn the_difference_of_two_dates_is_everything_that_is_not_the_same_in_their_documents_and_webhooks() {
    let server = Program::start(&[]);
    assert_eq!(
        differences(&server, "2023-08-22", "2023-10-04"),
        [
            "POST /users/create body diabetes: now required",
            "POST /users/create body glp1drugs: now required",
            "POST /users/create body paymentPlan: now required",
            "POST /users/create body planStartDate: now required",
            "POST /users/create body medicalClearance: now required",
            "POST /users/create body currentWeight: now required",
            "POST /users/create body weight: removed",
        ]
    );
    let mut expected: Vec<String> = [
        "POST /users/update responses 409: no longer: \"The phone number belongs to another user.\"",
        "POST /users/create body pregnant: no longer required",
        "POST /users/create body diabetes: added",
        "POST /users/create body glp1drugs: added",
        "POST /users/create body paymentPlan: added",
        "POST /users/create body planStartDate: added",
        "POST /users/create body medicalClearance: added",
        "POST /users/create body medicalClearanceDescription: added",
        "POST /users/create body weight: now required unless currentWeight is sent",
        "POST /users/create body currentWeight: added, required unless weight is sent",
        "POST /users/create body desiredWeight: added",
        "POST /users/create body allergies: added",
        "POST /users/create body nutritionPreferences: added",
        "POST /users/create body religiousDietaryRestrictions: added",
        "POST /users/create body doctorFullname: added",
    ]
    .map(str::to_owned)
    .to_vec();
    let gone = ["firstname", "lastname", "phonenumber", "dateOfBirth", "gender", "height", "weight", "pregnant"];
    for (part, added) in [("body", "added"), ("answer data", "added, always there")] {
        let new = ["diabetes", "glp1drugs", "doctorFullname", "medicalClearanceDescription"];
        expected.extend(new.map(|field| format!("POST /users/update {part} {field}: {added}")));
        expected.extend(gone.map(|field| format!("POST /users/update {part} {field}: removed")));
    }
    expected.push("webhook user.updated data fields subscription: added".to_owned());
    let events = ["updated", "paused", "resumed", "cancelled", "ended"];
    expected.extend(events.map(|event| format!("webhook subscription.{event}: added")));
    assert_eq!(differences(&server, "2023-08-01", "2023-08-22"), expected);

    let found = server.json(&["api", "diff", "2023-08-01", "2023-10-04"]);
    let notes = found["notes"].as_array().unwrap();
    let dates: Vec<&Value> = notes.iter().map(|note| &note["date"]).collect();
    assert_eq!(dates, [&json!("2023-08-22"), &json!("2023-10-04")]);
    assert!(notes[1]["affects"].as_str().unwrap().starts_with("Whoever creates users"), "{found}");
    assert!(!server.run(&["api", "diff", "2023-10-04", "2023-08-01"]).status.success());
}

#[test]
fn the_difference_in_words_says_as_much_and_that_nobody_is_behind() {
    let server = Program::start(&[]);
    let newest = &usher::api::versions::CHANGES[0];
    let mut expected = vec![
        format!("2023-10-04  {}", newest.note),
        format!("            Affected: {}", newest.affects),
        String::new(),
    ];
    let line = |difference: &String| {
        let (place, what) = difference.split_once(": ").unwrap();
        format!("{place:60} {what}")
    };
    expected.extend(differences(&server, "2023-08-22", "2023-10-04").iter().map(line));
    let nobody = [
        "",
        "No key is pinned to an older date than 2023-10-04, or has called one in the last 30 days.",
        "",
        "No webhook is pinned to an older date than 2023-10-04.",
        "",
    ];
    expected.extend(nobody.map(str::to_owned));
    let words = server.run(&["api", "diff", "2023-08-22", "2023-10-04"]).stdout;
    assert_eq!(String::from_utf8(words).unwrap(), expected.join("\n"));
}

#[test]
fn who_still_has_an_older_date_is_told_whatever_they_do_by_it_and_of_webhooks_never_where_they_are() {
    let server = Program::start(&[]);
    let app = server.client_id.clone();
    let make = |name: &str, access: &str, date: &str| {
        let what = ["key", "create", "--app", &app, "--environment", "sandbox", "--name", name];
        server.json(&[&what[..], &["--access", access, "--api-version", date]].concat())
    };
    assert_eq!(server.enrol(&jane()).0, 200);
    let nobody_changes = json!({"email": "jane@doe.com"});
    let mut moved = Vec::new();
    for (name, access, path, body, status) in [
        ("reads", "read", "/users/retrieve", &nobody_changes, 200),
        ("repeats", "write", "/users/update", &nobody_changes, 200),
        ("rehearses", "write", "/users/update?dry_run=true", &nobody_changes, 200),
        ("may not", "read", "/users/update", &nobody_changes, 403),
        ("is wrong", "write", "/users/create", &json!({}), 400),
    ] {
        let key = make(name, access, "2023-08-01");
        assert_eq!(server.call_as(key["key"].as_str().unwrap(), "POST", path, body).0, status, "{name}");
        moved.push(key);
    }
    moved.push(make("is silent", "write", "2023-08-01"));
    let pinned = make("is pinned", "write", "2023-08-22");
    let newest = make("is new", "write", "2023-10-04");
    let newest = newest["key"].as_str().unwrap();
    assert_eq!(server.call_as(newest, "POST", "/users/retrieve", &nobody_changes).0, 200);
    let by_header = make("names two", "write", "2023-10-04");
    for date in ["2023-08-01", "2023-08-22"] {
        let request = format!(
            "POST /users/retrieve HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
             Usher-Version: {date}\r\nContent-Length: {}\r\n\r\n{nobody_changes}",
            by_header["key"].as_str().unwrap(),
            nobody_changes.to_string().len()
        );
        let (head, _) = crate::program::raw(&server.url, request.as_bytes());
        assert!(head.contains(" 200 ") && head.to_lowercase().contains(&format!("usher-version: {date}")), "{head}");
    }
    // From here on their own date hides none of them.
    for key in &moved {
        server.json(&["key", "update", key["id"].as_str().unwrap(), "--api-version", "2023-10-04"]);
    }
    let address = "http://127.0.0.1:9/their-secret";
    let place = ["--app", &app, "--environment", "sandbox", "--tenant", "acme", "--api-version"];
    let hook = |date| server.json(&[&["webhook", "create", address], &place[..], &[date]].concat());
    let (behind, _) = (hook("2023-08-22"), hook("2023-10-04"));

    // What was called is noted once a second, and at the end.
    let (_, _, folder) = server.stop();
    let diff = |from: &str, to: &str, how: &[&str]| {
        let output = crate::program::usher(&folder).args(["api", "diff", from, to]).args(how).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let callers = |from: &str, to: &str| {
        let found: Value = serde_json::from_str(&diff(from, to, &["--json"])).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let caller = |key: &Value| {
            let dates: Vec<String> =
                key["calls"].as_array().unwrap().iter().map(|call| text(&call["apiVersion"])).collect();
            format!("{}, {}: {}", text(&key["name"]), text(&key["apiVersion"]), dates.join(" "))
        };
        let callers: Vec<String> = found["keys"].as_array().unwrap().iter().map(caller).collect();
        (callers, found["webhooks"].clone())
    };
    let all =
        ["reads", "repeats", "rehearses", "may not", "is wrong"].map(|name| format!("{name}, 2023-10-04: 2023-08-01"));
    let mut expected = all.to_vec();
    expected.extend(["is pinned, 2023-08-22: ", "names two, 2023-10-04: 2023-08-01 2023-08-22"].map(str::to_owned));
    let webhooks =
        json!([{"id": behind["id"], "environment": "sandbox", "tenant": "acme", "apiVersion": "2023-08-22"}]);
    assert_eq!(callers("2023-08-22", "2023-10-04"), (expected, webhooks));
    let mut expected = all.to_vec();
    expected.push("names two, 2023-10-04: 2023-08-01".to_owned());
    assert_eq!(callers("2023-08-01", "2023-08-22"), (expected, json!([])));

    let words = diff("2023-08-22", "2023-10-04", &[]);
    let row = |of: &Value| {
        let line = words.lines().find(|line| line.trim_start().starts_with(of["id"].as_str().unwrap())).expect("a row");
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert!(row(&moved[3]).starts_with("may not sandbox - 2023-10-04 2023-08-01 20"), "{words}");
    assert_eq!(row(&pinned), "is pinned sandbox - 2023-08-22 - -");
    assert_eq!(row(&behind), "sandbox acme 2023-08-22");
    assert!(!words.contains("127.0.0.1") && !words.contains("secret"), "{words}");
}
