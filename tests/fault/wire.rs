//! HTTP as callers speak it: kept connections, broken ones, and many requests at the same moment.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{But, jane};

/// A request.
#[derive(Clone)]
pub struct Call {
    head: String,
    body: String,
}

impl Call {
    pub fn new(method: &str, path: &str, body: &Value) -> Call {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Call { head: format!("{method} {path} HTTP/1.1\r\nHost: usher\r\nContent-Length: {}\r\n", body.len()), body }
    }

    pub fn get(path: &str) -> Call {
        Call::new("GET", path, &Value::Null)
    }

    /// The creation of a person by a partner.
    pub fn create(key: &str, person: &Value) -> Call {
        Call::new("POST", "/users/create", person).by(key)
    }

    pub fn with(self, name: &str, value: &str) -> Call {
        Call { head: format!("{}{name}: {value}\r\n", self.head), ..self }
    }

    pub fn by(self, key: &str) -> Call {
        self.with("Authorization", &format!("Bearer {key}"))
    }

    pub fn once(self, key: &str) -> Call {
        self.with("Idempotency-Key", key)
    }

    pub fn bytes(&self) -> Vec<u8> {
        format!("{}\r\n{}", self.head, self.body).into_bytes()
    }

    /// Sends it on a connection of its own.
    pub fn send(&self, url: &str) -> io::Result<Answer> {
        Line::to(url)?.send(self)
    }
}

/// Person number `id`, whose e-mail address and phone number are theirs alone.
pub fn person(id: u64) -> Value {
    jane().but("email", json!(email(id))).but("phonenumber", json!((2_000_000_000 + id).to_string()))
}

pub fn email(id: u64) -> String {
    format!("p{id}@doe.com")
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The id of the user that was created.
    pub fn identifier(&self) -> String {
        self.json()["identifier"].as_str().unwrap_or_else(|| panic!("no identifier: {self:?}")).to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let of_that_name = |line: &&str| line.split(':').next().is_some_and(|given| given.eq_ignore_ascii_case(name));
        self.head.lines().find(of_that_name).map(|line| line[name.len() + 1..].trim())
    }

    pub fn replayed(&self) -> bool {
        self.header("idempotent-replayed") == Some("true")
    }
}

/// A connection that is kept.
pub struct Line(BufReader<TcpStream>);

impl Line {
    pub fn to(url: &str) -> io::Result<Line> {
        let socket = TcpStream::connect(url.trim_start_matches("http://"))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(40)))?;
        Ok(Line(BufReader::new(socket)))
    }

    pub fn send(&mut self, call: &Call) -> io::Result<Answer> {
        self.write(&call.bytes())?;
        self.read()
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// The next answer, if it arrives whole.
    pub fn read(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        answer.body = String::from_utf8(body).map_err(|_| ErrorKind::InvalidData)?;
        Ok(answer)
    }

    pub fn into_socket(self) -> TcpStream {
        self.0.into_inner()
    }
}

/// Requests that stand ready on connections of their own, but for the last byte of each.
pub struct Volley(Vec<(Line, u8)>);

impl Volley {
    pub fn ready<'a>(calls: impl IntoIterator<Item = (&'a str, Call)>) -> Volley {
        let prepare = |(url, call): (&str, Call)| {
            let mut bytes = call.bytes();
            let last = bytes.pop().unwrap();
            let mut line = Line::to(url).unwrap();
            line.write(&bytes).unwrap();
            (line, last)
        };
        Volley(calls.into_iter().map(prepare).collect())
    }

    /// Releases them all at once.
    pub fn release(mut self) -> Vec<io::Result<Answer>> {
        for (line, last) in &mut self.0 {
            // Whoever was hung up on reads that.
            let _ = line.write(&[*last]);
        }
        self.0.into_iter().map(|(mut line, _)| line.read()).collect()
    }
}

/// Sends requests at the same moment; every one must be answered.
pub fn volley<'a>(calls: impl IntoIterator<Item = (&'a str, Call)>) -> Vec<Answer> {
    let volley = Volley::ready(calls);
    std::thread::sleep(Duration::from_millis(50));
    volley.release().into_iter().map(|answer| answer.expect("an answer")).collect()
}

/// Tells those who go on until told otherwise to stop, also when what they accompany fails.
pub struct Stop<'a>(pub &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How many answers have that status.
pub fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}
