//! The addresses of listeners, wanted and found.

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketAddrUnix};

/// How many free ports are tried when the port of the first address is taken on another one.
const PORT_ATTEMPTS: u32 = 16;

/// Addresses that are listened on together. Those with port 0 share one port, which is free on all of them. A repeated
/// address counts once. A link-local address needs the number of its interface, its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    list: Vec<SocketAddr>,
    /// A machine without IPv6 is no error.
    ipv6_optional: bool,
}

impl Addresses {
    /// All addresses of the machine: `0.0.0.0` and, where the machine has IPv6, `::`.
    pub fn everywhere(port: u16) -> Addresses {
        Addresses {
            list: vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()],
            ipv6_optional: true,
        }
    }

    /// Addresses that only this machine can reach: `127.0.0.1` and, where the machine has IPv6, `::1`.
    pub fn localhost(port: u16) -> Addresses {
        Addresses {
            list: vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()],
            ipv6_optional: true,
        }
    }

    /// Opens a socket for each address. `open` returns it with the address that it got.
    pub(super) fn open<Socket>(
        &self,
        open: impl Fn(SocketAddr) -> io::Result<(Socket, SocketAddr)>,
    ) -> Result<Vec<(Socket, SocketAddr)>, (SocketAddr, io::Error)> {
        let any_port = self.list.first().is_some_and(|first| first.port() == 0);
        let mut attempts = 1;
        loop {
            match self.open_all(&open) {
                // The first address got a free port. Another process may have that port on a later address.
                Err((_, error)) if any_port && error.kind() == io::ErrorKind::AddrInUse && attempts < PORT_ATTEMPTS => {
                    attempts += 1;
                }
                result => return result,
            }
        }
    }

    fn open_all<Socket>(
        &self,
        open: impl Fn(SocketAddr) -> io::Result<(Socket, SocketAddr)>,
    ) -> Result<Vec<(Socket, SocketAddr)>, (SocketAddr, io::Error)> {
        let mut opened: Vec<(Socket, SocketAddr)> = Vec::new();
        let mut found_port = 0;
        for mut address in self.list.iter().copied() {
            let any_port = address.port() == 0;
            if any_port {
                address.set_port(found_port);
            }
            // A second listener on the same address would fail, because the first one has it.
            if opened.iter().any(|(_, other)| *other == address) {
                continue;
            }
            match open(address) {
                Ok((socket, address)) => {
                    if any_port {
                        found_port = address.port();
                    }
                    opened.push((socket, address));
                }
                Err(error) if self.ipv6_optional && address.is_ipv6() && lacks_ipv6(&error) => {
                    tracing::debug!(target: "parrot_server", "this machine has no IPv6: {error}");
                }
                Err(error) => return Err((address, error)),
            }
        }
        Ok(opened)
    }
}

impl From<SocketAddr> for Addresses {
    fn from(address: SocketAddr) -> Addresses {
        vec![address].into()
    }
}

impl From<Vec<SocketAddr>> for Addresses {
    fn from(list: Vec<SocketAddr>) -> Addresses {
        Addresses { list, ipv6_optional: false }
    }
}

/// The errors of a machine without IPv6: no such family, or no such address.
fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::PROTONOSUPPORT))
}

/// Where a listener or a UDP socket is. `Display` gives a TCP address as it is, and the others as `udp:ADDRESS`,
/// `unix:PATH` or `unix:@NAME`, with control characters escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalAddress {
    /// A TCP listener's.
    Tcp(SocketAddr),
    /// A UDP socket's.
    Udp(SocketAddr),
    /// The path of a Unix socket, which is empty if the socket has no name.
    Unix(PathBuf),
    /// The abstract name of a Unix socket, which only Linux has.
    UnixAbstract(Vec<u8>),
}

impl LocalAddress {
    /// The word for what carries the bytes: `tcp`, `udp` or `unix`.
    pub fn transport(&self) -> &'static str {
        match self {
            LocalAddress::Tcp(_) => "tcp",
            LocalAddress::Udp(_) => "udp",
            LocalAddress::Unix(_) | LocalAddress::UnixAbstract(_) => "unix",
        }
    }

    /// IP address and port, which a Unix socket does not have.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            LocalAddress::Tcp(address) | LocalAddress::Udp(address) => Some(*address),
            LocalAddress::Unix(_) | LocalAddress::UnixAbstract(_) => None,
        }
    }
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalAddress::Tcp(address) => address.fmt(f),
            LocalAddress::Udp(address) => write!(f, "udp:{address}"),
            LocalAddress::Unix(path) => {
                f.write_str("unix:")?;
                // A line break would begin another line of a log, or of a report to a service manager.
                path.display().to_string().chars().try_for_each(|char| match char.is_control() {
                    true => write!(f, "{}", char.escape_default()),
                    false => f.write_char(char),
                })
            }
            LocalAddress::UnixAbstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
        }
    }
}

/// The address that a socket is bound to, if it is one of IP.
pub(crate) fn local_ip(socket: &impl AsFd) -> io::Result<SocketAddr> {
    let address = rustix::net::getsockname(socket)?;
    SocketAddr::try_from(address).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// The path or name that a Unix socket is bound to.
pub(crate) fn local_unix(socket: &impl AsFd) -> io::Result<LocalAddress> {
    let address: SocketAddrAny = rustix::net::getsockname(socket)?;
    let address = SocketAddrUnix::try_from(address)?;
    #[cfg(target_os = "linux")]
    if let Some(name) = address.abstract_name() {
        return Ok(LocalAddress::UnixAbstract(name.to_vec()));
    }
    let path = address.path_bytes().unwrap_or_default();
    Ok(LocalAddress::Unix(PathBuf::from(OsStr::from_bytes(path))))
}
