//! What owners and support do on the dashboard besides looking after users: keys, mail, webhooks, the audit trail.

use std::time::Duration;

use serde_json::{Value, json};
use usher::admins::Role;
use usher::apps::{self, Kind};
use usher::audit::{self, Action, Filter, Order};
use usher::caller::{Actor, Origin};
use usher::db::Tx;
use usher::keys;
use usher::outbox;
use usher::tokens;
use usher::webhooks;

use crate::harness::{Answer, Client, TestApp, jane, john};

const DAY: Duration = Duration::from_hours(24);

fn at(app: &TestApp, path: &str) -> String {
    format!("/admin/{}/sandbox/{path}", app.client_id)
}

async fn press(admin: &Client<'_>, path: &str, form: &str) -> Answer {
    admin.send("POST", path, form.to_owned()).await
}

/// The first thing in a page that is copied.
fn copied(page: &Answer) -> String {
    let from = page.text.split_once("<pre tabindex=\"0\"><code>").unwrap().1;
    from.split_once("</code>").unwrap().0.to_owned()
}

/// What administrators did in the sandbox.
async fn done_by_admins(app: &TestApp) -> Vec<Action> {
    let client = app.client_id;
    let read = move |tx: &Tx| {
        let environments = vec![apps::environment(tx, client, Kind::Sandbox)?.id];
        audit::find(tx, &Filter { environments, ..Filter::default() }, Order::After(None), 1000)
    };
    let all = app.store().scan(read).await.unwrap();
    all.into_iter()
        .filter(|entry| entry.is_done() && matches!(entry.actor, Some(Actor::Admin(_))))
        .map(|entry| entry.action)
        .collect()
}

#[tokio::test]
async fn an_owner_makes_a_key_that_is_shown_once_and_replaces_moves_and_revokes_it() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let made = press(&owner, &at(&app, "keys"), "name=Clinic+North&access=write&tenant=acme&expires=90d").await.ok();
    let key = copied(&made);
    assert!(key.starts_with("usher_sandbox_w_"), "{key}");
    let partner = app.anyone().with("Authorization", &format!("Bearer {key}"));
    partner.post("/users/create", jane()).await.ok();

    let list = owner.get(&at(&app, "keys")).await.ok();
    assert!(list.text.contains("Clinic North") && list.text.contains("acme") && !list.text.contains(&key));
    let environment = app.store().read({
        let client = app.client_id;
        move |tx| Ok(apps::environment(tx, client, Kind::Sandbox)?.id)
    });
    let environment = environment.await.unwrap();
    let all = app.store().read(move |tx| keys::of_environment(tx, environment)).await.unwrap();
    let id = all.iter().find(|key| key.name == "Clinic North").unwrap().id;
    let page = at(&app, &format!("keys/{id}"));
    assert!(!owner.get(&page).await.ok().text.contains(&key), "it was shown once");

    let moved = press(&owner, &format!("{page}/move"), "api_version=2023-08-22").await;
    assert_eq!(moved.status, 303);
    assert!(owner.get(moved.header("location")).await.ok().text.contains("2023-08-22"));

    let rotated = press(&owner, &format!("{page}/rotate"), "overlap=24h").await.ok();
    let successor = app.anyone().with("Authorization", &format!("Bearer {}", copied(&rotated)));
    let ask = json!({"email": "jane@doe.com"});
    for caller in [&partner, &successor] {
        caller.post("/users/retrieve", ask.clone()).await.ok();
    }
    app.advance(DAY);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(partner.post("/users/retrieve", ask.clone()).await.status, 403, "the overlap is over");
    successor.post("/users/retrieve", ask.clone()).await.ok();
    let owner = app.admin(Role::Owner).await;
    assert_eq!(press(&owner, &format!("{page}/rotate"), "overlap=24h").await.status, 409, "it has ended");

    let all = app.store().read(move |tx| keys::of_environment(tx, environment)).await.unwrap();
    let newest = all.iter().find(|one| one.name == "Clinic North" && one.id != id).unwrap();
    assert_eq!(newest.api_version.as_deref(), Some("2023-08-22"));
    assert_eq!(newest.tenant.as_deref(), Some("acme"));
    let page = at(&app, &format!("keys/{}", newest.id));
    assert_eq!(press(&owner, &format!("{page}/revoke"), "words=yes").await.status, 400, "it has to be meant");
    assert_eq!(press(&owner, &format!("{page}/revoke"), "words=revoke").await.status, 303);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(successor.post("/users/retrieve", ask).await.status, 403);

    assert_eq!(
        done_by_admins(&app).await,
        [
            Action::TenantCreated,
            Action::KeyCreated,
            Action::KeyUpdated,
            Action::KeyUpdated,
            Action::KeyCreated,
            Action::KeyRevoked
        ]
    );
    let live = format!("/admin/{}/live/keys/{id}", app.client_id);
    assert_eq!(owner.get(&live).await.status, 404, "a key is of one environment");
}

