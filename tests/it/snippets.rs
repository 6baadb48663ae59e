//! Every example of `docs/` and the README, run against the real program: the blocks of a page one after the other, on a
//! fresh server, once for each language that the page speaks. What stands below an example as its answer is compared.
//!
//! A block says more about itself after its language: `output` is what the example before it prints, where `…` stands for
//! anything; `not-run="why"` is not run, and must be in the list below; `engine="sqlite"` is for an installation on that engine
//! alone, `needs="postgres"` for where there is an empty database on PostgreSQL besides. What an example leaves running (`&`)
//! runs until the page's end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};
use serde_json::Value;

use crate::cluster;
use crate::harness::{jane, skip};
use crate::outside::find;
use crate::program::{Program, free_port};

/// The languages of examples, in the order of their tabs.
pub const LANGUAGES: [&str; 4] = ["sh", "javascript", "python", "rust"];

/// The blocks that are not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("README.md", "it builds the program"),
    ("README.md", "it runs these tests"),
    ("docs/OPERATIONS.md", "it builds the program"),
    ("docs/OPERATIONS.md", "a second server"),
    ("docs/OPERATIONS.md", "needs an account at Stripe"),
    ("docs/PERFORMANCE.md", "it measures for minutes"),
    ("docs/RELIABILITY.md", "it injects faults for minutes"),
    ("docs/postgresql.md", "needs a PostgreSQL server of the reader's"),
    ("docs/postgresql.md", "a second server"),
    ("docs/quick-start.md", "the test has started it"),
    ("docs/quick-start.md", "they are the reader's own"),
    ("docs/webhooks.md", "the test has started it"),
];

/// Blocks of Rust that are pieces of this program and not examples of a caller.
const PIECES: [&str; 2] = ["docs/ARCHITECTURE.md", "docs/CONTRIBUTING.md"];

#[derive(Clone, Debug)]
pub struct Block {
    pub language: String,
    /// What follows the language.
    about: String,
    pub code: String,
}

impl Block {
    fn is_output(&self) -> bool {
        self.about.split(' ').any(|word| word == "output")
    }

    fn says(&self, name: &str) -> Option<&str> {
        self.about.split(&format!("{name}=\"")).nth(1)?.split('"').next()
    }

    /// Whether the installation is on another engine than it is about.
    fn is_of_another_engine(&self) -> bool {
        let here = if cluster::on_postgres() { "postgres" } else { "sqlite" };
        self.says("engine").is_some_and(|engine| engine != here)
    }

    fn needs_another_database(&self) -> bool {
        self.says("needs") == Some("postgres")
    }

    fn not_run(&self) -> Option<&str> {
        self.says("not-run")
    }
}

/// One example, in one language or in several, and what it prints.
pub struct Step {
    pub blocks: Vec<Block>,
    output: Option<Block>,
}

/// The examples of a text.
pub fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut block: Option<Block> = None;
    // Whether nothing stands between the last block and here.
    let mut next_to_it = false;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                let (language, about) = info.split_once(' ').unwrap_or((&info, ""));
                block = Some(Block { language: language.to_owned(), about: about.to_owned(), code: String::new() });
            }
            Event::Text(text) if block.is_some() => block.as_mut().unwrap().code.push_str(&text),
            Event::End(pulldown_cmark::TagEnd::CodeBlock) => {
                let Some(block) = block.take() else { continue };
                let last = steps.last_mut().filter(|_| next_to_it);
                if block.is_output() {
                    last.expect("an output stands directly below its example").output = Some(block);
                } else if LANGUAGES.contains(&block.language.as_str()) {
                    match last {
                        Some(step)
                            if step.output.is_none() && step.blocks.iter().all(|b| b.language != block.language) =>
                        {
                            step.blocks.push(block);
                        }
                        _ => steps.push(Step { blocks: vec![block], output: None }),
                    }
                }
                next_to_it = true;
            }
            _ => next_to_it &= block.is_some(),
        }
    }
    steps
}

/// Every text with its name in the repository.
fn texts() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(root.join("README.md"));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    let name = |file: &Path| file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (name(file), std::fs::read_to_string(file).unwrap())).collect()
}

fn examples(page: &str, text: &str) -> Vec<Step> {
    let mut steps = steps(text);
    if PIECES.contains(&page) {
        steps.retain(|step| step.blocks.iter().all(|block| block.language != "rust"));
    }
    steps
}

