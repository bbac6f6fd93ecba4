//! The remote end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The remote end of a connection. `Display` gives its address, or `unix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An IP address and a port. Behind a PROXY protocol header it is the address of the client.
    Internet(SocketAddr),
    /// A process of this machine, over a Unix socket.
    Unix {
        /// The number of the user that it ran as when it connected, if the system tells.
        user: Option<u32>,
    },
}

impl Peer {
    /// The number of the user behind a Unix socket.
    pub fn user(&self) -> Option<u32> {
        match self {
            Peer::Internet(_) => None,
            Peer::Unix { user } => *user,
        }
    }
}

impl From<SocketAddr> for Peer {
    /// The peer with this address. An IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2) counts as the IPv4 address.
    /// A given IPv6 socket can report such ones, because it may be open to IPv4 too.
    fn from(address: SocketAddr) -> Peer {
        Peer::Internet(canonical(address))
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
        match self {
            Peer::Internet(address) => address.fmt(f),
            Peer::Unix { .. } => f.write_str("unix"),
        }
    }
}
