//! The guard that blocks signals.
//!
//! Neither nix nor rustix has a safe sigpending or sigtimedwait, and sigwait waits. So the guard asks a kqueue of its
//! own whether one of its signals was posted, and if so takes with sigwait what is pending, up to a signal that it has
//! sent to this thread itself: the last that sigwait would take.

use super::nothing;
use crate::Signal;
use nix::sys::{
    event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue},
    pthread::{pthread_kill, pthread_self},
    signal::{self, SigSet, SigmaskHow},
};
use rustix::io::FdFlags;
use std::{fmt, io};

/// sigwait takes the lowest number first, of what is pending for the process before or together with what is pending
/// for the thread (FreeBSD, XNU, OpenBSD and DragonFly kern_sig.c, NetBSD sys_sig.c). No signal of the crate's has a
/// higher number than this.
const LAST: signal::Signal = signal::Signal::SIGUSR2;

const NOW: nix::libc::timespec = nix::libc::timespec { tv_sec: 0, tv_nsec: 0 };

pub(crate) struct Guard {
    signals: SigSet,
    before: SigSet,
    posted: Kqueue,
}

impl Guard {
    pub(crate) fn block(signals: &[Signal]) -> io::Result<Self> {
        let posted = Kqueue::new()?;
        rustix::io::fcntl_setfd(&posted, FdFlags::CLOEXEC)?;
        let signals: SigSet = signals.iter().map(|signal| signal.system()).collect();
        let watch: Vec<_> = signals.iter().map(watch).collect();
        posted.kevent(&watch, &mut [], Some(NOW))?;
        let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Guard { signals, before, posted })
    }

    fn discard_pending(&self) -> nix::Result<()> {
        let mut posted = [nothing(); 32];
        let count = self.posted.kevent(&[], &mut posted, Some(NOW))?;
        if count == 0 {
            return Ok(());
        }
        let mut taken = self.signals;
        taken.add(LAST);
        taken.thread_block()?;
        // Where it is one of the guard's own and was posted, it is pending as it is.
        if !posted.iter().take(count).any(|event| event.ident() == ident(LAST)) {
            pthread_kill(pthread_self(), LAST)?;
        }
        while taken.wait()? != LAST {}
        Ok(())
    }
}

fn ident(signal: signal::Signal) -> usize {
    (signal as i32).unsigned_abs() as usize
}

fn watch(signal: signal::Signal) -> KEvent {
    KEvent::new(ident(signal), EventFilter::EVFILT_SIGNAL, EvFlags::EV_ADD, FilterFlag::empty(), 0, 0)
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Should it fail, what is pending does now what it does without a guard.
        let _ = self.discard_pending();
        let _ = self.before.thread_set_mask();
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.signals.iter()).finish()
    }
}
