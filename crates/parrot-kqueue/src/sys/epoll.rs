//! kqueue's contract over epoll.
//!
//! A kqueue registration belongs to one filter of one descriptor. An epoll entry belongs to a descriptor, with one mode
//! for both directions. So there are **two epoll sets**. The outer set holds every Read registration, the queue's own
//! descriptors (timers, signals and so on) and the inner set. The inner set holds every Write registration. Each filter
//! thus has an entry, a mode and a token of its own. A one-shot that fires in one direction leaves the other alone,
//! nothing is ever armed again behind the caller's back, and the queue duplicates no socket. A wait is one `epoll_wait`
//! on the outer set, and a second one only if that reports the inner set.

mod descriptors;
mod emulated;
mod guard;
mod tag;

pub(crate) use guard::Guard;

use super::table::Direction;
use crate::{Change, Event, Filter, Receipts, Source, Token, Waker, failure::Failure};
use descriptors::Descriptors;
use emulated::{Emulated, Mark, Ready};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};
use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

pub(crate) const BACKEND: &str = "kqueue over epoll";

/// The list that `epoll_wait` writes into. It is as long as the caller's list of events.
pub(crate) struct Buffer {
    raw: Vec<EpollEvent>,
}

impl Buffer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Buffer { raw: vec![EpollEvent::empty(); capacity] }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.raw.len()
    }
}

pub(crate) struct Queue {
    outer: Epoll,
    inner: Epoll,
    descriptors: RefCell<Descriptors>,
    emulated: RefCell<Emulated>,
    /// The queue's own descriptors that had more events than the last list had room for.
    crowded: Cell<Ready>,
}

impl Queue {
    pub(crate) fn new() -> Result<Self, Failure> {
        let outer = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let inner = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        outer.add(&inner.0, Mark::shared(Filter::Write, 0).interest())?;
        Ok(Queue {
            outer,
            inner,
            descriptors: RefCell::default(),
            emulated: RefCell::default(),
            crowded: Cell::default(),
        })
    }

    #[inline]
    pub(crate) fn apply(&self, changes: &[Change<'_>]) -> Receipts {
        let mut receipts = Receipts::new(changes.len());
        for (index, change) in changes.iter().enumerate() {
            if let Err(failure) = change.check().and_then(|()| self.apply_one(change)) {
                receipts.fail(index, failure);
            }
        }
        receipts
    }

    fn apply_one(&self, change: &Change<'_>) -> Result<(), Failure> {
        let mut descriptors = self.descriptors.borrow_mut();
        match change.source {
            Source::Read(read) => descriptors.apply(&self.outer, read, Direction::Read, &change.action),
            Source::Write(write) => descriptors.apply(&self.inner, write, Direction::Write, &change.action),
            _ => self.emulated.borrow_mut().apply(&self.outer, change),
        }
    }

    #[inline]
    pub(crate) fn wait(&self, list: &mut Vec<Event>, buffer: &mut Buffer, timeout: Option<Duration>) -> io::Result<()> {
        list.clear();
        let (places, mut ready) = if self.crowded.get().any() {
            self.share(&mut buffer.raw)
        } else {
            (buffer.raw.as_mut_slice(), Ready::default())
        };
        let reported = self.outer.wait(places, milliseconds(timeout))?;
        let mut descriptors = self.descriptors.borrow_mut();
        for raw in buffer.raw.get(..reported).unwrap_or(&buffer.raw) {
            match Mark::of(raw.data()) {
                None => list.extend(descriptors.event(Direction::Read, raw)),
                Some(mark) if mark.shared => ready.note(mark),
                Some(mark) => self.emulated.borrow_mut().collect(mark, 1, list)?,
            }
        }
        drop(descriptors);
        if ready.any() {
            match self.collect(ready, buffer, list) {
                // The events in the list would be lost. The failure can wait, since its cause stays ready.
                Err(_) if !list.is_empty() => {}
                collected => collected?,
            }
        }
        Ok(())
    }

    pub(crate) fn waker(&self, token: Token) -> Result<Waker, Failure> {
        self.emulated.borrow_mut().waker(&self.outer, token)
    }

    pub(crate) fn stale_events(&self) -> u64 {
        self.descriptors.borrow().stale_events()
    }

    /// Fetches the events behind those of the queue's own descriptors that stand for many. They share the room that the
    /// Reads have left, which is at least a place each, since each took one in the list.
    #[cold]
    fn collect(&self, mut ready: Ready, buffer: &mut Buffer, list: &mut Vec<Event>) -> io::Result<()> {
        let capacity = buffer.raw.len();
        let mut crowded = Ready::default();
        while let Some(mark) = ready.take() {
            let room = (capacity.saturating_sub(list.len()) / (ready.count() + 1)).max(1);
            let collected = if mark.filter == Filter::Write {
                let places = buffer.raw.get_mut(..room).unwrap_or_default();
                let reported = self.inner.wait(places, EpollTimeout::ZERO)?;
                let mut descriptors = self.descriptors.borrow_mut();
                list.extend(
                    buffer.raw.iter().take(reported).filter_map(|raw| descriptors.event(Direction::Write, raw)),
                );
                reported
            } else {
                let before = list.len();
                self.emulated.borrow_mut().collect(mark, room, list)?;
                list.len() - before
            };
            if collected == room {
                crowded.note(mark);
            }
        }
        self.crowded.set(crowded);
        Ok(())
    }

    /// After a list that was too short, the outer set gets half of the next list, and the descriptors that had more
    /// share the rest. In a list full of Reads, a thousand Writes behind one entry of the outer set would otherwise get
    /// a single place, and only in those waits that report the entry.
    ///
    /// A list without a place for every filter is not shared. epoll then reports the entries in rotation.
    #[cold]
    fn share<'a>(&self, list: &'a mut [EpollEvent]) -> (&'a mut [EpollEvent], Ready) {
        let crowded = self.crowded.take();
        let half = list.len() / 2;
        if half < Filter::ALL.len() {
            return (list, Ready::default());
        }
        (list.get_mut(..half).unwrap_or_default(), crowded)
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outer.0.as_fd()
    }
}

