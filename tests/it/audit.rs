//! The audit trail: one entry for every change and every refused attempt, with who it was and what changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::{Value, json};
use usher::apps::Kind;
use usher::audit::tally::OF_A_KIND;
use usher::audit::{self, Action, Entry, Filter, INSTALLATION, Order};
use usher::caller::Actor;
use usher::clock::Clock;
use usher::db::{IfMissing, Store, Tx};
use usher::keys::{Access, Key, NewKey};
use usher::users::UserId;

use crate::harness::{Answer, But, Client, OPERATOR, TestApp, a_key, jane, john};
use crate::idempotency::{CREATE, KEY, UPDATE};
use crate::program::Program;

async fn entries(store: &Store, id: &str) -> Vec<Entry> {
    let id: UserId = id.parse().unwrap();
    store.read(move |tx| crate::harness::trail_of(tx, id)).await.unwrap()
}

/// How many entries are about users.
async fn users_entries(app: &TestApp) -> i64 {
    app.count("audit WHERE user_id IS NOT NULL").await
}

/// How many entries there are, but for those of a key's first request.
async fn entries_but_pins(app: &TestApp) -> i64 {
    app.count("audit WHERE action <> 'key.updated'").await
}

/// The newest entries of all, newest first.
async fn newest(app: &TestApp, count: i64) -> Vec<Entry> {
    let find = move |tx: &usher::db::Tx| audit::find(tx, &Filter::default(), Order::NewestFirst, count);
    app.store().read(find).await.unwrap()
}

/// The entry that was added since there were `before`, and no other.
async fn added(app: &TestApp, id: &str, before: usize) -> Entry {
    let mut all = entries(app.store(), id).await;
    assert_eq!((all.len(), users_entries(app).await), (before + 1, i64::try_from(before + 1).unwrap()));
    let newest = all.pop().unwrap();
    assert_eq!(newest.user.unwrap().to_string(), id);
    assert_eq!((newest.result.as_str(), newest.times, newest.target, &newest.operation), ("done", 1, None, &None));
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
    assert_eq!((entry.action, entry.actor, &entry.changes.0), (action, Some(actor), changes));
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
            &person,
            Actor::Person(me),
            "/v1/users/me",
            user(json!({"nickname": "JJ"})),
            json!({"fields": {"nickname": ["Janie", "JJ"]}, "health": []}),
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
    ];
    for (number, (client, actor, path, body, changes)) in (1..).zip(table) {
        let answer = client.post(path, body.clone()).await.ok();
        assert_entry(&added(&app, id, number).await, Action::UserUpdated, actor, &answer, &changes);
    }
}

fn jane_health(metadata: Value) -> Value {
    json!({"email": "jane@doe.com", "metadata": metadata})
}

#[tokio::test]
async fn following_a_link_leaves_an_entry_of_the_person_and_of_what_it_proves_and_each_refusal_one_of_somebody_unknown()
{
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    let link = app.newest_link().await;
    app.anyone().get(&link).await.ok();
    assert_eq!(users_entries(&app).await, 1, "opening it is no change");
    let pressed = app.anyone().send("POST", &link, "").await;
    assert_eq!(pressed.status, 303);
    let entry = added(&app, &id, 2).await;
    let me = Actor::Person(id.parse().unwrap());
    assert_eq!((entry.action, entry.actor), (Action::LinkFollowed, Some(me)));
    assert_eq!(entry.changes.0, json!({"fields": {}, "health": []}));
    let proven = entries(app.store(), &id).await.remove(1);
    assert_eq!((proven.action, proven.actor, proven.request), (Action::UserUpdated, Some(me), entry.request));
    assert_eq!(proven.changes.0["fields"], json!({"email_verified": [false, true]}));
    let again = app.anyone().send("POST", &link, "").await;
    assert_eq!(again.status, 410);
    let refused = entries(app.store(), &id).await.pop().unwrap();
    assert_eq!((refused.action, refused.actor, refused.result.as_str()), (Action::LinkFollowed, None, "link_used"));
    assert_eq!(refused.request.unwrap().to_string(), again.header("request-id"));
    let unknown = app.anyone().send("POST", &format!("{}x", &link), "").await;
    let refused = newest(&app, 1).await.remove(0);
    assert_eq!((unknown.status, refused.result.as_str(), refused.actor), (404, "link_unknown", None));
    assert_eq!(refused.operation.as_deref(), Some("POST /links/{link}"), "and not which");
    assert_eq!(refused.request.unwrap().to_string(), unknown.header("request-id"));
    assert_eq!(users_entries(&app).await, 4);
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
            assert_eq!(found, (Some(Actor::Operator), None, &json!({"fields": {}, "health": []})), "{command}");
        }
    }
}

