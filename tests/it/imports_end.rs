//! How imports end, and what they may not bring back: who was erased, and who has used their account since.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join;
use serde_json::{Value, json};
use usher::admins::{self, AdminId, Role};
use usher::apps::{self, Kind};
use usher::audit::Action;
use usher::caller::Caller;
use usher::db::{Store, Tx};
use usher::erasure;
use usher::error::{Error, Result};
use usher::imports::{self, CONTINUED, State};
use usher::keys;
use usher::links;
use usher::secret::Secret;
use usher::users::{Email, UserId};

use crate::harness::{Answer, Client, Folder, OPERATOR, TestApp, a_key, jane};
use crate::imports::{begin, people, work};
use crate::imports_api::take_over;
use crate::imports_page::draft;
use crate::program::usher;

async fn send(client: &Client<'_>, query: &str, file: &str) -> Answer {
    client.send("POST", &format!("/v1/imports{query}"), file.to_owned()).await.ok()
}

fn path(begun: &Answer) -> String {
    format!("/v1/imports/{}", begun.body["data"]["id"].as_str().unwrap())
}

async fn look(client: &Client<'_>, begun: &Answer) -> Value {
    client.get(&path(begun)).await.ok().body["data"].clone()
}

/// How many became users, were there, and failed.
fn counts(import: &Value) -> [u64; 3] {
    ["imported", "duplicates", "failed"].map(|name| import[name].as_u64().unwrap())
}

/// Why three ended, the last of them while it was taken back.
fn one_of_them_taken_back(why: &str) -> [String; 3] {
    [why.to_owned(), why.to_owned(), format!("while it was taken back: {why}")]
}

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort_unstable();
    words
}

/// Why imports were broken off, the newest first.
async fn reasons(app: &TestApp) -> Vec<String> {
    let entries = app.audited(Action::ImportBrokenOff).await;
    entries.iter().map(|entry| entry.changes.0["fields"]["reason"][1].as_str().unwrap().to_owned()).collect()
}

/// How many imports still hold something of somebody who was erased.
async fn noted(app: &TestApp) -> i64 {
    app.count("imports WHERE id IN (SELECT import_id FROM import_erased)").await
}

/// Two people who are imported as an administrator imports them, verified elsewhere, and mailed; and the path of Ann's link.
async fn ann_and_bob(app: &TestApp) -> (String, String) {
    let owner = app.admin(Role::Owner).await;
    let import = draft(app, &owner, "email,email_verified\nann@doe.com,yes\nbob@doe.com,yes\n").await;
    for way in ["rehearse", "import"] {
        let pressed = owner.send("POST", &import, format!("send_links=true&do={way}")).await;
        assert_eq!(pressed.status, 303, "{}", pressed.text);
        take_over(app).await;
    }
    let mails = app.mails().await;
    let to_ann = &mails.iter().find(|(_, mail)| mail.to == "ann@doe.com").unwrap().1;
    let link = to_ann.links[0].strip_prefix("https://users.example.com").unwrap();
    (import.rsplit('/').next().unwrap().to_owned(), link.to_owned())
}

#[tokio::test]
async fn who_has_signed_in_since_stays_also_when_their_session_is_over() {
    let app = TestApp::new().await;
    let (import, link) = ann_and_bob(&app).await;
    assert_eq!(app.anyone().send("POST", &link, "").await.status, 303);
    app.advance(Duration::from_hours(13));
    let server = app.server().await;
    server.send("DELETE", &format!("/v1/imports/{import}"), "").await.ok();
    take_over(&app).await;
    let undone = server.get(&format!("/v1/imports/{import}")).await.ok().body["data"].clone();
    assert_eq!((&undone["removed"], &undone["kept"]), (&json!(1), &json!(1)));
    let left = server.get("/v1/users").await.ok().body["data"].clone();
    assert_eq!((&left["itemsLength"], &left["items"][0]["email"]), (&json!(1), &json!("ann@doe.com")));
}

