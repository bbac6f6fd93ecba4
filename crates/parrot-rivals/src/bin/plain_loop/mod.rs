//! The bare loop on the system's own event queue: wait, one receive, one send.
//!
//! It is level-triggered and has no limits, no statistics and no timeouts. A careful server can at best be as fast.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use parrot_rivals::queue::Queue;

const LISTENER: usize = usize::MAX;

/// A listener that never blocks, for the streams of one kind of socket.
pub(crate) trait Listener: AsFd {
    type Stream: Read + Write + AsFd;

    /// Accepts a stream that never blocks.
    fn accept_stream(&self) -> io::Result<Self::Stream>;
}

struct Connection<Stream> {
    stream: Stream,
    /// Bytes that the socket had no room for. Usually empty.
    unsent: Vec<u8>,
}

/// Echoes on every stream that `listener` accepts. A wait for events ends after `timeout`, if there is one.
///
/// A timeout of zero makes a loop that never sleeps.
pub(crate) fn serve<L: Listener>(listener: &L, timeout: Option<Duration>) -> io::Result<()> {
    let mut queue = Queue::new()?;
    queue.add(listener.as_fd(), LISTENER)?;
    let mut connections: Vec<Option<Connection<L::Stream>>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; parrot_rivals::RECEIVE];
    loop {
        for event in 0..queue.wait(timeout)? {
            let index = queue.token(event);
            if index == LISTENER {
                while let Ok(stream) = listener.accept_stream() {
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
            if !echo(connection, index, &queue, &mut buffer) {
                *place = None;
                free.push(index);
            }
        }
    }
}

/// Receives once and sends once. Returns `false` when the connection has ended.
fn echo<S>(connection: &mut Connection<S>, index: usize, queue: &Queue, buffer: &mut [u8]) -> bool
where
    S: Read + Write + AsFd,
{
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
