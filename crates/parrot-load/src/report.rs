//! What a run found, with its doubts about itself.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failures;
use crate::latency::{Latencies, Latency};
use crate::plan::{Close, Length, Pace, Plan};
use crate::tally::Tally;

/// Name and version of the report as JSON. The version changes when a field changes its meaning or goes away.
const SCHEMA: &str = "parrot-load/1";

/// Share of a core from which on a thread counts as having had no time left.
const BUSY: f64 = 0.95;
/// By how much throughput times mean latency may differ from the concurrency before it is called a contradiction.
const TOLERANCE: f64 = 0.1;
/// Answers on average to each message under way, below which a window is too short to judge that.
const ANSWERS: f64 = 10.0;
/// Share of the asked rate below which an open loop did not keep it.
const KEPT: f64 = 0.99;
/// Lateness of this program, in microseconds, from which on an open loop is its own limit.
const LATE: f64 = 1000.0;

/// What a run found. Times are in microseconds unless they say otherwise.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Name and version of this format.
    pub schema: &'static str,
    /// What was run.
    pub load: Load,
    /// How connecting went.
    pub connecting: Connecting,
    /// Length of the measured window, in seconds.
    pub window: f64,
    /// Answers within the window.
    pub messages: u64,
    /// Answers a second.
    pub messages_per_second: f64,
    /// Bytes a second, in each direction.
    pub bytes_per_second: f64,
    /// In a closed loop from the send, in an open loop from when the send was due, to the last byte's return.
    pub latency: Latency,
    /// Open loop: the same messages timed from when they were really sent.
    pub service: Option<Latency>,
    /// Open loop: how late this program came to messages that were due.
    pub lateness: Option<Latency>,
    /// Open loop: messages never sent, because their connection had failed.
    pub unsent: u64,
    /// Failures by kind, of the whole run.
    pub failures: Failures,
    /// What the load generator itself used.
    pub client: Client,
    /// Messages under way on average, by throughput and mean latency (Little's law).
    pub concurrency: f64,
    /// What a reader of the figures has to know.
    pub marks: Vec<Mark>,
    /// The latencies behind [`latency`](Report::latency), for percentiles and charts of one's own.
    #[serde(skip)]
    pub latencies: Latencies,
}

/// The plan, as the report repeats it.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// The server.
    pub target: String,
    /// `closed loop`, or `open loop`.
    pub pace: &'static str,
    /// Messages a second asked for, in an open loop.
    pub rate: Option<f64>,
    /// Connections that sent.
    pub connections: usize,
    /// Connections that only stayed open.
    pub idle: usize,
    /// Bytes in a message.
    pub size: usize,
    /// Messages under way at once on a connection.
    pub pipeline: usize,
    /// Threads that sent.
    pub threads: usize,
    /// With a connection for each message, how it was ended: `finish` or `reset`.
    pub reconnect: Option<&'static str>,
    /// Local addresses connected from.
    pub sources: Vec<String>,
}

/// How connecting went.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Connecting {
    /// Connections open when the window closed.
    pub open: usize,
    /// Time until all were open, in seconds.
    pub elapsed: f64,
    /// How long each took.
    pub latency: Latency,
}

/// What the load generator itself used in the window.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Client {
    /// CPU time of its threads, in seconds; absent where the system does not tell.
    pub cpu: Option<f64>,
    /// The same for each message, in microseconds.
    pub cpu_per_message: Option<f64>,
    /// Share of a core that its busiest thread used.
    pub busiest: Option<f64>,
}

/// What a reader of the figures has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// The load generator had no time left: the server may be capable of more.
    ClientBound,
    /// Throughput and mean latency belong to another concurrency than was asked for: connections waited in vain.
    Contradiction,
    /// The rate asked for was not reached.
    RateNotReached,
    /// Some connections were gone before the window closed.
    ConnectionsLost,
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Mark::ClientBound => "client-bound: the load generator had no time left; the server may be capable of more",
            Mark::Contradiction => {
                "contradiction: throughput times mean latency is not the concurrency; some connections waited in vain"
            }
            Mark::RateNotReached => "rate not reached: fewer messages a second were answered than asked for",
            Mark::ConnectionsLost => "connections lost: fewer connections were open at the end than asked for",
        })
    }
}

