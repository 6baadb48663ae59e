//! `Idempotency-Key`: one effect for a request, however often it is sent.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use usher::api::openapi;
use usher::apps::Kind;
use usher::idempotency;
use usher::keys::{Access, NewKey};
use usher::users::{self, Status, UserId};

use crate::harness::{Answer, But, Client, TestApp, a_key, jane, john};
use crate::life::{administrator, two};
use crate::signin::{app_and_jane, text};

pub const KEY: &str = "Idempotency-Key";
pub const CREATE: &str = "/users/create";
pub const UPDATE: &str = "/users/update";

impl Answer {
    pub fn replayed(&self) -> bool {
        assert!(matches!(self.header("idempotent-replayed"), "" | "true"));
        self.header("idempotent-replayed") == "true"
    }

    /// The user's tag, which every successful write answers.
    #[track_caller]
    pub fn etag(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text);
        let etag = self.header("etag");
        let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        assert!(inner.is_some_and(|inner| !inner.is_empty() && !inner.contains('"')), "a strong tag: {etag:?}");
        etag.to_owned()
    }

    /// Fails unless this is `first` once more.
    #[track_caller]
    pub fn is_again(&self, first: &Answer) {
        assert_eq!((self.status, self.replayed(), &self.text), (200, true, &first.text));
        for name in ["etag", "content-type", "usher-version"] {
            assert_eq!(self.header(name), first.header(name), "{name}");
        }
    }
}

pub fn jane_with(metadata: Value) -> Value {
    json!({"email": "jane@doe.com", "metadata": metadata})
}

pub async fn app_with_jane() -> (TestApp, String) {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    (app, id)
}

pub async fn metadata(app: &TestApp, id: &str) -> Value {
    json!(app.user(id).await.person.health)["metadata"].clone()
}

pub async fn set_status(app: &TestApp, id: &str, status: Status) {
    let id: UserId = id.parse().unwrap();
    app.store().write(move |tx| users::set_status(tx, id, status)).await.unwrap();
}

#[tokio::test]
async fn a_create_sent_again_makes_one_user_and_one_mail_and_gets_the_same_answer() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await.with(KEY, "k");
    let first = acme.post(CREATE, jane()).await.ok();
    assert!(!first.replayed());
    for _ in 0..3 {
        acme.post(CREATE, jane()).await.is_again(&first);
    }
    assert_eq!((app.count("users").await, app.mails().await.len(), app.count("idempotency").await), (1, 1, 1));
}

#[tokio::test]
async fn an_update_sent_again_does_not_undo_what_came_after_it() {
    let (app, id) = app_with_jane().await;
    let acme = app.partner("acme").await;
    let first = acme.with(KEY, "k").post(UPDATE, jane_with(json!({"n": 1}))).await.ok();
    let second = acme.post(UPDATE, jane_with(json!({"n": 2}))).await.ok();
    let again = acme.with(KEY, "k").post(UPDATE, jane_with(json!({"n": 1}))).await;
    again.is_again(&first);
    assert_eq!((metadata(&app, &id).await, app.user(&id).await.etag()), (json!({"n": 2}), second.etag()));
}

#[tokio::test]
async fn a_directory_change_sent_again_by_put_or_post_and_under_either_prefix_happens_once() {
    let (app, id) = app_with_jane().await;
    let server = app.server().await.with(KEY, "k");
    let body = json!({"user": {"nickname": "Janie"}, "test": true});
    let first = server.put(&format!("/v1/users/{id}"), body.clone()).await.ok();
    assert!(!first.replayed());
    for (method, path) in
        [("PUT", "/v1/users/"), ("POST", "/v1/users/"), ("PUT", "/api/v1/users/"), ("POST", "//api/v1//users/")]
    {
        server.send(method, &format!("{path}{id}"), body.to_string()).await.is_again(&first);
    }
    assert_eq!((app.user(&id).await.version, app.count("idempotency").await), (2, 1));
}

