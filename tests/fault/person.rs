//! One person whom many want to change, or to be, at once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::case::Case;
use crate::harness::But;
use crate::site::{Server, Site};
use crate::wire::{Answer, Call, count, person, volley};

const FIELDS: [&str; 8] =
    ["name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture"];

/// Changes of different fields, of the metadata, and under one entity tag, at two servers.
pub fn changes(case: &mut Case) {
    let site = Site::new();
    let servers = [site.serve(), site.serve()];
    let id = Call::create(&site.sandbox, &person(1)).send(&servers[0].url).unwrap().identifier();
    let at = |n: usize| servers[n % 2].url.as_str();
    let put = |user: Value| {
        let call = Call::new("PUT", &format!("/v1/users/{id}"), &json!({ "user": user }));
        call.with("X-API-KEY", &site.sandbox).with("X-API-KEY-TYPE", "write").with("X-CLIENT-ID", &site.client_id)
    };
    let writers: usize = case.pick(100, 200);

    let value = |n: usize| format!("value {n}");
    let answers = volley((0..writers).map(|n| (at(n), put(json!({FIELDS[n % 8]: value(n)})))));
    let mut order: Vec<(u64, usize)> = (0..).zip(&answers).map(|(n, answer)| (version(answer), n)).collect();
    order.sort_unstable();
    assert!(order.windows(2).all(|pair| pair[0].0 < pair[1].0), "two changes made one version");
    let shown = site.run(&["user", "show", &id]);
    for (place, field) in FIELDS.iter().enumerate() {
        let last = order.iter().rfind(|(_, n)| n % 8 == place).unwrap().1;
        assert_eq!(shown["profile"][field], json!(value(last)), "{field} is not as its last writer left it");
    }

    let metadata = |n: usize| json!({"writer": n, format!("only{n}"): {"n": [n, n]}});
    let update = |n: usize| {
        let body = json!({"email": person(1)["email"], "metadata": metadata(n)});
        Call::new("POST", "/users/update", &body).by(&site.sandbox)
    };
    let answers = volley((0..writers).map(|n| (at(n), update(n))));
    assert!((0..).zip(&answers).all(|(n, answer)| answer.json()["data"]["metadata"] == metadata(n)));
    let last = (0..writers).max_by_key(|n| version(&answers[*n])).unwrap();
    let stored = site.run(&["user", "show", &id, "--reveal", "a test"])["health"]["metadata"].clone();
    assert_eq!(stored, metadata(last), "the metadata is one writer's, whole");

    let tag = answers[last].header("etag").unwrap();
    let answers = volley((0..writers).map(|n| (at(n), put(json!({"nickname": value(n)})).with("If-Match", tag))));
    assert_eq!((count(&answers, 200), count(&answers, 412)), (1, writers - 1), "one wins under one tag");
    case.note("changes", 3 * writers);
}

/// The number of changes that an entity tag stands for.
#[track_caller]
fn version(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("etag").unwrap().split('.').nth(1).unwrap().parse().unwrap()
}

/// Everybody presses the button of one link at once.
pub fn followers(case: &mut Case) {
    let site = Site::new();
    let servers = [site.serve(), site.serve()];
    let (rounds, followers) = (case.pick(3, 20), 100);
    for round in 0..rounds {
        let body = person(round).but("firstname", json!("Jane"));
        assert_eq!(Call::create(&site.sandbox, &body).send(&servers[0].url).unwrap().status, 200);
        let mail = site.run(&["mail", "show"]);
        let link = mail["links"][0].as_str().unwrap();
        let path = &link[link.find("/links/").unwrap()..];
        let call = Call::new("POST", path, &json!({}));
        let answers = volley((0..followers).map(|n| (servers[n % 2].url.as_str(), call.clone())));
        let cookies: BTreeSet<_> = answers.iter().filter_map(|answer| answer.header("set-cookie")).collect();
        assert_eq!((count(&answers, 303), cookies.len()), (1, 1), "who was let in");
        assert_eq!(count(&answers, 410), followers - 1);
        let refused: BTreeSet<_> = answers.iter().filter(|a| a.status == 410).map(|a| &a.body).collect();
        assert_eq!(refused.len(), 1, "the others are told the same");
        assert_eq!(site.count("sessions"), usize::try_from(round).unwrap() + 1);
        let noted = |result: &str| site.count(&format!("audit WHERE action = 'link.followed' AND result = '{result}'"));
        let rounds = usize::try_from(round).unwrap() + 1;
        assert_eq!((noted("done"), noted("link_used")), (rounds, rounds * (followers - 1)), "in the audit trail");
        case.note("posts", followers);
    }
    servers.into_iter().for_each(Server::stop);
}
