//! What a run measured, and what makes that doubtful.

pub(crate) mod marks;
mod merge;
mod steps;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

pub use self::marks::Mark;
pub use self::merge::Unmergeable;
pub use self::steps::RateStep;
use crate::advice;
use crate::change::Change;
use crate::clock::Account;
use crate::dial;
use crate::failure::Failures;
use crate::latency::{Latencies, Latency};
use crate::plan::{Arrivals, Close, Length, Pace, Plan};
use crate::proxy::ProxyVersion;
use crate::ramp::Ramp;
use crate::sizes::Sizes;
use crate::steps::Steps;
use crate::tally::{self, Tally};
use crate::target::Target;
use crate::targets::Targets;

/// Name and version of the JSON format. The version changes when a field changes its meaning or is removed.
pub(crate) const SCHEMA: &str = "parrot-load/2";

/// What a run measured. Latencies are in microseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Name and version of this format.
    pub schema: Cow<'static, str>,
    /// Version of the load generator.
    pub version: Cow<'static, str>,
    /// How many reports this one adds up, 1 for that of a run.
    pub reports: u64,
    /// What was run. If several reports were added up, it is what each of them ran.
    pub load: Load,
    /// How connecting went.
    pub connecting: Connecting,
    /// When the measured window opened, in seconds since 1970 by the system's clock.
    pub opened_at: f64,
    /// Length of the measured window, in seconds.
    pub window: f64,
    /// Answers that arrived within the window.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Answers a second.
    pub messages_per_second: f64,
    /// Bytes a second, in each direction.
    pub bytes_per_second: f64,
    /// From the send (closed loop) or from when the send was due (open loop) until the last byte was back. With
    /// connections that are opened again and again, the first message on each includes opening it.
    pub latency: Latency,
    /// Open loop: the same messages timed from when they were really sent.
    pub service: Option<Latency>,
    /// Open loop: how late the load generator was to send messages that were due.
    pub lateness: Option<Latency>,
    /// Open loop: messages never sent, because their connection had failed or the timetable was too fast to be kept.
    pub unsent: u64,
    /// What was measured at each rate, if it changed in steps.
    pub steps: Vec<RateStep>,
    /// What became of the datagrams, if the load consisted of them.
    pub datagrams: Option<Datagrams>,
    /// Failures of the whole run, by kind.
    pub failures: Failures,
    /// CPU time of the load generator itself.
    pub client: Client,
    /// Messages under way on average, from throughput and mean latency (Little's law). `None` if none came back.
    pub concurrency: Option<f64>,
    /// Reasons to doubt the figures.
    pub marks: Vec<Mark>,
    /// The latencies behind the figures, to add them up, and for other percentiles and charts.
    pub histograms: Histograms,
    /// The longest time, in seconds, that a message answered after the window was under way within it.
    #[serde(skip)]
    cut: f64,
    /// Messages, on average, that were not under way: not begun yet, lost, or waiting for a connection to close.
    #[serde(skip)]
    between: f64,
    /// Whether the run was stopped before the window ended.
    #[serde(skip)]
    stopped: bool,
}

/// The latencies behind the figures of a report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Histograms {
    /// Those of [`Report::latency`].
    pub latency: Latencies,
    /// Open loop: those of [`Report::service`].
    pub service: Option<Latencies>,
    /// Open loop: those of [`Report::lateness`].
    pub lateness: Option<Latencies>,
    /// Those of [`Connecting::latency`].
    pub connecting: Latencies,
}

/// The plan that was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The address of the server, the one that took connections if there were several. It begins with `udp:` or `unix:`
    /// if it is not one of TCP.
    pub target: String,
    /// `tcp`, `udp` or `unix`.
    pub protocol: Cow<'static, str>,
    /// `closed loop` or `open loop`.
    pub pace: Cow<'static, str>,
    /// Messages a second asked for, in an open loop. If the rate changed, it is that at the start of the window.
    pub rate: Option<f64>,
    /// Messages a second at the end, if the rate changed.
    pub rate_to: Option<f64>,
    /// Seconds that the change took.
    pub over: Option<f64>,
    /// In how many steps it went, if it did not go evenly.
    pub steps: Option<u32>,
    /// Open loop: how messages were spread over time, `even` or `poisson`.
    pub arrivals: Option<Cow<'static, str>>,
    /// Connections that sent. With UDP these were sockets.
    pub connections: usize,
    /// Connections that only stayed open.
    pub idle: usize,
    /// Bytes in a message, the least if messages had different sizes.
    pub size: usize,
    /// The most bytes in a message, if messages had different sizes, each as likely as any other.
    pub size_to: Option<usize>,
    /// Messages under way at once on a connection.
    pub pipeline: usize,
    /// Threads that sent.
    pub threads: usize,
    /// If connections were closed and opened again, how they were closed: `finish` or `reset`.
    pub reconnect: Option<Cow<'static, str>>,
    /// After how many messages that happened.
    pub messages_per_connection: Option<u64>,
    /// Connections a second that were opened at most.
    pub connect_rate: Option<f64>,
    /// Local addresses that the connections came from.
    pub sources: Vec<String>,
    /// Whether small messages were sent at once over TCP (`TCP_NODELAY`).
    pub no_delay: bool,
    /// The version of the PROXY header that was sent first on every connection.
    pub proxy: Option<u8>,
    /// Whether a line of the server was read first on every connection.
    pub skip_greeting: bool,
    /// Seconds of warm-up before the window.
    pub warmup: f64,
    /// Seconds that the window was to last, unless it was for a number of messages.
    pub duration: Option<f64>,
    /// Messages that the window was for, unless it was to last for a time.
    pub requests: Option<u64>,
    /// Seconds that an answer, or opening a connection, was allowed to take. With UDP it is the time after which a
    /// datagram counted as lost.
    pub timeout: f64,
}

