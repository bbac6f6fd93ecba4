//! The state of one connection, and everything that changes it.

use crate::buffer::{Buffer, BufferPool};

/// One echo connection: the bytes it owes its peer and what it waits for.
///
/// Its methods come in pairs. [`receive_space`](Connection::receive_space) is followed by
/// [`received`](Connection::received) or [`received_end`](Connection::received_end),
/// [`to_send`](Connection::to_send) by [`sent`](Connection::sent), and
/// [`wants_shut_down`](Connection::wants_shut_down) by [`shut_down`](Connection::shut_down).
/// A round of these ends with [`release`](Connection::release), which returns the buffer when nothing is pending.
///
/// A peer that takes everything at once gets a large buffer, if the pool
/// [lends these](BufferPool::with_large_buffers). "At once" means that after 64 sends of a whole buffer nothing was left
/// pending at the end of a round. A peer that falls behind gets a usual buffer again, once all that is pending has been
/// sent. So does one that sends less than a usual buffer holds.
///
/// Invariant: bytes are pending only while the write side is open.
#[derive(Debug)]
pub struct Connection<Memory = Box<[u8]>> {
    buffer: Option<Box<Buffer<Memory>>>,
    input: Input,
    write_open: bool,
    draining: bool,
    /// How often the peer took a whole buffer at once. Each time that it took less counts against one of these, and all
    /// are forgotten when it falls behind.
    takes: u8,
    close_reason: Option<CloseReason>,
}

/// How often a peer takes a whole buffer at once before it gets a large one. With that, messages of 1 MiB take 0.84 of
/// the CPU time, and those of 128 KiB the same (docs/benchmarks.md). With buffers of 128 KiB these are 8 MiB, twice
/// what Linux lets the sending socket hold (`net.ipv4.tcp_wmem`). A peer that does not read gets there only if its own
/// system takes the rest, with a receive buffer of megabytes (SO_RCVBUF). A server cannot tell such a peer from one
/// that reads.
const TAKES_BEFORE_LARGE: u8 = 64;

/// What is known about further bytes from the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// There may be bytes to receive.
    Open,
    /// A receive call has found nothing left since [`Connection::drain`], but more may come.
    Quiet,
    /// The peer has ended its stream.
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
    /// The peer ended its stream and got everything it was owed.
    PeerFinished,
    /// The peer reset the connection or stopped accepting bytes, which is an ordinary end.
    Reset,
    /// No byte went in or out for the whole idle timeout.
    IdleTimeout,
    /// A drain shut the write side down first, and the peer then ended its stream.
    Drained,
    /// The peer did not end its stream before the drain timeout.
    DrainTimeout,
    /// A system call on this connection failed.
    Failed,
    /// The connection did not begin with a valid PROXY protocol header.
    HeaderRefused,
    /// The PROXY protocol header was not complete in time.
    HeaderTimeout,
    /// As many bytes were echoed as its fault `limit-data` says.
    LimitDataFault,
    /// Its fault `timeout` has answered nothing for as long as it says.
    TimeoutFault,
    /// It was open for as long as its fault `lifetime` says.
    LifetimeFault,
    /// Its fault `reset` was due.
    ResetFault,
    /// Its fault `half-close-first` has ended the stream before the peer did.
    HalfCloseFault,
}

