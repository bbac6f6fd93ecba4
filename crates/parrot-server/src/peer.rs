//! The remote end of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The remote end of a connection. `Display` gives its address, or `unix`.
///
/// It takes 24 bytes, because a server has one for each connection. A [`SocketAddr`] alone takes 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An IPv4 address and a port. Behind a PROXY protocol header it is the address of the client.
    Ipv4(SocketAddrV4),
    /// The same with an IPv6 address.
    Ipv6 {
        /// The address.
        ip: Ipv6Addr,
        /// The port.
        port: u16,
        /// The number of the interface that a link-local address belongs to, or 0.
        zone: u32,
    },
    /// A process of this machine, over a Unix socket.
    Unix {
        /// The number of the user that it ran as when it connected, if the system tells.
        user: Option<u32>,
    },
}

const _: () = assert!(size_of::<Peer>() <= 24, "each connection has one");

impl Peer {
    /// The address and the port. `None` over a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match *self {
            Peer::Ipv4(address) => Some(address.into()),
            Peer::Ipv6 { ip, port, zone } => Some(SocketAddrV6::new(ip, port, 0, zone).into()),
            Peer::Unix { .. } => None,
        }
    }

    /// The number of the user behind a Unix socket.
    pub fn user(&self) -> Option<u32> {
        match self {
            Peer::Ipv4(_) | Peer::Ipv6 { .. } => None,
            Peer::Unix { user } => *user,
        }
    }
}

impl From<SocketAddr> for Peer {
    /// The peer with this address. An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) counts as the IPv4 address.
    /// A given IPv6 socket can report such ones, because it may be open to IPv4 too.
    fn from(address: SocketAddr) -> Peer {
        match canonical(address) {
            SocketAddr::V4(address) => Peer::Ipv4(address),
            SocketAddr::V6(address) => Peer::Ipv6 { ip: *address.ip(), port: address.port(), zone: address.scope_id() },
        }
    }
}

/// An address as people know it. An IPv6 socket that takes IPv4 too shows IPv4 addresses mapped.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        // With its zone.
        IpAddr::V6(_) => address,
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => address.fmt(f),
            None => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_shown_as_its_address() {
        for (address, shown) in [
            ("192.0.2.7:1512", "192.0.2.7:1512"),
            ("[::ffff:192.0.2.7]:1512", "192.0.2.7:1512"),
            ("[2001:db8::7]:1512", "[2001:db8::7]:1512"),
            ("[fe80::7%3]:1512", "[fe80::7%3]:1512"),
        ] {
            let peer = Peer::from(address.parse::<SocketAddr>().unwrap());
            assert_eq!(peer.to_string(), shown);
            assert_eq!(peer.address(), Some(shown.parse().unwrap()));
        }
    }
}
