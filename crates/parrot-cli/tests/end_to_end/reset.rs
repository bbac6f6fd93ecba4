//! A reset ends its own connection, quietly, and nothing else.

use std::io::Write;

use rustix::process::Signal;

use crate::support::{Parrot, data, echo, eventually, fill, reset};

#[test]
fn resets_at_any_moment_leave_the_others_alone() {
    let parrot = Parrot::start(&[]);
    let healthy = parrot.connect();
    for round in 0..200 {
        let mut stream = parrot.connect();
        match round % 4 {
            // Before a byte was sent, with an echo on its way, after it has come, and with more than that on its way.
            0 => {}
            1 => stream.write_all(b"squawk").unwrap(),
            2 => echo(&stream, b"squawk"),
            _ => stream.write_all(&data()[..100_000]).unwrap(),
        }
        reset(stream);
        echo(&healthy, b"still here");
    }
    drop(healthy);
    parrot.stop();
}

#[test]
fn a_reset_while_the_server_waits_to_send_frees_the_connection() {
    let parrot = Parrot::start(&[]);
    let stream = parrot.connect();
    fill(&stream, data());
    reset(stream);
    eventually("the connection is gone", || {
        parrot.signal(Signal::USR1);
        parrot.stderr().contains(" 0 connections open")
    });
}

#[test]
fn a_reset_is_counted_and_no_news() {
    let mut parrot = Parrot::start(&[]);
    for _ in 0..50 {
        let stream = parrot.connect();
        echo(&stream, b"squawk");
        reset(stream);
    }
    parrot.signal(Signal::TERM);
    parrot.wait();
    let summary = parrot.stderr_line("drained: ");
    assert!(summary.contains("; 50 reset"), "{summary}");
    let stderr = parrot.stderr();
    assert!(!stderr.contains("WARN") && !stderr.contains("ERROR"), "{stderr}");
}