#[tokio::test]
async fn who_signs_in_at_the_moment_in_which_they_would_be_erased_stays() {
    let app = TestApp::new().await;
    let (import, link) = ann_and_bob(&app).await;
    let (id, client) = (import.parse().unwrap(), app.client_id);
    let undo = app.store().write(move |tx| {
        let operator = Caller::operator(&apps::environment(tx, client, Kind::Sandbox)?);
        imports::undo(tx, &operator, id, false)
    });
    undo.await.unwrap();

    let (links, secret) = (app.app.api().links.clone(), Secret::new(link.rsplit('/').next().unwrap()));
    let entering = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&entering);
    let enter = app.store().write(move |tx| {
        let entered = links::follow(tx, &links, &secret, None)?.is_ok();
        // Sends what was put off, so that the session is there and is not yet for others to see.
        tx.query_opt("SELECT 1", &[])?;
        seen.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(500));
        Ok(entered)
    });
    let erase = async {
        while !entering.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        app.store().write(move |tx| imports::undo_some(tx, id)).await
    };
    let (entered, import) = join(enter, erase).await;
    let import = import.unwrap();
    assert_eq!((entered.unwrap(), import.removed, import.kept), (true, 1, 1));
    assert_eq!((app.count("users").await, app.count("sessions").await), (1, 1));
}

#[tokio::test]
async fn whoever_is_erased_while_a_command_reads_their_row_does_not_come_back_by_it() {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let file = "email\nann@doe.com\njane@doe.com\n";
    let import = begin(&app, file).await;
    let server = app.server().await;
    server.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    assert_eq!(noted(&app).await, 1);
    let done = imports::go_on(app.store(), &import, work(file, 10), &mut |_| Ok(())).await.unwrap();
    assert_eq!((done.state, done.imported, done.duplicates, done.failed), (State::Done, 1, 0, 1));
    assert_eq!((app.count("users").await, noted(&app).await), (1, 0), "nothing of her stays");
    let again = begin(&app, file).await;
    let done = imports::go_on(app.store(), &again, work(file, 10), &mut |_| Ok(())).await.unwrap();
    assert_eq!((done.imported, done.duplicates), (1, 1), "who is imported again is meant to come");
}

#[tokio::test]
async fn whoever_is_erased_does_not_come_back_by_an_address_that_was_theirs_before() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let waits = send(&server, "", "email\nann@doe.com\nJane@doe.com\njane.two@doe.com\n").await;
    server.put(&format!("/v1/users/{id}"), json!({"user": {"email": "jane.two@doe.com"}})).await.ok();
    server.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    take_over(&app).await;
    assert_eq!(counts(&look(&server, &waits).await), [1, 0, 2]);
    assert_eq!(app.count("users").await, 1);
}

#[tokio::test]
async fn what_a_command_has_left_for_a_week_is_broken_off_and_begins_anew() {
    let app = TestApp::new().await;
    let id = app.partner("acme").await.post("/users/create", jane()).await.ok().id().to_owned();
    let file = people(20);
    let left = begin(&app, &file).await;
    app.server().await.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
    app.advance(CONTINUED.checked_sub(Duration::from_secs(1)).unwrap());
    usher::app::purge(app.store()).await;
    assert_eq!((begin(&app, &file).await.id, noted(&app).await), (left.id, 1));
    app.advance(Duration::from_secs(1));
    let anew = begin(&app, &file).await;
    assert_ne!(anew.id, left.id, "before anybody has looked for what was left");
    usher::app::purge(app.store()).await;
    assert_eq!(noted(&app).await, 0);
    assert_eq!(reasons(&app).await, ["no command went on with it for a week"]);
    let late = imports::go_on(app.store(), &left, work(&file, 10), &mut |_| Ok(())).await;
    assert_eq!(late.unwrap_err().code(), "import_elsewhere");
    let done = imports::go_on(app.store(), &anew, work(&file, 10), &mut |_| Ok(())).await.unwrap();
    assert_eq!((done.state, done.imported), (State::Done, 20));
}

