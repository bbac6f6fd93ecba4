//! The counts of one thread.

use std::time::Duration;

use crate::clock::Account;
use crate::failure::Failures;
use crate::latency::Latencies;

/// One thread's counts. The warm-up's latencies are left out, but its failures count.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers that arrived within the window.
    pub(crate) answered: u64,
    /// Their bytes, if messages have different sizes.
    pub(crate) bytes: u64,
    /// Messages of the window that never came back, or failed with their connection.
    pub(crate) lost: u64,
    /// Messages that were never sent, because their connection had failed or the timetable was too fast.
    pub(crate) unsent: u64,
    /// From when a message was sent (closed loop) or due (open loop) until its last byte was back.
    pub(crate) latencies: Latencies,
    /// Open loop only: the same, from when it was really sent.
    pub(crate) service: Latencies,
    /// Open loop only: how late the load generator was to send a message that was due.
    pub(crate) lateness: Latencies,
    /// The same for each step of the rate, if it changes in steps.
    pub(crate) steps: Vec<Step>,
    /// Failures by kind, of the whole run.
    pub(crate) failures: Failures,
    /// How long each connection took to open.
    pub(crate) connecting: Latencies,
    /// What became of the datagrams of the window.
    pub(crate) datagrams: Datagrams,
    /// Greetings that were skipped.
    pub(crate) greetings: u64,
    /// The window, in nanoseconds since the run began. `closed` is `None` if the run was stopped before it opened.
    pub(crate) opened: u64,
    pub(crate) closed: Option<u64>,
    /// Whether the window closed because the run was stopped.
    pub(crate) stopped: bool,
    /// The longest time, in nanoseconds, that a message had been under way when the window closed, of those that were
    /// begun in the window and answered after it.
    pub(crate) cut: u64,
    /// Nanoseconds of the window that were spent before the first messages, closing connections after their last
    /// message, or waiting for datagrams that were lost. Messages that wait at the same time are added up.
    pub(crate) between: u64,
    /// The thread's account of the window.
    pub(crate) used: Account,
    /// Connections still open when the window closed, of those that were to stay open.
    pub(crate) open: usize,
}

impl Datagrams {
    /// Adds another thread's counts to these.
    pub(crate) fn add(&mut self, other: &Datagrams) {
        self.sent += other.sent;
        self.lost += other.lost;
        self.late += other.late;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        if let Some(overflowed) = other.overflowed {
            *self.overflowed.get_or_insert_default() += overflowed;
        }
    }
}

impl Tally {
    /// Length of the window in seconds, 0 if it never closed.
    pub(crate) fn window(&self) -> f64 {
        let closed = self.closed.unwrap_or(self.opened);
        Duration::from_nanos(closed.saturating_sub(self.opened)).as_secs_f64()
    }
}

/// What was measured at one step of the rate.
#[derive(Debug, Default, Clone)]
pub(crate) struct Step {
    /// Answers that arrived while it was held.
    pub(crate) answered: u64,
    /// Messages that were due in it and sent more than a millisecond late.
    pub(crate) late: u64,
    /// From when messages were due in it until they were back.
    pub(crate) latencies: Latencies,
}

impl Step {
    /// Adds another thread's counts to these.
    pub(crate) fn add(&mut self, other: &Step) {
        self.answered += other.answered;
        self.late += other.late;
        self.latencies.add(&other.latencies);
    }
}

/// What became of datagrams.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    /// Those that were sent in the window (closed loop) or due in it (open loop), and those of them that were lost.
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// Answers since the window opened that came after their timeout, again, or after that to a later datagram.
    pub(crate) late: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// Answers for which this machine's sockets had no room, in the whole run. `None` if the system does not count them.
    pub(crate) overflowed: Option<u64>,
}

/// A thread's figures for the current interval. The reader clears the latencies.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) latencies: Latencies,
    /// Failures so far.
    pub(crate) failures: Failures,
    /// Datagrams lost so far.
    pub(crate) lost: u64,
    pub(crate) punctuality: Punctuality,
    /// The thread's account, and when it was read, in nanoseconds since the run began.
    pub(crate) account: Option<(u64, Account)>,
}

/// Open loop: messages that have become due so far, and those of them that were sent late.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Punctuality {
    pub(crate) due: u64,
    pub(crate) late: u64,
}
