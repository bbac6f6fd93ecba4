//! The results of a measurement as `results.json` stores them, and the medians and spreads of the runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use parrot_load::{Latency, Mark};
use parrot_testkit::parrot::number;
use serde::{Deserialize, Serialize};

use crate::comparison::{Fine, Round};
use crate::environment::Environment;
use crate::suite::{Suite, Transport, counted};

/// The name and version of the format. The version changes when a field changes its meaning or is removed.
pub(crate) const SCHEMA: &str = "parrot-bench/2";

/// The formats that can be read. In the first, `servers` and `server` are called `peers` and `peer`.
const READABLE: [&str; 2] = ["parrot-bench/1", SCHEMA];

/// Everything that one call of the benchmark measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) schema: String,
    pub(crate) environment: Environment,
    pub(crate) method: Method,
    /// The suites that were run, in the order of the report.
    pub(crate) suites: Vec<SuiteInfo>,
    /// The servers that took part, in the order of the report.
    #[serde(alias = "peers")]
    pub(crate) servers: Vec<ServerInfo>,
    /// Servers that could not take part, and why.
    pub(crate) missing: BTreeMap<String, String>,
    /// Suites that this machine has too few resources for, and which resource.
    #[serde(default)]
    pub(crate) skipped: BTreeMap<String, String>,
    pub(crate) cells: Vec<Cell>,
    /// Whether the measurement was interrupted.
    pub(crate) interrupted: bool,
    /// What only a fine measurement has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fine: Option<Fine>,
}

/// How the servers were measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Method {
    /// Seconds of load before each window.
    pub(crate) warmup: f64,
    /// Seconds of load in each window.
    pub(crate) window: f64,
    pub(crate) repeats: usize,
    /// Cores of the server, if it had cores of its own.
    pub(crate) server_cores: Vec<usize>,
    pub(crate) client_cores: Vec<usize>,
    pub(crate) client_threads: usize,
    /// Whether server and client ran on hardware threads of a single core.
    #[serde(default)]
    pub(crate) same_core: bool,
}

/// A suite as a report describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SuiteInfo {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) load: String,
    /// Older files have TCP only.
    #[serde(default)]
    pub(crate) transport: Transport,
    pub(crate) connections: usize,
    pub(crate) idle: usize,
    pub(crate) size: usize,
    pub(crate) pipeline: usize,
    pub(crate) reconnect: bool,
}

impl SuiteInfo {
    /// The description of `suite`.
    pub(crate) fn of(suite: &Suite) -> SuiteInfo {
        SuiteInfo {
            name: suite.name.clone(),
            title: suite.title.clone(),
            load: suite.describe(),
            transport: suite.transport,
            connections: suite.connections,
            idle: suite.idle,
            size: suite.size,
            pipeline: suite.pipeline,
            reconnect: suite.reconnect,
        }
    }
}

/// A server as a report describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ServerInfo {
    pub(crate) name: String,
    pub(crate) about: String,
    /// The size of its receive buffer, in words.
    #[serde(default)]
    pub(crate) receives: String,
    /// How many processes share its port.
    #[serde(default = "one")]
    pub(crate) processes: usize,
}

fn one() -> usize {
    1
}

/// The runs of one server in one suite.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) suite: String,
    #[serde(alias = "peer")]
    pub(crate) server: String,
    pub(crate) runs: Vec<Run>,
    /// The errors of runs that could not be made.
    pub(crate) errors: Vec<String>,
}

/// A run is disturbed if programs outside of the measurement used more cores than this.
pub(crate) const DISTURBED: f64 = 0.1;

/// A server is full if it used at least this share of its cores.
const FULL: f64 = 0.95;

