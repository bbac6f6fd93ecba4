//! The command line: options, their values and units, and the help.

mod command_line;
mod config_file;
mod usage;
mod values;

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use ipnet::IpNet;
use parrot_log::Format;
use parrot_server::Template;
use parrot_server::fault::FaultRule;
use parrot_values::{Address, Endpoint, count, duration, fault, network};

use self::values::{
    backlog, bind_address, greeting, idle_timeout, keepalive, log_payload, max_buffered, max_connections, port, prefix,
    proxy_timeout, udp_rate, unix_mode,
};
#[cfg(feature = "admin")]
use crate::admin::{AdminPlace, admin_place};
use crate::listening::{ListenArgument, listen_argument};

pub(crate) use self::command_line::CommandLine;
pub(crate) use self::config_file::{parse_with_file, reason};

/// The environment variable that names the port.
const PORT: &str = "PARROT_PORT";

/// The width of the help, unless the terminal is narrower.
const WIDTH: usize = 100;

/// The groups of options in the help.
const LISTENING: &str = "Where to listen";
const PROXY: &str = "PROXY protocol";
const REPLIES: &str = "Who answers";
const UDP: &str = "UDP";
const FAULTS: &str = "Faults on request";
const LIMITS: &str = "Limits and times";
const LOG: &str = "Log";
#[cfg(feature = "admin")]
const WATCHING: &str = "Metrics, health and a page";

/// What the help says after the options, before the signals and the exit status.
pub(crate) const NOTES: &str = "\
Parrot answers anyone who can connect, and logs what they send. With --bind 127.0.0.1 --bind ::1 only this machine can \
connect. With --log-payload 0 the log shows no byte of a message, and with --log off there is no log.

UDP is off unless --listen or a service manager asks for it, because the source of a datagram can be forged. \
Datagrams from ports below 1024, from 2049, from UDP ports of parrot itself and from or to a broadcast or multicast \
address are not answered, or two services could answer each other for ever. Those on other ports still can, and with \
--prefix even an empty datagram draws the whole text. Set --udp-rate, which bounds what a source can be sent.

Replies that a peer does not read stay in memory, up to --max-buffered in all. Each peer can have 128KiB of them, or \
512KiB if its system took 8MiB at full speed before. When all is used up, other peers wait. --idle-timeout disconnects \
peers that never read.

A fault of connections is one of latency=TIME, bandwidth=SIZE (a second), slice=BYTES or MIN..MAX with delay=TIME, \
limit-data=SIZE, timeout=TIME (0 never ends), lifetime=TIME, reset=SIZE or TIME, stall=SIZE with for=TIME, \
slow-close=TIME, half-close-first, refuse=N (the first N) and accept-delay=TIME. Each but refuse takes probability=20%. \
Datagrams have loss=10%, duplicate=1%, reorder=5%, corrupt=1% and latency. A latency takes jitter=TIME, and several \
values with their shares, such as 50ms:80,2s:20. Seed and connection number alone make every choice.

Sockets that a service manager passes as sd_listen_fds(3) says replace the default addresses. --listen, --bind and \
--port add to them, PARROT_PORT does not.

The file of --config is TOML. Its keys are the names of the long options, such as idle-timeout = \"5m\", \
reuse-port = true or listen = [\"tcp:*:7\", \"udp:*:7\"]. An option of the command line replaces the one of the file. \
SIGHUP reads the file again. Limits, times, rules, replies, listeners and the log change, and no connection is lost. A \
mistake in it changes nothing.

Sizes are written as 64KiB, 256MiB or a number of bytes, durations as 500ms, 5s or 1m 30s.";

/// What signals do, for the help and the manual page.
pub(crate) const SIGNALS: &str = "\
SIGINT and SIGTERM end each connection once its bytes have been sent back, and then parrot. A second signal ends \
parrot at once (timeout(1) sends two, so use its --foreground). With --drain-delay, SIGTERM begins the delay, a second \
signal begins the drain, and a third ends parrot at once. SIGINT skips the delay. SIGUSR1 prints statistics, and so \
does Ctrl-T where the terminal has it. SIGHUP reopens the log file and reads --config again. It never ends parrot, so \
parrot outlives its terminal.";

/// The exit codes, for the help and the manual page.
pub(crate) const EXIT_STATUS: &str = "\
The exit code is 0 after SIGINT or SIGTERM, 1 on failure, 2 on wrong usage or a mistake in the file of --config, and \
128 plus the signal's number after a second signal that ends it at once.";