impl CloseReason {
    /// Every reason, in declaration order.
    pub const ALL: [CloseReason; 13] = [
        CloseReason::PeerFinished,
        CloseReason::Reset,
        CloseReason::IdleTimeout,
        CloseReason::Drained,
        CloseReason::DrainTimeout,
        CloseReason::Failed,
        CloseReason::HeaderRefused,
        CloseReason::HeaderTimeout,
        CloseReason::LimitDataFault,
        CloseReason::TimeoutFault,
        CloseReason::LifetimeFault,
        CloseReason::ResetFault,
        CloseReason::HalfCloseFault,
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
            CloseReason::HeaderRefused => "bad header",
            CloseReason::HeaderTimeout => "header timeout",
            CloseReason::LimitDataFault => "limit data fault",
            CloseReason::TimeoutFault => "timeout fault",
            CloseReason::LifetimeFault => "lifetime fault",
            CloseReason::ResetFault => "reset fault",
            CloseReason::HalfCloseFault => "half close fault",
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no space to receive into. A receive call into an empty slice would look like the end of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSpace {
    /// The buffer is full. Try again when all of [`Connection::to_send`] has been sent.
    OutputFull,
    /// The pool has no buffer left. Try again after another connection has released one.
    PoolEmpty,
    /// The pool may lend another buffer, but there is no memory for one. Try again some time later.
    NoMemory,
    /// The input has ended or the connection is closed, so nothing more can be received.
    InputEnded,
}

impl std::fmt::Display for NoSpace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NoSpace::OutputFull => "the output buffer is full: send first",
            NoSpace::PoolEmpty => "no buffer is free: wait until another connection releases one",
            NoSpace::NoMemory => "no memory for a buffer: try again later",
            NoSpace::InputEnded => "the input has ended",
        })
    }
}

impl std::error::Error for NoSpace {}

impl Connection {
    /// Creates an open connection, for a pool of heap buffers ([`BufferPool::new`]).
    pub fn new() -> Connection {
        Connection::default()
    }
}

impl<Memory> Default for Connection<Memory> {
    /// An open connection, for a pool with buffers of this memory.
    fn default() -> Connection<Memory> {
        Connection { buffer: None, input: Input::Open, write_open: true, draining: false, takes: 0, close_reason: None }
    }
}

impl<Memory: AsRef<[u8]> + AsMut<[u8]>> BufferPool<Memory> {
    /// Creates an open connection, for buffers of this pool's kind of memory.
    pub fn connection(&self) -> Connection<Memory> {
        Connection::default()
    }
}

impl<Memory: AsRef<[u8]> + AsMut<[u8]>> Connection<Memory> {
    /// Returns space for the next receive call, which is never empty. Borrows a buffer from the pool if it holds none.
    ///
    /// # Errors
    ///
    /// [`NoSpace`] says why there is no space and when to try again.
    // A server goes through this, `release`, `lend` and `give_back` for each message. Inlined, they take 60 instructions
    // less.
    #[inline(always)]
    pub fn receive_space(&mut self, pool: &mut BufferPool<Memory>) -> Result<&mut [u8], NoSpace> {
        if self.input == Input::Ended || self.close_reason.is_some() {
            return Err(NoSpace::InputEnded);
        }
        let is_stream = self.takes == TAKES_BEFORE_LARGE;
        if !is_stream && self.buffer.as_ref().is_some_and(|buffer| buffer.is_large() && buffer.is_empty()) {
            self.release(pool);
        }
        if self.buffer.is_none() {
            let buffer = if is_stream { pool.lend_large() } else { pool.lend() };
            let reason = || if pool.can_lend() { NoSpace::NoMemory } else { NoSpace::PoolEmpty };
            self.buffer = Some(buffer.ok_or_else(reason)?);
        }
        match self.buffer.as_deref_mut().map(Buffer::space) {
            Some(space) if !space.is_empty() => Ok(space),
            _ => Err(NoSpace::OutputFull),
        }
    }

