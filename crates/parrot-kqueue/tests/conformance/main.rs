//! What a queue promises, on every system.
//!
//! Each test covers one behaviour, with the same source on every system. Where systems differ, a test asks
//! `differences.rs`, which has the table of how and why. Descriptors are real. A test that expects an event waits for
//! it with a deadline. A test that expects none wakes the queue and looks at what else is reported.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod allocations;
mod changes;
mod descriptors;
mod differences;
mod documentation;
mod limits;
mod modes;
mod nesting;
mod process;
mod queue;
mod read;
mod signal;
mod support;
#[cfg(target_os = "linux")]
mod system_limits;
mod timer;
mod user;
mod vnode;
mod write;
