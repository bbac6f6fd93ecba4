//! The system's event queue in safe Rust: kqueue on macOS and the BSDs, the same contract over epoll on Linux.
//!
//! For programs that want kqueue itself, its filters and modes, and want it to mean the same on six systems. It does no
//! input or output of its own, has no runtime and no `unsafe` code. Those who want the common denominator of many more
//! systems are better served by mio or polling.
//!
//! Left out is what only some systems have: the filters AIO, LIO, FS, EXCEPT, PROCDESC, JAIL and MACHPORT, following a
//! process to its children (NOTE_TRACK), opening, closing and reading of files (NOTE_OPEN, NOTE_CLOSE, NOTE_READ), and
//! a number of the program's own in the event of a waker (NOTE_FFCOPY).
//!
//! ```
//! use parrot_kqueue::{Change, Events, Kqueue, Schedule, TimerId, Token};
//! use std::{io::Write, os::{fd::AsFd, unix::net::UnixStream}, time::Duration};
//!
//! const PEER: Token = Token(0);
//! const TICK: Token = Token(1);
//!
//! let (near, mut far) = UnixStream::pair()?;
//! let queue = Kqueue::new()?;
//! queue
//!     .apply(&[
//!         Change::add_read(near.as_fd(), PEER),
//!         Change::add_timer(TimerId(1), Schedule::After(Duration::from_secs(60)), TICK),
//!     ])
//!     .all()?;
//!
//! far.write_all(b"squawk")?;
//! let mut events = Events::with_capacity(64);
//! queue.wait(&mut events, None)?;
//! for event in &events {
//!     match event.token() {
//!         PEER => println!("read until it would block: {event:?}"),
//!         TICK => println!("{} minute(s)", event.count()),
//!         _ => {}
//!     }
//! }
//! # std::io::Result::Ok(())
//! ```
//!
//! # How kqueue works
//!
//! A queue holds **registrations**. Each is of a [`Source`]: a *filter*, which is a kind of thing that can happen
//! ([`Filter`]), and what it is to happen to: a descriptor, a timer, a signal, a process, a file, a waker. The two
//! together name the registration: adding what is there replaces it, and reading from and writing to one descriptor are
//! two registrations with a mode and a [`Token`] each.
//!
//! [`Kqueue::apply`] makes [`Change`]s to the registrations, at once, and answers each with a receipt.
//! [`Kqueue::wait`] brings [`Event`]s. An event carries the token of its registration, a number that the program chose
//! and the queue never looks at.
//!
//! # Level and edge
//!
//! A registration of Read or Write is **level-triggered**: it is reported by every wait for as long as there is
//! something to read or room to write. That forgives: whoever reads only a part is told of the rest. It also means that
//! interest has to go when nothing is done about it, such as Write while there is nothing to send, or Read once the
//! stream has ended.
//!
//! - [`Change::edge`] reports what is new: go on until the call would block, or the next event may never come.
//! - [`Change::one_shot`] reports once and is gone.
//! - [`Change::dispatch`] reports once and is disabled until [`Change::enable`].
//!
//! # An event is a hint
//!
//! Between the wait and the call that follows, the world moves on. A read that would block after an event is no error,
//! and what an event says of bytes or ends is what was true when it was made. In particular **the end of a stream is a
//! read of 0 bytes**: [`Event::is_eof`] comes as soon as the peer has finished, with bytes still to be read. A program
//! that closes on the flag loses the tail. [`Event::is_error`] says that the next call will fail; that call, or
//! `take_error` of the socket, says how.
//!
//! # Closing
//!
//! **Delete a registration before its descriptor is closed.** A kqueue forgets a descriptor when it is closed, so there
//! the rule is only good manners. On Linux
//!
//! - a descriptor of which no duplicate lives is forgotten as well;
//! - if a duplicate lives, epoll keeps the entry. It is reported with its old token, which is why a token should carry
//!   a generation, until the number is registered anew. From then on its events are dropped and counted
//!   ([`Kqueue::stale_events`]); as long as it stays ready, waits return early without an event;
//! - a registration that is *disabled* when its descriptor is closed stays known until the number is registered anew:
//!   enabling it then reports whatever has the number;
//! - a file of the Vnode filter is held open by a duplicate until its registration is deleted.
//!
//! No memory is at stake and no descriptor is touched that was not handed over: the worst is a token that is out of
//! date.
//!
//! # Signals, threads, programs
//!
//! A queue reports signals besides what they do otherwise, so block them with a [`SignalGuard`], first thing in `main`,
//! before there are other threads. A queue belongs to one thread at a time; [`Waker`]s go to the others.
//!
//! A queue is closed on exec. A child that is forked has no kqueue of its parent's; on Linux it has the same queue,
//! whose events go to whichever of the two waits first. So do not fork with a queue open, other than to start a
//! program.
//!
//! # How Linux is done
//!
//! An epoll entry belongs to a descriptor, with one mode for both directions; a kqueue registration belongs to one
//! direction. So the queue has two epoll sets: the outer one, whose descriptor is the queue's, holds all Read
//! registrations, the queue's own descriptors and the inner set, which holds all Write registrations. No direction ever
//! disturbs the other, a wait is one `epoll_wait` unless there is room to report, and nobody's socket is duplicated.
//!
//! Timers share one timerfd for each clock, armed to the earliest of a heap; signals share a signalfd; files share an
//! inotify descriptor and an eventfd; a waker is an eventfd, a process a pidfd. All of them are made when they are
//! first needed, so a queue takes two descriptors to begin with.
//!
//! Three limits are epoll's own. Four queues in a row can hold each other: a fifth is `Unsupported` (ELOOP in
//! epoll_ctl(2)). No more than 500 descriptors of one open file can be registered for Write, fewer if the queue is in
//! another (`path_limits` in fs/eventpoll.c): one more is `InvalidInput`. And Process needs Linux 5.3, for the status of
//! a child 5.4 (pidfd_open(2), waitid(2)).
//!
//! # What differs
//!
//! Everything else is the same everywhere, and a suite of more than 220 tests holds it to that. It has run on Linux and
//! FreeBSD 13; the other systems are linted only. What a system does not have answers `Unsupported` when it is asked
//! for, and names what is missing.
//!
#![doc = include_str!("../differences.md")]
//!
//! Limits: timeouts are cut below 24 hours (more is refused by earlier releases of OpenBSD) and rounded up to
//! milliseconds on Linux. The number of timers is limited for the whole system to 4,096 on FreeBSD
//! (`kern.kq_calloutmax`) and NetBSD and to 65,536 on DragonFly (`kq_calloutmax` in sys/kern/kern_event.c of each), and
//! for a process to 1,024 on OpenBSD from 7.8 (`kq_usereventsmax`): a timer for each connection is better kept in a
//! heap of the program's own.

// What comes from outside must find no index to be out of.
#![warn(clippy::indexing_slicing)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod flag_set;

mod change;
mod event;
mod events;
mod guard;
mod process;
mod queue;
mod receipts;
mod signal;
mod sys;
mod timeout;
mod timer;
mod token;
mod vnode;
mod waker;

pub use change::{Change, Source};
pub use event::{Event, Filter};
pub use events::{Events, Iter};
pub use guard::SignalGuard;
pub use process::{ProcessEvents, ProcessId};
pub use queue::Kqueue;
pub use receipts::Receipts;
pub use signal::Signal;
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

/// The README's example runs with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
