//! An echo server with mio, the readiness library below tokio.
//!
//! It is edge-triggered and reads until the socket is empty, as mio's documentation recommends.

use std::io::{self, Read, Write};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    /// Bytes that the socket had no room for. Usually empty.
    unsent: Vec<u8>,
}

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let listener = parrot_rivals::listener()?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; parrot_rivals::RECEIVE];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    admit(stream, poll.registry(), &mut connections, &mut free)?;
                }
                continue;
            }
            let index = event.token().0;
            let Some(place) = connections.get_mut(index) else { continue };
            let Some(connection) = place else { continue };
            if !matches!(serve(connection, event, &mut buffer), Ok(true)) {
                poll.registry().deregister(&mut connection.stream)?;
                *place = None;
                free.push(index);
            }
        }
    }
}

fn admit(
    mut stream: TcpStream,
    registry: &Registry,
    connections: &mut Vec<Option<Connection>>,
    free: &mut Vec<usize>,
) -> io::Result<()> {
    let index = free.pop().unwrap_or(connections.len());
    stream.set_nodelay(true)?;
    registry.register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
    let connection = Some(Connection { stream, unsent: Vec::new() });
    match connections.get_mut(index) {
        Some(place) => *place = connection,
        None => connections.push(connection),
    }
    Ok(())
}

/// Echoes what the socket contains. Returns `false` once the peer has shut down its side.
fn serve(connection: &mut Connection, event: &Event, buffer: &mut [u8]) -> io::Result<bool> {
    if event.is_writable() && !connection.unsent.is_empty() {
        let sent = send(&mut connection.stream, &connection.unsent)?;
        connection.unsent.drain(..sent);
    }
    while connection.unsent.is_empty() {
        let count = match connection.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        let received = buffer.get(..count).unwrap_or_default();
        let sent = send(&mut connection.stream, received)?;
        connection.unsent.extend_from_slice(received.get(sent..).unwrap_or_default());
        // A read that leaves room has emptied the socket, so mio's documentation allows stopping here.
        if count < buffer.len() && !event.is_read_closed() {
            return Ok(true);
        }
    }
    Ok(true)
}

/// Sends until the socket is full. Returns how much it sent.
fn send(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match stream.write(rest) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
