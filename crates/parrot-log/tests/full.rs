//! A file that can grow no further. The limit on a file's size stands in for a full disk, because it cuts a write short,
//! refuses the next one, and can be raised again by any user.
//!
//! The limit is that of a process, and it also holds for a file that the test's output goes to. So each test runs in a
//! process of its own, whose output is a pipe.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::env;
use std::fs;
use std::process::Command;

use parrot_kqueue::{Signal, SignalGuard};
use parrot_log::{Format, Writer};
use parrot_testkit::{PATIENCE, wait_until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::tempdir;

use support::{Read, log, logging, read};

/// More lines than the log's buffers hold.
const TOO_MANY: u64 = 20_000;

/// Runs the test of this name in a process of its own.
fn apart(name: &str, test: impl FnOnce()) {
    const APART: &str = "PARROT_LOG_TEST_APART";
    if env::var_os(APART).is_some() {
        return test();
    }
    // The child inherits this, so that libtest's own thread blocks the signal too. FreeBSD sends SIGXFSZ to the process
    // and not to the thread that writes (vn_send_sigxfsz in sys/kern/vfs_vnops.c).
    let _inherited = SignalGuard::block(&[Signal::FileSize]).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args([name, "--exact", "--nocapture"]).env(APART, "").output().unwrap();
    let printed = [output.stdout, output.stderr].map(|printed| String::from_utf8_lossy(&printed).into_owned()).concat();
    assert!(output.status.success() && printed.contains("1 passed"), "{}\n{printed}", output.status);
}

/// The limit of this process.
struct Limit {
    /// Without it SIGXFSZ would end the process.
    _blocked: SignalGuard,
}

impl Limit {
    fn new() -> Limit {
        Limit { _blocked: SignalGuard::block(&[Signal::FileSize]).unwrap() }
    }

    fn set(&self, bytes: Option<u64>) {
        let maximum = getrlimit(Resource::Fsize).maximum;
        setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
    }
}

/// Checks that the log accounts for this many messages, numbered from 0, and each gap stands where they are missing.
fn check(text: &str, format: Format, messages: u64) {
    let (mut next, mut cut) = (0, false);
    for line in text.lines() {
        match read(line, format) {
            Read::Message(message) => {
                assert_eq!((message, cut), (format!("message {next}"), false));
                next += 1;
            }
            Read::Gap(count) => {
                next += count;
                cut = false;
            }
            Read::Cut => cut = true, // the gap that follows counts this line
        }
    }
    assert_eq!(next, messages);
}

#[test]
fn under_load_each_gap_stands_where_lines_are_missing() {
    apart("under_load_each_gap_stands_where_lines_are_missing", gaps_under_load);
}

fn gaps_under_load() {
    let limit = Limit::new();
    for format in [Format::Clf, Format::Json] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("log");
        let writer = Writer::file(&path, format).unwrap();
        let mut number = 0;
        let mut log_until = |what: &str, burst: u64, condition: &dyn Fn() -> bool| {
            wait_until(what, || {
                (0..burst).for_each(|_| {
                    log(format!("message {number}").as_bytes());
                    number += 1;
                });
                condition()
            });
        };
        logging(&writer, || {
            for round in 0..20 {
                let burst = if round % 5 == 4 { TOO_MANY } else { 50 };
                limit.set(Some(fs::metadata(&path).unwrap().len() + 1000 + 777 * round));
                let errors = writer.statistics().write_errors;
                log_until("it is full", burst, &|| writer.statistics().write_errors >= errors + 2);
                limit.set(None);
                let written = writer.statistics().written;
                log_until("it has room again", burst, &|| writer.statistics().written > written);
            }
        });
        let statistics = writer.close(PATIENCE);
        assert_eq!(statistics.written + statistics.dropped, number);
        check(&fs::read_to_string(&path).unwrap(), format, number);
    }
}

#[test]
fn a_line_or_a_gap_may_be_cut_short_anywhere() {
    apart("a_line_or_a_gap_may_be_cut_short_anywhere", cuts_anywhere);
}

fn cuts_anywhere() {
    let limit = Limit::new();
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let writer = Writer::file(&path, Format::Clf).unwrap();
    let mut number = 0;
    logging(&writer, || {
        // Up to the length of a gap's line and that of a message.
        for room in 0..=150 {
            let length = fs::metadata(&path).unwrap().len();
            for bytes in [Some(length), Some(length + room), None] {
                limit.set(bytes);
                log(format!("message {number}").as_bytes());
                number += 1;
                wait_until("the line is written or dropped", || {
                    let statistics = writer.statistics();
                    statistics.written + statistics.dropped == number
                });
            }
        }
    });
    let _ = writer.close(PATIENCE);
    check(&fs::read_to_string(&path).unwrap(), Format::Clf, number);
}
