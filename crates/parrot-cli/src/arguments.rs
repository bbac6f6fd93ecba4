//! The grammar of the command line: what may be asked for, and in which units.

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, ValueEnum};
use jiff::SignedDuration;
use parrot_log::{Format, MAX_PAYLOAD};

/// What `--help` says after the options.
const AFTER_HELP: &str = "\
Parrot answers anyone who can connect, and logs what they send. To narrow who can, bind addresses that only they \
reach: --bind 127.0.0.1 --bind ::1 is this machine alone. To narrow what is logged, use --log-payload 0 for no byte of \
a message, or --log off for no line at all.

Peers that do not read what they are owed hold memory for it, up to --max-buffered (128KiB if that is less). Once all \
of it is used up the others wait; --idle-timeout frees what is held by peers that take nothing.

Sizes are written as 64KiB, 256MiB or a number of bytes, durations as 500ms, 5s or 1m 30s.

Signals: SIGINT and SIGTERM end every connection once its bytes have been sent back, a second one ends at once \
(timeout(1) sends two: give it --foreground); SIGUSR1 (and Ctrl-T where the terminal has it) prints statistics; SIGHUP \
opens the log file anew and never ends parrot, so that it outlives its terminal.

Exit code: 0 after SIGINT or SIGTERM, 1 on failure, 2 on wrong usage, 128 + its number on a second signal.";

/// A TCP echo server: it sends back every byte it receives.
#[derive(Debug, Parser)]
#[command(name = "parrot", version, max_term_width = 100, after_help = AFTER_HELP, args_override_self = true)]
pub(crate) struct Arguments {
    /// Port to listen on; 0 finds a free one
    #[arg(short, long, default_value = "1512", env = "PARROT_PORT", value_parser = port, allow_negative_numbers = true)]
    pub port: u16,

    /// IP address to listen on; may be repeated [default: 0.0.0.0 and ::]
    #[arg(short, long, value_name = "ADDR", value_parser = ip_address)]
    pub bind: Vec<IpAddr>,

    /// Connections that may wait to be accepted [default: the most allowed]
    #[arg(long, value_name = "N", value_parser = backlog, allow_negative_numbers = true)]
    pub backlog: Option<NonZeroU32>,

    /// Connections above which further ones are closed at once [default: none]
    #[arg(long, value_name = "N", value_parser = max_connections, allow_negative_numbers = true)]
    pub max_connections: Option<NonZeroUsize>,

    /// Memory for bytes to send back, 128KiB at least; see below
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = size, allow_negative_numbers = true)]
    pub max_buffered: usize,

    /// Close a connection with no byte in or out for this long [default: never]
    #[arg(long, value_name = "DURATION", value_parser = idle_timeout, allow_hyphen_values = true)]
    pub idle_timeout: Option<Duration>,

    /// How long connections may take to end after SIGINT or SIGTERM
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration, allow_hyphen_values = true)]
    pub drain_timeout: Duration,

    /// Stay awake for this long after the last event: less latency for a whole core
    #[arg(long, value_name = "DURATION", value_parser = duration, allow_hyphen_values = true)]
    pub busy_poll: Option<Duration>,

    /// How each message is logged
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Clf)]
    pub log: LogFormat,

    /// Append the log to this file [default: stdout]
    #[arg(long, value_name = "PATH")]
    pub log_file: Option<PathBuf>,

    /// How many bytes of a message its line may show, 32KiB at most
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = log_payload, allow_negative_numbers = true)]
    pub log_payload: usize,

    /// Say more on stderr; RUST_LOG, if set, decides instead
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Say less on stderr: warnings and errors, -qq errors only
    #[arg(short, long, action = ArgAction::Count)]
    pub quiet: u8,
}

impl Arguments {
    /// Those of the command line. Ends the program where they are wrong or only ask for help.
    pub(crate) fn read() -> Arguments {
        Arguments::parse().checked().unwrap_or_else(|error| error.exit())
    }

    /// Refuses what cannot be had together: an address beside the wildcard of its family, which would find its port taken
    /// by that, and a file for no log. Nor is `-` a file, though it means stdout to many programs.
    pub(crate) fn checked(self) -> Result<Arguments, clap::Error> {
        for all in self.bind.iter().filter(|address| address.is_unspecified()) {
            let same_family = |other: &&IpAddr| *other != all && other.is_ipv4() == all.is_ipv4();
            if let Some(one) = self.bind.iter().find(same_family) {
                let advice = format!("--bind {all} listens on {one} too: leave out one of the two");
                return Err(Arguments::command().error(ErrorKind::ArgumentConflict, advice));
            }
        }
        if self.log_file.as_deref() == Some(Path::new("-")) {
            let advice = "leave --log-file out to log to stdout, or write ./- for a file of that name";
            return Err(Arguments::command().error(ErrorKind::InvalidValue, advice));
        }
        if self.log == LogFormat::Off && self.log_file.is_some() {
            let advice = "--log off writes no log: leave that out, or --log-file";
            return Err(Arguments::command().error(ErrorKind::ArgumentConflict, advice));
        }
        Ok(self)
    }
}

