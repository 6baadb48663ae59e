//! The directory API beyond the seed: making, patching and inviting users, their life, rehearsals.

use std::time::Duration;

use serde_json::{Value, json};
use usher::admins::Role;
use usher::apps::Kind;
use usher::audit::Action;
use usher::keys::Access;
use usher::roles::RoleId;
use usher::users::{RESTORABLE, Status};

use crate::harness::{Answer, But, TestApp, jane, john};
use crate::idempotency::set_status;
use crate::tables::{assert_only_read, everything};

/// Jane and John of acme.
pub async fn two() -> (TestApp, String, String) {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let one = acme.post("/users/create", jane()).await.ok().id().to_owned();
    let other = acme.post("/users/create", john()).await.ok().id().to_owned();
    (app, one, other)
}

pub async fn administrator(app: &TestApp, id: &str) {
    let role = json!({"userRoleId": RoleId::ADMINISTRATOR});
    app.server().await.put(&format!("/v1/users/{id}/user-roles"), role).await.ok();
}

pub fn data(answer: &Answer) -> &Value {
    &answer.body["data"]
}

#[tokio::test]
async fn a_user_is_made_with_what_is_known_and_nobody_is_sent_anything() {
    let (app, id, _) = two().await;
    let (server, mails) = (app.server().await, app.mails().await.len());
    let user = json!({
        "email": "mary@doe.com", "given_name": "Mary", "phone_number": "2025550133", "externalId": "crm-7",
        "metadata": {"plan": "gold"}, "tenantId": "x"
    });
    let made = server.post("/v1/users", json!({ "user": user })).await.ok();
    let (mary, tag) = (data(&made).clone(), made.header("etag").to_owned());
    assert_eq!(
        (&mary["externalId"], &mary["metadata"], &mary["tenantId"], &mary["given_name"], &mary["email_verified"]),
        (&json!("crm-7"), &json!({"plan": "gold"}), &Value::Null, &json!("Mary"), &json!(false))
    );
    assert_eq!(app.mails().await.len(), mails);
    let path = format!("/v1/users/{}", mary["id"].as_str().unwrap());
    let read = server.get(&format!("{path}?metadata=true")).await.ok();
    assert_eq!((data(&read), read.header("etag")), (&mary, tag.as_str()));
    assert_eq!(data(&server.get(&path).await.ok()), &mary.without("metadata"));

    for (user, status, error) in [
        (json!({"email": "MARY@doe.com"}), 409, "Email already exists"),
        (json!({"email": "x@doe.com", "phone_number": "(202) 555-0133"}), 409, "Phone number already exists"),
        (json!({"email": "x@doe.com", "externalId": "crm-7"}), 409, "External id already exists"),
        (json!({"email": "MARY@doe.com", "externalId": "crm-7"}), 409, "Email already exists"),
        (json!({}), 400, "email is required"),
        (json!({"email": null}), 400, "Invalid email address"),
        (json!({"email": "x@doe.com", "metadata": []}), 400, "metadata must be an object of keys and values"),
    ] {
        let answer = server.post("/v1/users", json!({"user": user.clone()})).await;
        assert_eq!((answer.status, answer.error()), (status, error), "{user}");
    }
    // The documented operation has no 409.
    let answer = server.put(&format!("/v1/users/{id}"), json!({"user": {"externalId": "crm-7"}})).await;
    assert_eq!((answer.status, answer.error()), (400, "External id already exists"));
    // The same name is free in another environment, and for nobody twice.
    let live = app.server_in(Kind::Live, Access::Write).await;
    live.post("/v1/users", json!({"user": {"email": "mary@doe.com", "externalId": "crm-7"}})).await.ok();

    let tenant = app.user(&id).await.tenant.unwrap();
    let made = server.post(&format!("/v1/users?tenant={tenant}"), json!({"user": {"email": "t@doe.com"}})).await.ok();
    assert_eq!(data(&made)["tenantId"], json!(tenant));
    assert_eq!(
        live.post(&format!("/v1/users?tenant={tenant}"), json!({"user": {"email": "t@doe.com"}})).await.status,
        404
    );
}

