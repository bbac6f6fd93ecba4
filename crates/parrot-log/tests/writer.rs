//! The writer against real files and pipes, above all those that fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use parrot_log::{Format, Writer};
use parrot_testkit::{PATIENCE, wait_until};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tempfile::tempdir;

use support::{Read, dropped_here, log, logging, piped, quoted, read, read_to_end};

/// More than pipe, thread and buffer hold together.
const TOO_MANY: u64 = 20_000;

fn log_many(count: u64) {
    (0..count).for_each(|number| log(message(number).as_bytes()));
}

/// The lengths vary, so that a line that does not fit is followed by one that would.
fn message(number: u64) -> String {
    format!("message {number}{}", ".".repeat((number % 50) as usize))
}

#[test]
fn a_stalled_reader_costs_lines_and_each_gap_has_its_count() {
    let (reader, writer) = piped(Format::Clf);
    logging(&writer, || {
        log_many(TOO_MANY); // would never end if it waited for the reader
        let dropped = writer.statistics().dropped;
        assert!(dropped > 0);
        let reading = read_to_end(reader);
        wait_until("the log flows again", || writer.statistics().written + dropped == TOO_MANY);
        log(message(TOO_MANY).as_bytes());
        let statistics = writer.close(PATIENCE);
        assert_eq!((statistics.written, statistics.dropped), (TOO_MANY - dropped + 1, dropped));

        let mut next = 0;
        let mut reported = 0;
        for line in reading.join().unwrap().lines() {
            if let Some(count) = dropped_here(line) {
                next += count;
                reported += count;
            } else {
                assert_eq!(quoted(line), message(next));
                next += 1;
            }
        }
        assert_eq!((next, reported), (TOO_MANY + 1, dropped));
    });
}

#[test]
fn a_gap_in_a_json_log_is_an_object_of_its_own() {
    let (reader, writer) = piped(Format::Json);
    logging(&writer, || log_many(TOO_MANY));
    let reading = read_to_end(reader);
    let statistics = writer.close(PATIENCE);
    let log = reading.join().unwrap();
    let objects: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (gaps, messages): (Vec<_>, Vec<_>) = objects.iter().partition(|object| object.get("dropped").is_some());
    assert_eq!(gaps.iter().map(|gap| gap["dropped"].as_u64().unwrap()).sum::<u64>(), statistics.dropped);
    assert_eq!(messages.len() as u64, statistics.written);
    assert!(!gaps.is_empty() && gaps.iter().all(|gap| gap.get("payload").is_none()));
}

#[test]
fn closing_a_stuck_log_ends_at_the_timeout() {
    let (reader, writer) = piped(Format::Clf);
    logging(&writer, || log_many(TOO_MANY));
    let start = Instant::now();
    let statistics = writer.close(Duration::from_millis(50));
    assert!(start.elapsed() < Duration::from_secs(10), "closed after {:?}", start.elapsed());
    assert_eq!(statistics.written + statistics.dropped, TOO_MANY);
    drop(reader);
}

#[test]
fn a_closed_pipe_only_drops_and_counts_lines() {
    let (reader, writer) = piped(Format::Clf);
    logging(&writer, || {
        log_many(10);
        wait_until("the pipe took them", || writer.statistics().written == 10);
        drop(reader);
        log(b"to nobody");
        wait_until("the error is seen", || writer.statistics().write_errors == 1);
        log(b"to nobody");
    });
    let statistics = writer.close(PATIENCE);
    assert_eq!((statistics.written, statistics.dropped), (10, 2));
    assert!(statistics.write_errors >= 2);
}

#[test]
fn the_whole_lines_of_a_cut_batch_count_as_written() {
    let (reader, writer) = piped(Format::Clf);
    logging(&writer, || log_many(TOO_MANY));
    let mut first = [0; 100];
    (&reader).read_exact(&mut first).unwrap(); // the thread is in the middle of a write
    drop(reader);
    let statistics = writer.close(PATIENCE);
    assert_eq!(statistics.written + statistics.dropped, TOO_MANY);
    assert!(statistics.write_errors > 0, "{statistics}");
    if cfg!(target_os = "linux") {
        // Elsewhere the whole write fails if the pipe is closed during it (FreeBSD sys/kern/sys_pipe.c).
        assert!(statistics.written > 1, "{statistics}");
    }
}