#[tokio::test]
async fn captured_mail_is_previewed_by_those_who_may_change_users_and_live_mail_by_nobody() {
    let app = TestApp::new().await;
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    let (job, mail) = app.mails().await.remove(0);
    let (support, reader) = (app.admin(Role::Support).await, app.admin(Role::ReadOnly).await);
    let list = reader.get(&at(&app, "mails")).await.ok();
    assert!(list.text.contains("jane@doe.com") && list.text.contains("captured"));
    assert!(reader.get(&at(&app, "mails?state=failed")).await.ok().text.contains("No such mail"));

    let path = at(&app, &format!("mails/{}", job.id));
    let page = support.get(&path).await.ok();
    assert!(page.text.contains(&mail.subject) && page.text.contains(&mail.links[0]));
    assert!(page.text.contains("<iframe") && page.text.contains(" sandbox "));
    assert!(support.get(&format!("{path}?view=text")).await.ok().text.contains(&mail.links[0]));
    let html = support.get(&format!("{path}/html?view=dark")).await.ok();
    assert!(html.text.contains("color-scheme: dark") && html.text.contains(&mail.links[0]));
    let policy = html.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("sandbox") && !policy.contains("script"));

    let page = reader.get(&path).await.ok();
    assert!(!page.text.contains(&mail.links[0]) && page.text.contains("Your role does not show"));
    assert_eq!(reader.get(&format!("{path}/html")).await.status, 403);
    let live = format!("/admin/{}/live/mails/{}", app.client_id, job.id);
    assert_eq!(support.get(&live).await.status, 404, "a mail is of one environment");
}

#[tokio::test]
async fn support_sends_a_mail_again_that_was_given_up_and_the_text_of_live_mail_stays_hidden() {
    let app = TestApp::new().await;
    app.partner_in(Kind::Live, Some("acme")).await.post("/users/create", jane()).await.ok();
    let link = app.newest_link().await;
    app.tamper("UPDATE outbox SET state = 'failed', due_at = NULL, failure = '550 no such mailbox'");
    let support = app.admin(Role::Support).await;
    let mails = format!("/admin/{}/live/mails", app.client_id);
    let list = support.get(&format!("{mails}?state=failed")).await.ok();
    assert!(list.text.contains("550 no such mailbox") && list.text.contains("given up"));
    let job = app.store().read(|tx| outbox::newest_mails(tx, 1)).await.unwrap().remove(0);
    let page = format!("{mails}/{}", job.id);
    let shown = support.get(&page).await.ok();
    assert!(shown.text.contains("550 no such mailbox") && !shown.text.contains(&link));
    assert_eq!(support.get(&format!("{page}/html")).await.status, 404);
    assert_eq!(press(&support, &format!("{page}/retry"), "").await.status, 303);
    assert_ne!(app.newest_link().await, link);
    assert_eq!(app.anyone().send("POST", &link, "").await.status, 410, "the link before has ended");
}

