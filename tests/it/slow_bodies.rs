//! D8, D11: a body takes its time. What ends meanwhile refuses it, at every door, and nothing of it is written.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use futures_util::stream;
use serde_json::json;
use tokio::sync::Semaphore;
use usher::admins::{self, Role};
use usher::apps::Kind;
use usher::caller::Target;
use usher::keys;
use usher::roles::RoleId;
use usher::secret::Secret;
use usher::tokens;
use usher::users::{self, Email, IfMatch, Person};

use crate::harness::{Answer, But, Client, OPERATOR, TestApp, a_key, jane};
use crate::imports_page::form_with;
use crate::program::Program;
use crate::signin::app_and_jane;
use crate::tables::{assert_only_refused, everything};

/// A little longer than what has ended may still be taken for.
const A_WHILE: Duration = Duration::from_millis(1100);

/// A request whose body comes in two halves.
struct Slow<'a> {
    client: Client<'a>,
    method: &'static str,
    path: String,
    body: String,
}

fn slow<'a>(
    client: &Client<'a>,
    method: &'static str,
    path: impl Into<String>,
    body: &(impl ToString + ?Sized),
) -> Slow<'a> {
    Slow { client: client.clone(), method, path: path.into(), body: body.to_string() }
}

/// How far the requests are that are sent at once.
#[derive(Clone)]
struct Gate {
    /// One for each of which the first half was read.
    halves: Arc<Semaphore>,
    /// Closed when the second halves are sent.
    rest: Arc<Semaphore>,
}

impl Slow<'_> {
    async fn send(&self, gate: &Gate) -> Answer {
        let (first, second) = self.body.split_at(self.body.len() / 2);
        let (first, second, gate) = (first.to_owned(), second.to_owned(), gate.clone());
        let second = stream::once(async move {
            gate.halves.add_permits(1);
            let _ = gate.rest.acquire().await;
            Ok::<_, Infallible>(second)
        });
        let body = Body::from_stream(stream::iter([Ok::<_, Infallible>(first)]).chain(second));
        self.client.send(self.method, &self.path, body).await
    }
}

/// Sends the requests at once and each to its half, and the rest of them a while after `act` was done. Gives their answers, and
/// what `act` gave.
async fn meanwhile<T>(requests: &[Slow<'_>], act: impl Future<Output = T>) -> (Vec<Answer>, T) {
    let gate = Gate { halves: Arc::new(Semaphore::new(0)), rest: Arc::new(Semaphore::new(0)) };
    let acts = async {
        drop(gate.halves.acquire_many(u32::try_from(requests.len()).unwrap()).await.unwrap());
        let done = act.await;
        tokio::time::sleep(A_WHILE).await;
        gate.rest.close();
        done
    };
    join(join_all(requests.iter().map(|request| request.send(&gate))), acts).await
}

/// People of acme, by their ids.
async fn people(app: &TestApp, count: usize) -> Vec<String> {
    let acme = app.partner("acme").await;
    let mut ids = Vec::new();
    for n in 0..count {
        let body = jane().but("email", json!(format!("jane{n}@doe.com")));
        let body = body.but("phonenumber", json!(format!("202555012{n}")));
        ids.push(acme.post("/users/create", body).await.ok().id().to_owned());
    }
    ids
}

/// A client at the directory API, and one at the partner API, with one key.
fn with_key<'a>(app: &'a TestApp, secret: &str) -> (Client<'a>, Client<'a>) {
    let directory = app.anyone().with("X-API-KEY", secret).with("X-API-KEY-TYPE", "write");
    let directory = directory.with("X-CLIENT-ID", &app.client_id.to_string());
    (directory, app.anyone().with("Authorization", &format!("Bearer {secret}")))
}