#[tokio::test]
async fn another_spelling_of_the_same_json_is_the_same_request() {
    let (app, _) = app_with_jane().await;
    let acme = app.partner("acme").await.with(KEY, "k");
    let first = acme
        .send("POST", UPDATE, r#"{"email":"jane@doe.com","diabetes":1,"metadata":{"a":[1,{"x":1,"y":2}],"b":"ü"}}"#)
        .await
        .ok();
    for same in [
        r#"{"metadata":{"b":"ü","a":[1,{"y":2,"x":1}]},"diabetes":1,"email":"jane@doe.com"}"#,
        " {\n\t\"email\" : \"jane@doe.com\",\r\n \"diabetes\": 1, \"metadata\": {\"a\": [ 1, {\"x\":1,\"y\":2}], \"b\":\"\\u00fc\"} } ",
    ] {
        acme.send("POST", UPDATE, same).await.is_again(&first);
    }
}

#[tokio::test]
async fn the_same_key_with_another_request_is_422_and_changes_nothing() {
    let (app, id) = app_with_jane().await;
    let (acme, server) = (app.partner("acme").await.with(KEY, "k"), app.server().await.with(KEY, "k"));
    let path = format!("/v1/users/{id}");
    acme.post(CREATE, john()).await.ok();
    acme.post(UPDATE, jane_with(json!({"list": [1, 2]}))).await.ok();
    server.put(&path, json!({"user": {"nickname": "Janie"}})).await.ok();
    let before = (app.user(&id).await.etag(), app.count("users").await, app.count("outbox").await);
    for (path, body) in [
        (CREATE, john().but("email", json!("jim@doe.com")).but("phonenumber", json!("2025550188"))),
        (CREATE, john().but("unknown", json!(1))),
        (CREATE, john().without("pregnant")),
        (UPDATE, jane_with(json!({"list": [2, 1]}))),
        (UPDATE, jane_with(json!({"list": ["1", 2]}))),
        (UPDATE, jane_with(json!({"list": [1, 2]})).but("diabetes", json!(1))),
    ] {
        let answer = acme.post(path, body.clone()).await;
        assert_eq!((answer.status, &answer.body["code"]), (422, &json!("idempotency_key_reused")), "{body}");
        assert_eq!((answer.replayed(), answer.header("etag")), (false, ""));
    }
    let older = acme.with("Fitmate-Version", "2023-08-01").post(UPDATE, jane_with(json!({"list": [1, 2]}))).await;
    assert_eq!(older.status, 422, "another date means something else by the same body");
    let other = server.put(&path, json!({"user": {"nickname": "JJ"}})).await;
    let query = server.put(&format!("{path}?test=true"), json!({"user": {"nickname": "Janie"}})).await;
    for answer in [other, query] {
        let text = "This Idempotency-Key was already used for another request; take a new key for a new request";
        assert_eq!((answer.status, answer.error(), &answer.body["data"]), (422, text, &Value::Null));
    }
    assert_eq!(before, (app.user(&id).await.etag(), app.count("users").await, app.count("outbox").await));
}

#[tokio::test]
async fn of_100_simultaneous_requests_with_one_key_one_runs_and_all_get_its_answer() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await.with(KEY, "k");
    for (path, body) in [(CREATE, jane()), (UPDATE, jane_with(json!({"n": 1})))] {
        let answers = join_all((0..100).map(|_| acme.post(path, body.clone()))).await;
        let first = answers.iter().find(|answer| !answer.replayed()).expect("one ran");
        assert_eq!(first.status, 200);
        assert_eq!(answers.iter().filter(|answer| !answer.replayed()).count(), 1);
        answers.iter().filter(|answer| answer.replayed()).for_each(|answer| answer.is_again(first));
    }
    assert_eq!((app.count("users").await, app.count("outbox").await, app.count("idempotency").await), (1, 1, 2));
}

