//! Networks, and from which one a request comes. Proxies are believed only if the operator has named them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that share a prefix: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether an address is in it.
    pub fn has(self, address: IpAddr) -> bool {
        first(address, self.bits) == Some(self.first)
    }

    /// The network that one customer of a provider has: /24 of IPv4, /64 of IPv6.
    pub fn around(address: IpAddr) -> Network {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { 24 } else { 64 };
        Network { first: first(address, bits).unwrap_or(address), bits }
    }

    /// As bytes, to count by.
    pub fn bytes(self) -> Vec<u8> {
        match self.first {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }
    }
}

/// The first address that shares `bits` with this one.
fn first(address: IpAddr, bits: u32) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) if bits <= 32 => {
            Some(Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(32 - bits).unwrap_or(0)).into())
        }
        IpAddr::V6(v6) if bits <= 128 => {
            Some(Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(128 - bits).unwrap_or(0)).into())
        }
        _ => None,
    }
}

impl std::str::FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("{text} is not a network; write it like 127.0.0.0/8 or ::1");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.trim().parse().map_err(|_| bad())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(whole), |bits| bits.trim().parse().map_err(|_| bad()))?;
        Ok(Network { first: first(address, bits).ok_or_else(bad)?, bits })
    }
}

/// The client's network: of the peer itself, or the last address in `X-Forwarded-For` that is no trusted proxy if the peer
/// is one. `None` for a peer of this machine or a private network that nobody has named: it may be a proxy, and everybody
/// would share its limit.
pub fn of_client(peer: IpAddr, forwarded_for: Option<&str>, trusted: &[Network]) -> Option<Network> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.has(address));
    let peer = peer.to_canonical();
    if !is_trusted(peer) {
        return (!is_private(peer)).then(|| Network::around(peer));
    }
    for hop in forwarded_for.unwrap_or_default().rsplit(',') {
        let address = hop.trim().parse::<IpAddr>().ok()?.to_canonical();
        if !is_trusted(address) {
            return Some(Network::around(address));
        }
    }
    None
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded_for: &str, trusted: &str) -> Option<Network> {
        let trusted: Vec<Network> = trusted.split_terminator(',').map(|network| network.parse().unwrap()).collect();
        of_client(peer.parse().unwrap(), Some(forwarded_for), &trusted)
    }

    #[test]
    fn only_a_named_proxy_is_believed_and_only_its_own_word() {
        let around = |address: &str| Some(Network::around(address.parse().unwrap()));
        assert_eq!(client("203.0.113.7", "198.51.100.1", ""), around("203.0.113.9"));
        assert_eq!(client("::ffff:203.0.113.7", "198.51.100.1", ""), around("203.0.113.9"));
        assert_eq!(client("203.0.113.7", "198.51.100.1", "203.0.113.7"), around("198.51.100.2"));
        assert_eq!(client("10.0.0.1", "192.0.2.1, 198.51.100.1", "10.0.0.0/8"), around("198.51.100.1"));
        assert_eq!(client("10.0.0.1", "198.51.100.1, 10.9.9.9", "10.0.0.0/8"), around("198.51.100.1"));
        assert_eq!(client("10.0.0.1", "198.51.100.1", ""), None, "it may be a proxy that nobody has named");
        assert_eq!(client("10.0.0.1", "nonsense", "10.0.0.0/8"), None);
        assert_eq!(client("2001:db8::1", "", ""), around("2001:db8::ffff"));
        assert_ne!(client("2001:db8::1", "", ""), around("2001:db8:0:1::1"));
    }

    #[test]
    fn networks_are_read_and_nonsense_is_not() {
        let network = |text: &str| text.parse::<Network>();
        assert!(network("10.1.2.3/8").unwrap().has("10.255.0.1".parse().unwrap()));
        assert!(!network("10.1.2.3").unwrap().has("10.1.2.4".parse().unwrap()));
        assert!(network("0.0.0.0/0").unwrap().has("1.2.3.4".parse().unwrap()));
        assert!(!network("0.0.0.0/0").unwrap().has("::1".parse().unwrap()));
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "host"] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
