//! Nobody learns from the time of an answer who has a record here.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{But, jane, skip};
use crate::program::Program;

/// How often each kind of address is asked for, after some to warm up.
const TIMES: usize = 2000;
const WARM_UP: usize = 200;
/// How many addresses there are of each kind.
const ADDRESSES: usize = 50;
const KINDS: [&str; 3] = ["known", "other", "third"];

/// One connection that is kept.
struct Line {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Line {
    fn to(program: &Program) -> Line {
        let stream = TcpStream::connect(program.url.trim_start_matches("http://")).unwrap();
        stream.set_nodelay(true).unwrap();
        Line { reader: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    /// How long a request takes, and the cookie that it sets.
    fn time(&mut self, path: &str, cookie: &str, form: &str) -> (Duration, String) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: usher\r\nCookie: {cookie}\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let start = Instant::now();
        self.stream.write_all(request.as_bytes()).unwrap();
        let (mut length, mut cookie, mut line) = (0, String::new(), String::new());
        while self.reader.read_line(&mut line).unwrap() > 2 {
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if lower.starts_with("set-cookie:") {
                line["set-cookie:".len()..].split(';').next().unwrap().trim().clone_into(&mut cookie);
            }
            line.clear();
        }
        self.reader.read_exact(&mut vec![0; length]).unwrap();
        (start.elapsed(), cookie)
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

#[test]
fn a_known_address_takes_as_long_as_an_unknown_one() {
    let program = Program::start(&[]);
    let callback = "https://app.example.com/callback";
    program.json(&["app", "redirect", "add", &program.client_id, callback, "--environment", "sandbox"]);
    for i in 0..ADDRESSES {
        let body = jane()
            .but("email", json!(format!("known{i:03}@doe.com")))
            .but("phonenumber", json!(format!("20255501{i:02}")));
        assert_eq!(program.enrol(&body).0, 200);
    }
    let door = format!("/sign-in?client_id={}&redirect_uri={callback}", program.client_id);
    let mut line = Line::to(&program);
    let mut told_apart = 0;
    for _ in 0..4 {
        // Both doors: naming the address, and guessing at the code that may have been sent to it.
        let mut times: [[Vec<f64>; 2]; 3] = Default::default();
        let mut deck: Vec<usize> = (0..TIMES * 3 + WARM_UP).map(|i| i % 3).collect();
        for i in (1..deck.len()).rev() {
            let dice = u32::from_be_bytes(usher::random::bytes());
            deck.swap(i, dice as usize % (i + 1));
        }
        for (i, kind) in deck.into_iter().enumerate() {
            let form = format!("email={}{:03}%40doe.com", KINDS[kind], i % ADDRESSES);
            let (begun, cookie) = line.time(&door, "", &form);
            let (guessed, _) = line.time("/sign-in/code", &cookie, "code=x");
            if i >= WARM_UP {
                times[kind][0].push(begun.as_secs_f64() * 1000.0);
                times[kind][1].push(guessed.as_secs_f64() * 1000.0);
            }
        }
        let alike = |a: usize, b: usize| {
            (0..2).all(|door| {
                let (a, b) = (&times[a][door], &times[b][door]);
                (median(a) - median(b)).abs() < 1.0 && kolmogorov_smirnov(a, b) > 0.01
            })
        };
        match (alike(1, 2), alike(0, 1)) {
            (true, true) => return,
            (true, false) => told_apart += 1,
            // Two unknown kinds differ: the machine does not allow for a judgement.
            (false, _) => {}
        }
        assert!(told_apart < 2, "a known address can be told by the time");
    }
    skip("the time of answers", "the control failed each time: this machine is too busy to judge");
}
