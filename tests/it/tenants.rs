//! Tenants and roles: what an environment's users are sorted by, and what they may do within it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use usher::admins::Role;
use usher::api::directory;
use usher::apps::{self, Kind};
use usher::audit::{self, Action, Entry, Filter, Order};
use usher::caller::{Actor, Caller, Origin};
use usher::db::Tx;
use usher::error::Result;
use usher::imports;
use usher::keys::{self, Access, NewKey};
use usher::roles::{self, Right, Rights, RoleId};
use usher::tenants;
use usher::users::names::Names;
use usher::users::{List, UserId};

use crate::harness::{But, OPERATOR, TestApp, a_key, john};
use crate::imports_api::take_over;
use crate::life::{administrator, data, two};
use crate::signin::app_and_jane;

#[tokio::test]
async fn a_role_carries_its_rights_within_the_tenant_and_over_nobody_who_has_more() {
    let (app, id, other) = two().await;
    let north = app.partner("north").await;
    let stranger = north
        .post("/users/create", john().but("email", json!("s@doe.com")).but("phonenumber", json!("2025550199")))
        .await
        .ok()
        .id()
        .to_owned();
    let server = app.server().await;
    let roles = format!("/v1/apps/{}/user-roles", app.client_id);
    let environment = app.user(&id).await.environment;
    let rights = Rights::named("users:read users:write").unwrap();
    let desk = app.store().write(move |tx| usher::roles::create(tx, environment, "desk", rights)).await.unwrap();
    let listed = server.get(&roles).await.ok();
    let names: Vec<&Value> = data(&listed)["items"].as_array().unwrap().iter().map(|role| &role["name"]).collect();
    assert_eq!(
        (&data(&listed)["kind"], names),
        (&json!("userRole"), vec![&json!("member"), &json!("administrator"), &json!("desk")])
    );

    let me = app.person(&id).await;
    let (theirs, foreign) = (format!("/v1/users/{other}"), format!("/v1/users/{stranger}"));
    let change = json!({"user": {"nickname": "J"}});
    assert_eq!(me.put(&theirs, change.clone()).await.status, 403);
    server.put(&format!("/v1/users/{id}/user-roles"), json!({"userRoleId": desk.id})).await.ok();
    me.put(&theirs, change.clone()).await.ok();
    assert_eq!(data(&me.get(&theirs).await.ok())["nickname"], json!("J"));
    assert_eq!((me.put(&foreign, change.clone()).await.status, me.get(&foreign).await.status), (403, 403));
    // Not among its rights: to delete, to invite, to give roles, also to oneself.
    for (method, path, body) in [
        ("DELETE", theirs.clone(), json!({})),
        ("POST", format!("{theirs}/restore"), json!({})),
        ("POST", "/v1/users/me".into(), json!({"email": "x@doe.com", "language": "en"})),
        ("POST", "/v1/users".into(), json!({"user": {"email": "x@doe.com"}})),
        ("PUT", "/v1/users/me/user-roles".into(), json!({"userRoleId": RoleId::ADMINISTRATOR})),
        ("PUT", "/v1/tenants/me".into(), json!({"tenant": {"name": "mine"}})),
    ] {
        assert_eq!(me.send(method, &path, body.to_string()).await.status, 403, "{method} {path}");
    }
    // To change an administrator's address would be to become one.
    administrator(&app, &other).await;
    let over = me.put(&theirs, json!({"user": {"email": "jane.too@doe.com"}})).await;
    assert_eq!((over.status, over.error()), (403, "This would reach over rights that you do not have"));
    let boss = app.person(&other).await;
    boss.put(&format!("/v1/users/{id}/user-roles"), json!({"userRoleId": RoleId::ADMINISTRATOR})).await.ok();
    assert_eq!(boss.put(&format!("{foreign}/user-roles"), json!({"userRoleId": desk.id})).await.status, 403);
    for (role, status) in [(json!("22222222-2222-4222-8222-222222222222"), 404), (json!("x"), 400), (json!(1), 400)] {
        assert_eq!(boss.put(&format!("/v1/users/{id}/user-roles"), json!({"userRoleId": role})).await.status, status);
    }
    // Dropped rights are gone with the next request.
    app.advance(Duration::from_secs(1));
    boss.send("DELETE", &format!("/v1/users/{id}/user-roles"), "").await.ok();
    assert_eq!(me.get(&theirs).await.status, 403);
    let last: UserId = id.parse().unwrap();
    let entries = app.store().read(move |tx| crate::harness::trail_of(tx, last)).await.unwrap();
    assert_eq!(entries.last().unwrap().changes.0["fields"], json!({"role": ["administrator", "member"]}));
    assert!(!Rights::READ.has(Right::ManageTenant));
}

