//! The command line: help, errors with advice, and exit codes.

use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use parrot_testkit::client::{echo, free_port};
use parrot_testkit::process::Process;
use parrot_testkit::program::{Ended, run};
use parrot_testkit::wait_until;
use rustix::process::{Signal, geteuid};

use crate::support::{LOOPBACK, bare_parrot, parrot, scratch, skip, spawn, start};

fn output(command: &mut Command) -> Ended {
    run(command.stdout(Stdio::piped()))
}

#[track_caller]
fn fails_with(command: &mut Command, code: i32, advice: &[&str]) {
    let ended = output(command);
    assert_eq!(ended.code, Some(code), "{ended:?}");
    for words in advice {
        assert!(ended.stderr.contains(words), "no {words:?} in: {}", ended.stderr);
    }
}

#[test]
fn help_says_whom_it_answers_and_what_it_logs() {
    let help = output(bare_parrot(&["--help"]).env("COLUMNS", "100"));
    assert_eq!(help.code, Some(0));
    for words in [
        "answers anyone who can connect",
        "logs what they send",
        "--bind 127.0.0.1",
        "--log off",
        "PARROT_PORT",
        "unix:@NAME",
        "Those on other ports still can",
        "an empty datagram draws the whole text",
    ] {
        assert!(help.stdout.contains(words), "no {words:?} in: {}", help.stdout);
    }
}

#[test]
fn help_is_as_wide_as_the_terminal() {
    let unknown = output(bare_parrot(&["--help"]).env("COLUMNS", "0")).stdout;
    assert_eq!(unknown, output(bare_parrot(&["--help"]).env("COLUMNS", "100")).stdout);
    for columns in [60, 80] {
        let help = output(bare_parrot(&["--help"]).env("COLUMNS", columns.to_string())).stdout;
        let widest = help.lines().map(|line| line.chars().count()).max().unwrap();
        assert!((columns - 10..=columns).contains(&widest), "{widest} columns of {columns}: {help}");
    }
}

#[test]
fn wrong_usage_ends_with_2_and_shows_what_is_right() {
    fails_with(&mut bare_parrot(&["--prot", "1"]), 2, &["--port"]);
    fails_with(&mut bare_parrot(&["--bind", "localhost"]), 2, &["such as 127.0.0.1"]);
    fails_with(&mut bare_parrot(&["--bind", "0.0.0.0", "--bind", "127.0.0.1"]), 2, &["leave out one of the two"]);
    fails_with(&mut bare_parrot(&["--max-buffered", "lots"]), 2, &["such as 256MiB"]);
    fails_with(&mut bare_parrot(&["--drain-timeout", "5"]), 2, &["such as 5s"]);
    fails_with(&mut bare_parrot(&["--log", "xml"]), 2, &["clf", "json", "off"]);
    fails_with(&mut bare_parrot(&["stray"]), 2, &["stray"]);
}

#[test]
fn the_banner_names_address_and_queue() {
    let parrot = start(&[]);
    let queue = if cfg!(target_os = "linux") { "kqueue over epoll" } else { "kqueue" };
    let banner = parrot.line("listening on").unwrap();
    assert!(banner.ends_with(&format!("listening on {} ({queue})", parrot.address())), "{banner}");
}

#[test]
fn the_environment_may_name_the_port() {
    let port = free_port().unwrap();
    let parrot = spawn(bare_parrot(&["--bind", "127.0.0.1", "--log", "off"]).env("PARROT_PORT", port.to_string()));
    assert_eq!(parrot.address().port(), port);
    echo(&TcpStream::connect((LOOPBACK, port)).unwrap(), b"squawk");
}

