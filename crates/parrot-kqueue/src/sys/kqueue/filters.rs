//! Everything that differs between filters: the names of sources, the arguments of an add, and the meaning of events.

use super::{raw::Name, timers};
use crate::{
    Event, Filter, ProcessEvents, Source, Token, VnodeEvents,
    change::{Mode, Wanted},
    event::Flags,
    failure::Failure,
};
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The kernel's name of a source. Wakers have names of their own.
pub(super) fn name(source: Source<'_>) -> Result<Name, Failure> {
    let (ident, filter) = match source {
        Source::Read(descriptor) => (ident(descriptor), EventFilter::EVFILT_READ),
        Source::Write(descriptor) => (ident(descriptor), EventFilter::EVFILT_WRITE),
        Source::Vnode(file) => (ident(file), EventFilter::EVFILT_VNODE),
        Source::Timer(timer) => (timer.0, EventFilter::EVFILT_TIMER),
        Source::Signal(signal) => (signal.number().unsigned_abs() as usize, EventFilter::EVFILT_SIGNAL),
        Source::Process(process) => (process.number() as usize, EventFilter::EVFILT_PROC),
        Source::User(_) => return Err(Failure::Invalid("a waker is added by Kqueue::waker")),
    };
    Ok(Name { ident, filter })
}

/// A valid descriptor is not negative.
fn ident(descriptor: BorrowedFd<'_>) -> usize {
    descriptor.as_raw_fd().unsigned_abs() as usize
}

/// The `fflags` and `data` of an add.
pub(super) fn wanted(wanted: Wanted) -> Result<(FilterFlag, isize), Failure> {
    Ok(match wanted {
        Wanted::Everything => (FilterFlag::empty(), 0),
        Wanted::LowWater(bytes) => (FilterFlag::NOTE_LOWAT, isize::try_from(bytes).unwrap_or(isize::MAX)),
        Wanted::Schedule(schedule) => timers::wanted(schedule)?,
        Wanted::Process(wanted) => {
            let status = if wanted.contains(ProcessEvents::EXIT) { STATUS } else { FilterFlag::empty() };
            (flags(&PROCESS_FLAGS, |event| wanted.contains(event)) | status, 0)
        }
        Wanted::Vnode(wanted) => (flags(&VNODE_FLAGS, |event| wanted.contains(event)), 0),
    })
}

/// The arguments of a registration that has fired.
pub(super) struct Fired {
    /// FreeBSD reports more than this if it happens at the same time.
    pub(super) wanted: FilterFlag,
    pub(super) mode: Mode,
}

/// The event that the kernel reports of anything but Read and Write. `None` if nothing asked for it.
pub(super) fn event(raw: &KEvent, fired: &Fired) -> Option<Event> {
    let token = Token(raw.udata().cast_unsigned());
    let happened = raw.fflags() & fired.wanted;
    match raw.filter().ok()? {
        // macOS counts how often a one-shot timer would have fired by now (filt_timerprocess in XNU
        // bsd/kern/kern_event.c).
        EventFilter::EVFILT_TIMER if fired.mode.contains(Mode::ONE_SHOT) => {
            Some(Event::new(token, Filter::Timer).with_data(1))
        }
        EventFilter::EVFILT_TIMER => Some(Event::new(token, Filter::Timer).with_data(raw.data() as i64)),
        EventFilter::EVFILT_SIGNAL => Some(Event::new(token, Filter::Signal).with_data(raw.data() as i64)),
        EventFilter::EVFILT_PROC => of_process(raw, happened, Event::new(token, Filter::Process)),
        EventFilter::EVFILT_VNODE => {
            let happened = names(&VNODE_FLAGS, happened).fold(VnodeEvents::empty(), |all, event| all | event);
            Some(Event::new(token, Filter::Vnode).with_details(happened.bits()))
        }
        _ => None,
    }
}

/// The event that the kernel reports of Read or Write.
#[inline]
pub(super) fn of_descriptor(raw: &KEvent, filter: Filter) -> Event {
    let mut event = Event::new(Token(raw.udata().cast_unsigned()), filter).with_available(raw.data() as i64);
    if raw.flags().contains(EvFlags::EV_EOF) {
        event.flags |= Flags::EOF;
        // This is the socket's error. An error of a change is in `data`, with EV_ERROR (kqueue(2), EVFILT_READ).
        event.details = raw.fflags().bits();
        if event.details != 0 {
            event.flags |= Flags::ERROR;
        }
    }
    event
}

/// NetBSD reports the exit also to a registration that did not ask for it (knote_proc_exit in sys/kern/kern_event.c).
/// That is no event.
fn of_process(raw: &KEvent, happened: FilterFlag, event: Event) -> Option<Event> {
    let happened = names(&PROCESS_FLAGS, happened).fold(ProcessEvents::empty(), |all, event| all | event);
    let event = event.with_details(happened.bits());
    // Without the status `data` is 0, which would mean success.
    let has_status = happened.contains(ProcessEvents::EXIT) && raw.fflags().contains(STATUS);
    let event = if has_status { event.with_data(raw.data() as i64) } else { event };
    (!happened.is_empty()).then_some(event)
}

/// Darwin reports the status of a process only if it is asked for, and marks the event that has it (filt_procevent in
/// XNU bsd/kern/kern_event.c). The other systems always report it.
#[cfg(target_vendor = "apple")]
pub(super) const STATUS: FilterFlag = FilterFlag::NOTE_EXITSTATUS;
#[cfg(not(target_vendor = "apple"))]
pub(super) const STATUS: FilterFlag = FilterFlag::empty();

/// The events of a process, here and in kqueue.
const PROCESS_FLAGS: [(ProcessEvents, FilterFlag); 3] = [
    (ProcessEvents::EXIT, FilterFlag::NOTE_EXIT),
    (ProcessEvents::FORK, FilterFlag::NOTE_FORK),
    (ProcessEvents::EXEC, FilterFlag::NOTE_EXEC),
];

/// The events of a file, here and in kqueue.
const VNODE_FLAGS: [(VnodeEvents, FilterFlag); 7] = [
    (VnodeEvents::DELETE, FilterFlag::NOTE_DELETE),
    (VnodeEvents::WRITE, FilterFlag::NOTE_WRITE),
    (VnodeEvents::EXTEND, FilterFlag::NOTE_EXTEND),
    (VnodeEvents::ATTRIBUTES, FilterFlag::NOTE_ATTRIB),
    (VnodeEvents::LINK, FilterFlag::NOTE_LINK),
    (VnodeEvents::RENAME, FilterFlag::NOTE_RENAME),
    (VnodeEvents::REVOKE, FilterFlag::NOTE_REVOKE),
];

fn flags<E: Copy>(table: &[(E, FilterFlag)], is_wanted: impl Fn(E) -> bool) -> FilterFlag {
    table.iter().filter(|&&(event, _)| is_wanted(event)).map(|&(_, flag)| flag).collect()
}

fn names<E: Copy>(table: &[(E, FilterFlag)], happened: FilterFlag) -> impl Iterator<Item = E> + '_ {
    table.iter().filter(move |(_, flag)| happened.contains(*flag)).map(|&(event, _)| event)
}
