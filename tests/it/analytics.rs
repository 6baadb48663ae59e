//! Analytics: who signed in, and which tenants were made, between two days.

use std::time::Duration;

use serde_json::{Value, json};
use usher::apps::{self, Kind};
use usher::caller::Scope;
use usher::keys::Access;
use usher::sessions;
use usher::users::UserId;

use crate::harness::{But, jane, john};
use crate::life::{data, two};

#[tokio::test]
async fn analytics_tell_who_signed_in_and_which_tenants_were_made_between_two_days() {
    let (app, id, other) = two().await;
    let reader = app.server_in(Kind::Sandbox, Access::Read).await;
    let link = app.newest_link().await;
    assert_eq!(data(&reader.get("/v1/analytics/sign-ins?test=true").await.ok())["items"], json!([]));
    assert_eq!(app.anyone().send("POST", &link, "").await.status, 303);
    app.advance(Duration::from_hours(48));
    let told = data(&reader.get("/v1/analytics/sign-ins?test=true").await.ok()).clone();
    assert_eq!((&told["kind"], &told["itemsLength"]), (&json!("analyticsSignIn"), &json!(1)));
    let only = &told["items"][0];
    assert_eq!((&only["daysSinceLastSignIn"], only["user"].get("metadata")), (&json!(2), None));
    assert!([&id, &other].iter().any(|one| only["id"] == json!(one)));
    for (days, count) in
        [("from=2026-11-21&to=2026-11-21", 1), ("from=2026-11-22&to=2026-11-30", 0), ("to=2026-11-20", 0)]
    {
        assert_eq!(
            data(&reader.get(&format!("/api/v1/analytics/sign-ins?{days}")).await.ok())["itemsLength"],
            json!(count),
            "{days}"
        );
    }
    let forgotten = reader.get("/v1/analytics/sign-ins?from=2026-10-20").await;
    assert_eq!(
        (forgotten.status, forgotten.error()),
        (400, "Sign-ins are known of the last 30 days; let from be later"),
        "an empty list would say that nobody signed in"
    );
    reader.get("/v1/analytics/sign-ins?from=2026-10-24").await.ok();
    let tenants = data(&reader.get("/v1/analytics/tenants?from=2026-11-21&to=2026-11-21").await.ok()).clone();
    assert_eq!((&tenants["kind"], &tenants["items"][0]["name"]), (&json!("analyticsTenant"), &json!("acme")));
    for wrong in ["from=x", "from=2026-13-01", "to=2026-11-21T00:00:00Z", "frm=2026-11-21"] {
        assert_eq!(reader.get(&format!("/v1/analytics/tenants?{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn sign_ins_are_those_of_the_keys_own_environment_or_tenant_and_each_person_is_there_once() {
    let (app, id, other) = two().await;
    let scope = async |kind| {
        let client = app.client_id;
        let environment = app.store().read(move |tx| apps::environment(tx, client, kind)).await.unwrap().id;
        Scope { environment, tenant: None }
    };
    let north = app.partner("north").await;
    let stranger = john().but("email", json!("s@doe.com")).but("phonenumber", json!("2025550199"));
    let stranger = north.post("/users/create", stranger).await.ok().id().to_owned();
    let far = app.partner_in(Kind::Live, None).await.post("/users/create", jane()).await.ok().id().to_owned();
    let start = async |id: &str, times: usize| {
        let id: UserId = id.parse().unwrap();
        let start = move |tx: &usher::db::Tx| {
            let user = usher::users::any_by_id(tx, id)?.unwrap();
            (0..times).try_for_each(|_| sessions::start(tx, &user).map(|_| ()))
        };
        app.store().write(start).await.unwrap();
        app.advance(Duration::from_secs(1));
    };
    for (id, times) in [(&other, 1), (&stranger, 1), (&id, 1100), (&far, 1)] {
        start(id, times).await;
    }
    let ids = async |scope: Scope, limit: i64| -> Vec<String> {
        let now = app.store().clock().now();
        let from = now - Duration::from_hours(1);
        let found = app.store().scan(move |tx| sessions::sign_ins(tx, scope, (from, now), None, limit)).await.unwrap();
        found.iter().map(|(user, _)| user.id.to_string()).collect()
    };
    let (sandbox, live) = (scope(Kind::Sandbox).await, scope(Kind::Live).await);
    let acme = Scope { tenant: app.user(&id).await.tenant, ..sandbox };
    assert_eq!(ids(sandbox, 100).await, [&id, &stranger, &other].map(Clone::clone));
    assert_eq!(ids(sandbox, 2).await, [&id, &stranger].map(Clone::clone));
    assert_eq!(ids(acme, 100).await, [&id, &other].map(Clone::clone));
    assert_eq!(ids(live, 100).await, [far]);

    // In pages, and who comes back meanwhile is not there twice.
    let reader = app.server_in(Kind::Sandbox, Access::Read).await;
    let page = async |rest: &str| {
        let found = data(&reader.get(&format!("/v1/analytics/sign-ins?limit=1{rest}")).await.ok()).clone();
        let ids: Vec<&str> = found["items"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 1);
        (ids[0].to_owned(), found["nextCursor"].as_str().map(|cursor| format!("&cursor={cursor}")))
    };
    let (first, next) = page("").await;
    let (second, next) = page(&next.unwrap()).await;
    start(&other, 1).await;
    start(&id, 1).await;
    assert_eq!([first, second], [id.clone(), stranger]);
    let rest =
        data(&reader.get(&format!("/v1/analytics/sign-ins?limit=1{}", next.clone().unwrap())).await.ok()).clone();
    assert_eq!(rest["nextCursor"], Value::Null, "{rest}");
    let wrong = reader.get(&format!("/v1/analytics/sign-ins?from=2026-11-20{}", next.unwrap())).await;
    assert_eq!((wrong.status, wrong.error().contains("cursor")), (400, true), "it is of another list");
    let tenant = async |rest: &str| {
        let found = data(&reader.get(&format!("/v1/analytics/tenants?limit=1{rest}")).await.ok()).clone();
        (found["items"][0]["name"].clone(), found["nextCursor"].as_str().map(|cursor| format!("&cursor={cursor}")))
    };
    let (newer, next) = tenant("").await;
    let (older, end) = tenant(&next.unwrap()).await;
    let mut both = [newer.to_string(), older.to_string()];
    both.sort_unstable();
    assert_eq!((both, end), ([r#""acme""#, r#""north""#].map(str::to_owned), None));
}
