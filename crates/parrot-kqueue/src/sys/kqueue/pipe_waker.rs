//! Wakers where nix does not know EVFILT_USER (NetBSD has it from 10, OpenBSD from 7.8): a pipe to oneself.

use super::{change_one, submission::Name};
use crate::{Event, Filter, Token, receipts::Failure};
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Clones are the same waker. The queue keeps the pipe until the last use is reported, so that a thread may use its
/// waker and end; closed, it leaves the queue.
#[derive(Clone)]
pub(crate) struct Waker {
    pipe: Arc<Pipe>,
}

struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    token: Token,
    /// There may be a use that was not reported yet.
    used: AtomicBool,
    /// The registration was deleted: there is nothing to report any more.
    deleted: AtomicBool,
}

impl Pipe {
    fn name(&self) -> Name {
        Name { ident: self.reader.as_raw_fd().unsigned_abs() as usize, filter: EventFilter::EVFILT_READ }
    }
}

impl Waker {
    pub(crate) fn wake(&self) -> io::Result<()> {
        if self.pipe.deleted.load(Ordering::Acquire) {
            return Ok(());
        }
        self.pipe.used.store(true, Ordering::Release);
        match rustix::io::write(&self.pipe.writer, &[1]) {
            // A full pipe is readable all the same.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The registration, if it is one of this queue.
    pub(super) fn registration(&self, wakers: &Wakers) -> Result<(Name, Token), Failure> {
        let mine = wakers.pipes.iter().any(|pipe| Arc::ptr_eq(pipe, &self.pipe));
        if mine { Ok((self.pipe.name(), self.pipe.token)) } else { Err(Failure::NotFound) }
    }
}

/// The wakers of one queue.
#[derive(Default)]
pub(super) struct Wakers {
    pipes: Vec<Arc<Pipe>>,
}

impl Wakers {
    pub(super) fn add(&mut self, kqueue: &Arc<Kqueue>, token: Token) -> io::Result<Waker> {
        self.drop_left();
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let pipe =
            Arc::new(Pipe { reader, writer, token, used: AtomicBool::new(false), deleted: AtomicBool::new(false) });
        let Name { ident, filter } = pipe.name();
        let udata = token.0.cast_signed();
        // EV_CLEAR: else the queue would stay readable to another one after the use was reported.
        let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
        change_one(kqueue, KEvent::new(ident, filter, flags, FilterFlag::empty(), 0, udata))?;
        self.pipes.push(Arc::clone(&pipe));
        Ok(Waker { pipe })
    }

    /// Whether a readable descriptor is a waker's.
    pub(super) fn owns(&self, raw: &KEvent) -> bool {
        self.pipes.iter().any(|pipe| pipe.name().ident == raw.ident())
    }

    /// The event of a waker that was used.
    pub(super) fn fire(&mut self, _: &Kqueue, raw: &KEvent) -> Option<Event> {
        let pipe = self.pipes.iter().find(|pipe| pipe.name().ident == raw.ident())?;
        pipe.used.store(false, Ordering::Release);
        // All uses so far are one event. A read that leaves room has emptied the pipe.
        let mut uses = [0; 512];
        let mut read = rustix::io::read(&pipe.reader, &mut uses);
        // A use that came while the one before it was reported may have been read with that.
        let event = read.is_ok().then(|| Event::new(pipe.token, Filter::User).with_data(1));
        while read == Ok(uses.len()) {
            read = rustix::io::read(&pipe.reader, &mut uses);
        }
        self.drop_left();
        event
    }

    /// The waker's registration is about to be deleted.
    pub(super) fn delete(&self, waker: &Waker) {
        waker.pipe.deleted.store(true, Ordering::Release);
        waker.pipe.used.store(false, Ordering::Release);
    }

    /// Closes the pipes that nobody is left to use, and of which every use was reported.
    fn drop_left(&mut self) {
        self.pipes.retain(|pipe| Arc::strong_count(pipe) > 1 || pipe.used.load(Ordering::Acquire));
    }
}
