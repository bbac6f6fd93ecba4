//! The end: what was sent is sent back, nobody new is let in, and it does not take for ever.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, send};
use rustix::process::Signal;

use crate::support::{Parrot, data, echo, eventually, expect, expect_end, fill, skip};

#[test]
fn bytes_pending_at_sigterm_all_arrive_before_the_end() {
    let mut parrot = Parrot::start(&["--drain-timeout", "30s"]);
    let mut stream = parrot.connect();
    // Piece by piece, until the server owes what nothing has room for. It owes what has reached it; bytes on their way at
    // the end of its input may come too late, and only Linux delivers on loopback before the sender's call returns.
    let mut written = 0;
    loop {
        let piece = &data()[written..written + (64 << 10)];
        stream.write_all(piece).unwrap();
        written += piece.len();
        eventually("it has arrived", || parrot.bytes().received == written);
        if parrot.bytes().sent < written {
            break;
        }
    }
    parrot.signal(Signal::TERM);
    eventually("nobody new is let in", || {
        TcpStream::connect(parrot.address()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    expect(&stream, &data()[..written]);
    expect_end(&stream);
    assert!(!parrot.has_ended(), "it ended before its peer did");
    drop(stream);
    assert_eq!(parrot.wait().code(), Some(0));
}

#[test]
fn an_idle_connection_is_ended_and_its_peer_awaited() {
    let mut parrot = Parrot::start(&["--drain-timeout", "30s"]);
    let stream = parrot.connect();
    echo(&stream, b"squawk");
    parrot.signal(Signal::INT);
    expect_end(&stream);
    assert!(!parrot.has_ended(), "it ended before its peer did");
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(parrot.wait().code(), Some(0));
}

#[test]
fn what_waits_in_the_backlog_is_served_too() {
    let mut parrot = Parrot::start(&["--drain-timeout", "30s"]);
    echo(&parrot.connect(), b"squawk");
    // Stopped, it finds connections, their bytes and the signal all at once when it goes on.
    parrot.stop_for_a_while();
    // More than it accepts in one turn, and no more than the smallest limit of a backlog (128) lets wait.
    let waiting: Vec<TcpStream> = (0..120).map(|_| parrot.connect()).collect();
    for mut stream in &waiting {
        stream.write_all(b"was here before the end").unwrap();
    }
    parrot.signal(Signal::TERM);
    parrot.signal(Signal::CONT);
    for stream in &waiting {
        expect(stream, b"was here before the end");
        expect_end(stream);
    }
    drop(waiting);
    assert_eq!(parrot.wait().code(), Some(0));
}

#[test]
fn what_stands_behind_urgent_data_is_sent_back_though_no_event_told_of_it() {
    if cfg!(not(target_os = "linux")) {
        return skip("elsewhere loopback delivers what so many send at once later, and what comes later is too late");
    }
    let parrot = Parrot::start(&["--drain-timeout", "30s"]);
    // The drain looks at the first thousand in its second turn, when 2,048 events have come: those of the last.
    let Some(streams) = parrot.connect_many(2400) else { return };
    parrot.stop_for_a_while();
    parrot.signal(Signal::TERM);
    for stream in streams.iter().rev() {
        for (bytes, flags) in [(b"abc", SendFlags::empty()), (b"def", SendFlags::OOB), (b"ghi", SendFlags::empty())] {
            assert_eq!(send(stream, bytes, flags).unwrap(), 3);
        }
    }
    parrot.signal(Signal::CONT);
    for stream in &streams {
        expect(stream, b"abcdefghi");
        expect_end(stream);
    }
}

#[test]
fn the_drain_timeout_ends_those_who_do_not_go() {
    let mut parrot = Parrot::start(&["--drain-timeout", "300ms"]);
    let (idle, deaf) = (parrot.connect(), parrot.connect());
    echo(&idle, b"squawk");
    fill(&deaf, data());
    let start = Instant::now();
    parrot.signal(Signal::TERM);
    assert_eq!(parrot.wait().code(), Some(0));
    assert!(start.elapsed() >= Duration::from_millis(300), "the time-out was not waited for");
    let summary = parrot.stderr_line("drained: ");
    assert!(summary.contains("0 connections open, 2 accepted"), "{summary}");
    assert!(summary.contains("; 2 drain timeout"), "{summary}");
}

#[test]
fn a_second_signal_ends_at_once() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let mut parrot = Parrot::start(&["--drain-timeout", "1h"]);
        let stream = parrot.connect();
        echo(&stream, b"squawk");
        parrot.signal(signal);
        // The end of the stream shows that the first signal has arrived: two at once could be taken for one.
        expect_end(&stream);
        parrot.signal(signal);
        assert_eq!(parrot.wait().code(), Some(code));
    }
}

#[test]
fn without_connections_it_ends_at_once() {
    let parrot = Parrot::start(&["--drain-timeout", "1h"]);
    let summary = parrot.stop();
    assert!(summary.contains("0 connections open, 0 accepted"), "{summary}");
}
