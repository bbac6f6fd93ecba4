//! Signals that do not end the server.

use std::net::TcpStream;

use parrot_testkit::client::{echo, free_port};
use parrot_testkit::process::Process;
use parrot_testkit::wait_until;
use rustix::process::Signal;

use crate::support::{LOOPBACK, parrot, start};

#[test]
fn sigusr1_prints_a_line_of_statistics() {
    let parrot = start(&[]);
    let stream = parrot.connect();
    echo(&stream, b"Hello Parrot\n");
    let line = parrot.statistics().unwrap();
    assert!(line.contains("1 connections open, 1 accepted"), "{line}");
    assert!(line.contains("1 messages, 13 bytes in, 13 bytes out"), "{line}");
}

#[test]
fn statistics_are_printed_even_with_quiet() {
    // There is no banner, so only the port shows when the server listens.
    let port = free_port().unwrap();
    let parrot = Process::spawn(&mut parrot(&["--log", "off", "-qq", "--port", &port.to_string()])).unwrap();
    wait_until("it listens", || TcpStream::connect((LOOPBACK, port)).is_ok());
    parrot.statistics().unwrap();
}

#[cfg(not(target_os = "linux"))]
#[test]
fn siginfo_prints_a_line_of_statistics_too() {
    let parrot = start(&[]);
    parrot.signal(Signal::INFO).unwrap();
    parrot.line("0 connections open").unwrap();
}

#[test]
fn sigpipe_and_sighup_do_not_end_it() {
    let parrot = start(&[]);
    let stream = parrot.connect();
    for signal in [Signal::PIPE, Signal::HUP] {
        parrot.signal(signal).unwrap();
        echo(&stream, b"still here");
    }
    drop(stream);
    parrot.stop().unwrap();
}
