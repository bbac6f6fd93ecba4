//! Changes on their way to the kernel, in one list and one call, with a receipt for each.

use super::{
    super::table::{Direction, Table},
    filters::{self, Fired},
    process,
    raw::{NOW, Name, change_one, nothing},
    timers,
    wakers::Wakers,
};
use crate::{
    Change, Receipts, Schedule, Source, Token,
    change::{Action, Addition, Mode, Wanted},
    failure::Failure,
};
use nix::{
    errno::Errno,
    libc,
    sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue},
};
use std::{collections::HashMap, os::fd::BorrowedFd, time::Instant};

/// The owner of a change that no caller asked for, the delete before an add.
const NOBODY: usize = usize::MAX;

/// Mode of a registration of Read or Write, and whether it has a low-water mark.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Tag {
    mode: Mode,
    has_low_water: bool,
}

/// The arguments of an add, to be repeated when the source is enabled or disabled.
#[derive(Clone, Copy)]
struct Registration {
    token: Token,
    mode: Mode,
    fflags: FilterFlag,
    data: isize,
    /// When a timer of `Schedule::After` fires.
    due: Option<Instant>,
}

impl Registration {
    fn with_token(token: Token) -> Self {
        Registration { token, mode: Mode::empty(), fflags: FilterFlag::empty(), data: 0, due: None }
    }

    fn change(&self, name: Name, flags: EvFlags) -> KEvent {
        KEvent::new(name.ident, name.filter, flags, self.fflags, self.data, self.token.0.cast_signed())
    }

    /// The arguments to repeat for a registration that is there. macOS restarts a timer with every change
    /// (filt_timertouch in XNU bsd/kern/kern_event.c), so one that fires once gets the time that is left.
    fn again(self) -> Self {
        let Some(due) = self.due.filter(|_| cfg!(target_vendor = "apple")) else { return self };
        let (fflags, data) = timers::in_units(due.saturating_duration_since(Instant::now()));
        Registration { fflags, data, ..self }
    }
}

/// The lists are kept from call to call, so that a change allocates nothing.
#[derive(Default)]
pub(super) struct Submission {
    changes: Vec<KEvent>,
    /// For each entry of `changes`, the index of the caller's change.
    owners: Vec<usize>,
    answers: Vec<KEvent>,
    /// Tokens and modes of Read and Write.
    table: Table<Tag>,
    /// Registrations of all other filters, and of Read and Write with a low-water mark. Entries of one-shots go
    /// when they fire. A stale entry costs a delete that finds nothing.
    others: HashMap<Name, Registration>,
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
            Source::User(waker) => {
                let (name, token) = wakers.change(waker, &change.action).ok_or(Failure::NotFound)?;
                (name, Registration::with_token(token))
            }
            source => {
                let name = filters::name(source)?;
                let registration = match source {
                    Source::Read(descriptor) => self.known_descriptor(name, descriptor, Direction::Read),
                    Source::Write(descriptor) => self.known_descriptor(name, descriptor, Direction::Write),
                    _ if verb == EvFlags::EV_DELETE => self.others.remove(&name).ok_or(Failure::NotFound)?,
                    _ => self.others.get(&name).ok_or(Failure::NotFound)?.again(),
                };
                (name, registration)
            }
        };
        self.submit_later(owner, name, verb, registration);
        Ok(())
    }

    fn push_add(&mut self, owner: usize, source: Source<'_>, addition: &Addition) -> Result<(), Failure> {
        let name = filters::name(source)?;
        let (fflags, data) = filters::wanted(addition.wanted)?;
        let due = match addition.wanted {
            Wanted::Schedule(Schedule::After(time)) => Instant::now().checked_add(time),
            _ => None,
        };
        let registration = Registration { token: addition.token, mode: addition.mode, fflags, data, due };
        let (is_there, clear) = match source {
            Source::Read(descriptor) => {
                (self.note_descriptor(name, descriptor, Direction::Read, registration), EvFlags::empty())
            }
            Source::Write(descriptor) => {
                (self.note_descriptor(name, descriptor, Direction::Write, registration), EvFlags::empty())
            }
            _ => (self.others.insert(name, registration).is_some(), EvFlags::EV_CLEAR),
        };
        if is_there {
            self.submit_later(NOBODY, name, EvFlags::EV_DELETE, Registration::with_token(Token(0)));
        }
        self.submit_later(owner, name, add_flags(addition) | clear, registration);
        Ok(())
    }

    /// Remembers a registration of Read or Write. Returns whether what may be there has to be deleted first.
    fn note_descriptor(
        &mut self,
        name: Name,
        descriptor: BorrowedFd<'_>,
        direction: Direction,
        registration: Registration,
    ) -> bool {
        let Registration { token, mode, fflags, .. } = registration;
        let entry = self.table.entry(descriptor, direction);
        let (old, new) = (entry.tag(), Tag { mode, has_low_water: !fflags.is_empty() });
        entry.set(token, new);
        if new.has_low_water {
            self.others.insert(name, registration);
        }
        // A one-shot that was woken is reported whatever happens to it since, so it would outlive its replacement.
        old != new || mode.contains(Mode::ONE_SHOT)
    }

    /// The last registration of a descriptor. Only the kernel knows whether it still exists.
    fn known_descriptor(&mut self, name: Name, descriptor: BorrowedFd<'_>, direction: Direction) -> Registration {
        let (token, tag) = match self.table.existing(descriptor, direction) {
            Some(entry) => (entry.token(), entry.tag()),
            None => Default::default(),
        };
        let low_water = if tag.has_low_water { self.others.get(&name).copied() } else { None };
        low_water.unwrap_or(Registration::with_token(token))
    }

    fn submit_later(&mut self, owner: usize, name: Name, flags: EvFlags, registration: Registration) {
        self.changes.push(registration.change(name, flags | EvFlags::EV_RECEIPT));
        self.owners.push(owner);
    }

    /// Passes the list to the kernel. Every entry asks for a receipt, so the kernel does not wait for events, and an
    /// error of one entry does not end the work on the others (kqueue(2), EV_RECEIPT).
    pub(super) fn submit(&mut self, kqueue: &Kqueue, receipts: &mut Receipts) {
        if self.changes.is_empty() {
            return;
        }
        self.answers.resize(self.changes.len(), nothing());
        let answered = match kqueue.kevent(&self.changes, &mut self.answers, Some(NOW)) {
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
            // Nothing is registered, so there is nothing to repeat.
            if change.flags().contains(EvFlags::EV_ADD)
                && let Some(name) = Name::of(change)
            {
                self.others.remove(&name);
            }
            if error != 0 {
                receipts.fail(owner, failure(change, error));
            }
        }
    }

    /// The arguments of a registration that has fired. Forgets the registration if the event removes it from the
    /// kernel, as for one-shots and processes that have ended.
    pub(super) fn fired(&mut self, kqueue: &Kqueue, raw: &KEvent) -> Fired {
        let unknown = Fired { wanted: FilterFlag::all(), mode: Mode::empty() };
        let Some(name) = Name::of(raw) else { return unknown };
        let Some(&registration) = self.others.get(&name) else { return unknown };
        let Registration { mode, fflags, .. } = registration;
        let ended = name.filter == EventFilter::EVFILT_PROC && raw.flags().contains(EvFlags::EV_EOF);
        if ended || mode.contains(Mode::ONE_SHOT) {
            self.others.remove(&name);
        } else if cfg!(target_os = "netbsd") && mode.contains(Mode::DISPATCH) {
            // NetBSD ignores EV_DISPATCH together with EV_CLEAR, which these filters always have (kqueue_scan in
            // sys/kern/kern_event.c).
            let _ = change_one(kqueue, registration.change(name, EvFlags::EV_DISABLE));
        }
        Fired { wanted: fflags, mode }
    }
}

