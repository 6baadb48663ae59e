//! What support and read-only are shown: every page that they reach, of an installation in which whatever is not for them has a
//! value that is found again.

use std::collections::BTreeMap;

use serde_json::json;
use usher::admins::Role;
use usher::audit::Action;
use usher::users::Health;

use crate::docs::values;
use crate::harness::{But, Client, TestApp, jane};

/// The values of the health record, and why it was looked at.
const HEALTH: &[&str] = &["canary", "7ft 11in", "1234.5", "1233.5", "intersex"];
/// What a key is called and which date it has.
const KEYS: &[&str] = &["Key North", "Key of clinics", "2023-08-22"];
const TABS: &[&str] = &["", "/health", "/subscription", "/mail", "/sessions", "/events", "/story", "/json"];

/// Someone whose every free text and measure is known, who was cancelled and looked at, and a key that was made, moved, given a
/// successor and revoked. Answers with the person's id.
async fn world(app: &TestApp, owner: &Client<'_>) -> String {
    let canary = |what: &str| json!(format!("canary {what}"));
    let person = jane().without("gender").but("sex", json!("intersex")).but("height", json!("7ft 11in"));
    let person = person.but("currentWeight", json!(1234.5)).but("desiredWeight", json!(1233.5));
    let person = person.but("pregnant", json!(true)).but("glp1drugs", json!(true)).but("diabetes", json!(3));
    let texts = [
        "allergies",
        "nutritionPreferences",
        "religiousDietaryRestrictions",
        "doctorFullname",
        "medicalClearanceDescription",
    ];
    let person = texts.iter().fold(person, |person, field| person.but(field, canary(field)));
    let person = person.but("metadata", json!({"canary_name": "canary value"}));
    let acme = app.partner("acme").await;
    let id = acme.post("/users/create", person).await.ok().id().to_owned();
    let cancel = json!({"cancellationDate": "2026-12-30", "cancellationReason": "canary: pregnant, and stops"});
    acme.post("/subscription/cancel", cancel.but("email", json!("jane@doe.com"))).await.ok();
    acme.post("/users/update", json!({"email": "jane@doe.com", "allergies": "canary nuts"})).await.ok();

    let base = base(app);
    owner.send("POST", &format!("{base}/users/{id}/reveal"), "reason=canary+reason").await.ok();
    let made = owner.send("POST", &format!("{base}/keys"), "name=Key+North&access=write&expires=90d").await.ok();
    assert!(made.text.contains("Key North"));
    let key = &made.text.split("Its id is <span class=\"mono\">").nth(1).unwrap()[..36];
    for (action, form) in [("move", "api_version=2023-08-22"), ("rotate", "overlap=24h"), ("revoke", "words=revoke")] {
        let done = owner.send("POST", &format!("{base}/keys/{key}/{action}"), form).await;
        assert!(done.status < 400, "{action}: {}", done.text);
    }
    id
}

fn base(app: &TestApp) -> String {
    format!("/admin/{}/sandbox", app.client_id)
}

/// Every page of the dashboard that somebody reaches by links.
async fn reached(app: &TestApp, admin: &Client<'_>, id: &str) -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let base = base(app);
    let mut waiting = vec![base.clone()];
    waiting.extend(TABS.iter().map(|tab| format!("{base}/users/{id}{tab}")));
    while let Some(address) = waiting.pop() {
        if pages.contains_key(&address) {
            continue;
        }
        let answer = admin.get(&address).await;
        assert!(matches!(answer.status, 200 | 303), "{address}: {}", answer.status);
        let links = values(&answer.text, "href").into_iter().chain([answer.header("location")]);
        waiting.extend(links.filter(|to| to.starts_with(&base)).map(plain));
        pages.insert(address, answer.text);
    }
    pages
}

/// An address without filters and order; what is searched for stays, and the file of users is written in one way.
fn plain(address: &str) -> String {
    let (page, query) = address.split_once('?').unwrap_or((address, ""));
    match page.rsplit('/').next() {
        Some("search") => format!("{page}?{query}"),
        Some("export") => format!("{page}?format=jsonl"),
        _ => page.to_owned(),
    }
}

