//! The guard that blocks signals so that a queue can take them.

use crate::{Kqueue, Signal, Token, sys};
use std::{fmt, io, marker::PhantomData};

/// Blocks signals in this thread and in those it starts, for as long as it lives.
///
/// A queue reports a signal in addition to what the signal does anyway, so a signal that would end the process has to
/// be blocked. Make the guard first thing in `main`, before anything has started a thread, because only the threads
/// that a thread starts later inherit its mask. Programs that are started meanwhile inherit it as well. The guard
/// cannot be sent to another thread, because it restores the mask of the one that made it.
///
/// When the guard is dropped, it restores the mask. It also discards pending signals, except those that were blocked
/// before. They are left to the code that blocked them, such as a guard that lives longer. A program that is about to
/// exit can forget the guard instead.
///
/// On the kqueue systems, a guard with a signal that was posted sends SIGUSR2 to its own thread to find the end of the
/// pending ones. There a program must not ignore SIGUSR2, and a guard of it is `Unsupported`.
///
/// ```
/// use parrot_kqueue::{Kqueue, Signal, SignalGuard, Token};
///
/// let guard = SignalGuard::block(&[Signal::Terminate, Signal::Interrupt])?;
/// let queue = Kqueue::new()?;
/// guard.add_to(&queue, &[(Signal::Terminate, Token(0)), (Signal::Interrupt, Token(0))])?;
/// // The loop of the program runs here until the first event of Token(0).
/// drop(guard);
/// # std::io::Result::Ok(())
/// ```
#[must_use = "the signals are unblocked when the guard is dropped"]
pub struct SignalGuard {
    guard: sys::Guard,
    /// The mask belongs to a thread, so the guard must stay on it.
    thread: PhantomData<*const ()>,
}

impl SignalGuard {
    /// Blocks these signals.
    ///
    /// # Errors
    ///
    /// `Unsupported` for [`Signal::User2`] on the kqueue systems, and on NetBSD before 10. Otherwise the system's own
    /// error, in practice `EMFILE` when descriptors have run out, of which the guard needs one.
    pub fn block(signals: &[Signal]) -> io::Result<SignalGuard> {
        Ok(SignalGuard { guard: sys::Guard::block(signals)?, thread: PhantomData })
    }

    /// Adds these signals to the queue, which also reports those that were posted since the guard blocked them.
    ///
    /// On the kqueue systems, [`Change::add_signal`](crate::Change::add_signal) reports only what is posted from then
    /// on. A signal that arrives while the program reads its configuration or opens files, after the guard was made and
    /// before the queue watches, would be blocked and never seen. With this call it is reported, as often as it was
    /// posted. The kqueue systems post it again for that, so another queue that has already reported it does so again.
    ///
    /// # Errors
    ///
    /// As for [`Change::add_signal`](crate::Change::add_signal).
    pub fn add_to(&self, queue: &Kqueue, signals: &[(Signal, Token)]) -> io::Result<()> {
        self.guard.add_to(signals, |changes| queue.apply(changes))
    }
}

impl fmt::Debug for SignalGuard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SignalGuard").field("guard", &self.guard).finish()
    }
}