#[tokio::test]
async fn a_file_is_gone_a_day_after_it_came_whenever_it_was_rehearsed() {
    let app = TestApp::new().await;
    let import = draft(&app, &app.admin(Role::Owner).await, "email\nann@doe.com\n").await;
    app.advance(Duration::from_hours(23));
    let owner = app.admin(Role::Owner).await;
    assert_eq!(owner.send("POST", &import, "do=rehearse").await.status, 303);
    take_over(&app).await;
    assert!(owner.get(&import).await.ok().text.contains("Would be imported"));
    app.advance(Duration::from_mins(61));
    take_over(&app).await;
    assert_eq!((app.count("import_files").await, app.count("imports").await), (0, 0));

    let import = draft(&app, &app.admin(Role::Owner).await, "email\nann@doe.com\n").await;
    app.advance(Duration::from_hours(23));
    let owner = app.admin(Role::Owner).await;
    assert_eq!(owner.send("POST", &import, "do=import").await.status, 303);
    app.advance(Duration::from_mins(61));
    take_over(&app).await;
    assert_eq!((app.count("import_files").await, app.count("users").await), (0, 0), "also if it was begun meanwhile");
    let page = app.admin(Role::Owner).await.get(&import).await.ok();
    assert!(page.text.contains("It was broken off: the file was kept for a day, and no longer. Send the file again"));
    assert_eq!(reasons(&app).await, ["the file was kept for a day, and no longer"]);
}

#[tokio::test]
async fn what_a_key_has_begun_ends_when_the_key_does() {
    let app = TestApp::new().await;
    let (key, secret) = app.new_key(Kind::Sandbox, a_key()).await;
    let leaked = app.anyone().with("X-API-KEY", &secret).with("X-API-KEY-TYPE", "write");
    let leaked = leaked.with("X-CLIENT-ID", &app.client_id.to_string());
    let server = app.server().await;
    let made = send(&server, "", "email\njane@doe.com\n").await;
    take_over(&app).await;

    let begun = send(&leaked, "?send_links=true", &people(250)).await;
    let rehearsed = send(&leaked, "?rehearse=true", "email\nann@doe.com\n").await;
    leaked.send("DELETE", &path(&made), "").await.ok();
    app.store().write(move |tx| keys::revoke(tx, OPERATOR, key.id)).await.unwrap();
    take_over(&app).await;
    let again = "Send the file again, with a key that works";
    for (import, what_to_do) in [(&begun, again), (&rehearsed, again), (&made, "Do not send the file again")] {
        let broken = look(&server, import).await;
        assert_eq!(broken["state"], "broken");
        let reason = broken["reason"].as_str().unwrap();
        assert!(reason.contains("does not work any more") && reason.contains(what_to_do), "{reason}");
    }
    assert_eq!(counts(&look(&server, &begun).await), [0, 0, 0]);
    assert_eq!((app.count("users").await, app.mails().await.len(), app.count("import_files").await), (1, 0, 0));
    let ended = "the key that it was begun by does not work any more";
    assert_eq!(sorted(reasons(&app).await), one_of_them_taken_back(ended));
    server.send("DELETE", &path(&made), "").await.ok();
    take_over(&app).await;
    let undone = look(&server, &made).await;
    assert_eq!(undone["removed"], 1, "who may goes on with what was broken off");
    assert_eq!(undone["reason"], Value::Null);
}

