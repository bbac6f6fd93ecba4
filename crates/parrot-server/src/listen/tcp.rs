//! TCP listeners: separate sockets for IPv4 and IPv6, and one port for all.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::BindError;
use crate::socket_options::SocketOptions;

/// How many free ports are tried when the port of the first address is taken on another one.
const PORT_ATTEMPTS: u32 = 16;

/// Listens on every address, or on both wildcard addresses if there is none.
pub(crate) fn listen(
    addresses: &[SocketAddr],
    port: u16,
    backlog: Option<u32>,
    options: SocketOptions,
) -> Result<Vec<TcpListener>, BindError> {
    let wildcards = [(Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into()];
    let (addresses, implicit) = if addresses.is_empty() { (&wildcards[..], true) } else { (addresses, false) };
    let mut attempts = 1;
    loop {
        match listen_on_all(addresses, port, backlog, options, implicit) {
            // With port 0 the first address gets a free port. Another process may have that port on a later address.
            Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse && attempts < PORT_ATTEMPTS => {
                attempts += 1;
            }
            result => return result,
        }
    }
}

fn listen_on_all(
    addresses: &[SocketAddr],
    mut port: u16,
    backlog: Option<u32>,
    options: SocketOptions,
    implicit: bool,
) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut listened_on: Vec<SocketAddr> = Vec::new();
    for mut address in addresses.iter().copied() {
        let any_port = address.port() == 0;
        if any_port {
            address.set_port(port);
        }
        // A second listener on the same address would fail, because the first one has it.
        if listened_on.contains(&address) {
            continue;
        }
        match listen_on(address, backlog, options) {
            Ok(listener) => {
                if any_port {
                    port = listener.local_addr().map_err(|error| BindError::listen(address, error))?.port();
                    address.set_port(port);
                }
                listeners.push(listener);
                listened_on.push(address);
            }
            Err(error) if implicit && address.is_ipv6() && lacks_ipv6(&error) => {
                tracing::debug!(target: "parrot_server", "this machine has no IPv6: {error}");
            }
            Err(error) => return Err(BindError::listen(address, error)),
        }
    }
    Ok(listeners)
}

/// The errors of a machine without IPv6: no such family, or no such address.
fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL | Errno::PROTONOSUPPORT))
}

fn listen_on(address: SocketAddr, backlog: Option<u32>, options: SocketOptions) -> io::Result<TcpListener> {
    let socket = stream_socket(address)?;
    // Connections of an earlier server that are in TIME_WAIT must not keep the port.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Urgent bytes are bytes of the stream (RFC 6093), so they are echoed in their place. Accepted sockets inherit this
    // option. Setting it there would be too late for an urgent byte that has already arrived.
    sockopt::set_socket_oobinline(&socket, true)?;
    if address.is_ipv6() {
        // The default differs between systems, and OpenBSD allows no other value: ip6(4).
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    options.set_on(&socket)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, effective_backlog(backlog))?;
    Ok(TcpListener::from(socket))
}

/// A non-blocking socket that is closed on exec.
fn stream_socket(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    #[cfg(not(target_os = "macos"))]
    {
        use rustix::net::SocketFlags;
        rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
    }
    #[cfg(target_os = "macos")]
    {
        let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        // A peer that has gone raises no SIGPIPE. Accepted sockets inherit this (`sonewconn` in bsd/kern/uipc_socket2.c).
        sockopt::set_socket_nosigpipe(&socket, true)?;
        Ok(socket)
    }
}

/// Every system reduces a longer backlog to its limit: listen(2), and `solisten` or, on Linux, `__sys_listen`. Most take a
/// negative number for the limit too, but on NetBSD it means no backlog at all (sys/kern/uipc_socket2.c).
fn effective_backlog(wanted: Option<u32>) -> i32 {
    // XNU keeps the backlog in a 16-bit number (bsd/kern/uipc_socket.c).
    let most = if cfg!(target_os = "macos") { i32::from(i16::MAX) } else { i32::MAX };
    wanted.map_or(most, |backlog| i32::try_from(backlog).unwrap_or(most).min(most))
}
