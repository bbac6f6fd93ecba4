//! How the queue's own descriptors are distinguished from the caller's, and from each other.

use crate::Filter;
use nix::sys::epoll::{EpollEvent, EpollFlags};

const OWN: u64 = 1 << 63;
const SHARED: u64 = 1 << 62;

/// The epoll data of one of the queue's own descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) filter: Filter,
    /// For filters that have several descriptors.
    pub(crate) index: u32,
    /// The descriptor stands for many registrations. A filter has at most two of these, with the indices 0 and 1.
    pub(crate) shared: bool,
}

impl Mark {
    pub(crate) fn shared(filter: Filter, index: u32) -> Mark {
        Mark { filter, index, shared: true }
    }

    pub(crate) fn single(filter: Filter, index: u32) -> Mark {
        Mark { filter, index, shared: false }
    }

    /// The mark in an event's data, if the descriptor is the queue's own.
    #[inline]
    pub(crate) fn of(data: u64) -> Option<Mark> {
        if data & OWN == 0 {
            return None;
        }
        let filter = Filter::ALL.get((data >> 32 & 0xff) as usize)?;
        Some(Mark { filter: *filter, index: data as u32, shared: data & SHARED != 0 })
    }

    /// The request to epoll for the descriptor.
    pub(crate) fn interest(self) -> EpollEvent {
        let shared = if self.shared { SHARED } else { 0 };
        EpollEvent::new(EpollFlags::EPOLLIN, OWN | shared | (self.filter as u64) << 32 | u64::from(self.index))
    }
}

/// Which of the shared descriptors have events, a bit each.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ready(u32);

impl Ready {
    pub(crate) fn note(&mut self, mark: Mark) {
        self.0 |= 1 << (2 * mark.filter as u32 + mark.index);
    }

    pub(crate) fn any(self) -> bool {
        self.0 != 0
    }

    pub(crate) fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    pub(crate) fn take(&mut self) -> Option<Mark> {
        let bit = self.0.trailing_zeros();
        let filter = Filter::ALL.get(bit as usize / 2)?;
        self.0 &= !(1 << bit);
        Some(Mark::shared(*filter, bit % 2))
    }
}
