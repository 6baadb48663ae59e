//! I8: what is left of somebody who was erased, and what is held about somebody who was not.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use usher::caller::{Actor, Origin};
use usher::erasure::{self, KEPT, ROWS, Receipt};
use usher::users::{RESTORABLE, Status, UserId};

use crate::harness::{But, TestApp, jane, john};
use crate::idempotency::set_status;
use crate::program::Program;

/// What is known of Jane and of nobody else, in any table.
const HERS: &[&str] = &["jane", "doe.com", "1234567890", "1990-12-23", "Janie", "canary"];

/// Jane with something of hers in every table that holds something of users.
async fn everywhere() -> (TestApp, String) {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await.with("Idempotency-Key", "a");
    let id = acme.post("/users/create", jane()).await.ok().id().to_owned();
    let link = app.newest_link().await;
    assert_eq!(app.anyone().send("POST", &link, "").await.status, 303);
    let server = app.server().await.with("Idempotency-Key", "b");
    let change = json!({"user": {"nickname": "Janie", "externalId": "canary", "metadata": {"canary": "canary"}}});
    server.send("PATCH", &format!("/v1/users/{id}"), change.to_string()).await.ok();
    server.put(&format!("/v1/users/{id}?test=true"), json!({"user": {"email": "jane.two@doe.com"}})).await.ok();
    (app, id)
}

/// Every table with the names of its columns.
async fn tables(app: &TestApp) -> Vec<(String, Vec<String>)> {
    let sql = if crate::cluster::on_postgres() {
        "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = current_schema() \
         ORDER BY table_name, ordinal_position"
    } else {
        "SELECT m.name, p.name FROM sqlite_schema m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' ORDER BY m.name, p.cid"
    };
    let rows = app.store().read(move |tx| tx.query(sql, &[])).await.unwrap();
    let mut tables: Vec<(String, Vec<String>)> = Vec::new();
    for row in rows {
        let (table, column): (String, String) = (row.get(0).unwrap(), row.get(1).unwrap());
        match tables.last_mut() {
            Some((last, columns)) if *last == table => columns.push(column),
            _ => tables.push((table, vec![column])),
        }
    }
    assert!(tables.len() > 10);
    tables
}

/// The rows of a table in which a value stands, as text.
async fn rows_with(app: &TestApp, table: &str, columns: &[String], text: &str) -> usize {
    let sql = format!("SELECT {} FROM {table}", columns.join(", "));
    let rows = app.store().read(move |tx| tx.query(&sql, &[])).await.unwrap();
    rows.iter().filter(|row| format!("{row:?}").contains(text)).count()
}

#[tokio::test]
async fn erasing_takes_the_person_out_of_every_table_and_leaves_a_receipt_and_the_trail() {
    let (app, id) = everywhere().await;
    let bob = john().but("email", json!("bob@roe.com")).but("firstname", json!("Bob")).but("lastname", json!("Roe"));
    let bob = bob.but("dateOfBirth", json!("1980-01-01"));
    let other = app.partner("acme").await.post("/users/create", bob).await.ok().id().to_owned();
    let user: UserId = id.parse().unwrap();
    let entries = app.store().read(move |tx| usher::audit::of_user(tx, user)).await.unwrap().len();
    let server = app.server().await;
    let answer = server.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    let receipt = answer.body["data"].clone();
    for (table, least) in [("users", 1), ("links", 1), ("sessions", 1), ("outbox", 1), ("idempotency", 2), ("audit", 4)]
    {
        assert!(receipt["counts"][table].as_i64().unwrap() >= least, "{table}: {receipt}");
    }
    // Sealed values cannot be searched, so none may be left but those that are not hers.
    for (table, columns) in tables(&app).await {
        for text in HERS {
            assert_eq!(rows_with(&app, &table, &columns, text).await, 0, "{table} still has {text}");
        }
        let of_a_user = columns.iter().any(|column| column == "user_id");
        let kept = KEPT.contains(&table.as_str());
        assert!(
            !of_a_user || kept || ROWS.iter().any(|rows| rows.table == table),
            "the table {table} names users: add it to ROWS in src/erasure/store.rs"
        );
    }
    for text in ["jane", "doe.com", "canary"] {
        assert!(!receipt.to_string().contains(text));
    }
    // The trail still tells what was done and when, and not what it was about.
    let trail = app.store().read(move |tx| usher::audit::of_user(tx, user)).await.unwrap();
    assert_eq!(trail.len(), entries + 1);
    assert!(trail[..entries].iter().all(|entry| entry.changes.0 == json!({})));
    assert_eq!((trail[entries].action.as_str(), &trail[entries].changes.0["fields"]), ("user.erased", &json!({})));

    assert_eq!(server.get(&format!("/v1/users/{id}")).await.status, 400);
    assert_eq!(server.send("POST", &format!("/v1/users/{id}/erase"), "").await.status, 404);
    assert_eq!(server.send("POST", &format!("/v1/users/{id}/restore"), "").await.status, 404);
    assert_eq!(app.user(&other).await.email.address(), "bob@roe.com", "nobody else is touched");
    // Address and number are free, and whoever has them next is another user.
    let again = app.partner("acme").await.post("/users/create", jane()).await.ok();
    assert_ne!(again.id(), id);
}

