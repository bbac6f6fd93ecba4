//! What every call begins with, and the checks of how much work a turn does.

use std::io;

use nix::errno::Errno;

use crate::attempts::error;
use crate::check::Promise;
use crate::coverage::Point;
use crate::host::SimulatedHost;
use crate::memory::LONGEST_MEMORY_PAUSE;

/// The most bytes that the loop receives from a connection each time it serves it, before the last receive. As much again
/// may be received ahead.
const BYTES_PER_SERVING: u64 = 128 * 1024;
/// The most calls that the loop makes each time it serves a connection. It receives 32 times if each call moves little,
/// and each receive may be followed by a send.
const CALLS_PER_SERVING: u32 = 72;
/// The most times that the loop serves a connection in a turn: for its read event, its write event and as a leftover.
const SERVINGS_PER_TURN: u32 = 3;
/// The most connections that a turn serves from each of the loop's lists.
pub(crate) const LEFTOVERS_PER_TURN: usize = 1024;
/// The most connections that the loop accepts from a listener for an event.
pub(crate) const ACCEPTS_PER_TURN: u32 = 256;
/// A turn with this many calls has no end.
const ENDLESS_CALLS: u32 = 1_000_000;

impl SimulatedHost {
    /// Begins every call. The error ends a turn that has no end.
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        self.last_call_closed = false;
        self.calls_in_turn += 1;
        if self.calls_in_turn > ENDLESS_CALLS {
            self.broken(Promise::Work, || format!("more than {ENDLESS_CALLS} calls in a turn"));
            return error(Errno::EIO);
        }
        self.settle_refused(false);
        if self.closing.is_some() {
            self.settle_close();
        }
        self.pass_time();
        Ok(())
    }

    /// Begins every call on the socket of a connection.
    pub(crate) fn enter_for(&mut self, index: usize) -> io::Result<()> {
        self.enter()?;
        let turn = self.tally.turns;
        let connection = &mut self.connections[index];
        connection.calls += 1;
        connection.unserved_turns = 0;
        if connection.turn != turn {
            (connection.turn, connection.calls_in_turn, connection.bytes_in_turn) = (turn, 0, 0);
            let connection = &self.connections[index];
            // There may have been no memory for its buffer until now.
            let refused = self.last_refused.is_some_and(|since| self.turn_time_before < since + LONGEST_MEMORY_PAUSE);
            let due = connection.memory_short.is_some()
                || (refused && connection.owed() == 0)
                || self.is_idle(connection)
                || self.is_header_late(connection)
                || connection.in_doubt;
            if connection.event_turn != turn && !due && !self.misbehaves() {
                self.count_leftover();
            }
        }
        let connection = &mut self.connections[index];
        connection.calls_in_turn += 1;
        let calls = connection.calls_in_turn;
        if calls > SERVINGS_PER_TURN * CALLS_PER_SERVING {
            self.broken(Promise::Work, || format!("connection {index}: {calls} calls in a turn"));
        }
        Ok(())
    }

    /// Counts a connection that is served without an event, because it was left over or waited for a buffer.
    fn count_leftover(&mut self) {
        self.leftovers += 1;
        let leftovers = self.leftovers;
        if leftovers == LEFTOVERS_PER_TURN {
            self.coverage.count(Point::LeftoversUsedUp);
        }
        // These are the lengths of both lists after the last turn. Connections that were added since had an event.
        if leftovers > self.unfinished.min(LEFTOVERS_PER_TURN) + self.waiting.min(LEFTOVERS_PER_TURN) {
            self.broken(Promise::Work, || format!("{leftovers} connections are served without an event in a turn"));
        }
    }

    /// Counts a connection that is closed at a deadline, which uses up one of the turn's share.
    pub(crate) fn count_deadline_close(&mut self) {
        self.deadline_closes += 1;
        let closes = self.deadline_closes;
        if closes == LEFTOVERS_PER_TURN {
            self.coverage.count(Point::DeadlinesUsedUp);
        }
        if closes > LEFTOVERS_PER_TURN {
            self.broken(Promise::Work, || format!("{closes} deadlines are handled in a turn"));
        }
    }

    /// Checks a connection's share of the turn in bytes. Each event entitles it to one. If it has used that up, it is
    /// not served again as a leftover.
    pub(crate) fn count_bytes(&mut self, index: usize, n: u64) {
        let (turn, large_size) = (self.tally.turns, self.large_size());
        let connection = &mut self.connections[index];
        let events = if connection.event_turn == turn { connection.events_in_turn } else { 0 };
        // A look for what came behind descriptors serves once more.
        let shares = events.max(1) + u32::from(connection.unix);
        let most = u64::from(shares) * (2 * BYTES_PER_SERVING + large_size);
        connection.bytes_in_turn += n;
        let bytes = connection.bytes_in_turn;
        if bytes > most {
            self.broken(Promise::Work, || format!("connection {index}: {bytes} bytes are received in a turn"));
        }
    }

    /// Checks a listener's share of the turn in accept calls.
    pub(crate) fn count_accept(&mut self, port: usize) {
        let port = &mut self.ports[port];
        port.accepts_in_turn += 1;
        let (accepts, removed) = (port.accepts_in_turn, port.closes_by.is_some());
        if accepts == ACCEPTS_PER_TURN {
            self.coverage.count(Point::AcceptShareUsed);
        }
        // The loop accepts for an event, and once more if the listener is to be closed.
        let ends = self.drain_deadline.is_some() || removed;
        let most = if ends { 2 * ACCEPTS_PER_TURN } else { ACCEPTS_PER_TURN };
        if accepts > most {
            self.broken(Promise::Work, || format!("accept is called {accepts} times in a turn"));
        }
    }
}
