//! Pages and mails in the language of whoever reads them.

use serde_json::json;
use toml::Table;
use usher::words::Language;

use crate::harness::{Answer, But, Client, TestApp, jane};
use crate::links::version_of;
use crate::signin::app_and_jane;

/// The texts of a language, as its file has them.
struct Texts(Table);

impl Texts {
    fn of(language: Language) -> Texts {
        let path = format!("{}/locales/{}.toml", env!("CARGO_MANIFEST_DIR"), language.tag());
        Texts(std::fs::read_to_string(path).unwrap().parse().unwrap())
    }

    fn raw(&self, name: &str) -> &str {
        self.0["texts"][name].as_str().unwrap_or_else(|| panic!("no {name}"))
    }

    /// A text of the app under test, as it stands in HTML.
    fn of_app(&self, name: &str) -> String {
        self.raw(name).replace("{app}", "Acme Coaching").replace('\'', "&#39;")
    }
}

/// A page in a language: it says so, has the words, and no place that was not filled in.
#[track_caller]
fn assert_speaks(page: &Answer, language: Language, texts: &[&str]) {
    let words = Texts::of(language);
    let (tag, direction) = (language.tag(), if language == Language::Arabic { "rtl" } else { "ltr" });
    assert!(page.text.contains(&format!(r#"<html lang="{tag}" dir="{direction}">"#)), "{}", page.text);
    assert_eq!(page.header("content-language"), tag);
    for name in texts {
        let text = words.of_app(name);
        assert!(page.text.contains(text.split('{').next().unwrap()), "{language:?} {name}: {}", page.text);
    }
    let body = page.text.split("<main").nth(1).unwrap();
    assert!(!body.contains(['{', '}']), "{body}");
    if language != Language::English {
        for english in [" the ", " your ", " you ", "Sign in"] {
            assert!(!body.contains(english), "{language:?} has {english:?}: {body}");
        }
    }
}

fn reads(app: &TestApp, language: Language) -> Client<'_> {
    app.anyone().with("Accept-Language", &format!("nl, {}-XX;q=0.9, en;q=0.1", language.tag()))
}

#[tokio::test]
async fn every_page_of_signing_in_is_in_the_language_of_the_browser() {
    for language in Language::ALL.iter().copied() {
        let (app, _) = app_and_jane().await;
        let browser = reads(&app, language);
        let first = browser.get(&app.sign_in_path()).await.ok();
        assert_speaks(&first, language, &["sign_in_title", "sign_in_lead", "email_label", "continue_button"]);
        let wrong = browser.send("POST", &app.sign_in_path(), "email=nobody").await;
        assert_speaks(&wrong, language, &["email_fault"]);
        let out = browser.get(&format!("{}&logout=true", app.sign_in_path())).await.ok();
        assert_speaks(&out, language, &["not_signed_out_notice"]);

        let (begun, _) = app.begin_as(&browser, "jane@doe.com").await;
        // From here on it is known, whatever the browser says later.
        let begun = begun.instead("Accept-Language", "nl");
        let code = begun.get("/sign-in/code").await.ok();
        assert_speaks(&code, language, &["code_title", "code_label", "sign_in_button", "code_lead"]);
        for guess in 0..6 {
            let wrong = begun.send("POST", "/sign-in/code", "code=x").await;
            assert_speaks(&wrong, language, &[if guess < 5 { "code_wrong" } else { "code_burnt" }]);
        }
        let (link, _) = app.newest_mail().await;
        assert_speaks(&begun.get(&link).await.ok(), language, &["sign_in_title", "press_button"]);
        let other = app.anyone().with("Accept-Language", "nl");
        for elsewhere in [other.get(&link).await, other.send("POST", &link, "").await] {
            assert_eq!(elsewhere.status, 403);
            assert_speaks(&elsewhere, language, &["elsewhere_title", "elsewhere"]);
        }
        let entered = begun.send("POST", &link, "").await;
        let out = browser.with("Cookie", crate::links::cookie(&entered));
        let out = out.get(&format!("{}&logout=true", app.sign_in_path())).await.ok();
        assert_speaks(&out, language, &["signed_out_notice"]);
        assert_over(&begun, &link, language).await;

        app.advance(std::time::Duration::from_secs(1));
        let (late, _) = app.begin_as(&browser, "jane@doe.com").await;
        let (link, _) = app.newest_mail().await;
        app.advance(usher::signin::LIFETIME);
        assert_over(&late.instead("Accept-Language", "nl"), &link, language).await;

        assert_speaks(&browser.get("/sign-out").await.ok(), language, &["sign_out_of_all_title", "sign_out"]);
        let app = format!("/sign-out?client_id={}&environment=sandbox", app.client_id);
        assert_speaks(&browser.get(&app).await.ok(), language, &["sign_out_title", "sign_out"]);
    }
}

/// A sign-in that is over says so in the language in which it was begun.
async fn assert_over(begun: &Client<'_>, link: &str, language: Language) {
    for over in [
        begun.get("/sign-in/code").await,
        begun.send("POST", "/sign-in/code", "code=x").await,
        begun.get(link).await,
        begun.send("POST", link, "").await,
    ] {
        assert_eq!(over.status, 410);
        assert_speaks(&over, language, &["over_title", "over"]);
    }
}

#[tokio::test]
async fn every_page_of_a_link_is_in_the_language_of_the_person_and_else_of_the_browser() {
    for language in Language::ALL.iter().copied() {
        for (of_person, of_browser) in [(language.tag(), "nl, en"), ("nl", language.tag())] {
            let app = TestApp::new().await;
            let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
            let change = json!({"user": {"language": of_person}});
            app.server().await.put(&format!("/v1/users/{id}"), change).await.ok();
            let (browser, link) = (app.anyone().with("Accept-Language", of_browser), app.newest_link().await);
            assert_speaks(&browser.get(&link).await.ok(), language, &["welcome_title", "press_button"]);
            let foreign = browser.with("Sec-Fetch-Site", "cross-site").send("POST", &link, "").await;
            assert_speaks(&foreign, language, &["error_title", "cross_site"]);
            browser.send("POST", &link, "").await;
            let used = browser.get(&link).await;
            assert_speaks(&used, language, &["link_used", "new_link_lead", "new_link_button"]);
            app.advance(std::time::Duration::from_secs(1));
            let sent = browser.send("POST", &format!("{link}/renew"), "").await.ok();
            assert_speaks(&sent, language, &["code_title", "new_link_sent"]);
            let newest = app.newest_link().await;
            app.advance(std::time::Duration::from_hours(24));
            assert_speaks(&browser.get(&newest).await, language, &["link_expired"]);
            app.advance(std::time::Duration::from_secs(1));
            browser.send("POST", &format!("{newest}/renew"), "").await.ok();
            assert_speaks(&browser.get(&newest).await, language, &["link_superseded"]);
        }
    }
}

#[tokio::test]
async fn a_page_that_a_mail_leads_to_is_in_the_apps_language_where_nobody_tells_one() {
    let app = TestApp::new().await;
    app.tamper("UPDATE apps SET language = 'fr'");
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    let (_, mail) = app.mails().await.remove(0);
    assert_eq!(mail.language, Language::French);
    let link = app.newest_link().await;
    assert_speaks(&app.anyone().get(&link).await.ok(), Language::French, &["welcome_title", "press_button"]);
    assert_speaks(&reads(&app, Language::German).get(&link).await.ok(), Language::German, &["welcome_title"]);
    let sent = app.anyone().send("POST", &format!("{link}/renew"), "").await.ok();
    assert_speaks(&sent, Language::French, &["code_title", "new_link_sent"]);

    let (app, _) = app_and_jane().await;
    app.tamper("UPDATE apps SET language = 'fr'");
    let asked = app.anyone().get(&app.sign_in_path()).await.ok();
    assert_speaks(&asked, Language::French, &["sign_in_title", "continue_button"]);

    // Nobody is signed in, but to which app nobody is, the address tells.
    let profile = format!("/profile?client_id={}&environment=sandbox", app.client_id);
    let signed_out = app.anyone().get(&profile).await.ok();
    assert_speaks(&signed_out, Language::French, &["signed_out_title", "signed_out"]);
    let link = app.newest_link().await;
    let foreign = app.anyone().with("Sec-Fetch-Site", "cross-site").send("POST", &link, "").await;
    assert_speaks(&foreign, Language::French, &["error_title", "cross_site"]);
    let entered = app.anyone().send("POST", &link, "").await;
    let profile = app.anyone().with("Cookie", crate::links::cookie(&entered)).get("/profile").await.ok();
    assert_speaks(&profile, Language::French, &["profile_title"]);
}

/// Jane's browser, signed in, and the profile page.
async fn signed_in(app: &TestApp, language: Language) -> (Client<'_>, Answer) {
    let entered = app.anyone().send("POST", &app.newest_link().await, "").await;
    let browser = reads(app, language).with("Cookie", crate::links::cookie(&entered));
    let page = browser.get("/profile").await.ok();
    (browser, page)
}

#[tokio::test]
async fn the_profile_is_in_the_language_of_its_person_and_what_is_wrong_stands_beside_its_field() {
    for language in Language::ALL.iter().copied() {
        let app = TestApp::new().await;
        app.partner("acme").await.post("/users/create", jane()).await.ok();
        let (browser, page) = signed_in(&app, language).await;
        let all =
            ["profile_title", "given_name", "birthdate", "language_label", "save", "sessions_title", "session_since"];
        assert_speaks(&page, language, &all);
        assert_speaks(
            &page,
            language,
            &["sign_out", "sign_out_everywhere", "this_browser", "data_lead", "data_button"],
        );
        let version = version_of(&page);
        for (typed, faults) in [
            ("email=", &["required_fault"][..]),
            ("email=x", &["email_fault"]),
            ("phone_number=x&birthdate=2190-01-01", &["phone_fault", "birthdate_fault"]),
            ("nickname=a%00b", &["other_fault"]),
        ] {
            let refused = browser.send("POST", "/profile", format!("version={version}&{typed}")).await;
            assert_eq!(refused.status, 400);
            assert_speaks(&refused, language, faults);
            assert_speaks(&refused, language, &["check_marked"]);
        }
        let long = format!("version={version}&nickname={}", "x".repeat(257));
        assert_speaks(&browser.send("POST", "/profile", long).await, language, &["long_fault"]);
        let saved = browser.send("POST", "/profile", format!("version={version}&nickname=JJ&birthdate=")).await;
        let saved = browser.get(saved.header("location")).await.ok();
        assert_speaks(&saved, language, &["saved"]);
        assert!(saved.text.contains(r#"value="JJ""#) && !saved.text.contains("1990-12-23"), "{}", saved.text);
        let late = browser.send("POST", "/profile", format!("version={version}&nickname=KK")).await;
        assert_eq!(late.status, 412);
        assert_speaks(&late, language, &["stale"]);
    }
}

#[tokio::test]
async fn the_digits_of_a_mail_are_taken_as_any_keyboard_writes_them() {
    for zero in ['\u{660}', '\u{6f0}', '\u{ff10}'] {
        let (app, _) = app_and_jane().await;
        let (browser, _) = app.begin("jane@doe.com").await;
        let (_, digits) = app.newest_mail().await;
        let write = |digit: char| char::from_u32(u32::from(zero) + digit.to_digit(10).unwrap()).unwrap();
        let typed = format!("\u{200f}{}", digits.chars().map(write).collect::<String>());
        let code: String = url::form_urlencoded::byte_serialize(typed.as_bytes()).collect();
        assert_eq!(browser.send("POST", "/sign-in/code", format!("code={code}")).await.status, 303, "{typed}");
    }
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_shown_and_not_overwritten_by_a_save_that_was_refused_before() {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane().but("firstname", json!("Jane "))).await.ok();
    let id = id.id().to_owned();
    let (browser, page) = signed_in(&app, Language::English).await;
    let save = async |page: &Answer, birthdate: &str| {
        let typed = format!("version={}&given_name=Jane&nickname=JJ&birthdate={birthdate}", version_of(page));
        browser.send("POST", "/profile", typed).await
    };
    let corrected = json!({"user": {"phone_number": "+12025550199"}});
    app.server().await.put(&format!("/v1/users/{id}"), corrected).await.ok();
    let refused = save(&page, "2190-01-01").await;
    assert!(refused.text.contains(r#"value="JJ""#) && refused.text.contains("2190-01-01"), "{}", refused.text);
    let late = save(&refused, "1990-12-23").await;
    assert_eq!((refused.status, late.status), (400, 412));
    assert!(late.text.contains("2025550199") && !late.text.contains(r#"value="JJ""#), "{}", late.text);
    assert_eq!(save(&late, "1990-12-23").await.status, 303);
    assert!(browser.get("/profile").await.text.contains(r#"value="Jane ""#), "nobody touched it");
}

#[tokio::test]
async fn a_person_has_their_data_and_an_end_of_every_session() {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let (browser, _) = signed_in(&app, Language::English).await;
    let file = browser.send("POST", "/profile/data", "").await.ok();
    assert_eq!(file.header("content-disposition"), r#"attachment; filename="my-data.json""#);
    assert_eq!(
        (&file.body["user"]["email"], &file.body["user"]["health"]["doctorFullname"]),
        (&json!("jane@doe.com"), &json!("Dr. Mike Smith"))
    );
    let user: usher::users::UserId = id.parse().unwrap();
    let trail = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap();
    assert!(trail.iter().any(|entry| entry.action.as_str() == "user.health_read"), "who has read it is noted");

    let foreign = browser.with("Sec-Fetch-Site", "cross-site");
    for path in ["/profile", "/profile/data", "/profile/sign-out-everywhere"] {
        assert_eq!(foreign.send("POST", path, "nickname=evil").await.status, 403, "{path}");
        assert!(app.anyone().send("POST", path, "").await.header("content-disposition").is_empty());
    }
    browser.send("POST", "/profile/sign-out-everywhere", "").await;
    assert!(browser.get("/profile").await.text.contains("signed out"));
}

#[tokio::test]
async fn what_goes_wrong_is_said_in_the_language_of_the_browser_and_to_programs_in_english() {
    let app = TestApp::new().await;
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    let link = app.newest_link().await;
    for language in Language::ALL.iter().copied() {
        let browser = reads(&app, language);
        assert_speaks(&browser.get("/").await, language, &[]);
        assert_speaks(&browser.get("/links/a/b/c").await, language, &["not_found_title", "not_found"]);
        assert_speaks(&browser.get("/links/x").await, language, &["unknown_link_title", "unknown_link"]);
        assert_speaks(&browser.get("/profile").await, language, &["signed_out_title", "signed_out"]);
        let foreign = browser.with("Sec-Fetch-Site", "cross-site").send("POST", &link, "").await;
        assert_speaks(&foreign, language, &["error_title", "cross_site"]);
        // The app's developer is told what is wrong, in the words of the documents.
        let lost = browser.get("/sign-in?client_id=x").await;
        assert!(lost.text.contains(r#"lang="en" dir="ltr">invalid_client: client_id must be"#), "{}", lost.text);
        assert!(lost.text.contains(&Texts::of(language).of_app("wrong_request")));
        let refused = browser.post("/users/create", jane()).await;
        assert_eq!(refused.message(), app.anyone().post("/users/create", jane()).await.message());
    }
}

#[tokio::test]
async fn what_the_app_asks_for_counts_more_than_the_browser_and_the_browser_wants_the_best() {
    let (app, _) = app_and_jane().await;
    let path = app.sign_in_path();
    for (query, header, expected) in [
        ("", "", Language::English),
        ("", "nl", Language::English),
        ("", "fr;q=0.5, de;q=0.7", Language::German),
        ("&ui_locales=nl+es-MX", "de", Language::Spanish),
        ("&ui_locales=nl", "de", Language::German),
    ] {
        let page = app.anyone().with("Accept-Language", header).get(&format!("{path}{query}")).await.ok();
        assert_speaks(&page, expected, &["sign_in_title"]);
    }
}

#[tokio::test]
async fn a_known_and_an_unknown_address_read_the_same_in_every_language() {
    let (app, id) = app_and_jane().await;
    // Whose record says another language: that must not show.
    app.server().await.put(&format!("/v1/users/{id}"), json!({"user": {"language": "DE"}})).await.ok();
    for language in Language::ALL.iter().copied() {
        let pages = async |address: &str| {
            let (browser, begun) = app.begin_as(&reads(&app, language), address).await;
            let (code, guess) =
                (browser.get("/sign-in/code").await, browser.send("POST", "/sign-in/code", "code=x").await);
            [begun, code, guess]
                .map(|answer| (answer.status, answer.header("content-language").to_owned(), answer.text))
        };
        assert_eq!(pages("jane@doe.com").await, pages("jean@doe.com").await);
    }
}

/// The mails of one person, newest first, once they were enrolled and have asked to sign in.
async fn mails_for(language: &str, browser: &str) -> Vec<usher::mail::Mail> {
    let app = TestApp::new().await;
    app.register(usher::apps::Kind::Sandbox, crate::signin::CALLBACK).await;
    let host = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    app.advance(std::time::Duration::from_secs(1));
    let invited = json!({"email": "joe@doe.com", "language": language});
    app.server().await.post(&format!("/v1/users/{host}"), invited).await.ok();
    app.advance(std::time::Duration::from_secs(1));
    let asks = app.anyone().with("Accept-Language", browser);
    app.begin_as(&asks, "joe@doe.com").await;
    let mails = app.mails().await.into_iter().map(|(_, mail)| mail);
    mails.filter(|mail| mail.to == "joe@doe.com").collect()
}

#[tokio::test]
async fn every_mail_is_in_the_language_of_the_person() {
    for language in Language::ALL.iter().copied() {
        let words = Texts::of(language);
        let [sign_in, enrolment] = &mails_for(language.tag(), "nl").await[..] else { panic!("two mails") };
        for (mail, subject, texts) in [
            (enrolment, "mail_welcome_subject", &["mail_hello", "mail_welcome", "mail_link_lifetime"][..]),
            (sign_in, "mail_sign_in_subject", &["mail_hello", "mail_sign_in", "mail_code", "mail_both_lifetime"]),
        ] {
            let direction = if language == Language::Arabic { "rtl" } else { "ltr" };
            let tag = language.tag();
            assert!(mail.html.contains(&format!(r#"<html lang="{tag}" dir="{direction}">"#)), "{}", mail.html);
            assert_eq!((mail.subject.as_str(), mail.language), (&*words.of_app(subject), language));
            for name in texts {
                let text = words.raw(name).replace("{app}", "Acme Coaching");
                let text = text.split('{').next().unwrap();
                assert!(mail.text.contains(text), "{name}: {}", mail.text);
                assert!(mail.html.contains(&text.replace('\'', "&#x27;")), "{name}: {}", mail.html);
            }
            let [link] = &mail.links[..] else { panic!("one link") };
            assert!(mail.text.contains(&format!("\n{link}\n")) && mail.html.contains(&format!(r#"href="{link}""#)));
            assert!(!mail.text.contains(['{', '}']) && !mail.html.contains("{{"), "{}", mail.text);
            // Nothing is loaded, nothing is counted.
            assert!(
                !mail.html.contains("<img") && !mail.html.contains("url(") && mail.html.matches("http").count() == 2
            );
        }
        let digits = sign_in.text.lines().find(|line| line.len() == 6 && line.parse::<u32>().is_ok()).unwrap();
        assert!(sign_in.html.contains(digits));
    }
}

#[tokio::test]
async fn who_is_told_that_their_address_was_changed_is_told_in_their_language() {
    for language in Language::ALL.iter().copied() {
        let (app, id) = app_and_jane().await;
        app.anyone().send("POST", &app.newest_link().await, "").await;
        let change = json!({"user": {"language": language.tag()}});
        let (server, path, words) = (app.server().await, format!("/v1/users/{id}"), Texts::of(language));
        server.put(&path, change).await.ok();
        // What is known of the person counts, and not what the change says.
        server.put(&path, json!({"user": {"email": "j@roe.com", "language": "NL"}})).await.ok();
        let (_, mail) = app.mails().await.remove(0);
        assert_eq!((mail.subject.as_str(), mail.language), (&*words.of_app("mail_changed_subject"), language));
        let says = |name: &str| words.raw(name).replace("{app}", "Acme Coaching").replace("{name}", "jane");
        for text in ["mail_hello_name", "mail_changed", "mail_changed_not_you"].map(says) {
            assert!(mail.text.contains(&text) && mail.html.contains(&text), "{text}: {}", mail.text);
        }
    }
}

#[tokio::test]
async fn a_mail_to_somebody_of_unknown_language_is_in_that_of_their_browser_or_english() {
    let [sign_in, enrolment] = &mails_for("NL", "fr").await[..] else { panic!("two mails") };
    assert_eq!((sign_in.language, enrolment.language), (Language::French, Language::English));
    let [sign_in, enrolment] = &mails_for("AT", "fr").await[..] else { panic!("two mails") };
    assert_eq!((sign_in.language, enrolment.language), (Language::German, Language::German));
    let named = TestApp::new().await;
    named.partner("acme").await.post("/users/create", jane().but("firstname", json!("Jané"))).await.ok();
    assert!(named.mails().await[0].1.text.starts_with("Hello Jané,"));
}
