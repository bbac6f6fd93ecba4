//! Changes on their way to the kernel: one list, one call, an answer for each.

use super::{change_one, nothing, process, report, timers, wakers::Wakers};
use crate::{
    Change, Filter, Receipts, Schedule, Source, Token, VnodeEvents,
    change::{Action, Addition, Mode, Wanted},
    receipts::Failure,
    table::{Direction, Table, Tag},
};
use nix::{
    errno::Errno,
    libc,
    sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue},
};
use std::{
    collections::HashMap,
    os::fd::{AsRawFd, BorrowedFd},
    time::Instant,
};

/// The owner of a change that no caller asked for: the delete before an add. Its answer is nobody's.
const NOBODY: usize = usize::MAX;

/// What names a registration to the kernel.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub(super) ident: usize,
    pub(super) filter: EventFilter,
}

/// What was wanted of a source, to be said again when it is enabled or disabled.
#[derive(Clone, Copy)]
struct Registration {
    token: Token,
    mode: Mode,
    fflags: FilterFlag,
    data: isize,
    /// When a timer that fires once, and goes by no wall clock, will.
    due: Option<Instant>,
}

impl Registration {
    fn with_token(token: Token) -> Self {
        Registration { token, mode: Mode::empty(), fflags: FilterFlag::empty(), data: 0, due: None }
    }

    fn change(&self, name: Name, flags: EvFlags) -> KEvent {
        KEvent::new(name.ident, name.filter, flags, self.fflags, self.data, self.token.0.cast_signed())
    }

    /// As it is to be said again of a registration that is there. macOS starts a timer anew with every change of it
    /// (filt_timertouch in XNU bsd/kern/kern_event.c), so one that fires once is given the time that is left.
    fn again(self) -> Self {
        let Some(due) = self.due.filter(|_| cfg!(target_vendor = "apple")) else { return self };
        let (fflags, data) = timers::in_units(due.saturating_duration_since(Instant::now()));
        Registration { fflags, data, ..self }
    }
}

/// What was said of a registration that has fired.
pub(super) struct Fired {
    /// FreeBSD reports what comes along with it as well.
    pub(super) wanted: FilterFlag,
    pub(super) mode: Mode,
}

/// The lists are kept from call to call, so that a change allocates nothing.
#[derive(Default)]
pub(super) struct Submission {
    changes: Vec<KEvent>,
    /// For each entry of `changes`, whose change it is.
    owners: Vec<usize>,
    answers: Vec<KEvent>,
    /// Tokens and modes of Read and Write.
    table: Table,
    /// What is registered besides Read and Write, and the low-water marks of those. Entries of one-shots go when they
    /// fire; an entry too many costs a delete that finds nothing.
    others: HashMap<(Filter, usize), Registration>,
    /// Children that had ended before they were added.
    pub(super) exits: process::Exits,
}

impl Submission {
    pub(super) fn clear(&mut self) {
        self.changes.clear();
        self.owners.clear();
    }

    /// Adds a change to the list.
    pub(super) fn push(&mut self, owner: usize, change: &Change<'_>, wakers: &mut Wakers) -> Result<(), Failure> {
        if let Source::Process(process) = change.source
            && self.exits.take_change(process.number() as usize, &change.action)
        {
            return Ok(());
        }
        let verb = match &change.action {
            Action::Add(addition) => return self.push_add(owner, change.source, addition),
            Action::Delete => EvFlags::EV_DELETE,
            Action::Enable => EvFlags::EV_ENABLE,
            Action::Disable => EvFlags::EV_DISABLE,
        };
        let (name, registration) = match change.source {
            Source::Read(descriptor) => self.known_descriptor(descriptor, Direction::Read),
            Source::Write(descriptor) => self.known_descriptor(descriptor, Direction::Write),
            Source::User(waker) => {
                let (name, token) = waker.waker.registration(wakers)?;
                wakers.note(&waker.waker, &change.action);
                (name, Registration::with_token(token))
            }
            source => {
                let (filter, name) = identify(source)?;
                (name, self.others.get(&(filter, name.ident)).ok_or(Failure::NotFound)?.again())
            }
        };
        if verb == EvFlags::EV_DELETE
            && let Ok((filter, name)) = identify(change.source)
        {
            self.others.remove(&(filter, name.ident));
        }
        self.submit_later(owner, name, verb, registration);
        Ok(())
    }

    fn push_add(&mut self, owner: usize, source: Source<'_>, addition: &Addition) -> Result<(), Failure> {
        match source {
            Source::Read(descriptor) => self.add_descriptor(owner, descriptor, Direction::Read, addition),
            Source::Write(descriptor) => self.add_descriptor(owner, descriptor, Direction::Write, addition),
            source => {
                let (filter, name) = identify(source)?;
                let (fflags, data) = wanted(addition)?;
                let due = match addition.wanted {
                    Wanted::Schedule(Schedule::After(time)) => Instant::now().checked_add(time),
                    _ => None,
                };
                let registration = Registration { token: addition.token, mode: addition.mode, fflags, data, due };
                if self.others.insert((filter, name.ident), registration).is_some() {
                    self.submit_later(NOBODY, name, EvFlags::EV_DELETE, Registration::with_token(Token(0)));
                }
                self.submit_later(owner, name, add_flags(addition) | EvFlags::EV_CLEAR, registration);
            }
        }
        Ok(())
    }

