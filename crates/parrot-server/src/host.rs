//! The one way from the loop to the operating system.
//!
//! [`NativeHost`] is the real system. The simulator puts a simulated host in its place.

mod messages;
mod native;
mod pages;
mod signals;
mod target;

use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use parrot_kqueue::Signal;
use parrot_udp::{Batch, Replied};

use crate::peer::Peer;

pub use messages::MESSAGE_TARGET;
pub(crate) use native::NativeHost;
pub use pages::Pages;
pub use signals::Signals;
pub use target::{ConnectionKey, Target};

/// What the loop asks of the system. Only [`wait`](Host::wait) blocks.
pub trait Host {
    /// A socket that accepts connections.
    type Listener;
    /// An accepted connection.
    type Socket;
    /// A socket for datagrams.
    type DatagramSocket;
    /// Spreads the networks that share a bound on answers. Nobody outside may be able to predict how, except in a
    /// simulation, which has to be repeatable.
    type Hasher: BuildHasher + Default;

    /// The time now. It never goes back.
    fn now(&mut self) -> Instant;

    /// Waits for events until the timeout and keeps them for [`next_event`](Host::next_event). `None` waits forever.
    /// May return early, with or without events, and may fail with `Interrupted`.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// The next of the events that the last wait found. Events of listeners come first, so that a burst of connections does
    /// not fill the backlog while others are served.
    fn next_event(&mut self) -> Option<Event>;

    /// Asks for events of one kind. [`Watch::Read`] is edge-triggered, the others are level-triggered.
    fn watch(&mut self, what: Watch<'_, Self>, target: Target) -> io::Result<()>;

    /// Ends what [`watch`](Host::watch) began. The loop always does so before it closes the descriptor.
    fn unwatch(&mut self, what: Watch<'_, Self>) -> io::Result<()>;

    /// Memory for a buffer of `size` bytes with any contents, or `None` when there is none.
    fn allocate(size: usize) -> Option<Pages> {
        Pages::allocate(size)
    }

    /// Takes the next connection from the backlog.
    fn accept(&mut self, listener: &Self::Listener) -> io::Result<(Self::Socket, Peer)>;

    /// Prepares a socket that this listener has accepted.
    fn set_up(&mut self, socket: &Self::Socket, listener: &Self::Listener) -> io::Result<()>;

    /// The address that the peer has connected to, if it is one of IP.
    fn local_address(&mut self, socket: &Self::Socket) -> io::Result<SocketAddr>;

    /// Whether connections are in the backlog. The loop asks this when it has no descriptor to accept with.
    fn has_backlog(&mut self, listener: &Self::Listener) -> io::Result<bool>;

    /// What [`receive`](Host::receive) would return, without receiving. A socket error comes before bytes and the end of the
    /// peer's stream.
    fn peek(&mut self, socket: &Self::Socket, space: &mut [u8]) -> io::Result<usize>;

    /// Receives into `space`, which is never empty. 0 is the end of the peer's stream.
    fn receive(&mut self, socket: &Self::Socket, space: &mut [u8]) -> io::Result<usize>;

    /// Sends as much of the front of `bytes` as the socket has room for. `bytes` is never empty.
    fn send(&mut self, socket: &Self::Socket, bytes: &[u8]) -> io::Result<usize>;

    /// Ends our stream. The peer sees the end after the last byte sent.
    fn shut_down(&mut self, socket: &Self::Socket) -> io::Result<()>;

    /// Closes a connection.
    fn close(&mut self, socket: Self::Socket);

    /// Closes a connection with a reset. Bytes that the peer has not received yet may be lost. A Unix socket knows no reset,
    /// so its peer sees the end of the stream, or on Linux a reset if bytes of it were not received (`unix_release_sock` in
    /// net/unix/af_unix.c).
    fn reset(&mut self, socket: Self::Socket);

    /// Closes a listener. Connections in its backlog are reset.
    fn close_listener(&mut self, listener: Self::Listener);

    /// Replaces the datagrams in the batch by those that have arrived, as many as fit. Fails with `WouldBlock` if there are
    /// none.
    fn receive_datagrams(&mut self, socket: &mut Self::DatagramSocket, batch: &mut Batch) -> io::Result<usize>;

    /// Sends every datagram in the batch that is not refused back to its source. What the system does not take is dropped.
    fn reply_datagrams(&mut self, socket: &mut Self::DatagramSocket, batch: &Batch) -> Replied;

    /// How many datagrams the system has dropped on their way in since the last call. 0 on systems that do not count them.
    fn dropped_datagrams(&mut self, socket: &mut Self::DatagramSocket) -> u64;

    /// Closes a socket for datagrams.
    fn close_datagrams(&mut self, socket: Self::DatagramSocket);

    /// Passes a message to the log.
    fn message(&mut self, peer: &Peer, payload: &[u8]);

    /// The same of a connection with these faults.
    fn message_with_faults(&mut self, peer: &Peer, faults: &str, payload: &[u8]);
}

/// A kind of event of a listener or a socket.
#[allow(missing_debug_implementations, reason = "borrows from a host that need not be Debug")]
pub enum Watch<'a, H: Host + ?Sized> {
    /// A connection can be accepted.
    Accept(&'a H::Listener),
    /// Datagrams have arrived.
    Datagrams(&'a H::DatagramSocket),
    /// Bytes have arrived, or the peer has finished, or the socket has failed.
    Read(&'a H::Socket),
    /// There is room for bytes to send, or the socket has failed.
    Write(&'a H::Socket),
}

/// What a wait found. It is a hint, and the call that follows finds out what is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A connection has bytes, its end or an error to receive.
    Readable {
        /// The connection, which may be closed by now.
        connection: ConnectionKey,
        /// A receive that leaves room in its buffer does not prove that the socket is empty. The end of the stream, an
        /// error or urgent data may be behind the bytes.
        read_on: bool,
        /// How many bytes have arrived. `None` if the system does not count them, or counts none.
        available: Option<NonZeroU64>,
    },
    /// A connection has room for bytes to send, or an error.
    Writable {
        /// The connection, which may be closed by now.
        connection: ConnectionKey,
    },
    /// Connections wait in the backlog of a listener.
    Backlog {
        /// The index of the listener.
        listener: usize,
        /// How many connections wait. `None` if the system does not count them, or counts none.
        available: Option<NonZeroU64>,
    },
    /// Datagrams have arrived at a socket.
    Datagrams {
        /// The index of the socket.
        socket: usize,
    },
    /// A signal was posted `count` times.
    Signal {
        /// Which one.
        signal: Signal,
        /// At least 1. The system may merge signals of a kind.
        count: u64,
    },
    /// Another thread wants the loop's attention.
    Wake,
}
