//! Live mail through an SMTP server that is not ours: aiosmtpd, by `tests/smtp/server.py`. `tests/setup` installs it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{But, Folder, jane, skip};
use crate::program::{Program, raw};

/// Longer than the outbox's worker sleeps, so what it does not send within this, it does not send.
const A_WHILE: Duration = Duration::from_millis(2500);

#[test]
fn a_live_users_mail_arrives_once_and_a_sandbox_users_never_leaves() {
    let Some(server) = MailServer::start(&[]) else { return };
    let usher = Usher::start(&server.url(""));
    assert_eq!(usher.program.enrol(&jane().but("email", json!("sandbox@doe.com"))).0, 200);
    usher.enrol("jane@doe.com", "Jane");

    let mail = usher.settled("jane@doe.com");
    assert_eq!((&mail["state"], &mail["attempts"], &mail["failure"]), (&json!("sent"), &json!(1), &json!(null)));
    let message = server.message();
    assert_eq!(message["recipients"], json!(["jane@doe.com"]));
    assert_eq!(message["sender"], "no-reply@users.example.com");
    assert_eq!(header(&message, "To"), "jane@doe.com");
    assert_eq!(header(&message, "Message-ID"), format!("<{}@users.example.com>", id(&mail)));
    assert_eq!(header(&message, "Subject"), "Welcome to Acme & <i>Sons</i>");
    assert_eq!(
        (&message["type"], &message["parts"]),
        (&json!("multipart/alternative"), &json!(["text/plain", "text/html"]))
    );
    let link = link(&message);
    assert!(message["text"].as_str().unwrap().starts_with("Hello Jane,"));
    assert!(html(&message).contains("Hello Jane,"));
    assert_eq!(message["hrefs"], json!([link]));

    // Through whatever stands between that address and us, the link leads to its page.
    let path = link.strip_prefix("https://users.example.com").unwrap();
    let (head, page) =
        raw(&usher.program.url, format!("GET {path} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\n\r\n").as_bytes());
    assert!(head.starts_with("HTTP/1.1 200") && page.contains("Sign in"), "{head}");

    // Once it is sent, the outbox holds the link no longer.
    assert_eq!(usher.program.json(&["mail", "show", id(&mail)])["links"], json!([]));
    let sandbox = usher.mail("sandbox@doe.com");
    assert_eq!((&sandbox["state"], &sandbox["attempts"]), (&json!("captured"), &json!(0)));
    assert_eq!(server.next_message(A_WHILE), None);
}

#[test]
fn what_a_person_is_called_does_no_harm_to_their_mail() {
    let Some(server) = MailServer::start(&[]) else { return };
    let usher = Usher::start(&server.url(""));
    let mail_for = |address: &str, name: &str| {
        usher.enrol(address, name);
        server.message()
    };
    let plain = mail_for("plain@doe.com", "Jane");
    assert!(html(&plain).contains("<p>welcome to Acme &amp; &lt;i&gt;Sons&lt;"), "{}", html(&plain));

    let and = mail_for("and@doe.com", "Jane & \"Joe\" O'Neil");
    assert!(and["text"].as_str().unwrap().starts_with("Hello Jane & \"Joe\" O'Neil,"));
    assert!(html(&and).contains("Hello Jane &amp; &quot;Joe&quot; O&#x27;Neil,"), "{}", html(&and));

    let tags = mail_for("tags@doe.com", "<b>Jane</b>");
    assert!(!html(&tags).contains("<b>"), "{}", html(&tags));
    // A name that could pass for a link would make us the sender of whatever a partner likes.
    let link = mail_for("link@doe.com", "win at evil.example");
    for part in ["text", "html", "raw"] {
        assert!(!link[part].as_str().unwrap().contains("evil.example"), "{part}");
    }

    let shape = |message: &Value| {
        let headers = message["headers"].as_array().unwrap().clone();
        let own = ["To", "Message-ID", "Date", "Content-Type"];
        let same = |header: Value| if own.contains(&header[0].as_str().unwrap()) { header[0].clone() } else { header };
        headers.into_iter().map(same).collect::<Vec<_>>()
    };
    for (address, name) in [
        ("encoded@doe.com", "=?utf-8?q?x=0d=0aBcc:_x?="),
        ("rtl@doe.com", "\u{5d9}\u{5e8}\u{5d5}\u{5e9}\u{5dc}\u{5d9}\u{5dd}"),
        ("emoji@doe.com", "😀"),
        ("dot@doe.com", "."),
        ("template@doe.com", "{{ link }}"),
    ] {
        let odd = mail_for(address, name);
        assert_eq!(odd["recipients"], json!([address]));
        assert_eq!(shape(&odd), shape(&plain), "{name}");
        assert!(odd["raw"].as_str().unwrap().is_ascii(), "{name}");
    }
}

