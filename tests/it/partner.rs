//! `/users/create` and `/users/update`: fields, errors, duplicates, scopes. Vectors: contract B6.

use serde_json::{Value, json};
use usher::apps::Kind;
use usher::keys::{Access, NewKey};

use crate::harness::{But, TestApp, a_key, jane, john};

#[tokio::test]
async fn a_created_user_is_answered_as_documented_and_gets_one_mail() {
    let app = TestApp::new().await;
    let answer = app.partner("acme").await.post("/users/create", jane()).await.ok();
    let names: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["message", "email", "identifier"]);
    assert_eq!((answer.message(), &answer.body["email"]), ("User created successfully", &json!("jane@doe.com")));
    assert_eq!((answer.id().len(), answer.id().as_bytes()[14]), (36, b'4'));
    let mails = app.mails().await;
    assert_eq!((mails.len(), mails[0].1.to.as_str()), (1, "jane@doe.com"));
    assert_eq!(mails[0].0.state, usher::outbox::State::Captured);
}

#[tokio::test]
async fn everything_sent_is_stored() {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let person = app.user(&id).await.person;
    let stored = json!({ "profile": person.profile, "health": person.health, "phone": person.phone });
    assert_eq!(
        stored,
        json!({
            "profile": {"given_name": "jane", "family_name": "doe", "birthdate": "1990-12-23"},
            "health": {
                "sex": "female", "height": "5ft 6in", "pregnant": false, "diabetes": 0, "glp1drugs": false,
                "paymentPlan": 1, "planStartDate": "2023-10-30", "medicalClearance": "full",
                "medicalClearanceDescription": "Yes, provided medical clearance",
                "currentWeight": 130, "desiredWeight": 110, "allergies": "no allergies",
                "nutritionPreferences": "vegan, gluten free", "religiousDietaryRestrictions": "no pork",
                "doctorFullname": "Dr. Mike Smith", "metadata": {"key": "value"}
            },
            "phone": "1234567890"
        })
    );
}

#[tokio::test]
async fn who_is_not_said_to_be_pregnant_is_not() {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane().without("pregnant")).await.ok().id().to_owned();
    assert_eq!(app.user(&id).await.person.health.pregnant, Some(false));
}

#[tokio::test]
async fn the_four_documented_errors_are_exact() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    acme.post("/users/create", jane()).await.ok();
    for (body, status, message) in [
        (jane(), 409, "Email already exists"),
        (jane().but("email", json!("nobody")), 400, "Invalid email address"),
        (jane().but("email", json!("other@doe.com")), 409, "Phone number already exists"),
        (jane().but("phonenumber", json!("12345")), 400, "Invalid phone number"),
    ] {
        let answer = acme.post("/users/create", body).await;
        assert_eq!((answer.status, answer.message()), (status, message));
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8");
        assert_eq!(answer.body["requestId"], answer.header("request-id"));
    }
    assert_eq!((app.count("users").await, app.mails().await.len()), (1, 1));
}

#[tokio::test]
async fn every_wrong_field_is_reported_at_once() {
    let app = TestApp::new().await;
    let body =
        jane().but("sex", json!("x")).but("height", json!("170cm")).but("metadata", json!([])).without("lastname");
    let answer = app.partner("acme").await.post("/users/create", body).await;
    assert_eq!((answer.status, answer.fields()), (400, vec!["lastname", "sex", "height", "metadata"]));
    assert_eq!(
        answer.message(),
        "lastname is required; sex must be one of: male, female, intersex; height must be written like 5ft 6in; \
         metadata must be an object of keys and values"
    );
    assert_eq!(
        answer.body["errors"][1],
        json!({"field": "sex", "code": "enum", "message": "sex must be one of: male, female, intersex"})
    );
    assert_eq!(answer.body["code"], "invalid_fields");
}

