//! The remote end of a connection.

use std::fmt;
use std::net::SocketAddr;

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
    fn from(address: SocketAddr) -> Peer {
        Peer::Internet(address)
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
