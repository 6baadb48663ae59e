//! `GET /v1/users`: filters, order, pages, and cursors that cannot be made.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use usher::apps::Kind;
use usher::keys::{Access, NewKey};
use usher::users::Status;

use crate::harness::{Answer, Client, TestApp, a_key};
use crate::idempotency::set_status;

const SECOND: Duration = Duration::from_secs(1);

fn emails(answer: &Answer) -> Vec<String> {
    let items = answer.body["data"]["items"].as_array().unwrap();
    items.iter().map(|item| item["email"].as_str().unwrap().split('@').next().unwrap().to_owned()).collect()
}

async fn add(app: &TestApp, client: &Client<'_>, name: &str) -> String {
    app.advance(SECOND);
    let user = json!({"email": format!("{name}@doe.com"), "externalId": format!("ext-{name}")});
    client.post("/v1/users", json!({ "user": user })).await.ok().body["data"]["id"].as_str().unwrap().to_owned()
}

/// Five users, one a second, the last two of the tenant `north`.
async fn five() -> (TestApp, Vec<String>, String) {
    let app = TestApp::new().await;
    let (server, north) = (app.server().await, tenant_key(&app, "north").await);
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.push(add(&app, &server, name).await);
    }
    for name in ["d", "e"] {
        ids.push(add(&app, &north, name).await);
    }
    let tenant = app.user(&ids[4]).await.tenant.unwrap().to_string();
    (app, ids, tenant)
}

async fn tenant_key<'a>(app: &'a TestApp, tenant: &str) -> Client<'a> {
    let (_, key) = app.new_key(Kind::Sandbox, NewKey { tenant: Some(tenant.into()), ..a_key() }).await;
    app.anyone().with("X-API-KEY", &key).with("X-API-KEY-TYPE", "write").with("X-CLIENT-ID", &app.client_id.to_string())
}

#[tokio::test]
async fn a_list_by_address_whose_place_was_erased_is_begun_anew() {
    let (app, ids, _) = five().await;
    let server = app.server().await;
    let first = server.get("/v1/users?sort=email&limit=1").await.ok();
    let next = format!("/v1/users?sort=email&limit=1&cursor={}", first.body["data"]["nextCursor"].as_str().unwrap());
    assert_eq!(emails(&server.get(&next).await.ok()), ["b"]);
    server.post(&format!("/v1/users/{}/erase", ids[0]), json!({})).await.ok();
    let gone = server.get(&next).await;
    assert!(gone.status == 400 && gone.error().contains("cursor must be"), "{}", gone.text);
}

/// The cursor has the person, not the address: read on from their new one, the list would leave out whoever stands between.
#[tokio::test]
async fn a_list_by_address_whose_place_has_moved_to_another_address_is_begun_anew() {
    let (app, ids, _) = five().await;
    let server = app.server().await;
    for sort in ["email", "-email"] {
        let list = format!("/v1/users?sort={sort}&limit=3");
        let first = server.get(&list).await.ok();
        let next = format!("{list}&cursor={}", first.body["data"]["nextCursor"].as_str().unwrap());
        let rest = if sort == "email" { ["d", "e"] } else { ["b", "a"] };
        let write = async |change: Value| {
            app.advance(SECOND);
            server.put(&format!("/v1/users/{}", ids[2]), json!({ "user": change })).await.ok();
        };
        assert_eq!(emails(&server.get(&next).await.ok()), rest);
        write(json!({"email": "C@Doe.com", "nickname": sort})).await;
        assert_eq!(emails(&server.get(&next).await.ok()), rest, "it is the same address, however it is written");
        for elsewhere in ["z", "0"] {
            write(json!({"email": format!("{elsewhere}@doe.com")})).await;
            let moved = server.get(&next).await;
            assert!(
                moved.status == 400 && moved.error().contains("cursor must be"),
                "{sort} {elsewhere}: {}",
                moved.text
            );
        }
        write(json!({"email": "c@doe.com"})).await;
        assert_eq!(emails(&server.get(&next).await.ok()), rest, "it stands where it stood");
    }
}

