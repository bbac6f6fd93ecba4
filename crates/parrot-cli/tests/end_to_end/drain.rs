//! The drain sends back what has arrived, refuses new connections, and ends in time.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use parrot_testkit::client::{echo, expect, expect_end, fill};
use parrot_testkit::parrot::number;
use parrot_testkit::wait_until;
use rustix::net::{SendFlags, send};
use rustix::process::Signal;

use crate::support::{connect_many, data, skip, start};

#[test]
fn bytes_pending_at_sigterm_arrive_before_the_end() {
    let mut parrot = start(&["--drain-timeout", "30s"]);
    let mut stream = parrot.connect();
    let count = |words| number(&parrot.statistics().unwrap(), words).unwrap() as usize;
    // Piece by piece, until bytes that have reached the server find no room on their way back. Bytes that are still on
    // their way to it at the signal may come too late. Only on Linux does loopback deliver before the sender's call
    // returns.
    let mut written = 0;
    loop {
        let piece = &data()[written..written + (64 << 10)];
        stream.write_all(piece).unwrap();
        written += piece.len();
        wait_until("it has arrived", || count("bytes in") == written);
        if count("bytes out") < written {
            break;
        }
    }
    parrot.signal(Signal::TERM).unwrap();
    wait_until("new connections are refused", || {
        TcpStream::connect(parrot.address()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    expect(&stream, &data()[..written]);
    expect_end(&stream);
    assert!(parrot.ended().unwrap().is_none(), "it ended before its peer did");
    drop(stream);
    assert_eq!(parrot.wait().unwrap().code(), Some(0));
}

#[test]
fn a_drain_shuts_down_idle_connections_and_awaits_their_peers() {
    let mut parrot = start(&["--drain-timeout", "30s"]);
    let stream = parrot.connect();
    echo(&stream, b"squawk");
    parrot.signal(Signal::INT).unwrap();
    expect_end(&stream);
    assert!(parrot.ended().unwrap().is_none(), "it ended before its peer did");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(parrot.wait().unwrap().code(), Some(0));
}

#[test]
fn a_drain_serves_what_waits_in_the_backlog() {
    let mut parrot = start(&["--drain-timeout", "30s"]);
    echo(&parrot.connect(), b"squawk");
    // A stopped server finds connections, their bytes and the signal all at once when it goes on.
    parrot.pause().unwrap();
    // More than it accepts in one turn, and no more than the smallest limit of a backlog (128) lets wait.
    let waiting: Vec<TcpStream> = (0..120).map(|_| parrot.connect()).collect();
    for mut stream in &waiting {
        stream.write_all(b"was here before the end").unwrap();
    }
    parrot.signal(Signal::TERM).unwrap();
    parrot.signal(Signal::CONT).unwrap();
    for stream in &waiting {
        expect(stream, b"was here before the end");
        expect_end(stream);
    }
    drop(waiting);
    assert_eq!(parrot.wait().unwrap().code(), Some(0));
}

#[test]
fn drain_echoes_bytes_after_urgent_data_without_an_event() {
    if cfg!(not(target_os = "linux")) {
        return skip("elsewhere loopback delivers this many sends later, and some bytes arrive too late");
    }
    let parrot = start(&["--drain-timeout", "30s"]);
    // The drain looks at the first thousand in its second turn, when 2,048 events have come, those of the last.
    let Some(streams) = connect_many(&parrot, 2400) else { return };
    parrot.pause().unwrap();
    parrot.signal(Signal::TERM).unwrap();
    for stream in streams.iter().rev() {
        for (bytes, flags) in [(b"abc", SendFlags::empty()), (b"def", SendFlags::OOB), (b"ghi", SendFlags::empty())] {
            assert_eq!(send(stream, bytes, flags).unwrap(), 3);
        }
    }
    parrot.signal(Signal::CONT).unwrap();
    for stream in &streams {
        expect(stream, b"abcdefghi");
        expect_end(stream);
    }
}

#[test]
fn the_drain_timeout_closes_connections_that_remain() {
    let parrot = start(&["--drain-timeout", "300ms"]);
    let (idle, deaf) = (parrot.connect(), parrot.connect());
    echo(&idle, b"squawk");
    fill(&deaf, data());
    let start = Instant::now();
    let summary = parrot.stop().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300), "it ended before the timeout");
    assert!(summary.contains("0 connections open, 2 accepted"), "{summary}");
    assert!(summary.contains("; 2 drain timeout"), "{summary}");
}

#[test]
fn a_second_signal_ends_at_once() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut parrot = start(&["--drain-timeout", "1h"]);
        let stream = parrot.connect();
        echo(&stream, b"squawk");
        parrot.signal(signal).unwrap();
        // The end of the stream shows that the first signal was taken. Two pending at once could count as one.
        expect_end(&stream);
        parrot.signal(signal).unwrap();
        assert_eq!(parrot.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_drain_delay_accepts_and_serves_before_the_drain() {
    let mut parrot = start(&["--drain-delay", "500ms", "--drain-timeout", "30s"]);
    let early = parrot.connect();
    echo(&early, b"before the signal");
    let start = Instant::now();
    parrot.signal(Signal::TERM).unwrap();
    parrot.line("leaving: ").unwrap();
    let late = parrot.connect();
    for stream in [&early, &late] {
        echo(stream, b"in the delay");
    }
    expect_end(&early);
    expect_end(&late);
    assert!(start.elapsed() >= Duration::from_millis(500), "the drain began too early");
    drop((early, late));
    let summary = parrot.wait_for_summary().unwrap();
    assert!(summary.contains(" 2 accepted"), "{summary}");
}

#[test]
fn each_signal_goes_a_step_further_than_the_last() {
    let mut parrot = start(&["--drain-delay", "1h", "--drain-timeout", "1h"]);
    let stream = parrot.connect();
    parrot.signal(Signal::TERM).unwrap();
    parrot.line("leaving: ").unwrap();
    echo(&stream, b"squawk");
    parrot.signal(Signal::TERM).unwrap();
    expect_end(&stream);
    assert!(parrot.ended().unwrap().is_none(), "the second signal did more than begin the drain");
    parrot.signal(Signal::TERM).unwrap();
    assert_eq!(parrot.wait().unwrap().code(), Some(143));
}

#[test]
fn sigint_skips_the_drain_delay() {
    let mut parrot = start(&["--drain-delay", "1h"]);
    let stream = parrot.connect();
    echo(&stream, b"squawk");
    parrot.signal(Signal::INT).unwrap();
    expect_end(&stream);
    drop(stream);
    assert_eq!(parrot.wait().unwrap().code(), Some(0));
    assert!(!parrot.stderr().contains("leaving"), "{}", parrot.stderr());
}

#[test]
fn without_connections_a_drain_ends_at_once() {
    let summary = start(&["--drain-timeout", "1h"]).stop().unwrap();
    assert!(summary.contains("0 connections open, 0 accepted"), "{summary}");
}