#[tokio::test]
async fn of_100_simultaneous_different_requests_with_one_key_one_runs() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await.with(KEY, "k");
    let answers = join_all((0..100).map(|i| {
        let body =
            jane().but("email", json!(format!("n{i}@doe.com"))).but("phonenumber", json!(format!("20255501{i:02}")));
        let acme = acme.clone();
        async move { acme.post(CREATE, body).await.status }
    }))
    .await;
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|status| **status == 422).count(), 99);
    assert_eq!((app.count("users").await, app.mails().await.len()), (1, 1));
}

#[tokio::test]
async fn one_key_serves_every_api_key_and_environment_by_itself() {
    let app = TestApp::new().await;
    let first = app.partner("acme").await.with(KEY, "k").post(CREATE, jane()).await.ok();
    // Who runs it anew meets the user of the first; who were given the first's answer would learn the user's id.
    for other in [app.partner("acme").await, app.partner("other").await, app.partner_in(Kind::Sandbox, None).await] {
        let answer = other.with(KEY, "k").post(CREATE, jane()).await;
        assert_eq!((answer.status, answer.message()), (409, "Email already exists"));
        assert!(!answer.text.contains(first.id()));
    }
    let live = app.partner_in(Kind::Live, Some("acme")).await.with(KEY, "k").post(CREATE, jane()).await.ok();
    assert!(!live.replayed());
    assert_ne!(live.id(), first.id());
}

#[tokio::test]
async fn one_key_serves_every_path_and_user_by_itself() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await.with(KEY, "k");
    let id = acme.post(CREATE, jane()).await.ok().id().to_owned();
    let update = acme.post(UPDATE, jane()).await.ok();
    assert_eq!((update.replayed(), update.message()), (false, "User updated successfully"));
    let other = app.partner("acme").await.post(CREATE, john()).await.ok().id().to_owned();
    let server = app.server().await.with(KEY, "k");
    for id in [&id, &other] {
        let changed = server.put(&format!("/v1/users/{id}"), json!({"user": {"nickname": "JJ"}})).await.ok();
        assert_eq!((changed.replayed(), &json!(app.user(id).await.person.profile)["nickname"]), (false, &json!("JJ")));
    }
}

#[tokio::test]
async fn one_key_serves_every_person_by_itself() {
    let (app, jane) = app_with_jane().await;
    let john = app.partner("acme").await.post(CREATE, john()).await.ok().id().to_owned();
    let body = json!({"user": {"nickname": "JJ"}});
    let mut first = Vec::new();
    for id in [&jane, &john] {
        let me = app.person(id).await.with(KEY, "k");
        let answer = me.put("/v1/users/me", body.clone()).await.ok();
        assert_eq!(
            (answer.replayed(), &json!(app.user(id).await.person.profile)["nickname"]),
            (false, &json!("JJ")),
            "a person is not given what another did"
        );
        first.push((id, answer));
    }
    for (id, answer) in first {
        // A newer token is the same person.
        app.person(id).await.with(KEY, "k").put("/v1/users/me", body.clone()).await.is_again(&answer);
    }
    // The app's server is someone else than the person, on the same path too.
    let path = format!("/v1/users/{jane}");
    app.person(&jane).await.with(KEY, "p").put(&path, body.clone()).await.ok();
    assert!(!app.server().await.with(KEY, "p").put(&path, body).await.ok().replayed());
}

#[tokio::test]
async fn who_has_lost_a_right_or_shows_a_token_of_fewer_scopes_is_not_given_the_first_answer() {
    let (app, id, other) = two().await;
    administrator(&app, &other).await;
    let (path, change) = (format!("/v1/users/{id}"), json!({"user": {"nickname": "JJ"}}));
    let ask = async |token: String| {
        let boss = app.anyone().with("Authorization", &format!("Bearer {token}")).with(KEY, "k");
        boss.send("PATCH", &path, change.to_string()).await
    };
    let token = app.token(&other).await;
    let first = ask(token.clone()).await.ok();
    assert!(!first.replayed() && first.text.contains("jane@doe.com") && first.text.contains("metadata"));
    ask(token.clone()).await.is_again(&first);
    ask(app.token(&other).await).await.is_again(&first);

    let refused = |answer: Answer| {
        // Where the record is looked for with what the request does, that it may not be done is found out first.
        assert!(matches!(answer.status, 403 | 422), "{}", answer.text);
        assert_eq!((answer.replayed(), &answer.body["data"]), (false, &Value::Null));
        assert!(!answer.text.contains("jane"), "{}", answer.text);
    };
    refused(ask(app.token_of_scopes(&other, "openid profile").await).await);
    let server = app.server().await;
    server.send("DELETE", &format!("/v1/users/{other}/user-roles"), "").await.ok();
    refused(ask(token.clone()).await);
    refused(ask(app.token(&other).await).await);
    administrator(&app, &other).await;
    ask(token).await.is_again(&first);
    assert_eq!(app.user(&id).await.version, 2, "it was done once");
}

