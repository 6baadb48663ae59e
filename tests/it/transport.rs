//! What every answer has in common, and how the server treats slow, large, broken and closing connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{But, TestApp, jane, john};
use crate::program::{Program, raw};

#[tokio::test]
async fn every_error_is_json_in_the_dialect_of_its_address() {
    let app = TestApp::new().await;
    let anyone = app.anyone();
    for (method, path, status) in [
        ("GET", "/users/create", 405),
        ("PUT", "/users/create", 405),
        ("DELETE", "/users/update", 405),
        ("BREW", "/users/create", 405),
        ("POST", "/foo", 404),
        ("GET", "/users", 404),
        ("POST", "/users/create/", 404),
        ("GET", "/openapi/partner/2020-01-01.json", 400),
    ] {
        let answer = anyone.send(method, path, "").await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, "application/json; charset=utf-8"),
            "{method} {path}"
        );
        let names: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
        assert_eq!(names, ["message", "code", "errors", "requestId"], "{method} {path}");
    }
    for (method, path, status) in [
        ("GET", "/v1/users/me", 401),
        ("DELETE", "/v1/users/me", 401),
        ("DELETE", "/v1/tenants/me", 405),
        ("PATCH", "/v1/users", 405),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/api/v1", 404),
    ] {
        let answer = anyone.send(method, path, "").await;
        let names: Vec<&String> = answer.body.as_object().unwrap().keys().collect();
        assert_eq!(
            (answer.status, names),
            (
                status,
                ["success", "error", "message", "data"]
                    .iter()
                    .map(std::string::ToString::to_string)
                    .collect::<Vec<_>>()
                    .iter()
                    .collect()
            )
        );
    }
    assert_eq!(anyone.get("/users/create").await.header("allow"), "POST");
    let mut allowed: Vec<String> = anyone
        .send("DELETE", "/v1/tenants/me", "")
        .await
        .header("allow")
        .split(',')
        .map(|m| m.trim().to_owned())
        .collect();
    allowed.sort();
    assert_eq!(allowed, ["GET", "HEAD", "PUT"]);
}

#[tokio::test]
async fn every_answer_has_its_own_request_id() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let mut ids = std::collections::BTreeSet::new();
    for answer in [
        acme.post("/users/create", jane()).await,
        acme.post("/users/create", jane()).await,
        app.anyone().get("/nothing").await,
        app.anyone().get("/livez").await,
        app.anyone().get("/").await,
        app.anyone().send("PUT", "/v1/users/me", "").await,
    ] {
        assert_eq!((answer.header("request-id").len(), answer.header("x-content-type-options")), (36, "nosniff"));
        ids.insert(answer.header("request-id").to_owned());
    }
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn a_body_over_64_kib_is_413_and_one_of_64_is_read() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let sized = |size: usize| {
        let body = jane().to_string();
        format!("{}{}", " ".repeat(size - body.len()), body)
    };
    let large = acme.send("POST", "/users/create", sized(64 * 1024 + 1)).await;
    assert_eq!((large.status, &large.body["code"]), (413, &json!("too_large")));
    acme.send("POST", "/users/create", sized(64 * 1024)).await.ok();
    let envelope =
        app.server().await.send("PUT", "/v1/users/11111111-1111-4111-8111-111111111111", sized(70_000)).await;
    assert_eq!((envelope.status, envelope.error()), (413, "The body is larger than 64 KiB"));
}

