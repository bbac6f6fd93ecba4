//! The loop: one wait a turn, then its events, then what earlier turns left over, then what is due.

mod drain;
mod due;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parrot_conn::{BufferPool, CloseReason};
use slotmap::SlotMap;

use self::due::Due;
use crate::acceptor::{ACCEPTS_PER_TURN, AcceptError, Acceptor};
use crate::connection_key::ConnectionKey;
use crate::conversation::{Conversation, Served, Turn};
use crate::deadlines::Deadlines;
use crate::pages::Pages;
use crate::server::Ended;
use crate::statistics::{Counters, Statistics};
use crate::system::{Event, System, Watch};

/// The most connections served in one turn beside those with events: a drain or a freed buffer may make thousands ready
/// at once.
const LEFTOVERS_PER_TURN: usize = 1024;

/// How many connections are received from before the first of them is sent to. The two calls take different ways through
/// the kernel, and each goes the faster for having just been gone: docs/benchmarks.md has the figures.
const RECEIVES_AHEAD: usize = 32;

/// How many bytes are received ahead of their sends: what is more than this is sent while it is still in the processor's
/// cache, and out of the buffer that the next connection receives into.
const BYTES_AHEAD: usize = 64 * 1024;

/// What the loop needs to know of the configuration.
#[derive(Debug, Clone)]
pub struct LoopConfig {
    /// See [`Config::max_connections`](crate::Config::max_connections).
    pub max_connections: Option<usize>,
    /// See [`Config::max_output`](crate::Config::max_output).
    pub max_output: usize,
    /// See [`Config::max_buffered`](crate::Config::max_buffered).
    pub max_buffered: usize,
    /// See [`Config::idle_timeout`](crate::Config::idle_timeout).
    pub idle_timeout: Option<Duration>,
    /// See [`Config::drain_timeout`](crate::Config::drain_timeout).
    pub drain_timeout: Duration,
    /// See [`Config::busy_poll`](crate::Config::busy_poll).
    pub busy_poll: Option<Duration>,
}

/// What is shared with handles on other threads.
#[derive(Debug, Default)]
pub struct Shared {
    /// What the loop counts.
    pub counters: Counters,
    /// Whether a drain is wanted; set it, then wake the loop.
    pub stop: AtomicBool,
}

/// How long the loop's own lists are, entries of connections that are no more included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLengths {
    /// Things due later.
    pub deadlines: usize,
    /// Connections whose share of a turn was used up.
    pub unfinished: usize,
    /// Connections that wait for a buffer.
    pub in_line: usize,
}

/// All connections, and the order of the work on them.
#[allow(missing_debug_implementations, reason = "a system need not be Debug")]
pub struct EventLoop<S: System> {
    system: S,
    queue: S::Queue,
    acceptor: Acceptor<S::Listener>,
    connections: SlotMap<ConnectionKey, Conversation<S::Socket>>,
    pool: BufferPool<Pages>,
    /// Connections of this turn whose first receive was made and whose sends were not yet.
    ahead: Vec<ConnectionKey>,
    /// How many bytes those have received.
    bytes_ahead: usize,
    /// Connections whose share of a turn was used up.
    unfinished: VecDeque<ConnectionKey>,
    /// Connections that wait for a buffer, the one that has waited longest first.
    in_line: VecDeque<ConnectionKey>,
    deadlines: Deadlines<Due>,
    config: LoopConfig,
    shared: Arc<Shared>,
    on_hangup: Box<dyn FnMut() + Send>,
    on_statistics: Box<dyn FnMut(&Statistics) + Send>,
    now: Instant,
    /// Until when waits do not sleep, because events came lately.
    busy_until: Option<Instant>,
    /// A signal has asked for the end: the next one does not ask.
    signalled: bool,
    draining: bool,
    /// When the connections left are closed in the drain; `None` also for a time-out beyond what the clock can tell.
    drain_until: Option<Instant>,
}

