//! The system's own kqueue, through nix.
//!
//! The kernel does nearly everything. `submission.rs` adds two things. Enabling or disabling a registration repeats its
//! token and what was wanted, because FreeBSD overwrites both. A registration whose mode changes is deleted before it
//! is added, because adding what is there leaves its mode alone.

mod filters;
mod guard;
mod process;
mod raw;
mod submission;
mod timers;
#[cfg_attr(not(any(target_os = "netbsd", target_os = "openbsd")), path = "kqueue/user_waker.rs")]
#[cfg_attr(any(target_os = "netbsd", target_os = "openbsd"), path = "kqueue/pipe_waker.rs")]
mod wakers;

pub(crate) use guard::Guard;

use crate::{Change, Event, Filter, Receipts, Source, Token, Waker, failure::Failure};
use nix::{
    errno::Errno,
    libc,
    sys::event::{EventFilter, KEvent, Kqueue},
};
use raw::{nothing, timespec};
use std::{
    cell::RefCell,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    sync::Arc,
    time::Duration,
};
use submission::Submission;
use wakers::Wakers;

pub(crate) const BACKEND: &str = "kqueue";

/// The list that `kevent` writes into. It is as long as the caller's list of events.
pub(crate) struct Buffer {
    raw: Vec<KEvent>,
}

impl Buffer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Buffer { raw: vec![nothing(); capacity] }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.raw.len()
    }
}

pub(crate) struct Queue {
    kqueue: Arc<Kqueue>,
    submission: RefCell<Submission>,
    wakers: RefCell<Wakers>,
}

impl Queue {
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Queue { kqueue: Arc::new(raw::kqueue()?), submission: RefCell::default(), wakers: RefCell::default() })
    }

    pub(crate) fn apply(&self, changes: &[Change<'_>]) -> Receipts {
        let mut receipts = Receipts::new(changes.len());
        let mut submission = self.submission.borrow_mut();
        let mut wakers = self.wakers.borrow_mut();
        submission.clear();
        for (index, change) in changes.iter().enumerate() {
            let checked = change.check().and_then(|()| self.check(change));
            if let Err(failure) = checked.and_then(|()| submission.push(index, change, &mut wakers)) {
                receipts.fail(index, failure);
            }
        }
        submission.submit(&self.kqueue, &mut receipts);
        receipts.sort();
        receipts
    }

    /// Refuses a queue that is to watch itself, as XNU and Linux do. On the others it would wait for its own events.
    fn check(&self, change: &Change<'_>) -> Result<(), Failure> {
        match change.source {
            Source::Read(descriptor) if descriptor.as_raw_fd() == self.kqueue.as_fd().as_raw_fd() => {
                Err(Failure::System(libc::EINVAL))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    pub(crate) fn wait(&self, list: &mut Vec<Event>, buffer: &mut Buffer, timeout: Option<Duration>) -> io::Result<()> {
        list.clear();
        let mut submission = self.submission.borrow_mut();
        let timeout = if submission.exits.is_due() { Some(Duration::ZERO) } else { timeout };
        let reported = match self.kqueue.kevent(&[], &mut buffer.raw, timeout.map(timespec)) {
            Ok(reported) => reported,
            // Darwin has reported the end of a timeout as an error.
            Err(Errno::ETIMEDOUT) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut wakers = self.wakers.borrow_mut();
        for raw in buffer.raw.get(..reported).unwrap_or(&buffer.raw) {
            list.extend(match raw.filter() {
                Ok(_) if wakers.owns(raw) => wakers.fire(&self.kqueue, raw),
                Ok(EventFilter::EVFILT_READ) => Some(filters::of_descriptor(raw, Filter::Read)),
                Ok(EventFilter::EVFILT_WRITE) => Some(filters::of_descriptor(raw, Filter::Write)),
                _ => filters::event(raw, &submission.fired(&self.kqueue, raw)),
            });
        }
        while list.len() < buffer.raw.len()
            && let Some(event) = submission.exits.pop()
        {
            list.push(event);
        }
        Ok(())
    }

    pub(crate) fn waker(&self, token: Token) -> Result<Waker, Failure> {
        self.wakers.borrow_mut().add(&self.kqueue, token)
    }

    pub(crate) fn stale_events(&self) -> u64 {
        0
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kqueue.as_fd()
    }
}