#[tokio::test]
async fn the_audit_trail_is_filtered_shown_with_before_and_after_verified_and_exported() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let id = acme.post("/users/create", jane()).await.ok().id().to_owned();
    acme.post("/users/update", json!({"email": "jane@doe.com", "diabetes": 3})).await.ok();
    let user = json!({"user": {"given_name": "Janie"}});
    app.server().await.put(&format!("/v1/users/{id}"), user).await.ok();
    acme.post("/users/create", jane()).await;
    let reader = app.admin(Role::ReadOnly).await;

    let all = reader.get(&at(&app, "audit")).await.ok();
    assert!(all.text.contains("user.created") && all.text.contains("user.updated"));
    let refused = reader.get(&at(&app, "audit?result=refused")).await.ok();
    assert!(refused.text.contains("email_taken") && !refused.text.contains(">user.updated</a>"));
    let hers = reader.get(&at(&app, &format!("audit?user={id}&action=user.updated"))).await.ok();
    assert_eq!(hers.text.matches("row-link").count(), 2, "{}", hers.text);
    assert_eq!(reader.get(&at(&app, "audit?user=nonsense")).await.status, 400);
    app.advance(31 * DAY);
    let (owner, reader) = (app.admin(Role::Owner).await, app.admin(Role::ReadOnly).await);
    assert!(reader.get(&at(&app, "audit?action=user.updated")).await.ok().text.contains("Nothing of that kind"));
    assert!(reader.get(&at(&app, "audit?since=2026-11-01")).await.ok().text.contains("user.updated"));

    let rows = hers.text.split_once("<tbody>").unwrap().1;
    let entries: Vec<&str> = rows.split("/audit/").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    let mut pages = Vec::new();
    for entry in &entries {
        pages.push(reader.get(&at(&app, &format!("audit/{entry}"))).await.ok().text);
    }
    assert!(pages[0].contains("<td>jane</td><td>Janie</td>"), "{}", pages[0]);
    assert!(pages[1].contains("It changed; more is for owners") && !pages[1].contains("diabetes"), "{}", pages[1]);
    let told = owner.get(&at(&app, &format!("audit/{}", entries[1]))).await.ok().text;
    assert!(told.contains("diabetes") && told.contains("only that it changed is kept"), "{told}");
    assert_eq!(reader.get(&format!("/admin/{}/live/audit/{}", app.client_id, entries[0])).await.status, 404);

    let exported = press(&owner, &at(&app, &format!("audit/export?user={id}")), "").await.ok();
    let lines: Vec<Value> = exported.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 2 && lines.iter().all(|line| line["userId"] == json!(id)));
    assert!(lines.iter().any(|line| line["changes"]["fields"]["given_name"][1] == "Janie"));
    assert_eq!(done_by_admins(&app).await, [Action::AuditExported]);

    let user = format!("user={id}");
    for (query, days) in [
        ("", "the last 30 days."),
        ("action=user.created", "the last 30 days."),
        ("until=2026-12-01", "the last 30 days, before 2026-12-01."),
        ("since=2026-11-01", "the days from 2026-11-01 on."),
        ("since=2026-11-01&until=2026-12-01", "the days from 2026-11-01 on, before 2026-12-01."),
        (&user, "all days."),
    ] {
        let page = owner.get(&at(&app, &format!("audit?{query}"))).await.ok().text;
        assert!(page.contains(&format!("Listed and exported are those of {days}")), "{query}: {page}");
    }
    let lured = reader.get(&at(&app, "audit?result=$(id)")).await.ok();
    assert!(lured.text.contains("--result=&#39;$(id)&#39;"), "a shell runs nothing of it: {}", lured.text);

    app.server().await.send("DELETE", &format!("/v1/users/{id}"), "").await.ok();
    for (who, sees) in [(&owner, true), (&reader, false)] {
        let entry = who.get(&at(&app, &format!("audit/{}", entries[0]))).await.ok();
        assert_eq!(entry.text.contains("Janie"), sees, "the deleted are not for everybody: {}", entry.text);
    }

    let verified = press(&owner, &at(&app, "audit/verify"), "").await.ok();
    assert!(verified.text.contains("as it was written"), "{}", verified.text);
    app.tamper("UPDATE audit SET result = 'tampered' WHERE action = 'user.updated'");
    let verified = press(&owner, &at(&app, "audit/verify"), "").await.ok();
    assert!(verified.text.contains("behind Usher") && verified.text.contains("changed"));
    assert_eq!(done_by_admins(&app).await, [Action::AuditExported]);
    assert_eq!(app.audited(Action::AuditVerified).await.len(), 2, "of the whole installation");
}

