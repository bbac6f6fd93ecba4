//! What xtask prints before any task runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = xtask(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn help_lists_every_task_in_80_columns() {
    let (code, help, errors) = run(&["--help"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(help.contains("\n  build ") && help.contains("\n  ci "), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
}

#[test]
fn the_help_of_a_task_without_arguments_is_its_summary() {
    for (task, word) in [("build", "release"), ("mutants", "faults"), ("ci", "before a change lands")] {
        for help in ["--help", "-h"] {
            let (code, summary, errors) = run(&[task, help]);
            assert_eq!((code, errors.as_str()), (Some(0), ""));
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
        let (code, output, errors) = run(arguments);
        assert_eq!((code, output.as_str()), (Some(2), ""), "{errors}");
        assert!(errors.contains(words), "{errors}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let closed_pipe = || std::io::pipe().unwrap().1;
    let Output { status, stderr, .. } = xtask(&["--help"]).stdout(closed_pipe()).output().unwrap();
    assert_eq!((status.code(), String::from_utf8(stderr).unwrap().as_str()), (Some(0), ""));
    assert_eq!(xtask(&["squawk"]).stderr(closed_pipe()).status().unwrap().code(), Some(2));
}
