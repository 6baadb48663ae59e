//! The curl line on every page of the API reference, run as a reader runs it: in a shell, against the real program's
//! sandbox, with the variables that it names. Each time in an app of its own, so that no line is in the way of another.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use crate::cluster;
use crate::harness::{jane, skip};
use crate::outside::find;
use crate::program::{Program, raw};

/// What every line stands on: an app of its own, and a key of it.
const APP: &str = r#"
set -euo pipefail
pick() { "$PYTHON" -IS -c 'import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1:]: value = value[int(key) if key.isdigit() else key]
print(value)' "$@"; }
directory() { curl -sf "$USHER_URL/v1/$1" -H "X-API-KEY: $USHER_KEY" -H 'X-API-KEY-TYPE: write' -H "X-CLIENT-ID: $USHER_CLIENT_ID" "${@:2}"; }
key() { usher key create --app "$USHER_CLIENT_ID" --environment sandbox --access write --json "$@" | pick key; }
USHER_CLIENT_ID=$(usher app create Reader --json | pick clientId)
USHER_KEY=$(key)
"#;

/// How a reader comes by what a line names. What one needs of another stands after it, and is named in it.
const NEEDED: [(&str, &str); 12] = [
    ("$TENANT_ID", "TENANT_ID=$(directory users/$USER_ID | pick data tenantId)"),
    ("$ROLE_ID", "ROLE_ID=$(directory apps/$USHER_CLIENT_ID/user-roles | pick data items 0 id)"),
    (
        "$DELIVERY_ID",
        "directory webhooks/$WEBHOOK_ID/test -X POST > test.json
         DELIVERY_ID=$(directory webhooks/$WEBHOOK_ID/deliveries | pick data items 0 id)",
    ),
    ("$WEBHOOK_ID", r#"WEBHOOK_ID=$(directory webhooks -d '{"url":"https://crm.example.com/usher"}' | pick data id)"#),
    (
        "$IMPORT_ID",
        r#"IMPORT_ID=$(directory imports -H 'Content-Type: application/json' -d '[{"email":"dora@doe.com"}]' | pick data id)
           until [ "$(directory imports/$IMPORT_ID | pick data state)" = done ]; do sleep 0.1; done"#,
    ),
    ("$SESSION_ID", "SESSION_ID=$(: $TOKENS; directory users/$USER_ID/sessions | pick data items 0 id)"),
    ("$REFRESH_TOKEN", r#"REFRESH_TOKEN=$(pick refreshToken <<< "$TOKENS")"#),
    ("$ACCESS_TOKEN", r#"ACCESS_TOKEN=$(pick accessToken <<< "$TOKENS")"#),
    (
        "$TOKENS",
        r#"TOKENS=$(curl -sf "$USHER_URL/v1/tokens" -d '{"client_id":"'$USHER_CLIENT_ID'","redirect_uri":"https://app.example.com/callback","code":"'$CODE'","code_verifier":"'$CODE_VERIFIER'"}')"#,
    ),
    (
        "$CODE",
        r#"page=https://app.example.com/callback
           usher app redirect add $USHER_CLIENT_ID $page --environment sandbox > added
           challenge=$(printf %s $CODE_VERIFIER | openssl dgst -sha256 -binary | openssl base64 -A | tr '+/' '-_' | tr -d =)
           asked="client_id=$USHER_CLIENT_ID&redirect_uri=$page&type=signIn&response_type=code&code_challenge=$challenge&code_challenge_method=S256"
           curl -sf -c cookies "$USHER_URL/$DOOR?$asked" --data-urlencode email=jane@doe.com
           digits= # of the newest mail: whoever was enrolled before has been mailed, too
           until [ "$digits" ]; do sleep 0.1; digits=$(: $USER_ID; usher mail show | grep -oE '^[0-9]{6}$' || true); done
           CODE=$(curl -s -b cookies -w '%{redirect_url}' "$USHER_URL/sign-in/code" -d code=$digits | sed 's/.*[?&]code=\([^&]*\).*/\1/')"#,
    ),
    ("$CODE_VERIFIER", "CODE_VERIFIER=0123456789abcdef0123456789abcdef0123456789abcdef"),
    (
        "$USER_ID",
        r#"USER_ID=$(curl -sf "$USHER_URL/users/create" -H "Authorization: Bearer $(key --tenant acme)" -d "$JANE" | pick identifier)"#,
    ),
];

/// What an operation is for besides what its line names.
const FIRST: [(&str, &str); 1] = [("restoreUser", "directory users/$USER_ID -X DELETE > deleted")];

#[test]
fn every_curl_line_of_the_reference_is_answered_as_its_page_says() {
    // Which engine it is makes no difference to a line.
    if cluster::on_postgres() {
        return;
    }
    for program in ["curl", "python3", "openssl"] {
        if find(program).is_none() {
            return skip("the curl lines of the reference", &format!("there is no {program}"));
        }
    }
    let server = Program::start(&[]);
    let pages = pages(&server.url);
    assert!(pages.len() > 60, "{}", pages.len());
    let (pages, faults) = (Mutex::new(pages), Mutex::new(Vec::new()));
    let worker = || {
        // One of its own, for the newest mail is to be that of its own line.
        let server = Program::start(&[]);
        loop {
            let Some((address, text)) = pages.lock().unwrap().pop() else { return };
            if let Err(fault) = run(&server, &address, &text) {
                faults.lock().unwrap().push(format!("{address}: {fault}"));
            }
        }
    };
    std::thread::scope(|scope| (0..3).for_each(|_| _ = scope.spawn(worker)));
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// The interpreter behind `python3`, which may be a script that looks for one, slowly, each of the hundreds of times.
fn python() -> &'static str {
    static PYTHON: LazyLock<String> = LazyLock::new(|| {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    });
    &PYTHON
}

/// The pages of operations in Markdown, by their addresses.
fn pages(url: &str) -> Vec<(String, String)> {
    let get = |path: &str| raw(url, format!("GET {path} HTTP/1.0\r\nHost: usher\r\n\r\n").as_bytes()).1;
    let list = get("/llms.txt");
    let addresses = list.split("](").skip(1).filter_map(|rest| rest.split(')').next()?.strip_prefix(url));
    let of_operations = addresses.filter(|address| address.matches('/').count() == 4);
    of_operations.map(|address| (address.to_owned(), get(address))).collect()
}

/// Runs the line of a page.
fn run(server: &Program, address: &str, page: &str) -> Result<(), String> {
    let line = page.split("```sh\n").nth(1).and_then(|rest| rest.split("\n```").next()).ok_or("there is no line")?;
    let operation = address.rsplit('/').next().unwrap().trim_end_matches(".md");
    let mut script = format!(
        "{}\ncurl() {{ command curl -s -o answer -w '%{{http_code}}' \"$@\"; }}\n{line}\n",
        FIRST.iter().find(|(name, _)| *name == operation).map_or("", |(_, first)| first)
    );
    // Who makes Jane needs none.
    if operation != "createUser" {
        script = format!(": $USER_ID\n{script}");
    }
    for (name, how) in NEEDED {
        if script.contains(name) {
            script = format!("{how}\n{script}");
        }
    }
    let program = PathBuf::from(env!("CARGO_BIN_EXE_usher"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", &format!("{APP}\n{script}")])
        .env_clear()
        .env("PATH", path)
        .env("NO_PROXY", "*")
        .env("USHER_DATA", &server.folder.0)
        .env("USHER_URL", &server.url)
        .env("DOOR", if operation == "token" { "authorize" } else { "sign-in" })
        .env("JANE", jane().to_string())
        .env("PYTHON", python())
        .current_dir(&server.folder.0)
        .output()
        .map_err(|e| e.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match text(&output.stdout).trim() {
        status if output.status.success() && status == "200" => Ok(()),
        status => {
            let answer = std::fs::read_to_string(server.folder.0.join("answer")).unwrap_or_default();
            Err(format!("{line}\n{status} {answer} {}", text(&output.stderr)))
        }
    }
}