#[tokio::test]
async fn a_tenant_is_shown_and_changed_in_both_documented_shapes() {
    let (app, id, other) = two().await;
    let server = app.server().await;
    let tenant = app.user(&id).await.tenant.unwrap();
    let path = format!("/v1/tenants/{tenant}");
    let address = json!({"name": "Acme", "city": "Bonn", "country": "DE", "line1": "Am Hof 1", "postal_code": "53113", "deleted": true});
    let nested = json!({"tenant": {
        "id": "x", "name": "Acme GmbH", "companyVATId": "DE1", "companyTaxExempt": "reverse", "isBusinessCustomer": true,
        "billingAddress": address, "freezed": true
    }});
    let done = server.put(&path, nested).await.ok();
    assert_eq!(done.text, r#"{"success":true,"message":"Tenant updated","error":null,"data":null}"#);
    server.put(&path, json!({"kind": "tenant", "description": "Clinics", "name": "Acme Clinics"})).await.ok();
    let shown = data(&server.get(&format!("{path}?test=true")).await.ok()).clone();
    assert_eq!(
        (&shown["kind"], &shown["name"], &shown["companyVATId"], &shown["description"], &shown["shippingAddress"]),
        (&json!("tenant"), &json!("Acme Clinics"), &json!("DE1"), &json!("Clinics"), &Value::Null)
    );
    assert_eq!(shown["billingAddress"], address.without("deleted"));
    assert_eq!(shown["users"].as_array().unwrap().len(), 2);
    app.partner("north").await;
    for (body, error) in [
        (json!({"tenant": {"name": "north"}}), "A tenant of that name exists"),
        (json!({"tenant": {"name": ""}}), "name must not be empty"),
        (json!({"tenant": {"companyTaxExempt": "no"}}), "companyTaxExempt must be one of: none, exempt, reverse"),
        (
            json!({"tenant": {"billingAddress": {"city": 1}}}),
            "billingAddress must have in city one line of at most 256 characters",
        ),
        (json!({"tenant": "x"}), "`tenant` must be an object"),
    ] {
        let answer = server.put(&path, body.clone()).await;
        assert_eq!((answer.status, answer.error()), (400, error), "{body}");
    }
    for (client, path, status) in [
        (&server, "/v1/tenants/me", 400),
        (&server, "/v1/tenants/abc", 400),
        (&server, "/v1/tenants/22222222-2222-4222-8222-222222222222", 400),
        (&app.server_in(Kind::Live, Access::Write).await, path.as_str(), 400),
    ] {
        assert_eq!(client.get(path).await.status, status, "{path}");
    }
    // A member sees themselves in it, an administrator everyone.
    let me = app.person(&id).await;
    let mine = data(&me.get("/v1/tenants/me").await.ok()).clone();
    assert_eq!((&mine["id"], mine["users"].as_array().unwrap().len()), (&json!(tenant), 1));
    assert_eq!(
        (mine["users"][0]["id"].as_str(), me.put("/v1/tenants/me", json!({"name": "x"})).await.status),
        (Some(id.as_str()), 403)
    );
    administrator(&app, &other).await;
    app.person(&other).await.put("/v1/tenants/me", json!({"tenant": {"description": "More clinics"}})).await.ok();
    assert_eq!(data(&app.person(&other).await.get("/v1/tenants/me").await.ok())["users"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn of_several_who_change_one_tenant_at_once_nobody_overwrites_another() {
    let (app, id, _) = two().await;
    let server = app.server().await;
    let path = format!("/v1/tenants/{}", app.user(&id).await.tenant.unwrap());
    for round in 0..10 {
        let text = |name: &str| json!({"tenant": {name: format!("{name} {round}")}});
        let changes = ["description", "companyName", "companyVATId", "companyTaxType", "name"].map(text);
        for answer in join_all(changes.iter().map(|change| server.put(&path, change.clone()))).await {
            answer.ok();
        }
        let shown = data(&server.get(&path).await.ok()).clone();
        for name in ["description", "companyName", "companyVATId", "companyTaxType", "name"] {
            assert_eq!(shown[name], json!(format!("{name} {round}")));
        }
    }
    assert_eq!(app.count("audit WHERE action = 'tenant.updated'").await, 50);
}

#[tokio::test]
async fn of_several_tenants_that_take_one_name_at_once_one_has_it_and_the_others_are_told() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let names = ["north", "south", "east", "west"];
    for name in names {
        app.partner(name).await;
    }
    let sandbox = sandbox(&app).await;
    let tenants = app.store().read(move |tx| usher::tenants::newest_organisations(tx, sandbox, 9)).await.unwrap();
    for round in 0..10 {
        let name = json!({"tenant": {"name": format!("one {round}")}});
        let paths = tenants.iter().map(|tenant| format!("/v1/tenants/{}", tenant.id)).collect::<Vec<_>>();
        let answers = join_all(paths.iter().map(|path| server.put(path, name.clone()))).await;
        let mut said: Vec<_> = answers.iter().map(|answer| (answer.status, answer.error())).collect();
        said.sort_unstable();
        let taken = (400, "A tenant of that name exists");
        assert_eq!(said, [(200, ""), taken, taken, taken]);
    }
    let refused = usher::error::Error::NotNow { code: "tenant_name_taken", message: "" };
    assert_eq!(directory::status(&refused), 400);
}

/// A longer one would be in an export that no import takes.
#[tokio::test]
async fn no_new_tenant_has_a_name_that_the_api_would_refuse() {
    let app = TestApp::new().await;
    let (sandbox, owner) = (sandbox(&app).await, app.admin(Role::Owner).await);
    let named = async |name: &str| {
        let name = name.to_owned();
        app.store().write(move |tx| tenants::named(tx, sandbox, OPERATOR, &name)).await.map_err(|e| e.to_string())
    };
    let long = "ü".repeat(256);
    let north = named(&long).await.unwrap();
    let before = app.count("tenants").await;
    for (name, why) in [
        (format!("{long}x"), "a tenant's name must have at most 256 characters."),
        ("north\u{202e}".to_owned(), "a tenant's name must not contain control characters."),
        ("\u{200b}".to_owned(), "a tenant's name must not be empty."),
        (" ".to_owned(), "a tenant's name must be one line with something in it."),
    ] {
        assert_eq!(named(&name).await, Err(why.to_owned()), "{name:?}");
        let wanted = name.clone();
        let rehearsed = app.store().read(move |tx| tenants::wanted(tx, sandbox, &wanted)).await;
        assert_eq!(rehearsed.map_err(|e| e.to_string()), Err(why.to_owned()), "{name:?}: a rehearsal says it too");
    }
    let key = NewKey { tenant: Some(format!("{long}x")), ..a_key() };
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("name", "North"), ("access", "write"), ("tenant", key.tenant.as_deref().unwrap())])
        .finish();
    let refused = owner.send("POST", &format!("/admin/{}/sandbox/keys", app.client_id), form).await;
    assert!(refused.status == 400 && refused.text.contains("at most 256 characters"), "{}", refused.text);
    let id = app.client_id;
    let create = move |tx: &Tx| {
        let environment = apps::environment(tx, id, Kind::Sandbox)?;
        keys::create(tx, OPERATOR, &environment, &key).map(drop)
    };
    let refused = app.store().write(create).await.unwrap_err();
    assert!(refused.to_string().contains("at most 256 characters"), "{refused}");
    assert_eq!(app.count("tenants").await, before);

    // One that was made when names had no limit stays what it is called.
    app.tamper(&format!("UPDATE tenants SET name = '{long}x' WHERE name = '{long}'"));
    assert_eq!(named(&format!("{long}x")).await, Ok(north));
}

async fn sandbox(app: &TestApp) -> apps::EnvironmentId {
    let id = app.client_id;
    app.store().read(move |tx| apps::environment(tx, id, Kind::Sandbox)).await.unwrap().id
}

#[tokio::test]
async fn what_becomes_of_apps_keys_tenants_and_roles_is_in_the_trail_as_it_was_and_as_it_is() {
    let app = TestApp::new().await;
    let (client, sandbox) = (app.client_id, sandbox(&app).await);
    let newest = async || -> Entry {
        let find = move |tx: &usher::db::Tx| {
            let filter = Filter { environments: vec![sandbox], ..Filter::default() };
            audit::find(tx, &filter, Order::NewestFirst, 1)
        };
        app.store().read(find).await.unwrap().remove(0)
    };
    let told = async |action: &str, actor: &str, target: &str, fields: Value| {
        let entry = newest().await;
        let shown = entry.show();
        assert_eq!((&shown["action"], &shown["actor"]["type"]), (&json!(action), &json!(actor)));
        assert_eq!(entry.target.unwrap().to_string(), target);
        assert_eq!(shown["changes"], json!({"fields": fields, "health": []}));
    };
    let tenant = app.store().write(move |tx| usher::tenants::named(tx, sandbox, OPERATOR, "acme")).await.unwrap();
    let same = app.store().write(move |tx| usher::tenants::named(tx, sandbox, OPERATOR, "acme")).await.unwrap();
    assert_eq!((tenant, app.count("audit WHERE action = 'tenant.created'").await), (same, 1));
    told("tenant.created", "operator", &tenant.to_string(), json!({"name": [null, "acme"]})).await;

    let server = app.server().await;
    let before = app.count("audit").await;
    let change = json!({"tenant": {"name": "Acme", "companyVATId": "DE1", "billingAddress": {"line1": "Am Hof 1"}}});
    let path = format!("/v1/tenants/{tenant}");
    let rehearsed = server.put(&format!("{path}?dry_run=true"), change.clone()).await.ok();
    assert_eq!(data(&rehearsed)["items"][0]["fields"]["companyVATId"], json!([null, "DE1"]));
    assert_eq!(app.count("audit").await, before, "a rehearsal leaves nothing");
    let answer = server.put(&path, change.clone()).await.ok();
    let fields = json!({"name": ["acme", "Acme"], "companyVATId": "changed", "billingAddress": "changed"});
    told("tenant.updated", "key", &tenant.to_string(), fields).await;
    assert_eq!(newest().await.request.unwrap().to_string(), answer.header("request-id"));
    server.put(&path, change).await.ok();
    assert_eq!(app.count("audit").await, before + 1, "what changes nothing leaves nothing");

    let rights = Rights::named("users:read users:write").unwrap();
    let role = app.store().write(move |tx| roles::create(tx, sandbox, "desk", rights)).await.unwrap().id;
    let desk = [json!("desk"), json!("users:read users:write")];
    told("role.created", "operator", &role.to_string(), json!({"name": [null, desk[0]], "rights": [null, desk[1]]}))
        .await;
    app.store().write(move |tx| roles::remove(tx, role)).await.unwrap();
    told("role.removed", "operator", &role.to_string(), json!({"name": [desk[0], null], "rights": [desk[1], null]}))
        .await;
    assert!(app.store().write(move |tx| roles::remove(tx, role)).await.is_err());

    let new = NewKey { name: "desk".into(), tenant: Some("Acme".into()), ..a_key() };
    let (key, secret) = app.new_key(Kind::Sandbox, new).await;
    let id = key.id.to_string();
    let made = json!({"name": [null, "desk"], "access": [null, "write"], "tenantId": [null, tenant]});
    told("key.created", "operator", &id, made).await;
    assert!(!newest().await.show().to_string().contains(&secret[..20]));
    let partner = app.anyone().with("Authorization", &format!("Bearer {secret}"));
    partner.post("/users/create", json!({})).await;
    let pinned = async |before: Value, after: &str| {
        let find = |tx: &usher::db::Tx| {
            let filter = Filter { action: Some(audit::Action::KeyUpdated), ..Filter::default() };
            audit::find(tx, &filter, Order::NewestFirst, 1)
        };
        let entry = app.store().read(find).await.unwrap().remove(0);
        assert_eq!(entry.changes.0["fields"], json!({"apiVersion": [before, after]}));
    };
    pinned(Value::Null, "2023-10-04").await;
    let key = key.id;
    app.store()
        .write(move |tx| {
            keys::move_to(tx, usher::caller::Origin::of(usher::caller::Actor::Operator), key, "2023-08-01")
        })
        .await
        .unwrap();
    pinned(json!("2023-10-04"), "2023-08-01").await;
    app.store()
        .write(move |tx| keys::revoke(tx, usher::caller::Origin::of(usher::caller::Actor::Operator), key))
        .await
        .unwrap();
    told("key.revoked", "operator", &id, json!({"revokedAt": [null, "2026-11-21T12:00:00.000Z"]})).await;

    let settings = apps::Settings { name: Some("Better".into()), ..apps::Settings::default() };
    app.store().write(move |tx| apps::update(tx, OPERATOR, client, Some(Kind::Sandbox), &settings)).await.unwrap();
    told("app.updated", "operator", &client.to_string(), json!({"name": ["Acme Coaching", "Better"]})).await;
    // The name is the app's, so that the other environment has another one too.
    let renamed = app.audited(Action::AppUpdated).await;
    let places: std::collections::BTreeSet<_> = renamed.iter().map(|entry| entry.environment.0).collect();
    assert_eq!((renamed.len(), places.len()), (2, 2));
    assert_eq!(renamed[0].changes.0, renamed[1].changes.0);
    let settings = apps::Settings { issuer: Some("https://acme.example".into()), ..apps::Settings::default() };
    app.store().write(move |tx| apps::update(tx, OPERATOR, client, Some(Kind::Live), &settings)).await.unwrap();
    let entry = app.audited(Action::AppUpdated).await.remove(0);
    assert_eq!((app.audited(Action::AppUpdated).await.len(), entry.environment != sandbox), (3, true));
    let uri = "https://app.example.com/back";
    let change = move |tx: &usher::db::Tx| {
        apps::add_redirect_uri(
            tx,
            usher::caller::Origin::of(usher::caller::Actor::Operator),
            &apps::environment(tx, client, Kind::Sandbox)?,
            uri,
        )
    };
    app.store().write(change).await.unwrap();
    told("app.updated", "operator", &client.to_string(), json!({"redirectUri": [null, uri]})).await;
}

#[tokio::test]
async fn a_tenant_was_made_by_whoever_named_it_first() {
    let app = TestApp::new().await;
    let (client, admin) = (app.client_id, Actor::Admin(usher::admins::AdminId::random()));
    let new = NewKey { tenant: Some("north".into()), ..a_key() };
    let make = move |tx: &usher::db::Tx| {
        keys::create(tx, Origin::of(admin), &apps::environment(tx, client, Kind::Sandbox)?, &new)
    };
    app.store().write(make).await.unwrap();
    assert_eq!(app.audited(Action::TenantCreated).await[0].actor, Some(admin));
}

impl TestApp {
    /// A new key of the tenant of that name or id, as the operator makes it.
    async fn key_of(&self, tenant: &str) -> Result<keys::Key> {
        let (client, new) = (self.client_id, NewKey { tenant: Some(tenant.to_owned()), ..a_key() });
        let make = move |tx: &Tx| keys::create(tx, OPERATOR, &apps::environment(tx, client, Kind::Sandbox)?, &new);
        self.store().write(make).await.map(|(key, _)| key)
    }
}

#[tokio::test]
async fn a_name_that_a_tenant_was_given_from_within_finds_nobody_until_the_app_gives_it_one() {
    let (app, id, _) = two().await;
    administrator(&app, &id).await;
    let tenant = app.user(&id).await.tenant.unwrap();
    let (path, bound) = (format!("/v1/tenants/{tenant}"), async |name: &str| {
        app.key_of(name).await.map(|key| key.caller.scope.tenant.unwrap())
    });
    let named = |name: &str, description: &str| json!({"tenant": {"name": name, "description": description}});
    let handle = async || app.store().read(move |tx| tenants::by_id(tx, tenant)).await.unwrap().unwrap().handle();
    let (server, of_acme, me) = (app.server().await, app.server_of("acme").await, app.person(&id).await);
    for (who, within) in [("an administrator", &me), ("a key of the tenant", &of_acme)] {
        // Who only describes their tenant, or rehearses, has not named it.
        within.put(&path, named("acme", who)).await.ok();
        within.put(&format!("{path}?dry_run=true"), named("Clinic North", who)).await.ok();
        assert_eq!((bound("acme").await.unwrap(), handle().await.as_str()), (tenant, "acme"), "{who}");

        within.put(&path, named("Clinic North", who)).await.ok();
        let before = (app.count("keys").await, app.count("tenants").await);
        let refused = bound("Clinic North").await.unwrap_err();
        let says = refused.to_string();
        assert!(
            refused.code() == "operator" && says.contains(&format!("the tenant {tenant} has given itself")),
            "{says}"
        );
        assert!(says.contains(&format!("`PUT {path}`")), "{says}");
        assert_eq!((app.count("keys").await, app.count("tenants").await), before, "{who}");
        assert_eq!(bound(&tenant.to_string()).await.unwrap(), tenant, "who means that one says so");
        assert_eq!(handle().await, tenant.to_string(), "and so does an export");
        // Who sends back what they have read has not named it either.
        server.put(&path, named("Clinic North", "Clinics")).await.ok();
        assert!(bound("Clinic North").await.is_err(), "{who}");

        server.put(&path, named("acme", who)).await.ok();
        assert_eq!(bound("acme").await.unwrap(), tenant, "{who}");
    }
    assert_ne!(bound("Clinic North").await.unwrap(), tenant, "the name is free for whom it was meant for");
}

#[tokio::test]
async fn a_tenant_that_somebody_made_by_signing_up_is_found_by_its_id_and_by_no_name() {
    let (app, _) = app_and_jane().await;
    let (stranger, theirs) = app.signed_up("new@doe.com").await;
    let me = app.person(&stranger).await;
    me.put("/v1/tenants/me", json!({"tenant": {"name": "Clinic North"}})).await.ok();
    let (client, before) = (app.client_id, app.count("keys").await);
    let bound = async |tenant: &str| app.key_of(tenant).await.map(|key| key.tenant.unwrap());
    let refused = bound("Clinic North").await.unwrap_err();
    assert!(refused.code() == "operator" && refused.to_string().contains(&theirs), "{refused}");
    assert_eq!(app.count("keys").await, before);
    assert_eq!(bound(&theirs).await.unwrap(), "Clinic North", "who means that one says so");
    assert_eq!(bound("Clinic South").await.unwrap(), "Clinic South");

    // A file's rows are of a tenant by name too, whoever sends it; and an export can be read back.
    let server = app.server().await;
    let file = format!("email,tenant\nann@doe.com,Clinic North\nbob@doe.com,{theirs}\neve@doe.com,Clinic South\n");
    let begun = server.send("POST", "/v1/imports?format=csv", file.clone()).await.ok();
    take_over(&app).await;
    let path = format!("/v1/imports/{}/rows", data(&begun)["id"].as_str().unwrap());
    let rows = data(&server.get(&path).await.ok())["items"].clone();
    assert_eq!([&rows[0]["status"], &rows[1]["status"], &rows[2]["status"]], ["failed", "imported", "imported"]);
    let why = format!("tenant: the tenant {theirs} has given itself this name");
    assert!(rows[0]["reason"].as_str().unwrap().starts_with(&why), "{rows}");
    let members = data(&me.get("/v1/users").await.ok())["items"].clone();
    let names: BTreeSet<&str> =
        members.as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        BTreeSet::from(["bob@doe.com", "new@doe.com"]),
        "nobody came into the stranger's tenant by its name"
    );
    let exported = app.store().read(move |tx| {
        let caller = Caller::operator(&apps::environment(tx, client, Kind::Sandbox)?);
        imports::export::page(tx, &caller, (None, &Names::default()), &List { limit: 10, ..List::default() }, false)
    });
    let (rows, _) = exported.await.unwrap();
    let told = |row: &Value| row["tenant"].clone();
    let told: Vec<Value> = rows.into_iter().map(|row| told(&Value::Object(row))).collect();
    assert!(told.contains(&json!(theirs)) && !told.contains(&json!("Clinic North")), "{told:?}");
}

