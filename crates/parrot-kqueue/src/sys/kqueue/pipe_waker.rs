//! Wakers where nix has no EVFILT_USER, a pipe each. (NetBSD has the filter from 10, OpenBSD from 7.8.)

use super::raw::{Name, change_one};
use crate::{Event, Filter, Token, Waker, change::Action, failure::Failure, waker::Wake};
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use rustix::{
    io::Errno,
    pipe::{PipeFlags, pipe_with},
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The part of a waker that its clones share with the queue. The queue keeps the pipe until the last use is reported,
/// so that a thread may use its waker and end. Closed, the pipe leaves the queue.
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    token: Token,
    /// Whether the pipe has a use that was not reported yet. Locked while the pipe is written or read, so that the two
    /// never disagree.
    used: Mutex<bool>,
}

impl Pipe {
    fn name(&self) -> Name {
        Name { ident: self.reader.as_raw_fd().unsigned_abs() as usize, filter: EventFilter::EVFILT_READ }
    }

    fn used(&self) -> MutexGuard<'_, bool> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Pipe {
    fn wake(&self) -> io::Result<()> {
        let mut used = self.used();
        *used = true;
        match rustix::io::write(&self.writer, &[1]) {
            // A full pipe is readable all the same.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The wakers of one queue.
#[derive(Default)]
pub(super) struct Wakers {
    places: Vec<Place>,
}

struct Place {
    /// The number of the pipe's reader. It is here and not in the pipe, because every event of Read is compared with
    /// it.
    ident: usize,
    pipe: Arc<Pipe>,
    enabled: bool,
}

impl Place {
    /// Whether no clone is left and no use is left to report. If the place is disabled, nothing can enable it again.
    ///
    /// The count comes first. A clone was used before it was dropped, so its use is then seen under the lock.
    fn is_left(&self) -> bool {
        Arc::strong_count(&self.pipe) == 1 && (!self.enabled || !*self.pipe.used())
    }
}

impl Wakers {
    pub(super) fn add(&mut self, kqueue: &Arc<Kqueue>, token: Token) -> Result<Waker, Failure> {
        self.drop_left();
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let pipe = Arc::new(Pipe { reader, writer, token, used: Mutex::new(false) });
        let Name { ident, filter } = pipe.name();
        let udata = token.0.cast_signed();
        // Without EV_CLEAR, the queue would stay readable to another queue after the use was reported.
        let flags = EvFlags::EV_ADD | EvFlags::EV_CLEAR;
        change_one(kqueue, KEvent::new(ident, filter, flags, FilterFlag::empty(), 0, udata))?;
        self.places.push(Place { ident, pipe: Arc::clone(&pipe), enabled: true });
        Ok(Waker::new(pipe))
    }

    /// Whether an event is of a waker.
    #[inline]
    pub(super) fn owns(&self, raw: &KEvent) -> bool {
        raw.filter() == Ok(EventFilter::EVFILT_READ) && self.places.iter().any(|place| place.ident == raw.ident())
    }

    /// The event of a waker that was used.
    pub(super) fn fire(&mut self, _: &Kqueue, raw: &KEvent) -> Option<Event> {
        let Place { pipe, .. } = self.places.iter().find(|place| place.ident == raw.ident())?;
        let mut used = pipe.used();
        *used = false;
        // All uses so far are one event. A read that does not fill the buffer has emptied the pipe.
        let mut uses = [0; 512];
        let mut read = rustix::io::read(&pipe.reader, &mut uses);
        // There may be nothing to read, if this use was read together with the one before it.
        let event = read.is_ok().then(|| Event::new(pipe.token, Filter::User).with_data(1));
        while read == Ok(uses.len()) {
            read = rustix::io::read(&pipe.reader, &mut uses);
        }
        drop(used);
        self.drop_left();
        event
    }

    /// The registration of a waker of this queue, and a note of the change that is about to be made of it. Once it is
    /// deleted, the pipe lives on with the waker and nothing reads from it.
    pub(super) fn change(&mut self, waker: &Waker, action: &Action) -> Option<(Name, Token)> {
        let mut places = self.places.iter_mut().enumerate();
        let (index, place) = places.find(|(_, place)| waker.has(Arc::as_ptr(&place.pipe)))?;
        let registration = (place.pipe.name(), place.pipe.token);
        match action {
            Action::Delete => drop(self.places.swap_remove(index)),
            action => place.enabled = !matches!(action, Action::Disable),
        }
        Some(registration)
    }

    /// Closes the pipes that have no clones left and no use to report.
    fn drop_left(&mut self) {
        self.places.retain(|place| !place.is_left());
    }
}
