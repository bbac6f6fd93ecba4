//! The command line.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Parser, ValueEnum};
use parrot_values::{Address, NoInterface, address, count, duration, size};

use super::file::OutputFile;
use super::find::{self, objective};
use super::stream::Form;
use super::target::{Server, server};
use crate::plan::DURATION;
use crate::{Arrivals, Close, Length, Objective, Pace, Plan, ProxyVersion, Ramp, Reconnect, Steps};

/// The part of `--help` after the options.
const AFTER: &str = "\
`parrot-load merge FILE...` adds reports of the same load up, such as those of several hosts (see parrot-load merge \
--help).

";
/// What the exit code says.
pub(super) const EXIT_STATUS: &str = "\
The exit code is 0 if nothing failed, 1 if something failed (see --max-errors) or nothing could be measured, 2 on \
wrong usage, and 130 if interrupted. An interrupted run still reports what it has measured.";

/// Sends messages to an echo server, checks every byte that comes back, and reports how fast the server was.
#[derive(Debug, Parser)]
#[command(name = "parrot-load", version, max_term_width = 100, after_long_help = format!("{AFTER}{EXIT_STATUS}"))]
#[command(args_override_self = true, allow_negative_numbers = true)]
pub(crate) struct Arguments {
    /// The server: PORT on this machine, HOST:PORT or udp:HOST:PORT, where HOST is a name or an address ([::1],
    /// [fe80::1%eth0]), or unix:PATH
    #[arg(value_name = "ADDR", default_value = "1512", value_parser = server)]
    server: Server,
    /// Send datagrams, to a port of UDP
    #[arg(short, long)]
    udp: bool,
    /// Connections that send
    #[arg(short, long, value_name = "N", default_value_t = 50, value_parser = count::<usize>(1))]
    connections: usize,
    /// Measure until N messages have been answered (or datagrams lost), instead of for a duration
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration", value_parser = count::<u64>(1))]
    requests: Option<u64>,
    /// Measure for this long [default: 10s, or 3s for each step of --find-rate]. A step measures longer, up to a minute,
    /// if a percentile of --objective needs more messages
    #[arg(short, long, visible_short_alias = 'z', value_name = "DURATION")]
    #[arg(value_parser = duration, allow_hyphen_values = true)]
    duration: Option<Duration>,
    /// Open connections, and begin to send at this time, so that several hosts begin together (2026-11-30T09:00:00Z). A
    /// host whose connections are not open by then begins late
    #[arg(long, value_name = "TIME", value_parser = time)]
    start_at: Option<SystemTime>,
    /// Send for this long before measuring
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration, allow_hyphen_values = true)]
    warmup: Duration,
    /// Bytes in a message (12, 64KiB, 1MiB), or two sizes if each message has one of its own between them (64..4KiB),
    /// drawn at random but the same in every run. UDP takes from 12 to 65507
    #[arg(short, long, value_name = "SIZE", default_value = "12", value_parser = sizes)]
    size: Span<usize>,
    /// Messages under way at once on a connection
    #[arg(long, value_name = "DEPTH", default_value_t = 1, value_parser = count::<usize>(1))]
    pipeline: usize,
    /// Threads that send
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = count::<usize>(1))]
    threads: usize,
    /// Open loop: send this many messages a second over all connections, each timed from when it was due. A rate that
    /// changes has both ends (1000..50000) and --over
    #[arg(short, long, value_name = "PER_SECOND", value_parser = rates)]
    rate: Option<Span<f64>>,
    /// How long the change of the rate takes, from the start of the window on. By default it is measured for as long
    #[arg(long, value_name = "DURATION", requires = "rate", conflicts_with_all = ["find_rate", "requests"])]
    #[arg(value_parser = duration, allow_hyphen_values = true)]
    over: Option<Duration>,
    /// Change the rate in N equal steps, each held for its share of --over, and report the latencies of each
    #[arg(long, value_name = "N", requires = "over", conflicts_with = "duration", value_parser = count::<u32>(2))]
    steps: Option<u32>,
    /// How messages of an open loop are spread over time: evenly, or at random as independent users send
    #[arg(long, value_enum, value_name = "HOW", default_value = "even")]
    arrivals: Spread,
    /// Search for the highest rate at which the objectives hold, from --rate (or 1000) on
    #[arg(long, requires = "objective")]
    #[arg(conflicts_with_all = ["requests", "json_stream", "csv", "hdr", "interval", "max_errors", "max_loss"])]
    pub(crate) find_rate: bool,
    /// What has to hold: p99=10ms, p99.9=50ms or errors=0.1%; may be repeated. Without one for errors, none is allowed
    #[arg(long, value_name = "OBJECTIVE", requires = "find_rate", value_parser = objective)]
    pub(crate) objective: Vec<Objective>,
    /// Write a chart of latency over rate to this file, as SVG
    #[arg(long, value_name = "FILE", requires = "find_rate")]
    pub(crate) chart: Option<PathBuf>,
    /// Keep connections open, or open one for each message if `false` (see --close)
    #[arg(short, long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    keep_alive: bool,
    /// Close a connection after N messages and open it again for the next one (see --close). What opening takes is part
    /// of that message's time
    #[arg(long, value_name = "N", value_parser = count::<u64>(1))]
    messages_per_connection: Option<u64>,
    /// How to close a connection after its last message: `finish` leaves its port in TIME_WAIT, `reset` does not
    /// [default: finish]
    #[arg(long, value_enum)]
    close: Option<Ending>,
    /// Open this many connections a second, at the start and whenever one is opened again, instead of as many as the
    /// server takes
    #[arg(long, value_name = "PER_SECOND", value_parser = connect_rate)]
    connect_rate: Option<f64>,
    /// Further connections, which stay open and send nothing
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = count::<usize>(0))]
    idle: usize,
    /// Connect from this address; may be repeated, since each address adds its own ports
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    source: Vec<Address>,
    /// How long an answer, or opening a connection, may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration, allow_hyphen_values = true)]
    timeout: Duration,
    /// UDP: how long the answer to a datagram may take before the datagram counts as lost
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration, allow_hyphen_values = true)]
    datagram_timeout: Duration,
    /// Let the system collect small messages before it sends them (leaves TCP_NODELAY off)
    #[arg(long)]
    delay: bool,
    /// Send a PROXY protocol header first on every connection, with the connection's own addresses
    #[arg(long, value_enum, value_name = "VERSION")]
    proxy_protocol: Option<Proxy>,
    /// Read past one line that the server sends first on every connection, and count such lines
    #[arg(long)]
    skip_greeting: bool,
    /// Failures and unsent messages that are allowed before the exit code becomes 1
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = count::<u64>(0))]
    pub(crate) max_errors: u64,
    /// UDP: the share of datagrams, in percent, that may be lost before the exit code becomes 1
    #[arg(long, value_name = "PERCENT", default_value = "100", value_parser = percent)]
    pub(crate) max_loss: f64,
    /// Show throughput, latencies, failures and the load generator's own CPU on the whole terminal. Press q to end
    #[arg(long, conflicts_with_all = ["quiet", "interval", "json_stream", "csv"])]
    pub(crate) live: bool,
    /// Print a line on standard error this often [default: 1s without a terminal, unless --quiet or --json]
    #[arg(short, long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    pub(crate) interval: Option<Duration>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Print a JSON object a line: the start, each interval (--interval, or a second) and the report at the end
    #[arg(long, conflicts_with = "json")]
    json_stream: bool,
    /// Print a line of CSV for each interval (--interval, or a second) and one for the whole window
    #[arg(long, conflicts_with_all = ["json", "json_stream"])]
    csv: bool,
    /// Write the latencies to this file, as an HdrHistogram percentile distribution
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr: Option<PathBuf>,
    /// Write a page with the figures and charts of the run to this file, as HTML
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Spread {
    Even,
    Poisson,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Ending {
    Finish,
    Reset,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Proxy {
    V1,
    V2,
}

impl Arguments {
    /// Checks that the arguments do not contradict each other.
    ///
    /// # Errors
    ///
    /// The contradiction, which is wrong usage.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let contradicts = self.udp && !self.server.may_be_udp();
        if contradicts {
            Err("--udp contradicts the server's tcp: or unix:, so leave out one of the two")
        } else if self.rate.is_some_and(|rates| rates.to.is_some()) != self.over.is_some() {
            Err("a rate that changes needs both its ends and a time, such as --rate 1000..50000 --over 60s")
        } else if !self.keep_alive && self.messages_per_connection.is_some_and(|messages| messages > 1) {
            Err("--keep-alive false opens a connection for each message, so it contradicts --messages-per-connection")
        } else if self.close.is_some() && self.reconnect().is_none() {
            Err("--close is for connections that are opened again, so it needs --messages-per-connection, or \
                 --keep-alive false")
        } else if self.find_rate && self.connect_rate.is_some() && self.reconnect().is_some() {
            Err(
                "a search with --connect-rate would find the highest rate that the connect rate allows, so leave out one \
                 of the two, or keep connections open",
            )
        } else if self.arrivals == Spread::Poisson && self.rate.is_none() && !self.find_rate {
            Err("--arrivals needs --rate, because a closed loop sends when an answer has arrived")
        } else if self.live && !io::stderr().is_terminal() {
            Err("--live needs a terminal on standard error. Without --live, a line a second is printed there")
        } else if self.start_at.is_some_and(|time| time <= SystemTime::now()) {
            Err("the time of --start-at has passed")
        } else {
            Ok(())
        }
    }

    fn pace(&self) -> Pace {
        match (self.rate, self.over, self.steps) {
            (Some(Span { from, to: Some(to) }), Some(over), None) => Pace::Ramp(Ramp { from, to, over }),
            (Some(Span { from, to: Some(to) }), Some(over), Some(count)) => {
                Pace::Steps(Steps { from, to, count, over })
            }
            (Some(Span { from, .. }), ..) => Pace::Rate(from),
            (None, ..) => Pace::Closed,
        }
    }

    fn reconnect(&self) -> Option<Reconnect> {
        let close = match self.close {
            None | Some(Ending::Finish) => Close::Finish,
            Some(Ending::Reset) => Close::Reset,
        };
        let after = self.messages_per_connection.or((!self.keep_alive).then_some(1));
        after.map(|messages| close.after(messages))
    }

    /// Opens the file of `--report`.
    ///
    /// # Errors
    ///
    /// If it cannot be written to.
    pub(super) fn page(&self) -> anyhow::Result<Option<OutputFile>> {
        self.report.as_deref().map(|path| OutputFile::open(path, "the page")).transpose()
    }

    /// How standard output follows the run line by line, if it does.
    pub(super) fn stream(&self) -> Option<Form> {
        match (self.json_stream, self.csv) {
            (true, _) => Some(Form::JsonLines),
            (_, true) => Some(Form::Csv),
            _ => None,
        }
    }

    /// The plan that the arguments describe. Whether it is possible remains to be checked.
    ///
    /// # Errors
    ///
    /// What may be otherwise next time: an interface is not there, or a name cannot be resolved.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        let sources: Vec<SocketAddr> =
            self.source.iter().map(|source| source.at(0)).collect::<Result<_, NoInterface>>()?;
        let targets = self.server.targets(self.udp, &sources)?;
        let duration = self.over.unwrap_or(if self.find_rate { find::DURATION } else { DURATION });
        Ok(Plan {
            targets,
            sources,
            connections: self.connections,
            idle: self.idle,
            size: self.size.from,
            size_to: self.size.to,
            pipeline: self.pipeline,
            threads: self.threads,
            pace: self.pace(),
            arrivals: match self.arrivals {
                Spread::Even => Arrivals::Even,
                Spread::Poisson => Arrivals::Poisson,
            },
            reconnect: self.reconnect(),
            connect_rate: self.connect_rate,
            start_at: self.start_at,
            warmup: self.warmup,
            length: self.requests.map_or(Length::Time(self.duration.unwrap_or(duration)), Length::Messages),
            timeout: self.timeout,
            datagram_timeout: self.datagram_timeout,
            no_delay: !self.delay,
            proxy: self.proxy_protocol.map(|version| match version {
                Proxy::V1 => ProxyVersion::V1,
                Proxy::V2 => ProxyVersion::V2,
            }),
            skip_greeting: self.skip_greeting,
            interval: self.interval,
        })
    }
}

