//! Administrators: how the first is made, how they come in and leave, and who makes, changes and removes them.

use std::time::Duration;

use serde_json::json;
use usher::admins::{self, Role, Way};
use usher::app::{App, answer_admins};
use usher::apps::Kind;
use usher::audit::{self, Action, Filter, INSTALLATION, Order, Refusal};
use usher::caller::{Actor, Origin};
use usher::mail::transport::Smtp;
use usher::secret::Secret;
use usher::users::Email;
use usher::words::Language;

use crate::cluster::on_postgres;
use crate::harness::{Answer, TestApp, jane, john};
use crate::people_table::{lines, shell};
use crate::program::{Program, raw};

const MINUTE: Duration = Duration::from_mins(1);
const ANN: &str = "ann@clinic.example";

pub fn email(text: &str) -> Email {
    Email::new(text).unwrap()
}

fn path_of(url: &url::Url) -> String {
    url.path().to_owned()
}

/// The path of a new set-up address.
async fn set_up(app: &TestApp) -> String {
    let links = app.app.api().links.clone();
    path_of(&app.store().write(move |tx| admins::set_up(tx, &links)).await.unwrap())
}

/// The path of a link for an administrator.
async fn link_for(app: &TestApp, address: &'static str) -> String {
    let links = app.app.api().links.clone();
    let make = move |tx: &usher::db::Tx| admins::link_for(tx, &links, &email(address), &Way::Tell);
    path_of(&app.store().write(make).await.unwrap().expect("it is told"))
}

/// What the operator's terminal is told.
async fn told(app: &TestApp) -> Vec<String> {
    let told = std::sync::Mutex::new(Vec::new());
    answer_admins(app.app.api(), |text| told.lock().unwrap().push(text.to_owned())).await.unwrap();
    told.into_inner().unwrap()
}

/// The mail that the one who has asked is sent.
pub async fn mailed(app: &TestApp) -> (usher::outbox::Job, usher::mail::Mail) {
    app.advance(MINUTE);
    for ask in app.app.api().admin_asks.take() {
        let links = app.app.api().links.clone();
        let answer = move |tx: &usher::db::Tx| admins::answer(tx, &links, &ask, &Way::Mail);
        assert!(app.store().write(answer).await.unwrap().is_none(), "it is told to nobody else");
    }
    app.mails().await.remove(0)
}

/// A server on the same data that has a mail server.
async fn mailing(app: &TestApp) -> App {
    let links = app.app.api().links.clone();
    let url = Secret::new("smtp://127.0.0.1:9?tls=none");
    let smtp = Smtp::new(&url, "usher@clinic.example", &links.public_url, MINUTE).unwrap();
    App::new(app.another_store().await, links, Some(smtp))
}

pub async fn post(app: &TestApp, path: &str, form: &str) -> Answer {
    app.anyone().send("POST", path, form.to_owned()).await
}

pub async fn noted(app: &TestApp) -> Vec<(Action, Option<Actor>, String)> {
    let filter = Filter { environments: vec![INSTALLATION], ..Filter::default() };
    let found = app.store().scan(move |tx| audit::find(tx, &filter, Order::After(None), 100)).await.unwrap();
    found.into_iter().map(|entry| (entry.action, entry.actor, entry.result)).collect()
}

