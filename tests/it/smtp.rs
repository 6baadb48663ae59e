//! Live mail through an SMTP server that is not ours: aiosmtpd, by `tests/smtp/server.py`. `tests/setup` installs it.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usher::apps::{self, Kind};
use usher::db::Tx;
use usher::outbox::Kind::{AdminSignInMail as AdminSignIn, EnrolmentMail as Enrolment, SignInMail as SignIn};
use usher::outbox::{self, State, newest_mails};
use usher::users::UserId;

use crate::harness::{But, TestApp, jane};
use crate::mailserver::{Certificate, MailServer, Usher, failure, header, html, id, link, start_in};
use crate::program::raw;

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
    let (head, page) = usher.follow("GET", &link);
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
    assert!(html(&plain).contains("Welcome to Acme &amp; &lt;i&gt;Sons&lt;"), "{}", html(&plain));

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
    assert!(failure(&busy).contains("Come back  in a while"), "{busy}");

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

#[tokio::test]
async fn a_worker_takes_as_many_mails_as_it_has_places_and_first_those_that_somebody_waits_for() {
    let app = TestApp::new().await;
    let client = app.client_id;
    let queue = move |tx: &Tx| {
        let environment = apps::environment(tx, client, Kind::Live)?.id;
        for kind in [[Enrolment; 6].as_slice(), &[SignIn; 5], &[AdminSignIn]].concat() {
            outbox::enqueue_about(tx, (environment, UserId::random()), kind, &json!({}), tx.now())?;
        }
        Ok(())
    };
    app.store().write(queue).await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..3 {
        let (jobs, _) = app.store().write(|tx| outbox::lease(tx, outbox::Kind::MAILS, 8)).await.unwrap();
        taken.push(jobs.iter().map(|job| job.kind).collect::<Vec<_>>());
    }
    let first = [[AdminSignIn].as_slice(), &[SignIn; 5], &[Enrolment; 2]].concat();
    assert_eq!(taken, [first, vec![Enrolment; 4], vec![]]);
}

#[tokio::test]
async fn a_mail_whose_lease_may_end_before_its_try_is_put_off() {
    let app = TestApp::new().await;
    app.partner_in(Kind::Live, None).await.post("/users/create", jane()).await.ok();
    let mut seen = Vec::new();
    // As if the database had taken the six seconds by which the first is longer.
    for timeout in [51, 45] {
        let sender = app.mail_to_nobody(Duration::from_secs(timeout));
        assert_eq!(app.attempt(&sender).await, 1);
        assert_eq!(app.attempt(&sender).await, 0, "it is not due yet");
        let job = app.store().read(|tx| newest_mails(tx, 1)).await.unwrap().remove(0);
        seen.push((job.state, job.attempts, job.failure.unwrap() == "the database took too long"));
        app.advance(Duration::from_secs(55));
    }
    assert_eq!(seen, [(State::Queued, 0, true), (State::Queued, 1, false)]);
}

#[tokio::test]
async fn a_last_try_that_is_put_off_is_made_when_the_database_is_well_again() {
    let app = TestApp::new().await;
    app.partner_in(Kind::Live, None).await.post("/users/create", jane()).await.ok();
    app.tamper("UPDATE outbox SET attempts = 11 WHERE due_at IS NOT NULL");
    let mut seen = Vec::new();
    for timeout in [51, 51, 45] {
        assert_eq!(app.attempt(&app.mail_to_nobody(Duration::from_secs(timeout))).await, 1);
        let job = app.store().read(|tx| newest_mails(tx, 1)).await.unwrap().remove(0);
        seen.push((job.state, job.attempts));
        app.advance(Duration::from_hours(2));
    }
    assert_eq!(seen, [(State::Queued, 11), (State::Queued, 11), (State::Failed, 12)]);
    app.assert_counted("usher_mails_total", &[("retry", 2), ("failed", 1)]).await;
}

