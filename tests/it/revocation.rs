//! What ends takes effect on every server within a second, under load; a key that rotates refuses nobody.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{But, jane};
use crate::program::{Program, call, raw};
use crate::several::second_server;
use crate::signin::CALLBACK;

/// How often a second each server is asked, by several at a time so that a slow answer does not slow the pace down.
const RATE: u32 = 100;
const ASKERS: u32 = 8;
/// After how long a use must be refused, and how many uses at each server have to show it, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(1);
const ENOUGH: usize = 20;

/// When a credential was used, how long that took, and what it was answered.
struct Use {
    asked: Instant,
    took: Duration,
    status: u16,
}

/// Uses a credential [`RATE`] times a second at each server while something is done, and until each has been used [`ENOUGH`]
/// times after the limit. Tells when it was done.
fn meanwhile(servers: [&str; 2], uses: impl Fn(&str) -> u16 + Sync, act: impl FnOnce()) -> (Vec<Use>, Instant) {
    let done: OnceLock<Instant> = OnceLock::new();
    let (start, step) = (Instant::now(), LIMIT / RATE);
    let askers = servers.map(|server| (server, AtomicU32::new(0), AtomicUsize::new(0)));
    let ask = |(server, next, late): &(&str, AtomicU32, AtomicUsize)| {
        let mut seen = Vec::new();
        while late.load(SeqCst) < ENOUGH {
            std::thread::sleep((step * next.fetch_add(1, SeqCst)).saturating_sub(start.elapsed()));
            let asked = Instant::now();
            let status = uses(server);
            seen.push(Use { asked, took: asked.elapsed(), status });
            late.fetch_add(usize::from(done.get().is_some_and(|at| asked > *at + LIMIT)), SeqCst);
        }
        seen
    };
    let all: Vec<Use> = std::thread::scope(|scope| {
        let threads: Vec<_> = askers
            .iter()
            .flat_map(|asker| (0..ASKERS).map(move |_| asker))
            .map(|asker| scope.spawn(|| ask(asker)))
            .collect();
        std::thread::sleep(Duration::from_millis(200));
        let acted = catch_unwind(AssertUnwindSafe(act));
        // Whatever became of it: the askers wait for this, and the scope for them.
        done.set(Instant::now()).unwrap();
        acted.unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    // Where answers come in time for it, the pace was kept.
    let (span, count) = (start.elapsed(), u32::try_from(all.len()).unwrap());
    let mean = all.iter().map(|one| one.took).sum::<Duration>() / count;
    let wanted = 2.0 * f64::from(RATE) * span.as_secs_f64();
    let busy = mean > step * ASKERS / 2;
    assert!(busy || f64::from(count) > 0.8 * wanted, "{count} uses in {span:?}, of {mean:?} each");
    (all, *done.get().unwrap())
}

/// How long a credential is still taken anywhere after `end`.
fn lingers(servers: [&str; 2], uses: impl Fn(&str) -> u16 + Sync, end: impl FnOnce()) -> Duration {
    for server in servers {
        assert_eq!(uses(server), 200, "it works before");
    }
    let (seen, ended) = meanwhile(servers, uses, end);
    assert!(seen.iter().all(|one| matches!(one.status, 200 | 401 | 403)));
    let taken = seen.iter().filter(|one| one.status == 200);
    taken.map(|one| one.asked.saturating_duration_since(ended)).max().unwrap_or_default()
}

#[test]
fn what_fails_meanwhile_is_told_and_keeps_nobody_waiting() {
    let fails = || meanwhile(["one", "two"], |_| 200, || panic!("it could not be done"));
    let Err(told) = catch_unwind(fails) else { panic!("it was not told") };
    assert_eq!(told.downcast_ref::<&str>(), Some(&"it could not be done"));
}

#[test]
fn ended_sessions_users_and_keys_are_refused_within_a_second_on_every_server() {
    let one = Program::start(&[]);
    let two = second_server(&one);
    let servers = [one.url.as_str(), two.url.as_str()];
    let ways: [(&str, &[&str]); 5] = [
        ("one@doe.com", &["session", "revoke", "one@doe.com", "--all"]),
        ("two@doe.com", &["user", "freeze", "two@doe.com"]),
        ("three@doe.com", &["user", "delete", "three@doe.com"]),
        ("four@doe.com", &[]),
        ("five@doe.com", &["session", "revoke-all"]),
    ];
    for (i, (email, command)) in ways.into_iter().enumerate() {
        let body = jane().but("email", json!(email)).but("phonenumber", json!(format!("202555010{i}")));
        let id = one.enrol(&body).1["identifier"].as_str().unwrap().to_owned();
        let token = one.json(&["token", "create", "--user", &id])["accessToken"].as_str().unwrap().to_owned();
        let me = |server: &str| call(server, &token, "GET", "/v1/users/me", &Value::Null).0;
        let lingered = lingers(servers, me, || {
            if command.is_empty() {
                assert_eq!(call(servers[1], &token, "DELETE", "/v1/users/me/sessions", &Value::Null).0, 200);
            } else {
                one.json(command);
            }
        });
        assert!(lingered <= LIMIT, "{email}: {lingered:?}");
    }
    let made = one.json(&["key", "create", "--app", &one.client_id, "--environment", "sandbox", "--access", "write"]);
    let (id, key) = (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned());
    let update = |server: &str| call(server, &key, "POST", "/users/update", &json!({"email": "one@doe.com"})).0;
    let lingered = lingers(servers, update, || {
        one.json(&["key", "revoke", &id]);
    });
    assert!(lingered <= LIMIT, "{lingered:?}");
}

/// Sends a request with these headers, and gives the head and the body of the answer.
fn send(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (String, String) {
    let headers: String = headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\n{headers}");
    raw(url, format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes())
}

/// Somebody who has come in by the link in their mail: the cookie of their browser, and the token that the app got.
struct Guest {
    id: String,
    cookie: String,
    token: String,
}

impl Guest {
    fn enter(server: &Program, number: usize) -> Guest {
        let body = jane().but("email", json!(format!("guest{number}@doe.com")));
        let made = server.enrol(&body.but("phonenumber", json!(format!("202555012{number}")))).1;
        let link: url::Url = server.json(&["mail", "show"])["links"][0].as_str().unwrap().parse().unwrap();
        let (head, _) = send(&server.url, "POST", link.path(), &[], "");
        let header =
            |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{head}"));
        let to: url::Url = header("location: ").parse().unwrap();
        let code = to.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        let body = json!({
            "grant_type": "authorization_code", "client_id": server.client_id, "redirect_uri": CALLBACK, "code": code,
        });
        let (_, answer) = send(&server.url, "POST", "/v1/tokens", &[], &body.to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let token = answer["accessToken"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let cookie = header("set-cookie: ").split(';').next().unwrap().to_owned();
        Guest { id: made["identifier"].as_str().unwrap().to_owned(), cookie, token }
    }
}

#[test]
fn whoever_signs_out_on_a_page_or_is_frozen_by_the_api_is_refused_within_a_second_on_every_server() {
    let one = Program::start(&[]);
    let two = second_server(&one);
    let servers = [one.url.as_str(), two.url.as_str()];
    let place = ["--environment", "sandbox"];
    one.json(&[&["app", "redirect", "add", &one.client_id, CALLBACK], &place[..]].concat());
    one.json(&[&["app", "update", &one.client_id, "--redirect-url", CALLBACK], &place[..]].concat());
    // Each at the server that they did not come in by.
    let presses_sign_out =
        |guest: &Guest| send(servers[1], "POST", "/sign-out", &[("Cookie", guest.cookie.as_str())], "").0;
    let is_sent_to_sign_out = |guest: &Guest| {
        let path = format!("/sign-in?client_id={}&redirect_uri={CALLBACK}&state=s1&logout=true", one.client_id);
        send(servers[1], "GET", &path, &[("Cookie", guest.cookie.as_str())], "").0
    };
    let is_frozen = |guest: &Guest| {
        let path = format!("/v1/apps/{}/users/{}/access-status/0", one.client_id, guest.id);
        let key =
            [("X-API-KEY", one.key.as_str()), ("X-API-KEY-TYPE", "write"), ("X-CLIENT-ID", one.client_id.as_str())];
        send(servers[1], "PUT", &path, &key, "{}").0
    };
    let ways: [&dyn Fn(&Guest) -> String; 3] = [&presses_sign_out, &is_sent_to_sign_out, &is_frozen];
    let answers = ["HTTP/1.1 303", "HTTP/1.1 200", "HTTP/1.1 200"];
    for (number, (end, status)) in ways.into_iter().zip(answers).enumerate() {
        let guest = Guest::enter(&one, number);
        let me = |server: &str| call(server, &guest.token, "GET", "/v1/users/me", &Value::Null).0;
        let lingered = lingers(servers, me, || {
            let answer = end(&guest);
            assert!(answer.starts_with(status), "{number}: {answer}");
        });
        assert!(lingered <= LIMIT, "{number}: {lingered:?}");
    }
}

#[test]
fn a_role_that_is_taken_away_is_refused_within_a_second_on_every_server() {
    let one = Program::start(&[]);
    let two = second_server(&one);
    let place = ["--app", &one.client_id, "--environment", "sandbox", "--tenant", "clinic"];
    let key = one.json(&[&["key", "create", "--access", "write"], &place[..]].concat());
    let enrol = |email: &str, phone: &str| {
        let body = jane().but("email", json!(email)).but("phonenumber", json!(phone));
        let made = call(&one.url, key["key"].as_str().unwrap(), "POST", "/users/create", &body).1;
        made["identifier"].as_str().unwrap().to_owned()
    };
    let (administrator, other) = (enrol("admin@doe.com", "2025550111"), enrol("other@doe.com", "2025550112"));
    one.json(&["user", "role", "admin@doe.com", "administrator"]);
    let token = one.json(&["token", "create", "--user", &administrator])["accessToken"].as_str().unwrap().to_owned();
    let path = format!("/v1/users/{other}");
    let see = |server: &str| call(server, &token, "GET", &path, &Value::Null).0;
    let lingered = lingers([&one.url, &two.url], see, || {
        one.json(&["user", "role", "admin@doe.com", "member"]);
    });
    assert!(lingered <= LIMIT, "{lingered:?}");
    assert_eq!(call(&two.url, &token, "GET", "/v1/users/me", &Value::Null).0, 200, "they are still themselves");
}

#[test]
fn a_signing_key_rotates_under_load_without_one_refusal_and_a_revoked_one_is_dead() {
    let one = Program::start(&[]);
    let two = second_server(&one);
    let id = one.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let token = || one.json(&["token", "create", "--user", &id])["accessToken"].as_str().unwrap().to_owned();
    let keys = || one.json(&["signing-key", "list", &one.client_id, "--environment", "sandbox"]);
    let newest = Mutex::new(token());
    let old = token();
    // Half of the uses with a token of before, half with the newest.
    let turn = AtomicUsize::new(0);
    let uses = |server: &str| {
        let even = turn.fetch_add(1, SeqCst).is_multiple_of(2);
        let token = if even { old.clone() } else { newest.lock().unwrap().clone() };
        call(server, &token, "GET", "/v1/users/me", &Value::Null).0
    };
    let (seen, _) = meanwhile([&one.url, &two.url], uses, || {
        for _ in 0..3 {
            one.json(&["signing-key", "rotate", &one.client_id, "--environment", "sandbox", "--now"]);
            *newest.lock().unwrap() = token();
        }
    });
    assert!(seen.iter().all(|one| one.status == 200));
    assert_eq!(keys().as_array().unwrap().len(), 4);

    let newest = token();
    let kid = keys()[0]["id"].as_str().unwrap().to_owned();
    let me = |server: &str| call(server, &newest, "GET", "/v1/users/me", &Value::Null).0;
    let lingered = lingers([&one.url, &two.url], me, || {
        one.json(&["signing-key", "revoke", &kid]);
    });
    assert!(lingered <= LIMIT, "{lingered:?}");
    assert_eq!(call(&two.url, &token(), "GET", "/v1/users/me", &Value::Null).0, 200, "another took its place");
}

#[test]
fn what_is_no_authorization_at_all_is_refused_over_the_wire_and_the_server_goes_on() {
    let one = Program::start(&[]);
    let id = one.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let token = one.json(&["token", "create", "--user", &id])["accessToken"].as_str().unwrap().to_owned();
    let with = |value: &[u8]| {
        let mut request = b"GET /v1/users/me HTTP/1.1\r\nHost: u\r\nConnection: close\r\nAuthorization: ".to_vec();
        request.extend_from_slice(value);
        request.extend_from_slice(b"\r\n\r\n");
        let status = raw(&one.url, &request).0.split(' ').nth(1).unwrap_or_default().parse::<u16>().unwrap_or_default();
        assert_eq!(call(&one.url, &token, "GET", "/v1/users/me", &Value::Null).0, 200, "it goes on");
        status
    };
    let long = |size: usize| [b"Bearer ".as_slice(), &vec![b'A'; size]].concat();
    assert_eq!(with(&long(16 * 1024)), 401);
    // Longer than any header may be. The connection may end before the answer is read.
    assert!(matches!(with(&long(64 * 1024)), 431 | 0));
    let values: [&[u8]; 8] = [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer \xff\xfe\x80",
        b"\x80\x81",
        b"bearer a.b.c",
        b"Basic YTpi",
        b"Bearer \xc3\x28.a.b",
    ];
    for value in values {
        assert_eq!(with(value), 401, "{value:?}");
    }
    assert_eq!(with(format!("Bearer {token}").as_bytes()), 200);
}
