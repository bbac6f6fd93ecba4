//! Idleness: a connection's, which may have a limit, and the server's, which costs nothing.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::{Parrot, data, echo, eventually, expect, expect_end, fill, number};

#[test]
fn a_connection_with_no_byte_in_or_out_is_closed_after_the_timeout() {
    let parrot = Parrot::start(&["--idle-timeout", "300ms"]);
    let stream = parrot.connect();
    echo(&stream, b"squawk");
    let start = Instant::now();
    expect_end(&stream);
    assert!(start.elapsed() >= Duration::from_millis(250), "closed after only {:?}", start.elapsed());
    let summary = parrot.stop();
    assert!(summary.contains("; 1 idle timeout"), "{summary}");
}

#[test]
fn a_connection_that_speaks_now_and_then_stays() {
    let parrot = Parrot::start(&["--idle-timeout", "2s"]);
    let stream = parrot.connect();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        echo(&stream, b"squawk");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_peer_that_takes_no_byte_is_idle_too() {
    let parrot = Parrot::start(&["--idle-timeout", "2s"]);
    let stream = parrot.connect();
    fill(&stream, data());
    eventually("the connection is closed", || {
        parrot.signal(Signal::USR1);
        let said = parrot.stderr();
        let latest = said.lines().rfind(|line| line.contains("connections open"));
        latest.is_some_and(|line| number(line, "connections open") == 0)
    });
    drop(stream);
    let summary = parrot.stop();
    assert!(summary.contains("; 1 idle timeout"), "{summary}");
}

#[test]
fn who_has_sent_something_is_not_idle_however_late_its_event_comes() {
    // A wait reports 1,024 events.
    const MANY: usize = 1200;
    for seconds in [4, 16, 64] {
        let parrot = Parrot::start(&["--idle-timeout", &format!("{seconds}s")]);
        let idle = Duration::from_secs(seconds);
        let start = Instant::now();
        let Some(streams) = parrot.connect_many(MANY) else { return };
        parrot.stop_for_a_while();
        // On a slow machine the first may have been idle before the last was connected.
        if start.elapsed() < idle {
            return sends_while_stopped(&parrot, &streams, idle);
        }
    }
    panic!("{MANY} connections took more than a minute");
}

/// Has the server find, later than the idle timeout, that all have sent something.
fn sends_while_stopped(parrot: &Parrot, streams: &[TcpStream], idle: Duration) {
    for mut stream in streams {
        stream.write_all(b"and once more").unwrap();
    }
    thread::sleep(idle + Duration::from_millis(200));
    parrot.signal(Signal::CONT);
    for stream in streams {
        expect(stream, b"and once more");
    }
}

#[test]
fn who_waits_for_a_buffer_is_not_idle() {
    let parrot = Parrot::start(&["--max-buffered", "128KiB", "--idle-timeout", "4s"]);
    let mut waiting = parrot.connect();
    echo(&waiting, b"squawk");
    // So that the one who holds the only buffer may stay for longer.
    thread::sleep(Duration::from_secs(2));
    let holder = parrot.connect();
    fill(&holder, data());
    waiting.write_all(b"when you have time").unwrap();
    expect(&waiting, b"when you have time");
    drop(waiting);
    let summary = parrot.stop();
    assert!(summary.contains("; 1 idle timeout"), "the holder, who takes nothing: {summary}");
}
