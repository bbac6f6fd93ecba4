//! The listener: which clients come in, how many of them, and for how long.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Sleep;

use crate::reserve::{Refill, Reserve};

/// The most connections at a time.
pub(crate) const CONNECTIONS: usize = 64;

/// How long a connection may be open, whatever its client does. A page takes milliseconds, and the slowest, `/healthz`,
/// a second.
const LIFETIME: Duration = Duration::from_secs(10);

/// The most bytes that are received on a connection, with some room beyond for the last receive call. A request has no
/// body, but a browser may send cookies that other services of this machine have set.
const REQUEST: usize = 64 * 1024;

/// How long accepting pauses after an error, which is mostly that descriptors have run out, the one in reserve too.
const PAUSE: Duration = Duration::from_millis(250);

/// The listener that the pages are served on.
#[derive(Debug)]
pub struct Door(Kind<TcpListener, UnixListener>);

/// A TCP or a Unix socket.
#[derive(Debug)]
enum Kind<Tcp, Unix> {
    Tcp(Tcp),
    Unix(Unix),
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Door {
        Door(Kind::Tcp(listener))
    }
}

impl From<UnixListener> for Door {
    fn from(listener: UnixListener) -> Door {
        Door(Kind::Unix(listener))
    }
}

impl Door {
    /// Opens the door for a runtime, which has to be the current one.
    pub(crate) fn open(self) -> io::Result<OpenDoor> {
        let listener = match self.0 {
            Kind::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Kind::Tcp(tokio::net::TcpListener::from_std(listener)?)
            }
            Kind::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Kind::Unix(tokio::net::UnixListener::from_std(listener)?)
            }
        };
        Ok(OpenDoor {
            listener,
            free: Arc::new(Semaphore::new(CONNECTIONS)),
            guests: VecDeque::new(),
            reserve: Reserve::new(),
        })
    }
}

/// A door that lets clients in.
pub(crate) struct OpenDoor {
    listener: Kind<tokio::net::TcpListener, tokio::net::UnixListener>,
    /// Places for connections.
    free: Arc<Semaphore>,
    /// Oldest first.
    guests: VecDeque<Seat>,
    reserve: Reserve,
}

/// What the door knows of a connection. Dropping it closes the connection.
struct Seat {
    gone: oneshot::Sender<()>,
    /// The head of its request has come whole.
    asked: Arc<AtomicBool>,
}

impl OpenDoor {
    /// The next connection.
    async fn next(&self) -> io::Result<Kind<TcpStream, UnixStream>> {
        match &self.listener {
            Kind::Tcp(listener) => listener.accept().await.map(|(stream, _)| Kind::Tcp(stream)),
            Kind::Unix(listener) => listener.accept().await.map(|(stream, _)| Kind::Unix(stream)),
        }
    }

    /// A place for a connection. When all are taken, the oldest connection without a whole request has to go, because
    /// it is the one that has made the least of its time. If all have one, the oldest goes.
    async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        if self.free.available_permits() == 0 {
            // A request that has arrived may not have been received yet.
            tokio::task::yield_now().await;
        }
        self.guests.retain(|guest| !guest.gone.is_closed());
        while self.free.available_permits() == 0 && self.guests.len() >= CONNECTIONS {
            let without = self.guests.iter().position(|guest| !guest.asked.load(Ordering::Relaxed));
            self.guests.remove(without.unwrap_or_default());
        }
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

impl axum::serve::Listener for OpenDoor {
    type Io = Guest;
    type Addr = ();

