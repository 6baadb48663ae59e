//! Stripe as wiremock plays it: all is well, or it fails as told.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use url::{Position, form_urlencoded};
use wiremock::matchers::{method, path_regex};
use wiremock::{Mock, MockBuilder, MockServer, Request, ResponseTemplate};

use crate::receiver::Message;

/// Making a customer.
pub const MAKE: &str = "POST /v1/customers";
/// Looking for one.
pub const SEARCH: &str = "GET /v1/customers/search";

/// What is answered.
#[derive(Clone)]
pub enum Answer {
    Given(ResponseTemplate),
    /// The connection breaks.
    Lost,
}

impl Answer {
    pub fn with(self, change: impl FnOnce(ResponseTemplate) -> ResponseTemplate) -> Answer {
        match self {
            Answer::Given(answer) => Answer::Given(change(answer)),
            Answer::Lost => Answer::Lost,
        }
    }

    pub fn late(self, by: Duration) -> Answer {
        self.with(|answer| answer.set_delay(by))
    }
}

pub fn answer(status: u16, body: Value) -> Answer {
    Answer::Given(ResponseTemplate::new(status).set_body_json(body))
}

/// What is no JSON, as proxies say it.
pub fn garbage(status: u16) -> Answer {
    Answer::Given(ResponseTemplate::new(status).set_body_string("<html>jane@doe.com"))
}

pub fn customer(n: usize) -> Answer {
    answer(200, json!({"id": format!("cus_{n}"), "object": "customer"}))
}

/// As Stripe tells of one that was there.
pub fn deleted() -> Answer {
    answer(200, json!({"id": "cus_1", "object": "customer", "deleted": true}))
}

pub fn found(customers: &[Value]) -> Answer {
    answer(200, json!({"object": "search_result", "data": customers}))
}

pub fn refused(status: u16) -> Answer {
    let message = "Invalid email address: jane@doe.com";
    let (kind, code, param) = ("invalid_request_error", "email_invalid", "email");
    answer(status, json!({"error": {"type": kind, "code": code, "param": param, "message": message}}))
}

pub struct Stripe {
    server: MockServer,
    /// The priority of what was told last: it comes before what was told earlier.
    newest: AtomicU8,
}

impl Stripe {
    /// Every new customer gets the next id, nobody is found, and all else works.
    pub async fn start() -> Stripe {
        // Not one of the pool: its next user would hear what this one's client is still saying.
        let server = MockServer::builder().start().await;
        let count = AtomicUsize::new(0);
        let next = move |_: &Request| {
            let id = format!("cus_{}", count.fetch_add(1, Relaxed) + 1);
            ResponseTemplate::new(200).set_body_json(json!({ "id": id }))
        };
        given(MAKE).respond_with(next).with_priority(u8::MAX).mount(&server).await;
        let stripe = Stripe { server, newest: AtomicU8::new(u8::MAX) };
        stripe.says("POST /v1/customers/.*", [answer(200, json!({}))]).await;
        stripe.says("DELETE /v1/customers/.*", [deleted()]).await;
        stripe.says(SEARCH, [found(&[])]).await;
        stripe
    }

    /// From now on, this customer is not there, and asking for them is answered so.
    pub async fn lacks(&self, customer: &str, asking: Answer) {
        for verb in ["POST", "DELETE"] {
            self.says(&format!("{verb} /v1/customers/{customer}"), [refused(404)]).await;
        }
        self.says(&format!("GET /v1/customers/{customer}"), [asking]).await;
    }

    /// From now on, such requests are answered so: by each answer once, and by the last for good.
    pub async fn says<const N: usize>(&self, what: &str, answers: [Answer; N]) {
        let count = u8::try_from(N).unwrap();
        let first = self.newest.fetch_sub(count, Relaxed) - count;
        for (answer, priority) in answers.into_iter().zip(first..) {
            let mock = match answer {
                Answer::Given(answer) => given(what).respond_with(answer),
                Answer::Lost => given(what).respond_with_err(|_: &Request| std::io::Error::other("lost")),
            };
            let is_last = priority == first + count - 1;
            let mock = if is_last { mock } else { mock.up_to_n_times(1) };
            mock.with_priority(priority).mount(&self.server).await;
        }
    }

    pub fn url(&self) -> String {
        self.server.uri()
    }

    pub async fn got(&self) -> Vec<Message> {
        self.server.received_requests().await.unwrap().into_iter().map(Message::from).collect()
    }

    /// Waits until there are so many requests, and gives them.
    pub async fn soon(&self, count: usize) -> Vec<Message> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let got = self.got().await;
            if got.len() >= count {
                return got;
            }
            assert!(Instant::now() < end, "only {} of {count} requests: {got:?}", got.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What was asked, without the query of a search.
    pub async fn asked(&self) -> Vec<String> {
        self.got().await.iter().map(|message| message.line.split("?query=").next().unwrap().to_owned()).collect()
    }

    /// What was told of a parameter, in order.
    pub async fn told(&self, parameter: &str) -> Vec<String> {
        let posts = self.got().await.into_iter().filter(|message| message.line.starts_with("POST"));
        posts
            .filter_map(|message| form(&message).into_iter().find(|(name, _)| name == parameter))
            .map(|(_, it)| it)
            .collect()
    }
}

/// Requests of a method and a path, which is a pattern.
fn given(what: &str) -> MockBuilder {
    let (verb, path) = what.split_once(' ').unwrap();
    Mock::given(method(verb)).and(path_regex(format!("^{path}$")))
}

impl From<Request> for Message {
    fn from(request: Request) -> Message {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        Message {
            line: format!("{} {}", request.method, &request.url[Position::BeforePath..]),
            headers: request.headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect(),
            body: text(&request.body),
        }
    }
}

/// The parameters of a form, sorted.
pub fn form(message: &Message) -> Vec<(String, String)> {
    let mut form: Vec<(String, String)> = form_urlencoded::parse(message.body.as_bytes()).into_owned().collect();
    form.sort();
    form
}
