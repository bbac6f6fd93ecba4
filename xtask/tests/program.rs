//! What xtask prints before any task runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::Command;

use parrot_testkit::program::{Ended, run, unread_pipe};

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments);
    command
}

#[test]
fn help_lists_every_task_in_80_columns() {
    let Ended { code, stdout: help, stderr } = run(&mut xtask(&["--help"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(help.contains("\n  build ") && help.contains("\n  ci "), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
}

#[test]
fn the_help_of_a_task_without_arguments_is_its_summary() {
    for (task, word) in [("build", "release"), ("ci", "before a change lands")] {
        for help in ["--help", "-h"] {
            let Ended { code, stdout: summary, stderr } = run(&mut xtask(&[task, help]));
            assert_eq!((code, stderr.as_str()), (Some(0), ""));
            assert!(summary.contains(task) && summary.contains(word), "{summary}");
        }
    }
}

#[test]
fn wrong_usage_is_reported_and_ends_with_code_2() {
    for (arguments, words) in [
        (&[][..], "cargo xtask TASK"),
        (&["squawk"], "there is no task squawk"),
        (&["ci", "squawk"], "xtask ci: ci takes no arguments, but got squawk"),
    ] {
        let Ended { code, stdout, stderr } = run(&mut xtask(arguments));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let Ended { code, stderr, .. } = run(xtask(&["--help"]).stdout(unread_pipe()));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(run(xtask(&["squawk"]).stderr(unread_pipe())).code, Some(2));
}
