//! Runs the `parrot` server under real faults on the real system.
//!
//! Each [`Scenario`] starts the binary, puts it through a storm, and does so twice. The first act lets the storm end,
//! then demands that connections, descriptors and memory are back at rest and that SIGTERM ends the server with exit
//! code 0. The second act sends SIGTERM in the middle of the storm. A few healthy peers echo beside every storm, check
//! every byte and measure the time. `cargo xtask torture` runs the scenarios against the release binary, and a test of
//! parrot-cli runs their short form.
//!
//! # Systems
//!
//! Memory, descriptors and processor time are read on Linux only. Some scenarios need Linux or tools that it has. A
//! scenario that cannot run reports why.

mod ending;
mod figures;
mod healthy;
mod launch;
mod machine;
mod peer;
mod plot;
mod scenario;
mod scenarios;
mod server;
mod suite;
mod trial;

pub use scenario::Scenario;
pub use scenarios::all as scenarios;
pub use suite::{Tally, room_for_connections, run_all};
pub use trial::{Conditions, Outcome, run};
