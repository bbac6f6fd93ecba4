//! Reports to a service manager, whose socket is one of the test's.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use parrot_testkit::PATIENCE;
use parrot_testkit::client::{echo, expect_end};
use parrot_testkit::parrot::{Parrot, isolated};
use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use crate::support::{parrot, scratch, spawn};

/// A service manager that gets reports.
struct Manager {
    socket: UnixDatagram,
    /// The lines of a report that are not looked at yet.
    lines: VecDeque<String>,
}

impl Manager {
    fn at(path: &Path) -> Manager {
        Manager::with(UnixDatagram::bind(path).unwrap())
    }

    fn with(socket: UnixDatagram) -> Manager {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, lines: VecDeque::new() }
    }

    /// Waits for the next report, which has to have this number of lines. Watchdog reports are skipped.
    #[track_caller]
    fn report<const LINES: usize>(&mut self) -> [String; LINES] {
        loop {
            let mut report = [0; 1024];
            let length = self.socket.recv(&mut report).unwrap();
            let report = std::str::from_utf8(&report[..length]).unwrap();
            if report != "WATCHDOG=1\n" {
                let lines: Vec<String> = report.lines().map(str::to_owned).collect();
                return lines.try_into().unwrap();
            }
            self.lines.push_back(report.to_owned());
        }
    }

    /// Waits for this many watchdog reports in a row.
    #[track_caller]
    fn watchdogs(&self, count: usize) {
        for _ in 0..count {
            let mut report = [0; 1024];
            let length = self.socket.recv(&mut report).unwrap();
            assert_eq!(&report[..length], b"WATCHDOG=1\n");
        }
    }

    /// The number of watchdog reports that came before the last report.
    fn skipped(&self) -> usize {
        self.lines.len()
    }
}

/// Parrot under a service manager, with further commands of the shell before it starts.
fn managed(manager: impl AsRef<OsStr>, more: &str, arguments: &[&str]) -> Command {
    let parrot = parrot(&[&["--log", "off"], arguments].concat());
    let mut command = isolated(Command::new("sh"));
    command.args(["-c", &format!("{more}\nexec \"$0\" \"$@\"")]).arg(parrot.get_program()).args(parrot.get_args());
    command.env("NOTIFY_SOCKET", manager.as_ref());
    command
}

#[test]
fn a_path_cannot_add_lines_to_a_report() {
    let path = scratch("notify.sock");
    let mut manager = Manager::at(&path);
    let socket = scratch("parrot.sock\nMAINPID=1");
    let listen = format!("--listen=unix:{}", socket.display());
    let parrot = spawn(&mut managed(&path, "", &[&listen]));
    let [ready, status] = manager.report();
    assert_eq!(ready, "READY=1");
    assert!(status.contains("parrot.sock\\nMAINPID=1."), "{status}");
    parrot.stop().unwrap();
}

fn monotonic_microseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// Has the server drain to its end.
#[track_caller]
fn end(mut parrot: Parrot) {
    parrot.signal(Signal::TERM).unwrap();
    assert_eq!(parrot.wait().unwrap().code(), Some(0));
}

#[test]
fn a_manager_hears_of_start_reload_and_stop_in_order() {
    let path = scratch("manager");
    let mut manager = Manager::at(&path);
    let mut parrot = spawn(&mut managed(&path, "", &["--drain-timeout", "2m"]));
    let status = format!("STATUS=listening on {}", parrot.address());
    let [ready, shown] = manager.report();
    assert_eq!(ready, "READY=1");
    assert!(shown.starts_with(&status), "{shown}");
    // Ready means that connections can be made.
    let stream = parrot.connect();
    echo(&stream, b"squawk");

    let before = monotonic_microseconds();
    parrot.signal(Signal::HUP).unwrap();
    let [reloading, time] = manager.report();
    assert_eq!(reloading, "RELOADING=1");
    let time: u64 = time.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    let now = monotonic_microseconds();
    assert!((before..=now).contains(&time), "{time} is not between {before} and {now}");
    let [ready, shown] = manager.report();
    assert_eq!(ready, "READY=1");
    assert!(shown.starts_with(&status), "{shown}");

    parrot.signal(Signal::TERM).unwrap();
    let stopping: [String; 3] = manager.report();
    assert_eq!(stopping, ["STOPPING=1", "STATUS=draining with 1 open connection", "EXTEND_TIMEOUT_USEC=125000000"]);
    expect_end(&stream);
    drop(stream);
    assert_eq!(parrot.wait().unwrap().code(), Some(0));
}

