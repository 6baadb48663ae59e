//! The world of the policy tests: users of two tenants, of another environment and of another app, everyone who may ask
//! about them, and the operations of the OpenAPI documents.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use usher::api::openapi;
use usher::apps::{self, AppId, EnvironmentId, Kind, Settings};
use usher::keys::{self, Access, NewKey};
use usher::roles::{self, Rights, RoleId};
use usher::users::{self, Status};

use crate::harness::{Answer, But, Client, OPERATOR, TestApp, a_key, jane, john, second_keys};

pub const CALLERS: [&str; 11] =
    ["none", "reader", "writer", "acme", "other", "live", "foreign", "jane", "member", "admin", "stranger"];
/// Whose things there are: two tenants of the sandbox, the live environment, and a second app.
pub const OWNERS: [&str; 4] = ["acme", "other", "live", "foreign"];
/// An id that nobody has.
pub const NOBODY: &str = "7b0e2f4c-1111-4111-8111-111111111111";

/// An operation of a document.
#[derive(Clone)]
pub struct Operation {
    pub surface: &'static str,
    pub name: String,
    pub method: String,
    pub path: String,
    /// What it takes besides: where (`path`, `query`, `header`, `body`) and the name.
    pub takes: Vec<(&'static str, String)>,
}

impl Operation {
    /// Whether it changes something.
    pub fn writes(&self) -> bool {
        self.surface != "sign-in" && self.method != "GET" && self.name != "retrieveUser"
    }
}

/// Every operation of every document; of the partner's dates, the newest that has it.
pub fn operations() -> Vec<Operation> {
    let mut found = Vec::new();
    for (document, content) in openapi::documents() {
        let surface = ["partner", "directory", "sign-in"].into_iter().find(|name| document.starts_with(name)).unwrap();
        for (path, methods) in content["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                found.push(Operation {
                    surface,
                    name: operation["operationId"].as_str().unwrap().to_owned(),
                    method: method.to_uppercase(),
                    path: path.clone(),
                    takes: takes(&content, operation),
                });
            }
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|one| seen.insert((one.surface, one.name.clone())));
    found
}

fn takes(document: &Value, operation: &Value) -> Vec<(&'static str, String)> {
    let mut takes = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let parameter = resolve(document, parameter);
        let place = parameter["in"].as_str().unwrap();
        let place = ["path", "query", "header"].into_iter().find(|one| *one == place).unwrap();
        takes.push((place, parameter["name"].as_str().unwrap().to_owned()));
    }
    let content = &resolve(document, &operation["requestBody"])["content"];
    for media in content.as_object().into_iter().flat_map(Map::values) {
        properties(document, &media["schema"], &mut takes);
    }
    // Not among the parameters, for it is a credential.
    if operation["security"].to_string().contains("clientId") {
        takes.push(("header", "X-CLIENT-ID".into()));
    }
    takes
}

