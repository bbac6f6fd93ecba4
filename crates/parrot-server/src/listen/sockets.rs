//! New sockets, and what every socket of the server has.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

/// A non-blocking socket that is closed on exec.
pub(super) fn new(family: AddressFamily, kind: SocketType) -> Result<OwnedFd, Errno> {
    #[cfg(not(target_os = "macos"))]
    {
        use rustix::net::SocketFlags;
        let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        raise_no_signal(&socket)?;
        Ok(socket)
    }
    #[cfg(target_os = "macos")]
    {
        let socket = rustix::net::socket(family, kind, None)?;
        set_flags(&socket)?;
        Ok(socket)
    }
}

/// Makes a socket that somebody else has opened like one from [`new`].
pub(super) fn set_flags(socket: &impl AsFd) -> Result<(), Errno> {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(socket, true)?;
    raise_no_signal(socket)
}

/// Has a send to a peer that has gone raise no SIGPIPE where the send does not ask for that itself. Accepted sockets
/// inherit this (`sonewconn` in bsd/kern/uipc_socket2.c of macOS and sys/kern/uipc_socket.c of FreeBSD).
pub(crate) fn raise_no_signal(socket: &impl AsFd) -> Result<(), Errno> {
    #[cfg(any(target_os = "macos", target_os = "freebsd"))]
    rustix::net::sockopt::set_socket_nosigpipe(socket, true)?;
    #[cfg(not(any(target_os = "macos", target_os = "freebsd")))]
    let _ = socket;
    Ok(())
}

/// Lets several processes listen on an address, each with a share of its connections or datagrams.
///
/// On Linux SO_REUSEPORT spreads them by a hash of both addresses (socket(7)). FreeBSD has SO_REUSEPORT_LB for it
/// (setsockopt(2)). What the other systems call SO_REUSEPORT gives all connections to one of the sockets.
pub(super) fn set_reuse_port(socket: &impl AsFd) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    return Ok(rustix::net::sockopt::set_socket_reuseport(socket, true)?);
    #[cfg(target_os = "freebsd")]
    return Ok(rustix::net::sockopt::set_socket_reuseport_lb(socket, true)?);
    #[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
    {
        let _ = socket;
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this system does not spread connections over sockets that share a port",
        ))
    }
}
