//! Files: one inotify descriptor per queue.
//!
//! inotify watches an inode by a path, kqueue an open file. The path in /proc/self/fd leads to an open file whatever
//! becomes of its name. inotify reports less than kqueue, such as that links or attributes changed but not which. So
//! a registration holds a duplicate of its file and compares length and number of links with what they were.
//!
//! Registrations of one inode share inotify's watch of it, whichever descriptors they are of. Files are reported in the
//! order in which they became due, so that none starves in a short list.

use super::{
    filter::{EmulatedFilter, Held, OnFirstUse},
    mark::Mark,
};
use crate::{
    Change, Event, Filter, Source, VnodeEvents,
    change::{Action, Addition, Wanted},
    failure::Failure,
};
use nix::sys::epoll::Epoll;
use rustix::{
    event::{EventfdFlags, eventfd},
    fs::{FileType, Stat, fstat, inotify},
    io::Errno,
};
use std::{
    collections::{HashMap, VecDeque},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

pub(super) struct Vnodes {
    inotify: OwnedFd,
    /// Readable while there are events to report that inotify no longer has.
    left_over: OwnedFd,
    files: Files,
}

/// All registrations, by the number of the caller's descriptor.
#[derive(Default)]
struct Files {
    registrations: HashMap<i32, Registration>,
    /// The registrations of each inode, by inotify's name of it.
    watches: HashMap<i32, Vec<i32>>,
    /// Files that may be due, the longest first. One that is not due when it comes up was disabled since.
    due: VecDeque<i32>,
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
    /// Wanted events that were not reported yet.
    happened: VnodeEvents,
    /// Whether it stands in `Files::due`.
    queued: bool,
}

impl Registration {
    fn is_due(&self) -> bool {
        self.held.enabled && !self.happened.is_empty()
    }

    /// Enters the registration into `due`, if it is due and not there yet.
    fn queue_up(&mut self, number: i32, due: &mut VecDeque<i32>) {
        if self.is_due() && !std::mem::replace(&mut self.queued, true) {
            due.push_back(number);
        }
    }

    /// Notes what inotify reports and what has changed in the file.
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
            if links < self.links {
                happened |= VnodeEvents::DELETE;
            }
            (self.length, self.links) = (length, links);
        }
        self.happened |= happened & self.wanted;
    }
}

impl OnFirstUse for Vnodes {
    fn new(outer: &Epoll) -> Result<Self, Failure> {
        let left_over = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK);
        let inotify = inotify.map_err(|errno| match errno {
            // There are two limits behind this (inotify_init(2)). It is not that of the process if that lets another
            // descriptor be made.
            Errno::MFILE if rustix::io::fcntl_dupfd_cloexec(&left_over, 0).is_ok() => {
                Failure::Explained(errno.raw_os_error(), INSTANCES)
            }
            errno => errno.into(),
        })?;
        let interest = Mark::shared(Filter::Vnode, 0).interest();
        outer.add(&inotify, interest)?;
        outer.add(&left_over, interest)?;
        Ok(Vnodes { inotify, left_over, files: Files::default() })
    }
}

impl EmulatedFilter for Vnodes {
    fn apply(&mut self, _: &Epoll, change: &Change<'_>) -> Result<(), Failure> {
        let Source::Vnode(file) = change.source else { return Err(Failure::NotFound) };
        match &change.action {
            Action::Add(addition) => self.add(file, addition),
            Action::Delete => self.delete(file),
            action => self.set_enabled(file, matches!(action, Action::Enable)),
        }
    }

    fn collect(&mut self, _: u32, room: usize, list: &mut Vec<Event>) -> io::Result<()> {
        self.read()?;
        let full = list.len() + room;
        while list.len() < full
            && let Some(number) = self.files.due.pop_front()
        {
            let Some(registration) = self.files.registrations.get_mut(&number) else { continue };
            registration.queued = false;
            if !registration.is_due() {
                continue;
            }
            let happened = std::mem::take(&mut registration.happened);
            list.push(Event::new(registration.held.token, Filter::Vnode).with_details(happened.bits()));
            if registration.held.is_gone_after_firing() {
                let unused = self.files.remove(number);
                self.unwatch(unused)?;
            }
        }
        Ok(self.report_again_if_due()?)
    }
}