impl Report {
    pub(crate) fn new(plan: &Plan, tallies: impl IntoIterator<Item = Tally>, took: Duration) -> Report {
        let mut all = Tally { opened: u64::MAX, cpu: Some(Duration::ZERO), ..Tally::default() };
        let mut busiest = None::<f64>;
        for tally in tallies {
            all.answered += tally.answered;
            all.unsent += tally.unsent;
            all.open += tally.open;
            all.failures.add(&tally.failures);
            all.latencies.add(&tally.latencies);
            all.service.add(&tally.service);
            all.lateness.add(&tally.lateness);
            all.connecting.add(&tally.connecting);
            all.opened = all.opened.min(tally.opened);
            all.closed = all.closed.max(tally.closed);
            let window = Duration::from_nanos(tally.closed.saturating_sub(tally.opened)).as_secs_f64();
            if let Some(cpu) = tally.cpu.filter(|_| window > 0.0) {
                busiest = Some(busiest.unwrap_or(0.0).max(cpu.as_secs_f64() / window));
            }
            all.cpu = all.cpu.zip(tally.cpu).map(|(all, cpu)| all + cpu);
        }
        let window = Duration::from_nanos(all.closed.saturating_sub(all.opened)).as_secs_f64();
        let per_second = if window > 0.0 { all.answered as f64 / window } else { 0.0 };
        let open_loop = matches!(plan.pace, Pace::Rate(_));
        let latency = all.latencies.summary();
        let service = open_loop.then(|| all.service.summary());
        let mut report = Report {
            schema: SCHEMA,
            load: Load::of(plan),
            connecting: Connecting { open: all.open, elapsed: took.as_secs_f64(), latency: all.connecting.summary() },
            window,
            messages: all.answered,
            messages_per_second: per_second,
            bytes_per_second: per_second * plan.size as f64,
            latency,
            service,
            lateness: open_loop.then(|| all.lateness.summary()),
            unsent: all.unsent,
            failures: all.failures,
            client: Client {
                cpu: all.cpu.map(|cpu| cpu.as_secs_f64()),
                cpu_per_message: all
                    .cpu
                    .filter(|_| all.answered > 0)
                    .map(|cpu| cpu.as_secs_f64() * 1e6 / all.answered as f64),
                busiest,
            },
            concurrency: per_second * service.unwrap_or(latency).mean / 1e6,
            marks: Vec::new(),
            latencies: all.latencies,
        };
        report.marks = report.doubts(plan);
        report
    }

    fn doubts(&self, plan: &Plan) -> Vec<Mark> {
        let mut marks = Vec::new();
        let asked = (plan.connections * plan.pipeline) as f64;
        match plan.pace {
            Pace::Closed => {
                if self.client.busiest.is_some_and(|busiest| busiest >= BUSY) {
                    marks.push(Mark::ClientBound);
                }
                // A window that ends with its last message is not full to the end, and one of few answers to each
                // connection is mostly its ends.
                let whole = matches!(plan.length, Length::Time(_)) && self.messages as f64 >= asked * ANSWERS;
                let differs = (self.concurrency - asked).abs() > asked * TOLERANCE;
                if self.messages == 0 || (whole && differs) {
                    marks.push(Mark::Contradiction);
                }
            }
            Pace::Rate(rate) => {
                if self.lateness.is_some_and(|lateness| lateness.p99 > LATE) {
                    marks.push(Mark::ClientBound);
                }
                if self.messages_per_second < rate * KEPT {
                    marks.push(Mark::RateNotReached);
                }
            }
        }
        if plan.reconnect.is_none() && self.connecting.open < plan.connections + plan.idle {
            marks.push(Mark::ConnectionsLost);
        }
        marks
    }
}

