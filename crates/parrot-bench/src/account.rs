//! What a process has used: CPU time and memory, by the system's own accounting.

use std::time::Duration;

/// CPU time of all threads of process `id`, ended ones included.
///
/// The process's CPU-time clock (clock_getcpuclockid(3)) is exact to the nanosecond where `ps` and `/proc` count ticks.
#[cfg(any(target_os = "linux", target_os = "freebsd", target_os = "dragonfly"))]
pub(crate) fn cpu(id: u32) -> Option<Duration> {
    let process = nix::unistd::Pid::from_raw(i32::try_from(id).ok()?);
    let clock = nix::time::ClockId::pid_cpu_clock_id(process).ok()?;
    clock.now().ok().map(Duration::from)
}

/// CPU time of process `id`, to the millisecond.
#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_os = "dragonfly")))]
pub(crate) fn cpu(id: u32) -> Option<Duration> {
    process(id, |process| Duration::from_millis(process.accumulated_cpu_time()))
}

/// Resident memory of process `id`, shared libraries included, in bytes; the kernel's socket buffers are not in it.
#[cfg(target_os = "linux")]
pub(crate) fn resident(id: u32) -> Option<u64> {
    status(id, "VmRSS:")
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn resident(id: u32) -> Option<u64> {
    process(id, sysinfo::Process::memory)
}

/// The most that process `id` ever had resident, in bytes, where the system remembers it.
#[cfg(target_os = "linux")]
pub(crate) fn peak(id: u32) -> Option<u64> {
    status(id, "VmHWM:")
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn peak(_id: u32) -> Option<u64> {
    None
}

/// CPU time that all cores have spent on anything, what a hypervisor took from them included (proc_stat(5)).
#[cfg(target_os = "linux")]
pub(crate) fn machine() -> Option<Duration> {
    const TICK: u64 = 10; // milliseconds: USER_HZ is 100 to every program, whatever the kernel's own HZ
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are among the users.
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|place| fields.get(*place)).sum::<u64>();
    Some(Duration::from_millis(busy * TICK))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn machine() -> Option<Duration> {
    None
}

/// A line of `/proc/ID/status`, which counts in KiB (proc_pid_status(5)).
#[cfg(target_os = "linux")]
fn status(id: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

#[cfg(not(target_os = "linux"))]
fn process<T>(id: u32, what: impl FnOnce(&sysinfo::Process) -> T) -> Option<T> {
    use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
    let id = Pid::from_u32(id);
    let mut system = System::new().ok()?;
    let kind = ProcessRefreshKind::nothing().with_memory().with_cpu();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), true, kind);
    system.process(id).map(what)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_is_charged_for_it() {
        let own = std::process::id();
        let (before, begun) = (cpu(own).expect("own CPU time"), std::time::Instant::now());
        while cpu(own).expect("own CPU time") < before + Duration::from_millis(20) {
            assert!(begun.elapsed() < Duration::from_secs(20), "20 ms of work and no account of it");
        }
    }

    #[test]
    fn memory_is_counted_in_bytes_and_its_peak_is_no_less() {
        let own = std::process::id();
        let (now, peak) = (resident(own).expect("own memory"), peak(own).expect("own peak"));
        assert!((100 << 10..10 << 30).contains(&now) && peak >= now, "{now} and {peak}");
    }

    #[test]
    fn a_process_that_is_not_there_has_no_account() {
        assert_eq!((cpu(0x7fff_fff0), resident(0x7fff_fff0)), (None, None));
    }
}
