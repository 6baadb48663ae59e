//! Uniqueness and idempotency among callers at several servers.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::case::Case;
use crate::harness::But;
use crate::site::{Server, Site};
use crate::wire::{Answer, Call, Line, count, person, volley};

fn two(site: &Site) -> [Server; 2] {
    [site.serve(), site.serve()]
}

/// One address, or one phone number, in six spellings, in both environments, at two servers, at once.
pub fn creates(case: &mut Case) {
    let emails = ["jane@doe.com", "JANE@doe.com", " jane@doe.com", "Jane@Doe.Com ", "ｊａｎｅ@doe.com", "jANE@DOE.COM"];
    let phones =
        ["1234567890", "+1 123 456 7890", "(123) 456-7890", "123.456.7890", " 123-456-7890", "+1 (123) 456.7890"];
    for (field, spellings, text) in
        [("email", emails, "Email already exists"), ("phonenumber", phones, "Phone number already exists")]
    {
        let site = Site::new();
        let servers = two(&site);
        let callers: usize = case.pick(240, 1000);
        let calls = (0..callers).map(|n| {
            let key = [&site.sandbox, &site.live][n % 2];
            let body = person(n as u64).but(field, json!(spellings[n / 4 % 6]));
            (servers[n / 2 % 2].url.as_str(), Call::create(key, &body))
        });
        let answers = volley(calls);
        for environment in 0..2 {
            let own: Vec<Answer> = answers.iter().skip(environment).step_by(2).cloned().collect();
            assert_eq!(count(&own, 200), 1, "successes by {field} in one environment");
            let refused = own.iter().filter(|answer| (answer.status, answer.message().as_str()) == (409, text));
            assert_eq!(refused.count(), own.len() - 1, "{:?}", own.iter().find(|a| ![200, 409].contains(&a.status)));
        }
        assert_eq!((site.count("users"), site.count("outbox")), (2, 2), "by {field}: rows, mails");
        site.assert_whole();
        case.note("callers", callers);
    }
}

/// One request many times at once, and what a crash between commit and answer leaves of it.
pub fn identical(case: &mut Case) {
    let site = Site::new();
    let servers = two(&site);
    let sends = 100;
    for round in 0..case.pick(3, 20) {
        let call = Call::create(&site.sandbox, &person(round)).once(&format!("round-{round}"));
        let answers = volley((0..sends).map(|n| (servers[n % 2].url.as_str(), call.clone())));
        let first: Vec<&Answer> = answers.iter().filter(|answer| !answer.replayed()).collect();
        assert_eq!((count(&answers, 200), first.len()), (sends, 1), "{first:?}");
        assert!(answers.iter().all(|answer| answer.body == first[0].body), "replays differ");
        assert!(answers.iter().all(|answer| answer.header("etag") == first[0].header("etag")), "replays differ");
        case.note("sent", sends);
    }
    assert_eq!(site.count("users"), site.count("outbox"));

    let [server, _other] = servers;
    let (mut server, mut between) = (server, 0);
    for round in 0..case.pick(4, 50) {
        let create = |n: u64| {
            let id = 1000 + round * 10 + n;
            Call::create(&site.sandbox, &person(id)).once(&format!("person-{id}"))
        };
        let mut lines: Vec<Line> = (0..10).map(|_| Line::to(&server.url).unwrap()).collect();
        for (n, line) in (0..).zip(&mut lines) {
            line.write(&create(n).bytes()).unwrap();
        }
        if round % 2 == 0 {
            let (first, last) = (1000 + round * 10, 1009 + round * 10);
            let start = Instant::now();
            while site.count(&format!("users WHERE email >= 'p{first}@' AND email < 'p{last}~'")) == 0 {
                assert!(start.elapsed() < Duration::from_secs(5), "nothing was committed");
            }
        } else {
            sleep(Duration::from_micros(case.dice(0..30_000)));
        }
        server.kill();
        server = site.serve();
        let stored = site.persons();
        for (n, mut line) in (0..10).zip(lines) {
            let told = line.read().is_ok_and(|answer| answer.status == 200);
            let answer = create(n).send(&server.url).unwrap();
            let there = stored.contains(&(1000 + round * 10 + n));
            assert!(there || !told, "acknowledged and gone");
            assert_eq!((answer.status, answer.replayed()), (200, there), "{answer:?}");
            case.note("stored before a kill", usize::from(there));
            case.note("of which not answered before it", usize::from(there && !told));
            between += usize::from(there && !told);
        }
        case.note("kills", 1);
    }
    assert!(between > 0 || case.pick(true, false), "no kill fell between a commit and its answer");
    site.assert_whole();
}

