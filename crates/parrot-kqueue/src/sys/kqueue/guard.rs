//! The guard that blocks signals.
//!
//! Neither nix nor rustix has a safe sigpending or sigtimedwait, and sigwait blocks. So the guard has a kqueue of its
//! own, which reports the signals that were posted, and takes those with sigwait.

#[cfg_attr(not(target_os = "openbsd"), path = "guard/take_all.rs")]
#[cfg_attr(target_os = "openbsd", path = "guard/take_each.rs")]
mod take;

use super::raw::{NOW, kqueue, nothing};
use crate::{Change, Receipts, Signal, Source, Token, failure::Failure};
use nix::{
    sys::{
        event::{EvFlags, EventFilter, FilterFlag, KEvent, Kqueue},
        signal::{self, SigSet, SigmaskHow},
    },
    unistd::Pid,
};
use std::{cell::Cell, fmt, io};

/// The guard's own signal, to find the end of what is pending. The other signals of the crate have lower numbers.
const LAST: signal::Signal = signal::Signal::SIGUSR2;

/// Signals that stop a process unless they are handled.
const STOPS: [signal::Signal; 3] = [signal::Signal::SIGTSTP, signal::Signal::SIGTTIN, signal::Signal::SIGTTOU];

pub(crate) struct Guard {
    signals: SigSet,
    before: SigSet,
    /// The signals that were not blocked before. The others are left to the code that blocked them.
    own: SigSet,
    posted: Kqueue,
    /// The signals of `own` that `posted` has reported, and that may therefore be pending.
    seen: Cell<SigSet>,
}

impl Guard {
    pub(crate) fn block(signals: &[Signal]) -> io::Result<Self> {
        let signals: SigSet = signals.iter().map(|signal| signal.system()).collect();
        if signals.contains(LAST) {
            return Err(Failure::Unsupported("a guard needs the signal User2 for itself, so use User1").into());
        }
        let posted = kqueue()?;
        let watch: Vec<_> = signals.iter().map(watch).collect();
        posted.kevent(&watch, &mut [], Some(NOW))?;
        let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let own = signals.iter().filter(|&signal| !before.contains(signal)).collect();
        Ok(Guard { signals, before, own, posted, seen: Cell::new(SigSet::empty()) })
    }

    /// EVFILT_SIGNAL counts what is posted after it was added and not what is pending (kqueue(2)). So what came before
    /// is posted again, as often as `posted` has counted it. No post is lost and none counts twice.
    pub(crate) fn add_to(
        &self,
        signals: &[(Signal, Token)],
        apply: impl Fn(&[Change<'_>]) -> Receipts,
    ) -> io::Result<()> {
        let adds: Vec<_> = signals.iter().map(|&(signal, token)| Change::add_signal(signal, token)).collect();
        let deletes: Vec<_> = signals.iter().map(|&(signal, _)| Change::delete(Source::Signal(signal))).collect();
        let mut before = self.take_posted()?;
        loop {
            apply(&adds).all()?;
            let meanwhile = self.take_posted()?;
            if meanwhile.is_empty() {
                break;
            }
            // The queue may or may not have counted these. Begin again, with these among what came before.
            apply(&deletes).all()?;
            before.extend(meanwhile);
        }
        for (number, posts) in before {
            let Some((signal, _)) = signals.iter().find(|(signal, _)| ident(signal.system()) == number) else {
                continue;
            };
            for _ in 0..posts {
                signal::kill(Pid::this(), signal.system())?;
            }
        }
        Ok(())
    }

    /// Number and count of each signal that was posted since the last call.
    fn take_posted(&self) -> nix::Result<Vec<(usize, i64)>> {
        let mut events = vec![nothing(); self.signals.iter().count()];
        let reported = self.posted.kevent(&[], &mut events, Some(NOW))?;
        let posts: Vec<_> = events.iter().take(reported).map(|event| (event.ident(), event.data() as i64)).collect();
        let mut seen = self.seen.get();
        seen.extend(self.own.iter().filter(|&signal| posts.iter().any(|&(number, _)| number == ident(signal))));
        self.seen.set(seen);
        Ok(posts)
    }

    fn discard_pending(&self) -> nix::Result<()> {
        self.take_posted()?;
        let seen = self.seen.get();
        if seen.iter().next().is_none() {
            return Ok(());
        }
        if STOPS.into_iter().any(|stop| seen.contains(stop)) {
            // sigwait would stop the process for such a signal (`issignal` in kern_sig.c of FreeBSD, OpenBSD and
            // DragonFly). SIGCONT discards what is pending of them (sigaction(2)).
            signal::kill(Pid::this(), signal::Signal::SIGCONT)?;
        }
        SigSet::from_iter([LAST]).thread_block()?;
        take::pending(self.own, seen, LAST)
    }
}

fn watch(signal: signal::Signal) -> KEvent {
    KEvent::new(ident(signal), EventFilter::EVFILT_SIGNAL, EvFlags::EV_ADD, FilterFlag::empty(), 0, 0)
}

fn ident(signal: signal::Signal) -> usize {
    (signal as i32).unsigned_abs() as usize
}

impl Drop for Guard {
    fn drop(&mut self) {
        // If this fails, pending signals now do what they do without a guard.
        let _ = self.discard_pending();
        let _ = self.before.thread_set_mask();
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.signals.iter()).finish()
    }
}
