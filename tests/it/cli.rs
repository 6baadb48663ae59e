//! The command line, run as an operator runs it.

use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::on_postgres;
use crate::doctor::finding;
use crate::harness::{Folder, jane, reveals, skip};
use crate::program::{Program, usher};

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    usher(folder).args(arguments).output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_first_start_prints_lines_that_work_the_variables_of_the_documentation_a_curl_line_and_the_one_that_shows_the_mail()
 {
    crate::cluster::about_the_file!();
    let folder = Folder::new();
    let port = crate::program::free_port();
    let mut server = usher(&folder)
        .args(["serve", "--log-format", "text", "--listen", &format!("127.0.0.1:{port}")])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut banner = String::new();
    let mut out = std::io::BufReader::new(server.stdout.take().unwrap());
    while !banner.contains("mail show") {
        assert!(std::io::BufRead::read_line(&mut out, &mut banner).unwrap() > 0, "{banner}");
    }
    let line = |start: &str| banner.lines().find(|line| line.starts_with(start)).expect("the line is there").to_owned();
    let shell = |command: &str| {
        let output =
            std::process::Command::new("sh").args(["-c", command]).env("USHER_DATA", &folder.0).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    if std::process::Command::new("curl").arg("--version").output().is_ok() {
        let created: Value = serde_json::from_str(&shell(&line("curl"))).unwrap();
        assert_eq!(created["message"], "User created successfully");
        let exports: Vec<&str> = banner.lines().filter(|line| line.starts_with("export ")).collect();
        let shown = shell(&format!(
            "{}\ncurl -s \"$USHER_URL/v1/users/jane@doe.com\" -H \"X-API-KEY: $USHER_KEY\" -H 'X-API-KEY-TYPE: write' -H \"X-CLIENT-ID: $USHER_CLIENT_ID\"",
            exports.join("\n")
        ));
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["data"]["email"], "jane@doe.com", "{exports:?}");
        let mail = shell(banner.lines().find(|line| line.ends_with("mail show")).unwrap());
        assert!(
            mail.contains("To: jane@doe.com") && mail.contains(&format!("http://127.0.0.1:{port}/links/")),
            "{mail}"
        );
    } else {
        crate::harness::skip("the printed curl line", "there is no curl");
    }
    server.kill().unwrap();
    let log = String::from_utf8(server.wait_with_output().unwrap().stderr).unwrap();
    assert!(log.contains("live mail waits in the outbox"), "{log}");
    assert_eq!(log.lines().find_map(reveals), None, "{log}");
    let modes = std::fs::read_dir(&folder.0).unwrap().map(|file| {
        use std::os::unix::fs::PermissionsExt;
        let file = file.unwrap();
        (file.file_name().into_string().unwrap(), file.metadata().unwrap().permissions().mode() & 0o777)
    });
    for (name, mode) in modes {
        assert_eq!(mode, 0o600, "{name}");
    }
}

