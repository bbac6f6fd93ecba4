//! What a run found, with its doubts about itself.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Account;
use crate::failure::Failures;
use crate::latency::{Latencies, Latency};
use crate::plan::{Close, Length, Pace, Plan, WARMUP};
use crate::tally::Tally;
use crate::thousands;

/// Name and version of the report as JSON. The version changes when a field changes its meaning or goes away.
const SCHEMA: &str = "parrot-load/1";

/// Share of the window from which on a thread that used, or waited for, a core counts as having had no time left.
const BUSY: f64 = 0.95;
/// By how much throughput times mean latency may differ from the concurrency before it is called a contradiction.
const TOLERANCE: f64 = 0.1;
/// Share of the asked rate below which an open loop did not keep it.
const KEPT: f64 = 0.99;
/// Lateness of this program, in microseconds, from which on an open loop is its own limit.
const LATE: f64 = 1000.0;

/// What a run found. Times are in microseconds unless they say otherwise.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Name and version of this format.
    pub schema: &'static str,
    /// Version of the load generator.
    pub version: &'static str,
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
    /// In a closed loop from the send, in an open loop from when the send was due, to the last byte's return. With a
    /// connection for each message it includes opening it.
    pub latency: Latency,
    /// Open loop: the same messages timed from when they were really sent.
    pub service: Option<Latency>,
    /// Open loop: how late this program came to messages that were due.
    pub lateness: Option<Latency>,
    /// Open loop: messages never sent, because their connection had failed or the timetable was too fast to be kept.
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
    /// Seconds that a message answered after the window was under way within it, at most.
    #[serde(skip)]
    cut: f64,
    /// Connections, on average, that were being ended after their one message.
    #[serde(skip)]
    between: f64,
    /// Whether the run was stopped before the window was over.
    #[serde(skip)]
    stopped: bool,
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
    /// Whether small messages were sent at once (`TCP_NODELAY`).
    pub no_delay: bool,
    /// Seconds of load before the window.
    pub warmup: f64,
    /// Seconds the window was to last, unless it was to last for a number of messages.
    pub duration: Option<f64>,
    /// Messages that the window was to last for, unless it was to last for a time.
    pub requests: Option<u64>,
    /// Seconds that an answer, or a connection, was given.
    pub timeout: f64,
}

/// How connecting went.
#[derive(Debug, Clone, Serialize)]
pub struct Connecting {
    /// Connections open when connecting was over, of those that were to stay open. With a connection for each message
    /// these are the idle ones.
    pub opened: usize,
    /// How many of them were still open when the window closed.
    pub open: usize,
    /// Time that connecting took, in seconds.
    pub elapsed: f64,
    /// How long each took.
    pub latency: Latency,
    /// Why the first connection that could not be opened could not, in the system's words.
    pub error: Option<String>,
}

/// What the load generator itself used in the window.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Client {
    /// CPU time of its threads, in seconds; absent where the system does not tell.
    pub cpu: Option<f64>,
    /// The same for each message, in microseconds.
    pub cpu_per_message: Option<f64>,
    /// Share of the window in which its busiest thread, the one that used and waited most, used a core.
    pub busiest: Option<f64>,
    /// Share of the window in which that thread was ready to run and something else had its core; Linux alone tells.
    pub waited: Option<f64>,
}

/// What a reader of the figures has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// The load generator was the limit: it had no time left, was kept from running, or (open loop) came late to
    /// messages that were due. The server may be capable of more.
    ClientBound,
    /// Throughput and mean latency belong to another concurrency than was asked for: connections waited in vain.
    Contradiction,
    /// The rate asked for was not reached.
    RateNotReached,
    /// Some connections were gone before the window closed.
    ConnectionsLost,
    /// The run was stopped before the window was over.
    StoppedEarly,
}

impl fmt::Display for Mark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Mark::ClientBound => "client-bound: the load generator was the limit; the server may be capable of more",
            Mark::Contradiction => {
                "contradiction: throughput times mean latency is not the concurrency; some connections waited in vain"
            }
            Mark::RateNotReached => "rate not reached: fewer messages a second were answered than asked for",
            Mark::ConnectionsLost => "connections lost: fewer connections were open at the end than asked for",
            Mark::StoppedEarly => "stopped early: the window is shorter than asked for",
        })
    }
}