#[tokio::test]
async fn who_was_deleted_for_thirty_days_is_erased_and_nobody_before() {
    let (app, id) = everywhere().await;
    let other = app.partner("acme").await.post("/users/create", john()).await.ok().id().to_owned();
    set_status(&app, &id, Status::Deleted).await;
    app.advance(RESTORABLE.checked_sub(Duration::from_secs(1)).unwrap());
    set_status(&app, &other, Status::Deleted).await;
    let run = async || app.store().write(erasure::erase_expired).await.unwrap();
    assert_eq!(run().await, 0);
    app.advance(Duration::from_secs(1));
    assert_eq!((run().await, run().await), (1, 0));
    assert_eq!(app.user(&other).await.status(), Status::Deleted);
    let environment = app.user(&other).await.environment;
    let receipts = app.store().read(move |tx| erasure::receipts(tx, environment)).await.unwrap();
    assert_eq!(receipts.iter().map(|receipt| receipt.user_id.to_string()).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn an_answer_kept_for_a_repeated_request_goes_too_so_the_request_is_a_new_one() {
    let (app, id) = everywhere().await;
    let server = app.server().await.with("Idempotency-Key", "c");
    let path = format!("/v1/users/{id}");
    let body = json!({"user": {"nickname": "J"}}).to_string();
    server.send("PATCH", &path, body.clone()).await.ok();
    assert_eq!(server.send("PATCH", &path, body.clone()).await.ok().header("idempotent-replayed"), "true");
    app.server().await.send("POST", &format!("{path}/erase"), "").await.ok();
    assert_eq!(server.send("PATCH", &path, body).await.status, 404);
}

#[tokio::test]
async fn an_export_has_everything_that_is_held_and_no_way_in() {
    let (app, id) = everywhere().await;
    let user = app.user(&id).await;
    let held = app.store().read(move |tx| erasure::export(tx, &user)).await.unwrap();
    let text = held.to_string();
    for fact in HERS.iter().chain(&["5ft 6in", "no pork", "Dr. Mike Smith", "jane.two@doe.com", "acme", "user.updated"])
    {
        assert!(text.contains(fact), "{fact} is missing: {held:#}");
    }
    for rows in ROWS {
        let some = held[rows.table].as_array().is_some_and(|all| !all.is_empty() || rows.table == "sign_ins");
        assert!(some, "{} is missing", rows.table);
    }
    assert_eq!(held["events"].as_array().unwrap().len(), 4);
    let link = app.newest_link().await;
    assert!(!text.contains(&link[link.len() - 20..]), "a link that works is not for an export");
}

#[tokio::test]
async fn a_list_of_receipts_is_carried_out_again_on_an_older_copy() {
    let (app, id) = everywhere().await;
    let user: UserId = id.parse().unwrap();
    let erase = move |tx: &usher::db::Tx<'_>| {
        let user = usher::users::any_by_id(tx, user)?;
        user.map(|user| erasure::erase(tx, Origin::of(Actor::Operator), &user)).transpose()
    };
    let first: Option<Receipt> = app.store().write(erase).await.unwrap();
    assert!(first.is_some() && app.store().write(erase).await.unwrap().is_none(), "who is gone is not erased twice");
    assert_eq!(ROWS.iter().map(|rows| rows.table).collect::<BTreeSet<_>>().len(), ROWS.len());
}

#[test]
fn the_operator_exports_erases_and_repeats_erasures_from_the_command_line() {
    let program = Program::start(&[]);
    let enrol = || program.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let id = enrol();
    assert_eq!(program.json(&["user", "export", &id])["user"]["email"], "jane@doe.com");
    assert_eq!(program.json(&["user", "erase", "jane@doe.com"])[0]["userId"], json!(id));
    let receipts = program.json(&["user", "erasures"]);
    assert_eq!((receipts.as_array().unwrap().len(), &receipts[0]["userId"]), (1, &json!(id)));
    assert!(!receipts.to_string().contains("doe.com"));
    let file = program.folder.0.join("receipts.json");
    std::fs::write(&file, receipts.to_string()).unwrap();
    assert_eq!(program.json(&["user", "erase", "--again", file.to_str().unwrap()]), json!([]), "they are gone already");
    assert_ne!(enrol(), id);
    assert!(!program.run(&["user", "erase", "nobody@doe.com"]).status.success());
    assert!(!program.run(&["user", "erase"]).status.success());
}

#[test]
fn the_operator_makes_roles_and_gives_them_from_the_command_line() {
    let program = Program::start(&[]);
    let id = program.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let place = ["--app", program.client_id.as_str(), "--environment", "sandbox"];
    let run = |words: &[&str]| program.json(&[words, &place].concat());
    let role = run(&["role", "create", "desk", "--rights", "users:read users:invite"])["id"].clone();
    let roles = run(&["role", "list"]);
    assert_eq!((roles.as_array().unwrap().len(), &roles[2]["rights"]), (3, &json!("users:read users:invite")));
    assert_eq!(program.json(&["role", "rights"]).as_array().unwrap().len(), 6);
    program.json(&["user", "role", &id, "desk"]);
    assert_eq!(program.json(&["user", "show", &id])["userRoleId"], role);
    program.json(&["role", "delete", role.as_str().unwrap()]);
    for wrong in [
        &["role", "delete", role.as_str().unwrap()][..],
        &["user", "role", &id, "desk"],
        &["role", "create", "x", "--rights", "everything"],
    ] {
        assert!(!program.run(wrong).status.success(), "{wrong:?}");
    }
}
