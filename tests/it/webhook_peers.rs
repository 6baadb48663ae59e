//! What the program really sends, in the hands of verifiers that are not ours: the reference libraries of the Standard
//! Webhooks specification for JavaScript and Python.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{jane, john, skip};
use crate::outside::find;
use crate::program::Program;
use crate::receiver::{Message, Receiver};

/// The verifiers, as commands.
fn verifiers() -> Option<[(PathBuf, PathBuf); 2]> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let python = tests.join("peers/.venv/bin/python");
    let node = find("node").filter(|_| tests.join("contract/node_modules/standardwebhooks").is_dir());
    match node {
        Some(node) if python.is_file() => {
            Some([(node, tests.join("contract/verify.mjs")), (python, tests.join("peers/verify.py"))])
        }
        _ => {
            skip("the reference verifiers of webhooks", "they are not installed (tests/setup installs them)");
            None
        }
    }
}

/// What a verifier says of each message.
fn verify((program, script): &(PathBuf, PathBuf), messages: &[Value]) -> Vec<String> {
    let mut child = Command::new(program).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for message in messages {
        writeln!(stdin, "{message}").unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn told(message: &Message) -> Value {
    json!({"headers": message.headers, "body": message.body})
}

fn with(mut message: Value, name: &str, value: &str) -> Value {
    message[name] = value.into();
    message
}

#[test]
fn what_the_program_sends_is_valid_for_the_reference_libraries_and_what_was_tampered_with_is_not() {
    let Some(verifiers) = verifiers() else { return };
    let receiver = Receiver::start();
    let server = Program::start(&["--webhook-network", "127.0.0.1"]);
    let text = |json: &Value, name: &str| json[name].as_str().unwrap().to_owned();
    let made =
        server.json(&["webhook", "create", &receiver.url(), "--app", &server.client_id, "--environment", "sandbox"]);
    let id = text(&made, "id");
    assert!(text(&made, "secret").starts_with("whsec_") && text(&made, "publicKey").starts_with("whpk_"));
    // Until the server knows of it, which another process made.
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(server.enrol(&jane()).0, 200);
    receiver.wait_for(1);
    let rotated = server.json(&["webhook", "rotate", &id, "--overlap", "1h"]);
    assert_eq!(server.enrol(&john()).0, 200);
    let messages = receiver.wait_for(2);
    assert!(messages.iter().all(|message| crate::harness::reveals(&format!("{message:?}")).is_none()));

    let (before, during) = (told(&messages[0]), told(&messages[1]));
    let (old, new) = (text(&made, "secret"), text(&rotated, "secret"));
    let late = {
        // Sent again by somebody who has recorded it.
        let mut late = during.clone();
        let stamp: i64 = late["headers"]["webhook-timestamp"].as_str().unwrap().parse().unwrap();
        late["headers"]["webhook-timestamp"] = (stamp - 301).to_string().into();
        late
    };
    let mut tampered = before.clone();
    tampered["body"] = text(&before, "body").replace("created", "updated").into();
    let cases = [
        (with(before.clone(), "secret", &old), "user.created"),
        (with(during.clone(), "secret", &old), "user.created"),
        (with(during.clone(), "secret", &new), "user.created"),
        (with(before.clone(), "secret", &new), "refused: No matching signature found"),
        (with(tampered.clone(), "secret", &old), "refused: No matching signature found"),
        (with(late, "secret", &new), "refused: Message timestamp too old"),
    ];
    let (messages, expected): (Vec<Value>, Vec<&str>) = cases.into_iter().unzip();
    for verifier in &verifiers {
        assert_eq!(verify(verifier, &messages), expected, "{verifier:?}");
    }
    let public = |json: &Value| text(json, "publicKey");
    let asymmetric = [
        (with(before.clone(), "publicKey", &public(&made)), "user.created"),
        (with(during.clone(), "publicKey", &public(&made)), "user.created"),
        (with(during, "publicKey", &public(&rotated)), "user.created"),
        (with(before, "publicKey", &public(&rotated)), "refused: no matching signature"),
        (with(tampered, "publicKey", &public(&made)), "refused: no matching signature"),
    ];
    let (messages, expected): (Vec<Value>, Vec<&str>) = asymmetric.into_iter().unzip();
    assert_eq!(verify(&verifiers[0], &messages), expected);
}