#[tokio::test]
async fn a_tenant_that_somebody_made_by_signing_up_goes_with_the_last_of_its_people_and_comes_back_with_the_first() {
    let (app, jane) = app_and_jane().await;
    let (founder, theirs) = app.signed_up("new@doe.com").await;
    let (server, bound) = (app.server().await, app.server_of(&theirs).await);
    let path = format!("/v1/tenants/{theirs}");
    server.put(&path, json!({"tenant": {"name": "Clinic North", "companyVATId": "DE1"}})).await.ok();
    server.post(&format!("/v1/users/{founder}"), json!({"email": "bob@doe.com", "language": "en"})).await.ok();
    let bob = data(&server.get("/v1/users/bob@doe.com").await.ok())["id"].as_str().unwrap().to_owned();
    // Whether it is read, changed and told of: by the app, and by a key that is bound to it.
    let seen = async || {
        let mut seen = Vec::new();
        for client in [&server, &bound] {
            seen.push(client.get(&path).await.status == 200);
            let change = json!({"tenant": {"description": "x"}});
            seen.push(client.put(&format!("{path}?dry_run=true"), change).await.status == 200);
            let told = data(&client.get("/v1/analytics/tenants").await.ok())["items"].clone();
            seen.push(told.as_array().unwrap().iter().any(|one| one["id"] == json!(theirs)));
        }
        seen
    };
    assert_eq!(seen().await, [true; 6]);
    app.person(&founder).await.send("DELETE", "/v1/users/me", "").await.ok();
    assert_eq!(seen().await, [true; 6], "somebody is there");
    server.send("DELETE", &format!("/v1/users/{bob}"), "").await.ok();
    assert_eq!(seen().await, [false; 6]);

    let gone = server.get(&path).await;
    assert_eq!((gone.status, gone.error()), (400, "Tenant not found"));
    for (method, path, status) in [
        ("GET", format!("/v1/users?tenant={theirs}"), 404),
        ("POST", format!("/v1/users?tenant={theirs}"), 404),
        ("PUT", path.clone(), 400),
    ] {
        let body = json!({"user": {"email": "x@doe.com"}, "tenant": {"name": "x"}});
        for client in [&server, &bound] {
            let refused = client.send(method, &path, body.to_string()).await;
            assert_eq!((refused.status, refused.error()), (status, "Tenant not found"), "{method} {path}");
        }
    }
    // Who asks for the deleted is told who was in it.
    for client in [&server, &bound] {
        let listed = async |status: &str| client.get(&format!("/v1/users?tenant={theirs}&status={status}")).await;
        assert_eq!(data(&listed("deleted").await.ok())["items"].as_array().unwrap().len(), 2);
        assert_eq!(listed("active").await.status, 404);
    }
    let sandbox = sandbox(&app).await;
    let found = |name: String| app.store().read(move |tx| tenants::find_any(tx, sandbox, &name));
    for name in [theirs.as_str(), "Clinic North"] {
        assert_eq!(found(name.to_owned()).await.unwrap().unwrap().to_string(), theirs, "as for an export");
    }
    // By its id and by its name it is found as what it is, and no other is made in its place.
    let (tenants, keys) = (app.count("tenants").await, app.count("keys").await);
    for name in [theirs.as_str(), "Clinic North"] {
        let refused = app.key_of(name).await.unwrap_err();
        let says = refused.to_string();
        assert!(refused.code() == "operator" && says.contains(&format!("the tenant {theirs} is deleted")), "{says}");
    }
    assert_eq!((app.count("tenants").await, app.count("keys").await), (tenants, keys));
    let file = format!("email,tenant\nann@doe.com,Clinic North\neve@doe.com,{theirs}\n");
    let begun = server.send("POST", "/v1/imports?format=csv", file).await.ok();
    take_over(&app).await;
    let rows = format!("/v1/imports/{}/rows", data(&begun)["id"].as_str().unwrap());
    for row in data(&server.get(&rows).await.ok())["items"].as_array().unwrap() {
        let why = format!("tenant: the tenant {theirs} is deleted");
        assert!(row["status"] == "failed" && row["reason"].as_str().unwrap().starts_with(&why), "{row}");
    }
    // The dashboard shows who was in it, and leads to no tenant.
    let (admin, users) = (app.admin(Role::Owner).await, format!("/admin/{}/sandbox/users", app.client_id));
    let listed = admin.get(&format!("{users}?status=deleted")).await.ok().text;
    assert!(listed.contains("bob@doe.com") && !listed.contains(&format!("?tenant={theirs}")), "{listed}");
    assert_eq!(admin.get(&format!("{users}?tenant={theirs}")).await.status, 404);
    let theirs_alone = admin.get(&format!("{users}?tenant={theirs}&status=deleted")).await.ok().text;
    assert!(theirs_alone.contains("bob@doe.com"), "{theirs_alone}");
    assert!(admin.get(&format!("{users}/{bob}")).await.ok().text.contains("Clinic North"), "as his record has it");

    // An organisation's stays, whoever goes.
    let acme = app.user(&jane).await.tenant.unwrap();
    server.send("DELETE", &format!("/v1/users/{jane}"), "").await.ok();
    assert_eq!(data(&server.get(&format!("/v1/tenants/{acme}")).await.ok())["users"], json!([]));

    server.send("POST", &format!("/v1/users/{bob}/restore"), "").await.ok();
    assert_eq!(seen().await, [true; 6]);
    let back = data(&server.get(&path).await.ok()).clone();
    assert_eq!((&back["name"], &back["companyVATId"]), (&json!("Clinic North"), &json!("DE1")));
    assert_eq!((back["users"].as_array().unwrap().len(), &back["users"][0]["id"]), (1, &json!(bob)));
    assert_eq!(app.key_of("Clinic North").await.unwrap().caller.scope.tenant.unwrap().to_string(), theirs);
}