#[tokio::test]
async fn a_list_is_in_order_from_end_to_end_in_either_direction_whatever_the_length_of_its_pages() {
    let (app, mut ids, tenant) = five().await;
    let reader = app.server_in(Kind::Sandbox, Access::Read).await;
    let server = app.server().await;
    for name in ["f", "g"] {
        let made = server.post("/v1/users", json!({"user": {"email": format!("{name}@doe.com")}})).await.ok();
        ids.push(made.body["data"]["id"].as_str().unwrap().to_owned());
    }
    app.advance(SECOND);
    server.put(&format!("/v1/users/{}", ids[1]), json!({"user": {"nickname": "B"}})).await.ok();
    // When each was made and last changed, in seconds. Of several at one moment, the id decides.
    let times = [("a", 1, 1), ("b", 2, 6), ("c", 3, 3), ("d", 4, 4), ("e", 5, 5), ("f", 5, 5), ("g", 5, 5)];
    let by = |moment: fn(&(&str, u8, u8)) -> u8| {
        let mut all: Vec<_> = times.iter().zip(&ids).map(|(one, id)| (moment(one), id, one.0)).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, _, name)| name.to_owned()).collect::<Vec<String>>()
    };
    let names = times.map(|(name, ..)| name.to_owned()).to_vec();
    for (field, ascending) in [("created", by(|one| one.1)), ("updated", by(|one| one.2)), ("email", names)] {
        let descending = ascending.iter().rev().cloned().collect();
        for (sort, expected) in [(field.to_owned(), ascending), (format!("-{field}"), descending)] {
            for limit in [1, 2, 3, 7, 100] {
                let mut all = Vec::new();
                let mut cursor = String::new();
                loop {
                    let page = reader.get(&format!("/v1/users?sort={sort}&limit={limit}{cursor}")).await.ok();
                    let data = &page.body["data"];
                    assert_eq!((&data["kind"], &data["itemsLength"]), (&json!("user"), &json!(emails(&page).len())));
                    all.extend(emails(&page));
                    let Some(next) = data["nextCursor"].as_str() else { break };
                    assert_eq!(emails(&page).len(), limit);
                    cursor = format!("&cursor={next}");
                }
                assert_eq!(all, expected, "{sort} {limit}");
            }
        }
    }
    let north = reader.get(&format!("/v1/users?tenant={tenant}&sort=created")).await.ok();
    assert_eq!(emails(&north), ["d", "e"]);
    assert_eq!(emails(&tenant_key(&app, "north").await.get("/v1/users?sort=created").await.ok()), ["d", "e"]);
    assert_eq!(
        emails(&app.server_in(Kind::Live, Access::Read).await.get("/v1/users").await.ok()),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_list_between_two_times_has_the_same_people_in_pages() {
    let (app, ids, _) = five().await;
    let server = app.server().await;
    app.advance(SECOND);
    server.put(&format!("/v1/users/{}", ids[1]), json!({"user": {"nickname": "B"}})).await.ok();
    // Made at 12:00:01 to 12:00:05, and the second changed at 12:00:06.
    let at = |second: u8| format!("2026-11-21T12:00:0{second}Z");
    let between = format!("created_from={}&created_to={}&updated_from={}&updated_to={}", at(2), at(5), at(3), at(7));
    for (sort, expected) in [("created", "bcd"), ("-created", "dcb"), ("updated", "cdb"), ("-updated", "bdc")] {
        let (mut all, mut cursor) = (String::new(), String::new());
        loop {
            let page = server.get(&format!("/v1/users?sort={sort}&limit=1&{between}{cursor}")).await.ok();
            all.extend(emails(&page));
            let Some(next) = page.body["data"]["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(all, expected, "{sort}");
    }
}

#[tokio::test]
async fn filters_find_who_they_name_and_go_together() {
    let (app, ids, tenant) = five().await;
    let server = app.server().await;
    server.put(&format!("/v1/users/{}", ids[0]), json!({"user": {"phone_number": "+1 202 555 0177"}})).await.ok();
    set_status(&app, &ids[1], Status::Frozen).await;
    set_status(&app, &ids[2], Status::Deleted).await;
    // Made at 12:00:01 to 12:00:05.
    for (query, found) in [
        ("", "abde"),
        ("status=active", "ade"),
        ("status=frozen", "b"),
        ("status=deleted", "c"),
        ("email=A@DOE.com", "a"),
        ("email=z@doe.com", ""),
        ("phone=%2B12025550177", "a"),
        ("phone=(202)%20555-0177", "a"),
        ("external_id=ext-d", "d"),
        (&format!("external_id=ext-d&tenant={tenant}"), "d"),
        (&format!("external_id=ext-a&tenant={tenant}"), ""),
        ("email=a@doe.com&external_id=ext-b", ""),
        ("email=b@doe.com&status=active", ""),
        ("created_from=2026-11-21T12:00:04Z", "de"),
        ("created_from=2026-11-21T12:00:02Z&created_to=2026-11-21T12:00:05Z", "bd"),
        ("created_to=2026-11-21", ""),
        ("created_from=2026-11-21&created_to=2026-11-22", "abde"),
        ("updated_to=2026-11-21T12:00:05Z", "d"),
        ("updated_from=2026-11-21T12:00:05Z", "abe"),
        ("test=true", "abde"),
    ] {
        let answer = server.get(&format!("/v1/users?sort=created&{query}")).await.ok();
        assert_eq!(emails(&answer).concat(), found, "{query}");
    }
    let reader = app.server_in(Kind::Sandbox, Access::Read).await;
    assert_eq!(reader.get("/v1/users?status=deleted").await.status, 403, "who cannot restore has no business there");
    let deleted = &server.get("/v1/users?status=deleted").await.ok().body["data"]["items"][0];
    assert_eq!((&deleted["deleted"], deleted.get("metadata")), (&json!(true), None));
}

#[tokio::test]
async fn what_a_list_does_not_understand_it_refuses() {
    let (app, ..) = five().await;
    let server = app.server().await;
    for query in [
        "stauts=deleted",
        "limit=0",
        "limit=101",
        "limit=1000000000",
        "limit=-1",
        "limit=x",
        "sort=name",
        "sort=created%20DESC",
        "sort=created;DROP%20TABLE%20users",
        "status=gone",
        "tenant=x",
        "tenant='%20OR%201=1",
        "email=a",
        "phone=1",
        "phone=+12025550177x",
        "created_from=yesterday",
        "created_from=2026-02-30",
        "updated_to=1",
        "status=active&status=active",
        "external_id=",
        "external_id=a%00",
        "q=%25",
    ] {
        let answer = server.get(&format!("/v1/users?{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text);
    }
    let unknown = server.get("/v1/users?tenant=7b0e2f4c-1111-4111-8111-111111111111").await;
    assert_eq!((unknown.status, unknown.error()), (404, "Tenant not found"));
}

#[tokio::test]
async fn a_cursor_that_was_not_given_for_this_very_list_is_400() {
    let (app, _, tenant) = five().await;
    let server = app.server().await;
    let cursor_of = async |client: &Client<'_>, query: &str| {
        let page = client.get(&format!("/v1/users?limit=1&{query}")).await.ok();
        page.body["data"]["nextCursor"].as_str().unwrap().to_owned()
    };
    let good = cursor_of(&server, "").await;
    server.get(&format!("/v1/users?limit=1&cursor={good}")).await.ok();
    let north = tenant_key(&app, "north").await;
    let mut wrong = vec![
        cursor_of(&server, "sort=created").await,
        cursor_of(&server, "status=active").await,
        cursor_of(&server, &format!("tenant={tenant}")).await,
        cursor_of(&north, "").await,
        String::new(),
        "x".into(),
        "%27%20OR%201=1".into(),
    ];
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&good).unwrap();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        wrong.push(BASE64_URL_SAFE_NO_PAD.encode(changed));
    }
    for length in 0..300 {
        wrong.push(BASE64_URL_SAFE_NO_PAD.encode(vec![u8::try_from(length % 251).unwrap(); length]));
    }
    for cursor in wrong {
        let answer = server.get(&format!("/v1/users?limit=1&cursor={cursor}")).await;
        assert_eq!(answer.status, 400, "{cursor}");
    }
    for client in [&north, &app.server_in(Kind::Live, Access::Write).await] {
        assert_eq!(client.get(&format!("/v1/users?limit=1&cursor={good}")).await.status, 400, "it is another's");
    }
}

#[tokio::test]
async fn an_administrator_lists_their_tenant_and_a_member_nobody() {
    let (app, ids, _) = five().await;
    let server = app.server().await;
    let role = json!({"userRoleId": usher::roles::RoleId::ADMINISTRATOR});
    for id in [&ids[0], &ids[3]] {
        server.put(&format!("/v1/users/{id}/user-roles"), role.clone()).await.ok();
    }
    assert_eq!(emails(&app.person(&ids[3]).await.get("/v1/users?sort=created").await.ok()), ["d", "e"]);
    assert_eq!(app.person(&ids[4]).await.get("/v1/users").await.status, 403);
    // Without a tenant there is nothing for a role to reach.
    assert_eq!(app.person(&ids[0]).await.get("/v1/users").await.status, 403);
}

#[tokio::test]
async fn events_come_newest_first_page_by_page() {
    let (app, ids, _) = five().await;
    let server = app.server().await;
    for nickname in ["1", "2", "3"] {
        app.advance(SECOND);
        server.put(&format!("/v1/users/{}", ids[0]), json!({"user": {"nickname": nickname}})).await.ok();
    }
    let path = format!("/v1/users/{}/events", ids[0]);
    let all = server.get(&path).await.ok().body["data"].clone();
    let items = all["items"].as_array().unwrap();
    assert_eq!(items.len(), 4);
    assert_eq!(items[0]["changes"]["fields"], json!({"nickname": ["2", "3"]}));
    assert_eq!((&items[3]["action"], &items[3]["actor"]["type"]), (&json!("user.created"), &json!("key")));
    let (mut paged, mut cursor) = (Vec::<Value>::new(), String::new());
    loop {
        let page = server.get(&format!("{path}?limit=1{cursor}")).await.ok().body["data"].clone();
        paged.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        assert_eq!(server.get(&format!("/v1/users/{}/events?limit=1{cursor}", ids[1])).await.status, 400);
    }
    assert_eq!(&paged, items);
}
