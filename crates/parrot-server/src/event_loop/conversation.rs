//! One connection's part of a turn: how a byte gets from the kernel and back.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use parrot_conn::{CloseReason, Connection, NoSpace};
use rustix::io::Errno;

use super::extras::Extras;
use super::lists::Listed;
use super::means::Means;
use super::moment::Moment;
use super::readiness::Readiness;
use crate::host::{Host, Pages};
use crate::peer::Peer;

/// What a connection may receive each time it is served. One full buffer leaves room for others beside a fast peer, and the
/// speed of a stream still depends on the system calls and not on the turns. As much again may be received ahead. What is
/// more than that, because the buffer is a large one, uses up the share.
pub(super) const BYTES_PER_SERVING: usize = 128 * 1024;

/// What a receive call counts for at least, so that calls that move nothing (interrupted, a byte each) also use up the
/// share.
pub(super) const LEAST_PER_CALL: usize = 4 * 1024;

/// A connection, its socket, and what the loop knows of both.
#[derive(Debug)]
pub(super) struct Conversation<Socket> {
    pub(super) socket: Socket,
    pub(super) connection: Connection<Pages>,
    pub(super) peer: Peer,
    pub(super) readiness: Readiness,
    /// The beginning of the turn in which a byte last moved, or in which the connection was accepted.
    pub(super) last_activity: Moment,
    /// The queue reports input.
    pub(super) read_watched: bool,
    /// The queue reports when the socket has room.
    pub(super) write_watched: bool,
    pub(super) listed: Listed,
    pub(super) pause: Pause,
    /// What it has besides its echo. Plain connections have none.
    pub(super) extras: Option<Box<Extras>>,
}

const _: () = assert!(size_of::<Conversation<OwnedFd>>() <= 72, "docs/architecture.md says what each byte is for");

/// Whether a connection is not served like any other. If the system has no memory for it, it is not served before its
/// deadline to retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    No,
    Yes,
    /// Meanwhile it may have been idle for too long, which is decided when the pause ends.
    Idle,
    /// It is served as its faults permit.
    Faults,
}

impl Pause {
    /// Whether the system has no memory.
    pub(super) fn is_for_memory(self) -> bool {
        matches!(self, Pause::Yes | Pause::Idle)
    }
}

/// What receiving ahead led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// The connection is to be served next. This many bytes were received, possibly none.
    Received(usize),
    /// The system has no memory for it.
    Paused,
}

/// How serving a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Served {
    /// An event will say when to go on.
    Waiting,
    /// Its share of the turn is used up, and there may be more.
    Unfinished,
    /// It needs a buffer and there is none.
    NoBuffer,
    /// The system has no memory for it.
    Paused,
    /// The connection has ended.
    Closed(CloseReason),
}

/// What a look at a connection's input has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing, or nothing that there is room for.
    None,
    /// Bytes, the end or an error, or possibly one of these. The connection is to be served.
    Input,
    /// The system has no memory to find out.
    Unknown,
}

/// What one send or receive call led to.
pub(super) enum Step {
    Moved(usize),
    Blocked,
    Interrupted,
    Exhausted,
    Failed(CloseReason),
}

impl<Socket> Conversation<Socket> {
    pub(super) fn new(
        socket: Socket,
        peer: Peer,
        connection: Connection<Pages>,
        now: Moment,
        extras: Option<Box<Extras>>,
    ) -> Conversation<Socket> {
        Conversation {
            socket,
            connection,
            peer,
            pause: match &extras {
                Some(extras) if extras.faulty.is_some() => Pause::Faults,
                _ => Pause::No,
            },
            readiness: match peer {
                Peer::Ipv4(_) | Peer::Ipv6 { .. } => Readiness::default(),
                Peer::Unix { .. } => Readiness::of_unix_socket(),
            },
            last_activity: now,
            read_watched: false,
            write_watched: false,
            listed: Listed::default(),
            extras,
        }
    }

    /// Whether bytes are pending that the socket has no room for.
    pub(super) fn needs_room(&self) -> bool {
        self.readiness.is_blocked() && self.connection.interest().write
    }

    /// Whether a connection that waits for an event is watched for it and leaves no doubt about its input, so that
    /// nothing has to follow from serving it.
    pub(super) fn is_settled(&self) -> bool {
        self.write_watched == self.needs_room() && !self.readiness.is_doubtful()
    }

    /// Starts this connection's part of a drain. It has to be served to see that its input is empty.
    pub(super) fn drain(&mut self) {
        self.connection.drain();
        self.readiness.suspect_input();
    }

    /// Makes the first receive of a turn. [`serve`](Conversation::serve) then sends what it brought.
    pub(super) fn receive_ahead<H: Host<Socket = Socket>>(&mut self, means: &mut Means<H>, may_borrow: bool) -> Ahead {
        if self.pause == Pause::No && may_borrow && !self.connection.has_pending() {
            match self.receive(means) {
                Ok(Step::Moved(n)) => return Ahead::Received(n),
                Ok(Step::Exhausted) | Err(NoSpace::NoMemory) => {
                    self.connection.release(&mut means.pool);
                    return Ahead::Paused;
                }
                Ok(Step::Failed(reason)) => self.connection.close(reason),
                // The receive that serves the connection meets the same again.
                _ => {}
            }
        }
        Ahead::Received(0)
    }