impl Load {
    fn of(plan: &Plan) -> Load {
        let (pace, rate) = match plan.pace {
            Pace::Closed => ("closed loop", None),
            Pace::Rate(rate) => ("open loop", Some(rate)),
        };
        Load {
            target: plan.target.to_string(),
            pace,
            rate,
            connections: plan.connections,
            idle: plan.idle,
            size: plan.size,
            pipeline: plan.pipeline,
            threads: plan.threads,
            reconnect: plan.reconnect.map(|close| match close {
                Close::Finish => "finish",
                Close::Reset => "reset",
            }),
            sources: plan.sources.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The report as a person reads it.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { load, connecting, latency, client, .. } = self;
        write!(formatter, "{}: {} x {} bytes to {}", load.pace, load.connections, load.size, load.target)?;
        if load.pipeline > 1 {
            write!(formatter, ", {} under way on each", load.pipeline)?;
        }
        if load.idle > 0 {
            write!(formatter, ", {} more idle", load.idle)?;
        }
        if let Some(close) = load.reconnect {
            write!(formatter, ", a connection for each message (ended by {close})")?;
        }
        writeln!(formatter)?;
        let rate = load.rate.map(|rate| format!(" of {rate:.0} asked for")).unwrap_or_default();
        writeln!(
            formatter,
            "  throughput  {:.0} messages/s{rate}, {:.1} MB/s each way, {} in {:.2} s",
            self.messages_per_second,
            self.bytes_per_second / 1e6,
            self.messages,
            self.window
        )?;
        writeln!(formatter, "  latency     {}", Line(latency))?;
        if let Some(service) = &self.service {
            writeln!(formatter, "  from send   {}", Line(service))?;
        }
        writeln!(
            formatter,
            "  connecting  {} open after {:.3} s; {}",
            connecting.open,
            connecting.elapsed,
            Line(&connecting.latency)
        )?;
        if let (Some(cpu), Some(busiest)) = (client.cpu_per_message, client.busiest) {
            writeln!(formatter, "  own CPU     {cpu:.2} µs/message, busiest thread {:.0} %", busiest * 100.0)?;
        }
        write!(formatter, "  failures    {}", self.failures)?;
        for mark in &self.marks {
            write!(formatter, "\n  note        {mark}")?;
        }
        Ok(())
    }
}

/// A latency in one line, in units that fit.
struct Line<'a>(&'a Latency);

impl fmt::Display for Line<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { mean, p50, p90, p99, p999, max, .. } = *self.0;
        let names = ["mean", "P50", "P90", "P99", "P99.9", "max"];
        for (name, value) in names.into_iter().zip([mean, p50, p90, p99, p999, max]) {
            let gap = if name == "mean" { "" } else { "  " };
            write!(formatter, "{gap}{name} {}", crate::microseconds(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    /// The report on one second of a single thread that used `cpu` of it.
    fn second(plan: &Plan, cpu: Duration, lateness: Latencies) -> Report {
        let tally = Tally { opened: 0, closed: 1_000_000_000, cpu: Some(cpu), open: 50, lateness, ..Tally::default() };
        Report::new(plan, [tally], Duration::ZERO)
    }

    fn plan() -> Plan {
        Plan::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1512)))
    }

    #[test]
    fn a_closed_loop_whose_thread_had_no_time_left_is_client_bound() {
        let is_marked = |milliseconds| {
            let report = second(&plan(), Duration::from_millis(milliseconds), Latencies::default());
            report.marks.contains(&Mark::ClientBound)
        };
        assert!(is_marked(960));
        assert!(!is_marked(900));
    }

    #[test]
    fn an_open_loop_that_came_late_itself_is_client_bound_and_one_that_only_looked_for_work_is_not() {
        let plan = Plan { pace: Pace::Rate(1000.0), ..plan() };
        let is_marked = |late: u64| {
            let mut lateness = Latencies::default();
            (0..1000).for_each(|message| lateness.record(if message < late { 50_000_000 } else { 1000 }));
            second(&plan, Duration::from_secs(1), lateness).marks.contains(&Mark::ClientBound)
        };
        assert!(is_marked(20));
        assert!(!is_marked(5));
    }
}
