//! The command line.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{anyhow, bail};
use bytesize::ByteSize;
use clap::{Parser, ValueEnum};
use parrot_load::{Close, Length, Pace, Plan};

/// Sends messages to an echo server, checks every byte that comes back, and reports how fast the server was.
///
/// Exit code: 0 if nothing failed, 1 if something failed (see --max-errors) or nothing could be measured, 2 on wrong
/// usage, 130 if interrupted. An interrupted run still reports what it has measured.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, args_override_self = true)]
pub(crate) struct Arguments {
    /// The server: a port on this machine, or HOST:PORT, where HOST is an address ([::1] for IPv6) or a name
    #[arg(value_name = "ADDR", default_value = "1512")]
    address: String,
    /// Connections that send
    #[arg(short, long, value_name = "N", default_value_t = 50)]
    connections: usize,
    /// Measure until N messages have been answered, instead of for a duration
    #[arg(short = 'n', long, value_name = "N", conflicts_with = "duration")]
    requests: Option<u64>,
    /// Measure for this long
    #[arg(short, long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// Send for this long before measuring
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    warmup: Duration,
    /// Bytes in a message (12, 64KiB, 1MiB)
    #[arg(short, long, value_name = "SIZE", default_value = "12", value_parser = size)]
    size: usize,
    /// Messages under way at once on a connection
    #[arg(long, value_name = "DEPTH", default_value_t = 1)]
    pipeline: usize,
    /// Threads that send
    #[arg(short, long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Open loop: send this many messages a second over all connections, each timed from when it was due
    #[arg(short, long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Keep connections open, or open one for each message if `false` (see --close)
    #[arg(short, long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    keep_alive: bool,
    /// How to close a connection after its one message: `finish` leaves its port in TIME_WAIT, `reset` does not
    #[arg(long, value_enum, default_value = "finish")]
    close: Ending,
    /// Further connections, which stay open and send nothing
    #[arg(long, value_name = "N", default_value_t = 0)]
    idle: usize,
    /// Connect from this address; may be repeated, since each address adds its own ports
    #[arg(long, value_name = "ADDRESS")]
    source: Vec<IpAddr>,
    /// How long an answer, or opening a connection, may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// Let the system collect small messages before it sends them (leaves TCP_NODELAY off)
    #[arg(long)]
    delay: bool,
    /// Failures and unsent messages that are allowed before the exit code becomes 1
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) max_errors: u64,
    /// Print a line on standard error this often [default: 1s without a terminal, unless --quiet or --json]
    #[arg(short, long, value_name = "DURATION", value_parser = duration)]
    pub(crate) interval: Option<Duration>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the latencies to this file, as an HdrHistogram percentile distribution
    #[arg(long, value_name = "FILE")]
    pub(crate) hdr: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Ending {
    Finish,
    Reset,
}

impl Arguments {
    /// The plan that the arguments describe, if it is possible.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        let close = match self.close {
            Ending::Finish => Close::Finish,
            Ending::Reset => Close::Reset,
        };
        let plan = Plan {
            connections: self.connections,
            idle: self.idle,
            size: self.size,
            pipeline: self.pipeline,
            threads: self.threads,
            pace: self.rate.map_or(Pace::Closed, Pace::Rate),
            reconnect: (!self.keep_alive).then_some(close),
            warmup: self.warmup,
            length: self.requests.map_or(Length::Time(self.duration), Length::Messages),
            timeout: self.timeout,
            sources: self.source.iter().map(|source| SocketAddr::new(*source, 0)).collect(),
            no_delay: !self.delay,
            interval: self.interval,
            ..Plan::new(address(&self.address)?)
        };
        plan.check()?;
        Ok(plan)
    }
}

/// The address of the server. A port alone stands for the literal 127.0.0.1, because `localhost` may resolve to ::1
/// first (node#40537). Of a name's addresses the first is taken.
fn address(text: &str) -> anyhow::Result<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    let mut addresses = text.to_socket_addrs().map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => {
            anyhow!("`{text}` is not an address ({error}): give a port or HOST:PORT, as in 1512 or [::1]:1512")
        }
        _ => anyhow!("the name in `{text}` could not be resolved: {error}"),
    })?;
    let Some(address) = addresses.next() else { bail!("`{text}` has no address") };
    Ok(address)
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = text.parse::<jiff::SignedDuration>().map_err(|error| format!("{error} (as in 10s or 500ms)"))?;
    Duration::try_from(duration).map_err(|_| "a duration cannot be negative".into())
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.parse::<ByteSize>().map_err(|error| format!("{error} (as in 12, 64KiB or 1MiB)"))?;
    usize::try_from(size.as_u64()).map_err(|_| format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Plan {
        let arguments = std::iter::once("parrot-load").chain(arguments.iter().copied());
        Arguments::try_parse_from(arguments).expect("arguments that parse").plan().expect("a plan")
    }

    #[test]
    fn a_port_alone_means_this_machine() {
        assert_eq!(plan(&["1599"]).targets, [SocketAddr::from(([127, 0, 0, 1], 1599))]);
        assert_eq!(plan(&["[::1]:7"]).targets[0].to_string(), "[::1]:7");
    }

    #[test]
    fn unresolved_names_and_malformed_addresses_differ() {
        let refused = |text| address(text).expect_err("no address").to_string();
        assert!(refused("nowhere").contains("HOST:PORT") && refused("localhost:port").contains("HOST:PORT"));
        // A label has at most 63 bytes, so no server is asked for this one.
        assert!(refused(&format!("{}:1", "a".repeat(64))).contains("could not be resolved"));
    }

    #[test]
    fn sizes_and_durations_take_units() {
        let plan = plan(&["--size", "64KiB", "-d", "1m 30s", "--warmup", "0s"]);
        assert_eq!((plan.size, plan.warmup), (65_536, Duration::ZERO));
        assert_eq!(plan.length, Length::Time(Duration::from_secs(90)));
        assert!(size("12 parrots").is_err() && size("").is_err());
    }

    #[test]
    fn impossible_plans_are_refused() {
        for wrong in [&["-c", "0"][..], &["-c", "5", "-t", "8"], &["--rate", "0"], &["--interval", "0s"], &["nowhere"]]
        {
            let arguments =
                Arguments::try_parse_from([&["parrot-load"], wrong].concat()).expect("arguments that parse");
            assert!(arguments.plan().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
