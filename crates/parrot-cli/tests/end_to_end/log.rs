//! The log has a line for each message, whatever the message holds.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use parrot_testkit::client::echo;
use parrot_testkit::parrot::Parrot;
use parrot_testkit::wait_until;
use rustix::process::Signal;

use crate::support::{data, parrot, scratch, spawn};

/// A server that logs to this file.
fn logging_to(path: &Path, arguments: &[&str]) -> Parrot {
    spawn(parrot(arguments).arg("--log-file").arg(path))
}

/// Waits for this many lines in the file.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(path).unwrap_or_default();
    wait_until("the lines are written", || read().lines().count() >= count && read().ends_with('\n'));
    let lines: Vec<String> = read().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{lines:#?}");
    lines
}

/// The payload between the quotes, and the rest of the line after them.
fn payload(line: &str) -> (&str, &str) {
    let (_, quoted) = line.split_once("] \"").unwrap();
    quoted.rsplit_once('"').unwrap()
}

#[test]
fn each_message_has_its_line_on_stdout() {
    let mut parrot = spawn(parrot(&[]).stdout(Stdio::piped()));
    let mut log = BufReader::new(parrot.take_stdout().unwrap());
    let stream = parrot.connect();
    echo(&stream, b"Hello Parrot\n");
    let mut line = String::new();
    log.read_line(&mut line).unwrap();
    let (head, tail) = line.split_once(" - - [").unwrap();
    assert_eq!(head, stream.local_addr().unwrap().to_string());
    let (time, tail) = tail.split_once("] ").unwrap();
    assert_eq!(tail, "\"Hello Parrot\\n\" 13\n");
    // 02/Jan/2006:15:04:05 -0700
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!((&shape[..3], &shape[6..21]), ("00/", "/0000:00:00:00 "), "{time}");
    assert!(matches!(&shape[21..], "+0000" | "-0000"), "{time}");
}

#[test]
fn a_hostile_message_is_one_line_of_printable_characters() {
    let path = scratch("hostile.log");
    let parrot = logging_to(&path, &["--log-payload", "1024"]);
    let stream = parrot.connect();
    let all: Vec<u8> = (0..=255).collect();
    let hostile: [&[u8]; 5] = [
        b"two\nlines\r\n",
        b"\x1b[2J\x1b]0;owned\x07",
        b"\" 13\n127.0.0.1:1 - - [01/Jan/2030:00:00:00 +0000] \"forged\" 6",
        b"\\n\\",
        &all,
    ];
    for message in hostile {
        echo(&stream, message);
    }
    let lines = lines(&path, hostile.len());
    assert!(lines.iter().flat_map(|line| line.bytes()).all(|byte| (0x20..0x7f).contains(&byte)));
    assert_eq!(payload(&lines[0]), (r"two\nlines\r\n", " 11"));
    assert_eq!(payload(&lines[1]), (r"\x1b[2J\x1b]0;owned\x07", " 14"));
    assert_eq!(payload(&lines[3]), (r"\\n\\", " 3"));
    assert!(payload(&lines[4]).0.starts_with(r"\x00\x01"));
    assert_eq!(payload(&lines[4]).1, " 256");
}

#[test]
fn a_long_payload_is_cut_and_counted_in_full() {
    let path = scratch("long.log");
    let parrot = logging_to(&path, &["--log-payload", "4"]);
    let stream = parrot.connect();
    echo(&stream, b"four");
    echo(&stream, b"fifth");
    let lines = lines(&path, 2);
    assert!(lines[0].ends_with("] \"four\" 4"), "{}", lines[0]);
    assert!(lines[1].ends_with("] \"fift\"... 5"), "{}", lines[1]);
}

