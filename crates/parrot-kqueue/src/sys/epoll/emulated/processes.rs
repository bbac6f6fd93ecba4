//! Processes: a pidfd each, which becomes readable when the process has ended.

use super::{
    filter::{EmulatedFilter, Held},
    mark::Mark,
};
use crate::{
    Change, Event, Filter, ProcessEvents, ProcessId, Source,
    change::{Action, Addition, Wanted},
    failure::Failure,
};
use nix::sys::epoll::{Epoll, EpollEvent};
use rustix::{
    io::Errno,
    process::{PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid},
};
use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, OwnedFd},
};

/// The processes of one queue, by their numbers.
#[derive(Default)]
pub(super) struct Processes {
    watched: HashMap<u32, Watched>,
}

struct Watched {
    descriptor: OwnedFd,
    held: Held,
}

impl EmulatedFilter for Processes {
    fn apply(&mut self, outer: &Epoll, change: &Change<'_>) -> Result<(), Failure> {
        let Source::Process(process) = change.source else { return Err(Failure::NotFound) };
        match &change.action {
            Action::Add(addition) => self.add(outer, process, addition),
            Action::Delete => self.delete(process),
            action => self.set_enabled(outer, process, matches!(action, Action::Enable)),
        }
    }

    /// A process ends once, so its registration is gone with the event.
    fn collect(&mut self, process: u32, _: usize, list: &mut Vec<Event>) -> io::Result<()> {
        let Some(Watched { descriptor, held }) = self.watched.remove(&process) else { return Ok(()) };
        let event = Event::new(held.token, Filter::Process).with_details(ProcessEvents::EXIT.bits());
        list.push(match wait_status(&descriptor) {
            Some(status) => event.with_data(i64::from(status)),
            None => event,
        });
        Ok(())
    }
}

impl Processes {
    fn add(&mut self, outer: &Epoll, process: ProcessId, addition: &Addition) -> Result<(), Failure> {
        if let Wanted::Process(wanted) = addition.wanted
            && wanted != ProcessEvents::EXIT
        {
            return Err(Failure::Unsupported("Linux reports only the exit of a process, not fork or exec"));
        }
        // Nothing ever reads from a pidfd, so it need not be non-blocking, which would need Linux 5.10.
        let descriptor = pidfd_open(process.pid(), PidfdFlags::empty()).map_err(|errno| match errno {
            Errno::NOSYS => Failure::Unsupported("watching a process needs Linux 5.3 (pidfd_open(2))"),
            errno => errno.into(),
        })?;
        let held = Held::new(addition);
        if held.enabled {
            outer.add(&descriptor, interest(process))?;
        }
        self.watched.insert(process.number(), Watched { descriptor, held });
        Ok(())
    }

    /// Closing the pidfd takes it out of the epoll set.
    fn delete(&mut self, process: ProcessId) -> Result<(), Failure> {
        self.watched.remove(&process.number()).map(drop).ok_or(Failure::NotFound)
    }

    fn set_enabled(&mut self, outer: &Epoll, process: ProcessId, enabled: bool) -> Result<(), Failure> {
        let watched = self.watched.get_mut(&process.number()).ok_or(Failure::NotFound)?;
        match (watched.held.enabled, enabled) {
            (false, true) => {
                outer.add(&watched.descriptor, interest(process))?;
            }
            (true, false) => outer.delete(&watched.descriptor)?,
            _ => {}
        }
        watched.held.enabled = enabled;
        Ok(())
    }
}

fn interest(process: ProcessId) -> EpollEvent {
    Mark::single(Filter::Process, process.number()).interest()
}

/// How a child ended, in the encoding of wait(2). The child stays to be reaped. `None` if the process is not a child,
/// since only the parent gets the status, and on Linux 5.3 (P_PIDFD of waitid(2) needs 5.4).
fn wait_status(process: &OwnedFd) -> Option<i32> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    crate::process::encoded(&waitid(WaitId::PidFd(process.as_fd()), options).ok()??)
}