#[tokio::test]
async fn what_is_refused_or_came_before_or_showed_health_data_leaves_one_entry_and_what_changes_nothing_none() {
    const NOBODY: &str = "11111111-1111-4111-8111-111111111111";
    let app = TestApp::new().await;
    let (acme, server) = (app.partner("acme").await, app.server().await);
    let keyed = acme.with(KEY, "k");
    let created = keyed.post(CREATE, jane()).await.ok();
    let id = created.id().to_owned();
    acme.post(CREATE, john()).await.ok();
    let change = jane_health(json!({"n": 1}));
    keyed.post(UPDATE, change.clone()).await.ok();
    let (path, nobody) = (format!("/v1/users/{id}"), format!("/v1/users/{NOBODY}"));
    let user = |change: Value| json!({ "user": change });
    let stale = acme.with("If-Match", "\"0\"");
    let (person, other) = (app.person(&id).await, app.partner("other").await);
    let replayed = Some((Action::RequestReplayed, "done"));
    let read = Some((Action::HealthRead, "done"));
    let refused = |code| Some((Action::RequestRefused, code));
    for (client, path, body, status, left) in [
        (&keyed, CREATE, jane(), 200, replayed),
        (&keyed, UPDATE, change.clone(), 200, replayed),
        (&keyed, UPDATE, jane_health(json!({"n": 2})), 422, refused("idempotency_key_reused")),
        (&acme, UPDATE, change.clone(), 200, read),
        (&acme, UPDATE, json!({"email": "JANE@doe.com"}), 200, read),
        (&server, path.as_str(), user(json!({})), 200, None),
        (&server, path.as_str(), user(json!({"given_name": "jane", "id": "x"})), 200, None),
        (&person, "/v1/users/me", user(json!({"unknown": 1})), 200, None),
        (&acme, CREATE, jane(), 409, refused("email_taken")),
        (&acme, CREATE, john().but("email", json!("jim@doe.com")), 409, refused("phone_taken")),
        (&acme, CREATE, john().without("lastname"), 400, refused("invalid_fields")),
        (&acme, UPDATE, json!({"email": "jim@doe.com"}), 404, refused("user_not_found")),
        (&acme, UPDATE, json!({"email": "jane@doe.com", "diabetes": 9}), 400, refused("invalid_fields")),
        (&other, UPDATE, jane_health(json!({"n": 3})), 404, refused("user_not_found")),
        (&stale, UPDATE, jane_health(json!({"n": 3})), 412, refused("stale")),
        (&server, path.as_str(), user(json!({"email": "john@doe.com"})), 400, refused("email_taken")),
        (&server, path.as_str(), user(json!({"phone_number": "2025550123"})), 400, refused("phone_taken")),
        (&server, nobody.as_str(), user(json!({"nickname": "J"})), 400, refused("user_not_found")),
        (&person, nobody.as_str(), user(json!({"nickname": "J"})), 403, refused("not_yours")),
    ] {
        let before = entries_but_pins(&app).await;
        let answer = client.post(path, body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
        assert_eq!(entries_but_pins(&app).await - before, i64::from(left.is_some()), "{path} {body}");
        let Some((action, result)) = left else { continue };
        let entry = newest(&app, 1).await.remove(0);
        assert_eq!((entry.action, entry.result.as_str()), (action, result), "{path} {body}");
        assert_eq!(entry.request.unwrap().to_string(), answer.header("request-id"));
        assert!(entry.actor.is_some());
        if matches!(action, Action::RequestReplayed | Action::HealthRead) {
            assert_eq!(entry.user.map(|user| user.to_string()).as_deref(), Some(id.as_str()), "whom it is about");
        }
        if path.starts_with("/users") {
            assert_eq!(entry.date.as_deref(), Some("2023-10-04"));
        }
        if action == Action::RequestRefused {
            let route = if path.starts_with("/v1") { "/v1/users/{userId}" } else { path };
            assert_eq!(entry.operation, Some(format!("POST {route}")));
            let named = path.strip_prefix("/v1/users/").filter(|name| *name != "me");
            assert_eq!((entry.user, entry.target.map(|id| id.to_string()).as_deref()), (None, named));
        }
    }
}

/// A key that has ended, by both doors.
async fn ended(app: &TestApp) -> (Key, Client<'_>, Client<'_>) {
    let (key, secret) = app.new_key(Kind::Sandbox, a_key()).await;
    app.store().write(move |tx| usher::keys::revoke(tx, OPERATOR, key.id)).await.unwrap();
    let server = app.anyone().with("X-API-KEY", &secret).with("X-API-KEY-TYPE", "write");
    let partner = app.anyone().with("Authorization", &format!("Bearer {secret}"));
    (key, partner, server.with("X-CLIENT-ID", &app.client_id.to_string()))
}

#[tokio::test]
async fn the_first_attempts_of_nobody_known_have_an_entry_each_and_a_flood_of_them_costs_a_few_rows_and_is_counted() {
    const NOBODY: &str = "11111111-1111-4111-8111-111111111111";
    const FLOOD: usize = 300;
    let app = TestApp::new().await;
    let (key, revoked, _) = ended(&app).await;
    let dated = app.anyone().with("Usher-Version", "2023-08-22");
    let (create, see) = ("POST /users/create", "GET /v1/users/{userId}");
    let target: Option<uuid::Uuid> = NOBODY.parse().ok();
    let kinds = [
        (create, "invalid_request_error", INSTALLATION, None, None, Some("2023-08-22")),
        (see, "no_credentials", INSTALLATION, None, target, None),
        (
            create,
            "authentication_error",
            key.caller.scope.environment,
            Some(Actor::Key(key.id)),
            None,
            Some("2023-10-04"),
        ),
    ];
    let before = app.count("audit").await;
    let mut first = Vec::new();
    for n in 0..FLOOD {
        let answers = [
            dated.post(CREATE, jane()).await,
            app.anyone().get(&format!("/v1/users/{NOBODY}")).await,
            revoked.post(CREATE, jane()).await,
        ];
        assert_eq!([0, 1, 2].map(|n| answers[n].status), [403, 401, 403]);
        assert_eq!(app.anyone().get("/nothing/here").await.status, 404);
        if n < OF_A_KIND {
            first.extend(answers.iter().map(|answer| answer.header("request-id").to_owned()));
        }
    }
    let mut noted = newest(&app, app.count("audit").await - before).await;
    noted.reverse();
    assert_eq!(noted.len(), kinds.len() * OF_A_KIND, "and none of what came after");
    for (entry, (request, kind)) in noted.iter().zip(first.iter().zip(kinds.iter().cycle())) {
        let (operation, result) = (entry.operation.as_deref().unwrap(), entry.result.as_str());
        let found = (operation, result, entry.environment, entry.actor, entry.target, entry.date.as_deref());
        assert_eq!((found, entry.times, entry.user), (*kind, 1, None));
        assert_eq!(entry.request.unwrap().to_string(), *request);
    }

    let counts = app.app.api().refusals.take();
    app.store().write(move |tx| audit::tally::write(tx, &counts)).await.unwrap();
    let counted = newest(&app, app.count("audit").await - before - i64::try_from(noted.len()).unwrap()).await;
    let mut counted: Vec<_> =
        counted.into_iter().map(|entry| (entry.operation.unwrap(), entry.result, entry.times, entry.actor)).collect();
    counted.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    let rest = i64::try_from(FLOOD - OF_A_KIND).unwrap();
    let of = |(operation, code, _, actor, ..): (&str, &str, _, _, _, _)| {
        (operation.to_owned(), code.to_owned(), rest, actor)
    };
    assert_eq!(counted, [of(kinds[1]), of(kinds[2]), of(kinds[0])]);

    // Another minute begins. Whoever is known is told apart, in between.
    let again = app.anyone().get("/v1/users/me").await;
    assert_eq!(newest(&app, 1).await[0].request.unwrap().to_string(), again.header("request-id"));
    app.partner("acme").await.post(CREATE, json!({})).await;
    assert_eq!((newest(&app, 1).await[0].times, newest(&app, 1).await[0].result.as_str()), (1, "invalid_fields"));
}

#[tokio::test]
async fn a_key_that_has_ended_has_no_entry_where_one_that_never_was_would_have_none() {
    let app = TestApp::new().await;
    let (key, _, server) = ended(&app).await;
    let made_up = server.instead("X-API-KEY", "nonsense");
    for _ in 0..OF_A_KIND {
        assert_eq!(made_up.get("/v1/users").await.status, 401);
    }
    let before = app.count("audit").await;
    let (unknown, ended) = (made_up.get("/v1/users").await, server.get("/v1/users").await);
    assert_eq!((unknown.status, &unknown.text), (ended.status, &ended.text));
    assert_eq!(app.count("audit").await, before, "neither waits to be written");
    let counts = app.app.api().refusals.take();
    let mut counts: Vec<_> = counts.into_iter().map(|(kind, times)| (kind.key.map(|(_, by)| by), times)).collect();
    counts.sort_by_key(|(by, _)| by.is_some());
    assert_eq!(counts, [(None, 1), (Some(Actor::Key(key.id)), 1)], "but it is told which key it was");
}

#[tokio::test]
async fn where_the_database_takes_no_more_an_attempt_is_answered_as_ever_and_counted_whoever_made_it() {
    let app = TestApp::new().await;
    let (key, secret) = app.new_key(Kind::Sandbox, NewKey { access: Access::Read, ..a_key() }).await;
    let reader = app.anyone().with("X-API-KEY", &secret).with("X-API-KEY-TYPE", "read");
    let reader = reader.with("X-CLIENT-ID", &app.client_id.to_string());
    let new_user = json!({"user": {"email": "jane@doe.com"}});
    assert_eq!(reader.post("/v1/users", new_user.clone()).await.status, 403);
    let usual = app.anyone().post(CREATE, jane()).await;
    let before = app.count("audit").await;
    let (begun, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    // Every writer has something to do that takes long, and as much waits as may.
    loop {
        let (count, end, busy) = (Arc::clone(&begun), Arc::clone(&over), begun.load(SeqCst));
        let wait = move |_: &Tx| {
            count.fetch_add(1, SeqCst);
            while !end.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        };
        assert!(app.store().write(wait).now_or_never().is_none(), "it waits");
        let since = Instant::now();
        while begun.load(SeqCst) == busy && since.elapsed() < Duration::from_secs(1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if begun.load(SeqCst) == busy {
            break;
        }
    }
    while app.store().write(|_| Ok(())).now_or_never().is_none() {}
    let unusual = app.anyone().post(CREATE, jane()).await;
    assert_eq!(reader.post("/v1/users", new_user).await.status, 403);
    over.store(true, SeqCst);
    assert_eq!((unusual.status, unusual.message()), (usual.status, usual.message()));
    let counted =
        |key, operation: &str, code| (audit::tally::Kind { key, operation: Some(operation.to_owned()), code }, 1);
    let known = Some((key.caller.scope.environment, Actor::Key(key.id)));
    let mut all = app.app.api().refusals.take();
    all.sort_by_key(|(kind, _)| kind.key.is_some());
    assert_eq!(
        all,
        [
            counted(None, "POST /users/create", "invalid_request_error"),
            counted(known, "POST /v1/users", "read_only_key")
        ]
    );
    while app.store().write(|_| Ok(())).await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(app.count("audit").await, before);
}

#[tokio::test]
async fn what_the_operator_does_to_keys_and_apps_and_sees_of_a_person_is_noted() {
    let server = Program::start(&[]);
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let app = server.client_id.clone();
    let made = server.json(&["key", "create", "--app", &app, "--environment", "live", "--access", "read"]);
    let key = made["id"].as_str().unwrap();
    server.json(&["key", "revoke", key]);
    server.json(&["key", "revoke", key]);
    server.json(&["app", "update", &app, "--environment", "live", "--name", "Acme"]);
    server.json(&["user", "show", &id]);
    server.json(&["user", "show", &id, "--reveal", "she asked"]);
    // The name of the app is that of its sandbox too.
    let list = server.json(&["audit", "list", "--limit", "6"]);
    let seen: Vec<_> = list.as_array().unwrap().iter().map(|e| (e["action"].clone(), e["actor"].clone())).collect();
    let by_the_operator = |action: &str| (json!(action), json!("operator"));
    assert_eq!(
        seen[..5],
        ["user.health_read", "app.updated", "app.updated", "key.revoked", "key.created"].map(by_the_operator),
        "newest first"
    );
    assert_eq!(
        (&list[0]["userId"], &list[3]["target"], &list[3]["environment"]),
        (&json!(id), &json!(key), &json!("live"))
    );
    assert_eq!(seen[5].0, "user.created");
}

#[tokio::test]
async fn a_refusal_names_the_key_that_has_ended_or_may_not_do_it_at_either_door() {
    let app = TestApp::new().await;
    let (revoked, one) = app.new_key(Kind::Sandbox, a_key()).await;
    app.store().write(move |tx| usher::keys::revoke(tx, OPERATOR, revoked.id)).await.unwrap();
    let soon = NewKey { expires_in: Some(Duration::from_secs(1)), ..a_key() };
    let (expired, two) = app.new_key(Kind::Sandbox, soon).await;
    let (reader, three) = app.new_key(Kind::Sandbox, NewKey { access: Access::Read, ..a_key() }).await;
    app.advance(Duration::from_secs(1));
    let mut refused = BTreeMap::new();
    for (key, secret, access) in [(&revoked, one, "write"), (&expired, two, "write"), (&reader, three, "read")] {
        let partner = app.anyone().with("Authorization", &format!("Bearer {secret}"));
        let server = app.anyone().with("X-API-KEY", &secret).with("X-API-KEY-TYPE", access);
        let server = server.with("X-CLIENT-ID", &app.client_id.to_string());
        for _ in 0..2 {
            assert_eq!(partner.post(CREATE, jane()).await.status, 403);
            let by_app = server.post("/v1/users", json!({"user": {"email": "jane@doe.com"}})).await;
            assert!([401, 403].contains(&by_app.status), "{}", by_app.text);
        }
        refused.insert(key.id.to_string(), access);
    }
    // As `usher audit list` prints them.
    let shown: Vec<Value> = app.audited(Action::RequestRefused).await.iter().map(|entry| entry.export(None)).collect();
    for (id, access) in refused {
        let hers = shown.iter().filter(|entry| entry["actor"] == "key" && entry["actorId"] == json!(id));
        let mut told: Vec<_> =
            hers.map(|e| json!([e["operation"], e["result"], e["times"], e["apiVersion"]]).to_string()).collect();
        told.sort_unstable();
        let codes = if access == "write" { ["authentication_error", "invalid_key"] } else { ["read_only_key"; 2] };
        let partner = json!(["POST /users/create", codes[0], 1, "2023-10-04"]);
        let server = json!(["POST /v1/users", codes[1], 1, null]);
        let expected = [&partner, &partner, &server, &server];
        assert_eq!(told, expected.map(Value::to_string), "{access}");
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

    let sql = "SELECT action, actor, changes FROM audit WHERE changes IS NOT NULL";
    let rows = app.store().read(|tx| tx.query(sql, &[])).await.unwrap();
    for row in &rows {
        let mut stored: Vec<u8> = row.get(2).unwrap();
        stored.extend(row.get::<String>(0).unwrap().bytes().chain(row.get::<String>(1).unwrap().bytes()));
        for readable in ["jane", "doe", "canary", "1990", "nickname", "height", "fields", "health"] {
            assert!(!stored.windows(readable.len()).any(|window| window == readable.as_bytes()), "{readable}");
        }
    }
    // An entry opens in its own place only.
    app.tamper(
        "UPDATE audit SET changes = (SELECT changes FROM audit WHERE action = 'user.created') \
         WHERE action = 'user.updated'",
    );
    let id: UserId = id.parse().unwrap();
    assert!(app.store().read(move |tx| crate::harness::trail_of(tx, id).map(|_| ())).await.is_err());
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
    assert!(crate::program::usher(&folder).args(["backup", "--plain"]).arg(&copy).output().unwrap().status.success());
    let bytes = std::fs::read(&copy).unwrap();
    let holds = |needle: &str| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(holds("Newname") && !holds("Oldcanary"), "what the name was is in the entry, which is sealed");
}
