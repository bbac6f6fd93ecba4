//! Wakers: an eventfd each, shared by the waker's clones and the queue.

use super::own::Kind;
use crate::{Event, Filter, Token, receipts::Failure};
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

/// Clones are the same waker. The queue keeps the eventfd until the last use is reported, so that a thread may use its
/// waker and end.
#[derive(Clone)]
pub(crate) struct Waker {
    shared: Arc<Shared>,
}

struct Shared {
    descriptor: OwnedFd,
    /// There is a use in the eventfd that was not reported yet. Held while the eventfd is written or read, so that the
    /// two never disagree.
    used: Mutex<bool>,
}

impl Shared {
    fn used(&self) -> MutexGuard<'_, bool> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waker {
    pub(crate) fn wake(&self) -> io::Result<()> {
        let mut used = self.shared.used();
        *used = true;
        match rustix::io::write(&self.shared.descriptor, &1u64.to_ne_bytes()) {
            // Full to the brim: the queue will see it all the same.
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
    /// Nobody is left to use it, and no use is left to be reported: disabled, it can never be enabled again.
    ///
    /// The count is asked first: whoever let go of a clone had used it before, so its use is seen under the lock.
    fn is_left(&self) -> bool {
        Arc::strong_count(&self.shared) == 1 && (!self.enabled || !*self.shared.used())
    }
}

impl Wakers {
    pub(super) fn add(&mut self, outer: &Epoll, token: Token) -> io::Result<Waker> {
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
        Ok(Waker { shared })
    }

    pub(super) fn delete(&mut self, outer: &Epoll, waker: &Waker) -> Result<(), Failure> {
        let (index, place) = self.find(waker)?;
        let enabled = place.enabled;
        if let Some(place) = self.places.get_mut(index) {
            *place = None;
        }
        if enabled {
            outer.delete(&waker.shared.descriptor)?;
        }
        Ok(())
    }

    /// A use of a disabled waker stays in its eventfd and is reported when it is enabled.
    pub(super) fn set_enabled(&mut self, outer: &Epoll, waker: &Waker, enabled: bool) -> Result<(), Failure> {
        let (index, place) = self.find(waker)?;
        match (place.enabled, enabled) {
            (false, true) => outer.add(&waker.shared.descriptor, interest(index)?)?,
            (true, false) => outer.delete(&waker.shared.descriptor)?,
            _ => {}
        }
        place.enabled = enabled;
        Ok(())
    }

    /// The event of a waker that was used; reading the eventfd makes all uses so far one event.
    pub(super) fn fire(&mut self, index: u32) -> Option<Event> {
        let place = self.places.get_mut(index as usize)?;
        let Place { shared, token, .. } = place.as_ref()?;
        let event = Event::new(*token, Filter::User);
        let mut uses = [0; 8];
        let read = {
            let mut used = shared.used();
            *used = false;
            rustix::io::read(&shared.descriptor, &mut uses)
        };
        // Closed with its last use reported, it leaves the epoll set.
        place.take_if(|place| place.is_left());
        read.ok()?;
        Some(event.with_data(i64::try_from(u64::from_ne_bytes(uses)).unwrap_or(i64::MAX)))
    }

    /// The waker's place, if it is a waker of this queue.
    fn find(&mut self, waker: &Waker) -> Result<(usize, &mut Place), Failure> {
        let mut places = self.places.iter_mut().enumerate();
        places
            .find_map(|(index, place)| {
                place.as_mut().filter(|place| Arc::ptr_eq(&place.shared, &waker.shared)).map(|place| (index, place))
            })
            .ok_or(Failure::NotFound)
    }
}

fn interest(index: usize) -> Result<EpollEvent, Errno> {
    u32::try_from(index).map(|index| Kind::Waker.interest(index)).map_err(|_| Errno::MFILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::epoll::EpollCreateFlags;

    #[test]
    fn a_waker_that_was_disabled_and_used_gives_its_descriptor_back() {
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
