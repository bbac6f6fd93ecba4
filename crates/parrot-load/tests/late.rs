//! The program when the system keeps it from running.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use parrot_testkit::scripted::reporting;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_client_that_could_not_run_reports_that_it_was_the_limit() {
    let (address, receives) = reporting();
    let load = Command::new(env!("CARGO_BIN_EXE_parrot-load"))
        .args(["-c", "1", "--rate", "500", "--warmup", "0s", "-d", "2s", "--json", "--quiet"])
        .arg(address.port().to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&load);
    receives.recv().expect("the load begins");
    kill_process(pid, Signal::STOP).unwrap();
    // A quarter of the window passes without the client.
    thread::sleep(Duration::from_millis(500));
    kill_process(pid, Signal::CONT).unwrap();
    let output = load.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let marks: Vec<&str> = report["marks"].as_array().unwrap().iter().filter_map(|mark| mark.as_str()).collect();
    assert!(marks.contains(&"client-bound"), "{report}");
    assert!(report["lateness"]["p99"].as_f64().unwrap() > 100_000.0, "in microseconds: {report}");
}
