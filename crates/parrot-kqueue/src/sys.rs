//! The one place that chooses between the two implementations.
//!
//! Each offers the same names: `Queue`, `Buffer` (the list that the system writes into), `Waker`, `Guard`, `BACKEND`,
//! and what it can report: `VNODE_EVENTS`, `PROCESS_EVENTS`. Everything outside of this folder is the same on every
//! system.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
pub(crate) use epoll::{BACKEND, Buffer, Guard, PROCESS_EVENTS, Queue, VNODE_EVENTS, Waker};

#[cfg(not(target_os = "linux"))]
mod kqueue;
#[cfg(not(target_os = "linux"))]
pub(crate) use kqueue::{BACKEND, Buffer, Guard, PROCESS_EVENTS, Queue, VNODE_EVENTS, Waker};
