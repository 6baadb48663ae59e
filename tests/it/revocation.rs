//! What ends takes effect on every server within a second, under load; a key that rotates refuses nobody.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{But, jane};
use crate::program::{Program, call, raw};
use crate::several::second_server;

/// How often a second each server is asked, if the machine manages it.
const RATE: u32 = 100;
/// How often it must have been asked, or nothing was shown.
const ENOUGH: usize = 20;

/// Uses a credential [`RATE`] times a second at each server while something is done, and 1.5 seconds longer. When each use
/// was, and what it was answered; and when it was done.
fn meanwhile(
    servers: [&str; 2],
    uses: impl Fn(&str) -> u16 + Sync,
    act: impl FnOnce(),
) -> (Vec<(Instant, u16)>, Instant) {
    let done = OnceLock::new();
    let (start, step) = (Instant::now(), Duration::from_secs(1) / RATE);
    let ask = |server: &str| {
        let mut seen = Vec::new();
        while done.get().is_none_or(|at: &Instant| at.elapsed() < Duration::from_millis(1500)) {
            std::thread::sleep((step * u32::try_from(seen.len()).unwrap()).saturating_sub(start.elapsed()));
            let asked = Instant::now();
            seen.push((asked, uses(server)));
        }
        assert!(seen.len() >= ENOUGH, "{} uses in {:?}", seen.len(), start.elapsed());
        seen
    };
    let seen = std::thread::scope(|scope| {
        let askers = servers.map(|server| scope.spawn(move || ask(server)));
        std::thread::sleep(Duration::from_millis(200));
        act();
        done.set(Instant::now()).unwrap();
        askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect()
    });
    (seen, *done.get().unwrap())
}

/// How long a credential is still taken anywhere after `end`.
fn lingers(servers: [&str; 2], uses: impl Fn(&str) -> u16 + Sync, end: impl FnOnce()) -> Duration {
    for server in servers {
        assert_eq!(uses(server), 200, "it works before");
    }
    let (seen, ended) = meanwhile(servers, uses, end);
    assert!(seen.iter().all(|(_, status)| matches!(status, 200 | 401 | 403)));
    assert!(seen.iter().any(|(_, status)| *status != 200), "it ends");
    let taken = seen.iter().filter(|(_, status)| *status == 200);
    taken.map(|(at, _)| at.saturating_duration_since(ended)).max().unwrap_or_default()
}

#[test]
fn ended_sessions_users_and_keys_are_refused_within_a_second_on_every_server() {
    let one = Program::start(&[]);
    let two = second_server(&one);
    let servers = [one.url.as_str(), two.url.as_str()];
    let ways: [(&str, &[&str]); 4] = [
        ("one@doe.com", &["session", "revoke", "one@doe.com", "--all"]),
        ("two@doe.com", &["user", "freeze", "two@doe.com"]),
        ("three@doe.com", &["user", "delete", "three@doe.com"]),
        ("four@doe.com", &[]),
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
        assert!(lingered <= Duration::from_secs(1), "{email}: {lingered:?}");
    }
    let made = one.json(&["key", "create", "--app", &one.client_id, "--environment", "sandbox", "--access", "write"]);
    let (id, key) = (made["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned());
    let update = |server: &str| call(server, &key, "POST", "/users/update", &json!({"email": "one@doe.com"})).0;
    let lingered = lingers(servers, update, || {
        one.json(&["key", "revoke", &id]);
    });
    assert!(lingered <= Duration::from_secs(1), "{lingered:?}");
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
    assert!(lingered <= Duration::from_secs(1), "{lingered:?}");
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
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let uses = |server: &str| {
        let even = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst).is_multiple_of(2);
        let token = if even { old.clone() } else { newest.lock().unwrap().clone() };
        call(server, &token, "GET", "/v1/users/me", &Value::Null).0
    };
    let (seen, _) = meanwhile([&one.url, &two.url], uses, || {
        for _ in 0..3 {
            one.json(&["signing-key", "rotate", &one.client_id, "--environment", "sandbox", "--now"]);
            *newest.lock().unwrap() = token();
        }
    });
    assert_eq!(seen.iter().filter(|(_, status)| *status != 200).count(), 0);
    assert_eq!(keys().as_array().unwrap().len(), 4);

    let newest = token();
    let kid = keys()[0]["id"].as_str().unwrap().to_owned();
    let me = |server: &str| call(server, &newest, "GET", "/v1/users/me", &Value::Null).0;
    let lingered = lingers([&one.url, &two.url], me, || {
        one.json(&["signing-key", "revoke", &kid]);
    });
    assert!(lingered <= Duration::from_secs(1), "{lingered:?}");
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
