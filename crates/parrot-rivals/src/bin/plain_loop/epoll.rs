//! Level-triggered epoll.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

pub(crate) struct Queue {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Queue> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Queue { epoll, events: vec![EpollEvent::empty(); 1024] })
    }

    pub(crate) fn add(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token as u64))?)
    }

    pub(crate) fn want_read(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        Ok(self.epoll.modify(socket, &mut EpollEvent::new(EpollFlags::EPOLLIN, token as u64))?)
    }

    pub(crate) fn want_write(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        Ok(self.epoll.modify(socket, &mut EpollEvent::new(EpollFlags::EPOLLOUT, token as u64))?)
    }

    /// Waits and returns how many events there are.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| timeout.try_into().unwrap_or(EpollTimeout::MAX));
        match self.epoll.wait(&mut self.events, timeout) {
            Err(nix::Error::EINTR) => Ok(0),
            other => Ok(other?),
        }
    }

    pub(crate) fn token(&self, event: usize) -> usize {
        self.events.get(event).map_or(usize::MAX - 1, |event| event.data() as usize)
    }
}
