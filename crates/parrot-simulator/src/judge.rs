//! Checks the loop after each turn and at the end.

use parrot_server::Ended;
use parrot_server::simulation::Snapshot;

use crate::check::Promise;
use crate::coverage::Point;
use crate::host::{SimulatedHost, note};
use crate::share::LEFTOVERS_PER_TURN;

/// A connection that is ready is served within this many turns.
const PATIENCE: u32 = 8;
/// The same for bytes that no event reports, behind a stop in the stream of a Unix socket.
const PATIENCE_IN_DOUBT: u32 = 40;
/// An idle connection is closed in the same turn, or within this many further turns if more than a thousand are idle.
const IDLE_CLOSE_TURNS: u32 = 2;
/// How often buffers may be given back before a waiting connection moves up one place. The connection before it may use
/// its share of the turn up with that many small messages.
const RETURNS_PER_PLACE: u64 = 80;
/// The number of calls that use up a connection's share of the turn although they move few bytes.
const CALLS_IN_VAIN: u32 = 32;
/// A connection has two live deadlines at most. The loop may hold twice as many deadlines, and this many more.
const DEADLINES_SLACK: usize = 64;

impl SimulatedHost {
    /// The number of connections that the loop serves.
    pub(crate) fn served(&self) -> usize {
        self.open.iter().filter(|index| self.connections[**index].served()).count()
    }

    /// Whether a drain with a timeout has begun.
    pub(crate) fn ends_by_the_clock(&self) -> bool {
        self.drain_deadline.is_some_and(|due| due < u64::MAX)
    }

    pub(crate) fn start_turn(&mut self) {
        self.tally.turns += 1;
        self.calls_in_turn = 0;
        self.leftovers = 0;
        self.deadline_closes = 0;
        self.batch.clear();
        for port in &mut self.ports {
            port.accepts_in_turn = 0;
            port.seen_empty = false;
        }
    }

    /// Checks what must hold after each turn, except one that a second signal ended.
    pub(crate) fn check_turn(&mut self, seen: Snapshot) {
        self.settle_refused(false);
        self.settle_close();
        self.check_buffers(&seen);
        for position in 0..self.open.len() {
            let index = self.open[position];
            self.observe(index, &seen);
            self.observe_header(index);
            self.check_connection(index);
        }
        if seen.connections != self.open.len() {
            let open = self.open.len();
            self.broken(Promise::Descriptors, || format!("{} connections with {open} sockets", seen.connections));
        }
        self.check_lists(seen);
        if self.turn_time < self.woke_at {
            self.broken(Promise::Clock, || "the time was not read after the wait".to_owned());
        }
        let forgotten = self.ports.iter().any(|port| port.slot.is_some() && port.watch.is_none());
        if forgotten && self.closed_since_pause {
            self.broken(Promise::Awake, || "a descriptor is free again, but accepting still pauses".to_owned());
        }
        self.check_accepts();
        self.check_ending_listeners();
        self.check_datagrams();
        self.check_counters();
        if self.killed.is_some() {
            self.broken(Promise::Ended, || "the server goes on after a second signal".to_owned());
        }
    }

    /// Updates how long a connection has been idle, unserved or waiting for a buffer at the end of a turn.
    fn observe(&mut self, index: usize, seen: &Snapshot) {
        let connection = &mut self.connections[index];
        if std::mem::take(&mut connection.active_in_turn) {
            (connection.active_from, connection.active_until) = (self.turn_time, self.time);
        }
        let connection = &self.connections[index];
        let (owes, memory_short) = (connection.owed() > 0, connection.memory_short.is_some());
        let no_buffer = self.lacks_buffer(connection);
        let greets = self.owes_greeting(connection);
        // The event list had no room for this connection's next event, so the loop cannot know of it yet.
        let unreported = connection.edge && no_buffer;
        // Buffers that are free at the end of the turn belong to the connections that wait longest.
        let waits = connection.hinted
            && !memory_short
            && !self.may_lack_buffer(connection)
            && (connection.unreceived() > 0 || greets)
            && !connection.awaits_header()
            && (no_buffer || (!owes && seen.waiting > 0));
        let wants = connection.readable() || greets;
        let has_input = connection.hinted && wants && !self.may_leave_input(connection);
        let ready = (has_input && !unreported && !waits) || (owes && !connection.blocked && !memory_short);
        let is_idle = self.idle_close_due(connection).is_some_and(|due| due <= self.turn_time);
        let is_excused = self.is_excused(connection);
        if self.is_full(connection) {
            self.coverage.count(Point::OutputFull);
        }
        if greets && waits {
            self.coverage.count(Point::GreetingWaits);
        }
        if ready && connection.turn == self.tally.turns && connection.calls_in_turn >= CALLS_IN_VAIN {
            self.coverage.count(Point::ServingUsedUp);
        }
        let connection = &mut self.connections[index];
        if is_excused {
            connection.excused = self.turn_time;
        }
        if connection.waiting_since.is_none() {
            connection.waiting_places = self.open.len();
        }
        let since = connection.waiting_since.unwrap_or(self.buffers_returned);
        connection.waiting_since = waits.then_some(since);
        connection.idle_turns = if is_idle { connection.idle_turns + 1 } else { 0 };
        connection.unserved_turns = if ready { connection.unserved_turns + 1 } else { 0 };
    }

