//! Wakers: an eventfd each, shared by the waker's clones and the queue.

use super::{filter::EmulatedFilter, mark::Mark};
use crate::{Change, Event, Filter, Source, Token, Waker, change::Action, failure::Failure, waker::Wake};
use nix::sys::epoll::{Epoll, EpollEvent};
use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};
use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The part of a waker that its clones share with the queue. The queue keeps the eventfd until the last use is
/// reported, so that a thread may use its waker and end.
struct Shared {
    descriptor: OwnedFd,
    /// Whether the eventfd has a use that was not reported yet. Locked while the eventfd is written or read, so that
    /// the two never disagree.
    used: Mutex<bool>,
}

impl Shared {
    fn used(&self) -> MutexGuard<'_, bool> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Shared {
    fn wake(&self) -> io::Result<()> {
        let mut used = self.used();
        *used = true;
        match rustix::io::write(&self.descriptor, &1u64.to_ne_bytes()) {
            // A full eventfd is readable all the same.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The wakers of one queue, by the index that their epoll data carries.
#[derive(Default)]
pub(super) struct Wakers {
    places: Vec<Option<Place>>,
}

struct Place {
    shared: Arc<Shared>,
    token: Token,
    enabled: bool,
}

impl Place {
    /// Whether no clone is left and no use is left to report. If the place is disabled, nothing can enable it again.
    ///
    /// The count comes first. A clone was used before it was dropped, so its use is then seen under the lock.
    fn is_left(&self) -> bool {
        Arc::strong_count(&self.shared) == 1 && (!self.enabled || !*self.shared.used())
    }
}

impl EmulatedFilter for Wakers {
    fn apply(&mut self, outer: &Epoll, change: &Change<'_>) -> Result<(), Failure> {
        let Source::User(waker) = change.source else { return Err(Failure::NotFound) };
        match change.action {
            Action::Add(_) => Err(Failure::Invalid("a waker is added by Kqueue::waker")),
            Action::Delete => self.delete(outer, waker),
            _ => self.set_enabled(outer, waker, matches!(change.action, Action::Enable)),
        }
    }

    /// The event of a waker that was used. Reading the eventfd makes all uses so far one event.
    fn collect(&mut self, index: u32, _: usize, list: &mut Vec<Event>) -> io::Result<()> {
        let Some(place) = self.places.get_mut(index as usize) else { return Ok(()) };
        let Some(Place { shared, token, .. }) = place else { return Ok(()) };
        let event = Event::new(*token, Filter::User);
        let mut uses = [0; 8];
        let read = {
            let mut used = shared.used();
            *used = false;
            rustix::io::read(&shared.descriptor, &mut uses)
        };
        // Closing the eventfd takes it out of the epoll set.
        place.take_if(|place| place.is_left());
        if read.is_ok() {
            list.push(event.with_data(i64::try_from(u64::from_ne_bytes(uses)).unwrap_or(i64::MAX)));
        }
        Ok(())
    }
}

impl Wakers {
    pub(super) fn add(&mut self, outer: &Epoll, token: Token) -> Result<Waker, Failure> {
        for place in &mut self.places {
            place.take_if(|place| place.is_left());
        }
        let free = self.places.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        outer.add(&descriptor, interest(index)?)?;
        let shared = Arc::new(Shared { descriptor, used: Mutex::new(false) });
        if let Some(place) = self.places.get_mut(index) {
            *place = Some(Place { shared: Arc::clone(&shared), token, enabled: true });
        }
        Ok(Waker::new(shared))
    }

    fn delete(&mut self, outer: &Epoll, waker: &Waker) -> Result<(), Failure> {
        let (_, place) = self.find(waker)?;
        match place.take() {
            Some(Place { shared, enabled: true, .. }) => Ok(outer.delete(&shared.descriptor)?),
            _ => Ok(()),
        }
    }

    /// A use of a disabled waker stays in its eventfd and is reported when it is enabled.
    fn set_enabled(&mut self, outer: &Epoll, waker: &Waker, enabled: bool) -> Result<(), Failure> {
        let (index, place) = self.find(waker)?;
        let Some(place) = place else { return Err(Failure::NotFound) };
        match (place.enabled, enabled) {
            (false, true) => outer.add(&place.shared.descriptor, interest(index)?)?,
            (true, false) => outer.delete(&place.shared.descriptor)?,
            _ => {}
        }
        place.enabled = enabled;
        Ok(())
    }

    /// The waker's place, if it is a waker of this queue.
    fn find(&mut self, waker: &Waker) -> Result<(usize, &mut Option<Place>), Failure> {
        let is_its = |place: &Option<Place>| place.as_ref().is_some_and(|place| waker.has(Arc::as_ptr(&place.shared)));
        self.places.iter_mut().enumerate().find(|(_, place)| is_its(place)).ok_or(Failure::NotFound)
    }
}

fn interest(index: usize) -> Result<EpollEvent, Errno> {
    u32::try_from(index).map(|index| Mark::single(Filter::User, index).interest()).map_err(|_| Errno::MFILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::epoll::EpollCreateFlags;

    #[test]
    fn a_disabled_waker_that_was_used_frees_its_descriptor() {
        let outer = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let mut wakers = Wakers::default();
        for _ in 0..3 {
            let waker = wakers.add(&outer, Token(1)).unwrap();
            wakers.set_enabled(&outer, &waker, false).unwrap();
            waker.wake().unwrap();
        }
        assert_eq!(wakers.places.len(), 1);
    }
}
