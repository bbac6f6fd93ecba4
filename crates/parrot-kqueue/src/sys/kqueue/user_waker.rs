//! Wakers where the system and nix have EVFILT_USER, which are macOS, FreeBSD and DragonFly.

use super::raw::{Name, change_one};
use crate::{Event, Filter, Token, Waker, change::Action, failure::Failure, waker::Wake};
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

/// The bits of `fflags` that are the program's own. An event carries what the last trigger put there (NOTE_FFCOPY and
/// NOTE_FFLAGSMASK of kqueue(2)), which is the number of the use, so that the event of one use never stands for the
/// next.
const NUMBER: FilterFlag = FilterFlag::NOTE_FFLAGSMASK;

/// The part of a waker that its clones share. The last of them deletes the registration. If there may be a use that was
/// not reported yet, that is left to the report, so that a thread may use its waker and end.
struct Registration {
    kqueue: Weak<Kqueue>,
    ident: usize,
    token: Token,
    uses: Mutex<Uses>,
}

/// The number of the last use and of the last one reported. While they differ, an event is to come, unless the waker is
/// disabled.
#[derive(Clone, Copy, Default)]
struct Uses {
    made: u32,
    reported: u32,
    disabled: bool,
}

impl Registration {
    fn uses(&self) -> MutexGuard<'_, Uses> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        let Uses { made, reported, disabled } = *self.uses();
        if disabled || made == reported {
            // The queue or the registration may be gone. Either way there is nothing left to do.
            let _ = self.change(EvFlags::EV_DELETE, FilterFlag::empty());
        }
    }
}

impl Wake for Registration {
    fn wake(&self) -> io::Result<()> {
        // The lock is held until the kernel has the number, so that the numbers reach it in order.
        let mut uses = self.uses();
        uses.made = uses.made.wrapping_add(1) & NUMBER.bits();
        let number = FilterFlag::from_bits_retain(uses.made);
        Ok(self.change(EvFlags::empty(), FilterFlag::NOTE_TRIGGER | FilterFlag::NOTE_FFCOPY | number)?)
    }
}

/// The wakers of one queue.
#[derive(Default)]
pub(super) struct Wakers {
    /// By their identifiers. The next waker drops those without clones.
    registrations: HashMap<usize, Weak<Registration>>,
    next_ident: usize,
}

impl Wakers {
    pub(super) fn add(&mut self, kqueue: &Arc<Kqueue>, token: Token) -> Result<Waker, Failure> {
        self.registrations.retain(|_, registration| registration.strong_count() > 0);
        let ident = self.next_ident;
        let uses = Mutex::default();
        let registration = Arc::new(Registration { kqueue: Arc::downgrade(kqueue), ident, token, uses });
        // With EV_CLEAR it is reported once, however often it was triggered.
        registration.change(EvFlags::EV_ADD | EvFlags::EV_CLEAR, FilterFlag::empty())?;
        self.next_ident += 1;
        self.registrations.insert(ident, Arc::downgrade(&registration));
        Ok(Waker::new(registration))
    }

    /// The registration of a waker of this queue, and a note of the change that is about to be made of it.
    pub(super) fn change(&mut self, waker: &Waker, action: &Action) -> Option<(Name, Token)> {
        let registration =
            self.registrations.values().find(|registration| waker.has(registration.as_ptr()))?.upgrade()?;
        registration.uses().disabled = matches!(action, Action::Disable);
        let name = Name { ident: registration.ident, filter: EventFilter::EVFILT_USER };
        Some((name, registration.token))
    }

    /// Whether an event is of a waker.
    #[inline]
    #[expect(clippy::unused_self, reason = "the other kind of waker needs it")]
    pub(super) fn owns(&self, raw: &KEvent) -> bool {
        raw.filter() == Ok(EventFilter::EVFILT_USER)
    }

    /// The event of a waker that was used.
    pub(super) fn fire(&mut self, kqueue: &Kqueue, raw: &KEvent) -> Option<Event> {
        let (ident, token) = (raw.ident(), Token(raw.udata().cast_unsigned()));
        match self.registrations.get(&ident).and_then(Weak::upgrade) {
            Some(registration) => registration.uses().reported = raw.fflags().bits() & NUMBER.bits(),
            // The last clone has left the delete to the report.
            None => change(kqueue, ident, token, EvFlags::EV_DELETE, FilterFlag::empty()).ok()?,
        }
        Some(Event::new(token, Filter::User).with_data(1))
    }
}
