//! Processes: what to ask for, and what to make of the system's refusals.

use super::change_one;
use crate::{Event, Filter, ProcessEvents, Token, change::Action, receipts::Failure};
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

/// Darwin gives the status only to those who ask for it, and marks the event that has it (filt_procevent in XNU
/// bsd/kern/kern_event.c). The others always give it.
#[cfg(target_vendor = "apple")]
pub(super) const STATUS: FilterFlag = FilterFlag::NOTE_EXITSTATUS;
#[cfg(not(target_vendor = "apple"))]
pub(super) const STATUS: FilterFlag = FilterFlag::empty();

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
        // A child that has ended can no longer be added on macOS, NetBSD and OpenBSD, as on FreeBSD and DragonFly it
        // can (filt_procattach in kern_event.c of each).
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

/// How a child ended that the kernel no longer finds, in the encoding of wait(2) and where rustix tells, leaving it to
/// be reaped by whoever waits for it. `None` for what is not a child.
///
/// It may be about to end: then it can be found by nobody for a moment, and this waits for that moment to pass.
#[cfg(not(target_os = "openbsd"))]
fn ended(process: usize) -> Option<Option<i32>> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let process = Pid::from_raw(i32::try_from(process).ok()?)?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(process), options).ok()??;
    #[cfg(not(target_os = "netbsd"))]
    let status = crate::process::encoded(&status);
    #[cfg(target_os = "netbsd")]
    let (_, status) = (status, None);
    Some(status)
}

/// rustix has no waitid there, but a signal finds also what has ended and was not reaped (`sys_kill` in
/// sys/kern/kern_sig.c).
#[cfg(target_os = "openbsd")]
fn ended(process: usize) -> Option<Option<i32>> {
    let process = nix::unistd::Pid::from_raw(i32::try_from(process).ok()?);
    nix::sys::signal::kill(process, None).ok().map(|()| None)
}

/// Exits that the kernel does not report because the process had ended before it was added. They take changes as the
/// registrations do that they stand for, until they are reported.
#[derive(Default)]
pub(super) struct Exits {
    exits: Vec<Exit>,
}

struct Exit {
    process: usize,
    event: Event,
    disabled: bool,
}

impl Exits {
    /// What became of adding a process that had ended.
    pub(super) fn add(&mut self, change: &KEvent, event: Event) {
        let disabled = change.flags().contains(EvFlags::EV_DISABLE);
        self.exits.push(Exit { process: change.ident(), event, disabled });
    }

    /// Makes a change of an exit that was not reported yet; `false` if there is none, or if it is to be added anew.
    pub(super) fn take_change(&mut self, process: usize, action: &Action) -> bool {
        let mut exits = self.exits.iter_mut().enumerate();
        let Some((index, exit)) = exits.find(|(_, exit)| exit.process == process) else { return false };
        match action {
            Action::Enable => exit.disabled = false,
            Action::Disable => exit.disabled = true,
            Action::Delete | Action::Add(_) => drop(self.exits.swap_remove(index)),
        }
        !matches!(action, Action::Add(_))
    }

    /// Whether there is an exit to report.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.exits.iter().any(|exit| !exit.disabled)
    }

    /// The next exit to report.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Event> {
        let index = self.exits.iter().position(|exit| !exit.disabled)?;
        Some(self.exits.swap_remove(index).event)
    }
}