impl<S: System> EventLoop<S> {
    /// A loop over these listeners.
    ///
    /// # Errors
    ///
    /// What the queue answers when a listener cannot be watched.
    pub fn new(
        mut system: S,
        mut queue: S::Queue,
        listeners: Vec<S::Listener>,
        config: LoopConfig,
        shared: Arc<Shared>,
    ) -> io::Result<EventLoop<S>> {
        let acceptor = Acceptor::new(listeners, &mut system, &mut queue)?;
        let now = system.now();
        Ok(EventLoop {
            acceptor,
            connections: SlotMap::with_key(),
            pool: BufferPool::with_memory(config.max_output, config.max_buffered, S::allocate),
            ahead: Vec::with_capacity(RECEIVES_AHEAD),
            bytes_ahead: 0,
            unfinished: VecDeque::new(),
            in_line: VecDeque::new(),
            deadlines: Deadlines::new(),
            config,
            shared,
            on_hangup: Box::new(|| ()),
            on_statistics: Box::new(|statistics| tracing::info!(target: crate::STATISTICS_TARGET, "{statistics}")),
            now,
            busy_until: None,
            signalled: false,
            draining: false,
            drain_until: None,
            system,
            queue,
        })
    }

    /// Turns until the server has ended.
    ///
    /// # Errors
    ///
    /// What the queue answers when it cannot be waited on.
    pub fn run(&mut self) -> io::Result<Ended> {
        loop {
            if let ControlFlow::Break(ended) = self.turn()? {
                return Ok(ended);
            }
        }
    }

