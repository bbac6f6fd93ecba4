//! Helpers of the tests: logs to write to, and parsing lines.
#![allow(dead_code, unused_imports)]

use std::io::{PipeReader, Read as _, pipe};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::thread::{JoinHandle, spawn};

use parrot_log::{Format, MESSAGE_TARGET, MessageLayer, Writer};
use tracing::Dispatch;
pub(crate) use tracing::dispatcher::with_default;
use tracing_subscriber::layer::SubscriberExt as _;

/// A log that is a pipe.
pub(crate) fn piped(format: Format) -> (PipeReader, Writer) {
    let (reader, end) = pipe().unwrap();
    (reader, Writer::descriptor(OwnedFd::from(end), format).unwrap())
}

pub(crate) fn read_to_end(mut reader: PipeReader) -> JoinHandle<String> {
    spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    })
}

/// What logs messages with payloads up to this limit.
pub(crate) fn layer(writer: &Writer, limit: usize) -> Dispatch {
    tracing_subscriber::registry().with(MessageLayer::new(writer.clone(), limit)).into()
}

/// Calls `messages`, whose messages go to this log.
pub(crate) fn logging(writer: &Writer, messages: impl FnOnce()) {
    with_default(&layer(writer, 256), messages);
}

/// Logs one message as the server does.
pub(crate) fn log(payload: &[u8]) {
    let peer: SocketAddr = "127.0.0.1:53422".parse().unwrap();
    tracing::info!(target: MESSAGE_TARGET, peer = %peer, payload, bytes = payload.len() as u64);
}

/// The count of dropped lines, if this line of a CLF log reports a gap.
pub(crate) fn dropped_here(line: &str) -> Option<u64> {
    line.starts_with("- dropped - ").then(|| {
        let (count, rest) = quoted(line).split_once(' ').unwrap();
        assert!(rest == "lines dropped" || rest == "line dropped", "{rest}");
        count.parse().unwrap()
    })
}

/// What a line of a log says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// A message with this payload, which needs no escapes.
    Message(String),
    /// This many lines are missing here.
    Gap(u64),
    /// A line that an error has cut short.
    Cut,
}

pub(crate) fn read(line: &str, format: Format) -> Read {
    let whole = match format {
        Format::Clf => clf(line),
        _ => serde_json::from_str(line).ok().map(|object: serde_json::Value| match object["dropped"].as_u64() {
            Some(count) => Read::Gap(count),
            None => Read::Message(object["payload"].as_str().unwrap().to_owned()),
        }),
    };
    whole.unwrap_or(Read::Cut)
}

fn clf(line: &str) -> Option<Read> {
    let (head, rest) = line.split_once('"')?;
    let (text, end) = rest.split_once("\" ")?;
    if head.starts_with("- dropped - ") {
        return (end == "-").then(|| Read::Gap(text.split_once(" line").unwrap().0.parse().unwrap()));
    }
    (end == text.len().to_string()).then(|| Read::Message(text.to_owned()))
}

/// The text between the first quote and the last.
pub(crate) fn quoted(line: &str) -> &str {
    let start = line.find('"').unwrap() + 1;
    &line[start..line.rfind('"').unwrap()]
}

/// The line with `[time]` in place of the time, whose form is checked first.
pub(crate) fn without_time(line: &str) -> String {
    let start = line.find(" [").unwrap() + 2;
    let end = start + line[start..].find(']').unwrap();
    let form: String = line[start..end]
        .chars()
        .map(|character| match character {
            '0'..='9' => '9',
            'a'..='z' => 'a',
            'A'..='Z' => 'A',
            '+' | '-' => '+',
            other => other,
        })
        .collect();
    assert_eq!(form, "99/Aaa/9999:99:99:99 +9999", "{line}");
    format!("{}time{}", &line[..start], &line[end..])
}
