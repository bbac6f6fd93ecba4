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
    Change, Event, Events, Filter, ProcessEvents, Receipts, Source, Token, VnodeEvents,
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
pub(crate) const VNODE_EVENTS: VnodeEvents = VnodeEvents::all().difference(VnodeEvents::REVOKE);
pub(crate) const PROCESS_EVENTS: ProcessEvents = ProcessEvents::EXIT;

/// The list that `epoll_wait` writes into; it is as long as the caller's list of events.
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
    table: RefCell<Table>,
    own: RefCell<Own>,
    stale: Cell<u64>,
    /// The kinds that had more events than there was room for in the last list.
    crowded: Cell<Ready>,
}

impl Queue {
    pub(crate) fn new() -> io::Result<Self> {
        let outer = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let inner = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        outer.add(&inner.0, Kind::Writes.interest(0))?;
        Ok(Queue {
            outer,
            inner,
            table: RefCell::default(),
            own: RefCell::default(),
            stale: Cell::new(0),
            crowded: Cell::default(),
        })
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
        let (places, mut ready) = if self.crowded.get().any() {
            self.share(&mut buffer.raw)
        } else {
            (buffer.raw.as_mut_slice(), Ready::default())
        };
        let reported = self.outer.wait(places, milliseconds(timeout))?;
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
            match self.collect(ready, buffer, list) {
                // What the list has is told once: the failure can wait, and its cause is still ready for the next wait.
                Err(_) if !list.is_empty() => {}
                collected => collected?,
            }
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
            Errno::ELOOP => Failure::Unsupported(
                "so many queues inside each other, or queues in a circle: epoll has four in a row at most \
                 (epoll_ctl(2)), so register in the outer queue what the inner ones are to report",
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

    /// Fetches the events of those of the queue's own descriptors that stand for many. They share what room the Reads
    /// have left: at least a place each, since each had one in the list.
    #[cold]
    fn collect(&self, mut ready: Ready, buffer: &mut Buffer, list: &mut Vec<Event>) -> io::Result<()> {
        let capacity = buffer.raw.len();
        let mut crowded = Ready::default();
        while let Some(kind) = ready.take() {
            let room = (capacity.saturating_sub(list.len()) / (ready.count() + 1)).max(1);
            let collected = if kind == Kind::Writes {
                let places = buffer.raw.get_mut(..room).unwrap_or_default();
                let reported = self.inner.wait(places, EpollTimeout::ZERO)?;
                let mut table = self.table.borrow_mut();
                for raw in buffer.raw.iter().take(reported) {
                    self.deliver(&mut table, Direction::Write, raw.data(), raw.events(), list);
                }
                reported
            } else {
                let before = list.len();
                self.own.borrow_mut().collect(kind, room, list)?;
                list.len() - before
            };
            if collected == room {
                crowded.note(kind);
            }
        }
        self.crowded.set(crowded);
        Ok(())
    }

    /// After a list that was too short: half of it for the outer set, and a share of the rest for the kinds that had
    /// more. Full of Reads, a list would have a single place for all that stands behind one entry of the outer set, and
    /// that only when the entry has its turn, be it for a thousand Writes.
    ///
    /// A list that has no place for every kind is not shared: each entry has its turn.
    #[cold]
    fn share<'a>(&self, list: &'a mut [EpollEvent]) -> (&'a mut [EpollEvent], Ready) {
        let crowded = self.crowded.take();
        let half = list.len() / 2;
        if half < Ready::KINDS.len() {
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

#[cfg(test)]
mod tests {
    use crate::{Change, Events, Kqueue, Schedule, TimerId, Token};
    use std::{
        collections::HashSet,
        io::Write,
        os::{fd::AsFd, unix::net::UnixStream},
        time::Duration,
    };

    #[test]
    fn each_kind_of_event_has_its_turns_in_a_list_that_is_always_full() {
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
        // Half of each list for one kind, a quarter for each of the other two; timers that are due again and again push
        // nobody aside.
        for _ in 0..2 * 4 * COUNT / CAPACITY {
            queue.wait(&mut events, None).unwrap();
            assert!(events.len() <= CAPACITY);
            reported.extend(events.iter().map(|event| (event.filter(), event.token())));
        }
        assert_eq!(reported.len(), 3 * COUNT);
    }

    #[test]
    fn the_shortest_list_has_turns_for_each_kind_as_well() {
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
}