#[tokio::test]
async fn the_name_of_a_deleted_tenant_is_free_once_those_are_erased_whom_its_refusal_says_how_to_list() {
    let (app, _) = app_and_jane().await;
    let (founder, theirs) = app.signed_up("new@doe.com").await;
    let server = app.server().await;
    server.put(&format!("/v1/tenants/{theirs}"), json!({"tenant": {"name": "Clinic North"}})).await.ok();
    server.send("DELETE", &format!("/v1/users/{founder}"), "").await.ok();
    let says = app.key_of("Clinic North").await.unwrap_err().to_string();
    let list = format!("/v1/users?tenant={theirs}&status=deleted");
    assert!(says.contains(&list) && says.contains("erase them all"), "{says}");
    let listed = data(&server.get(&list).await.ok())["items"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &json!(founder)));
    server.send("POST", &format!("/v1/users/{founder}/erase"), "").await.ok();
    let north = app.key_of("Clinic North").await.unwrap().caller.scope.tenant.unwrap();
    assert_ne!(north.to_string(), theirs);
    // Whom nobody can restore, nobody is told to.
    let says = app.key_of(&theirs).await.unwrap_err().to_string();
    assert!(says.contains(&format!("the tenant {theirs} is deleted")) && !says.contains("estore"), "{says}");
    assert_eq!(data(&server.get(&list).await.ok())["items"], json!([]));
}

