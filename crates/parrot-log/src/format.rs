//! The formats of a log: how a message and a gap are written in each.

use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::record::Record;

/// A format that can change while lines are written.
#[derive(Debug)]
pub(crate) struct SharedFormat(AtomicU8);

impl SharedFormat {
    pub(crate) fn new(format: Format) -> SharedFormat {
        SharedFormat(AtomicU8::new(format as u8))
    }

    pub(crate) fn get(&self) -> Format {
        if self.0.load(Ordering::Relaxed) == Format::Json as u8 { Format::Json } else { Format::Clf }
    }

    pub(crate) fn set(&self, format: Format) {
        self.0.store(format as u8, Ordering::Relaxed);
    }
}

/// The format of a log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Extended Common Log Format.
    Clf,
    /// A JSON object per line.
    Json,
}

impl Format {
    /// The strftime pattern of the format's times.
    pub(crate) fn time_pattern(self) -> &'static str {
        match self {
            Format::Clf => "%d/%b/%Y:%H:%M:%S %z",
            Format::Json => "%Y-%m-%dT%H:%M:%S%:z",
        }
    }

    /// Appends the line of a message, which ends with the only newline in it.
    pub(crate) fn message(self, record: &Record, time: &str, line: &mut Vec<u8>) {
        match self {
            Format::Clf => clf_message(record, time, line),
            Format::Json => json_message(record, time, line),
        }
    }

    /// Appends the line that stands where `count` lines are missing.
    pub(crate) fn dropped(self, count: u64, time: &str, line: &mut Vec<u8>) {
        let lines = if count == 1 { "line" } else { "lines" };
        // Writing to a vector does not fail.
        let _ = match self {
            Format::Clf => writeln!(line, "- dropped - [{time}] \"{count} {lines} dropped\" -"),
            Format::Json => writeln!(line, "{{\"time\":\"{time}\",\"dropped\":{count}}}"),
        };
    }
}

fn clf_message(record: &Record, time: &str, line: &mut Vec<u8>) {
    line.extend_from_slice(record.peer().unwrap_or(b"-"));
    line.extend_from_slice(b" - ");
    push_number(record.user(), "-", line);
    line.extend_from_slice(b" [");
    line.extend_from_slice(time.as_bytes());
    line.extend_from_slice(b"] ");
    match record.payload() {
        Some(payload) => {
            line.push(b'"');
            line.extend_from_slice(payload);
            line.push(b'"');
        }
        None => line.push(b'-'),
    }
    if record.is_truncated() {
        line.extend_from_slice(b"...");
    }
    line.push(b' ');
    push_number(record.bytes(), "-", line);
    if let Some(faults) = record.faults() {
        line.extend_from_slice(b" \"");
        line.extend_from_slice(faults);
        line.push(b'"');
    }
    line.push(b'\n');
}

fn json_message(record: &Record, time: &str, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"peer\":");
    push_json_text(record.peer(), line);
    if let Some(user) = record.user() {
        line.extend_from_slice(b",\"user\":");
        push_number(Some(user), "null", line);
    }
    line.extend_from_slice(b",\"time\":\"");
    line.extend_from_slice(time.as_bytes());
    line.extend_from_slice(b"\",\"payload\":");
    push_json_text(record.payload(), line);
    line.extend_from_slice(if record.is_truncated() { b",\"truncated\":true" } else { b",\"truncated\":false" });
    line.extend_from_slice(b",\"bytes\":");
    push_number(record.bytes(), "null", line);
    if let Some(faults) = record.faults() {
        line.extend_from_slice(b",\"faults\":");
        push_json_text(Some(faults), line);
    }
    line.extend_from_slice(b"}\n");
}

fn push_number(number: Option<u64>, otherwise: &str, line: &mut Vec<u8>) {
    let _ = match number {
        Some(number) => write!(line, "{number}"),
        None => write!(line, "{otherwise}"),
    };
}

fn push_json_text(text: Option<&[u8]>, line: &mut Vec<u8>) {
    // Escaped text is ASCII, so it is a string, and a vector takes all of it.
    let text = text.map(|text| std::str::from_utf8(text).unwrap_or_default());
    let _ = serde_json::to_writer(line, &text);
}