fn properties(document: &Value, schema: &Value, takes: &mut Vec<(&'static str, String)>) {
    let schema = resolve(document, schema);
    let names = schema["properties"].as_object().into_iter().flat_map(Map::keys);
    takes.extend(names.map(|name| ("body", name.clone())));
    for several in ["anyOf", "oneOf", "allOf"] {
        for one in schema[several].as_array().into_iter().flatten() {
            properties(document, one, takes);
        }
    }
}

fn resolve<'a>(document: &'a Value, part: &'a Value) -> &'a Value {
    match part["$ref"].as_str() {
        Some(reference) => resolve(document, document.pointer(reference.trim_start_matches('#')).unwrap()),
        None => part,
    }
}

/// Those, and the second thing that one of them does.
pub fn variants() -> Vec<Operation> {
    let mut all = operations();
    let post = all.iter().find(|one| one.name == "updateUserByPost").unwrap();
    all.push(Operation { name: "invite".into(), ..post.clone() });
    all
}

/// The things of one owner by the names under which operations take them.
pub type Things = BTreeMap<&'static str, String>;

pub struct World {
    pub app: TestApp,
    pub things: BTreeMap<&'static str, Things>,
    /// The API keys, as the partner API takes them.
    keys: BTreeMap<&'static str, String>,
    /// The ids of those who call with a token.
    pub persons: BTreeMap<&'static str, String>,
}

impl World {
    pub async fn new() -> World {
        let app = TestApp::new().await;
        let key = async |kind, access, tenant: Option<&str>| {
            app.new_key(kind, NewKey { access, tenant: tenant.map(str::to_owned), ..a_key() }).await.1
        };
        let second = app.store().write(|tx| {
            let settings = Settings { name: Some("Second".into()), ..Settings::default() };
            let second = apps::create(tx, &settings, second_keys())?;
            let environment = apps::environment(tx, second.id, Kind::Sandbox)?;
            Ok((
                second.id,
                keys::create(tx, OPERATOR, &environment, &NewKey { tenant: Some("acme".into()), ..a_key() })?
                    .1
                    .expose()
                    .to_owned(),
            ))
        });
        let (second, foreign) = second.await.unwrap();
        let keys = BTreeMap::from([
            ("reader", key(Kind::Sandbox, Access::Read, None).await),
            ("writer", key(Kind::Sandbox, Access::Write, None).await),
            ("acme", key(Kind::Sandbox, Access::Write, Some("acme")).await),
            ("other", key(Kind::Sandbox, Access::Write, Some("other")).await),
            ("live", key(Kind::Live, Access::Write, Some("far")).await),
            // The key of one app beside the id of another.
            ("foreign", foreign),
        ]);
        let mut world = World { app, things: BTreeMap::new(), keys, persons: BTreeMap::new() };
        for (n, (owner, name)) in OWNERS.into_iter().zip(["jane", "stranger", "livia", "sara"]).enumerate() {
            let things = world.things_of(owner, name, &format!("202555011{n}"), [world.app.client_id, second]).await;
            world.things.insert(owner, things);
        }
        let member = world.enrol("acme", "member@doe.com", "2025550101").await;
        let admin = world.enrol("acme", "admin@doe.com", "2025550102").await;
        let stranger = world.things["other"]["userId"].clone();
        let writer = world.client("directory", "writer").await;
        for id in [&admin, &stranger] {
            let role = json!({"userRoleId": RoleId::ADMINISTRATOR});
            writer.put(&format!("/v1/users/{id}/user-roles"), role).await.ok();
        }
        let jane = world.things["acme"]["userId"].clone();
        drop(writer);
        world.persons = BTreeMap::from([("jane", jane), ("member", member), ("admin", admin), ("stranger", stranger)]);
        world
    }

    pub async fn enrol(&self, key: &str, email: &str, phone: &str) -> String {
        let partner = self.app.anyone().with("Authorization", &format!("Bearer {}", self.keys[key]));
        let body = jane().but("email", json!(email)).but("phonenumber", json!(phone));
        partner.post("/users/create", body).await.ok().id().to_owned()
    }

    async fn things_of(&self, owner: &'static str, name: &str, phone: &str, apps: [AppId; 2]) -> Things {
        let app = apps[usize::from(owner == "foreign")];
        let key = triple(self.app.anyone(), &self.keys[owner], "write", &app.to_string());
        let email = format!("{name}@doe.com");
        let id = self.enrol(owner, &email, phone).await;
        let path = format!("/v1/users/{id}");
        key.send("PATCH", &path, json!({"user": {"externalId": name}}).to_string()).await.ok();
        let two = key.post("/v1/users", json!({"user": {"email": format!("two.{email}")}})).await.ok();
        for id in [two.body["data"]["id"].as_str().unwrap(), &id] {
            self.app.token(id).await;
        }
        let data = async |path: &str| key.get(path).await.ok().body["data"].clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let session = text(&data(&format!("{path}/sessions")).await["items"][0]["id"]);
        let webhook = key.post("/v1/webhooks", json!({"url": "https://hooks.example.com/usher"})).await.ok();
        let webhook = text(&webhook.body["data"]["id"]);
        let import = key.post("/v1/imports", json!({"email": "canary"})).await.ok();
        let import = text(&import.body["data"]["id"]);
        let etag = key.put(&path, json!({"user": {"nickname": name}})).await.ok().header("etag").to_owned();
        let delivery = data(&format!("/v1/webhooks/{webhook}/deliveries")).await["items"][0].clone();
        let user = self.app.user(&id).await;
        let environment = user.environment;
        let role = self.role_of(environment).await;
        let tenant = user.tenant.unwrap().to_string();
        let (events, users) = (data(&format!("{path}/events?limit=1")).await, data("/v1/users?limit=1").await);
        let sign_ins = data("/v1/analytics/sign-ins?limit=1").await;
        let tenants = self.key_of_all(environment).await;
        let tenants = triple(self.app.anyone(), &tenants, "write", &app.to_string());
        let tenants = tenants.get("/v1/analytics/tenants?limit=1").await.ok().body["data"].clone();
        BTreeMap::from([
            ("userId", id),
            ("email", email),
            ("phone", phone.to_owned()),
            ("new phone", "2025560000".into()),
            ("external_id", name.to_owned()),
            ("If-Match", etag),
            ("appId", app.to_string()),
            ("X-CLIENT-ID", app.to_string()),
            ("tenantId", tenant.clone()),
            ("tenant", tenant),
            ("sessionId", session),
            ("webhookId", webhook),
            ("importId", import),
            ("deliveryId", text(&delivery["id"])),
            ("eventId", text(&delivery["eventId"])),
            ("userRoleId", role.to_string()),
            ("cursor of listEvents", text(&events["nextCursor"])),
            ("cursor of listUsers", text(&users["nextCursor"])),
            ("cursor of listSignIns", text(&sign_ins["nextCursor"])),
            ("cursor of listTenants", text(&tenants["nextCursor"])),
        ])
    }

    /// A key of a whole environment, with a second tenant there: who is bound to one sees one, so there are no pages of them.
    async fn key_of_all(&self, environment: EnvironmentId) -> String {
        let make = move |tx: &usher::db::Tx| {
            let environment = apps::by_id(tx, environment)?;
            keys::create(tx, OPERATOR, &environment, &NewKey { tenant: Some("second".into()), ..a_key() })?;
            Ok(keys::create(tx, OPERATOR, &environment, &a_key())?.1.expose().to_owned())
        };
        self.app.store().write(make).await.unwrap()
    }

    /// A role of that environment, made if it has none.
    async fn role_of(&self, environment: EnvironmentId) -> RoleId {
        let make = move |tx: &usher::db::Tx| match roles::all(tx, environment)?.pop() {
            Some(role) => Ok(role.id),
            None => Ok(roles::create(tx, environment, "desk", Rights::READ)?.id),
        };
        self.app.store().write(make).await.unwrap()
    }

    /// A caller, with a token of their own if they are a person.
    pub async fn client(&self, surface: &str, caller: &str) -> Client<'_> {
        match (self.keys.get(caller), self.persons.get(caller)) {
            (Some(key), _) if surface == "partner" => self.app.anyone().with("Authorization", &format!("Bearer {key}")),
            (Some(key), _) => {
                let access = if caller == "reader" { "read" } else { "write" };
                triple(self.app.anyone(), key, access, &self.app.client_id.to_string())
            }
            (_, Some(person)) => self.app.person(person).await,
            _ => self.app.anyone(),
        }
    }

    /// Sends an operation about these things. A body that is empty has everything that must not count.
    pub async fn ask(&self, client: &Client<'_>, operation: &Operation, things: &Things) -> Answer {
        let ask = Ask::of(operation, things);
        client.send(&operation.method, &ask.address(), ask.body.to_string()).await
    }

    /// A user of acme, made for one operation, with what else that is about.
    pub async fn somebody(&self, n: usize, operation: &Operation) -> Things {
        let mut things = self.things["acme"].clone();
        let (email, phone) = (format!("somebody{n}@doe.com"), format!("20255{n:05}"));
        let id = self.enrol("acme", &email, &phone).await;
        self.app.token(&id).await;
        let writer = self.client("directory", "acme").await;
        let sessions = writer.get(&format!("/v1/users/{id}/sessions")).await.ok();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        things.insert("sessionId", text(&sessions.body["data"]["items"][0]["id"]));
        if operation.path.contains("{webhookId}") {
            let webhook = writer.post("/v1/webhooks", json!({"url": "https://hooks.example.com/own"})).await.ok();
            things.insert("webhookId", text(&webhook.body["data"]["id"]));
        }
        if operation.path.contains("{importId}") {
            let import = writer.post("/v1/imports", json!({"email": "canary"})).await.ok();
            things.insert("importId", text(&import.body["data"]["id"]));
        }
        writer.put(&format!("/v1/users/{id}"), json!({"user": {"middle_name": "M"}})).await.ok();
        things.extend([("email", email), ("userId", id), ("new phone", format!("20256{n:05}"))]);
        things
    }

    pub async fn set_status(&self, id: &str, status: Status) {
        let id = id.parse().unwrap();
        self.app.store().write(move |tx| users::set_status(tx, id, status)).await.unwrap();
    }
}

