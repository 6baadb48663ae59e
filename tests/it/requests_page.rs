//! The newest requests on the dashboard: how they were answered, and what may be seen of their bodies.

use std::time::Duration;

use serde_json::json;
use usher::admins::Role;
use usher::api::requests::WITH_BODIES;
use usher::apps::Kind;

use crate::harness::{But, TestApp, jane};

fn at(app: &TestApp, path: &str) -> String {
    format!("/admin/{}/sandbox/{path}", app.client_id)
}

#[tokio::test]
async fn a_request_is_found_by_its_id_with_bodies_that_say_nothing_of_a_person() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let person = jane()
        .but("email", json!("canary-email@doe.com"))
        .but("firstname", json!("Canaryname"))
        .but("phonenumber", json!("2025550177"))
        .but("allergies", json!("canary-note"))
        .but("metadata", json!({"canary-meta": "canary-meta", "status": "imported"}))
        .but("canary-key", json!(1));
    let created = acme.post("/users/create", person.clone()).await.ok();
    let refused = acme.post("/users/create", person.clone()).await;
    let wrong = acme.post("/users/create", person.but("email", json!("canary-note"))).await;
    let server = app.server().await;
    let listed = server.get("/v1/users?limit=1").await.ok();
    let unknown = app.anyone().get("/v1/users/me").await;
    let live = app.partner_in(Kind::Live, Some("acme")).await.post("/users/create", jane()).await.ok();

    let reader = app.admin(Role::Owner).await;
    let mut pages = Vec::new();
    for answer in [&created, &refused, &wrong, &listed, &unknown] {
        pages.push(reader.get(&at(&app, &format!("search?q={}", answer.header("request-id")))).await.ok().text);
    }
    let secrets = [
        "canary",
        "Canary",
        "2025550177",
        "doe.com",
        "5ft 6in",
        "1990-12-23",
        "female",
        "vegan",
        "Mike Smith",
        "2023-10-30",
        "imported",
    ];
    for page in &pages {
        for secret in secrets {
            assert!(!page.contains(secret), "{secret}: {page}");
        }
    }
    let shown = |text: &str| text.replace('"', "&#34;").replace('<', "&#60;").replace('>', "&#62;");
    assert!(pages[0].contains("POST /users/create") && pages[0].contains("user.created"));
    for part in
        [r#""email": "<string>""#, r#""pregnant": "<boolean>""#, r#""metadata": "<object>""#, "1 of other names"]
    {
        assert!(pages[0].contains(&shown(part)), "{part}: {}", pages[0]);
    }
    assert!(pages[0].contains(&shown(r#""message": "User created successfully""#)), "{}", pages[0]);
    assert!(pages[1].contains("email_taken") && pages[1].contains("Email already exists"), "what we say is shown");
    assert!(pages[2].contains("invalid_fields") && pages[2].contains(&shown(r#""field": "email""#)), "{}", pages[2]);
    assert!(pages[3].contains(&shown(r#""kind": "user""#)), "{}", pages[3]);
    assert!(pages[3].contains("Nothing: the audit trail has no entry of it."));
    assert!(pages[4].contains("401") && pages[4].contains(r#"<span class="badge refused">no_credentials</span>"#));
    let elsewhere = reader.get(&at(&app, &format!("search?q={}", live.header("request-id")))).await;
    assert_eq!(elsewhere.status, 303, "it was not of this environment");
    assert!(reader.get(&at(&app, "requests")).await.ok().text.contains(created.header("request-id")));
}

#[tokio::test]
async fn requests_are_filtered_by_time_and_the_page_says_how_many_are_remembered() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let start = app.store().clock().now();
    server.get("/v1/users").await.ok();
    app.advance(Duration::from_hours(1));
    server.get("/v1/users/roles").await;
    let reader = app.admin(Role::ReadOnly).await;
    let (first, later) = (start.to_string(), (start + Duration::from_mins(30)).to_string());
    let list = async |query: String| reader.get(&at(&app, &format!("requests?{query}"))).await.ok().text;
    let all = list(String::new()).await;
    assert_eq!(all.matches("<th scope=\"row\">GET").count(), 2, "{all}");
    assert!(all.contains("This process remembers 2, the oldest 1 h ago."), "{all}");
    assert!(all.contains(&WITH_BODIES.to_string()));
    assert_eq!(list(format!("since={}", &first[..16])).await.matches("<th scope=\"row\">GET").count(), 2);
    assert_eq!(list(format!("since={}", &later[..19])).await.matches("<th scope=\"row\">GET").count(), 1);
    assert_eq!(list(format!("until={}", &later[..16])).await.matches("<th scope=\"row\">GET").count(), 1);
    assert_eq!(reader.get(&at(&app, "requests?since=noon")).await.status, 400);
}

#[tokio::test]
async fn home_says_how_this_process_answered_in_the_last_hour() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let home = async || app.admin(Role::Owner).await.get(&format!("/admin/{}/sandbox", app.client_id)).await.ok().text;
    assert!(home().await.contains("to this server process: 0 of 0 refused, 0 failed"));
    acme.post("/users/create", jane()).await.ok();
    for _ in 0..3 {
        assert_eq!(acme.post("/users/create", jane()).await.status, 409);
    }
    app.anyone().get("/v1/users/me").await;
    app.partner_in(Kind::Live, None).await.post("/users/create", json!({})).await;
    let now = home().await;
    assert!(now.contains("75.0 %") && now.contains("to this server process: 3 of 4 refused, 0 failed"), "{now}");
    assert!(now.contains("Of unknown callers: 1 of 1 refused, 0 failed"), "{now}");
    app.advance(Duration::from_hours(1));
    assert!(home().await.contains("to this server process: 0 of 0 refused, 0 failed"), "an hour later");
}

#[tokio::test]
async fn home_names_keys_that_called_an_old_api_date_however_they_are_pinned_and_to_owners_alone() {
    let app = TestApp::new().await;
    let (owner, support) = (app.admin(Role::Owner).await, app.admin(Role::Support).await);
    let home = format!("/admin/{}/sandbox", app.client_id);
    let flush = async || {
        let used = app.app.api().key_use.take();
        app.store().write(move |tx| usher::keys::note_use(tx, &used)).await.unwrap();
        app.advance(Duration::from_mins(1));
    };
    // Pinned to the old date, and only used for what has no dates.
    let pinned = usher::keys::NewKey {
        name: "Pinned".to_owned(),
        api_version: Some("2023-08-22".to_owned()),
        ..crate::harness::a_key()
    };
    let (_, key) = app.new_key(Kind::Sandbox, pinned).await;
    let server = app.anyone().with("X-API-KEY", &key).with("X-API-KEY-TYPE", "write");
    server.with("X-CLIENT-ID", &app.client_id.to_string()).get("/v1/users").await.ok();
    let newest = app.partner("acme").await;
    newest.post("/users/create", jane()).await.ok();
    flush().await;
    let shown = owner.get(&home).await.ok().text;
    assert!(
        !shown.contains("has called the partner API") && shown.contains("no key has called an old API date"),
        "{shown}"
    );
    assert!(!support.get(&home).await.ok().text.contains("API date"), "who sees no keys is told nothing of them");

    newest.with("Usher-Version", "2023-08-22").post("/users/create", jane()).await;
    newest.post("/users/retrieve", json!({"email": "jane@doe.com"})).await.ok();
    flush().await;
    let shown = owner.get(&home).await.ok().text;
    assert!(shown.contains("has called the partner API as it was on 2023-08-22, the last time 1 min ago."), "{shown}");
    assert!(!shown.contains("“Pinned”"), "{shown}");
    assert!(!support.get(&home).await.ok().text.contains("has called the partner API"));

    // One date does not hide the other, and a read is a call.
    let older = newest.with("Usher-Version", "2023-08-01");
    older.post("/users/retrieve", json!({"email": "jane@doe.com"})).await.ok();
    flush().await;
    let shown = owner.get(&home).await.ok().text;
    for (date, minutes) in [("2023-08-01", 1), ("2023-08-22", 2)] {
        let line = format!("has called the partner API as it was on {date}, the last time {minutes} min ago.");
        assert!(shown.contains(&line), "{shown}");
    }
}