#[tokio::test]
async fn case_d11_what_ends_while_a_body_is_on_its_way_refuses_it_at_every_door_and_nothing_is_written() {
    let app = TestApp::new().await;
    let [frozen, signed_out, deleted, administrator, other]: [String; 5] = people(&app, 5).await.try_into().unwrap();
    let server = app.server().await;
    let role = json!({"userRoleId": RoleId::ADMINISTRATOR});
    server.put(&format!("/v1/users/{administrator}/user-roles"), role).await.ok();
    let (key, secret) = app.new_key(Kind::Sandbox, a_key()).await;
    let (directory, partner) = with_key(&app, &secret);
    // Who stays an owner.
    app.admin(Role::Owner).await;
    let removed = app.admin_at("removed@clinic.example", Role::Owner).await;
    let lowered = app.admin_at("lowered@clinic.example", Role::Owner).await;
    let form = removed.with("Content-Type", "multipart/form-data; boundary=XX");
    let dashboard = format!("/admin/{}/sandbox", app.client_id);

    let (path, change) = (format!("/v1/users/{other}"), json!({"user": {"nickname": "late"}}));
    let again = directory.with("Idempotency-Key", "sent-before");
    again.put(&path, change.clone()).await.ok();
    let me = "/v1/users/me";
    let key_form = "name=late&access=write";
    let cases = [
        (403, slow(&app.person(&frozen).await, "PUT", me, &change)),
        (401, slow(&app.person(&signed_out).await, "PUT", me, &change)),
        (401, slow(&app.person(&signed_out).await, "PATCH", format!("{me}?dry_run=true"), &change)),
        (401, slow(&app.person(&deleted).await, "PUT", me, &change)),
        (403, slow(&app.person(&administrator).await, "PUT", &path, &change)),
        (401, slow(&directory, "PUT", &path, &change)),
        (401, slow(&directory, "PATCH", format!("{path}?dry_run=true"), &change)),
        (401, slow(&again, "PUT", &path, &change)),
        (401, slow(&directory, "POST", "/v1/webhooks", &json!({"url": "https://hooks.example.com/late"}))),
        (401, slow(&directory, "POST", "/v1/imports", "email\nlate@doe.com\n")),
        (
            403,
            slow(&partner, "POST", "/users/update", &json!({"email": "jane4@doe.com", "doctorFullname": "Dr. Late"})),
        ),
        (403, slow(&partner, "POST", "/users/retrieve", &json!({"email": "jane4@doe.com"}))),
        (401, slow(&removed, "POST", format!("{dashboard}/keys"), key_form)),
        (401, slow(&form, "POST", format!("{dashboard}/imports"), &form_with("email\nlate@doe.com\n"))),
        (403, slow(&lowered, "POST", format!("{dashboard}/keys"), key_form)),
    ];
    let (statuses, requests): (Vec<u16>, Vec<Slow>) = cases.into_iter().unzip();
    let end = async {
        let freeze = format!("/v1/apps/{}/users/{frozen}/access-status/0", app.client_id);
        server.put(&freeze, json!({})).await.ok();
        server.send("DELETE", &format!("/v1/users/{signed_out}/sessions"), "").await.ok();
        server.send("DELETE", &format!("/v1/users/{deleted}"), "").await.ok();
        server.send("DELETE", &format!("/v1/users/{administrator}/user-roles"), "").await.ok();
        let key = key.id;
        let end = move |tx: &usher::db::Tx| {
            keys::revoke(tx, OPERATOR, key)?;
            let named = |address: &str| admins::by_email(tx, &Email::new(address).unwrap()).map(|admin| admin.id);
            admins::remove(tx, OPERATOR, named("removed@clinic.example")?)?;
            admins::set_role(tx, OPERATOR, named("lowered@clinic.example")?, Role::Support)
        };
        app.store().write(end).await.unwrap();
        everything(&app).await
    };
    let (answers, before) = meanwhile(&requests, end).await;
    for ((answer, status), request) in answers.iter().zip(statuses).zip(&requests) {
        assert_eq!(answer.status, status, "{} {}: {}", request.method, request.path, answer.text);
    }
    assert_only_refused(&before, &everything(&app).await, "what came late");
}

#[tokio::test]
async fn case_d8_who_holds_a_change_of_a_record_open_does_not_take_it_from_whose_mailbox_it_is() {
    let (app, id) = app_and_jane().await;
    let before = app.user(&id).await.email.address().to_owned();
    let attacker = app.person(&id).await;
    let change = json!({"user": {"email": "mine@doe.com"}});
    let requests = ["PUT", "POST", "PATCH"].map(|method| slow(&attacker, method, "/v1/users/me", &change));
    let enter = async {
        let pressed = app.anyone().send("POST", &app.newest_link().await, "").await;
        assert_eq!(pressed.status, 303, "{}", pressed.text);
    };
    let (answers, ()) = meanwhile(&requests, enter).await;
    for answer in answers {
        assert_eq!((answer.status, answer.error()), (401, "The session has ended"));
    }
    let user = app.user(&id).await;
    assert_eq!((user.email.address(), user.email_verified_at.is_some()), (before.as_str(), true));
}

