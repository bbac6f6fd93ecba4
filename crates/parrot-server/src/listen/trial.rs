//! Whether places could be listened on, found out without disturbing a server that listens there.

use std::cell::RefCell;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, sockopt};

use super::address::local_ip;
use super::{Addresses, BindError, Listen, ListenOptions, LocalAddress, Place, sockets, udp, unix};

impl Listen {
    /// Tries to bind what is not a file, without listening, and looks at what would be one. Returns the addresses that
    /// are in use, perhaps by the server that is to be started again.
    pub(crate) fn try_out(&self, options: &ListenOptions) -> Result<Vec<LocalAddress>, BindError> {
        match &self.place {
            Place::Udp(_) if self.proxy_protocol => Err(BindError::proxied_datagrams()),
            Place::Tcp(addresses) => try_addresses(addresses, LocalAddress::Tcp, |address| try_tcp(address, options)),
            Place::Udp(addresses) => try_addresses(addresses, LocalAddress::Udp, |address| try_udp(address, options)),
            Place::Unix(path) => match try_path(path) {
                Ok(in_use) => Ok(in_use.then(|| LocalAddress::Unix(path.clone())).into_iter().collect()),
                Err(error) => Err(BindError::listen(LocalAddress::Unix(path.clone()), error)),
            },
            #[cfg(target_os = "linux")]
            Place::UnixAbstract(name) => match try_name(name) {
                Ok(()) => Ok(Vec::new()),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    Ok(vec![LocalAddress::UnixAbstract(name.clone())])
                }
                Err(error) => Err(BindError::listen(LocalAddress::UnixAbstract(name.clone()), error)),
            },
            Place::GivenTcp(_) | Place::GivenUdp(_) | Place::GivenUnix(_) => Ok(Vec::new()),
        }
    }

    pub(crate) fn is_udp(&self) -> bool {
        matches!(self.place, Place::Udp(_) | Place::GivenUdp(_))
    }
}

fn try_addresses(
    addresses: &Addresses,
    shown: fn(SocketAddr) -> LocalAddress,
    bind: impl Fn(SocketAddr) -> io::Result<OwnedFd>,
) -> Result<Vec<LocalAddress>, BindError> {
    let in_use = RefCell::new(Vec::new());
    let tried = addresses.open(|address| match bind(address) {
        Ok(socket) => {
            let address = local_ip(&socket)?;
            Ok((Some(socket), address))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse && address.port() != 0 => {
            in_use.borrow_mut().push(shown(address));
            Ok((None, address))
        }
        Err(error) => Err(error),
    });
    tried.map_err(|(address, error)| BindError::listen(shown(address), error))?;
    Ok(in_use.into_inner())
}

/// Binds without listening, so that no connection comes here.
fn try_tcp(address: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd> {
    let socket = new_at(address, SocketType::STREAM, options)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Binds without sharing the port, so that datagrams for a server that shares it do not come here.
fn try_udp(address: SocketAddr, options: &ListenOptions) -> io::Result<OwnedFd> {
    udp::check(address)?;
    let socket = new_at(address, SocketType::DGRAM, options)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

fn new_at(address: SocketAddr, kind: SocketType, options: &ListenOptions) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    if options.reuse_port {
        // On a socket of its own, to find out whether the system can.
        sockets::set_reuse_port(&sockets::new(family, kind)?)?;
    }
    let socket = sockets::new(family, kind)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

/// Looks whether a socket can have this path, and whether a server has it. A datagram socket cannot connect to one of
/// streams, so the server does not notice, and the error shows that it is there.
fn try_path(path: &Path) -> io::Result<bool> {
    let address = SocketAddrUnix::new(path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The dot makes a file an error.
    access(parent.join("."), Access::WRITE_OK | Access::EXEC_OK)?;
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(ErrorKind::AlreadyExists, "a file that is no socket has this path"))
        }
        Ok(_) => unix::is_in_use(path, &address, SocketType::DGRAM),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(target_os = "linux")]
fn try_name(name: &[u8]) -> io::Result<()> {
    let socket = sockets::new(AddressFamily::UNIX, SocketType::STREAM)?;
    Ok(rustix::net::bind(&socket, &SocketAddrUnix::new_abstract_name(name)?)?)
}
