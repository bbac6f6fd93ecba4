//! The program as `cargo xtask` starts it: what it says before any task runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::{Command, Output};

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments);
    command
}

fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = xtask(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn help_lists_every_task_in_80_columns() {
    let (code, help, complaints) = said(&["--help"]);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    assert!(help.contains("\n  build ") && help.contains("\n  ci "), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
}

#[test]
fn a_task_without_arguments_answers_a_call_for_help_with_its_summary() {
    for (task, word) in [("build", "release"), ("mutants", "faults"), ("ci", "before a change lands")] {
        for help in ["--help", "-h"] {
            let (code, summary, complaints) = said(&[task, help]);
            assert_eq!((code, complaints.as_str()), (Some(0), ""));
            assert!(summary.contains(task) && summary.contains(word), "{summary}");
        }
    }
}

#[test]
fn wrong_usage_is_told_and_ends_with_2() {
    for (arguments, words) in [
        (&[][..], "cargo xtask TASK"),
        (&["squawk"], "there is no task squawk"),
        (&["ci", "squawk"], "xtask ci: ci takes no argument, and was given squawk"),
    ] {
        let (code, output, complaints) = said(arguments);
        assert_eq!((code, output.as_str()), (Some(2), ""), "{complaints}");
        assert!(complaints.contains(words), "{complaints}");
    }
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let nobody = || std::io::pipe().unwrap().1;
    let Output { status, stderr, .. } = xtask(&["--help"]).stdout(nobody()).output().unwrap();
    assert_eq!((status.code(), String::from_utf8(stderr).unwrap().as_str()), (Some(0), ""));
    assert_eq!(xtask(&["squawk"]).stderr(nobody()).status().unwrap().code(), Some(2));
}
