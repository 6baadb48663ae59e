//! What an app says in its mails in place of Usher's words: kept, previewed, refused where it would break a mail, and sent.

use std::time::Duration;

use serde_json::json;
use usher::admins::Role;
use usher::apps::Kind;
use usher::audit::Action;
use usher::caller::Actor;
use usher::users::Email;
use usher::webhooks::{New, State};

use crate::harness::{Answer, But, Client, TestApp, jane};
use crate::program::Program;
use crate::receiver::Receiver;
use crate::signin::app_and_jane;
use crate::webhooks::a_webhook;

struct Page<'a> {
    app: &'a TestApp,
    owner: Client<'a>,
    path: String,
}

impl<'a> Page<'a> {
    async fn of(app: &'a TestApp, mail: &str, language: &str) -> Page<'a> {
        let path = format!("/admin/{}/sandbox/mails/templates/{mail}/{language}", app.client_id);
        Page { app, owner: app.admin(Role::Owner).await, path }
    }

    async fn save(&self, texts: &[(&str, &str)]) -> Answer {
        self.owner.send("POST", &self.path, form(texts)).await
    }

    /// How a draft looks: the page, and the mail in its frame.
    async fn draft(&self, texts: &[(&str, &str)]) -> (Answer, Answer) {
        let page = self.owner.get(&format!("{}?{}", self.path, form(texts))).await.ok();
        let frame = page.text.split(r#"sandbox src=""#).nth(1).expect("a frame").split('"').next().unwrap();
        let frame = self.owner.get(&frame.replace("&#38;", "&").replace("&amp;", "&")).await.ok();
        (page, frame)
    }

    /// The mail of somebody new.
    async fn enrol(&self, number: u32) -> usher::mail::Mail {
        self.app.advance(Duration::from_secs(1));
        let person = jane()
            .but("email", json!(format!("p{number}@doe.com")))
            .but("phonenumber", json!(format!("20255501{number:02}")));
        self.app.partner("acme").await.post("/users/create", person).await.ok();
        self.app.mails().await.remove(0).1
    }
}

fn form(texts: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(texts).finish()
}

const OWN: &[(&str, &str)] = &[
    ("mail_welcome_subject", "{app}: your coach waits"),
    ("mail_hello_name", "Dear {name} & friends,"),
    ("mail_welcome", "We begin \"today\"."),
    ("mail_link_lifetime", "For {time}, once."),
    ("sign_in_button", "Come in"),
];

#[tokio::test]
async fn what_an_app_says_is_in_its_mails_from_then_on_and_no_more_after_a_reset() {
    let app = TestApp::new().await;
    let page = Page::of(&app, "enrolment", "en").await;
    let shipped = page.enrol(1).await;
    let saved = page.save(OWN).await;
    assert_eq!((saved.status, saved.header("location")), (303, format!("{}?said=saved", page.path).as_str()));
    assert!(page.owner.get(saved.header("location")).await.ok().text.contains("Saved."));

    // Also in a mail that was written before, and still waits.
    let mail = app.mails().await.remove(0).1;
    assert_eq!(mail.subject, "Acme Coaching: your coach waits");
    for part in ["Dear jane & friends,", "We begin \"today\".", "For 24 hours, once.", &mail.links[0]] {
        assert!(mail.text.contains(part), "{part}: {}", mail.text);
    }
    for part in ["Dear jane &amp; friends,", ">Come in</a>", "If the button does not work", &mail.links[0]] {
        assert!(mail.html.contains(part), "{part}: {}", mail.html);
    }
    // Another mail, and another language, are as they were.
    app.register(usher::apps::Kind::Sandbox, crate::signin::CALLBACK).await;
    app.advance(Duration::from_secs(1));
    app.begin("p1@doe.com").await;
    assert!(app.mails().await[0].1.html.contains(">Sign in</a>"));
    let other = app.another_store().await;
    let read = |tx: &usher::db::Tx| usher::outbox::newest_mails(tx, 10).map(|all| all.last().cloned().unwrap());
    let job = other.read(read).await.unwrap();
    let there = other.read(move |tx| usher::mail::render(tx, &job)).await.unwrap().unwrap();
    assert_eq!(there.text, mail.text, "on every server");

    assert_eq!(page.owner.send("POST", &format!("{}/reset", page.path), "").await.status, 303);
    let again = app.mails().await.pop().unwrap().1;
    assert_eq!((again.subject, again.text, again.html), (shipped.subject, shipped.text, shipped.html));
    assert_eq!(app.count("mail_words").await, 0);
}

#[tokio::test]
async fn a_text_that_would_break_the_mail_is_not_saved_and_the_page_says_what_to_do() {
    let app = TestApp::new().await;
    let page = Page::of(&app, "enrolment", "en").await;
    page.save(OWN).await;
    for (name, text, words) in [
        ("mail_welcome", "Hello {nmae}", "only {app} is filled in"),
        ("mail_link_lifetime", "It works once.", "{time} is missing"),
        ("mail_welcome", "<a href=https://evil.example>Here</a>", "HTML is not possible"),
        ("mail_welcome_subject", &"x".repeat(121), "120 fit"),
        ("mail_hello_name", "Hello {name", "stands alone"),
    ] {
        let refused = page.save(&[(name, text), ("sign_in_button", "Go")]).await;
        assert_eq!(refused.status, 400, "{text}");
        assert!(refused.text.contains("It cannot be saved like this."), "{}", refused.text);
        assert!(refused.text.contains(words), "{words}: {}", refused.text);
        assert!(refused.text.contains(r#"aria-invalid="true""#) && refused.text.contains(r#"value="Go""#), "as typed");
        assert!(!refused.text.contains("<a href=https://evil"));
    }
    assert_eq!(app.audited(Action::MailWorded).await.len(), 2, "one change, noted in both environments");
    assert_eq!(page.enrol(1).await.subject, "Acme Coaching: your coach waits");
}

#[tokio::test]
async fn the_preview_follows_a_draft_and_keeps_nothing() {
    let app = TestApp::new().await;
    let page = Page::of(&app, "sign_in", "ar").await;
    let (shown, frame) = page.draft(&[]).await;
    assert!(shown.text.contains(r#"hx-trigger="input delay"#) && shown.text.contains(r#"dir="rtl""#));
    assert!(
        frame.text.contains("مرحبًا Alex،")
            && frame.text.contains("123456")
            && frame.text.contains("10 دقائق")
            && frame.text.contains("/links/example")
    );
    assert!(frame.header("content-security-policy").contains("sandbox"));

    let draft = [("mail_sign_in_subject", "أهلا"), ("mail_code", "Say & see:"), ("mail_hello", "أهلا وسهلا")];
    let (shown, frame) = page.draft(&draft).await;
    assert!(frame.text.contains("Say &amp; see:") && shown.text.contains(">أهلا</p>"));
    let nameless = [&draft[..], &[("nameless", "yes"), ("view", "dark")]].concat();
    let (_, frame) = page.draft(&nameless).await;
    assert!(frame.text.contains("أهلا وسهلا") && frame.text.contains("color-scheme: dark"));
    let text = [&draft[..], &[("view", "text")]].concat();
    let shown = page.owner.get(&format!("{}?{}", page.path, form(&text))).await.ok().text;
    assert!(shown.contains("<pre") && shown.contains("Say &#38; see:") && !shown.contains("<iframe"), "{shown}");
    // What is wrong is said while it is typed, and the rest is shown.
    let (shown, frame) = page.draft(&[("mail_code", "{oops}"), ("sign_in_button", "Los")]).await;
    assert!(
        shown.text.contains("{oops} is not known here") && frame.text.contains("Los") && !frame.text.contains("oops")
    );

    assert_eq!((app.count("mail_words").await, app.audited(Action::MailWorded).await.len()), (0, 0));
}

#[tokio::test]
async fn what_the_contact_of_a_webhook_is_told_has_the_apps_words_and_cannot_lose_which_webhook_it_is() {
    let (app, receiver) = (TestApp::new().await, Receiver::start());
    let page = Page::of(&app, "webhook_gone", "en").await;
    let nil = "00000000-0000-0000-0000-000000000000";
    let own = ("mail_gone", "{webhook} ({environment}) of {app} went away & stays away.");
    let (shown, frame) = page.draft(&[own]).await;
    assert!(frame.text.contains(&format!("{nil} (sandbox) of Acme Coaching went away &amp; stays away.")));
    assert!(!shown.text.contains("nameless") && !frame.text.contains("Alex"), "nobody is greeted by name");
    let refused = page.save(&[("mail_gone", "A webhook of {app} went away.")]).await;
    assert!(refused.status == 400 && refused.text.contains("{webhook} is missing"), "{}", refused.text);
    assert_eq!(page.save(&[own, ("mail_gone_subject", "Gone: {app}")]).await.status, 303);

    app.send_webhooks();
    receiver.says(410);
    let new = New { contact: Email::new("owner@roe.com"), ..a_webhook(&receiver) };
    let endpoint = app.webhook_as(Kind::Sandbox, None, new).await;
    page.enrol(1).await;
    app.once(endpoint.id, |all| all[0].state == State::Failed).await;
    let mails = app.mails().await;
    let (_, mail) = mails.iter().find(|(job, _)| job.kind == usher::outbox::Kind::WebhookGoneMail).unwrap();
    assert_eq!(mail.subject, "Gone: Acme Coaching");
    let says = format!("{} (sandbox) of Acme Coaching went away & stays away.", endpoint.id);
    assert!(mail.text.contains(&says) && mail.text.contains("for 30 days"), "{}", mail.text);
}

#[tokio::test]
async fn who_is_told_that_their_address_was_changed_reads_the_apps_words() {
    let (app, id) = app_and_jane().await;
    let page = Page::of(&app, "address_changed", "en").await;
    let own = ("mail_changed_not_you", "Not you? Ring {app} & say so.");
    let (_, frame) = page.draft(&[own]).await;
    assert!(frame.text.contains("Not you? Ring Acme Coaching &amp; say so.") && frame.text.contains("Hello Alex,"));
    assert!(!frame.text.contains("href"), "no link, also where there is one for an example");
    assert_eq!(page.save(&[own, ("mail_hello_name", "Dear {name},")]).await.status, 303);
    app.anyone().send("POST", &app.newest_link().await, "").await;
    app.server().await.put(&format!("/v1/users/{id}"), json!({"user": {"email": "j@roe.com"}})).await.ok();
    let (_, mail) = app.mails().await.remove(0);
    assert!(mail.text.starts_with("Dear jane,") && mail.text.contains("Ring Acme Coaching & say so."), "{}", mail.text);
}

#[tokio::test]
async fn every_administrator_sees_the_words_and_owners_change_them_with_before_and_after_in_the_trail() {
    let (app, _) = app_and_jane().await;
    let page = Page::of(&app, "sign_in", "de").await;
    page.save(&[("sign_in_button", "Los"), ("mail_code", "Code:")]).await;
    page.save(&[("sign_in_button", "Weiter"), ("mail_hello", "Guten Tag,")]).await;
    let entry = app.audited(Action::MailWorded).await.remove(0);
    let fields = &entry.changes.0["fields"];
    assert_eq!(fields["sign_in/de/sign_in_button"], json!(["Los", "Weiter"]));
    assert_eq!(fields["sign_in/de/mail_code"], json!(["Code:", null]));
    assert_eq!(fields.as_object().unwrap().len(), 2, "what Usher says anyway is not kept: {fields}");
    assert!(matches!(entry.actor, Some(Actor::Admin(_))));

    let list = format!("/admin/{}/live/mails/templates", app.client_id);
    let reader = app.admin(Role::ReadOnly).await;
    let shown = reader.get(&list).await.ok().text;
    assert_eq!(shown.matches("The app&#39;s own").count() + shown.matches("The app's own").count(), 1, "{shown}");
    let shown = reader.get(&page.path).await.ok().text;
    assert!(shown.contains("Weiter") && shown.contains("readonly") && !shown.contains(">Save</button>"));
    for path in [page.path.clone(), format!("{}/reset", page.path)] {
        assert_eq!(reader.send("POST", &path, "").await.status, 403);
    }
    for wrong in ["admin_sign_in/de", "billing/de", "enrolment/nl", "x/de"] {
        assert_eq!(page.owner.get(&format!("{list}/{wrong}")).await.status, 400, "{wrong}");
    }
}

#[test]
fn usher_mail_template_lists_shows_sets_and_resets() {
    let server = Program::start(&[]);
    let run = |words: &[&str]| -> serde_json::Value {
        server.json(&[&["mail", "template"], words, &["--app", &server.client_id]].concat())
    };
    let own = |list: &serde_json::Value| {
        list.as_array()
            .unwrap()
            .iter()
            .filter(|one| !one["changedAt"].is_null())
            .map(|one| one["mail"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(run(&["list"]).as_array().unwrap().len(), 24);
    run(&["set", "enrolment", "en", "mail_welcome=Come in: {app}", "sign_in_button=Go"]);
    run(&["set", "enrolment", "en", "sign_in_button="]);
    let shown = run(&["show", "enrolment", "en"]);
    assert_eq!(
        (&shown["own"], &shown["texts"]["mail_welcome"], &shown["texts"]["sign_in_button"]),
        (&json!(["mail_welcome"]), &json!("Come in: {app}"), &json!("Sign in"))
    );
    assert_eq!(own(&run(&["list"])), ["enrolment"]);
    server.enrol(&jane());
    assert!(server.json(&["mail", "show"])["text"].as_str().unwrap().contains("Come in: "));
    for (words, says) in [
        (&["set", "enrolment", "en", "mail_welcome={x}"][..], "only {app} is filled in"),
        (&["set", "enrolment", "en", "mail_code=x"], "has no text mail_code"),
        (&["show", "admin_sign_in", "en"], "enrolment, sign_in, address_changed, webhook_gone"),
        (&["show", "enrolment", "nl"], "one of"),
    ] {
        let refused = server.run(&[&["mail", "template"], words, &["--app", &server.client_id]].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(says), "{words:?}: {said}");
    }
    run(&["reset", "enrolment", "en"]);
    assert_eq!(own(&run(&["list"])), Vec::<serde_json::Value>::new());
}
