//! The chain of the audit trail: whatever somebody changes in it is found.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use usher::apps;
use usher::audit::chain::{self, Anchor, Fault, Reach, Report};
use usher::audit::{self, Action, EntryId};
use usher::caller::{Actor, Origin};
use usher::db::{Store, Tx};

use crate::cluster::{Connection, on_postgres, shared};
use crate::folder::Intruder;
use crate::harness::{But, Folder, TestApp, jane};
use crate::idempotency::{CREATE, UPDATE};
use crate::program::{Program, usher};

async fn verify(store: &Store, anchor: Option<&Anchor>) -> Report {
    chain::verify(store, anchor.cloned(), |_| ()).await.unwrap()
}

async fn seal(app: &TestApp) -> usize {
    app.advance(Duration::from_secs(1));
    chain::seal(app.store(), Reach::Usual).await.unwrap().entries
}

fn somebody(n: usize) -> Value {
    jane().but("email", json!(format!("n{n}@doe.com"))).but("phonenumber", json!(format!("20255{n:05}")))
}

/// An app whose sandbox has twelve seals, with three entries or more in each, and whose live environment has one.
async fn sealed() -> TestApp {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let live = app.partner_in(usher::apps::Kind::Live, None).await;
    live.post(CREATE, jane()).await.ok();
    for n in 0..12 {
        acme.post(CREATE, somebody(n)).await.ok();
        acme.post(UPDATE, json!({"email": format!("n{n}@doe.com"), "diabetes": 1})).await.ok();
        acme.post(CREATE, somebody(n)).await;
        assert!(seal(&app).await >= 3);
    }
    app
}

#[tokio::test]
async fn who_is_erased_while_the_trail_is_verified_is_no_finding() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(acme.post(CREATE, somebody(n)).await.ok().id().to_owned());
    }
    assert!(verify(app.store(), None).await.findings.is_empty());
    let is_done = Cell::new(false);
    let erasing = async {
        for id in ids {
            app.erased(&id).await;
        }
        is_done.set(true);
    };
    let verifying = async {
        while !is_done.get() {
            let findings = verify(app.store(), None).await.findings;
            assert!(findings.is_empty(), "{findings:?}");
        }
    };
    join(erasing, verifying).await;
}

/// Numbers that look random, the same for one seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.roll(from.len())]
    }
}

/// A UUID, or other bytes, as SQL has them.
fn bytes(bytes: &[u8], uuid: bool) -> String {
    let hex = bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    match (on_postgres(), uuid) {
        (true, true) => format!("'{hex}'::uuid"),
        (true, false) => format!("'\\x{hex}'::bytea"),
        (false, _) => format!("X'{hex}'"),
    }
}

