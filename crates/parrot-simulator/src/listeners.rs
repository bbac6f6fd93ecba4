//! Listening sockets, and the checks of how the loop accepts from them and closes them.

use std::collections::VecDeque;
use std::sync::Arc;

use parrot_server::simulation::{Label, OpenListener, Target};

use crate::attempts::address_of;
use crate::check::Promise;
use crate::connection::Stage;
use crate::coverage::Point;
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
    pub(crate) fn open(port: usize) -> OpenListener<Listener> {
        let address: Arc<str> = address_of(port + 1).to_string().into();
        let label = Label { name: Arc::clone(&address), address };
        OpenListener {
            listener: Listener { port },
            label,
            given: false,
            proxy_protocol: false,
            accepted: Arc::default(),
        }
    }
}

impl SimulatedHost {
    /// Checks that the loop has a reason to accept.
    pub(crate) fn check_accept(&mut self, port: usize) {
        if self.ports[port].event_turn != self.tally.turns && self.drain_deadline.is_none() {
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

    /// Closes a listener, and checks that this is the time for it and that nobody in its backlog is forgotten.
    pub(crate) fn close_port(&mut self, index: usize) {
        let port = &mut self.ports[index];
        port.closed = true;
        let (watched, seen_empty) = (port.watch.is_some(), port.seen_empty);
        let backlog = std::mem::take(&mut port.backlog);
        let late = self.drain_deadline.is_some_and(|due| due <= self.turn_time);
        if !backlog.is_empty() {
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
