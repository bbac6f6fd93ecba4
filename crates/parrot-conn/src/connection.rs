//! Everything that changes a connection's state.

use std::time::{Duration, Instant};

use crate::buffer::{Buffer, BufferPool};

/// One echo connection: the bytes it owes its peer and what it wants next.
///
/// Verbs come in pairs: [`receive_space`](Connection::receive_space) is followed by
/// [`received`](Connection::received) or [`received_end`](Connection::received_end),
/// [`to_send`](Connection::to_send) by [`sent`](Connection::sent),
/// [`wants_shut_down`](Connection::wants_shut_down) by [`shut_down`](Connection::shut_down). End a round of these with
/// [`release`](Connection::release), which gives the buffer back when nothing is pending.
///
/// Invariant: a buffer with pending bytes exists only while the write side is open.
#[derive(Debug)]
pub struct Connection<Memory = Box<[u8]>> {
    buffer: Option<Buffer<Memory>>,
    last_activity: Instant,
    input: Input,
    write_open: bool,
    draining: bool,
    close_reason: Option<CloseReason>,
}

/// What is known of the bytes that the peer may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// There may be bytes to receive.
    Open,
    /// A receive call has found nothing left since [`Connection::drain`]; more may come.
    Quiet,
    /// The peer has finished.
    Ended,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Bytes from the peer, or its end of stream.
    pub read: bool,
    /// Room for bytes to the peer.
    pub write: bool,
}

/// Why a connection has ended, in words that a log can show.
///
/// ```
/// use parrot_conn::CloseReason;
///
/// assert_eq!(CloseReason::PeerFinished.to_string(), "peer finished");
/// assert!(CloseReason::ALL.contains(&CloseReason::Reset));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended its stream and was sent everything it was owed.
    PeerFinished,
    /// The peer reset the connection or stopped taking bytes: an ordinary end.
    Reset,
    /// No byte went in or out for the idle time-out.
    IdleTimeout,
    /// We finished first, in a drain, and the peer then ended its stream.
    Drained,
    /// The peer did not end its stream before the drain time-out.
    DrainTimeout,
    /// The system could not go on with this connection.
    Failed,
}

impl CloseReason {
    /// Every reason, in declaration order.
    pub const ALL: [CloseReason; 6] = [
        CloseReason::PeerFinished,
        CloseReason::Reset,
        CloseReason::IdleTimeout,
        CloseReason::Drained,
        CloseReason::DrainTimeout,
        CloseReason::Failed,
    ];

    /// The reason as a few lower-case words.
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::PeerFinished => "peer finished",
            CloseReason::Reset => "reset",
            CloseReason::IdleTimeout => "idle timeout",
            CloseReason::Drained => "drained",
            CloseReason::DrainTimeout => "drain timeout",
            CloseReason::Failed => "failed",
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is nothing to receive into. An empty slice instead would make a receive call look like the end of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSpace {
    /// The buffer is full: ask again when all of [`Connection::to_send`] has been sent.
    OutputFull,
    /// The pool has no buffer left: ask again after another connection has given one back.
    PoolEmpty,
    /// There is no memory for another buffer, though the pool may lend one: ask again some time later.
    NoMemory,
    /// The input has ended, or the connection is closed: nothing more is to be received.
    InputEnded,
}

impl std::fmt::Display for NoSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NoSpace::OutputFull => "the output buffer is full: send first",
            NoSpace::PoolEmpty => "no buffer is free: wait until another connection gives one back",
            NoSpace::NoMemory => "there is no memory for a buffer: try again later",
            NoSpace::InputEnded => "the input has ended: nothing more is to be received",
        })
    }
}

impl std::error::Error for NoSpace {}

impl Connection {
    /// A connection that was opened at `now`, for a pool of buffers on the heap ([`BufferPool::new`]).
    pub fn new(now: Instant) -> Connection {
        Connection::opened(now)
    }
}

impl<Memory: AsRef<[u8]> + AsMut<[u8]>> BufferPool<Memory> {
    /// A connection that was opened at `now`, for buffers of this pool's kind of memory.
    pub fn connection(&self, now: Instant) -> Connection<Memory> {
        Connection::opened(now)
    }
}

impl<Memory: AsRef<[u8]> + AsMut<[u8]>> Connection<Memory> {
    fn opened(now: Instant) -> Connection<Memory> {
        Connection {
            buffer: None,
            last_activity: now,
            input: Input::Open,
            write_open: true,
            draining: false,
            close_reason: None,
        }
    }

    /// Where the next receive call may write: never empty.
    ///
    /// Takes a buffer from the pool if the connection holds none.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] says why there is none and when to ask again.
    pub fn receive_space(&mut self, pool: &mut BufferPool<Memory>) -> Result<&mut [u8], NoSpace> {
        if self.input == Input::Ended || self.close_reason.is_some() {
            return Err(NoSpace::InputEnded);
        }
        if self.buffer.is_none() {
            let lack = if pool.can_lend() { NoSpace::NoMemory } else { NoSpace::PoolEmpty };
            self.buffer = Some(pool.lend().ok_or(lack)?);
        }
        match self.buffer.as_mut().map(Buffer::space) {
            Some(space) if !space.is_empty() => Ok(space),
            _ => Err(NoSpace::OutputFull),
        }
    }