/// What became of the datagrams of a load over UDP. Answers with wrong bytes are [`Failures`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Datagrams {
    /// Datagrams that were sent in the window (closed loop) or due in it (open loop).
    pub sent: u64,
    /// Those of them that no answer came to within the timeout.
    pub lost: u64,
    /// The same in percent, 0 if none was sent.
    pub lost_percent: f64,
    /// Answers that came after the timeout. Their datagrams are lost nevertheless.
    pub late: u64,
    /// Further answers to datagrams that had one.
    pub duplicates: u64,
    /// Answers that came after the answer to a later datagram of their socket.
    pub reordered: u64,
    /// Answers that were lost because the load generator's sockets had no room for them, in the whole run. Only Linux
    /// counts them.
    pub overflowed: Option<u64>,
}

/// How connecting went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connecting {
    /// Connections that were open when connecting ended, of those that were to stay open. If connections
    /// were closed and opened again, these are the idle ones.
    pub opened: usize,
    /// How many of them were still open when the window closed.
    pub open: usize,
    /// Seconds that connecting took.
    pub elapsed: f64,
    /// How long each connection took to open. With UDP, how long the first answer took.
    pub latency: Latency,
    /// Greetings that were skipped, one for each connection that was opened.
    pub greetings: u64,
    /// The system's error for the first connection that could not be opened.
    pub error: Option<String>,
    /// What to do about that error, if it shows that the server did not cause it.
    pub advice: Option<String>,
}

/// CPU time of the load generator itself in the window.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Client {
    /// CPU time of its threads, in seconds, or `None` where the system does not report it.
    pub cpu: Option<f64>,
    /// CPU time per message, in microseconds.
    pub cpu_per_message: Option<f64>,
    /// Share of the window in which the busiest thread, the one that used and waited for a core most, used it.
    pub busiest: Option<f64>,
    /// Share of the window in which that thread waited because something else had its core, which only Linux reports.
    pub waited: Option<f64>,
}

