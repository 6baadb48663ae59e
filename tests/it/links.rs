//! The magic link: from the mail to the signed-in profile page, once.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use usher::apps::{self, Kind, Settings};
use usher::audit::Action;
use usher::links;
use usher::secret::Secret;
use usher::users::{self, Status, UserId};

use crate::harness::{Answer, But, OPERATOR, TestApp, jane, john};

async fn app_with_link() -> (TestApp, String, String) {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let link = app.newest_link().await;
    (app, id, link)
}

impl TestApp {
    async fn open(&self, link: &str) -> Answer {
        self.anyone().get(link).await
    }

    /// Asks for a new link, a second later: mails of one millisecond have no order.
    async fn renew(&self, link: &str) -> Answer {
        self.advance(Duration::from_secs(1));
        self.press(&format!("{link}/renew")).await
    }

    async fn press(&self, link: &str) -> Answer {
        self.anyone().send("POST", link, "").await
    }
}

/// The version of the record that the profile page was made from, as its form sends it.
pub fn version_of(page: &Answer) -> String {
    let (_, rest) = page.text.split_once(r#"name="version" value=""#).expect("the form names a version");
    let version = rest.split('"').next().unwrap().replace("&#34;", "\"");
    url::form_urlencoded::byte_serialize(version.as_bytes()).collect()
}

pub fn cookie(answer: &Answer) -> &str {
    answer.header("set-cookie").split(';').next().unwrap()
}

#[tokio::test]
async fn a_link_opened_ten_times_works_once_by_its_button_and_then_no_more() {
    let (app, id, link) = app_with_link().await;
    for _ in 0..10 {
        let page = app.open(&link).await.ok();
        assert!(page.text.contains("Sign in") && page.header("set-cookie").is_empty());
        app.anyone().send("HEAD", &link, "").await.ok();
    }
    assert!(app.user(&id).await.email_verified_at.is_none());
    let pressed = app.press(&link).await;
    let profile = format!("/profile?client_id={}&environment=sandbox", app.client_id);
    assert_eq!((pressed.status, pressed.header("location")), (303, profile.as_str()));
    assert!(app.user(&id).await.email_verified_at.is_some(), "whoever follows the link has the mailbox");
    let profile = app.anyone().with("Cookie", cookie(&pressed)).get("/profile").await.ok();
    assert!(profile.text.contains(r#"value="jane""#) && profile.text.contains(r#"value="1234567890""#));
    let again = app.press(&link).await;
    assert!(again.header("set-cookie").is_empty() && again.text.contains("already used"));
    assert!(app.open(&link).await.text.contains("Send me a new link"));
}

#[tokio::test]
async fn of_100_simultaneous_presses_one_signs_in() {
    let (app, _, link) = app_with_link().await;
    let presses = futures_util::future::join_all((0..100).map(|_| app.press(&link))).await;
    assert_eq!(presses.iter().filter(|a| a.status == 303).count(), 1);
    assert_eq!(app.count("sessions").await, 1);
}

#[tokio::test]
async fn the_link_has_256_random_bits_and_only_their_hash_is_stored() {
    let (app, _, link) = app_with_link().await;
    let secret = link.strip_prefix("/links/").unwrap();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(secret).unwrap();
    let (id, random) = bytes.split_at(16);
    assert_eq!(random.len(), 32);
    let rows = app.store().read(|tx| tx.query("SELECT id, hash FROM links", &[])).await.unwrap();
    let row: (Vec<u8>, Vec<u8>) = (rows[0].get(0).unwrap(), rows[0].get(1).unwrap());
    assert_eq!((rows.len(), row), (1, (id.to_vec(), usher::secret::sha256(random).to_vec())));
    let other = BASE64_URL_SAFE_NO_PAD.encode([id, &[7; 32]].concat());
    assert!(app.press(&format!("/links/{other}")).await.text.contains("not one of ours"), "the id alone opens nothing");
}

#[tokio::test]
async fn a_link_works_for_a_day_and_then_offers_a_new_one() {
    let (app, id, link) = app_with_link().await;
    app.advance(Duration::from_hours(24) - Duration::from_secs(1));
    assert!(app.open(&link).await.text.contains("Sign in"));
    app.advance(Duration::from_secs(1));
    for page in [app.open(&link).await, app.press(&link).await] {
        assert!(page.text.contains("expired") && page.text.contains("Send me a new link"), "{}", page.text);
    }
    let sent = app.renew(&link).await.ok();
    assert!(sent.text.contains("sent you a new link"));
    let noted = app.audited(Action::LinkSent).await.remove(0);
    assert_eq!((noted.user.unwrap().to_string(), noted.actor), (id, None), "whoever has the old link");
    assert_eq!(noted.request.unwrap().to_string(), sent.header("request-id"));
    assert_eq!(app.press(&app.newest_link().await).await.status, 303);
}

#[tokio::test]
async fn a_newer_link_supersedes_the_one_before() {
    let (app, _, first) = app_with_link().await;
    app.renew(&first).await.ok();
    let second = app.newest_link().await;
    assert_ne!(first, second);
    assert!(app.press(&first).await.text.contains("This link no longer works"));
    assert_eq!(app.press(&second).await.status, 303);
}

#[tokio::test]
async fn a_person_is_sent_five_links_an_hour_at_the_most() {
    let (app, _, link) = app_with_link().await;
    for _ in 0..4 {
        app.renew(&link).await.ok();
    }
    let newest = app.newest_link().await;
    let refused = app.renew(&link).await;
    assert_eq!((refused.status, app.mails().await.len()), (429, 5));
    assert_eq!(app.press(&newest).await.status, 303, "the link already sent still works");
    app.advance(Duration::from_hours(1));
    app.renew(&link).await.ok();
}

#[tokio::test]
async fn an_email_change_freezing_and_deletion_end_a_link() {
    let (app, id, link) = app_with_link().await;
    let server = app.server().await;
    server.put(&format!("/v1/users/{id}"), json!({"user": {"email": "jane@roe.com"}})).await.ok();
    assert!(app.press(&link).await.text.contains("This link no longer works"));
    app.renew(&link).await.ok();
    assert_eq!(app.mails().await[0].1.to, "jane@roe.com", "a new link goes to the address on record");
    let newest = app.newest_link().await;
    let user: UserId = id.parse().unwrap();
    for (status, code) in [(Status::Frozen, 403), (Status::Deleted, 401)] {
        app.store().write(move |tx| users::set_status(tx, user, status)).await.unwrap();
        assert_eq!(app.renew(&newest).await.status, code);
        assert_ne!(app.press(&newest).await.status, 303);
    }
}

#[tokio::test]
async fn a_new_address_of_someone_who_never_followed_their_link_is_sent_one() {
    let (app, id, old) = app_with_link().await;
    app.partner("acme").await.post("/users/create", john()).await.ok();
    app.advance(Duration::from_secs(1));
    let (server, path) = (app.server().await, format!("/v1/users/{id}"));
    let taken = json!({"user": {"email": "jane@roe.com", "phone_number": "2025550123"}});
    assert_eq!(server.put(&path, taken).await.status, 400);
    assert_eq!(app.mails().await.len(), 2, "a change that fails sends nothing");

    server.put(&path, json!({"user": {"email": "jane@roe.com"}})).await.ok();
    let mails = app.mails().await;
    assert_eq!((mails.len(), mails[0].1.to.as_str()), (3, "jane@roe.com"));
    assert!(app.press(&old).await.text.contains("This link no longer works"));
    assert_eq!(app.press(&app.newest_link().await).await.status, 303);
    assert!(app.user(&id).await.email_verified_at.is_some());
}

#[tokio::test]
async fn a_new_address_of_someone_who_has_a_session_ends_it_unless_they_chose_it_themselves() {
    let (app, id, link) = app_with_link().await;
    let pressed = app.press(&link).await;
    let me = app.anyone().with("Cookie", cookie(&pressed));
    let typed = format!("version={}&email=jane%40roe.com", version_of(&me.get("/profile").await.ok()));
    assert_eq!(me.send("POST", "/profile", typed).await.status, 303);
    assert!(me.get("/profile").await.text.contains(r#"value="jane@roe.com""#));
    assert!(app.user(&id).await.email_verified_at.is_none());
    app.renew(&link).await.ok();
    assert_eq!(app.press(&app.newest_link().await).await.status, 303);

    let server = app.server().await;
    server.put(&format!("/v1/users/{id}"), json!({"user": {"email": "jane@poe.com"}})).await.ok();
    assert!(me.get("/profile").await.text.contains("signed out"));
    assert!(app.user(&id).await.email_verified_at.is_none());
    let links = app.mails().await.iter().filter(|(_, mail)| !mail.links.is_empty()).count();
    assert_eq!(links, 2, "who has been here knows how to ask for a link");
    let acme = app.partner("acme").await;
    assert_eq!(acme.post("/users/update", json!({"email": "jane@doe.com"})).await.status, 404);
}

#[tokio::test]
async fn case_d8_who_saves_their_profile_while_the_mailbox_is_proven_by_another_does_not_take_it_from_them() {
    let (app, id, link) = app_with_link().await;
    let attacker = app.anyone().with("Cookie", cookie(&app.press(&link).await));
    let moves = async |to: &str| attacker.send("POST", "/profile", format!("version=*&email={to}")).await;
    assert_eq!(moves("jane%40roe.com").await.status, 303);
    app.renew(&link).await.ok();
    let newest = Secret::new(app.newest_link().await.strip_prefix("/links/").unwrap().to_owned());
    let made_with = app.app.api().links.clone();
    let enter = move |tx: &usher::db::Tx| Ok(links::follow(tx, &made_with, &newest, None)?.is_ok());
    let (entered, saved) = app.meanwhile(enter, moves("mine%40doe.com")).await;
    assert!(entered.unwrap());
    assert!(saved.status == 200 && saved.text.contains("signed out"), "{} {}", saved.status, saved.text);
    let user = app.user(&id).await;
    assert_eq!((user.email.address(), user.email_verified_at.is_some()), ("jane@roe.com", true));
}

#[tokio::test]
async fn another_spelling_of_the_address_is_no_change_and_another_mailbox_is() {
    let app = TestApp::new().await;
    let body = jane().but("email", json!("masse@doe.com"));
    let id = app.partner("acme").await.post("/users/create", body).await.ok().id().to_owned();
    app.press(&app.newest_link().await).await;
    let server = app.server().await;
    for (address, verified) in [("MASSE@doe.com", true), ("maße@doe.com", false)] {
        server.put(&format!("/v1/users/{id}"), json!({"user": {"email": address}})).await.ok();
        let user = app.user(&id).await;
        assert_eq!((user.email.address(), user.email_verified_at.is_some()), (address, verified));
    }
}

#[tokio::test]
async fn the_mail_says_how_long_its_link_works() {
    for (lifetime, words) in [
        (Duration::from_hours(24), "for 24 hours."),
        (Duration::from_mins(90), "for 90 minutes."),
        (Duration::from_secs(2), "for 2 seconds."),
    ] {
        let app = TestApp::with_links_for(lifetime).await;
        app.partner("acme").await.post("/users/create", jane()).await.ok();
        let (_, mail) = app.mails().await.remove(0);
        assert!(mail.text.contains(words) && mail.html.contains(words), "{words}: {}", mail.text);
        app.advance(lifetime.checked_sub(Duration::from_secs(1)).unwrap());
        assert!(app.open(&app.newest_link().await).await.text.contains("Sign in"));
        app.advance(Duration::from_secs(1));
        assert!(app.open(&app.newest_link().await).await.text.contains("expired"));
    }
}

#[tokio::test]
async fn a_name_with_a_number_to_call_does_not_greet() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    for (i, (name, greeting)) in
        [("Jane 4th 123", "Hello Jane 4th 123,"), ("Jane 12345", "Hello,"), ("call 1 2 3 4 5", "Hello,")]
            .iter()
            .enumerate()
    {
        let body =
            jane().but("email", json!(format!("j{i}@doe.com"))).but("phonenumber", json!(format!("202555010{i}")));
        app.advance(Duration::from_secs(1));
        acme.post("/users/create", body.but("firstname", json!(name))).await.ok();
        let (_, mail) = app.mails().await.remove(0);
        assert!(mail.text.starts_with(greeting) && mail.html.contains(greeting), "{}", mail.text);
    }
}

#[tokio::test]
async fn an_unknown_link_says_so_and_changes_nothing() {
    let (app, _, _) = app_with_link().await;
    for link in ["/links/nonsense", &format!("/links/{}", "A".repeat(64)), "/links/%00", "/links/%E2%98%83"] {
        for page in [app.open(link).await, app.press(link).await] {
            assert!(page.text.contains("not one of ours"), "{link}: {} {}", page.status, page.text);
        }
    }
    assert_eq!((app.count("sessions").await, app.count("links").await), (0, 1));
}

#[tokio::test]
async fn with_a_redirect_url_the_person_goes_to_the_app_with_a_one_time_code() {
    let (app, _, link) = app_with_link().await;
    let id = app.client_id;
    let settings =
        Settings { redirect_url: Some("https://app.example.com/callback?from=mail".into()), ..Settings::default() };
    let policy = async || app.open(&link).await.ok().header("content-security-policy").to_owned();
    assert!(policy().await.ends_with("; form-action 'self'"), "the profile is here");
    app.store().write(move |tx| apps::update(tx, OPERATOR, id, Some(Kind::Sandbox), &settings)).await.unwrap();
    assert!(policy().await.ends_with("; frame-ancestors 'none'"), "where the app goes on to is its own affair");
    let pressed = app.press(&link).await;
    let target: url::Url = pressed.header("location").parse().unwrap();
    assert_eq!((pressed.status, target.origin().ascii_serialization()), (303, "https://app.example.com".to_owned()));
    let query: Vec<(String, String)> = target.query_pairs().into_owned().collect();
    let names: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["from", "code", "service", "client_id"]);
    assert_eq!((query[1].1.len(), query[2].1.as_str(), &query[3].1), (64, "email", &id.to_string()));
    assert_eq!(
        (app.count("sessions").await, app.count("codes").await),
        (1, 1),
        "the code is stored, by its hash, and waits"
    );
    let code = format!("/links/{}", query[1].1);
    assert!(app.open(&code).await.text.contains("not one of ours"), "a code is no link");
}

#[tokio::test]
async fn pages_are_private_and_load_nothing_from_elsewhere() {
    let (app, _, link) = app_with_link().await;
    for page in
        [app.open(&link).await, app.open("/links/nonsense").await, app.open("/").await, app.open("/profile").await]
    {
        assert_eq!((page.header("referrer-policy"), page.header("cache-control")), ("no-referrer", "no-store"));
        assert!(
            page.header("content-security-policy")
                .starts_with("default-src 'none'; style-src 'self'; script-src 'self'")
        );
        assert!(!page.text.contains("style=") && !page.text.contains("onclick"));
        assert!(page.text.contains(usher::ui::assets::at("usher.css")), "pages load what never changes");
    }
    for asset in ["usher.css", "icon.svg"] {
        let asked = app.open(&format!("/assets/{asset}")).await.ok();
        assert_eq!(asked.header("cache-control"), "no-cache", "{asset} may be another one tomorrow");
        let kept = app.open(usher::ui::assets::at(asset)).await.ok();
        assert_eq!(kept.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(kept.text, asked.text);
    }
    assert_eq!(app.open("/favicon.ico").await.ok().header("content-type"), "image/svg+xml");
    let missing = app.open("/assets/../Cargo.toml").await;
    assert_eq!((missing.status, missing.header("content-type")), (404, "text/html; charset=utf-8"));
}

#[tokio::test]
async fn a_form_of_another_site_signs_nobody_in_or_out() {
    let (app, id, link) = app_with_link().await;
    for site in ["cross-site", "same-site"] {
        let foreign = app.anyone().with("Sec-Fetch-Site", site);
        for path in [link.clone(), format!("{link}/renew"), "/profile/sign-out-everywhere".into()] {
            assert_eq!(foreign.send("POST", &path, "").await.status, 403);
        }
    }
    assert!(app.user(&id).await.email_verified_at.is_none());
    assert_eq!(app.anyone().with("Sec-Fetch-Site", "same-origin").send("POST", &link, "").await.status, 303);
}

#[tokio::test]
async fn a_session_ends_by_signing_out_by_time_and_by_freezing() {
    let (app, id, link) = app_with_link().await;
    let pressed = app.press(&link).await;
    assert!(pressed.header("set-cookie").contains("; HttpOnly; SameSite=Lax; Max-Age=2592000; Secure"));
    let me = app.anyone().with("Cookie", &format!("other=1; {}", cookie(&pressed)));
    let signed_in = async || me.get("/profile").await.text.contains("Save");
    assert!(signed_in().await);
    me.send("POST", "/sign-out", "").await;
    assert!(!signed_in().await);

    app.renew(&link).await.ok();
    let pressed = app.press(&app.newest_link().await).await;
    let me = app.anyone().with("Cookie", cookie(&pressed));
    assert!(me.get("/profile").await.text.contains("Save"));
    app.advance(Duration::from_hours(12));
    assert!(me.get("/profile").await.text.contains("signed out"));

    app.renew(&link).await.ok();
    let pressed = app.press(&app.newest_link().await).await;
    let me = app.anyone().with("Cookie", cookie(&pressed));
    let user: UserId = id.parse().unwrap();
    app.store().write(move |tx| users::set_status(tx, user, Status::Frozen)).await.unwrap();
    assert!(!me.get("/profile").await.text.contains("Save"));
}

#[tokio::test]
async fn what_a_partner_or_person_chose_is_escaped_on_the_pages() {
    let app = TestApp::new().await;
    let body = jane().but("firstname", json!(r#""><script>alert(1)</script>"#));
    app.partner("acme").await.post("/users/create", body).await.ok();
    let pressed = app.press(&app.newest_link().await).await;
    let profile = app.anyone().with("Cookie", cookie(&pressed)).get("/profile").await.ok();
    assert!(!profile.text.contains("<script>alert"));
    let (_, mail) = &app.mails().await[0];
    assert!(!mail.html.contains("<script>") && mail.text.starts_with("Hello,"));
}
