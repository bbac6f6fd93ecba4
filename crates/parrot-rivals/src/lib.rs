//! What the rivals share, which are the echo servers that Parrot is compared with: the listener, and the system's queue.
//!
//! Each server is written like the examples of its library, echoes exactly what it receives, and sets `TCP_NODELAY`.
//! It listens on 127.0.0.1 at the port that is its only argument, or at the path of a Unix socket.

#[cfg_attr(target_os = "linux", path = "queue/epoll.rs")]
#[cfg_attr(not(target_os = "linux"), path = "queue/kqueue.rs")]
pub mod queue;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

/// The size of the receive buffer of the bare loop, of mio, of compio and of threads.
///
/// It is twice that of Go's `io.Copy`. Go's usual loop and tokio have an 8 KiB buffer per connection, as in their own
/// examples, and are slower with large messages.
pub const RECEIVE: usize = 64 << 10;

/// Reads the address to listen on from the command line.
///
/// # Errors
///
/// If the first argument is not a port.
pub fn address() -> io::Result<SocketAddr> {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the first argument must be a port"))?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Listens at [`address`] with a backlog as long as that of Go, Node and Parrot.
///
/// The standard library's backlog of 128 would be full when 10,000 connections arrive at once.
///
/// # Errors
///
/// If the first argument is not a port, or the port is in use.
pub fn listener() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address()?)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Listens at the path that is the first argument, with the same backlog.
///
/// # Errors
///
/// If there is no argument, or a socket cannot be bound to the path.
pub fn unix_listener() -> io::Result<UnixListener> {
    let path = std::env::args_os().nth(1);
    let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the first argument must be a path"))?;
    let listener = UnixListener::bind(path)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// The backlog of Go, Node and Parrot.
const BACKLOG: i32 = 4096;
