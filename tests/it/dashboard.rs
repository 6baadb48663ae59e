//! The pages of the dashboard: who is shown to whom, and that every action is the operation that the APIs have.

use serde_json::json;
use usher::admins::Role;
use usher::app::gather;
use usher::apps::Kind;
use usher::audit::{self, Action};
use usher::billing::Mode;
use usher::caller::Actor;
use usher::db::{Tx, Value};
use usher::story;
use usher::users::{self, Status};

use crate::harness::{Answer, But, Client, TestApp, jane, john};
use crate::program::Program;
use crate::receiver::Receiver;

/// Jane of acme and John of other, and where their pages are.
struct World {
    app: TestApp,
    jane: String,
    base: String,
}

impl World {
    async fn new() -> World {
        let app = TestApp::new().await;
        let jane = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
        app.partner("other").await.post("/users/create", john()).await.ok();
        let base = format!("/admin/{}/sandbox", app.client_id);
        World { app, jane, base }
    }

    async fn admin(&self, role: Role) -> Client<'_> {
        self.app.admin(role).await
    }

    fn of_jane(&self, rest: &str) -> String {
        format!("{}/users/{}{rest}", self.base, self.jane)
    }

    async fn status(&self) -> Status {
        self.app.user(&self.jane).await.status()
    }

    async fn newest_entry(&self) -> audit::Entry {
        let id = self.jane.parse().unwrap();
        self.app.store().read(move |tx| crate::harness::trail_of(tx, id)).await.unwrap().pop().unwrap()
    }
}