#[tokio::test]
async fn who_sends_a_request_again_with_a_refreshed_token_gets_the_first_answer() {
    let (app, _) = app_and_jane().await;
    let tokens = app.exchange(&app.code().await).await.ok();
    let change = async |tokens: &Answer| {
        let me = app.anyone().with("Authorization", &format!("Bearer {}", text(tokens, "accessToken"))).with(KEY, "k");
        me.put("/v1/users/me", json!({"user": {"nickname": "JJ"}})).await
    };
    let first = change(&tokens).await.ok();
    let refreshed = app.refresh(text(&tokens, "refreshToken")).await.ok();
    change(&refreshed).await.is_again(&first);
}

#[tokio::test]
async fn a_failure_is_not_kept_and_the_key_is_free_for_a_corrected_request() {
    let (app, id) = app_with_jane().await;
    let acme = app.partner("acme").await;
    let fail = async |client: &Client<'_>, path: &str, body: Value, status: u16| {
        for _ in 0..2 {
            let answer = client.post(path, body.clone()).await;
            assert_eq!((answer.status, answer.replayed()), (status, false), "{}", answer.text);
        }
        assert_eq!(app.count("idempotency").await, 0, "{status} is not kept");
    };
    let (bad, taken, lost) = (acme.with(KEY, "bad"), acme.with(KEY, "taken"), acme.with(KEY, "lost"));
    let jim = john().but("email", json!("jim@doe.com"));
    fail(&bad, CREATE, john().without("lastname"), 400).await;
    fail(&taken, CREATE, jim.clone().but("phonenumber", json!("1234567890")), 409).await;
    fail(&lost, UPDATE, json!({"email": "jim@doe.com"}), 404).await;
    let reader = app.new_key(Kind::Sandbox, NewKey { access: Access::Read, ..a_key() }).await.1;
    let reader = acme.instead("Authorization", &format!("Bearer {reader}")).with(KEY, "reader");
    fail(&reader, UPDATE, jane_with(json!({})), 403).await;
    let stale = acme.with(KEY, "stale");
    fail(&stale.with("If-Match", "\"0\""), UPDATE, jane_with(json!({"n": 1})), 412).await;
    let person = app.person(&id).await.with(KEY, "frozen");
    let path = format!("/v1/users/{id}");
    set_status(&app, &id, Status::Frozen).await;
    fail(&person, &path, json!({"user": {"nickname": "J"}}), 403).await;
    set_status(&app, &id, Status::Active).await;
    let person = app.person(&id).await.with(KEY, "frozen");

    assert!(!bad.post(CREATE, john()).await.ok().replayed());
    assert!(!taken.post(CREATE, jim.but("phonenumber", json!("2025550188"))).await.ok().replayed());
    assert!(!lost.post(UPDATE, json!({"email": "jim@doe.com"})).await.ok().replayed());
    assert!(!stale.post(UPDATE, jane_with(json!({"n": 2}))).await.ok().replayed());
    assert!(!person.post(&path, json!({"user": {"nickname": "JJ"}})).await.ok().replayed());
    assert_eq!((app.count("idempotency").await, app.count("users").await), (5, 3));
}