impl Vnodes {
    fn add(&mut self, file: BorrowedFd<'_>, addition: &Addition) -> Result<(), Failure> {
        let Wanted::Vnode(wanted) = addition.wanted else { return Ok(()) };
        let number = file.as_raw_fd();
        let file = rustix::io::fcntl_dupfd_cloexec(file, 0)?;
        let stat = fstat(&file)?;
        check(FileType::from_raw_mode(stat.st_mode), wanted)?;
        // Events up to now are for earlier registrations only.
        self.read()?;
        let watch = self.watch(&file, &stat, wanted)?;
        let (length, links) = measures(&stat);
        let (held, happened, queued) = (Held::new(addition), VnodeEvents::empty(), false);
        let registration = Registration { held, wanted, file, watch, length, links, happened, queued };
        let unused = self.files.insert(number, registration);
        self.unwatch(unused)?;
        Ok(self.report_again_if_due()?)
    }

    fn delete(&mut self, file: BorrowedFd<'_>) -> Result<(), Failure> {
        let number = file.as_raw_fd();
        if !self.files.registrations.contains_key(&number) {
            return Err(Failure::NotFound);
        }
        let unused = self.files.remove(number);
        Ok(self.unwatch(unused)?)
    }

    /// Events of a disabled registration are reported when it is enabled.
    fn set_enabled(&mut self, file: BorrowedFd<'_>, enabled: bool) -> Result<(), Failure> {
        let number = file.as_raw_fd();
        let registration = self.files.registrations.get_mut(&number).ok_or(Failure::NotFound)?;
        registration.held.enabled = enabled;
        registration.queue_up(number, &mut self.files.due);
        if enabled { Ok(self.report_again_if_due()?) } else { Ok(()) }
    }

    /// Reads everything that inotify has, so that its descriptor is no longer ready.
    fn read(&mut self) -> Result<(), Errno> {
        match rustix::io::read(&self.left_over, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
        let mut buffer = [const { MaybeUninit::uninit() }; 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            };
            let (watch, mut flags) = (event.wd(), event.events());
            if event.file_name().is_some() {
                // This happened to a file in the directory, not to the directory.
                flags -= inotify::ReadFlags::MODIFY | inotify::ReadFlags::ATTRIB;
            }
            if flags.contains(inotify::ReadFlags::QUEUE_OVERFLOW) {
                self.files.note_all();
            } else if !flags.is_empty() {
                self.files.note(watch, flags);
            }
        }
    }