/// One run, with latencies in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) messages_per_second: f64,
    /// Microseconds of the server's CPU time per message.
    pub(crate) cpu_per_message: Option<f64>,
    /// Cores that the server used.
    pub(crate) cores: Option<f64>,
    /// How many seconds late the CPU time was read, if it is left out for that reason.
    #[serde(default)]
    pub(crate) cpu_late: Option<f64>,
    pub(crate) latency: Latency,
    /// `(percentile, microseconds)`.
    pub(crate) curve: Vec<(f64, f64)>,
    pub(crate) memory: Memory,
    pub(crate) failures: u64,
    /// The failures in words.
    pub(crate) failed: String,
    /// What became of the datagrams, over UDP.
    #[serde(default)]
    pub(crate) datagrams: Option<Losses>,
    pub(crate) client_cpu_per_message: Option<f64>,
    pub(crate) client_busiest: Option<f64>,
    /// Share of the window in which the client was ready to run while something else used its core.
    #[serde(default)]
    pub(crate) client_waited: Option<f64>,
    #[serde(default)]
    pub(crate) log: Option<LogLines>,
    /// Cores that programs outside of the measurement used, if the system reports it.
    pub(crate) others: Option<f64>,
    pub(crate) marks: Vec<Mark>,
    /// Which round of a fine measurement this was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) round: Option<Round>,
}

/// The datagrams of one window that did not come back exactly once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Losses {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// Answers beyond the first one to a datagram.
    pub(crate) duplicates: u64,
    /// Answers that the load generator had no room for, in the whole run.
    pub(crate) overflowed: u64,
}

/// The log lines of a server in one run, including its warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogLines {
    pub(crate) written: u64,
    pub(crate) dropped: u64,
}

impl LogLines {
    /// Parses the summary that Parrot prints when it ends: `... 69296 log lines written, 0 dropped, ...`.
    pub(crate) fn parse(errors: &str) -> Option<LogLines> {
        let line = errors.lines().rfind(|line| line.contains(" log lines written, "))?;
        Some(LogLines { written: number(line, "log lines written").ok()?, dropped: number(line, "dropped").ok()? })
    }
}

/// The server's resident memory in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Before the first connection.
    pub(crate) rest: Option<u64>,
    /// At the end of the window, with all connections open.
    pub(crate) loaded: Option<u64>,
    pub(crate) peak: Option<u64>,
    /// Added by each connection.
    pub(crate) per_connection: Option<f64>,
}

/// The median, the least and the greatest value of several runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Summary {
    /// Summarises `values`. Returns `None` if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Summary> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) { *values.get(middle - 1)? } else { upper };
        Some(Summary { median: f64::midpoint(lower, upper), least, most })
    }

    /// Half the distance from the least to the greatest value.
    pub(crate) fn half_spread(&self) -> f64 {
        (self.most - self.least) / 2.0
    }

    /// The half spread as a share of the median.
    pub(crate) fn spread(&self) -> f64 {
        if self.median > 0.0 { self.half_spread() / self.median } else { 0.0 }
    }
}

impl Run {
    /// Whether the figures count, which they do if messages came back and nothing failed.
    pub(crate) fn is_sound(&self) -> bool {
        self.failures == 0 && self.latency.count > 0
    }

    /// The reason why the figures do not count, if there is one.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self.failures {
            0 if self.is_sound() => None,
            0 => Some("nothing came back".into()),
            _ => Some(self.failed.clone()),
        }
    }

    /// Whether other programs disturbed the run.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.others.is_some_and(|others| others > DISTURBED)
    }
}