#[tokio::test]
async fn an_answer_is_given_for_24_hours_and_then_the_request_runs_again() {
    let (app, id) = app_with_jane().await;
    let acme = app.partner("acme").await;
    let keyed = acme.with(KEY, "k");
    let first = keyed.post(UPDATE, jane_with(json!({"n": 1}))).await.ok();
    acme.post(UPDATE, jane_with(json!({"n": 2}))).await.ok();
    app.advance(Duration::from_hours(24) - Duration::from_secs(1));
    keyed.post(UPDATE, jane_with(json!({"n": 1}))).await.is_again(&first);
    assert_eq!(keyed.post(UPDATE, jane_with(json!({"n": 3}))).await.status, 422);
    assert_eq!(metadata(&app, &id).await, json!({"n": 2}));
    app.advance(Duration::from_secs(2));
    let second = keyed.post(UPDATE, jane_with(json!({"n": 3}))).await.ok();
    assert!(!second.replayed());
    assert_eq!(metadata(&app, &id).await, json!({"n": 3}));
    app.advance(Duration::from_hours(23));
    keyed.post(UPDATE, jane_with(json!({"n": 3}))).await.is_again(&second);
}

#[tokio::test]
async fn the_purge_removes_what_no_longer_counts_and_nothing_else() {
    let (app, _) = app_with_jane().await;
    let acme = app.partner("acme").await;
    let purge = || app.store().write(idempotency::purge);
    acme.with(KEY, "old").post(UPDATE, jane_with(json!({"n": 1}))).await.ok();
    app.advance(Duration::from_hours(23));
    let young = acme.with(KEY, "young").post(UPDATE, jane_with(json!({"n": 2}))).await.ok();
    assert_eq!((purge().await.unwrap(), app.count("idempotency").await), (false, 2));
    app.advance(Duration::from_hours(2));
    assert_eq!((purge().await.unwrap(), app.count("idempotency").await), (true, 1));
    acme.with(KEY, "young").post(UPDATE, jane_with(json!({"n": 2}))).await.is_again(&young);
    assert!(!acme.with(KEY, "old").post(UPDATE, jane_with(json!({"n": 3}))).await.ok().replayed());
}

#[tokio::test]
async fn a_key_is_1_to_255_visible_characters_quoted_or_bare() {
    let (app, id) = app_with_jane().await;
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let path = format!("/v1/users/{id}");
    let before = app.user(&id).await.etag();
    let (longest, too_long) = ("x".repeat(255), "x".repeat(256));
    for wrong in [
        "",
        " ",
        "\"",
        "\"\"",
        "\"a",
        "a\"",
        "a b",
        "\"a b\"",
        "a\tb",
        "a\\b",
        "\"a\\\"b\"",
        "\"a\";p=1",
        "é",
        &too_long,
        &format!("\"{too_long}\""),
    ] {
        let answer = acme.with(KEY, wrong).post(UPDATE, jane_with(json!({"n": 1}))).await;
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!("invalid_idempotency_key")), "{wrong:?}");
        let answer = server.with(KEY, wrong).put(&path, json!({"user": {"nickname": "JJ"}})).await;
        assert_eq!((answer.status, answer.error().starts_with("Idempotency-Key must be ")), (400, true), "{wrong:?}");
    }
    let twice = acme.with(KEY, "a").with(KEY, "a").post(UPDATE, jane_with(json!({"n": 1}))).await;
    assert_eq!((twice.status, &twice.body["code"]), (400, &json!("header_twice")));
    assert_eq!((app.user(&id).await.etag(), app.count("idempotency").await), (before, 0));
    for (bare, quoted) in [("1", "\"1\""), (&longest, &format!(" \"{longest}\" ")), ("!~,;=*", "\"!~,;=*\"")] {
        let body = jane_with(json!({"key": bare.len()}));
        let first = acme.with(KEY, bare).post(UPDATE, body.clone()).await.ok();
        assert!(!first.replayed(), "{bare}");
        acme.with(KEY, quoted).post(UPDATE, body).await.is_again(&first);
    }
    // Case counts.
    acme.with(KEY, "a").post(UPDATE, jane_with(json!({"n": 8}))).await.ok();
    assert!(!acme.with(KEY, "A").post(UPDATE, jane_with(json!({"n": 9}))).await.ok().replayed());
}