    /// Records that a receive call wrote `n` bytes to [`receive_space`](Connection::receive_space).
    ///
    /// They are discarded if they can no longer be sent back ([`discards_input`](Connection::discards_input)).
    pub fn received(&mut self, n: usize) {
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

    /// Records that a receive call found nothing left to receive for the moment. This matters only in a drain, where a
    /// connection that owes nothing may then shut its write side down.
    pub fn input_emptied(&mut self) {
        if self.draining && self.input == Input::Open {
            self.input = Input::Quiet;
        }
    }

    /// Records that a receive call returned 0: the peer has ended its stream. Pending bytes are still to be sent.
    pub fn received_end(&mut self) {
        self.input = Input::Ended;
        if !self.write_open {
            self.close(CloseReason::Drained);
        }
    }

    /// The bytes to send next, oldest first. Empty when nothing is pending.
    pub fn to_send(&self) -> &[u8] {
        self.buffer.as_deref().map(Buffer::pending).unwrap_or_default()
    }

    /// Whether there are bytes [`to_send`](Connection::to_send).
    pub fn has_pending(&self) -> bool {
        self.buffer.as_deref().is_some_and(|buffer| !buffer.is_empty())
    }

    /// Records that a send call took the first `n` bytes of [`to_send`](Connection::to_send).
    pub fn sent(&mut self, n: usize) {
        if let Some(buffer) = &mut self.buffer {
            self.takes = match n < buffer.usual_size() {
                true => self.takes.saturating_sub(1),
                false => TAKES_BEFORE_LARGE.min(self.takes + 1),
            };
            buffer.advance(n);
        }
    }

    /// Throws away what is pending, because a [fault](crate::fault) has it never sent.
    pub fn discard(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.advance(buffer.pending().len());
        }
    }

    /// What the connection waits for. This may change with any method that takes `&mut self`.
    pub fn interest(&self) -> Interest {
        let open = self.close_reason.is_none();
        Interest {
            read: open && self.input != Input::Ended && !self.buffer.as_deref().is_some_and(Buffer::is_full),
            write: open && self.has_pending(),
        }
    }

    /// Whether the write side is to be shut down now, because everything owed is sent and either the peer has ended its
    /// stream or a drain has found the input empty.
    pub fn wants_shut_down(&self) -> bool {
        let finished = self.input == Input::Ended || (self.draining && self.input == Input::Quiet);
        self.close_reason.is_none() && self.write_open && finished && !self.has_pending()
    }

    /// Whether the peer has ended its stream.
    pub fn has_input_ended(&self) -> bool {
        self.input == Input::Ended
    }

    /// Records that the write side is shut down.
    pub fn shut_down(&mut self) {
        self.write_open = false;
        if self.input == Input::Ended {
            self.close(CloseReason::PeerFinished);
        }
    }

    /// Whether received bytes are discarded because the write side is shut down. This happens only in a drain.
    pub fn discards_input(&self) -> bool {
        !self.write_open
    }

    /// Starts the drain. Bytes are echoed as before until a receive call finds none left
    /// ([`input_emptied`](Connection::input_emptied)) and all are sent. Then the write side is to be shut down, and the
    /// connection closes when the peer ends its stream.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether [`drain`](Connection::drain) was called.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Closes the connection for a reason that only the caller can know, such as a timeout. The first reason stays.
    pub fn close(&mut self, reason: CloseReason) {
        self.close_reason.get_or_insert(reason);
    }

    /// Why the connection is closed, or `None` while it is open.
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.close_reason
    }

    /// How many bytes can still be received before everything pending has to be sent. `None` without a buffer.
    pub fn room(&self) -> Option<usize> {
        self.buffer.as_deref().map(Buffer::room)
    }

    /// Whether this connection holds a buffer of the pool.
    pub fn holds_buffer(&self) -> bool {
        self.buffer.is_some()
    }

    /// Gives the buffer back to the pool if nothing is pending or the connection is closed. Call this after each round
    /// of receiving and sending, and before the connection is dropped.
    #[inline(always)]
    pub fn release(&mut self, pool: &mut BufferPool<Memory>) {
        let closed = self.close_reason.is_some();
        match self.buffer.take_if(|buffer| closed || buffer.is_empty()) {
            Some(buffer) => pool.give_back(buffer),
            None if self.buffer.is_none() => {}
            // The peer is behind.
            None => self.takes = 0,
        }
    }
}
