//! Listening sockets, and the checks of how the loop accepts from them and closes them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use parrot_server::simulation::{Label, OpenListener, Target};

use crate::check::Promise;
use crate::connection::Stage;
use crate::coverage::Point;
use crate::doors::PortPlan;
use crate::host::{SimulatedHost, note};
use crate::share::ACCEPTS_PER_TURN;

/// A listening socket, as the loop holds it.
#[derive(Debug)]
pub struct Listener {
    /// The index of the listener.
    pub port: usize,
}

/// The state of a listening socket.
#[derive(Debug, Default)]
pub(crate) struct Port {
    pub(crate) plan: PortPlan,
    pub(crate) closed: bool,
    /// The index that the loop has for it, while the loop has it.
    pub(crate) slot: Option<usize>,
    /// When the loop has to have closed it, once a handle has asked for that.
    pub(crate) closes_by: Option<u64>,
    pub(crate) backlog: VecDeque<usize>,
    pub(crate) watch: Option<Target>,
    /// The time of the turn in which accepting was paused.
    pub(crate) paused: Option<u64>,
    pub(crate) accepts_in_turn: u32,
    /// The last turn in which accepting had a reason to stop early, or a look at the backlog failed.
    pub(crate) pause_turn: u64,
    /// The connections that its last event counted.
    pub(crate) reported: Option<u64>,
    /// The last turn in which it had an event.
    pub(crate) event_turn: u64,
    /// Whether the loop saw an empty backlog in this turn.
    pub(crate) seen_empty: bool,
}

impl Listener {
    /// The listener with this index, as it is when the loop begins.
    pub(crate) fn open(port: usize, plan: PortPlan) -> OpenListener<Listener> {
        let label = Label { name: name_of(port).into(), address: server_address(port).to_string().into() };
        OpenListener {
            listener: Listener { port },
            label,
            given: plan.given,
            proxy_protocol: plan.proxy,
            accepted: Arc::default(),
            faults: None,
        }
    }
}

impl Port {
    /// The listener with this index, as it is before the first turn.
    pub(crate) fn new(index: usize, plan: PortPlan) -> Port {
        Port { plan, closed: plan.later, slot: (!plan.later).then_some(index), ..Port::default() }
    }
}

/// The name of a listener, as the replies show it.
pub(crate) fn name_of(port: usize) -> String {
    format!("listener {port}")
}

/// The server's address on a listener.
pub(crate) fn server_address(port: usize) -> SocketAddr {
    // Peers have higher ports.
    (Ipv4Addr::LOCALHOST, port as u16 + 1).into()
}

impl SimulatedHost {
    /// Checks that the loop has a reason to accept.
    pub(crate) fn check_accept(&mut self, port: usize) {
        let Port { plan, event_turn, closes_by, .. } = &self.ports[port];
        let ends = self.drain_deadline.is_some() || closes_by.is_some();
        if plan.given && ends {
            self.broken(Promise::Given, || {
                format!("listener {port} is given, and accepts although it is to be closed")
            });
        } else if *event_turn != self.tally.turns && !ends {
            self.broken(Promise::Provoked, || format!("listener {port} accepts without an event"));
        }
    }

    /// Checks that a listener's event was followed by as many accepts as the backlog or the share of the turn allows.
    pub(crate) fn check_accepts(&mut self) {
        let turn = self.tally.turns;
        let early = self.ports.iter().position(|port| {
            let done = port.seen_empty
                || port.accepts_in_turn >= ACCEPTS_PER_TURN
                || port.reported.is_some_and(|reported| u64::from(port.accepts_in_turn) >= reported);
            let ends = port.closed || port.closes_by.is_some();
            port.event_turn == turn && port.pause_turn != turn && !ends && !done
        });
        if let Some(index) = early.filter(|_| self.drain_deadline.is_none()) {
            self.broken(Promise::Fair, || format!("listener {index}: connections are left in the backlog"));
        }
    }

