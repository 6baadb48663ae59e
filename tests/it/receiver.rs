//! The other end of a webhook: an HTTP server that keeps what it is sent and answers as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What was sent.
#[derive(Clone, Debug)]
pub struct Message {
    /// `POST /path`
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

type Answers = Arc<Mutex<Box<dyn FnMut(&Message) -> String + Send>>>;

pub struct Receiver {
    pub port: u16,
    got: Arc<Mutex<Vec<Message>>>,
    /// Bytes of any kind.
    bytes: Arc<Mutex<usize>>,
    answers: Answers,
}

/// An HTTP answer.
pub fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

impl Receiver {
    pub fn start() -> Receiver {
        Receiver::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    pub fn on(listener: TcpListener) -> Receiver {
        let receiver = Receiver {
            port: listener.local_addr().unwrap().port(),
            got: Arc::default(),
            bytes: Arc::default(),
            answers: Arc::new(Mutex::new(Box::new(|_| answer(200, "thank you")))),
        };
        let (got, bytes, answers) =
            (Arc::clone(&receiver.got), Arc::clone(&receiver.bytes), Arc::clone(&receiver.answers));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (got, bytes, answers) = (Arc::clone(&got), Arc::clone(&bytes), Arc::clone(&answers));
                std::thread::spawn(move || serve(socket, &got, &bytes, &answers));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/in", self.port)
    }

    /// From now on, every message is answered with this status.
    pub fn says(&self, status: u16) {
        self.answers(move |_| answer(status, "as told"));
    }

    pub fn answers(&self, how: impl FnMut(&Message) -> String + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(how);
    }

    pub fn got(&self) -> Vec<Message> {
        self.got.lock().unwrap().clone()
    }

    pub fn bytes(&self) -> usize {
        *self.bytes.lock().unwrap()
    }

    /// Waits until there are so many messages, and gives them. Blocks: for tests of the program.
    pub fn wait_for(&self, count: usize) -> Vec<Message> {
        let end = Instant::now() + Duration::from_secs(20);
        while self.got().len() < count {
            assert!(Instant::now() < end, "only {} of {count} messages: {:?}", self.got().len(), self.got());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.got()
    }

    /// The same beside a worker in this runtime.
    pub async fn soon(&self, count: usize) -> Vec<Message> {
        let end = Instant::now() + Duration::from_secs(20);
        while self.got().len() < count {
            assert!(Instant::now() < end, "only {} of {count} messages: {:?}", self.got().len(), self.got());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.got()
    }
}

fn serve(mut socket: TcpStream, got: &Mutex<Vec<Message>>, bytes: &Mutex<usize>, answers: &Answers) {
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let (mut line, mut headers) = (String::new(), BTreeMap::new());
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    *bytes.lock().unwrap() += line.len();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
            break;
        }
        let (name, value) = header.trim().split_once(':').unwrap();
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let line = line.trim_end_matches([' ', '\r', '\n']).trim_end_matches(" HTTP/1.1").to_owned();
    let message = Message { line, headers, body: String::from_utf8(body).unwrap() };
    let text = (answers.lock().unwrap())(&message);
    got.lock().unwrap().push(message);
    let _ = socket.write_all(text.as_bytes());
}