    /// `n` bytes now stand at the front of [`receive_space`](Connection::receive_space).
    ///
    /// Once the write side is shut down they cannot be sent back any more and are discarded: see
    /// [`discards_input`](Connection::discards_input).
    pub fn received(&mut self, n: usize, now: Instant) {
        self.last_activity = now;
        if self.discards_input() {
            return;
        }
        if self.input == Input::Quiet {
            self.input = Input::Open;
        }
        if let Some(buffer) = &mut self.buffer {
            buffer.fill(n);
        }
    }

    /// A receive call has shown that no byte is left to receive for the moment.
    ///
    /// It matters in a drain only: this is when a connection that owes nothing may shut its write side down.
    pub fn input_emptied(&mut self) {
        if self.draining && self.input == Input::Open {
            self.input = Input::Quiet;
        }
    }

    /// A receive call returned 0: the peer has finished. What is pending is still to be sent.
    pub fn received_end(&mut self) {
        self.input = Input::Ended;
        if !self.write_open {
            self.close(CloseReason::Drained);
        }
    }

    /// The bytes to send next, oldest first; empty when nothing is pending.
    pub fn to_send(&self) -> &[u8] {
        self.buffer.as_ref().map(Buffer::pending).unwrap_or_default()
    }

    /// The first `n` bytes of [`to_send`](Connection::to_send) have been taken by the system.
    pub fn sent(&mut self, n: usize, now: Instant) {
        self.last_activity = now;
        if let Some(buffer) = &mut self.buffer {
            buffer.advance(n);
        }
    }

    /// What the connection waits for; may change after any method that takes `&mut self`.
    pub fn interest(&self) -> Interest {
        let open = self.close_reason.is_none();
        Interest {
            read: open && self.input != Input::Ended && !self.buffer.as_ref().is_some_and(Buffer::is_full),
            write: open && !self.to_send().is_empty(),
        }
    }

    /// Whether the write side is to be shut down now: everything owed is sent, and either the peer has finished or a
    /// drain found its input empty.
    pub fn wants_shut_down(&self) -> bool {
        let finished = self.input == Input::Ended || (self.draining && self.input == Input::Quiet);
        self.close_reason.is_none() && self.write_open && finished && self.to_send().is_empty()
    }

    /// The write side has been shut down.
    pub fn shut_down(&mut self) {
        self.write_open = false;
        if self.input == Input::Ended {
            self.close(CloseReason::PeerFinished);
        }
    }

    /// Whether bytes received are dropped because the write side is shut down (only in a drain).
    pub fn discards_input(&self) -> bool {
        !self.write_open
    }

    /// Ends the conversation at the next pause: bytes are echoed as before until a receive call shows that none is left
    /// ([`input_emptied`](Connection::input_emptied)) and all are sent; then the write side is to be shut down, and the
    /// connection is closed at the peer's end of stream.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether [`drain`](Connection::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Takes what was active at `since` for active until `until`: for a caller that gives many connections the time of
    /// one look at the clock, when that look has become old.
    pub fn extend_activity(&mut self, since: Instant, until: Instant) {
        if self.last_activity == since {
            self.last_activity = until;
        }
    }

    /// When the connection will have been idle for `idle`: the next time to call
    /// [`handle_timeout`](Connection::handle_timeout). Moves later with every byte received or sent.
    pub fn next_timeout(&self, idle: Duration) -> Option<Instant> {
        self.last_activity.checked_add(idle)
    }

    /// Closes the connection if no byte went in or out for `idle` before `now`.
    pub fn handle_timeout(&mut self, now: Instant, idle: Duration) {
        if self.next_timeout(idle).is_some_and(|due| due <= now) {
            self.close(CloseReason::IdleTimeout);
        }
    }

    /// Ends the connection for a reason that only the caller can know; the first reason stays.
    pub fn close(&mut self, reason: CloseReason) {
        self.close_reason.get_or_insert(reason);
    }

    /// Why the connection has ended: `None` while it goes on.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.close_reason
    }

    /// Whether a buffer of the pool is with this connection.
    pub fn holds_buffer(&self) -> bool {
        self.buffer.is_some()
    }

    /// Gives the buffer back to the pool if nothing is pending or the connection is closed; to be called at the end of
    /// each round of receiving and sending, and before the connection is dropped.
    pub fn release(&mut self, pool: &mut BufferPool<Memory>) {
        let done = self.close_reason.is_some() || self.to_send().is_empty();
        if let Some(buffer) = self.buffer.take_if(|_| done) {
            pool.give_back(buffer);
        }
    }
}
