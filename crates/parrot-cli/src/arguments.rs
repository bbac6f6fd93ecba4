//! The command line: options, their values and units, and the help.

use std::env;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};
use parrot_log::{Format, MAX_PAYLOAD};
use parrot_values::{Address, duration, size};

/// The environment variable that names the port.
const PORT: &str = "PARROT_PORT";

/// The width of the help, unless the terminal is narrower.
const WIDTH: usize = 100;

/// The part of `--help` after the options.
const AFTER_HELP: &str = "\
Parrot answers anyone who can connect, and logs what they send. With --bind 127.0.0.1 --bind ::1 only this machine can \
connect. With --log-payload 0 the log shows no byte of a message, and with --log off there is no log.

Replies that a peer does not read stay in memory, up to --max-buffered in all. When that is used up, other peers wait. \
--idle-timeout disconnects peers that never read.

Sockets that a service manager passes as sd_listen_fds(3) says replace the default addresses. --bind and --port, if \
they are on the command line, add to them.

Sizes are written as 64KiB, 256MiB or a number of bytes, durations as 500ms, 5s or 1m 30s.

SIGINT and SIGTERM end each connection once its bytes have been sent back, and then parrot. A second signal ends parrot \
at once (timeout(1) sends two, so use its --foreground). SIGUSR1 prints statistics, and so does Ctrl-T where the \
terminal has it. SIGHUP reopens the log file. It never ends parrot, so parrot outlives its terminal.

The exit code is 0 after SIGINT or SIGTERM, 1 on failure, 2 on wrong usage, and 128 plus the signal's number after a \
second signal.";

/// A TCP echo server that sends back every byte it receives.
#[derive(Debug, Parser)]
#[command(name = "parrot", version, max_term_width = WIDTH, after_help = AFTER_HELP, args_override_self = true)]
pub(crate) struct Arguments {
    /// TCP port, 0 for any free one
    #[arg(short, long, default_value = "1512", env = PORT, value_parser = port, allow_negative_numbers = true)]
    pub port: u16,

    /// Whether the command line has --port.
    #[arg(skip)]
    pub port_given: bool,

    /// Which value of PARROT_PORT was ignored, and why.
    #[arg(skip)]
    pub port_ignored: Option<String>,

    /// IP address to listen on, such as ::1 or fe80::1%eth0, may be repeated [default: 0.0.0.0 and ::]
    #[arg(short, long, value_name = "ADDR", value_parser = bind_address)]
    pub bind: Vec<Address>,

    /// Connections that may wait to be accepted [default: the system's limit]
    #[arg(long, value_name = "N", value_parser = backlog, allow_negative_numbers = true)]
    pub backlog: Option<NonZeroU32>,

    /// Close further connections beyond this many [default: no limit]
    #[arg(long, value_name = "N", value_parser = max_connections, allow_negative_numbers = true)]
    pub max_connections: Option<NonZeroUsize>,

    /// Memory for replies that peers have yet to read, at least 128KiB [default: 256MiB, but at most a quarter of what a
    /// cgroup, RLIMIT_AS or RLIMIT_DATA allows]
    #[arg(long, value_name = "SIZE", value_parser = size, allow_negative_numbers = true)]
    pub max_buffered: Option<usize>,

    /// Ask a peer whether it is still there after this long without a byte (TCP keepalive), or off. A peer that does not
    /// reply to three probes is gone
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = keepalive, allow_hyphen_values = true)]
    pub keepalive: Keepalive,

    /// Close a connection after this long without a byte in or out [default: never]
    #[arg(long, value_name = "TIME", value_parser = idle_timeout, allow_hyphen_values = true)]
    pub idle_timeout: Option<Duration>,

    /// How long to wait for connections to end after SIGINT or SIGTERM
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, allow_hyphen_values = true)]
    pub drain_timeout: Duration,

    /// Poll this long after the last event, for lower latency at the cost of a whole core
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true)]
    pub busy_poll: Option<Duration>,

    /// Format of the log, which has a line for each message
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Clf)]
    pub log: LogFormat,

    /// Append the log to this file [default: stdout]
    #[arg(long, value_name = "PATH")]
    pub log_file: Option<PathBuf>,

    /// Bytes of a message to show in its log line, at most 32KiB
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = log_payload, allow_negative_numbers = true)]
    pub log_payload: usize,

    /// Once it listens, write the addresses to this file as JSON, and remove it at the end
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,

    /// Print more on stderr (RUST_LOG, if set, overrides -v and -q)
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Print only warnings and errors on stderr, with -qq only errors
    #[arg(short, long, action = ArgAction::Count)]
    pub quiet: u8,
}