/// An echo server that sends back every byte it receives, over TCP, UDP and Unix sockets.
#[derive(Debug, Parser)]
#[command(name = "parrot", version, max_term_width = WIDTH, args_override_self = true)]
#[command(after_help = format!("{NOTES}\n\n{SIGNALS}\n\n{EXIT_STATUS}"))]
pub(crate) struct Arguments {
    /// TCP port, 0 for any free one
    #[arg(short, long, default_value = "1512", env = PORT, value_parser = port, allow_negative_numbers = true, help_heading = LISTENING)]
    pub port: u16,

    /// Which value of PARROT_PORT was ignored, and why.
    #[arg(skip)]
    pub port_ignored: Option<String>,

    /// IP address to listen on, such as ::1 or fe80::1%eth0, may be repeated [default: 0.0.0.0 and ::]
    #[arg(short, long, value_name = "ADDR", value_parser = bind_address, help_heading = LISTENING)]
    pub bind: Vec<Address>,

    /// Listen on tcp:HOST:PORT, udp:HOST:PORT, unix:PATH or unix:@NAME (Linux) in place of TCP port 1512, may be
    /// repeated. HOST is an address, localhost or *. Add ,proxy if each connection begins with a PROXY header,
    /// and ,fault=SPEC for faults of its own in place of those of --fault
    #[arg(long, value_name = "PLACE", value_parser = OsStringValueParser::new().try_map(listen_argument), help_heading = LISTENING)]
    pub listen: Vec<ListenArgument>,

    /// Whether the command line or the file of --config has the port.
    #[arg(skip)]
    pub port_given: bool,

    /// Share addresses and ports with other processes that have this option too (Linux and FreeBSD)
    #[arg(long, help_heading = LISTENING)]
    pub reuse_port: bool,

    /// Permissions of the files of Unix sockets, such as 0660 [default: what the umask leaves]
    #[arg(long, value_name = "MODE", value_parser = unix_mode, help_heading = LISTENING)]
    pub unix_mode: Option<u32>,

    /// Connections that may wait to be accepted [default: the system's limit]
    #[arg(long, value_name = "N", value_parser = backlog, allow_negative_numbers = true, help_heading = LISTENING)]
    pub backlog: Option<NonZeroU32>,

    /// Once it listens, write the addresses to this file as JSON, and remove it at the end
    #[arg(long, value_name = "PATH", help_heading = LISTENING)]
    pub ready_file: Option<PathBuf>,

    /// Expect a PROXY protocol header, version 1 or 2, at the start of each connection of every listener
    #[arg(long, help_heading = PROXY)]
    pub proxy_protocol: bool,

    /// How long a PROXY header may take to arrive [default: 3s]
    #[arg(long, value_name = "TIME", value_parser = proxy_timeout, allow_hyphen_values = true, help_heading = PROXY)]
    pub proxy_timeout: Option<Duration>,

    /// Take PROXY headers only from this network and close other connections, may be repeated [default: from anyone]
    #[arg(long, value_name = "CIDR", value_parser = network, help_heading = PROXY)]
    pub proxy_from: Vec<IpNet>,

    /// Send this line first on each stream connection. {host}, {pid}, {listener}, {local}, {peer}, {connection} and
    /// {env:NAME} stand for what they say, {{ and }} for braces
    #[arg(long, value_name = "TEXT", value_parser = greeting, conflicts_with = "identify", help_heading = REPLIES)]
    pub greeting: Option<Template>,

    /// Send this text before each message, with the same placeholders. With UDP also set --udp-rate (see below)
    #[arg(long, value_name = "TEXT", value_parser = prefix, help_heading = REPLIES)]
    pub prefix: Option<Template>,

    /// Greet with a line of JSON that says who answers and whom it sees
    #[arg(long, help_heading = REPLIES)]
    pub identify: bool,

    /// Answer datagrams from ports below 1024 and from 2049 too, where services are that may answer in turn for ever
    #[arg(long, help_heading = UDP)]
    pub udp_answer_low_ports: bool,

    /// Answer at most this many datagrams a second from one network, a /24 of IPv4 or a /56 of IPv6 [default: no limit]
    #[arg(long, value_name = "N", value_parser = udp_rate, allow_negative_numbers = true, help_heading = UDP)]
    pub udp_rate: Option<NonZeroU32>,

    /// Misbehave, for the test of a client or a proxy, such as latency=50ms,jitter=10ms, slice=1, reset=10KiB or
    /// stall=10KiB,for=3s,probability=20% (see below), may be repeated
    #[arg(long, value_name = "SPEC", value_parser = fault, allow_hyphen_values = true, help_heading = FAULTS)]
    pub fault: Vec<FaultRule>,

