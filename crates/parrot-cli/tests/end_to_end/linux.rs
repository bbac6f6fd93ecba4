//! What only Linux shows of another process: the processor time, the sleeps and the memory that doing nothing takes.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Parrot, data, echo, eventually, expect, expect_end, fill, limited, number, parrot, scratch};

/// Waits until no thread of the server wakes up any more.
fn until_it_rests(parrot: &Parrot) {
    eventually("all threads sleep", || {
        let before = (parrot.sleeps(), parrot.processor_time());
        thread::sleep(Duration::from_millis(100));
        (parrot.sleeps(), parrot.processor_time()) == before
    });
}

#[test]
fn an_idle_server_makes_no_wake_ups() {
    let log = scratch("idle.log");
    let parrot = Parrot::spawn(parrot(&["--log-file"]).arg(&log));
    let streams: Vec<TcpStream> = (0..100).map(|_| parrot.connect()).collect();
    for stream in &streams {
        echo(stream, b"squawk");
    }
    eventually("the log is written", || fs::read_to_string(&log).unwrap().lines().count() == 100);
    // The log's thread looks once more for lines that have come meanwhile.
    until_it_rests(&parrot);
    let before = parrot.sleeps();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(parrot.sleeps() - before, 0, "woken with nothing to do");
}

#[test]
fn a_half_closed_peer_that_does_not_read_costs_no_processor_time() {
    let parrot = Parrot::start(&[]);
    let stream = parrot.connect();
    let written = fill(&stream, data());
    stream.shutdown(Shutdown::Write).unwrap();
    until_it_rests(&parrot);
    let (before, sleeps) = (parrot.processor_time(), parrot.sleeps());
    thread::sleep(Duration::from_millis(500));
    let spent = parrot.processor_time() - before;
    assert!(spent <= Duration::from_millis(20), "{spent:?} of 500 ms for a peer that does nothing");
    assert!(parrot.sleeps() - sleeps < 10, "woken for a peer that does nothing");
    expect(&stream, &data()[..written]);
    expect_end(&stream);
}

#[test]
fn without_descriptors_it_neither_spins_nor_floods_its_log() {
    let parrot = Parrot::spawn(&mut limited("-n 16", &parrot(&["--log", "off"])));
    let clients: Vec<TcpStream> = (0..40).map(|_| parrot.connect()).collect();
    eventually("it has noticed", || parrot.stderr().lines().count() > 2);
    let before = parrot.processor_time();
    thread::sleep(Duration::from_secs(1));
    let spent = parrot.processor_time() - before;
    assert!(spent <= Duration::from_millis(50), "{spent:?} in a second of nothing to do");
    let lines = parrot.stderr().lines().count();
    assert!(lines < 10, "{lines} lines on stderr: {}", parrot.stderr());
    drop(clients);
    let client = parrot.connect();
    echo(&client, b"back in service");
}

#[test]
fn memory_stays_below_the_cap_however_many_do_not_read() {
    let parrot = Parrot::start(&["--max-buffered", "1MiB"]);
    echo(&parrot.connect(), &data()[..200_000]);
    let before = parrot.status("VmRSS");
    let deaf: Vec<TcpStream> = (0..40).map(|_| parrot.connect()).collect();
    for stream in &deaf {
        stream.set_nonblocking(true).unwrap();
    }
    let mut written = 1;
    while written > 0 {
        written = deaf.iter().map(|mut stream| stream.write(&data()[..128 << 10]).unwrap_or(0)).sum();
    }
    let grown = parrot.status("VmRSS").saturating_sub(before);
    assert!(grown <= 2048, "{grown} KiB more with a cap of 1 MiB");
}

#[test]
fn without_memory_for_buffers_it_waits_for_some_and_goes_on() {
    // Room for the program and some two hundred buffers of 128 KiB.
    let parrot = Parrot::spawn(&mut limited("-v 32768", &parrot(&["--log", "off"])));
    let healthy = parrot.connect();
    echo(&healthy, b"before");
    let deaf: Vec<TcpStream> = (0..400).map(|_| parrot.connect_with_tiny_buffers()).collect();
    for stream in &deaf {
        stream.set_nonblocking(true).unwrap();
    }
    eventually("it has tried to get a buffer several times", || {
        for mut stream in &deaf {
            let _ = stream.write(&data()[..64 << 10]);
        }
        parrot.signal(Signal::USR1);
        let said = parrot.stderr();
        said.lines().rfind(|line| line.contains(" retries")).is_some_and(|line| number(line, "retries") > 1000)
    });
    drop(deaf);
    echo(&healthy, b"after");
    parrot.stop();
}

#[test]
fn busy_polling_ends_some_time_after_the_last_event() {
    let parrot = Parrot::start(&["--busy-poll", "20ms"]);
    let stream = parrot.connect();
    for _ in 0..100 {
        echo(&stream, b"squawk");
    }
    // Sleeping again: the processor time stands still from one look to the next.
    eventually("it sleeps", || {
        let before = parrot.processor_time();
        thread::sleep(Duration::from_millis(100));
        parrot.processor_time() == before
    });
    echo(&stream, b"awake");
}

#[test]
fn every_socket_is_non_blocking_and_closed_on_exec() {
    // What fcntl(2) shows of them on Linux.
    const NONBLOCK: u32 = 0o4000;
    const CLOEXEC: u32 = 0o2_000_000;

    let open_by = |process: &str| -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir(format!("{process}/fd")).unwrap().map(Result::unwrap);
        let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read_link(entry.path())));
        named.filter_map(|(number, target)| Some((number, target.ok()?))).collect()
    };
    // Whoever runs the tests may hand sockets of its own down; those are not Parrot's.
    let handed_down: Vec<PathBuf> = open_by("/proc/self").into_iter().map(|(_, target)| target).collect();
    let parrot = Parrot::start(&[]);
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
    let parrot = Parrot::start(&["--backlog", "3"]);
    parrot.signal(Signal::STOP);
    let state = format!("/proc/{}/status", parrot.pid());
    eventually("it has stopped", || fs::read_to_string(&state).unwrap().contains("State:\tT"));
    // Linux lets one more than that wait (include/net/sock.h, sk_acceptq_is_full).
    let waiting: Vec<TcpStream> = (0..4).map(|_| parrot.connect()).collect();
    let late = TcpStream::connect_timeout(&parrot.address(), Duration::from_millis(200));
    assert!(late.is_err(), "one connection more than the backlog holds");
    parrot.signal(Signal::CONT);
    for stream in &waiting {
        echo(stream, b"squawk");
    }
}