#[tokio::test]
async fn a_key_that_ends_while_its_file_is_read_ends_it_after_the_rows_at_hand() {
    let app = TestApp::new().await;
    let short = keys::NewKey { expires_in: Some(Duration::from_mins(5)), ..a_key() };
    let (_, secret) = app.new_key(Kind::Sandbox, short).await;
    let client = app.anyone().with("X-API-KEY", &secret).with("X-API-KEY-TYPE", "write");
    let client = client.with("X-CLIENT-ID", &app.client_id.to_string());
    let file = people(40);
    let begun = send(&client, "", &file).await;
    let (import, _) = app.store().write(imports::claim).await.unwrap().unwrap();
    let mut left = 2;
    let mut until_over = |_: &[imports::Outcome]| {
        left -= 1;
        if left == 0 {
            app.advance(Duration::from_mins(5));
        }
        Ok(())
    };
    let ended = imports::go_on(app.store(), &import, work(&file, 10), &mut until_over).await;
    assert!(ended.unwrap_err().to_string().contains("does not work any more"));
    assert_eq!(app.count("users").await, 20);
    take_over(&app).await;
    let over = look(&app.server().await, &begun).await;
    assert_eq!((&over["state"], &over["read"], &over["imported"]), (&json!("broken"), &json!(20), &json!(20)));
}

/// What an owner has begun to import, to rehearse and to take back ends once `happens` to them. What another owner has begun
/// does not, and another may go on with a file that waits.
async fn begun_by_an_owner_to_whom(happens: impl Fn(&Tx, AdminId) -> Result<()> + Send + Sync + 'static) {
    let app = TestApp::new().await;
    let leaving = app.admin(Role::Owner).await;
    let made = draft(&app, &leaving, "email\njane@doe.com\n").await;
    let imported = async |owner: &Client<'_>, file: &str, way: &str| {
        let path = draft(&app, owner, file).await;
        assert_eq!(owner.send("POST", &path, format!("send_links=true&do={way}")).await.status, 303);
        path
    };
    assert_eq!(leaving.send("POST", &made, "do=import").await.status, 303);
    take_over(&app).await;
    let begun = imported(&leaving, &people(250), "import").await;
    let rehearsed = imported(&leaving, "email\nann@doe.com\n", "rehearse").await;
    let waits = draft(&app, &leaving, "email\ncem@doe.com\n").await;
    assert_eq!(leaving.send("POST", &format!("{made}/undo"), "words=undo").await.status, 303);

    let other = app.admin_at("second@clinic.example", Role::Owner).await;
    let goes_on = imported(&other, "email\nbob@doe.com\n", "import").await;
    let end = move |tx: &Tx| happens(tx, admins::by_email(tx, &Email::new("owner@clinic.example").unwrap())?.id);
    app.store().write(end).await.unwrap();
    take_over(&app).await;

    let server = app.server().await;
    let at = async |page: &str| {
        let id = page.rsplit('/').next().unwrap();
        server.get(&format!("/v1/imports/{id}")).await.ok().body["data"].clone()
    };
    for page in [&begun, &rehearsed, &made] {
        assert_eq!(at(page).await["state"], "broken", "{page}");
    }
    assert_eq!((counts(&at(&begun).await), counts(&at(&rehearsed).await)), ([0, 0, 0], [0, 0, 0]));
    assert_eq!((&at(&made).await["removed"], &at(&goes_on).await["state"]), (&json!(0), &json!("done")));
    assert_eq!((app.count("users").await, app.mails().await.len()), (2, 1), "Jane and Bob, and his link");
    assert_eq!(
        sorted(reasons(&app).await),
        one_of_them_taken_back("the administrator who began it is no owner any more")
    );
    assert!(other.get(&begun).await.ok().text.contains("the administrator"), "its page says so");

    for (path, form) in [(format!("{made}/undo"), "words=undo"), (waits.clone(), "do=import")] {
        assert_eq!(other.send("POST", &path, form).await.status, 303, "another owner goes on");
    }
    take_over(&app).await;
    assert_eq!((&at(&made).await["removed"], &at(&waits).await["imported"]), (&json!(1), &json!(1)));
    assert_eq!(app.count("import_files").await, 0);
}