#[tokio::test]
async fn the_set_up_address_makes_the_first_administrator_who_signs_in_by_a_link() {
    let app = TestApp::new().await;
    let address = set_up(&app).await;
    assert!(app.anyone().get(&address).await.ok().text.contains("Welcome to Usher"));
    assert_eq!(post(&app, &address, "email=nonsense").await.status, 400);
    assert!(told(&app).await.is_empty());

    assert!(post(&app, &address, &format!("email={ANN}")).await.ok().text.contains("Check your mail"));
    let link = told(&app).await.remove(0);
    let link = link.split_whitespace().find(|word| word.starts_with("https://users.example.com/")).unwrap();
    let link = link.strip_prefix("https://users.example.com").unwrap().to_owned();
    assert!(app.anyone().get(&link).await.ok().text.contains("Press the button"), "opening it changes nothing");
    let entered = post(&app, &link, "").await;
    assert_eq!((entered.status, entered.header("location")), (303, "/admin"));
    let cookie = entered.header("set-cookie").to_owned();
    assert!(
        cookie.starts_with("__Host-usher_admin=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"),
        "{cookie}"
    );

    let ann = app.anyone().with("Cookie", cookie.split(';').next().unwrap());
    let home = ann.get("/admin").await;
    assert_eq!(home.status, 303);
    let page = ann.get(home.header("location")).await.ok();
    assert!(page.text.contains("Needs attention") && page.text.contains(ANN) && page.text.contains("Owner"));

    assert_eq!(post(&app, &link, "").await.status, 410, "a link works once");
    assert_eq!(post(&app, &address, "email=eve@evil.example").await.status, 410, "so does the set-up address");
    let actions: Vec<_> = noted(&app).await.into_iter().map(|(action, _, result)| (action, result)).collect();
    let (done, over) = (|action| (action, "done".to_owned()), (Action::RequestRefused, "link_over".to_owned()));
    assert_eq!(actions, [done(Action::AdminCreated), done(Action::AdminSignedIn), over.clone(), over]);
    for _ in 0..9 {
        let try_again = |tx: &usher::db::Tx| {
            let refusal = Refusal::of(Action::RequestRefused, "link_over");
            (0..500).try_for_each(|_| audit::refuse(tx, INSTALLATION, None, &refusal))
        };
        app.store().write(try_again).await.unwrap();
    }
    for (limit, expected) in [(10, 2), (2, 2), (1, 1)] {
        let shown = app.store().scan(move |tx| audit::of_installation(tx, limit)).await.unwrap();
        assert_eq!(shown.len(), expected, "no stranger pushes out of the page what administrators did");
        assert!(shown.iter().all(|entry| entry.actor.is_some() && entry.is_done()));
    }
    let page = ann.get(&format!("{}/admins", home.header("location"))).await.ok().text;
    let shows = |words: &str| page.contains(words);
    assert!(shows("admin.created") && shows("admin.signed_in") && !shows("link_over"), "{page}");
    let unknown = Filter { environments: vec![INSTALLATION], unknown: true, ..Filter::default() };
    let theirs = app.store().scan(move |tx| audit::find(tx, &unknown, Order::NewestFirst, 10_000)).await.unwrap();
    assert_eq!(theirs.len(), 2 + 9 * 500);
}

#[tokio::test]
async fn what_was_done_to_the_installation_is_found_by_an_index_that_nothing_done_to_a_user_is_in() {
    if on_postgres() {
        // It reads small tables whole, whatever indexes there are.
        return;
    }
    let app = TestApp::new().await;
    let plan = "EXPLAIN QUERY PLAN SELECT result FROM audit WHERE environment_id = x'00' AND user_id IS NULL \
                AND actor <> 'unknown' ORDER BY created_at DESC, id DESC LIMIT 5";
    // Past the store, which lets nothing but entries and looks at the trail.
    let file = rusqlite::Connection::open(app.path().join("usher.db")).unwrap();
    let step: String = file.query_row(plan, [], |row| row.get(3)).unwrap();
    assert_eq!(step, "SEARCH audit USING INDEX audit_of_no_user (environment_id=?)");

    let partner = app.partner("acme").await;
    // The first request pins the key, which is about no user.
    partner.post("/users/create", jane()).await.ok();
    let indexed = async || {
        let sql = "audit INDEXED BY audit_of_no_user WHERE user_id IS NULL AND actor <> 'unknown'";
        (app.count(sql).await, app.count("audit").await)
    };
    let (rows, all) = indexed().await;
    partner.post("/users/create", john()).await.ok();
    assert_eq!(indexed().await, (rows, all + 1), "an enrolment costs it nothing");
}

#[tokio::test]
async fn a_set_up_address_works_for_an_hour_and_until_there_is_a_newer_one_or_an_owner() {
    let app = TestApp::new().await;
    let (old, address) = (set_up(&app).await, set_up(&app).await);
    assert_eq!((app.anyone().get(&old).await.status, app.anyone().get(&address).await.status), (410, 200));
    app.advance(60 * MINUTE);
    assert_eq!(app.anyone().get(&address).await.status, 410);
    assert_eq!(post(&app, &address, &format!("email={ANN}")).await.status, 410);
    let address = set_up(&app).await;
    app.admin(Role::Owner).await;
    assert_eq!(app.anyone().get(&address).await.status, 410, "there is an owner");
    let links = app.app.api().links.clone();
    assert!(app.store().write(move |tx| admins::set_up(tx, &links)).await.is_err());
}

