//! Wakers where the system has EVFILT_USER and nix knows it: macOS, FreeBSD, DragonFly.

use super::{change_one, submission::Name};
use crate::{Event, Filter, Token, receipts::Failure};
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

/// Clones are the same waker; the last of them deletes the registration. If there may be a use that was not reported
/// yet, that is left to the report, so that a thread may use its waker and end.
#[derive(Clone)]
pub(crate) struct Waker {
    registration: Arc<Registration>,
}

struct Registration {
    kqueue: Weak<Kqueue>,
    ident: usize,
    token: Token,
    /// There may be a use that was not reported yet.
    used: AtomicBool,
}

impl Registration {
    fn change(&self, flags: EvFlags, fflags: FilterFlag) -> Result<(), Failure> {
        let Some(kqueue) = self.kqueue.upgrade() else { return Ok(()) };
        change(&kqueue, self.ident, self.token, flags, fflags)
    }
}

fn change(kqueue: &Kqueue, ident: usize, token: Token, flags: EvFlags, fflags: FilterFlag) -> Result<(), Failure> {
    match change_one(kqueue, KEvent::new(ident, EventFilter::EVFILT_USER, flags, fflags, 0, token.0.cast_signed())) {
        // The registration was deleted.
        Err(Failure::System(nix::libc::ENOENT)) => Ok(()),
        done => done,
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.used.load(Ordering::Acquire) {
            // The queue may be gone, or the registration; either way there is nothing left to do.
            let _ = self.change(EvFlags::EV_DELETE, FilterFlag::empty());
        }
    }
}

impl Waker {
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.registration.used.store(true, Ordering::Release);
        Ok(self.registration.change(EvFlags::empty(), FilterFlag::NOTE_TRIGGER)?)
    }

    /// The registration, if it is one of this queue.
    pub(super) fn registration(&self, wakers: &Wakers) -> Result<(Name, Token), Failure> {
        if Weak::ptr_eq(&self.registration.kqueue, &wakers.kqueue) {
            let name = Name { ident: self.registration.ident, filter: EventFilter::EVFILT_USER };
            Ok((name, self.registration.token))
        } else {
            Err(Failure::NotFound)
        }
    }
}

/// The wakers of one queue.
#[derive(Default)]
pub(super) struct Wakers {
    /// Known once there is a waker.
    kqueue: Weak<Kqueue>,
    /// By their identifiers; those that nobody is left to use are dropped by the next waker.
    registrations: HashMap<usize, Weak<Registration>>,
    next_ident: usize,
}

impl Wakers {
    pub(super) fn add(&mut self, kqueue: &Arc<Kqueue>, token: Token) -> io::Result<Waker> {
        self.kqueue = Arc::downgrade(kqueue);
        self.registrations.retain(|_, registration| registration.strong_count() > 0);
        let ident = self.next_ident;
        let used = AtomicBool::new(false);
        let registration = Arc::new(Registration { kqueue: Arc::downgrade(kqueue), ident, token, used });
        // EV_CLEAR: reported once, however often it was triggered.
        registration.change(EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty())?;
        self.next_ident += 1;
        self.registrations.insert(ident, Arc::downgrade(&registration));
        Ok(Waker { registration })
    }

    /// The waker's registration is about to be deleted, of which the kernel alone has to know.
    #[expect(clippy::unused_self, reason = "the other kind of waker needs it")]
    pub(super) fn delete(&self, _: &Waker) {}

    /// Whether a readable descriptor is a waker's: never, where wakers have a filter of their own.
    #[expect(clippy::unused_self, reason = "the other kind of waker needs it")]
    pub(super) fn owns(&self, _: &KEvent) -> bool {
        false
    }

    /// The event of a waker that was used.
    pub(super) fn fire(&mut self, kqueue: &Kqueue, raw: &KEvent) -> Option<Event> {
        if raw.filter() != Ok(EventFilter::EVFILT_USER) {
            return None;
        }
        let (ident, token) = (raw.ident(), Token(raw.udata().cast_unsigned()));
        match self.registrations.get(&ident).and_then(Weak::upgrade) {
            Some(registration) => registration.used.store(false, Ordering::Release),
            // Its last clone has left this to the report.
            None => change(kqueue, ident, token, EvFlags::EV_DELETE, FilterFlag::empty()).ok()?,
        }
        Some(Event::new(token, Filter::User).with_data(1))
    }
}