/// A value, or the ends of a range of values.
#[derive(Debug, Clone, Copy)]
struct Span<T> {
    from: T,
    to: Option<T>,
}

impl<T> Span<T> {
    /// Reads a value, or two with `..` between them.
    fn read<E>(text: &str, read: impl Fn(&str) -> Result<T, E>) -> Result<Span<T>, E> {
        let (from, to) = text.split_once("..").map_or((text, None), |(from, to)| (from, Some(to)));
        Ok(Span { from: read(from)?, to: to.map(read).transpose()? })
    }
}

/// Reads the rate of messages, or both ends of one that changes.
fn rates(text: &str) -> Result<Span<f64>, &'static str> {
    Span::read(text, rate)
}

/// Reads a size, or the least and the most.
fn sizes(text: &str) -> Result<Span<usize>, &'static str> {
    Span::read(text, size)
}

/// Reads a rate of messages.
fn rate(text: &str) -> Result<f64, &'static str> {
    positive(text).ok_or("expected messages a second, a number above 0 such as 20000 or 0.5")
}

/// Reads a rate of connections.
fn connect_rate(text: &str) -> Result<f64, &'static str> {
    positive(text).ok_or("expected connections a second, a number above 0 such as 200 or 0.5")
}

/// Reads a number above 0.
fn positive(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)
}