#[test]
fn json_is_one_object_per_line() {
    let path = scratch("json.log");
    let parrot = logging_to(&path, &["--log", "json"]);
    let stream = parrot.connect();
    echo(&stream, b"Hello \"Parrot\"\n");
    let lines = lines(&path, 1);
    assert!(lines[0].starts_with('{') && lines[0].ends_with('}'), "{}", lines[0]);
    assert!(lines[0].contains(&format!("\"peer\":\"{}\"", stream.local_addr().unwrap())), "{}", lines[0]);
    assert!(lines[0].contains("\"bytes\":15"), "{}", lines[0]);
}

#[test]
fn the_log_file_is_private_and_appended_to() {
    let path = scratch("append.log");
    for count in 1..=2 {
        let parrot = logging_to(&path, &[]);
        echo(&parrot.connect(), b"squawk");
        lines(&path, count);
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn all_lines_are_written_before_the_end() {
    let path = scratch("end.log");
    let parrot = logging_to(&path, &[]);
    let stream = parrot.connect();
    for message in data().chunks(12).take(1000) {
        echo(&stream, message);
    }
    drop(stream);
    let summary = parrot.stop().unwrap();
    assert!(summary.contains("1000 log lines written, 0 dropped"), "{summary}");
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1000);
}

#[test]
fn sighup_reopens_the_log_file() {
    let (path, rotated) = (scratch("rotate.log"), scratch("rotate.log.old"));
    let parrot = logging_to(&path, &[]);
    let stream = parrot.connect();
    echo(&stream, b"before");
    lines(&path, 1);
    fs::rename(&path, &rotated).unwrap();
    parrot.signal(Signal::HUP).unwrap();
    wait_until("the new file is there", || path.exists());
    echo(&stream, b"after");
    assert!(lines(&path, 1)[0].contains("\"after\""));
    assert!(lines(&rotated, 1)[0].contains("\"before\""));
}

/// The offsets of the log's times and the warnings of a server with this TZ.
fn offset_and_warnings(tz: &OsStr) -> (String, Vec<String>) {
    let path = scratch("zone.log");
    let parrot = spawn(parrot(&["--log-file"]).arg(&path).env("TZ", tz));
    echo(&parrot.connect(), b"squawk");
    let lines = lines(&path, 1);
    let (_, offset) = lines[0].split_once(']').unwrap().0.rsplit_once(' ').unwrap();
    let warnings = parrot.stderr().lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect();
    (offset.to_owned(), warnings)
}

#[test]
fn times_follow_every_form_of_tz() {
    for (tz, expected) in [("", "+0000"), (":", "+0000"), ("<+0530>-5:30", "+0530"), (":ABC3", "-0300")] {
        let (offset, warnings) = offset_and_warnings(tz.as_ref());
        assert_eq!((offset.as_str(), warnings.as_slice()), (expected, &[][..]), "{tz:?}");
    }
}

#[test]
fn a_tz_that_is_not_understood_is_reported_once() {
    for (tz, shown) in [
        (&b"Europe/Berln"[..], r#"TZ="Europe/Berln""#),
        (b"/usr/share/zoneinfo/Europe/Berln", r#"TZ="/usr/share/zoneinfo/Europe/Berln""#),
        (b"CET-1CEST,M13.5.0,M10.5.0", r#"TZ="CET-1CEST,M13.5.0,M10.5.0""#),
        (b"Europe/\xff\n", r#"TZ="Europe/\xFF\n""#),
    ] {
        let (offset, warnings) = offset_and_warnings(OsStr::from_bytes(tz));
        assert_eq!((offset.as_str(), warnings.len()), ("+0000", 1), "{warnings:?}");
        assert!(warnings[0].contains(shown) && warnings[0].contains("log times are in UTC"), "{warnings:?}");
    }
}

#[test]
fn without_a_log_nothing_is_written() {
    let mut parrot = spawn(parrot(&["--log", "off"]).stdout(Stdio::piped()));
    let mut log = parrot.take_stdout().unwrap();
    echo(&parrot.connect(), b"squawk");
    let summary = parrot.stop().unwrap();
    assert!(!summary.contains("log lines"), "{summary}");
    let mut written = String::new();
    log.read_to_string(&mut written).unwrap();
    assert_eq!(written, "");
}