/// How a message becomes a line of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Clf,
    Json,
    Off,
}

impl LogFormat {
    /// The format of the log, unless there is none.
    pub(crate) fn format(self) -> Option<Format> {
        match self {
            LogFormat::Clf => Some(Format::Clf),
            LogFormat::Json => Some(Format::Json),
            LogFormat::Off => None,
        }
    }
}

fn port(text: &str) -> Result<u16, &'static str> {
    text.parse().map_err(|_| "want a number from 0 to 65535, here or in the environment's PARROT_PORT")
}

fn backlog(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "want a number from 1 up; without this option as many wait as the system allows")
}

fn max_connections(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "want a number from 1 up; without this option only the descriptors limit them")
}

fn ip_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| "want an IP address such as 127.0.0.1 or ::1, without brackets, port or interface".to_owned())?;
    if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        return Err("nobody can connect to a multicast or broadcast address".to_owned());
    }
    if let IpAddr::V6(v6) = address {
        // IPv6 sockets take IPv6 connections only, and a link-local address means nothing without its interface.
        if let Some(v4) = v6.to_ipv4_mapped() {
            return Err(format!("this is an IPv4 address: write {v4}"));
        }
        if v6.is_unicast_link_local() {
            return Err("a link-local address belongs to one interface, and none can be named".to_owned());
        }
    }
    Ok(address)
}

fn size(text: &str) -> Result<usize, String> {
    let size: ByteSize = text.parse().map_err(|_| String::from("want a size such as 256MiB, 1GiB or 1048576"))?;
    // What is too large for its type has become the largest; no machine can address more than `isize::MAX`.
    let addressable = isize::try_from(size.as_u64()).ok().and_then(|size| usize::try_from(size).ok());
    addressable.ok_or_else(|| "this is more than the machine can address".to_owned())
}

fn log_payload(text: &str) -> Result<usize, String> {
    match size(text)? {
        limit if limit > MAX_PAYLOAD => Err(format!("a line shows {MAX_PAYLOAD} bytes at most")),
        limit => Ok(limit),
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    let duration: SignedDuration = text.parse().map_err(|_| "want a duration such as 5s, 1m 30s or 500ms")?;
    duration.try_into().map_err(|_| "a duration cannot be negative")
}

fn idle_timeout(text: &str) -> Result<Duration, &'static str> {
    match duration(text)? {
        Duration::ZERO => Err("want a duration above zero; without this option no connection is ever too idle"),
        idle_timeout => Ok(idle_timeout),
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
        assert_eq!(defaults.max_buffered, 256 << 20);
        assert_eq!(defaults.drain_timeout, Duration::from_secs(5));
        assert_eq!(defaults.log, LogFormat::Clf);
        assert_eq!(defaults.log_payload, 256);
        assert_eq!((defaults.backlog, defaults.max_connections, defaults.idle_timeout), (None, None, None));
        assert!(Arguments::command().render_help().to_string().contains("[default: 1512]"));
    }

    #[test]
    fn addresses_may_be_repeated_and_mixed() {
        let both = parse(&["-b", "127.0.0.1", "--bind", "::1"]).unwrap();
        assert_eq!(both.bind, ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    }

    #[test]
    fn each_family_may_have_its_wildcard() {
        let both = parse(&["-b", "0.0.0.0", "-b", "::", "-b", "::"]).unwrap();
        assert_eq!(both.bind.len(), 3);
        assert_eq!(parse(&["-b", "0.0.0.0", "-b", "::1"]).unwrap().bind.len(), 2);
    }

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("64KiB", 65_536), ("1 MiB", 1 << 20), ("1kB", 1000)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "many", "-1", "1XiB", "MiB", "8EiB", "99999EiB", "99999999999999999999"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, milliseconds) in [("0s", 0), ("5s", 5000), ("1m 30s", 90_000), ("500ms", 500), ("PT2H", 7_200_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "soon", "-5s", "5s ago"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wrong_usage_is_refused_with_what_would_be_right() {
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
            (&["--max-buffered", "lots"], "such as 256MiB"),
            (&["--max-buffered", "99999EiB"], "more than the machine can address"),
            (&["--log-payload", "32769"], "32768 bytes at most"),
            (&["--idle-timeout", "0s"], "above zero"),
            (&["--idle-timeout", "-5s"], "cannot be negative"),
            (&["--drain-timeout", "5"], "such as 5s"),
            (&["--max-buffered", "-1"], "such as 256MiB"),
            (&["--log-file", "-"], "./-"),
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
