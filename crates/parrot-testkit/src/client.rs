//! Connections to a server, with a deadline for every call.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "for tests")]

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::patience::PATIENCE;

/// Connects. Calls on the connection fail after [`PATIENCE`].
#[track_caller]
pub fn connect(address: SocketAddr) -> TcpStream {
    with_timeouts(TcpStream::connect_timeout(&address, PATIENCE).unwrap())
}

/// Connects with the smallest buffers and segments that the system grants, so that the server's fill up soon. Calls on
/// the connection fail after [`PATIENCE`].
#[track_caller]
pub fn connect_with_tiny_buffers(address: SocketAddr) -> TcpStream {
    with_timeouts(tiny_socket(address).unwrap().into())
}

/// A connection with the smallest buffers and segments that the system grants.
pub fn tiny_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    // Close-on-exec, so that no program that another thread starts meanwhile inherits the socket.
    #[cfg(not(target_os = "macos"))]
    let socket = rustix::net::socket_with(family, SocketType::STREAM, rustix::net::SocketFlags::CLOEXEC, None)?;
    // macOS has no such flag for socket(2), so one that starts at this moment can inherit it.
    #[cfg(target_os = "macos")]
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    // Before the connection is made, because the first window depends on it.
    sockopt::set_socket_send_buffer_size(&socket, 1024)?;
    sockopt::set_socket_recv_buffer_size(&socket, 1024)?;
    // What the server may send at first, and so the size of its own buffer, depends on the segments that this side
    // takes. On Linux's loopback they have 64 KiB otherwise (tcp_init_buffer_space in net/ipv4/tcp_input.c).
    #[cfg(target_os = "linux")]
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::TcpMaxSeg, &536)?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

/// A UDP socket for datagrams of every length. Receiving fails after [`PATIENCE`].
#[track_caller]
pub fn datagram_client(address: impl ToSocketAddrs) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    allow_any_length(&socket);
    socket
}

/// Outside of Linux, the default send buffer of a UDP socket takes 9,216 bytes and the receive buffer about 42,000. Two of
/// the longest datagrams of IPv6 need more than 128 KiB, because their addresses count too (`sbappendaddr_locked` in
/// FreeBSD's sys/kern/uipc_sockbuf.c).
#[track_caller]
pub(crate) fn allow_any_length(socket: &UdpSocket) {
    if cfg!(not(target_os = "linux")) {
        sockopt::set_socket_send_buffer_size(socket, 256 * 1024).unwrap();
        sockopt::set_socket_recv_buffer_size(socket, 256 * 1024).unwrap();
    }
}

#[track_caller]
fn with_timeouts(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends `message` and expects it back. It reads only after that, so a message longer than the 128 KiB that the server
/// holds may find no room.
#[track_caller]
pub fn echo(mut stream: &TcpStream, message: &[u8]) {
    stream.write_all(message).unwrap();
    expect(stream, message);
}

/// Expects these bytes next.
#[track_caller]
pub fn expect(mut stream: &TcpStream, bytes: &[u8]) {
    let mut received = vec![0; bytes.len()];
    stream.read_exact(&mut received).unwrap();
    assert!(received == bytes, "the bytes received differ from those sent");
}

/// Expects the end of the stream next.
#[track_caller]
pub fn expect_end(mut stream: &TcpStream) {
    assert_eq!(stream.read(&mut [0; 64]).unwrap(), 0, "bytes where the end of the stream should be");
}

/// Whether nothing arrives for a moment. A late server looks like a silent one, so this is good as a premise only.
pub fn is_silent(stream: &TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let silent = stream.peek(&mut [0]).is_err_and(|error| is_blocked(&error));
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    silent
}

/// Writes from `data` until neither the socket nor the server takes more, and returns how much they took.
#[track_caller]
pub fn fill(mut stream: &TcpStream, data: &[u8]) -> usize {
    // On a busy machine a server may take nothing for a while, though it could.
    const ATTEMPTS: u32 = 3;
    let (mut written, mut in_vain) = (0, 0);
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    while in_vain < ATTEMPTS {
        assert!(written < data.len(), "all of it was taken, so nothing holds the server back");
        match stream.write(&data[written..]) {
            Ok(n) => (written, in_vain) = (written + n, 0),
            Err(error) if is_blocked(&error) => in_vain += 1,
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    written
}

fn is_blocked(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Closes the connection by a reset.
pub fn reset(stream: TcpStream) -> io::Result<()> {
    match sockopt::set_socket_linger(&stream, Some(Duration::ZERO)) {
        // macOS returns this when the other end was faster.
        Err(Errno::INVAL) if cfg!(target_os = "macos") => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// A port of the IPv4 loopback address that was free a moment ago.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
