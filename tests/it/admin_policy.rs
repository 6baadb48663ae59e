//! What each administrator may reach on the dashboard, and what every page of it keeps to.

use usher::admins::{self, Role};
use usher::api::Surface;
use usher::api::routes::routes;
use usher::audit::Action;
use usher::caller::Actor;

use crate::admins::{email, noted, post};
use crate::cluster::on_postgres;
use crate::harness::{TestApp, jane};
use crate::lines::{pages, world};

/// Who may call what: the least role, or everybody.
const POLICY: &[(&str, Option<Role>)] = &[
    ("showAdminSignIn", None),
    ("askAdminLink", None),
    ("showSetup", None),
    ("setUp", None),
    ("showAdminLink", None),
    ("followAdminLink", None),
    ("enterDashboard", Some(Role::ReadOnly)),
    ("showHome", Some(Role::ReadOnly)),
    ("find", Some(Role::ReadOnly)),
    ("showUsers", Some(Role::ReadOnly)),
    ("exportUsers", Some(Role::Support)),
    ("showUser", Some(Role::ReadOnly)),
    ("showUserTab", Some(Role::ReadOnly)),
    ("revealHealth", Some(Role::Owner)),
    ("sendUserLink", Some(Role::Support)),
    ("freezeUser", Some(Role::Support)),
    ("unfreezeUser", Some(Role::Support)),
    ("restoreUserHere", Some(Role::Support)),
    ("endUserSession", Some(Role::Support)),
    ("endUserSessions", Some(Role::Support)),
    ("deleteUserHere", Some(Role::Support)),
    ("eraseUserHere", Some(Role::Owner)),
    ("showImports", Some(Role::Owner)),
    ("sendImportFile", Some(Role::Owner)),
    ("showImport", Some(Role::Owner)),
    ("startImport", Some(Role::Owner)),
    ("exportImportResult", Some(Role::Owner)),
    ("discardImportFile", Some(Role::Owner)),
    ("undoImportHere", Some(Role::Owner)),
    ("showMails", Some(Role::ReadOnly)),
    ("showMail", Some(Role::ReadOnly)),
    ("showMailHtml", Some(Role::Support)),
    ("retryMail", Some(Role::Support)),
    ("showWordings", Some(Role::ReadOnly)),
    ("showWording", Some(Role::ReadOnly)),
    ("saveWording", Some(Role::Owner)),
    ("showWordingHtml", Some(Role::ReadOnly)),
    ("resetWording", Some(Role::Owner)),
    ("showKeys", Some(Role::Owner)),
    ("makeKey", Some(Role::Owner)),
    ("showKey", Some(Role::Owner)),
    ("rotateKey", Some(Role::Owner)),
    ("moveKey", Some(Role::Owner)),
    ("revokeKey", Some(Role::Owner)),
    ("showAudit", Some(Role::ReadOnly)),
    ("showEntry", Some(Role::ReadOnly)),
    ("verifyAudit", Some(Role::Owner)),
    ("exportAudit", Some(Role::Owner)),
    ("showWebhooks", Some(Role::Owner)),
    ("makeWebhook", Some(Role::Owner)),
    ("showWebhook", Some(Role::Owner)),
    ("showDelivery", Some(Role::Owner)),
    ("testWebhookHere", Some(Role::Owner)),
    ("replayWebhookHere", Some(Role::Owner)),
    ("rotateWebhookHere", Some(Role::Owner)),
    ("enableWebhook", Some(Role::Owner)),
    ("disableWebhook", Some(Role::Owner)),
    ("removeWebhookHere", Some(Role::Owner)),
    ("showRequests", Some(Role::ReadOnly)),
    ("showSettings", Some(Role::Owner)),
    ("addRedirectUri", Some(Role::Owner)),
    ("removeRedirectUri", Some(Role::Owner)),
    ("rotateSigningKey", Some(Role::Owner)),
    ("changeLook", Some(Role::Owner)),
    ("saveSettings", Some(Role::Owner)),
    ("sendTestMail", Some(Role::Owner)),
    ("retryBilling", Some(Role::Owner)),
    ("revokeSigningKey", Some(Role::Owner)),
    ("showAdmins", Some(Role::Owner)),
    ("inviteAdmin", Some(Role::Owner)),
    ("showAdmin", Some(Role::Owner)),
    ("setAdminRole", Some(Role::Owner)),
    ("sendAdminLink", Some(Role::Owner)),
    ("removeAdmin", Some(Role::Owner)),
    // The last one: it ends the sessions that the others need.
    ("adminSignOut", Some(Role::ReadOnly)),
];

#[tokio::test]
async fn every_route_of_the_dashboard_answers_every_role_as_the_table_says() {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let mut routes: Vec<_> = routes().into_iter().filter(|route| route.surface == Surface::Admin).collect();
    let row = |operation: &str| POLICY.iter().position(|(name, _)| *name == operation);
    for route in &routes {
        assert!(
            row(route.operation).is_some(),
            "{} has no row in POLICY: decide there who may call it",
            route.operation
        );
    }
    assert_eq!(routes.len(), POLICY.len(), "every row has a route");
    routes.sort_by_key(|route| row(route.operation));
    let nothing = uuid::Uuid::nil().to_string();
    let mut roles = Vec::new();
    for role in Role::ALL {
        roles.push((*role, app.admin(*role).await));
    }
    for route in routes {
        let path = route
            .path
            .replace("{appId}", &app.client_id.to_string())
            .replace("{environment}", "sandbox")
            .replace("{userId}", &id)
            .replace("{tab}", "events")
            .replace("{keyId}", &nothing)
            .replace("{mailId}", &nothing)
            .replace("{importId}", &nothing)
            .replace("{kind}", "enrolment")
            .replace("{language}", "de")
            .replace("{webhookId}", &nothing)
            .replace("{deliveryId}", &nothing)
            .replace("{entryId}", &nothing)
            .replace("{adminId}", &nothing)
            .replace("{link}", "x");
        let least = POLICY[row(route.operation).unwrap()].1;
        let anyone = app.anyone().send(route.method, &path, "").await.status;
        assert_eq!(anyone == 401, least.is_some(), "{} {path} answers nobody {anyone}", route.method);
        for (role, admin) in &roles {
            let status = admin.send(route.method, &path, "").await.status;
            let expected = least.is_none_or(|least| *role >= least);
            assert_eq!(!matches!(status, 401 | 403), expected, "{} {path} answers {role:?} {status}", route.method);
            if route.method != "GET" {
                let foreign = admin.with("Sec-Fetch-Site", "cross-site").send(route.method, &path, "").await.status;
                assert_eq!(foreign, 403, "{} {path} from another site", route.method);
            }
        }
    }
}

