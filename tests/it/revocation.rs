//! What ends takes effect on every server within a second, under load; a key that rotates refuses nobody.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{But, jane};
use crate::program::{Program, call};
use crate::several::second_server;

/// How long a credential is still taken anywhere after `end`, asked for 100 times a second at each server.
fn lingers(servers: [&str; 2], uses: impl Fn(&str) -> u16, end: impl FnOnce()) -> Duration {
    for server in servers {
        assert_eq!(uses(server), 200, "it works before");
    }
    end();
    let ended = Instant::now();
    let mut last = Duration::ZERO;
    while ended.elapsed() < Duration::from_millis(1500) {
        for server in servers {
            let asked = ended.elapsed();
            match uses(server) {
                200 => last = asked,
                status => assert!(matches!(status, 401 | 403), "{status}"),
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    last
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
fn a_signing_key_rotates_under_load_without_one_refusal_and_a_revoked_one_is_dead() {
    let one = Program::start(&[]);
    let two = second_server(&one);
    let id = one.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let token = || one.json(&["token", "create", "--user", &id])["accessToken"].as_str().unwrap().to_owned();
    let keys = || one.json(&["signing-key", "list", &one.client_id, "--environment", "sandbox"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let old = token();
    let refused = std::thread::scope(|scope| {
        let uses = scope.spawn(|| {
            let (mut asked, mut refused) = (0, 0);
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                for server in [&one.url, &two.url] {
                    asked += 1;
                    refused += u32::from(call(server, &old, "GET", "/v1/users/me", &Value::Null).0 != 200);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(asked > 20, "there was load");
            refused
        });
        for _ in 0..3 {
            one.json(&["signing-key", "rotate", &one.client_id, "--environment", "sandbox", "--now"]);
            let new = token();
            assert_eq!(call(&two.url, &new, "GET", "/v1/users/me", &Value::Null).0, 200);
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        uses.join().unwrap()
    });
    assert_eq!((refused, keys().as_array().unwrap().len()), (0, 4));

    let newest = token();
    let kid = keys()[0]["id"].as_str().unwrap().to_owned();
    let me = |server: &str| call(server, &newest, "GET", "/v1/users/me", &Value::Null).0;
    let lingered = lingers([&one.url, &two.url], me, || {
        one.json(&["signing-key", "revoke", &kid]);
    });
    assert!(lingered <= Duration::from_secs(1), "{lingered:?}");
    assert_eq!(call(&two.url, &token(), "GET", "/v1/users/me", &Value::Null).0, 200, "another took its place");
}
