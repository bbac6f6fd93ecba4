//! Signals that are not the end.

use rustix::process::Signal;

use crate::support::{Parrot, echo};

#[test]
fn sigusr1_prints_a_line_of_statistics_however_quiet_it_is() {
    let parrot = Parrot::start(&[]);
    let quiet = parrot.connect();
    echo(&quiet, b"Hello Parrot\n");
    parrot.signal(Signal::USR1);
    let line = parrot.stderr_line("connections open");
    assert!(line.contains("1 connections open, 1 accepted"), "{line}");
    assert!(line.contains("1 messages, 13 bytes in, 13 bytes out"), "{line}");
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
