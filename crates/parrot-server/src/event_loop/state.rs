//! What the loop holds between turns.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use parrot_conn::BufferPool;

use super::acceptor::Acceptor;
use super::changes::Changes;
use super::connections::Connections;
use super::datagrams::Datagrams;
use super::deadlines::Deadlines;
use super::doubtful::Doubtful;
use super::lists::Lists;
use super::long_turns::LongTurns;
use super::means::{Means, Shared};
use super::moment::Moment;
use super::seldom::Seldom;
use crate::config::{Limits, ProxyProtocol, Replies, Settings};
use crate::faults::PlannedFaults;
use crate::host::Host;
use crate::listen::Opened;
use crate::stage::{Stage, StageChange};
use crate::statistics::{STATISTICS_TARGET, Statistics};

/// A shorter interval would leave the loop no sleep.
const LEAST_INTERVAL: Duration = Duration::from_millis(1);

/// All connections, and the order of the work on them.
pub struct EventLoop<H: Host> {
    pub(super) means: Means<H>,
    pub(super) limits: Limits,
    pub(super) proxy: ProxyProtocol,
    pub(super) replies: Arc<Replies>,
    /// The faults of the listeners that have none of their own.
    pub(super) faults: Option<Arc<PlannedFaults>>,
    pub(super) acceptor: Acceptor<H::Listener>,
    pub(super) datagrams: Datagrams<H::DatagramSocket, H::Hasher>,
    pub(super) connections: Connections<H::Socket>,
    pub(super) lists: Lists,
    pub(super) doubtful: Doubtful,
    pub(super) deadlines: Deadlines,
    pub(super) long_turns: LongTurns,
    pub(super) stage: Stage,
    /// When the stage has to end. `None` if it has no end of its own, or one that the clock does not reach.
    pub(super) stage_until: Option<Moment>,
    /// A signal asked for the drain, so the next one ends the server at once.
    pub(super) signalled: bool,
    pub(super) hooks: Hooks,
    pub(super) changes: Arc<Changes<H::Listener, H::DatagramSocket>>,
    /// Whether turns are timed, for statistics.
    pub(super) times_turns: bool,
    /// Until when waits do not sleep, because of recent events.
    pub(super) busy_until: Option<Moment>,
}

/// What the embedder wants to be called for.
pub(super) struct Hooks {
    pub(super) hangup: Box<dyn FnMut() + Send>,
    pub(super) statistics: Box<dyn FnMut(&Statistics) + Send>,
    pub(super) stage: Box<dyn FnMut(&StageChange) + Send>,
    pub(super) interval: Option<Interval>,
}

/// What the embedder wants to be called for again and again.
pub(super) struct Interval {
    pub(super) length: Duration,
    /// `None` if the clock does not reach that far.
    pub(super) due: Option<Moment>,
    pub(super) call: Box<dyn FnMut() + Send>,
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
        shown.field("stage", &self.stage).field("connections", &self.connections.len()).finish_non_exhaustive()
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
        let Settings { limits, proxy, replies, udp, faults } = settings;
        let replies = Arc::new(replies);
        let faults = faults.map(|plan| Arc::new(PlannedFaults::new(plan)));
        let start = host.now();
        let datagrams = Datagrams::new(opened.datagrams, udp, Arc::clone(&replies), faults.clone(), start, &mut host)?;
        let acceptor = Acceptor::new(opened.listeners, &mut host)?;
        let pool = BufferPool::with_memory(limits.max_output, limits.max_buffered, H::allocate)
            .with_large_buffers(limits.max_stream_output());
        let means = Means { host, pool, shared, header_warning: Seldom::default(), start, now: Moment::default() };
        means.count_buffer_limit();
        Ok(EventLoop {
            means,
            limits,
            proxy,
            replies,
            faults,
            acceptor,
            datagrams,
            connections: Connections::new(),
            lists: Lists::new(),
            doubtful: Doubtful::default(),
            deadlines: Deadlines::default(),
            long_turns: LongTurns::default(),
            stage: Stage::Serving,
            stage_until: None,
            signalled: false,
            hooks: Hooks {
                hangup: Box::new(|| ()),
                statistics: Box::new(|statistics| tracing::info!(target: STATISTICS_TARGET, "{statistics}")),
                stage: Box::new(|_| ()),
                interval: None,
            },
            changes: Arc::new(Mutex::new(Vec::new())),
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

    /// What to call when a stage of the end begins. Nothing is called unless this is set.
    pub fn set_on_stage(&mut self, on_stage: Box<dyn FnMut(&StageChange) + Send>) {
        self.hooks.stage = on_stage;
    }

    /// What to call at the end of a turn once each interval of this length has passed. Without it the loop is not woken.
    pub fn set_on_interval(&mut self, length: Duration, on_interval: Box<dyn FnMut() + Send>) {
        let length = length.max(LEAST_INTERVAL);
        let due = self.means.read_clock().checked_add(length);
        self.hooks.interval = Some(Interval { length, due, call: on_interval });
    }

    /// The host, for an embedder that wants more of it than the loop does.
    pub fn host(&mut self) -> &mut H {
        &mut self.means.host
    }

    /// Whether a drain has begun.
    pub(super) fn is_draining(&self) -> bool {
        self.stage == Stage::Draining
    }
}
