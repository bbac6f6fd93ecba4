//! What every call begins with, and how much work a turn may hold.

use std::io;

use nix::errno::Errno;

use crate::attempts::error;
use crate::check::Promise;
use crate::coverage::Point;
use crate::judge::LONGEST_MEMORY_PAUSE;
use crate::kernel::Kernel;

/// What the loop receives at most from one connection in one serving.
const BYTES_PER_SERVING: u64 = 128 * 1024;
/// The same in calls: 32 that move nothing or little use a serving up, and each may be followed by a send.
const CALLS_PER_SERVING: u32 = 72;
/// A connection is served on its event to read, on its event to write and as a leftover: that often in a turn, at most.
const SERVINGS_PER_TURN: u32 = 3;
/// The most connections that a turn takes up from each of the loop's lists.
pub(crate) const LEFTOVERS_PER_TURN: usize = 1024;
/// The most that the loop accepts from one listener on an event.
const ACCEPTS_PER_TURN: u32 = 64;
/// So many calls in a turn are a loop in the loop.
const ENDLESS_CALLS: u32 = 1_000_000;

impl Kernel {
    /// What every call begins with; an error ends a loop in the loop.
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        self.last_call_closed = false;
        self.calls_in_turn += 1;
        if self.calls_in_turn > ENDLESS_CALLS {
            self.broken(Promise::Work, || format!("more than {ENDLESS_CALLS} calls in a turn"));
            return error(Errno::EIO);
        }
        self.settle_refused(false);
        self.pass_time();
        Ok(())
    }

    /// What every call on a connection's socket begins with.
    pub(crate) fn enter_for(&mut self, index: usize) -> io::Result<()> {
        self.enter()?;
        let turn = self.tally.turns;
        let link = &mut self.links[index];
        link.calls += 1;
        link.unserved_turns = 0;
        if link.turn != turn {
            (link.turn, link.calls_in_turn, link.bytes_in_turn) = (turn, 0, 0);
            let link = &self.links[index];
            // It may have lacked a buffer until now.
            let lacked = self.last_refused.is_some_and(|since| self.turn_time_before < since + LONGEST_MEMORY_PAUSE);
            let due = link.memory_short.is_some() || (lacked && link.owed() == 0) || self.is_idle(link);
            if link.event_turn != turn && !due {
                self.count_leftover();
            }
        }
        let link = &mut self.links[index];
        link.calls_in_turn += 1;
        let calls = link.calls_in_turn;
        if calls > SERVINGS_PER_TURN * CALLS_PER_SERVING {
            self.broken(Promise::Work, || format!("connection {index}: {calls} calls in a turn"));
        }
        Ok(())
    }

    /// A connection is served without an event: it was left over, or it waited for a buffer.
    fn count_leftover(&mut self) {
        self.leftovers += 1;
        let leftovers = self.leftovers;
        if leftovers == LEFTOVERS_PER_TURN {
            self.coverage.count(Point::LeftoversUsedUp);
        }
        // From either list as they were after the last turn: what has come in since has had an event.
        if leftovers > self.unfinished.min(LEFTOVERS_PER_TURN) + self.in_line.min(LEFTOVERS_PER_TURN) {
            self.broken(Promise::Work, || format!("{leftovers} connections without an event served in a turn"));
        }
    }

    /// A connection is closed because it was idle: one deadline of this turn's share.
    pub(crate) fn count_idle_close(&mut self) {
        self.idle_closes += 1;
        let closes = self.idle_closes;
        if closes == LEFTOVERS_PER_TURN {
            self.coverage.count(Point::DeadlinesUsedUp);
        }
        if closes > LEFTOVERS_PER_TURN {
            self.broken(Promise::Work, || format!("{closes} deadlines handled in a turn"));
        }
    }

    /// Checks the share of the turn of what was received.
    pub(crate) fn count_bytes(&mut self, index: usize, n: u64) {
        let most = u64::from(SERVINGS_PER_TURN) * (BYTES_PER_SERVING + self.plan.config.max_output as u64);
        let link = &mut self.links[index];
        link.bytes_in_turn += n;
        let bytes = link.bytes_in_turn;
        if bytes > most {
            self.broken(Promise::Work, || format!("connection {index}: {bytes} bytes received in a turn"));
        }
    }

    /// Checks a listener's share of the turn, whatever its calls answer.
    pub(crate) fn count_accept(&mut self, port: usize) {
        let port = &mut self.ports[port];
        port.accepts_in_turn += 1;
        let accepts = port.accepts_in_turn;
        if accepts == ACCEPTS_PER_TURN {
            self.coverage.count(Point::AcceptShareUsed);
        }
        // On its event, and once more in a drain.
        let most = if self.drain_deadline.is_some() { 2 * ACCEPTS_PER_TURN } else { ACCEPTS_PER_TURN };
        if accepts > most {
            self.broken(Promise::Work, || format!("accept is called {accepts} times in a turn"));
        }
    }
}
