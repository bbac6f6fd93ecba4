//! Idle connections, which may have a timeout.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use parrot_testkit::client::{echo, expect, expect_end, fill};
use parrot_testkit::parrot::{Parrot, number};
use parrot_testkit::wait_until;
use rustix::process::Signal;

use crate::support::{connect_many, data, start};

#[test]
fn an_idle_connection_is_closed_after_the_timeout() {
    let parrot = start(&["--idle-timeout", "300ms"]);
    let stream = parrot.connect();
    echo(&stream, b"squawk");
    let start = Instant::now();
    expect_end(&stream);
    assert!(start.elapsed() >= Duration::from_millis(250), "closed after only {:?}", start.elapsed());
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("; 1 idle timeout"), "{summary}");
}

#[test]
fn a_connection_with_a_message_now_and_then_stays() {
    let parrot = start(&["--idle-timeout", "2s"]);
    let stream = parrot.connect();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        echo(&stream, b"squawk");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_peer_that_reads_nothing_is_idle() {
    let parrot = start(&["--idle-timeout", "2s"]);
    let stream = parrot.connect();
    fill(&stream, data());
    wait_until("the connection is closed", || number(&parrot.statistics().unwrap(), "connections open").unwrap() == 0);
    drop(stream);
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("; 1 idle timeout"), "{summary}");
}

#[test]
fn a_peer_that_has_sent_is_not_idle_however_late_its_event() {
    // A wait reports 1,024 events.
    const MANY: usize = 1200;
    for seconds in [4, 16, 64] {
        let parrot = start(&["--idle-timeout", &format!("{seconds}s")]);
        let idle = Duration::from_secs(seconds);
        let start = Instant::now();
        let Some(streams) = connect_many(&parrot, MANY) else { return };
        parrot.pause().unwrap();
        // On a slow machine the first may have been idle before the last was connected.
        if start.elapsed() < idle {
            return sends_while_stopped(&parrot, &streams, idle);
        }
    }
    panic!("{MANY} connections took more than a minute");
}

/// Lets all connections send before the idle timeout and the server run again after it.
fn sends_while_stopped(parrot: &Parrot, streams: &[TcpStream], idle: Duration) {
    for mut stream in streams {
        stream.write_all(b"and once more").unwrap();
    }
    thread::sleep(idle + Duration::from_millis(200));
    parrot.signal(Signal::CONT).unwrap();
    for stream in streams {
        expect(stream, b"and once more");
    }
}

#[test]
fn a_peer_that_waits_for_a_buffer_is_not_idle() {
    let parrot = start(&["--max-buffered", "128KiB", "--idle-timeout", "4s"]);
    let mut waiting = parrot.connect();
    echo(&waiting, b"squawk");
    // The holder of the only buffer times out two seconds after this connection would.
    thread::sleep(Duration::from_secs(2));
    let holder = parrot.connect();
    fill(&holder, data());
    waiting.write_all(b"when you have time").unwrap();
    expect(&waiting, b"when you have time");
    drop(waiting);
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("; 1 idle timeout"), "the holder, which reads nothing: {summary}");
}
