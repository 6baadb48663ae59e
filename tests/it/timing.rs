//! Nobody learns from the time of an answer who has a record here.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use usher::admins::{self, Role};
use usher::apps::{self, AppId, Kind, Settings, SignUp};
use usher::caller::Caller;
use usher::clock::Clock;
use usher::db::{IfMissing, Store, Tx};
use usher::tokens::SigningKey;
use usher::users::{self, Email, Person};

use crate::harness::{OPERATOR, skip};
use crate::program::Program;

/// How often each kind of address is asked for at a door, after some to warm up.
const TIMES: usize = 2000;
const WARM_UP: usize = 200;
/// How many mails an address is sent within an hour.
const MAILS: usize = 5;
/// How many addresses there are of each kind, for each look at a door other ones: none is asked for more often than it is
/// sent a mail.
const ADDRESSES: usize = (TIMES + WARM_UP).div_ceil(MAILS);
/// How often a door is looked at, until the machine allows for a judgement.
const ROUNDS: usize = 12;
/// Above this p-value a look says that known and unknown addresses are alike, up to the other that they are apart, and between
/// them nothing: a difference that a look calls apart every other time is called alike by one in seven, not by every other.
const ALIKE: f64 = 0.1;
const APART: f64 = 0.01;
const KINDS: [&str; 3] = ["known", "other", "control"];
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

/// What the program has, seen from beside it, and who is known there.
struct Beside {
    runtime: tokio::runtime::Runtime,
    store: Store,
}

impl Beside {
    fn of(program: &Program) -> Beside {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let location = program.folder.location();
        let store = runtime.block_on(Store::open(&location, Clock::System, IfMissing::Refuse)).unwrap();
        Beside { runtime, store }
    }

    /// An app that people sign in to and register with, and the known addresses of a round: people there, or administrators.
    fn acquaint(&self, known: &[String], administrators: bool) -> AppId {
        let signing_keys = [SigningKey::generate().unwrap(), SigningKey::generate().unwrap()];
        let known: Vec<_> = known.iter().map(|address| Email::new(address).unwrap()).collect();
        let make = move |tx: &Tx| {
            let settings = Settings { sign_up: Some(SignUp::Open), ..Settings::default() };
            let app = apps::create(tx, &settings, &signing_keys)?.id;
            let environment = apps::environment(tx, app, Kind::Sandbox)?;
            apps::add_redirect_uri(tx, OPERATOR, &environment, CALLBACK)?;
            for email in &known {
                if administrators {
                    admins::create(tx, OPERATOR, email, Role::ReadOnly)?;
                } else {
                    let person = Person { email: Some(email.clone()), ..Person::default() };
                    users::create(tx, &Caller::operator(&environment), person)?;
                }
            }
            Ok(app)
        };
        self.runtime.block_on(self.store.write(make)).unwrap()
    }

    /// How many sign-ins of known addresses an app has sent a mail for, once it has decided them all.
    fn mails(&self, app: AppId) -> usize {
        const UNDECIDED: &str = "SELECT COUNT(*) FROM sign_ins WHERE decided_at IS NULL";
        const SENT: &str = "SELECT COUNT(*) FROM sign_ins s JOIN users u ON u.id = s.user_id \
             JOIN environments e ON e.id = s.environment_id WHERE s.sent_at IS NOT NULL AND e.app_id = $1";
        let count = |sql: &'static str, of: Option<AppId>| {
            let values: Vec<_> = of.into_iter().map(usher::db::Value::from).collect();
            let rows = self.runtime.block_on(self.store.read(move |tx| tx.query(sql, &values))).unwrap();
            usize::try_from(rows[0].get::<i64>(0).unwrap()).unwrap()
        };
        let start = Instant::now();
        while count(UNDECIDED, None) > 0 {
            assert!(start.elapsed() < Duration::from_secs(30), "sign-ins wait to be decided");
            std::thread::sleep(Duration::from_millis(50));
        }
        count(SENT, Some(app))
    }
}

fn shuffle<T>(deck: &mut [T]) {
    for i in (1..deck.len()).rev() {
        let dice = u32::from_be_bytes(usher::random::bytes());
        deck.swap(i, dice as usize % (i + 1));
    }
}

/// The addresses of a round, dealt to the kinds by chance: which letters an address has takes its time too, of a build for
/// tests some microseconds, and a quiet machine shows them.
fn deal(round: usize) -> Vec<Vec<String>> {
    let mut deck: Vec<_> = (0..ADDRESSES * 3).map(|n| format!("person{n:04}@r{round:02}.doe.com")).collect();
    shuffle(&mut deck);
    deck.chunks(ADDRESSES).map(<[String]>::to_vec).collect()
}

/// A place where anybody can try an address.
struct Door {
    method: &'static str,
    /// With `{client}` for the app.
    path: String,
    /// Whether the address goes into the path; else it is in the form.
    in_path: bool,
    /// Whether digits that may have been mailed can be guessed afterwards.
    then_guess: bool,
    /// Who is known here.
    administrators: bool,
}

