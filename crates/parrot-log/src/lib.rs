//! Message logs as Common Log Format or JSON lines, written by a tracing layer that never blocks.
//!
//! A program that serves messages emits a structured [`tracing`] event for each of them. [`MessageLayer`] turns those
//! events into lines, and a [`Writer`] brings the lines to a file or to standard output on a thread of its own:
//!
//! ```
//! use std::time::Duration;
//! use parrot_log::{Format, MESSAGE_TARGET, MessageLayer, Writer};
//! use tracing_subscriber::layer::SubscriberExt as _;
//!
//! let path = std::env::temp_dir().join(format!("parrot-log-example-{}.log", std::process::id()));
//! let writer = Writer::file(&path, Format::Clf)?;
//! let subscriber = tracing_subscriber::registry().with(MessageLayer::new(writer.clone(), 256));
//!
//! tracing::subscriber::with_default(subscriber, || {
//!     let payload: &[u8] = b"Hello Parrot\n";
//!     tracing::info!(target: MESSAGE_TARGET, peer = "127.0.0.1:53422", payload, bytes = payload.len() as u64);
//! });
//!
//! let statistics = writer.close(Duration::from_secs(1));
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
//! A message event has the target [`MESSAGE_TARGET`], with any level and any message. Events of other targets are left to
//! other layers.
//!
//! | field | recorded as | missing |
//! |---|---|---|
//! | `peer` | text or `Display` (`%address`) | `-`, in JSON `null` |
//! | `payload` | bytes (`&[u8]`), or text, or `Debug` | `-`, in JSON `null` |
//! | `bytes` | a number | the length of the payload, or without one `-`, in JSON `null` |
//! | `user` | a number, that of the user behind the peer | `-`, in JSON no field |
//! | `faults` | text, the faults that the connection has on request | nothing, in JSON no field |
//!
//! # The lines
//!
//! [`Format::Clf`] is extended Common Log Format: the peer, a dash, the user's number or a dash, local time with its
//! offset, the payload in quotes, the bytes of the message. The user is a number and not a name, because a look-up of the
//! name can ask a directory service and wait for it.
//!
//! ```text
//! 127.0.0.1:53422 - - [02/Jan/2006:15:04:05 -0700] "Hello Parrot\n" 13
//! [2001:db8::1]:53422 - - [02/Jan/2006:15:04:05 -0700] "a long paylo"... 2048
//! unix - 1000 [02/Jan/2006:15:04:05 -0700] "Hello Parrot\n" 13
//! ```
//!
//! Faults come last, as in `"latency,reset"`. Connections without faults have no such field.
//!
//! [`Format::Json`] is one object per line, with the payload as the same text:
//!
//! ```text
//! {"peer":"127.0.0.1:53422","time":"2006-01-02T15:04:05-07:00","payload":"Hello Parrot\\n","truncated":false,"bytes":13}
//! ```
//!
//! In a payload the bytes 0x20 to 0x7e stand as they are, except that `"` and `\` get a backslash before them. Newline,
//! carriage return and tab are `\n`, `\r` and `\t`. Every other byte is `\xHH`. So whatever a peer sends, one record is
//! one line, and no control byte reaches the terminal that shows the log. A payload longer than the limit is cut there,
//! with `...` after the closing quote (`"truncated":true`), and the byte count stays that of the message. A peer is
//! escaped in the same way, spaces included, and cut at 256 bytes.
//!
//! Times are in the time zone that TZ names, or else in that of the machine. TZ is read as tzset(3) reads it. If it is
//! not understood, times are in UTC, and [`check_time_zone`] returns an error that a program can show.
//!
//! # When the log cannot keep up
//!
//! A program never waits for its log. Lines are appended to a buffer of at most 512 KiB. While it is full, lines are
//! dropped and counted. As soon as the log flows again, the count stands in the gap as a line of its own:
//!
//! ```text
//! - dropped - [02/Jan/2006:15:04:05 -0700] "17 lines dropped" -
//! {"time":"2006-01-02T15:04:05-07:00","dropped":17}
//! ```
//!
//! A program that reads the log recognizes this line by its second field, which is `-` in every line of a message, or by
//! the key `dropped`.
//!
//! Lines that a failed write cost are reported in the same way, in front of the first line that gets through again. A line
//! that such a write cut short is one of them. It stays as a line of its own. The first error of a log is also reported
//! as a warning with the target `parrot_log`. It goes to the global subscriber, from the writer's thread.
//!
//! # Systems
//!
//! The same on Linux, macOS, FreeBSD, OpenBSD, NetBSD and DragonFly. A closed pipe is an error like any other as long as
//! SIGPIPE is ignored, which is the default in every program with a Rust `main`. The limit on a file's size
//! (`ulimit -f`) is one as long as SIGXFSZ is blocked or ignored.

// Indexing could panic on a length that a peer chose (docs/reliability.md).
#![warn(clippy::indexing_slicing)]

mod clock;
mod counts;
mod destination;
mod diagnostics;
mod escape;
mod format;
mod layer;
mod pipe;
mod record;
mod sink;
mod state;
mod target;
mod writer;
mod zone;

pub use diagnostics::Diagnostics;
pub use format::Format;
pub use layer::{MAX_PAYLOAD, MESSAGE_TARGET, MessageLayer};
pub use target::Target;
pub use writer::{Writer, WriterStatistics};
pub use zone::{UnknownTimeZone, check_time_zone};
