//! Log lines of any messages. One record is one line that decodes back to the same bytes.

use std::fmt;
use std::io::{Read as _, pipe};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use parrot_log::{Format, MESSAGE_TARGET, MessageLayer, Writer};
use tracing_subscriber::layer::SubscriberExt as _;

/// The rest of a longer input is ignored.
const MOST: usize = 4096;

/// A message, as an input describes it.
struct Message<'a> {
    payload: &'a [u8],
    /// The length that the event claims.
    bytes: u64,
    peer: Peer<'a>,
}

/// Any name of a peer, spaces and line ends included.
#[derive(Clone, Copy)]
struct Peer<'a>(&'a [u8]);

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0))
    }
}

/// Writes a log in each format and checks its lines.
///
/// The first byte of the input is the payload limit of the lines, the rest are messages. Each begins with three bytes:
/// the length of its peer, the length of its payload, and how much longer than its payload it claims to be.
pub fn check_log_lines(input: &[u8]) {
    let input = &input[..input.len().min(MOST)];
    let [limit, rest @ ..] = input else { return };
    let limit = usize::from(*limit);
    let messages = messages(rest);
    let clf = lines(&messages, Format::Clf, limit);
    for (line, message) in clf.iter().zip(&messages) {
        check_clf(line, message, limit);
    }
    let json = lines(&messages, Format::Json, limit);
    for (line, message) in json.iter().zip(&messages) {
        assert!(line.starts_with("{\"peer\":\"") && line.ends_with('}'), "{line}");
        assert!(line.contains(&format!(",\"bytes\":{}}}", message.bytes)), "{line}");
    }
}

fn messages(mut input: &[u8]) -> Vec<Message<'_>> {
    let mut messages = Vec::new();
    while let [peer, payload, claim, rest @ ..] = input {
        let (peer, rest) = rest.split_at(rest.len().min(usize::from(*peer)));
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*payload)));
        messages.push(Message { payload, bytes: payload.len() as u64 + u64::from(*claim), peer: Peer(peer) });
        input = rest;
    }
    messages
}

/// The log of these messages, one line for each.
fn lines(messages: &[Message<'_>], format: Format, limit: usize) -> Vec<String> {
    let (mut reader, end) = pipe().expect("a pipe");
    // Read meanwhile, because the log may be longer than a pipe, and on FreeBSD a write of 8 KiB and more ends only
    // when all of it was read (`pipe_direct_write` in sys/kern/sys_pipe.c).
    let reads = thread::spawn(move || {
        let mut log = Vec::new();
        reader.read_to_end(&mut log).map(|_| log)
    });
    let writer = Writer::descriptor(OwnedFd::from(end), format).expect("a log");
    let subscriber = tracing_subscriber::registry().with(MessageLayer::new(writer.clone(), limit));
    tracing::subscriber::with_default(subscriber, || {
        for Message { payload, bytes, peer } in messages {
            tracing::info!(target: MESSAGE_TARGET, peer = %peer, payload = *payload, bytes = *bytes);
        }
    });
    let statistics = writer.close(Duration::from_secs(20));
    assert_eq!((statistics.written, statistics.dropped), (messages.len() as u64, 0));
    let log = reads.join().expect("no panic").expect("what was written");
    assert!(log.iter().all(|&byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "only printable ASCII");
    let log = String::from_utf8(log).expect("ASCII is UTF-8");
    assert!(log.is_empty() || log.ends_with('\n'));
    let lines: Vec<String> = log.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), messages.len(), "one record is one line");
    lines
}

/// Parses a line as the documentation of parrot-log says, without its code.
fn check_clf(line: &str, message: &Message<'_>, limit: usize) {
    let (peer, rest) = line.split_once(' ').expect("a peer");
    let rest = rest.strip_prefix("- - [").expect("two dashes and a time");
    let (time, rest) = rest.split_once("] \"").expect("the end of the time");
    assert_eq!(time.len(), "02/Jan/2006:15:04:05 -0700".len(), "{time}");
    let (payload, rest) = rest.rsplit_once('"').expect("a payload in quotes");
    let (cut, bytes) = match rest.strip_prefix("... ") {
        Some(bytes) => (true, bytes),
        None => (false, rest.strip_prefix(' ').expect("a space after the payload")),
    };
    assert_eq!(bytes.parse(), Ok(message.bytes));
    assert_eq!(decoded(peer), cut_at(message.peer.to_string().as_bytes(), 256), "{line}");
    assert_eq!(decoded(payload), cut_at(message.payload, limit), "{line}");
    assert_eq!(cut, (message.payload.len().min(limit) as u64) < message.bytes, "{line}");
}

fn cut_at(bytes: &[u8], limit: usize) -> &[u8] {
    &bytes[..bytes.len().min(limit)]
}

/// Decodes a text of a log line as the documentation of parrot-log says, without its code.
pub fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().expect("an escape") {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [rest.next(), rest.next()].map(|digit| char::from(digit.expect("two digits")));
                    u8::from_str_radix(&digits.iter().collect::<String>(), 16).expect("hexadecimal digits")
                }
                quoted @ (b'"' | b'\\') => quoted,
                other => panic!("no such escape: \\{}", char::from(other)),
            },
            b'"' => panic!("a bare quote ends the text: {text}"),
            plain => plain,
        });
    }
    bytes
}