fn id(id: &EntryId) -> String {
    bytes(id.0.as_bytes(), true)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mutation {
    Edit,
    Delete,
    Insert,
    Reorder,
    EditSeal,
    DeleteSeal,
    ReorderSeals,
    CutTail,
    Rewrite,
}

const ALL: [Mutation; 9] = {
    use Mutation::*;
    [Edit, Delete, Insert, Reorder, EditSeal, DeleteSeal, ReorderSeals, CutTail, Rewrite]
};

/// The trail as it was, to be put back, and what one needs to know to change it.
struct Trail {
    entries: Vec<EntryId>,
    /// Those in which something changed.
    with_changes: Vec<EntryId>,
    environment: Vec<u8>,
    seals: i64,
}

impl Trail {
    async fn keep(app: &TestApp) -> Trail {
        app.tamper("CREATE TABLE kept AS SELECT * FROM audit; CREATE TABLE kept_seals AS SELECT * FROM audit_seals");
        let read = |tx: &usher::db::Tx| {
            let ids = |sql: &str| tx.query(sql, &[])?.iter().map(|row| row.get(0)).collect::<Result<Vec<EntryId>, _>>();
            let most = "SELECT environment_id, COUNT(*) FROM audit_seals GROUP BY environment_id ORDER BY 2 DESC";
            let chain = tx.query(most, &[])?;
            let own = "SELECT id FROM audit WHERE environment_id = (SELECT environment_id FROM audit_seals \
                       GROUP BY environment_id ORDER BY COUNT(*) DESC LIMIT 1)";
            Ok(Trail {
                entries: ids(&format!("{own} ORDER BY id"))?,
                with_changes: ids(&format!("{own} AND changes IS NOT NULL ORDER BY id"))?,
                environment: chain[0].get::<uuid::Uuid>(0)?.as_bytes().to_vec(),
                seals: chain[0].get(1)?,
            })
        };
        app.store().read(read).await.unwrap()
    }

    fn put_back(intruder: &Intruder) {
        intruder.runs(
            "BEGIN; DELETE FROM audit; INSERT INTO audit SELECT * FROM kept; \
             DELETE FROM audit_seals; INSERT INTO audit_seals SELECT * FROM kept_seals; COMMIT",
        );
    }

    fn seal(&self, number: i64) -> String {
        format!("environment_id = {} AND number = {number}", bytes(&self.environment, true))
    }

    /// SQL that does it, and what is certainly found.
    fn mutate(&self, mutation: Mutation, dice: &mut Dice) -> (String, Fault) {
        let one = dice.pick(&self.entries);
        let noise: Vec<u8> = (0..32).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect();
        let (some, other) = (bytes(&noise, false), bytes(&noise[..16], true));
        let number = 1 + i64::try_from(dice.roll(usize::try_from(self.seals).unwrap())).unwrap();
        match mutation {
            Mutation::Edit => {
                let edits = [
                    "action = action || 'x'".to_owned(),
                    "operation = COALESCE(operation, '') || 'x'".to_owned(),
                    "actor = actor || 'x'".to_owned(),
                    "result = result || 'x'".to_owned(),
                    "api_date = COALESCE(api_date, '') || 'x'".to_owned(),
                    "created_at = created_at + 1".to_owned(),
                    "times = times + 1".to_owned(),
                    format!("environment_id = {other}"),
                    format!("actor_id = {other}"),
                    format!("user_id = {other}"),
                    format!("target = {other}"),
                    format!("request_id = {other}"),
                    format!("changes_hash = {some}"),
                    format!("proof = {some}"),
                    "proof = NULL".to_owned(),
                    format!("changes = {some}"),
                    "changes = NULL".to_owned(),
                ];
                let edit = dice.pick(&edits);
                let at = if edit.starts_with("changes =") { dice.pick(&self.with_changes) } else { one };
                let fault = if edit == "changes = NULL" { Fault::Emptied } else { Fault::Changed };
                (format!("UPDATE audit SET {edit} WHERE id = {}", id(at)), fault)
            }
            Mutation::Delete => (format!("DELETE FROM audit WHERE id = {}", id(one)), Fault::Removed),
            Mutation::Insert => {
                let columns = "environment_id, created_at, action, operation, actor, actor_id, user_id, target, result, \
                               times, request_id, api_date, changes_hash, changes, proof";
                // One of a time in the midst, of the beginning, of now.
                let mut new = *dice.pick(&self.entries).0.as_bytes();
                new[15] ^= 1;
                let new = if dice.roll(2) == 0 { bytes(&new, true) } else { bytes(&noise[..16], true) };
                let proof = ["proof", "NULL"][dice.roll(2)];
                let columns = columns.to_owned();
                let from = columns.replace(", proof", &format!(", {proof}"));
                (
                    format!("INSERT INTO audit (id, {columns}) SELECT {new}, {from} FROM audit WHERE id = {}", id(one)),
                    Fault::Inserted,
                )
            }
            Mutation::Reorder => {
                let two = self.entries.iter().find(|two| *two != one).unwrap();
                let swap = |from: String, to: String| format!("UPDATE audit SET id = {to} WHERE id = {from};");
                let between = bytes(&noise[..16], true);
                let moves = [(id(one), between.clone()), (id(two), id(one)), (between, id(two))];
                (moves.map(|(from, to)| swap(from, to)).concat(), Fault::Changed)
            }
            Mutation::EditSeal => {
                let shorter =
                    if on_postgres() { "substring(entries FROM 49)" } else { "CAST(substr(entries, 49) AS BLOB)" };
                let edits = [
                    format!("hash = {some}"),
                    format!("proof = {some}"),
                    format!("entries = {shorter}"),
                    "sealed_at = sealed_at + 1".to_owned(),
                    format!("last_id = {other}"),
                    format!("first_id = {other}"),
                    format!("id = {other}"),
                ];
                (
                    format!("UPDATE audit_seals SET {} WHERE {}", dice.pick(&edits), self.seal(number)),
                    Fault::SealChanged,
                )
            }
            Mutation::DeleteSeal => {
                let number = number.min(self.seals - 1);
                (format!("DELETE FROM audit_seals WHERE {}", self.seal(number)), Fault::SealRemoved)
            }
            Mutation::ReorderSeals => {
                let (one, two) = (number.min(self.seals - 1), self.seals);
                let renumber =
                    |from: i64, to: i64| format!("UPDATE audit_seals SET number = {to} WHERE {};", self.seal(from));
                ([(one, -1), (two, one), (-1, two)].map(|(from, to)| renumber(from, to)).concat(), Fault::SealChanged)
            }
            Mutation::CutTail => {
                let from = number.max(2);
                let cut = format!(
                    "DELETE FROM audit WHERE environment_id = {0} AND id > (SELECT last_id FROM audit_seals WHERE {1}); \
                     DELETE FROM audit_seals WHERE environment_id = {0} AND number >= {from}",
                    bytes(&self.environment, true),
                    self.seal(from - 1),
                );
                (cut, Fault::CutOff)
            }
            Mutation::Rewrite => (
                format!("DELETE FROM audit WHERE id = {}; DELETE FROM audit_seals", id(one)),
                // Sealed at once, there are fewer seals than there were.
                Fault::CutOff,
            ),
        }
    }
}

#[tokio::test]
async fn every_one_of_500_random_mutations_is_found() {
    let app = sealed().await;
    let anchor = chain::anchor(app.store()).await.unwrap();
    let trail = Trail::keep(&app).await;
    let clean = verify(app.store(), Some(&anchor)).await;
    assert!(clean.findings.is_empty() && clean.waiting == 0, "{clean:?}");
    let seed = 0x5eed_0001;
    let mut dice = Dice(seed);
    let mut done: BTreeMap<Mutation, usize> = BTreeMap::new();
    let intruder = app.folder.intruder();
    for round in 0..500 {
        let mutation = ALL[round % ALL.len()];
        let (sql, fault) = trail.mutate(mutation, &mut dice);
        intruder.runs(&sql);
        let needs_an_anchor = matches!(mutation, Mutation::CutTail | Mutation::Rewrite);
        if needs_an_anchor && round < 18 {
            let alone = verify(app.store(), None).await;
            assert!(alone.findings.is_empty(), "without an anchor a sound chain is sound: {alone:?}");
        }
        let report = verify(app.store(), needs_an_anchor.then_some(&anchor)).await;
        let found = report.findings.iter().any(|finding| finding.fault == fault);
        assert!(found, "seed {seed:#x}, round {round}: {sql} is {fault:?}: {report:?}");
        *done.entry(mutation).or_default() += 1;
        Trail::put_back(&intruder);
    }
    assert_eq!(done.len(), ALL.len());
    let clean = verify(app.store(), Some(&anchor)).await;
    assert!(clean.findings.is_empty(), "what was put back is whole: {clean:?}");
}

#[tokio::test]
async fn a_chain_that_was_written_anew_with_the_data_key_and_as_many_seals_is_not_the_anchors() {
    let app = sealed().await;
    let anchor = chain::anchor(app.store()).await.unwrap();
    app.tamper("DELETE FROM audit WHERE action = 'user.updated'; DELETE FROM audit_seals");
    for _ in 0..2 {
        verify(app.store(), None).await;
        app.partner("acme").await.post(UPDATE, json!({"email": "n1@doe.com"})).await.ok();
    }
    let long = Anchor {
        chains: anchor.chains.iter().map(|link| chain::Link { number: 1, ..link.clone() }).collect(),
        ..anchor
    };
    let faults: Vec<Fault> = verify(app.store(), Some(&long)).await.findings.iter().map(|f| f.fault).collect();
    assert!(!faults.is_empty() && faults.iter().all(|fault| *fault == Fault::Rewritten), "{faults:?}");
}

#[tokio::test]
async fn what_an_import_leaves_at_once_is_sealed_in_several_passes() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    acme.post(CREATE, jane()).await.ok();
    let id = app.client_id;
    for _ in 0..60 {
        let thousand = move |tx: &Tx| {
            let sandbox = apps::environment(tx, id, apps::Kind::Sandbox)?.id;
            let by = Origin::of(Actor::Operator);
            (0..1000).try_for_each(|_| audit::record(tx, sandbox, by, Action::KeyUpdated, uuid::Uuid::nil()))
        };
        app.store().write(thousand).await.unwrap();
        // A pass that begins where the newest seal was made, and not where it ends, would never find the first of them again.
        app.advance(Duration::from_secs(10));
    }
    let pass = async || chain::seal(app.store(), Reach::Usual).await.unwrap();
    let (first, second) = (pass().await, pass().await);
    assert_eq!((first.entries, first.more), (50_000, true));
    assert!(second.entries >= 10_000 && !second.more, "{second:?}");
    let report = verify(app.store(), None).await;
    assert!(report.findings.is_empty() && report.waiting == 0, "{report:?}");
    // Nor does what is left wait because the newest of all is sealed, and long ago.
    app.advance(Duration::from_mins(10));
    app.tamper("DELETE FROM audit_seals WHERE number < (SELECT MAX(number) FROM audit_seals)");
    assert_eq!(verify(app.store(), None).await.waiting, 0);
}