fn triple<'a>(client: Client<'a>, key: &str, access: &str, app: &str) -> Client<'a> {
    client.with("X-API-KEY", key).with("X-API-KEY-TYPE", access).with("X-CLIENT-ID", app)
}

/// The request of an operation.
pub struct Ask {
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Value,
}

impl Ask {
    /// About these things, as far as the path and the body must name them.
    pub fn of(operation: &Operation, things: &Things) -> Ask {
        let mut path = operation.path.replace("{accessStatus}", "0");
        for (name, thing) in things {
            path = path.replace(&format!("{{{name}}}"), thing);
        }
        assert!(!path.contains('{'), "{path}");
        Ask { path, query: Vec::new(), body: body(operation, things) }
    }

    pub fn address(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(&self.query);
        let query = query.finish();
        if query.is_empty() { self.path.clone() } else { format!("{}?{query}", self.path) }
    }
}

/// A body that the operation takes and that changes something, with everything in it that must not count.
fn body(operation: &Operation, things: &Things) -> Value {
    let email = &things["email"];
    let mut body = match (operation.surface, operation.name.as_str()) {
        ("partner", "createUser") => {
            john().but("email", json!(format!("new.{email}"))).but("phonenumber", json!(things["new phone"]))
        }
        ("partner", "updateUser") => json!({"email": email, "doctorFullname": "Dr. New"}),
        ("partner", "updateSubscription") => json!({"email": email, "paymentPlan": 6}),
        ("partner", "cancelSubscription") => json!({"email": email, "cancellationDate": "2027-01-01"}),
        ("partner", _) => json!({"email": email}),
        (_, "createUser") => json!({"user": {"email": format!("new.{email}")}}),
        (_, "invite") => json!({"email": format!("new.{email}"), "language": "en"}),
        (_, "updateTenant") => json!({"tenant": {"description": things["userId"]}}),
        (_, "beginImport") => json!({"email": format!("new.{email}")}),
        (_, "createWebhook") => json!({"url": "https://hooks.example.com/other"}),
        (_, "updateWebhook") => json!({"name": "other"}),
        (_, "replayWebhook") => json!({"since": "2026-01-01T00:00:00Z"}),
        (_, "giveRole") => json!({"userRoleId": things["userRoleId"]}),
        _ => json!({"user": {"nickname": "other"}}),
    };
    for (name, value) in privileged() {
        if body.get(&name).is_none() {
            body.map().insert(name.clone(), value.clone());
        }
        for inner in ["user", "tenant"] {
            if let Some(inner) = body.get_mut(inner).and_then(Value::as_object_mut) {
                inner.entry(name.clone()).or_insert(value.clone());
            }
        }
    }
    body
}

/// What no body may set: taken where an example has it, and ignored (F4).
pub fn privileged() -> Vec<(String, Value)> {
    let id = "22222222-2222-4222-8222-222222222222";
    let pairs = json!({
        "id": id, "userId": id, "tenantId": id, "appId": id, "environmentId": id, "deleted": true, "freezed": true,
        "email_verified": true, "emailVerified": true, "role": "administrator", "roleId": id, "role_id": id,
        "rights": "users:read", "createdAt": "2001-01-01", "created_at": 1, "updatedAt": "2001-01-01", "permissions": ["*"],
        "version": 99, "__proto__": {"admin": true}, "password": "x", "frozen_at": 1, "deleted_at": 1, "access": "write"
    });
    pairs.as_object().unwrap().clone().into_iter().collect()
}
