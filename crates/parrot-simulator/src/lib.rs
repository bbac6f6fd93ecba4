//! Parrot's event loop on a simulated host.
//!
//! A [`Story`] is everything that happens in one run. Peers connect, send a PROXY header in pieces, write, read slowly,
//! end their streams, reset or fall silent. Calls are interrupted, come up short or fail. Events arrive late, stale or
//! in any order, the clock jumps, and signals arrive. A seed decides all of it, so a story that breaks a promise can be
//! run again.
//!
//! The loop is the one of `parrot-server`, unchanged. It reaches the system through one trait, which [`SimulatedHost`]
//! implements.
//!
//! ```
//! use parrot_simulator::{Profile, Story};
//!
//! let outcome = Story::of_seed(Profile::Kqueue, 1512).run(false);
//! assert!(outcome.failure.is_none());
//! ```
//!
//! [`Promise`] lists what is checked. The checks of a single call are in `calls`. Those before a wait are in `waits`,
//! those of a close in `closes`, and those after a turn and at the end in `judge`. The host stores no byte. Every
//! peer's stream is known at every offset, and is compared when the loop sends it.
//!
//! Three things are left out on purpose: the network between the hosts (peers make the delays), the writer of the log
//! (a thread with tests of its own), and everything before the first turn of the loop.

#![allow(
    clippy::missing_const_for_thread_local,
    reason = "they are const, but clippy misses it where thread-locals have keys (OpenBSD)"
)]

mod acts;
mod attempts;
mod buffers;
mod calls;
mod changes;
mod check;
mod closes;
mod connection;
mod coverage;
mod current;
mod datagrams;
mod dice;
mod doors;
mod events;
mod headers;
mod host;
mod idleness;
mod judge;
mod listeners;
mod memory;
mod misbehaviour;
mod peer;
mod plan;
mod profile;
mod rates;
mod receives;
mod replies;
mod run;
mod sends;
mod share;
mod shrink;
mod story;
mod stream;
mod tally;
mod time;
mod waits;

pub use check::{Failure, Promise};
pub use connection::Socket;
pub use coverage::{Coverage, Point, SEEDS_FOR_COVERAGE};
pub use current::name_stories_that_panic;
pub use datagrams::DatagramSocket;
pub use host::{PlantedFault, SimulatedHost};
pub use listeners::Listener;
pub use profile::Profile;
pub use run::Outcome;
pub use story::{Source, Story};
