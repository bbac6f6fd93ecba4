//! The open loop's timetable: when each message is due, whatever the server does.

mod gaps;

use std::time::Duration;

use self::gaps::Gaps;
use crate::change::Change;

/// A timetable that goes round one thread's connections.
///
/// Message `m` of connection `c` is due at `(m * connections + c) / rate`, if the rate stays the same. The number of a
/// message gives its time, so no times have to be stored.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    connections: u64,
    times: Times,
    /// With random times between messages, their places. Otherwise a message's place is its number.
    gaps: Option<Gaps>,
}

#[derive(Debug, Clone, Copy)]
enum Times {
    Even {
        /// Nanoseconds between one message and the next.
        interval: f64,
        /// Nanoseconds by which this thread's timetable trails the first thread's, so that threads interleave.
        offset: f64,
    },
    /// The timetable of all threads, of which this one has every message whose number leaves `thread` when divided by
    /// `threads`.
    Changing { change: Change, warmup: Duration, thread: f64, threads: f64 },
}

impl Schedule {
    /// The timetable of thread number `thread` of `threads`, which together send `rate` messages a second.
    pub(crate) fn new(rate: f64, thread: usize, threads: usize, connections: usize) -> Schedule {
        let second = Duration::from_secs(1).as_nanos() as f64;
        Schedule {
            gaps: None,
            connections: connections as u64,
            times: Times::Even { interval: second * threads as f64 / rate, offset: second * thread as f64 / rate },
        }
    }

    /// The same for a rate that changes after a warm-up.
    pub(crate) fn changing(
        change: Change,
        warmup: Duration,
        thread: usize,
        threads: usize,
        connections: usize,
    ) -> Schedule {
        let (thread, threads) = (thread as f64, threads as f64);
        Schedule {
            gaps: None,
            connections: connections as u64,
            times: Times::Changing { change, warmup, thread, threads },
        }
    }

    /// The same with random times between messages, which `seed` chooses.
    pub(crate) fn random(self, seed: u64) -> Schedule {
        Schedule { gaps: Some(Gaps::new(seed)), ..self }
    }

    /// Makes the time of message number `number` known. The messages before it have to be known.
    pub(crate) fn reach(&mut self, number: u64) {
        if let Some(gaps) = &mut self.gaps {
            gaps.reach(number);
        }
    }

    /// When the timetable's message number `number` is due, in nanoseconds from the start.
    pub(crate) fn due(&self, number: u64) -> u64 {
        let place = self.gaps.as_ref().map_or(number as f64, |gaps| gaps.place(number));
        match self.times {
            Times::Even { interval, offset } => (offset + interval * place) as u64,
            Times::Changing { change, warmup, thread, threads } => {
                change.due(place * threads + thread, warmup).round() as u64
            }
        }
    }

    /// How many of the timetable's messages from number `next` on are due within `time` nanoseconds of the start.
    pub(crate) fn due_within(&mut self, next: u64, time: u64) -> u64 {
        if self.gaps.is_some() {
            let reached = (next..).take_while(|number| {
                self.reach(*number);
                self.due(*number) < time
            });
            return reached.count() as u64;
        }
        let messages = match self.times {
            Times::Even { interval, offset } => (time as f64 - offset) / interval,
            Times::Changing { change, warmup, thread, threads } => {
                (change.due_within(time as f64, warmup) - thread) / threads
            }
        };
        (messages.ceil().max(0.0) as u64).saturating_sub(next)
    }

    /// When message `message` of connection `connection` is due.
    pub(crate) fn due_on(&self, connection: usize, message: u64) -> u64 {
        self.due(message * self.connections + connection as u64)
    }

    /// How many connections it goes round.
    pub(crate) fn connections(&self) -> usize {
        self.connections as usize
    }

    /// The connection that the timetable's message number `number` belongs to.
    pub(crate) fn connection(&self, number: u64) -> usize {
        (number % self.connections) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ramp::Ramp;

    #[test]
    fn both_ways_to_number_a_message_give_the_same_time() {
        let mut schedule = Schedule::new(1000.0, 0, 1, 7);
        for number in 0..100 {
            let (connection, message) = (schedule.connection(number), number / 7);
            assert_eq!(schedule.due_on(connection, message), schedule.due(number));
        }
        assert_eq!((schedule.due(0), schedule.due(1), schedule.due(1000)), (0, 1_000_000, 1_000_000_000));
        assert_eq!([0, 1, 1_000_000, 1_000_001].map(|time| schedule.due_within(0, time)), [0, 1, 1, 2]);
    }

    #[test]
    fn random_times_keep_the_rate_on_average() {
        let ramp = Change::Ramp(Ramp { from: 1000.0, to: 3000.0, over: Duration::from_secs(10) });
        for schedule in [Schedule::new(2000.0, 0, 1, 7), Schedule::changing(ramp, Duration::ZERO, 0, 1, 7)] {
            let mut schedule = schedule.random(5);
            let all = schedule.due_within(0, 10_000_000_000);
            assert!((19_500..20_500).contains(&all), "{all}");
            assert_eq!(schedule.due_within(400, 10_000_000_000), all - 400);
            assert!((0..all).map(|number| schedule.due(number)).is_sorted(), "{schedule:?}");
        }
    }

    #[test]
    fn threads_keep_a_changing_rate_together() {
        let ramp = Change::Ramp(Ramp { from: 100.0, to: 900.0, over: Duration::from_secs(2) });
        let mut one = Schedule::changing(ramp, Duration::from_secs(1), 0, 1, 5);
        let dues = |thread| {
            (0..500).map(move |number| Schedule::changing(ramp, Duration::from_secs(1), thread, 2, 3).due(number))
        };
        let mut all: Vec<u64> = dues(0).chain(dues(1)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..1000).map(|number| one.due(number)).collect::<Vec<u64>>());
        assert_eq!(one.due_within(0, 3_000_000_000), 1100, "a second at 100, and two at 500 on average");
    }

    #[test]
    fn threads_keep_the_rate_together() {
        let dues = |thread| (0..5).map(move |number| Schedule::new(100.0, thread, 2, 3).due(number));
        let mut all: Vec<u64> = dues(0).chain(dues(1)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).map(|number| number * 10_000_000).collect::<Vec<u64>>());
    }
}