/// The link at the end of a page, to older entries.
fn further(page: &Answer) -> String {
    let before = page.text.split_once("Look further back").expect("a way on").0;
    before.rsplit("href=\"").next().unwrap().split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
}

#[tokio::test]
async fn entries_and_mails_of_one_environment_are_found_behind_very_many_of_another() {
    let app = TestApp::new().await;
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    let id = app.partner_in(Kind::Live, Some("acme")).await.post("/users/create", jane()).await.ok().id().to_owned();
    let user = app.user(&id).await;
    app.advance(Duration::from_secs(1));
    for _ in 0..21 {
        let (live, id) = (user.environment, user.id);
        let fill = move |tx: &Tx| {
            for _ in 0..500 {
                audit::record(tx, live, Origin::of(Actor::Operator), Action::KeyUpdated, id.0)?;
                let mail = json!({"to": "jane@doe.com"});
                outbox::enqueue_about(tx, (live, id), outbox::Kind::EnrolmentMail, &mail, tx.now())?;
            }
            Ok(())
        };
        app.store().write(fill).await.unwrap();
    }
    let reader = app.admin(Role::ReadOnly).await;
    for (list, there) in [("audit?action=user.created", ">user.created</a>"), ("mails?state=captured", "row-link")] {
        let first = reader.get(&at(&app, list)).await.ok();
        assert!(!first.text.contains(there) && first.text.contains("Looked through back to"), "{}", first.text);
        let mut page = first;
        while !page.text.contains(there) {
            page = reader.get(&further(&page)).await.ok();
        }
        assert!(!page.text.contains("Look further back"), "{}", page.text);
    }
    let failed = reader.get(&at(&app, "mails?state=failed")).await.ok();
    assert!(failed.text.contains("No mail is in this state"), "what was given up has an index");
    let live = format!("/admin/{}/live/mails", app.client_id);
    let first = reader.get(&live).await.ok();
    assert_eq!(first.text.matches("row-link").count(), 50);
    assert!(first.text.contains("Next page") && !first.text.contains("Looked through"));
}

#[tokio::test]
async fn an_owner_makes_a_webhook_tests_replays_rotates_disables_and_removes_it() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let form = "url=https%3A%2F%2Fcrm.example.com%2Fin%3Ftoken%3Dx&name=CRM&user.created=1&api_version=2023-10-04";
    let made = press(&owner, &at(&app, "webhooks"), form).await.ok();
    let secret = copied(&made);
    assert!(secret.starts_with("whsec_"), "{secret}");
    assert_eq!(press(&owner, &at(&app, "webhooks"), "url=ftp%3A%2F%2Fx").await.status, 400);
    let list = owner.get(&at(&app, "webhooks")).await.ok();
    assert!(list.text.contains("CRM") && list.text.contains("user.created") && !list.text.contains("token=x"));

    let all = app.store().read(|tx| webhooks::list(tx, None)).await.unwrap();
    assert_eq!(all.len(), 1);
    let page = at(&app, &format!("webhooks/{}", all[0].id));
    assert!(!owner.get(&page).await.ok().text.contains(&secret), "it was shown once");
    let tested = press(&owner, &format!("{page}/test"), "").await;
    assert_eq!(tested.status, 303);
    let shown = owner.get(tested.header("location")).await.ok();
    assert!(shown.text.contains("webhook.test") && shown.text.contains("queued"));
    let id = all[0].id;
    let delivery = app.store().read(move |tx| webhooks::deliveries(tx, id, 1)).await.unwrap().remove(0);
    let tries = owner.get(&format!("{page}/deliveries/{}", delivery.id)).await.ok();
    assert!(tries.text.contains("There was no try yet"));

    let rotated = press(&owner, &format!("{page}/rotate"), "overlap=24h").await.ok();
    assert_ne!(copied(&rotated), secret);
    assert_eq!(press(&owner, &format!("{page}/disable"), "").await.status, 303);
    assert!(owner.get(&page).await.ok().text.contains("skipped"));
    assert_eq!(press(&owner, &format!("{page}/test"), "").await.status, 400, "it is disabled");
    assert_eq!(press(&owner, &format!("{page}/enable"), "").await.status, 303);
    let event = format!("event={}", delivery.event.webhook_id());
    assert_eq!(press(&owner, &format!("{page}/replay"), &event).await.status, 303);
    assert_eq!(press(&owner, &format!("{page}/replay"), "since=6h").await.status, 303);
    assert!(owner.get(&page).await.ok().text.contains("queued"));
    assert_eq!(owner.get(&page.replace("/sandbox/", "/live/")).await.status, 404);

    assert_eq!(press(&owner, &format!("{page}/remove"), "").await.status, 400, "it has to be meant");
    assert_eq!(press(&owner, &format!("{page}/remove"), "words=remove").await.status, 303);
    assert_eq!(owner.get(&page).await.status, 404);
    let expected = [
        Action::WebhookCreated,
        Action::WebhookTested,
        Action::WebhookRotated,
        Action::WebhookUpdated,
        Action::WebhookUpdated,
        Action::WebhookReplayed,
        Action::WebhookReplayed,
        Action::WebhookRemoved,
    ];
    assert_eq!(done_by_admins(&app).await, expected);
}

