//! Opens connections without waiting for them, with rustix because std's connect blocks.

// The counter of sends in tests is const, but the lint does not see that where thread-locals have keys (OpenBSD).
#![allow(clippy::missing_const_for_thread_local)]

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType, connect, getpeername, getsockname, sockopt};

use crate::plan::{Close, Plan};
use crate::target::{Target, abstract_name};

/// Starts to connect to `target`. The stream never blocks. It is connected once a send succeeds or [`connected`] returns true.
///
/// # Errors
///
/// The system's error if it has no descriptor or no port, or if the server refused at once. A server on a Unix socket
/// that has no room for another connection [`is_full`].
pub(crate) fn start(plan: &Plan, target: &Target, connection: usize) -> io::Result<OwnedFd> {
    match target {
        Target::Tcp(address) => start_tcp(plan, address, connection),
        Target::Udp(address) => start_udp(plan, address, connection),
        Target::Unix(address) => start_unix(address),
    }
}

fn start_tcp(plan: &Plan, address: &SocketAddr, connection: usize) -> io::Result<OwnedFd> {
    let stream = open(family(address), SocketType::STREAM)?;
    if let Some(source) = source(plan, connection) {
        leave_the_port_to_connect(&stream)?;
        rustix::net::bind(&stream, source)?;
    }
    sockopt::set_tcp_nodelay(&stream, plan.no_delay)?;
    match connect(&stream, address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(stream),
        Err(errno) => Err(errno.into()),
    }
}

/// A UDP socket is connected at once. Then it receives from the server only, and the system reports that nobody listens.
fn start_udp(plan: &Plan, address: &SocketAddr, connection: usize) -> io::Result<OwnedFd> {
    /// More than any datagram, which is more than macOS and the BSDs let a socket send by default.
    const SENDING: usize = 128 * 1024;
    /// Most answers of a burst, and if the system does not allow that, a few of the longest. FreeBSD and macOS allow
    /// less than 4 MiB by default (kern.ipc.maxsockbuf).
    const RECEIVING: [usize; 3] = [4 << 20, 1 << 20, SENDING];

    let socket = open(family(address), SocketType::DGRAM)?;
    if let Some(source) = source(plan, connection) {
        rustix::net::bind(&socket, source)?;
    }
    if sockopt::socket_send_buffer_size(&socket)? < SENDING {
        let _ = sockopt::set_socket_send_buffer_size(&socket, SENDING);
    }
    let _ = RECEIVING.iter().try_for_each(|size| match sockopt::set_socket_recv_buffer_size(&socket, *size) {
        Ok(()) => ControlFlow::Break(()),
        Err(_) => ControlFlow::Continue(()),
    });
    connect(&socket, address)?;
    Ok(socket)
}

fn family(address: &SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// The address to connect from, unless the system is to choose it.
fn source(plan: &Plan, connection: usize) -> Option<&SocketAddr> {
    plan.sources.get(connection.checked_rem(plan.sources.len())?)
}

/// A Unix socket is connected at once or not at all.
fn start_unix(address: &UnixAddress) -> io::Result<OwnedFd> {
    let address = match (address.as_pathname(), abstract_name(address)) {
        (Some(path), _) => SocketAddrUnix::new(path)?,
        #[cfg(target_os = "linux")]
        (None, Some(name)) => SocketAddrUnix::new_abstract_name(name)?,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let stream = open(AddressFamily::UNIX, SocketType::STREAM)?;
    connect(&stream, &address)?;
    Ok(stream)
}

/// Whether `error` says that a server on a Unix socket has no room in its backlog, so that dialing again may help.
///
/// Linux returns EAGAIN (connect(2)). The other systems return ECONNREFUSED, as if nobody listened (`unp_connectat` in
/// FreeBSD's sys/kern/uipc_usrreq.c), so there it counts only if the server has taken a connection before.
pub(crate) fn is_full(target: &Target, error: &io::Error, taken_before: bool) -> bool {
    let refused = !cfg!(target_os = "linux") && taken_before && error.kind() == io::ErrorKind::ConnectionRefused;
    matches!(target, Target::Unix(_)) && (refused || error.kind() == io::ErrorKind::WouldBlock)
}

/// Whether a stream from [`start`] is connected by now.
///
/// # Errors
///
/// The reason why it never will be.
pub(crate) fn connected(target: &Target, stream: &OwnedFd) -> io::Result<bool> {
    if let Target::Unix(_) = target {
        return Ok(true);
    }
    sockopt::socket_error(stream)??;
    match (getpeername(stream), getsockname(stream)) {
        // A client whose own port is the one it connects to reaches itself (TCP's simultaneous open).
        (Ok(Some(peer)), Ok(local)) if peer == local => Err(io::Error::other("connected to itself")),
        (Ok(Some(_)), _) => Ok(true),
        (Err(Errno::NOTCONN), _) => Ok(false),
        (peer, _) => Err(peer.err().unwrap_or(Errno::NOTCONN).into()),
    }
}

/// The connection's own address and the server's, which a Unix socket does not have.
pub(crate) fn addresses(stream: &OwnedFd) -> Option<(SocketAddr, SocketAddr)> {
    let own = SocketAddr::try_from(getsockname(stream).ok()?).ok()?;
    let server = SocketAddr::try_from(getpeername(stream).ok()??).ok()?;
    Some((own, server))
}

/// Sends without SIGPIPE, and returns how many bytes the socket took. On macOS the socket has an option for that.
pub(crate) fn send(stream: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    #[cfg(not(target_vendor = "apple"))]
    const FLAGS: SendFlags = SendFlags::NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    const FLAGS: SendFlags = SendFlags::empty();
    #[cfg(test)]
    SENDS.set(SENDS.get() + 1);
    rustix::net::send(stream, bytes, FLAGS)
}

#[cfg(test)]
std::thread_local! {
    /// How often [`send`] was called.
    pub(crate) static SENDS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Closes a connection as the plan says.
pub(crate) fn close(stream: OwnedFd, how: Close) {
    if how == Close::Reset {
        // If the system refuses, the connection is closed in the orderly way instead, which does no harm.
        let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    }
    drop(stream);
}

#[cfg(not(target_vendor = "apple"))]
fn open(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    use rustix::net::SocketFlags;
    Ok(rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// macOS has no flags on socket(2).
#[cfg(target_vendor = "apple")]
fn open(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(family, kind, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    sockopt::set_socket_nosigpipe(&socket, true)?;
    Ok(socket)
}

/// On Linux a bind to port 0 takes a port that no other destination can share, unless this option leaves the choice to
/// connect (ip(7), `IP_BIND_ADDRESS_NO_PORT`).
#[cfg(target_os = "linux")]
fn leave_the_port_to_connect(socket: &OwnedFd) -> io::Result<()> {
    Ok(nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?)
}

#[cfg(not(target_os = "linux"))]
fn leave_the_port_to_connect(_: &OwnedFd) -> io::Result<()> {
    Ok(())
}

/// Checks that `source` is an address of this machine, as [`start`] needs it to be.
pub(crate) fn usable(mut source: SocketAddr) -> io::Result<()> {
    source.set_port(0);
    std::net::TcpListener::bind(source).map(drop)
}

/// An address without its port, but with its zone.
pub(crate) fn host(address: &SocketAddr) -> String {
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        address => address.ip().to_string(),
    }
}
