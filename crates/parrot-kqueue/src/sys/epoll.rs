//! kqueue's contract over epoll.
//!
//! A kqueue registration belongs to one filter of one descriptor; an epoll entry belongs to a descriptor, and its mode
//! to both directions. So there are **two epoll sets**. The outer set holds every Read registration, the queue's own
//! descriptors (timers, signals and so on) and the inner set; the inner set holds every Write registration. Each filter
//! thus has an entry, a mode and a token of its own: a one-shot that fires in one direction leaves the other as it is,
//! nothing is ever armed again behind the caller's back, and no duplicate of anybody's socket is held. A wait is one
//! `epoll_wait` on the outer set. Only if that reports the inner set does it cost a second call.
//!
//! An entry's epoll data is the descriptor's number and a generation from the table. An event whose generation is
//! not the table's is from a descriptor that was closed while registered and lives on in a duplicate (epoll(7),
//! question 6): it is dropped and counted.

mod own;
mod processes;
mod signals;
mod timers;
mod vnodes;
mod wakers;

pub(crate) use signals::Guard;
pub(crate) use wakers::Waker;

use crate::{
    Change, Event, Events, Filter, Receipts, Source, Token,
    change::{Action, Addition, Mode, Wanted},
    event::Flags,
    receipts::Failure,
    table::{Direction, Table, Tag},
    timeout,
};
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
};
use own::{Kind, Own, Ready};
use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    time::Duration,
};

pub(crate) const BACKEND: &str = "kqueue over epoll";

/// The list that `epoll_wait` writes into; it is as long as the caller's list of events.
pub(crate) struct Buffer {
    raw: Vec<EpollEvent>,
}

impl Buffer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Buffer { raw: vec![EpollEvent::empty(); capacity] }
    }
}

pub(crate) struct Queue {
    outer: Epoll,
    inner: Epoll,
    table: RefCell<Table>,
    own: RefCell<Own>,
    stale: Cell<u64>,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Self> {
        let outer = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let inner = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        outer.add(&inner.0, Kind::Writes.interest(0))?;
        Ok(Queue { outer, inner, table: RefCell::default(), own: RefCell::default(), stale: Cell::new(0) })
    }

    pub(crate) fn apply(&self, changes: &[Change<'_>]) -> Receipts {
        let mut receipts = Receipts::new(changes.len());
        for (index, change) in changes.iter().enumerate() {
            if let Err(failure) = change.check().and_then(|()| self.apply_one(change)) {
                receipts.fail(index, failure);
            }
        }
        receipts
    }

    #[inline]
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let Events { list, buffer } = events;
        list.clear();
        let reported = self.outer.wait(&mut buffer.raw, milliseconds(timeout))?;
        let mut ready = Ready::default();
        let mut table = self.table.borrow_mut();
        for raw in buffer.raw.iter().take(reported) {
            let data = raw.data();
            match Kind::of(data) {
                None => self.deliver(&mut table, Direction::Read, data, raw.events(), list),
                Some(kind) => self.own.borrow_mut().deliver(kind, data, &mut ready, list),
            }
        }
        drop(table);
        if ready.any() {
            self.collect(ready, buffer, list)?;
        }
        Ok(())
    }

    pub(crate) fn waker(&self, token: Token) -> io::Result<Waker> {
        self.own.borrow_mut().wakers.add(&self.outer, token)
    }

    pub(crate) fn stale_events(&self) -> u64 {
        self.stale.get()
    }

    fn apply_one(&self, change: &Change<'_>) -> Result<(), Failure> {
        let (descriptor, direction) = match change.source {
            Source::Read(descriptor) => (descriptor, Direction::Read),
            Source::Write(descriptor) => (descriptor, Direction::Write),
            _ => return self.own.borrow_mut().apply(&self.outer, change),
        };
        match &change.action {
            Action::Add(addition) => self.add(descriptor, direction, addition),
            Action::Delete => self.delete(descriptor, direction),
            Action::Enable => self.enable(descriptor, direction),
            Action::Disable => self.disable(descriptor, direction),
        }
    }