    /// Choose the connections and datagrams with faults as the run did that printed this seed [default: any, and printed]
    #[arg(long, value_name = "N", value_parser = count(0_u64), allow_negative_numbers = true, help_heading = FAULTS)]
    pub seed: Option<u64>,

    /// Close further connections beyond this many [default: no limit]
    #[arg(long, value_name = "N", value_parser = max_connections, allow_negative_numbers = true, help_heading = LIMITS)]
    pub max_connections: Option<NonZeroUsize>,

    /// Memory for replies that peers have yet to read, at least 128KiB [default: 256MiB, but at most a quarter of what a
    /// cgroup, RLIMIT_AS or RLIMIT_DATA allows]
    #[arg(long, value_name = "SIZE", value_parser = max_buffered, allow_negative_numbers = true, help_heading = LIMITS)]
    pub max_buffered: Option<usize>,

    /// Ask a peer whether it is still there after this long without a byte (TCP keepalive), or off. A peer that does not
    /// reply to three probes is gone
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = keepalive, allow_hyphen_values = true, help_heading = LIMITS)]
    pub keepalive: Keepalive,

    /// Close a connection after this long without a byte in or out [default: never]
    #[arg(long, value_name = "TIME", value_parser = idle_timeout, allow_hyphen_values = true, help_heading = LIMITS)]
    pub idle_timeout: Option<Duration>,

    /// Accept and serve for this long after SIGTERM, so that load balancers find out before the drain [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true, help_heading = LIMITS)]
    pub drain_delay: Option<Duration>,

    /// How long to wait for connections to end after SIGINT or SIGTERM
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration, allow_hyphen_values = true, help_heading = LIMITS)]
    pub drain_timeout: Duration,

    /// Poll this long after the last event, for lower latency at the cost of a whole core
    #[arg(long, value_name = "TIME", value_parser = duration, allow_hyphen_values = true, help_heading = LIMITS)]
    pub busy_poll: Option<Duration>,

    /// Format of the log, which has a line for each message
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Clf, help_heading = LOG)]
    pub log: LogFormat,

    /// Append the log to this file [default: stdout]
    #[arg(long, value_name = "PATH", help_heading = LOG)]
    pub log_file: Option<PathBuf>,

    /// Bytes of a message to show in its log line, at most 32KiB
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = log_payload, allow_negative_numbers = true, help_heading = LOG)]
    pub log_payload: usize,

    /// Serve metrics for Prometheus, /healthz, /readyz and a page for browsers over HTTP, read-only and without a
    /// password. PLACE is an address with a port, such as 127.0.0.1:9512, or unix:PATH [default: off]
    #[cfg(feature = "admin")]
    #[arg(long, value_name = "PLACE", value_parser = OsStringValueParser::new().try_map(admin_place), help_heading = WATCHING)]
    pub admin: Option<AdminPlace>,

    /// Read options from this TOML file too, now and at each SIGHUP. Its keys are the names of the long options. The
    /// command line wins
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Say whether parrot would start with these options, and end. A parrot that runs is not disturbed
    #[arg(long)]
    pub check: bool,

    /// Print more on stderr (RUST_LOG, if set, overrides -v and -q)
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,

    /// Print only warnings and errors on stderr, with -qq only errors
    #[arg(short, long, action = ArgAction::Count)]
    pub quiet: u8,
}

impl Arguments {
    /// Parses a command line that begins with the name of the program. The file of --config is not read for it.
    pub(crate) fn parse_line<Argument: Into<OsString> + Clone>(
        line: impl IntoIterator<Item = Argument>,
        passed: bool,
    ) -> Result<Arguments, clap::Error> {
        Arguments::from_matches(&Arguments::command().try_get_matches_from(line)?, passed)
    }

    fn from_matches(matches: &ArgMatches, passed: bool) -> Result<Arguments, clap::Error> {
        let mut arguments = Arguments::from_arg_matches(matches)?;
        arguments.port_given = matches.value_source("port") == Some(ValueSource::CommandLine);
        usage::check(&arguments, passed)?;
        Ok(arguments)
    }

    /// Where the pages of --admin are, and the option as it was written.
    pub(crate) fn admin(&self) -> Option<(&Endpoint, String)> {
        #[cfg(feature = "admin")]
        return self.admin.as_ref().map(|place| (place.endpoint(), format!("--admin {place}")));
        #[cfg(not(feature = "admin"))]
        None
    }

