//! What a process costs, as Linux tells it in /proc: proc_pid_status(5), proc_pid_schedstat in the kernel's
//! Documentation/scheduler/sched-stats.rst. Other systems tell nothing, and there each scenario says so.

use std::time::Duration;

/// A process at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Resident memory in bytes.
    pub(crate) memory: u64,
    /// The most of it there ever was.
    pub(crate) peak: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
    /// Time on a processor, of all threads that are alive.
    pub(crate) processor: Duration,
}

#[cfg(target_os = "linux")]
pub(crate) fn usage(pid: i32) -> Option<Usage> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |name: &str| -> Option<u64> {
        let (_, rest) = status.lines().find_map(|line| line.split_once(':').filter(|(key, _)| *key == name))?;
        rest.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
    };
    let mut processor = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end meanwhile.
        let Ok(times) = std::fs::read_to_string(thread.ok()?.path().join("schedstat")) else { continue };
        processor += Duration::from_nanos(times.split_whitespace().next()?.parse().ok()?);
    }
    Some(Usage {
        memory: bytes("VmRSS")?,
        peak: bytes("VmHWM")?,
        descriptors: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count(),
        processor,
    })
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn usage(_: i32) -> Option<Usage> {
    None
}

/// What a process is doing, for who looks into a failure.
pub(crate) fn state(pid: i32) -> String {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let status = read("status");
    let state = status.lines().find(|line| line.starts_with("State:")).unwrap_or("its state cannot be read");
    format!("{state}, {} (proc_pid_wchan(5))", read("wchan"))
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// A duration as people read it.
pub(crate) fn time(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}