#[tokio::test]
async fn a_mail_that_is_given_up_counts_as_failed_once_and_every_try_before_as_a_retry() {
    let app = TestApp::new().await;
    app.partner_in(Kind::Live, None).await.post("/users/create", jane()).await.ok();
    let sender = app.mail_to_nobody(Duration::from_secs(5));
    while app.attempt(&sender).await > 0 {
        app.advance(Duration::from_hours(2));
    }
    assert_eq!(app.store().read(|tx| newest_mails(tx, 1)).await.unwrap()[0].state, State::Failed);
    app.assert_counted("usher_mails_total", &[("retry", 11), ("failed", 1)]).await;
}

#[tokio::test]
async fn a_mail_whose_tries_never_end_is_given_up_and_counts_as_failed() {
    let app = TestApp::new().await;
    app.partner_in(Kind::Live, None).await.post("/users/create", jane()).await.ok();
    for _ in 0..12 {
        let (jobs, _) = app.store().write(|tx| outbox::lease(tx, outbox::Kind::MAILS, 8)).await.unwrap();
        assert_eq!(jobs.len(), 1);
        app.advance(Duration::from_mins(1));
    }
    assert_eq!(app.attempt(&app.mail_to_nobody(Duration::from_secs(5))).await, 0);
    let job = app.store().read(|tx| newest_mails(tx, 1)).await.unwrap().remove(0);
    assert_eq!((job.state, job.failure.as_deref()), (State::Failed, Some("the last try did not end")));
    app.assert_counted("usher_mails_total", &[("retry", 0), ("failed", 1)]).await;
}

#[test]
fn a_failed_mail_is_sent_anew_with_a_new_link_when_the_operator_says_so() {
    let Some(server) = MailServer::start(&[]) else { return };
    let usher = Usher::start(&server.url(""));
    usher.enrol("mended@doe.com", "Jane");
    let failed = usher.settled("mended@doe.com");
    assert_eq!(failed["state"], "failed", "{failed}");
    let old = server.message();
    let (head, _) = usher.follow("GET", &link(&old));
    assert!(head.starts_with("HTTP/1.1 200"), "it may have arrived all the same: {head}");
    usher.program.json(&["mail", "retry", id(&failed)]);

    let new = server.message();
    assert_eq!(
        (&new["recipients"], usher.settled("mended@doe.com")["state"].as_str()),
        (&json!(["mended@doe.com"]), Some("sent"))
    );
    assert_ne!((link(&old), header(&old, "Message-ID")), (link(&new), header(&new, "Message-ID")));
    assert!(usher.follow("POST", &link(&old)).1.contains("This link no longer works"));
    let (head, _) = usher.follow("POST", &link(&new));
    assert!(head.starts_with("HTTP/1.1 303"), "{head}");

    usher.enrol("busy@doe.com", "Jane");
    for mail in [usher.settled("mended@doe.com"), usher.tried("busy@doe.com")] {
        let refused = usher.program.run(&["mail", "retry", id(&mail)]);
        let words = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(1) && words.contains("only a failed"), "{mail}: {words}");
    }
}

#[test]
fn a_damaged_mail_fails_and_stops_no_other() {
    crate::cluster::about_the_file!();
    let Some(server) = MailServer::start(&[]) else { return };
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let usher = Usher::start(&format!("smtp://{nobody}"));
    usher.enrol("damaged@doe.com", "Jane");
    usher.enrol("john@doe.com", "John");
    let damaged = id(&usher.mail("damaged@doe.com")).to_owned();
    let key = usher.key.clone();
    let (_, _, folder) = usher.program.stop();
    let database = rusqlite::Connection::open(folder.0.join("usher.db")).unwrap();
    let sql = format!("UPDATE outbox SET payload = X'00' WHERE id = X'{}'", damaged.replace('-', ""));
    assert_eq!(database.execute(&sql, []).unwrap(), 1);
    database.execute("UPDATE outbox SET due_at = 0", []).unwrap();
    drop(database);

    let usher = Usher { program: start_in(folder, &[], &server.url("")), key };
    assert_eq!(usher.settled("john@doe.com")["state"], "sent");
    usher.enrol("jim@doe.com", "Jim");
    assert_eq!(usher.settled("jim@doe.com")["state"], "sent");
    let mail = usher.program.json(&["mail", "show", &damaged]);
    assert!(mail["state"] == "failed" && failure(&mail).contains("cannot be read"), "{mail}");
    assert!(usher.program.run(&["mail", "list"]).status.success());
}