/// Reads a point in time.
fn time(text: &str) -> Result<SystemTime, &'static str> {
    let time = text.parse::<jiff::Timestamp>().and_then(SystemTime::try_from);
    time.map_err(|_| "expected a date, a time and an offset, such as 2026-11-30T09:00:00Z")
}

/// Reads a share in percent.
fn percent(text: &str) -> Result<f64, &'static str> {
    let percent: Option<f64> = text.strip_suffix('%').unwrap_or(text).trim_end().parse().ok();
    percent.filter(|percent| (0.0..=100.0).contains(percent)).ok_or("expected a share from 0 to 100, such as 0.5")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Plan {
        let arguments = std::iter::once("parrot-load").chain(arguments.iter().copied());
        Arguments::try_parse_from(arguments).expect("arguments that parse").plan().expect("a plan")
    }

    #[test]
    fn sizes_and_durations_take_units() {
        let plan = plan(&["--size", "64KiB", "-d", "1m 30s", "--warmup", "0s"]);
        assert_eq!((plan.size, plan.warmup), (65_536, Duration::ZERO));
        assert_eq!(plan.length, Length::Time(Duration::from_secs(90)));
    }

    #[test]
    fn a_range_of_sizes_has_two_ends() {
        let plan = plan(&["--size", "64..4KiB"]);
        assert_eq!((plan.size, plan.size_to), (64, Some(4096)));
        for text in ["64..", "..64", "64..x", "1..2..3", ".."] {
            assert!(sizes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_message_on_a_connection_has_a_short_form() {
        for arguments in [&["-k", "false"][..], &["--messages-per-connection", "1"]] {
            assert_eq!(plan(arguments).reconnect, Some(Close::Finish.after(1)), "{arguments:?}");
        }
        let five = plan(&["--messages-per-connection", "5", "--close", "reset"]);
        assert_eq!(five.reconnect, Some(Close::Reset.after(5)));
    }

    #[test]
    fn a_rate_in_steps_is_measured_for_as_long_as_they_take() {
        let plan = plan(&["--rate", "1000..5000", "--steps", "5", "--over", "10s"]);
        let over = Duration::from_secs(10);
        assert_eq!(plan.pace, Pace::Steps(Steps { from: 1000.0, to: 5000.0, count: 5, over }));
        assert_eq!((plan.length, plan.check()), (Length::Time(over), Ok(())));
    }

    #[test]
    fn the_duration_is_known_as_oha_names_it() {
        assert_eq!(plan(&["-z", "30s"]).length, Length::Time(Duration::from_secs(30)));
    }

    #[test]
    fn udp_is_asked_for_as_iperf3_does_or_by_the_server() {
        for arguments in [&["-u", "7"][..], &["--udp", "udp:7"], &["udp:127.0.0.1:7"], &["udp:7"]] {
            let plan = plan(arguments);
            assert!(plan.is_udp() && plan.targets[0].to_string() == "udp:127.0.0.1:7", "{arguments:?}");
        }
        assert!(!plan(&["7"]).is_udp());
    }

    #[test]
    fn shares_are_read_with_and_without_a_sign() {
        assert_eq!([percent("0"), percent("0.5%"), percent("100 %")], [Ok(0.0), Ok(0.5), Ok(100.0)]);
        for text in ["", "%", "-1", "101", "NaN", "few"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
