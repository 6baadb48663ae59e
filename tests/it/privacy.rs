//! Personal data and secrets stay where they belong. The log of the whole suite is watched by [`crate::harness`].

use serde_json::{Value, json};
use usher::apps::Kind;

use crate::harness::{But, TestApp, jane, reveals};

/// Values that nothing but the record itself may hold.
const CANARIES: &[&str] = &["canary-email", "Canaryname", "2025550177", "canary-note", "canary-meta"];

fn canary() -> Value {
    jane()
        .but("email", json!("canary-email@doe.com"))
        .but("firstname", json!("Canaryname"))
        .but("phonenumber", json!("2025550177"))
        .but("allergies", json!("canary-note"))
        .but("metadata", json!({"canary-meta": "canary-meta"}))
}

#[test]
fn the_watch_over_the_log_sees_what_it_should() {
    for line in [
        r#"{"route":"/users/create","email":"jane@doe.com"}"#,
        "phone +1 123 456 7890 1234567890",
        "usher_sandbox_w_abc",
        "Bearer eyJhbGciOi",
        "path=/links/EgFsXcwR8Wn9qbESAVZ2-P08HfjELnAKLxyAmRtb5O8",
        "doctor Dr. Mike Smith",
    ] {
        assert!(reveals(line).is_some(), "{line}");
    }
    for line in [r#"{"route":"/links/{link}","status":200}"#, "mail=4d5f3c1e attempt=1 outcome=sent"] {
        assert_eq!(reveals(line), None, "{line}");
    }
}

#[tokio::test]
async fn an_error_never_repeats_what_was_sent() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    acme.post("/users/create", canary()).await.ok();
    let mut answers = vec![acme.post("/users/create", canary()).await];
    for (name, value) in canary().as_object().unwrap() {
        for wrong in [json!([value]), json!({"canary-note": value}), json!("canary-note\u{0}canary-meta")] {
            answers.push(acme.post("/users/create", canary().but(name, wrong)).await);
        }
    }
    for text in [r#"{"canary-note": canary-meta"#, r#"{"canary-note":1,"canary-note":2}"#, r#""canary-email@doe.com""#]
    {
        answers.push(acme.send("POST", "/users/create", text).await);
    }
    answers.push(app.anyone().get("/users/canary-email@doe.com").await);
    answers.push(app.anyone().get("/v1/canary-note?q=canary-meta").await);
    answers.push(app.server().await.put("/v1/users/canary-note", json!({"user": {"email": "canary-email"}})).await);
    assert!(answers.len() > 60);
    for answer in answers {
        assert!(answer.status >= 400);
        for canary in CANARIES {
            assert!(!answer.text.contains(canary), "{canary}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn health_data_links_and_keys_are_not_readable_in_the_files() {
    crate::cluster::about_the_file!();
    let app = TestApp::new().await;
    let key = app.key(Kind::Sandbox, usher::keys::Access::Write).await;
    let acme = app.anyone().with("Authorization", &format!("Bearer {key}"));
    let body = canary()
        .but("doctorFullname", json!("canary-doctor"))
        .but("medicalClearanceDescription", json!("canary-clearance"));
    let id = acme.post("/users/create", body).await.ok().id().to_owned();
    let link = app.newest_link().await;
    let token = app.token(&id).await;
    let mut files = Vec::new();
    for file in std::fs::read_dir(app.path()).unwrap().map(Result::unwrap) {
        files.push(std::fs::read(file.path()).unwrap());
    }
    let holds =
        |needle: &str| files.iter().any(|file| file.windows(needle.len()).any(|window| window == needle.as_bytes()));
    assert!(holds("canary-email"), "the address is there to be found by");
    for secret in [
        "canary-note",
        "canary-meta",
        "canary-doctor",
        "canary-clearance",
        "5ft 6in",
        "no pork",
        &link[7..],
        &key[16..],
        &token[..40],
    ] {
        assert!(!holds(secret), "{secret} can be read in the files");
    }
}

#[tokio::test]
async fn records_and_secrets_do_not_show_themselves_when_printed() {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", canary()).await.ok().id().to_owned();
    let (job, mail) = app.mails().await.remove(0);
    let printed = format!("{:?} {job:?} {mail:?} {:?}", app.user(&id).await, usher::secret::Secret::new("canary-note"));
    assert!(printed.contains("[REDACTED]"));
    for canary in CANARIES {
        assert!(!printed.contains(canary), "{printed}");
    }
}

#[tokio::test]
async fn a_blob_moved_to_another_user_does_not_open() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    acme.post("/users/create", jane()).await.ok();
    acme.post("/users/create", crate::harness::john()).await.ok();
    let swap = "UPDATE users SET health = (SELECT health FROM users WHERE email = 'jane@doe.com') WHERE email = 'john@doe.com'";
    app.store().write(move |tx| tx.execute(swap, &[])).await.unwrap();
    acme.post("/users/update", json!({"email": "jane@doe.com"})).await.ok();
    let moved = acme.post("/users/update", json!({"email": "john@doe.com"})).await;
    assert_eq!((moved.status, &moved.body["code"]), (500, &json!("data_integrity")));
}