/// The same key with another body, and with the same body in another spelling.
pub fn other_payloads(case: &mut Case) {
    let site = Site::new();
    let servers = two(&site);
    for n in 0..case.pick(20, 200) {
        let send = |at: usize, body: &str| {
            let head = format!("POST /users/create HTTP/1.1\r\nHost: usher\r\nIdempotency-Key: \"{n}\"\r\n");
            let key = &site.sandbox;
            let head = format!("{head}Authorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n", body.len());
            let mut line = Line::to(&servers[at].url).unwrap();
            line.write(format!("{head}{body}").as_bytes()).unwrap();
            line.read().unwrap()
        };
        let body = person(n).but("metadata", json!({"a": [1, {"b": 2, "c": 3}], "d": "ü"}));
        let first = send(0, &body.to_string());
        assert_eq!((first.status, first.replayed()), (200, false), "{first:?}");
        let again = send(1, &respelled(&body));
        assert_eq!((again.status, again.replayed(), &again.body), (200, true, &first.body));
        let field = ["pregnant", "desiredWeight", "allergies", "metadata"][usize::try_from(case.dice(0..4)).unwrap()];
        let another = body.clone().but("metadata", json!({"a": [{"b": 2, "c": 3}, 1], "d": "ü"}));
        for other in [body.clone().without(field), body.clone().but("unknown", json!(n)), another] {
            let refused = send(1, &other.to_string());
            assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("idempotency_key_reused")));
            assert!(!refused.replayed() && !refused.body.contains(&first.identifier()));
        }
        case.note("keys", 1);
    }
    assert_eq!(site.count("users"), site.count("outbox"));
}

/// The same JSON: keys the other way round, white space, escapes.
fn respelled(body: &Value) -> String {
    let object = body.as_object().unwrap();
    let entries = object.iter().rev().map(|(key, value)| match value {
        Value::Object(_) => format!("\n\t\"{key}\" :  {}", respelled(value)),
        Value::String(text) => format!("\"{key}\":{}", Value::from(text.as_str()).to_string().replace('ü', "\\u00fc")),
        other => format!(" \"{key}\": {other} "),
    });
    format!(" {{ {} }} ", entries.collect::<Vec<_>>().join(" ,\r\n"))
}

/// One key, sent by other tenants, with other API keys, in the other environment and to another path.
pub fn other_owners(case: &mut Case) {
    let site = Site::new();
    let servers = two(&site);
    let [north, south] = ["north", "south"].map(|tenant| site.key("sandbox", &["--tenant", tenant]));
    let rounds = case.pick(10, 100);
    for n in 0..rounds {
        let create = |by: &str, at: usize| {
            Call::create(by, &person(n)).once(&format!("key-{n}")).send(&servers[at].url).unwrap()
        };
        let first = create(&north, 0);
        assert_eq!(first.status, 200, "{first:?}");
        for other in [&south, &site.sandbox] {
            let answer = create(other, 1);
            assert_eq!((answer.status, answer.message().as_str()), (409, "Email already exists"), "another's answer");
            assert!(!answer.body.contains(&first.identifier()));
        }
        let live = create(&site.live, 1);
        assert_eq!((live.status, live.replayed()), (200, false), "the other environment is another world");
        let update = Call::new("POST", "/users/update", &person(n)).by(&north).once(&format!("key-{n}"));
        let update = update.send(&servers[1].url).unwrap();
        assert_eq!((update.status, update.replayed()), (200, false), "another path: {update:?}");
        let again = create(&north, 1);
        assert_eq!((again.replayed(), again.body), (true, first.body));
        case.note("keys", 1);
    }
    assert_eq!(site.count("users"), 2 * usize::try_from(rounds).unwrap());
}
