//! Checks the loop before each wait, and when a wait blocks.

use std::time::Duration;

use crate::check::Promise;
use crate::coverage::Point;
use crate::events::LONELY_WAITS;
use crate::host::SimulatedHost;
use crate::memory::LONGEST_MEMORY_PAUSE;
use crate::time::SECOND;

/// The most turns in a row without work and without a wait. One turn finds that nothing is left to do.
const IDLE_TURNS: u32 = 1;
/// The longest pause in accepting, for lack of descriptors or for any other reason.
const LONGEST_ACCEPT_PAUSE: u64 = SECOND;

impl SimulatedHost {
    /// The latest end of a wait with this timeout, on the loop's clock.
    fn latest(&self, timeout: Option<Duration>) -> u64 {
        timeout.map_or(u64::MAX, |timeout| self.turn_time.saturating_add(timeout.as_nanos() as u64))
    }

    pub(crate) fn check_before_wait(&mut self, timeout: Option<Duration>) {
        let latest = self.latest(timeout);
        if self.drain_deadline.is_some_and(|due| latest > due) {
            self.broken(Promise::Drain, || "a wait goes past the drain timeout".to_owned());
        }
        if self.leave_deadline.is_some_and(|due| latest > due) {
            self.broken(Promise::Drain, || "a wait goes past the delay of the drain".to_owned());
        }
        // A pause in accepting holds for all of them.
        let pauses = self.ports.iter().any(|port| port.paused.is_some());
        let removed = self.ports.iter().any(|port| port.slot.is_some() && port.closes_by.is_some());
        if removed && !pauses && timeout != Some(Duration::ZERO) {
            self.broken(Promise::Awake, || "a listener is to be closed, and the loop waits".to_owned());
        }
        self.check_drops_before_wait(latest);
        let overslept = self.open.iter().copied().find(|&index| {
            let connection = &self.connections[index];
            let may_stall = self.has_faults(connection) && connection.hinted;
            connection.served()
                && !may_stall
                && self.idle_close_due(connection).is_some_and(|due| latest > due.max(self.turn_time))
        });
        if let Some(index) = overslept {
            self.broken(Promise::Idle, || format!("a wait goes past the idle timeout of connection {index}"));
        }
        let late = self.open.iter().copied().find(|&index| {
            let connection = &self.connections[index];
            connection.served() && self.header_wait_due(connection).is_some_and(|due| latest > due.max(self.turn_time))
        });
        if let Some(index) = late {
            self.broken(Promise::Header, || format!("a wait goes past the header timeout of connection {index}"));
        }
        let polls = self.plan.limits.busy_poll.zip(self.last_event).is_some_and(|(poll, since)| {
            let until = since + poll.as_nanos() as u64;
            self.turn_time < until
        });
        if polls {
            self.coverage.count(Point::BusyPoll);
            if timeout != Some(Duration::ZERO) {
                self.broken(Promise::Awake, || "the loop sleeps although it is to poll".to_owned());
            }
        }
        let idle = self.work == self.work_before && !self.waited && !polls;
        self.idle_turns = if idle { self.idle_turns + 1 } else { 0 };
        self.work_before = self.work;
        self.waited = false;
        if self.idle_turns > IDLE_TURNS {
            self.broken(Promise::Busy, || "several turns in a row do nothing and do not wait".to_owned());
        }
    }

    /// Checks a wait that blocks because nothing is ready.
    pub(crate) fn check_blocking(&mut self, timeout: Option<Duration>) {
        let latest = self.latest(timeout);
        for index in self.open.clone() {
            let connection = &self.connections[index];
            if !connection.served() {
                continue;
            }
            if self.has_faults(connection) && (timeout.is_some() || !self.only_delays(connection)) {
                continue;
            }
            let no_buffer = self.lacks_buffer(connection);
            // The last refusal may have been for this connection's retry.
            let greets = self.owes_greeting(connection);
            let tries = connection.memory_short.is_some() || (connection.hinted && (connection.readable() || greets));
            let refused = self.last_refused.filter(|_| connection.owed() == 0 && tries);
            let lately = refused.filter(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE);
            // The reason to look for input may have been an idle timeout that no longer holds.
            let may_rest = !self.is_idle(connection)
                && !connection.hinted
                && connection.owed() == 0
                && connection.watch_read.is_some();
            let short_since = connection.memory_short.max(lately).filter(|_| !may_rest);
            let what = if !no_buffer && short_since.is_some_and(|since| latest > since + LONGEST_MEMORY_PAUSE) {
                "is not retried after memory was short"
            } else if connection.hinted && !self.may_leave_input(connection) {
                "has input that is not received"
            } else if greets && !self.may_leave_input(connection) {
                "is owed its greeting"
            } else if connection.owed() > 0 && connection.watch_write.is_none() && connection.memory_short.is_none() {
                "is owed bytes and not watched for room"
            } else if self.drain_deadline.is_some()
                && connection.owed() == 0
                && connection.seen_empty
                && !connection.shut
            {
                "is quiet in a drain and not shut down"
            } else if connection.watch_read.is_none() && connection.memory_short.is_none() {
                "is not watched"
            } else {
                continue;
            };
            self.broken(Promise::Awake, || format!("connection {index} {what}, and the loop waits"));
        }
        self.check_reason_to_wake(timeout);
        if timeout.is_none() {
            self.check_nothing_is_owed();
        }
        self.check_datagrams_watched(latest);
        if self.drain_deadline.is_some() && self.ports.iter().any(|port| !port.closed && !port.backlog.is_empty()) {
            self.coverage.count(Point::DrainKeepsBacklog);
        }
        let forgotten = self.ports.iter().position(|port| {
            port.slot.is_some()
                && port.watch.is_none()
                && port.paused.is_none_or(|since| latest > since + LONGEST_ACCEPT_PAUSE)
        });
        if let Some(index) = forgotten {
            self.broken(Promise::Awake, || format!("listener {index} is not watched, and the loop waits"));
        }
    }

    /// Checks that a wait has a timeout only if something may be due. An idle server makes no wake-ups.
    fn check_reason_to_wake(&mut self, timeout: Option<Duration>) {
        let due = (self.plan.limits.idle_timeout.is_some() && self.served() > 0)
            || self.drain_deadline.is_some()
            || self.leave_deadline.is_some()
            || self.last_shortage.is_some_and(|since| self.turn_time < since + LONGEST_MEMORY_PAUSE)
            || self.ports.iter().any(|port| port.paused.is_some())
            || self.datagrams_are_due()
            || (self.misbehaves() && (self.served() > 0 || !self.udp.owed.is_empty()))
            || self.open.iter().any(|index| self.connections[*index].awaits_header());
        if timeout.is_some() && !due {
            self.broken(Promise::Busy, || format!("a wait of {timeout:?} with nothing due"));
        }
    }

    /// Stops the server when nothing is left to happen.
    pub(crate) fn stop_at_the_end(&mut self) {
        if self.drain_deadline.is_none() {
            self.stop();
        } else if self.drain_deadline == Some(u64::MAX) {
            // Only a signal ends a drain that has no timeout and a peer that stays.
            self.post(self.plan.ending.second_signal);
        } else if self.lonely_waits < LONELY_WAITS {
            self.broken(Promise::Awake, || "the loop waits for ever in a drain".to_owned());
            self.pending_wake = true;
        }
    }
}
