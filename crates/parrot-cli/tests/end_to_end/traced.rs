//! What strace shows and does on Linux: the system calls of a connection, and registrations that fail.

use std::fs;
use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use parrot_testkit::client::{echo, expect, expect_end, fill};
use parrot_testkit::parrot::isolated;
use parrot_testkit::wait_until;

use crate::support::{data, parrot, scratch, skip, spawn};

/// The server under strace with these options. `-D` leaves the server its own process, so that signals reach it.
fn traced(options: &[&str], trace: &Path, arguments: &[&str]) -> Option<Command> {
    let found = Command::new("strace").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skip("strace is not installed");
        return None;
    }
    let server = parrot(arguments);
    let mut command = isolated(Command::new("strace"));
    command.args(["-D", "-qq", "-o"]).arg(trace).args(options).arg(server.get_program()).args(server.get_args());
    Some(command)
}

#[test]
fn a_connection_with_one_message_takes_ten_calls() {
    let trace = scratch("calls.strace");
    let Some(mut command) = traced(&[], &trace, &["--log", "off"]) else { return };
    let parrot = spawn(&mut command);
    // The first connection also shows whether sockets inherit options, so count the calls of the second.
    for message in ["first", "second"] {
        let mut stream = parrot.connect();
        let closed = || fs::read_to_string(&trace).unwrap().matches("close(").count();
        let before = closed();
        echo(&stream, message.as_bytes());
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        wait_until("the connection is closed", || closed() > before);
    }
    let trace = fs::read_to_string(&trace).unwrap();
    let calls: Vec<&str> = trace.lines().filter_map(|line| line.split('(').next()).collect();
    let last = calls.iter().rposition(|call| *call == "close").unwrap();
    let first = calls[..last].iter().rposition(|call| *call == "close").unwrap();
    let mut calls: Vec<&str> = calls[first + 1..=last].to_vec();
    // Without optimisation, std looks with fcntl whether a descriptor is open before it closes it.
    calls.retain(|call| !call.starts_with("epoll_wait") && !call.starts_with("epoll_pwait") && *call != "fcntl");
    let expected = ["accept4", "epoll_ctl", "accept4", "recvfrom", "sendto", "recvfrom", "epoll_ctl", "close"];
    assert_eq!(calls, expected, "beside waits");
    parrot.stop().unwrap();
}

/// Runs many connections, one of which reads late, under an error of registrations. Nothing may be lost.
fn nothing_is_lost(error: &str) {
    let trace = scratch("watch.strace");
    let inject = format!("inject=epoll_ctl:error={error}:when=8+3");
    let options = ["-e", "trace=epoll_ctl", "-e", &inject];
    let Some(mut command) = traced(&options, &trace, &["--log", "off"]) else { return };
    let parrot = spawn(&mut command);
    let slow = parrot.connect();
    let sent = fill(&slow, data());
    let others: Vec<_> = (0..20).map(|_| parrot.connect()).collect();
    for stream in &others {
        echo(stream, b"squawk");
    }
    expect(&slow, &data()[..sent]);
    for stream in others.iter().chain([&slow]) {
        stream.shutdown(Shutdown::Write).unwrap();
        expect_end(stream);
    }
    assert!(fs::read_to_string(&trace).unwrap().contains("(INJECTED)"), "no registration failed");
    let stderr = parrot.stderr();
    let warnings = stderr.matches("cannot accept for the moment").count();
    assert!(warnings >= 1, "{stderr}");
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("21 accepted") && summary.contains("21 peer finished"), "{summary}");
}

#[test]
fn without_room_for_watches_no_connection_is_lost() {
    nothing_is_lost("ENOSPC");
}

#[test]
fn without_memory_for_watches_no_connection_is_lost() {
    nothing_is_lost("ENOMEM");
}

#[test]
fn a_lasting_lack_of_watches_keeps_the_backlog() {
    let trace = scratch("lasting.strace");
    let options = ["-e", "trace=epoll_ctl", "-e", "inject=epoll_ctl:error=ENOSPC:when=9+"];
    let Some(mut command) = traced(&options, &trace, &["--log", "off"]) else { return };
    let parrot = spawn(&mut command);
    let streams: Vec<_> = (0..8).map(|_| parrot.connect()).collect();
    // Every registration from some point on fails, and none of the connections is closed because of it.
    parrot.line("cannot accept for the moment").unwrap();
    thread::scope(|scope| {
        for mut stream in &streams {
            scope.spawn(move || {
                stream.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
                match stream.read(&mut [0]) {
                    Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)),
                    Ok(n) => panic!("{n} bytes or the end without a reason"),
                }
            });
        }
    });
    assert_eq!(parrot.stderr().matches("cannot accept for the moment").count(), 1, "one warning in ten seconds");
}
