//! Nobody learns from the time of an answer who has a record here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::json;

use crate::harness::{But, jane, skip};
use crate::program::Program;

/// How often each kind of address is asked for at a door, after some to warm up.
const TIMES: usize = 2000;
const WARM_UP: usize = 200;
/// How many addresses there are of each kind.
const ADDRESSES: usize = 50;
const KINDS: [&str; 3] = ["known", "other", "third"];
const CALLBACK: &str = "https://app.example.com/callback";

/// One connection that is kept.
struct Line {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

/// What came back.
#[derive(Default)]
struct Reply {
    /// In milliseconds.
    took: f64,
    /// The status, the names of the headers and how long they are, and how long the body is.
    shape: Vec<(String, usize)>,
    cookie: String,
}

impl Line {
    fn to(program: &Program) -> Line {
        let stream = TcpStream::connect(program.url.trim_start_matches("http://")).unwrap();
        stream.set_nodelay(true).unwrap();
        Line { reader: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    fn ask(&mut self, method: &str, path: &str, cookie: &str, form: &str) -> Reply {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: usher\r\nCookie: {cookie}\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let start = Instant::now();
        self.stream.write_all(request.as_bytes()).unwrap();
        let (mut length, mut reply, mut line) = (0, Reply::default(), String::new());
        while self.reader.read_line(&mut line).unwrap() > 2 {
            let (name, value) = line.trim().split_once(':').unwrap_or((line.trim(), ""));
            reply.shape.push((name.to_ascii_lowercase(), value.len()));
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "set-cookie" => value.split(';').next().unwrap().trim().clone_into(&mut reply.cookie),
                _ => {}
            }
            line.clear();
        }
        self.reader.read_exact(&mut vec![0; length]).unwrap();
        reply.took = start.elapsed().as_secs_f64() * 1000.0;
        reply.shape.push(("body".into(), length));
        reply
    }
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The p-value of the two-sample Kolmogorov-Smirnov test.
#[expect(clippy::cast_precision_loss, reason = "a few thousand")]
fn kolmogorov_smirnov(a: &[f64], b: &[f64]) -> f64 {
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    let below = |times: &[f64], at: f64| times.partition_point(|time| *time <= at) as f64 / times.len() as f64;
    let distance = a.iter().chain(&b).map(|at| (below(&a, *at) - below(&b, *at)).abs()).fold(0.0, f64::max);
    let size = ((a.len() * b.len()) as f64 / (a.len() + b.len()) as f64).sqrt();
    let lambda = (size + 0.12 + 0.11 / size) * distance;
    let sum: f64 = (1..100)
        .map(|k| f64::from(if k % 2 == 1 { 2 } else { -2 }) * (-2.0 * (f64::from(k) * lambda).powi(2)).exp())
        .sum();
    if lambda < 0.2 { 1.0 } else { sum.clamp(0.0, 1.0) }
}

#[test]
fn the_comparison_tells_two_kinds_from_one() {
    let spread = |start: u32| (0..2000).map(|i| f64::from(i * 7919 % 2000 + start)).collect::<Vec<f64>>();
    assert!(kolmogorov_smirnov(&spread(0), &spread(1)) > 0.9);
    assert!(kolmogorov_smirnov(&spread(0), &spread(150)) < 0.01);
}

/// A place where anybody can try an address.
struct Door {
    method: &'static str,
    path: String,
    /// Whether the address goes into the path; else it is in the form.
    in_path: bool,
    /// Whether digits that may have been mailed can be guessed afterwards.
    then_guess: bool,
}

impl Door {
    /// What an address is answered here, and the guess after it.
    fn ask(&self, line: &mut Line, email: &str) -> Vec<Reply> {
        let (path, form) = if self.in_path {
            (format!("{}{email}", self.path), String::new())
        } else {
            (self.path.clone(), format!("email={email}"))
        };
        let asked = line.ask(self.method, &path, "", &form);
        let guessed = self.then_guess.then(|| line.ask("POST", "/sign-in/code", &asked.cookie, "code=x"));
        std::iter::once(asked).chain(guessed).collect()
    }

    /// Whether known addresses are answered as unknown ones are; nothing if two kinds of unknown ones differ, for then the
    /// machine does not allow for a judgement.
    fn judge(&self, line: &mut Line) -> Option<bool> {
        let mut times: [Vec<Vec<f64>>; 3] = [const { Vec::new() }; 3];
        let mut deck: Vec<usize> = (0..TIMES * 3 + WARM_UP).map(|i| i % 3).collect();
        for i in (1..deck.len()).rev() {
            let dice = u32::from_be_bytes(usher::random::bytes());
            deck.swap(i, dice as usize % (i + 1));
        }
        let mut shapes: Vec<Vec<(String, usize)>> = Vec::new();
        for (i, kind) in deck.into_iter().enumerate() {
            let replies = self.ask(line, &format!("{}{:03}%40doe.com", KINDS[kind], i % ADDRESSES));
            times[kind].resize(replies.len(), Vec::new());
            shapes.resize(replies.len(), Vec::new());
            for (n, reply) in replies.into_iter().enumerate() {
                if shapes[n].is_empty() {
                    shapes[n].clone_from(&reply.shape);
                }
                assert_eq!(reply.shape, shapes[n], "{} {} {}", self.method, self.path, KINDS[kind]);
                if i >= WARM_UP {
                    times[kind][n].push(reply.took);
                }
            }
        }
        let alike = |a: usize, b: usize| {
            times[a]
                .iter()
                .zip(&times[b])
                .all(|(a, b)| (median(a) - median(b)).abs() < 1.0 && kolmogorov_smirnov(a, b) > 0.01)
        };
        alike(1, 2).then(|| alike(0, 1))
    }
}

#[test]
fn a_known_address_is_answered_as_an_unknown_one_and_takes_as_long_at_every_door() {
    let program = Program::start(&[]);
    let client = &program.client_id;
    program.json(&["app", "redirect", "add", client, CALLBACK, "--environment", "sandbox"]);
    program.json(&["app", "update", client, "--environment", "sandbox", "--sign-up", "open"]);
    for i in 0..ADDRESSES {
        let body = jane()
            .but("email", json!(format!("known{i:03}@doe.com")))
            .but("phonenumber", json!(format!("20255501{i:02}")));
        assert_eq!(program.enrol(&body).0, 200);
        if i % 10 == 0 {
            program.json(&["admin", "create", &format!("known{i:03}@doe.com"), "--role", "read_only"]);
        }
    }
    let hosted = format!("/sign-in?client_id={client}&redirect_uri={CALLBACK}");
    let standard = format!(
        "/authorize?client_id={client}&redirect_uri={CALLBACK}&response_type=code&code_challenge_method=S256&code_challenge={}",
        "A".repeat(43)
    );
    let door = |method, path: &str| Door { method, path: path.to_owned(), in_path: false, then_guess: false };
    let doors = [
        Door { then_guess: true, ..door("POST", &hosted) },
        door("POST", &format!("{hosted}&type=signUp")),
        door("POST", &standard),
        Door { in_path: true, ..door("GET", &format!("{standard}&login_hint=")) },
        Door { in_path: true, ..door("GET", &format!("{standard}&prompt=none&login_hint=")) },
        door("POST", "/admin/sign-in"),
    ];
    let mut line = Line::to(&program);
    for door in doors {
        let (mut told_apart, mut judged) = (0, false);
        for _ in 0..4 {
            match door.judge(&mut line) {
                Some(true) => judged = true,
                Some(false) => told_apart += 1,
                None => {}
            }
            if judged {
                break;
            }
            assert!(told_apart < 2, "{} {}: a known address can be told by the time", door.method, door.path);
        }
        if !judged {
            skip("the time of answers", "the control failed each time: this machine is too busy to judge");
        }
    }
}
