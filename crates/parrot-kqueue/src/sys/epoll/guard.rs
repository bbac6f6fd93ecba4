//! The guard that blocks signals.

use crate::{Change, Receipts, Signal, Token, failure::Failure};
use nix::sys::{
    signal::SigSet,
    signalfd::{SfdFlags, SignalFd},
};
use std::{fmt, io};

/// Blocks signals. Dropped, it discards what is pending of them and restores the mask.
pub(crate) struct Guard {
    signals: SigSet,
    before: SigSet,
    /// Reads what is pending, without waiting, when the guard goes. It has only the signals that were not blocked
    /// before. The others are left to the code that blocked them.
    pending: SignalFd,
}

impl Guard {
    pub(crate) fn block(signals: &[Signal]) -> Result<Self, Failure> {
        let signals = SigSet::from_iter(signals.iter().map(|signal| signal.system()));
        let before = SigSet::thread_get_mask()?;
        let own = signals.iter().filter(|&signal| !before.contains(signal)).collect();
        let pending = SignalFd::with_flags(&own, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        signals.thread_block()?;
        Ok(Guard { signals, before, pending })
    }

    /// A signalfd reports what is already pending (signalfd(2)), so adding the signals is enough.
    #[expect(clippy::unused_self, reason = "native kqueue needs it")]
    pub(crate) fn add_to(
        &self,
        signals: &[(Signal, Token)],
        apply: impl Fn(&[Change<'_>]) -> Receipts,
    ) -> io::Result<()> {
        let adds: Vec<_> = signals.iter().map(|&(signal, token)| Change::add_signal(signal, token)).collect();
        apply(&adds).all()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        while let Ok(Some(_)) = self.pending.read_signal() {}
        // This fails only for an unknown way to set the mask.
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
    fn an_inner_guard_leaves_pending_signals_to_the_outer_one() {
        let outer = Guard::block(&[Signal::User1]).unwrap();
        let inner = Guard::block(&[Signal::User1, Signal::User2]).unwrap();
        // To this thread, so that other tests do not see them.
        raise(signal::Signal::SIGUSR1).unwrap();
        raise(signal::Signal::SIGUSR2).unwrap();
        drop(inner);
        let pending = outer.pending.read_signal().unwrap().map(|posted| posted.ssi_signo);
        assert_eq!(pending, Some(signal::Signal::SIGUSR1 as u32));
    }
}
