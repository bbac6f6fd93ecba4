//! A log in trouble drops lines and never an echo.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use parrot_testkit::client::{connect, echo, free_port};
use parrot_testkit::parrot::{Parrot, number};
use parrot_testkit::program::{Ended, run};
use parrot_testkit::wait_until;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{LOOPBACK, data, limited, parrot, scratch, skip, spawn};

/// More lines than a pipe and the log's own buffers hold.
const MANY: usize = 10_000;

fn echo_many(stream: &TcpStream) {
    for message in data().chunks(100).take(MANY) {
        echo(stream, message);
    }
}

/// A server that logs to a pipe, and the end of that pipe.
fn logging_to_a_pipe() -> (Parrot, ChildStdout) {
    let mut parrot = spawn(parrot(&[]).stdout(Stdio::piped()));
    let log = parrot.take_stdout().unwrap();
    (parrot, log)
}

/// The number of dropped lines that this line stands for, if it stands for a gap.
fn gap(line: &str) -> Option<usize> {
    let (_, text) = line.strip_prefix("- dropped - ")?.split_once('"')?;
    let number = text.strip_suffix(" lines dropped\" -").or_else(|| text.strip_suffix(" line dropped\" -"));
    Some(number.unwrap_or_else(|| panic!("not a gap: {line}")).parse().unwrap())
}

#[test]
fn a_log_reader_that_stalls_costs_lines_which_are_counted() {
    let (parrot, log) = logging_to_a_pipe();
    let mut log = BufReader::new(log).lines();
    let stream = parrot.connect();
    echo_many(&stream);

    // Now the log is read. Each gap says how many lines it stands for, so all lines are accounted for.
    let (mut written, mut dropped) = (0, 0);
    while written + dropped < MANY {
        match gap(&log.next().unwrap().unwrap()) {
            None => written += 1,
            Some(lines) => dropped += lines,
        }
    }
    assert!(dropped > 0);
    assert_eq!(written + dropped, MANY);

    echo(&stream, b"flowing again");
    assert!(log.next().unwrap().unwrap().contains("flowing again"));
    drop(stream);
    let summary = parrot.stop().unwrap();
    assert!(summary.contains(&format!(" {dropped} dropped")), "{summary}");
}

#[test]
fn statistics_count_dropped_lines_while_the_log_stalls() {
    let (parrot, _unread) = logging_to_a_pipe();
    echo_many(&parrot.connect());
    let statistics = parrot.statistics().unwrap();
    assert!(statistics.contains(" log lines written, "), "{statistics}");
    assert!(number(&statistics, "dropped, ").unwrap() > 0, "{statistics}");
}

#[test]
fn a_stuck_log_reader_delays_the_end_by_a_second_at_most() {
    let (parrot, _unread) = logging_to_a_pipe();
    let stream = parrot.connect();
    echo_many(&stream);
    drop(stream);
    let start = Instant::now();
    parrot.stop().unwrap();
    assert!(start.elapsed().as_secs_f64() < 3.0, "{:?}", start.elapsed());
}

#[test]
fn signals_while_the_end_waits_for_the_log_change_nothing() {
    let (mut parrot, _unread) = logging_to_a_pipe();
    let stream = parrot.connect();
    echo_many(&stream);
    drop(stream);
    parrot.signal(Signal::TERM).unwrap();
    parrot.line("draining: ").unwrap();
    // The listener and all connections are closed. For a second the server waits for the log alone.
    while parrot.ended().unwrap().is_none() {
        parrot.signal(Signal::USR1).unwrap();
        parrot.signal(Signal::HUP).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    parrot.wait_for_summary().unwrap();
}

#[test]
fn a_log_reader_that_leaves_is_warned_of_once() {
    let (parrot, log) = logging_to_a_pipe();
    drop(log);
    keeps_echoing_and_warns_once(parrot);
}

#[test]
fn a_full_disk_is_warned_of_once() {
    if !Path::new("/dev/full").exists() {
        return skip("this system has no /dev/full");
    }
    keeps_echoing_and_warns_once(spawn(&mut parrot(&["--log-file", "/dev/full"])));
}

fn keeps_echoing_and_warns_once(parrot: Parrot) {
    let stream = parrot.connect();
    echo(&stream, b"squawk");
    parrot.line("WARN").unwrap();
    echo_many(&stream);
    assert_eq!(parrot.stderr().matches("WARN").count(), 1, "{}", parrot.stderr());
    drop(stream);
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("; 0 log lines written"), "{summary}");
    assert!(summary.contains(&format!(" {} dropped", MANY + 1)), "{summary}");
}

/// The warning of a server whose log does not take the first message.
fn warning(parrot: &Parrot) -> String {
    echo(&parrot.connect(), b"squawk");
    parrot.line("cannot write the log").unwrap()
}

#[test]
fn the_advice_for_a_pipe_without_a_name_is_a_new_start() {
    let (parrot, log) = logging_to_a_pipe();
    drop(log);
    let warning = warning(&parrot);
    assert!(warning.contains("(its reader has gone, so start the program again with another log)"), "{warning}");
    assert!(!warning.contains("until it works") && warning.contains("log=stdout"), "{warning}");
}

