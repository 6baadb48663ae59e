//! The audit trail: one entry for every change of a user, with who made it and what changed, and none for anything else.

use std::time::Duration;

use serde_json::{Value, json};
use usher::apps::Kind;
use usher::audit::{self, Action, Entry};
use usher::caller::Actor;
use usher::clock::Clock;
use usher::db::{IfMissing, Store};
use usher::users::{Status, UserId};

use crate::harness::{Answer, But, Client, TestApp, a_key, jane, john};
use crate::idempotency::{CREATE, KEY, UPDATE, set_status};
use crate::program::Program;

async fn entries(store: &Store, id: &str) -> Vec<Entry> {
    let id: UserId = id.parse().unwrap();
    store.read(move |tx| audit::of_user(tx, id)).await.unwrap()
}

/// Lets some time pass: entries of one millisecond have no order.
fn tick(app: &TestApp) {
    app.advance(Duration::from_millis(1));
}

/// The entry that was added since there were `before`, and no other.
async fn added(app: &TestApp, id: &str, before: usize) -> Entry {
    let mut all = entries(app.store(), id).await;
    assert_eq!((all.len(), app.count("audit").await), (before + 1, i64::try_from(before + 1).unwrap()));
    let newest = all.pop().unwrap();
    assert_eq!(newest.user.to_string(), id);
    newest
}

/// A client with a new key, and who that is in the trail.
async fn keyed<'a>(app: &'a TestApp, header: &str) -> (Client<'a>, Actor) {
    let (key, secret) = app.new_key(Kind::Sandbox, a_key()).await;
    let client = match header {
        "Authorization" => app.anyone().with(header, &format!("Bearer {secret}")),
        header => app
            .anyone()
            .with(header, &secret)
            .with("X-API-KEY-TYPE", "write")
            .with("X-CLIENT-ID", &app.client_id.to_string()),
    };
    (client, Actor::Key(key.id))
}

#[track_caller]
fn assert_entry(entry: &Entry, action: Action, actor: Actor, answer: &Answer, changes: &Value) {
    assert_eq!((entry.action, entry.actor, &entry.changes.0), (action, actor, changes));
    assert_eq!(entry.request.map(|id| id.to_string()).as_deref(), Some(answer.header("request-id")));
}

#[tokio::test]
async fn every_change_leaves_one_entry_with_the_actor_the_request_and_what_changed() {
    let app = TestApp::new().await;
    let (acme, partner) = keyed(&app, "Authorization").await;
    let created = acme.post(CREATE, jane()).await.ok();
    let id = created.id();
    let entry = added(&app, id, 0).await;
    let fields = json!({
        "given_name": [null, "jane"],
        "family_name": [null, "doe"],
        "birthdate": [null, "1990-12-23"],
        "email": [null, "jane@doe.com"],
        "phone_number": [null, "1234567890"],
    });
    assert_eq!(entry.changes.0["fields"], fields);
    let health = entry.changes.0["health"].as_array().unwrap();
    for name in ["height", "currentWeight", "allergies", "metadata", "diabetes", "doctorFullname", "pregnant"] {
        assert!(health.contains(&json!(name)), "{name} {health:?}");
    }
    let all = entry.changes.0.clone();
    assert_entry(&entry, Action::UserCreated, partner, &created, &all);

    let (server, apps) = keyed(&app, "X-API-KEY").await;
    let person = app.person(id).await;
    let me: UserId = id.parse().unwrap();
    let path = format!("/v1/users/{id}");
    let user = |change: Value| json!({ "user": change });
    let health_only = jane_health(json!({"doctor": "canary"})).but("diabetes", json!(1));
    let table = [
        (&acme, partner, UPDATE, health_only, json!({"fields": {}, "health": ["diabetes", "metadata"]})),
        (
            &server,
            apps,
            path.as_str(),
            user(json!({"nickname": "Janie", "given_name": "Janet"})),
            json!({"fields": {"given_name": ["jane", "Janet"], "nickname": [null, "Janie"]}, "health": []}),
        ),
        (
            &server,
            apps,
            path.as_str(),
            user(json!({"email": "jane@roe.com", "phone_number": "2025550177"})),
            json!({
                "fields": {
                    "email": ["jane@doe.com", "jane@roe.com"],
                    "phone_number": ["1234567890", "2025550177"],
                },
                "health": [],
            }),
        ),
        (
            &person,
            Actor::Person(me),
            "/v1/users/me",
            user(json!({"nickname": "JJ"})),
            json!({"fields": {"nickname": ["Janie", "JJ"]}, "health": []}),
        ),
    ];
    for (number, (client, actor, path, body, changes)) in (1..).zip(table) {
        tick(&app);
        let answer = client.post(path, body.clone()).await.ok();
        assert_entry(&added(&app, id, number).await, Action::UserUpdated, actor, &answer, &changes);
    }
}