#[test]
fn a_full_disk_is_counted() {
    if !Path::new("/dev/full").exists() {
        println!("skipped: this system has no /dev/full");
        return;
    }
    let writer = Writer::file("/dev/full", Format::Clf).unwrap();
    logging(&writer, || log_many(100));
    let statistics = writer.close(PATIENCE);
    assert_eq!((statistics.written, statistics.dropped), (0, 100));
    assert!(statistics.write_errors > 0);
}

#[test]
fn a_nonblocking_descriptor_stays_so_and_drops_no_line() {
    let (reader, end) = io::pipe().unwrap();
    let other = end.try_clone().unwrap(); // shares the flags, as a shell's stdout does
    fcntl_setfl(&other, fcntl_getfl(&other).unwrap() | OFlags::NONBLOCK).unwrap();
    let writer = Writer::descriptor(OwnedFd::from(end), Format::Clf).unwrap();
    logging(&writer, || log_many(2000)); // more than a pipe holds, less than pipe and buffer
    wait_until("the pipe is full", || !is_writable(&other));
    let reading = read_to_end(reader);
    let statistics = writer.close(PATIENCE);
    assert_eq!((statistics.written, statistics.dropped, statistics.write_errors), (2000, 0, 0));
    assert!(fcntl_getfl(&other).unwrap().contains(OFlags::NONBLOCK));
    drop(other);
    assert_eq!(reading.join().unwrap().lines().count(), 2000);
}

fn is_writable(pipe: &impl AsFd) -> bool {
    let mut descriptors = [PollFd::new(pipe, PollFlags::OUT)];
    poll(&mut descriptors, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
}

#[test]
fn a_new_file_is_readable_by_its_owner_only() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    let writer = Writer::file(&path, Format::Clf).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let _ = writer.close(PATIENCE);
}

#[test]
fn an_existing_file_is_appended_to() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, "yesterday\n").unwrap();
    let writer = Writer::file(&path, Format::Clf).unwrap();
    logging(&writer, || log(b"today"));
    let _ = writer.close(PATIENCE);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().next(), Some("yesterday"));
    assert_eq!(quoted(text.lines().nth(1).unwrap()), "today");
}

#[test]
fn a_line_that_a_crash_cut_short_stays_a_line_of_its_own() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, "yesterday\ncut sho").unwrap();
    let writer = Writer::file(&path, Format::Clf).unwrap();
    writer.reopen();
    logging(&writer, || log(b"today"));
    let _ = writer.close(PATIENCE);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[1], quoted(lines[2])), (3, "cut sho", "today"));
}

#[test]
fn a_path_that_cannot_be_opened_is_an_error() {
    let error = Writer::file("/nowhere/at/all/log", Format::Clf).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_socket_is_no_file_for_a_log() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("socket");
    let _listener = UnixListener::bind(&path).unwrap();
    let error = Writer::file(&path, Format::Clf).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (io::ErrorKind::Unsupported, "a socket has no file to open")
    );
}

#[test]
fn a_named_pipe_is_a_log_once_it_has_a_reader() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let error = Writer::file(&path, Format::Clf).unwrap_err(); // would never end if it waited for a reader
    assert_eq!((error.kind(), error.to_string().as_str()), (io::ErrorKind::BrokenPipe, "nobody reads this pipe yet"));

    // Opened for both, a pipe has a reader that does not wait for a writer. POSIX leaves this undefined, but all six
    // systems do it.
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let writer = Writer::file(&path, Format::Clf).unwrap();
    logging(&writer, || log(b"read"));
    assert_eq!(writer.close(PATIENCE).written, 1);
    let mut line = [0; 100];
    let length = reader.read(&mut line).unwrap();
    assert_eq!(quoted(std::str::from_utf8(&line[..length]).unwrap()), "read");
}