#[test]
fn a_named_pipe_resumes_with_its_next_reader_as_advised() {
    let path = scratch("readers.log");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let open = || OpenOptions::new().read(true).write(true).open(&path).unwrap();
    for as_stdout in [false, true] {
        let reader = open();
        let parrot = match as_stdout {
            true => spawn(parrot(&[]).stdout(OpenOptions::new().append(true).open(&path).unwrap())),
            false => spawn(parrot(&["--log-file"]).arg(&path)),
        };
        drop(reader);
        let warning = warning(&parrot);
        assert!(warning.contains("(its reader has gone, so start another one)"), "{warning}");
        assert!(warning.contains("until it works"), "{warning}");
        if !as_stdout {
            parrot.signal(Signal::HUP).unwrap();
            let warning = parrot.line("cannot reopen the log").unwrap();
            assert!(warning.contains("start its reader and send SIGHUP again"), "{warning}");
        }

        let mut lines = BufReader::new(open()).lines().map(Result::unwrap);
        echo(&parrot.connect(), b"read again");
        assert_eq!(gap(&lines.next().unwrap()), Some(1));
        assert!(lines.next().unwrap().contains("\"read again\""));
    }
}

#[test]
fn the_advice_fits_a_socket() {
    let (log, other_end) = UnixStream::pair().unwrap();
    let parrot = spawn(parrot(&[]).stdout(OwnedFd::from(log)));
    drop(other_end);
    let warning = warning(&parrot);
    assert!(warning.contains("(its other end has gone, so start the program again with another log)"), "{warning}");
}

#[test]
#[cfg(not(any(target_os = "linux", target_os = "macos", target_os = "freebsd")))]
fn the_advice_fits_a_terminal() {
    skip("rustix has no ptsname for this system");
}

#[test]
#[cfg(any(target_os = "linux", target_os = "macos", target_os = "freebsd"))]
fn the_advice_fits_a_terminal() {
    use rustix::io::{FdFlags, fcntl_setfd};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    fcntl_setfd(&terminal, FdFlags::CLOEXEC).unwrap(); // the server would keep it open
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let log = OpenOptions::new().write(true).open(name.to_str().unwrap()).unwrap();
    let parrot = spawn(parrot(&[]).stdout(log));
    drop(terminal);
    let warning = warning(&parrot);
    assert!(warning.contains("(its terminal has gone, so start the program again with another log)"), "{warning}");
}

#[test]
fn the_advice_fits_a_device() {
    if !Path::new("/dev/full").exists() {
        return skip("this system has no /dev/full");
    }
    let parrot = spawn(parrot(&[]).stdout(OpenOptions::new().write(true).open("/dev/full").unwrap()));
    let warning = warning(&parrot);
    assert!(warning.contains("(the device is full, so start the program again with another log)"), "{warning}");
}

#[test]
fn a_log_at_the_limit_of_its_size_goes_on_in_another_file() {
    let (path, moved) = (scratch("limit.log"), scratch("limit.log.old"));
    // In blocks of 512 bytes or 1 KiB, as the shell likes. This is less than the size of the log's file.
    fs::write(&path, vec![b'\n'; 5000]).unwrap();
    let parrot = spawn(&mut limited("-f 4", parrot(&["--log-file"]).arg(&path)));
    let warning = warning(&parrot);
    let advice = "(it has reached the limit on a file's size, so move it away and send SIGHUP)";
    assert!(warning.contains(advice), "{warning}");

    fs::rename(&path, &moved).unwrap();
    parrot.signal(Signal::HUP).unwrap();
    wait_until("the new file is there", || path.exists());
    echo(&parrot.connect(), b"in the new file");
    let text = || fs::read_to_string(&path).unwrap();
    wait_until("the lines are written", || text().lines().count() == 2);
    assert_eq!(gap(text().lines().next().unwrap()), Some(1));
    parrot.stop().unwrap();
}

#[test]
fn a_named_pipe_without_a_reader_is_refused_as_log() {
    let path = scratch("pipe.log");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let Ended { code, stderr, .. } = run(parrot(&["--log-file"]).arg(&path));
    assert_eq!(code, Some(1));
    assert!(stderr.contains("nobody reads this pipe yet\nstart its reader first"), "{stderr}");

    // Opened for both directions, so that opening does not wait for the server.
    let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let parrot = spawn(parrot(&["--log-file"]).arg(&path));
    echo(&parrot.connect(), b"squawk");
    let line = BufReader::new(reader).lines().next().unwrap().unwrap();
    assert!(line.ends_with("\"squawk\" 6"), "{line}");
}

#[test]
fn an_unread_pipe_for_log_and_stderr_delays_no_echo() {
    let port = free_port().unwrap();
    let plain = parrot(&["--port", &port.to_string()]);
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(plain.get_program()).args(plain.get_args());
    let mut child = command.env_remove("RUST_LOG").stdout(Stdio::piped()).spawn().unwrap();
    wait_until("it listens", || TcpStream::connect((LOOPBACK, port)).is_ok());
    let stream = connect((LOOPBACK, port).into());
    let pid = Pid::from_child(&child);
    for message in data().chunks(100).take(3000) {
        kill_process(pid, Signal::USR1).unwrap();
        echo(&stream, message);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn an_unread_stderr_delays_no_echo() {
    // Started by hand, because the test kit would read it.
    let mut command = parrot(&["--log", "off", "--port", "0"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut banner = String::new();
    stderr.read_line(&mut banner).unwrap();
    let address = banner.split_once("listening on ").unwrap().1.split_once(" (").unwrap().0;
    let stream = connect(address.parse().unwrap());
    // A line of statistics each, many times what a pipe holds.
    let pid = Pid::from_child(&child);
    for _ in 0..3000 {
        kill_process(pid, Signal::USR1).unwrap();
        echo(&stream, b"squawk");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