#[tokio::test]
async fn what_an_administrator_has_begun_ends_when_they_are_removed() {
    begun_by_an_owner_to_whom(|tx, admin| admins::remove(tx, OPERATOR, admin)).await;
}

#[tokio::test]
async fn what_an_administrator_has_begun_ends_when_they_are_an_owner_no_longer() {
    begun_by_an_owner_to_whom(|tx, admin| admins::set_role(tx, OPERATOR, admin, Role::Support)).await;
}

#[tokio::test]
async fn however_many_are_erased_at_any_server_none_comes_back_by_a_file_that_is_read_by_two() {
    let app = TestApp::new().await;
    let (server, other) = (app.server().await, app.another_server().await);
    let file = people(300);
    let made = send(&server, "", &file).await;
    take_over(&app).await;
    let (client, id) = (app.client_id, made.body["data"]["id"].as_str().unwrap().parse().unwrap());
    let users = app.store().read(move |tx| {
        let operator = Caller::operator(&apps::environment(tx, client, Kind::Sandbox)?);
        imports::outcomes(tx, operator.scope, id, 0, 300)
    });
    let users: Vec<UserId> = users.await.unwrap().iter().map(|outcome| outcome.user.unwrap()).collect();
    app.advance(Duration::from_secs(1));
    let waits = send(&server, "", &file).await;
    let by_command = begin(&app, &file).await;

    let erase = async |store: &Store, some: &[UserId]| {
        let some = some.to_vec();
        store.write(move |tx| some.iter().try_for_each(|id| erasure::again(tx, *id).map(|_| ()))).await.unwrap();
    };
    erase(app.store(), &users[..100]).await;
    // A server dies after some of the rows, and more are erased at another before it goes on.
    let (import, _) = app.store().write(imports::claim).await.unwrap().unwrap();
    let dies = imports::go_on(app.store(), &import, work(&file, 50), &mut |_| Err(Error::Busy)).await;
    assert_eq!(dies.unwrap_err().code(), Error::Busy.code());
    erase(&other.api().store, &users[100..250]).await;
    app.advance(Duration::from_mins(2));
    usher::app::import(other.api()).await.unwrap();
    assert_eq!(counts(&look(&server, &waits).await), [0, 50, 250]);
    let done = imports::go_on(app.store(), &by_command, work(&file, 70), &mut |_| Ok(())).await.unwrap();
    assert_eq!((done.imported, done.duplicates, done.failed), (0, 50, 250));
    assert_eq!((app.count("users").await, noted(&app).await), (50, 0), "nothing of them stays");
}

#[tokio::test]
async fn who_is_erased_twice_while_a_file_waits_is_noted_once() {
    let app = TestApp::new().await;
    let (partner, server) = (app.partner("acme").await, app.server().await);
    let waits = send(&server, "", "email\njane@doe.com\nann@doe.com\n").await;
    let mut noted = Vec::new();
    for _ in 0..3 {
        let id = partner.post("/users/create", jane()).await.ok().id().to_owned();
        server.send("POST", &format!("/v1/users/{id}/erase"), "").await.ok();
        noted.push(app.count("import_erased").await);
    }
    assert_eq!(noted, [2; 3], "her address and her number");
    take_over(&app).await;
    assert_eq!(counts(&look(&server, &waits).await), [1, 0, 1]);
}

/// A draft, a file that waits for a server, and one that a command has begun; Jane is in the second.
async fn three_under_way(app: &TestApp) {
    draft(app, &app.admin(Role::Owner).await, "email\nbob@doe.com\n").await;
    send(&app.server().await, "?send_links=true", "email\njane@doe.com\n").await;
    begin(app, &people(3)).await;
}

async fn states(app: &TestApp) -> Vec<State> {
    let client = app.client_id;
    let list = app.store().read(move |tx| {
        let operator = Caller::operator(&apps::environment(tx, client, Kind::Sandbox)?);
        imports::list(tx, operator.scope, 50)
    });
    list.await.unwrap().iter().map(|import| import.state).collect()
}