#[tokio::test]
async fn whoever_asks_is_told_the_same_and_only_administrators_are_sent_a_link() {
    let app = TestApp::new().await;
    app.admin(Role::Support).await;
    let known = post(&app, "/admin/sign-in", "email=support@clinic.example").await;
    assert_eq!(told(&app).await.len(), 1);
    let unknown = post(&app, "/admin/sign-in", "email=eve@evil.example").await;
    assert!(told(&app).await.is_empty());
    assert_eq!((known.status, &known.text), (unknown.status, &unknown.text));
    for _ in 0..10 {
        post(&app, "/admin/sign-in", "email=Support@clinic.example").await;
    }
    assert_eq!(told(&app).await.len(), 4, "five that are asked for an hour at the most");
    app.advance(61 * MINUTE);
    post(&app, "/admin/sign-in", "email=support@clinic.example").await;
    assert_eq!(told(&app).await.len(), 1);
}

#[tokio::test]
async fn with_a_mail_server_the_link_is_mailed() {
    let app = TestApp::new().await;
    app.admin(Role::Owner).await;
    post(&app, "/admin/sign-in", "email=owner%40clinic.example").await;
    let (job, mail) = mailed(&app).await;
    assert_eq!((mail.to.as_str(), mail.subject.as_str()), ("owner@clinic.example", "Sign in to the Usher dashboard"));
    assert_eq!(job.state, usher::outbox::State::Queued);
    assert!(mail.links[0].starts_with("https://users.example.com/admin/links/") && mail.text.contains("10 minutes"));
    assert!(mail.text.contains(&mail.links[0]) && mail.html.contains(&mail.links[0]));
    let path = mail.links[0].strip_prefix("https://users.example.com").unwrap();
    assert_eq!(post(&app, path, "").await.status, 303);

    let reads = app.anyone().with("Accept-Language", "de-AT, en;q=0.5");
    reads.send("POST", "/admin/sign-in", "email=owner%40clinic.example").await.ok();
    let (_, mail) = mailed(&app).await;
    assert_eq!((mail.subject.as_str(), mail.language), ("Anmelden im Usher-Dashboard", Language::German));
    assert!(mail.text.contains("10 Minuten"), "{}", mail.text);
}

#[tokio::test]
async fn who_is_sent_a_link_by_another_reads_it_in_the_language_of_their_own_browser_once_that_is_known() {
    let app = TestApp::new().await;
    app.catch_up();
    let mailing = mailing(&app).await;
    let owner = app.admin(Role::Owner).await.with("Accept-Language", "fr").at(&mailing);
    let page = format!("/admin/{}/sandbox/admins", app.client_id);
    assert_eq!(owner.send("POST", &page, "email=ann%40clinic.example&role=support").await.status, 303);
    let (_, mail) = mailed(&app).await;
    assert_eq!((mail.to.as_str(), mail.language), (ANN, Language::French), "nothing is known of Ann's");

    let path = mail.links[0].strip_prefix("https://users.example.com").unwrap();
    assert_eq!(app.anyone().with("Accept-Language", "de-CH").send("POST", path, "").await.status, 303);
    let ann = app.store().read(|tx| admins::by_email(tx, &email(ANN))).await.unwrap();
    assert_eq!(ann.language, Some(Language::German));
    assert!(owner.get(&format!("{page}/{}", ann.id)).await.ok().text.contains("Deutsch"));
    assert_eq!(owner.send("POST", &format!("{page}/{}/send-link", ann.id), "").await.status, 303);
    assert_eq!(mailed(&app).await.1.language, Language::German);

    // Who asks for themselves reads what they read now.
    let reads = app.anyone().with("Accept-Language", "es");
    reads.send("POST", "/admin/sign-in", "email=ann%40clinic.example").await.ok();
    assert_eq!(mailed(&app).await.1.language, Language::Spanish);
}