impl Arguments {
    /// Parses the command line and the environment. Ends the program on wrong usage and after help.
    pub(crate) fn read() -> Arguments {
        let mut command = Arguments::command();
        if env::var("COLUMNS").is_ok_and(|columns| columns == "0") {
            command = command.term_width(WIDTH); // the terminal does not know its width
        }
        let ignored = env::var(PORT).ok().and_then(|set| {
            let reason = set_by_platform(&set)?;
            Some(format!("{PORT}={set:?} is ignored, because {reason}"))
        });
        if ignored.is_some() {
            command = command.mut_arg("port", |port| port.env(None::<&str>));
        }
        let matches = command.get_matches();
        let mut arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        arguments.port_given = matches.value_source("port") == Some(ValueSource::CommandLine);
        arguments.port_ignored = ignored.filter(|_| matches.value_source("port") == Some(ValueSource::DefaultValue));
        arguments.checked().unwrap_or_else(|error| error.exit())
    }

    /// Refuses options that contradict each other. An address beside the wildcard of its family would find its port taken,
    /// and `--log off` needs no file. `-` is refused as a file because it means stdout to many programs.
    pub(crate) fn checked(self) -> Result<Arguments, clap::Error> {
        for all in self.bind.iter().map(Address::ip).filter(IpAddr::is_unspecified) {
            let same_family = |other: &&Address| other.ip() != all && other.ip().is_ipv4() == all.is_ipv4();
            if let Some(one) = self.bind.iter().find(same_family) {
                let advice = format!("--bind {all} listens on {one} too, so leave out one of the two");
                return Err(Arguments::command().error(ErrorKind::ArgumentConflict, advice));
            }
        }
        if self.log_file.as_deref() == Some(Path::new("-")) {
            let advice = "leave out --log-file to log to stdout, or write ./- for a file of that name";
            return Err(Arguments::command().error(ErrorKind::InvalidValue, advice));
        }
        if self.ready_file.as_deref() == Some(Path::new("-")) {
            let advice = "write ./- for a --ready-file of that name; the addresses are on stderr in any case";
            return Err(Arguments::command().error(ErrorKind::InvalidValue, advice));
        }
        if self.log == LogFormat::Off && self.log_file.is_some() {
            let advice = "--log off writes no log, so leave out one of --log off and --log-file";
            return Err(Arguments::command().error(ErrorKind::ArgumentConflict, advice));
        }
        Ok(self)
    }
}

/// The value of `--keepalive`: the time before the first probe, if there are probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalive(pub Option<Duration>);

/// The values of `--log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Clf,
    Json,
    Off,
}

impl LogFormat {
    /// The format of the log, if there is one.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            LogFormat::Clf => Some(Format::Clf),
            LogFormat::Json => Some(Format::Json),
            LogFormat::Off => None,
        }
    }
}

/// The reason why this value of PARROT_PORT is not what a user wanted, if it is not.
///
/// Beside a service or a link named `parrot`, Kubernetes and Docker set PARROT_PORT to its address, such as
/// `tcp://10.96.0.12:1512` (pkg/kubelet/envvars/envvars.go, daemon/links/links.go). The protocol can also be `udp` or
/// `sctp`, and an old Kubernetes writes IPv6 without brackets. The address is never a name. Compose sets a variable to
/// nothing if the one that it copies is not set. Any other value was written by a user, and a mistake in it is wrong usage.
fn set_by_platform(port: &str) -> Option<&'static str> {
    if port.trim().is_empty() {
        return Some("it is empty");
    }
    let address = ["tcp://", "udp://", "sctp://"].iter().find_map(|protocol| port.strip_prefix(protocol))?;
    let (ip, number) = address.rsplit_once(':')?;
    let ip = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    let is_address = ip.parse::<IpAddr>().is_ok() && number.parse::<u16>().is_ok();
    is_address.then_some("it is the address of a service named parrot, as Kubernetes and Docker set it")
}

fn port(text: &str) -> Result<u16, &'static str> {
    // A file with the environment may leave the end of its line behind the number.
    text.trim()
        .parse()
        .map_err(|_| "expected a number from 0 to 65535, here or in the environment variable PARROT_PORT")
}

fn backlog(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "expected a number from 1 up; without this option as many wait as the system allows")
}

fn max_connections(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "expected a number from 1 up; without this option only the descriptors limit them")
}

fn bind_address(text: &str) -> Result<Address, String> {
    let address = parrot_values::address(text)?;
    // The IPv6 sockets accept IPv6 connections only.
    if let IpAddr::V6(v6) = address.ip()
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        return Err(format!("this is an IPv4 address, so write {v4}"));
    }
    Ok(address)
}

fn log_payload(text: &str) -> Result<usize, String> {
    match size(text)? {
        limit if limit > MAX_PAYLOAD => Err(format!("a line shows {MAX_PAYLOAD} bytes at most")),
        limit => Ok(limit),
    }
}

fn idle_timeout(text: &str) -> Result<Duration, &'static str> {
    match duration(text)? {
        Duration::ZERO => Err("expected a duration above zero; without this option there is no idle timeout"),
        idle_timeout => Ok(idle_timeout),
    }
}

