//! How an app looks to people: name, colour, logo and language, on its pages and in its mails.

use std::time::Duration;

use serde_json::json;
use usher::admins::Role;
use usher::apps::{self, Color, Logo, Settings};
use usher::audit::Action;
use usher::caller::{Actor, Origin};
use usher::words::Language;

use crate::harness::{But, Client, Folder, TestApp, jane};
use crate::program::Program;
use crate::signin::app_and_jane;

/// A picture of one black pixel.
pub const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\0\0\0\x0aIDAT\x78\x9c\x63\x60\
    \0\0\0\x02\0\x01\x48\xaf\xa4\x71\0\0\0\0IEND\xae\x42\x60\x82";

impl TestApp {
    pub async fn set(&self, settings: Settings) {
        let (app, operator) = (self.client_id, Origin::of(Actor::Operator));
        self.store().write(move |tx| apps::update(tx, operator, app, None, &settings)).await.unwrap();
    }
}

fn look(color: &str) -> Settings {
    let (color, logo) = (Some(Color::parse(color)), Some(Logo::new(PNG.to_vec()).ok()));
    Settings { name: Some("Zoë's <Clinic>".into()), color, logo, ..Settings::default() }
}

/// The address of the logo on a page.
fn logo_of(page: &str) -> &str {
    page.split(r#"<img class="logo" src=""#).nth(1).expect("a logo").split('"').next().unwrap()
}

#[tokio::test]
async fn an_app_shows_its_name_its_colour_and_its_logo_on_every_page_of_its_own() {
    let (app, _) = app_and_jane().await;
    let link = app.newest_link().await;
    app.set(look("#FFD400")).await;
    let anyone = app.anyone();
    let used = {
        let entered = anyone.send("POST", &link, "").await;
        let profile = anyone.with("Cookie", crate::links::cookie(&entered)).get("/profile").await.ok();
        assert_branded(&app, &profile.text).await;
        anyone.get(&link).await
    };
    assert_eq!(used.status, 410, "a link that was used");
    app.advance(Duration::from_secs(1));
    let (begun, _) = app.begin("jane@doe.com").await;
    let (mailed, _) = app.newest_mail().await;
    let foreign = begun.with("Sec-Fetch-Site", "cross-site");
    let pages = [
        used.text,
        anyone.get(&app.sign_in_path()).await.ok().text,
        begun.get("/sign-in/code").await.ok().text,
        // What could not be made is told in the app's colours too.
        anyone.with("Sec-Fetch-Site", "cross-site").send("POST", &link, "").await.text,
        anyone.with("Sec-Fetch-Site", "cross-site").send("POST", &app.sign_in_path(), "email=x").await.text,
        foreign.send("POST", &mailed, "").await.text,
        foreign.send("POST", "/sign-in/code", "code=x").await.text,
        anyone.get(&mailed).await.text,
        anyone.send("POST", &mailed, "").await.text,
        anyone.get(&format!("/profile?client_id={}&environment=sandbox", app.client_id)).await.ok().text,
    ];
    for page in &pages {
        assert_branded(&app, page).await;
    }
    app.advance(usher::signin::LIFETIME);
    for over in [
        begun.get("/sign-in/code").await,
        begun.send("POST", "/sign-in/code", "code=x").await,
        begun.send("POST", &mailed, "").await,
    ] {
        assert_eq!(over.status, 410);
        assert_branded(&app, &over.text).await;
    }
    for unknown in ["/links/unknown", "/sign-in/links/unknown", "/sign-in/code", "/profile"] {
        assert!(!anyone.get(unknown).await.text.contains("/brand/"), "where no app is known");
    }

    let sheet = anyone.get("/brand/ffd400.css").await.ok();
    assert!(sheet.text.starts_with(".page { --brand: #ffd400; --on-brand: #000000; }"), "white would be hard to read");
    let (headers, picture) = anyone.bytes(logo_of(&pages[0])).await;
    assert_eq!((headers["content-type"].as_bytes(), picture.as_slice()), (&b"image/png"[..], PNG));
    assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(headers["content-security-policy"], "default-src 'none'; sandbox");
    assert_eq!(headers["x-content-type-options"], "nosniff");

    let file = logo_of(&pages[0]).to_owned();
    app.set(Settings { color: Some(None), logo: Some(None), ..Settings::default() }).await;
    let plain = anyone.get(&app.sign_in_path()).await.ok().text;
    assert!(!plain.contains("/brand/") && plain.contains("Clinic"), "{plain}");
    for path in [
        file.as_str(),
        "/brand/x.png",
        "/brand/red.css",
        "/brand/12345.css",
        "/brand/0b5cad",
        "/brand/%2e%2e",
        "/brand/%00",
    ] {
        assert_eq!(anyone.get(path).await.status, 404, "{path}");
    }
}

async fn assert_branded(app: &TestApp, page: &str) {
    assert!(page.contains("Zoë&#39;s &#60;Clinic&#62;"), "{page}");
    assert!(page.contains(r#"<link rel="stylesheet" href="/brand/ffd400.css">"#), "{page}");
    assert!(!page.contains(" style="), "the policy allows none");
    app.anyone().bytes(logo_of(page)).await;
}

#[tokio::test]
async fn a_mail_has_the_look_of_its_app_and_does_without_the_picture() {
    let app = TestApp::new().await;
    app.set(look("#102030")).await;
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    let mail = app.mails().await.remove(0).1;
    assert!(mail.subject.contains("Zoë's <Clinic>") && !mail.html.contains("<Clinic>"), "{}", mail.html);
    assert!(mail.html.contains("background:#102030;color:#ffffff"), "{}", mail.html);
    let picture = mail.html.split("<img src=\"").nth(1).unwrap().split('"').next().unwrap();
    let path = picture.strip_prefix("https://users.example.com").expect("beside where the link leads");
    assert_eq!(app.anyone().bytes(path).await.1, PNG);
    assert!(
        mail.html.contains("alt=\"\"") && mail.html.split("alt=\"\"").nth(1).unwrap().contains("Zoë"),
        "its name is text"
    );
    // A change counts for mails that wait as well.
    app.set(Settings { color: Some(None), logo: Some(None), ..Settings::default() }).await;
    let plain = app.mails().await.remove(0).1;
    assert!(plain.html.contains("background:#0b5cad;color:#ffffff") && !plain.html.contains("<img"));
}

#[test]
fn without_tls_a_mail_names_no_picture() {
    let server = Program::start(&[]);
    let file = Folder::new();
    std::fs::write(file.0.join("logo.svg"), PNG).unwrap();
    let logo = file.0.join("logo.svg").display().to_string();
    let id = server.client_id.clone();
    server.json(&["app", "update", &id, "--color", "#ABCDEF", "--logo", &logo]);
    server.enrol(&jane());
    let mail = server.json(&["mail", "show"]);
    assert!(mail["html"].as_str().unwrap().contains("background:#abcdef;color:#000000"));
    assert!(!mail["html"].as_str().unwrap().contains("<img"), "{mail}");
    std::fs::write(file.0.join("logo.png"), b"<svg xmlns='http://www.w3.org/2000/svg'/>").unwrap();
    let svg = file.0.join("logo.png").display().to_string();
    for (options, words) in [
        (["--color", "red"], "#rrggbb"),
        (["--logo", svg.as_str()], "PNG or JPEG"),
        (["--logo", "/nowhere.png"], "cannot be read"),
        (["--language", "nl"], "en, de"),
    ] {
        let refused = server.run(&["app", "update", &id, options[0], options[1]]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(words), "{options:?}: {said}");
    }
    server.json(&["app", "update", &id, "--color", "", "--logo", "", "--language", "fr"]);
}

/// The form of the settings, as a browser sends it.
async fn send(admin: &Client<'_>, path: &str, fields: &[(&str, &[u8])]) -> crate::harness::Answer {
    let mut body = Vec::new();
    for (name, value) in fields {
        let file = if name.contains("logo") { "; filename=\"a.png\"" } else { "" };
        body.extend(format!("--x1\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
        body.extend(*value);
        body.extend(b"\r\n");
    }
    body.extend(b"--x1--\r\n");
    admin.with("Content-Type", "multipart/form-data; boundary=x1").send("POST", path, body).await
}

#[tokio::test]
async fn an_owner_changes_how_the_app_looks_in_the_settings_and_the_trail_knows_before_and_after() {
    let (app, _) = app_and_jane().await;
    let owner = app.admin(Role::Owner).await;
    let base = format!("/admin/{}/live/settings", app.client_id);
    let path = format!("{base}/look");
    let all: [(&str, &[u8]); 4] = [("name", b" Calm "), ("color", b"#0B7A3B"), ("language", b"de"), ("logo", PNG)];
    let saved = send(&owner, &path, &all).await;
    assert_eq!((saved.status, saved.header("location")), (303, format!("{base}?said=looks").as_str()));
    let page = owner.get(saved.header("location")).await.ok().text;
    assert!(page.contains("Saved.") && page.contains(r#"value="Calm""#) && page.contains(r##"value="#0b7a3b""##));
    assert!(page.contains(r#"<option value="de" selected>"#));
    assert_eq!(app.anyone().bytes(logo_of(&page)).await.1, PNG);

    let noted = app.audited(Action::AppUpdated).await;
    let fields = &noted[0].changes.0["fields"];
    assert_eq!(fields["name"], json!(["Acme Coaching", "Calm"]));
    assert_eq!((&fields["color"], &fields["language"]), (&json!([null, "#0b7a3b"]), &json!([null, "de"])));
    assert!(fields["logo"][1].as_str().unwrap().contains(".png") && fields["issuer"].is_null());
    assert!(matches!(noted[0].actor, Some(Actor::Admin(_))));
    let ours: Vec<_> = noted.iter().filter(|entry| !entry.changes.0["fields"]["color"].is_null()).collect();
    assert_eq!(ours.len(), 2, "the app is the same in both environments");

    // A logo that is not chosen anew stays; what changes nothing is not noted.
    let again =
        send(&owner, &path, &[("name", b"Calm"), ("color", b"#0b7a3b"), ("language", b"de"), ("logo", b"")]).await;
    assert_eq!((again.status, app.audited(Action::AppUpdated).await.len()), (303, noted.len()));
    assert!(owner.get(&base).await.ok().text.contains("<img class=\"logo\""));
    for (wrong, words) in [
        (("color", &b"green"[..]), "#rrggbb"),
        (("logo", b"<svg/>"), "PNG or JPEG"),
        (("name", b" "), "something in it"),
        (("language", b"nl"), "one of"),
    ] {
        let refused = send(&owner, &path, &[wrong]).await;
        assert!(refused.status == 400 && refused.text.contains(words), "{}", refused.text);
    }
    assert_eq!(owner.send("POST", &path, "name=x").await.status, 400, "no such form");
    send(&owner, &path, &[("no_logo", b"yes"), ("color", b"")]).await;
    let page = owner.get(&base).await.ok().text;
    assert!(!page.contains("<img class=\"logo\"") && page.contains(r#"name="color" maxlength="7""#));
}

#[tokio::test]
async fn who_has_no_language_of_their_own_is_written_to_in_that_of_the_app() {
    let app = TestApp::new().await;
    app.set(Settings { language: Some(Some(Language::French)), ..Settings::default() }).await;
    let acme = app.partner("acme").await;
    let id = acme.post("/users/create", jane()).await.ok().id().to_owned();
    assert_eq!(app.mails().await[0].1.language, Language::French);
    app.server().await.put(&format!("/v1/users/{id}"), json!({"user": {"language": "DE"}})).await.ok();
    app.advance(Duration::from_secs(1));
    let user = app.user(&id).await;
    let links = app.app.api().links.clone();
    app.store().write(move |tx| usher::links::send(tx, &links, &user)).await.unwrap();
    assert_eq!(app.mails().await[0].1.language, Language::German, "their own counts more");
    let second = jane().but("email", json!("p@doe.com")).but("phonenumber", json!("2025550199"));
    app.set(Settings { language: Some(None), ..Settings::default() }).await;
    app.advance(Duration::from_secs(1));
    acme.post("/users/create", second).await.ok();
    assert_eq!(app.mails().await[0].1.language, Language::English);
}
