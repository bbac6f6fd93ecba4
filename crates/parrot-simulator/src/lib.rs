//! Parrot's loop under a simulated kernel.
//!
//! A [`Story`] is all that happens in one run: peers that connect, write, read slowly, end their streams, reset or
//! fall silent; calls that are interrupted, come up short or fail; events that come late, stale, or in any order; a
//! clock that jumps; signals. A seed decides all of it, so a story that breaks a promise can be told again. The loop
//! is the one of `parrot-server`, unchanged: it reaches the system through one trait, which [`SimulatedHost`] implements
//! here.
//!
//! ```
//! use parrot_simulator::{Profile, Story};
//!
//! let outcome = Story::of_seed(Profile::Kqueue, 1512).run(false);
//! assert!(outcome.failure.is_none());
//! ```
//!
//! What is checked is in `judge`, and as far as it concerns one call, in `calls`: [`Promise`] lists it. The kernel
//! keeps no byte: every peer's stream is known at every offset, and is compared when the loop sends it.
//!
//! What is absent on purpose: the network between the kernels (its delays are those of the peers), the log's writer
//! (a thread, with tests of its own), and everything before the loop's first turn.

#![allow(
    clippy::missing_const_for_thread_local,
    reason = "they are const, but where TLS has keys (OpenBSD) clippy misses it"
)]

mod acts;
mod attempts;
mod calls;
mod check;
mod coverage;
mod dice;
mod events;
mod host;
mod judge;
mod link;
mod memory;
mod peer;
mod plan;
mod profile;
mod run;
mod share;
mod shrink;
mod stream;
mod telling;

pub use calls::{Listener, Socket};
pub use check::{Failure, Promise};
pub use coverage::{Coverage, Point, SEEDS_FOR_COVERAGE};
pub use host::{PlantedFault, SimulatedHost};
pub use profile::Profile;
pub use run::{Outcome, Source, Story};
pub use telling::name_stories_that_panic;