    /// Makes the next wait report what is left over.
    fn report_again_if_due(&self) -> Result<(), Errno> {
        if self.files.due.is_empty() {
            return Ok(());
        }
        match rustix::io::write(&self.left_over, &1u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Watches a file's inode for what is wanted, in addition to what other registrations want of it.
    fn watch(&self, file: &OwnedFd, stat: &Stat, wanted: VnodeEvents) -> Result<i32, Failure> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = watch_flags(stat, wanted) | inotify::WatchFlags::MASK_ADD;
        inotify::add_watch(&self.inotify, path, flags).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => Failure::Unsupported("watching a file needs /proc on Linux, so mount it"),
            Errno::NOSPC => Failure::Explained(errno.raw_os_error(), WATCHES),
            Errno::ACCESS => Failure::Explained(
                errno.raw_os_error(),
                "Linux watches an open file only if the process may read it as well (inotify_add_watch(2)), so grant \
                 read permission",
            ),
            errno => errno.into(),
        })
    }

    /// Ends inotify's watch of an inode that no registration needs. Until then it may report more than is wanted.
    fn unwatch(&self, unused: Option<i32>) -> Result<(), Errno> {
        let Some(watch) = unused else { return Ok(()) };
        match inotify::remove_watch(&self.inotify, watch) {
            // The inode is gone, and its watch with it.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl Files {
    /// Enters a registration in place of what is there. Returns a watch that no registration needs any more.
    fn insert(&mut self, number: i32, registration: Registration) -> Option<i32> {
        // This comes first, so that a watch that stays in use does not end.
        self.watches.entry(registration.watch).or_default().push(number);
        let unused = self.remove(number);
        self.registrations.insert(number, registration);
        unused
    }

    /// Ends a registration, if there is one. Returns a watch that no registration needs any more.
    fn remove(&mut self, number: i32) -> Option<i32> {
        let Registration { watch, queued, .. } = self.registrations.remove(&number)?;
        if queued {
            self.due.retain(|&due| due != number);
        }
        let sharing = self.watches.get_mut(&watch)?;
        if let Some(index) = sharing.iter().position(|&shared| shared == number) {
            sharing.swap_remove(index);
        }
        let unused = sharing.is_empty().then_some(watch);
        if unused.is_some() {
            self.watches.remove(&watch);
        }
        unused
    }

    /// Notes what inotify reports for the registrations of one inode.
    fn note(&mut self, watch: i32, flags: inotify::ReadFlags) {
        for &number in self.watches.get(&watch).into_iter().flatten() {
            if let Some(registration) = self.registrations.get_mut(&number) {
                registration.note(flags);
                registration.queue_up(number, &mut self.due);
            }
        }
    }

    /// inotify has lost events, so anything may have happened. An event too many is better than one too few.
    fn note_all(&mut self) {
        for (&number, registration) in &mut self.registrations {
            registration.note(inotify::ReadFlags::MODIFY | inotify::ReadFlags::ATTRIB);
            registration.queue_up(number, &mut self.due);
        }
    }
}

const INSTANCES: &str = "the user has as many queues that watch files as inotify allows, so raise \
    fs.inotify.max_user_instances with sysctl (in a user namespace: user.max_inotify_instances)";
const WATCHES: &str = "the user watches as many files as inotify allows, so raise fs.inotify.max_user_watches with \
    sysctl (in a user namespace: user.max_inotify_watches)";

/// Whether this can be watched of such a file.
fn check(kind: FileType, wanted: VnodeEvents) -> Result<(), Failure> {
    match kind {
        FileType::Fifo | FileType::Socket | FileType::Unknown => Err(Failure::Invalid(
            "a pipe or a socket is not a file, so watch it with Change::add_read or Change::add_write",
        )),
        _ if wanted.contains(VnodeEvents::REVOKE) => {
            Err(Failure::Unsupported("Linux has no revoke, so leave VnodeEvents::REVOKE out"))
        }
        FileType::Directory if wanted.contains(VnodeEvents::DELETE) => Err(Failure::Unsupported(
            "Linux does not report the removal of an open directory, so watch WRITE of its parent",
        )),
        _ => Ok(()),
    }
}

/// inotify's flags for what is wanted.
fn watch_flags(stat: &Stat, wanted: VnodeEvents) -> inotify::WatchFlags {
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
    .fold(Flag::empty(), |flags, (_, flag)| flags | flag)
}

/// Length and number of links, in types that are the same on every architecture.
#[allow(clippy::unnecessary_cast, reason = "their types differ from one architecture to the other")]
fn measures(stat: &Stat) -> (i64, u64) {
    (stat.st_size as i64, stat.st_nlink as u64)
}

#[cfg(test)]
mod tests {
    use crate::{Change, Events, Kqueue, Token, VnodeEvents};
    use std::{collections::HashSet, io::Write, os::fd::AsFd, time::Duration};

    #[test]
    fn no_file_starves_in_a_short_list() {
        let queue = Kqueue::new().unwrap();
        let mut files: Vec<_> = (0..20).map(|_| tempfile::tempfile().unwrap()).collect();
        for (index, file) in files.iter().enumerate() {
            queue.apply(&[Change::add_vnode(file.as_fd(), VnodeEvents::WRITE, Token(index))]).all().unwrap();
        }
        let mut events = Events::with_capacity(4);
        let mut reported = HashSet::new();
        for _ in 0..5 {
            files.iter_mut().for_each(|file| file.write_all(b"more").unwrap());
            queue.wait(&mut events, Some(Duration::ZERO)).unwrap();
            reported.extend(events.iter().map(|event| event.token()));
        }
        assert_eq!(reported.len(), files.len());
    }

    #[test]
    fn a_registration_reports_nothing_from_before_it_was_added() {
        let queue = Kqueue::new().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let (early, late) = (file.try_clone().unwrap(), file.try_clone().unwrap());
        queue.apply(&[Change::add_vnode(early.as_fd(), VnodeEvents::WRITE, Token(1))]).all().unwrap();
        file.write_all(b"more").unwrap();
        queue.apply(&[Change::add_vnode(late.as_fd(), VnodeEvents::WRITE, Token(2))]).all().unwrap();
        let mut events = Events::with_capacity(4);
        queue.wait(&mut events, Some(Duration::ZERO)).unwrap();
        assert_eq!(events.iter().map(|event| event.token()).collect::<Vec<_>>(), [Token(1)]);
    }
}