#[tokio::test]
async fn nobody_calls_their_tenant_by_the_id_of_another() {
    let (app, id, _) = two().await;
    administrator(&app, &id).await;
    let (me, of_acme) = (app.person(&id).await, app.server_of("acme").await);
    let own = app.user(&id).await.tenant.unwrap();
    app.partner("north").await;
    let sandbox = sandbox(&app).await;
    let others = app.store().read(move |tx| tenants::newest_organisations(tx, sandbox, 9)).await.unwrap();
    let other = others.into_iter().find(|tenant| tenant.id != own).unwrap().id.to_string();
    for name in [other.clone(), other.to_uppercase(), other.replace('-', "")] {
        for client in [&me, &of_acme] {
            let refused = client.put(&format!("/v1/tenants/{own}"), json!({"tenant": {"name": name}})).await;
            assert_eq!((refused.status, refused.error()), (400, "A tenant of that name exists"), "{name}");
        }
    }
    let unused = "22222222-2222-4222-8222-222222222222";
    of_acme.put(&format!("/v1/tenants/{own}"), json!({"tenant": {"name": unused}})).await.ok();
}

#[tokio::test]
async fn whom_a_key_makes_that_is_bound_to_a_deleted_tenant_brings_it_back() {
    let (app, _) = app_and_jane().await;
    let (founder, theirs) = app.signed_up("new@doe.com").await;
    let (server, bound) = (app.server().await, app.server_of(&theirs).await);
    let path = format!("/v1/tenants/{theirs}");
    server.send("DELETE", &format!("/v1/users/{founder}"), "").await.ok();
    assert_eq!(
        (bound.get(&path).await.status, bound.get("/v1/users").await.ok().body["data"]["itemsLength"].clone()),
        (400, json!(0))
    );
    let made = bound.post("/v1/users", json!({"user": {"email": "x@doe.com"}})).await.ok();
    assert_eq!(data(&made)["tenantId"], json!(theirs));
    bound.get(&path).await.ok();
    server.get(&path).await.ok();
}
