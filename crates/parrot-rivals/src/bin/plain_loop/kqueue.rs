//! Level-triggered kqueue.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use nix::sys::time::TimeSpec;

pub(crate) struct Queue {
    kqueue: Kqueue,
    events: Vec<KEvent>,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Queue> {
        let nothing = KEvent::new(0, EventFilter::EVFILT_READ, EvFlags::empty(), FilterFlag::empty(), 0, 0);
        Ok(Queue { kqueue: Kqueue::new()?, events: vec![nothing; 1024] })
    }

    pub(crate) fn add(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.change(socket, token, EventFilter::EVFILT_READ, EvFlags::EV_ADD)
    }

    pub(crate) fn want_read(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        self.change(socket, token, EventFilter::EVFILT_WRITE, EvFlags::EV_DELETE)?;
        self.change(socket, token, EventFilter::EVFILT_READ, EvFlags::EV_ENABLE)
    }

    pub(crate) fn want_write(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
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
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map(|timeout| *TimeSpec::from_duration(timeout).as_ref());
        match self.kqueue.kevent(&[], &mut self.events, timeout) {
            Err(nix::Error::EINTR) => Ok(0),
            other => Ok(other?),
        }
    }

    pub(crate) fn token(&self, event: usize) -> usize {
        self.events.get(event).map_or(usize::MAX - 1, |event| event.udata() as usize)
    }
}
