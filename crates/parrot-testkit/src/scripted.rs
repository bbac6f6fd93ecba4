//! Servers that do what a test wants, good or bad, for as long as the test runs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "for tests")]

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::client::allow_any_length;

/// A server on a free port of the IPv4 loopback address. Each connection is numbered as accepted and served by `serve`
/// on a thread of its own.
pub fn serve(serve: impl Fn(u64, TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || serve_at(&listener, serve));
    address
}

/// The same at this listener, on this thread.
pub fn serve_at(listener: &TcpListener, serve: impl Fn(u64, TcpStream) -> io::Result<()> + Send + Sync + 'static) {
    let serve = Arc::new(serve);
    for (number, stream) in (0..).zip(listener.incoming().flatten()) {
        let serve = Arc::clone(&serve);
        // FreeBSD refuses this on a connection that the peer has reset (`tcp_ctloutput` in netinet/tcp_usrreq.c).
        let _ = stream.set_nodelay(true);
        thread::spawn(move || serve(number, stream));
    }
}

/// Sends what `reply` makes of each receive, which it gets with the number of receives before it on the connection.
pub fn reply(mut stream: TcpStream, reply: impl Fn(u64, &[u8]) -> Vec<u8>) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    for receive in 0.. {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        stream.write_all(&reply(receive, &buffer[..count]))?;
    }
    Ok(())
}

/// Sends everything back.
pub fn echo(mut stream: TcpStream) -> io::Result<()> {
    io::copy(&mut stream.try_clone()?, &mut stream).map(drop)
}

/// A server that sends everything back and reports each receive.
pub fn reporting() -> (SocketAddr, Receiver<()>) {
    let (sender, receives) = mpsc::channel();
    let address = serve(move |_, stream| {
        reply(stream, |_, bytes| {
            let _ = sender.send(());
            bytes.to_vec()
        })
    });
    (address, receives)
}

/// A UDP server on a free port of the IPv4 loopback address. It answers each datagram with what `answers` makes of it,
/// which gets it with the number of datagrams before it.
pub fn serve_datagrams(answers: impl FnMut(u64, &[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    serve_datagrams_at(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), answers)
}

/// The same at this socket.
pub fn serve_datagrams_at(
    socket: UdpSocket,
    mut answers: impl FnMut(u64, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
) -> SocketAddr {
    allow_any_length(&socket);
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut space = vec![0; 65_536];
        for number in 0.. {
            let Ok((length, peer)) = socket.recv_from(&mut space) else { continue };
            for answer in answers(number, &space[..length]) {
                let _ = socket.send_to(&answer, peer); // the client may be gone
            }
        }
    });
    address
}
