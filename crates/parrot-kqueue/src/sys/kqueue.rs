//! The system's own kqueue, through nix.
//!
//! What kqueue does not do by itself is little: it is told the token and what was wanted again whenever a registration
//! is enabled or disabled, since FreeBSD overwrites both then; and a registration whose mode changes is deleted before
//! it is added, since adding what is there leaves its mode alone. Both in `submission.rs`.

mod process;
mod report;
mod signals;
mod submission;
mod timers;
#[cfg_attr(not(any(target_os = "netbsd", target_os = "openbsd")), path = "kqueue/user_waker.rs")]
#[cfg_attr(any(target_os = "netbsd", target_os = "openbsd"), path = "kqueue/pipe_waker.rs")]
mod wakers;

pub(crate) use signals::Guard;
pub(crate) use wakers::Waker;

use crate::{Change, Events, ProcessEvents, Receipts, Source, Token, VnodeEvents, receipts::Failure};
use nix::{
    errno::Errno,
    libc,
    sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue},
};
use rustix::io::FdFlags;
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
pub(crate) const VNODE_EVENTS: VnodeEvents = VnodeEvents::all();
pub(crate) const PROCESS_EVENTS: ProcessEvents = ProcessEvents::all();

/// The list that `kevent` writes into; it is as long as the caller's list of events.
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

/// An event that is about nothing, to fill lists with; nix has no constant for it.
fn nothing() -> KEvent {
    KEvent::new(0, EventFilter::EVFILT_READ, EvFlags::empty(), FilterFlag::empty(), 0, 0)
}

pub(crate) struct Queue {
    kqueue: Arc<Kqueue>,
    submission: RefCell<Submission>,
    wakers: RefCell<Wakers>,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Self> {
        let kqueue = Kqueue::new()?;
        // A kqueue is not inherited over fork, so there is no moment at which a child could get hold of it.
        rustix::io::fcntl_setfd(&kqueue, FdFlags::CLOEXEC)?;
        Ok(Queue { kqueue: Arc::new(kqueue), submission: RefCell::default(), wakers: RefCell::default() })
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

    /// XNU and Linux refuse a queue that is to watch itself; the others would have it wait for its own events.
    fn check(&self, change: &Change<'_>) -> Result<(), Failure> {
        match change.source {
            Source::Read(descriptor) if descriptor.as_raw_fd() == self.kqueue.as_fd().as_raw_fd() => {
                Err(Failure::System(libc::EINVAL))
            }
            _ => Ok(()),
        }
    }

    #[inline]
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let Events { list, buffer } = events;
        list.clear();
        let mut submission = self.submission.borrow_mut();
        let timeout = if submission.exits.is_due() { Some(Duration::ZERO) } else { timeout };
        let reported = match self.kqueue.kevent(&[], &mut buffer.raw, timeout.map(timespec)) {
            Ok(reported) => reported,
            // Darwin has answered a timeout that was up with an error.
            Err(Errno::ETIMEDOUT) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut wakers = self.wakers.borrow_mut();
        for raw in buffer.raw.iter().take(reported) {
            list.extend(report::event(&self.kqueue, raw, &mut submission, &mut wakers));
        }
        // What does not fit is for the next wait.
        while list.len() < buffer.raw.len()
            && let Some(event) = submission.exits.pop()
        {
            list.push(event);
        }
        Ok(())
    }

    pub(crate) fn waker(&self, token: Token) -> io::Result<Waker> {
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

fn timespec(timeout: Duration) -> libc::timespec {
    // Below a day and below a second: both fit whatever the system has.
    libc::timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ }
}

/// Makes one change of the queue's own, outside of any list.
fn change_one(kqueue: &Kqueue, change: KEvent) -> Result<(), Failure> {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    match kqueue.kevent(&[change], &mut [], Some(now)) {
        // Interrupted after the change was made (kqueue(2), EINTR).
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
