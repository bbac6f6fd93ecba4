//! What a load connects to.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::net::SocketAddr as UnixAddress;

/// What a load connects to. `Display` writes it as the program's command line names it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Target {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A UDP port.
    Udp(SocketAddr),
    /// A Unix stream socket, at a path or, on Linux, under an abstract name.
    Unix(UnixAddress),
}

impl Target {
    /// The name of its protocol.
    pub(crate) fn protocol(&self) -> &'static str {
        match self {
            Target::Tcp(_) => "tcp",
            Target::Udp(_) => "udp",
            Target::Unix(_) => "unix",
        }
    }

    pub(crate) fn is_udp(&self) -> bool {
        matches!(self, Target::Udp(_))
    }

    /// The address and port, unless it is a Unix socket.
    pub(crate) fn ip(&self) -> Option<SocketAddr> {
        match self {
            Target::Tcp(address) | Target::Udp(address) => Some(*address),
            Target::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Target {
        Target::Tcp(address)
    }
}

impl From<UnixAddress> for Target {
    fn from(address: UnixAddress) -> Target {
        Target::Unix(address)
    }
}

/// TCP is the default and so needs no scheme: `127.0.0.1:1512`, `udp:[::1]:1512`,
/// `unix:/tmp/parrot.sock`, `unix:@parrot`.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(address) => address.fmt(formatter),
            Target::Udp(address) => write!(formatter, "udp:{address}"),
            Target::Unix(address) => match (address.as_pathname(), abstract_name(address)) {
                (Some(path), _) => write!(formatter, "unix:{}", path.display()),
                (None, Some(name)) => write!(formatter, "unix:@{}", String::from_utf8_lossy(name)),
                (None, None) => formatter.write_str("unix:"),
            },
        }
    }
}

/// The abstract name of a Unix socket, which only Linux has (unix(7)).
#[cfg(target_os = "linux")]
pub(crate) fn abstract_name(address: &UnixAddress) -> Option<&[u8]> {
    std::os::linux::net::SocketAddrExt::as_abstract_name(address)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn abstract_name(_: &UnixAddress) -> Option<&[u8]> {
    None
}