#[tokio::test]
async fn nobody_below_an_owner_is_shown_health_data_or_keys_on_any_page() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let id = world(&app, &owner).await;
    for role in [Role::Support, Role::ReadOnly] {
        let pages = reached(&app, &app.admin(role).await, &id).await;
        assert_eq!(pages.keys().any(|page| page.contains("/users/export")), role == Role::Support);
        for part in ["/requests", "/search?", "/mails/", "/audit/", "/users/"] {
            assert!(pages.keys().any(|page| page.contains(part)), "{part} was reached");
        }
        for (page, html) in &pages {
            let shown: Vec<&&str> = HEALTH.iter().chain(KEYS).filter(|value| html.contains(**value)).collect();
            assert!(shown.is_empty(), "{page} shows {role:?} {shown:?}");
        }
        let subscription = &pages[&format!("{}/users/{id}/subscription", base(&app))];
        assert!(subscription.contains("2026-12-30") && subscription.contains("is with the health record"));
        let mut of_owners = 0;
        for action in [Action::KeyCreated, Action::KeyUpdated, Action::KeyRevoked, Action::HealthRead] {
            of_owners += app.audited(action).await.len();
        }
        let said = pages.values().filter(|html| html.contains("What changed is for owners.")).count();
        assert_eq!(said, of_owners, "every entry is there, with when and by whom");
    }
    let pages = reached(&app, &owner, &id).await;
    for told in ["Key North", "2023-08-22", "canary reason"] {
        assert!(pages.iter().any(|(page, html)| page.contains("/audit/") && html.contains(told)), "owners see {told}");
    }
    let health = owner.send("POST", &format!("{}/users/{id}/reveal", base(&app)), "reason=canary").await.ok();
    assert!(health.text.contains("canary: pregnant, and stops") && health.text.contains("canary value"));
    for (page, html) in pages.iter().filter(|(page, _)| page.contains("/users/")) {
        let html = html.replace("canary reason", "");
        let shown: Vec<&&str> = HEALTH.iter().filter(|value| html.contains(**value)).collect();
        assert!(shown.is_empty(), "{page} shows {shown:?} to an owner who did not say why");
    }
}

/// The health fields that a page names. How the subscription stands is for everybody.
fn named(html: &str) -> Vec<&'static str> {
    // Without what stands around every page; a part of one has nothing around it.
    let tags = html.split("<main ").last().unwrap_or_default().split('<');
    let words: Vec<&str> = tags
        .filter_map(|tag| tag.split_once('>'))
        .flat_map(|(_, text)| text.split(|c: char| !c.is_alphanumeric()))
        .collect();
    let plan = ["paymentPlan", "planStartDate", "subscriptionDates"];
    let names = Health::FIELDS.iter().map(|wire| wire.name).filter(|name| !plan.contains(name));
    names.filter(|name| words.contains(name)).collect()
}

