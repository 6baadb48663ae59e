//! The real binary as a child process, with its server on a free port.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Folder, reveals};

/// A running `usher serve`.
pub struct Program {
    pub url: String,
    pub key: String,
    pub client_id: String,
    /// Where the first administrator is made; only a first start says so.
    pub setup: String,
    pub folder: Folder,
    child: Child,
    log: Option<std::thread::JoinHandle<String>>,
}

/// What a first start left, made once and copied for every test that is not about it: signing keys take a while to make. All
/// copies have the same keys, so a test of two installations needs a first start of the second.
struct FirstStart {
    folder: Folder,
    key: String,
    client_id: String,
}

fn first_start() -> &'static FirstStart {
    static DONE: OnceLock<FirstStart> = OnceLock::new();
    DONE.get_or_init(|| {
        let program = Program::first_start(&[]);
        let (key, client_id) = (program.key.clone(), program.client_id.clone());
        FirstStart { folder: program.stop().2, key, client_id }
    })
}

impl Program {
    /// A server on what a first start left.
    pub fn start(extra: &[&str]) -> Program {
        Program::start_set(&[], extra)
    }

    /// The same, with settings from outside.
    pub fn start_set(variables: &[(&str, &str)], extra: &[&str]) -> Program {
        let first = first_start();
        let mut program = Program::start_with(Folder::copy_of(&first.folder), variables, extra);
        program.key.clone_from(&first.key);
        program.client_id.clone_from(&first.client_id);
        program
    }

    /// A first start in an empty directory.
    pub fn first_start(extra: &[&str]) -> Program {
        Program::start_in(Folder::new(), extra)
    }

    pub fn start_in(folder: Folder, extra: &[&str]) -> Program {
        Program::start_with(folder, &[], extra)
    }

    /// With settings from outside; `{url}` in them is the server's.
    pub fn start_with(folder: Folder, variables: &[(&str, &str)], extra: &[&str]) -> Program {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let mut child = usher(&folder)
            .args(["serve", "--json", "--log-format", "json", "--listen", &format!("127.0.0.1:{port}")])
            .args(extra.iter().map(|text| text.replace("{url}", &url)))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut log = String::new();
            let _ = stderr.read_to_string(&mut log);
            if let Some((line, what)) = log.lines().find_map(|line| reveals(line).map(|what| (line, what))) {
                eprintln!("the log holds {what:?}: {line}");
                std::process::exit(1);
            }
            log
        });
        let banner: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("the server did not start: {line}")
        });
        let text = |name: &str| banner[name].as_str().unwrap_or_default().to_owned();
        Program {
            url,
            key: text("key"),
            client_id: text("clientId"),
            setup: text("setup"),
            folder,
            child,
            log: Some(log),
        }
    }

    /// Runs another command on the same data.
    pub fn run(&self, arguments: &[&str]) -> Output {
        usher(&self.folder).args(arguments).output().unwrap()
    }

    /// The JSON that a command prints.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Enrols a person over HTTP.
    pub fn enrol(&self, body: &Value) -> (u16, Value) {
        self.call("POST", "/users/create", body)
    }

    pub fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.call_as(&self.key, method, path, body)
    }

    pub fn call_as(&self, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
        call(&self.url, key, method, path, body)
    }

    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// Stops the server as an operator would and gives its exit code and its log.
    pub fn stop(self) -> (Option<i32>, String, Folder) {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until the server has ended by itself.
    pub fn wait(mut self) -> (Option<i32>, String, Folder) {
        let code = self.child.wait().unwrap().code();
        let log = self.log.take().unwrap().join().unwrap();
        (code, log, std::mem::replace(&mut self.folder, Folder::new()))
    }

    /// Ends the server as a power cut would, and gives its directory.
    pub fn kill(mut self) -> Folder {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, Folder::new())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The watch over the log ends the test run when it finds something, so it must get to the last line.
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}

/// A port that nobody listens at, of those that the system does not give to connections: another test's could be on one of
/// these before the program listens there. No port is given twice, for the program that it was given to may not listen yet.
pub fn free_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(u16::from_le_bytes(usher::random::bytes())));
    loop {
        let port = 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 22_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The program with its data in `folder` and no settings from outside.
pub fn usher(folder: &Folder) -> Command {
    let program = std::env::var_os("USHER_FAULT_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_usher").into());
    let mut command = Command::new(program);
    command.env_clear().env("USHER_DATA", &folder.0).current_dir(&folder.0);
    command.envs(folder.database().map(|url| ("USHER_DATABASE", url)));
    command
}

/// Sends a request with a key to the server of `url`, and gives the status and the JSON of the answer.
pub fn call(url: &str, key: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{body}",
        body.to_string().len()
    );
    let (head, text) = raw(url, request.as_bytes());
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, serde_json::from_str(&text).unwrap_or(Value::Null))
}

/// Sends bytes to the server of `url` and gives the head and the body of the answer; nothing if the server is gone.
pub fn raw(url: &str, request: &[u8]) -> (String, String) {
    use std::io::Write;
    let mut answer = Vec::new();
    if let Ok(mut socket) = std::net::TcpStream::connect(url.trim_start_matches("http://")) {
        socket.set_read_timeout(Some(Duration::from_secs(45))).unwrap();
        let _ = socket.write_all(request).and_then(|()| socket.read_to_end(&mut answer));
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}
