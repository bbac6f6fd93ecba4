//! The system's event queue in safe Rust: kqueue on macOS and the BSDs, the same contract over epoll on Linux.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod flag_set;

mod change;
mod event;
mod process;
mod queue;
mod receipts;
mod signal;
mod sys;
mod table;
mod timeout;
mod timer;
mod token;
mod vnode;
mod waker;

pub use change::{Change, Source};
pub use event::{Event, Events, Filter, Iter};
pub use process::{ProcessEvents, ProcessId};
pub use queue::Kqueue;
pub use receipts::Receipts;
pub use signal::{Signal, SignalGuard};
pub use timer::{Schedule, TimerId};
pub use token::Token;
pub use vnode::VnodeEvents;
pub use waker::Waker;

/// What the queue is on this system: `"kqueue"`, or `"kqueue over epoll"` on Linux.
///
/// ```
/// assert!(parrot_kqueue::BACKEND.starts_with("kqueue"));
/// ```
pub const BACKEND: &str = sys::BACKEND;

/// What programs rely on: a queue moves to the thread that runs it, wakers go anywhere.
const _: () = {
    const fn is_send<T: Send>() {}
    const fn is_send_and_sync<T: Send + Sync>() {}
    is_send::<Kqueue>();
    is_send::<Events>();
    is_send_and_sync::<Waker>();
    is_send_and_sync::<Event>();
    is_send_and_sync::<Receipts>();
};