impl Report {
    pub(crate) fn new(
        plan: &Plan,
        tallies: impl IntoIterator<Item = Tally>,
        (opened, took): (usize, Duration),
        error: Option<String>,
    ) -> Report {
        let used = Account { cpu: Some(Duration::ZERO), waited: None };
        let mut all = Tally { opened: u64::MAX, closed: Some(0), used, ..Tally::default() };
        let (mut busiest, mut waited) = (None::<f64>, None);
        for tally in tallies {
            all.answered += tally.answered;
            all.unsent += tally.unsent;
            all.open += tally.open;
            all.failures.add(&tally.failures);
            all.latencies.add(&tally.latencies);
            all.service.add(&tally.service);
            all.lateness.add(&tally.lateness);
            all.connecting.add(&tally.connecting);
            all.cut = all.cut.max(tally.cut);
            all.between += tally.between;
            all.stopped |= tally.stopped;
            all.opened = all.opened.min(tally.opened);
            all.closed = all.closed.max(tally.closed);
            let window = tally.window();
            let share = |time: Option<Duration>| time.map(|time| time.as_secs_f64() / window).filter(|_| window > 0.0);
            let (used, kept) = (share(tally.used.cpu), share(tally.used.waited));
            if used.is_some() && busy(used, kept) >= busy(busiest, waited) {
                (busiest, waited) = (used, kept);
            }
            all.used.cpu = all.used.cpu.zip(tally.used.cpu).map(|(all, cpu)| all + cpu);
        }
        let window = all.window();
        let per_second = if window > 0.0 { all.answered as f64 / window } else { 0.0 };
        let open_loop = matches!(plan.pace, Pace::Rate(_));
        let latency = all.latencies.summary();
        let service = open_loop.then(|| all.service.summary());
        let mut report = Report {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            load: Load::of(plan),
            connecting: Connecting {
                opened,
                open: all.open,
                elapsed: took.as_secs_f64(),
                latency: all.connecting.summary(),
                error,
            },
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
                cpu: all.used.cpu.map(|cpu| cpu.as_secs_f64()),
                cpu_per_message: all
                    .used
                    .cpu
                    .filter(|_| all.answered > 0)
                    .map(|cpu| cpu.as_secs_f64() * 1e6 / all.answered as f64),
                busiest,
                waited,
            },
            concurrency: per_second * service.unwrap_or(latency).mean / 1e6,
            marks: Vec::new(),
            latencies: all.latencies,
            cut: Duration::from_nanos(all.cut).as_secs_f64(),
            between: if window > 0.0 { Duration::from_nanos(all.between).as_secs_f64() / window } else { 0.0 },
            stopped: all.stopped,
        };
        report.marks = report.doubts(plan);
        report
    }

    fn doubts(&self, plan: &Plan) -> Vec<Mark> {
        let mut marks = Vec::new();
        let asked = match plan.length {
            Length::Messages(total) => total.min((plan.connections * plan.pipeline) as u64) as f64,
            Length::Time(_) => (plan.connections * plan.pipeline) as f64,
        };
        let lost = plan.kept().saturating_sub(self.connecting.open);
        match plan.pace {
            Pace::Closed => {
                if busy(self.client.busiest, self.client.waited) >= BUSY {
                    marks.push(Mark::ClientBound);
                }
                // Threads that share out a number of messages do not end at the same time.
                let whole = matches!(plan.length, Length::Time(_)) || plan.threads == 1;
                let (least, tolerance) = (self.least(plan, lost).min(asked), TOLERANCE + self.ends());
                let differs = self.concurrency + self.between < least * (1.0 - tolerance)
                    || self.concurrency > asked * (1.0 + tolerance);
                if (self.messages == 0 && least > 0.0) || (whole && differs) {
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
                if self.concurrency > asked * (1.0 + TOLERANCE + self.ends()) {
                    marks.push(Mark::Contradiction);
                }
            }
        }
        if lost > 0 {
            marks.push(Mark::ConnectionsLost);
        }
        if self.stopped {
            marks.push(Mark::StoppedEarly);
        }
        marks
    }

    /// Messages that must have been under way in a closed loop, whatever became of connections that failed: a failure
    /// is told as one, and explains what is missing since.
    fn least(&self, plan: &Plan, lost: usize) -> f64 {
        let remaining = match plan.reconnect {
            // Nobody waited for what was under way at the end: it may have come soon, or never.
            _ if self.stopped => 0,
            None => plan.connections.saturating_sub(lost),
            // A connection that failed is replaced, but not at once.
            Some(_) if self.failures.total() > 0 => 0,
            Some(_) => plan.connections,
        };
        (remaining * plan.pipeline) as f64
    }

    /// The share of the window that its two ends can falsify: of a message that crosses one of them only a part lies
    /// within, and without a warm-up the first ones are sent one after the other, as the last of a number come back. At
    /// either end that is no more than the longest answer took, or was under way. A message that was under way all the
    /// time is none of these: its connection did wait in vain.
    fn ends(&self) -> f64 {
        let longest = (self.service.unwrap_or(self.latency).max / 1e6).max(self.cut);
        if self.window > 0.0 { 2.0 * longest / self.window } else { f64::INFINITY }
    }

    /// A mark in words, with its cause where there are several.
    fn note(&self, mark: Mark) -> String {
        let cause = match (mark, self.lateness, self.client.busiest) {
            (Mark::ClientBound, Some(_), _) => {
                "the load generator came late to messages that were due; the latencies are its own as well as the server's"
            }
            (Mark::ClientBound, None, Some(busiest)) if busiest >= BUSY => {
                "the load generator had no time left; the server may be capable of more"
            }
            (Mark::ClientBound, None, _) => {
                "other programs kept the load generator from running; the server may be capable of more"
            }
            _ => return mark.to_string(),
        };
        format!("client-bound: {cause}")
    }
}