    async fn accept(&mut self) -> (Guest, ()) {
        loop {
            let mut accepted = self.next().await;
            if accepted.as_ref().is_err_and(ran_out_of_descriptors) && self.reserve.spend() {
                // A system takes a descriptor before it looks for a connection, so perhaps none is waiting
                // (__sys_accept4_file in Linux's net/socket.c, kern_accept4 in FreeBSD's sys/kern/uipc_syscalls.c).
                let mut next = pin!(self.next());
                match poll_fn(|context| Poll::Ready(next.as_mut().poll(context))).await {
                    Poll::Ready(again) => accepted = again,
                    Poll::Pending => {
                        self.reserve.fill();
                        continue;
                    }
                }
            }
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    // The server can have taken the descriptor meanwhile.
                    self.reserve.fill();
                    tracing::debug!(target: "parrot_admin", %error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(place) = self.place().await else { continue };
            let (gone, going) = oneshot::channel();
            let asked = Arc::<AtomicBool>::default();
            self.guests.push_back(Seat { gone, asked: Arc::clone(&asked) });
            let end = Box::pin(tokio::time::sleep(LIFETIME));
            let head = Head::default();
            return (
                Guest {
                    stream,
                    received: 0,
                    head,
                    asked,
                    end,
                    gone: going,
                    over: false,
                    _place: place,
                    _refill: self.reserve.refill(),
                },
                (),
            );
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the process (EMFILE) or the machine (ENFILE) can open no more.
fn ran_out_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// A connection that ends in time.
pub(crate) struct Guest {
    stream: Kind<TcpStream, UnixStream>,
    /// How many bytes were received.
    received: usize,
    head: Head,
    /// For the door, whether the head is whole.
    asked: Arc<AtomicBool>,
    end: Pin<Box<Sleep>>,
    /// Ready when the place is needed for another connection.
    gone: oneshot::Receiver<()>,
    /// One of the two was ready.
    over: bool,
    _place: OwnedSemaphorePermit,
    // Dropped after the stream is closed.
    _refill: Refill,
}

impl Guest {
    /// Whether the client has connected to a loopback address, so that it runs on this machine. True too if the system
    /// does not say.
    pub(crate) fn came_by_loopback(&self) -> bool {
        match &self.stream {
            Kind::Tcp(stream) => stream.local_addr().map_or(true, |address| address.ip().to_canonical().is_loopback()),
            Kind::Unix(_) => false,
        }
    }

    /// Fails once the connection has to end, and sees to it that the task is woken then.
    fn stays(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // A receiver that was ready must not be polled again.
        self.over = self.over
            || self.end.as_mut().poll(context).is_ready()
            || Pin::new(&mut self.gone).poll(context).is_ready();
        if self.over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stays(context)?;
        if self.received >= REQUEST {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let before = buffer.filled().len();
        let read = match &mut self.stream {
            Kind::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Kind::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let new = buffer.filled().get(before..).unwrap_or_default();
        let (is_end, has_room) = (new.is_empty(), buffer.remaining() > 0);
        self.received += new.len();
        if self.head.is_whole_with(new) {
            self.asked.store(true, Ordering::Relaxed);
            // hyper would drop the request. A client may say that it sends no more and still wait for the response
            // (RFC 9112, section 9.6). The deadline holds on.
            if is_end && has_room && matches!(read, Poll::Ready(Ok(()))) {
                return Poll::Pending;
            }
        }
        read
    }
}

/// Where the head of a request ends: at the first empty line behind others (RFC 9112, sections 2.1 and 2.2).
#[derive(Debug, Default)]
enum Head {
    /// No line has begun.
    #[default]
    Empty,
    InLine,
    /// A line has ended.
    BetweenLines,
    Whole,
}

impl Head {
    /// Whether the head is whole with these bytes. Like hyper, it takes a line to end with or without a CR.
    fn is_whole_with(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            *self = match (&self, byte) {
                (Head::Whole, _) | (Head::BetweenLines, b'\n') => Head::Whole,
                (Head::Empty, b'\r' | b'\n') => Head::Empty,
                (Head::InLine, b'\n') | (Head::BetweenLines, b'\r') => Head::BetweenLines,
                _ => Head::InLine,
            };
        }
        matches!(self, Head::Whole)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stays(context)?;
        match &mut self.stream {
            Kind::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Kind::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stays(context)?;
        match &mut self.stream {
            Kind::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Kind::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stays(context)?;
        match &mut self.stream {
            Kind::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Kind::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {

    use axum::serve::Listener as _;

    use super::*;

    #[test]
    fn a_head_ends_at_the_first_empty_line() {
        for (head, whole) in [
            ("GET / HTTP/1.0\r\n\r\n", true),
            ("\r\nGET / HTTP/1.0\nHost: a\n\nbody", true),
            ("GET / HTTP/1.1\r\nHost: a\r\n", false),
            ("\r\n\r\n", false),
            ("", false),
        ] {
            assert_eq!(Head::default().is_whole_with(head.as_bytes()), whole, "{head:?}");
            let mut by_bytes = Head::default();
            let last = head.bytes().map(|byte| by_bytes.is_whole_with(&[byte])).last();
            assert_eq!(last.unwrap_or_default(), whole, "{head:?}");
        }
    }

    #[test]
    fn every_call_on_a_connection_that_must_end_fails() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let mut door = Door::from(listener).open().unwrap();
            let _client = std::net::TcpStream::connect(address).unwrap();
            let (mut guest, ()) = door.accept().await;
            door.guests.clear();
            for _ in 0..2 {
                let mut bytes = [0];
                let read = poll_fn(|context| Pin::new(&mut guest).poll_read(context, &mut ReadBuf::new(&mut bytes)));
                assert!(read.await.is_err());
                assert!(poll_fn(|context| Pin::new(&mut guest).poll_flush(context)).await.is_err());
            }
        });
    }
}
