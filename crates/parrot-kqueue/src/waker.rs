//! Ending a wait from another thread.

use crate::sys;
use std::{fmt, io};

/// A handle with which any thread can end a wait of a queue. Made by [`Kqueue::waker`](crate::Kqueue::waker).
///
/// A use of it is kept until a wait reports it, and many uses before that are reported as one event. Clones are the
/// same waker. When the last of them is dropped the registration is gone, after a last event if there is a use that was
/// not reported yet. (Its descriptor, where it has one, is given back by the next waker or with the queue.)
///
/// ```
/// use parrot_kqueue::{Events, Kqueue, Token};
///
/// let queue = Kqueue::new()?;
/// let waker = queue.waker(Token(1))?;
/// let workers: Vec<_> = (0..4)
///     .map(|_| {
///         let waker = waker.clone();
///         std::thread::spawn(move || waker.wake())
///     })
///     .collect();
/// # for worker in workers { worker.join().map_err(|_| std::io::ErrorKind::Other)??; }
/// let mut events = Events::with_capacity(8);
/// queue.wait(&mut events, None)?;
/// assert_eq!(events.len(), 1);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone)]
pub struct Waker {
    pub(crate) waker: sys::Waker,
}

impl Waker {
    /// Ends the queue's wait, or the next one if it is not waiting. Without effect once the queue is gone or
    /// the registration deleted.
    ///
    /// # Errors
    ///
    /// What the system answers; none is known to happen.
    ///
    /// ```
    /// # let queue = parrot_kqueue::Kqueue::new()?;
    /// # let waker = queue.waker(parrot_kqueue::Token(1))?;
    /// waker.wake()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Waker").finish_non_exhaustive()
    }
}
