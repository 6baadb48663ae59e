//! Requests that leave: the one HTTP client. It knows no proxy, follows no redirect, and decides about an address at the
//! moment it dials, so that neither a name, nor a number written oddly, nor a name that changes its mind leads inside.
//!
//! Knows nothing of webhooks or billing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::RETRY_AFTER;
use hyper::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::network::Network;

/// How long it may take to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(30);
/// Where HTTP is served on the Internet. Other ports belong to other services, which a request must not reach.
const PORTS: [u16; 4] = [80, 443, 8080, 8443];

/// Where requests may go.
#[derive(Clone, Debug)]
pub enum Reach {
    /// To an address that its operator chose.
    Anywhere,
    /// To an address that somebody else chose: on the Internet, or in these networks of ours.
    Public(Arc<[Network]>),
}

impl Reach {
    fn allows(&self, address: SocketAddr, ports: &[u16]) -> bool {
        let ip = address.ip().to_canonical();
        match self {
            Reach::Anywhere => true,
            Reach::Public(besides) => {
                besides.iter().any(|network| network.has(ip)) || (is_public(ip) && ports.contains(&address.port()))
            }
        }
    }
}

/// Whether an address belongs to a host on the Internet, by the registries of special addresses (RFC 6890).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !is_special_v4(ip),
        IpAddr::V6(ip) => !is_special_v6(ip),
    }
}

fn is_special_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    // 224 and up: multicast, reserved, broadcast.
    matches!(a, 0 | 10 | 127 | 224..)
        || matches!((a, b), (100, 64..=127) | (169, 254) | (172, 16..=31) | (192, 168) | (198, 18 | 19))
        || matches!((a, b, c), (192, 0, 0 | 2) | (192, 31, 196) | (192, 52, 193) | (192, 88, 99) | (192, 175, 48))
        || matches!((a, b, c), (198, 51, 100) | (203, 0, 113))
}

/// Only 2000::/3 is handed out. Everything else is local, multicast, or wraps an IPv4 address (NAT64).
fn is_special_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    a & 0xe000 != 0x2000
        // 2001::/23 with Teredo, documentation, 6to4, documentation again, segment routing.
        || (a == 0x2001 && (b < 0x200 || b == 0xdb8))
        || a == 0x2002
        || (a == 0x3fff && b < 0x1000)
        || a == 0x5f00
}

type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;
/// Finds the addresses of a host and port.
pub type Resolve = Arc<dyn Fn(String, u16) -> Resolving + Send + Sync>;

fn ask_the_machine(host: String, port: u16) -> Resolving {
    Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
}

/// Connects where it may.
#[derive(Clone)]
struct Dialer {
    reach: Reach,
    resolve: Resolve,
    /// Where HTTP is served on the Internet.
    ports: Arc<[u16]>,
}

impl Dialer {
    async fn dial(self, uri: Uri) -> io::Result<TokioIo<TcpStream>> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let addresses = match host.parse() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => (self.resolve)(host, port).await?,
        };
        let mut refused = io::Error::from(io::ErrorKind::HostUnreachable);
        for address in addresses.into_iter().filter(|address| self.reach.allows(*address, &self.ports)) {
            match TcpStream::connect(address).await {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    return Ok(TokioIo::new(socket));
                }
                Err(e) => refused = e,
            }
        }
        Err(refused)
    }
}

impl tower::Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { tokio::time::timeout(CONNECT, dialer.dial(uri)).await? })
    }
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of the body.
    pub body: Vec<u8>,
    /// How long the other side asks to be left alone, if it says so in seconds.
    pub retry_after: Option<Duration>,
}

/// Sends requests. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<Dialer>, Full<Bytes>>,
}

impl Client {
    /// A client that goes where `reach` lets it.
    pub fn new(reach: Reach) -> Client {
        Client::on(reach, Arc::new(ask_the_machine), &PORTS)
    }

    /// The same on an Internet with other ways to find addresses and other ports of HTTP, for tests.
    pub fn on(reach: Reach, resolve: Resolve, ports: &[u16]) -> Client {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(crate::tls::config())
            .https_or_http()
            .enable_http1()
            .wrap_connector(Dialer { reach, resolve, ports: ports.into() });
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Client { inner }
    }

    /// Sends a request and gives the answer with the first `most` bytes of its body.
    ///
    /// # Errors
    /// Why there was none. The words are the same for an address that is not allowed and one where nobody is.
    pub async fn send(&self, request: Request<Full<Bytes>>, most: usize, within: Duration) -> Result<Reply, String> {
        let exchange = async {
            let mut response = self.inner.request(request).await.map_err(|e| {
                if e.is_connect() { "the address cannot be reached" } else { "the connection broke" }.to_owned()
            })?;
            let mut body = Vec::new();
            // What comes after that, and whether it comes, is the other side's business.
            while body.len() < most
                && let Some(Ok(frame)) = response.body_mut().frame().await
            {
                body.extend_from_slice(frame.data_ref().map(Bytes::as_ref).unwrap_or_default());
            }
            body.truncate(most);
            let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Ok(Reply { status: response.status().as_u16(), body, retry_after: seconds.map(Duration::from_secs) })
        };
        let answer = tokio::time::timeout(within, exchange).await;
        answer.unwrap_or_else(|_| Err(format!("no answer within {} s", within.as_secs())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for public in ["1.1.1.1", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.255.255", "2606:4700::1111"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(special.parse::<IpAddr>().unwrap().to_canonical()), "{special}");
        }
    }

    #[test]
    fn a_network_holds_its_addresses_at_any_port_and_the_internet_is_open_at_the_ports_of_http() {
        let networks = ["127.0.0.0/8", "::1", "10.1.2.0/24"].map(|text| text.parse().unwrap());
        let reach = Reach::Public(networks.into());
        for yes in ["127.9.9.9:6379", "[::1]:22", "[::ffff:127.0.0.1]:99", "10.1.2.255:5000", "1.1.1.1:443"] {
            assert!(reach.allows(yes.parse().unwrap(), &PORTS), "{yes}");
        }
        for no in ["10.1.3.0:443", "[::2]:443", "1.1.1.1:22", "1.1.1.1:6379", "[2606:4700::1111]:25"] {
            assert!(!reach.allows(no.parse().unwrap(), &PORTS), "{no}");
        }
        for wrong in ["", "127.0.0.0/33", "::/129", "local", "1.2.3/8", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
