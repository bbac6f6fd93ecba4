//! Measures one run: starts a server, puts it under load, and reads what it used within the window.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use parrot_load::{Report, Watch};

use crate::account::{self, Used};
use crate::interrupt::Interrupt;
use crate::pin::{self, Cores};
use crate::results::{Losses, Memory, Run};
use crate::running::Running;
use crate::server::Server;
use crate::suite::Suite;

/// How long a server rests after its first echo before its memory at rest is read.
const REST: Duration = Duration::from_millis(100);

/// How late the server's CPU time may be read, as a share of the window.
///
/// The load stops at the end of the window, so after it the server's idle time would count as serving.
const LATE: f64 = 0.01;
/// How late the CPU time may be read for the first time, as a share of the window.
///
/// The server is under load before and after that, so it only makes the measured time shorter. What a server used in a
/// very short time is a matter of chance.
const OPENED_LATE: f64 = 0.25;
/// How late the CPU time may be read in the short window of a run, which is not measured to the percent anyway.
const LATE_AT_LEAST: Duration = Duration::from_millis(5);

/// How long a server is under load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) warmup: Duration,
    pub(crate) window: Duration,
    /// How late the server's CPU time may be read at the end of the window.
    pub(crate) patience: Duration,
}

impl Timing {
    /// The timing of a run, which is measured to the percent if its window is not short.
    pub(crate) fn of_run(warmup: Duration, window: Duration) -> Timing {
        Timing { warmup, window, patience: window.mul_f64(LATE).max(LATE_AT_LEAST) }
    }

    /// The timing of a round, which is measured to the percent however short its window is.
    pub(crate) fn of_round(warmup: Duration, window: Duration) -> Timing {
        Timing { warmup, window, patience: window.mul_f64(LATE) }
    }
}

/// The settings that all runs share.
#[derive(Debug)]
pub(crate) struct Measure<'a> {
    pub(crate) cores: Option<Cores>,
    pub(crate) threads: usize,
    /// The server that load generators are compared on.
    pub(crate) loaded: Server,
    /// The directory for what servers write to standard error.
    pub(crate) errors: &'a Path,
    pub(crate) interrupt: &'a Interrupt,
}

impl Measure<'_> {
    /// Starts `server`, puts it under the load of `suite`, and ends it.
    ///
    /// Before the load starts, `started` is called with the id of the server's process.
    ///
    /// # Errors
    ///
    /// If the server does not start, or the load cannot be run.
    pub(crate) fn run(
        &self,
        suite: &Suite,
        server: &Server,
        timing: Timing,
        started: &mut dyn FnMut(u32),
    ) -> Result<Run> {
        let server = self.start(suite, server, self.errors.join(format!("{}.stderr", server.name)))?;
        let processes = server.ids();
        started(processes.first().copied().unwrap_or_default());
        thread::sleep(REST);
        let rest = account::sum(&account::group(&processes), account::resident);
        let mut run = self.load(suite, &server, timing)?;
        let growth = run.memory.loaded.zip(rest).map(|(loaded, rest)| loaded.saturating_sub(rest) as f64);
        let connections = (suite.connections + suite.idle) as f64;
        run.memory.rest = rest;
        run.memory.per_connection = growth.filter(|_| suite.keeps_connections()).map(|growth| growth / connections);
        run.log = server.finish()?;
        Ok(run)
    }

    /// Starts `server` for `suite` on its cores, with its standard error in the file `errors`.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub(crate) fn start(&self, suite: &Suite, server: &Server, errors: PathBuf) -> Result<Running<'_>> {
        if let Some(cores) = &self.cores {
            pin::pin(&cores.server)?; // inherited by the server
        }
        let running = Running::start(server, suite.transport, errors, self.interrupt);
        if let Some(cores) = &self.cores {
            pin::pin(&cores.client)?;
        }
        running
    }

    /// Puts a running server under the load of `suite`.
    ///
    /// The run has no memory at rest and no log lines, because these take more than the load.
    ///
    /// # Errors
    ///
    /// If the load cannot be run.
    pub(crate) fn load(&self, suite: &Suite, server: &Running<'_>, timing: Timing) -> Result<Run> {
        let processes = server.ids();
        let plan = suite.plan(server.target.clone(), timing.warmup, timing.window, self.threads);
        let mut meter = Meter { processes: processes.clone(), timing: Some(timing), ..Meter::default() };
        let report = parrot_load::run(&plan, &self.interrupt.stop, &mut meter)?;
        let floor = meter.peak.and(meter.loaded);
        let memory = Memory {
            loaded: meter.loaded,
            // The processes of a server that forks may have ended with their connections, even before this was read.
            peak: meter.peak.max(account::sum(&account::group(&processes), account::peak)).max(floor),
            ..Memory::default()
        };
        let cores = meter.used;
        Ok(Run {
            messages_per_second: report.messages_per_second,
            cpu_per_message: cores
                .filter(|_| report.messages > 0)
                .map(|cores| cores * 1e6 / report.messages_per_second),
            cpu_late: meter.late.map(|late| late.as_secs_f64()),
            cores,
            latency: report.latency,
            curve: report.histograms.latency.curve(),
            memory,
            failures: report.failures.total(),
            failed: failed(&report),
            datagrams: report.datagrams.map(|datagrams| Losses {
                sent: datagrams.sent,
                lost: datagrams.lost,
                duplicates: datagrams.duplicates,
                overflowed: datagrams.overflowed.unwrap_or(0),
            }),
            client_cpu_per_message: report.client.cpu_per_message,
            client_busiest: report.client.busiest,
            client_waited: report.client.waited,
            others: meter.others,
            marks: report.marks,
            ..Run::default()
        })
    }
}

