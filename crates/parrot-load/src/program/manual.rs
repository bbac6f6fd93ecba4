//! What the manual page has beyond the help: signals, exit status and examples.

use clap::{Command, CommandFactory as _};

use super::arguments::{Arguments, EXIT_STATUS};

/// A section of the manual page, which is a title and terms with their texts. A text without a term has an empty one.
pub type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// What the program is, in a few words.
pub const PURPOSE: &str = "load generator for echo servers";

/// The command line, for its manual page and completions.
pub fn command() -> Command {
    Arguments::command()
}

/// The sections after the options, in their order.
pub const SECTIONS: &[Section] = &[
    (
        "SEARCH",
        &[(
            "",
            "With --find-rate, the rate doubles from --rate on until an objective fails, or halves until all hold. The \
             range between is bisected until its ends are within 2 %, and each end is measured until it was three times \
             the same. Each step has its own warm-up and a window that is extended, up to a minute, until twenty \
             messages are beyond each percentile. A step is printed with what it has shown. That is holds, fails, or \
             client if the load generator itself was why it failed.",
        )],
    ),
    (
        "SCREEN",
        &[(
            "",
            "With --live, the terminal on standard error shows the run ten times a second. Each figure is that of the \
             last second, and beside it stand that of the window and the highest. The charts are of the whole run, and \
             the histogram is of the window. It shows failures and ends of connections by kind, what each thread of \
             the load generator uses of a core, and with --find-rate each objective and the range that the limit lies \
             in. CLIENT IS THE LIMIT and CLIENT IS LATE mean that the server may be capable of more. A terminal of less \
             than 50 columns or 14 rows shows the most important lines. There is no colour if NO_COLOR is set or the \
             terminal has none. The key q, or Ctrl-C, ends the run. Then the terminal is as it was before, and the \
             report is printed as without --live.",
        )],
    ),
    (
        "MERGE",
        &[(
            "parrot-load merge [--json] [--hdr FILE] FILE...",
            "Add up the reports of several hosts that loaded one server together, as --json has printed them. Counts \
                 are added, and so are the histograms, so that percentiles are those of all messages. Reports of \
                 different loads are refused. Only --source may differ. If the windows were not open at the same time, \
                 the sum has a note that says so. Throughput is that of the time from the first window's start to the \
                 last one's end. --start-at makes hosts begin together.",
        )],
    ),
    (
        "SIGNALS",
        &[(
            "",
            "SIGINT and SIGTERM end the run, which then reports what it has measured. A second one ends parrot-load at \
             once.",
        )],
    ),
    ("EXIT STATUS", &[("", EXIT_STATUS)]),
    (
        "EXAMPLES",
        &[
            ("parrot-load", "Load the server on port 1512 of this machine for ten seconds."),
            ("parrot-load -c 1000 -s 64KiB -d 1m 192.0.2.1:1512", "A thousand connections and larger messages."),
            (
                "parrot-load -r 20000 192.0.2.1:1512",
                "Send 20,000 messages a second, and time each from when it was due.",
            ),
            ("parrot-load --keep-alive false --close reset", "Open a connection for each message."),
            (
                "parrot-load --udp --max-loss 0.1 udp:192.0.2.1:7",
                "Load a UDP echo service, and fail above one lost datagram in a thousand.",
            ),
            (
                "parrot-load -r 1000..50000 --over 60s --csv",
                "Raise the rate for a minute, and print a row for each second of it.",
            ),
            (
                "parrot-load --find-rate --objective p99.9=10ms --objective errors=0.1%",
                "Find the highest rate at which P99.9 is at most 10 ms and one message in a thousand may fail.",
            ),
            (
                "parrot-load --live -d 1m --report load.html",
                "Watch the load on the whole terminal, and keep a page about it.",
            ),
            ("parrot-load --json -q > report.json", "A report for a program."),
            ("parrot-load --json-stream -i 5s", "The same for a program that follows the load."),
            ("parrot-load merge a.json b.json", "The sum of two hosts' reports."),
        ],
    ),
    ("SEE ALSO", &[("", "parrot(1)")]),
];