#[tokio::test]
async fn a_patch_sets_what_it_has_takes_away_what_is_null_and_merges_metadata_by_key() {
    let (app, id, _) = two().await;
    let (server, path) = (app.server().await, format!("/v1/users/{id}"));
    let change = async |user: Value| server.send("PATCH", &path, json!({ "user": user }).to_string()).await;
    let after = change(json!({
        "nickname": "JJ", "given_name": null, "phone_number": null, "externalId": "crm-1",
        "metadata": {"a": {"b": 1, "c": 2}, "list": [1, null]}
    }));
    let after = data(&after.await.ok()).clone();
    assert_eq!(
        (&after["nickname"], &after["given_name"], &after["phone_number"], &after["externalId"], &after["family_name"]),
        (&json!("JJ"), &Value::Null, &Value::Null, &json!("crm-1"), &json!("doe"))
    );
    assert_eq!(after["metadata"], json!({"key": "value", "a": {"b": 1, "c": 2}, "list": [1, null]}));
    let after = change(
        json!({"metadata": {"key": null, "a": {"c": null, "d": {"x": null, "y": 1}}, "list": {"n": 1}, "none": null}}),
    );
    assert_eq!(data(&after.await.ok())["metadata"], json!({"a": {"b": 1, "d": {"y": 1}}, "list": {"n": 1}}));
    let after = data(&change(json!({"metadata": null, "externalId": null})).await.ok()).clone();
    assert_eq!((&after["metadata"], &after["externalId"]), (&json!({}), &Value::Null));
    // The number is free again.
    let other = json!({"user": {"email": "n@doe.com", "phone_number": "1234567890"}});
    server.post("/v1/users", other).await.ok();

    let before = app.user(&id).await.person;
    let many: serde_json::Map<String, Value> = (0..51).map(|n| (format!("k{n}"), json!(n))).collect();
    for (user, error) in [
        (json!({"email": null}), "email cannot be taken away"),
        (json!({"email": "x"}), "Invalid email address"),
        (json!({"nickname": 1}), "nickname must be a string"),
        (json!({"metadata": [1]}), "metadata must be an object of keys and values"),
        (json!({"metadata": many}), "metadata must have at most 50 keys"),
        (json!([]), "`user` must be an object"),
    ] {
        let answer = change(user.clone()).await;
        assert_eq!((answer.status, answer.error()), (400, error), "{user}");
    }
    // As large as a body may be, and then one key more.
    let large = |key: &str| json!({"metadata": {key: vec!["x".repeat(499); 80]}});
    change(large("first")).await.ok();
    let answer = change(large("second")).await;
    assert_eq!((answer.status, answer.error()), (400, "metadata must have at most 64 KiB"));
    change(json!({"metadata": null})).await.ok();
    assert_eq!(app.user(&id).await.person, before);
    let stale = server.with("If-Match", "\"x\"").send("PATCH", &path, r#"{"user":{"nickname":"x"}}"#).await;
    assert_eq!(stale.status, 412);
}

#[tokio::test]
async fn nothing_taken_from_no_metadata_changes_nothing() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let made = server.post("/v1/users", json!({"user": {"email": "bare@doe.com"}})).await.ok();
    let id = data(&made)["id"].as_str().unwrap().to_owned();
    let (path, version) = (format!("/v1/users/{id}"), app.user(&id).await.version);
    for metadata in [json!({"gone": null}), json!({}), json!({"a": {"b": null}})] {
        server.send("PATCH", &path, json!({"user": {"metadata": metadata}}).to_string()).await.ok();
    }
    assert_eq!(app.user(&id).await.version, version + 1, "an empty object is something");
}

