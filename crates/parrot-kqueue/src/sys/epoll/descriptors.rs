//! Registrations of Read and Write, which epoll has itself.
//!
//! An entry's epoll data is the descriptor's number and a generation from the table. An event with another generation
//! than the table's is from a descriptor that was closed while registered and lives on in a duplicate (epoll(7),
//! question 6). It is dropped and counted.

use super::{
    super::table::{Direction, Table},
    tag::Tag,
};
use crate::{
    Event, Filter, Token,
    change::{Action, Addition, Mode, Wanted},
    event::Flags,
    failure::Failure,
};
use nix::{
    errno::Errno,
    sys::epoll::{Epoll, EpollEvent, EpollFlags},
};
use std::os::fd::{AsRawFd, BorrowedFd};

#[derive(Default)]
pub(super) struct Descriptors {
    table: Table<Tag>,
    stale: u64,
}

impl Descriptors {
    /// Makes a change to a registration of this set.
    pub(super) fn apply(
        &mut self,
        set: &Epoll,
        descriptor: BorrowedFd<'_>,
        direction: Direction,
        action: &Action,
    ) -> Result<(), Failure> {
        if let Action::Add(addition) = action {
            return self.add(set, descriptor, direction, addition);
        }
        let entry = self.table.existing(descriptor, direction).ok_or(Failure::NotFound)?;
        let tag = entry.tag();
        if !tag.has(Tag::PRESENT) {
            return Err(Failure::NotFound);
        }
        let gone = Tag::new(tag.generation(), Mode::empty());
        let known = tag.has(Tag::KNOWN);
        let remove = || if known { set.delete(descriptor) } else { Ok(()) };
        let (next, changed) = match action {
            Action::Add(_) | Action::Enable => {
                let mut event = interest(descriptor, direction, tag);
                let armed = if known { set.modify(descriptor, &mut event) } else { set.add(descriptor, event) };
                (tag.with(Tag::ENABLED).with(Tag::KNOWN), armed)
            }
            // A disabled registration is in the table only. A set would still report errors and hang-ups, which epoll
            // does not mask (epoll_ctl(2)).
            Action::Disable => (tag.without(Tag::ENABLED).without(Tag::KNOWN), remove()),
            Action::Delete => (gone, remove()),
        };
        match changed {
            Ok(()) => entry.set_tag(next),
            // The number stands for another file than the one that was registered, or for none.
            Err(Errno::ENOENT) => entry.set_tag(gone),
            // The registration is as it was, so that the change can be tried again.
            Err(_) => {}
        }
        changed.map_err(|errno| match errno {
            Errno::ENOENT => Failure::NotFound,
            errno => errno.into(),
        })
    }

    fn add(
        &mut self,
        set: &Epoll,
        descriptor: BorrowedFd<'_>,
        direction: Direction,
        addition: &Addition,
    ) -> Result<(), Failure> {
        if matches!(addition.wanted, Wanted::LowWater(_)) {
            return Err(Failure::Unsupported("epoll has no low-water marks, so count the bytes after reading"));
        }
        let entry = self.table.entry(descriptor, direction);
        let old = entry.tag();
        let new = Tag::new(old.next_generation(), addition.mode);
        // From here on events of the old registration are unwanted, even if this fails.
        entry.set(addition.token, new);
        arm(set, descriptor, interest(descriptor, direction, new), old.has(Tag::KNOWN))?;
        let mut tag = new.with(Tag::PRESENT).with(Tag::ENABLED).with(Tag::KNOWN);
        if addition.disabled {
            // Armed first, so that what epoll cannot watch fails here and not when it is enabled.
            set.delete(descriptor)?;
            tag = new.with(Tag::PRESENT);
        }
        entry.set_tag(tag);
        Ok(())
    }

    /// The event that epoll reports, if it is of the present registration of its descriptor.
    #[inline]
    pub(super) fn event(&mut self, direction: Direction, raw: &EpollEvent) -> Option<Event> {
        let data = raw.data();
        let entry = self.table.at(data as u32 as usize, direction)?;
        let tag = entry.tag();
        if tag.generation() != (data >> 32) as u32 || !tag.has(Tag::ENABLED) {
            self.stale += 1;
            return None;
        }
        let mode = tag.mode();
        if mode.intersects(Mode::ONE_SHOT | Mode::DISPATCH) {
            // The set keeps the entry, without anything asked of it (EPOLLONESHOT), so it stays known.
            let gone = if mode.contains(Mode::ONE_SHOT) { Tag::PRESENT } else { Tag::default() };
            entry.set_tag(tag.without(Tag::ENABLED).without(gone));
        }
        Some(event(entry.token(), direction, raw.events()))
    }

    /// How many events came from a descriptor that was closed while registered.
    pub(super) fn stale_events(&self) -> u64 {
        self.stale
    }
}

/// Puts a registration into its set. `known` is a guess, because the descriptor may have been closed since, or its
/// number may stand for another file now.
fn arm(set: &Epoll, descriptor: BorrowedFd<'_>, mut event: EpollEvent, known: bool) -> Result<(), Failure> {
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
            "epoll does not watch this kind of file, so watch a regular file with Change::add_vnode",
        ),
        Errno::ELOOP => Failure::Unsupported(
            "epoll takes at most four queues in a row and none in a circle (epoll_ctl(2)), so register with the outer \
             queue what the inner ones are to report",
        ),
        Errno::EINVAL => Failure::Explained(
            errno as i32,
            "a queue cannot watch itself, and for Write it takes at most 500 descriptors of one open file, or fewer if \
             another queue watches it (path_limits in fs/eventpoll.c)",
        ),
        errno => errno.into(),
    })
}

/// The request to epoll for a registration.
fn interest(descriptor: BorrowedFd<'_>, direction: Direction, tag: Tag) -> EpollEvent {
    let mut flags = match direction {
        // The peer's half-close has to be asked for. So has urgent data, which ends a read early with more behind it.
        Direction::Read => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLPRI,
        Direction::Write => EpollFlags::EPOLLOUT,
    };
    let mode = tag.mode();
    if mode.contains(Mode::EDGE) {
        flags |= EpollFlags::EPOLLET;
    }
    if mode.intersects(Mode::ONE_SHOT | Mode::DISPATCH) {
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
        for (told, flag) in
            [(eof, Flags::EOF), (EpollFlags::EPOLLERR, Flags::ERROR), (EpollFlags::EPOLLPRI, Flags::URGENT)]
        {
            if raw.intersects(told) {
                event.flags |= flag;
            }
        }
    }
    event
}
