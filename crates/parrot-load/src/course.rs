//! The course of one thread's run, whatever it sends: its stages, its timetable and its counts.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use crate::change::Change;
use crate::clock::Account;
use crate::latency::Latencies;
use crate::plan::{Arrivals, Length, Pace, Plan, nanoseconds};
use crate::schedule::Schedule;
use crate::shared::{Notice, Shared};
use crate::steps::Steps;
use crate::tally::{self, Live, Punctuality, Tally};

/// Longest time between two ticks, in nanoseconds.
pub(crate) const TICK: u64 = 100_000_000;
/// Shortest time between two ticks, in nanoseconds.
const SHORTEST_TICK: u64 = TICK / 100;

/// An open loop that sends a message later than this, in nanoseconds, delays it noticeably.
pub(crate) const LATE: u64 = 1_000_000;

/// The stage of a run that a thread is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(crate) enum Stage {
    Warmup,
    Window,
    Drain,
    Done,
}

/// The course of one thread's run. Its worker ticks at every [`boundary`](Course::boundary), and between two ticks it
/// looks at nothing but events and the timetable.
///
/// All times are in nanoseconds since the run began.
pub(crate) struct Course<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) shared: &'a Shared<'a>,
    live: Option<&'a Mutex<Live>>,
    pub(crate) schedule: Option<Schedule>,
    /// The steps of its rate, if it changes in steps.
    steps: Option<Steps>,
    /// Number of the timetable's next message.
    next: u64,
    /// When the messages that were taken last were due.
    due: Vec<u64>,
    /// When sending began, 0 before that.
    start: u64,
    warmup_ends: u64,
    pub(crate) stage: Stage,
    /// Time between two ticks.
    tick: u64,
    /// When the next one is due.
    pub(crate) boundary: u64,
    window_ends: u64,
    /// Messages that this thread is to measure, and how many of them it may still begin.
    quota: u64,
    pub(crate) budget: u64,
    /// Closed loop: when the last of the messages to measure was back or lost.
    full_at: Option<u64>,
    pub(crate) under_way: u64,
    /// The thread's account when the window opened.
    before: Account,
    /// Latencies for the next live figures.
    fresh: Latencies,
    punctuality: Punctuality,
    pub(crate) tally: Tally,
}

/// Messages of the timetable that are due on one connection.
#[derive(Default)]
pub(crate) struct Due {
    /// The number of the connection, among those of the thread.
    pub(crate) index: usize,
    pub(crate) count: u64,
    /// How many of them belong to the window.
    pub(crate) counted: u64,
    /// The time.
    pub(crate) now: u64,
}