    /// One turn.
    ///
    /// # Errors
    ///
    /// What the queue answers when it cannot be waited on. An interrupted wait is not an error.
    pub fn turn(&mut self) -> io::Result<ControlFlow<Ended>> {
        let timeout = self.timeout();
        match self.system.wait(&mut self.queue, timeout) {
            Ok(()) => {}
            // The signal, if it is one of ours, is an event of the next turn.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        self.now = self.system.now();
        self.shared.counters.turns.add(1);

        // Counted before the events, so that what they leave over is for the next turn.
        let leftovers = self.unfinished.len().min(LEFTOVERS_PER_TURN);
        while let Some(event) = self.system.next_event(&mut self.queue) {
            self.busy_until = self.config.busy_poll.and_then(|busy_poll| self.now.checked_add(busy_poll));
            match event {
                Event::Readable { token, .. } if self.acceptor.tokens().contains(&token.0) => {
                    self.accept(token.0);
                }
                Event::Readable { token, read_on, available } => self.receive_ahead(token.into(), read_on, available),
                Event::Writable { token } => {
                    if let Some(conversation) = self.connections.get_mut(token.into()) {
                        conversation.note_writable();
                        self.serve(token.into(), Borrow::InTurn);
                    }
                }
                Event::Signal { signal, count } => {
                    if let ControlFlow::Break(ended) = self.handle_signal(signal, count) {
                        return Ok(ControlFlow::Break(ended));
                    }
                }
                Event::Wake => {
                    if self.shared.stop.load(Ordering::Acquire) {
                        self.start_drain();
                    }
                }
            }
        }
        self.serve_ahead();
        for _ in 0..leftovers {
            if let Some(key) = self.unfinished.pop_front() {
                self.serve_listed(key, Borrow::InTurn);
            }
        }
        self.serve_in_line();
        self.handle_deadlines();
        let progress = self.continue_drain();
        self.extend_activity();
        Ok(progress)
    }

    /// What to call when SIGHUP arrives; nothing unless this is set.
    pub fn set_on_hangup(&mut self, on_hangup: Box<dyn FnMut() + Send>) {
        self.on_hangup = on_hangup;
    }

    /// What to do with the statistics that a signal asks for; they are logged unless this is set.
    pub fn set_on_statistics(&mut self, on_statistics: Box<dyn FnMut(&Statistics) + Send>) {
        self.on_statistics = on_statistics;
    }

    /// The queue, to have it watch more than the loop asks for.
    pub fn queue(&mut self) -> &mut S::Queue {
        &mut self.queue
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many buffers are with connections, and how many can be at most.
    pub fn buffers(&self) -> (usize, usize) {
        (self.pool.lent(), self.pool.capacity())
    }

    /// How long the loop's own lists are.
    pub fn list_lengths(&self) -> ListLengths {
        ListLengths { deadlines: self.deadlines.len(), unfinished: self.unfinished.len(), in_line: self.in_line.len() }
    }

    /// The system, for a test to look into.
    pub fn system(&mut self) -> &mut S {
        &mut self.system
    }

    /// How long the next wait may take: for ever when nothing is left over and nothing will be due.
    fn timeout(&mut self) -> Option<Duration> {
        let accepting_in_drain = self.draining && !self.acceptor.is_closed() && !self.acceptor.is_paused();
        let can_feed = !self.in_line.is_empty() && self.pool.can_lend();
        let busy = self.busy_until.is_some_and(|until| self.now < until);
        if !self.unfinished.is_empty() || can_feed || accepting_in_drain || busy {
            return Some(Duration::ZERO);
        }
        let deadline = self.deadlines.next_wanted(|due| self.connections.contains_key(due.connection()));
        let next = [deadline, self.acceptor.next_deadline(), self.drain_until].into_iter().flatten().min();
        next.map(|due| due.saturating_duration_since(self.now))
    }

    /// Accepts from one listener what this turn allows.
    fn accept(&mut self, index: usize) -> Backlog {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = self.acceptor.listener(index) else { return Backlog::Empty };
            match self.system.accept(listener) {
                Ok((socket, peer)) => self.open(socket, peer),
                Err(error) => match AcceptError::from(&error) {
                    AcceptError::Empty => return Backlog::Empty,
                    AcceptError::Next => self.shared.counters.accept_failures.add(1),
                    kind => {
                        let counters = &self.shared.counters;
                        match kind {
                            AcceptError::Exhausted => counters.accept_pauses.add(1),
                            _ => counters.accept_failures.add(1),
                        }
                        self.acceptor.pause(&error, self.now, &mut self.system, &mut self.queue);
                        return Backlog::Unknown;
                    }
                },
            }
        }
        Backlog::Unknown
    }

    fn open(&mut self, socket: S::Socket, peer: std::net::SocketAddr) {
        if self.config.max_connections.is_some_and(|max| self.connections.len() >= max) {
            self.shared.counters.refused.add(1);
            self.system.close(socket);
            return;
        }
        // macOS answers set-up calls with EINVAL when the peer has gone already (socket2#631): that connection's end,
        // not ours.
        if let Err(error) = self.system.set_up(&socket) {
            tracing::debug!(target: "parrot_server", %peer, %error, "a connection could not be set up");
            self.shared.counters.set_up_failures.add(1);
            self.system.close(socket);
            return;
        }
        let key = self.connections.insert(Conversation::new(socket, peer, self.pool.connection(self.now)));
        let Some(conversation) = self.connections.get_mut(key) else { return };
        self.shared.counters.accepted.add(1);
        if let Err(error) = self.system.watch(&mut self.queue, Watch::Read(&conversation.socket), key.into()) {
            tracing::debug!(target: "parrot_server", %peer, %error, "a connection could not be watched");
            self.close(key, CloseReason::Failed);
            return;
        }
        tracing::debug!(target: "parrot_server", %peer, "connected");
        if let Some(idle) = self.config.idle_timeout
            && let Some(due) = conversation.connection.next_timeout(idle)
        {
            self.deadlines.push(due, Due::Idle(key));
        }
        if self.draining {
            conversation.drain();
            self.leave_unfinished(key);
        }
    }

    /// Receives from a connection with an event, and leaves it to be served with its neighbours.
    fn receive_ahead(&mut self, key: ConnectionKey, read_on: bool, available: Option<u64>) {
        let Some(conversation) = self.connections.get_mut(key) else { return };
        conversation.note_readable(read_on, available);
        let received = conversation.receive_ahead(&mut Turn {
            system: &mut self.system,
            pool: &mut self.pool,
            counters: &self.shared.counters,
            now: self.now,
            may_borrow: self.in_line.is_empty(),
        });
        if received == Served::Paused {
            return self.pause(key);
        }
        self.bytes_ahead += conversation.connection.to_send().len();
        self.ahead.push(key);
        if self.ahead.len() == RECEIVES_AHEAD || self.bytes_ahead >= BYTES_AHEAD {
            self.serve_ahead();
        }
    }

    fn serve_ahead(&mut self) {
        self.bytes_ahead = 0;
        let mut ahead = std::mem::take(&mut self.ahead);
        for key in ahead.drain(..) {
            self.serve(key, Borrow::InTurn);
        }
        self.ahead = ahead;
    }

    /// Serves a connection now.
    fn serve(&mut self, key: ConnectionKey, borrow: Borrow) {
        let Some(conversation) = self.connections.get_mut(key) else { return };
        if conversation.paused_until.is_some() {
            return;
        }
        let may_borrow = borrow == Borrow::First || self.in_line.is_empty();
        let mut turn = Turn {
            system: &mut self.system,
            pool: &mut self.pool,
            counters: &self.shared.counters,
            now: self.now,
            may_borrow,
        };
        let served = conversation.serve(&mut turn);
        self.follow_up(key, served);
    }

    /// Asks for room, or no longer, and puts the connection where it is served next.
    fn follow_up(&mut self, key: ConnectionKey, served: Served) {
        if let Served::Closed(reason) = served {
            return self.close(key, reason);
        }
        let Some(conversation) = self.connections.get_mut(key) else { return };
        let want_write = conversation.waits_for_room() && served != Served::Paused;
        if want_write != conversation.write_watched {
            let watch = Watch::Write(&conversation.socket);
            let changed = match want_write {
                true => self.system.watch(&mut self.queue, watch, key.into()),
                false => self.system.unwatch(&mut self.queue, watch),
            };
            if let Err(error) = changed {
                let peer = conversation.peer;
                tracing::debug!(target: "parrot_server", %peer, %error, "interest in writing could not be changed");
                return self.close(key, CloseReason::Failed);
            }
            conversation.write_watched = want_write;
        }
        match served {
            Served::Waiting | Served::Closed(_) => {}
            Served::Unfinished => self.leave_unfinished(key),
            Served::InLine => {
                if !std::mem::replace(&mut conversation.listed, true) {
                    self.in_line.push_back(key);
                }
            }
            Served::Paused => self.pause(key),
        }
    }

    fn leave_unfinished(&mut self, key: ConnectionKey) {
        if let Some(conversation) = self.connections.get_mut(key)
            && !std::mem::replace(&mut conversation.listed, true)
        {
            self.unfinished.push_back(key);
        }
    }

    /// Serves a connection that was just taken from a list.
    fn serve_listed(&mut self, key: ConnectionKey, borrow: Borrow) {
        if let Some(conversation) = self.connections.get_mut(key) {
            conversation.listed = false;
            self.serve(key, borrow);
        }
    }

    /// Gives free buffers to those that have waited longest.
    fn serve_in_line(&mut self) {
        let mut served = 0;
        for _ in 0..self.in_line.len() {
            if served == LEFTOVERS_PER_TURN || !self.pool.can_lend() {
                return;
            }
            // Those that have closed meanwhile have no part in it: a turn of nothing else would be one for nothing.
            if let Some(key) = self.in_line.pop_front().filter(|key| self.connections.contains_key(*key)) {
                served += 1;
                self.serve_listed(key, Borrow::First);
            }
        }
    }

    fn close(&mut self, key: ConnectionKey, reason: CloseReason) {
        let Some(mut conversation) = self.connections.remove(key) else { return };
        conversation.connection.close(reason);
        conversation.connection.release(&mut self.pool);
        // The descriptor must be out of the queue before it is closed: epoll would keep it while a duplicate lives.
        let Conversation { socket, peer, write_watched, .. } = conversation;
        let _ = self.system.unwatch(&mut self.queue, Watch::Read(&socket));
        if write_watched {
            let _ = self.system.unwatch(&mut self.queue, Watch::Write(&socket));
        }
        self.system.close(socket);
        self.shared.counters.closed(reason);
        tracing::debug!(target: "parrot_server", %peer, "closed: {reason}");
        // A descriptor is free again.
        self.acceptor.resume(self.now, &mut self.system, &mut self.queue);
        self.deadlines.tidy(self.connections.len(), |due| self.connections.contains_key(due.connection()));
        if self.in_line.len() > 2 * self.connections.len() + LEFTOVERS_PER_TURN {
            self.in_line.retain(|key| self.connections.contains_key(*key));
        }
    }
}

/// What is known of the connections that wait to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backlog {
    /// None waited when last asked.
    Empty,
    /// There may be more.
    Unknown,
}

/// A connection's claim to a free buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Borrow {
    /// Only if no other waits for one.
    InTurn,
    /// It has waited longest.
    First,
}