    fn add(&self, descriptor: BorrowedFd<'_>, direction: Direction, addition: &Addition) -> Result<(), Failure> {
        if matches!(addition.wanted, Wanted::LowWater(_)) {
            return Err(Failure::Unsupported("a low-water mark: epoll has none, so count the bytes after reading"));
        }
        let mut table = self.table.borrow_mut();
        let entry = table.entry(descriptor);
        let old = entry.tag(direction);
        let new = Tag::new(old.next_generation(), addition.mode);
        // Whatever happens now, events of the old registration are no longer wanted.
        entry.set(direction, addition.token, new);
        self.arm(descriptor, direction, new, old.has(Tag::KNOWN))?;
        let mut tag = new.with(Tag::PRESENT).with(Tag::ENABLED).with(Tag::KNOWN);
        if addition.disabled {
            // Armed first all the same, so that what epoll cannot watch fails here and not when it is enabled.
            self.set(direction).delete(descriptor)?;
            tag = new.with(Tag::PRESENT);
        }
        entry.set_tag(direction, tag);
        Ok(())
    }

    fn delete(&self, descriptor: BorrowedFd<'_>, direction: Direction) -> Result<(), Failure> {
        let mut table = self.table.borrow_mut();
        let entry = table.existing(descriptor).ok_or(Failure::NotFound)?;
        let tag = entry.tag(direction);
        if !tag.has(Tag::PRESENT) {
            return Err(Failure::NotFound);
        }
        entry.set(direction, Token::default(), Tag::new(tag.generation(), Mode::empty()));
        if tag.has(Tag::KNOWN) {
            self.set(direction).delete(descriptor).map_err(not_found)?;
        }
        Ok(())
    }

    fn enable(&self, descriptor: BorrowedFd<'_>, direction: Direction) -> Result<(), Failure> {
        let mut table = self.table.borrow_mut();
        let entry = table.existing(descriptor).ok_or(Failure::NotFound)?;
        let tag = entry.tag(direction);
        if !tag.has(Tag::PRESENT) {
            return Err(Failure::NotFound);
        }
        let mut event = interest(descriptor, direction, tag);
        let armed = if tag.has(Tag::KNOWN) {
            self.set(direction).modify(descriptor, &mut event).map_err(not_found)
        } else {
            self.set(direction).add(descriptor, event).map_err(Failure::from)
        };
        let tag = if armed.is_ok() {
            tag.with(Tag::ENABLED).with(Tag::KNOWN)
        } else {
            Tag::new(tag.generation(), Mode::empty())
        };
        entry.set_tag(direction, tag);
        armed
    }

    /// A disabled registration is in the table only: a set would go on to report errors and hang-ups, which epoll
    /// does not let anybody mask (epoll_ctl(2)).
    fn disable(&self, descriptor: BorrowedFd<'_>, direction: Direction) -> Result<(), Failure> {
        let mut table = self.table.borrow_mut();
        let entry = table.existing(descriptor).ok_or(Failure::NotFound)?;
        let tag = entry.tag(direction);
        if !tag.has(Tag::PRESENT) {
            return Err(Failure::NotFound);
        }
        if tag.has(Tag::KNOWN)
            && let Err(failure) = self.set(direction).delete(descriptor).map_err(not_found)
        {
            entry.set_tag(direction, Tag::new(tag.generation(), Mode::empty()));
            return Err(failure);
        }
        entry.set_tag(direction, tag.without(Tag::ENABLED).without(Tag::KNOWN));
        Ok(())
    }

    /// Puts a registration into its set. Whether the set has an entry already is only believed: the descriptor may
    /// have been closed since, or its number may stand for another file now.
    fn arm(&self, descriptor: BorrowedFd<'_>, direction: Direction, tag: Tag, known: bool) -> Result<(), Failure> {
        let (set, mut event) = (self.set(direction), interest(descriptor, direction, tag));
        let armed = if known {
            match set.modify(descriptor, &mut event) {
                Err(Errno::ENOENT) => set.add(descriptor, event),
                armed => armed,
            }
        } else {
            match set.add(descriptor, event) {
                Err(Errno::EEXIST) => set.modify(descriptor, &mut event),
                armed => armed,
            }
        };
        armed.map_err(|errno| match errno {
            Errno::EPERM => Failure::Unsupported(
                "this kind of file: epoll takes sockets, pipes, terminals and the like. \
                 Regular files are always ready; watch what happens to them with Change::add_vnode",
            ),
            errno => errno.into(),
        })
    }