/// Share of the window in which a thread used a core or waited for one.
fn busy(used: Option<f64>, waited: Option<f64>) -> f64 {
    used.unwrap_or(0.0) + waited.unwrap_or(0.0)
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
            no_delay: plan.no_delay,
            warmup: plan.warmup.as_secs_f64(),
            duration: match plan.length {
                Length::Time(time) => Some(time.as_secs_f64()),
                Length::Messages(_) => None,
            },
            requests: match plan.length {
                Length::Time(_) => None,
                Length::Messages(messages) => Some(messages),
            },
            timeout: plan.timeout.as_secs_f64(),
        }
    }
}

/// What was run, as a person reads it: what is as usual goes without saying.
impl fmt::Display for Load {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { pace, target, .. } = self;
        let [connections, size] = [self.connections, self.size].map(|count| thousands(count as f64));
        write!(formatter, "{pace}: {connections} connections x {size} bytes to {target}")?;
        if let Some(close) = self.reconnect {
            let ended = if close == "reset" { "ended by a reset" } else { "ended in the orderly way" };
            write!(formatter, ", a new one for each message, {ended}")?;
        }
        if self.pipeline > 1 {
            write!(formatter, ", {} under way on each", thousands(self.pipeline as f64))?;
        }
        if self.idle > 0 {
            write!(formatter, ", {} more idle", thousands(self.idle as f64))?;
        }
        if self.threads > 1 {
            write!(formatter, ", {} threads", self.threads)?;
        }
        if !self.sources.is_empty() {
            write!(formatter, ", from {}", self.sources.join(" and "))?;
        }
        if self.warmup != WARMUP.as_secs_f64() {
            write!(formatter, ", {} s of warm-up", self.warmup)?;
        }
        if !self.no_delay {
            write!(formatter, ", small messages gathered by the system")?;
        }
        Ok(())
    }
}

