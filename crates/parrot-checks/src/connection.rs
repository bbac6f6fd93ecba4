//! A connection beside a model of it: what went in, what came out, and what must hold after every step.

// The initializer is const already, but the lint does not see that where thread-locals have keys (OpenBSD).
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::Cell;

use parrot_conn::{BufferPool, CloseReason, Connection, NoSpace};

thread_local! {
    /// Whether the system has memory for another buffer.
    static HAS_MEMORY: Cell<bool> = const { Cell::new(true) };
}

type Memory = Vec<u8>;

/// An event in the life of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A receive call returns up to this many bytes, as far as there is space.
    Receive(usize),
    /// The same while the system has no memory for another buffer.
    ReceiveWithoutMemory(usize),
    /// A receive call finds nothing.
    FindEmpty,
    /// A receive call returns 0.
    ReceiveEnd,
    /// A send call takes up to this many bytes.
    Send(usize),
    /// The write side is shut down, if the connection wants to.
    ShutDown,
    /// The connection gives its buffer back, if nothing is pending.
    Release,
    /// The peer sends so much that this many rounds fill a buffer, and takes each of them at once.
    Stream(u8),
    /// Another connection takes the pool's last buffer, or gives it back.
    ToggleOtherBorrower,
    /// The drain starts.
    Drain,
    /// The socket fails.
    Reset,
}

/// A connection that is checked against its model after every step.
#[derive(Debug)]
pub struct Checked {
    pool: BufferPool<Memory>,
    other: Option<Box<parrot_conn::Buffer<Memory>>>,
    connection: Connection<Memory>,
    next_byte: u8,
    received: Vec<u8>,
    sent: usize,
    ended: bool,
    shut: bool,
    quiet: bool,
    draining: bool,
    /// Whole buffers taken at once, as far as they count.
    takes: u8,
    reason: Option<CloseReason>,
}

/// A connection gets a large buffer after this many whole buffers taken at once.
const TAKES_BEFORE_LARGE: u8 = 64;

impl Checked {
    /// A new connection with a pool of `buffers` buffers, one of which another connection may take. Large buffers have four
    /// times the size.
    pub fn new(buffer_size: usize, buffers: usize) -> Checked {
        let allocate = |size| HAS_MEMORY.get().then(|| vec![0; size]);
        let pool = BufferPool::with_memory(buffer_size, buffers * buffer_size, allocate);
        let pool = pool.with_large_buffers(4 * buffer_size);
        Checked {
            connection: pool.connection(),
            pool,
            other: None,
            next_byte: 0,
            received: Vec::new(),
            sent: 0,
            ended: false,
            shut: false,
            quiet: false,
            draining: false,
            takes: 0,
            reason: None,
        }
    }

    /// Plays the steps that an input encodes with two bytes for the buffers and then two for each step.
    pub fn play(bytes: &[u8]) {
        let [size, buffers, rest @ ..] = bytes else { return };
        let buffers = if *buffers < 128 { 1 + usize::from(*buffers % 2) } else { 9 };
        let mut checked = Checked::new(1 + usize::from(*size), buffers);
        for pair in rest.chunks_exact(2) {
            let amount = usize::from(pair[1]);
            checked.step(match pair[0] % 16 {
                0..3 => Step::Receive(1 + amount),
                3 => Step::ReceiveWithoutMemory(1 + amount),
                4..8 => Step::Send(amount),
                8 | 14 => Step::FindEmpty,
                9 => Step::Release,
                10 if amount > 128 => Step::Stream(pair[1] - 128),
                10 => Step::ShutDown,
                11 => Step::ReceiveEnd,
                12 => Step::ToggleOtherBorrower,
                13 => Step::Drain,
                _ => Step::Reset,
            });
        }
        checked.finish();
    }

    /// All that the next steps depend on: the connection without the values of its bytes, the pool's spare buffers, and
    /// the model. Of the whole buffers taken at once only whether they are enough for a large one, because their number
    /// would multiply the states.
    pub fn state(&self) -> String {
        let connection = format!("{:?}", self.connection);
        let connection = without(&connection, "bytes: [", "]");
        let connection = without(&connection, "takes: ", ",");
        let Checked { other, ended, shut, quiet, draining, reason, .. } = self;
        let is_stream = self.takes == TAKES_BEFORE_LARGE;
        let (borrowed, owed) = (other.is_some(), self.owed().len());
        let spare = format!("{:?}", self.pool).matches("Buffer {").count();
        let phase = format!("{ended} {shut} {quiet} {draining} {is_stream} {reason:?}");
        format!("{connection} {spare} {borrowed} {owed} {phase}")
    }

    fn owed(&self) -> &[u8] {
        &self.received[self.sent..]
    }

