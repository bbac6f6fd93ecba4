//! Processes that the system refuses to watch.

use super::{filters::STATUS, raw::change_one};
use crate::{Event, Filter, ProcessEvents, Token, change::Action, failure::Failure};
use nix::{
    libc,
    sys::event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue},
};

/// The reason of a refusal.
pub(super) enum Answer {
    Watched,
    /// The process had already ended, and this is the event.
    Ended(Event),
    Failed(i32),
}

/// Finds out why a change failed, if it was to watch a process.
pub(super) fn try_again(kqueue: &Kqueue, change: &KEvent, error: i32) -> Answer {
    if change.filter() != Ok(EventFilter::EVFILT_PROC) || !change.flags().contains(EvFlags::EV_ADD) {
        return Answer::Failed(error);
    }
    match error {
        // macOS, NetBSD and OpenBSD refuse a child that has ended. FreeBSD and DragonFly accept it (filt_procattach in
        // kern_event.c of each).
        libc::ESRCH if change.fflags().contains(FilterFlag::NOTE_EXIT) => {
            let token = Token(change.udata().cast_unsigned());
            let event = Event::new(token, Filter::Process).with_details(ProcessEvents::EXIT.bits());
            match find(change.ident()) {
                Found::Nothing => Answer::Failed(error),
                Found::Ended => Answer::Ended(event),
                Found::EndedWith(status) => Answer::Ended(event.with_data(i64::from(status))),
            }
        }
        // Darwin reports the status to the parent only, and refuses to watch for another process that asks for it
        // (filt_procattach in XNU bsd/kern/kern_event.c).
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

/// The remains of a process that the kernel no longer finds.
enum Found {
    Nothing,
    /// A child that has ended, without a status.
    Ended,
    /// A child that has ended, with its status in the encoding of wait(2).
    #[cfg_attr(
        any(target_os = "netbsd", target_os = "openbsd"),
        expect(dead_code, reason = "rustix has no status there")
    )]
    EndedWith(i32),
}

/// Looks for a child that has ended, and leaves it to be reaped.
///
/// There is a moment in which a child that ends cannot be found in any way. This waits for that moment to pass.
#[cfg(not(target_os = "openbsd"))]
fn find(process: usize) -> Found {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) else { return Found::Nothing };
    match waitid(WaitId::Pid(process), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
        #[cfg(not(target_os = "netbsd"))]
        Ok(Some(status)) => crate::process::encoded(&status).map_or(Found::Ended, Found::EndedWith),
        #[cfg(target_os = "netbsd")]
        Ok(Some(_)) => Found::Ended,
        _ => Found::Nothing,
    }
}

/// rustix has no waitid there, but a signal also finds a child that has ended and was not reaped (`sys_kill` in
/// sys/kern/kern_sig.c).
#[cfg(target_os = "openbsd")]
fn find(process: usize) -> Found {
    let Ok(process) = i32::try_from(process) else { return Found::Nothing };
    match nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), None) {
        Ok(()) => Found::Ended,
        Err(_) => Found::Nothing,
    }
}

/// Exits that the kernel does not report because the process had ended before it was added. Until an exit is reported,
/// it takes changes like the registration that it stands for.
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
    /// Adds the exit of a process that ended before it was added by this change.
    pub(super) fn add(&mut self, change: &KEvent, event: Event) {
        let disabled = change.flags().contains(EvFlags::EV_DISABLE);
        self.exits.push(Exit { process: change.ident(), event, disabled });
    }

    /// Makes a change to an exit that was not reported yet. `false` if there is none, or if the process is added again.
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
