//! Mail whose link leads nowhere by the time it could be sent: it is not sent, and says why.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use usher::admins::Role;
use usher::apps::Kind;
use usher::keys::Access;
use usher::links;
use usher::outbox::{self, Job, State};
use usher::users::Status;

use crate::harness::{But, OPERATOR, TestApp, jane};
use crate::idempotency::set_status;
use crate::program::usher;
use crate::signin::CALLBACK;

/// Somebody of the live environment with that address, whose welcome waits for the mail server. Their id.
async fn enrol(app: &TestApp, name: &str, number: usize) -> String {
    let body = jane().but("email", json!(format!("{name}@doe.com")));
    let body = body.but("phonenumber", json!(format!("202555{number:04}")));
    app.partner_in(Kind::Live, None).await.post("/users/create", body).await.ok().id().to_owned()
}

/// The path of the link in the newest mail to that address.
async fn link_of(app: &TestApp, name: &str) -> String {
    let mails = app.mails().await;
    let (_, mail) = mails.iter().find(|(_, mail)| mail.to == format!("{name}@doe.com")).unwrap();
    mail.links[0].strip_prefix("https://users.example.com").unwrap().to_owned()
}

/// Tries what is due, at a mail server that does not answer: what is sent is tried again, and nothing arrives.
async fn attempt(app: &TestApp) -> Vec<Job> {
    app.attempt(&app.mail_to_nobody(Duration::from_secs(5))).await;
    let mut jobs = app.store().read(|tx| outbox::newest_mails(tx, 100)).await.unwrap();
    jobs.sort_by_key(|job| job.id.0);
    jobs
}

fn to(job: &Job) -> &str {
    job.payload.as_ref().unwrap().text("to").unwrap()
}

#[tokio::test]
async fn a_welcome_goes_to_the_address_on_record_and_to_nobody_who_may_not_sign_in_or_has() {
    let app = TestApp::new().await;
    let mut ids = BTreeMap::new();
    for (number, name) in ["gone", "frozen", "deleted", "entered", "renewed", "waits"].into_iter().enumerate() {
        ids.insert(name, enrol(&app, name, number).await);
    }
    app.advance(Duration::from_secs(1));
    let server = app.server_in(Kind::Live, Access::Write).await;
    server.put(&format!("/v1/users/{}", ids["gone"]), json!({"user": {"email": "right@doe.com"}})).await.ok();
    set_status(&app, &ids["frozen"], Status::Frozen).await;
    set_status(&app, &ids["deleted"], Status::Deleted).await;
    assert_eq!(app.anyone().send("POST", &link_of(&app, "entered").await, "").await.status, 303);
    let renew = format!("{}/renew", link_of(&app, "renewed").await);
    app.anyone().send("POST", &renew, "").await.ok();

    let jobs = attempt(&app).await;
    let came_of: Vec<(&str, &str)> = jobs.iter().map(|job| (to(job), job.state.as_str())).collect();
    let expected = [
        ("gone@doe.com", "withdrawn"),
        ("frozen@doe.com", "withdrawn"),
        ("deleted@doe.com", "withdrawn"),
        ("entered@doe.com", "withdrawn"),
        ("renewed@doe.com", "withdrawn"),
        ("waits@doe.com", "queued"),
        ("right@doe.com", "queued"),
        ("renewed@doe.com", "queued"),
    ];
    assert_eq!(came_of, expected);
    for job in &jobs {
        let has_link = job.payload.as_ref().unwrap().text("link").is_some();
        let says_why = job.failure.as_deref().unwrap().starts_with("not sent: its link had ");
        assert_eq!((has_link, says_why), (job.state == State::Queued, job.state == State::Withdrawn), "{job:?}");
    }
    app.assert_counted("usher_mails_total", &[("withdrawn", 5), ("retry", 3), ("failed", 0)]).await;
    let gone = jobs[0].clone();
    let again = app.store().write(move |tx| links::send_again(tx, OPERATOR, &gone)).await;
    assert_eq!(again.unwrap_err().code(), "not_sent_again");
}

#[tokio::test]
async fn a_welcome_whose_link_has_had_its_time_is_sent_for_its_page_sends_another() {
    let app = TestApp::with_links_for(Duration::from_hours(1)).await;
    enrol(&app, "jane", 1).await;
    app.advance(Duration::from_hours(2));
    assert_eq!(attempt(&app).await[0].state, State::Queued);
}

#[tokio::test]
async fn a_mail_to_sign_in_by_is_not_sent_once_it_leads_nowhere() {
    let app = TestApp::new().await;
    app.register(Kind::Live, CALLBACK).await;
    for (number, name) in ["late", "frozen", "waits"].into_iter().enumerate() {
        let id = enrol(&app, name, number).await;
        app.begin(&format!("{name}@doe.com")).await;
        app.mails().await;
        match name {
            "late" => app.advance(Duration::from_mins(11)),
            "frozen" => set_status(&app, &id, Status::Frozen).await,
            _ => {}
        }
    }
    let jobs = attempt(&app).await;
    let sign_ins = jobs.iter().filter(|job| job.kind == outbox::Kind::SignInMail);
    let came_of: Vec<_> = sign_ins.map(|job| (to(job), job.state)).collect();
    let expected =
        [("late@doe.com", State::Withdrawn), ("frozen@doe.com", State::Withdrawn), ("waits@doe.com", State::Queued)];
    assert_eq!(came_of, expected);
}

#[tokio::test]
async fn an_administrators_link_is_mailed_while_it_works() {
    let app = TestApp::new().await;
    app.admin(Role::Owner).await;
    for minutes in [11, 0] {
        app.anyone().send("POST", "/admin/sign-in", "email=owner%40clinic.example").await.ok();
        crate::admins::mailed(&app).await;
        app.advance(Duration::from_mins(minutes));
    }
    let states: Vec<_> = attempt(&app).await.iter().map(|job| job.state).collect();
    assert_eq!(states, [State::Withdrawn, State::Queued]);
}

#[tokio::test]
async fn why_a_mail_was_withdrawn_is_seen_wherever_mail_is_listed() {
    let app = TestApp::new().await;
    let id = enrol(&app, "jane", 1).await;
    enrol(&app, "john", 2).await;
    app.advance(Duration::from_secs(1));
    set_status(&app, &id, Status::Frozen).await;
    let mail = attempt(&app).await.remove(0).id;
    let words = "not sent: its link had ended by then";
    let live = format!("/admin/{}/live", app.client_id);
    let support = app.admin(Role::Support).await;
    let see = async |path: &str| support.get(&format!("{live}{path}")).await.ok().text;
    let list = see("/mails?state=withdrawn").await;
    assert!(list.contains("jane@doe.com") && list.contains(words) && !list.contains("john@doe.com"), "{list}");
    let page = see(&format!("/mails/{mail}")).await;
    assert!(page.contains("Usher&#39;s words: not sent") || page.contains("Usher's words: not sent"), "{page}");
    assert!(see(&format!("/users/{id}/mail")).await.contains(words));
    let home = see("").await;
    assert!(home.contains("withdrawn</span>") && !home.contains("Mail was given up"), "{home}");

    let told = |words: &[&str]| -> Value {
        let output = usher(app.folder()).args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let listed = told(&["mail", "list", "--environment", "live", "--state", "withdrawn", "--json"]);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["to"]), (1, &json!("jane@doe.com")));
    assert!(listed[0]["failure"].as_str().unwrap().starts_with(words));
    let story = told(&["explain", &id, "--json"]).to_string();
    assert!(story.contains("withdrawn") && story.contains(words), "{story}");
}
