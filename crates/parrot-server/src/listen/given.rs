//! Listeners that the caller has opened, checked and made fit for the loop.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::net::{SocketType, sockopt};

use super::address::{local_ip, local_unix};
use super::{BindError, ListenOptions, Listener, LocalAddress, sockets};

/// Takes a TCP listener. Its options are set again, because the sockets that it accepts inherit them.
pub(super) fn tcp(given: TcpListener, options: &ListenOptions) -> Result<(Listener, LocalAddress), BindError> {
    let taken = || {
        check(&given)?;
        options.socket.set_on_listener(&given)?;
        local_ip(&given)
    };
    let address = taken().map_err(|error| BindError::given("TCP listener", error))?;
    Ok((Listener::tcp(given.into()).given(), LocalAddress::Tcp(address)))
}

/// Takes a Unix listener. Its file belongs to the one who made it.
pub(super) fn unix(given: UnixListener) -> Result<(Listener, LocalAddress), BindError> {
    let taken = || {
        check(&given)?;
        local_unix(&given)
    };
    let address = taken().map_err(|error| BindError::given("Unix listener", error))?;
    Ok((Listener::unix(OwnedFd::from(given), None).given(), address))
}

/// Checks that a socket accepts streams, and sets its flags.
fn check(socket: &impl AsFd) -> io::Result<()> {
    if sockopt::socket_type(socket)? != SocketType::STREAM {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a stream socket"));
    }
    if !is_listening(socket)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it does not listen"));
    }
    Ok(sockets::set_flags(socket)?)
}

/// Whether a stream socket listens.
pub(super) fn is_listening(socket: &impl AsFd) -> io::Result<bool> {
    // macOS declares SO_ACCEPTCONN but does not implement it: getsockopt(2). There a socket that does not listen fails at
    // its first accept.
    #[cfg(target_os = "macos")]
    let listening = {
        let _ = socket;
        true
    };
    #[cfg(not(target_os = "macos"))]
    let listening = sockopt::socket_acceptconn(socket)?;
    Ok(listening)
}
