//! kqueue.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use nix::sys::time::TimeSpec;

/// A list of sockets to wait for. Read interest is level-triggered unless it was added as an edge.
#[derive(Debug)]
pub struct Queue {
    kqueue: Kqueue,
    events: Vec<KEvent>,
}

impl Queue {
    /// An empty queue.
    ///
    /// # Errors
    ///
    /// If the system has no descriptor for it.
    pub fn new() -> io::Result<Queue> {
        let nothing = KEvent::new(0, EventFilter::EVFILT_READ, EvFlags::empty(), FilterFlag::empty(), 0, 0);
        Ok(Queue { kqueue: Kqueue::new()?, events: vec![nothing; 1024] })
    }

    /// Waits for `socket` to be readable.
    ///
    /// # Errors
    ///
    /// Those of kevent(2).
    pub fn add(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.change(socket, token, EventFilter::EVFILT_READ, EvFlags::EV_ADD)
    }

    /// Waits for `socket` to become readable, and reports that once.
    ///
    /// # Errors
    ///
    /// Those of kevent(2).
    pub fn add_edge(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.change(socket, token, EventFilter::EVFILT_READ, EvFlags::EV_ADD | EvFlags::EV_CLEAR)
    }

    /// Waits for a level-triggered `socket` to be readable again, and no longer to be writable.
    ///
    /// # Errors
    ///
    /// Those of kevent(2).
    pub fn want_read(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.change(socket, token, EventFilter::EVFILT_WRITE, EvFlags::EV_DELETE)?;
        self.change(socket, token, EventFilter::EVFILT_READ, EvFlags::EV_ENABLE)
    }

    /// Waits for a level-triggered `socket` to be writable, and no longer to be readable.
    ///
    /// # Errors
    ///
    /// Those of kevent(2).
    pub fn want_write(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.change(socket, token, EventFilter::EVFILT_READ, EvFlags::EV_DISABLE)?;
        self.change(socket, token, EventFilter::EVFILT_WRITE, EvFlags::EV_ADD)
    }

    fn change(&self, socket: BorrowedFd<'_>, token: usize, filter: EventFilter, flags: EvFlags) -> io::Result<()> {
        let descriptor = socket.as_raw_fd() as usize;
        let change = KEvent::new(descriptor, filter, flags, FilterFlag::empty(), 0, token as _);
        self.kqueue.kevent(&[change], &mut [], None)?;
        Ok(())
    }

    /// Waits and returns how many events there are.
    ///
    /// # Errors
    ///
    /// Those of kevent(2), except for an interruption, which counts as no event.
    #[inline]
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(|timeout| *TimeSpec::from_duration(timeout).as_ref());
        match self.kqueue.kevent(&[], &mut self.events, timeout) {
            Err(nix::Error::EINTR) => Ok(0),
            other => Ok(other?),
        }
    }

    /// The token of an event of the last wait.
    #[inline]
    #[must_use]
    pub fn token(&self, event: usize) -> usize {
        self.events.get(event).map_or(usize::MAX - 1, |event| event.udata() as usize)
    }
}
