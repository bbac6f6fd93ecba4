//! The guard that blocks signals.
//!
//! Neither nix nor rustix has a safe sigpending or sigtimedwait, and sigwait waits. So the guard asks a kqueue of its
//! own whether one of its signals was posted, and if so takes with sigwait what is pending, up to a signal that it has
//! sent to this thread itself: the last that sigwait would take.

use super::nothing;
use crate::{Signal, receipts::Failure};
use nix::sys::{
    event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue},
    pthread::{pthread_kill, pthread_self},
    signal::{self, SigSet, SigmaskHow},
};
use rustix::io::FdFlags;
use std::{fmt, io};

/// sigwait takes the lowest number first, of what is pending for the process before or together with what is pending
/// for the thread (FreeBSD, XNU, OpenBSD and DragonFly kern_sig.c, NetBSD sys_sig.c). No other signal
/// of the crate's has a number as high as this.
const LAST: signal::Signal = signal::Signal::SIGUSR2;

const NOW: nix::libc::timespec = nix::libc::timespec { tv_sec: 0, tv_nsec: 0 };

pub(crate) struct Guard {
    signals: SigSet,
    before: SigSet,
    posted: Kqueue,
}

impl Guard {
    pub(crate) fn block(signals: &[Signal]) -> io::Result<Self> {
        let signals: SigSet = signals.iter().map(|signal| signal.system()).collect();
        if signals.contains(LAST) {
            return Err(Failure::Unsupported(
                "a guard of User2: the guard itself needs it to find the end of what is pending; use User1",
            )
            .into());
        }
        let posted = Kqueue::new()?;
        rustix::io::fcntl_setfd(&posted, FdFlags::CLOEXEC)?;
        let watch: Vec<_> = signals.iter().map(watch).collect();
        posted.kevent(&watch, &mut [], Some(NOW))?;
        let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Guard { signals, before, posted })
    }

    fn discard_pending(&self) -> nix::Result<()> {
        if self.posted.kevent(&[], &mut [nothing()], Some(NOW))? == 0 {
            return Ok(());
        }
        let mut taken = self.signals;
        taken.add(LAST);
        taken.thread_block()?;
        pthread_kill(pthread_self(), LAST)?;
        while taken.wait()? != LAST {}
        Ok(())
    }
}

fn watch(signal: signal::Signal) -> KEvent {
    let ident = (signal as i32).unsigned_abs() as usize;
    KEvent::new(ident, EventFilter::EVFILT_SIGNAL, EvFlags::EV_ADD, FilterFlag::empty(), 0, 0)
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
