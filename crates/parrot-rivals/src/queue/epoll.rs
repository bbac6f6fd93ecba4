//! epoll.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// A list of sockets to wait for. Read interest is level-triggered unless it was added as an edge.
#[derive(Debug)]
pub struct Queue {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Queue {
    /// An empty queue.
    ///
    /// # Errors
    ///
    /// If the system has no descriptor for it.
    pub fn new() -> io::Result<Queue> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Queue { epoll, events: vec![EpollEvent::empty(); 1024] })
    }

    /// Waits for `socket` to be readable.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2).
    pub fn add(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token as u64))?)
    }

    /// Waits for `socket` to become readable, and reports that once.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2).
    pub fn add_edge(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, token as u64))?)
    }

    /// Waits for a level-triggered `socket` to be readable again, and no longer to be writable.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2).
    pub fn want_read(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        Ok(self.epoll.modify(socket, &mut EpollEvent::new(EpollFlags::EPOLLIN, token as u64))?)
    }

    /// Waits for a level-triggered `socket` to be writable, and no longer to be readable.
    ///
    /// # Errors
    ///
    /// Those of epoll_ctl(2).
    pub fn want_write(&self, socket: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        Ok(self.epoll.modify(socket, &mut EpollEvent::new(EpollFlags::EPOLLOUT, token as u64))?)
    }

    /// Waits and returns how many events there are.
    ///
    /// # Errors
    ///
    /// Those of epoll_wait(2), except for an interruption, which counts as no event.
    #[inline]
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| timeout.try_into().unwrap_or(EpollTimeout::MAX));
        match self.epoll.wait(&mut self.events, timeout) {
            Err(nix::Error::EINTR) => Ok(0),
            other => Ok(other?),
        }
    }

    /// The token of an event of the last wait.
    #[inline]
    #[must_use]
    pub fn token(&self, event: usize) -> usize {
        self.events.get(event).map_or(usize::MAX - 1, |event| event.data() as usize)
    }
}
