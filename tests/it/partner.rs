//! `/users/create` and `/users/update`: fields, errors, duplicates, scopes. Vectors: contract B6.

use serde_json::{Value, json};
use usher::apps::Kind;
use usher::error::Error;
use usher::keys::{Access, NewKey};

use crate::harness::{But, OPERATOR, TestApp, a_key, jane, john};

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
async fn the_database_itself_keeps_addresses_and_numbers_unique_in_an_environment() {
    let app = TestApp::new().await;
    let (sandbox, live) = (app.partner("acme").await, app.partner_in(Kind::Live, None).await);
    sandbox.post("/users/create", jane()).await.ok();
    sandbox.post("/users/create", john()).await.ok();
    live.post("/users/create", john().but("email", json!("jim@doe.com"))).await.ok();
    for column in ["email_key", "phone_key"] {
        let take = |who: &str| {
            let janes = format!("(SELECT {column} FROM users WHERE email = 'jane@doe.com')");
            let sql = format!("UPDATE users SET {column} = {janes} WHERE email = '{who}@doe.com'");
            app.store().write(move |tx| tx.execute(&sql, &[]))
        };
        let refused = take("john").await;
        assert!(matches!(&refused, Err(Error::Unique(what)) if what.contains(column)), "{refused:?}");
        assert_eq!(take("jim").await.unwrap(), 1, "another environment's {column}");
    }
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
    app.store()
        .write(move |tx| usher::keys::revoke(tx, usher::caller::Origin::of(usher::caller::Actor::Operator), revoked.id))
        .await
        .unwrap();
    let anyone = app.anyone();
    let bearer = |key: &str| anyone.with("Authorization", &format!("Bearer {key}"));
    bearer(&short_key).post("/users/create", jane()).await.ok();
    app.advance(std::time::Duration::from_hours(1));
    assert!(!short.works(app.store().clock().now()));
    let another = if revoked_key.as_bytes()[20] == b'x' { 'y' } else { 'x' };
    let invented = format!("{}{another}{}", &revoked_key[..20], &revoked_key[21..]);
    for (client, code) in [
        (anyone.clone(), "invalid_request_error"),
        (anyone.with("Authorization", ""), "invalid_request_error"),
        (anyone.with("Authorization", "Bearer"), "invalid_request_error"),
        (anyone.with("Authorization", "Basic abc"), "invalid_request_error"),
        (anyone.with("Authorization", &revoked_key), "invalid_request_error"),
        (bearer("abc"), "invalid_request_error"),
        (bearer(&"x".repeat(8000)), "invalid_request_error"),
        (bearer("é"), "invalid_request_error"),
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
    app.store().write(|tx| tx.execute("ALTER TABLE keys RENAME TO no_keys", &[])).await.unwrap();
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
    app.store().write(move |tx| usher::apps::update(tx, OPERATOR, id, None, &german)).await.unwrap();
    let acme = app.partner("acme").await;
    acme.post("/users/create", jane().but("phonenumber", json!("030 123456"))).await.ok();
    let same = acme.post("/users/create", john().but("phonenumber", json!("+49 30 123456"))).await;
    assert_eq!(same.message(), "Phone number already exists");
}
