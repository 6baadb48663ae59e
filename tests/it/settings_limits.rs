//! The limits that the page of settings shows are the ones that the server keeps to.

use std::time::Duration;

use serde_json::json;
use usher::admins::Role;

use crate::harness::{Answer, But, TestApp, jane};

async fn settings(app: &TestApp) -> Answer {
    app.admin(Role::Owner).await.get(&format!("/admin/{}/sandbox/settings", app.client_id)).await.ok()
}

/// What the page says of a limit: its number, and the rest.
fn limit(page: &Answer, what: &str) -> (usize, String) {
    let rest = page.text.split_once(&format!("<th scope=\"row\">{what}</th><td>")).expect("the limit").1;
    let (number, rest) = rest.split('<').next().unwrap().split_once(' ').unwrap();
    (number.parse().unwrap(), rest.to_owned())
}

#[tokio::test]
async fn as_many_links_as_the_page_says_are_mailed_to_one_person_and_not_one_more() {
    let app = TestApp::new().await;
    let (most, span) = limit(&settings(&app).await, "Links that are mailed to one person");
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let path = format!("/admin/{}/sandbox/users/{id}/send-link", app.client_id);
    let again = async || app.admin(Role::Owner).await.send("POST", &path, "").await.status;
    for _ in 1..most {
        assert_eq!(again().await, 303);
    }
    assert_eq!((again().await, span.as_str()), (429, "an hour"));
    app.advance(Duration::from_hours(1));
    assert_eq!(again().await, 303);
}

#[tokio::test]
async fn a_body_is_as_long_as_the_page_says() {
    let app = TestApp::new().await;
    let (most, unit) = limit(&settings(&app).await, "Body of a request");
    assert!(unit.starts_with("KiB"), "{unit}");
    let acme = app.partner("acme").await;
    let padded = |size: usize| {
        let body = jane().to_string();
        " ".repeat(size - body.len()) + &body
    };
    assert_eq!(acme.send("POST", "/users/create", padded(most * 1024 + 1)).await.status, 413);
    acme.send("POST", "/users/create", padded(most * 1024)).await.ok();
}

#[tokio::test]
async fn a_deleted_user_comes_back_for_as_long_as_the_page_says() {
    let app = TestApp::new().await;
    let (days, _) = limit(&settings(&app).await, "Deleted user, until they are erased");
    let time = Duration::from_hours(24) * u32::try_from(days).unwrap();
    let acme = app.partner("acme").await;
    let server = app.server().await;
    let second = Duration::from_secs(1);
    for (n, after, status) in [(1, time.checked_sub(second).unwrap(), 200), (2, time + second, 404)] {
        let body =
            jane().but("email", json!(format!("{n}@doe.com"))).but("phonenumber", json!(format!("202555010{n}")));
        let id = acme.post("/users/create", body).await.ok().id().to_owned();
        server.send("DELETE", &format!("/v1/users/{id}"), "").await.ok();
        app.advance(after);
        assert_eq!(server.send("POST", &format!("/v1/users/{id}/restore"), "").await.status, status, "{after:?}");
    }
}

#[tokio::test]
async fn what_an_operator_has_set_is_shown_as_it_is_set() {
    let app = TestApp::with_links_for(Duration::from_mins(90)).await;
    assert_eq!(limit(&settings(&app).await, "Link that is mailed to a person"), (90, "minutes".to_owned()));
}