#[tokio::test]
async fn metadata_and_the_apps_own_id_are_not_the_persons_to_change_or_see() {
    let (app, id, other) = two().await;
    let me = app.person(&id).await;
    let body = json!({"user": {"nickname": "JJ", "externalId": "mine", "metadata": {"key": "changed"}}});
    let after = me.send("PATCH", "/v1/users/me", body.to_string()).await.ok();
    assert_eq!((&data(&after)["nickname"], data(&after).get("metadata")), (&json!("JJ"), None));
    me.put("/v1/users/me", body).await.ok();
    let person = app.user(&id).await.person;
    assert_eq!((person.external_id.is_none(), json!(person.health.metadata)), (true, json!({"key": "value"})));

    let path = format!("/v1/users/{id}");
    let reader = app.server_in(Kind::Sandbox, Access::Read).await;
    let whole = format!("{path}?metadata=true");
    for refused in [&reader, &me] {
        assert_eq!(refused.get(&whole).await.status, 403, "who may not change it does not see it");
    }
    administrator(&app, &other).await;
    for allowed in [app.server().await, app.person(&other).await] {
        assert_eq!(data(&allowed.get(&path).await.ok()).get("metadata"), None);
        assert_eq!(data(&allowed.get(&whole).await.ok())["metadata"], json!({"key": "value"}));
        let newest = data(&allowed.get(&format!("{path}/events?limit=1")).await.ok())["items"][0].clone();
        assert_eq!(newest["action"], "user.health_read");
    }
}

#[tokio::test]
async fn who_is_answered_metadata_by_a_patch_of_nothing_has_read_it_and_that_stands_in_the_trail() {
    let (app, id, other) = two().await;
    let path = format!("/v1/users/{id}");
    administrator(&app, &other).await;
    let (server, admin, me) = (app.server().await, app.person(&other).await, app.person(&id).await);
    let nothing = json!({"user": {}});
    for (who, client, shown, method, body, looks) in [
        ("a key", &server, true, "PATCH", nothing.clone(), 1),
        ("an administrator", &admin, true, "PATCH", nothing.clone(), 1),
        ("who knows it already", &server, true, "PATCH", json!({"user": {"metadata": {"key": "value"}}}), 1),
        ("who changes something", &server, true, "PATCH", json!({"user": {"nickname": "J"}}), 0),
        ("the person", &me, false, "PATCH", nothing.clone(), 0),
        ("who is answered nothing", &server, false, "PUT", nothing, 0),
    ] {
        let before = app.audited(Action::HealthRead).await.len();
        let answer = client.send(method, &path, body.to_string()).await.ok();
        assert_eq!(data(&answer).get("metadata").is_some(), shown, "{who}");
        assert_eq!(app.audited(Action::HealthRead).await.len() - before, looks, "{who}");
    }
}