#[test]
fn a_body_that_is_too_large_is_told_so_also_to_whom_sends_all_of_it_before_reading() {
    let server = Program::start(&[]);
    let head = |path: &str, more: &str| {
        let (key, app) = (&server.key, &server.client_id);
        format!(
            "POST {path} HTTP/1.1\r\nHost: u\r\nAuthorization: Bearer {key}\r\nX-API-KEY: {key}\r\nX-API-KEY-TYPE: write\r\n\
             X-CLIENT-ID: {app}\r\n{more}\r\n"
        )
    };
    let told = |(head, body): (String, String), limit: &str| {
        assert!(head.starts_with("HTTP/1.1 413") && head.contains("connection: close"), "{head}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let words = answer["error"].as_str().or(answer["message"].as_str()).unwrap().to_owned();
        assert!(words.contains(limit), "{words}");
        words
    };
    let file = vec![b'x'; 24 * 1024 * 1024];
    let length = format!("Content-Length: {}\r\n", file.len());
    let words = told(raw(&server.url, &[head("/v1/imports", &length).as_bytes(), &file].concat()), "16 MiB");
    assert!(words.contains("`usher import`"), "{words}");
    told(raw(&server.url, &[head("/users/create", &length).as_bytes(), &file].concat()), "64 KiB");
    let chunk = [format!("{:x}\r\n", file.len()).as_bytes(), &file, b"\r\n0\r\n\r\n"].concat();
    let chunked = head("/v1/imports", "Transfer-Encoding: chunked\r\n");
    told(raw(&server.url, &[chunked.as_bytes(), &chunk].concat()), "16 MiB");
    // Who asks first has sent nothing yet.
    let asks = head("/v1/imports", &format!("{length}Expect: 100-continue\r\n"));
    told(raw(&server.url, asks.as_bytes()), "16 MiB");
    assert_eq!(server.enrol(&jane()).0, 200);
}

#[tokio::test]
async fn deep_and_doubled_bodies_are_400() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let deep = format!(r#"{{"metadata":{}1{}}}"#, "[".repeat(40), "]".repeat(40));
    for (body, code) in [
        (deep.as_str(), "too_deep"),
        (r#"{"metadata":{"a":1,"a":2}}"#, "duplicate_key"),
        ("{\"email\":\"\\ud800\"}", "malformed_json"),
    ] {
        let answer = acme.send("POST", "/users/create", body.to_owned()).await;
        assert_eq!((answer.status, &answer.body["code"]), (400, &json!(code)));
    }
}

#[tokio::test]
async fn browsers_may_call_the_directory_api_from_anywhere_without_cookies() {
    let app = TestApp::new().await;
    let browser = app.anyone().with("Origin", "https://app.example.com");
    let preflight = browser
        .with("Access-Control-Request-Method", "PUT")
        .with("Access-Control-Request-Headers", "authentication,x-api-key,content-type");
    for path in ["/v1/users/me", "/api/v1/users/me"] {
        let answer = preflight.send("OPTIONS", path, "").await.ok();
        assert_eq!(
            (answer.header("access-control-allow-origin"), answer.header("access-control-allow-credentials")),
            ("*", "")
        );
        assert_eq!(answer.header("access-control-allow-methods"), "GET,POST,PUT,PATCH,DELETE");
        for header in
            ["authorization", "authentication", "content-type", "accept", "x-api-key", "x-api-key-type", "x-client-id"]
        {
            assert!(answer.header("access-control-allow-headers").contains(header), "{header}");
        }
    }
    // Errors too, or the page could not read why.
    let refused = browser.put("/v1/users/me", json!({"user": {}})).await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, "*"));
    let partner = preflight.send("OPTIONS", "/users/create", "").await;
    assert_eq!(
        (partner.status, partner.header("access-control-allow-origin")),
        (405, ""),
        "partner keys have no place in a browser"
    );
}