    /// Checks an open connection at the end of a turn.
    fn check_connection(&mut self, index: usize) {
        let connection = &self.connections[index];
        let wait = connection.unserved_turns;
        let passed_over = connection.waiting_since.map_or(0, |since| self.buffers_returned - since);
        let (promise, what) = if let Some(reason) = connection.ended {
            (Promise::Close, format!("has ended ({reason}) and is not closed"))
        } else if let Some(n) = connection.message {
            (Promise::Log, format!("has received {n} bytes that were not logged"))
        } else if self.has_faults(connection) {
            // Only its faults say what it may do when.
            return;
        } else if connection.served() && connection.is_finished() {
            (Promise::Close, "was sent all it is owed after its end, but is not closed".to_owned())
        } else if connection.watch_write.is_some() && connection.owed() == 0 {
            (Promise::Busy, "is watched for room with nothing to send".to_owned())
        } else if connection.idle_turns > IDLE_CLOSE_TURNS {
            (Promise::Idle, "is idle and not closed".to_owned())
        } else if wait > if connection.in_doubt { PATIENCE_IN_DOUBT } else { PATIENCE } {
            (Promise::Fair, format!("is ready and not served for {wait} turns"))
        } else if passed_over > RETURNS_PER_PLACE * (connection.waiting_places as u64 + 1) {
            (Promise::Fair, format!("waits for a buffer while {passed_over} are given back"))
        } else {
            return;
        };
        self.broken(promise, || format!("connection {index} {what}"));
    }

    /// Checks that the loop's own lists stay in proportion to its open connections.
    fn check_lists(&mut self, seen: Snapshot) {
        let open = seen.connections;
        self.waiting = seen.waiting;
        // A turn counts as work if it only removes leftovers that have ended. There may be more than a thousand.
        self.work += u64::from(seen.unfinished < std::mem::replace(&mut self.unfinished, seen.unfinished));
        if seen.deadlines > 4 * open + DEADLINES_SLACK {
            self.broken(Promise::Memory, || format!("{} deadlines for {open} connections", seen.deadlines));
        }
        if seen.waiting > LEFTOVERS_PER_TURN {
            self.coverage.count(Point::ManyWaiting);
        }
        if seen.waiting > 2 * open + LEFTOVERS_PER_TURN {
            self.broken(Promise::Memory, || format!("{} of {open} connections wait for a buffer", seen.waiting));
        }
        // Leftovers that have ended stay in the list until they are due.
        if seen.unfinished > open + 2 * LEFTOVERS_PER_TURN {
            self.broken(Promise::Memory, || format!("{} left over of {open} connections", seen.unfinished));
        }
    }

    /// Checks a turn that did not end the server.
    pub(crate) fn check_goes_on(&mut self) {
        if self.drain_deadline.is_some_and(|due| due <= self.turn_time) {
            self.broken(Promise::Drain, || "the server goes on after the drain timeout".to_owned());
        }
    }

    /// Checks how the server ended.
    pub(crate) fn check_ended(&mut self, ended: Ended) {
        note!(self, "ended: {ended:?}");
        match ended {
            Ended::Signal(number) => {
                if self.killed != Some(number) {
                    let killed = self.killed;
                    self.broken(Promise::Ended, || format!("ended by signal {number}, but {killed:?} came"));
                }
            }
            Ended::Drained => {
                self.coverage.count(Point::EndedDrained);
                let ports = self.ports.iter().filter(|port| port.slot.is_some()).count();
                let ports = ports + self.udp.sockets.iter().filter(|socket| !socket.closed).count();
                let (open, draining) = (self.open.len(), self.drain_deadline.is_some());
                if !draining || open > 0 || ports > 0 || self.lent > 0 {
                    let lent = self.lent;
                    self.broken(Promise::Ended, || {
                        format!(
                            "drained (asked to: {draining}) with {open} connections, {ports} listeners, {lent} buffers"
                        )
                    });
                }
            }
        }
    }
}
