//! A reset ends its own connection, silently, and nothing else.

use std::io::Write;

use parrot_testkit::client::{echo, fill, reset};
use parrot_testkit::parrot::number;
use parrot_testkit::wait_until;
use rustix::process::Signal;

use crate::support::{data, start};

#[test]
fn resets_at_any_moment_leave_other_connections_alone() {
    let parrot = start(&[]);
    let healthy = parrot.connect();
    for round in 0..200 {
        let mut stream = parrot.connect();
        match round % 4 {
            // Before the first byte, with an echo on its way, after an echo, and with a long echo on its way.
            0 => {}
            1 => stream.write_all(b"squawk").unwrap(),
            2 => echo(&stream, b"squawk"),
            _ => stream.write_all(&data()[..100_000]).unwrap(),
        }
        reset(stream).unwrap();
        echo(&healthy, b"still here");
    }
    drop(healthy);
    parrot.stop().unwrap();
}

#[test]
fn a_reset_closes_a_connection_that_waits_to_send() {
    let parrot = start(&[]);
    let stream = parrot.connect();
    fill(&stream, data());
    reset(stream).unwrap();
    wait_until("the connection is closed", || number(&parrot.statistics().unwrap(), "connections open").unwrap() == 0);
}

#[test]
fn a_reset_is_counted_without_a_warning() {
    let mut parrot = start(&[]);
    for _ in 0..50 {
        let stream = parrot.connect();
        echo(&stream, b"squawk");
        reset(stream).unwrap();
    }
    parrot.signal(Signal::TERM).unwrap();
    let summary = parrot.wait_for_summary().unwrap();
    assert!(summary.contains("; 50 reset"), "{summary}");
    let stderr = parrot.stderr();
    assert!(!stderr.contains("WARN") && !stderr.contains("ERROR"), "{stderr}");
}