#[tokio::test]
async fn a_link_works_for_ten_minutes_and_a_session_for_an_hour_unused_and_twelve_in_all() {
    let app = TestApp::new().await;
    let admin = app.admin(Role::ReadOnly).await;
    let link = link_for(&app, "read_only@clinic.example").await;
    app.advance(10 * MINUTE);
    assert_eq!((app.anyone().get(&link).await.status, post(&app, &link, "").await.status), (410, 410));
    assert_eq!(admin.get("/admin").await.status, 303);
    for _ in 0..13 {
        app.advance(54 * MINUTE);
        assert_eq!(admin.get("/admin").await.status, 303, "it is in use");
    }
    app.advance(10 * MINUTE);
    assert_eq!(admin.get("/admin").await.status, 401, "twelve hours are over");
    let admin = app.admin(Role::ReadOnly).await;
    let page = admin.with("Usher-By-Itself", "1");
    for _ in 0..2 {
        app.advance(29 * MINUTE);
        assert_eq!(page.get("/admin").await.status, 303, "a page that asks again by itself is answered");
    }
    app.advance(2 * MINUTE);
    assert_eq!(page.get("/admin").await.status, 401, "but no use of the session");
    assert_eq!(admin.get("/admin").await.status, 401, "nobody used it for an hour");
    assert!(admin.get("/admin").await.text.contains("Sign in to the dashboard"));
}

#[tokio::test]
async fn signing_out_and_being_removed_end_a_session_at_once() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let out = owner.send("POST", "/admin/sign-out", "").await;
    assert_eq!((out.status, out.header("location")), (303, "/admin/sign-in"));
    assert!(
        out.header("set-cookie").starts_with("__Host-usher_admin=; ") && out.header("set-cookie").contains("Max-Age=0")
    );
    assert_eq!(owner.get("/admin").await.status, 401);

    let support = app.admin(Role::Support).await;
    let link = link_for(&app, "support@clinic.example").await;
    let operator = Origin::of(Actor::Operator);
    let remove = move |tx: &usher::db::Tx| {
        admins::remove(tx, operator, admins::by_email(tx, &email("support@clinic.example"))?.id)
    };
    app.store().write(remove).await.unwrap();
    assert_eq!(support.get("/admin").await.status, 401);
    assert_eq!(post(&app, &link, "").await.status, 410);
    post(&app, "/admin/sign-in", "email=support@clinic.example").await;
    assert!(told(&app).await.is_empty());
    // Made one again, they have what they are given now and none of what ended.
    let again =
        move |tx: &usher::db::Tx| admins::create(tx, operator, &email("support@clinic.example"), Role::ReadOnly);
    assert_eq!(app.store().write(again).await.unwrap().role, Role::ReadOnly);
    assert_eq!(support.get("/admin").await.status, 401);
}

#[tokio::test]
async fn the_last_owner_stays() {
    let app = TestApp::new().await;
    app.admin(Role::Owner).await;
    app.admin(Role::Support).await;
    let operator = Origin::of(Actor::Operator);
    let owner = app.store().read(|tx| admins::by_email(tx, &email("owner@clinic.example"))).await.unwrap().id;
    assert!(app.store().write(move |tx| admins::remove(tx, operator, owner)).await.is_err());
    assert!(app.store().write(move |tx| admins::set_role(tx, operator, owner, Role::Support)).await.is_err());
    let twice = move |tx: &usher::db::Tx| admins::create(tx, operator, &email("OWNER@clinic.example"), Role::Owner);
    assert!(app.store().write(twice).await.is_err(), "one address is one administrator");
    let other = move |tx: &usher::db::Tx| admins::create(tx, operator, &email(ANN), Role::Owner);
    app.store().write(other).await.unwrap();
    app.store().write(move |tx| admins::remove(tx, operator, owner)).await.unwrap();
}

#[tokio::test]
async fn of_two_owners_who_remove_each_other_at_once_one_stays() {
    for demotes in [false, true] {
        let app = TestApp::new().await;
        let operator = Origin::of(Actor::Operator);
        let make = move |tx: &usher::db::Tx| {
            let one = admins::create(tx, operator, &email(ANN), Role::Owner)?;
            Ok((one.id, admins::create(tx, operator, &email("bob@clinic.example"), Role::Owner)?.id))
        };
        let (ann, bob) = app.store().write(make).await.unwrap();
        let by = |who| Origin::of(Actor::Admin(who));
        let first = move |tx: &usher::db::Tx| {
            if demotes { admins::set_role(tx, by(bob), ann, Role::Support) } else { admins::remove(tx, by(bob), ann) }
        };
        let (first, second) = app.meet(first, move |tx| admins::remove(tx, by(ann), bob)).await;
        first.unwrap();
        assert_eq!(second.unwrap_err().code(), "last_owner");
        let left = app.store().read(admins::list).await.unwrap();
        assert!(left.iter().any(|admin| admin.id == bob && admin.role == Role::Owner));
    }
}