#[test]
fn a_manager_hears_of_the_drain_delay_and_of_the_drain() {
    let path = scratch("manager");
    let mut manager = Manager::at(&path);
    let parrot = spawn(&mut managed(&path, "", &["--drain-delay", "300ms", "--drain-timeout", "10s"]));
    let [_, _] = manager.report();
    parrot.signal(Signal::TERM).unwrap();
    let [stopping, status, extend] = manager.report();
    assert_eq!((&*stopping, &*status), ("STOPPING=1", "STATUS=leaving with 0 open connections"));
    assert_eq!(extend, "EXTEND_TIMEOUT_USEC=15300000");
    let [_, status, extend] = manager.report();
    assert_eq!((&*status, &*extend), ("STATUS=draining with 0 open connections", "EXTEND_TIMEOUT_USEC=15000000"));
}

#[test]
fn a_reload_does_not_take_back_that_the_server_stops() {
    let path = scratch("manager");
    let mut manager = Manager::at(&path);
    let parrot = spawn(&mut managed(&path, "", &["--drain-delay", "1h"]));
    let [_, _] = manager.report();
    parrot.signal(Signal::TERM).unwrap();
    let [_, leaving, _] = manager.report();
    assert_eq!(leaving, "STATUS=leaving with 0 open connections");
    parrot.signal(Signal::HUP).unwrap();
    parrot.statistics().unwrap();
    end(parrot);
    let [_, draining, _] = manager.report();
    assert_eq!(draining, "STATUS=draining with 0 open connections");
}

#[test]
fn the_watchdog_hears_of_an_idle_server_until_its_end() {
    let path = scratch("manager");
    let mut manager = Manager::at(&path);
    let parrot = spawn(&mut managed(&path, "export WATCHDOG_USEC=20000 WATCHDOG_PID=$$", &[]));
    let [ready, _] = manager.report();
    assert_eq!(ready, "READY=1");
    manager.watchdogs(10);
    let stream = parrot.connect();
    echo(&stream, b"squawk");
    parrot.signal(Signal::TERM).unwrap();
    let [stopping, _, _] = manager.report();
    assert_eq!(stopping, "STOPPING=1");
    expect_end(&stream);
    manager.watchdogs(3);
}

#[test]
fn a_watchdog_of_another_process_hears_nothing() {
    let (ours, theirs) = (scratch("manager"), scratch("manager"));
    let (mut manager, mut other) = (Manager::at(&ours), Manager::at(&theirs));
    let parrot = spawn(&mut managed(&ours, "export WATCHDOG_USEC=20000 WATCHDOG_PID=1", &[]));
    let [_, _] = manager.report();
    // Another server's watchdog shows that there was time to report.
    let _watched = spawn(&mut managed(&theirs, "export WATCHDOG_USEC=20000", &[]));
    let [_, _] = other.report();
    other.watchdogs(10);
    end(parrot);
    let [stopping, _, _] = manager.report();
    assert_eq!((&*stopping, manager.skipped()), ("STOPPING=1", 0));
}

#[test]
fn a_stopped_server_reports_no_watchdog() {
    let path = scratch("manager");
    let mut manager = Manager::at(&path);
    let parrot = spawn(&mut managed(&path, "export WATCHDOG_USEC=20000", &[]));
    let [_, _] = manager.report();
    manager.watchdogs(1);
    parrot.pause().unwrap();
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 64]).is_ok() {}
    let other = scratch("manager");
    let mut running = Manager::at(&other);
    let _running = spawn(&mut managed(&other, "export WATCHDOG_USEC=20000", &[]));
    let [_, _] = running.report();
    running.watchdogs(10);
    let nothing = manager.socket.recv(&mut [0; 64]).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_manager_that_reads_nothing_delays_no_echo() {
    let path = scratch("manager");
    let mut manager = Manager::at(&path);
    let parrot = spawn(&mut managed(&path, "export WATCHDOG_USEC=2000", &[]));
    let [_, _] = manager.report();
    // The queue is full, for the server too.
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", &path).is_ok() {}
    let stream = parrot.connect();
    for _ in 0..100 {
        echo(&stream, b"squawk");
    }
    parrot.signal(Signal::HUP).unwrap();
    parrot.line("cannot report to the service manager").unwrap();
    echo(&stream, b"squawk");
    drop(stream);
    end(parrot);
}

#[test]
fn a_manager_that_cannot_be_reached_is_only_a_warning() {
    for (manager, reason) in [("vsock:2:1", "not supported"), ("/nowhere/notify", "cannot report")] {
        let parrot = spawn(&mut managed(manager, "", &[]));
        parrot.line(reason).unwrap();
        echo(&parrot.connect(), b"squawk");
        end(parrot);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_manager_may_have_an_abstract_name() {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::SocketAddr;

    let name = format!("parrot-manager-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut manager = Manager::with(UnixDatagram::bind_addr(&address).unwrap());
    let _parrot = spawn(&mut managed(format!("@{name}"), "", &[]));
    let [ready, _] = manager.report();
    assert_eq!(ready, "READY=1");
}