impl Report {
    pub(crate) fn new(
        plan: &Plan,
        tallies: impl IntoIterator<Item = Tally>,
        (opened, took): (usize, Duration),
        (started_at, targets): (SystemTime, &Targets<'_>),
    ) -> Report {
        let used = Account { cpu: Some(Duration::ZERO), waited: None };
        let mut all = Tally { opened: u64::MAX, closed: Some(0), used, ..Tally::default() };
        let (mut busiest, mut waited) = (None::<f64>, None);
        for tally in tallies {
            all.answered += tally.answered;
            all.bytes += tally.bytes;
            all.steps.resize_with(tally.steps.len(), tally::Step::default);
            all.steps.iter_mut().zip(&tally.steps).for_each(|(all, step)| all.add(step));
            all.unsent += tally.unsent;
            all.open += tally.open;
            all.failures.add(&tally.failures);
            all.latencies.add(&tally.latencies);
            all.service.add(&tally.service);
            all.lateness.add(&tally.lateness);
            all.connecting.add(&tally.connecting);
            all.greetings += tally.greetings;
            all.datagrams.add(&tally.datagrams);
            all.cut = all.cut.max(tally.cut);
            all.between += tally.between;
            all.stopped |= tally.stopped;
            all.opened = all.opened.min(tally.opened);
            all.closed = all.closed.max(tally.closed);
            let window = tally.window();
            let share = |time: Option<Duration>| time.map(|time| time.as_secs_f64() / window).filter(|_| window > 0.0);
            let (used, kept) = (share(tally.used.cpu), share(tally.used.waited));
            if used.is_some() && marks::busy(used, kept) >= marks::busy(busiest, waited) {
                (busiest, waited) = (used, kept);
            }
            all.used.cpu = all.used.cpu.zip(tally.used.cpu).map(|(all, cpu)| all + cpu);
        }
        let window = all.window();
        let per_second = if window > 0.0 { all.answered as f64 / window } else { 0.0 };
        let bytes = Sizes::of(plan).fixed().map_or(all.bytes, |size| all.answered * size as u64);
        let open_loop = plan.pace != Pace::Closed;
        let latency = all.latencies.summary();
        let target = targets.next().1;
        let service = open_loop.then(|| all.service.summary());
        let mut report = Report {
            schema: Cow::Borrowed(SCHEMA),
            version: Cow::Borrowed(env!("CARGO_PKG_VERSION")),
            reports: 1,
            load: Load::of(plan, target),
            connecting: Connecting {
                opened,
                open: all.open,
                elapsed: took.as_secs_f64(),
                latency: all.connecting.summary(),
                greetings: all.greetings,
                error: targets.refusal().map(ToString::to_string),
                advice: targets.refusal().and_then(|error| advice::advice(plan, target, error)),
            },
            opened_at: opened_at(started_at, all.opened),
            window,
            messages: all.answered,
            bytes,
            messages_per_second: per_second,
            bytes_per_second: if window > 0.0 { bytes as f64 / window } else { 0.0 },
            latency,
            service,
            lateness: open_loop.then(|| all.lateness.summary()),
            unsent: all.unsent,
            steps: plan.steps().map_or(Vec::new(), |steps| RateStep::all(steps, window, all.steps)),
            datagrams: plan.is_udp().then(|| Datagrams::of(&all.datagrams)),
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
            concurrency: service.unwrap_or(latency).mean.map(|mean| per_second * mean / 1e6),
            marks: Vec::new(),
            histograms: Histograms {
                latency: all.latencies,
                service: open_loop.then_some(all.service),
                lateness: open_loop.then_some(all.lateness),
                connecting: all.connecting,
            },
            cut: Duration::from_nanos(all.cut).as_secs_f64(),
            between: if window > 0.0 { Duration::from_nanos(all.between).as_secs_f64() / window } else { 0.0 },
            stopped: all.stopped,
        };
        report.marks = report.doubts(plan);
        report
    }
}

/// Seconds from 1970 to `nanoseconds` after `started`.
fn opened_at(started: SystemTime, nanoseconds: u64) -> f64 {
    let opened = started.checked_add(Duration::from_nanos(nanoseconds)).unwrap_or(started);
    opened.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Load {
    /// Messages a second that were asked for on average over a window of so many seconds, in an open loop.
    pub(crate) fn asked(&self, window: f64) -> Option<f64> {
        let (Some(from), Some(to), Some(over)) = (self.rate, self.rate_to, self.over) else { return self.rate };
        let over = Duration::try_from_secs_f64(over).unwrap_or(Duration::MAX);
        let change = match self.steps {
            Some(count @ 2..) => Change::Steps(Steps { from, to, count, over }),
            // A file may say that there is one step, or none.
            _ => Change::Ramp(Ramp { from, to, over }),
        };
        // A window closes a little late. Nothing is due after its end.
        Some(change.mean(self.duration.map_or(window, |planned| window.min(planned))))
    }

    pub(crate) fn of(plan: &Plan, target: &Target) -> Load {
        let (pace, rate) = match plan.pace {
            Pace::Closed => ("closed loop", None),
            Pace::Rate(rate) | Pace::Ramp(Ramp { from: rate, .. }) | Pace::Steps(Steps { from: rate, .. }) => {
                ("open loop", Some(rate))
            }
        };
        let change = Change::of(plan.pace);
        Load {
            target: target.to_string(),
            protocol: Cow::Borrowed(target.protocol()),
            pace: Cow::Borrowed(pace),
            rate,
            rate_to: change.map(Change::to),
            over: change.map(|change| change.over().as_secs_f64()),
            steps: plan.steps().map(|steps| steps.count),
            arrivals: rate.map(|_| match plan.arrivals {
                Arrivals::Even => Cow::Borrowed("even"),
                Arrivals::Poisson => Cow::Borrowed("poisson"),
            }),
            connections: plan.connections,
            idle: plan.idle,
            size: plan.size,
            size_to: plan.size_to.filter(|most| *most > plan.size),
            pipeline: plan.pipeline,
            threads: plan.threads,
            reconnect: plan.reconnect.map(|reconnect| match reconnect.close {
                Close::Finish => Cow::Borrowed("finish"),
                Close::Reset => Cow::Borrowed("reset"),
            }),
            messages_per_connection: plan.reconnect.map(|reconnect| reconnect.after),
            connect_rate: plan.connect_rate,
            sources: plan.sources.iter().map(dial::host).collect(),
            no_delay: plan.no_delay,
            proxy: plan.proxy.map(|version| match version {
                ProxyVersion::V1 => 1,
                ProxyVersion::V2 => 2,
            }),
            skip_greeting: plan.skip_greeting,
            warmup: plan.warmup.as_secs_f64(),
            duration: match plan.length {
                Length::Time(time) => Some(time.as_secs_f64()),
                Length::Messages(_) => None,
            },
            requests: match plan.length {
                Length::Time(_) => None,
                Length::Messages(messages) => Some(messages),
            },
            timeout: if plan.is_udp() { plan.datagram_timeout } else { plan.timeout }.as_secs_f64(),
        }
    }
}

impl Datagrams {
    fn of(counts: &tally::Datagrams) -> Datagrams {
        let tally::Datagrams { sent, lost, late, duplicates, reordered, overflowed } = *counts;
        let lost_percent = if sent > 0 { 100.0 * lost as f64 / sent as f64 } else { 0.0 };
        Datagrams { sent, lost, lost_percent, late, duplicates, reordered, overflowed }
    }
}
