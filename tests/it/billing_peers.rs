//! Billing against a Stripe that is not ours: localstripe, from the Python package index.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use usher::apps::Kind;
use usher::billing::Mode;
use usher::outbox::State;

use crate::harness::{Folder, TestApp, jane, skip};
use crate::idempotency::CREATE;
use crate::program::{Program, call, raw};
use crate::receiver::Receiver;

/// localstripe on a free port.
struct LocalStripe {
    child: Child,
    url: String,
    _folder: Folder,
}

impl LocalStripe {
    fn start() -> Option<LocalStripe> {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/.venv/bin/python");
        if !python.is_file() {
            skip("billing against localstripe", "it is not installed (tests/setup installs it)");
            return None;
        }
        let port = crate::program::free_port();
        let folder = Folder::new();
        let child = Command::new(python)
            .args(["-m", "localstripe", "--from-scratch", "--port", &port.to_string()])
            .env("TMPDIR", &folder.0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stripe = LocalStripe { child, url: format!("http://127.0.0.1:{port}"), _folder: folder };
        patiently(|| std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Some(stripe)
    }

    fn ask(&self, method: &str, path: &str) -> (u16, Value) {
        call(&self.url, "sk_test_123456", method, path, &json!({}))
    }

    fn customers(&self) -> Vec<Value> {
        self.ask("GET", "/v1/customers").1["data"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for LocalStripe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn patiently<T>(look: impl Fn() -> Option<T>) -> T {
    for _ in 0..300 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("this took too long");
}

/// Connects the sandbox; or tells why not.
fn connect(server: &Program, stripe: &LocalStripe, more: &[&str]) -> Result<Value, String> {
    let file = |name: &str, text: &str| {
        let path = server.folder.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (key, secret) = (file("stripe-key", "sk_test_123456\n"), file("stripe-secret", "whsec_stripe"));
    let place = ["--app", &server.client_id, "--environment", "sandbox", "--mode", "test", "--url", &stripe.url];
    let secrets = ["--stripe-key-file", &key, "--webhook-secret-file", &secret];
    let output = server.run(&[&["billing", "connect", "--json"], &place[..], &secrets, more].concat());
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn the_program_keeps_customers_in_step_at_localstripe_and_hears_of_those_deleted_there() {
    let Some(stripe) = LocalStripe::start() else { return };
    let server = Program::start(&[]);
    let account = connect(&server, &stripe, &[]).unwrap();
    let hook = format!(
        "url={}{}&secret=whsec_stripe&events[]=customer.deleted",
        server.url,
        account["webhookPath"].as_str().unwrap()
    );
    let request = format!(
        "POST /_config/webhooks/1 HTTP/1.1\r\nHost: s\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{hook}",
        hook.len()
    );
    let (head, _) = raw(&stripe.url, request.as_bytes());
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    std::thread::sleep(Duration::from_millis(700));

    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let customer = patiently(|| stripe.customers().first().cloned());
    assert_eq!((&customer["name"], &customer["email"]), (&json!("jane doe"), &json!("jane@doe.com")));
    assert_eq!((&customer["phone"], &customer["metadata"]["usher_user_id"]), (&json!("1234567890"), &json!(id)));

    let token = server.json(&["token", "create", "--user", &id])["accessToken"].as_str().unwrap().to_owned();
    let change = json!({"user": {"name": "Janet Roe", "language": "pt-BR", "phone_number": "2025550123"}});
    assert_eq!(server.call_as(&token, "PUT", "/v1/users/me", &change).0, 200);
    let customer = patiently(|| stripe.customers().into_iter().find(|customer| customer["name"] == "Janet Roe"));
    assert_eq!(stripe.customers().len(), 1, "it is the same customer");
    assert_eq!((&customer["preferred_locales"], &customer["phone"]), (&json!(["pt-BR"]), &json!("2025550123")));

    // Deleted there: the next change makes a new one.
    let path = format!("/v1/customers/{}", customer["id"].as_str().unwrap());
    assert_eq!(stripe.ask("DELETE", &path).0, 200);
    patiently(|| {
        let text = raw(&server.url, b"GET /metrics HTTP/1.1\r\nHost: u\r\nConnection: close\r\n\r\n").1;
        text.contains(r#"route="/webhooks/stripe/{account}",status="200""#).then_some(())
    });
    let change = json!({"user": {"name": "Jane Again"}});
    assert_eq!(server.call_as(&token, "PUT", "/v1/users/me", &change).0, 200);
    let anew = patiently(|| stripe.customers().into_iter().find(|customer| customer["name"] == "Jane Again"));
    assert_ne!(anew["id"], customer["id"]);
    let list = server.json(&["billing", "list"]);
    assert_eq!((&list["failed"], list["accounts"].as_array().unwrap().len()), (&json!(0), 1));
    assert_eq!(server.json(&["billing", "failures"]), json!([]));
}

#[test]
fn a_person_is_not_said_to_be_erased_at_another_localstripe_than_the_one_that_has_them() {
    let (Some(first), Some(second)) = (LocalStripe::start(), LocalStripe::start()) else { return };
    let server = Program::start(&[]);
    connect(&server, &first, &[]).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    patiently(|| first.customers().first().cloned());
    patiently(|| (server.json(&["billing", "list"])["waiting"] == 0).then_some(()));
    let refused = connect(&server, &second, &[]).unwrap_err();
    assert!(refused.contains("--same-account") && refused.contains("--forget-customers"), "{refused}");
    connect(&server, &second, &["--same-account"]).unwrap();
    server.json(&["user", "erase", &id]);
    let failed = patiently(|| server.json(&["billing", "failures"]).get(0).cloned());
    assert!(failed["failure"].as_str().unwrap().contains("does not know the customer"), "{failed}");
    assert_eq!(first.customers().len(), 1, "they are still there");
    connect(&server, &first, &[]).unwrap();
    server.json(&["billing", "retry", "--all"]);
    patiently(|| first.customers().is_empty().then_some(()));
}

#[test]
fn an_account_whose_customers_are_forgotten_makes_way_for_another() {
    let (Some(first), Some(second)) = (LocalStripe::start(), LocalStripe::start()) else { return };
    let server = Program::start(&[]);
    connect(&server, &first, &[]).unwrap();
    std::thread::sleep(Duration::from_millis(700));
    server.enrol(&jane());
    patiently(|| first.customers().first().cloned());
    patiently(|| (server.json(&["billing", "list"])["waiting"] == 0).then_some(()));
    connect(&server, &second, &["--forget-customers", "--existing"]).unwrap();
    patiently(|| second.customers().first().cloned());
    assert_eq!(first.customers().len(), 1, "who is there stays");
}

/// A proxy before localstripe that loses the first answer to who makes a customer. By [`Receiver`], for all else passes as it
/// is: wiremock would put each answer together anew.
fn losing_the_first_customer(stripe: &LocalStripe) -> Receiver {
    let (proxy, url) = (Receiver::start(), stripe.url.clone());
    let mut lost = false;
    proxy.answers(move |message| {
        let headers =
            ["authorization", "content-type"].map(|name| format!("{name}: {}\r\n", message.header(name))).concat();
        let request = format!(
            "{} HTTP/1.1\r\nHost: s\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{}",
            message.line,
            message.body.len(),
            message.body
        );
        let (head, body) = raw(&url, request.as_bytes());
        let loses = message.line == "POST /v1/customers" && !std::mem::replace(&mut lost, true);
        if loses { String::new() } else { format!("{head}\r\n\r\n{body}") }
    });
    proxy
}

#[tokio::test]
async fn a_customer_that_localstripe_made_and_nobody_heard_of_is_deleted_with_the_user() {
    let Some(stripe) = LocalStripe::start() else { return };
    let (app, proxy) = (TestApp::new().await, losing_the_first_customer(&stripe));
    app.connect_billing(Kind::Sandbox, Mode::Test, &format!("http://127.0.0.1:{}", proxy.port)).await;
    app.bill();
    let id = app.partner("acme").await.post(CREATE, jane()).await.ok().id().to_owned();
    app.billed(|jobs| jobs[0].failure.is_some()).await;
    assert_eq!(stripe.customers()[0]["metadata"]["usher_user_id"], json!(id), "the person is there");
    app.erased(&id).await;
    app.billed(|jobs| jobs.len() == 2).await;
    for (minutes, done) in [(2, 1), (118, 2)] {
        app.advance(Duration::from_mins(minutes));
        app.app.api().outbox.wake();
        app.billed(|jobs| jobs.iter().filter(|job| job.state == State::Sent).count() == done).await;
        assert_eq!(stripe.customers(), [] as [Value; 0]);
    }
}