#[tokio::test]
async fn health_and_counters_are_public_and_impersonal() {
    let app = TestApp::new().await;
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    app.anyone().get("/users/jane@doe.com").await;
    assert_eq!(app.anyone().get("/livez").await.ok().body, json!({"status": "alive"}));
    assert_eq!(app.anyone().get("/readyz").await.ok().body, json!({"status": "ready"}));
    let metrics = app.anyone().get("/metrics").await.ok();
    assert!(
        metrics.text.contains(r#"usher_http_requests_total{method="POST",route="/users/create",status="200"} 1"#),
        "{}",
        metrics.text
    );
    assert!(!metrics.text.contains("jane"));
    app.app.api().closing.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(app.anyone().get("/readyz").await.status, 503);
    app.anyone().get("/livez").await.ok();
}

/// The tests below wait for the server's own time limits, so they share one server and run at once.
#[test]
fn slow_clients_are_let_go_and_others_are_served_meanwhile() {
    let server = Program::start(&[]);
    let (silent, half, trickle, deaf) = std::thread::scope(|scope| {
        let connect = || {
            let socket = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
            socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
            socket
        };
        let closed_after = move |mut socket: TcpStream| {
            let start = Instant::now();
            let mut answer = String::new();
            let _ = socket.read_to_string(&mut answer);
            (start.elapsed(), answer)
        };
        let silent = scope.spawn(move || closed_after(connect()));
        let half = scope.spawn(move || {
            let mut socket = connect();
            socket.write_all(b"POST /users/create HTTP/1.1\r\nHost: us").unwrap();
            closed_after(socket)
        });
        let key = &server.key;
        let trickle = scope.spawn(move || {
            let mut socket = connect();
            let head = format!(
                "POST /users/create HTTP/1.1\r\nHost: u\r\nAuthorization: Bearer {key}\r\nContent-Length: 100\r\n\r\n{{"
            );
            socket.write_all(head.as_bytes()).unwrap();
            closed_after(socket)
        });
        let deaf = scope.spawn(move || {
            let mut socket = connect();
            socket.set_write_timeout(Some(Duration::from_mins(1))).unwrap();
            let requests = "GET /openapi/directory.json HTTP/1.1\r\nHost: u\r\n\r\n".repeat(1000);
            let start = Instant::now();
            // Never reads, so at some time nothing more can be written either.
            let error = (0..1000).find_map(|_| socket.write_all(requests.as_bytes()).err()).expect("it is let go");
            (start.elapsed(), error.kind())
        });
        let start = Instant::now();
        assert_eq!(server.enrol(&jane()).0, 200);
        assert!(start.elapsed() < Duration::from_secs(5));
        (silent.join().unwrap(), half.join().unwrap(), trickle.join().unwrap(), deaf.join().unwrap())
    });
    for (after, _) in [&silent, &half] {
        assert!((8..15).contains(&after.as_secs()), "closed after {after:?}");
    }
    assert!((28..40).contains(&trickle.0.as_secs()), "answered after {:?}", trickle.0);
    assert!(trickle.1.starts_with("HTTP/1.1 408") && trickle.1.contains("body_timeout"), "{}", trickle.1);
    assert!(deaf.0 < Duration::from_secs(45), "still connected after {:?}: {}", deaf.0, deaf.1);
}

#[test]
fn a_stopping_server_finishes_what_it_has_begun_and_exits_0() {
    let server = Program::start(&[]);
    let address = server.url.trim_start_matches("http://").to_owned();
    let body = jane().to_string();
    let head = format!(
        "POST /users/create HTTP/1.1\r\nHost: u\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n",
        server.key,
        body.len()
    );
    let mut begun = TcpStream::connect(&address).unwrap();
    begun.write_all(head.as_bytes()).unwrap();
    let mut idle = TcpStream::connect(&address).unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: u\r\n\r\n").unwrap();
    idle.read_exact(&mut [0]).unwrap();
    server.signal("TERM");
    let ask = |head: &str| {
        let mut line = TcpStream::connect(&address).unwrap();
        line.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        line.read_to_string(&mut answer).unwrap();
        answer
    };
    let ready = "GET /readyz HTTP/1.1\r\nHost: u\r\nConnection: close\r\n\r\n";
    let told = Instant::now();
    while !ask(ready).starts_with("HTTP/1.1 503") {
        assert!(told.elapsed() < Duration::from_secs(5), "it does not know that it is to stop");
    }
    let answer = ask(&head);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    begun.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    begun.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (code, _, folder) = server.wait();
    assert_eq!(code, Some(0));
    let again = Program::start_in(folder, &[]);
    assert_eq!(again.json(&["user", "show", "jane@doe.com"])["profile"]["given_name"], "jane");
}

#[test]
fn a_body_that_never_ends_does_not_keep_the_server_from_stopping() {
    let server = Program::start(&[]);
    let mut begun = TcpStream::connect(server.url.trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /users/create HTTP/1.1\r\nHost: u\r\nAuthorization: Bearer {}\r\nContent-Length: 1000\r\n\r\n{{",
        server.key
    );
    begun.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    let (code, _, _) = server.stop();
    assert_eq!(code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(11), "stopped after {:?}", start.elapsed());
}

#[test]
fn a_client_that_hangs_up_leaves_a_whole_operation_or_none() {
    let server = Program::start(&[]);
    let address = server.url.trim_start_matches("http://").to_owned();
    for i in 0..100_u64 {
        let body = john()
            .but("email", json!(format!("j{i}@doe.com")))
            .but("phonenumber", json!(format!("2025552{i:03}")))
            .to_string();
        let mut socket = TcpStream::connect(&address).unwrap();
        let head = format!(
            "POST /users/create HTTP/1.1\r\nHost: u\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            server.key,
            body.len()
        );
        socket.write_all(head.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_micros(i * 70));
        drop(socket);
    }
    std::thread::sleep(Duration::from_millis(500));
    let count = |what: &[&str]| server.json(&[what, &["--limit", "1000"]].concat()).as_array().unwrap().len();
    let (users, mails) = (count(&["user", "list"]), count(&["mail", "list"]));
    assert!(users > 0 && users == mails, "{users} users, {mails} mails");
    assert_eq!(server.enrol(&jane()).0, 200);
}

#[test]
fn bytes_that_are_no_text_are_no_credential() {
    let server = Program::start(&[]);
    for (line, status) in [("POST /users/create", 403), ("PUT /v1/users/me", 401)] {
        let start = format!("{line} HTTP/1.1\r\nHost: u\r\nConnection: close\r\nContent-Length: 2\r\n");
        let request = [start.as_bytes(), b"Authorization: Bearer \xff\xfe\xe9\r\n\r\n{}"].concat();
        let (head, body) = raw(&server.url, &request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head} {body}");
    }
}

#[test]
fn what_is_not_http_is_told_so() {
    let server = Program::start(&[]);
    let (head, _) = raw(&server.url, b"nonsense\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let header = format!("GET /livez HTTP/1.1\r\nHost: u\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    assert!(raw(&server.url, header.as_bytes()).0.starts_with("HTTP/1.1 431"));
    let both =
        b"POST /users/create HTTP/1.1\r\nHost: u\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(!raw(&server.url, both).0.starts_with("HTTP/1.1 2"));
    assert_eq!(server.call("GET", "/livez", &Value::Null).0, 200);
}
