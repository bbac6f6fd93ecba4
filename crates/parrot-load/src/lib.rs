//! A load generator for echo servers that checks every byte and watches itself.
//!
//! A [`Plan`] says what to send, and [`run`] sends it and returns a [`Report`]. Every message is read back in full and
//! compared with what was sent, on every connection. Every failure is counted by kind. Connecting and warming up are
//! not measured. The report says when something other than the server set the pace.
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
//! In a closed loop ([`Pace::Closed`]) a message is timed from just before the send call until its last byte is back.
//! In an open loop ([`Pace::Rate`]) it is timed from when it *was due*, so that a stall of the server is charged to
//! every message that it delayed. [`Report::service`] has the times from the real sends beside it. If connections
//! are opened again and again ([`Plan::reconnect`]), the times of the first messages on each include opening it, but not
//! closing the previous one.
//!
//! The clock is read for every send and every receive. Messages that leave or arrive in one call share one time.
//!
//! An answer is back when it has been read and checked. While the load generator is busy with other answers, it waits
//! in the socket, and its time goes on. [`Mark::ClientBound`] warns of that.
//!
//! # Datagrams
//!
//! A load on a [`Target::Udp`] sends datagrams, each with a number. Those that are lost, late, doubled or overtaken are
//! told apart, and [`Report::datagrams`] has their counts. They are no failures, but a datagram that is not as it was sent
//! is one. UDP has no connections, so a datagram is sent before the load, to learn whether anybody answers.

mod advice;
mod capacity;
mod change;
#[cfg(feature = "charts")]
#[doc(hidden)]
pub mod charts;
mod clock;
mod connection;
mod course;
mod datagrams;
mod dial;
mod ends;
mod error;
mod failure;
mod latency;
mod pattern;
mod plan;
#[cfg(feature = "program")]
#[doc(hidden)]
pub mod program;
mod proxy;
mod ramp;
mod random;
mod report;
mod run;
mod sampler;
mod schedule;
mod search;
mod shared;
mod sizes;
mod steps;
mod tally;
mod target;
mod targets;
mod turns;
#[doc(hidden)]
pub mod units;
mod watch;
mod worker;

pub use capacity::Shortage;
pub use ends::{Ended, Ends};
pub use error::Error;
pub use failure::Failures;
pub use latency::{Latencies, Latency};
pub use plan::{Arrivals, Close, Impossible, Length, Pace, Plan, Reconnect};
pub use proxy::ProxyVersion;
pub use ramp::Ramp;
pub use report::{Client, Connecting, Datagrams, Histograms, Load, Mark, RateStep, Report, Unmergeable};
pub use run::run;
pub use search::{Found, Limit, Objective, Step, find_rate};
pub use steps::Steps;
pub use target::Target;
pub use watch::{Part, Sample, Stop, Usage, Watch};
