//! Level-triggered epoll.

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

pub(crate) struct Queue {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    ready: usize,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Queue> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Queue { epoll, events: vec![EpollEvent::empty(); 1024], ready: 0 })
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

    pub(crate) fn wait(&mut self) -> io::Result<()> {
        self.ready = match self.epoll.wait(&mut self.events, EpollTimeout::NONE) {
            Err(nix::Error::EINTR) => 0,
            other => other?,
        };
        Ok(())
    }

    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    pub(crate) fn token(&self, ready: usize) -> usize {
        self.events.get(ready).map_or(usize::MAX - 1, |event| event.data() as usize)
    }
}
