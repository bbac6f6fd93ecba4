//! The open loop's timetable: when each message is due, whatever the server does.

use std::time::Duration;

/// A timetable that goes round one thread's connections.
///
/// Message `m` of connection `c` is due at `(m * connections + c) / rate`. The number of a message gives its time, so
/// no times have to be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    connections: u64,
    /// Nanoseconds between one message and the next.
    interval: f64,
    /// Nanoseconds by which this thread's timetable trails the first thread's, so that threads interleave.
    offset: f64,
}

impl Schedule {
    /// The timetable of thread number `thread` of `threads`, which together send `rate` messages a second.
    pub(crate) fn new(rate: f64, thread: usize, threads: usize, connections: usize) -> Schedule {
        let second = Duration::from_secs(1).as_nanos() as f64;
        Schedule {
            connections: connections as u64,
            interval: second * threads as f64 / rate,
            offset: second * thread as f64 / rate,
        }
    }

    /// When the timetable's message number `number` is due, in nanoseconds from the start.
    pub(crate) fn due(&self, number: u64) -> u64 {
        (self.offset + self.interval * number as f64) as u64
    }

    /// How many of the timetable's messages are due within `time` nanoseconds of the start.
    pub(crate) fn due_within(&self, time: u64) -> u64 {
        ((time as f64 - self.offset) / self.interval).ceil().max(0.0) as u64
    }

    /// When message `message` of connection `connection` is due.
    pub(crate) fn due_on(&self, connection: usize, message: u64) -> u64 {
        self.due(message * self.connections + connection as u64)
    }

    /// The connection that the timetable's message number `number` belongs to.
    pub(crate) fn connection(&self, number: u64) -> usize {
        (number % self.connections) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_number_a_message_give_the_same_time() {
        let schedule = Schedule::new(1000.0, 0, 1, 7);
        for number in 0..100 {
            let (connection, message) = (schedule.connection(number), number / 7);
            assert_eq!(schedule.due_on(connection, message), schedule.due(number));
        }
        assert_eq!((schedule.due(0), schedule.due(1), schedule.due(1000)), (0, 1_000_000, 1_000_000_000));
        assert_eq!([0, 1, 1_000_000, 1_000_001].map(|time| schedule.due_within(time)), [0, 1, 1, 2]);
    }

    #[test]
    fn threads_keep_the_rate_together() {
        let dues = |thread| (0..5).map(move |number| Schedule::new(100.0, thread, 2, 3).due(number));
        let mut all: Vec<u64> = dues(0).chain(dues(1)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).map(|number| number * 10_000_000).collect::<Vec<u64>>());
    }
}
