//! Shared by Parrot's tests and tools: processes to watch, clients and servers to talk to, bytes that can be checked,
//! and waiting with a deadline.
//!
//! Functions that only tests call panic when something fails. Those that tools call too return errors.

pub mod client;
pub mod descriptors;
pub mod http;
pub mod network;
pub mod output;
pub mod parrot;
pub mod patience;
pub mod process;
pub mod program;
pub mod schema;
pub mod scripted;
pub mod stream;
pub mod terminal;
pub mod usage;

pub use patience::{PATIENCE, wait_for, wait_until};
