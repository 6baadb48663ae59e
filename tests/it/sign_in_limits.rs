//! How often somebody may sign in, be mailed, or try what belongs to others.

use std::time::Duration;

use serde_json::json;
use usher::apps::Kind;
use usher::db::Tx;
use usher::limits::{self, Limit};
use usher::roles::RoleId;
use usher::signin::{self, PER_ENVIRONMENT, TO_STRANGERS};

use crate::cluster::on_postgres;
use crate::doctor::finding;
use crate::harness::{TestApp, john};
use crate::idempotency::KEY;
use crate::life::{administrator, data};
use crate::program::{Program, raw};
use crate::signin::{CALLBACK, app_and_jane};

#[tokio::test]
async fn a_victim_gets_five_mails_an_hour_and_twenty_a_day_whoever_asks_and_their_own_link_works_on() {
    let (app, _) = app_and_jane().await;
    let enrolled = app.mails().await.len();
    let (victim, _) = app.begin("jane@doe.com").await;
    let (link, _) = app.newest_mail().await;
    for i in 0..1000 {
        let attacker = app.anyone().from(&format!("203.0.{}.7", i % 200));
        let (_, answer) = app.begin_as(&attacker, ["jane@doe.com", "JANE@doe.com"][i % 2]).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/sign-in/code"));
    }
    assert_eq!(app.mails().await.len() - enrolled, 5);
    assert_eq!(victim.send("POST", &link, "").await.status, 303);
    for _ in 0..23 {
        app.advance(Duration::from_hours(1));
        for i in 0..10 {
            app.begin_as(&app.anyone().from(&format!("198.51.{i}.7")), "jane@doe.com").await;
        }
        app.mails().await;
    }
    assert_eq!(app.mails().await.len() - enrolled, 20);
}

#[tokio::test]
async fn a_network_begins_a_hundred_an_hour_whatever_it_says_of_itself() {
    let (app, _) = app_and_jane().await;
    let mut statuses = Vec::new();
    for i in 0..102 {
        let caller = app.anyone().from(&format!("203.0.113.{i}")).with("X-Forwarded-For", &format!("198.51.{i}.1"));
        statuses.push(app.begin_as(&caller, &format!("n{i}@doe.com")).await.1.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 303).count(), 100);
    assert_eq!(statuses[100..], [429, 429]);
    assert_eq!(app.begin_as(&app.anyone().from("203.0.114.1"), "jane@doe.com").await.1.status, 303);
    app.advance(Duration::from_hours(1));
    assert_eq!(app.begin_as(&app.anyone().from("203.0.113.1"), "jane@doe.com").await.1.status, 303);
}

#[test]
fn a_network_begins_as_many_as_the_operator_has_set_and_any_number_with_zero() {
    let proxied = ["--trusted-proxy", "127.0.0.1"];
    let begin_saying = |program: &Program, made_up: &[u8], n: usize| {
        let path = format!("/sign-in?client_id={}&redirect_uri={CALLBACK}", program.client_id);
        let form = format!("email=n{n}%40doe.com");
        let head = format!("POST {path} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nX-Forwarded-For: ");
        let rest = format!("203.0.113.{n}\r\nContent-Length: {}\r\n\r\n{form}", form.len());
        let request = [head.as_bytes(), made_up, rest.as_bytes()].concat();
        raw(&program.url, &request).0.split(' ').nth(1).unwrap().to_owned()
    };
    let begin = |program: &Program, n: usize| begin_saying(program, b"", n);
    let program = Program::start_set(&[("USHER_SIGN_INS_PER_NETWORK", "2")], &proxied);
    let client_id = program.client_id.clone();
    let added = program.run(&["app", "redirect", "add", &client_id, CALLBACK, "--environment", "sandbox"]);
    assert!(added.status.success());
    assert_eq!([1, 2, 3].map(|n| begin(&program, n)), ["303", "303", "429"]);
    let beyond_ascii: [&[u8]; 3] = [b"\xff, ", "é, ".as_bytes(), b"\xff\r\nX-Forwarded-For: "];
    assert_eq!(
        beyond_ascii.map(|made_up| begin_saying(&program, made_up, 3)),
        ["429"; 3],
        "its own words are no way round"
    );
    let mut program = Program::start_in(program.stop().2, &[&proxied[..], &["--sign-ins-per-network", "0"]].concat());
    program.client_id = client_id;
    assert_eq!([4, 5, 6].map(|n| begin(&program, n)), ["303"; 3]);
}