#[test]
fn a_name_with_a_line_break_is_refused_and_no_mail_goes_out() {
    let Some(server) = MailServer::start(&[]) else { return };
    let usher = Usher::start(&server.url(""));
    for name in ["Jane\r\nBcc: all@doe.com", "Jane\nX", "Jane\rX", "Jane\u{2028}X", "Jane\u{85}X"] {
        let (status, body) = usher.call(&jane().but("firstname", json!(name)));
        assert_eq!((status, &body["errors"][0]["field"]), (400, &json!("firstname")), "{name:?}");
    }
    for address in
        ["jane@doe.com\r\nRCPT TO:<all@doe.com>", "jane@doe.com>\r\nDATA", "jane doe@doe.com", "<jane@doe.com>"]
    {
        let (status, body) = usher.call(&jane().but("email", json!(address)));
        assert_eq!((status, body["message"].as_str()), (400, Some("Invalid email address")), "{address:?}");
    }
    assert_eq!(usher.program.json(&["mail", "list"]), json!([]));
    assert_eq!(server.next(A_WHILE), None);
}

#[test]
fn a_refusal_ends_it_and_a_delay_does_not() {
    let Some(server) = MailServer::start(&[]) else { return };
    let usher = Usher::start(&server.url(""));
    for name in ["refused", "busy", "later", "kept"] {
        usher.enrol(&format!("{name}@doe.com"), "Jane");
    }
    let refused = usher.settled("refused@doe.com");
    assert_eq!((&refused["state"], &refused["attempts"]), (&json!("failed"), &json!(1)));
    assert!(failure(&refused).contains("No mailbox of that name here"), "{refused}");

    let busy = usher.tried("busy@doe.com");
    assert_eq!((&busy["state"], &busy["attempts"]), (&json!("queued"), &json!(1)));
    assert!(failure(&busy).contains("Come back in a while"), "{busy}");

    // An operator who has mended what was wrong can have it tried again; here nothing was.
    usher.program.json(&["mail", "retry", id(&refused)]);
    let again = usher.wait("refused@doe.com", |mail| mail["state"] == "failed" && mail["attempts"] == 1);
    assert_eq!(again["failure"], refused["failure"]);
    let busy_id = id(&busy).to_owned();
    assert!(!usher.program.run(&["mail", "retry", &busy_id]).status.success(), "only a failed mail can be tried again");

    // One that must wait keeps nobody else waiting.
    assert_eq!(usher.settled("kept@doe.com")["state"], "sent");

    // The second try of a mail is the same message, so that a mailbox that got both can tell.
    let sent = usher.settled("later@doe.com");
    assert_eq!((&sent["state"], &sent["attempts"], &sent["failure"]), (&json!("sent"), &json!(2), &json!(null)));
    let mut tries = std::iter::from_fn(|| server.next_message(A_WHILE))
        .filter(|message| message["recipients"] == json!(["later@doe.com"]))
        .map(|message| (header(&message, "Message-ID"), message["text"].clone()));
    let first = tries.next().unwrap();
    assert_eq!(tries.next(), Some(first.clone()));
    assert!(first.0.contains(id(&sent)));
}

#[test]
fn a_server_that_never_says_a_word_delays_nobody_who_enrols() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let usher = Usher::start(&format!("smtp://{}", mute.local_addr().unwrap()));
    for address in ["jane@doe.com", "john@doe.com", "jim@doe.com"] {
        let start = Instant::now();
        usher.enrol(address, "Jane");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
    for address in ["jane@doe.com", "john@doe.com", "jim@doe.com"] {
        timed_out(&usher.tried(address));
    }
}

#[test]
fn a_server_that_hangs_over_one_mail_gets_the_next_one() {
    let Some(server) = MailServer::start(&[]) else { return };
    let usher = Usher::start(&server.url(""));
    usher.enrol("hang@doe.com", "Jane");
    assert_eq!(server.message()["recipients"], json!(["hang@doe.com"]));
    usher.enrol("john@doe.com", "John");
    assert_eq!(usher.settled("john@doe.com")["state"], "sent");
    timed_out(&usher.tried("hang@doe.com"));
}

