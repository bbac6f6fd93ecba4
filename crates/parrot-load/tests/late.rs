//! The program itself, when the system takes its time away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_client_that_is_kept_from_running_says_that_it_was_the_limit() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, first) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut message = [0; 12];
        while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok() {
            let _ = asked.send(());
        }
    });
    let load = Command::new(env!("CARGO_BIN_EXE_parrot-load"))
        .args(["-c", "1", "--rate", "500", "--warmup", "0s", "-d", "2s", "--json", "--quiet", &port.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_child(&load);
    first.recv().expect("the load begins");
    kill_process(pid, Signal::STOP).unwrap();
    // The test's own stimulus: a quarter of the window passes without the client.
    thread::sleep(Duration::from_millis(500));
    kill_process(pid, Signal::CONT).unwrap();
    let output = load.wait_with_output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let marks: Vec<&str> = report["marks"].as_array().unwrap().iter().filter_map(|mark| mark.as_str()).collect();
    assert!(marks.contains(&"client-bound"), "{report}");
    assert!(report["lateness"]["p99"].as_f64().unwrap() > 100_000.0, "in microseconds: {report}");
}
