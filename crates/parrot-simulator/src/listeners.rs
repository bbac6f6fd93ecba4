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
    pub(crate) backlog: VecDeque<usize>,
    pub(crate) watch: Option<Target>,
    /// The time of the turn in which accepting was paused.
    pub(crate) paused: Option<u64>,
    pub(crate) accepts_in_turn: u32,
    /// The last turn in which accepting had a reason to stop early.
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
        }
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
        let Port { plan, event_turn, .. } = &self.ports[port];
        let draining = self.drain_deadline.is_some();
        if plan.given && draining {
            self.broken(Promise::Given, || format!("listener {port} is given, and accepts in a drain"));
        } else if *event_turn != self.tally.turns && !draining {
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
            port.event_turn == turn && port.pause_turn != turn && !port.closed && !done
        });
        if let Some(index) = early.filter(|_| self.drain_deadline.is_none()) {
            self.broken(Promise::Fair, || format!("listener {index}: connections are left in the backlog"));
        }
    }

    /// Checks at the end of a turn that no given listener stays open in a drain.
    pub(crate) fn check_given_listeners(&mut self) {
        let open = self.ports.iter().position(|port| port.plan.given && !port.closed);
        if let Some(index) = open.filter(|_| self.drain_deadline.is_some()) {
            self.broken(Promise::Given, || format!("listener {index} is given, and open in a drain"));
        }
    }

    /// Closes a listener, and checks that this is the time for it and that nobody in its backlog is forgotten.
    pub(crate) fn close_port(&mut self, index: usize) {
        let port = &mut self.ports[index];
        port.closed = true;
        let (watched, seen_empty, given) = (port.watch.is_some(), port.seen_empty, port.plan.given);
        let backlog = std::mem::take(&mut port.backlog);
        let late = self.drain_deadline.is_some_and(|due| due <= self.turn_time);
        if given && !backlog.is_empty() {
            // Another process that holds the socket accepts them.
            self.coverage.count(Point::GivenBacklogLeft);
        } else if !backlog.is_empty() {
            self.coverage.count(if late { Point::DrainResetsBacklog } else { Point::ComesTooLate });
            if !late && !seen_empty {
                self.broken(Promise::Drain, || format!("{} connections are reset in the backlog", backlog.len()));
            }
        }
        for connection in backlog {
            self.connections[connection].stage = Stage::Dropped;
        }
        if watched {
            self.broken(Promise::Descriptors, || format!("listener {index} is closed while it is watched"));
        }
        if self.drain_deadline.is_none() {
            self.broken(Promise::Fair, || format!("listener {index} is closed without a drain"));
        }
        self.work += 1;
        note!(self, "listener {index} closed");
    }
}