#[tokio::test]
async fn when_every_session_is_ended_administrators_are_signed_out_and_their_links_work_no_more() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let link = link_for(&app, "owner@clinic.example").await;
    let home = format!("/admin/{}/sandbox", app.client_id);
    owner.get(&home).await.ok();
    app.store().write(|tx| admins::sign_all_out(tx, Origin::of(Actor::Operator))).await.unwrap();
    assert_eq!(owner.get(&home).await.status, 401);
    assert_ne!(app.anyone().send("POST", &link, "").await.status, 303);
    let told = app.audited(Action::SessionsEnded).await;
    assert_eq!((told.len(), told[0].environment), (1, INSTALLATION));
}

#[tokio::test]
async fn an_owner_invites_changes_and_removes_administrators_and_the_last_owner_stays() {
    let app = TestApp::new().await;
    app.catch_up();
    let mailing = mailing(&app).await;
    let owner = app.admin(Role::Owner).await.at(&mailing);
    let page = format!("/admin/{}/sandbox/admins", app.client_id);
    let press = async |path: &str, form: &str| owner.send("POST", path, form.to_owned()).await;
    assert_eq!(press(&page, "email=nonsense&role=support").await.status, 400);
    assert_eq!(press(&page, "email=bob%40clinic.example&role=king").await.status, 400);
    let invited = press(&page, "email=bob%40clinic.example&role=read_only").await;
    assert!(owner.get(invited.header("location")).await.ok().text.contains("bob@clinic.example"));
    let invitation = mailed(&app).await.1;
    assert!(!invitation.text.contains("asked"), "he did not ask: {}", invitation.text);
    assert!(invitation.text.contains("Here is your link to the dashboard of Usher"), "{}", invitation.text);
    assert_eq!(press(&page, "email=BOB%40clinic.example&role=owner").await.status, 409, "he is there already");

    let find = async |address: &'static str| {
        app.store().read(move |tx| admins::by_email(tx, &email(address))).await.map(|admin| admin.id.to_string())
    };
    let bob = format!("{page}/{}", find("bob@clinic.example").await.unwrap());
    assert_eq!(press(&format!("{bob}/role"), "role=owner").await.status, 303);
    assert!(owner.get(&bob).await.ok().text.contains("usher admin role bob@clinic.example"));
    assert_eq!(press(&format!("{bob}/role"), "role=support").await.status, 303);
    assert_eq!(press(&format!("{bob}/send-link"), "").await.status, 303);
    assert_eq!(app.mails().await.len(), 2);

    let me = format!("{page}/{}", find("owner@clinic.example").await.unwrap());
    for (path, form) in [("role", "role=support"), ("remove", "words=remove")] {
        assert_eq!(press(&format!("{me}/{path}"), form).await.status, 409, "the last owner stays");
    }
    assert_eq!(press(&format!("{bob}/remove"), "words=yes").await.status, 400, "it has to be meant");
    assert_eq!(press(&format!("{bob}/remove"), "words=remove").await.status, 303);
    assert!(find("bob@clinic.example").await.is_err());
    assert_eq!(owner.get(&bob).await.status, 404);

    let filter = Filter { environments: vec![INSTALLATION], ..Filter::default() };
    let all = app.store().scan(move |tx| audit::find(tx, &filter, Order::After(None), 100)).await.unwrap();
    let by_admins = all.iter().filter(|entry| entry.is_done() && matches!(entry.actor, Some(Actor::Admin(_))));
    let done: Vec<(Action, serde_json::Value)> =
        by_admins.map(|entry| (entry.action, entry.changes.0["fields"]["role"].clone())).collect();
    let expected = [
        (Action::AdminSignedIn, json!(null)),
        (Action::AdminCreated, json!([null, "read_only"])),
        (Action::AdminRoleChanged, json!(["read_only", "owner"])),
        (Action::AdminRoleChanged, json!(["owner", "support"])),
        (Action::AdminLinkMade, json!(null)),
        (Action::AdminRemoved, json!(null)),
    ];
    assert_eq!(done, expected);
    let shown = owner.get(&page).await.ok().text;
    assert!(shown.contains("admin.role_changed") && shown.contains("last_owner"), "{shown}");
}

