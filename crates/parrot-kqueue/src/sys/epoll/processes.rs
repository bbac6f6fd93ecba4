//! Processes: a pidfd each, which becomes readable when the process has ended.

use super::own::{Held, Kind};
use crate::{
    Event, Filter, ProcessEvents, ProcessId,
    change::{Addition, Wanted},
    receipts::Failure,
};
use nix::sys::epoll::Epoll;
use rustix::{
    io::Errno,
    process::{PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid},
};
use std::{
    collections::HashMap,
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

impl Processes {
    pub(super) fn add(&mut self, outer: &Epoll, process: ProcessId, addition: &Addition) -> Result<(), Failure> {
        if let Wanted::Process(wanted) = addition.wanted
            && wanted != ProcessEvents::EXIT
        {
            return Err(Failure::Unsupported("fork and exec: a pidfd reports the exit of a process only"));
        }
        // Nothing ever reads from a pidfd, so it need not be non-blocking, which Linux before 5.10 does not know.
        let descriptor = pidfd_open(process.pid(), PidfdFlags::empty()).map_err(|errno| match errno {
            Errno::NOSYS => Failure::Unsupported("processes: pidfd_open(2) came with Linux 5.3"),
            errno => errno.into(),
        })?;
        let held = Held::new(addition);
        if held.enabled {
            outer.add(&descriptor, Kind::Process.interest(process.number()))?;
        }
        self.watched.insert(process.number(), Watched { descriptor, held });
        Ok(())
    }

    /// Closing the pidfd takes it out of the epoll set.
    pub(super) fn delete(&mut self, process: ProcessId) -> Result<(), Failure> {
        self.watched.remove(&process.number()).map(drop).ok_or(Failure::NotFound)
    }

    pub(super) fn set_enabled(&mut self, outer: &Epoll, process: ProcessId, enabled: bool) -> Result<(), Failure> {
        let watched = self.watched.get_mut(&process.number()).ok_or(Failure::NotFound)?;
        match (watched.held.enabled, enabled) {
            (false, true) => {
                outer.add(&watched.descriptor, Kind::Process.interest(process.number()))?;
            }
            (true, false) => outer.delete(&watched.descriptor)?,
            _ => {}
        }
        watched.held.enabled = enabled;
        Ok(())
    }

    /// A process ends once: its registration is gone with the event.
    pub(super) fn fire(&mut self, process: u32) -> Option<Event> {
        let Watched { descriptor, held } = self.watched.remove(&process)?;
        let mut event = Event::new(held.token, Filter::Process);
        event.details = u32::from(ProcessEvents::EXIT.bits());
        Some(match wait_status(&descriptor) {
            Some(status) => event.with_data(i64::from(status)),
            None => event,
        })
    }
}

/// How a child ended, in the encoding of wait(2), leaving it to be reaped by whoever waits for it. `None` for what is
/// not a child, since the kernel tells a process's status to its parent only, and on Linux 5.3 (P_PIDFD of waitid(2)
/// came with 5.4).
fn wait_status(process: &OwnedFd) -> Option<i32> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    crate::process::encoded(&waitid(WaitId::PidFd(process.as_fd()), options).ok()??)
}