/// What no field of a type accepts, and what it does.
fn samples(kind: &str) -> (Vec<Value>, Vec<Value>) {
    let long = "x".repeat(5001);
    match kind {
        "email" => (
            vec![
                json!(""),
                json!("jane"),
                json!("jane@doe"),
                json!("a@x.com,b@y.com"),
                json!("<a@x.com>"),
                json!("a@x.com\r\nBcc: b@y.com"),
                json!("a@x%0acc:b"),
                json!(1),
                json!(["a@x.com"]),
                json!({"a": 1}),
                json!(null),
                json!(true),
                json!(format!("{long}@x.com")),
            ],
            vec![json!("Jane.Doe+tag@Example.com"), json!(" jane@doe.com "), json!("jürgen@bücher.example")],
        ),
        "name" => (
            vec![
                json!(""),
                json!("  "),
                json!(1),
                json!(null),
                json!(["a"]),
                json!({}),
                json!(true),
                json!("a\nb"),
                json!("a\r\nBcc: x@y.com"),
                json!("a\u{0}b"),
                json!("x".repeat(257)),
            ],
            vec![json!("J"), json!("Anne-Marie O'Neil"), json!("李"), json!("x".repeat(256)), json!("é".repeat(256))],
        ),
        "phone" => (
            vec![
                json!(""),
                json!("123456"),
                json!("1234567890123456"),
                json!("call me"),
                json!("123-456-7890 x5"),
                json!(1_234_567_890),
                json!(null),
                json!([]),
                json!(true),
                json!("++11234567890"),
            ],
            vec![json!("1234567890"), json!("(202) 555-0123"), json!("+44 20 7946 0958"), json!("202.555.0123")],
        ),
        "birthday" => (
            vec![
                json!("1990-13-01"),
                json!("2023-02-29"),
                json!("12/23/1990"),
                json!("1990-12-23T00:00:00Z"),
                json!("1990-1-1"),
                json!(""),
                json!(19_901_223),
                json!(null),
                json!("2026-11-22"),
                json!("0000-01-01"),
                json!("9999-12-31"),
                json!(["1990-12-23"]),
            ],
            vec![json!("1990-12-23"), json!("2024-02-29"), json!("2026-11-21"), json!("1900-01-01")],
        ),
        "date" => (
            vec![
                json!("2023-02-30"),
                json!("2022-31-12"),
                json!("10/30/2023"),
                json!("2023-10-30T00:00:00Z"),
                json!(""),
                json!(20_231_030),
                json!(null),
                json!(true),
                json!("0000-01-01"),
                json!("+2023-10-30"),
            ],
            vec![json!("2023-10-30"), json!("2030-01-01")],
        ),
        "gender" => (
            vec![json!("intersex"), json!("x"), json!("Male"), json!(""), json!(1), json!(null)],
            vec![json!("male"), json!("female")],
        ),
        "sex" => (
            vec![json!("x"), json!("Male"), json!(""), json!(0), json!(null), json!(["male"])],
            vec![json!("male"), json!("female"), json!("intersex")],
        ),
        "height" => (
            vec![
                json!("170cm"),
                json!("5'6"),
                json!(66),
                json!("5ft"),
                json!("0ft 5in"),
                json!("10ft 1in"),
                json!("5ft 12in"),
                json!("5ft  6in"),
                json!("5ft 6in "),
                json!("-5ft 6in"),
                json!(""),
                json!(null),
                json!("+5ft 6in"),
            ],
            vec![json!("5ft 6in"), json!("6ft 0in"), json!("5ft 11in"), json!("9ft 11in")],
        ),
        "boolean" => (
            vec![json!("true"), json!(1), json!(0), json!(null), json!(""), json!([])],
            vec![json!(true), json!(false)],
        ),
        "diabetes at creation" => (
            vec![json!(1), json!(4), json!(-1), json!(1.5), json!("0"), json!(true), json!(null), json!(13)],
            vec![json!(0), json!(2), json!(3)],
        ),
        "diabetes" => (
            vec![json!(4), json!(-1), json!(1.5), json!("0"), json!(true), json!(null)],
            vec![json!(0), json!(1), json!(2), json!(3)],
        ),
        "plan" => (
            vec![json!(3), json!("6"), json!(0), json!(6.5), json!(null), json!(true)],
            vec![json!(1), json!(6), json!(12)],
        ),
        "clearance" => (
            vec![json!("none"), json!("Full"), json!(""), json!(1), json!(null)],
            vec![json!("full"), json!("low"), json!("nutrition")],
        ),
        "weight" => (
            vec![
                json!("abc"),
                json!(""),
                json!(0),
                json!(-1),
                json!("-5"),
                json!(2001),
                json!("1e3"),
                json!("NaN"),
                json!("inf"),
                json!(true),
                json!([]),
                json!(null),
                json!("0"),
            ],
            vec![json!(130), json!(130.5), json!("130"), json!(" 130.5 "), json!(2000)],
        ),
        "note" => (
            vec![json!(1), json!(null), json!([]), json!({}), json!(true), json!("a\u{0}"), json!(long)],
            vec![json!(""), json!("line\nline"), json!("x".repeat(5000))],
        ),
        "doctor" => (
            vec![json!(1), json!(null), json!([]), json!("x".repeat(257)), json!("a\u{7}")],
            vec![json!(""), json!("Dr. House")],
        ),
        "metadata" => (
            vec![
                json!([]),
                json!("a"),
                json!(1),
                json!(null),
                json!(true),
                json!({"k": "x".repeat(501)}),
                json!({"x".repeat(41): 1}),
                json!((0..51).map(|i| (i.to_string(), json!(1))).collect::<serde_json::Map<_, _>>()),
                json!({"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}),
            ],
            vec![json!({}), json!({"glp1Dosage": "10mg"}), json!({"a": [1, 2.5, null, true, {"b": "c"}]})],
        ),
        other => panic!("no samples for {other}"),
    }
}

async fn try_all(fields: &[(&str, &str, bool)], path: &str, date: &str, base: fn() -> Value) {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await.with("Fitmate-Version", date);
    if path == "/users/update" {
        acme.instead("Fitmate-Version", "2023-10-04").post("/users/create", jane()).await.ok();
    }
    for (field, kind, required) in fields {
        let (wrong, right) = samples(kind);
        for value in wrong {
            let answer = acme.post(path, base().but(field, value.clone())).await;
            assert_eq!(
                (answer.status, answer.fields()),
                (400, vec![*field]),
                "{date} {path} {field} = {value}: {}",
                answer.text
            );
        }
        let missing = acme.post(path, base().without(field)).await;
        if *required {
            assert_eq!((missing.status, missing.fields()), (400, vec![*field]), "{date} {path} without {field}");
            assert_eq!(missing.body["errors"][0]["code"], "required");
        } else {
            assert_ne!(missing.status, 400, "{date} {path} without {field}: {}", missing.text);
        }
        for value in right {
            let answer = acme.post(path, base().but(field, value.clone())).await;
            assert_ne!(answer.status, 400, "{date} {path} {field} = {value}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn every_field_of_create_is_refused_in_every_way_its_type_allows() {
    let fields = [
        ("email", "email", true),
        ("firstname", "name", true),
        ("lastname", "name", true),
        ("phonenumber", "phone", true),
        ("dateOfBirth", "birthday", true),
        ("gender", "gender", false),
        ("sex", "sex", true),
        ("height", "height", true),
        ("pregnant", "boolean", false),
        ("diabetes", "diabetes at creation", true),
        ("glp1drugs", "boolean", true),
        ("paymentPlan", "plan", true),
        ("planStartDate", "date", true),
        ("medicalClearance", "clearance", true),
        ("medicalClearanceDescription", "note", false),
        ("currentWeight", "weight", true),
        ("desiredWeight", "weight", false),
        ("allergies", "note", false),
        ("nutritionPreferences", "note", false),
        ("religiousDietaryRestrictions", "note", false),
        ("doctorFullname", "doctor", false),
        ("metadata", "metadata", false),
    ];
    try_all(&fields, "/users/create", "2023-10-04", || jane().without("gender").but("sex", json!("female"))).await;
}

#[tokio::test]
async fn every_field_of_the_first_create_is_refused_in_every_way_its_type_allows() {
    let fields = [
        ("email", "email", true),
        ("firstname", "name", true),
        ("lastname", "name", true),
        ("phonenumber", "phone", true),
        ("dateOfBirth", "birthday", true),
        ("gender", "gender", true),
        ("height", "height", true),
        ("weight", "weight", true),
        ("pregnant", "boolean", true),
        ("metadata", "metadata", false),
    ];
    try_all(&fields, "/users/create", "2023-08-01", || jane().but("weight", json!(130))).await;
}

#[tokio::test]
async fn every_field_of_update_is_refused_in_every_way_its_type_allows() {
    let newest = [
        ("glp1drugs", "boolean", false),
        ("diabetes", "diabetes", false),
        ("doctorFullname", "doctor", false),
        ("medicalClearanceDescription", "note", false),
        ("metadata", "metadata", false),
        ("email", "email", true),
    ];
    for date in ["2023-10-04", "2023-08-22"] {
        try_all(&newest, "/users/update", date, || json!({"email": "jane@doe.com"})).await;
    }
    let first = [
        ("email", "email", true),
        ("firstname", "name", false),
        ("lastname", "name", false),
        ("phonenumber", "phone", false),
        ("dateOfBirth", "birthday", false),
        ("gender", "gender", false),
        ("height", "height", false),
        ("weight", "weight", false),
        ("pregnant", "boolean", false),
        ("metadata", "metadata", false),
    ];
    try_all(&first, "/users/update", "2023-08-01", || json!({"email": "jane@doe.com"})).await;
}

#[tokio::test]
async fn sex_or_gender_is_enough_and_sex_wins() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let neither = acme.post("/users/create", jane().without("gender")).await;
    assert_eq!((neither.status, neither.fields()), (400, vec!["sex"]));
    let both = acme.post("/users/create", jane().but("sex", json!("intersex"))).await.ok();
    assert_eq!(json!(app.user(both.id()).await.person.health.sex), "intersex");
}

#[tokio::test]
async fn bodies_that_are_no_object_are_refused() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    for (body, code) in [
        ("", "malformed_json"),
        ("{", "malformed_json"),
        ("nonsense", "malformed_json"),
        ("[]", "not_an_object"),
        ("\"text\"", "not_an_object"),
        ("null", "not_an_object"),
        ("{}", "invalid_fields"),
        (r#"{"email":"a@b.co","email":"c@d.co"}"#, "duplicate_key"),
    ] {
        let answer = acme.send("POST", "/users/create", body).await;
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!(code)), "{body}");
    }
}

#[tokio::test]
async fn duplicates_are_found_in_any_spelling_and_in_order() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    acme.post("/users/create", jane()).await.ok();
    for email in ["JANE@DOE.COM", " jane@doe.com ", "Jane@Doe.Com", "ｊａｎｅ@doe.com"] {
        let answer = acme.post("/users/create", john().but("email", json!(email))).await;
        assert_eq!((answer.status, answer.message()), (409, "Email already exists"), "{email}");
    }
    for phone in ["(123) 456-7890", "+1 123 456 7890", "123.456.7890"] {
        let answer = acme.post("/users/create", john().but("phonenumber", json!(phone))).await;
        assert_eq!((answer.status, answer.message()), (409, "Phone number already exists"), "{phone}");
    }
    // Shape before e-mail before phone.
    let wrong = acme.post("/users/create", jane().but("height", json!("tall"))).await;
    assert_eq!((wrong.status, wrong.fields()), (400, vec!["height"]));
    assert_eq!(acme.post("/users/create", jane()).await.message(), "Email already exists");
    assert_eq!((app.count("users").await, app.count("outbox").await), (1, 1));
}

#[tokio::test]
async fn of_64_simultaneous_creates_with_one_email_one_succeeds() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let creates = (0..64).map(|i| {
        let body = jane().but("phonenumber", json!(format!("20255501{i:02}")));
        let acme = acme.clone();
        async move { acme.post("/users/create", body).await.status }
    });
    let statuses = futures_util::future::join_all(creates).await;
    assert_eq!(statuses.iter().filter(|s| **s == 200).count(), 1);
    assert_eq!(statuses.iter().filter(|s| **s == 409).count(), 63);
    assert_eq!((app.count("users").await, app.count("outbox").await, app.count("links").await), (1, 1, 1));
}

