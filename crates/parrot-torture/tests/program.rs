//! The program as `cargo xtask torture` starts it: what it says of its arguments.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::{Command, Output};

fn torture(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_parrot-torture")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_shows_only_what_one_gives() {
    let output = torture(&["--help"]);
    let help = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(help.contains("Usage: cargo xtask torture [OPTIONS]\n"), "{help}");
    assert!(!help.contains("--server") && !help.contains("--output"), "{help}");
}

#[test]
fn scenarios_are_listed_without_a_server() {
    let output = torture(&["--list", "--only", "soak"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("soak "), "{output:?}");
}

#[test]
fn the_list_fits_a_terminal_and_nobody_has_to_read_it_to_its_end() {
    let list = text(&torture(&["--list"]).stdout);
    assert!(list.lines().all(|line| line.len() <= 80), "{list}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut torture = Command::new(env!("CARGO_BIN_EXE_parrot-torture"));
    let output = torture.arg("--list").stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn wrong_usage_says_what_is_wrong_and_ends_with_2() {
    for (arguments, word) in [
        (&["--only", "soap"][..], "error: there is no scenario soap"),
        (&["--only", "soak"], "error: this wants a server"),
        (&["--seconds", "0"], "more than none"),
        (&["soak"], "unexpected argument 'soak'"),
    ] {
        let output = torture(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn what_goes_wrong_is_said_on_standard_error_and_ends_with_1() {
    let output = torture(&["--server", "parrot", "--output", "/dev/null/here", "--only", "soak"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("torture: cannot make /dev/null/here: "), "{output:?}");
}
