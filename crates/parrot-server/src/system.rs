//! The one way from the loop to the operating system.
//!
//! The real system is `Kernel`; tests put a simulated one in its place, so this trait is reachable from outside, but it
//! is not stable API.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use parrot_kqueue::{Signal, Token};

pub use crate::event_loop::{EventLoop, ListLengths, LoopConfig, Shared};
pub use crate::pages::Pages;
pub use crate::statistics::Counters;

/// What the loop asks of the system. Calls never block but for [`wait`](System::wait).
pub trait System {
    /// A socket that accepts connections.
    type Listener;
    /// An accepted connection.
    type Socket;
    /// The event queue.
    type Queue;

    /// The time now; never goes back.
    fn now(&mut self) -> Instant;

    /// Waits for events until the timeout (`None`: for ever) and keeps them for [`next_event`](System::next_event).
    /// May return early, with or without events, and with `Interrupted`.
    fn wait(&mut self, queue: &mut Self::Queue, timeout: Option<Duration>) -> io::Result<()>;

    /// The next of the events that the last wait found.
    fn next_event(&mut self, queue: &mut Self::Queue) -> Option<Event>;

    /// Asks for events of one kind: [`Watch::Accept`] and [`Watch::Write`] level-triggered, [`Watch::Read`]
    /// edge-triggered.
    fn watch(&mut self, queue: &mut Self::Queue, what: Watch<'_, Self>, token: Token) -> io::Result<()>;

    /// Takes such a wish back. Always done before the descriptor is closed.
    fn unwatch(&mut self, queue: &mut Self::Queue, what: Watch<'_, Self>) -> io::Result<()>;

    /// Memory for a buffer of so many bytes, of any value; `None` when there is none.
    fn allocate(size: usize) -> Option<Pages> {
        Pages::allocate(size)
    }

    /// Takes the next connection that waits.
    fn accept(&mut self, listener: &Self::Listener) -> io::Result<(Self::Socket, SocketAddr)>;

    /// Makes an accepted socket fit for the loop: non-blocking, without delay.
    fn set_up(&mut self, socket: &Self::Socket) -> io::Result<()>;

    /// Whether connections wait to be accepted; asked when none can be, for want of descriptors.
    fn is_waiting(&mut self, listener: &Self::Listener) -> io::Result<bool>;

    /// What [`receive`](System::receive) would answer, with nothing received: 0 at the end of the peer's stream, 1 if
    /// bytes wait; an error of the socket comes before either.
    fn peek(&mut self, socket: &Self::Socket) -> io::Result<usize>;

    /// Receives into `space` (never empty): 0 is the end of the peer's stream.
    fn receive(&mut self, socket: &Self::Socket, space: &mut [u8]) -> io::Result<usize>;

    /// Sends from the front of `bytes` (never empty) what the socket has room for.
    fn send(&mut self, socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize>;

    /// Ends our stream: the peer sees the end after the last byte sent.
    fn shut_down(&mut self, socket: &Self::Socket) -> io::Result<()>;

    /// Closes a connection.
    fn close(&mut self, socket: Self::Socket);

    /// Closes a listener; connections that wait in its backlog are reset.
    fn close_listener(&mut self, listener: Self::Listener);

    /// Hands a message over to the log.
    fn message(&mut self, peer: SocketAddr, payload: &[u8]);
}

/// A kind of event, of a listener or a socket.
#[allow(missing_debug_implementations, reason = "borrows from a system that need not be Debug")]
pub enum Watch<'a, S: System + ?Sized> {
    /// Connections wait to be accepted.
    Accept(&'a S::Listener),
    /// Bytes wait to be received, or the peer has finished, or the socket has failed.
    Read(&'a S::Socket),
    /// There is room for bytes to send, or the socket has failed.
    Write(&'a S::Socket),
}

/// What a wait found. A hint: the call that follows says what is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A listener or a socket can be read.
    Readable {
        /// What the registration was given.
        token: Token,
        /// A receive that leaves room in its buffer does not show that the socket is empty: the end of the stream, an
        /// error or urgent data may be behind the bytes.
        read_on: bool,
        /// How many bytes wait, where the system says so.
        available: Option<u64>,
    },
    /// A socket can be written.
    Writable {
        /// What the registration was given.
        token: Token,
    },
    /// A signal that was asked for was posted `count` times.
    Signal {
        /// Which one.
        signal: Signal,
        /// At least 1; signals of a kind may be merged.
        count: u64,
    },
    /// Another thread wants the loop's attention.
    Wake,
}
