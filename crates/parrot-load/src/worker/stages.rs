//! The parts of a run, and what is looked at now and then beside events: time-outs, sends that no event will follow,
//! live figures.

use std::io;
use std::time::Duration;

use super::Worker;
use crate::clock::Account;
use crate::failure::Failure;
use crate::link::Phase;
use crate::plan::{Length, Pace, nanoseconds};

/// How often time-outs are looked for and live figures handed over, in nanoseconds, unless [`tick`] says more often.
pub(super) const TICK: u64 = 100_000_000;
/// How often that is at most.
const SHORTEST_TICK: u64 = TICK / 100;

/// The part of a run that the loop is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Stage {
    Warmup,
    Window,
    Drain,
    Over,
}

impl Worker<'_> {
    /// Moves to the next stage if it is time, looks for what has taken too long, and hands over live figures.
    pub(super) fn tick(&mut self, now: u64) -> io::Result<()> {
        let stopped = self.shared.stopped();
        if self.stage == Stage::Warmup && stopped {
            self.stage = Stage::Over; // there is nothing to report
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
        self.give_up_slow(now)?;
        self.try_again()?;
        if self.stage == Stage::Drain {
            self.end_drain(now, stopped)?;
        }
        self.hand_over();
        let next = now + self.tick;
        self.boundary = match self.stage {
            Stage::Warmup => next.min(self.warmup_ends),
            Stage::Window => next.min(self.window_ends),
            // Nothing but the last answers is awaited: look after every turn.
            Stage::Drain | Stage::Over => now + SHORTEST_TICK,
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
        self.shared.window_closed(now);
        Ok(())
    }

    /// Sends, and opens connections, where no event will ask for it.
    fn try_again(&mut self) -> io::Result<()> {
        for index in 0..self.sending {
            let Some(link) = self.links.get(index) else { break };
            if link.has_unsent() {
                self.flush(index)?; // after ENOBUFS no event may come
            } else if link.phase == Phase::Closed && self.schedule.is_some() {
                self.ask_owed(index, self.now())?;
            } else if link.phase == Phase::Closed && self.stage < Stage::Drain && link.asked > 0 {
                self.ask(index, 1)?;
            }
        }
        Ok(())
    }

    /// Ends the run once the last answers are back, or have been waited for long enough.
    fn end_drain(&mut self, now: u64, stopped: bool) -> io::Result<()> {
        let Some(closed) = self.tally.closed else { return Ok(()) };
        let to_come = self.schedule.is_some_and(|schedule| self.due(schedule, self.next) < self.window_ends);
        let owed = to_come || self.links.iter().any(|link| link.owed > 0);
        // Who stops a run does not want to wait for what is under way, and has not seen it fail.
        let patience = if stopped { Duration::ZERO } else { self.plan.timeout };
        let too_long = now > closed.saturating_add(nanoseconds(patience));
        if too_long && !stopped {
            for index in 0..self.sending {
                if self.links.get(index).is_some_and(|link| link.under_way() > 0 || link.owed > 0) {
                    self.fail(index, Failure::Timeout)?;
                }
            }
            let all = self.schedule.map_or(0, |schedule| schedule.due_within(self.window_ends - self.start));
            self.tally.unsent += all.saturating_sub(self.next);
        }
        if too_long || (self.under_way == 0 && !owed) {
            self.stage = Stage::Over;
        }
        Ok(())
    }

    /// Closed loop: whether the messages to measure have all come back or been lost, or nobody is left to send them.
    fn is_full(&self) -> bool {
        let done = self.tally.answered + self.tally.lost >= self.quota;
        self.schedule.is_none() && (done || (self.alive == 0 && self.plan.reconnect.is_none()))
    }

    /// Ends a full window with this turn: until the next tick it would have nothing under way.
    pub(super) fn look_if_full(&mut self) {
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

/// Live figures are sampled whenever an interval is over, and handed over when a tick is: ten ticks an interval leave a
/// figure wrong by a tenth at most.
pub(super) fn tick(interval: Option<Duration>) -> u64 {
    interval.map_or(TICK, |interval| (nanoseconds(interval) / 10).clamp(SHORTEST_TICK, TICK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_figures_are_handed_over_ten_times_an_interval_but_not_without_end() {
        let ticks = |milliseconds| tick(Some(Duration::from_millis(milliseconds))) / 1_000_000;
        assert_eq!([1, 100, 200, 1000, 10_000].map(ticks), [1, 10, 20, 100, 100]);
        assert_eq!(tick(None), TICK);
    }
}
