//! Message logs as Common Log Format or JSON lines, written by tracing layers that never block.
//!
//! A program that serves messages tells of each with a structured [`tracing`] event. A layer of this crate turns those
//! events into lines, and a [`Writer`] brings the lines to a file or to standard output on a thread of its own:
//!
//! ```
//! use std::time::Duration;
//! use parrot_log::{ClfLayer, MESSAGE_TARGET, Writer};
//! use tracing_subscriber::layer::SubscriberExt as _;
//!
//! let path = std::env::temp_dir().join(format!("parrot-log-example-{}.log", std::process::id()));
//! let (writer, guard) = Writer::file(&path)?;
//! let subscriber = tracing_subscriber::registry().with(ClfLayer::new(writer, 256));
//!
//! tracing::subscriber::with_default(subscriber, || {
//!     let payload: &[u8] = b"Hello Parrot\n";
//!     tracing::info!(target: MESSAGE_TARGET, peer = "127.0.0.1:53422", payload, bytes = payload.len() as u64);
//! });
//!
//! let statistics = guard.close(Duration::from_secs(1));
//! assert_eq!((statistics.written, statistics.dropped), (1, 0));
//! let line = std::fs::read_to_string(&path)?;
//! assert!(line.starts_with("127.0.0.1:53422 - - ["));
//! assert!(line.ends_with("] \"Hello Parrot\\n\" 13\n"));
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # The event
//!
//! Target [`MESSAGE_TARGET`]; any level, any message. Events of other targets are left to other layers.
//!
//! | field | recorded as | missing |
//! |---|---|---|
//! | `peer` | text or `Display` (`%address`) | `-`, in JSON `null` |
//! | `payload` | bytes (`&[u8]`), or text, or `Debug` | `-`, in JSON `null` |
//! | `bytes` | a number | the length of the payload; without one `-`, in JSON `null` |
//!
//! # The lines
//!
//! [`ClfLayer`] writes extended Common Log Format: the peer, two dashes, local time with its offset, the payload in
//! quotes, the bytes of the message.
//!
//! ```text
//! 127.0.0.1:53422 - - [02/Jan/2006:15:04:05 -0700] "Hello Parrot\n" 13
//! [2001:db8::1]:53422 - - [02/Jan/2006:15:04:05 -0700] "a long paylo"... 2048
//! ```
//!
//! [`JsonLayer`] writes an object a line, the payload as the same text:
//!
//! ```text
//! {"peer":"127.0.0.1:53422","time":"2006-01-02T15:04:05-07:00","payload":"Hello Parrot\\n","truncated":false,"bytes":13}
//! ```
//!
//! In a payload the bytes 0x20 to 0x7e stand as they are except `"` and `\`, which get a backslash before them; newline,
//! carriage return and tab are `\n`, `\r` and `\t`; every other byte is `\xHH`. So whatever a peer sends, one record is
//! one line, and no control byte reaches the terminal of who reads the log. A payload that is longer than the limit is
//! cut there: `...` follows the closing quote (`"truncated":true`), and the count of bytes stays that of the message.
//! A peer is escaped in the same way, spaces too, and cut at 256 bytes.
//!
//! # When the log cannot keep up
//!
//! Who logs never waits for the log. Lines are appended to a buffer of at most 512 KiB; while it is full, lines are
//! dropped and counted. As soon as the log flows again, the count stands at the place of the gap as a line of its own:
//!
//! ```text
//! - dropped - [02/Jan/2006:15:04:05 -0700] "17 lines dropped" -
//! {"time":"2006-01-02T15:04:05-07:00","dropped":17}
//! ```
//!
//! A reader of lines tells it apart by the second field, which is `-` in every line of a message, or by the key
//! `dropped`. Lines that were lost to a write error are counted there too. The first error of a log is told as a
//! warning with target `parrot_log` (through the global subscriber, from the writer's thread).
//!
//! # Systems
//!
//! The same on Linux, macOS, FreeBSD, OpenBSD, NetBSD and DragonFly. A closed pipe is an error like any other as long as
//! SIGPIPE is ignored, which Rust's runtime sees to in every program with a Rust `main`.

// What comes from outside must find no index to be out of: docs/reliability.md.
#![warn(clippy::indexing_slicing)]

mod clock;
mod diagnostics;
mod escape;
mod format;
mod layer;
mod record;
mod sink;
mod turn;
mod writer;

pub use diagnostics::Diagnostics;
pub use layer::{ClfLayer, JsonLayer, MAX_PAYLOAD, MESSAGE_TARGET};
pub use writer::{Writer, WriterGuard, WriterHandle, WriterStatistics};
