//! The interface of an emulated filter, and the common part of its registrations.

use crate::{
    Change, Event, Token,
    change::{Action, Addition, Mode},
    failure::Failure,
};
use nix::sys::epoll::Epoll;
use std::io;

/// The registrations of one filter.
pub(super) trait EmulatedFilter {
    /// Makes a change to a source of this filter.
    fn apply(&mut self, outer: &Epoll, change: &Change<'_>) -> Result<(), Failure>;

    /// Adds at most `room` events from behind the descriptor with this index to the list. The rest stays ready.
    fn collect(&mut self, index: u32, room: usize, list: &mut Vec<Event>) -> io::Result<()>;
}

/// A filter whose descriptors are made for its first registration.
pub(super) trait OnFirstUse: EmulatedFilter + Sized {
    fn new(outer: &Epoll) -> Result<Self, Failure>;
}

impl<F: OnFirstUse> EmulatedFilter for Option<F> {
    fn apply(&mut self, outer: &Epoll, change: &Change<'_>) -> Result<(), Failure> {
        match self {
            Some(filter) => filter.apply(outer, change),
            None if matches!(change.action, Action::Add(_)) => self.insert(F::new(outer)?).apply(outer, change),
            None => Err(Failure::NotFound),
        }
    }

    fn collect(&mut self, index: u32, room: usize, list: &mut Vec<Event>) -> io::Result<()> {
        self.as_mut().map_or(Ok(()), |filter| filter.collect(index, room, list))
    }
}

/// The common part of every registration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) token: Token,
    pub(super) mode: Mode,
    pub(super) enabled: bool,
}

impl Held {
    pub(super) fn new(addition: &Addition) -> Self {
        Held { token: addition.token, mode: addition.mode, enabled: !addition.disabled }
    }

    /// Notes that the registration has fired, and returns whether it is gone. Dispatch disables it instead.
    pub(super) fn is_gone_after_firing(&mut self) -> bool {
        self.enabled &= !self.mode.contains(Mode::DISPATCH);
        self.mode.contains(Mode::ONE_SHOT)
    }
}
