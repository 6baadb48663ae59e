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

#[test]
fn the_difference_of_two_dates_names_what_changes_and_who_still_calls_the_older_one() {
    let server = Program::start(&[]);
    let app = server.client_id.clone();
    let make = |name: &str, more: &[&str]| {
        let create = ["key", "create", "--app", &app, "--environment", "sandbox", "--access", "write", "--name", name];
        server.json(&[&create, more].concat())
    };
    let old = make("old", &["--api-version", "2023-08-01"]);
    make("idle", &["--api-version", "2023-10-04"]);
    let none = json!({"email": "nobody@doe.com"});
    assert_eq!(server.call_as(old["key"].as_str().unwrap(), "POST", "/users/update", &none).0, 404);
    assert_eq!(server.call("POST", "/users/update", &none).0, 404);
    let keys = |from: &str, to: &str| {
        let found = server.json(&["api", "diff", from, to]);
        let keys = found["keys"].as_array().unwrap().iter();
        (found.clone(), keys.map(|key| key["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>())
    };
    let (found, behind) = keys("2023-08-22", "2023-10-04");
    assert_eq!(behind, ["old"]);
    let calls = &found["keys"][0]["calls"];
    assert_eq!((&calls[0]["apiVersion"], &calls[0]["requests"]), (&json!("2023-08-01"), &json!(1)));
    let told: Vec<String> = found["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| {
            format!(
                "{} {} {}",
                d["schema"].as_str().unwrap(),
                d["field"].as_str().unwrap(),
                d["what"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "CreateUser diabetes now required",
            "CreateUser glp1drugs now required",
            "CreateUser paymentPlan now required",
            "CreateUser planStartDate now required",
            "CreateUser medicalClearance now required",
            "CreateUser weight removed",
        ]
    );
    assert_eq!(found["notes"].as_array().unwrap().len(), 1);
    let (found, _) = keys("2023-08-01", "2023-10-04");
    assert_eq!(found["notes"].as_array().unwrap().len(), 2);
    let words = String::from_utf8(server.run(&["api", "diff", "2023-08-01", "2023-10-04"]).stdout).unwrap();
    assert!(words.contains("UserData") && words.contains("2023-08-22  Creating") && words.contains(" old "), "{words}");
    server.json(&["key", "update", old["id"].as_str().unwrap(), "--api-version", "2023-10-04"]);
    assert_eq!(server.json(&["key", "list"])[1]["apiVersion"], "2023-10-04");
    assert_eq!(keys("2023-08-22", "2023-10-04").1, ["old"], "it has called the older one within 30 days");
    assert!(!server.run(&["api", "diff", "2023-10-04", "2023-08-01"]).status.success());
}
