//! The program as `cargo xtask simulate` starts it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::{Command, Output, Stdio};

fn simulate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-simulator"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_reader_who_has_seen_enough_of_a_trace_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let Output { status, stderr, .. } = simulate(&["--replay", "0"]).stdout(writer).output().unwrap();
    assert_eq!((status.code(), text(&stderr)), (Some(0), String::new()));
}

#[test]
fn a_replay_prints_the_trace_and_how_it_ended() {
    let Output { status, stdout, stderr } = simulate(&["--profile", "epoll", "--replay", "0"]).output().unwrap();
    let trace = text(&stdout);
    assert_eq!((status.code(), text(&stderr)), (Some(0), String::new()));
    assert!(trace.contains(" writes "), "{trace}");
    assert!(trace.lines().last().unwrap().ends_with(", nothing broken"), "{trace}");
}