#[test]
fn a_server_that_lets_nobody_in_costs_nobody_their_mail() {
    for step in ["greeting", "hello", "login"] {
        let Some(server) = MailServer::start(&["--login", "usher:secret", "--closed", step]) else { return };
        let usher = Usher::start(&server.url("usher:secret@"));
        usher.enrol("jane@doe.com", "Jane");
        let mail = usher.tried("jane@doe.com");
        assert_eq!((&mail["state"], &mail["attempts"]), (&json!("queued"), &json!(1)), "{mail}");
        assert!(failure(&mail).contains(&format!("Closed at {step}")), "{mail}");
    }
}

#[test]
fn a_stopping_server_waits_for_the_mail_that_it_is_handing_over() {
    let Some(server) = MailServer::start(&[]) else { return };
    let usher = Usher::start_with(&[("USHER_SMTP_TIMEOUT", "15s")], &server.url(""));
    usher.enrol("slow@doe.com", "Jane");
    assert_eq!(server.message()["recipients"], json!(["slow@doe.com"]));
    let (key, start) = (usher.key.clone(), Instant::now());
    let (code, _, folder) = usher.program.stop();
    assert!((2..10).contains(&start.elapsed().as_secs()), "stopped after {:?}", start.elapsed());
    assert_eq!(code, Some(0));
    let usher = Usher { program: start_in(folder, &[], &server.url("")), key };
    let mail = usher.mail("slow@doe.com");
    assert_eq!((&mail["state"], &mail["attempts"]), (&json!("sent"), &json!(1)));
    assert_eq!(server.next_message(A_WHILE), None, "it was sent once");
}

#[test]
fn a_server_that_never_says_a_word_delays_nobody_who_enrols() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let usher = Usher::start_with(&[("USHER_SMTP_TIMEOUT", "6s")], &format!("smtp://{}", mute.local_addr().unwrap()));
    for address in ["jane@doe.com", "john@doe.com", "jim@doe.com"] {
        let start = Instant::now();
        usher.enrol(address, "Jane");
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
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

#[test]
fn a_test_mail_is_sent_by_a_command_and_by_the_dashboard_with_the_servers_words() {
    let Some(server) = MailServer::start(&[]) else { return };
    let usher = Usher::start(&server.url(""));
    let program = &usher.program;
    let sent = program.json(&["mail", "test", "ann@clinic.example", "--smtp-url", &server.url("")]);
    assert!(sent["answer"].as_str().unwrap().starts_with("250"), "{sent}");
    assert_eq!(server.message()["recipients"], json!(["ann@clinic.example"]));
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failed = program.run(&["mail", "test", "ann@clinic.example", "--smtp-url", &format!("smtp://{nowhere}")]);
    assert!(!failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains("the mail was not sent"));

    program.json(&["admin", "create", "ann@clinic.example", "--role", "owner"]);
    let link = program.json(&["admin", "link", "ann@clinic.example", "--public-url", "https://users.example.com"]);
    let (head, _) = usher.follow("POST", link["link"].as_str().unwrap());
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().split(';').next().unwrap();
    let path = format!("/admin/{}/live/settings/test-mail", program.client_id);
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: usher\r\nCookie: {cookie}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    );
    let (head, page) = raw(&program.url, request.as_bytes());
    assert!(
        head.starts_with("HTTP/1.1 200") && page.contains("The mail server said:") && page.contains("250"),
        "{page}"
    );
    assert_eq!(server.message()["recipients"], json!(["ann@clinic.example"]));
}
