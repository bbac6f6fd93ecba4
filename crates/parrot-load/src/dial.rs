//! Opens connections without waiting for them, with rustix because std's connect blocks.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::plan::{Close, Plan};

/// Starts to connect to `target`. The stream never blocks. It is connected once a send succeeds or [`connected`] returns true.
///
/// # Errors
///
/// The system's error if it has no descriptor or no port, or if the server refused at once.
pub(crate) fn start(plan: &Plan, target: SocketAddr, connection: usize) -> io::Result<TcpStream> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = open(family)?;
    if !plan.sources.is_empty()
        && let Some(source) = plan.sources.get(connection % plan.sources.len())
    {
        leave_the_port_to_connect(&socket)?;
        rustix::net::bind(&socket, source)?;
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(plan.no_delay)?;
    match rustix::net::connect(&stream, &target) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(stream),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether a stream from [`start`] is connected by now.
///
/// # Errors
///
/// The reason why it never will be.
pub(crate) fn connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match (stream.peer_addr(), stream.local_addr()) {
        // A client whose own port is the one it connects to reaches itself (TCP's simultaneous open).
        (Ok(peer), Ok(local)) if peer == local => Err(io::Error::other("connected to itself")),
        (Ok(_), _) => Ok(true),
        (Err(error), _) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        (Err(error), _) => Err(error),
    }
}

/// Closes a connection as the plan says.
pub(crate) fn close(stream: TcpStream, how: Close) {
    if how == Close::Reset {
        // If the system refuses, the connection is closed in the orderly way instead, which does no harm.
        let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
    }
    drop(stream);
}

#[cfg(not(target_vendor = "apple"))]
fn open(family: AddressFamily) -> io::Result<std::os::fd::OwnedFd> {
    use rustix::net::SocketFlags;
    Ok(rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

/// macOS has no flags on socket(2).
#[cfg(target_vendor = "apple")]
fn open(family: AddressFamily) -> io::Result<std::os::fd::OwnedFd> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// On Linux a bind to port 0 takes a port that no other destination can share, unless this option leaves the choice to
/// connect (ip(7), `IP_BIND_ADDRESS_NO_PORT`).
#[cfg(target_os = "linux")]
fn leave_the_port_to_connect(socket: &std::os::fd::OwnedFd) -> io::Result<()> {
    Ok(nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?)
}

#[cfg(not(target_os = "linux"))]
fn leave_the_port_to_connect(_: &std::os::fd::OwnedFd) -> io::Result<()> {
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