#[tokio::test]
async fn of_who_is_deleted_the_mails_say_as_much_to_a_role_as_the_users_page() {
    let app = TestApp::new().await;
    let partner = app.partner_in(Kind::Live, None).await;
    let id = partner.post("/users/create", jane()).await.ok().id().to_owned();
    app.tamper("UPDATE outbox SET state = 'failed', due_at = NULL, failure = '550 jane@doe.com is unknown here'");
    let mail = app.store().read(|tx| outbox::newest_mails(tx, 1)).await.unwrap().remove(0).id;
    partner.post("/users/create", john()).await.ok();
    let server = app.server_in(Kind::Live, usher::keys::Access::Write).await;
    let live = format!("/admin/{}/live", app.client_id);
    let pages = [format!("{live}/mails"), format!("{live}/mails?state=failed"), format!("{live}/mails/{mail}")];
    let reader = app.admin(Role::ReadOnly).await;
    for page in &pages {
        assert!(reader.get(page).await.ok().text.contains("jane@doe.com"), "{page}");
    }
    server.send("DELETE", &format!("/v1/users/{id}"), "").await.ok();
    for (role, sees) in [(Role::ReadOnly, false), (Role::Support, true), (Role::Owner, true)] {
        let admin = app.admin(role).await;
        let user = admin.get(&format!("{live}/users/{id}")).await;
        assert_eq!(user.text.contains("jane@doe.com"), sees, "{role:?}");
        for page in &pages {
            assert_eq!(admin.get(page).await.ok().text.contains("jane@doe.com"), sees, "{role:?} at {page}");
        }
    }
    assert!(reader.get(&pages[0]).await.ok().text.contains(john()["email"].as_str().unwrap()), "he is still there");
}

