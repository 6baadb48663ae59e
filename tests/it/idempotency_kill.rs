//! `Idempotency-Key` with the real program: a kill between the effect and the answer.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{But, jane, john};
use crate::idempotency::{CREATE, KEY};
use crate::program::Program;

/// Status, whether it is the answer of an earlier time, and body.
pub type Reply = (u16, bool, String);

/// Sends a create with an idempotency key to the server of `url`; `None` if the answer did not arrive whole.
pub fn create(url: &str, api_key: &str, key: &str, body: &Value) -> Option<Reply> {
    let mut socket = send_create(url, api_key, key, body).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    let (head, text) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    serde_json::from_str::<Value>(text).ok()?;
    Some((status, head.to_lowercase().contains("idempotent-replayed: true"), text.to_owned()))
}

fn send_create(url: &str, api_key: &str, key: &str, body: &Value) -> std::io::Result<TcpStream> {
    let mut socket = TcpStream::connect(url.trim_start_matches("http://"))?;
    socket.set_read_timeout(Some(Duration::from_secs(45)))?;
    let request = format!(
        "POST {CREATE} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nAuthorization: Bearer {api_key}\r\n\
         {KEY}: \"{key}\"\r\nContent-Length: {}\r\n\r\n{body}",
        body.to_string().len()
    );
    socket.write_all(request.as_bytes())?;
    Ok(socket)
}

#[test]
fn who_lost_the_answer_to_a_kill_gets_it_from_the_next_start() {
    let server = Program::start(&[]);
    let key = server.key.clone();
    let (_, _, answered) = create(&server.url, &key, "answered", &john()).unwrap();
    let never_read = send_create(&server.url, &key, "lost", &jane()).unwrap();
    let users = || server.json(&["user", "list"]).as_array().unwrap().clone();
    for _ in 0..200 {
        if users().len() == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let made = users().into_iter().find(|user| user["email"] == "jane@doe.com").expect("the user was made");
    let folder = server.kill();
    drop(never_read);
    let server = Program::start_in(folder, &[]);
    assert_eq!(create(&server.url, &key, "answered", &john()), Some((200, true, answered)));
    let (status, replayed, text) = create(&server.url, &key, "lost", &jane()).unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, replayed, &answer["identifier"]), (200, true, &made["id"]));
    let mails = server.json(&["mail", "list"]);
    assert_eq!((server.json(&["user", "list"]).as_array().unwrap().len(), mails.as_array().unwrap().len()), (2, 2));
}

#[test]
fn after_a_kill_in_the_midst_every_request_can_be_sent_again_and_happens_once() {
    let mut folder = None;
    let mut key = String::new();
    let mut sent: Vec<(String, Value, Option<Reply>)> = Vec::new();
    for round in 0..3 {
        let server = folder.take().map_or_else(|| Program::start(&[]), |folder| Program::start_in(folder, &[]));
        if round == 0 {
            key.clone_from(&server.key);
        }
        let stop = AtomicBool::new(false);
        let done = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..16)
                .map(|client| {
                    let (server, key, stop) = (&server, &key, &stop);
                    scope.spawn(move || {
                        let mut done = Vec::new();
                        for i in 0.. {
                            let name = format!("r{round}c{client:02}n{i}");
                            let body = jane()
                                .but("email", json!(format!("{name}@doe.com")))
                                .but("phonenumber", json!(format!("202{round}{client:02}{i:04}")));
                            let answer = create(&server.url, key, &name, &body);
                            let lost = answer.is_none();
                            done.push((name, body, answer));
                            if lost || stop.load(Ordering::SeqCst) {
                                break;
                            }
                        }
                        done
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(300));
            server.signal("KILL");
            stop.store(true, Ordering::SeqCst);
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(done.iter().any(|(_, _, answer)| answer.is_none()), "the kill came in the midst");
        sent.extend(done);
        folder = Some(server.kill());
    }
    let server = Program::start_in(folder.unwrap(), &[]);
    for (name, body, first) in &sent {
        let (status, replayed, text) = create(&server.url, &key, name, body).unwrap();
        assert_eq!(status, 200, "{name}: {text}");
        if let Some((status, _, first)) = first {
            assert_eq!((*status, replayed, &text), (200, true, first), "{name}");
        }
    }
    let all = |command: &[&str], name: &str| -> BTreeSet<String> {
        let list = server.json(&[command, &["--limit", "10000"]].concat());
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), sent.len(), "{command:?}");
        list.iter().map(|row| row[name].as_str().unwrap().to_owned()).collect()
    };
    let users = all(&["user", "list"], "email");
    assert_eq!(users, all(&["mail", "list"], "to"));
    assert_eq!(users.len(), sent.len());
}
