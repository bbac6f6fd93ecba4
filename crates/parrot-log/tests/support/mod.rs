//! Helpers of the tests: a folder for files, and parsing lines.
#![allow(dead_code, unused_imports)]

use std::net::SocketAddr;
use std::path::PathBuf;

use parrot_log::{Format, MESSAGE_TARGET};
pub(crate) use parrot_testkit::{PATIENCE, wait_until};

/// A folder for one test, removed with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("parrot-log-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
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
