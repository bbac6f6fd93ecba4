//! Files: one inotify descriptor a queue.
//!
//! inotify watches an inode by a path, kqueue an open file. The path that leads to an open file whatever becomes of its
//! name is the one in /proc/self/fd. inotify says less than kqueue: that links or attributes changed, not which. So a
//! registration holds a duplicate of its file and compares length and number of links with what they were.
//!
//! Registrations of one inode, through whichever descriptors, share inotify's watch of it.

use super::own::{Held, Kind};
use crate::{
    Event, Filter, VnodeEvents,
    change::{Addition, Wanted},
    receipts::Failure,
};
use nix::sys::epoll::Epoll;
use rustix::{
    event::{EventfdFlags, eventfd},
    fs::{FileType, Stat, fstat, inotify},
    io::Errno,
};
use std::{
    collections::HashMap,
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

pub(super) struct Vnodes {
    inotify: OwnedFd,
    /// Readable while there are events to report that inotify no longer has.
    left_over: OwnedFd,
    /// By the number of the caller's descriptor.
    registrations: HashMap<i32, Registration>,
}

struct Registration {
    held: Held,
    wanted: VnodeEvents,
    /// The caller's file, whatever becomes of the caller's descriptor.
    file: OwnedFd,
    /// inotify's name of the inode.
    watch: i32,
    length: i64,
    links: u64,
    /// What has happened and is wanted, but not reported yet.
    happened: VnodeEvents,
}

impl Registration {
    fn is_due(&self) -> bool {
        self.held.enabled && !self.happened.is_empty()
    }

    /// Adds to what has happened, from inotify's words and from what the file looks like now.
    fn note(&mut self, flags: inotify::ReadFlags) {
        use inotify::ReadFlags as Flag;
        let mut happened = VnodeEvents::empty();
        if flags.intersects(Flag::MODIFY | Flag::CREATE | Flag::DELETE | Flag::MOVED_FROM | Flag::MOVED_TO) {
            happened |= VnodeEvents::WRITE;
        }
        if flags.contains(Flag::ATTRIB) {
            happened |= VnodeEvents::ATTRIBUTES;
        }
        if flags.contains(Flag::MOVE_SELF) {
            happened |= VnodeEvents::RENAME;
        }
        if let Ok(now) = fstat(&self.file) {
            let (length, links) = measures(&now);
            if length > self.length {
                happened |= VnodeEvents::EXTEND;
            }
            if links != self.links {
                happened |= VnodeEvents::LINK;
            }
            // The links of a directory are its directories; it loses its name only with all of them.
            if links == 0 || links < self.links && !FileType::from_raw_mode(now.st_mode).is_dir() {
                happened |= VnodeEvents::DELETE;
            }
            (self.length, self.links) = (length, links);
        }
        self.happened |= happened & self.wanted;
    }
}

impl Vnodes {
    pub(super) fn new(outer: &Epoll) -> Result<Self, Failure> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let left_over = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        outer.add(&inotify, Kind::Vnodes.interest(0))?;
        outer.add(&left_over, Kind::Vnodes.interest(1))?;
        Ok(Vnodes { inotify, left_over, registrations: HashMap::new() })
    }

    pub(super) fn add(&mut self, file: BorrowedFd<'_>, addition: &Addition) -> Result<(), Failure> {
        let Wanted::Vnode(wanted) = addition.wanted else { return Ok(()) };
        if wanted.contains(VnodeEvents::REVOKE) {
            return Err(Failure::Unsupported("revoke: Linux has no such call, so there is nothing to report"));
        }
        let number = file.as_raw_fd();
        let file = rustix::io::fcntl_dupfd_cloexec(file, 0)?;
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode).is_socket() {
            return Err(Failure::Invalid("a socket is not a file: watch it with Change::add_read"));
        }
        let watch = self.watch(&file, &stat, wanted)?;
        let (length, links) = measures(&stat);
        let happened = VnodeEvents::empty();
        let registration = Registration { held: Held::new(addition), wanted, file, watch, length, links, happened };
        if let Some(replaced) = self.registrations.insert(number, registration) {
            self.unwatch(replaced.watch)?;
        }
        Ok(())
    }

    pub(super) fn delete(&mut self, file: BorrowedFd<'_>) -> Result<(), Failure> {
        let deleted = self.registrations.remove(&file.as_raw_fd()).ok_or(Failure::NotFound)?;
        self.unwatch(deleted.watch)
    }

    /// What happens to a disabled registration is kept and reported when it is enabled.
    pub(super) fn set_enabled(&mut self, file: BorrowedFd<'_>, enabled: bool) -> Result<(), Failure> {
        let registration = self.registrations.get_mut(&file.as_raw_fd()).ok_or(Failure::NotFound)?;
        registration.held.enabled = enabled;
        if registration.is_due() {
            self.come_again()?;
        }
        Ok(())
    }

    pub(super) fn collect(&mut self, room: usize, list: &mut Vec<Event>) -> io::Result<()> {
        self.read()?;
        let full = list.len() + room;
        let mut gone = Vec::new();
        for (number, registration) in self.registrations.iter_mut().filter(|(_, registration)| registration.is_due()) {
            if list.len() == full {
                break;
            }
            let mut event = Event::new(registration.held.token, Filter::Vnode);
            event.details = u32::from(std::mem::take(&mut registration.happened).bits());
            list.push(event);
            if registration.held.is_gone_after_firing() {
                gone.push(*number);
            }
        }
        for number in gone {
            if let Some(registration) = self.registrations.remove(&number) {
                self.unwatch(registration.watch)?;
            }
        }
        if self.registrations.values().any(Registration::is_due) {
            self.come_again()?;
        }
        Ok(())
    }

    /// Takes what inotify has, so that nothing is left that would be reported again.
    fn read(&mut self) -> io::Result<()> {
        match rustix::io::read(&self.left_over, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            };
            let (watch, mut flags) = (event.wd(), event.events());
            if event.file_name().is_some() {
                // It happened to a file in the directory, not to the directory.
                flags -= inotify::ReadFlags::MODIFY | inotify::ReadFlags::ATTRIB;
            }
            if flags.is_empty() {
                continue;
            }
            let lost = flags.contains(inotify::ReadFlags::QUEUE_OVERFLOW);
            for registration in self.registrations.values_mut() {
                if lost {
                    // Anything may have happened; a hint too many is better than one that is missing.
                    registration.note(inotify::ReadFlags::MODIFY | inotify::ReadFlags::ATTRIB);
                } else if registration.watch == watch {
                    registration.note(flags);
                }
            }
        }
    }

    /// Lets the next wait report what is left over.
    fn come_again(&self) -> Result<(), Failure> {
        match rustix::io::write(&self.left_over, &1u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Watches a file's inode for what is wanted in addition to what other registrations want of it.
    fn watch(&self, file: &OwnedFd, stat: &Stat, wanted: VnodeEvents) -> Result<i32, Failure> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = words(stat, wanted) | inotify::WatchFlags::MASK_ADD;
        inotify::add_watch(&self.inotify, path, flags).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => Failure::Unsupported("files without /proc: mount it to watch them"),
            errno => errno.into(),
        })
    }

    /// Ends inotify's watch with the last registration that needs it. Until then it may say more than is wanted.
    fn unwatch(&self, watch: i32) -> Result<(), Failure> {
        if self.registrations.values().any(|registration| registration.watch == watch) {
            return Ok(());
        }
        match inotify::remove_watch(&self.inotify, watch) {
            // The inode has gone, and its watch with it.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// inotify's words for what is wanted.
fn words(stat: &Stat, wanted: VnodeEvents) -> inotify::WatchFlags {
    use inotify::WatchFlags as Flag;
    let written = if FileType::from_raw_mode(stat.st_mode).is_dir() {
        Flag::CREATE | Flag::DELETE | Flag::MOVED_FROM | Flag::MOVED_TO
    } else {
        Flag::MODIFY
    };
    [
        (VnodeEvents::WRITE, written),
        (VnodeEvents::EXTEND, written),
        (VnodeEvents::ATTRIBUTES, Flag::ATTRIB),
        (VnodeEvents::LINK, Flag::ATTRIB | written),
        (VnodeEvents::DELETE, Flag::ATTRIB),
        (VnodeEvents::RENAME, Flag::MOVE_SELF),
    ]
    .into_iter()
    .filter(|&(event, _)| wanted.contains(event))
    .fold(Flag::empty(), |words, (_, word)| words | word)
}

/// Length and number of links, in types that are the same on every architecture.
#[allow(clippy::unnecessary_cast, reason = "their types differ from one architecture to the other")]
fn measures(stat: &Stat) -> (i64, u64) {
    (stat.st_size as i64, stat.st_nlink as u64)
}