/// The report as a person reads it.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { load, connecting, latency, client, .. } = self;
        writeln!(formatter, "{load}")?;
        let few = |rate: f64| if rate < 10.0 { format!("{rate:.2}") } else { thousands(rate) };
        let rate = load.rate.map(|rate| format!(" of {} asked for", few(rate))).unwrap_or_default();
        writeln!(
            formatter,
            "  throughput  {} messages/s{rate}, {:.1} MB/s each way, {} in {:.2} s",
            few(self.messages_per_second),
            self.bytes_per_second / 1e6,
            thousands(self.messages as f64),
            self.window
        )?;
        let connects = if load.reconnect.is_some() { "  (with connecting)" } else { "" };
        writeln!(formatter, "  latency     {}{connects}", Line(latency))?;
        if let Some(service) = &self.service {
            writeln!(formatter, "  from send   {}", Line(service))?;
        }
        if let Some(lateness) = &self.lateness {
            writeln!(formatter, "  own delay   {}", Line(lateness))?;
        }
        write!(formatter, "  connecting  ")?;
        if load.reconnect.is_none() || load.idle > 0 {
            write!(formatter, "{} open after {:.3} s", thousands(connecting.opened as f64), connecting.elapsed)?;
            if connecting.open != connecting.opened {
                write!(formatter, ", {} at the end", thousands(connecting.open as f64))?;
            }
            write!(formatter, "; ")?;
        }
        writeln!(formatter, "{}", Line(&connecting.latency))?;
        if let (Some(cpu), Some(busiest)) = (client.cpu_per_message, client.busiest) {
            write!(formatter, "  own CPU     {cpu:.2} µs/message, busiest thread {:.0} %", busiest * 100.0)?;
            if let Some(waited) = client.waited {
                write!(formatter, ", waiting for a core {:.0} %", waited * 100.0)?;
            }
            writeln!(formatter)?;
        }
        if self.unsent > 0 {
            writeln!(formatter, "  never sent  {}", thousands(self.unsent as f64))?;
        }
        write!(formatter, "  failures    {}", self.failures)?;
        if let Some(error) = &connecting.error {
            write!(formatter, " (connecting: {error})")?;
        }
        for mark in &self.marks {
            write!(formatter, "\n  note        {}", self.note(*mark))?;
        }
        Ok(())
    }
}

/// A latency in one line, in units that fit.
struct Line<'a>(&'a Latency);

