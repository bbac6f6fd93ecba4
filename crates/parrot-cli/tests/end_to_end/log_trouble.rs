//! A log that is in trouble costs lines, never an echo.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{LOOPBACK, PATIENCE, Parrot, data, echo, eventually, free_port, parrot, scratch, skip};

/// More lines than a pipe and the log's own buffers hold.
const MANY: usize = 10_000;

fn echo_many(stream: &TcpStream) {
    for message in data().chunks(100).take(MANY) {
        echo(stream, message);
    }
}

/// How many lines this one stands for, if it stands in a gap.
fn gap(line: &str) -> Option<usize> {
    let (_, told) = line.strip_prefix("- dropped - ")?.split_once('"')?;
    let number = told.strip_suffix(" lines dropped\" -").or_else(|| told.strip_suffix(" line dropped\" -"));
    Some(number.unwrap_or_else(|| panic!("not a gap: {line}")).parse().unwrap())
}

#[test]
fn a_log_reader_that_stalls_costs_lines_which_are_counted() {
    let mut parrot = Parrot::spawn(parrot(&[]).stdout(Stdio::piped()));
    let mut log = BufReader::new(parrot.stdout()).lines();
    let stream = parrot.connect();
    echo_many(&stream);

    // The reader goes on: behind each gap stands how large it was, until every line is accounted for.
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
    let summary = parrot.stop();
    assert!(summary.contains(&format!(" {dropped} dropped")), "{summary}");
}

#[test]
fn statistics_tell_of_lost_lines_while_the_log_stalls() {
    let mut parrot = Parrot::spawn(parrot(&[]).stdout(Stdio::piped()));
    let unread = parrot.stdout();
    echo_many(&parrot.connect());
    parrot.signal(Signal::USR1);
    let line = parrot.stderr_line(" log lines written, ");
    let (_, log) = line.split_once(" log lines written, ").unwrap();
    let (dropped, _) = log.split_once(" dropped, ").unwrap();
    assert!(dropped.parse::<usize>().unwrap() > 0, "{line}");
    drop(unread);
}

#[test]
fn a_log_reader_that_never_returns_holds_the_end_up_by_a_second_at_most() {
    let mut parrot = Parrot::spawn(parrot(&[]).stdout(Stdio::piped()));
    let unread = parrot.stdout();
    let stream = parrot.connect();
    echo_many(&stream);
    drop(stream);
    let start = std::time::Instant::now();
    parrot.signal(Signal::TERM);
    assert_eq!(parrot.wait().code(), Some(0));
    assert!(start.elapsed().as_secs_f64() < 3.0, "{:?}", start.elapsed());
    drop(unread);
}

#[test]
fn signals_that_come_while_the_end_waits_for_the_log_do_not_change_it() {
    let mut parrot = Parrot::spawn(parrot(&[]).stdout(Stdio::piped()));
    let unread = parrot.stdout();
    let stream = parrot.connect();
    echo_many(&stream);
    drop(stream);
    parrot.signal(Signal::TERM);
    parrot.stderr_line("stopping: ");
    // For a second the listener and all connections are gone, and only the log is waited for.
    while !parrot.has_ended() {
        parrot.signal(Signal::USR1);
        parrot.signal(Signal::HUP);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(parrot.wait().code(), Some(0));
    parrot.stderr_line("drained: ");
    drop(unread);
}

#[test]
fn a_log_reader_that_goes_away_is_warned_of_once() {
    let mut parrot = Parrot::spawn(parrot(&[]).stdout(Stdio::piped()));
    drop(parrot.stdout());
    keeps_echoing_and_warns_once(parrot);
}

#[test]
fn a_full_disk_is_warned_of_once() {
    if !Path::new("/dev/full").exists() {
        return skip("this system has no /dev/full");
    }
    keeps_echoing_and_warns_once(Parrot::spawn(&mut parrot(&["--log-file", "/dev/full"])));
}

fn keeps_echoing_and_warns_once(parrot: Parrot) {
    let stream = parrot.connect();
    echo(&stream, b"squawk");
    parrot.stderr_line("WARN");
    echo_many(&stream);
    assert_eq!(parrot.stderr().matches("WARN").count(), 1, "{}", parrot.stderr());
    drop(stream);
    let summary = parrot.stop();
    assert!(summary.contains("; 0 log lines written"), "{summary}");
    assert!(summary.contains(&format!(" {} dropped", MANY + 1)), "{summary}");
}

#[test]
fn a_named_pipe_that_nobody_reads_is_an_error_and_one_that_is_read_a_log() {
    let path = scratch("pipe.log");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let ended = parrot(&["--log-file"]).arg(&path).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("nobody reads this pipe yet\nstart its reader first"), "{said}");

    // Open for both, so that opening it does not wait for the server.
    let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let parrot = Parrot::spawn(parrot(&["--log-file"]).arg(&path));
    echo(&parrot.connect(), b"squawk");
    let line = BufReader::new(reader).lines().next().unwrap().unwrap();
    assert!(line.ends_with("\"squawk\" 6"), "{line}");
}

#[test]
fn one_pipe_for_log_and_diagnostics_that_nobody_reads_does_not_hold_the_echo_up() {
    let port = free_port();
    let plain = parrot(&["--port", &port.to_string()]);
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(plain.get_program()).args(plain.get_args());
    let mut child = command.env_remove("RUST_LOG").stdout(Stdio::piped()).spawn().unwrap();
    eventually("it listens", || TcpStream::connect((LOOPBACK, port)).is_ok());
    let stream = TcpStream::connect((LOOPBACK, port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let pid = Pid::from_child(&child);
    for message in data().chunks(100).take(3000) {
        kill_process(pid, Signal::USR1).unwrap();
        echo(&stream, message);
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_stderr_that_nobody_reads_does_not_hold_the_echo_up() {
    // Started by hand: the support's own collector would read.
    let mut command = parrot(&["--log", "off", "--port", "0"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut banner = String::new();
    stderr.read_line(&mut banner).unwrap();
    let address = banner.split_once("listening on ").unwrap().1.split_once(" (").unwrap().0.to_owned();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A line of statistics each, many times what a pipe holds.
    let pid = Pid::from_child(&child);
    for _ in 0..3000 {
        kill_process(pid, Signal::USR1).unwrap();
        echo(&stream, b"squawk");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