    fn add_descriptor(&mut self, owner: usize, descriptor: BorrowedFd<'_>, direction: Direction, addition: &Addition) {
        let (filter, name) = direction_of(descriptor, direction);
        let (fflags, data) = match addition.wanted {
            Wanted::LowWater(bytes) => (FilterFlag::NOTE_LOWAT, isize::try_from(bytes).unwrap_or(isize::MAX)),
            _ => (FilterFlag::empty(), 0),
        };
        let registration = Registration { token: addition.token, mode: addition.mode, fflags, data, due: None };
        let entry = self.table.entry(descriptor);
        let (old, new) = (entry.tag(direction), Tag::new(addition.mode, !fflags.is_empty()));
        entry.set(direction, addition.token, new);
        if new.has_low_water() {
            self.others.insert((filter, name.ident), registration);
        }
        // A one-shot that was woken is reported whatever has become of it since, so that would outlive being replaced.
        if old != new || addition.mode.contains(Mode::ONE_SHOT) {
            self.submit_later(NOBODY, name, EvFlags::EV_DELETE, Registration::with_token(Token(0)));
        }
        self.submit_later(owner, name, add_flags(addition), registration);
    }

    /// What was last registered of a descriptor; whether it still is, the kernel knows.
    fn known_descriptor(&mut self, descriptor: BorrowedFd<'_>, direction: Direction) -> (Name, Registration) {
        let (filter, name) = direction_of(descriptor, direction);
        let (token, tag) = match self.table.existing(descriptor) {
            Some(entry) => (entry.token(direction), entry.tag(direction)),
            None => Default::default(),
        };
        let low_water = if tag.has_low_water() { self.others.get(&(filter, name.ident)).copied() } else { None };
        (name, low_water.unwrap_or(Registration::with_token(token)))
    }

    fn submit_later(&mut self, owner: usize, name: Name, flags: EvFlags, registration: Registration) {
        self.changes.push(registration.change(name, flags | EvFlags::EV_RECEIPT));
        self.owners.push(owner);
    }

    /// Hands the list to the kernel. Every entry asks for a receipt, so the kernel waits for no event and an error of
    /// one entry does not end the work on the others (kqueue(2), EV_RECEIPT).
    pub(super) fn submit(&mut self, kqueue: &Kqueue, receipts: &mut Receipts) {
        if self.changes.is_empty() {
            return;
        }
        self.answers.resize(self.changes.len(), nothing());
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let answered = match kqueue.kevent(&self.changes, &mut self.answers, Some(now)) {
            Ok(answered) => answered,
            // Interrupted after the changes were made (kqueue(2), EINTR). They are not made again.
            Err(Errno::EINTR) => return,
            Err(errno) => {
                for &owner in self.owners.iter().filter(|&&owner| owner != NOBODY) {
                    receipts.fail(owner, errno.into());
                }
                return;
            }
        };
        let answers = self.answers.iter().take(answered).map(error_of).chain(std::iter::repeat(libc::EIO));
        for ((&owner, change), error) in self.owners.iter().zip(&self.changes).zip(answers) {
            if owner == NOBODY || error == 0 {
                continue;
            }
            let error = match process::try_again(kqueue, change, error) {
                process::Answer::Watched => continue,
                process::Answer::Ended(event) => {
                    self.exits.add(change, event);
                    0
                }
                process::Answer::Failed(error) => error,
            };
            // Nothing is registered, so there is nothing to be said again.
            if change.flags().contains(EvFlags::EV_ADD)
                && let Some(filter) = report::filter_of(change)
            {
                self.others.remove(&(filter, change.ident()));
            }
            if error != 0 {
                receipts.fail(owner, failure(change, error));
            }
        }
    }

    /// What was said of a registration that has fired. Forgets the registration if it is gone from the kernel with its
    /// event, as one-shots are and what has ended.
    pub(super) fn fired(&mut self, kqueue: &Kqueue, filter: Filter, raw: &KEvent) -> Fired {
        let key = (filter, raw.ident());
        let Some(&registration) = self.others.get(&key) else {
            return Fired { wanted: FilterFlag::all(), mode: Mode::empty() };
        };
        let Registration { mode, fflags, .. } = registration;
        let ended = filter == Filter::Process && raw.flags().contains(EvFlags::EV_EOF);
        if ended || mode.contains(Mode::ONE_SHOT) {
            self.others.remove(&key);
        } else if cfg!(target_os = "netbsd") && mode.contains(Mode::DISPATCH) {
            // NetBSD looks for EV_DISPATCH only where there is no EV_CLEAR, which these filters always have
            // (kqueue_scan in sys/kern/kern_event.c).
            let _ = raw.filter().map(|filter| {
                let name = Name { ident: raw.ident(), filter };
                change_one(kqueue, registration.change(name, EvFlags::EV_DISABLE))
            });
        }
        Fired { wanted: fflags, mode }
    }
}