#[test]
fn what_is_not_run_is_on_the_list_with_its_reason() {
    let mut found = BTreeSet::new();
    for (page, text) in texts() {
        for step in examples(&page, &text) {
            found.extend(step.blocks.iter().filter_map(Block::not_run).map(|why| (page.clone(), why.to_owned())));
        }
    }
    let listed: BTreeSet<(String, String)> =
        NOT_RUN.iter().map(|(page, why)| ((*page).to_owned(), (*why).to_owned())).collect();
    assert_eq!(found, listed);
}

/// What every page may take for granted, and settings of the program.
const GIVEN: [&str; 5] = ["USHER_URL", "USHER_KEY", "USHER_CLIENT_ID", "USHER_DATA", "USHER_DATABASE"];

#[test]
fn a_page_sets_every_other_variable_before_it_is_used() {
    for (page, text) in texts() {
        let steps = examples(&page, &text);
        let shell: String = steps.iter().flat_map(|step| &step.blocks).map(|block| block.code.as_str()).collect();
        for (at, _) in shell.match_indices("$USHER_") {
            let name: String = shell[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let is_set = GIVEN.contains(&name.as_str()) || shell[..at].contains(&format!("{name}="));
            assert!(is_set, "{page} uses ${name}");
        }
    }
}

#[test]
fn every_example_runs_and_prints_what_stands_below_it() {
    let texts = texts();
    let pages: Vec<(&String, Vec<Step>)> = texts.iter().map(|(page, text)| (page, examples(page, text))).collect();
    let rust = compiled(pages.iter().flat_map(|(_, steps)| steps).flat_map(|step| &step.blocks));
    let mut runs: Vec<(&str, &[Step], &str)> = Vec::new();
    for (page, steps) in &pages {
        let run = steps.iter().flat_map(|step| &step.blocks).filter(|block| block.not_run().is_none());
        let spoken: BTreeSet<&str> = run.map(|block| block.language.as_str()).collect();
        // The engine makes no difference to a language.
        let spoken = spoken.into_iter().filter(|language| *language == "sh" || !cluster::on_postgres());
        runs.extend(
            spoken
                .filter(|language| lacks(language, &rust).is_none())
                .map(|language| (page.as_str(), &steps[..], language)),
        );
    }
    for language in LANGUAGES {
        if let Some(why) = lacks(language, &rust) {
            skip(&format!("the examples in {language}"), &why);
        }
    }
    assert!(runs.len() >= if cluster::on_postgres() { 8 } else { 12 }, "{}", runs.len());
    let (runs, failures) = (Mutex::new(runs), Mutex::new(Vec::new()));
    let worker = || {
        loop {
            let Some((page, steps, language)) = runs.lock().unwrap().pop() else { return };
            if let Err(failure) = run(page, steps, language, rust.as_ref().ok()) {
                failures.lock().unwrap().push(format!("{page} in {language}: {failure}"));
            }
        }
    };
    // On PostgreSQL a thread has its own engine.
    if cluster::on_postgres() {
        worker();
    } else {
        std::thread::scope(|scope| (0..3).for_each(|_| _ = scope.spawn(worker)));
    }
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

type Compiled = Result<BTreeMap<String, PathBuf>, String>;

/// Why examples in that language cannot be run here. `rust` is what became of compiling those.
pub fn lacks<T>(language: &str, rust: &Result<T, String>) -> Option<String> {
    let needs = |program: &str| find(program).is_none().then(|| format!("there is no {program}"));
    match language {
        "javascript" => needs("node"),
        "python" => needs("python3"),
        "rust" => rust.as_ref().err().cloned(),
        _ => needs("curl").or_else(|| needs("python3")),
    }
}

/// Runs a page's examples in a language; where it has none in that, in the first there is.
fn run(page: &str, steps: &[Step], language: &str, rust: Option<&BTreeMap<String, PathBuf>>) -> Result<(), String> {
    // As the README and the page about webhooks say.
    let server = Program::start(&["--webhook-network", "127.0.0.0/8"]);
    let folder = &server.folder.0;
    std::fs::write(folder.join("env"), "").unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    std::os::unix::fs::symlink(examples, folder.join("examples")).unwrap();
    // What listens at the port of the text listens here.
    let (port, mut left) = (free_port().to_string(), LeftRunning::default());
    let program = PathBuf::from(env!("CARGO_BIN_EXE_usher"));
    let path = std::env::join_paths(
        [program.parent().unwrap().to_owned()]
            .into_iter()
            .chain(cluster::on_postgres().then(|| cluster::shared().tools.clone()))
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut variables: Vec<(&str, String)> = vec![
        ("USHER_URL", server.url.clone()),
        ("USHER_KEY", server.key.clone()),
        ("USHER_CLIENT_ID", server.client_id.clone()),
        ("USHER_DATA", folder.display().to_string()),
        ("HOME", folder.display().to_string()),
        ("NO_PROXY", "*".into()),
        ("PORT", port.clone()),
        ("PATH", path.unwrap().into_string().unwrap()),
    ];
    variables.extend(server.folder.database().map(|url| ("USHER_DATABASE", url)));
    // Where PostgreSQL's own tools find the server, as on its machine.
    if cluster::on_postgres() {
        let url: url::Url = cluster::shared().url.parse().unwrap();
        variables.push(("PGHOST", url.host_str().unwrap().to_owned()));
        variables.push(("PGPORT", url.port().unwrap().to_string()));
        variables.push(("PGUSER", url.username().to_owned()));
    }
    let another = Another::made_for(steps);
    variables.extend(another.iter().map(|database| ("USHER_POSTGRES", database.url.clone())));
    // These begin with what the first start prints.
    if ["README.md", "docs/OPERATIONS.md"].contains(&page) {
        assert_eq!(server.enrol(&jane()).0, 200);
    }
    for (at, step) in steps.iter().enumerate() {
        let Some(block) = step.blocks.iter().find(|block| block.language == language).or_else(|| step.blocks.first())
        else {
            continue;
        };
        let lacks_its_database = block.needs_another_database() && another.is_none();
        if lacks_its_database || block.is_of_another_engine() || block.not_run().is_some() {
            continue;
        }
        let code = block.code.replace(PORT, &port);
        let command = match block.language.as_str() {
            "sh" => format!("set -euo pipefail -a; . ./env\n{code}\nexport -p > env"),
            "javascript" => ". ./env; exec node snippet.mjs".to_owned(),
            "python" => ". ./env; exec python3 snippet.py".to_owned(),
            _ => match rust.and_then(|programs| programs.get(&block.code)) {
                Some(program) => format!(". ./env; exec '{}'", program.display()),
                None => continue,
            },
        };
        for name in ["snippet.mjs", "snippet.py"] {
            std::fs::write(folder.join(name), &code).unwrap();
        }
        // To files of its own: what is left running goes on writing.
        let file = |name: &str| folder.join(format!("{name}{at}"));
        let written = |name: &str| std::fs::read_to_string(file(name)).unwrap_or_default();
        let into = |name: &str| Stdio::from(std::fs::File::create(file(name)).unwrap());
        let mut shell = Command::new("timeout");
        shell
            .args(["--foreground", "60", "bash", "-c", &command])
            .env_clear()
            .envs(variables.iter().cloned())
            .current_dir(folder)
            .process_group(0);
        let mut shell = shell.stdout(into("said")).stderr(into("complained")).spawn().map_err(|e| e.to_string())?;
        let goes_on = code.trim_end().ends_with('&');
        left.0.extend(goes_on.then(|| shell.id()));
        if !shell.wait().map_err(|e| e.to_string())?.success() {
            return Err(format!("this failed:\n{code}\n{}\n{}", written("said"), written("complained")));
        }
        let fit = |expected: &Block| fits(&expected.language, &expected.code.replace(PORT, &port), &written("said"));
        let start = Instant::now();
        while goes_on
            && start.elapsed() < Duration::from_secs(20)
            && step.output.as_ref().is_some_and(|o| fit(o).is_err())
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Some(expected) = &step.output {
            fit(expected)
                .map_err(|why| format!("{why}\n{code}\nprinted\n{}{}", written("said"), written("complained")))?;
        }
    }
    Ok(())
}

/// The port that a reader's own programs have in the texts.
const PORT: &str = "9000";

/// The groups of processes of a page's examples, which end with it.
#[derive(Default)]
struct LeftRunning(Vec<u32>);

impl Drop for LeftRunning {
    fn drop(&mut self) {
        for group in &self.0 {
            let _ = Command::new("kill").args(["-9", "--", &format!("-{group}")]).stderr(Stdio::null()).status();
        }
    }
}

/// An empty database on PostgreSQL, for examples that need one.
struct Another {
    name: String,
    url: String,
}

impl Another {
    fn made_for(steps: &[Step]) -> Option<Another> {
        let wanted = steps.iter().flat_map(|step| &step.blocks).any(Block::needs_another_database);
        let cluster = wanted.then(cluster::try_shared).flatten()?;
        let name = format!("snippets_{}", std::process::id());
        cluster.sql("postgres", &format!("CREATE DATABASE {name}"));
        Some(Another { url: format!("{}/{name}", cluster.url), name })
    }
}

impl Drop for Another {
    fn drop(&mut self) {
        if let Some(cluster) = cluster::try_shared() {
            cluster.sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", self.name));
        }
    }
}

/// Whether what an example printed is what the text says.
fn fits(language: &str, expected: &str, said: &str) -> Result<(), String> {
    if language != "json" {
        let mut rest = said.trim();
        for (at, piece) in expected.trim().split('…').enumerate() {
            let found =
                rest.find(piece).filter(|found| at > 0 || *found == 0).ok_or_else(|| format!("not found: {piece}"))?;
            rest = &rest[found + piece.len()..];
        }
        return if rest.is_empty() || expected.trim().ends_with('…') {
            Ok(())
        } else {
            Err(format!("beyond it: {rest}"))
        };
    }
    let parse = |text: &str| serde_json::from_str::<Value>(text.trim()).map_err(|e| format!("no JSON: {e}"));
    differs(&parse(expected)?, &parse(said)?, "").map_or(Ok(()), Err)
}

/// Where two values differ. `"…"` is anything; as a key, that there is more.
fn differs(expected: &Value, said: &Value, at: &str) -> Option<String> {
    match (expected, said) {
        (Value::String(text), _) if text == "…" => None,
        (Value::Object(expected), Value::Object(said)) => {
            let open = expected.contains_key("…");
            let more = said.keys().find(|key| !open && !expected.contains_key(*key));
            if let Some(more) = more {
                return Some(format!("{at}.{more} is not in the text"));
            }
            let named = expected.iter().filter(|(key, _)| *key != "…");
            named.into_iter().find_map(|(key, value)| match said.get(key) {
                Some(other) => differs(value, other, &format!("{at}.{key}")),
                None => Some(format!("there is no {at}.{key}")),
            })
        }
        (Value::Array(expected), Value::Array(said)) if expected.len() == said.len() => {
            expected.iter().zip(said).enumerate().find_map(|(n, (a, b))| differs(a, b, &format!("{at}[{n}]")))
        }
        _ => (expected != said).then(|| format!("{at} is {said}")),
    }
}

/// The examples in Rust as programs, by their text.
fn compiled<'a>(blocks: impl Iterator<Item = &'a Block>) -> Compiled {
    let codes: Vec<&str> = blocks.filter(|block| block.language == "rust").map(|block| block.code.as_str()).collect();
    let programs = compile("example", &codes)?;
    Ok(codes.into_iter().map(str::to_owned).zip(programs).collect())
}

/// Makes programs of texts in Rust, with the crates of `tests/snippets`, and says where they are; or what is lacking. `name`
/// is what they are called, with a number each.
pub fn compile(name: &str, codes: &[&str]) -> Result<Vec<PathBuf>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snippets");
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // The crates are compiled once for all of them.
    let (folder, target) = (temporary.join(name), temporary.join("snippets/target"));
    let sources = folder.join("src/bin");
    let _ = std::fs::remove_dir_all(folder.join("src"));
    std::fs::create_dir_all(&sources).unwrap();
    for file in ["Cargo.toml", "Cargo.lock"] {
        std::fs::copy(root.join(file), folder.join(file)).unwrap();
    }
    let mut programs = Vec::new();
    for (at, code) in codes.iter().enumerate() {
        std::fs::write(sources.join(format!("{name}{at}.rs")), code).unwrap();
        programs.push(target.join(format!("debug/{name}{at}")));
    }
    if cluster::on_postgres() {
        return Ok(programs);
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--offline", "--locked", "--bins"])
        .current_dir(&folder)
        .env("CARGO_TARGET_DIR", target);
    let output = cargo.output().map_err(|e| format!("cargo does not start: {e}"))?;
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    if complaints.contains("--offline") {
        return Err("their crates are not there (tests/setup fetches them)".into());
    }
    assert!(output.status.success(), "{complaints}");
    Ok(programs)
}

#[test]
fn an_answer_that_is_not_the_one_in_the_text_is_found() {
    let fit = |expected: &str, said: &str| fits("json", expected, said).is_ok();
    assert!(fit(r#"{"a":"…","b":[1]}"#, r#"{"b":[1],"a":{"x":2}}"#));
    assert!(!fit(r#"{"a":"…"}"#, r#"{"a":1,"b":2}"#) && fit(r#"{"a":"…","…":0}"#, r#"{"a":1,"b":2}"#));
    assert!(!fit(r#"{"a":[1,2]}"#, r#"{"a":[1]}"#) && !fit(r#"{"a":1}"#, r#"{"a":2}"#) && !fit("{}", "no"));
    assert!(
        fits("text", "a … c\n", "a b c\n").is_ok()
            && fits("text", "a", "a b").is_err()
            && fits("text", "b", "a b").is_err()
    );
}
