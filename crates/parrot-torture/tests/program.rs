//! The program as `cargo xtask torture` starts it: its help, its list and its errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::Command;

use parrot_testkit::program::{Ended, run, unread_pipe};

fn torture(arguments: &[&str]) -> Ended {
    run(Command::new(env!("CARGO_BIN_EXE_parrot-torture")).args(arguments))
}

#[test]
fn help_shows_only_the_options_that_users_set() {
    let Ended { code, stdout, .. } = torture(&["--help"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("Usage: cargo xtask torture [OPTIONS]\n"), "{stdout}");
    assert!(!stdout.contains("--server") && !stdout.contains("--output"), "{stdout}");
}

#[test]
fn scenarios_are_listed_without_a_server() {
    let Ended { code, stdout, .. } = torture(&["--list", "--only", "soak"]);
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("soak "), "{stdout}");
}

#[test]
fn the_list_fits_a_terminal_and_may_be_read_in_part() {
    let list = torture(&["--list"]).stdout;
    assert!(list.lines().all(|line| line.len() <= 80), "{list}");
    let ended = run(Command::new(env!("CARGO_BIN_EXE_parrot-torture")).arg("--list").stdout(unread_pipe()));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}

#[test]
fn wrong_usage_is_explained_and_ends_with_2() {
    for (arguments, words) in [
        (&["--only", "soap"][..], "error: there is no scenario soap"),
        (&["--only", "soak"], "error: --server and --output are needed"),
        (&["--seconds", "0"], "more than 0 seconds"),
        (&["soak"], "unexpected argument 'soak'"),
    ] {
        let Ended { code, stderr, .. } = torture(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn other_errors_go_to_standard_error_and_end_with_1() {
    let Ended { code, stderr, .. } = torture(&["--server", "parrot", "--output", "/dev/null/here", "--only", "soak"]);
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("torture: cannot create /dev/null/here: "), "{stderr}");
}
