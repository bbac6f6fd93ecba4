//! Metrics, health and a page about a running Parrot server, over HTTP.
//!
//! | path | what it has |
//! |---|---|
//! | `/` | a page that shows the last ten minutes and moves on |
//! | `/metrics` | metrics for Prometheus, in its text format or as OpenMetrics, whichever the client accepts |
//! | `/healthz` | 200 if the loop makes a turn within a second, otherwise 503 |
//! | `/readyz` | 200 while the server listens and does not drain, otherwise 503 |
//! | `/statistics` | all numbers as JSON |
//!
//! ```
//! use std::net::TcpListener;
//! use parrot_admin::{Admin, Program};
//! use parrot_server::{Addresses, Config, Listen, Server};
//!
//! let listen = vec![Listen::tcp(Addresses::localhost(0))];
//! let mut server = Server::bind(Config { listen, ..Config::default() })?;
//! server.time_turns();
//! let admin = Admin::start(TcpListener::bind("127.0.0.1:0")?, server.handle(), Program::default())?;
//! # server.handle().drain();
//! server.run()?;
//! drop(admin); // nothing is served any more
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is promised
//!
//! One thread serves the pages, beside the server's. It reads the server's counters and wakes its loop for `/healthz`,
//! at most a hundred times a second. Nothing else of the server depends on it. It reads from clients and changes
//! nothing, and no page names a peer. A connection is open for ten seconds at most and serves one request. There are at
//! most 64 of them, and a further one takes the place of the oldest that has sent no whole request.
//!
//! There is no password and no encryption. So listen on an address that only the right people reach, or on a Unix
//! socket. A request that comes to a loopback address has to name the machine by an address or as `localhost`.
//! Otherwise a page from the web could have its own name point here and read everything (DNS rebinding).
//!
//! On Linux the thread yields to others when the processor is busy (its `nice` value is 10 higher), and the metrics
//! have the whole process. On the other systems they lack what the system shows only to unsafe code.

// What a client sends must not reach an index that could be out of bounds: docs/reliability.md.
#![warn(clippy::indexing_slicing)]

mod admin;
mod door;
mod exposition;
mod guard;
mod health;
mod history;
mod metrics;
mod page;
mod process;
mod report;
mod reserve;
mod routes;
mod watch;

pub use admin::Admin;
pub use door::Door;
pub use watch::{LogLines, Program};
