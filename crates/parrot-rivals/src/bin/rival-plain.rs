//! The bare loop on the system's own event queue: wait, one receive, one send.
//!
//! It is level-triggered and has no limits, no statistics and no timeouts. A careful server can at best be as fast.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;

#[cfg_attr(target_os = "linux", path = "plain_queue/epoll.rs")]
#[cfg_attr(not(target_os = "linux"), path = "plain_queue/kqueue.rs")]
mod plain_queue;

use plain_queue::Queue;

const LISTENER: usize = usize::MAX;

struct Connection {
    stream: TcpStream,
    /// Bytes that the socket had no room for. Usually empty.
    unsent: Vec<u8>,
}

fn main() -> io::Result<()> {
    let listener = parrot_rivals::listener()?;
    listener.set_nonblocking(true)?;
    let mut queue = Queue::new()?;
    queue.add(listener.as_fd(), LISTENER)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; parrot_rivals::RECEIVE];
    loop {
        for event in 0..queue.wait()? {
            let index = queue.token(event);
            if index == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let index = free.pop().unwrap_or(connections.len());
                    queue.add(stream.as_fd(), index)?;
                    let connection = Some(Connection { stream, unsent: Vec::new() });
                    match connections.get_mut(index) {
                        Some(place) => *place = connection,
                        None => connections.push(connection),
                    }
                }
                continue;
            }
            let Some(place) = connections.get_mut(index) else { continue };
            let Some(connection) = place else { continue };
            if !serve(connection, index, &queue, &mut buffer) {
                *place = None;
                free.push(index);
            }
        }
    }
}

/// Receives once and sends once. Returns `false` when the connection has ended.
fn serve(connection: &mut Connection, index: usize, queue: &Queue, buffer: &mut [u8]) -> bool {
    let Connection { stream, unsent } = connection;
    if !unsent.is_empty() {
        let Ok(sent) = or_nothing(stream.write(unsent)) else { return false };
        unsent.drain(..sent);
        return !unsent.is_empty() || queue.want_read(stream.as_fd(), index).is_ok();
    }
    let count = match stream.read(buffer) {
        Ok(0) => return false,
        Ok(count) => count,
        Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
    };
    let received = buffer.get(..count).unwrap_or_default();
    let Ok(sent) = or_nothing(stream.write(received)) else { return false };
    if sent == count {
        return true;
    }
    unsent.extend_from_slice(received.get(sent..).unwrap_or_default());
    queue.want_write(stream.as_fd(), index).is_ok()
}

/// Counts a full socket as having sent nothing.
fn or_nothing(outcome: io::Result<usize>) -> io::Result<usize> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