#[tokio::test]
async fn requests_are_listed_by_their_routes_without_anything_personal() {
    let app = TestApp::new().await;
    let reader = app.admin(Role::ReadOnly).await;
    assert!(reader.get(&at(&app, "requests")).await.ok().text.contains("No such request"));
    let acme = app.partner("acme").await;
    let id = acme.post("/users/create", jane()).await.ok().id().to_owned();
    acme.post("/users/create", jane()).await;
    app.server().await.get("/v1/users/jane@doe.com").await.ok();
    app.server_in(Kind::Live, usher::keys::Access::Read).await.get(&format!("/v1/users/{id}")).await;
    app.anyone().get("/v1/users/me").await;

    let page = reader.get(&at(&app, "requests")).await.ok().text;
    assert!(page.contains("POST /users/create") && page.contains("email_taken") && page.contains("2023-10-04"));
    assert!(!page.contains("jane@doe.com") && !page.contains(&id) && !page.contains("/admin/{appId}"));
    assert_eq!(page.matches("GET /v1/users/{userId}").count(), 2, "one of hers, one of nobody, none of live");
    let refused = reader.get(&at(&app, "requests?status=409&route=create")).await.ok().text;
    assert_eq!(refused.matches("POST /users/create").count(), 1);
    let live = reader.get(&at(&app, "requests?live=1&status=4")).await.ok().text;
    assert!(
        live.contains(r#"hx-trigger="every 2s" hx-headers='{"Usher-By-Itself": "1"}'"#)
            && live.contains("Stop following")
    );
}

#[tokio::test]
async fn an_owner_sees_the_settings_and_changes_redirect_uris_and_signing_keys() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let settings = at(&app, "settings");
    let uri = "uri=https%3A%2F%2Fapp.example.com%2Fback";
    assert_eq!(press(&owner, &format!("{settings}/redirect-uris"), "uri=nonsense").await.status, 400);
    assert_eq!(press(&owner, &format!("{settings}/redirect-uris"), uri).await.status, 303);
    assert!(owner.get(&settings).await.ok().text.contains(">https://app.example.com/back<"));
    assert_eq!(press(&owner, &format!("{settings}/redirect-uris/remove"), uri).await.status, 303);
    assert!(!owner.get(&settings).await.ok().text.contains(">https://app.example.com/back<"));
    assert_eq!(press(&owner, &format!("{settings}/signing-keys"), "").await.status, 400, "it has to be meant");
    assert_eq!(press(&owner, &format!("{settings}/signing-keys"), "words=rotate").await.status, 303);
    let page = owner.get(&settings).await.ok().text;
    assert!(page.contains("signs soon") && page.contains("verifies"), "{page}");
    assert_eq!(done_by_admins(&app).await, [Action::AppUpdated, Action::AppUpdated, Action::SigningKeyRotated]);
}

#[tokio::test]
async fn support_sees_no_keys_and_no_webhooks() {
    let app = TestApp::new().await;
    for (role, seen) in [(Role::ReadOnly, false), (Role::Support, false), (Role::Owner, true)] {
        let home = app.admin(role).await.get(&format!("/admin/{}/sandbox", app.client_id)).await.ok();
        for section in ["/keys\"", "/webhooks\""] {
            assert_eq!(home.text.contains(section), seen, "{role:?} {section}");
        }
        assert!(home.text.contains("/audit\"") && home.text.contains("/mails\""));
    }
}

#[tokio::test]
async fn an_owner_changes_an_app_and_the_trail_has_what_it_was_before() {
    let app = TestApp::new().await;
    let owner = app.admin(Role::Owner).await;
    let settings = at(&app, "settings");
    let form = "region=DE&redirect_url=https%3A%2F%2Fapp.example.com%2Fin&sign_up=open&issuer=acme";
    let saved = press(&owner, &format!("{settings}/app"), form).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let shown = owner.get(saved.header("location")).await.ok().text;
    for value in ["value=\"DE\"", "https://app.example.com/in", "value=\"acme\"", "\"open\" selected"] {
        assert!(shown.contains(value), "{value}");
    }
    assert_eq!(press(&owner, &format!("{settings}/app"), form).await.status, 303, "the same again changes nothing");
    for wrong in ["region=XX", "redirect_url=nonsense", "issuer="] {
        assert_eq!(press(&owner, &format!("{settings}/app"), wrong).await.status, 400, "{wrong}");
    }
    let client = app.client_id;
    let read = move |tx: &Tx| {
        let [sandbox, live] = [Kind::Sandbox, Kind::Live].map(|kind| apps::environment(tx, client, kind));
        let filter = Filter { environments: vec![sandbox?.id], action: Some(Action::AppUpdated), ..Filter::default() };
        Ok((live?, audit::find(tx, &filter, Order::After(None), 10)?))
    };
    let (live, entries) = app.store().scan(read).await.unwrap();
    assert_eq!((live.redirect_url, live.sign_up), (None, apps::SignUp::Closed), "that one stays as it was");
    assert_eq!(entries.len(), 1);
    assert!(matches!(entries[0].actor, Some(Actor::Admin(_))));
    let fields = &entries[0].changes.0["fields"];
    assert_eq!(fields["signUp"], json!(["closed", "open"]));
    assert_eq!(fields["redirectUrl"], json!([null, "https://app.example.com/in"]));
    assert_eq!(fields["region"], json!(["US", "DE"]));
}