#[tokio::test]
async fn update_changes_what_is_sent_and_answers_the_stored_state_in_order() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let created = acme.post("/users/create", jane()).await.ok();
    let change = json!({"email": "JANE@doe.com", "diabetes": 1, "metadata": {"b": 2, "a": 1}});
    let answer = acme.post("/users/update", change).await.ok();
    assert_eq!(
        answer.text,
        format!(
            r#"{{"message":"User updated successfully","identifier":"{}","data":{{"email":"jane@doe.com","diabetes":1,"glp1drugs":false,"doctorFullname":"Dr. Mike Smith","medicalClearanceDescription":"Yes, provided medical clearance","metadata":{{"b":2,"a":1}}}}}}"#,
            created.id()
        )
    );
    let same = acme.post("/users/update", json!({"email": "jane@doe.com"})).await.ok();
    assert_eq!(same.text, answer.text);
    assert_eq!(app.mails().await.len(), 1, "an update sends no mail");
}

#[tokio::test]
async fn update_shows_null_for_what_was_never_set_and_metadata_is_replaced() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    acme.post("/users/create", jane().without("doctorFullname").without("metadata")).await.ok();
    let email = || json!({"email": "jane@doe.com"});
    let data = acme.post("/users/update", email()).await.ok().body["data"].clone();
    assert_eq!((&data["doctorFullname"], &data["metadata"]), (&Value::Null, &json!({})));
    for metadata in [json!({"a": 1, "b": 2}), json!({"c": 3}), json!({})] {
        let answer = acme.post("/users/update", email().but("metadata", metadata.clone())).await.ok();
        assert_eq!(answer.body["data"]["metadata"], metadata);
    }
}

