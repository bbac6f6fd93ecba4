//! The program from the outside: what it prints, where, and what its exit code says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};

/// An echo server, for as long as the test runs; its port.
fn echo_server() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    port.to_string()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parrot-load"));
    command.args(["--connections", "2", "--warmup", "0s"]).args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn without_a_terminal_there_are_plain_lines_and_then_the_report() {
    let output = run(&[&echo_server(), "-d", "2500ms"]);
    let (lines, report) = (text(&output.stderr), text(&output.stdout));
    assert!(output.status.success(), "{lines}{report}");
    assert!(lines.contains("2 connections open") && lines.contains("the window opens"), "{lines}");
    assert!(lines.contains("messages/s  P50"), "{lines}");
    assert!(
        report.starts_with("closed loop: 2 connections x 12 bytes") && report.contains("failures    none"),
        "{report}"
    );
    for silent in ["--quiet", "--json"] {
        let output = run(&[&echo_server(), "-n", "10", silent]);
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{silent}");
    }
}

#[test]
fn the_json_report_says_everything_that_was_asked_for() {
    let output = run(&[&echo_server(), "-n", "10", "--timeout", "7s", "--delay", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let load = &report["load"];
    assert_eq!(load["requests"], 10);
    assert_eq!((&load["duration"], &load["no_delay"]), (&serde_json::Value::Null, &false.into()));
    assert_eq!((load["timeout"].as_f64(), load["warmup"].as_f64()), (Some(7.0), Some(0.0)));
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn wrong_usage_is_2() {
    for wrong in [&["-c", "0"][..], &["--size", "0"], &["--rate", "1e9"], &["--idle", "18446744073709551615"], &["x"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_parrot-load")).args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", text(&output.stderr));
    }
}

#[test]
fn without_a_server_the_error_is_all_that_is_told() {
    let output = run(&["1"]);
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("listening"), "{said}");
}

#[test]
fn a_file_that_cannot_be_written_is_refused_before_the_run() {
    // Nobody listens at port 1, which a run would have to find out.
    let output = run(&["1", "--hdr", "/nonexistent/latencies.hgrm"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/nonexistent/latencies.hgrm") && !said.contains("listening"), "{said}");
}

#[test]
fn a_file_keeps_what_it_has_until_there_are_latencies_to_replace_it() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/kept.hgrm");
    let before = "the latencies of yesterday\n".repeat(1000);
    fs::write(file, &before).unwrap();
    assert_eq!(run(&["1", "--hdr", file]).status.code(), Some(1), "nobody listens at port 1");
    assert_eq!(fs::read_to_string(file).unwrap(), before);
    assert_eq!(run(&[&echo_server(), "-n", "10", "--hdr", file]).status.code(), Some(0));
    let after = fs::read_to_string(file).unwrap();
    assert!(after.trim_start().starts_with("Value") && !after.contains("yesterday"), "{after}");
}

#[test]
fn a_run_that_is_interrupted_says_so() {
    for (warmup, said) in [("0s", "stopped-early"), ("1h", "nothing was measured")] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let (asked, first) = mpsc::channel();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 12]).unwrap();
            asked.send(()).unwrap();
            std::io::copy(&mut &stream, &mut &stream)
        });
        let load = Command::new(env!("CARGO_BIN_EXE_parrot-load"))
            .args(["-c", "1", "--warmup", warmup, "-d", "1h", "--json", &port])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        first.recv().expect("the load begins");
        kill_process(Pid::from_child(&load), Signal::INT).unwrap();
        let output = load.wait_with_output().unwrap();
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(told.contains(said), "{told}");
        assert_eq!(output.status.code(), Some(130), "{told}");
    }
}

#[test]
fn a_reader_who_has_gone_is_no_failure_and_a_full_disk_is_one() {
    let mut load = program(&[&echo_server(), "-n", "10", "--quiet"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(load.stdout.take());
    assert_eq!(load.wait().unwrap().code(), Some(0));
    if let Ok(full) = fs::File::options().write(true).open("/dev/full") {
        let load = program(&[&echo_server(), "-n", "10", "--quiet"]).stdout(full).stderr(Stdio::piped()).spawn();
        let output = load.unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("cannot write the report"), "{}", text(&output.stderr));
    }
}
