//! CPU time and memory of a server's processes, as the system accounts for them.

use std::collections::BTreeMap;
use std::time::Duration;

/// The processes `started` and the others of the group that the first of them leads.
///
/// A server may fork, or a script that keeps running may have started it.
#[cfg(target_os = "linux")]
pub(crate) fn group(started: &[u32]) -> Vec<u32> {
    let Some(leader) = started.first().copied() else { return Vec::new() };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let led = |id: &u32| std::fs::read(format!("/proc/{id}/stat")).is_ok_and(|stat| group_in(&stat) == Some(leader));
    std::iter::once(leader).chain(ids.filter(|id| *id != leader).filter(led)).collect()
}

/// Only the processes `started`. On this system the figures leave out those that a server forks.
#[cfg(not(target_os = "linux"))]
pub(crate) fn group(started: &[u32]) -> Vec<u32> {
    started.to_vec()
}

/// Reads the process group from `/proc/ID/stat`.
#[cfg(target_os = "linux")]
fn group_in(stat: &[u8]) -> Option<u32> {
    field(stat, 5)?.parse().ok()
}

/// A field of `/proc/ID/stat` by its number in proc_pid_stat(5).
///
/// The second one is the program's name, which is in parentheses and may itself contain parentheses.
#[cfg(target_os = "linux")]
pub(crate) fn field(stat: &[u8], number: usize) -> Option<&str> {
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = str::from_utf8(stat.get(name_ends + 1..)?).ok()?;
    fields.split_whitespace().nth(number.checked_sub(3)?)
}

/// CPU time of several processes at one moment, with that of the children that they have reaped.
#[derive(Debug, Default)]
pub(crate) struct Used(BTreeMap<u32, Duration>);

impl Used {
    /// Reads the CPU time of those `processes` that exist.
    pub(crate) fn read(processes: impl IntoIterator<Item = u32>) -> Used {
        Used(processes.into_iter().filter_map(|id| Some((id, cpu(id)? + reaped(id).unwrap_or_default()))).collect())
    }

    /// Adds those `processes` that it does not contain yet.
    pub(crate) fn add(&mut self, processes: Vec<u32>) {
        let missing: Vec<u32> = processes.into_iter().filter(|id| !self.0.contains_key(id)).collect();
        self.0.extend(Used::read(missing).0);
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    /// CPU time used since `earlier`, or `None` if no process is left.
    ///
    /// A process that started after `earlier` counts in full. One that has ended since then counts on Linux, as soon as
    /// another one of these has reaped it.
    pub(crate) fn since(&self, earlier: &Used) -> Option<Duration> {
        let before = |id| earlier.0.get(id).copied().unwrap_or_default();
        (!self.0.is_empty()).then(|| self.0.iter().map(|(id, used)| used.saturating_sub(before(id))).sum())
    }
}

/// The sum of `figure` over the `processes` for which it is known.
pub(crate) fn sum(processes: &[u32], figure: fn(u32) -> Option<u64>) -> Option<u64> {
    processes.iter().filter_map(|id| figure(*id)).reduce(|all, one| all + one)
}

/// CPU time of all threads of process `id`, including threads that have ended.
///
/// The process's CPU-time clock (clock_getcpuclockid(3)) counts nanoseconds, while `ps` and `/proc` count ticks.
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

/// CPU time of the children that process `id` has reaped. Linux counts it in hundredths of a second (proc_pid_stat(5)).
///
/// For a server that starts a process for each connection or datagram this is most of its work.
#[cfg(target_os = "linux")]
fn reaped(id: u32) -> Option<Duration> {
    let stat = std::fs::read(format!("/proc/{id}/stat")).ok()?;
    let ticks = |number| field(&stat, number)?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks(16)? + ticks(17)?) * TICK))
}

#[cfg(not(target_os = "linux"))]
fn reaped(_id: u32) -> Option<Duration> {
    None
}