impl Cell {
    /// The runs whose figures count. The others are in no summary.
    pub(crate) fn sound(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.is_sound())
    }

    /// Whether there is more than one sound run, and therefore a spread.
    pub(crate) fn is_repeated(&self) -> bool {
        self.sound().count() > 1
    }

    /// Summarises one figure over the sound runs that have it.
    pub(crate) fn summary(&self, figure: impl Fn(&Run) -> Option<f64>) -> Option<Summary> {
        Summary::of(self.sound().filter_map(figure))
    }

    /// By how many seconds at most the CPU time was read too late, and in how many runs.
    pub(crate) fn cpu_late(&self) -> Option<(f64, usize)> {
        let late = || self.sound().filter_map(|run| run.cpu_late);
        Some((late().reduce(f64::max)?, late().count()))
    }

    /// Cores that other programs used, if they disturbed the runs.
    pub(crate) fn disturbed(&self) -> Option<f64> {
        self.median(|run| run.others).filter(|others| *others > DISTURBED)
    }

    /// How many log lines all runs dropped, and out of how many. `None` if no line was dropped.
    pub(crate) fn dropped(&self) -> Option<(u64, u64)> {
        let lines = || self.runs.iter().filter_map(|run| run.log);
        let dropped = lines().map(|log| log.dropped).sum::<u64>();
        (dropped > 0).then(|| (dropped, lines().map(|log| log.written + log.dropped).sum()))
    }

    /// What became of the datagrams of all runs, if some did not come back exactly once.
    pub(crate) fn losses(&self) -> Option<Losses> {
        let add = |all: Losses, run: Losses| Losses {
            sent: all.sent + run.sent,
            lost: all.lost + run.lost,
            duplicates: all.duplicates + run.duplicates,
            overflowed: all.overflowed + run.overflowed,
        };
        let losses = self.runs.iter().filter_map(|run| run.datagrams).reduce(add)?;
        (losses.lost + losses.duplicates + losses.overflowed > 0).then_some(losses)
    }

    /// The median of one figure.
    pub(crate) fn median(&self, figure: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        self.summary(figure).map(|summary| summary.median)
    }

    pub(crate) fn throughput(&self) -> Option<Summary> {
        self.summary(|run| Some(run.messages_per_second))
    }

    pub(crate) fn cpu_per_message(&self) -> Option<Summary> {
        self.summary(|run| run.cpu_per_message)
    }

    /// The run with the median throughput, whose latency curve is shown.
    pub(crate) fn typical(&self) -> Option<&Run> {
        let median = self.throughput()?.median;
        let off = |run: &Run| (run.messages_per_second - median).abs();
        self.sound().min_by(|left, right| off(left).total_cmp(&off(right)))
    }

    /// The marks of all sound runs, each once.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        let mut marks: Vec<Mark> = Vec::new();
        for mark in self.sound().flat_map(|run| &run.marks) {
            if !marks.contains(mark) {
                marks.push(*mark);
            }
        }
        marks
    }

    /// What went wrong in the runs, each reason once.
    pub(crate) fn trouble(&self) -> Option<String> {
        let failed = self.runs.iter().filter_map(Run::trouble);
        let trouble: Vec<String> = self.errors.iter().cloned().chain(failed).collect();
        let mut different: Vec<&str> = Vec::new();
        for what in &trouble {
            if !different.contains(&what.as_str()) {
                different.push(what);
            }
        }
        let (all, reasons) = (self.runs.len() + self.errors.len(), different.join("; "));
        match trouble.len() {
            0 => None,
            some if some < all => Some(format!("in {some} of {all} runs: {reasons}")),
            _ => Some(reasons),
        }
    }
}

/// Whether `server` is Parrot itself, and not a rival with a similar name.
pub(crate) fn is_own(server: &str) -> bool {
    matches!(server, "parrot" | "parrot-2" | "parrot-load" | "parrot-clf" | "parrot-json" | "parrot-spin")
}