/// What names a source that is neither a direction of a descriptor nor a waker.
fn identify(source: Source<'_>) -> Result<(Filter, Name), Failure> {
    let (filter, ident, system) = match source {
        Source::Timer(timer) => (Filter::Timer, timer.0, EventFilter::EVFILT_TIMER),
        Source::Signal(signal) => (Filter::Signal, signal.number().unsigned_abs() as usize, EventFilter::EVFILT_SIGNAL),
        Source::Process(process) => (Filter::Process, process.number() as usize, EventFilter::EVFILT_PROC),
        Source::Vnode(file) => (Filter::Vnode, ident(file), EventFilter::EVFILT_VNODE),
        Source::Read(_) | Source::Write(_) => return Err(Failure::NotFound),
        Source::User(_) => return Err(Failure::Invalid("a waker is added by Kqueue::waker")),
    };
    Ok((filter, Name { ident, filter: system }))
}

fn direction_of(descriptor: BorrowedFd<'_>, direction: Direction) -> (Filter, Name) {
    let (filter, system) = match direction {
        Direction::Read => (Filter::Read, EventFilter::EVFILT_READ),
        Direction::Write => (Filter::Write, EventFilter::EVFILT_WRITE),
    };
    (filter, Name { ident: ident(descriptor), filter: system })
}

/// A valid descriptor is not negative.
fn ident(descriptor: BorrowedFd<'_>) -> usize {
    descriptor.as_raw_fd().unsigned_abs() as usize
}

fn add_flags(addition: &Addition) -> EvFlags {
    // Adding what is there and disabled would leave it disabled on some systems.
    let enabled = if addition.disabled { EvFlags::EV_DISABLE } else { EvFlags::EV_ENABLE };
    let mut flags = EvFlags::EV_ADD | enabled;
    for (mode, flag) in
        [(Mode::EDGE, EvFlags::EV_CLEAR), (Mode::ONE_SHOT, EvFlags::EV_ONESHOT), (Mode::DISPATCH, EvFlags::EV_DISPATCH)]
    {
        if addition.mode.contains(mode) {
            flags |= flag;
        }
    }
    // NetBSD looks for EV_DISPATCH only where there is no EV_CLEAR (kqueue_scan in sys/kern/kern_event.c). What is
    // disabled until it is enabled, and then looked at again, is edge-triggered anyway.
    if cfg!(target_os = "netbsd") && flags.contains(EvFlags::EV_DISPATCH) {
        flags.remove(EvFlags::EV_CLEAR);
    }
    flags
}

/// What an add says in `fflags` and `data`.
fn wanted(addition: &Addition) -> Result<(FilterFlag, isize), Failure> {
    match addition.wanted {
        Wanted::Everything | Wanted::LowWater(_) => Ok((FilterFlag::empty(), 0)),
        Wanted::Schedule(schedule) => timers::wanted(schedule),
        Wanted::Process(wanted) => Ok((process::flags(wanted), 0)),
        Wanted::Vnode(wanted) => Ok((vnode_flags(wanted), 0)),
    }
}

/// The names of what happens to a file, here and in kqueue.
pub(super) const VNODE_FLAGS: [(VnodeEvents, FilterFlag); 7] = [
    (VnodeEvents::DELETE, FilterFlag::NOTE_DELETE),
    (VnodeEvents::WRITE, FilterFlag::NOTE_WRITE),
    (VnodeEvents::EXTEND, FilterFlag::NOTE_EXTEND),
    (VnodeEvents::ATTRIBUTES, FilterFlag::NOTE_ATTRIB),
    (VnodeEvents::LINK, FilterFlag::NOTE_LINK),
    (VnodeEvents::RENAME, FilterFlag::NOTE_RENAME),
    (VnodeEvents::REVOKE, FilterFlag::NOTE_REVOKE),
];

fn vnode_flags(wanted: VnodeEvents) -> FilterFlag {
    VNODE_FLAGS.into_iter().filter(|&(event, _)| wanted.contains(event)).map(|(_, flag)| flag).collect()
}

/// The error number of a receipt, 0 if the change was made. FreeBSD and NetBSD set `flags` to EV_ERROR and macOS adds
/// it to the others: test the bit. (FreeBSD sys/kern/kern_event.c, XNU bsd/kern/kern_event.c)
fn error_of(answer: &KEvent) -> i32 {
    if answer.flags().contains(EvFlags::EV_ERROR) { i32::try_from(answer.data()).unwrap_or(libc::EIO) } else { 0 }
}

fn failure(change: &KEvent, error: i32) -> Failure {
    match error {
        libc::ENOENT => Failure::NotFound,
        // NetBSD has no better word for a pipe that nobody reads (pipe_kqfilter in sys/kern/sys_pipe.c); the descriptor
        // itself was borrowed and is open.
        libc::EBADF if cfg!(target_os = "netbsd") && change.filter() == Ok(EventFilter::EVFILT_WRITE) => {
            Failure::System(libc::EPIPE)
        }
        error => Failure::System(error),
    }
}