fn jane_health(metadata: Value) -> Value {
    json!({"email": "jane@doe.com", "metadata": metadata})
}

#[tokio::test]
async fn following_a_link_leaves_one_entry_of_the_person_and_a_link_that_no_longer_works_none() {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let link = app.newest_link().await;
    app.anyone().get(&link).await.ok();
    assert_eq!(app.count("audit").await, 1, "opening it is no change");
    tick(&app);
    let pressed = app.anyone().send("POST", &link, "").await;
    assert_eq!(pressed.status, 303);
    let entry = added(&app, &id, 1).await;
    let me = Actor::Person(id.parse().unwrap());
    assert_eq!((entry.action, entry.actor), (Action::LinkFollowed, me));
    assert_eq!(entry.changes.0, json!({"fields": {}, "health": []}));
    assert_eq!(app.anyone().send("POST", &link, "").await.status, 410);
    set_status(&app, &id, Status::Frozen).await;
    assert_eq!(app.count("audit").await, 3);
    app.anyone().send("POST", &link, "").await;
    assert_eq!(app.count("audit").await, 3);
}

#[tokio::test]
async fn the_operators_commands_leave_one_entry_each_and_none_where_nothing_changed() {
    let server = Program::start(&[]);
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let store = Store::open(&server.folder.location(), Clock::System, IfMissing::Refuse).await.unwrap();
    let mut expected = vec![Action::UserCreated];
    for (command, action) in [
        ("restore", None),
        ("freeze", Some(Action::UserFrozen)),
        ("freeze", None),
        ("restore", Some(Action::UserRestored)),
        ("delete", Some(Action::UserDeleted)),
        ("delete", None),
        ("restore", Some(Action::UserRestored)),
        ("restore", None),
    ] {
        server.json(&["user", command, &id]);
        expected.extend(action);
        let all = entries(&store, &id).await;
        assert_eq!(all.iter().map(|entry| entry.action).collect::<Vec<_>>(), expected, "{command}");
        let newest = all.last().unwrap();
        if action.is_some() {
            let found = (newest.actor, newest.request, &newest.changes.0);
            assert_eq!(found, (Actor::Operator, None, &json!({"fields": {}, "health": []})), "{command}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_or_changes_nothing_or_was_done_before_leaves_no_entry() {
    let app = TestApp::new().await;
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let keyed = acme.with(KEY, "k");
    let created = keyed.post(CREATE, jane()).await.ok();
    let id = created.id().to_owned();
    acme.post(CREATE, john()).await.ok();
    let change = jane_health(json!({"n": 1}));
    keyed.post(UPDATE, change.clone()).await.ok();
    let path = format!("/v1/users/{id}");
    let user = |change: Value| json!({ "user": change });
    let stale = acme.with("If-Match", "\"0\"");
    let (person, other) = (app.person(&id).await, app.partner("other").await);
    let before = app.count("audit").await;
    assert_eq!(before, 3);
    for (client, path, body, status) in [
        (&keyed, CREATE, jane(), 200),
        (&keyed, UPDATE, change.clone(), 200),
        (&keyed, UPDATE, jane_health(json!({"n": 2})), 422),
        (&acme, UPDATE, change.clone(), 200),
        (&acme, UPDATE, json!({"email": "JANE@doe.com"}), 200),
        (&server, path.as_str(), user(json!({})), 200),
        (&server, path.as_str(), user(json!({"given_name": "jane", "id": "x"})), 200),
        (&person, "/v1/users/me", user(json!({"unknown": 1})), 200),
        (&acme, CREATE, jane(), 409),
        (&acme, CREATE, john().but("email", json!("jim@doe.com")), 409),
        (&acme, CREATE, john().without("lastname"), 400),
        (&acme, UPDATE, json!({"email": "jim@doe.com"}), 404),
        (&acme, UPDATE, json!({"email": "jane@doe.com", "diabetes": 9}), 400),
        (&other, UPDATE, jane_health(json!({"n": 3})), 404),
        (&stale, UPDATE, jane_health(json!({"n": 3})), 412),
        (&server, path.as_str(), user(json!({"email": "john@doe.com"})), 400),
        (&server, path.as_str(), user(json!({"phone_number": "2025550123"})), 400),
        (&server, "/v1/users/11111111-1111-4111-8111-111111111111", user(json!({"nickname": "J"})), 400),
        (&person, "/v1/users/11111111-1111-4111-8111-111111111111", user(json!({"nickname": "J"})), 403),
    ] {
        let answer = client.post(path, body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
        assert_eq!(app.count("audit").await, before, "{path} {body}");
    }
}

#[tokio::test]
async fn an_entry_holds_no_health_value_and_nothing_personal_can_be_read_in_the_table() {
    let app = TestApp::new().await;
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let body = jane()
        .but("metadata", json!({"canary-meta": "canary-value"}))
        .but("allergies", json!("canary-allergy"))
        .but("currentWeight", json!(178.25))
        .but("planStartDate", json!("2023-10-30"));
    let id = acme.post(CREATE, body).await.ok().id().to_owned();
    let change = jane_health(json!({"canary-meta": "canary-other"}))
        .but("doctorFullname", json!("canary-doctor"))
        .but("medicalClearanceDescription", json!("canary-clearance"));
    acme.post(UPDATE, change).await.ok();
    server.put(&format!("/v1/users/{id}"), json!({"user": {"nickname": "canary-nick"}})).await.ok();
    let all = entries(app.store(), &id).await;
    assert_eq!(all.len(), 3);
    let text: String = all.iter().map(|entry| entry.changes.0.to_string()).collect();
    assert!(text.contains("canary-nick") && text.contains("jane@doe.com") && text.contains("doctorFullname"), "{text}");
    for value in ["5ft 6in", "vegan", "no pork", "Mike", "178.25", "2023-10-30", "medical clearance", "canary-meta"] {
        assert!(!text.contains(value), "{value}: {text}");
    }
    for value in ["canary-value", "canary-other", "canary-allergy", "canary-doctor", "canary-clearance", "full"] {
        assert!(!text.replace("doctorFullname", "").contains(value), "{value}: {text}");
    }
    assert!(!format!("{all:?}").contains("canary"), "an entry does not show itself when printed");

    let rows = app.store().read(|tx| tx.query("SELECT action, actor, changes FROM audit", &[])).await.unwrap();
    for row in &rows {
        let mut stored: Vec<u8> = row.get(2).unwrap();
        stored.extend(row.get::<String>(0).unwrap().bytes().chain(row.get::<String>(1).unwrap().bytes()));
        for readable in ["jane", "doe", "canary", "1990", "nickname", "height", "fields", "health"] {
            assert!(!stored.windows(readable.len()).any(|window| window == readable.as_bytes()), "{readable}");
        }
    }
    // An entry opens in its own place only.
    let swap = "UPDATE audit SET changes = (SELECT changes FROM audit WHERE action = 'user.created') \
                WHERE action = 'user.updated'";
    assert_eq!(app.store().write(move |tx| tx.execute(swap, &[])).await.unwrap(), 2);
    let id: UserId = id.parse().unwrap();
    assert!(app.store().read(move |tx| audit::of_user(tx, id).map(|_| ())).await.is_err());
}

#[tokio::test]
async fn the_names_of_what_was_changed_before_are_in_no_file_once_it_is_changed() {
    crate::cluster::about_the_file!();
    let server = Program::start(&[]);
    let id = server.enrol(&jane().but("firstname", json!("Oldcanary"))).1["identifier"].as_str().unwrap().to_owned();
    let body = json!({"user": {"given_name": "Newname"}});
    let token = server.json(&["token", "create", "--user", &id])["accessToken"].as_str().unwrap().to_owned();
    assert_eq!(server.call_as(&token, "PUT", "/v1/users/me", &body).0, 200);
    let folder = server.stop().2;
    // A copy has none of what the file has overwritten.
    let copy = folder.0.join("copy.db");
    assert!(crate::program::usher(&folder).arg("backup").arg(&copy).output().unwrap().status.success());
    let bytes = std::fs::read(&copy).unwrap();
    let holds = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(holds("Newname") && !holds("Oldcanary"), "what the name was is in the entry, which is sealed");
}
