//! `GET /v1/users/:userId`: who sees whom, by which name, and what is shown.

use serde_json::{Value, json};
use usher::apps::Kind;
use usher::keys::Access;
use usher::users::{self, Status};

use crate::harness::{But, TestApp, jane, john};

async fn app_with_jane() -> (TestApp, String) {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    (app, id)
}

#[tokio::test]
async fn a_user_is_found_by_id_and_by_any_spelling_of_the_address_with_any_key() {
    let (app, id) = app_with_jane().await;
    let reader = app.server_in(Kind::Sandbox, Access::Read).await;
    let by_id = reader.get(&format!("/v1/users/{id}")).await.ok();
    assert_eq!(by_id.body["success"], true);
    let shown = &by_id.body["data"];
    assert_eq!(
        (&shown["kind"], &shown["id"], &shown["appId"]),
        (&json!("user"), &json!(id), &json!(app.client_id.to_string()))
    );
    assert_eq!((&shown["given_name"], &shown["email"]), (&json!("jane"), &json!("jane@doe.com")));
    assert_eq!(
        (&shown["email_verified"], &shown["freezed"], &shown["nickname"]),
        (&json!(false), &json!(false), &Value::Null)
    );
    for name in ["jane@doe.com", "Jane@DOE.com", "jane%40doe.com"] {
        let by_address = app.server().await.get(&format!("/api/v1/users/{name}?test=true")).await.ok();
        assert_eq!(by_address.text, by_id.text, "{name}");
    }
}

#[tokio::test]
async fn health_data_is_not_shown() {
    let (app, id) = app_with_jane().await;
    let text = app.server().await.get(&format!("/v1/users/{id}")).await.ok().text;
    for word in ["height", "pregnant", "diabetes", "allerg", "metadata", "weight", "password", "5ft"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[tokio::test]
async fn the_etag_of_a_read_is_the_one_to_write_with() {
    let (app, id) = app_with_jane().await;
    let (server, path) = (app.server().await, format!("/v1/users/{id}"));
    let tag = server.get(&path).await.ok().header("etag").to_owned();
    let change = json!({"user": {"nickname": "JJ"}});
    server.with("If-Match", &tag).put(&path, change.clone()).await.ok();
    assert_eq!(server.with("If-Match", &tag).put(&path, json!({"user": {"nickname": "J"}})).await.status, 412);
    assert_ne!(server.get(&path).await.ok().header("etag"), tag);
}

#[tokio::test]
async fn a_person_sees_themselves_and_nobody_else_whether_there_or_not() {
    let (app, id) = app_with_jane().await;
    let other = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    let person = app.person(&id).await;
    for mine in ["me", &id, "jane@doe.com"] {
        assert_eq!(person.get(&format!("/v1/users/{mine}")).await.ok().body["data"]["id"], json!(id), "{mine}");
    }
    let nobody = "00000000-0000-4000-8000-000000000000";
    let mut refusals = Vec::new();
    for theirs in [&other, nobody, "john@roe.com", "nobody@roe.com"] {
        refusals.push(person.get(&format!("/v1/users/{theirs}")).await);
    }
    assert!(refusals.iter().all(|answer| (answer.status, &answer.text) == (403, &refusals[0].text)));
}

#[tokio::test]
async fn what_cannot_be_seen_is_not_found() {
    let (app, id) = app_with_jane().await;
    let live = app.server_in(Kind::Live, Access::Write).await;
    let nobody = live.get("/v1/users/00000000-0000-4000-8000-000000000000").await;
    assert_eq!(
        (nobody.status, nobody.body.clone()),
        (400, json!({"success": false, "error": "User not found", "message": null, "data": null}))
    );
    for name in [&id, "jane@doe.com"] {
        assert_eq!(live.get(&format!("/v1/users/{name}")).await.text, nobody.text);
    }
    let sandbox = app.server().await;
    assert_eq!(sandbox.get("/v1/users/james").await.status, 400);
    assert_eq!(sandbox.get("/v1/users/me").await.status, 400);
    assert_eq!(app.anyone().get(&format!("/v1/users/{id}")).await.status, 401);
    let deleted = id.parse().unwrap();
    app.store().write(move |tx| users::set_status(tx, deleted, Status::Deleted)).await.unwrap();
    assert_eq!(sandbox.get(&format!("/v1/users/{id}")).await.text, nobody.text);
}

#[tokio::test]
async fn a_frozen_user_is_shown_as_such() {
    let (app, id) = app_with_jane().await;
    let frozen = id.parse().unwrap();
    app.store().write(move |tx| users::set_status(tx, frozen, Status::Frozen)).await.unwrap();
    let shown = app.server().await.get(&format!("/v1/users/{id}")).await.ok();
    assert_eq!(shown.body["data"].clone().without("id")["freezed"], true);
}