    /// Checks at the end of a turn that no listener stays open that is to be closed. A given one is closed at once, and
    /// any other when its backlog is empty.
    pub(crate) fn check_ending_listeners(&mut self) {
        let draining = self.drain_deadline.is_some();
        let ends = |port: &Port| port.slot.is_some() && (draining || port.closes_by.is_some());
        if let Some(index) = self.ports.iter().position(|port| ends(port) && port.plan.given) {
            self.broken(Promise::Given, || format!("listener {index} is given, and stays open"));
        }
        let (turn, now) = (self.tally.turns, self.turn_time);
        let late = self.ports.iter().enumerate().filter(|(_, port)| port.slot.is_some()).find_map(|(index, port)| {
            let seen_empty = port.seen_empty && port.pause_turn != turn;
            port.closes_by.filter(|due| seen_empty || *due <= now).map(|_| (index, seen_empty))
        });
        if let Some((index, seen_empty)) = late {
            let why = if seen_empty { "its backlog is empty" } else { "its time is over" };
            self.broken(Promise::Drain, || format!("listener {index} stays open, and {why}"));
        }
    }

    /// Gives the loop a listener, which a handle has opened.
    pub(crate) fn add_port(&mut self, index: usize) {
        // In a drain the loop closes it.
        if self.drain_deadline.is_some() {
            return;
        }
        self.coverage.count(Point::ListenerAdded);
        // A given listener that is to be closed has left its place already.
        let has = |port: &Port, slot| port.slot == Some(slot) && !(port.plan.given && port.closes_by.is_some());
        let is_free = |slot: &usize| self.ports.iter().all(|port| !has(port, *slot));
        let slot = (0..self.ports.len()).find(is_free);
        // A pause that goes on holds for it too.
        let paused = self.ports.iter().filter_map(|port| port.paused).max();
        let port = &mut self.ports[index];
        (port.slot, port.paused) = (slot, paused);
    }

    /// Has the loop close a listener, as a handle has asked for.
    pub(crate) fn remove_port(&mut self, index: usize) {
        let within = u64::try_from(self.plan.limits.drain_timeout.as_nanos()).unwrap_or(u64::MAX);
        let due = self.turn_time.saturating_add(within);
        let port = &mut self.ports[index];
        if port.slot.is_some() {
            port.closes_by = Some(port.closes_by.map_or(due, |earlier| earlier.min(due)));
            self.coverage.count(Point::ListenerRemoved);
        }
    }

    /// Closes a listener, and checks that this is the time for it and that nobody in its backlog is forgotten.
    pub(crate) fn close_port(&mut self, index: usize) {
        let port = &mut self.ports[index];
        port.closed = true;
        let (known, closes_by) = (port.slot.take().is_some(), port.closes_by);
        let (watched, seen_empty, given) = (port.watch.is_some(), port.seen_empty, port.plan.given);
        let backlog = std::mem::take(&mut port.backlog);
        let late = [self.drain_deadline, closes_by].into_iter().flatten().any(|due| due <= self.turn_time);
        if given && !backlog.is_empty() {
            // Another process that holds the socket accepts them.
            self.coverage.count(Point::GivenBacklogLeft);
        } else if !backlog.is_empty() {
            self.coverage.count(if late { Point::DrainResetsBacklog } else { Point::ComesTooLate });
            // A listener that the loop gets in a drain comes too late.
            if known && !late && !seen_empty {
                self.broken(Promise::Drain, || format!("{} connections are reset in the backlog", backlog.len()));
            }
        }
        for connection in backlog {
            self.connections[connection].stage = Stage::Dropped;
        }
        if watched {
            self.broken(Promise::Descriptors, || format!("listener {index} is closed while it is watched"));
        }
        if self.drain_deadline.is_none() && closes_by.is_none() {
            self.broken(Promise::Fair, || format!("listener {index} is closed without a reason"));
        }
        self.work += 1;
        note!(self, "listener {index} closed");
    }
}
