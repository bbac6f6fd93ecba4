//! How the caller of a run follows it and stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::latency::Latency;
use crate::report::Load;

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
    /// Connecting for this load took so long, and `open` connections are open.
    fn connected(&mut self, _load: &Load, _open: usize, _took: Duration) {}
    /// The warm-up has ended and the window begins.
    fn window_opens(&mut self) {}
    /// The window has closed, and what happens from now on is not measured. It closed `late` before this call.
    fn window_closes(&mut self, _late: Duration) {}
    /// What happened since the previous call, once per [`Plan::interval`](crate::Plan::interval).
    fn interval(&mut self, _sample: &Sample) {}
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
pub struct Sample {
    /// Time since the first message was sent.
    pub elapsed: Duration,
    /// The part of the run that the middle of the interval lies in.
    pub part: Part,
    /// Messages a second that were asked for on average, in an open loop until the window's end.
    pub asked: Option<f64>,
    /// Answers a second.
    pub messages_per_second: f64,
    /// The answers' latencies.
    pub latency: Latency,
    /// Failures since the run began.
    pub failures: u64,
    /// Datagrams lost since the window opened.
    pub lost: u64,
}