#[test]
fn a_bad_port_in_the_environment_is_wrong_usage() {
    let with = |port: &[u8]| {
        let mut command = bare_parrot(&["--bind", "127.0.0.1", "--log", "off"]);
        command.env("PARROT_PORT", OsStr::from_bytes(port));
        command
    };
    for nonsense in [
        "70000",
        "-1",
        "squawk",
        "1512/tcp",
        ":1512",
        "127.0.0.1:1512",
        "tcp://1512",
        "tcp://:1512",
        "tcp://parrot:1512",
        "tcp://10.96.0.12",
        "tcp://10.96.0.12:70000",
        "http://10.96.0.12:1512",
        "tcp://10.96.0.12:1512/",
    ] {
        fails_with(&mut with(nonsense.as_bytes()), 2, &["--port <PORT>", "PARROT_PORT"]);
    }
    fails_with(&mut with(b"15\xff12"), 2, &["invalid UTF-8"]);
}

#[test]
fn a_port_that_the_platform_set_is_ignored_with_a_warning() {
    for (set, reason) in [
        ("tcp://10.96.0.12:1512", "Kubernetes and Docker"),
        ("udp://10.96.0.12:1512", "Kubernetes and Docker"),
        ("sctp://10.96.0.12:1512", "Kubernetes and Docker"),
        ("tcp://[fd00::12]:1512", "Kubernetes and Docker"),
        ("tcp://fd00::12:1512", "Kubernetes and Docker"),
        ("", "it is empty"),
        (" ", "it is empty"),
    ] {
        // The default port may be taken, but then the error is about that.
        let mut command = bare_parrot(&["--bind", "127.0.0.1", "--log", "off"]);
        let mut server = Process::spawn(command.env("PARROT_PORT", set)).unwrap();
        let warning = server.line("PARROT_PORT").unwrap();
        for words in [" WARN ", set, "is ignored", reason] {
            assert!(warning.contains(words), "{words:?}: {warning}");
        }
        server.line("127.0.0.1:1512").unwrap();
        let _ = server.signal(Signal::TERM);
        assert!(matches!(server.wait().unwrap().code(), Some(0 | 1)));
        assert_eq!(server.stderr().matches("PARROT_PORT").count(), 1, "{}", server.stderr());
    }
}

#[test]
fn an_option_makes_the_port_of_the_platform_unimportant() {
    let parrot = spawn(parrot(&["--log", "off"]).env("PARROT_PORT", "tcp://10.96.0.12:1512"));
    echo(&parrot.connect(), b"squawk");
    assert!(!parrot.stderr().contains("PARROT_PORT"), "{}", parrot.stderr());
}

#[test]
fn a_port_in_the_environment_may_end_with_a_newline() {
    let port = free_port().unwrap();
    let set = format!("{port}\r\n");
    let parrot = spawn(bare_parrot(&["--bind", "127.0.0.1", "--log", "off"]).env("PARROT_PORT", set));
    assert_eq!(parrot.address().port(), port);
}

#[test]
fn a_stack_size_in_the_environment_does_not_prevent_the_start() {
    for size in ["1099511627776", "18446744073709551615", "much"] {
        let parrot = spawn(parrot(&[]).env("RUST_MIN_STACK", size));
        echo(&parrot.connect(), b"squawk");
    }
}

#[test]
fn an_argument_that_is_not_utf_8_is_wrong_usage() {
    fails_with(bare_parrot(&["--port"]).arg(OsStr::from_bytes(b"\xff")), 2, &["invalid UTF-8"]);
    let mut place = bare_parrot(&["--listen"]);
    place.arg(OsStr::from_bytes(b"unix:/tmp/\xff"));
    fails_with(&mut place, 2, &["--listen <PLACE>", "not UTF-8, so choose a path that is"]);
}

#[test]
fn a_bad_rust_log_is_reported_and_the_server_serves() {
    for (rust_log, reason) in [(&b"parrot_server=loud"[..], "expected one of"), (b"warn\xff", "it is not UTF-8")] {
        let server = spawn(parrot(&["--log", "off"]).env("RUST_LOG", OsStr::from_bytes(rust_log)));
        let warning = server.line("RUST_LOG is not followed").unwrap();
        assert!(warning.contains(" WARN ") && warning.contains(reason), "{warning}");
        echo(&server.connect(), b"squawk");
        server.stop().unwrap();
    }
}

