//! What one thread counted.

use std::time::Duration;

use crate::clock::Account;
use crate::failure::Failures;
use crate::latency::Latencies;

/// One thread's counts. Latencies and failures of the warm-up are not among the latencies, but failures always count.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers that came within the window.
    pub(crate) answered: u64,
    /// Messages of the window that were lost with their connection or never came back.
    pub(crate) lost: u64,
    /// Messages that were due on a connection that had failed, and so were never sent.
    pub(crate) unsent: u64,
    /// From when a message was sent (closed loop) or was to be sent (open loop) to its last byte's return.
    pub(crate) latencies: Latencies,
    /// Open loop only: from when it really was sent.
    pub(crate) service: Latencies,
    /// Open loop only: by how much this program itself came late to a message that was due.
    pub(crate) lateness: Latencies,
    /// Failures by kind, of the whole run.
    pub(crate) failures: Failures,
    /// How long each connection took to open.
    pub(crate) connecting: Latencies,
    /// The window, in nanoseconds since the run began; never closed if the run was stopped before it opened.
    pub(crate) opened: u64,
    pub(crate) closed: Option<u64>,
    /// Whether it closed because the run was stopped.
    pub(crate) stopped: bool,
    /// How long, in nanoseconds, a message had been under way when the window closed, at most, of those that
    /// were begun in the window and answered after it.
    pub(crate) cut: u64,
    /// Nanoseconds of the window that connections for one message spent ending, and had none under way.
    pub(crate) between: u64,
    /// What the thread used in the window, and was kept from using.
    pub(crate) used: Account,
    /// Connections open when the window closed, of those that were to stay open.
    pub(crate) open: usize,
}

impl Tally {
    /// Length of the window in seconds; 0 if it never closed.
    pub(crate) fn window(&self) -> f64 {
        let closed = self.closed.unwrap_or(self.opened);
        Duration::from_nanos(closed.saturating_sub(self.opened)).as_secs_f64()
    }
}

/// What a thread tells while it runs, emptied by whoever reads it.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) latencies: Latencies,
    pub(crate) failures: u64,
}
