//! One run: a server of its own, the load, and what the server used in exactly the window.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use parrot_load::{Report, Watch};

use crate::account::{self, Used};
use crate::interrupt::Interrupt;
use crate::pin::{self, Cores};
use crate::results::{Memory, Run};
use crate::running::Running;
use crate::server::Server;
use crate::suite::Suite;

/// How long a server that has answered is left alone before its memory at rest is read.
const REST: Duration = Duration::from_millis(100);

/// How late, as a share of the window, the server's CPU time may be read at its end. By then the load has stopped, so
/// that the server's idle time would count as time in which it had served.
const LATE: f64 = 0.01;
/// What may be late in any case: a window of a fraction of a second is not measured to the percent.
const LATE_AT_LEAST: Duration = Duration::from_millis(5);

/// How runs are made.
#[derive(Debug)]
pub(crate) struct Measure<'a> {
    pub(crate) cores: Option<Cores>,
    pub(crate) warmup: Duration,
    pub(crate) window: Duration,
    pub(crate) threads: usize,
    /// Where what servers say on standard error goes.
    pub(crate) errors: &'a Path,
    pub(crate) interrupt: &'a Interrupt,
}

impl Measure<'_> {
    /// Starts `server`, puts it under the load of `suite`, and ends it. `started` is called with the server's process
    /// before the load.
    ///
    /// # Errors
    ///
    /// If the server does not start, or the load cannot be run.
    pub(crate) fn run(&self, suite: &Suite, server: &Server, started: &mut dyn FnMut(u32)) -> Result<Run> {
        if let Some(cores) = &self.cores {
            pin::pin(&cores.server)?; // inherited by the server
        }
        let errors = self.errors.join(format!("{}.stderr", server.name));
        let answering = Running::start(server, &errors, self.interrupt);
        if let Some(cores) = &self.cores {
            pin::pin(&cores.client)?;
        }
        let server = answering?;
        started(server.id());
        thread::sleep(REST);
        let rest = account::sum(&account::group(server.id()), account::resident);
        let plan = suite.plan(server.address, self.warmup, self.window, self.threads);
        let patience = self.window.mul_f64(LATE).max(LATE_AT_LEAST);
        let mut meter = Meter { id: server.id(), patience, ..Meter::default() };
        let report = parrot_load::run(&plan, &self.interrupt.stop, &mut meter)?;
        let connections = (plan.connections + plan.idle) as f64;
        let growth = meter.loaded.zip(rest).map(|(loaded, rest)| loaded.saturating_sub(rest) as f64);
        let memory = Memory {
            rest,
            loaded: meter.loaded,
            // Of a server that forks, the processes may be gone with the connections.
            peak: meter.peak.max(account::sum(&account::group(server.id()), account::peak)),
            per_connection: growth.filter(|_| !suite.reconnect).map(|growth| growth / connections),
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
            client_cpu_per_message: report.client.cpu_per_message,
            client_busiest: report.client.busiest,
            client_waited: report.client.waited,
            log,
            others: meter.others,
            marks: report.marks,
        })
    }
}

/// What failed, in words, with the system's own where it was connecting.
fn failed(report: &Report) -> String {
    let reason = report.connecting.error.iter().map(|error| format!(" ({error})"));
    std::iter::once(report.failures.to_string()).chain(reason).collect()
}

/// CPU time of the server, of this process and of the whole machine at one moment.
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

/// Reads the accounts when the window opens and closes.
#[derive(Default)]
struct Meter {
    /// The server's process, which leads its group.
    id: u32,
    /// How late the window's end may be heard of.
    patience: Duration,
    opened: Option<Reading>,
    /// How late it was, if that was too late.
    late: Option<Duration>,
    /// Cores used in the window: CPU time over real time between the two readings, so that a first reading that comes a
    /// moment late does no harm.
    used: Option<f64>,
    /// Cores used by whoever is neither the server nor the load.
    others: Option<f64>,
    loaded: Option<u64>,
    peak: Option<u64>,
}

impl Watch for Meter {
    fn window_opens(&mut self) {
        self.opened = Some(Reading::take(account::group(self.id)));
    }

    fn window_closes(&mut self, late: Duration) {
        self.late = Some(late).filter(|late| *late > self.patience);
        let Some(opened) = &self.opened else { return };
        let processes: Vec<u32> = opened.server.processes().collect();
        let mut closed = Reading::take(processes.iter().copied());
        self.loaded = account::sum(&processes, account::resident);
        self.peak = account::sum(&processes, account::peak);
        // Last, because looking for them takes a while and the load has ended.
        closed.server.join(account::group(self.id));
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
    fn cpu_time_that_is_read_too_late_is_no_figure() {
        let read = |late| {
            let patience = Duration::from_millis(20);
            let mut meter = Meter { id: std::process::id(), patience, ..Meter::default() };
            meter.window_opens();
            meter.window_closes(late);
            (meter.used.is_some(), meter.late)
        };
        assert_eq!(read(Duration::from_millis(20)), (true, None));
        assert_eq!(read(Duration::from_millis(21)), (false, Some(Duration::from_millis(21))));
    }
}