    /// Whether --bind or --port say where to listen. PARROT_PORT alone does not, because it may stand in an environment that
    /// other options are made for.
    pub(crate) fn has_short_form(&self) -> bool {
        self.port_given || !self.bind.is_empty()
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

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::parse_line(["parrot"].iter().chain(arguments), false)
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
            (&["--bind", "127.0.0.1", "--bind", "0.0.0.0"], "both listen on 127.0.0.1:1512,"),
            (&["--bind", "::", "--bind", "::1"], "--bind :: and --bind ::1 both"),
            (&["--bind", "::", "--bind", "[fe80::1%2]"], "both listen on [fe80::1%2]:1512,"),
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
            (&["--max-buffered", "1KiB"], "expected 128KiB at least"),
            (&["--log-file", "-"], "./-"),
            (&["--ready-file", "-"], "./-"),
            (&["--log", "off", "--log-file", "log"], "--log off writes no log"),
            (&["--log", "xml"], "clf"),
            (&["--ready-file", "x", "--log-file", "./x"], "--ready-file and --log-file are the same file"),
            (&["--ready-file", "x", "--listen", "unix:x"], "--ready-file and --listen unix:x are the same file"),
            (&["--prefix", &"{peer}".repeat(10_000)], "must fit into 131072, so shorten it"),
            (&["--max-connections", "0"], "from 1 up"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.to_string().contains(advice), "{arguments:?}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
        assert_eq!(parse(&["-v", "-q"]).unwrap_err().kind(), ErrorKind::ArgumentConflict);
    }

    #[test]
    fn two_options_cannot_listen_on_one_place() {
        for (arguments, both) in [
            (
                &["--listen", "tcp:*:7001", "--listen", "tcp:*:7001,proxy"][..],
                "--listen tcp:*:7001 and --listen tcp:*:7001,proxy both listen on 0.0.0.0:7001,",
            ),
            (&["--listen", "tcp:127.0.0.1:7", "--listen", "tcp:localhost:7"], "both listen on 127.0.0.1:7,"),
            (&["--port", "7001", "--listen", "tcp:[::1]:7001"], "--port 7001 and --listen tcp:[::1]:7001 both"),
            (&["--listen", "udp:*:7", "--listen", "udp:[::1]:7"], "both listen on udp:[::1]:7,"),
            (
                &["--listen", "unix:a", "--listen", "unix:a,proxy"],
                "--listen unix:a and --listen unix:a,proxy both listen on unix:/",
            ),
            (&["--listen", "unix:a", "--listen", "unix:./a"], "--listen unix:a and --listen unix:./a both"),
            #[cfg(target_os = "linux")]
            (&["--listen", "unix:@a", "--listen", "unix:@a,proxy"], "both listen on unix:@a,"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.to_string().contains(both), "{arguments:?}: {error}");
            assert_eq!((error.kind(), error.exit_code()), (ErrorKind::ArgumentConflict, 2));
        }
        for arguments in [
            &["--listen", "tcp:*:7", "--listen", "tcp:*:7"][..],
            &["--listen", "tcp:*:0", "--listen", "tcp:*:0,proxy"],
            &["--listen", "tcp:*:7", "--listen", "udp:*:7"],
            &["--listen", "unix:a", "--listen", "unix:b"],
        ] {
            assert!(parse(arguments).is_ok(), "{arguments:?}");
        }
    }

    #[test]
    fn an_option_without_effect_is_refused() {
        for (option, needed) in [
            (&["--unix-mode", "0660"][..], &["--listen", "unix:a"][..]),
            (&["--udp-rate", "1"], &["--listen", "udp:*:7"]),
            (&["--udp-answer-low-ports"], &["--listen", "udp:*:7"]),
            (&["--proxy-from", "10.0.0.0/8"], &["--listen", "tcp:*:7,proxy"]),
            (&["--proxy-timeout", "3s"], &["--proxy-protocol"]),
        ] {
            let error = parse(option).unwrap_err();
            let (name, text) = (option[0], error.to_string());
            assert!(text.contains(&format!("{name} is for")) && text.contains("so add --"), "{text}");
            assert_eq!(error.exit_code(), 2);
            assert!(parse(&[option, needed].concat()).is_ok(), "{option:?} {needed:?}");
        }
        // Sockets that a service manager passes may be of any kind. None of them expects a header on its own.
        for (option, has_effect) in [("--unix-mode=0660", true), ("--udp-rate=1", true), ("--proxy-timeout=1s", false)]
        {
            assert_eq!(Arguments::parse_line(["parrot", option], true).is_ok(), has_effect, "{option}");
        }
    }
}