/// The failures in words, with the system's error for those of connecting.
fn failed(report: &Report) -> String {
    let reason = report.connecting.error.iter().map(|error| format!(" ({error})"));
    std::iter::once(report.failures.to_string()).chain(reason).collect()
}

/// CPU time of the server, of this process and of the machine at one moment.
struct Reading {
    at: Instant,
    server: Used,
    own: Option<Duration>,
    machine: Option<Duration>,
}

impl Reading {
    fn take(server: impl IntoIterator<Item = u32>) -> Reading {
        let (at, own) = (Instant::now(), account::cpu(std::process::id()));
        Reading { at, server: Used::read(server), own, machine: account::machine() }
    }
}

/// Reads CPU time and memory when the window opens and closes.
#[derive(Default)]
struct Meter {
    /// The server's processes, of which the first leads the group.
    processes: Vec<u32>,
    timing: Option<Timing>,
    opened: Option<Reading>,
    /// How late they were, if that was too late.
    late: Option<Duration>,
    /// Cores that the server used.
    ///
    /// This is CPU time over real time between the two readings, so it does no harm if the first one is a little late.
    used: Option<f64>,
    /// Cores that programs other than the server and the load used.
    others: Option<f64>,
    loaded: Option<u64>,
    peak: Option<u64>,
}

impl Watch for Meter {
    fn window_opens(&mut self) {
        self.opened = Some(Reading::take(account::group(&self.processes)));
    }

    fn window_closes(&mut self, late: Duration) {
        let (Some(opened), Some(timing)) = (&self.opened, self.timing) else { return };
        let processes: Vec<u32> = opened.server.processes().collect();
        let mut closed = Reading::take(processes.iter().copied());
        self.loaded = account::sum(&processes, account::resident);
        self.peak = account::sum(&processes, account::peak);
        // This comes last, because searching for processes takes a while.
        closed.server.add(account::group(&self.processes));
        let real = closed.at.duration_since(opened.at);
        let opened_late = Some(timing.window.saturating_sub(real));
        let opened_late = opened_late.filter(|late| *late > timing.window.mul_f64(OPENED_LATE));
        self.late = Some(late).filter(|late| *late > timing.patience).or(opened_late);
        let real = real.as_secs_f64();
        let cores = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / real;
        let server = closed.server.since(&opened.server).map(|used| used.as_secs_f64() / real);
        let own = opened.own.zip(closed.own).map(|(before, after)| cores(before, after));
        let all = opened.machine.zip(closed.machine).map(|(before, after)| cores(before, after));
        self.used = server.filter(|_| self.late.is_none());
        self.others = all.zip(own).zip(server).map(|((all, own), server)| (all - own - server).max(0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads at both ends of a window that is over at once and was to last for `window`. It closed `late` before the
    /// second reading.
    fn read(window: Duration, late: Duration) -> Meter {
        let timing = Timing { warmup: Duration::ZERO, window, patience: Duration::from_millis(20) };
        let mut meter = Meter { processes: vec![std::process::id()], timing: Some(timing), ..Meter::default() };
        meter.window_opens();
        meter.window_closes(late);
        meter
    }

    #[test]
    fn cpu_time_that_is_read_too_late_does_not_count() {
        let read_at = |late| {
            let meter = read(Duration::ZERO, late);
            (meter.used.is_some(), meter.late)
        };
        assert_eq!(read_at(Duration::from_millis(20)), (true, None));
        assert_eq!(read_at(Duration::from_millis(21)), (false, Some(Duration::from_millis(21))));
    }

    #[test]
    fn cpu_time_of_a_small_part_of_the_window_does_not_count() {
        let meter = read(Duration::from_secs(1000), Duration::ZERO);
        assert!(meter.used.is_none() && meter.late > Some(Duration::from_secs(900)), "{:?}", meter.late);
    }
}