    /// Sends what is pending, then receives and echoes what there is, within the share of a turn.
    // Inlined like its caller (`EventLoop::serve_inlined`).
    #[inline(always)]
    pub(super) fn serve<H: Host<Socket = Socket>>(&mut self, means: &mut Means<H>, may_borrow: bool) -> Served {
        let mut budget = BYTES_PER_SERVING;
        let served = loop {
            if !self.readiness.is_blocked()
                && let Some(sent) = self.send(means)
            {
                match sent {
                    // A separate arm saves 4 instructions of each message.
                    Step::Moved(..=BYTES_PER_SERVING) => {}
                    Step::Moved(n) => budget = budget.saturating_sub(n - BYTES_PER_SERVING),
                    Step::Blocked => self.readiness.filled(),
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
                self.shut_down(means);
            }
            if let Some(reason) = self.connection.close_reason() {
                break Served::Closed(reason);
            }
            if !self.readiness.is_readable() {
                break Served::Waiting;
            }
            if budget == 0 {
                break Served::Unfinished;
            }
            match self.receive_in_turn(means, may_borrow) {
                Ok(Step::Moved(n)) => budget = budget.saturating_sub(n.max(LEAST_PER_CALL)),
                Ok(Step::Blocked) => {}
                Ok(Step::Interrupted) => budget = budget.saturating_sub(LEAST_PER_CALL),
                Ok(Step::Exhausted) | Err(NoSpace::NoMemory) => break Served::Paused,
                Ok(Step::Failed(reason)) => self.connection.close(reason),
                Err(NoSpace::PoolEmpty) => break Served::NoBuffer,
                // The queue reports room to send, and then there is space again.
                Err(NoSpace::OutputFull) => break Served::Waiting,
                Err(NoSpace::InputEnded) => self.readiness.ended(),
            }
        };
        self.connection.release(&mut means.pool);
        served
    }

    /// Receives, unless others wait for a buffer and this connection owes nothing, because then the next buffer is theirs.
    /// Without a buffer it still finds out that the peer has gone.
    pub(super) fn receive_in_turn<H: Host<Socket = Socket>>(
        &mut self,
        means: &mut Means<H>,
        may_borrow: bool,
    ) -> Result<Step, NoSpace> {
        let received = match may_borrow || self.connection.has_pending() || self.awaits_header() {
            true => self.receive(means),
            false => Err(NoSpace::PoolEmpty),
        };
        match received {
            // What follows a greeting is not looked at before it, or an empty socket would be taken for nothing to do.
            Err(no_space) if self.owes_greeting() => Err(no_space),
            Err(no_space @ (NoSpace::PoolEmpty | NoSpace::NoMemory)) => {
                self.look_for_end(&mut means.host).ok_or(no_space)
            }
            received => received,
        }
    }

    /// Finds out without a buffer that the peer has gone, or that a drain is at its end, because such a connection must not
    /// keep its descriptor until a buffer is free. `None` if bytes have arrived, or may have.
    fn look_for_end<H: Host<Socket = Socket>>(&mut self, host: &mut H) -> Option<Step> {
        if !self.readiness.must_read_on() && !self.connection.is_draining() {
            return None;
        }
        self.peek(host)
    }

    /// `None` if bytes have arrived, or the end of a stream that still owes a PROXY header. Only the code that reads the
    /// header knows whether the end cuts it off.
    fn peek<H: Host<Socket = Socket>>(&mut self, host: &mut H) -> Option<Step> {
        match host.peek(&self.socket, &mut [0]) {
            Ok(0) if !self.awaits_header() => Some(self.end()),
            Ok(_) => None,
            Err(error) => Some(self.not_received(&error)),
        }
    }

    /// Finds out whether there is input that no event has reported yet and that could be received.
    pub(super) fn look_for_input<H: Host<Socket = Socket>>(&mut self, means: &mut Means<H>) -> Look {
        if !self.connection.interest().read || self.has_no_room() || self.leaves_input(means.now) {
            return Look::None;
        }
        if self.readiness.is_readable() {
            return Look::Input;
        }
        match self.peek(&mut means.host) {
            None => {
                self.readiness.report_readable(true, None);
                Look::Input
            }
            Some(Step::Blocked) => Look::None,
            Some(Step::Exhausted) => Look::Unknown,
            Some(Step::Failed(reason)) => {
                self.connection.close(reason);
                Look::Input
            }
            Some(Step::Moved(_) | Step::Interrupted) => Look::Input,
        }
    }

    /// Whether the buffer has no room for another message and its prefix, so that nothing is received before all of it is
    /// sent.
    fn has_no_room(&self) -> bool {
        let prefix = self.extras.as_ref().map_or(0, |extras| extras.prefix().len());
        self.connection.room().is_some_and(|room| room <= prefix)
    }

    pub(super) fn end(&mut self) -> Step {
        self.readiness.ended();
        self.connection.received_end();
        Step::Moved(0)
    }

    pub(super) fn not_received(&mut self, error: &io::Error) -> Step {
        let step = self.failed(error);
        if matches!(step, Step::Blocked) {
            self.readiness.emptied();
            self.connection.input_emptied();
        }
        step
    }

    /// Makes one receive call, with what follows from it.
    // This and the other functions that each message goes through are inlined. Their calls took 96 of a message's 923
    // instructions in user space.
    #[inline(always)]
    fn receive<H: Host<Socket = Socket>>(&mut self, means: &mut Means<H>) -> Result<Step, NoSpace> {
        match self.extras {
            None => self.receive_behind(&[], "", means),
            Some(_) => self.receive_with_extras(means),
        }
    }

    /// Receives a message behind a prefix, which is sent back with it, on a connection with these faults.
    #[inline(always)]
    pub(super) fn receive_behind<H: Host<Socket = Socket>>(
        &mut self,
        prefix: &[u8],
        faults: &str,
        means: &mut Means<H>,
    ) -> Result<Step, NoSpace> {
        let space = self.connection.receive_space(&mut means.pool)?;
        let (front, space) = space.split_at_mut_checked(prefix.len()).ok_or(NoSpace::OutputFull)?;
        let room = space.len();
        if room == 0 {
            return Err(NoSpace::OutputFull);
        }
        let n = match means.host.receive(&self.socket, space) {
            Ok(0) => return Ok(self.end()),
            Ok(n) => n,
            Err(error) => return Ok(self.not_received(&error)),
        };
        front.copy_from_slice(prefix);
        let message = space.get(..n).unwrap_or_default();
        match faults.is_empty() {
            true => means.host.message(&self.peer, message),
            false => means.host.message_with_faults(&self.peer, faults, message),
        }
        let counters = means.counters();
        counters.messages.add(1);
        counters.bytes_in.add(n as u64);
        if self.connection.discards_input() {
            counters.bytes_discarded.add(n as u64);
        }
        self.connection.received(prefix.len() + n);
        self.last_activity = means.now;
        if self.readiness.received(n, room) {
            self.connection.input_emptied();
        }
        Ok(Step::Moved(n))
    }

    /// What an error of this connection's socket leads to. It is logged here, because a close reason says less.
    pub(super) fn failed(&self, error: &io::Error) -> Step {
        let step = Step::from(error);
        if let Step::Failed(reason) = step {
            tracing::debug!(target: "parrot_server", peer = %self.peer, %error, "a system call failed: {reason}");
        }
        step
    }

    /// Sends what is pending. `None` if nothing is.
    fn send<H: Host<Socket = Socket>>(&mut self, means: &mut Means<H>) -> Option<Step> {
        self.send_front(usize::MAX, means)
    }

    /// Sends at most this much of what is pending. `None` if that is nothing.
    // Inlined, which saves 51 instructions of each message.
    #[inline(always)]
    pub(super) fn send_front<H: Host<Socket = Socket>>(&mut self, most: usize, means: &mut Means<H>) -> Option<Step> {
        let pending = self.connection.to_send();
        let pending = pending.get(..most).unwrap_or(pending);
        if pending.is_empty() {
            return None;
        }
        let wanted = pending.len();
        Some(match means.host.send(&self.socket, pending) {
            Ok(n) => {
                self.connection.sent(n);
                self.last_activity = means.now;
                means.counters().bytes_out.add(n as u64);
                // A short send has filled the socket, so a second one would only fail.
                if n < wanted { Step::Blocked } else { Step::Moved(n) }
            }
            Err(error) => self.failed(&error),
        })
    }

    pub(super) fn shut_down<H: Host<Socket = Socket>>(&mut self, means: &mut Means<H>) {
        // At the peer's end nothing is unread, so that the close which follows sends the FIN.
        if self.connection.has_input_ended() {
            return self.connection.shut_down();
        }
        match means.host.shut_down(&self.socket) {
            Ok(()) => self.connection.shut_down(),
            Err(error) => match self.failed(&error) {
                Step::Failed(reason) => self.connection.close(reason),
                // shutdown(2) has no such results. If a system has one, the write side ends with the close.
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
        match Errno::from_io_error(error) {
            // The socket stays "writable" meanwhile, so waiting for that would spin (libuv#5195).
            Some(Errno::NOBUFS | Errno::NOMEM) => Step::Exhausted,
            // macOS returns this from a write while the peer tears the connection down. A retry can go on forever
            // (swift-nio#1706, go#51538).
            Some(Errno::PROTOTYPE) => Step::Failed(CloseReason::Reset),
            _ => Step::Failed(CloseReason::Failed),
        }
    }
}
