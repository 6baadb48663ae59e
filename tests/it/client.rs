//! Who calls the app under test: requests, answers, and the persons that they are about.

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use usher::api::Peer;
use usher::app::App;

/// Someone who calls the app, with the headers they send.
#[derive(Clone)]
pub struct Client<'a> {
    server: &'a App,
    headers: Vec<(String, String)>,
    peer: Option<Peer>,
}

impl<'a> Client<'a> {
    /// Who sends nothing about themselves.
    pub fn of(server: &'a App) -> Self {
        Client { server, headers: Vec::new(), peer: None }
    }

    /// The same caller at another server of the same installation.
    pub fn at(&self, server: &'a App) -> Self {
        Client { server, ..self.clone() }
    }

    /// The same caller with one more header.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The same caller from that address.
    pub fn from(&self, address: &str) -> Self {
        Client { peer: Some(Peer(address.parse().unwrap())), ..self.clone() }
    }

    /// The same caller with another value of a header.
    pub fn instead(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.retain(|(n, _)| n != name);
        client.with(name, value)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, String::new()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Value>) -> Answer {
        self.send("POST", path, body.into().to_string()).await
    }

    /// What is no text, with its headers.
    pub async fn bytes(&self, path: &str) -> (HeaderMap, Vec<u8>) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let (parts, body) = self.server.server().call(request).await.into_parts();
        assert_eq!(parts.status, 200, "{path}");
        (parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    /// The parts in which the answer to a form without fields comes.
    pub async fn parts(&self, path: &str) -> Vec<String> {
        let mut request = Request::builder().method("POST").uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut body = self.server.server().call(request.body(Body::empty()).unwrap()).await.into_body();
        let mut parts = Vec::new();
        while let Some(frame) = body.frame().await {
            parts.push(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap());
        }
        parts
    }

    pub async fn put(&self, path: &str, body: impl Into<Value>) -> Answer {
        self.send("PUT", path, body.into().to_string()).await
    }

    pub async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let (parts, body) = self.begin(method, path, body).await.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status: parts.status.as_u16(), headers: parts.headers, body, text }
    }

    /// The answer, whose body is yet to be read.
    pub async fn begin(&self, method: &str, path: &str, body: impl Into<Body>) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(peer) = self.peer {
            request = request.extension(peer);
        }
        self.server.server().call(request.body(body.into()).unwrap()).await
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// Fails unless it is a 200.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text);
        self
    }

    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The error text of the directory API.
    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.body["identifier"].as_str().expect("an identifier")
    }

    /// The fields at fault, in order.
    pub fn fields(&self) -> Vec<&str> {
        self.body["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The seed's example person (`partner-create-user`, payload example).
pub fn jane() -> Value {
    json!({
        "email": "jane@doe.com",
        "firstname": "jane",
        "lastname": "doe",
        "phonenumber": "1234567890",
        "dateOfBirth": "1990-12-23",
        "gender": "female",
        "height": "5ft 6in",
        "pregnant": false,
        "diabetes": 0,
        "glp1drugs": false,
        "paymentPlan": 1,
        "planStartDate": "2023-10-30",
        "medicalClearance": "full",
        "medicalClearanceDescription": "Yes, provided medical clearance",
        "currentWeight": 130,
        "desiredWeight": 110,
        "allergies": "no allergies",
        "nutritionPreferences": "vegan, gluten free",
        "religiousDietaryRestrictions": "no pork",
        "doctorFullname": "Dr. Mike Smith",
        "metadata": {"key": "value"}
    })
}

/// Another person than [`jane`].
pub fn john() -> Value {
    jane().but("email", json!("john@doe.com")).but("phonenumber", json!("2025550123"))
}

/// Small changes to a JSON object.
pub trait But {
    fn but(self, name: &str, value: Value) -> Value;
    fn without(self, name: &str) -> Value;
    fn map(&mut self) -> &mut Map<String, Value>;
}

impl But for Value {
    fn but(mut self, name: &str, value: Value) -> Value {
        self.map().insert(name.to_owned(), value);
        self
    }
    fn without(mut self, name: &str) -> Value {
        self.map().shift_remove(name);
        self
    }
    fn map(&mut self) -> &mut Map<String, Value> {
        self.as_object_mut().unwrap()
    }
}
