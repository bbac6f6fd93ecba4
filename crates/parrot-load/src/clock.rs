//! Time since a run began, CPU time that the calling thread used, and time that it waited for a core.

use std::time::Duration;

/// The time since a run began.
///
/// It is read twice for each message. The difference of two numbers takes a tenth of the instructions that the difference
/// of two `Instant`s does.
#[cfg(not(target_vendor = "apple"))]
#[derive(Debug)]
pub(crate) struct Clock {
    started: u64,
}

#[cfg(not(target_vendor = "apple"))]
impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Clock {
        Clock { started: monotonic() }
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        monotonic() - self.started
    }
}

/// Nanoseconds of a clock that never goes back.
#[cfg(not(target_vendor = "apple"))]
fn monotonic() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The time since a run began, by an `Instant`, because `CLOCK_MONOTONIC` counts microseconds on macOS (clock_gettime(3)).
#[cfg(target_vendor = "apple")]
#[derive(Debug)]
pub(crate) struct Clock {
    started: std::time::Instant,
}

#[cfg(target_vendor = "apple")]
impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Clock {
        Clock { started: std::time::Instant::now() }
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }
}

/// A thread's times since it started, or the difference of two such accounts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    /// CPU time; `None` on NetBSD, where rustix does not offer the thread's clock.
    pub(crate) cpu: Option<Duration>,
    /// Time that it was ready to run while something else had its core, which only Linux reports.
    pub(crate) waited: Option<Duration>,
}

impl Account {
    /// The calling thread's account so far.
    pub(crate) fn of_thread() -> Account {
        Account { cpu: cpu(), waited: waited() }
    }

    /// The difference to `earlier`.
    pub(crate) fn since(self, earlier: Account) -> Account {
        let added =
            |now: Option<Duration>, then: Option<Duration>| now.zip(then).map(|(now, then)| now.saturating_sub(then));
        Account { cpu: added(self.cpu, earlier.cpu), waited: added(self.waited, earlier.waited) }
    }
}

#[cfg(not(target_os = "netbsd"))]
fn cpu() -> Option<Duration> {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)).ok()
}

#[cfg(target_os = "netbsd")]
fn cpu() -> Option<Duration> {
    None
}

/// The second field of `schedstat`, nanoseconds spent on a run queue (Documentation/scheduler/sched-stats.rst).
#[cfg(target_os = "linux")]
fn waited() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

#[cfg(not(target_os = "linux"))]
fn waited() -> Option<Duration> {
    None
}
