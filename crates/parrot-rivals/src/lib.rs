//! What the compared servers share: the port they are told to listen on.
//!
//! Each server is written the way its library's own examples are, echoes exactly what it receives, sets `TCP_NODELAY`,
//! and listens on 127.0.0.1 at the port that is its only argument.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// How much the bare loop, mio and a thread receive at once: twice what Go's `io.Copy` takes (32 KiB). Go's usual loop
/// and tokio have a buffer for each connection and receive 8 KiB, as their own examples do, and pay for it where messages
/// are large.
pub const RECEIVE: usize = 64 << 10;

/// The address to listen on, from the command line.
///
/// # Errors
///
/// If there is no port among the arguments.
pub fn address() -> io::Result<SocketAddr> {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the only argument is a port"))?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// A listener at [`address`] with room for as many waiting connections as Go, Node and Parrot ask for; the standard
/// library asks for 128, and a flood of ten thousand would meet a full queue.
///
/// # Errors
///
/// If there is no port among the arguments, or it is taken.
pub fn listener() -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address()?)?;
    rustix::net::listen(&listener, 4096)?;
    Ok(listener)
}
