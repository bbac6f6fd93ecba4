//! One connection's part of a turn: the way of a byte from the kernel and back.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Instant;

use nix::errno::Errno;
use parrot_conn::{BufferPool, CloseReason, Connection, NoSpace};

use crate::pages::Pages;
use crate::statistics::Counters;
use crate::system::System;

/// What a connection may receive each time it is served: a full buffer, so that one fast peer leaves room for the others
/// and a stream is still limited by the system calls and not by the turns.
const BYTES_PER_SERVING: usize = 128 * 1024;

/// What a receive call counts for at least, so that calls that move nothing (interrupted, a byte each) end a turn too.
const LEAST_PER_CALL: usize = 4 * 1024;

/// A connection, its socket, and what is known of the socket's readiness.
///
/// Reads are edge-triggered: `readable` remembers an edge until a receive shows that the socket is empty, so a
/// connection can stop being read (output full, no buffer, budget spent) without a system call and without a spin.
/// Writes are watched, level-triggered, only while bytes are left over.
#[derive(Debug)]
pub(crate) struct Conversation<Socket> {
    pub(crate) socket: Socket,
    pub(crate) connection: Connection<Pages>,
    pub(crate) peer: SocketAddr,
    readable: bool,
    /// A receive that leaves room does not show that the socket is empty; only 0, an error or "would block" do.
    read_on: bool,
    /// Bytes that the queue has counted and no receive has returned yet; 0 where the system does not count.
    unread: u32,
    /// The last send filled the socket, and no room has been reported since.
    blocked: bool,
    /// The queue tells when the socket has room.
    pub(crate) write_watched: bool,
    /// In one of the loop's lists of connections to serve later.
    pub(crate) listed: bool,
    /// Out of the system's memory: left alone until then.
    pub(crate) paused_until: Option<Instant>,
}

/// The parts of the loop that serving a connection needs.
pub(crate) struct Turn<'a, S: System> {
    pub(crate) system: &'a mut S,
    pub(crate) pool: &'a mut BufferPool<Pages>,
    pub(crate) counters: &'a Counters,
    pub(crate) now: Instant,
    /// Whether a connection without a buffer may take one; otherwise others are before it.
    pub(crate) may_borrow: bool,
}

/// How serving a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// The next event will tell.
    Waiting,
    /// Its share of the turn is used up, and there may be more.
    Unfinished,
    /// It needs a buffer and there is none.
    InLine,
    /// The system lacks memory for it.
    Paused,
    /// The connection has ended.
    Closed(CloseReason),
}

/// What a look at a connection's input has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing, or nothing that there is room for.
    None,
    /// Bytes, the end or an error, or perhaps: it is to be served.
    Waiting,
    /// The system lacks memory to tell.
    Unknown,
}

/// What one send or receive call led to.
enum Step {
    Moved(usize),
    Blocked,
    Interrupted,
    Exhausted,
    Failed(CloseReason),
}

impl<Socket> Conversation<Socket> {
    pub(crate) fn new(socket: Socket, peer: SocketAddr, connection: Connection<Pages>) -> Conversation<Socket> {
        Conversation {
            socket,
            connection,
            peer,
            readable: false,
            read_on: false,
            unread: 0,
            blocked: false,
            write_watched: false,
            listed: false,
            paused_until: None,
        }
    }