#[tokio::test]
async fn where_links_are_mailed_the_commands_beside_the_buttons_mail_them_too() {
    let app = TestApp::new().await;
    app.catch_up();
    let mailing = mailing(&app).await;
    let owner = app.admin(Role::Owner).await.at(&mailing);
    let page = format!("/admin/{}/sandbox/admins", app.client_id);
    let run = |line: &str| {
        let line = line.replace("\"$USHER_URL\"", "https://users.example.com");
        let told = shell(&app, &line.replace("EMAIL", "cem@clinic.example")).stdout;
        assert!(!String::from_utf8_lossy(&told).contains("/admin/links/"), "a mailed link is told to nobody else");
    };
    let newest = async || {
        let (job, mail) = app.mails().await.remove(0);
        assert_eq!(mail.links.len(), 1, "{}", mail.text);
        (job.kind, mail.to, mail.text.replace(&mail.links[0], "LINK"))
    };

    owner.send("POST", &page, "email=bob%40clinic.example&role=read_only").await;
    let (kind, to, invitation) = newest().await;
    assert_eq!(to, "bob@clinic.example");
    run(&lines(&owner.get(&page).await.ok())[1]);
    assert_eq!(newest().await, (kind, "cem@clinic.example".to_owned(), invitation));

    let cem = app.store().read(|tx| admins::by_email(tx, &email("cem@clinic.example"))).await.unwrap().id;
    let of_cem = format!("{page}/{cem}");
    app.catch_up();
    owner.send("POST", &format!("{of_cem}/send-link"), "").await;
    let by_button = newest().await;
    let line = lines(&owner.get(&of_cem).await.ok()).into_iter().find(|line| line.starts_with("usher admin link"));
    let before = app.mails().await.len();
    run(&line.unwrap());
    assert_eq!((newest().await, app.mails().await.len()), (by_button, before + 1));
}