/// What a look at a door shows.
struct Look {
    app: AppId,
    /// How often a known address was asked for.
    known: usize,
    /// Whether known addresses are answered as unknown ones are; nothing if two kinds of unknown ones differ, for then the
    /// machine does not allow for a judgement, or if what was seen is rare by chance and not yet rare enough.
    alike: Option<bool>,
    /// The least p-value of known and unknown ones.
    p: f64,
    /// The same of two kinds of unknown ones.
    control: f64,
}

impl Door {
    /// What an address is answered here, and the guess after it.
    fn ask(&self, line: &mut Line, app: AppId, address: &str) -> Vec<Reply> {
        let (path, email) = (self.path.replace("{client}", &app.to_string()), address.replace('@', "%40"));
        let (path, form) =
            if self.in_path { (format!("{path}{email}"), String::new()) } else { (path, format!("email={email}")) };
        let asked = line.ask(self.method, &path, "", &form);
        let guessed = self.then_guess.then(|| line.ask("POST", "/sign-in/code", &asked.cookie, "code=x"));
        std::iter::once(asked).chain(guessed).collect()
    }

    fn look(&self, program: &Program, beside: &Beside, round: usize) -> Look {
        let addresses = deal(round);
        let app = beside.acquaint(&addresses[0], self.administrators);
        // One that was silent for ten seconds has been closed, and to wait for the mails of a round may take longer.
        let mut line = Line::to(program);
        let mut times: [Vec<Vec<f64>>; 3] = [const { Vec::new() }; 3];
        let mut deck: Vec<usize> = (0..TIMES * 3 + WARM_UP).map(|i| i % 3).collect();
        shuffle(&mut deck);
        let mut shapes: Vec<Vec<(String, usize)>> = Vec::new();
        let mut asked = [0; 3];
        for (i, kind) in deck.into_iter().enumerate() {
            let replies = self.ask(&mut line, app, &addresses[kind][asked[kind] % ADDRESSES]);
            asked[kind] += 1;
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
        let compare = |a: usize, b: usize| {
            let pairs = || times[a].iter().zip(&times[b]);
            let p = pairs().map(|(a, b)| kolmogorov_smirnov(a, b)).fold(1.0, f64::min);
            (p, pairs().all(|(a, b)| (median(a) - median(b)).abs() < 1.0))
        };
        let ((p, near), (control, control_near)) = (compare(0, 1), compare(1, 2));
        let alike = match p {
            _ if !control_near || control <= APART => None,
            _ if !near || p <= APART => Some(false),
            _ => (p > ALIKE).then_some(true),
        };
        Look { app, known: asked[0], alike, p, control }
    }
}

#[test]
fn a_known_address_is_answered_as_an_unknown_one_and_takes_as_long_at_every_door() {
    let program = Program::start(&[]);
    let beside = Beside::of(&program);
    let hosted = format!("/sign-in?client_id={{client}}&redirect_uri={CALLBACK}");
    let standard = format!(
        "/authorize?client_id={{client}}&redirect_uri={CALLBACK}&response_type=code&code_challenge_method=S256&code_challenge={}",
        "A".repeat(43)
    );
    let door = |method, path: &str| Door {
        method,
        path: path.to_owned(),
        in_path: false,
        then_guess: false,
        administrators: false,
    };
    let doors = [
        Door { then_guess: true, ..door("POST", &hosted) },
        door("POST", &format!("{hosted}&type=signUp")),
        door("POST", &standard),
        Door { in_path: true, ..door("GET", &format!("{standard}&login_hint=")) },
        Door { in_path: true, ..door("GET", &format!("{standard}&prompt=none&login_hint=")) },
        Door { administrators: true, ..door("POST", "/admin/sign-in") },
    ];
    for (n, door) in doors.into_iter().enumerate() {
        // One look that says alike is enough, but not after one that said apart: by chance that comes once in a hundred times,
        // so it takes two in a row then. The second that says apart ends it. So a difference that is found in every other
        // look passes in about one run of four, and none at all fails about one run of 400.
        let (mut told_apart, mut alike, mut seen) = (0, 0, String::new());
        for round in n * ROUNDS..(n + 1) * ROUNDS {
            let look = door.look(&program, &beside, round);
            if door.method == "POST" && !door.administrators {
                assert_eq!(beside.mails(look.app), look.known, "{} sends a mail each time", door.path);
            }
            write!(seen, " p={:.4} control={:.4}", look.p, look.control).unwrap();
            match look.alike {
                Some(true) => alike += 1,
                Some(false) => (told_apart, alike) = (told_apart + 1, 0),
                // The tests beside this one end some time.
                None => std::thread::sleep(Duration::from_secs(5)),
            }
            assert!(told_apart < 2, "{} {}: a known address can be told by the time:{seen}", door.method, door.path);
            if alike > told_apart {
                break;
            }
        }
        if alike <= told_apart {
            let why = format!("this machine is too busy to judge it at {} {}:{seen}", door.method, door.path);
            skip("the time of answers", &why);
        }
    }
}