impl<'a> Course<'a> {
    /// The course of thread number `thread`, which sends on `sending` connections.
    pub(crate) fn new(shared: &'a Shared<'a>, thread: usize, sending: usize) -> Course<'a> {
        let plan = shared.plan;
        let (number, threads) = (thread as u64, plan.threads as u64);
        let quota = match plan.length {
            Length::Messages(total) => total / threads + u64::from(number < total % threads),
            Length::Time(_) => u64::MAX,
        };
        let schedule = match (plan.pace, Change::of(plan.pace)) {
            (Pace::Rate(rate), _) => Some(Schedule::new(rate, thread, plan.threads, sending)),
            (_, change) => change.map(|change| Schedule::changing(change, plan.warmup, thread, plan.threads, sending)),
        };
        let schedule = match plan.arrivals {
            Arrivals::Even => schedule,
            // Hosts and threads must not send at the same times.
            Arrivals::Poisson => schedule.map(|schedule| schedule.random(RandomState::new().hash_one(thread))),
        };
        let steps = vec![tally::Step::default(); plan.steps().map_or(0, |steps| steps.count as usize)];
        Course {
            plan,
            shared,
            live: shared.live.get(thread),
            schedule,
            steps: plan.steps(),
            next: 0,
            due: Vec::new(),
            start: 0,
            warmup_ends: 0,
            stage: Stage::Warmup,
            tick: tick(plan.interval),
            boundary: 0,
            window_ends: u64::MAX,
            quota,
            budget: u64::MAX,
            full_at: None,
            under_way: 0,
            before: Account::default(),
            fresh: Latencies::default(),
            punctuality: Punctuality::default(),
            tally: Tally { steps, ..Tally::default() },
        }
    }

    /// Makes ticks come at least this often, in nanoseconds, but not more often than once a millisecond.
    pub(crate) fn tick_within(&mut self, most: u64) {
        self.tick = self.tick.min(most).max(SHORTEST_TICK);
    }

    pub(crate) fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Begins the warm-up at `start`.
    pub(crate) fn begin(&mut self, start: u64) {
        self.start = start;
        self.warmup_ends = start.saturating_add(nanoseconds(self.plan.warmup));
    }

    /// Whether sending has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.start > 0
    }

    /// How long to wait for events, in nanoseconds.
    pub(crate) fn patience(&self) -> u64 {
        let now = self.now();
        let tick = self.boundary.saturating_sub(now);
        match self.next_due().filter(|_| self.stage < Stage::Drain) {
            // Systems round a wait up to a millisecond, so the last millisecond before a message is due is spent polling.
            Some(due) => tick.min(due.saturating_sub(now + 1_000_000)),
            None => tick,
        }
    }

    /// Open loop: when the timetable's next message is due.
    fn next_due(&self) -> Option<u64> {
        self.schedule.as_ref().map(|schedule| self.start.saturating_add(schedule.due(self.next)))
    }

    /// Open loop: takes up to `most` messages that are due by `now` and within the window, and returns their numbers.
    pub(crate) fn take_due(&mut self, now: u64, most: u64) -> Range<u64> {
        let first = self.next;
        self.due.clear();
        while self.next - first < most
            && let Some(due) = self.next_due().filter(|due| *due <= now && *due < self.window_ends)
        {
            self.due.push(due);
            self.next += 1;
            if let Some(schedule) = &mut self.schedule {
                schedule.reach(self.next);
            }
        }
        first..self.next
    }

    /// Open loop: the messages among the last ones taken that are due on the same connection, from number `first` on.
    /// Records how late they are, because they are sent now.
    pub(crate) fn due_together(&mut self, first: u64, taken: &Range<u64>) -> Due {
        // Read for each connection, because the last of a burst leaves later than the first.
        let mut all = Due { now: self.now(), ..Due::default() };
        let Some(schedule) = &self.schedule else { return all };
        all.index = schedule.connection(first);
        for place in ((first - taken.start) as usize..self.due.len()).step_by(schedule.connections()) {
            let Some(due) = self.due.get(place).copied() else { break };
            let late = all.now.saturating_sub(due);
            all.count += 1;
            self.punctuality.due += 1;
            self.punctuality.late += u64::from(late > LATE);
            if self.counts(due) {
                all.counted += 1;
                self.tally.lateness.record(late);
                if let Some(step) = self.step(due) {
                    step.late += u64::from(late > LATE);
                }
            }
        }
        all
    }

    /// When the time of message `message` of connection `index` began, if it was begun at `begun_at`: in an open loop,
    /// when it was due.
    pub(crate) fn since(&self, index: usize, message: u64, begun_at: u64) -> u64 {
        self.schedule.as_ref().map_or(begun_at, |schedule| self.start.saturating_add(schedule.due_on(index, message)))
    }

    /// Whether a message that was due, or begun, at `time` belongs to the window.
    pub(crate) fn counts(&self, time: u64) -> bool {
        time >= self.warmup_ends && time < self.window_ends
    }

    /// How many of the next `count` answers belong to the window.
    pub(crate) fn countable(&self, count: u64) -> u64 {
        if self.stage == Stage::Window { count.min(self.quota.saturating_sub(self.tally.answered)) } else { 0 }
    }

    /// Records an answer at `now` to a message that was begun at `begun_at` and whose time began at `since`.
    pub(crate) fn record(&mut self, since: u64, begun_at: u64, now: u64) {
        let in_window = self.stage == Stage::Window && self.tally.answered < self.quota;
        let latency = now.saturating_sub(since);
        if let Some(closed) = self.tally.closed.filter(|_| since >= self.tally.opened) {
            self.tally.cut = self.tally.cut.max(closed.saturating_sub(since));
        }
        self.tally.answered += u64::from(in_window);
        if self.schedule.is_some() {
            self.record_in_open_loop(since, begun_at, now);
        } else if in_window {
            self.tally.latencies.record(latency);
        }
        if self.live.is_some() {
            self.fresh.record(latency);
        }
    }

    fn record_in_open_loop(&mut self, due: u64, begun_at: u64, now: u64) {
        if self.counts(due) {
            self.record_due(due, now.saturating_sub(due));
            self.tally.service.record(now.saturating_sub(begun_at));
        }
        if self.stage == Stage::Window
            && let Some(step) = self.step(now)
        {
            step.answered += 1;
        }
    }

    /// Open loop: records a message that was due at `due`, within the window, and took so long or has taken so long so far.
    fn record_due(&mut self, due: u64, latency: u64) {
        self.tally.latencies.record(latency);
        if let Some(step) = self.step(due) {
            step.latencies.record(latency);
        }
    }

    /// Open loop: records at `now` a message that never came back with the time that it has taken so far. Leaving it out
    /// would hide a stall.
    pub(crate) fn charge(&mut self, due: u64, now: u64) {
        if self.counts(due) {
            self.record_due(due, now.saturating_sub(due));
        }
    }

    /// The step that is held at `time`, if the rate changes in steps.
    fn step(&mut self, time: u64) -> Option<&mut tally::Step> {
        let seconds = Duration::from_nanos(time.saturating_sub(self.warmup_ends)).as_secs_f64();
        self.steps.and_then(|steps| self.tally.steps.get_mut(steps.at(seconds) as usize))
    }

    /// Records at `now` that a datagram was lost that was sent at `sent_at` and whose time began at `since`.
    pub(crate) fn lose(&mut self, since: u64, sent_at: u64, now: u64) {
        self.tally.datagrams.lost += u64::from(self.counts(since));
        self.tally.lost += u64::from(self.stage == Stage::Window);
        if self.stage >= Stage::Window {
            let closed = self.tally.closed.unwrap_or(now);
            self.tally.between += closed.saturating_sub(sent_at.max(self.tally.opened));
        }
    }

    /// Opens the window if the warm-up has ended. False if the run was stopped before that, so that nothing is measured.
    pub(crate) fn goes_on(&mut self, now: u64) -> bool {
        if self.stage == Stage::Warmup && self.shared.stopped() {
            self.stage = Stage::Done;
        } else if self.stage == Stage::Warmup && now >= self.warmup_ends {
            self.open_window(now);
        }
        self.stage != Stage::Done
    }

    fn open_window(&mut self, now: u64) {
        self.stage = Stage::Window;
        self.tally.opened = now;
        self.window_ends = match (self.plan.length, self.plan.pace) {
            (Length::Time(time), _) => self.warmup_ends.saturating_add(nanoseconds(time)),
            (Length::Messages(total), Pace::Rate(rate)) => {
                self.warmup_ends.saturating_add((total as f64 / rate * 1e9) as u64)
            }
            // A plan of a changing rate for a number of messages is refused.
            (Length::Messages(_), Pace::Closed | Pace::Ramp(_) | Pace::Steps(_)) => u64::MAX,
        };
        if self.schedule.is_none() {
            self.budget = self.quota.saturating_sub(self.under_way);
        }
        self.before = Account::of_thread();
    }

    /// Closed loop: counts how long `count` of the first messages have waited for this thread, which begins them at
    /// `now`. Without a warm-up the window is open already.
    pub(crate) fn begins_first(&mut self, count: u64, now: u64) {
        if self.stage == Stage::Window {
            self.tally.between += count * now.saturating_sub(self.tally.opened);
        }
    }

    /// Whether the window has to close now, because it is over, full or stopped. `hopeless` says that nothing is left to
    /// send on.
    pub(crate) fn has_to_close(&mut self, now: u64, hopeless: bool) -> bool {
        let complete = now >= self.window_ends || self.is_full(hopeless);
        if self.stage != Stage::Window || !(complete || self.shared.stopped()) {
            return false;
        }
        self.tally.stopped = !complete;
        true
    }

    /// Closes the window, with this many connections open. One that is full ended with its last message.
    pub(crate) fn close_window(&mut self, now: u64, open: usize) {
        let now = self.full_at.unwrap_or(now);
        self.stage = Stage::Drain;
        self.window_ends = self.window_ends.min(now);
        if self.schedule.is_none() {
            self.budget = 0;
        }
        self.tally.closed = Some(now);
        self.tally.used = Account::of_thread().since(self.before);
        self.tally.open = open;
        self.shared.notify(Notice::WindowClosed(now));
    }

    /// Whether the drain has taken longer than `patience`.
    pub(crate) fn has_drained_for(&self, now: u64, patience: Duration) -> bool {
        self.tally.closed.is_some_and(|closed| now > closed.saturating_add(nanoseconds(patience)))
    }

    /// Whether messages of the timetable are still to be begun.
    pub(crate) fn has_more(&self) -> bool {
        self.next_due().is_some_and(|due| due < self.window_ends)
    }

    /// Gives up the messages of the timetable that are still to be begun, and returns how many they are.
    pub(crate) fn give_up_rest(&mut self) -> u64 {
        let (next, time) = (self.next, self.window_ends - self.start);
        let rest = self.schedule.as_mut().map_or(0, |schedule| schedule.due_within(next, time));
        self.next += rest;
        rest
    }

    /// Closed loop: whether all messages to measure are back or lost, or nothing is left to send them on.
    fn is_full(&self, hopeless: bool) -> bool {
        self.schedule.is_none() && (self.tally.answered + self.tally.lost >= self.quota || hopeless)
    }

    /// Makes this turn tick if the window is full at `now`. Until the next tick it would have nothing under way.
    pub(crate) fn tick_if_full(&mut self, now: u64, hopeless: bool) {
        if self.is_full(hopeless) {
            self.boundary = 0;
            if self.stage == Stage::Window {
                self.full_at.get_or_insert(now);
            }
        }
    }

    /// Hands over live figures at the end of a tick, and decides when the next one is due.
    pub(crate) fn end_tick(&mut self, now: u64) {
        if let Some(mut live) = self.live.and_then(|live| live.lock().ok()) {
            live.latencies.add(&self.fresh);
            live.failures = self.tally.failures;
            live.lost = self.tally.datagrams.lost;
            live.punctuality = self.punctuality;
            // Reading it takes a file on Linux, so it is not read at every tick.
            if live.account.is_none_or(|(at, _)| now >= at.saturating_add(TICK)) {
                live.account = Some((now, Account::of_thread()));
            }
            self.fresh.clear();
        }
        let next = now + self.tick;
        self.boundary = match self.stage {
            Stage::Warmup => next.min(self.warmup_ends),
            Stage::Window => next.min(self.window_ends),
            // The drain only waits for the last answers, so it can end soon.
            Stage::Drain | Stage::Done => now + SHORTEST_TICK,
        };
    }
}

/// What thread number `thread` has of `all`, and how many the threads before it have. The first threads take one more of
/// what cannot be divided evenly.
pub(crate) fn share(all: usize, thread: usize, threads: usize) -> (usize, usize) {
    let (share, rest) = (all / threads, all % threads);
    (share + usize::from(thread < rest), share * thread + rest.min(thread))
}

/// Time between two ticks. Live figures are handed over at a tick and sampled at the end of an interval, so ten ticks
/// per interval make a figure wrong by a tenth at most.
fn tick(interval: Option<Duration>) -> u64 {
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

    #[test]
    fn threads_share_all_connections() {
        assert_eq!([0, 1, 2].map(|thread| share(8, thread, 3)), [(3, 0), (3, 3), (2, 6)]);
        assert_eq!([0, 1, 2].map(|thread| share(1, thread, 3)), [(1, 0), (0, 1), (0, 1)]);
    }
}