    /// The queue reports bytes, an end or an error; see [`Event::Readable`](crate::system::Event::Readable).
    pub(crate) fn note_readable(&mut self, read_on: bool, available: Option<u64>) {
        self.readable = true;
        self.read_on |= read_on;
        self.unread = available.map_or(0, |bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// The queue reports room to send, or a try is worth a call.
    pub(crate) fn note_writable(&mut self) {
        self.blocked = false;
    }

    /// Whether bytes are pending that the socket has no room for.
    pub(crate) fn waits_for_room(&self) -> bool {
        self.blocked && self.connection.interest().write
    }

    /// Starts this connection's part of a drain. Whether its input is empty has to be seen, so it is to be served; and
    /// as no event says what there is, a short receive does not show it: urgent data may be behind it.
    pub(crate) fn drain(&mut self) {
        self.connection.drain();
        self.readable = true;
        self.read_on = true;
    }

    /// Makes the first receive of a turn: [`serve`](Conversation::serve) sends what it brought, unless the system lacks
    /// memory for the connection.
    pub(crate) fn receive_ahead<S: System<Socket = Socket>>(&mut self, turn: &mut Turn<'_, S>) -> Served {
        if self.paused_until.is_some() || !turn.may_borrow || !self.connection.to_send().is_empty() {
            return Served::Unfinished;
        }
        match self.receive(turn) {
            Ok(Step::Exhausted) | Err(NoSpace::NoMemory) => {
                self.connection.release(turn.pool);
                return Served::Paused;
            }
            Ok(Step::Failed(reason)) => self.connection.close(reason),
            // The call that serves will meet it again.
            _ => {}
        }
        Served::Unfinished
    }

    /// Sends what is pending, receives and echoes what there is, within this turn's share.
    pub(crate) fn serve<S: System<Socket = Socket>>(&mut self, turn: &mut Turn<'_, S>) -> Served {
        let mut budget = BYTES_PER_SERVING;
        let served = loop {
            if !self.blocked && !self.connection.to_send().is_empty() {
                match self.send(turn) {
                    Step::Moved(_) => {}
                    Step::Blocked => self.blocked = true,
                    Step::Interrupted if budget == 0 => break Served::Unfinished,
                    Step::Interrupted => {
                        budget = budget.saturating_sub(LEAST_PER_CALL);
                        continue;
                    }
                    Step::Exhausted => break Served::Paused,
                    Step::Failed(reason) => self.connection.close(reason),
                }
            }
            if self.connection.wants_shut_down() {
                self.shut_down(turn);
            }
            if let Some(reason) = self.connection.close_reason() {
                break Served::Closed(reason);
            }
            if !self.readable {
                break Served::Waiting;
            }
            if budget == 0 {
                break Served::Unfinished;
            }
            match self.receive_in_turn(turn) {
                Ok(Step::Moved(n)) => budget = budget.saturating_sub(n.max(LEAST_PER_CALL)),
                Ok(Step::Blocked) => {}
                Ok(Step::Interrupted) => budget = budget.saturating_sub(LEAST_PER_CALL),
                Ok(Step::Exhausted) | Err(NoSpace::NoMemory) => break Served::Paused,
                Ok(Step::Failed(reason)) => self.connection.close(reason),
                Err(NoSpace::PoolEmpty) => break Served::InLine,
                // Room to send will be reported, and then there is space again.
                Err(NoSpace::OutputFull) => break Served::Waiting,
                Err(NoSpace::InputEnded) => self.readable = false,
            }
        };
        self.connection.release(turn.pool);
        served
    }

    /// Receives, unless others wait for a buffer and this connection owes nothing: then the next is theirs. Without a
    /// buffer it still finds out that the peer has gone.
    fn receive_in_turn<S: System<Socket = Socket>>(&mut self, turn: &mut Turn<'_, S>) -> Result<Step, NoSpace> {
        let outcome = match turn.may_borrow || !self.connection.to_send().is_empty() {
            true => self.receive(turn),
            false => Err(NoSpace::PoolEmpty),
        };
        match outcome {
            Err(lack @ (NoSpace::PoolEmpty | NoSpace::NoMemory)) => self.look_for_end(turn).ok_or(lack),
            outcome => outcome,
        }
    }

    /// Finds out without a buffer that the peer has gone, or that a drain is at its end: such a connection must not hold
    /// its descriptor until a buffer is free. `None` if a byte waits for a buffer, or may.
    fn look_for_end<S: System<Socket = Socket>>(&mut self, turn: &mut Turn<'_, S>) -> Option<Step> {
        if !self.read_on && !self.connection.is_draining() {
            return None;
        }
        self.peek(turn.system)
    }

    /// `None` if a byte waits.
    fn peek<S: System<Socket = Socket>>(&mut self, system: &mut S) -> Option<Step> {
        match system.peek(&self.socket) {
            Ok(0) => Some(self.end()),
            Ok(_) => None,
            Err(error) => Some(self.not_received(&error)),
        }
    }

    /// Finds out whether there is input that no event has told of yet and that could be received.
    pub(crate) fn look_for_input<S: System<Socket = Socket>>(&mut self, system: &mut S) -> Look {
        if !self.connection.interest().read {
            return Look::None;
        }
        if self.readable {
            return Look::Waiting;
        }
        match self.peek(system) {
            None => {
                self.note_readable(true, None);
                Look::Waiting
            }
            Some(Step::Blocked) => Look::None,
            Some(Step::Exhausted) => Look::Unknown,
            Some(Step::Failed(reason)) => {
                self.connection.close(reason);
                Look::Waiting
            }
            Some(Step::Moved(_) | Step::Interrupted) => Look::Waiting,
        }
    }

    fn end(&mut self) -> Step {
        self.readable = false;
        self.connection.received_end();
        Step::Moved(0)
    }

    fn not_received(&mut self, error: &io::Error) -> Step {
        let step = self.refused(error);
        if matches!(step, Step::Blocked) {
            self.emptied();
        }
        step
    }

    fn receive<S: System<Socket = Socket>>(&mut self, turn: &mut Turn<'_, S>) -> Result<Step, NoSpace> {
        let space = self.connection.receive_space(turn.pool)?;
        let room = space.len();
        Ok(match turn.system.receive(&self.socket, space) {
            Ok(0) => self.end(),
            Ok(n) => {
                turn.system.message(self.peer, space.get(..n).unwrap_or_default());
                turn.counters.messages.add(1);
                turn.counters.bytes_in.add(n as u64);
                if self.connection.discards_input() {
                    turn.counters.bytes_discarded.add(n as u64);
                }
                self.connection.received(n, turn.now);
                // A receive also stops short at urgent data (a system that counts says that there is more).
                self.unread = self.unread.saturating_sub(u32::try_from(n).unwrap_or(u32::MAX));
                if n < room && !self.read_on && self.unread == 0 {
                    self.emptied();
                }
                Step::Moved(n)
            }
            Err(error) => self.not_received(&error),
        })
    }

    /// What an error of this connection's socket leads to. Why a connection ends is told here: its reason is coarser.
    fn refused(&self, error: &io::Error) -> Step {
        let step = Step::from(error);
        if let Step::Failed(reason) = step {
            tracing::debug!(target: "parrot_server", peer = %self.peer, %error, "the system ends this connection: {reason}");
        }
        step
    }

    /// The socket has been seen empty: the next bytes, or the end, come with a new edge.
    fn emptied(&mut self) {
        self.readable = false;
        self.read_on = false;
        self.unread = 0;
        self.connection.input_emptied();
    }

    fn send<S: System<Socket = Socket>>(&mut self, turn: &mut Turn<'_, S>) -> Step {
        let pending = self.connection.to_send();
        let wanted = pending.len();
        match turn.system.send(&self.socket, pending) {
            Ok(n) => {
                self.connection.sent(n, turn.now);
                turn.counters.bytes_out.add(n as u64);
                // A short send has filled the socket: another would only say so.
                if n < wanted { Step::Blocked } else { Step::Moved(n) }
            }
            Err(error) => self.refused(&error),
        }
    }

    fn shut_down<S: System<Socket = Socket>>(&mut self, turn: &mut Turn<'_, S>) {
        match turn.system.shut_down(&self.socket) {
            Ok(()) => self.connection.shut_down(),
            Err(error) => match self.refused(&error) {
                Step::Failed(reason) => self.connection.close(reason),
                // shutdown(2) has no such results; should a system have one, the write side ends with the close.
                _ => self.connection.shut_down(),
            },
        }
    }
}

impl From<&io::Error> for Step {
    fn from(error: &io::Error) -> Step {
        match error.kind() {
            ErrorKind::WouldBlock => return Step::Blocked,
            ErrorKind::Interrupted => return Step::Interrupted,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown => return Step::Failed(CloseReason::Reset),
            _ => {}
        }
        match error.raw_os_error().map(Errno::from_raw) {
            // The socket stays "writable" meanwhile, so waiting for that would spin (libuv#5195).
            Some(Errno::ENOBUFS | Errno::ENOMEM) => Step::Exhausted,
            // macOS, from a write while the peer tears the connection down; a retry can go on for ever
            // (swift-nio#1706, go#51538).
            Some(Errno::EPROTOTYPE) => Step::Failed(CloseReason::Reset),
            _ => Step::Failed(CloseReason::Failed),
        }
    }
}