#[tokio::test]
async fn of_1000_at_once_from_one_network_on_two_servers_a_hundred_begin() {
    let (app, _) = app_and_jane().await;
    let (path, other) = (app.sign_in_path(), app.another_server().await);
    let here = app.anyone().from("203.0.113.9");
    let there = here.at(&other);
    let begin = async |n: usize| {
        let server = if n.is_multiple_of(2) { &here } else { &there };
        server.send("POST", &path, format!("email=n{n}%40doe.com")).await.status
    };
    let statuses = futures_util::future::join_all((0..1000).map(begin)).await;
    let of = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((of(303), of(429)), (100, 900));
}

#[tokio::test]
async fn an_environment_sends_ten_thousand_mails_an_hour_and_the_other_one_its_own() {
    const LIVE: &str = "https://live.example.com/callback";
    let (app, id) = app_and_jane().await;
    app.partner("acme").await.post("/users/create", john()).await.ok();
    app.partner_in(Kind::Live, None).await.post("/users/create", john()).await.ok();
    app.register(Kind::Live, LIVE).await;
    used(&app, &id, &PER_ENVIRONMENT).await;
    let mailed = async |path: &str, email: &str| {
        let before = app.mails().await.len();
        let answer = app.anyone().send("POST", path, format!("email={email}")).await;
        assert_eq!((answer.status, answer.header("location")), (303, "/sign-in/code"), "nobody learns of it");
        app.mails().await.len() - before
    };
    let sandbox = app.sign_in_path();
    assert_eq!(mailed(&sandbox, "jane%40doe.com").await, 1, "the last one");
    assert_eq!(mailed(&sandbox, "john%40doe.com").await, 0);
    assert_eq!(mailed(&sandbox, "jane%40doe.com").await, 0);
    let live = sandbox.replace(CALLBACK, LIVE);
    assert_eq!(mailed(&live, "john%40doe.com").await, 1);
    app.advance(Duration::from_hours(1));
    assert_eq!(mailed(&sandbox, "john%40doe.com").await, 1);
}

/// Leaves one time of a limit on mails for the environment of a user.
async fn used(app: &TestApp, id: &str, limit: &'static Limit) {
    let environment = app.user(id).await.environment;
    app.store().write(move |tx| limit.take(tx, environment.0.as_bytes())).await.unwrap();
    app.tamper(&format!("UPDATE limits SET used = {} WHERE used = 1", limit.most - 1));
}

#[tokio::test]
async fn a_mail_that_an_environment_holds_back_is_counted_and_doctor_tells_of_it() {
    let (app, id) = app_and_jane().await;
    app.partner("acme").await.post("/users/create", john()).await.ok();
    used(&app, &id, &PER_ENVIRONMENT).await;
    let held = async |count: u32| {
        let metrics = app.anyone().get("/metrics").await.ok().text;
        metrics.contains(&format!("usher_mails_total{{outcome=\"held\"}} {count}\n"))
    };
    assert!(held(0).await);
    for email in ["jane@doe.com", "john@doe.com", "nobody@doe.com", "john@doe.com"] {
        app.begin(email).await;
        app.mails().await;
    }
    assert!(held(2).await, "nobody is kept from a mail who would have got none");
    let environment = app.user(&id).await.environment;
    let in_a_day = async || app.store().read(move |tx| signin::held_back(tx, environment)).await.unwrap();
    assert_eq!(in_a_day().await, 2);
    app.advance(Duration::from_hours(24));
    assert_eq!(in_a_day().await, 0);
    // The command goes by the time of day.
    app.tamper("UPDATE limits SET since = 4102444800000");
    let (state, value) = finding(&app.folder, "mails to sign in by held back");
    assert!(state == "note" && value.starts_with("2 in a day"), "{state} {value}");
}

#[tokio::test]
async fn a_flood_of_made_up_addresses_keeps_nobody_from_registering_forever_and_no_user_out_at_all() {
    let (app, id) = app_and_jane().await;
    app.open_to_all().await;
    used(&app, &id, &TO_STRANGERS).await;
    let sign_up = app.sign_in_path().replace("signIn", "signUp");
    let mailed = async |email: &str| {
        let before = app.mails().await.len();
        app.begin_at(&sign_up, email).await;
        app.mails().await.len() - before
    };
    assert_eq!([mailed("a@doe.com").await, mailed("b@doe.com").await, mailed("c@doe.com").await], [1, 0, 0]);
    assert_eq!(mailed("jane@doe.com").await, 1, "who is a user");
    app.advance(Duration::from_hours(1));
    assert_eq!(mailed("b@doe.com").await, 1);
}

