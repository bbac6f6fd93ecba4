//! The system's event queue in safe Rust: kqueue on macOS and the BSDs, the same contract over epoll on Linux.
//!
//! This crate is for programs that want kqueue itself, its filters and modes, and want it to mean the same on six
//! systems. It does no input or output of its own, and has no runtime and no `unsafe` code. For the common denominator
//! of many more systems, use mio or polling.
//!
//! Features of only some systems are left out: the filters AIO, LIO, FS, EXCEPT, PROCDESC, JAIL and MACHPORT, following
//! a process to its children (NOTE_TRACK), opening, closing and reading of files (NOTE_OPEN, NOTE_CLOSE, NOTE_READ),
//! and a number of the program's own in the event of a waker (NOTE_FFCOPY).
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
//! A queue holds **registrations**. Each is of a [`Source`], which has two parts. The *filter* is a kind of thing that
//! can happen ([`Filter`]). The other part is what it happens to: a descriptor, a timer, a signal, a process, a file or
//! a waker. The two together name the registration, and adding one that is already there replaces it. Reading from and
//! writing to one descriptor are two registrations, with a mode and a [`Token`] each.
//!
//! [`Kqueue::apply`] makes [`Change`]s to the registrations at once and returns a receipt for each.
//! [`Kqueue::wait`] reports [`Event`]s. An event carries the token of its registration, a number that the program chose
//! and the queue never looks at.
//!
//! # Level and edge
//!
//! A registration of Read or Write is **level-triggered**. Every wait reports it for as long as there is something to
//! read or room to write. That is forgiving, since a program that reads only a part gets another event for the rest. It
//! also means that a program must remove a registration that it does nothing about, such as Write while there is
//! nothing to send, or Read once the stream has ended.
//!
//! - [`Change::edge`] reports what is new. Go on until the call would block, or the next event may never come.
//! - [`Change::one_shot`] reports once and is gone.
//! - [`Change::dispatch`] reports once and is disabled until [`Change::enable`].
//!
//! # An event is a hint
//!
//! Between the wait and the call that follows, the world moves on. A read that would block after an event is no error,
//! and an event describes bytes and ends as they were when it was made. In particular **the end of a stream is a read
//! of 0 bytes**. [`Event::is_eof`] is set as soon as the peer has finished, with bytes still to be read, and a program
//! that closes on the flag loses the tail. [`Event::is_error`] means that the next call will fail. That call, or
//! `take_error` of the socket, returns the error.
//!
//! # Closing
//!
//! **Delete a registration before its descriptor is closed.** A kqueue forgets a descriptor when it is closed, so there
//! the rule is only good manners. Linux forgets it only if no duplicate of the descriptor lives:
//!
//! - If a duplicate lives, epoll keeps the entry. Its events carry the old token until the number is registered anew,
//!   which is why a token should contain a generation. After that its events are dropped and counted
//!   ([`Kqueue::stale_events`]), and waits return early without an event for as long as it stays ready.
//! - A registration that is *disabled* when its descriptor is closed stays known until the number is registered anew.
//!   If it is enabled, it reports whatever has the number by then.
//! - The queue keeps a file of the Vnode filter open with a duplicate until its registration is deleted.
//!
//! Memory is never at risk, and the queue touches no descriptor that was not handed to it. The worst outcome is an
//! event with a token that is out of date.
//!
//! # Signals, threads, programs
//!
//! A queue reports a signal in addition to what the signal does anyway. So block signals with a [`SignalGuard`], first
//! thing in `main`, before there are other threads. A queue belongs to one thread at a time. Other threads get
//! a [`Waker`].
//!
//! A queue is closed on exec. A forked child does not have its parent's kqueue. On Linux it has the same queue, and
//! each event goes to whichever process waits first. So do not fork with a queue open, except to start a program.
//!
//! # Limits of the system
//!
//! A change can fail because of a limit of the user or of the whole system:
//!
//! | what | system | limit |
//! |---|---|---|
//! | open files | Linux | `fs.file-max` |
//! | open files | all others | `kern.maxfiles` |
//! | descriptors in queues | Linux | `fs.epoll.max_user_watches` |
//! | files that are watched | Linux | `fs.inotify.max_user_watches` |
//! | queues that watch files | Linux | `fs.inotify.max_user_instances` |
//! | queues | FreeBSD | that of `limits -k`, unlimited by default |
//! | timers | FreeBSD, DragonFly | `kern.kq_calloutmax`, 4,096 and 65,536 by default |
//! | timers | NetBSD | 4,096 (`kq_calloutmax` in sys/kern/kern_event.c) |
//! | timers | OpenBSD | 1,024 of a process (`kq_usereventsmax` in sys/kern/kern_event.c), before 7.8 4,096 in all |
//!
//! The error then names the limit and how to raise it. Its kind is that of the system's error, which is its
//! [`source`](std::error::Error::source). Only the limit of open files of the process itself (`EMFILE`) is the system's
//! plain error. A program that wants a timer for each connection should keep a heap of its own.
//!
//! # How it works on Linux
//!
//! An epoll entry belongs to a descriptor, with one mode for both directions, while a kqueue registration belongs to
//! one direction. So the queue has two epoll sets. The outer one, whose descriptor is the queue's, holds all Read
//! registrations, the queue's own descriptors and the inner set. The inner set holds all Write registrations. Neither
//! direction disturbs the other, a wait is one `epoll_wait` unless there is room to report, and the queue duplicates no
//! socket.
//!
//! Timers share one timerfd for each clock, armed to the earliest deadline of a heap. Signals share a signalfd, and
//! files share an inotify descriptor and an eventfd. A waker is an eventfd, and a process a pidfd. All of these are
//! made when they are first needed, so a new queue takes two descriptors.
//!
//! Three limits are epoll's own:
//!
//! - At most four queues can hold each other in a row. A fifth is `Unsupported` (ELOOP in epoll_ctl(2)).
//! - At most 500 descriptors of one open file can be registered for Write, or fewer if the queue is in another
//!   (`path_limits` in fs/eventpoll.c). One more is `InvalidInput`.
//! - Process needs Linux 5.3, and the status of a child 5.4 (pidfd_open(2), waitid(2)).
//!
//! # What differs
//!
//! Everything else is the same on every system, and a suite of more than 220 tests checks that. It has run on Linux and
//! FreeBSD 13. The other systems are linted only. Asking for a feature that a system does not have
//! fails with `Unsupported`, and the message names the feature.
//!
//! NetBSD is supported from 10 on. The kqueue of earlier releases loses events of registrations that were disabled, so
//! [`Kqueue::new`] is `Unsupported` there.
//!
#![doc = include_str!("../differences.md")]
//!
//! Timeouts are cut below 24 hours, because earlier releases of OpenBSD refuse more, and rounded up to milliseconds on
//! Linux.

// Input from outside must never cause an index out of bounds.
#![warn(clippy::indexing_slicing)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[macro_use]
mod flag_set;

mod change;
mod event;
mod events;
mod failure;
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

/// What the queue is made of on this system: `"kqueue"`, or `"kqueue over epoll"` on Linux.
///
/// ```
/// assert!(parrot_kqueue::BACKEND.starts_with("kqueue"));
/// ```
pub const BACKEND: &str = sys::BACKEND;

/// Programs rely on these. A queue moves to the thread that runs it, and wakers go anywhere.
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