impl fmt::Display for Line<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latency { count, mean, p50, p90, p99, p999, max, .. } = *self.0;
        if count == 0 {
            return formatter.write_str("none measured");
        }
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

    /// The report on one second of a single thread that used `cpu` of it and waited for a core for `waited`.
    fn second(plan: &Plan, cpu: u64, waited: u64, counted: Tally) -> Report {
        let account = |milliseconds| Some(Duration::from_millis(milliseconds));
        let used = Account { cpu: account(cpu), waited: account(waited) };
        let tally = Tally { opened: 0, closed: Some(1_000_000_000), open: plan.kept(), used, ..counted };
        Report::new(plan, [tally], (plan.kept(), Duration::ZERO), None)
    }

    /// `count` answers that each took as long.
    fn answers(count: u64, each: Duration) -> Tally {
        let mut latencies = Latencies::default();
        (0..count).for_each(|_| latencies.record(each.as_nanos() as u64));
        Tally { answered: count, latencies, ..Tally::default() }
    }

    fn plan() -> Plan {
        Plan::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1512)))
    }

    #[test]
    fn a_closed_loop_whose_thread_had_no_time_left_is_client_bound() {
        let report = second(&plan(), 960, 0, Tally::default());
        assert!(report.marks.contains(&Mark::ClientBound) && report.to_string().contains("no time left"), "{report}");
        assert!(!second(&plan(), 900, 0, Tally::default()).marks.contains(&Mark::ClientBound));
    }

    #[test]
    fn a_closed_loop_whose_thread_was_kept_from_running_is_client_bound_for_that_reason() {
        let report = second(&plan(), 500, 460, Tally::default());
        assert!(report.marks.contains(&Mark::ClientBound), "{report}");
        assert!(report.to_string().contains("other programs kept"), "{report}");
        assert!(!second(&plan(), 500, 400, Tally::default()).marks.contains(&Mark::ClientBound));
    }

    #[test]
    fn connections_that_were_never_served_are_a_contradiction_however_few_messages_there_were() {
        let plan = Plan { connections: 9000, ..plan() };
        // 4,000 of them were answered ten times each.
        let report = second(&plan, 0, 0, answers(40_000, Duration::from_millis(100)));
        assert!(report.marks.contains(&Mark::Contradiction), "{report}");
    }

    #[test]
    fn a_window_too_short_to_judge_is_not_called_a_contradiction() {
        let plan = Plan { connections: 9000, ..plan() };
        // All of them took 400 ms: two rounds lie in the window, and the halves at its ends are not counted.
        let report = second(&plan, 0, 0, answers(18_000, Duration::from_millis(400)));
        assert!(!report.marks.contains(&Mark::Contradiction), "{report}");
    }

    #[test]
    fn a_stall_that_the_window_s_end_cuts_is_not_called_a_contradiction() {
        // All were answered at once for half of the window, and after it those that were under way then.
        let tally = |cut| Tally { cut, ..answers(25_000, Duration::from_millis(1)) };
        assert!(!second(&plan(), 0, 0, tally(500_000_000)).marks.contains(&Mark::Contradiction));
        assert!(second(&plan(), 0, 0, tally(0)).marks.contains(&Mark::Contradiction));
    }

    #[test]
    fn an_open_loop_with_more_under_way_than_its_connections_hold_is_a_contradiction() {
        let plan = Plan { pace: Pace::Rate(1000.0), ..plan() };
        let report = |each: u64| {
            let tally = answers(1000, Duration::from_millis(each));
            second(&plan, 0, 0, Tally { service: tally.latencies.clone(), ..tally })
        };
        assert!(report(40).marks.is_empty(), "40 under way on 50 connections");
        assert!(report(80).marks.contains(&Mark::Contradiction), "80 on 50");
    }

    #[test]
    fn what_was_not_measured_is_not_shown_as_zero() {
        let report = second(&plan(), 0, 0, Tally::default()).to_string();
        assert!(report.contains("latency     none measured") && !report.contains("P50"), "{report}");
    }

    #[test]
    fn connections_are_counted_when_all_were_open_and_at_the_end() {
        let report = |plan: &Plan, open| {
            let tally = Tally { closed: Some(1_000_000_000), open, ..Tally::default() };
            Report::new(plan, [tally], (plan.kept(), Duration::from_millis(1)), None)
        };
        assert!(report(&plan(), 22).to_string().contains("50 open after 0.001 s, 22 at the end; "));
        assert!(!report(&plan(), 50).to_string().contains("at the end;"));
        let each = Plan { reconnect: Some(Close::Finish), ..plan() };
        assert!(!report(&each, 0).to_string().contains("open after"), "those for one message are not counted");
        assert_eq!(report(&each, 0).marks, report(&plan(), 50).marks);
        let idle = Plan { idle: 10, ..each };
        assert!(report(&idle, 9).to_string().contains("10 open after 0.001 s, 9 at the end; "));
        assert!(report(&idle, 9).marks.contains(&Mark::ConnectionsLost));
    }

    #[test]
    fn what_a_run_that_was_stopped_did_not_wait_for_is_no_contradiction() {
        let report = second(&plan(), 0, 0, Tally { stopped: true, ..answers(25_000, Duration::from_millis(1)) });
        assert!(report.marks == [Mark::StoppedEarly], "{report}");
    }

    #[test]
    fn what_was_run_is_told_as_far_as_it_is_unusual() {
        let load = |plan: &Plan| Load::of(plan).to_string();
        assert_eq!(load(&plan()), "closed loop: 50 connections x 12 bytes to 127.0.0.1:1512");
        let unusual = Plan {
            connections: 1000,
            reconnect: Some(Close::Finish),
            threads: 2,
            sources: vec![Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 2).into()],
            warmup: Duration::from_millis(500),
            no_delay: false,
            ..plan()
        };
        assert_eq!(
            load(&unusual),
            "closed loop: 1,000 connections x 12 bytes to 127.0.0.1:1512, a new one for each message, ended in the \
             orderly way, 2 threads, from 127.0.0.1 and 127.0.0.2, 0.5 s of warm-up, small messages gathered by the system"
        );
        assert!(
            second(&unusual, 0, 0, answers(1000, Duration::from_millis(1))).to_string().contains("(with connecting)")
        );
    }

    #[test]
    fn messages_never_sent_are_told() {
        let unsent = |unsent| second(&plan(), 0, 0, Tally { unsent, ..Tally::default() }).to_string();
        assert!(unsent(7).contains("never sent  7") && !unsent(0).contains("never sent"), "{}", unsent(7));
    }

    #[test]
    fn an_open_loop_that_came_late_itself_is_client_bound_and_one_that_only_looked_for_work_is_not() {
        let plan = Plan { pace: Pace::Rate(1000.0), ..plan() };
        let is_marked = |late: u64| {
            let mut lateness = Latencies::default();
            (0..1000).for_each(|message| lateness.record(if message < late { 50_000_000 } else { 1000 }));
            let report = second(&plan, 1000, 0, Tally { lateness, ..Tally::default() });
            report.marks.contains(&Mark::ClientBound) && report.to_string().contains("came late to messages")
        };
        assert!(is_marked(20));
        assert!(!is_marked(5));
    }
}
