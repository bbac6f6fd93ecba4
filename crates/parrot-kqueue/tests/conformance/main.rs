//! What a queue promises, on every system it runs on.
//!
//! One suite, one test for one behaviour, the same source everywhere. Where systems differ, a test asks
//! `differences.rs`, which says how and why; nothing else in here knows which system it runs on. Descriptors are real.
//! A test that expects an event waits for it with a deadline; one that expects none wakes the queue and looks at what
//! else came with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod allocations;
mod changes;
mod descriptors;
mod differences;
mod documentation;
mod limits;
mod nesting;
mod process;
mod queue;
mod read;
mod signal;
mod support;
mod timer;
mod user;
mod vnode;
mod write;