    fn set(&self, direction: Direction) -> &Epoll {
        match direction {
            Direction::Read => &self.outer,
            Direction::Write => &self.inner,
        }
    }

    /// Turns what epoll said of a descriptor into an event, if its registration is still the one that epoll means.
    #[inline]
    fn deliver(&self, table: &mut Table, direction: Direction, data: u64, flags: EpollFlags, list: &mut Vec<Event>) {
        let Some(entry) = table.at(data as u32) else { return };
        let tag = entry.tag(direction);
        if tag.generation() != (data >> 32) as u32 || !tag.has(Tag::ENABLED) {
            self.stale.set(self.stale.get() + 1);
            return;
        }
        list.push(event(entry.token(direction), direction, flags));
        let mode = tag.mode();
        if !(mode & (Mode::ONE_SHOT | Mode::DISPATCH)).is_empty() {
            // The set keeps the entry, without anything asked of it (EPOLLONESHOT): it stays known.
            let gone = if mode.contains(Mode::ONE_SHOT) { Tag::PRESENT } else { Tag::default() };
            entry.set_tag(direction, tag.without(Tag::ENABLED).without(gone));
        }
    }

    /// Fetches the events of those of the queue's own descriptors that stand for many: each had a place in the list,
    /// so each of them gets at least that one.
    #[cold]
    fn collect(&self, mut ready: Ready, buffer: &mut Buffer, list: &mut Vec<Event>) -> io::Result<()> {
        let capacity = buffer.raw.len();
        while let Some(kind) = ready.take() {
            let room = capacity.saturating_sub(list.len() + ready.count()).max(1);
            if kind != Kind::Writes {
                self.own.borrow_mut().collect(kind, room, list)?;
                continue;
            }
            let places = buffer.raw.get_mut(..room).unwrap_or_default();
            let reported = self.inner.wait(places, EpollTimeout::ZERO)?;
            let mut table = self.table.borrow_mut();
            for raw in buffer.raw.iter().take(reported) {
                self.deliver(&mut table, Direction::Write, raw.data(), raw.events(), list);
            }
        }
        Ok(())
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outer.0.as_fd()
    }
}

fn milliseconds(timeout: Option<Duration>) -> EpollTimeout {
    let Some(timeout) = timeout else { return EpollTimeout::NONE };
    EpollTimeout::try_from(timeout::round_up_to_milliseconds(timeout)).unwrap_or(EpollTimeout::MAX)
}

/// What is asked of epoll for a registration.
fn interest(descriptor: BorrowedFd<'_>, direction: Direction, tag: Tag) -> EpollEvent {
    let mut flags = match direction {
        // The peer's half-close has to be asked for. So has urgent data: it ends a read early, with more behind it.
        Direction::Read => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLPRI,
        Direction::Write => EpollFlags::EPOLLOUT,
    };
    let mode = tag.mode();
    if mode.contains(Mode::EDGE) {
        flags |= EpollFlags::EPOLLET;
    }
    if !(mode & (Mode::ONE_SHOT | Mode::DISPATCH)).is_empty() {
        flags |= EpollFlags::EPOLLONESHOT;
    }
    let number = descriptor.as_raw_fd().unsigned_abs();
    EpollEvent::new(flags, u64::from(tag.generation()) << 32 | u64::from(number))
}

#[inline]
fn event(token: Token, direction: Direction, raw: EpollFlags) -> Event {
    let (filter, eof) = match direction {
        Direction::Read => (Filter::Read, EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP),
        Direction::Write => (Filter::Write, EpollFlags::EPOLLHUP),
    };
    let mut event = Event::new(token, filter);
    if raw.intersects(eof | EpollFlags::EPOLLERR | EpollFlags::EPOLLPRI) {
        if raw.intersects(eof) {
            event.flags |= Flags::EOF;
        }
        if raw.contains(EpollFlags::EPOLLERR) {
            event.flags |= Flags::ERROR;
        }
        if raw.contains(EpollFlags::EPOLLPRI) {
            event.flags |= Flags::URGENT;
        }
    }
    event
}

/// The number stands for another file than the one that was registered, or for none.
fn not_found(errno: Errno) -> Failure {
    match errno {
        Errno::ENOENT => Failure::NotFound,
        errno => errno.into(),
    }
}