#[tokio::test]
async fn a_slow_body_of_whose_credential_still_works_is_taken_at_every_door() {
    let app = TestApp::new().await;
    let [me, administrator, other]: [String; 3] = people(&app, 3).await.try_into().unwrap();
    let role = json!({"userRoleId": RoleId::ADMINISTRATOR});
    app.server().await.put(&format!("/v1/users/{administrator}/user-roles"), role).await.ok();
    let (directory, partner) = with_key(&app, &app.new_key(Kind::Sandbox, a_key()).await.1);
    let owner = app.admin(Role::Owner).await;
    let change = |nickname: &str| json!({"user": {"nickname": nickname}});
    let requests = [
        slow(&app.person(&me).await, "PUT", "/v1/users/me", &change("me")),
        slow(&app.person(&administrator).await, "PUT", format!("/v1/users/{other}"), &change("other")),
        slow(&directory, "PUT", format!("/v1/users/{administrator}"), &change("administrator")),
        slow(&partner, "POST", "/users/update", &json!({"email": "jane2@doe.com", "doctorFullname": "Dr. Late"})),
        slow(&owner, "POST", format!("/admin/{}/sandbox/keys", app.client_id), "name=late&access=write"),
    ];
    let (answers, ()) = meanwhile(&requests, async {}).await;
    for (answer, request) in answers.into_iter().zip(&requests) {
        assert_eq!(answer.status, 200, "{} {}: {}", request.method, request.path, answer.text);
    }
    for (id, nickname) in [(me, "me"), (other, "other"), (administrator, "administrator")] {
        let user = directory.get(&format!("/v1/users/{id}")).await.ok();
        assert_eq!(user.body["data"]["nickname"], nickname, "{}", user.text);
    }
}

#[tokio::test]
async fn case_d8_a_move_that_was_judged_before_the_mailbox_was_proven_is_refused_where_it_is_written() {
    let (app, id) = app_and_jane().await;
    let links = app.app.api().links.clone();
    let (token, made_with) = (Secret::new(app.token(&id).await), links.clone());
    let attacker = app.store().read(move |tx| tokens::verify(tx, &token, &made_with)).await.unwrap().caller;
    let moves = move |tx: &usher::db::Tx| {
        let change = Person { email: Email::new("mine@doe.com"), ..Person::default() };
        users::update(tx, &attacker, Target::Me, change.into(), &IfMatch::Anything, &links)
    };
    assert_eq!(app.store().rehearse(moves.clone()).await.unwrap().email.address(), "mine@doe.com");
    assert_eq!(app.anyone().send("POST", &app.newest_link().await, "").await.status, 303);
    assert_eq!(app.store().write(moves).await.unwrap_err().code(), "session_ended");
    assert_eq!(app.user(&id).await.email.address(), "jane@doe.com");
}

/// A connection on which the head of a request was judged, and half of its body was sent.
fn half(server: &Program, line: &str, credential: &str, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!("{line} HTTP/1.1\r\nHost: u\r\nConnection: close\r\nAuthorization: Bearer {credential}\r\n");
    let length = body.len();
    write!(socket, "{head}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n").unwrap();
    // The server asks for the body once it has judged the head.
    let mut told = [0; 25];
    socket.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n", "{line}");
    socket.write_all(&body.as_bytes()[..length / 2]).unwrap();
    socket
}

#[test]
fn case_d11_half_a_body_on_the_wire_does_not_keep_a_credential_alive() {
    let server = Program::start(&[]);
    let names = ["frozen", "signed-out", "fine"];
    let tokens = names.map(|name| {
        let n = names.iter().position(|one| *one == name).unwrap();
        let body = jane().but("email", json!(format!("{name}@doe.com")));
        let id = server.enrol(&body.but("phonenumber", json!(format!("202555013{n}")))).1["identifier"].clone();
        server.json(&["token", "create", "--user", id.as_str().unwrap()])["accessToken"].as_str().unwrap().to_owned()
    });
    let made =
        server.json(&["key", "create", "--app", &server.client_id, "--environment", "sandbox", "--access", "write"]);
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let change = json!({"user": {"nickname": "late"}}).to_string();
    let update = json!({"email": "fine@doe.com", "doctorFullname": "Dr. Late"}).to_string();
    let mut begun: Vec<_> = tokens
        .iter()
        .zip([403, 401, 200])
        .map(|(token, status)| (half(&server, "PUT /v1/users/me", token, &change), &change, status))
        .collect();
    begun.push((half(&server, "POST /users/update", key, &update), &update, 403));
    server.json(&["user", "freeze", "frozen@doe.com"]);
    server.json(&["session", "revoke", "signed-out@doe.com", "--all"]);
    server.json(&["key", "revoke", id]);
    std::thread::sleep(A_WHILE);
    for (socket, body, status) in &mut begun {
        socket.write_all(&body.as_bytes()[body.len() / 2..]).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    for (name, nickname) in names.into_iter().zip([json!(null), json!(null), json!("late")]) {
        let shown = server.json(&["user", "show", &format!("{name}@doe.com")]);
        assert_eq!(shown["profile"]["nickname"], nickname, "{name}");
    }
}
