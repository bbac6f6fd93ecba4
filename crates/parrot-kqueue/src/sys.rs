//! The one place that chooses between the two implementations.
//!
//! Both offer the same names: `Queue`, `Buffer` (the list that the system writes into), `Guard` and `BACKEND`.

#[cfg(any(target_os = "netbsd", test))]
mod netbsd;
mod table;

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(target_os = "linux")]
pub(crate) use epoll::{BACKEND, Buffer, Guard, Queue};

#[cfg(not(target_os = "linux"))]
mod kqueue;
#[cfg(not(target_os = "linux"))]
pub(crate) use kqueue::{BACKEND, Buffer, Guard, Queue};