#[tokio::test]
async fn a_pass_looks_back_for_what_comes_late_and_once_nothing_does_looks_at_nothing() {
    let app = TestApp::new().await;
    let acme = app.partner("acme").await;
    let pass = async |reach| {
        let sealed = chain::seal(app.store(), reach).await.unwrap();
        (sealed.entries, sealed.looked_at)
    };
    for n in 0..2 {
        acme.post(CREATE, somebody(n)).await.ok();
        app.advance(Duration::from_secs(1));
    }
    // As if the servers that wrote these took long to commit, or their clocks were behind.
    let is_late = "action = 'user.created'";
    app.tamper(&format!(
        "CREATE TABLE late AS SELECT * FROM audit WHERE {is_late}; DELETE FROM audit WHERE {is_late};"
    ));
    let arrives = |which| {
        let sql = "INSERT INTO audit SELECT * FROM late WHERE created_at";
        app.tamper(&format!("{sql} = (SELECT {which}(created_at) FROM late);"));
    };
    app.advance(Duration::from_secs(50));
    for n in 2..42 {
        acme.post(CREATE, somebody(n)).await.ok();
    }
    let all = usize::try_from(app.count("audit").await).unwrap();
    assert_eq!(pass(Reach::Usual).await, (all, all));
    app.advance(Duration::from_secs(1));
    let (again, looked_at) = pass(Reach::Usual).await;
    assert!(again == 0 && looked_at >= 40, "looks back at {looked_at}");
    app.advance(Duration::from_mins(1));
    arrives("MIN");
    assert_eq!(pass(Reach::Usual).await.0, 1, "it came a minute after the newest");
    // All that is late has come.
    app.advance(Duration::from_mins(2));
    assert_eq!(pass(Reach::Usual).await, (0, 0));
    arrives("MAX");
    assert_eq!(pass(Reach::Usual).await, (0, 0), "it is later than anything can be");
    assert_eq!(pass(Reach::Far).await.0, 1, "and is sealed once in a while");
    acme.post(CREATE, somebody(42)).await.ok();
    assert!(pass(Reach::Usual).await.0 > 0, "what is new is sealed at once");
    let report = verify(app.store(), None).await;
    assert!(report.findings.is_empty() && report.waiting == 0, "{report:?}");
}