#[tokio::test]
async fn update_ignores_what_it_may_not_change_and_changes_nothing_on_an_error() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let id = acme.post("/users/create", jane()).await.ok().id().to_owned();
    let before = app.user(&id).await.person;
    let ignored = json!({"email": "jane@doe.com", "firstname": 5, "sex": "male", "currentWeight": 1, "medicalClearance": "low", "identifier": "x"});
    acme.post("/users/update", ignored).await.ok();
    assert_eq!(app.user(&id).await.person, before);
    let half = json!({"email": "jane@doe.com", "diabetes": 3, "glp1drugs": "yes"});
    assert_eq!(acme.post("/users/update", half).await.status, 400);
    assert_eq!(app.user(&id).await.person, before);
}

#[tokio::test]
async fn update_of_an_unknown_address_is_404() {
    let app = TestApp::new().await;
    let answer = app.partner("acme").await.post("/users/update", json!({"email": "nobody@doe.com"})).await;
    assert_eq!((answer.status, answer.message()), (404, "User not found"));
}

#[tokio::test]
async fn a_tenants_key_sees_its_own_users_and_a_taken_address_speaks_for_all() {
    let app = TestApp::new().await;
    let (acme, other) = (app.partner("acme").await, app.partner("other").await);
    acme.post("/users/create", jane()).await.ok();
    assert_eq!(other.post("/users/update", json!({"email": "jane@doe.com", "diabetes": 3})).await.status, 404);
    assert_eq!(other.post("/users/create", jane()).await.status, 409);
    let again = app.partner("acme").await;
    again.post("/users/update", json!({"email": "jane@doe.com", "diabetes": 3})).await.ok();
    let unbound = app.partner_in(Kind::Sandbox, None).await;
    unbound.post("/users/update", json!({"email": "jane@doe.com"})).await.ok();
}