#[tokio::test]
async fn an_owner_revokes_a_signing_key_of_this_environment_alone() {
    let app = TestApp::new().await;
    let (owner, client) = (app.admin(Role::Owner).await, app.client_id);
    let keys = async |kind: Kind| {
        let list = move |tx: &Tx| tokens::list(tx, apps::environment(tx, client, kind)?.id);
        app.store().read(list).await.unwrap()
    };
    let (sandbox, live) = (keys(Kind::Sandbox).await.remove(0), keys(Kind::Live).await.remove(0));
    let path = at(&app, "settings/signing-keys/revoke");
    assert_eq!(press(&owner, &path, &format!("key={}&words=yes", sandbox.id)).await.status, 400);
    assert_eq!(press(&owner, &path, &format!("key={}&words=revoke", live.id)).await.status, 404);
    assert_eq!(press(&owner, &path, &format!("key={}&words=revoke", sandbox.id)).await.status, 303);
    let after = keys(Kind::Sandbox).await;
    assert_eq!(after.len(), 2);
    assert!(after.iter().any(|key| key.id == sandbox.id && key.revoked_at.is_some()));
    assert!(keys(Kind::Live).await.iter().all(|key| key.revoked_at.is_none()));
    assert_eq!(done_by_admins(&app).await, [Action::SigningKeyRevoked, Action::SigningKeyRotated]);
}

#[tokio::test]
async fn what_billing_gave_up_in_this_environment_is_queued_again() {
    let app = TestApp::new().await;
    let user = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let live = app.partner_in(Kind::Live, Some("acme")).await.post("/users/create", jane()).await.ok().id().to_owned();
    for id in [user, live] {
        let user = app.user(&id).await;
        let fail = move |tx: &Tx| {
            outbox::enqueue_about(tx, (user.environment, user.id), outbox::Kind::BillingSync, &json!({}), tx.now())
        };
        app.store().write(fail).await.unwrap();
    }
    app.tamper("UPDATE outbox SET state = 'failed', due_at = NULL, failure = '402' WHERE kind = 'billing'");
    let owner = app.admin(Role::Owner).await;
    assert_eq!(press(&owner, &at(&app, "settings/billing/retry"), "").await.status, 303);
    let failed = app.store().scan(|tx| outbox::backlog(tx, outbox::Kind::BillingSync, outbox::State::Failed)).await;
    assert_eq!(failed.unwrap().0, 1, "that of live stays");
    assert_eq!(done_by_admins(&app).await, [Action::BillingRetried]);
}

#[tokio::test]
async fn every_curl_line_of_the_dashboard_is_answered_by_the_directory_api() {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let owner = app.admin(Role::Owner).await;
    press(&owner, &at(&app, "webhooks"), "url=https%3A%2F%2Fcrm.example.com%2Fin").await.ok();
    let webhook = app.store().read(|tx| webhooks::list(tx, None)).await.unwrap().remove(0).id;
    let server = app.server().await;
    let pages = [
        "users?status=active&created_from=2026-11-01&sort=created".to_owned(),
        format!("users/{id}/sessions"),
        format!("users/{id}/events"),
        format!("users/{id}/json"),
        // The last line erases her.
        format!("users/{id}"),
        "webhooks".to_owned(),
        format!("webhooks/{webhook}"),
    ];
    let mut lines = Vec::new();
    for page in pages {
        let page = owner.get(&at(&app, &page)).await.ok().text;
        let page = page.replace("&#38;", "&").replace("&#34;", "\"").replace("&#39;", "'");
        lines.extend(page.split("curl -X ").skip(1).map(|rest| rest.split(['\n', '<']).next().unwrap().to_owned()));
    }
    assert!(lines.len() >= 13, "{lines:#?}");
    for line in lines {
        let (method, rest) = line.split_once(" \"$USHER_URL").expect("a method and an address");
        let (path, rest) = rest.split_once('"').unwrap();
        assert!(rest.contains(&format!("'X-CLIENT-ID: {}'", app.client_id)) && !path.contains("$("), "{line}");
        let body = rest.split_once("-d ").map_or("", |(_, body)| body.trim_matches('\''));
        let body = body.replace("ADDRESS", "https://hooks.example.com/usher");
        let answer = server.send(method, path, body).await;
        assert!(answer.status < 300, "{line}: {} {}", answer.status, answer.text);
    }
}