/// The range is what Linux accepts: a second to `MAX_TCP_KEEPIDLE` (include/net/tcp.h).
fn keepalive(text: &str) -> Result<Keepalive, &'static str> {
    const RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(32_767);
    if text == "off" {
        return Ok(Keepalive(None));
    }
    match duration(text) {
        Ok(time) if RANGE.contains(&time) => Ok(Keepalive(Some(time))),
        _ => Err("expected a time from 1s to 9h, such as 5m or 2h, or off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["parrot"].iter().chain(arguments)).and_then(Arguments::checked)
    }

    #[test]
    fn the_grammar_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn defaults_are_what_the_help_says() {
        let defaults = parse(&["--port", "1512"]).unwrap();
        assert!(defaults.bind.is_empty());
        assert_eq!(defaults.max_buffered, None);
        assert_eq!(defaults.keepalive, Keepalive(Some(Duration::from_secs(300))));
        assert_eq!(defaults.drain_timeout, Duration::from_secs(5));
        assert_eq!(defaults.log, LogFormat::Clf);
        assert_eq!(defaults.log_payload, 256);
        assert_eq!((defaults.backlog, defaults.max_connections, defaults.idle_timeout), (None, None, None));
        assert!(Arguments::command().render_help().to_string().contains("[default: 1512]"));
    }

    #[test]
    fn keepalive_is_a_time_or_off() {
        let keepalive = |text: &str| parse(&["--keepalive", text]).map(|arguments| arguments.keepalive.0);
        assert_eq!(keepalive("2h").unwrap(), Some(Duration::from_secs(7200)));
        assert_eq!(keepalive("1s").unwrap(), Some(Duration::from_secs(1)));
        assert_eq!(keepalive("off").unwrap(), None);
        for wrong in ["0", "0s", "999ms", "10h", "-1s", "on", "never", "", "5"] {
            assert!(keepalive(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_may_be_repeated_and_mixed() {
        let both = parse(&["-b", "127.0.0.1", "--bind", "::1"]).unwrap();
        assert_eq!(both.bind, ["127.0.0.1", "[::1]"].map(|text| parrot_values::address(text).unwrap()));
    }

    #[test]
    fn each_family_may_have_its_wildcard() {
        let both = parse(&["-b", "0.0.0.0", "-b", "::", "-b", "::"]).unwrap();
        assert_eq!(both.bind.len(), 3);
        assert_eq!(parse(&["-b", "0.0.0.0", "-b", "::1"]).unwrap().bind.len(), 2);
    }

    #[test]
    fn wrong_usage_is_refused_with_advice() {
        for (arguments, advice) in [
            (&["--port", "65536"][..], "a number from 0 to 65535"),
            (&["--port", "abc"], "PARROT_PORT"),
            (&["--port", "-1"], "a number from 0 to 65535"),
            (&["--backlog", "0"], "as many wait as the system allows"),
            (&["--backlog", "-1"], "from 1 up"),
            (&["--bind", "localhost"], "such as 127.0.0.1"),
            (&["--bind", "::ffff:127.0.0.1"], "write 127.0.0.1"),
            (&["--bind", "fe80::1"], "link-local"),
            (&["--bind", "224.0.0.1"], "multicast"),
            (&["--bind", "ff02::1"], "multicast"),
            (&["--bind", "255.255.255.255"], "broadcast"),
            (&["--bind", "127.0.0.1", "--bind", "0.0.0.0"], "--bind 0.0.0.0 listens on 127.0.0.1 too"),
            (&["--bind", "::", "--bind", "::1"], "--bind :: listens on ::1 too"),
            (&["--bind", "::", "--bind", "[fe80::1%2]"], "--bind :: listens on fe80::1%2 too"),
            (&["--bind", "::%lo"], "no zone"),
            (&["--bind", "127.0.0.1%lo"], "only an IPv6 address has a zone"),
            (&["--bind", "[::1]:1512"], "without a port"),
            (&["--max-buffered", "lots"], "such as 256MiB"),
            (&["--max-buffered", "99999EiB"], "more than the machine can address"),
            (&["--log-payload", "32769"], "32768 bytes at most"),
            (&["--idle-timeout", "0s"], "above zero"),
            (&["--idle-timeout", "-5s"], "cannot be negative"),
            (&["--drain-timeout", "5"], "such as 5s"),
            (&["--max-buffered", "-1"], "such as 256MiB"),
            (&["--log-file", "-"], "./-"),
            (&["--ready-file", "-"], "./-"),
            (&["--log", "off", "--log-file", "log"], "--log off writes no log"),
            (&["--log", "xml"], "clf"),
            (&["--max-connections", "0"], "from 1 up"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.to_string().contains(advice), "{arguments:?}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
        assert_eq!(parse(&["-v", "-q"]).unwrap_err().kind(), ErrorKind::ArgumentConflict);
    }
}