#[track_caller]
fn timed_out(mail: &Value) {
    assert_eq!((&mail["state"], &mail["attempts"]), (&json!("queued"), &json!(1)));
    let words = failure(mail).to_lowercase();
    assert!(["timed out", "timeout", "time-out", "did not answer"].iter().any(|text| words.contains(text)), "{words}");
}

#[test]
fn a_server_that_is_away_gets_the_mail_when_it_is_back() {
    let Some(server) = MailServer::start(&[]) else { return };
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let usher = Usher::start(&format!("smtp://{nobody}"));
    usher.enrol("jane@doe.com", "Jane");
    let mail = usher.tried("jane@doe.com");
    assert_eq!(mail["state"], "queued");
    assert!(failure(&mail).contains("refused"), "{mail}");

    // Moving to another mail server is a restart; what waited, waits no longer than it would have.
    let key = usher.key.clone();
    let (_, log, folder) = usher.program.stop();
    assert!(!log.contains("jane"), "{log}");
    let usher = Usher { program: start_in(folder, &[], &server.url("")), key };
    assert_eq!(usher.settled("jane@doe.com")["state"], "sent");
    assert_eq!(header(&server.message(), "Message-ID"), format!("<{}@users.example.com>", id(&mail)));
}

#[test]
fn usher_signs_in_where_the_server_asks_for_it() {
    let Some(server) = MailServer::start(&["--login", "usher:p@ss:word/1"]) else { return };
    let usher = Usher::start(&server.url("usher:p%40ss%3Aword%2F1@"));
    usher.enrol("jane@doe.com", "Jane");
    assert_eq!(usher.settled("jane@doe.com")["state"], "sent");
    let login = server.event("login");
    assert_eq!((&login["mechanism"], &login["given"]), (&json!("PLAIN"), &json!("usher:p@ss:word/1")));
    assert_eq!(server.event("mail")["authenticated"], true);
    assert_eq!(server.message()["recipients"], json!(["jane@doe.com"]));
}

#[test]
fn a_wrong_password_costs_nobody_their_mail() {
    let Some(server) = MailServer::start(&["--login", "usher:right"]) else { return };
    let usher = Usher::start(&server.url("usher:wrong@"));
    usher.enrol("jane@doe.com", "Jane");
    let mail = usher.tried("jane@doe.com");
    assert!(failure(&mail).contains("535"), "{mail}");
    assert!(!failure(&mail).contains("wrong"), "the password is in the failure: {mail}");
    // It is the operator's mistake, not the recipient's, and there is nothing wrong with the message.
    assert_eq!(mail["state"], "queued", "{mail}");
    assert_eq!(server.next_message(Duration::ZERO), None);
}

#[test]
fn starttls_comes_before_everything_that_matters() {
    let Some(certificate) = Certificate::make() else { return };
    let Some(server) = MailServer::start(&["--login", "usher:secret", "--certificate", certificate.path()]) else {
        return;
    };
    let url = server.url("usher:secret@") + "?tls=starttls";

    // Nobody has vouched for this certificate.
    let usher = Usher::start(&url);
    usher.enrol("jane@doe.com", "Jane");
    let mail = usher.tried("jane@doe.com");
    assert_eq!(mail["state"], "queued");
    assert!(failure(&mail).to_lowercase().contains("certificate"), "{mail}");
    assert_eq!(server.next(Duration::ZERO), None);

    let key = usher.key.clone();
    let (_, _, folder) = usher.program.stop();
    let usher = Usher { program: start_in(folder, &[("SSL_CERT_FILE", certificate.path())], &url), key };
    usher.enrol("john@doe.com", "John");
    assert_eq!(usher.settled("john@doe.com")["state"], "sent");
    let login = server.event("login");
    assert_eq!((&login["encrypted"], &login["given"]), (&json!(true), &json!("usher:secret")));
    let mail = server.event("mail");
    assert_eq!((&mail["encrypted"], &mail["authenticated"]), (&json!(true), &json!(true)));
    assert_eq!(server.message()["recipients"], json!(["john@doe.com"]));
}

