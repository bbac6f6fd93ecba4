//! A load generator for echo servers that checks every byte and watches itself.
//!
//! A [`Plan`] says what to send, [`run`] sends it and gives a [`Report`]. Every message is read back in full and
//! compared with what was sent, on every connection; every failure is counted by kind; connecting and warming up are
//! not part of what is measured; and the report says when it was not the server that set the pace.
//!
//! ```
//! use std::time::Duration;
//! use parrot_load::{Length, Plan, Stop};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let address = listener.local_addr()?;
//! # std::thread::spawn(move || for stream in listener.incoming().flatten() {
//! #     std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
//! # });
//! let plan = Plan {
//!     connections: 2,
//!     warmup: Duration::ZERO,
//!     length: Length::Messages(100),
//!     ..Plan::new(address)
//! };
//! let report = parrot_load::run(&plan, &Stop::default(), &mut ())?;
//! assert_eq!(report.messages, 100);
//! assert_eq!(report.failures.total(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What is timed
//!
//! In a closed loop ([`Pace::Closed`]) a message is timed from just before it is handed to the system until its last
//! byte is back. In an open loop ([`Pace::Rate`]) it is timed from when it *was to be* sent, so that a server that
//! stalls is charged for everyone it kept waiting; [`Report::service`] has the times from the real sends beside it.
//! With a connection for each message ([`Plan::reconnect`]) these times include opening it, not ending the one before.
//!
//! The clock is read for every send and every receive; messages that go out, or come back, in one call have one time.
//! An answer is back when it has been read and checked: while this program is busy with others it waits in the socket,
//! and that counts, which is what [`Mark::ClientBound`] warns of.

mod capacity;
mod clock;
mod dial;
mod failure;
mod latency;
mod link;
mod pattern;
mod plan;
mod report;
mod run;
mod schedule;
mod tally;
mod worker;

pub use capacity::{Lacking, raise_descriptor_limit};
pub use failure::{Failure, Failures};
pub use latency::{Latencies, Latency};
pub use plan::{Close, Impossible, Length, Pace, Plan};
pub use report::{Client, Connecting, Load, Mark, Report};
pub use run::{Error, Sample, Stop, Watch, run};

/// A number as a person reads it: `123,456`.
#[must_use]
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in microseconds as a person reads it: three digits or so, and a unit.
#[must_use]
pub fn microseconds(value: f64) -> String {
    let (value, unit) = match value {
        small if small < 1e3 => (small, "µs"),
        middle if middle < 1e6 => (middle / 1e3, "ms"),
        large => (large / 1e6, "s"),
    };
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {unit}")
}
