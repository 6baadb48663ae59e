//! Case C8: no webhook leads inside, however its address is written, and nobody can tell what is there.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use usher::outbound::{Client, Reach};
use usher::webhooks::Address;

use crate::harness::Folder;
use crate::program::Program;
use crate::receiver::{Receiver, answer};

/// What an endpoint's address may be and must not reach. `{port}` is where somebody listens.
const INSIDE: &[&str] = &[
    "http://127.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.127.127.127:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f.1:{port}/",
    "http://0x7f000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://017700000001:{port}/",
    "http://0x7f.0x0.0x0.0x1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://%6cocalhost:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://①②⑦.0.0.1:{port}/",
    "http://127。0。0。1:{port}/",
    "https://127.0.0.1:{port}/",
    "https://localhost:{port}/",
    "http://rebind.example:{port}/",
    "http://inside.example:{port}/",
    "http://both.example:{port}/",
    "http://10.0.0.1/",
    "http://10.255.255.255:{port}/",
    "http://100.64.0.1/",
    "http://100.127.255.254/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fe80::1]/",
    "http://172.16.0.1/",
    "http://172.31.255.254/",
    "http://192.168.0.1/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://240.0.0.1/",
    "http://[fd00::1]/",
    "http://[fc00::1]/",
    "http://[ff02::1]/",
    "http://[fec0::1]/",
    "http://[2001:db8::1]/",
    "http://[2001::1]/",
    "http://metadata.example/",
    "http://1.1.1.1:22/",
    "http://1.1.1.1:6379/",
    "http://1.1.1.1:25/",
    "https://1.1.1.1:5432/",
    "http://[2606:4700:4700::1111]:11211/",
    "http://gone.example/",
    "http://nowhere.invalid/",
];
/// What cannot be the address of an endpoint at all.
const NONE: &[&str] = &[
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/",
    "ftp://127.0.0.1:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://1.1.1.1@127.0.0.1:{port}/",
    "http://user:pw@localhost:{port}/",
    "dict://127.0.0.1:{port}/",
    "http:///",
    "//127.0.0.1:{port}/",
    "javascript:alert(1)",
    "unix:/run/docker.sock",
    "http://127.0.0.1:{port}/#x",
];

/// A DNS server that lies: names of the Internet that lead inside.
fn lies(host: String, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let address = |ip: &str| SocketAddr::new(ip.parse().unwrap(), port);
    match host.as_str() {
        "rebind.example" | "inside.example" | "localhost" | "localhost." | "redirect.example" => {
            Ok(vec![address("127.0.0.1")])
        }
        "both.example" => Ok(vec![address("::1"), address("127.0.0.1"), address("::ffff:127.0.0.1")]),
        "metadata.example" => Ok(vec![address("169.254.169.254")]),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    }
}

#[tokio::test]
async fn case_c8_sixty_addresses_that_lead_inside_are_not_dialled_and_all_say_the_same() {
    assert!(INSIDE.len() >= 60, "{}", INSIDE.len());
    let canary = Receiver::start();
    // The canary's port is one of HTTP here: only what the addresses are keeps them from it.
    let client = Client::on(
        Reach::Public(Arc::new([])),
        Arc::new(|host, port| Box::pin(async move { lies(host, port) })),
        &[80, 443, canary.port],
    );
    let send = async |url: &str| {
        let address =
            Address::new(&url.replace("{port}", &canary.port.to_string())).unwrap_or_else(|e| panic!("{url} {e}"));
        let request = hyper::Request::post(address.as_str()).body(Full::new(Bytes::from("{}"))).unwrap();
        client.send(request, 100, Duration::from_secs(8)).await
    };
    for url in INSIDE {
        assert_eq!(send(url).await.unwrap_err(), "the address cannot be reached", "{url}");
    }
    assert_eq!(canary.bytes(), 0);
    for url in NONE {
        assert!(Address::new(&url.replace("{port}", &canary.port.to_string())).is_err(), "{url}");
    }
    // The canary does hear who may reach it.
    let open = Client::new(Reach::Public(Arc::new(["127.0.0.0/8".parse().unwrap()])));
    let request = hyper::Request::post(canary.url()).body(Full::new(Bytes::from("{}"))).unwrap();
    assert_eq!(open.send(request, 5, Duration::from_secs(8)).await.unwrap().body, b"thank");
}

