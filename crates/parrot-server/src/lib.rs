//! A single-threaded TCP echo server that can be embedded.
//!
//! One thread serves all connections; memory is bounded per connection and over all of them; every byte received is
//! sent back, in order, once. The library installs no signal handler, writes no log of its own and starts no thread
//! (but for a moment, on OpenBSD, when [`Signals`] are dropped while one waits): what happens is told through [`tracing`]
//! events and [`Statistics`].
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use parrot_server::{Config, Ended, Server};
//!
//! let config = Config { addresses: vec!["127.0.0.1".parse()?], port: 0, ..Config::default() };
//! let server = Server::bind(config)?;
//! let address = server.local_addresses()[0];
//! let handle = server.handle();
//! let thread = std::thread::spawn(move || server.run());
//!
//! let mut client = TcpStream::connect(address)?;
//! client.write_all(b"Hello Parrot\n")?;
//! let mut reply = [0; 13];
//! client.read_exact(&mut reply)?;
//! assert_eq!(&reply, b"Hello Parrot\n");
//! drop(client);
//!
//! handle.stop();
//! assert_eq!(thread.join().expect("the server does not panic")?, Ended::Drained);
//! assert_eq!(handle.statistics().bytes_out, 13);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Events
//!
//! Each message received (what one receive call returned) is a [`tracing`] event of level INFO and target
//! [`MESSAGE_TARGET`] with the fields `peer`, `payload` (bytes) and `bytes` (their number). Everything else has the
//! target `parrot_server`, but for the answer to a request for statistics: [`STATISTICS_TARGET`].
//!
//! # Layers
//!
//! `server` binds and hands over to `event_loop`, whose turns call `acceptor` for new connections and `conversation`
//! for the bytes of one. All of them reach the operating system through the trait in `system`, which `kernel`
//! implements with real sockets and [`parrot_kqueue`].

// What comes from outside must find no index to be out of: docs/reliability.md.
#![warn(clippy::indexing_slicing)]

mod acceptor;
mod bind_error;
mod config;
mod connection_key;
mod conversation;
mod deadlines;
mod descriptors;
mod event_loop;
mod kernel;
mod listen;
mod pages;
mod server;
mod signals;
mod statistics;
#[doc(hidden)]
pub mod system;

pub use bind_error::BindError;
pub use config::Config;
pub use parrot_conn::CloseReason;
pub use server::{Ended, Handle, Server};
pub use signals::Signals;
pub use statistics::Statistics;

/// The target of the events that carry messages.
pub const MESSAGE_TARGET: &str = "parrot::message";

/// The target of the event that answers SIGUSR1 (and SIGINFO where it exists).
pub const STATISTICS_TARGET: &str = "parrot::statistics";
