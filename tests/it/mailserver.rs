//! Both ends of live mail: an Usher that sends it, and aiosmtpd (`tests/smtp/server.py`), which takes it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usher::mail::sender::Sender;
use usher::mail::transport::Smtp;
use usher::outbox::worker::Work;
use usher::secret::Secret;

use crate::harness::{But, Folder, TestApp, jane, skip};
use crate::program::{Program, raw};

impl TestApp {
    /// Sends mail by a server that is not there, so a try fails at once and is noted.
    pub fn mail_to_nobody(&self, timeout: Duration) -> impl Work {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let url = Secret::new(format!("smtp://{nobody}?tls=none"));
        let public_url = "https://users.example.com".parse().unwrap();
        let smtp = Smtp::new(&url, "no-reply@example.com", &public_url, timeout).unwrap();
        let api = self.app.api();
        Sender::new(Arc::new(smtp), |outcome| api.metrics.note_mail(outcome))
    }
}

/// A server that sends live mail, with a live key.
pub struct Usher {
    pub program: Program,
    pub key: String,
}

impl Usher {
    pub fn start(smtp_url: &str) -> Usher {
        Usher::start_with(&[], smtp_url)
    }

    pub fn start_with(variables: &[(&str, &str)], smtp_url: &str) -> Usher {
        let program = sending(variables, smtp_url, Program::start_set);
        let app = &program.client_id;
        program.json(&["app", "update", app, "--name", "Acme & <i>Sons</i>"]);
        let key = program.json(&["key", "create", "--app", app, "--environment", "live", "--access", "write"]);
        Usher { key: key["key"].as_str().unwrap().to_owned(), program }
    }

    pub fn call(&self, body: &Value) -> (u16, Value) {
        self.program.call_as(&self.key, "POST", "/users/create", body)
    }

    pub fn enrol(&self, address: &str, name: &str) {
        // Every person has a phone of their own.
        let digits =
            address.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 10_000_000;
        let body = jane().but("email", json!(address)).but("firstname", json!(name));
        let (status, answer) = self.call(&body.but("phonenumber", json!(format!("202{digits:07}"))));
        assert_eq!(status, 200, "{answer}");
    }

    /// Opens a link (GET) or presses its button (POST), as whatever stands before this server passes it on.
    pub fn follow(&self, method: &str, link: &str) -> (String, String) {
        let path = link.strip_prefix("https://users.example.com").unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        raw(&self.program.url, request.as_bytes())
    }

    pub fn mail(&self, address: &str) -> Value {
        let mails = self.program.json(&["mail", "list"]);
        mails.as_array().unwrap().iter().find(|mail| mail["to"] == address).expect("there is a mail").clone()
    }

    /// The mail once it is done with.
    pub fn settled(&self, address: &str) -> Value {
        self.wait(address, |mail| mail["state"] != "queued")
    }

    /// The mail once a try has failed.
    pub fn tried(&self, address: &str) -> Value {
        self.wait(address, |mail| !mail["failure"].is_null())
    }

    pub fn wait(&self, address: &str, until: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let mail = self.mail(address);
            if until(&mail) {
                return mail;
            }
            assert!(Instant::now() < end, "this took too long: {mail}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub fn start_in(folder: Folder, variables: &[(&str, &str)], smtp_url: &str) -> Program {
    sending(variables, smtp_url, |variables, extra| Program::start_with(folder, variables, extra))
}

fn sending(
    variables: &[(&str, &str)],
    smtp_url: &str,
    start: impl FnOnce(&[(&str, &str)], &[&str]) -> Program,
) -> Program {
    let public = ["--public-url", "https://users.example.com"];
    let smtp = ["--smtp-url", smtp_url];
    let variables = [&[("USHER_SMTP_TIMEOUT", "2s")], variables].concat();
    start(&variables, &[public.as_slice(), &smtp].concat())
}

/// An SMTP server, with what its clients do as events.
pub struct MailServer {
    child: Child,
    port: u64,
    events: Receiver<Value>,
}

impl MailServer {
    pub fn start(options: &[&str]) -> Option<MailServer> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/smtp");
        let python = folder.join(".venv/bin/python");
        if !python.is_file() {
            skip("live mail", "there is no aiosmtpd (tests/setup installs it)");
            return None;
        }
        let mut child =
            Command::new(python).arg(folder.join("server.py")).args(options).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (sender, events) = channel();
        std::thread::spawn(move || {
            lines.map(|line| serde_json::from_str(&line).unwrap()).try_for_each(|event: Value| sender.send(event))
        });
        let port =
            events.recv_timeout(Duration::from_secs(30)).expect("the mail server starts")["port"].as_u64().unwrap();
        Some(MailServer { child, port, events })
    }

    /// `login` is `user:password@` or nothing.
    pub fn url(&self, login: &str) -> String {
        format!("smtp://{login}127.0.0.1:{}", self.port)
    }

    pub fn next(&self, within: Duration) -> Option<Value> {
        match self.events.recv_timeout(within) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the mail server has ended"),
        }
    }

    pub fn next_message(&self, within: Duration) -> Option<Value> {
        std::iter::from_fn(|| self.next(within)).find(|event| event["event"] == "message")
    }

    pub fn message(&self) -> Value {
        self.next_message(Duration::from_secs(15)).expect("a message arrives")
    }

    /// The next event, which must be of this kind.
    pub fn event(&self, kind: &str) -> Value {
        let event = self.next(Duration::from_secs(15)).expect("something happens");
        assert_eq!(event["event"], kind, "{event}");
        event
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A certificate for this machine that nobody has signed, with its key.
pub struct Certificate {
    file: PathBuf,
    _folder: Folder,
}

impl Certificate {
    pub fn make() -> Option<Certificate> {
        let folder = Folder::new();
        let file = folder.0.join("certificate.pem");
        let done = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=mail.test"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "certificate.pem"])
            .current_dir(&folder.0)
            .output();
        let Ok(done) = done else {
            skip("STARTTLS", "there is no openssl (tests/setup installs it)");
            return None;
        };
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let key = std::fs::read_to_string(folder.0.join("key.pem")).unwrap();
        let certificate = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, key + &certificate).unwrap();
        Some(Certificate { file, _folder: folder })
    }

    pub fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }
}

pub fn id(mail: &Value) -> &str {
    mail["id"].as_str().unwrap()
}

pub fn failure(mail: &Value) -> &str {
    mail["failure"].as_str().unwrap()
}

pub fn html(message: &Value) -> &str {
    message["html"].as_str().unwrap()
}

/// The one header of that name.
#[track_caller]
pub fn header(message: &Value, name: &str) -> String {
    let headers = message["headers"].as_array().unwrap();
    let values: Vec<&Value> = headers.iter().filter(|header| header[0] == name).map(|header| &header[1]).collect();
    assert_eq!(values.len(), 1, "{name}: {headers:?}");
    values[0].as_str().unwrap().to_owned()
}

/// The link in the text part.
#[track_caller]
pub fn link(message: &Value) -> String {
    let text = message["text"].as_str().unwrap();
    let links: Vec<&str> = text.split_whitespace().filter(|word| word.contains("://")).collect();
    assert!(matches!(links[..], [link] if link.starts_with("https://users.example.com/links/")), "{text}");
    links[0].to_owned()
}
