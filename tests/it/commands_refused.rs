//! Commands that are refused, and what the audit trail says of them.

use serde_json::{Value, json};

use crate::harness::jane;
use crate::program::{Program, usher};

const NOWHERE: &str = "11111111-1111-4111-8111-111111111111";

fn refused(server: &Program) -> Vec<Value> {
    server.json(&["audit", "list", "--result", "refused"]).as_array().unwrap().clone()
}

#[test]
fn a_command_that_is_refused_leaves_one_entry_that_says_which_it_was_and_tells_nothing_that_it_was_given() {
    let server = Program::start(&[]);
    let app = server.client_id.as_str();
    let at = ["--app", app, "--environment", "live"];
    let made = |arguments: &[&str]| server.json(&[arguments, &at].concat())["id"].as_str().unwrap().to_owned();
    let key = made(&["key", "create", "--access", "read"]);
    made(&["role", "create", "reception", "--rights", "users:read"]);
    server.json(&["key", "revoke", &key]);
    server.json(&["admin", "create", "ann@clinic.example", "--role", "support"]);
    let jane = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let file = server.folder.0.join("people.csv");
    std::fs::write(&file, "email\nbob@doe.com\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(refused(&server), Vec::<Value>::new());

    let elsewhere = ["--app", NOWHERE, "--environment", "live"];
    for (number, (arguments, operation, result, target)) in (1..).zip([
        (vec!["user", "freeze", "bob@doe.com"], "usher user freeze", "operator", None),
        (vec!["user", "freeze", NOWHERE], "usher user freeze", "operator", Some(NOWHERE)),
        (vec!["user", "role", &jane, "nobody-has-it"], "usher user role", "operator", Some(jane.as_str())),
        (vec!["user", "show", "bob@doe.com", "--reveal", "she asked"], "usher user show", "operator", None),
        (vec!["user", "export", "bob@doe.com"], "usher user export", "operator", None),
        (vec!["user", "erase", "bob@doe.com"], "usher user erase", "operator", None),
        (vec!["session", "revoke", &jane, NOWHERE], "usher session revoke", "session_not_found", Some(jane.as_str())),
        (vec!["key", "rotate", &key, "--overlap", "7d"], "usher key rotate", "key_ended", Some(key.as_str())),
        (
            [&["role", "create", "reception", "--rights", "users:read"][..], &at].concat(),
            "usher role create",
            "operator",
            Some(app),
        ),
        (vec!["admin", "create", "ann@clinic.example", "--role", "owner"], "usher admin create", "admin_exists", None),
        (vec!["app", "create", "Acme", "--redirect-url", "/callback"], "usher app create", "operator", None),
        (vec!["webhook", "disable", NOWHERE], "usher webhook disable", "operator", Some(NOWHERE)),
        (vec!["billing", "dismiss", NOWHERE], "usher billing dismiss", "operator", Some(NOWHERE)),
        (
            vec!["mail", "template", "set", "sign_in", "en", "--app", NOWHERE, "mail_sign_in_subject=Come in"],
            "usher mail template set",
            "operator",
            Some(NOWHERE),
        ),
        ([&["import", file][..], &elsewhere].concat(), "usher import", "operator", Some(NOWHERE)),
        ([&["import", file, "--dry-run"][..], &elsewhere].concat(), "usher import", "operator", Some(NOWHERE)),
        ([&["export"][..], &elsewhere].concat(), "usher export", "operator", Some(NOWHERE)),
        ([&["audit", "export"][..], &elsewhere].concat(), "usher audit export", "operator", Some(NOWHERE)),
    ]) {
        let output = server.run(&arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{arguments:?}: {said}");
        let all = refused(&server);
        assert_eq!(all.len(), number, "{arguments:?}");
        let entry = &all[0];
        assert_eq!(
            [&entry["action"], &entry["operation"], &entry["actor"], &entry["result"], &entry["target"]],
            [&json!("request.refused"), &json!(operation), &json!("operator"), &json!(result), &json!(target)],
            "{arguments:?}"
        );
        assert_eq!((&entry["times"], &entry["userId"], &entry["changes"]), (&json!(1), &Value::Null, &json!({})));
        let names = operation.split(' ');
        let given = arguments.iter().skip(names.count() - 1).filter(|word| Some(**word) != target);
        let text = entry.to_string();
        // Of one that is shorter, an id could have the letters.
        let words = given.flat_map(|word| word.split('=')).filter(|word| word.len() > 3);
        let told: Vec<_> = words.filter(|word| text.contains(*word)).collect();
        assert_eq!(told, Vec::<&str>::new(), "{text}");
    }
    assert!(server.run(&["audit", "verify"]).status.success());
}

#[test]
fn a_command_that_only_looks_and_one_that_is_not_understood_leave_none() {
    let server = Program::start(&[]);
    for (arguments, code) in [
        (vec!["user", "show", "bob@doe.com"], 1),
        (vec!["explain", "bob@doe.com"], 1),
        (vec!["mail", "show", NOWHERE], 1),
        (vec!["webhook", "show", NOWHERE], 1),
        (vec!["audit", "list", "--app", NOWHERE], 1),
        (vec!["admin", "role", "nonsense", "owner"], 1),
        (vec!["user", "freeze"], 2),
        (vec!["user", "freez", "bob@doe.com"], 2),
        (vec!["user", "freeze", "--help"], 0),
    ] {
        assert_eq!(server.run(&arguments).status.code(), Some(code), "{arguments:?}");
        assert_eq!(refused(&server), Vec::<Value>::new(), "{arguments:?}");
    }
}

#[test]
fn a_refusal_is_told_also_where_the_trail_takes_no_entry() {
    let (_, _, folder) = Program::start(&[]).stop();
    folder.intruder().runs("ALTER TABLE audit RENAME TO elsewhere");
    let output = usher(&folder).args(["user", "freeze", "bob@doe.com"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("usher: the audit trail does not say that this was refused: "), "{said}");
    assert!(said.trim_end().ends_with("usher: there is no such user. `usher user list` shows the newest."), "{said}");
}