impl Results {
    /// Reads a `results.json`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or has another format.
    pub(crate) fn read(path: &Path) -> Result<Results> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let results: Results =
            serde_json::from_slice(&text).with_context(|| format!("{} is not a results.json", path.display()))?;
        if !READABLE.contains(&results.schema.as_str()) {
            bail!("{} has format {}; this program reads {}", path.display(), results.schema, READABLE.join(" and "));
        }
        Ok(results)
    }

    /// The reason why this is not a measurement, if nothing was measured or Parrot itself failed.
    pub(crate) fn failure(&self) -> Option<String> {
        if !self.cells.iter().any(|cell| cell.sound().next().is_some()) {
            return Some("nothing was measured".into());
        }
        let own = self.cells.iter().filter(|cell| is_own(&cell.server));
        let failed = own.filter_map(|cell| Some(format!("{} in {}: {}", cell.server, cell.suite, cell.trouble()?)));
        let failed = failed.collect::<Vec<_>>().join("; ");
        (!failed.is_empty()).then_some(failed)
    }

    /// Cores that other programs used, as the mean of all runs.
    pub(crate) fn others(&self) -> Option<f64> {
        let others: Vec<f64> = self.cells.iter().flat_map(|cell| &cell.runs).filter_map(|run| run.others).collect();
        (!others.is_empty()).then(|| others.iter().sum::<f64>() / others.len() as f64)
    }

    /// Whether the server of `cell` used all of its cores, so that the client was not the only limit.
    pub(crate) fn is_full(&self, cell: &Cell) -> bool {
        let all = self.method.server_cores.len() as f64;
        all > 0.0 && cell.median(|run| run.cores).is_some_and(|used| used >= FULL * all)
    }

    /// A note that the processes of `server`, which share its port, have fewer cores than they are.
    pub(crate) fn sharing(&self, server: &str) -> Option<String> {
        let (processes, cores) =
            (self.servers.iter().find(|info| info.name == server)?.processes, self.method.server_cores.len());
        let note = || format!("its {processes} processes share {}", counted(cores, "core"));
        (cores > 0 && processes > cores).then(note)
    }

    /// The cell of `server` in `suite`.
    pub(crate) fn cell(&self, suite: &str, server: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.suite == suite && cell.server == server)
    }

    /// The cell of `server` in `suite`, which is created if there is none.
    pub(crate) fn cell_mut(&mut self, suite: &str, server: &str) -> &mut Cell {
        let place = self.cells.iter().position(|cell| cell.suite == suite && cell.server == server);
        let place = place.unwrap_or_else(|| {
            let (suite, server) = (suite.to_string(), server.to_string());
            self.cells.push(Cell { suite, server, ..Cell::default() });
            self.cells.len() - 1
        });
        &mut self.cells[place]
    }

    /// The cells of `suite`, in the order of the servers.
    pub(crate) fn of_suite<'a>(&'a self, suite: &'a str) -> impl Iterator<Item = &'a Cell> {
        self.servers.iter().filter_map(move |server| self.cell(suite, &server.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run in which every message came back.
    fn sound(messages_per_second: f64) -> Run {
        Run { messages_per_second, latency: Latency { count: 1, ..Latency::default() }, ..Run::default() }
    }

    fn cell(runs: Vec<Run>) -> Cell {
        Cell { runs, ..Cell::default() }
    }

    #[test]
    fn a_summary_is_the_middle_and_the_ends() {
        let summary = Summary::of([3.0, 1.0, 2.0]).expect("values");
        assert_eq!((summary.median, summary.least, summary.most, summary.spread()), (2.0, 1.0, 3.0, 0.5));
        assert_eq!(Summary::of([1.0, 2.0]).map(|summary| summary.median), Some(1.5));
        assert_eq!(Summary::of([]), None);
    }

    #[test]
    fn the_typical_run_has_the_median_throughput() {
        let cell = cell(vec![sound(10.0), sound(30.0), sound(11.0)]);
        assert_eq!(cell.typical().map(|run| run.messages_per_second), Some(11.0));
    }

    #[test]
    fn a_run_that_failed_is_reported_and_does_not_count() {
        let bad = Run { failures: 2, failed: "2 reset".into(), ..sound(1e9) };
        let cell = cell(vec![sound(10.0), bad.clone(), sound(11.0), Run::default(), bad]);
        assert_eq!(cell.trouble().as_deref(), Some("in 3 of 5 runs: 2 reset; nothing came back"));
        assert_eq!(cell.throughput().map(|summary| summary.most), Some(11.0));
    }

    #[test]
    fn a_server_that_echoed_nothing_has_no_figures() {
        let cell = cell(vec![Run::default()]);
        assert_eq!((cell.throughput(), cell.median(|run| run.latency.p50)), (None, None));
        assert!(cell.typical().is_none() && !cell.is_repeated());
    }

    #[test]
    fn dropped_log_lines_are_read_from_the_summary() {
        let errors =
            "INFO listening\nINFO drained: 3 connections; 69296 log lines written, 17 dropped, 0 write errors\n";
        assert_eq!(LogLines::parse(errors), Some(LogLines { written: 69_296, dropped: 17 }));
        assert_eq!(LogLines::parse("INFO listening\n"), None);
    }
}