#[tokio::test]
async fn what_an_administrator_is_refused_stands_in_the_trail_with_their_name() {
    let app = TestApp::new().await;
    let support = app.admin(Role::Support).await;
    assert_eq!(support.with("Sec-Fetch-Site", "cross-site").send("POST", "/admin/sign-out", "").await.status, 403);
    let missing = format!("/admin/{}/sandbox", uuid::Uuid::nil());
    assert_eq!(support.get(&missing).await.status, 404);
    let id = app.store().read(|tx| admins::by_email(tx, &email("support@clinic.example"))).await.unwrap().id;
    let last = noted(&app).await.pop().unwrap();
    assert_eq!(last, (Action::RequestRefused, Some(Actor::Admin(id)), "not_found".to_owned()));
    // What a command would be refused with words to the operator.
    let owner = app.admin(Role::Owner).await;
    let redirects = format!("/admin/{}/sandbox/settings/redirect-uris", app.client_id);
    assert_eq!(owner.send("POST", &redirects, "uri=nonsense").await.status, 400);
    let (action, actor, result) = noted(&app).await.pop().unwrap();
    assert_eq!((action, result.as_str()), (Action::RequestRefused, "operator"));
    assert!(matches!(actor, Some(Actor::Admin(by)) if by != id), "{actor:?}");
}

#[tokio::test]
async fn pages_of_the_dashboard_are_private_and_load_nothing_from_elsewhere() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let home = format!("/admin/{}/sandbox", app.client_id);
    let pages = ["keys", "imports", "mails", "audit", "webhooks", "requests", "admins"];
    let pages = pages.map(|page| format!("{home}/{page}"));
    for path in [home.as_str(), "/admin/sign-in", "/admin/nowhere"].into_iter().chain(pages.iter().map(String::as_str))
    {
        let page = owner.get(path).await;
        assert_eq!(
            (page.header("referrer-policy"), page.header("cache-control")),
            ("no-referrer", "no-store"),
            "{path}"
        );
        assert!(
            page.header("content-security-policy")
                .starts_with("default-src 'none'; style-src 'self'; script-src 'self'")
        );
        for inline in [" style=", " onclick", "<script>", "hx-on", "javascript:", "http://", "https://"] {
            assert!(!page.text.contains(inline), "{path} has {inline}");
        }
    }
}

/// What answers no page of the dashboard: files, mails as people have them, and the way from a search to what was found.
const NO_PAGES: &[&str] = &["exportUsers", "exportImportResult", "showMailHtml", "showWordingHtml", "find"];

#[tokio::test]
async fn the_sandbox_is_told_apart_on_every_page() {
    // Which database is behind them makes no difference.
    if on_postgres() {
        return;
    }
    let app = world().await;
    let pages = pages(&app, &app.admin(Role::Owner).await).await;
    let [sandbox, live] = ["sandbox", "live"].map(|kind| format!("/admin/{}/{kind}", app.client_id));
    for (address, html) in &pages {
        let is_sandbox = address.starts_with(&sandbox);
        assert!(is_sandbox || address.starts_with(&live), "{address}");
        for mark in ["is-sandbox", "sandbox-bar"] {
            assert_eq!(html.contains(mark), is_sandbox, "{address} and {mark}");
        }
    }
    let is_at = |path: &str, address: &str| {
        let (path, address): (Vec<_>, Vec<_>) = (path.split('/').collect(), address.split('/').collect());
        let is_same = |(part, word): (&&str, &&str)| part.starts_with('{') || part == word;
        path.len() == address.len() && path.iter().zip(&address).all(is_same)
    };
    for route in routes().iter().filter(|route| route.surface == Surface::Admin && route.method == "GET") {
        if route.path.contains("{environment}") && !NO_PAGES.contains(&route.operation) {
            assert!(pages.keys().any(|address| is_at(route.path, address)), "{} was not come to", route.path);
        }
    }
}

#[tokio::test]
async fn a_browser_remembers_the_theme_and_goes_back_only_within_this_server() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let chosen = post(&app, "/theme", "theme=dark&back=%2Fadmin%3Fa%3Db").await;
    assert_eq!((chosen.status, chosen.header("location")), (303, "/admin?a=b"));
    let home = format!("/admin/{}/live", app.client_id);
    let cookie = chosen.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(owner.with("Cookie", &cookie).get(&home).await.ok().text.contains(r#"data-theme="dark""#));
    assert!(owner.get(&home).await.ok().text.contains(r#"data-theme="system""#));
    assert_eq!(post(&app, "/theme", "theme=light&back=%2F%2Fevil.example").await.header("location"), "/");
    assert_eq!(post(&app, "/theme", "theme=pink").await.status, 400);
}