fn run(folder: &Folder, arguments: &[&str]) -> (String, String) {
    let output = usher(folder).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (said, errors) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said} {errors}");
    (said, errors)
}

fn named(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_restored_backup_goes_on_with_no_file_so_nobody_comes_back_by_one_or_is_mailed_twice() {
    crate::cluster::about_the_file!();
    let app = TestApp::new().await;
    three_under_way(&app).await;
    let (shelf, restored) = (Folder::new(), Folder::new());
    let (backup, receipts) = (shelf.0.join("copy.db"), shelf.0.join("receipts.json"));
    run(app.folder(), &["backup", named(&backup)]);
    take_over(&app).await;
    assert_eq!(app.mails().await.len(), 1);
    run(app.folder(), &["user", "erase", "jane@doe.com"]);
    fs::write(&receipts, run(app.folder(), &["user", "erasures", "--json"]).0).unwrap();

    fs::copy(app.path().join("data.key"), restored.0.join("data.key")).unwrap();
    let (said, _) = run(&restored, &["restore", named(&backup), "--erasures", named(&receipts)]);
    assert!(said.contains("Imports broken off: 3.") && said.contains("Erased again: 0."), "{said}");
    let after = TestApp::of_copy(&restored).await;
    assert_eq!(states(&after).await, [State::Broken; 3]);
    take_over(&after).await;
    assert_eq!((after.count("users").await, after.mails().await.len(), after.count("import_files").await), (0, 0, 0));

    let plain = Folder::new();
    fs::copy(app.path().join("data.key"), plain.0.join("data.key")).unwrap();
    let json: Value = serde_json::from_str(&run(&plain, &["restore", named(&backup), "--json"]).0).unwrap();
    assert_eq!(json["importsBrokenOff"], 3, "whether there are receipts or not");
}

#[tokio::test]
async fn receipts_that_are_applied_again_break_off_every_import_for_they_are_of_a_restored_database() {
    let app = TestApp::new().await;
    three_under_way(&app).await;
    let receipts = app.path().join("receipts.json");
    fs::write(&receipts, r#"[{"userId": "11111111-1111-4111-8111-111111111111"}]"#).unwrap();
    let again = ["user", "erase", "--again", named(&receipts)];
    let (said, noted) = run(app.folder(), &again);
    assert!(said.contains("nobody to erase") && noted.contains("Imports broken off: 3."), "{said} {noted}");
    assert_eq!(states(&app).await, [State::Broken; 3]);
    assert_eq!(reasons(&app).await, ["a backup was restored"; 3]);
    take_over(&app).await;
    assert_eq!((app.count("users").await, app.mails().await.len(), app.count("import_files").await), (0, 0, 0));
    let server = app.server().await;
    let sent_again = send(&server, "", "email\njane@doe.com\n").await;
    take_over(&app).await;
    assert_eq!(counts(&look(&server, &sent_again).await), [1, 0, 0]);
    assert_eq!(run(app.folder(), &again).1, "", "once more, nothing is under way");
}

#[tokio::test]
async fn one_record_that_cannot_be_read_stays_and_the_others_are_taken_back() {
    let app = TestApp::new().await;
    let server = app.server().await;
    let begun = send(&server, "", "email\nann@doe.com\nbob@doe.com\ncem@doe.com\n").await.ok();
    take_over(&app).await;
    let spoil =
        "UPDATE users SET health = (SELECT health FROM users WHERE email = 'ann@doe.com') WHERE email = 'bob@doe.com'";
    app.tamper(spoil);
    server.send("DELETE", &path(&begun), "").await.ok();
    take_over(&app).await;
    let undone = look(&server, &begun).await;
    assert_eq!((&undone["state"], &undone["removed"], &undone["kept"]), (&json!("undone"), &json!(2), &json!(1)));
    assert_eq!(app.count("users").await, 1);
}
