//! Measures one run: starts a server, puts it under load, and reads what it used within the window.

use std::path::Path;
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
/// How late the CPU time may be read in a short window, which is not measured to the percent anyway.
const LATE_AT_LEAST: Duration = Duration::from_millis(5);

/// The settings that all runs share.
#[derive(Debug)]
pub(crate) struct Measure<'a> {
    pub(crate) cores: Option<Cores>,
    pub(crate) warmup: Duration,
    pub(crate) window: Duration,
    pub(crate) threads: usize,
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
    pub(crate) fn run(&self, suite: &Suite, server: &Server, started: &mut dyn FnMut(u32)) -> Result<Run> {
        if let Some(cores) = &self.cores {
            pin::pin(&cores.server)?; // inherited by the server
        }
        let errors = self.errors.join(format!("{}.stderr", server.name));
        let running = Running::start(server, suite.transport, &errors, self.interrupt);
        if let Some(cores) = &self.cores {
            pin::pin(&cores.client)?;
        }
        let server = running?;
        let processes = server.ids();
        started(processes.first().copied().unwrap_or_default());
        thread::sleep(REST);
        let rest = account::sum(&account::group(&processes), account::resident);
        let plan = suite.plan(server.target.clone(), self.warmup, self.window, self.threads);
        let patience = self.window.mul_f64(LATE).max(LATE_AT_LEAST);
        let mut meter = Meter { processes: processes.clone(), patience, ..Meter::default() };
        let report = parrot_load::run(&plan, &self.interrupt.stop, &mut meter)?;
        let connections = (plan.connections + plan.idle) as f64;
        let growth = meter.loaded.zip(rest).map(|(loaded, rest)| loaded.saturating_sub(rest) as f64);
        let floor = meter.peak.and(meter.loaded);
        let memory = Memory {
            rest,
            loaded: meter.loaded,
            // The processes of a server that forks may have ended with their connections, even before this was read.
            peak: meter.peak.max(account::sum(&account::group(&processes), account::peak)).max(floor),
            per_connection: growth.filter(|_| suite.keeps_connections()).map(|growth| growth / connections),
        };
        let log = server.finish()?;
        let cores = meter.used;
        Ok(Run {
            messages_per_second: report.messages_per_second,
            cpu_per_message: cores
                .filter(|_| report.messages > 0)
                .map(|cores| cores * 1e6 / report.messages_per_second),
            cpu_late: meter.late.map(|late| late.as_secs_f64()),
            cores,
            latency: report.latency,
            curve: report.latencies.curve(),
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
            log,
            others: meter.others,
            marks: report.marks,
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
    /// How late the readings at the end of the window may be.
    patience: Duration,
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
        self.late = Some(late).filter(|late| *late > self.patience);
        let Some(opened) = &self.opened else { return };
        let processes: Vec<u32> = opened.server.processes().collect();
        let mut closed = Reading::take(processes.iter().copied());
        self.loaded = account::sum(&processes, account::resident);
        self.peak = account::sum(&processes, account::peak);
        // This comes last, because searching for processes takes a while.
        closed.server.add(account::group(&self.processes));
        let real = closed.at.duration_since(opened.at).as_secs_f64();
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

    #[test]
    fn cpu_time_that_is_read_too_late_does_not_count() {
        let read = |late| {
            let patience = Duration::from_millis(20);
            let mut meter = Meter { processes: vec![std::process::id()], patience, ..Meter::default() };
            meter.window_opens();
            meter.window_closes(late);
            (meter.used.is_some(), meter.late)
        };
        assert_eq!(read(Duration::from_millis(20)), (true, None));
        assert_eq!(read(Duration::from_millis(21)), (false, Some(Duration::from_millis(21))));
    }
}