#[test]
fn a_new_reader_of_a_pipe_first_reads_what_it_missed() {
    for format in [Format::Clf, Format::Json] {
        let folder = tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let open = || fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let first = open();
        let writer = Writer::file(&path, format).unwrap();
        logging(&writer, || {
            log(b"read");
            wait_until("the line is written", || writer.statistics().written == 1);
            let mut lines = BufReader::new(first).lines();
            assert_eq!(read(&lines.next().unwrap().unwrap(), format), Read::Message("read".to_owned()));
            drop(lines);
            log_many(100);
            wait_until("two errors", || {
                log(b"to nobody");
                writer.statistics().write_errors >= 2
            });
            wait_until("they are dropped", || writer.statistics().dropped > 100);

            let mut lines = BufReader::new(open()).lines().map(|line| read(&line.unwrap(), format));
            log_many(1000);
            let gap = lines.next();
            assert!(matches!(gap, Some(Read::Gap(101..))), "{gap:?}");
            let mut lines = lines.skip_while(|line| *line == Read::Message("to nobody".to_owned()));
            for number in 0..1000 {
                assert_eq!(lines.next(), Some(Read::Message(message(number))));
            }
        });
        let _ = writer.close(PATIENCE);
    }
}

#[test]
fn a_full_named_pipe_delays_lines_but_drops_none() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let writer = Writer::file(&path, Format::Clf).unwrap();
    logging(&writer, || log_many(2000)); // more than a pipe holds, less than pipe and buffer
    wait_until("the pipe is full", || !is_writable(&reader));
    let mut text = Vec::new();
    while text.iter().filter(|&&byte| byte == b'\n').count() < 2000 {
        let mut piece = [0; 4096];
        let length = reader.read(&mut piece).unwrap();
        text.extend_from_slice(&piece[..length]);
    }
    let statistics = writer.close(PATIENCE);
    assert_eq!((statistics.written, statistics.dropped, statistics.write_errors), (2000, 0, 0));
}

#[test]
fn after_a_reopen_lines_go_to_the_new_file() {
    let folder = tempdir().unwrap();
    let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let writer = Writer::file(&path, Format::Clf).unwrap();
    logging(&writer, || {
        log(b"old");
        wait_until("the line is written", || writer.statistics().written == 1);
        fs::rename(&path, &moved).unwrap();
        writer.reopen();
        log(b"new");
    });
    let _ = writer.close(PATIENCE);
    assert_eq!(quoted(&fs::read_to_string(&moved).unwrap()), "old");
    assert_eq!(quoted(&fs::read_to_string(&path).unwrap()), "new");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_idle_log_is_reopened_too() {
    let folder = tempdir().unwrap();
    let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
    let writer = Writer::file(&path, Format::Clf).unwrap();
    fs::rename(&path, &moved).unwrap();
    writer.reopen();
    wait_until("the file is there again", || path.exists());
}

#[test]
fn a_failed_reopen_keeps_the_old_file() {
    let folder = tempdir().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let moved = folder.path().join("moved");
    let writer = Writer::file(inner.join("log"), Format::Clf).unwrap();
    fs::rename(&inner, &moved).unwrap();
    writer.reopen();
    logging(&writer, || log(b"still here"));
    assert_eq!(writer.close(PATIENCE).written, 1);
    assert_eq!(quoted(&fs::read_to_string(moved.join("log")).unwrap()), "still here");
}

#[test]
fn a_line_after_a_pause_is_written_without_waiting_for_more() {
    let (mut reader, writer) = piped(Format::Clf);
    logging(&writer, || {
        for _ in 0..3 {
            log(b"x");
            let mut line = [0; 1];
            while line[0] != b'\n' {
                reader.read_exact(&mut line).unwrap(); // would wait for ever if nothing woke the thread
            }
        }
    });
    assert_eq!(writer.close(PATIENCE).written, 3);
}

#[test]
fn the_last_handle_to_go_leaves_no_line_unwritten() {
    let (reader, writer) = piped(Format::Clf);
    let reading = read_to_end(reader);
    let other = writer.clone();
    drop(writer);
    logging(&other, || log_many(100));
    drop(other);
    // The reader sees the end once the thread has written everything and closed its end.
    assert_eq!(reading.join().unwrap().lines().count(), 100);
}

#[test]
fn standard_output_can_be_opened_as_a_log() {
    let before = fcntl_getfl(io::stdout().as_fd()).unwrap();
    let writer = Writer::stdout(Format::Clf).unwrap();
    assert_eq!(writer.close(PATIENCE).written, 0);
    assert_eq!(fcntl_getfl(io::stdout().as_fd()).unwrap(), before);
}
