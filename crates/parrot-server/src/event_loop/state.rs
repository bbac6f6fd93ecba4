//! What the loop holds between turns.

use std::fmt;
use std::io;
use std::sync::Arc;

use parrot_conn::BufferPool;
use slotmap::SlotMap;

use super::acceptor::Acceptor;
use super::conversation::Conversation;
use super::datagrams::Datagrams;
use super::deadlines::Deadlines;
use super::lists::Lists;
use super::long_turns::LongTurns;
use super::means::{Means, Shared};
use super::moment::Moment;
use super::seldom::Seldom;
use crate::config::{Limits, ProxyProtocol, Replies, Settings};
use crate::host::{ConnectionKey, Host};
use crate::listen::Opened;
use crate::statistics::{STATISTICS_TARGET, Statistics};

/// All connections, and the order of the work on them.
pub struct EventLoop<H: Host> {
    pub(super) means: Means<H>,
    pub(super) limits: Limits,
    pub(super) proxy: ProxyProtocol,
    pub(super) replies: Arc<Replies>,
    pub(super) acceptor: Acceptor<H::Listener>,
    pub(super) datagrams: Datagrams<H::DatagramSocket, H::Hasher>,
    pub(super) connections: SlotMap<ConnectionKey, Conversation<H::Socket>>,
    pub(super) lists: Lists,
    pub(super) deadlines: Deadlines,
    pub(super) long_turns: LongTurns,
    pub(super) phase: Phase,
    pub(super) hooks: Hooks,
    /// Whether turns are timed, for statistics.
    pub(super) times_turns: bool,
    /// Until when waits do not sleep, because of recent events.
    pub(super) busy_until: Option<Moment>,
}

/// How far the server is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Connections are accepted and served.
    Serving,
    /// The backlog is accepted, and every connection ends at its next pause.
    Draining {
        /// When the connections that are left are closed. `None` if the clock does not reach that far.
        until: Option<Moment>,
        /// A signal asked for the drain, so the next one ends the server at once.
        signalled: bool,
    },
}

/// What the embedder wants to be called for.
pub(super) struct Hooks {
    pub(super) hangup: Box<dyn FnMut() + Send>,
    pub(super) statistics: Box<dyn FnMut(&Statistics) + Send>,
}

/// How a server has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// After a drain: every connection has ended, or was closed at the drain timeout.
    Drained,
    /// At once, by a second signal of this number.
    Signal(i32),
}

impl<H: Host> fmt::Debug for EventLoop<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("EventLoop");
        shown.field("phase", &self.phase).field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

impl<H: Host> EventLoop<H> {
    /// A loop over these listeners and UDP sockets.
    ///
    /// # Errors
    ///
    /// When the queue cannot watch one of them.
    pub fn new(
        mut host: H,
        opened: Opened<H::Listener, H::DatagramSocket>,
        settings: Settings,
        shared: Arc<Shared>,
    ) -> io::Result<EventLoop<H>> {
        let Settings { limits, proxy, replies, udp } = settings;
        let replies = Arc::new(replies);
        let start = host.now();
        let datagrams = Datagrams::new(opened.datagrams, udp, Arc::clone(&replies), start, &mut host)?;
        let acceptor = Acceptor::new(opened.listeners, &mut host)?;
        let pool = BufferPool::with_memory(limits.max_output, limits.max_buffered, H::allocate);
        shared.counters.buffered_bytes_limit.set((pool.capacity() * pool.buffer_size()) as u64);
        Ok(EventLoop {
            means: Means { host, pool, shared, header_warning: Seldom::default(), start, now: Moment::default() },
            limits,
            proxy,
            replies,
            acceptor,
            datagrams,
            connections: SlotMap::with_key(),
            lists: Lists::new(),
            deadlines: Deadlines::new(),
            long_turns: LongTurns::default(),
            phase: Phase::Serving,
            hooks: Hooks {
                hangup: Box::new(|| ()),
                statistics: Box::new(|statistics| tracing::info!(target: STATISTICS_TARGET, "{statistics}")),
            },
            times_turns: false,
            busy_until: None,
        })
    }

    /// What to call when SIGHUP arrives. Nothing is called unless this is set.
    pub fn set_on_hangup(&mut self, on_hangup: Box<dyn FnMut() + Send>) {
        self.hooks.hangup = on_hangup;
    }

    /// What to do with the statistics that a signal asks for. They are logged unless this is set.
    pub fn set_on_statistics(&mut self, on_statistics: Box<dyn FnMut(&Statistics) + Send>) {
        self.hooks.statistics = on_statistics;
    }

    /// The host, for an embedder that wants more of it than the loop does.
    pub fn host(&mut self) -> &mut H {
        &mut self.means.host
    }

    /// Whether a drain has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.phase != Phase::Serving
    }

    /// When the connections that are left are closed.
    pub(super) fn drain_deadline(&self) -> Option<Moment> {
        match self.phase {
            Phase::Serving => None,
            Phase::Draining { until, .. } => until,
        }
    }
}