#[test]
fn a_server_without_starttls_gets_nothing_when_starttls_is_asked_for() {
    let Some(server) = MailServer::start(&["--login", "usher:secret"]) else { return };
    let usher = Usher::start(&(server.url("usher:secret@") + "?tls=starttls"));
    usher.enrol("jane@doe.com", "Jane");
    let mail = usher.tried("jane@doe.com");
    assert_eq!(mail["state"], "queued");
    assert!(failure(&mail).contains("STARTTLS"), "{mail}");
    assert_eq!(server.next(A_WHILE), None, "neither a password nor a mail");
}

/// A server that sends live mail, with a live key.
struct Usher {
    program: Program,
    key: String,
}

impl Usher {
    fn start(smtp_url: &str) -> Usher {
        let program = start_in(Folder::new(), &[], smtp_url);
        let app = &program.client_id;
        program.json(&["app", "update", app, "--name", "Acme & <i>Sons</i>"]);
        let key = program.json(&["key", "create", "--app", app, "--environment", "live", "--access", "write"]);
        Usher { key: key["key"].as_str().unwrap().to_owned(), program }
    }

    fn call(&self, body: &Value) -> (u16, Value) {
        self.program.call_as(&self.key, "POST", "/users/create", body)
    }

    fn enrol(&self, address: &str, name: &str) {
        // Every person has a phone of their own.
        let digits =
            address.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 10_000_000;
        let body = jane().but("email", json!(address)).but("firstname", json!(name));
        let (status, answer) = self.call(&body.but("phonenumber", json!(format!("202{digits:07}"))));
        assert_eq!(status, 200, "{answer}");
    }

    fn mail(&self, address: &str) -> Value {
        let mails = self.program.json(&["mail", "list"]);
        mails.as_array().unwrap().iter().find(|mail| mail["to"] == address).expect("there is a mail").clone()
    }

    /// The mail once it is done with.
    fn settled(&self, address: &str) -> Value {
        self.wait(address, |mail| mail["state"] != "queued")
    }

    /// The mail once a try has failed.
    fn tried(&self, address: &str) -> Value {
        self.wait(address, |mail| !mail["failure"].is_null())
    }

    fn wait(&self, address: &str, until: impl Fn(&Value) -> bool) -> Value {
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

fn start_in(folder: Folder, variables: &[(&str, &str)], smtp_url: &str) -> Program {
    let public = ["--public-url", "https://users.example.com"];
    let smtp = ["--smtp-url", smtp_url, "--smtp-timeout", "2s"];
    Program::start_with(folder, variables, &[public.as_slice(), &smtp].concat())
}

/// An SMTP server, with what its clients do as events.
struct MailServer {
    child: Child,
    port: u64,
    events: Receiver<Value>,
}

impl MailServer {
    fn start(options: &[&str]) -> Option<MailServer> {
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
    fn url(&self, login: &str) -> String {
        format!("smtp://{login}127.0.0.1:{}", self.port)
    }

    fn next(&self, within: Duration) -> Option<Value> {
        match self.events.recv_timeout(within) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => panic!("the mail server has ended"),
        }
    }

    fn next_message(&self, within: Duration) -> Option<Value> {
        std::iter::from_fn(|| self.next(within)).find(|event| event["event"] == "message")
    }

    fn message(&self) -> Value {
        self.next_message(Duration::from_secs(15)).expect("a message arrives")
    }

    /// The next event, which must be of this kind.
    fn event(&self, kind: &str) -> Value {
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
struct Certificate {
    file: PathBuf,
    _folder: Folder,
}

impl Certificate {
    fn make() -> Option<Certificate> {
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

    fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }
}

fn id(mail: &Value) -> &str {
    mail["id"].as_str().unwrap()
}

fn failure(mail: &Value) -> &str {
    mail["failure"].as_str().unwrap()
}

fn html(message: &Value) -> &str {
    message["html"].as_str().unwrap()
}

/// The one header of that name.
#[track_caller]
fn header(message: &Value, name: &str) -> String {
    let headers = message["headers"].as_array().unwrap();
    let values: Vec<&Value> = headers.iter().filter(|header| header[0] == name).map(|header| &header[1]).collect();
    assert_eq!(values.len(), 1, "{name}: {headers:?}");
    values[0].as_str().unwrap().to_owned()
}

/// The link in the text part.
#[track_caller]
fn link(message: &Value) -> String {
    let text = message["text"].as_str().unwrap();
    let links: Vec<&str> = text.split_whitespace().filter(|word| word.contains("://")).collect();
    assert!(matches!(links[..], [link] if link.starts_with("https://users.example.com/links/")), "{text}");
    links[0].to_owned()
}