#[tokio::test]
async fn sandbox_and_live_never_see_each_other() {
    let app = TestApp::new().await;
    let (sandbox, live) = (app.partner_in(Kind::Sandbox, None).await, app.partner_in(Kind::Live, None).await);
    let in_sandbox = sandbox.post("/users/create", jane()).await.ok();
    let in_live = live.post("/users/create", jane().but("diabetes", json!(3))).await.ok();
    assert_ne!(in_sandbox.id(), in_live.id());
    let diabetes = |answer: crate::harness::Answer| answer.ok().body["data"]["diabetes"].clone();
    assert_eq!(diabetes(sandbox.post("/users/update", json!({"email": "jane@doe.com"})).await), 0);
    assert_eq!(diabetes(live.post("/users/update", json!({"email": "jane@doe.com"})).await), 3);
    let states: Vec<_> = app.mails().await.into_iter().map(|(job, _)| job.state).collect();
    assert!(states.contains(&usher::outbox::State::Captured) && states.contains(&usher::outbox::State::Queued));
}

#[tokio::test]
async fn who_has_no_working_key_is_403_before_the_body_is_looked_at() {
    let app = TestApp::new().await;
    let (short, short_key) =
        app.new_key(Kind::Sandbox, NewKey { expires_in: Some(std::time::Duration::from_hours(1)), ..a_key() }).await;
    let (revoked, revoked_key) = app.new_key(Kind::Sandbox, a_key()).await;
    app.store().write(move |tx| usher::keys::revoke(tx, revoked.id)).await.unwrap();
    let anyone = app.anyone();
    let bearer = |key: &str| anyone.with("Authorization", &format!("Bearer {key}"));
    bearer(&short_key).post("/users/create", jane()).await.ok();
    app.advance(std::time::Duration::from_hours(1));
    assert!(!short.works(app.store().clock().now()));
    let invented = format!("{}x{}", &revoked_key[..20], &revoked_key[21..]);
    for (client, code) in [
        (anyone.clone(), "invalid_request_error"),
        (anyone.with("Authorization", ""), "invalid_request_error"),
        (anyone.with("Authorization", "Bearer"), "invalid_request_error"),
        (anyone.with("Authorization", "Basic abc"), "invalid_request_error"),
        (anyone.with("Authorization", &revoked_key), "invalid_request_error"),
        (bearer("abc"), "invalid_request_error"),
        (bearer(&"x".repeat(8000)), "invalid_request_error"),
        (bearer(&invented), "invalid_request_error"),
        (bearer(&short_key), "authentication_error"),
        (bearer(&revoked_key), "authentication_error"),
        (bearer(&app.key(Kind::Sandbox, Access::Read).await), "read_only_key"),
    ] {
        let answer = client.send("POST", "/users/create", "not even JSON").await;
        assert_eq!((answer.status, &answer.body["code"]), (403, &json!(code)), "{}", answer.text);
    }
    assert_eq!(
        bearer(&app.key(Kind::Sandbox, Access::Write).await)
            .with("Authorization", "Bearer x")
            .post("/users/create", jane())
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn a_text_that_cannot_be_a_key_does_not_reach_the_database() {
    let app = TestApp::new().await;
    let key = app.key(Kind::Sandbox, Access::Write).await;
    app.store().write(|tx| tx.execute("DROP TABLE keys", &[])).await.unwrap();
    let changed = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    for (key, status) in [(changed.as_str(), 403), ("usher_sandbox_w_x", 403), ("nonsense", 403), (key.as_str(), 500)] {
        let answer = app.anyone().with("Authorization", &format!("Bearer {key}")).post("/users/create", jane()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
}

#[tokio::test]
async fn phone_numbers_are_read_in_the_apps_region() {
    let app = TestApp::new().await;
    let id = app.client_id;
    let german = usher::apps::Settings { region: Some("DE".parse().unwrap()), ..Default::default() };
    app.store().write(move |tx| usher::apps::update(tx, id, None, &german)).await.unwrap();
    let acme = app.partner("acme").await;
    acme.post("/users/create", jane().but("phonenumber", json!("030 123456"))).await.ok();
    let same = acme.post("/users/create", john().but("phonenumber", json!("+49 30 123456"))).await;
    assert_eq!(same.message(), "Phone number already exists");
}
