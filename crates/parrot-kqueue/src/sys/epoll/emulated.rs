//! The filters that epoll does not have.
//!
//! Each is emulated with descriptors of the queue's own. They stand in the outer set beside the caller's, and are made
//! when they are first needed.

mod filter;
mod mark;
mod processes;
mod signals;
mod timers;
mod vnodes;
mod wakers;

pub(super) use mark::{Mark, Ready};

use crate::{Change, Event, Filter, Token, Waker, failure::Failure};
use filter::EmulatedFilter;
use nix::sys::epoll::Epoll;
use processes::Processes;
use signals::Signals;
use std::io;
use timers::Timers;
use vnodes::Vnodes;
use wakers::Wakers;

#[derive(Default)]
pub(super) struct Emulated {
    timers: Timers,
    signals: Option<Signals>,
    wakers: Wakers,
    processes: Processes,
    vnodes: Option<Vnodes>,
}

impl Emulated {
    /// The one table of filters. Changes and events of every filter go through it.
    fn filter(&mut self, filter: Filter) -> Option<&mut dyn EmulatedFilter> {
        match filter {
            Filter::Read | Filter::Write => None,
            Filter::Timer => Some(&mut self.timers),
            Filter::Signal => Some(&mut self.signals),
            Filter::User => Some(&mut self.wakers),
            Filter::Process => Some(&mut self.processes),
            Filter::Vnode => Some(&mut self.vnodes),
        }
    }

    pub(super) fn apply(&mut self, outer: &Epoll, change: &Change<'_>) -> Result<(), Failure> {
        self.filter(change.source.filter()).ok_or(Failure::NotFound)?.apply(outer, change)
    }

    /// Adds at most `room` events from behind the descriptor with this mark to the list. The rest stays ready.
    pub(super) fn collect(&mut self, mark: Mark, room: usize, list: &mut Vec<Event>) -> io::Result<()> {
        self.filter(mark.filter).map_or(Ok(()), |filter| filter.collect(mark.index, room, list))
    }

    pub(super) fn waker(&mut self, outer: &Epoll, token: Token) -> Result<Waker, Failure> {
        self.wakers.add(outer, token)
    }
}