#[test]
fn the_operator_makes_lists_changes_and_removes_administrators() {
    let server = Program::first_start(&[]);
    assert!(server.setup.starts_with(&format!("{}/admin/setup/", server.url)), "{}", server.setup);
    let made = server.json(&["admin", "create", ANN, "--role", "owner", "--public-url", &server.url]);
    assert_eq!((&made["email"], &made["role"]), (&json!(ANN), &json!("owner")));
    let link = made["link"].as_str().unwrap().strip_prefix(&server.url).unwrap();
    let follow = format!("POST {link} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(raw(&server.url, follow.as_bytes()).0.contains(" 303 "), "she is in");
    server.json(&["admin", "create", "bob@clinic.example", "--role", "read_only"]);
    server.json(&["admin", "role", "bob@clinic.example", "support"]);
    let roles = |server: &Program| -> Vec<String> {
        let list = server.json(&["admin", "list"]);
        list.as_array().unwrap().iter().map(|one| one["role"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(roles(&server), ["owner", "support"]);
    let link = server.json(&["admin", "link", ANN, "--public-url", &server.url])["link"].as_str().unwrap().to_owned();
    assert!(link.starts_with(&format!("{}/admin/links/", server.url)));
    server.json(&["admin", "remove", "bob@clinic.example"]);
    assert_eq!(roles(&server), ["owner"]);
    for refused in [["admin", "remove", ANN], ["admin", "role", "eve@evil.example"], ["admin", "setup", "--json"]] {
        let refused: Vec<&str> =
            if refused[1] == "role" { [&refused[..], &["owner"]].concat() } else { refused.to_vec() };
        assert!(!server.run(&refused).status.success(), "{refused:?}");
    }
}

#[tokio::test]
async fn whoever_asks_in_an_administrators_name_keeps_no_owner_from_letting_them_in() {
    let app = TestApp::new().await;
    let setup = set_up(&app).await;
    let burst = async || {
        for n in 0..70 {
            post(&app, "/admin/sign-in", &format!("email=nobody{n}%40evil.example")).await;
        }
    };
    burst().await;
    post(&app, &setup, "email=owner%40clinic.example").await.ok();
    assert_eq!(told(&app).await.len(), 1, "the first administrator has their link beside any number who ask");

    let owner = app.admin(Role::Support).await;
    let id = app.store().read(|tx| admins::by_email(tx, &email("owner@clinic.example"))).await.unwrap().id;
    let promote = move |tx: &usher::db::Tx| {
        let support = admins::by_email(tx, &email("support@clinic.example"))?;
        admins::set_role(tx, Origin::of(Actor::Admin(id)), support.id, Role::Owner)
    };
    app.store().write(promote).await.unwrap();
    let page = format!("/admin/{}/sandbox/admins", app.client_id);
    burst().await;
    assert_eq!(owner.send("POST", &page, "email=ann%40clinic.example&role=support").await.status, 303);
    assert_eq!(told(&app).await.len(), 1, "so has whoever is invited");
    for _ in 0..8 {
        post(&app, "/admin/sign-in", "email=ann%40clinic.example").await;
    }
    assert_eq!(told(&app).await.len(), 5, "what strangers ask for has an end of its own");

    let ann = app.store().read(|tx| admins::by_email(tx, &email(ANN))).await.unwrap().id;
    let send = format!("{page}/{ann}/send-link");
    let made = async || noted(&app).await.iter().filter(|(action, ..)| *action == Action::AdminLinkMade).count();
    let before = made().await;
    for n in 1..=4 {
        assert_eq!(owner.send("POST", &send, "").await.status, 303);
        assert_eq!((told(&app).await.len(), made().await), (1, before + n));
    }
    let refused = owner.send("POST", &send, "").await;
    assert_eq!(refused.status, 429, "the invitation and four more");
    assert!(refused.text.contains("Five links were sent to this administrator within an hour"), "{}", refused.text);
    assert_eq!((told(&app).await.len(), made().await), (0, before + 4), "what is not made is not in the trail");
    app.advance(61 * MINUTE);
    let owner = app.admin(Role::Owner).await;
    assert_eq!(owner.send("POST", &send, "").await.status, 303);
}

#[tokio::test]
async fn the_dashboard_opens_where_people_are() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let place = async || owner.get("/admin").await.header("location").rsplit('/').next().unwrap().to_owned();
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    assert_eq!(place().await, "sandbox", "nobody is in live yet");
    app.partner_in(Kind::Live, Some("acme")).await.post("/users/create", jane()).await.ok();
    assert_eq!(place().await, "live");
}

#[tokio::test]
async fn mail_to_an_administrator_that_was_given_up_is_told_of() {
    let app = TestApp::new().await;
    app.catch_up();
    let mailing = mailing(&app).await;
    let owner = app.admin(Role::Owner).await.at(&mailing);
    let page = format!("/admin/{}/sandbox/admins", app.client_id);
    assert_eq!(owner.send("POST", &page, "email=ann%40clinic.example&role=owner").await.status, 303);
    mailed(&app).await;
    assert!(!owner.get(&page).await.ok().text.contains("was given up"));
    app.tamper("UPDATE outbox SET state = 'failed', due_at = NULL, failure = '550 no such mailbox'");
    let told = owner.get(&page).await.ok().text;
    assert!(told.contains("ann@clinic.example was given up") && told.contains("550 no such mailbox"), "{told}");
    let listed = shell(&app, "usher mail list --state failed --json").stdout;
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    assert_eq!((&listed[0]["to"], listed.as_array().unwrap().len()), (&json!(ANN), 1));

    let ann = app.store().read(|tx| admins::by_email(tx, &email(ANN))).await.unwrap().id;
    assert_eq!(owner.send("POST", &format!("{page}/{ann}/send-link"), "").await.status, 303);
    assert!(!owner.get(&page).await.ok().text.contains("was given up"), "a newer one is on its way");
    let give_up =
        "UPDATE outbox SET state = 'failed', due_at = NULL, failure = 'no such host' WHERE due_at IS NOT NULL";
    app.tamper(give_up);
    let told = owner.get(&page).await.ok().text;
    assert_eq!(told.matches("was given up").count(), 1, "of the newest: {told}");
    assert!(told.contains("no such host"), "{told}");
    for (after, is_told) in [(Duration::from_hours(7 * 24 - 1), true), (Duration::from_hours(1), false)] {
        app.advance(after);
        let owner = app.admin(Role::Owner).await;
        assert_eq!(owner.get(&page).await.ok().text.contains("was given up"), is_told, "after {after:?} more");
    }
}