#[tokio::test]
async fn that_health_changed_is_told_to_everybody_and_what_of_it_to_owners() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let id = world(&app, &owner).await;
    let change = json!({"email": "jane@doe.com", "diabetes": 2});
    app.partner("acme").await.post("/users/update", change).await.ok();
    let (base, of_her) = (base(&app), format!("{}/users/{id}", base(&app)));
    let parts = ["audit", "search", "requests"].map(|part| format!("{base}/{part}"));
    let tells = |page: &str| page.starts_with(&of_her) || parts.iter().any(|part| page.starts_with(part));
    let wrong = jane().but("diabetes", json!("canary")).but("pregnant", json!(3));
    let refused = app.partner("acme").await.post("/users/create", wrong).await;
    let refused = format!("{base}/search?q={}", refused.header("request-id"));
    for role in [Role::Support, Role::ReadOnly] {
        let pages = reached(&app, &app.admin(role).await, &id).await;
        for (page, html) in pages.iter().filter(|(page, _)| tells(page)) {
            assert_eq!(named(html), Vec::<&str>::new(), "{page} tells {role:?}");
        }
        for tab in ["events", "story"] {
            let told = &pages[&format!("{of_her}/{tab}")];
            assert!(told.contains("<p class=\"detail\">health</p>"), "that it changed: {told}");
            assert!(told.contains("given_name") && told.contains("subscription"), "what is not of the body: {told}");
        }
        let entries = pages.iter().filter(|(page, _)| page.starts_with(&format!("{base}/audit/")));
        let bodies = pages.iter().filter(|(page, html)| {
            page.starts_with(&parts[1]) && html.contains("&#34;health&#34;: &#34;&#60;hidden&#62;&#34;")
        });
        assert!(bodies.count() >= 3, "that health was sent, when she was made and changed, and when it was refused");
        assert!(
            pages[&refused].contains("invalid_fields")
                && pages[&refused].contains("&#34;field&#34;: &#34;&#60;hidden&#62;&#34;")
        );
        let folded = entries.filter(|(_, html)| html.contains("<th scope=\"row\">health</th>")).count();
        assert!(folded >= 2, "one made her, one changed her: {folded}");
    }
    let pages = reached(&app, &owner, &id).await;
    for page in [format!("{of_her}/events"), format!("{of_her}/story")] {
        assert!(named(&pages[&page]).contains(&"diabetes"), "{page}");
    }
    let entries: Vec<_> = pages.iter().filter(|(page, _)| page.starts_with(&format!("{base}/audit/"))).collect();
    assert!(entries.iter().any(|(_, html)| named(html) == ["diabetes"]), "owners are told which");
    assert_eq!(named(&pages[&refused]).iter().filter(|name| ["diabetes", "pregnant"].contains(name)).count(), 2);
    let exported = owner.send("POST", &format!("{base}/audit/export"), "").await.ok();
    assert!(exported.text.contains("diabetes"), "the file is for owners");
    let support = app.admin(Role::Support).await.send("POST", &format!("{base}/audit/export"), "").await;
    assert_eq!(support.status, 403);
    let own = app.person(&id).await.get(&format!("/v1/users/{id}/events")).await.ok();
    assert!(own.text.contains("\"health\":[\"health\"]") && !own.text.contains("diabetes"), "{}", own.text);
    let all = app.server().await.get(&format!("/v1/users/{id}/events")).await.ok();
    assert!(all.text.contains("\"health\":[\"diabetes\"]"), "the app's server is told: {}", all.text);
}

#[tokio::test]
async fn who_changes_the_theme_comes_back_to_a_page_and_loses_nothing_that_is_shown_once() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let id = world(&app, &owner).await;
    let base = base(&app);
    let works = owner.send("POST", &format!("{base}/keys"), "name=Key+South&access=read").await.ok().text;
    let works = &works.split("Its id is <span class=\"mono\">").nth(1).unwrap()[..36];
    let webhook = "url=https%3A%2F%2Fhooks.example.com%2Fusher&name=CRM";
    let once = [
        ("/keys".to_owned(), "name=Key+of+clinics&access=write"),
        (format!("/keys/{works}/rotate"), "overlap=24h"),
        ("/webhooks".to_owned(), webhook),
    ];
    for (path, form) in once {
        let page = owner.send("POST", &format!("{base}{path}"), form).await.ok();
        assert!(page.text.contains("This is the only time it is shown"), "{path}");
        assert!(!page.text.contains("action=\"/theme\""), "{path}");
    }
    for (path, form) in [(format!("/users/{id}/reveal"), "reason=canary"), ("/audit/verify".to_owned(), "")] {
        let page = owner.send("POST", &format!("{base}{path}"), form).await.ok();
        let back = page.text.split("name=\"back\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let chosen = owner.send("POST", "/theme", format!("theme=dark&back={back}")).await;
        assert_eq!((chosen.status, owner.get(chosen.header("location")).await.status), (303, 200), "{path}");
    }
    let users = owner.get(&format!("{base}/users?sort=email")).await.ok();
    assert!(
        users.text.contains(&format!("name=\"back\" value=\"{base}/users?sort=email\"")),
        "a page of its own stays"
    );
}