#[tokio::test]
async fn a_person_tries_twenty_addresses_and_numbers_a_day_and_learns_of_no_more() {
    let (app, id) = app_and_jane().await;
    app.partner("acme").await.post("/users/create", john()).await.ok();
    let (browser, _) = app.begin("jane@doe.com").await;
    let (link, _) = app.newest_mail().await;
    let entered = browser.send("POST", &link, "").await;
    let page = app.anyone().with("Cookie", entered.header("set-cookie").split(';').next().unwrap());
    let me = app.person(&id).await;
    let dry = "/v1/users/me?dry_run=true";
    let mut seen = Vec::new();
    for n in 0..5_u32 {
        let form = format!("version=x&email=john%40doe.com&phone_number=20255502{n:02}");
        seen.push(page.send("POST", "/profile", form).await.status);
    }
    assert_eq!(seen, [412; 5], "of a form that is too late too, for it tells the same");
    for n in 0..10_u32 {
        let email = if n.is_multiple_of(2) { "john@doe.com".to_owned() } else { format!("n{n}@doe.com") };
        seen.push(me.put(dry, json!({"user": {"email": email}})).await.status);
    }
    for n in 0..10 {
        let body = json!({"user": {"phone_number": format!("20255501{n:02}")}}).to_string();
        seen.push(me.send("PATCH", dry, body).await.status);
    }
    assert_eq!(seen[..20].iter().filter(|status| **status == 429).count(), 0, "{seen:?}");
    assert_eq!(seen[20..], [429; 5]);
    assert_eq!(page.send("POST", "/profile", "version=x&email=john%40doe.com").await.status, 429);
    me.put("/v1/users/me", json!({"user": {"email": "JANE@doe.com", "nickname": "J"}})).await.ok();
    let spare = app.server().await;
    spare.put(&format!("/v1/users/{id}?dry_run=true"), json!({"user": {"email": "n1@doe.com"}})).await.ok();
    app.advance(Duration::from_hours(24));
    let me = app.person(&id).await;
    assert_eq!(me.put(dry, json!({"user": {"email": "john@doe.com"}})).await.status, 400);
}

#[tokio::test]
async fn what_is_sent_again_under_its_key_is_no_further_try_and_the_key_opens_nothing_else() {
    let (app, _) = app_and_jane().await;
    let (id, _) = app.signed_up("new@doe.com").await;
    let me = app.person(&id).await;
    let keyed = |n: usize| me.with(KEY, &format!("k{n}"));
    let of = |n: usize| {
        let email = format!("n{n}@doe.com");
        if n == 0 { json!({"email": email, "language": "en"}) } else { json!({"user": {"email": email}}) }
    };
    for n in 0..20 {
        let path = if n == 0 { "/v1/users/me" } else { "/v1/users" };
        let first = keyed(n).post(path, of(n)).await.ok();
        keyed(n).post(path, of(n)).await.is_again(&first);
    }
    assert_eq!(keyed(20).post("/v1/users", of(20)).await.status, 429);
    assert_eq!(keyed(19).post("/v1/users", of(20)).await.status, 422);
    assert_eq!(keyed(19).post("/v1/users?dry_run=true", of(20)).await.status, 429);
}

