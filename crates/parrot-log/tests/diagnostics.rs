//! Diagnostics on a standard error that nobody reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::io::{PipeReader, Read as _, Write as _, pipe};
use std::os::fd::OwnedFd;

use parrot_log::Diagnostics;
use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt as _;

/// Less than a full pipe holds on any system. Reading this much makes room for a record on every system.
const ROOM: usize = 8 * 1024;

fn piped() -> (PipeReader, Diagnostics) {
    let (reader, end) = pipe().unwrap();
    (reader, Diagnostics::descriptor(OwnedFd::from(end)))
}

#[test]
fn a_record_is_written_as_it_is() {
    let (mut reader, diagnostics) = piped();
    let layer = tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_writer(diagnostics.clone());
    with_default(tracing_subscriber::registry().with(layer), || {
        tracing::info!(target: "test", answer = 42, "said");
    });
    assert_eq!(diagnostics.dropped(), 0);
    drop(diagnostics);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, " INFO test: said answer=42\n");
}

#[test]
fn unread_records_are_dropped_and_reported_later() {
    let (mut reader, diagnostics) = piped();
    let record = format!("{}\n", "x".repeat(99));
    let mut records = 0;
    while diagnostics.dropped() < 10 {
        (&diagnostics).write_all(record.as_bytes()).unwrap(); // would never end if it waited for the reader
        records += 1;
    }
    let mut text = vec![0; ROOM];
    reader.read_exact(&mut text).unwrap();
    (&diagnostics).write_all(b"after the gap\n").unwrap();
    assert_eq!(diagnostics.dropped(), 10);
    drop(diagnostics);
    reader.read_to_end(&mut text).unwrap();

    let text = String::from_utf8(text).unwrap();
    let whole = text.lines().filter(|line| line.len() == 99).count();
    assert_eq!(whole, records - 10);
    assert!(
        text.ends_with("\n(diagnostics dropped here: 10; standard error was not read)\nafter the gap\n"),
        "{}",
        &text[text.len() - 200..]
    );
}

#[test]
fn after_a_record_longer_than_the_pipe_a_new_line_begins() {
    let (mut reader, diagnostics) = piped();
    (&diagnostics).write_all("x".repeat(1 << 20).as_bytes()).unwrap();
    assert_eq!(diagnostics.dropped(), 1);
    let mut text = vec![0; ROOM];
    reader.read_exact(&mut text).unwrap();
    (&diagnostics).write_all(b"next\n").unwrap();
    drop(diagnostics);
    reader.read_to_end(&mut text).unwrap();
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    assert!(lines[0].iter().all(|&byte| byte == b'x'));
    assert_eq!(lines[2], b"next");
}

#[test]
fn a_closed_standard_error_is_no_error() {
    let (reader, diagnostics) = piped();
    drop(reader);
    (&diagnostics).write_all(b"to nobody\n").unwrap();
    assert_eq!(diagnostics.dropped(), 1);
}
