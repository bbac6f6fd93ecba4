//! Signals: one signalfd per queue.
//!
//! Reading a signalfd consumes the signal, so two queues would divide the posts of one signal between them. A register
//! of the whole process keeps each signal to one queue.

use super::{
    filter::{EmulatedFilter, Held, OnFirstUse},
    mark::Mark,
};
use crate::{Change, Event, Filter, Signal, Source, change::Action, failure::Failure};
use nix::sys::{
    epoll::Epoll,
    signal::SigSet,
    signalfd::{SfdFlags, SignalFd},
};
use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

/// The signals that some queue of this process has, by their numbers.
static TAKEN: AtomicU64 = AtomicU64::new(0);

pub(super) struct Signals {
    descriptor: SignalFd,
    held: Vec<(Signal, Held)>,
}

impl OnFirstUse for Signals {
    fn new(outer: &Epoll) -> Result<Self, Failure> {
        let descriptor = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        outer.add(&descriptor, Mark::shared(Filter::Signal, 0).interest())?;
        Ok(Signals { descriptor, held: Vec::new() })
    }
}

impl EmulatedFilter for Signals {
    fn apply(&mut self, _: &Epoll, change: &Change<'_>) -> Result<(), Failure> {
        let Source::Signal(signal) = change.source else { return Err(Failure::NotFound) };
        match &change.action {
            Action::Add(addition) => self.add(signal, Held::new(addition)),
            Action::Delete => self.delete(signal),
            action => self.set_enabled(signal, matches!(action, Action::Enable)),
        }
    }

    fn collect(&mut self, _: u32, room: usize, list: &mut Vec<Event>) -> io::Result<()> {
        let full = list.len() + room;
        while list.len() < full
            && let Some(posted) = self.descriptor.read_signal()?
        {
            let posted = posted.ssi_signo;
            let Some(index) = self.held.iter().position(|(signal, _)| signal.number().unsigned_abs() == posted) else {
                continue;
            };
            let Some((signal, held)) = self.held.get_mut(index) else { continue };
            list.push(Event::new(held.token, Filter::Signal).with_data(1));
            let signal = *signal;
            if held.is_gone_after_firing() {
                self.delete(signal)?;
            } else if !held.enabled {
                self.update()?;
            }
        }
        Ok(())
    }
}

impl Signals {
    fn add(&mut self, signal: Signal, held: Held) -> Result<(), Failure> {
        if !SigSet::thread_get_mask()?.contains(signal.system()) {
            return Err(Failure::Invalid(
                "on Linux no queue sees an unblocked signal, so block it in this thread with a SignalGuard first",
            ));
        }
        match self.held.iter_mut().find(|(held_signal, _)| *held_signal == signal) {
            Some((_, place)) => *place = held,
            None => {
                if TAKEN.fetch_or(bit(signal), Ordering::Relaxed) & bit(signal) != 0 {
                    return Err(Failure::AlreadyExists(
                        "another queue of this process has the signal, and on Linux only one can",
                    ));
                }
                self.held.push((signal, held));
            }
        }
        self.update()
    }

    fn delete(&mut self, signal: Signal) -> Result<(), Failure> {
        let index = self.held.iter().position(|(held_signal, _)| *held_signal == signal).ok_or(Failure::NotFound)?;
        self.held.swap_remove(index);
        let updated = self.update();
        TAKEN.fetch_and(!bit(signal), Ordering::Relaxed);
        updated
    }

    /// A disabled signal stays pending and is reported when it is enabled.
    fn set_enabled(&mut self, signal: Signal, enabled: bool) -> Result<(), Failure> {
        let (_, held) =
            self.held.iter_mut().find(|(held_signal, _)| *held_signal == signal).ok_or(Failure::NotFound)?;
        held.enabled = enabled;
        self.update()
    }

    /// Sets which signals the signalfd reports.
    fn update(&mut self) -> Result<(), Failure> {
        let mut wanted = SigSet::empty();
        for (signal, _) in self.held.iter().filter(|(_, held)| held.enabled) {
            wanted.add(signal.system());
        }
        Ok(self.descriptor.set_mask(&wanted)?)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (signal, _) in &self.held {
            TAKEN.fetch_and(!bit(*signal), Ordering::Relaxed);
        }
    }
}

fn bit(signal: Signal) -> u64 {
    1 << (signal.number().unsigned_abs() & 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kqueue, Token};

    #[test]
    fn a_signal_that_is_not_blocked_is_refused() {
        let refused = Kqueue::new().unwrap().apply(&[Change::add_signal(Signal::Alarm, Token(1))]).all().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("SignalGuard"), "{refused}");
    }
}
