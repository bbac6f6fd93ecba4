//! The CPU time of the calling thread.

use std::time::Duration;

/// CPU time the calling thread has used; `None` on NetBSD, for which rustix does not offer the thread's clock.
#[cfg(not(target_os = "netbsd"))]
pub(crate) fn thread_cpu() -> Option<Duration> {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)).ok()
}

#[cfg(target_os = "netbsd")]
pub(crate) fn thread_cpu() -> Option<Duration> {
    None
}
