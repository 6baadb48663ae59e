//! Case C7: what a link begins with is what the operator said, whatever a request says of itself.

use serde_json::json;

use crate::harness::{But, jane};
use crate::program::{Program, raw};

/// How a request can lie about where it was sent to.
pub struct Lie {
    /// What stands before the path in its first line: nothing, or the origin of its absolute form.
    pub target: &'static str,
    /// Its headers.
    pub headers: &'static [(&'static str, &'static str)],
}

const fn headers(headers: &'static [(&'static str, &'static str)]) -> Lie {
    Lie { target: "", headers }
}

const HONEST: (&str, &str) = ("Host", "users.example.com");

pub const LIES: &[Lie] = &[
    headers(&[("Host", "evil.example")]),
    headers(&[("Host", "evil.example:443")]),
    headers(&[("Host", "users.example.com.evil.example")]),
    headers(&[("Host", "users.example.com@evil.example")]),
    headers(&[("Host", "")]),
    headers(&[HONEST, ("Host", "evil.example")]),
    headers(&[("Host", "evil.example"), HONEST]),
    headers(&[HONEST, ("X-Forwarded-Host", "evil.example")]),
    headers(&[HONEST, ("X-Forwarded-Host", "users.example.com, evil.example")]),
    headers(&[HONEST, ("X-Forwarded-Proto", "http")]),
    headers(&[HONEST, ("X-Forwarded-Port", "81")]),
    headers(&[HONEST, ("X-Forwarded-Prefix", "/evil.example")]),
    headers(&[HONEST, ("X-Forwarded-Server", "evil.example")]),
    headers(&[HONEST, ("Forwarded", "host=evil.example;proto=http")]),
    headers(&[HONEST, ("Forwarded", "for=1.2.3.4"), ("Forwarded", "host=\"evil.example:81\"")]),
    headers(&[HONEST, ("X-Host", "evil.example")]),
    headers(&[HONEST, ("X-Original-Host", "evil.example")]),
    headers(&[HONEST, ("X-HTTP-Host-Override", "evil.example")]),
    headers(&[HONEST, ("X-Original-URL", "https://evil.example/")]),
    headers(&[HONEST, ("X-Rewrite-URL", "https://evil.example/")]),
    headers(&[HONEST, ("Origin", "https://evil.example")]),
    headers(&[HONEST, ("Referer", "https://evil.example/")]),
    Lie { target: "http://evil.example", headers: &[HONEST] },
    Lie { target: "https://evil.example:444", headers: &[("Host", "evil.example:444")] },
];

#[test]
fn case_c7_no_header_and_no_form_of_a_request_decides_what_a_link_begins_with() {
    assert!(LIES.len() >= 20, "{}", LIES.len());
    let server = Program::start(&["--public-url", "https://users.example.com"]);
    let mut mails = 0;
    for (i, lie) in LIES.iter().enumerate() {
        let lies: String = lie.headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect();
        let body = jane()
            .but("email", json!(format!("jane{i}@doe.com")))
            .but("phonenumber", json!(format!("20255501{i:02}")))
            .to_string();
        let create = format!(
            "POST {}/users/create HTTP/1.1\r\n{lies}Connection: close\r\nAuthorization: Bearer {}\r\nContent-Length: {}\r\n\r\n{body}",
            lie.target,
            server.key,
            body.len()
        );
        let (head, text) = raw(&server.url, create.as_bytes());
        assert!(head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.1 400"), "{lies}{head}{text}");
        mails += usize::from(head.starts_with("HTTP/1.1 200"));
        let told =
            format!("GET {}/.well-known/openid-configuration HTTP/1.1\r\n{lies}Connection: close\r\n\r\n", lie.target);
        let (head, text) = raw(&server.url, told.as_bytes());
        assert!(!text.contains("evil") && !head.contains("evil"), "{lies}{head}{text}");
    }
    assert!(mails >= 20, "{mails} were enrolled");
    let sent = server.json(&["mail", "list", "--limit", "100"]).as_array().unwrap().clone();
    assert_eq!(sent.len(), mails);
    for mail in sent {
        let mail = server.json(&["mail", "show", mail["id"].as_str().unwrap()]);
        let link = mail["links"][0].as_str().unwrap();
        assert!(link.starts_with("https://users.example.com/links/"), "{link}");
        assert!(!mail.to_string().contains("evil"), "{mail}");
    }
}