#[tokio::test]
async fn who_is_in_charge_by_signing_up_has_twenty_tries_for_a_whole_tenant_and_who_was_appointed_a_thousand() {
    let (app, jane) = app_and_jane().await;
    let (id, _) = app.signed_up("new@doe.com").await;
    let me = app.person(&id).await;
    let mails = app.mails().await.len();
    let make = "/v1/users?dry_run=true";
    let of = |email: &str| json!({"user": {"email": email}});
    let puppet = data(&me.post("/v1/users", of("puppet@doe.com")).await.ok())["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/users/{puppet}");
    let mut seen = Vec::new();
    for n in 0..8 {
        seen.push(me.post(make, of(["jane@doe.com", "nobody@doe.com"][n % 2])).await.status);
        seen.push(me.post("/v1/users/me", json!({"email": format!("i{n}@doe.com"), "language": "en"})).await.status);
        let number = json!({"user": {"phone_number": format!("20255501{n:02}")}});
        seen.push(me.put(&format!("{path}?dry_run=true"), number).await.status);
    }
    assert_eq!(seen[..19].iter().filter(|status| **status == 429).count(), 0, "{seen:?}");
    assert_eq!((seen[0], seen[3], &seen[19..]), (409, 200, &[429; 5][..]));
    assert_eq!(app.mails().await.len() - mails, 6, "nobody else was sent anything");
    me.put(&path, json!({"user": {"email": "PUPPET@doe.com", "nickname": "P"}})).await.ok();
    me.put(&format!("{path}/user-roles"), json!({"userRoleId": RoleId::ADMINISTRATOR})).await.ok();
    let second = app.person(&puppet).await;
    for (path, user) in [(make, of("jane@doe.com")), ("/v1/users/me?dry_run=true", of("jane@doe.com"))] {
        assert_eq!(second.send("POST", path, user.to_string()).await.status, 429, "whom they appoint has no more");
    }

    administrator(&app, &jane).await;
    let boss = app.person(&jane).await;
    let user = app.user(&jane).await.id;
    let most = Limit { what: "identity of others", most: 1000, span: Duration::from_hours(24) };
    let fill = move |tx: &Tx| (0..998).try_for_each(|_| most.take(tx, user.0.as_bytes()).map(|_| ()));
    app.store().write(fill).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(boss.post(make, of("new@doe.com")).await.status);
    }
    assert_eq!(seen, [409, 409, 429]);
    boss.put("/v1/users/me?dry_run=true", of("jane.two@doe.com")).await.ok();
    app.advance(Duration::from_hours(24));
    assert_eq!(app.person(&id).await.post(make, of("jane@doe.com")).await.status, 409);
    assert_eq!(app.person(&jane).await.post(make, of("new@doe.com")).await.status, 409);
}

#[tokio::test]
async fn the_people_of_a_tenant_may_try_twenty_other_names_a_day_also_in_rehearsals() {
    let (app, _) = app_and_jane().await;
    let (id, tenant) = app.signed_up("new@doe.com").await;
    let (me, server) = (app.person(&id).await, app.server().await);
    let named = |name: &str| json!({"tenant": {"name": name}});
    let (mine, dry) = ("/v1/tenants/me", "/v1/tenants/me?dry_run=true");
    let mut seen = Vec::new();
    for n in 0..22 {
        seen.push(me.put(dry, named(["acme", "nobody"][n % 2])).await.status);
    }
    assert_eq!((&seen[..2], &seen[19..]), (&[400, 200][..], &[200, 429, 429][..]), "{seen:?}");
    let refused = me.put(mine, named("acme")).await;
    assert_eq!(
        (refused.status, refused.error()),
        (429, "Too many names were tried for your tenant. Try again tomorrow.")
    );
    // What they have may be said again, and the rest be changed; and the app is not limited.
    me.put(mine, json!({"tenant": {"name": id, "description": "x"}})).await.ok();
    assert_eq!(server.put(&format!("/v1/tenants/{tenant}?dry_run=true"), named("acme")).await.status, 400);
    app.advance(Duration::from_hours(24));
    let me = app.person(&id).await;
    me.with(KEY, "k").put(mine, named("Clinic North")).await.ok();
    for _ in 0..20 {
        me.with(KEY, "k").put(mine, named("Clinic North")).await.ok();
    }
    assert_eq!(me.put(dry, named("acme")).await.status, 400, "what is sent again under its key is no further try");
}

#[tokio::test]
async fn what_no_longer_limits_is_found_by_an_index() {
    if on_postgres() {
        // It reads small tables whole, whatever indexes there are.
        return;
    }
    let (app, _) = app_and_jane().await;
    let plan = format!("EXPLAIN QUERY PLAN {}", limits::OLD.statement());
    let rows = app.store().read(move |tx| tx.query(&plan, &[5.into(), 9.into()])).await.unwrap();
    let steps: Vec<String> = rows.iter().map(|row| row.get(3).unwrap()).collect();
    let by_age = |step: &String| step.starts_with("SEARCH limits USING") && step.ends_with("(since<?)");
    assert!(steps.iter().any(by_age) && !steps.iter().any(|step| step.contains("SCAN")), "{steps:?}");
}
