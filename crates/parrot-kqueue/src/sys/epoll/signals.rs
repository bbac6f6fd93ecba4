//! Signals: one signalfd a queue, and the guard that blocks them.
//!
//! A signalfd takes a signal away from whoever reads it later, so two queues would share one out between them. A
//! register of the whole process keeps each signal to one queue.

use super::own::{Held, Kind};
use crate::{Change, Event, Filter, Kqueue, Signal, Token, receipts::Failure};
use nix::sys::{
    epoll::Epoll,
    signal::SigSet,
    signalfd::{SfdFlags, SignalFd},
};
use std::{
    fmt, io,
    sync::atomic::{AtomicU64, Ordering},
};

/// The signals that some queue of this process has, by their numbers.
static TAKEN: AtomicU64 = AtomicU64::new(0);

pub(super) struct Signals {
    descriptor: SignalFd,
    held: Vec<(Signal, Held)>,
}

impl Signals {
    pub(super) fn new(outer: &Epoll) -> Result<Self, Failure> {
        let descriptor = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        outer.add(&descriptor, Kind::Signals.interest(0))?;
        Ok(Signals { descriptor, held: Vec::new() })
    }

    pub(super) fn add(&mut self, signal: Signal, held: Held) -> Result<(), Failure> {
        if !SigSet::thread_get_mask()?.contains(signal.system()) {
            return Err(Failure::Invalid(
                "the signal is not blocked in this thread, so on Linux no queue would ever see it: block it with a \
                 SignalGuard first",
            ));
        }
        match self.held.iter_mut().find(|(held_signal, _)| *held_signal == signal) {
            Some((_, place)) => *place = held,
            None => {
                if TAKEN.fetch_or(bit(signal), Ordering::Relaxed) & bit(signal) != 0 {
                    return Err(Failure::AlreadyExists(
                        "another queue of this process has the signal: on Linux it can be delivered to one only",
                    ));
                }
                self.held.push((signal, held));
            }
        }
        self.update()
    }

    pub(super) fn delete(&mut self, signal: Signal) -> Result<(), Failure> {
        let index = self.held.iter().position(|(held_signal, _)| *held_signal == signal).ok_or(Failure::NotFound)?;
        self.held.swap_remove(index);
        let updated = self.update();
        TAKEN.fetch_and(!bit(signal), Ordering::Relaxed);
        updated
    }

    /// A disabled signal stays pending and is reported when it is enabled.
    pub(super) fn set_enabled(&mut self, signal: Signal, enabled: bool) -> Result<(), Failure> {
        let (_, held) =
            self.held.iter_mut().find(|(held_signal, _)| *held_signal == signal).ok_or(Failure::NotFound)?;
        held.enabled = enabled;
        self.update()
    }

    pub(super) fn collect(&mut self, room: usize, list: &mut Vec<Event>) -> io::Result<()> {
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

    /// Tells the signalfd which signals it is to report.
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

/// Blocks signals; dropped, it discards what is pending of them and restores the mask.
pub(crate) struct Guard {
    signals: SigSet,
    before: SigSet,
    /// Reads what is pending, without waiting, when the guard goes: of the signals that were not blocked before it,
    /// because others belong to whoever blocked them.
    pending: SignalFd,
}

impl Guard {
    pub(crate) fn block(signals: &[Signal]) -> io::Result<Self> {
        let signals = SigSet::from_iter(signals.iter().map(|signal| signal.system()));
        let before = SigSet::thread_get_mask()?;
        let own = signals.iter().filter(|&signal| !before.contains(signal)).collect();
        let pending = SignalFd::with_flags(&own, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        signals.thread_block()?;
        Ok(Guard { signals, before, pending })
    }

    /// A signalfd reports what is pending already: signalfd(2).
    #[expect(clippy::unused_self, reason = "native kqueue needs it")]
    pub(crate) fn add_to(&self, queue: &Kqueue, signals: &[(Signal, Token)]) -> io::Result<()> {
        let adds: Vec<_> = signals.iter().map(|&(signal, token)| Change::add_signal(signal, token)).collect();
        queue.apply(&adds).all()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        while let Ok(Some(_)) = self.pending.read_signal() {}
        // Fails only for an unknown way of setting it.
        let _ = self.before.thread_set_mask();
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.signals.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{self, raise};

    #[test]
    fn an_inner_guard_leaves_to_the_outer_one_what_is_pending_for_it() {
        let outer = Guard::block(&[Signal::User1]).unwrap();
        let inner = Guard::block(&[Signal::User1, Signal::User2]).unwrap();
        // To this thread, so that other tests do not see them.
        raise(signal::Signal::SIGUSR1).unwrap();
        raise(signal::Signal::SIGUSR2).unwrap();
        drop(inner);
        let pending = outer.pending.read_signal().unwrap().map(|posted| posted.ssi_signo);
        assert_eq!(pending, Some(signal::Signal::SIGUSR1 as u32));
    }

    #[test]
    fn a_signal_that_is_not_blocked_is_refused() {
        let refused = Kqueue::new().unwrap().apply(&[Change::add_signal(Signal::Alarm, Token(1))]).all().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("SignalGuard"), "{refused}");
    }
}
