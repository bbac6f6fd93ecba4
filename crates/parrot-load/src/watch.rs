//! How the caller of a run follows it and stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::failure::Failures;
use crate::latency::{Latencies, Latency};
use crate::report::{Load, marks};

/// Stops a run early from another thread. The run still reports what it has measured until then.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the run to stop. It notices within a tenth of a second.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`stop`](Stop::stop) was called.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Follows a run, on the thread that called [`run`](crate::run()). `()` ignores everything.
pub trait Watch {
    /// Connecting has taken so long and goes on. Called once per [`Plan::interval`](crate::Plan::interval).
    fn connecting(&mut self, _elapsed: Duration) {}
    /// [`Plan::start_at`](crate::Plan::start_at) is so far away. Called several times a second.
    fn waiting(&mut self, _left: Duration) {}
    /// Connecting for this load took so long, and `open` connections are open.
    fn connected(&mut self, _load: &Load, _open: usize, _took: Duration) {}
    /// The warm-up has ended and the window begins.
    fn window_opens(&mut self) {}
    /// The window has closed, and what happens from now on is not measured. It closed `late` before this call.
    fn window_closes(&mut self, _late: Duration) {}
    /// What happened since the previous call, once per [`Plan::interval`](crate::Plan::interval).
    fn interval(&mut self, _sample: &Sample<'_>) {}
}

impl Watch for () {}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The load is sent, and not yet measured.
    Warmup,
    /// What is measured.
    Window,
    /// The last answers are waited for.
    Drain,
}

/// What happened in one interval of a run.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Time since the first message was sent.
    pub elapsed: Duration,
    /// Length of the interval.
    pub length: Duration,
    /// The part of the run that the middle of the interval lies in.
    pub part: Part,
    /// Messages a second that were asked for on average, in an open loop until the window's end.
    pub asked: Option<f64>,
    /// Answers a second.
    pub messages_per_second: f64,
    /// The answers' latencies.
    pub latency: Latency,
    /// The same, all of them.
    pub latencies: &'a Latencies,
    /// Failures since the run began.
    pub failures: Failures,
    /// Datagrams lost since the window opened.
    pub lost: u64,
    /// Open loop: messages that became due.
    pub due: u64,
    /// Open loop: those of them that the load generator sent more than a millisecond late.
    pub late: u64,
    /// What each thread of the load used.
    pub threads: &'a [Usage],
}

/// The shares of an interval that a thread of the load spent in two ways, from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// It used a core. `None` where the system does not report it, and until it is known.
    pub used: Option<f64>,
    /// It was ready to run while something else had its core, which only Linux reports.
    pub waited: Option<f64>,
}

impl Usage {
    /// Whether the thread had no time left, so that the load generator may be the limit. In an open loop it need not be,
    /// because that waits for the next message by looking at the clock.
    #[must_use]
    pub fn is_full(&self) -> bool {
        marks::busy(self.used, self.waited) >= marks::BUSY
    }
}