/// A name whose answer lives for no time: outside when it is judged, inside when it is dialled, if it is asked twice.
#[tokio::test]
async fn case_c8_a_name_is_asked_once_and_what_was_judged_is_what_is_dialled() {
    // What may be reached stands for the outside.
    let outside = Receiver::on(TcpListener::bind("127.0.0.2:0").unwrap());
    let inside = Receiver::on(TcpListener::bind(("127.0.0.1", outside.port)).unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let turncoat: usher::outbound::Resolve = Arc::new(move |_, port| {
        let last = 2 - u8::try_from(count.fetch_add(1, SeqCst) % 2).unwrap();
        let answer: std::io::Result<Vec<SocketAddr>> = Ok(vec![SocketAddr::from(([127, 0, 0, last], port))]);
        Box::pin(async move { answer })
    });
    let reach = Reach::Public(Arc::new(["127.0.0.2".parse().unwrap()]));
    let client = Client::on(reach, turncoat, &[80, 443, outside.port]);
    let mut reached = 0;
    for _ in 0..20 {
        let request = hyper::Request::post(format!("http://rebind.example:{}/", outside.port));
        let request = request.body(Full::new(Bytes::from("{}"))).unwrap();
        reached += usize::from(client.send(request, 100, Duration::from_secs(8)).await.is_ok());
    }
    assert_eq!((asked.load(SeqCst), reached, outside.got().len(), inside.bytes()), (20, 10, 10, 0));
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let (canary, receiver) = (Receiver::start(), Receiver::start());
    let client = Client::new(Reach::Public(Arc::new(["127.0.0.1".parse().unwrap()])));
    for status in [301, 302, 303, 307, 308] {
        let inside = canary.url();
        receiver.answers(move |_| answer(status, "").replace("\r\n\r\n", &format!("\r\nLocation: {inside}\r\n\r\n")));
        let request = hyper::Request::post(receiver.url()).body(Full::new(Bytes::from("{}"))).unwrap();
        assert_eq!(client.send(request, 100, Duration::from_secs(8)).await.unwrap().status, status);
    }
    assert_eq!((canary.bytes(), receiver.got().len()), (0, 5));
}

/// The program as it is started without saying more: this machine is not reached, and the log of tries does not tell
/// whether somebody listens.
#[test]
fn the_program_reaches_nobody_on_this_machine_unless_it_is_told_to() {
    let canary = Receiver::start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Program::start(&[]);
    let urls = [canary.url(), format!("http://localhost:{}/", canary.port), format!("http://127.0.0.1:{silent}/")];
    let ids: Vec<String> = urls.iter().map(|url| test_of(&server, url)).collect();
    let words: Vec<String> = ids.iter().map(|id| first_try(&server, id)).collect();
    assert_eq!(words, vec!["the address cannot be reached"; 3]);
    assert_eq!(canary.bytes(), 0);
    let folder: Folder = server.stop().2;
    let server = Program::start_in(folder, &["--webhook-network", "127.0.0.0/8"]);
    test_of(&server, &canary.url());
    assert_eq!(canary.wait_for(1)[0].json()["type"], "webhook.test");
}

/// Makes a webhook and asks for a test; gives its id.
fn test_of(server: &Program, url: &str) -> String {
    let app = server.json(&["app", "list"])[0]["clientId"].as_str().unwrap().to_owned();
    let made = server.json(&["webhook", "create", url, "--app", &app, "--environment", "sandbox"]);
    let id = made["id"].as_str().unwrap().to_owned();
    server.json(&["webhook", "test", &id]);
    id
}

fn first_try(server: &Program, id: &str) -> String {
    for _ in 0..200 {
        let delivery = server.json(&["webhook", "show", id])["deliveries"][0].clone();
        if !delivery["failure"].is_null() {
            let log = server.json(&["webhook", "attempts", delivery["id"].as_str().unwrap()]);
            assert_eq!(log[0]["status"], serde_json::Value::Null);
            return log[0]["words"].as_str().unwrap().to_owned();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{id} was not tried");
}