#[tokio::test]
async fn an_invitation_makes_a_user_of_the_same_tenant_and_mails_them_their_link() {
    let (app, id, _) = two().await;
    let (server, mails) = (app.server().await, app.mails().await.len());
    let invite = json!({"email": "new@doe.com", "language": "de"});
    let answer = server.post(&format!("/v1/users/{id}"), invite.clone()).await.ok();
    assert_eq!(answer.text, r#"{"success":true,"message":"User invited","error":null,"data":null}"#);
    assert_eq!(app.mails().await.len(), mails + 1);
    let invited = server.get("/v1/users/new@doe.com").await.ok();
    assert_eq!(
        (&data(&invited)["language"], &data(&invited)["tenantId"]),
        (&json!("de"), &json!(app.user(&id).await.tenant))
    );
    for (body, error) in [
        (invite.clone(), "Email already exists"),
        (json!({"email": "x@doe.com"}), "language is required"),
        (json!({"email": "x", "language": "de"}), "Invalid email address"),
        (json!({"language": "de"}), "The body must have a `user` object with the fields to set"),
    ] {
        let answer = server.post(&format!("/v1/users/{id}"), body.clone()).await;
        assert_eq!((answer.status, answer.error()), (400, error), "{body}");
    }
    let other = invite.but("email", json!("other@doe.com"));
    assert_eq!(app.person(&id).await.post("/v1/users/me", other.clone()).await.status, 403);
    administrator(&app, &id).await;
    app.person(&id).await.post("/v1/users/me", other).await.ok();
    assert_eq!(app.mails().await.len(), mails + 2);
}

#[tokio::test]
async fn freezing_by_the_documented_address_ends_what_is_open_and_unfreezing_lets_in_again() {
    let (app, id, _) = two().await;
    let (server, me, link) = (app.server().await, app.person(&id).await, app.newest_link().await);
    let path = |status: &str| format!("/v1/apps/{}/users/{id}/access-status/{status}?test=true", app.client_id);
    for _ in 0..2 {
        server.put(&path("0"), json!({})).await.ok();
        assert_eq!(me.get("/v1/users/me").await.status, 403);
        assert_eq!(data(&server.get(&format!("/v1/users/{id}")).await.ok())["freezed"], json!(true));
    }
    server.send("PUT", &path("1"), "").await.ok();
    app.person(&id).await.get("/v1/users/me").await.ok();
    assert_eq!(me.get("/v1/users/me").await.status, 401, "what had ended stays ended");
    assert_ne!(app.anyone().send("POST", &link, "").await.status, 404, "John's link is another matter");
    for wrong in ["2", "freezed", "-1"] {
        assert_eq!(server.put(&path(wrong), json!({})).await.status, 400);
    }
    let elsewhere = format!("/v1/apps/22222222-2222-4222-8222-222222222222/users/{id}/access-status/0");
    assert_eq!(server.put(&elsewhere, json!({})).await.status, 403);
}

#[tokio::test]
async fn the_deleted_are_gone_for_everyone_and_come_back_as_they_were_within_thirty_days() {
    let (app, id, _) = two().await;
    let (server, me) = (app.server().await, app.person(&id).await);
    let (path, restore) = (format!("/v1/users/{id}"), format!("/v1/users/{id}/restore"));
    assert_eq!(server.send("POST", &restore, "").await.status, 409, "nobody was deleted");
    let before = app.user(&id).await;
    me.send("DELETE", "/v1/users/me?test=true", "").await.ok();
    assert_eq!((me.get("/v1/users/me").await.status, server.get(&path).await.status), (401, 400));
    assert_eq!(server.send("DELETE", &path, "").await.status, 400);
    app.advance(RESTORABLE.checked_sub(Duration::from_secs(1)).unwrap());
    server.send("POST", &restore, "").await.ok();
    let after = app.user(&id).await;
    assert_eq!((after.status(), after.tenant, after.person), (Status::Active, before.tenant, before.person));

    // Who was frozen comes back frozen.
    set_status(&app, &id, Status::Frozen).await;
    server.send("DELETE", &path, "").await.ok();
    server.send("POST", &restore, "").await.ok();
    assert_eq!(app.user(&id).await.status(), Status::Frozen);
    server.send("DELETE", &path, "").await.ok();
    app.advance(RESTORABLE);
    let late = server.send("POST", &restore, "").await;
    assert_eq!((late.status, late.error()), (404, "User not found"));
}

#[tokio::test]
async fn a_rehearsal_answers_what_would_change_and_changes_nothing() {
    let (app, id, _) = two().await;
    let server = app.server().await;
    let user = app.user(&id).await;
    let tenant = user.tenant.unwrap();
    let partner = app.partner("acme").await;
    let changes = "audit WHERE result = 'done' AND action LIKE 'user.%' AND action <> 'user.health_read'";
    let tables = ["users", changes, "outbox", "links", "idempotency", "erasures"];
    let mut before = Vec::new();
    for table in tables {
        before.push(app.count(table).await);
    }
    let path = format!("/v1/users/{id}");
    for (method, path, body, items) in [
        (
            "PUT",
            path.clone(),
            json!({"user": {"nickname": "JJ"}}),
            json!([{"action": "user.updated", "fields": {"nickname": [null, "JJ"]}, "health": []}]),
        ),
        ("PUT", path.clone(), json!({"user": {}}), json!([])),
        (
            "PATCH",
            path.clone(),
            json!({"user": {"given_name": null, "metadata": {"canary": 1}}}),
            json!([{"action": "user.updated", "fields": {"given_name": ["jane", null]}, "health": ["metadata"]}]),
        ),
        (
            "POST",
            "/v1/users".into(),
            json!({"user": {"email": "n@doe.com"}}),
            json!([{"action": "user.created", "fields": {"email": [null, "n@doe.com"]}, "health": []}]),
        ),
        (
            "POST",
            path.clone(),
            json!({"email": "n@doe.com", "language": "en"}),
            json!([{"action": "user.created", "fields": {"email": [null, "n@doe.com"], "language": [null, "en"]}, "health": []}]),
        ),
        ("DELETE", path.clone(), json!({}), json!([{"action": "user.deleted", "fields": {}, "health": []}])),
        (
            "PUT",
            format!("/v1/apps/{}/users/{id}/access-status/0", app.client_id),
            json!({}),
            json!([{"action": "user.frozen", "fields": {}, "health": []}]),
        ),
        (
            "PUT",
            format!("{path}/user-roles"),
            json!({"userRoleId": RoleId::ADMINISTRATOR}),
            json!([{"action": "user.role_given", "fields": {"role": ["member", "administrator"]}, "health": []}]),
        ),
        (
            "PUT",
            format!("/v1/tenants/{tenant}"),
            json!({"tenant": {"description": "x"}}),
            json!([{"fields": {"description": [null, "x"]}, "health": []}]),
        ),
    ] {
        let stored = everything(&app).await;
        let answer = server
            .with("Idempotency-Key", "k")
            .send(method, &format!("{path}?dry_run=true"), body.to_string())
            .await
            .ok();
        let looks = usize::from(body["user"]["metadata"].is_object());
        assert_only_read(&stored, &everything(&app).await, looks, &format!("{method} {path}"));
        let expected = json!({"kind": "dryRun", "itemsLength": items.as_array().unwrap().len(), "items": items});
        assert_eq!(data(&answer), &expected, "{method} {path}");
        assert_eq!((answer.message(), answer.header("etag")), ("Dry run: nothing was changed", ""));
    }
    let erased = server.send("POST", &format!("{path}/erase?dry_run=true"), "").await.ok();
    assert_eq!(data(&erased)["items"][0]["rows"]["users"], json!(1));
    // What would fail fails, also what only an index knows.
    for (method, path, body, status) in [
        ("POST", "/v1/users".to_owned(), json!({"user": {"email": "john@doe.com"}}), 409),
        ("PUT", path.clone(), json!({"user": {"email": "john@doe.com"}}), 400),
        ("PUT", "/v1/users/22222222-2222-4222-8222-222222222222".into(), json!({"user": {}}), 400),
    ] {
        assert_eq!(
            server.send(method, &format!("{path}?dry_run=true"), body.to_string()).await.status,
            status,
            "{path}"
        );
    }
    for wrong in ["dry_run=1", "dry_run=", "dry_run=true&dry_run=false"] {
        assert_eq!(
            server.put(&format!("{path}?{wrong}"), json!({"user": {"nickname": "x"}})).await.status,
            400,
            "{wrong}"
        );
    }
    let told = partner.post("/users/update?dry_run=true", json!({"email": "jane@doe.com", "diabetes": 3})).await.ok();
    assert_eq!(told.body["dryRun"]["items"][0]["health"], json!(["diabetes"]));
    assert!(!told.body["dryRun"].to_string().contains('3'));
    let mut after = Vec::new();
    for table in tables {
        after.push(app.count(table).await);
    }
    let now = app.user(&id).await;
    assert_eq!((before, user.person, user.version), (after, now.person, now.version));
    // The same request without it is done, for a rehearsal leaves no record of its key.
    server
        .with("Idempotency-Key", "k")
        .put(&format!("{path}?dry_run=false"), json!({"user": {"nickname": "JJ"}}))
        .await
        .ok();
    assert_eq!(json!(app.user(&id).await.person.profile)["nickname"], "JJ");
}

#[tokio::test]
async fn a_rehearsal_tells_all_that_a_webhook_an_import_or_a_subscription_would_become_and_changes_no_table() {
    let (app, _, _) = two().await;
    let (server, partner) = (app.server().await, app.partner("acme").await);
    let new = json!({"url": "https://hooks.example.com/usher", "name": "one"});
    let stored = everything(&app).await;
    let rehearsed = data(&server.post("/v1/webhooks?dry_run=true", new.clone()).await.ok()).clone();
    assert!(everything(&app).await == stored);
    let mut made = data(&server.post("/v1/webhooks", new).await.ok()).clone();
    let at = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let webhook = data(&server.get(&at).await.ok()).clone();
    let mut would_be = rehearsed["items"][0]["fields"]["webhook"].clone();
    assert_eq!((&rehearsed["itemsLength"], would_be[1].get("secret")), (&json!(1), None));
    for one in [&mut would_be[1], &mut made] {
        for random in ["id", "publicKeys", "secret"] {
            one.map().shift_remove(random);
        }
    }
    assert_eq!(would_be, json!([null, made]));

    let begun = server.send("POST", "/v1/imports", "email,given_name\nann@doe.com,Ann\nbob@doe.com,Bob\n").await.ok();
    crate::imports_api::take_over(&app).await;
    let import = format!("/v1/imports/{}", data(&begun)["id"].as_str().unwrap());
    let webhook_is = |after: Value| json!([{"fields": {"webhook": [webhook, after]}, "health": []}]);
    let other = webhook.clone().but("name", json!("two")).but("events", json!(["user.created"]));
    let as_it_was = json!([{"fields": {}, "health": []}]);
    let hers = |more: Value| more.but("email", json!("jane@doe.com")).to_string();
    let stands = |action: &str, what: &str| json!([{"action": action, "fields": {}, "health": [what]}]);
    for (client, method, path, body, items) in [
        (&server, "PUT", at.clone(), r#"{"name": "two", "events": ["user.created"]}"#.to_owned(), webhook_is(other)),
        (&server, "DELETE", at.clone(), String::new(), webhook_is(Value::Null)),
        (&server, "POST", format!("{at}/rotate"), "{}".to_owned(), as_it_was.clone()),
        (&server, "POST", format!("{at}/test"), String::new(), as_it_was.clone()),
        (&server, "POST", format!("{at}/replay"), r#"{"since": "2026-11-21T00:00:00Z"}"#.to_owned(), as_it_was),
        (
            &server,
            "POST",
            "/v1/imports".to_owned(),
            "email,given_name\nc@doe.com,C\n".to_owned(),
            json!([{"import": {"rows": 1}}]),
        ),
        (&server, "DELETE", import, String::new(), json!([{"import": {"users": 2}}])),
        (
            &partner,
            "POST",
            "/subscription/update".to_owned(),
            hers(json!({"paymentPlan": 6})),
            stands("subscription.updated", "paymentPlan"),
        ),
        (
            &partner,
            "POST",
            "/subscription/update".to_owned(),
            hers(json!({"planStartDate": "2026-12-24"})),
            stands("subscription.updated", "planStartDate"),
        ),
        (
            &partner,
            "POST",
            "/subscription/pause".to_owned(),
            hers(json!({"pauseUntil": "2026-12-24"})),
            stands("subscription.paused", "subscriptionDates"),
        ),
        (
            &partner,
            "POST",
            "/subscription/cancel".to_owned(),
            hers(json!({"cancellationDate": "2026-12-24", "cancellationReason": "canary"})),
            stands("subscription.cancelled", "subscriptionDates"),
        ),
    ] {
        let stored = everything(&app).await;
        let with_key = client.with("Idempotency-Key", "k");
        let answer = with_key.send(method, &format!("{path}?dry_run=true"), body).await.ok();
        let place = if path.starts_with("/v1/") { "data" } else { "dryRun" };
        assert_eq!(answer.body[place], json!({"kind": "dryRun", "itemsLength": 1, "items": items}), "{method} {path}");
        let looks = usize::from(place == "dryRun");
        assert_only_read(&stored, &everything(&app).await, looks, &format!("{method} {path}"));
    }
}

#[tokio::test]
async fn whoever_is_told_of_health_by_a_rehearsal_has_read_it_and_that_stands_in_the_trail() {
    let (app, id, _) = two().await;
    let (server, partner, me) = (app.server().await, app.partner("acme").await, app.person(&id).await);
    let path = format!("/v1/users/{id}");
    let known = jane();
    let hers = |name: &str| json!({"email": known["email"], name: known[name]});
    let nickname = json!({"user": {"nickname": "J"}});
    // Also a guess that is right, and changes nothing, tells that it is.
    let guess = json!({"user": {"nickname": "J", "metadata": known["metadata"]}});
    let made = json!({"user": {"email": "new@doe.com", "metadata": {"key": "value"}}});
    for (client, method, path, body, looks) in [
        (&partner, "POST", "/users/update", hers("email"), 1),
        (&partner, "POST", "/users/update", hers("diabetes"), 1),
        (&partner, "POST", "/users/update", hers("email").but("glp1drugs", json!(true)), 1),
        (&partner, "POST", "/subscription/update", hers("paymentPlan"), 1),
        (
            &partner,
            "POST",
            "/users/create",
            jane().but("email", json!("n@doe.com")).but("phonenumber", json!("2025550177")),
            0,
        ),
        (&server, "PATCH", path.as_str(), guess.clone(), 1),
        // They ignore it.
        (&server, "PUT", path.as_str(), guess.clone(), 0),
        (&server, "POST", path.as_str(), guess.clone(), 0),
        (&server, "PATCH", path.as_str(), nickname.clone(), 0),
        (&server, "PUT", path.as_str(), nickname, 0),
        (&server, "POST", "/v1/users", made, 0),
        (&me, "PATCH", "/v1/users/me", guess, 0),
    ] {
        let before = app.audited(Action::HealthRead).await.len();
        let answer = client.send(method, &format!("{path}?dry_run=true"), body.to_string()).await.ok();
        let entries = app.audited(Action::HealthRead).await;
        assert_eq!(entries.len() - before, looks, "{method} {path} {body}");
        if looks == 1 {
            let read = &entries[0];
            let request = read.request.map(|id| id.to_string());
            assert_eq!(
                (read.user.unwrap().to_string(), request.as_deref()),
                (id.clone(), Some(answer.header("request-id")))
            );
            assert_eq!(read.by().0.as_str(), "key");
        }
    }
}

#[tokio::test]
async fn the_story_tells_whether_it_was_the_person_or_another_of_their_tenant() {
    let (app, id, other) = two().await;
    administrator(&app, &other).await;
    for person in [&id, &other] {
        let change = json!({"user": {"nickname": person}});
        app.person(person).await.put(&format!("/v1/users/{id}"), change).await.ok();
    }
    let user = app.user(&id).await;
    let story = app.store().scan(move |tx| usher::story::changes(tx, &user, Role::Owner)).await.unwrap();
    let who: Vec<_> = story.events.iter().take(2).map(|event| event.who.clone()).collect();
    assert_eq!(who, [format!("person {other}"), "the person".to_owned()]);
}
