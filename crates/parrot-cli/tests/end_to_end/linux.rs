//! The cost of the server, which only Linux shows of another process. With nothing to do the server uses no processor
//! time, does not wake up and keeps its memory low.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use parrot_testkit::client::{connect_with_tiny_buffers, echo, expect, expect_end, fill};
use parrot_testkit::parrot::{Parrot, number};
use parrot_testkit::usage::Usage;
use parrot_testkit::wait_until;
use rustix::process::Signal;

use crate::support::{data, limited, parrot, scratch, spawn, start};

fn usage(parrot: &Parrot) -> Usage {
    Usage::of(parrot.pid()).unwrap()
}

/// Waits until all threads of the server sleep.
fn until_it_rests(parrot: &Parrot) {
    wait_until("all threads sleep", || {
        let before = usage(parrot);
        thread::sleep(Duration::from_millis(100));
        let now = usage(parrot);
        (now.sleeps, now.processor) == (before.sleeps, before.processor)
    });
}

#[test]
fn an_idle_server_makes_no_wake_ups() {
    let log = scratch("idle.log");
    let parrot = spawn(parrot(&["--log-file"]).arg(&log));
    let streams: Vec<TcpStream> = (0..100).map(|_| parrot.connect()).collect();
    for stream in &streams {
        echo(stream, b"squawk");
    }
    wait_until("the log is written", || fs::read_to_string(&log).unwrap().lines().count() == 100);
    // The log's thread looks for lines once more, which may be late on a busy machine.
    until_it_rests(&parrot);
    let is_woken = || {
        let before = usage(&parrot).sleeps;
        thread::sleep(Duration::from_secs(1));
        usage(&parrot).sleeps > before
    };
    assert!(!is_woken() || !is_woken() || !is_woken(), "woken with nothing to do");
}

#[test]
fn a_half_closed_peer_that_does_not_read_costs_nothing() {
    let parrot = start(&[]);
    let stream = parrot.connect();
    let written = fill(&stream, data());
    stream.shutdown(Shutdown::Write).unwrap();
    until_it_rests(&parrot);
    let before = usage(&parrot);
    thread::sleep(Duration::from_millis(500));
    let after = usage(&parrot);
    let spent = after.processor - before.processor;
    assert!(spent <= Duration::from_millis(20), "{spent:?} of 500 ms for a peer that does nothing");
    assert!(after.sleeps - before.sleeps < 10, "woken for a peer that does nothing");
    expect(&stream, &data()[..written]);
    expect_end(&stream);
}

#[test]
fn without_descriptors_it_neither_spins_nor_floods_stderr() {
    let parrot = spawn(&mut limited("-n 16", &parrot(&["--log", "off"])));
    let clients: Vec<TcpStream> = (0..40).map(|_| parrot.connect()).collect();
    wait_until("it warns", || parrot.stderr().lines().count() > 2);
    let before = usage(&parrot).processor;
    thread::sleep(Duration::from_secs(1));
    let spent = usage(&parrot).processor - before;
    assert!(spent <= Duration::from_millis(50), "{spent:?} in a second with nothing to do");
    let lines = parrot.stderr().lines().count();
    assert!(lines < 10, "{lines} lines on stderr: {}", parrot.stderr());
    drop(clients);
    let client = parrot.connect();
    echo(&client, b"back in service");
}

/// Opens connections that have sent as much as is taken, and never read.
fn deaf_peers(parrot: &Parrot, count: usize) -> Vec<TcpStream> {
    let deaf: Vec<TcpStream> = (0..count).map(|_| parrot.connect()).collect();
    for stream in &deaf {
        stream.set_nonblocking(true).unwrap();
    }
    let write = || deaf.iter().map(|mut stream| stream.write(&data()[..128 << 10]).unwrap_or(0)).sum::<usize>();
    while write() > 0 || {
        until_it_rests(parrot);
        write() > 0
    } {}
    deaf
}

#[test]
fn memory_stays_below_the_cap_if_no_peer_reads() {
    let parrot = start(&["--max-buffered", "1MiB"]);
    echo(&parrot.connect(), &data()[..100_000]);
    let before = usage(&parrot).memory;
    let _deaf = deaf_peers(&parrot, 40);
    let grown = usage(&parrot).memory.saturating_sub(before);
    assert!(grown <= 2 << 20, "{grown} bytes more with a cap of 1 MiB");
}

