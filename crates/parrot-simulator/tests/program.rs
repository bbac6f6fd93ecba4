//! Runs the program as `cargo xtask simulate` does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use parrot_testkit::program::{Ended, run, unread_pipe};

fn simulate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-simulator"));
    command.args(arguments).stdin(Stdio::null());
    command
}

#[test]
fn reader_that_leaves_during_a_trace_is_no_error() {
    let Ended { code, stderr, .. } = run(simulate(&["--replay", "0"]).stdout(unread_pipe()));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
}

#[test]
fn replay_prints_the_trace_and_the_result() {
    let Ended { code, stdout: trace, stderr } = run(&mut simulate(&["--profile", "epoll", "--replay", "0"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(trace.contains(" writes "), "{trace}");
    assert!(trace.lines().last().unwrap().ends_with(", nothing broken"), "{trace}");
}

#[test]
fn interrupted_run_reports_and_starts_no_other_profile() {
    for (signal, name) in [("-INT", "Ctrl-C"), ("-TERM", "SIGTERM")] {
        let mut command = simulate(&["--first", "5", "--seeds", "1000000000", "--threads", "2"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // This line is printed once signals are taken.
        let mut begun = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut begun).unwrap();
        assert!(begun.contains("seeds to run"), "{begun}");
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let Ended { code, stdout: report, .. } = child.wait_with_output().unwrap().into();
        assert_eq!(code, Some(130), "{report}");
        assert!(!report.contains("epoll"), "{report}");
        let number = |text: &str| -> u64 { text.replace(',', "").parse().unwrap() };
        let run = number(report.strip_prefix("kqueue: ").unwrap().split(' ').next().unwrap());
        let (_, ended) = report.split_once("kqueue: seeds 5..").unwrap();
        let (first_not_run, how) = ended.split_once(", ").unwrap();
        assert_eq!(number(first_not_run), 5 + run, "{report}");
        assert!(how.starts_with(&format!("interrupted by {name}, nothing broken\n")), "{report}");
    }
}

#[test]
fn help_explains_exit_codes_and_output() {
    let Ended { code, stdout: help, .. } = run(simulate(&["--help"]).env("COLUMNS", "80"));
    assert_eq!(code, Some(0));
    for words in ["Without --profile, both profiles", "standard output", "2 on wrong", "130 if interrupted"] {
        assert!(help.contains(words), "no {words:?} in: {help}");
    }
}

#[test]
fn wrong_usage_is_refused_with_advice() {
    for (arguments, advice) in [
        (["--seeds", "0"], "want a number from 1 up"),
        (["--replay", "x"], "want a number from 0 up"),
        (["--threads", "1025"], "want a number from 1 to 1024"),
    ] {
        let Ended { code, stderr: message, .. } = run(&mut simulate(&arguments));
        assert_eq!(code, Some(2), "{message}");
        assert!(message.contains(advice), "{message}");
    }
}

#[test]
fn too_many_seeds_are_refused_once() {
    let last = u64::MAX.to_string();
    let Ended { code, stdout, stderr: message } = run(&mut simulate(&["--first", &last, "--seeds", "1"]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""), "{message}");
    assert_eq!(message.matches("error: there are too few seeds").count(), 1, "{message}");
}

#[test]
fn last_seeds_run_and_none_beyond_them() {
    let first = (u64::MAX - 2).to_string();
    let arguments = ["--profile", "kqueue", "--first", &first, "--seeds", "2", "--threads", "8"];
    let Ended { code, stdout: report, .. } = run(&mut simulate(&arguments));
    assert_eq!(code, Some(0), "{report}");
    assert!(report.starts_with("kqueue: 2 seeds in "), "{report}");
}
