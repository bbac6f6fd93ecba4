//! A single-threaded echo server for TCP, UDP and Unix sockets that can be embedded.
//!
//! One thread serves all connections and datagrams. Memory is bounded, for each connection and over all of them. Every byte
//! received on a connection is sent back, in order, once. The library installs no signal handler, writes no log of its own and starts no thread (except
//! briefly, on OpenBSD, when [`Signals`] are dropped while one is pending). It reports what happens through [`tracing`]
//! events and [`Statistics`].
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//! use parrot_server::{Addresses, Config, Ended, Listen, Server};
//!
//! let config = Config { listen: vec![Listen::tcp(Addresses::localhost(0))], ..Config::default() };
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
//! handle.drain();
//! assert_eq!(thread.join().expect("the server does not panic")?, Ended::Drained);
//! assert_eq!(handle.statistics().bytes_out, 13);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Events
//!
//! Each message (what one receive call returned) is a [`tracing`] event of level INFO and target [`MESSAGE_TARGET`] with the
//! fields `peer`, `payload` (bytes) and `bytes` (their number), `user` on a Unix socket, and `faults` if the connection
//! has some. The reply to a request for statistics has the target [`STATISTICS_TARGET`]. Everything else has the target
//! `parrot_server`.
//!
//! # Rooms
//!
//! `server` makes listeners with `listen` and runs `event_loop` over them. The loop reaches the operating system through the
//! trait in `host`, which also has the native implementation with real sockets and [`parrot_kqueue`].

// Input from outside must not reach an index that could be out of bounds: docs/reliability.md.
#![warn(clippy::indexing_slicing)]

mod config;
mod descriptors;
mod durations;
mod event_loop;
mod faults;
mod host;
mod listen;
mod lookup;
mod memory_limit;
mod peer;
mod reconfigure;
mod server;
mod socket_options;
mod spawned;
mod stage;
mod statistics;

pub use config::{Config, Limits, ProxyProtocol, Replies, Settings, UdpRules};
pub use durations::Durations;
pub use event_loop::Ended;
#[doc(hidden)]
pub use event_loop::simulation;
pub use host::{MESSAGE_TARGET, Signals};
pub use listen::{
    Activation, ActivationError, Addresses, BindError, Descriptor, Listen, Listening, LocalAddress, SocketFile,
    UnservedListener,
};
pub use lookup::lookup;
pub use memory_limit::MemoryLimit;
pub use parrot_conn::fault;
pub use parrot_conn::{CloseReason, Lookup, Refusal, Template, TemplateError};
pub use peer::Peer;
pub use server::{Handle, Server};
pub use spawned::SpawnedServer;
pub use stage::{Stage, StageChange};
pub use statistics::{ListenerStatistics, STATISTICS_TARGET, Statistics};