/// Resident memory of process `id` in bytes. It includes shared libraries, but not the kernel's socket buffers.
#[cfg(target_os = "linux")]
pub(crate) fn resident(id: u32) -> Option<u64> {
    status(id, "VmRSS:")
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn resident(id: u32) -> Option<u64> {
    process(id, sysinfo::Process::memory)
}

/// Peak resident memory of process `id` in bytes, if the system records it.
#[cfg(target_os = "linux")]
pub(crate) fn peak(id: u32) -> Option<u64> {
    status(id, "VmHWM:")
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn peak(_id: u32) -> Option<u64> {
    None
}

/// Milliseconds in a tick, because programs always see a USER_HZ of 100.
#[cfg(target_os = "linux")]
const TICK: u64 = 10;

/// CPU time that all cores have spent working, including time that a hypervisor took from them (proc_stat(5)).
#[cfg(target_os = "linux")]
pub(crate) fn machine() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // The fields are user nice system idle iowait irq softirq steal. Time of guests is part of user.
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|place| fields.get(*place)).sum::<u64>();
    Some(Duration::from_millis(busy * TICK))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn machine() -> Option<Duration> {
    None
}

/// A figure from `/proc/ID/status`, converted from KiB to bytes (proc_pid_status(5)).
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
    fn a_busy_process_uses_cpu_time() {
        let own = std::process::id();
        let (before, begun) = (cpu(own).expect("own CPU time"), std::time::Instant::now());
        while cpu(own).expect("own CPU time") < before + Duration::from_millis(20) {
            assert!(begun.elapsed() < Duration::from_secs(20), "20 s of work did not count as 20 ms");
        }
    }

    #[test]
    fn the_figures_of_a_group_cover_all_its_processes() {
        use std::os::unix::process::CommandExt;
        let mut shell = std::process::Command::new("sh");
        // The shell waits while its child works.
        let mut shell = shell.args(["-c", "while :; do :; done & wait"]).process_group(0).spawn().expect("a shell");
        let (begun, before) = (std::time::Instant::now(), Used::read([shell.id()]));
        let used = || {
            let now = Used::read(group(&[shell.id()]));
            (now.processes().count() == 2).then(|| now.since(&before)).flatten().unwrap_or_default()
        };
        while used() < Duration::from_millis(50) && begun.elapsed() < Duration::from_secs(20) {}
        let (used, both) = (used(), sum(&group(&[shell.id()]), resident));
        let one = resident(shell.id());
        rustix::process::kill_process_group(rustix::process::Pid::from_child(&shell), rustix::process::Signal::KILL)
            .expect("its end");
        shell.wait().expect("its end");
        assert!(used >= Duration::from_millis(50) && both > one, "{used:?}, {both:?} and {one:?}");
    }

    #[test]
    fn the_work_of_a_reaped_child_counts() {
        use std::os::unix::process::CommandExt;
        let mut shell = std::process::Command::new("sh");
        // One child after the other works and ends. The shell itself only waits for them.
        let work = "while :; do (i=0; while [ $i -lt 9999 ]; do i=$((i+1)); done); done";
        let mut shell = shell.args(["-c", work]).process_group(0).spawn().expect("a shell");
        let begun = std::time::Instant::now();
        let children = || reaped(shell.id()).unwrap_or_default();
        while children() < Duration::from_millis(50) && begun.elapsed() < Duration::from_secs(20) {}
        let (children, own) = (children(), cpu(shell.id()).unwrap_or_default());
        let used = Used::read([shell.id()]).since(&Used(BTreeMap::from([(shell.id(), Duration::ZERO)])));
        rustix::process::kill_process_group(rustix::process::Pid::from_child(&shell), rustix::process::Signal::KILL)
            .expect("its end");
        shell.wait().expect("its end");
        assert!(
            children >= Duration::from_millis(50) && used >= Some(own + children),
            "{used:?}, {own:?}, {children:?}"
        );
    }

    #[test]
    fn a_process_that_ended_lowers_no_sum() {
        let used = |all: &[(u32, u64)]| Used(all.iter().map(|(id, used)| (*id, Duration::from_secs(*used))).collect());
        let before = used(&[(1, 10), (2, 100)]);
        assert_eq!(used(&[(1, 11), (3, 5)]).since(&before), Some(Duration::from_secs(6)));
        assert_eq!(used(&[]).since(&before), None);
    }

    #[test]
    fn any_program_name_leaves_the_group_readable() {
        assert_eq!(group_in(b"12 (a) R 1 (b) S 3 77 5 0"), Some(77));
        assert_eq!(group_in(b"12 (\xff) S 3 77 5 0"), Some(77));
        assert_eq!(group_in(b"12 sh"), None);
    }

    #[test]
    fn memory_is_in_bytes_and_below_its_peak() {
        let own = std::process::id();
        let (now, peak) = (resident(own).expect("own memory"), peak(own).expect("own peak"));
        assert!((100 << 10..10 << 30).contains(&now) && peak >= now, "{now} and {peak}");
    }

    #[test]
    fn a_process_that_does_not_exist_has_no_figures() {
        assert_eq!((cpu(0x7fff_fff0), resident(0x7fff_fff0)), (None, None));
    }
}