/// Whole milliseconds, rounded up. A wait that ended before its time would be started again with less than
/// a millisecond left, and spin.
fn milliseconds(timeout: Option<Duration>) -> EpollTimeout {
    let Some(timeout) = timeout else { return EpollTimeout::NONE };
    i32::try_from(timeout.as_nanos().div_ceil(1_000_000))
        .ok()
        .and_then(|whole| EpollTimeout::try_from(whole).ok())
        .unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Events, Kqueue, Schedule, TimerId};
    use std::{collections::HashSet, io::Write, os::unix::net::UnixStream};

    #[test]
    fn no_filter_starves_in_a_list_that_is_always_full() {
        const CAPACITY: usize = 16;
        const COUNT: usize = 100;
        let queue = Kqueue::new().unwrap();
        let pairs: Vec<_> = (0..COUNT).map(|_| UnixStream::pair().unwrap()).collect();
        for (index, (near, far)) in pairs.iter().enumerate() {
            (&*far).write_all(b"squawk").unwrap();
            let timer = Schedule::Every(Duration::from_nanos(1));
            queue
                .apply(&[
                    Change::add_read(near.as_fd(), Token(index)),
                    Change::add_write(near.as_fd(), Token(index)),
                    Change::add_timer(TimerId(index), timer, Token(index)),
                ])
                .all()
                .unwrap();
        }
        let mut events = Events::with_capacity(CAPACITY);
        let mut reported = HashSet::new();
        // Half of each list is for one kind, and a quarter for each of the other two. Timers that are always due push
        // nothing aside.
        for _ in 0..2 * 4 * COUNT / CAPACITY {
            queue.wait(&mut events, None).unwrap();
            assert!(events.len() <= CAPACITY);
            reported.extend(events.iter().map(|event| (event.filter(), event.token())));
        }
        assert_eq!(reported.len(), 3 * COUNT);
    }

    #[test]
    fn no_filter_starves_in_the_shortest_list() {
        let queue = Kqueue::new().unwrap();
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(b"squawk").unwrap();
        let timer = Schedule::Every(Duration::from_nanos(1));
        queue
            .apply(&[
                Change::add_read(near.as_fd(), Token(0)),
                Change::add_write(near.as_fd(), Token(0)),
                Change::add_timer(TimerId(0), timer, Token(0)),
            ])
            .all()
            .unwrap();
        let mut reported = HashSet::new();
        for capacity in [1, 2, 1, 1].into_iter().cycle().take(40) {
            let mut events = Events::with_capacity(capacity);
            queue.wait(&mut events, None).unwrap();
            assert!(events.len() <= capacity);
            reported.extend(events.iter().map(|event| event.filter()));
        }
        assert_eq!(reported.len(), 3);
    }

    #[test]
    fn a_nanosecond_is_rounded_up_to_a_millisecond() {
        assert_eq!(milliseconds(Some(Duration::from_nanos(1))), EpollTimeout::from(1u8));
        assert_eq!(milliseconds(Some(Duration::from_millis(7))), EpollTimeout::from(7u8));
        assert_eq!(milliseconds(Some(Duration::ZERO)), EpollTimeout::ZERO);
    }
}
