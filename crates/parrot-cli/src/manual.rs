//! What the manual page has beyond the help: environment, files and examples.

use clap::{Command, CommandFactory as _};

use crate::arguments::{Arguments, EXIT_STATUS, NOTES, SIGNALS};

/// A section of the manual page, which is a title and terms with their texts. A text without a term has an empty one.
pub type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// What the program is, in a few words.
pub const PURPOSE: &str = "echo server for TCP, UDP and Unix sockets";

/// The command line, for its manual page and completions.
pub fn command() -> Command {
    // Signals and exit status have sections of their own.
    Arguments::command().after_help(NOTES)
}

/// The sections after the options, in their order.
pub const SECTIONS: &[Section] = &[
    ("SIGNALS", &[("", SIGNALS)]),
    ("EXIT STATUS", &[("", EXIT_STATUS)]),
    (
        "ENVIRONMENT",
        &[
            ("PARROT_PORT", "The port, if neither --port nor --listen nor a service manager says where to listen."),
            (
                "RUST_LOG",
                "What is printed on stderr, such as warn,parrot_server=debug. It overrides --verbose and --quiet.",
            ),
            ("TZ", "The time zone of the log, such as Europe/Berlin."),
            (
                "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
                "Sockets from a service manager, as sd_listen_fds(3) describes.",
            ),
            (
                "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID",
                "Where a service manager takes reports, as sd_notify(3) describes.",
            ),
        ],
    ),
    (
        "FILES",
        &[
            (
                "/etc/parrot/parrot.toml",
                "The options of the service. The units and scripts that come with parrot name it with --config.",
            ),
            ("/var/log/parrot/", "The logs of the service."),
        ],
    ),
    (
        "EXAMPLES",
        &[
            ("parrot --bind 127.0.0.1 --bind ::1", "Serve this machine only."),
            (
                "parrot --listen tcp:*:7 --listen udp:*:7 --udp-rate 100",
                "Be the echo service of RFC 862. Ports below 1024 need a privilege.",
            ),
            (
                "parrot --listen unix:/run/parrot/parrot.sock --unix-mode 0660",
                "Serve a Unix socket to the members of a group.",
            ),
            (
                "parrot --listen tcp:*:1512,proxy --proxy-from 10.0.0.0/8",
                "Serve behind a load balancer that sends PROXY headers.",
            ),
            (
                "parrot --port 0 --ready-file parrot.json",
                "Take any free port, and write it to a file once connections can be made.",
            ),
            ("parrot --log json --log-payload 0 --log-file parrot.log", "Log each message as JSON, without its bytes."),
            ("parrot --admin 127.0.0.1:9512", "Show metrics, health and a page for browsers to this machine."),
            ("parrot --config /etc/parrot/parrot.toml --check", "Say whether the service would start."),
        ],
    ),
    ("SEE ALSO", &[("", "parrot-load(1), systemd.socket(5), nc(1), socat(1)")]),
];
