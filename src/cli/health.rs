//! `usher health`

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;

use super::Common;
use crate::error::{Error, Result};

/// How long the server may take.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
#[command(
    after_help = "Asks /readyz, for containers and scripts: exit code 0 if it is ready, else 1.\n\nExample:\n  usher health"
)]
pub struct Health {
    /// The address that the server listens on
    #[arg(long, value_name = "ADDRESS", env = "USHER_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

impl Health {
    pub fn run(self, common: &Common) -> Result<()> {
        let address = reachable(self.listen);
        match ask(address) {
            Ok(200) => {
                common.say(&json!({"ready": true}), "The server is ready.");
                Ok(())
            }
            Ok(status) => Err(Error::operator(format!(
                "the server at {address} is not ready: it answers {status}. `usher doctor` looks at the installation."
            ))),
            Err(e) => Err(Error::operator(format!(
                "no server answers at {address}: {e}. `usher serve` starts one; --listen names another address."
            ))),
        }
    }
}

/// The address by which what listens everywhere is reached.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The status of the answer; 0 if it is none of HTTP.
fn ask(address: SocketAddr) -> std::io::Result<u16> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(b"GET /readyz HTTP/1.1\r\nHost: usher\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.take(1024).read_to_end(&mut answer)?;
    let line = String::from_utf8_lossy(&answer);
    Ok(line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0))
}
