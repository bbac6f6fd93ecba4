//! Real faults on the real system: what the `parrot` server is put through, and what must hold beside and after it.
//!
//! Each [`Scenario`] starts the real binary, lets a storm loose on it, and runs twice: once to its end, after which
//! connections, descriptors and memory must be back at rest and SIGTERM must end the server with exit code 0; and once
//! with SIGTERM in the midst of the storm. Beside every storm a few healthy peers echo, check every byte and take the
//! time. `cargo xtask torture` runs them against the release binary, and a test of parrot-cli in their short form.
//!
//! # Systems
//!
//! Memory, descriptors and processor time are read on Linux only, and some scenarios need it, or tools that it has; what
//! cannot run says so.

mod healthy;
mod held;
mod here;
mod measure;
mod peer;
mod plot;
mod random;
mod scenario;
mod scenarios;
mod server;
mod suite;
mod trial;

pub use scenario::Scenario;
pub use scenarios::all as scenarios;
pub use suite::{Tally, room_for_connections, run_all};
pub use trial::{Conditions, Outcome, run};
