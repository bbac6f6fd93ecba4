//! Processes: what to ask for, and what to make of the system's refusals.

use super::change_one;
use crate::{Event, Filter, ProcessEvents, Token, receipts::Failure};
use nix::{
    libc,
    sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue},
};

/// The names of what a process does, here and in kqueue.
pub(super) const FLAGS: [(ProcessEvents, FilterFlag); 3] = [
    (ProcessEvents::EXIT, FilterFlag::NOTE_EXIT),
    (ProcessEvents::FORK, FilterFlag::NOTE_FORK),
    (ProcessEvents::EXEC, FilterFlag::NOTE_EXEC),
];

/// Darwin gives the status only to those who ask for it.
#[cfg(target_vendor = "apple")]
const STATUS: FilterFlag = FilterFlag::NOTE_EXITSTATUS;
#[cfg(not(target_vendor = "apple"))]
const STATUS: FilterFlag = FilterFlag::empty();

pub(super) fn flags(wanted: ProcessEvents) -> FilterFlag {
    let flags: FilterFlag =
        FLAGS.into_iter().filter(|&(event, _)| wanted.contains(event)).map(|(_, flag)| flag).collect();
    if wanted.contains(ProcessEvents::EXIT) { flags | STATUS } else { flags }
}

/// What became of a process that the system refused to watch.
pub(super) enum Answer {
    Watched,
    /// It had ended already; this is the event.
    Ended(Event),
    Failed(i32),
}

/// Looks into why a change failed, if it was to watch a process.
pub(super) fn try_again(kqueue: &Kqueue, change: &KEvent, error: i32) -> Answer {
    if change.filter() != Ok(EventFilter::EVFILT_PROC) || !change.flags().contains(EvFlags::EV_ADD) {
        return Answer::Failed(error);
    }
    match error {
        // A child that has ended can no longer be added on macOS and NetBSD, as on FreeBSD it can
        // (filt_procattach in XNU bsd/kern/kern_event.c and NetBSD sys/kern/kern_event.c).
        libc::ESRCH if change.fflags().contains(FilterFlag::NOTE_EXIT) => {
            let mut event = Event::new(Token(change.udata().cast_unsigned()), Filter::Process);
            event.details = u32::from(ProcessEvents::EXIT.bits());
            match ended(change.ident()) {
                None => Answer::Failed(error),
                Some(None) => Answer::Ended(event),
                Some(Some(status)) => Answer::Ended(event.with_data(i64::from(status))),
            }
        }
        // Darwin tells the status to the parent only, and refuses others who ask (filt_procattach in XNU
        // bsd/kern/kern_event.c).
        libc::EACCES if !STATUS.is_empty() && change.fflags().contains(STATUS) => {
            let flags = change.flags().difference(EvFlags::EV_RECEIPT);
            let fflags = change.fflags().difference(STATUS);
            let again =
                KEvent::new(change.ident(), EventFilter::EVFILT_PROC, flags, fflags, change.data(), change.udata());
            match change_one(kqueue, again) {
                Ok(()) => Answer::Watched,
                Err(Failure::System(error)) => Answer::Failed(error),
                Err(_) => Answer::Failed(error),
            }
        }
        error => Answer::Failed(error),
    }
}

/// How a child ended, in the encoding of wait(2) and where rustix tells, leaving it to be reaped by whoever waits for
/// it. `None` for one that has not ended, and for what is not a child.
#[cfg(not(target_os = "openbsd"))]
fn ended(process: usize) -> Option<Option<i32>> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let process = Pid::from_raw(i32::try_from(process).ok()?)?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(process), options).ok()??;
    #[cfg(not(target_os = "netbsd"))]
    let status = crate::process::encoded(&status);
    #[cfg(target_os = "netbsd")]
    let (_, status) = (status, None);
    Some(status)
}

/// rustix has no waitid there.
#[cfg(target_os = "openbsd")]
fn ended(_: usize) -> Option<Option<i32>> {
    None
}