/// The addresses of the users on a page, in its order.
fn listed(page: &Answer) -> Vec<String> {
    let table = page.text.split(r#"id="list""#).nth(1).expect("a list");
    table.split(r#"<span class="sub">"#).skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

/// The same, of a page that may say that nobody fits.
fn listed_or_none(page: &Answer) -> Vec<String> {
    if page.text.contains("Nobody fits") { Vec::new() } else { listed(page) }
}

#[tokio::test]
async fn the_table_filters_by_tenant_status_and_day_and_sorts() {
    let world = World::new().await;
    let admin = world.admin(Role::Support).await;
    let list = async |query: &str| listed(&admin.get(&format!("{}/users?{query}", world.base)).await.ok());
    assert_eq!(list("").await.len(), 2);
    let tenant = world.app.user(&world.jane).await.tenant.unwrap();
    assert_eq!(list(&format!("tenant={tenant}&status=&q=")).await, ["jane@doe.com"]);
    admin.send("POST", &world.of_jane("/freeze"), "").await;
    assert_eq!(list("status=frozen").await, ["jane@doe.com"]);
    assert_eq!(list("status=active").await, ["john@doe.com"]);
    assert_eq!(list("q=doe").await.len(), 2, "both are called so");
    assert_eq!(list("q=doe&status=frozen").await, ["jane@doe.com"]);
    assert_eq!(list("created_from=2026-11-22").await, Vec::<String>::new());
    assert_eq!(list("created_from=2026-11-21&created_to=2026-11-22").await.len(), 2);
    assert_eq!(list("sort=email").await, ["jane@doe.com", "john@doe.com"]);
    assert_eq!(list("sort=-email").await, ["john@doe.com", "jane@doe.com"]);
    for wrong in ["status=pink", "sort=name", "tenant=x", "created_from=yesterday", "cursor=x", "colour=red"] {
        assert_eq!(admin.get(&format!("{}/users?{wrong}", world.base)).await.status, 400, "{wrong}");
    }
    let elsewhere = admin.get(&format!("/admin/{}/live/users", world.app.client_id)).await.ok();
    assert!(elsewhere.text.contains("Nobody is enrolled yet"), "nothing crosses environments");
}

#[tokio::test]
async fn pages_of_the_table_follow_each_other_and_keep_the_filter() {
    let world = World::new().await;
    let acme = world.app.partner("acme").await;
    for i in 0..60 {
        let body =
            jane().but("email", json!(format!("p{i}@doe.com"))).but("phonenumber", json!(format!("20255502{i:02}")));
        acme.post("/users/create", body).await.ok();
    }
    let admin = world.admin(Role::ReadOnly).await;
    let tenant = world.app.user(&world.jane).await.tenant.unwrap();
    let first = admin.get(&format!("{}/users?tenant={tenant}&sort=created", world.base)).await.ok();
    let next = first.text.split("Next page").next().unwrap().rsplit("href=\"").next().unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&");
    assert!(next.contains(&format!("tenant={tenant}")) && next.contains("sort=created"), "{next}");
    let second = admin.get(&next).await.ok();
    let all = [listed(&first), listed(&second)].concat();
    assert_eq!((listed(&first).len(), all.len()), (50, 61));
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 61, "nobody twice");
    assert!(second.text.contains("This is the end.") && second.text.contains("First page"));
}

#[tokio::test]
async fn what_the_filters_let_through_is_a_file_without_health_data_and_that_it_was_taken_is_noted() {
    let world = World::new().await;
    let acme = world.app.partner("acme").await;
    for i in 0..120 {
        let body =
            jane().but("email", json!(format!("p{i}@doe.com"))).but("phonenumber", json!(format!("20255{i:05}")));
        acme.post("/users/create", body.but("firstname", json!("=cmd|'/c calc'!A1"))).await.ok();
    }
    let support = world.admin(Role::Support).await;
    let tenant = world.app.user(&world.jane).await.tenant.unwrap();
    let csv = support.get(&format!("{}/users/export?format=csv&tenant={tenant}", world.base)).await.ok();
    assert!(csv.header("content-disposition").contains("users-sandbox.csv"));
    assert_eq!(csv.text.lines().count(), 122, "a head, and 121 people of acme");
    assert!(!csv.text.contains("john@doe.com") && !csv.text.contains("5ft 6in") && !csv.text.contains("no allergies"));
    assert!(!csv.text.contains(",=cmd"), "no cell is a formula");
    assert!(
        csv.text.starts_with("\u{feff}id,") && csv.text.matches('\u{feff}').count() == 1,
        "a spreadsheet reads UTF-8"
    );
    let jsonl = support.get(&format!("{}/users/export?format=jsonl", world.base)).await.ok();
    assert_eq!(jsonl.text.lines().count(), 122);
    assert!(jsonl.text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert_eq!(support.get(&format!("{}/users/export?format=xls", world.base)).await.status, 400);
    let filter = audit::Filter { action: Some(Action::UsersExported), ..audit::Filter::default() };
    let noted =
        world.app.store().scan(move |tx| audit::find(tx, &filter, audit::Order::NewestFirst, 10)).await.unwrap();
    assert!(noted.len() == 2 && noted.iter().all(|entry| matches!(entry.actor, Some(Actor::Admin(_)))));
}

#[tokio::test]
async fn one_box_finds_by_address_its_beginning_phone_name_id_and_request() {
    let world = World::new().await;
    let server = world.app.server().await;
    let change = json!({"user": {"given_name": "Zoë", "family_name": "Núñez-Łapiński", "externalId": "crm-77"}});
    let changed = server.put(&format!("/v1/users/{}", world.jane), change).await.ok();
    let request = changed.header("request-id").to_owned();
    let admin = world.admin(Role::ReadOnly).await;
    let to_jane = world.of_jane("");
    for q in [
        "jane@doe.com",
        "JANE@DOE.COM",
        "jane%40d",
        "1234567890",
        "%28123%29+456-7890",
        "zo%C3%AB",
        "n%C3%BA%C3%B1ez+zo",
        "%C5%82api",
        "crm-77",
        &world.jane,
    ] {
        let found = admin.get(&format!("{}/search?q={q}", world.base)).await;
        assert_eq!((found.status, found.header("location")), (303, to_jane.as_str()), "{q}");
    }
    for q in
        ["", "nobody", "crm-78", "crm-77%00x", "a%00b%40doe.com", "doe.com", "7b0e2f4c-1111-4111-8111-111111111111"]
    {
        let found = admin.get(&format!("{}/search?q={q}", world.base)).await;
        assert_eq!(found.status, 303, "{q}");
        assert!(
            found.header("location").starts_with(&format!("{}/users?", world.base)),
            "{q}: {}",
            found.header("location")
        );
    }
    let both = admin.get(&format!("{}/search?q=j", world.base)).await;
    assert_eq!(listed(&admin.get(both.header("location")).await.ok()).len(), 2, "two addresses begin so");

    let page = admin.get(&format!("{}/search?q={request}", world.base)).await.ok();
    assert!(page.text.contains("user.updated") && page.text.contains(&to_jane), "{}", page.text);
    let elsewhere = format!("/admin/{}/live/search?q={request}", world.app.client_id);
    assert_eq!(admin.get(&elsewhere).await.status, 303, "it did nothing there");
}

#[tokio::test]
async fn names_are_read_backwards_some_thousands_at_a_time() {
    let world = World::new().await;
    let app = &world.app;
    let environment = app.user(&world.jane).await.environment;
    app.advance(std::time::Duration::from_secs(1));
    // Newer users without a name, more than are read at once.
    let fill = move |tx: &Tx| {
        for _ in 0..501 {
            let id = usher::random::uuid();
            let values: [Value; 8] = [
                id.into(),
                environment.into(),
                format!("z{id}@doe.com").into(),
                format!("z{id}@doe.com").into(),
                "{}".into(),
                vec![0_u8].into(),
                tx.now().into(),
                tx.now().into(),
            ];
            tx.insert(
                "users (id, environment_id, email, email_key, profile, health, created_at, updated_at)",
                &values,
            )?;
        }
        Ok(())
    };
    for _ in 0..10 {
        app.store().write(fill).await.unwrap();
    }
    let admin = world.admin(Role::ReadOnly).await;
    let first = admin.get(&format!("{}/users?q=doe", world.base)).await.ok();
    assert!(first.text.contains("Names were read back to 2026-11-21") && listed(&first).is_empty());
    let next = first.text.split("Read further back").next().unwrap().rsplit("href=\"").next().unwrap();
    let second = admin.get(&next.split('"').next().unwrap().replace("&#38;", "&")).await.ok();
    // Made in the same millisecond, they have no order.
    let mut there = listed(&second);
    there.sort();
    assert_eq!(there, ["jane@doe.com", "john@doe.com"]);
    assert_eq!(admin.get(&format!("{}/users?q=roe&cursor=x", world.base)).await.status, 400);

    assert!(first.text.contains("are being gathered"));
    app.advance(std::time::Duration::from_secs(11));
    gather(app.app.api()).await.unwrap();
    let all = admin.get(&format!("{}/users?q=doe", world.base)).await.ok();
    assert_eq!(listed(&all).len(), 2, "once names are gathered, the oldest are found at once");
    assert!(!all.text.contains("Names were read back"));
    for (q, count) in [("do+ja", 2), ("oe", 0), ("doe+x", 0)] {
        let some = admin.get(&format!("{}/users?q={q}", world.base)).await.ok();
        assert_eq!(listed_or_none(&some).len(), count, "{q}: words begin so");
    }
}

#[tokio::test]
async fn a_name_is_found_as_it_is_now_also_when_names_were_gathered_before() {
    let world = World::new().await;
    let (app, admin) = (&world.app, world.admin(Role::ReadOnly).await);
    let search = async |q: &str| listed_or_none(&admin.get(&format!("{}/users?q={q}", world.base)).await.ok());
    let rename = async |given: &str, family: &str| {
        let change = json!({"user": {"given_name": given, "family_name": family}});
        app.server().await.put(&format!("/v1/users/{}", world.jane), change).await.ok();
    };
    rename("Mary", "Sue").await;
    let settle = async || {
        app.advance(std::time::Duration::from_secs(11));
        gather(app.app.api()).await.unwrap();
    };
    assert_eq!(search("mary").await, ["jane@doe.com"]);
    settle().await;
    rename("Zoë", "Núñez-Łapiński").await;
    assert!(search("mary").await.is_empty(), "that is not her name any more");
    settle().await;
    assert_eq!(search("zo%C3%AB+%C5%82ap").await, ["jane@doe.com"]);
    assert_eq!(search("n%C3%BA%C3%B1ez-%C5%82api%C5%84ski").await, ["jane@doe.com"]);
    let new = jane().but("email", json!("new@doe.com")).but("phonenumber", json!("2025550177"));
    let new = new.but("firstname", json!("Li"));
    let id = app.partner("acme").await.post("/users/create", new).await.ok().id().to_owned();
    assert_eq!(search("li").await, ["new@doe.com"], "whoever is new is there at once");
    settle().await;
    assert_eq!(search("li").await, ["new@doe.com"]);
    let erase = "confirm=new%40doe.com";
    let path = format!("{}/users/{id}/erase", world.base);
    assert_eq!(world.admin(Role::Owner).await.send("POST", &path, erase).await.status, 303);
    assert!(search("li").await.is_empty(), "whoever is erased is not there");

    app.advance(std::time::Duration::from_hours(1));
    assert!(app.app.api().names.wanted(app.store().clock().now()).is_empty(), "nobody searched for an hour");
    let admin = world.admin(Role::ReadOnly).await;
    let again = admin.get(&format!("{}/users?q=zo%C3%AB", world.base)).await.ok();
    assert_eq!(listed(&again), ["jane@doe.com"]);
}

#[tokio::test]
async fn actions_do_what_the_apis_do_and_are_noted_with_the_administrator() {
    let world = World::new().await;
    let admin = world.admin(Role::Support).await;
    let act = async |action: &str| {
        let done = admin.send("POST", &world.of_jane(action), "").await;
        assert_eq!(done.status, 303, "{action}: {}", done.text);
        assert_eq!(admin.get(done.header("location")).await.ok().status, 200);
        let entry = world.newest_entry().await;
        assert!(matches!(entry.actor, Some(Actor::Admin(_))), "{action}: {:?}", entry.actor);
        assert!(entry.request.is_some());
        entry.action
    };
    assert_eq!((act("/send-link").await, world.app.mails().await.len()), (Action::LinkSent, 3));
    assert_eq!((act("/freeze").await, world.status().await), (Action::UserFrozen, Status::Frozen));
    assert_eq!(
        admin.send("POST", &world.of_jane("/send-link"), "").await.status,
        403,
        "a frozen person is sent nothing"
    );
    assert_eq!((act("/unfreeze").await, world.status().await), (Action::UserRestored, Status::Active));
    assert_eq!(act("/end-sessions").await, Action::SessionsEnded);
    assert_eq!(admin.send("POST", &world.of_jane("/restore"), "").await.status, 409, "she is not deleted");

    assert_eq!(admin.send("POST", &world.of_jane("/delete"), "confirm=john@doe.com").await.status, 400);
    assert_eq!(world.status().await, Status::Active);
    let deleted = admin.send("POST", &world.of_jane("/delete"), "confirm=jane%40doe.com").await;
    assert_eq!((deleted.status, world.status().await), (303, Status::Deleted));
    assert!(admin.get(&world.of_jane("")).await.ok().text.contains("Restore"), "support sees the deleted");
    assert_eq!(world.admin(Role::ReadOnly).await.get(&world.of_jane("")).await.status, 404);
    assert_eq!((act("/restore").await, world.status().await), (Action::UserRestored, Status::Active));

    let owner = world.admin(Role::Owner).await;
    assert_eq!(owner.send("POST", &world.of_jane("/erase"), "confirm=").await.status, 400);
    let erased = owner.send("POST", &world.of_jane("/erase"), "confirm=jane%40doe.com").await;
    assert_eq!((erased.status, erased.header("location")), (303, format!("{}/users?said=erased", world.base).as_str()));
    assert!(owner.get(erased.header("location")).await.ok().text.contains("Erased."));
    assert_eq!(owner.get(&world.of_jane("")).await.status, 404);
}

#[tokio::test]
async fn one_session_is_ended_from_its_row() {
    let world = World::new().await;
    let token = world.app.person(&world.jane).await;
    token.get("/v1/users/me").await.ok();
    let admin = world.admin(Role::Support).await;
    let page = admin.get(&world.of_jane("/sessions")).await.ok();
    let session = page.text.split(r#"name="session" value=""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let end = admin.send("POST", &world.of_jane("/end-session"), format!("session={session}")).await;
    assert_eq!(end.status, 303);
    assert_eq!(token.get("/v1/users/me").await.status, 401);
    assert_eq!(admin.send("POST", &world.of_jane("/end-session"), "session=x").await.status, 404);
}

#[tokio::test]
async fn health_is_masked_and_shown_to_owners_who_say_why() {
    let world = World::new().await;
    let (owner, support) = (world.admin(Role::Owner).await, world.admin(Role::Support).await);
    for tab in ["", "/health", "/subscription", "/mail", "/sessions", "/events", "/story", "/json"] {
        for admin in [&owner, &support] {
            let page = admin.get(&world.of_jane(tab)).await.ok();
            for health in ["no allergies", "5ft 6in", "vegan", "Mike Smith", "no pork"] {
                assert!(!page.text.contains(health), "{tab} shows {health}");
            }
        }
    }
    assert!(owner.get(&world.of_jane("/health")).await.ok().text.contains("allergies"), "what is known is named");
    assert!(!support.get(&world.of_jane("/health")).await.ok().text.contains("allergies"));
    assert_eq!(support.send("POST", &world.of_jane("/reveal"), "reason=curious").await.status, 403);

    let before = world.newest_entry().await.id;
    let unsaid = owner.send("POST", &world.of_jane("/reveal"), "reason=+").await.ok();
    assert!(unsaid.text.contains("Say why") && !unsaid.text.contains("5ft 6in"));
    assert_eq!(world.newest_entry().await.id, before);
    let shown = owner.send("POST", &world.of_jane("/reveal"), "reason=She+called+about+her+plan").await.ok();
    assert!(shown.text.contains("5ft 6in") && shown.text.contains("no allergies"));
    let entry = world.newest_entry().await;
    assert_eq!(entry.action, Action::HealthRead);
    assert!(matches!(entry.actor, Some(Actor::Admin(_))));
    assert_eq!(entry.changes.0["fields"]["reason"][1], "She called about her plan");
    for tab in ["/events", "/story"] {
        assert!(owner.get(&world.of_jane(tab)).await.ok().text.contains("She called about her plan"), "{tab}");
    }
}

#[tokio::test]
async fn another_environments_user_is_not_there() {
    let world = World::new().await;
    let owner = world.admin(Role::Owner).await;
    let live = world.app.partner_in(Kind::Live, Some("acme")).await;
    let other = live.post("/users/create", jane()).await.ok().id().to_owned();
    for path in ["", "/events", "/story", "/json"] {
        assert_eq!(owner.get(&format!("{}/users/{other}{path}", world.base)).await.status, 404);
    }
    for action in ["freeze", "delete", "erase", "reveal", "send-link", "end-sessions", "restore"] {
        let path = format!("{}/users/{other}/{action}", world.base);
        assert_eq!(owner.send("POST", &path, "reason=x&confirm=jane%40doe.com").await.status, 404, "{action}");
    }
    assert_eq!(owner.get(&format!("{}/users/nonsense", world.base)).await.status, 404);
    assert_eq!(owner.get(&world.of_jane("/nonsense")).await.status, 404);
}

#[tokio::test]
async fn the_story_tells_changes_mails_sessions_and_webhooks_in_one_line_of_time() {
    let world = World::new().await;
    let acme = world.app.server().await;
    acme.post("/v1/webhooks", json!({"url": "https://hooks.example.com/usher", "name": "CRM"})).await.ok();
    world.app.advance(std::time::Duration::from_secs(1));
    acme.put(&format!("/v1/users/{}", world.jane), json!({"user": {"nickname": "JJ"}})).await.ok();
    let _ = world.app.person(&world.jane).await;
    let page = world.admin(Role::ReadOnly).await.get(&world.of_jane("/story")).await.ok().text;
    for told in ["user.created", "user.updated", "nickname", "enrolment", "captured", "signed in", "queued"] {
        assert!(page.contains(told), "{told}");
    }
    assert!(page.find("user.updated") < page.find("user.created"), "the newest first");
}

#[tokio::test]
async fn a_story_that_is_cut_says_so_and_how_to_read_on() {
    let world = World::new().await;
    let server = world.app.server().await;
    let page = async || world.admin(Role::ReadOnly).await.get(&world.of_jane("/story")).await.ok().text;
    for number in 0..199 {
        let body = json!({"user": {"nickname": format!("J{number}")}});
        server.put(&format!("/v1/users/{}", world.jane), body).await.ok();
    }
    let whole = page().await;
    assert!(whole.contains("user.created") && !whole.contains("There is more"), "200 changes");
    server.put(&format!("/v1/users/{}", world.jane), json!({"user": {"nickname": "JJ"}})).await.ok();
    let cut = page().await;
    assert!(!cut.contains("user.created"));
    assert!(
        cut.contains("There is more: these are the newest 200") && cut.contains(&format!("audit?user={}", world.jane))
    );
    let (store, id) = (world.app.store(), world.jane.parse().unwrap());
    let read = async |limit: i64| {
        let look = move |tx: &Tx| story::of(tx, &users::any_by_id(tx, id)?.expect("jane"), limit, Role::Owner);
        store.read(look).await.unwrap()
    };
    let (some, all) = (read(200).await, read(2000).await);
    assert!(some.is_cut && !all.is_cut);
    assert_eq!((some.events.len() + 1, all.events.len()), (all.events.len(), 202), "201 changes and a mail");
}

#[tokio::test]
async fn home_counts_what_happened_and_says_what_needs_attention() {
    let world = World::new().await;
    let acme = world.app.partner("acme").await;
    acme.post("/users/create", jane()).await;
    let owner = world.admin(Role::Owner).await;
    let home = owner.get(&world.base).await.ok().text;
    assert!(home.contains("Enrolments a day in 30 days: 2 in all, 2 at the most"), "{home}");
    assert!(home.contains("33.3 %") && home.contains("jane@doe.com"));
    assert!(home.contains("Mail is captured, webhooks are answered, no key"), "nothing leaves a sandbox");
    let second = jane().but("email", json!("p@doe.com")).but("phonenumber", json!("2025550199"));
    acme.post("/users/create", second).await.ok();
    assert!(owner.get(&world.base).await.ok().text.contains("p@doe.com"), "whoever is new is there at once");
    world.app.advance(std::time::Duration::from_mins(1));
    assert!(
        owner.get(&world.base).await.ok().text.contains("3 in all"),
        "numbers are remembered for a minute at the most"
    );

    let of_live = format!("/admin/{}/live", world.app.client_id);
    let home = owner.get(&of_live).await.ok().text;
    assert!(
        home.contains("No mail server is set up (--smtp-url): live mail will wait."),
        "before anybody waits: {home}"
    );
    let live = world.app.partner_in(Kind::Live, Some("acme")).await;
    live.post("/users/create", jane()).await.ok();
    world.app.advance(std::time::Duration::from_mins(1));
    let home = owner.get(&of_live).await.ok().text;
    assert!(home.contains("Mail waits (1), for no mail server is set up"), "{home}");
}

#[tokio::test]
async fn home_tells_of_webhooks_that_do_not_answer_and_of_billing_that_was_given_up() {
    let app = TestApp::new().await;
    let receiver = Receiver::start();
    app.webhook(&receiver).await;
    app.connect_billing(Kind::Sandbox, Mode::Test, &receiver.url()).await;
    app.partner("acme").await.post("/users/create", jane()).await.ok();
    let home = async || {
        let admin = app.admin(Role::ReadOnly).await;
        admin.get(&format!("/admin/{}/sandbox", app.client_id)).await.ok().text
    };
    assert!(home().await.contains("webhooks are answered"));
    let hour = std::time::Duration::from_hours(1);
    app.advance(hour);
    assert!(home().await.contains("webhooks are answered"), "an hour is no trouble yet");
    app.advance(std::time::Duration::from_mins(2));
    let late = home().await;
    assert!(late.contains("The webhook “test” does not answer: the oldest delivery waits since 1 h ago."), "{late}");
    assert!(!late.contains("webhooks are answered"));

    let now = app.store().clock().now().0;
    app.tamper(&format!("UPDATE deliveries SET state = 'failed', due_at = NULL, finished_at = {now}"));
    app.tamper("UPDATE outbox SET state = 'failed', due_at = NULL WHERE kind = 'billing'");
    app.advance(hour * 23);
    let failed = home().await;
    assert!(failed.contains("the webhook “test” were given up in the last 24 hours (1)."), "{failed}");
    assert!(failed.contains("Changes for billing were given up (1).") && !failed.contains("does not answer"));
    app.advance(hour * 2);
    let later = home().await;
    assert!(!later.contains("the webhook “test” were given up"), "that is over: {later}");
    assert!(later.contains("Changes for billing were given up (1)."), "this waits for somebody");
}

#[tokio::test]
async fn home_tells_of_imports_that_were_broken_off() {
    let app = TestApp::new().await;
    let home = async |role| {
        let admin = app.admin(role).await;
        admin.get(&format!("/admin/{}/sandbox", app.client_id)).await.ok().text
    };
    crate::imports::begin(&app, &crate::imports::people(3)).await;
    assert!(home(Role::Owner).await.contains("webhooks are answered"));
    app.store().write(usher::imports::break_off_all).await.unwrap();
    app.advance(std::time::Duration::from_mins(2));
    let broken = home(Role::Owner).await;
    assert!(broken.contains("Imports were broken off in the last 7 days (1)"), "{broken}");
    assert!(!home(Role::Support).await.contains("were broken off"), "who cannot look is not told");
    app.advance(std::time::Duration::from_hours(7 * 24));
    assert!(!home(Role::Owner).await.contains("were broken off"), "that is over");
}

#[tokio::test]
async fn a_mail_of_a_person_leads_to_its_page() {
    let world = World::new().await;
    let job = world.app.mails().await.into_iter().find(|(_, mail)| mail.to == "jane@doe.com").unwrap().0;
    let support = world.admin(Role::Support).await;
    let tab = support.get(&world.of_jane("/mail")).await.ok().text;
    let path = format!("{}/mails/{}", world.base, job.id);
    assert!(tab.contains(&format!("href=\"{path}\"")), "{tab}");
    support.get(&path).await.ok();
}

#[test]
fn usher_explain_tells_the_story_and_send_link_sends_one() {
    let server = Program::start(&[]);
    server.enrol(&jane());
    let sent = server.json(&["user", "send-link", "jane@doe.com", "--public-url", &server.url]);
    assert_eq!(sent["sent"], true);
    let cut = server.run(&["explain", "jane@doe.com", "--limit", "1"]);
    assert!(String::from_utf8_lossy(&cut.stderr).contains("There is more, which is older: --limit 10 tells it."));
    let story = server.json(&["explain", "jane@doe.com"]);
    let what: Vec<&str> = story.as_array().unwrap().iter().map(|event| event["what"].as_str().unwrap()).collect();
    for told in ["link.sent", "user.created", "enrolment"] {
        assert!(what.contains(&told), "{what:?}");
    }
    assert_eq!(what.iter().filter(|what| **what == "enrolment").count(), 2);
    let who: Vec<&str> = story.as_array().unwrap().iter().map(|event| event["who"].as_str().unwrap()).collect();
    assert!(who.contains(&"the operator"));
}