fn add_flags(addition: &Addition) -> EvFlags {
    // On some systems, adding what is there and disabled would leave it disabled.
    let enabled = if addition.disabled { EvFlags::EV_DISABLE } else { EvFlags::EV_ENABLE };
    let mut flags = EvFlags::EV_ADD | enabled;
    for (mode, flag) in
        [(Mode::EDGE, EvFlags::EV_CLEAR), (Mode::ONE_SHOT, EvFlags::EV_ONESHOT), (Mode::DISPATCH, EvFlags::EV_DISPATCH)]
    {
        if addition.mode.contains(mode) {
            flags |= flag;
        }
    }
    // NetBSD ignores EV_DISPATCH together with EV_CLEAR (kqueue_scan in sys/kern/kern_event.c). Dispatch needs no
    // EV_CLEAR, because enabling looks at the source again.
    if cfg!(target_os = "netbsd") && flags.contains(EvFlags::EV_DISPATCH) {
        flags.remove(EvFlags::EV_CLEAR);
    }
    flags
}

/// The error number of a receipt, 0 if the change was made. FreeBSD and NetBSD set `flags` to EV_ERROR, while macOS
/// adds it to the other flags (FreeBSD sys/kern/kern_event.c, XNU bsd/kern/kern_event.c). So this tests the bit.
fn error_of(answer: &KEvent) -> i32 {
    if answer.flags().contains(EvFlags::EV_ERROR) { i32::try_from(answer.data()).unwrap_or(libc::EIO) } else { 0 }
}

fn failure(change: &KEvent, error: i32) -> Failure {
    match error {
        libc::ENOENT => Failure::NotFound,
        // NetBSD reports this for a pipe without a reader (pipe_kqfilter in sys/kern/sys_pipe.c). The descriptor itself
        // was borrowed, so it is open.
        libc::EBADF if cfg!(target_os = "netbsd") && change.filter() == Ok(EventFilter::EVFILT_WRITE) => {
            Failure::System(libc::EPIPE)
        }
        // This is the limit of timers, which all systems but macOS have.
        libc::ENOMEM if change.filter() == Ok(EventFilter::EVFILT_TIMER) && !cfg!(target_vendor = "apple") => {
            Failure::Explained(error, timers::LIMIT)
        }
        error => Failure::of(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_too_many_names_the_limit() {
        let add = |filter| KEvent::new(1, filter, EvFlags::EV_ADD, FilterFlag::empty(), 1000, 0);
        let timer = std::io::Error::from(failure(&add(EventFilter::EVFILT_TIMER), libc::ENOMEM));
        assert_eq!(timer.to_string().contains("timers in kqueues"), !cfg!(target_vendor = "apple"), "{timer}");
        assert_eq!(timer.kind(), std::io::ErrorKind::OutOfMemory);
        let signal = std::io::Error::from(failure(&add(EventFilter::EVFILT_SIGNAL), libc::ENOMEM));
        assert_eq!(signal.raw_os_error(), Some(libc::ENOMEM));
    }
}