#[test]
fn peers_that_never_read_hold_128_kib_each() {
    const PEERS: usize = 32;
    const BUFFER: u64 = 128 << 10;
    let parrot = start(&[]);
    echo(&parrot.connect(), &data()[..100_000]);
    let before = usage(&parrot).memory;
    let _deaf = deaf_peers(&parrot, PEERS);
    let grown = usage(&parrot).memory.saturating_sub(before);
    let expected = ((PEERS as u64 - 8) * BUFFER)..((PEERS as u64 + 8) * BUFFER);
    assert!(expected.contains(&grown), "{grown} bytes more for {PEERS} peers that never read");
}

#[test]
fn without_memory_for_buffers_it_retries_and_recovers() {
    // Room for the program and some two hundred buffers of 128 KiB.
    let parrot = spawn(&mut limited("-v 32768", &parrot(&["--log", "off", "--max-buffered", "256MiB"])));
    let healthy = parrot.connect();
    echo(&healthy, b"before");
    let deaf: Vec<TcpStream> = (0..400).map(|_| connect_with_tiny_buffers(parrot.address())).collect();
    for stream in &deaf {
        stream.set_nonblocking(true).unwrap();
    }
    wait_until("it has tried to get a buffer many times", || {
        for mut stream in &deaf {
            let _ = stream.write(&data()[..64 << 10]);
        }
        number(&parrot.statistics().unwrap(), "retries").is_ok_and(|retries| retries > 1000)
    });
    drop(deaf);
    echo(&healthy, b"after");
    parrot.stop().unwrap();
}

#[test]
fn busy_polling_ends_some_time_after_the_last_event() {
    let parrot = start(&["--busy-poll", "20ms"]);
    let stream = parrot.connect();
    for _ in 0..100 {
        echo(&stream, b"squawk");
    }
    wait_until("it sleeps", || {
        let before = usage(&parrot).processor;
        thread::sleep(Duration::from_millis(100));
        usage(&parrot).processor == before
    });
    echo(&stream, b"awake");
}

#[test]
fn every_socket_is_non_blocking_and_closed_on_exec() {
    // The flags as fcntl(2) shows them on Linux.
    const NONBLOCK: u32 = 0o4000;
    const CLOEXEC: u32 = 0o2_000_000;

    let open_by = |process: &str| -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir(format!("{process}/fd")).unwrap().map(Result::unwrap);
        let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read_link(entry.path())));
        named.filter_map(|(number, target)| Some((number, target.ok()?))).collect()
    };
    // The tests may have been started with sockets of their own, which the server then inherits.
    let handed_down: Vec<PathBuf> = open_by("/proc/self").into_iter().map(|(_, target)| target).collect();
    let parrot = start(&[]);
    let stream = parrot.connect();
    echo(&stream, b"squawk");
    let process = format!("/proc/{}", parrot.pid());
    let mut sockets = 0;
    for (number, target) in open_by(&process) {
        if target.to_str().unwrap().starts_with("socket:") && !handed_down.contains(&target) {
            let details = fs::read_to_string(format!("{process}/fdinfo/{number}")).unwrap();
            let flags = details.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            let flags = u32::from_str_radix(flags, 8).unwrap();
            assert_eq!(flags & (NONBLOCK | CLOEXEC), NONBLOCK | CLOEXEC, "descriptor {number}: {flags:o}");
            sockets += 1;
        }
    }
    assert_eq!(sockets, 2, "the listener and the connection");
}

#[test]
fn as_many_connections_wait_as_the_backlog_says() {
    let parrot = start(&["--backlog", "3"]);
    parrot.pause().unwrap();
    // Linux lets one more than that wait (include/net/sock.h, sk_acceptq_is_full).
    let waiting: Vec<TcpStream> = (0..4).map(|_| parrot.connect()).collect();
    let late = TcpStream::connect_timeout(&parrot.address(), Duration::from_millis(200));
    assert!(late.is_err(), "one connection more than the backlog holds");
    parrot.signal(Signal::CONT).unwrap();
    for stream in &waiting {
        echo(stream, b"squawk");
    }
}
