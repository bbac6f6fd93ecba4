//! Signals that are not the end.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{LOOPBACK, Parrot, echo, eventually, free_port, parrot};

#[test]
fn sigusr1_prints_a_line_of_statistics() {
    let parrot = Parrot::start(&[]);
    let stream = parrot.connect();
    echo(&stream, b"Hello Parrot\n");
    parrot.signal(Signal::USR1);
    let line = parrot.stderr_line("connections open");
    assert!(line.contains("1 connections open, 1 accepted"), "{line}");
    assert!(line.contains("1 messages, 13 bytes in, 13 bytes out"), "{line}");
}

#[test]
fn statistics_are_printed_however_quiet_it_is() {
    // Without a banner there is nothing to wait for but the port.
    let port = free_port();
    let mut command = parrot(&["--log", "off", "-qq", "--port", &port.to_string()]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    eventually("it listens", || TcpStream::connect((LOOPBACK, port)).is_ok());
    kill_process(Pid::from_child(&child), Signal::USR1).unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("connections open"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(not(target_os = "linux"))]
#[test]
fn siginfo_prints_a_line_of_statistics_too() {
    let parrot = Parrot::start(&[]);
    parrot.signal(Signal::INFO);
    parrot.stderr_line("0 connections open");
}

#[test]
fn sigpipe_and_sighup_do_not_end_it() {
    let parrot = Parrot::start(&[]);
    let stream = parrot.connect();
    for signal in [Signal::PIPE, Signal::HUP] {
        parrot.signal(signal);
        echo(&stream, b"still here");
    }
    drop(stream);
    parrot.stop();
}