#[test]
fn an_address_named_twice_is_listened_on_once() {
    let parrot = start(&["--bind", "127.0.0.1", "--bind", "127.0.0.1"]);
    assert_eq!(parrot.addresses().len(), 1);
}

#[test]
fn a_place_with_port_0_named_twice_has_two_ports() {
    let place = ["--listen", "tcp:127.0.0.1:0"];
    let parrot = spawn(&mut bare_parrot(&[&place[..], &place, &["--log", "off"]].concat()));
    let [first, second] = parrot.addresses() else { panic!("{:?}", parrot.addresses()) };
    assert_ne!(first.port(), second.port());
    for address in [first, second] {
        echo(&TcpStream::connect(address).unwrap(), b"squawk");
    }
}

#[test]
fn a_port_that_was_just_used_can_be_used_again() {
    let first = start(&[]);
    let port = first.address().port().to_string();
    let stream = first.connect();
    echo(&stream, b"squawk");
    // The server closes first, so the connection remains in TIME_WAIT on its side.
    drop(first);
    drop(stream);
    let second = start(&["--port", &port]);
    echo(&second.connect(), b"squawk");
}

#[test]
fn a_taken_port_is_reported_with_advice() {
    let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let advice = ["cannot listen on", &format!("port {port} is taken"), "choose another port"];
    fails_with(&mut parrot(&["--port", &port]), 1, &advice);
}

#[test]
fn an_address_of_another_machine_is_reported_with_advice() {
    // 192.0.2.0/24 is reserved for documentation (RFC 5737).
    let mut command = bare_parrot(&["--port", "0", "--bind", "192.0.2.1"]);
    fails_with(&mut command, 1, &["192.0.2.1 is not an address of this machine", "choose an address that"]);
}

#[test]
fn a_log_file_that_cannot_be_written_is_reported_with_advice() {
    let path = scratch("no-such-directory").join("parrot.log");
    let advice = ["cannot log to", "no-such-directory", "choose another file with --log-file"];
    fails_with(parrot(&["--log-file"]).arg(&path), 1, &advice);
}

#[test]
fn a_privileged_port_is_reported_with_advice() {
    let first_free = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first_free.trim().parse().is_ok_and(|port: u16| port <= 81) {
        return skip("every user may listen on port 81 here");
    }
    let mut command = bare_parrot(&["--bind", "127.0.0.1", "--port", "81"]);
    if geteuid().is_root() {
        // setpriv of util-linux takes the privilege away from root.
        let mut unprivileged = Command::new("setpriv");
        unprivileged.arg("--bounding-set=-net_bind_service").arg(command.get_program()).args(command.get_args());
        command = unprivileged;
        if Command::new("setpriv").arg("--version").output().is_err() {
            return skip("root may listen on every port, and there is no setpriv to take that away");
        }
    }
    fails_with(&mut command, 1, &["port 81 is privileged", "choose one from 1024 up"]);
}

#[test]
fn quiet_and_rust_log_decide_what_is_printed() {
    let mut quiet = parrot(&["--log", "off", "-q"]);
    assert_eq!(printed_by(&mut quiet), "");
    let mut loud = parrot(&["--log", "off", "-v"]);
    assert!(printed_by(&mut loud).contains("DEBUG"));
    let mut silenced = parrot(&["--log", "off", "-v"]);
    assert_eq!(printed_by(silenced.env("RUST_LOG", "off")), "");
}

/// What a server prints on stderr from its start to its end, with one connection in between.
fn printed_by(command: &mut Command) -> String {
    let port = free_port().unwrap();
    let mut server = Process::spawn(command.args(["--port", &port.to_string()])).unwrap();
    wait_until("it listens", || TcpStream::connect((LOOPBACK, port)).is_ok());
    server.signal(Signal::TERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
    server.stderr()
}