#[tokio::test]
async fn what_an_older_usher_has_sealed_beside_this_one_is_not_sealed_again() {
    let app = sealed().await;
    app.tamper("UPDATE audit_seals SET first_id = NULL");
    assert_eq!(chain::seal(app.store(), Reach::All).await.unwrap().entries, 0);
    let report = verify(app.store(), None).await;
    assert!(report.findings.is_empty() && report.waiting == 0, "{report:?}");
}

#[tokio::test]
async fn sixty_four_writers_and_two_sealers_leave_one_chain_for_each_environment() {
    let app = TestApp::new().await;
    let another = app.another_store().await;
    let acme = app.partner("acme").await;
    let writers = join_all((0..64).map(|writer| {
        let acme = acme.clone();
        async move {
            for n in 0..8 {
                acme.post(CREATE, somebody(writer * 8 + n)).await.ok();
                assert_eq!(acme.post(CREATE, somebody(writer * 8 + n)).await.status, 409);
            }
        }
    }));
    let sealers = join_all([app.store(), &another].map(|store| async move {
        let mut sealed = 0;
        for _ in 0..40 {
            sealed += chain::seal(store, Reach::Usual).await.unwrap().entries;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sealed
    }));
    let (_, sealed) = futures_util::future::join(writers, sealers).await;
    assert!(sealed.iter().sum::<usize>() > 0);
    let report = verify(app.store(), None).await;
    assert!(report.findings.is_empty() && report.waiting == 0, "{report:?}");
    let entries: usize = report.chains.iter().map(|chain| chain.entries).sum();
    assert_eq!(i64::try_from(entries).unwrap(), app.count("audit").await);
    assert_eq!(app.count("audit WHERE action = 'user.created'").await, 512);
    assert_eq!(app.count("audit WHERE result = 'email_taken'").await, 512);
    assert_eq!(report.chains.len(), 2, "sandbox and live");
}

#[tokio::test]
async fn an_erased_person_is_gone_from_the_trail_and_the_chain_holds() {
    let app = sealed().await;
    let anchor = chain::anchor(app.store()).await.unwrap();
    let created = app.partner("acme").await.post(CREATE, jane().but("firstname", json!("Canary"))).await.ok();
    let user = app.user(created.id()).await;
    let erase = move |tx: &usher::db::Tx| audit::erase(tx, Origin::of(Actor::Operator), &user);
    app.store().write(erase).await.unwrap();
    let user = app.user(created.id()).await.id;
    let entries = app.store().read(move |tx| crate::harness::trail_of(tx, user)).await.unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!((&entries[0].changes.0, &entries[1].changes.0), (&json!({}), &json!({"fields": {}, "health": []})));
    let report = verify(app.store(), Some(&anchor)).await;
    assert!(report.findings.is_empty() && report.waiting == 0, "{report:?}");
}

#[tokio::test]
async fn through_usher_nothing_in_the_trail_can_be_changed() {
    let app = sealed().await;
    for sql in [
        "UPDATE audit SET result = 'done'",
        "UPDATE audit SET changes = NULL",
        "DELETE FROM audit",
        "DELETE FROM audit_seals",
        "UPDATE audit_seals SET number = number + 1",
        "INSERT INTO audit_seals SELECT * FROM audit_seals WHERE true ON CONFLICT (id) DO UPDATE SET number = 7",
    ] {
        assert!(app.store().write(move |tx| tx.execute(sql, &[])).await.is_err(), "{sql}");
        assert!(app.store().write(move |tx| tx.run(sql, &[])).await.is_err(), "{sql}");
        assert!(app.store().write(move |tx| tx.change_one(sql, &[])).await.is_err(), "{sql}");
        let query = format!("{sql} RETURNING 1");
        assert!(app.store().write(move |tx| tx.query(&query, &[]).map(|_| ())).await.is_err(), "{sql}");
    }
    let report = verify(app.store(), None).await;
    assert!(report.findings.is_empty(), "{report:?}");
}

#[test]
fn the_commands_list_export_anchor_and_verify() {
    let server = Program::start(&[]);
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    assert_eq!(server.enrol(&jane()).0, 409);
    assert_eq!(server.call("POST", "/users/update", &json!({"email": "jane@doe.com", "diabetes": 1})).0, 200);
    let list = |more: &[&str]| {
        let found = server.json(&[&["audit", "list"], more].concat());
        found.as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list(&["--user", &id]), ["user.updated", "user.created"]);
    assert_eq!(list(&["--result", "refused"]), ["request.refused"]);
    assert_eq!(list(&["--result", "email_taken", "--environment", "sandbox"]), ["request.refused"]);
    assert_eq!(list(&["--result", "email_taken", "--environment", "live"]), Vec::<String>::new());
    assert_eq!(list(&["--action", "user.created", "--app", &server.client_id]), ["user.created"]);
    let key = server.json(&["key", "list"])[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(list(&["--key", &key]), ["user.updated", "request.refused", "user.created", "key.updated"]);
    assert_eq!(list(&["--key", &key, "--limit", "1", "--since", "2020-01-01"]), ["user.updated"]);
    assert_eq!(list(&["--until", "2020-01-01T00:00:00Z"]), Vec::<String>::new());

    let out = server.folder.0.join("audit.jsonl");
    let told = server.json(&["audit", "export", "--out", out.to_str().unwrap(), "--user", &id]);
    let exported = list(&["--action", "audit.exported"]);
    let lines: Vec<Value> =
        std::fs::read_to_string(&out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((told["entries"].as_u64(), lines.len()), (Some(2), 2));
    assert_eq!(
        (&lines[0]["action"], &lines[1]["changes"], &lines[1]["apiVersion"], &lines[1]["actorId"]),
        (&json!("user.created"), &json!({"fields": {}, "health": ["diabetes"]}), &json!("2023-10-04"), &json!(key))
    );
    let again = server.run(&["audit", "export", "--out", out.to_str().unwrap()]);
    assert!(!again.status.success(), "a file that is there is not overwritten");
    assert_eq!(list(&["--action", "audit.exported"]), exported, "and nothing was exported");
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600, "for its owner only");
    let printed = server.run(&["audit", "export", "--result", "refused"]);
    assert_eq!(String::from_utf8(printed.stdout).unwrap().lines().count(), 1);

    let anchor = server.folder.0.join("anchor.json");
    std::fs::write(&anchor, server.run(&["audit", "anchor"]).stdout).unwrap();
    let verify = || server.run(&["audit", "verify", "--json", "--anchor", anchor.to_str().unwrap()]);
    let sound = verify();
    let report: Value = serde_json::from_slice(&sound.stdout).unwrap();
    assert!(sound.status.success() && report["sound"] == true && report["anchored"] == true, "{report}");
    // The server has gone on sealing by itself.
    assert_eq!(server.call("POST", "/users/update", &json!({"email": "jane@doe.com", "diabetes": 2})).0, 200);
    let intruder = server.folder.intruder();
    let sealed = "SELECT COUNT(*) FROM audit WHERE action = 'user.updated' AND EXISTS \
                  (SELECT 1 FROM audit_seals WHERE last_id >= audit.id)";
    crate::load::wait_for(|| intruder.counts(sealed) == 2);
    intruder.runs("UPDATE audit SET result = 'done' WHERE result = 'email_taken'");
    let broken = verify();
    let report: Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert_eq!((broken.status.code(), report["findings"].as_array().unwrap().len()), (Some(1), 1), "{report}");
    assert_eq!(report["findings"][0]["fault"], "changed");
    let words = server.run(&["audit", "verify"]);
    assert!(String::from_utf8(words.stdout).unwrap().starts_with("PROBLEM  changed"));

    let verified = server.json(&["audit", "list", "--action", "audit.verified"]);
    let findings = verified.as_array().unwrap().iter().map(|entry| &entry["changes"]["fields"]["findings"][1]);
    assert_eq!(findings.collect::<Vec<_>>(), [&json!(1), &json!(1), &json!(0)], "{verified}");
    intruder.runs(if on_postgres() {
        "ALTER TABLE audit ADD CONSTRAINT closed CHECK (action <> 'audit.verified') NOT VALID"
    } else {
        "CREATE TRIGGER closed BEFORE INSERT ON audit WHEN NEW.action = 'audit.verified' \
         BEGIN SELECT RAISE(ABORT, 'closed'); END"
    });
    let closed = server.run(&["audit", "verify"]);
    assert!(String::from_utf8(closed.stdout).unwrap().starts_with("PROBLEM  changed"), "it is verified all the same");
    assert!(String::from_utf8(closed.stderr).unwrap().contains("does not say that it was verified"));
}

/// The rights of the program's own role, as the documentation gives them.
fn rights() -> String {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).unwrap();
    let begin = text.find("CREATE ROLE usher_app").expect("the rights are in the documentation");
    text[begin..].split("```").next().unwrap().to_owned()
}

#[test]
fn a_role_with_the_documented_rights_runs_the_server_and_cannot_change_the_trail() {
    if !on_postgres() {
        return;
    }
    let folder = Folder::new();
    let url = folder.database().unwrap();
    let database = url.rsplit('/').next().unwrap().to_owned();
    assert!(usher(&folder).arg("migrate").output().unwrap().status.success());
    let role = format!("app_{database}");
    shared().sql(&database, &rights().replace("usher_app", &role));
    let as_role = url.replace("usher@", &format!("{role}@"));
    let server = Program::start_with(folder, &[("USHER_DATABASE", &as_role)], &[]);
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    assert_eq!(server.enrol(&jane()).0, 409);
    let command =
        |arguments: &[&str]| usher(&server.folder).env("USHER_DATABASE", &as_role).args(arguments).output().unwrap();
    for arguments in [&["user", "freeze", &id][..], &["user", "show", &id], &["audit", "verify"]] {
        let output = command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let role_itself = Connection::to(&as_role);
    for sql in [
        "UPDATE audit SET result = 'done'",
        "UPDATE audit SET actor_id = NULL, changes = NULL",
        "UPDATE audit SET proof = NULL",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "DROP TABLE audit",
        "ALTER TABLE audit ADD COLUMN x BIGINT",
        "UPDATE audit_seals SET hash = proof",
        "DELETE FROM audit_seals",
        "TRUNCATE audit_seals",
        "INSERT INTO audit SELECT * FROM audit ON CONFLICT (id) DO UPDATE SET result = 'done'",
        "UPDATE migrations SET applied_at = 0",
    ] {
        let said = role_itself.try_sql(sql).expect_err(sql);
        assert!(said.contains("permission denied") || said.contains("must be owner"), "{sql}: {said}");
    }
    // Erasing needs this.
    role_itself.sql(&format!("UPDATE audit SET changes = NULL WHERE user_id = '{id}'"));
    // With its database, for which the role has its rights.
    drop(server);
    shared().sql("postgres", &format!("DROP ROLE {role}"));
}
