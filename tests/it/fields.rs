//! Every field of the partner API's bodies on every date: what it refuses, and what it takes and keeps.

use serde_json::{Value, json};

use crate::harness::{But, TestApp, jane};

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
                json!("a@1.2.3.4"),
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
                json!("a\u{202E}b"),
                json!("\u{200B}"),
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
                json!(format!("123{}4567890", " ".repeat(55))),
            ],
            vec![
                json!("1234567890"),
                json!("(202) 555-0123"),
                json!("+44 20 7946 0958"),
                json!("202.555.0124"),
                json!(format!("124{}4567890", " ".repeat(54))),
            ],
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

/// A person whom nobody has yet.
fn fresh(base: Value, number: &mut u32) -> Value {
    *number += 1;
    base.but("email", json!(format!("p{number}@doe.com"))).but("phonenumber", json!(format!("303555{number:04}")))
}

/// What is stored for a field.
async fn stored(app: &TestApp, id: &str, field: &str) -> Value {
    let person = app.user(id).await.person;
    let (profile, health) = (json!(person.profile), json!(person.health));
    match field {
        "email" => json!(person.email),
        "phonenumber" => json!(person.phone),
        "firstname" => profile["given_name"].clone(),
        "lastname" => profile["family_name"].clone(),
        "dateOfBirth" => profile["birthdate"].clone(),
        "gender" => health["sex"].clone(),
        "weight" => health["currentWeight"].clone(),
        other => health[other].clone(),
    }
}

/// What becomes of a right value: identity is trimmed, and a weight is a number however it was written.
fn kept(kind: &str, sent: &Value) -> Value {
    match (kind, sent.as_str().map(str::trim)) {
        ("email" | "phone", Some(text)) => json!(text),
        ("weight", Some(text)) => serde_json::from_str(text).unwrap(),
        _ => sent.clone(),
    }
}

/// The body without what the field is only another name of.
fn alone(body: Value, field: &str) -> Value {
    match field {
        "gender" => body.without("sex"),
        "weight" => body.without("currentWeight"),
        _ => body,
    }
}

async fn try_create(fields: &[(&str, &str, bool)], date: &str, base: fn() -> Value) {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await.with("Fitmate-Version", date);
    let mut number = 0;
    for (field, kind, required) in fields {
        let (wrong, right) = samples(kind);
        for value in wrong {
            let answer = acme.post("/users/create", fresh(base(), &mut number).but(field, value.clone())).await;
            let found = (answer.status, answer.fields());
            assert_eq!(found, (400, vec![*field]), "{date} {field} = {value}: {}", answer.text);
        }
        let missing = acme.post("/users/create", fresh(base(), &mut number).without(field)).await;
        if *required {
            assert_eq!((missing.status, missing.fields()), (400, vec![*field]), "{date} without {field}");
            assert_eq!(missing.body["errors"][0]["code"], "required");
        } else {
            assert_eq!(missing.status, 200, "{date} without {field}: {}", missing.text);
        }
        for value in right {
            let body = alone(fresh(base(), &mut number), field).but(field, value.clone());
            let answer = acme.post("/users/create", body).await;
            assert_eq!(answer.status, 200, "{date} {field} = {value}: {}", answer.text);
            assert_eq!(stored(&app, answer.id(), field).await, kept(kind, &value), "{date} {field} = {value}");
        }
    }
}

async fn try_update(fields: &[(&str, &str, bool)], date: &str) {
    let app = TestApp::new().await;
    let newest = app.partner("acme").await;
    let acme = newest.with("Fitmate-Version", date);
    let mut number = 0;
    for (field, kind, required) in fields {
        let (wrong, right) = samples(kind);
        let mut person = fresh(jane(), &mut number);
        newest.post("/users/create", person.clone()).await.ok();
        for value in wrong {
            let answer = acme.post("/users/update", json!({"email": person["email"]}).but(field, value.clone())).await;
            let found = (answer.status, answer.fields());
            assert_eq!(found, (400, vec![*field]), "{date} {field} = {value}: {}", answer.text);
        }
        let missing = acme.post("/users/update", json!({"email": person["email"]}).without(field)).await;
        assert_eq!(missing.status, if *required { 400 } else { 200 }, "{date} without {field}: {}", missing.text);
        for value in right {
            person = fresh(jane(), &mut number);
            if *field == "email" {
                person = person.but("email", value.clone());
            }
            newest.post("/users/create", person.clone()).await.ok();
            let change = json!({"email": person["email"]}).but(field, value.clone());
            let answer = acme.post("/users/update", change).await;
            assert_eq!(answer.status, 200, "{date} {field} = {value}: {}", answer.text);
            assert_eq!(answer.body["data"][field], kept(kind, &value), "{date} {field} = {value}");
            assert_eq!(stored(&app, answer.id(), field).await, kept(kind, &value), "{date} {field} = {value}");
        }
    }
}

#[tokio::test]
async fn every_field_of_create_keeps_what_is_right_and_refuses_what_is_not() {
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
    try_create(&fields, "2023-10-04", || jane().without("gender").but("sex", json!("female"))).await;
}

#[tokio::test]
async fn every_field_of_the_middle_create_keeps_what_is_right_and_refuses_what_is_not() {
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
        ("diabetes", "diabetes at creation", false),
        ("glp1drugs", "boolean", false),
        ("paymentPlan", "plan", false),
        ("planStartDate", "date", false),
        ("medicalClearance", "clearance", false),
        ("medicalClearanceDescription", "note", false),
        ("weight", "weight", false),
        ("currentWeight", "weight", true),
        ("desiredWeight", "weight", false),
        ("allergies", "note", false),
        ("nutritionPreferences", "note", false),
        ("religiousDietaryRestrictions", "note", false),
        ("doctorFullname", "doctor", false),
        ("metadata", "metadata", false),
    ];
    try_create(&fields, "2023-08-22", || jane().without("gender").but("sex", json!("female"))).await;
}

#[tokio::test]
async fn every_field_of_the_first_create_keeps_what_is_right_and_refuses_what_is_not() {
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
    try_create(&fields, "2023-08-01", || jane().but("weight", json!(130))).await;
}

#[tokio::test]
async fn every_field_of_update_keeps_what_is_right_and_refuses_what_is_not() {
    let newest = [
        ("glp1drugs", "boolean", false),
        ("diabetes", "diabetes", false),
        ("doctorFullname", "doctor", false),
        ("medicalClearanceDescription", "note", false),
        ("metadata", "metadata", false),
        ("email", "email", true),
    ];
    for date in ["2023-10-04", "2023-08-22"] {
        try_update(&newest, date).await;
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
    try_update(&first, "2023-08-01").await;
}