#[tokio::test]
async fn a_stored_answer_cannot_be_read_and_opens_in_its_own_place_only() {
    let (app, id) = app_with_jane().await;
    let acme = app.partner("acme").await;
    let marked = jane_with(json!({"canary-meta": "canary-value"}));
    let first = acme.with(KEY, "canary-key").post(UPDATE, marked.clone()).await.ok();
    assert!(first.text.contains("canary-value"));
    let rows =
        app.store().read(|tx| tx.query("SELECT owner, fingerprint, answer FROM idempotency", &[])).await.unwrap();
    let mut stored: Vec<Vec<u8>> = (0..3).map(|column| rows[0].get(column).unwrap()).collect();
    for file in std::fs::read_dir(app.path()).unwrap().map(Result::unwrap) {
        stored.push(std::fs::read(file.path()).unwrap());
    }
    let user = app.user(&id).await.etag();
    for secret in ["canary-meta", "canary-value", "canary-key", "User updated", user.as_str()] {
        let found = stored.iter().any(|place| place.windows(secret.len()).any(|window| window == secret.as_bytes()));
        assert!(!found, "{secret} can be read");
    }
    app.advance(Duration::from_secs(1));
    acme.with(KEY, "other").post(UPDATE, jane_with(json!({"n": 1}))).await.ok();
    let swap = "UPDATE idempotency SET answer = (SELECT answer FROM idempotency ORDER BY created_at LIMIT 1) \
                WHERE created_at = (SELECT MAX(created_at) FROM idempotency)";
    assert_eq!(app.store().write(move |tx| tx.execute(swap, &[])).await.unwrap(), 1);
    let moved = acme.with(KEY, "other").post(UPDATE, jane_with(json!({"n": 1}))).await;
    assert_eq!((moved.status, &moved.body["code"]), (500, &json!("data_integrity")));
    acme.with(KEY, "canary-key").post(UPDATE, marked).await.is_again(&first);
}

// The documents

#[test]
fn the_documents_tell_it_and_the_rehearsal_of_every_write_and_of_no_read() {
    let mut writes = 0;
    for (name, document) in openapi::documents().into_iter().filter(|(name, _)| name != "sign-in.json") {
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let write = method != "get" && path != "/users/retrieve";
                let one_user = ["/users/", "/subscription/"].iter().any(|start| path.starts_with(start))
                    || path.contains("{userId}")
                    || (write && path == "/v1/users");
                let others = ["/events", "/erase", "/sessions", "/sessions/{sessionId}"];
                let of_a_user = one_user && !others.iter().any(|end| path.ends_with(end));
                let change = write && of_a_user && path != CREATE && path != "/v1/users";
                let takes = |header: &str| {
                    operation["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == header)
                };
                let answers = |status: &str| operation["responses"][status].is_object();
                let ok = &operation["responses"]["200"]["headers"];
                let found = [takes(KEY), takes("dry_run"), answers("422"), ok["Idempotent-Replayed"].is_object()];
                assert_eq!(found, [write; 4], "{name} {method} {path}");
                let conflict = operation["responses"]["409"]["description"].as_str().unwrap_or_default();
                let schema = operation["responses"]["200"]["content"]["application/json"]["schema"].to_string();
                let found = [conflict.contains("still running"), schema.contains("#/components/schemas/DryRun")];
                assert_eq!(found, [write; 2], "{name} {method} {path}: {conflict}");
                assert_eq!(ok["ETag"].is_object(), of_a_user, "{name} {method} {path}");
                assert_eq!([takes("If-Match"), answers("412")], [change; 2], "{name} {method} {path}");
                writes += u32::from(write);
            }
        }
    }
    assert!(writes >= 34, "{writes}");
}
