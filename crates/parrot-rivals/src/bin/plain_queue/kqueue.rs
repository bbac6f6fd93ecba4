//! Level-triggered kqueue.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

pub(crate) struct Queue {
    kqueue: Kqueue,
    events: Vec<KEvent>,
    ready: usize,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Queue> {
        let nothing = KEvent::new(0, EventFilter::EVFILT_READ, EvFlags::empty(), FilterFlag::empty(), 0, 0);
        Ok(Queue { kqueue: Kqueue::new()?, events: vec![nothing; 1024], ready: 0 })
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

    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.ready = match self.kqueue.kevent(&[], &mut self.events, None) {
            Err(nix::Error::EINTR) => 0,
            other => other?,
        };
        Ok(())
    }

    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    pub(crate) fn token(&self, ready: usize) -> usize {
        self.events.get(ready).map_or(usize::MAX - 1, |event| event.udata() as usize)
    }
}
