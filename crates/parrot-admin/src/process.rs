//! What the system counts of the process, under the names that Prometheus has for it.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// Numbers of this process. What the system does not show is `None`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub(crate) struct Process {
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) open_fds: Option<u64>,
    pub(crate) max_fds: Option<u64>,
    pub(crate) threads: Option<u64>,
    pub(crate) virtual_memory_bytes: Option<u64>,
    pub(crate) resident_memory_bytes: Option<u64>,
}

impl Process {
    /// The numbers as they are now. Only Linux shows all of them in files. For threads and memory, the other systems
    /// have calls that take unsafe code.
    pub(crate) fn now() -> Process {
        let stat = fs::read_to_string("/proc/self/stat").ok();
        let stat = stat.as_deref().filter(|_| cfg!(target_os = "linux")).and_then(read_stat).unwrap_or_default();
        Process {
            cpu_seconds: cpu_time().map(|time| time.as_secs_f64()),
            open_fds: open_descriptors(),
            max_fds: getrlimit(Resource::Nofile).current,
            ..stat
        }
    }
}

/// The time that all threads have had a processor.
fn cpu_time() -> Option<Duration> {
    // NetBSD's clock for this is not in rustix.
    #[cfg(target_os = "netbsd")]
    return None;
    #[cfg(not(target_os = "netbsd"))]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
    }
}

/// Counts the open descriptors. On the BSDs, `/dev/fd` usually has the first three only: fdescfs(5).
fn open_descriptors() -> Option<u64> {
    let directory = match () {
        () if cfg!(target_os = "linux") => "/proc/self/fd",
        () if cfg!(target_os = "macos") => "/dev/fd",
        () => return None,
    };
    // From Linux 6.2 on, the directory's size is their number. Without it, every one of them is listed.
    match fs::metadata(directory).ok()?.len() {
        count if count > 0 && cfg!(target_os = "linux") => Some(count),
        // The listing has a descriptor itself.
        _ => Some((fs::read_dir(directory).ok()?.count() as u64).saturating_sub(1)),
    }
}

/// Reads `/proc/self/stat`, as proc_pid_stat(5) describes it. The second field, the name of the program, may have
/// spaces and parentheses in it.
fn read_stat(stat: &str) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(") ")?;
    // The first one here is the third one there.
    let field = |number: usize| fields.split_ascii_whitespace().nth(number - 3)?.parse::<u64>().ok();
    Some(Process {
        threads: field(20),
        virtual_memory_bytes: field(23),
        resident_memory_bytes: field(24)?.checked_mul(rustix::param::page_size() as u64),
        ..Process::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_may_hold_anything() {
        let after = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 7 0 19 4096000 250 22";
        let process = read_stat(&format!("42 (a) b (c) {after}")).unwrap();
        assert_eq!((process.threads, process.virtual_memory_bytes), (Some(7), Some(4_096_000)));
        assert_eq!(process.resident_memory_bytes, Some(250 * rustix::param::page_size() as u64));
        assert_eq!(read_stat("42 (a"), None);
        assert_eq!(read_stat("42 (a) S 1"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn linux_shows_every_number() {
        let before = Process::now();
        let file = fs::File::open("/dev/null").unwrap();
        let after = Process::now();
        drop(file);
        assert!(after.open_fds > before.open_fds || after.open_fds >= Some(4), "{before:?} {after:?}");
        assert!(after.cpu_seconds >= before.cpu_seconds && after.cpu_seconds > Some(0.0));
        assert!(after.resident_memory_bytes > Some(100_000), "{after:?}");
        assert!(after.virtual_memory_bytes > after.resident_memory_bytes, "{after:?}");
        assert!(after.threads >= Some(2) && after.max_fds >= after.open_fds, "{after:?}");
    }
}