    /// Takes a step, if it is possible now, and checks what must hold after it.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Receive(n) => self.receive(n),
            Step::ReceiveWithoutMemory(n) => {
                HAS_MEMORY.set(false);
                self.receive(n);
                HAS_MEMORY.set(true);
            }
            Step::FindEmpty if !self.ended && self.reason.is_none() => {
                self.connection.input_emptied();
                self.quiet |= self.draining;
            }
            Step::ReceiveEnd if !self.ended && self.reason.is_none() => {
                self.connection.received_end();
                self.ended = true;
                if self.shut {
                    self.reason = Some(CloseReason::Drained);
                }
            }
            Step::Send(n) if self.reason.is_none() => {
                assert_eq!(self.connection.to_send(), self.owed(), "what is to be sent");
                let n = n.min(self.owed().len());
                if n > 0 {
                    self.connection.sent(n);
                    self.sent += n;
                    self.takes = match n < self.pool.buffer_size() {
                        true => self.takes.saturating_sub(1),
                        false => TAKES_BEFORE_LARGE.min(self.takes + 1),
                    };
                }
            }
            Step::ShutDown if self.connection.wants_shut_down() => {
                assert!(self.owed().is_empty(), "shut down with bytes owed");
                assert!(self.ended || (self.draining && self.quiet), "shut down with input to come");
                self.connection.shut_down();
                self.shut = true;
                if self.ended {
                    self.reason = Some(CloseReason::PeerFinished);
                }
            }
            Step::Release => {
                self.connection.release(&mut self.pool);
                if self.reason.is_none() && !self.owed().is_empty() {
                    self.takes = 0;
                }
            }
            Step::Stream(rounds) => {
                for _ in 0..rounds {
                    for step in [Step::Receive(usize::MAX), Step::Send(usize::MAX), Step::Release] {
                        self.step(step);
                    }
                }
            }
            Step::ToggleOtherBorrower => match self.other.take() {
                Some(buffer) => self.pool.give_back(buffer),
                None => self.other = self.pool.lend(),
            },
            Step::Drain => {
                self.connection.drain();
                self.draining = true;
            }
            Step::Reset => {
                self.connection.close(CloseReason::Reset);
                self.reason.get_or_insert(CloseReason::Reset);
            }
            _ => {}
        }
        self.check();
    }

    fn receive(&mut self, n: usize) {
        let is_stream = self.takes == TAKES_BEFORE_LARGE;
        // A large buffer is given up for a usual one as soon as it is empty.
        let exchanged = self.owed().is_empty() && !is_stream && self.connection.room() > Some(self.pool.buffer_size());
        let (holds, can_lend) = (self.connection.holds_buffer() && !exchanged, self.pool.can_lend() || exchanged);
        let (usual, large) = (self.pool.buffer_size(), self.pool.largest_size());
        let room_for_large = self.pool.lent() + large <= self.pool.capacity() / 2;
        match self.connection.receive_space(&mut self.pool) {
            Ok(space) => {
                assert!(!space.is_empty(), "an empty receive looks like the end of input");
                match is_stream && room_for_large {
                    _ if holds => {}
                    false => assert_eq!(space.len(), usual, "a usual buffer"),
                    true if HAS_MEMORY.get() => assert_eq!(space.len(), large, "a stream gets a large buffer"),
                    true => {}
                }
                assert!(!self.ended && self.reason.is_none());
                let n = n.clamp(1, space.len());
                for byte in &mut space[..n] {
                    *byte = self.next_byte;
                    self.next_byte = self.next_byte.wrapping_add(1);
                }
                let bytes = space[..n].to_vec();
                self.connection.received(n);
                if !self.shut {
                    self.quiet = false;
                    self.received.extend(bytes);
                }
            }
            Err(NoSpace::InputEnded) => assert!(self.ended || self.reason.is_some()),
            Err(NoSpace::NoMemory) => {
                assert!(!holds && can_lend && !HAS_MEMORY.get(), "there was memory");
                assert!(!self.connection.holds_buffer(), "it holds a buffer that was never made");
            }
            Err(NoSpace::PoolEmpty) => assert!(!holds && !can_lend, "a buffer was free"),
            Err(NoSpace::OutputFull) => {
                assert!(!self.owed().is_empty(), "a full buffer with nothing to send would wait for ever")
            }
        }
    }

    /// What holds after every step.
    fn check(&self) {
        let connection = &self.connection;
        let open = self.reason.is_none();
        assert_eq!(connection.close_reason(), self.reason, "the reason to close");
        assert!(connection.to_send().len() <= self.pool.largest_size(), "the output is bounded");
        assert!(self.pool.lent() <= self.pool.capacity(), "the pool is bounded");
        if open {
            assert_eq!(connection.to_send(), self.owed(), "every byte once and in order");
        }
        let interest = connection.interest();
        assert_eq!(interest.write, open && !self.owed().is_empty(), "write interest");
        assert!(!interest.read || (open && !self.ended), "read interest");
        // An open connection never hangs. It waits for something or has something to do.
        assert!(!open || interest.read || interest.write || connection.wants_shut_down(), "stuck");
        if open && !self.shut {
            let due = self.owed().is_empty() && (self.ended || (self.draining && self.quiet));
            assert_eq!(connection.wants_shut_down(), due, "shut down as soon as all is sent, and not earlier");
        }
    }

    /// Closes the connection and checks that every buffer has come back.
    pub fn finish(mut self) {
        self.connection.close(CloseReason::Failed);
        self.connection.release(&mut self.pool);
        if let Some(buffer) = self.other.take() {
            self.pool.give_back(buffer);
        }
        assert_eq!(self.pool.lent(), 0, "every buffer came back");
    }
}

/// The text without the part between `from` and `to`.
fn without(text: &str, from: &str, to: &str) -> String {
    let Some((before, rest)) = text.split_once(from) else { return text.to_owned() };
    let (_, after) = rest.split_once(to).unwrap();
    format!("{before}{from}{to}{after}")
}
