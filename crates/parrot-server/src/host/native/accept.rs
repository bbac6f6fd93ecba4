//! Taking a connection from a backlog, and the remote end of it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::SocketAddrAny;

use crate::listen::{Carrier, Listener};
use crate::peer::Peer;

/// Takes the next connection, as a socket that does not block and is closed on exec.
pub(super) fn accept(listener: &Listener) -> io::Result<(OwnedFd, Peer)> {
    let (socket, address) = accept_socket(listener)?;
    let peer = match listener.carrier() {
        // macOS accepts a peer that has gone already with an address of length 0 (capnproto#2365).
        Carrier::Tcp => address.and_then(|address| SocketAddr::try_from(address).ok()).map(Peer::from),
        Carrier::Unix => Some(Peer::Unix { user: user(&socket) }),
    };
    Ok((socket, peer.ok_or(io::ErrorKind::InvalidInput)?))
}

#[cfg(not(target_os = "macos"))]
fn accept_socket(listener: &Listener) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    use rustix::net::{SocketFlags, acceptfrom_with};

    Ok(acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?)
}

/// macOS has no call for both flags. The socket inherits that it does not block (`sonewconn` in
/// bsd/kern/uipc_socket2.c).
#[cfg(target_os = "macos")]
fn accept_socket(listener: &Listener) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    let (socket, address) = rustix::net::acceptfrom(listener)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok((socket, address))
}

/// The number of the user that opened a Unix connection, as SO_PEERCRED of unix(7) or getpeereid(3) returns it.
fn user(socket: &OwnedFd) -> Option<u32> {
    #[cfg(target_os = "linux")]
    let user = rustix::net::sockopt::socket_peercred(socket).ok().map(|peer| peer.uid.as_raw());
    #[cfg(not(target_os = "linux"))]
    let user = nix::unistd::getpeereid(socket).ok().map(|(user, _)| user.as_raw());
    user
}
