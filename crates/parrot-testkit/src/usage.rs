//! What a process costs, as Linux shows it in /proc (proc_pid_status(5), and for schedstat sched-stats.rst in the
//! kernel's Documentation/scheduler). Other systems show nothing.

use std::time::Duration;

use rustix::process::Pid;

/// The cost of a process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub memory: u64,
    /// The highest resident memory so far, in bytes.
    pub peak: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Processor time of all threads that are alive.
    pub processor: Duration,
    /// How often the threads that are alive went to sleep: their voluntary context switches.
    pub sleeps: u64,
}

impl Usage {
    /// The cost of this process now, where the system shows it.
    #[cfg(target_os = "linux")]
    pub fn of(pid: Pid) -> Option<Usage> {
        let folder = format!("/proc/{pid}");
        let status = std::fs::read_to_string(format!("{folder}/status")).ok()?;
        let (mut processor, mut sleeps) = (Duration::ZERO, 0);
        for thread in std::fs::read_dir(format!("{folder}/task")).ok()? {
            let thread = thread.ok()?.path();
            let read = |name| std::fs::read_to_string(thread.join(name));
            // A thread may end between the two reads.
            let (Ok(times), Ok(status)) = (read("schedstat"), read("status")) else { continue };
            processor += Duration::from_nanos(times.split_whitespace().next()?.parse().ok()?);
            sleeps += number(&status, "voluntary_ctxt_switches")?;
        }
        Some(Usage {
            memory: number(&status, "VmRSS")? * 1024,
            peak: number(&status, "VmHWM")? * 1024,
            descriptors: std::fs::read_dir(format!("{folder}/fd")).ok()?.count(),
            processor,
            sleeps,
        })
    }

    /// The cost of this process now, where the system shows it.
    #[cfg(not(target_os = "linux"))]
    pub fn of(_: Pid) -> Option<Usage> {
        None
    }
}

/// The number in a line of a status file.
#[cfg(target_os = "linux")]
fn number(status: &str, name: &str) -> Option<u64> {
    let (_, rest) = status.lines().find_map(|line| line.split_once(':').filter(|(key, _)| *key == name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// What a process is doing, for the message of a failure.
pub fn state(pid: Pid) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let status = read("status");
    let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or("its state cannot be read");
    format!("{state}, {} (proc_pid_wchan(5))", read("wchan"))
}