#[test]
fn the_json_of_every_command_has_its_documented_members() {
    let server = Program::start(&[]);
    let apps = server.json(&["app", "list"]);
    assert_eq!(
        (apps[0]["name"].as_str(), apps[0]["clientId"].as_str()),
        (Some("Default"), Some(server.client_id.as_str()))
    );
    let key = server.json(&[
        "key",
        "create",
        "--app",
        &server.client_id,
        "--environment",
        "live",
        "--access",
        "read",
        "--tenant",
        "Clinic North",
        "--api-version",
        "2023-08-22",
        "--expires",
        "90d",
        "--name",
        "reports",
    ]);
    assert_eq!(keys(&key), ["id", "key", "clientId", "environment", "access", "tenant", "apiVersion"]);
    assert!(key["key"].as_str().unwrap().starts_with("usher_live_r_"));
    assert_eq!(
        (&key["tenant"], &key["apiVersion"], &key["access"]),
        (&json!("Clinic North"), &json!("2023-08-22"), &json!("read"))
    );
    let (status, created) = server.enrol(&jane());
    assert_eq!(status, 200);
    let id = created["identifier"].as_str().unwrap();
    let mails = server.json(&["mail", "list"]);
    assert_eq!(keys(&mails[0])[..5], ["id", "to", "kind", "state", "createdAt"]);
    assert_eq!(
        (&mails[0]["to"], &mails[0]["kind"], &mails[0]["state"]),
        (&json!("jane@doe.com"), &json!("enrolment"), &json!("captured"))
    );
    let mail = server.json(&["mail", "show", mails[0]["id"].as_str().unwrap()]);
    for member in ["subject", "text", "html"] {
        assert!(mail[member].as_str().is_some_and(|text| text.len() > 5), "{member}");
    }
    assert!(mail["links"][0].as_str().unwrap().starts_with(&format!("{}/links/", server.url)));
    let token = server.json(&["token", "create", "--user", id]);
    assert_eq!(
        (keys(&token), &token["userId"], &token["expiresIn"]),
        (vec!["accessToken", "expiresIn", "userId"], &json!(id), &json!(3600))
    );
    let user = server.json(&["user", "show", "JANE@doe.com", "--environment", "sandbox"]);
    assert_eq!(
        (&user["id"], &user["health"], &user["profile"]["given_name"]),
        (&json!(id), &Value::Null, &json!("jane"))
    );
    assert!(user["healthKnown"].as_array().unwrap().contains(&json!("height")), "what is known is named");
    let read = || server.json(&["audit", "list", "--action", "user.health_read"]);
    let listed = server.json(&["user", "list"]);
    for shown in [&user, &listed] {
        assert!(!shown.to_string().contains("5ft 6in"), "{shown}");
    }
    assert_eq!(read(), json!([]), "nothing was revealed");
    assert!(!server.run(&["user", "show", id, "--reveal", " "]).status.success(), "a reason is to be given");
    let revealed = server.json(&["user", "show", id, "--reveal", "she asked"]);
    assert_eq!(revealed["health"]["height"], "5ft 6in");
    let tells_why = [&user, &revealed].map(|shown| keys(&shown["subscription"]).contains(&"cancellationReason"));
    assert_eq!(tells_why, [false, true], "why somebody ends may be about their health");
    let read = read();
    assert_eq!((&read[0]["userId"], &read[0]["changes"]["fields"]["reason"][1]), (&json!(id), &json!("she asked")));
    assert_eq!(server.json(&["user", "show", id])["id"], id);
    assert_eq!(server.json(&["user", "list"]).as_array().unwrap().len(), 1);
    let made = server.json(&["app", "create", "Second", "--region", "DE"]);
    assert_eq!((&made["name"], &made["region"]), (&json!("Second"), &json!("DE")));
    assert_eq!(
        keys(&server.json(&["openapi"])),
        [
            "partner/2023-10-04.json",
            "partner/2023-08-22.json",
            "partner/2023-08-01.json",
            "directory.json",
            "sign-in.json"
        ]
    );
    assert_eq!(server.json(&["migrate"]), json!({"migrated": true}));
    let port = server.url.rsplit(':').next().unwrap();
    let everywhere = ["health", "--listen", &format!("0.0.0.0:{port}")];
    assert_eq!(server.json(&everywhere), json!({"ready": true}));
    let findings = server.json(&["doctor"]);
    let billing = findings.as_array().unwrap().iter().find(|f| f["what"] == "billing provider").unwrap();
    assert_eq!((&billing["value"], &billing["state"]), (&json!("none is connected"), &json!("ok")));
}

#[test]
fn doctor_says_of_disks_and_backups_also_that_it_does_not_see_them() {
    let server = Program::start(&[]);
    for what in ["free disk space", "last verified backup"] {
        let (state, value) = finding(&server.folder, what);
        assert_eq!(value.starts_with("not seen from here: "), on_postgres(), "{what}: {value}");
        assert!(state == "note" || !on_postgres(), "{what}: {state}");
    }
}

