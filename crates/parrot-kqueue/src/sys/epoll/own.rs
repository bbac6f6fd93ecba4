//! The queue's own descriptors: timers, signals, wakers, processes and files. They stand in the outer set beside the
//! caller's, told apart by the top bit of their epoll data, and are made when they are first needed.

use super::{processes::Processes, signals::Signals, timers::Timers, vnodes::Vnodes, wakers::Wakers};
use crate::{
    Change, Event, Schedule, Source, Token,
    change::{Action, Addition, Mode, Wanted},
    receipts::Failure,
};
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use std::io;

const OWN: u64 = 1 << 63;

/// What one of the queue's own descriptors is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The inner epoll set.
    Writes = 0,
    /// The timerfd of timers that count from their registration.
    Timers = 1,
    /// The timerfd of timers that go by the wall clock.
    WallTimers = 2,
    Signals = 3,
    Vnodes = 4,
    /// One descriptor each, told apart by an index in the low half.
    Waker = 5,
    /// One descriptor each, told apart by the process's number in the low half.
    Process = 6,
}

impl Kind {
    /// What is asked of epoll for such a descriptor.
    pub(super) fn interest(self, index: u32) -> EpollEvent {
        EpollEvent::new(EpollFlags::EPOLLIN, OWN | (self as u64) << 32 | u64::from(index))
    }

    #[inline]
    pub(super) fn of(data: u64) -> Option<Kind> {
        if data & OWN == 0 {
            return None;
        }
        Some(match (data & !OWN) >> 32 {
            0 => Kind::Writes,
            1 => Kind::Timers,
            2 => Kind::WallTimers,
            3 => Kind::Signals,
            4 => Kind::Vnodes,
            5 => Kind::Waker,
            _ => Kind::Process,
        })
    }
}

/// Which of the descriptors that stand for many events have some.
#[derive(Clone, Copy, Default)]
pub(super) struct Ready(u8);

impl Ready {
    pub(super) const KINDS: [Kind; 5] = [Kind::Writes, Kind::Timers, Kind::WallTimers, Kind::Signals, Kind::Vnodes];

    pub(super) fn note(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u8;
    }

    pub(super) fn any(&self) -> bool {
        self.0 != 0
    }

    pub(super) fn count(&self) -> usize {
        self.0.count_ones() as usize
    }

    pub(super) fn take(&mut self) -> Option<Kind> {
        let kind = Self::KINDS.into_iter().find(|&kind| self.0 & 1 << kind as u8 != 0)?;
        self.0 &= !(1 << kind as u8);
        Some(kind)
    }
}

/// What every registration has: its token, its mode, and whether it is enabled.
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

    /// Whether the registration is gone now that it has fired. One with dispatch is disabled instead.
    pub(super) fn is_gone_after_firing(&mut self) -> bool {
        self.enabled &= !self.mode.contains(Mode::DISPATCH);
        self.mode.contains(Mode::ONE_SHOT)
    }
}

#[derive(Default)]
pub(super) struct Own {
    timers: Option<Timers>,
    wall_timers: Option<Timers>,
    signals: Option<Signals>,
    vnodes: Option<Vnodes>,
    processes: Processes,
    pub(super) wakers: Wakers,
}

impl Own {
    pub(super) fn apply(&mut self, outer: &Epoll, change: &Change<'_>) -> Result<(), Failure> {
        match (change.source, &change.action) {
            (Source::Timer(id), Action::Add(addition)) => {
                let Wanted::Schedule(schedule) = addition.wanted else { return Ok(()) };
                let wall = matches!(schedule, Schedule::At(_));
                let timers =
                    made(if wall { &mut self.wall_timers } else { &mut self.timers }, || Timers::new(outer, wall))?;
                timers.add(id, schedule, Held::new(addition))?;
                // The name is the registration: on the other clock it is replaced.
                let other = if wall { &mut self.timers } else { &mut self.wall_timers };
                match other.as_mut().map(|timers| timers.delete(id)) {
                    None | Some(Ok(()) | Err(Failure::NotFound)) => Ok(()),
                    Some(failed) => failed,
                }
            }
            (Source::Timer(id), action) => {
                let owner =
                    [&mut self.timers, &mut self.wall_timers].into_iter().flatten().find(|timers| timers.has(id));
                let timers = owner.ok_or(Failure::NotFound)?;
                match action {
                    Action::Delete => timers.delete(id),
                    action => timers.set_enabled(id, matches!(action, Action::Enable)),
                }
            }
            (Source::Signal(signal), action) => {
                if let Action::Add(addition) = action {
                    return made(&mut self.signals, || Signals::new(outer))?.add(signal, Held::new(addition));
                }
                let signals = self.signals.as_mut().ok_or(Failure::NotFound)?;
                match action {
                    Action::Delete => signals.delete(signal),
                    action => signals.set_enabled(signal, matches!(action, Action::Enable)),
                }
            }
            (Source::Process(process), action) => match action {
                Action::Add(addition) => self.processes.add(outer, process, addition),
                Action::Delete => self.processes.delete(process),
                action => self.processes.set_enabled(outer, process, matches!(action, Action::Enable)),
            },
            (Source::Vnode(file), action) => {
                if let Action::Add(addition) = action {
                    return made(&mut self.vnodes, || Vnodes::new(outer))?.add(file, addition);
                }
                let vnodes = self.vnodes.as_mut().ok_or(Failure::NotFound)?;
                match action {
                    Action::Delete => vnodes.delete(file),
                    action => vnodes.set_enabled(file, matches!(action, Action::Enable)),
                }
            }
            (Source::User(waker), action) => match action {
                Action::Add(_) => Err(Failure::Invalid("a waker is added by Kqueue::waker")),
                Action::Delete => self.wakers.delete(outer, &waker.waker),
                action => self.wakers.set_enabled(outer, &waker.waker, matches!(action, Action::Enable)),
            },
            // Descriptors are the queue's, not ours.
            (Source::Read(_) | Source::Write(_), _) => Err(Failure::NotFound),
        }
    }

    /// One of the queue's own descriptors was reported: its event, or a note to collect its events.
    pub(super) fn deliver(&mut self, kind: Kind, data: u64, ready: &mut Ready, list: &mut Vec<Event>) {
        let index = data as u32;
        match kind {
            Kind::Waker => list.extend(self.wakers.fire(index)),
            Kind::Process => list.extend(self.processes.fire(index)),
            kind => ready.note(kind),
        }
    }

    /// Adds at most `room` events of this kind to the list. What is left stays ready.
    pub(super) fn collect(&mut self, kind: Kind, room: usize, list: &mut Vec<Event>) -> io::Result<()> {
        match kind {
            Kind::Timers => self.timers.as_mut().map_or(Ok(()), |timers| timers.collect(room, list)),
            Kind::WallTimers => self.wall_timers.as_mut().map_or(Ok(()), |timers| timers.collect(room, list)),
            Kind::Signals => self.signals.as_mut().map_or(Ok(()), |signals| signals.collect(room, list)),
            Kind::Vnodes => self.vnodes.as_mut().map_or(Ok(()), |vnodes| vnodes.collect(room, list)),
            Kind::Writes | Kind::Waker | Kind::Process => Ok(()),
        }
    }
}

/// The thing itself, made now if this is its first use.
fn made<T>(place: &mut Option<T>, make: impl FnOnce() -> Result<T, Failure>) -> Result<&mut T, Failure> {
    match place {
        Some(thing) => Ok(thing),
        None => Ok(place.insert(make()?)),
    }
}
