//! API keys that take each other's place.

use std::time::Duration;

use serde_json::json;
use usher::apps::Kind;
use usher::clock::Timestamp;
use usher::keys::{self, Key, KeyId, NewKey, Use};

use crate::cluster::{Connection, on_postgres};
use crate::harness::{OPERATOR, TestApp, a_key, jane, john};
use crate::load::wait_for;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

impl TestApp {
    async fn rotate(&self, id: KeyId, overlap: Duration) -> (Key, String) {
        let made = self.store().write(move |tx| keys::rotate(tx, OPERATOR, id, overlap)).await;
        let (key, secret) = made.unwrap();
        (key, secret.expose().to_owned())
    }

    /// How keys stand, in one word each.
    async fn stand(&self, some: &[&Key]) -> Vec<&'static str> {
        let all = self.store().read(keys::list).await.unwrap();
        let now = self.store().clock().now();
        some.iter().map(|key| all.iter().find(|one| one.id == key.id).unwrap().state(now)).collect()
    }
}

#[tokio::test]
async fn a_successor_is_of_the_tenant_of_the_key_before_whatever_that_is_called_by_now() {
    let app = TestApp::new().await;
    let bound = |tenant: &str| NewKey { tenant: Some(tenant.into()), ..a_key() };
    let (north, of_north) = app.new_key(Kind::Sandbox, bound("north")).await;
    let (acme, _) = app.new_key(Kind::Sandbox, bound("acme")).await;
    let tenant_of_north = north.caller.scope.tenant.unwrap();
    // Whoever is in charge of a tenant gives it its name.
    app.tamper(&format!("UPDATE tenants SET name = '{tenant_of_north}' WHERE name = 'acme'"));
    let (successor, secret) = app.rotate(acme.id, DAY).await;
    assert_eq!(successor.caller.scope, acme.caller.scope);
    assert_eq!(successor.tenant, Some(tenant_of_north.to_string()), "as it is called by now");

    let partner = |key: &str| app.anyone().with("Authorization", &format!("Bearer {key}"));
    partner(&of_north).post("/users/create", jane()).await.ok();
    partner(&secret).post("/users/create", john()).await.ok();
    let sees = async |email: &str| partner(&secret).post("/users/retrieve", json!({ "email": email })).await.status;
    assert_eq!((sees("john@doe.com").await, sees("jane@doe.com").await), (200, 404));
}

#[tokio::test]
async fn a_key_that_is_replaced_twice_has_two_successors_that_work_as_long_as_it_was_made_to() {
    for days in [None, Some(90)] {
        let app = TestApp::new().await;
        let (key, _) = app.new_key(Kind::Sandbox, NewKey { expires_in: days.map(|days| DAY * days), ..a_key() }).await;
        app.advance(HOUR);
        let (lost, _) = app.rotate(key.id, DAY).await;
        app.advance(HOUR);
        let (second, _) = app.rotate(key.id, DAY).await;
        let all = [&key, &lost, &second];
        app.advance(HOUR * 22 + Duration::from_secs(3599));
        assert_eq!(app.stand(&all).await, ["works"; 3]);
        app.advance(Duration::from_secs(1));
        assert_eq!(app.stand(&all).await, ["expired", "works", "works"], "the first overlap is over");
        app.advance(DAY * 88);
        assert_eq!(app.stand(&all).await, ["expired", "works", "works"], "{days:?}");
        app.advance(DAY * 2);
        let late = if days.is_none() { "works" } else { "expired" };
        assert_eq!(app.stand(&all).await, ["expired", late, late], "{days:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_replaced_again_can_stop_sooner_and_not_later() {
    let app = TestApp::new().await;
    let (key, _) = app.new_key(Kind::Sandbox, NewKey { expires_in: Some(DAY * 2), ..a_key() }).await;
    app.rotate(key.id, DAY * 7).await;
    app.rotate(key.id, DAY).await;
    app.rotate(key.id, DAY * 3).await;
    app.advance(HOUR * 23);
    assert_eq!(app.stand(&[&key]).await, ["works"]);
    app.advance(HOUR);
    assert_eq!(app.stand(&[&key]).await, ["expired"]);
    let again = app.store().write(move |tx| keys::rotate(tx, OPERATOR, key.id, DAY)).await;
    assert_eq!(again.unwrap_err().code(), "key_ended");
}

#[tokio::test]
async fn the_use_of_keys_is_noted_in_one_order_so_that_two_servers_do_not_wait_for_each_other() {
    if !on_postgres() {
        return;
    }
    let app = TestApp::new().await;
    let mut made = [app.new_key(Kind::Sandbox, a_key()).await.0.id, app.new_key(Kind::Sandbox, a_key()).await.0.id];
    made.sort_by_key(|id| id.0);
    let [first, second] = made;
    let database = app.folder().database().unwrap();
    let (other, beside) = (Connection::to(&database), Connection::to(&database));
    other.sql(&format!("BEGIN; UPDATE keys SET name = name WHERE id = '{first}'"));
    let look = move || {
        let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' \
             AND query LIKE 'UPDATE keys SET last_used_at%'";
        wait_for(|| beside.sql(waits) == "1");
        let free = beside.sql(&format!("SELECT id FROM keys WHERE id = '{second}' FOR UPDATE SKIP LOCKED"));
        other.sql("COMMIT");
        free
    };
    let used = [second, first].map(|key| (Use { key, date: None }, Timestamp(1)));
    let note = app.store().write(move |tx| keys::note_use(tx, &used));
    let (noted, free) = tokio::join!(note, tokio::task::spawn_blocking(look));
    noted.unwrap();
    assert_eq!(free.unwrap(), second.to_string(), "nobody holds it who waits for the other");
}