#[test]
fn a_revoked_key_stops_within_a_second_and_the_list_says_when_a_key_was_used() {
    let server = Program::start(&[]);
    let key =
        server.json(&["key", "create", "--app", &server.client_id, "--environment", "sandbox", "--access", "write"]);
    let (id, text) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
    let update = || server.call_as(text, "POST", "/users/update", &json!({"email": "a@b.co"})).0;
    assert_eq!(update(), 404);
    let listed = || server.json(&["key", "list"]).as_array().unwrap().iter().find(|k| k["id"] == id).unwrap().clone();
    let start = Instant::now();
    while listed()["lastUsedAt"].is_null() {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    server.json(&["key", "revoke", id]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(update(), 403);
    assert_eq!(listed()["state"], "revoked");
    assert!(!String::from_utf8_lossy(&server.run(&["key", "list"]).stdout).contains(text));
}

#[test]
fn a_frozen_users_token_is_refused_by_the_running_server() {
    let server = Program::start(&[]);
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let token = || server.json(&["token", "create", "--user", &id])["accessToken"].as_str().unwrap().to_owned();
    let me = |token: &str| server.call_as(token, "PUT", "/v1/users/me", &json!({"user": {"nickname": "J"}})).0;
    for (command, status, word) in [("freeze", 403, "frozen"), ("delete", 401, "deleted")] {
        let before = token();
        assert_eq!(server.json(&["user", command, &id])["status"], word);
        assert_eq!(me(&before), status, "{command}");
        assert_eq!(server.json(&["user", "restore", &id])["status"], "active");
        assert_eq!((me(&before), me(&token())), (401, 200), "the session does not come back, the person does");
    }
}

#[test]
fn what_goes_wrong_is_said_with_what_to_do_and_the_right_exit_code() {
    crate::cluster::about_the_file!();
    let folder = Folder::new();
    let (start, nowhere) = (Folder::new(), "11111111-1111-4111-8111-111111111111");
    assert!(run(&start, &["app", "create", "Acme"]).status.success());
    for (folder, arguments, code, words) in [
        (&folder, vec!["user", "list"], 1, "`usher serve --data"),
        (&folder, vec!["nonsense"], 2, "unrecognized subcommand"),
        (&folder, vec![], 2, "Usage"),
        (&folder, vec!["key", "create"], 2, "--app"),
        (&folder, vec!["serve", "--listen", "everywhere"], 2, "--listen"),
        (&folder, vec!["user", "list", "--database", "mysql://localhost/usher"], 1, "sqlite:FILE"),
        (&folder, vec!["user", "list", "--database", "postgres://127.0.0.1:1/usher"], 1, "does not answer"),
        (&folder, vec!["serve", "--smtp-timeout", "2m", "--smtp-url", "smtp://x"], 2, "45 s"),
        (&folder, vec!["serve", "--smtp-url", "smtp://mail.example.com"], 1, "--public-url"),
        (&folder, vec!["serve", "--public-url", "https://u.example.com/app"], 2, "nothing after the host"),
        (&start, vec!["user", "send-link", "a@b.co", "--public-url", "u.example.com:8443"], 2, "https://"),
        (&start, vec!["admin", "setup", "--public-url", "https://u.example.com/?x=1"], 2, "nothing after the host"),
        (
            &folder,
            vec!["serve", "--smtp-url", "http://mail.example.com", "--public-url", "https://u.example.com"],
            1,
            "smtps://",
        ),
        (&start, vec!["health", "--listen", "127.0.0.1:1"], 1, "`usher serve` starts one"),
        (&start, vec!["user", "show", "nobody@doe.com"], 1, "`usher user list`"),
        (&start, vec!["key", "revoke", nowhere], 1, "`usher key list`"),
        (&start, vec!["mail", "show", nowhere], 1, "`usher mail list`"),
        (&start, vec!["billing", "retry", nowhere, "--environment", "live"], 1, "leave out --app and --environment"),
        (&start, vec!["billing", "dismiss", nowhere], 1, "`usher billing failures`"),
        (&start, vec!["mail", "show"], 1, "`usher import FILE --send-links`"),
        (&start, vec!["token", "create", "--user", nowhere], 1, "`usher user list`"),
        (
            &start,
            vec!["key", "create", "--app", nowhere, "--environment", "live", "--access", "read"],
            1,
            "`usher app list`",
        ),
        (
            &start,
            vec!["key", "create", "--app", nowhere, "--environment", "live", "--access", "admin"],
            2,
            "read, write",
        ),
        (
            &start,
            vec![
                "key",
                "create",
                "--app",
                nowhere,
                "--environment",
                "live",
                "--access",
                "read",
                "--api-version",
                "2020-01-01",
            ],
            2,
            "2023-08-22",
        ),
        (
            &start,
            vec!["key", "create", "--app", nowhere, "--environment", "live", "--access", "read", "--expires", "soon"],
            2,
            "90d",
        ),
        (&start, vec!["app", "create", "Acme", "--region", "Germany"], 2, "US or DE"),
        (&start, vec!["app", "create", "Acme", "--redirect-url", "/callback"], 1, "https://"),
        (&start, vec!["app", "create", " "], 1, "`usher app create Acme`"),
    ] {
        let output = run(folder, &arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", errors(&output));
        assert!(errors(&output).contains(words), "{arguments:?}: {}", errors(&output));
    }
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0, "nothing was made by commands that failed");
}

#[test]
fn a_failure_is_json_when_json_was_asked_for() {
    crate::cluster::about_the_file!();
    let folder = Folder::new();
    assert!(run(&folder, &["app", "create", "Acme"]).status.success());
    for (arguments, words) in [
        (["user", "show", "nobody@doe.com"], "`usher user list`"),
        (["mail", "list", "--database=mysql://x"], "sqlite:FILE"),
        (["mail", "list", "--config=nowhere.toml"], "nowhere.toml"),
    ] {
        let output = usher(&folder).args(arguments).arg("--json").output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{arguments:?}");
        let failure: Value = serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", errors(&output)));
        assert_eq!(keys(&failure), ["error"]);
        assert!(failure["error"].as_str().unwrap().contains(words), "{failure}");
    }
}

#[test]
fn freezing_a_deleted_user_does_not_bring_them_back() {
    let server = Program::start(&[]);
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    let update = || server.call("POST", "/users/update", &json!({"email": "jane@doe.com"})).0;
    assert_eq!(update(), 200);
    server.json(&["user", "delete", &id]);
    server.run(&["user", "freeze", &id]);
    assert_eq!((update(), &server.json(&["user", "show", &id])["status"]), (404, &json!("deleted")));
}

#[test]
fn who_was_frozen_before_they_were_deleted_is_so_when_they_are_back() {
    let server = Program::start(&[]);
    let id = server.enrol(&jane()).1["identifier"].as_str().unwrap().to_owned();
    for (word, status) in [("freeze", "frozen"), ("delete", "deleted"), ("restore", "frozen"), ("restore", "active")] {
        assert_eq!(server.json(&["user", word, &id])["status"], status, "{word}");
        assert_eq!(server.json(&["user", "show", &id])["status"], status, "{word}");
    }
}

/// Every command that does something, with its name as it is typed.
fn commands(command: clap::Command, above: &str, into: &mut Vec<(String, String)>) {
    let name = format!("{above}{}", command.get_name());
    let below: Vec<_> = command.get_subcommands().cloned().collect();
    if below.is_empty() || command.get_positionals().next().is_some() {
        into.push((name.clone(), command.clone().render_long_help().to_string()));
    }
    for inner in below {
        commands(inner, &format!("{name} "), into);
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let mut all = Vec::new();
    commands(usher::cli::command(), "", &mut all);
    assert!(all.len() > 50, "{}", all.len());
    for (name, help) in all {
        assert!(help.contains("Example") && help.contains(&format!("  {name}")), "{name} has no example: {help}");
    }
    let output = run(&Folder::new(), &["import", "undo", "--help"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("usher import undo 4d5f"));
}

/// Asks zsh as a person does, at a terminal of its own: what stands in the line after a tab.
const ASK_ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "fpath=($1 \$fpath); autoload -U compinit && compinit -u -D; echo rea''dy"
zpty -r shell line '*ready*'
zpty -w -n shell $'usher expl\t\x01echo so: \n'
zpty -r shell line $'*\nso: usher*\n'
print -r -- "${line##*so: }"
"#;

#[test]
fn shells_complete_the_commands() {
    let folder = Folder::new();
    let asked = [
        (
            "bash",
            "usher",
            r#". "$0/usher"; COMP_WORDS=(usher expl); COMP_CWORD=1; _usher usher expl usher; echo usher $COMPREPLY"#,
        ),
        ("zsh", "_usher", ASK_ZSH),
        ("fish", "usher", r#"source $argv[1]/usher; echo usher (complete -C "usher expl" | string split \t)[1]"#),
    ];
    for (shell, file, ask) in asked {
        let scripts = folder.0.join(shell);
        std::fs::create_dir(&scripts).unwrap();
        std::fs::write(scripts.join(file), run(&folder, &["completions", shell]).stdout).unwrap();
        let mut command = std::process::Command::new(shell);
        match shell {
            "zsh" => command.args(["-f", "-c", ask, "-"]),
            "fish" => command.args(["--no-config", "-c", ask]),
            _ => command.args(["-c", ask]),
        };
        match command.arg(&scripts).env("TERM", "dumb").output() {
            Ok(reply) => {
                assert_eq!(String::from_utf8_lossy(&reply.stdout).trim(), "usher explain", "{shell}: {reply:?}");
            }
            Err(why) => skip(shell, &why.to_string()),
        }
    }
}

#[test]
fn man_has_a_page_for_each_command() {
    let folder = Folder::new();
    let pages = folder.0.join("man1");
    assert!(run(&folder, &["man", "--out", pages.to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(pages.join("usher-import.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("patients.csv"));
    assert!(std::fs::read_dir(&pages).unwrap().count() > 50);
}

#[test]
fn a_table_that_is_wider_than_the_terminal_has_a_line_for_each_cell_and_colours_can_be_forbidden() {
    if std::process::Command::new("script").arg("--version").output().is_err() {
        return skip("tables at a terminal", "there is no `script`");
    }
    let server = Program::start(&[]);
    server.enrol(&jane());
    let at_a_terminal = |columns: u32, no_color: &str| {
        let line = format!("stty cols {columns}; {} user list", env!("CARGO_BIN_EXE_usher"));
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env_clear().stdin(std::process::Stdio::null());
        command.envs(server.folder.database().map(|url| ("USHER_DATABASE", url)));
        command
            .env("USHER_DATA", &server.folder.0)
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .env("PATH", "/usr/bin:/bin");
        String::from_utf8_lossy(&command.env("NO_COLOR", no_color).output().unwrap().stdout).into_owned()
    };
    let (wide, narrow, plain) = (at_a_terminal(300, ""), at_a_terminal(60, ""), at_a_terminal(60, "1"));
    assert!(
        wide.contains("\x1b[1m") && wide.lines().any(|line| line.contains("jane@doe.com") && line.contains("sandbox")),
        "{wide:?}"
    );
    assert!(
        narrow.contains("\x1b[1m")
            && !narrow.lines().any(|line| line.contains("jane@doe.com") && line.contains("sandbox"))
    );
    assert!(plain.lines().any(|line| line.trim_end() == "EMAIL           jane@doe.com"), "{plain:?}");
    assert!(!plain.contains('\x1b'), "{plain:?}");
    let piped = String::from_utf8(server.run(&["user", "list"]).stdout).unwrap();
    assert!(
        !piped.contains('\x1b') && piped.lines().any(|line| line.contains("jane@doe.com") && line.contains("sandbox"))
    );
}

#[test]
fn settings_come_from_the_command_line_then_variables_then_the_file() {
    crate::cluster::about_the_file!();
    let folder = Folder::new();
    let (here, there, elsewhere) = (Folder::new(), Folder::new(), Folder::new());
    for (at, name) in [(&here, "Here"), (&there, "There"), (&elsewhere, "Elsewhere")] {
        assert!(run(at, &["app", "create", name]).status.success());
    }
    let list = |setup: &dyn Fn(&mut std::process::Command)| {
        let mut command = usher(&folder);
        command.env_remove("USHER_DATA").args(["app", "list"]);
        setup(&mut command);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", errors(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    std::fs::write(folder.0.join("usher.toml"), format!("data = {:?}\nlisten = \"127.0.0.1:1\"\n", here.0)).unwrap();
    assert!(list(&|_| {}).contains("Here"));
    assert!(
        list(&|c| {
            c.env("USHER_DATA", "");
        })
        .contains("Here"),
        "an empty variable is none"
    );
    assert!(
        list(&|c| {
            c.env("USHER_DATA", &there.0);
        })
        .contains("There")
    );
    assert!(
        list(&|c| {
            c.env("USHER_DATA", &there.0).arg("--data").arg(&elsewhere.0);
        })
        .contains("Elsewhere")
    );
    let named = folder.0.join("named.toml");
    std::fs::write(&named, format!("data = {:?}\n", there.0)).unwrap();
    assert!(
        list(&|c| {
            c.arg("--config").arg(&named);
        })
        .contains("There")
    );
    assert!(
        list(&|c| {
            c.env("USHER_CONFIG", &named);
        })
        .contains("There")
    );
}

#[test]
fn an_unknown_entry_in_the_file_is_an_error_that_suggests_the_nearest() {
    let folder = Folder::new();
    for (text, words) in [
        ("smtp_url = \"x\"", "unknown entry `smtp_url`. Did you mean `smtp-url`?"),
        ("public-ulr = \"x\"", "Did you mean `public-url`?"),
        ("data = [1]", "`data` must be a text or a number"),
        ("smtp-url = secret-password", "is not TOML"),
    ] {
        std::fs::write(folder.0.join("usher.toml"), text).unwrap();
        let output = run(&folder, &["app", "list"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(errors(&output).contains(words), "{}", errors(&output));
        assert!(!errors(&output).contains("secret-password"));
    }
    let missing = run(&folder, &["--config", "nowhere.toml", "app", "list"]);
    assert!(errors(&missing).contains("nowhere.toml"), "{}", errors(&missing));
}

#[test]
fn a_secret_can_come_from_a_file_and_is_not_shown() {
    let folder = Folder::new();
    let file = folder.0.join("smtp-url");
    std::fs::write(&file, "smtp://user:hunter2@\n").unwrap();
    let file = file.to_str().unwrap();
    let arguments = ["serve", "--public-url", "https://u.example.com", "--data", "fresh"];
    let from_file = run(&folder, &[&arguments[..], &["--smtp-url-file", file]].concat());
    assert!(errors(&from_file).contains("--smtp-url: "), "{}", errors(&from_file));
    let variable = usher(&folder).args(arguments).env("USHER_SMTP_URL_FILE", file).output().unwrap();
    assert!(errors(&variable).contains("--smtp-url: ") && !errors(&variable).contains("hunter2"));
    let both =
        run(&folder, &[&arguments[..], &["--smtp-url-file", file, "--smtp-url", "smtp://user:hunter2@x"]].concat());
    assert!(errors(&both).contains("exclude each other") && !errors(&both).contains("hunter2"));
    let help =
        usher(&folder).args(["serve", "--help"]).env("USHER_SMTP_URL", "smtp://user:hunter2@x").output().unwrap();
    assert!(!String::from_utf8_lossy(&help.stdout).contains("hunter2"));
    std::fs::write(folder.0.join("usher.toml"), "smtp-url = \"smtp://user:hunter2@x\"").unwrap();
    let help = run(&folder, &["serve", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(text.contains("--smtp-url <URL>") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_secret_of_the_command_line_comes_before_a_file_with_one_that_the_settings_name() {
    let folder = Folder::new();
    std::fs::write(folder.0.join("secret"), "not a URL").unwrap();
    std::fs::write(folder.0.join("usher.toml"), "smtp-url-file = \"secret\"").unwrap();
    let serve = |more: &[&str], variable: &str| {
        let mut command = usher(&folder);
        command.args(["serve", "--public-url", "https://u.example.com"]).args(more).env("USHER_SMTP_URL", variable);
        errors(&command.output().unwrap())
    };
    let of_the_file = serve(&[], "");
    assert!(of_the_file.contains("this is not a URL"), "{of_the_file}");
    for nearer in [serve(&["--smtp-url", "http://x"], ""), serve(&[], "http://x")] {
        assert!(nearer.contains("it must begin with smtps://"), "{nearer}");
    }
    std::fs::write(folder.0.join("usher.toml"), "smtp-url = \"http://x\"").unwrap();
    let of_a_file_named_nearer = serve(&["--smtp-url-file", "secret"], "");
    assert!(of_a_file_named_nearer.contains("this is not a URL"), "{of_a_file_named_nearer}");
}
