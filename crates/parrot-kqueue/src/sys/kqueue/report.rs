//! What `kevent` says, as events.

use super::{
    process,
    submission::{Fired, Submission, VNODE_FLAGS},
    wakers::Wakers,
};
use crate::{Event, Filter, ProcessEvents, Token, VnodeEvents, change::Mode, event::Flags};
use nix::sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue};

/// The event that the kernel reports; `None` for filters that were never asked for.
#[inline]
pub(super) fn event(kqueue: &Kqueue, raw: &KEvent, submission: &mut Submission, wakers: &mut Wakers) -> Option<Event> {
    let token = Token(raw.udata().cast_unsigned());
    match raw.filter().ok()? {
        EventFilter::EVFILT_READ if wakers.owns(raw) => return wakers.fire(kqueue, raw),
        EventFilter::EVFILT_READ => return Some(of_descriptor(raw, Event::new(token, Filter::Read))),
        EventFilter::EVFILT_WRITE => return Some(of_descriptor(raw, Event::new(token, Filter::Write))),
        _ => {}
    }
    let Some(filter) = filter_of(raw) else { return wakers.fire(kqueue, raw) };
    let Fired { wanted, mode } = submission.fired(kqueue, filter, raw);
    let happened = raw.fflags() & wanted;
    match filter {
        Filter::Process => of_process(raw, happened, Event::new(token, filter)),
        Filter::Vnode => Some(of_file(happened, Event::new(token, filter))),
        // macOS counts how often a one-shot timer would have fired since (filt_timerprocess in XNU
        // bsd/kern/kern_event.c).
        Filter::Timer if mode.contains(Mode::ONE_SHOT) => Some(Event::new(token, filter).with_data(1)),
        // How often it happened.
        _ => Some(Event::new(token, filter).with_data(raw.data() as i64)),
    }
}

/// The filter of what is neither a direction of a descriptor nor a waker.
pub(super) fn filter_of(raw: &KEvent) -> Option<Filter> {
    Some(match raw.filter().ok()? {
        EventFilter::EVFILT_TIMER => Filter::Timer,
        EventFilter::EVFILT_SIGNAL => Filter::Signal,
        EventFilter::EVFILT_PROC => Filter::Process,
        EventFilter::EVFILT_VNODE => Filter::Vnode,
        _ => return None,
    })
}

fn of_descriptor(raw: &KEvent, event: Event) -> Event {
    let mut event = event.with_data(raw.data() as i64);
    if raw.flags().contains(EvFlags::EV_EOF) {
        event.flags |= Flags::EOF;
        // The socket's error, not the change's: that would be in `data`, with EV_ERROR (kqueue(2), EVFILT_READ).
        event.details = raw.fflags().bits();
        if event.details != 0 {
            event.flags |= Flags::ERROR;
        }
    }
    event
}

/// NetBSD reports the end also to those who asked for something else (knote_proc_exit in sys/kern/kern_event.c): then
/// there is no event.
fn of_process(raw: &KEvent, happened: FilterFlag, mut event: Event) -> Option<Event> {
    let names = process::FLAGS.into_iter().filter(|&(_, flag)| happened.contains(flag));
    let names = names.fold(ProcessEvents::empty(), |names, (name, _)| names | name);
    event.details = u32::from(names.bits());
    // Darwin says that it gives the status, where it does; else `data` is 0, which would be a success.
    let has_status = names.contains(ProcessEvents::EXIT) && raw.fflags().contains(process::STATUS);
    let event = if has_status { event.with_data(raw.data() as i64) } else { event };
    (!names.is_empty()).then_some(event)
}

fn of_file(happened: FilterFlag, mut event: Event) -> Event {
    let names = VNODE_FLAGS.into_iter().filter(|&(_, flag)| happened.contains(flag));
    event.details = u32::from(names.fold(VnodeEvents::empty(), |names, (name, _)| names | name).bits());
    event
}
