//! The guard that blocks signals so that a queue can take them.

use crate::{Kqueue, Signal, Token, sys};
use std::{fmt, io, marker::PhantomData};

/// Blocks signals in this thread and in those it starts, for as long as it lives.
///
/// A queue reports signals besides what they do otherwise, so a signal that would end the process has to be blocked.
/// The mask of a thread is inherited by the threads it starts and by no others: take the guard first thing in `main`,
/// before anything has started a thread. It cannot be sent to another thread because it restores the mask of the one
/// that made it. Programs that are started meanwhile inherit the mask as well.
///
/// Dropped, it restores the mask as it was, and discards what is pending of those of its signals that were not blocked
/// before it; the others are left to whoever blocked them, such as a guard that lives longer. A program that is about
/// to exit anyway may as well forget the guard and end.
///
/// On the kqueue systems it finds the end of what is pending by sending SIGUSR2 to its own thread, only if one of its
/// signals was posted: there a program must not ignore SIGUSR2, and a guard of it is `Unsupported`.
///
/// ```
/// use parrot_kqueue::{Kqueue, Signal, SignalGuard, Token};
///
/// let guard = SignalGuard::block(&[Signal::Terminate, Signal::Interrupt])?;
/// let queue = Kqueue::new()?;
/// guard.add_to(&queue, &[(Signal::Terminate, Token(0)), (Signal::Interrupt, Token(0))])?;
/// // The loop of the program runs here, and ends with the first event of Token(0).
/// drop(guard);
/// # std::io::Result::Ok(())
/// ```
#[must_use = "the signals are unblocked when the guard is dropped"]
pub struct SignalGuard {
    guard: sys::Guard,
    /// The mask belongs to a thread, so the guard must stay on its own.
    thread: PhantomData<*const ()>,
}

impl SignalGuard {
    /// Blocks these signals.
    ///
    /// # Errors
    ///
    /// What the system answers: in practice `EMFILE` or `ENFILE` when it is out of descriptors, of which the guard
    /// needs one. `Unsupported` for [`Signal::User2`] on the kqueue systems.
    pub fn block(signals: &[Signal]) -> io::Result<SignalGuard> {
        Ok(SignalGuard { guard: sys::Guard::block(signals)?, thread: PhantomData })
    }

    /// Has the queue report these signals, also those that were posted since the guard blocked them.
    ///
    /// [`Change::add_signal`](crate::Change::add_signal) reports on the kqueue systems what is posted from then on.
    /// Whatever a program does between the guard, first thing in `main`, and the queue that watches (it reads its
    /// configuration, it opens files), a signal in that time would be blocked and never seen. With this call it is
    /// reported, as often as it was posted; there it is posted again for that, so that another queue which has reported
    /// the signal before will do so again.
    ///
    /// # Errors
    ///
    /// As for the answers to [`Change::add_signal`](crate::Change::add_signal).
    pub fn add_to(&self, queue: &Kqueue, signals: &[(Signal, Token)]) -> io::Result<()> {
        self.guard.add_to(signals, |changes| queue.apply(changes))
    }
}

impl fmt::Debug for SignalGuard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SignalGuard").field("guard", &self.guard).finish()
    }
}
