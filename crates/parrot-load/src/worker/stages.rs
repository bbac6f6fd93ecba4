//! The stages of a run, and what happens between events: timeouts, retries that no event triggers, live figures.

use std::io;
use std::time::Duration;

use super::Worker;
use crate::clock::Account;
use crate::connection::Phase;
use crate::failure::Failure;
use crate::plan::{Length, Pace, nanoseconds};
use crate::shared::Notice;

/// Longest time between two ticks, in nanoseconds.
pub(super) const TICK: u64 = 100_000_000;
/// Shortest time between two ticks, in nanoseconds.
const SHORTEST_TICK: u64 = TICK / 100;

/// The stage of a run that the loop is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Stage {
    Warmup,
    Window,
    Drain,
    Done,
}

impl Worker<'_> {
    /// Moves to the next stage if it is time, fails what has timed out, and hands over live figures.
    pub(super) fn tick(&mut self, now: u64) -> io::Result<()> {
        let stopped = self.shared.stopped();
        if self.stage == Stage::Warmup && stopped {
            self.stage = Stage::Done; // nothing was measured
            return Ok(());
        }
        if self.stage == Stage::Warmup && now >= self.warmup_ends {
            self.open_window(now);
        }
        let complete = now >= self.window_ends || self.is_full();
        if self.stage == Stage::Window && (complete || stopped) {
            self.tally.stopped = !complete;
            self.close_window(now)?;
        }
        self.fail_slow(now)?;
        self.retry()?;
        if self.stage == Stage::Drain {
            self.end_drain(now, stopped)?;
        }
        self.hand_over();
        let next = now + self.tick;
        self.boundary = match self.stage {
            Stage::Warmup => next.min(self.warmup_ends),
            Stage::Window => next.min(self.window_ends),
            // The drain only waits for the last answers, so it can end soon.
            Stage::Drain | Stage::Done => now + SHORTEST_TICK,
        };
        Ok(())
    }

    fn open_window(&mut self, now: u64) {
        self.stage = Stage::Window;
        self.tally.opened = now;
        self.window_ends = match (self.plan.length, self.plan.pace) {
            (Length::Time(time), _) => self.warmup_ends.saturating_add(nanoseconds(time)),
            (Length::Messages(total), Pace::Rate(rate)) => {
                self.warmup_ends.saturating_add((total as f64 / rate * 1e9) as u64)
            }
            (Length::Messages(_), Pace::Closed) => u64::MAX,
        };
        if self.schedule.is_none() {
            self.budget = self.quota.saturating_sub(self.under_way);
        }
        self.before = Account::of_thread();
    }

    fn close_window(&mut self, now: u64) -> io::Result<()> {
        self.send_due(now)?;
        self.stage = Stage::Drain;
        self.window_ends = self.window_ends.min(now);
        self.tally.closed = Some(now);
        self.tally.used = Account::of_thread().since(self.before);
        self.tally.open = self.open();
        self.shared.notify(Notice::WindowClosed(now));
        Ok(())
    }

    /// Sends, and opens connections, where no event will trigger it.
    fn retry(&mut self) -> io::Result<()> {
        for index in 0..self.sending {
            let Some(connection) = self.connections.get(index) else { break };
            if connection.has_unsent() {
                self.flush(index)?; // after ENOBUFS no event may come
            } else if connection.phase == Phase::Closed && self.schedule.is_some() {
                self.begin_owed(index, self.now())?;
            } else if connection.phase == Phase::Closed && self.stage < Stage::Drain && connection.begun > 0 {
                self.begin(index, 1, self.now())?;
            }
        }
        Ok(())
    }

    /// Ends the run once the last answers are back or the timeout has passed.
    fn end_drain(&mut self, now: u64, stopped: bool) -> io::Result<()> {
        let Some(closed) = self.tally.closed else { return Ok(()) };
        let to_come = self.schedule.is_some_and(|schedule| self.due(schedule, self.next) < self.window_ends);
        let owed = to_come || self.connections.iter().any(|one| one.owed > 0);
        // A stopped run does not wait for messages under way, and does not count them as failed.
        let patience = if stopped { Duration::ZERO } else { self.plan.timeout };
        let too_long = now > closed.saturating_add(nanoseconds(patience));
        if too_long && !stopped {
            for index in 0..self.sending {
                if self.connections.get(index).is_some_and(|one| one.under_way() > 0 || one.owed > 0) {
                    self.fail(index, Failure::Timeout)?;
                }
            }
            let all = self.schedule.map_or(0, |schedule| schedule.due_within(self.window_ends - self.start));
            self.tally.unsent += all.saturating_sub(self.next);
        }
        if too_long || (self.under_way == 0 && !owed) {
            self.stage = Stage::Done;
        }
        Ok(())
    }

    /// Closed loop: whether all messages to measure are back or have failed, or no connection is left to send them.
    fn is_full(&self) -> bool {
        let done = self.tally.answered + self.tally.lost >= self.quota;
        self.schedule.is_none() && (done || (self.alive == 0 && self.plan.reconnect.is_none()))
    }

    /// Makes this turn tick if the window is full. Until the next tick it would have nothing under way.
    pub(super) fn tick_if_full(&mut self) {
        if self.is_full() {
            self.boundary = 0;
        }
    }

    fn hand_over(&mut self) {
        let Some(mut live) = self.live.and_then(|live| live.lock().ok()) else { return };
        live.latencies.add(&self.fresh);
        live.failures = self.tally.failures.total();
        self.fresh.clear();
    }
}

/// Time between two ticks. Live figures are handed over at a tick and sampled at the end of an interval, so ten ticks
/// per interval make a figure wrong by a tenth at most.
pub(super) fn tick(interval: Option<Duration>) -> u64 {
    interval.map_or(TICK, |interval| (nanoseconds(interval) / 10).clamp(SHORTEST_TICK, TICK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_ten_ticks_within_bounds() {
        let ticks = |milliseconds| tick(Some(Duration::from_millis(milliseconds))) / 1_000_000;
        assert_eq!([1, 100, 200, 1000, 10_000].map(ticks), [1, 10, 20, 100, 100]);
        assert_eq!(tick(None), TICK);
    }
}
